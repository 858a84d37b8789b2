//! Exports of logs that another gateway ended.

use std::path::Path;

use ura_log::note::Key;

use super::*;
use crate::{
    export::{ExportError, Exported, Options, export},
    source::Source,
};

/// The log `a`, sealed by `b` behind a checkpoint of its own; how many entries that one covers, and how many there are.
async fn sealed(rig: &mut Rig) -> (u64, u64) {
    let own_size = rig.verified(&rig.a, &[&rig.a.signer]).await.signed_size;
    let (own, clock) = (own(&rig.b), clock());
    let sealing = seal_watching(&mut rig.b.store, &rig.reader, "ura.test/a", &own, "gone", &clock, WATCH);
    let sealed = Box::pin(sealing).await.expect("sealed");
    (own_size, sealed.size)
}

async fn exported(rig: &Rig, sample: &Sample, folder: &Path) -> Result<Exported, ExportError> {
    let row = rig.row(sample).await;
    let options = Options { keys: vec![sample.signer.key().clone()], ..Options::default() };
    Box::pin(export(&rig.reader, &row, folder, &options, |_, _| ())).await
}

async fn read(folder: &Path, keys: &[Key]) -> Report {
    let trust = Trust { keys: keys.to_vec(), ..Trust::default() };
    verify(Source::folder(folder).expect("an export"), &trust, |_, _| ()).await.expect("readable")
}

fn own_keys(folder: &Path) -> Vec<Key> {
    Source::folder(folder).expect("an export").own_keys().to_vec()
}

fn by_b(size: u64, verified: bool) -> Option<SealedBy> {
    Some(SealedBy { by: "ura.test/b".into(), size, verified })
}

#[tokio::test]
async fn a_sealed_log_is_exported_with_the_key_that_sealed_it() {
    let mut rig = Rig::new().await;
    let (own_size, size) = sealed(&mut rig).await;
    let folder = rig.dir.path().join("export");
    let first = exported(&rig, &rig.a, &folder).await.expect("exports");
    assert_eq!(first.size, size);
    let (a, b) = (rig.a.signer.key().clone(), rig.b.signer.key().clone());
    assert_eq!(own_keys(&folder), [a.clone(), b.clone()], "its own key first");
    for keys in [own_keys(&folder), vec![b.clone(), a.clone()]] {
        let all = read(&folder, &keys).await;
        assert_eq!((all.problems, all.signed_size, all.sealed), (vec![], size, by_b(size, true)));
    }
    // With the dead gateway's own key alone, all that it signed; with the other one's alone, nothing.
    let own = read(&folder, std::slice::from_ref(&a)).await;
    assert_eq!((own.problems.len(), own.signed_size, own.sealed), (1, own_size, by_b(size, false)));
    let other = read(&folder, std::slice::from_ref(&b)).await;
    assert!(!other.is_sound() && other.signed_size == 0, "{other:?}");
    assert!(own_size > 0 && own_size < size);
    // Again, into the same folder: it is an export of this log, though it names a key of another.
    let again = exported(&rig, &rig.a, &folder).await.expect("exports");
    assert_eq!((again.size, again.written), (size, 0));
    let refused = exported(&rig, &rig.b, &folder).await.expect_err("an export of another log");
    assert!(refused.to_string().contains("an export of the log \"ura.test/a\""), "{refused}");
    rig.reader.close().await;
}

#[tokio::test]
async fn an_export_goes_on_when_its_log_was_sealed() {
    let mut rig = Rig::new().await;
    let folder = rig.dir.path().join("export");
    let before = exported(&rig, &rig.a, &folder).await.expect("exports");
    assert_eq!(own_keys(&folder), [rig.a.signer.key().clone()], "nobody sealed it yet");
    let (own_size, size) = sealed(&mut rig).await;
    assert_eq!(before.size, own_size);
    exported(&rig, &rig.a, &folder).await.expect("exports");
    let fresh = rig.dir.path().join("fresh");
    exported(&rig, &rig.a, &fresh).await.expect("exports");
    for folder in [&folder, &fresh] {
        let report = read(folder, &own_keys(folder)).await;
        assert_eq!((report.problems, report.sealed), (vec![], by_b(size, true)));
    }
    rig.reader.close().await;
}

#[tokio::test]
async fn what_the_end_of_an_export_says_is_verified() {
    let mut rig = Rig::new().await;
    let (own_size, size) = sealed(&mut rig).await;
    let folder = rig.dir.path().join("export");
    exported(&rig, &rig.a, &folder).await.expect("exports");
    let (a, b, c) = (rig.a.signer.key(), rig.b.signer.key(), rig.c.signer.key());
    let keys_file = folder.join("keys");
    let problems = async |keys: &[&Key]| {
        let keys: Vec<Key> = keys.iter().map(|key| (*key).clone()).collect();
        let report = read(&folder, &keys).await;
        let told: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        (told, report.signed_size, report.sealed)
    };
    // A key that neither is the log's nor ended it does not belong there.
    std::fs::write(&keys_file, format!("{a}\n{b}\n{c}\n")).expect("writes");
    let (told, ..) = problems(&[a]).await;
    assert!(told.len() == 2 && told[0].contains(&c.to_string()), "{told:?}");
    // Without the key of the end nothing can be said of it, unless the reader has that key.
    std::fs::write(&keys_file, format!("{a}\n")).expect("writes");
    let (told, ..) = problems(&[a]).await;
    assert!(told.iter().any(|told| told.contains("no known key of the log signed it")), "{told:?}");
    assert_eq!(problems(&[a, b]).await, (vec![], size, by_b(size, true)));
    // An end under a stranger's key of that name: the export agrees with itself, and nobody vouches for its end.
    let stranger = Signer::generate("ura.test/b", b.kind()).expect("a key");
    let text = std::fs::read_to_string(folder.join("checkpoint")).expect("readable");
    let (forged, _) = checkpoint::open(&text, std::slice::from_ref(b)).expect("signed");
    std::fs::write(folder.join("checkpoint"), forged.sign(&stranger).expect("signed").to_string())
        .expect("writes");
    std::fs::write(&keys_file, format!("{a}\n{}\n", stranger.key())).expect("writes");
    for keys in [&[a][..], &[a, b]] {
        let (told, signed, sealed) = problems(keys).await;
        assert_eq!((signed, sealed), (own_size, by_b(size, false)), "b did not sign that");
        assert!(told.len() == 1 && told[0].contains("by which \"ura.test/b\" says"), "{told:?}");
    }
    // And one under the key of a gateway that did not end it.
    std::fs::write(folder.join("checkpoint"), forged.sign(&rig.c.signer).expect("signed").to_string())
        .expect("writes");
    std::fs::write(&keys_file, format!("{a}\n{c}\n")).expect("writes");
    let (told, signed, sealed) = problems(&[a, c]).await;
    assert!(!told.is_empty() && signed == own_size && sealed.is_none(), "{told:?}");
    rig.reader.close().await;
}
