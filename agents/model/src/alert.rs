//! What is decided about an alert event and what comes of it, as data that is journaled, stored and shown.
//!
//! Terms: the *outlook* says when the site can look at an event; a *tile* is one pointing of an error region larger
//! than the field; *first light* is the first exposure of an event that is on disk.

use crate::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// When the site can look at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At the moment of the decision: the majordome is asked at once.
    Now,
    /// In this observing night (local noon to local noon), but not now: it waits in the schedule.
    LaterTonight,
    /// Not in this night, but in a later one before the strategy's time is over: it waits in the book.
    NextNight,
    /// Not before the strategy's time is over: nothing is requested.
    Never,
}

impl When {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::LaterTonight => "later_tonight",
            Self::NextNight => "next_night",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "now",
            Self::LaterTonight => "later tonight",
            Self::NextNight => "next night",
            Self::Never => "never",
        })
    }
}

/// When the site can look, and why not earlier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    pub when: When,
    /// Stable code of what stands against looking now (`below_altitude`, `sun_too_high`, `moon_too_close`, ...), `ok`
    /// when nothing does.
    pub reason: String,
    /// The same with its numbers, for people.
    pub sentence: String,
    /// First stretch in which it can be observed; `None` for never.
    pub from: Option<UtcTime>,
    /// End of that stretch, where it was computed.
    pub until: Option<UtcTime>,
}

/// How an event's error region is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// One pointing, the telescope held still.
    Single,
    /// One pointing, shifted a little between exposures.
    Dither,
    /// Several pointings.
    Tiles,
}

/// One pointing and when it can be observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedTile {
    /// Centre, ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Probability that the source is in it, 0 to 1.
    pub probability: f64,
    pub when: When,
    /// Start of the first stretch in which it can be observed.
    pub from: Option<UtcTime>,
}

/// The pointings of an event in the order in which they are observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    pub pattern: Pattern,
    /// Side of one field, degrees.
    pub field_deg: f64,
    /// Centre of the error region, ICRS, degrees; the first pointing where a sky map has no centre.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Radius that holds the source with 90 % probability, degrees; `None` for a sky map or where it was not stated.
    pub r90_deg: Option<f64>,
    /// Empty for a single field.
    pub tiles: Vec<PlannedTile>,
    /// Probability that the pointings hold together, 0 to 1; `None` where the error is not known.
    pub covered: Option<f64>,
}

/// One frame of an event, measured as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportedFrame {
    pub exposure: String,
    pub channel: String,
    pub filter: String,
    pub exposure_s: f64,
    /// Start of the exposure.
    pub started_at: UtcTime,
    /// Seconds from the trigger to the start of the exposure; `None` without a trigger time.
    pub since_trigger_s: Option<f64>,
    /// Full width at half maximum of the stars, pixels.
    pub fwhm_px: Option<f64>,
    /// Sources found.
    pub sources: Option<u64>,
    /// Sky, ADU a pixel.
    pub background: Option<f64>,
    /// Path of the calibrated frame below the data folder.
    pub path: Option<String>,
    /// What the reduction had to do without.
    pub degradations: Vec<String>,
}

/// A source that may be the counterpart; the analysis fills these in when it looks for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Error radius, arcseconds.
    pub err_arcsec: Option<f64>,
    pub filter: String,
    /// Magnitude and its error, in the photometric system of the calibration.
    pub mag: Option<f64>,
    pub mag_err: Option<f64>,
    pub exposure: String,
    /// Why it is one.
    pub note: String,
}

/// Version of the JSON shape of [`AlertReport`].
pub const REPORT_SCHEMA: u32 = 1;

/// What the observatory tells others about an event it has looked at. Written to the outbox, journaled and sent with
/// the feed; a new revision replaces the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertReport {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// The house's name of the event.
    pub event: String,
    /// Counts from 1 for every event.
    pub revision: u32,
    /// `first_light`, `reduced`, or `retracted`.
    pub status: String,
    /// What the world calls it.
    pub name: String,
    pub site: String,
    pub telescope: String,
    pub strategy: Option<String>,
    pub request: Option<String>,
    pub trigger_time: Option<UtcTime>,
    /// Best position known, ICRS, degrees.
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    pub r90_deg: Option<f64>,
    /// Probability that the pointings hold, where known.
    pub covered: Option<f64>,
    /// Instants by stage.
    pub stages: BTreeMap<String, UtcTime>,
    /// The first frames, in order of time.
    pub frames: Vec<ReportedFrame>,
    /// Frames in which a counterpart was looked for.
    #[serde(default)]
    pub searched: u32,
    /// Empty until something is found.
    pub candidates: Vec<Candidate>,
}
