//! What is done with frames off the agents' thread: masters and masks of the evening, one frame reduced, the error circle
//! of an alert searched first.

mod alert;
mod masters;
mod reference;

pub use alert::{error_box, part_of};
pub use masters::{Made, make_masters};
pub use reference::{Changed, Subtracted};

use self::alert::{answer, unsearched};
use crate::{
    astrometry::{SkyStars, Wcs},
    bad_pixels::BadPixels,
    candidates::{Candidate, Visit},
    cosmics::CosmicOptions,
    extract::{self, Options, SATURATED},
    measure::{Conditions, Measured, measure, zenith_seeing},
    minor_planets::Elements,
    overscan::Layout,
    reduce::{Reduction, Wanted, reduce_image},
    solve_field,
};
use alidade_model::exposure::ProductKind;
use alidade_observation::messages::FrameReady;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The target is what is nearest to the centre of the frame within this, arcseconds.
const TARGET_ARCSEC: f64 = 15.0;
/// Sky above this share of the full well saturates stars that are not bright.
const FULL_OF_SKY: f64 = 0.6;

/// The calibration frames of one channel, and the masters made of them.
#[derive(Debug, Clone, Default)]
pub struct Library {
    pub bias_frames: Vec<PathBuf>,
    pub dark_frames: Vec<PathBuf>,
    pub flat_frames: BTreeMap<String, Vec<PathBuf>>,
    pub masters: Option<Arc<Made>>,
}

/// A written file.
pub struct Written {
    pub kind: ProductKind,
    pub path: String,
    pub size_bytes: u64,
    pub sha256: String,
}

/// What became of one frame, from the worker.
pub struct Reduced {
    pub written: Vec<Written>,
    pub sources: u64,
    pub fwhm_px: Option<f64>,
    pub background: f64,
    pub rms: f64,
    pub degradations: Vec<String>,
    pub measured: Option<Measured>,
    pub ellipticity: Option<f64>,
    pub trailed: bool,
    /// The target, or the sky itself, fills the wells.
    pub saturated: bool,
    /// At the zenith, arcseconds; of frames that were solved and not trailed.
    pub seeing_arcsec: Option<f64>,
    pub airmass: Option<f64>,
    pub alert: Option<Answer>,
}

/// What the frame of an alert shows.
pub struct Answer {
    pub report: String,
    pub candidates: Vec<Candidate>,
    pub visit: Visit,
}

/// All a worker needs for one frame.
#[derive(Clone)]
pub struct Job {
    pub frame: FrameReady,
    pub options: Options,
    pub read_noise_e: f64,
    pub layout: Layout,
    /// A mask that somebody made.
    pub mask: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub night: String,
    pub sky: Option<Arc<dyn SkyStars>>,
    pub before: Vec<Visit>,
    /// Minor planets that may be in the way.
    pub planets: Arc<[Elements]>,
    /// astrometry.net's solve-field is tried where the own solver finds nothing.
    pub second_engine: bool,
}

/// Writes beside the place and renames; size and SHA-256.
fn write(data_dir: &Path, relative: String, kind: ProductKind, bytes: &[u8]) -> Result<Written, String> {
    let path = data_dir.join(&relative);
    let partial = path.with_extension("partial");
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&partial, bytes))
        .and_then(|()| std::fs::rename(&partial, &path));
    written.map_err(|e| format!("{}: {e}", path.display()))?;
    let mut sha256 = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(sha256, "{byte:02x}").map_err(|e| e.to_string())?;
    }
    Ok(Written {
        kind,
        path: relative,
        size_bytes: bytes.len() as u64,
        sha256,
    })
}

/// What is wanted of the frame of a job.
fn wanted<'a>(job: &'a Job, bad: Option<&'a BadPixels>) -> Wanted<'a> {
    // A cosmic ray would be a candidate.
    let cosmics = job.frame.event.as_ref().map(|_| CosmicOptions {
        gain_e_adu: job.options.gain_e_adu as f32,
        read_noise_e: job.read_noise_e as f32,
        saturation_e: (job.options.saturation * job.options.gain_e_adu) as f32,
        ..CosmicOptions::default()
    });
    Wanted {
        sky: job.sky.as_deref(),
        cosmics,
        layout: job.layout,
        bad,
        ..Wanted::default()
    }
}

/// Reduces a frame and writes what comes out.
pub fn reduce_frame(job: &Job, made: &Made) -> Result<Reduced, String> {
    let (frame, data_dir, night) = (&job.frame, &job.data_dir, &job.night);
    let raw = std::fs::read(&frame.path).map_err(|e| format!("{}: {e}", frame.path.display()))?;
    let (header, image) = alidade_fits::read(&raw).map_err(|e| e.to_string())?;
    drop(raw);
    let (fitting, mask_missing) = made.fit(&header, (image.width, image.height), job);
    let wanted = wanted(job, fitting.mask.as_deref());
    let outcome = reduce_image(header, image, fitting.masters(), &job.options, &wanted);
    let mut reduction: Reduction = outcome.map_err(|e| e.to_string())?;
    fitting.record(&mut reduction.header);
    let by_second = second_engine(job, &mut reduction);
    let calibrated = alidade_fits::write_i16(&reduction.header, &reduction.image).map_err(|e| e.to_string())?;
    let measured = reduction.measured.as_ref().and_then(|m| m.as_ref().ok());
    let doubts = fitting.degradations();
    let both = reduction.degradations.iter().chain(&doubts);
    let mut degradations: Vec<String> = both.map(ToString::to_string).collect();
    if let Some(cause) = &mask_missing {
        degradations.push(format!("bad-pixel mask: {cause}"));
    }
    degradations.extend(by_second);
    let catalogue = serde_json::to_vec(&serde_json::json!({
        "exposure": frame.exposure,
        "sequence": frame.sequence,
        "channel": frame.channel,
        "filter": frame.filter,
        "started_at": frame.started_at,
        "exposure_s": frame.exposure_s,
        "background_adu": reduction.background,
        "rms_adu": reduction.rms,
        "fwhm_px": reduction.fwhm_px,
        "degradations": degradations,
        "masters": fitting.used,
        "measured": measured,
        "sources": reduction.sources,
    }))
    .map_err(|e| e.to_string())?;
    let at = |folder: &str, extension: &str| format!("{night}/{folder}/{}.{extension}", frame.exposure);
    let mut written = vec![
        write(data_dir, at("calibrated", "fits"), ProductKind::Calibrated, &calibrated)?,
        write(data_dir, at("catalogues", "json"), ProductKind::Catalogue, &catalogue)?,
        write(
            data_dir,
            at("previews", "png"),
            ProductKind::Preview,
            &reduction.preview_png,
        )?,
    ];
    let alert = match (&frame.event, measured) {
        (Some(event), Some(measured)) => answer(job, event, &reduction, measured, None, &mut written)?,
        _ => None,
    };
    if let (Some(event), None) = (&frame.event, &alert) {
        written.push(unsearched(job, event, &reduction)?);
    }
    if let Some(Err(cause)) = &reduction.measured {
        degradations.push(format!("no plate solution: {cause}"));
    }
    if let Some((ellipticity, true)) = reduction.trailing {
        degradations.push(format!("the stars are trails (ellipticity {ellipticity:.2})"));
    }
    let airmass = reduction.header.get_f64("AIRMASS").filter(|a| (1.0..40.0).contains(a));
    let trailed = reduction.trailing.is_some_and(|(_, trails)| trails);
    let seeing_arcsec = measured
        .filter(|_| !trailed)
        .zip(reduction.fwhm_px)
        .zip(airmass)
        .map(|((m, fwhm_px), airmass)| zenith_seeing(fwhm_px * m.solution.wcs.scale_arcsec(), airmass));
    Ok(Reduced {
        saturated: saturated(job, &reduction),
        trailed,
        airmass,
        seeing_arcsec,
        measured: measured.cloned(),
        ellipticity: reduction.trailing.map(|t| t.0),
        alert,
        written,
        sources: reduction.sources.len() as u64,
        fwhm_px: reduction.fwhm_px,
        background: f64::from(reduction.background),
        rms: f64::from(reduction.rms),
        degradations,
    })
}

/// Whether the target of a frame, or its sky, fills the wells.
fn saturated(job: &Job, reduction: &Reduction) -> bool {
    if f64::from(reduction.background) > FULL_OF_SKY * job.options.saturation {
        return true;
    }
    let guess = Wcs::read(&reduction.header);
    let (ra, dec) = (reduction.header.get_f64("RA"), reduction.header.get_f64("DEC"));
    let (Some(wcs), Some(ra), Some(dec)) = (guess, ra, dec) else {
        return false;
    };
    let Some((x, y)) = wcs.pixel_of(ra, dec) else {
        return false;
    };
    let reach = TARGET_ARCSEC / wcs.scale_arcsec();
    let near = |s: &&extract::Source| (s.x - x).hypot(s.y - y) < reach;
    reduction
        .sources
        .iter()
        .find(near)
        .is_some_and(|s| s.flags & SATURATED != 0)
}

/// Where the own solver found nothing and astrometry.net's is wanted: its solution is put into the header, and the frame
/// measured by it. Said is what it came to.
fn second_engine(job: &Job, reduction: &mut Reduction) -> Option<String> {
    if !job.second_engine || matches!(reduction.measured, Some(Ok(_))) {
        return None;
    }
    let wcs = match solve_field::solve(&reduction.header, &reduction.image) {
        Ok(wcs) => wcs,
        Err(cause) => return Some(format!("astrometry.net: {cause}")),
    };
    let (width, height) = (reduction.image.width, reduction.image.height);
    wcs.write(&mut reduction.header, width, height);
    reduction.header.history("plate solution by astrometry.net");
    let sky = job.sky.as_deref()?;
    let conditions = Conditions {
        width,
        height,
        rms: reduction.rms,
        aperture_px: job.options.aperture_px,
        gain_e_adu: job.options.gain_e_adu,
        exposure_s: job.frame.exposure_s,
    };
    if let Ok(found) = measure(&reduction.header, &reduction.sources, sky, &conditions) {
        found.record(&mut reduction.header, &sky.name(), width, height);
        reduction.measured = Some(Ok(found));
    }
    None
}
