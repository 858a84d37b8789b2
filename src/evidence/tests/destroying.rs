//! The key of a former epoch goes only when no log is marked by it.

use ura_evidence::keys::EpochKeys;

use super::{ORIGIN, World};

#[tokio::test]
async fn a_key_by_which_a_log_is_marked_is_not_destroyed() {
    let world = World::new();
    world.record(&["12"]).await;
    let keys = EpochKeys::read(&world.path("keys")).expect("keys");
    let ids = || {
        keys.reload().expect("readable");
        keys.all().iter().map(|key| key.id().to_owned()).collect::<Vec<_>>()
    };
    // What an operator's command appends stands under a mark alone.
    for unsigned in [0, 1] {
        if unsigned > 0 {
            world.holds(&["rotate-log-key", "--dir", "%"]).await;
        }
        let before = keys.newest().id().to_owned();
        // A new epoch that no log was told of yet: one of another store began it, or the command was cut off.
        keys.rotate().expect("a key");
        let there = ids();
        let destroy = ["destroy-epoch-key", &before, "--yes"];
        for place in [&["--dir", "%"][..], &["--store", "sqlite:%/evidence.db", "--keys", "%/keys"]] {
            let error = world.fails(&[&destroy[..], place].concat()).await;
            assert!(error.contains(&format!("the mark of {ORIGIN} ")), "{error}");
            assert_eq!(error.contains("(1 of its entries are not signed)"), unsigned == 1, "{error}");
            assert!(error.contains("Start the gateway of that log"), "{error}");
            assert_eq!(ids(), there, "nothing was destroyed");
        }
        // As it says.
        world.record(&["34"]).await;
        world.holds(&[&destroy[..], &["--dir", "%"]].concat()).await;
        assert!(!ids().contains(&before));
    }
    world.record(&["56"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
}
