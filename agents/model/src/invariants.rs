//! OBS-1 to OBS-11: what must hold after every event, as a checker over journal entries and measured truth.
//!
//! The same checker runs in simulation (a broken invariant ends the run) and in production (it is counted and
//! alarmed). In simulation `truth` is what the simulated hardware really does; live it is what the devices measure.

use crate::{
    book::Book,
    exposure::{Exposure, ExposureOutcome, FrameKind},
    journal::{Entry, Fact, SHUTDOWN},
    ledger::Ledger,
    states::{EnclosureState, LifeCycle, NightState, SequenceState},
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The state of the hardware at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub at: UtcTime,
    pub enclosure: EnclosureState,
    /// True while what the safety limits forbid is really the case (rain falls, wind above its limit ...) as the
    /// hardware sees it.
    pub hazard: bool,
    /// True while no command can move the enclosure: the emergency stop is pressed, its motor is dead, it is jammed there, or
    /// it waits for a mount that is ill.
    pub enclosure_held: bool,
    /// True when the mount stands where the site's policy lets the enclosure move.
    pub enclosure_may_move: bool,
    /// How often the controller's own interlock has kept the enclosure from being moved against the mount.
    pub interlock_trips: u32,
    /// The emergency stop is pressed, and nothing keeps the daemon from knowing it and the mount from hearing what it is told.
    pub must_stand: bool,
    /// The mount slews, parks or tracks.
    pub mount_moves: bool,
    pub mount_alt_deg: f64,
    pub mount_parked: bool,
    /// Distance of the pointing from the Sun, degrees; and whether the Sun is above the horizon.
    pub sun_separation_deg: f64,
    pub sun_up: bool,
    /// Shutters that are open for a light frame.
    pub light_shutters_open: u32,
}

/// The numbers the invariants are judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// OBS-1: the enclosure may be open this long after the hazard began, or after what held it meanwhile let go, seconds
    /// (detection, confirmation and travel).
    pub reaction_s: f64,
    /// OBS-4: lowest pointing, degrees.
    pub horizon_deg: f64,
    /// OBS-4: half-angle of the zone around the risen Sun, degrees.
    pub sun_exclusion_deg: f64,
    /// OBS-3: how long after the loss of "measured open" a light shutter may still be open, seconds.
    pub shutter_grace_s: f64,
    /// OBS-3: how long after a restart a shutter of the time before may still be open, seconds.
    pub restart_grace_s: f64,
    /// OBS-11: how long the mount may still move after the emergency stop was pressed, seconds.
    pub halt_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reaction_s: 180.0,
            horizon_deg: 10.0,
            sun_exclusion_deg: 20.0,
            shutter_grace_s: 5.0,
            restart_grace_s: 15.0,
            halt_s: 20.0,
        }
    }
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{id}: {text}")]
pub struct Broken {
    pub id: String,
    pub text: String,
}

fn broken(id: &str, text: impl Into<String>) -> Broken {
    Broken {
        id: id.into(),
        text: text.into(),
    }
}

/// Keeps what it needs to judge the next entry; feed it everything in order.
#[derive(Debug, Clone)]
pub struct Checker {
    limits: Limits,
    hazard_since: Option<UtcTime>,
    not_open_since: Option<UtcTime>,
    defiant_since: Option<UtcTime>,
    interlock_trips: u32,
    running: BTreeMap<String, Exposure>,
    ended: BTreeSet<String>,
    ledger: Ledger,
    sequences: BTreeMap<String, SequenceState>,
    night: NightState,
    read_since_start: BTreeSet<String>,
    started: bool,
    /// Nobody runs the observatory since it was killed.
    dead: bool,
    alive_since: Option<UtcTime>,
    /// Who latched the site, until somebody releases it.
    latched_by: Option<String>,
    accepted: BTreeMap<String, UtcTime>,
    /// Events with a decision; `None` in the middle of a journal, whose end nobody judges.
    decided: Option<BTreeSet<String>>,
    last_seq: u64,
}

impl Checker {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hazard_since: None,
            not_open_since: None,
            defiant_since: None,
            interlock_trips: 0,
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            ledger: Ledger::default(),
            sequences: BTreeMap::new(),
            night: NightState::Off,
            read_since_start: BTreeSet::new(),
            started: false,
            dead: false,
            alive_since: None,
            latched_by: None,
            accepted: BTreeMap::new(),
            decided: Some(BTreeSet::new()),
            last_seq: 0,
        }
    }

    /// Begins in the middle of a journal: behind entry `last_seq`, with the sequences and accounts of `book`, and the
    /// exposures whose end is not recorded.
    #[must_use]
    pub fn behind(mut self, last_seq: u64, book: &Book, open: &[Exposure]) -> Self {
        self.last_seq = last_seq;
        self.decided = None;
        self.sequences = book
            .lines()
            .map(|line| (line.sequence.id.clone(), line.state))
            .collect();
        self.ledger = book.ledger().clone();
        self.running = open.iter().map(|e| (e.id.clone(), e.clone())).collect();
        self
    }

    /// The daemon is no more, until the next [`Fact::Started`]. A shutter that it left open is nobody's to close until then;
    /// the roof is the controller's, so OBS-1 and OBS-2 hold on.
    pub fn died(&mut self) {
        self.dead = true;
    }

    /// OBS-1 to OBS-4 and OBS-11: judged on the hardware's truth, as often as it changes.
    pub fn observe(&mut self, truth: &Truth) -> Result<(), Broken> {
        let open = matches!(truth.enclosure, EnclosureState::Open | EnclosureState::Opening);
        let exposed = open || truth.enclosure == EnclosureState::Stopped;
        // Where the mount must park first, a dead daemon cannot have it parked.
        let waits = self.dead && !truth.enclosure_may_move;
        let avoidable = truth.hazard && !truth.enclosure_held && !waits;
        self.hazard_since = avoidable.then(|| self.hazard_since.unwrap_or(truth.at));
        if let Some(since) = self.hazard_since
            && exposed
            && truth.at.seconds_since(since) > self.limits.reaction_s
        {
            return Err(broken(
                "OBS-1",
                format!("enclosure {} while unsafe since {since}", truth.enclosure),
            ));
        }
        let moving = matches!(truth.enclosure, EnclosureState::Opening | EnclosureState::Closing);
        if moving && !truth.enclosure_may_move {
            return Err(broken(
                "OBS-2",
                format!("enclosure {} with the mount in its way", truth.enclosure),
            ));
        }
        if std::mem::replace(&mut self.interlock_trips, truth.interlock_trips) < truth.interlock_trips {
            return Err(broken(
                "OBS-2",
                format!("enclosure {}: its interlock kept it from the mount", truth.enclosure),
            ));
        }
        let is_open = truth.enclosure == EnclosureState::Open;
        self.not_open_since = (!is_open).then(|| self.not_open_since.unwrap_or(truth.at));
        if let Some(since) = self.not_open_since
            && !self.dead
            && truth.light_shutters_open > 0
            && truth.at.seconds_since(since) > self.limits.shutter_grace_s
            && self
                .alive_since
                .is_none_or(|start| truth.at.seconds_since(start) > self.limits.restart_grace_s)
        {
            return Err(broken(
                "OBS-3",
                format!("light exposure with the enclosure {} since {since}", truth.enclosure),
            ));
        }
        let defiant = truth.must_stand && truth.mount_moves && !self.dead;
        self.defiant_since = defiant.then(|| self.defiant_since.unwrap_or(truth.at));
        if let Some(since) = self.defiant_since
            && truth.at.seconds_since(since) > self.limits.halt_s
        {
            return Err(broken(
                "OBS-11",
                format!("mount moves since {since} under the emergency stop"),
            ));
        }
        if !truth.mount_parked && truth.mount_alt_deg < self.limits.horizon_deg {
            return Err(broken(
                "OBS-4",
                format!("mount points at altitude {:.1} deg", truth.mount_alt_deg),
            ));
        }
        if truth.sun_up && open && truth.sun_separation_deg < self.limits.sun_exclusion_deg {
            return Err(broken(
                "OBS-4",
                format!("mount points {:.1} deg from the Sun", truth.sun_separation_deg),
            ));
        }
        Ok(())
    }

    /// OBS-5 to OBS-10: judged on what is recorded.
    #[expect(
        clippy::collapsible_match,
        reason = "a guard that takes note of what it judges would surprise"
    )]
    pub fn entry(&mut self, entry: &Entry) -> Result<(), Broken> {
        if self.last_seq != 0 && entry.seq != self.last_seq + 1 {
            return Err(broken(
                "OBS-9",
                format!("journal entry {} follows {}", entry.seq, self.last_seq),
            ));
        }
        self.last_seq = entry.seq;
        match &entry.fact {
            Fact::Started { .. } => {
                self.started = true;
                self.dead = false;
                self.alive_since = Some(entry.at);
                self.latched_by.take_if(|who| who == SHUTDOWN);
                self.read_since_start.clear();
                self.night = NightState::Off;
            }
            Fact::DeviceRead { device } => {
                self.read_since_start.insert(device.clone());
            }
            Fact::DeviceCommand { device, command } => {
                if self.started && !self.read_since_start.contains(device) {
                    return Err(broken(
                        "OBS-6",
                        format!("{device} was commanded ({command}) before its state was read"),
                    ));
                }
                if command == "open"
                    && let Some(who) = &self.latched_by
                {
                    return Err(broken(
                        "OBS-10",
                        format!("{device} was told to open while latched by {who}"),
                    ));
                }
            }
            // The daemon's own end forgets nobody else's latch.
            Fact::OperatorCommand { who, command, .. } if command == "latch" => {
                if who != SHUTDOWN || self.latched_by.is_none() {
                    self.latched_by = Some(who.clone());
                }
            }
            Fact::OperatorCommand { command, .. } if command == "release" => self.latched_by = None,
            Fact::ExposureStarted { exposure } => {
                if self.ended.contains(&exposure.id)
                    || self.running.insert(exposure.id.clone(), exposure.clone()).is_some()
                {
                    return Err(broken("OBS-5", format!("exposure {} was started twice", exposure.id)));
                }
            }
            Fact::ExposureEnded { exposure, outcome } => self.exposure_ended(exposure, outcome)?,
            Fact::QuotaPosted { posting } => {
                self.ledger.post(posting).map_err(|e| broken("OBS-7", e.to_string()))?;
                if !self.ledger.is_balanced() {
                    return Err(broken("OBS-7", format!("account {} does not balance", posting.account)));
                }
            }
            Fact::PacketReceived { packet, verdict, .. } if verdict == "act" => {
                if self.accepted.insert(packet.clone(), entry.at).is_some() {
                    return Err(broken("OBS-8", format!("packet {packet} was accepted twice")));
                }
            }
            Fact::EventDecided { event, .. } => {
                if let Some(decided) = &mut self.decided {
                    decided.insert(event.clone());
                }
            }
            Fact::RequestSubmitted { request } => {
                for sequence in &request.sequences {
                    self.sequences.insert(sequence.id.clone(), SequenceState::Submitted);
                }
            }
            Fact::SequenceMoved { sequence, from, to, .. } => self.sequence_moved(sequence, *from, *to)?,
            Fact::NightMoved { from, to, .. } => {
                if *from != self.night || !from.allows(*to) {
                    return Err(broken(
                        "OBS-9",
                        format!("night went from {from} (known: {}) to {to}", self.night),
                    ));
                }
                self.night = *to;
            }
            Fact::RunMoved {
                run,
                from: Some(from),
                to,
                ..
            } if !from.allows(*to) => {
                return Err(broken("OBS-9", format!("run {run} went from {from} to {to}")));
            }
            Fact::UnitMoved {
                unit,
                from: Some(from),
                to,
                ..
            } if !from.allows(*to) => {
                return Err(broken("OBS-9", format!("unit {unit} went from {from} to {to}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn exposure_ended(&mut self, id: &str, outcome: &ExposureOutcome) -> Result<(), Broken> {
        if !self.ended.insert(id.to_owned()) {
            return Err(broken("OBS-5", format!("exposure {id} ended twice ({outcome:?})")));
        }
        match self.running.remove(id) {
            Some(_) => Ok(()),
            None => Err(broken("OBS-5", format!("exposure {id} ended without a start"))),
        }
    }

    fn sequence_moved(&mut self, id: &str, from: SequenceState, to: SequenceState) -> Result<(), Broken> {
        match self.sequences.insert(id.to_owned(), to) {
            Some(known) if known != from => Err(broken("OBS-9", format!("sequence {id} left {from} but was {known}"))),
            None => Err(broken("OBS-9", format!("sequence {id} moved but was never submitted"))),
            Some(_) if !from.allows(to) => Err(broken("OBS-9", format!("sequence {id} went from {from} to {to}"))),
            Some(_) => Ok(()),
        }
    }

    /// Judged when the run is over: nothing may be left without its end. `events` are the alert events that exist,
    /// each with the packets that were merged into it.
    pub fn finish(&self, events: &BTreeMap<String, Vec<String>>) -> Result<(), Broken> {
        if let Some(exposure) = self.running.values().next() {
            return Err(broken(
                "OBS-5",
                format!(
                    "exposure {} started at {} and never ended",
                    exposure.id, exposure.started_at
                ),
            ));
        }
        for packet in self.accepted.keys() {
            let homes = events.values().filter(|packets| packets.contains(packet)).count();
            if homes != 1 {
                return Err(broken("OBS-8", format!("packet {packet} belongs to {homes} events")));
            }
        }
        let Some(decided) = &self.decided else { return Ok(()) };
        if let Some(event) = events.keys().find(|event| !decided.contains(*event)) {
            return Err(broken("OBS-8", format!("event {event} has no recorded decision")));
        }
        Ok(())
    }

    /// Light exposures that are recorded as running, for OBS-3 checks against the enclosure.
    pub fn light_exposures_running(&self) -> usize {
        self.running.values().filter(|e| e.kind == FrameKind::Object).count()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, fact: Fact) -> Entry {
        Entry {
            seq,
            at: truth(0.0).at,
            fact,
        }
    }

    fn truth(second: f64) -> Truth {
        let at: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        Truth {
            at: at.plus_seconds(second),
            enclosure: EnclosureState::Open,
            hazard: false,
            enclosure_held: false,
            enclosure_may_move: true,
            interlock_trips: 0,
            must_stand: false,
            mount_moves: true,
            mount_alt_deg: 60.0,
            mount_parked: false,
            sun_separation_deg: 120.0,
            sun_up: false,
            light_shutters_open: 1,
        }
    }

    #[test]
    fn an_open_roof_in_rain_breaks_obs_1_after_the_reaction_time() {
        let mut checker = Checker::new(Limits::default());
        assert!(
            checker
                .observe(&Truth {
                    hazard: true,
                    ..truth(0.0)
                })
                .is_ok()
        );
        assert!(
            checker
                .observe(&Truth {
                    hazard: true,
                    ..truth(179.0)
                })
                .is_ok()
        );
        let broken = checker
            .observe(&Truth {
                hazard: true,
                ..truth(181.0)
            })
            .unwrap_err();
        assert_eq!(broken.id, "OBS-1");
    }

    #[test]
    fn a_roof_that_is_held_in_rain_has_the_reaction_time_from_when_it_is_let_go() {
        let mut checker = Checker::new(Limits::default());
        let stopped = |second, enclosure_held| Truth {
            enclosure: EnclosureState::Stopped,
            hazard: true,
            enclosure_held,
            light_shutters_open: 0,
            ..truth(second)
        };
        for (second, held) in [
            (0.0, false),
            (10.0, true),
            (600.0, true),
            (601.0, false),
            (780.0, false),
        ] {
            assert_eq!(checker.observe(&stopped(second, held)), Ok(()), "second {second}");
        }
        assert_eq!(checker.observe(&stopped(782.0, false)).unwrap_err().id, "OBS-1");
    }

    #[test]
    fn a_mount_that_moves_on_under_the_emergency_stop_breaks_obs_11() {
        let mut checker = Checker::new(Limits::default());
        let pressed = |second, mount_moves| Truth {
            must_stand: true,
            mount_moves,
            ..truth(second)
        };
        assert!(checker.observe(&pressed(0.0, true)).is_ok());
        assert!(checker.observe(&pressed(19.0, false)).is_ok());
        assert!(checker.observe(&pressed(100.0, true)).is_ok());
        assert_eq!(checker.observe(&pressed(121.0, true)).unwrap_err().id, "OBS-11");
    }

    #[test]
    fn a_latch_outlives_a_restart_unless_the_daemon_itself_ended_with_it() {
        let said = |who: &str, command: &str| Fact::OperatorCommand {
            who: who.into(),
            command: command.into(),
            outcome: String::new(),
        };
        let start = || Fact::Started {
            version: "1".into(),
            site: "s".into(),
            unit: "u".into(),
            boot: 2,
        };
        let read = || Fact::DeviceRead { device: "plc".into() };
        let open = || Fact::DeviceCommand {
            device: "plc".into(),
            command: "open".into(),
        };
        let judged = |facts: Vec<Fact>| {
            let mut checker = Checker::new(Limits::default());
            let mut numbered = facts.into_iter().enumerate();
            numbered.try_for_each(|(number, fact)| checker.entry(&entry(number as u64 + 1, fact)))
        };
        let by_stop = || said("safety", "latch");
        assert_eq!(judged(vec![by_stop(), open()]).unwrap_err().id, "OBS-10");
        let ended = vec![by_stop(), said(SHUTDOWN, "latch"), start(), read(), open()];
        assert_eq!(judged(ended).unwrap_err().id, "OBS-10");
        assert_eq!(judged(vec![said(SHUTDOWN, "latch"), start(), read(), open()]), Ok(()));
        assert_eq!(judged(vec![by_stop(), said("ada", "release"), open()]), Ok(()));
    }

    #[test]
    fn an_exposure_behind_a_closed_dome_breaks_obs_3() {
        let mut checker = Checker::new(Limits::default());
        let closed = |second| Truth {
            enclosure: EnclosureState::Closed,
            ..truth(second)
        };
        assert!(checker.observe(&closed(0.0)).is_ok());
        assert_eq!(checker.observe(&closed(6.0)).unwrap_err().id, "OBS-3");
    }

    #[test]
    fn a_shutter_that_a_killed_daemon_left_open_is_the_next_ones_to_close() {
        let mut checker = Checker::new(Limits::default());
        let closed = |second| Truth {
            enclosure: EnclosureState::Closed,
            ..truth(second)
        };
        checker.died();
        assert!(checker.observe(&closed(0.0)).is_ok());
        assert!(checker.observe(&closed(60.0)).is_ok());
        let start = Fact::Started {
            version: "1".into(),
            site: "s".into(),
            unit: "u".into(),
            boot: 2,
        };
        let started = Entry {
            seq: 1,
            at: truth(70.0).at,
            fact: start,
        };
        checker.entry(&started).unwrap();
        assert!(checker.observe(&closed(80.0)).is_ok());
        assert_eq!(checker.observe(&closed(86.0)).unwrap_err().id, "OBS-3");
    }

    #[test]
    fn a_mount_below_the_horizon_or_at_the_sun_breaks_obs_4() {
        let mut checker = Checker::new(Limits::default());
        assert_eq!(
            checker
                .observe(&Truth {
                    mount_alt_deg: 3.0,
                    ..truth(0.0)
                })
                .unwrap_err()
                .id,
            "OBS-4"
        );
        let sunny = Truth {
            sun_up: true,
            sun_separation_deg: 5.0,
            ..truth(0.0)
        };
        assert_eq!(Checker::new(Limits::default()).observe(&sunny).unwrap_err().id, "OBS-4");
    }

    #[test]
    fn an_enclosure_that_moves_into_the_mount_breaks_obs_2() {
        let hit = Truth {
            enclosure: EnclosureState::Closing,
            enclosure_may_move: false,
            ..truth(0.0)
        };
        assert_eq!(Checker::new(Limits::default()).observe(&hit).unwrap_err().id, "OBS-2");
    }

    #[test]
    fn a_command_before_the_first_reading_breaks_obs_6() {
        let mut checker = Checker::new(Limits::default());
        let started = Fact::Started {
            version: "0".into(),
            site: "s".into(),
            unit: "u".into(),
            boot: 1,
        };
        checker.entry(&entry(1, started)).unwrap();
        let command = Fact::DeviceCommand {
            device: "mount".into(),
            command: "park".into(),
        };
        assert_eq!(
            checker.clone().entry(&entry(2, command.clone())).unwrap_err().id,
            "OBS-6"
        );
        checker
            .entry(&entry(2, Fact::DeviceRead { device: "mount".into() }))
            .unwrap();
        checker.entry(&entry(3, command)).unwrap();
    }

    fn exposure() -> Exposure {
        Exposure {
            id: "e1".into(),
            sequence: None,
            channel: "vis".into(),
            kind: FrameKind::Object,
            filter: "r".into(),
            exposure_s: 10.0,
            binning: 1,
            started_at: truth(0.0).at,
        }
    }

    #[test]
    fn a_checker_that_begins_later_knows_what_was_before() {
        let exposure = exposure();
        let lost = Fact::ExposureEnded {
            exposure: "e1".into(),
            outcome: ExposureOutcome::Failed { cause: "killed".into() },
        };
        let fresh = || Checker::new(Limits::default());
        assert_eq!(fresh().entry(&entry(41, lost.clone())).unwrap_err().id, "OBS-5");
        let mut behind = fresh().behind(40, &Book::default(), &[exposure]);
        assert_eq!(behind.clone().entry(&entry(42, lost.clone())).unwrap_err().id, "OBS-9");
        behind.entry(&entry(41, lost.clone())).unwrap();
        assert_eq!(behind.entry(&entry(42, lost)).unwrap_err().id, "OBS-5");
    }

    #[test]
    fn an_exposure_ends_once() {
        let mut checker = Checker::new(Limits::default());
        let exposure = exposure();
        checker.entry(&entry(1, Fact::ExposureStarted { exposure })).unwrap();
        assert_eq!(checker.finish(&BTreeMap::new()).unwrap_err().id, "OBS-5");
        let end = Fact::ExposureEnded {
            exposure: "e1".into(),
            outcome: ExposureOutcome::Aborted { cause: "rain".into() },
        };
        checker.entry(&entry(2, end.clone())).unwrap();
        assert_eq!(checker.entry(&entry(3, end)).unwrap_err().id, "OBS-5");
    }
}
