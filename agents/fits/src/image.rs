//! Two-dimensional primary arrays (FITS Standard 4.0, sections 4.4 and 5).

use crate::{BLOCK, FitsError, Header, checksum, extension};

/// Larger images are refused: no detector here has them.
const MOST_PIXELS: usize = 1 << 28;

/// Physical values row by row, first row of the file first.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<f32>,
}

/// Reads header and image: the primary array or, where there is none, the first image of an extension, compressed by
/// Rice or not. Integer types are scaled by BSCALE and BZERO, BLANK becomes NaN.
pub fn read(bytes: &[u8]) -> Result<(Header, Image), FitsError> {
    let (header, start) = Header::parse(bytes)?;
    let naxis = header.get_usize("NAXIS").ok_or(FitsError::Missing("NAXIS"))?;
    if naxis == 0 {
        return extension::first_image(bytes, &header, start);
    }
    let image = decode(&header, bytes, start)?;
    Ok((header, image))
}

fn impossible(keyword: &str, value: String) -> FitsError {
    FitsError::Impossible {
        keyword: keyword.into(),
        value,
    }
}

/// Width and height by the keywords of `stem`; further axes must be of length one.
pub(crate) fn dimensions(header: &Header, stem: &'static str) -> Result<(usize, usize), FitsError> {
    let naxis = header.get_usize(stem).ok_or(FitsError::Missing(stem))?;
    if naxis < 2 || (3..=naxis.min(9)).any(|axis| header.get_usize(&format!("{stem}{axis}")) != Some(1)) {
        return Err(impossible(stem, naxis.to_string()));
    }
    let axis = |n: usize| header.get_usize(&format!("{stem}{n}")).ok_or(FitsError::Missing(stem));
    let (width, height) = (axis(1)?, axis(2)?);
    let fits = width
        .checked_mul(height)
        .is_some_and(|n| (1..=MOST_PIXELS).contains(&n));
    if fits {
        Ok((width, height))
    } else {
        Err(impossible(&format!("{stem}1 x {stem}2"), format!("{width} x {height}")))
    }
}

/// Physical values of integers as they are stored.
pub(crate) fn integers(header: &Header, blank: &str, values: impl Iterator<Item = i64>) -> Vec<f32> {
    let scaling = Scaling::of(header, blank);
    values.map(|v| scaling.integer(v)).collect()
}

/// How stored numbers become physical ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scaling {
    scale: f64,
    zero: f64,
    blank: Option<i64>,
}

impl Scaling {
    pub(crate) fn of(header: &Header, blank: &str) -> Self {
        Self {
            scale: header.get_f64("BSCALE").unwrap_or(1.0),
            zero: header.get_f64("BZERO").unwrap_or(0.0),
            blank: header.get(blank).and_then(|v| v.parse().ok()),
        }
    }

    fn integer(&self, value: i64) -> f32 {
        if self.blank == Some(value) {
            f32::NAN
        } else {
            (value as f64 * self.scale + self.zero) as f32
        }
    }

    fn real(&self, value: f64) -> f32 {
        (value * self.scale + self.zero) as f32
    }

    /// Numbers of `bitpix` as they stand in a file, behind what `out` has.
    pub(crate) fn append(&self, bitpix: i64, raw: &[u8], out: &mut Vec<f32>) -> Result<(), FitsError> {
        // Whole numbers of 16 bits and a whole zero are exact in single precision: no detour is needed.
        let plain = self.scale == 1.0 && self.blank.is_none() && self.zero.fract() == 0.0 && self.zero.abs() < 65_536.0;
        match bitpix {
            8 => out.extend(raw.iter().map(|b| self.integer(i64::from(*b)))),
            16 if plain => {
                let zero = self.zero as i32;
                let number = |b: &[u8]| (i32::from(i16::from_be_bytes([b[0], b[1]])) + zero) as f32;
                out.extend(raw.chunks_exact(2).map(number));
            }
            16 => {
                let number = |b: &[u8]| i64::from(i16::from_be_bytes([b[0], b[1]]));
                out.extend(raw.chunks_exact(2).map(|b| self.integer(number(b))));
            }
            32 => {
                let number = |b: &[u8]| i64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                out.extend(raw.chunks_exact(4).map(|b| self.integer(number(b))));
            }
            -32 if self.scale == 1.0 && self.zero == 0.0 => {
                out.extend(
                    raw.chunks_exact(4)
                        .map(|b| f32::from_be_bytes([b[0], b[1], b[2], b[3]])),
                );
            }
            -32 => {
                let number = |b: &[u8]| f64::from(f32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                out.extend(raw.chunks_exact(4).map(|b| self.real(number(b))));
            }
            -64 => {
                let number = |b: &[u8]| f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
                out.extend(raw.chunks_exact(8).map(|b| self.real(number(b))));
            }
            other => return Err(impossible("BITPIX", other.to_string())),
        }
        Ok(())
    }
}

/// The image that `header` describes, from byte `start` on.
pub(crate) fn decode(header: &Header, bytes: &[u8], start: usize) -> Result<Image, FitsError> {
    let bitpix: i64 = header
        .get("BITPIX")
        .and_then(|v| v.parse().ok())
        .ok_or(FitsError::Missing("BITPIX"))?;
    let (width, height) = dimensions(header, "NAXIS")?;
    let count = width * height;
    let size = match bitpix {
        8 => 1,
        16 => 2,
        32 | -32 => 4,
        -64 => 8,
        other => return Err(impossible("BITPIX", other.to_string())),
    };
    let present = bytes.len().saturating_sub(start);
    let raw = bytes.get(start..start + count * size).ok_or(FitsError::Truncated {
        claimed: count * size,
        present,
    })?;
    let mut pixels = Vec::with_capacity(count);
    Scaling::of(header, "BLANK").append(bitpix, raw, &mut pixels)?;
    Ok(Image { width, height, pixels })
}

fn shaped(pixels: usize, width: usize, height: usize) -> Result<(), FitsError> {
    if width.checked_mul(height) == Some(pixels) && pixels > 0 {
        Ok(())
    } else {
        Err(FitsError::Shape { pixels, width, height })
    }
}

fn with_data(
    header: &Header,
    bitpix: i32,
    width: usize,
    height: usize,
    zero: Option<i32>,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut mandatory = vec![
        ("SIMPLE", "T".to_owned()),
        ("BITPIX", bitpix.to_string()),
        ("NAXIS", "2".to_owned()),
        ("NAXIS1", width.to_string()),
        ("NAXIS2", height.to_string()),
    ];
    if let Some(zero) = zero {
        mandatory.extend([("BZERO", zero.to_string()), ("BSCALE", "1".to_owned())]);
    }
    let size = width * height * bitpix.unsigned_abs() as usize / 8;
    let mut content = vec![0u8; size.next_multiple_of(BLOCK)];
    fill(&mut content[..size]);
    let mut bytes = checksum::signed(header, &mandatory, &content);
    bytes.append(&mut content);
    bytes
}

/// Unsigned 16-bit integers, by the usual BZERO of 32768.
pub fn write_u16(header: &Header, width: usize, height: usize, pixels: &[u16]) -> Result<Vec<u8>, FitsError> {
    shaped(pixels.len(), width, height)?;
    Ok(with_data(header, 16, width, height, Some(32_768), |out| {
        for (two, p) in out.chunks_exact_mut(2).zip(pixels) {
            two.copy_from_slice(&(p ^ 0x8000).to_be_bytes());
        }
    }))
}

/// Values rounded to 16-bit integers; what does not fit is cut at the ends of the range.
pub fn write_i16(header: &Header, image: &Image) -> Result<Vec<u8>, FitsError> {
    shaped(image.pixels.len(), image.width, image.height)?;
    let mut header = header.clone();
    header.remove("BZERO");
    header.remove("BSCALE");
    let whole = |p: &f32| p.round().clamp(-32_768.0, 32_767.0) as i16;
    Ok(with_data(&header, 16, image.width, image.height, None, |out| {
        for (two, p) in out.chunks_exact_mut(2).zip(&image.pixels) {
            two.copy_from_slice(&whole(p).to_be_bytes());
        }
    }))
}

/// Single-precision values.
pub fn write_f32(header: &Header, image: &Image) -> Result<Vec<u8>, FitsError> {
    shaped(image.pixels.len(), image.width, image.height)?;
    let mut header = header.clone();
    header.remove("BZERO");
    header.remove("BSCALE");
    Ok(with_data(&header, -32, image.width, image.height, None, |out| {
        for (four, p) in out.chunks_exact_mut(4).zip(&image.pixels) {
            four.copy_from_slice(&p.to_be_bytes());
        }
    }))
}

/// Unsigned 16-bit integers, tile-compressed by Rice row by row, in the first extension (section 10 of the standard).
pub fn write_rice_u16(header: &Header, width: usize, height: usize, pixels: &[u16]) -> Result<Vec<u8>, FitsError> {
    shaped(pixels.len(), width, height)?;
    Ok(extension::compressed(header, width, height, pixels))
}

/// A file without pixels.
pub fn write_header_only(header: &Header) -> Vec<u8> {
    header.bytes(&[
        ("SIMPLE", "T".to_owned()),
        ("BITPIX", "8".to_owned()),
        ("NAXIS", "0".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut header = Header::new();
        header.text("OBJECT", "M 51", "");
        let pixels: Vec<u16> = (0..6).map(|n| n * 13_000).collect();
        let (read_header, image) = read(&write_u16(&header, 3, 2, &pixels).unwrap()).unwrap();
        assert_eq!(read_header.get("OBJECT").as_deref(), Some("M 51"));
        assert_eq!(image.pixels, pixels.iter().map(|p| f32::from(*p)).collect::<Vec<_>>());
        let (_, again) = read(&write_f32(&read_header, &image).unwrap()).unwrap();
        assert_eq!(again, image);
    }

    #[test]
    fn what_a_header_claims_is_checked_before_it_is_believed() {
        let mut header = Header::new();
        header.text("OBJECT", "liar", "");
        let mut file = write_u16(&header, 2, 2, &[1, 2, 3, 4]).unwrap();
        file.truncate(BLOCK + 4);
        assert_eq!(
            read(&file).unwrap_err(),
            FitsError::Truncated { claimed: 8, present: 4 }
        );
        assert_eq!(read(b"GIF89a").unwrap_err(), FitsError::NotFits);
        let text = String::from_utf8_lossy(&file[..BLOCK])
            .replace("NAXIS1  =                    2", "NAXIS1  =           4000000000");
        assert!(matches!(
            read(text.as_bytes()).unwrap_err(),
            FitsError::Impossible { .. }
        ));
    }

    /// Made by astropy 8.0.2 of column + 3 row^2 - 20: three tiles of 16 x 3.
    const COMPRESSED: &[u8] = include_bytes!("../tests/data/rice.fits.fz");

    #[test]
    fn a_compressed_image_is_read_as_what_it_was() {
        let (header, image) = read(COMPRESSED).unwrap();
        assert_eq!((image.width, image.height), (16, 8));
        let expected: Vec<f32> = (0..128)
            .map(|n| (n % 16 + 3 * (n / 16) * (n / 16) - 20) as f32)
            .collect();
        assert_eq!(image.pixels, expected);
        assert_eq!(header.get("OBJECT").as_deref(), Some("ramp"));
        assert_eq!(header.get("ZCMPTYPE"), None);
        let (_, again) = read(&write_f32(&header, &image).unwrap()).unwrap();
        assert_eq!(again, image);
    }

    #[test]
    fn an_image_in_an_extension_is_found() {
        let mut file = write_header_only(&Header::new());
        let plain = write_u16(&Header::new(), 3, 2, &[1, 2, 3, 4, 5, 6]).unwrap();
        let card = format!("{:80}", "XTENSION= 'IMAGE   '");
        file.extend(card.bytes().chain(plain[80..].iter().copied()));
        assert_eq!(read(&file).unwrap().1.pixels, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(matches!(
            read(&write_header_only(&Header::new())).unwrap_err(),
            FitsError::Impossible { .. }
        ));
    }

    proptest! {
        #[test]
        fn no_damage_to_a_compressed_file_makes_it_panic(damage in prop::collection::vec((0usize..8000, any::<u8>()), 1..30)) {
            let mut file = COMPRESSED.to_vec();
            for (at, byte) in damage {
                let place = at % file.len();
                file[place] = byte;
            }
            let _ = read(&file);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..6000), keep in 0usize..6000) {
            let _ = read(&bytes);
            let mut file = write_u16(&Header::new(), 10, 10, &[7; 100]).unwrap();
            for (at, byte) in bytes.iter().enumerate().take(40) {
                let place = (at * 151 + keep) % file.len();
                file[place] = *byte;
            }
            file.truncate(keep.max(1));
            let _ = read(&file);
        }
    }
}
