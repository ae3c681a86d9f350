//! Everything that is known of every alert event, gathered from the journal's facts.
//!
//! Terms: a *stage* is an instant of an event's way through the house, the first time it is reached; the *budget* is the
//! time from one stage to the next. The same gathering makes the dashboard's page, the metrics, the answer of `alidade
//! alert show` and the report in the outbox, from a running daemon's facts as from a stored journal's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use alidade_model::alert::{AlertReport, Candidate, Coverage, Outlook, ReportedFrame};
use alidade_model::exposure::{ExposureOutcome, ProductKind};
use alidade_model::journal::{Entry, Fact};
use alidade_model::request::{Origin, Request};
use alidade_model::states::{EventState, SequenceState};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};

use crate::event::separation_deg;

/// The stages in their order, with what ends there. Others may be there too; these make the budget.
pub const STAGES: &[&str] = &[
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
    "error_box",
    "first_reduced",
];

/// Upper ends of the histogram's classes, seconds; the last class has none.
pub const BOUNDS_S: &[f64] = &[
    0.000_1, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
    3600.0, 21_600.0, 86_400.0,
];

/// How long a stage takes: seconds since the packet arrived, for `event` and `notice_sent` seconds until it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Events in each class of [`BOUNDS_S`], and in the one above; not added up.
    pub counts: Vec<u64>,
    pub count: u64,
    pub sum_s: f64,
    pub max_s: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        self.counts.resize(BOUNDS_S.len() + 1, 0);
        let class = BOUNDS_S.iter().position(|b| seconds <= *b).unwrap_or(BOUNDS_S.len());
        self.counts[class] += 1;
        self.count += 1;
        self.sum_s += seconds;
        self.max_s = self.max_s.max(seconds);
    }

    /// Upper end of the class that holds the quantile `q`, seconds; the largest value for the class without an end.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= q * self.count as f64 {
                return Some(BOUNDS_S.get(class).copied().unwrap_or(self.max_s).min(self.max_s));
            }
        }
        None
    }
}

/// One part of the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub from: String,
    pub to: String,
    pub seconds: f64,
}

/// The time between each stage and the next one reached. An aborted exposure runs beside the slew and is left out.
#[must_use]
pub fn budget(stages: &BTreeMap<String, UtcTime>) -> Vec<Share> {
    let reached: Vec<(&str, UtcTime)> = STAGES
        .iter()
        .filter(|stage| **stage != "exposure_aborted")
        .filter_map(|stage| Some((*stage, *stages.get(*stage)?)))
        .collect();
    reached
        .windows(2)
        .map(|pair| Share {
            from: pair[0].0.to_owned(),
            to: pair[1].0.to_owned(),
            seconds: pair[1].1.seconds_since(pair[0].1),
        })
        .collect()
}

/// One line of an event's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub at: UtcTime,
    pub text: String,
}

/// Where the report of an event is, below the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub path: String,
    pub draft: String,
    pub revision: u32,
    pub status: String,
    pub at: UtcTime,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    pub event: String,
    /// What the world calls it.
    pub name: String,
    pub state: EventState,
    /// Best position, ICRS, degrees.
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    pub r90_deg: Option<f64>,
    /// When its first packet was recorded.
    pub first_at: UtcTime,
    pub followed: bool,
    pub strategy: Option<String>,
    /// What was decided and why.
    pub decision: String,
    pub decided_at: Option<UtcTime>,
    pub request: Option<String>,
    pub outlook: Option<Outlook>,
    pub coverage: Option<Coverage>,
    /// Strategies that do not follow it, and why.
    pub others: BTreeMap<String, String>,
    pub stages: BTreeMap<String, UtcTime>,
    /// Packets that were accepted for it.
    pub packets: Vec<String>,
    pub history: Vec<Moment>,
    pub sequences: BTreeMap<String, SequenceState>,
    /// Its first frames.
    pub frames: Vec<ReportedFrame>,
    /// Frames in which a counterpart was looked for.
    pub searched: u32,
    /// What was found in them, in order of discovery, each as it was measured last.
    pub candidates: Vec<Candidate>,
    pub published: Option<Published>,
}

impl AlertRecord {
    fn new(event: &str, at: UtcTime) -> Self {
        Self {
            event: event.to_owned(),
            name: event.to_owned(),
            state: EventState::New,
            ra_deg: None,
            dec_deg: None,
            r90_deg: None,
            first_at: at,
            followed: false,
            strategy: None,
            decision: String::new(),
            decided_at: None,
            request: None,
            outlook: None,
            coverage: None,
            others: BTreeMap::new(),
            stages: BTreeMap::new(),
            packets: Vec::new(),
            history: Vec::new(),
            sequences: BTreeMap::new(),
            frames: Vec::new(),
            searched: 0,
            candidates: Vec::new(),
            published: None,
        }
    }

    /// Repeated notices say the same again and again.
    fn note(&mut self, at: UtcTime, text: String) {
        if self.history.last().is_none_or(|last| last.text != text) && self.history.len() < HISTORY {
            self.history.push(Moment { at, text });
        }
    }
}

/// A strategy that was changed while the house ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyChange {
    pub strategy: String,
    pub version: u32,
    pub at: UtcTime,
    pub who: String,
    /// The file as it was given, and the one that it replaced.
    pub text: String,
    pub replaced: Option<String>,
}

/// Frames that are kept of an event.
const FRAMES: usize = 12;
/// Candidates that are kept of an event.
const CANDIDATES: usize = 20;
/// Two measurements closer than this are of one source, arcseconds: the seeing of a bad night.
const SAME_ARCSEC: f64 = 2.0;
/// Lines of history that are kept of an event.
const HISTORY: usize = 100;
/// Events that are kept; the oldest go first.
const EVENTS: usize = 20_000;
/// Changes of strategies that are kept.
const CHANGES: usize = 200;

/// Facts of which a record can be made again from a stored journal. Frames come back with the reports.
pub const KINDS: &[&str] = &[
    "event_moved",
    "event_decided",
    "alert_timing",
    "alert_reported",
    "candidates_found",
    "strategy_changed",
];

/// All events, gathered fact by fact.
#[derive(Clone, Debug, Default)]
pub struct AlertRecords {
    records: BTreeMap<String, Arc<AlertRecord>>,
    order: VecDeque<String>,
    histograms: BTreeMap<String, Histogram>,
    changes: VecDeque<StrategyChange>,
    /// Counts changes.
    generation: u64,
    /// The accepted packet whose events are being considered.
    packet: Option<String>,
    of_sequence: BTreeMap<String, String>,
    exposures: BTreeMap<String, (String, ReportedFrame)>,
    due: BTreeSet<String>,
}

impl AlertRecords {
    /// The record of one event.
    #[must_use]
    pub fn get(&self, event: &str) -> Option<&Arc<AlertRecord>> {
        self.records.get(event)
    }

    /// Every event; a copy costs little.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Arc<AlertRecord>> {
        self.records.clone()
    }

    /// How long each stage took.
    #[must_use]
    pub fn histograms(&self) -> &BTreeMap<String, Histogram> {
        &self.histograms
    }

    /// Changes of strategies, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &StrategyChange> {
        self.changes.iter()
    }

    /// Counts up with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether anything is to be told.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Events of which something is to be told, once each.
    pub fn take_due(&mut self) -> Vec<String> {
        std::mem::take(&mut self.due).into_iter().collect()
    }

    /// After a restart: nothing was measured by this process, and what was not told before the end is due. The requests
    /// tell which sequences belong to which event.
    pub fn resume<'r>(&mut self, requests: impl Iterator<Item = &'r Request>) {
        requests.for_each(|request| self.know(request));
        self.histograms.clear();
        let untold = |r: &&Arc<AlertRecord>| r.published.is_none() && r.stages.contains_key("first_light");
        self.due = self.records.values().filter(untold).map(|r| r.event.clone()).collect();
    }

    fn touch(&mut self, event: &str, at: UtcTime) -> &mut AlertRecord {
        self.generation += 1;
        if !self.records.contains_key(event) {
            self.order.push_back(event.to_owned());
            if self.order.len() > EVENTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.records.remove(&oldest);
            }
        }
        let record = self
            .records
            .entry(event.to_owned())
            .or_insert_with(|| Arc::new(AlertRecord::new(event, at)));
        Arc::make_mut(record)
    }

    /// Takes note of one entry of the journal.
    pub fn append(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::PacketReceived { packet, verdict, .. } => {
                self.packet = (verdict == "act").then(|| packet.clone());
            }
            Fact::EventMoved { .. } => self.moved(entry),
            Fact::EventDecided { .. } => self.decided(entry),
            Fact::AlertTiming { event, stages } => self.timed(event, stages, entry.at),
            Fact::AlertReported {
                event,
                path,
                draft,
                report,
            } => self.reported(event, path, draft, report, entry.at),
            Fact::CandidatesFound { event, found, .. } => self.found(event, found, entry.at),
            Fact::StrategyChanged { .. } => self.changed(entry),
            Fact::RequestSubmitted { request } => self.know(request),
            Fact::SequenceMoved { sequence, to, .. } => {
                if let Some(event) = self.of_sequence.get(sequence).cloned() {
                    self.touch(&event, entry.at).sequences.insert(sequence.clone(), *to);
                }
            }
            Fact::ExposureStarted { .. }
            | Fact::ExposureEnded { .. }
            | Fact::ProductMade { .. }
            | Fact::FrameReduced { .. } => self.exposed(entry),
            _ => {}
        }
    }

    fn know(&mut self, request: &Request) {
        if let Origin::Alert { event, .. } = &request.origin {
            for sequence in &request.sequences {
                self.of_sequence.insert(sequence.id.clone(), event.clone());
            }
        }
    }

    fn moved(&mut self, entry: &Entry) {
        let Fact::EventMoved {
            event,
            to,
            name,
            ra_deg,
            dec_deg,
            r90_deg,
            cause,
            ..
        } = &entry.fact
        else {
            return;
        };
        let packet = self.packet.clone();
        let record = self.touch(event, entry.at);
        if !name.is_empty() {
            record.name.clone_from(name);
        }
        record.state = *to;
        (record.ra_deg, record.dec_deg, record.r90_deg) = (*ra_deg, *dec_deg, *r90_deg);
        let place = match (ra_deg, dec_deg, r90_deg) {
            (Some(ra), Some(dec), Some(r90)) => format!(", RA {ra:.4} Dec {dec:.4} within {r90:.4} deg"),
            (Some(ra), Some(dec), None) => format!(", RA {ra:.4} Dec {dec:.4}, error unknown"),
            _ => String::new(),
        };
        record.note(entry.at, format!("{to} ({cause}){place}"));
        if let Some(packet) = packet.filter(|p| !record.packets.contains(p)) {
            record.packets.push(packet);
        }
        if *to == EventState::Retracted && record.published.as_ref().is_some_and(|p| p.status != "retracted") {
            self.due.insert(event.clone());
        }
    }

    fn decided(&mut self, entry: &Entry) {
        let Fact::EventDecided {
            event,
            followed,
            strategy,
            reason,
            request,
            outlook,
            coverage,
            others,
        } = &entry.fact
        else {
            return;
        };
        let packet = self.packet.clone();
        let record = self.touch(event, entry.at);
        record.followed = *followed;
        record.strategy.clone_from(strategy);
        record.decision.clone_from(reason);
        record.decided_at = Some(entry.at);
        record.request.clone_from(request);
        record.outlook.clone_from(outlook);
        // What was looked at stays to be seen when it was withdrawn.
        if let Some(coverage) = coverage {
            record.coverage = Some((**coverage).clone());
        }
        record.others.clone_from(others);
        record.note(entry.at, reason.clone());
        if let Some(packet) = packet.filter(|p| !record.packets.contains(p)) {
            record.packets.push(packet);
        }
    }

    fn timed(&mut self, event: &str, stages: &BTreeMap<String, UtcTime>, at: UtcTime) {
        let record = self.touch(event, at);
        let mut fresh = Vec::new();
        for (stage, at) in stages {
            if !record.stages.contains_key(stage) {
                record.stages.insert(stage.clone(), *at);
                fresh.push((stage.clone(), *at));
            }
        }
        let Some(received) = record.stages.get("received").copied() else {
            return;
        };
        for (stage, at) in fresh {
            let seconds = match stage.as_str() {
                "received" => continue,
                "event" | "notice_sent" => received.seconds_since(at),
                _ => at.seconds_since(received),
            };
            self.histograms.entry(stage).or_default().add(seconds.max(0.0));
        }
    }

    fn reported(&mut self, event: &str, path: &str, draft: &str, report: &AlertReport, at: UtcTime) {
        let record = self.touch(event, at);
        record.published = Some(Published {
            path: path.to_owned(),
            draft: draft.to_owned(),
            revision: report.revision,
            status: report.status.clone(),
            at,
        });
        // Of a stored journal this is all that is read of frames.
        if record.frames.is_empty() {
            record.frames.clone_from(&report.frames);
        }
        record.note(at, format!("report {} ({}) written", report.revision, report.status));
    }

    /// A frame was searched. A report follows the first search, and every source that is new.
    fn found(&mut self, event: &str, found: &[Candidate], at: UtcTime) {
        let record = self.touch(event, at);
        record.searched += 1;
        let mut news = record.searched == 1;
        for candidate in found {
            let apart = |known: &Candidate| {
                let (ra, dec) = (candidate.ra_deg, candidate.dec_deg);
                separation_deg(known.ra_deg, known.dec_deg, ra, dec) * 3600.0
            };
            if let Some(known) = record.candidates.iter_mut().find(|known| apart(known) < SAME_ARCSEC) {
                known.clone_from(candidate);
            } else if record.candidates.len() < CANDIDATES {
                record.candidates.push(candidate.clone());
                news = true;
            }
        }
        if news {
            self.due.insert(event.to_owned());
        }
    }

    fn changed(&mut self, entry: &Entry) {
        let Fact::StrategyChanged {
            strategy,
            version,
            who,
            text,
            replaced,
        } = &entry.fact
        else {
            return;
        };
        self.generation += 1;
        self.changes.push_back(StrategyChange {
            strategy: strategy.clone(),
            version: *version,
            at: entry.at,
            who: who.clone(),
            text: text.clone(),
            replaced: replaced.clone(),
        });
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }

    /// Exposures of an event become its frames when they are on disk.
    fn exposed(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::ExposureStarted { exposure } => {
                let Some(event) = exposure.sequence.as_ref().and_then(|s| self.of_sequence.get(s)) else {
                    return;
                };
                let t0 = self.records.get(event).and_then(|r| r.stages.get("event").copied());
                let frame = ReportedFrame {
                    exposure: exposure.id.clone(),
                    channel: exposure.channel.clone(),
                    filter: exposure.filter.clone(),
                    exposure_s: exposure.exposure_s,
                    started_at: exposure.started_at,
                    since_trigger_s: t0.map(|t0| exposure.started_at.seconds_since(t0)),
                    fwhm_px: None,
                    sources: None,
                    background: None,
                    path: None,
                    degradations: Vec::new(),
                };
                self.exposures.insert(exposure.id.clone(), (event.clone(), frame));
            }
            Fact::ExposureEnded { exposure, outcome } => {
                let Some((event, frame)) = self.exposures.get(exposure).cloned() else {
                    return;
                };
                let written = matches!(outcome, ExposureOutcome::Written { .. });
                let record = self.touch(&event, entry.at);
                if written && record.frames.len() < FRAMES {
                    let first = record.frames.is_empty() && record.published.is_none();
                    record.frames.push(frame);
                    if first {
                        self.due.insert(event);
                    }
                } else {
                    self.exposures.remove(exposure);
                }
            }
            Fact::ProductMade { product } if product.kind == ProductKind::Calibrated => {
                if let Some(exposure) = &product.exposure {
                    self.frame(exposure, entry.at, |frame| frame.path = Some(product.path.clone()));
                }
            }
            Fact::FrameReduced {
                exposure,
                sources,
                fwhm_px,
                background,
                degradations,
                ..
            } => {
                let event = self.frame(exposure, entry.at, |frame| {
                    frame.sources = Some(*sources);
                    frame.fwhm_px = *fwhm_px;
                    frame.background = Some(*background);
                    frame.degradations.clone_from(degradations);
                });
                let first = event.filter(|event| {
                    self.records
                        .get(event)
                        .and_then(|r| r.published.as_ref())
                        .is_none_or(|p| p.status == "first_light")
                });
                self.due.extend(first);
            }
            _ => {}
        }
    }

    fn frame(&mut self, exposure: &str, at: UtcTime, change: impl FnOnce(&mut ReportedFrame)) -> Option<String> {
        let event = self.exposures.get(exposure)?.0.clone();
        let record = self.touch(&event, at);
        let frame = record.frames.iter_mut().find(|f| f.exposure == exposure)?;
        change(frame);
        Some(event)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
