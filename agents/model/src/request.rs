//! Observing requests: request > sequence > album > plan (the PYROS nouns).
//!
//! A *request* comes from a user or an alert and holds sequences. A *sequence* is one pointing and the unit that is
//! scheduled. Its *albums* (one per instrument channel) run in parallel; the *plans* of an album run in order; a plan
//! is a number of equal exposures.

mod timing;

use crate::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
pub use timing::{After, Group, MOST_VISITS, Phase, Repeat, Timing};

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
    /// Highest altitude, degrees: the blind spot at the zenith of an alt-azimuth mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_alt_deg: Option<f64>,
    /// Largest air mass, 1 at the zenith.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_airmass: Option<f64>,
    /// Largest illuminated fraction of a Moon above the horizon, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_moon_illumination: Option<f64>,
    /// Hour angle from .. to, degrees, negative in the east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour_angle_deg: Option<(f64, f64)>,
    /// Largest seeing at the zenith (full width at half maximum), arcseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seeing_arcsec: Option<f64>,
    /// Largest share of the sky under cloud, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cloud_cover: Option<f64>,
}

impl Default for Constraints {
    fn default() -> Self {
        Self {
            min_alt_deg: 25.0,
            moon_sep_deg: 20.0,
            sun_max_alt_deg: -14.0,
            max_alt_deg: None,
            max_airmass: None,
            max_moon_illumination: None,
            hour_angle_deg: None,
            max_seeing_arcsec: None,
            max_cloud_cover: None,
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
    #[serde(default, skip_serializing_if = "Timing::is_free")]
    pub timing: Timing,
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
    #[error("sequence {sequence} waits for {other}, which is not among the known sequences")]
    UnknownPredecessor { sequence: String, other: String },
    #[error("sequence {sequence} waits for itself: {circle}")]
    Circle { sequence: String, circle: String },
    #[error("sequences {sequence} and {other} name other limits for the group {group}")]
    GroupDisagrees {
        sequence: String,
        other: String,
        group: String,
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

/// A number of a sequence inside its bounds, or the fault that names it.
pub(crate) fn within(sequence: &str, quantity: &str, value: f64, low: f64, high: f64) -> Result<(), RequestFault> {
    if value.is_finite() && (low..=high).contains(&value) {
        return Ok(());
    }
    Err(RequestFault::OutOfRange {
        sequence: sequence.into(),
        quantity: quantity.into(),
        value,
        low,
        high,
    })
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
        let within = |quantity: &str, value, low, high| within(&self.id, quantity, value, low, high);
        within("ra_deg", self.target.ra_deg, 0.0, 360.0)?;
        within("dec_deg", self.target.dec_deg, -90.0, 90.0)?;
        within("priority", self.priority, 0.0, 1000.0)?;
        within("min_alt_deg", self.constraints.min_alt_deg, 0.0, 90.0)?;
        within("moon_sep_deg", self.constraints.moon_sep_deg, 0.0, 180.0)?;
        within("sun_max_alt_deg", self.constraints.sun_max_alt_deg, -90.0, 0.0)?;
        self.check_optional()?;
        for (start, end) in self.window.iter().chain(&self.timing.windows) {
            if end <= start {
                return Err(RequestFault::EmptyWindow {
                    sequence: self.id.clone(),
                    start: *start,
                    end: *end,
                });
            }
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

    /// Checks what need not be asked for.
    fn check_optional(&self) -> Result<(), RequestFault> {
        let within = |quantity: &str, value, low, high| within(&self.id, quantity, value, low, high);
        let c = &self.constraints;
        let optional = [
            ("max_alt_deg", c.max_alt_deg, c.min_alt_deg, 90.0),
            ("max_airmass", c.max_airmass, 1.0, 40.0),
            ("max_moon_illumination", c.max_moon_illumination, 0.0, 1.0),
            ("max_seeing_arcsec", c.max_seeing_arcsec, 0.05, 60.0),
            ("max_cloud_cover", c.max_cloud_cover, 0.0, 1.0),
        ];
        for (quantity, value, low, high) in optional {
            value.map_or(Ok(()), |value| within(quantity, value, low, high))?;
        }
        if let Some((from, to)) = c.hour_angle_deg {
            within("hour_angle_deg from", from, -180.0, 180.0)?;
            within("hour_angle_deg to", to, from, 180.0)?;
        }
        self.timing.check(&self.id)
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
        self.check_groups()?;
        self.check_circles()
    }

    /// All members of a group must speak of the same limits.
    fn check_groups(&self) -> Result<(), RequestFault> {
        let mut groups: BTreeMap<&str, (&Sequence, &Group)> = BTreeMap::new();
        for sequence in &self.sequences {
            let Some(group) = &sequence.timing.group else { continue };
            let (other, known) = *groups.entry(&group.name).or_insert((sequence, group));
            if known != group {
                return Err(RequestFault::GroupDisagrees {
                    sequence: sequence.id.clone(),
                    other: other.id.clone(),
                    group: group.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// No sequence may wait for itself, however long the way round.
    fn check_circles(&self) -> Result<(), RequestFault> {
        let waits: BTreeMap<&str, &str> = self
            .sequences
            .iter()
            .filter_map(|s| Some((s.id.as_str(), s.timing.after.as_ref()?.sequence.as_str())))
            .collect();
        for start in waits.keys() {
            let mut way = vec![*start];
            let mut here = *start;
            while let Some(next) = waits.get(here) {
                way.push(next);
                if next == start {
                    return Err(RequestFault::Circle {
                        sequence: (*start).to_owned(),
                        circle: way.join(" after "),
                    });
                }
                if way.len() > waits.len() {
                    break;
                }
                here = next;
            }
        }
        Ok(())
    }
}
