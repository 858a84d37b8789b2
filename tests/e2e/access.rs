//! "Who looked at my data?", asked over the bus as any other question: who may ask, what is told and in
//! which words, what is held back without a trace, and what of it is on record.

use futures_util::future::join_all;
use prost_types::Timestamp;
use ura_evidence::keys::EpochKeys;
use ura_proto::{
    ExchangeId,
    v1::{Access, ListAccessesRequest, ListAccessesResponse, list_accesses_request::Subject},
};

use super::subjects::{Plate, ask, person};
use crate::world::{
    BEGIN_UNIX_US, EvidenceStore, Records, World,
    client::{Client, Ended, framed},
    members, patient,
    store::{Store, on_each_store},
};

on_each_store!(
    a_citizen_is_told_who_asked_what_and_why_in_three_languages,
    every_access_is_told_once_over_pages_of_any_size,
);

pub(crate) const LIST: &str = "/ura.v1.SubjectAccessService/ListAccesses";
pub(crate) const OWN_DATA: (&str, &str) = ("ura-purpose", "own-data");
pub(crate) const TEST: (&str, &str) = ("ura-purpose", "test");
pub(crate) const ME: &str = "1234567892";

pub(crate) fn about(number: &str) -> ListAccessesRequest {
    let subject = Some(Subject::PersonalNumber(number.to_owned()));
    ListAccessesRequest { subject, ..ListAccessesRequest::default() }
}

pub(crate) fn page(page_size: u32, page_token: &str) -> ListAccessesRequest {
    ListAccessesRequest { page_size, page_token: page_token.to_owned(), ..about(ME) }
}

/// Asks as the portal does for its citizen.
pub(crate) async fn question(client: &Client, request: &ListAccessesRequest) -> Ended {
    client.call(LIST, &[OWN_DATA], request).await
}

pub(crate) async fn told(client: &Client, request: &ListAccessesRequest) -> ListAccessesResponse {
    let ended = question(client, request).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    ended.decode(0)
}

/// Ids of the exchanges told.
pub(crate) fn ids(accesses: &[Access]) -> Vec<String> {
    accesses.iter().map(|access| access.exchange_id.clone()).collect()
}

/// All that is told of me, on one page.
pub(crate) async fn mine(client: &Client) -> Vec<String> {
    let told = told(client, &page(200, "")).await;
    assert_eq!(told.next_page_token, "");
    ids(&told.accesses)
}

/// An access that ended; its id.
pub(crate) async fn access(
    world: &World,
    client: &Client,
    metadata: &[(&str, &str)],
    number: &str,
) -> String {
    let ended = client.call("Read", metadata, &ask(number)).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    world.evidence(ended.exchange()).await;
    ended.exchange().to_string()
}

#[tokio::test]
async fn it_is_asked_under_a_grant_like_any_other_contract() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let (portal, other) = (world.portal().await, world.client("ais/other").await);
    access(&world, &portal, &[], ME).await;
    for (client, metadata, status, reason) in [
        (&other, &[OWN_DATA][..], 7, "GRANT_MISSING"),
        (&portal, &[], 3, "PURPOSE_MISSING"),
        (&portal, &[TEST], 7, "PURPOSE_NOT_GRANTED"),
    ] {
        let ended = client.call(LIST, metadata, &about(ME)).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (status, reason), "{ended:?}");
        assert!(ended.messages.is_empty());
        let records = world.evidence(ended.exchange()).await;
        assert_eq!(records.opening().refusal, reason);
        assert!(records.disclosure.is_none(), "nothing was told");
    }
    // The question itself is recorded, about whom it is asked.
    let me = person(&world, &portal, ME).await;
    let ended = question(&portal, &about("123 456-7892")).await;
    assert_eq!(ended.decode::<ListAccessesResponse>(0).accesses.len(), 2);
    let records = world.evidence(ended.exchange()).await;
    let opening = records.opening();
    assert_eq!((opening.consumer.as_str(), opening.provider.as_str()), ("ais/portal", "ais/gateway"));
    assert_eq!(
        (opening.method.as_str(), opening.purpose.as_str()),
        (LIST.trim_start_matches('/'), "own-data")
    );
    assert!(records.named.len() == 1 && records.named[0].is(&me), "{records:?}");
    assert_eq!((records.closing().status, records.disclosure.unwrap().told), (0, 2));
    // What the question itself does wrong is said.
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    for (field, request) in [
        ("subject", ListAccessesRequest::default()),
        ("subject", about("  ")),
        ("until", ListAccessesRequest { from: at(2), until: at(2), ..about(ME) }),
        ("from", ListAccessesRequest { from: at(i64::MAX), ..about(ME) }),
        ("page_size", page(201, "")),
        ("page_size", page(u32::MAX, "")),
        ("page_token", page(0, "x")),
        ("page_token", page(0, &"A".repeat(50_000))),
    ] {
        let ended = question(&portal, &request).await;
        let message = ended.trailers["grpc-message"].to_str().unwrap();
        assert!(ended.status() == 3 && message.starts_with(&format!("{field}:")), "{field}: {ended:?}");
    }
    let ended = portal.send(LIST, &[OWN_DATA], &[framed(&about(ME)), framed(&about(ME))]).await;
    assert_ne!(ended.status(), 0, "{ended:?}");
    world.end().await;
}

async fn a_citizen_is_told_who_asked_what_and_why_in_three_languages(on: EvidenceStore) {
    let world = members::bus(on).await;
    let (portal, police) = (world.portal().await, world.client("mpb/police").await);
    let first = access(&world, &portal, &[("ura-purpose", "test"), ("ura-case", "C-17")], ME).await;
    world.clock.advance_us(1_500_000);
    let second = access(&world, &portal, &[], "123-456 7892").await;
    // Failed, refused, and of others.
    world.clock.advance_us(1_500_000);
    let fails = ura_ask("error:5");
    let failed = portal.call("Read", &[], &fails).await;
    assert_eq!(failed.status(), 5);
    world.evidence(failed.exchange()).await;
    let refused = police.call("Read", &[], &ask(ME)).await;
    assert_eq!(refused.reason(), "PURPOSE_MISSING");
    access(&world, &portal, &[], "1234567893").await;
    access(&world, &portal, &[], "").await;
    for (language, agency, register, reading, test) in [
        ("sq", "Agjencia", "Regjistri", "Leximi", "Provë"),
        ("sr-Latn-RS", "Agencija", "Registar", "Čitanje", "Proba"),
        ("en", "Agency", "Register", "Reading", "Test"),
        ("de", "Agency", "Register", "Reading", "Test"),
    ] {
        let ended =
            portal.call(LIST, &[OWN_DATA, ("accept-language", language)], &about("12 34 56 78 92")).await;
        let told: ListAccessesResponse = ended.decode(0);
        assert_eq!(
            ids(&told.accesses),
            [failed.exchange().to_string(), second.clone(), first.clone()],
            "newest first: {told:?}"
        );
        let access = &told.accesses[2];
        let time = access.time.unwrap();
        assert_eq!(time.seconds * 1_000_000 + i64::from(time.nanos) / 1000, BEGIN_UNIX_US);
        let (consumer, provider) = (access.consumer.as_ref().unwrap(), access.provider.as_ref().unwrap());
        assert_eq!((consumer.system.as_str(), consumer.name.as_str()), ("ais/portal", agency));
        assert_eq!((provider.system.as_str(), provider.name.as_str()), ("arc/probe", register));
        let (method, purpose) = (access.method.as_ref().unwrap(), access.purpose.as_ref().unwrap());
        assert_eq!((method.name.as_str(), method.title.as_str()), ("test.v1.Probe/Read", reading));
        assert_eq!((purpose.code.as_str(), purpose.title.as_str()), ("test", test));
        assert_eq!(purpose.legal_basis, "Law on Tests, Art. 1");
        assert_eq!((access.case_number.as_str(), access.answered), ("C-17", true));
        // Where no purpose was given, the law is the method's.
        let plain = told.accesses[1].purpose.as_ref().unwrap();
        assert_eq!((plain.code.as_str(), plain.legal_basis.as_str()), ("", "Law on Probes, Art. 3"));
        assert_eq!(told.accesses[1].time.unwrap().nanos, 500_000_000);
    }
    // Only of a period: from is in it, until is not.
    let at = |us: i64| {
        Some(Timestamp { seconds: us / 1_000_000, nanos: i32::try_from(us % 1_000_000).unwrap() * 1000 })
    };
    let begin = BEGIN_UNIX_US;
    for (from, until, expected) in [
        (at(begin), at(begin + 1_500_000), vec![&first]),
        (at(begin + 1), at(begin + 1_500_001), vec![&second]),
        (None, at(begin), vec![]),
        (at(begin + 4_000_000), None, vec![]),
    ] {
        let told = told(&portal, &ListAccessesRequest { from, until, ..about(ME) }).await;
        assert_eq!(ids(&told.accesses).iter().collect::<Vec<_>>(), expected);
    }
    let business = Some(Subject::BusinessNumber(ME.to_owned()));
    let nobody =
        told(&portal, &ListAccessesRequest { subject: business, ..ListAccessesRequest::default() }).await;
    assert!(nobody.accesses.is_empty(), "the same digits of another kind are somebody else");
    world.end().await;
}

fn ura_ask(wish: &str) -> crate::world::probe::Ask {
    crate::world::probe::Ask { wish: wish.to_owned(), ..ask(ME) }
}

#[tokio::test]
async fn who_is_named_late_in_a_stream_or_only_in_the_reply_is_told() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let portal = world.portal().await;
    let key = ("idempotency-key", "k");
    let stream: Vec<_> = ["1", "2", ME, "3", ME].iter().map(|number| framed(&ask(number))).collect();
    let mut expected = Vec::new();
    for method in ["Up", "UpRead", "Chat"] {
        let ended = portal.send(method, &[key], &stream).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
        world.evidence(ended.exchange()).await;
        expected.push(ended.exchange().to_string());
    }
    let owner = Plate { plate: "01-101-AA".into(), wish: format!("o:{ME}") };
    let ended = portal.call("Owner", &[], &owner).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    world.evidence(ended.exchange()).await;
    expected.push(ended.exchange().to_string());
    expected.sort_unstable();
    let mut found = mine(&portal).await;
    found.sort_unstable();
    assert_eq!(found, expected, "each once");
    world.end().await;
}

async fn every_access_is_told_once_over_pages_of_any_size(on: EvidenceStore) {
    let world = members::bus(on).await;
    let portal = world.portal().await;
    let one = ask(ME);
    // All at one moment, then more, then the clock is set back.
    for (number, step_us) in [(90, 1), (30, 7), (20, -5), (25, 0)] {
        let ended = join_all((0..number).map(|_| portal.call("Read", &[], &one))).await;
        for ended in &ended {
            world.evidence(ended.exchange()).await;
        }
        world.clock.advance_us(step_us);
    }
    let whole = mine(&portal).await;
    assert_eq!(whole.len(), 165);
    let mut distinct = whole.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 165, "each once");
    let all = told(&portal, &page(200, "")).await.accesses;
    assert!(
        all.is_sorted_by_key(|access| access.time.map(|time| std::cmp::Reverse((time.seconds, time.nanos))))
    );
    for size in [0, 1, 2, 7, 64, 164, 165, 200] {
        let (mut paged, mut token) = (Vec::new(), String::new());
        loop {
            let next = told(&portal, &page(size, &token)).await;
            assert!(
                !next.accesses.is_empty()
                    && next.accesses.len() <= if size == 0 { 50 } else { size as usize }
            );
            paged.extend(ids(&next.accesses));
            token = next.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole, "pages of {size}");
    }
    // A page token is of one question, of one system.
    let token = told(&portal, &page(10, "")).await.next_page_token;
    let time = Some(Timestamp { seconds: 1, nanos: 0 });
    for request in [
        ListAccessesRequest { page_token: token.clone(), ..about("1") },
        ListAccessesRequest { from: time, ..page(10, &token) },
        ListAccessesRequest {
            until: Some(Timestamp { seconds: i64::from(u32::MAX), nanos: 0 }),
            ..page(10, &token)
        },
        ListAccessesRequest { subject: Some(Subject::BusinessNumber(ME.into())), ..page(10, &token) },
        page(10, &token.to_lowercase()),
        page(10, token.get(1..).unwrap()),
    ] {
        let ended = question(&portal, &request).await;
        let message = ended.trailers.get("grpc-message").map(|value| value.to_str().unwrap());
        assert!(ended.status() == 3 && message.unwrap().starts_with("page_token:"), "{request:?}: {ended:?}");
    }
    // What comes meanwhile moves no page.
    let before = told(&portal, &page(10, &token)).await.accesses;
    access(&world, &portal, &[], ME).await;
    assert_eq!(told(&portal, &page(10, &token)).await.accesses, before);
    world.end().await;
}

#[tokio::test]
async fn accesses_of_all_epochs_are_told_until_their_key_is_destroyed() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let portal = world.portal().await;
    let keys = EpochKeys::open(&world.path("keys")).unwrap();
    let (mut expected, mut epochs) = (Vec::new(), Vec::new());
    for round in 0..3 {
        if round > 0 {
            let new = keys.rotate().unwrap().id().to_owned();
            // Taken up by itself.
            patient(async {
                loop {
                    let ended = portal.call("Read", &[], &ask("9")).await;
                    if world.evidence(ended.exchange()).await.opening().epoch == new {
                        return;
                    }
                }
            })
            .await;
        }
        world.clock.advance_us(1000);
        expected.insert(0, access(&world, &portal, &[], ME).await);
        epochs.push(keys.newest().id().to_owned());
    }
    assert_eq!(mine(&portal).await, expected);
    let (mut paged, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let next = told(&portal, &page(1, &token)).await;
        paged.extend(ids(&next.accesses));
        token = next.next_page_token;
    }
    assert_eq!((paged, token.as_str()), (expected.clone(), ""));
    keys.destroy(&epochs[0]).unwrap();
    expected.pop();
    patient(async {
        while mine(&portal).await != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn no_answer_without_evidence() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let portal = world.portal().await;
    access(&world, &portal, &[], ME).await;
    let mut store = Store::open(&world.store).await;
    store.hinder().await;
    let ended = question(&portal, &about(ME)).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "EVIDENCE_UNAVAILABLE"), "{ended:?}");
    assert!(ended.messages.is_empty(), "nothing is told that is not recorded");
    let exchange: ExchangeId = ended.exchange();
    store.mend().await;
    patient(async {
        while question(&portal, &about(ME)).await.status() != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(Records::read(&world.reader, exchange).await.openings.is_empty());
    assert_eq!(told(&portal, &about(ME)).await.accesses.len(), 1, "questions are not listed");
    world.end().await;
}
