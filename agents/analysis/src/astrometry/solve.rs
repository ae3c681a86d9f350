//! From a list of stars to a plate solution.
//!
//! With a position and a scale, pairs of bright stars are compared with pairs of the catalogue of the same length;
//! without, quads with those of an index. Each hypothesis predicts where the other stars are. It is accepted when the
//! log-odds of what is found there exceed the logarithm of the number of hypotheses tried by [`CERTAINTY`]: of a hundred
//! thousand fields without a solution one would be given a wrong one (Lang et al. 2010, AJ 139, 1782, section 2.3).
//!
//! | module | holds |
//! |---|---|
//! | `pairs` | hypotheses from pairs of stars about a hint |
//! | `blind` | hypotheses from the quads of an index |
//! | `odds` | how likely a hypothesis is |
//! | `plane` | the catalogue on a plane, looked up by place |
//! | `refine` | from a hypothesis to the solution |

mod blind;
mod odds;
mod pairs;
mod plane;
mod refine;

use super::{
    fit::Match,
    index::Index,
    stars::{SkyStars, Star},
    wcs::Wcs,
};
use serde::Serialize;
use std::cell::OnceCell;

/// Natural logarithm of the odds that must remain after all hypotheses are counted.
pub const CERTAINTY: f64 = 11.5;
/// Uncertainty of a measured position while a hypothesis is judged, pixels, and as a share of the distance from its stars.
const SPOT_PX: f64 = 0.8;
const BEND: f64 = 0.003;
/// Stars of a frame that verify.
const TEST_SPOTS: usize = 60;
/// Log-odds from which a hypothesis is not followed further: about seven stars in a row that the catalogue does not have.
/// The brightest of a frame are often saturated, or galaxies.
const GIVE_UP: f64 = -8.5;

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

impl Frame<'_> {
    fn size(&self) -> (f64, f64) {
        (self.options.width as f64, self.options.height as f64)
    }

    fn crpix(&self) -> (f64, f64) {
        ((self.size().0 - 1.0) / 2.0, (self.size().1 - 1.0) / 2.0)
    }

    fn lies_right(&self, rotation_deg: f64, east_left: bool) -> bool {
        self.options.hint.orientation.is_none_or(|o| {
            let difference = (rotation_deg - o.rotation_deg + 540.0).rem_euclid(360.0) - 180.0;
            o.east_left == east_left && difference.abs() <= o.tolerance_deg
        })
    }

    fn pairing(&self, spot: usize, star: &Star) -> Match {
        Match {
            x: self.spots[spot].x,
            y: self.spots[spot].y,
            ra_deg: star.ra_deg,
            dec_deg: star.dec_deg,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::astrometry::{index::Contents, stars::separation};

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
