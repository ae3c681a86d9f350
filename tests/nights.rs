//! Whole nights, as `alidade simulate` runs them: the one of the README event by event, and others by their outcome.

use crate::support::{
    command::{self, Folder, say},
    hardware::eventually,
    journal::{Journal, at, seconds, text},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};

const GRB: &str = "simulations/nights/grb-over-ohp";
const ROLL_OFF: &str = "simulations/nights/roll-off-roof";

fn report(out: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(Path::new(out).join("report.json")).unwrap()).unwrap()
}

#[test]
fn the_night_of_the_burst_happens_as_the_readme_tells() {
    let folder = Folder::new("grb-night");
    let out = folder.join("out");
    let said = say(&["simulate", GRB, "--out", &out, "--frames", "pixels"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(report(&out)["broken"], serde_json::json!([]));
    let journal = Journal::read(&Path::new(&out).join("journal.ndjson"));
    start_up(&journal);
    let plan = first_plan(&journal);
    opening(&journal);
    shower(&journal);
    burst(&journal, &plan, &Path::new(&out).join("data"));
    dawn(&journal, &Path::new(&out).join("data"));
    headers(&journal, &Path::new(&out).join("data"));
}

/// Every device connected, read and identified before the first command.
fn start_up(journal: &Journal) {
    let identified: BTreeSet<&str> = journal.of("device_identified").map(|e| text(&e["device"])).collect();
    for device in [
        "plc",
        "mount",
        "camera_vis",
        "camera_nir",
        "wheel_vis",
        "wheel_nir",
        "focuser",
        "mast",
    ] {
        assert!(
            identified.contains(device),
            "{device} was not identified: {identified:?}"
        );
    }
    assert!(journal.of("device_identified").all(|e| !text(&e["version"]).is_empty()));
    let phases: Vec<&str> = journal.of("phase_entered").map(|e| text(&e["phase"])).collect();
    assert_eq!(phases, ["day", "evening", "night", "morning", "day"]);
}

/// At least forty sequences of several users with quotas are weighed in the first schedule; its sequences are returned.
fn first_plan(journal: &Journal) -> Vec<String> {
    let plan = &journal.of("schedule_made").next().unwrap()["schedule"];
    assert_eq!(plan["first"], true);
    let (placed, unplaced) = (plan["placed"].as_array().unwrap(), plan["unplaced"].as_array().unwrap());
    assert!(
        placed.len() + unplaced.len() >= 40 && placed.len() >= 30,
        "{} + {}",
        placed.len(),
        unplaced.len()
    );
    assert!(unplaced.iter().all(|u| !text(&u["sentence"]).is_empty()));
    let users: BTreeSet<&str> = journal
        .of("request_submitted")
        .map(|e| text(&e["request"]["user"]))
        .collect();
    assert!(users.len() >= 4, "{users:?}");
    placed.iter().map(|p| text(&p["sequence"]).to_owned()).collect()
}

/// The roof opens while safe, and no light frame is begun before it is measured open.
fn opening(journal: &Journal) {
    for opened in journal.of("enclosure_moved").filter(|e| e["to"] == "opening") {
        assert_eq!(
            journal.before(at(opened), "safety_changed").unwrap()["safe"],
            true,
            "{opened}"
        );
    }
    let mut open = false;
    let mut light = 0;
    for entry in &journal.0 {
        if entry["fact"] == "enclosure_moved" {
            open = entry["to"] == "open";
        }
        if entry["fact"] == "exposure_started" && entry["exposure"]["kind"] == "object" {
            assert!(open, "{entry}");
            light += 1;
        }
    }
    assert!(light > 100, "{light} light frames");
}

/// Clouds and rain end a running exposure, the roof closes, and re-opens after the good-delay.
fn shower(journal: &Journal) {
    let unsafe_at = journal
        .after("2026-03-14T20:00", "safety_changed", |e| e["safe"] == false)
        .unwrap();
    let rain = at(unsafe_at);
    let aborted = journal
        .after(rain, "exposure_ended", |e| e["outcome"]["outcome"] == "aborted")
        .expect("an exposure ran when the shower came");
    assert!(seconds(rain, at(aborted)) <= 2.0, "{aborted}");
    let closed = journal.after(rain, "enclosure_moved", |e| e["to"] == "closed").unwrap();
    assert!(seconds(rain, at(closed)) <= 60.0, "{closed}");
    let safe = journal
        .after(at(closed), "safety_changed", |e| e["safe"] == true)
        .unwrap();
    let open = journal
        .after(at(closed), "enclosure_moved", |e| e["to"] == "open")
        .unwrap();
    assert!(at(open) > at(safe) && seconds(at(safe), at(open)) < 120.0, "{open}");
    // Fifteen minutes without rain at least.
    let dry = journal
        .0
        .iter()
        .rfind(|e| e["fact"] == "weather" && at(e) < at(safe) && e["readings"]["rain_mm_h"]["Ok"].as_f64() > Some(0.0))
        .unwrap();
    assert!(
        seconds(at(dry), at(open)) > 900.0,
        "dry since {}, open at {}",
        at(dry),
        at(open)
    );
}

/// The packet interrupts an exposure, is slewed to and observed; its frames are reduced; the displaced sequence is given
/// back its quota and its chance.
fn burst(journal: &Journal, plan: &[String], data: &Path) {
    let packet = journal.of("packet_received").next().unwrap();
    assert_eq!(packet["verdict"], "act");
    let heard = at(packet);
    let displaced = journal
        .after(heard, "sequence_moved", |e| {
            e["from"] == "executing" && text(&e["cause"]).contains("displaced")
        })
        .expect("a sequence gave way");
    assert_eq!(displaced["to"], "observable");
    let name = text(&displaced["sequence"]);
    assert!(plan.iter().any(|p| p == name), "{name} was of the plan");
    let refund = journal
        .after(heard, "quota_posted", |e| e["posting"]["sequence"] == name)
        .unwrap();
    assert_eq!(
        (&refund["posting"]["from"], &refund["posting"]["to"]),
        (&"spent".into(), &"free".into()),
        "its first exposure had spent what was reserved"
    );
    let aborted = journal
        .after(heard, "exposure_ended", |e| e["outcome"]["outcome"] == "aborted")
        .unwrap();
    assert!(seconds(heard, at(aborted)) <= 2.0);
    let slew = journal
        .after(heard, "device_command", |e| {
            e["device"] == "mount" && text(&e["command"]).contains("slew")
        })
        .unwrap();
    assert!(seconds(heard, at(slew)) <= 1.0, "{slew}");
    let event = journal.of("event_decided").next().unwrap();
    assert_eq!(event["followed"], true);
    let request = text(&event["request"]);
    assert!(journal.of("request_submitted").any(|e| e["request"]["id"] == request));
    let channels: BTreeSet<&str> = journal
        .of("exposure_started")
        .filter(|e| {
            e["exposure"]["sequence"]
                .as_str()
                .is_some_and(|s| s.starts_with(request))
        })
        .map(|e| text(&e["exposure"]["channel"]))
        .collect();
    assert_eq!(channels.len(), 2, "both channels look at it");
    let products: Vec<&Value> = journal
        .of("product_made")
        .map(|e| &e["product"])
        .filter(|p| p["sequence"].as_str().is_some_and(|s| s.starts_with(request)))
        .collect();
    for kind in ["raw", "calibrated", "catalogue", "preview"] {
        let of_kind: Vec<_> = products.iter().filter(|p| p["kind"] == kind).collect();
        assert!(!of_kind.is_empty(), "no {kind}");
        for product in of_kind {
            let bytes = fs::read(data.join(text(&product["path"]))).unwrap();
            assert_eq!(bytes.len() as u64, product["size_bytes"].as_u64().unwrap());
            if kind == "preview" {
                assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
            }
        }
    }
    let reduced: Vec<u64> = journal
        .of("frame_reduced")
        .filter(|e| products.iter().any(|p| p["exposure"] == e["exposure"]))
        .map(|e| e["sources"].as_u64().unwrap())
        .collect();
    assert!(reduced.iter().all(|n| *n > 5), "{reduced:?}");
    let stages: BTreeSet<String> = journal
        .of("alert_timing")
        .flat_map(|e| e["stages"].as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        .collect();
    for stage in [
        "event",
        "notice_sent",
        "decided",
        "slew_commanded",
        "on_target",
        "first_reduced",
    ] {
        assert!(stages.contains(stage), "{stage} of {stages:?}");
    }
}

/// Closed, parked and reported; what was counted balances.
fn dawn(journal: &Journal, data: &Path) {
    let reported = journal.of("night_reported").last().unwrap();
    let closed = journal.before(at(reported), "night_moved").unwrap();
    assert!(["closing", "closed"].contains(&text(&closed["to"])), "{closed}");
    assert_eq!(journal.of("enclosure_moved").last().unwrap()["to"], "closed");
    assert_eq!(journal.of("mount_moved").last().unwrap()["to"], "parked");
    let text_of_report = fs::read_to_string(data.join(text(&reported["path"]))).unwrap();
    for word in ["Haute-Provence", "SVOM", "rain", "executed"] {
        assert!(
            text_of_report.contains(word),
            "the report says nothing of {word}:\n{text_of_report}"
        );
    }
    let started = journal.of("exposure_started").count();
    assert_eq!(started, journal.of("exposure_ended").count());
}

/// A raw frame says what, where, when and with what, as FITS readers expect it.
fn headers(journal: &Journal, data: &Path) {
    let raw = journal
        .of("product_made")
        .map(|e| &e["product"])
        .find(|p| p["kind"] == "raw" && p["sequence"].as_str().is_some_and(|s| s.starts_with('r')))
        .unwrap();
    let bytes = fs::read(data.join(text(&raw["path"]))).unwrap();
    let (header, image) = alidade_fits::read(&bytes).unwrap();
    assert!(image.width >= 512 && image.height >= 512);
    for keyword in [
        "DATE-OBS", "EXPTIME", "FILTER", "OBJECT", "RA", "DEC", "AIRMASS", "TELESCOP", "INSTRUME", "GAIN", "CCD-TEMP",
        "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CD1_1", "CD2_2",
    ] {
        assert!(header.get(keyword).is_some(), "{keyword} is missing");
    }
    assert_eq!(
        header
            .get("CTYPE1")
            .map(|v| v.to_string())
            .unwrap()
            .trim_matches(['\'', ' ']),
        "RA---TAN"
    );
}

#[test]
fn the_same_seed_gives_the_same_journal_byte_for_byte() {
    let folder = Folder::new("same-seed");
    let mut journals = Vec::new();
    for (name, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        let out = folder.join(name);
        let said = say(&[
            "simulate", GRB, "--out", &out, "--frames", "none", "--seed", seed, "--faults", "random",
        ]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        journals.push(fs::read(Path::new(&out).join("journal.ndjson")).unwrap());
    }
    let replayed = say(&["replay", &folder.join("c")]);
    assert_eq!(replayed.code, 0, "{}{}", replayed.stdout, replayed.stderr);
    assert!(replayed.stdout.contains("the same decisions"), "{}", replayed.stdout);
    // Another night's journal under this night's report is another night.
    fs::copy(
        Path::new(&folder.join("a")).join("journal.ndjson"),
        Path::new(&folder.join("c")).join("journal.ndjson"),
    )
    .unwrap();
    let other = say(&["replay", &folder.join("c")]);
    assert_eq!(other.code, 1, "{}", other.stdout);
    assert!(other.stdout.contains("first difference"), "{}", other.stdout);
    let nothing = say(&["replay", &folder.join("nowhere")]);
    assert!(
        nothing.code == 2 && nothing.stderr.contains("report.json"),
        "{}",
        nothing.stderr
    );
    assert!(journals[0] == journals[1], "two runs with one seed differ");
    assert!(journals[0] != journals[2], "two seeds gave one night");
}

/// Nights with random weather and faults that continuous integration runs.
const NIGHTS: u64 = 200;

/// Several processes side by side, each with its share of the seeds: a night is one thread.
#[test]
fn two_hundred_nights_of_random_faults_break_no_invariant() {
    let folder = Folder::new("random-nights");
    let shards = thread::available_parallelism().map_or(2, |n| n.get() as u64).min(8);
    let reports: Vec<Value> = thread::scope(|scope| {
        let shard = |index: u64| {
            let out = folder.join(&format!("shard-{index}"));
            let (first, next) = (NIGHTS * index / shards, NIGHTS * (index + 1) / shards);
            scope.spawn(move || {
                let night = [GRB, ROLL_OFF][index as usize % 2];
                let (seed, nights) = ((1001 + first).to_string(), (next - first).to_string());
                let said = say(&[
                    "simulate", night, "--out", &out, "--nights", &nights, "--faults", "random", "--seed", &seed,
                    "--frames", "none", "--json",
                ]);
                assert_eq!(said.code, 0, "{}", said.stderr);
                serde_json::from_str(&said.stdout).unwrap()
            })
        };
        let running: Vec<_> = (0..shards).map(shard).collect();
        running.into_iter().map(|shard| shard.join().unwrap()).collect()
    });
    let total = |name: &str| reports.iter().map(|r| r["totals"][name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        reports.iter().map(|r| r["nights"].as_u64().unwrap()).sum::<u64>(),
        NIGHTS
    );
    assert!(reports.iter().all(|report| report["broken"] == serde_json::json!([])));
    assert!(total("faults_injected") > 3 * NIGHTS, "{}", total("faults_injected"));
    assert!(total("boots") > NIGHTS, "no daemon was killed in all those nights");
    assert!(
        total("sequences_executed") > 15 * NIGHTS,
        "{}",
        total("sequences_executed")
    );
}

#[test]
fn whoever_interrupts_ends_all_the_nights_and_is_told_how_far_they_came() {
    let folder = Folder::new("interrupted");
    let out = folder.join("out");
    let arguments = [
        "simulate", GRB, "--nights", "3", "--pace", "60x", "--frames", "none", "--json", "--out", &out,
    ];
    let running = command::alidade()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let journal = Path::new(&out).join("seed-1/journal.ndjson");
    let begun = || fs::read_to_string(&journal).is_ok_and(|text| text.lines().count() > 5);
    eventually("the first night has begun", begun);
    let sent = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let said = command::said(running.wait_with_output().unwrap());
    assert_eq!(said.code, 1, "{}", said.stderr);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(told["nights"] == 3 && told["nights_begun"] == 1, "{told}");
    assert_eq!(told, report(&out));
}

#[test]
fn a_storm_two_kills_and_a_silent_mount_lose_nothing() {
    let folder = Folder::new("storm");
    let out = folder.join("out");
    let said = say(&[
        "simulate",
        "simulations/nights/storm-and-kill",
        "--out",
        &out,
        "--frames",
        "none",
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let journal = Journal::read(&Path::new(&out).join("journal.ndjson"));
    assert_eq!(journal.of("started").count(), 3);
    // Numbers go on over the kills: nothing that was committed is missing.
    for (index, entry) in journal.0.iter().enumerate() {
        assert_eq!(entry["seq"].as_u64(), Some(index as u64 + 1));
    }
    let verdicts: Vec<&str> = journal.of("packet_received").map(|e| text(&e["verdict"])).collect();
    assert!(
        verdicts.contains(&"act") && verdicts.contains(&"duplicate") && verdicts.contains(&"reject"),
        "{verdicts:?}"
    );
    let followed = journal.of("event_decided").filter(|e| e["followed"] == true).count();
    assert!(followed >= 1);
    let killed_exposures = journal
        .of("exposure_ended")
        .filter(|e| e["outcome"]["cause"].as_str().is_some_and(|c| c.contains("restarted")))
        .count();
    assert!(killed_exposures >= 1, "a kill fell into an exposure");
    assert_eq!(journal.of("enclosure_moved").last().unwrap()["to"], "closed");
}

/// Three showers, in each of which something keeps the roof from closing at once; then somebody stops everything.
#[test]
fn a_low_roof_never_meets_the_telescope_and_closes_as_soon_as_it_can() {
    let folder = Folder::new("roll-off-roof");
    let out = folder.join("out");
    let said = say(&["simulate", ROLL_OFF, "--out", &out, "--frames", "none"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let journal = Journal::read(&Path::new(&out).join("journal.ndjson"));
    // When a fact of this kind moved this to that between two instants of the night.
    let moved = |fact: &str, to: &str, from: &str, until: &str| -> Vec<String> {
        let within = |at: &str| (from..until).contains(&&at[11..19]);
        let all = journal.of(fact).filter(|e| e["to"] == to && within(text(&e["at"])));
        all.map(|e| text(&e["at"])[11..19].to_owned()).collect()
    };
    // The mount is stuck until 19:12:20, the daemon dead until 22:01:50, the roof jammed until 01:36.
    for (from, until, parked_by, closed_by) in [
        ("19:10:00", "19:30:00", "19:12:30", "19:13:30"),
        ("22:00:15", "22:15:00", "22:02:30", "22:03:30"),
        ("01:30:00", "01:50:00", "01:30:30", "01:37:00"),
    ] {
        let parked = moved("mount_moved", "parked", from, until);
        let closing = moved("enclosure_moved", "closing", from, until);
        let closed = moved("enclosure_moved", "closed", from, until);
        assert!(
            parked.len() == 1 && parked[0].as_str() < parked_by,
            "{from}: {parked:?}"
        );
        assert!(
            closing[0] >= parked[0],
            "{from}: parked {parked:?}, closing {closing:?}"
        );
        assert!(
            closed.len() == 1 && closed[0].as_str() < closed_by,
            "{from}: {closed:?}"
        );
    }
    // Nothing moves under the emergency stop, the roof closes after it, and opens no more.
    for (fact, to) in [
        ("mount_moved", "parking"),
        ("mount_moved", "slewing"),
        ("enclosure_moved", "closing"),
    ] {
        assert!(moved(fact, to, "04:00:00", "04:10:00").is_empty(), "{fact} to {to}");
    }
    let closed = moved("enclosure_moved", "closed", "04:10:00", "04:12:00");
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(moved("enclosure_moved", "opening", "04:00:00", "06:00:00").is_empty());
    let calls: Vec<&str> = (journal.of("alarm").filter(|e| e["severity"] == "critical"))
        .map(|e| text(&e["text"]))
        .collect();
    let waits = "the mount does not park and the roof waits for it: a person is needed";
    assert_eq!(
        calls,
        [waits, "enclosure still stopped 90 s after it had to close", waits]
    );
}

#[test]
fn a_calm_winter_night_is_filled_to_the_brim() {
    let folder = Folder::new("calm");
    let out = folder.join("out");
    let said = say(&[
        "simulate",
        "simulations/nights/calm-winter-night",
        "--out",
        &out,
        "--frames",
        "none",
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let journal = Journal::read(&Path::new(&out).join("journal.ndjson"));
    let night = journal.of("night_began").next().unwrap();
    let dark = seconds(text(&night["dusk"]), text(&night["dawn"]));
    let mut exposed = std::collections::BTreeMap::<&str, f64>::new();
    for entry in journal
        .of("exposure_started")
        .filter(|e| e["exposure"]["kind"] == "object")
    {
        *exposed.entry(text(&entry["exposure"]["channel"])).or_default() +=
            entry["exposure"]["exposure_s"].as_f64().unwrap();
    }
    let best = exposed.values().copied().fold(0.0, f64::max);
    assert!(best / dark > 0.75, "{best} s of {dark} s were exposed");
}

#[test]
fn what_cannot_be_run_is_told_in_one_line_and_changes_nothing() {
    let folder = Folder::new("bad-runs");
    let broken = folder.path().join("broken");
    command::copy_of_night("grb-over-ohp", &broken);
    fs::write(broken.join("weather.csv"), "time,wind\nyesterday,strong\n").unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let broken = broken.display().to_string();
    let under_a_file = format!("{}/out", file.display());
    let out = folder.join("out");
    let cases: [(&[&str], &str); 8] = [
        (&["simulate", "no/such/night"], "no/such/night"),
        (&["simulate", &broken, "--out", &out], "weather.csv"),
        (&["simulate", GRB, "--pace", "fast"], "pace"),
        (
            &["simulate", GRB, "--faults", "no-such-script.toml", "--out", &out],
            "no-such-script.toml",
        ),
        (&["simulate", GRB, "--out", &under_a_file], "a-file"),
        (&["simulate", GRB, "--pace", "60x", "--serve", &address], &address),
        (&["simulate", GRB, "--serve", "127.0.0.1:0"], "--pace"),
        (&["simulate", GRB, "--db", "oracle://somewhere"], "oracle"),
    ];
    for (arguments, named) in cases {
        let said = say(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(named), "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        let lines = said.stderr.lines().filter(|l| !l.trim().is_empty()).count();
        // The command line's own parser adds where help is.
        assert!(
            lines == 1 || said.stderr.contains("--help"),
            "{arguments:?}: {}",
            said.stderr
        );
    }
    assert!(!Path::new(&out).exists(), "a refused run left something behind");
}
