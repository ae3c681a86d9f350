//! The versions of the schema: which there are, which a database has, forth and back.
//!
//! Migrations are embedded; both databases have the same versions. A database with a version that this build does not
//! know is from a newer build and is left alone.

use super::{
    connection::{Address, AnyConnection, table_names},
    error::{StoreError, database_error, one_line},
};
use diesel::{RunQueryDsl, connection::SimpleConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use serde::Serialize;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const TABLE: &str = "__diesel_schema_migrations";

/// One version of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Number, e.g. `0003`.
    pub version: String,
    /// Full name, e.g. `0003_observing`; a version unknown to this build has only its number.
    pub name: String,
    pub applied: bool,
    /// False for a version that a newer build has applied.
    pub known: bool,
}

/// A column as the database itself describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Column {
    pub table: String,
    pub name: String,
    pub nullable: bool,
    /// `text`, `whole`, `real`, `boolean`, `instant` or `bytes`: what the two databases call differently.
    pub holds: String,
}

/// A database opened for its schema only; unlike [`Store`](super::Store) it may be of any version.
pub struct Migrations {
    address: Address,
    connection: AnyConnection,
}

impl Migrations {
    /// Opens an existing database, or with `create` a new one.
    pub fn open(url: &str, create: bool) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        if !create && address.is_missing() {
            return Err(StoreError::Missing { place: address.place() });
        }
        let connection = address.connect()?;
        Ok(Self { address, connection })
    }

    /// Every known version and every applied one, in order; changes nothing.
    pub fn status(&mut self) -> Result<Vec<Version>, StoreError> {
        status(&mut self.connection, &self.address)
    }

    /// Applies what is missing, each version in its own transaction, and returns what was applied.
    pub fn apply(&mut self) -> Result<Vec<Version>, StoreError> {
        apply(&mut self.connection, &self.address)
    }

    /// Reverts the last `count` versions, newest first, and returns them. What their tables held is gone.
    pub fn revert(&mut self, count: usize) -> Result<Vec<Version>, StoreError> {
        let versions = self.status()?;
        refuse_newer(&versions, &self.address)?;
        let mut reverted = Vec::new();
        for version in versions.into_iter().rev().filter(|v| v.applied).take(count) {
            let done = match &mut self.connection {
                AnyConnection::Sqlite(c) => c.revert_last_migration(SQLITE).map(drop),
                AnyConnection::Postgres(c) => c.revert_last_migration(POSTGRES).map(drop),
            };
            done.map_err(|e| failed(&version, &self.address, e.as_ref()))?;
            reverted.push(Version {
                applied: false,
                ..version
            });
        }
        Ok(reverted)
    }
}

impl Migrations {
    /// Every column of every table of the open database, by table and name; the migrations' own table apart.
    pub fn columns(&mut self) -> Result<Vec<Column>, StoreError> {
        let sqlite = r#"SELECT m.name AS "table", p.name AS name, p."notnull" = 0 AS nullable, lower(p.type) AS kind
            FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"#;
        let postgres = r#"SELECT c.table_name::text AS "table", c.column_name::text AS name,
            c.is_nullable = 'YES' AS nullable, c.data_type::text AS kind
            FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
            WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"#;
        let rows: Vec<Described> = match &mut self.connection {
            AnyConnection::Sqlite(c) => diesel::sql_query(sqlite).load(c),
            AnyConnection::Postgres(c) => diesel::sql_query(postgres).load(c),
        }
        .map_err(|e| database_error(&self.address.place(), &e))?;
        let mut columns: Vec<_> = rows
            .into_iter()
            .filter(|row| row.table != TABLE && !row.table.starts_with("sqlite_"))
            .map(|row| Column {
                holds: holds(&row.kind),
                table: row.table,
                name: row.name,
                nullable: row.nullable,
            })
            .collect();
        columns.sort();
        Ok(columns)
    }

    /// The definitions of all tables, views and indexes, by name, as the database keeps them.
    pub fn definitions(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let sqlite = "SELECT name, coalesce(sql, '') AS sql FROM sqlite_master ORDER BY name";
        let postgres = "SELECT indexname::text AS name, indexdef::text AS sql FROM pg_indexes \
            WHERE schemaname = current_schema() \
            UNION ALL SELECT viewname::text, definition::text FROM pg_views WHERE schemaname = current_schema() \
            UNION ALL SELECT conrelid::regclass::text || '.' || conname::text, pg_get_constraintdef(oid)::text \
            FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1";
        let rows: Vec<Definition> = match &mut self.connection {
            AnyConnection::Sqlite(c) => diesel::sql_query(sqlite).load(c),
            AnyConnection::Postgres(c) => diesel::sql_query(postgres).load(c),
        }
        .map_err(|e| database_error(&self.address.place(), &e))?;
        Ok(rows.into_iter().map(|row| (row.name, row.sql)).collect())
    }
}

#[derive(diesel::QueryableByName)]
struct Described {
    #[diesel(sql_type = diesel::sql_types::Text)]
    table: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    nullable: bool,
    #[diesel(sql_type = diesel::sql_types::Text)]
    kind: String,
}

#[derive(diesel::QueryableByName)]
struct Definition {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    sql: String,
}

fn holds(kind: &str) -> String {
    match kind {
        // SQLite's whole numbers have 64 bits under either name.
        "integer" | "bigint" => "whole",
        "double" | "double precision" => "real",
        "timestamp" | "timestamp without time zone" => "instant",
        "blob" | "bytea" => "bytes",
        other => other,
    }
    .into()
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

pub(super) fn status(connection: &mut AnyConnection, address: &Address) -> Result<Vec<Version>, StoreError> {
    let place = address.place();
    let tables = table_names(connection).map_err(|e| database_error(&place, &e))?;
    let mut applied = Vec::new();
    // Diesel's own query would create its table; looking must not write.
    if tables.iter().any(|table| table == TABLE) {
        let query = format!("SELECT version FROM {TABLE} ORDER BY version");
        let rows: Vec<Applied> = match connection {
            AnyConnection::Sqlite(c) => diesel::sql_query(query).load(c),
            AnyConnection::Postgres(c) => diesel::sql_query(query).load(c),
        }
        .map_err(|e| database_error(&place, &e))?;
        applied = rows.into_iter().map(|row| row.version).collect();
    } else if let Some(table) = tables.into_iter().next() {
        return Err(StoreError::Foreign { place, table });
    }
    let mut versions: Vec<Version> = known()
        .map_err(|cause| StoreError::Database { place, cause })?
        .into_iter()
        .map(|(version, name)| Version {
            applied: applied.contains(&version),
            version,
            name,
            known: true,
        })
        .collect();
    for version in applied {
        if versions.iter().all(|v| v.version != version) {
            versions.push(Version {
                name: version.clone(),
                version,
                applied: true,
                known: false,
            });
        }
    }
    versions.sort_by(|a, b| a.version.cmp(&b.version));
    Ok(versions)
}

/// Number and name of each embedded version.
fn known() -> Result<Vec<(String, String)>, String> {
    use diesel::migration::{Migration, MigrationSource};
    let migrations: Vec<Box<dyn Migration<diesel::sqlite::Sqlite>>> = SQLITE.migrations().map_err(|e| e.to_string())?;
    Ok(migrations
        .iter()
        .map(|m| (m.name().version().to_string(), m.name().to_string()))
        .collect())
}

pub(super) fn refuse_newer(versions: &[Version], address: &Address) -> Result<(), StoreError> {
    let unknown: Vec<_> = versions.iter().filter(|v| !v.known).map(|v| v.name.as_str()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(StoreError::Newer {
        place: address.place(),
        versions: unknown.join(", "),
    })
}

pub(super) fn apply(connection: &mut AnyConnection, address: &Address) -> Result<Vec<Version>, StoreError> {
    let versions = status(connection, address)?;
    refuse_newer(&versions, address)?;
    let mut done = Vec::new();
    for version in versions.into_iter().filter(|v| !v.applied) {
        let ran = match connection {
            AnyConnection::Sqlite(c) => c.run_next_migration(SQLITE).map(drop),
            AnyConnection::Postgres(c) => c.run_next_migration(POSTGRES).map(drop),
        };
        ran.map_err(|e| failed(&version, address, e.as_ref()))?;
        done.push(Version {
            applied: true,
            ..version
        });
    }
    Ok(done)
}

fn failed(version: &Version, address: &Address, cause: &(dyn std::error::Error + Send + Sync)) -> StoreError {
    StoreError::Migration {
        place: address.place(),
        version: version.name.clone(),
        cause: one_line(&cause.to_string()),
    }
}

/// Fails when the database cannot be written (a read-only file or folder).
pub(super) fn probe_write(connection: &mut AnyConnection, address: &Address) -> Result<(), StoreError> {
    if let AnyConnection::Sqlite(c) = connection {
        c.batch_execute("BEGIN IMMEDIATE; ROLLBACK")
            .map_err(|e| address.cannot(&e.to_string()))?;
    }
    Ok(())
}
