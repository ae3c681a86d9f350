//! The pixels about a cosmic ray, and what is put in their place.

use super::{CosmicOptions, REACH, TILE, tile};

/// New pixels of cosmic rays: primaries, their neighbours that are as significant, and those of all these that are
/// nearly so. Only tiles in `dirty` and what touches them can hold any.
pub(super) fn grow(
    primary: &[bool],
    significance: &[f32],
    good: &[bool],
    mask: &[bool],
    (width, height): (usize, usize),
    dirty: &[usize],
    options: &CosmicOptions,
) -> Vec<usize> {
    let across = width.div_ceil(TILE);
    let low = options.sigma_clip * options.sigma_fraction;
    // The peers do not grow along the border.
    let inner = |x: usize, y: usize| x > 0 && y > 0 && x + 1 < width && y + 1 < height;
    let near = |x: usize, y: usize| {
        let reach = usize::from(inner(x, y));
        (y - reach..=y + reach).flat_map(move |v| (x - reach..=x + reach).map(move |u| (u, v)))
    };
    let secondary = |x: usize, y: usize| {
        let at = y * width + x;
        significance[at] > options.sigma_clip && good[at] && near(x, y).any(|(u, v)| primary[v * width + u])
    };
    let mut found = Vec::new();
    for number in dirty {
        let (columns, lines) = tile(*number, across, width, height);
        for y in lines.start.saturating_sub(2)..(lines.end + 2).min(height) {
            for x in columns.start.saturating_sub(2)..(columns.end + 2).min(width) {
                let at = y * width + x;
                if significance[at] > low && good[at] && !mask[at] && near(x, y).any(|(u, v)| secondary(u, v)) {
                    found.push(at);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Replaces cosmic rays by the mean of the good pixels within two; returns the tiles that have to be looked at again.
pub(super) fn replace(
    clean: &mut [f32],
    mask: &[bool],
    good: &[bool],
    (width, height): (usize, usize),
    found: &[usize],
    mut typical: impl FnMut() -> f32,
) -> Vec<usize> {
    let across = width.div_ceil(TILE);
    let mut affected: Vec<usize> = Vec::with_capacity(found.len() * 4);
    for at in found {
        let (x, y) = (at % width, at / width);
        for v in y.saturating_sub(2)..(y + 3).min(height) {
            for u in x.saturating_sub(2)..(x + 3).min(width) {
                if mask[v * width + u] {
                    affected.push(v * width + u);
                }
            }
        }
    }
    affected.sort_unstable();
    affected.dedup();
    let mut tiles = Vec::new();
    for at in affected {
        let (x, y) = (at % width, at / width);
        if x < 2 || y < 2 || x + 2 >= width || y + 2 >= height {
            continue;
        }
        let (mut sum, mut count) = (0f32, 0f32);
        for v in y - 2..=y + 2 {
            for u in x - 2..=x + 2 {
                let other = v * width + u;
                if !mask[other] && good[other] {
                    sum += clean[other];
                    count += 1.0;
                }
            }
        }
        clean[at] = if count > 0.0 { sum / count } else { typical() };
        for v in [y.saturating_sub(REACH), (y + REACH).min(height - 1)] {
            for u in [x.saturating_sub(REACH), (x + REACH).min(width - 1)] {
                tiles.push(v / TILE * across + u / TILE);
            }
        }
    }
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}
