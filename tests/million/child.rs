//! The bus's own program as a process of its own: how long it took, and the most memory that it ever had.

use std::{
    ffi::OsString,
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How often is looked at a process that runs; the kernel keeps the most memory of it by itself.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A command that ended well.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    pub took: Duration,
    /// The most memory that it had at any time, resident, in KiB.
    pub peak_kib: u64,
}

impl Ran {
    /// This command and another as if they were one.
    pub fn and(self, other: Self) -> Self {
        Self { took: self.took + other.took, peak_kib: self.peak_kib.max(other.peak_kib) }
    }
}

/// Runs `ura evidence …` to its end, which must be a good one.
pub fn evidence(said: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
    command.arg("evidence").args(arguments.iter().map(OsString::from)).stdin(Stdio::null());
    let output = File::create(said).expect("a file for what it says");
    command.stdout(output.try_clone().expect("a descriptor")).stderr(output);
    let begun = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let (status, peak_kib) = watch(&mut child);
    let took = begun.elapsed();
    let words = std::fs::read_to_string(said).expect("what it said");
    assert!(status.success(), "ura evidence {}: {status}\n{words}", arguments.join(" "));
    assert!(peak_kib > 0, "its memory was seen");
    Ran { took, peak_kib }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement looks now and then; nothing runs on this thread"
)]
fn watch(child: &mut Child) -> (ExitStatus, u64) {
    let path = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        // Of one that has ended nothing is told any more: the last that was told stands.
        peak_kib = peak(&path).unwrap_or(0).max(peak_kib);
        match child.try_wait().expect("its own child") {
            Some(status) => return (status, peak_kib),
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// `VmHWM`, https://man7.org/linux/man-pages/man5/proc_pid_status.5.html.
fn peak(path: &str) -> Option<u64> {
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
