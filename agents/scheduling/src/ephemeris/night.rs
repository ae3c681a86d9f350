//! Night phases: sunset, the three twilights, and what becomes of them near the poles.

use super::site::Site;
use super::track::NightTrack;
use super::{Span, add_seconds};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

/// Altitude of the Sun's centre when its upper limb touches a sea-level horizon: 34' of refraction and 16' of
/// semi-diameter (Explanatory Supplement to the Astronomical Almanac, 1992, 9.311).
pub const SUNSET_ALT_DEG: f64 = -50.0 / 60.0;

/// When the Sun stays below an altitude during one observing night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SunBelow {
    /// From the dusk to the dawn crossing.
    Between { dusk: DateTime<Utc>, dawn: DateTime<Utc> },
    /// The whole night, noon to noon (for the horizon: polar night).
    AllNight,
    /// Not at all (for the horizon: polar day; for -18 degrees: a white night).
    Never,
}

impl SunBelow {
    pub fn dusk(&self) -> Option<DateTime<Utc>> {
        if let Self::Between { dusk, .. } = self {
            Some(*dusk)
        } else {
            None
        }
    }
    pub fn dawn(&self) -> Option<DateTime<Utc>> {
        if let Self::Between { dawn, .. } = self {
            Some(*dawn)
        } else {
            None
        }
    }
    /// The dark span, given the bounds of the night.
    pub fn span(&self, night: Span) -> Option<Span> {
        match self {
            Self::Between { dusk, dawn } => Some(Span::new(*dusk, *dawn)),
            Self::AllNight => Some(night),
            Self::Never => None,
        }
    }
}

/// The phases of one observing night.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NightPhases {
    /// Evening date (local).
    pub date: NaiveDate,
    /// Local mean noon to local mean noon.
    pub night: Span,
    /// Sun's upper limb below the horizon (refracted, sea level): sunset to sunrise.
    pub sun_down: SunBelow,
    /// Sun below -6, -12, -18 degrees.
    pub civil: SunBelow,
    pub nautical: SunBelow,
    pub astronomical: SunBelow,
    /// The Sun's lowest point of the night.
    pub sun_lowest_at: DateTime<Utc>,
    pub sun_lowest_alt_deg: f64,
    /// First rise and first set of the Moon's centre across the geometric horizon during the night.
    pub moonrise: Option<DateTime<Utc>>,
    pub moonset: Option<DateTime<Utc>>,
    /// Illuminated fraction at the middle of the night.
    pub moon_illumination: f64,
}

/// Local mean noon of the evening date to the next one. Longitude alone sets it: no time zone.
pub fn night_bounds(site: &Site, date: NaiveDate) -> Span {
    let noon = date
        .and_time(NaiveTime::from_hms_opt(12, 0, 0).unwrap_or_default())
        .and_utc();
    let start = add_seconds(noon, -site.lon_deg * 240.0);
    Span::new(start, add_seconds(start, 86400.0))
}

/// First zero of `f` in `[a, b]`, where its sign changes, to 10 ms.
fn bisect(mut a: f64, mut b: f64, f: &dyn Fn(f64) -> f64) -> f64 {
    let sign = f(a) > 0.0;
    while b - a > 0.01 {
        let m = 0.5 * (a + b);
        if (f(m) > 0.0) == sign { a = m } else { b = m }
    }
    0.5 * (a + b)
}

/// Instants where `f` changes sign on `[0, length]`, with the sign after the change; sampled every `step` seconds.
pub(crate) fn sign_changes(length: f64, step: f64, f: &dyn Fn(f64) -> f64) -> Vec<(f64, bool)> {
    let n = (length / step).ceil().max(1.0) as usize;
    let mut out = Vec::new();
    let (mut x0, mut y0) = (0.0, f(0.0));
    for k in 1..=n {
        let x1 = length * k as f64 / n as f64;
        let y1 = f(x1);
        if (y0 > 0.0) != (y1 > 0.0) {
            out.push((bisect(x0, x1, f), y1 > 0.0));
        }
        (x0, y0) = (x1, y1);
    }
    out
}

/// Lowest Sun of the span: (seconds, altitude).
fn lowest_sun(track: &NightTrack) -> (f64, f64) {
    let length = track.span().length_s();
    let coarse = (0..=144).map(|k| length * f64::from(k) / 144.0);
    let mut best = coarse.fold((0.0, f64::MAX), |b, s| {
        let alt = track.sun_alt_deg(s);
        if alt < b.1 { (s, alt) } else { b }
    });
    let mut step = length / 144.0;
    while step > 0.5 {
        step /= 2.0;
        for s in [best.0 - step, best.0 + step] {
            let alt = track.sun_alt_deg(s.clamp(0.0, length));
            if alt < best.1 {
                best = (s.clamp(0.0, length), alt);
            }
        }
    }
    best
}

fn below(track: &NightTrack, lowest: (f64, f64), alt_deg: f64) -> SunBelow {
    if lowest.1 >= alt_deg {
        return SunBelow::Never;
    }
    let at = |s: f64| add_seconds(track.span().start, s);
    let f = |s: f64| track.sun_alt_deg(s) - alt_deg;
    let changes = sign_changes(track.span().length_s(), 300.0, &f);
    // A dip shorter than the sampling shows no change on either side: search towards the lowest point itself.
    let dusk = changes.iter().rev().find(|(s, up)| !up && *s <= lowest.0).map(|c| c.0);
    let dawn = changes.iter().find(|(s, up)| *up && *s >= lowest.0).map(|c| c.0);
    let length = track.span().length_s();
    match (dusk, dawn) {
        (None, None) if f(0.0) < 0.0 => SunBelow::AllNight,
        (None, None) => SunBelow::Between {
            dusk: at(bisect(0.0, lowest.0, &f)),
            dawn: at(bisect(lowest.0, length, &f)),
        },
        (dusk, dawn) => SunBelow::Between {
            dusk: at(dusk.unwrap_or(0.0)),
            dawn: at(dawn.unwrap_or(length)),
        },
    }
}

/// When the Sun is below `alt_deg` during the observing night of `date`.
pub fn sun_below(site: &Site, date: NaiveDate, alt_deg: f64) -> SunBelow {
    let track = NightTrack::of_night(site, date);
    below(&track, lowest_sun(&track), alt_deg)
}

/// All phases of the observing night whose evening is `date`; about 8 ms, 1 ms when the night is known already.
pub fn night_phases(site: &Site, date: NaiveDate) -> NightPhases {
    let track = NightTrack::of_night(site, date);
    let night = track.span();
    let lowest = lowest_sun(&track);
    let moon = sign_changes(night.length_s(), 600.0, &|s| track.moon_alt_deg(s));
    let first = |up: bool| moon.iter().find(|c| c.1 == up).map(|c| add_seconds(night.start, c.0));
    NightPhases {
        date,
        night,
        sun_down: below(&track, lowest, SUNSET_ALT_DEG),
        civil: below(&track, lowest, -6.0),
        nautical: below(&track, lowest, -12.0),
        astronomical: below(&track, lowest, -18.0),
        sun_lowest_at: add_seconds(night.start, lowest.0),
        sun_lowest_alt_deg: lowest.1,
        moonrise: first(true),
        moonset: first(false),
        moon_illumination: track.moon_illumination(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn phases_of_an_ordinary_night_come_in_order() {
        let p = night_phases(&Site::new(43.9308, 5.7133, 650.0), date(2026, 12, 15));
        let order = [
            p.night.start,
            p.sun_down.dusk().unwrap(),
            p.civil.dusk().unwrap(),
            p.nautical.dusk().unwrap(),
            p.astronomical.dusk().unwrap(),
            p.sun_lowest_at,
            p.astronomical.dawn().unwrap(),
            p.nautical.dawn().unwrap(),
            p.civil.dawn().unwrap(),
            p.sun_down.dawn().unwrap(),
            p.night.end,
        ];
        assert!(order.is_sorted(), "{order:#?}");
    }

    #[test]
    fn the_sun_is_at_the_stated_altitude_at_each_phase() {
        let site = Site::new(31.0439, -115.4637, 2830.0);
        let p = night_phases(&site, date(2027, 1, 20));
        for (phase, alt) in [
            (p.sun_down, SUNSET_ALT_DEG),
            (p.civil, -6.0),
            (p.nautical, -12.0),
            (p.astronomical, -18.0),
        ] {
            for t in [phase.dusk().unwrap(), phase.dawn().unwrap()] {
                let got = super::super::bodies::sun_altaz(&site, t).alt_deg;
                assert!((got - alt).abs() < 0.0005, "{got} {alt}");
            }
        }
    }

    #[test]
    fn polar_day_and_polar_night_are_states_not_panics() {
        let svalbard = Site::new(78.2, 15.6, 450.0);
        assert_eq!(night_phases(&svalbard, date(2027, 6, 21)).sun_down, SunBelow::Never);
        assert_eq!(night_phases(&svalbard, date(2026, 12, 21)).sun_down, SunBelow::AllNight);
        for pole in [Site::new(90.0, 0.0, 0.0), Site::new(-90.0, 0.0, 2800.0)] {
            for m in 1..=12 {
                night_phases(&pole, date(2027, m, 21));
            }
        }
    }

    #[test]
    fn a_midsummer_night_at_paris_latitude_has_no_astronomical_darkness() {
        let p = night_phases(&Site::new(48.85, 2.35, 50.0), date(2027, 6, 21));
        assert_eq!(p.astronomical, SunBelow::Never);
        assert!(p.nautical.dusk().is_some());
    }
}
