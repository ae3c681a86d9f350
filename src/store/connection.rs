//! One connection, either database.
//!
//! SQLite is embedded and keeps one file with a write-ahead log; PostgreSQL is reached by URL. What differs between
//! them is here and in `migrations/`; everything else is written once.

use super::error::{StoreError, database_error, one_line};
use diesel::{Connection, PgConnection, QueryResult, RunQueryDsl, SqliteConnection, connection::SimpleConnection};
use std::path::{Path, PathBuf};

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Runs the same statement on whichever connection is open.
///
/// Upserts and batches do not compile on the enum itself, so the statement is compiled for each database.
macro_rules! on_either {
    ($connection:expr, $c:ident => $statement:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite($c) => $statement,
            $crate::store::connection::AnyConnection::Postgres($c) => $statement,
        }
    };
}
pub(super) use on_either;

/// Inserts rows whose key is new; rows whose key exists stay as they are.
///
/// SQLite runs one prepared statement per row (no round trip, no parsing); PostgreSQL takes up to
/// [`ROWS_PER_STATEMENT`] rows per round trip.
macro_rules! insert_new {
    ($connection:expr, $table:path, $rows:expr) => {{
        let rows = $rows;
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite(c) => {
                for row in rows.iter() {
                    diesel::insert_into($table)
                        .values(row)
                        .on_conflict_do_nothing()
                        .execute(c)?;
                }
            }
            $crate::store::connection::AnyConnection::Postgres(c) => {
                for some in rows.chunks($crate::store::connection::ROWS_PER_STATEMENT) {
                    diesel::insert_into($table)
                        .values(some)
                        .on_conflict_do_nothing()
                        .execute(c)?;
                }
            }
        }
    }};
}
pub(super) use insert_new;

/// PostgreSQL allows 65,535 bound values in a statement; no table has 20 columns.
pub(super) const ROWS_PER_STATEMENT: usize = 1000;

/// How hard the database tries to keep what it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives loss of power: every append is on disk before it returns.
    Durable,
    /// Survives the death of this process; a loss of power may take back the last transactions, but not spoil the
    /// file. For what is merely done again.
    Process,
    /// Survives the death of this process, not of the machine; for simulations.
    Relaxed,
}

/// A parsed database address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Memory,
    File(PathBuf),
    Postgres(String),
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(with_timeout(url)));
        }
        match url.strip_prefix("sqlite:") {
            Some(":memory:" | "//:memory:") => Ok(Self::Memory),
            Some(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() {
                    return Err(StoreError::UnknownScheme(url.into()));
                }
                Ok(Self::File(PathBuf::from(path)))
            }
            None => Err(StoreError::UnknownScheme(without_password(url))),
        }
    }

    /// The address for messages: no password.
    pub fn place(&self) -> String {
        match self {
            Self::Memory => "in memory".into(),
            Self::File(path) => path.display().to_string(),
            Self::Postgres(url) => without_password(url.split_once('?').map_or(url.as_str(), |(base, _)| base)),
        }
    }

    /// True when opening this address would create an empty database.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Memory => true,
            Self::File(path) => !path.exists(),
            Self::Postgres(_) => false,
        }
    }

    /// Opens without changing anything that exists.
    pub fn connect(&self) -> Result<AnyConnection, StoreError> {
        match self {
            Self::Memory => sqlite(":memory:", self),
            Self::File(path) => {
                refuse_folder(path, self)?;
                // An absolute path cannot be taken for a `file:` URI.
                let absolute = std::path::absolute(path).map_err(|e| self.cannot(&e.to_string()))?;
                let text = absolute.to_str().ok_or_else(|| self.cannot("its path is not UTF-8"))?;
                sqlite(text, self)
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::establish(url).map_err(|e| self.cannot(&e.to_string()))?;
                connection
                    .batch_execute(
                        "SET timezone TO 'UTC'; SET client_min_messages TO warning; SET application_name TO 'alidade'",
                    )
                    .map_err(|e| database_error(&self.place(), &e))?;
                Ok(AnyConnection::Postgres(connection))
            }
        }
    }

    /// Settings that a database is written with.
    pub fn prepare(&self, connection: &mut AnyConnection, durability: Durability) -> Result<(), StoreError> {
        let statements = match (&*connection, durability) {
            // `busy_timeout` comes first (in `sqlite`): changing the journal mode takes a lock.
            (AnyConnection::Sqlite(_), Durability::Durable) => "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            (AnyConnection::Sqlite(_), Durability::Process) => "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            (AnyConnection::Sqlite(_), Durability::Relaxed) => "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF",
            (AnyConnection::Postgres(_), Durability::Durable) => "SET synchronous_commit TO on",
            (AnyConnection::Postgres(_), Durability::Process | Durability::Relaxed) => "SET synchronous_commit TO off",
        };
        connection
            .batch_execute(statements)
            .map_err(|e| self.cannot(&e.to_string()))
    }

    pub fn cannot(&self, cause: &str) -> StoreError {
        let place = self.place();
        if cause.contains("file is not a database") {
            return StoreError::NotADatabase { place };
        }
        StoreError::CannotOpen {
            place,
            cause: one_line(cause),
        }
    }
}

fn sqlite(text: &str, address: &Address) -> Result<AnyConnection, StoreError> {
    let mut connection = SqliteConnection::establish(text).map_err(|e| address.cannot(&e.to_string()))?;
    // The last statement reads the header, so a file that is no database is refused here.
    connection
        .batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; SELECT count(*) FROM sqlite_master")
        .map_err(|e| address.cannot(&e.to_string()))?;
    Ok(AnyConnection::Sqlite(connection))
}

/// SQLite says "unable to open database file" for all of these; a person needs to know which.
fn refuse_folder(path: &Path, address: &Address) -> Result<(), StoreError> {
    if path.is_dir() {
        return Err(address.cannot("it is a folder"));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => Err(address.cannot(&format!("{} is not a folder", folder.display()))),
        Ok(meta) if !path.exists() && meta.permissions().readonly() => {
            Err(address.cannot(&format!("folder {} is not writable", folder.display())))
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(address.cannot(&format!("folder {} does not exist", folder.display())))
        }
        Err(e) => Err(address.cannot(&format!("folder {}: {e}", folder.display()))),
    }
}

/// A server that does not answer must not hold the daemon's start for minutes.
fn with_timeout(url: &str) -> String {
    if url.contains("connect_timeout=") {
        return url.into();
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}connect_timeout=5")
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.into();
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        None => url.into(),
    }
}

/// Runs `work` in one transaction that holds the write lock from its start.
///
/// SQLite's plain BEGIN takes the lock at the first write, when it may be too late to wait for it.
pub(super) fn in_transaction<T, E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
) -> Result<T, E> {
    let begin = match connection {
        AnyConnection::Sqlite(_) => "BEGIN IMMEDIATE",
        AnyConnection::Postgres(_) => "BEGIN",
    };
    connection.batch_execute(begin)?;
    let done = work(connection).and_then(|value| {
        connection.batch_execute("COMMIT")?;
        Ok(value)
    });
    if done.is_err() {
        // A lost connection has rolled back by itself; the first error is the one to tell.
        let _ = connection.batch_execute("ROLLBACK");
    }
    done
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

/// The tables of the open database's schema, in order.
pub(super) fn table_names(connection: &mut AnyConnection) -> QueryResult<Vec<String>> {
    let sqlite = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let postgres = "SELECT table_name::text AS name FROM information_schema.tables \
                    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name";
    let rows: Vec<Name> = match connection {
        AnyConnection::Sqlite(c) => diesel::sql_query(sqlite).load(c)?,
        AnyConnection::Postgres(c) => diesel::sql_query(postgres).load(c)?,
    };
    Ok(rows.into_iter().map(|row| row.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows_in_a_message() {
        let address = Address::parse("postgres://ada:s3cret@db.example/alidade?sslmode=require").unwrap();
        assert_eq!(address.place(), "postgres://ada@db.example/alidade");
        let error = Address::parse("mysql://ada:s3cret@db.example/x").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn the_usual_spellings_of_a_sqlite_address_are_understood() {
        assert_eq!(Address::parse("sqlite::memory:").unwrap(), Address::Memory);
        for url in ["sqlite:/var/lib/alidade/a.db", "sqlite:///var/lib/alidade/a.db"] {
            assert_eq!(
                Address::parse(url).unwrap(),
                Address::File("/var/lib/alidade/a.db".into())
            );
        }
        assert_eq!(Address::parse("sqlite:a.db").unwrap(), Address::File("a.db".into()));
        assert!(Address::parse("sqlite:").is_err() && Address::parse("a.db").is_err());
    }
}
