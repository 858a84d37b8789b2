//! Questions about evidence that are not answered: whose they are, or what is wrong with them.

use bytes::Bytes;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::subjects::ask;
use crate::world::{
    EvidenceStore,
    client::Client,
    issue,
    members::{self, Member},
    patient,
    postgres::Postgres,
    store::{ORIGIN, on_each_store},
};

on_each_store!(hostile_questions_are_answered_with_what_is_wrong);

/// The bus's reason in a status.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .filter(|info| info.domain == "ura")
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_system_that_the_directory_does_not_know_is_denied_every_method() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    issue(&world.authority, world.dir.path(), "gone/system", &[]);
    let exchange = world.portal().await.call("Read", &[], &ask("1")).await.exchange();
    members::covered(&world).await;
    let stranger = Member::of(&world, "gone/system").await;
    let denials = [
        ("ListLogs", stranger.logs().await.err()),
        ("GetCheckpoint", stranger.checkpoint("", 0).await.err()),
        ("GetConsistencyProof", stranger.consistency("", 1, 2).await.err()),
        ("AddCosignature", stranger.cosign(ORIGIN, 1, "x").await.err()),
        ("ReadEntries", stranger.entries("", 0, false).await.err()),
        ("GetReceipt", stranger.receipt(&exchange.to_string()).await.err()),
    ];
    let contract = include_str!("../../proto/ura/v1/evidence_service.proto");
    let methods = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    assert!(methods.eq(denials.iter().map(|(method, _)| *method)), "each method has its denial here");
    for (method, status) in denials {
        let status = status.unwrap_or_else(|| panic!("{method} was answered"));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "CALLER_UNKNOWN"));
        assert!(status.message().contains("gone/system"), "{method}: {status:?}");
    }
    let client = world.client("gone/system").await;
    for language in ["sq", "sr-Latn", "en"] {
        let path = "/ura.v1.EvidenceService/ListLogs";
        let ended = client.send(path, &[("accept-language", language)], &[Bytes::from_static(&[0; 5])]).await;
        assert_eq!(ended.details().localized_message().unwrap().locale, language);
    }
    let nothing = client.send("/ura.v1.EvidenceService/Absent", &[], &[Bytes::from_static(&[0; 5])]).await;
    assert_eq!(nothing.status(), Code::Unimplemented as i32, "{nothing:?}");
    world.end().await;
}

async fn hostile_questions_are_answered_with_what_is_wrong(on: EvidenceStore) {
    let world = members::bus(on).await;
    let client = world.portal().await;
    let exchange = client.call("Read", &[], &ask("1")).await.exchange().to_string();
    world.evidence(exchange.parse().unwrap()).await;
    members::covered(&world).await;
    let portal = Member::of(&world, "ais/portal").await;
    for origin in [
        "x",
        "ura.test/gateway/2",
        "ura.test/gateway ",
        "URA.TEST/GATEWAY",
        "a\0b",
        "%",
        "ë",
        &"o".repeat(60_000),
    ] {
        for status in [
            portal.checkpoint(origin, 0).await.unwrap_err(),
            portal.consistency(origin, 0, 1).await.unwrap_err(),
            portal.entries(origin, 0, true).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::NotFound, "{origin:.20}: {status:?}");
            assert!(status.message().len() < 300, "{status:?}");
        }
    }
    let status = portal.entries("", u64::MAX, false).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let mut behind = portal.entries("", i64::MAX as u64, false).await.unwrap();
    assert!(patient(behind.message()).await.unwrap().is_none());
    let upper = exchange.to_uppercase();
    let long = "0".repeat(60_000);
    for id in ["", "x", exchange.get(1..).unwrap(), &format!("{exchange} "), "a\0b", &long] {
        let status = portal.receipt(id).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{id:.50}: {status:?}");
        assert!(status.message().starts_with("exchange_id: ") && status.message().len() < 300, "{status:?}");
    }
    assert!(matches!(portal.receipt(&upper).await.map_err(|s| s.code()), Ok(_) | Err(Code::InvalidArgument)));
    raw_bytes(&client).await;
    // Nothing of it did any harm.
    assert!(portal.receipt(&exchange).await.is_ok());
    assert_eq!(client.call("Read", &[], &ask("1")).await.status(), 0);
    world.end().await;
}

/// Requests that are no messages of the contract.
async fn raw_bytes(client: &Client) {
    for method in
        ["ListLogs", "GetCheckpoint", "GetConsistencyProof", "AddCosignature", "ReadEntries", "GetReceipt"]
    {
        let path = format!("/ura.v1.EvidenceService/{method}");
        let frame = |flag: u8, body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            Bytes::from([&[flag][..], &length, body].concat())
        };
        for (what, frames) in [
            ("nothing", vec![]),
            ("garbage", vec![frame(0, &[0xff; 40])]),
            ("half", vec![Bytes::from_static(&[0, 0, 0, 0, 9, 1])]),
            ("a flag of nobody", vec![frame(9, &[])]),
            ("compressed", vec![frame(1, &[])]),
            ("too long", vec![frame(0, &[0; 80_000])]),
            ("a length of 4 GiB", vec![Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff])]),
        ] {
            let ended = client.send(&path, &[], &frames).await;
            assert!(ended.status() > 0, "{method}, {what}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_said_to_be_unavailable_and_comes_back() {
    let server = tokio::task::spawn_blocking(|| Postgres::start(&[]));
    let mut server = server.await.unwrap();
    let world = members::bus(EvidenceStore::At(server.url())).await;
    let exchange = world.portal().await.call("Read", &[], &ask("1")).await.exchange();
    world.evidence(exchange).await;
    let size = members::covered(&world).await;
    let portal = Member::of(&world, "ais/portal").await;
    let mut followed = portal.entries("", 0, true).await.unwrap();
    patient(followed.message()).await.unwrap().expect("the first page");
    server.stop_immediately();
    for (method, status) in [
        ("ListLogs", portal.logs().await.err()),
        ("GetCheckpoint", portal.checkpoint("", 0).await.err()),
        ("GetConsistencyProof", portal.consistency("", 1, size).await.err()),
        ("ReadEntries", portal.entries("", 0, false).await.err()),
        ("GetReceipt", portal.receipt(&exchange.to_string()).await.err()),
    ] {
        let status = status.unwrap_or_else(|| panic!("{method} was answered"));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "EVIDENCE_UNAVAILABLE"));
        assert!(!status.message().contains('{') && !status.message().contains("postgres"), "{status:?}");
    }
    let status = patient(async {
        loop {
            if let Err(status) = followed.message().await {
                return status;
            }
        }
    })
    .await;
    assert_eq!(reason(&status), "EVIDENCE_UNAVAILABLE", "who follows is told too, and may come again");
    server.start_again();
    patient(async {
        while portal.receipt(&exchange.to_string()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.end().await;
}
