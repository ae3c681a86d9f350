//! What survives a restart: events are made again from the packets of earlier runs, without acting.

use super::{Alerts, ask, event_name, follow::Followed};
use crate::{
    Channel, EventId,
    event::Event,
    outlook::Prospect,
    read_within,
    strategy::{Constraints, Decision, Preempt, Proposal, Revision, UpdatePolicy, decide, revise},
};
use alidade_model::{
    book::Book,
    request::{Origin, Request, Sequence},
    time::UtcTime,
};
use base64::Engine;
use std::collections::BTreeMap;

/// A packet of an earlier run, from the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPacket {
    pub body: String,
    pub received_at: UtcTime,
    /// Number of the event it was put into.
    pub event: Option<u64>,
    /// Numbers of the events that it changed, this one among them: what it parted from it had a number of its own.
    pub touched: Vec<u64>,
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
    /// Events that were followed, by their numbers, each with the first of the requests it is followed by.
    pub followed: BTreeMap<u64, String>,
}

pub(super) fn packet_name(sha256: &str) -> String {
    sha256.get(..16).unwrap_or(sha256).to_owned()
}

/// Text as it is, anything else in base64, so that the journal stays text and nothing is lost.
pub(super) fn stored_body(body: &[u8]) -> String {
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

/// What events were followed with, as far as the packets tell it: the proposal of each, kept as it was kept then.
pub(super) type Proposals = BTreeMap<EventId, Proposal>;

impl Alerts {
    /// Rebuilds an event from a packet that was acted upon in an earlier run.
    pub(super) fn remember(&mut self, packet: &StoredPacket, proposals: &mut Proposals) {
        let reading = read_within(
            &original_body(&packet.body),
            Channel::Any,
            packet.received_at.chrono(),
            &self.limits,
        );
        let touched: Vec<EventId> = packet.touched.iter().copied().map(EventId).collect();
        let outcome = self.events.replay(&reading, packet.event.map(EventId), &touched);
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
            self.propose_again(id, &decision, proposals);
            self.summarise(&event, &decision, None, packet.received_at, &BTreeMap::new());
        }
    }

    /// What was proposed for an event when this was decided about it.
    fn propose_again(&self, id: EventId, decision: &Decision, proposals: &mut Proposals) {
        let absorbed = |other: &EventId| *other != id && self.events.resolve(*other) == id;
        let given_up: Vec<EventId> = proposals.keys().copied().filter(absorbed).collect();
        for proposal in given_up
            .iter()
            .filter_map(|other| proposals.remove(other))
            .collect::<Vec<_>>()
        {
            proposals.entry(id).or_insert(proposal);
        }
        let new = match proposals.get(&id) {
            None => decision.followed.clone(),
            Some(before) => match revise(before, decision, self.unit.fov_deg) {
                Revision::Keep => return,
                Revision::Replace { proposal, .. } => Some(*proposal),
                Revision::Cancel { .. } => None,
            },
        };
        match new {
            Some(proposal) => drop(proposals.insert(id, proposal)),
            None => drop(proposals.remove(&id)),
        }
    }

    /// Goes on with the observations that earlier runs asked for: what was last decided about an event holds, whatever
    /// would be decided today.
    pub(super) fn take_up(&mut self, followed: &BTreeMap<u64, String>, mut proposals: Proposals, now: UtcTime) {
        self.count_requests();
        let sky = Prospect::new(&self.settings.site, &self.settings.horizon, &self.skies, now);
        for (number, request) in followed {
            let id = EventId(*number);
            // What was absorbed is followed under the number that stands, if at all.
            let event = self.events.event(id).filter(|event| event.id == id);
            let (Some(event), Some(asked)) = (event, asked(&self.ports.book.borrow(), request)) else {
                continue;
            };
            let known = proposals.remove(&id);
            let proposal = known.unwrap_or_else(|| asked.proposal(&event));
            let (outlook, coverage) = ask::prospect(&self.settings, &proposal, &sky);
            let followed = Followed {
                proposal,
                label: asked.label,
                sequences: asked.sequences.into_iter().map(|s| s.id).collect(),
                outlook,
                coverage,
            };
            self.followed.insert(id, followed);
            self.tell(|status| {
                if let Some(summary) = status.events.get_mut(&event_name(id)) {
                    summary.followed = true;
                }
            });
        }
    }

    /// How often each event has been asked for: no request may get a name that is taken.
    fn count_requests(&mut self) {
        let book = self.ports.book.borrow();
        for request in book.requests() {
            let mut words = request.id.split('-');
            if let (Some("alert"), Some(Ok(event)), Some(Ok(count))) = (
                words.next(),
                words.next().map(str::parse::<u64>),
                words.next().map(str::parse::<u32>),
            ) {
                let made = self
                    .requests_made
                    .entry(self.events.resolve(EventId(event)))
                    .or_default();
                *made = (*made).max(count);
            }
        }
    }
}

/// What was asked for with one request and its later visits.
struct Asked {
    label: String,
    strategy: String,
    sequences: Vec<Sequence>,
}

fn asked(book: &Book, first: &str) -> Option<Asked> {
    let Origin::Alert { event, strategy } = book.request(first)?.origin.clone() else {
        return None;
    };
    let visits = format!("{first}-visit-");
    let own = |request: &&Request| request.id == first || request.id.starts_with(&visits);
    let requests: BTreeMap<&str, &Request> = book.requests().filter(own).map(|r| (r.id.as_str(), r)).collect();
    Some(Asked {
        label: event,
        strategy,
        sequences: requests.values().flat_map(|r| r.sequences.clone()).collect(),
    })
}

impl Asked {
    /// A proposal as the request tells it, where the strategies of today propose none: it keeps the telescope where it
    /// was sent until more is known.
    fn proposal(&self, event: &Event) -> Proposal {
        let first = self.sequences.first();
        let (ra_deg, dec_deg) = first.map_or((0.0, 0.0), |s| (s.target.ra_deg, s.target.dec_deg));
        let begins = first.and_then(|s| s.window).map(|w| w.0.chrono());
        let ends = self
            .sequences
            .iter()
            .filter_map(|s| s.window)
            .map(|w| w.1.chrono())
            .max();
        let t0 = event.t0.unwrap_or(event.first_received_at);
        let (name, version) = self.strategy.rsplit_once(" v").unwrap_or((&self.strategy, ""));
        Proposal {
            event: event.id,
            event_name: first.map_or_else(|| event_name(event.id), |s| s.target.name.clone()),
            strategy: name.to_owned(),
            strategy_version: version.parse().unwrap_or(0),
            priority: u8::MAX,
            ra_deg,
            dec_deg,
            r90_deg: None,
            centre_deg: None,
            tiles: Vec::new(),
            covered_probability: None,
            t0,
            not_before: begins.unwrap_or(t0),
            not_after: ends.unwrap_or(t0),
            steps: Vec::new(),
            revisit_at: Vec::new(),
            visit_window_s: 0.0,
            constraints: Constraints::default(),
            preempt: Preempt::Queue,
            update: UpdatePolicy::default(),
            is_test: event.is_test,
        }
    }
}
