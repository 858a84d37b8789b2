//! Civil status: a SQL database that grew over years, in SQLite or PostgreSQL. Knows no other register.

mod pdf;
mod postgres;
mod rows;
mod schema;
mod sqlite;

use tokio::sync::Mutex;

use self::{postgres::Postgres, sqlite::Sqlite};
use crate::{config::CivilStatusConfig, error::MocksError, fault::Fault, people::People};

/// Spoils the birth dates, so that no date can be read.
const SPOIL: &str =
    "update personat set dtl = '#' || dtl; update akt_lindjes set dt_lindjes = '#' || dt_lindjes";
/// Mends them.
const MEND: &str =
    "update personat set dtl = substr(dtl, 2); update akt_lindjes set dt_lindjes = substr(dt_lindjes, 2)";

/// The filled database and the fault in force.
pub(crate) struct CivilStatus {
    url: String,
    database: Database,
    state: Mutex<State>,
}

enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(Postgres),
}

#[derive(Default)]
struct State {
    fault: Fault,
    locked: Option<Locked>,
}

/// A connection whose open transaction keeps everybody out; closing it lets them in.
enum Locked {
    Sqlite(sqlite::Lock),
    Postgres(postgres::Lock),
}

impl CivilStatus {
    /// Makes the tables and writes the people into them.
    pub(crate) async fn fill(
        config: &CivilStatusConfig,
        people: &People,
        progress: &(impl Fn(&str) + Send),
    ) -> Result<Self, MocksError> {
        let database = if config.url.starts_with("sqlite:") {
            progress("mocks: writing the civil status database (SQLite)");
            let sqlite = Sqlite::new(&config.url)?;
            sqlite.fill(people).await?;
            Database::Sqlite(Box::new(sqlite))
        } else {
            progress("mocks: writing the civil status database (PostgreSQL)");
            let postgres = Postgres::new(&config.url);
            postgres.fill(people).await?;
            Database::Postgres(postgres)
        };
        Ok(Self { url: config.url.clone(), database, state: Mutex::default() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn fault(&self) -> Fault {
        self.state.lock().await.fault.clone()
    }

    /// Lets go of the lock, spoils or mends the rows, locks again: whatever differs.
    pub(crate) async fn set_fault(&self, fault: Fault) -> Result<(), MocksError> {
        let mut state = self.state.lock().await;
        if state.fault == fault {
            return Ok(());
        }
        self.unlock(&mut state).await;
        if state.fault.nonsense != fault.nonsense {
            self.run(if fault.nonsense { SPOIL } else { MEND }).await?;
            state.fault.nonsense = fault.nonsense;
        }
        if fault.outage {
            state.locked = Some(self.lock().await?);
        }
        state.fault = fault;
        Ok(())
    }

    /// Lets go of the lock.
    pub(crate) async fn stop(&self) {
        let mut state = self.state.lock().await;
        self.unlock(&mut state).await;
    }

    async fn unlock(&self, state: &mut State) {
        state.fault.outage = false;
        match state.locked.take() {
            Some(Locked::Sqlite(lock)) => lock.release().await,
            Some(Locked::Postgres(lock)) => lock.release().await,
            None => {}
        }
    }

    async fn lock(&self) -> Result<Locked, MocksError> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.lock().await.map(Locked::Sqlite),
            Database::Postgres(postgres) => postgres.lock().await.map(Locked::Postgres),
        }
    }

    async fn run(&self, statements: &'static str) -> Result<(), MocksError> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.run(statements).await,
            Database::Postgres(postgres) => postgres.run(statements).await,
        }
    }
}
