//! Matched filter, and groups of pixels above the threshold.

use super::shape::Pixel;
use crate::parallel;
use alidade_fits::Image;

/// Filters by the pyramid 1 2 1 / 2 4 2 / 1 2 1 over its sum, the matched filter of a star of about two pixels width;
/// outside the image, and where there is no value, is zero.
pub(super) fn filtered(image: &Image) -> Vec<f32> {
    let (width, height) = (image.width, image.height);
    /// Rows of a band; the one above and the one below are filtered again for it.
    const BAND: usize = 64;
    let mut out = vec![0f32; width * height];
    let bands = out.chunks_mut(BAND * width).enumerate();
    parallel::each(
        bands,
        width * height,
        Vec::new,
        |across: &mut Vec<f32>, (number, out)| {
            let (bottom, count) = (number * BAND, out.len() / width);
            across.clear();
            across.resize((count + 2) * width, 0.0);
            let mut padded = vec![0f32; width + 2];
            for (line, row) in across.chunks_exact_mut(width).zip(bottom..) {
                // The first line is the row before the band; beyond the image is nothing.
                let Some(y) = row.checked_sub(1).filter(|y| *y < height) else {
                    continue;
                };
                for (to, from) in padded[1..].iter_mut().zip(&image.pixels[y * width..][..width]) {
                    *to = if from.is_finite() { *from } else { 0.0 };
                }
                padded[width + 1] = 0.0;
                for (x, value) in line.iter_mut().enumerate() {
                    *value = (padded[x] + padded[x + 1] + padded[x + 1] + padded[x + 2]) * 0.0625;
                }
            }
            for (n, row) in out.chunks_exact_mut(width).enumerate() {
                let line = |at: usize| &across[at * width..][..width];
                let (above, middle, below) = (line(n), line(n + 1), line(n + 2));
                for (x, value) in row.iter_mut().enumerate() {
                    *value = above[x] + middle[x] + middle[x] + below[x];
                }
            }
        },
    );
    out
}

/// Pixels of one row above the threshold, `end` excluded.
struct Run {
    y: usize,
    start: usize,
    end: usize,
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// Groups of at least `least` pixels above `level`, each joined with its eight neighbours, pixels row by row; `scan`
/// arranges them further.
pub(super) fn groups(image: &Image, smooth: &[f32], level: f32, least: usize) -> Vec<Vec<Pixel>> {
    let width = image.width;
    let mut runs: Vec<Run> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (y, row) in smooth.chunks_exact(width).enumerate() {
        let first = runs.len();
        let mut x = 0;
        let mut touching = above.start;
        while let Some(skip) = row[x..].iter().position(|v| *v > level) {
            let start = x + skip;
            let end = row[start..]
                .iter()
                .position(|v| v.is_nan() || *v <= level)
                .map_or(width, |n| start + n);
            let own = runs.len();
            runs.push(Run { y, start, end });
            parents.push(own);
            while touching < above.end && runs[touching].end < start {
                touching += 1;
            }
            let mut other = touching;
            while other < above.end && runs[other].start <= end {
                let (a, b) = (root(&mut parents, other), root(&mut parents, own));
                parents[a.max(b)] = a.min(b);
                other += 1;
            }
            x = end;
            if x >= width {
                break;
            }
        }
        above = first..runs.len();
    }
    let mut sizes = vec![0usize; runs.len()];
    for (at, run) in runs.iter().enumerate() {
        sizes[root(&mut parents, at)] += run.end - run.start;
    }
    let mut places = vec![usize::MAX; runs.len()];
    let mut groups: Vec<Vec<Pixel>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let root = root(&mut parents, at);
        if sizes[root] < least {
            continue;
        }
        if places[root] == usize::MAX {
            places[root] = groups.len();
            groups.push(Vec::with_capacity(sizes[root]));
        }
        let row = run.y * width;
        groups[places[root]].extend((run.start..run.end).map(|x| {
            let value = image.pixels[row + x];
            let value = if value.is_finite() { value } else { 0.0 };
            Pixel {
                x: x as u32,
                y: run.y as u32,
                smooth: smooth[row + x],
                value,
            }
        }));
    }
    groups
}
