//! Receipts, as the parties of an exchange get them from the bus: they prove it to whoever has the log's key, and
//! nobody else gets them.

use bytes::Bytes;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use ura_evidence::receipt::{self, Kept, Receipt, ReceiptError, Trailer, Trust};
use ura_proto::ExchangeId;

use super::{
    evidence::wish,
    subjects::{Plate, ask},
};
use crate::world::{
    EvidenceStore, Plan,
    client::{Ended, framed},
    members::{self, Member},
    store::on_each_store,
};

on_each_store!(receipts_prove_to_the_parties_what_was_said_and_to_nobody_else);

const KEY: (&str, &str) = ("idempotency-key", "k-1");

/// The bytes of a reply as they travelled.
fn reply(ended: &Ended) -> Vec<u8> {
    let flag = u8::from(ended.headers.get("grpc-encoding").is_some());
    let framed = |message: &Bytes| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    };
    ended.messages.iter().flat_map(framed).collect()
}

async fn receipts_prove_to_the_parties_what_was_said_and_to_nobody_else(on: EvidenceStore) {
    let world = members::bus(on).await;
    let client = world.portal().await;
    let (portal, provider) = (Member::of(&world, "ais/portal").await, Member::of(&world, "arc/probe").await);
    let other = Member::of(&world, "ais/other").await;
    let trust = Trust { keys: members::log_keys(&world), ..Trust::default() };
    let (one, stream) =
        (vec![framed(&wish(""))], ["1", "2", "3"].map(|number| framed(&ask(number))).to_vec());
    let owner = vec![framed(&Plate { plate: "1".into(), wish: "o:5".into() })];
    for (method, frames) in [
        ("Read", &one),
        ("Write", &one),
        ("Down", &vec![framed(&wish("gzip:3,1000"))]),
        ("Up", &stream),
        ("Chat", &stream),
        ("Owner", &owner),
    ] {
        let ended = client.send(method, &[KEY, ("grpc-accept-encoding", "gzip")], frames).await;
        assert_eq!(ended.status(), 0, "{method}: {ended:?}");
        let (request, reply) = (frames.concat(), reply(&ended));
        let trailer: Trailer = ended.trailers["ura-receipt"].to_str().unwrap().parse().unwrap();
        let records = world.evidence(ended.exchange()).await;
        let kept = Kept { request: Some(&request), reply: Some(&reply), trailer: Some(&trailer) };
        for party in [&portal, &provider] {
            let receipt = Receipt::from_json(&party.receipt_soon(ended.exchange()).await).unwrap();
            let verified =
                receipt::verify(&receipt, &trust, &kept).unwrap_or_else(|e| panic!("{method}: {e}"));
            assert_eq!(verified.opening(), Some(records.opening()));
            assert_eq!(verified.closing(), records.closing.as_ref());
            let indexes = verified.entries.iter().map(|proved| proved.index);
            assert!(indexes.eq(records.indexes.iter().copied()), "{method}: {:?}", records.indexes);
            assert!(verified.request.unwrap().whole && verified.reply.unwrap().whole);
            assert_eq!(receipt.salt.unwrap().0.to_vec(), ended.salt());
            assert_eq!(receipt.keys, trust.keys, "a hint");
            // One byte more, less or other is not what was said.
            let mut changed = request.clone();
            *changed.last_mut().unwrap() ^= 1;
            for bad in [&changed[..], &request[1..], &[&request[..], &[0]].concat()] {
                let kept = Kept { request: Some(bad), ..Kept::default() };
                assert!(receipt::verify(&receipt, &trust, &kept).is_err(), "{method}");
            }
            let kept = Kept { reply: Some(&reply[1..]), ..Kept::default() };
            assert!(receipt::verify(&receipt, &trust, &kept).is_err(), "{method}");
            let nobody = receipt::verify(&receipt, &Trust::default(), &Kept::default());
            assert!(matches!(nobody, Err(ReceiptError::NoKey { .. })), "{nobody:?}");
        }
        // Others' exchanges and those that never were look the same.
        let never = ExchangeId::at(7);
        let (theirs, none) = (
            other.receipt(&ended.exchange().to_string()).await.unwrap_err(),
            other.receipt(&never.to_string()).await.unwrap_err(),
        );
        assert_eq!((theirs.code(), none.code()), (Code::NotFound, Code::NotFound));
        let told = |status: &Status, id: ExchangeId| status.message().replace(&id.to_string(), "ID");
        assert_eq!(told(&theirs, ended.exchange()), told(&none, never));
        assert_eq!((theirs.details(), keys_of(&theirs)), (none.details(), keys_of(&none)));
    }
    // A refused exchange has a receipt too: that it was refused, to who asked.
    let refused = client.call("Absent", &[], &wish("")).await;
    let receipt = Receipt::from_json(&portal.receipt_soon(refused.exchange()).await).unwrap();
    let verified = receipt::verify(&receipt, &trust, &Kept::default()).unwrap();
    assert_eq!(verified.opening().unwrap().refusal, "METHOD_UNKNOWN");
    assert!(verified.closing().is_none());
    world.end().await;
}

fn keys_of(status: &Status) -> Vec<String> {
    let mut keys: Vec<_> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_receipt_waits_for_its_checkpoint() {
    // The first checkpoint comes at the start, and the next one not while this test runs.
    let evidence = "checkpoint_interval_ms = 60000".to_owned();
    let mut world =
        members::bus_as(Plan { evidence, directory: members::directory(), ..Plan::default() }).await;
    let exchange = world.portal().await.call("Read", &[], &ask("1")).await.exchange();
    let records = world.evidence(exchange).await;
    let portal = Member::of(&world, "ais/portal").await;
    let status = portal.receipt(&exchange.to_string()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    // Neither are its entries told before they can be proved.
    let (told, _) = portal.read(0, &members::log_keys(&world)).await;
    assert!(told.is_empty(), "{told:?}");
    assert!(records.indexes[0] >= 1);
    // At the drain a checkpoint covers all: the receipt is made from the store then.
    world.stop().await;
    let receipt = receipt::make(&world.reader, exchange, None, &[]).await.unwrap();
    let trust = Trust { keys: members::log_keys(&world), ..Trust::default() };
    receipt::verify(&receipt, &trust, &Kept::default()).unwrap();
    world.end().await;
}
