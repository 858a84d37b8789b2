//! Services of the directory: their plugs, places and health, and how long their calls take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ura_runtime::{
    clock::Clock,
    metrics::{Page, Type},
};

use super::{Sources, seconds};
use crate::{
    directory::Service,
    meter::ServiceSeries,
    plug::{Health, ServiceHealth},
};

/// A service of the directory, and how it is doing; `None` where it never had a plug.
type Row<'d> = (&'d Service, Option<ServiceHealth>);

/// Name, help, and the number of one counter of a service.
type Counted = (&'static str, &'static str, fn(&ServiceSeries) -> &AtomicU64);

/// Name, help, and the number of one gauge of a service.
type Gauge = (&'static str, &'static str, fn(&Row<'_>, &Sources) -> usize);

const GAUGES: [Gauge; 6] = [
    ("ura_service_plugs", "Connected plugs.", |(_, health), _| health.as_ref().map_or(0, |of| of.plugs)),
    (
        "ura_service_plugs_out",
        "Plugs that get no calls now, because calls on them failed: their breaker is open.",
        |(_, health), _| health.as_ref().map_or(0, |of| of.out),
    ),
    ("ura_service_calls", "Calls in hand.", |(_, health), _| {
        health.as_ref().map_or(0, |of| of.calls_in_flight)
    }),
    ("ura_service_calls_max", "Calls that may be in hand at once.", |(service, _), sources| {
        service.limits.calls_in_flight_max.unwrap_or(sources.limits.service_calls_in_flight_max)
    }),
    ("ura_service_waiting", "Calls that wait for a place.", |(_, health), _| {
        health.as_ref().map_or(0, |of| of.waiting)
    }),
    ("ura_service_waiting_max", "Calls that may wait for a place.", |(service, _), sources| {
        service.limits.queue_max.unwrap_or(sources.limits.service_queue_max)
    }),
];

pub(super) fn put(page: &mut Page, sources: &Sources) {
    let directory = sources.directory.load();
    let services = directory.services.values().flatten();
    let rows: Vec<Row<'_>> =
        services.map(|service| (&**service, sources.plugs.health_of(&service.key))).collect();
    for (name, help, number) in GAUGES {
        page.family(name, Type::Gauge, help);
        for row in &rows {
            page.sample(&labels(row.0), number(row, sources));
        }
    }
    page.family(
        "ura_service_health",
        Type::Gauge,
        "1 at the health that the service has now; the gateway puts a service that fails out by itself.",
    );
    for (service, found) in &rows {
        let now = found.as_ref().map_or(Health::NoAdapter, |found| found.health);
        let [contract, provider] = labels(service);
        for health in Health::ALL {
            page.sample(&[contract, provider, ("health", health.as_str())], u8::from(health == now));
        }
    }
    page.family(
        "ura_service_health_since_timestamp_seconds",
        Type::Gauge,
        "Since when it has this health; missing where it never had a plug.",
    );
    let now_us = Clock::system().unix_us();
    for (service, found) in rows.iter().filter_map(|(service, found)| Some((service, found.as_ref()?))) {
        page.sample(&labels(service), seconds(now_us.saturating_sub(us(found.since.elapsed()))));
    }
    counted(page, sources, &rows);
    times(page, sources);
}

/// Of each service, also where nobody called it yet: what grows from 0 is seen from the first time on.
fn counted(page: &mut Page, sources: &Sources, rows: &[Row<'_>]) {
    let services = sources.meters.services();
    let families: [Counted; 2] = [
        ("ura_service_exchanges_total", "Permitted exchanges that have ended.", |of| &of.ended),
        (
            "ura_service_failures_total",
            "Those of them that the register, its adapter or its line failed: server errors, and refusals in their place.",
            |of| &of.failed,
        ),
    ];
    for (name, help, of) in families {
        page.family(name, Type::Counter, help);
        for (service, _) in rows {
            let count = services.get(&service.key).map_or(0, |found| of(found).load(Ordering::Relaxed));
            page.sample(&labels(service), count);
        }
    }
}

/// How long calls take.
fn times(page: &mut Page, sources: &Sources) {
    let services = sources.meters.services();
    let mut services: Vec<_> = services.iter().collect();
    services.sort_by(|a, b| (&a.0.contract, &a.0.provider).cmp(&(&b.0.contract, &b.0.provider)));
    let all = services
        .iter()
        .map(|(key, series)| ([("contract", &*key.contract), ("provider", key.provider.as_str())], series));
    page.family(
        "ura_service_call_seconds",
        Type::Histogram,
        "Permitted unary exchanges from their arrival to their end.",
    );
    all.clone().for_each(|(labels, series)| page.histogram(&labels, &series.calls));
    page.family(
        "ura_service_register_seconds",
        Type::Histogram,
        "How long those that were sent waited for the register, its adapter and its line included.",
    );
    all.for_each(|(labels, series)| page.histogram(&labels, &series.register));
}

fn labels(service: &Service) -> [(&str, &str); 2] {
    [("contract", &*service.key.contract), ("provider", service.key.provider.as_str())]
}

fn us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
