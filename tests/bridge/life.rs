//! A server that goes, comes back, is unwell, stands still or hangs up now and then.

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    desk::{Answer, Desk, Language, path, until_serving, wish},
    world::patient,
};

pub async fn a_server_that_goes_comes_back(language: Language) {
    let mut desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    assert_eq!(client.call(&path("Ask"), &[], &wish("before", 0)).await.status(), 0);
    desk.server.take().expect("it runs").kill();
    until_serving(&client, false).await;
    let refused = client.call(&path("Ask"), &[], &wish("meanwhile", 0)).await;
    assert_eq!((refused.status(), refused.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{refused:?}");
    desk.serve_again().await;
    until_serving(&client, true).await;
    let ended = client.call(&path("Ask"), &[], &wish("after", 0)).await;
    assert_eq!(ended.decode::<Answer>(0).text, "after");
    desk.end().await;
}

pub async fn health_is_what_the_server_says(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    until_serving(&client, true).await;
    assert_eq!(client.call(&path("Ask"), &[], &wish("sick", 0)).await.status(), 0);
    until_serving(&client, false).await;
    desk.end().await;
}

pub async fn a_server_that_stands_still_is_not_well(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    until_serving(&client, true).await;
    // Its connections stay open: only its silence tells.
    desk.server().signal("STOP");
    patient(until_serving(&client, false)).await;
    desk.server().signal("CONT");
    patient(until_serving(&client, true)).await;
    assert_eq!(client.call(&path("Ask"), &[], &wish("again", 0)).await.status(), 0);
    desk.end().await;
}

pub async fn connections_that_the_server_retires_cost_no_call(language: Language) {
    let plan = json!({ "reflection": true, "health": true, "age_ms": 250 });
    let desk = Desk::with(language, &plan).await;
    let client = desk.world.portal().await;
    // Some hundred ms of calls from each of a few callers: every connection is retired again and again meanwhile.
    let callers = (0..4).map(async |_| {
        for number in 0..150 {
            let ended = client.call(&path("Ask"), &[], &wish("again", number)).await;
            assert_eq!((ended.status(), ended.messages.len()), (0, 1), "call {number}: {ended:?}");
        }
    });
    join_all(callers).await;
    desk.end().await;
}
