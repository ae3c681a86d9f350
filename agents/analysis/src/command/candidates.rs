//! What is new on a frame.

use super::{
    CommandError, PhotometryOptions, bad, open_index,
    photometry::prepared,
    sky::{Searched, described, solve_searched},
    write,
};
use crate::{
    archive::exposure,
    astrometry::{Index, SkyStars, Solution},
    candidates::{self, Circle, Field, Visit},
    extract,
    measure::worth_matching,
    minor_planets,
    photometry::{self, ZeroPoint},
    preview,
};
use alidade_fits::Header;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How candidates are looked for.
#[derive(Debug, Clone)]
pub struct CandidateOptions {
    pub photometry: PhotometryOptions,
    /// Only here.
    pub area: Option<Circle>,
    /// Elements of minor planets, a table or MPCORB.
    pub elements: Option<PathBuf>,
    /// Earlier frames of the same field.
    pub before: Vec<PathBuf>,
    /// Folder for pictures of the candidates.
    pub cutouts: Option<PathBuf>,
}

/// Candidates that get pictures.
const CUTOUTS: usize = 20;

/// A frame with its solution and zero point, or why it has none.
fn calibrated(
    path: &Path,
    index: &Index,
    options: &PhotometryOptions,
) -> Result<(Searched, Solution, ZeroPoint), CommandError> {
    let searched = prepared(path, options)?;
    let (solution, _) = solve_searched(&searched, index, &options.hints, 3).map_err(|e| bad(path, e))?;
    let worth = worth_matching(&searched.sources);
    let matched = solution.stars.iter().map(|(spot, star)| (worth[*spot], *star));
    let zero = photometry::zero_point(matched, exposure(&searched.header).unwrap_or(1.0))
        .ok_or_else(|| bad(path, "fewer than three stars calibrate"))?;
    Ok((searched, solution, zero))
}

fn field<'a>(searched: &'a Searched, solution: &'a Solution, zero: &'a ZeroPoint) -> Field<'a> {
    Field {
        sources: &searched.sources,
        wcs: &solution.wcs,
        rms_arcsec: solution.rms_arcsec,
        zero,
        exposure_s: exposure(&searched.header).unwrap_or(1.0),
        fwhm_px: extract::median_fwhm(&searched.sources).unwrap_or(2.5),
    }
}

/// Middle of the exposure, minutes since any time.
fn minutes(header: &Header) -> Option<f64> {
    let middle = exposure(header).unwrap_or(0.0) / 120.0;
    header.get_f64("MJD-OBS").map(|d| d * 1440.0 + middle)
}

/// What is new, brighter than known, changed since earlier frames, or moving.
pub fn candidates(path: &Path, index: &Path, options: &CandidateOptions) -> Result<Value, CommandError> {
    let index = open_index(index)?;
    let (searched, solution, zero) = calibrated(path, &index, &options.photometry)?;
    let filter = searched.header.get("FILTER").unwrap_or_default();
    let mut before: Vec<Visit> = Vec::new();
    for earlier in &options.before {
        let (searched, solution, zero) = calibrated(earlier, &index, &options.photometry)?;
        let own = searched.header.get("FILTER").unwrap_or_default();
        let field = field(&searched, &solution, &zero);
        let ((ra, dec), radius) = solution.wcs.circle(searched.image.width, searched.image.height);
        let stars = index.cone(ra, dec, radius).map_err(CommandError::Failed)?;
        let visit = Visit {
            minutes: minutes(&searched.header),
            news: candidates::search(&field, options.area, &stars, index.depth(), &before, &own, &[]),
            ..field.visit(&own)
        };
        before.push(visit);
    }
    let ((ra, dec), radius) = solution.wcs.circle(searched.image.width, searched.image.height);
    let mut notes = Vec::new();
    let known = match &options.elements {
        None => Vec::new(),
        Some(table) => {
            let text = std::fs::read_to_string(table).map_err(|e| bad(table, e))?;
            let elements = minor_planets::read(&text).map_err(|e| bad(table, e))?;
            let middle_d = exposure(&searched.header).unwrap_or(0.0) / 172_800.0;
            match searched.header.get_f64("MJD-OBS") {
                Some(mjd) => minor_planets::near(&elements, mjd + 2_400_000.5 + middle_d, ra, dec, radius + 0.1),
                None => {
                    notes.push("MJD-OBS is missing: minor planets were not looked for");
                    Vec::new()
                }
            }
        }
    };
    let stars = index.cone(ra, dec, radius).map_err(CommandError::Failed)?;
    let field = field(&searched, &solution, &zero);
    let mut found = candidates::search(&field, options.area, &stars, index.depth(), &before, &filter, &known);
    let least_arcsec = 1.5 * field.fwhm_px * field.wcs.scale_arcsec();
    let motions = candidates::link(&before, &mut found, minutes(&searched.header), least_arcsec);
    if let Some(folder) = &options.cutouts {
        std::fs::create_dir_all(folder).map_err(|e| CommandError::Failed(format!("{}: {e}", folder.display())))?;
        for (number, candidate) in found.iter().take(CUTOUTS).enumerate() {
            let picture = preview::cutout(&searched.image, searched.rms, (candidate.x, candidate.y));
            let bytes = picture.map_err(|e| CommandError::Failed(e.to_string()))?;
            write(&folder.join(format!("{:02}.png", number + 1)), &bytes)?;
        }
    }
    let limit = photometry::limiting_magnitude(
        &zero,
        searched.rms,
        options.photometry.aperture_px,
        options.photometry.gain_e_adu,
        field.exposure_s,
    );
    Ok(json!({
        "file": path.display().to_string(),
        "filter": filter,
        "obs_date": searched.header.get("DATE-OBS"),
        "catalogue": { "name": index.name(), "depth_mag": index.depth() },
        "solution": described(&solution, &searched.image),
        "zero_point": zero,
        "limiting_mag": limit,
        "limiting_mag_sigma": 5,
        "area": options.area,
        "visits_before": before.len(),
        "known_objects": known.iter().map(|k| k.name.clone()).collect::<Vec<_>>(),
        "notes": notes,
        "count": found.len(),
        "candidates": found,
        "motions": motions,
    }))
}
