//! Room on the disks that are written to. Asks the system; changes nothing.

use std::path::Path;

use super::finding::Finding;

const CHECK: &str = "disk";

/// Less free than this is a problem: the log stops when nothing is left, and with it every call. In bytes.
const PROBLEM_BYTES: u64 = 512 << 20;
/// Less free than this is a warning, in bytes: a million exchanges take about a gigabyte.
const WARNING_BYTES: u64 = 2 << 30;
/// The same as shares of the disk, in percent.
const PROBLEM_PERCENT: u64 = 2;
const WARNING_PERCENT: u64 = 10;

/// What the disk of this path says. `what` is kept there.
pub(super) fn check(what: &str, path: &Path) -> Finding {
    // A file that is not there yet will lie on the disk of its folder.
    let there = path.ancestors().find(|place| place.exists()).unwrap_or(path);
    let place = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match rustix::fs::statvfs(place) {
        Err(error) => Finding::problem(
            CHECK,
            format!("{what}: the disk of {} cannot be asked: {error}", place.display()),
            "see whether it is mounted, and may be entered by this user",
        ),
        Ok(found) if found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => Finding::problem(
            CHECK,
            format!("{what}: the disk of {} is mounted read-only", place.display()),
            "look for disk errors (`dmesg`), then mount it for writing",
        ),
        // What is free for this user, and what there is; a fresh inode is needed for SQLite's files, too.
        Ok(found) => judge(
            &format!("{what}, {}", place.display()),
            found.f_bavail.saturating_mul(found.f_frsize),
            found.f_blocks.saturating_mul(found.f_frsize),
            (found.f_files > 0 && found.f_favail == 0).then_some("no inode is free"),
        ),
    }
}

fn judge(what: &str, free_bytes: u64, all_bytes: u64, other: Option<&str>) -> Finding {
    let percent = free_bytes.saturating_mul(100).checked_div(all_bytes).unwrap_or(0);
    let what = match other {
        None => format!("{what}: {} MiB free, {percent}%", free_bytes >> 20),
        Some(other) => format!("{what}: {other}"),
    };
    let todo = "make room or a larger disk; calls are refused when it is full";
    // A share alone would cry on large disks, bytes alone on small ones.
    if other.is_some() || free_bytes < PROBLEM_BYTES && percent < WARNING_PERCENT || percent < PROBLEM_PERCENT
    {
        Finding::problem(CHECK, what, todo)
    } else if free_bytes < WARNING_BYTES || percent < WARNING_PERCENT && free_bytes < 10 * WARNING_BYTES {
        Finding::warning(CHECK, what, todo)
    } else {
        Finding::ok(CHECK, what)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn how_much_is_enough() {
        const GIB: u64 = 1 << 30;
        for (free, all, other, level) in [
            (40 * GIB, 80 * GIB, None, Level::Ok),
            (50 * GIB, 1000 * GIB, None, Level::Ok),
            (8 * GIB, 100 * GIB, None, Level::Warning),
            (GIB, 4 * GIB, None, Level::Warning),
            (300 << 20, 100 * GIB, None, Level::Problem),
            (GIB, 100 * GIB, None, Level::Problem),
            (0, 0, None, Level::Problem),
            (40 * GIB, 80 * GIB, Some("no inode is free"), Level::Problem),
        ] {
            let found = judge("store", free, all, other);
            assert_eq!(found.level, level, "{free} of {all}: {found:?}");
        }
    }

    #[test]
    fn the_system_is_asked() {
        // A file system that never has a free block stands in for a full disk.
        let full = check("store", Path::new("/proc/self"));
        assert_eq!(full.level, Level::Problem, "{full:?}");
        assert!(full.what.contains(" 0 MiB free"), "{full:?}");
        let dir = tempfile::tempdir().expect("temporary folder");
        let there = check("store", &dir.path().join("not/there/yet.db"));
        assert!(there.what.contains("MiB free") && !there.what.contains("yet.db"), "{there:?}");
    }
}
