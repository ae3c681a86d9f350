//! The whole chain for one frame: overscan, calibrate, bad pixels, background, extract, preview.

use crate::{
    astrometry::SkyStars,
    background::Background,
    bad_pixels::BadPixels,
    calibrate::{self, Degradation, Masters},
    cosmics::{self, CosmicOptions},
    extract::{self, Options, Source},
    measure::{self, Conditions, Measured},
    overscan::{self, Layout, Section},
    preview,
};
use alidade_fits::{FitsError, Header, Image};

/// What one frame becomes.
#[derive(Debug, Clone)]
pub struct Reduction {
    pub header: Header,
    /// Calibrated, background still in.
    pub image: Image,
    pub sources: Vec<Source>,
    pub background: f32,
    pub rms: f32,
    pub fwhm_px: Option<f64>,
    pub degradations: Vec<Degradation>,
    pub preview_png: Vec<u8>,
    /// Calibrated, without the sky.
    pub flat_sky: Image,
    /// Plate solution and zero point, or why there is none; neither without a catalogue.
    pub measured: Option<Result<Measured, String>>,
    /// Median ellipticity of the stars, and whether they are trails.
    pub trailing: Option<(f64, bool)>,
}

/// What is wanted beside the calibration and the list of sources.
#[derive(Default)]
pub struct Wanted<'a> {
    /// Catalogue for plate solution and zero point.
    pub sky: Option<&'a dyn SkyStars>,
    /// Remove cosmic rays.
    pub cosmics: Option<CosmicOptions>,
    /// Overscan and trim; masters are trimmed already.
    pub layout: Layout,
    /// Known bad pixels of the trimmed frame.
    pub bad: Option<&'a BadPixels>,
    /// Only this part of the trimmed frame, in the pixels of the binned frame; masters and mask are those of the whole.
    pub part: Option<Section>,
    /// Make no picture.
    pub no_preview: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
    #[error(transparent)]
    Fits(#[from] FitsError),
    #[error("preview: {0}")]
    Preview(#[from] png::EncodingError),
    #[error("the part {0} is not within the frame")]
    Part(Section),
}

/// The sky, the image without it, and its sources.
fn search(image: &Image, options: &Options, bad: Option<&BadPixels>) -> (Background, Image, Vec<Source>) {
    let background = Background::of(image);
    let mut flat_sky = image.clone();
    background.subtract(&mut flat_sky);
    let sources = extract::extract_masked(&flat_sky, background.rms, options, bad);
    (background, flat_sky, sources)
}

/// Reduces the bytes of one raw file.
pub fn reduce(
    raw: &[u8],
    masters: Masters<'_>,
    options: &Options,
    wanted: &Wanted<'_>,
) -> Result<Reduction, ReduceError> {
    let (header, image) = alidade_fits::read(raw)?;
    reduce_image(header, image, masters, options, wanted)
}

/// A part of every master.
struct Parts {
    bias: Option<Image>,
    dark_rate: Option<Image>,
    flat: Option<Image>,
    bad: Option<BadPixels>,
}

/// Takes bias, dark and flat off a raw frame without overscan, and fills its bad pixels. The header says what was done.
pub fn calibrated(
    header: &mut Header,
    raw: Image,
    masters: Masters<'_>,
    wanted: &Wanted<'_>,
) -> Result<(Image, Vec<Degradation>, Option<BadPixels>), ReduceError> {
    let mut degradations = Vec::new();
    let mut image = match overscan::place(header, raw.width, raw.height, &wanted.layout) {
        Ok((placed, notes)) => {
            let missing = notes.into_iter().map(|cause| Degradation::Overscan { cause });
            degradations.extend(missing);
            overscan::apply(header, raw, &placed)
        }
        Err(cause) => {
            degradations.push(Degradation::Overscan {
                cause: cause.to_string(),
            });
            raw
        }
    };
    let exposure_s = header.get_f64("EXPTIME").unwrap_or(0.0);
    let filter = header.get("FILTER").unwrap_or_default();
    let mut bad = wanted.bad.filter(|bad| {
        let fits = (bad.width, bad.height) == (image.width, image.height);
        if !fits {
            degradations.push(Degradation::BadPixels {
                cause: format!("{} x {}, another size than the frame", bad.width, bad.height),
            });
        }
        fits
    });
    let parts;
    let mut masters = masters;
    if let Some(part) = wanted.part {
        let cut = |master: Option<&Image>| {
            let whole = master.filter(|m| (m.width, m.height) == (image.width, image.height));
            whole.and_then(|m| part.of(m))
        };
        parts = Parts {
            bias: cut(masters.bias),
            dark_rate: cut(masters.dark_rate),
            flat: cut(masters.flat),
            bad: bad.and_then(|b| b.part(&part)),
        };
        image = part.of(&image).ok_or(ReduceError::Part(part))?;
        overscan::moved(header, part);
        masters = Masters {
            bias: parts.bias.as_ref(),
            dark_rate: parts.dark_rate.as_ref(),
            flat: parts.flat.as_ref(),
        };
        bad = parts.bad.as_ref();
    }
    degradations.extend(calibrate::apply(&mut image, masters, exposure_s, &filter));
    if let Some(bad) = bad {
        let (filled, left) = bad.interpolate(&mut image);
        header.number("NBADPIX", filled + left, "[pix] bad, filled by their neighbours");
    }
    Ok((image, degradations, bad.cloned()))
}

/// Reduces one raw frame.
pub fn reduce_image(
    mut header: Header,
    raw: Image,
    masters: Masters<'_>,
    options: &Options,
    wanted: &Wanted<'_>,
) -> Result<Reduction, ReduceError> {
    let (mut image, degradations, bad) = calibrated(&mut header, raw, masters, wanted)?;
    let bad = bad.as_ref();
    let (mut background, mut flat_sky, mut sources) = search(&image, options, bad);
    if let Some(cosmics) = &wanted.cosmics {
        // Stars as sharp as cosmic rays would be taken for such: better none is removed.
        if extract::median_fwhm(&sources).is_some_and(|fwhm| fwhm >= cosmics::LEAST_FWHM_PX) {
            let hit = cosmics::clean(&mut image, cosmics);
            let count = hit.iter().filter(|h| **h).count();
            header.number("NCOSMIC", count, "[pix] replaced as cosmic rays");
            (background, flat_sky, sources) = search(&image, options, bad);
        } else {
            header.history("cosmic rays left in: the stars are as sharp");
        }
    }
    let fwhm_px = extract::median_fwhm(&sources);
    let preview_png = if wanted.no_preview {
        Vec::new()
    } else {
        preview::png(&flat_sky, background.rms, &sources)?
    };
    header.number("BKGLEVEL", format!("{:.3}", background.level), "[ADU] median sky");
    header.number("BKGRMS", format!("{:.3}", background.rms), "[ADU] sky noise");
    header.number("NSOURCES", sources.len(), "sources above the threshold");
    if let Some(fwhm) = fwhm_px {
        header.number("FWHM", format!("{fwhm:.3}"), "[pix] median of the sources");
    }
    let conditions = Conditions {
        width: image.width,
        height: image.height,
        rms: background.rms,
        aperture_px: options.aperture_px,
        gain_e_adu: options.gain_e_adu,
        exposure_s: header.get_f64("EXPTIME").unwrap_or(0.0),
    };
    let measured = wanted.sky.map(|sky| {
        let found = measure::measure(&header, &sources, sky, &conditions)?;
        found.record(&mut header, &sky.name(), image.width, image.height);
        Ok(found)
    });
    let trailing = measure::trailing(&sources);
    if let Some((ellipticity, _)) = trailing {
        header.number("ELLIPT", format!("{ellipticity:.3}"), "1 - b/a, median of the sources");
    }
    for step in &degradations {
        header.history(&format!("degraded: {step}"));
    }
    header.history("calibrated and searched by alidade");
    Ok(Reduction {
        header,
        image,
        sources,
        background: background.level,
        rms: background.rms,
        fwhm_px,
        degradations,
        preview_png,
        flat_sky,
        measured,
        trailing,
    })
}
