//! The store: the journal and everything that can be asked about it, in SQLite or PostgreSQL.
//!
//! The *journal* is append-only and numbered from 1 without gaps. Each append is one transaction that writes journal
//! rows and *projects* each fact into tables (requests, sequences, exposures ...), so what the tables say is always
//! what the journal says. After any death of the process, [`Store::restore`] reads back what the agents need.
//!
//! | module | terms |
//! |---|---|
//! | `connection` | one connection to either database; durability |
//! | [`migrations`] | versions of the schema, forth and back |
//! | `schema`, `rows` | tables, and rows from and to the vocabulary |
//! | `project` | what each fact means for the tables |
//! | [`restore`] | what a restart reads back |
//! | [`pipelines`] | runs of processing: the store side of the pipeline engine |
//! | [`queries`], [`nights`], [`targets`] | what gateways and commands ask |
//! | [`installation`] | telescopes, instruments and strategies: what people set up |
//! | [`people`] | accounts, sessions, tokens and their audit |
//! | [`delivery`] | the books of the data's life: units, message bus, records, metadata |
//! | `packages` | runs of packages |
//!
//! All calls block; the caller keeps them off the agents' thread. Nothing outside this module names the database.

mod connection;
pub mod delivery;
mod error;
pub mod installation;
pub mod migrations;
pub mod nights;
mod packages;
pub mod people;
pub mod pipelines;
mod project;
pub mod queries;
pub mod restore;
mod rows;
mod schema;
pub mod targets;

pub use connection::Durability;
pub use error::StoreError;

use alidade_model::journal::Entry;
use connection::{Address, AnyConnection, in_transaction};
use diesel::prelude::*;
use rows::{JournalRow, naive, whole};
use schema::journal;
use std::borrow::Cow;

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOptions {
    /// Create the database and apply missing migrations; otherwise both are errors.
    pub migrate: bool,
    pub durability: Durability,
}

/// An open database of this build's schema.
pub struct Store {
    address: Address,
    durability: Durability,
    connection: AnyConnection,
    context: project::Context,
}

impl Store {
    /// Opens `sqlite:PATH`, `sqlite::memory:` or `postgres://...`.
    ///
    /// A database from a newer version, of another program, or that cannot be written is refused unchanged.
    pub fn open(url: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        if !options.migrate && address.is_missing() {
            return Err(StoreError::Missing { place: address.place() });
        }
        let mut connection = address.connect()?;
        let versions = migrations::status(&mut connection, &address)?;
        migrations::refuse_newer(&versions, &address)?;
        let missing: Vec<_> = versions
            .iter()
            .filter(|v| !v.applied)
            .map(|v| v.name.as_str())
            .collect();
        if !missing.is_empty() && !options.migrate {
            return Err(StoreError::Behind {
                place: address.place(),
                versions: missing.join(", "),
            });
        }
        migrations::probe_write(&mut connection, &address)?;
        address.prepare(&mut connection, options.durability)?;
        migrations::apply(&mut connection, &address)?;
        Ok(Self {
            address,
            durability: options.durability,
            connection,
            context: project::Context::default(),
        })
    }

    /// Where the database is, without credentials.
    pub fn place(&self) -> String {
        self.address.place()
    }

    /// Appends entries and projects their facts, all or none.
    ///
    /// Entries that the journal has already are skipped when they are the same and refused when they are not, so an
    /// append whose outcome is unknown is simply repeated. A lost connection is opened again once; while that fails
    /// too the error is [`StoreError::Lost`] or [`StoreError::CannotOpen`] and the caller keeps the entries.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        match self.append_once(entries) {
            Err(StoreError::Lost { .. }) => {
                self.reconnect()?;
                self.append_once(entries)
            }
            done => done,
        }
    }

    fn append_once(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let place = self.address.place();
        let mut context = self.context.clone();
        in_transaction(&mut self.connection, |c| append_all(c, entries, &mut context)).map_err(|e| e.at(place))?;
        self.context = context;
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        let mut connection = self.address.connect()?;
        self.address.prepare(&mut connection, self.durability)?;
        self.connection = connection;
        Ok(())
    }

    /// Runs reads on the connection, opened again once when it was lost.
    fn read<T>(&mut self, query: impl Fn(&mut AnyConnection) -> Result<T, ReadError>) -> Result<T, StoreError> {
        let place = self.address.place();
        match query(&mut self.connection).map_err(|e| e.at(&place)) {
            Err(StoreError::Lost { .. }) => {
                self.reconnect()?;
                query(&mut self.connection).map_err(|e| e.at(&place))
            }
            done => done,
        }
    }
}

/// Why an append inside its transaction fails.
enum AppendError {
    Database(diesel::result::Error),
    Gap { last: i64, found: u64 },
    Conflict(u64),
    Unwritable { kind: String, cause: String },
}

impl From<diesel::result::Error> for AppendError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl AppendError {
    fn at(self, place: String) -> StoreError {
        match self {
            Self::Database(e) => error::database_error(&place, &e),
            Self::Gap { last, found } => StoreError::Gap { place, last, found },
            Self::Conflict(seq) => StoreError::Conflict { place, seq },
            Self::Unwritable { kind, cause } => StoreError::Unwritable { kind, cause },
        }
    }
}

/// Why a read fails: the database, or a row that says what no row may say.
enum ReadError {
    Database(diesel::result::Error),
    Garbled(&'static str, String),
}

impl From<diesel::result::Error> for ReadError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl ReadError {
    fn at(self, place: &str) -> StoreError {
        match self {
            Self::Database(e) => error::database_error(place, &e),
            Self::Garbled(table, cause) => StoreError::Unreadable {
                place: place.into(),
                table,
                cause,
            },
        }
    }
}

fn append_all(c: &mut AnyConnection, entries: &[Entry], context: &mut project::Context) -> Result<(), AppendError> {
    let mut last: i64 = journal::table
        .select(diesel::dsl::max(journal::seq))
        .first::<Option<i64>>(c)?
        .unwrap_or(0);
    let mut rows = Vec::with_capacity(entries.len());
    let mut fresh = Vec::with_capacity(entries.len());
    for entry in entries {
        let row = journal_row(entry)?;
        if row.seq <= last && rows.is_empty() {
            let kept: Option<String> = journal::table
                .find(row.seq)
                .select(journal::entry)
                .first(c)
                .optional()?;
            if kept.as_deref() != Some(row.entry.as_str()) {
                return Err(AppendError::Conflict(entry.seq));
            }
        } else if row.seq != last + 1 {
            return Err(AppendError::Gap { last, found: entry.seq });
        } else {
            last = row.seq;
            rows.push(row);
            fresh.push(entry);
        }
    }
    insert_journal(c, &rows)?;
    for (entry, row) in fresh.into_iter().zip(&rows) {
        project::project(c, &without_nul(entry, &row.entry), context)?;
    }
    Ok(())
}

/// Unlike projections, a second row of the same number is an error: another daemon has written it.
fn insert_journal(c: &mut AnyConnection, rows: &[JournalRow]) -> QueryResult<()> {
    match c {
        AnyConnection::Sqlite(c) => {
            for row in rows {
                diesel::insert_into(journal::table).values(row).execute(c)?;
            }
        }
        AnyConnection::Postgres(c) => {
            for some in rows.chunks(connection::ROWS_PER_STATEMENT) {
                diesel::insert_into(journal::table).values(some).execute(c)?;
            }
        }
    }
    Ok(())
}

fn journal_row(entry: &Entry) -> Result<JournalRow, AppendError> {
    let json = serde_json::to_string(entry).map_err(|e| AppendError::Unwritable {
        kind: format!("number {}", entry.seq),
        cause: e.to_string(),
    })?;
    // Only the number and the instant stand before the tag.
    let kind = json
        .split_once("\"fact\":\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(kind, _)| kind.to_owned());
    Ok(JournalRow {
        seq: whole(entry.seq),
        at: naive(entry.at),
        kind: kind.unwrap_or_default(),
        entry: json,
    })
}

/// PostgreSQL's text cannot hold the NUL character, which a hostile packet may contain; tables get U+FFFD instead.
/// The journal's JSON escapes it and is exact, and so is the packet's body, which is kept as bytes.
fn without_nul<'a>(entry: &'a Entry, json: &str) -> Cow<'a, Entry> {
    use alidade_model::journal::Fact;
    if !json.contains("\\u0000") {
        return Cow::Borrowed(entry);
    }
    let cleaned = serde_json::from_str(json).map(|mut value| {
        replace_nul(&mut value);
        value
    });
    let Ok(mut clean) = cleaned.and_then(serde_json::from_value::<Entry>) else {
        return Cow::Borrowed(entry);
    };
    if let (Fact::PacketReceived { body: kept, .. }, Fact::PacketReceived { body, .. }) = (&mut clean.fact, &entry.fact)
    {
        kept.clone_from(body);
    }
    Cow::Owned(clean)
}

fn replace_nul(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => *text = text.replace('\0', "\u{FFFD}"),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(fields) => {
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(key, mut value)| {
                    replace_nul(&mut value);
                    (key.replace('\0', "\u{FFFD}"), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
