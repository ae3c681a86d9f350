//! Catalogue stars, and where they are looked up.

use super::wcs::Wcs;
use serde::{Deserialize, Serialize};

/// A star of a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Star {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// In the catalogue's band.
    pub mag: f64,
}

/// Whoever knows the stars of a circle.
pub trait SkyStars: Send + Sync {
    /// Stars within `radius_deg` of a direction; some more may be among them.
    fn cone(&self, ra_deg: f64, dec_deg: f64, radius_deg: f64) -> Result<Vec<Star>, String>;
    /// Magnitude to which the catalogue is complete.
    fn depth(&self) -> f64;
    /// For people.
    fn name(&self) -> String;
}

/// Stars by bands of declination and right ascension within, for searches around a direction.
#[derive(Debug, Clone, Default)]
pub struct Sorted {
    pub stars: Vec<Star>,
    height: f64,
    /// Where each band begins.
    bands: Vec<usize>,
}

impl Sorted {
    /// `height` of the bands, degrees.
    pub fn new(mut stars: Vec<Star>, height: f64) -> Self {
        let height = height.max(1e-3);
        let band = |dec: f64| ((dec + 90.0) / height) as usize;
        let order = |a: &Star, b: &Star| {
            band(a.dec_deg)
                .cmp(&band(b.dec_deg))
                .then(a.ra_deg.total_cmp(&b.ra_deg))
                .then(a.dec_deg.total_cmp(&b.dec_deg))
        };
        if !stars.is_sorted_by(|a, b| order(a, b).is_le()) {
            stars.sort_by(order);
        }
        let count = (180.0 / height) as usize + 2;
        let mut bands = Vec::with_capacity(count + 1);
        let mut at = 0;
        for number in 0..=count {
            while at < stars.len() && band(stars[at].dec_deg) < number {
                at += 1;
            }
            bands.push(at);
        }
        Self { stars, height, bands }
    }

    /// Calls `each` for the stars in a box that holds the circle.
    pub fn around(&self, ra: f64, dec: f64, radius: f64, mut each: impl FnMut(usize, &Star)) {
        if self.bands.is_empty() || self.stars.is_empty() {
            return;
        }
        let last = self.bands.len() - 2;
        let low = (((dec - radius + 90.0).max(0.0)) / self.height) as usize;
        let high = ((((dec + radius).min(90.0) + 90.0).max(0.0)) / self.height) as usize;
        let cosine = (dec.abs() + radius).min(90.0).to_radians().cos();
        let half = if cosine * 180.0 > radius {
            radius / cosine
        } else {
            180.0
        };
        let whole = half >= 180.0;
        for band in low.min(last)..=high.min(last) {
            let (from, to) = (self.bands[band], self.bands[band + 1]);
            let row = &self.stars[from..to];
            let mut section = |a: f64, b: f64| {
                let first = row.partition_point(|s| s.ra_deg < a);
                for (at, star) in row.iter().enumerate().skip(first) {
                    if star.ra_deg > b {
                        break;
                    }
                    if (star.dec_deg - dec).abs() <= radius {
                        each(from + at, star);
                    }
                }
            };
            if whole {
                section(0.0, 360.0);
            } else {
                section(ra - half, ra + half);
                if ra - half < 0.0 {
                    section(ra - half + 360.0, 360.0);
                }
                if ra + half > 360.0 {
                    section(0.0, ra + half - 360.0);
                }
            }
        }
    }

    /// The nearest star within `radius` degrees: its place in the list and its distance in degrees.
    pub fn nearest(&self, ra: f64, dec: f64, radius: f64) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        let cosine = dec.to_radians().cos();
        self.around(ra, dec, radius, |at, star| {
            let east = ((star.ra_deg - ra + 540.0).rem_euclid(360.0) - 180.0) * cosine;
            let distance = if dec.abs() > 85.0 {
                separation(ra, dec, star.ra_deg, star.dec_deg)
            } else {
                east.hypot(star.dec_deg - dec)
            };
            if distance <= radius && best.is_none_or(|b| distance < b.1) {
                best = Some((at, distance));
            }
        });
        best
    }
}

/// Angle between two directions, degrees.
pub fn separation(ra1: f64, dec1: f64, ra2: f64, dec2: f64) -> f64 {
    let (d1, d2) = (dec1.to_radians(), dec2.to_radians());
    let half = |a: f64| (a / 2.0).sin().powi(2);
    let h = half(d2 - d1) + d1.cos() * d2.cos() * half((ra2 - ra1).to_radians());
    2.0 * h.sqrt().min(1.0).asin().to_degrees()
}

impl Wcs {
    /// Centre of a frame and the distance of its farthest corner, degrees.
    pub fn circle(&self, width: usize, height: usize) -> ((f64, f64), f64) {
        let (w, h) = (width as f64 - 1.0, height as f64 - 1.0);
        let centre = self.sky_of(w / 2.0, h / 2.0);
        let radius = [(0.0, 0.0), (w, 0.0), (0.0, h), (w, h)]
            .iter()
            .map(|(x, y)| {
                let (ra, dec) = self.sky_of(*x, *y);
                separation(centre.0, centre.1, ra, dec)
            })
            .fold(0.0, f64::max);
        (centre, radius)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_found_over_the_meridian_and_near_the_pole() {
        let star = |ra_deg, dec_deg| Star {
            ra_deg,
            dec_deg,
            mag: 9.0,
        };
        let sorted = Sorted::new(vec![star(0.001, 5.0), star(200.0, 89.95), star(359.9, -20.0)], 0.5);
        let found = |ra, dec| sorted.nearest(ra, dec, 0.1).map(|(at, _)| sorted.stars[at]);
        assert_eq!(found(359.99, 5.0), Some(star(0.001, 5.0)));
        assert_eq!(found(20.0, 89.96), Some(star(200.0, 89.95)));
        assert_eq!(found(180.0, 5.0), None);
    }
}
