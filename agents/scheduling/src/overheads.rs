//! How long a telescope needs from the end of one exposure to the start of the next.
//!
//! Terms: the **travel time** of an axis is that of a trapezoidal velocity profile: constant acceleration to the top
//! rate, cruise, constant deceleration; over short distances the top rate is never reached. The **pier side** of a
//! German equatorial mount is the side of the meridian on which the target was when its exposure began: a target may be
//! followed across the meridian, but the next one on the other side costs a **flip**. The **setup** from an exposure
//! that ends at `t` to one that begins at `s` is
//!
//! `readout + max(max(T1(d1), T2(d2)) + flip x [the pier side changes], d_az / dome_rate, filter x [the filter changes])
//!   + settle x [the mount moves] + focus x [the filter changes]`
//!
//! where `d1`, `d2` are the distances on the mount's axes and `d_az` that in azimuth, between the old target at `t` and
//! the new one at `s`, the short way round, and `T(d) = 2 sqrt(d / a)` while `d <= v^2 / a`, else `d / v + v / a`. The
//! read-out comes first; mount, dome and filter wheel move together. Cable wrap and the offset of the optical axis from
//! the dome's centre are left out.

use serde::{Deserialize, Serialize};

/// How the mount's axes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// Axis 1 turns in hour angle, axis 2 in declination.
    #[default]
    Equatorial,
    /// Axis 1 turns in azimuth, axis 2 in altitude; there is no flip.
    AltAz,
}

/// What a telescope's movements and pauses cost; see the module's formula.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overheads {
    pub axes: Axes,
    /// Top rate of each axis, degrees per second, positive.
    pub axis1_deg_s: f64,
    pub axis2_deg_s: f64,
    /// Acceleration of each axis, degrees per second squared; 0: the top rate is reached at once.
    pub axis1_deg_s2: f64,
    pub axis2_deg_s2: f64,
    /// After a movement of the mount, seconds.
    pub settle_s: f64,
    /// Added when the pier side changes, seconds; 0 for a mount that follows through the meridian.
    pub flip_s: f64,
    /// Rate of the dome in azimuth, degrees per second; 0: there is none to wait for.
    pub dome_deg_s: f64,
    /// Change of the filter, seconds.
    pub filter_s: f64,
    /// Read-out of the last frame, seconds.
    pub readout_s: f64,
    /// Focusing after a change of the filter, seconds.
    pub focus_s: f64,
}

impl Default for Overheads {
    /// A mount of 2 degrees per second without flip and dome that changes targets in at most a minute and a half.
    fn default() -> Self {
        Self {
            axes: Axes::Equatorial,
            axis1_deg_s: 2.0,
            axis2_deg_s: 2.0,
            axis1_deg_s2: 1.0,
            axis2_deg_s2: 1.0,
            settle_s: 2.0,
            flip_s: 0.0,
            dome_deg_s: 0.0,
            filter_s: 5.0,
            readout_s: 5.0,
            focus_s: 0.0,
        }
    }
}

/// Where a telescope points, degrees, and on which side of the pier it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointing {
    /// Hour angle (west positive) or azimuth (north through east), as the mount's axes stand.
    pub axis1_deg: f64,
    /// Declination or altitude.
    pub axis2_deg: f64,
    pub az_deg: f64,
    /// East of the meridian when the exposure began.
    pub east: bool,
}

/// Distance on a circle, 0 to 180 degrees.
pub(crate) fn around(a: f64, b: f64) -> f64 {
    let d = (a - b).abs();
    // Called millions of times a plan: a cast truncates faster than a remainder is taken.
    let d = d - 360.0 * ((d / 360.0) as i64 as f64);
    d.min(360.0 - d)
}

/// Time of a rest-to-rest movement, seconds.
pub fn travel_s(distance_deg: f64, rate_deg_s: f64, acceleration_deg_s2: f64) -> f64 {
    if acceleration_deg_s2 <= 0.0 {
        return distance_deg / rate_deg_s;
    }
    if distance_deg * acceleration_deg_s2 <= rate_deg_s * rate_deg_s {
        2.0 * (distance_deg / acceleration_deg_s2).sqrt()
    } else {
        distance_deg / rate_deg_s + rate_deg_s / acceleration_deg_s2
    }
}

/// Turn of the sky, degrees per second (one sidereal day in 86164.0905 s).
pub(crate) const SIDEREAL_DEG_S: f64 = 360.0 / 86_164.090_5;

/// A movement smaller than this needs no settling, degrees.
const STILL_DEG: f64 = 0.01;

impl Overheads {
    /// The first quantity that is out of range, if any.
    pub fn check(&self) -> Result<(), &'static str> {
        let inside = |x: f64, a: f64, b: f64| (a..=b).contains(&x);
        let rates = [self.axis1_deg_s, self.axis2_deg_s];
        let accelerations = [self.axis1_deg_s2, self.axis2_deg_s2, self.dome_deg_s];
        let times = [self.settle_s, self.flip_s, self.filter_s, self.readout_s, self.focus_s];
        if !rates.iter().all(|x| inside(*x, 0.01, 1000.0)) {
            Err("rate of an axis is not in 0.01 to 1000 degrees per second")
        } else if !accelerations.iter().all(|x| *x == 0.0 || inside(*x, 0.01, 1000.0)) {
            Err("acceleration or dome rate is neither 0 nor in 0.01 to 1000")
        } else if !times.iter().all(|x| inside(*x, 0.0, 3600.0)) {
            Err("time is not in 0 to 3600 seconds")
        } else {
            Ok(())
        }
    }

    /// The setup from one pointing (at the end of its exposure) to another (at its start), seconds.
    pub fn setup_s(&self, from: &Pointing, to: &Pointing, filter_changes: bool) -> f64 {
        let d1 = around(from.axis1_deg, to.axis1_deg);
        let d2 = (from.axis2_deg - to.axis2_deg).abs();
        let flip = match self.axes {
            Axes::Equatorial if from.east != to.east => self.flip_s,
            _ => 0.0,
        };
        self.total_s([d1, d2, around(from.az_deg, to.az_deg)], flip, filter_changes)
    }

    fn total_s(&self, [d1, d2, d_az]: [f64; 3], flip_s: f64, filter_changes: bool) -> f64 {
        let slew =
            travel_s(d1, self.axis1_deg_s, self.axis1_deg_s2).max(travel_s(d2, self.axis2_deg_s, self.axis2_deg_s2));
        let dome = if self.dome_deg_s > 0.0 {
            d_az / self.dome_deg_s
        } else {
            0.0
        };
        let (filter, focus) = if filter_changes {
            (self.filter_s, self.focus_s)
        } else {
            (0.0, 0.0)
        };
        let moves = d1 > STILL_DEG || d2 > STILL_DEG || flip_s > 0.0;
        let settle = if moves { self.settle_s } else { 0.0 };
        self.readout_s + (slew + flip_s).max(dome).max(filter) + settle + focus
    }

    /// No setup between two targets is shorter that are `d_ra` and `d_dec` degrees apart, however long after each other
    /// within a setup's time they are observed, seconds. `separation` is their distance on the sky.
    pub fn least_s(&self, d_ra: f64, d_dec: f64, separation: f64) -> f64 {
        // While a setup lasts the sky turns by this: what is sought may come nearer by as much.
        let drift = self.longest_s() * SIDEREAL_DEG_S;
        let [d1, d2] = match self.axes {
            Axes::Equatorial => [(d_ra - drift).max(0.0), d_dec],
            // The sky's distance is at most the sum of those on the axes: one of them is half of it.
            Axes::AltAz => {
                let half = (0.5 * (separation - drift)).max(0.0);
                let of = |rate, acceleration| travel_s(half, rate, acceleration);
                let second = of(self.axis2_deg_s, self.axis2_deg_s2) < of(self.axis1_deg_s, self.axis1_deg_s2);
                if second { [0.0, half] } else { [half, 0.0] }
            }
        };
        self.total_s([d1, d2, 0.0], 0.0, false)
    }

    /// No setup is shorter: nothing moves and nothing changes, seconds.
    pub fn shortest_s(&self) -> f64 {
        self.readout_s
    }

    /// No setup is longer, seconds: what is needed after a pointing that nobody knows.
    pub fn longest_s(&self) -> f64 {
        let flip = if self.axes == Axes::Equatorial {
            self.flip_s
        } else {
            0.0
        };
        self.total_s([180.0; 3], flip, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointing(axis1_deg: f64, axis2_deg: f64, az_deg: f64, east: bool) -> Pointing {
        Pointing {
            axis1_deg,
            axis2_deg,
            az_deg,
            east,
        }
    }

    #[test]
    fn the_travel_time_is_that_of_a_trapezoid_and_continuous_where_it_becomes_a_triangle() {
        // 2 deg/s after 4 s of 0.5 deg/s2: 8 degrees are accelerating and braking, 40 s for 72 more at 2 deg/s less 4.
        assert_eq!(travel_s(8.0, 2.0, 0.5), 8.0);
        assert_eq!(travel_s(80.0, 2.0, 0.5), 44.0);
        assert_eq!(travel_s(2.0, 2.0, 0.5), 4.0);
        assert_eq!(travel_s(90.0, 3.0, 0.0), 30.0);
        let (below, above) = (travel_s(8.0 - 1e-9, 2.0, 0.5), travel_s(8.0 + 1e-9, 2.0, 0.5));
        assert!((above - below).abs() < 1e-6);
        let times: Vec<f64> = (0..180).map(|d| travel_s(f64::from(d), 2.0, 0.5)).collect();
        assert!(times.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn what_moves_together_counts_once_and_what_follows_is_added() {
        let o = Overheads {
            settle_s: 3.0,
            flip_s: 60.0,
            dome_deg_s: 4.0,
            filter_s: 7.0,
            readout_s: 2.0,
            focus_s: 30.0,
            axis1_deg_s2: 0.0,
            axis2_deg_s2: 0.0,
            ..Overheads::default()
        };
        let here = pointing(10.0, 20.0, 200.0, false);
        assert_eq!(o.setup_s(&here, &here, false), 2.0);
        assert_eq!(o.setup_s(&here, &here, true), 2.0 + 7.0 + 30.0);
        // 30 degrees at 2 deg/s beat 40 degrees of dome at 4 deg/s and the filter.
        assert_eq!(
            o.setup_s(&here, &pointing(40.0, 10.0, 240.0, false), true),
            2.0 + 15.0 + 3.0 + 30.0
        );
        // The dome is the slowest.
        assert_eq!(
            o.setup_s(&here, &pointing(12.0, 20.0, 20.0, false), false),
            2.0 + 45.0 + 3.0
        );
        // A flip, and the short way round.
        assert_eq!(
            o.setup_s(
                &pointing(-170.0, 0.0, 0.0, true),
                &pointing(170.0, 0.0, 0.0, false),
                false
            ),
            2.0 + 70.0 + 3.0
        );
        let alt_az = Overheads { axes: Axes::AltAz, ..o };
        assert_eq!(alt_az.setup_s(&here, &pointing(10.0, 20.0, 200.0, true), false), 2.0);
        for to in [
            here,
            pointing(190.0, -90.0, 20.0, true),
            pointing(100.0, 80.0, 7.0, false),
        ] {
            let s = o.setup_s(&here, &to, true);
            assert!(o.shortest_s() <= s && s <= o.longest_s(), "{s}");
        }
    }

    #[test]
    fn the_least_setup_is_never_above_one_that_happens() {
        for o in [
            Overheads::default(),
            Overheads {
                axes: Axes::AltAz,
                ..Overheads::default()
            },
        ] {
            // On the equator of an observer at the pole both mounts see the same angles.
            for d in [0.0, 0.3, 2.0, 20.0, 170.0] {
                for late in [0.0, 20.0, 60.0] {
                    let to = pointing(d - late * SIDEREAL_DEG_S, 0.0, d, true);
                    let happens = o.setup_s(&pointing(0.0, 0.0, 0.0, true), &to, false);
                    assert!(o.least_s(d, 0.0, d) <= happens + 1e-9, "{d} {late}");
                }
            }
            assert!(o.least_s(60.0, 0.0, 60.0) > o.shortest_s() + 10.0);
        }
    }

    #[test]
    fn impossible_overheads_are_refused() {
        let good = Overheads::default();
        assert_eq!(good.check(), Ok(()));
        assert!(
            Overheads {
                axis1_deg_s: 0.0,
                ..good
            }
            .check()
            .is_err()
        );
        assert!(
            Overheads {
                axis2_deg_s2: f64::NAN,
                ..good
            }
            .check()
            .is_err()
        );
        assert!(Overheads { flip_s: -1.0, ..good }.check().is_err());
        assert!(
            Overheads {
                dome_deg_s: -3.0,
                ..good
            }
            .check()
            .is_err()
        );
    }
}
