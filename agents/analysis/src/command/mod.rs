//! What the command line does with image files: read, work, and say what came out as one JSON document.
//!
//! Positions are in pixels, the centre of the first pixel at 0; levels in the units of the file.

mod change;
mod sky;

pub use crate::masters::Method;
pub use change::{clean, compress, subtract, verify};
pub use sky::{
    CandidateOptions, PhotometryOptions, SolveHints, build_index, candidates, open_index, photometry, solve_field,
    solve_file,
};

use crate::{
    astrometry::Wcs,
    background::Background,
    calibrate::{self, Masters},
    extract::{self, Options},
    masters, plot, preview,
};
use alidade_fits::{Header, Image};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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

/// Reads an image file.
pub fn read(path: &Path) -> Result<(Header, Image), CommandError> {
    let size = std::fs::metadata(path).map_err(|e| bad(path, e))?;
    if !size.is_file() {
        return Err(bad(path, "not a file"));
    }
    let bytes = std::fs::read(path).map_err(|e| bad(path, e))?;
    alidade_fits::read(&bytes).map_err(|e| bad(path, e))
}

/// Writes beside the place, forces to disk and renames, so that a file is whole or not there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let failed = |e: std::io::Error| CommandError::Failed(format!("{}: {e}", path.display()));
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
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

fn median(values: &[f32]) -> f64 {
    let mut values: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    f64::from(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
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

/// The catalogue of an image; `mesh` is the side of the background's cells, pixels.
pub fn extract(path: &Path, options: &Options, mesh: Option<usize>) -> Result<Value, CommandError> {
    let (_, mut image) = read(path)?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let mut options = *options;
    let sky = mesh.map_or_else(|| Background::of(&image), |cell| Background::with_cell(&image, cell));
    options.saturation -= f64::from(sky.level);
    sky.subtract(&mut image);
    let sources = extract::extract(&image, sky.rms, &options);
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

/// A master that must have the size of the frame.
fn fitting(path: &Path, frame: &Image) -> Result<(Header, Image), CommandError> {
    let (header, image) = read(path)?;
    if (image.width, image.height) != (frame.width, frame.height) {
        let sizes = format!(
            "{} x {}, the frame is {} x {}",
            image.width, image.height, frame.width, frame.height
        );
        return Err(bad(path, sizes));
    }
    Ok((header, image))
}

/// Takes the masters off a raw frame and writes the result.
///
/// A dark is scaled by EXPTIME, and a flat to mean 1. Whether they still hold the bias is read from BIASSUB or, without
/// it, told by their level: a dark as bright as half the bias, and a flat brighter than 50 units, hold it.
pub fn calibrate(
    raw: &Path,
    bias: Option<&Path>,
    dark: Option<&Path>,
    flat: Option<&Path>,
    out: &Path,
) -> Result<Value, CommandError> {
    let (mut header, mut image) = read(raw)?;
    let exposure_s = header.get_f64("EXPTIME").or_else(|| header.get_f64("EXPOSURE"));
    let bias = bias.map(|p| fitting(p, &image)).transpose()?.map(|b| b.1);
    let minus_bias = |image: &mut Image| {
        if let Some(bias) = &bias {
            image.pixels.iter_mut().zip(&bias.pixels).for_each(|(p, b)| *p -= b);
        }
    };
    let mut notes = Vec::new();
    let mut seconds = exposure_s.unwrap_or(0.0);
    let mut dark_rate = None;
    if let Some(path) = dark {
        let (dark_header, mut dark) = fitting(path, &image)?;
        let holds_bias = match dark_header.get("BIASSUB").as_deref() {
            Some("T") => false,
            Some(_) => true,
            None => bias
                .as_ref()
                .is_some_and(|b| median(&dark.pixels) > 0.5 * median(&b.pixels)),
        };
        if holds_bias {
            minus_bias(&mut dark);
            notes.push("bias taken off the dark".to_owned());
        }
        let own = dark_header
            .get_f64("EXPTIME")
            .or_else(|| dark_header.get_f64("EXPOSURE"))
            .filter(|s| *s > 0.0);
        let scale = match (own, exposure_s) {
            (Some(own), Some(_)) => own,
            _ => {
                notes.push("an exposure time is missing: dark not scaled".to_owned());
                seconds = 1.0;
                1.0
            }
        };
        dark.pixels.iter_mut().for_each(|p| *p = (f64::from(*p) / scale) as f32);
        dark_rate = Some(dark);
    }
    let mut response = None;
    if let Some(path) = flat {
        let (flat_header, mut flat) = fitting(path, &image)?;
        if median(&flat.pixels) > 50.0 && flat_header.get("BIASSUB").as_deref() != Some("T") {
            minus_bias(&mut flat);
            notes.push("bias taken off the flat".to_owned());
        }
        let valid = || flat.pixels.iter().filter(|p| p.is_finite());
        let mean = valid().map(|p| f64::from(*p)).sum::<f64>() / valid().count() as f64;
        if mean.is_nan() || mean <= 0.0 {
            return Err(bad(path, "a flat needs a level above zero"));
        }
        flat.pixels.iter_mut().for_each(|p| *p = (f64::from(*p) / mean) as f32);
        response = Some(flat);
    }
    let masters = Masters {
        bias: bias.as_ref(),
        dark_rate: dark_rate.as_ref(),
        flat: response.as_ref(),
    };
    let filter = header.get("FILTER").unwrap_or_default();
    let degradations = calibrate::apply(&mut image, masters, seconds, &filter);
    for note in notes
        .iter()
        .cloned()
        .chain(degradations.iter().map(|d| format!("degraded: {d}")))
    {
        header.history(&note);
    }
    header.history("calibrated by alidade");
    header.remove("BLANK");
    let bytes = alidade_fits::write_f32(&header, &image).map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    Ok(json!({
        "file": out.display().to_string(),
        "width": image.width,
        "height": image.height,
        "median": number(median(&image.pixels)),
        "notes": notes,
        "degradations": degradations.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

/// Combines frames of one size and writes the master, with the first frame's header. A band of every frame is in memory.
pub fn combine(paths: &[PathBuf], method: Method, out: &Path) -> Result<Value, CommandError> {
    let combined = masters::combine_files(paths, method, &|_, _, _| {});
    let (mut header, master) = combined.map_err(|e| CommandError::BadInput(e.to_string()))?;
    header.number("NCOMBINE", paths.len(), "frames combined");
    header.remove("BLANK");
    header.history("combined by alidade");
    let bytes = alidade_fits::write_f32(&header, &master).map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    Ok(json!({
        "file": out.display().to_string(),
        "frames": paths.len(),
        "width": master.width,
        "height": master.height,
        "median": number(median(&master.pixels)),
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
mod tests {
    use super::*;

    /// A folder of its own for one test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("alidade-analysis-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, seconds: f64, width: usize, pixels: &[f32]) -> PathBuf {
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
    fn a_dark_is_scaled_by_its_exposure_with_or_without_bias_in_it() {
        let folder = Folder::new("calibrate");
        let raw = folder.put("raw.fits", 30.0, 2, &[1230.0, 1430.0, 1230.0, 1030.0]);
        let bias = folder.put("bias.fits", 0.0, 2, &[1000.0; 4]);
        let flat = folder.put("flat.fits", 1.0, 2, &[1.0, 2.0, 0.5, 0.5]);
        let out = folder.0.join("out.fits");
        for dark in [20.0, 1020.0] {
            let dark = folder.put("dark.fits", 20.0, 2, &[dark; 4]);
            calibrate(&raw, Some(&bias), Some(&dark), Some(&flat), &out).unwrap();
            assert_eq!(read(&out).unwrap().1.pixels, [200.0, 200.0, 400.0, 0.0]);
        }
        let answer = calibrate(&raw, Some(&bias), None, None, &out).unwrap();
        assert_eq!(answer["degradations"].as_array().unwrap().len(), 2);
        let wrong = folder.put("wrong.fits", 0.0, 1, &[1.0; 4]);
        assert!(matches!(
            calibrate(&raw, Some(&wrong), None, None, &out),
            Err(CommandError::BadInput(_))
        ));
    }

    #[test]
    fn masters_are_what_their_method_says() {
        let folder = Folder::new("combine");
        let frames: Vec<PathBuf> = [10.0, 12.0, 11.0, 900.0, 12.0]
            .iter()
            .enumerate()
            .map(|(n, level)| folder.put(&format!("{n}.fits"), 0.0, 2, &[*level; 2]))
            .collect();
        let out = folder.0.join("master.fits");
        let level = |method| {
            combine(&frames, method, &out).unwrap();
            read(&out).unwrap().1.pixels[1]
        };
        assert_eq!(level(Method::Median), 12.0);
        assert_eq!(level(Method::Mean), 189.0);
        assert_eq!(level(Method::Clipped), 11.25);
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
            assert!(extract(path, &Options::default(), None).is_err());
        }
    }

    #[test]
    fn a_frame_without_stars_gives_an_empty_catalogue() {
        let folder = Folder::new("empty");
        let flat = folder.put("flat.fits", 1.0, 40, &[7.0; 1600]);
        assert_eq!(extract(&flat, &Options::default(), None).unwrap()["count"], 0);
        assert!(picture(&flat, false, &folder.0.join("flat.png")).is_ok());
    }
}
