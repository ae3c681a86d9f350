//! The order in which a scan row by row strings the pixels of an object together (Lutz 1980, Computer Journal 23, 262).
//!
//! The scan sees an object as pieces until it finds where they touch, and then appends one piece's pixels to the other's.
//! Where the runs of a row begin before those of the row below, that is not the order of the rows. SExtractor's CLEAN takes
//! its measure of a faint detection from some of the first pixels, so whoever wants the same catalogue needs the same order.

use super::shape::Pixel;

/// What the row below has left at a column: where a run of it begins or ends, of an object seen for the first time in that
/// row or for another time.
#[derive(Clone, Copy, PartialEq)]
enum Marker {
    Nothing,
    ObjectBegins,
    RunBegins,
    RunEnds,
    ObjectEnds,
}

/// How it stands with the object below the present column.
#[derive(Clone, Copy, PartialEq)]
enum Below {
    Nothing,
    Object,
    /// Between two runs of one object.
    Between,
    /// All of it has been seen.
    Over,
}

/// Pixels strung together: the first and the last one.
type Chain = Option<(usize, usize)>;

/// An object that the present row has reached: its pixels so far, where its first run of this row begins, and where the last
/// one ended.
struct Open {
    pixels: Chain,
    begins: Option<usize>,
    ends: usize,
}

struct Scan {
    /// Of each pixel the one that follows it.
    next: Vec<Option<usize>>,
    markers: Vec<Marker>,
    /// Objects of the row below, by the column in which they begin.
    kept: Vec<Chain>,
    open: Vec<Open>,
    outer: Vec<Below>,
    below: Below,
    inside: bool,
    /// Pixels of the object that has been over at last.
    whole: Chain,
}

impl Scan {
    fn join(next: &mut [Option<usize>], to: &mut Chain, more: Chain) {
        *to = match (*to, more) {
            (Some((first, last)), Some((head, tail))) => {
                next[last] = Some(head);
                Some((first, tail))
            }
            (one, other) => one.or(other),
        };
    }

    fn pop(&mut self) -> Below {
        self.outer.pop().unwrap_or(Below::Nothing)
    }

    /// Keeps the innermost object for the next row.
    fn keep(&mut self) {
        if let Some(Open {
            pixels,
            begins: Some(begins),
            ..
        }) = self.open.pop()
        {
            self.kept[begins] = pixels;
        }
    }

    fn begin_run(&mut self, x: usize) {
        self.inside = true;
        self.markers[x] = Marker::ObjectBegins;
        match self.open.last_mut() {
            Some(object) if self.below == Below::Object => {
                if object.begins.is_some() {
                    self.markers[x] = Marker::RunBegins;
                } else {
                    object.begins = Some(x);
                }
            }
            _ => {
                self.outer.push(self.below);
                self.open.push(Open {
                    pixels: None,
                    begins: Some(x),
                    ends: x,
                });
                self.below = Below::Over;
            }
        }
    }

    fn end_run(&mut self, x: usize) {
        self.inside = false;
        if self.below == Below::Over {
            self.below = self.pop();
            self.markers[x] = Marker::ObjectEnds;
            self.keep();
        } else {
            self.markers[x] = Marker::RunEnds;
            if let Some(object) = self.open.last_mut() {
                object.ends = x;
            }
        }
    }

    /// Takes in what the row below has left at this column.
    fn meet(&mut self, marker: Marker, x: usize) {
        match marker {
            Marker::Nothing => {}
            Marker::ObjectBegins => {
                self.outer.push(self.below);
                let pixels = self.kept[x].take();
                match self.open.last_mut().filter(|_| self.inside) {
                    Some(object) => Self::join(&mut self.next, &mut object.pixels, pixels),
                    None => {
                        self.outer.push(Below::Over);
                        self.open.push(Open {
                            pixels,
                            begins: None,
                            ends: x,
                        });
                    }
                }
                self.below = Below::Object;
            }
            Marker::RunBegins => {
                if self.inside && self.below == Below::Over {
                    self.pop();
                    if let Some(inner) = self.open.pop()
                        && let Some(object) = self.open.last_mut()
                    {
                        Self::join(&mut self.next, &mut object.pixels, inner.pixels);
                        match (object.begins, inner.begins) {
                            (None, begins) => object.begins = begins,
                            (Some(_), Some(begins)) => self.markers[begins] = Marker::RunBegins,
                            (Some(_), None) => {}
                        }
                    }
                }
                self.below = Below::Object;
            }
            Marker::RunEnds => self.below = Below::Between,
            Marker::ObjectEnds => {
                self.below = self.pop();
                if !self.inside && self.below == Below::Over {
                    match self.open.last() {
                        Some(object) if object.begins.is_some() => {
                            self.markers[object.ends] = Marker::ObjectEnds;
                            self.keep();
                        }
                        _ => self.whole = self.open.pop().and_then(|object| object.pixels),
                    }
                    self.below = self.pop();
                }
            }
        }
    }
}

/// Brings the pixels of one object, which are given row by row, into the order of the scan.
pub(super) fn arrange(pixels: &mut Vec<Pixel>) {
    // Pixels that are not all connected are not all strung together; they stay as they are.
    if let Some(order) = order(pixels) {
        *pixels = order.into_iter().map(|at| pixels[at]).collect();
    }
}

/// The places of connected pixels in the order of the scan; none if they are not all connected.
fn order(pixels: &[Pixel]) -> Option<Vec<usize>> {
    let (bottom, top) = (pixels.first()?.y, pixels.last()?.y);
    let left = pixels.iter().map(|p| p.x).min().unwrap_or(0);
    let width = (pixels.iter().map(|p| p.x).max().unwrap_or(0) - left + 1) as usize;
    let mut scan = Scan {
        next: vec![None; pixels.len()],
        markers: vec![Marker::Nothing; width + 1],
        kept: vec![None; width + 1],
        open: Vec::new(),
        outer: Vec::new(),
        below: Below::Nothing,
        inside: false,
        whole: None,
    };
    let mut at = 0;
    // The row after the last one ends the object.
    for y in bottom..=top + 1 {
        (scan.below, scan.inside) = (Below::Nothing, false);
        for x in 0..=width {
            let marker = std::mem::replace(&mut scan.markers[x], Marker::Nothing);
            let here = pixels.get(at).is_some_and(|p| p.y == y && (p.x - left) as usize == x);
            if here && !scan.inside {
                scan.begin_run(x);
            }
            scan.meet(marker, x);
            if here {
                if let Some(object) = scan.open.last_mut() {
                    Scan::join(&mut scan.next, &mut object.pixels, Some((at, at)));
                }
                at += 1;
            } else if scan.inside {
                scan.end_run(x);
            }
        }
    }
    let mut found = Vec::with_capacity(pixels.len());
    let mut place = scan.whole.map(|(first, _)| first);
    while let Some(one) = place.filter(|_| found.len() < pixels.len()) {
        found.push(one);
        place = scan.next[one];
    }
    (found.len() == pixels.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pixels(rows: &[&str]) -> Vec<Pixel> {
        let row = |(y, row): (usize, &&str)| -> Vec<Pixel> {
            let set = row.bytes().enumerate().filter(|(_, b)| *b == b'#');
            set.map(|(x, _)| Pixel {
                x: x as u32,
                y: y as u32,
                smooth: 1.0,
                value: 1.0,
            })
            .collect()
        };
        rows.iter().enumerate().flat_map(row).collect()
    }

    fn places(rows: &[&str]) -> Vec<(u32, u32)> {
        let all = pixels(rows);
        order(&all)
            .unwrap()
            .into_iter()
            .map(|at| (all[at].x, all[at].y))
            .collect()
    }

    #[test]
    fn a_run_that_begins_before_the_one_below_comes_first() {
        assert_eq!(places(&["##", "##"]), [(0, 0), (1, 0), (0, 1), (1, 1)]);
        assert_eq!(places(&[" ##", "###"]), [(0, 1), (1, 0), (2, 0), (1, 1), (2, 1)]);
        // Touching by a corner alone.
        assert_eq!(places(&[" #", "# "]), [(0, 1), (1, 0)]);
        assert_eq!(places(&["# ", " #"]), [(0, 0), (1, 1)]);
    }

    #[test]
    fn two_arms_are_joined_where_they_meet() {
        assert_eq!(
            places(&["# #", "###"]),
            [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1)],
            "the right arm comes when the scan meets it"
        );
        assert_eq!(places(&["###", "# #", "###"]).len(), 8);
    }

    /// The group of the first pixel in a field of random pixels.
    fn group(field: &[bool], width: usize) -> Vec<Pixel> {
        let height = field.len() / width;
        let mut mine = vec![false; field.len()];
        let mut waiting: Vec<usize> = field.iter().position(|set| *set).into_iter().collect();
        while let Some(at) = waiting.pop() {
            if std::mem::replace(&mut mine[at], true) {
                continue;
            }
            let (x, y) = (at % width, at / width);
            for ny in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for nx in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    if field[ny * width + nx] {
                        waiting.push(ny * width + nx);
                    }
                }
            }
        }
        let pixel = |at: usize| Pixel {
            x: (at % width) as u32,
            y: (at / width) as u32,
            smooth: 1.0,
            value: 1.0,
        };
        (0..field.len()).filter(|at| mine[*at]).map(pixel).collect()
    }

    proptest! {
        #[test]
        fn every_object_is_strung_together_whole(field in prop::collection::vec(prop::bool::weighted(0.55), 144)) {
            let pixels = group(&field, 12);
            let found = order(&pixels).map(|mut found| {
                found.sort_unstable();
                found
            });
            prop_assert_eq!(found, (!pixels.is_empty()).then(|| (0..pixels.len()).collect::<Vec<_>>()));
        }
    }
}
