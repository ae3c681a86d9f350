//! Whole runs on the store without a database: the commit rule, loops, failures, and death at every commit.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::{states::RunState, time::UtcTime};
use alidade_pipeline::{
    descriptor::load::Collection,
    memory::MemoryStore,
    plan::RunRequest,
    port::*,
    runner::{self, RunFault, Surroundings},
    task::{NativeTask, TaskContext, TaskFailure},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("alidade-engine-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn around(root: &Path) -> Surroundings {
    // A clock that goes on by a millisecond at every look.
    let micros = AtomicI64::new(1_800_000_000_000_000);
    let clock = move || UtcTime::from_unix_micros(micros.fetch_add(1000, Ordering::Relaxed)).unwrap();
    Surroundings::new(root.join("work"), Arc::new(clock))
}

/// A plugin folder `DEMO` with these tasks (name, inputs, outputs) and this `plugin.json`.
fn plugin(root: &Path, tasks: &[(&str, &[&str], &[&str])], extras: serde_json::Value) -> Collection {
    let folder = root.join("plugins/demo");
    fs::create_dir_all(&folder).unwrap();
    let release =
        serde_json::json!({"version": "1.0.0", "date": "2026-01-02", "author": "A. Author", "modification": "First"});
    let dataset =
        serde_json::json!({"version": "01", "date": "2026-01-02", "author": "A. Author", "modification": "First"});
    let tasks: Vec<_> = tasks
        .iter()
        .map(|(name, inputs, outputs)| {
            let inputs: BTreeMap<_, _> = inputs.iter().map(|i| (*i, serde_json::json!({"identifier": format!("D-{i}"), "version": "01"}))).collect();
            let outputs: BTreeMap<_, _> = outputs
                .iter()
                .map(|o| (*o, serde_json::json!({"identifier": format!("D-{o}"), "name": o, "description": "", "level": "L1", "release": dataset})))
                .collect();
            serde_json::json!({"name": name, "category": "Test", "description": "", "inputs": inputs, "outputs": outputs})
        })
        .collect();
    let descriptor = serde_json::json!({
        "identification": {"project": "ROC", "name": "Demo", "identifier": "DEMO", "description": "For tests"},
        "release": release, "tasks": tasks,
    });
    fs::write(folder.join("descriptor.json"), descriptor.to_string()).unwrap();
    fs::write(folder.join("plugin.json"), extras.to_string()).unwrap();
    let found = Collection::load(&root.join("plugins"));
    assert_eq!(found.faults, [], "the test's own plugin");
    found
}

fn go(around: &Surroundings, store: &mut dyn RunWrites, found: &Collection, request: &RunRequest) -> RunRecord {
    let planned = request.plan(found, &around.natives).unwrap();
    let run = runner::create(around, store, &planned).unwrap();
    runner::execute(around, store, &run.id, &Arc::default()).unwrap()
}

fn request(pipeline: &str) -> RunRequest {
    RunRequest {
        pipeline: pipeline.into(),
        ..RunRequest::default()
    }
}

fn rows(store: &mut MemoryStore, run: &str) -> Vec<String> {
    let mut all: Vec<String> = store
        .attempts(run)
        .unwrap()
        .iter()
        .map(|a| {
            format!(
                "{}{} {} {}",
                a.node,
                a.iteration.map_or(String::new(), |i| format!(".{i}")),
                a.state.as_str(),
                a.status.as_str()
            )
        })
        .collect();
    all.sort();
    all
}

fn write(ctx: &mut TaskContext) -> Result<(), TaskFailure> {
    let text = format!(
        "{}{}",
        ctx.node,
        ctx.item.as_ref().map(ToString::to_string).unwrap_or_default()
    );
    ctx.output("x")
        .activate(|path| fs::write(path, text).map_err(Into::into))?;
    Ok(())
}

#[test]
fn a_product_is_committed_and_read_by_the_task_that_follows() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    around.natives.add("DEMO", NativeTask::new("make", write));
    around.natives.add(
        "DEMO",
        NativeTask::new("read", |ctx: &mut TaskContext| {
            let path = ctx.input("x")?.path.clone();
            let text = fs::read_to_string(path)?;
            ctx.properties.set("seen", text);
            ctx.log("read it");
            Ok(())
        }),
    );
    let found = plugin(
        &folder.0,
        &[("make", &[], &["x"]), ("read", &["x"], &[])],
        serde_json::json!({
            "pipelines": [{"name": "both", "short_name": "b", "chains": ["make | read"]}]
        }),
    );
    let mut store = MemoryStore::default();
    let run = go(
        &around,
        &mut store,
        &found,
        &RunRequest {
            target: Some("M31".into()),
            ..request("both")
        },
    );
    assert_eq!((run.state, run.exit_code()), (RunState::Done, 0), "{}", run.cause);
    assert!(run.id.starts_with("b_M31_20270115"), "{}", run.id);
    assert_eq!(run.properties["seen"], "make");
    assert_eq!(run.product_group, Some(format!("{}_outputs", run.id)));
    let target = store.targets.iter().find(|t| t.role == Role::Out).unwrap();
    assert_eq!(target.label, format!("{}_x", run.id));
    assert_eq!(
        fs::read_to_string(around.products().join(&target.path)).unwrap(),
        "make"
    );
    assert!(store.log.iter().any(|(_, l)| l.text == "read it" && l.node == "read"));
    assert!(
        !around.root.join("runs").join(&run.id).exists(),
        "nothing is left of the attempts"
    );
    let again = go(
        &around,
        &mut store,
        &found,
        &RunRequest {
            target: Some("M31".into()),
            ..request("both")
        },
    );
    assert_ne!(again.id, run.id, "two runs in one second have two names");
}

#[test]
fn what_goes_wrong_fails_with_its_reason_and_blocks_what_follows() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    around
        .natives
        .add("DEMO", NativeTask::new("forget", |_: &mut TaskContext| Ok(())));
    around.natives.add(
        "DEMO",
        NativeTask::new("crash", |_: &mut TaskContext| -> Result<(), TaskFailure> {
            panic!("out of ideas")
        }),
    );
    around
        .natives
        .add("DEMO", NativeTask::new("next", |_: &mut TaskContext| Ok(())));
    let found = plugin(
        &folder.0,
        &[
            ("forget", &[], &["x"]),
            ("crash", &[], &[]),
            ("next", &["x"], &[]),
            ("absent", &[], &[]),
            ("exits", &[], &[]),
        ],
        serde_json::json!({
            "tasks": {"absent": {"command": ["/nowhere/such-a-program"]}, "exits": {"command": ["sh", "-c", "echo said why >&2; exit 3"]}},
            "pipelines": [
                {"name": "p1", "chains": ["forget | next"]}, {"name": "p2", "chains": ["crash"]},
                {"name": "p3", "chains": ["absent"]}, {"name": "p4", "chains": ["exits"]}, {"name": "p5", "chains": ["next"]}
            ]
        }),
    );
    let mut store = MemoryStore::default();
    for (pipeline, why) in [
        ("p1", "output x (x) was not made"),
        ("p2", "the task panicked: out of ideas"),
        ("p3", "not found"),
        ("p4", "exit status 3: said why"),
        ("p5", "input x (dataset D-x version 01) is missing"),
    ] {
        let run = go(&around, &mut store, &found, &request(pipeline));
        assert_eq!((run.state, run.exit_code()), (RunState::Failed, 1), "{pipeline}");
        assert!(run.cause.contains(why), "{pipeline}: {}", run.cause);
        assert!(
            store
                .exceptions(&run.id)
                .unwrap()
                .iter()
                .any(|e| e.message.contains(why))
        );
        if pipeline == "p1" {
            assert_eq!(
                rows(&mut store, &run.id),
                ["forget Terminated ERROR", "next Pending WARNING"]
            );
        }
    }
    assert!(!around.products().exists(), "nothing was half saved");
}

#[test]
fn an_empty_target_is_a_normal_outcome() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    around.natives.add(
        "DEMO",
        NativeTask::new("make", |ctx: &mut TaskContext| {
            ctx.output("x").empty();
            Ok(())
        }),
    );
    around.natives.add(
        "DEMO",
        NativeTask::new("read", |ctx: &mut TaskContext| {
            if ctx.input("x")?.is_empty() {
                Ok(())
            } else {
                Err(TaskFailure::new("not empty"))
            }
        }),
    );
    let found = plugin(
        &folder.0,
        &[("make", &[], &["x"]), ("read", &["x"], &[])],
        serde_json::json!({
            "pipelines": [{"name": "both", "chains": ["make | read"]}]
        }),
    );
    let run = go(&around, &mut MemoryStore::default(), &found, &request("both"));
    assert_eq!(run.state, RunState::Done, "{}", run.cause);
    assert_eq!(run.product_group, None, "no product, no group");
}

#[test]
fn a_command_gets_its_item_and_tells_its_progress() {
    let folder = Folder::new();
    let around = around(&folder.0);
    let script = r#"echo line $1; echo '{"status": "half way"}' >> "$ALIDADE_PROGRESS"; echo '{"property": {"last": '$1'}}' >> "$ALIDADE_PROGRESS"; echo $1 > "$ALIDADE_OUTPUTS/x.txt"; test $1 != 2"#;
    let found = plugin(
        &folder.0,
        &[("work", &[], &["x"])],
        serde_json::json!({
            "tasks": {"work": {"command": ["sh", "-c", script, "sh", "{item}"]}},
            "pipelines": [{"name": "loop", "chains": ["work"], "loops": [{"name": "n", "start": "work", "end": "work", "over": [1, 2, 3]}]}]
        }),
    );
    let mut store = MemoryStore::default();
    let run = go(&around, &mut store, &found, &request("loop"));
    assert_eq!(
        rows(&mut store, &run.id),
        [
            "work.0 Terminated OK",
            "work.1 Terminated ERROR",
            "work.2 Terminated OK"
        ]
    );
    assert_eq!((run.exit_code(), run.state), (1, RunState::Done), "{}", run.cause);
    assert_eq!(run.properties["last"], 3);
    assert!(store.log.iter().any(|(_, l)| l.text == "line 3"));
    let products: Vec<_> = store.targets.iter().filter(|t| !t.sha256.is_empty()).collect();
    assert_eq!(products.len(), 2);
}

#[test]
fn a_failed_try_is_repeated_as_often_as_declared() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let shaky = move |_: &mut TaskContext| {
        if counted.fetch_add(1, Ordering::Relaxed) < 2 {
            Err(TaskFailure::new("not yet"))
        } else {
            Ok(())
        }
    };
    around.natives.add("DEMO", NativeTask::new("shaky", shaky).retries(2));
    let found = plugin(
        &folder.0,
        &[("shaky", &[], &[])],
        serde_json::json!({"pipelines": [{"name": "p", "chains": ["shaky"]}]}),
    );
    let mut store = MemoryStore::default();
    let run = go(&around, &mut store, &found, &request("p"));
    assert_eq!(run.state, RunState::Done);
    assert_eq!(
        rows(&mut store, &run.id),
        [
            "shaky Terminated ERROR",
            "shaky Terminated ERROR",
            "shaky Terminated OK"
        ]
    );
}

#[test]
fn signals_reach_slots_that_are_kept_and_no_others() {
    use alidade_pipeline::signals::{Signal, Slot};
    let folder = Folder::new();
    let mut around = around(&folder.0);
    around
        .natives
        .add("DEMO", NativeTask::new("one", |_: &mut TaskContext| Ok(())));
    around.natives.add(
        "DEMO",
        NativeTask::new("two", |_: &mut TaskContext| Err(TaskFailure::new("no"))),
    );
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ear = heard.clone();
    let kept: Slot = Arc::new(move |signal, job| ear.lock().unwrap().push((signal, job.node.clone())));
    around.signals.connect(None, &kept);
    let dropped: Slot = Arc::new(|_, _| panic!("nobody keeps this"));
    around.signals.connect(Some(Signal::Started), &dropped);
    drop(dropped);
    let found = plugin(
        &folder.0,
        &[("one", &[], &[]), ("two", &[], &[])],
        serde_json::json!({"pipelines": [{"name": "p", "chains": ["one | two"]}]}),
    );
    go(&around, &mut MemoryStore::default(), &found, &request("p"));
    let heard = heard.lock().unwrap();
    for (signal, node) in [
        (Signal::Created, "one"),
        (Signal::Started, "one"),
        (Signal::Ended, "one"),
        (Signal::Errored, "two"),
    ] {
        assert!(heard.contains(&(signal, node.to_owned())), "{signal:?} {node}");
    }
}

#[test]
fn a_cancelled_run_ends_and_says_so() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    let cancel = Arc::new(AtomicBool::new(false));
    let wish = cancel.clone();
    around.natives.add(
        "DEMO",
        NativeTask::new("one", move |ctx: &mut TaskContext| {
            wish.store(true, Ordering::Relaxed);
            assert!(ctx.is_cancelled());
            Ok(())
        }),
    );
    around
        .natives
        .add("DEMO", NativeTask::new("two", |_: &mut TaskContext| Ok(())));
    let found = plugin(
        &folder.0,
        &[("one", &[], &[]), ("two", &[], &[])],
        serde_json::json!({"pipelines": [{"name": "p", "chains": ["one | two"]}]}),
    );
    let mut store = MemoryStore::default();
    let planned = request("p").plan(&found, &around.natives).unwrap();
    let run = runner::create(&around, &mut store, &planned).unwrap();
    let run = runner::execute(&around, &mut store, &run.id, &cancel).unwrap();
    assert_eq!((run.state, run.exit_code()), (RunState::Canceled, 1));
    assert!(store.attempts.iter().all(|a| a.state != JobState::Running));
    assert!(matches!(
        runner::execute(&around, &mut store, &run.id, &cancel),
        Err(RunFault::Ended(_))
    ));
}

/// A store that dies at a commit: what was given to it is lost, as when the process is killed before.
struct Mortal {
    inner: MemoryStore,
    left: usize,
}

impl RunReads for Mortal {
    fn run(&mut self, id: &str) -> Result<Option<RunRecord>, StoreFault> {
        self.inner.run(id)
    }
    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreFault> {
        self.inner.runs(filter)
    }
    fn attempts(&mut self, run: &str) -> Result<Vec<AttemptRow>, StoreFault> {
        self.inner.attempts(run)
    }
    fn draws(&mut self, run: &str) -> Result<Vec<DrawRow>, StoreFault> {
        self.inner.draws(run)
    }
    fn exceptions(&mut self, run: &str) -> Result<Vec<ExceptionRow>, StoreFault> {
        self.inner.exceptions(run)
    }
    fn targets(&mut self, run: &str) -> Result<Vec<TargetRow>, StoreFault> {
        self.inner.targets(run)
    }
    fn log(&mut self, run: &str, after: u64, limit: i64) -> Result<Vec<LogRow>, StoreFault> {
        self.inner.log(run, after, limit)
    }
    fn last_good(&mut self, plugin: &str, task: &str, key: Option<&str>) -> Result<Option<AttemptRow>, StoreFault> {
        self.inner.last_good(plugin, task, key)
    }
    fn products(&mut self, wanted: &str) -> Result<Vec<TargetRow>, StoreFault> {
        self.inner.products(wanted)
    }
    fn releases(&mut self) -> Result<Vec<ReleaseRow>, StoreFault> {
        self.inner.releases()
    }
    fn datasets(&mut self) -> Result<Vec<DatasetRow>, StoreFault> {
        self.inner.datasets()
    }
    fn revisions(&mut self) -> Result<Vec<(String, Option<String>)>, StoreFault> {
        self.inner.revisions()
    }
}

impl RunWrites for Mortal {
    fn create_run(&mut self, run: &RunRecord) -> Result<(), StoreFault> {
        self.inner.create_run(run)
    }
    fn commit(&mut self, run: &str, wave: &Wave) -> Result<(), StoreFault> {
        if self.left == 0 {
            return Err(StoreFault::Failed("killed".into()));
        }
        self.left -= 1;
        self.inner.commit(run, wave)
    }
    fn register(&mut self, release: &ReleaseRow, datasets: &[DatasetRow]) -> Result<bool, StoreFault> {
        self.inner.register(release, datasets)
    }
    fn set_revision(&mut self, plugin: &str, revision: Option<&str>) -> Result<(), StoreFault> {
        self.inner.set_revision(plugin, revision)
    }
    fn migrate(
        &mut self,
        plugin: &str,
        statements: &alidade_pipeline::migrate::Statements,
        after: Option<&str>,
    ) -> Result<(), StoreFault> {
        self.inner.migrate(plugin, statements, after)
    }
}

/// Checksums of the products by place.
fn sums(store: &MemoryStore) -> BTreeMap<String, String> {
    let products = store
        .targets
        .iter()
        .filter(|t| t.role == Role::Out && !t.sha256.is_empty());
    products
        .map(|t| {
            (
                t.path.split_once('/').unwrap().1.split('/').next().unwrap().to_owned(),
                t.sha256.clone(),
            )
        })
        .collect()
}

#[test]
fn death_at_any_commit_loses_nothing_and_commits_nothing_twice() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    for name in ["a", "b", "c", "d"] {
        around.natives.add(
            "DEMO",
            NativeTask::new(name, move |ctx: &mut TaskContext| {
                if name == "b" && ctx.item == Some(1.into()) {
                    return Err(TaskFailure::new("bad item"));
                }
                write(ctx)
            }),
        );
    }
    // Outputs are not declared, so that every file becomes a product.
    let found = plugin(
        &folder.0,
        &[("a", &[], &[]), ("b", &[], &[]), ("c", &[], &[]), ("d", &[], &[])],
        serde_json::json!({
            "pipelines": [{"name": "p", "chains": ["a | b | c | d"], "loops": [{"name": "n", "start": "b", "end": "c", "over": {"range": 4}}]}]
        }),
    );
    let planned = request("p").plan(&found, &around.natives).unwrap();
    let mut wanted = None;
    for dies_after in (0..40).rev() {
        let mut store = Mortal {
            inner: MemoryStore::default(),
            left: dies_after,
        };
        let run = runner::create(&around, &mut store, &planned).unwrap();
        let mut deaths = 0;
        let ended = loop {
            match runner::execute(&around, &mut store, &run.id, &Arc::default()) {
                Ok(ended) => break ended,
                Err(RunFault::Store(_)) => {
                    deaths += 1;
                    // Once early, once more a little later, then it lives.
                    store.left = if deaths == 1 { 3 } else { usize::MAX };
                }
                Err(other) => panic!("{other}"),
            }
        };
        assert!(
            ended.cause.starts_with("partial: 8 products, 1 attempts failed"),
            "{}: {dies_after}",
            ended.cause
        );
        let all = &store.inner.attempts;
        assert!(
            all.iter().all(|a| a.state == JobState::Terminated),
            "a row is left open: {dies_after}"
        );
        let mut good: BTreeMap<(&str, Option<u64>), usize> = BTreeMap::new();
        for a in all.iter().filter(|a| a.status == JobStatus::Ok) {
            *good.entry((&a.node, a.iteration)).or_default() += 1;
        }
        assert_eq!(good.len(), 1 + 4 + 3 + 1 - 1, "{dies_after}");
        assert!(good.values().all(|n| *n == 1), "committed twice: {dies_after} {good:?}");
        let sums = sums(&store.inner);
        assert_eq!(*wanted.get_or_insert_with(|| sums.clone()), sums, "{dies_after}");
        drop(fs::remove_dir_all(&around.root));
    }
}

#[test]
fn a_second_process_cannot_take_a_run_that_is_owned() {
    let folder = Folder::new();
    let mut around = around(&folder.0);
    let seen = Arc::new(AtomicBool::new(false));
    let (flag, root) = (seen.clone(), around.root.clone());
    around.natives.add(
        "DEMO",
        NativeTask::new("look", move |ctx: &mut TaskContext| {
            flag.store(runner::is_owned(&root, &ctx.run), Ordering::Relaxed);
            Ok(())
        }),
    );
    let found = plugin(
        &folder.0,
        &[("look", &[], &[])],
        serde_json::json!({"pipelines": [{"name": "p", "chains": ["look"]}]}),
    );
    let run = go(&around, &mut MemoryStore::default(), &found, &request("p"));
    assert!(seen.load(Ordering::Relaxed), "it is owned while it runs");
    assert!(!runner::is_owned(&around.root, &run.id), "and by nobody afterwards");
}

#[test]
fn a_request_is_refused_with_every_reason() {
    let folder = Folder::new();
    let found = plugin(
        &folder.0,
        &[("t", &[], &[])],
        serde_json::json!({
            "tasks": {"t": {"command": ["true"]}},
            "pipelines": [{"name": "p", "chains": ["t"], "needs_target": true, "needs_inputs": true, "allowed_suffixes": [".fits"]}]
        }),
    );
    let natives = Default::default();
    let wrong = request("p").plan(&found, &natives).unwrap_err();
    assert_eq!(
        wrong,
        ["Process must have an associated target", "No input files to process"]
    );
    let text = folder.0.join("a.txt");
    fs::write(&text, "x").unwrap();
    let with = RunRequest {
        target: Some("../x".into()),
        inputs: vec![text.display().to_string()],
        ..request("p")
    };
    let wrong = with.plan(&found, &natives).unwrap_err();
    assert!(
        wrong.len() == 2 && wrong[0].contains(".fits") && wrong[1].contains("target"),
        "{wrong:?}"
    );
    assert!(request("q").plan(&found, &natives).unwrap_err()[0].contains("there is p"));
}
