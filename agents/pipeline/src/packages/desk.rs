//! The desk: packages, uploads, input files and runs, driven together.
//!
//! [`Desk::tick`] moves every run as far as it can go and is called often, from one thread; the other calls come from any.
//! After a death everything is found again: what was installing is installed, what was running is taken up by its ticket,
//! what was finishing is finished; the outputs of a run appear in one step or not at all.
//!
//! ```text
//! ROOT/packages/   the shelf            ROOT/uploads/   what is coming
//! ROOT/files/ID/NAME   inputs that came ROOT/runs/ID/   attempt/ (the run's folder), outputs/ (committed)
//! ```

use super::{
    Package, PackageError, PackageState, Shelf,
    archive::Bounds,
    form,
    image::fingerprint,
    runs::{PackageRun, Progress, RunBook, RunInput, RunOutput, progress_of, word},
    shelf::is_id,
};
use crate::{
    executors::{AttemptState, Executor, ExecutorError, Input, Limits, Outcome, Signal},
    upload::{Upload, UploadError, Uploads},
};
use alidade_model::{
    states::{IllegalTransition, RunState},
    time::UtcTime,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How the desk is set up.
#[derive(Debug, Clone)]
pub struct DeskSettings {
    pub root: PathBuf,
    pub bounds: Bounds,
    /// Bytes of one upload, at most.
    pub max_upload: u64,
    /// Seconds that an unfinished upload is kept after its last piece.
    pub upload_lifetime_s: f64,
    /// Runs at a time.
    pub max_running: usize,
    /// Reference data, one folder a set; shown read-only to every run.
    pub databases: Option<PathBuf>,
    /// Limits where a package states none.
    pub limits: Limits,
}

impl DeskSettings {
    /// Below a data folder, with limits of a small machine.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.into(),
            bounds: Bounds::default(),
            max_upload: 20 << 30,
            upload_lifetime_s: 7.0 * 86_400.0,
            max_running: 5,
            databases: None,
            limits: Limits {
                wall_s: Some(86_400.0),
                processes: Some(512),
                memory: Some(4 << 30),
                cpu_s: None,
            },
        }
    }
}

/// Why the desk refuses.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("there is no run {0}")]
    NoRun(String),
    #[error("there is no file {0}")]
    NoFile(String),
    #[error("the configuration does not obey the form: {}", .0.join("; "))]
    Config(Vec<String>),
    #[error("{0}")]
    Refused(String),
    #[error("the database: {0}")]
    Book(String),
    #[error(transparent)]
    Step(#[from] IllegalTransition),
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// What is asked of the desk to begin a run.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub config: Value,
    /// Identifiers of input files that have come.
    #[serde(default)]
    pub inputs: Vec<String>,
}

/// See the module's text.
pub struct Desk {
    pub settings: DeskSettings,
    pub shelf: Shelf,
    pub uploads: Uploads,
    executor: Box<dyn Executor>,
    inner: Mutex<Inner>,
}

struct Inner {
    book: Box<dyn RunBook>,
    runs: BTreeMap<String, PackageRun>,
    /// How much of a run's progress has been read.
    read: BTreeMap<String, u64>,
    /// Numbers the changes, for those who wait for one.
    version: u64,
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DeskError {
    let path = path.to_owned();
    move |cause| DeskError::Io(path, cause)
}

impl Desk {
    /// Opens the desk and takes up what was left by a death.
    pub fn open(
        settings: DeskSettings,
        executor: Box<dyn Executor>,
        mut book: Box<dyn RunBook>,
    ) -> Result<Self, DeskError> {
        let shelf = Shelf::open(&settings.root.join("packages"), settings.bounds)?;
        let uploads = Uploads::open(
            &settings.root.join("uploads"),
            settings.max_upload,
            settings.upload_lifetime_s,
        )?;
        for part in ["files", "runs"] {
            let folder = settings.root.join(part);
            fs::create_dir_all(&folder).map_err(io_at(&folder))?;
        }
        let runs = book.all().map_err(DeskError::Book)?;
        let runs = runs.into_iter().map(|run| (run.id.clone(), run)).collect();
        Ok(Self {
            settings,
            shelf,
            uploads,
            executor,
            inner: Mutex::new(Inner {
                book,
                runs,
                read: BTreeMap::new(),
                version: 0,
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.inner().version
    }

    pub fn executor_name(&self) -> &'static str {
        self.executor.name()
    }

    /// Installs what a death has cut; slow, so it is not part of [`Desk::open`].
    pub fn install_unfinished(&self) -> Result<(), DeskError> {
        for id in self.shelf.unfinished()? {
            if let Err(cause) = self.shelf.install(&id) {
                tracing::warn!(package = id, %cause, "not installed");
            }
            self.inner().version += 1;
        }
        Ok(())
    }

    /// All packages: those on the shelf, and those that are still coming.
    pub fn packages(&self, now: UtcTime) -> Result<Vec<Value>, DeskError> {
        let mut all: Vec<Value> = self.shelf.list()?.iter().map(Package::public).collect();
        for (upload, offset) in self.uploads.sweep(now)? {
            if is_package(&upload) && self.shelf.show(&upload.id).is_err() {
                let coming = upload.expires_at.seconds_since(now) > self.settings.upload_lifetime_s - 15.0;
                let package = Package {
                    id: upload.id.clone(),
                    // Nothing has come for a while: the client has paused, or is gone.
                    state: if coming {
                        PackageState::Uploading
                    } else {
                        PackageState::Pause
                    },
                    cause: String::new(),
                    file: upload.file_name(),
                    size: upload.length.unwrap_or(0),
                    upload_offset: offset,
                    sha256: String::new(),
                    created_at: upload.created_at,
                    manifest: None,
                    environment: Vec::new(),
                };
                all.push(package.public());
            }
        }
        Ok(all)
    }

    /// What is to be done with a file that has come whole: a package is put on the shelf, an input is kept. True for a
    /// package, which is then to be installed ([`Desk::install`]).
    pub fn arrived(&self, upload: &Upload, now: UtcTime) -> Result<bool, DeskError> {
        let path = self.uploads.path(&upload.id);
        let package = is_package(upload);
        if package {
            let taken = self.shelf.take(&path, &upload.file_name(), &upload.id, now, false);
            self.uploads.remove(&upload.id);
            taken?;
        } else {
            let folder = self.settings.root.join("files").join(&upload.id);
            fs::create_dir_all(&folder).map_err(io_at(&folder))?;
            let to = folder.join(upload.file_name());
            fs::rename(&path, &to).map_err(io_at(&to))?;
            self.uploads.remove(&upload.id);
        }
        self.inner().version += 1;
        Ok(package)
    }

    /// Installs a package of the shelf; slow.
    pub fn install(&self, id: &str) -> Result<Package, DeskError> {
        let installed = self.shelf.install(id);
        self.inner().version += 1;
        Ok(installed?)
    }

    /// The size of what had come as an upload and is in its place now.
    pub fn arrived_size(&self, id: &str) -> Option<u64> {
        if let Ok(package) = self.shelf.show(id) {
            return Some(package.size);
        }
        let (_, path) = self.file(id).ok()?;
        fs::metadata(path).ok().map(|found| found.len())
    }

    /// Input files that have come: identifier, name, size.
    pub fn files(&self) -> Result<Vec<Value>, DeskError> {
        let root = self.settings.root.join("files");
        let mut all = Vec::new();
        for entry in fs::read_dir(&root).map_err(io_at(&root))?.flatten() {
            if let Some(id) = entry.file_name().to_str()
                && let Ok((name, path)) = self.file(id)
            {
                let size = fs::metadata(&path).map_err(io_at(&path))?.len();
                all.push(json!({ "id": id, "name": name, "size": size, "status": "uploaded" }));
            }
        }
        all.sort_by_key(|file| file["name"].as_str().map(String::from));
        Ok(all)
    }

    fn file(&self, id: &str) -> Result<(String, PathBuf), DeskError> {
        let missing = || DeskError::NoFile(id.into());
        if !is_id(id) {
            return Err(missing());
        }
        let folder = self.settings.root.join("files").join(id);
        let entry = fs::read_dir(folder)
            .map_err(|_| missing())?
            .flatten()
            .next()
            .ok_or_else(missing)?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    }

    pub fn remove_file(&self, id: &str) -> Result<(), DeskError> {
        let (_, path) = self.file(id)?;
        let used = self
            .inner()
            .runs
            .values()
            .any(|run| !run.is_over() && run.inputs.iter().any(|i| i.source == path));
        if used {
            return Err(DeskError::Refused("a run that is not over reads this file".into()));
        }
        let folder = self.settings.root.join("files").join(id);
        fs::remove_dir_all(&folder).map_err(io_at(&folder))
    }

    /// Removes a package that no run needs any more.
    pub fn remove_package(&self, id: &str, now: UtcTime) -> Result<(), DeskError> {
        let mut inner = self.inner();
        if inner.runs.values().any(|run| run.package == id && !run.is_over()) {
            return Err(DeskError::Refused(format!("a run of package {id} is not over")));
        }
        match self.shelf.remove(id) {
            Err(PackageError::Unknown(_)) => self.uploads.terminate(id, now)?,
            done => done?,
        }
        inner.version += 1;
        Ok(())
    }

    /// The form of a package for a run on these inputs.
    pub fn form(&self, package: &Package, inputs: &[String]) -> Result<Value, DeskError> {
        Ok(form::filled(&self.shelf.form(package)?, inputs, &self.database_names()))
    }

    fn database_names(&self) -> Vec<String> {
        let entries = self
            .settings
            .databases
            .as_ref()
            .and_then(|folder| fs::read_dir(folder).ok());
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Begins a run: refused at once if its configuration does not obey the form.
    pub fn begin(&self, package: &str, new: &NewRun, id: &str, now: UtcTime) -> Result<PackageRun, DeskError> {
        let package = self.shelf.show(package)?;
        let manifest = self.shelf.ready(&package)?;
        let mut inputs: Vec<RunInput> = Vec::new();
        for file in &new.inputs {
            let (name, source) = self.file(file)?;
            if inputs.iter().any(|other| other.name == name) {
                return Err(DeskError::Refused(format!("two inputs are named {name}")));
            }
            inputs.push(RunInput { name, source });
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        let form = self.form(&package, &names)?;
        let given = if new.config.is_null() {
            json!({})
        } else {
            new.config.clone()
        };
        let config = form::with_defaults(&form, &given);
        let faults = form::judge(&form, &config);
        if !faults.is_empty() {
            return Err(DeskError::Config(faults));
        }
        let run = PackageRun {
            id: id.into(),
            package: package.id.clone(),
            name: if new.name.trim().is_empty() {
                manifest.name.clone()
            } else {
                new.name.trim().to_owned()
            },
            config,
            inputs,
            state: RunState::Waiting,
            cause: "asked for".into(),
            created_at: now,
            start: None,
            end: None,
            progress: Progress::default(),
            outputs: Vec::new(),
            executor: self.executor.name().into(),
            ticket: None,
            stop_asked: false,
        };
        let mut inner = self.inner();
        keep(&mut inner, run.clone())?;
        Ok(run)
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Vec<PackageRun> {
        let mut all: Vec<PackageRun> = self.inner().runs.values().cloned().collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    pub fn run(&self, id: &str) -> Result<PackageRun, DeskError> {
        self.inner()
            .runs
            .get(id)
            .cloned()
            .ok_or_else(|| DeskError::NoRun(id.into()))
    }

    /// Pauses, resumes or stops a run.
    pub fn signal(&self, id: &str, signal: Signal, now: UtcTime) -> Result<PackageRun, DeskError> {
        let mut inner = self.inner();
        let mut run = inner.runs.get(id).cloned().ok_or_else(|| DeskError::NoRun(id.into()))?;
        if run.is_over() || run.state == RunState::Finishing {
            return Err(DeskError::Refused(format!(
                "the run is {}: {}",
                word(run.state),
                run.cause
            )));
        }
        match (signal, run.state, &run.ticket) {
            (Signal::Stop, RunState::Waiting, _) => run.go(RunState::Canceled, "stopped before it began", now)?,
            (Signal::Stop, _, ticket) => {
                if let Some(ticket) = ticket {
                    self.executor.signal(ticket, Signal::Stop, now)?;
                }
                run.stop_asked = true;
            }
            (Signal::Pause, RunState::Running, Some(ticket)) => {
                self.executor.signal(ticket, Signal::Pause, now)?;
                run.go(RunState::Paused, "paused on demand", now)?;
            }
            (Signal::Resume, RunState::Paused, Some(ticket)) => {
                self.executor.signal(ticket, Signal::Resume, now)?;
                run.go(RunState::Running, "resumed on demand", now)?;
            }
            (Signal::Pause | Signal::Resume, state, _) => {
                return Err(DeskError::Refused(format!("the run is {}", word(state))));
            }
        }
        keep(&mut inner, run.clone())?;
        Ok(run)
    }

    /// Forgets a run that is over, with its files.
    pub fn remove_run(&self, id: &str) -> Result<(), DeskError> {
        let mut inner = self.inner();
        let run = inner.runs.get(id).ok_or_else(|| DeskError::NoRun(id.into()))?;
        if !run.is_over() {
            return Err(DeskError::Refused(format!("the run is {}", word(run.state))));
        }
        inner.book.forget(id).map_err(DeskError::Book)?;
        inner.runs.remove(id);
        inner.version += 1;
        drop(fs::remove_dir_all(self.folder(id)));
        Ok(())
    }

    fn folder(&self, run: &str) -> PathBuf {
        self.settings.root.join("runs").join(run)
    }

    /// A committed output of a run that is done.
    pub fn output(&self, run: &str, name: &str) -> Result<PathBuf, DeskError> {
        let known = self.run(run)?;
        let output = known.outputs.iter().find(|output| output.name == name);
        let output = output.ok_or_else(|| DeskError::NoFile(name.into()))?;
        Ok(self.folder(run).join("outputs").join(&output.name))
    }

    /// The file of a run's log: `out` or `err`.
    pub fn log_file(&self, run: &str, which: &str) -> Result<PathBuf, DeskError> {
        let run = self.run(run)?;
        if !matches!(which, "out" | "err") {
            return Err(DeskError::NoFile(which.into()));
        }
        Ok(self.folder(&run.id).join("attempt/logs").join(format!("{which}.log")))
    }

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
                let package = self.shelf.show(&run.package)?;
                let folder = self.folder(&run.id);
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
                spec.environment.insert(
                    "PIRUS_CONFIG_FILE".into(),
                    spec.places.inputs.join("config.json").to_string_lossy().into_owned(),
                );
                spec.databases.clone_from(&self.settings.databases);
                let (own, house) = (spec.limits, self.settings.limits);
                spec.limits = Limits {
                    cpu_s: own.cpu_s.or(house.cpu_s),
                    memory: own.memory.or(house.memory),
                    wall_s: own.wall_s.or(house.wall_s),
                    processes: own.processes.or(house.processes),
                };
                self.executor.prepare(&spec)?;
                run.ticket = Some(self.executor.start(&spec, now)?);
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
                    self.executor.cleanup(ticket)?;
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
        let AttemptState::Ended(ending) = self.executor.poll(&ticket, now)? else {
            return Ok(());
        };
        if ending.is_success() {
            if run.state == RunState::Paused {
                run.go(RunState::Running, "it ended in the pause", now)?;
            }
            return Ok(run.go(RunState::Finishing, "exit status 0", now)?);
        }
        self.executor.cleanup(&ticket)?;
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

fn keep(inner: &mut Inner, run: PackageRun) -> Result<(), DeskError> {
    inner.book.keep(&run).map_err(DeskError::Book)?;
    inner.runs.insert(run.id.clone(), run);
    inner.version += 1;
    Ok(())
}

/// Uploads say what they are for; what says nothing and looks like an archive is a package.
pub fn is_package(upload: &Upload) -> bool {
    match upload.metadata.get("purpose").map(String::as_str) {
        Some("package") => true,
        Some(_) => false,
        None => {
            let name = upload.file_name().to_lowercase();
            [".tar", ".tar.gz", ".tgz", ".zip"]
                .iter()
                .any(|end| name.ends_with(end))
        }
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
