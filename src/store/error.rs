//! Why the store refused.

use alidade_model::request::SequenceId;

/// Everything that can go wrong between the observatory and its database; one line each, without credentials.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database address {0} is not sqlite:PATH, sqlite::memory: or postgres://...")]
    UnknownScheme(String),
    #[error("cannot open the database {place}: {cause}")]
    CannotOpen { place: String, cause: String },
    #[error("database {place} does not exist")]
    Missing { place: String },
    #[error("{place} is not a database file")]
    NotADatabase { place: String },
    #[error("database {place} holds tables of another program ({table}); nothing was changed")]
    Foreign { place: String, table: String },
    /// A later build has migrated this database; running on it could lose what that build has written.
    #[error(
        "database {place} is from a newer version (it has migration {versions}, unknown to this build); nothing was changed"
    )]
    Newer { place: String, versions: String },
    #[error("database {place} needs migration {versions}: run `alidade db migrate`")]
    Behind { place: String, versions: String },
    #[error("migration {version} of {place} failed and was rolled back: {cause}")]
    Migration {
        place: String,
        version: String,
        cause: String,
    },
    #[error("the journal of {place} ends with {last}; entry {found} would leave a gap")]
    Gap { place: String, last: i64, found: u64 },
    #[error(
        "journal entry {seq} of {place} was already written with another content: does a second daemon use this database?"
    )]
    Conflict { place: String, seq: u64 },
    #[error("fact {kind} cannot be written as JSON: {cause}")]
    Unwritable { kind: String, cause: String },
    #[error("table {table} of {place}: {cause}")]
    Unreadable {
        place: String,
        table: &'static str,
        cause: String,
    },
    #[error("sequence {0} is unknown")]
    UnknownSequence(SequenceId),
    #[error("the connection to {place} is lost: {cause}")]
    Lost { place: String, cause: String },
    #[error("database {place}: {cause}")]
    Database { place: String, cause: String },
}

/// The first line of a database's message: the rest is hints for its own console.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn database_error(place: &str, error: &diesel::result::Error) -> StoreError {
    use diesel::result::{DatabaseErrorKind, Error};
    let place = place.to_owned();
    let cause = one_line(&error.to_string());
    let lost = match error {
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand, _) => true,
        // libpq reports a server that went away in the middle of a command without an error class.
        Error::DatabaseError(_, _) => [
            "server closed the connection",
            "no connection to the server",
            "terminating connection",
        ]
        .iter()
        .any(|sign| cause.contains(sign)),
        _ => false,
    };
    if lost {
        StoreError::Lost { place, cause }
    } else {
        StoreError::Database { place, cause }
    }
}
