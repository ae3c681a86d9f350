//! Commands that make masters of many frames.

use super::{CommandError, calibrate::trimmed, number, partial};
use crate::{
    flats, levels,
    masters::{self, AS_THEY_ARE, MasterError, Method},
    overscan::Layout,
};
use alidade_fits::{Header, Rows};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Combines frames of one size, each without its overscan, and writes the master, with the first frame's header. Bands of
/// the frames and of the master are in memory, none of them whole.
pub fn combine(paths: &[PathBuf], method: Method, layout: &Layout, out: &Path) -> Result<Value, CommandError> {
    combine_prepared(paths, method, layout, AS_THEY_ARE, out, |_| {})
}

/// Combines flats: each is first brought to the level of the first one, without the bias where it is given. Frames that
/// cannot be used, unreadable, of another size or without light, are left out and named.
pub fn combine_flats(
    paths: &[PathBuf],
    method: Method,
    layout: &Layout,
    bias: Option<&Path>,
    out: &Path,
) -> Result<Value, CommandError> {
    let bias = bias.map(|p| trimmed(p, layout)).transpose()?.map(|(_, image, _)| image);
    let frames = flats::scaled(paths, layout, bias.as_ref(), &(f64::MIN_POSITIVE..f64::INFINITY));
    if frames.paths.is_empty() {
        return Err(CommandError::BadInput(
            "no frame has a level above zero and the size of the bias".into(),
        ));
    }
    let prepare = frames.prepare(bias.as_ref());
    let mut answer = combine_prepared(&frames.paths, method, layout, &prepare, out, |header| {
        header.number("BIASSUB", if bias.is_some() { "T" } else { "F" }, "free of bias");
    })?;
    answer["left_out"] = json!(
        frames
            .left_out
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
    );
    Ok(answer)
}

fn combine_prepared(
    paths: &[PathBuf],
    method: Method,
    layout: &Layout,
    prepare: &masters::Prepare<'_>,
    out: &Path,
    describe: impl FnOnce(&mut Header),
) -> Result<Value, CommandError> {
    let partial = partial(out);
    let combined = masters::combine_into(paths, method, layout, prepare, &partial, |header| {
        header.number("NCOMBINE", paths.len(), "frames combined");
        header.remove("BLANK");
        describe(header);
        header.history("combined by alidade");
    });
    let failed = |e: &dyn std::fmt::Display| CommandError::Failed(format!("{}: {e}", out.display()));
    let done = combined.map_err(|e| match e {
        MasterError::Unwritten { cause, .. } => failed(&cause),
        other => CommandError::BadInput(other.to_string()),
    });
    let done = done.and_then(|size| {
        let median = median_of_rows(&partial).map_err(|e| failed(&e))?;
        std::fs::rename(&partial, out).map_err(|e| failed(&e))?;
        Ok((size, median))
    });
    if done.is_err() {
        // Nothing more can be done about a remainder that cannot be removed.
        drop(std::fs::remove_file(&partial));
    }
    let ((width, height), median) = done?;
    Ok(json!({
        "file": out.display().to_string(),
        "frames": paths.len(),
        "width": width,
        "height": height,
        "median": number(median),
    }))
}

/// The median of an image on disk, some rows at a time.
fn median_of_rows(path: &Path) -> Result<f64, alidade_fits::RowsError> {
    const ROWS: usize = 64;
    let rows = Rows::open(path)?;
    let (mut band, mut failed) = (Vec::new(), None);
    let median = levels::median_of(&mut |each| {
        for first in (0..rows.height).step_by(ROWS) {
            band.clear();
            match rows.read_into(first, ROWS, &mut band) {
                Ok(()) => band.iter().for_each(|v| each(*v)),
                Err(e) => failed = Some(e),
            }
        }
    });
    failed.map_or(Ok(median), Err)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{read, tests::Folder},
        *,
    };

    #[test]
    fn flats_of_different_brightness_are_brought_to_one_level_and_a_star_in_one_is_clipped() {
        let folder = Folder::new("flats");
        let frames: Vec<PathBuf> = [10_000.0, 14_000.0, 22_000.0, 6000.0, 9000.0]
            .iter()
            .enumerate()
            .map(|(n, level)| {
                let mut pixels = vec![1000.0 + level; 60];
                pixels[10] = 1000.0 + 0.5 * level;
                pixels[20 + n] += 9000.0;
                folder.put(&format!("{n}.fits"), 1.0, 10, &pixels)
            })
            .collect();
        let bias = folder.put("bias.fits", 0.0, 10, &[1000.0; 60]);
        let out = folder.0.join("flat.fits");
        let wrong = folder.put("wrong.fits", 1.0, 6, &[5000.0; 60]);
        let all: Vec<PathBuf> = frames.iter().chain([&wrong]).cloned().collect();
        let layout = Layout::default();
        let answer = combine_flats(&all, Method::Clipped, &layout, Some(&bias), &out).unwrap();
        assert_eq!(answer["left_out"].as_array().unwrap().len(), 1);
        let (header, image) = read(&out).unwrap();
        assert_eq!(header.get("BIASSUB").as_deref(), Some("T"));
        for (n, value) in image.pixels.iter().enumerate() {
            let expected = if n == 10 { 5000.0 } else { 10_000.0 };
            assert!((value - expected).abs() < 0.5, "{n}: {value}");
        }
        assert!(combine_flats(&[wrong], Method::Mean, &layout, Some(&bias), &out).is_err());
    }

    #[test]
    fn masters_are_what_their_method_says() {
        let folder = Folder::new("combine");
        let frames: Vec<PathBuf> = [10.0, 12.0, 11.0, 900.0, 12.0]
            .iter()
            .enumerate()
            .map(|(n, level)| folder.put(&format!("{n}.fits"), 0.0, 2, &[*level; 2]))
            .collect();
        let out = folder.0.join("master.fits");
        let level = |method| {
            combine(&frames, method, &Layout::default(), &out).unwrap();
            read(&out).unwrap().1.pixels[1]
        };
        assert_eq!(level(Method::Median), 12.0);
        assert_eq!(level(Method::Mean), 189.0);
        assert_eq!(level(Method::Clipped), 11.25);
    }
}
