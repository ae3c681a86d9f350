//! What the planner is asked: one night, its requests, its quotas, and what already stands.

use crate::constraints::{Constraints, HorizonMask};
use crate::ephemeris::{Icrs, Site, Span};
use crate::overheads::Overheads;
use crate::units::Unit;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One schedulable observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub id: String,
    /// Account charged for the observing time.
    pub user: String,
    pub target: Icrs,
    /// Observing time, seconds.
    pub duration_s: f64,
    /// Time needed before the start (slew, filter, focus, read-out of the one before), seconds. Where overheads are
    /// modelled ([`Problem::overheads`]): what this request needs beyond the modelled setup.
    pub overhead_s: f64,
    /// Weight per second observed; higher is better, positive.
    pub priority: f64,
    #[serde(default)]
    pub constraints: Constraints,
    /// The observation lies inside one of these; empty: any time.
    #[serde(default)]
    pub windows: Vec<Span>,
    /// Preferred start.
    #[serde(default)]
    pub preferred: Option<DateTime<Utc>>,
    /// False for alerts: the quota of the user is not charged.
    #[serde(default = "yes")]
    pub charged: bool,
    /// Start only after another request has ended.
    #[serde(default)]
    pub after: Option<After>,
    /// Name of a group in [`Problem::groups`].
    #[serde(default)]
    pub group: Option<String>,
    /// Largest seeing at the zenith it accepts (full width at half maximum), arcseconds.
    #[serde(default)]
    pub max_seeing_arcsec: Option<f64>,
    /// Largest share of the sky under cloud it accepts, 0 to 1.
    #[serde(default)]
    pub max_cloud_cover: Option<f64>,
    /// Name of a unit, or of a class of units, it must run on; None: any.
    #[serde(default)]
    pub unit: Option<String>,
    /// Filters of its first and its last frame; None: it never causes a change.
    #[serde(default)]
    pub filters: Option<(String, String)>,
    /// What tonight is worth to its completion, 0 (any night will do) to 1 (tonight or never); see
    /// [`crate::outlook::Outlook::urgency`].
    #[serde(default)]
    pub urgency: f64,
}

fn yes() -> bool {
    true
}

impl Request {
    pub fn new(id: impl Into<String>, user: impl Into<String>, target: Icrs, duration_s: f64, priority: f64) -> Self {
        Self {
            id: id.into(),
            user: user.into(),
            target,
            duration_s,
            overhead_s: 0.0,
            priority,
            constraints: Constraints::default(),
            windows: Vec::new(),
            preferred: None,
            charged: true,
            after: None,
            group: None,
            max_seeing_arcsec: None,
            max_cloud_cover: None,
            unit: None,
            filters: None,
            urgency: 0.0,
        }
    }
}

/// "Not before": the other request must be planned (or kept) and ended at least `min_gap_s` earlier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct After {
    pub id: String,
    #[serde(default)]
    pub min_gap_s: f64,
    #[serde(default)]
    pub max_gap_s: Option<f64>,
}

/// What the weather is, or is forecast to be, over a stretch. Where no entry speaks, every class is met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub span: Span,
    /// Seeing at the zenith (full width at half maximum), arcseconds.
    #[serde(default)]
    pub seeing_arcsec: Option<f64>,
    /// Share of the sky under cloud, 0 to 1.
    #[serde(default)]
    pub cloud_cover: Option<f64>,
}

/// Limits on how many requests of a group are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupRule {
    /// Fewer than this, and none is.
    #[serde(default)]
    pub at_least: usize,
    #[serde(default)]
    pub at_most: Option<usize>,
}

/// Why a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptKind {
    /// On the telescope now, or pinned by an operator: immovable, not part of the objective.
    Fixed,
    /// In the last published plan: kept at its start when that costs little ([`Weights::promise`]).
    Promised,
}

/// A block of an earlier plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptBlock {
    /// The request's id. A `Fixed` block need not have a request; when it has one, it is not planned again.
    pub id: String,
    pub kind: KeptKind,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// Time needed before its start, seconds (0 when it already runs).
    #[serde(default)]
    pub overhead_s: f64,
    /// User charged for a `Fixed` block; None when its time is already off the quota.
    #[serde(default)]
    pub charge: Option<String>,
    /// Name of its unit; None: the only one, and with several units a fixed block stands on all of them.
    #[serde(default)]
    pub unit: Option<String>,
}

/// Weights of the objective. A plan's objective is the sum over its requests, fixed blocks left out, of what each is worth
/// when its exposure starts at `s`:
///
/// `priority x duration_s x (1 + urgency x u + balance x b - preferred x min(1, |s - s_pref| / preferred_scale_s)
///   - airmass x (1 - sin(alt) / sin(alt_best)) + promise x [s within a minute of the promised start, on its unit])`
///
/// - `u` is the request's urgency: the share of its chance to be completed that is lost when it does not get tonight.
/// - `b` is how far its user is behind the others: the share of the user's quota that is left, less the share of all
///   quotas that is left, -1 to 1 ([`Problem::granted_s`]); 0 for what no quota is charged for.
/// - `alt` is the altitude at the middle of the exposure and `alt_best` its highest of the night.
///
/// A request is never worth less than a thousandth of `priority x duration_s`, so that a free place is used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// Share lost when the start is `preferred_scale_s` or more away from the preferred one, 0 to 1.
    pub preferred: f64,
    pub preferred_scale_s: f64,
    /// Share that a target on the horizon loses against one at its best, 0 to 1.
    pub airmass: f64,
    /// Share gained by keeping a promised start, 0 or more.
    pub promise: f64,
    /// Share gained by a request that has tonight or never, 0 to 10.
    pub urgency: f64,
    /// Share gained by a user with the whole quota left where the others' is spent, and lost the other way, 0 to 1.
    pub balance: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            preferred: 0.2,
            preferred_scale_s: 3600.0,
            airmass: 0.0,
            promise: 0.05,
            urgency: 0.5,
            balance: 0.2,
        }
    }
}

/// One night to plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub site: Site,
    #[serde(default)]
    pub horizon: HorizonMask,
    /// Blocks lie inside it (their overhead may precede it).
    pub night: Span,
    /// Nothing moves before this instant; None plans the whole night.
    #[serde(default)]
    pub now: Option<DateTime<Utc>>,
    /// Highest Sun for requests without their own twilight class, degrees.
    pub sun_max_alt_deg: f64,
    pub requests: Vec<Request>,
    /// Seconds each user may still be given; a user without an entry is unlimited.
    #[serde(default)]
    pub quotas_s: BTreeMap<String, f64>,
    /// Accounts that pay beside a user's own: user to a name in `quotas_s`, such as an institute that its members share.
    #[serde(default)]
    pub pools: BTreeMap<String, String>,
    /// The whole quota of each user's period, of which [`Problem::quotas_s`] is left, seconds. It moves the objective only.
    #[serde(default)]
    pub granted_s: BTreeMap<String, f64>,
    #[serde(default)]
    pub groups: BTreeMap<String, GroupRule>,
    /// Seeing and cloud over the night, measured or forecast.
    #[serde(default)]
    pub conditions: Vec<Conditions>,
    #[serde(default)]
    pub kept: Vec<KeptBlock>,
    #[serde(default)]
    pub weights: Weights,
    /// Telescopes planned together; empty: one without a name.
    #[serde(default)]
    pub units: Vec<Unit>,
    /// How long changes between targets take; None: every request's constant [`Request::overhead_s`].
    #[serde(default)]
    pub overheads: Option<Overheads>,
}

impl Problem {
    pub fn new(site: Site, night: Span, sun_max_alt_deg: f64) -> Self {
        Self {
            site,
            horizon: HorizonMask::default(),
            night,
            now: None,
            sun_max_alt_deg,
            requests: Vec::new(),
            quotas_s: BTreeMap::new(),
            pools: BTreeMap::new(),
            granted_s: BTreeMap::new(),
            groups: BTreeMap::new(),
            conditions: Vec::new(),
            kept: Vec::new(),
            weights: Weights::default(),
            units: Vec::new(),
            overheads: None,
        }
    }

    /// Term `b` of the objective for each user with a grant; see [`Weights`].
    pub(crate) fn balances(&self) -> BTreeMap<&str, f64> {
        let left = |user: &String, granted: f64| self.quotas_s.get(user).copied().unwrap_or(granted).min(granted);
        let granted = || self.granted_s.iter().filter(|(_, g)| **g > 0.0);
        let total: f64 = granted().map(|(_, g)| g).sum();
        let mean = granted().map(|(user, g)| left(user, *g)).sum::<f64>() / total.max(1e-9);
        let of = |(user, g): (&'_ String, &f64)| (left(user, *g) / g - mean).clamp(-1.0, 1.0);
        self.granted_s
            .iter()
            .filter(|(_, g)| **g > 0.0)
            .map(|e| (e.0.as_str(), of(e)))
            .collect()
    }

    /// Indices of the units that a name or class stands for; None stands for all.
    pub(crate) fn units_of(&self, wanted: Option<&str>) -> Vec<usize> {
        if self.units.is_empty() {
            return vec![0];
        }
        let answers = |u: &Unit| wanted.is_none_or(|name| u.answers_to(name));
        (0..self.units.len()).filter(|k| answers(&self.units[*k])).collect()
    }
}

/// What the planner cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    #[error("the night ends before it starts")]
    Night,
    #[error("the night is longer than two days")]
    LongNight,
    #[error("the site's {0} is out of range")]
    Site(&'static str),
    #[error("request {id}: {what}")]
    Request { id: String, what: &'static str },
    #[error("two requests have the id {0}")]
    DuplicateId(String),
    #[error("kept block {0} ends before it starts")]
    Kept(String),
    #[error("the weights of the objective are out of range")]
    Weights,
    #[error("the quota of {0} is negative or not a number")]
    Quota(String),
    #[error("{what} asks for the unit {unit}, which is none of the units and classes here")]
    UnknownUnit { what: String, unit: String },
    #[error("two units have the name {0}")]
    DuplicateUnit(String),
    #[error("the overheads: a {0}")]
    Overheads(&'static str),
}

impl Problem {
    /// Everything [`crate::plan()`] relies on.
    pub fn check(&self) -> Result<(), ProblemError> {
        let length = self.night.length_s();
        if length <= 0.0 {
            return Err(ProblemError::Night);
        }
        if length > 2.0 * 86400.0 {
            return Err(ProblemError::LongNight);
        }
        self.site.check().map_err(ProblemError::Site)?;
        let w = &self.weights;
        let unit = |x: f64| (0.0..=1.0).contains(&x);
        let shares = [w.preferred, w.airmass, w.balance];
        let gains = [w.promise, w.urgency];
        let fine = shares.into_iter().all(unit) && gains.iter().all(|x| (0.0..=10.0).contains(x));
        if !fine || w.preferred_scale_s.is_nan() || w.preferred_scale_s <= 0.0 {
            return Err(ProblemError::Weights);
        }
        let mut ids = std::collections::BTreeSet::new();
        for r in &self.requests {
            r.check()?;
            if !ids.insert(&r.id) {
                return Err(ProblemError::DuplicateId(r.id.clone()));
            }
        }
        self.check_units()?;
        for (user, q) in self.quotas_s.iter().chain(&self.granted_s) {
            if q.is_nan() || *q < 0.0 {
                return Err(ProblemError::Quota(user.clone()));
            }
        }
        match self.kept.iter().find(|k| k.end < k.start || k.overhead_s.is_nan()) {
            Some(k) => Err(ProblemError::Kept(k.id.clone())),
            None => Ok(()),
        }
    }
}

impl Problem {
    fn check_units(&self) -> Result<(), ProblemError> {
        let mut overheads = self
            .overheads
            .iter()
            .chain(self.units.iter().filter_map(|u| u.overheads.as_ref()));
        overheads
            .try_for_each(Overheads::check)
            .map_err(ProblemError::Overheads)?;
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = self.units.iter().find(|u| !names.insert(&u.name)) {
            return Err(ProblemError::DuplicateUnit(twice.name.clone()));
        }
        let requests = self.requests.iter().map(|r| ("request", &r.id, &r.unit));
        for (kind, id, unit) in requests.chain(self.kept.iter().map(|k| ("kept block", &k.id, &k.unit))) {
            if let Some(unit) = unit
                .as_ref()
                .filter(|u| !self.units.is_empty() && self.units_of(Some(u)).is_empty())
            {
                let what = format!("{kind} {id}");
                return Err(ProblemError::UnknownUnit {
                    what,
                    unit: unit.clone(),
                });
            }
        }
        Ok(())
    }
}

impl Request {
    fn check(&self) -> Result<(), ProblemError> {
        let c = &self.constraints;
        let inside = |x: f64, a: f64, b: f64| (a..=b).contains(&x);
        let optional = |x: Option<f64>, a: f64, b: f64| x.is_none_or(|x| inside(x, a, b));
        let what = if !inside(self.target.ra_deg, 0.0, 360.0) {
            "the right ascension is not in 0 to 360 degrees"
        } else if !inside(self.target.dec_deg, -90.0, 90.0) {
            "the declination is not in -90 to 90 degrees"
        } else if !(self.duration_s > 0.0 && self.duration_s <= 2.0 * 86400.0) {
            "the duration is not between 0 and two days"
        } else if !inside(self.overhead_s, 0.0, 86400.0) {
            "the overhead is not between 0 and a day"
        } else if !(self.priority > 0.0 && self.priority <= 1e9) {
            "the priority is not positive"
        } else if !inside(c.min_alt_deg, -90.0, 90.0) || !optional(c.max_alt_deg, -90.0, 90.0) {
            "an altitude limit is not in -90 to 90 degrees"
        } else if !optional(c.max_airmass, 1.0, 40.0) {
            "the air mass limit is not in 1 to 40"
        } else if !inside(c.moon_sep_deg, 0.0, 180.0) {
            "the Moon separation is not in 0 to 180 degrees"
        } else if !optional(c.max_moon_illumination, 0.0, 1.0) {
            "the Moon illumination is not in 0 to 1"
        } else if !optional(c.sun_max_alt_deg, -90.0, 90.0) {
            "the Sun altitude is not in -90 to 90 degrees"
        } else if c
            .hour_angle_deg
            .is_some_and(|(a, b)| !inside(a, -180.0, 180.0) || !inside(b, a, 180.0))
        {
            "the hour angle limits are not an interval within -180 to 180 degrees"
        } else if !optional(self.max_seeing_arcsec, 0.0, 100.0) {
            "the seeing limit is not in 0 to 100 arcseconds"
        } else if !optional(self.max_cloud_cover, 0.0, 1.0) {
            "the cloud limit is not in 0 to 1"
        } else if !inside(self.urgency, 0.0, 1.0) {
            "the urgency is not in 0 to 1"
        } else if self.windows.iter().any(|w| w.end <= w.start) {
            "a window ends before it starts"
        } else {
            return Ok(());
        };
        Err(ProblemError::Request {
            id: self.id.clone(),
            what,
        })
    }
}

impl Site {
    /// The field that is out of range, if any.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(-90.0..=90.0).contains(&self.lat_deg) {
            return Err("latitude");
        }
        if !(-360.0..=360.0).contains(&self.lon_deg) {
            return Err("longitude");
        }
        if !(-1000.0..=20_000.0).contains(&self.height_m) {
            return Err("height");
        }
        Ok(())
    }
}
