//! `alidade pipeline` as its users call it, on both databases, and killed at random while it runs.

use crate::support::{
    command::{Folder, Said, alidade, said},
    http,
    observatory::Observatory,
    postgres::Postgres,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// One user's plugins, work folder and database.
struct Bench {
    folder: Folder,
    url: String,
}

impl Bench {
    fn new(name: &str, url: Option<String>) -> Self {
        let folder = Folder::new(name);
        let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("runs.sqlite").display()));
        Self { folder, url }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn command(&self, plugins: &Path, words: &[&str]) -> Command {
        let mut command = alidade();
        command
            .args(["pipeline", "--db", &self.url, "--plugins"])
            .arg(plugins)
            .arg("--work")
            .arg(self.work())
            .args(words);
        command
    }

    fn say(&self, plugins: &Path, words: &[&str]) -> Said {
        said(self.command(plugins, words).output().unwrap())
    }

    fn json(&self, plugins: &Path, words: &[&str]) -> Value {
        let answer = self.say(plugins, &[words, &["--json"]].concat());
        serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", answer.stdout, answer.stderr))
    }

    /// Every file below the folder, with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(self.folder.path(), &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pipelines")
}

/// A plugin of a loop over sixteen items with three tasks each, one task before and one after: fifty attempts. Item 7 fails.
fn fifty(folder: &Path) -> PathBuf {
    let plugins = folder.join("plugins");
    let plugin = plugins.join("fifty");
    fs::create_dir_all(plugin.join("bin")).unwrap();
    let release = json!({ "version": "1.0.0", "date": "2026-01-15", "author": "A", "contact": "a@example.org", "institute": "", "modification": "First" });
    let task = |name: &str, outputs: Value| json!({ "name": name, "category": "Software execution", "description": name, "inputs": {}, "outputs": outputs });
    let mut dataset_release = release.clone();
    dataset_release["version"] = json!("01");
    let output = |id: &str| json!({ "out": { "identifier": id, "name": id, "description": id, "level": "L1", "release": dataset_release, "file_name": "out.txt" } });
    let descriptor = json!({
        "identification": { "project": "ROC", "name": "Fifty", "identifier": "FIFTY", "description": "Fifty attempts" },
        "release": release,
        "tasks": [task("first", json!({})), task("cut", output("FIFTY_CUT")), task("fold", output("FIFTY_FOLD")), task("bind", output("FIFTY_BIND")), task("last", output("FIFTY_LAST"))],
    });
    let numbers: Vec<u32> = (1..=16).collect();
    let property = json!({ "property": { "numbers": numbers } }).to_string();
    let step = |name: &str| json!({ "command": ["./bin/step", name, "{item}"], "retries": 0 });
    let shape = json!({
        "tasks": {
            "first": { "command": ["sh", "-c", format!("echo '{property}' >> \"$ALIDADE_PROGRESS\"")] },
            "cut": step("cut"), "fold": step("fold"), "bind": step("bind"),
            "last": { "command": ["sh", "-c", "echo end > \"$ALIDADE_OUTPUTS/out.txt\""] },
        },
        "pipelines": [{
            "name": "fifty", "title": "Fifty", "description": "Fifty attempts", "short_name": "fifty",
            "chains": ["first | cut | fold | bind | last"],
            "loops": [{ "name": "number", "start": "cut", "end": "bind", "over": { "property": "numbers" } }],
        }],
    });
    fs::write(plugin.join("descriptor.json"), descriptor.to_string()).unwrap();
    fs::write(plugin.join("plugin.json"), shape.to_string()).unwrap();
    let program = plugin.join("bin/step");
    fs::write(
        &program,
        "#!/bin/sh\nset -eu\n[ \"$1 $2\" != \"fold 7\" ] || exit 1\necho \"$1 $2\" > \"$ALIDADE_OUTPUTS/out.txt\"\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    plugins
}

#[test]
fn a_plugin_is_validated_run_looked_at_and_migrated_on_both_databases() {
    let server = Postgres::shared();
    for (name, url) in [("pipe-sqlite", None), ("pipe-postgres", Some(server.database()))] {
        let (bench, plugins) = (Bench::new(name, url), examples());
        assert_eq!(bench.say(&plugins, &["validate"]).code, 0);
        let run = bench.say(&plugins, &["run", "measures"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let runs = bench.json(&plugins, &["status"]);
        let id = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(
            (&runs["runs"][0]["state"], &runs["runs"][0]["properties"]["number"]),
            (&json!("done"), &json!(3))
        );
        let shown = bench.json(&plugins, &["show", &id]);
        let text = shown.to_string();
        for word in ["EXAMPLE_L1_MEASURE", "EXAMPLE_L2_TABLE", "join"] {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let log = bench.say(&plugins, &["log", &id]).stdout;
        assert!(log.contains("measuring 2"), "{log}");
        assert!(bench.say(&plugins, &["explain", &id]).code == 0);
        // What has been made already is not made again, when that is wished.
        let again = bench.say(&plugins, &["run", "measures", "--reuse"]);
        assert_eq!(again.code, 0, "{}", again.stderr);
        for revision in ["upgrade", "downgrade", "upgrade"] {
            let moved = bench.say(&plugins, &["migrate", revision, "EXAMPLE"]);
            assert_eq!(moved.code, 0, "{revision}: {}", moved.stderr);
        }
        let status = bench.say(&plugins, &["migrate", "status"]).stdout;
        assert!(status.contains("EXAMPLE: 002"), "{status}");
        for how in ["registered", "was registered already"] {
            let told = bench.say(&plugins, &["register"]);
            assert!(
                told.code == 0 && told.stdout.contains(&format!("plugin EXAMPLE 1.0.0: {how}")),
                "{}",
                told.stdout
            );
        }
        let report = bench.say(&plugins, &["report"]);
        assert!(
            report.code == 0 && report.stdout.contains("measures"),
            "{}",
            report.stdout
        );
        assert_eq!(bench.say(&plugins, &["EXAMPLE", "who", "--author"]).code, 0);
        assert_eq!(
            bench
                .say(&plugins, &["EXAMPLE", "who", "--author", "--description"])
                .code,
            2,
            "exclusive"
        );
        assert_eq!(bench.say(&plugins, &["EXAMPLE", "nobody"]).code, 2);
        let unknown = bench.say(&plugins, &["run", "nothing"]);
        assert!(
            unknown.code == 2 && unknown.stderr.contains("there is no pipeline"),
            "{}",
            unknown.stderr
        );
    }
}

#[test]
fn a_dry_run_leaves_database_and_folders_byte_for_byte_wherever_the_flag_stands() {
    let (bench, plugins) = (Bench::new("pipe-dry", None), examples());
    assert_eq!(bench.say(&plugins, &["run", "measures"]).code, 0);
    let before = bench.files();
    for words in [
        &["--dry-run", "run", "measures"][..],
        &["run", "--dry-run", "measures"],
        &["run", "measures", "--dry-run"],
        &["EXAMPLE", "go", "--dry-run"],
        &["register", "--dry-run"],
        &["migrate", "upgrade", "EXAMPLE", "--dry-run"],
    ] {
        let told = bench.say(&plugins, words);
        assert_eq!(told.code, 0, "{words:?}: {}", told.stderr);
        let after = bench.files();
        assert!(
            after == before,
            "{words:?} has changed something: {:?}",
            changed(&before, &after)
        );
    }
}

fn changed(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    before.keys().chain(after.keys()).filter(differs).cloned().collect()
}

#[test]
fn a_descriptor_with_faults_is_refused_with_all_of_them_at_once() {
    let bench = Bench::new("pipe-faults", None);
    let plugins = fifty(bench.folder.path());
    let path = plugins.join("fifty/descriptor.json");
    let mut descriptor: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    descriptor["release"]["date"] = json!("yesterday");
    descriptor["tasks"][1]["outputs"]["out"]["level"] = json!("L9");
    fs::write(&path, descriptor.to_string()).unwrap();
    let told = bench.say(&plugins, &["validate"]);
    let text = format!("{}{}", told.stdout, told.stderr);
    assert_eq!(told.code, 2, "{text}");
    for part in ["/release/date", "/tasks/1/outputs/out/level", "descriptor.json"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // What is well formed is held against the others.
    descriptor["release"]["date"] = json!("2026-01-15");
    descriptor["tasks"][1]["outputs"]["out"]["level"] = json!("L1");
    descriptor["tasks"][2]["inputs"] = json!({ "gone": { "identifier": "NOBODY_MAKES_IT", "version": "01" } });
    fs::write(&path, descriptor.to_string()).unwrap();
    let told = bench.say(&plugins, &["validate"]);
    let text = format!("{}{}", told.stdout, told.stderr);
    assert!(
        told.code == 2 && text.contains("NOBODY_MAKES_IT"),
        "{} {text}",
        told.code
    );
}

#[test]
fn a_command_runs_by_the_executor_that_its_plugin_names_and_an_unknown_one_is_refused_beforehand() {
    let bench = Bench::new("pipe-executor", None);
    let plugins = fifty(bench.folder.path());
    let path = plugins.join("fifty/plugin.json");
    let mut shape: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let places = "pwd; echo made > out.txt";
    shape["tasks"]["last"] = json!({ "command": ["sh", "-c", places], "executor": "bubblewrap" });
    fs::write(&path, shape.to_string()).unwrap();
    let run = bench.say(&plugins, &["run", "fifty", "--start", "last"]);
    assert!(
        run.code == 0 && run.stdout.contains("/pipeline/outputs"),
        "{} {}",
        run.stdout,
        run.stderr
    );
    shape["tasks"]["last"]["executor"] = json!("transputer");
    fs::write(&path, shape.to_string()).unwrap();
    let run = bench.say(&plugins, &["run", "fifty", "--start", "last"]);
    assert!(
        run.code == 2 && run.stderr.contains("transputer") && run.stderr.contains("bubblewrap"),
        "{}",
        run.stderr
    );
    let runs = bench.json(&plugins, &["status"]);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "nothing was begun: {runs}");
}

#[test]
fn a_run_asked_for_over_http_is_followed_line_by_line_to_its_end() {
    let mut observatory = Observatory::new("pipe-http");
    observatory.with_pipelines();
    let gateway = observatory.serve_anywhere();
    let addr = gateway.addr;

    assert!(http::get(addr, "/api/v1/pipelines").text().contains("measures"));
    let unknown = http::post(addr, "/api/v1/runs", r#"{"pipeline": "nothing"}"#);
    assert!(unknown.status == 400 && unknown.text().contains("there is no pipeline"));
    let foreign = r#"{"pipeline": "summary", "target": "M31", "inputs": ["/etc/hostname"]}"#;
    assert_eq!(http::post(addr, "/api/v1/runs", foreign).status, 404);
    let begun = http::post(addr, "/api/v1/runs", r#"{"pipeline": "measures", "target": "M31"}"#);
    assert_eq!(begun.status, 202, "{}", begun.text());
    let at = begun.header("location").unwrap();
    // The stream ends with the run.
    let told = http::get(addr, &format!("{at}/log/stream")).text();
    for part in ["measuring 1", "measuring 3", "event: end", r#""status":"created""#] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let lines = http::get(addr, &format!("{at}/log?from=1&limit=2")).json();
    assert_eq!(
        (&lines["lines"][0]["line"], &lines["next_from"]),
        (&json!(2), &json!(3))
    );
    let shown = http::get(addr, at).json();
    let id = at.rsplit('/').next().unwrap();
    assert!(id.starts_with("meas_M31_"), "{id}");
    assert_eq!(shown["run"]["product_group"], format!("{id}_outputs"));
    let products = shown["products"].as_array().unwrap();
    assert_eq!(products.len(), 4);
    let named = |product: &Value| product["label"].as_str().unwrap().starts_with(id);
    assert!(products.iter().all(named), "{products:?}");
    assert_eq!(
        http::post(addr, &format!("{at}/cancel"), "{}").status,
        409,
        "it is over"
    );
}

/// The products of a run by task and content.
fn products(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let mut made: Vec<(String, Vec<u8>)> = bench
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(bench.work().join("products")))
        .map(|(path, content)| {
            (
                path.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                content,
            )
        })
        .collect();
    made.sort();
    made
}

/// Commits of each task, from the rows of its attempts: a task's key with its state and status.
fn rows(bench: &Bench, plugins: &Path, id: &str) -> Vec<(String, String, String)> {
    let shown = bench.json(plugins, &["show", id]);
    let attempts = shown["attempts"].as_array().unwrap_or_else(|| panic!("{shown}"));
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = attempts
        .iter()
        .map(|row| {
            (
                format!("{}.{}", word(row, "task"), row["item"]),
                word(row, "state"),
                word(row, "status"),
            )
        })
        .collect();
    all.sort();
    all
}

/// Forty deaths by default; `ALIDADE_KILLS` asks for more.
#[test]
fn killed_at_random_a_run_ends_as_if_it_had_not_been() {
    let kills: u64 = std::env::var("ALIDADE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(40);
    let whole = Bench::new("pipe-whole", None);
    let plugins = fifty(whole.folder.path());
    let told = whole.say(&plugins, &["run", "fifty"]);
    assert_eq!(
        told.code, 1,
        "an item of the loop failed, and a run with a failed task never ends with 0: {}",
        told.stderr
    );
    let expected = products(&whole);
    assert!(expected.len() >= 45, "{}", expected.len());

    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let (mut died, mut round) = (0, 0);
    while died < kills {
        round += 1;
        let bench = Bench::new(&format!("pipe-kill-{round}"), None);
        let mut words = vec!["run", "fifty"];
        loop {
            let mut child = bench
                .command(&plugins, &words)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Where in the run it dies is left to chance; that it dies, and how often, is not.
            let moment = Duration::from_millis(20 + random(400));
            std::thread::park_timeout(moment);
            let over = child.try_wait().unwrap().is_some();
            if over || died >= kills {
                child.wait().unwrap();
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            died += 1;
            // No command but to run again: it goes on with what it finds.
            words = vec!["resume"];
            let begun = bench.say(&plugins, &["status", "--json"]);
            let begun = serde_json::from_str::<Value>(&begun.stdout)
                .is_ok_and(|s| s["runs"].as_array().is_some_and(|r| !r.is_empty()));
            if !begun {
                words = vec!["run", "fifty"];
            }
        }
        let finished = bench.say(&plugins, &["resume"]);
        assert!(finished.code <= 1, "{}", finished.stderr);
        let runs = bench.json(&plugins, &["status"]);
        let runs = runs["runs"].as_array().unwrap().clone();
        assert_eq!(runs.len(), 1, "one run, however often it died: {runs:?}");
        let id = runs[0]["id"].as_str().unwrap();
        assert!(runs[0]["ended"].is_string(), "{}", runs[0]);
        assert_eq!(products(&bench), expected, "after {died} deaths");
        let rows = rows(&bench, &plugins, id);
        assert!(
            rows.iter()
                .all(|(_, state, _)| state.eq_ignore_ascii_case("terminated")),
            "{rows:?}"
        );
        let good: Vec<_> = rows
            .iter()
            .filter(|(_, _, status)| status.eq_ignore_ascii_case("ok"))
            .map(|(task, ..)| task)
            .collect();
        let mut once = good.clone();
        once.dedup();
        assert_eq!(good.len(), once.len(), "committed twice: {rows:?}");
    }
    println!("counted: {died} deaths in {round} runs");
}

#[test]
fn where_a_product_comes_from_is_told_in_prov_that_others_read() {
    let (bench, plugins) = (Bench::new("pipe-prov", None), examples());
    assert_eq!(bench.say(&plugins, &["run", "measures"]).code, 0);
    let runs = bench.json(&plugins, &["status"]);
    let shown = bench.json(&plugins, &["show", runs["runs"][0]["id"].as_str().unwrap()]);
    let targets = shown["targets"].as_array().unwrap();
    let table = targets
        .iter()
        .find(|t| t["role"] == "out" && t["name"] == "table")
        .unwrap();
    let product = table["label"].as_str().unwrap();
    let told = bench.say(&plugins, &["provenance", product]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let file = bench.folder.path().join("prov.json");
    fs::write(&file, &told.stdout).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let judge = "import sys, prov.model; d = prov.model.ProvDocument.deserialize(sys.argv[1]); \
                 print(len(list(d.get_records(prov.model.ProvEntity))), len(list(d.get_records(prov.model.ProvActivity))))";
    let judged = Command::new(target.join("peers/bin/python3"))
        .args(["-c", judge])
        .arg(&file)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    let counts = String::from_utf8_lossy(&judged.stdout);
    assert!(
        counts.split_whitespace().all(|n| n.parse::<u32>().unwrap() > 0),
        "{counts}"
    );
}
