//! Who has the log, all its entries and every personal number, but no epoch key: names nobody and guesses no
//! digest. The same attack with the key names everybody, so it is one that can succeed.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::Path,
};

use aws_lc_rs::{
    digest::{Context, SHA256},
    hmac,
};
use bytes::Bytes;
use prost::Message as _;
use ura_evidence::{
    find::Found,
    store::{ROWS_MAX, StoredRow},
};
use ura_proto::v1::{Entry, entry::Kind};

use super::{
    access::{about, question},
    subjects::{Plate, ask},
};
use crate::world::{
    EvidenceStore, World,
    client::framed,
    members, patient,
    probe::{Answer, Ask},
    program::ura,
    store::{self, ORIGIN},
};

type Hash = [u8; 32];

/// Personal numbers that the world knows, the first of which stand in its evidence.
const NUMBERS: usize = 20;
const ASKED: usize = 3;

fn number(n: usize) -> String {
    (1_234_567_892 + n * 37).to_string()
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().unwrap()
}

fn hmac(key: &hmac::Key, parts: &[&[u8]]) -> Hash {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().unwrap()
}

/// All that could be a key to somebody: every 32 bytes in a row of what was taken, at whatever place.
fn windows(bytes: &[u8], into: &mut HashSet<Hash>) {
    into.extend(bytes.windows(32).map(|window| <Hash>::try_from(window).unwrap()));
}

fn files(dir: &Path, into: &mut HashSet<Hash>) -> usize {
    let mut count = 0;
    for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap()) {
        if file.file_type().unwrap().is_dir() {
            count += files(&file.path(), into);
        } else {
            windows(&fs::read(file.path()).unwrap(), into);
            count += 1;
        }
    }
    count
}

/// An entry of the log, and what lies beside it.
struct Seen {
    entry: Entry,
    leaf: Hash,
    blind: Option<Hash>,
}

async fn seen(world: &World) -> Vec<Seen> {
    let log = world.reader.log_by_origin(ORIGIN).await.unwrap().unwrap();
    let rows = world.reader.entries(log.log, 0, ROWS_MAX).await.unwrap();
    let of = |row: StoredRow| {
        let leaf = row.leaf;
        let found = Found::of(&ORIGIN.into(), row).unwrap();
        let blind = found.subjects().first().map(|one| one.blind.as_slice().try_into().unwrap());
        Seen { entry: found.into_entry().unwrap(), leaf, blind }
    };
    rows.into_iter().map(of).collect()
}

/// Who is behind it: what is tried for each number, and what of it is a name and what a message.
struct Guess {
    number: String,
    kind: &'static str,
    canonical: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

fn guesses() -> Vec<Guess> {
    let person = |n: usize| {
        let number = number(n);
        let (request, answer) = (ask(&number), Answer { text: number.clone(), ..Answer::default() });
        let question = about(&number);
        let messages: [Bytes; 6] = [
            request.encode_to_vec().into(),
            framed(&request),
            answer.encode_to_vec().into(),
            framed(&answer),
            question.encode_to_vec().into(),
            framed(&question),
        ];
        let messages = messages.map(|message| message.to_vec()).to_vec();
        Guess { canonical: number.clone().into_bytes(), number, kind: "person", messages }
    };
    let plate = Plate { plate: "01-101-AA".into(), wish: format!("o:{}", number(0)) };
    let owner = Guess {
        number: "plate".to_owned(),
        kind: "plate",
        canonical: b"01101AA".to_vec(),
        messages: vec![plate.encode_to_vec(), framed(&plate).to_vec()],
    };
    (0..NUMBERS).map(person).chain([owner]).collect()
}

/// What was found out.
#[derive(Debug, Default)]
struct Named {
    /// Whose pseudonyms or commitments are known.
    subjects: BTreeSet<String>,
    /// Messages whose digests are known, by exchange.
    digests: BTreeSet<(Vec<u8>, Vec<u8>)>,
    tried: usize,
}

/// Tries every guess, in every form that entries have, under every one of these keys and under all that stands
/// in the open, against every 32 bytes that were taken.
fn attack(seen: &[Seen], taken: &HashSet<Hash>, keys: &[Vec<u8>]) -> Named {
    let guesses = guesses();
    let mut named = Named::default();
    let exchanges: BTreeSet<&[u8]> =
        seen.iter().map(|one| &one.entry.exchange_id[..]).filter(|id| !id.is_empty()).collect();
    for exchange in exchanges {
        let of: Vec<&Seen> = seen.iter().filter(|one| one.entry.exchange_id == exchange).collect();
        let keys: Vec<_> =
            open_to_all(exchange, &of).into_iter().chain(keys.iter().cloned()).map(Secret::of).collect();
        let blinds: Vec<Hash> = of
            .iter()
            .filter_map(|one| one.blind)
            .chain(keys.iter().map(|key| hmac(&key.key, &[b"blind of subject\0", exchange])))
            .collect();
        for guess in &guesses {
            let mut try_one = |hash: &Hash, what: What<'_>| {
                named.tried += 1;
                if taken.contains(hash) {
                    match what {
                        What::Subject => {
                            named.subjects.insert(guess.number.clone());
                        }
                        What::Message(message) => {
                            named.digests.insert((exchange.to_vec(), message.to_vec()));
                        }
                    }
                }
            };
            for secret in &keys {
                subject(guess, secret, &blinds, &mut |hash| try_one(hash, What::Subject));
                for message in &guess.messages {
                    digest(message, secret, exchange, &mut |hash| try_one(hash, What::Message(message)));
                }
            }
        }
    }
    named
}

enum What<'g> {
    Subject,
    Message(&'g [u8]),
}

/// What may be the secret of a digest.
struct Secret {
    bytes: Vec<u8>,
    key: hmac::Key,
}

impl Secret {
    fn of(bytes: Vec<u8>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes }
    }
}

/// What stands in an exchange's entries and may have been taken for a secret.
fn open_to_all(exchange: &[u8], of: &[&Seen]) -> Vec<Vec<u8>> {
    let mut open = vec![Vec::new(), vec![0; 32], exchange.to_vec(), ORIGIN.as_bytes().to_vec()];
    open.push(uuid::Uuid::from_slice(exchange).unwrap().to_string().into_bytes());
    for one in of {
        open.extend([one.leaf.to_vec(), ura_log::tree::leaf_hash(&one.leaf).to_vec()]);
        open.extend(one.blind.map(Vec::from));
        if let Some(Kind::Opening(opening)) = &one.entry.kind {
            open.extend([
                opening.trace_id.clone(),
                opening.epoch.clone().into_bytes(),
                opening.grant_digest.clone(),
            ]);
            open.extend([opening.directory_digest.clone(), opening.consumer_certificate.clone()]);
            open.extend(opening.subjects.iter().map(|subject| subject.commitment.clone()));
        }
    }
    open
}

/// A subject: its pseudonym, and the commitment to it, in all forms.
fn subject(guess: &Guess, secret: &Secret, blinds: &[Hash], found: &mut impl FnMut(&Hash)) {
    let (kind, canonical) = (guess.kind.as_bytes(), &guess.canonical[..]);
    let pseudonyms = [
        hmac(&secret.key, &[kind, &[0], canonical]),
        hmac(&secret.key, &[canonical]),
        sha256(&[&secret.bytes, kind, &[0], canonical]),
        sha256(&[&secret.bytes, canonical]),
        sha256(&[canonical, &secret.bytes]),
    ];
    for pseudonym in &pseudonyms {
        found(pseudonym);
        for blind in blinds {
            found(&sha256(&[blind, kind, &[0], pseudonym]));
        }
    }
    for blind in blinds {
        found(&sha256(&[blind, kind, &[0], canonical]));
    }
}

/// A message: its digest under a secret as salt, and under the salt that is made from it.
fn digest(message: &[u8], secret: &Secret, exchange: &[u8], found: &mut impl FnMut(&Hash)) {
    let salt = hmac(&secret.key, &[b"salt of exchange\0", exchange]);
    for hash in [
        sha256(&[&secret.bytes, message]),
        sha256(&[message, &secret.bytes]),
        sha256(&[&salt, message]),
        hmac(&secret.key, &[message]),
        hmac(&secret.key, &[exchange, message]),
    ] {
        found(&hash);
    }
}

/// Exchanges about some of the numbers, of all kinds, by two consumers; the salts that the portal was given.
async fn happened(world: &World) -> Vec<Vec<u8>> {
    let (portal, other) = (world.portal().await, world.client("ais/other").await);
    let key = [("idempotency-key", "k-1")];
    let mut salts = Vec::new();
    for n in 0..ASKED {
        let one = ask(&number(n));
        for method in ["Read", "Write", "Down"] {
            let ended = portal.call(method, &key, &one).await;
            assert_eq!(ended.status(), 0, "{ended:?}");
            world.evidence(ended.exchange()).await;
            salts.push(ended.salt());
        }
        let ended = other.call("Read", &[], &one).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
        world.evidence(ended.exchange()).await;
        let stream: Vec<Bytes> = [n, n + 1].map(|n| framed(&ask(&number(n)))).to_vec();
        world.evidence(portal.send("UpRead", &[], &stream).await.exchange()).await;
        world.evidence(question(&portal, &about(&number(n))).await.exchange()).await;
        // Refused before anybody was asked.
        world.evidence(portal.call("Absent", &[], &Ask::default()).await.exchange()).await;
    }
    let owner = Plate { plate: "01-101-AA".into(), wish: format!("o:{}", number(0)) };
    world.evidence(portal.call("Owner", &[], &owner).await.exchange()).await;
    salts
}

#[tokio::test]
async fn without_the_epoch_key_nobody_is_named_and_no_digest_is_guessed() {
    let mut world = members::bus(EvidenceStore::Sqlite).await;
    let second = members::second(&world).await;
    let salts = happened(&world).await;
    world.stop().await;
    patient(second.finished()).await;
    let seen = seen(&world).await;
    let export = world.path("exported");
    let config = world.path("gateway.toml").display().to_string();
    ura(&["evidence", "export", &export.display().to_string(), "--config", &config]).await.done();

    // All that the thief takes: the store with all that lies beside the entries; the export; the entries one by one.
    let (mut stored, mut exported) = (HashSet::new(), HashSet::new());
    windows(&store::bytes(&world.store), &mut stored);
    seen.iter().for_each(|one| windows(&one.entry.encode_to_vec(), &mut stored));
    assert!(files(&export, &mut exported) > 4);
    let of_others = |one: &&Seen| matches!(&one.entry.kind, Some(Kind::Opening(opening)) if opening.consumer == "ais/other");
    let others: BTreeSet<_> =
        seen.iter().filter(of_others).map(|one| one.entry.exchange_id.clone()).collect();
    assert_eq!(others.len(), ASKED);
    for (taken, blind) in [(&stored, true), (&exported, false)] {
        let as_taken = |one: &Seen| Seen {
            entry: one.entry.clone(),
            leaf: one.leaf,
            blind: one.blind.filter(|_| blind),
        };
        let copy = || seen.iter().map(as_taken).collect::<Vec<_>>();
        let found = attack(&copy(), taken, &[]);
        assert!(found.subjects.is_empty() && found.digests.is_empty(), "{found:?}");
        assert!(found.tried > 100_000, "{}", found.tried);

        // A party has the salts of its own exchanges: nothing of others opens by them, and no name.
        let found = attack(&copy(), taken, &salts);
        assert!(found.subjects.is_empty(), "{:?}", found.subjects);
        assert!(!found.digests.is_empty(), "its own it can show, of course");
        let of_others = |one: &Seen| others.contains(&one.entry.exchange_id);
        let (theirs, _): (Vec<Seen>, Vec<Seen>) = copy().into_iter().partition(of_others);
        let mut bodies = HashSet::new();
        theirs.iter().for_each(|one| windows(&one.entry.encode_to_vec(), &mut bodies));
        let found = attack(&theirs, &bodies, &salts);
        assert!(found.subjects.is_empty() && found.digests.is_empty(), "{found:?}");

        // With the epoch key the same attack names everybody who was asked about, and nobody else.
        let epoch = fs::read_to_string(world.path("keys/000001.epoch")).unwrap();
        let found = attack(&copy(), taken, &[unhex(epoch.trim())]);
        let asked: BTreeSet<_> = (0..=ASKED).map(number).chain(["plate".to_owned()]).collect();
        assert_eq!(found.subjects, asked);
        let guessed: BTreeSet<_> = found.digests.iter().map(|(exchange, _)| exchange).collect();
        assert!(others.iter().all(|exchange| guessed.contains(exchange)));
        assert!(found.digests.len() > 6 * ASKED, "requests and replies: {}", found.digests.len());
    }
    world.end().await;
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
