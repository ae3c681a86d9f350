//! Masters of many large frames, a band of rows at a time.
//!
//! The values of a pixel in all frames are put in order by an exchange network (Batcher 1968, AFIPS 32, 307), for many
//! pixels at once: the same steps whatever the values, which is what processors do well.

use crate::overscan::{Layout, TrimError, TrimmedRows};
use alidade_fits::{Bands, BandsError, Header, Image};
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

/// How the values of a pixel become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Mean of what lies within four robust scatters of the median.
    Clipped,
    Median,
    Mean,
}

/// Deviations beyond this many scatters are clipped.
pub const CLIP: f32 = 4.0;
/// Median absolute deviation to standard deviation of a normal distribution.
pub const MAD: f32 = 1.4826;
/// Least median absolute deviation: three equal values must not clip everything else.
const LEAST_MAD: f32 = 0.5;
/// Pixels that are worked on at once.
const LANES: usize = 32;
/// Memory for the bands of all frames of one worker, pixels: what fits the processor's cache.
const BAND_PIXELS: usize = 1 << 19;

/// Why there is no master.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    #[error("no frames to combine")]
    NoFrames,
    #[error("{path}: {cause}")]
    Frame { path: PathBuf, cause: TrimError },
    #[error("{path}: {cause}")]
    Unwritten { path: PathBuf, cause: BandsError },
    #[error("{path}: {width} x {height}, the first frame is {first_width} x {first_height}")]
    Size {
        path: PathBuf,
        width: usize,
        height: usize,
        first_width: usize,
        first_height: usize,
    },
}

/// Exchanges that put any values in order.
fn network(count: usize) -> Vec<(usize, usize)> {
    let mut steps = Vec::new();
    let size = count.next_power_of_two();
    let mut p = 1;
    while p < size {
        let mut k = p;
        while k >= 1 {
            for j in (k % p..size - k).step_by(2 * k) {
                for i in 0..k.min(size - j - k) {
                    let (a, b) = (i + j, i + j + k);
                    // Places beyond the end hold infinity, which no exchange moves.
                    if a / (2 * p) == b / (2 * p) && b < count {
                        steps.push((a, b));
                    }
                }
            }
            k /= 2;
        }
        p *= 2;
    }
    steps
}

type Lane = [f32; LANES];

fn exchange(values: &mut [Lane], steps: &[(usize, usize)]) {
    for (a, b) in steps {
        let (low, high) = values.split_at_mut(*b);
        for (x, y) in low[*a].iter_mut().zip(high[0].iter_mut()) {
            let (small, large) = if *x < *y { (*x, *y) } else { (*y, *x) };
            *x = small;
            *y = large;
        }
    }
}

/// Median of ordered values.
fn middle(values: &[Lane]) -> Lane {
    let half = values.len() / 2;
    let mut out = values[half];
    if values.len().is_multiple_of(2) {
        out.iter_mut()
            .zip(values[half - 1])
            .for_each(|(o, v)| *o = (*o + v) / 2.0);
    }
    out
}

/// What one worker needs.
struct Desk {
    values: Vec<Lane>,
    apart: Vec<Lane>,
}

impl Desk {
    fn new(frames: usize) -> Self {
        Self {
            values: vec![[0.0; LANES]; frames],
            apart: vec![[0.0; LANES]; frames],
        }
    }
}

/// Combines one band: the same pixels of all frames. Pixels without a value are left out; where none has one, none.
pub fn combine_band(frames: &[&[f32]], out: &mut [f32], method: Method) {
    let steps = network(frames.len());
    let size = out.len();
    let chunks = out.chunks_mut(LANES * 64).enumerate();
    let desk = || Desk::new(frames.len());
    crate::parallel::each(chunks, size, desk, |desk, (number, out)| {
        combine_piece(frames, number * LANES * 64, out, desk, &steps, method);
    });
}

/// The pixels of `out`, which begins at pixel `start` of the frames.
fn combine_piece(
    frames: &[&[f32]],
    start: usize,
    out: &mut [f32],
    desk: &mut Desk,
    steps: &[(usize, usize)],
    method: Method,
) {
    for (n, lane) in out.chunks_mut(LANES).enumerate() {
        let from = start + n * LANES;
        let mut missing = false;
        for (values, frame) in desk.values.iter_mut().zip(frames) {
            let part = &frame[from..from + lane.len()];
            values[..lane.len()].copy_from_slice(part);
            missing |= part.iter().any(|v| v.is_nan());
        }
        if missing {
            for (at, value) in lane.iter_mut().enumerate() {
                *value = alone(&desk.values, at, method);
            }
        } else {
            together(desk, steps, lane, method);
        }
    }
}

/// All pixels of a lane at once.
fn together(desk: &mut Desk, steps: &[(usize, usize)], out: &mut [f32], method: Method) {
    let count = desk.values.len() as f64;
    let mut result = [0f32; LANES];
    match method {
        Method::Mean => {
            for (n, value) in result.iter_mut().enumerate() {
                *value = (desk.values.iter().map(|v| f64::from(v[n])).sum::<f64>() / count) as f32;
            }
        }
        Method::Median => {
            exchange(&mut desk.values, steps);
            result = middle(&desk.values);
        }
        Method::Clipped => {
            // In the order of the frames, for a sum that does not depend on the clipping's own order.
            desk.apart.copy_from_slice(&desk.values);
            exchange(&mut desk.apart, steps);
            let centre = middle(&desk.apart);
            for (apart, values) in desk.apart.iter_mut().zip(&desk.values) {
                for n in 0..LANES {
                    apart[n] = (values[n] - centre[n]).abs();
                }
            }
            exchange(&mut desk.apart, steps);
            let reach = middle(&desk.apart).map(|m| CLIP * MAD * if m > LEAST_MAD { m } else { LEAST_MAD });
            let (mut sums, mut counts) = ([0f64; LANES], [0f64; LANES]);
            for values in &desk.values {
                for n in 0..LANES {
                    let kept = (values[n] - centre[n]).abs() <= reach[n];
                    sums[n] += if kept { f64::from(values[n]) } else { 0.0 };
                    counts[n] += if kept { 1.0 } else { 0.0 };
                }
            }
            for n in 0..LANES {
                result[n] = (sums[n] / if counts[n] > 1.0 { counts[n] } else { 1.0 }) as f32;
            }
        }
    }
    out.copy_from_slice(&result[..out.len()]);
}

/// One pixel, of which some frames have no value.
fn alone(values: &[Lane], at: usize, method: Method) -> f32 {
    let mut kept: Vec<f32> = values.iter().map(|v| v[at]).filter(|v| v.is_finite()).collect();
    if kept.is_empty() {
        return f32::NAN;
    }
    let mean = |values: &[f32]| (values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64) as f32;
    if method == Method::Mean {
        return mean(&kept);
    }
    let centre = crate::calibrate::median(&mut kept.clone());
    if method == Method::Median {
        return centre;
    }
    let mut apart: Vec<f32> = kept.iter().map(|v| (v - centre).abs()).collect();
    let reach = CLIP * MAD * crate::calibrate::median(&mut apart).max(LEAST_MAD);
    kept.retain(|v| (v - centre).abs() <= reach);
    mean(&kept)
}

/// Frames of one size, open, without their overscan.
struct Opened<'a> {
    paths: &'a [PathBuf],
    frames: Vec<TrimmedRows>,
    width: usize,
    height: usize,
    /// Rows of a band.
    rows: usize,
    steps: Vec<(usize, usize)>,
}

/// What one worker holds: the band of every frame.
struct Bench {
    desk: Desk,
    bands: Vec<Vec<f32>>,
    out: Vec<f32>,
}

impl<'a> Opened<'a> {
    fn new(paths: &'a [PathBuf], layout: &Layout) -> Result<Self, MasterError> {
        let wrong = |path: &Path, cause| MasterError::Frame {
            path: path.into(),
            cause,
        };
        let frames: Vec<TrimmedRows> = paths
            .iter()
            .map(|p| TrimmedRows::open(p, layout).map_err(|e| wrong(p, e)))
            .collect::<Result<_, _>>()?;
        let first = frames.first().ok_or(MasterError::NoFrames)?;
        let (width, height) = (first.width(), first.height());
        for (frame, path) in frames.iter().zip(paths) {
            if (frame.width(), frame.height()) != (width, height) {
                return Err(MasterError::Size {
                    path: path.clone(),
                    width: frame.width(),
                    height: frame.height(),
                    first_width: width,
                    first_height: height,
                });
            }
        }
        Ok(Self {
            rows: (BAND_PIXELS / (width * frames.len()).max(1)).clamp(1, height),
            steps: network(frames.len()),
            paths,
            frames,
            width,
            height,
        })
    }

    fn bench(&self) -> Bench {
        Bench {
            desk: Desk::new(self.frames.len()),
            bands: vec![Vec::new(); self.frames.len()],
            out: vec![0.0; self.rows * self.width],
        }
    }

    /// Combines the rows from `first` on that make up `out`.
    fn band(
        &self,
        desk: &mut Desk,
        bands: &mut [Vec<f32>],
        first: usize,
        out: &mut [f32],
        method: Method,
        prepare: &Prepare<'_>,
    ) -> Result<(), MasterError> {
        let all = self.frames.iter().zip(bands.iter_mut()).zip(self.paths);
        for (number, ((frame, band), path)) in all.enumerate() {
            frame
                .rows(first, out.len() / self.width, band)
                .map_err(|e| MasterError::Frame {
                    path: path.clone(),
                    cause: e.into(),
                })?;
            prepare(number, frame.header(), first * self.width, band);
        }
        let slices: Vec<&[f32]> = bands.iter().map(Vec::as_slice).collect();
        combine_piece(&slices, 0, out, desk, &self.steps, method);
        Ok(())
    }
}

/// Changes pixels of a frame on the way: called with its place in the list, its header and the first pixel's place in the
/// trimmed frame.
pub type Prepare<'a> = dyn Fn(usize, &Header, usize, &mut [f32]) + Sync + 'a;

/// Leaves the pixels as they are.
pub const AS_THEY_ARE: &Prepare<'static> = &|_, _, _, _| {};

/// Keeps the first failure of several workers.
fn note(failed: &Mutex<Option<MasterError>>, outcome: Result<(), MasterError>) {
    if let (Err(cause), Ok(mut failed)) = (outcome, failed.lock()) {
        failed.get_or_insert(cause);
    }
}

/// Combines files of one size, each without its overscan and changed by `prepare`. Holds a band of every frame in memory,
/// never a whole one. The header is the first one's.
pub fn combine_files(
    paths: &[PathBuf],
    method: Method,
    layout: &Layout,
    prepare: &Prepare<'_>,
) -> Result<(Header, Image), MasterError> {
    let opened = Opened::new(paths, layout)?;
    let (width, height) = (opened.width, opened.height);
    let mut pixels = vec![0f32; width * height];
    // Every worker has a band of its own: one reads while another one sorts.
    let failed = Mutex::new(None);
    let bands = pixels.chunks_mut(opened.rows * width).enumerate();
    crate::parallel::each(
        bands,
        width * height,
        || opened.bench(),
        |bench, (number, out)| {
            let first = number * opened.rows;
            note(
                &failed,
                opened.band(&mut bench.desk, &mut bench.bands, first, out, method, prepare),
            );
        },
    );
    match failed.into_inner() {
        Ok(Some(failed)) => Err(failed),
        _ => Ok((opened.frames[0].trimmed_header(), Image { width, height, pixels })),
    }
}

/// The same into a file, of which no more than bands are in memory either; `describe` changes the first frame's header.
/// Width and height of the master.
pub fn combine_into(
    paths: &[PathBuf],
    method: Method,
    layout: &Layout,
    prepare: &Prepare<'_>,
    out: &Path,
    describe: impl FnOnce(&mut Header),
) -> Result<(usize, usize), MasterError> {
    let opened = Opened::new(paths, layout)?;
    let (width, height) = (opened.width, opened.height);
    let mut header = opened.frames[0].trimmed_header();
    describe(&mut header);
    let unwritten = |cause: BandsError| MasterError::Unwritten {
        path: out.into(),
        cause,
    };
    let file = Bands::create(out, &header, width, height).map_err(unwritten)?;
    let failed = Mutex::new(None);
    let bands = (0..height).step_by(opened.rows);
    crate::parallel::each(
        bands,
        width * height,
        || opened.bench(),
        |bench, first| {
            let rows = opened.rows.min(height - first);
            let Bench { desk, bands, out } = bench;
            let out = &mut out[..rows * width];
            let done = opened
                .band(desk, bands, first, out, method, prepare)
                .and_then(|()| file.write(first, out).map_err(unwritten));
            note(&failed, done);
        },
    );
    if let Ok(Some(failed)) = failed.into_inner() {
        return Err(failed);
    }
    file.finish().map_err(unwritten)?;
    Ok((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, one pixel after the other.
    fn plain(column: &[f32], method: Method) -> f32 {
        let lanes: Vec<Lane> = column.iter().map(|v| [*v; LANES]).collect();
        alone(&lanes, 0, method)
    }

    proptest! {
        #[test]
        fn a_network_orders_and_all_ways_give_the_same(
            frames in proptest::collection::vec(proptest::collection::vec(0f32..60_000.0, 70), 1..21),
        ) {
            let slices: Vec<&[f32]> = frames.iter().map(Vec::as_slice).collect();
            for method in [Method::Clipped, Method::Median, Method::Mean] {
                let mut out = vec![0.0; 70];
                combine_band(&slices, &mut out, method);
                for (at, value) in out.iter().enumerate() {
                    let column: Vec<f32> = frames.iter().map(|f| f[at]).collect();
                    prop_assert_eq!(*value, plain(&column, method));
                }
            }
        }
    }

    #[test]
    fn a_missing_value_is_left_out() {
        let frames = [[1.0, f32::NAN], [3.0, f32::NAN], [f32::NAN, f32::NAN]];
        let slices: Vec<&[f32]> = frames.iter().map(<[f32; 2]>::as_slice).collect();
        let mut out = [0.0; 2];
        combine_band(&slices, &mut out, Method::Mean);
        assert!(out[0] == 2.0 && out[1].is_nan());
    }

    #[test]
    fn files_of_two_sizes_make_no_master_and_say_which() {
        let folder = std::env::temp_dir().join(format!("alidade-masters-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, width: usize| {
            let path = folder.join(name);
            let pixels: Vec<u16> = (0..width as u16 * 4).collect();
            let bytes = alidade_fits::write_u16(&Header::new(), width, 4, &pixels).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (a, b) = (file("a", 6), file("b", 7));
        let two = combine_files(
            &[a.clone(), a.clone()],
            Method::Clipped,
            &Layout::default(),
            AS_THEY_ARE,
        )
        .unwrap()
        .1;
        assert_eq!(two.pixels, (0..24).map(|n| n as f32).collect::<Vec<_>>());
        let error = combine_files(&[a, b], Method::Clipped, &Layout::default(), AS_THEY_ARE)
            .unwrap_err()
            .to_string();
        assert!(error.contains("7 x 4"), "{error}");
        assert!(matches!(
            combine_files(&[], Method::Mean, &Layout::default(), AS_THEY_ARE),
            Err(MasterError::NoFrames)
        ));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
