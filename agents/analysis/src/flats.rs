//! Master flats of frames of different brightness, a band of rows at a time.
//!
//! Every frame is brought to the level of the first one, its median without bias, so that what is clipped is what differs in
//! one frame alone: a star of a twilight flat, a cosmic ray.

use crate::{
    levels,
    masters::{self, MasterError, Method},
    overscan::{Layout, TrimmedRows},
};
use alidade_fits::Image;
use std::{ops::Range, path::PathBuf};

/// Median levels without bias of flats that are used, in units: too dark says nothing about the response, too bright is not
/// linear.
pub const USABLE: Range<f64> = 500.0..55_000.0;
/// Rows that are read at once.
const ROWS: usize = 64;

/// Frames that can be used, and what each is multiplied by to be as bright as the first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scaled {
    pub paths: Vec<PathBuf>,
    pub factors: Vec<f32>,
    /// Files that cannot be read, are of another size than the first or the bias, or of a level that is not usable.
    pub left_out: Vec<PathBuf>,
}

/// The median of a frame on disk without its bias.
fn level(rows: &TrimmedRows, bias: Option<&Image>) -> Option<f64> {
    let (mut band, mut failed) = (Vec::new(), false);
    let median = levels::median_of(&mut |each| {
        for first in (0..rows.height()).step_by(ROWS) {
            failed |= rows.rows(first, ROWS, &mut band).is_err();
            match bias {
                Some(bias) => {
                    let own = &bias.pixels[first * rows.width()..];
                    band.iter().zip(own).for_each(|(v, b)| each(v - b));
                }
                None => band.iter().for_each(|v| each(*v)),
            }
        }
    });
    (!failed && median.is_finite()).then_some(median)
}

/// Looks at the levels of flats; `usable` are those that are used.
pub fn scaled(paths: &[PathBuf], layout: &Layout, bias: Option<&Image>, usable: &Range<f64>) -> Scaled {
    let mut found = Scaled::default();
    let mut size = bias.map(|b| (b.width, b.height));
    let mut first = None;
    for path in paths {
        let rows = TrimmedRows::open(path, layout).ok();
        let fitting = rows.filter(|r| size.is_none_or(|s| s == (r.width(), r.height())));
        let level = fitting.as_ref().and_then(|r| level(r, bias));
        match (fitting, level.filter(|l| usable.contains(l))) {
            (Some(rows), Some(level)) => {
                size = Some((rows.width(), rows.height()));
                let first = *first.get_or_insert(level);
                found.factors.push((first / level) as f32);
                found.paths.push(path.clone());
            }
            _ => found.left_out.push(path.clone()),
        }
    }
    found
}

impl Scaled {
    /// What is done with the pixels of each frame.
    pub fn prepare<'a>(
        &'a self,
        bias: Option<&'a Image>,
    ) -> impl Fn(usize, &alidade_fits::Header, usize, &mut [f32]) + Sync + 'a {
        move |number, _, from, pixels| {
            let factor = self.factors[number];
            match bias {
                Some(bias) => {
                    let own = &bias.pixels[from..];
                    pixels.iter_mut().zip(own).for_each(|(p, b)| *p = (*p - b) * factor);
                }
                None => pixels.iter_mut().for_each(|p| *p *= factor),
            }
        }
    }
}

/// Divides by the mean of what has a value; `false`, and nothing done, where that is not above zero.
pub fn to_mean_one(flat: &mut Image) -> bool {
    let (sum, count) = flat
        .pixels
        .iter()
        .filter(|p| p.is_finite())
        .fold((0f64, 0f64), |(sum, count), p| (sum + f64::from(*p), count + 1.0));
    let mean = sum / count;
    if mean.is_nan() || mean <= 0.0 {
        return false;
    }
    flat.pixels.iter_mut().for_each(|p| *p = (f64::from(*p) / mean) as f32);
    true
}

/// A flat of mean 1 of the usable ones among these frames.
pub fn master(paths: &[PathBuf], layout: &Layout, bias: Option<&Image>) -> Result<Image, MasterError> {
    let frames = scaled(paths, layout, bias, &USABLE);
    let (_, mut flat) = masters::combine_files(&frames.paths, Method::Clipped, layout, &frames.prepare(bias))?;
    if to_mean_one(&mut flat) {
        Ok(flat)
    } else {
        Err(MasterError::NoFrames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_fits::Header;

    #[test]
    fn a_flat_has_mean_one_and_the_shape_of_the_response_without_stars_and_useless_frames() {
        let folder = std::env::temp_dir().join(format!("alidade-flats-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let frame = |name: &str, width: usize, level: f32, star: usize| {
            let pixels = (0..width * 40).map(|n| {
                let response = 1.0 + (n % width) as f32 / 100.0;
                1000.0 + level * response + if n == star { 20_000.0 } else { 0.0 }
            });
            let image = Image {
                width,
                height: 40,
                pixels: pixels.collect(),
            };
            let path = folder.join(name);
            std::fs::write(&path, alidade_fits::write_f32(&Header::new(), &image).unwrap()).unwrap();
            path
        };
        let levels = [8000.0, 16_000.0, 12_000.0, 9000.0, 30_000.0];
        let mut paths: Vec<PathBuf> = levels
            .iter()
            .enumerate()
            .map(|(n, level)| frame(&n.to_string(), 10, *level, 50 * n + 7))
            .collect();
        paths.push(frame("dark", 10, 20.0, 0));
        paths.push(frame("burnt", 10, 60_000.0, 0));
        paths.push(frame("other", 12, 9000.0, 0));
        std::fs::write(folder.join("text"), "nothing").unwrap();
        paths.push(folder.join("text"));
        let bias = Image {
            width: 10,
            height: 40,
            pixels: vec![1000.0; 400],
        };
        assert_eq!(
            scaled(&paths, &Layout::default(), Some(&bias), &USABLE).left_out,
            paths[5..]
        );
        let flat = master(&paths, &Layout::default(), Some(&bias)).unwrap();
        let mean: f32 = flat.pixels.iter().sum::<f32>() / 400.0;
        assert!((mean - 1.0).abs() < 1e-5);
        for (n, value) in flat.pixels.iter().enumerate() {
            let expected = (1.0 + (n % 10) as f32 / 100.0) / 1.045;
            assert!((value - expected).abs() < 1e-4, "{n}: {value}, {expected}");
        }
        assert!(matches!(
            master(&paths[5..], &Layout::default(), Some(&bias)),
            Err(MasterError::NoFrames)
        ));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
