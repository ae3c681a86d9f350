//! Runs of packages: what is known of one, and the legal steps.
//!
//! States: `WAITING`, `INITIALIZING`, `RUNNING`, `PAUSE`, `FINISHING`, `DONE`, `FAILED`, `CANCELED`, by the table of
//! [`RunState`]. A run's outputs are recorded in one transaction with its `DONE`: before that nobody sees them.

use crate::executors::Ticket;
use alidade_model::{
    states::{IllegalTransition, LifeCycle, RunState},
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// How far a run is, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub label: String,
    pub info: String,
    pub value: f64,
    pub min: f64,
    pub max: f64,
}

/// A file that a run reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInput {
    pub name: String,
    pub source: PathBuf,
}

/// A file that a run has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutput {
    /// Below the run's `outputs/`.
    pub name: String,
    pub size: u64,
    pub sha256: String,
}

/// One run of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageRun {
    pub id: String,
    pub package: String,
    pub name: String,
    /// The account that began it.
    #[serde(default)]
    pub owner: Option<String>,
    pub config: Value,
    pub inputs: Vec<RunInput>,
    pub state: RunState,
    /// Why it is where it is.
    pub cause: String,
    pub created_at: UtcTime,
    pub start: Option<UtcTime>,
    pub end: Option<UtcTime>,
    pub progress: Progress,
    pub outputs: Vec<RunOutput>,
    pub executor: String,
    pub ticket: Option<Ticket>,
    /// Somebody wants it stopped, or standing still.
    #[serde(default)]
    pub stop_asked: bool,
}

impl PackageRun {
    /// One legal step.
    pub fn go(&mut self, to: RunState, cause: impl Into<String>, now: UtcTime) -> Result<(), IllegalTransition> {
        self.state = self.state.step(to)?;
        self.cause = cause.into();
        match to {
            RunState::Running if self.start.is_none() => self.start = Some(now),
            RunState::Done | RunState::Failed | RunState::Canceled => self.end = Some(now),
            _ => {}
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, RunState::Done | RunState::Failed | RunState::Canceled)
    }

    /// Takes part in the count of those that run at a time.
    pub fn is_active(&self) -> bool {
        matches!(
            self.state,
            RunState::Initializing | RunState::Running | RunState::Paused | RunState::Finishing
        )
    }

    /// What clients see: Pirus's public fields and the cause.
    pub fn public(&self) -> Value {
        json!({
            "id": self.id,
            "pipe_id": self.package,
            "name": self.name,
            "owner": self.owner,
            "config": self.config,
            "start": self.start,
            "end": self.end,
            "status": word(self.state),
            "cause": self.cause,
            "inputs": self.inputs.iter().map(|input| &input.name).collect::<Vec<_>>(),
            "outputs": self.outputs,
            "progress": self.progress,
            "created_at": self.created_at,
            "executor": self.executor,
        })
    }
}

/// A state in Pirus's words.
pub fn word(state: RunState) -> &'static str {
    match state {
        RunState::Waiting => "WAITING",
        RunState::Initializing => "INITIALIZING",
        RunState::Running => "RUNNING",
        RunState::Paused => "PAUSE",
        RunState::Finishing => "FINISHING",
        RunState::Done => "DONE",
        RunState::Failed => "FAILED",
        RunState::Canceled => "CANCELED",
    }
}

/// Where runs are kept. A call is one transaction: what it returns `Ok` for survives the death of the daemon.
pub trait RunBook: Send {
    /// Keeps a run as it is now, with its outputs.
    fn keep(&mut self, run: &PackageRun) -> Result<(), String>;
    /// All runs, oldest first.
    fn all(&mut self) -> Result<Vec<PackageRun>, String>;
    fn forget(&mut self, id: &str) -> Result<(), String>;
}

/// The newest of the lines that a run has written of its progress: `{"progress": {...}}` or `{"status": "words"}`. Lines that
/// say nothing, and a last line that is still being written, are passed over.
pub fn progress_of(lines: &str, before: &Progress) -> Progress {
    let mut progress = before.clone();
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    for line in whole.lines() {
        let Ok(Value::Object(said)) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if let Some(new) = said
            .get("progress")
            .and_then(|p| serde_json::from_value::<Progress>(p.clone()).ok())
        {
            progress = Progress {
                info: if new.info.is_empty() {
                    progress.info
                } else {
                    new.info.clone()
                },
                ..new
            };
        }
        if let Some(status) = said.get("status").and_then(Value::as_str) {
            progress.info = status.chars().take(500).collect();
        }
    }
    progress
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_of_progress_counts() {
        let none = Progress::default();
        let text = "{\"progress\":{\"value\":1,\"min\":0,\"max\":4,\"label\":\"a\"}}\nnoise\n{\"status\":\"half\"}\n\
                    {\"progress\":{\"value\":2,\"max\":4}}\n{\"progress\":{\"value\":3";
        let it = progress_of(text, &none);
        assert_eq!((it.value, it.max, it.info.as_str()), (2.0, 4.0, "half"));
        assert_eq!(progress_of("", &it), it);
    }
}
