//! The rows and orders of one attempt.

use super::{Open, Runner, pool::Event};
use crate::{
    commit,
    descriptor::extras::OnInterrupt,
    executors::Ticket,
    plan::Body,
    port::*,
    target::Target,
    task::{Properties, TaskContext},
    worker::{Order, Work},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What a task reads, found; or what is missing.
type Found = Result<BTreeMap<String, (Target, String)>, String>;

impl Runner<'_> {
    /// A row of a node that has no attempt.
    pub(super) fn blank(&self, node: usize) -> AttemptRow {
        let plan = &self.plan.nodes[node];
        AttemptRow {
            uuid: String::new(),
            run: self.record.id.clone(),
            plugin: plan.plugin.clone(),
            task: plan.task.name.clone(),
            node: self.plan.topology.names[node].clone(),
            iteration: None,
            item: None,
            tried: 1,
            parent: self.plan.topology.parents[node]
                .first()
                .and_then(|&p| self.latest[p].clone()),
            category: plan.task.category.clone(),
            description: plan.task.description.clone(),
            state: JobState::Pending,
            status: JobStatus::Ok,
            reason: String::new(),
            started: None,
            ended: None,
            seq: None,
            key: String::new(),
            key_parts: Value::Null,
            ticket: None,
            properties: serde_json::Map::new(),
        }
    }

    /// An identifier that was never used: the place, the try, the instant and the process.
    fn identifier(&self, node: usize, iteration: Option<u64>, tried: u32) -> String {
        let now = (self.around.clock)().unix_micros();
        let text = format!(
            "{}/{node}/{iteration:?}/{tried}/{now}/{}",
            self.record.id,
            std::process::id()
        );
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&Sha256::digest(text)[..16]);
        // RFC 9562: version 8, variant 10.
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = commit::hex(&bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// What the task reads, by name, with checksums.
    fn find_inputs(&self, node: usize) -> Found {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, wanted) in &self.plan.nodes[node].task.inputs {
            let key = (wanted.identifier.clone(), wanted.version.clone());
            if let Some(row) = self.made.get(&key) {
                let path = self.around.products().join(&row.path);
                let mut target = Target::new(path, &key.0, &key.1);
                if row.state == TargetState::Empty {
                    target.empty();
                } else if !target.exists() {
                    missing.push(format!("input {name}: {} is gone", target.path.display()));
                    continue;
                }
                found.insert(name.clone(), (target, row.sha256.clone()));
                continue;
            }
            let fits = |i: &&crate::plan::RunInput| {
                (i.dataset == key.0 && i.version == key.1) || (i.dataset.is_empty() && i.name == *name)
            };
            match self.plan.inputs.iter().find(fits) {
                Some(input) => match commit::sum(&input.path) {
                    Ok(sum) => {
                        let target = Target::new(&input.path, &key.0, &key.1);
                        found.insert(name.clone(), (target, sum.sha256));
                    }
                    Err(e) => missing.push(format!("input {name}: {}: {e}", input.path.display())),
                },
                None if wanted.optional => {}
                None => missing.push(format!("input {name} (dataset {} version {}) is missing", key.0, key.1)),
            }
        }
        if missing.is_empty() {
            Ok(found)
        } else {
            Err(missing.join("; "))
        }
    }

    /// Rows of what an attempt has read.
    pub(super) fn inputs_read(&self, node: usize, uuid: &str) -> Vec<TargetRow> {
        let plan = &self.plan.nodes[node];
        if plan.task.inputs.is_empty() && self.plan.inputs.is_empty() {
            return Vec::new();
        }
        let row = |name: &str, target: &Target, sha256: &str| TargetRow {
            attempt: uuid.into(),
            run: self.record.id.clone(),
            role: Role::In,
            name: name.into(),
            label: String::new(),
            dataset: target.dataset.clone(),
            version: target.version.clone(),
            level: String::new(),
            path: target
                .path
                .strip_prefix(self.around.products())
                .unwrap_or(&target.path)
                .display()
                .to_string(),
            size: target.size(),
            sha256: sha256.into(),
            state: if target.is_empty() {
                TargetState::Empty
            } else {
                TargetState::Terminated
            },
            status: JobStatus::Ok,
            message: String::new(),
        };
        let found = self.find_inputs(node).unwrap_or_default();
        let mut rows: Vec<TargetRow> = found
            .iter()
            .map(|(name, (target, sha))| row(name, target, sha))
            .collect();
        if plan.task.inputs.is_empty() {
            for input in &self.plan.inputs {
                let sum = commit::sum(&input.path).map(|s| s.sha256).unwrap_or_default();
                rows.push(row(
                    &input.name,
                    &Target::new(&input.path, &input.dataset, &input.version),
                    &sum,
                ));
            }
        }
        rows
    }

    /// What decides an attempt's outcome, and its digest.
    fn key(&self, node: usize, inputs: &BTreeMap<String, (Target, String)>) -> (String, Value) {
        let plan = &self.plan.nodes[node];
        let item = self.machine.loop_of(node).and_then(|of| self.items[of].clone());
        let read: BTreeMap<&String, &String> = inputs.iter().map(|(name, (_, sha))| (name, sha)).collect();
        let mut parts = json!({
            "plugin": plan.plugin, "task": plan.task.name, "software": plan.digest,
            "arguments": plan.arguments, "item": item, "inputs": read, "target": self.record.subject,
        });
        if plan.task.inputs.is_empty() && !self.plan.inputs.is_empty() {
            let files: BTreeMap<&String, String> = self
                .plan
                .inputs
                .iter()
                .map(|i| (&i.name, commit::sum(&i.path).map(|s| s.sha256).unwrap_or_default()))
                .collect();
            parts["files"] = json!(files);
        }
        let digest = Sha256::digest(parts.to_string());
        (commit::hex(&digest), parts)
    }

    /// Begins an attempt: its row goes into the wave, its order out after the commit.
    pub(super) fn start(&mut self, node: usize, iteration: Option<u64>, tried: u32) {
        let inputs = self.find_inputs(node);
        let (key, key_parts) = self.key(node, inputs.as_ref().unwrap_or(&BTreeMap::new()));
        let row = AttemptRow {
            uuid: self.identifier(node, iteration, tried),
            iteration,
            item: self.machine.loop_of(node).and_then(|of| self.items[of].clone()),
            tried,
            state: JobState::Running,
            started: Some((self.around.clock)()),
            key,
            key_parts,
            ..self.blank(node)
        };
        self.latest[node] = Some(row.uuid.clone());
        if self.plan.reuse && inputs.is_ok() && self.reuse(node, &row) {
            return;
        }
        self.wave.starts.push(row.clone());
        self.launch(node, row, inputs, None);
    }

    /// Takes the products of an attempt with the same key, if they are still what they were.
    fn reuse(&mut self, node: usize, row: &AttemptRow) -> bool {
        let Ok(Some(before)) = self.store.last_good(&row.plugin, &row.task, Some(&row.key)) else {
            return false;
        };
        let Ok(targets) = self.store.targets(&before.run) else {
            return false;
        };
        let mut mine: Vec<TargetRow> = targets
            .into_iter()
            .filter(|t| t.attempt == before.uuid && t.role == Role::Out)
            .collect();
        let whole = |t: &TargetRow| {
            t.sha256.is_empty()
                || commit::sum(&self.around.products().join(&t.path)).is_ok_and(|s| s.sha256 == t.sha256)
        };
        if !mine.iter().all(whole) {
            return false;
        }
        for target in &mut mine {
            target.attempt.clone_from(&row.uuid);
            target.run.clone_from(&row.run);
        }
        self.remember(&mine);
        if !before.properties.is_empty() {
            std::sync::Arc::make_mut(&mut self.shared).extend(before.properties.clone());
            self.wave.change.properties = Some((*self.shared).clone());
        }
        self.seq += 1;
        let reason = format!("the same as {} of run {}", before.uuid, before.run);
        self.say(&row.node, "info", format!("skipped: {reason}"));
        self.wave.starts.push(row.clone());
        self.wave.ends.push(End {
            uuid: row.uuid.clone(),
            status: JobStatus::Ok,
            reason,
            at: row.started.unwrap_or_else(|| (self.around.clock)()),
            seq: Some(self.seq),
            exceptions: Vec::new(),
            targets: mine,
            properties: before.properties,
        });
        self.told(node, false);
        true
    }

    /// Makes the order of an attempt of which the row is known.
    pub(super) fn launch(&mut self, node: usize, row: AttemptRow, inputs: Found, ticket: Option<Ticket>) {
        let plan = &self.plan.nodes[node];
        let uuid = row.uuid.clone();
        let place = match row.iteration {
            Some(i) => format!("{}/{}.{i}", self.record.id, row.node),
            None => format!("{}/{}", self.record.id, row.node),
        };
        let (teller, name) = (self.pool.teller(), row.node.clone());
        let (ticket_teller, ticket_uuid) = (self.pool.teller(), uuid.clone());
        let (inputs, missing) = match inputs {
            Ok(inputs) => (inputs, None),
            Err(missing) => (BTreeMap::new(), Some(missing)),
        };
        let work = match (missing, &plan.body) {
            (Some(missing), _) => refused(missing),
            (None, Body::Command { command, folder }) => match self.around.executors.get(&command.executor) {
                Some(executor) => Work::Command {
                    command: Box::new(command.clone()),
                    folder: folder.clone(),
                    executor: executor.clone(),
                    ticket,
                },
                None => refused(format!("there is no executor {}", command.executor)),
            },
            (None, Body::Native { .. }) => match self.around.natives.get(&plan.plugin, &plan.task.name) {
                Some(native) => Work::Native(native.work.clone()),
                None => refused(format!("this program has no task {}.{}", plan.plugin, plan.task.name)),
            },
        };
        let context = TaskContext {
            run: self.record.id.clone(),
            node: row.node.clone(),
            subject: self.record.subject.clone(),
            item: row.item.clone(),
            arguments: plan.arguments.clone(),
            properties: Properties::over(self.shared.clone()),
            inputs: inputs.into_iter().map(|(name, (target, _))| (name, target)).collect(),
            outputs: BTreeMap::new(),
            files: if plan.task.inputs.is_empty() {
                self.plan.inputs.iter().map(|i| i.path.clone()).collect()
            } else {
                Vec::new()
            },
            folder: self.folder.join("attempts").join(&uuid),
            dry_run: self.around.dry_run,
            exceptions: Vec::new(),
            worst: JobStatus::Ok,
            // A run that has gone has nobody to be told.
            say: Box::new(move |said| drop(teller.send(Event::Said(name.clone(), said)))),
            cancelled: self.cancel.clone(),
        };
        self.orders.push(Order {
            uuid: uuid.clone(),
            context,
            work,
            outputs: plan.task.outputs.clone(),
            store: self.around.products(),
            place: place.into(),
            clock: self.around.clock.clone(),
            started: Box::new(move |ticket| {
                drop(ticket_teller.send(Event::Started(ticket_uuid.clone(), ticket.clone())))
            }),
        });
        self.open.insert(uuid, Open { row, node });
    }

    /// A node that will never run has a row too.
    pub(super) fn blocked(&mut self, node: usize, by: Option<usize>) {
        let reason = match (self.told_cancel, by) {
            (true, _) => "cancelled before it began".to_owned(),
            (false, Some(by)) => format!("blocked by {}", self.plan.topology.names[by]),
            (false, None) => "not reached".to_owned(),
        };
        let row = AttemptRow {
            uuid: self.identifier(node, None, 0),
            tried: 0,
            status: JobStatus::Warning,
            reason: reason.clone(),
            ..self.blank(node)
        };
        self.say(&row.node, "warning", reason);
        self.wave.starts.push(row);
    }

    /// Whether an interrupted attempt of this node is to be waited for.
    pub(super) fn reattaches(&self, node: usize) -> bool {
        matches!(&self.plan.nodes[node].body, Body::Command { command, .. } if command.on_interrupt == OnInterrupt::Reattach)
    }

    /// What a node reads now, for an attempt that goes on.
    pub(super) fn inputs_of(&self, node: usize) -> Found {
        self.find_inputs(node)
    }
}

/// Work that fails at once, so that its row says why.
fn refused(why: String) -> Work {
    Work::Native(std::sync::Arc::new(move |_: &mut TaskContext| {
        Err(crate::task::TaskFailure(why.clone()))
    }))
}
