//! How a plugin's tasks are run: their commands, the topologies they stand in, and what the plugin adds to the command
//! line (`plugin.json`).

use crate::{
    executors::Limits,
    graph::{OnFailure, Topology, TopologyFault},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What becomes of an attempt whose supervisor has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It is ended, if it still runs, and tried again.
    #[default]
    Restart,
    /// It is waited for, if it still runs; else tried again.
    Reattach,
}

/// The command of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskCommand {
    /// `{plugin}`, `{inputs}`, `{outputs}`, `{item}`, `{input:NAME}`, `{output:NAME}` and `{property:NAME}` are
    /// replaced. The first word is a path below the plugin's folder when it begins with `./`.
    pub command: Vec<String>,
    #[serde(default = "process")]
    pub executor: String,
    #[serde(default)]
    pub on_interrupt: OnInterrupt,
    /// How often a failed attempt is tried again.
    #[serde(default)]
    pub retries: u32,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub network: bool,
    #[serde(default)]
    pub limits: Limits,
}

fn process() -> String {
    "process".into()
}

/// What a loop goes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Over {
    Items(Vec<Value>),
    Range {
        range: u64,
    },
    /// A list that an earlier task has put into the shared context.
    Property {
        property: String,
    },
    /// The inputs of the run whose names end so.
    Inputs {
        inputs: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopText {
    pub name: String,
    pub start: String,
    pub end: String,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The item is put into the shared context by this name; without it by the loop's.
    #[serde(default)]
    pub property: Option<String>,
    pub over: Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeText {
    /// `PLUGIN.task`, or a task of the same plugin; without it the node's own name.
    #[serde(default)]
    pub task: Option<String>,
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    pub default: bool,
    #[serde(default)]
    pub long_name: Option<String>,
}

/// A topology that can be run by its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PipelineText {
    pub name: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// Begins the names of products; without it the name.
    #[serde(default)]
    pub short_name: Option<String>,
    pub chains: Vec<String>,
    #[serde(default)]
    pub start: Option<String>,
    #[serde(default)]
    pub end: Option<String>,
    #[serde(default)]
    pub parallel: Option<usize>,
    #[serde(default)]
    pub needs_target: bool,
    #[serde(default)]
    pub needs_inputs: bool,
    #[serde(default)]
    pub allowed_suffixes: Vec<String>,
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeText>,
    #[serde(default)]
    pub loops: Vec<LoopText>,
    #[serde(default)]
    pub properties: Map<String, Value>,
    #[serde(default)]
    pub flags: BTreeMap<String, Flag>,
}

impl PipelineText {
    /// What the names of products begin with.
    pub fn short(&self) -> &str {
        self.short_name.as_deref().unwrap_or(&self.name)
    }

    /// The topology, with all its faults.
    pub fn topology(&self, start: Option<&str>, end: Option<&str>) -> Result<Topology, Vec<TopologyFault>> {
        let mut topology = Topology::default();
        let mut faults: Vec<TopologyFault> = Vec::new();
        faults.extend(topology.chains(&self.chains));
        match start.or(self.start.as_deref()) {
            Some(start) => faults.extend(topology.set_start(start).err()),
            None => topology.start_at_roots(),
        }
        if let Some(end) = end.or(self.end.as_deref()) {
            faults.extend(topology.set_end(end).err());
        }
        for of in &self.loops {
            faults.extend(topology.add_loop(&of.name, &of.start, &of.end, of.on_failure).err());
        }
        let known = topology.places();
        for name in self.nodes.keys().filter(|name| !known.contains_key(*name)) {
            faults.push(TopologyFault::UnknownNode(name.clone()));
        }
        if faults.is_empty() || !topology.names.is_empty() {
            let no_start_said = topology.start.is_empty() && !faults.is_empty();
            faults.extend(
                topology
                    .faults()
                    .into_iter()
                    .filter(|f| !(no_start_said && *f == TopologyFault::NoStart)),
            );
            // Without roots there is a circle, and that is what is wrong.
            if faults.iter().any(|f| matches!(f, TopologyFault::Cycle(_))) {
                faults.retain(|f| *f != TopologyFault::NoStart);
            }
        }
        if faults.is_empty() { Ok(topology) } else { Err(faults) }
    }
}

/// One argument of a plugin's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentText {
    pub name: String,
    #[serde(default)]
    pub short: Option<String>,
    #[serde(default)]
    pub help: Option<String>,
    #[serde(default)]
    pub kind: ArgumentKind,
    #[serde(default)]
    pub default: Option<Value>,
    #[serde(default)]
    pub choices: Vec<String>,
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentKind {
    Flag,
    #[default]
    Value,
    Values,
    Positional,
}

/// A command that a plugin adds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandText {
    /// How other commands refer to it.
    pub command: String,
    /// How it is called.
    pub name: String,
    /// The command it stands below; without it the plugin itself (`master`).
    #[serde(default)]
    pub parent: Option<String>,
    #[serde(default)]
    pub help: Option<String>,
    /// Commands of which the arguments are taken also here.
    #[serde(default)]
    pub parent_arguments: Vec<String>,
    #[serde(default)]
    pub arguments: Vec<ArgumentText>,
    /// Groups of arguments of which at most one may be given.
    #[serde(default)]
    pub exclusive: Vec<Vec<ArgumentText>>,
    /// Runs this pipeline; arguments become properties.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// Runs this program; arguments are in the environment as `ARG_NAME` and as JSON in `ALIDADE_ARGUMENTS`.
    #[serde(default)]
    pub run: Option<Vec<String>>,
    /// Prints this text.
    #[serde(default)]
    pub print: Option<String>,
}

/// The whole of `plugin.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Extras {
    #[serde(default)]
    pub tasks: BTreeMap<String, TaskCommand>,
    #[serde(default)]
    pub pipelines: Vec<PipelineText>,
    #[serde(default)]
    pub commands: Vec<CommandText>,
}
