//! The first visit of an alert as the reference of those that follow: what changed in the error circle, by subtraction.

use super::{Job, alert::part_of_wcs};
use crate::{
    astrometry::Wcs,
    candidates::Circle,
    overscan::Section,
    reduce::Reduction,
    subtract::{self, Searched, SubtractOptions},
};
use alidade_fits::Image;
use alidade_observation::messages::ErrorCircle;
use serde::Serialize;
use std::path::Path;

/// Larger frames are subtracted in part only: the report of an alert does not wait for seconds, pixels.
const LARGEST: usize = 1 << 21;

/// Something that changed since the reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// ICRS, degrees.
    pub ra: f64,
    pub dec: f64,
    /// Counts of the new frame; negative where the reference was brighter.
    pub flux: f64,
    pub snr: f64,
    /// Magnitude of a source of this flux, whatever its sign.
    pub mag: Option<f64>,
    /// On top of a star of the reference.
    pub on_star: bool,
}

/// What became of a subtraction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subtracted {
    /// Path below the data folder.
    pub reference: String,
    /// Stars of the kernel, and the alignment's scatter in pixels.
    pub stars: usize,
    pub alignment_rms_px: f64,
    /// The best first.
    pub changes: Vec<Changed>,
}

/// The part of an image that holds a circle of the sky, without its sky.
fn cut(image: &Image, part: Option<Section>, options: &SubtractOptions) -> Result<(Searched, Section), String> {
    if part.is_none() && image.pixels.len() > LARGEST {
        return Err("the error circle is most of a large frame, or beside it".into());
    }
    let part = part.unwrap_or(Section::whole(image.width, image.height));
    let image = part.of(image).ok_or("the error circle is not on the frame")?;
    Ok((subtract::searched(image, options), part))
}

/// Subtracts the first visit in the same filter from a solved frame, in and about the error circle; `None` without such a
/// visit, an error where it cannot be done.
pub fn subtracted(job: &Job, reduction: &Reduction, wcs: &Wcs, zero_mag: f64) -> Option<Result<Subtracted, String>> {
    let area = job.frame.area?;
    let of_filter = job.before.iter().filter(|v| v.filter == job.frame.filter);
    let reference = of_filter.filter_map(|v| v.calibrated.clone()).next()?;
    let difference = compared(job, reduction, wcs, &area, &reference, zero_mag);
    Some(difference.map_err(|cause| format!("{reference}: {cause}")))
}

fn compared(
    job: &Job,
    reduction: &Reduction,
    wcs: &Wcs,
    area: &ErrorCircle,
    reference: &str,
    zero_mag: f64,
) -> Result<Subtracted, String> {
    let options = SubtractOptions {
        gain_e_adu: job.options.gain_e_adu,
        saturation: job.options.saturation,
    };
    let (old_header, old) = read(&job.data_dir.join(reference))?;
    let old_wcs = Wcs::read(&old_header).ok_or("it has no world coordinates")?;
    let of = |wcs: &Wcs, image: &Image| part_of_wcs(wcs, image.width, image.height, area);
    let (fresh, part) = cut(&reduction.image, of(wcs, &reduction.image), &options)?;
    let (old, _) = cut(&old, of(&old_wcs, &old), &options)?;
    let ratio = wcs.scale_arcsec() / old_wcs.scale_arcsec();
    let found = subtract::subtract(&fresh, &old, (0.98 * ratio, 1.02 * ratio), &options).map_err(|e| e.to_string())?;
    let circle = Circle {
        ra_deg: area.ra_deg,
        dec_deg: area.dec_deg,
        radius_deg: area.radius_deg,
    };
    let exposure_s = job.frame.exposure_s.max(1e-3);
    let changes = found
        .changes
        .iter()
        .map(|c| {
            let (ra, dec) = wcs.sky_of(c.x + part.x.0 as f64, c.y + part.y.0 as f64);
            let size = zero_mag - 2.5 * (c.flux.abs() / exposure_s).log10();
            Changed {
                ra,
                dec,
                flux: c.flux,
                snr: c.snr,
                mag: size.is_finite().then_some(size),
                on_star: c.on_star,
            }
        })
        .filter(|c| circle.holds(c.ra, c.dec))
        .collect();
    Ok(Subtracted {
        reference: reference.to_owned(),
        stars: found.stars,
        alignment_rms_px: found.alignment_rms_px,
        changes,
    })
}

fn read(path: &Path) -> Result<(alidade_fits::Header, Image), String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    alidade_fits::read(&bytes).map_err(|e| e.to_string())
}
