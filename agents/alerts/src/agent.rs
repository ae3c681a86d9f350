//! The shell: takes packets, keeps the events, asks for observations.
//!
//! A packet is recorded before anything else is done with it; whoever delivered it may acknowledge it once that record
//! is committed. Each event has at most one live request and its later visits; updates replace them, retractions end
//! them.

mod ask;
mod follow;
mod remember;
mod status;

pub use remember::{Before, StoredPacket, original_body};
pub use status::{AlertsStatus, EventSummary};

use crate::{
    Channel, EventBook, EventId, MergeRules, Verdict,
    event::{Change, Event, Trust},
    limits::Limits,
    outlook::{Prospect, Skies},
    read_within,
    strategy::{Decision, Strategy, UnitCapabilities, decide_seen},
};
use actix::prelude::*;
use alidade_majordome::messages::{BookChanged, Retract, TargetOfOpportunity};
use alidade_model::{
    book::SharedBook,
    journal::{Fact, Recorder, Severity},
    time::UtcTime,
};
use alidade_scheduling::Site;
use follow::{Followed, unwanted};
use remember::{packet_name, stored_body};
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
    skies: Skies,
    /// When the old was last forgotten.
    pruned_at: Option<UtcTime>,
}

fn event_name(id: EventId) -> String {
    format!("event-{}", id.0)
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
            skies: Skies::default(),
            pruned_at: None,
        };
        for (identity, at) in &before.identities {
            alerts.events.recall(identity, at.chrono());
        }
        alerts.events.continue_after(EventId(before.last_event));
        alerts.tell(|status| status.strategies.clone_from(&strategies));
        let mut proposals = BTreeMap::new();
        for packet in before.packets {
            alerts.remember(&packet, &mut proposals);
        }
        let now = alerts.ports.recorder.now();
        alerts.take_up(&before.followed, proposals, now);
        alerts.skies.prepare(&alerts.settings.site, now);
        alerts
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
            let now = |id: &EventId| (event_name(*id), event_name(self.events.resolve(*id)));
            let became: Vec<(String, String)> = absorbed.iter().map(now).collect();
            self.tell(|status| status.became.extend(became));
        }
        if outcome.verdict == Verdict::Act {
            self.packets.entry(event).or_default().push(packet.to_owned());
        }
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
        self.skies.prepare(&self.settings.site, now);
        let keep = chrono::Duration::days(self.settings.remember_events_days.into());
        let keep_packets = chrono::Duration::days(self.settings.remember_packets_days.into());
        self.events.prune(now.chrono(), keep, keep_packets);
        let live: BTreeSet<EventId> = self.events.numbers().collect();
        self.packets.retain(|id, _| live.contains(&self.events.resolve(*id)));
        self.followed.retain(|id, _| live.contains(&self.events.resolve(*id)));
        self.requests_made
            .retain(|id, _| live.contains(&self.events.resolve(*id)));
        let names: BTreeSet<String> = live.into_iter().map(event_name).collect();
        self.tell(|status| {
            let young = |event: &EventSummary| now.chrono() - event.received_at.chrono() <= keep;
            status.events.retain(|name, event| names.contains(name) || young(event));
            status.became.retain(|_, now| names.contains(now));
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
        self.tell(|status| {
            let before = status.latest.replace(name.clone()).filter(|before| *before != name);
            // The way of every event is in the journal; here only that of the one in view.
            if let Some(before) = before.and_then(|before| status.events.get_mut(&before)) {
                before.stages = BTreeMap::new();
            }
        });
    }

    /// What the strategies make of an event; tiles that the site never sees in time do not count.
    fn decision(&self, event: &Event, now: UtcTime) -> Decision {
        let sky = Prospect::new(&self.settings.site, &self.settings.horizon, &self.skies, now);
        let seen = |wanted: &crate::strategy::Constraints, ra_deg: f64, dec_deg: f64, end| {
            let limits = ask::limits(&ask::constraints(&self.settings, wanted));
            sky.ever(ra_deg, dec_deg, &limits, UtcTime::new(end))
        };
        decide_seen(event, &self.settings.strategies, &self.unit, now.chrono(), &seen)
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
