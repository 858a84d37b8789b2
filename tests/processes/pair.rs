//! Two gateways of one bus on one PostgreSQL, each a process with a log, log keys and a database role of its own, so that
//! the server tells whose session is whose. They share epoch keys, directory and registers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use ura_evidence::{
    keys::log_keys_of_file,
    receipt::Trailer,
    registry::verify_registry,
    source::Source,
    store::{LogRow, Reader},
    verify::{Held, Report, Trust, verify},
};
use ura_log::note::Key;
use ura_runtime::clock::Clock;

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    load::Told,
    portal::{Portal, Reply},
    process::{Process, ura},
    world::{
        EvidenceStore, patient,
        postgres::Postgres,
        store::{ORIGIN, reader},
    },
};

/// Name of the second gateway's log.
pub const SECOND: &str = "ura.test/gateway-2";
/// Where the first goes on when its log was sealed.
pub const FIRST_AGAIN: &str = "ura.test/gateway/2";

/// Looks at a gateway that stands still before it counts as standing in a transaction.
const LOOKS: usize = 20;

/// Adapter's configuration, variable, and the name of its register at the mocks.
const ADAPTERS: [(&str, &str, &str); 3] = [
    ("arc-civil-status", "URA_CIVIL_STATUS_URL", ""),
    ("atk-property-tax", "URA_PROPERTY_TAX_URL", "property-tax"),
    ("mpb-vehicles", "URA_VEHICLES_URL", "vehicles"),
];

pub struct Pair {
    // In the order in which they end.
    pub second: Process,
    _adapters: Vec<Process>,
    /// With the first gateway.
    pub bus: Bus,
    pub reader: Reader,
    pub address: String,
    url: String,
    _server: Postgres,
}

impl Pair {
    /// Both serve. `more`: further lines of both for `[evidence]`.
    pub async fn start(more: &str) -> Self {
        let server = tokio::task::spawn_blocking(|| Postgres::start(&[])).await.expect("it starts");
        let url = server.url();
        let mut connection = PgConnection::connect(&url).await.expect("PostgreSQL");
        for role in ["first", "second"] {
            let create = format!("create role {role} superuser login password '{}'", server.password());
            raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.expect("a role");
        }
        connection.close().await.expect("closes");
        let address_of = |role: &str| url.replacen("postgres://ura:", &format!("postgres://{role}:"), 1);
        let evidence_store = EvidenceStore::At(address_of("first"));
        let mut bus = Bus::without_gateway(Plan {
            evidence_store,
            connections: Some(8),
            patient: true,
            ..Plan::default()
        })
        .await;
        let first = fs::read_to_string(bus.path("gateway.toml")).expect("a configuration") + more;
        fs::write(bus.path("gateway.toml"), &first).expect("a configuration");
        let second = [
            (format!("listen = \"{}\"", bus.address), "listen = \"127.0.0.1:0\"".to_owned()),
            (address_of("first"), address_of("second")),
            ("log_keys = \"log-keys\"".to_owned(), "log_keys = \"log-keys-2\"".to_owned()),
            (format!("origin = \"{ORIGIN}\""), format!("origin = \"{SECOND}\"")),
        ];
        let second = second.iter().fold(first, |text, (from, to)| {
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to)
        });
        fs::write(bus.path("gateway-2.toml"), second).expect("a configuration");
        bus.gateway = Some(bus.start_gateway().await);
        let second = Process::ura("gateway", &bus.path("gateway-2.toml"), &[]);
        let address = second.tells(&["the gateway listens"], "address").await;
        let adapters = adapters(&bus, &address).await;
        bus.plugged(bus.gateway()).await;
        bus.plugged(&second).await;
        let reader = reader(&url).await;
        let pair = Self { second, _adapters: adapters, bus, reader, address, url, _server: server };
        pair.listed(&[(ORIGIN, false), (SECOND, false)]).await;
        pair
    }

    /// A connection past both gateways.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("PostgreSQL")
    }

    /// A connection of the portal to the second gateway.
    pub async fn portal(&self) -> Portal {
        Portal::connect(&self.bus.identity("ais/portal"), &self.address).await
    }

    /// File of the public key of a log.
    pub fn key_file(&self, origin: &str) -> PathBuf {
        let folder = if origin == SECOND { "log-keys-2" } else { "log-keys" };
        self.bus.path(folder).join("000001.log.pub")
    }

    /// The public key of a gateway's first log.
    pub fn key(&self, origin: &str) -> Key {
        log_keys_of_file(&self.key_file(origin)).expect("a public key").remove(0)
    }

    pub async fn log(&self, origin: &str) -> LogRow {
        Box::pin(self.reader.log_by_origin(origin)).await.expect("readable").expect("it is there")
    }

    /// Waits until the registry lists exactly these logs so, nothing is wrong with it, and whoever knows the key of one
    /// of those that live knows the keys of all.
    pub async fn listed(&self, logs: &[(&str, bool)]) {
        let living = if logs.contains(&(ORIGIN, false)) { &[ORIGIN, SECOND][..] } else { &[SECOND][..] };
        for origin in living {
            let given = [self.key(origin)];
            patient(async {
                loop {
                    let report = Box::pin(verify_registry(&self.reader, &given)).await.expect("readable");
                    assert_eq!(report.problems, []);
                    let says = report.logs.iter().map(|log| (log.origin.as_str(), log.sealed));
                    let is_known = report.logs.iter().all(|log| report.keys.contains(&log.key));
                    if says.eq(logs.iter().copied()) && is_known {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }

    /// Verifies a log by these keys, and against what consumers were told; nothing must be wrong.
    pub async fn verified(&self, origin: &str, keys: &[Key], told: &[Told]) -> Report {
        let report = self.judged(origin, keys, told).await;
        assert!(report.is_sound(), "{origin}: {report:#?}");
        report
    }

    /// What is found of a log by these keys, and against what consumers were told.
    pub async fn judged(&self, origin: &str, keys: &[Key], told: &[Told]) -> Report {
        let trailers = told.iter().filter_map(|one| one.trailer.as_ref());
        let held = trailers.filter(|trailer| trailer.log == origin).map(|trailer| Held::Receipt {
            origin: trailer.log.clone(),
            index: trailer.index,
            leaf_hash: trailer.leaf_hash,
        });
        let (held, now_us) = (held.collect(), Some(Clock::system().unix_us()));
        let trust = Trust { keys: keys.to_vec(), held, now_us, ..Trust::default() };
        let source = Source::store(self.reader.clone(), self.log(origin).await);
        Box::pin(verify(source, &trust, |_, _| {})).await.expect("readable")
    }

    /// `ura evidence verify` of the store with the keys of these logs, which must find nothing wrong.
    pub fn verify_by_command(&self, keys: &[&str]) -> String {
        let mut command = ura();
        command.args(["evidence", "verify", "--store", &self.url]);
        for origin in keys {
            command.arg("--key").arg(self.key_file(origin));
        }
        let (code, said) = run(&mut command);
        assert_eq!(code, Some(0), "with the keys of {keys:?}: {said}");
        said
    }

    /// `ura evidence seal`, with the configuration of one of both: exit code and what it said.
    pub fn seal_by_command(&self, origin: &str, config: &str) -> (Option<i32>, String) {
        let mut command = ura();
        command.args(["evidence", "seal", origin, "--reason", "by hand", "--config"]);
        run(command.arg(self.bus.path(config)))
    }

    /// Calls of each kind by the portal, one after the other: two reads, one whose reply names its subject, and a write.
    /// Each must be answered.
    pub async fn ask(&self, portal: &Portal, name: &str) -> Vec<Reply> {
        let people = &self.bus.population;
        let number = &people.people[20].personal_number;
        let is_open = |one: &&ura_registry_mocks::population::Invoice| !one.cancelled && one.paid_cents == 0;
        let invoice = people.invoices.iter().filter(is_open).find(|one| one.total_cents() > 2000);
        let payment = json!({
            "uniref": invoice.expect("one is open").uniref, "amount": { "currencyCode": "EUR", "minorUnits": 1 },
            "paidOn": { "year": 2026, "month": 6, "day": 1 }, "payer": { "name": "Çelik" },
        });
        let identity = json!({ "personalNumber": number, "givenName": "A", "familyName": "B" });
        let calls = [
            (format!("{CIVIL}/VerifyIdentity"), identity),
            (format!("{TAX}/ListInvoices"), json!({ "personalNumber": number })),
            (format!("{VEHICLES}/GetVehicle"), json!({ "plate": people.vehicles[0].plate })),
            (format!("{TAX}/ConfirmPayment"), payment),
        ];
        let mut replies = Vec::new();
        for (method, request) in calls {
            let key = [("idempotency-key", name)];
            let more = if method.ends_with("/ConfirmPayment") { &key[..] } else { &[] };
            let reply = portal.ask_with(&method, more, request).await;
            assert_eq!(reply.ended.status(), 0, "{method}: {reply:?}");
            replies.push(reply);
        }
        replies
    }

    /// Lets the first gateway stand still (SIGSTOP) in the middle of a transaction that locks its log, whatever attempts
    /// that takes. It must be under load.
    pub async fn stop_in_transaction(&self, connection: &mut PgConnection) {
        let gateway = self.bus.gateway();
        let hit = async {
            loop {
                gateway.signal("STOP");
                while !stands_still(gateway.pid()) || self.is_served(connection).await {
                    tokio::task::yield_now().await;
                }
                if self.is_in_transaction(connection).await {
                    return;
                }
                gateway.signal("CONT");
                tokio::task::yield_now().await;
            }
        };
        patient(hit).await;
    }

    /// Whether the server still works on something that the first gateway asked for, or has not read it yet. What waits
    /// for a lock of the first itself goes on waiting.
    async fn is_served(&self, connection: &mut PgConnection) -> bool {
        let sessions = "select client_port, state = 'active' and wait_event_type is distinct from 'Lock' \
                        from pg_stat_activity where usename = 'first'";
        let sessions = sqlx::query_as(sessions).fetch_all(connection).await.expect("asked");
        let server = self.url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        let server: i32 = server.expect("a port");
        let sockets = fs::read_to_string("/proc/net/tcp").expect("readable");
        sessions.iter().any(|(port, is_active): &(i32, Option<bool>)| {
            *is_active != Some(false) || is_underway(&sockets, *port, server)
        })
    }

    /// Whether a session of the first gateway stands in a transaction, and one locks its log, as often as one looks:
    /// between reading a request and saying so the server is seen to do nothing.
    async fn is_in_transaction(&self, connection: &mut PgConnection) -> bool {
        let idle =
            "select count(*) from pg_stat_activity where usename = 'first' and state = 'idle in transaction'";
        for _ in 0..LOOKS {
            let sessions: i64 = sqlx::query_scalar(idle).fetch_one(&mut *connection).await.expect("asked");
            if sessions == 0 || !self.is_locked(connection, ORIGIN).await {
                return false;
            }
        }
        true
    }

    /// Whether somebody's transaction locks the row of a log.
    pub async fn is_locked(&self, connection: &mut PgConnection, origin: &str) -> bool {
        let free = sqlx::query("select log from log where origin = $1 for update skip locked").bind(origin);
        free.fetch_optional(connection).await.expect("asked").is_none()
    }
}

/// An adapter of each contract that plugs into the gateway at this address.
async fn adapters(bus: &Bus, address: &str) -> Vec<Process> {
    let registers: Value = bus.ask_mocks("/registers").await;
    let mut adapters = Vec::new();
    for (name, variable, register) in ADAPTERS {
        let text = fs::read_to_string(bus.path(&format!("{name}.toml"))).expect("a configuration");
        let config = bus.path(&format!("{name}-2.toml"));
        fs::write(&config, text.replace(&bus.address, address)).expect("a configuration");
        let url = match register {
            "" => format!("sqlite:{}", bus.path("civil-status.db").display()),
            register => registers[register]["url"].as_str().expect("a url").to_owned(),
        };
        adapters.push(Process::ura("adapter run", &config, &[(variable, url)]));
    }
    adapters
}

/// Whether every thread of a process is stopped (proc(5), `stat`, field 3).
fn stands_still(pid: u32) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
    threads.all(|thread| {
        let stat = fs::read_to_string(thread.expect("a thread").path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

/// Whether bytes from the port `from` to the port `to` are not read yet (proc(5), `/proc/net/tcp`: local and remote
/// address, state, and the bytes that wait to be sent and to be read, in hexadecimal).
fn is_underway(sockets: &str, from: i32, to: i32) -> bool {
    let port = |address: &str| {
        let (_, port) = address.split_once(':').unwrap_or_default();
        i32::from_str_radix(port, 16).unwrap_or_default()
    };
    sockets.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (port(fields[1]), port(fields[2]));
        let (unsent, unread) = fields[4].split_once(':').unwrap_or_default();
        let waits = |bytes: &str| bytes != "00000000";
        ((local, remote) == (from, to) && waits(unsent)) || ((local, remote) == (to, from) && waits(unread))
    })
}

/// Sessions of the second gateway that wait for a lock, and for whom.
pub async fn waiting(connection: &mut PgConnection) -> Vec<String> {
    let waiting = "select a.pid || ' waits for ' || coalesce(a.wait_event, '') || ' of ' || pg_blocking_pids(a.pid)::text \
                   || ' in ' || a.query from pg_stat_activity a where a.usename = 'second' \
                   and (a.wait_event_type = 'Lock' or cardinality(pg_blocking_pids(a.pid)) > 0)";
    sqlx::query_scalar(waiting).fetch_all(connection).await.expect("asked")
}

/// The receipt that came with a reply.
pub fn trailer(reply: &Reply) -> Trailer {
    let value = reply.ended.trailers.get("ura-receipt").expect("a receipt").to_str().expect("text");
    value.parse().unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// Runs a command to its end: exit code and what it said.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// An export of a log into a folder by the command.
pub fn export_by_command(pair: &Pair, origin: &str, config: &str, folder: &Path) {
    let mut command = ura();
    command.args(["evidence", "export", "--log", origin, "--config"]).arg(pair.bus.path(config)).arg(folder);
    let (code, said) = run(&mut command);
    assert_eq!(code, Some(0), "{said}");
}
