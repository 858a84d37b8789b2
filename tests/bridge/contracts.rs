//! Where the bridge has its contracts from.

use serde_json::json;

use crate::desk::{Answer, Desk, Language, path, until_serving, wish};

pub async fn a_server_without_reflection_and_health_is_described_by_a_file(language: Language) {
    let mut desk = Desk::with(language, &json!({ "reflection": false, "health": false })).await;
    let client = desk.world.portal().await;
    until_serving(&client, true).await;
    let ended = client.call(&path("Ask"), &[], &wish("plain", 3)).await;
    assert_eq!(ended.decode::<Answer>(0).text, "plain", "{ended:?}");
    // It cannot say that it is unwell, but that it is gone shows.
    desk.server.take().expect("it runs").kill();
    until_serving(&client, false).await;
    desk.end().await;
}
