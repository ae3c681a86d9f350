//! Commands that make an image of images: cosmic rays removed, a reference subtracted, compressed.

use super::{CommandError, bad, content, read, write};
use crate::{
    astrometry::Wcs,
    cosmics::{self, CosmicOptions},
    preview,
    subtract::{self, SubtractOptions},
};
use alidade_fits::Checksum;
use serde_json::{Value, json};
use std::path::Path;

/// Removes cosmic rays from a frame that still has its sky; with `mask` also writes where they were.
pub fn clean(path: &Path, options: &CosmicOptions, out: &Path, mask: Option<&Path>) -> Result<Value, CommandError> {
    let (mut header, mut image) = read(path)?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let hit = cosmics::clean(&mut image, options);
    let count = hit.iter().filter(|h| **h).count();
    header.number("NCOSMIC", count, "[pix] replaced as cosmic rays");
    header.history("cosmic rays removed by alidade (L.A.Cosmic, van Dokkum 2001)");
    header.remove("BLANK");
    let failed = |e: alidade_fits::FitsError| CommandError::Failed(e.to_string());
    write(out, &alidade_fits::write_f32(&header, &image).map_err(failed)?)?;
    if let Some(mask) = mask {
        let pixels: Vec<u16> = hit.iter().map(|h| u16::from(*h)).collect();
        let bytes = alidade_fits::write_u16(&header, image.width, image.height, &pixels).map_err(failed)?;
        write(mask, &bytes)?;
    }
    Ok(json!({
        "file": out.display().to_string(),
        "pixels_replaced": count,
        "share": count as f64 / hit.len() as f64,
    }))
}

/// Subtracts a reference from a new frame and lists what changed; with `cutouts` a folder gets a picture of each.
pub fn subtract(
    new: &Path,
    reference: &Path,
    options: &SubtractOptions,
    out: &Path,
    cutouts: Option<&Path>,
) -> Result<Value, CommandError> {
    let (mut header, fresh) = read(new)?;
    let (old_header, old) = read(reference)?;
    for (path, image) in [(new, &fresh), (reference, &old)] {
        if !image.pixels.iter().any(|p| p.is_finite()) {
            return Err(bad(path, "no pixel has a value"));
        }
    }
    let own = Wcs::read(&header);
    // The ratio of the scales, where both headers know; else nearly one.
    let ratio = match (&own, Wcs::read(&old_header)) {
        (Some(a), Some(b)) => a.scale_arcsec() / b.scale_arcsec(),
        _ => 1.0,
    };
    let (fresh, old) = (subtract::searched(fresh, options), subtract::searched(old, options));
    let found = subtract::subtract(&fresh, &old, (0.98 * ratio, 1.02 * ratio), options)
        .map_err(|e| CommandError::BadInput(format!("{}: {e}", new.display())))?;
    let mut rows = Vec::new();
    for (number, change) in found.changes.iter().enumerate() {
        let mut row = serde_json::to_value(change).map_err(|e| CommandError::Failed(e.to_string()))?;
        if let Some(wcs) = &own {
            let (ra, dec) = wcs.sky_of(change.x, change.y);
            row["ra"] = json!(ra);
            row["dec"] = json!(dec);
        }
        if let Some(folder) = cutouts.filter(|_| number < CUTOUTS) {
            let failed = |e: String| CommandError::Failed(format!("{}: {e}", folder.display()));
            std::fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
            for (name, image, rms) in [
                ("new", &fresh.image, fresh.rms),
                ("difference", &found.image, found.rms),
            ] {
                let picture = preview::cutout(image, rms, (change.x, change.y)).map_err(|e| failed(e.to_string()))?;
                write(&folder.join(format!("{:02}-{name}.png", number + 1)), &picture)?;
            }
        }
        rows.push(row);
    }
    header.history("reference subtracted by alidade (Alard and Lupton 1998)");
    header.remove("BLANK");
    let bytes = alidade_fits::write_f32(&header, &found.image).map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    Ok(json!({
        "file": out.display().to_string(),
        "rms": found.rms,
        "stars": found.stars,
        "alignment_rms_px": found.alignment_rms_px,
        "flux_ratio": found.flux_ratio,
        "convolved": found.convolved,
        "count": rows.len(),
        "candidates": rows,
    }))
}

/// Candidates that get pictures.
const CUTOUTS: usize = 20;

/// Writes an image of 16-bit whole numbers tile-compressed by Rice, without loss.
pub fn compress(path: &Path, out: &Path) -> Result<Value, CommandError> {
    let (mut header, image) = read(path)?;
    let whole = |p: &f32| (0.0..=65_535.0).contains(p) && p.fract() == 0.0;
    if !image.pixels.iter().all(whole) {
        return Err(bad(
            path,
            "only whole numbers from 0 to 65535 are compressed, nothing would be lost",
        ));
    }
    header.remove("BLANK");
    let pixels: Vec<u16> = image.pixels.iter().map(|p| *p as u16).collect();
    let bytes = alidade_fits::write_rice_u16(&header, image.width, image.height, &pixels)
        .map_err(|e| CommandError::Failed(e.to_string()))?;
    write(out, &bytes)?;
    let plain = pixels.len() * 2;
    Ok(json!({ "file": out.display().to_string(), "bytes": bytes.len(), "ratio": plain as f64 / bytes.len() as f64 }))
}

/// Whether the checksums of a file hold.
pub fn verify(path: &Path) -> Result<Value, CommandError> {
    let bytes = content(path)?;
    let units = alidade_fits::verify(&bytes).map_err(|e| bad(path, e))?;
    let name = |c: &Checksum| match c {
        Checksum::Absent => "absent",
        Checksum::Right => "right",
        Checksum::Wrong => "wrong",
    };
    if units.contains(&Checksum::Wrong) {
        return Err(bad(
            path,
            "a checksum does not hold: the file was changed after it was written",
        ));
    }
    Ok(json!({ "file": path.display().to_string(), "checksums": units.iter().map(name).collect::<Vec<_>>() }))
}
