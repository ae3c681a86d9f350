//! Slurm, for those who outgrow one machine: one job an attempt, on folders that all nodes share.
//!
//! The job is the same supervisor as elsewhere, with the sandbox inside where the nodes have one, so isolation and exit
//! status do not depend on Slurm; Slurm decides when and where. Its accounting is not needed: status is by job number
//! (`squeue`, else the exit status that the supervisor wrote). A controller that died may run a job again: the
//! supervisor's first file is written by one only, so the second finds the attempt taken and ends. A pause is a
//! suspension. Time limits are Slurm's (whole minutes, after that the job is cancelled) and ours.

use super::{
    AttemptSpec, AttemptState, BubblewrapExecutor, Capabilities, Ending, Executor, ExecutorError, Handle, Outcome,
    ProcessExecutor, Root, Signal, Ticket,
    attempt::keep,
    supervisor::{self, Supervised},
};
use alidade_model::time::UtcTime;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const NAME: &str = "slurm";
/// Where the number of the job is written down, within the attempt's folder.
const JOB: &str = "control/job";

/// See the module's text.
#[derive(Debug, Clone)]
pub struct SlurmExecutor {
    /// `SLURM_CONF`, where it is not the system's.
    pub conf: Option<PathBuf>,
    /// As `sbatch --version` says.
    pub version: String,
    /// The sandbox of the nodes; without it jobs are plain processes.
    pub sandbox: Option<BubblewrapExecutor>,
    pub partition: Option<String>,
}

impl SlurmExecutor {
    /// Asks the controller; an error says why there is no queue.
    pub fn detect(conf: Option<PathBuf>) -> Result<Self, ExecutorError> {
        let it = Self {
            conf,
            version: String::new(),
            sandbox: BubblewrapExecutor::detect().ok(),
            partition: None,
        };
        let version = it.ask("sbatch", &["--version"])?.trim().to_owned();
        let pinged = it.ask("scontrol", &["ping"])?;
        if !pinged.contains("is UP") {
            return Err(unavailable(pinged.trim()));
        }
        Ok(Self { version, ..it })
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, ExecutorError> {
        let mut command = Command::new(program);
        if let Some(conf) = &self.conf {
            command.env("SLURM_CONF", conf);
        }
        let said = command
            .args(arguments)
            .output()
            .map_err(|e| unavailable(&format!("{program}: {e} (Debian package slurm-client)")))?;
        if said.status.success() {
            return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
        }
        Err(unavailable(&format!(
            "{program}: {}",
            String::from_utf8_lossy(&said.stderr).trim()
        )))
    }

    /// The state that the queue tells; none once it has forgotten the job.
    fn queued(&self, job: u64) -> Result<Option<Queued>, ExecutorError> {
        match self.ask("squeue", &["-h", "-t", "all", "-o", "%T", "-j", &job.to_string()]) {
            Ok(text) => Ok(text.lines().next().map(|word| Queued::of(word.trim()))),
            Err(ExecutorError::Unavailable { cause, .. }) if cause.contains("Invalid job id") => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn job(ticket: &Ticket) -> Result<u64, ExecutorError> {
        match ticket.handle {
            Handle::Slurm { job } => Ok(job),
            Handle::Process { .. } => Err(ExecutorError::BadSpec("a ticket of another executor".into())),
        }
    }

    /// The supervisor's own ticket, once it runs. Its number counts on its node only.
    fn inner(ticket: &Ticket) -> Result<Option<Ticket>, ExecutorError> {
        supervisor::find(NAME, &ticket.folder)
    }

    fn script(&self, spec: &AttemptSpec) -> Result<String, ExecutorError> {
        let launch = match &self.sandbox {
            Some(sandbox) => sandbox.launch(spec, None)?,
            None => ProcessExecutor::launch(spec),
        };
        Ok(format!("#!/bin/sh\n{}\n", supervisor::shell_line(spec, &launch)))
    }

    fn submit(&self, spec: &AttemptSpec) -> Result<u64, ExecutorError> {
        let script = spec.folder.join("control/job.sh");
        keep(&script, self.script(spec)?.as_bytes())?;
        let log = |name: &str| spec.logs_dir().join(name).to_string_lossy().into_owned();
        let mut arguments = vec![
            "--parsable".to_owned(),
            "--export=NIL".into(),
            "--no-requeue".into(),
            "--open-mode=append".into(),
            format!("--job-name={}", spec.id),
            format!("--chdir={}", spec.folder.display()),
            format!("--output={}", log("out.log")),
            format!("--error={}", log("err.log")),
        ];
        if let Some(partition) = &self.partition {
            arguments.push(format!("--partition={partition}"));
        }
        if let Some(seconds) = spec.limits.wall_s {
            arguments.push(format!("--time={}", minutes(seconds)));
        }
        if let Some(bytes) = spec.limits.memory {
            arguments.push(format!("--mem={}K", bytes.div_ceil(1024)));
        }
        arguments.push(script.to_string_lossy().into_owned());
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = self.ask("sbatch", &words)?;
        let number = said.trim().split(';').next().unwrap_or_default();
        number
            .parse()
            .map_err(|_| unavailable(&format!("sbatch said {said:?}")))
    }

    /// A job of this name that the queue knows: submitted by a daemon that died before it could write the number down.
    fn by_name(&self, id: &str) -> Result<Option<u64>, ExecutorError> {
        let text = self.ask("squeue", &["-h", "-t", "all", "-o", "%A", "--name", id])?;
        Ok(text.lines().next().and_then(|line| line.trim().parse().ok()))
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be positive"
)]
fn minutes(seconds: f64) -> u64 {
    // One more than asked: our own limit, without the pauses, comes first.
    (seconds / 60.0).ceil().min(5e5) as u64 + 1
}

fn unavailable(cause: &str) -> ExecutorError {
    ExecutorError::Unavailable {
        executor: NAME,
        cause: cause.into(),
    }
}

/// What the words of the queue mean for us (squeue(1), "JOB STATE CODES").
#[derive(Debug, Clone, PartialEq)]
enum Queued {
    Waiting,
    Running,
    Suspended,
    Over(Outcome),
}

impl Queued {
    fn of(word: &str) -> Self {
        match word {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "RESV_DEL_HOLD" | "SPECIAL_EXIT" => Self::Waiting,
            "SUSPENDED" | "STOPPED" => Self::Suspended,
            "OUT_OF_MEMORY" => Self::Over(Outcome::OutOfMemory { limit: None }),
            "CANCELLED" => Self::Over(Outcome::Stopped),
            "COMPLETED" | "FAILED" | "TIMEOUT" | "NODE_FAIL" | "BOOT_FAIL" | "DEADLINE" | "PREEMPTED" | "REVOKED" => {
                Self::Over(Outcome::Lost {
                    cause: format!("Slurm says {word}"),
                })
            }
            _ => Self::Running,
        }
    }
}

impl Executor for SlurmExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let sandbox = self.sandbox.is_some();
        Capabilities {
            pause: true,
            read_only_inputs: sandbox,
            no_network: sandbox,
            own_root: sandbox,
            memory_limit: false,
            kills_all: sandbox,
        }
    }

    fn prepare(&self, spec: &AttemptSpec) -> Result<(), ExecutorError> {
        match &self.sandbox {
            Some(sandbox) => sandbox.prepare(spec),
            None if spec.root != Root::Host => Err(ExecutorError::Unsupported {
                executor: NAME,
                what: "a root file system without bubblewrap".into(),
            }),
            None => ProcessExecutor.prepare(spec),
        }
    }

    fn start(&self, spec: &AttemptSpec, now: UtcTime) -> Result<Ticket, ExecutorError> {
        if let Some(ticket) = self.find(&spec.folder)? {
            return Ok(ticket);
        }
        supervisor::note_start(&spec.folder.join("control"), now)?;
        let job = self.submit(spec)?;
        keep(&spec.folder.join(JOB), format!("{job}\n").as_bytes())?;
        Ok(Ticket {
            executor: NAME.into(),
            attempt: spec.id.clone(),
            folder: spec.folder.clone(),
            handle: Handle::Slurm { job },
        })
    }

    fn find(&self, folder: &Path) -> Result<Option<Ticket>, ExecutorError> {
        let Some(spec) = AttemptSpec::of_folder(folder)? else {
            return Ok(None);
        };
        let written = fs::read_to_string(folder.join(JOB))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let job = match written {
            Some(job) => Some(job),
            // Only what was about to be submitted can be in the queue.
            None if folder.join("control/job.sh").exists() => self.by_name(&spec.id)?,
            None => None,
        };
        let Some(job) = job else { return Ok(None) };
        Ok(Some(Ticket {
            executor: NAME.into(),
            attempt: spec.id,
            folder: folder.into(),
            handle: Handle::Slurm { job },
        }))
    }

    fn poll(&self, ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError> {
        let job = Self::job(ticket)?;
        let Some(spec) = AttemptSpec::of_folder(&ticket.folder)? else {
            return Err(ExecutorError::BadSpec("the attempt's folder is gone".into()));
        };
        let it = Supervised::of_folder(ticket);
        if let Some(ending) = it.kept_ending()? {
            return Ok(AttemptState::Ended(ending));
        }
        let asked = it.end_asked()?;
        let exit = it.exit_code()?;
        let queued = if exit.is_some() { None } else { self.queued(job)? };
        let over = match (exit, &queued) {
            (Some(code), _) => Some(supervisor::classify(code, &spec.limits, false)),
            // What ended between the two looks has its exit status now.
            (None, Some(Queued::Over(outcome))) => Some(match it.exit_code()? {
                Some(code) => supervisor::classify(code, &spec.limits, false),
                None => outcome.clone(),
            }),
            (None, None) => Some(Outcome::Lost {
                cause: "Slurm does not know the job any more".into(),
            }),
            (None, Some(_)) => None,
        };
        if let Some(outcome) = over {
            let mut ending = Ending::of(asked.map_or(outcome, |(cause, _)| cause));
            ending.cpu_s = it.exit()?.and_then(|(_, cpu_s)| cpu_s);
            it.keep_ending(&ending)?;
            return Ok(AttemptState::Ended(ending));
        }
        if asked.is_none()
            && queued != Some(Queued::Waiting)
            && let Some(limit_s) = spec.limits.wall_s
            && it.elapsed_s(now)? > limit_s
        {
            it.note_end(&Outcome::OutOfTime { limit_s }, now)?;
            self.cancel(job)?;
        }
        Ok(match queued {
            Some(Queued::Waiting) => AttemptState::Queued,
            Some(Queued::Suspended) => AttemptState::Paused,
            _ => AttemptState::Running,
        })
    }

    /// Looks at the supervisor's exit status often and asks the controller seldom: it serves others too.
    fn wait(&self, ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
        let it = Supervised::of_folder(ticket);
        let mut waited = Duration::ZERO;
        loop {
            let state = self.poll(ticket, now.plus_seconds(waited.as_secs_f64()))?;
            if matches!(state, AttemptState::Ended(_)) || waited >= at_most {
                return Ok(state);
            }
            for _ in 0..25 {
                if it.exit_code()?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
                waited += Duration::from_millis(20);
            }
        }
    }

    fn signal(&self, ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError> {
        let job = Self::job(ticket)?;
        let it = Supervised::of_folder(ticket);
        match (signal, self.poll(ticket, now)?) {
            (Signal::Stop, AttemptState::Ended(_)) => Ok(()),
            (_, AttemptState::Ended(ending)) => Err(ExecutorError::HasEnded(ending.outcome)),
            (Signal::Stop, _) => {
                it.note_end(&Outcome::Stopped, now)?;
                self.cancel(job)
            }
            (Signal::Pause, AttemptState::Running) => {
                self.ask("scontrol", &["suspend", &job.to_string()])?;
                it.note_pause("pause", now)
            }
            (Signal::Resume, AttemptState::Paused) => {
                self.ask("scontrol", &["resume", &job.to_string()])?;
                it.note_pause("resume", now)
            }
            (Signal::Pause, AttemptState::Queued) => Err(ExecutorError::CannotSignal {
                what: "paused",
                cause: "the job has not begun".into(),
            }),
            (Signal::Pause | Signal::Resume, _) => Ok(()),
        }
    }

    fn cleanup(&self, ticket: &Ticket) -> Result<(), ExecutorError> {
        let job = Self::job(ticket)?;
        if matches!(
            self.queued(job)?,
            Some(Queued::Waiting | Queued::Running | Queued::Suspended)
        ) {
            self.cancel(job)?;
        }
        // On this node; elsewhere Slurm's own tracking of processes ends them.
        if let Some(inner) = Self::inner(ticket)? {
            Supervised::of(&inner)?.kill(rustix::process::Signal::KILL);
        }
        Ok(())
    }
}

impl SlurmExecutor {
    fn cancel(&self, job: u64) -> Result<(), ExecutorError> {
        let number = job.to_string();
        // A suspended job hears nothing until it goes on.
        if self.queued(job)? == Some(Queued::Suspended) {
            self.ask("scontrol", &["resume", &number])?;
        }
        self.ask("scancel", &["--full", &number]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_queue_are_understood() {
        assert_eq!(Queued::of("PENDING"), Queued::Waiting);
        assert_eq!(Queued::of("COMPLETING"), Queued::Running);
        assert_eq!(Queued::of("CANCELLED"), Queued::Over(Outcome::Stopped));
        assert!(matches!(Queued::of("NODE_FAIL"), Queued::Over(Outcome::Lost { .. })));
    }

    #[test]
    fn slurm_counts_whole_minutes_and_cuts_after_us() {
        assert_eq!(minutes(1.0), 2);
        assert_eq!(minutes(61.0), 3);
    }
}
