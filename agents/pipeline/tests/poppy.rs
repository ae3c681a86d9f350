//! The planner against POPPy 1.0.0 itself, from PyPI, with its tables on a real PostgreSQL: for random topologies,
//! loops and failures the multiset of (task, state, status) is the same. Rows for blocked tasks are ours alone.
//!
//! `POPPY_RUNS` says how many topologies (20), `POPPY_DATABASE` names a database that may be used instead of a server of
//! the test's own. Left out, because POPPy does them wrongly: loops over nothing (it leaves
//! the first task's row Running for ever), loops within loops (the order of its slots is random), and what follows a
//! loop while it also depends on a task outside (it forgets that dependency).

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../../drivers/tests/support/ports.rs"]
mod ports;
#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use alidade_pipeline::{
    graph::{OnFailure, Topology},
    step::{Effect, Input, Outcome, Plan},
};
use postgres::Postgres;
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const PACKAGES: &[&str] = &["poppy-core==1.0.0", "poppy-pop==1.0.0"];

/// An environment with POPPy, made when it is not there yet.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("poppy");
    let whole = folder.join("complete");
    if !whole.exists() {
        drop(fs::remove_dir_all(&folder));
        let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES));
        fs::write(whole, "").unwrap();
    }
    folder.join("bin/python")
}

/// Numbers by the linear congruence of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(limit).unwrap()).unwrap()
    }
}

struct Case {
    topology: Topology,
    /// By loop.
    counts: Vec<u64>,
    /// Task and turn.
    fails: Vec<(String, u64)>,
}

fn case(random: &mut Random) -> Case {
    let count = 3 + random.below(7);
    let mut topology = Topology::default();
    for i in 0..count {
        topology.add(&format!("t{i}"));
    }
    for child in 1..count {
        for _ in 0..=random.below(2) {
            let parent = random.below(child);
            topology.link(parent, child);
        }
    }
    topology.set_start("t0").unwrap();
    let mut counts = Vec::new();
    let mut taken = vec![false; count];
    for _ in 0..random.below(3) {
        let (a, b) = (1 + random.below(count - 1), 1 + random.below(count - 1));
        let (start, end) = (a.min(b), a.max(b));
        let name = format!("l{}", counts.len());
        topology
            .add_loop(&name, &format!("t{start}"), &format!("t{end}"), OnFailure::Continue)
            .unwrap();
        let body = topology.body(topology.loops.last().unwrap());
        let free = !body.is_empty() && body.iter().all(|&n| !taken[n]);
        let alone = topology.children[end].iter().all(|&d| topology.parents[d] == [end]);
        if free && alone {
            body.iter().for_each(|&n| taken[n] = true);
            counts.push(1 + u64::try_from(random.below(4)).unwrap());
        } else {
            topology.loops.pop();
        }
    }
    let fails = (0..random.below(4)).map(|_| {
        (
            format!("t{}", random.below(count)),
            u64::try_from(random.below(3)).unwrap(),
        )
    });
    Case {
        fails: fails.collect(),
        topology,
        counts,
    }
}

type Rows = BTreeMap<(String, String, String), usize>;

/// Rows of what ran; and how often each task was kept from running by another one, in the run or in a round of its loop:
/// for these POPPy has no row, or one that waits for ever.
fn ours(case: &Case) -> (Rows, BTreeMap<String, usize>) {
    assert_eq!(case.topology.faults(), []);
    let mut plan = Plan::new(case.topology.clone(), 1);
    let mut turns: BTreeMap<String, u64> = BTreeMap::new();
    let mut rows = Rows::new();
    let mut kept_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut ran = vec![false; case.topology.names.len()];
    let mut queue = VecDeque::from(plan.step(Input::Begin));
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Draw { of, index } => queue.extend(plan.step(Input::Drawn {
                of,
                more: index < case.counts[of],
            })),
            Effect::Start { node, .. } => {
                ran[node] = true;
                let name = case.topology.names[node].clone();
                let turn = turns.entry(name.clone()).or_default();
                let failed = case.fails.contains(&(name.clone(), *turn));
                *turn += 1;
                let status = if failed { "ERROR" } else { "OK" };
                *rows.entry((name, "Terminated".into(), status.into())).or_default() += 1;
                let outcome = if failed { Outcome::Failed } else { Outcome::Ok };
                queue.extend(plan.step(Input::Finished { node, outcome }));
            }
            Effect::Reset { nodes } => {
                // Before the first round nothing was kept out of one.
                let began = nodes.iter().any(|&node| ran[node]);
                for node in nodes {
                    if began && !ran[node] {
                        *kept_out.entry(case.topology.names[node].clone()).or_default() += 1;
                    }
                    ran[node] = false;
                }
            }
            Effect::Blocked { .. } | Effect::Done(_) => {}
        }
    }
    for (name, _) in case.topology.names.iter().zip(ran).filter(|(_, ran)| !ran) {
        *kept_out.entry(name.clone()).or_default() += 1;
    }
    (rows, kept_out)
}

#[test]
fn poppy_runs_the_same_tasks_as_often_with_the_same_outcomes() {
    let runs: usize = std::env::var("POPPY_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20);
    // A server of the test's own, unless there is one already.
    let server = std::env::var("POPPY_DATABASE").map_err(|_| Postgres::shared());
    let url = match &server {
        Ok(url) => url.clone(),
        Err(own) => own.database().replace("postgres://", "postgresql://"),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/poppy_oracle.py");
    let mut oracle = Command::new(python())
        .arg(script)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = oracle.stdin.take().unwrap();
    let mut answers = BufReader::new(oracle.stdout.take().unwrap()).lines();
    let mut random = Random(7);
    let (mut loops, mut failures) = (0, 0);
    for number in 0..runs {
        let case = case(&mut random);
        let t = &case.topology;
        let links: Vec<(usize, usize)> = t
            .children
            .iter()
            .enumerate()
            .flat_map(|(p, all)| all.iter().map(move |&c| (p, c)))
            .collect();
        // POPPy goes through a task's parents in the order in which they were linked; so do we.
        let spans: Vec<_> = t
            .loops
            .iter()
            .zip(&case.counts)
            .map(|(l, n)| (l.start, l.end, n))
            .collect();
        let wish = json!({"names": t.names, "links": links, "start": 0, "loops": spans, "fails": case.fails});
        writeln!(ask, "{wish}").unwrap();
        let answer: Vec<(String, String, String)> = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        let mut theirs = Rows::new();
        for row in answer {
            *theirs.entry(row).or_default() += 1;
        }
        let (rows, kept_out) = ours(&case);
        let waiting: Rows = theirs.extract_if(.., |row, _| row.1 == "Pending").collect();
        for ((task, ..), times) in waiting {
            let ours = kept_out.get(&task).copied().unwrap_or(0);
            assert!(times <= ours, "topology {number}: {task} waits {times} times: {wish}");
        }
        assert_eq!(rows, theirs, "topology {number}: {wish}");
        loops += case.counts.len();
        failures += theirs.keys().filter(|k| k.2 == "ERROR").count();
    }
    drop(ask);
    assert!(oracle.wait().unwrap().success());
    assert!(
        loops > runs / 4 && failures > runs / 10,
        "the topologies are too tame: {loops} loops, {failures} failures"
    );
    println!("counted: {runs} topologies with {loops} loops; {failures} tasks of them failed");
}
