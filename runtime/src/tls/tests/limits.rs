//! Slow, silent and too many peers.

use super::*;

fn limits(handshakes_in_flight_max: usize, connections_max: usize) -> ListenerLimits {
    ListenerLimits { handshakes_in_flight_max, connections_max, ..ListenerLimits::default() }
}

fn over_limit(served: &Served) -> u64 {
    served.counters.refused_over_limit.load(Ordering::Relaxed)
}

/// Time is paused: it jumps to the timeout as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_speaks_is_dropped_and_counted() {
    let pki = Pki::new();
    let served = serve(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let mut silent = TcpStream::connect(served.address).await.expect("connected");
    let begin = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0; 1]).await.expect("closed in order"), 0);
    assert_eq!(begin.elapsed().as_secs(), ListenerLimits::default().handshake_timeout_ms / 1000);
    assert_eq!(served.counters.handshake_timed_out.load(Ordering::Relaxed), 1);
    // One that begins and then stops has no longer.
    let mut slow = TcpStream::connect(served.address).await.expect("connected");
    slow.write_all(&[0x16, 0x03, 0x01]).await.expect("written");
    assert_eq!(slow.read(&mut [0; 1]).await.expect("closed in order"), 0);
    assert_eq!(served.counters.handshake_timed_out.load(Ordering::Relaxed), 2);
    assert_eq!(served.counters.handshake_failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_client_that_speaks_nonsense_or_hangs_up_is_counted() {
    let pki = Pki::new();
    let served = serve(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let mut nonsense = TcpStream::connect(served.address).await.expect("connected");
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    counted(&served.counters.handshake_failed, 1).await;
    drop(TcpStream::connect(served.address).await.expect("connected"));
    counted(&served.counters.handshake_failed, 2).await;
}

#[tokio::test]
async fn silent_clients_keep_nobody_out() {
    let pki = Pki::new();
    let mut served = serve(pki.gateway().server_config(&[]).expect("settings"), limits(2, 100));
    let config = pki.portal().client_config(&[], Verify::Name).expect("settings");
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(served.address).await.expect("connected"));
    }
    let (_stream, _) = served.dial(&config).await.expect("connected");
    served.next().await;
    assert_eq!(over_limit(&served), 4, "the oldest silent ones made room");
    assert_eq!(silent[0].read(&mut [0; 1]).await.expect("closed in order"), 0);
}

#[tokio::test]
async fn connections_are_limited_until_their_slot_is_free() {
    let pki = Pki::new();
    let mut served = serve(pki.gateway().server_config(&[]).expect("settings"), limits(8, 1));
    let config = pki.portal().client_config(&[], Verify::Name).expect("settings");
    let (_first, _) = served.dial(&config).await.expect("connected");
    let accepted = served.next().await;
    assert_ne!(served.is_refused(&config).await, "not refused");
    counted(&served.counters.refused_over_limit, 1).await;
    drop(accepted.slot);
    let (_second, _) = served.dial(&config).await.expect("connected");
    served.next().await;
    assert_eq!(served.counters.accepted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn closing_takes_what_the_kernel_holds() {
    let pki = Pki::new();
    let listener = listener(pki.gateway().server_config(&[]).expect("settings"), ListenerLimits::default());
    let (address, counters) = (listener.local_addr(), listener.counters());
    let config = pki.portal().client_config(&[], Verify::Name).expect("settings");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        // Connected by the kernel alone: nobody accepts yet.
        waiting.push(TcpStream::connect(address).await.expect("connected"));
    }
    let connector = tokio_rustls::TlsConnector::from(config);
    let clients: Vec<_> = waiting
        .into_iter()
        .map(|tcp| tokio::spawn(connector.connect(std::net::IpAddr::from(Ipv4Addr::LOCALHOST).into(), tcp)))
        .collect();
    let accepted = listener.close().await;
    assert_eq!(accepted.len(), 3);
    for client in clients {
        client.await.expect("no panic").expect("a completed handshake");
    }
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 3);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn two_listeners_share_an_address() {
    let pki = Pki::new();
    let config = pki.gateway().server_config(&[]).expect("settings");
    let old = listener(Arc::clone(&config), ListenerLimits::default());
    let new = Listener::bind(old.local_addr(), config, ListenerLimits::default()).expect("the same address");
    assert_eq!(old.close().await.len(), 0);
    drop(new);
}

#[tokio::test(start_paused = true)]
async fn dialling_has_an_end() {
    let pki = Pki::new();
    let config = pki.portal().client_config(&[], Verify::Name).expect("settings");
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = silent.local_addr().expect("an address");
    let dial = |address: String| connect_for_a_minute(address, Arc::clone(&config));
    assert!(matches!(dial(address.to_string()).await, Err(TlsError::Timeout { .. })));
    drop(silent);
    assert!(matches!(dial(address.to_string()).await, Err(TlsError::Connect { .. })));
    assert!(matches!(dial("nowhere".to_owned()).await, Err(TlsError::Address(_))));
}

async fn connect_for_a_minute(address: String, config: Arc<ClientConfig>) -> Result<(), TlsError> {
    connect(&address, config, Duration::from_secs(60)).await.map(|_| ())
}
