//! What is done with frames off the agents' thread: masters and masks of the evening, one frame reduced, the error circle
//! of an alert searched first.

use crate::{
    astrometry::{SkyStars, Wcs},
    bad_pixels::{BadPixels, Limits},
    calibrate::{self, Masters},
    candidates::{self, Candidate, Circle, Field, Visit},
    circular::{self, Observation},
    cosmics::CosmicOptions,
    extract::{self, Options, SATURATED},
    masters,
    measure::{Conditions, Measured, POINTING_DEG, measure, zenith_seeing},
    minor_planets::{self, Elements},
    overscan::{Layout, Section, TrimmedRows},
    photometry::Brightness,
    plot, preview,
    reduce::{ReduceError, Reduction, Wanted, reduce},
    solve_field,
};
use alidade_fits::{Header, Image};
use alidade_model::exposure::ProductKind;
use alidade_observation::messages::{ErrorCircle, FrameReady};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A zero point that candidates are judged by: largest scatter, and least number of stars.
const MOST_SCATTER_MAG: f64 = 0.3;
const LEAST_CALIBRATORS: usize = 4;
/// Candidates of a frame that get a cut-out.
const CUTOUTS: usize = 5;
/// Side of the part of a frame that is searched first, pixels, at least: fewer stars than it has solve badly.
const LEAST_SIDE_PX: usize = 512;
/// A part with a larger share of the frame than this is not worth a search of its own.
const MOST_SHARE: f64 = 0.5;
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

/// Masters of one channel.
#[derive(Debug, Default)]
pub struct Made {
    bias: Option<Image>,
    dark_rate: Option<Image>,
    flats: BTreeMap<String, Image>,
    bad: Option<BadPixels>,
    /// A configured mask that cannot be used, and why.
    mask_missing: Option<String>,
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

/// Combines the frames of the evening; every master, and the mask of bad pixels, is also written.
pub fn make_masters(library: &Library, job: &Job) -> (Arc<Made>, Vec<Written>) {
    let (channel, layout) = (&job.frame.channel, &job.layout);
    let mut written = Vec::new();
    let mut keep = |name: &str, kind: ProductKind, bytes: Result<Vec<u8>, alidade_fits::FitsError>| {
        let path = format!("{}/masters/{channel}-{}.fits", job.night, name.replace(' ', "-"));
        let file = bytes.map_err(|e| e.to_string());
        written.extend(file.and_then(|bytes| write(&job.data_dir, path, kind, &bytes)).ok());
    };
    let titled = |name: &str| {
        let mut header = Header::new();
        header.text("CHANNEL", channel, "instrument channel");
        header.text("IMAGETYP", name, "kind of frame");
        header
    };
    let bias = master(&library.bias_frames, layout, &|_, _, _| {});
    if let Some(bias) = &bias {
        let name = "master bias";
        keep(
            name,
            ProductKind::MasterBias,
            alidade_fits::write_f32(&titled(name), bias),
        );
    }
    let dark_rate = dark_rate(&library.dark_frames, layout, bias.as_ref());
    if let Some(dark) = &dark_rate {
        let name = "master dark";
        let mut header = titled(name);
        header.number("EXPTIME", 1, "[s] a rate per second");
        header.number("BIASSUB", "T", "free of bias");
        keep(name, ProductKind::MasterDark, alidade_fits::write_f32(&header, dark));
    }
    let mut flats = BTreeMap::new();
    for (filter, paths) in &library.flat_frames {
        if let Some(flat) = calibrate::flat(&load(paths, layout), bias.as_ref()) {
            let name = format!("master flat {filter}");
            keep(
                &name,
                ProductKind::MasterFlat,
                alidade_fits::write_f32(&titled(&name), &flat),
            );
            flats.insert(filter.clone(), flat);
        }
    }
    let all: Vec<&Image> = flats.values().collect();
    let mut bad = BadPixels::find(dark_rate.as_ref(), &all, &Limits::default());
    let mut mask_missing = None;
    if let Some(path) = &job.mask {
        match read_mask(path) {
            Err(cause) => mask_missing = Some(format!("{}: {cause}", path.display())),
            Ok(known) => match &mut bad {
                None => bad = Some(known),
                Some(own) => {
                    if !own.add(&known) {
                        mask_missing = Some(format!("{}: another size than the masters", path.display()));
                    }
                }
            },
        }
    }
    if let Some(bad) = &bad {
        keep(
            "bad pixels",
            ProductKind::MasterDark,
            bad.bytes(&titled("bad pixel mask")),
        );
    }
    let made = Made {
        bias,
        dark_rate,
        flats,
        bad,
        mask_missing,
    };
    (Arc::new(made), written)
}

/// A mask of a file.
fn read_mask(path: &Path) -> Result<BadPixels, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let (_, image) = alidade_fits::read(&bytes).map_err(|e| e.to_string())?;
    Ok(BadPixels::of_image(&image))
}

/// Frames without their overscan. An unreadable one is one less; with none left the degradation is recorded on every frame.
fn load(paths: &[PathBuf], layout: &Layout) -> Vec<Image> {
    let one = |path: &PathBuf| {
        let rows = TrimmedRows::open(path, layout).ok()?;
        let mut pixels = Vec::new();
        rows.rows(0, rows.height(), &mut pixels).ok()?;
        Some(Image {
            width: rows.width(),
            height: rows.height(),
            pixels,
        })
    };
    paths.iter().filter_map(one).collect()
}

/// A master of the frames that can be read; with none the degradation is recorded on every frame.
fn master(paths: &[PathBuf], layout: &Layout, prepare: &(dyn Fn(&Header, usize, &mut [f32]) + Sync)) -> Option<Image> {
    let readable: Vec<PathBuf> = paths
        .iter()
        .filter(|p| TrimmedRows::open(p, layout).is_ok())
        .cloned()
        .collect();
    Some(
        masters::combine_files(&readable, masters::Method::Clipped, layout, prepare)
            .ok()?
            .1,
    )
}

/// Dark current in units per second: bias off, divided by the exposure time, combined.
fn dark_rate(paths: &[PathBuf], layout: &Layout, bias: Option<&Image>) -> Option<Image> {
    let bias = bias?;
    let seconds = |header: &Header| header.get_f64("EXPTIME").filter(|s| *s > 0.0);
    let fitting: Vec<PathBuf> = paths
        .iter()
        .filter(|path| {
            TrimmedRows::open(path, layout).is_ok_and(|rows| {
                (rows.width(), rows.height()) == (bias.width, bias.height) && seconds(rows.header()).is_some()
            })
        })
        .cloned()
        .collect();
    master(&fitting, layout, &|header, from, pixels| {
        let rate = 1.0 / seconds(header).unwrap_or(1.0) as f32;
        pixels
            .iter_mut()
            .zip(&bias.pixels[from..])
            .for_each(|(p, b)| *p = (*p - b) * rate);
    })
}

impl Made {
    fn masters(&self, filter: &str) -> Masters<'_> {
        Masters {
            bias: self.bias.as_ref(),
            dark_rate: self.dark_rate.as_ref(),
            flat: self.flats.get(filter),
        }
    }
}

/// What is wanted of the frame of a job.
fn wanted<'a>(job: &'a Job, made: &'a Made) -> Wanted<'a> {
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
        bad: made.bad.as_ref(),
        ..Wanted::default()
    }
}

/// The part of a frame that holds the error circle wherever the mount may really have pointed, for a frame of this size
/// and header; `None` where it lies outside or is most of the frame.
pub fn part_of(header: &Header, width: usize, height: usize, area: &ErrorCircle) -> Option<Section> {
    let wcs = Wcs::read(header)?;
    let (x, y) = wcs.pixel_of(area.ra_deg, area.dec_deg)?;
    let reach = (area.radius_deg + POINTING_DEG[0]) * 3600.0 / wcs.scale_arcsec();
    let side = (2.0 * reach).max(LEAST_SIDE_PX as f64);
    let range = |centre: f64, size: usize| {
        let from = (centre - side / 2.0).max(0.0).min(size as f64 - side.min(size as f64));
        let to = (from + side).min(size as f64);
        (from as usize, to.ceil() as usize)
    };
    let inside = x + reach > 0.0 && y + reach > 0.0 && x - reach < width as f64 && y - reach < height as f64;
    let section = Section {
        x: range(x, width),
        y: range(y, height),
    };
    let share = (section.width() * section.height()) as f64 / (width * height) as f64;
    (inside && share <= MOST_SHARE && section.lies_in(width, height)).then_some(section)
}

/// Searches the error circle of an alert before anything else is done with the frame: its part of the frame is
/// calibrated, extracted, solved and searched. `None` where that cannot be: the whole frame follows in any case.
pub fn error_box(job: &Job, made: &Made) -> Option<(Answer, Vec<Written>)> {
    let (event, area) = (job.frame.event.as_ref()?, job.frame.area?);
    let rows = TrimmedRows::open(&job.frame.path, &job.layout).ok()?;
    let part = part_of(&rows.trimmed_header(), rows.width(), rows.height(), &area)?;
    drop(rows);
    let raw = std::fs::read(&job.frame.path).ok()?;
    let wanted = Wanted {
        part: Some(part),
        no_preview: true,
        ..wanted(job, made)
    };
    let reduction = reduce(&raw, made.masters(&job.frame.filter), &job.options, &wanted).ok()?;
    let measured = reduction.measured.as_ref()?.as_ref().ok()?;
    let mut written = Vec::new();
    let circle = Circle {
        ra_deg: area.ra_deg,
        dec_deg: area.dec_deg,
        radius_deg: area.radius_deg,
    };
    let answer = answer(job, event, &reduction, measured, Some(circle), &mut written).ok()??;
    Some((answer, written))
}

/// Reduces a frame and writes what comes out.
pub fn reduce_frame(job: &Job, made: &Made) -> Result<Reduced, String> {
    let (frame, data_dir, night) = (&job.frame, &job.data_dir, &job.night);
    let raw = std::fs::read(&frame.path).map_err(|e| format!("{}: {e}", frame.path.display()))?;
    let outcome = reduce(&raw, made.masters(&frame.filter), &job.options, &wanted(job, made));
    let mut reduction: Reduction = outcome.map_err(|e: ReduceError| e.to_string())?;
    let by_second = second_engine(job, &mut reduction);
    let calibrated = alidade_fits::write_i16(&reduction.header, &reduction.image).map_err(|e| e.to_string())?;
    let measured = reduction.measured.as_ref().and_then(|m| m.as_ref().ok());
    let mut degradations: Vec<String> = reduction.degradations.iter().map(ToString::to_string).collect();
    if let Some(cause) = &made.mask_missing {
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

/// The report of an alert's frame that cannot be searched says why not.
fn unsearched(job: &Job, event: &str, reduction: &Reduction) -> Result<Written, String> {
    let cause = match &reduction.measured {
        None => "no catalogue is configured".to_owned(),
        Some(Err(cause)) => format!("no plate solution: {cause}"),
        Some(Ok(_)) => "no sound zero point".to_owned(),
    };
    let report = serde_json::to_vec_pretty(&serde_json::json!({
        "event": event,
        "exposure": job.frame.exposure,
        "obs_date": reduction.header.get("DATE-OBS"),
        "exposure_s": job.frame.exposure_s,
        "filter": job.frame.filter,
        "not_searched": cause,
        "limiting_mag": null,
        "candidates": [],
        "cutouts": [],
    }));
    let path = format!("{}/alerts/{}.json", job.night, job.frame.exposure);
    let report = report.map_err(|e| e.to_string())?;
    write(&job.data_dir, path, ProductKind::Report, &report)
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

/// The light curve of the best candidate over the visits and this frame, as SVG; `None` before the third point.
fn light_curve(job: &Job, event: &str, now: &Visit, candidates: &[Candidate], radius_arcsec: f64) -> Option<String> {
    let best = candidates.iter().find(|c| c.known.is_none())?;
    let visits: Vec<Visit> = job.before.iter().chain([now]).cloned().collect();
    let points = candidates::history(&visits, &now.filter, (best.ra, best.dec), radius_arcsec);
    let first = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let seen: Vec<plot::Seen> = points
        .iter()
        .map(|(minutes, mag, error)| {
            (
                minutes - first,
                Brightness::Detected {
                    mag: *mag,
                    error: *error,
                },
            )
        })
        .collect();
    (seen.len() >= 3).then(|| plot::light_curve(&format!("{event}, best candidate, {}", now.filter), &seen))
}

/// Minor planets are looked for this far beyond the frame's edge, degrees: their places are not that certain.
const KNOWN_MARGIN_DEG: f64 = 0.1;

/// Searches the frame of an alert, or `area` of it, for what is new; writes the report and the cut-outs. `None` where it
/// has no zero point.
fn answer(
    job: &Job,
    event: &str,
    reduction: &Reduction,
    measured: &Measured,
    area: Option<Circle>,
    written: &mut Vec<Written>,
) -> Result<Option<Answer>, String> {
    let (Some(sky), Some(zero), Some(fwhm_px)) = (&job.sky, &measured.zero, reduction.fwhm_px) else {
        return Ok(None);
    };
    // Without a sound zero point every star would be news.
    if zero.scatter > MOST_SCATTER_MAG || zero.stars < LEAST_CALIBRATORS {
        return Ok(None);
    }
    let exposure_s = reduction.header.get_f64("EXPTIME").filter(|s| *s > 0.0).unwrap_or(1.0);
    let wcs = &measured.solution.wcs;
    let ((ra, dec), radius) = wcs.circle(reduction.image.width, reduction.image.height);
    let stars = sky.cone(ra, dec, radius)?;
    let field = Field {
        sources: &reduction.sources,
        wcs,
        rms_arcsec: measured.solution.rms_arcsec,
        zero,
        exposure_s,
        fwhm_px,
    };
    let filter = &job.frame.filter;
    let known = match reduction.header.get_f64("MJD-OBS") {
        Some(mjd) if !job.planets.is_empty() => {
            let middle = mjd + 2_400_000.5 + exposure_s / 172_800.0;
            minor_planets::near(&job.planets, middle, ra, dec, radius + KNOWN_MARGIN_DEG)
        }
        _ => Vec::new(),
    };
    let candidates = candidates::search(&field, area, &stars, sky.depth(), &job.before, filter, &known);
    let box_only = if area.is_some() { "-box" } else { "" };
    let stem = format!("{}/alerts/{}{box_only}", job.night, job.frame.exposure);
    let mut pictures = Vec::new();
    for (number, candidate) in candidates.iter().take(CUTOUTS).enumerate() {
        let picture = preview::cutout(&reduction.flat_sky, reduction.rms, (candidate.x, candidate.y));
        let bytes = picture.map_err(|e| e.to_string())?;
        let path = format!("{stem}-{}.png", number + 1);
        pictures.push(path.clone());
        written.push(write(&job.data_dir, path, ProductKind::Preview, &bytes)?);
    }
    let visit = Visit {
        minutes: reduction
            .header
            .get_f64("MJD-OBS")
            .map(|d| d * 1440.0 + exposure_s / 120.0),
        ..field.visit(filter)
    };
    let curve = light_curve(job, event, &visit, &candidates, 2.0 * fwhm_px * wcs.scale_arcsec());
    let light_curve = match curve.filter(|_| area.is_none()) {
        Some(drawn) => {
            let path = format!("{stem}-light-curve.svg");
            written.push(write(
                &job.data_dir,
                path.clone(),
                ProductKind::Report,
                drawn.as_bytes(),
            )?);
            Some(path)
        }
        None => None,
    };
    let report = serde_json::to_vec_pretty(&serde_json::json!({
        "event": event,
        "searched": if area.is_some() { "error circle" } else { "whole frame" },
        "area": area,
        "known_objects": known.iter().map(|k| k.name.clone()).collect::<Vec<_>>(),
        "exposure": job.frame.exposure,
        "obs_date": reduction.header.get("DATE-OBS"),
        "exposure_s": exposure_s,
        "filter": filter,
        "catalogue": { "name": sky.name(), "depth_mag": sky.depth() },
        "measured": measured,
        "limiting_mag": measured.limiting_mag,
        "limiting_mag_sigma": 5,
        "visits_before": job.before.len(),
        "candidates": candidates,
        "cutouts": pictures,
        "light_curve": light_curve,
    }))
    .map_err(|e| e.to_string())?;
    let text = |key: &str| reduction.header.get(key).unwrap_or_default();
    let circular = circular::draft(
        &Observation {
            event,
            telescope: &text("TELESCOP"),
            site: &text("SITENAME"),
            start: &text("DATE-OBS"),
            exposure_s,
            filter,
            catalogue: &sky.name(),
            limiting_mag: measured.limiting_mag,
            centre: (measured.ra_deg, measured.dec_deg),
        },
        &candidates,
    );
    let draft = format!("{stem}-circular.txt");
    written.push(write(&job.data_dir, draft, ProductKind::Report, circular.as_bytes())?);
    let path = format!("{stem}.json");
    written.push(write(&job.data_dir, path.clone(), ProductKind::Report, &report)?);
    Ok(Some(Answer {
        report: path,
        visit,
        candidates,
    }))
}
