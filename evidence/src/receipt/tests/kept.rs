//! Bytes that a party kept, and the trailer that it was given.

use super::*;

#[test]
fn kept_bytes_are_held_against_the_entry_that_commits_to_them() {
    let matched = |kinds: Vec<Kind>, request: &[u8]| {
        let world = World::new(kinds);
        let kept = Kept { request: Some(request), ..Kept::default() };
        verify(&world.receipt(), &world.trust(), &kept).map(|verified| verified.request.expect("was given"))
    };
    let ended = |bytes: &[u8]| {
        Kind::Progress(Progress {
            request_digest: digest(bytes),
            request_bytes: bytes.len() as u64,
            ..Progress::default()
        })
    };
    let (start, answered) = (&REQUEST[..6], || closing(REPLY, Vec::new()));
    let unknown = || Kind::Closing(Closing { outcome: Outcome::Unknown.into(), ..Closing::default() });
    let all = |index| Matched { index, bytes: 11, whole: true };
    // The whole request stands in the opening, in a progress, or in the closing.
    let told = matched(vec![opening(REQUEST), answered()], REQUEST);
    assert_eq!(told.expect("in the opening"), all(300));
    let told = matched(vec![opening(start), ended(REQUEST), answered()], REQUEST);
    assert_eq!(told.expect("in the progress"), all(302));
    let told = matched(vec![opening(start), closing(REPLY, digest(REQUEST))], REQUEST);
    assert_eq!(told.expect("in the closing"), all(302));
    // Its beginning does not do for all of it, nor all of it with more.
    for kept in [start, &[REQUEST, b"x"].concat()] {
        let error =
            matched(vec![opening(start), ended(REQUEST), answered()], kept).expect_err("another length");
        assert!(
            matches!(error, ReceiptError::Length { index: 302, recorded: 11, whole: true, .. }),
            "{error}"
        );
    }
    // After a crash, or of a refused call, only what had arrived at the opening is recorded.
    for kinds in [vec![opening(start), unknown()], vec![opening(start)]] {
        let told = matched(kinds.clone(), REQUEST).expect("its beginning");
        assert_eq!(told, Matched { index: 300, bytes: 6, whole: false });
        let error = matched(kinds.clone(), &REQUEST[..5]).expect_err("too short");
        assert!(
            matches!(error, ReceiptError::Length { index: 300, recorded: 6, whole: false, .. }),
            "{error}"
        );
        let error = matched(kinds, b"\0\0\0\0\x06Blerta").expect_err("other bytes");
        assert!(matches!(error, ReceiptError::Digest { index: 300, bytes: 6, .. }), "{error}");
    }
    let error = matched(vec![opening(b"")], REQUEST).expect_err("nothing is recorded");
    assert!(matches!(error, ReceiptError::NotRecorded { what: Direction::Request }), "{error}");
}

#[test]
fn the_reply_is_held_against_the_closing() {
    let world = World::answered();
    let check = |reply: &[u8]| {
        verify(&world.receipt(), &world.trust(), &Kept { reply: Some(reply), ..Kept::default() })
    };
    let error = check(b"\0\0\0\0\x03Ur").expect_err("cut");
    assert!(matches!(
        error,
        ReceiptError::Length { what: Direction::Reply, index: 302, kept: 7, recorded: 8, .. }
    ));
    let error = check(b"\0\0\0\0\x03ura").expect_err("changed");
    assert!(matches!(error, ReceiptError::Digest { what: Direction::Reply, index: 302, .. }), "{error}");
}

#[test]
fn a_trailer_is_held_against_the_receipt_and_gives_its_salt() {
    let world = World::answered();
    let mut receipt = world.receipt();
    let good = Trailer { log: ORIGIN.into(), index: 300, leaf_hash: world.rows[300].leaf_hash(), salt: SALT };
    let check = |receipt: &Receipt, trailer: &Trailer| {
        let kept = Kept { request: Some(REQUEST), reply: Some(REPLY), trailer: Some(trailer) };
        verify(receipt, &world.trust(), &kept)
    };
    let wrong = [
        ("log", Trailer { log: "ura.test/log/2".into(), ..good.clone() }),
        ("index", Trailer { index: 301, ..good.clone() }),
        ("leaf", Trailer { leaf_hash: [3; 32], ..good.clone() }),
        ("salt", Trailer { salt: Salt([3; 32]), ..good.clone() }),
    ];
    for (name, trailer) in &wrong {
        let error = check(&receipt, trailer).expect_err(name);
        assert!(matches!(error, ReceiptError::OtherTrailer { field } if field == *name), "{error}");
    }
    check(&receipt, &good).expect("agrees");
    receipt.salt = None;
    check(&receipt, &good).expect("the trailer has the salt");
}
