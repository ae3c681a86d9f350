//! Hypotheses from quads: codes of four stars that an index has too, wherever they are on the sky.

use super::{BEND, Frame, GIVE_UP, SPOT_PX, Solution, TEST_SPOTS, Unsolved, odds::Odds, worth};
use crate::astrometry::{
    fit::{self, Match},
    index::Index,
    quads,
    stars::{Sorted, Star, separation},
    wcs::Wcs,
};

/// Difference of codes.
const CODE_TOLERANCE: f32 = 0.012;

impl Frame<'_> {
    pub(super) fn by_quads(&self, index: &Index) -> Result<Solution, Unsolved> {
        let (sorted, table) = index.whole().map_err(Unsolved::Catalogue)?;
        let mut tried = 0u64;
        let mut before = 0;
        for count in [10, 16, 25, 40, 70] {
            let count = count.min(self.spots.len());
            if count <= before {
                break;
            }
            before = count;
            for side in [-1.0, 1.0] {
                let points: Vec<(f64, f64)> = self.spots[..count].iter().map(|s| (side * s.x, s.y)).collect();
                for quad in quads::all(&points, 6) {
                    let mut hits = Vec::new();
                    table.near(quad.code, CODE_TOLERANCE, |known| hits.push(known.stars));
                    for known in hits {
                        let Some(wcs) = self.wcs_of(&quad.stars, &known.map(|s| sorted.stars[s as usize])) else {
                            continue;
                        };
                        tried += 1;
                        if let Some(found) = self.judge_quad(&wcs, sorted, &quad.stars, tried) {
                            return Ok(found);
                        }
                    }
                }
            }
        }
        Err(Unsolved::NotFound(tried))
    }

    /// The WCS of a quad, if it agrees with the hints.
    fn wcs_of(&self, spots: &[u32; 4], stars: &[Star; 4]) -> Option<Wcs> {
        let chosen: Vec<Match> = spots
            .iter()
            .zip(stars)
            .map(|(spot, star)| self.pairing(*spot as usize, star))
            .collect();
        let wcs = fit::wcs(&chosen, self.crpix(), (stars[0].ra_deg, stars[0].dec_deg), 1)?;
        let hint = &self.options.hint;
        let scale = wcs.scale_arcsec();
        let placed = hint
            .position
            .is_none_or(|(ra, dec, radius)| separation(ra, dec, wcs.crval.0, wcs.crval.1) <= radius * 1.05 + 0.001);
        // Optics do not shear: the axes are equally long and at right angles.
        let cd = wcs.cd;
        let (xx, yy) = (cd[0][0].hypot(cd[1][0]), cd[0][1].hypot(cd[1][1]));
        let skew = (cd[0][0] * cd[0][1] + cd[1][0] * cd[1][1]) / (xx * yy);
        let straight = skew.abs() < 0.05 && (xx / yy).ln().abs() < 0.05;
        let sized = hint.scale.is_none_or(|(low, high)| (low..=high).contains(&scale));
        (placed && straight && sized && self.lies_right(wcs.rotation_deg(), wcs.east_left())).then_some(wcs)
    }

    fn judge_quad(&self, wcs: &Wcs, sorted: &Sorted, quad: &[u32; 4], tried: u64) -> Option<Solution> {
        let scale = wcs.scale_arcsec() / 3600.0;
        let (width, height) = self.size();
        let middle = self.crpix();
        let (ra, dec) = wcs.sky_of(middle.0, middle.1);
        let mut stars = 0.0;
        // A square of the frame's area.
        sorted.around(ra, dec, (width * height).sqrt() * scale / 2.0, |_, _| stars += 1.0);
        let own: Vec<usize> = quad.iter().map(|s| *s as usize).collect();
        let centre = own.iter().fold((0.0, 0.0), |sum, s| {
            (sum.0 + self.spots[*s].x / 4.0, sum.1 + self.spots[*s].y / 4.0)
        });
        let (a, b) = (self.spots[own[0]], self.spots[own[1]]);
        let base = (a.x - b.x).hypot(a.y - b.y);
        let mut odds = Odds::new(width * height, stars);
        for (at, spot) in self.spots.iter().enumerate().take(TEST_SPOTS) {
            if own.contains(&at) {
                continue;
            }
            let (ra, dec) = wcs.sky_of(spot.x, spot.y);
            let away = (spot.x - centre.0).hypot(spot.y - centre.1);
            let sigma = (SPOT_PX.powi(2) * (1.0 + (2.0 * away / base).powi(2)) + (BEND * away).powi(2)).sqrt();
            let near = sorted
                .nearest(ra, dec, 3.5 * sigma * scale)
                .map(|(s, d)| (s, d / scale));
            odds.add(near, sigma);
            if odds.sum < GIVE_UP && odds.best < 6.0 {
                return None;
            }
        }
        if odds.best < worth(tried) {
            return None;
        }
        self.refine(wcs.clone(), &own, tried, odds.best, "quads")
    }
}
