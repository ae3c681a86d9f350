//! Setups for the kernel: where each request points as the sky turns, and what a telescope needs from one to the next.

use crate::constraints::Sky;
use crate::kernel::Setup;
use crate::overheads::{Axes, Overheads, Pointing};
use crate::problem::{Problem, Request};
use crate::units::Axis;

/// Turn of the sky, degrees per second (one sidereal day in 86164.0905 s).
const SIDEREAL_DEG_S: f64 = 360.0 / 86_164.090_5;

/// A request as the telescope sees it.
#[derive(Debug, Clone, Copy)]
struct Aim {
    /// Hour angle at the start of the night, degrees.
    ha0_deg: f64,
    dec_deg: f64,
    sin_dec: f64,
    cos_dec: f64,
    /// Filters it begins and ends with; 0 does not care.
    first: u32,
    last: u32,
    duration_s: i64,
    /// Its own part, seconds.
    own_s: f64,
    /// Part of the setup that is in the job's length, seconds.
    lead_s: i64,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Setups {
    aims: Vec<Aim>,
    /// By unit.
    overheads: Vec<Overheads>,
    sin_lat: f64,
    cos_lat: f64,
    axis: Axis,
    most_s: i64,
}

/// The overheads of each unit when the problem models them; None: every request's constant overhead.
pub(crate) fn modelled(problem: &Problem) -> Option<Vec<Overheads>> {
    let usual = problem.overheads;
    if problem.units.is_empty() {
        return usual.map(|o| vec![o]);
    }
    let any = usual.is_some() || problem.units.iter().any(|u| u.overheads.is_some());
    let of = |u: &crate::units::Unit| u.overheads.or(usual).unwrap_or_default();
    any.then(|| problem.units.iter().map(of).collect())
}

/// Overhead in a request's machine time, seconds: the constant one, or the shortest setup.
pub(crate) fn lead_s(request: &Request, overheads: Option<&[Overheads]>) -> i64 {
    let shortest = overheads.map(|units| units.iter().map(Overheads::shortest_s).fold(f64::MAX, f64::min));
    (request.overhead_s + shortest.unwrap_or(0.0)).ceil() as i64
}

impl Setups {
    pub fn new(problem: &Problem, sky: &Sky, axis: Axis, overheads: Vec<Overheads>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for (a, b) in problem.requests.iter().filter_map(|r| r.filters.as_ref()) {
            names.extend([a.as_str(), b.as_str()]);
        }
        names.sort_unstable();
        names.dedup();
        let number = |name: &str| names.binary_search(&name).map_or(0, |k| k as u32 + 1);
        let aim = |r: &Request| {
            let direction = sky.track.direction(&r.target);
            let dec = direction[2].clamp(-1.0, 1.0).asin();
            let (first, last) = r.filters.as_ref().map_or((0, 0), |(a, b)| (number(a), number(b)));
            Aim {
                ha0_deg: sky.track.hour_angle_deg(&direction, 0.0),
                dec_deg: dec.to_degrees(),
                sin_dec: dec.sin(),
                cos_dec: dec.cos(),
                first,
                last,
                duration_s: r.duration_s.ceil() as i64,
                own_s: r.overhead_s,
                lead_s: lead_s(r, Some(&overheads)),
            }
        };
        let aims: Vec<Aim> = problem.requests.iter().map(aim).collect();
        let longest = overheads.iter().map(Overheads::longest_s).fold(0.0, f64::max);
        let extra = |a: &Aim| (longest + a.own_s).ceil() as i64 - a.lead_s;
        let (sin_lat, cos_lat) = problem.site.lat_deg.to_radians().sin_cos();
        Self {
            most_s: aims.iter().map(extra).max().unwrap_or(0).max(0),
            aims,
            overheads,
            sin_lat,
            cos_lat,
            axis,
        }
    }

    /// Where a request points at `t` when its exposure begins at `begins` (night times, seconds).
    fn pointing(&self, unit: usize, aim: &Aim, t: f64, begins: f64) -> Pointing {
        let ha = |s: f64| (aim.ha0_deg + SIDEREAL_DEG_S * s + 180.0).rem_euclid(360.0) - 180.0;
        let ha_deg = ha(t);
        let o = &self.overheads[unit];
        let mut at = Pointing {
            axis1_deg: ha_deg,
            axis2_deg: aim.dec_deg,
            az_deg: 0.0,
            east: ha(begins) < 0.0,
        };
        if o.axes == Axes::AltAz || o.dome_deg_s > 0.0 {
            let (sin_ha, cos_ha) = ha_deg.to_radians().sin_cos();
            let north = aim.sin_dec * self.cos_lat - aim.cos_dec * cos_ha * self.sin_lat;
            at.az_deg = (-aim.cos_dec * sin_ha).atan2(north).to_degrees();
            if o.axes == Axes::AltAz {
                let up = aim.sin_dec * self.sin_lat + aim.cos_dec * cos_ha * self.cos_lat;
                (at.axis1_deg, at.axis2_deg) = (at.az_deg, up.clamp(-1.0, 1.0).asin().to_degrees());
            }
        }
        at
    }

    /// The setup on a unit from request `from`, whose exposure lasts from `began` to `ended`, to request `to`, whose
    /// exposure begins at `begins` (night times), seconds.
    pub fn between_s(&self, unit: usize, from: usize, (began, ended): (f64, f64), to: usize, begins: f64) -> f64 {
        let (a, b) = (&self.aims[from], &self.aims[to]);
        let changes = a.last != b.first && a.last != 0 && b.first != 0;
        let (here, there) = (
            self.pointing(unit, a, ended, began),
            self.pointing(unit, b, begins, begins),
        );
        self.overheads[unit].setup_s(&here, &there, changes) + b.own_s
    }

    /// The setup after a pointing that nobody knows, seconds.
    pub fn unknown_s(&self, unit: usize, to: usize) -> f64 {
        self.overheads[unit].longest_s() + self.aims[to].own_s
    }
}

impl Setup for Setups {
    fn extra_s(&self, (from, start_s): (usize, i64), to: usize, at_s: i64) -> i64 {
        let unit = self.axis.unit(at_s);
        if self.axis.unit(start_s) != unit {
            return 0;
        }
        let (a, b) = (&self.aims[from], &self.aims[to]);
        let began = (self.axis.time(start_s) + a.lead_s) as f64;
        let begins = (self.axis.time(at_s) + b.lead_s) as f64;
        let needed = self.between_s(unit, from, (began, began + a.duration_s as f64), to, begins);
        (needed.ceil() as i64 - b.lead_s).max(0)
    }

    fn most_s(&self) -> i64 {
        self.most_s
    }
}
