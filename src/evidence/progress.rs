//! How far a long command is, on standard error, where that is a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(200);

/// A line that is written over and over; it goes when this is dropped.
pub(super) struct Progress {
    what: String,
    written: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Progress of what is named.
    pub(super) fn new(what: String) -> Self {
        Self { what, written: None, is_shown: io::stderr().is_terminal() }
    }

    /// So many are done, of so many.
    pub(super) fn tell(&mut self, done: u64, all: u64) {
        let is_due = self.written.is_none_or(|written| written.elapsed() >= EVERY);
        if self.is_shown && is_due {
            self.written = Some(Instant::now());
            // A closed stderr leaves nobody to tell.
            drop(write!(io::stderr(), "\r\x1b[K{}", line(&self.what, done, all)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.written.is_some() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

fn line(what: &str, done: u64, all: u64) -> String {
    let percent = (u128::from(done) * 100).checked_div(u128::from(all)).unwrap_or(100);
    format!("{what}: {done} of {all} entries, {percent} %")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn how_far() {
        assert_eq!(line("l", 1, 3), "l: 1 of 3 entries, 33 %");
        assert_eq!(line("l", 0, 0), "l: 0 of 0 entries, 100 %");
        assert_eq!(line("l", u64::MAX, u64::MAX), format!("l: {0} of {0} entries, 100 %", u64::MAX));
    }
}
