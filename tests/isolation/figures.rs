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

/// Both sides, phase by phase.
pub struct Figures {
    greatest: f64,
    rate: f64,
    /// By connection: pairs of a phase without trouble and one with it.
    pairs: [Vec<(Seen, Seen)>; 2],
    /// CPU time without and with the trouble.
    cpu_ticks: (u64, u64),
}

impl Figures {
    /// Nothing yet; calls a second at most, and those made.
    pub fn new(greatest: f64, rate: f64) -> Self {
        Self { greatest, rate, pairs: [Vec::new(), Vec::new()], cpu_ticks: (0, 0) }
    }

    /// Adds a pair of phases, and says what they were.
    pub fn add(&mut self, without: Phase, with: Phase) -> String {
        self.cpu_ticks.0 += without.cpu_ticks;
        self.cpu_ticks.1 += with.cpu_ticks;
        let mut told = Vec::new();
        for ((pairs, pair), name) in
            self.pairs.iter_mut().zip(without.seen.into_iter().zip(with.seen)).zip(NAMES)
        {
            let of = |seen: &Seen, percent| ms(percentile(&mut seen.latencies_us.clone(), percent));
            let (a, b) = (&pair.0, &pair.1);
            told.push(format!(
                "{name} p50 {} and {}, p99 {} and {}",
                of(a, 50),
                of(b, 50),
                of(a, 99),
                of(b, 99)
            ));
            pairs.push(pair);
        }
        told.join("; ")
    }

    /// Whether no call failed more than without the trouble, and the 99th percentile is within its bound:
    /// the median of the ratios of all pairs.
    pub fn hold(&self) -> bool {
        self.pairs.iter().all(|pairs| {
            let (without, with) = errors(pairs);
            with <= without && ratio(pairs) <= P99_RATIO_MAX
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "greatest throughput {:.0} calls/s; measured at {:.0} calls/s\n",
            self.greatest, self.rate
        )?;
        writeln!(
            out,
            "| callers of the fourth register | calls | p50 | p99 | p99, median of phases | errors |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for (name, pairs) in NAMES.iter().zip(&self.pairs) {
            let sides: [(&str, Vec<&Seen>); 2] = [
                ("without trouble", pairs.iter().map(|pair| &pair.0).collect()),
                ("beside it", pairs.iter().map(|pair| &pair.1).collect()),
            ];
            for (side, phases) in sides {
                let mut all: Vec<u64> = phases.iter().flat_map(|seen| seen.latencies_us.clone()).collect();
                let each = median(
                    phases.iter().map(|seen| percentile(&mut seen.latencies_us.clone(), 99)).collect(),
                );
                let errors: usize = phases.iter().map(|seen| seen.errors.len()).sum();
                let (p50, p99) = (percentile(&mut all, 50), percentile(&mut all, 99));
                let calls = all.len();
                writeln!(
                    out,
                    "| {name}, {side} | {calls} | {} | {} | {} | {errors} |",
                    ms(p50),
                    ms(p99),
                    ms(each)
                )?;
            }
        }
        let (without, with) = self.cpu_ticks;
        let cpu = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX));
        writeln!(out, "\nCPU of all parties: times {:.3}", cpu(with) / cpu(without).max(1.0))?;
        for (name, pairs) in NAMES.iter().zip(&self.pairs) {
            let found = ratio(pairs);
            let word = if found <= P99_RATIO_MAX { "within" } else { "ABOVE" };
            let (without, with) = errors(pairs);
            writeln!(
                out,
                "{name}: p99 times {found:.3}, {word} {P99_RATIO_MAX:.2}; errors {without} and {with}"
            )?;
            // Exchange ids differ, so that each error does.
            let errors = pairs.iter().flat_map(|(without, with)| without.errors.iter().chain(&with.errors));
            for error in errors.take(ERRORS_SHOWN_MAX) {
                writeln!(out, "    {error}")?;
            }
        }
        Ok(())
    }
}

/// Median of the ratios of the 99th percentiles, pair by pair.
fn ratio(pairs: &[(Seen, Seen)]) -> f64 {
    let p99 = |seen: &Seen| percentile(&mut seen.latencies_us.clone(), 99).max(1.0);
    median(pairs.iter().map(|(without, with)| p99(with) / p99(without)).collect())
}

fn errors(pairs: &[(Seen, Seen)]) -> (usize, usize) {
    pairs.iter().fold((0, 0), |(a, b), (without, with)| (a + without.errors.len(), b + with.errors.len()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
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
