//! Images that are read some rows at a time, so that many large ones need not be in memory together.

use crate::{
    FitsError, Header, Image,
    image::{Scaling, dimensions, read},
};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Fits(#[from] FitsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Source {
    /// The primary array of a file: where it begins, bytes a pixel and kind of number.
    Plain {
        file: File,
        start: u64,
        size: usize,
        bitpix: i64,
        scaling: Scaling,
    },
    /// Whatever else: compressed ones are read whole.
    Whole(Image),
}

/// An image on disk.
pub struct Rows {
    pub header: Header,
    pub width: usize,
    pub height: usize,
    source: Source,
}

/// First read of a header; more is read while it has no end.
const HEAD: usize = 1 << 15;
const LONGEST_HEAD: usize = 4 << 20;
/// Bytes that are read at once.
const PIECE: usize = 1 << 18;

impl Rows {
    /// Reads the header, and checks that what it claims is there.
    pub fn open(path: &Path) -> Result<Self, RowsError> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = vec![0; HEAD];
        let (header, start) = loop {
            let count = head.len().min(usize::try_from(size).unwrap_or(usize::MAX));
            file.read_exact_at(&mut head[..count], 0)?;
            match Header::parse(&head[..count]) {
                Err(FitsError::NoEnd(_)) if count < LONGEST_HEAD && (count as u64) < size => {
                    head.resize(count * 4, 0);
                }
                other => break other?,
            }
        };
        let bits = header.get("BITPIX").and_then(|v| v.parse::<i64>().ok());
        let plain = header.get_usize("NAXIS").is_some_and(|n| n > 0);
        if !plain {
            let (header, image) = read(&std::fs::read(path)?)?;
            return Ok(Self {
                header,
                width: image.width,
                height: image.height,
                source: Source::Whole(image),
            });
        }
        let (width, height) = dimensions(&header, "NAXIS")?;
        let bytes = match bits {
            Some(8) => 1,
            Some(16) => 2,
            Some(32 | -32) => 4,
            Some(-64) => 8,
            other => {
                return Err(FitsError::Impossible {
                    keyword: "BITPIX".into(),
                    value: other.map_or_else(|| "missing".into(), |b| b.to_string()),
                }
                .into());
            }
        };
        let (claimed, present) = (width * height * bytes, size.saturating_sub(start as u64));
        if (claimed as u64) > present {
            let present = present as usize;
            return Err(FitsError::Truncated { claimed, present }.into());
        }
        let scaling = Scaling::of(&header, "BLANK");
        Ok(Self {
            header,
            width,
            height,
            source: Source::Plain {
                file,
                start: start as u64,
                size: bytes,
                bitpix: bits.unwrap_or_default(),
                scaling,
            },
        })
    }

    /// `count` rows from row `from` on.
    pub fn rows(&self, from: usize, count: usize) -> Result<Vec<f32>, RowsError> {
        let mut pixels = Vec::new();
        self.read_into(from, count, &mut pixels)?;
        Ok(pixels)
    }

    /// The same, behind what `out` has: a buffer can be used again.
    pub fn read_into(&self, from: usize, count: usize, out: &mut Vec<f32>) -> Result<(), RowsError> {
        let count = count.min(self.height.saturating_sub(from));
        match &self.source {
            Source::Whole(image) => {
                out.extend_from_slice(&image.pixels[from * self.width..(from + count) * self.width]);
            }
            Source::Plain {
                file,
                start,
                size,
                bitpix,
                scaling,
            } => {
                out.reserve(count * self.width);
                // Some rows at a time: what has been read is still in the processor's cache when it is converted.
                let row = self.width * size;
                let at_once = (PIECE / row.max(1)).clamp(1, count.max(1));
                let mut bytes = vec![0; at_once * row];
                for first in (from..from + count).step_by(at_once) {
                    let part = &mut bytes[..at_once.min(from + count - first) * row];
                    file.read_exact_at(part, start + (first * row) as u64)?;
                    scaling.append(*bitpix, part, out)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_u16;

    #[test]
    fn rows_are_those_of_the_whole_image_and_a_short_file_is_refused() {
        let path = std::env::temp_dir().join(format!("alidade-rows-{}.fits", std::process::id()));
        let pixels: Vec<u16> = (0..70).map(|n| n * 900).collect();
        let bytes = write_u16(&Header::new(), 7, 10, &pixels).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let rows = Rows::open(&path).unwrap();
        assert_eq!((rows.width, rows.height), (7, 10));
        let wanted: Vec<f32> = pixels[21..35].iter().map(|p| f32::from(*p)).collect();
        assert_eq!(rows.rows(3, 2).unwrap(), wanted);
        assert_eq!(rows.rows(9, 5).unwrap().len(), 7);
        std::fs::write(&path, &bytes[..2900]).unwrap();
        assert!(matches!(
            Rows::open(&path),
            Err(RowsError::Fits(FitsError::Truncated { .. }))
        ));
        std::fs::write(&path, b"not at all").unwrap();
        assert!(Rows::open(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
