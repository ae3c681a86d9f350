//! The plain process: a process group of its own and limits by `rlimit`, no isolation.
//!
//! Inputs are symbolic links, so the command could change them; what hides from its group is found by the marker in its
//! environment, and a program that clears that too escapes. For packages of others there is the sandbox.

use super::{
    AttemptSpec, AttemptState, Capabilities, Executor, ExecutorError, Root, Signal, Ticket,
    supervisor::{self, Launch},
    watch,
};
use alidade_model::time::UtcTime;
use std::{fs, io, os::unix::fs::symlink, path::Path, time::Duration};

/// See the module's text.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessExecutor;

const NAME: &str = "process";

impl ProcessExecutor {
    pub(super) fn launch(spec: &AttemptSpec) -> Launch {
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
        Launch {
            argv: spec.argv.clone(),
            environment,
            directory: spec.outputs_dir(),
            address_space: spec.limits.memory,
            groups: None,
        }
    }
}

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
        supervisor::start(NAME, spec, &Self::launch(spec), now)
    }

    fn find(&self, folder: &Path) -> Result<Option<Ticket>, ExecutorError> {
        supervisor::find(NAME, folder)
    }

    fn poll(&self, ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError> {
        watch::poll(ticket, now)
    }

    fn wait(&self, ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
        watch::wait(ticket, now, at_most)
    }

    fn signal(&self, ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError> {
        watch::signal(ticket, signal, now)
    }

    fn cleanup(&self, ticket: &Ticket) -> Result<(), ExecutorError> {
        watch::cleanup(ticket)
    }
}
