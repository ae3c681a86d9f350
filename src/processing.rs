//! Processing: the pipeline engine with this program's database, folders and clock, for commands and the daemon alike.
//!
//! A run belongs to the process that runs it, by a lock that the kernel lets go when the process dies. Whoever finds an
//! open run that nobody owns goes on with it.

use crate::{
    settings::Settings,
    store::{Durability, OpenOptions, Store, StoreError},
};
use alidade_model::time::UtcTime;
use alidade_pipeline::{
    descriptor::load::Collection,
    executors::{BubblewrapExecutor, Executor, ProcessExecutor, SlurmExecutor},
    memory::MemoryStore,
    plan::{Frozen, Planned, RunPlan, RunRequest},
    port::{RunFilter, RunReads, RunRecord, RunWrites, StoreFault},
    recipe::Works,
    runner::{self, RunFault, Surroundings},
    task::NativeTask,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Workshop {
    pub url: String,
    /// Plugins, a folder each.
    pub plugins: PathBuf,
    /// Attempts and products.
    pub root: PathBuf,
    pub durability: Durability,
    /// Everything is done but nothing is kept.
    pub dry_run: bool,
}

/// Why processing cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ProcessingError {
    /// What was asked is wrong; every fault is a line.
    #[error("{}", .0.join("\n"))]
    BadInput(Vec<String>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Run(#[from] RunFault),
    #[error("{0}")]
    Failed(String),
}

impl From<alidade_pipeline::port::StoreFault> for ProcessingError {
    fn from(fault: alidade_pipeline::port::StoreFault) -> Self {
        Self::Run(RunFault::Store(fault))
    }
}

/// An executor by its name, or why it is not to be had here.
pub fn executor(name: &str) -> Result<Box<dyn Executor>, String> {
    let found: Result<Box<dyn Executor>, _> = match name {
        "process" => Ok(Box::new(ProcessExecutor)),
        "bubblewrap" => BubblewrapExecutor::detect().map(|it| Box::new(it) as Box<dyn Executor>),
        "slurm" => SlurmExecutor::detect(None).map(|it| Box::new(it) as Box<dyn Executor>),
        other => {
            return Err(format!(
                "there is no executor {other:?}; there is {}",
                EXECUTORS.join(", ")
            ));
        }
    };
    found.map_err(|e| e.to_string())
}

/// Names that [`executor`] knows.
pub const EXECUTORS: [&str; 3] = ["process", "bubblewrap", "slurm"];

fn now() -> UtcTime {
    UtcTime::new(crate::clock::utc_now())
}

impl Workshop {
    /// As the daemon has it: plugins from the folder of the configuration, files below the data folder.
    pub fn of(settings: &Settings) -> Self {
        Self {
            url: settings.database.url.clone(),
            plugins: settings.storage.pipelines.clone(),
            root: settings.storage.data_dir.join("pipelines"),
            durability: Durability::Durable,
            dry_run: false,
        }
    }

    /// Everything below the folder of plugins; a folder that does not exist has none.
    pub fn collection(&self) -> Collection {
        if self.plugins.exists() {
            Collection::load(&self.plugins)
        } else {
            Collection::default()
        }
    }

    pub fn surroundings(&self) -> Surroundings {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let mut around = Surroundings::new(root, Arc::new(now));
        around.dry_run = self.dry_run;
        if self.dry_run {
            around.root = std::env::temp_dir().join(format!("alidade-dry-run-{}", std::process::id()));
        }
        natives(&mut around);
        around
    }

    /// For reading: nothing of the database changes.
    pub fn reading(&self) -> Result<Box<dyn RunReads>, ProcessingError> {
        Ok(Box::new(Store::open_reading(&self.url)?))
    }

    /// For writing. A dry run reads what is there, if anything is, and writes into memory.
    pub fn writing(&self) -> Result<Box<dyn RunWrites>, ProcessingError> {
        if self.dry_run {
            return match Store::open_reading(&self.url) {
                Ok(store) => Ok(Box::new(MemoryStore::over(Box::new(store)))),
                Err(StoreError::Missing { .. } | StoreError::Behind { .. }) => Ok(Box::new(MemoryStore::default())),
                Err(error) => Err(error.into()),
            };
        }
        let options = OpenOptions {
            migrate: true,
            durability: self.durability,
        };
        Ok(Box::new(Store::open(&self.url, options)?))
    }

    /// The plan of a request, or all that is wrong with it.
    pub fn plan(&self, request: &RunRequest) -> Result<Planned, ProcessingError> {
        let mut around = Surroundings::new(self.root.clone(), Arc::new(now));
        natives(&mut around);
        let collection = self.collection();
        let planned = request.plan(&collection, &around.natives).map_err(|mut wrong| {
            wrong.extend(collection.faults.iter().map(ToString::to_string));
            ProcessingError::BadInput(wrong)
        })?;
        let missing = equip(&mut around, &planned.plan);
        if missing.is_empty() {
            Ok(planned)
        } else {
            Err(ProcessingError::BadInput(missing))
        }
    }

    /// The surroundings of one run, with the executors that its plan asks for as far as they are here. Where one is not, the
    /// tasks that ask for it fail with that reason.
    fn surroundings_of(&self, store: &mut dyn RunWrites, id: &str) -> Result<Surroundings, ProcessingError> {
        let mut around = self.surroundings();
        if let Some(plan) = store.run(id)?.and_then(|run| run.plan.thaw().ok()) {
            for cause in equip(&mut around, &plan) {
                tracing::warn!(run = id, cause, "an executor is missing");
            }
        }
        Ok(around)
    }

    /// An open run of the same plan that nobody owns: what a process that died was doing.
    pub fn orphan(&self, store: &mut dyn RunWrites, planned: &Planned) -> Result<Option<RunRecord>, ProcessingError> {
        let filter = RunFilter {
            pipeline: Some(planned.pipeline.clone()),
            subject: planned.subject.clone(),
            open: true,
            limit: 100,
            ..RunFilter::default()
        };
        let plan = Frozen::of(&planned.plan).map_err(|e| ProcessingError::Failed(e.to_string()))?;
        let root = self.surroundings().root;
        let fits =
            |run: &RunRecord| run.plan == plan && run.subject == planned.subject && !runner::is_owned(&root, &run.id);
        Ok(store.runs(&filter)?.into_iter().find(fits))
    }

    /// Records a run; it has not begun.
    pub fn create(&self, store: &mut dyn RunWrites, planned: &Planned) -> Result<RunRecord, ProcessingError> {
        Ok(runner::create(&self.surroundings(), store, planned)?)
    }

    /// Runs it to its end. A request to cancel, from whatever process, is seen in the run's folder.
    pub fn carry(&self, store: &mut dyn RunWrites, id: &str) -> Result<RunRecord, ProcessingError> {
        let around = self.surroundings_of(store, id)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (cancel, over, wish) = (cancel.clone(), over.clone(), wish(&around.root, id));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if wish.exists() {
                        cancel.store(true, Ordering::Relaxed);
                    }
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            })
        };
        let ended = runner::execute(&around, store, id, &cancel);
        over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        drop(watcher.join());
        drop(std::fs::remove_file(wish(&around.root, id)));
        if self.dry_run {
            drop(std::fs::remove_dir_all(&around.root));
        }
        Ok(ended?)
    }

    /// Asks whoever runs a run to cancel it; one that nobody runs is ended here.
    pub fn cancel(&self, store: &mut dyn RunWrites, id: &str) -> Result<(), ProcessingError> {
        let around = self.surroundings_of(store, id)?;
        let run = store.run(id)?.ok_or_else(|| RunFault::Unknown(id.into()))?;
        if run.ended.is_some() {
            return Err(RunFault::Ended(id.into()).into());
        }
        let wish = wish(&around.root, id);
        let asked = wish
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&wish, ""));
        asked.map_err(|e| ProcessingError::Failed(format!("{}: {e}", wish.display())))?;
        if runner::is_owned(&around.root, id) {
            return Ok(());
        }
        match runner::execute(&around, store, id, &Arc::new(AtomicBool::new(true))) {
            Ok(_) | Err(RunFault::Owned(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Runs that have not ended and that nobody owns, oldest first.
    pub fn orphans(&self, store: &mut dyn RunWrites) -> Result<Vec<RunRecord>, ProcessingError> {
        let filter = RunFilter {
            open: true,
            limit: 10_000,
            ..RunFilter::default()
        };
        let root = self.surroundings().root;
        let mut all = store.runs(&filter)?;
        // The nightly frames have no plan: their agent goes on with them.
        all.retain(|run| run.plan.is_plan() && !runner::is_owned(&root, &run.id));
        all.reverse();
        Ok(all)
    }
}

/// Pipelines as recipes of the delivery.
impl Works for Workshop {
    fn collection(&self) -> Collection {
        Workshop::collection(self)
    }

    fn surroundings(&self) -> Surroundings {
        Workshop::surroundings(self)
    }

    fn store(&self) -> Result<Box<dyn RunWrites>, String> {
        self.writing().map_err(|e| e.to_string())
    }

    fn carry(&self, store: &mut dyn RunWrites, id: &str) -> Result<RunRecord, RunFault> {
        Workshop::carry(self, store, id).map_err(|error| match error {
            ProcessingError::Run(fault) => fault,
            other => RunFault::Store(StoreFault::Failed(other.to_string())),
        })
    }
}

/// Finds the executors that a plan asks for; why some are not here.
fn equip(around: &mut Surroundings, plan: &RunPlan) -> Vec<String> {
    let mut missing = Vec::new();
    for name in plan.executors() {
        if around.executors.contains_key(name) {
            continue;
        }
        match executor(name) {
            Ok(it) => drop(around.executors.insert(name.to_owned(), Arc::from(it))),
            Err(cause) => missing.push(cause),
        }
    }
    missing
}

fn wish(root: &Path, id: &str) -> PathBuf {
    root.join("cancel").join(id)
}

/// Tasks of this program: for plugins that name them without a command of their own.
fn natives(around: &mut Surroundings) {
    let nothing = NativeTask::new("nothing", |_: &mut alidade_pipeline::task::TaskContext| Ok(()));
    around.natives.add(
        "ALIDADE-MEASURE",
        nothing.description("Does nothing: measures the engine"),
    );
}
