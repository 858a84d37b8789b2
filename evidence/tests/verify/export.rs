//! Exports: they go on where they were broken off, hold nothing but the log, and betray every changed byte.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use ura_evidence::{
    export::{ExportError, Exported, Options, export},
    verify::{Held, Trust},
};

use crate::world::{Random, World, sound, verify_folder};

/// Bytes that are flipped in each export.
const FLIPS: usize = 400;

async fn run(world: &World, folder: &Path, subjects: bool) -> Result<Exported, ExportError> {
    let options = Options { subjects, keys: world.keys(), witnesses: vec![world.witness.key().clone()] };
    let reader = world.reader().await;
    let exported = export(&reader, &world.log, folder, &options, |_, _| {}).await;
    reader.close().await;
    exported
}

/// All files below a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(folder).expect("below").to_path_buf();
                found.insert(below, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Fails unless a verification fails and names the file.
async fn named(folder: &Path, file: &Path, trust: &Trust) {
    let shown = file.display().to_string();
    match verify_folder(folder, trust).await {
        Err(error) => assert!(error.to_string().contains(&shown), "{shown}: {error}"),
        Ok(report) => {
            let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
            let named = report.problems.iter().filter_map(|problem| problem.file.as_ref());
            // A removal that does not fit may be told of all the bodies between its first and its last.
            let among = |path: &str| path == "bodies" && file.starts_with(path);
            assert!(
                named.into_iter().any(|file| file.path == shown || among(&file.path)),
                "{shown}: {problems:#?}"
            );
            assert!(problems.len() <= 5, "{shown}: {problems:#?}");
        }
    }
}

#[tokio::test]
async fn any_byte_that_is_flipped_is_found_and_its_file_named() {
    let mut random = Random::new("flips");
    for (size, subjects) in [(20, true), (256, false), (600, true)] {
        let world = World::full(size, &mut random).await;
        let folder = world.dir.path().join("export");
        run(&world, &folder, subjects).await.expect("exports");
        let files: Vec<(PathBuf, Vec<u8>)> = files(&folder).into_iter().collect();
        for _ in 0..FLIPS {
            let (path, bytes) = random.pick(&files);
            let at = usize::try_from(random.below(u64::try_from(bytes.len()).expect("few"))).expect("few");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.below(8);
            fs::write(folder.join(path), flipped).expect("writes");
            named(&folder, path, &world.trust()).await;
            fs::write(folder.join(path), bytes).expect("writes");
        }
        sound(&verify_folder(&folder, &world.trust()).await.expect("reads"));
    }
}

#[tokio::test]
async fn files_that_are_missing_cut_longer_or_foreign_are_named() {
    let mut random = Random::new("files");
    let world = World::full(400, &mut random).await;
    let folder = world.dir.path().join("export");
    run(&world, &folder, true).await.expect("exports");
    let trust = world.trust();
    for (path, bytes) in files(&folder) {
        let whole = folder.join(&path);
        fs::write(&whole, &bytes[..bytes.len() - 1]).expect("writes");
        named(&folder, &path, &trust).await;
        fs::write(&whole, [&bytes[..], b"\0"].concat()).expect("writes");
        named(&folder, &path, &trust).await;
        fs::write(&whole, []).expect("writes");
        named(&folder, &path, &trust).await;
        fs::remove_file(&whole).expect("removes");
        // An older checkpoint less is an export as good as before.
        if !path.starts_with("checkpoints") {
            named(&folder, &path, &trust).await;
            symlink("/dev/zero", &whole).expect("links");
            named(&folder, &path, &trust).await;
            fs::remove_file(&whole).expect("removes");
        }
        fs::write(&whole, &bytes).expect("writes");
    }
    for foreign in ["x", "tile/0/002", "tile/0/000.p/3", "checkpoints/x", "bodies/000.p/9", ".unfinished"] {
        let whole = folder.join(foreign);
        fs::create_dir_all(whole.parent().expect("below")).expect("makes");
        fs::write(&whole, b"x").expect("writes");
        named(&folder, Path::new(foreign), &trust).await;
        fs::remove_file(&whole).expect("removes");
    }
    sound(&verify_folder(&folder, &trust).await.expect("reads"));
    let error = verify_folder(&world.dir.path().join("nothing"), &trust).await.expect_err("nothing there");
    assert!(error.to_string().contains("no such folder"), "{error}");
}

#[tokio::test]
async fn a_bundle_that_claims_gigabytes_is_refused() {
    let world = World::plain(3, &mut Random::new("gigabytes")).await;
    let folder = world.dir.path().join("export");
    run(&world, &folder, false).await.expect("exports");
    let bodies = folder.join("bodies/000.p/3");
    fs::write(&bodies, [0xff, 0xff, 0xff, 0xff, 0x0f]).expect("writes");
    named(&folder, Path::new("bodies/000.p/3"), &world.trust()).await;
    let file = fs::File::create(folder.join("keys")).expect("creates");
    file.set_len(1 << 40).expect("a hole is no space");
    named(&folder, Path::new("keys"), &world.trust()).await;
}

#[tokio::test]
async fn an_export_goes_on_with_a_log_that_grew() {
    let mut random = Random::new("grows");
    let mut world = World::new().await;
    let folder = world.dir.path().join("export");
    world.started().await;
    for round in 0..12 {
        world.append(random.below(200), &mut random).await;
        match round % 4 {
            1 => world.remove_some(&mut random).await,
            3 if world.signers.len() < 3 => world.rotate().await,
            _ => {}
        }
        world.checkpoint().await;
        if random.below(2) == 0 {
            world.cosign().await;
        }
        let exported = run(&world, &folder, false).await.expect("exports");
        assert_eq!(exported.size, world.size());
        sound(&verify_folder(&folder, &world.trust()).await.expect("reads"));
        // What is exported step by step is what is exported at once.
        let fresh = world.dir.path().join(format!("fresh-{round}"));
        run(&world, &fresh, false).await.expect("exports");
        assert!(files(&fresh) == files(&folder), "round {round}");
        let again = run(&world, &folder, false).await.expect("exports");
        assert_eq!(again.written, 0, "nothing is written twice");
    }
}

#[tokio::test]
async fn an_export_that_was_broken_off_is_never_whole_and_goes_on() {
    let mut random = Random::new("broken off");
    let mut world = World::full(300, &mut random).await;
    let whole = world.dir.path().join("whole");
    run(&world, &whole, true).await.expect("exports");
    let right = files(&whole);
    let folder = world.dir.path().join("export");
    for round in 0..20 {
        // Any subset of the files, some cut short as by a loss of power, and one unfinished.
        drop(fs::remove_dir_all(&folder));
        for (path, bytes) in &right {
            if random.below(3) > 0 && path != Path::new("checkpoint") {
                let to = folder.join(path);
                fs::create_dir_all(to.parent().expect("below")).expect("makes");
                let cut = if random.below(4) == 0 { bytes.len() / 2 } else { bytes.len() };
                fs::write(to, &bytes[..cut]).expect("writes");
            }
        }
        fs::create_dir_all(&folder).expect("makes");
        fs::write(folder.join(".unfinished"), b"half").expect("writes");
        assert!(verify_folder(&folder, &world.trust()).await.is_err(), "there is no checkpoint yet");
        run(&world, &folder, true).await.expect("goes on");
        assert!(files(&folder) == right, "round {round}");
    }
    // A larger export that was broken off, over a smaller one that was whole.
    world.append(300, &mut random).await;
    world.remove_some(&mut random).await;
    world.checkpoint().await;
    let larger = world.dir.path().join("larger");
    run(&world, &larger, true).await.expect("exports");
    let grown = files(&larger);
    fs::copy(larger.join("bodies/000"), folder.join("bodies/000")).expect("copies");
    fs::create_dir_all(folder.join("tile/0/001.p")).expect("makes");
    fs::copy(larger.join("tile/0/001"), folder.join("tile/0/001")).expect("copies");
    let report = verify_folder(&folder, &world.trust()).await.expect("reads");
    assert!(!report.is_sound());
    run(&world, &folder, true).await.expect("goes on");
    assert!(files(&folder) == grown);
}

#[tokio::test]
async fn pseudonyms_leave_only_with_the_right_to_them() {
    let mut random = Random::new("pseudonyms");
    let world = World::full(60, &mut random).await;
    let folder = world.dir.path().join("export");
    let holds = |folder: &Path| {
        let all: Vec<u8> = files(folder).into_values().flatten().collect();
        let rows = world.rows.iter().zip(0..).filter(|(_, index)| !world.removed.contains(index));
        let subjects = rows.flat_map(|(row, _)| &row.subjects);
        subjects.filter(|subject| all.windows(32).any(|bytes| bytes == subject.pseudonym)).count()
    };
    run(&world, &folder, false).await.expect("exports");
    assert_eq!(holds(&folder), 0);
    run(&world, &folder, true).await.expect("exports");
    assert!(holds(&folder) > 0);
    sound(&verify_folder(&folder, &world.trust()).await.expect("reads"));
    run(&world, &folder, false).await.expect("exports");
    assert_eq!(holds(&folder), 0, "an export without them has none, whatever was there");
}

#[tokio::test]
async fn a_folder_with_something_else_is_refused() {
    let mut random = Random::new("refused");
    let world = World::plain(30, &mut random).await;
    let folder = world.dir.path().join("export");
    fs::create_dir_all(&folder).expect("makes");
    fs::write(folder.join("thesis.txt"), b"mine").expect("writes");
    let refused = run(&world, &folder, false).await.expect_err("foreign file");
    assert!(refused.to_string().contains("thesis.txt"), "{refused}");
    assert_eq!(fs::read(folder.join("thesis.txt")).expect("untouched"), b"mine");
    fs::remove_file(folder.join("thesis.txt")).expect("removes");
    run(&world, &folder, false).await.expect("exports");
    let before = files(&folder);
    // Another log of the same name and another history.
    let other = World::plain(40, &mut random).await;
    let refused = run(&other, &folder, false).await.expect_err("another history");
    assert!(refused.to_string().contains("rewritten"), "{refused}");
    // A store that was set back.
    let smaller = World::plain(5, &mut random).await;
    let refused = run(&smaller, &folder, false).await.expect_err("fewer entries");
    assert!(refused.to_string().contains("set back"), "{refused}");
    // Another log.
    let renamed =
        fs::read_to_string(folder.join("checkpoint")).expect("text").replace("ura.test/log", "other");
    fs::write(folder.join("checkpoint"), &renamed).expect("writes");
    let refused = run(&world, &folder, false).await.expect_err("another log");
    assert!(refused.to_string().contains("\"other\""), "{refused}");
    fs::write(folder.join("checkpoint"), &before[Path::new("checkpoint")]).expect("writes");
    assert!(files(&folder) == before, "nothing was changed");
    // A log without a checkpoint.
    let mut unsigned = World::new().await;
    unsigned.started().await;
    let refused = run(&unsigned, &unsigned.dir.path().join("x"), false).await.expect_err("no checkpoint");
    assert!(matches!(refused, ExportError::NothingSigned { .. }), "{refused}");
}

#[tokio::test]
async fn a_flawed_store_gives_no_whole_export() {
    let mut random = Random::new("flawed");
    for sql in [
        "update body set bytes = x'00' where log_index = 7",
        "delete from body where log_index = 7",
        "delete from entry where log_index = 7",
        "update entry set leaf = zeroblob(32) where log_index = 7",
        "update checkpoint set note = 'x'",
    ] {
        let world = World::plain(30, &mut random).await;
        let mut connection = crate::world::connect(&world.database).await;
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
        sqlx::Connection::close(connection).await.expect("closes");
        let folder = world.dir.path().join("export");
        run(&world, &folder, false).await.expect_err(sql);
        assert!(!folder.join("checkpoint").exists(), "{sql}");
    }
}

#[tokio::test]
async fn an_export_is_held_against_what_others_hold() {
    let mut random = Random::new("held");
    let mut world = World::plain(30, &mut random).await;
    let folder = world.dir.path().join("export");
    run(&world, &folder, false).await.expect("exports");
    world.append(10, &mut random).await;
    world.checkpoint().await;
    let (_, newest) = world.checkpoints.last().expect("two").clone();
    let trust = Trust { held: vec![Held::Checkpoint(newest)], ..world.trust() };
    let report = verify_folder(&folder, &trust).await.expect("reads");
    assert!(report.problems.iter().any(|problem| problem.place.covers(35)), "{:#?}", report.problems);
}

#[tokio::test]
async fn two_exports_into_one_folder_do_not_meet() {
    let world = World::plain(3, &mut Random::new("two")).await;
    let folder = world.dir.path().join("export");
    fs::create_dir_all(&folder).expect("makes");
    let other = fs::File::open(&folder).expect("opens");
    other.lock().expect("locks");
    let refused = run(&world, &folder, false).await.expect_err("busy");
    assert!(matches!(refused, ExportError::Busy { .. }), "{refused}");
    drop(other);
    run(&world, &folder, false).await.expect("free again");
}
