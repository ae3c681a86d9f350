//! Request groups of the Las Cumbres Observatory's observation portal, as its API gives and takes them.
//!
//! Read are one request group, a list of them, or a page of the API (`{"results": [...]}`); of a page only what is still
//! pending. What becomes what:
//!
//! | request group | here |
//! |---|---|
//! | group | a request; `name` is its title, its `id` (else its place in the file) its identifier |
//! | `proposal`, or what the caller names | user |
//! | `ipp_value` | priority, 5 at 1.0, at most 10; a `RAPID_RESPONSE` has 10 |
//! | request | its configurations in order, `configuration_repeats` times; neighbours with one target are one sequence, a change of target begins the next, at most half an hour after the one before |
//! | `operator` `ONEOF` | a group of which one is observed; `AND`: all or none; `SINGLE`, `MANY`: independent |
//! | `windows` | windows |
//! | `target` (`ICRS`) | target, moved by its proper motion to the day of submission |
//! | `max_airmass`, `min_lunar_distance`, `max_lunar_phase`, `max_seeing` | the constraints of the same meaning; where the configurations of a sequence differ the strictest counts |
//! | `instrument_configs` | plans of one channel: `optical_elements.filter`, `exposure_time`, `exposure_count`, `bin_x` |
//! | `REPEAT_EXPOSE` | as many rounds of its exposures as fit into `repeat_duration`, at least one |
//!
//! Telescope, guiding, acquisition, offsets and other extra parameters are not read. What cannot be observed here (other
//! kinds of targets, calibrations, spectra, real-time sessions, a limit on the transparency) is refused with its place.

use super::sequences::{Wrong, from_json};
use alidade_model::{request::Request, time::UtcTime};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a request group does not know of this observatory.
#[derive(Debug, Clone, Default)]
pub struct LcoNames {
    /// Account that pays; None: the proposal.
    pub user: Option<String>,
    /// Channel that exposes; None: the instrument type.
    pub channel: Option<String>,
    /// Their filter to ours; others keep their name.
    pub filters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    id: Option<u64>,
    name: String,
    proposal: String,
    #[serde(default = "one")]
    ipp_value: f64,
    #[serde(default)]
    operator: Option<String>,
    #[serde(default)]
    observation_type: Option<String>,
    #[serde(default)]
    state: Option<String>,
    requests: Vec<Asked>,
}

fn one() -> f64 {
    1.0
}

#[derive(Deserialize)]
struct Asked {
    configurations: Vec<Configuration>,
    windows: Vec<Window>,
    #[serde(default)]
    configuration_repeats: Option<u32>,
    #[serde(default)]
    state: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "type")]
    kind: String,
    instrument_type: String,
    #[serde(default)]
    repeat_duration: Option<f64>,
    target: LcoTarget,
    #[serde(default)]
    constraints: LcoConstraints,
    instrument_configs: Vec<InstrumentConfig>,
}

#[derive(Deserialize)]
struct LcoTarget {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    /// Degrees, ICRS at `epoch`.
    #[serde(default)]
    ra: Option<f64>,
    #[serde(default)]
    dec: Option<f64>,
    /// Milliarcseconds a year; that in right ascension holds the cosine of the declination.
    #[serde(default)]
    proper_motion_ra: Option<f64>,
    #[serde(default)]
    proper_motion_dec: Option<f64>,
    /// Julian year.
    #[serde(default)]
    epoch: Option<f64>,
}

#[derive(Deserialize, Default)]
struct LcoConstraints {
    #[serde(default)]
    max_airmass: Option<f64>,
    #[serde(default)]
    min_lunar_distance: Option<f64>,
    #[serde(default)]
    max_lunar_phase: Option<f64>,
    #[serde(default)]
    max_seeing: Option<f64>,
    #[serde(default)]
    min_transparency: Option<f64>,
}

#[derive(Deserialize)]
struct InstrumentConfig {
    exposure_time: f64,
    exposure_count: u32,
    #[serde(default)]
    optical_elements: BTreeMap<String, Value>,
    #[serde(default)]
    bin_x: Option<u32>,
    #[serde(default)]
    extra_params: BTreeMap<String, Value>,
}

/// Most plans of one sequence: a repeated configuration can ask for any number.
const MOST_PLANS: usize = 10_000;
/// From one target of a request to its next, seconds.
const NEXT_TARGET_S: f64 = 1800.0;

/// Reads request groups; each must be consistent in itself, which the caller checks.
pub fn from_lco(text: &str, names: &LcoNames, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let root: Value = serde_json::from_str(text).map_err(|e| (e.line().to_string(), e.to_string()))?;
    let (groups, page) = match root {
        Value::Array(list) => (list, false),
        Value::Object(mut map) => match map.remove("results") {
            Some(Value::Array(list)) => (list, true),
            Some(_) => return Err(wrong("results", "expected a list of request groups")),
            None => (vec![Value::Object(map)], false),
        },
        _ => return Err(wrong("", "expected a request group or a list of them")),
    };
    let mut entries = Vec::new();
    let alone = groups.len() == 1 && !page;
    for (k, value) in groups.into_iter().enumerate() {
        let place = if alone { String::new() } else { format!("[{k}]") };
        let group: Group = serde_path_to_error::deserialize(value)
            .map_err(|e| (join(&place, &e.path().to_string()), e.inner().to_string()))?;
        if pending(group.state.as_deref()) {
            entries.push(request(&group, k, names, submitted_at).map_err(|(at, cause)| (join(&place, &at), cause))?);
        }
    }
    if entries.is_empty() {
        return Err(wrong("", "holds no pending request group"));
    }
    from_json(&json!({ "requests": entries }).to_string(), submitted_at).map_err(|(_, cause)| (String::new(), cause))
}

fn wrong(place: &str, cause: impl Into<String>) -> Wrong {
    (place.to_owned(), cause.into())
}

fn join(place: &str, inner: &str) -> String {
    match (place, inner) {
        ("", inner) => inner.to_owned(),
        (place, "" | ".") => place.to_owned(),
        (place, inner) => format!("{place}.{inner}"),
    }
}

/// A group that nobody has sent yet has no state.
fn pending(state: Option<&str>) -> bool {
    state.is_none_or(|s| s.eq_ignore_ascii_case("pending"))
}

/// A request of a sequence file.
fn request(group: &Group, number: usize, names: &LcoNames, submitted_at: UtcTime) -> Result<Value, Wrong> {
    let kind = group.observation_type.as_deref().unwrap_or("NORMAL").to_uppercase();
    let priority = match kind.as_str() {
        "NORMAL" | "TIME_CRITICAL" => (5.0 * group.ipp_value).min(10.0),
        "RAPID_RESPONSE" => 10.0,
        other => return Err(wrong("observation_type", format!("{other} cannot be observed here"))),
    };
    let id = group.id.map_or(format!("lco-{}", number + 1), |id| format!("lco-{id}"));
    let mut sequences: Vec<Value> = Vec::new();
    let mut asked = 0;
    for (k, one) in group
        .requests
        .iter()
        .enumerate()
        .filter(|(_, r)| pending(r.state.as_deref()))
    {
        let place = format!("requests[{k}]");
        let first = sequences.len();
        for (n, mut sequence) in targets(one, names, submitted_at)
            .map_err(|(at, cause)| (join(&place, &at), cause))?
            .into_iter()
            .enumerate()
        {
            sequence["priority"] = json!(priority);
            sequence["windows"] = windows(one, &place)?;
            if n > 0 {
                // Sequences are numbered from 1 within their request.
                let before = format!("{id}-{}", first + n);
                sequence["after"] = json!({ "sequence": before, "max_gap_s": NEXT_TARGET_S });
            }
            sequences.push(sequence);
        }
        asked += 1;
    }
    if sequences.is_empty() {
        return Err(wrong("requests", "holds nothing that is pending"));
    }
    tie(group, &mut sequences, asked)?;
    let user = names.user.as_ref().unwrap_or(&group.proposal);
    Ok(json!({ "id": id, "title": group.name, "user": user, "sequences": sequences }))
}

/// What the operator of the group asks of its requests together.
fn tie(group: &Group, sequences: &mut [Value], asked: usize) -> Result<(), Wrong> {
    let operator = group.operator.as_deref().unwrap_or("SINGLE").to_uppercase();
    let rule = match operator.as_str() {
        "SINGLE" | "MANY" => return Ok(()),
        _ if asked < 2 => return Ok(()),
        "AND" => json!({ "name": "all", "at_least": sequences.len() }),
        "ONEOF" if sequences.len() == asked => json!({ "name": "one", "at_most": 1 }),
        "ONEOF" => {
            return Err(wrong(
                "operator",
                "ONEOF of requests with several targets cannot be observed here",
            ));
        }
        other => {
            return Err(wrong(
                "operator",
                format!("{other} is none of SINGLE, MANY, AND, ONEOF"),
            ));
        }
    };
    sequences.iter_mut().for_each(|s| s["group"] = rule.clone());
    Ok(())
}

fn windows(asked: &Asked, place: &str) -> Result<Value, Wrong> {
    if asked.windows.is_empty() {
        return Err(wrong(&format!("{place}.windows"), "holds no window"));
    }
    let instant = |text: &str, k: usize, name: &str| {
        // Older groups give times without a zone, which are UTC.
        let zoned = if text.ends_with('Z') || text.contains('+') {
            text.to_owned()
        } else {
            format!("{text}Z")
        };
        let read: Result<UtcTime, _> = zoned.replacen(' ', "T", 1).parse();
        read.map_err(|_| {
            wrong(
                &format!("{place}.windows[{k}].{name}"),
                format!("{text} is not a UTC time"),
            )
        })
    };
    let mut out = Vec::new();
    for (k, w) in asked.windows.iter().enumerate() {
        let (start, end) = (instant(&w.start, k, "start")?, instant(&w.end, k, "end")?);
        if end <= start {
            return Err(wrong(
                &format!("{place}.windows[{k}]"),
                format!("ends ({end}) before it starts ({start})"),
            ));
        }
        out.push((start, end));
    }
    Ok(json!(out))
}

/// The sequences of one request: one for every stay on a target.
fn targets(asked: &Asked, names: &LcoNames, submitted_at: UtcTime) -> Result<Vec<Value>, Wrong> {
    if asked.configurations.is_empty() {
        return Err(wrong("configurations", "holds no configuration"));
    }
    let rounds = asked.configuration_repeats.unwrap_or(1).max(1) as usize;
    let mut out: Vec<Value> = Vec::new();
    let count = asked.configurations.len();
    for n in 0..rounds * count {
        let (k, c) = (n % count, &asked.configurations[n % count]);
        let place = format!("configurations[{k}]");
        let here = |(at, cause): Wrong| (join(&place, &at), cause);
        let target = target(&c.target, submitted_at).map_err(|w| here((join("target", &w.0), w.1)))?;
        let channel = names.channel.as_ref().unwrap_or(&c.instrument_type);
        let plans = plans(c, names).map_err(here)?;
        let limits = constraints(&c.constraints).map_err(here)?;
        match out.last_mut().filter(|s| s["target"] == target) {
            Some(stay) => {
                stricter(&mut stay["constraints"], &limits);
                add(stay, channel, plans);
            }
            None => {
                let mut stay = json!({ "target": target, "constraints": limits, "albums": [] });
                add(&mut stay, channel, plans);
                out.push(stay);
            }
        }
        let total = |s: &Value| {
            s["albums"].as_array().map_or(0, |a| {
                a.iter().filter_map(|a| a["plans"].as_array()).map(Vec::len).sum()
            })
        };
        if out.last().map_or(0, total) > MOST_PLANS {
            return Err(wrong(
                "configuration_repeats",
                format!("asks for more than {MOST_PLANS} series of exposures"),
            ));
        }
    }
    Ok(out)
}

/// Adds plans to the album of a channel.
fn add(stay: &mut Value, channel: &str, plans: Vec<Value>) {
    let Some(albums) = stay["albums"].as_array_mut() else {
        return;
    };
    if let Some(album) = albums.iter_mut().find(|a| a["channel"] == channel)
        && let Some(known) = album["plans"].as_array_mut()
    {
        known.extend(plans);
    } else {
        albums.push(json!({ "channel": channel, "plans": plans }));
    }
}

/// Of two limits of one name the stricter: the larger distance from the Moon, the smaller of everything else.
fn stricter(known: &mut Value, new: &Value) {
    for (name, value) in new.as_object().into_iter().flatten() {
        let both = known[name].as_f64().zip(value.as_f64());
        let keep = both.is_some_and(|(a, b)| if name == "moon_sep_deg" { a >= b } else { a <= b });
        if !keep {
            known[name] = value.clone();
        }
    }
}

fn constraints(c: &LcoConstraints) -> Result<Value, Wrong> {
    if c.min_transparency.is_some_and(|t| t > 0.0) {
        return Err(wrong(
            "constraints.min_transparency",
            "the transparency is not measured here",
        ));
    }
    let pairs = [
        ("max_airmass", c.max_airmass),
        ("moon_sep_deg", c.min_lunar_distance),
        // 1 allows the full Moon, which is no limit.
        ("max_moon_illumination", c.max_lunar_phase.filter(|x| *x < 1.0)),
        ("max_seeing_arcsec", c.max_seeing),
    ];
    let given = pairs
        .into_iter()
        .filter_map(|(name, x)| Some((name.to_owned(), json!(x?))));
    Ok(Value::Object(given.collect()))
}

/// Position on the day of submission; the proper motion of a night more is nothing.
fn target(t: &LcoTarget, submitted_at: UtcTime) -> Result<Value, Wrong> {
    if !t.kind.eq_ignore_ascii_case("ICRS") {
        return Err(wrong(
            "type",
            format!("{} is a kind of target that is not read here", t.kind),
        ));
    }
    let (Some(ra), Some(dec)) = (t.ra, t.dec) else {
        return Err(wrong(if t.ra.is_none() { "ra" } else { "dec" }, "missing"));
    };
    if !(0.0..=360.0).contains(&ra) || !(-90.0..=90.0).contains(&dec) {
        return Err(wrong(
            if (0.0..=360.0).contains(&ra) { "dec" } else { "ra" },
            "is not on the sky",
        ));
    }
    /// 2000 January 1.5.
    const J2000: &str = "2000-01-01T12:00:00Z";
    let since = J2000
        .parse()
        .map_or(0.0, |j2000: UtcTime| submitted_at.seconds_since(j2000));
    let years = 2000.0 + since / (365.25 * 86_400.0) - t.epoch.unwrap_or(2000.0);
    let moved = |mas_yr: Option<f64>| mas_yr.unwrap_or(0.0) * years / 3.6e6;
    let dec_now = (dec + moved(t.proper_motion_dec)).clamp(-90.0, 90.0);
    let ra_now = (ra + moved(t.proper_motion_ra) / dec.to_radians().cos().max(1e-6)).rem_euclid(360.0);
    Ok(json!({ "name": t.name, "ra_deg": ra_now, "dec_deg": dec_now }))
}

fn plans(c: &Configuration, names: &LcoNames) -> Result<Vec<Value>, Wrong> {
    if c.instrument_configs.is_empty() {
        return Err(wrong("instrument_configs", "holds no exposure"));
    }
    let round_s: f64 = c
        .instrument_configs
        .iter()
        .map(|x| x.exposure_time * f64::from(x.exposure_count))
        .sum();
    let rounds = match c.kind.to_uppercase().as_str() {
        "EXPOSE" => 1,
        "REPEAT_EXPOSE" => {
            let Some(length_s) = c.repeat_duration.filter(|s| *s > 0.0) else {
                return Err(wrong("repeat_duration", "missing or not positive"));
            };
            let fit = (length_s / round_s.max(1e-3)).floor();
            if fit * c.instrument_configs.len() as f64 > MOST_PLANS as f64 {
                return Err(wrong(
                    "repeat_duration",
                    format!("asks for more than {MOST_PLANS} series of exposures"),
                ));
            }
            (fit as usize).max(1)
        }
        other => {
            return Err(wrong(
                "type",
                format!("{other} is a kind of exposure that is not made here"),
            ));
        }
    };
    let mut round = Vec::new();
    for (k, x) in c.instrument_configs.iter().enumerate() {
        let Some(Value::String(filter)) = x.optical_elements.get("filter") else {
            return Err(wrong(
                &format!("instrument_configs[{k}].optical_elements.filter"),
                "missing",
            ));
        };
        let filter = names.filters.get(filter).unwrap_or(filter);
        let binning = x
            .bin_x
            .or_else(|| u32::try_from(x.extra_params.get("bin_x")?.as_u64()?).ok());
        round.push(json!({
            "filter": filter, "exposure_s": x.exposure_time, "count": x.exposure_count, "binning": binning.unwrap_or(1),
        }));
    }
    // One series after the other is one series.
    if let [only] = round.as_mut_slice() {
        let count = only["count"].as_u64().unwrap_or(0).saturating_mul(rounds as u64);
        only["count"] = json!(count);
        return Ok(round);
    }
    Ok(std::iter::repeat_n(round, rounds).flatten().collect())
}

#[cfg(test)]
mod tests;
