//! Figures of the engine without a database: a chain of tasks that do nothing, and what a command costs beside a bare spawn,
//! as a plain process and in the sandbox. As JSON; elapsed times in milliseconds. `benches/pipelines` says how to read it.

#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "it measures elapsed time")]

use alidade_model::time::UtcTime;
use alidade_pipeline::{
    descriptor::load::Collection,
    executors::{BubblewrapExecutor, Executor},
    memory::MemoryStore,
    plan::RunRequest,
    runner::{self, Surroundings},
    task::{NativeTask, TaskContext},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Commands in one chain.
const COMMANDS: usize = 200;
/// Tasks that do nothing in one chain.
const NOTHINGS: usize = 1000;
/// Chains of each kind: the median counts.
const ROUNDS: usize = 5;

fn now() -> UtcTime {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    UtcTime::from_unix_micros(i64::try_from(micros).unwrap()).unwrap()
}

/// A plugin with a chain of `count` places of one task. Without an executor the task is this program's own.
fn plugin(root: &Path, name: &str, count: usize, executor: Option<&str>) -> Collection {
    let folder = root.join(name).join("bench");
    fs::create_dir_all(&folder).unwrap();
    let release = json!({ "version": "1.0.0", "date": "2026-01-02", "author": "A. Author", "modification": "First" });
    let descriptor = json!({
        "identification": { "project": "ROC", "name": "Bench", "identifier": "BENCH", "description": "Measures" },
        "release": release,
        "tasks": [{ "name": "step", "category": "Bench", "description": "", "inputs": {}, "outputs": {} }],
    });
    let places: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    let nodes: BTreeMap<&String, Value> = places.iter().map(|p| (p, json!({ "task": "step" }))).collect();
    let tasks = executor.map_or(
        json!({}),
        |it| json!({ "step": { "command": ["/bin/true"], "executor": it } }),
    );
    let extras =
        json!({ "tasks": tasks, "pipelines": [{ "name": "chain", "chains": [places.join(" | ")], "nodes": nodes }] });
    fs::write(folder.join("descriptor.json"), descriptor.to_string()).unwrap();
    fs::write(folder.join("plugin.json"), extras.to_string()).unwrap();
    let found = Collection::load(&root.join(name));
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    found
}

/// Milliseconds a task, of the median round.
fn chain(root: &Path, name: &str, count: usize, executor: Option<&str>) -> f64 {
    let found = plugin(root, name, count, executor);
    let mut around = Surroundings::new(root.join("work"), Arc::new(now));
    around
        .natives
        .add("BENCH", NativeTask::new("step", |_: &mut TaskContext| Ok(())));
    let sandbox: Arc<dyn Executor> = Arc::new(BubblewrapExecutor::detect().unwrap());
    around.executors.insert("bubblewrap".into(), sandbox);
    let wish = RunRequest {
        pipeline: "chain".into(),
        ..RunRequest::default()
    };
    let planned = wish.plan(&found, &around.natives).unwrap();
    let mut store = MemoryStore::default();
    median((0..ROUNDS).map(|_| {
        let run = runner::create(&around, &mut store, &planned).unwrap();
        let begun = Instant::now();
        let ended = runner::execute(&around, &mut store, &run.id, &Arc::default()).unwrap();
        assert_eq!(ended.exit_code(), 0, "{}", ended.cause);
        begun.elapsed().as_secs_f64() * 1e3 / count as f64
    }))
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let folder = std::env::temp_dir().join(format!("alidade-pipeline-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let bare = || {
        let begun = Instant::now();
        assert!(Command::new("/bin/true").status().unwrap().success());
        begun.elapsed().as_secs_f64() * 1e3
    };
    let all = json!({
        "bare_spawn_ms": median((0..COMMANDS).map(|_| bare())),
        "nothing_ms": chain(&folder, "n", NOTHINGS, None),
        "command_ms": chain(&folder, "p", COMMANDS, Some("process")),
        "sandboxed_command_ms": chain(&folder, "b", COMMANDS, Some("bubblewrap")),
    });
    println!("{all:#}");
    fs::remove_dir_all(&folder).unwrap();
}
