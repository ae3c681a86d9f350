//! What a run was doing when its process died.
//!
//! The planner is deterministic, so it is told again, in order, what it had been told: items drawn and attempts ended.
//! What it then wants to be running and has no end is what was interrupted: an external command whose policy says so
//! and which still runs is waited for; everything else is closed as interrupted and tried again with a new identifier.
//! The old identifier can end nothing any more.

use super::{RunFault, Runner};
use crate::{
    executors::{AttemptState, Signal, Ticket},
    graph::NodeId,
    plan::Body,
    port::*,
    step::{Effect, Input},
};
use alidade_model::states::RunState;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};

/// A task that was interrupted so often takes the process with it: it has failed.
const MOST_INTERRUPTIONS: usize = 5;

/// Something the planner had been told.
enum Told {
    Drawn(DrawRow),
    Ended(Box<AttemptRow>),
}

impl Runner<'_> {
    /// The first effects: of a new run, or of one that goes on.
    pub(super) fn begin(&mut self) -> Result<(), RunFault> {
        let id = self.record.id.clone();
        let attempts = self.store.attempts(&id)?;
        let draws = self.store.draws(&id)?;
        self.line = self.last_line(&id)?;
        let effects = self.machine.step(Input::Begin);
        self.effects.extend(effects);
        if self.record.started.is_none() {
            let now = (self.around.clock)();
            self.record.started = Some(now);
            self.wave.change.started = Some(now);
        }
        self.go(RunState::Initializing);
        self.go(RunState::Running);
        if attempts.is_empty() && draws.is_empty() {
            self.say(
                "",
                "info",
                format!("run {id} of {} {} begins", self.record.plugin, self.record.version),
            );
            return Ok(());
        }
        self.say("", "warning", "the process before has died: the run goes on".into());
        self.replay(attempts, draws)
    }

    fn last_line(&mut self, id: &str) -> Result<u64, RunFault> {
        let mut last = 0;
        loop {
            let some = self.store.log(id, last, 10_000)?;
            match some.last() {
                Some(row) => last = row.line,
                None => return Ok(last),
            }
        }
    }

    fn replay(&mut self, attempts: Vec<AttemptRow>, draws: Vec<DrawRow>) -> Result<(), RunFault> {
        let mut told: Vec<(u64, Told)> = draws.into_iter().map(|d| (d.seq, Told::Drawn(d))).collect();
        told.extend(
            attempts
                .iter()
                .filter_map(|a| a.seq.map(|seq| (seq, Told::Ended(Box::new(a.clone()))))),
        );
        told.sort_by_key(|(seq, _)| *seq);
        let good: HashSet<&str> = attempts
            .iter()
            .filter(|a| a.status != JobStatus::Error && a.state == JobState::Terminated)
            .map(|a| a.uuid.as_str())
            .collect();
        for target in self.store.targets(&self.record.id.clone())? {
            if good.contains(target.attempt.as_str()) {
                self.remember(std::slice::from_ref(&target));
            }
        }
        let places = self.plan.topology.places();
        for attempt in &attempts {
            if let Some(&node) = places.get(&attempt.node) {
                self.latest[node] = Some(attempt.uuid.clone());
            }
        }
        for (seq, what) in told {
            self.seq = seq;
            self.retell(what, &places)?;
        }
        let mut open: Vec<AttemptRow> = attempts
            .iter()
            .filter(|a| a.state == JobState::Running)
            .cloned()
            .collect();
        let wanted: Vec<Effect> = std::mem::take(&mut self.effects).into();
        for effect in wanted {
            let Effect::Start { node, iteration } = effect else {
                self.effects.push_back(effect);
                continue;
            };
            let name = &self.plan.topology.names[node];
            let same = |a: &AttemptRow| a.node == *name && a.iteration == iteration;
            let before: Vec<&AttemptRow> = attempts.iter().filter(|a| same(a)).collect();
            let interruptions = before.iter().filter(|a| a.reason == INTERRUPTED).count();
            let tried = before.iter().map(|a| a.tried).max().unwrap_or(0);
            match open.iter().position(same).map(|at| open.remove(at)) {
                Some(row) => self.resume(node, row, interruptions, tried),
                None => self.start(node, iteration, tried.max(1)),
            }
        }
        // Rows that nothing waits for: a try whose repetition had not begun.
        for row in open {
            self.close(&row);
        }
        Ok(())
    }

    /// Takes the effects that led to what is told off the list, and puts on what follows from it.
    fn retell(&mut self, what: Told, places: &HashMap<String, NodeId>) -> Result<(), RunFault> {
        let lost = |cause: String| RunFault::Plan {
            run: self.record.id.clone(),
            cause,
        };
        match what {
            Told::Drawn(row) => {
                let of = self.plan.loops.iter().position(|l| l.name == row.loop_name);
                let of = of.ok_or_else(|| lost(format!("there is no loop {}", row.loop_name)))?;
                let at = self
                    .effects
                    .iter()
                    .position(|e| matches!(e, Effect::Draw { of: o, index } if *o == of && *index == row.index));
                let at =
                    at.ok_or_else(|| lost(format!("item {} of loop {} is out of place", row.index, row.loop_name)))?;
                self.effects.remove(at);
                self.drawn(of, row.item);
            }
            Told::Ended(row) => {
                let node = places.get(&row.node).copied();
                let at = self.effects.iter().position(|e| {
                    matches!(e, Effect::Start { node: n, iteration } if Some(*n) == node && *iteration == row.iteration)
                });
                let (Some(at), Some(node)) = (at, node) else {
                    return Err(lost(format!("the end of {} is out of place", row.node)));
                };
                self.effects.remove(at);
                let failed = row.status == JobStatus::Error;
                if failed {
                    self.failures += 1;
                    self.last_failure = format!("{}: {}", row.node, row.reason);
                }
                self.told(node, failed);
            }
        }
        Ok(())
    }

    /// An attempt that was running when the process died.
    fn resume(&mut self, node: usize, row: AttemptRow, interruptions: usize, tried: u32) {
        let folder = self.folder.join("attempts").join(&row.uuid);
        if let Some((executor, ticket)) = self.found(node, &row, folder) {
            let state = executor.poll(&ticket, (self.around.clock)());
            if self.reattaches(node)
                && !matches!(&state, Ok(AttemptState::Ended(e)) if matches!(e.outcome, crate::executors::Outcome::Lost { .. }))
                && state.is_ok()
            {
                self.say(&row.node, "info", "still there: it is waited for".into());
                let inputs = self.inputs_of(node);
                self.latest[node] = Some(row.uuid.clone());
                self.launch(node, row, inputs, Some(ticket));
                return;
            }
            self.stop(executor.as_ref(), &ticket);
        }
        self.close(&row);
        if interruptions + 1 >= MOST_INTERRUPTIONS {
            self.failures += 1;
            self.last_failure = format!("{}: interrupted {} times", row.node, interruptions + 1);
            self.say(&row.node, "error", self.last_failure.clone());
            if let Some(end) = self.wave.ends.last_mut() {
                self.seq += 1;
                end.seq = Some(self.seq);
            }
            self.told(node, true);
            return;
        }
        self.start(node, row.iteration, tried + 1);
    }

    fn found(
        &self,
        node: usize,
        row: &AttemptRow,
        folder: PathBuf,
    ) -> Option<(std::sync::Arc<dyn crate::executors::Executor>, Ticket)> {
        let Body::Command { command, .. } = &self.plan.nodes[node].body else {
            return None;
        };
        let executor = self.around.executors.get(&command.executor)?.clone();
        let stored = row.ticket.clone().and_then(|t| serde_json::from_value(t).ok());
        let ticket = stored.or_else(|| executor.find(&folder).ok().flatten())?;
        Some((executor, ticket))
    }

    /// Ends what may still run of an attempt that is given up.
    fn stop(&mut self, executor: &dyn crate::executors::Executor, ticket: &Ticket) {
        let now = (self.around.clock)();
        let ended = executor
            .signal(ticket, Signal::Stop, now)
            .and_then(|()| executor.wait(ticket, now, Duration::from_secs(10)))
            .and_then(|_| executor.cleanup(ticket));
        if let Err(cause) = ended {
            self.say(
                "",
                "warning",
                format!("an interrupted attempt cannot be ended: {cause}"),
            );
        }
    }

    /// The row of an interrupted attempt.
    fn close(&mut self, row: &AttemptRow) {
        self.wave.ends.push(End {
            uuid: row.uuid.clone(),
            status: JobStatus::Error,
            reason: INTERRUPTED.into(),
            at: (self.around.clock)(),
            seq: None,
            exceptions: vec![ExceptionRow {
                attempt: row.uuid.clone(),
                kind: JobStatus::Error,
                level: Level::High,
                message: INTERRUPTED.into(),
            }],
            targets: Vec::new(),
            properties: serde_json::Map::new(),
        });
        drop(std::fs::remove_dir_all(self.folder.join("attempts").join(&row.uuid)));
    }
}

/// The reason of an attempt whose process died.
pub const INTERRUPTED: &str = "interrupted: the process that ran it has died";
