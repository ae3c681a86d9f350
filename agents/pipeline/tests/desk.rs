//! The desk: a run from its form to its committed outputs, through deaths of the daemon.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::{states::RunState, time::UtcTime};
use alidade_pipeline::{
    executors::{BubblewrapExecutor, ProcessExecutor, Signal},
    packages::{Asker, Desk, DeskError, DeskSettings, NewRun, PackageRun, RunBook},
    upload::{UploadError, UploadKind},
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
    send_as(desk, None, id, name, content);
}

fn send_as(desk: &Desk, owner: Option<&str>, id: &str, name: &str, content: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let meta = format!("filename {}", STANDARD.encode(name));
    let upload = desk
        .uploads
        .create_for(
            owner.map(Into::into),
            id,
            Some(content.len() as u64),
            &meta,
            UploadKind::Whole,
            epoch(),
        )
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
        executor: None,
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
    assert_eq!(desk.files(&Asker::default()).unwrap()[0]["name"], "data.txt");
    for wrong in [
        json!({"count": 10}),
        json!({"file": "other"}),
        json!({"unknown": 1}),
        json!([]),
    ] {
        let refused = desk.begin("pack", &new(wrong.clone(), &["input"]), &Asker::default(), "x", epoch());
        assert!(matches!(refused, Err(DeskError::Config(_))), "{wrong}");
    }
    assert!(matches!(
        desk.begin("pack", &new(json!({}), &["none"]), &Asker::default(), "x", epoch()),
        Err(DeskError::NoFile(_))
    ));
    desk.begin(
        "pack",
        &new(json!({"file": "data.txt"}), &["input"]),
        &Asker::default(),
        &unique,
        epoch(),
    )
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
    assert!(desk.runs().is_empty() && desk.files(&Asker::default()).unwrap().is_empty());
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
    desk.begin("pack", &new(json!({}), &[]), &Asker::default(), &run, epoch())
        .unwrap();
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
    desk.begin("bad", &new(json!({}), &[]), &Asker::default(), &run, epoch())
        .unwrap();
    let failed = until(&desk, &run, PackageRun::is_over);
    assert_eq!(
        (failed.state, failed.cause.as_str()),
        (RunState::Failed, "exit status 4: no such catalogue")
    );
    // Between its turn and its start.
    let run = unique("i");
    desk.begin("pack", &new(json!({}), &[]), &Asker::default(), &run, epoch())
        .unwrap();
    desk.tick(epoch());
    assert_eq!(desk.run(&run).unwrap().state, RunState::Initializing);
    desk.signal(&run, Signal::Stop, epoch()).unwrap();
    let ended = until(&desk, &run, PackageRun::is_over);
    assert_eq!((ended.state, ended.start), (RunState::Canceled, None));
    let run = unique("w");
    desk.begin("bad", &new(json!({}), &[]), &Asker::default(), &run, epoch())
        .unwrap();
    assert_eq!(
        desk.signal(&run, Signal::Stop, epoch()).unwrap().state,
        RunState::Canceled
    );
}

fn own(account: &str) -> Asker {
    Asker {
        account: Some(account.into()),
        only_own: true,
    }
}

#[test]
fn uploads_files_and_runs_belong_to_the_account_that_made_them() {
    let folder = folder("owners");
    let book = Memory::default();
    let desk = open(&folder, &book);
    let (ada, bob, all) = (own("ada"), own("bob"), Asker::default());
    send(
        &desk,
        "pack",
        "test.zip",
        &package("cat /pipeline/inputs/data.txt > copy"),
    );
    send_as(&desk, Some("ada"), "input", "data.txt", b"data\n");
    desk.uploads
        .create_for(Some("ada".into()), "half", Some(9), "", UploadKind::Partial, epoch())
        .unwrap();
    for (asker, sees) in [(&ada, true), (&bob, false), (&all, true)] {
        assert_eq!(desk.files(asker).unwrap().len(), usize::from(sees));
        for id in ["half", "input"] {
            assert_eq!(desk.allow(id, asker).is_ok(), sees, "{id}");
        }
        assert!(desk.allow("pack", asker).is_ok(), "packages are everybody's");
    }
    let stolen = desk.uploads.create_for(
        Some("bob".into()),
        "whole",
        None,
        "",
        UploadKind::Final(vec!["half".into()]),
        epoch(),
    );
    assert!(matches!(stolen, Err(UploadError::Unknown)), "{stolen:?}");
    let wish = new(json!({"file": "data.txt"}), &["input"]);
    assert!(matches!(
        desk.begin("pack", &wish, &bob, "x", epoch()),
        Err(DeskError::NoFile(_))
    ));
    let unique = format!("o{}", std::process::id());
    let run = desk.begin("pack", &wish, &ada, &unique, epoch()).unwrap();
    assert_eq!(
        (run.owner.as_deref(), &run.public()["owner"]),
        (Some("ada"), &json!("ada"))
    );
    drop(desk);
    // Whose it is survives a death.
    let desk = open(&folder, &book);
    assert!(desk.allow_run(&unique, &ada).is_ok() && desk.allow_run(&unique, &all).is_ok());
    assert!(matches!(desk.allow_run(&unique, &bob), Err(DeskError::NoRun(_))));
    assert_eq!(until(&desk, &unique, PackageRun::is_over).state, RunState::Done);
    desk.remove_file("input").unwrap();
    send(&desk, "input", "data.txt", b"data\n");
    assert!(desk.allow("input", &ada).is_err(), "what it was once does not count");
}

#[test]
fn a_run_is_carried_by_the_executor_that_was_asked_for_if_the_desk_offers_it() {
    let folder = folder("choice");
    let desk = open(&folder, &Memory::default()).with_executor(Box::new(ProcessExecutor));
    assert_eq!(desk.executor_names(), ["bubblewrap", "process"]);
    // The sandbox shows its own places; a plain process sees the folder as it is.
    let script = "pwd; cat \"$PIRUS_CONFIG_FILE\" > config";
    send(&desk, "pack", "test.zip", &package(script));
    let begin = |id: &str, executor: Option<&str>| {
        let mut wish = new(json!({}), &[]);
        wish.executor = executor.map(Into::into);
        desk.begin("pack", &wish, &Asker::default(), id, epoch())
    };
    let refused = begin("x", Some("slurm")).unwrap_err().to_string();
    assert!(refused.contains("bubblewrap, process"), "{refused}");
    for (executor, named, place) in [
        (None, "bubblewrap", "/pipeline/outputs"),
        (Some("process"), "process", "attempt/outputs"),
    ] {
        let id = format!("c{named}{}", std::process::id());
        assert_eq!(begin(&id, executor).unwrap().executor, named);
        let done = until(&desk, &id, PackageRun::is_over);
        assert_eq!((done.state, done.cause.as_str()), (RunState::Done, "1 outputs"));
        let log = fs::read_to_string(desk.log_file(&id, "out").unwrap()).unwrap();
        assert!(log.trim_end().ends_with(place), "{log}");
        let config = fs::read_to_string(desk.output(&id, "config").unwrap()).unwrap();
        assert!(config.contains("\"count\": 2"), "{config}");
    }
}
