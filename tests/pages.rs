//! The pages of nights, of requests and of the daemon, and what they are made of: over HTTP, and in a real browser.

mod targets;

use crate::support::{
    browser,
    http::{self, get, post},
    observatory::{Observatory, at, busy},
};
use alidade::{
    daemon::pipelines::conduct,
    gateway::{
        command::GatewayCommand,
        http::{HttpHandle, HttpPorts, journal_of, serve},
        records::Records,
    },
    settings::Settings,
    store::{Durability, OpenOptions, Store},
};
use alidade_accounts::Role;
use alidade_model::{
    journal::{Entry, Fact, Severity},
    ledger::{Posting, Side},
    reading::NoData,
    request::{Album, Constraints, Origin, Plan, Request, Sequence, Target, Timing},
    schedule::{Chance, Excluded, Placed, Schedule, Unplaced},
    states::{NightState, SequenceState},
    time::{Night, UtcTime},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

/// The evening of the night that is played, and the instant that the snapshot says.
const EVENING: &str = "2026-03-14";
const NOW: &str = "2026-03-14T22:10:00Z";

/// A night with everything in it, on a database of its own.
struct House {
    observatory: Observatory,
    http: HttpHandle,
    store: Store,
    entries: u64,
}

impl House {
    fn new(name: &str) -> Self {
        Self::seen_by(name, Role::Operator)
    }

    fn seen_by(name: &str, role: Role) -> Self {
        let observatory = Observatory::new(name);
        let url = format!("sqlite://{}", observatory.folder.join("night.sqlite").display());
        let options = OpenOptions {
            migrate: true,
            durability: Durability::Relaxed,
        };
        let mut store = Store::open(&url, options).unwrap();
        let facts = night();
        let entries: Vec<Entry> = (1..)
            .zip(facts)
            .map(|(seq, (at, fact))| Entry { seq, at, fact })
            .collect();
        store.append(&entries).unwrap();
        std::fs::create_dir_all(observatory.folder.join(EVENING)).unwrap();
        std::fs::write(
            observatory.folder.join(EVENING).join("report.md"),
            "# Night of 2026-03-14\n\n1 sequence executed <b>well</b>\n",
        )
        .unwrap();
        let mut snapshot = busy(0);
        snapshot.journal_seq = entries.len() as u64;
        observatory.publish(snapshot);
        let records = Arc::new(Records::open(&url).unwrap());
        let settings = Settings::load(Path::new("config/simulated.toml")).unwrap();
        let ports = HttpPorts {
            pipelines: Some(conduct(&workshop(&settings, &observatory))),
            journal_page: Some(journal_of(records.clone())),
            records: Some(records),
            settings: Some(Arc::new(settings)),
            at_the_machine: role,
            ..observatory.ports()
        };
        Self {
            http: serve(SocketAddr::from(([127, 0, 0, 1], 0)), ports).unwrap(),
            entries: entries.len() as u64,
            observatory,
            store,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.http.addr
    }

    fn told(&self, path: &str) -> Value {
        let answer = get(self.addr(), path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Something more happens: it is kept and told.
    fn happen(&mut self, fact: Fact) {
        self.entries += 1;
        let entry = Entry {
            seq: self.entries,
            at: at(NOW).plus_seconds(self.entries as f64),
            fact,
        };
        self.store.append(std::slice::from_ref(&entry)).unwrap();
        let line = serde_json::to_string(&entry).unwrap();
        let _ = self.observatory.journal.send(line.into());
    }
}

/// The same site with runs of its own, of the pipelines that are shipped.
fn workshop(settings: &Settings, observatory: &Observatory) -> Settings {
    let mut settings = settings.clone();
    settings.database.url = format!("sqlite:{}", observatory.folder.join("runs.sqlite").display());
    let options = OpenOptions {
        migrate: true,
        durability: Durability::Relaxed,
    };
    drop(Store::open(&settings.database.url, options).unwrap());
    settings.storage.data_dir = observatory.folder.clone();
    settings.storage.pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pipelines");
    settings
}

fn sequence(request: &str, n: u32, target: &str, (ra_deg, dec_deg): (f64, f64)) -> Sequence {
    Sequence {
        id: format!("{request}-{n}"),
        request: request.into(),
        user: "ada".into(),
        target: Target {
            name: target.into(),
            ra_deg,
            dec_deg,
        },
        priority: 5.0,
        window: None,
        t_prefered: None,
        constraints: Constraints::default(),
        timing: Timing::default(),
        albums: vec![Album {
            channel: "vis".into(),
            plans: vec![Plan {
                filter: "r".into(),
                exposure_s: 60.0,
                count: 5,
                binning: 1,
                dither_arcsec: 0.0,
            }],
        }],
    }
}

fn night() -> Vec<(UtcTime, Fact)> {
    use SequenceState::{Executed, Executing, Observable, Planned};
    let evening = at("2026-03-14T17:00:00Z");
    let clock = |text: &str| at(&format!("2026-03-14T{text}Z"));
    let request = Request {
        id: "r1".into(),
        title: "Coma <i>galaxies</i>".into(),
        user: "ada".into(),
        origin: Origin::Routine,
        submitted_at: evening,
        sequences: vec![
            sequence("r1", 1, "NGC 4889", (195.03, 27.97)),
            sequence("r1", 2, "M 51", (202.47, 47.2)),
            sequence("r1", 3, "LMC", (80.89, -69.76)),
        ],
    };
    let moved = |id: &str, from, to| Fact::SequenceMoved {
        sequence: id.into(),
        from,
        to,
        cause: "test".into(),
    };
    let place = |id: &str, start: &str, end: &str| Placed {
        sequence: id.into(),
        start: clock(start),
        setup_s: 20.0,
        end: clock(end),
        delta_tl_s: 0.0,
        delta_tr_s: 0.0,
        earliest: None,
        chance: None,
    };
    let schedule = |id: &str, made_at: UtcTime, first, placed, excluded| Schedule {
        id: id.into(),
        made_at,
        cause: "a test".into(),
        first,
        placed,
        unplaced: vec![Unplaced {
            sequence: "r1-3".into(),
            reason: "never_rises".into(),
            sentence: "never above 25 deg tonight".into(),
            detail: Value::Null,
            excluded,
            chance: Some(Chance {
                nights: 30,
                usable_nights: 0,
                probability: 0.0,
            }),
        }],
        objective: 1.0,
        upper_bound: 2.0,
    };
    let below = Excluded {
        cause: "below_altitude".into(),
        start: clock("18:00:00"),
        end: clock("23:00:00"),
        worst: Some(-20.0),
        limit: Some(25.0),
    };
    let first = vec![
        place("r1-1", "20:00:00", "20:30:00"),
        place("r1-2", "20:30:00", "21:00:00"),
    ];
    let second = vec![place("r1-2", "22:30:00", "23:00:00")];
    let posting = |from, to, hours: i64, sequence: Option<&str>| Fact::QuotaPosted {
        posting: Posting {
            account: "ada".into(),
            from,
            to,
            amount_us: hours * 3_600_000_000,
            sequence: sequence.map(str::to_owned),
            cause: "a test".into(),
            at: evening,
        },
    };
    let started = Fact::Started {
        version: "1.2.3".into(),
        site: "ohp".into(),
        unit: "t1".into(),
        boot: 1,
    };
    let safety = |safe, reason: &str| Fact::SafetyChanged {
        safe,
        latched: false,
        reasons: if safe { Vec::new() } else { vec![reason.into()] },
    };
    let mut facts = vec![
        (at("2026-03-13T18:00:00Z"), started),
        (at("2026-03-13T18:00:01Z"), safety(false, "wind")),
        (
            at("2026-03-13T18:00:02Z"),
            Fact::NightBegan {
                night: Night("2026-03-13".parse().unwrap()),
                sunset: None,
                dusk: None,
                dawn: None,
                sunrise: None,
            },
        ),
        (
            evening,
            Fact::DeviceIdentified {
                device: "mount".into(),
                model: "LX200".into(),
                version: "4.2".into(),
            },
        ),
        (
            evening,
            Fact::DeviceLink {
                device: "mount".into(),
                up: true,
                cause: "answers".into(),
            },
        ),
        (
            evening,
            Fact::UserGranted {
                user: "ada".into(),
                institute: "IRAP".into(),
                quota_s: 36_000.0,
            },
        ),
        (evening, posting(Side::Granted, Side::Free, 10, None)),
        (evening, Fact::RequestSubmitted { request }),
        (evening, posting(Side::Free, Side::Reserved, 1, Some("r1-1"))),
        (
            evening,
            Fact::NightBegan {
                night: Night(EVENING.parse().unwrap()),
                sunset: Some(at("2026-03-14T17:52:00Z")),
                dusk: None,
                dawn: None,
                sunrise: None,
            },
        ),
        (
            evening,
            Fact::NightMoved {
                from: NightState::Off,
                to: NightState::Observing,
                cause: "it is dark".into(),
            },
        ),
        (clock("18:30:00"), safety(true, "")),
        (
            clock("19:00:00"),
            Fact::ScheduleMade {
                schedule: schedule("s1", clock("19:00:00"), true, first, vec![below]),
            },
        ),
        (clock("20:00:00"), moved("r1-1", Observable, Planned)),
        (clock("20:00:01"), moved("r1-1", Planned, Executing)),
        (clock("20:28:00"), moved("r1-1", Executing, Executed)),
        (clock("20:40:00"), safety(false, "rain <b>now</b>")),
        (clock("21:10:00"), safety(true, "")),
        (
            clock("21:15:00"),
            Fact::ScheduleMade {
                schedule: schedule("s2", clock("21:15:00"), false, second, Vec::new()),
            },
        ),
        (
            clock("21:20:00"),
            Fact::Alarm {
                severity: Severity::Warning,
                text: "100 % humidity_pct in the <dome>".into(),
            },
        ),
        (
            clock("21:30:00"),
            Fact::Degraded {
                what: "night report".into(),
                cause: "disk full".into(),
            },
        ),
        (
            clock("21:40:00"),
            Fact::NightReported {
                night: Night(EVENING.parse().unwrap()),
                path: format!("{EVENING}/report.md"),
            },
        ),
    ];
    for minute in 0..240 {
        let wind = if minute == 100 {
            21.0
        } else {
            5.0 + f64::from(minute % 7)
        };
        let humidity = if minute % 50 == 0 {
            Err(NoData::LinkDown)
        } else {
            Ok(60.0)
        };
        let readings = [("wind_m_s".to_owned(), Ok(wind)), ("humidity_pct".to_owned(), humidity)];
        facts.push((
            clock("18:00:00").plus_seconds(60.0 * f64::from(minute)),
            Fact::Weather {
                readings: readings.into(),
            },
        ));
    }
    facts
}

#[test]
fn a_night_is_told_as_it_was_planned_and_as_it_went() {
    let house = House::new("pages-night");
    let night = house.told(&format!("/api/v1/nights/{EVENING}"));
    let ids = |lane: &str| -> Vec<String> {
        let bars = night[lane].as_array().unwrap();
        bars.iter()
            .map(|bar| bar["sequence"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("first"), ["r1-1", "r1-2"]);
    // What was executed keeps the place it had; what waits has its last one.
    assert_eq!(ids("planned"), ["r1-1", "r1-2"]);
    assert_eq!(night["planned"][1]["start"], "2026-03-14T22:30:00.000000Z");
    assert_eq!(ids("executed"), ["r1-1"]);
    assert_eq!(night["executed"][0]["outcome"], "executed");
    assert_eq!(night["sequences"]["r1-1"]["target"], "NGC 4889");
    // The schedule that told the excluded stretches is not the last one.
    assert_eq!(night["unplaced"][0]["excluded"][0]["cause"], "below_altitude");
    // The unsafe spell of the day before reaches into the night and is cut at its beginning.
    let spells = night["unsafe"].as_array().unwrap();
    assert_eq!(spells.len(), 2, "{spells:?}");
    assert_eq!(spells[0]["from"], night["bounds"]["start"]);
    assert_eq!(spells[0]["until"], "2026-03-14T18:30:00.000000Z");
    assert_eq!(spells[1]["reasons"][0], "rain <b>now</b>");
    assert!(night["report"].as_str().unwrap().starts_with("# Night of 2026-03-14"));
    let list = house.told("/api/v1/nights?limit=1");
    assert_eq!(list["nights"][0]["night"], EVENING);
    assert_eq!(list["next_before"], EVENING);
    let older = house.told(&format!("/api/v1/nights?before={EVENING}"));
    assert_eq!(older["nights"][0]["night"], "2026-03-13");
    assert!(older["next_before"].is_null());
    for wrong in [
        "/api/v1/nights/yesterday",
        "/api/v1/nights/2026-02-30",
        "/api/v1/nights?limit=0",
        "/api/v1/nights?x=1",
    ] {
        let answer = get(house.addr(), wrong);
        assert_eq!(answer.status, 400, "{wrong}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{wrong}"
        );
    }
}

#[test]
fn the_sky_of_a_night_agrees_with_the_ephemerides() {
    let house = House::new("pages-sky");
    let sky = house.told(&format!("/api/v1/nights/{EVENING}/sky?step_s=900"));
    let times = sky["times"].as_array().unwrap();
    let target = &sky["targets"][0];
    assert_eq!(target["target"], "NGC 4889");
    let site = alidade_scheduling::Site::new(43.9317, 5.7133, 650.0);
    for index in [0, times.len() / 2, times.len() - 1] {
        let instant: UtcTime = times[index].as_str().unwrap().parse().unwrap();
        let frame = alidade_scheduling::ephemeris::SkyFrame::new(&site, instant.chrono());
        let here = frame.altaz(&alidade_scheduling::Icrs::new(195.03, 27.97)).alt_deg;
        let told = target["alt_deg"][index].as_f64().unwrap();
        assert!((here - told).abs() < 0.02, "{instant}: {told} in place of {here}");
        let moon = frame.moon().alt_deg;
        assert!((moon - sky["moon_alt_deg"][index].as_f64().unwrap()).abs() < 0.05);
        let sun = frame.sun_altaz().alt_deg;
        assert!((sun - sky["sun_alt_deg"][index].as_f64().unwrap()).abs() < 0.05);
    }
    // From half an hour before sunset to half an hour after sunrise.
    let sun = |index: usize| sky["sun_alt_deg"][index].as_f64().unwrap();
    assert!(sun(0) > 0.0 && sun(times.len() - 1) > 0.0 && sun(times.len() / 2) < -30.0);
    assert_eq!(
        get(house.addr(), &format!("/api/v1/nights/{EVENING}/sky?step_s=1")).status,
        400
    );
}

#[test]
fn weather_comes_with_its_limits_its_holes_and_in_pages() {
    let house = House::new("pages-weather");
    let span = "from=2026-03-14T18:00:00Z&until=2026-03-14T22:00:00Z";
    let all = house.told(&format!("/api/v1/weather?{span}"));
    assert_eq!(all["quantities"]["wind_m_s"]["samples"].as_array().unwrap().len(), 240);
    assert_eq!(all["quantities"]["humidity_pct"]["samples"][0]["value"], Value::Null);
    assert_eq!(all["quantities"]["humidity_pct"]["samples"][0]["reason"], "link_down");
    let settings = Settings::load(Path::new("config/simulated.toml")).unwrap();
    let limit = settings.safety.rules["wind_m_s"].limit;
    assert_eq!(
        all["quantities"]["wind_m_s"]["bound"],
        json!({ "limit": limit, "above": true })
    );
    assert!(all["next_from"].is_null());
    // A gust is not lost where samples are left out.
    let few = house.told(&format!("/api/v1/weather?quantity=wind_m_s&{span}&every_s=1800"));
    let kept: Vec<f64> = few["quantities"]["wind_m_s"]["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| sample["value"].as_f64().unwrap())
        .collect();
    assert_eq!(kept, [11.0, 11.0, 11.0, 21.0, 11.0, 11.0, 11.0, 11.0]);
    assert!(few["quantities"]["humidity_pct"].is_null());
    // Page after page, nothing is told twice or not at all.
    let (mut from, mut count) = ("2026-03-14T18:00:00Z".to_owned(), 0);
    loop {
        let page = house.told(&format!(
            "/api/v1/weather?from={from}&until=2026-03-14T22:00:00Z&limit=101"
        ));
        for quantity in page["quantities"].as_object().unwrap().values() {
            count += quantity["samples"].as_array().unwrap().len();
        }
        match page["next_from"].as_str() {
            Some(next) => from = next.into(),
            None => break,
        }
    }
    assert_eq!(count, 480);
    assert_eq!(
        get(
            house.addr(),
            "/api/v1/weather?from=2026-03-15T00:00:00Z&until=2026-03-14T00:00:00Z"
        )
        .status,
        400
    );
    assert_eq!(
        get(house.addr(), &format!("/api/v1/weather?{span}&limit=1")).status,
        400
    );
}

fn file(target: &str, ra_deg: f64, dec_deg: f64, filter: &str, exposure_s: f64) -> Value {
    json!({ "requests": [{ "id": "r2", "user": "ada", "sequences": [{
        "target": { "name": target, "ra_deg": ra_deg, "dec_deg": dec_deg }, "priority": 5,
        "albums": [{ "channel": "vis", "plans": [{ "filter": filter, "exposure_s": exposure_s, "count": 10 }] }] }] }] })
}

fn preview(addr: SocketAddr, file: &Value) -> Value {
    let body = json!({ "format": "json", "text": file.to_string() }).to_string();
    let answer = post(addr, "/api/v1/requests/preview", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn a_preview_tells_sky_time_and_quota_and_changes_nothing() {
    let house = House::new("pages-preview");
    let there = house.told("/api/v1/instruments");
    assert_eq!(there["channels"]["vis"]["filters"], json!(["g", "r", "i", "clear"]));
    let told = preview(house.addr(), &file("M 51", 202.47, 47.2, "r", 60.0));
    assert_eq!(told["faults"], json!([]));
    let one = &told["sequences"][0];
    let readout = there["channels"]
        .as_object()
        .unwrap()
        .values()
        .map(|c| c["readout_s"].as_f64().unwrap());
    assert_eq!(one["duration_s"], 10.0 * (60.0 + readout.fold(0.0, f64::max)));
    assert_eq!(one["tonight"]["night"], EVENING);
    assert_eq!(one["tonight"]["fits"], true);
    // Nothing is observed before now, nor in daylight.
    let start: UtcTime = one["tonight"]["good"][0]["start"].as_str().unwrap().parse().unwrap();
    let end: UtcTime = one["tonight"]["good"][0]["end"].as_str().unwrap().parse().unwrap();
    assert!(start >= at(NOW) && end < at("2026-03-15T05:30:00Z") && start < end);
    assert_eq!(one["nights"].as_array().unwrap().len(), 30);
    assert_eq!(
        told["quotas"]["ada"],
        json!({ "free_s": 32_400.0, "granted_s": 36_000.0 })
    );
    // What never rises here has no night, and says why.
    let never = preview(house.addr(), &file("LMC", 80.89, -69.76, "r", 60.0));
    let one = &never["sequences"][0];
    assert_eq!((&one["tonight"]["good"], &one["best"]), (&json!([]), &json!([])));
    assert_eq!(one["tonight"]["excluded"][0]["cause"], "below_altitude");
    assert!(house.observatory.commands().is_empty());
    // What was previewed can be submitted as it is.
    let submitted = post(house.addr(), "/api/v1/requests", &told["requests"][0].to_string());
    assert_eq!(submitted.status, 202, "{}", submitted.text());
    let commands = house.observatory.commands();
    let [GatewayCommand::SubmitRequest(sent)] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!(sent.sequences[0].id, "r2-1");
}

#[test]
fn faults_of_a_request_are_named_at_their_fields() {
    let house = House::new("pages-faults");
    let told = preview(house.addr(), &file("M 51", 202.47, 47.2, "violet", 60.0));
    assert_eq!(
        told["faults"][0]["field"],
        "requests.0.sequences.0.albums.0.plans.0.filter"
    );
    let told = preview(house.addr(), &file("M 51", 402.0, 47.2, "r", 60.0));
    assert_eq!(told["faults"][0]["field"], "requests.0.sequences.0.target.ra_deg");
    let mut stranger = file("M 51", 202.47, 47.2, "r", 60.0);
    stranger["requests"][0]["user"] = json!("nobody");
    assert_eq!(
        preview(house.addr(), &stranger)["faults"][0]["field"],
        "requests.0.user"
    );
    let mut typed = file("M 51", 202.47, 47.2, "r", 60.0);
    typed["requests"][0]["sequences"][0]["target"]["dec_deg"] = json!("north");
    let told = preview(house.addr(), &typed);
    assert_eq!(
        told["faults"][0]["field"], "requests.0.sequences.0.target.dec_deg",
        "{told}"
    );
    assert_eq!(
        post(
            house.addr(),
            "/api/v1/requests/preview",
            r#"{"format": "xml", "text": ""}"#
        )
        .status,
        400
    );
}

#[test]
fn the_log_is_filtered_and_read_backwards() {
    let house = House::new("pages-log");
    let messages = |query: &str| -> Vec<String> {
        let told = house.told(&format!("/api/v1/log?{query}"));
        let lines = told["lines"].as_array().unwrap();
        lines
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages("").len(), 2);
    assert_eq!(
        messages("severity=warning&source=alarm"),
        ["100 % humidity_pct in the <dome>"]
    );
    assert_eq!(messages("text=HUMIDITY").len(), 1);
    // What is searched is text: neither of these is a pattern.
    assert_eq!(messages("text=humidity-pct").len(), 0);
    assert_eq!(messages("text=1%25h").len(), 0);
    assert_eq!(messages("text=0%20%25").len(), 1);
    let newest = house.told("/api/v1/log?limit=1");
    let before = newest["next_before"].as_u64().unwrap();
    let older = house.told(&format!("/api/v1/log?limit=1&before={before}"));
    assert_ne!(newest["lines"][0]["seq"], older["lines"][0]["seq"]);
    assert_eq!(get(house.addr(), "/api/v1/log?limit=0").status, 400);
}

#[test]
fn the_daemon_tells_versions_devices_and_to_operators_its_configuration() {
    let house = House::new("pages-system");
    let told = house.told("/api/v1/system");
    assert_eq!(told["started_at"], "2026-03-13T18:00:00.000000Z");
    assert_eq!(told["devices"]["mount"]["version"], "4.2");
    assert_eq!(told["devices"]["mount"]["up"], true);
    let told = house.told("/api/v1/configuration");
    assert_eq!(told["configuration"]["site"]["name"], "ohp");
    // A default that no file names is in force all the same.
    assert!(told["configuration"]["scheduling"]["overheads"]["slew_deg_s"].is_number());
    assert!(told["database"].as_str().unwrap().contains("night.sqlite"));
    let journal = house.told("/api/v1/journal?after=0&limit=2");
    assert_eq!(journal["entries"][0]["fact"], "started");
    let pages = house.told("/api/v1/pages");
    for page in ["/", "/night", "/requests", "/system"] {
        assert!(pages["pages"].as_array().unwrap().contains(&json!(page)), "{pages}");
    }
    let visitors = House::seen_by("pages-visitor", Role::Visitor);
    for (path, status) in [
        ("/api/v1/system", 200),
        ("/api/v1/log", 200),
        ("/api/v1/nights", 200),
        ("/api/v1/configuration", 401),
        ("/api/v1/requests", 401),
    ] {
        assert_eq!(get(visitors.addr(), path).status, status, "{path}");
    }
    let body = json!({ "format": "json", "text": "{}" }).to_string();
    assert_eq!(post(visitors.addr(), "/api/v1/requests/preview", &body).status, 401);
}

#[test]
fn the_pages_of_night_requests_targets_and_system_work_in_a_browser() {
    let mut house = House::new("pages-browser");
    targets::observe(&mut house);
    // The daemon goes on to publish, or a slow browser would find it stale.
    let (publishing, state) = (
        house.observatory.snapshot.clone(),
        house.observatory.snapshot.borrow().clone(),
    );
    let (over, ended) = std::sync::mpsc::channel::<()>();
    let clockwork = std::thread::spawn(move || {
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(500)) {
            publishing.send_replace(state.clone());
        }
    });
    let address = format!("http://{}", house.addr());
    let printed = browser::run("pages.mjs", &address, |word| match word {
        "alarm" => house.happen(Fact::Alarm {
            severity: Severity::Critical,
            text: "it rains <b>in</b>".into(),
        }),
        "frame" => targets::another(&mut house),
        "unsafe" => house.happen(Fact::SafetyChanged {
            safe: false,
            latched: false,
            reasons: vec!["clouds".into()],
        }),
        _ => panic!("the script asks for {word:?}"),
    });
    assert!(printed.contains("passed "), "{printed}");
    drop(over);
    clockwork.join().unwrap();
    let commands = house.observatory.commands();
    let [
        GatewayCommand::SubmitRequest(first),
        GatewayCommand::SubmitRequest(second),
        GatewayCommand::CancelSequence(gone),
    ] = &commands[..]
    else {
        panic!("{commands:?}");
    };
    assert_eq!(first.sequences[0].target.name, "M 101");
    // 14h 03m 12.6s and +54 20 57 in degrees.
    assert!((first.sequences[0].target.ra_deg - 210.8025).abs() < 1e-6);
    assert!((first.sequences[0].target.dec_deg - 54.349_166_67).abs() < 1e-6);
    assert_eq!(first.sequences[0].albums.len(), 2);
    assert_eq!(second.sequences[0].target.name, "Imported");
    assert_eq!(second.sequences[0].constraints.max_airmass, Some(1.8));
    assert_eq!(gone, "r1-2");
}
