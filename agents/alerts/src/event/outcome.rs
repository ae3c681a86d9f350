//! What a packet is to the book, and what it changed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::reason::{Reason, Verdict};

/// Number of an event; given in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub u64);

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who may withdraw whose packets, beside each authority its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Authorities (`nasa.gsfc.gcn`) whose retractions hold for every author.
    pub retract_for_all: BTreeSet<String>,
}

/// What a packet changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Nothing: rejected, a duplicate, a conflict, or about no event.
    None,
    /// A new event.
    Created,
    /// A notice more of an event known already.
    Updated,
    /// Events that were apart are one; the others' numbers now lead to this one.
    Merged {
        /// The numbers that were given up.
        absorbed: Vec<EventId>,
    },
    /// An event turned out to be several.
    Split {
        /// The new numbers.
        parts: Vec<EventId>,
    },
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict, with what the book knows.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The event it belongs to.
    pub event: Option<EventId>,
    /// What it changed.
    pub change: Change,
    /// Events whose summary may have changed, this one included.
    pub touched: Vec<EventId>,
}
