//! Stars: a table of real ones, and a synthetic population that fills every field on the sky.
//!
//! Inside the fields that a table covers, synthetic stars begin where the table ends; elsewhere they begin at magnitude
//! 7, so that a pointing to any direction sees as many stars of each magnitude as the Galaxy has there.

use crate::random::Random;
use alidade_model::units::separation_deg;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Star {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub mag: f64,
}

/// Real stars by declination, and the circles they cover.
#[derive(Debug, Default)]
pub struct Catalogue {
    stars: Vec<Star>,
    /// Centre (ICRS, degrees) and radius (degrees).
    fields: Vec<((f64, f64), f64)>,
}

/// Side of the cells of the synthetic population, degrees.
const CELL_DEG: f64 = 0.25;
/// Where synthetic stars begin where there is no table, and where Tycho-2 thins out.
const BRIGHT: f64 = 7.0;
const BEYOND_TABLE: f64 = 11.5;
const FAINT: f64 = 19.5;
/// Stars are drawn magnitude bin by magnitude bin.
const BIN_MAG: f64 = 0.5;

impl Catalogue {
    /// Reads `ra_deg,dec_deg,mag` lines after a header; a missing file is an empty catalogue. A comment
    /// `# field RA DEC RADIUS` (degrees) says that the table holds every star of a circle.
    pub fn load(file: &Path) -> Result<Self, String> {
        let Ok(text) = std::fs::read_to_string(file) else {
            return Ok(Self::default());
        };
        Self::read(&text).map_err(|(line, cause)| format!("{}:{line}: {cause}", file.display()))
    }

    /// As [`Catalogue::load`]; the error is line number and cause.
    pub fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut found = Self::default();
        let mut header = false;
        for (index, line) in text.lines().enumerate() {
            let wrong = |cause: &str| (index + 1, cause.to_owned());
            if let Some(comment) = line.strip_prefix('#') {
                if let Some(circle) = comment.trim().strip_prefix("field ") {
                    let [ra, dec, radius] = three(circle.split_whitespace())
                        .ok_or_else(|| wrong("a field is `# field RA DEC RADIUS` in degrees"))?;
                    found.fields.push(((ra, dec), radius));
                }
            } else if line.trim().is_empty() {
            } else if !header {
                header = line.trim() == "ra_deg,dec_deg,mag";
                if !header {
                    return Err(wrong("the first line must be ra_deg,dec_deg,mag"));
                }
            } else {
                let [ra_deg, dec_deg, mag] = three(line.split(','))
                    .filter(|[ra, dec, _]| (0.0..=360.0).contains(ra) && (-90.0..=90.0).contains(dec))
                    .ok_or_else(|| wrong("is not ra_deg,dec_deg,mag"))?;
                found.stars.push(Star { ra_deg, dec_deg, mag });
            }
        }
        found.stars.sort_by(|a, b| a.dec_deg.total_cmp(&b.dec_deg));
        Ok(found)
    }

    /// All stars within about `radius_deg` of a direction, real ones first.
    pub fn around(&self, (ra, dec): (f64, f64), radius_deg: f64) -> Vec<Star> {
        // The widest right ascensions of a circle lie a little polewards of its centre.
        let reach = radius_deg.to_radians().sin() / (dec.abs() + radius_deg).min(89.9).to_radians().cos();
        let half_width_deg = if reach < 1.0 { reach.asin().to_degrees() } else { 180.0 };
        let near = |star: &&Star| ((star.ra_deg - ra + 180.0).rem_euclid(360.0) - 180.0).abs() <= half_width_deg;
        let from = self.stars.partition_point(|s| s.dec_deg < dec - radius_deg);
        let to = self.stars.partition_point(|s| s.dec_deg <= dec + radius_deg);
        let mut found: Vec<Star> = self.stars[from..to].iter().filter(near).copied().collect();
        let mut row = ((dec - radius_deg).max(-90.0) / CELL_DEG).floor();
        while row * CELL_DEG <= (dec + radius_deg).min(90.0) {
            self.synthetic_row(row, ra, half_width_deg, &mut found);
            row += 1.0;
        }
        found
    }

    /// The synthetic stars of the cells of one declination row around a right ascension. A cell is the same whoever
    /// looks: its stars are drawn from its own numbers.
    fn synthetic_row(&self, row: f64, ra: f64, half_width_deg: f64, found: &mut Vec<Star>) {
        let dec0 = row * CELL_DEG;
        let columns = ((360.0 * (dec0 + CELL_DEG / 2.0).to_radians().cos().max(0.0) / CELL_DEG).round()).max(1.0);
        let width = 360.0 / columns;
        let first = ((ra - half_width_deg) / width).floor();
        let last = ((ra + half_width_deg) / width).floor().min(first + columns - 1.0);
        let mut column = first;
        while column <= last {
            let cell = column.rem_euclid(columns);
            let middle = ((cell + 0.5) * width, dec0 + CELL_DEG / 2.0);
            let covered = self
                .fields
                .iter()
                .any(|(centre, radius)| separation_deg(*centre, middle) < *radius);
            let area = width * CELL_DEG * middle.1.to_radians().cos().max(0.0);
            let counts = Counts::towards(middle);
            let mut random = Random::new((row + 1000.0) as u64 * 1_000_003 + cell as u64);
            let mut mag = BRIGHT;
            while mag < FAINT {
                let mean = area * (counts.brighter_than(mag + BIN_MAG) - counts.brighter_than(mag));
                for _ in 0..poisson(mean, &mut random) {
                    let (u, v, w) = (random.unit(), random.unit(), random.unit());
                    if !covered || mag >= BEYOND_TABLE {
                        let (ra_deg, dec_deg) = ((cell + u) * width, dec0 + v * CELL_DEG);
                        found.push(Star {
                            ra_deg,
                            dec_deg,
                            mag: mag + BIN_MAG * w,
                        });
                    }
                }
                mag += BIN_MAG;
            }
            column += 1.0;
        }
    }
}

fn three<'a>(words: impl Iterator<Item = &'a str>) -> Option<[f64; 3]> {
    let numbers: Option<Vec<f64>> = words
        .map(|word| word.trim().parse().ok().filter(|n: &f64| n.is_finite()))
        .collect();
    <[f64; 3]>::try_from(numbers?).ok()
}

/// Poisson deviate: Knuth's product for small means, the normal limit for large ones.
fn poisson(mean: f64, random: &mut Random) -> usize {
    if mean > 30.0 {
        return (mean + mean.sqrt() * random.normal()).round().max(0.0) as usize;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), random.unit(), 0);
    while product > limit {
        product *= random.unit();
        count += 1;
    }
    count
}

/// How many stars the Galaxy shows in one direction: the analytic fit of Bahcall & Soneira (1980, ApJS 44, 73, eq. A1).
///
/// The fit holds from 20 degrees of galactic latitude on and for V from 4 to 30; nearer to the plane its value at 20
/// degrees is used, which is too few but is what a small telescope's extraction can still separate.
#[derive(Debug, Clone, Copy)]
struct Counts {
    sin_b: f64,
    cot_b_cos_l: f64,
    cos_b_cos_l: f64,
}

/// North galactic pole and the galactic longitude of the north celestial pole, J2000 degrees (ESA 1997, Hipparcos
/// Catalogue vol. 1, section 1.5.3).
const POLE: (f64, f64) = (192.85948, 27.12825);
const LONGITUDE_OF_POLE: f64 = 122.93192;

/// Galactic longitude and latitude of an ICRS direction, degrees.
pub fn galactic((ra_deg, dec_deg): (f64, f64)) -> (f64, f64) {
    let (ra, dec, pole) = (
        (ra_deg - POLE.0).to_radians(),
        dec_deg.to_radians(),
        POLE.1.to_radians(),
    );
    let sin_b = dec.sin() * pole.sin() + dec.cos() * pole.cos() * ra.cos();
    let l = (dec.cos() * ra.sin()).atan2(dec.sin() * pole.cos() - dec.cos() * pole.sin() * ra.cos());
    (
        (LONGITUDE_OF_POLE - l.to_degrees()).rem_euclid(360.0),
        sin_b.clamp(-1.0, 1.0).asin().to_degrees(),
    )
}

impl Counts {
    fn towards(direction: (f64, f64)) -> Self {
        let (l, b) = galactic(direction);
        let (l, b) = (l.to_radians(), b.abs().clamp(20.0, 90.0).to_radians());
        Self {
            sin_b: b.sin(),
            cot_b_cos_l: l.cos() / b.tan(),
            cos_b_cos_l: b.cos() * l.cos(),
        }
    }

    /// Stars a square degree brighter than V magnitude `m`.
    fn brighter_than(&self, m: f64) -> f64 {
        let shape = |c: f64, rise: f64, turn: f64, power: f64, at: f64| {
            c * 10f64.powf(rise * (m - at)) / (1.0 + 10f64.powf(turn * (m - at))).powf(power)
        };
        // Disc and spheroid; mu and gamma change between magnitudes 12 and 20.
        let step = (m - 12.0).clamp(0.0, 8.0);
        let (mu, gamma) = (0.03 + 0.0075 * step, 0.36 - 0.04 * step);
        let sigma = 1.45 - 0.20 * self.cos_b_cos_l;
        let disc = shape(925.0, 0.035, -0.132, 3.0, 15.75);
        let spheroid = shape(1050.0, 0.087, -0.180, 2.5, 17.5);
        disc / (self.sin_b * (1.0 - mu * self.cot_b_cos_l)).powf(3.0 - 5.0 * gamma)
            + spheroid / (1.0 - self.cos_b_cos_l).powf(sigma)
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
        let (a, b) = (
            catalogue.around((150.0, 30.0), 0.3),
            catalogue.around((150.1, 30.0), 0.3),
        );
        let shared = a.iter().filter(|star| b.contains(star)).count();
        assert!(shared > a.len() / 3);
    }

    #[test]
    fn the_galactic_plane_holds_more_stars_than_its_pole() {
        let (l, b) = galactic((266.40510, -28.93617));
        assert!(
            b.abs() < 0.01 && !(0.01..=359.99).contains(&l),
            "the Galactic centre is at 0, 0, not {l}, {b}"
        );
        let (_, b) = galactic((192.85948, 27.12825));
        assert!((b - 90.0).abs() < 1e-6);
        let catalogue = Catalogue::default();
        let count = |ra, dec| catalogue.around((ra, dec), 1.0).len();
        let (pole, low) = (count(192.86, 27.13), count(305.0, 38.0));
        assert!(low as f64 > 2.0 * pole as f64, "pole {pole}, plane {low}");
    }

    #[test]
    fn counts_at_the_pole_are_those_of_the_fit() {
        // Star counts at the pole (Allen 1973, section 117): 5 to 10 a square degree to V = 11, 200 to 300 to 16.
        let pole = Counts::towards((192.85948, 27.12825));
        let (bright, faint) = (pole.brighter_than(11.0), pole.brighter_than(16.0));
        assert!((3.0..15.0).contains(&bright), "{bright}");
        assert!((150.0..400.0).contains(&faint), "{faint}");
    }

    #[test]
    fn inside_a_covered_field_bright_stars_come_from_the_table_alone() {
        let text = "# field 150.0 30.0 0.7\nra_deg,dec_deg,mag\n150.05,30.02,8.25\n";
        let catalogue = Catalogue::read(text).unwrap();
        let bright: Vec<f64> = catalogue
            .around((150.0, 30.0), 0.4)
            .iter()
            .map(|s| s.mag)
            .filter(|m| *m < BEYOND_TABLE)
            .collect();
        assert_eq!(bright, [8.25]);
        assert!(
            Catalogue::default()
                .around((150.0, 30.0), 0.6)
                .iter()
                .any(|s| s.mag < BEYOND_TABLE)
        );
    }

    #[test]
    fn a_bad_star_names_its_line() {
        assert_eq!(Catalogue::read("ra_deg,dec_deg,mag\n1,2,3\n1,95,3\n").unwrap_err().0, 3);
        assert_eq!(Catalogue::read("ra,dec\n").unwrap_err().0, 1);
        assert_eq!(Catalogue::read("# field 1 2\nra_deg,dec_deg,mag\n").unwrap_err().0, 1);
    }
}
