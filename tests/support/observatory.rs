//! A gateway with an observatory behind it that the test plays: it publishes snapshots and journal lines and answers
//! commands.

use alidade::{
    daemon::pipelines::conduct,
    gateway::{
        JournalLine,
        alerts::AlertBoard,
        command::{Author, CommandCall, CommandReply, GatewayCommand},
        http::{AlertDesk, GatewayError, HttpHandle, HttpPorts, serve},
        people::{People, Post},
        records::Records,
        snapshot::*,
    },
    settings::Settings,
    store::{Durability, OpenOptions, Store},
};
use alidade_accounts::Role;
use alidade_alerts::{
    record::AlertRecords,
    strategy::{UnitCapabilities, from_toml},
};
use alidade_model::{
    alert::{Coverage, Outlook, Pattern, PlannedTile, When},
    journal::{Entry, Fact},
    schedule::{Chance, Excluded},
    states::{EnclosureState, EventState, MountState, NightState, SequenceState},
    time::UtcTime,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::sync::{broadcast, mpsc, watch};

pub fn at(text: &str) -> UtcTime {
    text.parse().unwrap()
}

pub fn site() -> SiteView {
    SiteView {
        name: "ohp".into(),
        title: "Observatoire de Haute-Provence".into(),
        latitude_deg: 43.9317,
        longitude_deg: 5.7133,
        height_m: 650.0,
        horizon: vec![(0.0, 15.0), (90.0, 18.0), (180.0, 15.0), (270.0, 22.0), (359.0, 15.0)],
        horizon_limit_deg: 15.0,
    }
}

/// The observatory `step` seconds into a busy minute: everything on the page has something to show.
pub fn busy(step: u32) -> Snapshot {
    let start = at("2026-03-14T22:10:00Z");
    let now = start.plus_seconds(f64::from(step));
    let turn = f64::from(step);
    let mut snapshot = Snapshot::unknown(now, site(), "t1", "boot-1");
    snapshot.mode = Mode::Simulated { pace: 60.0 };
    snapshot.journal_seq = u64::from(step);
    snapshot.sentence = Sentence {
        doing: format!("observing NGC 4889 in r, frame {} of 10", 1 + step % 10),
        why: "it has the highest score of 12 observable sequences".into(),
        until: Some(now.plus_seconds(300.0)),
        next: "M 101 at 22:41".into(),
        would_change: "rain, wind above 14 m/s, or an alert".into(),
    };
    snapshot.night = NightView {
        night: "2026-03-14".into(),
        state: NightState::Observing,
        phase: "night".into(),
        sunset: Some(at("2026-03-14T17:45:00Z")),
        dusk: Some(at("2026-03-14T18:55:00Z")),
        dawn: Some(at("2026-03-15T04:45:00Z")),
        sunrise: Some(at("2026-03-15T05:55:00Z")),
    };
    snapshot.safety = SafetyView {
        state: SafetyState::Safe,
        since: Some(at("2026-03-14T18:00:00Z")),
        reasons: Vec::new(),
        overrides: vec![OverrideView {
            input: "gust_m_s".into(),
            who: "ada".into(),
            reason: "the vane is iced".into(),
            until: Some(at("2026-03-14T23:30:00Z")),
        }],
        inputs: vec![
            input(
                "wind_m_s",
                Some("4.2"),
                "m/s",
                Some(1.5),
                Verdict::Ok,
                "below its limit",
                "14 m/s for 30 s",
            ),
            input(
                "rain_mm_h",
                Some("0.0"),
                "mm/h",
                Some(1.5),
                Verdict::Ok,
                "dry",
                "any rain for 2 s",
            ),
            input(
                "ups_charge_pct",
                None,
                "%",
                None,
                Verdict::Unknown,
                "link down",
                "below 60 %",
            ),
            input(
                "<img src=x>",
                Some("<b>1</b>"),
                "",
                Some(90.0),
                Verdict::Unsafe,
                "a hostile name",
                "",
            ),
        ],
    };
    snapshot.enclosure = EnclosureView {
        state: EnclosureState::Open,
        azimuth_deg: Some(120.0),
        age_s: Some(0.8),
        reason: None,
    };
    snapshot.mount = MountView {
        state: MountState::Tracking,
        alt_deg: Some(55.0 + turn / 60.0),
        az_deg: Some(120.0 + turn / 30.0),
        ra_deg: Some(195.03),
        dec_deg: Some(27.97),
        target: Some("NGC 4889".into()),
        age_s: Some(0.4),
        reason: None,
    };
    snapshot.devices = devices();
    snapshot.cameras = ["vis", "nir"].map(|channel| camera(channel, turn)).into();
    weather(&mut snapshot, now, turn);
    snapshot.alert = Some(alert(start));
    rows(&mut snapshot, start);
    snapshot.moon = Some(MoonView {
        alt_deg: 20.0,
        az_deg: 250.0,
        illuminated: 0.25,
    });
    snapshot.sun = Some(Direction {
        alt_deg: -35.0,
        az_deg: 320.0,
    });
    snapshot.frames = vec![
        frame("e2", "vis", Some("previews/e2.png"), Some(1234)),
        frame("e1", "nir", None, None),
    ];
    snapshot.quotas = vec![QuotaView {
        user: "ada".into(),
        granted_s: 72_000.0,
        free_s: 60_000.0,
        reserved_s: 9000.0,
        spent_s: 3000.0,
    }];
    snapshot
}

fn devices() -> Vec<DeviceView> {
    let device = |name: &str, kind: &str, fields: serde_json::Value| DeviceView {
        device: name.into(),
        kind: kind.into(),
        up: true,
        since: at("2026-03-14T16:40:00Z"),
        cause: None,
        model: Some("A <b>model</b>".into()),
        version: Some("4.2".into()),
        garbage: 0,
        fields: serde_json::from_value(fields).unwrap(),
        age_s: Some(0.4),
        reason: None,
    };
    let away = DeviceView {
        up: false,
        cause: Some("no answer".into()),
        reason: Some("link down".into()),
        garbage: 3,
        ..device("mast", "station", serde_json::json!({ "wind_m_s": null }))
    };
    let vis = serde_json::json!({ "state": "exposing", "temperature_c": -19.9, "setpoint_c": -20.0 });
    let mount = serde_json::json!({ "state": "tracking", "alt_deg": 55.0, "az_deg": 120.0 });
    vec![
        device("camera_vis", "camera", vis),
        away,
        device("mount", "mount", mount),
    ]
}

fn input(
    name: &str,
    value: Option<&str>,
    unit: &str,
    age_s: Option<f64>,
    verdict: Verdict,
    reason: &str,
    limit: &str,
) -> SafetyInput {
    SafetyInput {
        name: name.into(),
        value: value.map(str::to_owned),
        unit: unit.into(),
        age_s,
        verdict,
        reason: reason.into(),
        limit: limit.into(),
    }
}

fn camera(channel: &str, turn: f64) -> CameraView {
    CameraView {
        channel: channel.into(),
        state: "exposing".into(),
        progress: Some((turn % 60.0) / 60.0),
        filter: Some("r".into()),
        exposure_s: Some(60.0),
        frames_done: Some((2, 10)),
        temperature_c: Some(-19.9),
        setpoint_c: Some(-20.0),
        age_s: Some(0.3),
        reason: None,
    }
}

fn weather(snapshot: &mut Snapshot, now: UtcTime, turn: f64) {
    let gauge = |value, unit: &str, limit| Gauge {
        value: Some(value),
        unit: unit.into(),
        reason: None,
        age_s: Some(2.0),
        limit: Some(limit),
    };
    snapshot
        .weather
        .insert("wind_m_s".into(), gauge(4.2 + (turn / 10.0).sin(), "m/s", 14.0));
    snapshot.weather.insert("humidity_pct".into(), gauge(61.0, "%", 88.0));
    let lost = Gauge {
        value: None,
        reason: Some("link down".into()),
        ..gauge(0.0, "%", 60.0)
    };
    snapshot.weather.insert("ups_charge_pct".into(), lost);
    let history = (0..120).map(|minute| HistoryPoint {
        at: now.plus_seconds(-60.0 * f64::from(120 - minute)),
        value: (!(40..50).contains(&minute)).then(|| 4.0 + (f64::from(minute) / 9.0).sin()),
    });
    snapshot.weather_history.insert("wind_m_s".into(), history.collect());
}

fn alert(start: UtcTime) -> AlertView {
    let stages = [
        ("received", 0.0),
        ("decided", 0.004),
        ("slewing", 0.018),
        ("on target", 24.0),
        ("first frame", 61.2),
    ];
    AlertView {
        event: "ev1".into(),
        name: "GRB 260314A".into(),
        state: "followed".into(),
        decision: "followed: within 90 degrees of the zenith, error radius below 0.5 deg".into(),
        strategy: Some("grb-prompt".into()),
        ra_deg: Some(201.5),
        dec_deg: Some(33.1),
        r90_deg: Some(0.05),
        received_at: start,
        stages: stages
            .map(|(stage, latency_s)| AlertStage {
                stage: stage.into(),
                at: start.plus_seconds(latency_s),
                latency_s,
            })
            .into(),
    }
}

fn rows(snapshot: &mut Snapshot, start: UtcTime) {
    let states = [
        SequenceState::Executed,
        SequenceState::Executing,
        SequenceState::Planned,
        SequenceState::Planned,
    ];
    for (index, state) in states.into_iter().enumerate() {
        let begin = start.plus_seconds(1800.0 * (index as f64 - 1.0));
        let end = begin.plus_seconds(1500.0);
        let started = index < 2;
        snapshot.schedule.push(ScheduleRow {
            sequence: format!("s{index}"),
            target: format!("M {}", 51 + index),
            user: "ada".into(),
            state,
            start: Some(begin),
            end: Some(end),
            executed_start: started.then_some(begin),
            executed_end: (state == SequenceState::Executed).then_some(end),
            from_alert: false,
        });
        snapshot.sky.push(SkyTarget {
            sequence: format!("s{index}"),
            name: format!("M {}", 51 + index),
            alt_deg: 30.0 + 12.0 * index as f64,
            az_deg: 70.0 * index as f64,
            state,
            from_alert: index == 1,
        });
    }
    snapshot.unplanned.push(UnplannedRow {
        excluded: vec![Excluded {
            cause: "below_altitude".into(),
            start: start.plus_seconds(-3600.0),
            end: start.plus_seconds(7200.0),
            worst: Some(12.5),
            limit: Some(25.0),
        }],
        chance: Some(Chance {
            nights: 30,
            usable_nights: 12,
            probability: 0.75,
        }),
        sequence: "s9".into(),
        target: "LMC".into(),
        user: "tycho".into(),
        reason: "never_rises".into(),
        sentence: "never above 25 deg tonight (highest: -24.1 deg)".into(),
    });
    snapshot.alarms.push(AlarmView {
        id: 41,
        count: 2,
        acknowledged_by: None,
        at: start,
        severity: alidade_model::journal::Severity::Warning,
        text: "ups link down".into(),
    });
}

fn frame(exposure: &str, channel: &str, preview: Option<&str>, sources: Option<u64>) -> FrameView {
    FrameView {
        exposure: exposure.into(),
        channel: channel.into(),
        kind: "object".into(),
        target: Some("NGC 4889".into()),
        filter: "r".into(),
        exposure_s: 60.0,
        taken_at: at("2026-03-14T22:09:00Z"),
        preview: preview.map(str::to_owned),
        fits: Some("frames/e2.fits".into()),
        fwhm_px: sources.map(|_| 2.4),
        sources,
        background: None,
        degradations: Vec::new(),
    }
}

/// A real packet, as it came.
const PACKET: &str = include_str!("../../simulations/nights/grb-over-ohp/events/svom-sb26022501-eclairs-wakeup.xml");

/// What the analysis says of a frame of the event.
fn candidate(exposure: &str, ra_deg: f64) -> Fact {
    Fact::CandidatesFound {
        event: "event-1".into(),
        exposure: exposure.into(),
        report: format!("2026-03-14/{exposure}.json"),
        candidates: 1,
        best_ra_deg: Some(ra_deg),
        best_dec_deg: Some(33.1),
        best_mag: Some(17.2),
        found: vec![alidade_model::alert::Candidate {
            ra_deg,
            dec_deg: 33.1,
            err_arcsec: Some(0.4),
            filter: "r".into(),
            mag: Some(17.2),
            mag_err: Some(0.05),
            exposure: exposure.into(),
            note: "score 0.93".into(),
        }],
    }
}

/// Alerts: one event that is tiled, the packet of another in the past, one strategy.
fn desk() -> AlertDesk {
    let start = at("2026-03-14T22:09:00Z");
    let tile = |offset: f64, probability, when| PlannedTile {
        ra_deg: 201.5 + offset,
        dec_deg: 33.1,
        probability,
        when,
        from: Some(start),
    };
    let stages = [
        ("event", -40.0),
        ("received", 0.0),
        ("decided", 0.004),
        ("slew_commanded", 0.018),
        ("first_light", 31.0),
    ];
    let facts = [
        Fact::EventMoved {
            event: "event-1".into(),
            from: None,
            to: EventState::New,
            name: "GRB <b>260314A</b>".into(),
            ra_deg: Some(201.5),
            dec_deg: Some(33.1),
            r90_deg: Some(0.4),
            cause: "1 notices".into(),
        },
        Fact::EventDecided {
            event: "event-1".into(),
            followed: true,
            strategy: Some("grb-arcmin".into()),
            reason: "followed by strategy grb-arcmin, 2 tiles".into(),
            request: Some("alert-1-1".into()),
            outlook: Some(Outlook {
                when: When::Now,
                reason: "ok".into(),
                sentence: "2 tiles: 60 % now, 20 % later tonight".into(),
                from: Some(start),
                until: None,
            }),
            coverage: Some(Box::new(Coverage {
                pattern: Pattern::Tiles,
                field_deg: 0.4,
                ra_deg: 201.5,
                dec_deg: 33.1,
                r90_deg: Some(0.4),
                tiles: vec![tile(0.0, 0.6, When::Now), tile(0.4, 0.2, When::LaterTonight)],
                covered: Some(0.8),
            })),
            others: [("test".to_owned(), "disabled".to_owned())].into(),
        },
        Fact::AlertTiming {
            event: "event-1".into(),
            stages: stages
                .map(|(stage, s)| (stage.to_owned(), start.plus_seconds(s)))
                .into(),
        },
        candidate("x-1", 201.50000),
        candidate("x-2", 201.50010),
    ];
    let mut records = AlertRecords::default();
    for (seq, fact) in facts.into_iter().enumerate() {
        records.append(&Entry {
            seq: seq as u64 + 1,
            at: start,
            fact,
        });
    }
    let strategy = from_toml(include_str!("../../config/strategies/30-grb-arcmin.toml")).unwrap();
    let board = AlertBoard {
        records: records.all(),
        stages: records.histograms().clone(),
        strategies: Arc::new(vec![strategy]),
        changes: Arc::default(),
        unit: Some(UnitCapabilities::with_field(0.4)),
    };
    AlertDesk {
        board: watch::channel(Arc::new(board)).1,
        packets: Arc::new(|_| Ok(vec![(PACKET.as_bytes().to_vec(), at("2026-02-25T08:52:10Z"))])),
    }
}

/// The test's side of the daemon's channels.
pub struct Observatory {
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub journal: broadcast::Sender<JournalLine>,
    pub asked: Arc<Mutex<Vec<(GatewayCommand, Author)>>>,
    /// What the next commands are answered.
    pub answer: Arc<Mutex<CommandReply>>,
    ports: HttpPorts,
    pub folder: PathBuf,
    /// Letters that were sent.
    pub letters: Arc<Mutex<Vec<String>>>,
}

impl Observatory {
    /// `name` makes the data folder the test's own.
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("alidade-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("previews")).unwrap();
        std::fs::create_dir_all(folder.join("frames")).unwrap();
        std::fs::write(folder.join("previews/e2.png"), PIXEL).unwrap();
        std::fs::write(folder.join("frames/e2.fits"), vec![b' '; 600_000]).unwrap();
        let (snapshot, receiver) = watch::channel(Arc::new(busy(0)));
        let journal = broadcast::Sender::new(4096);
        let (commands, mut calls) = mpsc::channel::<CommandCall>(16);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(CommandReply::Accepted));
        let (log, reply) = (asked.clone(), answer.clone());
        std::thread::spawn(move || {
            while let Some(call) = calls.blocking_recv() {
                log.lock().unwrap().push((call.command, call.author));
                let _ = call.reply.send(reply.lock().unwrap().clone());
            }
        });
        let ports = HttpPorts {
            snapshot: receiver,
            journal: journal.clone(),
            commands,
            data_dir: folder.clone(),
            journal_page: None,
            product_path: None,
            packages: None,
            alerts: Some(desk()),
            people: None,
            records: None,
            pipelines: None,
            data: None,
            settings: None,
            token: Some("correct horse".into()),
            at_the_machine: Role::Operator,
            https: false,
        };
        Self {
            snapshot,
            journal,
            asked,
            answer,
            ports,
            folder,
            letters: Arc::default(),
        }
    }

    /// Gives it accounts on a database of its own, where nobody is anybody without saying who they are. Returns the code of
    /// the first administrator.
    pub fn with_people(&mut self, members_only: bool) -> String {
        let url = format!("sqlite://{}", self.folder.join("people.sqlite").display());
        let options = OpenOptions {
            migrate: true,
            durability: Durability::Durable,
        };
        drop(Store::open(&url, options).unwrap());
        let kept = self.letters.clone();
        let post: Post = Arc::new(move |letter| {
            let text = format!("To: {}\n{}\n{}", letter.to, letter.subject, letter.body);
            kept.lock().unwrap().push(text);
            Ok(())
        });
        let address = Some("https://obs.example/".into());
        let people = People::open(&url, Some(post), address, members_only).unwrap();
        let code = people.at_the_counter(|desk, now| desk.first_code(now)).unwrap();
        self.ports.people = Some(Arc::new(people));
        self.ports.records = Some(Arc::new(Records::open(&url).unwrap()));
        self.ports.at_the_machine = Role::Visitor;
        code.unwrap()
    }

    /// Gives it the shipped pipelines, on a database of their own.
    pub fn with_pipelines(&mut self) {
        let url = format!("sqlite:{}", self.folder.join("engine.sqlite").display());
        let options = OpenOptions {
            migrate: true,
            durability: Durability::Relaxed,
        };
        drop(Store::open(&url, options).unwrap());
        let house = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut settings = Settings::load_with(&house.join("config/simulated.toml"), BTreeMap::new()).unwrap();
        settings.database.url = url;
        settings.storage.data_dir = self.folder.clone();
        settings.storage.pipelines = house.join("config/pipelines");
        self.ports.pipelines = Some(conduct(&settings));
    }

    pub fn ports(&self) -> HttpPorts {
        self.ports.clone()
    }

    pub fn serve(&self, addr: SocketAddr) -> Result<HttpHandle, GatewayError> {
        serve(addr, self.ports())
    }

    pub fn serve_anywhere(&self) -> HttpHandle {
        self.serve(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    pub fn record(&self, seq: u64, fact: &str) {
        let line = format!(r#"{{"seq":{seq},"at":"2026-03-14T22:10:00.000000Z","fact":"{fact}","cause":"test"}}"#);
        let _ = self.journal.send(line.into());
    }

    pub fn authors(&self) -> Vec<Author> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, author)| author.clone())
            .collect()
    }

    pub fn commands(&self) -> Vec<GatewayCommand> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(command, _)| command.clone())
            .collect()
    }
}

impl Drop for Observatory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A grey PNG of one pixel.
const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0, 0, 1, 8,
    0, 0, 0, 0, 0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0, 0, 0, 0x82,
    0, 0x81, 0x77, 0xcd, 0x72, 0xb6, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
