//! Several telescopes on one axis of time.
//!
//! The kernel knows one machine. Telescopes that are planned together stand behind one another on its axis: the second
//! **unit**'s night begins one **period** after the first's. A request that may run on several has its start ranges on
//! each; that it is placed once, and that quotas hold over all, the kernel keeps anyway, and its bound holds for all.
//! **Axis time** is a second on that axis; **night time** counts from the start of the night.

use crate::overheads::Overheads;
use serde::{Deserialize, Serialize};

/// A telescope of the site.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    /// Names that a request may give instead of the unit's own: an aperture, an instrument, a field of view.
    #[serde(default)]
    pub classes: Vec<String>,
    /// None: the problem's.
    #[serde(default)]
    pub overheads: Option<Overheads>,
}

impl Unit {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Whether a request for this unit or class of units may run here.
    pub fn answers_to(&self, wanted: &str) -> bool {
        self.name == wanted || self.classes.iter().any(|c| c == wanted)
    }
}

/// The nights of all units in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub units: usize,
    period_s: i64,
    /// A block's overhead begins at most this long before the night.
    before_s: i64,
}

impl Axis {
    pub fn new(units: usize, night_s: f64, before_s: i64) -> Self {
        /// Keeps the units' blocks apart and their slots aligned.
        const GRAIN_S: i64 = 3600;
        let reach = night_s.ceil() as i64 + before_s;
        Self {
            units: units.max(1),
            period_s: (reach / GRAIN_S + 1) * GRAIN_S,
            before_s,
        }
    }

    /// Index of the unit that an axis time belongs to.
    pub fn unit(&self, s: i64) -> usize {
        let k = (s + self.before_s).div_euclid(self.period_s);
        usize::try_from(k).unwrap_or(0).min(self.units - 1)
    }

    /// Night time of an axis time.
    pub fn time(&self, s: i64) -> i64 {
        s - self.unit(s) as i64 * self.period_s
    }

    /// Axis time of a night time on a unit.
    pub fn on(&self, unit: usize, t: i64) -> i64 {
        t + unit as i64 * self.period_s
    }

    /// Parts of ascending ranges of axis time whose night time lies in `[first, last]`.
    pub fn cut(&self, ranges: &[(i64, i64)], first: i64, last: i64) -> Vec<(i64, i64)> {
        let part = |(a, b): &(i64, i64)| {
            let offset = self.on(self.unit(*a), 0);
            let limit = |t: i64| t.saturating_add(offset);
            ((*a).max(limit(first)), (*b).min(limit(last)))
        };
        ranges.iter().map(part).filter(|(a, b)| a <= b).collect()
    }

    /// First and last night time of ranges of axis time.
    pub fn hull(&self, ranges: &[(i64, i64)]) -> Option<(i64, i64)> {
        let first = ranges.iter().map(|r| self.time(r.0)).min()?;
        let last = ranges.iter().map(|r| self.time(r.1)).max()?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_time_and_night_time_are_two_names_of_one_instant() {
        let axis = Axis::new(3, 35_880.0, 90);
        for unit in 0..3 {
            for t in [-90, -1, 0, 17, 35_880] {
                let s = axis.on(unit, t);
                assert_eq!((axis.unit(s), axis.time(s)), (unit, t));
            }
        }
        assert!(axis.on(1, -90) > axis.on(0, 35_880));
    }

    #[test]
    fn ranges_are_cut_on_every_unit_alike() {
        let axis = Axis::new(2, 10_000.0, 60);
        let ranges = [(100, 900), (axis.on(1, 300), axis.on(1, 700))];
        assert_eq!(
            axis.cut(&ranges, 400, 600),
            vec![(400, 600), (axis.on(1, 400), axis.on(1, 600))]
        );
        assert_eq!(axis.cut(&ranges, 800, i64::MAX), vec![(800, 900)]);
        assert_eq!(axis.hull(&ranges), Some((100, 900)));
    }
}
