//! All that a log says of its exchanges, read at the end and held against what consumers were told.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use prost::Message as _;
use serde_json::Value;
use ura_evidence::{
    entry::leaf,
    keys::log_keys_of_file,
    receipt::{self, Kept, Receipt},
    source::Source,
    store::Reader,
    verify::{Held, Trust, verify},
};
use ura_log::{Hash, note::Key, tree::leaf_hash};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Gap, Opening, Outcome, entry::Kind},
};

use crate::{
    bus::{Bus, TAX},
    load::Told,
    process::ura,
    world::{
        patient,
        store::{ORIGIN, Store},
    },
};

/// Receipts that are made and verified one by one.
const RECEIPTS_MAX: usize = 300;
/// Those of them that the command makes and verifies.
const RECEIPTS_BY_COMMAND: usize = 3;

/// One exchange as the log has it.
#[derive(Debug)]
pub struct Exchange {
    pub index: u64,
    pub leaf_hash: Hash,
    pub opening: Opening,
    pub closing: Option<Closing>,
    /// How many processes had begun to write the log when it was opened.
    process: usize,
}

/// The log.
pub struct Book {
    exchanges: HashMap<[u8; 16], Exchange>,
    pub entries: usize,
    pub gaps: Vec<Gap>,
    /// Exchanges of which the log says that nobody knows their end.
    pub unknown: usize,
    /// Processes that wrote it.
    pub processes: usize,
}

impl Book {
    /// Reads the log once every exchange has its end and all is signed. What a process had in hand when it was killed is closed by the
    /// next one as unknown, and nothing else is.
    pub async fn read(bus: &Bus) -> Self {
        let reader = bus.reader().await;
        settled(&reader).await;
        reader.close().await;
        let entries = Store::open(&bus.store).await.entries().await;
        let mut book = Self {
            exchanges: HashMap::new(),
            entries: entries.len(),
            gaps: Vec::new(),
            unknown: 0,
            processes: 0,
        };
        for (entry, index) in entries.into_iter().zip(0..) {
            let hash = leaf_hash(&leaf(&entry.encode_to_vec()));
            let id = || <[u8; 16]>::try_from(entry.exchange_id.as_slice()).expect("an exchange id");
            match entry.kind {
                Some(Kind::Opening(opening)) => {
                    let (leaf_hash, process) = (hash, book.processes);
                    let exchange = Exchange { index, leaf_hash, opening, closing: None, process };
                    assert!(book.exchanges.insert(id(), exchange).is_none(), "entry {index} opens it again");
                }
                Some(Kind::Closing(closing)) => {
                    let unknown = closing.outcome() == Outcome::Unknown;
                    let exchange = book.exchanges.get_mut(&id());
                    let exchange =
                        exchange.unwrap_or_else(|| panic!("entry {index} closes what nobody opened"));
                    let outlived = exchange.process < book.processes;
                    assert_eq!(unknown, outlived, "entry {index}: {closing:?} of {exchange:?}");
                    book.unknown += usize::from(unknown);
                    assert!(exchange.closing.replace(closing).is_none(), "entry {index} closes it again");
                }
                Some(Kind::Gap(gap)) => book.gaps.push(gap),
                Some(Kind::Started(_)) => book.processes += 1,
                _ => {}
            }
        }
        for exchange in book.exchanges.values() {
            assert_eq!(exchange.closing.is_none(), !exchange.opening.refusal.is_empty(), "{exchange:?}");
        }
        book
    }

    pub fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(id.as_bytes())
    }

    /// Calls that the log says were refused because they could not be recorded.
    pub fn refused(&self) -> usize {
        self.gaps.iter().map(|gap| usize::try_from(gap.refused).expect("few")).sum()
    }

    /// Whoever was told anything but that it could not be recorded has an opening; a receipt names its place; a write
    /// that ended had its closing.
    pub fn holds(&self, told: &Told) {
        let Some(id) = told.exchange else {
            assert!(told.status < 0 && told.messages == 0 && told.trailer.is_none(), "{told:?}");
            return;
        };
        let found = self.exchange(id);
        if let Some(trailer) = &told.trailer {
            let place = found.map(|exchange| (exchange.index, exchange.leaf_hash));
            assert_eq!(place, Some((trailer.index, trailer.leaf_hash)), "{told:?}");
            assert_eq!(trailer.log, ORIGIN);
        }
        if told.is_counted() {
            assert_eq!(told.messages, 0, "nothing is told of what was not recorded: {told:?}");
            return;
        }
        let exchange = found.unwrap_or_else(|| panic!("no record of what was answered: {told:?}"));
        assert!(told.status != 0 || told.trailer.is_some(), "who is answered gets a receipt: {told:?}");
        if told.status == 0 && told.key.is_some() {
            let closing = exchange.closing.as_ref().expect("closed");
            assert_eq!((closing.status, closing.outcome()), (0, Outcome::Answered), "{told:?}");
        }
    }

    /// The receipt of an answered call, made from the store, is verified with nothing but the key of the log, against
    /// the trailer and the bytes that the consumer kept.
    async fn receipt(&self, reader: &Reader, keys: &[Key], told: &Told) {
        let id = told.exchange.expect("answered");
        let made =
            receipt::make(reader, id, None, &[]).await.unwrap_or_else(|error| panic!("{error}: {told:?}"));
        let read = Receipt::from_json(&made.to_json()).expect("it reads back");
        let trust = receipt::Trust { keys: keys.to_vec(), ..receipt::Trust::default() };
        let closing = self.exchange(id).and_then(|exchange| exchange.closing.as_ref()).expect("closed");
        let (request, reply) = told.kept.as_ref().expect("answered");
        // The digest of the reply stands in the closing.
        let known = closing.outcome() != Outcome::Unknown;
        let kept =
            Kept { request: Some(request), reply: known.then_some(reply), trailer: told.trailer.as_ref() };
        let verified = receipt::verify(&read, &trust, &kept);
        let verified = verified.unwrap_or_else(|error| panic!("{error}: {told:?}"));
        let bytes = verified.request.map(|matched| matched.bytes);
        assert_eq!(bytes, Some(u64::try_from(request.len()).expect("short")), "{told:?}");
    }
}

/// Waits until no exchange of the log is open, and all of it is signed.
async fn settled(reader: &Reader) {
    patient(Box::pin(async {
        loop {
            let log = reader.log_by_origin(ORIGIN).await.expect("readable").expect("it is there");
            let unclosed = reader.unclosed(log.log, 0, log.size, 1).await.expect("readable");
            let signed = reader.checkpoint_at_least(log.log, log.size).await.expect("readable");
            if unclosed.is_empty() && signed.is_some() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }))
    .await;
}

/// The public keys of the log, as its operator gives them away.
fn public_keys(bus: &Bus) -> Vec<Key> {
    log_keys_of_file(&public_key_file(bus)).expect("a public key")
}

fn public_key_file(bus: &Bus) -> std::path::PathBuf {
    bus.path("log-keys").join("000001.log.pub")
}

/// The log proves itself whole, and agrees with all that is held of it apart from the store: checkpoints, and where
/// each receipt says that an opening stands.
pub async fn whole(bus: &Bus, told: &[Told], checkpoints: Vec<String>) {
    let receipts = told.iter().filter_map(|one| one.trailer.as_ref()).map(|trailer| Held::Receipt {
        origin: trailer.log.clone(),
        index: trailer.index,
        leaf_hash: trailer.leaf_hash,
    });
    let held: Vec<_> = receipts.chain(checkpoints.into_iter().map(Held::Checkpoint)).collect();
    let reader = bus.reader().await;
    let log = reader.log_by_origin(ORIGIN).await.expect("readable").expect("it is there");
    let now_us = Some(ura_runtime::clock::Clock::system().unix_us());
    let (trust, count) =
        (Trust { keys: public_keys(bus), held: held.clone(), now_us, ..Trust::default() }, held.len());
    let report = verify(Source::store(reader.clone(), log), &trust, |_, _| {}).await.expect("readable");
    assert!(report.is_sound(), "{report:#?}");
    reader.close().await;
    println!(
        "{} entries verified with {} checkpoints, against {count} receipts and checkpoints held elsewhere",
        report.size, report.checkpoints
    );
    let key = public_key_file(bus);
    command(&["evidence", "verify", "--config"], &[&bus.path("gateway.toml"), Path::new("--key"), &key]);
}

/// Receipts of calls that were answered, all over the log, verify offline.
pub async fn receipts(bus: &Bus, book: &Book, told: &[Told]) {
    let answered: Vec<&Told> = told.iter().filter(|one| one.kept.is_some()).collect();
    let (keys, reader) = (public_keys(bus), bus.reader().await);
    let step = answered.len().div_ceil(RECEIPTS_MAX).max(1);
    let sample: Vec<_> = answered.iter().step_by(step).collect();
    for told in &sample {
        book.receipt(&reader, &keys, told).await;
    }
    reader.close().await;
    for told in sample.iter().step_by(sample.len().div_ceil(RECEIPTS_BY_COMMAND)) {
        by_command(bus, told);
    }
    println!("{} receipts of {} verified offline", sample.len(), answered.len());
}

/// Every write that the register saw was sent to it once, and its opening is in the log; what a consumer was told to
/// be paid was, and what it was told to be never sent was not.
pub async fn writes(bus: &Bus, book: &Book, told: &[Told]) {
    let requests = bus.requests("property-tax").await;
    let writes: Vec<&Value> = requests.iter().filter(|request| request["method"] == "POST").collect();
    let mut keys = BTreeSet::new();
    for write in &writes {
        let header = |name: &str| write["headers"][name].as_str().unwrap_or_default().to_owned();
        let key = header("idempotency-key");
        assert!(keys.insert(key.clone()), "{key} reached the register twice");
        let id: ExchangeId = header("ura-exchange-id").parse().expect("an exchange id");
        let exchange = book.exchange(id).unwrap_or_else(|| panic!("{key} was sent and has no record"));
        assert_eq!(
            (exchange.opening.method.as_str(), exchange.opening.refusal.as_str()),
            (&*format!("{TAX}/ConfirmPayment"), "")
        );
    }
    let mut paid = 0;
    for one in told {
        let Some(key) = &one.key else { continue };
        paid += u64::from(one.status == 0);
        assert!(one.status != 0 || keys.contains(key), "told as paid: {one:?}");
        assert!(one.outcome != "never_sent" || !keys.contains(key), "told as never sent: {one:?}");
    }
    let counts = bus.ask_mocks("/payments").await;
    let counted: u64 = counts.as_object().expect("counts").values().filter_map(Value::as_u64).sum();
    let done = writes.iter().filter(|write| write["status"] == 201).count();
    assert!(counted >= u64::try_from(done).expect("few"), "{counted} counted, {done} answered");
    assert!(counted <= u64::try_from(keys.len()).expect("few"), "{counted} counted, {} sent", keys.len());
    assert!(counted >= paid, "every payment that was told was counted");
    println!("{} writes reached the register, {counted} counted, {paid} told", keys.len());
}

/// The same by the command, for whom the receipt and the key are files in a folder of their own.
fn by_command(bus: &Bus, told: &Told) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let id = told.exchange.expect("answered").to_string();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let receipt = dir.path().join("receipt.json");
    command(
        &["evidence", "receipt", &id, "--config"],
        &[&bus.path("gateway.toml"), Path::new("--out"), &receipt],
    );
    let key = file("log.pub", &std::fs::read(public_key_file(bus)).expect("a public key"));
    let trailer = file("trailer", told.trailer.as_ref().expect("answered").to_string().as_bytes());
    let request = file("request", &told.kept.as_ref().expect("answered").0);
    command(
        &["evidence", "verify"],
        &[
            &receipt,
            Path::new("--key"),
            &key,
            Path::new("--trailer"),
            &trailer,
            Path::new("--request"),
            &request,
        ],
    );
}

/// Runs the bus's program, which must find nothing wrong.
fn command(words: &[&str], paths: &[&Path]) {
    let output = ura().args(words).args(paths).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{words:?} {paths:?}: {}\n{out}{err}", output.status);
}
