//! The command line as a client of the interface: every command either asks the daemon that `--server` names, or says that
//! it cannot and what to do instead, or has no daemon to ask.

use crate::support::{
    command::{Folder, Said, alidade, said},
    http::send,
    observatory::{Observatory, at},
};
use alidade::{
    cli::Cli,
    gateway::command::GatewayCommand,
    store::{Durability, OpenOptions, Store},
};
use alidade_model::{
    journal::{Entry, Fact},
    request::{Constraints, Origin, Request, Sequence, Target, Timing},
    schedule::{Schedule, Unplaced},
};
use clap::CommandFactory;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, net::SocketAddr};

/// What these do has nothing to do with a running daemon: the parser refuses `--server`.
const LOCAL: &[&str] = &[
    "alert broker",
    "alert decide",
    "alert listen",
    "alert read",
    "alert send",
    "alert strategy check",
    "alert tail",
    "check",
    "db migrate",
    "db revert",
    "db status",
    "doctor",
    "ephemeris",
    "guard",
    "replay",
    "run",
    "simulate",
    "simulate-devices",
];

/// These belong to the daemon's own machine: refused, with what to do instead.
const ONLY_HERE: &[&[&str]] = &[
    &[
        "user",
        "add",
        "eve",
        "--name",
        "Eve",
        "--email",
        "eve@irap.example",
        "--institute",
        "IRAP",
    ],
    &["user", "token", "issue", "root", "robot", "--scope", "read"],
    &["pipeline", "validate"],
    &["pipeline", "register"],
    &["pipeline", "resume"],
    &["pipeline", "explain", "r1"],
    &["pipeline", "provenance", "p1"],
    &["pipeline", "report"],
    &["pipeline", "migrate", "status"],
    &["pipeline", "migrate", "set", "p", "1"],
    &["pipeline", "migrate", "upgrade", "p"],
    &["pipeline", "migrate", "downgrade", "p"],
    &["data", "launch", "P1", "u1"],
    &["data", "requeue", "u1"],
    &["data", "replicate"],
    &["data", "scrubber", "pause"],
    &["data", "ingest", "u1"],
    &["data", "xtss", "get-state", "u1"],
    &["data", "send", "a", "1"],
    &["data", "messages"],
    &["data", "join", "g", "m"],
    &["data", "leave", "g", "m"],
    &["data", "bag", "u1", "folder"],
    &["data", "serve"],
    &["data", "clear-all"],
    &["schedule", "instance.json"],
];

struct House {
    observatory: Observatory,
    gateway: alidade::gateway::http::HttpHandle,
    folder: Folder,
    token: String,
}

fn sequence() -> Sequence {
    Sequence {
        id: "r1-1".into(),
        request: "r1".into(),
        user: "ada".into(),
        target: Target {
            name: "M 51".into(),
            ra_deg: 202.47,
            dec_deg: 47.2,
        },
        priority: 5.0,
        window: None,
        t_prefered: None,
        constraints: Constraints::default(),
        timing: Timing::default(),
        albums: Vec::new(),
    }
}

fn kept() -> Vec<Entry> {
    let evening = at("2026-03-14T17:00:00Z");
    let request = Request {
        id: "r1".into(),
        title: "A whirlpool".into(),
        user: "ada".into(),
        origin: Origin::Routine,
        submitted_at: evening,
        sequences: vec![sequence()],
    };
    let schedule = Schedule {
        id: "s1".into(),
        made_at: evening,
        cause: "a test".into(),
        first: true,
        placed: Vec::new(),
        unplaced: vec![Unplaced {
            sequence: "r1-1".into(),
            reason: "below_altitude".into(),
            sentence: "never above 25 deg tonight".into(),
            detail: Value::Null,
            excluded: Vec::new(),
            chance: None,
        }],
        objective: 1.0,
        upper_bound: 2.0,
    };
    let facts = [
        Fact::UserGranted {
            user: "ada".into(),
            institute: "IRAP".into(),
            quota_s: 36_000.0,
        },
        Fact::RequestSubmitted { request },
        Fact::ScheduleMade { schedule },
    ];
    (1..)
        .zip(facts)
        .map(|(seq, fact)| Entry { seq, at: evening, fact })
        .collect()
}

impl House {
    fn new(name: &str) -> Self {
        let mut observatory = Observatory::new(name);
        let code = observatory.with_people(false);
        let url = format!("sqlite://{}", observatory.folder.join("people.sqlite").display());
        let options = OpenOptions {
            migrate: false,
            durability: Durability::Relaxed,
        };
        Store::open(&url, options).unwrap().append(&kept()).unwrap();
        let gateway = observatory.serve_anywhere();
        let token = token(gateway.addr, &code);
        Self {
            observatory,
            gateway,
            folder: Folder::new(name),
            token,
        }
    }

    /// Far from any configuration or database of this machine.
    fn say(&self, arguments: &[&str]) -> Said {
        let url = format!("http://{}", self.gateway.addr);
        let mut command = alidade();
        command
            .current_dir(self.folder.path())
            .env("ALIDADE_TOKEN", &self.token);
        said(command.args(arguments).args(["--server", &url]).output().unwrap())
    }
}

/// The first administrator, logged in, makes a token that may do everything.
fn token(addr: SocketAddr, code: &str) -> String {
    let kind = ("content-type", "application/json");
    let phrase = "seven sisters over Chiran";
    let post = |path: &str, headers: &[(&str, &str)], body: Value| {
        let answer = send(addr, "POST", path, headers, body.to_string().as_bytes());
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer
    };
    let root = json!({ "code": code, "account": "root", "name": "Root", "email": "root@irap.example", "institute": "IRAP", "password": phrase });
    post("/api/v1/first-administrator", &[kind], root);
    let opened = post(
        "/api/v1/session",
        &[kind],
        json!({ "login": "root", "password": phrase }),
    );
    let cookie = opened
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let ada = json!({ "account": "ada", "name": "Ada", "email": "ada@irap.example", "institute": "IRAP", "password": phrase });
    post("/api/v1/accounts", &[kind], ada);
    let scopes: Vec<&str> = alidade_accounts::Permission::ALL.iter().map(|one| one.name()).collect();
    let wish = json!({ "name": "everything", "scopes": scopes, "days": 1 });
    let made = post("/api/v1/me/tokens", &[kind, ("cookie", &cookie)], wish);
    made.json()["secret"].as_str().unwrap().to_owned()
}

#[test]
fn every_command_that_touches_the_daemons_state_can_be_asked_of_a_daemon_elsewhere() {
    let house = House::new("remote-commands");
    let strategy = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/strategies/30-grb-arcmin.toml"
    ))
    .unwrap();
    let version: u32 = strategy
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap()
        .parse()
        .unwrap();
    let newer = strategy.replace(&format!("version = {version}"), &format!("version = {}", version + 1));
    fs::write(house.folder.path().join("newer.toml"), newer).unwrap();
    let wish = "[[requests]]\nid = \"r7\"\nuser = \"ada\"\n[[requests.sequences]]\ntarget = { name = \"Polaris\", ra_deg = 37.95, dec_deg = 89.26 }\n\
                priority = 5.0\nalbums = [{ channel = \"vis\", plans = [{ filter = \"r\", exposure_s = 10.0, count = 3 }] }]\n";
    fs::write(house.folder.path().join("wish.toml"), wish).unwrap();
    fs::write(house.folder.path().join("package.zip"), b"PK").unwrap();
    // Command, what it prints, or what the daemon says that it has none of.
    let asked: &[(&[&str], Result<&str, &str>)] = &[
        (&["status"], Ok("observing NGC 4889")),
        (&["device", "list"], Ok("null")),
        (&["device", "get", "mount", "STATUS"], Ok("null")),
        (&["device", "set", "mount", "COORD_ALTAZ", "0", "45"], Ok("null")),
        (&["device", "do", "mount", "PARK"], Ok("null")),
        (&["request", "list"], Ok("A whirlpool")),
        (&["request", "list", "--user", "nobody"], Ok("")),
        (&["request", "show", "r1"], Ok("\"M 51\"")),
        (&["request", "show", "r9"], Err("there is no request r9")),
        (&["request", "why", "r1"], Ok("never above 25 deg tonight")),
        (&["request", "why", "r1-1"], Ok("never above 25 deg tonight")),
        (&["request", "submit", "wish.toml"], Ok("r7: accepted")),
        (&["request", "cancel", "r1-1"], Ok("cancelled")),
        (&["request", "redo", "r1-1", "--cause", "trailed"], Ok("observed again")),
        (&["alert", "list"], Ok("event-1")),
        (&["alert", "show", "event-1"], Ok("grb-arcmin")),
        (&["alert", "report", "event-1"], Err("there is no report of event-1")),
        (&["alert", "strategy", "list"], Ok("grb-arcmin")),
        (&["alert", "strategy", "dry-run", "newer.toml"], Ok("grb-arcmin")),
        (&["alert", "strategy", "apply", "newer.toml"], Ok("holds from now on")),
        (&["schedule", "--stored"], Ok("a test")),
        (&["schedule", "--stored", "s1"], Ok("never above 25 deg tonight")),
        (&["user", "list"], Ok("ada@irap.example")),
        (&["user", "show", "ada"], Ok("waiting")),
        (&["user", "validate", "ada"], Ok("ada is let in")),
        (&["user", "role", "ada", "expert"], Ok("ada is expert now")),
        (&["user", "grant", "ada", "--hours", "2"], Ok("2 hours granted to ada")),
        (&["user", "password", "ada"], Ok("with the code")),
        (&["user", "disable", "ada"], Ok("ada is disabled")),
        (&["user", "enable", "ada"], Ok("ada is enabled")),
        (&["user", "refuse", "nobody"], Err("there is no account nobody")),
        (&["user", "audit"], Ok("chain whole")),
        (&["user", "token", "list"], Ok("everything")),
        (&["user", "token", "list", "ada"], Err("one's own account")),
        (&["pipeline", "list"], Err("runs no pipelines")),
        (&["pipeline", "show", "run-1"], Err("runs no pipelines")),
        (&["pipeline", "status"], Err("runs no pipelines")),
        (&["pipeline", "log", "run-1"], Err("runs no pipelines")),
        (&["pipeline", "cancel", "run-1"], Err("runs no pipelines")),
        (&["pipeline", "run", "frames"], Err("runs no pipelines")),
        (&["data", "status"], Err("no station")),
        (&["data", "history", "u1"], Err("no station")),
        (&["data", "report", "u1"], Err("no station")),
        (&["data", "prov", "u1"], Err("no station")),
        (&["data", "review", "u1", "--pass"], Err("no station")),
        (&["data", "track"], Err("no station")),
        (&["data", "log"], Err("no station")),
        (&["data", "list", "reports"], Err("no station")),
        (&["data", "query"], Err("no station")),
        (&["data", "query", "--cone", "83,22,1"], Err("no station")),
        (&["data", "links", "p1"], Err("no station")),
        (&["data", "targets"], Ok("no target has been observed yet")),
        (&["data", "targets", "m51"], Ok("sequence r1-1")),
        (&["data", "targets", "Vulcan"], Err("there is no target Vulcan")),
        (
            &["data", "targets", "M 51", "--light-curve", "--at", "202,-47"],
            Err("there is no frame of it"),
        ),
        (&["data", "lifecycle"], Ok("stateDiagram")),
        (&["package", "list"], Err("packages")),
        (&["package", "show", "p1"], Err("packages")),
        (&["package", "remove", "p1"], Err("packages")),
        (&["package", "install", "package.zip"], Err("packages")),
        (&["package", "runs"], Err("packages")),
        (&["package", "run", "p1"], Err("packages")),
        (&["package", "pause", "r1"], Err("packages")),
        (&["package", "resume", "r1"], Err("packages")),
        (&["package", "stop", "r1"], Err("packages")),
        (&["package", "log", "r1"], Err("packages")),
        // Last: it is the token that asks.
        (&["user", "token", "revoke", "root", "everything"], Ok("is revoked")),
    ];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let leaves = leaves();
    for arguments in ONLY_HERE {
        let refused = house.say(arguments);
        seen.extend(leaf(&leaves, arguments));
        assert_eq!(refused.code, 2, "{arguments:?}: {}{}", refused.stdout, refused.stderr);
        assert!(
            refused.stderr.contains("cannot be asked by --server"),
            "{arguments:?}: {}",
            refused.stderr
        );
        assert_eq!(refused.stderr.lines().count(), 1, "{arguments:?}: {}", refused.stderr);
    }
    for (arguments, expected) in asked {
        let told = house.say(arguments);
        seen.extend(leaf(&leaves, arguments));
        match expected {
            Ok(text) => assert!(
                told.code == 0 && told.stdout.contains(text),
                "{arguments:?}: {} {}{}",
                told.code,
                told.stdout,
                told.stderr
            ),
            Err(text) => assert!(
                told.code != 0 && told.stderr.contains(text),
                "{arguments:?}: {} {}{}",
                told.code,
                told.stdout,
                told.stderr
            ),
        }
    }
    let commands = house.observatory.commands();
    let name = |command: &GatewayCommand| command.name();
    assert_eq!(
        commands.iter().map(name).collect::<Vec<_>>(),
        [
            "device",
            "device",
            "device",
            "device",
            "submit_request",
            "cancel_sequence",
            "redo_sequence",
            "change_strategy",
            "grant_quota"
        ]
    );
    // Every command there is stands in one of the lists.
    for (path, asks) in &leaves {
        // The same command by its other name.
        let path = match path.strip_prefix("pipeline ") {
            Some(package) if package.starts_with("package ") => package.to_owned(),
            _ => path.clone(),
        };
        let local = LOCAL.contains(&path.as_str()) || path.starts_with("image ");
        assert_eq!(
            local,
            !asks,
            "{path} {} --server",
            if *asks { "takes" } else { "does not take" }
        );
        assert!(
            local || seen.contains(&path) || path == "device discover" || path == "data movie",
            "{path} is in no list"
        );
    }
}

/// Every command without sub-commands, and whether it takes `--server`.
fn leaves() -> Vec<(String, bool)> {
    fn walk(command: &clap::Command, path: &str, all: &mut Vec<(String, bool)>) {
        let subcommands: Vec<_> = command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
            .collect();
        if subcommands.is_empty() {
            let names = |arg: &clap::Arg| {
                arg.get_long() == Some("server") || arg.get_all_aliases().is_some_and(|all| all.contains(&"server"))
            };
            all.push((path.trim().to_owned(), command.get_arguments().any(names)));
        }
        for sub in subcommands {
            walk(sub, &format!("{path} {}", sub.get_name()), all);
        }
    }
    let mut command = Cli::command();
    command.build();
    let mut all = Vec::new();
    walk(&command, "", &mut all);
    all
}

/// The command that a call is of.
fn leaf(leaves: &[(String, bool)], arguments: &[&str]) -> Option<String> {
    let words = |path: &str| path.split(' ').zip(arguments).all(|(word, given)| word == *given);
    leaves.iter().map(|(path, _)| path).find(|path| words(path)).cloned()
}

#[test]
fn a_token_is_taken_from_the_option_a_file_or_the_environment_and_a_wrong_one_says_so() {
    let house = House::new("remote-token");
    let url = format!("http://{}", house.gateway.addr);
    let file = house.folder.join("token");
    fs::write(&file, format!("{}\n", house.token)).unwrap();
    let list = |more: &[&str], environment: &str| {
        let mut command = alidade();
        command.env("ALIDADE_TOKEN", environment);
        said(
            command
                .args(["user", "list", "--server", &url])
                .args(more)
                .output()
                .unwrap(),
        )
    };
    assert_eq!(list(&["--token", &house.token], "").code, 0);
    assert_eq!(list(&["--token-file", &file], "ali_wrong").code, 0);
    assert_eq!(list(&[], &house.token).code, 0);
    let nobody = list(&[], "");
    assert!(
        nobody.code == 1 && nobody.stderr.contains("log in, or send a token"),
        "{}",
        nobody.stderr
    );
    let wrong = list(&["--token", "ali_wrong"], "");
    assert!(
        wrong.code == 1 && wrong.stderr.contains("unknown, revoked or expired"),
        "{}",
        wrong.stderr
    );
    assert_eq!(list(&["--token", "a", "--token-file", &file], "").code, 2);
}

#[test]
fn targets_are_told_of_this_machines_files_as_a_daemon_tells_them() {
    let house = House::new("remote-targets");
    let folder = &house.observatory.folder;
    let url = format!("sqlite://{}", folder.join("people.sqlite").display());
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/simulated.toml");
    let here = |more: &[&str]| {
        let mut command = alidade();
        command
            .env("ALIDADE__DATABASE__URL", &url)
            .env("ALIDADE__STORAGE__DATA_DIR", folder)
            .args(["data", "targets", "--config", config]);
        said(command.args(more).output().unwrap())
    };
    for arguments in [&["--json"][..], &["m51", "--json"], &["m51"], &[]] {
        let told = here(arguments);
        assert_eq!(told.code, 0, "{arguments:?}: {}", told.stderr);
        let asked: Vec<&str> = ["data", "targets"].iter().chain(arguments).copied().collect();
        assert_eq!(told.stdout, house.say(&asked).stdout, "{arguments:?}");
    }
    for (arguments, code, cause) in [
        (&["m51", "--light-curve"][..], 1, "there is no frame of it"),
        (&["Vulcan"], 1, "there is no target Vulcan"),
        (&["m51", "--limit", "0"], 2, "--limit 0 is outside 1 to 1000"),
        (&["m51", "--light-curve", "--limit", "201"], 2, "outside 1 to 200"),
        (&["m51", "--light-curve", "--at", "1,91"], 2, "is not RA,DEC"),
        (&["--light-curve"], 2, "NAME"),
    ] {
        let told = here(arguments);
        assert!(
            told.code == code && told.stderr.contains(cause),
            "{arguments:?}: {} {}",
            told.code,
            told.stderr
        );
    }
}
