//! Commands that calibrate: a mask of bad pixels, a raw frame calibrated.

use super::{CommandError, bad, mask_for, median, number, read, write};
use crate::{
    archive::{self, Fitting, Shelf},
    association::{Kind, Setup},
    bad_pixels::{BadPixels, Limits},
    calibrate::{self, Masters},
    flats,
    overscan::{self, Layout},
};
use alidade_fits::{Header, Image};
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
    /// Folder of masters (a data folder, or any of [`archive`]'s layout) from which what is not given is taken.
    pub library: Option<PathBuf>,
    pub layout: Layout,
}

/// Takes a frame's overscan off; what is doubtful is said.
pub(super) fn trimmed(path: &Path, layout: &Layout) -> Result<(Header, Image, Vec<String>), CommandError> {
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
fn fitting_size(path: &Path, frame: &Image, layout: &Layout) -> Result<(Header, Image), CommandError> {
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
    let (header, mut dark) = fitting_size(path, frame, &options.layout)?;
    if archive::free_dark(&header, &mut dark, bias) {
        notes.push("bias taken off the dark".to_owned());
    }
    let own = archive::exposure(&header);
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

/// A flat of mean 1, without its bias.
fn response(
    path: &Path,
    frame: &Image,
    bias: Option<&Image>,
    layout: &Layout,
    notes: &mut Vec<String>,
) -> Result<Image, CommandError> {
    let (header, mut flat) = fitting_size(path, frame, layout)?;
    if archive::free_flat(&header, &mut flat, bias) {
        notes.push("bias taken off the flat".to_owned());
    }
    if !flats::to_mean_one(&mut flat) {
        return Err(bad(path, "a flat needs a level above zero"));
    }
    Ok(flat)
}

/// What is not given, from the library; `bias` is a given one.
fn from_library(
    header: &Header,
    image: &Image,
    options: &CalibrateOptions,
    bias: Option<&Image>,
) -> Result<Fitting, CommandError> {
    let Some(folder) = &options.library else {
        return Ok(Fitting::default());
    };
    if !folder.is_dir() {
        return Err(bad(folder, "not a folder"));
    }
    let setup = Setup::of(header, (image.width, image.height));
    let given = [&options.bias, &options.dark, &options.flat, &options.bad_pixels];
    let wanted: Vec<Kind> = Kind::ALL
        .into_iter()
        .zip(given)
        .filter(|(_, given)| given.is_none())
        .map(|(kind, _)| kind)
        .collect();
    let shelf = Shelf::open(folder, setup.mjd);
    Ok(shelf.fit(&setup, &wanted, bias))
}

/// Takes overscan and masters off a raw frame, fills its bad pixels and writes the result.
///
/// A dark is scaled by EXPTIME, and a flat to mean 1. Whether they still hold the bias is read from BIASSUB or, without
/// it, told by their level: a dark as bright as half the bias, and a flat brighter than 50 units, hold it. What is not
/// given is taken from the library, if there is one, by the rule of [`association`](crate::association).
pub fn calibrate(raw: &Path, options: &CalibrateOptions, out: &Path) -> Result<Value, CommandError> {
    let (mut header, mut image, mut notes) = trimmed(raw, &options.layout)?;
    let exposure_s = header.get_f64("EXPTIME").or_else(|| header.get_f64("EXPOSURE"));
    let layout = &options.layout;
    let given = options
        .bias
        .as_ref()
        .map(|p| fitting_size(p, &image, layout))
        .transpose()?;
    let given = given.as_ref().map(|b| &b.1);
    let fitting = from_library(&header, &image, options, given)?;
    let bias = given.or(fitting.bias.as_deref());
    if fitting.dark_rate.is_some() && exposure_s.is_none() {
        notes.push("the exposure time is missing: no dark current is taken off".to_owned());
    }
    let mut seconds = exposure_s.unwrap_or(0.0);
    let mut dark = None;
    if let Some(path) = &options.dark {
        let (rate, scaled) = dark_rate(path, &image, bias, options, exposure_s, &mut notes)?;
        (dark, seconds) = (Some(rate), scaled);
    }
    let flat = match &options.flat {
        Some(path) => Some(response(path, &image, bias, layout, &mut notes)?),
        None => None,
    };
    let masters = Masters {
        bias,
        dark_rate: dark.as_ref().or(fitting.dark_rate.as_deref()),
        flat: flat.as_ref().or(fitting.flat.as_deref()),
    };
    let filter = header.get("FILTER").unwrap_or_default();
    let mut degradations = calibrate::apply(&mut image, masters, seconds, &filter);
    degradations.extend(fitting.degradations());
    notes.extend(fitting.missing.iter().cloned());
    let mask = match &options.bad_pixels {
        Some(path) => Some(mask_for(path, image.width, image.height)?),
        None => fitting.mask.as_deref().cloned(),
    };
    let mut filled = None;
    if let Some(mask) = mask {
        let (done, left) = mask.interpolate(&mut image);
        header.number("NBADPIX", done + left, "[pix] bad, filled by their neighbours");
        filled = Some(done);
        if left > 0 {
            notes.push(format!("{left} bad pixels have no good neighbour and no value"));
        }
    }
    fitting.record_files(&mut header);
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
        "masters": fitting.used,
        "notes": notes,
        "degradations": degradations.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
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
        let (header, mut image, _) = trimmed(path, layout)?;
        if !flats::to_mean_one(&mut image) {
            return Err(bad(path, "a flat needs a level above zero"));
        }
        responses.push((header, image));
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
    use super::{
        super::{Method, combine, tests::Folder},
        *,
    };

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
    fn what_is_not_given_comes_from_the_library_and_the_answer_says_how_old_it_is() {
        let folder = Folder::new("library");
        let put = |name: &str, kind: &str, mjd: f64, cards: &[(&str, f64)], value: f32| {
            let mut header = Header::new();
            header.text("IMAGETYP", kind, "");
            header.text("FILTER", "r", "");
            header.number("MJD-OBS", mjd, "");
            cards.iter().for_each(|(key, value)| header.number(key, value, ""));
            let path = folder.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let image = Image {
                width: 6,
                height: 3,
                pixels: vec![value; 18],
            };
            write(&path, &alidade_fits::write_f32(&header, &image).unwrap()).unwrap();
            path
        };
        let raw = put(
            "raw.fits",
            "Light Frame",
            61_000.0,
            &[("EXPTIME", 20.0), ("XBINNING", 1.0)],
            1140.0,
        );
        put("shelf/bias.fits", "master bias", 60_990.0, &[], 100.0);
        put(
            "shelf/dark.fits",
            "dark",
            60_995.0,
            &[("EXPTIME", 10.0), ("NCOMBINE", 3.0)],
            120.0,
        );
        put("shelf/2026/masters/flat.fits", "master flat", 60_980.0, &[], 2.0);
        put("shelf/binned.fits", "master flat", 60_999.0, &[("XBINNING", 2.0)], 2.0);
        let out = folder.0.join("out.fits");
        let options = CalibrateOptions {
            library: Some(folder.0.join("shelf")),
            ..CalibrateOptions::default()
        };
        let answer = calibrate(&raw, &options, &out).unwrap();
        let (header, image) = read(&out).unwrap();
        assert_eq!(image.pixels, [1000.0; 18], "{answer}");
        assert_eq!(answer["masters"].as_array().unwrap().len(), 3, "{answer}");
        assert_eq!(header.get("FLATFILE").as_deref(), Some("2026/masters/flat.fits"));
        assert_eq!(header.get_f64("FLATAGE"), Some(20.0));
        let degradations = answer["degradations"].to_string();
        assert!(degradations.contains("20 days from the frame"), "{degradations}");
        // What is given is not looked for; a folder that is none is an error.
        let options = CalibrateOptions {
            bias: Some(put("own.fits", "master bias", 60_000.0, &[], 40.0)),
            ..options
        };
        calibrate(&raw, &options, &out).unwrap();
        assert_eq!(read(&out).unwrap().1.pixels, [940.0; 18]);
        let nowhere = CalibrateOptions {
            library: Some(raw.clone()),
            ..CalibrateOptions::default()
        };
        assert!(matches!(
            calibrate(&raw, &nowhere, &out),
            Err(CommandError::BadInput(_))
        ));
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
}
