//! What is as it should be verifies without a problem.

use ura_evidence::{
    entry::kind,
    export::{Options, export},
    verify::{Held, Trust},
};

use crate::world::{Random, World, sound, verify_folder, verify_store};

#[tokio::test]
async fn logs_of_all_sizes_verify_in_the_store_and_exported() {
    let mut random = Random::new("sizes");
    for size in [1, 2, 255, 256, 257, 511, 512, 600] {
        let world = World::plain(size, &mut random).await;
        let report = verify_store(&world.database, &world.trust()).await.expect("reads");
        sound(&report);
        assert_eq!((report.size, report.signed_size, report.unsigned), (size, size, 0));
        assert_eq!(report.root, world.tree.root());
        assert_eq!(report.kinds.values().sum::<u64>(), size);
        let folder = world.dir.path().join("export");
        let options = Options { keys: world.keys(), ..Options::default() };
        let reader = world.reader().await;
        let exported = export(&reader, &world.log, &folder, &options, |_, _| {}).await.expect("exports");
        assert_eq!((exported.size, exported.root), (size, world.tree.root()));
        let report = verify_folder(&folder, &world.trust()).await.expect("reads");
        sound(&report);
        assert_eq!((report.size, report.signed_size), (size, size));
        reader.close().await;
    }
}

#[tokio::test]
async fn a_log_with_everything_verifies() {
    let mut random = Random::new("everything");
    for size in [30, 300, 700] {
        let world = World::full(size, &mut random).await;
        let mut trust = world.trust();
        trust.held = world.checkpoints.iter().map(|(_, note)| Held::Checkpoint(note.clone())).collect();
        trust.held.push(Held::Receipt {
            origin: "ura.test/log".into(),
            index: 3,
            leaf_hash: world.rows[3].leaf_hash(),
        });
        let report = verify_store(&world.database, &trust).await.expect("reads");
        sound(&report);
        assert_eq!((report.size, report.signed_size), (world.size(), world.signed()));
        assert_eq!(report.unsigned, world.size() - world.signed());
        assert_eq!(report.removed, u64::try_from(world.removed.len()).expect("few"));
        assert_eq!(report.keys.len(), world.signers.len(), "keys follow from the announced ones");
        assert_eq!(report.cosignatures.len(), 1);
        assert!(report.cosignatures[0].given);
        assert_eq!(report.kinds.get(&kind::OPENING), Some(&report.exchanges));
        // The first key is as good as the newest: the newest is announced under it.
        let first = Trust { keys: vec![world.keys().remove(0)], ..trust.clone() };
        let again = verify_store(&world.database, &first).await.expect("reads");
        sound(&again);
        assert_eq!((again.signed_size, again.root), (report.signed_size, report.root));
        for subjects in [false, true] {
            let folder = world.dir.path().join(format!("export-{subjects}"));
            let witnesses = vec![world.witness.key().clone()];
            let options = Options { subjects, keys: Vec::new(), witnesses };
            let reader = world.reader().await;
            export(&reader, &world.log, &folder, &options, |_, _| {}).await.expect("exports");
            let report = verify_folder(&folder, &trust).await.expect("reads");
            sound(&report);
            assert_eq!((report.size, report.removed), (world.signed(), again.removed));
            reader.close().await;
        }
    }
}

#[tokio::test]
async fn progress_is_told_to_the_end() {
    let world = World::plain(600, &mut Random::new("progress")).await;
    let reader = world.reader().await;
    let mut told = Vec::new();
    let source = ura_evidence::source::Source::store(reader.clone(), world.log.clone());
    let report = ura_evidence::verify::verify(source, &world.trust(), |done, of| told.push((done, of))).await;
    sound(&report.expect("reads"));
    assert_eq!(told, [(256, 600), (512, 600), (600, 600)]);
    reader.close().await;
}
