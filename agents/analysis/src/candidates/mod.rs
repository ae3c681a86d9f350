//! What is new on the sky: sources that the catalogue does not have or has fainter, and sources that change.
//!
//! Terms:
//! - *depth*: magnitude to which a catalogue is complete. What is fainter and unknown is no news.
//! - *visit*: the stars of one frame of a field, calibrated; two visits in one filter compare.
//! - *known object*: a minor planet of given elements, where it is at the time.

mod motion;

pub use motion::{Motion, link, movers};

use crate::{
    astrometry::{Star, Wcs, stars::Sorted, stars::separation},
    extract::{BAD_PIXELS, BLENDED, BORDER, LARGE, SATURATED, Source},
    photometry::ZeroPoint,
};
use serde::Serialize;

/// Signal to noise of what is worth a report.
const LEAST_SNR: f64 = 7.0;
/// Brighter, or changed, by this much and this many uncertainties.
const LEAST_CHANGE_MAG: f64 = 0.3;
const CHANGE_SIGMA: f64 = 5.0;
/// Unknown sources must be brighter than the catalogue's depth by this much: its end is not sharp.
const DEPTH_MARGIN_MAG: f64 = 0.3;
/// Narrower than this share of the stars is no star.
const SHARP: f64 = 0.6;
/// A known object is what is found within this distance of its ephemeris, arcseconds.
const KNOWN_ARCSEC: f64 = 120.0;

/// Why a source is a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    NotInCatalogue,
    BrighterThanCatalogue,
    Variable,
}

/// One candidate. Field names follow GCN's photometry and localization schemas where they have one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    pub kind: Kind,
    /// ICRS, degrees, and its uncertainty.
    pub ra: f64,
    pub dec: f64,
    pub ra_dec_error_arcsec: f64,
    pub x: f64,
    pub y: f64,
    pub mag: f64,
    pub mag_error: f64,
    pub snr: f64,
    /// Width over that of the stars.
    pub fwhm_ratio: f64,
    /// Distance from the centre of the error circle, arcminutes.
    pub distance_arcmin: Option<f64>,
    /// Nearest star of the catalogue: arcseconds and magnitude.
    pub nearest: Option<(f64, f64)>,
    /// Magnitudes since the first visit; positive fades.
    pub change_mag: Option<f64>,
    /// Visits, this one included, that saw it.
    pub detections: usize,
    /// Name of a known object here.
    pub known: Option<String>,
    pub flags: Vec<&'static str>,
    /// From 0 to 1; the list is sorted by it.
    pub score: f64,
}

/// A circle on the sky: ICRS degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Circle {
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub radius_deg: f64,
}

impl Circle {
    pub fn holds(&self, ra: f64, dec: f64) -> bool {
        separation(self.ra_deg, self.dec_deg, ra, dec) <= self.radius_deg
    }
}

/// A calibrated frame.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub sources: &'a [Source],
    pub wcs: &'a Wcs,
    /// Uncertainty of the plate solution, arcseconds.
    pub rms_arcsec: f64,
    pub zero: &'a ZeroPoint,
    pub exposure_s: f64,
    pub fwhm_px: f64,
}

/// A star as one visit saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub mag: f64,
    pub error: f64,
}

/// All of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    pub filter: String,
    /// Middle of the exposure, minutes since any time.
    pub minutes: Option<f64>,
    pub points: Vec<Point>,
    /// What was a candidate then.
    pub news: Vec<Candidate>,
    /// The calibrated frame, below the data folder.
    pub calibrated: Option<String>,
}

/// Where a known object is.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub name: String,
    pub ra_deg: f64,
    pub dec_deg: f64,
}

impl Field<'_> {
    fn magnitude(&self, source: &Source) -> Option<(f64, f64)> {
        let snr = source.flux / source.flux_err;
        (source.flux > 0.0 && snr.is_finite() && snr > 0.0).then(|| {
            let mag = self.zero.mag - 2.5 * (source.flux / self.exposure_s).log10();
            (mag, (2.5 / std::f64::consts::LN_10 / snr).hypot(self.zero.error))
        })
    }

    /// Radius within which a source and a star are one, arcseconds.
    fn radius_arcsec(&self) -> f64 {
        (self.fwhm_px * self.wcs.scale_arcsec()).max(3.0 * self.rms_arcsec)
    }

    /// The frame as a visit.
    pub fn visit(&self, filter: &str) -> Visit {
        let point = |s: &Source| {
            let (mag, error) = self.magnitude(s)?;
            let (ra_deg, dec_deg) = self.wcs.sky_of(s.x_win, s.y_win);
            (s.flags & (SATURATED | BORDER | BAD_PIXELS) == 0).then_some(Point {
                ra_deg,
                dec_deg,
                mag,
                error,
            })
        };
        Visit {
            filter: filter.into(),
            minutes: None,
            points: self.sources.iter().filter_map(point).collect(),
            news: Vec::new(),
            calibrated: None,
        }
    }
}

/// Points of a visit as stars that can be looked up.
fn sorted(visit: &Visit) -> Sorted {
    let star = |p: &Point| Star {
        ra_deg: p.ra_deg,
        dec_deg: p.dec_deg,
        mag: p.mag,
    };
    Sorted::new(visit.points.iter().map(star).collect(), 0.05)
}

/// What the visits in one filter saw at a place, within a radius: minutes, magnitude and error.
pub fn history(visits: &[Visit], filter: &str, (ra, dec): (f64, f64), radius_arcsec: f64) -> Vec<(f64, f64, f64)> {
    let own = visits.iter().filter(|v| v.filter == filter);
    own.filter_map(|visit| {
        let apart = |p: &Point| separation(ra, dec, p.ra_deg, p.dec_deg) * 3600.0;
        let near = visit.points.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)))?;
        (apart(near) <= radius_arcsec).then_some((visit.minutes?, near.mag, near.error))
    })
    .collect()
}

/// Candidates of a frame, best first: within `area` where it is given, against the stars of a catalogue of this depth
/// and the visits before.
pub fn search(
    field: &Field<'_>,
    area: Option<Circle>,
    stars: &[Star],
    depth: f64,
    before: &[Visit],
    filter: &str,
    known: &[Known],
) -> Vec<Candidate> {
    let catalogue = Sorted::new(stars.to_vec(), 0.05);
    let visits: Vec<Sorted> = before.iter().filter(|v| v.filter == filter).map(sorted).collect();
    let radius = field.radius_arcsec() / 3600.0;
    let mut found = Vec::new();
    for source in field.sources {
        let (ra, dec) = field.wcs.sky_of(source.x_win, source.y_win);
        let Some((mag, mag_error)) = field.magnitude(source) else {
            continue;
        };
        let snr = source.flux / source.flux_err;
        if area.is_some_and(|a| !a.holds(ra, dec)) || snr < LEAST_SNR || source.flags & BORDER != 0 {
            continue;
        }
        let nearest = catalogue
            .nearest(ra, dec, 6.0 * radius)
            .map(|(at, distance)| (distance * 3600.0, catalogue.stars[at].mag));
        let seen: Vec<f64> = visits
            .iter()
            .filter_map(|v| v.nearest(ra, dec, radius).map(|(at, _)| v.stars[at].mag))
            .collect();
        let change = seen.first().map(|first| mag - first);
        let doubt = mag_error.hypot(field.zero.scatter);
        let by = |difference: f64| difference > LEAST_CHANGE_MAG && difference > CHANGE_SIGMA * doubt;
        let counterpart = nearest.filter(|n| n.0 <= field.radius_arcsec());
        let saturated = source.flags & SATURATED != 0;
        let kind = match counterpart {
            None if mag < depth - DEPTH_MARGIN_MAG => Kind::NotInCatalogue,
            Some((_, known)) if by(known - mag) && !saturated && source.flags & BLENDED == 0 => {
                Kind::BrighterThanCatalogue
            }
            _ if !saturated && change.is_some_and(|c| by(c.abs())) => Kind::Variable,
            _ => continue,
        };
        let candidate = Candidate {
            kind,
            ra,
            dec,
            ra_dec_error_arcsec: field.rms_arcsec.hypot(field.fwhm_px * field.wcs.scale_arcsec() / snr),
            x: source.x_win,
            y: source.y_win,
            mag,
            mag_error,
            snr,
            fwhm_ratio: source.fwhm_px / field.fwhm_px,
            distance_arcmin: area.map(|a| separation(a.ra_deg, a.dec_deg, ra, dec) * 60.0),
            nearest,
            change_mag: change,
            detections: seen.len() + 1,
            known: known
                .iter()
                .find(|k| separation(k.ra_deg, k.dec_deg, ra, dec) * 3600.0 < KNOWN_ARCSEC)
                .map(|k| k.name.clone()),
            flags: Vec::new(),
            score: 0.0,
        };
        found.push(judged(candidate, source, visits.len()));
    }
    found.sort_by(better);
    found
}

/// The order of candidates: the likeliest first.
fn better(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.mag.total_cmp(&b.mag))
}

/// Gives flags and score.
fn judged(mut candidate: Candidate, source: &Source, visits: usize) -> Candidate {
    let mut score = candidate.snr / (candidate.snr + 10.0);
    let mut flag = |name: &'static str, factor: f64, applies: bool| {
        if applies {
            candidate.flags.push(name);
            score *= factor;
        }
    };
    flag("sharp", 0.1, candidate.fwhm_ratio < SHARP);
    flag("extended", 0.6, candidate.fwhm_ratio > 1.6 || source.flags & LARGE != 0);
    flag("blended", 0.5, source.flags & BLENDED != 0);
    flag("bad_pixels", 0.2, source.flags & BAD_PIXELS != 0);
    flag("saturated", 0.7, source.flags & SATURATED != 0);
    flag("elongated", 0.6, source.ellipticity > 0.5);
    flag("known_object", 0.05, candidate.known.is_some());
    flag("seen_once", 0.5, visits > 0 && candidate.detections == 1);
    if candidate.kind == Kind::BrighterThanCatalogue {
        score *= 0.6;
    }
    // What fades, or rises, is what is looked for.
    if let Some(change) = candidate.change_mag
        && change.abs() > CHANGE_SIGMA * candidate.mag_error
    {
        candidate.flags.push(if change > 0.0 { "fading" } else { "rising" });
        score = score.sqrt();
    }
    candidate.score = score;
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn source(x: f64, y: f64, flux: f64) -> Source {
        Source {
            x,
            y,
            x_win: x,
            y_win: y,
            flux,
            flux_err: 30.0,
            flux_auto: flux,
            flux_auto_err: 30.0,
            fwhm_px: 3.0,
            a_px: 1.3,
            b_px: 1.25,
            theta_deg: 0.0,
            ellipticity: 0.03,
            peak: flux / 10.0,
            area_px: 25,
            flags: 0,
        }
    }

    const ZERO: ZeroPoint = ZeroPoint {
        mag: 22.0,
        error: 0.01,
        scatter: 0.02,
        stars: 20,
    };

    pub fn wcs() -> Wcs {
        Wcs {
            crval: (150.0, 30.0),
            crpix: (500.0, 500.0),
            cd: [[-3e-4, 0.0], [0.0, 3e-4]],
            sip: None,
        }
    }

    pub fn flux(mag: f64) -> f64 {
        10.0 * 10f64.powf(-0.4 * (mag - 22.0))
    }

    pub fn field<'a>(sources: &'a [Source], wcs: &'a Wcs) -> Field<'a> {
        Field {
            sources,
            wcs,
            rms_arcsec: 0.1,
            zero: &ZERO,
            exposure_s: 10.0,
            fwhm_px: 3.0,
        }
    }

    fn catalogue(wcs: &Wcs, stars: &[(f64, f64, f64)]) -> Vec<Star> {
        stars
            .iter()
            .map(|(x, y, mag)| {
                let (ra_deg, dec_deg) = wcs.sky_of(*x, *y);
                Star {
                    ra_deg,
                    dec_deg,
                    mag: *mag,
                }
            })
            .collect()
    }

    #[test]
    fn the_new_the_brightened_and_the_fading_are_candidates_and_nothing_else() {
        let wcs = wcs();
        let stars = catalogue(
            &wcs,
            &[(100.0, 100.0, 15.0), (300.0, 200.0, 16.0), (700.0, 800.0, 14.0)],
        );
        let first = [
            source(100.2, 100.1, flux(15.0)),
            source(300.0, 200.0, flux(16.0)),
            source(510.0, 505.0, flux(15.5)),
            source(650.0, 300.0, flux(17.9)),
        ];
        let visit = field(&first, &wcs).visit("r");
        let known = search(&field(&first, &wcs), None, &stars, 17.5, &[], "r", &[]);
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0].kind, Kind::NotInCatalogue);
        let second = [
            source(100.2, 100.1, flux(15.0)),
            source(300.0, 200.0, flux(15.0)),
            source(510.0, 505.0, flux(16.5)),
            source(650.0, 300.0, flux(17.9)),
        ];
        let now = search(&field(&second, &wcs), None, &stars, 17.5, &[visit], "r", &[]);
        let kinds: Vec<Kind> = now.iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [Kind::NotInCatalogue, Kind::BrighterThanCatalogue], "{now:?}");
        assert!((now[0].change_mag.unwrap() - 1.0).abs() < 1e-6 && now[0].flags.contains(&"fading"));
        assert_eq!(now[0].detections, 2);
    }

    #[test]
    fn outside_the_circle_and_below_the_depth_is_no_news_and_a_minor_planet_is_named() {
        let wcs = wcs();
        let sources = [
            source(510.0, 505.0, flux(15.0)),
            source(900.0, 900.0, flux(14.0)),
            source(480.0, 480.0, flux(18.0)),
        ];
        let circle = Circle {
            ra_deg: 150.0,
            dec_deg: 30.0,
            radius_deg: 0.05,
        };
        let (ra_deg, dec_deg) = wcs.sky_of(515.0, 505.0);
        let known = [Known {
            name: "433 Eros".into(),
            ra_deg,
            dec_deg,
        }];
        let found = search(&field(&sources, &wcs), Some(circle), &[], 17.0, &[], "r", &known);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].known.as_deref(), Some("433 Eros"));
        let other = search(&field(&sources, &wcs), None, &[], 17.0, &[], "r", &[]);
        assert!(found[0].score < 0.1 * other[0].score && other.len() == 2);
    }
}
