//! The planner against the seed's own examples.

use super::{
    graph::{OnFailure, Topology},
    step::{Effect, Input, Outcome, Plan, Verdict},
};

/// Runs a topology serially; `fails` says whether a node fails in an iteration. Rows are `name` or `name.iteration`,
/// with `!` when they failed and `?` when blocked.
fn rows(topology: &Topology, items: u64, fails: impl Fn(&str, Option<u64>) -> bool) -> (Vec<String>, Verdict) {
    assert_eq!(topology.faults(), []);
    let mut plan = Plan::new(topology.clone(), 1);
    let mut queue = plan.step(Input::Begin);
    let mut rows = Vec::new();
    let mut verdict = None;
    while !queue.is_empty() {
        let effect = queue.remove(0);
        match effect {
            Effect::Draw { of, index } => queue.extend(plan.step(Input::Drawn {
                of,
                more: index < items,
            })),
            Effect::Reset { .. } => {}
            Effect::Start { node, iteration } => {
                let name = &topology.names[node];
                let failed = fails(name, iteration);
                let tail = iteration.map_or(String::new(), |i| format!(".{i}"));
                rows.push(format!("{name}{tail}{}", if failed { "!" } else { "" }));
                let outcome = if failed { Outcome::Failed } else { Outcome::Ok };
                queue.extend(plan.step(Input::Finished { node, outcome }));
            }
            Effect::Blocked { node, .. } => rows.push(format!("{}?", topology.names[node])),
            Effect::Done(end) => verdict = Some(end),
        }
    }
    (rows, verdict.expect("the plan comes to its end"))
}

fn topology(chains: &[&str]) -> Topology {
    let mut topology = Topology::default();
    for chain in chains {
        topology.chain(chain).unwrap();
    }
    topology.start_at_roots();
    topology
}

#[test]
fn a_failed_iteration_goes_to_the_next_and_what_follows_runs_once() {
    let mut t = topology(&["a | b | c | d"]);
    t.add_loop("l", "b", "c", OnFailure::Continue).unwrap();
    let (rows, verdict) = rows(&t, 3, |n, i| n == "b" && i == Some(1));
    assert_eq!(rows, ["a", "b.0", "c.0", "b.1!", "b.2", "c.2", "d"]);
    assert_eq!(verdict, Verdict::Partial);
}

#[test]
fn the_manuals_six_tasks_loop_over_four_of_them() {
    let mut t = topology(&["a | b | c | d | e | f"]);
    t.add_loop("l", "b", "e", OnFailure::Continue).unwrap();
    let (got, verdict) = rows(&t, 2, |n, i| n == "c" && i == Some(1));
    assert_eq!(got, ["a", "b.0", "c.0", "d.0", "e.0", "b.1", "c.1!", "f"]);
    assert_eq!(verdict, Verdict::Partial);
    let (all, verdict) = rows(&t, 2, |_, _| false);
    assert_eq!((all.len(), verdict), (10, Verdict::Ok));
}

#[test]
fn a_loop_over_nothing_runs_what_follows_it() {
    let mut t = topology(&["a | b | c | d"]);
    t.add_loop("l", "b", "c", OnFailure::Continue).unwrap();
    assert_eq!(rows(&t, 0, |_, _| false), (vec!["a".into(), "d".into()], Verdict::Ok));
}

#[test]
fn a_loop_may_be_told_to_fail_as_a_whole() {
    let mut t = topology(&["b | c | d"]);
    t.add_loop("l", "b", "c", OnFailure::Fail).unwrap();
    let (rows, verdict) = rows(&t, 2, |n, i| n == "b" && i == Some(0));
    assert_eq!(rows, ["b.0!", "b.1", "c.1", "d?"]);
    assert_eq!(verdict, Verdict::Failed);
}

#[test]
fn a_failed_task_blocks_what_depends_on_it_and_nothing_else() {
    let t = topology(&["a | b | c", "a | x | y", "y, c | z"]);
    let (mut got, verdict) = rows(&t, 0, |n, _| n == "b");
    got.sort();
    assert_eq!(got, ["a", "b!", "c?", "x", "y", "z?"]);
    assert_eq!(verdict, Verdict::Failed);
}

#[test]
fn a_loop_inside_a_loop_begins_anew_for_every_item_of_the_outer_one() {
    let mut t = topology(&["a | b | c | d | e"]);
    t.add_loop("outer", "a", "d", OnFailure::Continue).unwrap();
    t.add_loop("inner", "b", "c", OnFailure::Continue).unwrap();
    let (rows, verdict) = rows(&t, 2, |_, _| false);
    let count = |name: &str| rows.iter().filter(|r| r.starts_with(name)).count();
    assert_eq!(
        [count("a"), count("b"), count("c"), count("d"), count("e")],
        [2, 4, 4, 2, 1]
    );
    assert_eq!(verdict, Verdict::Ok);
}

#[test]
fn ten_thousand_dependencies_are_met_in_linear_time() {
    let mut t = Topology::default();
    let (root, last) = (t.add("root"), t.add("last"));
    for i in 0..10_000 {
        let node = t.add(&format!("n{i}"));
        t.link(root, node);
        t.link(node, last);
    }
    t.start_at_roots();
    let mut plan = Plan::new(t, 64);
    let mut open = std::collections::VecDeque::from(plan.step(Input::Begin));
    let mut started = 0;
    while let Some(effect) = open.pop_front() {
        if let Effect::Start { node, .. } = effect {
            started += 1;
            open.extend(plan.step(Input::Finished {
                node,
                outcome: Outcome::Ok,
            }));
        }
    }
    assert_eq!(started, 10_002);
}
