//! Regions larger than the field, cut into fields and ranked by probability.
//!
//! The sky is laid out in declination bands one step high, each cut in steps along right ascension; a step is the field
//! less the overlap. A tile's probability is that of its step, so that overlaps are not counted twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Tiling;
use crate::skymap::{Cell, MultiOrderMap, cell_centre_deg};

/// One pointing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// Right ascension of the centre, ICRS degrees.
    pub ra_deg: f64,
    /// Declination of the centre, degrees.
    pub dec_deg: f64,
    /// Probability that the source is in it.
    pub probability: f64,
}

/// Complementary error function by Chebyshev fit, fractional error below 1.2e-7 (Press et al., Numerical Recipes, 6.2).
fn erf(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let sum = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let complement = t * (-x * x + sum).exp();
    if x >= 0.0 { 1.0 - complement } else { complement - 1.0 }
}

/// Probability that a source with a circular normal error of 90 % radius `r90_deg` lies in a square field of side
/// `field_deg` that is centred on its position.
#[must_use]
pub(super) fn field_share(field_deg: f64, r90_deg: f64) -> f64 {
    let sigma = r90_deg / (2.0 * 10f64.ln()).sqrt();
    if sigma > 0.0 {
        erf(field_deg / 2.0 / sigma / std::f64::consts::SQRT_2).powi(2)
    } else {
        1.0
    }
}

fn ranked(mut tiles: Vec<Tile>) -> Vec<Tile> {
    tiles.sort_by(|a, b| {
        b.probability
            .total_cmp(&a.probability)
            .then(a.dec_deg.total_cmp(&b.dec_deg))
            .then(a.ra_deg.total_cmp(&b.ra_deg))
    });
    tiles
}

/// So many times the wanted number of tiles are looked at, because some may never be seen.
pub(super) const CANDIDATES: usize = 4;

/// The most that the wanted number of tiles could hold of a circular normal error: as much as a disk of their area.
#[must_use]
pub(super) fn most_covered(r90_deg: f64, fov_deg: f64, tiling: &Tiling) -> f64 {
    let step = fov_deg * (1.0 - tiling.overlap);
    let variance = r90_deg.powi(2) / (2.0 * 10f64.ln());
    let area = f64::from(tiling.max_tiles) * step * step;
    1.0 - (-area / (2.0 * std::f64::consts::PI * variance)).exp()
}

/// Tiles over a circular normal error of 90 % radius `r90_deg`, most probable first; not yet cut to the most that a
/// strategy wants, because some may never be seen.
///
/// The grid lies in the tangent plane and is centred on the position, where the source most likely is.
#[must_use]
pub fn tile_circle(ra_deg: f64, dec_deg: f64, r90_deg: f64, fov_deg: f64, tiling: &Tiling) -> Vec<Tile> {
    let step = fov_deg * (1.0 - tiling.overlap);
    let sigma = r90_deg / (2.0 * 10f64.ln()).sqrt();
    if !(step > 0.0 && sigma > 0.0) || sigma > 45.0 {
        return Vec::new();
    }
    // Beyond twice the 90 % radius lies a ten-thousandth, and beyond some circles of as many tiles as are wanted lies
    // nothing that would be taken: tiny fields must not make millions of tiles.
    let wanted = (CANDIDATES as f64 * f64::from(tiling.max_tiles) / std::f64::consts::PI).sqrt() + 2.0;
    #[allow(clippy::cast_possible_truncation)]
    let reach = (2.0 * r90_deg / step).min(wanted).ceil() as i32;
    let share = |i: i32| {
        let (low, high) = ((f64::from(i) - 0.5) * step, (f64::from(i) + 0.5) * step);
        0.5 * (erf(high / sigma / std::f64::consts::SQRT_2) - erf(low / sigma / std::f64::consts::SQRT_2))
    };
    let mut tiles = Vec::new();
    for i in -reach..=reach {
        for j in -reach..=reach {
            let probability = share(i) * share(j);
            if probability > 1e-6 {
                let (ra, dec) = from_tangent_plane(ra_deg, dec_deg, f64::from(i) * step, f64::from(j) * step);
                tiles.push(Tile {
                    ra_deg: ra,
                    dec_deg: dec,
                    probability,
                });
            }
        }
    }
    ranked(tiles)
}

/// Direction at an offset east and north, degrees along the sphere, of a centre (zenithal equidistant projection).
fn from_tangent_plane(ra_deg: f64, dec_deg: f64, east_deg: f64, north_deg: f64) -> (f64, f64) {
    let distance = east_deg.hypot(north_deg).to_radians();
    let angle = east_deg.atan2(north_deg);
    let dec0 = dec_deg.to_radians();
    let sin_dec = dec0.sin() * distance.cos() + dec0.cos() * distance.sin() * angle.cos();
    let y = distance.sin() * angle.sin() * dec0.cos();
    let x = distance.cos() - dec0.sin() * sin_dec;
    (
        (ra_deg + y.atan2(x).to_degrees()).rem_euclid(360.0),
        sin_dec.clamp(-1.0, 1.0).asin().to_degrees(),
    )
}

/// Tiles over a sky map, most probable first, not yet cut to the most that a strategy wants.
#[must_use]
pub fn tile_map(map: &MultiOrderMap, fov_deg: f64, tiling: &Tiling) -> Vec<Tile> {
    let step = fov_deg * (1.0 - tiling.overlap);
    if !(step > 0.01 && step < 60.0) {
        return Vec::new();
    }
    // Cells are cut until half a step across (a cell of order k is 58.6 deg / 2^k wide).
    let mut fine = 0u8;
    while 58.6 / 2f64.powi(i32::from(fine)) > step / 2.0 && fine < 11 {
        fine += 1;
    }
    let mut tiles: BTreeMap<(i64, i64), f64> = BTreeMap::new();
    let mut sum = 0.0;
    for cell in &map.cells {
        // What lies outside the 99 % region cannot make a tile that is worth a pointing.
        if sum > 0.99 * map.total {
            break;
        }
        sum += cell.probability();
        spread(cell, fine, step, &mut tiles);
    }
    let tiles = tiles.into_iter().map(|((band, column), probability)| {
        let dec_deg = band_centre(band, step);
        let columns = columns_of(dec_deg, step);
        #[allow(clippy::cast_precision_loss)]
        let ra_deg = (column as f64 + 0.5) * 360.0 / columns;
        Tile {
            ra_deg,
            dec_deg,
            probability,
        }
    });
    ranked(tiles.collect())
}

#[allow(clippy::cast_precision_loss)]
fn band_centre(band: i64, step: f64) -> f64 {
    let bands = (180.0 / step).ceil();
    -90.0 + (band as f64 + 0.5) * 180.0 / bands
}

/// How many steps fit round the parallel, at its widest within the band.
fn columns_of(dec_deg: f64, step: f64) -> f64 {
    let widest = (dec_deg.abs() - step / 2.0).max(0.0).to_radians().cos();
    (360.0 * widest / step).ceil().max(1.0)
}

// Bands and columns are below 360 / 0.01.
#[allow(clippy::cast_possible_truncation)]
fn spread(cell: &Cell, fine: u8, step: f64, tiles: &mut BTreeMap<(i64, i64), f64>) {
    let deeper = fine.saturating_sub(cell.order).min(8);
    let parts = 1u64 << (2 * deeper);
    #[allow(clippy::cast_precision_loss)]
    let share = cell.probability() / parts as f64;
    for part in 0..parts {
        let (ra, dec) = cell_centre_deg(cell.order + deeper, (cell.pixel << (2 * deeper)) + part);
        let bands = (180.0 / step).ceil();
        let band = (((dec + 90.0) / 180.0 * bands) as i64).min(bands as i64 - 1);
        let columns = columns_of(band_centre(band, step), step);
        let column = ((ra / 360.0 * columns) as i64).min(columns as i64 - 1);
        *tiles.entry((band, column)).or_default() += share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::separation_deg as separation;

    const TILING: Tiling = Tiling {
        max_tiles: 1000,
        min_cumulative_prob: 0.5,
        overlap: 0.0,
    };

    #[test]
    fn the_error_function_is_the_tabulated_one() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (-2.0, -0.995_322_265),
        ] {
            assert!((erf(x) - expected).abs() < 2e-7, "{x}");
        }
    }

    #[test]
    fn tiles_of_a_circle_cover_what_the_circle_holds() {
        let tiles = tile_circle(350.0, 80.0, 3.0, 1.0, &TILING);
        let all: f64 = tiles.iter().map(|t| t.probability).sum();
        assert!(all > 0.999 && all < 1.000_01, "{all}");
        let inside: f64 = tiles
            .iter()
            .filter(|t| separation(350.0, 80.0, t.ra_deg, t.dec_deg) <= 3.0)
            .map(|t| t.probability)
            .sum();
        assert!((inside - 0.9).abs() < 0.05, "{inside}");
        assert!(tiles.is_sorted_by(|a, b| a.probability >= b.probability));
        assert!(separation(350.0, 80.0, tiles[0].ra_deg, tiles[0].dec_deg) < 1e-6);
    }

    #[test]
    fn no_tiles_hold_more_than_a_disk_of_their_area() {
        for (r90, fov, max_tiles) in [(8.0, 0.4, 40), (3.0, 1.0, 24), (0.5, 0.4, 16), (10.0, 5.0, 9)] {
            let tiling = Tiling { max_tiles, ..TILING };
            let tiles = tile_circle(100.0, 20.0, r90, fov, &tiling);
            let held: f64 = tiles.iter().take(max_tiles as usize).map(|t| t.probability).sum();
            let bound = most_covered(r90, fov, &tiling);
            assert!(
                held <= bound + 1e-6 && held > 0.85 * bound,
                "{r90} {fov}: {held} of {bound}"
            );
            assert!(tiles.len() >= max_tiles as usize && tiles.len() < 20 * max_tiles as usize + 100);
        }
    }

    #[test]
    fn tiles_of_a_map_follow_its_peak() {
        let d = 1.0
            / Cell {
                order: 5,
                pixel: 0,
                density_sr: 0.0,
            }
            .area_sr();
        let map = MultiOrderMap {
            cells: vec![
                Cell {
                    order: 5,
                    pixel: 777,
                    density_sr: 0.7 * d,
                },
                Cell {
                    order: 5,
                    pixel: 9000,
                    density_sr: 0.3 * d,
                },
            ],
            total: 1.0,
        };
        let tiles = tile_map(&map, 1.0, &TILING);
        let (ra, dec) = cell_centre_deg(5, 777);
        assert!(separation(ra, dec, tiles[0].ra_deg, tiles[0].dec_deg) < 2.5);
        let sum: f64 = tiles.iter().map(|t| t.probability).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
