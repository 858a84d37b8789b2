//! Counting on paused time, and the bound on pairs.

use super::*;

fn pair(consumer: &str, provider: Option<&str>) -> Pair {
    Pair {
        consumer: consumer.parse().ok(),
        contract: Some("test.v1.Probe".into()),
        provider: provider.and_then(|provider| provider.parse().ok()),
    }
}

fn meter(meters: &Arc<Meters>, pair: Pair) -> Meter {
    Meter {
        meters: meters.clone(),
        pair,
        arrived: Instant::now(),
        ended: None,
        writes: false,
        streams: false,
        waited: None,
        bytes: (0, 0),
    }
}

fn ends(meters: &Meters, pair: &Pair) -> Vec<(&'static str, &'static str, u64)> {
    meters.pairs().get(pair).map(|series| series.ends().collect()).unwrap_or_default()
}

/// How many a histogram has counted, and their sum in whole milliseconds.
fn counted(histogram: &Histogram) -> (u64, u64) {
    let mut page = ura_runtime::metrics::Page::default();
    page.family("x", ura_runtime::metrics::Type::Histogram, "X.");
    page.histogram(&[], histogram);
    let text = page.into_text();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    let sum: f64 = value("x_sum ").parse().expect("a number");
    let sum_ms = u64::try_from(Duration::from_secs_f64(sum).as_millis()).expect("short");
    (value("x_count ").parse().expect("a number"), sum_ms)
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_bus_is_what_nobody_else_took() {
    let meters = Arc::new(Meters::new(10));
    let times = Times::default();
    let mut one = meter(&meters, pair("ais/portal", Some("arc/probe")));
    let ms = Duration::from_millis;
    times.of(Waiting::Caller, tokio::time::sleep(ms(5))).await;
    times.of(Waiting::Register, tokio::time::sleep(ms(100))).await;
    tokio::time::advance(ms(3)).await;
    one.end(0, None);
    one.forwarded(&times, (10, 20));
    drop(one);
    let [reads, writes] = meters.overhead();
    assert_eq!((counted(reads), counted(writes)), ((1, 3), (0, 0)));
    let services = meters.services();
    let [(key, service)] = services.iter().collect::<Vec<_>>()[..] else { unreachable!("one service") };
    assert_eq!((&*key.contract, key.provider.as_str()), ("test.v1.Probe", "arc/probe"));
    assert_eq!((counted(&service.calls), counted(&service.register)), ((1, 108), (1, 100)));
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_ends_or_a_caller_leaves_says_nothing_of_the_bus() {
    let meters = Arc::new(Meters::new(10));
    let probe = pair("ais/portal", Some("arc/probe"));
    let (times, mut late) = (Times::default(), meter(&meters, probe.clone()));
    times.of(Waiting::Register, tokio::time::sleep(Duration::from_secs(30))).await;
    late.end(4, Some(Reason::DeadlineExceeded));
    late.forwarded(&times, (0, 0));
    drop(late);
    drop(meter(&meters, probe.clone()));
    let mut stream = meter(&meters, probe.clone());
    stream.streams = true;
    stream.end(0, None);
    stream.forwarded(&times, (0, 0));
    drop(stream);
    assert_eq!(
        ends(&meters, &probe),
        [("OK", "", 1), ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 1), ("CANCELLED", "_left", 1)]
    );
    assert_eq!(meters.overhead().each_ref().map(|of| counted(of).0), [0, 0]);
    assert_eq!(meters.services().values().map(|of| counted(&of.register)).collect::<Vec<_>>(), [(1, 30_000)]);
}

#[test]
fn pairs_beyond_the_bound_are_counted_together() {
    let meters = Arc::new(Meters::new(2));
    for (consumer, calls) in [("ais/portal", 2), ("ais/other", 1), ("ais/third", 3), ("ais/portal", 1)] {
        for _ in 0..calls {
            meter(&meters, pair(consumer, None)).end(7, Some(Reason::GrantMissing));
        }
    }
    assert_eq!(ends(&meters, &pair("ais/portal", None)), [("PERMISSION_DENIED", "GRANT_MISSING", 3)]);
    assert_eq!(meters.pairs().len(), 2);
    let (others, uncounted) = meters.others();
    assert_eq!(others.ends().collect::<Vec<_>>(), [("PERMISSION_DENIED", "GRANT_MISSING", 3)]);
    assert_eq!(uncounted, 3);
}

/// What every pair has too much of is counted of its service all the same.
#[tokio::test(start_paused = true)]
async fn services_are_counted_beyond_the_bound_of_pairs() {
    let meters = Arc::new(Meters::new(1));
    for consumer in ["ais/portal", "ais/other"] {
        let mut one = meter(&meters, pair(consumer, Some("arc/probe")));
        one.end(13, None);
        one.forwarded(&Times::default(), (0, 0));
    }
    assert_eq!(meters.others().1, 1);
    let services = meters.services();
    let counts = |of: &ServiceSeries| (of.ended.load(Ordering::Relaxed), of.failed.load(Ordering::Relaxed));
    assert_eq!(services.values().map(|of| counts(of)).collect::<Vec<_>>(), [(2, 2)]);
}
