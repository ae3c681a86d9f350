//! What may be said to the routine agent.

use actix::Message;
use alidade_model::request::{Request, RequestFault};

/// A user's finished request.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Denied>")]
pub struct Submit(pub Request);

/// Gives a sequence up.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Denied>")]
pub struct Cancel {
    pub who: String,
    pub sequence: String,
}

/// The data of an executed sequence are bad: its quota is given back and it is observed anew.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Denied>")]
pub struct Redo {
    pub who: String,
    pub sequence: String,
    pub cause: String,
}

/// Why it was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    Fault(#[from] RequestFault),
    #[error("{0}")]
    Book(String),
    #[error("sequence {0} is on the instruments: abort it first")]
    Running(String),
    #[error("sequence {0} has not been observed: there is nothing to do again")]
    NotObserved(String),
}
