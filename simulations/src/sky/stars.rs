//! Stars: a table of real ones, and a faint population that fills every field on the sky.

use crate::random::Random;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Star {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub mag: f64,
}

/// Real stars by declination.
#[derive(Debug, Default)]
pub struct Catalogue {
    stars: Vec<Star>,
}

/// Side of the cells of the faint population, degrees.
const CELL_DEG: f64 = 0.25;
/// Faint stars a square degree, from magnitude [`BRIGHT`] to [`FAINT`]; counts grow as 10 to the 0.3 mag.
const PER_SQUARE_DEGREE: f64 = 1600.0;
const BRIGHT: f64 = 12.0;
const FAINT: f64 = 18.5;

impl Catalogue {
    /// Reads `ra_deg,dec_deg,mag` lines after a header; a missing file is an empty catalogue.
    pub fn load(file: &Path) -> Result<Self, String> {
        let Ok(text) = std::fs::read_to_string(file) else { return Ok(Self::default()) };
        let mut stars = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.starts_with('#') && !l.trim().is_empty()).skip(1) {
            let numbers: Vec<f64> = line.split(',').filter_map(|f| f.trim().parse().ok()).collect();
            let [ra_deg, dec_deg, mag] = numbers[..] else {
                return Err(format!("{}:{}: is not ra_deg,dec_deg,mag", file.display(), index + 1));
            };
            stars.push(Star { ra_deg, dec_deg, mag });
        }
        stars.sort_by(|a, b| a.dec_deg.total_cmp(&b.dec_deg));
        Ok(Self { stars })
    }

    /// All stars within about `radius_deg` of a direction, real ones first.
    pub fn around(&self, (ra, dec): (f64, f64), radius_deg: f64) -> Vec<Star> {
        let shrink = dec.to_radians().cos().max(0.02);
        let near = |star: &&Star| ((star.ra_deg - ra + 180.0).rem_euclid(360.0) - 180.0).abs() * shrink <= radius_deg;
        let from = self.stars.partition_point(|s| s.dec_deg < dec - radius_deg);
        let to = self.stars.partition_point(|s| s.dec_deg <= dec + radius_deg);
        let mut found: Vec<Star> = self.stars[from..to].iter().filter(near).copied().collect();
        let mut row = ((dec - radius_deg).max(-90.0) / CELL_DEG).floor();
        while row * CELL_DEG <= (dec + radius_deg).min(90.0) {
            faint_row(row, ra, radius_deg / shrink, &mut found);
            row += 1.0;
        }
        found
    }
}

/// The faint stars of the cells of one declination row around a right ascension.
fn faint_row(row: f64, ra: f64, half_width_deg: f64, found: &mut Vec<Star>) {
    let dec0 = row * CELL_DEG;
    let columns = ((360.0 * (dec0 + CELL_DEG / 2.0).to_radians().cos() / CELL_DEG).round()).max(1.0);
    let width = 360.0 / columns;
    let first = ((ra - half_width_deg) / width).floor();
    let last = ((ra + half_width_deg) / width).floor().min(first + columns - 1.0);
    let mut column = first;
    while column <= last {
        let cell = column.rem_euclid(columns);
        let mut random = Random::new((row + 1000.0) as u64 * 1_000_003 + cell as u64);
        let mean = PER_SQUARE_DEGREE * CELL_DEG * CELL_DEG;
        let count = (mean + mean.sqrt() * random.normal()).round().max(0.0) as usize;
        for _ in 0..count {
            let (u, v, w) = (random.unit(), random.unit(), random.unit());
            let (low, high) = (10f64.powf(0.3 * BRIGHT), 10f64.powf(0.3 * FAINT));
            found.push(Star { ra_deg: (cell + u) * width, dec_deg: dec0 + v * CELL_DEG, mag: (low + (high - low) * w).log10() / 0.3 });
        }
        column += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_stars_and_they_stay_where_they_are() {
        let catalogue = Catalogue::default();
        for direction in [(0.01, 0.0), (359.99, 45.0), (120.0, -89.0), (200.0, 89.5)] {
            let stars = catalogue.around(direction, 0.3);
            assert!(stars.len() > 100, "{direction:?}: {}", stars.len());
        }
        let (a, b) = (catalogue.around((150.0, 30.0), 0.3), catalogue.around((150.1, 30.0), 0.3));
        let shared = a.iter().filter(|star| b.contains(star)).count();
        assert!(shared > a.len() / 3);
    }
}
