//! The connection to the gateway: mutually authenticated TLS, HTTP/2. Knows no contract.

mod explain;

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tonic::{Status, body::Body};
use ura_runtime::{
    clock::Clock,
    tls::{self, Identity, TlsError, Verify},
};

use super::keep::{Keeping, Passing};

/// Time for name resolution, TCP and the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a failed connection to say why it failed.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Receive windows in bytes: replies may be large, and standard output may be slow.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Why there is no connection, or none any more: what failed, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  try       {advice}")]
pub(crate) struct ConnectError {
    /// What failed.
    pub(crate) what: String,
    /// What would be right.
    pub(crate) advice: String,
}

/// Who connects to whom.
#[derive(Debug)]
struct Dialled {
    /// `host:port`.
    gateway: String,
    /// The identity folder.
    identity: PathBuf,
    /// End of the own certificate, seconds since 1970-01-01 UTC.
    not_after_unix_s: i64,
    /// When the connection was asked for, in the same.
    now_unix_s: i64,
}

/// An open connection.
pub(crate) struct Connection {
    /// For calls, over and over.
    pub(crate) calls: Calls,
    /// What calls are addressed to.
    pub(crate) origin: Uri,
    dialled: Dialled,
    driver: JoinHandle<hyper::Result<()>>,
}

/// The connection, as typed clients want it.
#[derive(Clone)]
pub(crate) struct Calls {
    sender: http2::SendRequest<Body>,
    keeping: Option<Keeping>,
}

impl Calls {
    /// The same connection, for a call that is kept.
    pub(super) fn keeping(&self, keeping: Keeping) -> Self {
        Self { sender: self.sender.clone(), keeping: Some(keeping) }
    }
}

impl tonic::codegen::Service<http::Request<Body>> for Calls {
    type Response = http::Response<Passing<Incoming>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let keeping = self.keeping.clone();
        let request = match keeping.clone() {
            None => request,
            Some(keeping) => {
                keeping.request(&request);
                request.map(|body| Body::new(Passing::request(body, Some(keeping))))
            }
        };
        let response = self.sender.send_request(request);
        Box::pin(async move {
            let response = response.await?;
            if let Some(keeping) = &keeping {
                keeping.reply(&response);
            }
            Ok(response.map(|body| Passing::reply(body, keeping)))
        })
    }
}

impl Connection {
    /// Connects to `gateway`, `host:port`, with the identity folder `identity`. The gateway must show a
    /// certificate of the folder's `ca.pem` that names `host`.
    pub(crate) async fn open(gateway: &str, identity: &Path) -> Result<Self, ConnectError> {
        Self::open_verified(gateway, identity, Verify::Name).await
    }

    /// As [`open`](Self::open), but the gateway is verified as `verify` says.
    pub(crate) async fn open_verified(
        gateway: &str,
        identity: &Path,
        verify: Verify,
    ) -> Result<Self, ConnectError> {
        let unusable = |error: TlsError| explain::identity(identity, &error);
        let own = Identity::load(identity).map_err(unusable)?;
        let config = own.client_config(&[b"h2"], verify).map_err(unusable)?;
        let dialled = Dialled {
            gateway: gateway.to_owned(),
            identity: identity.to_owned(),
            not_after_unix_s: own.not_after_unix_s(),
            now_unix_s: Clock::system().unix_us().div_euclid(1_000_000),
        };
        let origin = format!("https://{gateway}").parse::<Uri>().map_err(|_| explain::address(gateway))?;
        let (stream, _) = tls::connect(gateway, config, CONNECT_TIMEOUT)
            .await
            .map_err(|error| explain::tls(&error, &dialled))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(explain::no_http2(&dialled));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| explain::lost(&error, &dialled))?;
        let calls = Calls { sender, keeping: None };
        Ok(Self { calls, origin, dialled, driver: tokio::spawn(connection) })
    }

    /// Closes the connection at once, without ending what is under way on it.
    pub(super) async fn abandon(self) {
        self.driver.abort();
        // Cancelled, which is what was wanted.
        drop(self.driver.await);
    }

    /// What became of the connection, when a call on it failed with `status` and nobody answered it. In
    /// TLS 1.3 a gateway that refuses this side's certificate says so only now.
    pub(crate) async fn lost(self, status: &Status) -> ConnectError {
        match tokio::time::timeout(REASON_TIMEOUT, self.driver).await {
            Ok(Ok(Err(error))) => explain::lost(&error, &self.dialled),
            _ => explain::lost(status, &self.dialled),
        }
    }
}
