//! A folder of plugins, read whole.
//!
//! ```text
//! pipelines/
//!   pipeline.json               the pipeline's descriptor (or roc_pip_descriptor.json); without it every plugin is on
//!   some-plugin/
//!     descriptor.json           (or config/roc_sw_descriptor.json)
//!     plugin.json               commands of tasks, topologies, command line; may be missing
//!     migrations/*.json         revisions of the plugin's tables; may be missing
//! ```
//!
//! A plugin that cannot be used is reported and left out; the others are there.

use super::{
    Fault, PipelineDescriptor, PluginDescriptor, TaskDescriptor, any_error,
    check::{self, Kind},
    extras::{Extras, PipelineText},
};
use crate::{
    migrate::Revision,
    port::{DatasetRow, ReleaseRow},
};
use alidade_model::time::UtcTime;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A plugin, in order.
#[derive(Debug, Clone)]
pub struct Plugin {
    pub folder: PathBuf,
    /// Of the descriptor, for messages.
    pub file: String,
    pub descriptor: PluginDescriptor,
    pub extras: Extras,
    pub revisions: Vec<Revision>,
    /// SHA-256 of everything that says how it runs, lower-case hexadecimal.
    pub digest: String,
}

impl Plugin {
    pub fn id(&self) -> &str {
        &self.descriptor.identification.identifier
    }

    pub fn task(&self, name: &str) -> Option<&TaskDescriptor> {
        self.descriptor.tasks.iter().find(|t| t.name == name)
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    pub pipeline: Option<(String, PipelineDescriptor)>,
    pub plugins: Vec<Plugin>,
    pub faults: Vec<Fault>,
}

impl Collection {
    /// Reads every plugin below `root`. Nothing here is fatal: what is wrong is in `faults`.
    pub fn load(root: &Path) -> Self {
        let mut found = Self::default();
        let pipeline_file = ["pipeline.json", "roc_pip_descriptor.json"].map(|n| root.join(n));
        if let Some(file) = pipeline_file.iter().find(|f| f.is_file()) {
            let (value, faults) = read_file(Kind::Pipeline, file);
            if !any_error(&faults) {
                found.pipeline = value
                    .and_then(|v| serde_json::from_value(v["pipeline"].clone()).ok())
                    .map(|p| (file.display().to_string(), p));
            }
            found.faults.extend(faults);
        }
        let mut folders: Vec<PathBuf> = match fs::read_dir(root) {
            Ok(entries) => entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect(),
            Err(e) => {
                found
                    .faults
                    .push(Fault::error(&root.display().to_string(), "", e.to_string()));
                Vec::new()
            }
        };
        folders.sort();
        if let Some((_, pipeline)) = &found.pipeline {
            folders.extend(pipeline.calibration_softwares.iter().map(|path| root.join(path)));
        }
        for folder in folders {
            let (plugin, faults) = read_plugin(&folder);
            found.faults.extend(faults);
            found.plugins.extend(plugin);
        }
        found.keep_what_is_in_order();
        found
    }

    /// Cross-references between all, then the plugins with errors are left out.
    fn keep_what_is_in_order(&mut self) {
        let described: Vec<_> = self
            .plugins
            .iter()
            .map(|p| (p.file.clone(), p.descriptor.clone()))
            .collect();
        let pipeline = self.pipeline.as_ref().map(|(file, p)| (file.as_str(), p));
        let mut faults = check::cross(pipeline, &described);
        for plugin in &self.plugins {
            faults.extend(references(plugin, &self.plugins));
        }
        let broken: Vec<String> = faults
            .iter()
            .filter(|f| f.severity == super::Severity::Error)
            .map(|f| f.file.clone())
            .collect();
        self.plugins.retain(|p| {
            let enabled = self.pipeline.as_ref().is_none_or(|(_, pipeline)| {
                pipeline.modules.is_empty() || pipeline.modules.iter().any(|m| m == p.id())
            });
            enabled
                && !broken
                    .iter()
                    .any(|file| file == &p.file || Path::new(file).starts_with(&p.folder))
        });
        self.faults.extend(faults);
    }

    pub fn plugin(&self, id: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|p| p.id() == id)
    }

    /// A runnable pipeline by name, with its plugin. `PLUGIN.name` is exact.
    pub fn runnable(&self, name: &str) -> Option<(&Plugin, &PipelineText)> {
        self.plugins.iter().find_map(|plugin| {
            let text = plugin.extras.pipelines.iter().find(|p| {
                p.name == name || name.strip_prefix(plugin.id()).and_then(|n| n.strip_prefix('.')) == Some(&p.name)
            })?;
            Some((plugin, text))
        })
    }

    /// What [`crate::port::RunWrites::register`] takes: every release with the datasets that its tasks make.
    pub fn releases(&self, now: UtcTime) -> Vec<(ReleaseRow, Vec<DatasetRow>)> {
        let row = |kind: &str, id: &str, release: &super::Release, descriptor: serde_json::Value| ReleaseRow {
            identifier: id.into(),
            kind: kind.into(),
            version: release.version.clone(),
            date: release.date.clone(),
            author: release.author.clone(),
            digest: crate::commit::hex(&Sha256::digest(descriptor.to_string())),
            descriptor,
            registered: now,
        };
        let mut all = Vec::new();
        if let Some((_, pipeline)) = &self.pipeline {
            let text = serde_json::to_value(pipeline).unwrap_or_default();
            all.push((
                row("pipeline", &pipeline.identifier, &pipeline.release, text),
                Vec::new(),
            ));
            for database in &pipeline.databases {
                let text = serde_json::to_value(database).unwrap_or_default();
                all.push((
                    row("database", &database.identifier, &database.release, text),
                    Vec::new(),
                ));
            }
        }
        for plugin in &self.plugins {
            let text = serde_json::to_value(&plugin.descriptor).unwrap_or_default();
            let release = row("plugin", plugin.id(), &plugin.descriptor.release, text);
            let made = plugin.descriptor.tasks.iter().flat_map(|task| {
                task.outputs.values().map(|output| DatasetRow {
                    identifier: output.identifier.clone(),
                    version: output.release.version.clone(),
                    level: output.level.clone(),
                    name: output.name.clone(),
                    plugin: plugin.id().into(),
                    plugin_version: plugin.descriptor.release.version.clone(),
                    task: task.name.clone(),
                })
            });
            all.push((release, made.collect()));
        }
        all
    }

    /// Everything that can be run, for machines.
    pub fn summary(&self) -> Vec<serde_json::Value> {
        let of = |plugin: &Plugin| -> Vec<serde_json::Value> {
            let one = |p: &PipelineText| {
                serde_json::json!({
                    "name": p.name, "title": p.title, "description": p.description, "plugin": plugin.id(),
                    "version": plugin.descriptor.release.version, "short_name": p.short(), "flags": p.flags,
                    "needs_target": p.needs_target, "needs_inputs": p.needs_inputs,
                    "topology": p.topology(None, None).ok(),
                })
            };
            plugin.extras.pipelines.iter().map(one).collect()
        };
        self.plugins.iter().flat_map(of).collect()
    }

    /// `task` as a node of one of `home`'s topologies names it: `PLUGIN.task`, or a task of its own.
    pub fn find_task<'a>(&'a self, home: &'a Plugin, name: &str) -> Option<(&'a Plugin, &'a TaskDescriptor)> {
        if let Some(task) = home.task(name) {
            return Some((home, task));
        }
        let (plugin, task) = name.split_once('.')?;
        let plugin = self.plugin(plugin)?;
        Some((plugin, plugin.task(task)?))
    }
}

fn read_file(kind: Kind, file: &Path) -> (Option<serde_json::Value>, Vec<Fault>) {
    let name = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => check::read(kind, &name, &text),
        Err(e) => (None, vec![Fault::error(&name, "", e.to_string())]),
    }
}

/// A folder's plugin; none when the folder holds no descriptor, or one that cannot be used.
fn read_plugin(folder: &Path) -> (Option<Plugin>, Vec<Fault>) {
    let names = [
        "descriptor.json",
        "config/roc_sw_descriptor.json",
        "roc_sw_descriptor.json",
    ];
    let Some(file) = names.iter().map(|n| folder.join(n)).find(|f| f.is_file()) else {
        return (None, Vec::new());
    };
    let name = file.display().to_string();
    let (value, mut faults) = read_file(Kind::Plugin, &file);
    let mut digest = Sha256::new();
    digest.update(fs::read(&file).unwrap_or_default());
    let extras_file = folder.join("plugin.json");
    let mut extras = None;
    if extras_file.is_file() {
        let (value, wrong) = read_file(Kind::Extras, &extras_file);
        digest.update(fs::read(&extras_file).unwrap_or_default());
        faults.extend(wrong);
        extras = value;
    }
    let (revisions, wrong) = read_revisions(&folder.join("migrations"));
    faults.extend(wrong);
    if any_error(&faults) {
        return (None, faults);
    }
    let read = value
        .ok_or_else(|| "empty".to_owned())
        .and_then(|v| serde_json::from_value(v).map_err(|e| e.to_string()));
    let extras = extras.map_or(Ok(Extras::default()), |v| {
        serde_json::from_value(v).map_err(|e| e.to_string())
    });
    match (read, extras) {
        (Ok(descriptor), Ok(extras)) => {
            let plugin = Plugin {
                folder: folder.to_owned(),
                file: name,
                descriptor,
                extras,
                revisions,
                digest: crate::commit::hex(&digest.finalize()),
            };
            (Some(plugin), faults)
        }
        (Err(e), _) => (None, with(faults, Fault::error(&name, "", e))),
        (_, Err(e)) => (
            None,
            with(faults, Fault::error(&extras_file.display().to_string(), "", e)),
        ),
    }
}

fn with(mut faults: Vec<Fault>, fault: Fault) -> Vec<Fault> {
    faults.push(fault);
    faults
}

fn read_revisions(folder: &Path) -> (Vec<Revision>, Vec<Fault>) {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    files.retain(|f| f.extension().is_some_and(|x| x == "json"));
    files.sort();
    let (mut revisions, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        let (value, wrong) = read_file(Kind::Migration, &file);
        let usable = !any_error(&wrong);
        faults.extend(wrong);
        match value.filter(|_| usable).map(serde_json::from_value::<Revision>) {
            Some(Ok(revision)) => revisions.push(revision),
            Some(Err(e)) => faults.push(Fault::error(&file.display().to_string(), "", e.to_string())),
            None => {}
        }
    }
    if faults.is_empty() {
        let name = folder.display().to_string();
        faults.extend(
            crate::migrate::faults(&revisions)
                .into_iter()
                .map(|f| Fault::error(&name, "", f.to_string())),
        );
    }
    (revisions, faults)
}

/// What `plugin.json` refers to: its own tasks, nodes of topologies, commands.
fn references(plugin: &Plugin, all: &[Plugin]) -> Vec<Fault> {
    let file = plugin.folder.join("plugin.json").display().to_string();
    let mut faults = Vec::new();
    for name in plugin.extras.tasks.keys().filter(|name| plugin.task(name).is_none()) {
        faults.push(Fault::error(
            &file,
            format!("/tasks/{name}"),
            format!("the descriptor has no task {name}"),
        ));
    }
    for (i, pipeline) in plugin.extras.pipelines.iter().enumerate() {
        let at = format!("/pipelines/{i}");
        match pipeline.topology(None, None) {
            Ok(topology) => {
                for node in &topology.names {
                    let task = pipeline.nodes.get(node).and_then(|n| n.task.as_deref()).unwrap_or(node);
                    let known = plugin.task(task).is_some()
                        || task
                            .split_once('.')
                            .is_some_and(|(other, task)| all.iter().any(|p| p.id() == other && p.task(task).is_some()));
                    if !known {
                        faults.push(Fault::error(
                            &file,
                            format!("{at}/chains"),
                            format!("no plugin has a task {task}"),
                        ));
                    }
                }
            }
            Err(wrong) => faults.extend(wrong.iter().map(|f| Fault::error(&file, at.clone(), f.to_string()))),
        }
    }
    let wrong = crate::commands::faults(&plugin.extras);
    faults.extend(
        wrong
            .into_iter()
            .map(|(pointer, said)| Fault::error(&file, pointer, said)),
    );
    faults
}
