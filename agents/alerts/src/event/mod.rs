//! Events: what the notices speak of, put together.
//!
//! Terms: a *track* is everything one mission says under one trigger id, with whatever cites it; an *event* is one or
//! more tracks that are the same thing in the sky; a notice is *withdrawn* when a trusted retraction names it, and
//! *superseded* when its own author replaced it.
//!
//! The book is state without clock or I/O, and what it says depends on the set of notices it holds, not on the order in
//! which they came: groups, withdrawals and best positions are computed from the set. Only event numbers follow arrival.

mod book;
mod chains;
mod grouping;
mod identity;
mod key;
mod keys;
mod outcome;
mod standing;
mod stored;
mod summary;

pub use book::EventBook;
pub use grouping::{MergeRules, Place, TrackPoint, separation_deg};
pub use identity::identity;
pub use key::Key;
pub use outcome::{Change, EventId, Outcome, Trust};
pub use summary::{Event, EventState, PositionRecord};
