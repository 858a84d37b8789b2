//! The checks of an adapter, by its configuration file, on the institution's machine.

use std::path::Path;

use ura_adapters::{
    config::{Config, Link},
    declared::Declared,
};
use ura_runtime::{clock::Clock, tls::Verify};

use super::{
    asked,
    asked::Expected,
    certificates, disk,
    finding::{Finding, Report},
};

/// Checks an adapter.
pub(super) async fn check(file: &Path, clock: &Clock, report: &mut Report) {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(errors) => {
            let todo = "mend the file: an adapter that restarts would not start";
            return report.add(Finding::problem("configuration", errors, todo));
        }
    };
    report.add(Finding::ok("configuration", format!("can be read; it is that of {}", config.system)));
    let contracts = contracts(&config, report);
    let now_unix_s = clock.unix_us().div_euclid(1_000_000);
    report.add(disk::check("logs and identity", &config.identity));
    let Some(identity) = certificates::check(&config.identity, now_unix_s, report) else { return };
    report.add(certificates::system(&identity, config.system.as_str()));
    if let Some(finding) = certificates::same_bus(&identity, &config.gateway_id) {
        report.add(finding);
    }
    match &config.link {
        Link::Plug(_) if config.proxy.is_some() => report.add(Finding::warning(
            "gateway",
            "it is reached through a proxy: not asked from here",
            "the adapter's own log says whether it is plugged in",
        )),
        Link::Plug(gateways) => {
            for gateway in gateways {
                let verify = Verify::Spiffe(config.gateway_id.clone());
                asked::check((gateway, &config.identity, verify), &contracts, clock, report).await;
            }
        }
        Link::Listen(address) => report.add(Finding::warning(
            "gateway",
            format!("the adapter listens on {address}: whether a gateway dials it is seen there"),
            "ask at the gateway: `ura doctor --config gateway.toml`",
        )),
    }
}

/// The contracts of its adapter files. Those of a bridge are the server's own.
fn contracts(config: &Config, report: &mut Report) -> Vec<Expected> {
    let mut contracts = Vec::new();
    for path in &config.contracts {
        match Declared::load(path) {
            Ok(file) => contracts.push(file.contract().full_name().to_owned()),
            Err(errors) => {
                let todo = "mend the file: `ura adapter check` shows each place";
                report.add(Finding::problem("adapter file", errors, todo));
            }
        }
    }
    if let Some(bridge) = &config.bridge {
        contracts.extend(bridge.contracts.iter().cloned());
    }
    if !contracts.is_empty() {
        report.add(Finding::ok("adapter file", format!("answers {}", contracts.join(", "))));
    }
    let providers = vec![config.system.to_string()];
    contracts
        .into_iter()
        .map(|contract| Expected { contract, providers: providers.clone(), are_all: false })
        .collect()
}
