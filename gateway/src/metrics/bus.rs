//! The gateway as a whole: its directory, its port, its peers and their certificates, its limits.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use ura_runtime::metrics::{Page, Type};

use super::{Sources, seconds};
use crate::{call::peers::Role, directory::Snapshot};

pub(super) fn put(page: &mut Page, sources: &Sources) {
    let directory = sources.directory.load();
    page.family(
        "ura_directory_info",
        Type::Gauge,
        "1 at the directory that is in force: its version, and the first digits of its digest (SHA-256).",
    );
    let digest: String = directory.digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    page.sample(&[("version", &*directory.version), ("digest", &digest)], 1);
    let published = sources.directory.published();
    page.one(
        "ura_directory_published_timestamp_seconds",
        Type::Gauge,
        "When this process took the directory in force.",
        seconds(published.at_unix_us.load(Ordering::Relaxed)),
    );
    page.one(
        "ura_directory_refused",
        Type::Gauge,
        "1 where the file of the directory has errors, so that an older one stays in force.",
        u8::from(published.refused.load(Ordering::Relaxed)),
    );
    peers(page, sources, &directory);
    let port = &sources.port;
    page.one(
        "ura_connections_accepted_total",
        Type::Counter,
        "Connections whose handshake was completed.",
        port.accepted.load(Ordering::Relaxed),
    );
    page.family("ura_connections_dropped_total", Type::Counter, "Connections that came to nothing.");
    for (reason, count) in [
        ("handshake_failed", &port.handshake_failed),
        ("handshake_timed_out", &port.handshake_timed_out),
        ("over_limit", &port.refused_over_limit),
    ] {
        page.sample(&[("reason", reason)], count.load(Ordering::Relaxed));
    }
    let limits = &sources.limits;
    let free = sources.calls.available_permits();
    for (name, help, value) in [
        ("ura_calls", "Calls in hand.", limits.calls_in_flight_max.saturating_sub(free)),
        ("ura_calls_max", "Calls that may be in hand at once.", limits.calls_in_flight_max),
        ("ura_held_bytes", "Request bytes held for all calls together.", sources.held.bytes()),
        ("ura_held_bytes_max", "Request bytes that may be held.", limits.held_bytes_max),
    ] {
        page.one(name, Type::Gauge, help, value);
    }
}

/// Connections, and the ends of certificates in use.
fn peers(page: &mut Page, sources: &Sources, directory: &Snapshot) {
    let mut connections: BTreeMap<Role, usize> = [Role::Consumer, Role::Adapter].map(|role| (role, 0)).into();
    let mut ends: BTreeMap<(&str, Role), i64> = BTreeMap::new();
    let found = sources.plugs.peers().look();
    for ((system, role), (count, not_after_s)) in &found {
        if let Some(all) = connections.get_mut(role) {
            *all += count;
        }
        let name = if directory.systems.contains_key(system) { system.as_str() } else { "_other" };
        let end = ends.entry((name, *role)).or_insert(*not_after_s);
        *end = (*end).min(*not_after_s);
    }
    page.family(
        "ura_connections",
        Type::Gauge,
        "Connections now; an adapter sends its spans over another one, as a consumer.",
    );
    for (role, count) in connections {
        page.sample(&[("role", role.as_str())], count);
    }
    page.family(
        "ura_certificate_expiry_timestamp_seconds",
        Type::Gauge,
        "End of the certificate that a system uses now; of several, the one that ends first.",
    );
    for ((system, role), not_after_s) in ends {
        page.sample(&[("system", system), ("role", role.as_str())], not_after_s);
    }
}
