//! Several sources, one reading.
//!
//! Rule, per quantity: stale and stuck readings are taken out. Of what is left the *worst* counts: the highest wind,
//! gust, humidity, rain, light, sky temperature, silence of the link and word of a safety monitor; the lowest charge, free
//! space and temperature-to-dew-point distance. When
//! nothing is left the fused reading is the most telling reason. Two sources that differ by more than the tolerance of
//! the quantity are a contradiction only where the worst is not meaningful (temperature, pressure); for the others the
//! worst already is the careful answer.

use alidade_drivers::interface::Quantity;
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};
use std::collections::BTreeMap;

/// Limits of belief in one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Older readings are stale, seconds.
    pub max_age_s: f64,
    /// A value that has not changed at all for this long is stuck, seconds.
    pub stuck_after_s: f64,
}

/// Remembers since when each sensor has shown its present value.
#[derive(Debug, Clone, Default)]
pub struct History {
    unchanged: BTreeMap<(String, Quantity), (f64, UtcTime)>,
}

/// Quantities whose sensors always flicker in working order; rain, gust and light may rest at zero for hours, and a
/// full battery at 100.
fn flickers(quantity: Quantity) -> bool {
    matches!(
        quantity,
        Quantity::WindMS | Quantity::HumidityPct | Quantity::TemperatureC | Quantity::SkyTemperatureK
    )
}

fn worse(quantity: Quantity, a: f64, b: f64) -> f64 {
    match quantity {
        Quantity::UpsChargePct | Quantity::DiskFreeMb | Quantity::TemperatureC | Quantity::PressureHpa => a.min(b),
        _ => a.max(b),
    }
}

fn tolerance(quantity: Quantity) -> Option<f64> {
    match quantity {
        Quantity::TemperatureC => Some(8.0),
        Quantity::PressureHpa => Some(10.0),
        _ => None,
    }
}

/// How telling a reason is, when no source has a value: a reached but failed sensor says more than silence.
fn weight(reason: NoData) -> u8 {
    match reason {
        NoData::NeverRead => 0,
        NoData::LinkDown | NoData::Timeout => 1,
        NoData::Stale => 2,
        NoData::SensorFault | NoData::OutOfRange => 3,
        NoData::Stuck | NoData::Contradiction => 4,
    }
}

/// Fuses the readings of all sources at `now`.
pub fn fuse(
    history: &mut History,
    sources: &[(&str, &BTreeMap<Quantity, Reading<f64>>)],
    belief: Belief,
    now: UtcTime,
) -> BTreeMap<Quantity, Reading<f64>> {
    let mut fused: BTreeMap<Quantity, Reading<f64>> = BTreeMap::new();
    for (source, readings) in sources {
        for (quantity, reading) in *readings {
            let judged = judge(history, source, *quantity, reading, belief, now);
            let merged = match fused.get(quantity) {
                None => judged,
                Some(other) => merge(*quantity, *other, judged),
            };
            fused.insert(*quantity, merged);
        }
    }
    fused
}

fn judge(
    history: &mut History,
    source: &str,
    quantity: Quantity,
    reading: &Reading<f64>,
    belief: Belief,
    now: UtcTime,
) -> Reading<f64> {
    let value = match reading.fresh(now, belief.max_age_s) {
        Ok(value) if value.is_finite() => *value,
        Ok(_) => return Reading::none(NoData::OutOfRange, reading.measured_at),
        Err(reason) => return Reading::none(reason, reading.measured_at),
    };
    if flickers(quantity) {
        let key = (source.to_owned(), quantity);
        let since = match history.unchanged.get(&key) {
            Some((last, since)) if *last == value => *since,
            _ => {
                history.unchanged.insert(key, (value, now));
                now
            }
        };
        if now.seconds_since(since) > belief.stuck_after_s {
            return Reading::none(NoData::Stuck, reading.measured_at);
        }
    }
    Reading::good(value, reading.measured_at)
}

fn merge(quantity: Quantity, a: Reading<f64>, b: Reading<f64>) -> Reading<f64> {
    match (a.value, b.value) {
        (Ok(x), Ok(y)) => {
            let at = a.measured_at.min(b.measured_at);
            if tolerance(quantity).is_some_and(|tolerance| (x - y).abs() > tolerance) {
                Reading::none(NoData::Contradiction, at)
            } else {
                Reading::good(worse(quantity, x, y), at)
            }
        }
        // A contradiction found among earlier sources is not healed by one more voice.
        (Err(NoData::Contradiction), _) => a,
        (Ok(_), Err(_)) => a,
        (Err(_), Ok(_)) => b,
        (Err(x), Err(y)) => {
            if weight(x) >= weight(y) {
                a
            } else {
                b
            }
        }
    }
}

/// The distance to the dew point in kelvin, from fused temperature and dew point.
pub fn dew_point_distance(fused: &BTreeMap<Quantity, Reading<f64>>) -> Option<Reading<f64>> {
    let (temperature, dew_point) = (fused.get(&Quantity::TemperatureC)?, fused.get(&Quantity::DewPointC)?);
    let at = temperature.measured_at.min(dew_point.measured_at);
    Some(match (temperature.value, dew_point.value) {
        (Ok(t), Ok(d)) => Reading::good(t - d, at),
        (Err(reason), _) | (_, Err(reason)) => Reading::none(reason, at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BELIEF: Belief = Belief {
        max_age_s: 10.0,
        stuck_after_s: 1200.0,
    };

    fn at(second: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn one(quantity: Quantity, value: f64, second: f64) -> BTreeMap<Quantity, Reading<f64>> {
        BTreeMap::from([(quantity, Reading::good(value, at(second)))])
    }

    #[test]
    fn the_worst_of_two_fresh_stations_counts() {
        let (a, b) = (one(Quantity::RainMmH, 0.0, 0.0), one(Quantity::RainMmH, 1.2, 0.0));
        let fused = fuse(
            &mut History::default(),
            &[("plc", &a), ("station", &b)],
            BELIEF,
            at(1.0),
        );
        assert_eq!(fused[&Quantity::RainMmH].value, Ok(1.2));
    }

    #[test]
    fn a_stale_station_does_not_hide_the_living_one() {
        let (a, b) = (one(Quantity::GustMS, 3.0, -60.0), one(Quantity::GustMS, 4.0, 0.0));
        let fused = fuse(
            &mut History::default(),
            &[("plc", &a), ("station", &b)],
            BELIEF,
            at(1.0),
        );
        assert_eq!(fused[&Quantity::GustMS].value, Ok(4.0));
    }

    #[test]
    fn when_every_source_is_silent_the_reason_is_kept() {
        let a = one(Quantity::GustMS, 3.0, -60.0);
        let fused = fuse(&mut History::default(), &[("plc", &a)], BELIEF, at(1.0));
        assert_eq!(fused[&Quantity::GustMS].value, Err(NoData::Stale));
    }

    #[test]
    fn a_wind_that_never_changes_is_a_stuck_sensor() {
        let mut history = History::default();
        for second in 0..=1201 {
            let second = f64::from(second);
            let readings = one(Quantity::WindMS, 3.25, second);
            let fused = fuse(&mut history, &[("plc", &readings)], BELIEF, at(second));
            let expected = if second > 1200.0 { Err(NoData::Stuck) } else { Ok(3.25) };
            assert_eq!(fused[&Quantity::WindMS].value, expected, "at {second}");
        }
    }

    #[test]
    fn thermometers_that_disagree_are_not_believed() {
        let (a, b) = (
            one(Quantity::TemperatureC, 5.0, 0.0),
            one(Quantity::TemperatureC, 25.0, 0.0),
        );
        let fused = fuse(
            &mut History::default(),
            &[("plc", &a), ("station", &b)],
            BELIEF,
            at(1.0),
        );
        assert_eq!(fused[&Quantity::TemperatureC].value, Err(NoData::Contradiction));
    }
}
