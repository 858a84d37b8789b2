//! The process: names as Prometheus's own client libraries have them. Linux tells them in `/proc`; elsewhere
//! they are left out.

use std::{fs, sync::LazyLock};

use ura_runtime::{
    clock::Clock,
    metrics::{Page, Type},
};

use super::seconds;

/// Ticks of `/proc/self/stat` in a second: what Linux shows to programs, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// When the gateway began to show its numbers, at its start.
static STARTED_UNIX_US: LazyLock<i64> = LazyLock::new(|| Clock::system().unix_us());

/// Takes the time of the start.
pub(super) fn started() {
    LazyLock::force(&STARTED_UNIX_US);
}

pub(super) fn put(page: &mut Page) {
    page.family("ura_build_info", Type::Gauge, "1 at the version of the program.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.one(
        "process_start_time_seconds",
        Type::Gauge,
        "When the gateway started.",
        seconds(*STARTED_UNIX_US),
    );
    if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_ticks(&stat)) {
        let help = "Processor time of the process, user and system.";
        page.one("process_cpu_seconds_total", Type::Counter, help, ticks / TICKS_PER_SECOND);
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident(&status)) {
        page.one(
            "process_resident_memory_bytes",
            Type::Gauge,
            "Memory of the process that is in RAM.",
            bytes,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The listing itself holds one.
        let help = "Open file descriptors.";
        page.one("process_open_fds", Type::Gauge, help, open.count().saturating_sub(1));
    }
}

/// Fields 14 and 15 of `/proc/self/stat` (proc(5)); the name in field 2 may hold blanks.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some(user + system)
}

/// `VmRSS` of `/proc/self/status`, which is in KiB.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read_as_they_are() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0";
        assert_eq!(cpu_ticks(stat), Some(175.0));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(resident("VmHWM: 9 kB\nVmRSS:\t  12 kB\n"), Some(12_288));
    }
}
