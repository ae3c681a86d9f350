//! The stars of an index file of astrometry.net: what Debian packages as `astrometry-data-*`, and everybody can build.
//!
//! The file is a FITS file of binary tables. The table of the column `kdtree_data_stars` holds the directions of the stars as
//! unit vectors, three whole numbers of 32 bits each, or three doubles, in the byte order of the machine that made it;
//! `kdtree_range_stars` holds their least and largest values and the scale: value / scale + least. A table with
//! magnitudes, in the order of the stars and in the byte order of FITS, goes along (Lang et al. 2010, AJ 139, 1782; the
//! kd-tree's layout as its library documents it).

use super::stars::Star;
use alidade_fits::Header;

/// Names of columns that hold magnitudes, in the order in which they are taken.
const MAGNITUDES: [&str; 8] = [
    "MAG_VT",
    "MAG_BT",
    "G_MAG",
    "PHOT_G_MEAN_MAG",
    "MAG",
    "R_MAG",
    "J_MAG",
    "MAG_J",
];

/// Columns of a table: name, offset in the row, letter of the type, repetition.
fn columns(header: &Header) -> Vec<(String, usize, char, usize)> {
    let mut offset = 0usize;
    let mut found = Vec::new();
    for field in 1..=header.get_usize("TFIELDS").unwrap_or(0).min(999) {
        let form = header.get(&format!("TFORM{field}")).unwrap_or_default();
        let digits = form.chars().take_while(char::is_ascii_digit).count();
        let count: usize = form[..digits].parse().unwrap_or(1);
        let letter = form.chars().nth(digits).unwrap_or(' ');
        let size = match letter {
            'A' | 'B' | 'L' => 1,
            'I' => 2,
            'J' | 'E' => 4,
            'K' | 'D' => 8,
            _ => return found,
        };
        let name = header.get(&format!("TTYPE{field}")).unwrap_or_default();
        found.push((name, offset, letter, count));
        offset = offset.saturating_add(count.saturating_mul(size));
    }
    found
}

/// Whether a file begins like one of these.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SIMPLE  =")
}

/// Reads the stars with their magnitudes.
pub fn read(bytes: &[u8]) -> Result<Vec<Star>, String> {
    let units = alidade_fits::units(bytes).map_err(|e| e.to_string())?;
    let big = units
        .iter()
        .any(|(h, _)| h.get("ENDIAN").is_some_and(|e| e.trim() == "01:02:03:04"));
    let table = |name: &str| {
        units
            .iter()
            .find(|(h, _)| h.get("TTYPE1").as_deref() == Some(name))
            .ok_or_else(|| format!("no table {name}: not an index of astrometry.net"))
    };
    let eight = |b: &[u8]| {
        let b = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
        if big {
            f64::from_be_bytes(b)
        } else {
            f64::from_le_bytes(b)
        }
    };
    let four = |b: &[u8]| {
        let b = [b[0], b[1], b[2], b[3]];
        f64::from(if big {
            u32::from_be_bytes(b)
        } else {
            u32::from_le_bytes(b)
        })
    };
    let (header, data) = table("kdtree_data_stars")?;
    let width = header.get_usize("NAXIS1").unwrap_or(0);
    let vectors: Vec<[f64; 3]> = match width {
        12 => {
            let (_, range) = table("kdtree_range_stars")?;
            let bounds: Vec<f64> = range.chunks_exact(8).map(eight).collect();
            let [low @ .., _, _, _, scale] = bounds.get(..7).ok_or("the range of the stars is too short")? else {
                return Err("the range of the stars is too short".into());
            };
            if scale.is_nan() || *scale <= 0.0 {
                return Err("the scale of the stars is not above zero".into());
            }
            let place = |row: &[u8], axis: usize| four(&row[4 * axis..]) / scale + low[axis];
            data.chunks_exact(12)
                .map(|row| [place(row, 0), place(row, 1), place(row, 2)])
                .collect()
        }
        24 => data
            .chunks_exact(24)
            .map(|row| [eight(row), eight(&row[8..]), eight(&row[16..])])
            .collect(),
        other => return Err(format!("stars of {other} bytes are not known")),
    };
    let magnitudes = magnitudes(&units, vectors.len())?;
    let mut stars = Vec::with_capacity(vectors.len());
    for ([x, y, z], mag) in vectors.into_iter().zip(magnitudes) {
        let length = (x * x + y * y + z * z).sqrt();
        // A star without magnitude is of no use here, and a direction must be one.
        if !(0.9..1.1).contains(&length) || !mag.is_finite() || !(-5.0..40.0).contains(&mag) {
            continue;
        }
        stars.push(Star {
            ra_deg: y.atan2(x).to_degrees().rem_euclid(360.0),
            dec_deg: (z / length).clamp(-1.0, 1.0).asin().to_degrees(),
            mag,
        });
    }
    if stars.is_empty() {
        return Err("no stars".into());
    }
    Ok(stars)
}

/// The first known column of magnitudes of a table with so many rows.
fn magnitudes(units: &[(Header, &[u8])], rows: usize) -> Result<Vec<f64>, String> {
    for wanted in MAGNITUDES {
        for (header, data) in units {
            let known = columns(header);
            let Some((_, offset, letter, _)) = known.iter().find(|c| c.0.eq_ignore_ascii_case(wanted)) else {
                continue;
            };
            let size = match letter {
                'E' => 4,
                'D' => 8,
                _ => continue,
            };
            let width = header.get_usize("NAXIS1").filter(|w| *w >= offset + size).unwrap_or(0);
            if width == 0 || header.get_usize("NAXIS2") != Some(rows) {
                continue;
            }
            let value = |row: &[u8]| {
                let b = &row[*offset..];
                if *letter == 'E' {
                    f64::from(f32::from_be_bytes([b[0], b[1], b[2], b[3]]))
                } else {
                    f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
                }
            };
            return Ok(data.chunks_exact(width).map(value).collect());
        }
    }
    Err("it holds no magnitudes: an index that was built with them is needed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One binary table with one column.
    fn table(name: &str, form: &str, width: usize, data: &[u8]) -> Vec<u8> {
        let rows = data.len() / width;
        let cards = [
            format!("{:8}= {:>20}", "XTENSION", "'BINTABLE'"),
            format!("{:8}= {:>20}", "BITPIX", 8),
            format!("{:8}= {:>20}", "NAXIS", 2),
            format!("{:8}= {width:>20}", "NAXIS1"),
            format!("{:8}= {rows:>20}", "NAXIS2"),
            format!("{:8}= {:>20}", "PCOUNT", 0),
            format!("{:8}= {:>20}", "GCOUNT", 1),
            format!("{:8}= {:>20}", "TFIELDS", 1),
            format!("{:8}= '{name}'", "TTYPE1"),
            format!("{:8}= '{form}'", "TFORM1"),
            "END".to_owned(),
        ];
        let mut bytes: Vec<u8> = cards.iter().flat_map(|c| format!("{c:80}").into_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(2880), 0);
        bytes
    }

    fn file(stars: &[(f64, f64, f32)], magnitude: &str) -> Vec<u8> {
        let mut bytes = alidade_fits::write_header_only(&Header::new());
        let scale = f64::from(u32::MAX) / 2.0;
        let range: Vec<u8> = [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, scale]
            .iter()
            .flat_map(|v: &f64| v.to_le_bytes())
            .collect();
        let vectors = stars.iter().flat_map(|(ra, dec, _)| {
            let ((sa, ca), (sd, cd)) = (ra.to_radians().sin_cos(), dec.to_radians().sin_cos());
            [cd * ca, cd * sa, sd]
        });
        let data: Vec<u8> = vectors
            .flat_map(|v| (((v + 1.0) * scale) as u32).to_le_bytes())
            .collect();
        let mags: Vec<u8> = stars.iter().flat_map(|s| s.2.to_be_bytes()).collect();
        bytes.extend(table("kdtree_range_stars", "8B", 8, &range));
        bytes.extend(table("kdtree_data_stars", "12B", 12, &data));
        bytes.extend(table(magnitude, "E", 4, &mags));
        bytes
    }

    #[test]
    fn stars_come_out_where_they_went_in() {
        let stars = [
            (10.684, 41.269, 9.5),
            (359.99, -89.0, 7.25),
            (201.3, 0.0, f32::NAN),
            (83.6, 22.0, 11.0),
        ];
        let read = read(&file(&stars, "MAG_VT")).unwrap();
        assert_eq!(read.len(), 3);
        for (star, (ra, dec, mag)) in read.iter().zip([stars[0], stars[1], stars[3]]) {
            let cos = f64::cos(dec.to_radians());
            assert!(
                (star.ra_deg - ra).abs() * cos < 1e-6 && (star.dec_deg - dec).abs() < 1e-6,
                "{star:?}"
            );
            assert_eq!(star.mag, f64::from(mag));
        }
    }

    #[test]
    fn other_files_are_refused_with_the_cause() {
        assert!(
            read(&file(&[(1.0, 2.0, 3.0)], "COLOUR"))
                .unwrap_err()
                .contains("magnitudes")
        );
        let image = alidade_fits::write_u16(&Header::new(), 2, 2, &[1, 2, 3, 4]).unwrap();
        assert!(read(&image).unwrap_err().contains("kdtree_data_stars"));
        let whole = file(&[(1.0, 2.0, 3.0)], "MAG_VT");
        for length in (0..whole.len()).step_by(701) {
            drop(read(&whole[..length]));
        }
    }
}
