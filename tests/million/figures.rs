//! What was measured, as a table in Markdown. Pure.

use std::time::Duration;

use crate::{child::Ran, questions::Times};

/// A command that passed over so many entries.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    pub entries: u64,
    pub ran: Ran,
}

/// Answers to one sort of question.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub name: &'static str,
    pub times: Times,
}

/// All figures of one store.
#[derive(Debug, Default)]
pub struct Figures {
    pub exchanges: u64,
    /// Entries and time of each part, in order.
    pub filled: Vec<(u64, Duration)>,
    /// How long the log took to open when nearly full.
    pub opened: Duration,
    pub bytes_per_exchange: f64,
    pub verified: Vec<(u64, Verified)>,
    pub found: Vec<Found>,
    pub commands: Vec<(&'static str, Ran)>,
    pub exported: Option<Verified>,
    pub exported_bytes_per_exchange: f64,
    pub export_verified: Option<Verified>,
    /// And how many entries account for it.
    pub pruned: Option<(Ran, u64)>,
    pub verified_pruned: Option<Verified>,
}

impl Figures {
    /// Rows of the table: what was measured, and the figure.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut add = |name: String, value: String| rows.push((name, value));
        let (entries, took) =
            self.filled.iter().fold((0, Duration::ZERO), |(n, t), (entries, took)| (n + entries, t + *took));
        add("written, entries a second".to_owned(), rate(entries, took));
        if let Some((entries, took)) = self.filled.last() {
            add("… the last ninth of them".to_owned(), rate(*entries, *took));
        }
        add("on disk, bytes an exchange".to_owned(), format!("{:.0}", self.bytes_per_exchange));
        for (exchanges, verified) in &self.verified {
            add(format!("`verify` of {} exchanges", grouped(*exchanges)), passed(verified));
        }
        for found in &self.found {
            add(format!("found by {}: median, longest, first", found.name), times(&found.times));
        }
        for (name, ran) in &self.commands {
            add(format!("{name}, the whole command"), format!("{} ms", ran.took.as_millis()));
        }
        if let Some(exported) = &self.exported {
            let bytes =
                format!("{}, {:.0} bytes an exchange", passed(exported), self.exported_bytes_per_exchange);
            add("`export`".to_owned(), bytes);
        }
        if let Some(verified) = &self.export_verified {
            add("`verify` of the export".to_owned(), passed(verified));
        }
        if let Some((ran, removals)) = &self.pruned {
            let took =
                format!("{:.0} s, {}, {} removals", ran.took.as_secs_f64(), memory(ran), grouped(*removals));
            add("`prune` of the older half".to_owned(), took);
        }
        if let Some(verified) = &self.verified_pruned {
            add("`verify` after that".to_owned(), passed(verified));
        }
        rows
    }
}

/// A table with a column for each store.
pub fn table(columns: &[(&str, Figures)]) -> String {
    let rows: Vec<_> = columns.iter().map(|(_, figures)| figures.rows()).collect();
    let Some(first) = rows.first() else { return String::new() };
    let exchanges = columns.first().map_or(0, |(_, figures)| figures.exchanges);
    let stores: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut lines = vec![
        format!("| {} exchanges | {} |", grouped(exchanges), stores.join(" | ")),
        format!("|---|{}", "---|".repeat(columns.len())),
    ];
    for (place, (name, _)) in first.iter().enumerate() {
        let values: Vec<&str> = rows.iter().map(|rows| rows[place].1.as_str()).collect();
        lines.push(format!("| {name} | {} |", values.join(" | ")));
    }
    lines.join("\n")
}

fn passed(passed: &Verified) -> String {
    let Verified { entries, ran } = passed;
    format!("{:.1} s, {} entries a second, {}", ran.took.as_secs_f64(), rate(*entries, ran.took), memory(ran))
}

fn memory(ran: &Ran) -> String {
    format!("{} MiB", ran.peak_kib.div_ceil(1024))
}

fn times(times: &Times) -> String {
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    format!("{}, {}, {} ms", ms(times.median), ms(times.longest), ms(times.first))
}

fn rate(count: u64, took: Duration) -> String {
    let rate = Duration::from_secs(1).as_nanos() * u128::from(count) / took.as_nanos().max(1);
    grouped(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
