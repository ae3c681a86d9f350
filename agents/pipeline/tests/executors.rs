//! One conformance suite over every executor that this machine offers.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::time::UtcTime;
use alidade_pipeline::executors::{AttemptSpec, AttemptState, Ending, Executor, Outcome, ProcessExecutor, Signal};
use std::{fs, path::PathBuf, time::Duration};

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
        AttemptSpec::new(id, self.0.join(id), &["/bin/sh", "-c", script])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn run(executor: &dyn Executor, spec: &AttemptSpec) -> Ending {
    executor.prepare(spec).unwrap();
    let ticket = executor.start(spec, epoch()).unwrap();
    let state = executor.wait(&ticket, epoch(), Duration::from_secs(30)).unwrap();
    executor.cleanup(&ticket).unwrap();
    match state {
        AttemptState::Ended(ending) => ending,
        other => panic!("{} is {other:?}", spec.id),
    }
}

#[test]
fn a_process_ends_with_its_exit_status_and_its_logs() {
    let scratch = Scratch::new("plain");
    let it = ProcessExecutor;
    let spec = scratch.spec("a1", "echo said; echo wrong >&2; echo made > made.txt; exit 7");
    assert_eq!(run(&it, &spec).outcome, Outcome::Exited { code: 7 });
    assert_eq!(fs::read_to_string(spec.logs_dir().join("out.log")).unwrap(), "said\n");
    assert_eq!(fs::read_to_string(spec.logs_dir().join("err.log")).unwrap(), "wrong\n");
    assert_eq!(
        fs::read_to_string(spec.outputs_dir().join("made.txt")).unwrap(),
        "made\n"
    );
    // A second start of the same folder tells the same ticket and runs nothing.
    let again = it.start(&spec, epoch()).unwrap();
    assert_eq!(it.find(&spec.folder).unwrap(), Some(again));
    assert_eq!(fs::read_to_string(spec.logs_dir().join("out.log")).unwrap(), "said\n");
}

#[test]
fn a_stopped_process_leaves_nothing_behind() {
    let scratch = Scratch::new("stopped");
    let it = ProcessExecutor;
    let spec = scratch.spec("s1", "trap '' TERM; setsid sleep 1000 & sleep 1000");
    it.prepare(&spec).unwrap();
    let ticket = it.start(&spec, epoch()).unwrap();
    it.signal(&ticket, Signal::Pause, epoch()).unwrap();
    assert_eq!(it.poll(&ticket, epoch()).unwrap(), AttemptState::Paused);
    it.signal(&ticket, Signal::Resume, epoch().plus_seconds(5.0)).unwrap();
    it.signal(&ticket, Signal::Stop, epoch().plus_seconds(6.0)).unwrap();
    let late = epoch().plus_seconds(60.0);
    let state = it.wait(&ticket, late, Duration::from_secs(20)).unwrap();
    assert!(
        matches!(
            state,
            AttemptState::Ended(Ending {
                outcome: Outcome::Stopped,
                ..
            })
        ),
        "{state:?}"
    );
    assert!(!anything_marked("s1"));
}

fn anything_marked(id: &str) -> bool {
    let marker = format!("ALIDADE_ATTEMPT={id}");
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("environ")).is_ok_and(|text| text.split(|&b| b == 0).any(|v| v == marker.as_bytes()))
    })
}
