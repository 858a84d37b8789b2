//! What happens to a store while a gateway writes it or before one starts: its disk is full, its database is gone for
//! a while, its data is gone or older than it was. Nothing is answered unrecorded, what was refused is counted, and
//! service is back by itself as soon as it can be.

use std::{net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use serde_json::json;
use sqlx::{Connection as _, PgConnection, raw_sql};
use tokio::net::TcpListener;

use crate::{
    book::{self, Book},
    bus::{Bus, Plan, VEHICLES},
    data::Data,
    load::{self, CALLS_IN_FLIGHT, Load, Told},
    process::{Process, ura},
    random::Random,
    world::{
        EvidenceStore, patient,
        postgres::Postgres,
        store::{Store, on_each_store},
    },
};

on_each_store!(an_older_store_or_none_is_not_written_and_the_right_one_is);

/// Calls that are refused before an outage ends.
const REFUSED_MIN: usize = 5 * CALLS_IN_FLIGHT;
/// Attempts of the gateway to reach its database before that is back. It tries every half second.
const ATTEMPTS: usize = 5;
/// Free space of a disk that is nearly full, in bytes, at most.
const FREE_BYTES_MAX: usize = 65_536;
/// Length of a file of PostgreSQL's write-ahead log, in bytes. A server that cannot write that one ends at once; one
/// that cannot make a table longer refuses the statement.
const WAL_FILE_BYTES: u64 = 16 << 20;

/// What the gateway says of its log.
const CANNOT: &str = "the log cannot be written: calls are refused";
const CAN: &str = "the log is written again";

/// From now on the kernel refuses a process to write beyond this offset of any file (setrlimit(2), `RLIMIT_FSIZE`).
fn limit_files(pid: u32, bytes: &str) {
    let process = format!("/proc/{pid}");
    // One that has ended meanwhile writes nothing.
    let Ok(owner) = std::fs::metadata(&process) else { return };
    // Whoever a process belongs to may do so.
    let mut command = if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == owner.uid()) {
        Command::new("prlimit")
    } else {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", owner.uid())).arg(format!("--regid={}", owner.gid()));
        command.args(["--clear-groups", "--", "prlimit"]);
        command
    };
    command.arg(format!("--pid={pid}")).arg(format!("--fsize={bytes}:"));
    let done = command.status().expect("it runs").success();
    assert!(done || !Path::new(&process).exists(), "{command:?}");
}

/// The bus's program, whom the kernel answers with an error where a file may not grow, instead of a signal.
fn refusable() -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(r#"trap "" XFSZ; exec "$0" "$@""#).arg(ura().get_program());
    command
}

/// The processes whose writes are refused while the disk is full.
struct Disk(Vec<u32>);

impl Disk {
    fn free_bytes(&self, bytes: u64) {
        self.0.iter().for_each(|pid| limit_files(*pid, &bytes.to_string()));
    }

    fn mend(&self) {
        self.0.iter().for_each(|pid| limit_files(*pid, "unlimited"));
    }
}

/// Refused because they could not be recorded, as callers were told.
fn counted(told: &[Told]) -> usize {
    told.iter().filter(|one| one.is_counted()).count()
}

/// Waits until the log tells of as many refused calls as callers do, and the gateway knows that it can write it;
/// returns in how many entries.
async fn gaps(bus: &Bus, told: &[Told]) -> usize {
    let store = Store::open(&bus.store).await;
    let expected = counted(told);
    let entries = patient(async {
        loop {
            let gaps = store.gaps().await;
            let refused: usize = gaps.iter().map(|gap| usize::try_from(gap.refused).expect("few")).sum();
            assert!(refused <= expected, "{refused} counted, {expected} refused: {gaps:?}");
            if refused == expected {
                assert!(gaps.iter().all(|gap| gap.closings_lost == 0), "{gaps:?}");
                return gaps.len();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let is_said = |line: &&String| line.contains(CANNOT) || line.contains(CAN);
    patient(async {
        while !bus.gateway().lines().iter().rfind(is_said).is_some_and(|line| line.contains(CAN)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    entries
}

/// Calls are answered again, and everything that was told agrees with the log and the registers.
async fn back_and_whole(bus: &Bus, mut told: Vec<Told>) {
    let load = Load::start(bus, &load::asks(bus), "after").await;
    load.until(|counts| counts.answered > 2 * CALLS_IN_FLIGHT).await;
    let after = load.stop().await;
    assert_eq!(counted(&after), 0, "nobody is refused any more");
    told.extend(after);
    let book = Book::read(bus).await;
    told.iter().for_each(|one| book.holds(one));
    assert_eq!((book.refused(), book.unknown, book.processes), (counted(&told), 0, 1), "{:?}", book.gaps);
    book::writes(bus, &book, &told).await;
    book::receipts(bus, &book, &told).await;
    book::whole(bus, &told, Vec::new()).await;
}

#[tokio::test]
async fn a_full_disk_under_sqlite_refuses_everybody_and_the_gap_is_counted_exactly() {
    let mut random = Random::of_environment();
    let mut bus = Bus::without_gateway(Plan::default()).await;
    bus.gateway = Some(bus.start_gateway_under(refusable(), &[]).await);
    bus.plugged(bus.gateway()).await;
    let disk = Disk(vec![bus.gateway().pid()]);
    // Nearly full: the log ends in the middle of a batch, wherever.
    let load = Load::start(&bus, &load::asks(&bus), "nearly").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    let length = |ending: &str| {
        let path = bus.path(&format!("evidence.db{ending}"));
        std::fs::metadata(path).map_or(0, |file| file.len())
    };
    let free = u64::try_from(random.below(FREE_BYTES_MAX)).expect("few");
    disk.free_bytes(length("").max(length("-wal")) + free);
    load.until(|counts| counts.unrecorded > REFUSED_MIN).await;
    let mut told = load.stop().await;
    disk.mend();
    let first = gaps(&bus, &told).await;
    // Full: not one byte can be written.
    let load = Load::start(&bus, &load::asks(&bus), "full").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    disk.free_bytes(0);
    load.until(|counts| counts.unrecorded > REFUSED_MIN).await;
    told.extend(load.stop().await);
    disk.mend();
    assert_eq!(gaps(&bus, &told).await, first + 1, "one entry tells of all");
    back_and_whole(&bus, told).await;
}

#[tokio::test]
async fn a_full_disk_under_postgres_refuses_everybody_and_all_are_counted() {
    // What a transaction left that was rolled back stays, as on a disk that others fill.
    let server =
        tokio::task::spawn_blocking(|| Postgres::start(&["autovacuum=off"])).await.expect("it starts");
    let bus = Bus::start(Plan { evidence_store: EvidenceStore::At(server.url()), ..Plan::default() }).await;
    let mut connection = PgConnection::connect(&bus.store).await.expect("PostgreSQL");
    // Four rows fill a page to the brim, so the table must grow for the next one.
    raw_sql(
        "begin; \
         insert into body select -1, n, substring(decode(repeat(md5(n::text), 125), 'hex') for 1988) \
         from generate_series(1, 9000) n; \
         rollback",
    )
    .execute(&mut connection)
    .await
    .expect("room is taken");
    let load = Load::start(&bus, &load::asks(&bus), "full").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    let first = first_process(&mut connection).await;
    // The first one first: whoever comes of it from here on is refused too.
    Disk(vec![first]).free_bytes(WAL_FILE_BYTES);
    Disk(connections(&mut connection).await).free_bytes(WAL_FILE_BYTES);
    load.until(|counts| counts.unrecorded > REFUSED_MIN).await;
    let told = load.stop().await;
    // Every process that comes of the first one has its limit: first the first, then those that are there by then.
    Disk(vec![first]).mend();
    Disk(children(first)).mend();
    gaps(&bus, &told).await;
    bus.gateway().says(&[CANNOT, "File too large"]).await;
    connection.close().await.expect("closes");
    back_and_whole(&bus, told).await;
}

/// The server's first process, of which all others come.
async fn first_process(connection: &mut PgConnection) -> u32 {
    let query = sqlx::query_scalar("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    let first: String = query.fetch_one(connection).await.expect("its id");
    first.trim().parse().expect("a number")
}

/// Processes of the server that have a connection each.
async fn connections(connection: &mut PgConnection) -> Vec<u32> {
    let query = sqlx::query_scalar("select pid from pg_stat_activity where backend_type = 'client backend'");
    let ids: Vec<i32> = query.fetch_all(connection).await.expect("their ids");
    ids.into_iter().map(|pid| u32::try_from(pid).expect("positive")).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

#[tokio::test]
async fn a_database_that_is_gone_for_a_while_is_written_again_when_it_is_back() {
    let server = tokio::task::spawn_blocking(|| Postgres::start(&[])).await.expect("it starts");
    let bus = Bus::start(Plan { evidence_store: EvidenceStore::At(server.url()), ..Plan::default() }).await;
    let load = Load::start(&bus, &load::asks(&bus), "gone").await;
    load.until(|counts| counts.answered > 2 * CALLS_IN_FLIGHT).await;
    let stopped = tokio::task::spawn_blocking(move || {
        let mut server = server;
        server.stop_immediately();
        server
    });
    let mut server = stopped.await.expect("stopped");
    load.until(|counts| counts.unrecorded > REFUSED_MIN).await;
    // Whoever comes to its port meanwhile finds that somebody else answers.
    let (_, address) = bus.store.split_once('@').expect("an address");
    let address: SocketAddr = address.split('/').next().unwrap_or_default().parse().expect("an address");
    let listener = TcpListener::bind(address).await.expect("its port is free");
    for _ in 0..ATTEMPTS {
        drop(patient(listener.accept()).await.expect("an attempt"));
    }
    drop(listener);
    let started = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    });
    let _server = started.await.expect("started");
    let before = load.counts().answered;
    load.until(|counts| counts.answered > before + 2 * CALLS_IN_FLIGHT).await;
    let told = load.stop().await;
    gaps(&bus, &told).await;
    back_and_whole(&bus, told).await;
}

/// Calls that are answered; what was told of them.
async fn answered(bus: &Bus, name: &str) -> Vec<Told> {
    let load = Load::start(bus, &load::asks(bus), name).await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    load.stop().await
}

async fn an_older_store_or_none_is_not_written_and_the_right_one_is(on: EvidenceStore) {
    let mut bus = Bus::start(Plan { evidence_store: on, ..Plan::default() }).await;
    let mut told = answered(&bus, "older").await;
    ended(&mut bus).await;
    let data = Data::of(&bus);
    data.copy("older").await;
    begin(&mut bus).await;
    told.extend(answered(&bus, "newer").await);
    ended(&mut bus).await;
    data.set_aside("right").await;
    // There is none: the gateway makes an empty one, and sees that it is not the one it signed.
    refused(&bus, &["has 0,"]).await;
    data.put("older").await;
    refused(&bus, &[]).await;
    data.put("right").await;
    begin(&mut bus).await;
    told.extend(answered(&bus, "right").await);
    let book = Book::read(&bus).await;
    told.iter().for_each(|one| book.holds(one));
    assert_eq!((book.processes, book.unknown), (3, 0), "who was refused has written nothing");
    book::whole(&bus, &told, Vec::new()).await;
}

#[tokio::test]
async fn a_store_in_a_file_without_its_log_is_not_written() {
    let mut bus = Bus::start(Plan::default()).await;
    let told = answered(&bus, "kept").await;
    bus.gateway.take().expect("it runs").kill();
    // What was committed last stands only here, until the file takes it in.
    let (wal, aside) = (bus.path("evidence.db-wal"), bus.path("aside"));
    let database = std::fs::read(bus.path("evidence.db")).expect("the store");
    std::fs::rename(&wal, &aside).expect("set aside");
    refused(&bus, &[]).await;
    std::fs::write(bus.path("evidence.db"), database).expect("as it was");
    std::fs::rename(&aside, &wal).expect("put back");
    begin(&mut bus).await;
    let book = Book::read(&bus).await;
    told.iter().for_each(|one| book.holds(one));
    book::whole(&bus, &told, Vec::new()).await;
}

async fn begin(bus: &mut Bus) {
    bus.gateway = Some(bus.start_gateway().await);
    bus.plugged(bus.gateway()).await;
    let plate = &bus.population.vehicles[0].plate;
    bus.portal().await.get(&format!("{VEHICLES}/GetVehicle"), json!({ "plate": plate })).await;
}

/// The gateway ends by itself when it is told to.
async fn ended(bus: &mut Bus) {
    let mut gateway = bus.gateway.take().expect("it runs");
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// A gateway does not start here, and says why and what to do.
async fn refused(bus: &Bus, more: &[&str]) {
    let mut gateway = Process::ura("gateway", &bus.path("gateway.toml"), &[]);
    let listens = gateway.said(&["the gateway listens"]).await;
    assert_eq!(listens, None, "it must not start");
    assert_eq!(gateway.ended().await.code(), Some(1));
    let said = gateway.lines().join("\n");
    let always = [
        "log `ura.test/gateway` was rolled back",
        "the checkpoint held in the folder of log keys covers",
        "Put back the newer store",
    ];
    for part in always.iter().chain(more) {
        assert!(said.contains(part), "{part} in:\n{said}");
    }
}
