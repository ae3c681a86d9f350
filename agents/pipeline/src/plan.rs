//! The frozen plan of a run: everything that decides what it does, so that it goes on the same way after a restart.

use crate::{
    descriptor::{
        TaskDescriptor,
        extras::{Over, TaskCommand},
        load::Collection,
    },
    graph::Topology,
    task::NativeTask,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Tasks written in Rust, by plugin and name.
#[derive(Clone, Default)]
pub struct Natives(BTreeMap<(String, String), NativeTask>);

impl Natives {
    pub fn add(&mut self, plugin: &str, task: NativeTask) {
        self.0.insert((plugin.into(), task.descriptor.name.clone()), task);
    }

    pub fn get(&self, plugin: &str, task: &str) -> Option<&NativeTask> {
        self.0.get(&(plugin.to_owned(), task.to_owned()))
    }
}

/// Where the work of a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// In this program.
    Native {
        retries: u32,
    },
    Command {
        command: TaskCommand,
        folder: PathBuf,
    },
}

impl Body {
    pub fn retries(&self) -> u32 {
        match self {
            Body::Native { retries } => *retries,
            Body::Command { command, .. } => command.retries,
        }
    }
}

/// A task with its work, as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskPlan {
    pub plugin: String,
    /// Of what says how the plugin runs.
    pub digest: String,
    pub task: TaskDescriptor,
    pub body: Body,
}

/// A node: a task, shared with other nodes where it stands at several places, and the arguments of this place.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    pub of: Arc<TaskPlan>,
    pub arguments: Map<String, Value>,
}

impl std::ops::Deref for NodePlan {
    type Target = TaskPlan;

    fn deref(&self) -> &TaskPlan {
        &self.of
    }
}

/// The nodes as they are written: each task once, so that ten thousand places of one task are ten thousand numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NodesText {
    tasks: Vec<TaskPlan>,
    /// By node, the number of its task.
    places: Vec<usize>,
    /// Of the nodes that have any.
    #[serde(default)]
    arguments: BTreeMap<usize, Map<String, Value>>,
}

mod nodes_text {
    //! See [`super::NodesText`].

    use super::{BTreeMap, NodePlan, NodesText};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use std::sync::Arc;

    pub fn serialize<S: Serializer>(nodes: &[NodePlan], out: S) -> Result<S::Ok, S::Error> {
        let mut numbers = BTreeMap::new();
        let mut text = NodesText {
            tasks: Vec::new(),
            places: Vec::with_capacity(nodes.len()),
            arguments: BTreeMap::new(),
        };
        for (place, node) in nodes.iter().enumerate() {
            let number = *numbers.entry(Arc::as_ptr(&node.of)).or_insert_with(|| {
                text.tasks.push((*node.of).clone());
                text.tasks.len() - 1
            });
            text.places.push(number);
            if !node.arguments.is_empty() {
                text.arguments.insert(place, node.arguments.clone());
            }
        }
        text.serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NodePlan>, D::Error> {
        let mut text = NodesText::deserialize(from)?;
        let tasks: Vec<_> = text.tasks.into_iter().map(Arc::new).collect();
        let mut nodes = Vec::with_capacity(text.places.len());
        for (place, number) in text.places.iter().enumerate() {
            let of = tasks.get(*number).cloned();
            nodes.push(NodePlan {
                of: of.ok_or_else(|| D::Error::custom(format!("there is no task number {number}")))?,
                arguments: text.arguments.remove(&place).unwrap_or_default(),
            });
        }
        Ok(nodes)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopPlan {
    pub name: String,
    /// Where the item is found in the shared context.
    pub property: String,
    pub over: Over,
}

/// A file that the run was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInput {
    /// The file's name, or the input of the descriptor that it is for.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    #[serde(default)]
    pub dataset: String,
    #[serde(default)]
    pub version: String,
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    pub topology: Topology,
    #[serde(with = "nodes_text")]
    pub nodes: Vec<NodePlan>,
    pub loops: Vec<LoopPlan>,
    pub parallel: usize,
    #[serde(default)]
    pub inputs: Vec<RunInput>,
    /// What has been done before in the same way is not done again.
    #[serde(default)]
    pub reuse: bool,
    #[serde(default)]
    pub dry_run: bool,
}

/// A plan as it is kept: the text of its JSON, a tenth of what the same would be as a tree. Equal texts are equal plans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frozen(String);

impl Frozen {
    pub fn of(plan: &RunPlan) -> Result<Self, serde_json::Error> {
        serde_json::to_string(plan).map(Self)
    }

    /// As it was kept.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn thaw(&self) -> Result<RunPlan, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// Whether this is the plan of a run at all: nightly frames and packages have none.
    pub fn is_plan(&self) -> bool {
        self.0.starts_with('{')
    }

    /// The graph of the plan alone, if it can be read.
    pub fn topology(&self) -> Option<Topology> {
        #[derive(Deserialize)]
        struct Part {
            topology: Topology,
        }
        serde_json::from_str::<Part>(&self.0).ok().map(|part| part.topology)
    }
}

/// What somebody wants to be run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    pub pipeline: String,
    /// The target that it is about.
    pub target: Option<String>,
    /// Files; `DATASET:VERSION=PATH` and `NAME=PATH` say what they are.
    pub inputs: Vec<String>,
    pub properties: Map<String, Value>,
    pub flags: BTreeMap<String, bool>,
    pub start: Option<String>,
    pub end: Option<String>,
    pub parallel: Option<usize>,
    pub reuse: bool,
}

/// A plan with the names it goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub plan: RunPlan,
    pub plugin: String,
    pub pipeline: String,
    pub version: String,
    pub short_name: String,
    pub subject: Option<String>,
    /// The account that asked for it.
    pub owner: Option<String>,
    pub properties: Map<String, Value>,
}

impl RunRequest {
    /// The plan, or everything that is wrong with the request.
    pub fn plan(&self, known: &Collection, natives: &Natives) -> Result<Planned, Vec<String>> {
        let Some((home, text)) = known.runnable(&self.pipeline) else {
            let names: Vec<String> = known
                .plugins
                .iter()
                .flat_map(|p| p.extras.pipelines.iter().map(|t| t.name.clone()))
                .collect();
            let there = if names.is_empty() {
                "none".into()
            } else {
                names.join(", ")
            };
            return Err(vec![format!(
                "there is no pipeline {:?}; there is {there}",
                self.pipeline
            )]);
        };
        let mut wrong = Vec::new();
        let inputs = self.read_inputs(&mut wrong);
        if text.needs_target && self.target.is_none() {
            wrong.push("Process must have an associated target".into());
        }
        if text.needs_inputs && inputs.is_empty() {
            wrong.push("No input files to process".into());
        }
        for input in &inputs {
            let name = input.path.display().to_string();
            if !text.allowed_suffixes.is_empty() && !text.allowed_suffixes.iter().any(|s| name.ends_with(s.as_str())) {
                wrong.push(format!("{name}: only {} are allowed", text.allowed_suffixes.join(", ")));
            }
        }
        if let Some(target) = &self.target
            && (target.is_empty() || !target.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)))
        {
            wrong.push(format!(
                "target {target:?}: only letters, digits and . _ + - are allowed"
            ));
        }
        let topology = match text.topology(self.start.as_deref(), self.end.as_deref()) {
            Ok(topology) => topology,
            Err(faults) => {
                wrong.extend(faults.iter().map(ToString::to_string));
                return Err(wrong);
            }
        };
        let mut nodes = Vec::new();
        let mut tasks: BTreeMap<(&str, &str), Arc<TaskPlan>> = BTreeMap::new();
        for node in &topology.names {
            let own = text.nodes.get(node);
            let task = own.and_then(|n| n.task.as_deref()).unwrap_or(node);
            let Some((plugin, descriptor)) = known.find_task(home, task) else {
                wrong.push(format!("task {task:?} is not known"));
                continue;
            };
            let arguments = own.map(|n| n.arguments.clone()).unwrap_or_default();
            let key = (plugin.id(), descriptor.name.as_str());
            if let Some(of) = tasks.get(&key).cloned() {
                nodes.push(NodePlan { of, arguments });
                continue;
            }
            let body = match (
                plugin.extras.tasks.get(&descriptor.name),
                natives.get(plugin.id(), &descriptor.name),
            ) {
                (Some(command), _) => Body::Command {
                    command: command.clone(),
                    folder: std::path::absolute(&plugin.folder).unwrap_or_else(|_| plugin.folder.clone()),
                },
                (None, Some(native)) => Body::Native {
                    retries: native.retries,
                },
                (None, None) => {
                    wrong.push(format!("task {task} has no command in plugin.json"));
                    continue;
                }
            };
            let of = Arc::new(TaskPlan {
                plugin: plugin.id().into(),
                digest: plugin.digest.clone(),
                task: descriptor.clone(),
                body,
            });
            tasks.insert(key, of.clone());
            nodes.push(NodePlan { of, arguments });
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut properties = text.properties.clone();
        for (flag, what) in &text.flags {
            // Flags that the pipeline does not know are ignored.
            properties.insert(
                flag.clone(),
                self.flags.get(flag).copied().unwrap_or(what.default).into(),
            );
        }
        properties.extend(self.properties.clone());
        let loops = text.loops.iter().map(|l| LoopPlan {
            name: l.name.clone(),
            property: l.property.clone().unwrap_or_else(|| l.name.clone()),
            over: l.over.clone(),
        });
        Ok(Planned {
            plan: RunPlan {
                loops: loops.collect(),
                topology,
                nodes,
                parallel: self.parallel.or(text.parallel).unwrap_or(1).clamp(1, 1024),
                inputs,
                reuse: self.reuse,
                dry_run: false,
            },
            plugin: home.id().into(),
            pipeline: text.name.clone(),
            version: home.descriptor.release.version.clone(),
            short_name: text.short().into(),
            owner: None,
            subject: self.target.clone(),
            properties,
        })
    }

    fn read_inputs(&self, wrong: &mut Vec<String>) -> Vec<RunInput> {
        let mut inputs = Vec::new();
        for text in &self.inputs {
            // A path with an equals sign in it is a path.
            let (what, path) = match text.split_once('=') {
                Some((what, path)) if !Path::new(text).exists() => (Some(what), path),
                _ => (None, text.as_str()),
            };
            let path = Path::new(path);
            if !path.is_file() {
                wrong.push(format!("input {} does not exist", path.display()));
                continue;
            }
            let file = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            let (name, dataset, version) = match what.map(|w| (w, w.split_once(':'))) {
                Some((_, Some((dataset, version)))) => (file, dataset.into(), version.into()),
                Some((name, None)) => (name.into(), String::new(), String::new()),
                None => (file, String::new(), String::new()),
            };
            inputs.push(RunInput {
                name,
                path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
                dataset,
                version,
            });
        }
        inputs
    }
}

impl RunPlan {
    /// Executors that its commands ask for, each once.
    pub fn executors(&self) -> BTreeSet<&str> {
        let of = self.nodes.iter().map(|node| &node.of.body);
        of.filter_map(|body| match body {
            Body::Command { command, .. } => Some(command.executor.as_str()),
            Body::Native { .. } => None,
        })
        .collect()
    }

    /// Item `index` of a loop; none when there is none any more. Faults are what the shared context holds wrongly.
    pub fn item(&self, of: usize, index: u64, shared: &Map<String, Value>) -> Result<Option<Value>, String> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        match &self.loops[of].over {
            Over::Items(items) => Ok(items.get(at).cloned()),
            Over::Range { range } => Ok((index < *range).then(|| index.into())),
            Over::Property { property } => match shared.get(property) {
                Some(Value::Array(items)) => Ok(items.get(at).cloned()),
                Some(_) => Err(format!("property {property} is not a list")),
                None => Err(format!("there is no property {property}")),
            },
            Over::Inputs { inputs } => {
                let paths = self.inputs.iter().map(|i| i.path.display().to_string());
                Ok(paths.filter(|p| p.ends_with(inputs.as_str())).nth(at).map(Value::from))
            }
        }
    }
}
