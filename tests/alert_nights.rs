//! What becomes of alerts, night by night: a better position, a retraction, a region larger than the field, a place that
//! rises later, one that has set; and what is told of it afterwards.

use crate::support::{
    command::{Folder, copy_of_night, say},
    journal::{Journal, at, seconds, text},
};
use serde_json::Value;
use std::{fs, path::Path};

/// One packet of a night: made from the shipped one, with what is different.
struct Sent {
    arrival: &'static str,
    changes: Vec<(&'static str, &'static str)>,
}

fn wakeup(changes: &[(&'static str, &'static str)]) -> Sent {
    Sent {
        arrival: "2026-03-14T23:32:10Z",
        changes: changes.to_vec(),
    }
}

const PACKET: &str = "svom-sb26022501-eclairs-wakeup.xml";
const RA: &str = "<C1>204.6500</C1>";
const DEC: &str = "<C2>44.6257</C2>";
const RADIUS: &str = "<Error2Radius>0.0981</Error2Radius>";
const IDENTITY: &str = "sb26022501_eclairs-wakeup\">";

/// The night of the burst with other packets, run to its end: its journal and its folder.
fn night(folder: &Folder, packets: &[Sent], end: Option<&str>) -> (Journal, String) {
    let scenario = folder.path().join("scenario");
    copy_of_night("grb-over-ohp", &scenario);
    let original = fs::read_to_string(scenario.join("events").join(PACKET)).unwrap();
    let mut events = String::new();
    for (number, sent) in packets.iter().enumerate() {
        let mut body = original.clone();
        for (from, to) in &sent.changes {
            assert!(body.contains(from), "{from}");
            body = body.replace(from, to);
        }
        fs::write(scenario.join(format!("events/{number}.xml")), body).unwrap();
        // Every packet carries the trigger time of the first: one burst.
        let delay_s = 3.0 + seconds("2026-03-14T23:32:10Z", sent.arrival);
        events.push_str(&format!(
            "[[packets]]\nfile = \"{number}.xml\"\nsent = \"2026-02-25T08:52:07Z\"\narrival = \"{}\"\ndelay_s = {delay_s:.1}\n",
            sent.arrival
        ));
    }
    fs::write(scenario.join("events.toml"), events).unwrap();
    if let Some(end) = end {
        let file = scenario.join("scenario.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace("2026-03-15T06:30:00Z", end)).unwrap();
    }
    let out = folder.join("out");
    let database = format!("sqlite://{}", folder.join("night.sqlite"));
    let said = say(&[
        "simulate",
        &scenario.display().to_string(),
        "--out",
        &out,
        "--frames",
        "none",
        "--db",
        &database,
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    (Journal::read(&Path::new(&out).join("journal.ndjson")), out)
}

/// Decisions about the one event, in order.
fn decisions(journal: &Journal) -> Vec<&Value> {
    journal.of("event_decided").collect()
}

/// Where the mount was sent for the alert's sequences, in order: right ascension and declination as asked.
fn exposed(journal: &Journal) -> Vec<(String, String)> {
    journal
        .of("exposure_started")
        .filter_map(|e| Some((e["exposure"]["sequence"].as_str()?.to_owned(), at(e).to_owned())))
        .filter(|(sequence, _)| sequence.starts_with("alert-"))
        .collect()
}

fn sequences<'a>(journal: &'a Journal, request: &str) -> Vec<&'a Value> {
    let submitted = journal.of("request_submitted").find(|e| e["request"]["id"] == request);
    submitted.unwrap()["request"]["sequences"]
        .as_array()
        .unwrap()
        .iter()
        .collect()
}

#[test]
fn an_update_out_of_the_field_moves_the_telescope_and_one_within_it_does_not() {
    let folder = Folder::new("alert-repoint");
    let within = Sent {
        arrival: "2026-03-14T23:33:20Z",
        changes: vec![
            (IDENTITY, "sb26022501_within\">"),
            (RA, "<C1>204.6600</C1>"),
            (RADIUS, "<Error2Radius>0.0700</Error2Radius>"),
        ],
    };
    let out_of_it = Sent {
        arrival: "2026-03-14T23:34:20Z",
        changes: vec![
            (IDENTITY, "sb26022501_moved\">"),
            (RA, "<C1>205.4000</C1>"),
            (RADIUS, "<Error2Radius>0.0300</Error2Radius>"),
        ],
    };
    let (journal, _) = night(&folder, &[wakeup(&[]), within, out_of_it], None);
    let decided = decisions(&journal);
    assert_eq!(decided.len(), 3, "{decided:#?}");
    assert!(decided.iter().all(|d| d["event"] == "event-1" && d["followed"] == true));
    assert_eq!(
        decided[1]["request"], "alert-1-1",
        "the same observation goes on: {}",
        decided[1]
    );
    assert_eq!(decided[2]["request"], "alert-1-2", "{}", decided[2]);
    let moved = at(decided[2]);
    let cancelled = journal
        .after(moved, "sequence_moved", |e| {
            text(&e["sequence"]).starts_with("alert-1-1-") && e["to"] == "cancelled"
        })
        .expect("the first observation ends");
    assert!(text(&cancelled["cause"]).contains("out of the field"), "{cancelled}");
    let slew = journal
        .after(moved, "device_command", |e| {
            e["device"] == "mount" && text(&e["command"]).contains("slew")
        })
        .unwrap();
    assert!(seconds(moved, at(slew)) <= 1.0, "{slew}");
    let target = &sequences(&journal, "alert-1-2")[0]["target"];
    assert_eq!(target["ra_deg"], 205.4);
    let after: Vec<_> = exposed(&journal)
        .into_iter()
        .filter(|(_, when)| when.as_str() > moved)
        .collect();
    assert!(
        !after.is_empty() && after.iter().all(|(sequence, _)| sequence.starts_with("alert-1-2")),
        "{after:?}"
    );
}

#[test]
fn a_retraction_ends_what_runs_and_what_waits_and_others_are_told() {
    let folder = Folder::new("alert-retracted");
    let retraction = Sent {
        arrival: "2026-03-14T23:36:00Z",
        changes: vec![
            (IDENTITY, "sb26022501_retraction\">"),
            (
                "name=\"Packet_Type\" value=\"202\"",
                "name=\"Packet_Type\" value=\"219\"",
            ),
            (
                "</WhereWhen>",
                "</WhereWhen><Citations><EventIVORN cite=\"retraction\">\
                 ivo://org.svom/fsc#sb26022501_eclairs-wakeup</EventIVORN></Citations>",
            ),
        ],
    };
    let (journal, out) = night(&folder, &[wakeup(&[]), retraction], None);
    let decided = decisions(&journal);
    let last = decided.last().unwrap();
    assert_eq!(last["followed"], false, "{last}");
    let over = at(last);
    let mut standing = std::collections::BTreeMap::new();
    for moved in journal
        .of("sequence_moved")
        .filter(|e| text(&e["sequence"]).starts_with("alert-"))
    {
        standing.insert(text(&moved["sequence"]), text(&moved["to"]));
    }
    assert!(
        standing.len() > 2 && standing.values().all(|s| ["cancelled", "executed"].contains(s)),
        "{standing:?}"
    );
    assert!(
        standing.keys().any(|s| s.contains("visit")),
        "a later visit was planned: {standing:?}"
    );
    assert!(
        exposed(&journal).iter().all(|(_, when)| when.as_str() <= over),
        "nothing is exposed afterwards"
    );
    // The night goes on, and the displaced work has its quota again.
    assert!(
        journal
            .after(over, "exposure_started", |e| e["exposure"]["kind"] == "object")
            .is_some()
    );
    let reports: Vec<&Value> = journal.of("alert_reported").collect();
    assert_eq!(reports.last().unwrap()["report"]["status"], "retracted");
    let draft = Path::new(&out)
        .join("data")
        .join(text(&reports.last().unwrap()["draft"]));
    assert!(fs::read_to_string(draft).unwrap().contains("RETRACTED"));
}

#[test]
fn a_region_larger_than_the_field_is_tiled_most_probable_first() {
    let folder = Folder::new("alert-tiled");
    let far = wakeup(&[(RADIUS, "<Error2Radius>0.4500</Error2Radius>")]);
    let (journal, _) = night(&folder, &[far], None);
    let decided = decisions(&journal)[0];
    assert_eq!(decided["followed"], true, "{decided}");
    let coverage = &decided["coverage"];
    assert_eq!(coverage["pattern"], "tiles");
    let tiles = coverage["tiles"].as_array().unwrap();
    assert!(tiles.len() > 4, "{coverage}");
    let probability = |tile: &Value| tile["probability"].as_f64().unwrap();
    let now: Vec<f64> = tiles.iter().filter(|t| t["when"] == "now").map(probability).collect();
    assert!(now.is_sorted_by(|a, b| a >= b), "{now:?}");
    let covered: f64 = tiles.iter().filter(|t| t["when"] != "never").map(probability).sum();
    assert!((coverage["covered"].as_f64().unwrap() - covered).abs() < 1e-9 && covered > 0.5);
    let mut fields: Vec<String> = exposed(&journal).into_iter().map(|(sequence, _)| sequence).collect();
    fields.dedup();
    assert!(fields.len() >= tiles.len(), "every field is observed: {fields:?}");
    assert_eq!(fields[0], "alert-1-1-1", "the most probable first: {fields:?}");
    let shown = say(&[
        "alert",
        "show",
        "event-1",
        "--journal",
        &folder.join("out/journal.ndjson"),
    ]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(
        shown.stdout.contains("Tiles") && shown.stdout.contains("covering"),
        "{}",
        shown.stdout
    );
}

#[test]
fn what_rises_later_waits_in_the_schedule_until_then() {
    let folder = Folder::new("alert-later");
    let east = wakeup(&[(RA, "<C1>285.0</C1>"), (DEC, "<C2>40.0</C2>")]);
    let (journal, _) = night(&folder, &[east], None);
    let decided = decisions(&journal)[0];
    assert_eq!(
        (&decided["followed"], &decided["outlook"]["when"]),
        (&true.into(), &"later_tonight".into()),
        "{decided}"
    );
    // In the east the site's horizon is higher than the mount's limit.
    assert_eq!(decided["outlook"]["reason"], "horizon_mask");
    let from = text(&decided["outlook"]["from"]);
    assert!(text(&decided["outlook"]["sentence"]).starts_with("later tonight"));
    // Nothing is interrupted for it.
    assert!(
        !journal
            .of("sequence_moved")
            .any(|e| text(&e["cause"]).contains("displaced by alert"))
    );
    let planned = journal.after(at(decided), "schedule_made", |e| {
        let placed = e["schedule"]["placed"].as_array().unwrap();
        placed.iter().any(|p| text(&p["sequence"]).starts_with("alert-1-1"))
    });
    let planned = planned.expect("it is planned");
    assert!(seconds(at(decided), at(planned)) < 60.0, "at once: {}", at(planned));
    let exposures = exposed(&journal);
    let (_, first) = exposures.first().expect("it is observed");
    assert!((0.0..1800.0).contains(&seconds(from, first)), "from {from}, at {first}");
    let timed = journal
        .of("alert_timing")
        .filter(|e| e["stages"]["first_light"].is_string());
    assert!(timed.count() >= 1, "what the schedule begins for an alert is timed too");
}

#[test]
fn what_has_set_is_observed_in_the_next_night() {
    let folder = Folder::new("alert-next-night");
    let west = wakeup(&[(RA, "<C1>60.0</C1>"), (DEC, "<C2>25.0</C2>")]);
    let (journal, _) = night(&folder, &[west], Some("2026-03-15T21:30:00Z"));
    let decided = decisions(&journal)[0];
    assert_eq!(
        (&decided["followed"], &decided["outlook"]["when"]),
        (&true.into(), &"next_night".into()),
        "{decided}"
    );
    let exposures = exposed(&journal);
    let (_, first) = exposures.first().expect("it is observed");
    assert!(first.as_str() > "2026-03-15T17:00", "{first}");
    let asked = sequences(&journal, "alert-1-1");
    assert!(
        asked.iter().all(|s| text(&s["window"][0]) > "2026-03-15T17:00"),
        "{asked:#?}"
    );
}

#[test]
fn what_never_rises_is_not_asked_for_and_says_why() {
    let folder = Folder::new("alert-never");
    let south = wakeup(&[(DEC, "<C2>-30.0000</C2>")]);
    let (journal, _) = night(&folder, &[south], None);
    let decided = decisions(&journal)[0];
    assert_eq!(decided["followed"], false);
    assert_eq!(
        (&decided["outlook"]["when"], &decided["outlook"]["reason"]),
        (&"never".into(), &"below_altitude".into()),
        "{decided}"
    );
    assert!(text(&decided["reason"]).contains("never gets higher than"), "{decided}");
    assert!(decided["request"].is_null() && exposed(&journal).is_empty());
}

#[test]
fn an_alert_is_told_by_command_from_the_database_and_a_strategy_is_rehearsed_on_it() {
    let folder = Folder::new("alert-told");
    let (journal, out) = night(&folder, &[wakeup(&[])], None);
    let database = format!("sqlite://{}", folder.join("night.sqlite"));
    let listed = say(&["alert", "list", "--db", &database, "--json"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let list: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        (&list[0]["event"], &list[0]["when"]),
        (&"event-1".into(), &"now".into()),
        "{list}"
    );
    let shown = say(&["alert", "show", "event-1", "--db", &database, "--json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    for stage in [
        "event",
        "notice_sent",
        "received",
        "parsed",
        "merged",
        "decided",
        "exposure_aborted",
        "slew_commanded",
        "on_target",
        "first_light",
    ] {
        assert!(shown["stages"][stage].is_string(), "{stage}: {}", shown["stages"]);
    }
    let budget: f64 = shown["budget"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["seconds"].as_f64().unwrap())
        .sum();
    let whole = seconds(text(&shown["stages"]["event"]), text(&shown["stages"]["first_light"]));
    assert!((budget - whole).abs() < 1e-6, "the shares add up: {budget} {whole}");
    let report = say(&["alert", "report", "event-1", "--db", &database]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let on_disk = Path::new(&out).join("data/outbox/event-1.json");
    let on_disk: Value = serde_json::from_str(&fs::read_to_string(on_disk).unwrap()).unwrap();
    assert_eq!(report, on_disk, "the journal and the outbox say the same");
    let started = journal
        .of("exposure_started")
        .find(|e| e["exposure"]["id"] == report["frames"][0]["exposure"]);
    assert!(started.is_some(), "{report}");
    let draft = say(&["alert", "report", "event-1", "--db", &database, "--draft"]);
    assert!(draft.stdout.starts_with("DRAFT, NOT SENT."), "{}", draft.stdout);
    for (arguments, code) in [(["alert", "show", "event-99"], 1), (["alert", "report", "event-99"], 1)] {
        let said = say(&[&arguments[..], &["--db", &database]].concat());
        assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    }
    rehearse(&folder, &database);
}

/// A strategy that asks for more would have lost the burst; one that changes nothing changes nothing.
fn rehearse(folder: &Folder, database: &str) {
    let config = folder.join("scenario/observatory.toml");
    let shipped = fs::read_to_string("config/strategies/30-grb-arcmin.toml").unwrap();
    let version = shipped
        .lines()
        .find(|line| line.starts_with("version"))
        .unwrap()
        .to_owned();
    let newer = shipped.replace(&version, "version = 99");
    let picky = newer.replace("svom_snr = 6.5", "svom_snr = 60.0");
    let dry_run = |name: &str, text: &str| -> Value {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        let said = say(&[
            "alert", "strategy", "dry-run", &file, "--config", &config, "--db", database, "--since", "3660", "--json",
        ]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        serde_json::from_str(&said.stdout).unwrap()
    };
    let same = dry_run("same.toml", &newer);
    assert_eq!((&same["events"], &same["same"]), (&1.into(), &1.into()), "{same}");
    let lost = dry_run("picky.toml", &picky);
    assert_eq!(
        (&lost["lost"], &lost["changes"][0]["turn"]),
        (&1.into(), &"lost".into()),
        "{lost}"
    );
    assert!(
        text(&lost["changes"][0]["after"]["why"]).contains("below_bound(svom_snr)"),
        "{lost}"
    );
    let file = folder.join("broken.toml");
    fs::write(
        &file,
        newer
            .replace("priority = 4", "priority = 40")
            .replace("count = 18", "count = 0"),
    )
    .unwrap();
    let said = say(&["alert", "strategy", "check", &file]);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr.contains("strategy.priority") && said.stderr.contains("plan.step[0].count"),
        "{}",
        said.stderr
    );
    let listed = say(&["alert", "strategy", "list", "--config", &config, "--db", database]);
    assert!(
        listed.stdout.contains("grb-arcmin v"),
        "{}{}",
        listed.stdout,
        listed.stderr
    );
}
