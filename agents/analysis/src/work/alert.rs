//! The frame of an alert: the error circle first, then the whole frame, searched for what is new, brighter or moving.

use super::{Answer, Job, Made, Written, reference::subtracted, wanted, write};
use crate::{
    astrometry::Wcs,
    candidates::{self, Candidate, Circle, Field, Visit},
    circular::{self, Observation},
    measure::{Measured, POINTING_DEG},
    minor_planets,
    overscan::{Section, TrimmedRows},
    photometry::Brightness,
    plot, preview,
    reduce::{Reduction, Wanted, reduce_image},
};
use alidade_fits::Header;
use alidade_model::exposure::ProductKind;
use alidade_observation::messages::ErrorCircle;

/// A zero point that candidates are judged by: largest scatter, and least number of stars.
const MOST_SCATTER_MAG: f64 = 0.3;
const LEAST_CALIBRATORS: usize = 4;
/// Candidates of a frame that get a cut-out.
const CUTOUTS: usize = 5;
/// Side of the part of a frame that is searched first, pixels, at least: fewer stars than it has solve badly.
const LEAST_SIDE_PX: usize = 512;
/// A part with a larger share of the frame than this is not worth a search of its own.
const MOST_SHARE: f64 = 0.5;
/// The part of a frame that holds the error circle wherever the mount may really have pointed, for a frame of this size
/// and header; `None` where it lies outside or is most of the frame.
pub fn part_of(header: &Header, width: usize, height: usize, area: &ErrorCircle) -> Option<Section> {
    part_of_wcs(&Wcs::read(header)?, width, height, area)
}

/// The same by world coordinates.
pub(super) fn part_of_wcs(wcs: &Wcs, width: usize, height: usize, area: &ErrorCircle) -> Option<Section> {
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
    let (header, image) = alidade_fits::read(&raw).ok()?;
    drop(raw);
    let (fitting, _) = made.fit(&header, (image.width, image.height), job);
    let wanted = Wanted {
        part: Some(part),
        no_preview: true,
        ..wanted(job, fitting.mask.as_deref())
    };
    let reduction = reduce_image(header, image, fitting.masters(), &job.options, &wanted).ok()?;
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

/// The report of an alert's frame that cannot be searched says why not.
pub(super) fn unsearched(job: &Job, event: &str, reduction: &Reduction) -> Result<Written, String> {
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
pub(super) fn answer(
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
    let mut candidates = candidates::search(&field, area, &stars, sky.depth(), &job.before, filter, &known);
    let minutes = reduction
        .header
        .get_f64("MJD-OBS")
        .map(|d| d * 1440.0 + exposure_s / 120.0);
    let width_arcsec = fwhm_px * wcs.scale_arcsec();
    let motions = candidates::link(&job.before, &mut candidates, minutes, 1.5 * width_arcsec);
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
    let calibrated = format!("{}/calibrated/{}.fits", job.night, job.frame.exposure);
    let visit = Visit {
        minutes,
        news: candidates.clone(),
        // The frame itself is written when all of it has been reduced.
        calibrated: area.is_none().then_some(calibrated),
        ..field.visit(filter)
    };
    let curve = light_curve(job, event, &visit, &candidates, 2.0 * width_arcsec);
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
    let difference = match area {
        None => subtracted(job, reduction, wcs, zero.mag),
        Some(_) => None,
    };
    let subtraction = difference.map(|d| match d {
        Ok(done) => serde_json::json!(done),
        Err(cause) => serde_json::json!({ "failed": cause }),
    });
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
        "motions": motions,
        "subtraction": subtraction,
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
