//! Witnesses: whose cosignatures are taken, where they are handed out, and what one does to whom two
//! histories of a log are shown.

use std::{fs, path::Path};

use futures_util::future::join_all;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use ura_evidence::{
    keys::LogKeys,
    receipt::{self, Kept, Receipt, Trust},
};
use ura_gateway::Gateway;
use ura_log::{
    checkpoint,
    note::{Key, Kind, MAX_UNIX_S, Note, Signer},
};
use ura_runtime::{clock::Clock, process::Shutdown};

use super::subjects::ask;
use crate::world::{
    BEGIN_UNIX_US, EvidenceStore, World,
    members::{self, Member},
    patient,
    program::{Ran, ura},
    store::{ORIGIN, Store, on_each_store},
};

on_each_store!(a_cosignature_is_handed_out_with_checkpoints_and_receipts);

const NOW_S: u64 = BEGIN_UNIX_US as u64 / 1_000_000;

fn witness(name: &str) -> Signer {
    Signer::generate(name, Kind::CosignatureV1).unwrap()
}

fn line(note: &str, signer: &Signer, time_s: u64) -> String {
    checkpoint::cosign(&Note::parse(note).unwrap(), signer, time_s).unwrap().to_string()
}

/// The newest checkpoint, with its size, once it covers everything.
async fn newest(world: &World, member: &Member) -> (String, u64) {
    let size = members::covered(world).await;
    (member.checkpoint("", size).await.unwrap(), size)
}

/// One more exchange in the log; its receipt as the portal gets it.
async fn exchange(world: &World) -> ura_proto::ExchangeId {
    let ended = world.portal().await.call("Read", &[], &ask("1")).await;
    assert_eq!(ended.status(), 0);
    world.evidence(ended.exchange()).await;
    ended.exchange()
}

async fn a_cosignature_is_handed_out_with_checkpoints_and_receipts(on: EvidenceStore) {
    let (first, second) = (witness("auditor.test"), witness("second.test"));
    let directory = members::directory_with(&[first.key(), second.key()]);
    let world = members::bus_with(on, directory).await;
    let (auditor, other) = (Member::of(&world, "arc/auditor").await, Member::of(&world, "mpb/auditor").await);
    let portal = Member::of(&world, "ais/portal").await;
    let seen = exchange(&world).await;
    let (note, size) = newest(&world, &auditor).await;
    auditor.cosign(ORIGIN, size, &line(&note, &first, NOW_S - 7)).await.expect("taken");
    other.cosign(ORIGIN, size, &(line(&note, &second, NOW_S) + "\n")).await.expect("taken");
    // Again, and later again: both are right, and handed out once.
    auditor.cosign(ORIGIN, size, &line(&note, &first, NOW_S - 7)).await.expect("taken again");

    let keys = [&members::log_keys(&world)[..], &[first.key().clone(), second.key().clone()]].concat();
    let told = portal.checkpoint("", size).await.unwrap();
    assert_eq!(checkpoint::open(&told, &keys).unwrap().1.len(), 3, "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("— auditor.test ")).count(), 1, "{told}");
    let note = Note::parse(&told).unwrap();
    assert_eq!(checkpoint::cosigned_at(&note, first.key()), Ok(NOW_S - 7));

    // The log goes on; the receipt is still made under the checkpoint that others saw.
    let trust = Trust {
        keys: members::log_keys(&world),
        witnesses: vec![first.key().clone(), second.key().clone()],
        ..Trust::default()
    };
    let verified = async |exchange| {
        let receipt = Receipt::from_json(&portal.receipt_soon(exchange).await).unwrap();
        receipt::verify(&receipt, &trust, &Kept::default()).unwrap()
    };
    let unseen = exchange(&world).await;
    members::covered(&world).await;
    let under = verified(seen).await;
    let mut names: Vec<_> = under.cosigned.iter().map(|one| (one.name.as_str(), one.unix_s)).collect();
    names.sort_unstable();
    assert_eq!(
        (under.checkpoint.size, names),
        (size, vec![("auditor.test", NOW_S - 7), ("second.test", NOW_S)])
    );
    assert!(verified(unseen).await.cosigned.is_empty(), "nobody saw that");
    let (note, later) = newest(&world, &auditor).await;
    auditor.cosign(ORIGIN, later, &line(&note, &first, NOW_S)).await.expect("taken");
    assert_eq!(verified(unseen).await.cosigned.len(), 1);
    // An earlier checkpoint may still be cosigned.
    let note = auditor.checkpoint("", 1).await.unwrap();
    let earliest = checkpoint::open(&note, &keys).unwrap().0.size;
    assert!(earliest < size);
    auditor.cosign(ORIGIN, earliest, &line(&note, &first, NOW_S)).await.expect("taken");
    // A receipt whose cosignature was altered is none.
    let receipt = portal.receipt_soon(seen).await;
    let mut receipt = Receipt::from_json(&receipt).unwrap();
    let stolen =
        receipt.checkpoint.lines().find(|line| line.starts_with("— auditor.test ")).unwrap().to_owned();
    let wrong = line(&note, &first, NOW_S - 7);
    receipt.checkpoint = receipt.checkpoint.replace(&stolen, wrong.trim_end());
    assert!(receipt::verify(&receipt, &trust, &Kept::default()).is_err());
    world.end().await;
}

/// A size below the log's at which it was not signed, and the log's.
async fn unsigned(world: &World) -> (u64, u64) {
    let client = world.portal().await;
    loop {
        // Recorded faster than it is signed.
        let (one, calls) = (ask("1"), 30);
        join_all((0..calls).map(|_| client.call("Absent", &[], &one))).await;
        let size = members::covered(world).await;
        let log = world.reader.log_by_origin(ORIGIN).await.unwrap().unwrap().log;
        let signed = world.reader.checkpoints(log, 1, 4096).await.unwrap();
        let signed: Vec<_> = signed.iter().map(|row| row.size).collect();
        if let Some(between) = (1..size).find(|size| !signed.contains(size)) {
            return (between, size);
        }
    }
}

fn said(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

#[tokio::test]
async fn a_cosignature_that_is_not_right_is_refused_and_says_why() {
    let (mine, theirs) = (witness("auditor.test"), witness("second.test"));
    let world =
        members::bus_with(EvidenceStore::Sqlite, members::directory_with(&[mine.key(), theirs.key()])).await;
    let auditor = Member::of(&world, "arc/auditor").await;
    let earlier = auditor.checkpoint("", 1).await.unwrap();
    exchange(&world).await;
    let (note, size) = newest(&world, &auditor).await;
    let good = line(&note, &mine, NOW_S);
    let plain =
        Signer::generate("auditor.test", Kind::Ed25519).unwrap().sign(&Note::parse(&note).unwrap().text);
    let log_line = note.lines().last().unwrap().to_owned();
    for (what, signature, says) in [
        ("another's key", line(&note, &theirs, NOW_S), "second.test"),
        ("another key of the same name", line(&note, &witness("auditor.test"), NOW_S), "auditor.test+"),
        ("a key of the other kind", plain.unwrap().to_string(), "auditor.test+"),
        ("the log's own signature", log_line, ORIGIN),
        ("another text", line(&earlier, &mine, NOW_S), "does not hold"),
        ("from the future", line(&note, &mine, NOW_S + 301), "ahead of the gateway's clock"),
        ("from the end of time", line(&note, &mine, MAX_UNIX_S), "ahead of the gateway's clock"),
        ("nothing", String::new(), "signature line"),
        ("no line", "x".to_owned(), "signature line"),
        ("two lines", format!("{good}\n{good}"), "signature line"),
        ("too long", format!("— auditor.test {}", "A".repeat(60_000)), "signature line"),
        ("too short", "— auditor.test AAAAAA==".to_owned(), "signature"),
    ] {
        let status = auditor.cosign(ORIGIN, size, &signature).await.expect_err(what);
        let (code, message) = said(&status);
        assert_eq!(code, Code::InvalidArgument, "{what}: {status:?}");
        assert!(message.starts_with("signature: ") && message.contains(says), "{what}: {message}");
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, "signature");
    }
    let (between, size) = unsigned(&world).await;
    for (what, origin, at, code) in [
        ("a size without checkpoint", ORIGIN, between, Code::NotFound),
        ("nothing at all", ORIGIN, 0, Code::NotFound),
        ("a size that is not there", ORIGIN, size + 1, Code::NotFound),
        ("a size that cannot be", ORIGIN, u64::MAX, Code::NotFound),
        ("another log", "ura.test/other", size, Code::NotFound),
        ("no log", "", size, Code::InvalidArgument),
    ] {
        let status = auditor.cosign(origin, at, &good).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
    }
    // Who has no key in the directory, and who has another one.
    let (note, size) = newest(&world, &auditor).await;
    let good = line(&note, &mine, NOW_S);
    let portal = Member::of(&world, "ais/portal").await;
    let status = portal.cosign(ORIGIN, size, &good).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("ais/portal") && status.message().contains("operator"), "{status:?}");
    let other = Member::of(&world, "mpb/auditor").await;
    assert_eq!(other.cosign(ORIGIN, size, &good).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(portal.checkpoint("", size).await.unwrap(), note, "nothing of it was taken");
    // The same line, by the right system; a clock that is somewhat ahead is borne.
    auditor.cosign(ORIGIN, size, &line(&note, &mine, NOW_S + 300)).await.expect("taken");
    // A key that the directory no longer has is none.
    world.write_directory(&members::directory().replace("members-1", "members-2"));
    let status = patient(async {
        loop {
            if let Err(status) = auditor.cosign(ORIGIN, size, &good).await {
                return status;
            }
        }
    })
    .await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    world.end().await;
}

/// One step of the witness of this folder.
async fn step(world: &World, dir: &Path) -> Ran {
    let text = |path: &Path| path.display().to_string();
    let identity = text(&world.identity("arc/auditor"));
    let (key, state, log_key) =
        (text(&dir.join("witness.pem")), text(&dir.join("state")), text(&dir.join("log.pub")));
    ura(&[
        "evidence",
        "witness",
        "--gateway",
        &world.address,
        "--identity",
        &identity,
        "--key",
        &key,
        "--log-key",
        &log_key,
        "--state",
        &state,
    ])
    .await
}

/// Starts a gateway on this world's configuration, after its log was made away with: by somebody who has
/// its key, and so can sign another one.
async fn forked(world: &mut World, size: u64) {
    world.stop().await;
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(world.path(&format!("evidence.db{ending}"))).ok();
    }
    // What the gateway itself holds would stop it.
    let refused = Gateway::start(world.config(), Clock::system(), Shutdown::new()).await;
    assert!(refused.err().expect("the log is gone").to_string().contains("rolled back"));
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(world.path(&format!("evidence.db{ending}"))).ok();
    }
    let mut held = fs::read_dir(world.path("log-keys")).unwrap().map(|file| file.unwrap().path());
    fs::remove_file(held.find(|path| path.extension().is_some_and(|end| end == "checkpoint")).unwrap())
        .unwrap();
    members::again(world).await;
    world.clock.set_unix_us(Clock::system().unix_us());
    let client = world.portal().await;
    // The gateway enters its log in the registry when it has begun: an entry that would come in between.
    patient(Box::pin(async {
        while world.reader.newest_registry().await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }))
    .await;
    while members::covered(world).await < size {
        // No adapter is there any more: refused, and recorded.
        client.call("Absent", &[], &ask("2")).await;
    }
    let entries = Store::open(&world.store).await.entries().await;
    assert_eq!(entries.len() as u64, size, "{entries:#?}");
}

#[tokio::test]
async fn a_witness_signs_what_goes_on_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("witness.pem").display().to_string();
    let key = ura(&["evidence", "witness-key", "auditor.test", "--out", &key]).await.done();
    let key = Key::parse(key.trim()).unwrap();
    let mut world = members::bus_with(EvidenceStore::Sqlite, members::directory_with(&[&key])).await;
    // The program goes by the system's clock.
    world.clock.set_unix_us(Clock::system().unix_us());
    let log_key = members::log_keys(&world).remove(0);
    fs::write(dir.path().join("log.pub"), format!("{log_key}\n")).unwrap();
    let file = |name: &str| fs::read_to_string(dir.path().join("state").join(name)).ok();
    let held = || {
        let note = Note::parse(&file("held-checkpoint").unwrap()).unwrap();
        (checkpoint::open_note(&note, std::slice::from_ref(&log_key)).unwrap().0, note.to_string())
    };
    let mut sizes = Vec::new();
    for _ in 0..3 {
        exchange(&world).await;
        let size = members::covered(&world).await;
        let said = step(&world, dir.path()).await.done();
        assert!(said.contains(&format!("checkpoint of {size} entries of {ORIGIN} is cosigned")), "{said}");
        assert_eq!(held().0.size, size);
        sizes.push(size);
    }
    let portal = Member::of(&world, "ais/portal").await;
    for size in &sizes {
        let note = Note::parse(&portal.checkpoint("", *size).await.unwrap()).unwrap();
        assert!(checkpoint::cosigned_at(&note, &key).is_ok(), "{size}");
    }
    let again = step(&world, dir.path()).await.done();
    assert!(again.contains("was cosigned before"), "{again}");
    let (before, before_note) = held();

    // Three forks: a shorter log, one of the same length, a longer one.
    let size = before.size;
    for (size, says) in [(2, "rolled back"), (size, "two histories"), (size + 5, "was not proved to go on")] {
        forked(&mut world, size).await;
        assert_eq!(
            LogKeys::read(&world.path("log-keys"), ORIGIN).unwrap().keys(),
            std::slice::from_ref(&log_key),
            "the same key"
        );
        let ran = step(&world, dir.path()).await;
        assert_eq!(ran.code, Some(1), "{size}: {ran:?}");
        assert!(ran.err.contains("nothing was cosigned") && ran.err.contains(says), "{size}: {ran:?}");
        // Both are kept, and both are signed by the log: a proof that needs nobody to be believed.
        let both = ["fork-held", "fork-offered"].map(|name| file(name).unwrap());
        let roots =
            both.clone().map(|note| checkpoint::open(&note, std::slice::from_ref(&log_key)).unwrap().0);
        assert_eq!(roots[0], before);
        assert_eq!((roots[1].size, roots[1].origin.as_str()), (size, ORIGIN));
        assert_ne!(roots[0].root, roots[1].root);
        assert_eq!(held().1, before_note, "what is held stays");
        let note = Member::of(&world, "arc/auditor").await.checkpoint("", size).await.unwrap();
        assert!(checkpoint::cosigned_at(&Note::parse(&note).unwrap(), &key).is_err(), "not cosigned");
    }
    world.end().await;
}
