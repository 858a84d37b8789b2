//! What `ura evidence verify` refuses, demands and compares with.

use super::*;

#[tokio::test]
async fn options_that_would_be_ignored_are_refused() {
    let world = World::new();
    let exchange = world.record(&["12"]).await[0].to_string();
    world.holds(&["export", "%/exported", "--dir", "%"]).await;
    world.holds(&["receipt", &exchange, "--dir", "%", "--out", "%/receipt"]).await;
    let signer = ura_log::note::Signer::generate(ORIGIN, ura_log::note::Kind::Ed25519).expect("randomness");
    let (origin, extensions) = (ORIGIN.to_owned(), Vec::new());
    let checkpoint = ura_log::checkpoint::Checkpoint { origin, size: 1, root: [1; 32], extensions };
    let checkpoint = checkpoint.sign(&signer).expect("signed");
    let proof = ura_log::proof_file::ProofFile { extra: None, index: 0, hashes: vec![], checkpoint };
    fs::write(world.path("proof"), proof.encode()).expect("temporary folder");
    let zeros = "A".repeat(43);
    let other = format!("log=ura.test/gateway-2;index=0;leaf={zeros};salt={zeros}\n");
    fs::write(world.path("other"), other).expect("temporary folder");
    let hash = "0a".repeat(32);
    for (words, says) in [
        (&["verify", "%/exported", "--log", ORIGIN][..], "--log"),
        (&["verify", "%/receipt", "--log", ORIGIN], "--log"),
        (&["verify", "%/receipt", "--leaf-hash", &hash], "--leaf-hash"),
        (&["verify", "%/proof", "--leaf-hash", &hash, "--reply", "%/other"], "kept bytes"),
        (&["verify", "%/exported", "--request", "%/other"], "kept bytes"),
        (&["verify", "--dir", "%", "--log", ORIGIN, "--against", "%/other"], "ura.test/gateway-2"),
    ] {
        let error = world.fails(words).await;
        assert!(error.contains(says), "{words:?}: {error}");
    }
    world.holds(&["verify", "--dir", "%", "--log", ORIGIN, "--against", "%/receipt"]).await;
}

#[tokio::test]
async fn a_witness_that_is_named_must_have_cosigned() {
    let world = World::new();
    let exchange = world.record(&["12"]).await[0].to_string();
    world.holds(&["receipt", &exchange, "--dir", "%", "--out", "%/receipt"]).await;
    let witness = ura_log::note::Signer::generate("w.example", ura_log::note::Kind::CosignatureV1);
    let witness = witness.expect("randomness").key().to_string();
    for what in [&["verify", "%/receipt", "--key", "%/log-keys"][..], &["verify", "--dir", "%"]] {
        world.holds(what).await;
        world.does_not(&[what, &["--witness", &witness]].concat()).await;
        world.does_not(&[what, &["--witness", &witness, "--json"]].concat()).await;
    }
}

#[tokio::test]
async fn the_gateways_own_checkpoint_finds_an_older_store() {
    let world = World::new();
    world.record(&["12"]).await;
    for part in ["", "-wal"] {
        let (from, to) = (world.path(&format!("evidence.db{part}")), world.path(&format!("older.db{part}")));
        assert!(fs::copy(from, to).is_ok() || !part.is_empty(), "own file");
    }
    world.record(&["34"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
    for suffix in ["", "-wal", "-shm"] {
        drop(fs::remove_file(world.path(&format!("evidence.db{suffix}"))));
    }
    for part in ["", "-wal"] {
        let (from, to) = (world.path(&format!("older.db{part}")), world.path(&format!("evidence.db{part}")));
        drop(fs::rename(from, to));
    }
    // What the gateway keeps beside its key tells of more.
    world.does_not(&["verify", "--dir", "%"]).await;
    world.holds(&["verify", "--store", "sqlite:%/evidence.db", "--key", "%/log-keys"]).await;
}
