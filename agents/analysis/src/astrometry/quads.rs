//! Codes of four stars (Lang et al. 2010, AJ 139, 1782, section 2.2).
//!
//! The two stars farthest from each other, A and B, span a frame in which A is at (0, 0) and B at (1, 1); the places of
//! the other two, C and D, are the code. A and B are named so that the sum of the x of C and D is at most 1, C and D so
//! that C has the smaller x. A mirrored picture has x and y exchanged.

/// Bins of each of the four numbers of a code; codes lie within -0.21 and 1.21.
const BINS: u32 = 24;
const LOW: f32 = -0.21;
const WIDTH: f32 = 1.42 / BINS as f32;

/// Four stars, in the order A, B, C, D, and their code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quad {
    pub stars: [u32; 4],
    pub code: [f32; 4],
}

/// The quad of four points in a plane; `None` if two of them are one.
pub fn quad(ids: [u32; 4], points: [(f64, f64); 4]) -> Option<Quad> {
    let mut far = (0, 1, -1.0);
    for i in 0..4 {
        for j in i + 1..4 {
            let d = (points[i].0 - points[j].0).powi(2) + (points[i].1 - points[j].1).powi(2);
            if d > far.2 {
                far = (i, j, d);
            }
        }
    }
    let (mut a, mut b) = (far.0, far.1);
    let mut rest = (0..4).filter(|n| *n != a && *n != b);
    let (mut c, mut d) = (rest.next()?, rest.next()?);
    if far.2 <= 0.0 {
        return None;
    }
    let in_frame = |a: usize, b: usize, p: usize| {
        let (dx, dy) = (points[b].0 - points[a].0, points[b].1 - points[a].1);
        let (px, py) = (points[p].0 - points[a].0, points[p].1 - points[a].1);
        // The complex number (1 + i) p / ab.
        let (re, im) = ((px * dx + py * dy) / far.2, (py * dx - px * dy) / far.2);
        (re - im, re + im)
    };
    let (mut cc, mut dd) = (in_frame(a, b, c), in_frame(a, b, d));
    if cc.0 + dd.0 > 1.0 {
        std::mem::swap(&mut a, &mut b);
        (cc, dd) = ((1.0 - cc.0, 1.0 - cc.1), (1.0 - dd.0, 1.0 - dd.1));
    }
    if cc.0 > dd.0 {
        std::mem::swap(&mut c, &mut d);
        std::mem::swap(&mut cc, &mut dd);
    }
    Some(Quad {
        stars: [ids[a], ids[b], ids[c], ids[d]],
        code: [cc.0 as f32, cc.1 as f32, dd.0 as f32, dd.1 as f32],
    })
}

/// Quads of every point with three of its `near` nearest neighbours, each once. `neighbours` gives them, nearest first.
pub fn all(points: &[(f64, f64)], near: usize) -> Vec<Quad> {
    let mut sets = std::collections::BTreeSet::new();
    for (at, p) in points.iter().enumerate() {
        let mut others: Vec<(f64, u32)> = points
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(other, q)| ((p.0 - q.0).powi(2) + (p.1 - q.1).powi(2), other as u32))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.truncate(near);
        sets.extend(with_neighbours(
            at as u32,
            &others.iter().map(|o| o.1).collect::<Vec<_>>(),
        ));
    }
    sets.into_iter()
        .filter_map(|ids| quad(ids, ids.map(|i| points[i as usize])))
        .collect()
}

/// Sorted sets of a star and three of its neighbours.
pub fn with_neighbours(star: u32, neighbours: &[u32]) -> Vec<[u32; 4]> {
    let mut sets = Vec::new();
    let n = neighbours.len();
    for i in 0..n {
        for j in i + 1..n {
            for k in j + 1..n {
                let mut set = [star, neighbours[i], neighbours[j], neighbours[k]];
                set.sort_unstable();
                sets.push(set);
            }
        }
    }
    sets
}

fn bin(value: f32) -> u32 {
    (((value - LOW) / WIDTH).max(0.0) as u32).min(BINS - 1)
}

/// Key of a code's cell.
pub fn key(code: [f32; 4]) -> u32 {
    code.iter().fold(0, |key, value| key * BINS + bin(*value))
}

/// Quads in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    quads: Vec<Quad>,
    keys: Vec<u32>,
}

impl Table {
    pub fn new(mut quads: Vec<Quad>) -> Self {
        let mut keys: Vec<u32> = quads.iter().map(|q| key(q.code)).collect();
        if !keys.is_sorted() {
            quads.sort_by_cached_key(|q| (key(q.code), q.stars));
            keys = quads.iter().map(|q| key(q.code)).collect();
        }
        Self { quads, keys }
    }

    pub fn into_quads(self) -> Vec<Quad> {
        self.quads
    }

    pub fn quads(&self) -> &[Quad] {
        &self.quads
    }

    /// Calls `each` for the quads whose code differs by at most `tolerance` in every number.
    pub fn near(&self, code: [f32; 4], tolerance: f32, mut each: impl FnMut(&Quad)) {
        let range = |n: usize| bin(code[n] - tolerance)..=bin(code[n] + tolerance);
        for a in range(0) {
            for b in range(1) {
                for c in range(2) {
                    let stem = ((a * BINS + b) * BINS + c) * BINS;
                    let (low, high) = (stem + *range(3).start(), stem + *range(3).end());
                    let from = self.keys.partition_point(|k| *k < low);
                    for (quad, key) in self.quads[from..].iter().zip(&self.keys[from..]) {
                        if *key > high {
                            break;
                        }
                        if quad.code.iter().zip(code).all(|(x, y)| (x - y).abs() <= tolerance) {
                            each(quad);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stays_when_the_picture_is_turned_scaled_and_moved_and_its_stars_renamed() {
        let points = [(0.0, 0.0), (10.0, 2.0), (4.0, 3.0), (6.0, -1.0)];
        let first = quad([0, 1, 2, 3], points).unwrap();
        let (sin, cos) = 1.1f64.sin_cos();
        let turned = points.map(|(x, y)| (3.0 * (cos * x - sin * y) + 7.0, 3.0 * (sin * x + cos * y) - 2.0));
        let other = quad([3, 2, 1, 0], [turned[3], turned[2], turned[1], turned[0]]).unwrap();
        assert_eq!(first.stars, other.stars);
        assert!(first.code.iter().zip(other.code).all(|(a, b)| (a - b).abs() < 1e-5));
        let mirrored = quad([0, 1, 2, 3], points.map(|(x, y)| (-x, y))).unwrap();
        assert!(first.code.iter().zip(mirrored.code).any(|(a, b)| (a - b).abs() > 0.01));
        let table = Table::new(vec![first]);
        let mut hits = 0;
        table.near(other.code, 0.01, |_| hits += 1);
        table.near([0.9, 0.9, 0.9, 0.9], 0.01, |_| hits += 10);
        assert_eq!(hits, 1);
        assert_eq!(quad([0, 1, 2, 3], [(1.0, 1.0); 4]), None);
    }
}
