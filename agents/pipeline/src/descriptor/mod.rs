//! Descriptors: what a pipeline and its plugins say of themselves, in JSON.
//!
//! Terms: the *pipeline descriptor* names the whole (release, project, databases, modules, calibration software); a
//! *plugin descriptor* names the tasks of a plugin with their input and output datasets; the *extras* of a plugin say
//! how its tasks are run. All are held against the schemas of `schemas/`, then against each other; every fault is
//! told at once, with its file and its JSON pointer (RFC 6901).
//!
//! | module | holds |
//! |---|---|
//! | [`check`] | the schemas and the cross-references |
//! | [`load`] | a folder of plugins, read whole |
//! | [`extras`] | commands of tasks, topologies, command line |

pub mod check;
pub mod extras;
pub mod load;

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Accepted, but should be mended.
    Warning,
    Error,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: String,
    /// JSON pointer; empty for the whole file.
    pub pointer: String,
    pub severity: Severity,
    pub message: String,
}

impl Fault {
    pub fn error(file: &str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            pointer: pointer.into(),
            severity: Severity::Error,
            message: message.into(),
        }
    }

    pub fn warning(file: &str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, pointer, message)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "",
        };
        write!(f, "{}#{}: {kind}{}", self.file, self.pointer, self.message)
    }
}

/// Whether anything is so wrong that the files cannot be used.
pub fn any_error(faults: &[Fault]) -> bool {
    faults.iter().any(|f| f.severity == Severity::Error)
}

/// A release of software or of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub version: String,
    pub date: String,
    pub author: String,
    #[serde(default)]
    pub contact: Option<String>,
    #[serde(default)]
    pub institute: Option<String>,
    /// Text, or a list of texts.
    pub modification: serde_json::Value,
    #[serde(default)]
    pub file: Option<String>,
    #[serde(default)]
    pub reference: Option<String>,
    #[serde(default)]
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identification {
    pub project: String,
    pub name: String,
    pub identifier: String,
    pub description: String,
}

/// A dataset that a task reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDataset {
    pub identifier: String,
    pub version: String,
    #[serde(default)]
    pub optional: bool,
}

/// A dataset that a task makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDataset {
    pub identifier: String,
    pub name: String,
    pub description: String,
    pub level: String,
    pub release: Release,
    /// The file in the attempt's outputs; without it the name of the output, or that name with any suffix.
    #[serde(default)]
    pub file_name: Option<String>,
    #[serde(default)]
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDescriptor {
    pub name: String,
    #[serde(default = "unsorted")]
    pub category: String,
    pub description: String,
    pub inputs: BTreeMap<String, InputDataset>,
    pub outputs: BTreeMap<String, OutputDataset>,
}

fn unsorted() -> String {
    "Software execution".into()
}

/// A plugin's descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginDescriptor {
    pub identification: Identification,
    pub release: Release,
    pub tasks: Vec<TaskDescriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    pub identifier: String,
    pub name: String,
    pub description: String,
    pub release: Release,
}

/// The descriptor of the whole pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineDescriptor {
    pub identifier: String,
    pub name: String,
    pub description: String,
    pub release: Release,
    #[serde(default)]
    pub project: serde_json::Value,
    #[serde(default)]
    pub databases: Vec<Database>,
    #[serde(default)]
    pub modules: Vec<String>,
    #[serde(default, alias = "external_software")]
    pub calibration_softwares: Vec<String>,
}
