//! One connection to the server: TCP, TLS where it has it, HTTP/2.

use std::{fs, io::Read as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use ura_runtime::process::chain;

use super::{Address, Bridge};
use crate::config::Limits;

/// Largest file of authorities, in bytes.
const AUTHORITIES_BYTES_MAX: u64 = 1024 * 1024;
/// Most bytes of one reply that wait for the caller to read, and of all on a connection together: one
/// caller that does not read leaves room for the others.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Most bytes of one request that wait for the server to read.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How to reach the server.
pub(super) struct Dial {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    header_bytes_max: u32,
}

/// A connection: what asks on it, and the task that drives it, which tells why it ended.
pub(super) type Wired = (SendRequest<Bytes>, JoinHandle<String>);

impl Dial {
    /// Reads the authorities, where the server has TLS.
    pub(super) fn new(bridge: &Bridge, limits: &Limits) -> Result<Self, String> {
        let tls = match (&bridge.ca, bridge.to.is_tls()) {
            (Some(ca), true) => {
                let host = bridge.to.host();
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| format!("`{host}` is no name that a certificate can have"))?;
                Some((TlsConnector::from(client(ca)?), name))
            }
            (None, true) => return Err(format!("{} needs the authorities of its certificate", bridge.to)),
            (_, false) => None,
        };
        Ok(Self {
            address: bridge.to.clone(),
            tls,
            timeout: Duration::from_millis(limits.connect_timeout_ms),
            header_bytes_max: limits.header_bytes_max,
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// A new connection, or why there is none.
    pub(super) async fn connect(&self) -> Result<Wired, String> {
        let connecting = tokio::time::timeout(self.timeout, self.open());
        connecting.await.unwrap_or_else(|_| Err(format!("no connection within {:?}", self.timeout)))
    }

    async fn open(&self) -> Result<Wired, String> {
        let tcp = TcpStream::connect(self.address.host_port()).await.map_err(|error| chain(&error))?;
        tcp.set_nodelay(true).map_err(|error| chain(&error))?;
        match &self.tls {
            None => self.handshake(tcp).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await.map_err(|error| chain(&error))?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err("the server does not offer HTTP/2 (ALPN h2)".to_owned());
                }
                self.handshake(stream).await
            }
        }
    }

    /// No pings of our own: gRPC servers hang up on peers that ping often. The health that is asked for
    /// shows a server that has stopped.
    async fn handshake<IO>(&self, io: IO) -> Result<Wired, String>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(self.header_bytes_max);
        let (sender, connection) = builder.handshake(io).await.map_err(|error| chain(&error))?;
        let driver = tokio::spawn(async move {
            match connection.await {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) => chain(&error),
            }
        });
        Ok((sender, driver))
    }
}

/// TLS that trusts these authorities and nobody else.
fn client(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let wrong = |reason: String| format!("{}: {reason}", ca.display());
    let mut pem = Vec::new();
    let file = fs::File::open(ca).map_err(|error| wrong(error.to_string()))?;
    file.take(AUTHORITIES_BYTES_MAX).read_to_end(&mut pem).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(format!("not certificates in PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("cannot be trusted: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
