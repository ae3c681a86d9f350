//! Chains of tracks, tied by citations, and the groups of chains that are one event.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::book::{EventBook, MOST_NEIGHBOURS};
use super::grouping::TrackPoint;
use super::key::Key;
use super::keys::Keys;
use super::outcome::{Change, EventId};

/// A set of tracks tied by citations.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub tracks: Keys,
    pub point: Option<TrackPoint>,
    pub is_test: bool,
    pub event: EventId,
}

impl EventBook {
    /// The name of a track's chain.
    pub(super) fn chain_name(&self, track: Key) -> Option<Key> {
        let other = self.chain_of.get(&track).copied();
        other.or_else(|| self.chains.contains_key(&track).then_some(track))
    }

    /// All tracks that citations tie to this one.
    fn tied(&self, start: Key) -> BTreeSet<Key> {
        let mut found = BTreeSet::from([start]);
        let mut open = vec![start];
        while let Some(track) = open.pop() {
            for stored in self.tracks.get(&track).into_iter().flatten() {
                for identifier in stored.identifiers().filter(|i| self.mentions.contains(&(*i, track))) {
                    for other in self.mentioned_by(identifier) {
                        if found.insert(other) {
                            open.push(other);
                        }
                    }
                }
            }
        }
        found
    }

    /// Chains whose trigger times hang together with `t0` by steps no longer than the rule's reach; sub-threshold ones
    /// change nothing for others and are left out. `None` in a crowd.
    fn neighbourhood(&self, t0: DateTime<Utc>) -> Option<Vec<Key>> {
        let reach = self.rules.reach();
        let mut found = Vec::new();
        let later = self.by_time.range((t0, Key::LEAST)..);
        let earlier = self.by_time.range(..(t0, Key::LEAST)).rev();
        let mut edge = t0;
        for (_, chain) in later.take_while(|(t, _)| {
            let near = *t - edge <= reach;
            edge = *t;
            near
        }) {
            found.push(*chain);
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
            found.push(*chain);
            if found.len() > MOST_NEIGHBOURS {
                return None;
            }
        }
        Some(found)
    }

    pub(super) fn index(&mut self, point: &TrackPoint) -> &mut BTreeSet<(DateTime<Utc>, Key)> {
        if point.sub_threshold {
            &mut self.weak_by_time
        } else {
            &mut self.by_time
        }
    }

    /// Rebuilds the chain of a track and the groups around it.
    pub(super) fn regroup(&mut self, track: Key) -> (EventId, Change, Vec<EventId>) {
        let mut tracks = self.tied(track);
        let old: BTreeSet<Key> = tracks.iter().filter_map(|t| self.chain_name(*t)).collect();
        // What tied some of them may be among the notices that a crowded track let go.
        let tied_before = old.iter().filter_map(|n| self.chains.get(n));
        tracks.extend(tied_before.flat_map(|c| c.tracks.iter()));
        let Some(name) = tracks.first().copied() else {
            return (EventId(0), Change::None, Vec::new());
        };
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
            if *t == name {
                self.chain_of.remove(t);
            } else {
                self.chain_of.insert(*t, name);
            }
        }
        let tracks = Keys::from(&tracks);
        let point = self.point(&tracks);
        let is_test = self.members_of_tracks(tracks.iter()).iter().any(|m| m.stored.is_test);
        if let Some(point) = &point {
            let entry = (point.t0, name);
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
            name,
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
                let mut around: BTreeSet<Key> = around.into_iter().flatten().collect();
                self.widen(&mut around, &times, &inherited);
                around.insert(name);
                let events = around.iter().filter_map(|n| self.chains.get(n)).map(|c| c.event);
                let before: BTreeSet<EventId> = events.chain(inherited).filter(|id| id.0 != 0).collect();
                let groups = self.groups(&around);
                self.assign(groups, &before, name, known)
            }
            around => {
                let near = around.into_iter().flatten().flatten().collect();
                let home = if alone {
                    self.home_of_weak(name, &near)
                } else {
                    inherited.first().copied()
                };
                let (groups, before) = self.around_home(name, home, inherited, alone);
                self.assign(groups, &before, name, known)
            }
        }
    }

    /// The event of a chain that a notice more left as it was: same tracks, same time, same place.
    fn unchanged(&self, tracks: &BTreeSet<Key>, old: &BTreeSet<Key>) -> Option<EventId> {
        let chain = self.chains.get(old.first().filter(|_| old.len() == 1)?)?;
        let is_test = self.members_of_tracks(tracks.iter()).iter().any(|m| m.stored.is_test);
        let tracks = Keys::from(tracks);
        let same = chain.tracks == tracks && chain.is_test == is_test && chain.point == self.point(&tracks);
        same.then_some(chain.event)
    }

    /// Takes chains out of every index; the events they were of.
    fn unlink(&mut self, chains: &BTreeSet<Key>) -> Vec<EventId> {
        let mut events = Vec::new();
        for name in chains {
            let Some(chain) = self.chains.remove(name) else {
                continue;
            };
            if !events.contains(&chain.event) {
                events.push(chain.event);
            }
            if let Some(point) = chain.point {
                self.index(&point).remove(&(point.t0, *name));
            }
            if let Some(names) = self.chains_of_event.get_mut(&chain.event) {
                names.remove(*name);
            }
        }
        events.sort_unstable();
        events
    }

    /// Adds the sub-threshold chains in reach, and every chain of the events concerned.
    fn widen(&self, around: &mut BTreeSet<Key>, times: &[DateTime<Utc>], inherited: &[EventId]) {
        let reach = self.rules.reach();
        let spans = around
            .iter()
            .filter_map(|n| self.chains.get(n))
            .filter_map(|c| c.point.as_ref().map(|p| p.t0));
        let spans: Vec<DateTime<Utc>> = spans.chain(times.iter().copied()).collect();
        if let (Some(first), Some(last)) = (spans.iter().min(), spans.iter().max()) {
            let weak = self.weak_by_time.range((*first - reach, Key::LEAST)..);
            around.extend(weak.take_while(|(t, _)| *t <= *last + reach).map(|(_, name)| *name));
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
                .flat_map(Keys::iter)
                .copied(),
        );
    }

    /// The event a sub-threshold chain joins: it changes nothing for the others.
    fn home_of_weak(&self, name: Key, near: &BTreeSet<Key>) -> Option<EventId> {
        let chain = self.chains.get(&name)?;
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
        name: Key,
        home: Option<EventId>,
        inherited: Vec<EventId>,
        alone: bool,
    ) -> (Vec<BTreeSet<Key>>, BTreeSet<EventId>) {
        let of = |id: &EventId| -> BTreeSet<Key> {
            let chains = self.chains_of_event.get(id).into_iter();
            chains.flat_map(Keys::iter).copied().collect()
        };
        let mut mine = BTreeSet::from([name]);
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
    fn groups(&self, around: &BTreeSet<Key>) -> Vec<BTreeSet<Key>> {
        let mut groups: Vec<BTreeSet<Key>> = Vec::new();
        for test in [false, true] {
            let chains = || {
                around
                    .iter()
                    .filter_map(|n| self.chains.get(n).map(|c| (n, c)))
                    .filter(|(_, c)| c.is_test == test)
            };
            let timed: Vec<(Key, &TrackPoint)> = chains()
                .filter_map(|(n, c)| c.point.as_ref().map(|p| (*n, p)))
                .collect();
            let points: Vec<&TrackPoint> = timed.iter().map(|(_, p)| *p).collect();
            let mut by_leader: BTreeMap<usize, BTreeSet<Key>> = BTreeMap::new();
            for (leader, (name, _)) in self.rules.group(&points).into_iter().zip(&timed) {
                by_leader.entry(leader).or_default().insert(*name);
            }
            groups.extend(by_leader.into_values());
            groups.extend(
                chains()
                    .filter(|(_, c)| c.point.is_none())
                    .map(|(n, _)| BTreeSet::from([*n])),
            );
        }
        groups
    }

    /// Whether no event has that number, or gave it up.
    pub(super) fn is_free(&self, id: EventId) -> bool {
        !(self.founders.contains_key(&id) || self.aliases.contains_key(&id) || self.chains_of_event.contains_key(&id))
    }

    /// Gives an event another number, a free one.
    pub(super) fn renumber(&mut self, from: EventId, to: EventId) {
        let Some(chains) = self.chains_of_event.remove(&from) else {
            return;
        };
        for name in chains.iter() {
            if let Some(chain) = self.chains.get_mut(name) {
                chain.event = to;
            }
        }
        self.chains_of_event.insert(to, chains);
        if let Some(founder) = self.founders.remove(&from) {
            self.founders.insert(to, founder);
        }
        for target in self.aliases.values_mut().filter(|target| **target == from) {
            *target = to;
        }
    }

    /// The number of a new event: the one it had in an earlier run, if that is not taken, else the next. Events that
    /// one packet founds are numbered in the same order in every run.
    fn new_number(&mut self) -> EventId {
        let given = self.given.iter().copied().find(|id| self.is_free(*id));
        let id = given.unwrap_or(EventId(self.next));
        self.given.remove(&id);
        self.next = self.next.max(id.0 + 1);
        id
    }

    /// Gives each group its number: that of the event founded by one of its tracks, the oldest first, else a new one.
    fn assign(
        &mut self,
        mut groups: Vec<BTreeSet<Key>>,
        before: &BTreeSet<EventId>,
        changed: Key,
        known: bool,
    ) -> (EventId, Change, Vec<EventId>) {
        for id in before {
            self.chains_of_event.remove(id);
        }
        groups.sort_by_key(|group| (!group.contains(&changed), group.first().copied()));
        let mut founded: BTreeMap<Key, Vec<EventId>> = BTreeMap::new();
        for id in before {
            if let Some(chain) = self.founders.get(id).and_then(|t| self.chain_name(*t)) {
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
                let id = self.new_number();
                let founder = group
                    .first()
                    .and_then(|c| self.chains.get(c))
                    .and_then(|c| c.tracks.iter().next())
                    .copied();
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
            if group.contains(&changed) {
                mine = id;
            }
            if moved || group.contains(&changed) {
                touched.push(id);
            }
            self.chains_of_event.insert(id, Keys::from(&group));
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
}

fn weak(point: Option<&TrackPoint>) -> bool {
    point.is_some_and(|p| p.sub_threshold)
}
