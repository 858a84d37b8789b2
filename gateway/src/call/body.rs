//! Bodies on their way through the gateway, as opaque bytes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Any error of a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any kind, for streams.
pub(crate) type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// An error that hyper turns into RST_STREAM(CANCEL).
pub(crate) fn cancelled() -> BodyError {
    Box::new(h2::Error::from(h2::Reason::CANCEL))
}

/// A peer's body whose end is one: hyper shows a stream that was reset with NO_ERROR, or whose
/// connection went, as if it had ended (hyper#3681). Here that is an error.
pub(crate) struct Guarded(Incoming);

impl Guarded {
    /// Guards a body.
    pub(crate) const fn new(body: Incoming) -> Self {
        Self(body)
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(context)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(error.into())),
            None if self.0.is_end_stream() => None,
            None => Some(Err(cancelled())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Request bytes that are held for all calls together.
#[derive(Clone, Default)]
pub(crate) struct HeldBytes(Arc<AtomicUsize>);

impl HeldBytes {
    /// One call's part, with nothing in it yet.
    pub(crate) fn share(&self) -> Share {
        Share { all: self.0.clone(), bytes: 0 }
    }

    /// What is held now.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One call's part of the held bytes, until dropped.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Takes more; `false` where the limit is reached.
    pub(crate) fn grow(&mut self, bytes: usize, bytes_max: usize) -> bool {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= bytes_max
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request that was read to its end: cheap to send once more.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    chunks: Arc<[Bytes]>,
    next: usize,
    _share: Arc<Share>,
}

impl Held {
    /// Holds these chunks, which count as this share.
    pub(crate) fn new(chunks: Vec<Bytes>, share: Share) -> Self {
        Self { chunks: chunks.into(), next: 0, _share: Arc::new(share) }
    }
}

/// What the gateway sends to an adapter.
pub(crate) enum Outbound {
    /// A unary request, whole.
    Held(Held),
    /// A streamed request, as it comes.
    Stream(AnyBody),
    /// The gateway's own question: reflection, health, the report on a plug.
    Own(tonic::body::Body),
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Held(held) => {
                let chunk = held.chunks.get(held.next).cloned();
                held.next += 1;
                Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
            Self::Stream(body) => body.as_mut().poll_frame(context),
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(held) => held.next >= held.chunks.len(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(held) => {
                SizeHint::with_exact(held.chunks.iter().skip(held.next).map(|c| c.len() as u64).sum())
            }
            Self::Stream(_) => SizeHint::default(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
