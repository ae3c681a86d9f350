//! What may be said to the pipeline agent.

use actix::Message;

/// Paths of what a frame became, relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    pub products: Vec<String>,
}

/// One frame has been through the `frame` pipeline, or could not be.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct FrameDone {
    pub exposure: String,
    pub sequence: Option<String>,
    pub outcome: Result<Outputs, String>,
}
