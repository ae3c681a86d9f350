//! VOEvent Transport Protocol 2.0 (IVOA Recommendation, 2017): authors, brokers, subscribers.
//!
//! ```text
//!  author ──packet──► broker ──packet──► subscriber      one connection a packet; long-lived
//!         ◄──ack/nak─        ◄──ack────
//!                            ──iamalive─► ◄─iamalive──    every minute
//! ```
//!
//! The protocol knows neither secrecy nor proof of who speaks. Listen on the loopback interface or a private network,
//! and let the allow list name the peers.

mod author;
mod broker;
pub mod frame;
mod link;
pub mod message;
mod relay;
mod subscriber;

pub use author::{Receipt, send};
pub use broker::{Broker, BrokerSettings};
pub use link::VtpError;
pub use relay::Relay;
pub use subscriber::{LinkState, SubscriberSettings, run, session};

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

/// What tells the time: the house has one clock, and a simulated night its own.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The answer to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is safe in the journal.
    Taken,
    /// It was refused, and why.
    Refused(String),
}

/// A packet, with a way to answer it. Dropping the answer leaves the packet unacknowledged and ends the connection, so
/// that the sender knows.
#[derive(Debug)]
pub struct Delivery {
    /// The packet.
    pub bytes: Vec<u8>,
    /// When its last byte came.
    pub received_at: DateTime<Utc>,
    /// Who sent it, for people.
    pub peer: String,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}
