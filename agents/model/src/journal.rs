//! Facts, and the recorder that appends them.
//!
//! A *fact* is something that has happened. Facts are appended to the journal by one call and are never acted upon
//! from there: the journal feeds the database, the MQTT feed, the dashboard and the invariant checker. Each entry
//! carries its number, its instant and what caused it.

use crate::{
    alert::{AlertReport, Coverage, Outlook},
    clock::Clock,
    exposure::{Exposure, ExposureOutcome, Product},
    ledger::Posting,
    reading::NoData,
    request::{Request, SequenceId},
    schedule::Schedule,
    states::{EnclosureState, EventState, MountState, NightState, RunState, SequenceState, UnitState},
    time::{Night, UtcTime},
};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The author of the latch with which the daemon closes when it is stopped in order; it does not outlive the stop.
pub const SHUTDOWN: &str = "shutdown";

/// How loud an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Serious,
    Critical,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The daemon (or a simulated one) came up; `boot` counts starts on this database.
    Started {
        version: String,
        site: String,
        unit: String,
        boot: u32,
    },
    Stopped {
        cause: String,
    },
    /// A device answered and told who it is.
    DeviceIdentified {
        device: String,
        model: String,
        version: String,
    },
    DeviceLink {
        device: String,
        up: bool,
        cause: String,
    },
    /// A device said something that its protocol does not allow; survived and counted.
    DeviceGarbage {
        device: String,
        what: String,
        total: u64,
    },
    /// A command that was sent to a device.
    DeviceCommand {
        device: String,
        command: String,
    },
    /// The first good reading after a (re)start of the daemon.
    DeviceRead {
        device: String,
    },
    NightBegan {
        night: Night,
        sunset: Option<UtcTime>,
        dusk: Option<UtcTime>,
        dawn: Option<UtcTime>,
        sunrise: Option<UtcTime>,
    },
    PhaseEntered {
        phase: String,
    },
    NightMoved {
        from: NightState,
        to: NightState,
        cause: String,
    },
    SafetyChanged {
        safe: bool,
        latched: bool,
        reasons: Vec<String>,
    },
    /// One minute of weather, for the strip charts: quantity (with unit suffix) to value or reason.
    Weather {
        readings: BTreeMap<String, Result<f64, NoData>>,
    },
    EnclosureMoved {
        from: EnclosureState,
        to: EnclosureState,
    },
    MountMoved {
        from: MountState,
        to: MountState,
        alt_deg: Option<f64>,
        az_deg: Option<f64>,
    },
    UserGranted {
        user: String,
        institute: String,
        quota_s: f64,
    },
    RequestSubmitted {
        request: Request,
    },
    RequestRefused {
        request: String,
        cause: String,
    },
    SequenceMoved {
        sequence: SequenceId,
        from: SequenceState,
        to: SequenceState,
        cause: String,
    },
    /// Progress inside a sequence: how many exposures of each channel are on disk.
    SequenceProgress {
        sequence: SequenceId,
        done: BTreeMap<String, u32>,
    },
    QuotaPosted {
        posting: Posting,
    },
    ScheduleMade {
        schedule: Schedule,
    },
    /// A packet was received and journaled before anything else was done with it.
    PacketReceived {
        packet: String,
        channel: String,
        size_bytes: u64,
        verdict: String,
        reason: String,
        body: String,
        /// What it is known by when it comes again; none for one that could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
        /// The event it was put into.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
    },
    EventMoved {
        event: String,
        from: Option<EventState>,
        to: EventState,
        name: String,
        ra_deg: Option<f64>,
        dec_deg: Option<f64>,
        r90_deg: Option<f64>,
        cause: String,
    },
    EventDecided {
        event: String,
        followed: bool,
        strategy: Option<String>,
        reason: String,
        request: Option<String>,
        /// When the site can look, where a strategy wanted to know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outlook: Option<Outlook>,
        /// Where the telescope is pointed for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coverage: Option<Box<Coverage>>,
        /// Strategies that do not follow it, and why.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        others: BTreeMap<String, String>,
    },
    /// What was found is in the outbox.
    AlertReported {
        event: String,
        /// Below the data folder.
        path: String,
        /// Draft of a circular, for people; never sent by itself.
        draft: String,
        report: Box<AlertReport>,
    },
    /// A strategy was added or replaced.
    StrategyChanged {
        strategy: String,
        version: u32,
        who: String,
        /// Its file, as it was given.
        text: String,
        /// The file that it replaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced: Option<String>,
    },
    /// Instants of one alert's way through the system.
    AlertTiming {
        event: String,
        stages: BTreeMap<String, UtcTime>,
    },
    ExposureStarted {
        exposure: Exposure,
    },
    ExposureEnded {
        exposure: String,
        outcome: ExposureOutcome,
    },
    ProductMade {
        product: Product,
    },
    /// What the analysis measured on one frame.
    FrameReduced {
        exposure: String,
        sources: u64,
        fwhm_px: Option<f64>,
        background: f64,
        rms: f64,
        degradations: Vec<String>,
    },
    /// Where a frame is on the sky, and what its magnitudes are worth.
    FrameSolved {
        exposure: String,
        /// ICRS centre, degrees.
        ra_deg: f64,
        dec_deg: f64,
        /// Distance of the centre from where the mount was to point, arcseconds.
        offset_arcsec: f64,
        scale_arcsec: f64,
        /// Position angle of the y axis, degrees.
        rotation_deg: f64,
        rms_arcsec: f64,
        matched: u64,
        /// Magnitude of one count a second, and of five sigma.
        zero_point: Option<f64>,
        limiting_mag: Option<f64>,
        /// Median of the stars.
        ellipticity: Option<f64>,
    },
    /// What the frame of an alert shows that was not known; the report is a product.
    CandidatesFound {
        event: String,
        exposure: String,
        report: String,
        candidates: u64,
        /// The first of the list: ICRS degrees and magnitude.
        best_ra_deg: Option<f64>,
        best_dec_deg: Option<f64>,
        best_mag: Option<f64>,
        /// The best of them, the first the best.
        #[serde(default)]
        found: Vec<crate::alert::Candidate>,
    },
    /// Frames showed that something was off, and it was changed: pointing, focus, or a frame that is taken again.
    Corrected {
        what: String,
        by: String,
        cause: String,
    },
    RunMoved {
        run: String,
        pipeline: String,
        from: Option<RunState>,
        to: RunState,
        cause: String,
    },
    UnitMoved {
        unit: String,
        program: String,
        from: Option<UnitState>,
        to: UnitState,
        author: String,
        cause: String,
    },
    OperatorCommand {
        who: String,
        command: String,
        outcome: String,
    },
    /// One input does not forbid until then, because a person says so.
    OverridePlaced {
        input: String,
        who: String,
        reason: String,
        until: Option<UtcTime>,
    },
    /// It forbids again: somebody lifted the override, or its time was over.
    OverrideEnded {
        input: String,
        cause: String,
    },
    Alarm {
        severity: Severity,
        text: String,
    },
    /// Somebody was told of an alarm, or could not be; `alarm` is the number of the entry that raised it.
    AlarmNotified {
        alarm: u64,
        way: String,
        outcome: String,
    },
    /// A person has taken note of an alarm.
    AlarmAcknowledged {
        alarm: u64,
        who: String,
    },
    /// Motion was to end: by which level of abort, how long it took, and what was not measured at rest when its time was
    /// over. Empty means that every device has said so.
    Halted {
        level: String,
        took_s: f64,
        moving: Vec<String>,
    },
    Degraded {
        what: String,
        cause: String,
    },
    InvariantBroken {
        id: String,
        text: String,
    },
    NightReported {
        night: Night,
        path: String,
    },
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 without gaps over the life of a database.
    pub seq: u64,
    pub at: UtcTime,
    #[serde(flatten)]
    pub fact: Fact,
}

/// Where entries go. Called in order, on the one thread that runs the agents.
pub trait Sink {
    fn append(&mut self, entry: &Entry);
}

/// Appends facts; cheap to clone, shared by all agents.
#[derive(Clone)]
pub struct Recorder {
    clock: Rc<dyn Clock>,
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    next_seq: u64,
    sinks: Vec<Box<dyn Sink>>,
    silent: bool,
}

impl Recorder {
    /// `last_seq` is the number of the last entry already in the journal.
    pub fn new(clock: Rc<dyn Clock>, last_seq: u64, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            clock,
            inner: Rc::new(RefCell::new(Inner {
                next_seq: last_seq + 1,
                silent: false,
                sinks,
            })),
        }
    }

    /// Appends one fact with the present instant and returns its number.
    pub fn record(&self, fact: Fact) -> u64 {
        self.record_timed(fact).0
    }

    /// The same, with the instant under which it stands in the journal.
    pub fn record_timed(&self, fact: Fact) -> (u64, UtcTime) {
        let mut inner = self.inner.borrow_mut();
        if inner.silent {
            return (inner.next_seq - 1, self.clock.now());
        }
        let entry = Entry {
            seq: inner.next_seq,
            at: self.clock.now(),
            fact,
        };
        inner.next_seq += 1;
        for sink in &mut inner.sinks {
            sink.append(&entry);
        }
        (entry.seq, entry.at)
    }

    /// The number of the last entry.
    pub fn last_seq(&self) -> u64 {
        self.inner.borrow().next_seq - 1
    }

    /// From now on nothing is recorded: the process that this recorder belonged to is dead (in a simulated kill).
    pub fn silence(&self) {
        self.inner.borrow_mut().silent = true;
    }

    pub fn alarm(&self, severity: Severity, text: impl Into<String>) {
        self.record(Fact::Alarm {
            severity,
            text: text.into(),
        });
    }

    pub fn now(&self) -> UtcTime {
        self.clock.now()
    }

    pub fn clock(&self) -> Rc<dyn Clock> {
        self.clock.clone()
    }
}
