//! How the adapter proves to a register who it is: passwords, tokens, certificates.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tonic::Code;

use crate::{
    fixture::{Folder, Subject},
    http::{Answer, Asked, Server},
    pki::Pki,
};

const METHODS: &str = r#"
[methods.Get]
rest = { path = "/{number}" }
[methods.Pay]
rest = { method = "POST", path = "/pay", body = { nr = "{number}" } }
"#;
/// Stands in every file with a secret, and nowhere else.
const SECRET: &str = "sekret: ë &%+";

fn ok() -> Answer {
    (200, br#"{"number":"1"}"#.to_vec())
}

async fn subject(folder: &Folder, url: &str, auth: &str) -> Subject {
    let register = format!("kind = \"rest\"\nurl = \"{url}\"\nprobe_ms = 20\n{auth}");
    Subject::new(folder.load_some(&register, METHODS, "rest = { path = \"/x\" }")).await
}

fn write(folder: &Folder, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).expect("written");
}

/// Moves tokio's clock on; the sockets of this test do not wait for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn user_and_password_go_with_each_request() {
    let server = Server::start(|_| ok()).await;
    let folder = Folder::new();
    write(&folder, "password", "open sesame\n");
    let auth = "auth = { kind = \"basic\", user = \"Aladdin\", password_file = \"password\" }";
    let subject = subject(&folder, &server.url, auth).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_eq!(server.last().header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
}

#[tokio::test]
async fn a_replaced_token_is_taken_when_the_old_one_is_refused() {
    let server = Server::start(|asked| match asked.header("authorization") {
        Some("Bearer new") => ok(),
        _ => (401, Vec::new()),
    })
    .await;
    let folder = Folder::new();
    write(&folder, "token", "old");
    let subject = subject(&folder, &server.url, "auth = { kind = \"bearer\", token_file = \"token\" }").await;
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::Internal, "REGISTER_REFUSED"));
    assert_eq!(server.all().len(), 1, "the same token is not tried again");
    write(&folder, "token", "new\n");
    subject.json("Pay", r#"{"number":"1"}"#).await;
    let asked = server.all();
    assert_eq!(
        (asked.len(), asked[1].body.as_str(), asked[2].body.as_str()),
        (3, r#"{"nr":"1"}"#, r#"{"nr":"1"}"#)
    );
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_eq!(server.all().len(), 4, "the new one is known now");
}

/// A token endpoint that counts its tokens: t1, t2 …
async fn endpoint(life_s: u32) -> (Server, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let server = Server::start(move |_| {
        let count = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let text = format!(r#"{{"access_token":"t{count}","token_type":"Bearer","expires_in":{life_s}}}"#);
        (200, text.into_bytes())
    })
    .await;
    (server, given)
}

async fn oauth2(folder: &Folder, url: &str, token_url: &str) -> Subject {
    write(folder, "secret", SECRET);
    let auth = format!(
        "auth = {{ kind = \"oauth2\", token_url = \"{token_url}/token\", client_id = \"ura bus\", secret_file = \"secret\", scopes = [\"lexo\", \"shkruaj\"] }}"
    );
    subject(folder, url, &auth).await
}

fn tokens(asked: &[Asked]) -> Vec<&str> {
    asked.iter().filter_map(|asked| asked.header("authorization")?.strip_prefix("Bearer ")).collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept() {
    let register = Server::start(|_| ok()).await;
    let (endpoint, _) = endpoint(3600).await;
    let folder = Folder::new();
    let subject = oauth2(&folder, &register.url, &endpoint.url).await;
    let calls = (0..20).map(|_| subject.json("Get", r#"{"number":"1"}"#));
    futures_util::future::join_all(calls).await;
    assert_eq!(tokens(&register.all()), ["t1"; 20]);
    let asked = endpoint.all();
    assert_eq!(asked.len(), 1);
    // RFC 6749 sections 4.4.2 and 2.3.1: form-encoded, then base64.
    assert_eq!(asked[0].line, "POST /token HTTP/1.1");
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=lexo+shkruaj");
    assert_eq!(
        asked[0].header("authorization"),
        Some("Basic dXJhK2J1czpzZWtyZXQlM0ErJUMzJUFCKyUyNiUyNSUyQg==")
    );
    // A little before its end the next one is asked for.
    pass(Duration::from_secs(3571)).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_eq!((tokens(&register.all())[20], endpoint.all().len()), ("t2", 2));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let register = Server::start(|asked| match asked.header("authorization") {
        Some("Bearer t2") => ok(),
        _ => (401, Vec::new()),
    })
    .await;
    let (endpoint, given) = endpoint(3600).await;
    let folder = Folder::new();
    let subject = oauth2(&folder, &register.url, &endpoint.url).await;
    pass(Duration::from_secs(2)).await;
    subject.json("Pay", r#"{"number":"1"}"#).await;
    let asked = register.all();
    assert_eq!((tokens(&asked), asked[1].body.as_str()), (vec!["t1", "t2"], r#"{"nr":"1"}"#));
    // Now every token is refused: one more is tried, and none at all while it is quite new.
    given.store(5, Ordering::SeqCst);
    pass(Duration::from_secs(3600)).await;
    for (wait, tried) in [(0, 1), (2, 2)] {
        pass(Duration::from_secs(wait)).await;
        let before = register.all().len();
        let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
        assert_eq!((failure.code, failure.reason), (Code::Internal, "REGISTER_REFUSED"));
        assert_eq!(register.all().len() - before, tried);
    }
}

#[tokio::test]
async fn without_a_token_the_register_is_not_asked() {
    let broken = Arc::new(AtomicUsize::new(0));
    let state = Arc::clone(&broken);
    let endpoint = Server::start(move |_| match state.load(Ordering::SeqCst) {
        0 => (200, br#"{"access_token":"t","expires_in":0}"#.to_vec()),
        1 => (401, br#"{"error":"invalid_client","error_description":"sekret: x"}"#.to_vec()),
        2 => (200, b"<html>sekret: </html>".to_vec()),
        3 => (503, b"sekret: ".to_vec()),
        _ => (200, vec![b' '; 100_000]),
    })
    .await;
    let register = Server::start(|_| ok()).await;
    let folder = Folder::new();
    let subject = oauth2(&folder, &register.url, &endpoint.url).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    for (state, reason, detail) in [
        (1, "REGISTER_REFUSED", "HTTP status 401, invalid_client"),
        (2, "REGISTER_REFUSED", "not JSON"),
        (4, "REGISTER_REFUSED", "too large"),
        (3, "REGISTER_UNAVAILABLE", "503"),
    ] {
        broken.store(state, Ordering::SeqCst);
        let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(failure.detail.contains(detail) && !format!("{failure:?}").contains("sekret"), "{failure:?}");
    }
    assert_eq!(register.all().len(), 1);
    // The last failure turned the health; the probe asks for a token too.
    broken.store(0, Ordering::SeqCst);
    subject.register.health().wait_for(|up| *up).await.expect("the register lives");
    subject.json("Get", r#"{"number":"1"}"#).await;
}

fn der(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_certificate_is_shown_and_may_be_replaced() {
    let pki = Pki::new();
    let server = Server::start_tls(pki.server(), |_| ok()).await;
    let folder = Folder::new();
    pki.write(&folder.path().join("ca.pem"));
    let (certificate, _) = pki.issue_into(folder.path(), "client");
    let identity = "client_identity = { certificate_file = \"client.pem\", key_file = \"client.key\" }";
    let subject = subject(&folder, &server.url, &format!("ca_file = \"ca.pem\"\n{identity}")).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_eq!(server.last().certificate, der(&certificate));
    // Half of a new pair is none: the old one goes on.
    let (new, key) = pki.issue();
    std::fs::write(&certificate, new).expect("written");
    pass(Duration::from_secs(11)).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_ne!(server.last().certificate, der(&certificate));
    write(&folder, "client.key", &key);
    pass(Duration::from_secs(11)).await;
    subject.json("Get", r#"{"number":"1"}"#).await;
    assert_eq!(server.last().certificate, der(&certificate));
}

#[tokio::test]
async fn strangers_are_not_spoken_with() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Server::start_tls(pki.server(), |_| ok()).await;
    let folder = Folder::new();
    pki.write(&folder.path().join("ca.pem"));
    other.write(&folder.path().join("other.pem"));
    pki.issue_into(folder.path(), "client");
    other.issue_into(folder.path(), "stranger");
    let identity = |name: &str| {
        format!("client_identity = {{ certificate_file = \"{name}.pem\", key_file = \"{name}.key\" }}")
    };
    for (what, register) in [
        ("no certificate", "ca_file = \"ca.pem\"".to_owned()),
        ("a certificate of another authority", format!("ca_file = \"ca.pem\"\n{}", identity("stranger"))),
        ("a server of another authority", format!("ca_file = \"other.pem\"\n{}", identity("client"))),
    ] {
        let subject = subject(&folder, &server.url, &register).await;
        let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
        assert_eq!((failure.code, failure.reason), (Code::Unavailable, "REGISTER_UNAVAILABLE"), "{what}");
    }
    assert!(server.all().is_empty());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_at_the_start() {
    let folder = Folder::new();
    write(&folder, "empty", "");
    write(&folder, "text", SECRET);
    for (register, expected) in [
        ("ca_file = \"none.pem\"", "none.pem cannot be used"),
        ("ca_file = \"text\"", "text cannot be used: there is no certificate"),
        (
            "client_identity = { certificate_file = \"text\", key_file = \"text\" }",
            "text cannot be used: no certificate",
        ),
        ("auth = { kind = \"bearer\", token_file = \"empty\" }", "empty cannot be used: it is empty"),
    ] {
        let register = format!("kind = \"rest\"\nurl = \"https://localhost:1\"\n{register}");
        let declared = folder.load_some(&register, METHODS, "rest = { path = \"/x\" }");
        let error = declared.connect().await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected) && !error.contains("sekret"), "{expected}: {error}");
    }
}
