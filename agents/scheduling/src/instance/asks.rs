//! What an instance may ask beyond the required keys; every key is optional.
//!
//! Of the night:
//!
//! ```json
//! {"horizon": [[az_deg, alt_deg], ...],
//!  "groups": {"name": {"at_least": 2, "at_most": 3}},
//!  "conditions": [{"start_utc": "...Z", "end_utc": "...Z", "seeing_arcsec": 1.2, "cloud_cover": 0.3}],
//!  "weights": {"preferred": 0.2, "preferred_scale_s": 3600, "airmass": 0.1, "promise": 0.05},
//!  "units": [{"name": "t1", "classes": ["1m"]}, {"name": "t2", "classes": ["1m", "wide"]}],
//!  "overheads": {"axis1_deg_s": 3, "axis2_deg_s": 3, "flip_s": 60, "dome_deg_s": 4, "filter_s": 10}}
//! ```
//!
//! `units` are telescopes that are planned together. With `overheads` ([`crate::Overheads`]; a unit may have its own)
//! changes of target take what the movements take, and `overhead_s` comes on top.
//!
//! Of a request: `unit` (a name or a class of `units`), `filters` (of its first and last frame, `["r", "g"]`), `group` (a
//! name of `groups`), `after` (`{"id": "...", "min_gap_s": 0, "max_gap_s": 600}`, from the end of
//! that exposure to the start of this), `charged` (false spares the quota), `max_seeing_arcsec`, `max_cloud_cover`, and
//! `repeats` (`{"count": 4, "period_s": 3600, "tolerance_s": 300}`): the request becomes `id/1`, `id/2` ..., each starting
//! one period after the start before it, within the tolerance. `after` another's repeats names one of them.

use super::{Checked, join, key, number, object, optional, positive, shown, text, time};
use crate::constraints::HorizonMask;
use crate::ephemeris::Span;
use crate::problem::{After, Conditions, GroupRule, Problem, Request, Weights};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Repeats of one request beyond which it is refused.
const MOST_REPEATS: f64 = 1000.0;
const DAY_S: f64 = 86_400.0;

/// A request asked for several times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Repeats {
    count: usize,
    period_s: f64,
    tolerance_s: f64,
}

fn list<'v>(root: &'v Map<String, Value>, name: &str) -> Checked<&'v [Value]> {
    match root.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err((name.to_owned(), format!("expected a list, found {}", shown(other)))),
    }
}

/// The member of that name as an object, when it is there.
fn part<'v>(map: &'v Map<String, Value>, place: &str, name: &str) -> Checked<Option<&'v Map<String, Value>>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => object(value, &join(place, name)).map(Some),
    }
}

fn whole(map: &Map<String, Value>, place: &str, name: &str, low: f64, high: f64) -> Checked<Option<usize>> {
    match optional(map, place, name, low, high)? {
        Some(x) if x.fract() != 0.0 => Err((join(place, name), format!("{x} is not a whole number"))),
        other => Ok(other.map(|x| x as usize)),
    }
}

/// Horizon, groups, conditions and weights.
pub(super) fn of_night(root: &Map<String, Value>, problem: &mut Problem) -> Checked<()> {
    problem.horizon = horizon(root)?;
    problem.conditions = conditions(root)?;
    if let Some(groups) = part(root, "", "groups")? {
        for name in groups.keys() {
            let place = format!("groups.{name}");
            let rule = object(key(groups, "groups", name)?, &place)?;
            let rule = GroupRule {
                at_least: whole(rule, &place, "at_least", 0.0, 1e6)?.unwrap_or(0),
                at_most: whole(rule, &place, "at_most", 0.0, 1e6)?,
            };
            if rule.at_most.is_some_and(|most| most < rule.at_least) {
                return Err((place, "at_most is less than at_least".into()));
            }
            problem.groups.insert(name.clone(), rule);
        }
    }
    for (k, item) in list(root, "units")?.iter().enumerate() {
        problem.units.push(shaped(item, &format!("units[{k}]"))?);
    }
    if let Some(overheads) = root.get("overheads").filter(|v| !v.is_null()) {
        problem.overheads = Some(shaped(overheads, "overheads")?);
    }
    if let Some(w) = part(root, "", "weights")? {
        let usual = Weights::default();
        let of = |name, most, usual| optional(w, "weights", name, 0.0, most).map(|x| x.unwrap_or(usual));
        problem.weights = Weights {
            preferred: of("preferred", 1.0, usual.preferred)?,
            preferred_scale_s: of("preferred_scale_s", 1e6, usual.preferred_scale_s)?,
            airmass: of("airmass", 1.0, usual.airmass)?,
            promise: of("promise", 10.0, usual.promise)?,
            urgency: of("urgency", 10.0, usual.urgency)?,
            balance: of("balance", 1.0, usual.balance)?,
        };
    }
    Ok(())
}

/// A part whose shape is a type's own.
fn shaped<T: serde::de::DeserializeOwned>(value: &Value, place: &str) -> Checked<T> {
    serde_json::from_value(value.clone()).map_err(|e| (place.to_owned(), e.to_string()))
}

fn horizon(root: &Map<String, Value>) -> Checked<HorizonMask> {
    let point = |(n, item): (usize, &Value)| {
        let pair = item.as_array().and_then(|a| match a.as_slice() {
            [az, alt] => Some((az.as_f64()?, alt.as_f64()?)),
            _ => None,
        });
        pair.filter(|(az, alt)| (0.0..=360.0).contains(az) && (-90.0..=90.0).contains(alt))
            .ok_or_else(|| {
                (
                    format!("horizon[{n}]"),
                    format!("expected [azimuth 0 to 360, altitude -90 to 90], found {}", shown(item)),
                )
            })
    };
    let points = list(root, "horizon")?
        .iter()
        .enumerate()
        .map(point)
        .collect::<Checked<_>>()?;
    Ok(HorizonMask { points })
}

fn conditions(root: &Map<String, Value>) -> Checked<Vec<Conditions>> {
    let one = |(n, item): (usize, &Value)| {
        let place = format!("conditions[{n}]");
        let map = object(item, &place)?;
        let span = Span::new(time(map, &place, "start_utc")?, time(map, &place, "end_utc")?);
        if span.end <= span.start {
            return Err((join(&place, "end_utc"), "it ends before it starts".into()));
        }
        Ok(Conditions {
            span,
            seeing_arcsec: optional(map, &place, "seeing_arcsec", 0.0, 100.0)?,
            cloud_cover: optional(map, &place, "cloud_cover", 0.0, 1.0)?,
        })
    };
    list(root, "conditions")?.iter().enumerate().map(one).collect()
}

/// Order, group, quota and weather of a request; its repeats are returned.
pub(super) fn of_request(item: &Value, place: &str, problem: &Problem, r: &mut Request) -> Checked<Option<Repeats>> {
    let map = object(item, place)?;
    r.max_seeing_arcsec = optional(map, place, "max_seeing_arcsec", 0.0, 100.0)?;
    r.max_cloud_cover = optional(map, place, "max_cloud_cover", 0.0, 1.0)?;
    r.charged = match map.get("charged") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(yes)) => *yes,
        Some(other) => {
            return Err((
                join(place, "charged"),
                format!("expected true or false, found {}", shown(other)),
            ));
        }
    };
    if map.get("unit").is_some_and(|v| !v.is_null()) {
        let name = text(map, place, "unit")?;
        if !problem.units.iter().any(|unit| unit.answers_to(&name)) {
            return Err((join(place, "unit"), format!("unknown unit \"{name}\"")));
        }
        r.unit = Some(name);
    }
    if let Some(filters) = map.get("filters").filter(|v| !v.is_null()) {
        r.filters = Some(shaped(filters, &join(place, "filters"))?);
    }
    if map.get("group").is_some_and(|v| !v.is_null()) {
        let name = text(map, place, "group")?;
        if !problem.groups.contains_key(&name) {
            return Err((join(place, "group"), format!("unknown group \"{name}\"")));
        }
        r.group = Some(name);
    }
    if let Some(after) = part(map, place, "after")? {
        let place = join(place, "after");
        let min_gap_s = optional(after, &place, "min_gap_s", 0.0, 2.0 * DAY_S)?.unwrap_or(0.0);
        let max_gap_s = optional(after, &place, "max_gap_s", min_gap_s, 2.0 * DAY_S)?;
        r.after = Some(After {
            id: text(after, &place, "id")?,
            min_gap_s,
            max_gap_s,
        });
    }
    let Some(repeats) = part(map, place, "repeats")? else {
        return Ok(None);
    };
    let place = join(place, "repeats");
    let count = whole(repeats, &place, "count", 1.0, MOST_REPEATS)?
        .ok_or_else(|| (join(&place, "count"), "missing".to_owned()))?;
    let period_s = positive(repeats, &place, "period_s", DAY_S)?;
    if period_s < r.duration_s {
        let cause = format!("{period_s} is shorter than the observation itself, {}", r.duration_s);
        return Err((join(&place, "period_s"), cause));
    }
    let tolerance_s = number(repeats, &place, "tolerance_s", 0.0, period_s)?;
    Ok(Some(Repeats {
        count,
        period_s,
        tolerance_s,
    }))
}

/// The request itself, or its repeats, each tied to the one before.
pub(super) fn repeated(request: Request, repeats: Option<Repeats>) -> Vec<Request> {
    let Some(Repeats {
        count,
        period_s,
        tolerance_s,
    }) = repeats
    else {
        return vec![request];
    };
    // Ties count from the end of the exposure before, a cadence from its start.
    let rest_s = period_s - request.duration_s;
    let named = |n: usize| format!("{}/{n}", request.id);
    let one = |n: usize| {
        let mut r = request.clone();
        r.id = named(n);
        if n > 1 {
            r.after = Some(After {
                id: named(n - 1),
                min_gap_s: (rest_s - tolerance_s).max(0.0),
                max_gap_s: Some(rest_s + tolerance_s),
            });
        }
        r
    };
    (1..=count).map(one).collect()
}

/// Every `after` names a request, and none follows itself, however indirectly.
pub(super) fn check_order(problem: &Problem) -> Checked<()> {
    let follows: BTreeMap<&str, Option<&str>> = problem
        .requests
        .iter()
        .map(|r| (r.id.as_str(), r.after.as_ref().map(|a| a.id.as_str())))
        .collect();
    if follows.len() < problem.requests.len() {
        return Err(("requests".into(), "a repeat has the id of another request".into()));
    }
    // 0: not seen; otherwise the number of the walk that came by, which finds a circle in linear time.
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (walk, r) in problem.requests.iter().enumerate() {
        let mut here = r.id.as_str();
        while let Some(next) = follows.get(here).copied().flatten() {
            if !follows.contains_key(next) {
                return Err((
                    format!("request \"{here}\": after.id"),
                    format!("unknown request \"{next}\""),
                ));
            }
            match seen.insert(here, walk) {
                Some(earlier) if earlier == walk => {
                    return Err((format!("request \"{here}\": after.id"), "it follows itself".into()));
                }
                Some(_) => break,
                None => here = next,
            }
        }
    }
    Ok(())
}
