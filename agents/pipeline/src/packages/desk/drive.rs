//! How runs are moved: their turn, their attempt, its end, the commit of what it made.

use super::{Desk, DeskError, Inner, io_at, keep};
use crate::{
    executors::{AttemptState, Input, Limits, Outcome, Signal},
    packages::{
        image::fingerprint,
        runs::{PackageRun, RunOutput, progress_of},
    },
};
use alidade_model::{states::RunState, time::UtcTime};
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

impl Desk {
    /// Moves every run as far as it can go.
    pub fn tick(&self, now: UtcTime) {
        let ids: Vec<String> = {
            let inner = self.inner();
            let mut open: Vec<&PackageRun> = inner.runs.values().filter(|run| !run.is_over()).collect();
            open.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            open.into_iter().map(|run| run.id.clone()).collect()
        };
        for id in ids {
            let mut inner = self.inner();
            let Some(run) = inner.runs.get(&id).cloned() else {
                continue;
            };
            let before = run.clone();
            let moved = self.advance(&mut inner, run, now);
            let outcome = match moved {
                Ok(run) if run == before => Ok(()),
                Ok(run) => keep(&mut inner, run),
                Err(DeskError::Book(cause)) => Err(DeskError::Book(cause)),
                Err(cause) => {
                    let mut run = before;
                    run.go(RunState::Failed, cause.to_string(), now)
                        .map_err(DeskError::from)
                        .and_then(|()| keep(&mut inner, run))
                }
            };
            if let Err(cause) = outcome {
                tracing::error!(run = id, %cause, "the run cannot be moved");
            }
        }
    }

    /// One step of one run.
    fn advance(&self, inner: &mut Inner, mut run: PackageRun, now: UtcTime) -> Result<PackageRun, DeskError> {
        match run.state {
            RunState::Waiting => {
                let active = inner.runs.values().filter(|other| other.is_active()).count();
                if active < self.settings.max_running {
                    run.go(RunState::Initializing, "its turn has come", now)?;
                }
            }
            RunState::Initializing => {
                let executor = self.executor(&run.executor)?;
                let folder = self.folder(&run.id);
                // A death may have come between its start and the record of it: then it is ended as what runs is.
                if run.stop_asked && executor.find(&folder.join("attempt"))?.is_none() {
                    run.go(RunState::Canceled, "stopped before it began", now)?;
                    return Ok(run);
                }
                let package = self.shelf.show(&run.package)?;
                fs::create_dir_all(&folder).map_err(io_at(&folder))?;
                let mut spec = self.shelf.attempt(&package, &run.id, &folder.join("attempt"))?;
                spec.inputs = run
                    .inputs
                    .iter()
                    .map(|i| Input {
                        name: i.name.clone(),
                        source: i.source.clone(),
                    })
                    .collect();
                spec.config = json!({ "pirus": { "job_name": run.name }, "job": run.config });
                // Without a view of its own the command sees the attempt's folder as it is.
                let config = if executor.capabilities().own_root {
                    spec.places.inputs.join("config.json")
                } else {
                    spec.config_file()
                };
                spec.environment
                    .insert("PIRUS_CONFIG_FILE".into(), config.to_string_lossy().into_owned());
                spec.databases.clone_from(&self.settings.databases);
                let (own, house) = (spec.limits, self.settings.limits);
                spec.limits = Limits {
                    cpu_s: own.cpu_s.or(house.cpu_s),
                    memory: own.memory.or(house.memory),
                    wall_s: own.wall_s.or(house.wall_s),
                    processes: own.processes.or(house.processes),
                };
                executor.prepare(&spec)?;
                let ticket = executor.start(&spec, now)?;
                if run.stop_asked {
                    executor.signal(&ticket, Signal::Stop, now)?;
                }
                run.ticket = Some(ticket);
                run.go(RunState::Running, "started", now)?;
            }
            RunState::Running | RunState::Paused => {
                self.read_progress(inner, &mut run);
                self.look(&mut run, now)?;
            }
            RunState::Finishing => {
                run.outputs = self.commit(&run)?;
                let count = run.outputs.len();
                run.go(RunState::Done, format!("{count} outputs"), now)?;
                if let Some(ticket) = &run.ticket {
                    self.executor(&run.executor)?.cleanup(ticket)?;
                }
            }
            RunState::Done | RunState::Failed | RunState::Canceled => {}
        }
        Ok(run)
    }

    fn look(&self, run: &mut PackageRun, now: UtcTime) -> Result<(), DeskError> {
        let Some(ticket) = run.ticket.clone() else {
            return Ok(run.go(RunState::Failed, "it has no ticket", now)?);
        };
        let executor = self.executor(&run.executor)?;
        let AttemptState::Ended(ending) = executor.poll(&ticket, now)? else {
            return Ok(());
        };
        if ending.is_success() {
            if run.state == RunState::Paused {
                run.go(RunState::Running, "it ended in the pause", now)?;
            }
            return Ok(run.go(RunState::Finishing, "exit status 0", now)?);
        }
        executor.cleanup(&ticket)?;
        if ending.outcome == Outcome::Stopped {
            return Ok(run.go(RunState::Canceled, "stopped on demand", now)?);
        }
        let last = self.last_words(run);
        let cause = if last.is_empty() {
            ending.outcome.to_string()
        } else {
            format!("{}: {last}", ending.outcome)
        };
        Ok(run.go(RunState::Failed, cause, now)?)
    }

    /// The last line of the error log: often the reason.
    fn last_words(&self, run: &PackageRun) -> String {
        let file = self.folder(&run.id).join("attempt/logs/err.log");
        let text = tail(&file, 0, 4096).map(|(text, _)| text).unwrap_or_default();
        text.lines().next_back().unwrap_or_default().chars().take(300).collect()
    }

    fn read_progress(&self, inner: &mut Inner, run: &mut PackageRun) {
        let file = self.folder(&run.id).join("attempt/progress/progress.ndjson");
        let from = inner.read.get(&run.id).copied().unwrap_or(0);
        let Ok((text, _)) = tail(&file, from, 65_536) else {
            return;
        };
        // Only whole lines are taken; what follows them is read again.
        if let Some(end) = text.rfind('\n') {
            let length = fs::metadata(&file).map(|found| found.len()).unwrap_or(0);
            let rest = (text.len() - end - 1) as u64;
            inner.read.insert(run.id.clone(), length.saturating_sub(rest).max(from));
            run.progress = progress_of(&text, &run.progress);
        }
    }

    /// Hashes, syncs and renames the outputs; safe to be repeated after a death at any point.
    fn commit(&self, run: &PackageRun) -> Result<Vec<RunOutput>, DeskError> {
        let folder = self.folder(&run.id);
        let (made, kept) = (folder.join("attempt/outputs"), folder.join("outputs"));
        let from = if kept.exists() { &kept } else { &made };
        let mut outputs = Vec::new();
        collect(from, Path::new(""), &mut outputs)?;
        if !kept.exists() {
            for output in &outputs {
                let path = made.join(&output.name);
                File::open(&path)
                    .and_then(|file| file.sync_all())
                    .map_err(io_at(&path))?;
            }
            fs::rename(&made, &kept).map_err(io_at(&kept))?;
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io_at(&folder))?;
        }
        Ok(outputs)
    }
}

/// Regular files only: a link would lead who reads it outside, and means nothing there.
fn collect(folder: &Path, name: &Path, outputs: &mut Vec<RunOutput>) -> Result<(), DeskError> {
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(io_at(folder))?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type().map_err(io_at(&path))?;
        if kind.is_dir() {
            collect(&path, &name, outputs)?;
        } else if kind.is_file() {
            let (sha256, size) = fingerprint(&path).map_err(io_at(&path))?;
            outputs.push(RunOutput {
                name: name.to_string_lossy().into_owned(),
                size,
                sha256,
            });
        }
    }
    Ok(())
}

/// Text of a file from a byte on, at most `limit` bytes: of more, the last ones. Also the byte behind it.
pub fn tail(file: &Path, from: u64, limit: u64) -> io::Result<(String, u64)> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    let start = from.max(length.saturating_sub(limit)).min(length);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length - start).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), start + bytes.len() as u64))
}
