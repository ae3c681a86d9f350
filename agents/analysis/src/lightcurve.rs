//! The brightness of a target over many frames.
//!
//! Terms:
//! - *rate*: counts a second in the aperture.
//! - *comparison*: a star of the catalogue that is on the frames as well.
//! - *ensemble*: zero points of all frames and the stars' own offsets from the catalogue, found together (Honeycutt 1992,
//!   PASP 104, 435): a star whose catalogue magnitude is wrong then moves no frame on which it happens to be.
//! - *air mass term*: by how much the zero point falls for each air mass; frames without comparisons get their zero point
//!   from it.

use crate::photometry::{self, Brightness};
use alidade_fits::Header;
use serde::Serialize;
use std::collections::BTreeMap;

/// Detected is what has this many times its noise.
const DETECTED_SNR: f64 = 3.0;
/// Precision of a comparison that no photon noise improves on, magnitudes: flat fields and scintillation.
const FLOOR_MAG: f64 = 0.003;
/// Deviations beyond this many scatters are clipped.
const CLIP: f64 = 3.0;
/// Median absolute deviation to standard deviation of a normal distribution.
const MAD: f64 = 1.4826;
/// Rounds in which offsets and zero points are found in turn.
const ROUNDS: usize = 8;
/// A target varies when its chi-square is so many of its own scatters above what noise gives.
const VARIES_SIGMA: f64 = 5.0;
const LEAST_POINTS: usize = 5;

/// A comparison on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The same on every frame: right ascension and declination, bit by bit.
    pub star: (u64, u64),
    /// Catalogue magnitude.
    pub mag: f64,
    /// Instrumental magnitude, of counts a second, and its error.
    pub instrumental: f64,
    pub error: f64,
}

/// What one frame says of the target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub file: String,
    pub filter: String,
    /// Middle of the exposure, modified Julian date UTC.
    pub mjd: Option<f64>,
    pub airmass: Option<f64>,
    /// Counts a second and their noise; `None` where the target is not on the frame.
    pub rate: Option<(f64, f64)>,
    /// Counts a second of a star at the limit.
    pub limit_rate: f64,
    pub comparisons: Vec<Comparison>,
    /// Zero point and error that the header has.
    pub header_zero: Option<(f64, f64)>,
    /// Why there is nothing.
    pub cause: Option<String>,
}

/// Where a zero point is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Stars,
    Header,
    AirMass,
}

/// One point of the curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    pub file: String,
    pub filter: String,
    /// Middle of the exposure, modified Julian date UTC.
    pub mjd: Option<f64>,
    pub airmass: Option<f64>,
    #[serde(flatten)]
    pub brightness: Option<Brightness>,
    /// For counts a second.
    pub zero_point: Option<f64>,
    pub by: Option<By>,
    pub comparisons: usize,
    pub cause: Option<String>,
}

/// All of one filter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    pub points: usize,
    pub detected: usize,
    /// Weighted mean, and the standard deviation of the points.
    pub mean_mag: Option<f64>,
    pub scatter_mag: Option<f64>,
    /// What the errors let expect of it.
    pub expected_scatter_mag: Option<f64>,
    /// Faintest less brightest.
    pub range_mag: Option<f64>,
    /// Chi-square of a constant over the degrees of freedom.
    pub chi2_dof: Option<f64>,
    /// `None` with fewer than five points.
    pub varies: Option<bool>,
    /// Magnitudes an air mass, and zero point above the atmosphere.
    pub extinction_mag_airmass: Option<f64>,
    pub zero_point_above_air: Option<f64>,
}

/// The light curve of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// In the order of time, those without a time last.
    pub points: Vec<Point>,
    /// By filter.
    pub bands: BTreeMap<String, Band>,
}

/// A zero point with its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zero {
    pub mag: f64,
    pub error: f64,
    pub stars: usize,
}

/// Weighted mean without what is far from the median; `None` of fewer than `least`.
fn weighted(values: &[(f64, f64)], least: usize) -> Option<Zero> {
    let mut kept = values.to_vec();
    for _ in 0..5 {
        let middle = photometry::median(&mut kept.iter().map(|v| v.0).collect::<Vec<_>>());
        let mut off: Vec<f64> = kept.iter().map(|v| (v.0 - middle).abs()).collect();
        let reach = CLIP * (MAD * photometry::median(&mut off)).max(FLOOR_MAG);
        let before = kept.len();
        kept.retain(|v| (v.0 - middle).abs() <= reach.max(CLIP * v.1));
        if kept.len() == before {
            break;
        }
    }
    if kept.len() < least.max(1) {
        return None;
    }
    let weight = |error: f64| 1.0 / (error * error + FLOOR_MAG * FLOOR_MAG);
    let total: f64 = kept.iter().map(|v| weight(v.1)).sum();
    let mag = kept.iter().map(|v| v.0 * weight(v.1)).sum::<f64>() / total;
    // The scatter tells what the errors do not know of.
    let chi2: f64 = kept.iter().map(|v| (v.0 - mag).powi(2) * weight(v.1)).sum();
    let worse = (chi2 / (kept.len().max(2) - 1) as f64).max(1.0).sqrt();
    Some(Zero {
        mag,
        error: worse / total.sqrt(),
        stars: kept.len(),
    })
}

/// Zero points of frames by their comparisons; `None` with fewer than three.
pub fn ensemble(frames: &[&[Comparison]]) -> Vec<Option<Zero>> {
    const LEAST: usize = 3;
    let told = |c: &Comparison| c.mag - c.instrumental;
    let mut offsets: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    let zero_points = |offsets: &BTreeMap<(u64, u64), f64>| -> Vec<Option<Zero>> {
        let of = |frame: &&[Comparison]| {
            let with = |known: bool| {
                let fitting = frame.iter().filter(move |c| !known || offsets.contains_key(&c.star));
                fitting
                    .map(|c| (told(c) - offsets.get(&c.star).unwrap_or(&0.0), c.error))
                    .collect::<Vec<(f64, f64)>>()
            };
            weighted(&with(!offsets.is_empty()), LEAST).or_else(|| weighted(&with(false), LEAST))
        };
        frames.iter().map(of).collect()
    };
    let mut zeros = zero_points(&offsets);
    for _ in 0..ROUNDS {
        let mut residuals: BTreeMap<(u64, u64), Vec<f64>> = BTreeMap::new();
        for (frame, zero) in frames.iter().zip(&zeros) {
            let Some(zero) = zero else { continue };
            for c in *frame {
                residuals.entry(c.star).or_default().push(told(c) - zero.mag);
            }
        }
        offsets = residuals
            .into_iter()
            .filter(|(_, all)| all.len() > 1)
            .map(|(star, mut all)| (star, photometry::median(&mut all)))
            .collect();
        // Offsets common to all stars belong to the frames.
        let common = photometry::median(&mut offsets.values().copied().collect::<Vec<_>>());
        if common.is_finite() {
            offsets.values_mut().for_each(|o| *o -= common);
        }
        zeros = zero_points(&offsets);
    }
    zeros
}

/// The curve of what the frames say.
pub fn curve((ra_deg, dec_deg): (f64, f64), mut frames: Vec<Seen>) -> Curve {
    frames.sort_by(|a, b| {
        let of = |s: &Seen| s.mjd.unwrap_or(f64::INFINITY);
        of(a).total_cmp(&of(b)).then_with(|| a.file.cmp(&b.file))
    });
    let mut by_filter: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, frame) in frames.iter().enumerate() {
        by_filter.entry(frame.filter.clone()).or_default().push(at);
    }
    let mut points: Vec<Option<Point>> = vec![None; frames.len()];
    let mut bands = BTreeMap::new();
    for (filter, places) in by_filter {
        let own: Vec<&Seen> = places.iter().map(|at| &frames[*at]).collect();
        let (made, line) = calibrated(&own);
        bands.insert(filter, band(&made, line));
        for (at, point) in places.into_iter().zip(made) {
            points[at] = Some(point);
        }
    }
    Curve {
        ra_deg,
        dec_deg,
        points: points.into_iter().flatten().collect(),
        bands,
    }
}

/// Points of one filter, and its air mass term.
fn calibrated(frames: &[&Seen]) -> (Vec<Point>, Option<(f64, f64)>) {
    let comparisons: Vec<&[Comparison]> = frames.iter().map(|f| f.comparisons.as_slice()).collect();
    let zeros = ensemble(&comparisons);
    let own: Vec<Option<(Zero, By)>> = frames
        .iter()
        .zip(&zeros)
        .map(|(frame, zero)| {
            let header = frame
                .header_zero
                .map(|(mag, error)| (Zero { mag, error, stars: 0 }, By::Header));
            zero.map(|z| (z, By::Stars)).or(header)
        })
        .collect();
    let told: Vec<(f64, f64)> = frames
        .iter()
        .zip(&own)
        .filter_map(|(frame, zero)| Some((frame.airmass?, zero.as_ref()?.0.mag)))
        .collect();
    let line = photometry::extinction(&told);
    let points = frames.iter().zip(own).map(|(frame, zero)| {
        let by_air = || {
            let (slope, above) = line?;
            let off = |t: &(f64, f64)| (t.1 - (above - slope * t.0)).abs();
            let error = MAD * photometry::median(&mut told.iter().map(off).collect::<Vec<_>>());
            let mag = above - slope * frame.airmass?;
            Some((Zero { mag, error, stars: 0 }, By::AirMass))
        };
        let zero = zero.or_else(by_air);
        let cause = match (&frame.cause, frame.rate, &zero) {
            (Some(cause), ..) => Some(cause.clone()),
            (None, None, _) => Some("the target is not on the frame".to_owned()),
            (None, _, None) => {
                Some("no zero point: fewer than three comparisons, none in the header, no air mass".to_owned())
            }
            _ => None,
        };
        Point {
            file: frame.file.clone(),
            filter: frame.filter.clone(),
            mjd: frame.mjd,
            airmass: frame.airmass,
            brightness: zero
                .zip(frame.rate)
                .map(|((zero, _), rate)| brightness(&zero, rate, frame.limit_rate)),
            zero_point: zero.map(|z| z.0.mag),
            by: zero.map(|z| z.1),
            comparisons: zero.map_or(0, |z| z.0.stars),
            cause,
        }
    });
    (points.collect(), line)
}

fn brightness(zero: &Zero, (rate, noise): (f64, f64), limit_rate: f64) -> Brightness {
    if rate > DETECTED_SNR * noise {
        let own = 2.5 / std::f64::consts::LN_10 * noise / rate;
        Brightness::Detected {
            mag: zero.mag - 2.5 * rate.log10(),
            error: own.hypot(zero.error),
        }
    } else {
        Brightness::Fainter {
            mag: zero.mag - 2.5 * limit_rate.log10(),
        }
    }
}

fn band(points: &[Point], line: Option<(f64, f64)>) -> Band {
    let seen: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|p| match p.brightness {
            Some(Brightness::Detected { mag, error }) => Some((mag, error.max(1e-4))),
            _ => None,
        })
        .collect();
    let count = seen.len() as f64;
    let weight: f64 = seen.iter().map(|s| s.1.powi(-2)).sum();
    let mean = seen.iter().map(|s| s.0 * s.1.powi(-2)).sum::<f64>() / weight;
    let several = |value: f64| (seen.len() > 1).then_some(value);
    let plain = seen.iter().map(|s| s.0).sum::<f64>() / count;
    let scatter = (seen.iter().map(|s| (s.0 - plain).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let chi2_dof = seen.iter().map(|s| ((s.0 - mean) / s.1).powi(2)).sum::<f64>() / (count - 1.0);
    let low = seen.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
    let high = seen.iter().map(|s| s.0).fold(f64::NEG_INFINITY, f64::max);
    Band {
        points: points.len(),
        detected: seen.len(),
        mean_mag: (!seen.is_empty()).then_some(mean),
        scatter_mag: several(scatter),
        expected_scatter_mag: several((seen.iter().map(|s| s.1 * s.1).sum::<f64>() / count).sqrt()),
        range_mag: several(high - low),
        chi2_dof: several(chi2_dof),
        // Chi-square over n degrees of freedom scatters by the root of 2 / n.
        varies: (seen.len() >= LEAST_POINTS).then(|| chi2_dof > 1.0 + VARIES_SIGMA * (2.0 / (count - 1.0)).sqrt()),
        extinction_mag_airmass: line.map(|l| l.0),
        zero_point_above_air: line.map(|l| l.1),
    }
}

/// The air mass of a direction (ICRS, degrees): AIRMASS, else by ALTITUDE, else by the site and the time of the header.
pub fn airmass(header: &Header, (ra_deg, dec_deg): (f64, f64), mjd: Option<f64>) -> Option<f64> {
    let sensible = |a: &f64| (1.0..40.0).contains(a);
    let altitude = || {
        let latitude = header.get_f64("SITELAT").or_else(|| header.get_f64("LATITUDE"))?;
        let longitude = header.get_f64("SITELONG").or_else(|| header.get_f64("LONGITUD"))?;
        // Greenwich mean sidereal time to a second for decades (Meeus 1998, Astronomical Algorithms, eq. 12.4); ICRS is
        // taken for the equator of date, which is off by less than the air mass matters.
        let sidereal = 280.460_618_37 + 360.985_647_366_29 * (mjd? - 51_544.5);
        let hour_angle = (sidereal + longitude - ra_deg).to_radians();
        let ((sl, cl), (sd, cd)) = (latitude.to_radians().sin_cos(), dec_deg.to_radians().sin_cos());
        Some(
            (sl * sd + cl * cd * hour_angle.cos())
                .clamp(-1.0, 1.0)
                .asin()
                .to_degrees(),
        )
    };
    let of_altitude = |altitude: f64| (altitude > 3.0).then(|| pickering(altitude));
    header
        .get_f64("AIRMASS")
        .filter(sensible)
        .or_else(|| of_altitude(header.get_f64("ALTITUDE")?))
        .or_else(|| of_altitude(altitude()?))
        .filter(sensible)
}

/// Air mass by Pickering 2002 (DIO 12, p. 20), good to the horizon, of an apparent altitude in degrees.
fn pickering(altitude: f64) -> f64 {
    let bent = altitude + 244.0 / (165.0 + 47.0 * altitude.powf(1.1));
    (1.0 / bent.to_radians().sin()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty comparisons with wrong catalogue magnitudes on frames of another transparency each; half the stars are on
    /// every second frame only.
    fn frame(n: usize, zero: f64) -> Seen {
        let stars = (0..30usize).filter(|s| n.is_multiple_of(2) || s.is_multiple_of(2));
        let comparison = |s: usize| {
            let truth = 12.0 + 0.1 * s as f64;
            let wrong = 0.03 * ((s * 7 % 11) as f64 - 5.0) + 0.2 * (s % 2) as f64 + 1.5 * f64::from(s == 7);
            let noise = 0.002 * (((n * 31 + s * 17) % 11) as f64 - 5.0) / 5.0;
            Comparison {
                star: (s as u64, 0),
                mag: truth + wrong,
                instrumental: truth - zero + noise,
                error: 0.002,
            }
        };
        Seen {
            file: format!("{n:02}"),
            filter: "r".into(),
            mjd: Some(61_000.0 + n as f64 / 500.0),
            airmass: Some(1.0 + 0.05 * n as f64),
            limit_rate: 2.0,
            comparisons: stars.map(comparison).collect(),
            ..Seen::default()
        }
    }

    /// Zero point of frame n: falls with the air mass, and clouds pass.
    fn zero(n: usize) -> f64 {
        22.0 - 0.15 * (1.0 + 0.05 * n as f64) - if n == 5 { 0.7 } else { 0.0 }
    }

    fn night(magnitude: impl Fn(usize) -> f64) -> Vec<Seen> {
        let one = |n| {
            let rate = 10f64.powf(0.4 * (zero(n) - magnitude(n)));
            Seen {
                rate: Some((rate, rate * 0.004)),
                ..frame(n, zero(n))
            }
        };
        (0..20).map(one).collect()
    }

    #[test]
    fn stars_with_wrong_magnitudes_that_come_and_go_move_no_frame() {
        let wobble = |n: usize| 14.0 + 0.004 * ((n * 7 % 5) as f64 - 2.0) / 1.5;
        let found = curve((10.0, 20.0), night(wobble));
        let band = &found.bands["r"];
        assert_eq!(
            (band.points, band.detected, band.varies),
            (20, 20, Some(false)),
            "{band:?}"
        );
        assert!(band.scatter_mag.unwrap() < 0.006, "{band:?}");
        assert!((band.extinction_mag_airmass.unwrap() - 0.15).abs() < 0.01, "{band:?}");
        // Frame by frame without the ensemble half of the frames would be off by a tenth.
        let alone = |f: &Seen| ensemble(&[&f.comparisons])[0].unwrap().mag - zero(f.file.parse().unwrap());
        let frames = night(wobble);
        assert!((alone(&frames[0]) - alone(&frames[1])).abs() > 0.05);
    }

    #[test]
    fn a_variable_star_is_found_with_its_range_and_what_is_fainter_is_a_limit() {
        let period = |n: usize| 14.0 + 0.15 * (n as f64 * 0.7).sin();
        let mut frames = night(period);
        frames[4].rate = Some((0.3, 0.4));
        frames[8].rate = None;
        frames[9].comparisons.truncate(2);
        frames[11].cause = Some("no plate solution".into());
        frames[11].rate = None;
        frames.swap(0, 12);
        let found = curve((10.0, 20.0), frames);
        let band = &found.bands["r"];
        assert_eq!((band.detected, band.varies), (17, Some(true)), "{band:?}");
        assert!((0.25..0.31).contains(&band.range_mag.unwrap()), "{band:?}");
        let point = |n: usize| &found.points[n];
        assert!(found.points.is_sorted_by_key(|p| p.file.clone()));
        assert!(matches!(point(4).brightness, Some(Brightness::Fainter { mag }) if mag > 20.0));
        assert_eq!(point(8).cause.as_deref(), Some("the target is not on the frame"));
        assert_eq!(point(11).cause.as_deref(), Some("no plate solution"));
        // The frame with too few comparisons is calibrated by its air mass.
        assert_eq!(point(9).by, Some(By::AirMass));
        let Some(Brightness::Detected { mag, .. }) = point(9).brightness else {
            panic!("{:?}", point(9))
        };
        assert!(
            (mag - period(9) - point(10).zero_point.unwrap() + zero(10)).abs() < 0.02,
            "{mag}"
        );
    }

    #[test]
    fn the_air_mass_is_read_or_computed_from_site_and_time() {
        let mut header = Header::new();
        assert_eq!(airmass(&header, (0.0, 0.0), Some(61_000.0)), None);
        // The equinox of March 2026 at noon in Greenwich: sidereal time is that of the Sun plus twelve hours.
        header.number("SITELAT", 45.0, "");
        header.number("SITELONG", 0.0, "");
        let midnight = 61_119.0;
        let sidereal = (280.460_618_37 + 360.985_647_366_29 * (midnight - 51_544.5_f64)).rem_euclid(360.0);
        let zenith = airmass(&header, (sidereal, 45.0), Some(midnight)).unwrap();
        assert!((zenith - 1.0).abs() < 1e-3, "{zenith}");
        let low = airmass(&header, (sidereal, -15.0), Some(midnight)).unwrap();
        assert!((low - 1.99).abs() < 0.02, "{low}");
        assert_eq!(airmass(&header, (sidereal, -50.0), Some(midnight)), None);
        header.number("ALTITUDE", 30.0, "");
        assert!((airmass(&header, (0.0, 0.0), None).unwrap() - 1.99).abs() < 0.02);
        header.number("AIRMASS", "1.234", "");
        assert_eq!(airmass(&header, (0.0, 0.0), None), Some(1.234));
    }
}
