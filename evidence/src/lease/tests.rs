//! What is decided about a lease, case by case. On real stores: the writer's tests.

use super::*;

fn row(token: i64, previous_token: i64) -> LogRow {
    LogRow {
        log: 1,
        origin: "ura.test/log".into(),
        gateway: "ais/gateway".into(),
        token,
        holder: if token == 0 { String::new() } else { "holder".into() },
        previous_token,
        previous_holder: if previous_token == 0 { String::new() } else { "previous".into() },
        last_token: 9,
        beat: 1,
        renewed_us: 0,
        size: 0,
        swept: 0,
        sealed: false,
        mark: Vec::new(),
    }
}

#[test]
fn a_lease_is_taken_from_the_dead_and_with_a_flag_from_the_living() {
    let take = |token, holder: &str| Decision::Take(token, holder.into());
    let nobody = || take(0, "");
    // token, previous; holder lives, previous lives; without the flag, with it
    let table = [
        ((0, 0), (false, false), nobody(), nobody()),
        ((8, 0), (false, false), nobody(), nobody()),
        ((8, 0), (true, false), Decision::InUse, take(8, "holder")),
        // One that hands over keeps its right, whoever follows.
        ((8, 7), (false, true), take(7, "previous"), take(7, "previous")),
        ((0, 7), (false, true), take(7, "previous"), take(7, "previous")),
        ((0, 7), (false, false), nobody(), nobody()),
        ((8, 7), (true, false), Decision::InUse, take(8, "holder")),
        ((8, 7), (true, true), Decision::InUse, Decision::HandingOver),
        ((8, 7), (false, false), nobody(), nobody()),
    ];
    for ((token, previous_token), (holder, previous), without, with) in table {
        let (row, living) = (row(token, previous_token), Living { holder, previous });
        assert_eq!(decide(&row, living, false), without, "{token} {previous_token} {living:?}");
        assert_eq!(decide(&row, living, true), with, "{token} {previous_token} {living:?} with the flag");
    }
}

#[test]
fn generations_have_a_number_behind_the_name() {
    assert_eq!(generation_name("a/b", 1), "a/b");
    assert_eq!(generation_name("a/b", 2), "a/b/2");
    assert_eq!([1, 2, 30].map(|number| generation_of("a/b", &generation_name("a/b", number))), [1, 2, 30]);
}
