//! What the engine needs of a store: rows, waves and two traits.
//!
//! Reading and writing are apart, so that a dry run holds a store that *cannot* write. A *wave* is everything that is
//! recorded together, in one transaction: attempts that start, attempts that end with their products and exceptions,
//! items drawn by loops, log lines, the shared context. The end of an attempt that is not running any more is refused
//! ([`StoreFault::Fenced`]) and with it the whole wave.

use crate::{packages::Asker, plan::Frozen};
use alidade_model::{states::RunState, time::UtcTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why the store cannot do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    #[error("attempt {0} is not running any more: its end is not recorded")]
    Fenced(String),
    #[error("there is already a run {0}")]
    RunExists(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

/// How far an attempt, or a target, has come. The names are the seed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    Pending,
    Running,
    Terminated,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    Ok,
    Warning,
    Error,
}

macro_rules! words {
    ($kind:ty { $($value:ident = $word:literal),+ }) => {
        impl $kind {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$value),)+ _ => None }
            }
        }
    };
}
words!(JobState { Pending = "Pending", Running = "Running", Terminated = "Terminated" });
words!(JobStatus { Ok = "OK", Warning = "WARNING", Error = "ERROR" });

/// How far a target has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetState {
    Pending,
    InProgress,
    Terminated,
    Empty,
}
words!(TargetState { Pending = "Pending", InProgress = "InProgress", Terminated = "Terminated", Empty = "Empty" });

/// How grave an exception is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    Low,
    Normal,
    High,
    Critical,
}
words!(Level { Low = "Low", Normal = "Normal", High = "High", Critical = "Critical" });

/// One execution of a topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: String,
    pub pipeline: String,
    pub plugin: String,
    pub version: String,
    pub short_name: String,
    /// The target that it is about, if any.
    pub subject: Option<String>,
    /// The account that began it; none for what the observatory itself or the command line began.
    pub owner: Option<String>,
    /// Of the products, once there are any.
    pub product_group: Option<String>,
    pub state: RunState,
    /// What it says of itself: `pending`, free text, at the end `created` or `failed`.
    pub status: String,
    /// Why it failed, or a summary.
    pub cause: String,
    /// Not part of what is told of a run: it may be long.
    #[serde(skip)]
    pub plan: Frozen,
    /// The shared context.
    pub properties: Map<String, Value>,
    pub created: UtcTime,
    pub started: Option<UtcTime>,
    pub ended: Option<UtcTime>,
}

/// One try of one task: the seed's *job*.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    pub uuid: String,
    pub run: String,
    pub plugin: String,
    pub task: String,
    pub node: String,
    pub iteration: Option<u64>,
    pub item: Option<Value>,
    /// From 1.
    pub tried: u32,
    /// The attempt of the first dependency.
    pub parent: Option<String>,
    pub category: String,
    pub description: String,
    pub state: JobState,
    pub status: JobStatus,
    /// Why it is so: `blocked by b`, `exit status 3`, `the same as ...`.
    pub reason: String,
    pub started: Option<UtcTime>,
    pub ended: Option<UtcTime>,
    /// The order of what the planner was told; none for what it was not (a try that is repeated).
    pub seq: Option<u64>,
    /// What the attempt depends on, as one digest and in its parts.
    pub key: String,
    pub key_parts: Value,
    /// How a started external attempt is found again.
    pub ticket: Option<Value>,
    /// What it put into the shared context; who takes its products over takes this as well.
    pub properties: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRow {
    pub attempt: String,
    pub kind: JobStatus,
    pub level: Level,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    In,
    Out,
}
words!(Role { In = "in", Out = "out" });

/// A file that an attempt read or made. With the role `out` and a checksum it is a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    pub attempt: String,
    pub run: String,
    pub role: Role,
    /// The name that the task knows it by.
    pub name: String,
    /// For people: the run's identifier and the file.
    pub label: String,
    pub dataset: String,
    pub version: String,
    pub level: String,
    /// Absolute, or below the store of products.
    pub path: String,
    pub size: u64,
    pub sha256: String,
    pub state: TargetState,
    pub status: JobStatus,
    pub message: String,
}

/// An answer of a loop's iterator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrawRow {
    pub loop_name: String,
    pub index: u64,
    /// None: there is no item any more.
    pub item: Option<Value>,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// From 1, without gaps.
    pub line: u64,
    pub at: UtcTime,
    pub node: String,
    pub level: String,
    pub text: String,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub uuid: String,
    pub status: JobStatus,
    pub reason: String,
    pub at: UtcTime,
    pub seq: Option<u64>,
    pub exceptions: Vec<ExceptionRow>,
    pub targets: Vec<TargetRow>,
    pub properties: Map<String, Value>,
}

/// What changes on a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunChange {
    pub state: Option<RunState>,
    pub status: Option<String>,
    pub cause: Option<String>,
    pub group: Option<String>,
    pub started: Option<UtcTime>,
    pub ended: Option<UtcTime>,
    pub properties: Option<Map<String, Value>>,
}

/// What is recorded together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wave {
    pub draws: Vec<DrawRow>,
    pub ends: Vec<End>,
    /// Running attempts, and those that will never run.
    pub starts: Vec<AttemptRow>,
    pub tickets: Vec<(String, Value)>,
    pub log: Vec<LogRow>,
    pub change: RunChange,
}

impl Wave {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A descriptor that has been registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRow {
    pub identifier: String,
    /// `pipeline` or `plugin`.
    pub kind: String,
    pub version: String,
    pub date: String,
    pub author: String,
    pub digest: String,
    pub descriptor: Value,
    pub registered: UtcTime,
}

/// A dataset that a registered task makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRow {
    pub identifier: String,
    pub version: String,
    pub level: String,
    pub name: String,
    pub plugin: String,
    pub plugin_version: String,
    pub task: String,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub pipeline: Option<String>,
    pub subject: Option<String>,
    /// Only those that have not ended.
    pub open: bool,
    /// Also runs of packages, which belong to the accounts that began them; they have no plan and no attempts here.
    pub packages: bool,
    /// Only what they may see; by default everything.
    pub seen_by: Asker,
    pub limit: i64,
}

/// What can be asked.
pub trait RunReads: Send {
    fn run(&mut self, id: &str) -> Result<Option<RunRecord>, StoreFault>;
    /// Newest first.
    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreFault>;
    /// In order of their start.
    fn attempts(&mut self, run: &str) -> Result<Vec<AttemptRow>, StoreFault>;
    fn draws(&mut self, run: &str) -> Result<Vec<DrawRow>, StoreFault>;
    fn exceptions(&mut self, run: &str) -> Result<Vec<ExceptionRow>, StoreFault>;
    fn targets(&mut self, run: &str) -> Result<Vec<TargetRow>, StoreFault>;
    /// Lines with numbers above `after`, in order.
    fn log(&mut self, run: &str, after: u64, limit: i64) -> Result<Vec<LogRow>, StoreFault>;
    /// The newest attempt of a task that ended well: with this key, or with any.
    fn last_good(&mut self, plugin: &str, task: &str, key: Option<&str>) -> Result<Option<AttemptRow>, StoreFault>;
    /// Products by label, path or checksum; newest first.
    fn products(&mut self, wanted: &str) -> Result<Vec<TargetRow>, StoreFault>;
    fn releases(&mut self) -> Result<Vec<ReleaseRow>, StoreFault>;
    fn datasets(&mut self) -> Result<Vec<DatasetRow>, StoreFault>;
    /// Plugin and revision of everything that the migrator has touched.
    fn revisions(&mut self) -> Result<Vec<(String, Option<String>)>, StoreFault>;
}

/// What can be written.
pub trait RunWrites: RunReads {
    fn create_run(&mut self, run: &RunRecord) -> Result<(), StoreFault>;
    /// All or nothing.
    fn commit(&mut self, run: &str, wave: &Wave) -> Result<(), StoreFault>;
    /// Adds a release with its datasets; says whether it was new. The same version with another content is refused.
    fn register(&mut self, release: &ReleaseRow, datasets: &[DatasetRow]) -> Result<bool, StoreFault>;
    fn set_revision(&mut self, plugin: &str, revision: Option<&str>) -> Result<(), StoreFault>;
    /// Runs one revision's statements and records where the plugin stands afterwards, in one transaction.
    fn migrate(
        &mut self,
        plugin: &str,
        statements: &crate::migrate::Statements,
        after: Option<&str>,
    ) -> Result<(), StoreFault>;
}
