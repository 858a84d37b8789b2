//! How many calls of a service may be sent a second time: a bucket of tokens as gRPC's `retryThrottling`
//! has it (gRFC A6). When much fails, sending it again would only add to the trouble. A pure core.

/// A failure takes one token, an answer gives a tenth back; above a half, calls may be sent again.
const TOKENS_MAX: u32 = 100;
const PER_TOKEN: u32 = 10;

/// The tokens of one service.
#[derive(Debug)]
pub(crate) struct Budget {
    /// In tenths.
    tenths: u32,
}

impl Budget {
    /// A full bucket.
    pub(crate) const fn new() -> Self {
        Self { tenths: TOKENS_MAX * PER_TOKEN }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self) {
        self.tenths = (self.tenths + 1).min(TOKENS_MAX * PER_TOKEN);
    }

    /// A call failed; says whether it may be sent again.
    pub(crate) fn failed(&mut self) -> bool {
        self.tenths = self.tenths.saturating_sub(PER_TOKEN);
        self.tenths > TOKENS_MAX * PER_TOKEN / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_sent_again_and_then_one_in_ten() {
        let mut budget = Budget::new();
        let burst = (0..500).filter(|_| budget.failed()).count();
        assert_eq!(burst, 49);
        for answered in 0..500 {
            assert_eq!(budget.tenths, answered);
            budget.answered();
        }
        assert!(!budget.failed(), "half is not more than half");
        let again = (0..1000)
            .filter(|_| {
                for _ in 0..10 {
                    budget.answered();
                }
                budget.failed()
            })
            .count();
        assert_eq!(again, 0, "what is earned is used");
        for (answered, expected) in [(20, false), (21, true)] {
            let mut budget = Budget { tenths: 490 };
            for _ in 0..answered {
                budget.answered();
            }
            assert_eq!(budget.failed(), expected, "{answered}");
        }
        for _ in 0..5000 {
            budget.answered();
        }
        assert_eq!(budget.tenths, 1000, "no more than full");
    }
}
