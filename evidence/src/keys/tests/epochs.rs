//! Epoch keys: made once, closed, rotated, destroyed.

use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::{Strategy as _, any, prop_assert_eq, proptest};
use ura_proto::v1::{Subject, SubjectOpening};

use super::{exchange, mode, names, place, set_mode, together};
use crate::keys::{EpochKey, EpochKeys, KeysError, commitment, opens};

#[test]
fn a_key_is_made_once_kept_closed_and_read_back() {
    let (_dir, path) = place();
    let first = EpochKeys::open(&path).expect("made");
    for again in [EpochKeys::open(&path).expect("opened"), EpochKeys::read(&path).expect("read")] {
        assert_eq!(first.newest().id(), again.newest().id());
        let id = exchange();
        assert_eq!(first.newest().salt(id), again.newest().salt(id));
    }
    assert_eq!(names(&path), ["000001.epoch"], "nothing else is left behind");
    assert_eq!((mode(&path), mode(&path.join("000001.epoch"))), (0o700, 0o600));
    assert_eq!(mode(path.parent().expect("made too")), 0o700);
}

#[test]
fn readers_make_nothing() {
    let (dir, path) = place();
    assert!(matches!(EpochKeys::read(&path), Err(KeysError::Io { .. })));
    assert!(names(dir.path()).is_empty());
    fs::create_dir_all(&path).expect("own folder");
    set_mode(&path, 0o700);
    let error = EpochKeys::read(&path).expect_err("no key");
    assert!(matches!(error, KeysError::Missing { .. }) && error.to_string().contains("keys"), "{error}");
    assert!(names(&path).is_empty());
}

#[test]
fn what_others_may_reach_is_refused_and_what_is_closed_again_is_read() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let file = path.join("000001.epoch");
    for open in [0o640, 0o604, 0o620, 0o610, 0o644, 0o660] {
        set_mode(&file, open);
        for result in [EpochKeys::open(&path).err(), EpochKeys::read(&path).err(), keys.reload().err()] {
            let error = result.expect("refused");
            assert!(matches!(error, KeysError::Open { mode, .. } if mode == open), "{open:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
    for closed in [0o600, 0o400] {
        set_mode(&file, closed);
        EpochKeys::open(&path).expect("closed");
    }
    for open in [0o750, 0o705, 0o711, 0o755] {
        set_mode(&path, open);
        for result in [EpochKeys::open(&path).err(), EpochKeys::read(&path).err(), keys.reload().err()] {
            let error = result.expect("refused");
            assert!(matches!(error, KeysError::OpenFolder { mode, .. } if mode == open), "{open:o}: {error}");
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
    }
    set_mode(&path, 0o700);
    assert!(!keys.reload().expect("closed again"), "the key is the same");
}

#[test]
fn a_damaged_key_is_an_error_that_names_its_file() {
    let (_dir, path) = place();
    EpochKeys::open(&path).expect("made");
    let file = path.join("000001.epoch");
    let good = fs::read_to_string(&file).expect("own file");
    let digits = good.trim();
    let short = digits.get(1..).expect("digits");
    let damaged = ["", "short", short, &format!("{digits}0"), &format!("+{short}")];
    for text in
        damaged.into_iter().map(str::to_owned).chain([" ".repeat(500), digits.replace(['0', '1'], "x")])
    {
        fs::write(&file, &text).expect("own file");
        let error = EpochKeys::open(&path).expect_err(&text);
        assert!(error.to_string().contains("000001.epoch"), "{error}");
    }
    fs::write(&file, format!("  {}\r\n", digits.to_uppercase())).expect("own file");
    EpochKeys::open(&path).expect("the same key, written otherwise");
    fs::remove_file(&file).expect("own file");
    fs::create_dir(&file).expect("own folder");
    assert!(matches!(EpochKeys::open(&path), Err(KeysError::Io { path, .. }) if path == file));
}

#[test]
fn files_that_are_no_keys_are_judged_by_name() {
    let cases: [(&str, bool); 8] = [
        ("README", true),
        (".000002.epoch.swp", true),
        ("000001.epoch~", true),
        ("1.epoch", false),
        ("0000002.epoch", false),
        ("000000.epoch", false),
        ("+00002.epoch", false),
        ("000001.log.pem", false),
    ];
    for (name, is_ignored) in cases {
        let (_dir, path) = place();
        let made = EpochKeys::open(&path).expect("made");
        fs::write(path.join(name), "x").expect("own file");
        match EpochKeys::open(&path) {
            Ok(keys) => assert!(is_ignored && keys.newest().id() == made.newest().id(), "{name}"),
            Err(error) => {
                assert!(matches!(error, KeysError::Name { .. } | KeysError::Mixed { .. }), "{name}: {error}");
                assert!(!is_ignored, "{name}: {error}");
            }
        }
    }
}

#[test]
fn those_who_start_together_agree() {
    for _ in 0..20 {
        let (_dir, path) = place();
        let ids =
            together(8, || EpochKeys::open(&path).expect("one of them made it").newest().id().to_owned());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1);
        assert_eq!(names(&path), ["000001.epoch"]);
    }
}

#[test]
fn those_who_rotate_together_get_a_key_each() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let other = EpochKeys::open(&path).expect("read");
    let made: BTreeSet<String> =
        together(4, || keys.rotate().expect("made").id().to_owned()).into_iter().collect();
    let also: BTreeSet<String> =
        together(4, || EpochKeys::read(&path).expect("read").rotate().expect("made").id().to_owned())
            .into_iter()
            .collect();
    assert_eq!((made.len(), also.len(), made.intersection(&also).count()), (4, 4, 0));
    assert!(other.reload().expect("read"), "the newest is another one");
    assert_eq!(other.all().len(), 9);
    assert_eq!(names(&path).len(), 9);
}

#[test]
fn a_rotated_key_is_the_newest_and_the_old_one_stays_known() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let replica = EpochKeys::open(&path).expect("read");
    let old = keys.newest();
    let new = keys.rotate().expect("made");
    assert_ne!(old.id(), new.id());
    assert_eq!(ids(&keys), [new.id(), old.id()]);
    assert_eq!(replica.newest().id(), old.id(), "not told yet");
    assert!(replica.reload().expect("read"));
    assert!(!replica.reload().expect("read"), "nothing changed since");
    assert_eq!(ids(&replica), [new.id(), old.id()]);
    let id = exchange();
    let known = replica.by_id(old.id()).expect("known");
    assert_eq!(known.pseudonym("person", b"1"), old.pseudonym("person", b"1"));
    assert_eq!(known.salt(id), old.salt(id));
    assert!(replica.by_id("00000000").is_none());
    assert_eq!(mode(&path.join("000002.epoch")), 0o600);
}

#[test]
fn a_destroyed_key_is_gone_and_the_newest_is_spared() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let replica = EpochKeys::read(&path).expect("read");
    let old = keys.newest();
    let error = keys.destroy(old.id()).expect_err("in use");
    assert!(matches!(&error, KeysError::Newest { id } if id == old.id()), "{error}");
    assert!(error.to_string().contains("rotate first"), "{error}");
    let new = keys.rotate().expect("made");
    // Somebody who has not reloaded is still refused by what the folder holds.
    assert!(matches!(replica.destroy(new.id()), Err(KeysError::Newest { .. })));
    assert!(matches!(keys.destroy("00000000"), Err(KeysError::Unknown { .. })));
    // A second name shows what became of the bytes.
    let witness = path.parent().expect("folder").join("witness");
    fs::hard_link(path.join("000001.epoch"), &witness).expect("own file");
    keys.destroy(old.id()).expect("old");
    assert_eq!(fs::read(&witness).expect("own file"), [0; 65], "overwritten in its place");
    assert_eq!(names(&path), ["000002.epoch"]);
    assert!(
        keys.by_id(old.id()).is_none() && matches!(keys.destroy(old.id()), Err(KeysError::Unknown { .. }))
    );
    assert!(replica.reload().expect("read") && replica.by_id(old.id()).is_none(), "the replica forgets it");
    assert_eq!(keys.rotate().map(|_| names(&path)).expect("made"), ["000002.epoch", "000003.epoch"]);
}

#[test]
fn a_key_that_lies_there_twice_is_destroyed_twice_or_not_at_all() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let old = keys.newest();
    fs::copy(path.join("000001.epoch"), path.join("000002.epoch")).expect("own file");
    assert!(matches!(keys.destroy(old.id()), Err(KeysError::Newest { .. })));
    assert_eq!(names(&path).len(), 2);
    keys.rotate().expect("made");
    keys.destroy(old.id()).expect("old");
    assert_eq!(names(&path), ["000003.epoch"]);
}

#[test]
fn what_the_dead_left_is_removed_and_what_the_living_hold_is_not() {
    let (_dir, path) = place();
    EpochKeys::open(&path).expect("made");
    let key = fs::read(path.join("000001.epoch")).expect("own file");
    fs::write(path.join(".unready-dead"), "half a key").expect("own file");
    // Died after the link and before it removed the hidden name.
    fs::hard_link(path.join("000001.epoch"), path.join(".unready-linked")).expect("own file");
    // Died in the midst of a destruction.
    fs::write(path.join(".erased-dead"), "a key").expect("own file");
    let living = fs::File::create(path.join(".unready-living")).expect("own file");
    living.lock().expect("own file");
    EpochKeys::read(&path).expect("read");
    assert_eq!(names(&path).len(), 5, "a reader removes nothing");
    EpochKeys::open(&path).expect("opened");
    assert_eq!(names(&path), [".unready-living", "000001.epoch"]);
    assert_eq!(fs::read(path.join("000001.epoch")).expect("own file"), key, "its bytes are untouched");
    drop(living);
    EpochKeys::open(&path).expect("opened");
    assert_eq!(names(&path), ["000001.epoch"]);
}

#[test]
fn keys_stay_in_use_when_the_folder_is_lost() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    let id = keys.newest().id().to_owned();
    fs::remove_file(path.join("000001.epoch")).expect("own file");
    assert!(matches!(keys.reload(), Err(KeysError::Missing { .. })));
    fs::remove_dir(&path).expect("own folder");
    let error = keys.reload().expect_err("lost");
    assert!(matches!(&error, KeysError::Io { path: at, .. } if *at == path), "{error}");
    assert!(keys.rotate().is_err());
    assert_eq!(keys.newest().id(), id);
}

#[test]
fn numbers_end() {
    let (_dir, path) = place();
    let keys = EpochKeys::open(&path).expect("made");
    fs::rename(path.join("000001.epoch"), path.join("999999.epoch")).expect("own file");
    assert!(matches!(keys.rotate(), Err(KeysError::Full(_))));
}

#[test]
fn an_empty_path_is_no_folder() {
    for result in [EpochKeys::open(Path::new("")), EpochKeys::read(Path::new(""))] {
        assert!(matches!(result, Err(KeysError::Io { .. })));
    }
}

#[test]
fn values_are_those_of_the_specification() {
    let key = EpochKey::from_bytes(&[7; 32]);
    let id = "01999999-9999-7999-8999-999999999999".parse().expect("an exchange id");
    // Computed by another implementation of HMAC and SHA-256.
    let opening = key.subject("person", b"1234567890", id);
    let hex = crate::keys::folder::hex;
    assert_eq!(key.id(), "ce09295e");
    assert_eq!(hex(&key.salt(id)), "dbcec177d885503bd77f4550fae893ef4c4d4fc2659d1eff6127e62a76439e59");
    assert_eq!(hex(&opening.blind), "fd3ee064f4b165a98f5f2eb96bd6c4ee9db88a3292abb6b4c3f4b44a71fb017e");
    assert_eq!(hex(&opening.pseudonym), "95b70a84b9e2dd4915a0518af9196571d7cd30ff4362a56567e8a07f7fce15d7");
    assert_eq!(
        hex(&commitment(&opening)),
        "0e5112131dede6f2284be2fc0e36dd03e85e83f3fd845cf2930dbbc13fd9e6b9"
    );
}

#[test]
fn a_commitment_is_opened_by_its_opening_only() {
    let key = EpochKey::from_bytes(&[7; 32]);
    let id = exchange();
    let opening = key.subject("person", b"1", id);
    let subject = Subject { kind: opening.kind.clone(), commitment: commitment(&opening).to_vec() };
    assert!(opens(&subject, &opening));
    let other_key = EpochKey::from_bytes(&[8; 32]);
    let moved = SubjectOpening {
        kind: format!("{}person", "a"),
        blind: opening.blind.get(..31).expect("32 bytes").to_vec(),
        ..opening.clone()
    };
    let wrong = [
        key.subject("person", b"2", id),
        key.subject("plate", b"1", id),
        key.subject("person", b"1", super::exchange()),
        other_key.subject("person", b"1", id),
        SubjectOpening { blind: Vec::new(), ..opening.clone() },
        SubjectOpening { pseudonym: Vec::new(), ..opening.clone() },
        moved,
    ];
    for wrong in wrong {
        assert!(!opens(&subject, &wrong), "{wrong:?}");
    }
    assert!(!opens(&Subject { commitment: Vec::new(), ..subject.clone() }, &opening));
    assert!(!opens(&Subject { kind: "plate".into(), ..subject }, &opening));
    // Bounds between the parts that were moved: the hash is the same, and it opens nothing all the same.
    let text = key.subject("bperson", b"1", id);
    let bytes = [&text.blind[..], b"b"].concat();
    let moved = SubjectOpening { kind: "person".into(), blind: bytes, pseudonym: text.pseudonym.clone() };
    assert_eq!(commitment(&moved), commitment(&text));
    let subject = Subject { kind: "person".into(), commitment: commitment(&moved).to_vec() };
    assert!(!opens(&subject, &moved));
}

proptest! {
    #[test]
    fn kinds_forms_and_exchanges_never_meet(
        (kind, other) in ("[a-z]{1,8}", "[a-z]{1,8}").prop_map(|kinds| kinds),
        form in any::<Vec<u8>>(),
        other_form in any::<Vec<u8>>(),
    ) {
        let key = EpochKey::from_bytes(&[7; 32]);
        let is_same = kind == other && form == other_form;
        prop_assert_eq!(key.pseudonym(&kind, &form) == key.pseudonym(&other, &other_form), is_same);
        let (one, two) = (exchange(), exchange());
        let mut seen = BTreeSet::from([key.pseudonym(&kind, &form)]);
        seen.extend([key.salt(one), key.salt(two), key.blind(one), key.blind(two)]);
        prop_assert_eq!(seen.len(), 5);
        let opening = key.subject(&kind, &form, one);
        let subject = Subject { kind: kind.clone(), commitment: commitment(&opening).to_vec() };
        prop_assert_eq!(opens(&subject, &opening), true);
        prop_assert_eq!(opens(&subject, &key.subject(&other, &other_form, one)), is_same);
        prop_assert_eq!(opens(&subject, &key.subject(&kind, &form, two)), false);
    }
}

fn ids(keys: &EpochKeys) -> Vec<String> {
    keys.all().iter().map(|key| key.id().to_owned()).collect()
}
