//! A tunnel through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6). The proxy sees whom the adapter
//! speaks with and no more: TLS goes through it. It also looks up the gateway's name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::config::{Proxy, ProxyUser};

/// Largest head of a proxy's answer, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Largest password file, in bytes.
const PASSWORD_BYTES_MAX: usize = 4 * 1024;
/// What is shown of a proxy's words, in characters.
const REASON_CHARS_MAX: usize = 100;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("cannot connect to the proxy {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the connection to the proxy broke")]
    Broken(#[from] std::io::Error),
    #[error("the password file {path} of the proxy cannot be used: {reason}")]
    Password { path: String, reason: String },
    #[error(
        "the proxy wants to know who asks (407): set `proxy_user` and `proxy_password_file`, or mend them"
    )]
    WhoAsks,
    #[error("the proxy refuses a tunnel to {gateway}: {status} {reason}")]
    Refused { gateway: String, status: u16, reason: String },
    #[error("the proxy does not answer as an HTTP proxy: {0}")]
    NoProxy(&'static str),
}

/// A connection through `proxy` to `gateway`, `host:port`. Takes as long as the proxy does.
pub(super) async fn tunnel(proxy: &Proxy, gateway: &str) -> Result<TcpStream, ProxyError> {
    let request = request(proxy.user.as_ref(), gateway).await?;
    let failed = |source| ProxyError::Connect { address: proxy.address.clone(), source };
    let mut tcp = TcpStream::connect(&proxy.address).await.map_err(failed)?;
    tcp.write_all(request.as_bytes()).await?;
    let head = head(&mut tcp).await?;
    match status(&head)? {
        (200..300, _) => Ok(tcp),
        (407, _) => Err(ProxyError::WhoAsks),
        (status, reason) => Err(ProxyError::Refused { gateway: gateway.to_owned(), status, reason }),
    }
}

async fn request(user: Option<&ProxyUser>, gateway: &str) -> Result<String, ProxyError> {
    let who = match user {
        None => String::new(),
        Some(user) => {
            let password = password(user).await?;
            let credentials = STANDARD.encode(format!("{}:{password}", user.name));
            format!("Proxy-Authorization: Basic {credentials}\r\n")
        }
    };
    Ok(format!("CONNECT {gateway} HTTP/1.1\r\nHost: {gateway}\r\n{who}\r\n"))
}

/// The password, without the end of its line.
async fn password(user: &ProxyUser) -> Result<String, ProxyError> {
    let path = user.password_file.display().to_string();
    let unusable = |reason: &str| ProxyError::Password { path: path.clone(), reason: reason.to_owned() };
    let text = tokio::fs::read(&user.password_file).await.map_err(|error| unusable(&error.to_string()))?;
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(unusable("it is too long"));
    }
    let text = String::from_utf8(text).map_err(|_| unusable("it is not UTF-8"))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(char::is_control) {
        return Err(unusable("it must hold one line, the password"));
    }
    Ok(line.to_owned())
}

/// The head of the answer. The gateway says nothing before it is spoken to, so nothing stands behind it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return Err(ProxyError::NoProxy("its answer goes on after its head"));
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(ProxyError::NoProxy("the head of its answer does not end"));
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ProxyError::NoProxy("it hangs up"));
        }
    }
    Ok(head)
}

/// Status and words of an answer.
fn status(head: &[u8]) -> Result<(u16, String), ProxyError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|status| status.parse().ok()).filter(|status| *status < 1000);
    match status {
        Some(status) if version.starts_with("HTTP/1.") => {
            let reason = words.next().unwrap_or_default().chars().filter(|c| !c.is_control());
            Ok((status, reason.take(REASON_CHARS_MAX).collect()))
        }
        _ => Err(ProxyError::NoProxy("its answer does not begin with HTTP/1.1 and a status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_are_read_to_their_end_and_no_further() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.0 200\r\nVia: x\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\nx", Some("goes on")),
            ("HTTP/1.1 200 OK\r\n", Some("hangs up")),
            ("", Some("hangs up")),
        ] {
            let told = head(&mut answer.as_bytes()).await.err().map(|error| error.to_string());
            match (told, expected) {
                (None, None) => {}
                (Some(told), Some(expected)) => assert!(told.contains(expected), "{answer}: {told}"),
                (told, _) => unreachable!("{answer}: {told:?}"),
            }
        }
        let endless = "x".repeat(2 * HEAD_BYTES_MAX);
        let told = head(&mut endless.as_bytes()).await.expect_err("endless");
        assert!(told.to_string().contains("does not end"), "{told}");
    }

    #[test]
    fn statuses() {
        for (line, expected) in [
            ("HTTP/1.1 200 Connection established\r\n", Some((200, "Connection established"))),
            ("HTTP/1.0 403 \u{7}No\r\n", Some((403, "No"))),
            ("HTTP/1.1 407\r\n", Some((407, ""))),
            ("HTTP/2 200 OK\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("HTTP/1.1 20000 OK\r\n", None),
            ("", None),
        ] {
            let found = status(line.as_bytes()).ok();
            assert_eq!(found, expected.map(|(status, reason)| (status, reason.to_owned())), "{line}");
        }
    }

    #[tokio::test]
    async fn a_password_is_one_line_of_a_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("password");
        let user = ProxyUser { name: "arc".to_owned(), password_file: file.clone() };
        let asks = async |text: &str| {
            std::fs::write(&file, text).expect("written");
            request(Some(&user), "gw.example:7400").await.map_err(|error| error.to_string())
        };
        assert_eq!(
            asks("open sesame\n").await.expect("a request"),
            "CONNECT gw.example:7400 HTTP/1.1\r\nHost: gw.example:7400\r\n\
             Proxy-Authorization: Basic YXJjOm9wZW4gc2VzYW1l\r\n\r\n"
        );
        for text in ["", "a\r\nX-Evil: 1"] {
            let told = asks(text).await.expect_err("no password");
            assert!(told.contains("one line"), "{told}");
            assert!(!told.contains("Evil"), "a secret is shown: {told}");
        }
    }
}
