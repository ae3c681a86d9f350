//! What may be said to the scheduling agent.

use actix::Message;

/// Plan the night (again) from the present moment.
#[derive(Debug, Clone, Message, PartialEq)]
#[rtype(result = "()")]
pub struct Replan {
    pub cause: String,
    /// The first schedule of a night covers all of it; later ones start now (PYROS `first_schedule`).
    pub first: bool,
}
