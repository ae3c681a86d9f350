//! The pixels of a FITS file that a camera sends (FITS standard 4.0: 2880-byte blocks, 80-character cards, big-endian).

use std::collections::BTreeMap;

const BLOCK: usize = 2880;

#[derive(Debug, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Row by row from the first row of the file.
    pub pixels: Vec<u16>,
    /// EXPTIME, seconds, as the driver claims.
    pub exposure_s: Option<f64>,
}

/// Reads a primary image of 8 or 16 bits; the error says what is wrong with the file.
pub fn read(bytes: &[u8]) -> Result<Picture, String> {
    if !bytes.starts_with(b"SIMPLE  =") {
        return Err("not a FITS file".into());
    }
    let mut cards = BTreeMap::new();
    let mut end = None;
    for (at, card) in bytes.chunks_exact(80).enumerate() {
        if card.starts_with(b"END     ") {
            end = Some((at + 1) * 80);
            break;
        }
        if &card[8..10] == b"= " {
            let value = String::from_utf8_lossy(&card[10..]);
            let value = value.split('/').next().unwrap_or_default().trim().to_owned();
            cards.insert(String::from_utf8_lossy(&card[..8]).trim_end().to_owned(), value);
        }
    }
    let start = end.ok_or("the header does not end")?.div_ceil(BLOCK) * BLOCK;
    let number = |key: &str| {
        cards
            .get(key)
            .and_then(|value| value.parse::<f64>().ok())
            .filter(|v| v.is_finite())
    };
    let count = |key: &str| {
        number(key)
            .filter(|v| v.fract() == 0.0 && (1.0..=65_536.0).contains(v))
            .map(|v| v as usize)
    };
    if number("NAXIS") != Some(2.0) {
        return Err("not an image of two axes".into());
    }
    let width = count("NAXIS1").ok_or("NAXIS1 is missing or absurd")?;
    let height = count("NAXIS2").ok_or("NAXIS2 is missing or absurd")?;
    let depth = match number("BITPIX") {
        Some(8.0) => 1,
        Some(16.0) => 2,
        other => return Err(format!("{other:?} bits a pixel, not 8 or 16")),
    };
    let (zero, scale) = (number("BZERO").unwrap_or(0.0), number("BSCALE").unwrap_or(1.0));
    // Both are at most 65536: the product fits.
    let data = bytes
        .get(start..start + width * height * depth)
        .ok_or("the data end before the last pixel")?;
    let level = |raw: f64| (raw * scale + zero).round().clamp(0.0, 65_535.0) as u16;
    let pixels = match depth {
        1 => data.iter().map(|byte| level(f64::from(*byte))).collect(),
        _ => data
            .chunks_exact(2)
            .map(|pair| level(f64::from(i16::from_be_bytes([pair[0], pair[1]]))))
            .collect(),
    };
    Ok(Picture {
        width,
        height,
        pixels,
        exposure_s: number("EXPTIME"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(cards: &[&str], data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = cards
            .iter()
            .chain(["END"].iter())
            .flat_map(|card| format!("{card:<80}").into_bytes())
            .collect();
        bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, b' ');
        bytes.extend_from_slice(data);
        bytes
    }

    const SMALL: [&str; 6] = [
        "SIMPLE  = T",
        "BITPIX  = 16 / bits",
        "NAXIS   = 2",
        "NAXIS1  = 2",
        "NAXIS2  = 1",
        "BZERO   = 32768",
    ];

    #[test]
    fn unsigned_pixels_come_out_of_the_signed_ones_of_the_file() {
        let picture = read(&file(&SMALL, &[0x80, 0x00, 0x7f, 0xff])).unwrap();
        assert_eq!((picture.width, picture.height, picture.pixels), (2, 1, vec![0, 65_535]));
    }

    #[test]
    fn a_truncated_file_and_one_without_an_end_are_refused() {
        assert!(
            read(&file(&SMALL, &[0x80, 0x00, 0x7f]))
                .unwrap_err()
                .contains("last pixel")
        );
        assert!(read(&file(&SMALL, &[])[..400]).unwrap_err().contains("does not end"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..6000), at in 0usize..480) {
            let mut broken = file(&SMALL, &[0; 4]);
            for (target, byte) in broken.iter_mut().skip(at).zip(&bytes) {
                *target = *byte;
            }
            let _ = read(&bytes);
            let _ = read(&broken);
        }
    }
}
