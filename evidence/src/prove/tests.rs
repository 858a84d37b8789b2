//! Proofs from a store, held against its checkpoints.

use ura_log::{
    proof::{verify_consistency, verify_inclusion},
    tree,
};

use super::*;
use crate::{find::ReadError, sample::Sample};

#[tokio::test]
async fn entries_and_growth_are_proved_from_the_store() {
    let mut sample = Sample::sqlite().await;
    sample.append(&Sample::gaps(300)).await;
    let first = sample.checkpoint().await;
    sample.append(&Sample::gaps(65_300)).await;
    let second = sample.checkpoint().await;
    let reader = sample.reader().await;
    for checkpoint in [&first, &second] {
        let (size, root) = (checkpoint.size, &checkpoint.root);
        for index in [0, 1, 255, 256, 299, 65_535, 65_536, 65_599].into_iter().filter(|index| *index < size) {
            let proof = inclusion(&reader, sample.log, index, size).await.expect("proved");
            let leaf = reader.leaves(sample.log, index, index + 1).await.expect("a leaf")[0];
            verify_inclusion(&tree::leaf_hash(&leaf), index, size, &proof, root).expect("holds");
        }
    }
    let proof = consistency(&reader, sample.log, first.size, second.size).await.expect("proved");
    verify_consistency(first.size, &first.root, second.size, &second.root, &proof).expect("holds");
    let same = consistency(&reader, sample.log, first.size, first.size).await.expect("proved");
    assert!(same.is_empty());
    for error in [
        inclusion(&reader, sample.log, 300, 300).await.expect_err("outside"),
        consistency(&reader, sample.log, 300, 299).await.expect_err("reversed"),
    ] {
        assert!(matches!(&error, ReadError::Proof { log, .. } if log == crate::sample::ORIGIN), "{error}");
    }
}

#[tokio::test]
async fn a_proof_file_verifies_under_the_checkpoint_asked_for() {
    let mut sample = Sample::sqlite().await;
    let rows = Sample::gaps(3);
    for row in &rows {
        sample.append(std::slice::from_ref(row)).await;
        sample.checkpoint().await;
    }
    sample.append(&Sample::gaps(1)).await;
    let reader = sample.reader().await;
    for (which, size) in [(Under::Smallest, 2), (Under::Newest, 3)] {
        let file = proof_file(&reader, sample.log, 1, which).await.expect("proved");
        let file = ProofFile::parse(&file).expect("own file");
        let keys = [sample.signer.key().clone()];
        let verified = file.verify(&rows[1].leaf_hash(), crate::sample::ORIGIN, &keys, &[]).expect("holds");
        assert_eq!(verified.0.size, size);
    }
    for which in [Under::Smallest, Under::Newest] {
        let error = proof_file(&reader, sample.log, 3, which).await.expect_err("not signed yet");
        assert!(matches!(error, ReadError::NotCovered { size: 4, .. }), "{error}");
        let error = proof_file(&reader, sample.log, u64::MAX, which).await.expect_err("far outside");
        assert!(matches!(error, ReadError::NotCovered { .. } | ReadError::Store(_)), "{error}");
    }
    assert_eq!(newest(&reader, sample.log).await.expect("signed").checkpoint.size, 3);
}
