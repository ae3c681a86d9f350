//! The desk: a run from its form to its committed outputs, through deaths of the daemon.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::{states::RunState, time::UtcTime};
use alidade_pipeline::{
    executors::{BubblewrapExecutor, Signal},
    packages::{Desk, DeskError, DeskSettings, NewRun, PackageRun, RunBook},
    upload::UploadKind,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

fn epoch() -> UtcTime {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

/// A book that outlives its desk.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, PackageRun>>>);

impl RunBook for Memory {
    fn keep(&mut self, run: &PackageRun) -> Result<(), String> {
        self.0.lock().unwrap().insert(run.id.clone(), run.clone());
        Ok(())
    }
    fn all(&mut self) -> Result<Vec<PackageRun>, String> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }
    fn forget(&mut self, id: &str) -> Result<(), String> {
        self.0.lock().unwrap().remove(id);
        Ok(())
    }
}

fn open(folder: &Path, book: &Memory) -> Desk {
    let sandbox = BubblewrapExecutor::detect().unwrap();
    Desk::open(DeskSettings::below(folder), Box::new(sandbox), Box::new(book.clone())).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("desk-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn package(script: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let form = json!({"type": "object", "additionalProperties": false, "properties": {
        "file": {"type": "string", "enum": "__PIRUS_INPUT_FILES__"}, "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2}}});
    let manifest = json!({"name": "Test", "version": "1", "command": script});
    for (name, text) in [("pipeline.json", manifest.to_string()), ("form.json", form.to_string())] {
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Sends a file by the way of uploads.
fn send(desk: &Desk, id: &str, name: &str, content: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let meta = format!("filename {}", STANDARD.encode(name));
    let upload = desk
        .uploads
        .create(id, Some(content.len() as u64), &meta, UploadKind::Whole, epoch())
        .unwrap();
    let mut session = desk.uploads.begin(id, 0, None, None, epoch()).unwrap();
    session.write(content).unwrap();
    session.finish(true).unwrap();
    if desk.arrived(&upload, epoch()).unwrap() {
        desk.install(id).unwrap();
    }
}

fn until(desk: &Desk, run: &str, holds: impl Fn(&PackageRun) -> bool) -> PackageRun {
    for _ in 0..2000 {
        desk.tick(epoch());
        let now = desk.run(run).unwrap();
        if holds(&now) {
            return now;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never: {:?}", desk.run(run).unwrap());
}

fn new(config: serde_json::Value, inputs: &[&str]) -> NewRun {
    NewRun {
        name: "n".into(),
        config,
        inputs: inputs.iter().map(|&id| id.into()).collect(),
    }
}

#[test]
fn a_run_goes_from_its_form_to_its_outputs_and_survives_every_death() {
    let folder = folder("whole");
    let book = Memory::default();
    let unique = format!("w{}", std::process::id());
    let desk = open(&folder, &book);
    let script = "mkdir sub; cat /pipeline/inputs/data.txt > sub/copy; ln -s /etc/passwd link; \
                  echo '{\"progress\":{\"value\":1,\"max\":2,\"label\":\"half\"}}' >> $ALIDADE_PROGRESS; echo line; \
                  while [ ! -e go ]; do sleep 0.01; done; rm go; grep count /pipeline/inputs/config.json >&2";
    send(&desk, "pack", "test.zip", &package(script));
    send(&desk, "input", "data.txt", b"data\n");
    assert_eq!(desk.packages(epoch()).unwrap()[0]["status"], "READY");
    assert_eq!(desk.files().unwrap()[0]["name"], "data.txt");
    for wrong in [
        json!({"count": 10}),
        json!({"file": "other"}),
        json!({"unknown": 1}),
        json!([]),
    ] {
        let refused = desk.begin("pack", &new(wrong.clone(), &["input"]), "x", epoch());
        assert!(matches!(refused, Err(DeskError::Config(_))), "{wrong}");
    }
    assert!(matches!(
        desk.begin("pack", &new(json!({}), &["none"]), "x", epoch()),
        Err(DeskError::NoFile(_))
    ));
    desk.begin("pack", &new(json!({"file": "data.txt"}), &["input"]), &unique, epoch())
        .unwrap();
    assert!(desk.remove_package("pack", epoch()).is_err() && desk.remove_file("input").is_err());
    // A death before it begins.
    drop(desk);
    let desk = open(&folder, &book);
    let run = until(&desk, &unique, |run| run.progress.value == 1.0);
    assert_eq!(
        (run.state, run.progress.label.as_str(), run.config["count"].as_i64()),
        (RunState::Running, "half", Some(2))
    );
    // A death while it runs; then a death while it finishes, before and after its outputs are renamed.
    drop(desk);
    let desk = open(&folder, &book);
    assert!(
        desk.output(&unique, "sub/copy").is_err(),
        "nothing is seen before the end"
    );
    fs::write(folder.join(format!("runs/{unique}/attempt/outputs/go")), "").unwrap();
    until(&desk, &unique, |run| run.state == RunState::Finishing);
    let finishing = book.0.lock().unwrap()[&unique].clone();
    drop(desk);
    let desk = open(&folder, &book);
    let done = until(&desk, &unique, PackageRun::is_over);
    assert_eq!(
        (done.state, done.outputs.len(), done.outputs[0].name.as_str()),
        (RunState::Done, 1, "sub/copy")
    );
    drop(desk);
    book.0.lock().unwrap().insert(unique.clone(), finishing);
    let desk = open(&folder, &book);
    assert_eq!(until(&desk, &unique, PackageRun::is_over).outputs, done.outputs);
    assert_eq!(
        fs::read_to_string(desk.output(&unique, "sub/copy").unwrap()).unwrap(),
        "data\n"
    );
    assert!(desk.output(&unique, "link").is_err());
    let log = desk.log_file(&unique, "out").unwrap();
    assert_eq!(fs::read_to_string(log).unwrap(), "line\n");
    desk.remove_run(&unique).unwrap();
    desk.remove_package("pack", epoch()).unwrap();
    desk.remove_file("input").unwrap();
    assert!(desk.runs().is_empty() && desk.files().unwrap().is_empty());
}

#[test]
fn a_run_is_paused_resumed_stopped_and_fails_with_its_last_words() {
    let folder = folder("signals");
    let desk = open(&folder, &Memory::default());
    let unique = |what: &str| format!("{what}{}", std::process::id());
    send(
        &desk,
        "pack",
        "test.zip",
        &package("echo up; while :; do sleep 0.01; done"),
    );
    send(&desk, "bad", "bad.zip", &package("echo no such catalogue >&2; exit 4"));
    let run = unique("s");
    desk.begin("pack", &new(json!({}), &[]), &run, epoch()).unwrap();
    until(&desk, &run, |run| run.state == RunState::Running);
    assert!(desk.signal(&run, Signal::Resume, epoch()).is_err());
    assert_eq!(
        desk.signal(&run, Signal::Pause, epoch()).unwrap().state,
        RunState::Paused
    );
    assert_eq!(
        desk.signal(&run, Signal::Resume, epoch()).unwrap().state,
        RunState::Running
    );
    desk.signal(&run, Signal::Pause, epoch()).unwrap();
    desk.signal(&run, Signal::Stop, epoch().plus_seconds(-100.0)).unwrap();
    assert_eq!(until(&desk, &run, PackageRun::is_over).state, RunState::Canceled);
    assert!(desk.signal(&run, Signal::Stop, epoch()).is_err());
    let run = unique("f");
    desk.begin("bad", &new(json!({}), &[]), &run, epoch()).unwrap();
    let failed = until(&desk, &run, PackageRun::is_over);
    assert_eq!(
        (failed.state, failed.cause.as_str()),
        (RunState::Failed, "exit status 4: no such catalogue")
    );
    let run = unique("w");
    desk.begin("bad", &new(json!({}), &[]), &run, epoch()).unwrap();
    assert_eq!(
        desk.signal(&run, Signal::Stop, epoch()).unwrap().state,
        RunState::Canceled
    );
}
