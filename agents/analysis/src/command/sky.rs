//! Commands that need a catalogue: index, plate solution.

use super::{CommandError, bad, number, read, write};
use crate::{
    astrometry::{
        Hint, Index, Orientation, SkyStars, Solution, SolveOptions, Star, Wcs,
        index::{self, Contents},
        net_index,
        solve::solve,
        stars::separation,
    },
    background::Background,
    extract::{self, Options, Source},
    measure::{record_solution, spots},
};
use alidade_fits::{Header, Image};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Where distributions install indexes of astrometry.net.
pub const INSTALLED: &str = "/usr/share/astrometry";

/// The stars of a table, or of an index file of astrometry.net's.
fn stars_of(catalogue: &Path) -> Result<Vec<Star>, CommandError> {
    let bytes = std::fs::read(catalogue).map_err(|e| bad(catalogue, e))?;
    if net_index::looks_like(&bytes) {
        return net_index::read(&bytes).map_err(|e| bad(catalogue, e));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(catalogue, "neither a table of text nor a FITS file"))?;
    index::read_csv(text).map_err(|e| bad(catalogue, e))
}

/// Of the index files in a folder the one with the most stars: they are made of one catalogue, each for fields of another
/// size, and the one for the smallest fields holds all of it.
fn deepest_in(folder: &Path) -> Result<(PathBuf, Vec<Star>), CommandError> {
    let listed = std::fs::read_dir(folder).map_err(|e| bad(folder, e))?;
    let mut files: Vec<PathBuf> = listed.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "fits"));
    files.sort();
    let mut best: Option<(PathBuf, Vec<Star>)> = None;
    let mut last = None;
    for file in files {
        match stars_of(&file) {
            Ok(stars) if best.as_ref().is_none_or(|b| stars.len() > b.1.len()) => best = Some((file, stars)),
            Ok(_) => {}
            Err(cause) => last = Some(cause),
        }
    }
    best.ok_or_else(|| {
        let none = "no index file of astrometry.net with magnitudes; Debian has some in astrometry-data-tycho2-07-littleendian";
        last.unwrap_or_else(|| bad(folder, none))
    })
}

/// Makes an index of a table with the columns ra_deg, dec_deg and mag, or of an index file of astrometry.net's, or of the
/// deepest such file in a folder.
pub fn build_index(catalogue: &Path, name: Option<&str>, out: &Path) -> Result<Value, CommandError> {
    let (catalogue, stars) = if catalogue.is_dir() {
        deepest_in(catalogue)?
    } else {
        (catalogue.to_owned(), stars_of(catalogue)?)
    };
    let usual = catalogue
        .file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let contents = Contents::new(name.unwrap_or(&usual), stars);
    let bytes = contents.bytes();
    write(out, &bytes)?;
    Ok(json!({
        "file": out.display().to_string(),
        "catalogue": catalogue.display().to_string(),
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
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let made = std::env::temp_dir().join(format!("alidade-index-{}-{number}", std::process::id()));
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
