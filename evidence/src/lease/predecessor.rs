//! The process that hands a log over: it still writes until it has drained. Whether it still lives is
//! seen on its machine, or by beats of the log that are not our own.

use std::time::Duration;

use tokio::time::Instant;

use super::liveness::Seen;

/// How long no beat but our own must be seen before a predecessor elsewhere counts as gone. It beats
/// every second while it drains.
const SILENCE: Duration = Duration::from_secs(10);

/// The process that holds the log's previous token.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor {
    /// Its token.
    pub(crate) token: i64,
    /// The process, as its lease names it.
    pub(crate) holder: String,
    /// The beat at the last look, and when another than us was last seen to beat.
    last: Option<(i64, Instant)>,
}

impl Predecessor {
    /// One that was alive when the log was taken.
    pub(crate) fn new(token: i64, holder: String) -> Self {
        Self { token, holder, last: None }
    }

    /// Whether it is gone. `beat`: the log's beat now; `own`: how many of the beats since the last look
    /// were ours. One too few takes us for the other; one too many would hide one of the other's.
    pub(crate) fn is_gone(&mut self, seen: Seen, beat: i64, own: i64, now: Instant) -> bool {
        let (before, heard) = self.last.unwrap_or((beat, now));
        let heard = if beat.saturating_sub(before) > own { now } else { heard };
        self.last = Some((beat, heard));
        match seen {
            Seen::Alive => false,
            Seen::Dead => true,
            Seen::Elsewhere => now.duration_since(heard) >= SILENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_elsewhere_is_gone_when_only_our_own_beats_are_seen() {
        let mut predecessor = Predecessor::new(3, "elsewhere".into());
        let mut beat = 100;
        // It beats now and then; we beat twice a second.
        for second in 0..30 {
            let theirs = i64::from(second % 9 == 8);
            beat += 2 + theirs;
            assert!(!predecessor.is_gone(Seen::Elsewhere, beat, 2, Instant::now()), "{second}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let mut silent = 0;
        while !predecessor.is_gone(Seen::Elsewhere, beat, 2, Instant::now()) {
            beat += 2;
            silent += 1;
            assert!(silent < 20, "it is never gone");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(silent, 6, "last heard at second 26; ten seconds after that it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn one_on_this_machine_is_gone_when_it_ended() {
        let mut predecessor = Predecessor::new(3, "here".into());
        assert!(!predecessor.is_gone(Seen::Alive, 1, 0, Instant::now()));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(!predecessor.is_gone(Seen::Alive, 1, 0, Instant::now()), "silent, but it lives");
        assert!(predecessor.is_gone(Seen::Dead, 1, 0, Instant::now()));
    }
}
