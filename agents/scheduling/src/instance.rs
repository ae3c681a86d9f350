//! The file format `obs-schedule-instance/1`: one night for a planner, and the schedule that answers it.
//!
//! ```json
//! {"format": "obs-schedule-instance/1", "name": "...",
//!  "site": {"name": "...", "lat_deg": 43.9, "lon_deg": 5.7, "height_m": 650},
//!  "night": {"date": "2026-12-15", "start_utc": "...Z", "end_utc": "...Z", "sun_max_alt_deg": -18},
//!  "overhead_s": 60, "quotas_s": {"user": 6780} or null,
//!  "requests": [{"id": "...", "user": "...", "ra_deg": 1, "dec_deg": 2, "duration_s": 600, "priority": 5,
//!                "min_alt_deg": 30, "moon_sep_deg": 20, "windows": [["...Z", "...Z"]]}]}
//! ```
//!
//! Altitudes are topocentric without refraction; `overhead_s` separates the end of a block from the start of the next;
//! the objective is the sum of `priority x duration_s`. A request may add `overhead_s`, `preferred_utc`,
//! `max_airmass`, `max_moon_illumination`, `max_alt_deg`, `sun_max_alt_deg`, `hour_angle_deg` (a pair) and what
//! `asks` documents: order, groups, repeats, weather classes; the instance a horizon, conditions and weights.

mod asks;

use crate::constraints::Constraints;
use crate::ephemeris::{Icrs, NightTrack, Site, Span};
use crate::plan::Plan;
use crate::problem::{Problem, Request};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The format's name in its `format` key.
pub const FORMAT: &str = "obs-schedule-instance/1";
/// Requests beyond which an instance is refused.
pub const MOST_REQUESTS: usize = 50_000;
/// Bytes beyond which a file is refused.
pub const MOST_BYTES: u64 = 64 << 20;

/// A fault of an instance file: one line with file, place and cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {cause}")]
pub struct InstanceError {
    pub file: String,
    pub place: String,
    pub cause: String,
}

/// A parsed instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub name: String,
    pub date: NaiveDate,
    pub problem: Problem,
}

/// Place and cause of a fault; the file's name is added at the top.
type Fault = (String, String);
type Checked<T> = Result<T, Fault>;

/// Reads an instance from its text; `file` names it in errors.
pub fn parse_instance(file: &str, text: &str) -> Result<Instance, InstanceError> {
    let fault = |(place, cause): Fault| InstanceError {
        file: file.to_owned(),
        place,
        cause,
    };
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let place = format!("line {} column {}", e.line(), e.column());
        let here = text.lines().nth(e.line().saturating_sub(1)).unwrap_or("");
        let here = here.get(e.column().saturating_sub(1)..).unwrap_or("");
        let cause = e.to_string();
        let cause = cause.split(" at line ").next().unwrap_or("not JSON").to_owned();
        let not_finite = ["NaN", "Infinity", "-Infinity"]
            .into_iter()
            .find(|w| here.starts_with(w));
        fault((
            place,
            not_finite.map_or(format!("not valid JSON: {cause}"), |w| format!("{w} is not a number")),
        ))
    })?;
    read(&value).map_err(fault)
}

fn read(value: &Value) -> Checked<Instance> {
    let root = object(value, "top level")?;
    match root.get("format") {
        Some(Value::String(s)) if s == FORMAT => {}
        Some(other) => {
            return Err((
                "format".into(),
                format!("expected \"{FORMAT}\", found {}", shown(other)),
            ));
        }
        None => return Err(("format".into(), format!("missing; expected \"{FORMAT}\""))),
    }
    let site = object(key(root, "", "site")?, "site")?;
    let site = Site::new(
        number(site, "site", "lat_deg", -90.0, 90.0)?,
        number(site, "site", "lon_deg", -180.0, 360.0)?,
        number(site, "site", "height_m", -500.0, 10_000.0)?,
    );
    let night = object(key(root, "", "night")?, "night")?;
    let span = Span::new(time(night, "night", "start_utc")?, time(night, "night", "end_utc")?);
    let sun_max = number(night, "night", "sun_max_alt_deg", -90.0, 90.0)?;
    check_night(&site, span, sun_max)?;
    let date = date(night, span)?;
    let overhead_s = number(root, "", "overhead_s", 0.0, 86_400.0)?;
    let mut problem = Problem::new(site, span, sun_max);
    problem.quotas_s = quotas(root)?;
    asks::of_night(root, &mut problem)?;
    let Value::Array(list) = key(root, "", "requests")? else {
        return Err(("requests".into(), "expected a list".into()));
    };
    if list.len() > MOST_REQUESTS {
        return Err((
            "requests".into(),
            format!("{} requests, at most {MOST_REQUESTS} are planned", list.len()),
        ));
    }
    let mut ids = BTreeSet::new();
    for (k, item) in list.iter().enumerate() {
        let mut request = request(item, k, overhead_s)?;
        let repeats = asks::of_request(item, &format!("requests[{k}]"), &problem, &mut request)?;
        let place = format!("requests[{k}]");
        if !ids.insert(request.id.clone()) {
            return Err((format!("{place}.id"), format!("\"{}\" is used twice", request.id)));
        }
        if !problem.quotas_s.is_empty() && !problem.quotas_s.contains_key(&request.user) {
            return Err((
                format!("{place}.user"),
                format!("unknown user \"{}\": it has no quota", request.user),
            ));
        }
        problem.requests.extend(asks::repeated(request, repeats));
        if problem.requests.len() > MOST_REQUESTS {
            let cause = format!("with its repeats the instance has more than {MOST_REQUESTS} requests");
            return Err((place, cause));
        }
    }
    asks::check_order(&problem)?;
    let name = root.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    problem.check().map_err(|e| ("problem".to_owned(), e.to_string()))?;
    Ok(Instance { name, date, problem })
}

fn check_night(site: &Site, span: Span, sun_max: f64) -> Checked<()> {
    use chrono::Datelike;
    if span.end <= span.start {
        return Err(("night.end_utc".into(), "the night ends before it starts".into()));
    }
    if span.length_s() > 86_400.0 {
        return Err(("night.end_utc".into(), "the night is longer than a day".into()));
    }
    if !(1972..=2100).contains(&span.start.year()) {
        return Err(("night.start_utc".into(), "the year is outside 1972 to 2100".into()));
    }
    let track = NightTrack::new(site, span);
    let steps = (span.length_s() / 60.0).ceil().max(1.0) as usize;
    let at = |k: usize| track.sun_alt_deg(span.length_s() * k as f64 / steps as f64);
    let lowest = (0..=steps).map(at).fold(f64::MAX, f64::min);
    if lowest > sun_max {
        let cause = format!("no darkness: the Sun does not go below {lowest:.2} degrees, the limit is {sun_max}");
        return Err(("night".into(), cause));
    }
    Ok(())
}

fn date(night: &Map<String, Value>, span: Span) -> Checked<NaiveDate> {
    match night.get("date") {
        None => Ok(span.start.date_naive()),
        Some(Value::String(s)) => s.parse().map_err(|_| {
            (
                "night.date".to_owned(),
                format!("expected a date such as 2026-12-15, found \"{s}\""),
            )
        }),
        Some(other) => Err(("night.date".into(), format!("expected a date, found {}", shown(other)))),
    }
}

fn quotas(root: &Map<String, Value>) -> Checked<BTreeMap<String, f64>> {
    match root.get("quotas_s") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(map)) => {
            let quota = |user: &String| number(map, "quotas_s", user, 0.0, 1e9).map(|q| (user.clone(), q));
            map.keys().map(quota).collect()
        }
        Some(other) => Err((
            "quotas_s".into(),
            format!("expected an object or null, found {}", shown(other)),
        )),
    }
}

fn request(item: &Value, k: usize, overhead_s: f64) -> Checked<Request> {
    let place = format!("requests[{k}]");
    let map = object(item, &place)?;
    let target = Icrs::new(
        number(map, &place, "ra_deg", 0.0, 360.0)?,
        number(map, &place, "dec_deg", -90.0, 90.0)?,
    );
    let duration_s = positive(map, &place, "duration_s", 86_400.0)?;
    let priority = positive(map, &place, "priority", 1e9)?;
    let mut r = Request::new(
        text(map, &place, "id")?,
        text(map, &place, "user")?,
        target,
        duration_s,
        priority,
    );
    r.overhead_s = optional(map, &place, "overhead_s", 0.0, 86_400.0)?.unwrap_or(overhead_s);
    r.constraints = Constraints {
        min_alt_deg: number(map, &place, "min_alt_deg", -90.0, 90.0)?,
        max_alt_deg: optional(map, &place, "max_alt_deg", -90.0, 90.0)?,
        max_airmass: optional(map, &place, "max_airmass", 1.0, 40.0)?,
        moon_sep_deg: number(map, &place, "moon_sep_deg", 0.0, 180.0)?,
        max_moon_illumination: optional(map, &place, "max_moon_illumination", 0.0, 1.0)?,
        sun_max_alt_deg: optional(map, &place, "sun_max_alt_deg", -90.0, 90.0)?,
        hour_angle_deg: hour_angle(map, &place)?,
    };
    if map.contains_key("preferred_utc") {
        r.preferred = Some(time(map, &place, "preferred_utc")?);
    }
    r.windows = windows(map, &place)?;
    Ok(r)
}

fn hour_angle(map: &Map<String, Value>, place: &str) -> Checked<Option<(f64, f64)>> {
    let Some(value) = map.get("hour_angle_deg").filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    let pair = value.as_array().and_then(|a| match a.as_slice() {
        [a, b] => Some((a.as_f64()?, b.as_f64()?)),
        _ => None,
    });
    match pair {
        Some((a, b)) if -180.0 <= a && a <= b && b <= 180.0 => Ok(Some((a, b))),
        _ => Err((
            format!("{place}.hour_angle_deg"),
            "expected [from, to] within -180 to 180".into(),
        )),
    }
}

fn windows(map: &Map<String, Value>, place: &str) -> Checked<Vec<Span>> {
    let Some(value) = map.get("windows").filter(|v| !v.is_null()) else {
        return Ok(Vec::new());
    };
    let Value::Array(list) = value else {
        return Err((
            format!("{place}.windows"),
            format!("expected a list, found {}", shown(value)),
        ));
    };
    let mut out = Vec::new();
    for (n, item) in list.iter().enumerate() {
        let place = format!("{place}.windows[{n}]");
        let (from, to) = match item.as_array().map(Vec::as_slice) {
            Some([Value::String(a), Value::String(b)]) => (instant(a, &place)?, instant(b, &place)?),
            _ => return Err((place, "expected [start_utc, end_utc]".into())),
        };
        if to == from {
            return Err((place, "the window is empty".into()));
        }
        if to < from {
            return Err((place, "the window ends before it starts".into()));
        }
        out.push(Span::new(from, to));
    }
    Ok(out)
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}

/// A value cut short for a message.
fn shown(v: &Value) -> String {
    let s = v.to_string();
    if s.chars().count() > 40 {
        format!("{}...", s.chars().take(40).collect::<String>())
    } else {
        s
    }
}

fn object<'v>(v: &'v Value, place: &str) -> Checked<&'v Map<String, Value>> {
    v.as_object()
        .ok_or_else(|| (place.to_owned(), format!("expected an object, found {}", shown(v))))
}

fn key<'v>(map: &'v Map<String, Value>, place: &str, name: &str) -> Checked<&'v Value> {
    map.get(name).ok_or_else(|| (join(place, name), "missing".to_owned()))
}

fn text(map: &Map<String, Value>, place: &str, name: &str) -> Checked<String> {
    match key(map, place, name)? {
        Value::String(s) if !s.is_empty() && s.len() <= 200 => Ok(s.clone()),
        Value::String(s) if s.is_empty() => Err((join(place, name), "empty".into())),
        other => Err((
            join(place, name),
            format!("expected a text of at most 200 bytes, found {}", shown(other)),
        )),
    }
}

fn number(map: &Map<String, Value>, place: &str, name: &str, low: f64, high: f64) -> Checked<f64> {
    let value = key(map, place, name)?;
    let Some(x) = value.as_f64().filter(|x| x.is_finite()) else {
        return Err((join(place, name), format!("expected a number, found {}", shown(value))));
    };
    if (low..=high).contains(&x) {
        Ok(x)
    } else {
        Err((join(place, name), format!("{x} is outside {low} to {high}")))
    }
}

fn positive(map: &Map<String, Value>, place: &str, name: &str, high: f64) -> Checked<f64> {
    let x = number(map, place, name, f64::MIN, high)?;
    if x > 0.0 {
        Ok(x)
    } else {
        Err((join(place, name), format!("{x} is not positive")))
    }
}

fn optional(map: &Map<String, Value>, place: &str, name: &str, low: f64, high: f64) -> Checked<Option<f64>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => number(map, place, name, low, high).map(Some),
    }
}

fn time(map: &Map<String, Value>, place: &str, name: &str) -> Checked<DateTime<Utc>> {
    instant(&text(map, place, name)?, &join(place, name))
}

/// RFC 3339, or the same without a zone, which then is UTC.
fn instant(s: &str, place: &str) -> Checked<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(s).map(|t| t.to_utc());
    let bare = || NaiveDateTime::parse_from_str(s, "%Y-%m-%dT%H:%M:%S%.f").map(|t| t.and_utc());
    zoned.or_else(|_| bare()).map_err(|_| {
        (
            place.to_owned(),
            format!("expected a UTC time such as 2026-12-15T18:00:00Z, found \"{s}\""),
        )
    })
}

/// UTC text of an instant: whole seconds when it is one, else milliseconds.
pub fn utc_text(t: DateTime<Utc>) -> String {
    let whole = t.timestamp_subsec_nanos() == 0;
    t.format(if whole {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S%.3fZ"
    })
    .to_string()
}

/// The schedule document: blocks with their slack, reasons, objective and bound.
pub fn schedule_document(instance: &Instance, plan: &Plan) -> Value {
    let block = |p: &crate::plan::Planned| {
        let mut v = json!({
            "id": p.id, "start_utc": utc_text(p.start), "end_utc": utc_text(p.end),
            "delta_tl_s": p.delta_tl_s, "delta_tr_s": p.delta_tr_s, "value": p.value,
        });
        if let Some(unit) = &p.unit {
            v["unit"] = json!(unit);
        }
        v
    };
    let left_out = |u: &crate::plan::Unplanned| {
        let mut v = json!({"id": u.id, "reason": u.reason, "sentence": u.sentence});
        if !u.exclusions.is_empty() {
            v["exclusions"] = json!(u.exclusions);
        }
        v
    };
    json!({
        "format": "obs-schedule/1",
        "instance": instance.name,
        "schedule": plan.planned.iter().map(block).collect::<Vec<_>>(),
        "unplanned": plan.unplanned.iter().map(left_out).collect::<Vec<_>>(),
        "objective": plan.objective,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "iterations": plan.iterations,
        "used_s_by_user": plan.used_s,
    })
}
