//! Commands that calibrate: masters of many frames, a mask of bad pixels, a raw frame calibrated.

use super::{CommandError, bad, mask_for, median, number, partial, read, write};
use crate::{
    bad_pixels::{BadPixels, Limits},
    calibrate::{self, Masters},
    masters::{self, MasterError, Method},
    overscan::{self, Layout},
};
use alidade_fits::{Header, Image, Rows};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What is taken off a raw frame.
#[derive(Debug, Clone, Default)]
pub struct CalibrateOptions {
    pub bias: Option<PathBuf>,
    pub dark: Option<PathBuf>,
    pub flat: Option<PathBuf>,
    /// Of the trimmed frame; its pixels are filled by their neighbours.
    pub bad_pixels: Option<PathBuf>,
    pub layout: Layout,
}

/// Takes a frame's overscan off; what is doubtful is said.
fn trimmed(path: &Path, layout: &Layout) -> Result<(Header, Image, Vec<String>), CommandError> {
    let (mut header, image) = read(path)?;
    let placed = overscan::place(&header, image.width, image.height, layout);
    let (placed, mut notes) = placed.map_err(|e| bad(path, e))?;
    if !placed.is_plain() {
        notes.push(if placed.has_overscan() {
            format!("overscan taken off, trimmed to {}", placed.trim)
        } else {
            format!("trimmed to {}", placed.trim)
        });
    }
    let image = overscan::apply(&mut header, image, &placed);
    Ok((header, image, notes))
}

/// A master that must have the size of the frame; one that still has its overscan is treated as the frame was.
fn fitting(path: &Path, frame: &Image, layout: &Layout) -> Result<(Header, Image), CommandError> {
    let (header, image) = read(path)?;
    if (image.width, image.height) == (frame.width, frame.height) {
        return Ok((header, image));
    }
    let sizes = format!(
        "{} x {}, the frame is {} x {}",
        image.width, image.height, frame.width, frame.height
    );
    match trimmed(path, layout) {
        Ok((header, image, _)) if (image.width, image.height) == (frame.width, frame.height) => Ok((header, image)),
        _ => Err(bad(path, sizes)),
    }
}

/// A dark in units per second (or in units, where times are missing: then `seconds` is 1), without its bias.
fn dark_rate(
    path: &Path,
    frame: &Image,
    bias: Option<&Image>,
    options: &CalibrateOptions,
    exposure_s: Option<f64>,
    notes: &mut Vec<String>,
) -> Result<(Image, f64), CommandError> {
    let (header, mut dark) = fitting(path, frame, &options.layout)?;
    let holds_bias = match header.get("BIASSUB").as_deref() {
        Some("T") => false,
        Some(_) => true,
        None => bias.is_some_and(|b| median(&dark.pixels) > 0.5 * median(&b.pixels)),
    };
    if holds_bias {
        less(&mut dark, bias);
        notes.push("bias taken off the dark".to_owned());
    }
    let own = header
        .get_f64("EXPTIME")
        .or_else(|| header.get_f64("EXPOSURE"))
        .filter(|s| *s > 0.0);
    let (scale, seconds) = match (own, exposure_s) {
        (Some(own), Some(seconds)) => (own, seconds),
        _ => {
            notes.push("an exposure time is missing: dark not scaled".to_owned());
            (1.0, 1.0)
        }
    };
    dark.pixels.iter_mut().for_each(|p| *p = (f64::from(*p) / scale) as f32);
    Ok((dark, seconds))
}

fn less(image: &mut Image, bias: Option<&Image>) {
    if let Some(bias) = bias {
        image.pixels.iter_mut().zip(&bias.pixels).for_each(|(p, b)| *p -= b);
    }
}

/// A flat of mean 1, without its bias.
fn response(
    path: &Path,
    frame: &Image,
    bias: Option<&Image>,
    layout: &Layout,
    notes: &mut Vec<String>,
) -> Result<Image, CommandError> {
    let (header, mut flat) = fitting(path, frame, layout)?;
    if median(&flat.pixels) > 50.0 && header.get("BIASSUB").as_deref() != Some("T") {
        less(&mut flat, bias);
        notes.push("bias taken off the flat".to_owned());
    }
    let valid = || flat.pixels.iter().filter(|p| p.is_finite());
    let mean = valid().map(|p| f64::from(*p)).sum::<f64>() / valid().count() as f64;
    if mean.is_nan() || mean <= 0.0 {
        return Err(bad(path, "a flat needs a level above zero"));
    }
    flat.pixels.iter_mut().for_each(|p| *p = (f64::from(*p) / mean) as f32);
    Ok(flat)
}

/// Takes overscan and masters off a raw frame, fills its bad pixels and writes the result.
///
/// A dark is scaled by EXPTIME, and a flat to mean 1. Whether they still hold the bias is read from BIASSUB or, without
/// it, told by their level: a dark as bright as half the bias, and a flat brighter than 50 units, hold it.
pub fn calibrate(raw: &Path, options: &CalibrateOptions, out: &Path) -> Result<Value, CommandError> {
    let (mut header, mut image, mut notes) = trimmed(raw, &options.layout)?;
    let exposure_s = header.get_f64("EXPTIME").or_else(|| header.get_f64("EXPOSURE"));
    let layout = &options.layout;
    let bias = options.bias.as_ref().map(|p| fitting(p, &image, layout)).transpose()?;
    let bias = bias.map(|b| b.1);
    let mut seconds = exposure_s.unwrap_or(0.0);
    let mut dark = None;
    if let Some(path) = &options.dark {
        let (rate, scaled) = dark_rate(path, &image, bias.as_ref(), options, exposure_s, &mut notes)?;
        (dark, seconds) = (Some(rate), scaled);
    }
    let mut flat = None;
    if let Some(path) = &options.flat {
        flat = Some(response(path, &image, bias.as_ref(), layout, &mut notes)?);
    }
    let masters = Masters {
        bias: bias.as_ref(),
        dark_rate: dark.as_ref(),
        flat: flat.as_ref(),
    };
    let filter = header.get("FILTER").unwrap_or_default();
    let degradations = calibrate::apply(&mut image, masters, seconds, &filter);
    let mut filled = None;
    if let Some(path) = &options.bad_pixels {
        let (done, left) = mask_for(path, image.width, image.height)?.interpolate(&mut image);
        header.number("NBADPIX", done + left, "[pix] bad, filled by their neighbours");
        filled = Some(done);
        if left > 0 {
            notes.push(format!("{left} bad pixels have no good neighbour and no value"));
        }
    }
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
        "bad_pixels_filled": filled,
        "notes": notes,
        "degradations": degradations.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

/// Combines frames of one size, each without its overscan, and writes the master, with the first frame's header. Bands of
/// the frames and of the master are in memory, none of them whole.
pub fn combine(paths: &[PathBuf], method: Method, layout: &Layout, out: &Path) -> Result<Value, CommandError> {
    let partial = partial(out);
    let combined = masters::combine_into(paths, method, layout, &partial, |header| {
        header.number("NCOMBINE", paths.len(), "frames combined");
        header.remove("BLANK");
        header.history("combined by alidade");
    });
    let failed = |e: &dyn std::fmt::Display| CommandError::Failed(format!("{}: {e}", out.display()));
    let done = combined.map_err(|e| match e {
        MasterError::Unwritten { cause, .. } => failed(&cause),
        other => CommandError::BadInput(other.to_string()),
    });
    let done = done.and_then(|size| {
        let median = median_of_rows(&partial).map_err(|e| failed(&e))?;
        std::fs::rename(&partial, out).map_err(|e| failed(&e))?;
        Ok((size, median))
    });
    if done.is_err() {
        // Nothing more can be done about a remainder that cannot be removed.
        drop(std::fs::remove_file(&partial));
    }
    let ((width, height), median) = done?;
    Ok(json!({
        "file": out.display().to_string(),
        "frames": paths.len(),
        "width": width,
        "height": height,
        "median": number(median),
    }))
}

/// The median of an image on disk, some rows at a time.
fn median_of_rows(path: &Path) -> Result<f64, alidade_fits::RowsError> {
    const ROWS: usize = 64;
    let rows = Rows::open(path)?;
    let (mut band, mut failed) = (Vec::new(), None);
    let median = super::median_of(&mut |each| {
        for first in (0..rows.height).step_by(ROWS) {
            band.clear();
            match rows.read_into(first, ROWS, &mut band) {
                Ok(()) => band.iter().for_each(|v| each(*v)),
                Err(e) => failed = Some(e),
            }
        }
    });
    failed.map_or(Ok(median), Err)
}

/// Finds the bad pixels of a detector in a master dark and flats, and writes their mask.
pub fn bad_pixels(
    dark_file: Option<&Path>,
    flats: &[PathBuf],
    limits: &Limits,
    layout: &Layout,
    out: &Path,
) -> Result<Value, CommandError> {
    let mut dark = None;
    if let Some(path) = dark_file {
        let (header, image, _) = trimmed(path, layout)?;
        if !image.pixels.iter().any(|p| p.is_finite()) {
            return Err(bad(path, "no pixel has a value"));
        }
        dark = Some((header, image));
    }
    let mut responses = Vec::new();
    for path in flats {
        let (header, image, _) = trimmed(path, layout)?;
        let valid = || image.pixels.iter().filter(|p| p.is_finite());
        let mean = valid().map(|p| f64::from(*p)).sum::<f64>() / valid().count() as f64;
        if mean.is_nan() || mean <= 0.0 {
            return Err(bad(path, "a flat needs a level above zero"));
        }
        let pixels = image.pixels.iter().map(|p| (f64::from(*p) / mean) as f32).collect();
        responses.push((header, Image { pixels, ..image }));
    }
    let first = dark.as_ref().or(responses.first());
    let Some((header, size)) = first.map(|(h, i)| (h.clone(), (i.width, i.height))) else {
        return Err(CommandError::BadInput("neither a dark nor a flat".into()));
    };
    if let Some((at, _)) = responses
        .iter()
        .enumerate()
        .find(|(_, (_, i))| (i.width, i.height) != size)
    {
        return Err(bad(&flats[at], format!("the first frame is {} x {}", size.0, size.1)));
    }
    let images: Vec<&Image> = responses.iter().map(|r| &r.1).collect();
    let mask = BadPixels::find(dark.as_ref().map(|d| &d.1), &images, limits)
        .ok_or_else(|| CommandError::BadInput("neither a dark nor a flat".into()))?;
    let bytes = mask.bytes(&header).map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    let with = |bit: u8| mask.why.iter().filter(|w| **w & bit != 0).count();
    Ok(json!({
        "file": out.display().to_string(),
        "width": mask.width,
        "height": mask.height,
        "bad_pixels": mask.count(),
        "hot": with(crate::bad_pixels::HOT),
        "dead": with(crate::bad_pixels::DEAD),
        "in_bad_columns": with(crate::bad_pixels::COLUMN),
        "limits": limits,
    }))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Folder, *};

    fn with(bias: Option<&PathBuf>, dark: Option<&PathBuf>, flat: Option<&PathBuf>) -> CalibrateOptions {
        CalibrateOptions {
            bias: bias.cloned(),
            dark: dark.cloned(),
            flat: flat.cloned(),
            ..CalibrateOptions::default()
        }
    }

    #[test]
    fn a_raw_frame_and_raw_bias_frames_lose_their_overscan_and_bad_pixels_are_filled() {
        let folder = Folder::new("overscan");
        let row = |light: f32, strip: f32| [light, light, light, strip];
        let frame = |name: &str, light: f32, strip: f32| {
            let pixels: Vec<f32> = (0..4).flat_map(|_| row(light, strip)).collect();
            folder.put(name, 10.0, 4, &pixels)
        };
        let layout = Layout {
            overscan: "[4:4,1:4]".parse().ok(),
            trim: "[1:3,1:4]".parse().ok(),
            ..Layout::default()
        };
        // The level of every frame is another one: only its own overscan knows it.
        let biases = [
            frame("b1", 1003.0, 1000.0),
            frame("b2", 1053.0, 1050.0),
            frame("b3", 993.0, 990.0),
        ];
        let master = folder.0.join("bias.fits");
        combine(&biases, Method::Clipped, &layout, &master).unwrap();
        assert_eq!(read(&master).unwrap().1.pixels, [3.0; 12]);
        let raw = frame("raw", 1523.0, 1020.0);
        let mask = folder.put(
            "mask",
            0.0,
            3,
            &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        );
        let out = folder.0.join("out.fits");
        let options = CalibrateOptions {
            bad_pixels: Some(mask),
            layout,
            ..with(Some(&master), None, None)
        };
        let answer = calibrate(&raw, &options, &out).unwrap();
        assert_eq!(read(&out).unwrap().1.pixels, [500.0; 12]);
        assert_eq!(answer["bad_pixels_filled"], 1);
        // A master that still has its overscan is treated as the frame is.
        let untrimmed = CalibrateOptions {
            layout,
            ..with(Some(&biases[0]), None, None)
        };
        calibrate(&raw, &untrimmed, &out).unwrap();
        assert_eq!(read(&out).unwrap().1.pixels, [500.0; 12]);
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
            calibrate(&raw, &with(Some(&bias), Some(&dark), Some(&flat)), &out).unwrap();
            assert_eq!(read(&out).unwrap().1.pixels, [200.0, 200.0, 400.0, 0.0]);
        }
        let answer = calibrate(&raw, &with(Some(&bias), None, None), &out).unwrap();
        assert_eq!(answer["degradations"].as_array().unwrap().len(), 2);
        let wrong = folder.put("wrong.fits", 0.0, 1, &[1.0; 4]);
        assert!(matches!(
            calibrate(&raw, &with(Some(&wrong), None, None), &out),
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
            combine(&frames, method, &Layout::default(), &out).unwrap();
            read(&out).unwrap().1.pixels[1]
        };
        assert_eq!(level(Method::Median), 12.0);
        assert_eq!(level(Method::Mean), 189.0);
        assert_eq!(level(Method::Clipped), 11.25);
    }
}
