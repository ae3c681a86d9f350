//! What waits for the broker: events in order, and the last published core of every state.
//!
//! Acknowledgements of QoS 1 come in the order of the publications (MQTT 3.1.1, 4.6), so the oldest message in flight
//! is the one that an acknowledgement is about.

use super::topics;
use alidade_model::time::UtcTime;
use rumqttc::{AsyncClient, QoS};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Events kept while the broker is away.
const KEPT: usize = 10_000;
/// Messages handed to the client and not yet acknowledged.
const IN_FLIGHT: usize = 64;
/// A state that keeps changing is published at most this often.
const STATE_PERIOD: Duration = Duration::from_secs(1);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    topic: String,
    payload: String,
    retain: bool,
}

impl Item {
    pub fn event(topic: String, payload: String) -> Self {
        Self {
            topic,
            payload,
            retain: false,
        }
    }

    pub fn state(topic: String, payload: String) -> Self {
        Self {
            topic,
            payload,
            retain: true,
        }
    }
}

struct Sent {
    core: Map<String, Value>,
    /// The daemon's time, for repetition; this machine's, for the rate.
    ts: UtcTime,
    at: Instant,
}

pub struct Outbox {
    waiting: VecDeque<Item>,
    in_flight: VecDeque<Item>,
    sent: BTreeMap<String, Sent>,
    /// When the broker last acknowledged, or when there was nothing to acknowledge.
    progress: Instant,
    packet_limit: usize,
    /// Events given up so far.
    pub dropped: u64,
}

impl Outbox {
    pub fn new(packet_limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent: BTreeMap::new(),
            progress: Instant::now(),
            packet_limit,
            dropped: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Adds a message; the oldest goes when too many wait.
    pub fn push(&mut self, item: Item) {
        // The header of a publish packet is the topic and a few bytes.
        if item.topic.len() + item.payload.len() + 64 > self.packet_limit {
            tracing::warn!(
                topic = item.topic,
                bytes = item.payload.len(),
                "too large for the mqtt feed"
            );
            self.dropped += 1;
            return;
        }
        if self.waiting.len() == KEPT {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(item);
    }

    /// Whether a state differs from what was published, or is due again at `now` (`None`: never due by age).
    pub fn is_news(&self, topic: &str, core: &Map<String, Value>, now: Option<UtcTime>) -> bool {
        let Some(sent) = self.sent.get(topic) else {
            return true;
        };
        let repeat = now.is_some_and(|now| topics::refresh_is_due(sent.ts, now));
        (sent.core != *core || repeat) && sent.at.elapsed() >= STATE_PERIOD
    }

    pub fn offer_state(&mut self, item: Item, core: Map<String, Value>, ts: UtcTime) {
        let sent = Sent {
            core,
            ts,
            at: Instant::now(),
        };
        self.sent.insert(item.topic.clone(), sent);
        // An older state of the same topic that still waits is of no use to anybody.
        self.waiting
            .retain(|waiting| !waiting.retain || waiting.topic != item.topic);
        self.push(item);
    }

    /// After a new session every state is news.
    pub fn forget_states(&mut self) {
        self.sent.clear();
        self.waiting.retain(|item| !item.retain);
    }

    /// What was in flight when the connection was lost goes out again, in order; states are made anew.
    pub fn connection_lost(&mut self) {
        while let Some(item) = self.in_flight.pop_back() {
            if !item.retain {
                self.waiting.push_front(item);
            }
        }
        self.progress = Instant::now();
    }

    /// Hands messages to the client as far as it takes them. Never waits.
    pub fn pump(&mut self, client: &AsyncClient) {
        while self.in_flight.len() < IN_FLIGHT
            && let Some(item) = self.waiting.front()
        {
            let handed = client.try_publish(item.topic.clone(), QoS::AtLeastOnce, item.retain, item.payload.clone());
            if handed.is_err() {
                return;
            }
            if self.in_flight.is_empty() {
                self.progress = Instant::now();
            }
            self.in_flight.extend(self.waiting.pop_front());
        }
    }

    pub fn acknowledged(&mut self) {
        self.in_flight.pop_front();
        self.progress = Instant::now();
    }

    /// How long the broker has owed an acknowledgement.
    pub fn stuck_for(&self) -> Duration {
        if self.in_flight.is_empty() {
            Duration::ZERO
        } else {
            self.progress.elapsed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Item {
        Item::event(format!("e/{number}"), "{}".into())
    }

    #[test]
    fn the_oldest_event_goes_first_when_the_broker_is_away_too_long() {
        let mut outbox = Outbox::new(1000);
        (0..KEPT + 3).for_each(|number| outbox.push(event(number)));
        assert_eq!(outbox.dropped, 3);
        assert_eq!(outbox.waiting.front(), Some(&event(3)));
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_order() {
        let mut outbox = Outbox::new(1000);
        let options = rumqttc::MqttOptions::new("test", "127.0.0.1", 1);
        let (client, _connection) = AsyncClient::new(options, 200);
        (0..5).for_each(|number| outbox.push(event(number)));
        outbox.pump(&client);
        outbox.acknowledged();
        outbox.connection_lost();
        let again: Vec<_> = outbox.waiting.iter().cloned().collect();
        assert_eq!(again, (1..5).map(event).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_beyond_the_packet_limit_is_dropped_and_counted() {
        let mut outbox = Outbox::new(200);
        outbox.push(Item::event("t".into(), "x".repeat(300)));
        assert!(outbox.is_empty());
        assert_eq!(outbox.dropped, 1);
    }
}
