//! The control port: faults, logs and counts of the registers, over HTTP and JSON. Its document is
//! `docs/mocks.md`.

use std::{error::Error, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    Controls,
    error::MocksError,
    fault::{Fault, Register},
};

/// The routes of the control port.
pub(crate) fn routes(controls: Arc<Controls>) -> Router {
    Router::new()
        .route("/registers", get(all))
        .route("/registers/{register}", get(one).put(set))
        .route("/registers/{register}/requests", get(requests).delete(forget))
        .route("/payments", get(payments))
        .route("/payments/{uniref}", get(payments_of))
        .with_state(controls)
}

fn refused(error: &MocksError) -> Response {
    let status = match error {
        MocksError::Fault(_) => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = error.to_string();
    let mut beneath = error.source();
    while let Some(cause) = beneath {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        beneath = cause.source();
    }
    (status, Json(json!({ "error": text }))).into_response()
}

async fn state(controls: &Controls, register: Register) -> Value {
    json!({ "url": controls.public_url(register), "fault": controls.fault(register).await })
}

async fn all(State(controls): State<Arc<Controls>>) -> Response {
    let mut states = serde_json::Map::new();
    for register in Register::ALL {
        states.insert(register.name().to_owned(), state(&controls, register).await);
    }
    Json(states).into_response()
}

async fn one(State(controls): State<Arc<Controls>>, Path(register): Path<String>) -> Response {
    match register.parse() {
        Ok(register) => Json(state(&controls, register).await).into_response(),
        Err(error) => unknown(&error),
    }
}

async fn set(State(controls): State<Arc<Controls>>, Path(register): Path<String>, body: Bytes) -> Response {
    let register = match register.parse::<Register>() {
        Ok(register) => register,
        Err(error) => return unknown(&error),
    };
    // Whatever content-type the client says: there is only JSON here.
    let fault = match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => fault,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response();
        }
    };
    match controls.set_fault(register, fault).await {
        Ok(()) => Json(state(&controls, register).await).into_response(),
        Err(error) => refused(&error),
    }
}

async fn requests(State(controls): State<Arc<Controls>>, Path(register): Path<String>) -> Response {
    match register.parse().map(|register| controls.requests(register)) {
        Ok(Ok(entries)) => Json(entries).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(error) => unknown(&error),
    }
}

async fn forget(State(controls): State<Arc<Controls>>, Path(register): Path<String>) -> Response {
    match register.parse().map(|register| controls.forget_requests(register)) {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => refused(&error),
        Err(error) => unknown(&error),
    }
}

async fn payments(State(controls): State<Arc<Controls>>) -> Response {
    Json(controls.payments()).into_response()
}

async fn payments_of(State(controls): State<Arc<Controls>>, Path(uniref): Path<String>) -> Response {
    let count = controls.payments().get(&uniref).copied().unwrap_or(0);
    Json(json!({ "uniref": uniref, "payments": count })).into_response()
}

fn unknown(error: &MocksError) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": error.to_string() }))).into_response()
}
