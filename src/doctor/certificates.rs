//! The own identity folder: whether it fits together, names the right system, is vouched for, and until when; and who
//! may read its key.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use ura_certs::{CertificateView, Validity};
use ura_runtime::{
    process::chain,
    tls::{Identity, SpiffeId},
};

use super::finding::{Finding, Level, Report};

const CHECK: &str = "certificate";

/// Fewer days left than this are a warning: for a system's own certificate, and for the authorities above it.
const OWN_DAYS_MIN: i64 = 14;
const AUTHORITY_DAYS_MIN: i64 = 180;

const ISSUE: &str = "have a new one issued (`ura certs issue`) and put the folder in its place";

/// Looks at the folder; returns the identity where it can be used at all.
pub(super) fn check(dir: &Path, now_unix_s: i64, report: &mut Report) -> Option<Identity> {
    key_mode(&dir.join("key.pem"), report);
    let identity = match Identity::load(dir) {
        Ok(identity) => identity,
        Err(error) => {
            let todo = "an identity folder holds cert.pem, key.pem and ca.pem of one `ura certs issue`";
            report.add(Finding::problem(CHECK, chain(&error), todo));
            return None;
        }
    };
    for (name, own) in [("cert.pem", true), ("ca.pem", false)] {
        match ura_certs::show(&dir.join(name)) {
            Ok(shown) => {
                for (index, view) in shown.files.iter().flat_map(|file| &file.certificates).enumerate() {
                    report.add(days(view, own && index == 0));
                }
            }
            Err(error) => report.add(Finding::problem(CHECK, chain(&error), ISSUE)),
        }
    }
    report.add(match identity.check_chain(now_unix_s) {
        Ok(()) => Finding::ok("chain", format!("{} is vouched for by ca.pem", identity.spiffe_id())),
        Err(error) => Finding::problem(
            "chain",
            format!("{}: {}", dir.display(), chain(&error)),
            if report.findings.iter().any(|found| found.check == CHECK && found.level == Level::Problem) {
                "as the line on the certificate says"
            } else {
                "cert.pem holds the own certificate, then the issuing one; ca.pem the root of the same bus"
            },
        ),
    });
    Some(identity)
}

/// The names by which consumers reach a gateway.
pub(super) fn names(dir: &Path) -> Finding {
    let shown = ura_certs::show(&dir.join("cert.pem")).ok();
    let leaf = shown.as_ref().and_then(|shown| shown.files.first()?.certificates.first());
    match leaf.map(|leaf| leaf.names.as_slice()) {
        None | Some([]) => Finding::problem(
            "names",
            "the certificate has no DNS name and no address: consumers cannot check who answers",
            "have it issued again with --name for each name of this gateway",
        ),
        Some(names) => Finding::ok("names", format!("consumers reach it as {}", names.join(", "))),
    }
}

/// Whether the certificate is that of the system that the configuration names.
pub(super) fn system(identity: &Identity, expected: &str) -> Finding {
    let found = identity.spiffe_id().path.trim_start_matches('/');
    if found == expected {
        Finding::ok("identity", format!("it is {found}, as the configuration says"))
    } else {
        let what = format!("the certificate is that of {found}, the configuration says {expected}");
        Finding::problem("identity", what, "name the identity folder of this system, or mend `system`")
    }
}

/// Whether the gateway that the configuration names can be of the same bus.
pub(super) fn same_bus(identity: &Identity, gateway: &SpiffeId) -> Option<Finding> {
    let own = &identity.spiffe_id().trust_domain;
    (*own != gateway.trust_domain).then(|| {
        let what = format!("the certificate is of {own}, gateway_id of {}", gateway.trust_domain);
        Finding::problem("identity", what, "take an identity folder of the bus that is plugged into")
    })
}

fn days(view: &CertificateView, own: bool) -> Finding {
    let (who, min) = match view.uris.first() {
        Some(id) if own => (id.clone(), OWN_DAYS_MIN),
        _ => (view.subject.clone(), AUTHORITY_DAYS_MIN),
    };
    let todo =
        if own { ISSUE } else { "make the next authority (`ura certs init`) and issue from it in time" };
    match view.state {
        Validity::Over => {
            Finding::problem(CHECK, format!("{who} ended {} days ago", -view.days_left - 1), todo)
        }
        Validity::NotYet => Finding::problem(
            CHECK,
            format!("{who} begins only at {}", view.not_before),
            "see whether this machine's clock is right; else wait, or have one issued that holds now",
        ),
        Validity::Now if view.days_left < min => {
            Finding::warning(CHECK, format!("{who} ends in {} days", view.days_left), todo)
        }
        Validity::Now => Finding::ok(CHECK, format!("{who} holds for {} days", view.days_left)),
    }
}

/// Whether anybody but its owner may read a key.
fn key_mode(path: &Path, report: &mut Report) {
    // One that is missing is told when the folder is read.
    let Ok(found) = std::fs::metadata(path) else { return };
    let mode = found.permissions().mode() & 0o777;
    let shown = path.display();
    report.add(if mode & 0o077 == 0 {
        Finding::ok("key", format!("{shown} is its owner's alone"))
    } else {
        let what = format!("{shown} may be read or changed by others (mode {mode:o})");
        let todo = format!("chmod 600 {shown}; if somebody may have read it, have a new one issued");
        Finding::problem("key", what, todo)
    });
}
