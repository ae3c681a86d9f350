//! From a hypothesis to the solution: more and more stars, ever closer, a fit, and the verdict.

use super::{CERTAINTY, Frame, Solution, TEST_SPOTS, odds::Odds, plane::Plane};
use crate::astrometry::{
    fit::{self, Match},
    stars::{Star, separation},
    wcs::Wcs,
};

impl Frame<'_> {
    /// Stars of the catalogue in the frame, brightest first, with their pixels.
    fn in_frame(&self, wcs: &Wcs, around: &[Star]) -> Vec<(Star, f64, f64)> {
        let (width, height) = (self.options.width, self.options.height);
        let inside = |x: f64, y: f64| x > -5.0 && y > -5.0 && x < width as f64 + 4.0 && y < height as f64 + 4.0;
        let most = (3 * self.spots.len()).max(100);
        around
            .iter()
            .filter_map(|s| wcs.pixel_of(s.ra_deg, s.dec_deg).map(|(x, y)| (*s, x, y)))
            .filter(|s| inside(s.1, s.2))
            .take(most)
            .collect()
    }

    /// Stars of the frame and some more, brightest first: asked for once, then placed by better and better solutions.
    fn around(&self, wcs: &Wcs) -> Option<Vec<Star>> {
        let ((ra, dec), radius) = wcs.circle(self.options.width, self.options.height);
        if let (Some((reach, stars)), Some((hint_ra, hint_dec, _))) = (self.known.get(), self.options.hint.position)
            && separation(ra, dec, hint_ra, hint_dec) + radius <= *reach
        {
            return Some(stars.clone());
        }
        let mut stars = self.sky.cone(ra, dec, radius * 1.05).ok()?;
        stars.sort_by(|a, b| a.mag.total_cmp(&b.mag).then(a.ra_deg.total_cmp(&b.ra_deg)));
        Some(stars)
    }

    /// Pairs of spots and catalogue stars nearest to each other within `tolerance` pixels, with their distances.
    fn matched(&self, stars: &[(Star, f64, f64)], tolerance: f64) -> Vec<(usize, usize, f64)> {
        if stars.is_empty() {
            return Vec::new();
        }
        let plane = Plane::new(stars.to_vec(), tolerance.max(8.0));
        let mut best: Vec<Option<(usize, f64)>> = vec![None; stars.len()];
        for (at, spot) in self.spots.iter().enumerate() {
            if let Some((star, distance)) = plane.nearest(spot.x, spot.y, tolerance)
                && best[star].is_none_or(|b| distance < b.1)
            {
                best[star] = Some((at, distance));
            }
        }
        best.iter()
            .enumerate()
            .filter_map(|(star, b)| b.map(|(spot, distance)| (spot, star, distance)))
            .collect()
    }

    /// Matches more and more stars ever closer, fits, and says whether it is certain.
    pub(super) fn refine(
        &self,
        mut wcs: Wcs,
        own: &[usize],
        tried: u64,
        before: f64,
        by: &'static str,
    ) -> Option<Solution> {
        let near = wcs.crval;
        let around = self.around(&wcs)?;
        let mut tolerance = 8.0f64.min(0.02 * self.size().0.min(self.size().1)).max(2.0);
        let mut last = Vec::new();
        for round in 0..9 {
            let stars = self.in_frame(&wcs, &around);
            let pairs = self.matched(&stars, tolerance);
            if pairs.len() < 3 {
                return None;
            }
            let mut distances: Vec<f64> = pairs.iter().map(|p| p.2).collect();
            let middle = distances.len() / 2;
            let median = *distances.select_nth_unstable_by(middle, f64::total_cmp).1;
            let chosen: Vec<Match> = pairs.iter().map(|(s, c, _)| self.pairing(*s, &stars[*c].0)).collect();
            wcs = self.fitted(&chosen, near, wcs.east_left(), round)?;
            // The median of a two-dimensional normal distance is 1.18 sigma; 3.5 sigma are kept.
            tolerance = (3.5 * median / 1.18).clamp(0.5, tolerance.max(0.5));
            last = pairs.into_iter().map(|(s, c, _)| (s, stars[c].0)).collect();
        }
        self.conclude(wcs, &around, last, own, (tried, before), by)
    }

    /// The fit of the order that the stars bear and want: a further order must pay for its terms by Schwarz's criterion
    /// (1978, Ann. Stat. 6, 461).
    fn fitted(&self, chosen: &[Match], near: (f64, f64), east_left: bool, round: usize) -> Option<Wcs> {
        if chosen.len() < 8 {
            return fit::similarity(chosen, self.crpix(), near, east_left);
        }
        let values = 2.0 * chosen.len() as f64;
        let mut best: Option<(f64, Wcs)> = None;
        for order in 1..=self.options.order.clamp(1, 5).min(1 + round / 2) {
            let count = (order + 1) * (order + 2);
            if order > 1 && 2 * chosen.len() < 2 * count {
                break;
            }
            let Some(wcs) = fit::wcs(chosen, self.crpix(), near, order) else {
                break;
            };
            let square = |m: &Match| {
                wcs.pixel_of(m.ra_deg, m.dec_deg)
                    .map_or(1e6, |(x, y)| (x - m.x).powi(2) + (y - m.y).powi(2))
            };
            let sum: f64 = chosen.iter().map(square).sum();
            // Better than a thousandth of a pixel nobody measures.
            let criterion = values * (sum / values + 1e-6).ln() + count as f64 * values.ln();
            if best.as_ref().is_none_or(|b| criterion < b.0) {
                best = Some((criterion, wcs));
            }
        }
        best.map(|b| b.1)
    }

    fn conclude(
        &self,
        wcs: Wcs,
        around: &[Star],
        stars: Vec<(usize, Star)>,
        own: &[usize],
        (tried, before): (u64, f64),
        by: &'static str,
    ) -> Option<Solution> {
        let (mut sum, mut worst) = (0.0, 0.0f64);
        for (spot, star) in &stars {
            let (x, y) = wcs.pixel_of(star.ra_deg, star.dec_deg)?;
            let d = (x - self.spots[*spot].x).hypot(y - self.spots[*spot].y);
            sum += d * d;
            worst = worst.max(d);
        }
        let rms = (sum / stars.len() as f64).sqrt();
        let known = self.in_frame(&wcs, around);
        let known = &known[..known.len().min(2 * TEST_SPOTS)];
        let (width, height) = self.size();
        let mut odds = Odds::new(width * height, known.len() as f64);
        let plane = (!known.is_empty()).then(|| Plane::new(known.to_vec(), 16.0))?;
        // Few stars are fitted closer than they are known.
        let sigma = rms.max(0.5);
        for (at, spot) in self.spots.iter().enumerate().take(TEST_SPOTS) {
            if !own.contains(&at) {
                odds.add(plane.nearest(spot.x, spot.y, 3.5 * sigma), sigma);
            }
        }
        let log_odds = odds.best.max(before);
        let certain = log_odds > CERTAINTY + (tried as f64).ln() && stars.len() > own.len() + 1;
        let scale = wcs.scale_arcsec();
        let agrees = self
            .options
            .hint
            .scale
            .is_none_or(|(low, high)| scale > 0.97 * low && scale < 1.03 * high);
        (certain && agrees && odds.best > 0.0).then_some(Solution {
            matched: stars.len(),
            rms_px: rms,
            rms_arcsec: rms * scale,
            max_px: worst,
            log_odds,
            hypotheses: tried,
            by,
            stars,
            wcs,
        })
    }
}
