//! Faults that tests order: delay, failures, outage, nonsense.

use std::{
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{error::MocksError, rng::Rng};

/// Longest delay.
const DELAY_MS_MAX: u64 = 600_000;

/// One of the three registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// Civil status, SQL.
    CivilStatus,
    /// Property tax, REST.
    PropertyTax,
    /// Vehicles, SOAP.
    Vehicles,
}

impl Register {
    /// All three.
    pub const ALL: [Self; 3] = [Self::CivilStatus, Self::PropertyTax, Self::Vehicles];

    /// Name on the control port, for example `civil-status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CivilStatus => "civil-status",
            Self::PropertyTax => "property-tax",
            Self::Vehicles => "vehicles",
        }
    }
}

impl FromStr for Register {
    type Err = MocksError;

    fn from_str(text: &str) -> Result<Self, MocksError> {
        Self::ALL.into_iter().find(|register| register.name() == text).ok_or_else(|| {
            MocksError::Fault(
                "no such register: there are civil-status, property-tax and vehicles".to_owned(),
            )
        })
    }
}

/// What a register suffers from. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Waits so long before a request is looked at, 0 to 600000.
    pub delay_ms: u64,
    /// Share of the requests that fail, 0.0 to 1.0, by a sequence that the seed fixes.
    pub failure_ratio: f64,
    /// So many requests fail, then no more.
    pub fail_next: u32,
    /// Cannot be reached.
    pub outage: bool,
    /// Answers what no client can read.
    pub nonsense: bool,
}

impl Fault {
    /// Checks the ranges, and that this register can have it.
    pub(crate) fn check(&self, register: Register) -> Result<(), MocksError> {
        if self.delay_ms > DELAY_MS_MAX {
            return Err(MocksError::Fault(format!("delay_ms: at most {DELAY_MS_MAX}")));
        }
        if !(0.0..=1.0).contains(&self.failure_ratio) {
            return Err(MocksError::Fault("failure_ratio: 0.0 to 1.0".to_owned()));
        }
        let sql = register == Register::CivilStatus;
        if sql && (self.delay_ms > 0 || self.failure_ratio > 0.0 || self.fail_next > 0) {
            let text = "a SQL register can have outage and nonsense only";
            return Err(MocksError::Fault(text.to_owned()));
        }
        Ok(())
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer,
    Fail,
    Nonsense,
}

/// The fault in force at a register that answers requests.
#[derive(Debug)]
pub(crate) struct Faults(Mutex<(Fault, Rng)>);

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new((Fault::default(), Rng::new(seed))))
    }

    pub(crate) fn get(&self) -> Fault {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = fault;
    }

    /// Decides about the next request.
    pub(crate) fn next(&self) -> (Duration, Verdict) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (fault, rng) = &mut *held;
        let delay = Duration::from_millis(fault.delay_ms);
        let verdict = if fault.fail_next > 0 {
            fault.fail_next -= 1;
            Verdict::Fail
        } else if fault.failure_ratio > 0.0 && f64::from(rng.below(1_000_000)) < fault.failure_ratio * 1e6 {
            Verdict::Fail
        } else if fault.nonsense {
            Verdict::Nonsense
        } else {
            Verdict::Answer
        };
        (delay, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_fail_and_then_no_more() {
        let faults = Faults::new(1);
        faults.set(Fault { fail_next: 2, nonsense: true, ..Fault::default() });
        let verdicts: Vec<Verdict> = (0..3).map(|_| faults.next().1).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Nonsense]);
    }

    #[test]
    fn a_ratio_is_about_kept() {
        let faults = Faults::new(1);
        faults.set(Fault { failure_ratio: 0.25, ..Fault::default() });
        let failed = (0..4000).filter(|_| faults.next().1 == Verdict::Fail).count();
        assert!((850..1150).contains(&failed), "{failed}");
        faults.set(Fault { failure_ratio: 1.0, ..Fault::default() });
        assert_eq!(faults.next().1, Verdict::Fail);
    }

    #[test]
    fn what_a_register_cannot_have_is_refused() {
        let slow = Fault { delay_ms: 5, ..Fault::default() };
        assert!(slow.check(Register::Vehicles).is_ok());
        assert!(slow.check(Register::CivilStatus).is_err());
        let dark = Fault { outage: true, ..Fault::default() };
        assert!(dark.check(Register::CivilStatus).is_ok());
        for bad in [
            Fault { delay_ms: DELAY_MS_MAX + 1, ..Fault::default() },
            Fault { failure_ratio: 1.5, ..Fault::default() },
            Fault { failure_ratio: f64::NAN, ..Fault::default() },
        ] {
            assert!(bad.check(Register::Vehicles).is_err(), "{bad:?}");
        }
    }
}
