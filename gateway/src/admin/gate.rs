//! Who may bring spans, and how many at once: decided before anything of the request is read. Knows no span.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tonic::{Status, metadata::MetadataMap, server::NamedService};
use tower::{Service, ServiceExt as _};
use ura_proto::{
    SystemId,
    refusal::{Language, Term},
};

use super::{caller, status};
use crate::directory::Directory;

/// Requests of one system at once.
const OF_SYSTEM_MAX: usize = 2;
/// Requests of all systems at once; each holds what one may have.
const ALL_MAX: usize = 64;
/// From the head of a request to its answer.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    directory: Directory,
    in_hand: Arc<Mutex<InHand>>,
}

/// Requests in hand.
#[derive(Default)]
struct InHand {
    all: usize,
    systems: HashMap<SystemId, usize>,
}

/// One of them, until dropped.
struct Place {
    system: SystemId,
    in_hand: Arc<Mutex<InHand>>,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, directory: Directory) -> Self {
        Self { inner, directory, in_hand: Arc::default() }
    }

    /// A place for a request with this head.
    fn place<B>(&self, request: &Request<B>) -> Result<Place, Status> {
        let language = caller::language(&MetadataMap::from_headers(request.headers().clone()));
        let system = caller::known(request.extensions(), &self.directory.load(), language)?;
        self.take(system, language)
    }

    fn take(&self, system: SystemId, language: Language) -> Result<Place, Status> {
        let mut in_hand = locked(&self.in_hand);
        let own = in_hand.systems.get(&system).copied().unwrap_or_default();
        if own >= OF_SYSTEM_MAX || in_hand.all >= ALL_MAX {
            return Err(status::overloaded(Term::Spans, language));
        }
        in_hand.all += 1;
        in_hand.systems.insert(system.clone(), own + 1);
        Ok(Place { system, in_hand: self.in_hand.clone() })
    }
}

fn locked(in_hand: &Mutex<InHand>) -> MutexGuard<'_, InHand> {
    in_hand.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_hand = locked(&self.in_hand);
        in_hand.all -= 1;
        if let Some(own) = in_hand.systems.get_mut(&self.system) {
            *own -= 1;
            if *own == 0 {
                in_hand.systems.remove(&self.system);
            }
        }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (place, inner) = (self.place(&request), self.inner.clone());
        Box::pin(async move {
            let _place = match place {
                Ok(place) => place,
                Err(status) => return Ok(status.into_http()),
            };
            match tokio::time::timeout(REQUEST_MAX, inner.oneshot(request)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let late = format!("the request did not end within {} s", REQUEST_MAX.as_secs());
                    Ok(Status::deadline_exceeded(late).into_http())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("directory.toml");
        let text = r#"
version = "1"
members = [{ id = "a", name = { en = "A" } }]
systems = [{ id = "a/one", roles = ["consumer"] }, { id = "a/two", roles = ["consumer"] }]
"#;
        std::fs::write(&path, text).expect("written");
        let (directory, _) = Directory::open(&path).expect("a good directory");
        (dir, directory)
    }

    fn request(system: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(system.parse::<SystemId>().expect("valid"));
        request
    }

    async fn code(
        answer: impl Future<Output = Result<Response<tonic::body::Body>, Infallible>>,
    ) -> Option<Code> {
        let answer = answer.await.unwrap_or_else(|never| match never {});
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_is_not_read_and_who_is_slow_is_cut() {
        // Never answers: it waits for the body of a request.
        let inner = tower::service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<tonic::body::Body>, Infallible>>()
        });
        let (_dir, directory) = directory();
        let mut gate = Gate::new(inner, directory);
        assert_eq!(code(gate.call(request("a/stranger"))).await, Some(Code::PermissionDenied));
        let waiting = [gate.call(request("a/one")), gate.call(request("a/one"))];
        assert_eq!(code(gate.call(request("a/one"))).await, Some(Code::Unavailable));
        let other = gate.call(request("a/two"));
        for slow in waiting.into_iter().chain([other]) {
            assert_eq!(code(slow).await, Some(Code::DeadlineExceeded));
        }
        let in_hand = locked(&gate.in_hand);
        assert!(in_hand.all == 0 && in_hand.systems.is_empty(), "their places are free again");
    }
}
