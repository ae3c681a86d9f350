//! Executors: where one attempt at a task runs, and how it is watched, paused and ended.
//!
//! Terms: an *attempt* is one try of one task, fenced by an identifier that is never used again. Its *folder* holds all
//! it reads and writes ([`attempt`] names the parts). An *executor* starts attempts somewhere: as a plain process, in a
//! sandbox, in a batch queue. A *ticket* is what is written down of a started attempt so that it can be found again
//! after any death of the daemon: a process number with its start time and the boot it belongs to, or a job number. An
//! *ending* says how it was over, in words for people and apart for out of memory, out of time and stopped.
//!
//! | module | holds |
//! |---|---|
//! | [`attempt`] | what an attempt is given: folder, command, limits, view of the file system |
//! | [`supervisor`] | the few lines of shell between us and the command, that outlive the daemon and keep the exit status |
//! | [`watch`] | what is done with a supervised attempt: poll, signal, wait, clean up |
//! | [`cgroup`] | control groups, version 2 or 1 |
//! | [`process`] | the plain process: own process group, no isolation |
//! | [`bubblewrap`] | the sandbox: nothing but its inputs, outputs and logs, no network |
//! | [`slurm`] | a batch queue over many machines |
//!
//! All calls block, shortly (but [`Executor::wait`]); keep them off the agents' thread. No call reads a clock: `now` is passed in.
//!
//! The order of calls: [`Executor::prepare`], [`Executor::start`], then [`Executor::poll`] or [`Executor::wait`] until
//! [`AttemptState::Ended`], then [`Executor::cleanup`]. After a restart of the daemon [`Executor::find`] tells whether the
//! attempt of a folder had been started, also when the daemon died before it could store the ticket.

pub mod attempt;
pub mod bubblewrap;
pub mod cgroup;
pub mod process;
pub mod slurm;
pub mod supervisor;
pub mod watch;

pub use attempt::{AttemptSpec, Input, Limits, Places, Root};
pub use bubblewrap::BubblewrapExecutor;
pub use process::ProcessExecutor;
pub use slurm::SlurmExecutor;

use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A place where attempts run.
pub trait Executor: Send + Sync {
    /// The name in configurations and tickets: `process`, `bubblewrap`, `slurm`.
    fn name(&self) -> &'static str;

    /// What it can promise on this machine.
    fn capabilities(&self) -> Capabilities;

    /// Makes the attempt's folder complete (inputs, configuration, empty outputs and logs) and refuses what this
    /// executor cannot give. May be repeated; nothing runs yet.
    fn prepare(&self, spec: &AttemptSpec) -> Result<(), ExecutorError>;

    /// Starts a prepared attempt. An attempt that has been started before is not started again: its ticket is told.
    fn start(&self, spec: &AttemptSpec, now: UtcTime) -> Result<Ticket, ExecutorError>;

    /// The ticket of the attempt of this folder, if it has ever been started.
    fn find(&self, folder: &Path) -> Result<Option<Ticket>, ExecutorError>;

    /// How it stands; enforces the limits of time. Once ended it tells the same ending for as long as the folder stands.
    fn poll(&self, ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError>;

    /// Like [`Executor::poll`], but waits up to `at_most` for the end.
    fn wait(&self, ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
        let mut waited = Duration::ZERO;
        loop {
            let state = self.poll(ticket, now.plus_seconds(waited.as_secs_f64()))?;
            if matches!(state, AttemptState::Ended(_)) || waited >= at_most {
                return Ok(state);
            }
            let nap = Duration::from_millis(20).min(at_most - waited);
            std::thread::sleep(nap);
            waited += nap;
        }
    }

    /// Pauses, resumes or stops. Stopping what has ended is not an error; the others then are.
    fn signal(&self, ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError>;

    /// Frees what the attempt held outside its folder and ends every process it may have left. The folder stays.
    fn cleanup(&self, ticket: &Ticket) -> Result<(), ExecutorError>;
}

/// What an executor promises. What it cannot do is refused, not ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Running processes stand still and go on later.
    pub pause: bool,
    /// The command cannot change its inputs.
    pub read_only_inputs: bool,
    /// The command cannot reach any network.
    pub no_network: bool,
    /// The command may have a root file system of its own.
    pub own_root: bool,
    /// The sum of memory of all its processes is bounded, and exceeding it is told apart.
    pub memory_limit: bool,
    /// Every process that it started ends with it, however it hides.
    pub kills_all: bool,
}

/// What can be asked of a started attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    Pause,
    Resume,
    /// Ask to end, and end it by force after a few seconds.
    Stop,
}

/// What is written down of a started attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// [`Executor::name`].
    pub executor: String,
    /// [`AttemptSpec::id`].
    pub attempt: String,
    pub folder: PathBuf,
    pub handle: Handle,
}

/// How the attempt is known to the system that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handle {
    /// `started` is the start time of the process in clock ticks since boot (`/proc/PID/stat`, field 22): the same number
    /// with another start time, or after another boot, is another process.
    Process {
        pid: u32,
        started: u64,
        boot: String,
    },
    Slurm {
        job: u64,
    },
}

/// How a started attempt stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AttemptState {
    /// Accepted by a queue, not yet running.
    Queued,
    Running,
    Paused,
    Ended(Ending),
}

/// How an attempt was over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Processor time of all its processes, seconds, where it is known.
    pub cpu_s: Option<f64>,
    /// Highest memory use, bytes, where it is known.
    pub peak_memory: Option<u64>,
}

impl Ending {
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            cpu_s: None,
            peak_memory: None,
        }
    }

    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Exited { code: 0 }
    }
}

/// Why an attempt is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    Exited {
        code: i32,
    },
    /// By a signal that we did not send.
    Killed {
        signal: i32,
    },
    /// Its memory limit, in bytes where known.
    OutOfMemory {
        limit: Option<u64>,
    },
    /// Its limit of processor time.
    OutOfCpuTime {
        limit_s: f64,
    },
    /// Its limit of elapsed time, pauses not counted.
    OutOfTime {
        limit_s: f64,
    },
    /// Stopped on demand.
    Stopped,
    /// Nobody kept how it ended: the machine was restarted, or its supervisor was killed.
    Lost {
        cause: String,
    },
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited { code: 0 } => write!(f, "done"),
            Self::Exited { code: 126 } => write!(f, "exit status 126: the command cannot be executed"),
            Self::Exited { code: 127 } => write!(f, "exit status 127: the command was not found"),
            Self::Exited { code } => write!(f, "exit status {code}"),
            Self::Killed { signal } => write!(f, "killed by signal {signal}"),
            Self::OutOfMemory { limit: Some(limit) } => write!(f, "out of memory: more than {limit} bytes"),
            Self::OutOfMemory { limit: None } => write!(f, "out of memory"),
            Self::OutOfCpuTime { limit_s } => write!(f, "more than {limit_s} s of processor time"),
            Self::OutOfTime { limit_s } => write!(f, "not done after {limit_s} s"),
            Self::Stopped => write!(f, "stopped"),
            Self::Lost { cause } => write!(f, "lost: {cause}"),
        }
    }
}

/// Why an executor cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("{executor} is not available here: {cause}")]
    Unavailable { executor: &'static str, cause: String },
    #[error("{executor} cannot give {what}")]
    Unsupported { executor: &'static str, what: String },
    #[error("the attempt is not acceptable: {0}")]
    BadSpec(String),
    #[error("input {0} does not exist")]
    MissingInput(PathBuf),
    #[error("the attempt has ended: {0}")]
    HasEnded(Outcome),
    #[error("the attempt cannot be {what}: {cause}")]
    CannotSignal { what: &'static str, cause: String },
    #[error("{what}: {cause}")]
    Io { what: String, cause: io::Error },
}

impl ExecutorError {
    /// For `map_err`: what was tried, for people.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }
}
