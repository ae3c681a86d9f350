//! `alidade run` as a service: the live clock, a real broker, a supervisor, `kill -9`.

use crate::support::{
    command::{Said, alidade, said, say},
    mosquitto, ports,
    service::Service,
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

const REQUEST: &str = r#"
[[requests]]
id = "wish-1"
user = "ada"
[[requests.sequences]]
target = { name = "Polaris", ra_deg = 37.95, dec_deg = 89.26 }
priority = 5.0
albums = [{ channel = "vis", plans = [{ filter = "r", exposure_s = 10.0, count = 3 }] }]
"#;

fn json(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.stdout))
}

#[test]
fn the_daemon_serves_its_supervisor_the_broker_and_people() {
    let broker = mosquitto::Broker::running("daemon");
    let mut service = Service::new("daemon-serves", Some(broker.port));
    let feed = broker.subscribe("alidade/ohp/t1/#");
    service.start();
    // Stroked only when monitoring sends and the critical agents answer.
    service.told("WATCHDOG=1");
    feed.until(|m| m.topic.ends_with("/availability") && m.payload == "online");
    feed.until(|m| m.topic.ends_with("/state/enclosure") && m.payload.contains("closed"));
    let status = json(&service.ask(&["status", "--json"]));
    assert_eq!(status["enclosure"]["state"], "closed");
    let text = service.ask(&["status"]);
    assert!(
        text.code == 0 && text.stdout.contains("because"),
        "{}{}",
        text.stdout,
        text.stderr
    );
    // A second daemon on this port is refused, and has touched nothing.
    let second = said(alidade().args(["run", "--config", &service.config]).output().unwrap());
    assert_eq!(second.code, 2, "{}", second.stderr);
    assert!(
        second.stderr.contains("in use") && second.stderr.lines().count() == 1,
        "{}",
        second.stderr
    );
    let ended = service.signal("-TERM");
    assert!(ended.success(), "{ended}");
    feed.until(|m| m.topic.ends_with("/availability") && m.payload == "offline");
    let after = service.ask(&["status"]);
    assert_eq!(after.code, 1);
    assert!(after.stderr.contains("no daemon at"), "{}", after.stderr);
}

#[test]
fn what_was_accepted_survives_kill_9() {
    let mut service = Service::new("daemon-killed", None);
    service.start();
    let file = service.folder.join("wish.toml");
    fs::write(&file, REQUEST).unwrap();
    let submitted = service.ask(&["request", "submit", &file, "--json"]);
    // At once: what was answered is on disk.
    service.signal("-KILL");
    assert_eq!(json(&submitted)["accepted"][0], "wish-1");
    let list = json(&service.ask(&["request", "list", "--json"]));
    assert_eq!(list[0]["id"], "wish-1");
    service.start();
    let again = service.ask(&["request", "submit", &file]);
    assert_eq!(again.code, 1, "the same request twice: {}", again.stdout);
    assert!(again.stderr.contains("wish-1"), "{}", again.stderr);
    let why = service.ask(&["request", "why", "wish-1"]);
    assert!(why.stdout.contains("wish-1-1 is "), "{}{}", why.stdout, why.stderr);
    let cancelled = service.ask(&["request", "cancel", "wish-1-1"]);
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    let why = service.ask(&["request", "why", "wish-1-1", "--json"]);
    assert_eq!(json(&why)[0]["state"], "cancelled");
    // The invariants are judged from where the killed daemon left off: the daemon lives on, and cries nothing out.
    let at = |service: &Service| json(&service.ask(&["status", "--json"]))["now"].clone();
    let (mut last, mut turns) = (at(&service), 0);
    while turns < 3 {
        let now = at(&service);
        turns += usize::from(now != last);
        last = now;
    }
    let mut journal = ureq::get(format!("{}/api/v1/journal?limit=1000", service.url))
        .call()
        .unwrap();
    let journal = journal.body_mut().read_to_string().unwrap();
    assert!(journal.contains("sequence_moved"), "{journal}");
    assert!(!journal.contains("invariant broken"), "{journal}");
}

#[test]
fn a_wrong_request_is_refused_with_its_reason_and_nothing_is_kept() {
    let mut service = Service::new("daemon-wrong", None);
    service.start();
    for (name, text, named) in [
        ("nan.toml", REQUEST.replace("37.95", "nan"), "ra_deg"),
        (
            "filter.toml",
            REQUEST.replace("\"r\"", "\"ultraviolet\""),
            "ultraviolet",
        ),
        ("user.toml", REQUEST.replace("ada", "nobody"), "nobody"),
        ("key.toml", REQUEST.replace("priority", "importance"), "importance"),
    ] {
        let file = service.folder.join(name);
        fs::write(&file, text).unwrap();
        let refused = service.ask(&["request", "submit", &file]);
        assert!(refused.code == 1 || refused.code == 2, "{name}: {}", refused.stdout);
        assert!(refused.stderr.contains(named), "{name}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{name}: {}", refused.stderr);
    }
    assert_eq!(
        json(&service.ask(&["request", "list", "--json"])),
        serde_json::json!([])
    );
}

#[test]
fn a_latch_outlives_kill_9_and_a_stop_until_somebody_releases_it() {
    let mut service = Service::new("daemon-latched", None);
    service.start();
    let safety = |service: &Service| json(&service.ask(&["status", "--json"]))["safety"].clone();
    let becomes = |service: &Service, latched: bool, when: &str| {
        // The page follows the agents once a second.
        for _ in 0..400 {
            if (safety(service)["state"] == "latched") == latched {
                return;
            }
        }
        panic!("{when}: {}", safety(service));
    };
    let command = |service: &Service, name: &str| {
        let answer = ureq::post(format!("{}/api/v1/commands", service.url))
            .header("Content-Type", "application/json")
            .send(format!("{{\"command\": \"{name}\"}}"))
            .unwrap();
        assert_eq!(answer.status(), 202);
    };
    command(&service, "close_now");
    becomes(&service, true, "close_now");
    service.signal("-KILL");
    service.start();
    becomes(&service, true, "after kill -9");
    assert!(service.signal("-TERM").success());
    service.start();
    becomes(&service, true, "after a stop");
    let latched = safety(&service);
    assert!(
        latched["reasons"].to_string().contains("closed by an operator"),
        "{latched}"
    );
    command(&service, "release");
    becomes(&service, false, "release");
    service.signal("-KILL");
    service.start();
    // Known again, and not latched.
    for _ in 0..400 {
        let now = safety(&service);
        assert_ne!(now["state"], "latched", "released is released");
        if !now["reasons"].to_string().contains("nothing read yet") {
            return;
        }
    }
    panic!("nothing was read");
}

#[test]
fn a_strategy_is_changed_by_command_kept_with_its_author_and_survives_a_kill() {
    let mut service = Service::new("strategies", None);
    let folder = service.folder.path().join("strategies");
    fs::create_dir_all(&folder).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/strategies/90-test.toml");
    let text = fs::read_to_string(shipped).unwrap();
    fs::write(folder.join("90-test.toml"), &text).unwrap();
    let config = fs::read_to_string(&service.config).unwrap();
    let own = format!("[alerts]\nstrategies = \"{}\"\n", folder.display());
    fs::write(&service.config, config.replacen("[alerts]\n", &own, 1)).unwrap();
    service.start();
    let newer = text
        .replace("version = 1", "version = 2")
        .replace("priority = 10", "priority = 9");
    let file = service.folder.join("newer.toml");
    fs::write(&file, &newer).unwrap();
    let url = service.url.clone();
    let apply = |file: &str| say(&["alert", "strategy", "apply", file, "--server", &url]);
    let applied = apply(&file);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    assert_eq!(fs::read_to_string(folder.join("90-test.toml")).unwrap(), newer);
    let kept: Vec<_> = fs::read_dir(folder.join("old"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), text);
    let again = apply(&file);
    assert!(
        again.code != 0 && again.stderr.contains("needs a higher number"),
        "{}",
        again.stderr
    );
    service.signal("-KILL");
    service.start();
    let listed = say(&["alert", "strategy", "list", "--config", &service.config, "--json"]);
    let known: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}", listed.stderr));
    assert_eq!(known["strategies"][0]["version"], 2, "{known}");
    let change = &known["changes"][0];
    assert_eq!((&change["strategy"], &change["version"]), (&"test".into(), &2.into()));
    assert!(
        change["who"].as_str().unwrap().contains("127.0.0.1") && change["replaced"] == text.as_str(),
        "{change}"
    );
}

#[test]
fn overrides_with_an_end_and_open_alarms_survive_kill_9() {
    let mut service = Service::new("daemon-overrides", None);
    let mut text = fs::read_to_string(&service.config).unwrap();
    text = text.replacen("[safety]\n", "[safety]\nattended = true\n", 1);
    fs::write(&service.config, text).unwrap();
    let order = |service: &Service, body: Value| {
        let answer = ureq::post(format!("{}/api/v1/commands", service.url))
            .header("Content-Type", "application/json")
            .send(body.to_string());
        assert!(answer.is_ok(), "{body}: {answer:?}");
    };
    let overridden = |status: &Value| -> Vec<String> {
        let list = status["safety"]["overrides"].as_array().unwrap();
        list.iter().map(|o| o["input"].as_str().unwrap().to_owned()).collect()
    };
    // The page's state is made once a second.
    let until = |service: &Service, wanted: &dyn Fn(&Value) -> bool| -> Value {
        let mut last = Value::Null;
        for _ in 0..300 {
            last = json(&service.ask(&["status", "--json"]));
            if wanted(&last) {
                break;
            }
        }
        last
    };
    let alarm = |status: &Value| -> Value {
        let list = status["alarms"].as_array().unwrap();
        list.iter()
            .find(|a| a["text"].as_str().unwrap().contains("vane"))
            .unwrap_or_else(|| panic!("{list:?}"))
            .clone()
    };
    service.start();
    let for_a_while = serde_json::json!({ "command": "override", "input": "gust_m_s", "reason": "the vane is iced", "for_s": 3600.0 });
    let for_ever = serde_json::json!({ "command": "override", "input": "wind_m_s", "reason": "I watch" });
    order(&service, for_a_while);
    order(&service, for_ever);
    let before = until(&service, &|status| overridden(status).len() == 2);
    assert_eq!(overridden(&before), ["gust_m_s", "wind_m_s"]);
    service.signal("-KILL");
    service.start();
    service.told("WATCHDOG=1");
    let after = until(&service, &|status| !overridden(status).is_empty());
    assert_eq!(overridden(&after), ["gust_m_s"], "nobody knows who still watches");
    assert_eq!(after["safety"]["overrides"][0], before["safety"]["overrides"][0]);
    assert_eq!(alarm(&after)["id"], alarm(&before)["id"]);
    assert_eq!(alarm(&after)["acknowledged_by"], Value::Null);
    order(
        &service,
        serde_json::json!({ "command": "acknowledge_alarm", "alarm": alarm(&after)["id"] }),
    );
    order(
        &service,
        serde_json::json!({ "command": "lift_override", "input": "gust_m_s" }),
    );
    service.signal("-KILL");
    service.start();
    service.told("WATCHDOG=1");
    let last = json(&service.ask(&["status", "--json"]));
    assert!(overridden(&last).is_empty(), "what was lifted stays lifted");
    assert!(alarm(&last)["acknowledged_by"].is_string(), "{}", alarm(&last));
}

/// A burst that never sets at the site, with a trigger, a time and a place of its own.
fn burst(number: usize, at: &str) -> String {
    let (ra, dec) = (30.0 * number as f64, 70.0 + number as f64);
    format!(
        "<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' version='2.0' role='observation' \
         ivorn='ivo://kills.example/grb#{number}'><What><Param name='TrigID' value='{number}00'/></What><WhereWhen>\
         <ObsDataLocation><ObservationLocation><AstroCoords coord_system_id='UTC-FK5-GEO'><Time><TimeInstant>\
         <ISOTime>{at}</ISOTime></TimeInstant></Time><Position2D unit='deg'><Name1>RA</Name1><Name2>Dec</Name2><Value2>\
         <C1>{ra}</C1><C2>{dec}</C2></Value2><Error2Radius>0.05</Error2Radius></Position2D></AstroCoords>\
         </ObservationLocation></ObsDataLocation></WhereWhen><Why><Inference><Concept>process.variation.burst;em.gamma\
         </Concept></Inference></Why></voe:VOEvent>"
    )
}

/// Authors submit bursts; the daemon is killed as soon as the next one is acknowledged, while others are under way.
#[test]
fn alerts_over_vtp_outlive_kill_9_each_asked_for_once() {
    const BURSTS: usize = 8;
    let mut service = Service::new("daemon-alerts-killed", None);
    let (port, strategies) = (ports::free_port(), service.folder.path().join("strategies"));
    fs::create_dir_all(&strategies).unwrap();
    let strategy = "[strategy]\nname = \"all\"\nversion = 1\npriority = 5\n[match]\nstreams = [\"*\"]\n[preempt]\n\
        level = \"interrupt_exposure\"\n[[plan.step]]\nuntil = \"48h\"\nfilters = [\"r\"]\nexptime = \"10s\"\ncount = 2\n";
    fs::write(strategies.join("all.toml"), strategy).unwrap();
    let text = fs::read_to_string(&service.config).unwrap();
    let section = format!("[alerts]\nstrategies = \"{}\"\n", strategies.display());
    let listener = format!("\n[alerts.listeners.authors]\nkind = \"broker\"\nreceive = \"127.0.0.1:{port}\"\n");
    assert!(text.contains("[alerts]\n"));
    fs::write(&service.config, text.replacen("[alerts]\n", &section, 1) + &listener).unwrap();
    service.start();
    let status = json(&service.ask(&["status", "--json"]));
    let now = status["now"].as_str().unwrap().to_owned();
    let mut waiting: Vec<String> = Vec::new();
    for number in 0..BURSTS {
        // Bursts of other hours: no two are the same event.
        let hour: String = format!("{:02}", 23 - number);
        let day = chrono::NaiveDate::parse_from_str(&now[..10], "%Y-%m-%d")
            .unwrap()
            .pred_opt()
            .unwrap();
        let file = service.folder.join(&format!("{number}.xml"));
        fs::write(&file, burst(number, &format!("{day}T{hour}:30:00"))).unwrap();
        waiting.push(file);
    }
    let to = format!("127.0.0.1:{port}");
    for round in 0.. {
        let mut sending = alidade();
        sending.args(["alert", "send", "--json", "--vtp", &to]).args(&waiting);
        let mut sender = sending.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut answers = BufReader::new(sender.stdout.take().unwrap()).lines();
        let mut answered = |answers: &mut dyn Iterator<Item = std::io::Result<String>>| {
            let line: Option<Value> = answers.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
            line.inspect(|line| {
                assert_eq!(line["answer"], "ack", "{line}");
                waiting.retain(|file| line["file"] != *file.as_str());
            })
            .is_some()
        };
        assert!(answered(&mut answers), "round {round}");
        service.signal("-KILL");
        while answered(&mut answers) {}
        sender.wait().unwrap();
        service.start();
        if waiting.is_empty() {
            break;
        }
        assert!(round < 2 * BURSTS, "{waiting:?}");
    }
    let database = format!("sqlite://{}/alidade.sqlite", service.folder.path().display());
    let list = json(&service.ask(&["request", "list", "--json"]));
    let asked: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["id"].as_str())
        .collect();
    let events = json(&say(&["alert", "list", "--db", &database, "--json"]));
    assert_eq!(events.as_array().unwrap().len(), BURSTS, "{events:#}");
    let first: std::collections::BTreeSet<String> = (1..=BURSTS).map(|n| format!("alert-{n}-1")).collect();
    assert_eq!(asked.len(), BURSTS, "each once: {asked:?}");
    assert!(asked.iter().all(|id| first.contains(*id)), "{asked:?}");
}
