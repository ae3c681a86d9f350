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

mod drive;
mod files;

pub use drive::tail;
pub use files::is_package;

use super::{
    Asker, Package, PackageError, PackageState, Shelf,
    archive::Bounds,
    form,
    runs::{PackageRun, Progress, RunBook, RunInput, word},
};
use crate::{
    executors::{Executor, ExecutorError, Limits, Signal},
    upload::{UploadError, Uploads},
};
use alidade_model::{
    states::{IllegalTransition, RunState},
    time::UtcTime,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs, io,
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
    #[error("packages are not run by {wanted:?} here; there is {there}")]
    NoExecutor { wanted: String, there: String },
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
    /// Which executor; without it the desk's first.
    #[serde(default)]
    pub executor: Option<String>,
}

/// See the module's text.
pub struct Desk {
    pub settings: DeskSettings,
    pub shelf: Shelf,
    pub uploads: Uploads,
    /// The first is taken when nothing is said.
    executors: Vec<Box<dyn Executor>>,
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
            executors: vec![executor],
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

    /// Another executor that runs may ask for.
    pub fn with_executor(mut self, executor: Box<dyn Executor>) -> Self {
        self.executors.push(executor);
        self
    }

    /// The executor that is taken when nothing is said.
    pub fn executor_name(&self) -> &'static str {
        self.executors.first().map_or("none", |it| it.name())
    }

    /// Names of the executors, the first is taken when nothing is said.
    pub fn executor_names(&self) -> Vec<&'static str> {
        self.executors.iter().map(|it| it.name()).collect()
    }

    fn executor(&self, name: &str) -> Result<&dyn Executor, DeskError> {
        let found = self.executors.iter().find(|it| it.name() == name);
        found.map(AsRef::as_ref).ok_or_else(|| DeskError::NoExecutor {
            wanted: name.into(),
            there: self.executor_names().join(", "),
        })
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

    /// Begins a run, which belongs to the asker: refused at once if its configuration does not obey the form, or if an
    /// input is not there for them.
    pub fn begin(
        &self,
        package: &str,
        new: &NewRun,
        asker: &Asker,
        id: &str,
        now: UtcTime,
    ) -> Result<PackageRun, DeskError> {
        let package = self.shelf.show(package)?;
        let manifest = self.shelf.ready(&package)?;
        let executor = self.executor(new.executor.as_deref().unwrap_or(self.executor_name()))?;
        let mut inputs: Vec<RunInput> = Vec::new();
        for file in &new.inputs {
            self.allow(file, asker)?;
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
            owner: asker.account.clone(),
            config,
            inputs,
            state: RunState::Waiting,
            cause: "asked for".into(),
            created_at: now,
            start: None,
            end: None,
            progress: Progress::default(),
            outputs: Vec::new(),
            executor: executor.name().into(),
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

    /// Somebody else's run is told like one that is not there.
    pub fn allow_run(&self, id: &str, asker: &Asker) -> Result<(), DeskError> {
        match self.inner().runs.get(id) {
            Some(run) if asker.may(run.owner.as_deref()) => Ok(()),
            _ => Err(DeskError::NoRun(id.into())),
        }
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
        let executor = self.executor(&run.executor);
        match (signal, run.state, &run.ticket) {
            (Signal::Stop, RunState::Waiting, _) => run.go(RunState::Canceled, "stopped before it began", now)?,
            (Signal::Stop, _, ticket) => {
                if let Some(ticket) = ticket {
                    executor?.signal(ticket, Signal::Stop, now)?;
                }
                run.stop_asked = true;
            }
            (Signal::Pause, RunState::Running, Some(ticket)) => {
                executor?.signal(ticket, Signal::Pause, now)?;
                run.go(RunState::Paused, "paused on demand", now)?;
            }
            (Signal::Resume, RunState::Paused, Some(ticket)) => {
                executor?.signal(ticket, Signal::Resume, now)?;
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
}

fn keep(inner: &mut Inner, run: PackageRun) -> Result<(), DeskError> {
    inner.book.keep(&run).map_err(DeskError::Book)?;
    inner.runs.insert(run.id.clone(), run);
    inner.version += 1;
    Ok(())
}
