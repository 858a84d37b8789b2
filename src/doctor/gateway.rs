//! The checks of a gateway, by its configuration file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use serde::Deserialize;
use ura_gateway::{check_directory, config::GatewayConfig};
use ura_runtime::{
    clock::Clock,
    tls::{Identity, Verify},
};

use super::{
    Options, asked,
    asked::Expected,
    certificates,
    evidence::{self, Running},
    finding::{Finding, Report},
};

/// What of a directory is compared with what runs. The gateway's own check has found it good.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Directory {
    version: String,
    systems: Vec<System>,
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct System {
    id: String,
    roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Service {
    contract: String,
    provider: String,
}

/// Checks a gateway.
pub(super) async fn check(file: &Path, options: &Options, clock: &Clock, report: &mut Report) {
    let config = match GatewayConfig::load(file) {
        Ok(config) => config,
        Err(errors) => {
            let todo = "mend the file: a gateway that restarts would not start";
            return report.add(Finding::problem("configuration", errors, todo));
        }
    };
    report.add(Finding::ok("configuration", "can be read"));
    let now_unix_s = clock.unix_us().div_euclid(1_000_000);
    let identity = certificates::check(&config.identity, now_unix_s, report);
    if identity.is_some() {
        report.add(certificates::names(&config.identity));
    }
    let directory = directory(&config.directory, report);
    if let (Some(identity), Some(directory)) = (&identity, &directory) {
        report.add(role(identity, directory));
    }
    let running = evidence::check(&config.evidence, clock, report).await;
    report.add(evidence::verified(options.verified.as_deref(), now_unix_s));
    if let Some(running) = running {
        versions(&running, directory.as_ref(), report);
    }
    let Some(identity) = identity else { return };
    let expected = directory.map(|directory| expected(&directory)).unwrap_or_default();
    let address = options.gateway.clone().or_else(|| reached(config.listen));
    match address {
        Some(address) => {
            let verify = Verify::Spiffe(identity.spiffe_id().clone());
            asked::check((&address, &config.identity, verify), &expected, clock, report).await;
        }
        None => report.add(Finding::warning(
            "gateway",
            "the configuration leaves its port to the system",
            "say where it is, --gateway HOST:PORT",
        )),
    }
}

/// Reads the directory as the gateway would.
fn directory(path: &Path, report: &mut Report) -> Option<Directory> {
    let read = check_directory(path).map_err(|errors| errors.to_string()).and_then(|summary| {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let directory = toml::from_str::<Directory>(&text).map_err(|error| error.to_string())?;
        Ok((summary, directory))
    });
    match read {
        Ok((summary, directory)) => {
            report.add(Finding::ok("directory", summary));
            Some(directory)
        }
        Err(errors) => {
            let todo = "mend the file; the gateway keeps what it took before, and would not start anew";
            report.add(Finding::problem("directory", errors, todo));
            None
        }
    }
}

/// Whether the certificate's system is a gateway of the directory.
fn role(identity: &Identity, directory: &Directory) -> Finding {
    let own = identity.spiffe_id().path.trim_start_matches('/');
    let system = directory.systems.iter().find(|system| system.id == own);
    if system.is_some_and(|system| system.roles.iter().any(|role| role == "gateway")) {
        Finding::ok("role", format!("{own} is a gateway of the directory"))
    } else {
        let todo = "enter it in [[systems]], or name the gateway's own identity folder";
        Finding::problem("role", format!("{own} does not have the role gateway in the directory"), todo)
    }
}

/// The program and the directory of the gateway that runs, held against what lies here.
fn versions(running: &Running, directory: Option<&Directory>, report: &mut Report) {
    let own = env!("CARGO_PKG_VERSION");
    match running.program.as_deref() {
        Some(program) if program == own => {
            report.add(Finding::ok("version", format!("gateway and this program are {own}")));
        }
        Some(program) => {
            let what = format!("the gateway was started as {program}, this program is {own}");
            report.add(Finding::warning(
                "version",
                what,
                "restart the gateway with --take-over, or use its own program",
            ));
        }
        None => {}
    }
    if let Some(refused) = &running.refused {
        let what = format!("the gateway did not take the changed file: {refused}");
        report.add(Finding::problem("directory", what, "mend it: `ura gateway --config FILE --check`"));
    }
    if let (Some(taken), Some(directory)) = (&running.directory, directory)
        && *taken != directory.version
        && running.refused.is_none()
    {
        let what = format!("the gateway decides by version {taken}, the file is {}", directory.version);
        report.add(Finding::problem("directory", what, "see the gateway's log; if it is down, start it"));
    }
}

/// Every contract of the directory with those who offer it.
fn expected(directory: &Directory) -> Vec<Expected> {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in &directory.services {
        all.entry(&service.contract).or_default().push(service.provider.clone());
    }
    let one = |(contract, providers): (&str, Vec<String>)| Expected {
        contract: contract.to_owned(),
        providers,
        are_all: true,
    };
    all.into_iter().map(one).collect()
}

/// Where a gateway that listens there is reached from its own machine; `None` where the system chose the port.
fn reached(listen: SocketAddr) -> Option<String> {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then(|| SocketAddr::new(host, listen.port()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_gateway_is_reached() {
        for (listen, expected) in [
            ("0.0.0.0:7400", Some("127.0.0.1:7400")),
            ("[::]:7400", Some("[::1]:7400")),
            ("10.0.0.5:7400", Some("10.0.0.5:7400")),
            ("127.0.0.1:0", None),
        ] {
            assert_eq!(reached(listen.parse().expect("an address")).as_deref(), expected);
        }
    }

    #[test]
    fn what_runs_is_held_against_the_file() {
        let directory = Directory { version: "2".to_owned(), ..Directory::default() };
        let own = || Some(env!("CARGO_PKG_VERSION").to_owned());
        let refused = Some("line 3".to_owned());
        for (program, taken, refused, says) in [
            (own(), "2", None, "gateway and this program"),
            (Some("0.0.1".to_owned()), "2", None, "started as 0.0.1"),
            (own(), "1", None, "by version 1, the file is 2"),
            (own(), "1", refused, "did not take the changed file: line 3"),
        ] {
            let running = Running { program, directory: Some(taken.to_owned()), refused };
            let mut report = Report::default();
            versions(&running, Some(&directory), &mut report);
            let last = report.findings.last().expect("a finding");
            assert!(last.what.contains(says), "{report:?}");
        }
    }
}
