//! What may be said to the majordome.

use actix::Message;
use alidade_model::{
    request::SequenceId,
    time::{Night, UtcTime},
};
pub use alidade_observation::messages::{Disposition, Ping};

/// The Sun and the devices, from monitoring.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "()")]
pub struct Circumstances {
    pub sun_alt_deg: f64,
    pub sun_sinking: bool,
    pub night: Night,
    /// Start and end of darkness, when there is any.
    pub dusk: Option<UtcTime>,
    pub dawn: Option<UtcTime>,
    /// Every blocking device has been read since the start.
    pub all_read: bool,
    pub blocking_down: Vec<String>,
}

/// The verdict has changed, from safety.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "()")]
pub struct SafetyChanged {
    pub safe: bool,
    pub reasons: Vec<String>,
}

/// An alert's sequence, already in the book, wants the telescope.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct TargetOfOpportunity {
    pub sequence: SequenceId,
    pub event: String,
    pub priority: f64,
    pub takeover: Takeover,
}

/// When an alert takes the telescope over from what has less priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// When the frames that are being exposed are on disk.
    AfterExposure,
    /// At once: the running exposure is lost.
    Now,
}

/// An event was retracted: whatever is planned or running for it ends.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "()")]
pub struct Retract {
    pub event: String,
    pub cause: String,
}

/// The book has new or fewer sequences.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "()")]
pub struct BookChanged {
    pub cause: String,
}

/// What an operator may order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorOrder {
    /// No new sequences until resumed; the running one ends now.
    Pause,
    Resume,
    /// Ends the running sequence now.
    AbortSequence,
}

#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct Operate {
    pub who: String,
    pub order: OperatorOrder,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("sequence {0} is unknown")]
    UnknownSequence(String),
    #[error("sequence {0} is over")]
    SequenceOver(String),
    #[error("nothing is running")]
    NothingRunning,
    #[error("not paused by an operator")]
    NotPaused,
}
