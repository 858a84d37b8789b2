//! What PostgreSQL says of a table: its catalogs (manual, chapter 53).

use sqlx::{Connection as _, PgConnection, Row as _};

use super::{
    DraftError,
    table::{Child, Column, Kind, Table},
};

/// The table of this very name.
const EXACT: &str = "select c.oid::int8, c.oid::regclass::text, c.relname::text from pg_class c
  where c.relkind in ('r', 'v', 'm', 'p', 'f') and c.relname = $1 and pg_table_is_visible(c.oid)";

/// The table that a name means in a statement: with a schema, in quotes, in any case of letters.
const MEANT: &str = "select c.oid::int8, c.oid::regclass::text, c.relname::text from pg_class c
  where c.relkind in ('r', 'v', 'm', 'p', 'f') and c.oid = to_regclass($1)";

/// Domains are followed to the type beneath, arrays to that of their elements.
const COLUMNS: &str = "select a.attnum::int4, a.attname::text, quote_ident(a.attname), b.typname::text, a.attnotnull or k.typnotnull,
    case b.typname when 'numeric' then case a.atttypmod when -1 then -1 else ((a.atttypmod - 4) >> 16) & 65535 end end,
    case b.typname when 'numeric' then (a.atttypmod - 4) & 2047 end, coalesce(e.typname::text, '')
  from pg_attribute a join pg_type k on k.oid = a.atttypid
    join pg_type b on b.oid = case k.typtype when 'd' then k.typbasetype else k.oid end
    left join pg_type e on e.oid = b.typelem and b.typcategory = 'A'
  where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// Unique over whole columns that are never NULL.
const KEYS: &str = "select (select array_agg(n::int4 order by o) from unnest(i.indkey::int2[]) with ordinality u (n, o)
      where o <= i.indnkeyatts)
  from pg_index i
  where i.indrelid = $1::int8::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
    and not exists (select 1 from pg_attribute a
      where a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[]) and not a.attnotnull)
  order by i.indisprimary desc, i.indnkeyatts, i.indexrelid";

const CHILDREN: &str = "select c.conrelid::int8, c.conrelid::regclass::text, r.relname::text,
    (select array_agg(n::int4 order by o) from unnest(c.conkey) with ordinality u (n, o)),
    (select array_agg(n::int4 order by o) from unnest(c.confkey) with ordinality u (n, o))
  from pg_constraint c join pg_class r on r.oid = c.conrelid
  where c.contype = 'f' and c.confrelid = $1::int8::oid and c.conrelid <> c.confrelid and c.conparentid = 0
  order by r.relname, c.oid";

const TABLES: &str = "select coalesce(string_agg(name, ', '), '') from (select c.oid::regclass::text as name from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'v', 'm', 'p', 'f') and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
  order by 1 limit 40) t";

/// Reads the table with those that refer to it.
pub(super) async fn read(url: &str, name: &str) -> Result<Table, DraftError> {
    let mut connection = PgConnection::connect(url).await.map_err(DraftError::Database)?;
    let read = read_on(&mut connection, name).await;
    // It has said all that there is to say.
    drop(connection.close().await);
    read
}

async fn read_on(connection: &mut PgConnection, name: &str) -> Result<Table, DraftError> {
    let mut found = sqlx::query(EXACT).bind(name).fetch_optional(&mut *connection).await?;
    if found.is_none() {
        found = match sqlx::query(MEANT).bind(name).fetch_optional(&mut *connection).await {
            // What is no name in a statement is no table's either.
            Err(sqlx::Error::Database(_)) => None,
            found => found?,
        };
    }
    let Some(found) = found else {
        let known: String = sqlx::query(TABLES).fetch_one(&mut *connection).await?.try_get(0)?;
        return Err(DraftError::NoTable { table: name.to_owned(), known });
    };
    let oid: i64 = found.try_get(0)?;
    let (mut table, numbers) = one(connection, oid, found.try_get(1)?, found.try_get(2)?).await?;
    for row in sqlx::query(CHILDREN).bind(oid).fetch_all(&mut *connection).await? {
        let (child, of_child) = one(connection, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?).await?;
        let (theirs, ours): (Vec<i32>, Vec<i32>) = (row.try_get(3)?, row.try_get(4)?);
        let link: Vec<_> =
            positions(&of_child, &theirs).into_iter().zip(positions(&numbers, &ours)).collect();
        table.children.push(Child { table: child, link });
    }
    Ok(table)
}

/// A table by its number; the second are the numbers of its columns.
async fn one(
    connection: &mut PgConnection,
    oid: i64,
    sql: String,
    name: String,
) -> Result<(Table, Vec<i32>), DraftError> {
    let mut table = Table { sql, name, ..Table::default() };
    let mut numbers = Vec::new();
    for row in sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *connection).await? {
        numbers.push(row.try_get(0)?);
        let (precision, scale): (Option<i32>, Option<i32>) = (row.try_get(5)?, row.try_get(6)?);
        let (base, element): (String, String) = (row.try_get(3)?, row.try_get(7)?);
        let list = !element.is_empty();
        let (kind, cast) = kind(if list { &element } else { &base }, precision.zip(scale));
        // An array of what is not read is text as a whole.
        let list = list && !cast;
        let nullable = !row.try_get::<bool, _>(4)?;
        table.columns.push(Column {
            name: row.try_get(1)?,
            sql: row.try_get(2)?,
            kind,
            list,
            nullable,
            cast,
        });
    }
    for row in sqlx::query(KEYS).bind(oid).fetch_all(&mut *connection).await? {
        table.keys.push(positions(&numbers, &row.try_get::<Vec<i32>, _>(0)?));
    }
    Ok((table, numbers))
}

fn positions(numbers: &[i32], wanted: &[i32]) -> Vec<usize> {
    wanted.iter().filter_map(|number| numbers.iter().position(|known| known == number)).collect()
}

/// What a type becomes, and whether a statement has to make text of it.
fn kind(name: &str, numeric: Option<(i32, i32)>) -> (Kind, bool) {
    match (name, numeric) {
        ("bool", _) => (Kind::Bool, false),
        ("int2" | "int4", _) => (Kind::Int32, false),
        ("int8" | "oid", _) => (Kind::Int64, false),
        ("float4", _) => (Kind::Float, false),
        ("float8", _) => (Kind::Double, false),
        ("numeric", Some((1..=18, 0))) => (Kind::Int64, false),
        ("numeric" | "text" | "varchar" | "bpchar" | "name" | "uuid" | "citext" | "xml" | "time", _) => {
            (Kind::Text, false)
        }
        ("bytea", _) => (Kind::Bytes, false),
        ("date", _) => (Kind::Date, false),
        ("timestamp" | "timestamptz", _) => (Kind::Timestamp, false),
        _ => (Kind::Text, true),
    }
}
