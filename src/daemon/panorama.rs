//! Everything the gateways show, gathered once a second from what the agents publish.

use super::{Daemon, translate};
use crate::gateway::alerts::AlertBoard;
use crate::{
    gateway::snapshot::{
        AlarmView, AlertStage, AlertView, CameraView, Direction, EnclosureView, FrameView, Gauge, HistoryPoint, Mode,
        MoonView, MountView, NightView, OverrideView, QuotaView, SafetyInput, SafetyState, SafetyView, ScheduleRow,
        Sentence, SiteView, SkyTarget, Snapshot, UnplannedRow, Verdict,
    },
    settings::Settings,
};
use alidade_alerts::{
    record::{AlertRecord, AlertRecords},
    strategy::{Strategy, UnitCapabilities},
};
use alidade_drivers::interface::CameraState;
use alidade_model::{
    exposure::{Exposure, ExposureOutcome, ProductKind},
    journal::{Entry, Fact, Sink},
    states::{EnclosureState, MountState, SequenceState},
    time::UtcTime,
};
use alidade_monitoring::alarms::Alarm;
use alidade_safety::verdict::Sense;
use alidade_scheduling::ephemeris::{Icrs, SkyFrame};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Notify;

const FRAMES: usize = 12;
const ALARMS: usize = 30;
const HISTORY: usize = 360;

/// State of what a board shows: of the records, and which strategies.
pub type Generation = (u64, usize);

/// What the panorama remembers of the journal.
#[derive(Clone, Default)]
pub struct Chronicle(Rc<RefCell<Remembered>>);

#[derive(Default)]
struct Remembered {
    last_seq: u64,
    frames: VecDeque<FrameView>,
    exposures: BTreeMap<String, Exposure>,
    history: BTreeMap<String, VecDeque<HistoryPoint>>,
    counters: BTreeMap<String, u64>,
    executed: BTreeMap<String, (UtcTime, Option<UtcTime>)>,
    planned: BTreeMap<String, (UtcTime, UtcTime)>,
    stages: BTreeMap<String, BTreeMap<String, UtcTime>>,
    alerts: AlertRecords,
    /// A report is due.
    due: Rc<Notify>,
}

impl Sink for Chronicle {
    fn append(&mut self, entry: &Entry) {
        self.0.borrow_mut().append(entry);
    }
}

impl Chronicle {
    /// Counters since the start of the daemon.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.0.borrow().counters.clone()
    }

    /// What the journal said before this daemon began.
    pub fn resume(&self, records: AlertRecords) {
        self.0.borrow_mut().alerts = records;
    }

    /// Changes of strategies, of this daemon and before.
    pub fn with_changes(&self, carried: Vec<Strategy>) -> Vec<Strategy> {
        super::strategies::with_changes(carried, &self.0.borrow().alerts)
    }

    /// Wakes when something is to be told of an event.
    pub fn due(&self) -> Rc<Notify> {
        self.0.borrow().due.clone()
    }

    /// Events of which something is to be told, once each.
    pub fn take_due(&self) -> Vec<Arc<AlertRecord>> {
        let mut inner = self.0.borrow_mut();
        let events = inner.alerts.take_due();
        let known = |event: &String| inner.alerts.get(event).cloned();
        events.iter().filter_map(known).collect()
    }

    /// Everything about alerts, when it has changed since `generation`.
    pub fn board(
        &self,
        daemon: &Daemon,
        settings: &Settings,
        generation: &mut Option<Generation>,
    ) -> Option<AlertBoard> {
        let inner = self.0.borrow();
        let strategies = daemon.published.alerts.borrow().strategies.clone();
        let current = (inner.alerts.generation(), Rc::as_ptr(&strategies).addr());
        if *generation == Some(current) {
            return None;
        }
        *generation = Some(current);
        Some(AlertBoard {
            records: inner.alerts.all(),
            stages: inner.alerts.histograms().clone(),
            strategies: Arc::new((*strategies).clone()),
            changes: Arc::new(inner.alerts.changes().cloned().collect()),
            unit: Some(unit(settings)),
        })
    }
}

/// Alerts whose way is kept here, those that were timed last; the page shows one, and the database has all.
const MOST_TIMED: usize = 256;

impl Remembered {
    fn forget_timings(&mut self) {
        while self.stages.len() > MOST_TIMED {
            let last = |stages: &BTreeMap<String, UtcTime>| stages.values().max().copied();
            let oldest = self.stages.iter().min_by_key(|(_, stages)| last(stages));
            let Some(oldest) = oldest.map(|(event, _)| event.clone()) else {
                return;
            };
            self.stages.remove(&oldest);
        }
    }

    fn count(&mut self, what: &str) {
        *self.counters.entry(what.to_owned()).or_default() += 1;
    }

    fn append(&mut self, entry: &Entry) {
        self.last_seq = entry.seq;
        self.alerts.append(entry);
        if self.alerts.is_due() {
            self.due.notify_one();
        }
        match &entry.fact {
            Fact::ExposureStarted { exposure } => {
                self.count("exposures_started");
                self.exposures.insert(exposure.id.clone(), exposure.clone());
            }
            Fact::ExposureEnded { exposure, outcome } => {
                self.count(match outcome {
                    ExposureOutcome::Written { .. } => "exposures_written",
                    ExposureOutcome::Aborted { .. } => "exposures_aborted",
                    ExposureOutcome::Failed { .. } => "exposures_failed",
                });
                if let Some(exposure) = self.exposures.remove(exposure)
                    && matches!(outcome, ExposureOutcome::Written { .. })
                {
                    self.frame(exposure);
                }
            }
            Fact::ProductMade { product } => self.product(product),
            Fact::FrameReduced {
                exposure,
                sources,
                fwhm_px,
                background,
                degradations,
                ..
            } => {
                self.count("frames_reduced");
                if let Some(frame) = self.frames.iter_mut().find(|f| f.exposure == *exposure) {
                    frame.sources = Some(*sources);
                    frame.fwhm_px = *fwhm_px;
                    frame.background = Some(*background);
                    frame.degradations.clone_from(degradations);
                }
            }
            Fact::Alarm { .. } => self.count("alarms"),
            Fact::Weather { readings } => {
                for (quantity, value) in readings {
                    let points = self.history.entry(quantity.clone()).or_default();
                    points.push_back(HistoryPoint {
                        at: entry.at,
                        value: value.ok(),
                    });
                    while points.len() > HISTORY {
                        points.pop_front();
                    }
                }
            }
            Fact::SequenceMoved { sequence, to, .. } => match to {
                SequenceState::Executing => {
                    self.executed.insert(sequence.clone(), (entry.at, None));
                }
                SequenceState::Executed => {
                    self.count("sequences_executed");
                    self.end(sequence, entry.at);
                }
                _ => self.end(sequence, entry.at),
            },
            Fact::ScheduleMade { schedule } => {
                self.count("schedules");
                for placed in &schedule.placed {
                    self.planned.insert(placed.sequence.clone(), (placed.start, placed.end));
                }
            }
            Fact::AlertTiming { event, stages } => {
                let known = self.stages.entry(event.clone()).or_default();
                for (stage, at) in stages {
                    known.entry(stage.clone()).or_insert(*at);
                }
                self.forget_timings();
            }
            Fact::PacketReceived { .. } => self.count("packets"),
            Fact::Degraded { .. } => self.count("degradations"),
            Fact::DeviceGarbage { .. } => self.count("garbage_messages"),
            Fact::InvariantBroken { .. } => self.count("invariants_broken"),
            Fact::NightBegan { .. } => {
                self.executed.clear();
                self.planned.clear();
            }
            _ => {}
        }
    }

    fn end(&mut self, sequence: &str, at: UtcTime) {
        if let Some((_, end)) = self.executed.get_mut(sequence)
            && end.is_none()
        {
            *end = Some(at);
        }
    }

    fn frame(&mut self, exposure: Exposure) {
        self.frames.push_front(FrameView {
            exposure: exposure.id,
            channel: exposure.channel,
            kind: exposure.kind.imagetyp().into(),
            target: exposure.sequence,
            filter: exposure.filter,
            exposure_s: exposure.exposure_s,
            taken_at: exposure.started_at,
            preview: None,
            fits: None,
            fwhm_px: None,
            sources: None,
            background: None,
            degradations: Vec::new(),
        });
        self.frames.truncate(FRAMES);
    }

    fn product(&mut self, product: &alidade_model::exposure::Product) {
        self.count("products");
        let Some(exposure) = &product.exposure else { return };
        if let Some(frame) = self.frames.iter_mut().find(|f| f.exposure == *exposure) {
            match product.kind {
                ProductKind::Preview => frame.preview = Some(product.path.clone()),
                ProductKind::Calibrated => frame.fits = Some(product.path.clone()),
                _ => {}
            }
        }
    }
}

/// What the telescope can do, as the alerts agent sees it.
pub fn unit(settings: &Settings) -> UnitCapabilities {
    alidade_alerts::agent::capabilities(&translate::alerts(settings, Vec::new()))
}

/// Who and where, which does not change.
#[derive(Debug, Clone)]
pub struct Identity {
    pub site: SiteView,
    pub unit: String,
    pub mode: Mode,
    pub boot_id: String,
}

pub fn identity(settings: &Settings, mode: Mode, boot: u32) -> Identity {
    let site = &settings.site;
    Identity {
        site: SiteView {
            name: site.name.clone(),
            title: site.title.clone(),
            latitude_deg: site.latitude_deg,
            longitude_deg: site.longitude_deg,
            height_m: site.height_m,
            horizon: site.horizon.clone(),
            horizon_limit_deg: site.horizon_limit_deg,
        },
        unit: settings.unit.name.clone(),
        mode,
        boot_id: format!("boot-{boot}"),
    }
}

/// The newest alarms, and every one that nobody has acknowledged, the newest first.
fn alarms(daemon: &Daemon) -> Vec<AlarmView> {
    let shown = |(place, alarm): &(usize, Alarm)| *place < ALARMS || alarm.acknowledged.is_none();
    let view = |(_, alarm): (usize, Alarm)| AlarmView {
        id: alarm.id,
        at: alarm.last_at,
        severity: alarm.severity,
        text: alarm.text,
        count: alarm.count,
        acknowledged_by: alarm.acknowledged.map(|(who, _)| who),
    };
    daemon
        .alarms
        .all()
        .into_iter()
        .enumerate()
        .filter(shown)
        .map(view)
        .collect()
}

/// The whole view at this instant.
pub fn snapshot(daemon: &Daemon, settings: &Settings, identity: &Identity, chronicle: &Chronicle) -> Snapshot {
    let now = daemon.recorder.now();
    let mut view = Snapshot::unknown(now, identity.site.clone(), &identity.unit, &identity.boot_id);
    view.mode = identity.mode;
    let remembered = chronicle.0.borrow();
    view.journal_seq = remembered.last_seq;
    view.frames = remembered.frames.iter().cloned().collect();
    view.alarms = alarms(daemon);
    view.counters = remembered.counters.clone();
    view.alert_stages = remembered.alerts.histograms().clone();
    view.weather_history = remembered
        .history
        .iter()
        .map(|(q, p)| (q.clone(), p.iter().copied().collect()))
        .collect();
    let status = daemon.published.majordome.borrow();
    view.sentence = Sentence {
        doing: status.doing.clone(),
        why: status.why.clone(),
        until: status.until,
        next: status.next.clone(),
        would_change: status.would_change.clone(),
    };
    sky(&mut view, daemon, settings, now);
    safety(&mut view, daemon, settings);
    devices(&mut view, daemon, now);
    view.devices = super::telemetry::devices(&daemon.devices, now);
    schedule(&mut view, daemon, &remembered);
    alert(&mut view, daemon, &remembered);
    view.night.state = status.state;
    view.quotas = daemon
        .book
        .borrow()
        .ledger()
        .balances()
        .iter()
        .map(|(user, b)| QuotaView {
            user: user.clone(),
            granted_s: -(b.granted_us as f64) / 1e6,
            free_s: b.free_us as f64 / 1e6,
            reserved_s: b.reserved_us as f64 / 1e6,
            spent_s: b.spent_us as f64 / 1e6,
        })
        .collect();
    view
}

fn sky(view: &mut Snapshot, daemon: &Daemon, settings: &Settings, now: UtcTime) {
    let Some(status) = daemon.published.monitoring.borrow().clone() else {
        return;
    };
    view.night = NightView {
        night: status.night.to_string(),
        state: view.night.state,
        phase: status.phase.as_str().into(),
        sunset: status.sunset,
        dusk: status.dusk,
        dawn: status.dawn,
        sunrise: status.sunrise,
    };
    let frame = SkyFrame::new(&translate::site(settings), now.chrono());
    let sun = frame.sun_altaz();
    view.sun = Some(Direction {
        alt_deg: sun.alt_deg,
        az_deg: sun.az_deg,
    });
    view.moon = Some(MoonView {
        alt_deg: status.moon_alt_deg,
        az_deg: status.moon_az_deg,
        illuminated: status.moon_illumination,
    });
    let limits = &settings.safety.rules;
    view.weather = status
        .weather
        .iter()
        .map(|(quantity, reading)| {
            let name = quantity.name();
            let rule = limits.get(name);
            let max_age = rule.map_or(60.0, |r| r.max_age_s);
            let gauge = Gauge::of(reading, now, unit_of(name), max_age, rule.map(|r| r.limit));
            (name.to_owned(), gauge)
        })
        .collect();
    let book = daemon.book.borrow();
    view.sky = book
        .lines()
        .filter(|line| {
            !matches!(
                line.state,
                SequenceState::Cancelled | SequenceState::Rejected | SequenceState::Expired
            )
        })
        .map(|line| {
            let target = &line.sequence.target;
            let direction = frame.altaz(&Icrs::new(target.ra_deg, target.dec_deg));
            SkyTarget {
                sequence: line.sequence.id.clone(),
                name: target.name.clone(),
                alt_deg: direction.alt_deg,
                az_deg: direction.az_deg,
                state: line.state,
                from_alert: line.from_alert.is_some(),
            }
        })
        .collect();
}

/// The unit that a quantity's name ends in, for people.
fn unit_of(quantity: &str) -> &'static str {
    [
        ("_m_s", "m/s"),
        ("_pct", "%"),
        ("_c", "°C"),
        ("_hpa", "hPa"),
        ("_mm_h", "mm/h"),
        ("_lux", "lx"),
        ("_deg", "°"),
        ("_k", "K"),
        ("_mb", "MB"),
        ("_silent_s", "s"),
    ]
    .into_iter()
    .find(|(suffix, _)| quantity.ends_with(suffix))
    .map_or("", |(_, unit)| unit)
}

fn safety(view: &mut Snapshot, daemon: &Daemon, settings: &Settings) {
    let status = daemon.published.safety.borrow();
    let inputs = status
        .rows
        .iter()
        .map(|row| {
            let unit = unit_of(&row.input);
            let rule = settings.safety.rules.get(&row.input);
            let bound = match row.sense {
                Sense::Above => "above",
                Sense::Below => "below",
            };
            let delays = rule.map_or_else(String::new, |r| {
                format!(" for {:.0} s; good again after {:.0} s", r.bad_delay_s, r.good_delay_s)
            });
            SafetyInput {
                name: row.input.clone(),
                value: row.value.ok().map(|v| {
                    if unit.is_empty() {
                        (if v > 0.5 { "yes" } else { "no" }).into()
                    } else {
                        format!("{v:.1}")
                    }
                }),
                unit: unit.into(),
                age_s: Some(row.age_s).filter(|_| row.value.is_ok() || row.age_s > 0.0),
                verdict: match (row.counts_as_unsafe, row.value.is_ok()) {
                    (false, _) => Verdict::Ok,
                    (true, true) => Verdict::Unsafe,
                    (true, false) => Verdict::Unknown,
                },
                reason: row.text.clone(),
                limit: if unit.is_empty() {
                    "yes".into()
                } else {
                    format!("{bound} {} {unit}{delays}", row.limit)
                },
            }
        })
        .collect();
    view.safety = SafetyView {
        state: if status.latched.is_some() {
            SafetyState::Latched
        } else if status.safe {
            SafetyState::Safe
        } else {
            SafetyState::Unsafe
        },
        since: status.since,
        reasons: status.reasons.clone(),
        inputs,
        overrides: status
            .overrides
            .iter()
            .map(|o| OverrideView {
                input: o.input.clone(),
                who: o.who.clone(),
                reason: o.reason.clone(),
                until: o.until,
            })
            .collect(),
    };
}

fn devices(view: &mut Snapshot, daemon: &Daemon, now: UtcTime) {
    let enclosure = *daemon.devices.plc.enclosure_status().borrow();
    let fresh = enclosure.fresh(now, 15.0);
    view.enclosure = EnclosureView {
        state: fresh.map_or(EnclosureState::Unknown, |s| s.state),
        azimuth_deg: fresh.ok().and_then(|s| s.azimuth_deg),
        age_s: Some(enclosure.age_s(now)),
        reason: fresh.err().map(|reason| reason.to_string()),
    };
    let mount = *daemon.devices.mount.status().borrow();
    let fresh = mount.fresh(now, 15.0);
    let observation = daemon.published.observation.borrow();
    view.mount = MountView {
        state: fresh.map_or(MountState::Unknown, |s| s.state),
        alt_deg: fresh.ok().map(|s| s.alt_deg),
        az_deg: fresh.ok().map(|s| s.az_deg),
        ra_deg: fresh.ok().map(|s| s.ra_deg),
        dec_deg: fresh.ok().map(|s| s.dec_deg),
        target: observation.running.as_ref().map(|r| r.label.clone()),
        age_s: Some(mount.age_s(now)),
        reason: fresh.err().map(|reason| reason.to_string()),
    };
    for channel in &daemon.devices.channels {
        let reading = *channel.camera.status().borrow();
        let status = reading.value.ok();
        let progress = observation.running.as_ref().and_then(|r| r.channels.get(&channel.name));
        let exposing = status.is_some_and(|s| s.state == CameraState::Exposing);
        let filter = channel
            .wheel
            .as_ref()
            .and_then(|wheel| wheel.status().borrow().value.as_ref().ok()?.filter.clone());
        view.cameras.push(CameraView {
            channel: channel.name.clone(),
            state: status
                .map_or("unknown", |s| match s.state {
                    CameraState::Idle => "idle",
                    CameraState::Exposing => "exposing",
                    CameraState::Reading => "reading",
                    CameraState::Ready => "ready",
                    CameraState::Fault => "fault",
                })
                .into(),
            progress: progress.filter(|_| exposing).and_then(|p| {
                let since = now.seconds_since(p.started_at?);
                (p.exposure_s > 0.0).then(|| (since / p.exposure_s).clamp(0.0, 1.0))
            }),
            filter,
            exposure_s: progress.map(|p| p.exposure_s),
            frames_done: progress.map(|p| (p.done, p.total)),
            temperature_c: status.map(|s| s.temperature_c),
            setpoint_c: status.map(|s| s.setpoint_c),
            age_s: Some(reading.age_s(now)),
            reason: reading.value.err().map(|reason| reason.to_string()),
        });
    }
}

fn schedule(view: &mut Snapshot, daemon: &Daemon, remembered: &Remembered) {
    let book = daemon.book.borrow();
    let row = |id: &str, start: Option<UtcTime>, end: Option<UtcTime>| {
        let line = book.line(id)?;
        let executed = remembered.executed.get(id);
        Some(ScheduleRow {
            sequence: id.into(),
            target: line.sequence.target.name.clone(),
            user: line.sequence.user.clone(),
            state: line.state,
            start,
            end,
            executed_start: executed.map(|(start, _)| *start),
            executed_end: executed.and_then(|(_, end)| *end),
            from_alert: line.from_alert.is_some(),
        })
    };
    let mut rows: Vec<ScheduleRow> = Vec::new();
    // What was planned and has happened stays in the picture, with the place it had.
    for (id, (start, end)) in &remembered.planned {
        let relevant =
            remembered.executed.contains_key(id) || book.line(id).is_some_and(|l| l.state == SequenceState::Planned);
        rows.extend(relevant.then(|| row(id, Some(*start), Some(*end))).flatten());
    }
    for id in remembered
        .executed
        .keys()
        .filter(|id| !remembered.planned.contains_key(*id))
    {
        rows.extend(row(id, None, None));
    }
    rows.sort_by_key(|r| (r.executed_start.or(r.start), r.sequence.clone()));
    view.schedule = rows;
    if let Some(schedule) = daemon.published.schedule.borrow().as_ref() {
        view.unplanned = schedule
            .unplaced
            .iter()
            .filter_map(|u| {
                let line = book.line(&u.sequence)?;
                Some(UnplannedRow {
                    sequence: u.sequence.clone(),
                    target: line.sequence.target.name.clone(),
                    user: line.sequence.user.clone(),
                    reason: u.reason.clone(),
                    sentence: u.sentence.clone(),
                    excluded: u.excluded.clone(),
                    chance: u.chance,
                })
            })
            .collect();
    }
}

fn alert(view: &mut Snapshot, daemon: &Daemon, remembered: &Remembered) {
    let status = daemon.published.alerts.borrow().clone();
    let Some(summary) = status.latest.as_ref().and_then(|latest| status.events.get(latest)) else {
        return;
    };
    let stages = remembered.stages.get(&summary.event).unwrap_or(&summary.stages);
    let mut stages: Vec<AlertStage> = stages
        .iter()
        .map(|(stage, at)| AlertStage {
            stage: stage.clone(),
            at: *at,
            latency_s: at.seconds_since(summary.received_at),
        })
        .collect();
    stages.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.stage.cmp(&b.stage)));
    view.alert = Some(AlertView {
        event: summary.event.clone(),
        name: summary.name.clone(),
        state: if summary.followed {
            "followed".into()
        } else {
            summary.state.to_string()
        },
        decision: summary.decision.clone(),
        strategy: summary.strategy.clone(),
        ra_deg: summary.ra_deg,
        dec_deg: summary.dec_deg,
        r90_deg: summary.r90_deg,
        received_at: summary.received_at,
        stages,
    });
}
