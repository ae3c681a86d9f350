//! The book of packets and events: duplicates, citations, updates, retractions, grouping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};

use super::chains::Chain;
use super::grouping::MergeRules;
use super::identity::Identities;
use super::key::Key;
use super::outcome::{Change, EventId, Outcome, Trust};
use super::summary::{self, Event, Member};
use crate::format::voevent::authority;
use crate::notice::{Citation, CiteKind, Flag, Notice, Role, SkyMap};
use crate::read::Reading;
use crate::reason::{Reason, Verdict};

/// A notice that counts, and what was found of it when it came.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub notice: Arc<Notice>,
    pub key: Key,
    pub track: Key,
    pub cites: Vec<Cite>,
    /// Right ascension, declination and 90 % radius, degrees, where all are known and to be used.
    pub place: Option<(f64, f64, f64)>,
    pub reason: Reason,
    pub received_at: DateTime<Utc>,
}

/// A citation, as the book needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cite {
    pub kind: CiteKind,
    pub of: Key,
    /// Whether its author may withdraw or replace what is cited.
    pub allowed: bool,
}

/// The state: what was seen and how it hangs together.
#[derive(Clone, Debug, Default)]
pub struct EventBook {
    pub(super) rules: MergeRules,
    pub(super) trust: Trust,
    pub(super) seen: Identities,
    /// The notices of each track, in the order of their keys.
    pub(super) tracks: BTreeMap<Key, Vec<Stored>>,
    /// The track of each notice.
    track_of: BTreeMap<Key, Key>,
    /// Identifiers that were received or cited, and the tracks that did.
    pub(super) mentions: BTreeMap<Key, BTreeSet<Key>>,
    pub(super) chain_of: BTreeMap<Key, Key>,
    pub(super) chains: BTreeMap<Key, Chain>,
    pub(super) by_time: BTreeSet<(DateTime<Utc>, Key)>,
    pub(super) weak_by_time: BTreeSet<(DateTime<Utc>, Key)>,
    pub(super) chains_of_event: BTreeMap<EventId, BTreeSet<Key>>,
    pub(super) founders: BTreeMap<EventId, Key>,
    pub(super) aliases: BTreeMap<EventId, EventId>,
    pub(super) next: u64,
    /// Number for an event that the packet in hand founds: that of an earlier run.
    pub(super) given: Option<EventId>,
    /// The first number that no earlier run has given.
    pub(super) first_new: u64,
}

/// Bounds that real traffic never meets; a flood that does loses associations, not packets.
///
/// Tracks that may mention one identifier.
const MOST_MENTIONS: usize = 64;
/// Notices kept of one track: beyond it the oldest go that are neither retractions nor the best position.
const MOST_NOTICES: usize = 100;
/// Tracks whose times hang together; in a thicker crowd nothing is taken for the same event by time any more.
pub(super) const MOST_NEIGHBOURS: usize = 512;

impl EventBook {
    /// An empty book.
    #[must_use]
    pub fn new(rules: MergeRules, trust: Trust) -> Self {
        Self {
            rules,
            trust,
            next: 1,
            ..Self::default()
        }
    }

    /// Numbers of events begin behind those of earlier runs.
    pub fn continue_after(&mut self, last: EventId) {
        self.next = self.next.max(last.0 + 1);
        self.first_new = self.next;
    }

    /// Knows a packet of an earlier run by its [`identity`](super::identity()), without what it said.
    pub fn recall(&mut self, identity: &str, at: DateTime<Utc>) {
        self.seen.recall(identity, at);
    }

    /// Takes in a packet of an earlier run, in the order of arrival, that was of that event then: numbers stay as they
    /// were, though packets from before may be left out.
    pub fn replay(&mut self, reading: &Reading, event: Option<EventId>) -> Outcome {
        self.given = event;
        let mut outcome = self.insert(reading);
        self.given = None;
        // A part of an event that came apart was numbered before a packet of its own told how.
        if let (Some(wanted), Some(got)) = (event, outcome.event)
            && got.0 >= self.first_new
            && self.is_free(wanted)
        {
            self.renumber(got, wanted);
            outcome.event = Some(wanted);
            for touched in outcome.touched.iter_mut().filter(|id| **id == got) {
                *touched = wanted;
            }
        }
        outcome
    }

    /// Takes a packet in and says what it is and what it changed.
    pub fn insert(&mut self, reading: &Reading) -> Outcome {
        let plain = |verdict, reason| Outcome {
            verdict,
            reason,
            event: None,
            change: Change::None,
            touched: Vec::new(),
        };
        let Some(notice) = reading.notice.as_ref().filter(|_| reading.verdict != Verdict::Reject) else {
            return plain(reading.verdict, reading.reason);
        };
        let key = Key::of(&notice.key);
        if let Some((verdict, reason)) = self.seen.meet(key, notice, reading) {
            return plain(verdict, reason);
        }
        if notice.is_retraction && self.is_foreign(notice) {
            return plain(Verdict::Ignore, Reason::ForeignRetraction);
        }
        if !makes_an_event(notice) {
            return plain(reading.verdict, reading.reason);
        }
        self.add(key, notice, reading)
    }

    fn add(&mut self, key: Key, notice: &Arc<Notice>, reading: &Reading) -> Outcome {
        let track = match notice.trigger_key() {
            Some(trigger) => Key::of(&trigger),
            None => Key::of(&format!("notice/{}", notice.key)),
        };
        let cites: Vec<Cite> = notice.citations.iter().map(|c| self.cite(notice, c)).collect();
        let counts = |c: &&Cite| c.kind != CiteKind::Retraction || c.allowed;
        for identifier in cites.iter().filter(counts).map(|c| c.of).chain([key]) {
            let tracks = self.mentions.entry(identifier).or_default();
            if tracks.len() < MOST_MENTIONS {
                tracks.insert(track);
            }
        }
        self.keep_newest_map(track, notice);
        let place = notice
            .usable_position()
            .and_then(|p| p.r90_deg().map(|r90| (p.ra_deg, p.dec_deg, r90)));
        let stored = Stored {
            notice: notice.clone(),
            key,
            track,
            cites,
            place,
            reason: reading.reason,
            received_at: reading.received_at,
        };
        let stored_here = self.tracks.entry(track).or_default();
        stored_here.insert(stored_here.partition_point(|s| s.key < key), stored);
        self.track_of.insert(key, track);
        self.thin(track, key);
        let (event, change, touched) = self.regroup(track);
        let withdrawn = reading.verdict == Verdict::Act
            && self.chain_of(track).is_some_and(|chain| {
                self.members_of_tracks(chain.tracks.iter())
                    .iter()
                    .any(|m| m.key == key && m.withdrawn)
            });
        let (verdict, reason) = if withdrawn {
            (Verdict::Ignore, Reason::AlreadyRetracted)
        } else {
            (reading.verdict, reading.reason)
        };
        Outcome {
            verdict,
            reason,
            event: Some(event),
            change,
            touched,
        }
    }

    fn cite(&self, notice: &Notice, citation: &Citation) -> Cite {
        Cite {
            kind: citation.kind,
            of: Key::of_identifier(&citation.ivorn),
            allowed: matches!(citation.kind, CiteKind::Retraction | CiteKind::Supersedes)
                && self.may_retract(&notice.author, &authority(&citation.ivorn)),
        }
    }

    fn chain_of(&self, track: Key) -> Option<&Chain> {
        self.chains.get(self.chain_of.get(&track)?)
    }

    /// Only the newest map of a track is carried: they are megabytes, and mocks send them by the hour.
    fn keep_newest_map(&mut self, track: Key, newest: &Notice) {
        if !newest.has_skymap() {
            return;
        }
        for stored in self.tracks.get_mut(&track).into_iter().flatten() {
            if stored.notice.has_skymap() && stored.notice.issued_at <= newest.issued_at {
                Arc::make_mut(&mut stored.notice).skymap = Some(SkyMap::Url("superseded".to_string()));
            }
        }
    }

    /// Forgets what a crowded track can spare beside the notice that just came; identities stay known.
    fn thin(&mut self, track: Key, newest: Key) {
        let Some(stored) = self.tracks.get_mut(&track).filter(|s| s.len() > MOST_NOTICES) else {
            return;
        };
        let r90 = |s: &Stored| s.place.map_or(f64::INFINITY, |p| p.2);
        let others = || stored.iter().filter(|s| s.key != newest);
        let best = others().min_by(|a, b| r90(a).total_cmp(&r90(b))).map(|s| s.key);
        let oldest = others()
            .filter(|s| !s.notice.is_retraction && Some(s.key) != best)
            .min_by(|a, b| (a.notice.issued_at, &a.notice.key).cmp(&(b.notice.issued_at, &b.notice.key)))
            .map(|s| s.key);
        if let Some(oldest) = oldest {
            stored.retain(|s| s.key != oldest);
            self.track_of.remove(&oldest);
        }
    }

    pub(super) fn members(&self, id: EventId) -> Vec<Member<'_>> {
        let chains = self.chains_of_event.get(&self.resolve(id)).into_iter().flatten();
        chains
            .filter_map(|name| self.chains.get(name))
            .flat_map(|chain| self.members_of_tracks(chain.tracks.iter()))
            .collect()
    }

    /// The number that now stands for this one: merged events keep the oldest.
    #[must_use]
    pub fn resolve(&self, id: EventId) -> EventId {
        let mut id = id;
        while let Some(next) = self.aliases.get(&id) {
            id = *next;
        }
        id
    }

    /// The event of that number.
    #[must_use]
    pub fn event(&self, id: EventId) -> Option<Event> {
        summary::summarise(self.resolve(id), self.members(id))
    }

    /// All events, oldest number first.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.chains_of_event.keys().filter_map(|id| self.event(*id))
    }

    /// The notice of that key.
    #[must_use]
    pub fn notice(&self, key: &str) -> Option<&Notice> {
        let key = Key::of_identifier(key);
        let track = self.tracks.get(self.track_of.get(&key)?)?;
        let at = track.binary_search_by_key(&key, |s| s.key).ok()?;
        track.get(at).map(|s| &*s.notice)
    }

    /// How many packets are remembered, and how many events.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.seen.count(), self.chains_of_event.len())
    }

    /// Forgets events whose last notice is older than `keep_events`, and identities older than `keep_identities`.
    pub fn prune(&mut self, now: DateTime<Utc>, keep_events: Duration, keep_identities: Duration) {
        self.seen.prune(now, keep_identities);
        let old: Vec<EventId> = self
            .chains_of_event
            .keys()
            .copied()
            .filter(|id| self.members(*id).iter().all(|m| now - m.received_at > keep_events))
            .collect();
        for id in old {
            self.forget(id);
        }
        let live: BTreeSet<EventId> = self.chains_of_event.keys().copied().collect();
        self.aliases.retain(|_, to| live.contains(to));
    }

    fn forget(&mut self, id: EventId) {
        self.founders.remove(&id);
        for name in self.chains_of_event.remove(&id).unwrap_or_default() {
            let Some(chain) = self.chains.remove(&name) else {
                continue;
            };
            if let Some(point) = chain.point {
                self.index(&point).remove(&(point.t0, name));
            }
            for track in chain.tracks {
                self.chain_of.remove(&track);
                for stored in self.tracks.remove(&track).unwrap_or_default() {
                    self.track_of.remove(&stored.key);
                    for identifier in stored.cites.iter().map(|c| c.of).chain([stored.key]) {
                        if let Some(tracks) = self.mentions.get_mut(&identifier) {
                            tracks.remove(&track);
                            if tracks.is_empty() {
                                self.mentions.remove(&identifier);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Pointings, lines and utilities are remembered as packets but are no event.
fn makes_an_event(notice: &Notice) -> bool {
    let no_source = notice.flags.contains(&Flag::NotASource) && notice.trigger_id.is_none();
    !(notice.role == Role::Utility || notice.flags.contains(&Flag::LineControl) || no_source)
}
