//! How a service is doing: what operators see in the log and in the gateway's own health, and callers in a
//! refusal. Knows plugs only as numbers.

use std::fmt;

use tokio::time::Instant;

use super::standing::Use;
use crate::directory::ServiceKey;

/// How a service is doing on this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// No adapter of it is connected.
    NoAdapter,
    /// Its adapters say that the register does not serve.
    NotServing,
    /// Its calls fail on every plug: none is sent for a while.
    Failing,
    /// The same, and one call may go through, to see.
    Trying,
    /// Some plugs are put out, or coming back.
    Impaired,
    /// All is well.
    Serving,
}

impl Health {
    /// All there are.
    pub(crate) const ALL: [Self; 6] =
        [Self::NoAdapter, Self::NotServing, Self::Failing, Self::Trying, Self::Impaired, Self::Serving];

    /// The word in `ErrorInfo.metadata["health"]` and in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoAdapter => "no-adapter",
            Self::NotServing => "not-serving",
            Self::Failing => "failing",
            Self::Trying => "trying",
            Self::Impaired => "impaired",
            Self::Serving => "serving",
        }
    }

    /// Whether calls can be expected to be answered.
    pub(crate) const fn serves(self) -> bool {
        matches!(self, Self::Impaired | Self::Serving)
    }

    /// The health of a service with these plugs: whether each says that it serves, and what may be sent on it.
    pub(crate) fn of(plugs: impl Iterator<Item = (bool, Use)>) -> Self {
        let (mut plugged, mut serving, mut whole, mut partly, mut trying) = (0, 0, 0, 0, 0);
        for (serves, usable) in plugs {
            plugged += 1;
            if !serves {
                continue;
            }
            serving += 1;
            match usable {
                Use::Share(share) if share >= 1.0 => whole += 1,
                Use::Share(_) | Use::Out { certain: false, .. } => partly += 1,
                Use::Trial | Use::OnTrial => trying += 1,
                Use::Out { certain: true, .. } => {}
            }
        }
        match (plugged, serving) {
            (0, _) => Self::NoAdapter,
            (_, 0) => Self::NotServing,
            _ if whole == plugged => Self::Serving,
            _ if whole + partly > 0 => Self::Impaired,
            _ if trying > 0 => Self::Trying,
            _ => Self::Failing,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One service as the operator sees it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceHealth {
    /// Contract and provider.
    pub(crate) service: ServiceKey,
    /// How it is doing.
    pub(crate) health: Health,
    /// Since when.
    pub(crate) since: Instant,
    /// Plugs that offer it.
    pub(crate) plugs: usize,
    /// How many of them are put out now.
    pub(crate) out: usize,
    /// Calls in hand.
    pub(crate) calls_in_flight: usize,
    /// Calls that wait for a place.
    pub(crate) waiting: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_of_a_service_is_that_of_its_plugs() {
        let until = Instant::now();
        let (whole, back) = ((true, Use::Share(1.0)), (true, Use::Share(0.5)));
        let (out, slow) =
            ((true, Use::Out { until, certain: true }), (true, Use::Out { until, certain: false }));
        let (trial, tried) = ((true, Use::Trial), (true, Use::OnTrial));
        let down = (false, Use::Share(1.0));
        for (plugs, expected) in [
            (vec![], Health::NoAdapter),
            (vec![down, down], Health::NotServing),
            (vec![whole], Health::Serving),
            (vec![whole, whole], Health::Serving),
            (vec![whole, down], Health::Impaired),
            (vec![whole, out], Health::Impaired),
            (vec![back, out], Health::Impaired),
            (vec![slow], Health::Impaired),
            (vec![out, trial], Health::Trying),
            (vec![tried], Health::Trying),
            (vec![out, out], Health::Failing),
            (vec![out, down], Health::Failing),
        ] {
            assert_eq!(Health::of(plugs.iter().copied()), expected, "{plugs:?}");
        }
    }
}
