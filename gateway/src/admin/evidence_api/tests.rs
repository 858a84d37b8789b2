//! Who is told what, on a real store.

use futures_util::StreamExt as _;
use ura_evidence::{entry::Row, receipt::Receipt};
use ura_log::{
    checkpoint::{self, Checkpoint},
    note::Signer,
    proof::{verify_consistency, verify_inclusion},
    tree,
};
use ura_proto::v1::{Disclosure, KeyChange};

use super::*;
use crate::admin::sample::{DAY_US, NOW_US, ORIGIN, Sample, request};

fn hashes(bytes: &[Vec<u8>]) -> Vec<ura_log::Hash> {
    bytes.iter().map(|hash| hash.as_slice().try_into().expect("32 bytes")).collect()
}

/// The pages of a reading that ends by itself.
async fn pages(api: &EvidenceApi, caller: &str, from_index: u64) -> Vec<ReadEntriesResponse> {
    let asked = ReadEntriesRequest { origin: String::new(), from_index, follow: false };
    let pages = api.read_entries(request(caller, asked)).await.expect("a stream").into_inner();
    pages.map(|page| page.expect("a page")).collect().await
}

#[tokio::test]
async fn a_system_that_the_directory_does_not_know_is_told_nothing() {
    let mut sample = Sample::new().await;
    sample.checkpoint().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let who = "x/y";
    let statuses = [
        api.list_logs(request(who, ListLogsRequest {})).await.err(),
        api.get_checkpoint(request(who, GetCheckpointRequest::default())).await.err(),
        api.get_consistency_proof(request(who, GetConsistencyProofRequest::default())).await.err(),
        api.add_cosignature(request(who, AddCosignatureRequest::default())).await.err(),
        api.read_entries(request(who, ReadEntriesRequest::default())).await.err(),
        api.get_receipt(request(who, GetReceiptRequest::default())).await.err(),
    ];
    for status in statuses {
        let status = status.expect("refused");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().starts_with("CALLER_UNKNOWN: x/y"), "{status:?}");
    }
    let unnamed = api.list_logs(Request::new(ListLogsRequest {})).await.expect_err("nobody asks");
    assert_eq!(unnamed.code(), Code::Internal);
}

#[tokio::test]
async fn checkpoints_and_consistency_are_for_everybody() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let (_, rows) = sample.answered(NOW_US, |_| {});
    let first = sample.checkpoint().await;
    sample.append(&rows).await;
    let second = sample.checkpoint().await;

    let logs = api.list_logs(request("arc/auditor", ListLogsRequest {})).await.expect("told").into_inner();
    let key = sample.signer.key().to_string();
    let log = Log { origin: ORIGIN.to_owned(), key, size: 3, sealed: false };
    assert_eq!((logs.logs, logs.registry.as_str()), (vec![log], ""));

    let keys = [sample.signer.key().clone()];
    for (size_min, expected) in
        [(0, Some(&second)), (1, Some(&first)), (2, Some(&second)), (4, None), (u64::MAX, None)]
    {
        let asked = GetCheckpointRequest { origin: String::new(), size_min };
        let told = api.get_checkpoint(request("arc/auditor", asked)).await.map(Response::into_inner);
        match expected {
            Some(expected) => {
                let told = checkpoint::open(&told.expect("told").checkpoint, &keys).expect("signed").0;
                assert_eq!(told, *expected);
            }
            None => assert_eq!(told.expect_err("none").code(), Code::NotFound, "{size_min}"),
        }
    }
    let consistency = |first_size, second_size| {
        let asked = GetConsistencyProofRequest { origin: ORIGIN.to_owned(), first_size, second_size };
        api.get_consistency_proof(request("ais/portal", asked))
    };
    let proof = consistency(1, 3).await.expect("told").into_inner().hashes;
    verify_consistency(1, &first.root, 3, &second.root, &hashes(&proof)).expect("the log only grew");
    assert_eq!(consistency(1, 4).await.expect_err("beyond").code(), Code::OutOfRange);
    assert_eq!(consistency(3, 1).await.expect_err("reversed").code(), Code::InvalidArgument);
    let elsewhere = GetCheckpointRequest { origin: "x".repeat(9999), size_min: 0 };
    let status = api.get_checkpoint(request("ais/portal", elsewhere)).await.expect_err("no such log");
    assert!(status.code() == Code::NotFound && status.message().len() < 300, "{status:?}");
}

#[tokio::test]
async fn the_key_of_a_log_is_the_one_that_signs() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let listed = async || {
        let logs = api.list_logs(request("arc/auditor", ListLogsRequest {})).await.expect("told");
        logs.into_inner().logs.remove(0).key
    };
    let old = sample.signer.key().to_string();
    assert_eq!(listed().await, old, "announced, before anything was signed");
    sample.checkpoint().await;
    let new = Signer::generate(ORIGIN, ura_log::note::Kind::Ed25519).expect("a key");
    let change = KeyChange { log_key: new.key().to_string(), before: old.clone(), ..KeyChange::default() };
    let epoch = KeyChange { epoch: "2".into(), before: "1".into(), ..KeyChange::default() };
    sample.append(&[change, epoch].map(|change| Row::new(None, NOW_US, Kind::KeyChange(change)))).await;
    assert_eq!(listed().await, old, "announced, and signs nothing yet");
    sample.signer = new;
    sample.checkpoint().await;
    assert_eq!(listed().await, sample.signer.key().to_string());
}

#[tokio::test]
async fn only_the_key_of_the_directory_cosigns() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let Checkpoint { size, .. } = sample.checkpoint().await;
    let newest = async || {
        let asked = GetCheckpointRequest { origin: ORIGIN.to_owned(), size_min: size };
        api.get_checkpoint(request("arc/auditor", asked)).await.expect("told").into_inner().checkpoint
    };
    let note = Note::parse(&newest().await).expect("a note");
    let line = checkpoint::cosign(&note, &sample.cosigner, 1_795_348_800).expect("signed").to_string();
    let add = |caller: &str, size, signature: &str| {
        let (origin, signature) = (ORIGIN.to_owned(), signature.to_owned());
        api.add_cosignature(request(caller, AddCosignatureRequest { origin, size, signature }))
    };
    let status = add("ais/portal", size, &line).await.expect_err("it has no key");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("ais/portal") && status.message().contains("operator"), "{status:?}");
    assert_eq!(add("arc/auditor", size, "x").await.expect_err("no line").code(), Code::InvalidArgument);
    assert_eq!(add("arc/auditor", size + 1, &line).await.expect_err("no checkpoint").code(), Code::NotFound);
    assert_eq!(add("arc/auditor", u64::MAX, &line).await.expect_err("no checkpoint").code(), Code::NotFound);
    assert!(!newest().await.contains(&line));

    add("arc/auditor", size, &line).await.expect("taken");
    add("arc/auditor", size, &line).await.expect("taken again");
    let told = newest().await;
    assert_eq!(told.matches(&line).count(), 1, "{told}");
    let keys = [sample.signer.key().clone(), sample.cosigner.key().clone()];
    assert_eq!(checkpoint::open(&told, &keys).expect("both signed").1.len(), 2);
}

#[tokio::test]
async fn entries_go_to_those_whom_they_name() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let (asked, rows) = sample.answered(NOW_US, |_| {});
    sample.append(&rows).await;
    let held_back = Disclosure { told: 0, withheld: Vec::new() };
    sample.append(&[Row::new(Some(asked), NOW_US, Kind::Disclosure(held_back))]).await;
    let (_, others) = sample.answered(NOW_US, |opening| opening.consumer = "mpb/police".into());
    sample.append(&others).await;
    assert!(pages(&api, "ais/portal", 0).await.is_empty(), "no checkpoint covers anything");
    let covered = sample.checkpoint().await;

    for (caller, from_index, expected) in [
        ("ais/portal", 0, vec![1, 2]),
        ("ais/portal", 2, vec![2]),
        ("arc/civil", 0, vec![1, 2, 4, 5]),
        ("arc/auditor", 0, vec![]),
        ("ais/portal", 6, vec![]),
    ] {
        let pages = pages(&api, caller, from_index).await;
        let mut indexes = Vec::new();
        for page in &pages {
            for entry in &page.entries {
                let stored = entry.entry.as_ref().expect("an entry");
                let leaf_hash = tree::leaf_hash(&ura_evidence::entry::leaf(&stored.body));
                let proof = hashes(&entry.proof);
                verify_inclusion(&leaf_hash, stored.log_index, covered.size, &proof, &covered.root)
                    .expect("proved");
                assert!(stored.subjects.is_empty(), "pseudonyms are nobody's");
                indexes.push(stored.log_index);
            }
        }
        assert_eq!(indexes, expected, "{caller} from {from_index}");
        assert_eq!(pages.last().map_or(6, |page| page.next_index), 6, "{caller} from {from_index}");
    }
}

#[tokio::test]
async fn a_stream_follows_the_log_to_the_drain() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    sample.checkpoint().await;
    let asked = || ReadEntriesRequest { follow: true, ..ReadEntriesRequest::default() };
    let mut stream = api.read_entries(request("ais/portal", asked())).await.expect("a stream").into_inner();
    let first = stream.next().await.expect("a page").expect("read");
    assert_eq!((first.entries.len(), first.next_index), (0, 1));
    let (_, rows) = sample.answered(NOW_US, |_| {});
    sample.append(&rows).await;
    sample.checkpoint().await;
    let second = stream.next().await.expect("a page").expect("read");
    assert_eq!((second.entries.len(), second.next_index), (2, 3));

    let mut others = Vec::new();
    for _ in 1..STREAMS_EACH_MAX {
        others.push(api.read_entries(request("ais/portal", asked())).await.expect("a stream"));
    }
    let status = api.read_entries(request("ais/portal", asked())).await.err().expect("too many");
    assert!(status.message().starts_with("OVERLOADED"), "{status:?}");
    drop(others.pop());
    drop(api.read_entries(request("ais/portal", asked())).await.expect("a place was given back"));
    sample.sources.shutdown.drain();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn receipts_go_to_the_two_parties() {
    let mut sample = Sample::new().await;
    let api = EvidenceApi::new(sample.sources.clone());
    let (exchange, rows) = sample.answered(NOW_US - DAY_US, |_| {});
    sample.append(&rows).await;
    let held_back = Disclosure { told: 0, withheld: Vec::new() };
    sample.append(&[Row::new(Some(exchange), NOW_US, Kind::Disclosure(held_back))]).await;
    let ask = |caller: &str, exchange_id: String| {
        api.get_receipt(request(caller, GetReceiptRequest { exchange_id }))
    };
    let status = ask("ais/portal", exchange.to_string()).await.expect_err("no checkpoint covers it");
    assert_eq!(status.code(), Code::Unavailable);
    sample.checkpoint().await;
    for party in ["ais/portal", "arc/civil"] {
        let receipt = ask(party, exchange.to_string()).await.expect("told").into_inner().receipt;
        let receipt = Receipt::from_json(&receipt).expect("a receipt");
        assert_eq!(receipt.entries.iter().map(|piece| piece.index).collect::<Vec<_>>(), [1, 2], "{party}");
        assert_eq!(receipt.keys, [sample.signer.key().clone()]);
        let salt = sample.sources.keys.newest().salt(exchange);
        assert_eq!(receipt.salt.map(|salt| salt.0), Some(salt));
        let under = checkpoint::open(&receipt.checkpoint, &receipt.keys).expect("signed").0;
        for piece in &receipt.entries {
            verify_inclusion(&piece.leaf_hash, piece.index, under.size, &piece.proof, &under.root)
                .expect("proved");
        }
    }
    // Whether it is others', or not there at all, looks the same.
    let unknown = sample.exchange();
    let refused = ask("arc/auditor", exchange.to_string()).await.expect_err("it names others");
    let missing = ask("arc/auditor", unknown.to_string()).await.expect_err("there is none");
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(missing.message(), refused.message().replace(&exchange.to_string(), &unknown.to_string()));
    assert_eq!((missing.code(), missing.details()), (refused.code(), refused.details()));
    assert_eq!(ask("ais/portal", "x".to_owned()).await.expect_err("no id").code(), Code::InvalidArgument);
}
