//! Log keys: made once, several logs in a folder, rotation and what it leaves when it is cut off.

use std::{collections::BTreeSet, fs, path::Path};

use ura_log::note::{Key, Kind, Note, Signer};

use super::{checkpoint, mode, names, place, set_mode, together};
use crate::keys::{EpochKeys, KeysError, LogKeys, log_keys_of_file};

const ORIGIN: &str = "ura.test/gateway-1";
const NEXT_ORIGIN: &str = "ura.test/gateway-1/2";

fn newest(keys: &LogKeys) -> Key {
    keys.newest().key().clone()
}

/// Whether the newest key signs what its verifier key verifies.
fn signs(keys: &LogKeys) -> bool {
    let note = Note::sign("a text\n".to_owned(), &keys.newest()).expect("a right text");
    note.verify(&[newest(keys)]).is_ok()
}

#[test]
fn a_key_is_made_once_kept_closed_and_read_back() {
    let (_dir, path) = place();
    let made = LogKeys::open(&path, ORIGIN).expect("made");
    for again in [LogKeys::open(&path, ORIGIN).expect("opened"), LogKeys::read(&path, ORIGIN).expect("read")]
    {
        assert_eq!((newest(&made), made.keys()), (newest(&again), vec![newest(&made)]));
        assert!(signs(&again));
        assert_eq!((again.origin(), again.newest().key().name()), (ORIGIN, ORIGIN));
    }
    assert_eq!(names(&path), ["000001.log.pem", "000001.log.pub"]);
    assert_eq!((mode(&path), mode(&path.join("000001.log.pem"))), (0o700, 0o600));
    let public = fs::read_to_string(path.join("000001.log.pub")).expect("own file");
    assert_eq!(public, format!("{}\n", newest(&made)));
}

#[test]
fn what_others_may_reach_is_refused_and_what_is_closed_again_is_read() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let (_, pending) = keys.rotate().expect("made");
    let next = names(&path).into_iter().find(|name| name.ends_with(".next.pem")).expect("made");
    for file in ["000001.log.pem", &next] {
        for open in [0o640, 0o604] {
            set_mode(&path.join(file), open);
            for result in
                [LogKeys::open(&path, ORIGIN).err(), keys.reload().err(), keys.activate(&pending).err()]
            {
                let error = result.expect("refused");
                assert!(matches!(error, KeysError::Open { mode, .. } if mode == open), "{file}: {error}");
            }
        }
        set_mode(&path.join(file), 0o400);
        LogKeys::open(&path, ORIGIN).expect("closed");
    }
    set_mode(&path.join("000001.log.pub"), 0o644);
    LogKeys::open(&path, ORIGIN).expect("what is public may be read");
    set_mode(&path, 0o750);
    assert!(matches!(LogKeys::open(&path, ORIGIN), Err(KeysError::OpenFolder { mode: 0o750, .. })));
    assert!(matches!(LogKeys::read(&path, ORIGIN), Err(KeysError::OpenFolder { mode: 0o750, .. })));
    set_mode(&path, 0o700);
    keys.write_held(&checkpoint(ORIGIN, 1)).expect("written");
    let held = names(&path).into_iter().find(|name| name.starts_with("held-")).expect("written");
    assert_eq!(mode(&path.join(&held)), 0o600);
    set_mode(&path.join(held), 0o644);
    assert!(matches!(keys.read_held(), Err(KeysError::Open { mode: 0o644, .. })));
}

#[test]
fn readers_make_nothing() {
    let (dir, path) = place();
    assert!(LogKeys::read(&path, ORIGIN).is_err());
    assert!(names(dir.path()).is_empty());
    LogKeys::open(&path, ORIGIN).expect("made");
    fs::remove_file(path.join("000001.log.pub")).expect("own file");
    LogKeys::read(&path, ORIGIN).expect("read");
    assert_eq!(names(&path), ["000001.log.pem"]);
    let error = LogKeys::read(&path, NEXT_ORIGIN).expect_err("no key of this log");
    assert!(matches!(error, KeysError::Missing { .. }) && error.to_string().contains(NEXT_ORIGIN), "{error}");
    // Died before the public file was written: the next start writes it.
    LogKeys::open(&path, ORIGIN).expect("opened");
    assert_eq!(names(&path), ["000001.log.pem", "000001.log.pub"]);
}

#[test]
fn an_origin_that_names_no_key_is_refused() {
    for origin in ["", "a b", "a+b", &"a".repeat(256)] {
        let (_dir, path) = place();
        assert!(matches!(LogKeys::open(&path, origin), Err(KeysError::Note { .. })), "{origin}");
        assert!(names(&path).is_empty());
    }
}

#[test]
fn keys_of_several_logs_lie_in_one_folder() {
    let (_dir, path) = place();
    let first = LogKeys::open(&path, ORIGIN).expect("made");
    let second = LogKeys::open(&path, NEXT_ORIGIN).expect("made");
    let (_, pending) = second.rotate().expect("made");
    first.reload().expect("read");
    assert!(first.pending().is_empty(), "the pending key is of the other log");
    assert!(second.activate(&pending).expect("activated"));
    assert!(!first.reload().expect("read"));
    assert_eq!((first.keys().len(), second.keys().len()), (1, 2));
    assert!(first.keys().iter().all(|key| key.name() == ORIGIN));
    assert!(second.keys().iter().all(|key| key.name() == NEXT_ORIGIN));
    let (one, two) = (checkpoint(ORIGIN, 5), checkpoint(NEXT_ORIGIN, 3));
    first.write_held(&one).expect("written");
    second.write_held(&two).expect("written");
    assert!(matches!(first.write_held(&checkpoint(NEXT_ORIGIN, 9)), Err(KeysError::Malformed { .. })));
    assert_eq!(first.read_held().expect("read"), Some(one));
    assert_eq!(second.read_held().expect("read"), Some(two));
    // All of them, for who verifies.
    let all = log_keys_of_file(&path).expect("read");
    assert_eq!(all, [first.keys(), second.keys()].concat());
}

#[test]
fn those_who_start_together_agree() {
    for round in 0..20 {
        let (_dir, path) = place();
        let origins = [ORIGIN, NEXT_ORIGIN];
        let turn = std::sync::atomic::AtomicUsize::new(round);
        let made = together(8, || {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            newest(&LogKeys::open(&path, origins[turn % 2]).expect("one of them made it")).to_string()
        });
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), 2, "one for each log");
        let expected = ["000001.log.pem", "000001.log.pub", "000002.log.pem", "000002.log.pub"];
        assert_eq!(names(&path), expected);
    }
}

#[test]
fn a_new_key_signs_only_when_it_is_activated() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let other = LogKeys::read(&path, ORIGIN).expect("read");
    let first = newest(&keys);
    let (old, new) = keys.rotate().expect("made");
    assert_eq!((&old, newest(&keys), keys.keys()), (&first, first.clone(), vec![first.clone()]));
    assert_eq!((keys.pending(), new.name(), new.kind()), (vec![new.clone()], ORIGIN, Kind::Ed25519));
    assert!(keys.activate(&new).expect("activated"), "the first time");
    assert!(!keys.activate(&new).expect("activated"), "the second time");
    assert!(!keys.activate(&old).expect("was current"), "an old key does not come back");
    assert_eq!((newest(&keys), keys.keys(), keys.pending()), (new.clone(), vec![old, new.clone()], vec![]));
    assert!(signs(&keys));
    assert_eq!(newest(&other), first, "not told yet");
    assert!(other.reload().expect("read"));
    assert_eq!((newest(&other), other.keys()), (new, keys.keys()));
    assert_eq!(
        names(&path),
        ["000001.log.pem", "000001.log.pub", "000002.log.pem", "000002.log.pub"],
        "no pending name is left"
    );
}

#[test]
fn a_rotation_that_was_cut_off_ends_at_the_next_start_as_the_log_says() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let (first, unannounced) = keys.rotate().expect("made");
    let (_, announced) = keys.rotate().expect("made");
    drop(keys);
    let keys = LogKeys::open(&path, ORIGIN).expect("next start");
    assert_eq!(newest(&keys), first);
    let pending: BTreeSet<String> = keys.pending().iter().map(Key::to_string).collect();
    assert_eq!(pending, [&unannounced, &announced].map(Key::to_string).into());
    assert!(keys.activate(&announced).expect("activated"));
    let keys = LogKeys::open(&path, ORIGIN).expect("next start");
    assert_eq!((newest(&keys), keys.pending()), (announced.clone(), vec![unannounced]));
    assert_eq!(keys.keys(), [first, announced]);
}

#[test]
fn an_activation_that_was_cut_off_counts() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let (old, new) = keys.rotate().expect("made");
    let next = names(&path).into_iter().find(|name| name.ends_with(".next.pem")).expect("made");
    // Linked; neither was the public file written nor the pending name removed.
    fs::hard_link(path.join(&next), path.join("000002.log.pem")).expect("own file");
    let reader = LogKeys::read(&path, ORIGIN).expect("read");
    assert_eq!((newest(&reader), reader.pending()), (new.clone(), vec![]));
    let expected = ["000001.log.pem", "000001.log.pub", "000002.log.pem", "000002.log.pub"];
    for is_next_start in [false, true] {
        if is_next_start {
            LogKeys::open(&path, ORIGIN).expect("ended");
        } else {
            keys.activate(&new).expect("ended");
        }
        assert_eq!(names(&path), expected);
        keys.reload().expect("read");
        assert_eq!((newest(&keys), keys.keys()), (new.clone(), vec![old.clone(), new.clone()]));
        fs::hard_link(path.join("000002.log.pem"), path.join(&next)).expect("own file");
        fs::remove_file(path.join("000002.log.pub")).expect("own file");
    }
}

#[test]
fn those_who_activate_together_do_it_once() {
    for _ in 0..20 {
        let (_dir, path) = place();
        let keys = LogKeys::open(&path, ORIGIN).expect("made");
        let (old, new) = keys.rotate().expect("made");
        let did =
            together(4, || LogKeys::read(&path, ORIGIN).expect("read").activate(&new).expect("activated"));
        assert_eq!(did.iter().filter(|did| **did).count(), 1, "{did:?}");
        assert!(keys.reload().expect("read"));
        assert_eq!(keys.keys(), [old, new]);
    }
}

#[test]
fn a_key_that_is_not_here_cannot_be_activated() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let other = Signer::generate(ORIGIN, Kind::Ed25519).expect("randomness");
    let error = keys.activate(other.key()).expect_err("not here");
    assert!(matches!(error, KeysError::NoPrivateKey { .. }));
    assert!(error.to_string().contains(&other.key().to_string()), "the verifier key is public: {error}");
    let second = LogKeys::open(&path, NEXT_ORIGIN).expect("made");
    let (_, pending) = second.rotate().expect("made");
    assert!(keys.activate(&pending).is_err(), "a key of another log");
}

#[test]
fn an_old_private_key_may_be_taken_away_and_the_newest_may_not() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    let (old, new) = keys.rotate().expect("made");
    keys.activate(&new).expect("activated");
    fs::remove_file(path.join("000001.log.pem")).expect("own file");
    let keys = LogKeys::open(&path, ORIGIN).expect("opened");
    assert_eq!((newest(&keys), keys.keys()), (new.clone(), vec![old, new.clone()]));
    fs::remove_file(path.join("000002.log.pem")).expect("own file");
    for error in [LogKeys::open(&path, ORIGIN), LogKeys::read(&path, ORIGIN)].map(|r| r.expect_err("lost")) {
        assert!(matches!(&error, KeysError::NoPrivateKey { key, .. } if *key == new.to_string()), "{error}");
    }
    assert!(keys.reload().is_err() && signs(&keys), "what was read stays in use");
    assert_eq!(names(&path), ["000001.log.pub", "000002.log.pub"], "no other key was made in its place");
}

#[test]
fn damaged_and_foreign_files_are_named() {
    let other = Signer::generate(ORIGIN, Kind::Ed25519).expect("randomness");
    let public = format!("{}\n", other.key());
    let cases = [
        ("000001.log.pem", "x"),
        ("000001.log.pem", ""),
        ("000001.log.pem", public.as_str()),
        ("000001.log.pub", "x"),
        ("000001.log.pub", ""),
        ("000001.log.pub", public.as_str()),
        ("00000000.next.pem", "x"),
        ("2.log.pem", ""),
        ("gateway.pem", ""),
        ("gateway.pub", ""),
    ];
    for (name, content) in cases {
        let (_dir, path) = place();
        LogKeys::open(&path, ORIGIN).expect("made");
        fs::write(path.join(name), content).expect("own file");
        set_mode(&path.join(name), 0o600);
        let error = LogKeys::open(&path, ORIGIN).expect_err(name);
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn the_two_kinds_of_key_do_not_share_a_folder() {
    let (_dir, path) = place();
    EpochKeys::open(&path).expect("made");
    assert!(matches!(LogKeys::open(&path, ORIGIN), Err(KeysError::Mixed { .. })));
    let (_dir, path) = place();
    LogKeys::open(&path, ORIGIN).expect("made");
    assert!(matches!(EpochKeys::open(&path), Err(KeysError::Mixed { .. })));
}

#[test]
fn files_of_verifier_keys() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let keys: Vec<Key> = [(ORIGIN, Kind::Ed25519), ("witness", Kind::CosignatureV1)]
        .map(|(name, kind)| Signer::generate(name, kind).expect("randomness").key().clone())
        .into();
    let file = dir.path().join("keys");
    let read = |text: &str| {
        fs::write(&file, text).expect("own file");
        log_keys_of_file(&file)
    };
    let (one, two) = (keys[0].to_string(), keys[1].to_string());
    assert_eq!(read(&one).expect("one key"), keys[..1]);
    assert_eq!(read(&format!("# whose\n\n{one}\r\n  {two}  \n")).expect("two keys"), keys);
    for (text, expected) in [
        ("", "at least one"),
        ("# nothing\n", "at least one"),
        (&format!("{one}\nx\n"), "keys:2: "),
        (&one.replace("ura.test", "ura.best"), "keys:1: "),
        ("-----BEGIN PRIVATE KEY-----\n", "private key"),
        (&"#\n".repeat(40_000), "larger than"),
    ] {
        let error = read(text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(log_keys_of_file(&dir.path().join("none")).is_err());
    assert!(matches!(log_keys_of_file(dir.path()), Err(KeysError::Missing { .. })));
    assert!(log_keys_of_file(Path::new("/dev/null")).is_err(), "no ordinary file");
}
