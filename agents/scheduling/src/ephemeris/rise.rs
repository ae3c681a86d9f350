//! Rise, transit and set of a target during a span.

use super::frame::Icrs;
use super::night::sign_changes;
use super::site::Site;
use super::track::NightTrack;
use super::{Span, add_seconds};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The passage of a target above an altitude.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiseSet {
    /// First upward crossing inside the span.
    pub rise: Option<DateTime<Utc>>,
    /// First upper meridian passage inside the span.
    pub transit: Option<DateTime<Utc>>,
    /// First downward crossing inside the span.
    pub set: Option<DateTime<Utc>>,
    pub max_alt_deg: f64,
    pub max_alt_at: DateTime<Utc>,
    /// Every stretch above the altitude.
    pub up: Vec<Span>,
}

/// Crossings of `alt_deg` (geometric) during `span`, to about a tenth of a second.
pub fn rise_transit_set(site: &Site, target: &Icrs, span: Span, alt_deg: f64) -> RiseSet {
    let track = NightTrack::new(site, span);
    let direction = track.direction(target);
    let length = span.length_s().max(0.0);
    let alt = |s: f64| track.alt_az_deg(&direction, s).0;
    let at = |s: f64| add_seconds(span.start, s);
    let above = |s: f64| alt(s) - alt_deg;
    let crossings = sign_changes(length, 300.0, &above);
    // sin(hour angle) rises through zero at the upper transit; cos tells it from the lower one.
    let meridian = sign_changes(length, 300.0, &|s| {
        track.hour_angle_deg(&direction, s).to_radians().sin()
    });
    let upper: Vec<f64> = meridian.iter().filter(|c| c.1).map(|c| c.0).collect();
    let candidates = upper.iter().copied().chain([0.0, length]);
    // A circumpolar target may culminate lower at "upper" transit than at the span's ends only by rounding.
    let best = candidates
        .map(|s| (s, alt(s)))
        .fold((0.0, f64::MIN), |b, c| if c.1 > b.1 { c } else { b });
    let mut up = Vec::new();
    let mut open = (above(0.0) > 0.0).then_some(0.0);
    for (s, rising) in &crossings {
        match (rising, open) {
            (true, _) => open = Some(*s),
            (false, Some(from)) => {
                up.push(Span::new(at(from), at(*s)));
                open = None;
            }
            (false, None) => {}
        }
    }
    if let Some(from) = open {
        up.push(Span::new(at(from), at(length)));
    }
    RiseSet {
        rise: crossings.iter().find(|c| c.1).map(|c| at(c.0)),
        transit: upper.first().map(|s| at(*s)),
        set: crossings.iter().find(|c| !c.1).map(|c| at(c.0)),
        max_alt_deg: best.1,
        max_alt_at: at(best.0),
        up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn day() -> Span {
        let start = Utc.with_ymd_and_hms(2027, 3, 14, 12, 0, 0).unwrap();
        Span::new(start, add_seconds(start, 86400.0))
    }

    #[test]
    fn an_equatorial_target_is_up_for_half_a_sidereal_day() {
        let r = rise_transit_set(&Site::new(20.0, 0.0, 0.0), &Icrs::new(150.0, 0.0), day(), 0.0);
        let up: f64 = r.up.iter().map(Span::length_s).sum();
        assert!((up - 43082.0).abs() < 120.0, "{up}");
        assert!((r.max_alt_deg - 70.0).abs() < 0.3);
        assert_eq!(r.transit, Some(r.max_alt_at));
    }

    #[test]
    fn a_target_near_the_other_pole_never_rises() {
        let r = rise_transit_set(&Site::new(44.0, 5.0, 650.0), &Icrs::new(150.0, -70.0), day(), 0.0);
        assert!(r.rise.is_none() && r.up.is_empty() && r.max_alt_deg < 0.0);
    }
}
