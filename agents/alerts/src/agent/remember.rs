//! What survives a restart: events are made again from the packets of earlier runs, without acting.

use super::{Alerts, ask, event_name, follow::Followed};
use crate::{Channel, EventId, outlook::Prospect, read_within, strategy::decide};
use alidade_model::time::UtcTime;
use base64::Engine;
use std::collections::BTreeMap;

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

impl Alerts {
    /// Rebuilds an event from a packet that was acted upon in an earlier run.
    pub(super) fn remember(&mut self, packet: &StoredPacket) {
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
                let (site, horizon) = (&self.settings.site, &self.settings.horizon);
                let sky = Prospect::new(site, horizon, &self.skies, packet.received_at);
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
}
