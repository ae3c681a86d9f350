//! The one internal notice that every format is read into.
//!
//! Terms: a *mission* flies or runs *instruments*; a *stream* is the house name of one kind of notice,
//! `mission/instrument/kind` in lower case, which strategies match by glob; the *trigger id* is the mission's own name of
//! the event, always text (some overflow 64 bits); *containment* is the probability that the source lies within the
//! stated error radius.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error_radius;

/// How a packet reached us; decides which formats are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// VOEvent XML.
    Voevent,
    /// JSON: a GCN unified notice or an LVK alert.
    Json,
    /// GCN classic text (`TITLE: ...` lines).
    Text,
    /// Whatever the first byte looks like: `<`, `{`, else text.
    Any,
}

/// What kind of thing happened, as far as the notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Gamma-ray burst or other high-energy transient.
    Grb,
    /// High-energy or supernova neutrino.
    Neutrino,
    /// Gravitational wave.
    GravitationalWave,
    /// Fast radio burst.
    RadioBurst,
    /// Optical transient, microlensing, supernova, ...
    Optical,
    /// Not said.
    Unknown,
}

/// What the notice's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeKind {
    /// The trigger time: two notices of one event agree on it.
    Trigger,
    /// The time of a later measurement of the event: not comparable with trigger times.
    FollowUp,
    /// Not known.
    Unknown,
}

/// Where the source is, ICRS (FK5 J2000 taken as ICRS: they agree to 0.02 arcsec, Feissel & Mignard 1998).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Right ascension, degrees, in [0, 360).
    pub ra_deg: f64,
    /// Declination, degrees.
    pub dec_deg: f64,
    /// Error radius as stated, degrees, positive; `None` when not stated.
    pub err_deg: Option<f64>,
    /// Probability within `err_deg`, when known.
    pub containment: Option<f64>,
    /// The radius leaves out a known systematic error (Fermi GBM).
    pub statistical_only: bool,
}

impl Position {
    /// Radius that holds the source with 90 % probability, degrees; `None` when no error was stated.
    #[must_use]
    pub fn r90_deg(&self) -> Option<f64> {
        self.err_deg
            .map(|err| error_radius::r90_deg(err, self.containment, self.statistical_only))
    }
}

/// How a packet relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiteKind {
    /// A new, independent measurement of the cited event.
    Followup,
    /// Replaces the cited packet wholly.
    Supersedes,
    /// Withdraws the cited packet.
    Retraction,
    /// A relation the standard does not name; taken as a mere mention of the same event.
    Other,
}

/// A citation of another packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The relation, as understood.
    pub kind: CiteKind,
    /// The relation, as written.
    pub cite: String,
    /// The cited packet's identifier, as written.
    pub ivorn: String,
}

/// Marks that decide about relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Identified as no gamma-ray burst.
    NotAGrb,
    /// The star tracker had lost lock: the position is wrong.
    StarTrackerLostLock,
    /// The source is in a catalogue.
    CatalogueSource,
    /// Flagged very weak by its author, or as not significant.
    LowSignificance,
    /// From a search below the instrument's threshold.
    SubThreshold,
    /// A value out of range, or a transmission error, was flagged by the author.
    ValuesOutOfRange,
    /// About pointings, spectra, light curves or failures, not about a new source.
    NotASource,
    /// More likely something else than a gamma-ray burst, says a classifier.
    UnlikelyGrb,
    /// The stated position must not be used (no error on an instrument that can be wholly wrong).
    PositionUnreliable,
    /// Sent by a transport to keep a line alive, or to close it.
    LineControl,
}

/// The role of a packet, as the VOEvent standard names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Something was observed.
    Observation,
    /// Something is foretold.
    Prediction,
    /// About an instrument or a network.
    Utility,
    /// A test.
    Test,
    /// Any other word.
    Unknown,
}

/// A sky map: its bytes as sent, or where it can be found (which is never fetched on the alert path).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SkyMap {
    /// A FITS file, as sent.
    Fits(#[serde(with = "crate::base64_bytes")] Vec<u8>),
    /// Present but unreadable.
    Unreadable(String),
    /// Only an address was sent.
    Url(String),
}

/// One notice, whatever its format was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Identity of the packet: the lower-case identifier, or the JSON key. Equal keys mean the same packet.
    pub key: String,
    /// SHA-256 of the canonical content, hexadecimal.
    pub content_sha256: String,
    /// VOEvent identifier as written.
    pub ivorn: Option<String>,
    /// The author's identifier or, without one, the authority and resource of `ivorn`; lower case.
    pub author: String,
    /// Role as written, `observation` when absent; `None` outside VOEvent.
    pub role_text: Option<String>,
    /// Role as understood.
    pub role: Role,
    /// Mission as its notices name it.
    pub mission: String,
    /// Instrument, when named.
    pub instrument: Option<String>,
    /// The mission's own name of the kind of notice.
    pub notice_type: Option<String>,
    /// House name of the kind of notice, `mission/instrument/kind`.
    pub stream: String,
    /// What happened.
    pub class: Class,
    /// The mission's name of the event.
    pub trigger_id: Option<String>,
    /// Other names of the event (`GRB 261120A`, `IceCube-230416A`).
    pub names: Vec<String>,
    /// When the packet was made.
    pub issued_at: Option<DateTime<Utc>>,
    /// When the event happened, or was measured.
    pub event_time: Option<DateTime<Utc>>,
    /// What `event_time` is.
    pub time_kind: TimeKind,
    /// Where the source is.
    pub position: Option<Position>,
    /// The error region is the whole sky.
    pub all_sky: bool,
    /// Sky map.
    pub skymap: Option<SkyMap>,
    /// Probability of each class the author distinguishes, 0 to 1.
    pub classification: BTreeMap<String, f64>,
    /// VOEvent importance, as written.
    pub importance: Option<f64>,
    /// Named measures strategies may bound: `swift_image_snr`, `svom_snr`, `gbm_grb_prob`, `signalness`, `far_hz`, ...
    pub measures: BTreeMap<String, f64>,
    /// Marks.
    pub flags: BTreeSet<Flag>,
    /// A test, mock or injection.
    pub is_test: bool,
    /// Withdraws earlier packets.
    pub is_retraction: bool,
    /// Continues an event reported before.
    pub is_update: bool,
    /// The author will send a better one.
    pub is_preliminary: bool,
    /// Alert tense or type that keeps it from being acted upon, as a reason.
    pub not_current: Option<crate::reason::Reason>,
    /// Order within the event as the author counts.
    pub sequence: Option<i64>,
    /// Citations.
    pub citations: Vec<Citation>,
}

impl Notice {
    /// A notice that says nothing yet.
    #[must_use]
    pub(crate) fn blank(mission: impl Into<String>) -> Self {
        Self {
            key: String::new(),
            content_sha256: String::new(),
            ivorn: None,
            author: String::new(),
            role_text: None,
            role: Role::Observation,
            mission: mission.into(),
            instrument: None,
            notice_type: None,
            stream: String::new(),
            class: Class::Unknown,
            trigger_id: None,
            names: Vec::new(),
            issued_at: None,
            event_time: None,
            time_kind: TimeKind::Unknown,
            position: None,
            all_sky: false,
            skymap: None,
            classification: BTreeMap::new(),
            importance: None,
            measures: BTreeMap::new(),
            flags: BTreeSet::new(),
            is_test: false,
            is_retraction: false,
            is_update: false,
            is_preliminary: false,
            not_current: None,
            sequence: None,
            citations: Vec::new(),
        }
    }

    /// The position, unless its author or instrument makes it unusable.
    #[must_use]
    pub fn usable_position(&self) -> Option<Position> {
        self.position.filter(|_| {
            !self.flags.contains(&Flag::PositionUnreliable) && !self.flags.contains(&Flag::StarTrackerLostLock)
        })
    }

    /// Whether a readable sky map came along.
    #[must_use]
    pub fn has_skymap(&self) -> bool {
        matches!(self.skymap, Some(SkyMap::Fits(_)))
    }

    /// Mission and trigger id in one lower-case key; two notices with the same key are of one event.
    #[must_use]
    pub fn trigger_key(&self) -> Option<String> {
        let id = self
            .trigger_id
            .as_deref()
            .filter(|id| !id.trim_start_matches('0').is_empty())?;
        // Fermi's GBM and LAT count triggers apart, as do the missions of one operator; the instrument group keeps
        // equal numbers of different counters from meeting.
        let mut parts = self.stream.split('/');
        let mission = parts.next().unwrap_or_default();
        let counter = match mission {
            "fermi" | "integral" => parts.next().unwrap_or_default(),
            _ => "",
        };
        Some(format!("{mission}/{counter}/{}", id.to_ascii_lowercase()))
    }
}
