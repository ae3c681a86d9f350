//! A light curve as PNG.

use super::{Axes, Seen, font, magnitude};
use crate::{photometry::Brightness, preview};

/// Size of the picture, and the margins of the field in it, pixels.
const WIDTH: usize = 960;
const HEIGHT: usize = 570;
const LEFT: f64 = 105.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 480.0;
/// Pixels of a point of a letter.
const LETTER: usize = 2;

const BLACK: [u8; 3] = [0, 0, 0];
const GREY: [u8; 3] = [210, 210, 210];
const BLUE: [u8; 3] = [20, 60, 170];
const LIMIT: [u8; 3] = [130, 130, 130];

struct Canvas(Vec<u8>);

impl Canvas {
    fn dot(&mut self, x: f64, y: f64, colour: [u8; 3]) {
        let (x, y) = (x.round(), y.round());
        if x >= 0.0 && y >= 0.0 && (x as usize) < WIDTH && (y as usize) < HEIGHT {
            self.0[3 * (y as usize * WIDTH + x as usize)..][..3].copy_from_slice(&colour);
        }
    }

    /// A straight line.
    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: [u8; 3]) {
        let steps = (x2 - x1).abs().max((y2 - y1).abs()).ceil().max(1.0);
        let mut n = 0.0;
        while n <= steps {
            let t = n / steps;
            self.dot(x1 + t * (x2 - x1), y1 + t * (y2 - y1), colour);
            n += 1.0;
        }
    }

    fn disc(&mut self, x: f64, y: f64, radius: i32, colour: [u8; 3]) {
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                if dx * dx + dy * dy <= radius * radius {
                    self.dot(x + f64::from(dx), y + f64::from(dy), colour);
                }
            }
        }
    }

    /// Text whose upper left corner is at a place; upwards from there with `up`.
    fn text(&mut self, (x, y): (f64, f64), text: &str, up: bool) {
        for (px, py) in font::points(text) {
            for n in 0..LETTER * LETTER {
                let (right, down) = ((px * LETTER + n % LETTER) as f64, (py * LETTER + n / LETTER) as f64);
                if up {
                    self.dot(x + down, y - right, BLACK);
                } else {
                    self.dot(x + right, y + down, BLACK);
                }
            }
        }
    }
}

fn wide(text: &str) -> f64 {
    (font::width(text) * LETTER) as f64
}

/// A light curve as PNG: brighter is up; arrows are upper limits. Without points an empty field.
pub fn light_curve_png(title: &str, points: &[Seen]) -> Result<Vec<u8>, png::EncodingError> {
    let mut canvas = Canvas(vec![255; WIDTH * HEIGHT * 3]);
    let axes = Axes::of(points);
    let place = |t: f64, m: f64| {
        let (right, down) = axes.place(t, m);
        (LEFT + (RIGHT - LEFT) * right, TOP + (BOTTOM - TOP) * down)
    };
    for n in 0..=4 {
        let share = f64::from(n) / 4.0;
        let (x, y) = (LEFT + (RIGHT - LEFT) * share, TOP + (BOTTOM - TOP) * share);
        canvas.line((x, TOP), (x, BOTTOM), GREY);
        canvas.line((LEFT, y), (RIGHT, y), GREY);
        let (time, mag) = axes.labels(share);
        let height = (font::HEIGHT * LETTER) as f64;
        canvas.text((x - wide(&time) / 2.0, BOTTOM + 12.0), &time, false);
        canvas.text((LEFT - 12.0 - wide(&mag), y - height / 2.0), &mag, false);
    }
    for (a, b) in [
        ((LEFT, TOP), (RIGHT, TOP)),
        ((LEFT, BOTTOM), (RIGHT, BOTTOM)),
        ((LEFT, TOP), (LEFT, BOTTOM)),
        ((RIGHT, TOP), (RIGHT, BOTTOM)),
    ] {
        canvas.line(a, b, BLACK);
    }
    for (t, seen) in points.iter().filter(|p| super::drawable(p)) {
        let (x, y) = place(axes.time(*t), magnitude(seen));
        match seen {
            Brightness::Detected { mag, error } => {
                let (_, top) = place(axes.time(*t), mag - error);
                let (_, bottom) = place(axes.time(*t), mag + error);
                canvas.line((x, top.max(TOP)), (x, bottom.min(BOTTOM)), BLUE);
                canvas.disc(x, y, 4, BLUE);
            }
            Brightness::Fainter { .. } => {
                canvas.line((x - 6.0, y), (x + 6.0, y), LIMIT);
                canvas.line((x, y), (x, y + 14.0), LIMIT);
                canvas.line((x - 4.0, y + 10.0), (x, y + 14.0), LIMIT);
                canvas.line((x + 4.0, y + 10.0), (x, y + 14.0), LIMIT);
            }
        }
    }
    canvas.text((LEFT, 24.0), title, false);
    let below = format!("{} since the first frame", axes.unit());
    canvas.text(((LEFT + RIGHT - wide(&below)) / 2.0, BOTTOM + 45.0), &below, false);
    canvas.text((14.0, (TOP + BOTTOM + wide("magnitude")) / 2.0), "magnitude", true);
    preview::encoded(&canvas.0, WIDTH, HEIGHT, png::ColorType::Rgb)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture's colours.
    fn pixels(bytes: &[u8]) -> Vec<[u8; 3]> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut out = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut out).unwrap();
        out.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect()
    }

    #[test]
    fn a_png_shows_brighter_points_higher_and_limits_as_arrows() {
        let seen = |mag: f64| Brightness::Detected { mag, error: 0.02 };
        let points = [
            (0.0, seen(14.2)),
            (5.0, seen(15.2)),
            (9.0, Brightness::Fainter { mag: 15.0 }),
            (f64::NAN, seen(3.0)),
        ];
        let picture = pixels(&light_curve_png("GRB 260314A", &points).unwrap());
        let middle = |from: usize, to: usize, colour: [u8; 3]| {
            let column = |n: &usize| (from..to).contains(&(n % WIDTH));
            let all: Vec<usize> = (0..picture.len())
                .filter(column)
                .filter(|n| picture[*n] == colour)
                .collect();
            assert!(!all.is_empty());
            all.iter().map(|n| n / WIDTH).sum::<usize>() / all.len()
        };
        let (bright, faint) = (middle(106, 300, BLUE), middle(400, 700, BLUE));
        assert!(bright + 300 < faint, "{bright} {faint}");
        assert!(middle(750, 930, LIMIT) < faint);
        assert!(
            pixels(&light_curve_png("none", &[]).unwrap())
                .iter()
                .all(|p| *p != BLUE)
        );
    }
}
