//! `alidade data targets`: targets with their frames and light curves, from this machine's database or asked of a daemon.

use crate::{
    cli::{
        CliError,
        remote::{Remote, part},
    },
    observed::{self, FRAMES, LightCurves, MOST_FRAMES, Measurement},
    settings::Settings,
    store::{Durability, OpenOptions, Store, StoreError, targets::FrameFilter},
};
use serde_json::{Value, json};
use std::path::Path;

/// What is wanted of targets.
#[derive(Debug, Clone, clap::Args)]
pub struct TargetsArgs {
    /// Sequences and frames of this one
    name: Option<String>,
    /// Its brightness over its calibrated frames instead
    #[arg(long, requires = "name")]
    light_curve: bool,
    /// Measure another place on its frames, ICRS degrees: RA,DEC
    #[arg(long, value_name = "RA,DEC", requires = "light_curve", allow_hyphen_values = true)]
    at: Option<String>,
    /// In this filter alone
    #[arg(long, requires = "name")]
    filter: Option<String>,
    /// How many at most: targets, or newest frames
    #[arg(long)]
    limit: Option<u32>,
}

/// Targets or frames that are shown, and the most of them in one answer.
const SHOWN: u32 = 100;
const MOST: u32 = 1000;

impl TargetsArgs {
    fn limit(&self) -> Result<u32, CliError> {
        let (usual, most) = if self.light_curve {
            (FRAMES, MOST_FRAMES)
        } else {
            (SHOWN, MOST)
        };
        let limit = self.limit.unwrap_or(usual);
        match (1..=most).contains(&limit) {
            true => Ok(limit),
            false => Err(CliError::bad_input(format!("--limit {limit} is outside 1 to {most}"))),
        }
    }

    fn place(&self) -> Result<Option<(f64, f64)>, CliError> {
        let Some(text) = &self.at else {
            return Ok(None);
        };
        let parts: Vec<Option<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match parts[..] {
            [Some(ra), Some(dec)] if (0.0..=360.0).contains(&ra) && (-90.0..=90.0).contains(&dec) => {
                Ok(Some((ra, dec)))
            }
            _ => Err(CliError::bad_input(format!("--at {text}: is not RA,DEC in degrees"))),
        }
    }
}

fn unknown(name: &str) -> CliError {
    CliError::failed(format!("there is no target {name}"))
}

/// From the database and the data folder of a configuration.
pub fn here(wanted: &TargetsArgs, config: &Path, as_json: bool) -> Result<String, CliError> {
    let (limit, place) = (wanted.limit()?, wanted.place()?);
    let settings = Settings::load(config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let failed = |e: StoreError| CliError::failed(e.to_string());
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    let mut store = Store::open(&settings.database.url, options).map_err(|e| CliError::bad_input(e.to_string()))?;
    let Some(name) = &wanted.name else {
        let list = observed::targets(&mut store, None, "", None, limit).map_err(failed)?;
        return Ok(shown(&list, as_json, listed));
    };
    let filter = FrameFilter {
        filter: wanted.filter.as_deref(),
        ..FrameFilter::default()
    };
    if wanted.light_curve {
        let found = observed::to_measure(&mut store, name, &filter, limit).map_err(failed)?;
        let subject = found.ok_or_else(|| unknown(name))?;
        let asked = Measurement {
            data_dir: &settings.storage.data_dir,
            settings: Some(&settings),
            place: place.unwrap_or(subject.place),
        };
        let curve = LightCurves::default().curve(&asked, &subject.frames, limit as usize);
        let curve = curve.map_err(|cause| CliError::failed(format!("there is nothing to measure: {cause}")))?;
        return Ok(shown(&json!(curve), as_json, measured));
    }
    let target = observed::target(&mut store, None, name).map_err(failed)?;
    let mut target = target.ok_or_else(|| unknown(name))?;
    let frames = observed::frames(&mut store, name, &filter, limit).map_err(failed)?;
    target["newest_frames"] = frames.map_or(Value::Null, |mut page| page["frames"].take());
    Ok(shown(&target, as_json, told))
}

/// Of a running daemon.
pub fn elsewhere(wanted: &TargetsArgs, remote: &Remote, as_json: bool) -> Result<String, CliError> {
    let (limit, place) = (wanted.limit()?, wanted.place()?);
    let Some(name) = &wanted.name else {
        let list = remote.get(&format!("/api/v1/observed?limit={limit}"))?;
        return Ok(shown(&list, as_json, listed));
    };
    let own = format!("/api/v1/observed/{}", part(name));
    let mut query = format!("limit={limit}");
    if let Some(filter) = &wanted.filter {
        query.push_str(&format!("&filter={}", part(filter)));
    }
    if wanted.light_curve {
        if let Some((ra, dec)) = place {
            query.push_str(&format!("&ra_deg={ra}&dec_deg={dec}"));
        }
        let curve = remote.get(&format!("{own}/light-curve?{query}"))?;
        return Ok(shown(&curve, as_json, measured));
    }
    let mut target = remote.get(&own)?;
    target["newest_frames"] = remote.get(&format!("{own}/frames?{query}"))?["frames"].take();
    Ok(shown(&target, as_json, told))
}

fn shown(document: &Value, as_json: bool, people: fn(&Value) -> String) -> String {
    if as_json {
        format!("{document:#}\n")
    } else {
        people(document)
    }
}

fn rows<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or("-")
}

/// An instant to the second.
fn instant(row: &Value, key: &str) -> String {
    word(row, key).replace('T', " ").chars().take(19).collect()
}

fn number(row: &Value, key: &str, digits: usize) -> String {
    row[key]
        .as_f64()
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// A line a target, those observed last first.
fn listed(document: &Value) -> String {
    let line = |target: &Value| {
        let filters: Vec<&str> = rows(target, "filters").iter().filter_map(Value::as_str).collect();
        format!(
            "{:<24} {:>10} {:>10} {:>5} frames  {} - {}  {}\n",
            word(target, "name"),
            number(target, "ra_deg", 5),
            number(target, "dec_deg", 5),
            target["frames"],
            instant(target, "first_at"),
            instant(target, "last_at"),
            filters.join(" ")
        )
    };
    match rows(document, "targets") {
        [] => "no target has been observed yet\n".into(),
        targets => targets.iter().map(line).collect(),
    }
}

/// A target, its sequences and frames, a line each.
fn told(target: &Value) -> String {
    let mut text = format!(
        "{} {} {}: {} frames\n",
        word(target, "name"),
        number(target, "ra_deg", 5),
        number(target, "dec_deg", 5),
        target["frames"]
    );
    for one in rows(target, "sequences") {
        let (sequence, user, state) = (word(one, "sequence"), word(one, "user"), word(one, "state"));
        text.push_str(&format!(
            "  sequence {sequence:<16} {user:<12} {state:<12} {}\n",
            word(one, "why")
        ));
    }
    for frame in rows(target, "newest_frames") {
        let state = if frame["reduced_at"].is_null() {
            "raw"
        } else {
            "reduced"
        };
        let file = frame["files"].get("calibrated").or_else(|| frame["files"].get("raw"));
        text.push_str(&format!(
            "  {} {:<6} {:>7} s  {state:<8} fwhm {:>5} zero point {:>6} limit {:>5}  {}\n",
            instant(frame, "started_at"),
            word(frame, "filter"),
            number(frame, "exposure_s", 1),
            number(frame, "fwhm_px", 2),
            number(frame, "zero_point", 2),
            number(frame, "limiting_mag", 1),
            file.and_then(Value::as_str).unwrap_or("-")
        ));
    }
    text
}

/// A light curve, a line a point and a line a filter.
fn measured(curve: &Value) -> String {
    let mut text = String::new();
    for point in rows(curve, "points") {
        let mag = number(point, "mag", 3);
        let brightness = match point["kind"].as_str() {
            Some("detected") => format!("{mag} +- {}", number(point, "error", 3)),
            Some(_) => format!("> {mag}"),
            None => format!("- ({})", word(point, "cause")),
        };
        let (at, filter) = (instant(point, "at"), word(point, "filter"));
        text.push_str(&format!("{at} {filter:<6} {brightness}\n"));
    }
    for (filter, band) in curve["bands"].as_object().into_iter().flatten() {
        let varies = match band["varies"].as_bool() {
            Some(true) => "varies",
            Some(false) => "does not vary",
            None => "too few points to say whether it varies",
        };
        text.push_str(&format!(
            "{filter}: {} of {} detected, mean {} scatter {}, {varies}\n",
            band["detected"],
            band["points"],
            number(band, "mean_mag", 3),
            number(band, "scatter_mag", 3)
        ));
    }
    if curve["older"] == true {
        text.push_str(&format!(
            "older frames than the newest {} were not looked at\n",
            curve["frames"]
        ));
    }
    text
}
