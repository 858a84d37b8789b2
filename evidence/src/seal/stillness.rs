//! Which logs nobody writes any more, by our own monotonic clock: those whose beat stands still. Pure; the clocks of
//! other machines are not asked.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    lease::{self, Watch},
    store::LogRow,
};

/// What was seen of the logs so far.
#[derive(Debug)]
pub(super) struct Stillness {
    watch: Watch,
    /// By the number of the log: the token that was seen, and how long its beat has stood still.
    seen: HashMap<i64, (i64, lease::Stillness)>,
}

impl Stillness {
    /// Logs are still after `watch.still`; they are looked at once in `watch.poll`.
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, seen: HashMap::new() }
    }

    /// Looks at the logs; those that are held, not sealed and not `own`, and stood still for long enough.
    pub(super) fn look<'r>(&mut self, rows: &'r [LogRow], own: &str, now: Instant) -> Vec<&'r LogRow> {
        let is_held = |row: &LogRow| row.token != 0 || row.previous_token != 0;
        let is_watched = |row: &&LogRow| is_held(row) && !row.sealed && row.origin != own;
        let watched: Vec<&LogRow> = rows.iter().filter(is_watched).collect();
        self.seen.retain(|log, _| watched.iter().any(|row| row.log == *log));
        let is_still = |row: &&LogRow| {
            let begun = || (row.token, lease::Stillness::new(self.watch, row.beat, now));
            let seen = self.seen.entry(row.log).or_insert_with(begun);
            let beats = if seen.0 == row.token { seen.1.look(row.beat, now) } else { Some(true) };
            if beats == Some(true) {
                *seen = begun();
            }
            beats == Some(false)
        };
        watched.into_iter().filter(is_still).collect()
    }

    /// Looks at a log anew for a while before it counts as still again.
    pub(super) fn put_off(&mut self, row: &LogRow, by: Duration, now: Instant) {
        let watch = Watch { still: by, ..self.watch };
        self.seen.insert(row.log, (row.token, lease::Stillness::new(watch, row.beat, now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);
    const WATCH: Watch = Watch { still: Duration::from_secs(10), poll: POLL };

    fn row(log: i64, token: i64, beat: i64) -> LogRow {
        LogRow {
            log,
            origin: format!("log-{log}"),
            gateway: "ais/gateway".into(),
            token,
            holder: "h".into(),
            previous_token: 0,
            previous_holder: String::new(),
            last_token: token,
            beat,
            renewed_us: 0,
            size: 0,
            swept: 0,
            sealed: false,
            mark: Vec::new(),
        }
    }

    /// Looks once a second at rows as `rows` gives them; the second at which each log was still first.
    async fn still_at(seconds: i64, mut rows: impl FnMut(i64) -> Vec<LogRow>) -> HashMap<i64, i64> {
        let mut stillness = Stillness::new(WATCH);
        let mut found = HashMap::new();
        for second in 0..seconds {
            let rows = rows(second);
            for row in stillness.look(&rows, "log-9", Instant::now()) {
                found.entry(row.log).or_insert(second);
            }
            tokio::time::advance(POLL).await;
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_still_when_neither_token_nor_beat_changed() {
        let found = still_at(40, |second| {
            let sealed = LogRow { sealed: true, ..row(5, 1, 7) };
            // Silent; beats every nine seconds; taken anew at second 7; nobody's; sealed; our own.
            let taken = row(3, if second < 7 { 1 } else { 2 }, 7);
            vec![row(1, 1, 7), row(2, 1, second / 9), taken, row(4, 0, 7), sealed, row(9, 1, 7)]
        });
        assert_eq!(found.await, HashMap::from([(1, 10), (3, 17)]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_nobody_looked_does_not_count() {
        let mut stillness = Stillness::new(WATCH);
        let rows = [row(1, 1, 7)];
        assert!(stillness.look(&rows, "", Instant::now()).is_empty());
        for _ in 0..4 {
            // The store hung, or this process was stopped.
            tokio::time::advance(Duration::from_secs(3600)).await;
            assert!(stillness.look(&rows, "", Instant::now()).is_empty());
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(
            stillness.look(&rows, "", Instant::now()).len(),
            1,
            "five looks that count for two seconds each"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_was_put_off_comes_again() {
        let mut stillness = Stillness::new(WATCH);
        let rows = [row(1, 1, 7), row(2, 1, 7)];
        let mut times = HashMap::<i64, u32>::new();
        for _ in 0..21 {
            for row in stillness.look(&rows, "", Instant::now()) {
                *times.entry(row.log).or_default() += 1;
                let by = Duration::from_secs(row.log.unsigned_abs() * 2);
                stillness.put_off(row, by, Instant::now());
            }
            tokio::time::advance(POLL).await;
        }
        assert_eq!(times, HashMap::from([(1, 6), (2, 3)]));
    }
}
