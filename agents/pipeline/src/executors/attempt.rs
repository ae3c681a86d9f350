//! What an attempt is given, and the parts of its folder.
//!
//! | part | holds | the command may |
//! |---|---|---|
//! | `inputs/` | the inputs by name; in a sandbox also `config.json` | read |
//! | `outputs/` | what it makes; also its working directory | write |
//! | `logs/` | `out.log`, `err.log`, and its own | write |
//! | `progress/` | `progress.ndjson`, to which it appends one JSON object a line | write |
//! | `config.json` | the configuration of the run | read |
//! | `control/` | specification, ticket, exit status: ours | not see (in a sandbox) |
//!
//! The command finds them by the environment: `ALIDADE_ATTEMPT`, `ALIDADE_INPUTS`, `ALIDADE_OUTPUTS`, `ALIDADE_LOGS`,
//! `ALIDADE_CONFIG`, `ALIDADE_PROGRESS` and, when there are, `ALIDADE_DATABASES`.

use super::ExecutorError;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Component, Path, PathBuf},
};

/// One attempt, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptSpec {
    /// Never used twice: letters, digits, `.`, `_` and `-`, at most 100.
    pub id: String,
    /// Absolute; its parent exists.
    pub folder: PathBuf,
    /// The command and its arguments; the first is searched on the `PATH`.
    pub argv: Vec<String>,
    /// Added to a bare environment (`PATH`, `HOME`, `LANG`); nothing is inherited from the daemon.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Written to `config.json`.
    #[serde(default)]
    pub config: serde_json::Value,
    /// A folder of reference data, read-only.
    #[serde(default)]
    pub databases: Option<PathBuf>,
    #[serde(default)]
    pub limits: Limits,
    /// The network may be used.
    #[serde(default)]
    pub network: bool,
    #[serde(default)]
    pub root: Root,
    /// A folder with the program's own files, read-only at `/pipeline/package` in a sandbox.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Where a sandbox shows the parts; a plain process sees the folder itself.
    #[serde(default)]
    pub places: Places,
}

/// A file or folder that the command reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name below `inputs/`: one component.
    pub name: String,
    /// Absolute.
    pub source: PathBuf,
}

/// Bounds of what an attempt uses; none is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Processor time, seconds.
    pub cpu_s: Option<f64>,
    /// Memory, bytes: of all processes together where the executor says so, else the address space of each.
    pub memory: Option<u64>,
    /// Elapsed time, seconds, pauses not counted.
    pub wall_s: Option<f64>,
    /// Processes and threads at a time.
    pub processes: Option<u64>,
}

/// The root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// The machine's own programs and libraries, read-only in a sandbox.
    #[default]
    Host,
    /// An unpacked root file system, read-only.
    Folder(PathBuf),
}

/// Where a sandbox shows the parts of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Places {
    pub inputs: PathBuf,
    pub outputs: PathBuf,
    pub logs: PathBuf,
    pub databases: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            inputs: "/pipeline/inputs".into(),
            outputs: "/pipeline/outputs".into(),
            logs: "/pipeline/logs".into(),
            databases: "/pipeline/databases".into(),
        }
    }
}

/// Where a sandbox shows `progress/`.
pub const PROGRESS_PLACE: &str = "/pipeline/progress";

impl AttemptSpec {
    /// A command with nothing but its folder.
    pub fn new(id: &str, folder: impl Into<PathBuf>, argv: &[&str]) -> Self {
        Self {
            id: id.into(),
            folder: folder.into(),
            argv: argv.iter().map(|&word| word.into()).collect(),
            environment: BTreeMap::new(),
            inputs: Vec::new(),
            config: serde_json::json!({}),
            databases: None,
            limits: Limits::default(),
            network: false,
            root: Root::Host,
            program: None,
            places: Places::default(),
        }
    }

    pub fn inputs_dir(&self) -> PathBuf {
        self.folder.join("inputs")
    }
    pub fn outputs_dir(&self) -> PathBuf {
        self.folder.join("outputs")
    }
    pub fn logs_dir(&self) -> PathBuf {
        self.folder.join("logs")
    }
    pub fn progress_dir(&self) -> PathBuf {
        self.folder.join("progress")
    }
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// Every fault of the specification that can be seen without looking at the disk.
    pub fn check(&self) -> Result<(), ExecutorError> {
        let bad = |what: String| Err(ExecutorError::BadSpec(what));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.id.is_empty() || self.id.len() > 100 || self.id.starts_with('.') || !self.id.chars().all(legal) {
            return bad(format!("identifier {:?}", self.id));
        }
        if !self.folder.is_absolute() {
            return bad(format!("the folder {} is not absolute", self.folder.display()));
        }
        if self.argv.first().is_none_or(String::is_empty) {
            return bad("there is no command".into());
        }
        if self.argv.iter().any(|word| word.contains('\0')) {
            return bad("the command holds a NUL".into());
        }
        for (key, value) in &self.environment {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return bad(format!("environment variable {key:?}"));
            }
        }
        let mut names = BTreeSet::new();
        for input in &self.inputs {
            let mut parts = Path::new(&input.name).components();
            let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !single || input.name.ends_with('/') || input.name == "config.json" {
                return bad(format!("input name {:?}", input.name));
            }
            if !input.source.is_absolute() {
                return bad(format!("input {} is not absolute", input.source.display()));
            }
            if !names.insert(&input.name) {
                return bad(format!("two inputs are named {}", input.name));
            }
        }
        let Limits { cpu_s, wall_s, .. } = self.limits;
        if [cpu_s, wall_s]
            .into_iter()
            .flatten()
            .any(|s| !s.is_finite() || s <= 0.0)
        {
            return bad("a limit of time is not a positive number".into());
        }
        for place in [
            &self.places.inputs,
            &self.places.outputs,
            &self.places.logs,
            &self.places.databases,
        ] {
            let safe = place
                .components()
                .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
            if !place.is_absolute() || !safe || place.parent().is_none() {
                return bad(format!("mount point {}", place.display()));
            }
        }
        Ok(())
    }

    /// Makes the folder with everything but the inputs themselves, and keeps the specification in it.
    pub(super) fn lay_out(&self) -> Result<(), ExecutorError> {
        self.check()?;
        for input in &self.inputs {
            if !input.source.exists() {
                return Err(ExecutorError::MissingInput(input.source.clone()));
            }
        }
        let folder = &self.folder;
        let made = |part: &Path| {
            fs::create_dir_all(part).map_err(ExecutorError::io(format!("cannot make {}", part.display())))
        };
        for part in ["inputs", "outputs", "logs", "progress", "control"] {
            made(&folder.join(part))?;
        }
        let config = if self.config.is_null() {
            serde_json::json!({})
        } else {
            self.config.clone()
        };
        let config_file = self.config_file();
        fs::write(&config_file, format!("{config:#}\n"))
            .map_err(ExecutorError::io(format!("cannot write {}", config_file.display())))?;
        // Kept last: a folder with a specification is a whole one.
        keep(
            &folder.join("control/spec.json"),
            &serde_json::to_vec(self).map_err(|e| ExecutorError::BadSpec(e.to_string()))?,
        )
    }

    /// The specification that [`super::Executor::prepare`] kept in a folder.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, ExecutorError> {
        let file = folder.join("control/spec.json");
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| ExecutorError::BadSpec(format!("{}: {e}", file.display()))),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(ExecutorError::io(format!("cannot read {}", file.display()))(cause)),
        }
    }
}

/// Writes a file whole or not at all.
pub(super) fn keep(file: &Path, content: &[u8]) -> Result<(), ExecutorError> {
    let draft = file.with_extension("draft");
    let written = fs::File::create(&draft)
        .and_then(|mut f| f.write_all(content))
        .and_then(|()| fs::rename(&draft, file));
    written.map_err(ExecutorError::io(format!("cannot write {}", file.display())))
}
