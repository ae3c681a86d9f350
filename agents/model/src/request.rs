//! Observing requests: request > sequence > album > plan (the PYROS nouns).
//!
//! A *request* comes from a user or an alert and holds sequences. A *sequence* is one pointing and the unit that is
//! scheduled. Its *albums* (one per instrument channel) run in parallel; the *plans* of an album run in order; a plan
//! is a number of equal exposures.

use crate::time::UtcTime;
use serde::{Deserialize, Serialize};

/// Stable textual identifiers; equal ids mean the same thing across restarts.
pub type RequestId = String;
pub type SequenceId = String;
pub type UserId = String;

/// A fixed direction, ICRS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    /// Right ascension, ICRS, degrees, 0 to 360.
    pub ra_deg: f64,
    /// Declination, ICRS, degrees, -90 to 90.
    pub dec_deg: f64,
}

/// What must hold while a sequence is observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// Lowest altitude above the horizon, degrees.
    pub min_alt_deg: f64,
    /// Smallest distance from the Moon, degrees.
    pub moon_sep_deg: f64,
    /// Highest altitude of the Sun, degrees (-18 astronomical, -12 nautical night).
    pub sun_max_alt_deg: f64,
}

impl Default for Constraints {
    fn default() -> Self {
        Self {
            min_alt_deg: 25.0,
            moon_sep_deg: 20.0,
            sun_max_alt_deg: -14.0,
        }
    }
}

/// Equal exposures through one filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub filter: String,
    /// Exposure time of one frame, seconds.
    pub exposure_s: f64,
    pub count: u32,
    #[serde(default = "one")]
    pub binning: u32,
    /// Radius of the dither pattern, arcseconds; 0 none.
    #[serde(default)]
    pub dither_arcsec: f64,
}

fn one() -> u32 {
    1
}

/// What one instrument channel does during a sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Album {
    pub channel: String,
    pub plans: Vec<Plan>,
}

/// One pointing: the unit that is scheduled and executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    pub id: SequenceId,
    pub request: RequestId,
    /// The account whose quota is used.
    pub user: UserId,
    pub target: Target,
    /// Larger is more important; routine work 1 to 10, alerts above.
    pub priority: f64,
    /// Earliest start (PYROS jd1) and latest end (jd2).
    pub window: Option<(UtcTime, UtcTime)>,
    /// Wanted start (PYROS t_prefered).
    pub t_prefered: Option<UtcTime>,
    #[serde(default)]
    pub constraints: Constraints,
    pub albums: Vec<Album>,
}

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Origin {
    Routine,
    Alert { event: String, strategy: String },
}

/// A user's or an alert's wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub title: String,
    pub user: UserId,
    pub origin: Origin,
    pub submitted_at: UtcTime,
    pub sequences: Vec<Sequence>,
}

/// Why a request was refused; one variant a reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum RequestFault {
    #[error("request {request} has no sequence")]
    NoSequence { request: String },
    #[error("sequence {sequence}: {quantity} {value} is outside {low} to {high}")]
    OutOfRange {
        sequence: String,
        quantity: String,
        value: f64,
        low: f64,
        high: f64,
    },
    #[error("sequence {sequence}: the window ends ({end}) before it starts ({start})")]
    EmptyWindow {
        sequence: String,
        start: UtcTime,
        end: UtcTime,
    },
    #[error("sequence {sequence} has no exposure on any channel")]
    NothingToExpose { sequence: String },
    #[error("sequence {sequence}: channel {channel} does not exist here (known: {known})")]
    UnknownChannel {
        sequence: String,
        channel: String,
        known: String,
    },
    #[error("sequence {sequence}: channel {channel} has no filter {filter} (known: {known})")]
    UnknownFilter {
        sequence: String,
        channel: String,
        filter: String,
        known: String,
    },
    #[error("user {user} is unknown")]
    UnknownUser { user: String },
    #[error("identifier {id} is used twice")]
    DuplicateId { id: String },
}

impl Sequence {
    /// Open-shutter and read-out time of the slowest channel, seconds. `readout_s` is the time between two frames.
    pub fn duration_s(&self, readout_s: f64) -> f64 {
        self.albums
            .iter()
            .map(|album| {
                album
                    .plans
                    .iter()
                    .map(|p| f64::from(p.count) * (p.exposure_s + readout_s))
                    .sum::<f64>()
            })
            .fold(0.0, f64::max)
    }

    /// Checks the numbers of one sequence.
    pub fn check(&self) -> Result<(), RequestFault> {
        let within = |quantity: &str, value: f64, low: f64, high: f64| {
            if value.is_finite() && (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(RequestFault::OutOfRange {
                    sequence: self.id.clone(),
                    quantity: quantity.into(),
                    value,
                    low,
                    high,
                })
            }
        };
        within("ra_deg", self.target.ra_deg, 0.0, 360.0)?;
        within("dec_deg", self.target.dec_deg, -90.0, 90.0)?;
        within("priority", self.priority, 0.0, 1000.0)?;
        within("min_alt_deg", self.constraints.min_alt_deg, 0.0, 90.0)?;
        within("moon_sep_deg", self.constraints.moon_sep_deg, 0.0, 180.0)?;
        within("sun_max_alt_deg", self.constraints.sun_max_alt_deg, -90.0, 0.0)?;
        if let Some((start, end)) = self.window
            && end <= start
        {
            return Err(RequestFault::EmptyWindow {
                sequence: self.id.clone(),
                start,
                end,
            });
        }
        for plan in self.albums.iter().flat_map(|a| &a.plans) {
            within("exposure_s", plan.exposure_s, 0.001, 7200.0)?;
            within("count", f64::from(plan.count), 1.0, 10_000.0)?;
            within("binning", f64::from(plan.binning), 1.0, 16.0)?;
            within("dither_arcsec", plan.dither_arcsec, 0.0, 3600.0)?;
        }
        if self.albums.iter().all(|a| a.plans.is_empty()) {
            return Err(RequestFault::NothingToExpose {
                sequence: self.id.clone(),
            });
        }
        Ok(())
    }
}

impl Request {
    /// Checks every sequence and that no identifier appears twice.
    pub fn check(&self) -> Result<(), RequestFault> {
        if self.sequences.is_empty() {
            return Err(RequestFault::NoSequence {
                request: self.id.clone(),
            });
        }
        let mut seen = std::collections::BTreeSet::new();
        for sequence in &self.sequences {
            if !seen.insert(&sequence.id) {
                return Err(RequestFault::DuplicateId {
                    id: sequence.id.clone(),
                });
            }
            sequence.check()?;
        }
        Ok(())
    }
}
