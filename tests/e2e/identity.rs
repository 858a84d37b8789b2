//! Who may connect, and as what: every certificate that is not one of the bus's own is turned away in
//! the handshake, and the others in the role that they do not have.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ura_adapters::run::NotPlugged;
use ura_certs::{Authority, Issue, Usage};
use ura_runtime::{
    process::Shutdown,
    tls::{self, Identity, Verify},
};

use crate::world::{
    Plan, TRUST_DOMAIN, World, directory, issue, now, patient,
    probe::{Ask, Probe},
};

/// What a peer shows of itself.
struct Shown<'a> {
    /// Folder with `cert.pem` and `key.pem`; without one it shows no certificate.
    identity: Option<&'a Path>,
    alpn: &'a [&'a [u8]],
}

/// The peer's settings, by rustls alone: ours would refuse to load some of these certificates.
fn settings(world: &World, shown: &Shown<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = world.identity("ais/gateway").join("ca.pem");
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown.identity {
        None => builder.with_no_client_auth(),
        Some(dir) => {
            let chain = CertificateDer::pem_file_iter(dir.join("cert.pem")).unwrap();
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = shown.alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Why the gateway turns a peer away; `Ok` where it begins to speak HTTP/2 with it.
async fn met(world: &World, shown: &Shown<'_>) -> Result<(), String> {
    let config = settings(world, shown);
    patient(async {
        let (mut stream, _) = tls::connect(&world.address, config, Duration::from_secs(30))
            .await
            .map_err(|error| format!("{error:?}"))?;
        // In TLS 1.3 a refused client certificate shows at the first read.
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .map_err(|e| e.to_string())?;
        let mut first = [0; 9];
        match stream.read(&mut first).await {
            Ok(0) => Err("closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// A leaf of the world's issuing authority with these URI names, which `certs` itself would not make.
fn odd_leaf(world: &World, name: &str, uris: &[&str]) -> PathBuf {
    let authority = world.path("authority");
    let issuing = std::fs::read_to_string(authority.join("issuing.pem")).unwrap();
    let key = std::fs::read_to_string(authority.join("issuing.key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&issuing, KeyPair::from_pem(&key).unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    params.not_before = now() - time::Duration::minutes(5);
    params.not_after = now() + time::Duration::hours(1);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let own = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&own, &issuer).unwrap();
    let dir = world.path(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("cert.pem"), leaf.pem() + &issuing).unwrap();
    std::fs::write(dir.join("key.pem"), own.serialize_pem()).unwrap();
    dir
}

fn timed_leaf(world: &World, name: &str, begins: time::Duration, usage: Usage) -> PathBuf {
    let request = Issue {
        system: "ais/portal".to_owned(),
        names: Vec::new(),
        not_before: now() + begins,
        lifetime: time::Duration::minutes(30),
        usage,
    };
    world.authority.issue(&request, &world.path(name)).unwrap().dir
}

#[tokio::test]
async fn only_certificates_of_the_bus_are_let_in() {
    let world = World::new().await;
    let minutes = time::Duration::minutes;
    let foreign = Authority::init(&world.path("foreign"), TRUST_DOMAIN, now()).unwrap();
    issue(&foreign, &world.path("abroad"), "ais/portal", &[]);
    let abroad = world.path("abroad").join("pki/ais-portal");
    let td = |path: &str| format!("spiffe://{TRUST_DOMAIN}{path}");
    let (portal, other) = (td("/ais/portal"), td("/ais/other"));
    let cases = [
        ("another authority's", abroad),
        ("expired", timed_leaf(&world, "expired", minutes(-40), Usage::Both)),
        ("not yet valid", timed_leaf(&world, "early", minutes(20), Usage::Both)),
        ("for servers only", timed_leaf(&world, "server", minutes(-5), Usage::Server)),
        ("no SPIFFE id", odd_leaf(&world, "none", &[])),
        ("two SPIFFE ids", odd_leaf(&world, "two", &[&portal, &other])),
        ("another trust domain", odd_leaf(&world, "domain", &["spiffe://ura.other/ais/portal"])),
        ("a path that is no system", odd_leaf(&world, "path", &[&td("/ais")])),
        ("a URI that is no SPIFFE id", odd_leaf(&world, "web", &["https://ura.test/ais/portal"])),
    ];
    for alpn in [b"h2".as_slice(), b"ura-plug"] {
        let nobody = Shown { identity: None, alpn: &[alpn] };
        met(&world, &nobody).await.expect_err("no certificate");
        for (what, dir) in &cases {
            let shown = Shown { identity: Some(dir), alpn: &[alpn] };
            met(&world, &shown).await.expect_err(what);
        }
    }
    // The same way of asking, with what is in order: so each refusal above has its own cause.
    let good = odd_leaf(&world, "good", &[&portal]);
    for (dir, alpn) in [(good, b"h2".as_slice()), (world.identity("arc/probe"), b"ura-plug")] {
        met(&world, &Shown { identity: Some(&dir), alpn: &[alpn] }).await.expect("in order");
    }
    world.end().await;
}

#[tokio::test]
async fn a_peer_offers_exactly_one_protocol() {
    let world = World::new().await;
    let dir = world.identity("ais/portal");
    let offers: [&[&[u8]]; 4] = [&[b"h2", b"ura-plug"], &[b"ura-plug", b"h2"], &[], &[b"http/1.1"]];
    for alpn in offers {
        met(&world, &Shown { identity: Some(&dir), alpn }).await.expect_err("not one protocol");
    }
    met(&world, &Shown { identity: Some(&dir), alpn: &[b"h2", b"http/1.1"] }).await.expect("one of ours");
    world.end().await;
}

#[tokio::test]
async fn a_certificate_does_not_serve_in_another_role() {
    let text = directory();
    let world = World::with(Plan { directory: text.clone(), adapter: false, ..Plan::default() }).await;
    issue(&world.authority, world.dir.path(), "ais/stranger", &[]);
    for (system, reason) in [
        ("arc/probe", "CALLER_NOT_CONSUMER"),
        ("ais/gateway", "CALLER_NOT_CONSUMER"),
        ("ais/stranger", "CALLER_UNKNOWN"),
        ("ais/other", "GRANT_MISSING"),
    ] {
        let ended = world.client(system).await.call("Read", &[], &Ask::default()).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (7, reason), "{system}");
        assert_eq!(world.evidence(ended.exchange()).await.opening().consumer, system);
    }
    for (system, why) in [
        ("ais/portal", "ais/portal does not have the role provider"),
        ("ais/stranger", "ais/stranger is not in the directory"),
        ("arc/second", "does not say that arc/second offers test.v1.Probe"),
    ] {
        let (probe, shutdown) = (Probe::new(), Shutdown::new());
        let adapter = world.plug(system, &probe, &shutdown).await;
        let Err(NotPlugged::Refused(refused)) = patient(adapter.plugged_in()).await else {
            panic!("{system} was plugged in")
        };
        assert!(refused["test.v1.Probe"].contains(why), "{system}: {refused:?}");
        assert!(probe.calls().is_empty());
        shutdown.drain();
        patient(adapter.finished()).await;
    }
    world.end().await;
}

/// Moves a new identity over the old one, file by file, as renewal tools do.
fn renew(world: &World, system: &str) {
    let fresh = world.path("renewed");
    issue(&world.authority, &fresh, system, &["localhost", "127.0.0.1"]);
    let from = fresh.join("pki").join(system.replace('/', "-"));
    for name in ["cert.pem", "key.pem"] {
        std::fs::rename(from.join(name), world.identity(system).join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_renewed_gateway_certificate_is_taken_while_running() {
    let world = World::new().await;
    let client = world.portal().await;
    let portal = Identity::load(&world.identity("ais/portal")).unwrap();
    let seen = async || {
        let config = portal.client_config(&[b"h2"], Verify::Name).unwrap();
        tls::connect(&world.address, config, Duration::from_secs(30)).await.expect("connects").1.fingerprint
    };
    let before = seen().await;
    // Half a renewal changes nothing.
    let cert = world.identity("ais/gateway").join("cert.pem");
    let whole = std::fs::read(&cert).unwrap();
    std::fs::write(&cert, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(seen().await, before);
    renew(&world, "ais/gateway");
    patient(async {
        while seen().await == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.call("Read", &[], &Ask::default()).await.status(), 0, "connections stay");
    assert_eq!(world.portal().await.call("Read", &[], &Ask::default()).await.status(), 0);
    world.end().await;
}

#[tokio::test]
async fn forged_metadata_in_any_disguise_never_reaches_the_adapter() {
    let world = World::new().await;
    let client = world.portal().await;
    for (metadata, key) in [
        (vec![("ura-provider", "arc/probe"), ("ura-provider", "arc/second")], "ura-provider"),
        (vec![("ura-provider", "arc/probe"), ("ura-provider", "arc/probe")], "ura-provider"),
        (vec![("ura-provider", "Arc/Probe")], "ura-provider"),
        (vec![("ura-provider", "arc/probe/../second")], "ura-provider"),
        (vec![("ura-purpose", "test"), ("ura-purpose", "other")], "ura-purpose"),
        (vec![("ura-case", "1"), ("ura-case", "2")], "ura-case"),
        (vec![("idempotency-key", "1"), ("idempotency-key", "2")], "idempotency-key"),
        (vec![("grpc-timeout", "1S"), ("grpc-timeout", "9S")], "grpc-timeout"),
        (vec![("grpc-encoding", "gzip"), ("grpc-encoding", "identity")], "grpc-encoding"),
    ] {
        let ended = client.call("Read", &metadata, &Ask::default()).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (3, "METADATA_INVALID"), "{metadata:?}");
        let details = ended.details();
        assert_eq!(details.error_info().unwrap().metadata["key"], key);
        assert_eq!(world.evidence(ended.exchange()).await.opening().refusal, "METADATA_INVALID");
    }
    assert!(world.probe.calls().is_empty());
    // The http types write keys in lower case; what the gateway does with others is seen below.
    let forged =
        [("URA-Consumer", "mpb/police"), ("Ura-Salt", "x"), ("ura-", "x"), ("ura-consumer-bin", "AAEC")];
    assert_eq!(client.call("Read", &forged, &Ask::default()).await.status(), 0);
    let seen = world.probe.calls().pop().unwrap();
    let of = |key: &str| seen.headers.get_all(key).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("ura-consumer"), ["ais/portal"]);
    assert_eq!((of("ura-salt").len(), of("ura-").len(), of("ura-consumer-bin").len()), (1, 0, 0));
    assert_ne!(of("ura-salt"), ["x"]);
    world.end().await;
}

#[tokio::test]
async fn upper_case_keys_on_the_wire_end_the_stream() {
    let world = World::new().await;
    let config = settings(&world, &Shown { identity: Some(&world.identity("ais/portal")), alpn: &[b"h2"] });
    let (mut stream, _) = tls::connect(&world.address, config, Duration::from_secs(30)).await.unwrap();
    // HPACK literals without indexing (RFC 7541 section 6.2.2): pseudo headers, then a key in upper case.
    let mut block = vec![0x83, 0x87];
    for (name, value) in
        [(":path", "/test.v1.Probe/Read"), (":authority", "gateway"), ("Ura-Consumer", "mpb/police")]
    {
        for (prefix, text) in [(&[0u8][..], name), (&[][..], value)] {
            block.extend_from_slice(prefix);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    stream.write_all(&bytes).await.unwrap();
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    patient(async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("an answer first");
            let [_, a, b, kind, ..] = head;
            let mut body = vec![0; usize::from(u16::from_be_bytes([a, b]))];
            stream.read_exact(&mut body).await.unwrap();
            assert_ne!(kind, 1, "no answer");
            if kind == RST_STREAM || kind == GOAWAY {
                // PROTOCOL_ERROR (RFC 9113 section 8.2.1).
                assert!(
                    body.ends_with(&[0, 0, 0, 1]) || body.windows(4).any(|w| w == [0, 0, 0, 1]),
                    "{body:?}"
                );
                return;
            }
        }
    })
    .await;
    assert!(world.probe.calls().is_empty());
    assert_eq!(
        world.portal().await.call("Read", &[], &Ask::default()).await.status(),
        0,
        "others notice nothing"
    );
    world.end().await;
}
