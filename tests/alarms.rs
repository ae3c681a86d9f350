//! Alarms on their way to people: a mail server, a web hook and a program that the test plays, and acknowledgement over
//! HTTP. Overrides and aborts beside them, because they are what a person does about alarms.

use crate::support::{
    command::{Folder, alidade, say},
    hardware::{Hardware, Process, config_with, eventually, night_daemon},
    ports,
};
use alidade::settings::Settings;
use alidade_scheduling::{Site, ephemeris};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// A mail server that takes everything (RFC 5321) and hands on what it took: addresses and text.
fn mail_sink() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (taken, mails) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let taken = taken.clone();
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                let mut say = move |line: &str| out.write_all(format!("{line}\r\n").as_bytes()).is_ok();
                say("220 sink");
                let (mut mail, mut text) = (String::new(), false);
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if text {
                        mail.push_str(&line);
                        mail.push('\n');
                        if line == "." {
                            text = false;
                            drop(taken.send(std::mem::take(&mut mail)));
                            say("250 taken");
                        }
                        continue;
                    }
                    let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
                    match verb.as_str() {
                        "MAIL" | "RCPT" => {
                            mail.push_str(&line);
                            mail.push('\n');
                            say("250 fine");
                        }
                        "DATA" => {
                            text = true;
                            say("354 go on");
                        }
                        "QUIT" => {
                            say("221 bye");
                            return;
                        }
                        _ => drop(say("250 fine")),
                    }
                }
            });
        }
    });
    (port, mails)
}

/// A web server that takes what is posted.
fn hook_sink() -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (taken, posts) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if let Some(body) = posted(stream) {
                drop(taken.send(body));
            }
        }
    });
    (port, posts)
}

fn posted(mut stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        .ok()?;
    serde_json::from_slice(&body).ok()
}

struct Daemon {
    url: String,
    _process: Process,
}

impl Daemon {
    fn start(folder: &Folder, more: &str) -> Self {
        let port = ports::free_port();
        let var = folder.path().display();
        let text = fs::read_to_string("config/simulated.toml")
            .unwrap()
            .replace("sqlite://var/alidade.sqlite", &format!("sqlite://{var}/alidade.sqlite"))
            .replace("data_dir = \"var\"", &format!("data_dir = \"{var}\""))
            .replace("path = \"var/alerts\"", &format!("path = \"{var}/alerts\""))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        let file = folder.join("alidade.toml");
        fs::write(&file, text + more).unwrap();
        let process = Process::start(alidade().args(["run", "--config", &file]));
        eventually("the daemon serves", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _process: process,
        }
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut answer = ureq::Agent::new_with_config(config)
            .post(format!("{}{path}", self.url))
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .unwrap();
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn command(&self, body: Value) -> (u16, Value) {
        self.post("/api/v1/commands", &body)
    }

    fn journal(&self) -> Vec<Value> {
        let mut answer = ureq::get(format!("{}/api/v1/journal?limit=1000", self.url))
            .call()
            .unwrap();
        let value: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        value["entries"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| value.as_array().cloned().unwrap_or_default())
    }

    fn facts(&self, kind: &str) -> Vec<Value> {
        self.journal()
            .into_iter()
            .filter(|entry| entry["fact"] == kind)
            .collect()
    }
}

#[test]
fn an_alarm_goes_by_every_way_is_repeated_and_ends_with_its_acknowledgement() {
    let folder = Folder::new("alarms");
    let ((mail, mails), (hook, posts)) = (mail_sink(), hook_sink());
    let told = folder.join("told");
    let daemon = Daemon::start(
        &folder,
        &format!(
            r#"
[alarms.notify.mail]
kind = "mail"
server = "127.0.0.1"
port = {mail}
tls = false
from = "alidade@example.org"
to = ["night@example.org", "day@example.org"]

[alarms.notify.chat]
kind = "webhook"
url = "http://127.0.0.1:{hook}/alarm"
repeat_s = 10.0

[alarms.notify.siren]
kind = "command"
program = "/bin/sh"
args = ["-c", "echo $ALIDADE_ALARM_SEVERITY $ALIDADE_ALARM_TEXT >> {told}"]

[alarms.notify.nobody]
kind = "command"
program = "/bin/sh"
args = ["-c", "echo nobody is there >&2; exit 3"]

[alarms.notify.director]
kind = "webhook"
url = "http://127.0.0.1:{hook}/director"
severity = "critical"
"#
        ),
    );
    // An override is told as an alarm.
    let until = json!({ "command": "override", "input": "sun_alt_deg", "reason": "dome flats", "for_s": 600.0 });
    assert_eq!(daemon.command(until).0, 202);
    let wait = Duration::from_secs(60);
    let mail = mails.recv_timeout(wait).expect("a mail");
    for part in [
        "RCPT TO:<night@example.org>",
        "RCPT TO:<day@example.org>",
        "dome flats",
        "severity: warning",
    ] {
        assert!(mail.contains(part), "{part} is missing:\n{mail}");
    }
    let post = posts.recv_timeout(wait).expect("a post");
    assert!(
        post["text"].as_str().unwrap().contains("override sun_alt_deg"),
        "{post}"
    );
    assert_eq!(post["severity"], "warning");
    let again = posts.recv_timeout(wait).expect("told again while nobody acknowledges");
    assert_eq!(
        again["id"], post["id"],
        "the same alarm, and the director is not told of a warning"
    );
    eventually("the program has run", || {
        fs::read_to_string(&told).is_ok_and(|t| t.contains("warning") && t.contains("dome flats"))
    });
    let id = post["id"].as_u64().unwrap();
    let acknowledge = format!("/api/v1/alarms/{id}/acknowledge");
    assert_eq!(daemon.post(&acknowledge, &Value::Null).0, 202);
    let (status, problem) = daemon.post(&acknowledge, &Value::Null);
    assert!(
        status == 409 && problem["detail"].as_str().unwrap().contains("acknowledged by"),
        "{problem}"
    );
    assert_eq!(daemon.post("/api/v1/alarms/999999/acknowledge", &Value::Null).0, 409);
    let notified = daemon.facts("alarm_notified");
    assert!(
        notified.iter().any(|n| n["way"] == "mail" && n["outcome"] == "told"),
        "{notified:?}"
    );
    assert!(
        notified
            .iter()
            .any(|n| n["way"] == "nobody" && n["outcome"].as_str().unwrap().contains("nobody is there")),
        "{notified:?}"
    );
    assert_eq!(daemon.facts("alarm_acknowledged")[0]["alarm"].as_u64(), Some(id));
    let (_, all) = daemon.command(json!({ "command": "alarms" }));
    let alarm = all["answer"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["id"] == id)
        .unwrap()
        .clone();
    assert!(alarm["acknowledged"].is_array(), "{alarm}");
}

#[test]
fn overrides_are_refused_seen_and_lifted_and_an_emergency_abort_ends_at_rest() {
    let folder = Folder::new("overrides");
    let daemon = Daemon::start(&folder, "");
    let refused = |body: Value, why: &str| {
        let (status, problem) = daemon.command(body);
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        assert!(
            (400..500).contains(&status) && detail.contains(why),
            "{status} {problem}"
        );
    };
    let over = |input: &str, for_s: Option<f64>| json!({ "command": "override", "input": input, "reason": "a test", "for_s": for_s });
    refused(over("rain_mm_h", Some(60.0)), "never overridden");
    refused(over("sun_alt_deg", None), "unattended");
    refused(over("sun_alt_deg", Some(1e6)), "up to");
    refused(over("colour", Some(60.0)), "no input colour");
    refused(json!({ "command": "override", "input": "sun_alt_deg" }), "reason");
    refused(json!({ "command": "abort", "level": "gently" }), "gently");
    refused(
        json!({ "command": "lift_override", "input": "sun_alt_deg" }),
        "no such override",
    );
    assert_eq!(daemon.command(over("humidity_pct", Some(600.0))).0, 202);
    let shown = |word: &str| {
        let mut answer = ureq::get(format!("{}/api/v1/status", daemon.url)).call().unwrap();
        answer.body_mut().read_to_string().unwrap().contains(word)
    };
    eventually("the override is in the status", || shown("overridden by"));
    assert_eq!(
        daemon
            .command(json!({ "command": "lift_override", "input": "humidity_pct" }))
            .0,
        202
    );
    eventually("it is gone", || !shown("overridden by"));
    assert_eq!(
        daemon.command(json!({ "command": "abort", "level": "emergency" })).0,
        202
    );
    eventually("everything is measured at rest", || !daemon.facts("halted").is_empty());
    let halted = &daemon.facts("halted")[0];
    assert_eq!(halted["level"], "emergency");
    assert_eq!(halted["moving"], json!([]), "{halted}");
    assert!(halted["took_s"].as_f64().unwrap() < 90.0);
    eventually("it stays latched", || shown("emergency abort"));
}

/// A daemon at night on served devices: open, with a request whose target the mount is slewing to.
fn slewing(folder: &Folder, hardware: &Hardware) -> Daemon {
    config_with(folder, "alidade.toml", hardware, "", |text| {
        text.replacen("overhead_s = 10.0", "overhead_s = 0.0", 1)
            .replacen("slew_deg_s = 6.0", "slew_deg_s = 60.0", 1)
            .replacen("dome_deg_s = 6.0", "dome_deg_s = 60.0", 1)
    });
    let config = folder.join("alidade.toml");
    let settings = Settings::load_with(Path::new(&config), BTreeMap::new()).unwrap();
    let (site, listen) = (settings.site, settings.http.listen);
    let here = Site::new(site.latitude_deg, site.longitude_deg, site.height_m);
    let ra_deg = (ephemeris::lst_deg(&here, alidade::clock::utc_now()) + 20.0).rem_euclid(360.0);
    let wish = folder.join("wish.toml");
    let text = format!(
        "[[requests]]\nid = \"short\"\nuser = \"ada\"\n[[requests.sequences]]\ntarget = {{ name = \"field\", ra_deg = {ra_deg:.3}, dec_deg = 15.0 }}\npriority = 5.0\nalbums = [{{ channel = \"vis\", plans = [{{ filter = \"i\", exposure_s = 60.0, count = 3 }}] }}]\n"
    );
    fs::write(&wish, text).unwrap();
    let daemon = Daemon {
        url: format!("http://{listen}"),
        _process: night_daemon(folder, "alidade.toml"),
    };
    eventually("the daemon takes a request", || {
        say(&["request", "submit", &wish, "--config", &config]).code == 0
    });
    eventually("the mount slews", || {
        daemon.facts("mount_moved").iter().any(|moved| moved["to"] == "slewing")
    });
    daemon
}

#[test]
fn an_immediate_abort_is_over_when_everything_that_moved_is_measured_at_rest() {
    let folder = Folder::new("abort");
    let hardware = Hardware::start(
        &folder,
        "[plc]\ntravel_s = 1.0\n[mount]\nslew_deg_s = 8.0\nsettle_s = 1.0\n",
    );
    let daemon = slewing(&folder, &hardware);
    assert_eq!(
        daemon.command(json!({ "command": "abort", "level": "immediate" })).0,
        202
    );
    eventually("everything is measured at rest", || !daemon.facts("halted").is_empty());
    let mut journal = daemon.journal();
    journal.sort_by_key(|entry| entry["seq"].as_u64());
    let at = |kind: &str| journal.iter().position(|entry| entry["fact"] == kind).unwrap();
    let halted = &journal[at("halted")];
    assert_eq!(halted["level"], "immediate");
    assert_eq!(halted["moving"], json!([]), "{halted}");
    let stands = journal[..at("halted")]
        .iter()
        .rfind(|entry| entry["fact"] == "mount_moved");
    let stands = stands.unwrap()["to"].as_str().unwrap();
    assert!(
        ["idle", "parked", "tracking"].contains(&stands),
        "it is said to stand, and is {stands}"
    );
    assert!(
        journal[..at("halted")]
            .iter()
            .any(|e| e["fact"] == "device_command" && e["device"] == "mount" && e["command"] == "stop"),
        "the mount was told"
    );
    assert_eq!(
        daemon.command(json!({ "command": "abort", "level": "checkpoint" })).0,
        202
    );
    eventually("nothing runs any more", || {
        daemon
            .facts("halted")
            .iter()
            .any(|halted| halted["level"] == "checkpoint")
    });
}
