//! Changes of the directory, as they are told.

use std::sync::Mutex;

use super::*;
use crate::directory::file::tests::{GOOD, PROTO};

/// A directory in a folder, and the changes that were told so far.
struct Rig {
    dir: tempfile::TempDir,
    directory: Directory,
    watched: Watched,
    told: Mutex<Vec<(Change, Arc<str>)>>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::write(dir.path().join("t.proto"), PROTO).expect("temporary folder");
        let path = dir.path().join("directory.toml");
        std::fs::write(&path, GOOD).expect("temporary folder");
        let (directory, watched) = Directory::open(&path).map_err(|e| e.to_string()).expect("valid");
        Self { dir, directory, watched, told: Mutex::default() }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir.path().join(file), text).expect("temporary folder");
    }

    /// Looks; returns what was told, each with the version that was in force at that moment.
    async fn look(&mut self) -> Vec<(Change, Arc<str>)> {
        let tell = |change| {
            let in_force = self.directory.load().version.clone();
            self.told.lock().expect("no panic before").push((change, in_force));
        };
        self.directory.look(&mut self.watched, &tell).await;
        std::mem::take(&mut *self.told.lock().expect("no panic before"))
    }
}

fn version(version: &str) -> String {
    GOOD.replace("\"7\"", &format!("\"{version}\""))
}

#[tokio::test]
async fn a_published_change_is_told_before_it_is_in_force() {
    let mut rig = Rig::new();
    assert_eq!(rig.look().await, [], "the first reading is no change");
    let before = rig.directory.load();
    rig.write("directory.toml", &version("8-longer"));
    let told = rig.look().await;
    let after = rig.directory.load();
    assert_ne!(after.digest, before.digest);
    let change = Change {
        version: "8-longer".into(),
        digest: Some(after.digest),
        version_before: "7".into(),
        digest_before: before.digest,
        refused: None,
    };
    assert_eq!(told, [(change, "7".into())]);
    assert_eq!(rig.look().await, [], "once");
    // A contract that changes is a change of the directory, too.
    rig.write("t.proto", &PROTO.replace("string id = 1;", "string id = 1; string more = 2;"));
    let told = rig.look().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0.digest_before, after.digest);
    assert_eq!((&*told[0].0.version, &*told[0].0.version_before), ("8-longer", "8-longer"));
}

#[tokio::test]
async fn a_refused_change_is_told_once_for_each_content() {
    let mut rig = Rig::new();
    let in_force = rig.directory.load();
    let broken = version("8").replace("t.proto", "absent.proto");
    rig.write("directory.toml", &broken);
    let told = rig.look().await;
    let [(change, _)] = told.as_slice() else { unreachable!("one change: {told:?}") };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, broken.as_bytes());
    assert_eq!(change.digest.as_ref().map(<[u8; 32]>::as_slice), Some(digest.as_ref()), "of the file alone");
    assert_eq!((&*change.version, &*change.version_before), ("8", "7"));
    assert_eq!(change.digest_before, in_force.digest);
    let reason = change.refused.as_deref().expect("refused");
    assert!(reason.contains("directory.toml:") && reason.contains("absent.proto"), "{reason}");
    // The file is tried again at each look, and may even be refused for another reason.
    assert_eq!(rig.look().await, []);
    rig.write("absent.proto", "syntax = \"proto3\";");
    assert_eq!(rig.look().await, []);
    rig.write("directory.toml", &broken.replace("\"8\"", "\"9\""));
    assert_eq!(rig.look().await.len(), 1, "another content");
    std::fs::remove_file(rig.dir.path().join("directory.toml")).expect("temporary folder");
    let told = rig.look().await;
    assert_eq!(told.len(), 1);
    assert_eq!((&*told[0].0.version, told[0].0.digest), ("", None), "there is no file");
    assert_eq!(rig.look().await, []);
    assert_eq!(rig.directory.load().digest, in_force.digest);
    // Mended to what is in force: nothing changed. The same mistake made again is one more.
    rig.write("directory.toml", GOOD);
    assert_eq!(rig.look().await, []);
    std::fs::remove_file(rig.dir.path().join("absent.proto")).expect("temporary folder");
    rig.write("directory.toml", &broken);
    assert_eq!(rig.look().await.len(), 1);
    // And what was missing comes: it is published.
    rig.write("absent.proto", PROTO);
    let told = rig.look().await;
    assert_eq!(told.len(), 1);
    assert_eq!((&*told[0].0.version, &told[0].0.refused), ("8", &None));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let rig = Rig::new();
    let before = rig.directory.load();
    for (text, expected_bytes) in [("a".repeat(3000), 2048), ("ë".repeat(1500), 2047), ("a".repeat(5), 8)] {
        let errors = ConfigErrors::new(Path::new("d"), text.clone());
        let refused = Refused { errors, version: "8".into(), digest: None };
        let reason = Change::refused(&before, &refused).refused.expect("refused");
        assert_eq!(reason.len(), expected_bytes);
        assert!(format!("d: {text}").starts_with(&reason));
    }
}
