//! The sky over a stretch of one night, tabulated for speed.
//!
//! The slow parts of the chain (aberration, precession-nutation) are frozen at the middle of the span; only the Earth
//! turns. Over half a day that costs at most 0.8 arcsec in altitude (measured against the full chain); a target then
//! costs one dot product per instant. Sun and Moon come from the full chain at nodes, interpolated between them.

use super::frame::{AltAz, Icrs, SkyFrame};
use super::night::night_bounds;
use super::site::Site;
use super::{Span, add_seconds, seconds_between};
use chrono::{DateTime, NaiveDate, Utc};
use sofars::consts::{D2PI, DR2D};
use std::sync::{Arc, Mutex, PoisonError};

type Vector = [f64; 3];

fn dot(a: &Vector, b: &Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Rate of the Earth rotation angle, radians per UT1 second (IAU 2000: 1.00273781191135448 turns per day).
const EARTH_RATE: f64 = D2PI * 1.002_737_811_911_354_6 / 86400.0;

/// Nodes for Sun and Moon, seconds.
const NODE_STEP_S: f64 = 1200.0;

/// Error of the frozen frame, degrees, with margin; constraints are tightened by it.
pub(crate) const TRACK_ERROR_DEG: f64 = 1.0 / 3600.0;

/// Whole nights that are kept, some 5 kB each: a season of a month, its neighbours, and what the pages show beside it.
const NIGHTS_KEPT: usize = 64;

/// The last nights asked for, the latest at the end.
static NIGHTS: Mutex<Vec<(Site, NaiveDate, Arc<NightTrack>)>> = Mutex::new(Vec::new());

/// Directions are unit vectors in the CIRS frame of the middle of the span.
#[derive(Clone)]
pub struct NightTrack {
    span: Span,
    middle: SkyFrame,
    middle_s: f64,
    node0_s: f64,
    node_step_s: f64,
    sun: Vec<Vector>,
    moon: Vec<Vector>,
    moon_illumination: f64,
}

impl NightTrack {
    /// Costs about 0.1 ms per 20 minutes of span. Spans are expected to be at most two days long.
    pub fn new(site: &Site, span: Span) -> Self {
        let length = span.length_s().max(0.0);
        let middle = SkyFrame::new(site, add_seconds(span.start, length / 2.0));
        // One node beyond each end for the four-point interpolation.
        let inner = (length / NODE_STEP_S).ceil().max(1.0);
        let node_step_s = (length / inner).max(60.0);
        let node0_s = -node_step_s;
        let mut track = Self {
            span,
            moon_illumination: middle.moon().illumination,
            middle,
            middle_s: length / 2.0,
            node0_s,
            node_step_s,
            sun: Vec::new(),
            moon: Vec::new(),
        };
        for k in 0..(inner as usize + 3) {
            let s = node0_s + node_step_s * k as f64;
            let frame = SkyFrame::new(site, add_seconds(span.start, s));
            let direction = |(ri, di): (f64, f64)| sofars::vm::s2c(ri, di);
            let (sun, moon) = (
                direction(frame.sun_direction().cirs),
                direction(frame.moon_direction().cirs),
            );
            track.sun.push(sun);
            track.moon.push(moon);
        }
        track
    }

    /// The whole observing night of an evening. The planner's season, the outlook of an alert, the almanac and the pages
    /// ask for the same nights: the last ones are kept for all of them.
    pub fn of_night(site: &Site, date: NaiveDate) -> Arc<Self> {
        let take = || {
            let mut nights = NIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
            let place = nights.iter().position(|(s, d, _)| *d == date && s == site)?;
            let found = nights.remove(place);
            let track = Arc::clone(&found.2);
            nights.push(found);
            Some(track)
        };
        take().unwrap_or_else(|| {
            // Nobody waits for the milliseconds this takes; two who ask at once compute the same.
            let track = Arc::new(Self::new(site, night_bounds(site, date)));
            let mut nights = NIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
            if nights.len() >= NIGHTS_KEPT {
                nights.remove(0);
            }
            nights.push((*site, date, Arc::clone(&track)));
            track
        })
    }

    pub fn span(&self) -> Span {
        self.span
    }

    /// Illuminated fraction of the Moon at the middle of the span.
    pub fn moon_illumination(&self) -> f64 {
        self.moon_illumination
    }

    /// Seconds from the start of the span.
    pub fn offset_s(&self, t: DateTime<Utc>) -> f64 {
        seconds_between(self.span.start, t)
    }

    /// Direction of a fixed target.
    pub fn direction(&self, target: &Icrs) -> Vector {
        let (ri, di) = self.middle.cirs(target);
        sofars::vm::s2c(ri, di)
    }

    /// North, east and zenith of the site `s` seconds after the start.
    pub fn axes(&self, s: f64) -> [Vector; 3] {
        let a = &self.middle.astrom;
        let (st, ct) = (a.eral + EARTH_RATE * (s - self.middle_s)).sin_cos();
        let (sx, cx) = a.xpl.sin_cos();
        let (sy, cy) = a.ypl.sin_cos();
        // Rows of: CIRS -> Earth rotation -> polar motion (x: meridian, y: east, z: pole), as in SOFA `atioq`.
        let turn = |px: f64, py: f64, pz: f64| [px * ct - py * st, px * st + py * ct, pz];
        let x = turn(cx, 0.0, sx);
        let y = turn(sx * sy, cy, -cx * sy);
        let z = turn(-sx * cy, sy, cx * cy);
        let mix = |p: f64, u: &Vector, q: f64, v: &Vector| std::array::from_fn(|i| p * u[i] + q * v[i]);
        [mix(-a.sphi, &x, a.cphi, &z), y, mix(a.cphi, &x, a.sphi, &z)]
    }

    pub fn zenith(&self, s: f64) -> Vector {
        self.axes(s)[2]
    }

    fn body(&self, nodes: &[Vector], s: f64) -> Vector {
        let x = (s - self.node0_s) / self.node_step_s;
        let i = (x.floor().max(1.0) as usize).min(nodes.len().saturating_sub(3));
        let f = x - i as f64;
        // Four-point Lagrange weights at -1, 0, 1, 2.
        let w = [
            -f * (f - 1.0) * (f - 2.0) / 6.0,
            (f + 1.0) * (f - 1.0) * (f - 2.0) / 2.0,
            -(f + 1.0) * f * (f - 2.0) / 2.0,
            (f + 1.0) * f * (f - 1.0) / 6.0,
        ];
        let mut v = [0.0; 3];
        for (k, w) in w.iter().enumerate() {
            let node = nodes[i + k - 1];
            for c in 0..3 {
                v[c] += w * node[c];
            }
        }
        let n = dot(&v, &v).sqrt();
        v.map(|c| c / n)
    }

    pub fn sun_direction(&self, s: f64) -> Vector {
        self.body(&self.sun, s)
    }

    pub fn moon_direction(&self, s: f64) -> Vector {
        self.body(&self.moon, s)
    }

    pub fn sun_alt_deg(&self, s: f64) -> f64 {
        dot(&self.sun_direction(s), &self.zenith(s)).clamp(-1.0, 1.0).asin() * DR2D
    }

    pub fn moon_alt_deg(&self, s: f64) -> f64 {
        dot(&self.moon_direction(s), &self.zenith(s)).clamp(-1.0, 1.0).asin() * DR2D
    }

    /// Geometric altitude and azimuth of a direction, degrees.
    pub fn alt_az_deg(&self, direction: &Vector, s: f64) -> (f64, f64) {
        let [n, e, z] = self.axes(s);
        let alt = dot(direction, &z).clamp(-1.0, 1.0).asin() * DR2D;
        let az = dot(direction, &e).atan2(dot(direction, &n)) * DR2D;
        (alt, az.rem_euclid(360.0))
    }

    /// Local hour angle of a direction, -180 to 180 degrees.
    pub fn hour_angle_deg(&self, direction: &Vector, s: f64) -> f64 {
        let lst = self.middle.astrom.eral + EARTH_RATE * (s - self.middle_s);
        sofars::vm::anpm(lst - direction[1].atan2(direction[0])) * DR2D
    }

    /// The full chain at an instant of the span's site: use it to confirm what the table says.
    pub fn exact(site: &Site, t: DateTime<Utc>, target: &Icrs) -> AltAz {
        SkyFrame::new(site, t).altaz(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn the_table_agrees_with_the_full_chain_within_an_arcsecond_over_a_night() {
        let site = Site::new(-29.2567, -70.7346, 2375.0);
        let start = Utc.with_ymd_and_hms(2027, 3, 14, 23, 0, 0).unwrap();
        let track = NightTrack::new(&site, Span::new(start, add_seconds(start, 11.0 * 3600.0)));
        let mut worst = [0f64; 3];
        for k in 0..12 {
            let s = 3333.3 * f64::from(k);
            let t = add_seconds(start, s);
            let frame = SkyFrame::new(&site, t);
            for (ra, dec) in [(10.0, -80.0), (150.0, -40.0), (200.0, 20.0), (300.0, 60.0)] {
                let target = Icrs::new(ra, dec);
                let (alt, _) = track.alt_az_deg(&track.direction(&target), s);
                worst[0] = worst[0].max((alt - frame.altaz(&target).alt_deg).abs());
            }
            worst[1] = worst[1].max((track.moon_alt_deg(s) - frame.moon().alt_deg).abs());
            worst[2] = worst[2].max((track.sun_alt_deg(s) - frame.sun().alt_deg).abs());
        }
        assert!(worst.iter().all(|w| *w < TRACK_ERROR_DEG), "{worst:?} degrees");
    }

    #[test]
    fn a_kept_night_is_that_of_its_site_and_date_and_is_made_again_when_it_was_dropped() {
        let sites = [Site::new(43.93, 5.71, 650.0), Site::new(-29.26, -70.73, 2375.0)];
        let first = NaiveDate::from_ymd_opt(2031, 5, 1).unwrap();
        let kept = NightTrack::of_night(&sites[0], first);
        assert!(Arc::ptr_eq(&kept, &NightTrack::of_night(&sites[0], first)));
        // More than are kept: the first ones are dropped.
        for date in first.iter_days().take(NIGHTS_KEPT / 2 + 1) {
            for site in &sites {
                NightTrack::of_night(site, date);
            }
        }
        assert!(NIGHTS.lock().unwrap().len() <= NIGHTS_KEPT);
        for site in &sites {
            let (again, fresh) = (
                NightTrack::of_night(site, first),
                NightTrack::new(site, night_bounds(site, first)),
            );
            assert!(!Arc::ptr_eq(&kept, &again));
            assert_eq!(again.span(), fresh.span());
            assert_eq!(again.sun_direction(43_200.0), fresh.sun_direction(43_200.0));
            assert_eq!(again.axes(7.0), fresh.axes(7.0));
        }
    }
}
