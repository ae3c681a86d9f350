//! The book of packets and events: duplicates, citations, updates, retractions, grouping.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};

use super::chains::Chain;
use super::grouping::MergeRules;
use super::identity::Identities;
use super::key::Key;
use super::keys::Keys;
use super::outcome::{Change, EventId, Outcome, Trust};
use super::stored::{Cite, Stored, Words};
use super::summary::{self, Event, Member};
use crate::format::voevent::authority;
use crate::notice::{Citation, CiteKind, Flag, Notice, Role, SkyMap};
use crate::read::Reading;
use crate::reason::{Reason, Verdict};

/// The state: what was seen and how it hangs together.
#[derive(Clone, Debug, Default)]
pub struct EventBook {
    pub(super) rules: MergeRules,
    pub(super) trust: Trust,
    pub(super) seen: Identities,
    /// The notices of each track, in the order of their keys.
    pub(super) tracks: BTreeMap<Key, Vec<Stored>>,
    words: Words,
    /// Identifiers that were received or cited, each with a track that did.
    pub(super) mentions: BTreeSet<(Key, Key)>,
    /// The chain of each track, where it has not the track's own name.
    pub(super) chain_of: BTreeMap<Key, Key>,
    pub(super) chains: BTreeMap<Key, Chain>,
    pub(super) by_time: BTreeSet<(DateTime<Utc>, Key)>,
    pub(super) weak_by_time: BTreeSet<(DateTime<Utc>, Key)>,
    pub(super) chains_of_event: BTreeMap<EventId, Keys>,
    pub(super) founders: BTreeMap<EventId, Key>,
    pub(super) aliases: BTreeMap<EventId, EventId>,
    pub(super) next: u64,
    /// Numbers for events that the packet in hand founds, in their order: those of an earlier run.
    pub(super) given: BTreeSet<EventId>,
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

    /// Takes in a packet of an earlier run, in the order of arrival, that was of that event then and changed those:
    /// numbers stay as they were, though packets from before may be left out.
    pub fn replay(&mut self, reading: &Reading, event: Option<EventId>, touched: &[EventId]) -> Outcome {
        self.given = touched.iter().copied().chain(event).collect();
        let mut outcome = self.insert(reading);
        self.given.clear();
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

    fn add(&mut self, key: Key, notice: &Notice, reading: &Reading) -> Outcome {
        let track = match notice.trigger_key() {
            Some(trigger) => Key::of(&trigger),
            None => Key::of(&format!("notice/{}", notice.key)),
        };
        let cites: Box<[Cite]> = notice.citations.iter().map(|c| self.cite(notice, c)).collect();
        let counts = |c: &&Cite| c.kind != CiteKind::Retraction || c.allowed;
        for identifier in cites.iter().filter(counts).map(|c| c.of).chain([key]) {
            if self.mentioned_by(identifier).take(MOST_MENTIONS).count() < MOST_MENTIONS {
                self.mentions.insert((identifier, track));
            }
        }
        self.keep_newest_map(track, notice);
        let stored = Stored::new(key, notice, cites, reading.reason, reading.received_at, &mut self.words);
        let stored_here = self.tracks.entry(track).or_default();
        if stored_here.len() == stored_here.capacity() {
            // Most tracks are one or two notices; the usual growth would leave room for four.
            stored_here.reserve_exact(1 + stored_here.len() / 4);
        }
        stored_here.insert(stored_here.partition_point(|s| s.key < key), stored);
        self.thin(track, key);
        let (event, change, touched) = self.regroup(track);
        let withdrawn = reading.verdict == Verdict::Act
            && self.chain_of(track).is_some_and(|chain| {
                self.members_of_tracks(chain.tracks.iter())
                    .iter()
                    .any(|m| m.stored.key == key && m.withdrawn)
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
        self.chains.get(&self.chain_name(track)?)
    }

    /// Tracks that received or cite a packet.
    pub(super) fn mentioned_by(&self, identifier: Key) -> impl Iterator<Item = Key> + '_ {
        let from = self.mentions.range((identifier, Key::LEAST)..);
        from.take_while(move |(of, _)| *of == identifier)
            .map(|(_, track)| *track)
    }

    /// Only the newest map of a track is carried: they are megabytes, and mocks send them by the hour.
    fn keep_newest_map(&mut self, track: Key, newest: &Notice) {
        if !newest.has_skymap() {
            return;
        }
        for stored in self.tracks.get_mut(&track).into_iter().flatten() {
            if stored.has_skymap() && stored.issued_at <= newest.issued_at {
                stored.skymap = Some(Box::new(SkyMap::Url("superseded".to_string())));
            }
        }
    }

    /// Forgets what a crowded track can spare beside the notice that just came; identities stay known.
    fn thin(&mut self, track: Key, newest: Key) {
        let Some(stored) = self.tracks.get_mut(&track).filter(|s| s.len() > MOST_NOTICES) else {
            return;
        };
        let r90 = |s: &Stored| s.place().map_or(f64::INFINITY, |p| p.2);
        let others = || stored.iter().filter(|s| s.key != newest);
        let best = others().min_by(|a, b| r90(a).total_cmp(&r90(b))).map(|s| s.key);
        let oldest = others()
            .filter(|s| !s.is_retraction && Some(s.key) != best)
            .min_by(|a, b| (a.issued_at, &a.identifier).cmp(&(b.issued_at, &b.identifier)))
            .map(|s| s.key);
        if let Some(at) = oldest.and_then(|key| stored.iter().position(|s| s.key == key)) {
            let gone = stored.remove(at);
            let left: BTreeSet<Key> = stored.iter().flat_map(Stored::identifiers).collect();
            for identifier in gone.identifiers().filter(|identifier| !left.contains(identifier)) {
                self.mentions.remove(&(identifier, track));
            }
        }
    }

    pub(super) fn members(&self, id: EventId) -> Vec<Member<'_>> {
        let chains = self.chains_of_event.get(&self.resolve(id)).into_iter();
        chains
            .flat_map(Keys::iter)
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

    /// The numbers of all events, oldest first.
    pub fn numbers(&self) -> impl Iterator<Item = EventId> + '_ {
        self.chains_of_event.keys().copied()
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
            .filter(|id| {
                self.members(*id)
                    .iter()
                    .all(|m| now - m.stored.received_at > keep_events)
            })
            .collect();
        for id in old {
            self.forget(id);
        }
        self.shed(now, keep_events);
        let live: BTreeSet<EventId> = self.chains_of_event.keys().copied().collect();
        self.aliases.retain(|_, to| live.contains(to));
        self.words.forget_unused();
    }

    fn forget(&mut self, id: EventId) {
        self.founders.remove(&id);
        let names = self.chains_of_event.remove(&id);
        for name in names.iter().flat_map(Keys::iter) {
            let Some(chain) = self.chains.remove(name) else {
                continue;
            };
            if let Some(point) = chain.point {
                self.index(&point).remove(&(point.t0, *name));
            }
            for track in chain.tracks.iter() {
                self.drop_track(*track);
            }
        }
    }

    /// Lets go of tracks that are as old, of events that go on: some never end, such as a daily test under one number.
    fn shed(&mut self, now: DateTime<Utc>, keep: Duration) {
        let fresh = |track: &Key| {
            let notices = self.tracks.get(track).into_iter().flatten();
            notices.into_iter().any(|s| now - s.received_at <= keep)
        };
        let worn: Vec<(Key, BTreeSet<Key>)> = (self.chains.iter())
            .map(|(name, chain)| (*name, chain.tracks.iter().copied().filter(|t| fresh(t)).collect()))
            .filter(|(name, left): &(Key, BTreeSet<Key>)| {
                self.chains
                    .get(name)
                    .is_some_and(|c| c.tracks.iter().len() > left.len())
            })
            .collect();
        for (name, left) in worn {
            self.wear(name, &left);
        }
    }

    /// Leaves a chain of an event that goes on with some of its tracks, or with none.
    fn wear(&mut self, name: Key, left: &BTreeSet<Key>) {
        let Some(chain) = self.chains.remove(&name) else { return };
        if let Some(point) = &chain.point {
            self.index(point).remove(&(point.t0, name));
        }
        for track in chain.tracks.iter().filter(|track| !left.contains(track)) {
            self.drop_track(*track);
        }
        let id = chain.event;
        let of_event = self.chains_of_event.get(&id).into_iter().flat_map(Keys::iter);
        let mut names: BTreeSet<Key> = of_event.copied().filter(|other| *other != name).collect();
        if let Some(name) = left.first().copied() {
            names.insert(name);
            for track in left {
                if *track == name {
                    self.chain_of.remove(track);
                } else {
                    self.chain_of.insert(*track, name);
                }
            }
            let tracks = Keys::from(left);
            let point = self.point(&tracks);
            if let Some(point) = &point {
                let entry = (point.t0, name);
                self.index(point).insert(entry);
            }
            self.chains.insert(name, Chain { tracks, point, ..chain });
        }
        self.chains_of_event.insert(id, Keys::from(&names));
        // The number stays with what is left.
        if self
            .founders
            .get(&id)
            .is_some_and(|founder| self.chain_name(*founder).is_none())
            && let Some(heir) = names.first()
        {
            self.founders.insert(id, *heir);
        }
    }

    fn drop_track(&mut self, track: Key) {
        self.chain_of.remove(&track);
        for identifier in self
            .tracks
            .remove(&track)
            .iter()
            .flatten()
            .flat_map(Stored::identifiers)
        {
            self.mentions.remove(&(identifier, track));
        }
    }
}

/// Pointings, lines and utilities are remembered as packets but are no event.
fn makes_an_event(notice: &Notice) -> bool {
    let no_source = notice.flags.contains(&Flag::NotASource) && notice.trigger_id.is_none();
    !(notice.role == Role::Utility || notice.flags.contains(&Flag::LineControl) || no_source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_176_000, 0).unwrap()
    }

    /// A notice of a trigger that cites another packet.
    fn reading(number: usize, trigger: &str, at: DateTime<Utc>) -> Reading {
        let text = format!(
            "<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' version='2.0' role='observation' \
             ivorn='ivo://a.sat/grb#{trigger}-{number}'><What><Param name='TrigID' value='{trigger}'/></What><Why>\
             <Inference><Concept>em.gamma</Concept></Inference></Why><Citations><EventIVORN cite='followup'>\
             ivo://b.sat/grb#{trigger}-{number}</EventIVORN></Citations></voe:VOEvent>"
        );
        crate::read(text.as_bytes(), crate::Channel::Voevent, at)
    }

    #[test]
    fn what_is_kept_of_a_notice_stays_small() {
        assert!(size_of::<Stored>() <= 336, "{}", size_of::<Stored>());
        assert!(size_of::<Chain>() <= 128, "{}", size_of::<Chain>());
    }

    #[test]
    fn a_track_that_never_ends_does_not_grow() {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        for number in 0..3 * MOST_NOTICES {
            assert!(book.insert(&reading(number, "99999", now())).event.is_some());
        }
        assert_eq!(book.tracks.values().map(Vec::len).sum::<usize>(), MOST_NOTICES);
        assert_eq!(
            book.mentions.len(),
            2 * MOST_NOTICES,
            "a notice mentions itself and another"
        );
        assert_eq!(book.size(), (3 * MOST_NOTICES, 1), "identities stay known");
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        for number in 0..50 {
            book.insert(&reading(number, &format!("{}", 1 + number / 2), now()));
        }
        assert_eq!(book.size(), (50, 25));
        let later = now() + Duration::days(31);
        book.insert(&reading(99, "99", later));
        book.prune(later, Duration::days(30), Duration::days(400));
        assert_eq!(book.size(), (51, 1), "the identities are kept for longer");
        assert_eq!((book.tracks.len(), book.mentions.len(), book.chains.len()), (1, 2, 1));
        let later = later + Duration::days(400);
        book.prune(later, Duration::days(30), Duration::days(400));
        assert_eq!(book.size(), (1, 0), "just 400 days old");
        book.prune(later + Duration::seconds(1), Duration::days(30), Duration::days(400));
        assert_eq!(book.size(), (0, 0));
        let left = (
            book.tracks.len(),
            book.mentions.len(),
            book.chains.len(),
            book.founders.len(),
        );
        assert_eq!(left, (0, 0, 0, 0));
        assert!(book.words.is_empty());
    }

    #[test]
    fn an_event_that_never_ends_lets_go_of_what_is_old_and_keeps_its_number() {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        let tied = |number: usize, trigger: &str, to: &str, at| {
            let plain = reading(number, trigger, at);
            let mut notice = (*plain.notice.clone().unwrap()).clone();
            notice.citations[0].ivorn = to.to_owned();
            Reading {
                notice: Some(std::sync::Arc::new(notice)),
                ..plain
            }
        };
        // A test that comes every day under one number, and each time cites a packet of another trigger.
        let mut sizes = Vec::new();
        for day in 0..200_usize {
            let at = now() + Duration::days(i64::try_from(day).unwrap());
            let other = format!("{}", 1000 + day);
            let id = book.insert(&reading(day, &other, at)).event.unwrap();
            let event = book
                .insert(&tied(day, "99999", &format!("ivo://a.sat/grb#{other}-{day}"), at))
                .event;
            assert_eq!(book.resolve(id), EventId(1), "{day}");
            assert_eq!(event, Some(EventId(1)), "{day}");
            book.prune(at, Duration::days(30), Duration::days(60));
            sizes.push((
                book.tracks.len(),
                book.chains.len(),
                book.chain_of.len(),
                book.founders.len(),
            ));
        }
        assert_eq!(sizes[60], sizes[199], "no growth");
        assert_eq!(sizes[199], (32, 1, 31, 1), "31 days of others, and the one");
        assert!(book.mentions.len() <= 2 * (MOST_NOTICES + 32) && book.aliases.len() <= 200);
    }

    #[test]
    fn an_old_packet_is_known_by_its_identity_and_a_forgery_is_a_conflict() {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        let first = reading(1, "7", now());
        let notice = first.notice.clone().unwrap();
        book.recall(&super::super::identity(&notice), now() - Duration::days(100));
        assert_eq!(
            book.insert(&first).reason,
            Reason::DuplicateIvorn,
            "its bytes are not known any more"
        );
        let mut forged = (*notice).clone();
        forged.content_sha256 = "0".repeat(64);
        let forged = Reading {
            notice: Some(std::sync::Arc::new(forged)),
            ..first
        };
        assert_eq!(book.insert(&forged).verdict, Verdict::Conflict);
        for garbage in ["", "xyz", &"g".repeat(64), &"0".repeat(63)] {
            book.recall(garbage, now());
        }
        assert_eq!(book.size().0, 1);
    }
}
