//! The whole chain for one frame: calibrate, background, extract, preview.

use crate::{
    astrometry::SkyStars,
    background::Background,
    calibrate::{self, Degradation, Masters},
    cosmics::{self, CosmicOptions},
    extract::{self, Options, Source},
    measure::{self, Conditions, Measured},
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
}

#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
    #[error(transparent)]
    Fits(#[from] FitsError),
    #[error("preview: {0}")]
    Preview(#[from] png::EncodingError),
}

/// The sky, the image without it, and its sources.
fn search(image: &Image, options: &Options) -> (Background, Image, Vec<Source>) {
    let background = Background::of(image);
    let mut flat_sky = image.clone();
    background.subtract(&mut flat_sky);
    let sources = extract::extract(&flat_sky, background.rms, options);
    (background, flat_sky, sources)
}

/// Reduces the bytes of one raw file.
pub fn reduce(
    raw: &[u8],
    masters: Masters<'_>,
    options: &Options,
    wanted: &Wanted<'_>,
) -> Result<Reduction, ReduceError> {
    let (mut header, mut image) = alidade_fits::read(raw)?;
    let exposure_s = header.get_f64("EXPTIME").unwrap_or(0.0);
    let filter = header.get("FILTER").unwrap_or_default();
    let degradations = calibrate::apply(&mut image, masters, exposure_s, &filter);
    let (mut background, mut flat_sky, mut sources) = search(&image, options);
    if let Some(cosmics) = &wanted.cosmics {
        // Stars as sharp as cosmic rays would be taken for such: better none is removed.
        if extract::median_fwhm(&sources).is_some_and(|fwhm| fwhm >= cosmics::LEAST_FWHM_PX) {
            let hit = cosmics::clean(&mut image, cosmics);
            let count = hit.iter().filter(|h| **h).count();
            header.number("NCOSMIC", count, "[pix] replaced as cosmic rays");
            (background, flat_sky, sources) = search(&image, options);
        } else {
            header.history("cosmic rays left in: the stars are as sharp");
        }
    }
    let fwhm_px = extract::median_fwhm(&sources);
    let preview_png = preview::png(&flat_sky, background.rms, &sources)?;
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
        exposure_s,
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
