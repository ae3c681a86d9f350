//! The port to the database: what a station keeps, and the one transaction in which it changes it.
//!
//! A [`Ledger`] runs work in a transaction; the work sees [`Books`]. Whatever a message causes (its consumption, the
//! change of a unit, the messages that follow) is written in one transaction, so that each message has its effect once,
//! whenever the process dies.

use crate::{
    obscore::ObsCore,
    unit::{Unit, UnitEvent},
};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The database failed; nothing of the transaction was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MessageState {
    /// Written; nobody has taken it. For another site: it has not acknowledged it.
    Sent,
    /// Taken by a consumer, under a lease.
    Received,
    /// Done.
    Consumed,
    /// Nobody took it within its time.
    Expired,
    /// Not understood or not allowed; the reason is kept.
    Rejected,
}

impl MessageState {
    pub const ALL: [MessageState; 5] = [
        Self::Sent,
        Self::Received,
        Self::Consumed,
        Self::Expired,
        Self::Rejected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "Sent",
            Self::Received => "Received",
            Self::Consumed => "Consumed",
            Self::Expired => "Expired",
            Self::Rejected => "Rejected",
        }
    }
}

/// A message, in the outbox, on its way, or received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The same at every site: sender, the epoch of its database, number there.
    pub id: String,
    /// Order in this database.
    pub number: i64,
    /// Sites.
    pub from: String,
    pub to: String,
    pub selector: String,
    /// JSON, as it was written.
    pub body: String,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// The message that this one answers.
    pub answers: Option<String>,
    pub author: String,
    pub created: UtcTime,
    /// After this instant nobody takes it any more.
    pub expires: Option<UtcTime>,
    pub state: MessageState,
    /// Who has it; whoever has lost it cannot settle the message.
    pub token: Option<String>,
    pub lease_until: Option<UtcTime>,
    /// Times it was taken.
    pub attempts: i32,
    pub reason: Option<String>,
}

/// The end of a message: consumed, expired or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub state: MessageState,
    pub reason: Option<String>,
}

/// A document of a station: what the seed keeps in its document stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: String,
    pub id: String,
    /// The unit it is about, or empty.
    pub unit: String,
    pub state: String,
    /// When it was last changed; for a job that waits: not before.
    pub at: UtcTime,
    pub body: Value,
}

/// A line of the station's journal: what was refused, repaired, reviewed, lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub number: i64,
    pub at: UtcTime,
    /// `refused`, `problem`, `repaired`, `audit`.
    pub kind: String,
    /// What it is about: a unit, a message, a replica.
    pub subject: String,
    pub author: String,
    pub text: String,
}

/// How many of what there is, for pages and tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub kind: String,
    pub state: String,
    pub count: i64,
}

/// The books inside a transaction.
pub trait Books {
    fn unit(&mut self, uid: &str) -> Result<Option<Unit>, Fault>;
    /// Writes a unit, new or changed.
    fn put_unit(&mut self, unit: &Unit) -> Result<(), Fault>;
    /// Newest change first.
    fn units(&mut self, state: Option<&str>, limit: i64) -> Result<Vec<Unit>, Fault>;
    fn add_event(&mut self, event: &UnitEvent) -> Result<(), Fault>;
    fn last_event(&mut self, uid: &str) -> Result<i64, Fault>;
    fn events(&mut self, uid: &str) -> Result<Vec<UnitEvent>, Fault>;

    /// The next number of a message, and the epoch of this database.
    fn next_number(&mut self) -> Result<(i64, String), Fault>;
    /// False when a message of this identifier is there already.
    fn add_message(&mut self, message: &Message) -> Result<bool, Fault>;
    fn message(&mut self, id: &str) -> Result<Option<Message>, Fault>;
    /// Messages for `here` that may be taken now, oldest first: sent, or received under a lease that has run out.
    fn waiting(&mut self, here: &str, patterns: &[String], now: UtcTime, limit: i64) -> Result<Vec<Message>, Fault>;
    /// Takes a message under a lease; false when somebody else was faster.
    fn take(&mut self, id: &str, token: &str, now: UtcTime, until: UtcTime) -> Result<bool, Fault>;
    /// Ends a message; with a token only for who holds it. False when it is not his any more.
    fn settle(&mut self, id: &str, token: Option<&str>, end: &Settlement) -> Result<bool, Fault>;
    /// Messages that other sites have not acknowledged, oldest first.
    fn outgoing(&mut self, here: &str, after: i64, limit: i64) -> Result<Vec<Message>, Fault>;
    /// Newest first; `unread` only those that nobody has settled.
    fn messages(&mut self, unread: bool, limit: i64) -> Result<Vec<Message>, Fault>;
    fn join(&mut self, group: &str, member: &str) -> Result<(), Fault>;
    fn leave(&mut self, group: &str, member: &str) -> Result<(), Fault>;
    fn members(&mut self, group: &str) -> Result<Vec<String>, Fault>;
    /// Removes settled messages of before an instant; how many.
    fn forget_messages(&mut self, before: UtcTime) -> Result<usize, Fault>;

    fn put_record(&mut self, record: &Record) -> Result<(), Fault>;
    fn record(&mut self, kind: &str, id: &str) -> Result<Option<Record>, Fault>;
    fn remove_record(&mut self, kind: &str, id: &str) -> Result<(), Fault>;
    /// Of one kind, oldest first, and of a unit or a state when they are given.
    fn records(
        &mut self,
        kind: &str,
        unit: Option<&str>,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Record>, Fault>;
    fn count_records(&mut self, kind: &str, state: &str) -> Result<i64, Fault>;
    /// Counts of units, messages and records by kind and state.
    fn counts(&mut self) -> Result<Vec<Count>, Fault>;

    /// Metadata of a product; the same product replaces itself.
    fn put_product(&mut self, product: &ObsCore) -> Result<(), Fault>;
    fn products(&mut self, unit: Option<&str>, limit: i64) -> Result<Vec<ObsCore>, Fault>;

    fn add_log(&mut self, line: &LogLine) -> Result<(), Fault>;
    /// Newest first.
    fn log(&mut self, limit: i64) -> Result<Vec<LogLine>, Fault>;
    /// Empties everything.
    fn clear(&mut self) -> Result<(), Fault>;
}

/// A connection to the books.
pub trait Ledger: Send {
    /// Runs `work` in one transaction: all of it is kept, or nothing.
    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Books) -> Result<(), Fault>) -> Result<(), Fault>;
}

/// Runs work that returns something.
pub fn within<T>(
    ledger: &mut dyn Ledger,
    mut work: impl FnMut(&mut dyn Books) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut out = None;
    ledger.transact(&mut |books| {
        out = Some(work(books)?);
        Ok(())
    })?;
    out.ok_or_else(|| Fault("the transaction did not run".into()))
}
