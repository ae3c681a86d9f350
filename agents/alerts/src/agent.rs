//! The shell: takes packets, keeps the events, asks for observations.
//!
//! A packet is recorded before anything else is done with it; whoever delivered it may acknowledge it once that record
//! is committed. Each event has at most one live request; updates replace it, retractions end it.

use crate::{
    Channel, EventBook, EventId, MergeRules, Verdict,
    event::{Event, EventState, Trust},
    limits::Limits,
    read_within,
    strategy::{Decision, Preempt, Proposal, Revision, Strategy, UnitCapabilities, decide, revise},
};
use actix::prelude::*;
use alidade_majordome::messages::{Retract, TargetOfOpportunity};
use alidade_model::{
    book::SharedBook,
    journal::{Fact, Recorder, Severity},
    request::{Album, Constraints, Origin, Plan, Request, Sequence, Target, Timing},
    states::{EventState as Moved, SequenceState},
    time::UtcTime,
};
use alidade_scheduling::{Icrs, ObservabilityRequest, Site, is_observable};
use base64::Engine;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};
use tokio::sync::watch;

/// Bytes from any listener.
#[derive(Debug, Clone, Message)]
#[rtype(result = "PacketVerdict")]
pub struct Packet {
    /// Where it came from, for the journal: `folder`, `vtp`, `http`.
    pub channel: String,
    pub body: Vec<u8>,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Serialize, MessageResponse)]
pub struct PacketVerdict {
    pub packet: String,
    pub verdict: String,
    pub reason: String,
    /// Journal number of its record: acknowledge once that is committed.
    pub seq: u64,
}

/// Other strategies from now on: events that are followed keep what they were promised until they are touched again.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ChangeStrategies {
    /// All of them, sound: what is read by [`crate::strategy::load_folder`] is.
    pub strategies: Vec<Strategy>,
    /// Who changed them, for the journal.
    pub who: String,
}

/// A packet of an earlier run, from the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPacket {
    pub body: String,
    pub received_at: UtcTime,
    /// Number of the event it was put into.
    pub event: Option<u64>,
}

/// What earlier runs received.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Before {
    /// Packets of the events that are remembered, in their order.
    pub packets: Vec<StoredPacket>,
    /// What older packets are known by, and when they came.
    pub identities: Vec<(String, UtcTime)>,
    /// The highest number an event has had; 0 before the first.
    pub last_event: u64,
}

#[derive(Debug, Clone)]
pub struct AlertsSettings {
    pub site: Site,
    pub strategies: Vec<Strategy>,
    /// Field of one pointing, degrees.
    pub fov_deg: f64,
    /// Channels with the filters they have.
    pub channels: BTreeMap<String, Vec<String>>,
    pub horizon_deg: f64,
    pub sun_max_alt_deg: f64,
    pub max_packet_bytes: u64,
    pub follow_tests: bool,
    /// An event is forgotten when nothing was heard of it for so long, days.
    pub remember_events_days: u32,
    /// A packet that comes again within so many days is known as a copy; later it is judged by its age.
    pub remember_packets_days: u32,
}

pub struct AlertsPorts {
    pub recorder: Recorder,
    pub book: SharedBook,
    pub majordome: Recipient<TargetOfOpportunity>,
    pub retract: Recipient<Retract>,
    pub status: watch::Sender<Rc<AlertsStatus>>,
}

/// One event as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventSummary {
    pub event: String,
    pub name: String,
    pub state: Moved,
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    pub r90_deg: Option<f64>,
    pub followed: bool,
    pub strategy: Option<String>,
    pub decision: String,
    pub received_at: UtcTime,
    pub stages: BTreeMap<String, UtcTime>,
    /// Accepted packets that belong to it.
    pub packets: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AlertsStatus {
    pub events: BTreeMap<String, EventSummary>,
    /// The event that was touched last.
    pub latest: Option<String>,
    pub packets: u64,
    pub refused: u64,
}

/// An event that is being followed.
#[derive(Debug, Clone)]
struct Followed {
    proposal: Proposal,
    sequences: Vec<String>,
}

/// See the module's text.
pub struct Alerts {
    ports: AlertsPorts,
    settings: AlertsSettings,
    limits: Limits,
    unit: UnitCapabilities,
    events: EventBook,
    status: AlertsStatus,
    followed: BTreeMap<EventId, Followed>,
    /// Accepted packets and the event that each was put into.
    homes: BTreeMap<String, EventId>,
    requests_made: BTreeMap<EventId, u32>,
    /// When the old was last forgotten.
    pruned_at: Option<UtcTime>,
    published_at: Option<UtcTime>,
    /// What has changed since is published in a moment.
    publishes_later: bool,
}

fn event_name(id: EventId) -> String {
    format!("event-{}", id.0)
}

fn packet_name(sha256: &str) -> String {
    sha256.get(..16).unwrap_or(sha256).to_owned()
}

/// Text as it is, anything else in base64, so that the journal stays text and nothing is lost.
fn stored_body(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if !text.starts_with("base64:") => text.to_owned(),
        _ => format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(body)),
    }
}

fn original_body(stored: &str) -> Vec<u8> {
    stored
        .strip_prefix("base64:")
        .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok())
        .unwrap_or_else(|| stored.as_bytes().to_vec())
}

impl Alerts {
    /// The events are rebuilt from the packets of earlier runs, without acting.
    pub fn new(ports: AlertsPorts, settings: AlertsSettings, before: Before) -> Self {
        let filters: BTreeSet<String> = settings.channels.values().flatten().cloned().collect();
        let lat = settings.site.lat_deg;
        let unit = UnitCapabilities {
            fov_deg: settings.fov_deg,
            filters,
            dec_range_deg: (
                (lat - 90.0 + settings.horizon_deg).max(-90.0),
                (lat + 90.0 - settings.horizon_deg).min(90.0),
            ),
        };
        let mut alerts = Self {
            ports,
            settings,
            limits: Limits::default(),
            unit,
            events: EventBook::new(MergeRules::default(), Trust::default()),
            status: AlertsStatus::default(),
            followed: BTreeMap::new(),
            homes: BTreeMap::new(),
            requests_made: BTreeMap::new(),
            pruned_at: None,
            published_at: None,
            publishes_later: false,
        };
        for (identity, at) in &before.identities {
            alerts.events.recall(identity, at.chrono());
        }
        alerts.events.continue_after(EventId(before.last_event));
        for packet in before.packets {
            alerts.remember(&packet);
        }
        alerts
    }

    /// Rebuilds an event from a packet that was acted upon in an earlier run.
    fn remember(&mut self, packet: &StoredPacket) {
        let reading = read_within(
            &original_body(&packet.body),
            Channel::Any,
            packet.received_at.chrono(),
            &self.limits,
        );
        let outcome = self.events.replay(&reading, packet.event.map(EventId));
        let Some(event) = outcome.event else { return };
        if outcome.verdict == Verdict::Act {
            self.homes.insert(packet_name(&reading.bytes_sha256), event);
        }
        for touched in outcome.touched {
            let id = self.events.resolve(touched);
            let Some(event) = self.events.event(id) else { continue };
            let decision = decide(
                &event,
                &self.settings.strategies,
                &self.unit,
                packet.received_at.chrono(),
            );
            let name = event_name(id);
            let sequences: Vec<String> = self
                .ports
                .book
                .borrow()
                .lines()
                .filter(|line| line.from_alert.as_deref() == Some(name.as_str()))
                .map(|line| line.sequence.id.clone())
                .collect();
            if let Some(proposal) = decision.followed.clone().filter(|_| !sequences.is_empty()) {
                self.requests_made.insert(id, sequences.len() as u32);
                self.followed.insert(id, Followed { proposal, sequences });
            }
            self.summarise(&event, &decision, packet.received_at, &BTreeMap::new());
        }
    }

    /// The request that follows an event.
    fn request_of(&self, id: EventId) -> Option<String> {
        let first = self.followed.get(&id)?.sequences.first()?;
        Some(self.ports.book.borrow().line(first)?.sequence.request.clone())
    }

    fn receive(&mut self, packet: Packet) -> PacketVerdict {
        let received_at = self.ports.recorder.now();
        self.status.packets += 1;
        let channel = Channel::Any;
        let reading = if packet.body.len() as u64 > self.settings.max_packet_bytes.max(8 << 20) {
            read_within(&packet.body[..0], channel, received_at.chrono(), &self.limits)
        } else {
            read_within(&packet.body, channel, received_at.chrono(), &self.limits)
        };
        let parsed_at = self.ports.recorder.now();
        let outcome = self.events.insert(&reading);
        let id = packet_name(&reading.bytes_sha256);
        let verdict = format!("{:?}", outcome.verdict).to_lowercase();
        let seq = self.ports.recorder.record(Fact::PacketReceived {
            packet: id.clone(),
            channel: packet.channel,
            size_bytes: packet.body.len() as u64,
            verdict: verdict.clone(),
            reason: outcome.reason.code().into(),
            body: if outcome.verdict == Verdict::Duplicate {
                String::new()
            } else {
                stored_body(&packet.body)
            },
            identity: reading.notice.as_ref().map(crate::event::identity),
            event: outcome.event.map(event_name),
        });
        if matches!(outcome.verdict, Verdict::Reject | Verdict::Conflict) {
            self.status.refused += 1;
        }
        if outcome.verdict == Verdict::Conflict {
            let text = format!("packet {id} has the identity of an earlier one and another content; the first stays");
            self.ports.recorder.alarm(Severity::Warning, text);
        }
        if let Some(event) = outcome.event
            && outcome.verdict == Verdict::Act
        {
            self.homes.insert(id.clone(), event);
        }
        let mut stages = BTreeMap::from([("received".to_owned(), received_at), ("parsed".to_owned(), parsed_at)]);
        if let Some(notice) = &reading.notice {
            let known = [("event", notice.event_time), ("notice_sent", notice.issued_at)];
            stages.extend(
                known
                    .into_iter()
                    .filter_map(|(stage, at)| Some((stage.to_owned(), UtcTime::new(at?)))),
            );
        }
        for touched in outcome.touched {
            self.consider(self.events.resolve(touched), received_at, stages.clone());
        }
        self.forget_the_old(received_at);
        PacketVerdict {
            packet: id,
            verdict,
            reason: outcome.reason.code().into(),
            seq,
        }
    }

    /// Once a day: what is long over leaves the memory; the journal keeps it.
    fn forget_the_old(&mut self, now: UtcTime) {
        let day = chrono::Duration::days(1);
        if self.pruned_at.is_some_and(|at| now.chrono() - at.chrono() < day) {
            return;
        }
        self.pruned_at = Some(now);
        let keep = chrono::Duration::days(self.settings.remember_events_days.into());
        let keep_packets = chrono::Duration::days(self.settings.remember_packets_days.into());
        self.events.prune(now.chrono(), keep, keep_packets);
        let live: BTreeSet<EventId> = self.events.events().map(|event| event.id).collect();
        self.homes.retain(|_, home| live.contains(&self.events.resolve(*home)));
        self.followed.retain(|id, _| live.contains(&self.events.resolve(*id)));
        self.requests_made
            .retain(|id, _| live.contains(&self.events.resolve(*id)));
        let names: BTreeSet<String> = live.into_iter().map(event_name).collect();
        self.status
            .events
            .retain(|name, event| names.contains(name) || now.chrono() - event.received_at.chrono() <= keep);
    }

    /// Decides (again) about an event that a packet has touched.
    fn consider(&mut self, id: EventId, received_at: UtcTime, mut stages: BTreeMap<String, UtcTime>) {
        let Some(event) = self.events.event(id) else { return };
        let now = self.ports.recorder.now();
        stages.insert("merged".into(), now);
        let strategies = &self.settings.strategies;
        let decision = decide(&event, strategies, &self.unit, now.chrono());
        let before = self.status.events.get(&event_name(id)).map(|known| known.state);
        self.record_event(&event, before);
        let outcome = match self.followed.get(&id).cloned() {
            Some(followed) => self.update(id, &event, &followed, &decision, now),
            None => match &decision.followed {
                Some(proposal) => self.follow(id, &event, proposal.clone(), now),
                None => (false, decision.reason.to_string()),
            },
        };
        stages.insert("decided".into(), self.ports.recorder.now());
        let name = event_name(id);
        self.ports.recorder.record(Fact::EventDecided {
            event: name.clone(),
            followed: outcome.0,
            strategy: decision.followed.as_ref().map(|p| p.strategy.clone()),
            reason: outcome.1.clone(),
            request: self.request_of(id),
        });
        self.ports.recorder.record(Fact::AlertTiming {
            event: name.clone(),
            stages: stages.clone(),
        });
        self.summarise(&event, &decision, received_at, &stages);
        if let Some(summary) = self.status.events.get_mut(&name) {
            summary.followed = outcome.0;
            summary.decision = outcome.1;
        }
        self.status.latest = Some(name);
    }

    fn record_event(&self, event: &Event, before: Option<Moved>) {
        let to = moved(event.state);
        if before == Some(to) && to == Moved::New {
            return;
        }
        let best = event.best.as_ref();
        self.ports.recorder.record(Fact::EventMoved {
            event: event_name(event.id),
            from: before,
            to,
            name: event.names.first().cloned().unwrap_or_default(),
            ra_deg: best.map(|b| b.position.ra_deg),
            dec_deg: best.map(|b| b.position.dec_deg),
            r90_deg: best.and_then(|b| b.position.r90_deg()),
            cause: format!("{} notices", event.notice_keys.len()),
        });
    }

    /// First time: a request, and the telescope if the strategy says so and the sky allows it.
    fn follow(&mut self, id: EventId, event: &Event, proposal: Proposal, now: UtcTime) -> (bool, String) {
        if proposal.is_test && !self.settings.follow_tests {
            return (false, "a test; tests are not followed here".into());
        }
        let request = match self.request(id, &proposal, now) {
            Ok(request) => request,
            Err(reason) => return (false, reason),
        };
        let sequences: Vec<String> = request.sequences.iter().map(|s| s.id.clone()).collect();
        let first = request.sequences.first().cloned();
        if let Err(error) = self.ports.book.borrow_mut().submit(request, &self.ports.recorder) {
            return (false, error.to_string());
        }
        let strategy = proposal.strategy.clone();
        let interrupt = proposal.preempt == Preempt::InterruptExposure;
        self.followed.insert(id, Followed { proposal, sequences });
        let Some(first) = first else {
            return (false, "nothing to expose".into());
        };
        let verdict = self.observable(&first, now);
        match verdict {
            Ok(()) => {
                self.ports.majordome.do_send(TargetOfOpportunity {
                    sequence: first.id,
                    event: event_name(event.id),
                    priority: first.priority,
                    interrupt,
                });
                (true, format!("followed now by strategy {strategy}"))
            }
            Err(why) => (
                true,
                format!("followed by strategy {strategy} as soon as possible; not now: {why}"),
            ),
        }
    }

    fn observable(&self, sequence: &Sequence, now: UtcTime) -> Result<(), String> {
        let request = ObservabilityRequest {
            target: Icrs::new(sequence.target.ra_deg, sequence.target.dec_deg),
            constraints: (&sequence.constraints).into(),
            horizon: alidade_scheduling::HorizonMask::default(),
        };
        // A minute of sky is worth a slew; the rest of the sequence is cut by the limits if it must be.
        is_observable(&self.settings.site, &request, now.chrono(), 60.0)
            .map_err(|exclusion| exclusion.cause.describe().to_owned())
    }

    /// More is known about an event that is followed already.
    fn update(
        &mut self,
        id: EventId,
        event: &Event,
        followed: &Followed,
        decision: &Decision,
        now: UtcTime,
    ) -> (bool, String) {
        match revise(&followed.proposal, decision, self.unit.fov_deg) {
            Revision::Keep => (true, format!("followed by strategy {}", followed.proposal.strategy)),
            Revision::Cancel { reason } => {
                let cause = reason.to_string();
                self.cancel(followed, &cause);
                self.ports.retract.do_send(Retract {
                    event: event_name(id),
                    cause: cause.clone(),
                });
                self.followed.remove(&id);
                (false, cause)
            }
            Revision::Replace { proposal, repoint } => {
                let over = {
                    let book = self.ports.book.borrow();
                    followed
                        .sequences
                        .iter()
                        .all(|s| book.line(s).is_none_or(|l| l.state == SequenceState::Executed))
                };
                if !repoint && !over {
                    if let Some(known) = self.followed.get_mut(&id) {
                        known.proposal = *proposal;
                    }
                    return (
                        true,
                        format!(
                            "position improved within the field; strategy {} goes on",
                            followed.proposal.strategy
                        ),
                    );
                }
                let cause = "a better position".to_owned();
                self.ports.retract.do_send(Retract {
                    event: event_name(id),
                    cause: cause.clone(),
                });
                self.cancel(followed, &cause);
                self.followed.remove(&id);
                self.follow(id, event, *proposal, now)
            }
        }
    }

    /// Ends what is not yet observed for an event. What runs is released by the majordome, which was told before.
    fn cancel(&self, followed: &Followed, cause: &str) {
        let recorder = &self.ports.recorder;
        let mut book = self.ports.book.borrow_mut();
        for id in &followed.sequences {
            let state = book.line(id).map(|line| line.state);
            if matches!(
                state,
                Some(
                    SequenceState::Observable
                        | SequenceState::Planned
                        | SequenceState::Incomplete
                        | SequenceState::Executing
                )
            ) {
                let ended = book
                    .refund(id, cause, recorder)
                    .and_then(|()| book.move_to(id, SequenceState::Cancelled, cause, recorder));
                if let Err(error) = ended {
                    recorder.record(Fact::Degraded {
                        what: format!("sequence {id}"),
                        cause: error.to_string(),
                    });
                }
            }
        }
    }

    /// A proposal as a request: one sequence a step and pointing, an album for every channel that has a wanted filter.
    fn request(&mut self, id: EventId, proposal: &Proposal, now: UtcTime) -> Result<Request, String> {
        let number = self.requests_made.entry(id).or_default();
        *number += 1;
        let request = format!("alert-{}-{}", id.0, number);
        let priority = 1000.0 - 10.0 * f64::from(proposal.priority);
        let constraints = Constraints {
            min_alt_deg: proposal
                .constraints
                .min_altitude_deg
                .unwrap_or(self.settings.horizon_deg)
                .max(self.settings.horizon_deg),
            moon_sep_deg: proposal.constraints.min_moon_distance_deg.unwrap_or(5.0),
            sun_max_alt_deg: proposal
                .constraints
                .max_sun_altitude_deg
                .unwrap_or(self.settings.sun_max_alt_deg),
            max_airmass: proposal.constraints.max_airmass,
            ..Constraints::default()
        };
        let pointings: Vec<(f64, f64)> = if proposal.tiles.is_empty() {
            vec![(proposal.ra_deg, proposal.dec_deg)]
        } else {
            proposal.tiles.iter().map(|tile| (tile.ra_deg, tile.dec_deg)).collect()
        };
        let t0 = UtcTime::new(proposal.t0);
        let mut sequences = Vec::new();
        for step in &proposal.steps {
            let albums = self.albums(&step.filters, step.exposure_s, step.count, step.dither_deg);
            if albums.is_empty() {
                continue;
            }
            for (ra_deg, dec_deg) in &pointings {
                let number = sequences.len() + 1;
                // The step that serves now begins at once; a later one when its time comes.
                let start = t0.plus_seconds(step.from_s).max(now);
                let end = UtcTime::new(proposal.not_after);
                sequences.push(Sequence {
                    id: format!("{request}-{number}"),
                    request: request.clone(),
                    user: "alerts".into(),
                    target: Target {
                        name: proposal.event_name.clone(),
                        ra_deg: *ra_deg,
                        dec_deg: *dec_deg,
                    },
                    priority: priority - number as f64 * 0.01,
                    window: (end > start).then_some((start, end)),
                    t_prefered: Some(start),
                    constraints: constraints.clone(),
                    timing: Timing::default(),
                    albums: albums.clone(),
                });
            }
        }
        if sequences.is_empty() {
            return Err("no channel has a filter that the strategy wants".into());
        }
        let origin = Origin::Alert {
            event: event_name(id),
            strategy: format!("{} v{}", proposal.strategy, proposal.strategy_version),
        };
        let request = Request {
            id: request,
            title: proposal.event_name.clone(),
            user: "alerts".into(),
            origin,
            submitted_at: now,
            sequences,
        };
        request.check().map_err(|fault| fault.to_string())?;
        Ok(request)
    }

    fn albums(&self, filters: &[String], exposure_s: f64, count: u32, dither_deg: Option<f64>) -> Vec<Album> {
        let mut albums = Vec::new();
        for (channel, has) in &self.settings.channels {
            let plans: Vec<Plan> = filters
                .iter()
                .filter(|filter| has.contains(filter))
                .map(|filter| Plan {
                    filter: filter.clone(),
                    exposure_s,
                    count,
                    binning: 1,
                    dither_arcsec: dither_deg.unwrap_or(0.0) * 3600.0,
                })
                .collect();
            if !plans.is_empty() {
                albums.push(Album {
                    channel: channel.clone(),
                    plans,
                });
            }
        }
        albums
    }

    fn summarise(
        &mut self,
        event: &Event,
        decision: &Decision,
        received_at: UtcTime,
        stages: &BTreeMap<String, UtcTime>,
    ) {
        let name = event_name(event.id);
        let best = event.best.as_ref();
        let known = self.status.events.get(&name);
        let mut all_stages = known.map(|k| k.stages.clone()).unwrap_or_default();
        for (stage, at) in stages {
            all_stages.entry(stage.clone()).or_insert(*at);
        }
        let packets = self
            .homes
            .iter()
            .filter(|(_, home)| self.events.resolve(**home) == event.id)
            .map(|(p, _)| p.clone())
            .collect();
        let summary = EventSummary {
            event: name.clone(),
            name: event.names.first().cloned().unwrap_or_else(|| name.clone()),
            state: moved(event.state),
            ra_deg: best.map(|b| b.position.ra_deg),
            dec_deg: best.map(|b| b.position.dec_deg),
            r90_deg: best.and_then(|b| b.position.r90_deg()),
            followed: self.followed.contains_key(&event.id),
            strategy: decision.followed.as_ref().map(|p| p.strategy.clone()),
            decision: decision.reason.to_string(),
            received_at: known.map_or(received_at, |k| k.received_at),
            stages: all_stages,
            packets,
        };
        self.status.events.insert(name, summary);
    }

    /// Publishes now or, in a flood, a moment later: the whole state is copied each time.
    fn publish_soon(&mut self, ctx: &mut Context<Self>) {
        const MOMENT: Duration = Duration::from_millis(50);
        let now = self.ports.recorder.now();
        if self.publishes_later {
            return;
        }
        if self
            .published_at
            .is_none_or(|at| now.seconds_since(at) >= MOMENT.as_secs_f64())
        {
            self.publish();
        } else {
            self.publishes_later = true;
            ctx.run_later(MOMENT, |alerts, _| alerts.publish());
        }
    }

    fn publish(&mut self) {
        (self.published_at, self.publishes_later) = (Some(self.ports.recorder.now()), false);
        self.ports.status.send_replace(Rc::new(self.status.clone()));
    }
}

fn moved(state: EventState) -> Moved {
    match state {
        EventState::New => Moved::New,
        EventState::Updated => Moved::Updated,
        EventState::Merged => Moved::Merged,
        EventState::Retracted => Moved::Retracted,
    }
}

impl Actor for Alerts {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.publish();
    }
}

impl Handler<Packet> for Alerts {
    type Result = PacketVerdict;

    fn handle(&mut self, packet: Packet, ctx: &mut Self::Context) -> Self::Result {
        let verdict = self.receive(packet);
        self.publish_soon(ctx);
        verdict
    }
}

impl Handler<ChangeStrategies> for Alerts {
    type Result = ();

    fn handle(&mut self, change: ChangeStrategies, _: &mut Self::Context) {
        let names: Vec<String> = change
            .strategies
            .iter()
            .map(|s| format!("{} v{}", s.name, s.version))
            .collect();
        self.ports.recorder.record(Fact::OperatorCommand {
            who: change.who,
            command: "change_strategies".into(),
            outcome: names.join(", "),
        });
        self.settings.strategies = change.strategies;
    }
}
