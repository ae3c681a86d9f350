//! Killed at any moment: no alert is lost and none is asked for twice. What a daemon has on disk is a prefix of what it
//! recorded, whole turns of it; what was not acknowledged comes again.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use actix::prelude::*;
use alidade_alerts::agent::{
    Alerts, AlertsPorts, AlertsSettings, AlertsStatus, Before, EventSummary, Packet, StoredPacket,
};
use alidade_alerts::strategy::{Strategy, from_toml};
use alidade_majordome::messages::{BookChanged, Denied, Disposition, Retract, TargetOfOpportunity};
use alidade_model::book::{Book, SharedBook, Standing};
use alidade_model::clock::Clock;
use alidade_model::journal::{Entry, Fact, Recorder, Sink};
use alidade_model::ledger::Ledger;
use alidade_model::states::SequenceState;
use alidade_model::time::UtcTime;
use alidade_scheduling::Site;
use tokio::sync::watch;

/// Numbers without a pattern, the same in every run (SplitMix64: Steele, Lea & Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn evening() -> UtcTime {
    "2026-11-20T20:00:00Z".parse().unwrap()
}

/// One notice: who sends it, as which packet, about which trigger.
struct Notice {
    satellite: &'static str,
    packet: usize,
    trigger: usize,
    t0_s: f64,
    /// Right ascension, declination, radius, degrees.
    place: Option<(f64, f64, f64)>,
    cites: Option<(&'static str, String)>,
}

impl Notice {
    fn ivorn(&self) -> String {
        format!("ivo://{}/grb#n{}", self.satellite, self.packet)
    }

    fn body(&self) -> Vec<u8> {
        let time = evening()
            .plus_seconds(self.t0_s)
            .chrono()
            .format("%Y-%m-%dT%H:%M:%S%.3f");
        let place = self.place.map_or_else(String::new, |(ra, dec, err)| {
            format!(
                "<Position2D unit='deg'><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.4}</C1><C2>{dec:.4}</C2>\
                 </Value2><Error2Radius>{err:.4}</Error2Radius></Position2D>"
            )
        });
        let cites = self.cites.as_ref().map_or_else(String::new, |(how, whom)| {
            format!("<Citations><EventIVORN cite='{how}'>{whom}</EventIVORN></Citations>")
        });
        let (ivorn, trigger) = (self.ivorn(), self.trigger);
        format!(
            "<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' version='2.0' role='observation' \
             ivorn='{ivorn}'><What><Param name='TrigID' value='{trigger}'/></What><WhereWhen><ObsDataLocation>\
             <ObservationLocation><AstroCoords coord_system_id='UTC-FK5-GEO'><Time><TimeInstant><ISOTime>{time}</ISOTime>\
             </TimeInstant></Time>{place}</AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen><Why><Inference>\
             <Concept>process.variation.burst;em.gamma</Concept></Inference></Why>{cites}</voe:VOEvent>"
        )
        .into_bytes()
    }
}

/// Notices of an evening: bursts seen by one satellite or by two, better and moved positions, replacements, retractions,
/// some of which come before what they withdraw.
fn notices(dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut sent: Vec<Notice> = Vec::new();
    for burst in 0..2 + dice.below(2) {
        // Near each other in the sky and in time now and then: some become one event.
        let t0_s = -600.0 + 40.0 * dice.below(8) as f64;
        let (ra, dec) = (10.0 + dice.below(3) as f64 * 9.0, 20.0 + dice.below(3) as f64);
        for satellite in ["a.sat", "b.sat"].iter().take(1 + dice.below(2)) {
            let first = sent.len();
            for number in 0..1 + dice.below(3) {
                let shift = if dice.chance(40) {
                    0.5 * dice.below(3) as f64
                } else {
                    0.0
                };
                let place = Some((ra + shift, dec, 0.2 / (1.0 + number as f64)));
                let place = place.filter(|_| number > 0 || dice.chance(70));
                let cites = match (number, dice.below(4)) {
                    (0, _) | (_, 0) => None,
                    (_, 1) => Some(("supersedes", sent[first].ivorn())),
                    (_, 2) if dice.chance(50) => Some(("retraction", sent[first].ivorn())),
                    _ => Some(("followup", sent[first].ivorn())),
                };
                sent.push(Notice {
                    satellite,
                    packet: sent.len(),
                    trigger: 100 + burst,
                    t0_s: t0_s + dice.below(8) as f64,
                    place,
                    cites,
                });
            }
        }
    }
    for at in (1..sent.len()).rev() {
        if dice.chance(30) {
            sent.swap(at, at - 1);
        }
    }
    sent.iter().map(Notice::body).collect()
}

fn strategy(name: &str) -> Strategy {
    let text = format!(
        "[strategy]\nname = \"{name}\"\nversion = 1\npriority = 5\n[match]\nstreams = [\"*\"]\n[preempt]\n\
         level = \"interrupt_exposure\"\n[plan]\nrevisit_after = [\"24h\"]\nvisit_window = \"12h\"\n\
         [[plan.step]]\nuntil = \"48h\"\nfilters = [\"r\"]\nexptime = \"10s\"\ncount = 4\n\
         [plan.tiling]\nmax_tiles = 10\nmin_cumulative_prob = 0.0\n"
    );
    from_toml(&text).unwrap()
}

fn settings(strategies: Vec<Strategy>) -> AlertsSettings {
    AlertsSettings {
        site: Site::new(43.93, 5.71, 650.0),
        strategies,
        fov_deg: 0.4,
        channels: [("red".to_owned(), vec!["r".to_owned()])].into(),
        horizon_deg: 15.0,
        horizon: alidade_scheduling::HorizonMask::default(),
        sun_max_alt_deg: -12.0,
        max_packet_bytes: 1 << 20,
        follow_tests: false,
        remember_events_days: 30,
        remember_packets_days: 400,
    }
}

/// The house's clock, set by hand.
#[derive(Clone)]
struct Hand(Rc<Cell<UtcTime>>);

impl Clock for Hand {
    fn now(&self) -> UtcTime {
        self.0.get()
    }
}

/// What was recorded since the last commit.
#[derive(Clone, Default)]
struct Tape(Rc<RefCell<Vec<Entry>>>);

impl Sink for Tape {
    fn append(&mut self, entry: &Entry) {
        self.0.borrow_mut().push(entry.clone());
    }
}

/// Where the telescope's orders end; what becomes of them is no matter here.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<TargetOfOpportunity> for Deaf {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, _: TargetOfOpportunity, _: &mut Self::Context) -> Self::Result {
        Ok(Disposition::Accepted)
    }
}

impl Handler<Retract> for Deaf {
    type Result = ();

    fn handle(&mut self, _: Retract, _: &mut Self::Context) {}
}

impl Handler<BookChanged> for Deaf {
    type Result = ();

    fn handle(&mut self, _: BookChanged, _: &mut Self::Context) {}
}

/// A daemon's alerts, from its start to its end.
struct Life {
    alerts: Addr<Alerts>,
    tape: Tape,
    book: SharedBook,
    recorder: Recorder,
    status: watch::Receiver<Rc<AlertsStatus>>,
}

/// The book as the disk tells it: what was submitted, and how far it has come.
fn book(disk: &[Entry]) -> Book {
    let (mut requests, mut states) = (Vec::new(), BTreeMap::new());
    for entry in disk {
        match &entry.fact {
            Fact::RequestSubmitted { request } => requests.push(request.clone()),
            Fact::SequenceMoved { sequence, to, .. } => {
                let standing = Standing {
                    state: *to,
                    moved_at: entry.at,
                    done: BTreeMap::new(),
                };
                states.insert(sequence.clone(), standing);
            }
            _ => {}
        }
    }
    Book::restored(requests, states, BTreeMap::new(), Ledger::default())
}

fn number(event: &str) -> u64 {
    event.strip_prefix("event-").unwrap().parse().unwrap()
}

/// What the disk tells of the alerts, as the database does.
fn before(disk: &[Entry]) -> Before {
    let mut before = Before::default();
    // Every decision of a packet's turn is about an event that it changed.
    let mut kept = false;
    for entry in disk {
        match &entry.fact {
            Fact::PacketReceived {
                verdict, body, event, ..
            } => {
                kept = ["act", "ignore"].contains(&verdict.as_str());
                if kept {
                    before.packets.push(StoredPacket {
                        body: body.clone(),
                        received_at: entry.at,
                        event: event.as_deref().map(number),
                        touched: Vec::new(),
                    });
                }
            }
            Fact::EventDecided {
                event,
                followed,
                request,
                ..
            } => {
                let packet = before.packets.last_mut().filter(|_| kept);
                packet.unwrap().touched.push(number(event));
                before.last_event = before.last_event.max(number(event));
                before.followed.remove(&number(event));
                if let (true, Some(request)) = (followed, request) {
                    before.followed.insert(number(event), request.clone());
                }
            }
            _ => {}
        }
    }
    before
}

fn boot(disk: &[Entry], clock: &Hand, settings: AlertsSettings) -> Life {
    let tape = Tape::default();
    let last = disk.last().map_or(0, |entry| entry.seq);
    let recorder = Recorder::new(Rc::new(clock.clone()), last, vec![Box::new(tape.clone())]);
    let book = Rc::new(RefCell::new(book(disk)));
    let deaf = Deaf.start();
    let (status_out, status) = watch::channel(Rc::new(AlertsStatus::default()));
    let ports = AlertsPorts {
        recorder: recorder.clone(),
        book: book.clone(),
        majordome: deaf.clone().recipient(),
        retract: deaf.clone().recipient(),
        changed: deaf.recipient(),
        status: status_out,
    };
    Life {
        alerts: Alerts::new(ports, settings, before(disk)).start(),
        tape,
        book,
        recorder,
        status,
    }
}

impl Life {
    async fn tell(&self, body: &[u8]) {
        let packet = Packet {
            channel: "vtp".into(),
            body: body.to_vec(),
        };
        self.alerts.send(packet).await.unwrap();
    }
}

/// What an evening came to: the packets of each event and whether it is followed; and all places that are asked for.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: BTreeMap<BTreeSet<String>, bool>,
    asked_for: Vec<(String, String)>,
}

fn live(state: SequenceState) -> bool {
    !matches!(state, SequenceState::Cancelled | SequenceState::Executed)
}

fn outcome(life: &Life) -> Outcome {
    let (book, status) = (life.book.borrow(), life.status.borrow());
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut places: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for line in book.lines().filter(|line| live(line.state)) {
        let event = line.from_alert.as_deref().unwrap();
        let target = &line.sequence.target;
        let place = (format!("{:.3}", target.ra_deg), format!("{:.3}", target.dec_deg));
        places.entry(event).or_default().push(place);
        let request = line.sequence.request.split("-visit-").next().unwrap();
        wanted.entry(event).or_default().insert(request);
    }
    for (event, requests) in &wanted {
        assert_eq!(requests.len(), 1, "{event} is asked for once: {requests:?}");
    }
    let mut asked_for: Vec<(String, String)> = places.into_values().flatten().collect();
    asked_for.sort();
    let packets = |summary: &EventSummary| summary.packets.iter().cloned().collect::<BTreeSet<String>>();
    let sets: Vec<(BTreeSet<String>, bool)> = status.events.values().map(|s| (packets(s), s.followed)).collect();
    // What was absorbed by another event stays in view under its old number; only what stands is compared.
    let stands = |set: &BTreeSet<String>| {
        !set.is_empty() && !sets.iter().any(|(o, _)| o.len() > set.len() && o.is_superset(set))
    };
    let events = sets.iter().filter(|(set, _)| stands(set)).cloned().collect();
    Outcome { events, asked_for }
}

/// An evening without an accident.
async fn undisturbed(packets: &[Vec<u8>]) -> Outcome {
    let clock = Hand(Rc::new(Cell::new(evening())));
    let life = boot(&[], &clock, settings(vec![strategy("x")]));
    for (number, packet) in packets.iter().enumerate() {
        clock.0.set(evening().plus_seconds(5.0 * number as f64));
        life.tell(packet).await;
    }
    outcome(&life)
}

/// The same with accidents: after some of the turns are on disk the daemon dies, and some of what is on disk was
/// acknowledged. What was not comes again, from the first.
async fn killed(packets: &[Vec<u8>], dice: &mut Dice) -> (Outcome, Vec<Entry>, usize) {
    let clock = Hand(Rc::new(Cell::new(evening())));
    let mut disk: Vec<Entry> = Vec::new();
    let (mut acknowledged, mut kills) = (0, 0);
    let mut life = boot(&disk, &clock, settings(vec![strategy("x")]));
    while acknowledged < packets.len() {
        let batch = &packets[acknowledged..packets.len().min(acknowledged + 1 + dice.below(3))];
        let mut turns = Vec::new();
        for (number, packet) in batch.iter().enumerate() {
            clock
                .0
                .set(evening().plus_seconds(5.0 * (acknowledged + number) as f64));
            life.tell(packet).await;
            turns.push(life.tape.0.borrow().len());
        }
        let mut entries = life.tape.0.take();
        if dice.chance(70) {
            let kept = dice.below(batch.len() + 1);
            entries.truncate(kept.checked_sub(1).map_or(0, |last| turns[last]));
            disk.extend(entries);
            acknowledged += dice.below(kept + 1);
            life.recorder.silence();
            life = boot(&disk, &clock, settings(vec![strategy("x")]));
            kills += 1;
        } else {
            disk.extend(entries);
            acknowledged += batch.len();
        }
    }
    (outcome(&life), disk, kills)
}

#[test]
fn a_thousand_kills_lose_no_alert_and_ask_for_none_twice() {
    let wanted: usize = std::env::var("ALIDADE_KILLS").map_or(1000, |n| n.parse().unwrap());
    System::new().block_on(async {
        let (mut kills, mut followed, mut evening) = (0, 0, 0);
        while kills < wanted {
            evening += 1;
            let mut dice = Dice(evening);
            let packets = notices(&mut dice);
            let right = undisturbed(&packets).await;
            let (found, disk, here) = killed(&packets, &mut dice).await;
            assert_eq!(found, right, "evening {evening}, {here} kills");
            followed += right.events.values().filter(|followed| **followed).count();
            kills += here;
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            let mut requests = BTreeSet::new();
            for entry in &disk {
                match &entry.fact {
                    Fact::PacketReceived { packet, verdict, .. } if verdict != "duplicate" => {
                        *times.entry(packet.clone()).or_default() += 1;
                    }
                    Fact::RequestSubmitted { request } => assert!(requests.insert(request.id.clone())),
                    _ => {}
                }
            }
            assert_eq!(times.len(), packets.len(), "every packet is on disk");
            assert!(times.values().all(|n| *n == 1), "and once: {times:?}");
        }
        assert!(followed > evening as usize / 2, "{followed} of {evening} evenings");
    });
}

/// A burst, then what comes of it in the next life.
fn burst(packet: usize, cites: Option<(&'static str, String)>) -> Notice {
    Notice {
        satellite: "a.sat",
        packet,
        trigger: 100,
        t0_s: -60.0,
        place: Some((10.0, 20.0, 0.05)),
        cites,
    }
}

#[test]
fn a_retraction_ends_an_observation_that_the_strategies_of_today_would_not_have_begun() {
    System::new().block_on(async {
        let clock = Hand(Rc::new(Cell::new(evening())));
        let life = boot(&[], &clock, settings(vec![strategy("x")]));
        let first = burst(0, None);
        life.tell(&first.body()).await;
        let disk = life.tape.0.take();
        assert_eq!(
            life.book.borrow().lines().filter(|l| live(l.state)).count(),
            2,
            "now, and a visit"
        );
        let mut other = strategy("other");
        other.matching.streams = vec!["b.sat".into()];
        let life = boot(&disk, &clock, settings(vec![other]));
        assert!(life.status.borrow().events["event-1"].followed, "it goes on");
        life.tell(&burst(1, Some(("retraction", first.ivorn()))).body()).await;
        assert_eq!(life.book.borrow().lines().filter(|l| live(l.state)).count(), 0);
    });
}

#[test]
fn what_was_withdrawn_is_followed_anew_after_a_restart_when_another_satellite_speaks_of_it() {
    System::new().block_on(async {
        let clock = Hand(Rc::new(Cell::new(evening())));
        let life = boot(&[], &clock, settings(vec![strategy("x")]));
        let first = burst(0, None);
        life.tell(&first.body()).await;
        life.tell(&burst(1, Some(("retraction", first.ivorn()))).body()).await;
        let disk = life.tape.0.take();
        let life = boot(&disk, &clock, settings(vec![strategy("x")]));
        let second = Notice {
            satellite: "b.sat",
            ..burst(2, None)
        };
        life.tell(&second.body()).await;
        let book = life.book.borrow();
        let requests: BTreeSet<_> = book
            .lines()
            .filter(|l| live(l.state))
            .map(|l| l.sequence.request.clone())
            .collect();
        assert!(requests.iter().any(|r| !r.contains("visit")), "{requests:?}");
    });
}
