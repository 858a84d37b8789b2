//! Whether the holder of a lease lives. A holder on the same machine is looked up among its processes; of
//! any other, the beat is watched. No clock is asked: those of two machines differ, and one may be set
//! back. Knows nothing of logs and stores.

use std::{fmt, fs, time::Duration};

use tokio::time::Instant;

/// How long a beat must stand still, and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Stillness after which nobody beats any more. Holders beat every second.
    pub(crate) still: Duration,
    /// Time between two looks.
    pub(crate) poll: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self { still: Duration::from_secs(5), poll: Duration::from_millis(100) }
    }
}

/// A process, such that no other process on any machine has the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Id of the system's boot (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// Namespace of process ids (`/proc/self/ns/pid`): two containers count from 1 each.
    namespace: String,
    pid: u32,
    /// Start of the process, clock ticks since the boot (proc(5), `stat`, field 22): ids are used again.
    start: u64,
}

/// What can be seen of a holder from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and ended.
    Dead,
    /// It cannot be seen from here.
    Elsewhere,
}

impl Holder {
    /// This process.
    pub(crate) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// A process of this machine and this namespace.
    pub(crate) fn of(pid: u32) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let link = |path: &str| {
            fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
        };
        // A `/proc` of another namespace tells of other processes under the same numbers.
        let is_ours = link("/proc/self") == std::process::id().to_string();
        Self {
            boot: if is_ours { text("/proc/sys/kernel/random/boot_id") } else { String::new() },
            namespace: if is_ours { link("/proc/self/ns/pid") } else { String::new() },
            pid,
            start: stat(pid).and_then(|line| start_of(&line)).unwrap_or(0),
        }
    }

    /// Reads `boot/namespace/pid/start`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut part = || parts.next();
        let (boot, namespace, pid, start) = (part()?, part()?, part()?, part()?);
        let (pid, start) = (pid.parse().ok()?, start.parse().ok()?);
        part().is_none().then(|| Self { boot: boot.to_owned(), namespace: namespace.to_owned(), pid, start })
    }

    /// What this process sees of a holder that a lease names.
    pub(crate) fn sees(&self, other: &str) -> Seen {
        match Self::parse(other) {
            Some(other) => self.judges(&other, stat(other.pid), fs::metadata("/proc/1").is_ok()),
            None => Seen::Elsewhere,
        }
    }

    /// The judgement, from the `stat` line of the other's process id. `all`: `/proc` shows everybody's
    /// processes (proc(5), `hidepid`).
    fn judges(&self, other: &Self, stat: Option<String>, all: bool) -> Seen {
        let known = !self.boot.is_empty() && !self.namespace.is_empty();
        if !known || (&self.boot, &self.namespace) != (&other.boot, &other.namespace) {
            return Seen::Elsewhere;
        }
        match stat {
            Some(line) if start_of(&line) == Some(other.start) && !has_ended(&line) => Seen::Alive,
            None if !all => Seen::Elsewhere,
            Some(_) | None => Seen::Dead,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.start)
    }
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// The fields of a `stat` line from the third on. The second, the program's name, may hold anything.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

/// Field 22 of a `stat` line.
fn start_of(line: &str) -> Option<u64> {
    fields(line).nth(19)?.parse().ok()
}

/// Whether the state (field 3) is that of a process that ended and was not yet waited for.
fn has_ended(line: &str) -> bool {
    matches!(fields(line).next(), Some("Z" | "X"))
}

/// A beat that is looked at until it moves, or has stood still for long enough.
#[derive(Debug)]
pub(crate) struct Stillness {
    watch: Watch,
    first: i64,
    still: Duration,
    looked: Instant,
}

impl Stillness {
    /// Begins to look at a beat that is `first` now.
    pub(crate) const fn new(watch: Watch, first: i64, now: Instant) -> Self {
        Self { watch, first, still: Duration::ZERO, looked: now }
    }

    /// What a look says: it beats (`true`), it stood still for long enough (`false`), or look again.
    pub(crate) fn look(&mut self, beat: i64, now: Instant) -> Option<bool> {
        if beat != self.first {
            return Some(true);
        }
        // A store that hangs makes the holder silent too: a slow look counts as little as a quick one.
        self.still += now.duration_since(self.looked).min(2 * self.watch.poll);
        self.looked = now;
        (self.still >= self.watch.still).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(boot: &str, namespace: &str, pid: u32, start: u64) -> Holder {
        Holder { boot: boot.into(), namespace: namespace.into(), pid, start }
    }

    /// A `stat` line, with a program name that tries to be a state.
    fn line(state: &str, start: u64) -> Option<String> {
        let zeros = "0 ".repeat(18);
        Some(format!("7 (ura) Z) x) {state} {zeros}{start} 0 0\n"))
    }

    #[test]
    fn a_process_is_told_from_others_by_boot_namespace_and_start() {
        let own = holder("b", "pid:[1]", 9, 500);
        let other = holder("b", "pid:[1]", 7, 40);
        let table = [
            ("it runs", &own, &other, line("S", 40), true, Seen::Alive),
            ("it is stopped", &own, &other, line("T", 40), true, Seen::Alive),
            ("it ended, nobody waited", &own, &other, line("Z", 40), true, Seen::Dead),
            ("its id was used again", &own, &other, line("S", 41), true, Seen::Dead),
            ("it is gone", &own, &other, None, true, Seen::Dead),
            ("it may be hidden", &own, &other, None, false, Seen::Elsewhere),
            ("another boot", &own, &holder("c", "pid:[1]", 7, 40), None, true, Seen::Elsewhere),
            ("another container", &own, &holder("b", "pid:[2]", 7, 40), None, true, Seen::Elsewhere),
            ("no /proc", &holder("", "", 9, 500), &holder("", "", 7, 40), None, true, Seen::Elsewhere),
        ];
        for (case, own, other, stat, all, seen) in table {
            assert_eq!(own.judges(other, stat, all), seen, "{case}");
        }
    }

    #[test]
    fn a_holder_survives_its_text() {
        let own = Holder::own();
        assert_eq!(Holder::parse(&own.to_string()), Some(own.clone()));
        assert_eq!(own.sees(&own.to_string()), Seen::Alive, "{own}");
        for bad in ["", "a/b/c", "a/b/7/x", "a/b/7/8/9", "a/b/-7/8"] {
            assert_eq!(Holder::parse(bad), None, "{bad}");
        }
        assert_eq!(own.sees("somebody"), Seen::Elsewhere);
    }

    /// Looks each so many milliseconds until there is an answer; which, and after how many of them.
    fn watched(every_ms: u64, beat: impl Fn(u64) -> i64) -> (bool, u64) {
        let begin = Instant::now();
        let mut stillness = Stillness::new(Watch::default(), 7, begin);
        let mut passed_ms = 0;
        loop {
            passed_ms += every_ms;
            let now = begin + Duration::from_millis(passed_ms);
            if let Some(beats) = stillness.look(beat(passed_ms), now) {
                return (beats, passed_ms);
            }
        }
    }

    #[test]
    fn a_beat_is_watched_until_it_moves_or_stood_still_for_five_seconds() {
        assert_eq!(watched(100, |_| 7), (false, 5000));
        assert_eq!(watched(100, |ms| if ms < 4900 { 7 } else { 8 }), (true, 4900), "one beat is enough");
        assert_eq!(watched(100, |ms| if ms < 4900 { 7 } else { 6 }), (true, 4900), "a log that was put back");
    }

    #[test]
    fn while_the_store_hangs_nobody_is_taken_for_dead() {
        assert_eq!(watched(3000, |_| 7), (false, 75_000), "each look counts as 200 ms");
        assert_eq!(watched(3000, |ms| if ms < 60_000 { 7 } else { 8 }), (true, 60_000));
    }
}
