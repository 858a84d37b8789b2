//! A log in a store of its own, written as a gateway writes one, with everything that a log may have:
//! exchanges about subjects, removals, a change of key, cosignatures.

#![allow(dead_code, reason = "each test target uses a part of it")]

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use ura_evidence::{
    entry::Row,
    keys::commitment,
    source::Source,
    store::{Address, Appender, Cosignature, LogRow, Reader, Removed, Store},
    verify::{Report, Trust, VerifyError, verify},
};
use ura_log::{
    checkpoint::{Checkpoint, cosign},
    note::{Key, Kind as KeyKind, Note, Signer},
    tree::Frontier,
};
use ura_proto::{
    ExchangeId,
    v1::{
        Closing, Gap, KeyChange, Opening, Progress, Removal, Started, Subject, SubjectOpening, entry::Kind,
    },
};

pub(crate) const ORIGIN: &str = "ura.test/log";
pub(crate) const WITNESS: &str = "witness.test";
const BEGIN_US: i64 = 1_795_348_800_000_000;
/// Checkpoints are this far apart: six in an hour.
const STEP_US: i64 = 600_000_000;

/// Numbers that follow from a seed (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    /// From `URA_SEED`, or from the randomness of the system; printed, so that a failure can be repeated.
    pub(crate) fn new(test: &str) -> Self {
        let seed = match std::env::var("URA_SEED") {
            Ok(seed) => seed.parse().expect("URA_SEED is a number"),
            Err(_) => {
                let mut bytes = [0; 8];
                aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
                u64::from_le_bytes(bytes)
            }
        };
        #[expect(clippy::print_stderr, reason = "shown where the test fails")]
        {
            eprintln!("{test}: URA_SEED={seed}");
        }
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let at = self.below(u64::try_from(of.len()).expect("few"));
        &of[usize::try_from(at).expect("few")]
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes
    }
}

/// A log and everything that belongs to it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) database: PathBuf,
    store: Store,
    pub(crate) log: LogRow,
    pub(crate) tree: Frontier,
    pub(crate) signers: Vec<Signer>,
    pub(crate) witness: Signer,
    pub(crate) rows: Vec<Row>,
    pub(crate) removed: Vec<u64>,
    pub(crate) checkpoints: Vec<(u64, String)>,
    exchange: Option<ExchangeId>,
    now_us: i64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let database = dir.path().join("evidence.db");
        let mut store = Store::open(&address(&database)).await.expect("opens");
        let log = store.log(ORIGIN, "ais/gateway").await.expect("registers");
        let signer = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
        let witness = Signer::generate(WITNESS, KeyKind::CosignatureV1).expect("a key");
        Self {
            dir,
            database,
            store,
            log,
            tree: Frontier::new(),
            signers: vec![signer],
            witness,
            rows: Vec::new(),
            removed: Vec::new(),
            checkpoints: Vec::new(),
            exchange: None,
            now_us: BEGIN_US,
        }
    }

    /// A log of exactly `size` entries, all signed, nothing special in it.
    pub(crate) async fn plain(size: u64, random: &mut Random) -> Self {
        let mut world = Self::new().await;
        if size > 0 {
            world.started().await;
            world.append(size - 1, random).await;
        }
        world.checkpoint().await;
        world
    }

    /// A log with everything, of about `size` entries, and a few that are not signed yet.
    pub(crate) async fn full(size: u64, random: &mut Random) -> Self {
        let mut world = Self::new().await;
        world.started().await;
        let rotate_at = random.below(size);
        while world.size() < size {
            world.append(1 + random.below(size / 5 + 1), random).await;
            world.checkpoint().await;
            match random.below(3) {
                0 => world.cosign().await,
                1 => world.remove_some(random).await,
                _ => {}
            }
            if world.size() > rotate_at && world.signers.len() == 1 {
                world.rotate().await;
            }
        }
        world.remove_some(random).await;
        world.checkpoint().await;
        world.cosign().await;
        world.append(random.below(4), random).await;
        world
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Size of the newest checkpoint.
    pub(crate) fn signed(&self) -> u64 {
        self.checkpoints.last().map_or(0, |(size, _)| *size)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.signers.iter().map(|signer| signer.key().clone()).collect()
    }

    /// Only the key that signs now is trusted; what came before must follow from the log.
    pub(crate) fn trust(&self) -> Trust {
        let newest = self.signers.last().expect("there is one").key().clone();
        let (witnesses, now_us) = (vec![self.witness.key().clone()], Some(self.now_us));
        Trust { keys: vec![newest], witnesses, held: Vec::new(), now_us }
    }

    pub(crate) async fn reader(&self) -> Reader {
        Reader::open(&address(&self.database)).await.expect("opens")
    }

    /// A copy of the store, whole and at rest.
    pub(crate) async fn copy(&self, to: &Path) {
        let mut from = connect(&self.database).await;
        let into = format!("vacuum into '{}'", to.display());
        sqlx::query(sqlx::AssertSqlSafe(into)).execute(&mut from).await.expect("copies");
        sqlx::Connection::close(from).await.expect("closes");
    }

    pub(crate) async fn started(&mut self) {
        let log_key = self.signers.last().expect("there is one").key().to_string();
        let started = Started { origin: ORIGIN.into(), log_key, ..Started::default() };
        self.push(vec![Row::new(None, self.now_us, Kind::Started(started))]).await;
    }

    /// Appends entries of random kinds.
    pub(crate) async fn append(&mut self, count: u64, random: &mut Random) {
        let rows: Vec<Row> = (0..count).map(|_| self.random_row(random)).collect();
        self.push(rows).await;
    }

    fn random_row(&mut self, random: &mut Random) -> Row {
        self.now_us += 1000;
        let now = self.now_us;
        let subjects = random.below(3);
        let (named, openings): (Vec<Subject>, Vec<SubjectOpening>) =
            (0..subjects).map(|_| subject(random)).unzip();
        match random.below(5) {
            0 => Row::new(None, now, Kind::Gap(Gap { refused: random.below(9), ..Gap::default() })),
            1 if self.exchange.is_some() => {
                let progress = Progress { subjects: named, ..Progress::default() };
                Row::with_subjects(self.exchange, now, Kind::Progress(progress), openings)
            }
            2 if self.exchange.is_some() => {
                let closing = Closing { duration_us: random.below(99), ..Closing::default() };
                Row::new(self.exchange.take(), now, Kind::Closing(closing))
            }
            _ => {
                let opening = Opening {
                    consumer: "ais/portal".into(),
                    provider: "arc/civil-status".into(),
                    method: "a.B/C".into(),
                    refusal: if random.below(4) == 0 { "GRANT_MISSING".into() } else { String::new() },
                    trace_id: random.bytes()[..16].to_vec(),
                    subjects: named,
                    ..Opening::default()
                };
                let exchange = ExchangeId::at(now);
                self.exchange = Some(exchange);
                Row::with_subjects(Some(exchange), now, Kind::Opening(opening), openings)
            }
        }
    }

    pub(crate) async fn push(&mut self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let subtrees = grow(&mut self.tree, &rows);
        let mut append =
            self.store.begin(self.log.log, Appender::Guest, rows.len(), self.now_us).await.expect("begins");
        append.insert(&rows).await.expect("inserts");
        append.subtrees(&subtrees).await.expect("inserts");
        // Whoever reads a log by its keys needs no mark.
        append.mark(&[0; 32]).await.expect("marks");
        append.commit().await.expect("commits");
        self.rows.extend(rows);
        self.log = self.store.log(ORIGIN, "").await.expect("registered");
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.now_us
    }

    pub(crate) async fn checkpoint(&mut self) {
        let signer = copy(self.signers.last().expect("there is one"));
        self.checkpoint_by(&signer).await;
    }

    /// A checkpoint by a key, whoever has it.
    pub(crate) async fn checkpoint_by(&mut self, signer: &Signer) {
        self.now_us += STEP_US;
        let (size, root) = (self.tree.size(), self.tree.root());
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root, extensions: Vec::new() };
        let note = checkpoint.sign(signer).expect("signs").to_string();
        let mut append =
            self.store.begin(self.log.log, Appender::Guest, 0, self.now_us).await.expect("begins");
        append.checkpoint(size, &note, self.now_us, false).await.expect("inserts");
        append.commit().await.expect("commits");
        self.checkpoints.retain(|(there, _)| *there != size);
        self.checkpoints.push((size, note));
    }

    /// The witness cosigns the newest checkpoint.
    pub(crate) async fn cosign(&mut self) {
        let (size, note) = self.checkpoints.last().expect("there is one");
        let note = Note::parse(note).expect("a note");
        let time_s = 1_795_348_800;
        let line = cosign(&note, &self.witness, time_s).expect("cosigns").to_string();
        let cosignature = Cosignature { name: WITNESS.into(), line, time_s };
        let (log, size) = (self.log.log, *size);
        assert!(self.store.add_cosignature(log, size, &cosignature).await.expect("inserts"));
    }

    /// The log's key changes: announced in the log, and the announcement signed by the old key.
    pub(crate) async fn rotate(&mut self) {
        let next = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
        let before = self.signers.last().expect("there is one").key().to_string();
        let change = KeyChange { log_key: next.key().to_string(), before, ..KeyChange::default() };
        self.push(vec![Row::new(None, self.now_us, Kind::KeyChange(change))]).await;
        self.checkpoint().await;
        self.signers.push(next);
        self.started().await;
    }

    /// Removes the bodies of some exchanges, as retention does.
    pub(crate) async fn remove_some(&mut self, random: &mut Random) {
        let may = |index: &u64| {
            let row = &self.rows[usize::try_from(*index).expect("few")];
            (10..=12).contains(&row.columns.kind) && !self.removed.contains(index)
        };
        let candidates: Vec<u64> = (0..self.size()).filter(may).collect();
        let indexes: Vec<u64> = candidates.into_iter().filter(|_| random.below(4) == 0).collect();
        if !indexes.is_empty() {
            self.remove(&indexes).await;
        }
    }

    pub(crate) async fn remove(&mut self, indexes: &[u64]) {
        let row = Row::new(None, self.now_us, Kind::Removal(removal(indexes)));
        let subtrees = grow(&mut self.tree, std::slice::from_ref(&row));
        let mut append =
            self.store.begin(self.log.log, Appender::Guest, 1, self.now_us).await.expect("begins");
        let removal_index = append.first();
        append.insert(std::slice::from_ref(&row)).await.expect("inserts");
        append.subtrees(&subtrees).await.expect("inserts");
        // Whoever reads a log by its keys needs no mark.
        append.mark(&[0; 32]).await.expect("marks");
        append.remove(&Removed { indexes, removal_index }).await.expect("removes");
        append.commit().await.expect("commits");
        self.rows.push(row);
        self.removed.extend(indexes);
        self.log = self.store.log(ORIGIN, "").await.expect("registered");
    }
}

/// A signer is not copied by mistake.
pub(crate) fn copy(signer: &Signer) -> Signer {
    let key = signer.key();
    Signer::from_pkcs8(key.name(), key.kind(), signer.pkcs8().expect("a key").as_ref()).expect("a key")
}

/// What a Removal entry says of these entries.
pub(crate) fn removal(indexes: &[u64]) -> Removal {
    let bytes: Vec<u8> = indexes.iter().flat_map(|index| index.to_be_bytes()).collect();
    Removal {
        contract: "a.B".into(),
        entries: u64::try_from(indexes.len()).expect("few"),
        first_index: *indexes.first().expect("some"),
        last_index: *indexes.last().expect("some"),
        indexes_digest: digest::digest(&digest::SHA256, &bytes).as_ref().to_vec(),
        ..Removal::default()
    }
}

/// Appends rows to a tree; gives the hashes that the store keeps.
pub(crate) fn grow(tree: &mut Frontier, rows: &[Row]) -> Vec<(u8, u64, [u8; 32])> {
    let mut subtrees = Vec::new();
    for row in rows {
        tree.append_telling(row.leaf_hash(), |height, index, hash| {
            if height > 0 && height % 8 == 0 {
                subtrees.push((height / 8, index, *hash));
            }
        });
    }
    subtrees
}

fn subject(random: &mut Random) -> (Subject, SubjectOpening) {
    let opening = SubjectOpening {
        kind: "person".into(),
        pseudonym: random.bytes().to_vec(),
        blind: random.bytes().to_vec(),
    };
    (Subject { kind: "person".into(), commitment: commitment(&opening).to_vec() }, opening)
}

pub(crate) fn address(database: &Path) -> Address {
    Address::parse(&format!("sqlite:{}", database.display())).expect("an address")
}

/// A connection that may do what it wants.
pub(crate) async fn connect(database: &Path) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    options.connect().await.expect("connects")
}

/// Verifies the log of a store.
pub(crate) async fn verify_store(database: &Path, trust: &Trust) -> Result<Report, VerifyError> {
    let reader = Reader::open(&address(database)).await?;
    let log = reader.logs().await?.remove(0);
    let report = verify(Source::store(reader.clone(), log), trust, |_, _| {}).await;
    reader.close().await;
    report
}

/// Verifies an export.
pub(crate) async fn verify_folder(folder: &Path, trust: &Trust) -> Result<Report, VerifyError> {
    verify(Source::folder(folder)?, trust, |_, _| {}).await
}

/// Fails with all problems where there are any.
#[track_caller]
pub(crate) fn sound(report: &Report) {
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}
