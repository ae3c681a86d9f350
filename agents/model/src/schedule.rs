//! The plan of one night.

use crate::{request::SequenceId, time::UtcTime};
use serde::{Deserialize, Serialize};

/// A sequence that got a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    pub sequence: SequenceId,
    /// Planned start (PYROS tsp): the telescope begins to move to the target.
    pub start: UtcTime,
    /// What it needs from there to the first exposure, seconds.
    #[serde(default)]
    pub setup_s: f64,
    /// Planned end (PYROS tep).
    pub end: UtcTime,
    /// How much earlier it could start without touching its neighbour or window, seconds (PYROS deltaTL).
    pub delta_tl_s: f64,
    /// How much later it could end, seconds (PYROS deltaTR).
    pub delta_tr_s: f64,
    /// Its constraints and windows allow nothing before this, whatever its neighbours do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<UtcTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
}

/// How likely a sequence is completed within its life, given season, competition and usual weather.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// Nights left of its life, tonight included; of the season ahead where it has no end.
    pub nights: u32,
    /// Of them, those on which sky, windows and limits allow it.
    pub usable_nights: u32,
    /// 0 to 1.
    pub probability: f64,
}

/// A sequence that got none, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unplaced {
    pub sequence: SequenceId,
    /// Machine-readable reason, e.g. `never_rises`, `quota`, `displaced`.
    pub reason: String,
    /// The same as a sentence with its numbers.
    pub sentence: String,
    /// The reason's numbers by name; its `kind` is `reason`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
    /// Where the sky or its windows exclude it this night, interval by interval. They change with the weather classes
    /// only, and are told once a night.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
}

/// A stretch of the night in which a sequence cannot be observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Excluded {
    /// Machine-readable cause, e.g. `below_altitude`, `moon_too_close`.
    pub cause: String,
    pub start: UtcTime,
    pub end: UtcTime,
    /// The worst value of the stretch, and what was asked, in the unit of the constraint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// Who planned what, when and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub id: String,
    pub made_at: UtcTime,
    pub cause: String,
    /// True for the first schedule of a night; a re-plan starts from the present moment.
    pub first: bool,
    pub placed: Vec<Placed>,
    pub unplaced: Vec<Unplaced>,
    /// Value of the planner's objective, and a proven upper bound of it.
    pub objective: f64,
    pub upper_bound: f64,
}
