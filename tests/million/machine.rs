//! The machine on which something is measured, in one line.

use std::fs::read_to_string;

const KIB_OF_GIB: u64 = 1 << 20;

/// Processor, cores and memory.
pub fn described() -> String {
    let processors = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&processors, "model name").unwrap_or("a processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let total = value(&memory, "MemTotal").and_then(|total| total.split(' ').next()?.parse::<u64>().ok());
    format!("{model}, {cores} cores, {} GiB of memory", total.unwrap_or(0).div_ceil(KIB_OF_GIB))
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}
