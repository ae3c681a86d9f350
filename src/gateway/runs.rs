//! What may be asked about runs of pipelines, and by whom: a run that somebody began is not told apart from none by those
//! who may see only their own, and the observatory's runs are seen by all. The desk blocks: it is called on threads for that.

use alidade_pipeline::{
    packages::Asker,
    plan::RunRequest,
    port::{LogRow, RunFilter},
};
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
    /// Somebody else may do it.
    #[error("{0}")]
    NotTheirs(String),
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
    /// Newest first, without plans; only what the filter's asker may see.
    fn runs(&self, filter: &RunFilter) -> Result<Value, DeskFault>;
    fn run(&self, asker: &Asker, id: &str) -> Result<Value, DeskFault>;
    /// Lines after this number.
    fn log(&self, asker: &Asker, id: &str, from: u64, limit: i64) -> Result<LogPage, DeskFault>;
    /// Records a run and begins it; its identifier. It belongs to the asker's account.
    fn start(&self, asker: &Asker, request: &RunRequest) -> Result<String, DeskFault>;
    /// Asks a run to end early; the observatory's own only for those who may touch everything.
    fn cancel(&self, asker: &Asker, id: &str) -> Result<(), DeskFault>;
}
