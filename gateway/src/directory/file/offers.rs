//! Who offers which contract, and what each service may take.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use ura_proto::SystemId;
use ura_runtime::config::Spanned;

use super::{
    Checker,
    raw::{RawService, RawValidate},
};
use crate::directory::{
    contract::{Contract, Validate},
    snapshot::{Service, ServiceKey, ServiceLimits, System},
};

/// Most calls that a service can be given, in hand or waiting.
const CALLS_MAX: i64 = 100_000;

/// Longest times of a service, in milliseconds: waiting for a place, and a unary call.
const WAIT_MS_MAX: i64 = 60_000;
const TIMEOUT_MS_MAX: i64 = 3_600_000;

impl Checker<'_> {
    /// What a service may take of the bus.
    fn limits(&mut self, entry: &RawService) -> ServiceLimits {
        let mut within = |name: &str, written: &Option<Spanned<i64>>, range: RangeInclusive<i64>| {
            let written = written.as_ref()?;
            if !range.contains(written.get_ref()) {
                self.at(written, format!("{name} must be {} to {}", range.start(), range.end()));
            }
            u64::try_from(*written.get_ref()).ok()
        };
        let count = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        ServiceLimits {
            calls_in_flight_max: count(within(
                "calls_in_flight_max",
                &entry.calls_in_flight_max,
                1..=CALLS_MAX,
            )),
            queue_max: count(within("queue_max", &entry.queue_max, 0..=CALLS_MAX)),
            wait: within("wait_ms", &entry.wait_ms, 0..=WAIT_MS_MAX).map(Duration::from_millis),
            timeout: within("timeout_ms", &entry.timeout_ms, 1..=TIMEOUT_MS_MAX).map(Duration::from_millis),
        }
    }

    pub(super) fn services(
        &mut self,
        raw: &[RawService],
        systems: &HashMap<SystemId, System>,
        contracts: &HashMap<Arc<str>, Contract>,
    ) -> HashMap<Arc<str>, Vec<Arc<Service>>> {
        let mut services: HashMap<Arc<str>, Vec<Arc<Service>>> = HashMap::new();
        for entry in raw {
            let contract = self.known_contract(&entry.contract, contracts);
            let provider = self.provider(&entry.provider, systems, entry.contract.get_ref());
            let (Some(contract), Some(provider)) = (contract, provider) else { continue };
            let known = services.entry(contract.clone()).or_default();
            if known.iter().any(|service| service.key.provider == provider) {
                self.at(&entry.contract, format!("{provider} offers {contract} twice"));
                continue;
            }
            let limits = self.limits(entry);
            let validate = match entry.validate {
                None | Some(RawValidate::Off) => Validate::Off,
                Some(RawValidate::Log) => Validate::Log,
                Some(RawValidate::Enforce) => Validate::Enforce,
            };
            known.push(Arc::new(Service { key: ServiceKey { contract, provider }, limits, validate }));
        }
        services
    }
}
