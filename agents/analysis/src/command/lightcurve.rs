//! The light curve of a target over frames.

use super::{
    CommandError, PhotometryOptions, SolveHints, open_index,
    photometry::prepared,
    sky::{Searched, solve_searched},
    write,
};
use crate::{
    archive::exposure,
    astrometry::{Index, Wcs, stars::separation},
    extract::{self, BAD_PIXELS, BLENDED, BORDER, SATURATED, Source},
    lightcurve::{self, Comparison, Curve, Point},
    measure::worth_matching,
    photometry::{self, ZeroPoint},
    plot,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How a light curve is made.
#[derive(Debug, Clone)]
pub struct LightCurveOptions {
    /// ICRS, degrees.
    pub target: (f64, f64),
    /// Catalogue of the comparisons; without it the frames must be solved and calibrated (WCS and MAGZP in the header, as
    /// every calibrated frame of the daemon has).
    pub index: Option<PathBuf>,
    pub hints: SolveHints,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    /// Level from which a pixel is saturated; else SATURATE of the header.
    pub saturation: Option<f64>,
    /// Where the curve is drawn: a PNG, or an SVG by the name's end.
    pub plot: Option<PathBuf>,
}

/// The target is a source within this of its place, pixels or widths of a star.
const NEAR_PX: f64 = 1.5;
const NEAR_WIDTHS: f64 = 0.5;
/// Signal to noise of comparisons.
const COMPARISON_SNR: f64 = 20.0;
/// Sources without a flag of these are measured well.
const SPOILT: u8 = SATURATED | BORDER | BLENDED | BAD_PIXELS;

/// The light curve of a target, and its picture where one is wanted.
pub fn light_curve(paths: &[PathBuf], options: &LightCurveOptions) -> Result<Value, CommandError> {
    let curve = curve_of(paths, options)?;
    let mut answer = serde_json::to_value(&curve).map_err(|e| CommandError::Failed(e.to_string()))?;
    if let Some(out) = &options.plot {
        let title = format!("{:.5} {:+.5}", curve.ra_deg, curve.dec_deg);
        let bytes = picture(&title, &curve.points, out)?;
        write(out, &bytes)?;
        answer["plot"] = json!(out.display().to_string());
    }
    Ok(answer)
}

/// The curve as a picture of the kind that the name's end says.
fn picture(title: &str, points: &[Point], out: &Path) -> Result<Vec<u8>, CommandError> {
    let minutes: Vec<plot::Seen> = points
        .iter()
        .filter_map(|p| Some((p.mjd? * 1440.0, p.brightness?)))
        .collect();
    let first = minutes.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let since: Vec<plot::Seen> = minutes.iter().map(|p| (p.0 - first, p.1)).collect();
    drawn(title, &since, out)
}

/// Points as a picture of the kind that the name's end says.
pub(super) fn drawn(title: &str, since: &[plot::Seen], out: &Path) -> Result<Vec<u8>, CommandError> {
    if since.is_empty() {
        return Err(CommandError::BadInput(
            "no frame with a time shows the target: nothing to plot".into(),
        ));
    }
    if out.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg")) {
        return Ok(plot::light_curve(title, since).into_bytes());
    }
    plot::light_curve_png(title, since).map_err(|e| CommandError::Failed(e.to_string()))
}

/// The light curve of a target as values: what the command says, and a page can draw. Frames that cannot be used are points
/// with their cause; an error if that is all there is.
pub fn curve_of(paths: &[PathBuf], options: &LightCurveOptions) -> Result<Curve, CommandError> {
    let index = options.index.as_deref().map(open_index).transpose()?;
    let frames: Vec<lightcurve::Seen> = paths
        .iter()
        .map(|path| seen_by(path, index.as_ref(), options))
        .collect();
    if let Some(cause) = frames.first().filter(|_| frames.iter().all(|f| f.cause.is_some())) {
        let text = format!("{}: {}", cause.file, cause.cause.as_deref().unwrap_or("no frame"));
        return Err(CommandError::BadInput(text));
    }
    if frames.is_empty() {
        return Err(CommandError::BadInput("no frame".into()));
    }
    Ok(lightcurve::curve(options.target, frames))
}

/// What one frame says of the target, by the world coordinates and the zero point of its own header; the options' catalogue is
/// not looked at. Why it says nothing is its cause. For who keeps the answers, and makes curves of them by
/// [`lightcurve::curve`].
pub fn seen_on(path: &Path, options: &LightCurveOptions) -> lightcurve::Seen {
    seen_by(path, None, options)
}

fn seen_by(path: &Path, index: Option<&Index>, options: &LightCurveOptions) -> lightcurve::Seen {
    frame(path, index, options).unwrap_or_else(|cause| lightcurve::Seen {
        file: path.display().to_string(),
        cause: Some(cause),
        ..lightcurve::Seen::default()
    })
}

/// Where a frame is on the sky, with the stars it was solved by, or the zero point in its header.
struct Placed<'a> {
    wcs: Wcs,
    comparisons: Vec<(&'a Source, crate::astrometry::Star)>,
    zero: Option<(f64, f64)>,
}

fn placed<'a>(
    searched: &'a Searched,
    index: Option<&Index>,
    options: &LightCurveOptions,
) -> Result<Placed<'a>, String> {
    let header = &searched.header;
    let Some(index) = index else {
        let wcs = Wcs::read(header).ok_or("no world coordinates, and no index to solve it with")?;
        let mag = header
            .get_f64("MAGZP")
            .ok_or("no zero point (MAGZP), and no index to find it with")?;
        return Ok(Placed {
            wcs,
            comparisons: Vec::new(),
            zero: Some((mag, header.get_f64("MAGZPERR").unwrap_or(0.0).abs())),
        });
    };
    let (solution, _) = solve_searched(searched, index, &options.hints, 3)?;
    let worth = worth_matching(&searched.sources);
    Ok(Placed {
        comparisons: solution
            .stars
            .iter()
            .map(|(spot, star)| (worth[*spot], *star))
            .collect(),
        wcs: solution.wcs,
        zero: None,
    })
}

/// One frame; an error is its cause.
fn frame(path: &Path, index: Option<&Index>, options: &LightCurveOptions) -> Result<lightcurve::Seen, String> {
    let photometry = PhotometryOptions {
        hints: options.hints.clone(),
        aperture_px: options.aperture_px,
        gain_e_adu: options.gain_e_adu,
        saturation: options.saturation,
        target: None,
        plot: None,
    };
    let searched = prepared(path, &photometry).map_err(|e| match e {
        // The path is said once.
        CommandError::BadInput(text) | CommandError::Failed(text) => {
            text.trim_start_matches(&format!("{}: ", path.display())).to_owned()
        }
    })?;
    let header = &searched.header;
    let seconds = exposure(header).ok_or("no exposure time")?;
    let placed = placed(&searched, index, options)?;
    let mjd = crate::association::Setup::of(header, (0, 0))
        .mjd
        .map(|m| m + seconds / 172_800.0);
    let (ra, dec) = options.target;
    let width_px = extract::median_fwhm(&searched.sources).unwrap_or(2.5);
    let apart_deg = 2.0 * width_px * placed.wcs.scale_arcsec() / 3600.0;
    let comparison = |(source, star): &(&Source, crate::astrometry::Star)| {
        let good = source.flags & SPOILT == 0 && source.flux > COMPARISON_SNR * source.flux_err;
        let other = separation(star.ra_deg, star.dec_deg, ra, dec) > apart_deg;
        (good && other).then(|| Comparison {
            star: (star.ra_deg.to_bits(), star.dec_deg.to_bits()),
            mag: star.mag,
            instrumental: -2.5 * (source.flux / seconds).log10(),
            error: 2.5 / std::f64::consts::LN_10 * source.flux_err / source.flux,
        })
    };
    let mut seen = lightcurve::Seen {
        file: path.display().to_string(),
        filter: header.get("FILTER").unwrap_or_default(),
        mjd,
        airmass: lightcurve::airmass(header, options.target, mjd),
        rate: None,
        limit_rate: limit(&searched, options) / seconds,
        comparisons: placed.comparisons.iter().filter_map(comparison).collect(),
        header_zero: placed.zero,
        cause: None,
    };
    if let Some(place) = placed.wcs.pixel_of(ra, dec) {
        measured(&searched, place, width_px, seconds, options, &mut seen);
    }
    Ok(seen)
}

/// Counts of a star at the limit.
fn limit(searched: &Searched, options: &LightCurveOptions) -> f64 {
    let one = ZeroPoint {
        mag: 0.0,
        error: 0.0,
        scatter: 0.0,
        stars: 0,
    };
    let (aperture, gain) = (options.aperture_px, options.gain_e_adu);
    let mag = photometry::limiting_magnitude(&one, searched.rms, aperture, gain, 1.0);
    10f64.powf(-0.4 * mag)
}

/// The target's counts: those of the source that it is, else what the aperture holds at its place.
fn measured(
    searched: &Searched,
    place: (f64, f64),
    width_px: f64,
    seconds: f64,
    options: &LightCurveOptions,
    seen: &mut lightcurve::Seen,
) {
    let distance = |s: &Source| (s.x_win - place.0).hypot(s.y_win - place.1);
    let near = NEAR_PX.max(NEAR_WIDTHS * width_px);
    let nearest = searched
        .sources
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    if let Some(source) = nearest.filter(|s| distance(s) <= near) {
        if source.flags & SATURATED != 0 {
            seen.cause = Some("the target is saturated".into());
        } else {
            seen.rate = Some((source.flux / seconds, source.flux_err / seconds));
        }
        return;
    }
    let forced = photometry::forced_flux(
        &searched.image,
        place,
        searched.rms,
        options.aperture_px,
        options.gain_e_adu,
    );
    seen.rate = forced.map(|(flux, noise)| (flux / seconds, noise / seconds));
}
