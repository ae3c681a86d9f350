//! Images that are written some rows at a time, in any order, so that a large one need not be in memory.

use crate::{BLOCK, FitsError, Header, checksum};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Mutex};

/// A file of single-precision values on its way. The checksums are right in the end: the sum of words does not care for
/// their order.
pub struct Bands {
    file: File,
    header: Header,
    width: usize,
    height: usize,
    start: u64,
    sum: Mutex<u32>,
}

impl Bands {
    /// Begins a file; what is there is overwritten.
    pub fn create(path: &Path, header: &Header, width: usize, height: usize) -> Result<Self, BandsError> {
        let mut header = header.clone();
        header.remove("BZERO");
        header.remove("BSCALE");
        let mut bands = Self {
            file: File::create(path)?,
            header,
            width,
            height,
            start: 0,
            sum: Mutex::new(0),
        };
        // The sums have a card of their own whatever they are: the header keeps its length.
        bands.start = bands.head(0).len() as u64;
        Ok(bands)
    }

    fn head(&self, sum: u32) -> Vec<u8> {
        let mandatory = [
            ("SIMPLE", "T".to_owned()),
            ("BITPIX", "-32".to_owned()),
            ("NAXIS", "2".to_owned()),
            ("NAXIS1", self.width.to_string()),
            ("NAXIS2", self.height.to_string()),
        ];
        checksum::signed_sum(&self.header, &mandatory, sum)
    }

    /// Writes whole rows from row `first` on; every row once.
    pub fn write(&self, first: usize, pixels: &[f32]) -> Result<(), BandsError> {
        if !pixels.len().is_multiple_of(self.width.max(1))
            || first * self.width + pixels.len() > self.width * self.height
        {
            return Err(BandsError::Shape);
        }
        let bytes: Vec<u8> = pixels.iter().flat_map(|p| p.to_be_bytes()).collect();
        self.file
            .write_all_at(&bytes, self.start + (first * self.width * 4) as u64)?;
        let own = checksum::sum(&bytes);
        if let Ok(mut sum) = self.sum.lock() {
            *sum = checksum::add(*sum, own);
        }
        Ok(())
    }

    /// Writes header and filling, and forces all of it to disk.
    pub fn finish(self) -> Result<(), BandsError> {
        let sum = self.sum.lock().map_or(0, |s| *s);
        self.file.write_all_at(&self.head(sum), 0)?;
        let size = (self.width * self.height * 4).next_multiple_of(BLOCK) as u64;
        self.file.set_len(self.start + size)?;
        self.file.sync_all()?;
        Ok(())
    }
}

/// Why rows cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BandsError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Fits(#[from] FitsError),
    #[error("not whole rows of the image")]
    Shape,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, verify, write_f32};

    #[test]
    fn rows_in_any_order_make_the_same_file_as_all_at_once() {
        let path = std::env::temp_dir().join(format!("alidade-bands-{}.fits", std::process::id()));
        let mut header = Header::new();
        header.text("OBJECT", "a master", "");
        let image = Image {
            width: 33,
            height: 70,
            pixels: (0..33 * 70).map(|n| n as f32 * 1.25 - 700.0).collect(),
        };
        let bands = Bands::create(&path, &header, 33, 70).unwrap();
        bands.write(40, &image.pixels[40 * 33..]).unwrap();
        bands.write(0, &image.pixels[..40 * 33]).unwrap();
        assert!(matches!(bands.write(69, &[0.0; 66]), Err(BandsError::Shape)));
        assert!(matches!(bands.write(0, &[0.0; 5]), Err(BandsError::Shape)));
        bands.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes, write_f32(&header, &image).unwrap());
        assert_eq!(verify(&bytes).unwrap(), [crate::Checksum::Right]);
    }
}
