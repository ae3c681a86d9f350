//! What moves between visits.

use super::{Candidate, Kind, Visit};
use crate::astrometry::stars::separation;
use serde::Serialize;

/// Fastest motion that is looked for, arcseconds a minute: that of objects a few lunar distances away.
const MOST_RATE: f64 = 30.0;
/// What has gone farther is not linked: too many others are nearer, arcseconds.
const MOST_ARCSEC: f64 = 600.0;
/// The counterpart of a burst does not move.
const MOVING: f64 = 0.2;

/// Moving objects: what was a candidate in no catalogue on two visits at two places. Pairs of candidates nearest to each
/// other within `most_arcsec`, not at the same place within `least_arcsec`, each seen once: motion in arcseconds.
pub fn movers(
    before: &[Candidate],
    now: &[Candidate],
    least_arcsec: f64,
    most_arcsec: f64,
) -> Vec<(usize, usize, f64)> {
    let unknown = |c: &&(usize, &Candidate)| c.1.kind == Kind::NotInCatalogue && c.1.detections == 1;
    let first: Vec<_> = before.iter().enumerate().collect();
    let mut found = Vec::new();
    for (at, candidate) in now.iter().enumerate().collect::<Vec<_>>().iter().filter(unknown) {
        let distance = |c: &Candidate| separation(c.ra, c.dec, candidate.ra, candidate.dec) * 3600.0;
        let alike = |c: &Candidate| (c.mag - candidate.mag).abs() < 0.7;
        let nearest = first
            .iter()
            .filter(unknown)
            .map(|(n, c)| (*n, distance(c), alike(c)))
            .filter(|(_, d, alike)| *alike && (least_arcsec..=most_arcsec).contains(d))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((n, moved, _)) = nearest {
            found.push((n, *at, moved));
        }
    }
    found
}

/// How an object moved from one visit to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Motion {
    /// Where it was and is: ICRS, degrees.
    pub from: (f64, f64),
    pub to: (f64, f64),
    pub arcsec: f64,
    pub arcsec_per_min: f64,
    /// Direction of the motion, from north through east, degrees.
    pub position_angle_deg: f64,
}

/// Links the candidates of a frame, at `minutes`, with those of the newest visit before; those that moved are flagged and
/// fall behind, and the list is in order again.
pub fn link(before: &[Visit], now: &mut [Candidate], minutes: Option<f64>, least_arcsec: f64) -> Vec<Motion> {
    let newest = before.iter().filter(|v| v.minutes.is_some()).max_by(|a, b| {
        let of = |v: &Visit| v.minutes.unwrap_or(f64::NEG_INFINITY);
        of(a).total_cmp(&of(b))
    });
    let Some((visit, elapsed)) = newest.and_then(|v| Some((v, minutes? - v.minutes?))) else {
        return Vec::new();
    };
    if elapsed <= 0.0 {
        return Vec::new();
    }
    let most = (MOST_RATE * elapsed).min(MOST_ARCSEC);
    let pairs = movers(&visit.news, now, least_arcsec, most);
    let motions = pairs
        .iter()
        .map(|(from, to, arcsec)| {
            let (a, b) = (&visit.news[*from], &now[*to]);
            let east = ((b.ra - a.ra + 540.0).rem_euclid(360.0) - 180.0) * b.dec.to_radians().cos();
            Motion {
                from: (a.ra, a.dec),
                to: (b.ra, b.dec),
                arcsec: *arcsec,
                arcsec_per_min: arcsec / elapsed,
                position_angle_deg: east.atan2(b.dec - a.dec).to_degrees().rem_euclid(360.0),
            }
        })
        .collect();
    for (_, at, _) in &pairs {
        now[*at].flags.push("moving");
        now[*at].score *= MOVING;
    }
    now.sort_by(super::better);
    motions
}

#[cfg(test)]
mod tests {
    use super::super::{
        search,
        tests::{field, flux, source, wcs},
    };
    use super::*;

    #[test]
    fn what_moves_between_visits_is_linked() {
        let wcs = wcs();
        let (a, b) = ([source(400.0, 400.0, flux(15.0))], [source(408.0, 400.0, flux(15.1))]);
        let before = search(&field(&a, &wcs), None, &[], 17.0, &[], "r", &[]);
        let now = search(
            &field(&b, &wcs),
            None,
            &[],
            17.0,
            &[field(&a, &wcs).visit("r")],
            "r",
            &[],
        );
        let found = movers(&before, &now, 4.0, 60.0);
        assert_eq!(found.len(), 1);
        assert!((found[0].2 - 8.0 * 1.08).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn a_mover_is_flagged_with_its_speed_and_falls_behind_what_stands_still() {
        let wcs = wcs();
        let (a, b) = (
            [source(400.0, 400.0, flux(14.0)), source(600.0, 600.0, flux(16.0))],
            [source(400.0, 410.0, flux(14.0)), source(600.0, 600.0, flux(16.0))],
        );
        let mut visit = field(&a, &wcs).visit("r");
        visit.minutes = Some(100.0);
        visit.news = search(&field(&a, &wcs), None, &[], 17.5, &[], "r", &[]);
        let mut now = search(
            &field(&b, &wcs),
            None,
            &[],
            17.5,
            std::slice::from_ref(&visit),
            "r",
            &[],
        );
        let visits = [visit];
        assert_eq!(link(&visits, &mut now.clone(), Some(100.0), 4.0), []);
        let motions = link(&visits, &mut now, Some(102.0), 4.0);
        assert_eq!(motions.len(), 1, "{motions:?}");
        assert!((motions[0].arcsec_per_min - 5.4).abs() < 0.02, "{motions:?}");
        assert!(motions[0].position_angle_deg.min(360.0 - motions[0].position_angle_deg) < 0.2);
        assert!(now[0].mag > 15.0 && now[1].flags.contains(&"moving"), "{now:?}");
    }
}
