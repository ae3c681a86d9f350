//! What may be asked about runs of pipelines. The desk blocks: it is called on threads for that.

use alidade_pipeline::{plan::RunRequest, port::LogRow};
use serde_json::Value;

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskFault {
    #[error("there is no run {0}")]
    Unknown(String),
    /// What was sent is wrong.
    #[error("{0}")]
    Bad(String),
    /// It cannot be done now.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

/// Some lines of a run's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPage {
    pub rows: Vec<LogRow>,
    /// State, status and cause of the run when they were read.
    pub run: Value,
    pub ended: bool,
}

/// Who keeps and starts the runs.
pub trait RunDesk: Send + Sync {
    fn pipelines(&self) -> Result<Value, DeskFault>;
    /// Newest first, without plans.
    fn runs(&self, pipeline: Option<&str>, target: Option<&str>, limit: i64) -> Result<Value, DeskFault>;
    fn run(&self, id: &str) -> Result<Value, DeskFault>;
    /// Lines after this number.
    fn log(&self, id: &str, from: u64, limit: i64) -> Result<LogPage, DeskFault>;
    /// Records a run and begins it; its identifier.
    fn start(&self, request: &RunRequest) -> Result<String, DeskFault>;
    fn cancel(&self, id: &str) -> Result<(), DeskFault>;
}
