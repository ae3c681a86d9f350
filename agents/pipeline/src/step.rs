//! The planner: what runs next, as a step machine over plain data.
//!
//! It walks the topology with a stack, as the seed's manual says (section 4.4.3): a node whose dependencies are not
//! complete puts them on the stack; a node that is complete puts its dependants there. A failed node stops what
//! depends on it and nothing else. In a loop the first item is drawn when its first node is about to start; at the
//! end of the body, or when any node of the body fails, the next item is drawn: if there is one, the body is reset
//! and begins again; if there is none, what follows the loop runs.
//!
//! With one slot the order is exactly the seed's; with more, whatever is ready runs beside it, and a loop whose
//! iteration failed waits for those of its nodes that still run before it goes on.
//!
//! The machine is deterministic: the same inputs in the same order give the same effects, which is how a run is
//! brought back after the death of the process.

use crate::graph::{Loop, NodeId, OnFailure, Topology};

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Failed,
}

/// What happened outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The run begins.
    Begin,
    /// The iterator of a loop was asked: there is an item, or there is none any more.
    Drawn {
        of: usize,
        more: bool,
    },
    Finished {
        node: NodeId,
        outcome: Outcome,
    },
    /// Nothing new is started.
    Cancel,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the iterator of a loop for item `index` (from zero) and answer with [`Input::Drawn`].
    Draw { of: usize, index: u64 },
    /// The nodes of a loop's body are as if they had never run.
    Reset { nodes: Vec<NodeId> },
    /// Run a node; the iteration is that of the innermost loop around it.
    Start { node: NodeId, iteration: Option<u64> },
    /// A node will not run because of another one.
    Blocked { node: NodeId, by: Option<NodeId> },
    /// Nothing runs any more and nothing is left to do.
    Done(Verdict),
}

/// How the whole run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Only iterations of loops failed.
    Partial,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Pending,
    Running,
    Completed,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Turn {
    #[default]
    NotBegun,
    /// Waits for the iterator's answer.
    Asked,
    Going,
    /// An iteration failed while other nodes of the body run: the next item is drawn when they have ended.
    Draining,
    Over,
}

#[derive(Debug, Clone)]
struct Round {
    spec: Loop,
    body: Vec<NodeId>,
    turn: Turn,
    index: u64,
    failures: u64,
    running: usize,
}

/// The state of a run's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    topology: Topology,
    /// The innermost loop of each node.
    inside: Vec<Option<usize>>,
    phase: Vec<Phase>,
    /// Where the last unmet dependency was found, so that a node with many is not searched from its beginning.
    hint: Vec<usize>,
    expanded: Vec<bool>,
    rounds: Vec<Round>,
    stack: Vec<NodeId>,
    slots: usize,
    running: usize,
    failed: bool,
    partial: bool,
    cancelled: bool,
    done: bool,
}

/// With more dependencies than this a node outside every loop puts them on the stack only once.
const FEW: usize = 32;

impl Plan {
    /// A plan for a topology without faults, at most `slots` nodes at a time.
    pub fn new(topology: Topology, slots: usize) -> Self {
        let count = topology.names.len();
        let rounds: Vec<Round> = topology
            .loops
            .iter()
            .map(|spec| Round {
                spec: spec.clone(),
                body: topology.body(spec),
                turn: Turn::NotBegun,
                index: 0,
                failures: 0,
                running: 0,
            })
            .collect();
        let mut inside: Vec<Option<usize>> = vec![None; count];
        for (of, round) in rounds.iter().enumerate() {
            for &node in &round.body {
                let outer = inside[node].is_some_and(|o: usize| rounds[o].body.len() <= round.body.len());
                if !outer {
                    inside[node] = Some(of);
                }
            }
        }
        Self {
            inside,
            phase: vec![Phase::Pending; count],
            hint: vec![0; count],
            expanded: vec![false; count],
            rounds,
            stack: Vec::new(),
            slots: slots.max(1),
            running: 0,
            failed: false,
            partial: false,
            cancelled: false,
            done: false,
            topology,
        }
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How many nodes run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// The innermost loop around a node.
    pub fn loop_of(&self, node: NodeId) -> Option<usize> {
        self.inside[node]
    }

    /// One step. Inputs that cannot be (a node that does not run has finished) change nothing.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.done {
            return effects;
        }
        match input {
            Input::Begin => self.stack.extend(self.topology.start.iter().rev()),
            Input::Cancel => self.cancelled = true,
            Input::Drawn { of, more } => self.drawn(of, more, &mut effects),
            Input::Finished { node, outcome } => self.finished(node, outcome, &mut effects),
        }
        self.fill(&mut effects);
        let asked = self.rounds.iter().any(|r| r.turn == Turn::Asked);
        if self.running == 0 && (self.cancelled || (self.stack.is_empty() && !asked)) {
            self.close(&mut effects);
        }
        effects
    }

    fn finished(&mut self, node: NodeId, outcome: Outcome, effects: &mut Vec<Effect>) {
        if self.phase[node] != Phase::Running {
            return;
        }
        self.running -= 1;
        for of in self.loops_around(node) {
            self.rounds[of].running -= 1;
        }
        let round = self.inside[node].filter(|&of| self.rounds[of].turn != Turn::Over);
        match (outcome, round) {
            (Outcome::Ok, round) => {
                self.phase[node] = Phase::Completed;
                match round {
                    Some(of) if self.rounds[of].turn == Turn::Draining => self.drain(of, effects),
                    Some(of) if self.rounds[of].spec.end == node => self.ask(of, effects),
                    _ => self.push_children(node),
                }
            }
            (Outcome::Failed, Some(of)) => {
                self.phase[node] = Phase::Failed;
                if self.rounds[of].turn != Turn::Draining {
                    self.rounds[of].failures += 1;
                    self.rounds[of].turn = Turn::Draining;
                }
                self.drain(of, effects);
            }
            (Outcome::Failed, None) => {
                self.phase[node] = Phase::Failed;
                self.failed = true;
            }
        }
    }

    fn loops_around(&self, node: NodeId) -> Vec<usize> {
        if self.inside[node].is_none() {
            return Vec::new();
        }
        (0..self.rounds.len())
            .filter(|&of| self.rounds[of].body.contains(&node))
            .collect()
    }

    /// Asks for the next item once nothing of the body runs.
    fn drain(&mut self, of: usize, effects: &mut Vec<Effect>) {
        if self.rounds[of].running == 0 {
            self.ask(of, effects);
        }
    }

    fn ask(&mut self, of: usize, effects: &mut Vec<Effect>) {
        if self.cancelled {
            return;
        }
        let round = &mut self.rounds[of];
        let index = if round.turn == Turn::NotBegun {
            0
        } else {
            round.index + 1
        };
        round.turn = Turn::Asked;
        effects.push(Effect::Draw { of, index });
    }

    fn drawn(&mut self, of: usize, more: bool, effects: &mut Vec<Effect>) {
        if self.rounds[of].turn != Turn::Asked {
            return;
        }
        let begun = self.rounds[of].body.iter().any(|&n| self.phase[n] != Phase::Pending);
        if more {
            if begun {
                self.rounds[of].index += 1;
                self.reset(of, effects);
            }
            self.rounds[of].turn = Turn::Going;
            self.stack.push(self.rounds[of].spec.start);
        } else {
            self.rounds[of].turn = Turn::Over;
            self.over(of, effects);
        }
    }

    fn reset(&mut self, of: usize, effects: &mut Vec<Effect>) {
        let nodes = self.rounds[of].body.clone();
        for &node in &nodes {
            self.phase[node] = Phase::Pending;
        }
        // Loops within begin anew.
        for inner in 0..self.rounds.len() {
            if inner != of
                && nodes.contains(&self.rounds[inner].spec.start)
                && self.rounds[inner].body.len() < nodes.len()
            {
                self.rounds[inner].turn = Turn::NotBegun;
                self.rounds[inner].index = 0;
            }
        }
        effects.push(Effect::Reset { nodes });
    }

    /// A loop has no item any more.
    fn over(&mut self, of: usize, effects: &mut Vec<Effect>) {
        let (end, fails) = {
            let round = &self.rounds[of];
            (
                round.spec.end,
                round.failures > 0 && round.spec.on_failure == OnFailure::Fail,
            )
        };
        self.partial |= self.rounds[of].failures > 0;
        if fails {
            self.failed = true;
            self.phase[end] = Phase::Failed;
            return;
        }
        // The end of an inner loop may be the end of the outer one's body.
        let outer = self.loops_around(end).into_iter().find(|&o| {
            o != of
                && self.rounds[o].spec.end == end
                && self.rounds[o].turn == Turn::Going
                && self.inside[end] == Some(of)
        });
        match outer {
            Some(outer) => self.ask(outer, effects),
            None => self.push_children(end),
        }
    }

    fn push_children(&mut self, node: NodeId) {
        for i in 0..self.topology.descendants(node).len() {
            self.stack.push(self.topology.descendants(node)[i]);
        }
    }

    /// Whether `node` need not wait for `parent` any more.
    fn met(&self, node: NodeId, parent: NodeId) -> bool {
        match self.inside[parent] {
            Some(of) if self.rounds[of].spec.end == parent && !self.rounds[of].body.contains(&node) => {
                self.rounds[of].turn == Turn::Over
                    && (self.rounds[of].spec.on_failure == OnFailure::Continue || self.rounds[of].failures == 0)
            }
            _ => self.phase[parent] == Phase::Completed,
        }
    }

    /// Starts what can be started.
    fn fill(&mut self, effects: &mut Vec<Effect>) {
        while self.running < self.slots && !self.cancelled {
            // An iterator's answer comes before anything else: it may take back what the next node waits for.
            if self.rounds.iter().any(|round| round.turn == Turn::Asked) {
                return;
            }
            let Some(node) = self.stack.pop() else { return };
            if self.phase[node] != Phase::Pending || !self.ready(node) {
                continue;
            }
            if let Some(of) = self.inside[node] {
                match self.rounds[of].turn {
                    Turn::NotBegun if self.rounds[of].spec.start == node => {
                        self.ask(of, effects);
                        continue;
                    }
                    // Between two iterations, or before the first: the body's start brings its nodes back.
                    Turn::NotBegun | Turn::Asked | Turn::Draining => continue,
                    Turn::Going | Turn::Over => {}
                }
            }
            self.phase[node] = Phase::Running;
            self.running += 1;
            for of in self.loops_around(node) {
                self.rounds[of].running += 1;
            }
            let iteration = self.inside[node].map(|of| self.rounds[of].index);
            effects.push(Effect::Start { node, iteration });
        }
    }

    /// Whether nothing holds a node back; what does is put on the stack.
    fn ready(&mut self, node: NodeId) -> bool {
        let parents = self.topology.ancestors(node);
        let hint = self.hint[node];
        if hint < parents.len() && self.expanded[node] && !self.met(node, parents[hint]) && parents.len() > FEW {
            return false;
        }
        let unmet: Vec<NodeId> = parents.iter().copied().filter(|&p| !self.met(node, p)).collect();
        let Some(&first) = unmet.first() else { return true };
        self.hint[node] = parents.iter().position(|&p| p == first).unwrap_or(0);
        if parents.len() <= FEW || !self.expanded[node] {
            self.expanded[node] = true;
            // One that has failed stays failed: putting it there again would only be skipped.
            self.stack
                .extend(unmet.iter().filter(|&&p| self.phase[p] == Phase::Pending));
        }
        false
    }

    /// The end: what never ran is blocked, by the first thing it waited for.
    fn close(&mut self, effects: &mut Vec<Effect>) {
        self.done = true;
        let reach = self.topology.reach();
        let mut any_blocked = false;
        for node in (0..self.phase.len()).filter(|&n| reach[n] && self.phase[n] == Phase::Pending) {
            // A loop that had its turn has rows of its own for what failed in it.
            if self.inside[node].is_some_and(|of| self.rounds[of].turn == Turn::Over) {
                continue;
            }
            any_blocked = true;
            let by = self
                .topology
                .ancestors(node)
                .iter()
                .copied()
                .find(|&p| !self.met(node, p));
            effects.push(Effect::Blocked { node, by });
        }
        effects.push(Effect::Done(if self.cancelled {
            Verdict::Cancelled
        } else if self.failed || any_blocked {
            Verdict::Failed
        } else if self.partial {
            Verdict::Partial
        } else {
            Verdict::Ok
        }));
    }
}
