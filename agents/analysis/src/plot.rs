//! Pictures for people: a celestial grid over a preview, and a light curve.

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

/// A light curve as SVG: brighter is up; arrows are upper limits. Empty without points.
pub fn light_curve(title: &str, points: &[Seen]) -> String {
    let magnitude = |b: &Brightness| match b {
        Brightness::Detected { mag, .. } | Brightness::Fainter { mag } => *mag,
    };
    let finite: Vec<&Seen> = points
        .iter()
        .filter(|p| p.0.is_finite() && magnitude(&p.1).is_finite())
        .collect();
    let bounds = |of: &dyn Fn(&Seen) -> f64, least: f64| {
        let low = finite.iter().map(|p| of(p)).fold(f64::INFINITY, f64::min);
        let high = finite.iter().map(|p| of(p)).fold(f64::NEG_INFINITY, f64::max);
        let spare = (0.08 * (high - low)).max(least);
        (low - spare, high + spare)
    };
    if finite.is_empty() {
        return String::new();
    }
    let (start, end) = bounds(&|p| p.0, 0.1);
    let (bright, faint) = bounds(&|p| magnitude(&p.1), 0.1);
    let x = |t: f64| 70.0 + 550.0 * (t - start) / (end - start);
    let y = |m: f64| 40.0 + 280.0 * (m - bright) / (faint - bright);
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
        let (t, m) = (start + share * (end - start), bright + share * (faint - bright));
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"338\" text-anchor=\"middle\">{t:.1}</text>\
             <text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{m:.2}</text>\n",
            x(t),
            y(m) + 4.0
        ));
    }
    svg.push_str("<text x=\"345\" y=\"365\" text-anchor=\"middle\">minutes since the first frame</text>\n");
    svg.push_str("<text x=\"18\" y=\"180\" text-anchor=\"middle\" transform=\"rotate(-90 18 180)\">magnitude</text>\n");
    for (t, seen) in finite {
        let (cx, cy) = (x(*t), y(magnitude(seen)));
        svg.push_str(&match seen {
            Brightness::Detected { mag, error } => format!(
                "<line x1=\"{cx:.1}\" x2=\"{cx:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"black\"/>\
                 <circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>\n",
                y(mag - error).max(40.0),
                y(mag + error).min(320.0)
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
