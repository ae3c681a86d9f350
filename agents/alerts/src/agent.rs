//! The shell: takes packets, keeps the events, asks for observations.
//!
//! A packet is recorded before anything else is done with it; whoever delivered it may acknowledge it once that record
//! is committed. Each event has at most one live request and its later visits; updates replace them, retractions end
//! them.

mod ask;

use crate::{
    Channel, EventBook, EventId, MergeRules, Verdict,
    event::{Change, Event, EventState, Trust},
    limits::Limits,
    outlook::Prospect,
    read_within,
    strategy::{
        Decision, DecisionReason, Preempt, Proposal, Revision, Strategy, UnitCapabilities, decide, decide_seen, revise,
    },
};
use actix::prelude::*;
use alidade_majordome::messages::{BookChanged, Retract, Takeover, TargetOfOpportunity};
use alidade_model::{
    alert::{Coverage, Outlook, When},
    book::SharedBook,
    journal::{Fact, Recorder, Severity},
    request::Sequence,
    states::{EventState as Moved, SequenceState},
    time::UtcTime,
};
use alidade_scheduling::Site;
use ask::Naming;
use base64::Engine;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
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
    pub horizon: alidade_scheduling::HorizonMask,
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
    pub changed: Recipient<BookChanged>,
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
    /// When the site can look, where that was asked.
    pub outlook: Option<Outlook>,
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
    /// By which it decides from now on.
    #[serde(skip)]
    pub strategies: Rc<Vec<Strategy>>,
}

/// An event that is being followed.
#[derive(Debug, Clone)]
struct Followed {
    proposal: Proposal,
    /// The event under which the majordome and the book know it.
    label: String,
    sequences: Vec<String>,
    outlook: Outlook,
    coverage: Coverage,
}

/// What becomes of an event.
struct Answer {
    followed: bool,
    reason: String,
    outlook: Option<Outlook>,
    coverage: Option<Coverage>,
}

impl Answer {
    fn no(reason: impl Into<String>) -> Self {
        Self {
            followed: false,
            reason: reason.into(),
            outlook: None,
            coverage: None,
        }
    }

    /// It goes on as it is.
    fn on(followed: &Followed, reason: String) -> Self {
        Self {
            followed: true,
            reason,
            outlook: Some(followed.outlook.clone()),
            coverage: Some(followed.coverage.clone()),
        }
    }
}

/// See the module's text.
pub struct Alerts {
    ports: AlertsPorts,
    settings: AlertsSettings,
    limits: Limits,
    unit: UnitCapabilities,
    events: EventBook,
    followed: BTreeMap<EventId, Followed>,
    /// Accepted packets of each event.
    packets: BTreeMap<EventId, Vec<String>>,
    requests_made: BTreeMap<EventId, u32>,
    /// When the old was last forgotten.
    pruned_at: Option<UtcTime>,
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

/// The bytes of a stored packet.
#[must_use]
pub fn original_body(stored: &str) -> Vec<u8> {
    stored
        .strip_prefix("base64:")
        .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok())
        .unwrap_or_else(|| stored.as_bytes().to_vec())
}

/// What the telescope can do, as far as a decision needs it.
#[must_use]
pub fn capabilities(settings: &AlertsSettings) -> UnitCapabilities {
    let filters: BTreeSet<String> = settings.channels.values().flatten().cloned().collect();
    let lat = settings.site.lat_deg;
    UnitCapabilities {
        fov_deg: settings.fov_deg,
        filters,
        dec_range_deg: (
            (lat - 90.0 + settings.horizon_deg).max(-90.0),
            (lat + 90.0 - settings.horizon_deg).min(90.0),
        ),
    }
}

impl Alerts {
    /// The events are rebuilt from the packets of earlier runs, without acting.
    pub fn new(ports: AlertsPorts, settings: AlertsSettings, before: Before) -> Self {
        let strategies = Rc::new(settings.strategies.clone());
        let unit = capabilities(&settings);
        let mut alerts = Self {
            ports,
            settings,
            limits: Limits::default(),
            unit,
            events: EventBook::new(MergeRules::default(), Trust::default()),
            followed: BTreeMap::new(),
            packets: BTreeMap::new(),
            requests_made: BTreeMap::new(),
            pruned_at: None,
        };
        for (identity, at) in &before.identities {
            alerts.events.recall(identity, at.chrono());
        }
        alerts.events.continue_after(EventId(before.last_event));
        alerts.tell(|status| status.strategies.clone_from(&strategies));
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
        if outcome.event.is_none() {
            return;
        }
        self.count_packet(&outcome, &packet_name(&reading.bytes_sha256));
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
                let sky = Prospect::new(&self.settings.site, &self.settings.horizon, packet.received_at);
                let (outlook, coverage) = ask::prospect(&self.settings, &proposal, &sky);
                let followed = Followed {
                    proposal,
                    label: name,
                    sequences,
                    outlook,
                    coverage,
                };
                self.followed.insert(id, followed);
            }
            self.summarise(&event, &decision, None, packet.received_at, &BTreeMap::new());
        }
    }

    /// Changes what others see. Nothing is copied unless somebody is just looking.
    fn tell(&self, change: impl FnOnce(&mut AlertsStatus)) {
        self.ports.status.send_modify(|status| change(Rc::make_mut(status)));
    }

    /// Counts an accepted packet among those of its event, with those of the events that turned out to be the same.
    fn count_packet(&mut self, outcome: &crate::Outcome, packet: &str) {
        let Some(event) = outcome.event else { return };
        if let Change::Merged { absorbed } = &outcome.change {
            let theirs: Vec<String> = absorbed
                .iter()
                .filter_map(|id| self.packets.remove(id))
                .flatten()
                .collect();
            self.packets.entry(event).or_default().extend(theirs);
        }
        if outcome.verdict == Verdict::Act {
            self.packets.entry(event).or_default().push(packet.to_owned());
        }
    }

    /// The request that follows an event.
    fn request_of(&self, id: EventId) -> Option<String> {
        let first = self.followed.get(&id)?.sequences.first()?;
        Some(self.ports.book.borrow().line(first)?.sequence.request.clone())
    }

    fn receive(&mut self, packet: Packet) -> PacketVerdict {
        let received_at = self.ports.recorder.now();
        self.tell(|status| status.packets += 1);
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
            identity: reading.notice.as_deref().map(crate::event::identity),
            event: outcome.event.map(event_name),
        });
        if matches!(outcome.verdict, Verdict::Reject | Verdict::Conflict) {
            self.tell(|status| status.refused += 1);
        }
        if outcome.verdict == Verdict::Conflict {
            let text = format!("packet {id} has the identity of an earlier one and another content; the first stays");
            self.ports.recorder.alarm(Severity::Warning, text);
        }
        self.count_packet(&outcome, &id);
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
        self.packets.retain(|id, _| live.contains(&self.events.resolve(*id)));
        self.followed.retain(|id, _| live.contains(&self.events.resolve(*id)));
        self.requests_made
            .retain(|id, _| live.contains(&self.events.resolve(*id)));
        let names: BTreeSet<String> = live.into_iter().map(event_name).collect();
        self.tell(|status| {
            let young = |event: &EventSummary| now.chrono() - event.received_at.chrono() <= keep;
            status.events.retain(|name, event| names.contains(name) || young(event));
        });
    }

    /// Decides (again) about an event that a packet has touched.
    fn consider(&mut self, id: EventId, received_at: UtcTime, mut stages: BTreeMap<String, UtcTime>) {
        let Some(event) = self.events.event(id) else { return };
        let now = self.ports.recorder.now();
        stages.insert("merged".into(), now);
        self.take_over(id);
        let decision = self.decision(&event, now);
        let before = self.ports.status.borrow().events.get(&event_name(id)).map(|e| e.state);
        self.record_event(&event, before);
        let outcome = match self.followed.get(&id).cloned() {
            Some(followed) => self.update(id, &followed, &decision, now),
            None => match &decision.followed {
                Some(proposal) => self.follow(id, proposal.clone(), now),
                None => unwanted(&decision),
            },
        };
        stages.insert("decided".into(), self.ports.recorder.now());
        let name = event_name(id);
        self.ports.recorder.record(Fact::EventDecided {
            event: name.clone(),
            followed: outcome.followed,
            strategy: decision.followed.as_ref().map(|p| p.strategy.clone()),
            reason: outcome.reason.clone(),
            request: self.request_of(id),
            outlook: outcome.outlook.clone(),
            coverage: outcome.coverage.clone().map(Box::new),
            others: decision
                .losers
                .iter()
                .map(|loser| (loser.strategy.clone(), loser.reason.to_string()))
                .collect(),
        });
        self.ports.recorder.record(Fact::AlertTiming {
            event: name.clone(),
            stages: stages.clone(),
        });
        self.summarise(&event, &decision, Some(outcome), received_at, &stages);
        self.tell(|status| status.latest = Some(name));
    }

    /// What the strategies make of an event; tiles that the site never sees in time do not count.
    fn decision(&self, event: &Event, now: UtcTime) -> Decision {
        let sky = Prospect::new(&self.settings.site, &self.settings.horizon, now);
        let seen = |wanted: &crate::strategy::Constraints, ra_deg: f64, dec_deg: f64, end| {
            let limits = ask::limits(&ask::constraints(&self.settings, wanted));
            sky.ever(ra_deg, dec_deg, &limits, UtcTime::new(end))
        };
        decide_seen(event, &self.settings.strategies, &self.unit, now.chrono(), &seen)
    }

    /// Events that turned out to be one have one observation: the older one's, or the younger one's if only that was
    /// followed.
    fn take_over(&mut self, id: EventId) {
        let absorbed: Vec<EventId> = self
            .followed
            .keys()
            .copied()
            .filter(|known| *known != id && self.events.resolve(*known) == id)
            .collect();
        for other in absorbed {
            let Some(followed) = self.followed.remove(&other) else {
                continue;
            };
            let made = self.requests_made.remove(&other).unwrap_or_default();
            let count = self.requests_made.entry(id).or_default();
            *count = (*count).max(made);
            match self.followed.entry(id) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(followed)),
                std::collections::btree_map::Entry::Occupied(_) => {
                    self.withdraw(&followed, &format!("the same as {}", event_name(id)));
                }
            }
        }
    }

    /// Ends everything that is asked for: what runs, and what waits.
    fn withdraw(&self, followed: &Followed, cause: &str) {
        self.ports.retract.do_send(Retract {
            event: followed.label.clone(),
            cause: cause.to_owned(),
        });
        self.cancel(followed, cause);
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

    /// First time: when the site can look, then the requests, and the telescope if the strategy says so.
    fn follow(&mut self, id: EventId, proposal: Proposal, now: UtcTime) -> Answer {
        if proposal.is_test && !self.settings.follow_tests {
            return Answer::no("a test; tests are not followed here");
        }
        let sky = Prospect::new(&self.settings.site, &self.settings.horizon, now);
        let (outlook, coverage) = ask::prospect(&self.settings, &proposal, &sky);
        let answer = |followed, reason| Answer {
            followed,
            reason,
            outlook: Some(outlook.clone()),
            coverage: Some(coverage.clone()),
        };
        let strategy = proposal.strategy.clone();
        if outlook.when == When::Never {
            let reason = format!("wanted by strategy {strategy}, but {}", outlook.sentence);
            return answer(false, reason);
        }
        let number = self.requests_made.entry(id).or_default();
        *number += 1;
        let label = event_name(id);
        let naming = Naming {
            event: &label,
            stem: format!("alert-{}-{number}", id.0),
        };
        let requests = match ask::requests(&self.settings, &proposal, (&outlook, &coverage), &naming, now) {
            Ok(requests) => requests,
            Err(reason) => return answer(false, reason),
        };
        let sequences: Vec<Sequence> = requests.iter().flat_map(|r| r.sequences.clone()).collect();
        for request in requests {
            if let Err(error) = self.ports.book.borrow_mut().submit(request, &self.ports.recorder) {
                return answer(false, error.to_string());
            }
        }
        let preempt = proposal.preempt;
        let followed = Followed {
            proposal,
            label: label.clone(),
            sequences: sequences.iter().map(|s| s.id.clone()).collect(),
            outlook: outlook.clone(),
            coverage: coverage.clone(),
        };
        self.followed.insert(id, followed);
        let first = sequences
            .first()
            .filter(|s| s.window.is_some_and(|(start, _)| start <= now));
        if let (Some(first), true) = (first, outlook.when == When::Now && preempt != Preempt::Queue) {
            self.ports.majordome.do_send(TargetOfOpportunity {
                sequence: first.id.clone(),
                event: label,
                priority: first.priority,
                takeover: match preempt {
                    Preempt::InterruptExposure => Takeover::Now,
                    Preempt::Queue | Preempt::AfterExposure => Takeover::AfterExposure,
                },
            });
        }
        // What does not run at once waits in the schedule, which must know of it.
        self.ports.changed.do_send(BookChanged {
            cause: format!("alert {}", event_name(id)),
        });
        answer(true, format!("followed by strategy {strategy}, {}", outlook.sentence))
    }

    /// More is known about an event that is followed already.
    fn update(&mut self, id: EventId, followed: &Followed, decision: &Decision, now: UtcTime) -> Answer {
        let strategy = &followed.proposal.strategy;
        match revise(&followed.proposal, decision, self.unit.fov_deg) {
            Revision::Keep => Answer::on(followed, format!("followed by strategy {strategy}, as before")),
            Revision::Cancel { reason } => {
                let cause = reason.to_string();
                self.withdraw(followed, &cause);
                self.followed.remove(&id);
                self.ports.changed.do_send(BookChanged {
                    cause: format!("alert {} is withdrawn", followed.label),
                });
                Answer::no(cause)
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
                    let reason = format!("position improved within the field; strategy {strategy} goes on");
                    return Answer::on(followed, reason);
                }
                let cause = if repoint {
                    "a better position, out of the field"
                } else {
                    "more is known, and the first observation is over"
                };
                self.withdraw(followed, cause);
                self.followed.remove(&id);
                self.follow(id, *proposal, now)
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

    fn summarise(
        &mut self,
        event: &Event,
        decision: &Decision,
        answer: Option<Answer>,
        received_at: UtcTime,
        stages: &BTreeMap<String, UtcTime>,
    ) {
        let name = event_name(event.id);
        let best = event.best.as_ref();
        let packets = self.packets.get(&event.id).cloned().unwrap_or_default();
        let known = self
            .ports
            .status
            .borrow()
            .events
            .get(&name)
            .map(|k| (k.stages.clone(), k.received_at));
        let (mut all_stages, received_at) = known.unwrap_or_else(|| (BTreeMap::new(), received_at));
        for (stage, at) in stages {
            all_stages.entry(stage.clone()).or_insert(*at);
        }
        let summary = EventSummary {
            event: name.clone(),
            name: event.names.first().cloned().unwrap_or_else(|| name.clone()),
            state: moved(event.state),
            ra_deg: best.map(|b| b.position.ra_deg),
            dec_deg: best.map(|b| b.position.dec_deg),
            r90_deg: best.and_then(|b| b.position.r90_deg()),
            followed: answer
                .as_ref()
                .map_or(self.followed.contains_key(&event.id), |a| a.followed),
            strategy: decision.followed.as_ref().map(|p| p.strategy.clone()),
            decision: answer
                .as_ref()
                .map_or_else(|| decision.reason.to_string(), |a| a.reason.clone()),
            outlook: answer.and_then(|a| a.outlook),
            received_at,
            stages: all_stages,
            packets,
        };
        self.tell(|status| drop(status.events.insert(name, summary)));
    }
}

/// Nobody follows it; out of the telescope's reach is an answer of the site.
fn unwanted(decision: &Decision) -> Answer {
    let out_of_reach = decision.losers.iter().any(|l| l.reason == DecisionReason::OutOfReach);
    let reason = match decision.reason {
        DecisionReason::NoneMatches if out_of_reach => "out of the telescope's reach".to_owned(),
        DecisionReason::NoneMatches => "no strategy wants it".to_owned(),
        ref other => other.to_string(),
    };
    Answer {
        outlook: out_of_reach.then(|| Outlook {
            when: When::Never,
            reason: DecisionReason::OutOfReach.code(),
            sentence: "never: the telescope does not reach its declination".into(),
            from: None,
            until: None,
        }),
        ..Answer::no(reason)
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
}

impl Handler<Packet> for Alerts {
    type Result = PacketVerdict;

    fn handle(&mut self, packet: Packet, _: &mut Self::Context) -> Self::Result {
        self.receive(packet)
    }
}

impl Handler<ChangeStrategies> for Alerts {
    type Result = ();

    fn handle(&mut self, change: ChangeStrategies, _: &mut Self::Context) {
        if change.strategies == self.settings.strategies {
            return;
        }
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
        let strategies = Rc::new(change.strategies.clone());
        self.tell(|status| status.strategies = strategies);
        self.settings.strategies = change.strategies;
    }
}
