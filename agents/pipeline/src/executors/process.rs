//! The plain process: a process group of its own and limits by `rlimit`, no isolation.
//!
//! Inputs are symbolic links, so the command could change them; what hides from its group is found by the marker in its
//! environment, and a program that clears that too escapes. For packages of others there is the sandbox.

use super::{
    AttemptSpec, AttemptState, Capabilities, Executor, ExecutorError, Root, Signal, Ticket,
    supervisor::{self, Launch, Supervised},
};
use alidade_model::time::UtcTime;
use std::{fs, io, os::unix::fs::symlink, path::Path, time::Duration};

/// See the module's text.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessExecutor;

const NAME: &str = "process";

impl Executor for ProcessExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pause: true,
            read_only_inputs: false,
            no_network: false,
            own_root: false,
            memory_limit: false,
            kills_all: false,
        }
    }

    fn prepare(&self, spec: &AttemptSpec) -> Result<(), ExecutorError> {
        if spec.root != Root::Host {
            return Err(ExecutorError::Unsupported {
                executor: NAME,
                what: "a root file system".into(),
            });
        }
        spec.lay_out()?;
        for input in &spec.inputs {
            let link = spec.inputs_dir().join(&input.name);
            match symlink(&input.source, &link) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    let same = fs::read_link(&link).is_ok_and(|to| to == input.source);
                    if !same {
                        return Err(ExecutorError::io(format!("cannot link {}", link.display()))(cause));
                    }
                }
                done => done.map_err(ExecutorError::io(format!("cannot link {}", link.display())))?,
            }
        }
        Ok(())
    }

    fn start(&self, spec: &AttemptSpec, now: UtcTime) -> Result<Ticket, ExecutorError> {
        let mut environment = supervisor::bare_environment(spec);
        let mut tell = |key: &str, place: &Path| environment.insert(key.into(), place.to_string_lossy().into_owned());
        tell("ALIDADE_INPUTS", &spec.inputs_dir());
        tell("ALIDADE_OUTPUTS", &spec.outputs_dir());
        tell("ALIDADE_LOGS", &spec.logs_dir());
        tell("ALIDADE_CONFIG", &spec.config_file());
        tell("ALIDADE_PROGRESS", &spec.progress_dir().join("progress.ndjson"));
        if let Some(databases) = &spec.databases {
            tell("ALIDADE_DATABASES", databases);
        }
        let outputs = spec.outputs_dir();
        let launch = Launch {
            argv: spec.argv.clone(),
            environment,
            directory: &outputs,
            address_space: spec.limits.memory,
            groups: Vec::new(),
        };
        supervisor::start(NAME, spec, &launch, now)
    }

    fn find(&self, folder: &Path) -> Result<Option<Ticket>, ExecutorError> {
        supervisor::find(NAME, folder)
    }

    fn poll(&self, ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError> {
        supervisor::poll_plain(ticket, now)
    }

    fn wait(&self, ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
        wait_by(ticket, now, at_most, |now| self.poll(ticket, now))
    }

    fn signal(&self, ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError> {
        supervisor::signal(ticket, signal, now)
    }

    fn cleanup(&self, ticket: &Ticket) -> Result<(), ExecutorError> {
        let it = Supervised::of(ticket)?;
        it.kill(rustix::process::Signal::KILL);
        Ok(())
    }
}

/// Wakes at the end of the supervisor, and every 200 ms for the limits of time.
pub(super) fn wait_by(
    ticket: &Ticket,
    now: UtcTime,
    at_most: Duration,
    poll: impl Fn(UtcTime) -> Result<AttemptState, ExecutorError>,
) -> Result<AttemptState, ExecutorError> {
    let mut waited = Duration::ZERO;
    loop {
        let state = poll(now.plus_seconds(waited.as_secs_f64()))?;
        if matches!(state, AttemptState::Ended(_)) || waited >= at_most {
            return Ok(state);
        }
        let nap = Duration::from_millis(200).min(at_most - waited);
        Supervised::of(ticket)?.wait(nap);
        // Counted as if it had been waited for whole: an end that came sooner is told by the next look.
        waited += nap;
    }
}
