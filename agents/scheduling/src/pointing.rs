//! Setups for the kernel: where each request points as the sky turns, and what a telescope needs from one to the next.

use crate::constraints::Sky;
use crate::kernel::Setup;
use crate::overheads::{Axes, Overheads, Pointing, SIDEREAL_DEG_S, around};
use crate::problem::{Problem, Request};
use crate::units::Axis;
use std::cell::OnceCell;

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

/// Azimuth and altitude at nodes, degrees.
type Table = Box<[(f32, f32)]>;

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
    /// Azimuth and altitude of each request at nodes from the start of the night, made when first asked for.
    tables: Vec<OnceCell<Table>>,
    nodes: usize,
}

/// Distance of the nodes, seconds; between them both angles are taken as linear, which is a degree wrong within about
/// three degrees of the zenith and a hundredth elsewhere.
const NODE_S: f64 = 120.0;

/// An hour angle in -180 to 180 degrees.
fn centred(ha_deg: f64) -> f64 {
    // Nights are short against these ten turns, which keep the cast's truncation a floor.
    let turns = (ha_deg + 180.0) / 360.0 + 10.0;
    ha_deg - 360.0 * (turns as i64 - 10) as f64
}

/// Rounded up to whole seconds.
fn whole_s(x: f64) -> i64 {
    let down = x as i64;
    down + i64::from(x > down as f64)
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

/// No request's overhead is longer, seconds.
pub(crate) fn longest_s(problem: &Problem, overheads: Option<&[Overheads]>) -> i64 {
    let own = problem.requests.iter().map(|r| r.overhead_s).fold(0.0, f64::max);
    let modelled = overheads.map_or(0.0, |units| units.iter().map(Overheads::longest_s).fold(0.0, f64::max));
    (own + modelled).ceil() as i64
}

/// The shortest setup of each request after any other, seconds: what its nearest neighbour on the sky needs.
fn least_setups_s(aims: &[Aim], overheads: &[Overheads]) -> Vec<f64> {
    /// Among more targets than this one is always near, and to look for it is not worth the time.
    const MOST: usize = 3000;
    let shortest = overheads.iter().map(Overheads::shortest_s).fold(f64::MAX, f64::min);
    if aims.len() < 2 || aims.len() > MOST {
        return vec![shortest; aims.len()];
    }
    let mut order: Vec<usize> = (0..aims.len()).collect();
    order.sort_by(|a, b| aims[*a].dec_deg.total_cmp(&aims[*b].dec_deg));
    let pair = |a: &Aim, b: &Aim| {
        let d_ra = around(a.ha0_deg, b.ha0_deg);
        let cosine = a.sin_dec * b.sin_dec + a.cos_dec * b.cos_dec * d_ra.to_radians().cos();
        let separation = cosine.clamp(-1.0, 1.0).acos().to_degrees();
        let of = |o: &Overheads| o.least_s(d_ra, (a.dec_deg - b.dec_deg).abs(), separation);
        overheads.iter().map(of).fold(f64::MAX, f64::min)
    };
    // Neighbours in declination first: no farther one can be nearer than its declination alone allows.
    let apart = |d_dec: f64| {
        overheads
            .iter()
            .map(|o| o.least_s(0.0, d_dec, d_dec))
            .fold(f64::MAX, f64::min)
    };
    let mut least = vec![f64::MAX; aims.len()];
    for (n, j) in order.iter().enumerate() {
        let a = &aims[*j];
        let up = order[n + 1..].iter();
        let down = order[..n].iter().rev();
        let mut best = f64::MAX;
        for side in [
            &mut up.into_iter() as &mut dyn Iterator<Item = &usize>,
            &mut down.into_iter(),
        ] {
            for k in side {
                let b = &aims[*k];
                if apart((a.dec_deg - b.dec_deg).abs()) >= best {
                    break;
                }
                best = best.min(pair(a, b));
            }
        }
        least[*j] = best;
    }
    least
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
                lead_s: 0,
            }
        };
        let mut aims: Vec<Aim> = problem.requests.iter().map(aim).collect();
        let least = least_setups_s(&aims, &overheads);
        aims.iter_mut()
            .zip(least)
            .for_each(|(a, s)| a.lead_s = (s + a.own_s).ceil() as i64);
        let longest = overheads.iter().map(Overheads::longest_s).fold(0.0, f64::max);
        let extra = |a: &Aim| (longest + a.own_s).ceil() as i64 - a.lead_s;
        let (sin_lat, cos_lat) = problem.site.lat_deg.to_radians().sin_cos();
        Self {
            most_s: aims.iter().map(extra).max().unwrap_or(0).max(0),
            tables: vec![OnceCell::new(); aims.len()],
            nodes: (sky.length_s() / NODE_S).ceil() as usize + 2,
            aims,
            overheads,
            sin_lat,
            cos_lat,
            axis,
        }
    }

    /// Part of every setup of a request, seconds: the machine is busy so long before its exposure in any case.
    pub fn lead_s(&self, j: usize) -> i64 {
        self.aims[j].lead_s
    }

    /// Azimuth and altitude of a request at a night time, degrees.
    fn az_alt(&self, aim: &Aim, t: f64) -> (f64, f64) {
        let (sin_ha, cos_ha) = (aim.ha0_deg + SIDEREAL_DEG_S * t).to_radians().sin_cos();
        let north = aim.sin_dec * self.cos_lat - aim.cos_dec * cos_ha * self.sin_lat;
        let up = aim.sin_dec * self.sin_lat + aim.cos_dec * cos_ha * self.cos_lat;
        let az = (-aim.cos_dec * sin_ha).atan2(north);
        (az.to_degrees(), up.clamp(-1.0, 1.0).asin().to_degrees())
    }

    /// The same from the table.
    fn az_alt_quickly(&self, j: usize, t: f64) -> (f64, f64) {
        let x = t / NODE_S;
        if x < 0.0 || x >= (self.nodes - 1) as f64 {
            return self.az_alt(&self.aims[j], t);
        }
        let node = |k: usize| {
            let (az, alt) = self.az_alt(&self.aims[j], k as f64 * NODE_S);
            (az as f32, alt as f32)
        };
        let table = self.tables[j].get_or_init(|| (0..self.nodes).map(node).collect());
        let (k, f) = (x as usize, x - (x as usize) as f64);
        let ((az0, alt0), (az1, alt1)) = (table[k], table[k + 1]);
        let turn = centred(f64::from(az1 - az0));
        (f64::from(az0) + f * turn, f64::from(alt0) + f * f64::from(alt1 - alt0))
    }

    /// Where a request points at `t` when its exposure begins at `begins` (night times, seconds).
    fn pointing(&self, unit: usize, j: usize, t: f64, begins: f64) -> Pointing {
        let (aim, o) = (&self.aims[j], &self.overheads[unit]);
        let mut at = Pointing {
            axis1_deg: aim.ha0_deg + SIDEREAL_DEG_S * t,
            axis2_deg: aim.dec_deg,
            az_deg: 0.0,
            east: centred(aim.ha0_deg + SIDEREAL_DEG_S * begins) < 0.0,
        };
        if o.axes == Axes::AltAz || o.dome_deg_s > 0.0 {
            let (az_deg, alt_deg) = self.az_alt_quickly(j, t);
            at.az_deg = az_deg;
            if o.axes == Axes::AltAz {
                (at.axis1_deg, at.axis2_deg) = (az_deg, alt_deg);
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
            self.pointing(unit, from, ended, began),
            self.pointing(unit, to, begins, begins),
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
        (whole_s(needed) - b.lead_s).max(0)
    }

    fn most_s(&self) -> i64 {
        self.most_s
    }
}
