//! What subscribers are sent, and how far each of them has come.
//!
//! The last packets are kept, within bounds, and each subscriber reads them at its own pace by their numbers. A packet
//! that is acknowledged moves the subscriber's mark. Who comes again under the same identifier goes on behind its mark;
//! who has fallen off the end of what is kept is dropped and begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// Number of a packet in the order of publication; the first is 1.
pub type Number = u64;

/// Most subscribers whose mark is kept; of more, the one not heard of for longest is forgotten.
const MOST_MARKS: usize = 1024;
/// Most bytes kept for slow subscribers, whatever the number of packets.
const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
struct Kept {
    packets: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Number of the newest packet.
    newest: Number,
    /// Marks by identifier, with the newest number at the time, which tells how old they are.
    marks: BTreeMap<String, (Number, Number)>,
}

impl Kept {
    /// Number of the oldest packet that is kept; of the next one when none is.
    fn first(&self) -> Number {
        self.newest + 1 - self.packets.len() as u64
    }

    fn packet(&self, number: Number) -> Option<&Arc<[u8]>> {
        self.packets
            .get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }
}

/// What a packet is known by in the marks.
fn fingerprint(packet: &[u8]) -> String {
    crate::format::hex(&Sha256::digest(packet)[..16])
}

/// What there is behind a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// This packet.
    Packet(Arc<[u8]>),
    /// Nothing yet.
    Nothing,
    /// Packets that are not kept any more.
    Lost(Number),
}

/// Where packets for the subscribers are put in.
#[derive(Clone, Debug)]
pub struct Relay {
    kept: Arc<Mutex<Kept>>,
    newest: watch::Sender<Number>,
    most: usize,
}

impl Relay {
    /// A relay that keeps this many packets for slow and for returning subscribers.
    #[must_use]
    pub fn new(backlog: usize) -> Self {
        Self {
            kept: Arc::default(),
            newest: watch::channel(0).0,
            most: backlog.max(1),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing under the lock can panic between two changes that belong together.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a packet to every subscriber; how many there are.
    pub fn publish(&self, packet: &[u8]) -> usize {
        let newest = {
            let mut kept = self.kept();
            kept.bytes += packet.len();
            kept.packets.push_back(Arc::from(packet));
            while kept.packets.len() > self.most || (kept.bytes > MOST_BYTES && kept.packets.len() > 1) {
                let gone = kept.packets.pop_front().map_or(0, |p| p.len());
                kept.bytes -= gone;
            }
            kept.newest += 1;
            kept.newest
        };
        self.newest.send_replace(newest);
        self.subscribers()
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// The marks of all subscribers that are remembered, for the next run of the broker: the hash of the last packet
    /// that each acknowledged; empty when that is not kept any more, or when there was none.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<String, String> {
        let kept = self.kept();
        let hash = |mark: Number| kept.packet(mark).map(|packet| fingerprint(packet)).unwrap_or_default();
        kept.marks
            .iter()
            .map(|(who, (mark, _))| (who.clone(), hash(*mark)))
            .collect()
    }

    /// Begins with the packets and the marks of an earlier run. Packets that came after the marks were written down are
    /// sent, and whoever has a mark that is not among the packets gets all of them: nothing is missed.
    pub fn restore(&self, packets: Vec<Vec<u8>>, marks: BTreeMap<String, String>) {
        for packet in packets {
            self.publish(&packet);
        }
        let mut kept = self.kept();
        let first = kept.first();
        let mut known: BTreeMap<String, Number> = BTreeMap::new();
        for (number, packet) in (first..).zip(&kept.packets) {
            // Of equal packets the first counts: one too many is better than one too few.
            known.entry(fingerprint(packet)).or_insert(number);
        }
        let newest = kept.newest;
        let marks = marks
            .into_iter()
            .map(|(who, hash)| (who, (known.get(&hash).copied().unwrap_or(first - 1), newest)));
        kept.marks.extend(marks);
    }

    /// Tells when there is more.
    pub(super) fn follow(&self) -> watch::Receiver<Number> {
        self.newest.subscribe()
    }

    pub(super) fn newest(&self) -> Number {
        self.kept().newest
    }

    /// What follows the packet of that number.
    pub(super) fn behind(&self, number: Number) -> Behind {
        let kept = self.kept();
        if number >= kept.newest {
            return Behind::Nothing;
        }
        let first = kept.first();
        if number + 1 < first {
            return Behind::Lost(first - number - 1);
        }
        kept.packet(number + 1)
            .map_or(Behind::Nothing, |packet| Behind::Packet(packet.clone()))
    }

    /// How far a subscriber had come, as far as what follows is still kept.
    pub(super) fn mark(&self, who: &str) -> Option<Number> {
        let kept = self.kept();
        let first = kept.first();
        kept.marks
            .get(who)
            .map(|(mark, _)| (*mark).max(first.saturating_sub(1)))
    }

    /// A subscriber has come that far.
    pub(super) fn set_mark(&self, who: &str, number: Number) {
        let mut kept = self.kept();
        let newest = kept.newest;
        kept.marks.insert(who.to_string(), (number, newest));
        if kept.marks.len() > MOST_MARKS {
            let oldest = kept
                .marks
                .iter()
                .min_by_key(|(_, (_, heard))| *heard)
                .map(|(who, _)| who.clone());
            oldest.and_then(|who| kept.marks.remove(&who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_kept_within_bounds_and_found_by_number() {
        let relay = Relay::new(3);
        for packet in [b"a", b"b", b"c", b"d"] {
            relay.publish(packet);
        }
        assert_eq!(relay.behind(0), Behind::Lost(1));
        assert_eq!(relay.behind(1), Behind::Packet(Arc::from(&b"b"[..])));
        assert_eq!(relay.behind(3), Behind::Packet(Arc::from(&b"d"[..])));
        assert_eq!(relay.behind(4), Behind::Nothing);
        let large = vec![0; MOST_BYTES];
        relay.publish(&large);
        assert_eq!(relay.behind(3), Behind::Lost(1));
        assert!(matches!(relay.behind(4), Behind::Packet(_)));
    }

    #[test]
    fn marks_live_over_a_restart_of_the_broker() {
        let relay = Relay::new(10);
        for packet in [b"a", b"b", b"c"] {
            relay.publish(packet);
        }
        relay.set_mark("ivo://them/s", 1);
        let next = Relay::new(10);
        relay.set_mark("ivo://them/newest", 3);
        let marks = relay.marks();
        // One more came after the marks were written down.
        let packets = [b"a", b"b", b"c", b"d"].map(|p| p.to_vec()).to_vec();
        next.restore(packets, marks.clone());
        let mark = |relay: &Relay, who: &str| relay.behind(relay.mark(who).unwrap());
        assert_eq!(mark(&next, "ivo://them/s"), Behind::Packet(Arc::from(&b"b"[..])));
        assert_eq!(mark(&next, "ivo://them/newest"), Behind::Packet(Arc::from(&b"d"[..])));
        let last = Relay::new(10);
        last.restore(vec![b"c".to_vec(), b"d".to_vec()], marks);
        assert_eq!(mark(&last, "ivo://them/s"), Behind::Packet(Arc::from(&b"c"[..])));
        assert_eq!(next.mark("ivo://others/s"), None);
    }

    #[test]
    fn the_longest_unheard_mark_is_forgotten_first() {
        let relay = Relay::new(10);
        relay.set_mark("old", 0);
        relay.publish(b"x");
        for number in 0..MOST_MARKS {
            relay.set_mark(&format!("s{number}"), 1);
        }
        assert_eq!(relay.mark("old"), None);
        assert_eq!(relay.marks().len(), MOST_MARKS);
    }
}
