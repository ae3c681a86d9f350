//! Strategy files: TOML, checked in full before anything of it is used.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;

use super::quantity;
use super::{Constraints, Matching, Preempt, RepointIf, Step, Strategy, Tiling, UpdatePolicy};
use crate::instant::{self, Scale};
use crate::notice::{Class, Flag};

/// What is wrong with a strategy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// Not TOML, an unknown key, or a wrong type; the message has line and column.
    #[error("{0}")]
    Syntax(String),
    /// A value that makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// Where, as `plan.step[1].exptime`.
        key: String,
        /// What.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    strategy: RawStrategy,
    #[serde(rename = "match")]
    matching: RawMatch,
    #[serde(default)]
    constraints: RawConstraints,
    #[serde(default)]
    preempt: RawPreempt,
    plan: RawPlan,
    #[serde(default)]
    update: RawUpdate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStrategy {
    name: String,
    version: u32,
    #[serde(default)]
    description: String,
    priority: u8,
    multi_messenger_priority: Option<u8>,
    #[serde(default = "yes")]
    enabled: bool,
    valid_from: Option<toml::value::Datetime>,
    valid_until: Option<toml::value::Datetime>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatch {
    streams: Vec<String>,
    #[serde(default)]
    classes: BTreeSet<Class>,
    #[serde(default)]
    not_flags: BTreeSet<Flag>,
    max_r90: Option<String>,
    max_age: Option<String>,
    max_preliminary_age: Option<String>,
    min_galactic_latitude: Option<String>,
    #[serde(default)]
    min: BTreeMap<String, f64>,
    #[serde(default)]
    max: BTreeMap<String, f64>,
    #[serde(default)]
    required: BTreeSet<String>,
    #[serde(default)]
    accept_test: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConstraints {
    min_altitude: Option<String>,
    max_airmass: Option<f64>,
    min_moon_distance: Option<String>,
    max_sun_altitude: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPreempt {
    level: Preempt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    #[serde(default)]
    step: Vec<RawStep>,
    tiling: Option<RawTiling>,
    #[serde(default)]
    revisit_after: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    until: String,
    max_r90: Option<String>,
    filters: Vec<String>,
    exptime: String,
    count: u32,
    dither: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTiling {
    max_tiles: u32,
    min_cumulative_prob: f64,
    #[serde(default)]
    overlap: f64,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawUpdate {
    repoint_if: RepointIf,
    stop_on_retraction: bool,
}

impl Default for RawUpdate {
    fn default() -> Self {
        let policy = UpdatePolicy::default();
        Self {
            repoint_if: policy.repoint_if,
            stop_on_retraction: policy.stop_on_retraction,
        }
    }
}

fn wrong(key: impl Into<String>, problem: impl Into<String>) -> StrategyError {
    StrategyError::Value {
        key: key.into(),
        problem: problem.into(),
    }
}

/// Checks that a value lies within bounds, both included.
fn within(key: &str, value: f64, low: f64, high: f64) -> Result<f64, StrategyError> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(wrong(key, format!("{value} is not within {low} to {high}")))
    }
}

fn angle(key: &str, text: Option<&String>, low: f64, high: f64) -> Result<Option<f64>, StrategyError> {
    let Some(text) = text else { return Ok(None) };
    let value = quantity::degrees(text)
        .ok_or_else(|| wrong(key, format!("\"{text}\" is no angle; write \"20deg\", \"45'\"")))?;
    within(key, value, low, high).map(Some)
}

fn length(key: &str, text: &str) -> Result<Duration, StrategyError> {
    quantity::duration(text).ok_or_else(|| wrong(key, format!("\"{text}\" is no duration; write \"10min\", \"48h\"")))
}

fn optional_length(key: &str, text: Option<&String>) -> Result<Option<Duration>, StrategyError> {
    text.map(|text| length(key, text)).transpose()
}

fn moment(key: &str, value: Option<&toml::value::Datetime>) -> Result<Option<DateTime<Utc>>, StrategyError> {
    let Some(value) = value else { return Ok(None) };
    let text = value.to_string();
    instant::parse_iso(&text, Scale::Utc)
        .map(Some)
        .ok_or_else(|| wrong(key, format!("{text} is no date and time")))
}

/// Reads and checks a strategy.
///
/// # Errors
/// The first thing wrong, with its place.
pub fn from_toml(text: &str) -> Result<Strategy, StrategyError> {
    let raw: RawFile = toml::from_str(text).map_err(|e| StrategyError::Syntax(e.to_string().trim_end().to_string()))?;
    let head = &raw.strategy;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if head.name.is_empty() || head.name.len() > 64 || !head.name.chars().all(plain) {
        return Err(wrong("strategy.name", "is not one word of letters, digits, - and _"));
    }
    for (key, value) in [
        ("strategy.priority", Some(head.priority)),
        ("strategy.multi_messenger_priority", head.multi_messenger_priority),
    ] {
        if value.is_some_and(|p| !(1..=10).contains(&p)) {
            return Err(wrong(key, "is not within 1 (first) to 10"));
        }
    }
    let valid_from = moment("strategy.valid_from", head.valid_from.as_ref())?;
    let valid_until = moment("strategy.valid_until", head.valid_until.as_ref())?;
    if let (Some(from), Some(until)) = (valid_from, valid_until)
        && until <= from
    {
        return Err(wrong("strategy.valid_until", "is not after valid_from"));
    }
    let matching = matching(&raw.matching)?;
    let constraints = constraints(&raw.constraints)?;
    let steps = steps(&raw.plan.step)?;
    let tiling = raw.plan.tiling.as_ref().map(tiling).transpose()?;
    let revisit_after = raw
        .plan
        .revisit_after
        .iter()
        .enumerate()
        .map(|(i, text)| length(&format!("plan.revisit_after[{i}]"), text))
        .collect::<Result<Vec<_>, _>>()?;
    if !revisit_after.is_sorted() {
        return Err(wrong("plan.revisit_after", "is not in order of time"));
    }
    Ok(Strategy {
        name: raw.strategy.name,
        version: raw.strategy.version,
        description: raw.strategy.description,
        priority: raw.strategy.priority,
        multi_messenger_priority: raw.strategy.multi_messenger_priority,
        enabled: raw.strategy.enabled,
        valid_from,
        valid_until,
        matching,
        constraints,
        preempt: raw.preempt.level,
        steps,
        tiling,
        revisit_after,
        update: UpdatePolicy {
            repoint_if: raw.update.repoint_if,
            stop_on_retraction: raw.update.stop_on_retraction,
        },
    })
}

fn matching(raw: &RawMatch) -> Result<Matching, StrategyError> {
    if raw.streams.is_empty() {
        return Err(wrong("match.streams", "is empty: nothing could ever match"));
    }
    for glob in &raw.streams {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/*?-".contains(c);
        if glob.is_empty() || !glob.chars().all(allowed) || glob.split('/').count() > 3 {
            return Err(wrong(
                "match.streams",
                format!("\"{glob}\" is no stream; write \"mission/instrument/kind\""),
            ));
        }
    }
    for (key, bounds) in [("match.min", &raw.min), ("match.max", &raw.max)] {
        if let Some((name, _)) = bounds.iter().find(|(_, v)| !v.is_finite()) {
            return Err(wrong(format!("{key}.{name}"), "is not a finite number"));
        }
    }
    if let Some((name, _)) = raw
        .min
        .iter()
        .find(|(name, low)| raw.max.get(*name).is_some_and(|high| high < low))
    {
        return Err(wrong(
            format!("match.max.{name}"),
            "is below match.min: nothing could ever match",
        ));
    }
    Ok(Matching {
        streams: raw.streams.clone(),
        classes: raw.classes.clone(),
        not_flags: raw.not_flags.clone(),
        max_r90_deg: angle("match.max_r90", raw.max_r90.as_ref(), 0.0, 180.0)?,
        max_age: optional_length("match.max_age", raw.max_age.as_ref())?,
        max_preliminary_age: optional_length("match.max_preliminary_age", raw.max_preliminary_age.as_ref())?,
        min_galactic_latitude_deg: angle(
            "match.min_galactic_latitude",
            raw.min_galactic_latitude.as_ref(),
            0.0,
            90.0,
        )?,
        min: raw.min.clone(),
        max: raw.max.clone(),
        required: raw.required.clone(),
        accept_test: raw.accept_test,
    })
}

fn constraints(raw: &RawConstraints) -> Result<Constraints, StrategyError> {
    Ok(Constraints {
        min_altitude_deg: angle("constraints.min_altitude", raw.min_altitude.as_ref(), 0.0, 90.0)?,
        max_airmass: raw
            .max_airmass
            .map(|x| within("constraints.max_airmass", x, 1.0, 40.0))
            .transpose()?,
        min_moon_distance_deg: angle(
            "constraints.min_moon_distance",
            raw.min_moon_distance.as_ref(),
            0.0,
            180.0,
        )?,
        max_sun_altitude_deg: angle(
            "constraints.max_sun_altitude",
            raw.max_sun_altitude.as_ref(),
            -90.0,
            0.0,
        )?,
    })
}

fn steps(raw: &[RawStep]) -> Result<Vec<Step>, StrategyError> {
    if raw.is_empty() {
        return Err(wrong("plan.step", "is missing: nothing would be exposed"));
    }
    let mut out: Vec<Step> = Vec::new();
    for (i, step) in raw.iter().enumerate() {
        let key = |name: &str| format!("plan.step[{i}].{name}");
        let until = length(&key("until"), &step.until)?;
        let max_r90_deg = angle(&key("max_r90"), step.max_r90.as_ref(), 0.0, 180.0)?;
        // Steps for different error radii may share a time; otherwise a later step must end later.
        if out
            .last()
            .is_some_and(|before| until < before.until || (until == before.until && before.max_r90_deg.is_none()))
        {
            return Err(wrong(key("until"), "does not come after the step before it"));
        }
        if step.filters.is_empty() || step.filters.iter().any(|f| f.trim().is_empty()) {
            return Err(wrong(key("filters"), "names no filter"));
        }
        let exposure_s = quantity::seconds(&step.exptime)
            .filter(|s| (0.001..=7200.0).contains(s))
            .ok_or_else(|| {
                wrong(
                    key("exptime"),
                    format!("\"{}\" is no exposure time of 1 ms to 2 h", step.exptime),
                )
            })?;
        if !(1..=100_000).contains(&step.count) {
            return Err(wrong(key("count"), "is not within 1 to 100000"));
        }
        let dither_deg = angle(&key("dither"), step.dither.as_ref(), 0.0, 1.0)?;
        out.push(Step {
            until,
            max_r90_deg,
            filters: step.filters.clone(),
            exposure_s,
            count: step.count,
            dither_deg,
        });
    }
    Ok(out)
}

fn tiling(raw: &RawTiling) -> Result<Tiling, StrategyError> {
    if !(1..=1000).contains(&raw.max_tiles) {
        return Err(wrong("plan.tiling.max_tiles", "is not within 1 to 1000"));
    }
    Ok(Tiling {
        max_tiles: raw.max_tiles,
        min_cumulative_prob: within("plan.tiling.min_cumulative_prob", raw.min_cumulative_prob, 0.0, 1.0)?,
        overlap: within("plan.tiling.overlap", raw.overlap, 0.0, 0.5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [strategy]
        name = "grb-prompt"
        version = 3
        priority = 5
        valid_from = 2026-11-01T00:00:00Z
        [match]
        streams = ["swift/bat/grb_pos", "fermi/lat/*"]
        not_flags = ["not_a_grb"]
        max_r90 = "45'"
        max_age = "48h"
        min = { swift_image_snr = 6.5 }
        [constraints]
        max_sun_altitude = "-12deg"
        [preempt]
        level = "interrupt_exposure"
        [[plan.step]]
        until = "10min"
        filters = ["r"]
        exptime = "5s"
        count = 60
        [[plan.step]]
        until = "2h"
        filters = ["g", "r"]
        exptime = "60s"
        count = 10
        [plan.tiling]
        max_tiles = 24
        min_cumulative_prob = 0.5
        overlap = 0.05
        [update]
        repoint_if = "outside_fov"
        stop_on_retraction = true
    "#;

    #[test]
    fn a_good_file_is_read() {
        let strategy = from_toml(GOOD).unwrap();
        assert_eq!(
            (strategy.name.as_str(), strategy.version, strategy.priority),
            ("grb-prompt", 3, 5)
        );
        assert_eq!(strategy.matching.max_r90_deg, Some(0.75));
        assert_eq!(strategy.preempt, Preempt::InterruptExposure);
        assert_eq!(strategy.steps[1].until, Duration::hours(2));
        assert_eq!(strategy.constraints.max_sun_altitude_deg, Some(-12.0));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (from, to, place) in [
            ("priority = 5", "priority = 0", "strategy.priority"),
            ("name = \"grb-prompt\"", "name = \"a b\"", "strategy.name"),
            ("max_r90 = \"45'\"", "max_r90 = \"45\"", "match.max_r90"),
            ("max_age = \"48h\"", "max_age = \"-48h\"", "match.max_age"),
            ("until = \"2h\"", "until = \"5min\"", "plan.step[1].until"),
            ("exptime = \"5s\"", "exptime = \"0s\"", "plan.step[0].exptime"),
            ("count = 60", "count = 0", "plan.step[0].count"),
            ("filters = [\"r\"]", "filters = []", "plan.step[0].filters"),
            ("\"-12deg\"", "\"12deg\"", "constraints.max_sun_altitude"),
            ("overlap = 0.05", "overlap = 0.9", "plan.tiling.overlap"),
            ("\"fermi/lat/*\"", "\"Fermi LAT\"", "match.streams"),
        ] {
            let error = from_toml(&GOOD.replace(from, to)).unwrap_err();
            assert!(
                matches!(&error, StrategyError::Value { key, .. } if key == place),
                "{place}: {error}"
            );
        }
        for (from, to) in [
            ("count = 60", "coutn = 60"),
            ("priority = 5", "priority = \"five\""),
            ("[\"not_a_grb\"]", "[\"not_a_flag\"]"),
            ("\"interrupt_exposure\"", "\"now\""),
            ("[match]", "[match"),
        ] {
            let error = from_toml(&GOOD.replace(from, to)).unwrap_err();
            assert!(
                matches!(&error, StrategyError::Syntax(text) if text.contains("line")),
                "{error}"
            );
        }
    }
}
