//! What was measured, and whether it is as it must be.

use std::fmt;

use super::portal::Seen;

/// The connection that calls to all registers share, and the one beside it.
pub const SHARED: usize = 0;
const NAMES: [&str; 2] = ["on the same connection", "on another connection"];

/// How much greater the 99th percentile may be.
const P99_RATIO_MAX: f64 = 1.10;

/// Errors that are shown of each connection.
const ERRORS_SHOWN_MAX: usize = 3;

/// What was seen in one phase, by connection.
#[derive(Default)]
pub struct Phase {
    pub seen: Vec<Seen>,
    /// CPU time of all parties together.
    pub cpu_ticks: u64,
}

/// What was seen on one connection in three phases that follow each other.
struct Round {
    before: Seen,
    with: Seen,
    after: Seen,
}

impl Round {
    /// How much greater the 99th percentile is beside the trouble than around it.
    fn ratio(&self) -> f64 {
        2.0 * p99(&self.with) / (p99(&self.before) + p99(&self.after))
    }

    /// The same of the two phases without trouble: what the machine adds by itself.
    fn control(&self) -> f64 {
        p99(&self.after) / p99(&self.before)
    }
}

/// All rounds.
#[derive(Default)]
pub struct Figures {
    /// By connection.
    rounds: [Vec<Round>; 2],
    /// CPU time of phases without and with the trouble; of the former there are twice as many.
    cpu_ticks: (u64, u64),
}

impl Figures {
    /// Adds a round, and says what was seen on the connection that is shared.
    pub fn add(&mut self, before: Phase, with: Phase, after: Phase) -> String {
        self.cpu_ticks.0 += before.cpu_ticks + after.cpu_ticks;
        self.cpu_ticks.1 += with.cpu_ticks;
        let seen = before.seen.into_iter().zip(with.seen).zip(after.seen);
        for (rounds, ((before, with), after)) in self.rounds.iter_mut().zip(seen) {
            rounds.push(Round { before, with, after });
        }
        let of = |seen: &Seen, percent| ms(percentile(&mut seen.latencies_us.clone(), percent));
        self.rounds[SHARED].last().map_or_else(String::new, |Round { before, with, after }| {
            let percents =
                |percent| format!("{}, {}, {}", of(before, percent), of(with, percent), of(after, percent));
            format!("before, beside, after the trouble: p50 {}; p99 {}", percents(50), percents(99))
        })
    }

    /// Whether no call failed more than without the trouble, and the 99th percentile is within its bound:
    /// the median of the ratios of all rounds.
    pub fn hold(&self) -> bool {
        self.rounds.iter().all(|rounds| {
            let (before, with, after) = errors(rounds);
            with <= before.max(after) && median(rounds.iter().map(Round::ratio).collect()) <= P99_RATIO_MAX
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n| callers of the fourth register | calls | p50 | p99, median of phases | errors |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        for (name, rounds) in NAMES.iter().zip(&self.rounds) {
            let sides: [(&str, Vec<&Seen>); 3] = [
                ("before the trouble", rounds.iter().map(|round| &round.before).collect()),
                ("beside it", rounds.iter().map(|round| &round.with).collect()),
                ("after it", rounds.iter().map(|round| &round.after).collect()),
            ];
            for (side, phases) in sides {
                let mut all: Vec<u64> = phases.iter().flat_map(|seen| seen.latencies_us.clone()).collect();
                let each = ms(median(phases.iter().map(|seen| p99(seen)).collect()));
                let errors: usize = phases.iter().map(|seen| seen.errors.len()).sum();
                let (calls, p50) = (all.len(), ms(percentile(&mut all, 50)));
                writeln!(out, "| {name}, {side} | {calls} | {p50} | {each} | {errors} |")?;
            }
        }
        let (without, with) = self.cpu_ticks;
        let cpu = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX));
        writeln!(out, "\nCPU of all parties: times {:.3}", 2.0 * cpu(with) / cpu(without).max(1.0))?;
        for (name, rounds) in NAMES.iter().zip(&self.rounds) {
            let [low, found, high] = quartiles(rounds.iter().map(Round::ratio).collect());
            let control = median(rounds.iter().map(Round::control).collect());
            let word = if found <= P99_RATIO_MAX { "within" } else { "ABOVE" };
            let (before, with, after) = errors(rounds);
            writeln!(
                out,
                "{name}: p99 times {found:.3}, {word} {P99_RATIO_MAX:.2} ({of} rounds, half of them {low:.2} to \
                 {high:.2}; without trouble times {control:.3}); errors {before}, {with}, {after}",
                of = rounds.len()
            )?;
            // Exchange ids differ, so that each error does.
            let errors = rounds.iter().flat_map(|Round { before, with, after }| {
                before.errors.iter().chain(&with.errors).chain(&after.errors)
            });
            for error in errors.take(ERRORS_SHOWN_MAX) {
                writeln!(out, "    {error}")?;
            }
        }
        Ok(())
    }
}

/// The 99th percentile in microseconds.
fn p99(seen: &Seen) -> f64 {
    percentile(&mut seen.latencies_us.clone(), 99).max(1.0)
}

/// Before, beside and after the trouble.
fn errors(rounds: &[Round]) -> (usize, usize, usize) {
    rounds.iter().fold((0, 0, 0), |(before, with, after), round| {
        let Round { before: a, with: b, after: c } = round;
        (before + a.errors.len(), with + b.errors.len(), after + c.errors.len())
    })
}

fn median(values: Vec<f64>) -> f64 {
    quartiles(values)[1]
}

/// A quarter of the values is below the first, a half below the second, a quarter above the third.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(0.0))
}

/// A percentile in microseconds.
fn percentile(latencies_us: &mut [u64], percent: usize) -> f64 {
    latencies_us.sort_unstable();
    let at = (latencies_us.len() * percent / 100).min(latencies_us.len().saturating_sub(1));
    f64::from(u32::try_from(latencies_us.get(at).copied().unwrap_or(0)).unwrap_or(u32::MAX))
}

fn ms(us: f64) -> String {
    format!("{:.2} ms", us / 1000.0)
}
