//! What belongs to one hop stays there; the deadline travels as the time that is left.

use super::rig::wish;
use crate::world::World;

#[tokio::test]
async fn headers_of_one_connection_do_not_travel() {
    let world = World::new().await;
    let client = world.portal().await;
    let metadata =
        [("proxy-authorization", "Basic x"), ("trailer", "x-a"), ("host", "elsewhere"), ("x-kept", "kept")];
    let ended = client.call("Read", &metadata, &wish("hop")).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    let seen = world.probe.calls().pop().expect("one call").headers;
    for own in ["proxy-authorization", "trailer", "host", "connection"] {
        assert!(!seen.contains_key(own), "{own} reached the adapter: {seen:?}");
    }
    assert_eq!((&seen["te"], &seen["x-kept"]), (&"trailers".parse().unwrap(), &"kept".parse().unwrap()));
    for own in ["proxy-authenticate", "trailer"] {
        assert!(!ended.headers.contains_key(own), "{own} reached the caller: {:?}", ended.headers);
    }
    assert_eq!(ended.headers["x-probe-header"], "head");
    world.end().await;
}

#[tokio::test]
async fn the_deadline_travels_as_the_time_that_is_left() {
    let world = World::new().await;
    let client = world.portal().await;
    for (asked, most_us) in [(Some("7S"), 7_000_000), (Some("2H"), 30_000_000), (None, 30_000_000)] {
        let metadata: Vec<_> = asked.map(|asked| ("grpc-timeout", asked)).into_iter().collect();
        assert_eq!(client.call("Read", &metadata, &wish("")).await.status(), 0);
        let seen = world.probe.calls().pop().expect("a call").headers;
        let told = seen["grpc-timeout"].to_str().expect("text").to_owned();
        let told_us: u64 = told.trim_end_matches('u').parse().expect("microseconds");
        // Less than was asked or than the gateway allows (30 s), for the way here took some.
        assert!((1..most_us).contains(&told_us), "{asked:?}: {told}");
    }
    world.end().await;
}
