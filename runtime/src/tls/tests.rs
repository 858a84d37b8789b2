//! Real handshakes on loopback, with a PKI minted for each test.

mod handshakes;
mod limits;
mod pki;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pki::{GATEWAY, Leaf, PORTAL, Pki};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::client::TlsStream;

use super::{
    Accepted, CertificateError, Identity, Listener, ListenerCounters, ListenerLimits, Peer, Reloader,
    SpiffeId, TlsError, Verify, connect, spiffe,
};

/// Longer than anything here takes; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener whose connections arrive on a channel.
struct Served {
    address: SocketAddr,
    counters: Arc<ListenerCounters>,
    reloader: Reloader,
    accepted: mpsc::UnboundedReceiver<Accepted>,
}

fn listener(config: Arc<ServerConfig>, limits: ListenerLimits) -> Listener {
    Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), config, limits).expect("a free port")
}

fn serve(config: Arc<ServerConfig>, limits: ListenerLimits) -> Served {
    let mut listener = listener(config, limits);
    let (to, accepted) = mpsc::unbounded_channel();
    let (address, counters, reloader) = (listener.local_addr(), listener.counters(), listener.reloader());
    tokio::spawn(async move { while to.send(listener.accept().await).is_ok() {} });
    Served { address, counters, reloader, accepted }
}

impl Served {
    async fn next(&mut self) -> Accepted {
        tokio::time::timeout(PATIENCE, self.accepted.recv()).await.expect("in time").expect("listening")
    }

    async fn dial(&self, config: &Arc<ClientConfig>) -> Result<(TlsStream<TcpStream>, Peer), TlsError> {
        connect(&self.address.to_string(), Arc::clone(config), PATIENCE).await
    }

    /// Dials and waits until the server has refused, which TLS 1.3 tells only afterwards.
    async fn is_refused(&self, config: &Arc<ClientConfig>) -> String {
        match self.dial(config).await {
            Err(TlsError::Handshake { source, .. }) => source.to_string(),
            Err(TlsError::Peer { source, .. }) => source.to_string(),
            Err(other) => other.to_string(),
            Ok((mut stream, _)) => match stream.read(&mut [0; 1]).await {
                Ok(0) => "closed".to_owned(),
                Ok(_) => "not refused".to_owned(),
                Err(error) => error.to_string(),
            },
        }
    }
}

/// Waits until a counter has this value.
async fn counted(counter: &AtomicU64, value: u64) {
    let reached = async {
        while counter.load(Ordering::Relaxed) != value {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{} instead of {value}", counter.load(Ordering::Relaxed));
}

fn spiffe_id(text: &str) -> SpiffeId {
    text.parse().expect("a SPIFFE id")
}

#[test]
fn folders_that_are_no_identity() {
    let pki = Pki::new();
    for (index, (file, content, said)) in [
        ("cert.pem", None, "cert.pem cannot be read"),
        ("key.pem", None, "key.pem cannot be read"),
        ("ca.pem", None, "ca.pem cannot be read"),
        ("cert.pem", Some(""), "cert.pem: no certificate in it"),
        ("ca.pem", Some("what?"), "ca.pem: no certificate in it"),
        ("key.pem", Some("what?"), "key.pem: not a private key in PEM"),
        (
            "cert.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            "cannot be parsed",
        ),
        ("cert.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), "cert.pem: not certificates in PEM"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = pki.folder(&index.to_string(), &Leaf::default());
        match content {
            None => fs::remove_file(dir.join(file)).expect("removed"),
            Some(content) => fs::write(dir.join(file), content).expect("written"),
        }
        let error = Identity::load(&dir).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
    let (one, other) = (pki.folder("one", &Leaf::default()), pki.folder("other", &Leaf::default()));
    fs::copy(other.join("key.pem"), one.join("key.pem")).expect("copied");
    let error = Identity::load(&one).expect_err("another's key").to_string();
    assert!(error.contains("key.pem: does not go with"), "{error}");
}

#[test]
fn a_leaf_names_exactly_one_system() {
    let pki = Pki::new();
    for (name, uris, said) in [
        ("none", &[][..], "the certificate has no SPIFFE id"),
        ("two", &[PORTAL, GATEWAY][..], "the certificate has 2 URI names"),
        ("web", &["https://ura.example/a"][..], "URI name is no SPIFFE id"),
        ("bare", &["spiffe://ura.example"][..], "URI name is no SPIFFE id"),
    ] {
        let dir = pki.folder(name, &Leaf { uris, ..Leaf::default() });
        let error = Identity::load(&dir).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    let dir = pki.folder("one", &Leaf::default());
    let der = CertificateDer::from_pem_file(dir.join("cert.pem")).expect("PEM");
    assert_eq!(spiffe::Leaf::read(&der).expect("a leaf").id, spiffe_id(PORTAL));
    let longer = CertificateDer::from([der.as_ref(), b"x"].concat());
    assert!(matches!(spiffe::Leaf::read(&longer), Err(CertificateError::Malformed(_))));
}
