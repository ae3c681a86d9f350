//! One conformance suite over every executor: what each promises is demanded of it, in the same words.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use alidade_model::time::UtcTime;
use alidade_pipeline::executors::{
    AttemptSpec, AttemptState, BubblewrapExecutor, Ending, Executor, ExecutorError, Input, Limits, Outcome,
    ProcessExecutor, Root, Signal, SlurmExecutor, Ticket, cgroup::Hierarchies,
};
use std::{fs, path::PathBuf, process::Command, time::Duration};
use support::slurm::Slurm;

/// Attempts read no clock; elapsed time is counted from here by what was waited.
fn epoch() -> UtcTime {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
    fn spec(&self, id: &str, script: &str) -> AttemptSpec {
        let id = format!(
            "{id}-{}-{}",
            std::process::id(),
            self.0.file_name().unwrap().to_str().unwrap()
        );
        AttemptSpec::new(&id, self.0.join(&id), &["/bin/sh", "-c", script])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn start(executor: &dyn Executor, spec: &AttemptSpec) -> Ticket {
    executor.prepare(spec).unwrap();
    executor.start(spec, epoch()).unwrap()
}

fn end(executor: &dyn Executor, ticket: &Ticket, from: UtcTime) -> Ending {
    let state = executor.wait(ticket, from, Duration::from_secs(40)).unwrap();
    executor.cleanup(ticket).unwrap();
    assert!(!anything_of(ticket), "{} left a process", executor.name());
    match state {
        AttemptState::Ended(ending) => ending,
        other => panic!("{} is {other:?}", ticket.attempt),
    }
}

fn run(executor: &dyn Executor, spec: &AttemptSpec) -> Ending {
    let ticket = start(executor, spec);
    end(executor, &ticket, epoch())
}

fn log(spec: &AttemptSpec, name: &str) -> String {
    fs::read_to_string(spec.logs_dir().join(name)).unwrap()
}

/// Whether any process of the machine carries the attempt's marker.
fn anything_of(ticket: &Ticket) -> bool {
    let marker = format!("ALIDADE_ATTEMPT={}", ticket.attempt);
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        !zombie && environment.split(|&b| b == 0).any(|v| v == marker.as_bytes())
    })
}

/// Looks until it holds; ten seconds are for ever here.
fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// What every executor must do, whatever it promises.
fn common(it: &dyn Executor, scratch: &Scratch) {
    // Exit status, logs, outputs, environment, configuration; a second start runs nothing.
    let mut spec = scratch.spec(
        "ends",
        "echo said; echo wrong >&2; cat \"$ALIDADE_INPUTS/data\" \"$ALIDADE_CONFIG\"; echo \"$WORD\"; env | grep -c SECRET; \
         echo made > made.txt; echo '{\"progress\":{\"value\":1}}' >> \"$ALIDADE_PROGRESS\"; exit 7",
    );
    let source = scratch.0.join("source");
    fs::write(&source, "input\n").unwrap();
    spec.inputs = vec![Input {
        name: "data".into(),
        source: source.clone(),
    }];
    spec.environment.insert("WORD".into(), "a b'c\"$d".into());
    spec.config = serde_json::json!({ "threshold": 5 });
    let ticket = start(it, &spec);
    assert_eq!(end(it, &ticket, epoch()).outcome, Outcome::Exited { code: 7 });
    let out = log(&spec, "out.log");
    assert!(
        out.starts_with("said\ninput\n{") && out.contains("\"threshold\": 5"),
        "{out}"
    );
    assert!(
        out.ends_with("a b'c\"$d\n0\n"),
        "nothing of the daemon's environment: {out}"
    );
    assert_eq!(log(&spec, "err.log"), "wrong\n");
    assert_eq!(
        fs::read_to_string(spec.outputs_dir().join("made.txt")).unwrap(),
        "made\n"
    );
    assert!(spec.progress_dir().join("progress.ndjson").exists());
    assert_eq!(it.start(&spec, epoch()).unwrap(), ticket);
    assert_eq!(it.find(&spec.folder).unwrap(), Some(ticket.clone()));
    let again = it.poll(&ticket, epoch().plus_seconds(1e6)).unwrap();
    assert!(
        matches!(
            again,
            AttemptState::Ended(Ending {
                outcome: Outcome::Exited { code: 7 },
                ..
            })
        ),
        "{again:?}"
    );
    assert_eq!(log(&spec, "out.log"), out);
    assert!(matches!(
        it.signal(&ticket, Signal::Pause, epoch()),
        Err(ExecutorError::HasEnded(_))
    ));
    it.signal(&ticket, Signal::Stop, epoch()).unwrap();

    // A command that does not exist, and faults of the specification.
    let mut missing = scratch.spec("missing", "");
    missing.argv = vec!["no-such-command-here".into()];
    let ending = run(it, &missing);
    assert!(
        matches!(ending.outcome, Outcome::Exited { code } if code != 0),
        "{ending:?}"
    );
    assert!(log(&missing, "err.log").contains("no-such-command-here"));
    let mut bad = scratch.spec("bad", "true");
    bad.inputs = vec![Input {
        name: "../x".into(),
        source: source.clone(),
    }];
    assert!(matches!(it.prepare(&bad), Err(ExecutorError::BadSpec(_))));
    bad.inputs = vec![Input {
        name: "x".into(),
        source: scratch.0.join("nowhere"),
    }];
    assert!(matches!(it.prepare(&bad), Err(ExecutorError::MissingInput(_))));

    // Killed from outside.
    let ending = run(it, &scratch.spec("killed", "kill -9 $$"));
    assert_eq!(ending.outcome, Outcome::Killed { signal: 9 });
}

fn pauses_and_stops(it: &dyn Executor, scratch: &Scratch) {
    // Stands still while paused, goes on after; the pause does not count as elapsed.
    let mut spec = scratch.spec(
        "counts",
        "n=0; while [ $n -lt 1000000 ]; do n=$((n+1)); echo $n > count; done; sleep 1000",
    );
    spec.limits.wall_s = Some(1000.0);
    let ticket = start(it, &spec);
    let count = spec.outputs_dir().join("count");
    let read = || {
        fs::read_to_string(&count)
            .ok()
            .and_then(|t| t.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    until("it counts", || {
        it.poll(&ticket, epoch()).unwrap();
        read() > 10
    });
    it.signal(&ticket, Signal::Pause, epoch().plus_seconds(10.0)).unwrap();
    assert_eq!(
        it.poll(&ticket, epoch().plus_seconds(20.0)).unwrap(),
        AttemptState::Paused
    );
    // A queue's controller calls a job suspended a moment before its node has stopped it.
    let at = std::cell::RefCell::new(String::new());
    until("it stands still", || {
        at.replace(fs::read_to_string(&count).unwrap());
        std::thread::park_timeout(Duration::from_millis(100));
        fs::read_to_string(&count).unwrap() == *at.borrow()
    });
    let at = at.into_inner();
    it.signal(&ticket, Signal::Resume, epoch().plus_seconds(5000.0))
        .unwrap();
    assert_eq!(
        it.poll(&ticket, epoch().plus_seconds(5001.0)).unwrap(),
        AttemptState::Running
    );
    until("it goes on", || fs::read_to_string(&count).unwrap() != at);
    // Stopped while paused, with children in sessions of their own, deaf to the asking.
    let deaf = scratch.spec(
        "deaf",
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000' & echo up > up; sleep 1000; sleep 1000",
    );
    let stopped = start(it, &deaf);
    until("it is up", || {
        it.poll(&stopped, epoch()).unwrap();
        deaf.outputs_dir().join("up").exists()
    });
    it.signal(&stopped, Signal::Pause, epoch()).unwrap();
    it.signal(&stopped, Signal::Stop, epoch().plus_seconds(1.0)).unwrap();
    assert_eq!(end(it, &stopped, epoch().plus_seconds(60.0)).outcome, Outcome::Stopped);
    // Too long.
    assert_eq!(
        it.poll(&ticket, epoch().plus_seconds(7000.0)).map(|_| ()).ok(),
        Some(())
    );
    let ending = end(it, &ticket, epoch().plus_seconds(7100.0));
    assert_eq!(ending.outcome, Outcome::OutOfTime { limit_s: 1000.0 });
}

fn limits(it: &dyn Executor, scratch: &Scratch) {
    let mut spec = scratch.spec("spins", "while :; do :; done");
    spec.limits.cpu_s = Some(1.0);
    assert_eq!(run(it, &spec).outcome, Outcome::OutOfCpuTime { limit_s: 1.0 });
    let mut spec = scratch.spec(
        "eats",
        "head -c 300000000 /dev/zero | tail -c 290000000 | wc -c; exit 5",
    );
    spec.argv[2] = "set -e; x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}".into();
    spec.limits.memory = Some(64 << 20);
    let ending = run(it, &spec);
    if it.capabilities().memory_limit {
        assert_eq!(ending.outcome, Outcome::OutOfMemory { limit: Some(64 << 20) });
    } else {
        assert!(!ending.is_success(), "{ending:?}");
    }
}

/// What a sandbox keeps from its command.
fn isolation(it: &dyn Executor, scratch: &Scratch) {
    let capabilities = it.capabilities();
    let source = scratch.0.join("precious");
    fs::write(&source, "precious\n").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut spec = scratch.spec(
        "breaks-out",
        &format!(
            "echo x >> \"$ALIDADE_INPUTS/data\"; rm -f \"$ALIDADE_INPUTS/data\"; touch /usr/x /x /etc/x; \
             cat /etc/shadow {} ; ls /root /home; (exec 3<>/dev/tcp/127.0.0.1/{port} && echo CONNECTED); \
             mount -t tmpfs none /mnt && echo MOUNTED; kill -9 {} && echo KILLED; \
             grep -i nonewprivs /proc/self/status; grep CapEff /proc/self/status; ls \"$ALIDADE_LOGS/../control\" && echo CONTROL; \
             echo done; exit 0",
            scratch.0.join("breaks-out/control/spec.json").display(),
            i32::MAX,
        ),
    );
    spec.argv[0] = "/bin/bash".into();
    spec.inputs = vec![Input {
        name: "data".into(),
        source: source.clone(),
    }];
    assert!(capabilities.read_only_inputs && capabilities.no_network);
    assert!(run(it, &spec).is_success());
    let out = log(&spec, "out.log");
    assert_eq!(fs::read_to_string(&source).unwrap(), "precious\n");
    for word in ["CONNECTED", "MOUNTED", "KILLED", "CONTROL", "root:"] {
        assert!(!out.contains(word), "{word}: {out}");
    }
    assert!(
        out.contains("NoNewPrivs:\t1") && out.contains("CapEff:\t0000000000000000"),
        "{out}"
    );
    assert!(!PathBuf::from("/usr/x").exists());

    // A root file system of the package's own, read-only, with its own mount points.
    let root = scratch.0.join("root");
    for folder in ["bin", "mnt/kept", "pipeline/inputs"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("mnt/kept/file"), "of the package\n").unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", root.join("bin/sh")).unwrap();
    let mut spec = scratch.spec("own-root", "");
    spec.root = Root::Folder(root.clone());
    spec.places.outputs = "/mnt/out".into();
    spec.argv = [
        "/bin/sh",
        "-c",
        "busybox cat /mnt/kept/file; busybox ls /; echo x > /new; echo y > /mnt/kept/new; echo z > here",
    ]
    .map(String::from)
    .to_vec();
    run(it, &spec);
    let out = log(&spec, "out.log");
    assert!(
        out.starts_with("of the package\n") && !out.contains("usr"),
        "{out}{}",
        log(&spec, "err.log")
    );
    assert!(!root.join("new").exists() && !root.join("mnt/kept/new").exists());
    assert_eq!(fs::read_to_string(spec.outputs_dir().join("here")).unwrap(), "z\n");
}

/// The daemon dies, the attempt does not: another program starts it, is killed, and we find it by its folder.
fn survives(it: &dyn Executor, name: &str, scratch: &Scratch) {
    let spec = scratch.spec(
        "survives",
        "while [ ! -e go ]; do sleep 0.01; done; echo went on; exit 3",
    );
    it.prepare(&spec).unwrap();
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_daemon_that_is_about_to_die", "--nocapture"])
        .env("ALIDADE_TEST_FOLDER", &spec.folder)
        .env("ALIDADE_TEST_EXECUTOR", name)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("it was started", || it.find(&spec.folder).unwrap().is_some());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let ticket = it.find(&spec.folder).unwrap().unwrap();
    until("it runs on", || {
        it.poll(&ticket, epoch()).unwrap() == AttemptState::Running
    });
    fs::write(spec.outputs_dir().join("go"), "").unwrap();
    assert_eq!(end(it, &ticket, epoch()).outcome, Outcome::Exited { code: 3 });
    assert!(log(&spec, "out.log").ends_with("went on\n"));
}

fn bubblewrap() -> BubblewrapExecutor {
    BubblewrapExecutor::detect().unwrap()
}

/// Not a test by itself: what [`survives`] runs in another process. Without its environment there is nothing to do.
#[test]
fn a_daemon_that_is_about_to_die() {
    let Some(folder) = std::env::var_os("ALIDADE_TEST_FOLDER") else {
        return;
    };
    let spec = AttemptSpec::of_folder(&PathBuf::from(folder)).unwrap().unwrap();
    match std::env::var("ALIDADE_TEST_EXECUTOR").unwrap().as_str() {
        "process" => drop(ProcessExecutor.start(&spec, epoch()).unwrap()),
        "bubblewrap" => drop(bubblewrap().start(&spec, epoch()).unwrap()),
        other => panic!("{other}"),
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn a_plain_process_conforms() {
    let scratch = Scratch::new("process");
    common(&ProcessExecutor, &scratch);
    pauses_and_stops(&ProcessExecutor, &scratch);
    limits(&ProcessExecutor, &scratch);
    survives(&ProcessExecutor, "process", &scratch);
    let mut own = scratch.spec("own", "true");
    own.root = Root::Folder("/".into());
    assert!(matches!(
        ProcessExecutor.prepare(&own),
        Err(ExecutorError::Unsupported { .. })
    ));
}

#[test]
fn the_sandbox_conforms_with_control_groups() {
    let scratch = Scratch::new("bwrap");
    let it = bubblewrap();
    common(&it, &scratch);
    pauses_and_stops(&it, &scratch);
    limits(&it, &scratch);
    isolation(&it, &scratch);
    survives(&it, "bubblewrap", &scratch);
}

#[test]
fn the_sandbox_conforms_without_control_groups() {
    let scratch = Scratch::new("bwrap-bare");
    let it = bubblewrap().with_hierarchies(Hierarchies::None { cause: "asked".into() });
    common(&it, &scratch);
    pauses_and_stops(&it, &scratch);
    limits(&it, &scratch);
    isolation(&it, &scratch);
}

#[test]
fn a_fork_bomb_is_bounded_by_its_group() {
    let scratch = Scratch::new("forks");
    let it = bubblewrap();
    if matches!(it.hierarchies, Hierarchies::None { .. }) {
        return;
    }
    let mut spec = scratch.spec(
        "bomb",
        "n=0; while [ $n -lt 200 ]; do sleep 1000 & n=$((n+1)); done; wait",
    );
    spec.limits = Limits {
        processes: Some(20),
        wall_s: Some(5.0),
        ..Limits::default()
    };
    let ending = run(&it, &spec);
    assert!(!ending.is_success(), "{ending:?}");
}

#[test]
fn slurm_conforms_and_a_job_survives_its_daemon() {
    let slurm = Slurm::start();
    let scratch = Scratch::new("slurm");
    let it = SlurmExecutor::detect(Some(slurm.conf())).unwrap();
    assert!(it.version.starts_with("slurm"), "{}", it.version);
    common(&it, &scratch);
    pauses_and_stops(&it, &scratch);
    limits(&it, &scratch);
    isolation(&it, &scratch);
    // The number of the job is lost with the daemon: the queue knows it by its name, and nothing is submitted twice.
    let spec = scratch.spec("lost", "while [ ! -e go ]; do sleep 0.01; done; exit 4");
    let ticket = start(&it, &spec);
    fs::remove_file(spec.folder.join("control/job")).unwrap();
    assert_eq!(it.start(&spec, epoch()).unwrap(), ticket);
    fs::write(spec.outputs_dir().join("go"), "").unwrap();
    assert_eq!(end(&it, &ticket, epoch()).outcome, Outcome::Exited { code: 4 });
}

#[test]
fn a_queue_that_is_not_there_is_said_to_be_unavailable() {
    let conf = PathBuf::from("/nonexistent/slurm.conf");
    assert!(matches!(
        SlurmExecutor::detect(Some(conf)),
        Err(ExecutorError::Unavailable { .. })
    ));
}
