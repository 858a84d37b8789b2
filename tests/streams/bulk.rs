//! Large streams: they pass whole, and whoever does not read holds up whoever writes, so that the
//! bus never holds more than its windows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ura_proto::v1::Outcome;

use super::rig::{data, exchange, part, rounds, wish};
use crate::world::{
    World,
    client::framed,
    patient,
    probe::{Answer, Probe},
};

const PART_BYTES: usize = 64 << 10;
const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

/// More than all windows and buffers between a caller and an adapter together (each at most 1 MiB),
/// and far less than what is sent.
const HELD_BYTES_MAX: usize = 10 << 20;

#[tokio::test]
async fn sixteen_mebibytes_pass_whole_both_ways() {
    let world = World::new().await;
    let client = world.portal().await;

    let mut up = client.start("Up", &KEY);
    for _ in 0..256 {
        assert!(up.bytes(part(PART_BYTES)).await);
    }
    up.close();
    let up = patient(up.ended()).await;
    assert_eq!((up.status(), up.decode::<Answer>(0).text.as_str()), (0, "256"));
    let seen = world.probe.calls().pop().unwrap();
    assert_eq!((seen.bytes, seen.request_end.as_str()), (256 * part(PART_BYTES).len(), "end"));
    let closing = world.evidence(up.exchange()).await;
    assert_eq!(closing.closing().request_bytes, 256 * part(PART_BYTES).len() as u64);

    let down = client.call("Down", &[], &wish("flow:256,65536")).await;
    assert_eq!((down.status(), down.messages.len()), (0, 256));
    assert!(down.messages.iter().all(|message| message.len() > PART_BYTES));
    let closing = world.evidence(down.exchange()).await;
    assert_eq!(closing.closing().outcome(), Outcome::Answered);
    assert_eq!(closing.closing().reply_bytes, world.probe.calls().pop().unwrap().sent as u64);
    world.end().await;
}

#[tokio::test]
async fn an_adapter_that_does_not_read_stalls_the_caller() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut up = client.start("Up", &KEY);
    up.message(&wish("wait")).await;
    world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;

    let ahead = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn(write_all(up, world.probe.clone(), ahead.clone()));
    // The writer goes on as long as anybody takes its bytes.
    rounds(&client).await;
    rounds(&client).await;
    assert!(!writer.is_finished(), "nobody reads");
    let held = ahead.load(Ordering::SeqCst);
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held on the way");

    world.probe.release();
    let ended = patient(patient(writer).await.unwrap().ended()).await;
    assert_eq!((ended.status(), ended.decode::<Answer>(0).text.as_str()), (0, "1025"));
    let held = ahead.load(Ordering::SeqCst);
    assert!(held < HELD_BYTES_MAX, "{held} bytes were held on the way");
    world.end().await;
}

/// Writes 64 MiB and notes how far it was ahead of the reader at most.
async fn write_all(
    mut up: crate::world::client::Started,
    probe: Arc<Probe>,
    ahead: Arc<AtomicUsize>,
) -> crate::world::client::Started {
    let part = part(PART_BYTES);
    let mut written = 0;
    for _ in 0..1024 {
        assert!(up.bytes(part.clone()).await);
        written += part.len();
        ahead.fetch_max(written.saturating_sub(probe.calls()[0].bytes), Ordering::SeqCst);
    }
    up.close();
    up
}

#[tokio::test]
async fn a_caller_that_does_not_read_stalls_the_adapter() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut down = client.start("Down", &[]);
    down.message(&wish("flow:1024,65536")).await;
    down.close();
    let mut body = patient(down.answer()).await.expect("answered").into_body();
    world.probe.until(|calls| calls[0].sent > PART_BYTES).await;
    rounds(&client).await;
    rounds(&client).await;
    let held = world.probe.calls()[0].sent;
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held on the way");

    let (mut read, mut ahead) = (0, 0);
    while let Some(bytes) = data(&mut body).await {
        read += bytes.len();
        ahead = ahead.max(world.probe.calls()[0].sent.saturating_sub(read));
    }
    let seen = world.probe.calls().pop().unwrap();
    assert_eq!(read, seen.sent, "all of it");
    assert!(ahead < HELD_BYTES_MAX, "{ahead} bytes were held on the way");
    let records = world.evidence(exchange(&seen)).await;
    assert_eq!((records.closing().status, records.closing().outcome()), (0, Outcome::Answered));
    world.end().await;
}

/// Runs the measurement below in a process of its own, where no other test takes memory.
#[tokio::test]
async fn sixty_four_mebibytes_both_ways_take_little_memory() {
    let program = std::env::current_exe().expect("this program");
    let run = tokio::process::Command::new(program)
        .args(["--exact", "bulk::measured_alone", "--ignored", "--nocapture"])
        .kill_on_drop(true)
        .output();
    let output = patient(run).await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn measured_alone() {
    /// Windows and buffers of one stream, caller and adapter included.
    const GROWTH_KB_MAX: u64 = 24 << 10;
    let world = World::new().await;
    let client = world.portal().await;
    both_ways(&world, &client, 256).await;
    let before = memory_kb("VmRSS:");
    // Resets the high-water mark (Linux, proc_pid_clear_refs(5)).
    std::fs::write("/proc/self/clear_refs", "5").expect("the high-water mark");
    both_ways(&world, &client, 1024).await;
    let most = memory_kb("VmHWM:");
    assert!(most < before + GROWTH_KB_MAX, "grew from {before} to {most} kB");
    world.end().await;
}

async fn both_ways(world: &World, client: &crate::world::client::Client, parts: usize) {
    let part = part(PART_BYTES);
    let mut up = client.start("Up", &KEY);
    for _ in 0..parts {
        assert!(up.bytes(part.clone()).await);
    }
    up.close();
    assert_eq!(patient(up.ended()).await.status(), 0);

    let mut down = client.start("Down", &[]);
    down.bytes(framed(&wish(&format!("flow:{parts},65536")))).await;
    down.close();
    let mut body = patient(down.answer()).await.expect("answered").into_body();
    let mut read = 0;
    while let Some(bytes) = data(&mut body).await {
        read += bytes.len();
    }
    assert_eq!(read, world.probe.calls().pop().unwrap().sent);
}

/// A line of `/proc/self/status`, in kB.
fn memory_kb(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("the line");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}
