//! One reader of the daemon's channels for all clients: the latest state as text, and the last journal lines.
//!
//! A client that comes back is given what it missed from the ring. Subscribing and reading the ring happen under one
//! lock, so that no line is lost or sent twice between them.

use super::{Shared, telemetry::Telemetry};
use crate::gateway::{JournalLine, LineHead, snapshot::Snapshot};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

/// Journal lines kept for clients that resume.
const RING: usize = 10_000;
/// A state goes out at most this often.
const STATE_PERIOD: Duration = Duration::from_millis(200);

/// A snapshot as it goes out.
#[derive(Debug, Clone)]
pub struct StateText {
    pub json: Arc<str>,
    /// When the daemon published it, on this machine's monotonic clock.
    pub published: Instant,
}

/// A journal line with its number.
#[derive(Debug, Clone)]
pub struct Numbered {
    pub seq: u64,
    pub line: JournalLine,
}

pub struct Hub {
    state: watch::Sender<StateText>,
    ring: Mutex<VecDeque<Numbered>>,
    live: broadcast::Sender<Numbered>,
    telemetry: Mutex<Telemetry>,
}

/// What a client missed, and the channel that brings the rest.
pub struct Subscription {
    pub missed: Vec<Numbered>,
    /// First and last number that are wanted but no longer kept.
    pub gap: Option<(u64, u64)>,
    pub live: broadcast::Receiver<Numbered>,
}

fn text(snapshot: &Snapshot) -> Arc<str> {
    match serde_json::to_string(snapshot) {
        Ok(json) => json.into(),
        Err(cause) => {
            tracing::error!(%cause, "snapshot cannot be written as JSON");
            "null".into()
        }
    }
}

impl Hub {
    pub fn new(first: Arc<Snapshot>) -> Self {
        let state = StateText {
            json: text(&first),
            published: Instant::now(),
        };
        Self {
            state: watch::Sender::new(state),
            ring: Mutex::new(VecDeque::new()),
            live: broadcast::Sender::new(1024),
            telemetry: Mutex::default(),
        }
    }

    /// The numbers of a device over the last day, by name.
    pub fn telemetry(&self, device: &str) -> BTreeMap<String, Vec<serde_json::Value>> {
        self.telemetry.lock().unwrap_or_else(PoisonError::into_inner).of(device)
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> watch::Receiver<StateText> {
        self.state.subscribe()
    }

    /// Seconds of wall time since the daemon last published.
    pub fn snapshot_age_s(&self) -> f64 {
        self.state.borrow().published.elapsed().as_secs_f64()
    }

    /// Who watches is told only what is new: the first snapshot is there before the feed has said it.
    fn publish(&self, latest: &Snapshot) {
        self.telemetry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(latest);
        let json = text(latest);
        self.state.send_if_modified(|state| {
            state.published = Instant::now();
            let news = state.json != json;
            state.json = json;
            news
        });
    }

    fn append(&self, line: JournalLine) {
        let Some(head) = LineHead::of(&line) else {
            tracing::error!(%line, "a journal line without a number");
            return;
        };
        let numbered = Numbered { seq: head.seq, line };
        let mut ring = self.ring();
        if ring.back().is_some_and(|last| last.seq >= numbered.seq) {
            // Another life of the database: what is kept is not of this journal.
            ring.clear();
        }
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(numbered.clone());
        let _ = self.live.send(numbered);
    }

    /// Lines above `after`, at most `limit`, oldest first.
    pub fn page(&self, after: u64, limit: usize) -> Vec<JournalLine> {
        let ring = self.ring();
        let above = ring.iter().filter(|kept| kept.seq > after);
        above.take(limit).map(|kept| kept.line.clone()).collect()
    }

    /// Subscribes from `after` on; without it, from `recent` entries before now.
    pub fn subscribe(&self, after: Option<u64>, recent: usize) -> Subscription {
        let ring = self.ring();
        let last = ring.back().map_or(0, |line| line.seq);
        let first = ring.front().map_or(0, |line| line.seq);
        let (missed, gap): (Vec<_>, _) = match after {
            // A number from the future belongs to another journal: start afresh.
            Some(after) if after <= last => {
                let missed = ring.iter().filter(|line| line.seq > after).cloned();
                let gap = (after + 1 < first).then(|| (after + 1, first - 1));
                (missed.collect(), gap)
            }
            _ => {
                let skip = ring.len().saturating_sub(recent);
                (ring.iter().skip(skip).cloned().collect(), None)
            }
        };
        Subscription {
            missed,
            gap,
            live: self.live.subscribe(),
        }
    }
}

/// Carries the daemon's channels into the hub until the gateway stops.
pub async fn feed(shared: Arc<Shared>, mut lines: broadcast::Receiver<JournalLine>) {
    let mut stop = shared.stop.clone();
    let mut snapshot = shared.ports.snapshot.clone();
    snapshot.mark_changed();
    let mut next = Instant::now();
    let mut publishing = true;
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            line = lines.recv() => match line {
                Ok(line) => shared.hub.append(line),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    tracing::warn!(count, "http gateway missed journal lines");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            changed = async { tokio::time::sleep_until(next).await; snapshot.changed().await }, if publishing => {
                // The daemon is gone: its last snapshot stays and grows old.
                publishing = changed.is_ok();
                if publishing {
                    let latest = snapshot.borrow_and_update().clone();
                    next = Instant::now() + STATE_PERIOD;
                    shared.hub.publish(&latest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::snapshot::SiteView;

    fn hub(seqs: impl IntoIterator<Item = u64>) -> Hub {
        let site = SiteView {
            name: "s".into(),
            title: "S".into(),
            latitude_deg: 0.0,
            longitude_deg: 0.0,
            height_m: 0.0,
            horizon: Vec::new(),
            horizon_limit_deg: 0.0,
        };
        let now = "2026-03-14T22:00:00Z".parse().unwrap();
        let hub = Hub::new(Arc::new(Snapshot::unknown(now, site, "u", "b")));
        for seq in seqs {
            hub.append(format!(r#"{{"seq":{seq},"at":"2026-03-14T22:00:00Z","fact":"stopped"}}"#).into());
        }
        hub
    }

    fn seqs(subscription: &Subscription) -> Vec<u64> {
        subscription.missed.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn a_client_that_comes_back_gets_exactly_what_it_missed() {
        let back = hub(1..=8).subscribe(Some(5), 3);
        assert_eq!((seqs(&back), back.gap), (vec![6, 7, 8], None));
    }

    #[test]
    fn a_client_that_was_away_too_long_is_told_what_is_missing() {
        let back = hub(1..=10_010).subscribe(Some(4), 3);
        assert_eq!(back.gap, Some((5, 10)));
        assert_eq!(back.missed.first().map(|line| line.seq), Some(11));
    }

    #[test]
    fn a_number_from_another_journal_starts_afresh() {
        let hub = hub([7, 8, 9, 1, 2]);
        assert_eq!(seqs(&hub.subscribe(Some(900), 10)), vec![1, 2]);
        assert_eq!(seqs(&hub.subscribe(None, 1)), vec![2]);
    }
}
