//! Accesses that citizens are not told of, or not yet: the answer has no trace of them, and evidence counts
//! them.

use ura_proto::v1::{Disclosure, ListAccessesResponse};

use super::{
    access::{ME, TEST, about, access, mine, page, question},
    subjects::ask,
};
use crate::world::{
    BEGIN_UNIX_US, EvidenceStore, World, client::Ended, members, patient, store::on_each_store,
};

on_each_store!(
    what_is_held_back_leaves_no_trace_but_in_the_log,
    the_grant_of_today_decides_and_else_what_was_recorded,
);

const DAY_US: i64 = 86_400_000_000;

/// What is on record of the answer to a question.
async fn disclosed(world: &World, question: &Ended) -> Disclosure {
    world.evidence(question.exchange()).await.disclosure.expect("each answer is on record")
}

/// Everything of an answer by which two could be told apart, but for ids, times and tokens' randomness.
fn without_ids(ended: &Ended) -> (Vec<ListAccessesResponse>, Vec<usize>, Vec<(String, String)>) {
    let mut answers = Vec::new();
    for at in 0..ended.messages.len() {
        let mut answer: ListAccessesResponse = ended.decode(at);
        answer
            .accesses
            .iter_mut()
            .for_each(|access| access.exchange_id = "-".repeat(access.exchange_id.len()));
        answer.next_page_token = "-".repeat(answer.next_page_token.len());
        answers.push(answer);
    }
    let lengths = ended.messages.iter().map(bytes::Bytes::len).collect();
    let mut metadata = Vec::new();
    for (key, value) in ended.headers.iter().chain(&ended.trailers) {
        let own = ["date", "ura-exchange-id", "ura-receipt", "traceparent"].contains(&key.as_str());
        metadata
            .push((key.to_string(), if own { String::new() } else { value.to_str().unwrap().to_owned() }));
    }
    metadata.sort_unstable();
    (answers, lengths, metadata)
}

/// What a citizen is answered, page by page, to questions of every size.
async fn answers(
    world: &World,
) -> (Vec<(Vec<ListAccessesResponse>, Vec<usize>, Vec<(String, String)>)>, Vec<Disclosure>) {
    let portal = world.portal().await;
    let (mut told, mut disclosures) = (Vec::new(), Vec::new());
    for size in [0, 1, 2, 3, 200] {
        let mut token = String::new();
        loop {
            let ended = question(&portal, &page(size, &token)).await;
            assert_eq!(ended.status(), 0, "{ended:?}");
            told.push(without_ids(&ended));
            disclosures.push(disclosed(world, &ended).await);
            token = ended.decode::<ListAccessesResponse>(0).next_page_token;
            if token.is_empty() {
                break;
            }
        }
    }
    let nobody = question(&portal, &about("5555555555")).await;
    told.push(without_ids(&nobody));
    (told, disclosures)
}

async fn what_is_held_back_leaves_no_trace_but_in_the_log(on: EvidenceStore) {
    // The same citizen in two worlds: in the one the police and customs looked too.
    let mut worlds = Vec::new();
    for watched in [true, false] {
        let world = members::bus(on.clone()).await;
        let portal = world.portal().await;
        let (police, customs) = (world.client("mpb/police").await, world.client("mpb/customs").await);
        for number in 0..6 {
            world.clock.advance_us(1000);
            if watched {
                access(&world, &police, &[TEST], ME).await;
                access(&world, &customs, &[], if number < 4 { ME } else { "5555555555" }).await;
            }
            world.clock.advance_us(1000);
            access(&world, &portal, &[], ME).await;
        }
        world.clock.advance_us(1000);
        if watched {
            access(&world, &police, &[TEST], ME).await;
        }
        let answers = answers(&world).await;
        worlds.push((world, answers));
    }
    let (watched, plain) = (&worlds[0].1, &worlds[1].1);
    assert!(watched.0 == plain.0, "{:#?}\n{:#?}", watched.0, plain.0);
    let counts = plain.0.iter().map(|(answers, ..)| answers[0].accesses.len()).collect::<Vec<_>>();
    assert_eq!(counts, [6, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 6, 0]);
    // On record each is counted, by grant, once in each round of pages.
    let count = |disclosures: &[Disclosure], grant: &str| {
        let withheld = disclosures.iter().flat_map(|one| &one.withheld).filter(|one| one.grant == grant);
        withheld.map(|one| one.accesses).sum::<u32>()
    };
    assert_eq!((count(&watched.1, "g-police"), count(&watched.1, "g-customs")), (7 * 5, 4 * 5));
    assert!(plain.1.iter().all(|one| one.withheld.is_empty()), "{plain:?}");
    for disclosure in watched.1.iter().flat_map(|one| &one.withheld) {
        match disclosure.grant.as_str() {
            "g-police" => assert_eq!(disclosure.until_unix_us, i64::MAX),
            _ => assert!((1..20_000).contains(&(disclosure.until_unix_us - BEGIN_UNIX_US - 30 * DAY_US))),
        }
    }
    assert!(watched.1.iter().all(|one| one.told <= 6));
    for (world, _) in worlds {
        world.end().await;
    }
}

/// Writes a directory and waits until it is decided by.
async fn publish(world: &World, text: &str, version: &str) {
    world.write_directory(&text.replace("members-1", version));
    let client = world.portal().await;
    patient(async {
        loop {
            let ended = client.call("Absent", &[], &ask("")).await;
            if world.evidence(ended.exchange()).await.opening().directory_version == version {
                return;
            }
        }
    })
    .await;
}

async fn the_grant_of_today_decides_and_else_what_was_recorded(on: EvidenceStore) {
    let world = members::bus(on).await;
    let portal = world.portal().await;
    let by_portal = access(&world, &portal, &[], ME).await;
    let only = std::slice::from_ref(&by_portal);
    let by_police = access(&world, &world.client("mpb/police").await, &[TEST], ME).await;
    let by_customs = access(&world, &world.client("mpb/customs").await, &[], ME).await;
    assert_eq!(mine(&portal).await, only);
    let sorted = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids
    };
    let text = members::directory();
    let (withheld, delayed) = ("disclosure = \"withheld\"", "disclosure = { delay_days = 30 }");
    let until = |day| format!("disclosure = {{ withheld_until = 2026-11-{day}T12:00:00Z }}");
    // An inquiry ends: what was withheld is told from then on.
    publish(&world, &text.replace(withheld, "disclosure = \"immediate\""), "immediate").await;
    assert_eq!(sorted(mine(&portal).await), sorted(vec![by_portal.clone(), by_police.clone()]));
    publish(&world, &text.replace(withheld, &until("23")), "until-tomorrow").await;
    assert_eq!(mine(&portal).await, only);
    publish(&world, &text.replace(withheld, &until("22")), "until-now").await;
    assert_eq!(sorted(mine(&portal).await), sorted(vec![by_portal.clone(), by_police.clone()]));
    // One begins: what was told is held back.
    let grant = "id = \"g-portal\"\nconsumer = \"ais/portal\"\n";
    publish(&world, &text.replace(grant, &format!("{grant}{withheld}\n")), "withheld").await;
    assert_eq!(mine(&portal).await, Vec::<String>::new());
    publish(&world, &text, "as-before").await;
    assert_eq!(mine(&portal).await, only);
    // The grants of the others are gone: what was said when they asked holds.
    let (before, rest) = text.split_once("[[grants]]\nid = \"g-police\"").unwrap();
    let after = rest.split_once("[[grants]]\nid = \"g-accesses\"").unwrap().1;
    publish(&world, &format!("{before}[[grants]]\nid = \"g-accesses\"{after}"), "gone").await;
    assert_eq!(mine(&portal).await, only);
    let ended = question(&portal, &about(ME)).await;
    let disclosure = disclosed(&world, &ended).await;
    assert_eq!(
        disclosure.withheld.iter().map(|one| (one.grant.as_str(), one.accesses)).collect::<Vec<_>>(),
        [("g-customs", 1), ("g-police", 1)]
    );
    world.clock.advance_us(30 * DAY_US - 1);
    assert_eq!(mine(&portal).await, only, "not a microsecond too early");
    world.clock.advance_us(1);
    assert_eq!(sorted(mine(&portal).await), sorted(vec![by_portal.clone(), by_customs]));
    assert!(text.contains(delayed));
    world.end().await;
}
