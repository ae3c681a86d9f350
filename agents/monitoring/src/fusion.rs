//! Several sources, one reading.
//!
//! Rule, per quantity: stale, stuck and impossible readings are taken out. Of what is left the *worst* counts: the highest
//! wind, gust, humidity, rain, light, sky temperature, silence of the link and word of a safety monitor; the lowest charge,
//! free space and temperature. When nothing is left the fused reading is the most telling reason.
//!
//! *Contradiction*: sources that differ by more than weather differs over a site ([`dissent`]). The worst would be the
//! careful answer if one of them were right; sources so far apart do not vouch for that. What changes within seconds (wind,
//! gusts) may differ for a minute before it counts. Rain, words of monitors, light, free space and the link have no such
//! tolerance: there the worst forbids by itself, or one sensor may rightly see what the other does not.
//!
//! *Stuck*: a value that has not changed at all for longer than nature allows, unless it stands where such a sensor rests
//! ([`rests`]): rain at nothing, light at dark, a gust in a calm, a battery that is full.

use alidade_drivers::interface::{ByQuantity, Quantity, Readings};
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};

/// Limits of belief in one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Older readings are stale, seconds.
    pub max_age_s: f64,
    /// A value that has not changed at all for this long is stuck, seconds.
    pub stuck_after_s: f64,
}

/// The present value of a sensor, since when it is that, and when it was last seen.
#[derive(Debug, Clone, Copy)]
struct Shown {
    value: f64,
    since: UtcTime,
    seen: UtcTime,
}

/// Since when a sensor has shown this value.
fn since(sensor: &mut Option<Shown>, value: f64, now: UtcTime) -> UtcTime {
    let fresh = Shown {
        value,
        since: now,
        seen: now,
    };
    let known = sensor.get_or_insert(fresh);
    if known.value != value {
        *known = fresh;
    }
    known.seen = now;
    known.since
}

/// Remembers since when each sensor has shown its present value, and since when sources disagree.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By source.
    unchanged: Vec<(String, ByQuantity<Shown>)>,
    disagreed: ByQuantity<UtcTime>,
}

impl History {
    /// The clock was set: what stands still, or is disputed, has been so for as long as before.
    pub fn move_by(&mut self, seconds: f64) {
        for (_, sensors) in &mut self.unchanged {
            for (_, shown) in sensors.iter_mut() {
                shown.since = shown.since.plus_seconds(seconds);
                shown.seen = shown.seen.plus_seconds(seconds);
            }
        }
        for (_, since) in self.disagreed.iter_mut() {
            *since = since.plus_seconds(seconds);
        }
    }

    /// What is known of the sensors of one source.
    fn sensors(&mut self, source: &str) -> &mut ByQuantity<Shown> {
        let at = match self.unchanged.iter().position(|(known, _)| known == source) {
            Some(at) => at,
            None => {
                self.unchanged.push((source.to_owned(), ByQuantity::new()));
                self.unchanged.len() - 1
            }
        };
        &mut self.unchanged[at].1
    }

    /// True when everything that never stands still in working order stands still at this source, and that is more than
    /// one sensor: it repeats what it once said, and its switches with it. To be asked at the instant of the last
    /// [`fuse`].
    pub fn repeats(&self, source: &str, belief: Belief, now: UtcTime) -> bool {
        let (mut count, mut still) = (0, 0);
        let sensors = self.unchanged.iter().find(|(known, _)| known == source);
        for (quantity, shown) in sensors.into_iter().flat_map(|(_, sensors)| sensors.iter()) {
            // A sensor that has died says nothing about the others.
            if shown.seen == now && !rests(quantity, shown.value) {
                count += 1;
                still += u32::from(now.seconds_since(shown.since) > belief.stuck_after_s);
            }
        }
        count > 1 && still == count
    }
}

/// Values at which a working sensor may stand for hours. Wind, humidity and temperatures never do at the resolution of
/// their sensors; pressure may, a switch may, and so may what this machine measures of itself with the time of each look.
pub fn rests(quantity: Quantity, value: f64) -> bool {
    match quantity {
        Quantity::WindMS
        | Quantity::HumidityPct
        | Quantity::TemperatureC
        | Quantity::DewPointC
        | Quantity::SkyTemperatureK
        | Quantity::InsideHumidityPct => false,
        Quantity::GustMS | Quantity::RainMmH | Quantity::LinkSilentS => value <= 0.0,
        Quantity::LightLux => value < 1.0,
        // On mains a battery floats somewhere near its full charge; on its way down or up it moves.
        Quantity::UpsChargePct => value >= 90.0,
        Quantity::PressureHpa | Quantity::MonitorUnsafe | Quantity::DiskFreeMb => true,
    }
}

fn worse(quantity: Quantity, a: f64, b: f64) -> f64 {
    match quantity {
        Quantity::UpsChargePct | Quantity::DiskFreeMb | Quantity::TemperatureC | Quantity::PressureHpa => a.min(b),
        _ => a.max(b),
    }
}

/// How far two sources of one site may be apart, and for how long, seconds.
pub fn dissent(quantity: Quantity) -> Option<(f64, f64)> {
    match quantity {
        Quantity::TemperatureC | Quantity::DewPointC => Some((8.0, 0.0)),
        Quantity::PressureHpa => Some((10.0, 0.0)),
        Quantity::HumidityPct | Quantity::InsideHumidityPct => Some((30.0, 0.0)),
        // A hand's breadth of cloud is seen by one and not by the other.
        Quantity::SkyTemperatureK => Some((20.0, 60.0)),
        Quantity::WindMS => Some((8.0, 60.0)),
        Quantity::GustMS => Some((12.0, 60.0)),
        Quantity::UpsChargePct => Some((20.0, 0.0)),
        Quantity::RainMmH
        | Quantity::LightLux
        | Quantity::MonitorUnsafe
        | Quantity::DiskFreeMb
        | Quantity::LinkSilentS => None,
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
pub fn fuse(history: &mut History, sources: &[(&str, &Readings)], belief: Belief, now: UtcTime) -> Readings {
    let mut fused = Readings::new();
    // The lowest and the highest of what is believed.
    let mut spans: ByQuantity<(f64, f64)> = ByQuantity::new();
    for (source, readings) in sources {
        let sensors = history.sensors(source);
        for (quantity, reading) in readings.iter() {
            let judged = judge(sensors.slot(quantity), quantity, reading, belief, now);
            if let Ok(value) = judged.value {
                let (low, high) = spans.get(quantity).copied().unwrap_or((value, value));
                spans.insert(quantity, (low.min(value), high.max(value)));
            }
            let other = fused.get(quantity).copied();
            fused.insert(quantity, other.map_or(judged, |other| merge(quantity, other, judged)));
        }
    }
    for (quantity, reading) in fused.iter_mut() {
        let disagreed = history.disagreed.slot(quantity);
        match dissent(quantity).zip(spans.get(quantity)) {
            Some(((tolerance, patience_s), (low, high))) if high - low > tolerance => {
                let since = *disagreed.get_or_insert(now);
                if now.seconds_since(since) >= patience_s {
                    *reading = Reading::none(NoData::Contradiction, reading.measured_at);
                }
            }
            _ => *disagreed = None,
        }
    }
    fused
}

fn judge(
    sensor: &mut Option<Shown>,
    quantity: Quantity,
    reading: &Reading<f64>,
    belief: Belief,
    now: UtcTime,
) -> Reading<f64> {
    let (low, high) = quantity.plausible();
    let value = match reading.fresh(now, belief.max_age_s) {
        Ok(value) if (low..=high).contains(value) => *value,
        Ok(_) => return Reading::none(NoData::OutOfRange, reading.measured_at),
        Err(reason) => return Reading::none(reason, reading.measured_at),
    };
    let since = since(sensor, value, now);
    if !rests(quantity, value) && now.seconds_since(since) > belief.stuck_after_s {
        return Reading::none(NoData::Stuck, reading.measured_at);
    }
    Reading::good(value, reading.measured_at)
}

fn merge(quantity: Quantity, a: Reading<f64>, b: Reading<f64>) -> Reading<f64> {
    match (a.value, b.value) {
        (Ok(x), Ok(y)) => Reading::good(worse(quantity, x, y), a.measured_at.min(b.measured_at)),
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
pub fn dew_point_distance(fused: &Readings) -> Option<Reading<f64>> {
    let (temperature, dew_point) = (fused.get(Quantity::TemperatureC)?, fused.get(Quantity::DewPointC)?);
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

    fn one(quantity: Quantity, value: f64, second: f64) -> Readings {
        Readings::from([(quantity, Reading::good(value, at(second)))])
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
        assert_eq!(fused[Quantity::RainMmH].value, Ok(1.2));
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
        assert_eq!(fused[Quantity::GustMS].value, Ok(4.0));
    }

    #[test]
    fn when_every_source_is_silent_the_reason_is_kept() {
        let a = one(Quantity::GustMS, 3.0, -60.0);
        let fused = fuse(&mut History::default(), &[("plc", &a)], BELIEF, at(1.0));
        assert_eq!(fused[Quantity::GustMS].value, Err(NoData::Stale));
    }

    #[test]
    fn a_wind_that_never_changes_is_a_stuck_sensor() {
        let mut history = History::default();
        for second in 0..=1201 {
            let second = f64::from(second);
            let readings = one(Quantity::WindMS, 3.25, second);
            let fused = fuse(&mut history, &[("plc", &readings)], BELIEF, at(second));
            let expected = if second > 1200.0 { Err(NoData::Stuck) } else { Ok(3.25) };
            assert_eq!(fused[Quantity::WindMS].value, expected, "at {second}");
        }
    }

    #[test]
    fn a_source_repeats_itself_when_all_its_living_sensors_stand_still_and_not_when_they_have_died() {
        let told = |wind: Result<f64, NoData>, second: f64| {
            let reading = |value| Reading {
                value,
                measured_at: at(second),
            };
            Readings::from([
                (Quantity::WindMS, reading(wind)),
                (Quantity::HumidityPct, reading(wind.map(|_| 40.0))),
                (Quantity::RainMmH, reading(Ok(0.0))),
            ])
        };
        for (wind, repeats) in [(Ok(3.0), true), (Err(NoData::SensorFault), false)] {
            let mut history = History::default();
            for second in [0.0, 600.0, 1201.0] {
                let told = told(if second == 0.0 { Ok(3.0) } else { wind }, second);
                fuse(&mut history, &[("plc", &told)], BELIEF, at(second));
            }
            assert_eq!(history.repeats("plc", BELIEF, at(1201.0)), repeats, "{wind:?}");
        }
    }

    #[test]
    fn gusts_may_differ_for_a_moment_and_not_for_a_minute() {
        let mut history = History::default();
        let mut look = |second: f64, other: f64| {
            let (a, b) = (
                one(Quantity::GustMS, 3.0 + second / 1e3, second),
                one(Quantity::GustMS, other, second),
            );
            fuse(&mut history, &[("plc", &a), ("station", &b)], BELIEF, at(second))[Quantity::GustMS].value
        };
        assert_eq!(look(0.0, 17.0), Ok(17.0));
        assert_eq!(look(59.0, 17.1), Ok(17.1));
        assert_eq!(look(60.0, 9.0), Ok(9.0));
        assert_eq!(look(61.0, 17.0), Ok(17.0));
        assert_eq!(look(121.0, 17.1), Err(NoData::Contradiction));
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
        assert_eq!(fused[Quantity::TemperatureC].value, Err(NoData::Contradiction));
    }
}
