//! Logs of a store and their leases.

use super::{
    LogRow, NewLease, StoreError,
    link::{Link, execute, fetch, signed, unsigned},
    read::ROWS_MAX,
};

/// The columns of a log, in the order of [`Columns`].
macro_rules! columns {
    () => {
        "log, origin, gateway, token, holder, previous_token, previous_holder, last_token, beat, renewed_us, size, swept, sealed, mark"
    };
}

type Columns = (i64, String, String, i64, String, i64, String, i64, i64, i64, i64, i64, i64, Vec<u8>);

fn row(columns: Columns) -> Result<LogRow, StoreError> {
    let (
        log,
        origin,
        gateway,
        token,
        holder,
        previous_token,
        previous_holder,
        last_token,
        beat,
        renewed_us,
        size,
        swept,
        sealed,
        mark,
    ) = columns;
    Ok(LogRow {
        size: unsigned(size, || format!("size of log `{origin}`"))?,
        swept: unsigned(swept, || format!("swept of log `{origin}`"))?,
        log,
        origin,
        gateway,
        token,
        holder,
        previous_token,
        previous_holder,
        last_token,
        beat,
        renewed_us,
        sealed: sealed != 0,
        mark,
    })
}

/// All logs, by their numbers.
pub(super) async fn all(link: Link<'_>) -> Result<Vec<LogRow>, StoreError> {
    let rows: Vec<Columns> =
        fetch!(link, concat!("select ", columns!(), " from log order by log limit $1"), i64::from(ROWS_MAX))?;
    rows.into_iter().map(row).collect()
}

/// The log of a name.
pub(super) async fn by_origin(link: Link<'_>, origin: &str) -> Result<Option<LogRow>, StoreError> {
    let rows: Vec<Columns> =
        fetch!(link, concat!("select ", columns!(), " from log where origin = $1"), origin)?;
    rows.into_iter().next().map(row).transpose()
}

/// Takes a lease, if the log still is as it was seen; where nobody is left to go on beside, also if nobody gave a sign
/// of life since.
pub(super) async fn take(
    link: Link<'_>,
    log: i64,
    seen: &LogRow,
    lease: &NewLease,
) -> Result<bool, StoreError> {
    if lease.token <= seen.last_token {
        let (token, last) = (lease.token, seen.last_token);
        return Err(StoreError::Misuse(format!("token {token} was given before: the last one is {last}")));
    }
    let taken = execute!(
        link,
        "update log set token = $2, holder = $3, previous_token = $4, previous_holder = $5, last_token = $2, beat = beat + 1 \
         where log = $1 and sealed = 0 and token = $6 and previous_token = $7 and last_token = $8 \
         and ($4 <> 0 or beat = $9)",
        log,
        lease.token,
        lease.holder.as_str(),
        lease.previous_token,
        lease.previous_holder.as_str(),
        seen.token,
        seen.previous_token,
        seen.last_token,
        seen.beat
    )?;
    Ok(taken == 1)
}

/// Keeps the first checkpoint beyond an entry when checkpoints are thinned out.
pub(super) async fn keep_checkpoint(link: Link<'_>, log: i64, index: i64) -> Result<(), StoreError> {
    execute!(
        link,
        "update checkpoint set kept = 1 where log = $1 \
         and size = (select min(size) from checkpoint where log = $1 and size > $2)",
        log,
        index
    )?;
    Ok(())
}

/// Gives a token back, whichever place it has.
pub(super) async fn release(link: Link<'_>, log: i64, token: i64) -> Result<(), StoreError> {
    execute!(
        link,
        "update log set beat = beat + 1, \
         token = case when token = $2 then 0 else token end, \
         holder = case when token = $2 then '' else holder end, \
         previous_token = case when previous_token = $2 then 0 else previous_token end, \
         previous_holder = case when previous_token = $2 then '' else previous_holder end \
         where log = $1 and $2 > 0 and (token = $2 or previous_token = $2)",
        log,
        token
    )?;
    Ok(())
}

/// Reserves `rows` indexes for the holder of a token; the first of them, and the mark that stands. `None`: fenced.
pub(super) async fn reserve(
    link: Link<'_>,
    log: i64,
    token: i64,
    rows: u64,
    now_us: i64,
) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let reserved: Vec<(i64, Vec<u8>)> = fetch!(
        link,
        "update log set size = size + $3, beat = beat + 1, renewed_us = $4 \
         where log = $1 and sealed = 0 and $2 > 0 and (token = $2 or previous_token = $2) returning size - $3, mark",
        log,
        token,
        signed(rows)?,
        now_us
    )?;
    Ok(reserved.into_iter().next())
}

/// Reserves `rows` indexes for one without a token; the first of them, and the mark that stands. `None`: sealed.
pub(super) async fn reserve_as_guest(
    link: Link<'_>,
    log: i64,
    rows: u64,
) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let reserved: Vec<(i64, Vec<u8>)> = fetch!(
        link,
        "update log set size = size + $2 where log = $1 and sealed = 0 returning size - $2, mark",
        log,
        signed(rows)?
    )?;
    Ok(reserved.into_iter().next())
}

/// Why a log may not be written.
pub(super) async fn fenced(link: Link<'_>, log: i64) -> Result<StoreError, StoreError> {
    let rows: Vec<(String, i64)> = fetch!(link, "select holder, sealed from log where log = $1", log)?;
    Ok(match rows.into_iter().next() {
        Some((holder, sealed)) => StoreError::Fenced { log, sealed: sealed != 0, holder },
        None => StoreError::Misuse(format!("there is no log {log}")),
    })
}
