//! Slow parties hold up only themselves.

use ura_runtime::tls::Verify;

use super::rig::{data, part, wish};
use crate::world::{World, client::Client, patient};

#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_else() {
    /// Enough to fill the windows of both plugs, were they shared without measure.
    const UNREAD: usize = 160;
    let world = World::new().await;
    let (identity, verify) = (world.identity("ais/portal"), Verify::Name);
    let client = Client::connect_with(&identity, &world.address, verify, 32 << 10).await.expect("connects");
    let other = world.client("ais/portal").await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut call = client.start("Down", &[]);
        call.message(&wish("flow:32,65536")).await;
        call.close();
        unread.push(patient(call.answer()).await.expect("answered").into_body());
    }
    // All that fits has been taken from the adapter.
    super::rig::rounds(&client).await;
    for caller in [&client, &other] {
        for _ in 0..10 {
            assert_eq!(caller.call("Read", &[], &wish("")).await.status(), 0);
            let down = caller.call("Down", &[], &wish("flow:3,1000")).await;
            assert_eq!((down.status(), down.messages.len()), (0, 3));
        }
    }
    assert!(world.probe.calls()[0].sent < 32 * 65536, "it is held up itself");
    // And whoever reads at last, gets all.
    let mut read = 0;
    while let Some(bytes) = data(&mut unread[0]).await {
        read += bytes.len();
    }
    assert_eq!(read, world.probe.calls()[0].sent);
    drop(unread);
    world.end().await;
}

#[tokio::test]
async fn adapters_that_do_not_read_hold_up_nobody_else() {
    const STUCK: usize = 24;
    let world = World::new().await;
    let client = world.portal().await;
    let mut stuck = Vec::new();
    for number in 0..STUCK {
        let mut call = client.start("Up", &[("idempotency-key", "k")]);
        call.message(&wish("wait")).await;
        world.probe.until(|calls| calls.len() == number + 1 && calls[number].messages == 1).await;
        let upload = call.upload.take().expect("open");
        let writer = tokio::spawn(async move {
            for _ in 0..64 {
                assert!(upload.send(Ok(http_body::Frame::data(part(65536)))).await.is_ok());
            }
        });
        stuck.push((call, writer));
    }
    super::rig::rounds(&client).await;
    for _ in 0..10 {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    }
    assert!(stuck.iter().all(|(_, writer)| !writer.is_finished()), "they are held up themselves");
    world.probe.release();
    for (call, writer) in stuck {
        patient(writer).await.expect("all was taken");
        assert_eq!(patient(call.ended()).await.status(), 0);
    }
    world.end().await;
}
