//! Queries that are put together from what is searched for. Values are bound, never written into the text.

use sqlx::{Database, Encode, QueryBuilder, Type};
use ura_log::Hash;
use ura_proto::ExchangeId;

use super::{Cursor, Filter, StoreError, link::signed};
use crate::entry::kind;

/// A database to which the values of a search can be bound.
pub(super) trait Searched: Database<Arguments: Default> {
    fn number(query: &mut QueryBuilder<Self>, value: i64);
    fn text(query: &mut QueryBuilder<Self>, value: &str);
    fn bytes(query: &mut QueryBuilder<Self>, value: &[u8]);
}

impl<DB: Database> Searched for DB
where
    for<'v> i64: Encode<'v, DB> + Type<DB>,
    for<'v> String: Encode<'v, DB> + Type<DB>,
    for<'v> Vec<u8>: Encode<'v, DB> + Type<DB>,
{
    fn number(query: &mut QueryBuilder<Self>, value: i64) {
        query.push_bind(value);
    }

    fn text(query: &mut QueryBuilder<Self>, value: &str) {
        query.push_bind(value.to_owned());
    }

    fn bytes(query: &mut QueryBuilder<Self>, value: &[u8]) {
        query.push_bind(value.to_vec());
    }
}

/// Entries that fit a filter, newest first.
pub(super) fn find_query<DB: Searched>(
    filter: &Filter,
    after: Option<Cursor>,
    limit: i64,
) -> Result<QueryBuilder<DB>, StoreError> {
    let mut query = QueryBuilder::new(super::found::select!("where 1 = 1"));
    let openings = filter.consumer.is_some()
        || filter.provider.is_some()
        || filter.method.is_some()
        || filter.trace_id.is_some();
    // The conditions of the partial indexes are written out: by them the planner knows that it may use those.
    if openings {
        query.push(" and e.kind = 10");
    } else if filter.reason.is_none() && filter.kind.is_none() {
        query.push(" and (e.kind = 10 or e.kind >= 13)");
    }
    match filter.kind {
        Some(kind @ kind::OPENING) => equal(&mut query, "(e.kind = 10 or e.kind >= 13) and e.kind", kind),
        Some(kind @ kind::GAP..) => equal(&mut query, "e.kind >= 13 and e.kind", kind),
        Some(kind) => equal(&mut query, "e.kind", kind),
        None => {}
    }
    if let Some(log) = filter.log {
        // An expression, so that no planner takes the whole log for a good way to start.
        equal(&mut query, "e.log + 0", log);
    }
    if let Some(exchange) = filter.exchange {
        query.push(" and e.exchange_id = ");
        DB::bytes(&mut query, exchange.as_bytes());
    }
    if let Some(trace) = filter.trace_id {
        query.push(" and e.trace_id = ");
        DB::bytes(&mut query, &trace);
    }
    let texts = [
        (" and e.consumer = ", &filter.consumer),
        (" and e.provider = ", &filter.provider),
        (" and e.reason <> '' and e.reason = ", &filter.reason),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition);
            DB::text(&mut query, value);
        }
    }
    if let Some(method) = &filter.method {
        by_method(&mut query, method);
    }
    for (condition, value) in
        [(" and e.recorded_us >= ", filter.from_us), (" and e.recorded_us < ", filter.until_us)]
    {
        if let Some(value) = value {
            query.push(condition);
            DB::number(&mut query, value);
        }
    }
    newest_first(&mut query, "e", after, limit)?;
    Ok(query)
}

/// `column = value`, and all before it.
fn equal<DB: Searched>(query: &mut QueryBuilder<DB>, column: &'static str, value: i64) {
    query.push(" and ").push(column).push(" = ");
    DB::number(query, value);
}

/// One method, or all of a contract: those between `/` and the character behind it, `0`.
fn by_method<DB: Searched>(query: &mut QueryBuilder<DB>, method: &str) {
    let Some(contract) = method.strip_suffix('/') else {
        query.push(" and e.method = ");
        return DB::text(query, method);
    };
    query.push(" and e.method >= ");
    DB::text(query, method);
    query.push(" and e.method < ");
    DB::text(query, &format!("{contract}0"));
}

/// Goes on behind a place, in the order of time, backwards.
fn newest_first<DB: Searched>(
    query: &mut QueryBuilder<DB>,
    table: &'static str,
    after: Option<Cursor>,
    limit: i64,
) -> Result<(), StoreError> {
    if let Some(after) = after {
        query.push(format!(" and ({table}.recorded_us, {table}.log, {table}.log_index) < ("));
        DB::number(query, after.recorded_us);
        query.push(", ");
        DB::number(query, after.log);
        query.push(", ");
        DB::number(query, signed(after.index)?);
        query.push(")");
    }
    query
        .push(format!(" order by {table}.recorded_us desc, {table}.log desc, {table}.log_index desc limit "));
    DB::number(query, limit);
    Ok(())
}

/// Entries of these exchanges, in the order of the logs.
pub(super) fn exchanges_query<DB: Searched>(exchanges: &[ExchangeId], limit: i64) -> QueryBuilder<DB> {
    let mut query = QueryBuilder::new(super::found::select!("where e.exchange_id in ("));
    for (place, exchange) in exchanges.iter().enumerate() {
        query.push(if place == 0 { "" } else { ", " });
        DB::bytes(&mut query, exchange.as_bytes());
    }
    query.push(") order by e.log + 0, e.log_index limit ");
    DB::number(&mut query, limit);
    query
}

/// Openings of exchanges of which any entry names one of the pseudonyms, newest first.
pub(super) fn accesses_query<DB: Searched>(
    pseudonyms: &[Hash],
    (from_us, until_us): (i64, i64),
    before: Option<Cursor>,
    limit: i64,
) -> Result<QueryBuilder<DB>, StoreError> {
    let mut query = QueryBuilder::new(
        // In steps, as the queries of `search` are.
        "with about as materialized (select distinct n.exchange_id from subject s \
         join entry n on n.log = s.log and n.log_index = s.log_index \
         where n.removed_by = 0 and s.pseudonym in (",
    );
    for (place, pseudonym) in pseudonyms.iter().enumerate() {
        query.push(if place == 0 { "" } else { ", " });
        DB::bytes(&mut query, pseudonym);
    }
    query.push(
        ")), opened as materialized (select o.recorded_us, o.log, o.log_index, o.kind, o.removed_by from about a \
         join entry o on o.exchange_id = a.exchange_id), \
         page as materialized (select o.recorded_us, o.log, o.log_index from opened o \
         where o.kind = 10 and o.removed_by = 0 and o.recorded_us >= ",
    );
    DB::number(&mut query, from_us);
    query.push(" and o.recorded_us < ");
    DB::number(&mut query, until_us);
    newest_first(&mut query, "o", before, limit)?;
    query.push(
        ") select e.log_index, e.log, e.leaf, e.kind, e.exchange_id, e.recorded_us, e.consumer, e.provider, e.method, \
         e.reason, e.trace_id, e.removed_by, b.bytes from page p \
         join entry e on e.log = p.log and e.log_index = p.log_index \
         left join body b on b.log = e.log and b.log_index = e.log_index \
         order by e.recorded_us desc, e.log desc, e.log_index desc",
    );
    Ok(query)
}
