//! A running gateway, asked over its own port as anybody with a certificate may: whether it answers, what time it has,
//! and which contracts are answered behind it. Knows no files but the identity folder it asks with.

use std::{path::Path, time::Duration};

use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use ura_proto::reflection::Reflection;
use ura_runtime::{clock::Clock, tls::Verify};

use super::{
    clock,
    finding::{Finding, Report},
};
use crate::call::connection::{Calls, Connection};

/// Time for each question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A contract that somebody should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Full name of the service.
    pub(super) contract: String,
    /// Who offers it.
    pub(super) providers: Vec<String>,
    /// Whether these are all who do: an adapter knows only of itself.
    pub(super) are_all: bool,
}

/// Asks the gateway at `address` with the folder `identity`.
pub(super) async fn check(
    (address, identity, verify): (&str, &Path, Verify),
    expected: &[Expected],
    time: &Clock,
    report: &mut Report,
) {
    let connection = match Connection::open_verified(address, identity, verify).await {
        Ok(connection) => connection,
        Err(error) => return report.add(Finding::problem("gateway", error.what, error.advice)),
    };
    let mut health = HealthClient::with_origin(connection.calls.clone(), connection.origin.clone());
    let asked_us = time.unix_us();
    let answer = match question(health.check(of(""))).await {
        Ok(answer) => answer,
        Err(status) => {
            let error = connection.lost(&status).await;
            return report.add(Finding::problem("gateway", error.what, error.advice));
        }
    };
    let answered_us = time.unix_us();
    let date = answer.metadata().get("date").and_then(|value| value.to_str().ok()).and_then(clock::date);
    report.add(match answer.into_inner().status() {
        ServingStatus::Serving => Finding::ok("gateway", format!("{address} answers")),
        other => {
            let what = format!("{address} is leaving ({})", other.as_str_name());
            Finding::warning("gateway", what, "see whether the process that follows it has started")
        }
    });
    report.add(clock::judge(address, asked_us, answered_us, date));
    let reflection = Reflection::new(connection.calls.clone(), connection.origin.clone());
    let plugged = match tokio::time::timeout(QUESTION_TIMEOUT, reflection.services()).await {
        Ok(Ok(plugged)) => plugged,
        Ok(Err(error)) => return report.add(not_told(&error)),
        Err(_) => return report.add(not_told(&"not in time")),
    };
    for contract in expected {
        report.add(plug(contract, &plugged, &mut health).await);
    }
}

fn not_told(error: &dyn std::fmt::Display) -> Finding {
    let what = format!("the gateway does not tell its contracts: {error}");
    Finding::problem("plugs", what, "see the gateway's log")
}

/// How a contract is answered. Health and reflection tell of contracts, not of each of several providers.
async fn plug(expected: &Expected, plugged: &[String], health: &mut HealthClient<Calls>) -> Finding {
    let Expected { contract, providers, are_all } = expected;
    let who = providers.join(", ");
    let state = question(health.check(of(contract))).await.map(|answer| answer.into_inner().status());
    let is_plugged = plugged.contains(contract);
    match state {
        Ok(ServingStatus::Serving) if providers.len() > 1 => {
            let what =
                format!("{contract} is answered by at least one of {who}: which of them, is not told here");
            Finding::warning("plug", what, "the gateway's log and its metrics tell of each of them")
        }
        Ok(ServingStatus::Serving) if !are_all => Finding::ok(
            "plug",
            format!("{contract} is answered on this bus, by {who} if nobody else offers it"),
        ),
        Ok(ServingStatus::Serving) => Finding::ok("plug", format!("{contract} is answered by {who}")),
        Ok(_) if is_plugged => Finding::problem(
            "plug",
            format!(
                "{contract} of {who}: an adapter is plugged in, its register does not answer or its calls fail"
            ),
            "tell the institution; its adapter's log says what fails, `health` in the gateway's log since when",
        ),
        Ok(_) => Finding::problem(
            "plug",
            format!("{contract}: no adapter of {who} is plugged in"),
            "there: is it running (`ura doctor --config adapter.toml`)? here: `a contract of a plug is refused` in the log",
        ),
        Err(status) if status.code() == Code::NotFound => Finding::problem(
            "plug",
            format!("{contract} is not known to the gateway that runs"),
            "its directory is another one than the file's: see `directory`",
        ),
        Err(status) => {
            let what = format!("{contract}: the gateway does not tell how it is: {}", status.message());
            Finding::warning("plug", what, "ask again; see the gateway's log")
        }
    }
}

fn of(service: &str) -> tonic::Request<HealthCheckRequest> {
    tonic::Request::new(HealthCheckRequest { service: service.to_owned() })
}

/// An answer, or that it took too long.
async fn question<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs()));
    tokio::time::timeout(QUESTION_TIMEOUT, answer).await.map_err(late)?
}
