//! gRPC message framing (gRPC over HTTP/2, "Length-Prefixed-Message"): one byte of flags, four of
//! length, the message. Watches a stream of bytes pass and hands out whole messages where wanted.

use bytes::{Bytes, BytesMut};

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;

/// One message, without its prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether it is compressed by the call's `grpc-encoding`.
    pub(crate) compressed: bool,
    /// Its bytes; empty where only the framing is watched.
    pub(crate) bytes: Bytes,
}

/// Why bytes are not gRPC messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A flag byte other than 0 and 1.
    #[error("a message begins with flag {0}, allowed are 0 and 1")]
    Flag(u8),
    /// A message above the limit.
    #[error("a message of {bytes} bytes is above the limit of {bytes_max}")]
    TooLarge {
        /// Its length as announced.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The stream ended inside a message.
    #[error("the stream ended inside a message")]
    Truncated,
}

/// Follows the messages of one direction of a call.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes_max: usize,
    collect: bool,
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    body_left: usize,
    body: BytesMut,
    /// Messages seen whole so far.
    pub(crate) messages: u64,
}

impl Frames {
    /// Follows messages of at most `bytes_max`; with `collect` it hands out their bytes.
    pub(crate) fn new(bytes_max: usize, collect: bool) -> Self {
        Self {
            bytes_max,
            collect,
            prefix: [0; PREFIX_BYTES],
            prefix_bytes: 0,
            body_left: 0,
            body: BytesMut::new(),
            messages: 0,
        }
    }

    /// Takes the next bytes and calls `each` for every message that ends in them. Returns how many
    /// of the bytes belong to messages that have ended.
    pub(crate) fn push(&mut self, data: &Bytes, mut each: impl FnMut(Message)) -> Result<usize, FrameError> {
        let (mut at, mut ended) = (0, 0);
        while at < data.len() {
            if self.prefix_bytes < PREFIX_BYTES {
                let take = (PREFIX_BYTES - self.prefix_bytes).min(data.len() - at);
                self.prefix[self.prefix_bytes..self.prefix_bytes + take]
                    .copy_from_slice(&data[at..at + take]);
                self.prefix_bytes += take;
                at += take;
                if self.prefix_bytes < PREFIX_BYTES {
                    return Ok(ended);
                }
                self.begin()?;
            }
            let take = self.body_left.min(data.len() - at);
            let part = data.slice(at..at + take);
            self.body_left -= take;
            at += take;
            if self.body_left == 0 {
                each(self.finish(part));
                ended = at;
            } else if self.collect {
                self.body.extend_from_slice(&part);
            }
        }
        Ok(ended)
    }

    /// Whether the bytes so far end between two messages.
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        if self.prefix_bytes == 0 { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// Checks a complete prefix.
    fn begin(&mut self) -> Result<(), FrameError> {
        let [flag, a, b, c, d] = self.prefix;
        if flag > 1 {
            return Err(FrameError::Flag(flag));
        }
        let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
        if bytes > self.bytes_max {
            return Err(FrameError::TooLarge { bytes, bytes_max: self.bytes_max });
        }
        self.body_left = bytes;
        Ok(())
    }

    /// The message that ends with `part`, without a copy where it came in one piece.
    fn finish(&mut self, part: Bytes) -> Message {
        self.prefix_bytes = 0;
        self.messages += 1;
        let bytes = if !self.collect {
            Bytes::new()
        } else if self.body.is_empty() {
            part
        } else {
            self.body.extend_from_slice(&part);
            self.body.split().freeze()
        };
        Message { compressed: self.prefix[0] == 1, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            out.push(0);
            out.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
            out.extend_from_slice(message);
        }
        out
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let expected: [&[u8]; 4] = [b"one", b"", b"a longer third message", b"x"];
        let whole = framed(&expected);
        for piece in 1..=whole.len() {
            let mut frames = Frames::new(64, true);
            let mut seen = Vec::new();
            for chunk in whole.chunks(piece) {
                frames.push(&Bytes::copy_from_slice(chunk), |m| seen.push(m.bytes)).expect("well framed");
            }
            frames.end().expect("ends between messages");
            assert_eq!(seen, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn bad_framing_is_told() {
        let mut frames = Frames::new(4, false);
        assert_eq!(frames.push(&Bytes::from_static(&[2, 0, 0, 0, 0]), |_| ()), Err(FrameError::Flag(2)));
        let mut frames = Frames::new(4, false);
        let error = frames.push(&Bytes::from(framed(&[b"12345"])), |_| ()).expect_err("too large");
        assert_eq!(error, FrameError::TooLarge { bytes: 5, bytes_max: 4 });
        for cut in [3, 6] {
            let mut frames = Frames::new(64, false);
            let bytes = Bytes::from(framed(&[b"12"])).slice(..cut);
            frames.push(&bytes, |_| ()).expect("so far");
            assert_eq!(frames.end(), Err(FrameError::Truncated));
        }
    }
}
