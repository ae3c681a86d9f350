//! Which master fits a frame: by instrument, filter, binning, gain, size, temperature and age.
//!
//! Terms:
//! - *setup*: all of a frame that a master must share with it, as its header tells.
//! - *misfit*: why a master is never used for a frame.
//! - *doubt*: why a master that is used is not the one that should be: a degradation of the frame.
//!
//! The fallback, for each kind by itself:
//! 1. Of another instrument or channel, binning, gain or size, a flat of another filter, or beyond the outer limits of
//!    temperature and age: never.
//! 2. Of the rest the youngest within the preferred temperature and age.
//! 3. Without such the youngest of the rest, those of the right temperature first; its doubts go with the frame.
//! 4. Without any none: that is a degradation too, and what was refused is counted by its reason.
//!
//! Age is the time between the exposures, whichever came first. What neither header tells is taken to agree; what only one
//! of them tells does not, but for temperature and age, which are then in doubt.

mod setup;

pub use setup::{Kind, Setup, mjd_of};

use serde::Serialize;
use std::{collections::BTreeMap, fmt, path::PathBuf};

impl Setup {
    /// Whether frames of this and the other setup make one master, but for their temperature.
    pub fn combines_with(&self, other: &Setup, kind: Kind) -> bool {
        misfit_of_detector(self, other).is_none() && (kind != Kind::Flat || self.filter == other.filter)
    }
}

/// A master on disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Known {
    pub kind: Kind,
    pub setup: Setup,
    pub path: PathBuf,
}

/// How old, and how much warmer or colder, a master may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Days, wanted and at most.
    pub preferred_days: f64,
    pub most_days: f64,
    /// Degrees, wanted and at most; infinite where temperature does not matter.
    pub preferred_degrees: f64,
    pub most_degrees: f64,
}

impl Tolerance {
    /// The usual limits. Dark current doubles about every six degrees (Widenhorn et al. 2002, Proc. SPIE 4669, 193): one
    /// degree is an eighth of it, three are two fifths. Dust moves within weeks, a bias level and defects within months.
    pub fn of(kind: Kind) -> Self {
        let (preferred_days, most_days, preferred_degrees, most_degrees) = match kind {
            Kind::Bias => (30.0, 400.0, 3.0, 10.0),
            Kind::Dark => (30.0, 400.0, 1.0, 3.0),
            Kind::Flat => (10.0, 60.0, f64::INFINITY, f64::INFINITY),
            Kind::Mask => (90.0, 800.0, f64::INFINITY, f64::INFINITY),
        };
        Self {
            preferred_days,
            most_days,
            preferred_degrees,
            most_degrees,
        }
    }
}

/// Why a master is never used for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    Instrument,
    Filter,
    Binning,
    Gain,
    Size,
    Temperature,
    Age,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misfit::Instrument => "another instrument",
            Misfit::Filter => "another filter",
            Misfit::Binning => "another binning",
            Misfit::Gain => "another gain",
            Misfit::Size => "another size",
            Misfit::Temperature => "too warm or too cold",
            Misfit::Age => "too old",
        })
    }
}

/// Why a master that is used is not what should be used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "doubt")]
pub enum Doubt {
    #[error("{off_degrees:+.1} degrees from the frame's temperature")]
    Temperature { off_degrees: f64 },
    #[error("its temperature, or the frame's, is not known")]
    TemperatureUnknown,
    #[error("{days:.0} days from the frame, {preferred:.0} are preferred")]
    Age { days: f64, preferred: f64 },
    #[error("its age is not known")]
    AgeUnknown,
}

/// The master that is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice<'a> {
    #[serde(flatten)]
    pub master: &'a Known,
    /// Days between the exposures.
    pub age_days: Option<f64>,
    /// The master's temperature less the frame's, degrees.
    pub off_degrees: Option<f64>,
    pub doubts: Vec<Doubt>,
}

/// No master fits; how many were refused, by the reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nothing {
    pub refused: BTreeMap<Misfit, usize>,
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refused.is_empty() {
            return f.write_str("there is none");
        }
        for (n, (why, count)) in self.refused.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{count} of {why}")?;
        }
        Ok(())
    }
}

/// Gains that differ by less than this share are one.
const GAIN_SHARE: f64 = 0.01;

fn misfit_of_detector(frame: &Setup, master: &Setup) -> Option<Misfit> {
    let gains = match (frame.gain, master.gain) {
        (Some(a), Some(b)) => (a - b).abs() <= GAIN_SHARE * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    };
    match () {
        () if (&frame.instrument, &frame.channel) != (&master.instrument, &master.channel) => Some(Misfit::Instrument),
        () if frame.binning != master.binning => Some(Misfit::Binning),
        () if !gains => Some(Misfit::Gain),
        () if frame.size != master.size => Some(Misfit::Size),
        () => None,
    }
}

/// Whether a master may be used for a frame, and with which doubts.
fn judged<'a>(kind: Kind, frame: &Setup, master: &'a Known, tolerance: &Tolerance) -> Result<Choice<'a>, Misfit> {
    if let Some(misfit) = misfit_of_detector(frame, &master.setup) {
        return Err(misfit);
    }
    if kind == Kind::Flat && frame.filter != master.setup.filter {
        return Err(Misfit::Filter);
    }
    let mut doubts = Vec::new();
    let both = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
    let off_degrees = both(master.setup.temperature_c, frame.temperature_c);
    let matters = tolerance.most_degrees.is_finite();
    let told_by_one = master.setup.temperature_c.is_some() != frame.temperature_c.is_some();
    match off_degrees {
        Some(off) if off.abs() > tolerance.most_degrees => return Err(Misfit::Temperature),
        Some(off_degrees) if off_degrees.abs() > tolerance.preferred_degrees => {
            doubts.push(Doubt::Temperature { off_degrees });
        }
        None if matters && told_by_one => doubts.push(Doubt::TemperatureUnknown),
        _ => {}
    }
    let age_days = both(frame.mjd, master.setup.mjd).map(f64::abs);
    match age_days {
        Some(days) if days > tolerance.most_days => return Err(Misfit::Age),
        Some(days) if days > tolerance.preferred_days => doubts.push(Doubt::Age {
            days,
            preferred: tolerance.preferred_days,
        }),
        None => doubts.push(Doubt::AgeUnknown),
        _ => {}
    }
    Ok(Choice {
        master,
        age_days,
        off_degrees,
        doubts,
    })
}

/// The master of a kind for a frame, by the rule of the module's text.
pub fn choose<'a>(kind: Kind, frame: &Setup, known: &'a [Known], tolerance: &Tolerance) -> Result<Choice<'a>, Nothing> {
    let mut nothing = Nothing::default();
    let mut best: Option<Choice<'a>> = None;
    for master in known.iter().filter(|k| k.kind == kind) {
        match judged(kind, frame, master, tolerance) {
            Err(misfit) => *nothing.refused.entry(misfit).or_default() += 1,
            Ok(choice) => {
                if best.as_ref().is_none_or(|b| rank(&choice) < rank(b)) {
                    best = Some(choice);
                }
            }
        }
    }
    best.ok_or(nothing)
}

/// Smaller is better: no doubt of temperature, then none of age, then the youngest, then the nearest in temperature.
fn rank<'a>(choice: &Choice<'a>) -> (bool, bool, Ordered, Ordered, &'a PathBuf) {
    let of_temperature = |d: &Doubt| matches!(d, Doubt::Temperature { .. } | Doubt::TemperatureUnknown);
    let warm = choice.doubts.iter().any(of_temperature);
    let old = choice.doubts.iter().any(|d| !of_temperature(d));
    let or_far = |v: Option<f64>| Ordered(v.map_or(f64::INFINITY, f64::abs));
    (
        warm,
        old,
        or_far(choice.age_days),
        or_far(choice.off_degrees),
        &choice.master.path,
    )
}

/// A number that can be sorted.
#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Frames of one night that were taken at two temperatures have at least this between them, degrees.
const GAP_DEGREES: f64 = 2.0;

/// Single frames of one kind as sets that make one master each: places in `frames`, in their order. Darks and bias frames
/// of different temperatures are apart where a gap shows.
pub fn sets(kind: Kind, frames: &[Setup]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for (at, frame) in frames.iter().enumerate() {
        match sets.iter_mut().find(|s| frames[s[0]].combines_with(frame, kind)) {
            Some(set) => set.push(at),
            None => sets.push(vec![at]),
        }
    }
    if !Tolerance::of(kind).most_degrees.is_finite() {
        return sets;
    }
    let by_temperature = |set: Vec<usize>| {
        let warmth = |at: &usize| frames[*at].temperature_c.unwrap_or(f64::NEG_INFINITY);
        let mut sorted = set;
        sorted.sort_by(|a, b| warmth(a).total_cmp(&warmth(b)));
        let mut parts: Vec<Vec<usize>> = sorted
            .chunk_by(|a, b| warmth(b) - warmth(a) <= GAP_DEGREES || warmth(a) == warmth(b))
            .map(<[usize]>::to_vec)
            .collect();
        parts.iter_mut().for_each(|p| p.sort_unstable());
        parts
    };
    sets.into_iter().flat_map(by_temperature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Setup {
        Setup {
            instrument: Some("ccd".into()),
            channel: Some("vis".into()),
            filter: Some("r".into()),
            binning: (1, 1),
            gain: Some(1.5),
            temperature_c: Some(-20.0),
            size: (1024, 1024),
            mjd: Some(61_000.0),
        }
    }

    /// A master so many days before the frame, changed.
    fn master(kind: Kind, days: f64, change: impl FnOnce(&mut Setup)) -> Known {
        let mut setup = frame();
        setup.mjd = Some(61_000.0 - days);
        change(&mut setup);
        Known {
            kind,
            setup,
            path: format!("{days}").into(),
        }
    }

    fn age(kind: Kind, known: &[Known]) -> Result<(f64, Vec<Doubt>), Nothing> {
        let choice = choose(kind, &frame(), known, &Tolerance::of(kind))?;
        Ok((choice.age_days.unwrap_or(f64::NAN), choice.doubts))
    }

    #[test]
    fn what_differs_in_instrument_binning_gain_size_or_filter_is_never_used() {
        type Change = fn(&mut Setup);
        let table: [(Misfit, Change); 12] = [
            (Misfit::Instrument, |s| s.instrument = Some("other".into())),
            (Misfit::Instrument, |s| s.instrument = None),
            (Misfit::Instrument, |s| s.channel = Some("nir".into())),
            (Misfit::Binning, |s| s.binning = (2, 2)),
            (Misfit::Binning, |s| s.binning = (1, 2)),
            (Misfit::Gain, |s| s.gain = Some(1.6)),
            (Misfit::Gain, |s| s.gain = None),
            (Misfit::Size, |s| s.size = (1024, 1000)),
            (Misfit::Filter, |s| s.filter = Some("g".into())),
            (Misfit::Filter, |s| s.filter = None),
            (Misfit::Age, |s| s.mjd = Some(61_000.0 - 61.0)),
            (Misfit::Age, |s| s.mjd = Some(61_000.0 + 61.0)),
        ];
        for (misfit, change) in table {
            let none = age(Kind::Flat, &[master(Kind::Flat, 1.0, change)]).unwrap_err();
            assert_eq!(none.refused, BTreeMap::from([(misfit, 1)]));
        }
        // Neither the filter nor warmth matter where they have no effect.
        for kind in [Kind::Bias, Kind::Dark, Kind::Mask] {
            assert!(age(kind, &[master(kind, 1.0, |s| s.filter = Some("g".into()))]).is_ok());
        }
        assert!(age(Kind::Flat, &[master(Kind::Flat, 1.0, |s| s.temperature_c = Some(15.0))]).is_ok());
        let warm = age(
            Kind::Dark,
            &[master(Kind::Dark, 1.0, |s| s.temperature_c = Some(-16.0))],
        );
        assert_eq!(warm.unwrap_err().refused, BTreeMap::from([(Misfit::Temperature, 1)]));
    }

    #[test]
    fn the_youngest_that_fits_is_used_and_doubts_come_with_what_is_beyond_the_preferred() {
        let plain = |_: &mut Setup| {};
        let warmer: fn(&mut Setup) = |s| s.temperature_c = Some(-18.0);
        let found = age(Kind::Flat, &[4.0, 2.0, 9.0].map(|d| master(Kind::Flat, d, plain)));
        assert_eq!(found, Ok((2.0, vec![])));
        let old = age(Kind::Flat, &[40.0, 21.0].map(|d| master(Kind::Flat, d, plain))).unwrap();
        let doubt = Doubt::Age {
            days: 21.0,
            preferred: 10.0,
        };
        assert_eq!(old, (21.0, vec![doubt]));
        // The right temperature comes before the youngest.
        let dark = [
            master(Kind::Dark, 1.0, warmer),
            master(Kind::Dark, 50.0, plain),
            master(Kind::Bias, 0.0, plain),
        ];
        let (days, doubts) = age(Kind::Dark, &dark).unwrap();
        assert!(days == 50.0 && matches!(doubts[..], [Doubt::Age { .. }]), "{doubts:?}");
        let (days, doubts) = age(Kind::Dark, &dark[..1]).unwrap();
        assert_eq!((days, doubts), (1.0, vec![Doubt::Temperature { off_degrees: 2.0 }]));
        // What is not told is in doubt, and comes last.
        let mute = master(Kind::Dark, 3.0, |s| (s.mjd, s.temperature_c) = (None, None));
        let choice = choose(
            Kind::Dark,
            &frame(),
            std::slice::from_ref(&mute),
            &Tolerance::of(Kind::Dark),
        )
        .unwrap();
        assert_eq!(choice.doubts, [Doubt::TemperatureUnknown, Doubt::AgeUnknown]);
        assert_eq!(age(Kind::Dark, &[mute, dark[1].clone()]).unwrap().0, 50.0);
        assert_eq!(age(Kind::Flat, &dark).unwrap_err().to_string(), "there is none");
    }

    #[test]
    fn a_master_of_the_morning_after_is_as_good_as_one_of_the_evening_before() {
        let found = age(Kind::Bias, &[0.6, -0.4].map(|d| master(Kind::Bias, d, |_| {})));
        assert!((found.unwrap().0 - 0.4).abs() < 1e-9);
    }

    #[test]
    fn frames_are_put_into_sets_by_what_a_master_must_share() {
        let with = |change: fn(&mut Setup)| {
            let mut setup = frame();
            change(&mut setup);
            setup
        };
        let frames = [
            frame(),
            with(|s| s.binning = (2, 2)),
            with(|s| s.temperature_c = Some(-19.6)),
            with(|s| s.filter = Some("g".into())),
            with(|s| s.temperature_c = Some(-10.0)),
        ];
        assert_eq!(sets(Kind::Flat, &frames), [vec![0, 2, 4], vec![1], vec![3]]);
        assert_eq!(sets(Kind::Dark, &frames), [vec![0, 2, 3], vec![4], vec![1]]);
        assert!(sets(Kind::Bias, &[]).is_empty());
    }
}
