//! Commands that make an image of images: cosmic rays removed.

use super::{CommandError, bad, read, write};
use crate::cosmics::{self, CosmicOptions};
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
