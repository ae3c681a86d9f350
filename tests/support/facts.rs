//! A walk through a night's facts: each number of a list chooses what happens next.
//!
//! Requests, states and quotas go through the book, so what it refuses is not recorded; everything else is recorded
//! as agents would.

use alidade_model::{
    book::{Book, SharedBook},
    clock::Clock,
    exposure::{Exposure, ExposureOutcome, FrameKind, Product, ProductKind},
    journal::{Entry, Fact, Recorder, Severity, Sink},
    reading::NoData,
    request::{After, Album, Constraints, Group, Origin, Phase, Plan, Request, Sequence, Target, Timing},
    schedule::{Chance, Excluded, Placed, Schedule, Unplaced},
    states::{EventState, LifeCycle, NightState, RunState, SequenceState, UnitState},
    time::{Night, UtcTime},
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

struct Ticking(Cell<i64>);

impl Clock for Ticking {
    fn now(&self) -> UtcTime {
        self.0.set(self.0.get() + 1_234_567);
        UtcTime::from_unix_micros(self.0.get()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<Entry>>>);

impl Sink for Kept {
    fn append(&mut self, entry: &Entry) {
        self.0.borrow_mut().push(entry.clone());
    }
}

/// What the walk knows at its end, for comparison with what a store restores.
pub struct Walk {
    pub entries: Vec<Entry>,
    pub book: Book,
    pub boots: u32,
    pub open_exposures: BTreeMap<String, Exposure>,
    pub events: BTreeMap<String, EventState>,
    pub packets: BTreeSet<String>,
    pub schedule: Option<Schedule>,
    pub runs: BTreeMap<String, RunState>,
    pub units: BTreeMap<String, UnitState>,
}

/// Every kind of wish in turn. The numbers survive a text, as people's do.
fn timing(request: &str, n: usize, i: usize, at: UtcTime) -> Timing {
    let mut timing = Timing::default();
    match n % 5 {
        1 => {
            timing.windows = vec![
                (at, at.plus_seconds(60.0)),
                (at.plus_seconds(90.0), at.plus_seconds(120.5)),
            ]
        }
        2 => {
            timing.phase = Some(Phase {
                epoch: at,
                period_s: 7000.25,
                from: 0.9,
                to: 0.1,
            })
        }
        3 if i > 0 => {
            timing.after = Some(After {
                sequence: format!("{request}-{}", i - 1),
                min_gap_s: 60.0,
                max_gap_s: Some(600.5),
                required: false,
            })
        }
        4 => {
            timing.group = Some(Group {
                name: "pair".into(),
                at_least: 2,
                at_most: Some(3),
            })
        }
        _ => {}
    }
    timing
}

pub fn walk(steps: &[u16]) -> Walk {
    let kept = Kept::default();
    // 2026-03-14T18:00:00Z
    let clock = Rc::new(Ticking(Cell::new(1_773_511_200_000_000)));
    let mut walker = Walker {
        recorder: Recorder::new(clock, 0, vec![Box::new(kept.clone())]),
        book: SharedBook::default(),
        count: 0,
        end: Walk {
            entries: Vec::new(),
            book: Book::default(),
            boots: 0,
            open_exposures: BTreeMap::new(),
            events: BTreeMap::new(),
            packets: BTreeSet::new(),
            schedule: None,
            runs: BTreeMap::new(),
            units: BTreeMap::new(),
        },
    };
    for step in steps {
        walker.step(*step);
    }
    let mut end = walker.end;
    end.book = walker.book.borrow().clone();
    end.entries = kept.0.borrow().clone();
    end
}

struct Walker {
    recorder: Recorder,
    book: SharedBook,
    count: u32,
    end: Walk,
}

const USERS: [&str; 3] = ["ada", "vera", "Ölüm O'Brien"];

fn next<S: LifeCycle + 'static>(all: &'static [S], from: S, choice: usize) -> Option<S> {
    let legal: Vec<S> = all.iter().copied().filter(|to| from.allows(*to)).collect();
    legal.get(choice.checked_rem(legal.len())?).copied()
}

impl Walker {
    fn step(&mut self, step: u16) {
        let (what, n) = (step % 20, usize::from(step / 20));
        self.count += 1;
        let recorder = self.recorder.clone();
        let book = self.book.clone();
        let id = self.sequence(n);
        match (what, id) {
            (0, _) => book
                .borrow_mut()
                .grant(USERS[n % 3], "IRAP", 100.5 * (n + 1) as f64, &recorder)
                .unwrap(),
            (1 | 2, _) => book.borrow_mut().submit(self.request(n), &recorder).unwrap(),
            (3 | 4, Some(id)) => {
                let state = book.borrow().line(&id).unwrap().state;
                if let Some(to) = next(SequenceState::ALL, state, n) {
                    book.borrow_mut()
                        .move_to(&id, to, "the walk says so", &recorder)
                        .unwrap();
                }
            }
            (5, Some(id)) => drop(book.borrow_mut().reserve(&id, 10.25 + n as f64, &recorder)),
            (6, Some(id)) => drop(book.borrow_mut().spend(&id, &recorder)),
            (7, Some(id)) => drop(book.borrow_mut().refund(&id, "clouds", &recorder)),
            (8, Some(id)) => book
                .borrow_mut()
                .exposure_done(&id, ["vis", "nir"][n % 2], &recorder)
                .unwrap(),
            (9, Some(id)) => book.borrow_mut().start_over(&id, &recorder),
            (10, id) => self.expose(n, id),
            (11, _) => self.end_exposure(n),
            (12, _) => self.packet(n),
            (13, _) => self.schedule(n),
            (14, _) => self.weather(n),
            (15, _) => self.run(n),
            (16, _) => self.unit(n),
            (17, _) => self.night(n),
            (18, _) => self.device(n),
            _ => self.log(n),
        }
    }

    fn sequence(&self, n: usize) -> Option<String> {
        let book = self.book.borrow();
        let ids: Vec<_> = book.lines().map(|line| line.sequence.id.clone()).collect();
        ids.get(n.checked_rem(ids.len())?).cloned()
    }

    fn request(&self, n: usize) -> Request {
        let id = format!("r{}", self.count);
        let at = self.recorder.now();
        let sequences = (0..=n % 3)
            .map(|i| Sequence {
                id: format!("{id}-{i}"),
                request: id.clone(),
                user: USERS[n % 3].into(),
                target: Target {
                    name: format!("M {n}"),
                    ra_deg: n as f64 / 7.0 % 360.0,
                    dec_deg: -(i as f64) / 3.0,
                },
                priority: 1.0 + n as f64 / 10.0,
                window: (n.is_multiple_of(2)).then(|| (at, at.plus_seconds(3600.000001))),
                t_prefered: (n.is_multiple_of(5)).then(|| at.plus_seconds(60.0)),
                constraints: Constraints {
                    min_alt_deg: 30.0 + i as f64,
                    max_airmass: n.is_multiple_of(3).then_some(1.75),
                    hour_angle_deg: n.is_multiple_of(4).then_some((-45.5, 10.25)),
                    ..Constraints::default()
                },
                timing: timing(&id, n, i, at),
                albums: (0..1 + n % 2).map(|a| album(a, n)).collect(),
            })
            .collect();
        Request {
            id,
            title: "a \"title\" with % and \\".into(),
            user: USERS[n % 3].into(),
            origin: if n.is_multiple_of(4) {
                Origin::Alert {
                    event: format!("event-{}", n % 5),
                    strategy: "grb".into(),
                }
            } else {
                Origin::Routine
            },
            submitted_at: at,
            sequences,
        }
    }

    fn expose(&mut self, n: usize, sequence: Option<String>) {
        let exposure = Exposure {
            id: format!("x{}", self.count),
            sequence,
            channel: "vis".into(),
            kind: [FrameKind::Bias, FrameKind::Dark, FrameKind::Flat, FrameKind::Object][n % 4],
            filter: "r".into(),
            exposure_s: n as f64 / 3.0,
            binning: 1 + n as u32 % 4,
            started_at: self.recorder.now(),
        };
        self.recorder.record(Fact::ExposureStarted {
            exposure: exposure.clone(),
        });
        self.end.open_exposures.insert(exposure.id.clone(), exposure);
    }

    fn end_exposure(&mut self, n: usize) {
        let Some((id, exposure)) = self.end.open_exposures.pop_first() else {
            return;
        };
        let product = format!("p-{id}");
        let outcome = match n % 3 {
            0 => ExposureOutcome::Written {
                product: product.clone(),
            },
            1 => ExposureOutcome::Aborted {
                cause: "an alert".into(),
            },
            _ => ExposureOutcome::Failed {
                cause: "read-out".into(),
            },
        };
        if n.is_multiple_of(3) {
            let product = Product {
                id: product,
                kind: [ProductKind::Raw, ProductKind::MasterBias][n % 2],
                exposure: Some(id.clone()),
                sequence: exposure.sequence,
                path: format!("raw/{id}.fits"),
                size_bytes: 2880 * (n as u64 + 1),
                sha256: "00ff".repeat(16),
                made_at: self.recorder.now(),
            };
            self.recorder.record(Fact::ProductMade { product });
            self.recorder.record(Fact::FrameReduced {
                exposure: id.clone(),
                sources: n as u64,
                fwhm_px: (n.is_multiple_of(2)).then_some(2.5),
                background: 100.25,
                rms: 3.0,
                degradations: vec!["no dark".into()],
            });
        }
        self.recorder.record(Fact::ExposureEnded { exposure: id, outcome });
    }

    fn packet(&mut self, n: usize) {
        let packet = format!("packet-{}", n % 50);
        let fresh = self.end.packets.insert(packet.clone());
        self.recorder.record(Fact::PacketReceived {
            packet,
            channel: "vtp".into(),
            size_bytes: n as u64,
            verdict: if fresh { "act" } else { "duplicate" }.into(),
            reason: "ok".into(),
            body: format!("<voe:VOEvent ivorn='{n}'>\u{e9}</voe:VOEvent>"),
            identity: Some(format!("{:064x}", n % 50)),
            event: Some(format!("event-{}", n % 5)),
        });
        if !fresh {
            return;
        }
        let event = format!("event-{}", n % 5);
        let from = self.end.events.get(&event).copied();
        let to = match from {
            None => EventState::New,
            Some(state) => next(EventState::ALL, state, n).unwrap(),
        };
        self.end.events.insert(event.clone(), to);
        self.recorder.record(Fact::EventMoved {
            event: event.clone(),
            from,
            to,
            name: "GRB 260314A".into(),
            ra_deg: Some(n as f64 / 11.0),
            dec_deg: (n.is_multiple_of(2)).then_some(-12.5),
            r90_deg: None,
            cause: "packet".into(),
        });
        self.recorder.record(Fact::EventDecided {
            event: event.clone(),
            followed: n.is_multiple_of(2),
            strategy: (n.is_multiple_of(2)).then(|| "grb".into()),
            reason: "it is bright".into(),
            request: (n.is_multiple_of(2)).then(|| format!("for-{event}")),
            outlook: None,
            coverage: None,
            others: BTreeMap::new(),
        });
        let stages = BTreeMap::from([("received".to_owned(), self.recorder.now())]);
        self.recorder.record(Fact::AlertTiming { event, stages });
    }

    fn schedule(&mut self, n: usize) {
        let at = self.recorder.now();
        let ids: Vec<_> = self
            .book
            .borrow()
            .lines()
            .map(|line| line.sequence.id.clone())
            .collect();
        let (first, rest) = ids.split_at(ids.len() / 2);
        let placed = first.iter().map(|id| Placed {
            sequence: id.clone(),
            start: at,
            setup_s: n as f64 / 8.0,
            end: at.plus_seconds(n as f64),
            delta_tl_s: 0.1,
            delta_tr_s: n as f64 / 3.0,
            chance: n.is_multiple_of(3).then_some(Chance {
                nights: 30,
                usable_nights: 12,
                probability: 0.75,
            }),
            earliest: n.is_multiple_of(2).then(|| at.plus_seconds(-0.5)),
        });
        let unplaced = rest.iter().map(|id| Unplaced {
            sequence: id.clone(),
            reason: "never_rises".into(),
            sentence: format!("{id} stays below 25\u{b0}"),
            detail: serde_json::json!({"kind": "never_rises", "highest_deg": n as f64 / 4.0}),
            chance: None,
            excluded: (0..n % 3)
                .map(|k| Excluded {
                    cause: "below_altitude".into(),
                    start: at,
                    end: at.plus_seconds(60.0 * (k + 1) as f64),
                    worst: k.is_multiple_of(2).then_some(-0.25),
                    limit: Some(25.0),
                })
                .collect(),
        });
        let schedule = Schedule {
            // The same name twice in a walk: names need not be unique, places in the journal are.
            id: format!("s{}", n % 4),
            made_at: at,
            cause: "dusk".into(),
            first: n.is_multiple_of(3),
            placed: placed.collect(),
            unplaced: unplaced.collect(),
            objective: n as f64,
            upper_bound: if n.is_multiple_of(2) { f64::MAX } else { n as f64 + 0.5 },
        };
        self.end.schedule = Some(schedule.clone());
        self.recorder.record(Fact::ScheduleMade { schedule });
    }

    fn weather(&self, n: usize) {
        let readings = BTreeMap::from([
            ("wind_gust_m_s".to_owned(), Ok(n as f64 / 3.0)),
            (
                "humidity".to_owned(),
                if n.is_multiple_of(2) {
                    Ok(0.5)
                } else {
                    Err(NoData::LinkDown)
                },
            ),
        ]);
        self.recorder.record(Fact::Weather { readings });
    }

    fn run(&mut self, n: usize) {
        let run = format!("run-{}", n % 6);
        let from = self.end.runs.get(&run).copied();
        let to = from.map_or(Some(RunState::Waiting), |state| next(RunState::ALL, state, n));
        let Some(to) = to else { return };
        self.end.runs.insert(run.clone(), to);
        self.recorder.record(Fact::RunMoved {
            run,
            pipeline: "calibrate".into(),
            from,
            to,
            cause: "walk".into(),
        });
    }

    fn unit(&mut self, n: usize) {
        let unit = format!("unit-{}", n % 4);
        let from = self.end.units.get(&unit).copied();
        let to = from.map_or(Some(UnitState::ReadyForProcessing), |state| {
            next(UnitState::ALL, state, n)
        });
        let Some(to) = to else { return };
        self.end.units.insert(unit.clone(), to);
        let (program, author, cause) = ("grb".into(), "ada".into(), "walk".into());
        self.recorder.record(Fact::UnitMoved {
            unit,
            program,
            from,
            to,
            author,
            cause,
        });
    }

    fn night(&mut self, n: usize) {
        let night = Night(chrono::NaiveDate::from_ymd_opt(2026, 3, 14).unwrap());
        match n % 4 {
            0 => {
                self.end.boots += 1;
                self.recorder.record(Fact::Started {
                    version: "0.1.0".into(),
                    site: "ohp".into(),
                    unit: "unit1".into(),
                    boot: self.end.boots,
                });
            }
            1 => {
                let sunset = Some(self.recorder.now());
                self.recorder.record(Fact::NightBegan {
                    night,
                    sunset,
                    dusk: None,
                    dawn: None,
                    sunrise: None,
                });
            }
            2 => {
                let (from, to) = (NightState::Waiting, NightState::Preparing);
                self.recorder.record(Fact::NightMoved {
                    from,
                    to,
                    cause: "dusk".into(),
                });
            }
            _ => {
                self.recorder.record(Fact::NightReported {
                    night,
                    path: "report.json".into(),
                });
            }
        }
    }

    fn device(&self, n: usize) {
        let device = ["mount", "plc"][n % 2].to_owned();
        let fact = match n % 5 {
            0 => Fact::DeviceIdentified {
                device,
                model: "EQ8".into(),
                version: "1.2".into(),
            },
            1 => Fact::DeviceLink {
                device,
                up: n.is_multiple_of(3),
                cause: "timed out".into(),
            },
            2 => Fact::DeviceGarbage {
                device,
                what: "\u{0}\u{1}junk".into(),
                total: n as u64,
            },
            3 => Fact::DeviceCommand {
                device,
                command: "park".into(),
            },
            _ => Fact::DeviceRead { device },
        };
        self.recorder.record(fact);
    }

    fn log(&self, n: usize) {
        let fact = match n % 4 {
            0 => Fact::Alarm {
                severity: Severity::Serious,
                text: "rain".into(),
            },
            1 => Fact::Degraded {
                what: "focus".into(),
                cause: "no star".into(),
            },
            2 => Fact::InvariantBroken {
                id: "OBS-1".into(),
                text: "open in the rain".into(),
            },
            _ => Fact::OperatorCommand {
                who: "ada".into(),
                command: "close".into(),
                outcome: "accepted".into(),
            },
        };
        self.recorder.record(fact);
    }
}

fn album(index: usize, n: usize) -> Album {
    let plan = |p: usize| Plan {
        filter: ["g", "r", "i"][p % 3].into(),
        exposure_s: 0.1 + n as f64,
        count: 1 + p as u32,
        binning: 1 + (n % 2) as u32,
        dither_arcsec: p as f64 / 9.0,
    };
    Album {
        channel: ["vis", "nir"][index].into(),
        plans: (0..1 + n % 3).map(plan).collect(),
    }
}
