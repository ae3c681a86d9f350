//! Commands that need a catalogue: index, plate solution.

use super::{CommandError, bad, number, read, write};
use crate::{
    astrometry::{
        Hint, Index, Orientation, SkyStars, Solution, SolveOptions, Wcs,
        index::{self, Contents},
        net_index,
        solve::solve,
        stars::separation,
    },
    background::Background,
    candidates::{self, Circle, Field},
    extract::{self, Options, Source},
    measure::{record_solution, spots, worth_matching},
    minor_planets,
    photometry::{self, ZeroPoint},
    plot, preview,
};
use alidade_fits::{Header, Image};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Makes an index of a table with the columns ra_deg, dec_deg and mag, or of an index file of astrometry.net's.
pub fn build_index(catalogue: &Path, name: Option<&str>, out: &Path) -> Result<Value, CommandError> {
    let bytes = std::fs::read(catalogue).map_err(|e| bad(catalogue, e))?;
    let stars = if net_index::looks_like(&bytes) {
        net_index::read(&bytes).map_err(|e| bad(catalogue, e))?
    } else {
        let text =
            std::str::from_utf8(&bytes).map_err(|_| bad(catalogue, "neither a table of text nor a FITS file"))?;
        index::read_csv(text).map_err(|e| bad(catalogue, e))?
    };
    drop(bytes);
    let usual = catalogue
        .file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let contents = Contents::new(name.unwrap_or(&usual), stars);
    let bytes = contents.bytes();
    write(out, &bytes)?;
    Ok(json!({
        "file": out.display().to_string(),
        "name": contents.name,
        "stars": contents.stars(),
        "quads": contents.quads(),
        "depth_mag": contents.depth,
        "bytes": bytes.len(),
    }))
}

/// Opens an index; a table of stars is made one on the way, beside nothing.
pub fn open_index(path: &Path) -> Result<Index, CommandError> {
    if path.extension().is_some_and(|e| e == "csv") {
        let made = std::env::temp_dir().join(format!("alidade-index-{}", std::process::id()));
        build_index(path, None, &made)?;
        let index = Index::open(&made).map_err(CommandError::Failed);
        // The open file lives on without its name.
        drop(std::fs::remove_file(&made));
        return index;
    }
    Index::open(path).map_err(CommandError::BadInput)
}

/// What the user knows of a frame.
#[derive(Debug, Clone, Default)]
pub struct SolveHints {
    /// ICRS, degrees.
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    pub radius_deg: Option<f64>,
    /// Arcseconds a pixel, and its relative uncertainty.
    pub scale_arcsec: Option<f64>,
    pub scale_tolerance: f64,
    /// Neither these nor the header are to be believed.
    pub blind: bool,
}

/// Sources of an image that is searched once for several purposes.
pub(super) struct Searched {
    pub header: Header,
    pub image: Image,
    pub rms: f32,
    pub sources: Vec<Source>,
}

/// Reads, takes the sky off and extracts.
pub(super) fn search(path: &Path, options: &Options) -> Result<Searched, CommandError> {
    let (header, mut image) = read(path)?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let sky = Background::of(&image);
    sky.subtract(&mut image);
    let sources = extract::extract(&image, sky.rms, options);
    Ok(Searched {
        header,
        image,
        rms: sky.rms,
        sources,
    })
}

/// What is known of a frame: what the user says, else what its header says.
fn hint_of(header: &Header, hints: &SolveHints, image: &Image) -> Hint {
    if hints.blind {
        return Hint::default();
    }
    let known = Wcs::read(header);
    let centre = known.as_ref().map(|w| w.circle(image.width, image.height).0);
    let from_header = || centre.or_else(|| Some((header.get_f64("RA")?, header.get_f64("DEC")?)));
    let place = match (hints.ra_deg, hints.dec_deg) {
        (Some(ra), Some(dec)) => Some((ra, dec)),
        _ => from_header(),
    };
    let scale = hints
        .scale_arcsec
        .or_else(|| known.as_ref().map(Wcs::scale_arcsec))
        .or_else(|| header.get_f64("PIXSCALE").or_else(|| header.get_f64("SECPIX")));
    let tolerance = if hints.scale_tolerance > 0.0 {
        hints.scale_tolerance
    } else {
        0.02
    };
    Hint {
        position: place
            .filter(|(ra, dec)| ra.is_finite() && dec.abs() <= 90.0)
            .map(|(ra, dec)| (ra.rem_euclid(360.0), dec, hints.radius_deg.unwrap_or(1.0))),
        scale: scale
            .filter(|s| *s > 0.0)
            .map(|s| (s * (1.0 - tolerance), s * (1.0 + tolerance))),
        orientation: None,
    }
}

/// A solution as JSON.
pub(super) fn described(solution: &Solution, image: &Image) -> Value {
    let wcs = &solution.wcs;
    let ((ra, dec), radius) = wcs.circle(image.width, image.height);
    json!({
        "solved": true,
        "ra_deg": ra,
        "dec_deg": dec,
        "radius_deg": radius,
        "scale_arcsec": wcs.scale_arcsec(),
        "rotation_deg": wcs.rotation_deg(),
        "parity": if wcs.east_left() { "east_left" } else { "east_right" },
        "matched": solution.matched,
        "rms_px": number(solution.rms_px),
        "rms_arcsec": number(solution.rms_arcsec),
        "max_px": number(solution.max_px),
        "log_odds": number(solution.log_odds),
        "hypotheses": solution.hypotheses,
        "by": solution.by,
        "sip_order": wcs.sip.as_ref().map(|s| s.order),
        "wcs": wcs,
    })
}

/// Solves a searched frame with its hints, and without them where they lead nowhere.
pub(super) fn solve_searched(
    searched: &Searched,
    index: &Index,
    hints: &SolveHints,
    order: usize,
) -> Result<(Solution, Hint), String> {
    let image = &searched.image;
    let hint = hint_of(&searched.header, hints, image);
    let options = |hint| SolveOptions {
        width: image.width,
        height: image.height,
        hint,
        order,
    };
    let spots = spots(&searched.sources);
    // The header's orientation first: most hypotheses need then not be tried.
    let turned = Wcs::read(&searched.header).filter(|_| !hints.blind).map(|w| Hint {
        orientation: Some(Orientation {
            rotation_deg: w.rotation_deg(),
            tolerance_deg: 2.0,
            east_left: w.east_left(),
        }),
        ..hint
    });
    if let Some(found) = turned.and_then(|t| solve(&spots, index, None, &options(t)).ok()) {
        return Ok((found, hint));
    }
    let first = solve(&spots, index, Some(index), &options(hint));
    let found = match first {
        // What the user says holds; what a header says may be wrong.
        Err(_) if hint != Hint::default() && hints.ra_deg.is_none() => {
            let without = Hint {
                scale: hints.scale_arcsec.and(hint.scale),
                ..Hint::default()
            };
            solve(&spots, index, Some(index), &options(without))
        }
        other => other,
    };
    found.map(|s| (s, hint)).map_err(|e| e.to_string())
}

/// Solves a frame; with `out` writes it with its WCS.
pub fn solve_file(
    path: &Path,
    index: &Path,
    hints: &SolveHints,
    order: usize,
    out: Option<&Path>,
) -> Result<Value, CommandError> {
    let index = open_index(index)?;
    let options = Options {
        threshold_sigma: 4.0,
        ..Options::default()
    };
    let searched = search(path, &options)?;
    let image = &searched.image;
    let solution = match solve_searched(&searched, &index, hints, order) {
        Ok((solution, hint)) => (solution, hint),
        Err(cause) => {
            return Ok(json!({
                "file": path.display().to_string(), "solved": false, "cause": cause, "sources": searched.sources.len(),
            }));
        }
    };
    let (solution, hint) = solution;
    let mut answer = described(&solution, image);
    answer["file"] = json!(path.display().to_string());
    answer["index"] = json!(SkyStars::name(&index));
    answer["sources"] = json!(searched.sources.len());
    if let Some((ra, dec, _)) = hint.position {
        let off = separation(
            ra,
            dec,
            answer["ra_deg"].as_f64().unwrap_or(ra),
            answer["dec_deg"].as_f64().unwrap_or(dec),
        );
        answer["offset_arcmin"] = json!(off * 60.0);
        // The header's own solution put the centre elsewhere.
        let lies = Wcs::read(&searched.header).is_some() && hints.ra_deg.is_none() && off > 1.0;
        answer["header_wcs_wrong"] = json!(lies);
    }
    if let Some(out) = out {
        write_with_wcs(path, &solution, out)?;
        answer["output"] = json!(out.display().to_string());
    }
    Ok(answer)
}

fn write_with_wcs(path: &Path, solution: &Solution, out: &Path) -> Result<(), CommandError> {
    let (mut header, image) = read(path)?;
    record_solution(&mut header, solution, image.width, image.height);
    header.history("plate solution by alidade");
    header.remove("BLANK");
    let bytes = alidade_fits::write_f32(&header, &image).map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)
}

/// Solves with astrometry.net's solve-field, when it is installed; its own indexes are used.
pub fn solve_field(path: &Path, hints: &SolveHints) -> Result<Value, CommandError> {
    let (header, image) = read(path)?;
    let hint = hint_of(&header, hints, &image);
    Ok(match crate::solve_field::solve_file(path, &hint) {
        Err(cause) if cause.contains("cannot be run") => return Err(CommandError::Failed(cause)),
        Err(cause) => json!({
            "file": path.display().to_string(), "engine": "astrometry.net", "solved": false, "cause": cause,
        }),
        Ok(wcs) => {
            let ((ra, dec), radius) = wcs.circle(image.width, image.height);
            json!({
                "file": path.display().to_string(), "engine": "astrometry.net", "solved": true, "ra_deg": ra, "dec_deg": dec,
                "radius_deg": radius, "scale_arcsec": wcs.scale_arcsec(), "rotation_deg": wcs.rotation_deg(),
                "parity": if wcs.east_left() { "east_left" } else { "east_right" }, "wcs": wcs,
            })
        }
    })
}

/// How photometry is done.
#[derive(Debug, Clone)]
pub struct PhotometryOptions {
    pub hints: SolveHints,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    /// Level from which a pixel is saturated; else SATURATE of the header.
    pub saturation: Option<f64>,
    /// ICRS degrees of a star that is followed.
    pub target: Option<(f64, f64)>,
    /// Where its light curve is drawn.
    pub plot: Option<PathBuf>,
}

/// Seconds of exposure a header tells.
fn exposure(header: &Header) -> Option<f64> {
    ["EXPTIME", "EXPOSURE"]
        .iter()
        .find_map(|k| header.get_f64(k))
        .filter(|s| *s > 0.0)
}

/// Zero point, limiting magnitude and air mass term of frames, and the light curve of a target.
pub fn photometry(paths: &[PathBuf], index: &Path, options: &PhotometryOptions) -> Result<Value, CommandError> {
    let index = open_index(index)?;
    let (mut frames, mut line, mut curve) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let (frame, zero, point) = photometry_of(path, &index, options)?;
        if let (Some(zero), Some(air)) = (zero, frame["airmass"].as_f64()) {
            line.push((air, zero));
        }
        curve.extend(point);
        frames.push(frame);
    }
    let mut answer = match frames.len() {
        1 => frames.remove(0),
        _ => json!({ "frames": frames }),
    };
    if let Some((slope, above)) = photometry::extinction(&line) {
        answer["extinction_mag_airmass"] = json!(slope);
        answer["zero_point_above_air"] = json!(above);
    }
    if options.target.is_some() {
        if let Some(out) = &options.plot {
            let points: Vec<plot::Seen> = curve.iter().filter_map(|p| Some((p.minutes?, p.seen?))).collect();
            let first = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
            let since: Vec<plot::Seen> = points.iter().map(|p| (p.0 - first, p.1)).collect();
            if since.is_empty() {
                return Err(CommandError::BadInput(
                    "no frame with MJD-OBS shows the target: nothing to plot".into(),
                ));
            }
            write(out, plot::light_curve("Light curve", &since).as_bytes())?;
        }
        answer["light_curve"] = json!(curve.into_iter().map(|p| p.told).collect::<Vec<_>>());
    }
    Ok(answer)
}

/// A target on one frame.
struct Followed {
    told: Value,
    /// Minutes since any time.
    minutes: Option<f64>,
    seen: Option<photometry::Brightness>,
}

type OneFrame = (Value, Option<f64>, Option<Followed>);

/// Reads, takes the sky off and extracts for photometry.
fn prepared(path: &Path, options: &PhotometryOptions) -> Result<Searched, CommandError> {
    let extraction = Options {
        aperture_px: options.aperture_px,
        gain_e_adu: options.gain_e_adu,
        ..Options::default()
    };
    let (header, mut image) = read(path)?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let sky = Background::of(&image);
    let saturation = options
        .saturation
        .or_else(|| header.get_f64("SATURATE"))
        .unwrap_or(f64::INFINITY);
    sky.subtract(&mut image);
    let extraction = Options {
        saturation: saturation - f64::from(sky.level),
        ..extraction
    };
    let sources = extract::extract(&image, sky.rms, &extraction);
    Ok(Searched {
        header,
        image,
        rms: sky.rms,
        sources,
    })
}

fn photometry_of(path: &Path, index: &Index, options: &PhotometryOptions) -> Result<OneFrame, CommandError> {
    let searched = prepared(path, options)?;
    let seconds = exposure(&searched.header);
    let exposure_s = seconds.unwrap_or(1.0);
    let mut frame = json!({ "file": path.display().to_string(), "exposure_s": seconds, "sources": searched.sources.len(),
        "airmass": searched.header.get_f64("AIRMASS").filter(|a| (1.0..40.0).contains(a)), "catalogue": SkyStars::name(index) });
    let solution = match solve_searched(&searched, index, &options.hints, 3) {
        Ok((solution, _)) => solution,
        Err(cause) => {
            frame["solved"] = json!(false);
            frame["cause"] = json!(cause);
            return Ok((frame, None, None));
        }
    };
    frame["solved"] = json!(true);
    frame["rms_arcsec"] = number(solution.rms_arcsec);
    frame["matched"] = json!(solution.matched);
    let worth = worth_matching(&searched.sources);
    let matched = solution.stars.iter().map(|(spot, star)| (worth[*spot], *star));
    let Some(zero) = photometry::zero_point(matched, exposure_s) else {
        frame["cause"] = json!("fewer than three stars calibrate");
        return Ok((frame, None, None));
    };
    frame["zero_point"] = json!(zero.mag);
    frame["zero_point_counts"] = json!(zero.mag + 2.5 * exposure_s.log10());
    frame["zero_point_error"] = json!(zero.error);
    frame["scatter_mag"] = json!(zero.scatter);
    frame["stars"] = json!(zero.stars);
    let (rms, aperture, gain) = (searched.rms, options.aperture_px, options.gain_e_adu);
    frame["limiting_mag"] = number(photometry::limiting_magnitude(&zero, rms, aperture, gain, exposure_s));
    frame["limiting_mag_sigma"] = json!(5);
    let point = options.target.and_then(|(ra, dec)| {
        let place = solution.wcs.pixel_of(ra, dec)?;
        let found = photometry::forced(&searched.image, place, &zero, rms, aperture, gain, exposure_s);
        let time = searched.header.get("DATE-AVG").or_else(|| searched.header.get("DATE-OBS"));
        Some(Followed {
            told: json!({ "file": path.display().to_string(), "time": time, "x": place.0, "y": place.1, "brightness": found }),
            minutes: searched.header.get_f64("MJD-OBS").map(|d| d * 1440.0 + exposure_s / 120.0),
            seen: found,
        })
    });
    Ok((frame, Some(zero.mag), point))
}

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

/// What is new, brighter than known, or changed since earlier frames.
pub fn candidates(path: &Path, index: &Path, options: &CandidateOptions) -> Result<Value, CommandError> {
    let index = open_index(index)?;
    let (searched, solution, zero) = calibrated(path, &index, &options.photometry)?;
    let filter = searched.header.get("FILTER").unwrap_or_default();
    let mut before = Vec::new();
    for earlier in &options.before {
        let (searched, solution, zero) = calibrated(earlier, &index, &options.photometry)?;
        let own = searched.header.get("FILTER").unwrap_or_default();
        before.push(field(&searched, &solution, &zero).visit(&own));
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
    let found = candidates::search(&field, options.area, &stars, index.depth(), &before, &filter, &known);
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
    }))
}
