//! What may be said to the safety agent.

use crate::{
    inputs::Inputs,
    overrides::{Override, Refused},
};
use actix::Message;

/// The fused conditions, from monitoring, about once a second. Names carry their unit.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Conditions {
    pub inputs: Inputs,
}

/// Close now and stay closed until [`Release`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Latch {
    pub who: String,
    pub cause: String,
}

/// Lets the verdict decide again.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Release {
    pub who: String,
}

/// One input shall not forbid for a while.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct PlaceOverride(pub Override);

/// Takes an override back; true when there was one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct LiftOverride {
    pub who: String,
    pub input: String,
}
