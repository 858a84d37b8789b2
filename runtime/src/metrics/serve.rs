//! The listener that shows the page: plain HTTP, one path, one request for each connection. Who asks is not
//! asked for: it listens on the loopback unless the operator says otherwise. Knows no number.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::Page;

/// The one path.
const PATH: &str = "/metrics";
/// What the rest is told.
const ELSEWHERE: &str = "This is where Prometheus reads the numbers of a process of Ura: GET /metrics\n";
/// Connections that the kernel holds until they are taken.
const BACKLOG: i32 = 64;
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after the system refused a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where numbers are shown, `[metrics]`. Without the table they are not shown at all: a port that nobody
/// asked for is a surface, and two processes on one machine would meet on a fixed one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address of the listener. Whoever reaches it may read: keep it on the loopback or a network of
    /// operators.
    pub listen: SocketAddr,
    /// Connections at the same time, 1 to 1024; one more is closed at once.
    pub connections_max: usize,
    /// Time for a request's head, above 0.
    pub header_timeout_ms: u64,
    /// Time for a whole connection, the answer included, above 0.
    pub connection_timeout_ms: u64,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            connections_max: 16,
            header_timeout_ms: 5_000,
            connection_timeout_ms: 10_000,
        }
    }
}

impl MetricsConfig {
    /// Tells each limit that no process could keep.
    pub fn check(&self, mut tell: impl FnMut(String)) {
        if !(1..=1024).contains(&self.connections_max) {
            tell(format!("metrics.connections_max must be 1 to 1024, and is {}", self.connections_max));
        }
        for (name, is_zero) in [
            ("header_timeout_ms", self.header_timeout_ms == 0),
            ("connection_timeout_ms", self.connection_timeout_ms == 0),
        ] {
            if is_zero {
                tell(format!("metrics.{name} must be more than 0"));
            }
        }
    }
}

/// A listener that shows a page.
pub struct MetricsListener {
    tcp: TcpListener,
    address: SocketAddr,
    config: MetricsConfig,
}

impl MetricsListener {
    /// Begins to listen. One process at a time listens on an address: numbers of two would be mixed. Must be called inside a tokio runtime with time and network.
    ///
    /// # Errors
    /// What the system says, such as an address in use by somebody else.
    pub fn bind(config: MetricsConfig) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(config.listen),
            socket2::Type::STREAM.nonblocking().cloexec(),
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&config.listen.into())?;
        socket.listen(BACKLOG)?;
        let tcp = TcpListener::from_std(socket.into())?;
        Ok(Self { address: tcp.local_addr()?, tcp, config })
    }

    /// Where it listens; the port that the system chose where port 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Shows the page that `page` makes for each that asks. Never ends: drop it to stop.
    pub async fn serve(self, page: impl Fn() -> Page + Send + Sync + 'static) -> Infallible {
        let page = Arc::new(page);
        let places = Arc::new(Semaphore::new(self.config.connections_max));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, address)) => match places.clone().try_acquire_owned() {
                        Ok(place) => {
                            let (page, config) = (page.clone(), self.config);
                            connections.spawn(async move {
                                connection(stream, config, &*page).await;
                                drop(place);
                            });
                        }
                        Err(_) => tracing::debug!(%address, "a reader of metrics is refused: connections_max"),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "the system gives no connection to a reader of metrics");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

/// One connection: one request and its answer.
async fn connection(stream: TcpStream, config: MetricsConfig, page: &(impl Fn() -> Page + Sync)) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = answer(request.method(), request.uri().path(), page);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(Duration::from_millis(config.connection_timeout_ms), served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a reader of metrics went away"),
        Err(_) => tracing::debug!("a reader of metrics was too slow"),
    }
}

fn answer(method: &Method, path: &str, page: impl Fn() -> Page) -> Response<Full<Bytes>> {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let (status, kind, text) = match (path, method) {
        (PATH, &Method::GET | &Method::HEAD) => {
            (StatusCode::OK, HeaderValue::from_static(Page::CONTENT_TYPE), page().into_text())
        }
        (PATH, _) => (StatusCode::METHOD_NOT_ALLOWED, plain, ELSEWHERE.to_owned()),
        _ => (StatusCode::NOT_FOUND, plain, ELSEWHERE.to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests;
