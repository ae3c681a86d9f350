//! Alerts: from any notice to one observing proposal, once.
//!
//! ```text
//!  transport ──bytes──► read ──Reading──► EventBook ──Event──► decide ──Proposal──► (the night)
//!  vtp, folder          pure              pure state           pure: strategies
//! ```
//!
//! Terms: a *packet* is bytes; a *notice* is a packet that was understood; an *event* is one thing in the sky that
//! several notices of several missions may speak of; a *strategy* is a file that says which events are observed and how;
//! a *proposal* is what it asks for. Everything but [`transport`] and [`agent`] is pure: no clock, no files, no network, no logging.

pub mod agent;
mod base64_bytes;
pub mod error_radius;
pub mod event;
pub mod format;
pub mod instant;
pub mod limits;
pub mod notice;
pub mod outlook;
pub mod read;
pub mod reason;
pub mod record;
pub mod report;
pub mod results;
pub mod skymap;
pub mod strategy;
pub mod transport;
pub mod xml;

pub use event::{Event, EventBook, EventId, MergeRules, Outcome};
pub use limits::Limits;
pub use notice::{Channel, Notice};
pub use read::{Reading, read, read_within};
pub use reason::{Reason, Refusal, Verdict};
pub use strategy::{Decision, Proposal, Strategy, UnitCapabilities, decide, decide_seen};
