//! What strace saw of a gateway, and the check that no reply left before its record was on disk.
//!
//! strace stops a thread before and after each call, and writes what it saw in that order. A call
//! whose end stands before another's begin had returned to the program before the other began.

use std::collections::HashMap;

use ura_proto::ExchangeId;

/// One system call of the trace. `begin` and `end` are line numbers from 0; they differ where other
/// threads came in between.
#[derive(Debug)]
pub struct SystemCall {
    pub begin: usize,
    pub end: usize,
    pub name: String,
    /// The first argument, for files and sockets with what it stands for: `9</tmp/x>`.
    pub on: String,
    pub arguments: String,
    /// What it returned; -1 also for a call that never did.
    pub result: i64,
}

/// Reads `strace -f -ttt -yy -x` output; lines that are no calls (signals, exits) are left out.
pub fn parse(trace: &str) -> Vec<SystemCall> {
    let mut begun: HashMap<&str, (usize, String, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.trim_start().split_once(' ') else { continue };
        let Some((_time, text)) = rest.trim_start().split_once(' ') else { continue };
        let (begin, name, text) = if let Some(resumed) = text.strip_prefix("<... ") {
            let Some((begin, name, before)) = begun.remove(pid) else { continue };
            let Some((_, after)) = resumed.split_once("resumed>") else { continue };
            (begin, name, before + after)
        } else {
            let Some((name, arguments)) = text.split_once('(') else { continue };
            if let Some(before) = arguments.strip_suffix(" <unfinished ...>") {
                begun.insert(pid, (at, name.to_owned(), before.to_owned()));
                continue;
            }
            (at, name.to_owned(), arguments.to_owned())
        };
        let Some((arguments, result)) = text.rsplit_once(" = ") else { continue };
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        let on = arguments.split(',').next().unwrap_or_default().to_owned();
        let result = result.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(-1);
        calls.push(SystemCall { begin, end: at, name, on, arguments, result });
    }
    calls.sort_by_key(|call| call.begin);
    calls
}

impl SystemCall {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// Bytes of a call that came in.
    fn is_arrival(&self) -> bool {
        self.is(&["read", "recvfrom", "recvmsg"]) && self.result > CONTROL_BYTES_MAX
    }

    /// Bytes of a call that went out.
    fn is_departure(&self) -> bool {
        self.is(&["write", "writev", "sendto", "sendmsg"]) && self.result > CONTROL_BYTES_MAX
    }

    /// A write of rows into the log's write-ahead file.
    fn is_log_write(&self) -> bool {
        self.is(&["pwrite64", "write"]) && self.on.ends_with("evidence.db-wal>")
    }

    /// A completed sync of that file.
    fn is_log_sync(&self) -> bool {
        self.is(&["fdatasync", "fsync"]) && self.on.ends_with("evidence.db-wal>") && self.result == 0
    }
}

/// A call of the consumer, as the consumer knows it.
pub struct Asked {
    pub exchange: ExchangeId,
    pub write: bool,
    /// Its request is longer than this by less than [`ROOM_BYTES`]; no other call's is: so its turn is known.
    pub bytes: i64,
}

/// Room for the metadata and the frames of HTTP/2 and TLS around a request.
pub const ROOM_BYTES: i64 = 1000;

/// Where a trace must be looked at.
pub struct Sockets {
    /// The gateway's address.
    pub gateway: String,
    /// Addresses of the adapters' ends of their plugs.
    pub plugs: Vec<String>,
}

/// Places in the trace that prove one call, as line numbers from 0.
#[derive(Debug)]
pub struct Proof {
    pub arrived: usize,
    pub rows_written: usize,
    pub sync_began: usize,
    pub sync_returned: usize,
    /// First byte to the consumer.
    pub replied: usize,
    /// Last bytes to the consumer: the trailers.
    pub ended: usize,
    /// Of a write: where it was forwarded, and where the sync of its closing began.
    pub write: Option<(usize, usize)>,
}

/// What the gateway itself asks of an adapter is shorter than this; the calls of a trace are longer.
const FORWARDED_BYTES_MIN: i64 = 4096;
/// HTTP/2 frames of a connection itself (pings, settings, windows) are no longer than this inside TLS, and come and
/// go when they will. What begins or ends a call is longer: its metadata has the exchange id.
const CONTROL_BYTES_MAX: i64 = 64;

/// Proves for calls of the trace's one consumer that no byte of the reply left before the
/// opening record was synced; and for writes, that nothing was forwarded before that and that the
/// end of the reply left only when the closing was synced too.
///
/// # Errors
/// The first call that is not proved, and why.
pub fn prove(calls: &[SystemCall], sockets: &Sockets, asked: &[Asked]) -> Result<Vec<Proof>, String> {
    let own_end = format!("[{}->", sockets.gateway);
    let is_plug =
        |call: &SystemCall| sockets.plugs.iter().any(|plug| call.on.contains(&format!("->{plug}]")));
    let (plugs, consumer): (Vec<&SystemCall>, Vec<&SystemCall>) =
        calls.iter().filter(|call| call.on.contains(&own_end)).partition(|call| is_plug(call));
    let turns = turns(&consumer);
    let one = |(at, asked): (usize, &Asked)| {
        let fits = |turn: &&Turn<'_>| (asked.bytes..asked.bytes + ROOM_BYTES).contains(&turn.bytes());
        let found: Vec<_> = turns.iter().filter(fits).collect();
        let [turn] = found.as_slice() else {
            let lines =
                |turn: &&Turn<'_>| (turn.arrivals[0].begin, turn.bytes(), turn.arrivals[0].on.clone());
            let found: Vec<_> = found.iter().map(lines).collect();
            return Err(format!("call {at}: {} bytes are those of the turns {found:?}", asked.bytes));
        };
        proof(calls, &plugs, turn, asked).map_err(|why| format!("call {at}, {}: {why}", asked.exchange))
    };
    asked.iter().enumerate().map(one).collect()
}

/// Bytes in, then bytes out.
#[derive(Default)]
struct Turn<'t> {
    arrivals: Vec<&'t SystemCall>,
    departures: Vec<&'t SystemCall>,
}

impl Turn<'_> {
    fn bytes(&self) -> i64 {
        self.arrivals.iter().map(|call| call.result).sum()
    }
}

/// The turns of one connection; one without an answer is none.
fn turns<'t>(connection: &[&'t SystemCall]) -> Vec<Turn<'t>> {
    let mut turns: Vec<Turn<'t>> = Vec::new();
    for call in connection {
        if call.is_arrival() {
            if turns.last().is_none_or(|turn| !turn.departures.is_empty()) {
                turns.push(Turn::default());
            }
            turns.last_mut().expect("pushed above").arrivals.push(call);
        } else if call.is_departure()
            && let Some(turn) = turns.last_mut()
        {
            turn.departures.push(call);
        }
    }
    turns.retain(|turn| !turn.departures.is_empty());
    turns
}

fn proof(
    calls: &[SystemCall],
    plugs: &[&SystemCall],
    turn: &Turn<'_>,
    asked: &Asked,
) -> Result<Proof, String> {
    let arrived = turn.arrivals.last().expect("a turn begins with one").end;
    let replied = turn.departures.first().expect("a turn without is none").begin;
    let ended = turn.departures.last().expect("a turn without is none").begin;
    // The exchange id stands in the row in its 16 bytes.
    let id: String = asked.exchange.as_bytes().iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let rows_after = |line: usize| {
        calls.iter().find(|call| call.is_log_write() && call.begin > line && call.arguments.contains(&id))
    };
    let synced_after = |line: usize| calls.iter().find(|call| call.is_log_sync() && call.begin > line);
    let rows = rows_after(0).ok_or("its rows were never written")?;
    if rows.begin < turn.arrivals[0].end {
        return Err("its rows were written before it arrived".to_owned());
    }
    let sync = synced_after(rows.end).ok_or("its rows were never synced")?;
    if sync.end >= replied {
        return Err(format!(
            "the sync returned in line {}, the reply began to leave in line {replied}",
            sync.end
        ));
    }
    let write = if asked.write {
        let forwarded = forwarded(plugs, turn).ok_or("nothing was forwarded")?;
        if sync.end >= forwarded {
            let returned = sync.end;
            return Err(format!("forwarded in line {forwarded}, the sync returned in line {returned}"));
        }
        let closing = rows_after(sync.end).ok_or("its closing was never written")?;
        let closed = synced_after(closing.end).ok_or("its closing was never synced")?;
        if closed.end >= ended {
            return Err(format!(
                "the closing was synced in line {}, the end left in line {ended}",
                closed.end
            ));
        }
        Some((forwarded, closed.begin))
    } else {
        None
    };
    Ok(Proof {
        arrived,
        rows_written: rows.begin,
        sync_began: sync.begin,
        sync_returned: sync.end,
        replied,
        ended,
        write,
    })
}

/// Where the first byte of a call left for an adapter: on the plug that then carries its long request.
fn forwarded(plugs: &[&SystemCall], turn: &Turn<'_>) -> Option<usize> {
    let since = |call: &&&SystemCall| call.is_departure() && call.begin > turn.arrivals[0].end;
    let body = plugs.iter().filter(since).find(|call| call.result >= FORWARDED_BYTES_MIN)?;
    let on_it = |call: &&&SystemCall| call.on == body.on;
    plugs.iter().filter(since).find(on_it).map(|call| call.begin)
}
