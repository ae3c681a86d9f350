//! The topology: tasks as nodes, dependencies as edges, cut by a start and an end, with loops between two nodes.
//!
//! Terms: a *node* is one place of a task in a topology (the same task may stand at two places). The *cut* takes away
//! the dependencies of the start and the dependants of the end. The *body* of a loop is every node on a path from the
//! loop's start to its end.

use serde::{Deserialize, Serialize};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    ops::BitOr,
    rc::Rc,
};

/// A place in the topology.
pub type NodeId = usize;

/// Why a topology cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyFault {
    #[error("the dependencies go round in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    #[error("there is no task {0:?} in the topology")]
    UnknownNode(String),
    #[error("no start is set: nothing says where the topology begins")]
    NoStart,
    #[error("loop {name:?}: no path leads from {start:?} to {end:?}")]
    NoPath { name: String, start: String, end: String },
    #[error("loops {0:?} and {1:?} overlap without one lying within the other")]
    LoopsCross(String, String),
    #[error("chain {chain:?}: {cause}")]
    Chain { chain: String, cause: String },
    #[error("the topology has no task")]
    Empty,
}

/// What becomes of a loop of which iterations failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// What follows the loop runs; the run's verdict is partial.
    #[default]
    Continue,
    /// What follows the loop is blocked.
    Fail,
}

/// A part of the topology that is repeated for every item of an iterator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    pub name: String,
    pub start: NodeId,
    pub end: NodeId,
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// Nodes and their dependencies. Indices are stable: a node is never taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Topology {
    pub names: Vec<String>,
    pub children: Vec<Vec<NodeId>>,
    pub parents: Vec<Vec<NodeId>>,
    pub loops: Vec<Loop>,
    pub start: Vec<NodeId>,
    pub end: Option<NodeId>,
}

impl Topology {
    /// The node of this name, made when there is none.
    pub fn node(&mut self, name: &str) -> NodeId {
        match self.find(name) {
            Some(node) => node,
            None => self.add(name),
        }
    }

    /// A new node. Names should be unique; [`Topology::find`] gives the first.
    pub fn add(&mut self, name: &str) -> NodeId {
        self.names.push(name.into());
        self.children.push(Vec::new());
        self.parents.push(Vec::new());
        self.names.len() - 1
    }

    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.names.iter().position(|known| known == name)
    }

    fn known(&self, name: &str) -> Result<NodeId, TopologyFault> {
        self.find(name).ok_or_else(|| TopologyFault::UnknownNode(name.into()))
    }

    /// `child` runs after `parent`. The same link twice is one link.
    pub fn link(&mut self, parent: NodeId, child: NodeId) {
        // Either list tells; of many thousand children the child's own is the short one.
        let (down, up) = (&self.children[parent], &self.parents[child]);
        let known = if down.len() < up.len() {
            down.contains(&child)
        } else {
            up.contains(&parent)
        };
        if !known {
            self.children[parent].push(child);
            self.parents[child].push(parent);
        }
    }

    /// Where each name stands; of two with the same name the first.
    pub fn places(&self) -> HashMap<String, NodeId> {
        let mut places = HashMap::with_capacity(self.names.len());
        for (node, name) in self.names.iter().enumerate() {
            places.entry(name.clone()).or_insert(node);
        }
        places
    }

    /// Links `a | b | c`; names that are not there yet are added. `a, b | c` links both `a` and `b` to `c`.
    pub fn chain(&mut self, text: &str) -> Result<(), TopologyFault> {
        let mut places = self.places();
        self.weave(text, &mut places)
    }

    /// Many chains; every one that is wrong is told.
    pub fn chains(&mut self, texts: &[String]) -> Vec<TopologyFault> {
        let mut places = self.places();
        texts
            .iter()
            .filter_map(|text| self.weave(text, &mut places).err())
            .collect()
    }

    fn weave(&mut self, text: &str, places: &mut HashMap<String, NodeId>) -> Result<(), TopologyFault> {
        let fault = |cause: &str| TopologyFault::Chain {
            chain: text.into(),
            cause: cause.into(),
        };
        let mut before: Vec<NodeId> = Vec::new();
        for part in text.split('|') {
            let mut here = Vec::new();
            for name in part.split(',').map(str::trim) {
                if name.is_empty() {
                    return Err(fault("a name is missing beside | or ,"));
                }
                if name.contains(char::is_whitespace) {
                    return Err(fault("a name has white space in it"));
                }
                let known = places.get(name).copied();
                here.push(known.unwrap_or_else(|| {
                    let node = self.add(name);
                    places.insert(name.into(), node);
                    node
                }));
            }
            for &parent in &before {
                for &child in &here {
                    self.link(parent, child);
                }
            }
            before = here;
        }
        Ok(())
    }

    /// Where the run begins: the dependencies of this node are not looked at.
    pub fn set_start(&mut self, name: &str) -> Result<(), TopologyFault> {
        self.start = vec![self.known(name)?];
        Ok(())
    }

    /// Where the run ends: what depends on this node is not run.
    pub fn set_end(&mut self, name: &str) -> Result<(), TopologyFault> {
        self.end = Some(self.known(name)?);
        Ok(())
    }

    /// Every node without dependencies is a start.
    pub fn start_at_roots(&mut self) {
        self.start = (0..self.names.len()).filter(|&n| self.parents[n].is_empty()).collect();
    }

    pub fn add_loop(&mut self, name: &str, start: &str, end: &str, on_failure: OnFailure) -> Result<(), TopologyFault> {
        let (start, end) = (self.known(start)?, self.known(end)?);
        self.loops.push(Loop {
            name: name.into(),
            start,
            end,
            on_failure,
        });
        Ok(())
    }

    /// Nodes that `node` waits for, with the cut.
    pub fn ancestors(&self, node: NodeId) -> &[NodeId] {
        // A start that was chosen has none; a root has none anyway.
        if self.start.contains(&node) {
            &[]
        } else {
            &self.parents[node]
        }
    }

    /// Nodes that wait for `node`, with the cut.
    pub fn descendants(&self, node: NodeId) -> &[NodeId] {
        if self.end == Some(node) {
            &[]
        } else {
            &self.children[node]
        }
    }

    /// Every node on a path from the loop's start to its end, in order of the indices.
    pub fn body(&self, of: &Loop) -> Vec<NodeId> {
        let down = self.closure(of.start, &self.children);
        let up = self.closure(of.end, &self.parents);
        (0..self.names.len()).filter(|&n| down[n] && up[n]).collect()
    }

    fn closure(&self, from: NodeId, edges: &[Vec<NodeId>]) -> Vec<bool> {
        let mut seen = vec![false; self.names.len()];
        let mut stack = vec![from];
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                stack.extend(&edges[node]);
            }
        }
        seen
    }

    /// What the run may touch: everything connected with the start within the cut.
    pub fn reach(&self) -> Vec<bool> {
        let mut seen = vec![false; self.names.len()];
        let mut stack = self.start.clone();
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                stack.extend(self.descendants(node));
                stack.extend(self.ancestors(node));
            }
        }
        seen
    }

    /// Every fault of the topology, so that all can be mended at once.
    pub fn faults(&self) -> Vec<TopologyFault> {
        let mut faults = Vec::new();
        if self.names.is_empty() {
            return vec![TopologyFault::Empty];
        }
        if self.start.is_empty() {
            faults.push(TopologyFault::NoStart);
        }
        if let Some(cycle) = self.cycle() {
            faults.push(TopologyFault::Cycle(cycle));
            return faults;
        }
        let bodies: Vec<Vec<NodeId>> = self.loops.iter().map(|l| self.body(l)).collect();
        for (a, body) in bodies.iter().enumerate() {
            let of = &self.loops[a];
            if body.is_empty() {
                faults.push(TopologyFault::NoPath {
                    name: of.name.clone(),
                    start: self.names[of.start].clone(),
                    end: self.names[of.end].clone(),
                });
            }
            for (b, other) in bodies.iter().enumerate().skip(a + 1) {
                let shared = body.iter().filter(|n| other.contains(n)).count();
                if shared > 0 && (shared == body.len().max(other.len()) || shared < body.len().min(other.len())) {
                    faults.push(TopologyFault::LoopsCross(of.name.clone(), self.loops[b].name.clone()));
                }
            }
        }
        faults
    }

    /// One circle of dependencies, if there is any, by names; the first name stands again at the end.
    fn cycle(&self) -> Option<Vec<String>> {
        let mut waiting: Vec<usize> = self.parents.iter().map(Vec::len).collect();
        let mut ready: Vec<NodeId> = (0..waiting.len()).filter(|&n| waiting[n] == 0).collect();
        let mut done = vec![false; waiting.len()];
        while let Some(node) = ready.pop() {
            done[node] = true;
            for &child in &self.children[node] {
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child);
                }
            }
        }
        // Every node left waits for another one that is left: going up must come round.
        let mut node = done.iter().position(|d| !d)?;
        let mut path = Vec::new();
        while !path.contains(&node) {
            path.push(node);
            node = *self.parents[node].iter().find(|&&p| !done[p])?;
        }
        let mut circle: Vec<String> = path
            .iter()
            .skip_while(|&&n| n != node)
            .map(|&n| self.names[n].clone())
            .collect();
        circle.push(self.names[node].clone());
        circle.reverse();
        Some(circle)
    }

    /// A picture for Graphviz.
    pub fn dot(&self, title: &str) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = format!("digraph {} {{\n  rankdir=LR;\n", quoted(title));
        for name in &self.names {
            text.push_str(&format!("  {};\n", quoted(name)));
        }
        for (node, children) in self.children.iter().enumerate() {
            for &child in children {
                text.push_str(&format!(
                    "  {} -> {};\n",
                    quoted(&self.names[node]),
                    quoted(&self.names[child])
                ));
            }
        }
        for of in &self.loops {
            let (end, start) = (quoted(&self.names[of.end]), quoted(&self.names[of.start]));
            text.push_str(&format!(
                "  {end} -> {start} [style=dashed, label={}];\n",
                quoted(&of.name)
            ));
        }
        text.push_str("}\n");
        text
    }

    /// Depth of each node: the longest way from a root. For pictures.
    pub fn ranks(&self) -> BTreeMap<String, usize> {
        let mut rank = vec![0; self.names.len()];
        for _ in 0..self.names.len() {
            let before = rank.clone();
            for (node, parents) in self.parents.iter().enumerate() {
                rank[node] = parents
                    .iter()
                    .map(|&p| before[p] + 1)
                    .max()
                    .unwrap_or(0)
                    .min(self.names.len());
            }
            if before == rank {
                break;
            }
        }
        self.names.iter().cloned().zip(rank).collect()
    }
}

/// A topology that is put together with the pipe sign, as in a shell:
///
/// ```
/// use alidade_pipeline::graph::Flow;
/// let flow = Flow::default();
/// let (a, b, c) = (flow.task("a"), flow.task("b"), flow.task("c"));
/// let _ = &flow | &a;
/// let _ = &a | &b | &c;
/// let topology = flow.topology();
/// assert_eq!(topology.children, vec![vec![1], vec![2], vec![]]);
/// ```
#[derive(Clone, Default)]
pub struct Flow(Rc<RefCell<Topology>>);

/// A node of a [`Flow`].
#[derive(Clone)]
pub struct Step {
    flow: Flow,
    pub node: NodeId,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.flow.0.borrow().names[self.node])
    }
}

impl Flow {
    pub fn task(&self, name: &str) -> Step {
        let node = self.0.borrow_mut().add(name);
        Step {
            flow: self.clone(),
            node,
        }
    }

    pub fn topology(&self) -> Topology {
        self.0.borrow().clone()
    }

    /// Repeats what lies between two steps for every item.
    pub fn repeat(&self, name: &str, start: &Step, end: &Step, on_failure: OnFailure) {
        self.0.borrow_mut().loops.push(Loop {
            name: name.into(),
            start: start.node,
            end: end.node,
            on_failure,
        });
    }
}

impl BitOr<&Step> for &Flow {
    type Output = Step;
    /// The entry point: where the run starts.
    fn bitor(self, entry: &Step) -> Step {
        self.0.borrow_mut().start = vec![entry.node];
        entry.clone()
    }
}

impl BitOr<&Step> for &Step {
    type Output = Step;
    fn bitor(self, child: &Step) -> Step {
        self.flow.0.borrow_mut().link(self.node, child.node);
        child.clone()
    }
}

impl BitOr<&Step> for Step {
    type Output = Step;
    fn bitor(self, child: &Step) -> Step {
        &self | child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_branches_meet_as_in_the_manuals_example() {
        let flow = Flow::default();
        let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|n| flow.task(n));
        let _ = &flow | &a;
        let _ = &a | &c | &d | &e;
        let _ = &b | &c;
        let topology = flow.topology();
        assert_eq!(topology.parents[2], vec![0, 1]);
        assert!(topology.faults().is_empty());
        let mut text = Topology::default();
        text.chain("a | c | d | e").unwrap();
        text.chain("b | c").unwrap();
        text.set_start("a").unwrap();
        assert_eq!(text.parents[text.find("c").unwrap()].len(), 2);
        assert!(
            text.reach().iter().all(|r| *r),
            "the second root is reached through what needs it"
        );
    }

    #[test]
    fn a_circle_is_refused_with_its_names() {
        let mut topology = Topology::default();
        topology.chain("a | b | c | d").unwrap();
        topology.chain("d | b").unwrap();
        topology.start_at_roots();
        let faults = topology.faults();
        assert!(
            matches!(&faults[..], [TopologyFault::Cycle(names)] if names.len() == 4),
            "{faults:?}"
        );
    }

    #[test]
    fn the_start_and_the_end_cut_what_lies_beyond() {
        let mut topology = Topology::default();
        topology.chain("a | b | c | d").unwrap();
        topology.set_start("b").unwrap();
        topology.set_end("c").unwrap();
        assert_eq!(topology.reach(), vec![false, true, true, false]);
    }

    #[test]
    fn a_loop_holds_every_path_between_its_ends_and_nothing_else() {
        let mut topology = Topology::default();
        topology.chain("a | s | b | e | z").unwrap();
        topology.chain("s | c | e").unwrap();
        topology.chain("b | side").unwrap();
        topology.start_at_roots();
        topology.add_loop("l", "s", "e", OnFailure::Continue).unwrap();
        let body: Vec<_> = topology
            .body(&topology.loops[0])
            .iter()
            .map(|&n| topology.names[n].clone())
            .collect();
        assert_eq!(body, ["s", "b", "e", "c"]);
        topology.add_loop("nowhere", "e", "a", OnFailure::Continue).unwrap();
        assert!(matches!(topology.faults()[..], [TopologyFault::NoPath { .. }]));
    }

    #[test]
    fn a_chain_with_a_missing_name_is_a_fault() {
        for bad in ["a | | b", "", "a |", "a b | c"] {
            assert!(Topology::default().chain(bad).is_err(), "{bad}");
        }
    }
}
