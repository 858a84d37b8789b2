//! Reading a request message by message, and noting how it ended.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::{Arc, Body, Probe};

/// Takes messages out of a request.
pub(super) struct Reader {
    pub(super) body: Body,
    pub(super) buffer: BytesMut,
    pub(super) probe: Arc<Probe>,
    pub(super) call: usize,
}

impl Reader {
    /// Whether the request broke off.
    pub(super) fn was_reset(&self) -> bool {
        self.probe.calls()[self.call].request_end == "reset"
    }

    /// The next message; `None` at the end or after a reset, which the probe tells apart.
    pub(super) async fn message(&mut self) -> Option<Bytes> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if self.buffer.len() >= length + 5 {
                    self.buffer.advance(5);
                    self.probe.note(self.call, |seen| seen.messages += 1);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            match self.body.frame().await {
                None => {
                    // Asked again after a reset, a body says that it is over.
                    self.probe.note(self.call, |seen| {
                        if seen.request_end.is_empty() {
                            seen.request_end = "end".to_owned();
                        }
                    });
                    return None;
                }
                Some(Err(_)) => {
                    self.probe.note(self.call, |seen| seen.request_end = "reset".to_owned());
                    return None;
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.probe.note(self.call, |seen| seen.bytes += data.len());
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
