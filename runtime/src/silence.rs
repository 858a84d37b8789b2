//! How long nothing was heard from the other end of a connection.
//!
//! A network that is cut without a word closes nothing: writes go into buffers and reads wait. Whoever
//! is pinged and alive sends something all the time, so that its silence tells. Bytes count, whatever
//! they are: an answer to a ping may stand behind a long reply on a slow line.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// When something was last heard on a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    born: Instant,
    /// Since then.
    heard_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self(Arc::new(Beats { born: Instant::now(), heard_ms: AtomicU64::new(0) }))
    }

    fn beat(&self) {
        let passed_ms = self.0.born.elapsed().as_millis();
        self.0.heard_ms.store(u64::try_from(passed_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When it was, to the millisecond; at first, when the connection came to be.
    fn heard_at(&self) -> Instant {
        self.0.born + Duration::from_millis(self.0.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether nothing was heard for so long.
    #[must_use]
    pub fn is_silent(&self, after: Duration) -> bool {
        self.heard_at().elapsed() >= after
    }

    /// Waits until nothing was heard for so long. After a pause of this process it listens for another half
    /// of the time: what came meanwhile may lie unread, and nobody was pinged.
    pub async fn silent(&self, after: Duration) {
        loop {
            let heard_at = self.heard_at();
            sleep_until(heard_at + after / 2).await;
            let mut listened = 0;
            while listened < 2 && self.heard_at() == heard_at {
                let began = Instant::now();
                tokio::time::sleep(after / 4).await;
                // Who slept much longer was paused, and did not listen.
                listened = if began.elapsed() < after / 2 { listened + 1 } else { 0 };
            }
            if self.heard_at() == heard_at {
                return;
            }
        }
    }

    /// Waits until something is heard again; looks for it so often.
    pub async fn heard(&self, after: Duration, look_every: Duration) {
        while self.is_silent(after) {
            tokio::time::sleep(look_every).await;
        }
    }
}

/// A stream that fails where nothing was read from it for a time, though somebody waits for it.
#[derive(Debug)]
pub struct Heard<S> {
    stream: S,
    pulse: Pulse,
    lost_after: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<S> Heard<S> {
    /// Listens to `stream` from now on; reads fail with [`io::ErrorKind::TimedOut`] after so long a silence.
    pub fn new(stream: S, lost_after: Duration) -> Self {
        let pulse = Pulse::new();
        let timer = Box::pin(sleep_until(pulse.heard_at() + lost_after));
        Self { stream, pulse, lost_after, timer }
    }

    /// When something was last heard.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Waits for the end of the longest silence there may be.
    fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.pulse.is_silent(self.lost_after) {
                let error = format!("nothing was heard for {:?}", self.lost_after);
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, error));
            }
            let due = self.pulse.heard_at() + self.lost_after;
            self.timer.as_mut().reset(due);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // First: after a pause of this process, what came meanwhile counts.
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                self.pulse.beat();
            }
            return Poll::Ready(read);
        }
        self.poll_lost(context).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    const LOST: Duration = Duration::from_secs(6);
    const SILENT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_and_ends_with_a_byte() {
        let (mut far, near) = duplex(64);
        let mut near = Heard::new(near, LOST);
        let pulse = near.pulse();
        let mut byte = [0];
        for _ in 0..3 {
            let began = Instant::now();
            pulse.silent(SILENT).await;
            assert_eq!(began.elapsed().as_secs(), SILENT.as_secs());
            far.write_all(b"x").await.expect("open");
            near.read_exact(&mut byte).await.expect("a byte");
            assert!(!pulse.is_silent(SILENT));
            pulse.heard(SILENT, SILENT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_this_process_is_no_silence_of_the_other_one() {
        let (mut far, near) = duplex(64);
        let mut near = Heard::new(near, LOST);
        let pulse = near.pulse();
        let mut silence = std::pin::pin!(pulse.silent(SILENT));
        timeout(SILENT / 4, silence.as_mut()).await.expect_err("not yet");
        tokio::time::advance(SILENT * 3).await;
        timeout(SILENT / 3, silence.as_mut()).await.expect_err("it was not listened to");
        tokio::time::advance(SILENT * 3).await;
        timeout(SILENT / 3, silence.as_mut()).await.expect_err("nor this time, in the midst of listening");
        far.write_all(b"x").await.expect("open");
        near.read_exact(&mut [0]).await.expect("a byte");
        timeout(SILENT / 2, silence.as_mut()).await.expect_err("it is there");
        silence.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_fails_after_the_longest_silence_and_not_before() {
        let (mut far, near) = duplex(64);
        let mut near = Heard::new(near, LOST);
        let mut byte = [0];
        // Each byte comes just before the time is over.
        for _ in 0..3 {
            let late = async {
                tokio::time::sleep(LOST - Duration::from_millis(5)).await;
                far.write_all(b"x").await.expect("open");
            };
            let (read, ()) = tokio::join!(near.read_exact(&mut byte), late);
            read.expect("heard in time");
        }
        let began = Instant::now();
        let error = near.read_exact(&mut byte).await.expect_err("silent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), LOST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_during_a_pause_is_read_before_the_time_is_looked_at() {
        let (mut far, near) = duplex(64);
        let mut near = Heard::new(near, LOST);
        far.write_all(b"x").await.expect("open");
        tokio::time::advance(LOST * 2).await;
        let mut byte = [0];
        near.read_exact(&mut byte).await.expect("heard");
    }
}
