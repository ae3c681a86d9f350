//! Hypotheses from pairs of stars: those of the frame with those of the catalogue of the same length, about a hint.

use super::{
    BEND, Frame, GIVE_UP, SPOT_PX, Solution, TEST_SPOTS, Unsolved,
    odds::Odds,
    plane::{Plane, Turn},
    worth,
};
use crate::astrometry::{
    fit::{self, Match},
    wcs::project,
};

/// Stars of a frame that make pairs.
const PAIR_SPOTS: usize = 30;
/// Catalogue stars for each of the frame's in the pair search, hypotheses before it gives up, and its widest circle.
const RICHNESS: f64 = 2.0;
const MOST_HYPOTHESES: u64 = 600_000;
const WIDEST_DEG: f64 = 6.0;
const MOST_PAIR_STARS: f64 = 6000.0;

impl Frame<'_> {
    /// `Ok(None)` where pairs are not the way: the circle is too wide.
    pub(super) fn by_pairs(
        &self,
        (ra, dec, radius): (f64, f64, f64),
        scale: (f64, f64),
    ) -> Result<Option<Solution>, Unsolved> {
        let (width, height) = self.size();
        let diagonal = width.hypot(height) * scale.1 / 3600.0;
        let reach = radius + diagonal / 2.0;
        let field = width * height * (scale.0 * scale.1) / 3600f64.powi(2);
        let wanted = (RICHNESS * PAIR_SPOTS as f64 * std::f64::consts::PI * reach * reach / field).ceil();
        if reach > WIDEST_DEG || wanted > MOST_PAIR_STARS {
            return Ok(None);
        }
        let mut stars = self.sky.cone(ra, dec, reach).map_err(Unsolved::Catalogue)?;
        stars.sort_by(|a, b| a.mag.total_cmp(&b.mag).then(a.ra_deg.total_cmp(&b.ra_deg)));
        self.known.get_or_init(|| (reach, stars.clone()));
        stars.truncate((wanted as usize).max(20));
        if stars.len() < 3 {
            return Err(Unsolved::EmptyCatalogue(stars.len()));
        }
        let density = stars.len() as f64 / (std::f64::consts::PI * reach * reach);
        let placed = stars
            .into_iter()
            .filter_map(|s| project((ra, dec), (s.ra_deg, s.dec_deg)).map(|(xi, eta)| (s, xi, eta)))
            .collect();
        let plane = Plane::new(placed, (1.0 / density).sqrt() / 2.0);
        self.pairs(&plane, (ra, dec), density * field).map(Some)
    }

    /// Pairs of catalogue stars by length, degrees.
    fn lengths(plane: &Plane, longest: f64) -> Vec<(f64, u32, u32)> {
        let mut pairs = Vec::new();
        for (a, one) in plane.stars.iter().enumerate() {
            for (b, two) in plane.stars.iter().enumerate().skip(a + 1) {
                let (dx, dy) = (two.1 - one.1, two.2 - one.2);
                let squared = dx * dx + dy * dy;
                if squared < longest * longest {
                    pairs.push((squared.sqrt(), a as u32, b as u32));
                }
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs
    }

    fn pairs(&self, plane: &Plane, centre: (f64, f64), stars: f64) -> Result<Solution, Unsolved> {
        let hint = &self.options.hint;
        let (_, _, radius) = hint.position.unwrap_or((0.0, 0.0, 180.0));
        let (low, high) = hint
            .scale
            .map_or((0.0, f64::INFINITY), |s| (s.0 / 3600.0, s.1 / 3600.0));
        let (width, height) = self.size();
        let lengths = Self::lengths(plane, width.hypot(height) * high);
        let bright = &self.spots[..self.spots.len().min(PAIR_SPOTS)];
        let mut couples: Vec<(usize, usize)> = (0..bright.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
        couples.sort_by_key(|(a, b)| (a + b, *b));
        let shortest = (0.08 * width.min(height)).max(10.0);
        let middle = self.crpix();
        let mut tried = 0u64;
        for (i, j) in couples {
            let (p, q) = (bright[i], bright[j]);
            let (dx, dy) = (q.x - p.x, q.y - p.y);
            let length = dx.hypot(dy);
            if length < shortest {
                continue;
            }
            let (least, most) = ((length - 2.0) * low, (length + 2.0) * high);
            let from = lengths.partition_point(|l| l.0 < least);
            for (_, a, b) in lengths[from..].iter().take_while(|l| l.0 <= most) {
                for (a, b) in [(*a, *b), (*b, *a)] {
                    let (one, two) = (plane.stars[a as usize], plane.stars[b as usize]);
                    for side in [-1.0, 1.0] {
                        let (ex, ey) = (side * (two.1 - one.1), two.2 - one.2);
                        let squared = length * length;
                        let c = ((ex * dx + ey * dy) / squared, (ey * dx - ex * dy) / squared);
                        let t = (side * one.1 - (c.0 * p.x - c.1 * p.y), one.2 - (c.1 * p.x + c.0 * p.y));
                        let turn = Turn { side, c, t };
                        let place = turn.plane(middle.0, middle.1);
                        if place.0.hypot(place.1) > radius * 1.05 + 0.001
                            || !self.lies_right(turn.rotation_deg(), side < 0.0)
                        {
                            continue;
                        }
                        tried += 1;
                        if let Some(found) = self.judge(&turn, plane, centre, stars, [i, j], tried) {
                            return Ok(found);
                        }
                        if tried >= MOST_HYPOTHESES {
                            return Err(Unsolved::NotFound(tried));
                        }
                    }
                }
            }
        }
        Err(Unsolved::NotFound(tried))
    }

    /// Tests a pair hypothesis; a solution if it is certain.
    fn judge(
        &self,
        turn: &Turn,
        plane: &Plane,
        centre: (f64, f64),
        stars: f64,
        pair: [usize; 2],
        tried: u64,
    ) -> Option<Solution> {
        let scale = turn.c.0.hypot(turn.c.1);
        let (p, q) = (self.spots[pair[0]], self.spots[pair[1]]);
        let base = (q.x - p.x).hypot(q.y - p.y);
        let (mx, my) = ((p.x + q.x) / 2.0, (p.y + q.y) / 2.0);
        let mut odds = Odds::new(self.size().0 * self.size().1, stars);
        let mut matches: Vec<(usize, usize)> = Vec::new();
        for (at, spot) in self.spots.iter().enumerate().take(TEST_SPOTS) {
            let (xi, eta) = turn.plane(spot.x, spot.y);
            let away = (spot.x - mx).hypot(spot.y - my);
            let sigma = (SPOT_PX.powi(2) * (1.0 + (2.0 * away / base).powi(2)) + (BEND * away).powi(2)).sqrt();
            let near = plane
                .nearest(xi, eta, 3.5 * sigma * scale)
                .map(|(star, distance)| (star, distance / scale));
            if let Some((star, _)) = near {
                matches.push((at, star));
            }
            if pair.contains(&at) {
                odds.used.extend(near.map(|n| n.0));
                continue;
            }
            odds.add(near, sigma);
            if odds.sum < GIVE_UP && odds.best < 6.0 {
                return None;
            }
        }
        if odds.best < worth(tried) || matches.len() < 4 {
            return None;
        }
        let chosen: Vec<Match> = matches
            .iter()
            .map(|(at, star)| self.pairing(*at, &plane.stars[*star].0))
            .collect();
        let wcs = fit::similarity(&chosen, self.crpix(), centre, turn.side < 0.0)?;
        let refined = self.refine(wcs, &pair, tried, odds.best, "pairs")?;
        Some(refined)
    }
}
