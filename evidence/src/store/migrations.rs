//! The tables of a store: made at the first opening, refused where they are not ours.

use sqlx::{
    Connection as _, PgConnection, SqlSafeStr as _, SqliteConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use super::{
    StoreError,
    link::{Link, fetch, limited},
};

/// Migrations in one dialect: up and down.
fn migrator(up: &'static str, down: &'static str) -> Migrator {
    let migration =
        |kind, sql: &'static str| Migration::new(1, "evidence".into(), kind, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![
        migration(MigrationType::ReversibleUp, up),
        migration(MigrationType::ReversibleDown, down),
    ])
}

/// Those of SQLite.
pub(super) fn sqlite() -> Migrator {
    migrator(
        include_str!("../../migrations/sqlite/0001_evidence.up.sql"),
        include_str!("../../migrations/sqlite/0001_evidence.down.sql"),
    )
}

/// Those of PostgreSQL.
pub(super) fn postgres() -> Migrator {
    migrator(
        include_str!("../../migrations/postgres/0001_evidence.up.sql"),
        include_str!("../../migrations/postgres/0001_evidence.down.sql"),
    )
}

/// How the tables of a database stand to the migrations.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are none, or not all.
    Behind,
    /// All are there.
    Current,
}

/// Compares what was applied with what we have.
///
/// # Errors
/// [`StoreError::Format`] where the tables were made by another version.
pub(super) async fn standing(mut link: Link<'_>, store: &str) -> Result<Standing, StoreError> {
    let (table, migrator) = match &mut link {
        Link::Sqlite(_) => {
            ("select 1 from sqlite_master where type = 'table' and name = '_sqlx_migrations'", sqlite())
        }
        Link::Postgres(_) => {
            ("select 1 from pg_class where oid = to_regclass('_sqlx_migrations')", postgres())
        }
    };
    let found: Vec<(i32,)> = fetch!(reborrow(&mut link), table)?;
    if found.is_empty() {
        return Ok(Standing::Behind);
    }
    let applied: Vec<(i64, Vec<u8>)> =
        fetch!(link, "select version, checksum from _sqlx_migrations where success order by version")?;
    let ours: Vec<&Migration> = migrator.iter().filter(|one| one.migration_type.is_up_migration()).collect();
    for (version, checksum) in &applied {
        match ours.iter().find(|one| one.version == *version) {
            None => return Err(newer(store, *version)),
            Some(one) if *one.checksum != **checksum => return Err(older(store)),
            Some(_) => {}
        }
    }
    Ok(if applied.len() < ours.len() { Standing::Behind } else { Standing::Current })
}

/// The same link again.
fn reborrow<'r>(link: &'r mut Link<'_>) -> Link<'r> {
    match link {
        Link::Sqlite(connection) => Link::Sqlite(connection),
        Link::Postgres(connection) => Link::Postgres(connection),
    }
}

/// Makes the tables where they are missing.
pub(super) async fn migrate_sqlite(connection: &mut SqliteConnection, store: &str) -> Result<(), StoreError> {
    if standing(Link::Sqlite(connection), store).await? == Standing::Current {
        return Ok(());
    }
    // The lock first: two processes may open a new store at once, and SQLite's migrations take none.
    let mut transaction = limited(connection.begin_with("begin immediate")).await?;
    if standing(Link::Sqlite(&mut transaction), store).await? == Standing::Behind {
        // `Migrator::run` gives a future that cannot move between threads.
        sqlite().run_direct(None, &mut *transaction, false).await.map_err(|error| failed(store, error))?;
    }
    limited(transaction.commit()).await
}

/// Makes the tables where they are missing.
pub(super) async fn migrate_postgres(connection: &mut PgConnection, store: &str) -> Result<(), StoreError> {
    if standing(Link::Postgres(connection), store).await? == Standing::Current {
        return Ok(());
    }
    // It takes a lock of its own, which the session's limit bounds.
    postgres().run_direct(None, connection, false).await.map_err(|error| failed(store, error))
}

/// Tables of an older format that no version was released with.
fn older(store: &str) -> StoreError {
    let problem = "it was made by an earlier, unreleased version of Ura, whose entries this one does not read. \
                   Keep the old store as it is and name another one, new and empty";
    StoreError::Format { store: store.to_owned(), problem: problem.to_owned() }
}

/// Tables of a version to come.
fn newer(store: &str, version: i64) -> StoreError {
    let problem = format!(
        "it was made by a newer version of Ura (its tables have version {version}, this program knows version 1). Use that version"
    );
    StoreError::Format { store: store.to_owned(), problem }
}

/// No tables where they are needed for reading.
pub(super) fn none(store: &str) -> StoreError {
    let problem = "it holds no evidence; a gateway makes its tables when it starts".to_owned();
    StoreError::Format { store: store.to_owned(), problem }
}

/// A migration that did not come to its end.
fn failed(store: &str, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMismatch(_) => older(store),
        MigrateError::VersionMissing(version) => newer(store, version),
        error => StoreError::Format { store: store.to_owned(), problem: error.to_string() },
    }
}
