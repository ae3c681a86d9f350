//! What the book keeps of a notice: as much as an event's summary needs. The packet itself is in the journal.
//!
//! A month is 35,000 notices, so it is kept small: words that come again and again (missions, streams, authors, names
//! of measures) are held once, lists have no room to grow, and what no summary asks for is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::key::Key;
use crate::notice::{CiteKind, Class, Flag, Notice, Position, SkyMap, TimeKind};
use crate::reason::Reason;

/// A notice that counts, and what was found of it when it came.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub key: Key,
    /// The key as it is written.
    pub identifier: Box<str>,
    pub author: Arc<str>,
    pub mission: Arc<str>,
    pub stream: Arc<str>,
    pub trigger_id: Option<Box<str>>,
    pub names: Box<[Box<str>]>,
    /// Where the source is, if that may be used.
    pub position: Option<Position>,
    /// Its 90 % radius, degrees.
    pub r90_deg: Option<f64>,
    pub measures: Numbers,
    pub classification: Numbers,
    pub importance: Option<f64>,
    pub issued_at: Option<DateTime<Utc>>,
    pub event_time: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
    pub sequence: Option<i64>,
    pub skymap: Option<Box<SkyMap>>,
    pub cites: Box<[Cite]>,
    pub flags: Box<[Flag]>,
    pub class: Class,
    pub time_kind: TimeKind,
    pub reason: Reason,
    pub is_test: bool,
    pub is_retraction: bool,
    pub is_preliminary: bool,
}

/// Named numbers, in the order of the names.
pub(super) type Numbers = Box<[(Arc<str>, f64)]>;

/// A citation, as the book needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cite {
    pub kind: CiteKind,
    pub of: Key,
    /// Whether its author may withdraw or replace what is cited.
    pub allowed: bool,
}

/// Words that many notices share, each held once.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(BTreeSet<Arc<str>>);

impl Words {
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.0.get(text) {
            return word.clone();
        }
        let word: Arc<str> = Arc::from(text);
        self.0.insert(word.clone());
        word
    }

    fn numbers(&mut self, named: &BTreeMap<String, f64>) -> Numbers {
        named.iter().map(|(name, value)| (self.word(name), *value)).collect()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets go of words that no notice uses any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|word| Arc::strong_count(word) > 1);
    }
}

impl Stored {
    pub fn new(
        key: Key,
        notice: &Notice,
        cites: Box<[Cite]>,
        reason: Reason,
        received_at: DateTime<Utc>,
        words: &mut Words,
    ) -> Self {
        let position = notice.usable_position();
        Self {
            key,
            identifier: notice.key.as_str().into(),
            author: words.word(&notice.author),
            mission: words.word(&notice.mission),
            stream: words.word(&notice.stream),
            trigger_id: notice.trigger_id.as_deref().map(Box::from),
            names: notice.names.iter().map(|name| Box::from(name.as_str())).collect(),
            position,
            r90_deg: position.and_then(|p| p.r90_deg()),
            measures: words.numbers(&notice.measures),
            classification: words.numbers(&notice.classification),
            importance: notice.importance,
            issued_at: notice.issued_at,
            event_time: notice.event_time,
            received_at,
            sequence: notice.sequence,
            skymap: notice.skymap.clone().map(Box::new),
            cites,
            flags: notice.flags.iter().copied().collect(),
            class: notice.class,
            time_kind: notice.time_kind,
            reason,
            is_test: notice.is_test,
            is_retraction: notice.is_retraction,
            is_preliminary: notice.is_preliminary,
        }
    }

    /// Right ascension, declination and 90 % radius, degrees, where all are known and to be used.
    pub fn place(&self) -> Option<(f64, f64, f64)> {
        let position = self.position?;
        self.r90_deg.map(|r90| (position.ra_deg, position.dec_deg, r90))
    }

    /// Whether a readable sky map came along.
    pub fn has_skymap(&self) -> bool {
        matches!(self.skymap.as_deref(), Some(SkyMap::Fits(_)))
    }

    /// What it is known by among the citations: its own key, and what it cites.
    pub fn identifiers(&self) -> impl Iterator<Item = Key> + '_ {
        self.cites.iter().map(|cite| cite.of).chain([self.key])
    }
}
