//! The checkpoint that is held beside the log keys: it never goes back, also where two processes hold it.

use std::{
    fs::{File, TryLockError},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{checkpoint, names, place, together};
use crate::keys::{KeysError, LogKeys};

const ORIGIN: &str = "ura.test/gateway-1";

/// Size of the tree of the checkpoint that is held; 0 for none.
fn held(keys: &LogKeys) -> u64 {
    let note = keys.read_held().expect("readable");
    note.map_or(0, |note| note.lines().nth(1).and_then(|size| size.parse().ok()).expect("a checkpoint"))
}

#[test]
fn the_newest_checkpoint_is_held() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    assert_eq!(keys.read_held().expect("none"), None);
    let of = |size: u64, root: &str| format!("{ORIGIN}\n{size}\n{root}\n");
    for (written, expected) in [
        (of(5, "r"), of(5, "r")),
        (of(4, "r"), of(5, "r")),
        (of(5, "s"), of(5, "s")),
        (of(10, "r"), of(10, "r")),
        (of(9, "r"), of(10, "r")),
    ] {
        keys.write_held(&written).expect("written");
        let again = LogKeys::read(&path, ORIGIN).expect("read");
        assert_eq!(again.read_held().expect("read"), Some(expected), "after {written:?}");
    }
    let hidden: Vec<_> = names(&path).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(hidden.len(), 1, "only the lock: {hidden:?}");
}

#[test]
fn what_is_no_checkpoint_of_the_log_is_not_held_and_holds_nothing() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    keys.write_held(&checkpoint(ORIGIN, 5)).expect("written");
    for wrong in ["", "junk", "o\n9\nr\n", &format!("{ORIGIN}\n"), &format!("{ORIGIN}\nnine\nr\n")] {
        assert!(matches!(keys.write_held(wrong), Err(KeysError::Malformed { .. })), "{wrong:?}");
        assert_eq!(held(&keys), 5);
    }
    let file = names(&path).into_iter().find(|name| name.starts_with("held-")).expect("written");
    for unreadable in ["junk", "other\n9\nr\n"] {
        std::fs::write(path.join(&file), unreadable).expect("own file");
        keys.write_held(&checkpoint(ORIGIN, 3)).expect("written");
        assert_eq!(held(&keys), 3, "{unreadable:?}");
    }
}

/// Each has keys of its own, as processes have: they share nothing but the folder.
#[test]
fn of_those_who_hold_at_once_nobody_takes_it_back() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 40;
    let (_dir, path) = place();
    let reader = LogKeys::open(&path, ORIGIN).expect("made");
    let (turn, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let write = || {
        let keys = LogKeys::read(&path, ORIGIN).expect("read");
        let own = turn.fetch_add(1, Ordering::Relaxed);
        for number in 0..EACH {
            let note = checkpoint(ORIGIN, number * WRITERS + own + 1);
            // The one that stands between two others may not get its turn; it asks again.
            while let Err(error) = keys.write_held(&note) {
                let waits = matches!(&error, KeysError::Io { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock);
                assert!(waits, "{error}");
            }
        }
    };
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut newest = 0;
            while !is_over.load(Ordering::Relaxed) {
                let now = held(&reader);
                assert!(now >= newest, "{newest} was held, and then {now}");
                newest = now;
            }
        });
        together(usize::try_from(WRITERS).expect("few"), write);
        is_over.store(true, Ordering::Relaxed);
        watching.join().expect("it never goes back");
    });
    assert_eq!(held(&reader), WRITERS * EACH);
}

#[test]
fn a_process_that_stands_still_while_it_holds_is_not_waited_for_and_not_overtaken() {
    let (_dir, path) = place();
    let keys = LogKeys::open(&path, ORIGIN).expect("made");
    keys.write_held(&checkpoint(ORIGIN, 5)).expect("written");
    let lock = names(&path).into_iter().find(|name| name.ends_with(".lock")).expect("made");
    let other = File::open(path.join(lock)).expect("there");
    other.lock().expect("nobody has it");
    let refused = keys.write_held(&checkpoint(ORIGIN, 9));
    assert!(matches!(&refused, Err(error) if error.to_string().contains("stands still")), "{refused:?}");
    assert_eq!(held(&keys), 5);
    other.unlock().expect("let go");
    keys.write_held(&checkpoint(ORIGIN, 9)).expect("written");
    assert_eq!(held(&keys), 9);
    assert!(!matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "let go when it is written");
}
