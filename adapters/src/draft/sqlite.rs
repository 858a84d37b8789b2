//! What SQLite says of a table: its pragmas as functions (<https://www.sqlite.org/pragma.html>).

use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    DraftError,
    table::{Child, Column, Kind, Table},
};

const FIND: &str = "select name from sqlite_schema where type in ('table', 'view') and lower(name) = lower(?)
  order by name = ? desc limit 1";
const TABLES: &str = "select coalesce(group_concat(name, ', '), '') from (select name from sqlite_schema
  where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\' order by name limit 40)";
const COLUMNS: &str =
    "select name, type, \"notnull\", pk from pragma_table_xinfo(?) where hidden <> 1 order by cid";
const INDEXES: &str = "select name from pragma_index_list(?) where \"unique\" and not partial and origin <> 'pk' order by seq desc";
const INDEX: &str = "select name from pragma_index_info(?) order by seqno";
const REFERRING: &str = "select m.name, f.id, f.\"from\", f.\"to\" from sqlite_schema m, pragma_foreign_key_list(m.name) f
  where m.type = 'table' and lower(f.\"table\") = lower(?) and lower(m.name) <> lower(?) order by m.name, f.id, f.seq";

/// Reads the table with those that refer to it. `path` is the file.
pub(super) async fn read(path: &str, name: &str) -> Result<Table, DraftError> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(DraftError::Database)?;
    let read = read_on(&mut connection, name).await;
    // It has said all that there is to say.
    drop(connection.close().await);
    read
}

async fn read_on(connection: &mut SqliteConnection, name: &str) -> Result<Table, DraftError> {
    let found = sqlx::query(FIND).bind(name).bind(name).fetch_optional(&mut *connection).await?;
    let Some(found) = found else {
        let known: String = sqlx::query(TABLES).fetch_one(&mut *connection).await?.try_get(0)?;
        return Err(DraftError::NoTable { table: name.to_owned(), known });
    };
    let name: String = found.try_get(0)?;
    let mut table = one(connection, &name).await?;
    let mut last = None;
    for row in sqlx::query(REFERRING).bind(&name).bind(&name).fetch_all(&mut *connection).await? {
        let (child, id): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if last.as_ref() != Some(&(child.clone(), id)) {
            table.children.push(Child { table: one(connection, &child).await?, link: Vec::new() });
            last = Some((child, id));
        }
        let (theirs, ours): (String, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
        let Some(child) = table.children.last_mut() else { continue };
        let place = |table: &Table, name: &str| {
            table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
        };
        // Without a column it means the primary key, in its order.
        let ours = match ours {
            Some(ours) => table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&ours)),
            None => table.keys.first().and_then(|key| key.get(child.link.len())).copied(),
        };
        child.link.extend(place(&child.table, &theirs).zip(ours));
    }
    table.children.retain(|child| !child.link.is_empty());
    Ok(table)
}

async fn one(connection: &mut SqliteConnection, name: &str) -> Result<Table, DraftError> {
    let mut table =
        Table { sql: identifier(connection, name).await?, name: name.to_owned(), ..Table::default() };
    let mut primary = Vec::new();
    for (at, row) in sqlx::query(COLUMNS).bind(name).fetch_all(&mut *connection).await?.iter().enumerate() {
        let (column, declared): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (not_null, place): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        if place > 0 {
            primary.push((place, at));
        }
        table.columns.push(Column {
            sql: identifier(connection, &column).await?,
            name: column,
            kind: kind(&declared),
            list: false,
            nullable: not_null == 0 && place == 0,
            cast: false,
        });
    }
    primary.sort_unstable();
    if !primary.is_empty() {
        table.keys.push(primary.into_iter().map(|(_, at)| at).collect());
    }
    for index in sqlx::query(INDEXES).bind(name).fetch_all(&mut *connection).await? {
        let index: String = index.try_get(0)?;
        let columns = sqlx::query(INDEX).bind(index).fetch_all(&mut *connection).await?;
        let mut key = Vec::new();
        for column in &columns {
            // An expression has no name.
            let name: Option<String> = column.try_get(0)?;
            key.extend(name.and_then(|name| table.position(&name)));
        }
        let sound = key.iter().all(|at| table.columns.get(*at).is_some_and(|column| !column.nullable));
        if sound && key.len() == columns.len() {
            table.keys.push(key);
        }
    }
    Ok(table)
}

/// A name as it stands in a statement: as it is, where SQLite reads it back so, else in quotes.
async fn identifier(connection: &mut SqliteConnection, name: &str) -> Result<String, DraftError> {
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !plain {
        return Ok(quoted);
    }
    // Keywords are told by asking; only letters, digits and underscores get here.
    let text = format!("select t.{name} from (select 1 as {name}) as t order by {name}");
    let asked = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *connection).await;
    Ok(if asked.is_ok() { name.to_owned() } else { quoted })
}

/// After SQLite's own rules of affinity, with the names that people use for days, times and truth.
fn kind(declared: &str) -> Kind {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    match () {
        () if has("BOOL") => Kind::Bool,
        () if has("INT") => Kind::Int64,
        () if has("CHAR") || has("CLOB") || has("TEXT") => Kind::Text,
        () if has("BLOB") => Kind::Bytes,
        () if has("REAL") || has("FLOA") || has("DOUB") => Kind::Double,
        () if has("TIMESTAMP") || has("DATETIME") => Kind::Timestamp,
        () if has("DATE") => Kind::Date,
        // Amounts too: decimal text is exact.
        () => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        for (declared, expected) in [
            ("integer", Kind::Int64),
            ("VARCHAR(20)", Kind::Text),
            ("boolean", Kind::Bool),
            ("double precision", Kind::Double),
            ("date", Kind::Date),
            ("datetime", Kind::Timestamp),
            ("NUMERIC(12,2)", Kind::Text),
            ("", Kind::Text),
            ("blob", Kind::Bytes),
        ] {
            assert_eq!(kind(declared), expected, "{declared}");
        }
    }
}
