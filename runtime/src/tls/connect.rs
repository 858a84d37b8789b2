//! Dialling: TCP, TLS and who answered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{CertificateError, Peer, TlsError, spiffe::Leaf};

/// How long what a dialling side sends may stay unacknowledged.
const DIALLED_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Connects to `address`, `host:port` with a DNS name, an IPv4 address or an IPv6 address in
/// brackets. `timeout` covers name resolution, TCP and the handshake.
///
/// In TLS 1.3 a server that refuses *this* side's certificate says so only afterwards: the first read
/// fails then.
///
/// # Errors
/// [`TlsError::Address`], [`TlsError::Connect`], [`TlsError::Handshake`] or [`TlsError::Timeout`].
pub async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<(TlsStream<TcpStream>, Peer), TlsError> {
    match tokio::time::timeout(timeout, dial(address, config)).await {
        Ok(result) => result,
        Err(_) => Err(TlsError::Timeout { address: address.to_owned(), timeout }),
    }
}

async fn dial(address: &str, config: Arc<ClientConfig>) -> Result<(TlsStream<TcpStream>, Peer), TlsError> {
    // Before anybody is asked for the name.
    server_name(address)?;
    let failed = |source| TlsError::Connect { address: address.to_owned(), source };
    let tcp = TcpStream::connect(address).await.map_err(failed)?;
    secure(tcp, address, config).await
}

/// The handshake with `address`, as [`connect`] makes it, on a connection that leads there: its own or
/// that of a proxy, whose address the peer then has. Takes as long as the peer does.
///
/// # Errors
/// As [`connect`], but for its time.
pub async fn secure(
    tcp: TcpStream,
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<(TlsStream<TcpStream>, Peer), TlsError> {
    let name = server_name(address)?;
    let connect = |source| TlsError::Connect { address: address.to_owned(), source };
    tcp.set_nodelay(true).map_err(connect)?;
    give_up_after(&tcp, DIALLED_UNACKNOWLEDGED_MAX).map_err(connect)?;
    let peer_address = tcp.peer_addr().map_err(connect)?;
    let refused = |source| TlsError::Peer { address: address.to_owned(), source };
    let failed = |source| match CertificateError::in_handshake(&source) {
        Some(reason) => refused(reason.clone()),
        None => TlsError::Handshake { address: address.to_owned(), source },
    };
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(failed)?;
    let peer = peer(stream.get_ref().1, peer_address).map_err(refused)?;
    Ok((stream, peer))
}

/// Ends a connection on which sent bytes are not acknowledged for so long (RFC 5482), closed ones
/// included: else the kernel holds what nobody will take for a quarter of an hour.
pub(super) fn give_up_after(tcp: &TcpStream, unacknowledged: Duration) -> std::io::Result<()> {
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(unacknowledged))
}

/// The other side of a finished handshake.
pub(super) fn peer(connection: &rustls::CommonState, address: SocketAddr) -> Result<Peer, CertificateError> {
    let chain = connection.peer_certificates().unwrap_or_default();
    let leaf = Leaf::read(chain.first().ok_or(CertificateError::NoCertificate)?)?;
    Ok(Peer { id: leaf.id, not_after_unix_s: leaf.not_after_unix_s, fingerprint: leaf.fingerprint, address })
}

/// The host of `host:port`, as TLS checks it.
fn server_name(address: &str) -> Result<ServerName<'static>, TlsError> {
    let refused = || TlsError::Address(address.chars().take(300).collect());
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    port.parse::<u16>().map_err(|_| refused())?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(refused)?,
        None if host.contains(':') => return Err(refused()),
        None => host,
    };
    ServerName::try_from(host.to_owned()).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::server_name;

    #[test]
    fn addresses() {
        for (address, name) in [
            ("gateway.example:443", Some("gateway.example")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:443", Some("::1")),
            ("::1:443", None),
            ("[::1:443", None),
            ("gateway.example", None),
            ("gateway.example:", None),
            ("gateway.example:70000", None),
            (":443", None),
            ("a b:443", None),
            ("", None),
        ] {
            let found = server_name(address).ok().map(|name| name.to_str().into_owned());
            assert_eq!(found.as_deref(), name, "{address}");
        }
    }
}
