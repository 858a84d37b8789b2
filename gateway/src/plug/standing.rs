//! How one plug stands with one service: in use, put out because its calls fail, tried again, or slowly
//! coming back. After the ideas of gRFC A50 (outlier ejection) and of a circuit breaker's half-open state.
//! A pure core: time is handed in; it knows no connection and no other plug.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row put a plug out.
const ROW_MAX: u32 = 5;

/// Or this share of the calls of one window, in percent, where there were enough of them.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_CALLS_MIN: u32 = 20;
const WINDOW_FAILED_PERCENT: u32 = 50;

/// For how long: doubled each time, until it has stood well for a while.
const OUT_MIN: Duration = Duration::from_secs(2);
const OUT_MAX: Duration = Duration::from_secs(60);
const FORGET: Duration = Duration::from_secs(60);

/// Time in which its share of the calls grows back, and the share with which it begins.
const RETURN: Duration = Duration::from_secs(10);
const RETURN_SHARE_MIN: f64 = 0.1;

/// How fast past failures stop to matter in the choice, and below what they do not matter at all.
const RECENT_HALF_LIFE: Duration = Duration::from_secs(5);
const RECENT_WEIGHT: f64 = 0.125;
const RECENT_MIN: f64 = 0.0625;

/// What the end of a call says of the plug it was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It was answered, whatever the answer.
    Good,
    /// `UNAVAILABLE`, a broken stream, no gRPC, or nothing for as long as the service may take.
    Failed,
    /// Nothing until the caller lost patience. It may be the caller: so this never shuts a whole service.
    Silent,
}

/// What may be sent on a plug.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    /// A share of the calls, above 0 to 1.
    Share(f64),
    /// One call, to see whether it answers again.
    Trial,
    /// Nothing until the trial has ended.
    OnTrial,
    /// Nothing before then.
    Out {
        /// When it may be tried.
        until: Instant,
        /// Its calls fail for certain, not only by impatient callers.
        certain: bool,
    },
}

/// A plug's record with one service.
#[derive(Debug)]
pub(crate) struct Standing {
    state: State,
    /// Failures in a row, and how many of them were certain.
    row: u32,
    certain_row: u32,
    window: Window,
    /// How often it was put out lately.
    outs: u32,
    /// Share of failures lately, at a time.
    recent: f64,
    recent_at: Instant,
}

#[derive(Clone, Copy, Debug)]
enum State {
    In,
    Out { until: Instant, certain: bool, on_trial: bool },
    Back { since: Instant, whole: bool },
}

/// Calls of a span of time.
#[derive(Debug)]
struct Window {
    began: Instant,
    calls: u32,
    failed: u32,
    certain: u32,
}

impl Window {
    const fn new(began: Instant) -> Self {
        Self { began, calls: 0, failed: 0, certain: 0 }
    }

    fn note(&mut self, now: Instant, sign: Sign) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            *self = Self::new(now);
        }
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(sign != Sign::Good));
        self.certain = self.certain.saturating_add(u32::from(sign == Sign::Failed));
    }

    fn too_many(&self, failed: u32) -> bool {
        let (calls, failed) = (u64::from(self.calls), u64::from(failed));
        self.calls >= WINDOW_CALLS_MIN && failed * 100 >= calls * u64::from(WINDOW_FAILED_PERCENT)
    }
}

impl Standing {
    /// A plug of which nothing is known, and nothing bad.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            state: State::In,
            row: 0,
            certain_row: 0,
            window: Window::new(now),
            outs: 0,
            recent: 0.0,
            recent_at: now,
        }
    }

    /// What may be sent on it now.
    pub(crate) fn usable(&self, now: Instant) -> Use {
        match self.state {
            State::In => Use::Share(1.0),
            State::Out { on_trial: true, .. } => Use::OnTrial,
            State::Out { until, .. } if now >= until => Use::Trial,
            State::Out { until, certain, .. } => Use::Out { until, certain },
            State::Back { since, .. } => {
                let grown = now.saturating_duration_since(since).as_secs_f64() / RETURN.as_secs_f64();
                Use::Share(grown.clamp(RETURN_SHARE_MIN, 1.0))
            }
        }
    }

    /// Share of failures lately, 0 to 1.
    pub(crate) fn recent(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.recent_at).as_secs_f64();
        let share = self.recent * (-age / RECENT_HALF_LIFE.as_secs_f64()).exp2();
        if share < RECENT_MIN { 0.0 } else { share }
    }

    /// A call is sent on it; says whether it is a trial.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Out { until, on_trial, .. } if !*on_trial && now >= *until => {
                *on_trial = true;
                true
            }
            _ => false,
        }
    }

    /// A trial ended without a sign: another call may be one.
    pub(crate) fn trial_over(&mut self) {
        if let State::Out { on_trial, .. } = &mut self.state {
            *on_trial = false;
        }
    }

    /// Takes note of the end of a call; says whether what may be sent on it changed.
    pub(crate) fn note(&mut self, now: Instant, sign: Sign, trial: bool) -> bool {
        let failed = f64::from(u8::from(sign != Sign::Good));
        let recent = self.recent(now);
        (self.recent, self.recent_at) = (recent + (failed - recent) * RECENT_WEIGHT, now);
        self.window.note(now, sign);
        match sign {
            Sign::Good => (self.row, self.certain_row) = (0, 0),
            Sign::Failed => (self.row, self.certain_row) = (self.row + 1, self.certain_row + 1),
            Sign::Silent => self.row += 1,
        }
        let whole = self.grow(now);
        match (self.state, sign) {
            (State::Out { certain, .. }, Sign::Good) if trial || !certain => self.come_back(now),
            (State::Out { certain, .. }, _) if trial => self.put_out(now, certain || sign == Sign::Failed),
            // What was sent before it was put out, or what it is given because too many are out.
            (State::Out { until, certain: false, on_trial }, Sign::Failed) if self.certain_row >= ROW_MAX => {
                self.state = State::Out { until, certain: true, on_trial };
                true
            }
            (State::Out { .. }, _) | (_, Sign::Good) => whole,
            (State::In | State::Back { .. }, _) => {
                let certain = self.certain_row >= ROW_MAX || self.window.too_many(self.window.certain);
                let out = certain || self.row >= ROW_MAX || self.window.too_many(self.window.failed);
                whole | (out && self.put_out(now, certain))
            }
        }
    }

    /// What time alone has changed since it came back; says whether it has its whole share again.
    fn grow(&mut self, now: Instant) -> bool {
        let State::Back { since, whole } = &mut self.state else { return false };
        let stood = now.saturating_duration_since(*since);
        let grown = !*whole && stood >= RETURN;
        *whole |= grown;
        if stood >= RETURN + FORGET {
            (self.state, self.outs) = (State::In, 0);
        }
        grown
    }

    fn come_back(&mut self, now: Instant) -> bool {
        self.state = State::Back { since: now, whole: false };
        self.window = Window::new(now);
        true
    }

    fn put_out(&mut self, now: Instant, certain: bool) -> bool {
        let span = OUT_MIN.saturating_mul(1 << self.outs.min(8)).min(OUT_MAX);
        self.outs = self.outs.saturating_add(1);
        self.state = State::Out { until: now + span, certain, on_trial: false };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A plug put out by five certain failures at `now`.
    fn out(now: Instant) -> Standing {
        let mut standing = Standing::new(now);
        for _ in 0..ROW_MAX {
            standing.note(now, Sign::Failed, false);
        }
        standing
    }

    #[test]
    fn failures_put_it_out_in_a_row_or_by_their_share() {
        let now = Instant::now();
        let (good, failed, silent) = (Sign::Good, Sign::Failed, Sign::Silent);
        let share = |of: Sign| [[of, good].repeat(9), vec![of, good, of]].concat();
        for (what, signs, expected) in [
            ("four", vec![failed; 4], Use::Share(1.0)),
            ("five", vec![failed; 5], Use::Out { until: now + OUT_MIN, certain: true }),
            ("five, one answered", [vec![failed; 4], vec![good], vec![failed; 4]].concat(), Use::Share(1.0)),
            ("impatience", vec![silent; 5], Use::Out { until: now + OUT_MIN, certain: false }),
            (
                "impatience too",
                vec![failed, failed, silent, failed, failed],
                Use::Out { until: now + OUT_MIN, certain: false },
            ),
            ("half of them", share(failed), Use::Out { until: now + OUT_MIN, certain: true }),
            ("half of them slow", share(silent), Use::Out { until: now + OUT_MIN, certain: false }),
            ("a third", [failed, good, good].repeat(30), Use::Share(1.0)),
            ("half of few", [failed, good].repeat(9), Use::Share(1.0)),
        ] {
            let mut standing = Standing::new(now);
            for sign in signs {
                standing.note(now, sign, false);
            }
            assert_eq!(standing.usable(now), expected, "{what}");
        }
    }

    #[test]
    fn a_window_ends() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        for count in 0..60 {
            standing.note(
                now + ms(count * 1000),
                if count % 2 == 0 { Sign::Failed } else { Sign::Good },
                false,
            );
        }
        assert_eq!(standing.usable(now + ms(60_000)), Use::Share(1.0), "ten calls a window are too few");
    }

    #[test]
    fn it_is_tried_once_at_a_time_and_comes_back_slowly() {
        let now = Instant::now();
        let mut standing = out(now);
        assert!(!standing.take(now), "it is out");
        let tried = now + OUT_MIN;
        assert_eq!(standing.usable(tried - ms(1)), Use::Out { until: tried, certain: true });
        assert_eq!(standing.usable(tried), Use::Trial);
        assert!(standing.take(tried));
        assert_eq!(standing.usable(tried), Use::OnTrial);
        assert!(!standing.take(tried), "one at a time");
        // An answer to what was sent long ago proves nothing.
        assert!(!standing.note(tried, Sign::Good, false));
        assert_eq!(standing.usable(tried), Use::OnTrial);
        standing.trial_over();
        assert_eq!(standing.usable(tried), Use::Trial, "the caller of the trial went away");
        assert!(standing.take(tried) && standing.note(tried, Sign::Good, true));
        for (after_ms, share) in [(0, 0.1), (1000, 0.1), (5000, 0.5), (10_000, 1.0), (99_000, 1.0)] {
            assert_eq!(standing.usable(tried + ms(after_ms)), Use::Share(share), "{after_ms}");
        }
    }

    #[test]
    fn each_time_it_stays_out_longer_until_that_is_forgotten() {
        let mut now = Instant::now();
        let mut standing = out(now);
        for seconds in [4, 8, 16, 32, 60, 60] {
            let Use::Out { until, .. } = standing.usable(now) else { unreachable!("it is out") };
            now = until;
            assert!(standing.take(now));
            assert!(standing.note(now, Sign::Failed, true));
            let until = now + Duration::from_secs(seconds);
            assert_eq!(standing.usable(now), Use::Out { until, certain: true });
        }
        now += OUT_MAX;
        assert!(standing.take(now) && standing.note(now, Sign::Good, true));
        now += RETURN + FORGET;
        for _ in 0..ROW_MAX {
            standing.note(now, Sign::Failed, false);
        }
        assert_eq!(standing.usable(now), Use::Out { until: now + OUT_MIN, certain: true });
    }

    #[test]
    fn impatience_ends_with_an_answer_or_becomes_certainty() {
        let now = Instant::now();
        let impatient = || {
            let mut standing = Standing::new(now);
            for _ in 0..ROW_MAX {
                standing.note(now, Sign::Silent, false);
            }
            standing
        };
        let mut answered = impatient();
        assert!(answered.note(now, Sign::Good, false));
        assert_eq!(answered.usable(now), Use::Share(RETURN_SHARE_MIN));
        let mut failing = impatient();
        for _ in 0..ROW_MAX {
            failing.note(now, Sign::Failed, false);
        }
        assert_eq!(failing.usable(now), Use::Out { until: now + OUT_MIN, certain: true });
    }

    #[test]
    fn past_failures_fade() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        assert_eq!(standing.recent(now), 0.0);
        for _ in 0..4 {
            standing.note(now, Sign::Failed, false);
        }
        let share = standing.recent(now);
        assert!((0.4..0.42).contains(&share), "{share}");
        assert!((standing.recent(now + RECENT_HALF_LIFE) - share / 2.0).abs() < 1e-9);
        assert_eq!(standing.recent(now + RECENT_HALF_LIFE * 3), 0.0, "and no longer matter");
    }

    proptest! {
        /// Whatever happens: it is never out for longer than the bound, on trial only while somebody tries
        /// it, and comes back by one answered trial.
        #[test]
        fn nothing_keeps_it_out_for_good(steps in prop::collection::vec((0u64..30_000, 0u8..5), 0..200)) {
            let mut now = Instant::now();
            let mut standing = Standing::new(now);
            let mut trial = false;
            for (pause_ms, step) in steps {
                now += ms(pause_ms);
                match step {
                    0 => drop(standing.note(now, Sign::Good, std::mem::take(&mut trial))),
                    1 => drop(standing.note(now, Sign::Failed, std::mem::take(&mut trial))),
                    2 => drop(standing.note(now, Sign::Silent, false)),
                    3 => trial |= standing.take(now),
                    _ => if std::mem::take(&mut trial) { standing.trial_over() },
                }
                if let Use::Out { until, .. } = standing.usable(now) {
                    prop_assert!(until <= now + OUT_MAX);
                }
                prop_assert!((0.0..=1.0).contains(&standing.recent(now)));
                if standing.usable(now) == Use::OnTrial {
                    prop_assert!(trial);
                }
            }
            if trial { standing.trial_over() }
            now += OUT_MAX;
            if standing.take(now) { standing.note(now, Sign::Good, true); }
            prop_assert!(matches!(standing.usable(now), Use::Share(share) if share >= RETURN_SHARE_MIN));
        }
    }
}
