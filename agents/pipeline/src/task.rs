//! Tasks written in Rust, and what they are given.
//!
//! ```
//! use alidade_pipeline::task::{NativeTask, TaskContext, TaskFailure};
//!
//! fn count(ctx: &mut TaskContext) -> Result<(), TaskFailure> {
//!     ctx.log("counting");
//!     let seen = ctx.properties.number("seen").unwrap_or(0.0);
//!     ctx.properties.set("seen", seen + 1.0);
//!     let target = ctx.output("report");
//!     target.activate(|path| std::fs::write(path, "counted\n").map_err(Into::into))?;
//!     Ok(())
//! }
//! let task = NativeTask::new("count", count).category("Examples").output("report", "COUNT-REPORT", "01");
//! assert_eq!(task.descriptor.outputs["report"].identifier, "COUNT-REPORT");
//! ```

use crate::{
    descriptor::{InputDataset, OutputDataset, Release, TaskDescriptor},
    port::{ExceptionRow, JobStatus, Level},
    target::Target,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Why a task failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TaskFailure(pub String);

impl TaskFailure {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<std::io::Error> for TaskFailure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<crate::target::TargetProblem> for TaskFailure {
    fn from(problem: crate::target::TargetProblem) -> Self {
        Self(problem.to_string())
    }
}

/// The work of a task. Functions and closures are tasks.
pub trait Task: Send + Sync {
    fn run(&self, ctx: &mut TaskContext) -> Result<(), TaskFailure>;
}

impl<F: Fn(&mut TaskContext) -> Result<(), TaskFailure> + Send + Sync> Task for F {
    fn run(&self, ctx: &mut TaskContext) -> Result<(), TaskFailure> {
        self(ctx)
    }
}

/// The shared context of a run: what arguments and earlier tasks have put there. What a task sets is seen by the tasks
/// that follow once it has ended well.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    shared: Arc<Map<String, Value>>,
    written: Map<String, Value>,
}

impl Properties {
    pub fn over(shared: Arc<Map<String, Value>>) -> Self {
        Self {
            shared,
            written: Map::new(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.written.get(name).or_else(|| self.shared.get(name))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.written.insert(name.into(), value.into());
    }

    /// What was set here.
    pub fn into_written(self) -> Map<String, Value> {
        self.written
    }

    /// Everything, for a command's configuration.
    pub fn all(&self) -> Map<String, Value> {
        let mut all = (*self.shared).clone();
        all.extend(self.written.clone());
        all
    }
}

/// What a running task tells at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Log { level: &'static str, text: String },
    Status(String),
}

/// All that a task is given.
pub struct TaskContext {
    pub run: String,
    pub node: String,
    /// The target that the run is about.
    pub subject: Option<String>,
    /// The item of the loop around it.
    pub item: Option<Value>,
    pub arguments: Map<String, Value>,
    pub properties: Properties,
    pub inputs: BTreeMap<String, Target>,
    pub outputs: BTreeMap<String, Target>,
    /// Every file of the run's inputs.
    pub files: Vec<PathBuf>,
    /// The attempt's own folder; made when it is first asked for.
    pub(crate) folder: PathBuf,
    pub dry_run: bool,
    pub(crate) exceptions: Vec<(JobStatus, Level, String)>,
    pub(crate) worst: JobStatus,
    pub(crate) say: Box<dyn Fn(Said) + Send>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl TaskContext {
    /// A line of the run's log, seen at once.
    pub fn log(&self, text: impl Into<String>) {
        (self.say)(Said::Log {
            level: "info",
            text: text.into(),
        });
    }

    /// What the run says of itself.
    pub fn status(&self, text: impl Into<String>) {
        (self.say)(Said::Status(text.into()));
    }

    /// Says what is being done while `work` does it.
    pub fn during<T>(&mut self, text: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.status(text);
        work(self)
    }

    /// The task ends well, with a remark.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.worst = self.worst.max(JobStatus::Warning);
        self.exception(JobStatus::Warning, Level::Normal, text);
    }

    /// A row of the exceptions.
    pub fn exception(&mut self, kind: JobStatus, level: Level, message: impl Into<String>) {
        self.exceptions.push((kind, level, message.into()));
    }

    /// An output by the name of the descriptor. An unknown name is a target without a dataset.
    pub fn output(&mut self, name: &str) -> &mut Target {
        let dir = self.folder.join("outputs");
        // A folder that cannot be made shows when the file is written.
        drop(std::fs::create_dir_all(&dir));
        self.outputs
            .entry(name.into())
            .or_insert_with(|| Target::new(dir.join(name), "", ""))
    }

    /// A folder of the attempt: every file in it becomes a product when no outputs are declared.
    pub fn outputs_dir(&self) -> std::io::Result<PathBuf> {
        let dir = self.folder.join("outputs");
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A folder of the attempt for what is of no use afterwards.
    pub fn scratch_dir(&self) -> std::io::Result<PathBuf> {
        let dir = self.folder.join("scratch");
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// An input by the name of the descriptor.
    pub fn input(&mut self, name: &str) -> Result<&mut Target, TaskFailure> {
        self.inputs
            .get_mut(name)
            .ok_or_else(|| TaskFailure(format!("there is no input {name}")))
    }

    /// Long tasks look here now and then, and end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn exception_rows(&self, attempt: &str) -> Vec<ExceptionRow> {
        self.exceptions
            .iter()
            .map(|(kind, level, message)| ExceptionRow {
                attempt: attempt.into(),
                kind: *kind,
                level: *level,
                message: message.clone(),
            })
            .collect()
    }
}

/// A task with what a descriptor would say of it.
#[derive(Clone)]
pub struct NativeTask {
    pub descriptor: TaskDescriptor,
    pub work: Arc<dyn Task>,
    pub retries: u32,
}

impl NativeTask {
    pub fn new(name: &str, work: impl Task + 'static) -> Self {
        Self {
            descriptor: TaskDescriptor {
                name: name.into(),
                category: "Software execution".into(),
                description: String::new(),
                inputs: BTreeMap::new(),
                outputs: BTreeMap::new(),
            },
            work: Arc::new(work),
            retries: 0,
        }
    }

    pub fn category(mut self, category: &str) -> Self {
        self.descriptor.category = category.into();
        self
    }

    pub fn description(mut self, description: &str) -> Self {
        self.descriptor.description = description.into();
        self
    }

    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    pub fn input(mut self, name: &str, dataset: &str, version: &str) -> Self {
        let input = InputDataset {
            identifier: dataset.into(),
            version: version.into(),
            optional: false,
        };
        self.descriptor.inputs.insert(name.into(), input);
        self
    }

    pub fn output(mut self, name: &str, dataset: &str, version: &str) -> Self {
        let output = OutputDataset {
            identifier: dataset.into(),
            name: name.into(),
            description: String::new(),
            level: "L0".into(),
            release: Release {
                version: version.into(),
                date: String::new(),
                author: String::new(),
                contact: None,
                institute: None,
                modification: Value::Null,
                file: None,
                reference: None,
                url: None,
            },
            file_name: None,
            optional: false,
        };
        self.descriptor.outputs.insert(name.into(), output);
        self
    }
}
