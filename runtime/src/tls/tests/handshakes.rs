//! Who gets in, who does not, and who is believed to be the server.

use rustls::{HandshakeKind, RootCertStore};
use time::Duration as Span;

use rcgen::ExtendedKeyUsagePurpose;

use super::*;

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let pki = Pki::new();
    let (gateway, portal) = (pki.gateway(), pki.portal());
    let mut served =
        serve(gateway.server_config(&[b"h2", b"ura-plug"]).expect("settings"), ListenerLimits::default());
    let verify = Verify::Spiffe(spiffe_id(GATEWAY));
    let config = portal.client_config(&[b"ura-plug"], verify).expect("settings");
    // The second connection is as thoroughly checked as the first.
    for round in 1..=2 {
        let (mut stream, server) = served.dial(&config).await.expect("connected");
        let mut accepted = served.next().await;
        assert_eq!(server.id, *gateway.spiffe_id());
        assert_eq!(server.not_after_unix_s, gateway.not_after_unix_s());
        assert_eq!(server.address, served.address);
        assert_eq!(accepted.peer.id, spiffe_id(PORTAL));
        assert_eq!(accepted.peer.not_after_unix_s, portal.not_after_unix_s());
        assert_eq!(accepted.peer.address, stream.get_ref().0.local_addr().expect("an address"));
        assert_ne!(accepted.peer.fingerprint, server.fingerprint);
        assert_eq!(accepted.alpn.as_deref(), Some(&b"ura-plug"[..]));
        let session = accepted.stream.get_ref().1;
        assert_ne!(session.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        stream.write_all(b"po").await.expect("written");
        let mut read = [0; 2];
        accepted.stream.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"po");
        assert_eq!(served.counters.accepted.load(Ordering::Relaxed), round);
    }
    assert_eq!(served.counters.handshake_failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn who_may_not_come_in() {
    let pki = Pki::new();
    let mut served = serve(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let server_only = [ExtendedKeyUsagePurpose::ServerAuth];
    let early = Leaf { begins: Span::hours(1), ends: Span::hours(2), ..Leaf::default() };
    let expired = Leaf { begins: Span::hours(-2), ends: Span::minutes(-10), ..Leaf::default() };
    let elsewhere = Leaf { uris: &["spiffe://other.example/ais/portal"], ..Leaf::default() };
    let refused = [
        ("a foreign authority's", pki.foreigner("theirs"), "UnknownCA"),
        ("an impostor authority's", pki.foreigner("ours"), "DecryptError"),
        ("expired", pki.identity("expired", &expired), "CertificateExpired"),
        ("not yet valid", pki.identity("early", &early), "Certificate"),
        (
            "for servers",
            pki.identity("server", &Leaf { usage: &server_only, ..Leaf::default() }),
            "Certificate",
        ),
        ("of another trust domain", pki.identity("elsewhere", &elsewhere), "Certificate"),
    ];
    let mut failed = 0;
    for (what, identity, said) in refused {
        let config = identity.client_config(&[], Verify::Spiffe(spiffe_id(GATEWAY))).expect("settings");
        let error = served.is_refused(&config).await;
        assert!(error.contains(said), "{what}: {error}");
        failed += 1;
        counted(&served.counters.handshake_failed, failed).await;
    }
    let good = pki.portal().client_config(&[], Verify::Name).expect("settings");
    assert!(served.dial(&good).await.is_ok());
    assert_eq!(served.next().await.alpn, None);
}

/// Clients that do not use our settings: with a leaf that our own `Identity` would not load, or none.
#[tokio::test]
async fn what_a_careless_client_shows_is_refused() {
    let pki = Pki::new();
    let served = serve(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut failed = 0;
    for (name, uris) in [
        ("nobody", None),
        ("no-id", Some(&[][..])),
        ("two", Some(&[PORTAL, GATEWAY][..])),
        ("web", Some(&["https://ura.example/portal"][..])),
    ] {
        let leaf = Leaf { uris: uris.unwrap_or(&[PORTAL]), ..Leaf::default() };
        let dir = pki.folder(name, &leaf);
        let pem = |file: &str| {
            CertificateDer::pem_file_iter(dir.join(file)).expect("a file").map(|found| found.expect("PEM"))
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(pem("ca.pem"));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("settings")
            .with_root_certificates(roots);
        let config = match uris {
            None => builder.with_no_client_auth(),
            Some(_) => {
                let key = rustls_pki_types::PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("a key");
                builder.with_client_auth_cert(pem("cert.pem").collect(), key).expect("settings")
            }
        };
        let error = served.is_refused(&Arc::new(config)).await;
        let said = if uris.is_none() { "CertificateRequired" } else { "Certificate" };
        assert!(error.contains(said), "{name}: {error}");
        failed += 1;
        counted(&served.counters.handshake_failed, failed).await;
    }
    assert_eq!(served.counters.accepted.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_not_believed() {
    let pki = Pki::new();
    let portal = pki.portal();
    let other = "spiffe://ura.example/arc/other";
    let elsewhere = "spiffe://other.example/ais/gateway";
    let client_only = [ExtendedKeyUsagePurpose::ClientAuth];
    let wanted = || Verify::Spiffe(spiffe_id(GATEWAY));
    let gateway = || Leaf { uris: &[GATEWAY], ..Leaf::default() };
    let cases = [
        (
            pki.identity("other", &Leaf { uris: &[other], ..gateway() }),
            wanted(),
            "the peer is spiffe://ura.example/arc/other, not",
        ),
        (
            pki.identity("named", &Leaf { names: &["other.example"], ..gateway() }),
            Verify::Name,
            "not valid for name",
        ),
        (
            pki.identity("elsewhere", &Leaf { uris: &[elsewhere], ..gateway() }),
            Verify::Name,
            "is not of trust domain",
        ),
        (
            pki.identity("old", &Leaf { begins: Span::hours(-2), ends: Span::minutes(-10), ..gateway() }),
            wanted(),
            "expired",
        ),
        (
            pki.identity("client", &Leaf { usage: &client_only, ..gateway() }),
            wanted(),
            "does not allow extended key usage for server",
        ),
        (pki.foreigner("theirs"), wanted(), "UnknownIssuer"),
        (pki.foreigner("ours"), wanted(), "BadSignature"),
        (pki.foreigner("theirs"), Verify::Name, "UnknownIssuer"),
    ];
    for (server, verify, said) in cases {
        let served = serve(server.server_config(&[]).expect("settings"), ListenerLimits::default());
        let config = portal.client_config(&[], verify).expect("settings");
        let error = served.is_refused(&config).await;
        assert!(error.contains(said), "{error} instead of {said}");
        counted(&served.counters.handshake_failed, 1).await;
    }
}

#[tokio::test]
async fn a_peer_offers_exactly_one_of_the_protocols() {
    let pki = Pki::new();
    let mut served = serve(
        pki.gateway().server_config(&[b"h2", b"ura-plug"]).expect("settings"),
        ListenerLimits::default(),
    );
    let portal = pki.portal();
    let mut failed = 0;
    for (offered, agreed) in [
        (&[&b"h2"[..]][..], Some(&b"h2"[..])),
        (&[b"ura-plug"], Some(b"ura-plug")),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"h2", b"ura-plug"], None),
        (&[b"ura-plug", b"http/1.1", b"h2"], None),
        (&[b"http/1.1"], None),
        (&[], None),
    ] {
        let config = portal.client_config(offered, Verify::Spiffe(spiffe_id(GATEWAY))).expect("settings");
        match agreed {
            Some(agreed) => {
                served.dial(&config).await.expect("connected");
                assert_eq!(served.next().await.alpn.as_deref(), Some(agreed));
            }
            None => {
                let error = served.is_refused(&config).await;
                assert!(error.contains("NoApplicationProtocol"), "{error}");
                failed += 1;
                counted(&served.counters.handshake_failed, failed).await;
            }
        }
    }
}

#[tokio::test]
async fn new_certificates_are_taken_while_running() {
    let pki = Pki::new();
    let mut served = serve(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let config = pki.portal().client_config(&[], Verify::Name).expect("settings");
    let (mut old, before) = served.dial(&config).await.expect("connected");
    let mut old_accepted = served.next().await;
    let renewed =
        pki.identity("renewed", &Leaf { uris: &[GATEWAY], ends: Span::hours(3), ..Leaf::default() });
    served.reloader.clone().replace(renewed.server_config(&[]).expect("settings"));
    let (_stream, after) = served.dial(&config).await.expect("connected");
    assert_eq!(after.id, before.id);
    assert_ne!(after.fingerprint, before.fingerprint);
    assert_eq!(after.not_after_unix_s, renewed.not_after_unix_s());
    // Nor does what was connected before notice anything.
    old_accepted.stream.write_all(b"still").await.expect("written");
    let mut read = [0; 5];
    old.read_exact(&mut read).await.expect("read");
    assert_eq!(&read, b"still");
    // And roots are replaced too: who is vouched for by another authority only now comes in.
    let newcomer = Pki::new();
    let foreign = newcomer.gateway();
    served.reloader.replace(foreign.server_config(&[]).expect("settings"));
    let config = newcomer.portal().client_config(&[], Verify::Name).expect("settings");
    served.dial(&config).await.expect("connected");
}
