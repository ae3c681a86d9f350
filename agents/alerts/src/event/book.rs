//! The book of packets and events: duplicates, citations, updates, retractions, grouping.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grouping::{MergeRules, TrackPoint};
use super::summary::{self, Event, Member};
use crate::format::voevent::authority;
use crate::notice::{CiteKind, Flag, Notice, Role, SkyMap, TimeKind};
use crate::read::Reading;
use crate::reason::{Reason, Verdict};

/// Number of an event; given in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub u64);

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who may withdraw whose packets, beside each authority its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Authorities (`nasa.gsfc.gcn`) whose retractions hold for every author.
    pub retract_for_all: BTreeSet<String>,
}

/// What a packet changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Nothing: rejected, a duplicate, a conflict, or about no event.
    None,
    /// A new event.
    Created,
    /// A notice more of an event known already.
    Updated,
    /// Events that were apart are one; the others' numbers now lead to this one.
    Merged {
        /// The numbers that were given up.
        absorbed: Vec<EventId>,
    },
    /// An event turned out to be several.
    Split {
        /// The new numbers.
        parts: Vec<EventId>,
    },
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict, with what the book knows.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The event it belongs to.
    pub event: Option<EventId>,
    /// What it changed.
    pub change: Change,
    /// Events whose summary may have changed, this one included.
    pub touched: Vec<EventId>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    content: [u8; 16],
    bytes: [u8; 16],
    at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
struct Stored {
    notice: Notice,
    track: String,
    reason: Reason,
    received_at: DateTime<Utc>,
}

/// A set of tracks tied by citations.
#[derive(Clone, Debug)]
struct Chain {
    tracks: BTreeSet<String>,
    point: Option<TrackPoint>,
    is_test: bool,
    event: EventId,
}

/// The state: what was seen and how it hangs together.
#[derive(Clone, Debug, Default)]
pub struct EventBook {
    rules: MergeRules,
    trust: Trust,
    seen: BTreeMap<[u8; 16], Seen>,
    notices: BTreeMap<String, Stored>,
    tracks: BTreeMap<String, BTreeSet<String>>,
    /// Identifiers that were received or cited, and the tracks that did.
    mentions: BTreeMap<String, BTreeSet<String>>,
    chain_of: BTreeMap<String, String>,
    chains: BTreeMap<String, Chain>,
    by_time: BTreeSet<(DateTime<Utc>, String)>,
    weak_by_time: BTreeSet<(DateTime<Utc>, String)>,
    chains_of_event: BTreeMap<EventId, BTreeSet<String>>,
    founders: BTreeMap<EventId, String>,
    aliases: BTreeMap<EventId, EventId>,
    next: u64,
}

/// Bounds that real traffic never meets; a flood that does loses associations, not packets.
///
/// Tracks that may mention one identifier.
const MOST_MENTIONS: usize = 64;
/// Notices kept of one track: beyond it the oldest go that are neither retractions nor the best position.
const MOST_NOTICES: usize = 100;
/// Tracks whose times hang together; in a thicker crowd nothing is taken for the same event by time any more.
const MOST_NEIGHBOURS: usize = 512;

fn short(hash: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(hash) {
        *to = *from;
    }
    out
}

/// The first half of a hexadecimal hash, packed.
fn packed(hex: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| {
            char::from(b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
                .unwrap_or(0)
        };
        *to = digit(pair[0]) << 4 | digit(pair[1]);
    }
    out
}

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
        let key = short(&Sha256::digest(&notice.key));
        let now = Seen {
            content: packed(&notice.content_sha256),
            bytes: packed(&reading.bytes_sha256),
            at: reading.received_at,
        };
        if let Some(before) = self.seen.get(&key) {
            return if before.bytes == now.bytes {
                plain(Verdict::Duplicate, Reason::DuplicateBytes)
            } else if before.content == now.content {
                plain(Verdict::Duplicate, Reason::DuplicateIvorn)
            } else {
                plain(Verdict::Conflict, Reason::IvornConflict)
            };
        }
        self.seen.insert(key, now);
        if notice.is_retraction && self.is_foreign(notice) {
            return plain(Verdict::Ignore, Reason::ForeignRetraction);
        }
        if !makes_an_event(notice) {
            return plain(reading.verdict, reading.reason);
        }
        self.add(notice, reading)
    }

    /// Whether every packet that a retraction names is somebody else's.
    fn is_foreign(&self, retraction: &Notice) -> bool {
        let mut cited = retraction
            .citations
            .iter()
            .filter(|c| c.kind == CiteKind::Retraction)
            .peekable();
        cited.peek().is_some() && cited.all(|c| !self.may_retract(&retraction.author, &authority(&c.ivorn)))
    }

    fn may_retract(&self, by: &str, of: &str) -> bool {
        by == of || self.trust.retract_for_all.contains(by)
    }

    fn add(&mut self, notice: &Notice, reading: &Reading) -> Outcome {
        let track = notice.trigger_key().unwrap_or_else(|| format!("notice/{}", notice.key));
        let key = notice.key.clone();
        let mut mentioned: Vec<String> = vec![key.clone()];
        mentioned.extend(
            notice
                .citations
                .iter()
                .filter(|c| c.kind != CiteKind::Retraction || self.may_retract(&notice.author, &authority(&c.ivorn)))
                .map(|c| c.ivorn.to_ascii_lowercase()),
        );
        for ivorn in mentioned {
            let tracks = self.mentions.entry(ivorn).or_default();
            if tracks.len() < MOST_MENTIONS {
                tracks.insert(track.clone());
            }
        }
        self.tracks.entry(track.clone()).or_default().insert(key.clone());
        self.keep_newest_map(&track, notice);
        self.thin(&track);
        let stored = Stored {
            notice: notice.clone(),
            track: track.clone(),
            reason: reading.reason,
            received_at: reading.received_at,
        };
        self.notices.insert(key.clone(), stored);
        let (event, change, touched) = self.regroup(&track);
        let withdrawn = reading.verdict == Verdict::Act
            && self
                .members(event)
                .into_iter()
                .any(|m| m.notice.key == key && m.withdrawn);
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

    /// Only the newest map of a track is carried: they are megabytes, and mocks send them by the hour.
    fn keep_newest_map(&mut self, track: &str, newest: &Notice) {
        if !newest.has_skymap() {
            return;
        }
        for key in self.tracks.get(track).into_iter().flatten() {
            if let Some(stored) = self.notices.get_mut(key)
                && stored.notice.has_skymap()
                && stored.notice.issued_at <= newest.issued_at
            {
                stored.notice.skymap = Some(SkyMap::Url("superseded".to_string()));
            }
        }
    }

    /// Forgets what a crowded track can spare; its identities stay known.
    fn thin(&mut self, track: &str) {
        let keys = self.tracks.get(track).map_or(0, BTreeSet::len);
        if keys <= MOST_NOTICES {
            return;
        }
        let stored = self
            .tracks
            .get(track)
            .into_iter()
            .flatten()
            .filter_map(|k| self.notices.get(k).map(|s| (k, s)));
        let r90 = |s: &Stored| {
            s.notice
                .usable_position()
                .and_then(|p| p.r90_deg())
                .unwrap_or(f64::INFINITY)
        };
        let best = stored
            .clone()
            .min_by(|a, b| r90(a.1).total_cmp(&r90(b.1)))
            .map(|(k, _)| k.clone());
        let oldest = stored
            .filter(|(k, s)| !s.notice.is_retraction && Some(*k) != best.as_ref())
            .min_by(|a, b| (a.1.notice.issued_at, a.0).cmp(&(b.1.notice.issued_at, b.0)))
            .map(|(k, _)| k.clone());
        if let (Some(oldest), Some(keys)) = (oldest, self.tracks.get_mut(track)) {
            keys.remove(&oldest);
            self.notices.remove(&oldest);
        }
    }

    /// All tracks that citations tie to this one.
    fn tied(&self, start: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([start.to_string()]);
        let mut open = vec![start.to_string()];
        while let Some(track) = open.pop() {
            let Some(keys) = self.tracks.get(&track) else { continue };
            let notices = keys.iter().filter_map(|k| self.notices.get(k).map(|s| (k, s)));
            for (key, stored) in notices {
                let cited = stored.notice.citations.iter().map(|c| c.ivorn.to_ascii_lowercase());
                for ivorn in cited.chain([key.clone()]) {
                    let tracks = self.mentions.get(&ivorn).filter(|tracks| tracks.contains(&track));
                    for other in tracks.into_iter().flatten() {
                        if found.insert(other.clone()) {
                            open.push(other.clone());
                        }
                    }
                }
            }
        }
        found
    }

    /// Members of some tracks, with what the retractions and replacements among them do.
    fn members_of_tracks<'a>(&'a self, tracks: impl Iterator<Item = &'a String>) -> Vec<Member<'a>> {
        let stored: Vec<&Stored> = tracks
            .filter_map(|t| self.tracks.get(t))
            .flatten()
            .filter_map(|key| self.notices.get(key))
            .collect();
        let mut withdrawn_keys: BTreeSet<String> = BTreeSet::new();
        let mut superseded: BTreeSet<String> = BTreeSet::new();
        let mut withdrawn_tracks: BTreeSet<(&str, &str)> = BTreeSet::new();
        for s in &stored {
            for citation in &s.notice.citations {
                let ivorn = citation.ivorn.to_ascii_lowercase();
                let allowed = self.may_retract(&s.notice.author, &authority(&citation.ivorn));
                match citation.kind {
                    CiteKind::Retraction if allowed => drop(withdrawn_keys.insert(ivorn)),
                    CiteKind::Supersedes if allowed => drop(superseded.insert(ivorn)),
                    _ => {}
                }
            }
            if s.notice.is_retraction && s.notice.trigger_id.is_some() {
                withdrawn_tracks.insert((&s.track, &s.notice.author));
            }
        }
        stored
            .iter()
            .map(|s| Member {
                notice: &s.notice,
                track: &s.track,
                reason: s.reason,
                received_at: s.received_at,
                withdrawn: withdrawn_keys.contains(&s.notice.key)
                    || withdrawn_tracks.contains(&(s.track.as_str(), s.notice.author.as_str())),
                // Two packets that replace each other leave both standing rather than none.
                superseded: superseded.contains(&s.notice.key) && !cites_replacer(s, &stored),
            })
            .collect()
    }

    fn point(&self, tracks: &BTreeSet<String>) -> Option<TrackPoint> {
        let members = self.members_of_tracks(tracks.iter());
        let withdrawn = !members.iter().any(Member::stands);
        let counted = || members.iter().filter(|m| withdrawn || m.stands());
        let t0 = counted()
            .filter(|m| m.notice.time_kind == TimeKind::Trigger)
            .filter_map(|m| m.notice.event_time)
            .min()?;
        let place = counted()
            .filter_map(|m| m.notice.usable_position())
            .filter_map(|p| p.r90_deg().map(|r90| (p.ra_deg, p.dec_deg, r90)))
            .min_by(|a, b| a.2.total_cmp(&b.2).then(a.0.total_cmp(&b.0)).then(a.1.total_cmp(&b.1)));
        Some(TrackPoint {
            key: tracks.first()?.clone(),
            t0,
            place,
            sub_threshold: counted().all(|m| m.notice.flags.contains(&Flag::SubThreshold)),
            distant: counted().any(|m| m.notice.stream.starts_with("konus/")),
            withdrawn,
        })
    }

    /// Chains whose trigger times hang together with `t0` by steps no longer than the rule's reach; sub-threshold ones
    /// change nothing for others and are left out. `None` in a crowd.
    fn neighbourhood(&self, t0: DateTime<Utc>) -> Option<BTreeSet<String>> {
        let reach = self.rules.reach();
        let mut found = BTreeSet::new();
        let later = self.by_time.range((t0, String::new())..);
        let earlier = self.by_time.range(..(t0, String::new())).rev();
        let mut edge = t0;
        for (_, chain) in later.take_while(|(t, _)| {
            let near = *t - edge <= reach;
            edge = *t;
            near
        }) {
            found.insert(chain.clone());
            if found.len() > MOST_NEIGHBOURS {
                return None;
            }
        }
        let mut edge = t0;
        for (_, chain) in earlier.take_while(|(t, _)| {
            let near = edge - *t <= reach;
            edge = *t;
            near
        }) {
            found.insert(chain.clone());
            if found.len() > MOST_NEIGHBOURS {
                return None;
            }
        }
        Some(found)
    }

    fn index(&mut self, point: &TrackPoint) -> &mut BTreeSet<(DateTime<Utc>, String)> {
        if point.sub_threshold {
            &mut self.weak_by_time
        } else {
            &mut self.by_time
        }
    }

    /// Rebuilds the chain of a track and the groups around it.
    fn regroup(&mut self, track: &str) -> (EventId, Change, Vec<EventId>) {
        let tracks = self.tied(track);
        let Some(name) = tracks.first().cloned() else {
            return (EventId(0), Change::None, Vec::new());
        };
        let old: BTreeSet<String> = tracks.iter().filter_map(|t| self.chain_of.get(t)).cloned().collect();
        if let Some(event) = self.unchanged(&tracks, &old) {
            return (event, Change::Updated, vec![event]);
        }
        let was_weak = old
            .iter()
            .filter_map(|n| self.chains.get(n))
            .all(|c| weak(c.point.as_ref()));
        let mut times: Vec<DateTime<Utc>> = old
            .iter()
            .filter_map(|n| self.chains.get(n))
            .filter_map(|c| c.point.as_ref().map(|p| p.t0))
            .collect();
        let mut around = times
            .iter()
            .map(|t0| self.neighbourhood(*t0))
            .collect::<Option<Vec<_>>>();
        let inherited = self.unlink(&old);
        for t in &tracks {
            self.chain_of.insert(t.clone(), name.clone());
        }
        let point = self.point(&tracks);
        let is_test = self.members_of_tracks(tracks.iter()).iter().any(|m| m.notice.is_test);
        if let Some(point) = &point {
            let entry = (point.t0, name.clone());
            self.index(point).insert(entry);
            times.push(point.t0);
            let near = self.neighbourhood(point.t0);
            around = around.zip(near).map(|(mut all, near)| {
                all.push(near);
                all
            });
        }
        let alone = weak(point.as_ref()) && was_weak && old.len() <= 1;
        self.chains.insert(
            name.clone(),
            Chain {
                tracks,
                point,
                is_test,
                event: EventId(0),
            },
        );
        let known = !inherited.is_empty();
        match around {
            Some(around) if !alone => {
                let mut around: BTreeSet<String> = around.into_iter().flatten().collect();
                self.widen(&mut around, &times, &inherited);
                around.insert(name.clone());
                let events = around.iter().filter_map(|n| self.chains.get(n)).map(|c| c.event);
                let before: BTreeSet<EventId> = events.chain(inherited).filter(|id| id.0 != 0).collect();
                let groups = self.groups(&around);
                self.assign(groups, &before, &name, known)
            }
            around => {
                let near = around.into_iter().flatten().flatten().collect();
                let home = if alone {
                    self.home_of_weak(&name, &near)
                } else {
                    inherited.first().copied()
                };
                let (groups, before) = self.around_home(&name, home, inherited, alone);
                self.assign(groups, &before, &name, known)
            }
        }
    }

    /// The event of a chain that a notice more left as it was: same tracks, same time, same place.
    fn unchanged(&self, tracks: &BTreeSet<String>, old: &BTreeSet<String>) -> Option<EventId> {
        let chain = self.chains.get(old.first().filter(|_| old.len() == 1)?)?;
        let is_test = self.members_of_tracks(tracks.iter()).iter().any(|m| m.notice.is_test);
        let same = chain.tracks == *tracks && chain.is_test == is_test && chain.point == self.point(tracks);
        same.then_some(chain.event)
    }

    /// Takes chains out of every index; the events they were of.
    fn unlink(&mut self, chains: &BTreeSet<String>) -> Vec<EventId> {
        let mut events = Vec::new();
        for name in chains {
            let Some(chain) = self.chains.remove(name) else {
                continue;
            };
            if !events.contains(&chain.event) {
                events.push(chain.event);
            }
            if let Some(point) = chain.point {
                self.index(&point).remove(&(point.t0, name.clone()));
            }
            if let Some(names) = self.chains_of_event.get_mut(&chain.event) {
                names.remove(name);
            }
        }
        events.sort_unstable();
        events
    }

    /// Adds the sub-threshold chains in reach, and every chain of the events concerned.
    fn widen(&self, around: &mut BTreeSet<String>, times: &[DateTime<Utc>], inherited: &[EventId]) {
        let reach = self.rules.reach();
        let spans = around
            .iter()
            .filter_map(|n| self.chains.get(n))
            .filter_map(|c| c.point.as_ref().map(|p| p.t0));
        let spans: Vec<DateTime<Utc>> = spans.chain(times.iter().copied()).collect();
        if let (Some(first), Some(last)) = (spans.iter().min(), spans.iter().max()) {
            let weak = self.weak_by_time.range((*first - reach, String::new())..);
            around.extend(
                weak.take_while(|(t, _)| *t <= *last + reach)
                    .map(|(_, name)| name.clone()),
            );
        }
        let events: BTreeSet<EventId> = around
            .iter()
            .filter_map(|n| self.chains.get(n))
            .map(|c| c.event)
            .chain(inherited.iter().copied())
            .collect();
        around.extend(
            events
                .iter()
                .filter_map(|id| self.chains_of_event.get(id))
                .flatten()
                .cloned(),
        );
    }

    /// The event a sub-threshold chain joins: it changes nothing for the others.
    fn home_of_weak(&self, name: &str, near: &BTreeSet<String>) -> Option<EventId> {
        let chain = self.chains.get(name)?;
        let own = chain.point.as_ref()?;
        let others: Vec<(&Chain, &TrackPoint)> = near
            .iter()
            .filter_map(|n| self.chains.get(n))
            .filter(|c| c.is_test == chain.is_test)
            .filter_map(|c| c.point.as_ref().map(|p| (c, p)))
            .collect();
        let mut points: Vec<&TrackPoint> = others.iter().map(|(_, p)| *p).collect();
        points.push(own);
        let leader = *self.rules.group(&points).last()?;
        others.get(leader).map(|(c, _)| c.event)
    }

    /// Groups when a chain joins `home`, or stands alone, and everything else stays as it is.
    fn around_home(
        &self,
        name: &str,
        home: Option<EventId>,
        inherited: Vec<EventId>,
        alone: bool,
    ) -> (Vec<BTreeSet<String>>, BTreeSet<EventId>) {
        let of = |id: &EventId| self.chains_of_event.get(id).cloned().unwrap_or_default();
        let mut mine = BTreeSet::from([name.to_string()]);
        mine.extend(home.iter().flat_map(of));
        let mut groups = Vec::new();
        for id in inherited.iter().filter(|id| Some(**id) != home) {
            let rest = of(id);
            if alone && !rest.is_empty() {
                groups.push(rest);
            } else {
                mine.extend(rest);
            }
        }
        groups.push(mine);
        (groups, inherited.into_iter().chain(home).collect())
    }

    /// The groups of some chains: tests apart from the rest, chains without a trigger time alone.
    fn groups(&self, around: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
        let mut groups: Vec<BTreeSet<String>> = Vec::new();
        for test in [false, true] {
            let chains = || {
                around
                    .iter()
                    .filter_map(|n| self.chains.get(n).map(|c| (n, c)))
                    .filter(|(_, c)| c.is_test == test)
            };
            let timed: Vec<(&String, &TrackPoint)> =
                chains().filter_map(|(n, c)| c.point.as_ref().map(|p| (n, p))).collect();
            let points: Vec<&TrackPoint> = timed.iter().map(|(_, p)| *p).collect();
            let mut by_leader: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
            for (leader, (name, _)) in self.rules.group(&points).into_iter().zip(&timed) {
                by_leader.entry(leader).or_default().insert((*name).clone());
            }
            groups.extend(by_leader.into_values());
            groups.extend(
                chains()
                    .filter(|(_, c)| c.point.is_none())
                    .map(|(n, _)| BTreeSet::from([n.clone()])),
            );
        }
        groups
    }

    /// Gives each group its number: that of the event founded by one of its tracks, the oldest first, else a new one.
    fn assign(
        &mut self,
        mut groups: Vec<BTreeSet<String>>,
        before: &BTreeSet<EventId>,
        changed: &str,
        known: bool,
    ) -> (EventId, Change, Vec<EventId>) {
        for id in before {
            self.chains_of_event.remove(id);
        }
        groups.sort_by_key(|group| (!group.contains(changed), group.first().cloned()));
        let mut founded: BTreeMap<&String, Vec<EventId>> = BTreeMap::new();
        for id in before {
            if let Some(chain) = self.founders.get(id).and_then(|t| self.chain_of.get(t)) {
                founded.entry(chain).or_default().push(*id);
            }
        }
        let owned_by: Vec<Vec<EventId>> = groups
            .iter()
            .map(|g| g.iter().filter_map(|c| founded.get(c)).flatten().copied().collect())
            .collect();
        let (mut mine, mut absorbed, mut parts, mut touched) = (EventId(0), Vec::new(), Vec::new(), Vec::new());
        for (group, mut owned) in groups.into_iter().zip(owned_by) {
            owned.sort_unstable();
            let id = owned.first().copied().unwrap_or_else(|| {
                let id = EventId(self.next);
                self.next += 1;
                let founder = group
                    .first()
                    .and_then(|c| self.chains.get(c))
                    .and_then(|c| c.tracks.first())
                    .cloned();
                self.founders.extend(founder.map(|f| (id, f)));
                parts.push(id);
                id
            });
            for given_up in owned.into_iter().skip(1) {
                self.founders.remove(&given_up);
                self.aliases.insert(given_up, id);
                absorbed.push(given_up);
            }
            let moved = group.iter().any(|c| self.chains.get(c).is_some_and(|c| c.event != id));
            for chain in &group {
                if let Some(chain) = self.chains.get_mut(chain) {
                    chain.event = id;
                }
            }
            if group.contains(changed) {
                mine = id;
            }
            if moved || group.contains(changed) {
                touched.push(id);
            }
            self.chains_of_event.insert(id, group);
        }
        let created = parts.contains(&mine) && !known;
        parts.retain(|p| !(created && *p == mine));
        let change = if !absorbed.is_empty() {
            Change::Merged { absorbed }
        } else if !parts.is_empty() {
            Change::Split { parts }
        } else if created {
            Change::Created
        } else {
            Change::Updated
        };
        (mine, change, touched)
    }

    fn members(&self, id: EventId) -> Vec<Member<'_>> {
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
        self.notices.get(&key.to_ascii_lowercase()).map(|s| &s.notice)
    }

    /// How many packets are remembered, and how many events.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.seen.len(), self.chains_of_event.len())
    }

    /// Forgets events whose last notice is older than `keep_events`, and identities older than `keep_identities`.
    pub fn prune(&mut self, now: DateTime<Utc>, keep_events: Duration, keep_identities: Duration) {
        self.seen.retain(|_, seen| now - seen.at <= keep_identities);
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
                for key in self.tracks.remove(&track).unwrap_or_default() {
                    if let Some(stored) = self.notices.remove(&key) {
                        let cited = stored.notice.citations.iter().map(|c| c.ivorn.to_ascii_lowercase());
                        for ivorn in cited.chain([key]) {
                            if let Some(tracks) = self.mentions.get_mut(&ivorn) {
                                tracks.remove(&track);
                                if tracks.is_empty() {
                                    self.mentions.remove(&ivorn);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn weak(point: Option<&TrackPoint>) -> bool {
    point.is_some_and(|p| p.sub_threshold)
}

/// Whether a packet that replaces `stored` is itself replaced by it: a circle, of which all stand.
fn cites_replacer(stored: &Stored, all: &[&Stored]) -> bool {
    let mine: BTreeSet<String> = stored
        .notice
        .citations
        .iter()
        .filter(|c| c.kind == CiteKind::Supersedes)
        .map(|c| c.ivorn.to_ascii_lowercase())
        .collect();
    all.iter().any(|other| {
        mine.contains(&other.notice.key)
            && other
                .notice
                .citations
                .iter()
                .any(|c| c.kind == CiteKind::Supersedes && c.ivorn.eq_ignore_ascii_case(&stored.notice.key))
    })
}

/// Pointings, lines and utilities are remembered as packets but are no event.
fn makes_an_event(notice: &Notice) -> bool {
    let no_source = notice.flags.contains(&Flag::NotASource) && notice.trigger_id.is_none();
    !(notice.role == Role::Utility || notice.flags.contains(&Flag::LineControl) || no_source)
}
