//! The Sun for those who ask every second: exact every four minutes, interpolated between.

use super::{Site, sun_altaz};
use chrono::{DateTime, TimeZone, Utc};

/// Distance of the exact positions, seconds.
const NODE_S: i64 = 240;

/// Where the Sun is, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SunAt {
    /// Above the horizon, without refraction.
    pub alt_deg: f64,
    /// From north through east.
    pub az_deg: f64,
}

/// Altitude and azimuth of the Sun along time at one site. Between its nodes it is linear in both; the curvature neglected
/// is below 0.01 degrees in altitude, and in azimuth while the Sun is below 80 degrees of altitude.
#[derive(Debug, Clone)]
pub struct SunPath {
    site: Site,
    /// The node before, as its number since 1970, and the two positions.
    span: Option<(i64, SunAt, SunAt)>,
}

impl SunPath {
    pub fn new(site: Site) -> Self {
        Self { site, span: None }
    }

    pub fn at(&mut self, t: DateTime<Utc>) -> SunAt {
        let node = t.timestamp().div_euclid(NODE_S);
        let (before, after) = match self.span {
            Some((known, before, after)) if known == node => (before, after),
            Some((known, _, after)) if known + 1 == node => (after, self.exact(node + 1, t)),
            _ => (self.exact(node, t), self.exact(node + 1, t)),
        };
        self.span = Some((node, before, after));
        let since = (t.timestamp_micros() - node * NODE_S * 1_000_000) as f64 / 1e6;
        let part = since / NODE_S as f64;
        let turn = (after.az_deg - before.az_deg + 180.0).rem_euclid(360.0) - 180.0;
        SunAt {
            alt_deg: before.alt_deg + (after.alt_deg - before.alt_deg) * part,
            az_deg: (before.az_deg + turn * part).rem_euclid(360.0),
        }
    }

    fn exact(&self, node: i64, near: DateTime<Utc>) -> SunAt {
        // A node beyond the calendar is as good as the instant itself.
        let t = Utc.timestamp_opt(node * NODE_S, 0).single().unwrap_or(near);
        let sun = sun_altaz(&self.site, t);
        SunAt {
            alt_deg: sun.alt_deg,
            az_deg: sun.az_deg,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_sun_to_a_hundredth_of_a_degree() {
        let site = Site::new(43.93, 5.71, 650.0);
        let mut path = SunPath::new(site);
        let start = Utc.with_ymd_and_hms(2026, 6, 21, 0, 0, 0).unwrap();
        for second in (0..86_400).step_by(397) {
            let t = start + chrono::Duration::seconds(second);
            let (quick, exact) = (path.at(t), sun_altaz(&site, t));
            assert!((quick.alt_deg - exact.alt_deg).abs() < 0.01, "{t}: {quick:?} {exact:?}");
            let turn = (quick.az_deg - exact.az_deg + 180.0).rem_euclid(360.0) - 180.0;
            assert!(turn.abs() < 0.02, "{t}: {quick:?} {exact:?}");
        }
    }
}
