//! The doors to the outside: HTTP and MQTT. They translate and decide nothing.
//!
//! | module | holds |
//! |---|---|
//! | [`snapshot`] | what is shown: one plain value that the daemon publishes |
//! | [`alerts`] | every alert event, the latencies, the strategies |
//! | [`command`] | what may be asked: commands with one answer each |
//! | [`http`] | dashboard, JSON interface, event stream |
//! | [`people`] | the accounts, as the doors ask them |
//! | [`records`] | what is kept, as it is read from outside |
//! | [`runs`] | what may be asked about runs of pipelines |
//! | [`mqtt`] | the retained feed for everything else on the mountain |
//!
//! Both gateways run in threads of their own: the daemon's runtime may have a paused clock, and a slow browser or a
//! dead broker must not be felt by it. Channels are the only contact.

pub mod alerts;
pub mod command;
pub mod http;
pub mod mqtt;
pub mod people;
pub mod records;
pub mod runs;
pub mod snapshot;

use serde::Deserialize;
use std::sync::Arc;

/// Journal entries on their way out: one line of NDJSON each, in order, without the line end.
pub type JournalLine = Arc<str>;

/// What a gateway needs to know of a journal line; the rest goes through unread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LineHead {
    pub seq: u64,
    pub at: String,
    pub fact: String,
}

impl LineHead {
    pub fn of(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}
