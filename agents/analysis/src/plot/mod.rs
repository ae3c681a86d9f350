//! Pictures for people: a celestial grid over a preview, and a light curve.

mod font;
mod raster;

pub use raster::light_curve_png;

use crate::{astrometry::Wcs, photometry::Brightness};

/// Distances of grid lines, arcminutes.
const STEPS_ARCMIN: [f64; 14] = [
    0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
];
/// About so many lines across the frame.
const LINES: f64 = 5.0;
/// Points a line is drawn by.
const POINTS: usize = 600;

/// Pixels, in those of the frame, of lines of equal right ascension and declination, and their distance in arcminutes.
/// Lines of right ascension are as far apart, on the sky, as those of declination.
pub fn grid(wcs: &Wcs, width: usize, height: usize) -> (Vec<(f64, f64)>, f64) {
    let ((ra, dec), radius) = wcs.circle(width, height);
    let wanted = 2.0 * radius * 60.0 / LINES;
    let step = STEPS_ARCMIN
        .iter()
        .copied()
        .find(|s| *s >= wanted)
        .unwrap_or(STEPS_ARCMIN[STEPS_ARCMIN.len() - 1]);
    let down = step / 60.0;
    let cosine = dec.to_radians().cos().max(0.02);
    let across = down / cosine;
    let mut points = Vec::new();
    let mut draw = |ra: f64, dec: f64| {
        if dec.abs() <= 90.0
            && let Some((x, y)) = wcs.pixel_of(ra, dec)
            && (0.0..width as f64).contains(&x)
            && (0.0..height as f64).contains(&y)
        {
            points.push((x, y));
        }
    };
    let (half_ra, reach) = ((radius / cosine).min(180.0), radius);
    let along = |n: usize, reach: f64| reach * (2.0 * n as f64 / POINTS as f64 - 1.0);
    let mut line = ((dec - reach) / down).ceil() * down;
    while line <= dec + reach {
        (0..=POINTS).for_each(|n| draw(ra + along(n, half_ra), line));
        line += down;
    }
    let mut line = ((ra - half_ra) / across).ceil() * across;
    while line <= ra + half_ra {
        (0..=POINTS).for_each(|n| draw(line, dec + along(n, reach)));
        line += across;
    }
    (points, step)
}

/// One point of a light curve: minutes and what was seen.
pub type Seen = (f64, Brightness);

fn magnitude(seen: &Brightness) -> f64 {
    match seen {
        Brightness::Detected { mag, .. } | Brightness::Fainter { mag } => *mag,
    }
}

fn drawable(point: &Seen) -> bool {
    point.0.is_finite() && magnitude(&point.1).is_finite()
}

/// What the field of a light curve spans: time in minutes or, over more than a day, in days.
struct Axes {
    days: bool,
    time: (f64, f64),
    /// Brightest, faintest.
    mag: (f64, f64),
}

impl Axes {
    fn of(points: &[Seen]) -> Self {
        let bounds = |of: &dyn Fn(&Seen) -> f64, least: f64| {
            let own = || points.iter().filter(|p| drawable(p)).map(of);
            let (low, high) = (
                own().fold(f64::INFINITY, f64::min),
                own().fold(f64::NEG_INFINITY, f64::max),
            );
            let spare = (0.08 * (high - low)).max(least);
            if low > high {
                (0.0, 1.0)
            } else {
                (low - spare, high + spare)
            }
        };
        let minutes = bounds(&|p| p.0, 0.1);
        let days = minutes.1 - minutes.0 > 1440.0;
        let per = if days { 1440.0 } else { 1.0 };
        Self {
            days,
            time: (minutes.0 / per, minutes.1 / per),
            mag: bounds(&|p| magnitude(&p.1), 0.1),
        }
    }

    fn unit(&self) -> &'static str {
        if self.days { "days" } else { "minutes" }
    }

    /// Minutes in the unit of the axis.
    fn time(&self, minutes: f64) -> f64 {
        if self.days { minutes / 1440.0 } else { minutes }
    }

    /// Shares of the field: to the right, and down.
    fn place(&self, time: f64, mag: f64) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        (share(time, self.time), share(mag, self.mag))
    }

    /// What is written at a share of the field: time, magnitude.
    fn labels(&self, share: f64) -> (String, String) {
        let at = |(low, high): (f64, f64)| low + share * (high - low);
        (format!("{:.1}", at(self.time)), format!("{:.2}", at(self.mag)))
    }
}

/// A light curve as SVG: brighter is up; arrows are upper limits. Empty without points.
pub fn light_curve(title: &str, points: &[Seen]) -> String {
    if !points.iter().any(drawable) {
        return String::new();
    }
    let axes = Axes::of(points);
    let place = |t: f64, m: f64| {
        let (right, down) = axes.place(t, m);
        (70.0 + 550.0 * right, 40.0 + 280.0 * down)
    };
    let safe = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 380\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"380\" fill=\"white\"/>\n\
         <rect x=\"70\" y=\"40\" width=\"550\" height=\"280\" fill=\"none\" stroke=\"black\"/>\n",
    );
    svg.push_str(&format!(
        "<text x=\"70\" y=\"25\" font-size=\"14\">{}</text>\n",
        safe(title)
    ));
    for n in 0..=4 {
        let share = f64::from(n) / 4.0;
        let (time, mag) = axes.labels(share);
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"338\" text-anchor=\"middle\">{time}</text>\
             <text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{mag}</text>\n",
            70.0 + 550.0 * share,
            44.0 + 280.0 * share
        ));
    }
    svg.push_str(&format!(
        "<text x=\"345\" y=\"365\" text-anchor=\"middle\">{} since the first frame</text>\n",
        axes.unit()
    ));
    svg.push_str("<text x=\"18\" y=\"180\" text-anchor=\"middle\" transform=\"rotate(-90 18 180)\">magnitude</text>\n");
    for (t, seen) in points.iter().filter(|p| drawable(p)) {
        let (cx, cy) = place(axes.time(*t), magnitude(seen));
        svg.push_str(&match seen {
            Brightness::Detected { mag, error } => format!(
                "<line x1=\"{cx:.1}\" x2=\"{cx:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"black\"/>\
                 <circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>\n",
                place(0.0, mag - error).1.max(40.0),
                place(0.0, mag + error).1.min(320.0)
            ),
            Brightness::Fainter { .. } => format!(
                "<path d=\"M{:.1} {cy:.1}h10M{cx:.1} {cy:.1}v12m-3 -4l3 4l3 -4\" fill=\"none\" stroke=\"grey\"/>\n",
                cx - 5.0
            ),
        });
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_lines_a_round_number_apart_within_the_frame() {
        for dec in [0.0, 60.0, 89.9] {
            let wcs = Wcs {
                crval: (10.0, dec),
                crpix: (320.0, 240.0),
                cd: [[-5e-4, 0.0], [0.0, 5e-4]],
                sip: None,
            };
            let (points, step) = grid(&wcs, 640, 480);
            assert_eq!(step, 5.0);
            assert!(points.len() > 300, "{dec}: {}", points.len());
            assert!(
                points
                    .iter()
                    .all(|p| (0.0..640.0).contains(&p.0) && (0.0..480.0).contains(&p.1))
            );
        }
    }

    #[test]
    fn a_light_curve_shows_points_and_limits_and_survives_a_wild_title() {
        let points = [
            (0.0, Brightness::Detected { mag: 14.2, error: 0.02 }),
            (3.0, Brightness::Detected { mag: 15.1, error: 0.05 }),
            (9.0, Brightness::Fainter { mag: 17.5 }),
            (f64::NAN, Brightness::Fainter { mag: 17.5 }),
        ];
        let svg = light_curve("<GRB & friends>", &points);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches("<path").count(), 1);
        assert!(svg.contains("&lt;GRB &amp; friends>") && !svg.contains("NaN"));
        assert_eq!(light_curve("none", &[]), "");
    }
}
