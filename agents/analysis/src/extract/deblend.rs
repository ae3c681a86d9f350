//! Splitting of a group into sources: branches of the tree of thresholds (Bertin & Arnouts 1996, section 5).
//!
//! The group is cut at levels spaced exponentially between the threshold and its peak. A branch counts as a source when
//! it holds a given share of the light of the whole above its own level, and a sister does too. Pixels of no branch are
//! given to one of them by chance, in proportion to the light expected there; the chance is seeded by the place, so that
//! the same frame always gives the same catalogue.

use super::{
    scan,
    shape::{Pixel, Shape},
};
use std::collections::BTreeSet;

/// Pixels that make a branch, unless fewer make a detection.
pub(super) const LEAST_PX: usize = 3;

/// One branch: indices of its pixels, its level, and its children one level up.
struct Node {
    pixels: Vec<usize>,
    level: f64,
    flux: f64,
    sons: Vec<usize>,
    whole: bool,
}

impl Node {
    fn new(pixels: Vec<usize>, level: f64, group: &[Pixel]) -> Self {
        let flux = pixels.iter().map(|p| f64::from(group[*p].smooth)).sum();
        Self {
            pixels,
            level,
            flux,
            sons: Vec::new(),
            whole: true,
        }
    }

    fn light(&self) -> f64 {
        self.flux - self.level * self.pixels.len() as f64
    }
}

/// Places of a group's pixels in its bounding box.
struct Frame {
    left: usize,
    bottom: usize,
    width: usize,
    index: Vec<usize>,
}

impl Frame {
    fn of(group: &[Pixel]) -> Self {
        let bounds = |of: fn(&Pixel) -> u32| {
            let low = group.iter().map(of).min().unwrap_or(0) as usize;
            (low, group.iter().map(of).max().unwrap_or(0) as usize - low + 1)
        };
        let ((left, width), (bottom, height)) = (bounds(|p| p.x), bounds(|p| p.y));
        // A border of one pixel saves the test of the neighbours' existence.
        let width = width + 2;
        let mut frame = Self {
            left,
            bottom,
            width,
            index: vec![usize::MAX; width * (height + 2)],
        };
        for (at, pixel) in group.iter().enumerate() {
            let place = frame.place(pixel);
            frame.index[place] = at;
        }
        frame
    }

    fn place(&self, pixel: &Pixel) -> usize {
        (pixel.y as usize - self.bottom + 1) * self.width + pixel.x as usize - self.left + 1
    }

    fn neighbours(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let w = self.width;
        [
            place - w - 1,
            place - w,
            place - w + 1,
            place - 1,
            place + 1,
            place + w - 1,
            place + w,
            place + w + 1,
        ]
        .into_iter()
        .map(|p| self.index[p])
        .filter(|at| *at != usize::MAX)
    }

    /// Whether more than one pixel is higher than its neighbours; equal ones count for the first.
    fn several_peaks(&self, group: &[Pixel]) -> bool {
        let peak = |(at, pixel): (usize, &Pixel)| {
            self.neighbours(self.place(pixel))
                .all(|n| group[n].smooth < pixel.smooth || (group[n].smooth == pixel.smooth && n > at))
        };
        group.iter().enumerate().filter(|p| peak(*p)).take(2).count() > 1
    }

    /// Connected parts above `level` of some pixels, of at least `least` pixels each.
    fn parts(&self, group: &[Pixel], of: &[usize], level: f64, least: usize, seen: &mut [bool]) -> Vec<Vec<usize>> {
        let mut parts = Vec::new();
        let above = |at: usize| f64::from(group[at].smooth) > level;
        for start in of {
            if seen[*start] || !above(*start) {
                continue;
            }
            let mut part = vec![*start];
            seen[*start] = true;
            let mut next = 0;
            while let Some(at) = part.get(next).copied() {
                next += 1;
                for near in self.neighbours(self.place(&group[at])) {
                    if !seen[near] && above(near) {
                        seen[near] = true;
                        part.push(near);
                    }
                }
            }
            if part.len() >= least {
                parts.push(part);
            }
        }
        for at in of {
            seen[*at] = false;
        }
        parts
    }
}

/// Pixels of a part, and the centre it had before it was given pixels of no branch; none for a group that is whole.
pub(super) type Part = (Vec<Pixel>, Option<(f64, f64)>);

/// Parts of a group with the centre each had before it was given pixels of no branch; the group alone if it is one.
pub(super) fn split(group: Vec<Pixel>, threshold: f64, levels: usize, contrast: f64, least: usize) -> Vec<Part> {
    let frame = Frame::of(&group);
    if levels < 2 || contrast >= 1.0 || !frame.several_peaks(&group) {
        return vec![(group, None)];
    }
    let branches = branches(&group, &frame, threshold, levels, contrast, least);
    if branches.len() < 2 {
        return vec![(group, None)];
    }
    gather(&group, &branches, threshold)
}

/// The branches that count as sources, with their levels.
fn branches(
    group: &[Pixel],
    frame: &Frame,
    threshold: f64,
    levels: usize,
    contrast: f64,
    least: usize,
) -> Vec<(Vec<usize>, f64)> {
    let peak = group.iter().map(|p| f64::from(p.smooth)).fold(f64::MIN, f64::max);
    let mut tree = vec![vec![Node::new((0..group.len()).collect(), threshold, group)]];
    let enough = tree[0][0].flux * contrast;
    let mut seen = vec![false; group.len()];
    for step in 1..levels {
        let level = threshold * (peak / threshold).powf(step as f64 / levels as f64);
        let mut next = Vec::new();
        for parent in tree.last_mut().into_iter().flatten() {
            for part in frame.parts(group, &parent.pixels, level, least, &mut seen) {
                parent.sons.push(next.len());
                next.push(Node::new(part, level, group));
            }
        }
        if next.is_empty() {
            break;
        }
        tree.push(next);
    }
    let mut found = Vec::new();
    for step in (0..tree.len() - 1).rev() {
        let (lower, upper) = tree.split_at_mut(step + 1);
        let sons = &mut upper[0];
        for node in &mut lower[step] {
            node.whole = node.sons.iter().all(|s| sons[*s].whole);
            if node.sons.iter().filter(|s| sons[**s].light() > enough).count() > 1 {
                for son in &node.sons {
                    if sons[*son].whole && sons[*son].light() > enough {
                        found.push((sons[*son].pixels.clone(), sons[*son].level));
                    }
                }
                node.whole = false;
            }
        }
    }
    found
}

/// Gives the pixels of no branch to the branches.
fn gather(group: &[Pixel], branches: &[(Vec<usize>, f64)], threshold: f64) -> Vec<Part> {
    let taken: BTreeSet<usize> = branches.iter().flat_map(|b| b.0.iter().copied()).collect();
    let mut parts: Vec<Vec<Pixel>> = Vec::new();
    let mut profiles = Vec::new();
    for (indices, level) in branches {
        let mut indices = indices.clone();
        indices.sort_unstable_by_key(|at| (group[*at].y, group[*at].x));
        let mut pixels: Vec<Pixel> = indices.iter().map(|at| group[*at]).collect();
        scan::arrange(&mut pixels);
        let shape = Shape::of(&pixels, *level, None);
        let exponent = shape.count as f64 / (std::f64::consts::TAU * shape.truncation * shape.major * shape.minor);
        let most = 4.0 * shape.smooth_peak;
        let amplitude = if exponent < 70.0 {
            (threshold * exponent.exp()).min(most)
        } else {
            most
        };
        profiles.push((shape, amplitude));
        parts.push(pixels);
    }
    let mut shares = vec![0f64; parts.len()];
    for (at, pixel) in group.iter().enumerate() {
        if taken.contains(&at) {
            continue;
        }
        let (mut total, mut nearest, mut closest) = (0.0, f64::INFINITY, 0);
        for (branch, (shape, amplitude)) in profiles.iter().enumerate() {
            let distance = 0.5 * shape.reach(f64::from(pixel.x), f64::from(pixel.y)) / shape.truncation;
            total += if distance < 70.0 {
                amplitude * (-distance).exp()
            } else {
                0.0
            };
            shares[branch] = total;
            if distance < nearest {
                (nearest, closest) = (distance, branch);
            }
        }
        let drawn = total * chance(pixel.x, pixel.y);
        let owner = if total > 1e-31 {
            shares.iter().position(|s| *s >= drawn).unwrap_or(closest)
        } else {
            closest
        };
        parts[owner].push(*pixel);
    }
    parts
        .into_iter()
        .zip(&profiles)
        .map(|(part, (shape, _))| (part, Some((shape.x, shape.y))))
        .collect()
}

/// A number from 0 to 1 that depends on the place alone (the mixing steps of SplitMix64, Steele et al. 2014).
fn chance(x: u32, y: u32) -> f64 {
    let mut z = (u64::from(y) << 32 | u64::from(x)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
