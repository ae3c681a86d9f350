//! The HTTP gateway as its clients see it, over real sockets.

use crate::support::{
    http::{get, head, open, post, send},
    observatory::{Observatory, busy},
};
use alidade::gateway::{
    command::{CommandReply, GatewayCommand},
    http::GatewayError,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

/// An event stream, read event by event: (id, event, data).
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(addr: SocketAddr, path: &str, last_id: Option<&str>) -> Self {
        let mut stream = open(addr);
        let last_id = last_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n{last_id}\r\n").as_bytes())
            .unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = head(&mut reader);
        assert_eq!(status, 200);
        assert!(headers.contains(&("content-type".into(), "text/event-stream; charset=utf-8".into())));
        Self(reader)
    }

    fn next(&mut self) -> Option<(Option<String>, String, String)> {
        let (mut id, mut event) = (None, None);
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.trim_end().to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                event = Some(text.trim_end().to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, event?, text.trim_end().to_owned()));
            }
        }
    }

    fn next_of(&mut self, wanted: &str) -> (Option<String>, Value) {
        loop {
            let (id, event, data) = self.next().expect("the stream goes on");
            if event == wanted {
                return (id, serde_json::from_str(&data).unwrap());
            }
        }
    }
}

#[test]
fn the_state_is_the_published_snapshot() {
    let observatory = Observatory::new("state");
    let http = observatory.serve_anywhere();
    let answer = get(http.addr, "/api/v1/status");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert!(answer.text() == serde_json::to_string(&busy(0)).unwrap());
    assert!(answer.header("x-snapshot-age").unwrap().parse::<f64>().unwrap() < 5.0);
    let health = get(http.addr, "/api/v1/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &"ok".into()));
}

#[test]
fn a_published_change_and_a_fact_arrive_as_events() {
    let observatory = Observatory::new("events");
    let http = observatory.serve_anywhere();
    let mut events = Events::open(http.addr, "/api/v1/events", None);
    assert_eq!(events.next_of("state").1["now"], "2026-03-14T22:10:00.000000Z");
    observatory.publish(busy(7));
    assert_eq!(events.next_of("state").1["now"], "2026-03-14T22:10:07.000000Z");
    observatory.record(1, "stopped");
    let (id, entry) = events.next_of("journal");
    assert_eq!((id.as_deref(), &entry["fact"]), (Some("1"), &"stopped".into()));
    assert!(events.next_of("beat").1["snapshot_age_s"].as_f64().unwrap() >= 0.0);
}

#[test]
fn a_client_that_reconnects_misses_nothing() {
    let observatory = Observatory::new("resume");
    let http = observatory.serve_anywhere();
    let mut watching = Events::open(http.addr, "/api/v1/events", None);
    (1..=5).for_each(|seq| observatory.record(seq, "stopped"));
    while watching.next_of("journal").0.as_deref() != Some("5") {}
    let mut back = Events::open(http.addr, "/api/v1/events", Some("2"));
    let seen: Vec<_> = (0..3).filter_map(|_| back.next_of("journal").0).collect();
    assert_eq!(seen, ["3", "4", "5"]);
    observatory.record(6, "stopped");
    assert_eq!(back.next_of("journal").0.as_deref(), Some("6"));
    let page = get(http.addr, "/api/v1/journal?after=3&limit=2").json();
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);
    assert_eq!(page["next_after"], 5);
    let rest = get(http.addr, "/api/v1/journal?after=6").json();
    assert_eq!(rest, serde_json::json!({ "entries": [] }));
}

#[test]
fn the_journal_page_reads_the_store_when_there_is_one() {
    let observatory = Observatory::new("page");
    let mut ports = observatory.ports();
    ports.journal_page = Some(std::sync::Arc::new(|after, limit| match after {
        99 => Err("the store is away".into()),
        _ => Ok((after + 1..=after + limit as u64)
            .map(|seq| format!(r#"{{"seq":{seq},"at":"2026-03-14T22:10:00Z","fact":"stopped"}}"#).into())
            .collect()),
    }));
    let http = alidade::gateway::http::serve(([127, 0, 0, 1], 0).into(), ports).unwrap();
    let page = get(http.addr, "/api/v1/journal?after=40&limit=3").json();
    assert_eq!(page["next_after"], 43);
    let failed = get(http.addr, "/api/v1/journal?after=99");
    assert_eq!(
        (failed.status, &failed.json()["detail"]),
        (500, &"the store is away".into())
    );
}

/// A request with these sequences, as it is sent.
fn wish(sequences: &str) -> String {
    format!(
        r#"{{"id":"r7","title":"Galaxies","user":"ada","origin":{{"kind":"routine"}},"submitted_at":"2026-03-01T18:00:00Z","sequences":{sequences}}}"#
    )
}

#[test]
fn commands_reach_the_daemon_and_its_answer_comes_back() {
    let observatory = Observatory::new("commands");
    let http = observatory.serve_anywhere();
    let accepted = post(http.addr, "/api/v1/commands", r#"{"command":"close_now"}"#);
    assert_eq!(
        (accepted.status, &accepted.json()["outcome"]),
        (202, &"accepted".into())
    );
    *observatory.answer.lock().unwrap() = CommandReply::AlreadyInProgress;
    assert_eq!(
        post(http.addr, "/api/v1/commands", r#"{"command":"close_now"}"#).status,
        200
    );
    *observatory.answer.lock().unwrap() = CommandReply::Denied("the key switch is on local".into());
    let denied = post(http.addr, "/api/v1/commands", r#"{"command":"resume"}"#);
    assert_eq!(
        (denied.status, &denied.json()["detail"]),
        (409, &"the key switch is on local".into())
    );
    assert_eq!(post(http.addr, "/api/v1/sequences/r1-1/cancel", "").status, 409);
    let redo = "/api/v1/sequences/r1-1/redo";
    assert_eq!(post(http.addr, redo, r#"{"why":"trailed"}"#).status, 400);
    assert_eq!(post(http.addr, redo, r#"{"cause":"trailed"}"#).status, 409);
    for wrong in [r#"{"id":"r7","sequences":[]}"#, &wish("[]")] {
        assert_eq!(post(http.addr, "/api/v1/requests", wrong).status, 400);
    }
    let request = wish(
        r#"[{"id":"r7-1","request":"r7","user":"ada","target":{"name":"M 51","ra_deg":202.47,"dec_deg":47.2},
            "priority":1.0,"albums":[]}]"#,
    );
    post(http.addr, "/api/v1/requests", &request);
    let packet = b"<?xml version='1.0'?><VOEvent/>\xff";
    send(http.addr, "POST", "/api/v1/packets?channel=test", &[], packet);
    let wanted = [
        GatewayCommand::CloseNow,
        GatewayCommand::CloseNow,
        GatewayCommand::Resume,
        GatewayCommand::CancelSequence("r1-1".into()),
        GatewayCommand::RedoSequence {
            sequence: "r1-1".into(),
            cause: "trailed".into(),
        },
        GatewayCommand::SubmitRequest(serde_json::from_str(&request).unwrap()),
        GatewayCommand::SubmitPacket {
            body: packet.to_vec(),
            channel: "test".into(),
        },
    ];
    assert_eq!(observatory.commands(), wanted);
}

#[test]
fn why_a_sequence_has_no_place_is_told_interval_by_interval() {
    let observatory = Observatory::new("why");
    let http = observatory.serve_anywhere();
    let unplanned = get(http.addr, "/api/v1/status").json()["unplanned"][0].clone();
    assert!(
        unplanned.get("excluded").is_none(),
        "the stretches would swell every snapshot"
    );
    let id = unplanned["sequence"].as_str().unwrap().to_owned();
    let why = get(http.addr, &format!("/api/v1/sequences/{id}/why")).json();
    assert_eq!(why["sentence"], unplanned["sentence"]);
    assert_eq!(
        (&why["excluded"][0]["cause"], &why["excluded"][0]["limit"]),
        (&"below_altitude".into(), &25.0.into())
    );
    assert_eq!(get(http.addr, "/api/v1/sequences/nobody/why").status, 404);
}

#[test]
fn commands_from_foreign_pages_and_with_wrong_tokens_do_not_reach_the_daemon() {
    let observatory = Observatory::new("foreign");
    let http = observatory.serve_anywhere();
    let body = br#"{"command":"release"}"#;
    let json = ("content-type", "application/json");
    let cases: &[(u16, &[(&str, &str)])] = &[
        (403, &[json, ("origin", "http://evil.example")]),
        (403, &[json, ("sec-fetch-site", "cross-site")]),
        (401, &[json, ("host", "evil.example")]),
        (401, &[json, ("x-forwarded-for", "203.0.113.9")]),
        (401, &[json, ("authorization", "Bearer guess")]),
        (415, &[("content-type", "text/plain")]),
    ];
    for (status, headers) in cases {
        let answer = send(http.addr, "POST", "/api/v1/commands", headers, body);
        assert_eq!(answer.status, *status, "{headers:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert!(observatory.commands().is_empty());
    let right = [
        json,
        ("authorization", "Bearer correct horse"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    assert_eq!(send(http.addr, "POST", "/api/v1/commands", &right, body).status, 202);
}

#[test]
fn every_error_is_a_problem_document() {
    let observatory = Observatory::new("problems");
    let http = observatory.serve_anywhere();
    let large = "x".repeat(10_000);
    let json: &[(&str, &str)] = &[("content-type", "application/json")];
    let cases = [
        (404, send(http.addr, "GET", "/nowhere", &[], b"")),
        (404, send(http.addr, "GET", "/api/v1/products/none.png", &[], b"")),
        (405, send(http.addr, "DELETE", "/api/v1/status", &[], b"")),
        (405, send(http.addr, "GET", "/api/v1/commands", &[], b"")),
        (400, send(http.addr, "GET", "/api/v1/journal?limit=0", &[], b"")),
        (400, send(http.addr, "GET", "/api/v1/journal?after=x", &[], b"")),
        (400, send(http.addr, "GET", "/api/v1/events?after=-1", &[], b"")),
        (
            400,
            send(http.addr, "GET", "/api/v1/events", &[("last-event-id", "x")], b""),
        ),
        (400, send(http.addr, "POST", "/api/v1/commands", json, b"{")),
        (
            400,
            send(http.addr, "POST", "/api/v1/commands", json, br#"{"command":"explode"}"#),
        ),
        (400, send(http.addr, "POST", "/api/v1/packets", &[], b"")),
        (413, send(http.addr, "POST", "/api/v1/commands", json, large.as_bytes())),
    ];
    for (index, (status, answer)) in cases.iter().enumerate() {
        assert_eq!(answer.status, *status, "case {index}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "case {index}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], *status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:alidade:problem:"));
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(cases[2].1.header("allow"), Some("GET, HEAD"));
}

#[test]
fn products_are_served_and_nothing_else_is() {
    let observatory = Observatory::new("products");
    std::fs::write(observatory.folder.join("alidade.sqlite"), b"secret").unwrap();
    let mut ports = observatory.ports();
    ports.product_path = Some(std::sync::Arc::new(|id| {
        Ok((id == "product-7").then(|| std::path::PathBuf::from("previews/e2.png")))
    }));
    let http = alidade::gateway::http::serve(([127, 0, 0, 1], 0).into(), ports).unwrap();
    let preview = get(http.addr, "/api/v1/products/previews/e2.png");
    assert_eq!(
        (preview.status, preview.header("content-type")),
        (200, Some("image/png"))
    );
    assert!(preview.body.starts_with(b"\x89PNG"));
    assert_eq!(get(http.addr, "/api/v1/products/product-7").body, preview.body);
    let fits = get(http.addr, "/api/v1/products/frames/e2.fits");
    assert_eq!(
        (fits.body.len(), fits.header("content-type")),
        (600_000, Some("application/fits"))
    );
    assert_eq!(
        fits.header("content-disposition"),
        Some("attachment; filename=\"e2.fits\"")
    );
    for path in [
        "alidade.sqlite",
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "previews/%00.png",
        "/etc/hostname",
    ] {
        assert_eq!(
            get(http.addr, &format!("/api/v1/products/{path}")).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn every_answer_forbids_foreign_content() {
    let observatory = Observatory::new("headers");
    let http = observatory.serve_anywhere();
    for path in ["/", "/status", "/api/v1/status", "/nowhere", "/assets/now.js"] {
        let answer = get(http.addr, path);
        let policy = answer
            .header("content-security-policy")
            .unwrap_or_else(|| panic!("{path}"));
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn the_dashboard_is_sent_once() {
    let observatory = Observatory::new("assets");
    let http = observatory.serve_anywhere();
    let page = get(http.addr, "/");
    assert!(page.text().contains("/assets/now.js"));
    let tag = page.header("etag").unwrap();
    let again = send(http.addr, "GET", "/", &[("if-none-match", tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = send(http.addr, "HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn the_status_page_needs_no_script_and_escapes_what_it_shows() {
    let observatory = Observatory::new("page-html");
    let http = observatory.serve_anywhere();
    let page = get(http.addr, "/status").text();
    assert!(!page.contains("<script"));
    assert!(page.contains("observing NGC 4889 in r, frame 1 of 10"));
    assert!(page.contains("&lt;img src=x&gt;") && !page.contains("<img"));
    assert!(page.contains("name=\"command\" value=\"close_now\""));
}

#[test]
fn the_stop_button_asks_again_before_it_acts() {
    let observatory = Observatory::new("stop");
    let http = observatory.serve_anywhere();
    let asked = get(http.addr, "/status/confirm?command=close_now").text();
    assert!(
        asked.contains("method=\"post\"") && asked.contains("Yes: Close now"),
        "{asked}"
    );
    assert!(observatory.commands().is_empty(), "asking changes nothing");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let forged = send(
        http.addr,
        "POST",
        "/status/command",
        &[form, ("origin", "http://evil.example")],
        b"command=close_now",
    );
    assert_eq!(forged.status, 403);
    let done = send(http.addr, "POST", "/status/command", &[form], b"command=close_now");
    assert_eq!(done.status, 202);
    assert!(done.text().contains("Close now: accepted"), "{}", done.text());
    assert_eq!(observatory.commands(), [GatewayCommand::CloseNow]);
    assert_eq!(get(http.addr, "/status/confirm?command=explode").status, 400);
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let observatory = Observatory::new("port");
    let first = observatory.serve_anywhere();
    let second = observatory.serve(first.addr).unwrap_err();
    assert!(matches!(second, GatewayError::PortInUse { .. }));
    let wanted = format!("cannot listen on {}: the port is in use by another program", first.addr);
    assert_eq!(second.to_string(), wanted);
}

#[test]
fn stopping_ends_the_streams_and_frees_the_port() {
    let observatory = Observatory::new("stopping");
    let http = observatory.serve_anywhere();
    let addr = http.addr;
    let mut events = Events::open(addr, "/api/v1/events", None);
    events.next_of("state");
    http.stop();
    while events.next().is_some() {}
    observatory.serve(addr).unwrap();
}

#[test]
fn a_daemon_without_an_ear_is_said_to_be_deaf() {
    let observatory = Observatory::new("deaf");
    let mut ports = observatory.ports();
    let (commands, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    ports.commands = commands;
    let http = alidade::gateway::http::serve(([127, 0, 0, 1], 0).into(), ports).unwrap();
    let answer = post(http.addr, "/api/v1/commands", r#"{"command":"pause"}"#);
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (503, &"urn:alidade:problem:not-listening".into())
    );
}

const STRATEGY: &str = include_str!("../config/strategies/30-grb-arcmin.toml");

#[test]
fn alerts_are_told_with_their_budget_tiles_and_reasons() {
    let observatory = Observatory::new("alerts");
    let http = observatory.serve_anywhere();
    let list = get(http.addr, "/api/v1/alerts").json();
    assert_eq!(list["alerts"][0]["event"], "event-1");
    assert_eq!(list["alerts"][0]["when"], "now");
    assert_eq!(list["stages"]["slew_commanded"]["count"], 1);
    let one = get(http.addr, "/api/v1/alerts/event-1").json();
    assert_eq!(one["coverage"]["tiles"][1]["when"], "later_tonight");
    assert_eq!(one["others"]["test"], "disabled");
    let shares: Vec<&str> = one["budget"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["to"].as_str().unwrap())
        .collect();
    assert_eq!(shares, ["received", "decided", "slew_commanded", "first_light"]);
    assert_eq!(get(http.addr, "/api/v1/alerts/event-9").status, 404);
    assert_eq!(get(http.addr, "/api/v1/alerts?limit=0").status, 400);
    assert_eq!(get(http.addr, "/alerts").status, 200);
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let observatory = Observatory::new("metrics");
    let mut snapshot = busy(1);
    snapshot.counters.insert("packets".into(), 7);
    let histogram = serde_json::json!({ "counts": [0, 2, 1], "count": 3, "sum_s": 0.5, "max_s": 0.4 });
    let histogram = serde_json::from_value(histogram).unwrap();
    snapshot.alert_stages.insert("decided".into(), histogram);
    observatory.publish(snapshot);
    let http = observatory.serve_anywhere();
    let answer = get(http.addr, "/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    for line in [
        "alidade_packets_total 7",
        "alidade_alert_stage_seconds_bucket{stage=\"decided\",le=\"0.0001\"} 0",
        "alidade_alert_stage_seconds_bucket{stage=\"decided\",le=\"0.001\"} 2",
        "alidade_alert_stage_seconds_bucket{stage=\"decided\",le=\"0.002\"} 3",
        "alidade_alert_stage_seconds_count{stage=\"decided\"} 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn a_strategy_is_tried_on_past_alerts_before_it_is_handed_on() {
    let observatory = Observatory::new("strategies");
    let http = observatory.serve_anywhere();
    let known = get(http.addr, "/api/v1/strategies").json();
    let version = known["strategies"][0]["version"].as_u64().unwrap();
    let newer = STRATEGY.replace(&format!("version = {version}"), &format!("version = {}", version + 1));
    let picky = newer.replace("svom_snr = 6.5", "svom_snr = 60.0");
    let body = |text: &str| serde_json::json!({ "text": text, "days": 3660 }).to_string();
    let told = post(http.addr, "/api/v1/strategies/dry-run", &body(&picky));
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(
        (&told.json()["lost"], &told.json()["events"]),
        (&1.into(), &1.into()),
        "{}",
        told.text()
    );
    assert!(observatory.commands().is_empty(), "a dry run changes nothing");
    // Every fault at once, and nothing is handed on.
    let broken = newer
        .replace("priority = 4", "priority = 40")
        .replace("count = 18", "count = 0");
    let address = format!(
        "/api/v1/strategies/{}",
        known["strategies"][0]["name"].as_str().unwrap()
    );
    let seen = get(http.addr, &address);
    let tag = seen.header("etag").unwrap().to_owned();
    let put = |text: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let body = serde_json::json!({ "text": text }).to_string();
        send(http.addr, "PUT", &address, &all, body.as_bytes())
    };
    let matching = ("if-match", tag.as_str());
    let tried = post(
        http.addr,
        "/api/v1/strategies/dry-run",
        &serde_json::json!({ "text": broken }).to_string(),
    );
    for refused in [tried, put(&broken, &[matching])] {
        assert_eq!(refused.status, 400);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains("strategy.priority") && detail.contains("plan.step[0].count"),
            "{detail}"
        );
    }
    let old = put(STRATEGY, &[matching]);
    assert!(
        old.status == 400 && old.text().contains("needs a higher number"),
        "{}",
        old.text()
    );
    assert_eq!(put(&picky, &[("host", "evil.example"), matching]).status, 401);
    // Who has not looked, or looked before somebody else's change, changes nothing.
    assert_eq!(put(&picky, &[]).status, 428);
    assert_eq!(put(&picky, &[("if-match", "\"of-yesterday\"")]).status, 412);
    assert_eq!(put(&picky, &[("if-none-match", "*")]).status, 412);
    let elsewhere = send(
        http.addr,
        "PUT",
        "/api/v1/strategies/another",
        &[("content-type", "application/json"), ("if-none-match", "*")],
        serde_json::json!({ "text": picky }).to_string().as_bytes(),
    );
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.text());
    assert!(observatory.commands().is_empty());
    assert_eq!(put(&picky, &[matching]).status, 202);
    assert_eq!(observatory.commands(), [GatewayCommand::ChangeStrategy(picky)]);
}

#[test]
fn a_document_that_is_known_is_not_sent_again() {
    let observatory = Observatory::new("tags");
    let http = observatory.serve_anywhere();
    for path in [
        "/api/v1/alerts",
        "/api/v1/strategies",
        "/api/v1/status",
        "/api/v1/devices",
        "/api/v1/openapi.json",
    ] {
        let first = get(http.addr, path);
        let tag = first
            .header("etag")
            .unwrap_or_else(|| panic!("{path} has no tag"))
            .to_owned();
        let weak = format!("\"other\", W/{tag}");
        for known in [tag.as_str(), weak.as_str(), "*"] {
            let again = send(http.addr, "GET", path, &[("if-none-match", known)], b"");
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}");
        }
        let other = send(http.addr, "GET", path, &[("if-none-match", "\"other\"")], b"");
        assert_eq!((other.status, other.body == first.body), (200, true), "{path}");
        let head = send(http.addr, "HEAD", path, &[], b"");
        assert_eq!((head.status, head.header("etag")), (200, Some(tag.as_str())), "{path}");
    }
    let before = get(http.addr, "/api/v1/status").header("etag").map(str::to_owned);
    observatory.publish(busy(1));
    let changed = (0..4000).any(|_| get(http.addr, "/api/v1/status").header("etag") != before.as_deref());
    assert!(changed, "another state has another tag");
    assert!(
        get(http.addr, "/nowhere").header("etag").is_none(),
        "a problem is no document"
    );
}

#[test]
fn every_device_tells_its_state_its_last_day_and_what_can_be_said_to_it() {
    let observatory = Observatory::new("devices");
    let http = observatory.serve_anywhere();
    let list = get(http.addr, "/api/v1/devices").json();
    let names: Vec<&str> = list["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["device"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["camera_vis", "mast", "mount"]);
    assert_eq!(list["language"]["mount"]["do"][2], "PARK");
    assert_eq!(list["language"]["station"]["set"], serde_json::json!([]));
    // A minute later there is a second sample; a device that is away leaves a hole.
    let samples = |count: usize| {
        for _ in 0..4000 {
            let told = get(http.addr, "/api/v1/devices/camera_vis").json();
            let curve = told["telemetry"]["temperature_c"].clone();
            if curve.as_array().is_some_and(|samples| samples.len() == count) {
                return curve;
            }
        }
        panic!("there are not {count} samples");
    };
    samples(1);
    observatory.publish(busy(61));
    let curve = samples(2);
    assert_eq!(
        (&curve[0]["value"], &curve[1]["value"]),
        (&(-19.9).into(), &(-19.9).into()),
        "{curve}"
    );
    let away = get(http.addr, "/api/v1/devices/mast").json();
    assert_eq!(
        (&away["device"]["up"], &away["device"]["cause"]),
        (&false.into(), &"no answer".into())
    );
    assert_eq!(get(http.addr, "/api/v1/devices/nobody").status, 404);
    assert_eq!(get(http.addr, "/api/v1/devices/mount?hours=0").status, 400);
}
