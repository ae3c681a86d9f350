//! Multi-order HEALPix sky maps in FITS: read, checked, measured.
//!
//! Terms: a map is a list of *cells*, each a HEALPix pixel of its own *order* (nside = 2^order, nested numbering) with a
//! probability per steradian. *NUNIQ* packs order and pixel in one number, 4·4^order + pixel (Fernique et al., IVOA MOC
//! 2.0, section 4.3.1). Format: IGWN Public Alerts User Guide, "Multi-order sky maps"; FITS standard 4.0 for the table.

use std::collections::BTreeMap;

/// A cell of the sky and the probability that the source is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// HEALPix order, 0 to 29.
    pub order: u8,
    /// Nested pixel number.
    pub pixel: u64,
    /// Probability per steradian.
    pub density_sr: f64,
}

impl Cell {
    /// Area of the cell, steradian.
    #[must_use]
    pub fn area_sr(&self) -> f64 {
        4.0 * std::f64::consts::PI / (12.0 * 4f64.powi(i32::from(self.order)))
    }

    /// Probability within the cell.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.density_sr * self.area_sr()
    }
}

/// A map that was read and found sound.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiOrderMap {
    /// The cells, most probable per steradian first.
    pub cells: Vec<Cell>,
    /// Sum of all probabilities, within 5 % of one.
    pub total: f64,
}

/// Why a map cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkymapError {
    /// Not FITS, cut short, or without a usable table.
    #[error("not a multi-order FITS map: {0}")]
    Format(&'static str),
    /// A cell number that no HEALPix cell has.
    #[error("row {0}: cell number out of range")]
    Cell(usize),
    /// A probability that is negative or not finite.
    #[error("row {0}: probability is not a finite number above zero")]
    Probability(usize),
    /// The probabilities do not add up to one.
    #[error("probabilities add up to {0}")]
    Sum(String),
}

const BLOCK: usize = 2880;
const CARD: usize = 80;
/// Cells of order 10 over the whole sky would be 12.6 million; real maps have some ten thousand.
const MAX_ROWS: usize = 4_000_000;

struct Header {
    cards: BTreeMap<String, String>,
    length: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, SkymapError> {
        let mut cards = BTreeMap::new();
        for (index, card) in bytes.chunks_exact(CARD).enumerate() {
            let card = std::str::from_utf8(card).map_err(|_| SkymapError::Format("header is not text"))?;
            let (Some(keyword), Some(rest)) = (card.get(..8), card.get(8..)) else {
                return Err(SkymapError::Format("header is not ASCII"));
            };
            let keyword = keyword.trim_end();
            if keyword == "END" {
                let length = ((index + 1) * CARD).div_ceil(BLOCK) * BLOCK;
                return Ok(Self { cards, length });
            }
            if let Some(value) = rest.strip_prefix('=') {
                let value = value.trim_start();
                let value = match value.strip_prefix('\'') {
                    Some(text) => text.split('\'').next().unwrap_or_default().trim_end(),
                    None => value.split('/').next().unwrap_or_default().trim_end(),
                };
                cards.insert(keyword.to_string(), value.to_string());
            }
            if index > 2000 {
                break;
            }
        }
        Err(SkymapError::Format("header without END"))
    }

    fn text(&self, keyword: &str) -> &str {
        self.cards.get(keyword).map_or("", String::as_str)
    }

    fn number(&self, keyword: &str) -> Option<usize> {
        self.text(keyword).parse().ok()
    }
}

/// Offset within a row and type letter of a named column.
fn column(header: &Header, name: &str) -> Option<(usize, char)> {
    let mut offset = 0;
    for index in 1..=header.number("TFIELDS")?.min(999) {
        let form = header.text(&format!("TFORM{index}"));
        let split = form.find(|c: char| c.is_ascii_alphabetic())?;
        let letter = form[split..].chars().next()?;
        let repeat: usize = if split == 0 { 1 } else { form[..split].parse().ok()? };
        if header.text(&format!("TTYPE{index}")).eq_ignore_ascii_case(name) && repeat == 1 {
            return Some((offset, letter));
        }
        let width = match letter {
            'L' | 'B' | 'A' => 1,
            'I' => 2,
            'J' | 'E' => 4,
            'K' | 'D' | 'C' | 'P' => 8,
            'M' | 'Q' => 16,
            _ => return None,
        };
        offset += repeat.checked_mul(width)?;
    }
    None
}

fn integer_at(row: &[u8], offset: usize, letter: char) -> Option<i64> {
    match letter {
        'K' => Some(i64::from_be_bytes(row.get(offset..offset + 8)?.try_into().ok()?)),
        'J' => Some(i64::from(i32::from_be_bytes(
            row.get(offset..offset + 4)?.try_into().ok()?,
        ))),
        _ => None,
    }
}

fn real_at(row: &[u8], offset: usize, letter: char) -> Option<f64> {
    match letter {
        'D' => Some(f64::from_be_bytes(row.get(offset..offset + 8)?.try_into().ok()?)),
        'E' => Some(f64::from(f32::from_be_bytes(
            row.get(offset..offset + 4)?.try_into().ok()?,
        ))),
        _ => None,
    }
}

/// Order and pixel of a NUNIQ number.
fn split_uniq(uniq: i64) -> Option<(u8, u64)> {
    let uniq = u64::try_from(uniq).ok().filter(|u| *u >= 4)?;
    let order = (uniq.ilog2() - 2) / 2;
    let pixel = uniq - (4u64 << (2 * order));
    (order <= 29 && pixel < 12u64 << (2 * order)).then(|| u8::try_from(order).ok().map(|order| (order, pixel)))?
}

impl MultiOrderMap {
    /// Reads a map from the bytes of a FITS file.
    ///
    /// # Errors
    /// When the file is no such map, or its probabilities make no sense.
    pub fn from_fits(bytes: &[u8]) -> Result<Self, SkymapError> {
        if !bytes.starts_with(b"SIMPLE  =") {
            return Err(SkymapError::Format("no FITS header"));
        }
        let primary = Header::read(bytes)?;
        if primary.number("NAXIS").is_some_and(|n| n != 0) {
            return Err(SkymapError::Format("an image in the primary unit"));
        }
        let rest = bytes.get(primary.length..).unwrap_or_default();
        let table = Header::read(rest)?;
        if !table.text("XTENSION").starts_with("BINTABLE") {
            return Err(SkymapError::Format("no table"));
        }
        let (Some(width), Some(rows)) = (table.number("NAXIS1"), table.number("NAXIS2")) else {
            return Err(SkymapError::Format("no table size"));
        };
        if width == 0 || rows == 0 || rows > MAX_ROWS {
            return Err(SkymapError::Format("an empty or oversized table"));
        }
        let (Some(uniq), Some(density)) = (column(&table, "UNIQ"), column(&table, "PROBDENSITY")) else {
            return Err(SkymapError::Format("no UNIQ and PROBDENSITY columns"));
        };
        let length = width
            .checked_mul(rows)
            .ok_or(SkymapError::Format("an oversized table"))?;
        let cells = rest
            .get(table.length..)
            .and_then(|data| data.get(..length))
            .ok_or(SkymapError::Format("the table is cut short"))?;
        Self::from_rows(cells.chunks_exact(width), uniq, density)
    }

    fn from_rows<'a>(
        rows: impl Iterator<Item = &'a [u8]>,
        (uniq_at, uniq_letter): (usize, char),
        (density_at, density_letter): (usize, char),
    ) -> Result<Self, SkymapError> {
        let mut cells = Vec::new();
        for (index, row) in rows.enumerate() {
            let number = integer_at(row, uniq_at, uniq_letter)
                .and_then(split_uniq)
                .ok_or(SkymapError::Cell(index))?;
            let density_sr = real_at(row, density_at, density_letter)
                .filter(|d| d.is_finite() && *d >= 0.0)
                .ok_or(SkymapError::Probability(index))?;
            cells.push(Cell {
                order: number.0,
                pixel: number.1,
                density_sr,
            });
        }
        let total: f64 = cells.iter().map(Cell::probability).sum();
        if !(0.95..=1.05).contains(&total) {
            return Err(SkymapError::Sum(format!("{total:.4}")));
        }
        cells.sort_by(|a, b| {
            b.density_sr
                .total_cmp(&a.density_sr)
                .then((a.order, a.pixel).cmp(&(b.order, b.pixel)))
        });
        Ok(Self { cells, total })
    }

    /// Area of the smallest region that holds the probability `level` (0 to 1), square degrees.
    #[must_use]
    pub fn credible_area_deg2(&self, level: f64) -> f64 {
        let wanted = level * self.total;
        let (mut sum, mut area_sr) = (0.0, 0.0);
        for cell in &self.cells {
            let probability = cell.probability();
            if sum + probability >= wanted {
                // The last cell counts by the share that is needed.
                let share = if probability > 0.0 {
                    (wanted - sum) / probability
                } else {
                    0.0
                };
                area_sr += cell.area_sr() * share;
                break;
            }
            sum += probability;
            area_sr += cell.area_sr();
        }
        area_sr * (180.0 / std::f64::consts::PI).powi(2)
    }

    /// The cell with the highest density.
    #[must_use]
    pub fn peak(&self) -> Option<Cell> {
        self.cells.first().copied()
    }
}

/// Centre of a nested HEALPix cell, ICRS right ascension and declination in degrees.
///
/// Gorski et al. 2005 (ApJ 622, 759), equations 2 to 9, through the face coordinates of each of the 12 base pixels.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn cell_centre_deg(order: u8, pixel: u64) -> (f64, f64) {
    const RING_OF_FACE: [i64; 12] = [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
    const PHASE_OF_FACE: [i64; 12] = [1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7];
    let nside = 1i64 << order;
    let face = usize::try_from(pixel >> (2 * order)).unwrap_or(0).min(11);
    let within = pixel & ((1u64 << (2 * order)) - 1);
    let (x, y) = (every_other_bit(within), every_other_bit(within >> 1));
    // Ring counted from the north pole, 1 to 4 nside - 1.
    let ring = RING_OF_FACE[face] * nside - x - y - 1;
    let n = nside as f64;
    let (in_ring, z, shift) = if ring < nside {
        (ring, 1.0 - (ring as f64).powi(2) / (3.0 * n * n), 0)
    } else if ring > 3 * nside {
        let south = 4 * nside - ring;
        (south, (south as f64).powi(2) / (3.0 * n * n) - 1.0, 0)
    } else {
        (
            nside,
            (2.0 * nside as f64 - ring as f64) * 2.0 / (3.0 * n),
            (ring - nside) & 1,
        )
    };
    let mut step = (PHASE_OF_FACE[face] * in_ring + x - y + 1 + shift) / 2;
    if step > 4 * nside {
        step -= 4 * nside;
    }
    if step < 1 {
        step += 4 * nside;
    }
    let phi = (step as f64 - (shift as f64 + 1.0) * 0.5) * std::f64::consts::FRAC_PI_2 / in_ring as f64;
    (
        phi.to_degrees().rem_euclid(360.0),
        z.clamp(-1.0, 1.0).asin().to_degrees(),
    )
}

/// Gathers the even bits of a number.
fn every_other_bit(mut value: u64) -> i64 {
    let mut out = 0i64;
    for bit in 0..30 {
        out |= i64::from(value & 1 == 1) << bit;
        value >>= 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> String {
        format!("{text:<80}")
    }

    fn padded(mut bytes: Vec<u8>, with: u8) -> Vec<u8> {
        bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, with);
        bytes
    }

    fn map(rows: &[(i64, f64)]) -> Vec<u8> {
        let primary = [card("SIMPLE  =                    T"), card("NAXIS   = 0"), card("END")].concat();
        let table = [
            card("XTENSION= 'BINTABLE'"),
            card("NAXIS1  = 16"),
            card(&format!("NAXIS2  = {}", rows.len())),
            card("TFIELDS = 2"),
            card("TTYPE1  = 'UNIQ    '"),
            card("TFORM1  = 'K       '"),
            card("TTYPE2  = 'PROBDENSITY'"),
            card("TFORM2  = 'D       '"),
            card("END"),
        ]
        .concat();
        let cells: Vec<u8> = rows
            .iter()
            .flat_map(|(u, d)| [u.to_be_bytes(), d.to_be_bytes()].concat())
            .collect();
        [
            padded(primary.into_bytes(), b' '),
            padded(table.into_bytes(), b' '),
            padded(cells, 0),
        ]
        .concat()
    }

    #[test]
    fn a_flat_map_of_base_cells_has_the_area_of_its_share_of_the_sky() {
        let density = 1.0 / (4.0 * std::f64::consts::PI);
        let rows: Vec<_> = (4..16).map(|u| (u, density)).collect();
        let map = MultiOrderMap::from_fits(&map(&rows)).unwrap();
        assert!((map.total - 1.0).abs() < 1e-12);
        assert!((map.credible_area_deg2(0.5) - 41_252.961 / 2.0).abs() < 0.01);
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        let d = 1.0 / (4.0 * std::f64::consts::PI);
        assert!(matches!(
            MultiOrderMap::from_fits(&map(&[])),
            Err(SkymapError::Format(_))
        ));
        assert_eq!(MultiOrderMap::from_fits(&map(&[(3, d)])), Err(SkymapError::Cell(0)));
        assert_eq!(MultiOrderMap::from_fits(&map(&[(-1, d)])), Err(SkymapError::Cell(0)));
        assert_eq!(
            MultiOrderMap::from_fits(&map(&[(4, f64::NAN)])),
            Err(SkymapError::Probability(0))
        );
        assert_eq!(
            MultiOrderMap::from_fits(&map(&[(4, -d)])),
            Err(SkymapError::Probability(0))
        );
        assert!(matches!(
            MultiOrderMap::from_fits(&map(&[(4, d)])),
            Err(SkymapError::Sum(_))
        ));
        let whole: Vec<_> = (4..16).map(|u| (u, d)).collect();
        let bytes = map(&whole);
        assert!(matches!(
            MultiOrderMap::from_fits(&bytes[..2 * BLOCK + 100]),
            Err(SkymapError::Format(_))
        ));
        assert!(matches!(
            MultiOrderMap::from_fits(b"hello"),
            Err(SkymapError::Format(_))
        ));
    }

    #[test]
    fn cell_centres_are_where_healpix_puts_them() {
        // Base cells by the definition; others from healpy's pix2ang(nest=True, lonlat=True).
        for (order, pixel, ra, dec) in [
            (0, 0, 45.0, 41.810_314_895_778_596),
            (0, 4, 0.0, 0.0),
            (0, 5, 90.0, 0.0),
            (0, 11, 315.0, -41.810_314_895_778_596),
            (1, 0, 45.0, 19.471_220_634_490_69),
            (1, 3, 45.0, 66.443_535_690_898_77),
            (1, 19, 0.0, 19.471_220_634_490_69),
        ] {
            let (got_ra, got_dec) = cell_centre_deg(order, pixel);
            assert!(
                (got_ra - ra).abs() < 1e-9 && (got_dec - dec).abs() < 1e-9,
                "{order}/{pixel}: {got_ra} {got_dec}"
            );
        }
    }

    #[test]
    fn the_children_of_a_cell_surround_its_centre() {
        for pixel in 0..12u64 * 16 {
            let (ra, dec) = cell_centre_deg(2, pixel);
            let mean = (0..4)
                .map(|c| cell_centre_deg(3, 4 * pixel + c))
                .fold([0.0; 3], |m, (r, d)| {
                    let (r, d) = (r.to_radians(), d.to_radians());
                    [m[0] + d.cos() * r.cos(), m[1] + d.cos() * r.sin(), m[2] + d.sin()]
                });
            let (r, d) = (ra.to_radians(), dec.to_radians());
            let dot = mean[0] * d.cos() * r.cos() + mean[1] * d.cos() * r.sin() + mean[2] * d.sin();
            let norm = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((dot / norm).min(1.0).acos().to_degrees() < 3.0, "cell {pixel}");
        }
    }
}
