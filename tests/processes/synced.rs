//! A record is synced before the reply leaves: shown at the system calls of a gateway under strace,
//! and shown that the check sees it where a trace says otherwise.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    portal::{Portal, padded, purpose},
    process::value,
    system_calls::{Asked, Proof, ROOM_BYTES, Sockets, parse, prove},
};

const WRITES: usize = 8;
const READS: usize = 24;
/// More than a handshake and a first call together.
const FIRST_BYTES: i64 = 12_000;
/// Characters of a trace line that a failure shows.
const SHOWN_CHARS_MAX: usize = 220;

/// Runs the bus's program under strace, which stands aside: the gateway stays the test's own child.
fn traced(into: &std::path::Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-ttt", "-yy", "-x", "-s", "4200"]);
    command.args([
        "-e",
        "signal=none",
        "-e",
        "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg,read,recvfrom,recvmsg",
    ]);
    command.arg("-o").arg(into).arg(env!("CARGO_BIN_EXE_ura"));
    command
}

async fn ask_all(bus: &Bus, portal: &Portal) -> Vec<Asked> {
    let invoices: Vec<_> = bus
        .population
        .invoices
        .iter()
        .filter(|one| !one.cancelled && one.paid_cents == 0)
        .take(WRITES)
        .collect();
    let mut asked = Vec::new();
    // Writes first: their closings are on disk when they end, those of reads follow later.
    for (at, invoice) in invoices.iter().enumerate() {
        let request = json!({
            "uniref": invoice.uniref, "amount": { "currencyCode": "EUR", "minorUnits": 1 },
            "paidOn": { "year": 2026, "month": 6, "day": 1 }, "payer": { "name": "Ardita" },
        });
        let key = format!("traced-{at}");
        let method = format!("{TAX}/ConfirmPayment");
        let metadata = [("idempotency-key", key.as_str())];
        asked.push(ask(portal, &method, &metadata, request, at).await);
    }
    for (at, person) in bus.population.people.iter().take(READS).enumerate() {
        let request =
            json!({ "personalNumber": person.personal_number, "givenName": "A", "familyName": "B" });
        asked.push(ask(portal, &format!("{CIVIL}/VerifyIdentity"), &[], request, WRITES + at).await);
    }
    asked
}

/// A call whose size no other has.
async fn ask(portal: &Portal, method: &str, metadata: &[(&str, &str)], request: Value, at: usize) -> Asked {
    let bytes = FIRST_BYTES + ROOM_BYTES * i64::try_from(at).expect("few");
    let frame = padded(method, request, usize::try_from(bytes).expect("positive"));
    let mut all = vec![("ura-purpose", purpose(method))];
    all.extend(metadata);
    let ended = portal.client.send(&format!("/{method}"), &all, &[frame]).await;
    assert_eq!((ended.status(), ended.messages.len()), (0, 1), "{ended:?}");
    Asked { exchange: ended.exchange(), write: !metadata.is_empty(), bytes }
}

#[tokio::test]
async fn no_reply_leaves_before_its_record_is_synced() {
    let mut bus = Bus::without_gateway(Plan { connections: Some(1), ..Plan::default() }).await;
    let file = bus.path("gateway.strace");
    bus.gateway = Some(bus.start_gateway_under(traced(&file), &[]).await);
    bus.plugged(bus.gateway()).await;
    let portal = bus.portal().await;
    // A first call by itself, so that the handshake's frames are no part of the others.
    portal.get(&format!("{VEHICLES}/GetVehicle"), json!({ "plate": bus.population.vehicles[0].plate })).await;
    let asked = ask_all(&bus, &portal).await;
    drop(portal);
    let mut gateway = bus.gateway.take().expect("it runs");
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    // Read at the end: an adapter that got no answer for a while has plugged in again.
    let plugged = gateway.lines();
    let plugs = plugged.iter().filter(|line| line.contains(" plugged in "));
    let plugs = plugs.map(|line| value(line, "address").expect("its address").to_owned()).collect();
    let sockets = Sockets { gateway: bus.address.clone(), plugs };

    let trace = std::fs::read_to_string(&file).expect("a trace");
    let calls = parse(&trace);
    let shown = |proof: &Proof| shown(&trace, proof);
    let proofs = prove(&calls, &sockets, &asked).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(proofs.len(), WRITES + READS);
    for proof in &proofs {
        let order = [proof.rows_written, proof.sync_began, proof.sync_returned, proof.replied, proof.ended];
        assert!(proof.arrived < proof.replied && order.is_sorted(), "{proof:?}\n{}", shown(proof));
    }
    println!("the last call's lines:\n{}", shown(&proofs[proofs.len() - 1]));

    // The check fails on the same trace where one call's lines stand otherwise.
    for at in [0, WRITES, proofs.len() - 1] {
        let proof = &proofs[at];
        for (name, doctored) in doctored(&trace, proof) {
            let found = prove(&parse(&doctored), &sockets, &asked);
            assert!(found.is_err(), "{name} at call {at} was not seen:\n{}", shown(proof));
        }
    }
}

/// Traces of a gateway that does not keep its promise.
fn doctored(trace: &str, proof: &Proof) -> Vec<(&'static str, String)> {
    let lines: Vec<&str> = trace.lines().collect();
    let synced = |line: &str| line.contains("fdatasync") || line.contains("fsync");
    let within = |at: usize| (proof.sync_began..proof.replied).contains(&at);
    let join = |lines: Vec<&str>| lines.join("\n");
    let without = lines.iter().enumerate().filter(|(at, line)| !(within(*at) && synced(line)));
    let failed: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| {
            if within(at) && synced(line) {
                line.replace("= 0", "= -1 EIO (Input/output error)")
            } else {
                (*line).to_owned()
            }
        })
        .collect();
    let moved = |from: usize, to: usize| {
        let mut lines = lines.clone();
        let line = whole(&mut lines, from);
        lines.remove(from);
        lines.insert(to, &line);
        join(lines)
    };
    let mut during: Vec<&str> = lines.clone();
    during[proof.sync_returned] = "";
    during[proof.sync_began] = "99999 1.0 fsync(0</tmp/evidence.db-wal> <unfinished ...>";
    during.insert(proof.replied + 1, "99999 1.1 <... fsync resumed>) = 0");
    let mut all = vec![
        ("a missing sync", join(without.map(|(_, line)| *line).collect())),
        ("a failed sync", failed.join("\n")),
        ("a reply before the sync", moved(proof.replied, proof.sync_began)),
        ("a reply during the sync", join(during)),
    ];
    if let Some((forwarded, closing_sync_began)) = proof.write {
        all.push(("a write forwarded before the sync", moved(forwarded, proof.sync_began)));
        all.push(("an end before the closing's sync", moved(proof.ended, closing_sync_began)));
    }
    all
}

/// One system call in one line, also where the trace has it in two: its thread's other calls may then stand between.
fn whole(lines: &mut [&str], at: usize) -> String {
    let Some(begun) = lines[at].strip_suffix("<unfinished ...>") else { return lines[at].to_owned() };
    let thread = begun.split(' ').next().expect("its number");
    let ends = |line: &&mut &str| {
        line.split(' ').next() == Some(thread) && line.contains(" <... ") && line.contains(" resumed>")
    };
    let end = lines[at + 1..].iter_mut().find(ends).expect("it ended");
    let (_, rest) = std::mem::take(end).split_once(" resumed>").expect("found by it");
    begun.to_owned() + rest
}

/// The lines of one call, cut to a length that can be read.
fn shown(trace: &str, proof: &Proof) -> String {
    let from = proof.arrived.min(proof.rows_written);
    let lines = trace.lines().enumerate().skip(from).take(proof.ended + 1 - from);
    let interesting = |line: &(usize, &str)| {
        line.1.contains("evidence.db-wal") || line.1.contains("sync") || line.1.contains("TCP:[")
    };
    let cut = |(at, line): (usize, &str)| {
        format!("{at:6} {}", line.chars().take(SHOWN_CHARS_MAX).collect::<String>())
    };
    lines.filter(interesting).map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_trace_is_read_call_by_call() {
    let trace = r#"
100 1.000 recvfrom(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x17\x03, \"(", 4096, 0, NULL, NULL) = 12
101 1.001 fdatasync(5</tmp/evidence.db-wal> <unfinished ...>
100 1.002 sendto(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "a = b", 5, MSG_NOSIGNAL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)
100 1.003 --- SIGTERM {si_signo=SIGTERM} ---
101 1.004 <... fdatasync resumed>)         = 0
102 1.005 pwrite64(5</tmp/evidence.db-wal>, "x", 1, 0 <unfinished ...>
100 1.006 +++ exited with 0 +++
"#;
    let calls = parse(trace);
    let told: Vec<_> = calls
        .iter()
        .map(|call| (call.begin, call.end, call.name.as_str(), call.on.as_str(), call.result))
        .collect();
    let (socket, file) = ("7<TCP:[127.0.0.1:1->127.0.0.1:2]>", "5</tmp/evidence.db-wal>");
    assert_eq!(
        told,
        [(1, 1, "recvfrom", socket, 12), (2, 5, "fdatasync", file, 0), (3, 3, "sendto", socket, -1)]
    );
}
