//! Units that real pipelines process, stations that wait for room, and what the observatory's journal hears of it.

use crate::support::command::{Folder, Said, alidade, say};
use alidade::{
    daemon::delivery::{Moved, Opened, StationFile, run},
    processing::Workshop,
    store::Durability,
};
use alidade_delivery::launcher::{Launch, launch};
use alidade_model::{journal::Fact, states::UnitState};
use alidade_pipeline::port::{RunFilter, RunRecord};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

/// A station with the pipelines of a folder, worked at by commands.
struct Bench {
    folder: Folder,
    file: String,
}

impl Bench {
    fn new(name: &str, plugins: &Path, more: &str) -> Self {
        let folder = Folder::new(name);
        let file = folder.join("station.toml");
        let text = format!(
            "site = \"OHP\"\nfolder = \"{}\"\n{more}\n[pipelines]\nplugins = \"{}\"\n",
            folder.join("ohp"),
            plugins.display()
        );
        fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    fn say(&self, words: &[&str]) -> Said {
        say(&[&["data"], words, &["--station", &self.file]].concat())
    }

    fn good(&self, words: &[&str]) -> String {
        let said = self.say(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.stderr);
        said.stdout
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[words, &["--json"]].concat())).unwrap()
    }

    fn state(&self, unit: &str) -> String {
        self.json(&["status", unit])["unit"]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What the engine has run here.
    fn runs(&self) -> Vec<RunRecord> {
        let shop = Workshop {
            url: format!("sqlite:{}", self.folder.path().join("ohp/station.sqlite").display()),
            plugins: PathBuf::new(),
            root: self.folder.path().join("ohp/pipelines"),
            durability: Durability::Relaxed,
            dry_run: false,
        };
        let filter = RunFilter {
            limit: 100,
            ..RunFilter::default()
        };
        shop.reading().unwrap().runs(&filter).unwrap()
    }

    fn cached(&self) -> Vec<String> {
        alidade_delivery::manifest::files_below(&self.folder.path().join("ohp/cache")).unwrap()
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pipelines")
}

/// A plugin of one task, which is a shell's line.
fn plugin(folder: &Path, line: &str) -> PathBuf {
    let plugin = folder.join("one");
    fs::create_dir_all(&plugin).unwrap();
    let release = json!({ "version": "1.0.0", "date": "2026-01-15", "author": "A", "contact": "a@example.org", "institute": "", "modification": "First" });
    let mut dataset = release.clone();
    dataset["version"] = json!("01");
    let output = json!({ "out": { "identifier": "ONE_OUT", "name": "out", "description": "out", "level": "L1", "release": dataset, "file_name": "out.txt" } });
    let descriptor = json!({
        "identification": { "project": "ROC", "name": "One", "identifier": "ONE", "description": "One task" },
        "release": release,
        "tasks": [{ "name": "reduce", "category": "Software execution", "description": "", "inputs": {}, "outputs": output }],
    });
    let shape = json!({
        "tasks": { "reduce": { "command": ["sh", "-c", line] } },
        "pipelines": [{ "name": "one", "title": "One", "description": "One task", "short_name": "one", "chains": ["reduce"] }],
    });
    fs::write(plugin.join("descriptor.json"), descriptor.to_string()).unwrap();
    fs::write(plugin.join("plugin.json"), shape.to_string()).unwrap();
    folder.to_owned()
}

const UNIT: &str = "uid://X1/X1/Xb2";

#[test]
fn a_registered_pipeline_processes_a_unit_and_its_products_are_delivered_with_report_and_weblog() {
    let bench = Bench::new("recipe", &examples(), "");
    bench.good(&["launch", "P1", UNIT, "measures", "OHP"]);
    assert_eq!(bench.state(UNIT), "ReadyForReview");
    let cached = bench.cached();
    let has = |part: &str| cached.iter().filter(|path| path.contains(part)).count();
    assert_eq!((has("-measure.txt"), has("pl-report-")), (3, 1), "{cached:#?}");
    assert_eq!(has("/task-measure.html"), 1, "the weblog is unpacked: {cached:#?}");
    let report = bench.good(&["report", UNIT]);
    for part in [
        "<Products>4</Products>",
        "<join Score=\"1.000\"/>",
        "<FinalScore>1.000</FinalScore>",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    let page = cached.iter().find(|path| path.ends_with("task-measure.html")).unwrap();
    let page = fs::read_to_string(bench.folder.path().join("ohp/cache").join(page)).unwrap();
    assert!(page.contains("measuring 3"), "{page}");
    let runs = bench.runs();
    let ous = &runs[0].properties["ous"];
    assert_eq!((&ous["unit"], &ous["program"]), (&json!(UNIT), &json!("P1")));
    bench.good(&["review", UNIT, "--pass", "--reviewer", "ada"]);
    let tracked = bench.json(&["track"]);
    assert_eq!(
        (&tracked[0]["state"], &tracked[0]["verified_here"]),
        (&json!("Delivered"), &json!(4))
    );
    // With data to start from.
    let frame = bench.folder.join("frame.txt");
    fs::write(&frame, "abc\n").unwrap();
    bench.good(&["launch", "P1", "u2", "summary", "OHP", "--input", &frame]);
    assert_eq!(bench.state("u2"), "ReadyForReview");
    bench.good(&["launch", "P1", "u3", "summary", "OHP"]);
    let standing = bench.good(&["status", "u3"]);
    assert!(
        standing.contains("ProcessingProblem") && standing.contains("No input files to process"),
        "{standing}"
    );
    let unknown = bench.say(&["launch", "P1", "u4", "nothing", "OHP"]);
    assert_eq!(unknown.code, 0, "the unit is there: {}", unknown.stderr);
    assert_eq!(bench.state("u4"), "ReadyForProcessing");
    assert!(bench.good(&["log"]).contains("there is no recipe nothing"));
}

#[test]
fn a_task_that_fails_makes_a_processing_problem_with_its_message_and_is_queued_again_when_mended() {
    let plugins = Folder::new("recipe-plugins");
    plugin(plugins.path(), "echo 'the flat field is too dark' >&2; exit 3");
    let bench = Bench::new("recipe-fails", plugins.path(), "");
    bench.good(&["launch", "P1", UNIT, "one", "OHP"]);
    let history = bench.good(&["history", UNIT]);
    let last = history.lines().last().unwrap();
    assert!(
        last.contains("ProcessingProblem") && last.contains("the flat field is too dark"),
        "{history}"
    );
    assert!(bench.cached().is_empty(), "a failed run leaves nothing in the cache");
    plugin(plugins.path(), "echo fine > \"$ALIDADE_OUTPUTS/out.txt\"");
    bench.good(&["requeue", UNIT]);
    assert_eq!(bench.state(UNIT), "ReadyForReview");
    let runs: Vec<String> = bench.runs().iter().map(|run| run.state.to_string()).collect();
    assert_eq!(runs, ["done", "failed"]);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if done() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("{what} did not happen within a minute");
}

#[test]
fn a_station_that_is_killed_in_the_middle_of_a_pipeline_goes_on_with_the_same_run() {
    let plugins = Folder::new("recipe-killed-plugins");
    let mark = plugins.join("mark");
    // The first attempt never ends by itself.
    let line = format!(
        "echo begun >> {mark}; [ $(wc -l < {mark}) -gt 1 ] || exec sleep 600; cp {mark} \"$ALIDADE_OUTPUTS/out.txt\""
    );
    plugin(plugins.path(), &line);
    let bench = Bench::new("recipe-killed", plugins.path(), "");
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let serving = alidade()
        .args(["data", "serve", "--station", &bench.file])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let serving = Killed(serving.unwrap());
    until("the station", || bench.folder.path().join("ohp/bells").exists());
    bench.good(&["launch", "P1", UNIT, "one", "OHP"]);
    until("the first attempt", || Path::new(&mark).exists());
    drop(serving);
    bench.good(&["replicate"]);
    assert_eq!(bench.state(UNIT), "ReadyForReview", "{}", bench.good(&["log"]));
    assert_eq!(
        bench.runs().len(),
        1,
        "one run of the engine, of which the second attempt has ended well"
    );
    let made = bench
        .cached()
        .into_iter()
        .find(|path| path.ends_with("out.txt"))
        .unwrap();
    let made = fs::read_to_string(bench.folder.path().join("ohp/cache").join(made)).unwrap();
    assert_eq!(made, "begun\nbegun\n");
}

#[test]
fn a_unit_waits_for_room_and_says_so_and_the_scrubber_is_paused_by_command() {
    let bench = Bench::new("recipe-room", &examples(), "keep_free_mb = 1000000000000");
    bench.good(&["launch", "P1", UNIT, "measures", "OHP"]);
    let standing = bench.good(&["status", UNIT]);
    assert!(
        standing.contains("Processing") && standing.contains("waits for room"),
        "{standing}"
    );
    let text = fs::read_to_string(&bench.file).unwrap();
    fs::write(&bench.file, text.replace("1000000000000", "1")).unwrap();
    bench.good(&["replicate"]);
    let standing = bench.good(&["status", UNIT]);
    assert!(
        standing.contains("ReadyForReview") && !standing.contains("waits"),
        "{standing}"
    );
    let paused = bench.json(&["scrubber", "pause"]);
    assert_eq!(paused["scrubber"], json!("paused"));
    assert!(bench.good(&["log"]).contains("scrubber: paused"));
    assert_eq!(bench.json(&["scrubber", "resume"])["scrubber"], json!("reading"));
    let nowhere = bench.say(&["scrubber", "pause", "--site", "MARS"]);
    assert!(
        nowhere.code == 1 && nowhere.stderr.contains("no site MARS"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn moves_of_units_reach_the_journal_once_each_and_again_when_nobody_kept_them() {
    let folder = Folder::new("recipe-journal");
    let file: StationFile = toml::from_str(&format!("site = \"OHP\"\nfolder = \"{}\"\n", folder.join("ohp"))).unwrap();
    let mut opened = Opened::open(file, folder.path(), Durability::Relaxed).unwrap();
    opened.station.journal = true;
    let mut ledger = opened.ledger().unwrap();
    let wish = Launch {
        program: "P1".into(),
        unit: UNIT.into(),
        recipe: Some("NoOp".into()),
        executive: Some("OHP".into()),
        inputs: Vec::new(),
    };
    let launched = opened
        .station
        .at_desk(ledger.as_mut(), |desk| launch(desk, &wish, "test", None));
    launched.unwrap();
    let heard = |keep: bool, wanted: usize| -> Vec<(Option<UnitState>, UnitState)> {
        let (journal, mut moves) = tokio::sync::mpsc::unbounded_channel::<Moved>();
        let running = run(&opened, Some(journal)).unwrap();
        let mut heard = Vec::new();
        until("every move", || {
            while let Ok(moved) = moves.try_recv() {
                for fact in moved.facts {
                    let Fact::UnitMoved { from, to, unit, .. } = &fact else {
                        panic!("{fact:?}")
                    };
                    assert_eq!(unit, UNIT);
                    heard.push((*from, *to));
                }
                if keep {
                    moved.kept.send(()).unwrap();
                }
            }
            heard.len() >= wanted
        });
        drop(running);
        heard
    };
    let first = heard(false, 1);
    assert_eq!(first[0], (None, UnitState::ReadyForProcessing));
    let all = heard(true, 3);
    let expected = [
        (None, UnitState::ReadyForProcessing),
        (Some(UnitState::ReadyForProcessing), UnitState::Processing),
        (Some(UnitState::Processing), UnitState::ReadyForReview),
    ];
    assert_eq!(all, expected);
}
