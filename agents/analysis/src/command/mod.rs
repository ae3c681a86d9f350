//! What the command line does with image files: read, work, and say what came out as one JSON document.
//!
//! Positions are in pixels, the centre of the first pixel at 0; levels in the units of the file.

mod calibrate;
mod candidates;
mod change;
mod combine;
mod lightcurve;
mod photometry;
mod sky;

pub use crate::masters::Method;
pub use calibrate::{CalibrateOptions, bad_pixels, calibrate};
pub use candidates::{CandidateOptions, candidates};
pub use change::{clean, compress, subtract, verify};
pub use combine::{combine, combine_flats};
pub use lightcurve::{LightCurveOptions, curve_of, light_curve, seen_on};
pub use photometry::{PhotometryOptions, photometry};
pub use sky::{INSTALLED, SolveHints, build_index, open_index, solve_field, solve_file};

use crate::{
    astrometry::Wcs,
    background::Background,
    bad_pixels::BadPixels,
    extract::{self, Options},
    levels::median,
    plot, preview,
};
use alidade_fits::{Header, Image};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The input cannot be used.
    #[error("{0}")]
    BadInput(String),
    /// The work or the writing failed.
    #[error("{0}")]
    Failed(String),
}

fn bad(path: &Path, cause: impl std::fmt::Display) -> CommandError {
    CommandError::BadInput(format!("{}: {cause}", path.display()))
}

/// Bytes that a file compressed by gzip may hold; more is taken for a trap.
const MOST_UNPACKED: u64 = 2 << 30;

/// Reads an image file, plain, compressed by Rice, or as a whole by gzip.
pub fn read(path: &Path) -> Result<(Header, Image), CommandError> {
    alidade_fits::read(&content(path)?).map_err(|e| bad(path, e))
}

/// What is in a file, unpacked if it is compressed by gzip, whatever its name.
fn content(path: &Path) -> Result<Vec<u8>, CommandError> {
    let size = std::fs::metadata(path).map_err(|e| bad(path, e))?;
    if !size.is_file() {
        return Err(bad(path, "not a file"));
    }
    let bytes = std::fs::read(path).map_err(|e| bad(path, e))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(MOST_UNPACKED + 1)
        .read_to_end(&mut plain)
        .map_err(|e| bad(path, format!("it is compressed by gzip and cannot be unpacked: {e}")))?;
    if plain.len() as u64 > MOST_UNPACKED {
        return Err(bad(path, format!("it holds more than {MOST_UNPACKED} bytes unpacked")));
    }
    Ok(plain)
}

/// Where a file is written before it is whole.
fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

/// Writes beside the place, forces to disk and renames, so that a file is whole or not there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let failed = |e: std::io::Error| CommandError::Failed(format!("{}: {e}", path.display()));
    let partial = partial(path);
    let written = std::fs::File::create(&partial).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&partial, path)).map_err(|e| {
        // Nothing more can be done about a remainder that cannot be removed.
        drop(std::fs::remove_file(&partial));
        failed(e)
    })
}

/// A JSON number, or null for what is none.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

/// Size, extremes, mean, median, scatter, sky level and its noise.
pub fn stats(path: &Path) -> Result<Value, CommandError> {
    let (header, image) = read(path)?;
    let valid = || image.pixels.iter().filter(|p| p.is_finite()).map(|p| f64::from(*p));
    let count = valid().count();
    if count == 0 {
        return Err(bad(path, "no pixel has a value"));
    }
    let mean = valid().sum::<f64>() / count as f64;
    let std = (valid().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
    let sky = Background::of(&image);
    Ok(json!({
        "file": path.display().to_string(),
        "width": image.width,
        "height": image.height,
        "invalid_pixels": image.pixels.len() - count,
        "min": valid().fold(f64::INFINITY, f64::min),
        "max": valid().fold(f64::NEG_INFINITY, f64::max),
        "mean": mean,
        "median": median(&image.pixels),
        "std": std,
        "background": number(f64::from(sky.level)),
        "rms": number(f64::from(sky.rms)),
        "object": header.get("OBJECT"),
        "filter": header.get("FILTER"),
        "exposure_s": header.get_f64("EXPTIME"),
        "date_obs": header.get("DATE-OBS"),
    }))
}

/// The mask of a file, for an image of this size.
fn mask_for(path: &Path, width: usize, height: usize) -> Result<BadPixels, CommandError> {
    let (_, mask) = read(path)?;
    if (mask.width, mask.height) == (width, height) {
        return Ok(BadPixels::of_image(&mask));
    }
    let sizes = format!("{} x {}, the frame is {width} x {height}", mask.width, mask.height);
    Err(bad(path, sizes))
}

/// The catalogue of an image; `mesh` is the side of the background's cells, pixels. Sources that hold pixels of the mask
/// `bad_pixels` are flagged.
pub fn extract(
    path: &Path,
    options: &Options,
    mesh: Option<usize>,
    bad_pixels: Option<&Path>,
) -> Result<Value, CommandError> {
    let (_, mut image) = read(path)?;
    let mask = bad_pixels.map(|p| mask_for(p, image.width, image.height)).transpose()?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let mut options = *options;
    let sky = mesh.map_or_else(|| Background::of(&image), |cell| Background::with_cell(&image, cell));
    options.saturation -= f64::from(sky.level);
    sky.subtract(&mut image);
    let sources = extract::extract_masked(&image, sky.rms, &options, mask.as_ref());
    let rows: Vec<Value> = sources
        .iter()
        .map(|s| {
            json!({
                "x": s.x, "y": s.y, "x_win": s.x_win, "y_win": s.y_win,
                "flux": s.flux, "fluxerr": s.flux_err, "flux_auto": s.flux_auto, "fluxerr_auto": s.flux_auto_err,
                "fwhm_px": s.fwhm_px, "a_px": s.a_px, "b_px": s.b_px, "theta_deg": s.theta_deg,
                "ellipticity": s.ellipticity, "peak": s.peak, "npix": s.area_px, "flags": s.flags,
            })
        })
        .collect();
    Ok(json!({
        "file": path.display().to_string(),
        "width": image.width,
        "height": image.height,
        "pixel_origin": 0,
        "background": sky.level,
        "rms": sky.rms,
        "threshold": options.threshold_sigma * sky.rms,
        "aperture_radius_px": options.aperture_px,
        "fwhm_px": extract::median_fwhm(&sources),
        "count": rows.len(),
        "sources": rows,
    }))
}

/// Writes a small picture with the sources ringed; with `grid`, in colour with the celestial grid of the header's WCS.
pub fn picture(path: &Path, grid: bool, out: &Path) -> Result<Value, CommandError> {
    let (header, mut image) = read(path)?;
    let sky = Background::of(&image);
    sky.subtract(&mut image);
    let sources = extract::extract(&image, sky.rms, &Options::default());
    let mut answer = json!({ "file": out.display().to_string(), "sources": sources.len() });
    let bytes = if grid {
        let wcs = Wcs::read(&header).ok_or_else(|| bad(path, "no world coordinates: solve it first"))?;
        let (points, step) = plot::grid(&wcs, image.width, image.height);
        answer["grid_arcmin"] = json!(step);
        preview::overlay(&image, sky.rms, &sources, &points)
    } else {
        preview::png(&image, sky.rms, &sources)
    }
    .map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    answer["bytes"] = json!(bytes.len());
    Ok(answer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder of its own for one test, removed at the end.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("alidade-analysis-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub fn put(&self, name: &str, seconds: f64, width: usize, pixels: &[f32]) -> PathBuf {
            let mut header = Header::new();
            header.number("EXPTIME", seconds, "[s]");
            let image = Image {
                width,
                height: pixels.len() / width,
                pixels: pixels.to_vec(),
            };
            let path = self.0.join(name);
            write(&path, &alidade_fits::write_f32(&header, &image).unwrap()).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_is_no_image_is_bad_input_in_one_line() {
        let folder = Folder::new("bad");
        let text = folder.0.join("text.fits");
        std::fs::write(&text, "not an image").unwrap();
        let blank = folder.put("blank.fits", 1.0, 8, &[f32::NAN; 64]);
        for path in [&text, &blank, &folder.0, &folder.0.join("missing")] {
            let error = stats(path).unwrap_err();
            assert!(
                matches!(&error, CommandError::BadInput(cause) if !cause.contains('\n')),
                "{error}"
            );
            assert!(extract(path, &Options::default(), None, None).is_err());
        }
    }

    #[test]
    fn a_frame_without_stars_gives_an_empty_catalogue() {
        let folder = Folder::new("empty");
        let flat = folder.put("flat.fits", 1.0, 40, &[7.0; 1600]);
        assert_eq!(extract(&flat, &Options::default(), None, None).unwrap()["count"], 0);
        assert!(picture(&flat, false, &folder.0.join("flat.png")).is_ok());
    }
}
