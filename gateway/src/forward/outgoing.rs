//! A body towards the caller, whoever makes it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::reply::Forwarded;
use crate::call::body::BodyError;

/// A body towards the caller.
#[derive(Default)]
pub(crate) enum Reply {
    /// Nothing: the status stands in the headers.
    #[default]
    Empty,
    /// An adapter's.
    Forwarded(Box<Forwarded>),
    /// The gateway's own.
    Own(tonic::body::Body),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Forwarded(reply) => reply.poll(context),
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Forwarded(_) => false,
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Forwarded(_) => SizeHint::default(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
