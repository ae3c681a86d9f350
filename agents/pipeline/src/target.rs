//! Targets: what a task reads and makes, by file, dataset and version, with a guard that records what went wrong.

use crate::port::{JobStatus, TargetState};
use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Why work on a target did not come to a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// There is nothing to be written, and that is normal.
    #[error("the target is empty")]
    Empty,
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for TargetProblem {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A file in its dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub path: PathBuf,
    pub dataset: String,
    pub version: String,
    pub state: TargetState,
    pub status: JobStatus,
    /// What was reported of it.
    pub message: String,
}

impl Target {
    /// Pending and ok.
    pub fn new(path: impl Into<PathBuf>, dataset: &str, version: &str) -> Self {
        Self {
            path: path.into(),
            dataset: dataset.into(),
            version: version.into(),
            state: TargetState::Pending,
            status: JobStatus::Ok,
            message: String::new(),
        }
    }

    pub fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// Bytes; zero when there is no file.
    pub fn size(&self) -> u64 {
        self.path.metadata().map_or(0, |m| m.len())
    }

    /// Of the last change of the file.
    pub fn changed(&self) -> Option<SystemTime> {
        self.path.metadata().and_then(|m| m.modified()).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.state == TargetState::Empty
    }

    pub fn pending(&mut self) {
        self.state = TargetState::Pending;
    }
    pub fn progress(&mut self) {
        self.state = TargetState::InProgress;
    }
    pub fn terminated(&mut self) {
        self.state = TargetState::Terminated;
    }
    pub fn empty(&mut self) {
        self.state = TargetState::Empty;
    }
    pub fn ok(&mut self) {
        self.status = JobStatus::Ok;
    }
    pub fn warning(&mut self, said: impl Into<String>) {
        self.status = JobStatus::Warning;
        self.message = said.into();
    }
    pub fn error(&mut self, said: impl Into<String>) {
        self.status = JobStatus::Error;
        self.message = said.into();
    }

    /// Work on the file, with the state kept: in progress, then terminated; empty when the work says so, which is not a
    /// failure; error, with the reason, when it fails.
    pub fn activate<T>(
        &mut self,
        work: impl FnOnce(&Path) -> Result<T, TargetProblem>,
    ) -> Result<Option<T>, TargetProblem> {
        self.ok();
        self.progress();
        match work(&self.path) {
            Ok(value) => {
                self.terminated();
                Ok(Some(value))
            }
            Err(TargetProblem::Empty) => {
                self.empty();
                Ok(None)
            }
            Err(problem) => {
                self.error(problem.to_string());
                self.terminated();
                Err(problem)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_records_what_became_of_the_work() {
        let mut target = Target::new("/nowhere/file", "D", "01");
        assert_eq!(
            (target.state, target.status, target.size()),
            (TargetState::Pending, JobStatus::Ok, 0)
        );
        assert_eq!(target.activate(|_| Ok(3)), Ok(Some(3)));
        assert_eq!((target.state, target.status), (TargetState::Terminated, JobStatus::Ok));
        assert_eq!(target.activate(|_| Err::<(), _>(TargetProblem::Empty)), Ok(None));
        assert!(target.is_empty());
        assert!(
            target
                .activate(|path| std::fs::write(path, "x").map_err(Into::into))
                .is_err()
        );
        assert_eq!(
            (target.state, target.status),
            (TargetState::Terminated, JobStatus::Error)
        );
        assert!(!target.message.is_empty());
    }
}
