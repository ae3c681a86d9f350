//! An event as the rest of the house sees it, computed from its notices.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::outcome::EventId;
use super::stored::{Numbers, Stored};
use crate::notice::{Class, Flag, Position, SkyMap, TimeKind};
use crate::reason::Reason;

/// Where an event stands.
///
/// ```text
///  new ──more notices──► updated ──another mission──► merged
///   └──────────┴────────── every source withdrawn ──────┴──► retracted
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// One notice.
    New,
    /// Several notices of one mission.
    Updated,
    /// Notices of several missions.
    Merged,
    /// Withdrawn by those who announced it.
    Retracted,
}

/// One position an event had, with where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionRecord {
    /// Key of the notice.
    pub notice_key: String,
    /// Stream of the notice.
    pub stream: String,
    /// When the notice was made, or reached us when it does not say.
    pub at: DateTime<Utc>,
    /// The position.
    pub position: Position,
    /// Withdrawn or replaced: kept for the record only.
    pub void: bool,
}

/// One physical event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// Where it stands.
    pub state: EventState,
    /// Names: mission/trigger id, then whatever the notices call it.
    pub names: Vec<String>,
    /// Missions that spoke of it and were not withdrawn.
    pub missions: BTreeSet<String>,
    /// What it is, said by those missions.
    pub classes: BTreeSet<Class>,
    /// Streams of its standing notices.
    pub streams: BTreeSet<String>,
    /// Trigger time; the earliest of the standing trigger notices.
    pub t0: Option<DateTime<Utc>>,
    /// The best position: smallest 90 % radius among standing notices, the newest among equals.
    pub best: Option<PositionRecord>,
    /// Every position it had, oldest first.
    pub positions: Vec<PositionRecord>,
    /// Newest standing sky map.
    pub skymap: Option<SkyMap>,
    /// Marks of the notices that count: those of the newest standing notice of each track.
    pub flags: BTreeSet<Flag>,
    /// Measures, the newest standing value of each.
    pub measures: BTreeMap<String, f64>,
    /// VOEvent importance of the newest standing notice that states one.
    pub importance: Option<f64>,
    /// Class probabilities, the newest standing value of each.
    pub classification: BTreeMap<String, f64>,
    /// Keys of all its notices, in order of time.
    pub notice_keys: Vec<String>,
    /// It is a test.
    pub is_test: bool,
    /// All standing notices are preliminary.
    pub is_preliminary: bool,
    /// When the first notice reached us.
    pub first_received_at: DateTime<Utc>,
    /// When the last notice reached us.
    pub last_received_at: DateTime<Utc>,
    /// The reason against acting upon the most actable standing notice; `Ok` when there is none.
    pub reason: Reason,
}

/// A notice of an event and what the book knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub stored: &'a Stored,
    pub track: Key,
    /// Withdrawn by a trusted retraction.
    pub withdrawn: bool,
    /// Replaced by its own author.
    pub superseded: bool,
}

impl Member<'_> {
    fn at(&self) -> DateTime<Utc> {
        self.stored.issued_at.unwrap_or(self.stored.received_at)
    }

    pub fn stands(&self) -> bool {
        !self.withdrawn && !self.superseded && !self.stored.is_retraction
    }
}

/// Order of notices in time that does not depend on arrival.
fn chronological(a: &Member<'_>, b: &Member<'_>) -> std::cmp::Ordering {
    let (a, b) = (a.stored, b.stored);
    let moment = |s: &Stored| s.issued_at.or(s.event_time);
    moment(a)
        .cmp(&moment(b))
        .then(a.sequence.cmp(&b.sequence))
        .then_with(|| a.identifier.cmp(&b.identifier))
}

/// The best position: smallest 90 % radius, positions without one last, the newest among equals.
fn best_position(members: &[Member<'_>]) -> Option<PositionRecord> {
    members
        .iter()
        .filter(|m| m.stands())
        .filter_map(|m| m.stored.position.map(|p| (m, p)))
        .min_by(|(a, _), (b, _)| {
            let r90 = |m: &Member<'_>| m.stored.r90_deg.unwrap_or(f64::INFINITY);
            r90(a).total_cmp(&r90(b)).then_with(|| chronological(b, a))
        })
        .map(|(m, position)| record(m, position))
}

fn record(member: &Member<'_>, position: Position) -> PositionRecord {
    PositionRecord {
        notice_key: member.stored.identifier.to_string(),
        stream: member.stored.stream.to_string(),
        at: member.at(),
        position,
        void: !member.stands(),
    }
}

/// Marks of an event: a later notice of a track may lift a mark that an earlier one set.
fn flags(members: &[Member<'_>]) -> BTreeSet<Flag> {
    let mut newest: BTreeMap<Key, &Member<'_>> = BTreeMap::new();
    // Products (images, light curves) say nothing about the event as a whole.
    for member in members
        .iter()
        .filter(|m| m.stands() && !m.stored.flags.contains(&Flag::NotASource))
    {
        newest.insert(member.track, member);
    }
    newest.values().flat_map(|m| m.stored.flags.iter().copied()).collect()
}

/// Names in order of first use, as many as anybody would read.
fn names(members: &[Member<'_>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for member in members {
        let own = member
            .stored
            .trigger_id
            .as_ref()
            .map(|id| format!("{} {id}", member.stored.mission));
        for name in own
            .into_iter()
            .chain(member.stored.names.iter().map(ToString::to_string))
        {
            if names.len() < 50 && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

pub(super) fn summarise(id: EventId, mut members: Vec<Member<'_>>) -> Option<Event> {
    members.sort_by(chronological);
    let standing: Vec<&Member<'_>> = members.iter().filter(|m| m.stands()).collect();
    let missions: BTreeSet<&str> = standing.iter().map(|m| &*m.stored.mission).collect();
    let names = names(&members);
    let state = match (standing.len(), missions.len()) {
        (0, _) => EventState::Retracted,
        (1, _) => EventState::New,
        (_, 1) => EventState::Updated,
        _ => EventState::Merged,
    };
    let trigger_time = |kind: fn(TimeKind) -> bool| {
        standing
            .iter()
            .filter(|m| kind(m.stored.time_kind))
            .filter_map(|m| m.stored.event_time)
            .min()
    };
    let t0 = trigger_time(|k| k == TimeKind::Trigger).or_else(|| trigger_time(|_| true));
    let newest = |of: fn(&Stored) -> &Numbers| -> BTreeMap<String, f64> {
        let values: BTreeMap<&str, f64> = standing
            .iter()
            .flat_map(|m| of(m.stored).iter().map(|(name, value)| (&**name, *value)))
            .collect();
        values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    let last_reason = standing.last().map(|m| m.stored.reason);
    let reason = if standing.is_empty() {
        Reason::Retraction
    } else if standing.iter().any(|m| m.stored.reason == Reason::Ok) {
        Reason::Ok
    } else {
        last_reason.unwrap_or(Reason::NoPosition)
    };
    Some(Event {
        id,
        state,
        names,
        classes: standing
            .iter()
            .map(|m| m.stored.class)
            .filter(|c| *c != Class::Unknown)
            .collect(),
        streams: {
            let streams: BTreeSet<&str> = standing.iter().map(|m| &*m.stored.stream).collect();
            streams.into_iter().map(str::to_owned).collect()
        },
        t0,
        best: best_position(&members),
        positions: members
            .iter()
            .filter_map(|m| m.stored.position.map(|p| record(m, p)))
            .collect(),
        skymap: standing.iter().rev().find_map(|m| m.stored.skymap.as_deref().cloned()),
        flags: flags(&members),
        measures: newest(|s| &s.measures),
        importance: standing.iter().rev().find_map(|m| m.stored.importance),
        classification: newest(|s| &s.classification),
        notice_keys: members.iter().map(|m| m.stored.identifier.to_string()).collect(),
        is_test: members.iter().any(|m| m.stored.is_test),
        is_preliminary: !standing.is_empty() && standing.iter().all(|m| m.stored.is_preliminary),
        first_received_at: members.iter().map(|m| m.stored.received_at).min()?,
        last_received_at: members.iter().map(|m| m.stored.received_at).max()?,
        missions: missions.into_iter().map(str::to_owned).collect(),
        reason,
    })
}
