//! The decision: which strategy, if any, follows an event, and what it asks for.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::tiling::{CANDIDATES, Tile, field_share, most_covered, tile_circle, tile_map};
use super::{Constraints, Matching, Preempt, Strategy, Tiling, UnitCapabilities, UpdatePolicy, glob_matches};
use crate::event::{Event, EventId, EventState, separation_deg};
use crate::notice::{Class, Flag, SkyMap};
use crate::reason::Reason;
use crate::skymap::MultiOrderMap;

/// Why an event is followed, or not, by a strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum DecisionReason {
    /// It is followed.
    Followed,
    /// There are no strategies.
    NoStrategy,
    /// No strategy wants it; the losers say why.
    NoneMatches,
    /// Every notice of it was withdrawn.
    Retracted,
    /// No notice of it may be acted upon, whatever a strategy says.
    NotActable {
        /// Why.
        reason: Reason,
    },
    /// The strategy is switched off.
    Disabled,
    /// Before or after the strategy's validity.
    OutOfValidity,
    /// No stream of the event is wanted.
    StreamNotWanted,
    /// No mission of the event is wanted.
    MissionNotWanted,
    /// No class of the event is wanted.
    ClassNotWanted,
    /// It is a test.
    Test,
    /// It carries none of the marks that are asked for.
    NotFlagged,
    /// It carries a mark that excludes it.
    Flagged {
        /// The mark.
        flag: Flag,
    },
    /// No time is known.
    NoTime,
    /// Older than the strategy takes.
    TooOld,
    /// Preliminary for too long.
    PreliminaryTooOld,
    /// No usable position and no sky map.
    NoPosition,
    /// The error is not stated, and the strategy bounds it.
    RadiusUnknown,
    /// The error is smaller than the strategy takes.
    RadiusTooSmall,
    /// The error is larger than the strategy takes.
    RadiusTooLarge,
    /// Too near the galactic plane.
    NearGalacticPlane,
    /// A measure is below its bound.
    BelowBound {
        /// Which.
        measure: String,
    },
    /// A measure is above its bound.
    AboveBound {
        /// Which.
        measure: String,
    },
    /// A measure the strategy needs is missing.
    MeasureMissing {
        /// Which.
        measure: String,
    },
    /// The telescope never reaches that declination.
    OutOfReach,
    /// No step serves the delay and the error radius.
    NoStep,
    /// The telescope has none of a step's filters.
    NoFilter,
    /// The region is larger than the field and the strategy does not tile.
    LargerThanField,
    /// The tiles would cover too little.
    CoverageTooSmall,
    /// Another strategy comes first.
    LowerPriority {
        /// Which.
        winner: String,
    },
}

impl DecisionReason {
    /// The stable code, as in JSON.
    #[must_use]
    pub fn code(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => {
                let code = fields.get("code").and_then(serde_json::Value::as_str);
                code.unwrap_or_default().to_owned()
            }
            _ => format!("{self:?}"),
        }
    }
}

impl fmt::Display for DecisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotActable { reason } => write!(f, "not_actable({reason})"),
            Self::Flagged { flag } => write!(f, "flagged({flag:?})"),
            Self::BelowBound { measure } => write!(f, "below_bound({measure})"),
            Self::AboveBound { measure } => write!(f, "above_bound({measure})"),
            Self::MeasureMissing { measure } => write!(f, "measure_missing({measure})"),
            Self::LowerPriority { winner } => write!(f, "lower_priority(after {winner})"),
            other => f.write_str(&other.code()),
        }
    }
}

/// A strategy that does not follow the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loser {
    /// Its name.
    pub strategy: String,
    /// Its version.
    pub version: u32,
    /// Why not.
    pub reason: DecisionReason,
}

/// What was decided about an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The event.
    pub event: EventId,
    /// When.
    pub at: DateTime<Utc>,
    /// What is asked for, when a strategy follows it.
    pub followed: Option<Proposal>,
    /// Why.
    pub reason: DecisionReason,
    /// Every other strategy.
    pub losers: Vec<Loser>,
}

/// One step of the exposures asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProposedStep {
    /// It serves from this long after the trigger, seconds.
    pub from_s: f64,
    /// Until this long after the trigger, seconds.
    pub until_s: f64,
    /// Filters the telescope has.
    pub filters: Vec<String>,
    /// One exposure, seconds.
    pub exposure_s: f64,
    /// Exposures per filter.
    pub count: u32,
    /// Dither radius, degrees.
    pub dither_deg: Option<f64>,
}

/// What a strategy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The event.
    pub event: EventId,
    /// What the event is called.
    pub event_name: String,
    /// The strategy.
    pub strategy: String,
    /// Its version.
    pub strategy_version: u32,
    /// 1 is first.
    pub priority: u8,
    /// Where, ICRS degrees: the best position, or the most probable tile.
    pub ra_deg: f64,
    /// Where, degrees.
    pub dec_deg: f64,
    /// 90 % radius, degrees; `None` when not stated or a map speaks.
    pub r90_deg: Option<f64>,
    /// Middle of the error circle; `None` for a sky map.
    pub centre_deg: Option<(f64, f64)>,
    /// Pointings for a region larger than the field, most probable first; empty for a single field.
    pub tiles: Vec<Tile>,
    /// Probability that the pointings cover, when known.
    pub covered_probability: Option<f64>,
    /// Trigger time.
    pub t0: DateTime<Utc>,
    /// Not before.
    pub not_before: DateTime<Utc>,
    /// Not after.
    pub not_after: DateTime<Utc>,
    /// Exposures: the step of the present delay first.
    pub steps: Vec<ProposedStep>,
    /// Later visits.
    pub revisit_at: Vec<DateTime<Utc>>,
    /// How long each of them may wait, seconds.
    pub visit_window_s: f64,
    /// When and where it may be observed.
    pub constraints: Constraints,
    /// What it may interrupt.
    pub preempt: Preempt,
    /// How updates are met.
    pub update: UpdatePolicy,
    /// From a test event.
    pub is_test: bool,
}

/// Whether a place can be observed under those constraints before an instant.
pub type Seen<'a> = &'a dyn Fn(&Constraints, f64, f64, DateTime<Utc>) -> bool;

/// Decides about an event at `now`, for a telescope that sees every place it reaches.
#[must_use]
pub fn decide(event: &Event, strategies: &[Strategy], unit: &UnitCapabilities, now: DateTime<Utc>) -> Decision {
    decide_seen(event, strategies, unit, now, &|_, _, _, _| true)
}

/// Decides about an event at `now`; tiles that are not `seen` are left out and do not count.
#[must_use]
pub fn decide_seen(
    event: &Event,
    strategies: &[Strategy],
    unit: &UnitCapabilities,
    now: DateTime<Utc>,
    seen: Seen<'_>,
) -> Decision {
    let none = |reason| Decision {
        event: event.id,
        at: now,
        followed: None,
        reason,
        losers: Vec::new(),
    };
    if strategies.is_empty() {
        return none(DecisionReason::NoStrategy);
    }
    if event.state == EventState::Retracted {
        return none(DecisionReason::Retracted);
    }
    if let Reason::NotCurrent
    | Reason::UnknownTense
    | Reason::UnknownAlertType
    | Reason::UnknownRole
    | Reason::Prediction
    | Reason::Utility
    | Reason::NotASource
    | Reason::LostLock
    | Reason::NotAGrb
    | Reason::AlreadyRetracted
    | Reason::BadSkymap = event.reason
    {
        return none(DecisionReason::NotActable { reason: event.reason });
    }
    // Said by a later notice of an event that was actable before: no strategy may overrule it.
    if event.flags.contains(&Flag::NotAGrb) {
        return none(DecisionReason::NotActable {
            reason: Reason::NotAGrb,
        });
    }
    // A map is megabytes: read once, whatever the number of strategies.
    let map = match &event.skymap {
        Some(SkyMap::Fits(bytes)) if event.best.is_none() => MultiOrderMap::from_fits(bytes).ok(),
        _ => None,
    };
    let mut losers = Vec::new();
    let mut winners = Vec::new();
    for strategy in strategies {
        match propose(event, map.as_ref(), strategy, unit, now, seen) {
            Ok(proposal) => winners.push(proposal),
            Err(reason) => losers.push(Loser {
                strategy: strategy.name.clone(),
                version: strategy.version,
                reason,
            }),
        }
    }
    winners.sort_by(|a, b| (a.priority, &a.strategy).cmp(&(b.priority, &b.strategy)));
    let mut winners = winners.into_iter();
    let followed = winners.next();
    if let Some(winner) = &followed {
        losers.extend(winners.map(|loser| Loser {
            strategy: loser.strategy,
            version: loser.strategy_version,
            reason: DecisionReason::LowerPriority {
                winner: winner.strategy.clone(),
            },
        }));
    }
    let reason = if followed.is_some() {
        DecisionReason::Followed
    } else {
        DecisionReason::NoneMatches
    };
    Decision {
        event: event.id,
        at: now,
        followed,
        reason,
        losers,
    }
}

/// Sine of the galactic latitude through the north galactic pole of J2000 (IAU 1958 as in the Hipparcos catalogue, vol. 1,
/// section 1.5.3: 192.85948, +27.12825 degrees).
fn galactic_latitude_deg(ra_deg: f64, dec_deg: f64) -> f64 {
    90.0 - separation_deg(ra_deg, dec_deg, 192.859_48, 27.128_25)
}

fn messengers(classes: &BTreeSet<Class>) -> usize {
    let kinds: BTreeSet<u8> = classes
        .iter()
        .filter_map(|class| match class {
            Class::Grb | Class::RadioBurst | Class::Optical => Some(0),
            Class::Neutrino => Some(1),
            Class::GravitationalWave => Some(2),
            Class::Unknown => None,
        })
        .collect();
    kinds.len()
}

fn check_strategy(strategy: &Strategy, now: DateTime<Utc>) -> Result<(), DecisionReason> {
    if !strategy.enabled {
        return Err(DecisionReason::Disabled);
    }
    if strategy.valid_from.is_some_and(|from| now < from) || strategy.valid_until.is_some_and(|until| now > until) {
        return Err(DecisionReason::OutOfValidity);
    }
    Ok(())
}

fn check_kind(event: &Event, want: &Matching) -> Result<(), DecisionReason> {
    if !want
        .streams
        .iter()
        .any(|glob| event.streams.iter().any(|stream| glob_matches(glob, stream)))
    {
        return Err(DecisionReason::StreamNotWanted);
    }
    if !want.missions.is_empty()
        && !want.missions.iter().any(|glob| {
            event
                .missions
                .iter()
                .any(|m| glob_matches(glob, &m.to_ascii_lowercase()))
        })
    {
        return Err(DecisionReason::MissionNotWanted);
    }
    if !want.classes.is_empty() && want.classes.is_disjoint(&event.classes) {
        return Err(DecisionReason::ClassNotWanted);
    }
    if event.is_test && !want.accept_test {
        return Err(DecisionReason::Test);
    }
    if !want.any_flags.is_empty() && want.any_flags.is_disjoint(&event.flags) {
        return Err(DecisionReason::NotFlagged);
    }
    match want.not_flags.intersection(&event.flags).next() {
        Some(flag) => Err(DecisionReason::Flagged { flag: *flag }),
        None => Ok(()),
    }
}

fn check_age(event: &Event, want: &Matching, now: DateTime<Utc>) -> Result<DateTime<Utc>, DecisionReason> {
    let t0 = event.t0.ok_or(DecisionReason::NoTime)?;
    if want.max_age.is_some_and(|limit| now - t0 > limit) {
        return Err(DecisionReason::TooOld);
    }
    if event.is_preliminary && want.max_preliminary_age.is_some_and(|limit| now - t0 > limit) {
        return Err(DecisionReason::PreliminaryTooOld);
    }
    Ok(t0)
}

fn check_measures(event: &Event, want: &Matching) -> Result<(), DecisionReason> {
    let value = |name: &String| {
        let known = event.measures.get(name).or_else(|| event.classification.get(name));
        known.copied().or(event.importance.filter(|_| name == "importance"))
    };
    if let Some(name) = want.required.iter().find(|name| value(name).is_none()) {
        return Err(DecisionReason::MeasureMissing { measure: name.clone() });
    }
    if let Some((name, _)) = want
        .min
        .iter()
        .find(|(name, bound)| value(name).is_some_and(|v| v < **bound))
    {
        return Err(DecisionReason::BelowBound { measure: name.clone() });
    }
    if let Some((name, _)) = want
        .max
        .iter()
        .find(|(name, bound)| value(name).is_some_and(|v| v > **bound))
    {
        return Err(DecisionReason::AboveBound { measure: name.clone() });
    }
    Ok(())
}

/// Where to point: one field, or tiles.
struct Pointings {
    ra_deg: f64,
    dec_deg: f64,
    r90_deg: Option<f64>,
    centre: Option<(f64, f64)>,
    tiles: Vec<Tile>,
    covered: Option<f64>,
}

fn pointings(
    event: &Event,
    map: Option<&MultiOrderMap>,
    strategy: &Strategy,
    unit: &UnitCapabilities,
    seen: &dyn Fn(f64, f64) -> bool,
) -> Result<Pointings, DecisionReason> {
    let want = &strategy.matching;
    let centre = event.best.as_ref().map(|b| (b.position.ra_deg, b.position.dec_deg));
    let tiled = |tiles: Vec<Tile>, r90_deg: Option<f64>, tiling: &Tiling| {
        let (low, high) = unit.dec_range_deg;
        let most = usize::try_from(tiling.max_tiles).unwrap_or(usize::MAX);
        // The probability falls fast: what comes after several times the wanted number holds next to nothing.
        let tiles: Vec<Tile> = tiles
            .into_iter()
            .filter(|t| (low..=high).contains(&t.dec_deg))
            .take(most.saturating_mul(CANDIDATES))
            .filter(|t| seen(t.ra_deg, t.dec_deg))
            .take(most)
            .collect();
        let covered: f64 = tiles.iter().map(|t| t.probability).sum();
        let first = tiles.first().copied().ok_or(DecisionReason::OutOfReach)?;
        if covered < tiling.min_cumulative_prob {
            return Err(DecisionReason::CoverageTooSmall);
        }
        Ok(Pointings {
            ra_deg: first.ra_deg,
            dec_deg: first.dec_deg,
            r90_deg,
            centre,
            tiles,
            covered: Some(covered),
        })
    };
    let Some(best) = &event.best else {
        let map = map.ok_or(DecisionReason::NoPosition)?;
        let tiling = strategy.tiling.as_ref().ok_or(DecisionReason::LargerThanField)?;
        return tiled(tile_map(map, unit.fov_deg, tiling), None, tiling);
    };
    let (position, r90_deg) = (best.position, best.position.r90_deg());
    match (r90_deg, want.max_r90_deg) {
        (Some(r90), Some(limit)) if r90 > limit => return Err(DecisionReason::RadiusTooLarge),
        (None, Some(_)) => return Err(DecisionReason::RadiusUnknown),
        _ => {}
    }
    match (r90_deg, want.min_r90_deg) {
        (Some(r90), Some(limit)) if r90 < limit => return Err(DecisionReason::RadiusTooSmall),
        (None, Some(_)) => return Err(DecisionReason::RadiusUnknown),
        _ => {}
    }
    if let Some(limit) = want.min_galactic_latitude_deg
        && galactic_latitude_deg(position.ra_deg, position.dec_deg).abs() < limit
    {
        return Err(DecisionReason::NearGalacticPlane);
    }
    if r90_deg.is_some_and(|r90| r90 > unit.fov_deg / 2.0) {
        let r90 = r90_deg.unwrap_or(0.0);
        let tiling = strategy.tiling.as_ref().ok_or(DecisionReason::LargerThanField)?;
        if most_covered(r90, unit.fov_deg, tiling) < tiling.min_cumulative_prob {
            return Err(DecisionReason::CoverageTooSmall);
        }
        let tiles = tile_circle(position.ra_deg, position.dec_deg, r90, unit.fov_deg, tiling);
        return tiled(tiles, r90_deg, tiling);
    }
    let (low, high) = unit.dec_range_deg;
    if !(low..=high).contains(&position.dec_deg) {
        return Err(DecisionReason::OutOfReach);
    }
    Ok(Pointings {
        ra_deg: position.ra_deg,
        dec_deg: position.dec_deg,
        r90_deg,
        centre,
        tiles: Vec::new(),
        covered: r90_deg.map(|r90| field_share(unit.fov_deg, r90)),
    })
}

#[allow(clippy::cast_precision_loss)]
fn seconds(duration: Duration) -> f64 {
    duration.num_milliseconds() as f64 / 1000.0
}

fn steps(
    strategy: &Strategy,
    r90_deg: Option<f64>,
    unit: &UnitCapabilities,
    age: Duration,
) -> Result<Vec<ProposedStep>, DecisionReason> {
    let mut out: Vec<ProposedStep> = Vec::new();
    let mut from = Duration::zero();
    let mut missing_filter = false;
    for step in strategy.steps.iter().filter(|s| s.until > age) {
        let serves = step
            .max_r90_deg
            .is_none_or(|limit| r90_deg.is_some_and(|r90| r90 <= limit));
        if !serves || step.until <= from {
            continue;
        }
        let filters: Vec<String> = step
            .filters
            .iter()
            .filter(|f| unit.filters.is_empty() || unit.filters.contains(*f))
            .cloned()
            .collect();
        if filters.is_empty() {
            missing_filter = true;
            continue;
        }
        out.push(ProposedStep {
            from_s: seconds(from),
            until_s: seconds(step.until),
            filters,
            exposure_s: step.exposure_s,
            count: step.count,
            dither_deg: step.dither_deg,
        });
        from = step.until;
    }
    if !out.is_empty() {
        Ok(out)
    } else if missing_filter {
        Err(DecisionReason::NoFilter)
    } else {
        Err(DecisionReason::NoStep)
    }
}

fn propose(
    event: &Event,
    map: Option<&MultiOrderMap>,
    strategy: &Strategy,
    unit: &UnitCapabilities,
    now: DateTime<Utc>,
    seen: Seen<'_>,
) -> Result<Proposal, DecisionReason> {
    let want = &strategy.matching;
    check_strategy(strategy, now)?;
    check_kind(event, want)?;
    let t0 = check_age(event, want, now)?;
    check_measures(event, want)?;
    let end_of = |last: Duration| {
        let end = want.max_age.map_or(t0 + last, |limit| (t0 + last).min(t0 + limit));
        strategy.valid_until.map_or(end, |until| end.min(until))
    };
    let longest = strategy.steps.last().map_or(Duration::zero(), |s| s.until);
    let place = pointings(event, map, strategy, unit, &|ra, dec| {
        seen(&strategy.constraints, ra, dec, end_of(longest))
    })?;
    let steps = steps(strategy, place.r90_deg, unit, now - t0)?;
    let not_after = end_of(Duration::milliseconds(steps.last().map_or(0, |s| millis(s.until_s))));
    let priority = match strategy.multi_messenger_priority {
        Some(priority) if messengers(&event.classes) > 1 => priority.min(strategy.priority),
        _ => strategy.priority,
    };
    Ok(Proposal {
        event: event.id,
        event_name: event
            .names
            .first()
            .cloned()
            .unwrap_or_else(|| format!("event {}", event.id)),
        strategy: strategy.name.clone(),
        strategy_version: strategy.version,
        priority,
        ra_deg: place.ra_deg,
        dec_deg: place.dec_deg,
        r90_deg: place.r90_deg,
        centre_deg: place.centre,
        tiles: place.tiles,
        covered_probability: place.covered,
        t0,
        not_before: now,
        not_after,
        steps,
        revisit_at: strategy
            .revisit_after
            .iter()
            .map(|after| t0 + *after)
            .filter(|at| *at > now && strategy.valid_until.is_none_or(|until| *at < until))
            .collect(),
        visit_window_s: seconds(strategy.visit_window),
        constraints: strategy.constraints,
        preempt: strategy.preempt,
        update: strategy.update,
        is_test: event.is_test,
    })
}

// Bounded by the strategy file's check on durations.
#[allow(clippy::cast_possible_truncation)]
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
