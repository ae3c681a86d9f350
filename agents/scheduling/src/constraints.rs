//! What an observation asks of the sky, and why an instant does not give it.
//!
//! A [`Sky`] tabulates one stretch of night; [`Sky::good`] gives the stretches where a target meets its constraints,
//! and [`Sky::exclusions`] keeps every failing stretch with its cause: the "why not" as data.

use crate::ephemeris::{AltAz, Icrs, NightTrack, Site, SkyFrame, Span, add_seconds, airmass, separation_deg};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Limits of one observation. The default asks for nothing but a target above the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Constraints {
    /// Lowest altitude, degrees.
    pub min_alt_deg: f64,
    /// Highest altitude, degrees (zenith blind spot of an alt-az mount).
    pub max_alt_deg: Option<f64>,
    pub max_airmass: Option<f64>,
    /// Smallest distance to the Moon, degrees; 0 for no limit. It holds whether the Moon is up or not.
    pub moon_sep_deg: f64,
    /// Largest illuminated fraction of a Moon above the horizon, 0 to 1.
    pub max_moon_illumination: Option<f64>,
    /// Highest Sun, degrees (twilight class: 0, -6, -12, -18); None takes the night's.
    pub sun_max_alt_deg: Option<f64>,
    /// Hour angle from .. to, degrees, negative in the east.
    pub hour_angle_deg: Option<(f64, f64)>,
}

/// The local horizon: altitude limits by azimuth, interpolated linearly round the circle. Empty: no mask.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HorizonMask {
    /// (azimuth, altitude) in degrees, any order.
    pub points: Vec<(f64, f64)>,
}

impl HorizonMask {
    /// Lowest usable altitude towards an azimuth (degrees); None without a mask.
    pub fn alt_deg(&self, az_deg: f64) -> Option<f64> {
        self.skyline().alt_deg(az_deg)
    }

    /// The mask made ready for many questions.
    fn skyline(&self) -> Skyline {
        let mut points: Vec<(f64, f64)> = self.points.iter().map(|(a, h)| (a.rem_euclid(360.0), *h)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Skyline(points)
    }
}

/// A horizon mask in order of azimuth, 0 to 360 degrees.
struct Skyline(Vec<(f64, f64)>);

impl Skyline {
    fn alt_deg(&self, az_deg: f64) -> Option<f64> {
        let p = &self.0;
        let (first, last) = (*p.first()?, *p.last()?);
        let az = az_deg.rem_euclid(360.0);
        let after = p.partition_point(|q| q.0 <= az);
        let next = p.get(after).copied().unwrap_or((first.0 + 360.0, first.1));
        let before = p[..after].last().copied().unwrap_or((last.0 - 360.0, last.1));
        let width = next.0 - before.0;
        Some(if width > 0.0 {
            before.1 + (next.1 - before.1) * (az - before.0) / width
        } else {
            before.1
        })
    }
}

/// Why an instant is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    BelowAltitude,
    AboveAltitude,
    HorizonMask,
    MoonTooClose,
    MoonTooBright,
    SunTooHigh,
    HourAngle,
    WindowClosed,
    SeeingTooPoor,
    CloudTooThick,
}

impl Cause {
    /// A stable word, the same as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::BelowAltitude => "below_altitude",
            Self::AboveAltitude => "above_altitude",
            Self::HorizonMask => "horizon_mask",
            Self::MoonTooClose => "moon_too_close",
            Self::MoonTooBright => "moon_too_bright",
            Self::SunTooHigh => "sun_too_high",
            Self::HourAngle => "hour_angle",
            Self::WindowClosed => "window_closed",
            Self::SeeingTooPoor => "seeing_too_poor",
            Self::CloudTooThick => "cloud_too_thick",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Self::BelowAltitude => "the target is below its lowest altitude",
            Self::AboveAltitude => "the target is above its highest altitude",
            Self::HorizonMask => "the target is behind the local horizon",
            Self::MoonTooClose => "the Moon is too close",
            Self::MoonTooBright => "the Moon is up and too bright",
            Self::SunTooHigh => "the Sun is too high",
            Self::HourAngle => "the hour angle is outside its limits",
            Self::WindowClosed => "its time window is closed",
            Self::SeeingTooPoor => "the seeing is too poor",
            Self::CloudTooThick => "the sky is too cloudy",
        }
    }
}

/// A stretch of time excluded for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    pub cause: Cause,
    pub span: Span,
    /// The worst value of the stretch: degrees, an illuminated fraction for `moon_too_bright`, arcseconds for
    /// `seeing_too_poor`, a fraction of the sky for `cloud_too_thick`.
    pub worst: Option<f64>,
    /// What was asked.
    pub limit: Option<f64>,
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (a, b) = (self.span.start.format("%H:%M:%S"), self.span.end.format("%H:%M:%S"));
        write!(f, "from {a} to {b} UTC {}", self.cause.describe())?;
        if let (Some(worst), Some(limit)) = (self.worst, self.limit) {
            write!(f, " ({worst:.2}, limit {limit:.2})")?;
        }
        Ok(())
    }
}

impl From<&alidade_model::request::Constraints> for Constraints {
    /// Seeing and cloud are the weather's and not here.
    fn from(asked: &alidade_model::request::Constraints) -> Self {
        Self {
            min_alt_deg: asked.min_alt_deg,
            max_alt_deg: asked.max_alt_deg,
            max_airmass: asked.max_airmass,
            moon_sep_deg: asked.moon_sep_deg,
            max_moon_illumination: asked.max_moon_illumination,
            sun_max_alt_deg: Some(asked.sun_max_alt_deg),
            hour_angle_deg: asked.hour_angle_deg,
        }
    }
}

impl Constraints {
    /// The altitude floor that altitude and air mass ask together.
    pub fn floor_deg(&self) -> f64 {
        let from_airmass = self.max_airmass.map_or(f64::MIN, alt_of_airmass);
        self.min_alt_deg.max(from_airmass)
    }
}

/// Altitude at which the air mass equals `x` (bisection on the monotonic [`airmass`]).
fn alt_of_airmass(x: f64) -> f64 {
    let (mut low, mut high) = (0.0, 90.0);
    for _ in 0..50 {
        let m = 0.5 * (low + high);
        if airmass(m).is_some_and(|a| a > x) {
            low = m
        } else {
            high = m
        }
    }
    high
}

type Vector = [f64; 3];

fn dot(a: &Vector, b: &Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The sky of a site over a span, sampled every minute.
pub struct Sky {
    pub track: Arc<NightTrack>,
    site: Site,
    length_s: f64,
    step_s: f64,
    zenith: Vec<Vector>,
    moon: Vec<Vector>,
    sun_alt_deg: Vec<f64>,
    moon_up: Vec<bool>,
}

/// A target with its limits made ready for dot products.
struct Prepared<'a> {
    direction: Vector,
    c: &'a Constraints,
    skyline: Skyline,
    floor_deg: f64,
    sin_floor: f64,
    sin_ceiling: f64,
    cos_moon: f64,
    sun_max: f64,
    moon_dark: bool,
}

impl Prepared<'_> {
    /// Whether the request limits this at all.
    fn asks(&self, cause: Cause) -> bool {
        match cause {
            Cause::BelowAltitude => self.sin_floor > -1.0,
            Cause::AboveAltitude => self.sin_ceiling < 1.0,
            Cause::HorizonMask => !self.skyline.0.is_empty(),
            Cause::MoonTooClose => self.cos_moon < 1.0,
            Cause::MoonTooBright => !self.moon_dark,
            Cause::SunTooHigh => self.sun_max < 90.0,
            Cause::HourAngle => self.c.hour_angle_deg.is_some(),
            Cause::WindowClosed | Cause::SeeingTooPoor | Cause::CloudTooThick => false,
        }
    }
}

/// Tolerance of the tabulated sky; limits are tightened by it so that the full chain confirms what it allows.
const MARGIN_DEG: f64 = crate::ephemeris::TRACK_ERROR_DEG;

impl Sky {
    /// `step_s` is the sampling; edges are then found to a second. Shorter interruptions than the step can be missed.
    pub fn new(site: &Site, span: Span, step_s: f64) -> Self {
        Self::tabulated(site, Arc::new(NightTrack::new(site, span)), step_s)
    }

    /// The whole observing night of an evening, sampled as by [`Sky::new`].
    pub fn of_night(site: &Site, date: NaiveDate, step_s: f64) -> Self {
        Self::tabulated(site, NightTrack::of_night(site, date), step_s)
    }

    fn tabulated(site: &Site, track: Arc<NightTrack>, step_s: f64) -> Self {
        let length_s = track.span().length_s().max(0.0);
        let n = (length_s / step_s).ceil() as usize + 1;
        let at = |k: usize| (k as f64 * step_s).min(length_s);
        let zenith: Vec<_> = (0..n).map(|k| track.zenith(at(k))).collect();
        let moon: Vec<_> = (0..n).map(|k| track.moon_direction(at(k))).collect();
        let sun_alt_deg = (0..n).map(|k| track.sun_alt_deg(at(k))).collect();
        let moon_up = zenith.iter().zip(&moon).map(|(z, m)| dot(z, m) > 0.0).collect();
        Self {
            site: *site,
            track,
            length_s,
            step_s,
            zenith,
            moon,
            sun_alt_deg,
            moon_up,
        }
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    pub fn length_s(&self) -> f64 {
        self.length_s
    }

    fn at(&self, k: usize) -> f64 {
        (k as f64 * self.step_s).min(self.length_s)
    }

    fn prepare<'a>(&self, target: &Icrs, c: &'a Constraints, mask: &HorizonMask, night_sun_max: f64) -> Prepared<'a> {
        let floor_deg = c.floor_deg();
        let ceiling = c.max_alt_deg.unwrap_or(91.0) - MARGIN_DEG;
        Prepared {
            direction: self.track.direction(target),
            c,
            skyline: mask.skyline(),
            floor_deg,
            sin_floor: (floor_deg + MARGIN_DEG).clamp(-90.0, 90.0).to_radians().sin(),
            sin_ceiling: if ceiling >= 90.0 {
                2.0
            } else {
                ceiling.to_radians().sin()
            },
            cos_moon: if c.moon_sep_deg > 0.0 {
                (c.moon_sep_deg + MARGIN_DEG).to_radians().cos()
            } else {
                2.0
            },
            sun_max: c.sun_max_alt_deg.unwrap_or(night_sun_max),
            moon_dark: c
                .max_moon_illumination
                .is_none_or(|m| self.track.moon_illumination() <= m),
        }
    }

    /// The sample `k` meets every constraint.
    fn sample_ok(&self, p: &Prepared, k: usize) -> bool {
        let sin_alt = dot(&p.direction, &self.zenith[k]);
        sin_alt >= p.sin_floor
            && dot(&p.direction, &self.moon[k]) <= p.cos_moon
            && sin_alt <= p.sin_ceiling
            && self.sun_alt_deg[k] <= p.sun_max
            && (p.moon_dark || !self.moon_up[k])
            && ((p.skyline.0.is_empty() && p.c.hour_angle_deg.is_none()) || self.slow_ok(p, self.at(k)))
    }

    fn slow_ok(&self, p: &Prepared, s: f64) -> bool {
        let ha_ok = p.c.hour_angle_deg.is_none_or(|limits| self.hour_angle_ok(p, limits, s));
        ha_ok && (p.skyline.0.is_empty() || self.mask_margin(p, s) >= 0.0)
    }

    fn hour_angle_ok(&self, p: &Prepared, (from, to): (f64, f64), s: f64) -> bool {
        let ha = self.track.hour_angle_deg(&p.direction, s);
        (from..=to).contains(&ha)
    }

    fn mask_margin(&self, p: &Prepared, s: f64) -> f64 {
        let (alt, az) = self.track.alt_az_deg(&p.direction, s);
        alt - MARGIN_DEG - p.skyline.alt_deg(az).unwrap_or(-90.0)
    }

    /// The cause that excludes the instant, checked between the samples too.
    fn fails(&self, p: &Prepared, cause: Cause, s: f64) -> bool {
        if !p.asks(cause) {
            return false;
        }
        let zenith = self.track.zenith(s);
        match cause {
            Cause::BelowAltitude => dot(&p.direction, &zenith) < p.sin_floor,
            Cause::AboveAltitude => dot(&p.direction, &zenith) > p.sin_ceiling,
            Cause::HorizonMask => !p.skyline.0.is_empty() && self.mask_margin(p, s) < 0.0,
            Cause::MoonTooClose => dot(&p.direction, &self.track.moon_direction(s)) > p.cos_moon,
            Cause::MoonTooBright => !p.moon_dark && dot(&self.track.moon_direction(s), &zenith) > 0.0,
            Cause::SunTooHigh => self.track.sun_alt_deg(s) > p.sun_max,
            Cause::HourAngle => p.c.hour_angle_deg.is_some_and(|l| !self.hour_angle_ok(p, l, s)),
            Cause::WindowClosed | Cause::SeeingTooPoor | Cause::CloudTooThick => false,
        }
    }

    /// The same at sample `k`, from the tables.
    fn sample_fails(&self, p: &Prepared, cause: Cause, k: usize) -> bool {
        match cause {
            Cause::BelowAltitude => dot(&p.direction, &self.zenith[k]) < p.sin_floor,
            Cause::AboveAltitude => dot(&p.direction, &self.zenith[k]) > p.sin_ceiling,
            Cause::MoonTooClose => dot(&p.direction, &self.moon[k]) > p.cos_moon,
            Cause::MoonTooBright => !p.moon_dark && self.moon_up[k],
            Cause::SunTooHigh => self.sun_alt_deg[k] > p.sun_max,
            Cause::HorizonMask
            | Cause::HourAngle
            | Cause::WindowClosed
            | Cause::SeeingTooPoor
            | Cause::CloudTooThick => self.fails(p, cause, self.at(k)),
        }
    }

    fn ok(&self, p: &Prepared, s: f64) -> bool {
        SKY_CAUSES.iter().all(|c| !self.fails(p, *c, s))
    }

    /// The stretches (seconds from the start of the span) where every constraint holds.
    pub fn good(&self, target: &Icrs, c: &Constraints, mask: &HorizonMask, night_sun_max: f64) -> Vec<(f64, f64)> {
        let p = self.prepare(target, c, mask, night_sun_max);
        self.stretches(&|k| self.sample_ok(&p, k), &|s| self.ok(&p, s))
    }

    /// Stretches where a condition holds: sampled, then each edge narrowed to 0.5 s, taken on the holding side.
    fn stretches(&self, sampled: &dyn Fn(usize) -> bool, exact: &dyn Fn(f64) -> bool) -> Vec<(f64, f64)> {
        let mut out = Vec::new();
        let mut from = sampled(0).then_some(0.0);
        for k in 1..self.zenith.len() {
            match (from, sampled(k)) {
                (None, true) => from = Some(narrow(self.at(k), self.at(k - 1), exact)),
                (Some(a), false) => {
                    out.push((a, narrow(self.at(k - 1), self.at(k), exact)));
                    from = None;
                }
                _ => {}
            }
        }
        if let Some(a) = from {
            out.push((a, self.length_s));
        }
        out
    }

    /// Every excluded stretch of the span, cause by cause.
    pub fn exclusions(&self, target: &Icrs, c: &Constraints, mask: &HorizonMask, night_sun_max: f64) -> Vec<Exclusion> {
        let p = self.prepare(target, c, mask, night_sun_max);
        let start = self.track.span().start;
        let mut out = Vec::new();
        for cause in SKY_CAUSES {
            if !p.asks(cause) {
                continue;
            }
            let bad = self.stretches(&|k| self.sample_fails(&p, cause, k), &|s| self.fails(&p, cause, s));
            for (a, b) in bad {
                let (worst, limit) = self.worst(&p, cause, a, b);
                let span = Span::new(add_seconds(start, a), add_seconds(start, b));
                out.push(Exclusion {
                    cause,
                    span,
                    worst,
                    limit,
                });
            }
        }
        out.sort_by_key(|e| (e.span.start, e.cause));
        out
    }

    /// Worst value and limit of a cause over a stretch, looked at in at most 32 places.
    fn worst(&self, p: &Prepared, cause: Cause, a: f64, b: f64) -> (Option<f64>, Option<f64>) {
        let places = (0..=32).map(|k| a + (b - a) * f64::from(k) / 32.0);
        let alt = |s: f64| self.track.alt_az_deg(&p.direction, s).0;
        let min = |v: &dyn Fn(f64) -> f64| places.clone().map(v).fold(f64::MAX, f64::min);
        let max = |v: &dyn Fn(f64) -> f64| places.clone().map(v).fold(f64::MIN, f64::max);
        match cause {
            Cause::BelowAltitude => (Some(min(&alt)), Some(p.floor_deg)),
            Cause::AboveAltitude => (Some(max(&alt)), p.c.max_alt_deg),
            Cause::HorizonMask => (Some(min(&alt)), None),
            Cause::MoonTooClose => {
                let sep = |s: f64| {
                    dot(&p.direction, &self.track.moon_direction(s))
                        .clamp(-1.0, 1.0)
                        .acos()
                        .to_degrees()
                };
                (Some(min(&sep)), Some(p.c.moon_sep_deg))
            }
            Cause::MoonTooBright => (Some(self.track.moon_illumination()), p.c.max_moon_illumination),
            Cause::SunTooHigh => (Some(max(&|s| self.track.sun_alt_deg(s))), Some(p.sun_max)),
            Cause::HourAngle | Cause::WindowClosed | Cause::SeeingTooPoor | Cause::CloudTooThick => (None, None),
        }
    }

    /// Highest altitude of a target during the span, degrees.
    pub fn highest_deg(&self, target: &Icrs) -> f64 {
        let d = self.track.direction(target);
        self.zenith
            .iter()
            .map(|z| dot(&d, z))
            .fold(-1.0, f64::max)
            .clamp(-1.0, 1.0)
            .asin()
            .to_degrees()
    }

    /// Altitude at an offset from the start, degrees.
    pub fn alt_deg(&self, direction: &Vector, s: f64) -> f64 {
        dot(direction, &self.track.zenith(s))
            .clamp(-1.0, 1.0)
            .asin()
            .to_degrees()
    }
}

/// Causes the sky can give; windows are the caller's.
pub(crate) const SKY_CAUSES: [Cause; 7] = [
    Cause::BelowAltitude,
    Cause::AboveAltitude,
    Cause::HorizonMask,
    Cause::MoonTooClose,
    Cause::MoonTooBright,
    Cause::SunTooHigh,
    Cause::HourAngle,
];

/// Moves from `holds` towards `fails` to the last place (within 0.5 s) where the condition still holds.
fn narrow(mut holds: f64, mut fails: f64, exact: &dyn Fn(f64) -> bool) -> f64 {
    while (fails - holds).abs() > 0.5 {
        let m = 0.5 * (holds + fails);
        if exact(m) { holds = m } else { fails = m }
    }
    holds
}

/// A target to be checked on its own, without a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservabilityRequest {
    pub target: Icrs,
    pub constraints: Constraints,
    #[serde(default)]
    pub horizon: HorizonMask,
}

/// Is the target observable from `t` for `duration_s` seconds, all constraints holding throughout? The answer no is
/// the first stretch that fails. Without `sun_max_alt_deg` any Sun is accepted. About 0.4 ms for an hour; the full
/// chain at the start, the table (0.8 arcsec) in between.
pub fn is_observable(
    site: &Site,
    request: &ObservabilityRequest,
    t: DateTime<Utc>,
    duration_s: f64,
) -> Result<(), Exclusion> {
    let span = Span::new(t, add_seconds(t, duration_s.max(1.0)));
    let step = (span.length_s() / 20.0).clamp(1.0, 60.0);
    let sky = Sky::new(site, span, step);
    let exclusions = sky.exclusions(&request.target, &request.constraints, &request.horizon, 90.0);
    exclusions.into_iter().next().map_or(Ok(()), Err)
}

/// Checks a block against its constraints with the full chain at its ends and every `step_s` between. Returns the
/// first failing instant and cause. Limits are taken as they are, with a tolerance of 0.01 arcsec for rounding.
pub fn verify_block(
    site: &Site,
    request: &ObservabilityRequest,
    night_sun_max: f64,
    span: Span,
    step_s: f64,
) -> Result<(), (DateTime<Utc>, Cause)> {
    const TOLERANCE_DEG: f64 = 0.01 / 3600.0;
    let c = &request.constraints;
    let n = (span.length_s() / step_s).ceil().max(1.0) as usize;
    for k in 0..=n {
        let t = add_seconds(span.start, span.length_s() * k as f64 / n as f64);
        let frame = SkyFrame::new(site, t);
        let here: AltAz = frame.altaz(&request.target);
        let fail = |cause| Err((t, cause));
        if here.alt_deg < c.floor_deg() - TOLERANCE_DEG {
            return fail(Cause::BelowAltitude);
        }
        if c.max_alt_deg.is_some_and(|m| here.alt_deg > m + TOLERANCE_DEG) {
            return fail(Cause::AboveAltitude);
        }
        if request
            .horizon
            .alt_deg(here.az_deg)
            .is_some_and(|m| here.alt_deg < m - TOLERANCE_DEG)
        {
            return fail(Cause::HorizonMask);
        }
        if c.hour_angle_deg
            .is_some_and(|(a, b)| here.hour_angle_deg < a - 0.01 || here.hour_angle_deg > b + 0.01)
        {
            return fail(Cause::HourAngle);
        }
        if frame.sun_altaz().alt_deg > c.sun_max_alt_deg.unwrap_or(night_sun_max) + 0.01 {
            return fail(Cause::SunTooHigh);
        }
        if c.moon_sep_deg > 0.0 || c.max_moon_illumination.is_some() {
            let moon = frame.moon();
            let sep = separation_deg(here.az_deg, here.alt_deg, moon.az_deg, moon.alt_deg);
            if sep < c.moon_sep_deg - TOLERANCE_DEG {
                return fail(Cause::MoonTooClose);
            }
            if moon.alt_deg > 0.01 && c.max_moon_illumination.is_some_and(|m| moon.illumination > m + 0.01) {
                return fail(Cause::MoonTooBright);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
