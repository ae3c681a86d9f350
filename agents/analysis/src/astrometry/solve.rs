//! From a list of stars to a plate solution.
//!
//! With a position and a scale, pairs of bright stars are compared with pairs of the catalogue of the same length;
//! without, quads with those of an index. Each hypothesis predicts where the other stars are. It is accepted when the
//! log-odds of what is found there exceed the logarithm of the number of hypotheses tried by [`CERTAINTY`]: of a hundred
//! thousand fields without a solution one would be given a wrong one (Lang et al. 2010, AJ 139, 1782, section 2.3).

use super::{
    fit::{self, Match},
    index::Index,
    quads,
    stars::{SkyStars, Sorted, Star, separation},
    wcs::{Wcs, project},
};
use serde::Serialize;
use std::cell::OnceCell;

/// Natural logarithm of the odds that must remain after all hypotheses are counted.
pub const CERTAINTY: f64 = 11.5;
/// Share of the frame's stars that no catalogue explains.
const DISTRACTORS: f64 = 0.3;
/// Uncertainty of a measured position while a hypothesis is judged, pixels, and as a share of the distance from its stars.
const SPOT_PX: f64 = 0.8;
const BEND: f64 = 0.003;
/// Stars of a frame that make pairs, and that verify.
const PAIR_SPOTS: usize = 30;
const TEST_SPOTS: usize = 60;
/// Catalogue stars for each of the frame's in the pair search, hypotheses before it gives up, and its widest circle.
const RICHNESS: f64 = 2.0;
const MOST_HYPOTHESES: u64 = 600_000;
const WIDEST_DEG: f64 = 6.0;
const MOST_PAIR_STARS: f64 = 6000.0;
/// Log-odds from which a hypothesis is not followed further: about seven stars in a row that the catalogue does not have.
/// The brightest of a frame are often saturated, or galaxies.
const GIVE_UP: f64 = -8.5;
/// Difference of codes.
const CODE_TOLERANCE: f32 = 0.012;

/// A star of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    pub x: f64,
    pub y: f64,
    pub flux: f64,
}

/// How the frame is known to lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orientation {
    /// Position angle of the y axis, degrees.
    pub rotation_deg: f64,
    pub tolerance_deg: f64,
    pub east_left: bool,
}

/// What is known beforehand.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hint {
    /// ICRS centre and how far it may be off, degrees.
    pub position: Option<(f64, f64, f64)>,
    /// Least and largest arcseconds a pixel.
    pub scale: Option<(f64, f64)>,
    pub orientation: Option<Orientation>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SolveOptions {
    pub width: usize,
    pub height: usize,
    pub hint: Hint,
    /// Highest order of the distortion; 1 for none.
    pub order: usize,
}

/// A plate solution and how good it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Solution {
    pub wcs: Wcs,
    pub matched: usize,
    /// Root mean square of the distances, both axes together.
    pub rms_px: f64,
    pub rms_arcsec: f64,
    pub max_px: f64,
    pub log_odds: f64,
    /// Hypotheses that were tested.
    pub hypotheses: u64,
    /// `pairs` or `quads`.
    pub by: &'static str,
    /// Matched stars: place in the list of spots, and the catalogue's star.
    #[serde(skip)]
    pub stars: Vec<(usize, Star)>,
}

/// Why there is no solution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unsolved {
    #[error("only {0} stars in the frame")]
    TooFewStars(usize),
    #[error("only {0} catalogue stars around the position")]
    EmptyCatalogue(usize),
    #[error("without a position and a scale an index with quads is needed")]
    NeedsQuads,
    #[error("no hypothesis of {0} is certain enough")]
    NotFound(u64),
    #[error("{0}")]
    Catalogue(String),
}

/// Solves a frame. `spots` are its stars, brightest first or not; `index` lends its quads.
pub fn solve(
    spots: &[Spot],
    sky: &dyn SkyStars,
    index: Option<&Index>,
    options: &SolveOptions,
) -> Result<Solution, Unsolved> {
    let mut order: Vec<usize> = (0..spots.len())
        .filter(|n| spots[*n].x.is_finite() && spots[*n].y.is_finite())
        .collect();
    order.sort_by(|a, b| spots[*b].flux.total_cmp(&spots[*a].flux).then(a.cmp(b)));
    if order.len() < 4 {
        return Err(Unsolved::TooFewStars(order.len()));
    }
    let ranked: Vec<Spot> = order.iter().map(|n| spots[*n]).collect();
    let frame = Frame {
        spots: &ranked,
        options,
        sky,
        known: OnceCell::new(),
    };
    let mut by_pairs = None;
    if let (Some(position), Some(scale)) = (options.hint.position, options.hint.scale) {
        by_pairs = frame.by_pairs(position, scale).transpose();
    }
    let mut solution = match (by_pairs, index) {
        (Some(Ok(found)), _) => found,
        (Some(Err(cause)), None) => return Err(cause),
        (_, Some(index)) => frame.by_quads(index)?,
        (None, None) => return Err(Unsolved::NeedsQuads),
    };
    for star in &mut solution.stars {
        star.0 = order[star.0];
    }
    Ok(solution)
}

/// Log-odds from which a hypothesis is worth refining, after so many.
fn worth(tried: u64) -> f64 {
    (tried as f64).ln() + 4.0
}

struct Frame<'a> {
    spots: &'a [Spot],
    options: &'a SolveOptions,
    sky: &'a dyn SkyStars,
    /// All stars within so many degrees of the hint, brightest first, once they have been asked for.
    known: OnceCell<(f64, Vec<Star>)>,
}

/// Running log-odds over the stars of a frame, each catalogue star used once.
struct Odds {
    sum: f64,
    best: f64,
    area: f64,
    stars: f64,
    used: Vec<usize>,
}

impl Odds {
    fn new(area: f64, stars: f64) -> Self {
        Self {
            sum: 0.0,
            best: f64::NEG_INFINITY,
            area,
            stars: stars.max(1.0),
            used: Vec::new(),
        }
    }

    /// Adds one star of the frame: the nearest catalogue star and its distance, with the uncertainty, pixels.
    fn add(&mut self, nearest: Option<(usize, f64)>, sigma: f64) {
        let peak = (1.0 - DISTRACTORS) * self.area / (self.stars * std::f64::consts::TAU * sigma * sigma);
        let gain = match nearest {
            Some((star, distance)) if !self.used.contains(&star) => {
                let near = peak * (-distance * distance / (2.0 * sigma * sigma)).exp();
                if near > 0.05 {
                    self.used.push(star);
                }
                near
            }
            _ => 0.0,
        };
        self.sum += (DISTRACTORS + gain).ln();
        self.best = self.best.max(self.sum);
    }
}

/// Catalogue stars on the plane that touches the sky at a hint, degrees, in cells.
struct Plane {
    stars: Vec<(Star, f64, f64)>,
    cell: f64,
    left: f64,
    bottom: f64,
    columns: usize,
    cells: Vec<Vec<u32>>,
}

impl Plane {
    fn new(stars: Vec<(Star, f64, f64)>, cell: f64) -> Self {
        let bound = |of: fn(&(Star, f64, f64)) -> f64, pick: fn(f64, f64) -> f64| {
            stars.iter().map(of).fold(of(&stars[0]), pick)
        };
        let (left, right) = (bound(|s| s.1, f64::min), bound(|s| s.1, f64::max));
        let (bottom, top) = (bound(|s| s.2, f64::min), bound(|s| s.2, f64::max));
        let cell = cell.max((right - left).max(top - bottom) / 500.0).max(1e-9);
        let columns = ((right - left) / cell) as usize + 1;
        let rows = ((top - bottom) / cell) as usize + 1;
        let mut cells = vec![Vec::new(); columns * rows];
        for (at, star) in stars.iter().enumerate() {
            let place = ((star.2 - bottom) / cell) as usize * columns + ((star.1 - left) / cell) as usize;
            cells[place].push(at as u32);
        }
        Self {
            stars,
            cell,
            left,
            bottom,
            columns,
            cells,
        }
    }

    fn nearest(&self, xi: f64, eta: f64, radius: f64) -> Option<(usize, f64)> {
        let rows = self.cells.len() / self.columns;
        let range = |value: f64, count: usize| {
            let low = ((value - radius) / self.cell).floor().max(0.0) as usize;
            let high = (value + radius) / self.cell;
            (high >= 0.0 && low < count).then(|| (low, (high as usize).min(count - 1)))
        };
        let (x0, x1) = range(xi - self.left, self.columns)?;
        let (y0, y1) = range(eta - self.bottom, rows)?;
        let mut best: Option<(usize, f64)> = None;
        for row in y0..=y1 {
            for cell in &self.cells[row * self.columns + x0..=row * self.columns + x1] {
                for at in cell {
                    let star = &self.stars[*at as usize];
                    let squared = (star.1 - xi).powi(2) + (star.2 - eta).powi(2);
                    if squared <= radius * radius && best.is_none_or(|b| squared < b.1) {
                        best = Some((*at as usize, squared));
                    }
                }
            }
        }
        best.map(|(at, squared)| (at, squared.sqrt()))
    }
}

/// Position, scale and turn: side xi + i eta = c (x + i y) + t.
#[derive(Debug, Clone, Copy)]
struct Turn {
    side: f64,
    c: (f64, f64),
    t: (f64, f64),
}

impl Turn {
    fn plane(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.side * (self.c.0 * x - self.c.1 * y + self.t.0),
            self.c.1 * x + self.c.0 * y + self.t.1,
        )
    }

    fn rotation_deg(&self) -> f64 {
        (-self.side * self.c.1).atan2(self.c.0).to_degrees()
    }
}

impl Frame<'_> {
    fn size(&self) -> (f64, f64) {
        (self.options.width as f64, self.options.height as f64)
    }

    fn crpix(&self) -> (f64, f64) {
        ((self.size().0 - 1.0) / 2.0, (self.size().1 - 1.0) / 2.0)
    }

    /// `Ok(None)` where pairs are not the way: the circle is too wide.
    fn by_pairs(&self, (ra, dec, radius): (f64, f64, f64), scale: (f64, f64)) -> Result<Option<Solution>, Unsolved> {
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

    fn lies_right(&self, rotation_deg: f64, east_left: bool) -> bool {
        self.options.hint.orientation.is_none_or(|o| {
            let difference = (rotation_deg - o.rotation_deg + 540.0).rem_euclid(360.0) - 180.0;
            o.east_left == east_left && difference.abs() <= o.tolerance_deg
        })
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

    fn pairing(&self, spot: usize, star: &Star) -> Match {
        Match {
            x: self.spots[spot].x,
            y: self.spots[spot].y,
            ra_deg: star.ra_deg,
            dec_deg: star.dec_deg,
        }
    }

    fn by_quads(&self, index: &Index) -> Result<Solution, Unsolved> {
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
    fn refine(&self, mut wcs: Wcs, own: &[usize], tried: u64, before: f64, by: &'static str) -> Option<Solution> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::astrometry::index::Contents;

    struct List(Vec<Star>);

    impl SkyStars for List {
        fn cone(&self, ra: f64, dec: f64, radius: f64) -> Result<Vec<Star>, String> {
            let near = |s: &&Star| separation(ra, dec, s.ra_deg, s.dec_deg) <= radius;
            Ok(self.0.iter().filter(near).copied().collect())
        }

        fn depth(&self) -> f64 {
            12.0
        }

        fn name(&self) -> String {
            "list".into()
        }
    }

    struct Dice(u64);

    impl Dice {
        fn unit(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
        }
    }

    /// Stars over a cap of the sky, about 60 a square degree.
    fn sky(dice: &mut Dice) -> List {
        let stars = (0..12_000).map(|_| Star {
            ra_deg: (350.0 + dice.unit() * 20.0) % 360.0,
            dec_deg: (0.5f64.sin() * (dice.unit() * 2.0 - 1.0) * 0.36).asin().to_degrees(),
            mag: 12.0 + 2.0 * dice.unit().max(1e-6).log10(),
        });
        List(stars.collect())
    }

    fn frame(wcs: &Wcs, sky: &List, dice: &mut Dice) -> Vec<Spot> {
        let mut spots = Vec::new();
        for star in &sky.0 {
            let Some((x, y)) = wcs.pixel_of(star.ra_deg, star.dec_deg) else {
                continue;
            };
            if (0.0..1024.0).contains(&x) && (0.0..1024.0).contains(&y) && dice.unit() > 0.15 {
                let mag = star.mag + 0.5 * dice.normal();
                spots.push(Spot {
                    x: x + 0.25 * dice.normal(),
                    y: y + 0.25 * dice.normal(),
                    flux: 10f64.powf(-0.4 * mag),
                });
            }
        }
        for _ in 0..spots.len() / 4 {
            let flux = spots[(dice.unit() * spots.len() as f64) as usize].flux;
            spots.push(Spot {
                x: 1023.0 * dice.unit(),
                y: 1023.0 * dice.unit(),
                flux,
            });
        }
        spots
    }

    fn turned(centre: (f64, f64), angle: f64, side: f64) -> Wcs {
        let (sin, cos) = angle.sin_cos();
        let s = 4.0 / 3600.0;
        Wcs {
            crval: centre,
            crpix: (511.5, 511.5),
            cd: [[side * s * cos, -side * s * sin], [s * sin, s * cos]],
            sip: None,
        }
    }

    fn options(hint: Hint) -> SolveOptions {
        SolveOptions {
            width: 1024,
            height: 1024,
            hint,
            order: 3,
        }
    }

    #[test]
    fn frames_with_missing_false_and_badly_measured_stars_are_solved_and_none_wrongly() {
        let mut dice = Dice(7);
        let sky = sky(&mut dice);
        let index = {
            let path = std::env::temp_dir().join(format!("alidade-solve-{}", std::process::id()));
            std::fs::write(&path, Contents::new("cap", sky.0.clone()).bytes()).unwrap();
            let index = Index::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            index
        };
        let (mut hinted, mut blind) = (0, 0);
        for n in 0..30 {
            let centre = ((352.0 + 16.0 * dice.unit()) % 360.0, 6.0 * dice.unit() - 3.0);
            let truth = turned(centre, 6.3 * dice.unit(), if n % 2 == 0 { -1.0 } else { 1.0 });
            let spots = frame(&truth, &sky, &mut dice);
            let hint = Hint {
                position: Some((centre.0 + dice.unit() - 0.5, centre.1 + dice.unit() - 0.5, 0.8)),
                scale: Some((3.9, 4.1)),
                orientation: None,
            };
            for (known, count) in [(hint, &mut hinted), (Hint::default(), &mut blind)] {
                if let Ok(found) = solve(&spots, &sky, Some(&index), &options(known)) {
                    for (x, y) in [(0.0, 0.0), (1023.0, 0.0), (511.5, 511.5), (0.0, 1023.0)] {
                        let ((a, b), (c, d)) = (found.wcs.sky_of(x, y), truth.sky_of(x, y));
                        assert!(
                            separation(a, b, c, d) * 3600.0 < 4.0,
                            "wrong by {} arcsec, {} matched",
                            separation(a, b, c, d) * 3600.0,
                            found.matched
                        );
                    }
                    *count += 1;
                }
            }
        }
        assert_eq!(hinted, 30);
        assert!(blind >= 25, "{blind}");
    }

    #[test]
    fn a_frame_of_chance_and_a_frame_of_another_place_are_not_solved() {
        let mut dice = Dice(11);
        let sky = sky(&mut dice);
        let hint = Hint {
            position: Some((0.0, 0.0, 1.0)),
            scale: Some((3.9, 4.1)),
            orientation: None,
        };
        for _ in 0..10 {
            let spots: Vec<Spot> = (0..60)
                .map(|_| Spot {
                    x: 1023.0 * dice.unit(),
                    y: 1023.0 * dice.unit(),
                    flux: dice.unit(),
                })
                .collect();
            assert!(matches!(
                solve(&spots, &sky, None, &options(hint)),
                Err(Unsolved::NotFound(_))
            ));
        }
        let elsewhere = turned((5.0, 2.5), 0.3, -1.0);
        let spots = frame(&elsewhere, &sky, &mut dice);
        assert!(solve(&spots, &sky, None, &options(hint)).is_err());
        assert_eq!(
            solve(&spots[..2], &sky, None, &options(hint)),
            Err(Unsolved::TooFewStars(2))
        );
        assert_eq!(
            solve(&spots, &sky, None, &options(Hint::default())),
            Err(Unsolved::NeedsQuads)
        );
    }
}
