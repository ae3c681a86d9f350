//! The true weather of a night: a table in time, interpolated, with whatever a random plan adds.

use crate::world::{WeatherSample, WeatherSeries};
use alidade_model::time::UtcTime;
use std::{cell::Cell, rc::Rc};

/// Rows in time order; between two rows every quantity is interpolated, but rain begins and ends at its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    rows: Vec<(UtcTime, WeatherSample)>,
    /// Spells that a random plan lays over the table.
    pub spells: Vec<Spell>,
}

/// A stretch of bad weather with ramps at both ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Spell {
    pub start: UtcTime,
    pub end: UtcTime,
    pub kind: SpellKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SpellKind {
    Shower { rain_mm_h: f64 },
    Storm { gust_m_s: f64 },
    Fog,
    Cloud,
}

/// Names of the columns after `time_utc`, in the order of the table.
pub const COLUMNS: [&str; 10] = [
    "wind_m_s",
    "gust_m_s",
    "humidity_pct",
    "temperature_c",
    "dew_point_c",
    "pressure_hpa",
    "rain_mm_h",
    "sky_temperature_k",
    "cloud",
    "seeing_arcsec",
];

const RANGES: [(f64, f64); 10] = [
    (0.0, 80.0),
    (0.0, 100.0),
    (0.0, 100.0),
    (-50.0, 50.0),
    (-60.0, 50.0),
    (400.0, 1100.0),
    (0.0, 300.0),
    (-60.0, 30.0),
    (0.0, 1.0),
    (0.2, 30.0),
];

fn of(values: [f64; 10]) -> WeatherSample {
    let [
        wind_m_s,
        gust_m_s,
        humidity_pct,
        temperature_c,
        dew_point_c,
        pressure_hpa,
        rain_mm_h,
        sky_temperature_k,
        cloud,
        seeing_arcsec,
    ] = values;
    WeatherSample {
        wind_m_s,
        gust_m_s,
        humidity_pct,
        temperature_c,
        dew_point_c,
        pressure_hpa,
        rain_mm_h,
        sky_temperature_k,
        cloud,
        seeing_arcsec,
    }
}

fn values(s: &WeatherSample) -> [f64; 10] {
    [
        s.wind_m_s,
        s.gust_m_s,
        s.humidity_pct,
        s.temperature_c,
        s.dew_point_c,
        s.pressure_hpa,
        s.rain_mm_h,
        s.sky_temperature_k,
        s.cloud,
        s.seeing_arcsec,
    ]
}

impl Table {
    /// Reads `time_utc` and the ten columns, comma-separated, a header first. The error is line number and cause.
    pub fn from_csv(text: &str) -> Result<Self, (usize, String)> {
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let (_, header) = lines.next().ok_or((1, "is empty".to_owned()))?;
        let expected = format!("time_utc,{}", COLUMNS.join(","));
        if header.trim() != expected {
            return Err((1, format!("the first line must be {expected}")));
        }
        let mut rows: Vec<(UtcTime, WeatherSample)> = Vec::new();
        for (index, line) in lines {
            let at = index + 1;
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            if fields.len() != 11 {
                return Err((at, format!("has {} fields instead of 11", fields.len())));
            }
            let time: UtcTime = fields[0]
                .parse()
                .map_err(|e| (at, format!("time_utc {:?}: {e}", fields[0])))?;
            if rows.last().is_some_and(|(last, _)| *last >= time) {
                return Err((at, format!("time_utc {time} is not later than the line before")));
            }
            let mut numbers = [0.0; 10];
            for (column, number) in numbers.iter_mut().enumerate() {
                let text = fields[column + 1];
                let (low, high) = RANGES[column];
                *number = text.parse().ok().filter(|n| (low..=high).contains(n)).ok_or_else(|| {
                    (
                        at,
                        format!("{} {text:?} is not a number from {low} to {high}", COLUMNS[column]),
                    )
                })?;
            }
            rows.push((time, of(numbers)));
        }
        if rows.is_empty() {
            return Err((1, "has no rows".to_owned()));
        }
        Ok(Self {
            rows,
            spells: Vec::new(),
        })
    }

    /// A clear, calm, dry night from any instant on.
    pub fn calm(from: UtcTime) -> Self {
        Self {
            rows: vec![(from, of([3.0, 5.0, 50.0, 9.0, -0.5, 941.0, 0.0, -25.0, 0.0, 1.8]))],
            spells: Vec::new(),
        }
    }

    fn base(&self, time: UtcTime) -> WeatherSample {
        let after = self.rows.partition_point(|(at, _)| *at <= time);
        let (Some(before), Some(next)) = (after.checked_sub(1).map(|i| &self.rows[i]), self.rows.get(after)) else {
            let end = if after == 0 {
                self.rows.first()
            } else {
                self.rows.last()
            };
            return end.map_or(of([0.0; 10]), |(_, sample)| *sample);
        };
        let fraction = time.seconds_since(before.0) / next.0.seconds_since(before.0);
        let (a, b) = (values(&before.1), values(&next.1));
        let mut mixed = of(std::array::from_fn(|i| a[i] + (b[i] - a[i]) * fraction));
        mixed.rain_mm_h = before.1.rain_mm_h;
        mixed
    }
}

impl Spell {
    fn lay(&self, time: UtcTime, weather: &mut WeatherSample) {
        // Clouds, humidity and wind come up over ten minutes; rain is there or not.
        let ramp = 600.0;
        let (since, left) = (time.seconds_since(self.start), self.end.seconds_since(time));
        let weight = ((since + ramp) / ramp).min((left + ramp) / ramp).clamp(0.0, 1.0);
        if weight <= 0.0 {
            return;
        }
        let inside = since >= 0.0 && left >= 0.0;
        let towards = |value: &mut f64, goal: f64| *value += (goal - *value) * weight;
        match self.kind {
            SpellKind::Shower { rain_mm_h } => {
                towards(&mut weather.humidity_pct, 95.0);
                towards(&mut weather.sky_temperature_k, -4.0);
                towards(&mut weather.cloud, 1.0);
                if inside {
                    weather.rain_mm_h = weather.rain_mm_h.max(rain_mm_h);
                }
            }
            SpellKind::Storm { gust_m_s } => {
                let (gust, wind) = (weather.gust_m_s.max(gust_m_s), weather.wind_m_s.max(gust_m_s * 0.7));
                towards(&mut weather.gust_m_s, gust);
                towards(&mut weather.wind_m_s, wind);
            }
            SpellKind::Fog => {
                towards(&mut weather.humidity_pct, 99.0);
                let dew = weather.temperature_c - 0.2;
                towards(&mut weather.dew_point_c, dew);
            }
            SpellKind::Cloud => {
                towards(&mut weather.sky_temperature_k, -5.0);
                towards(&mut weather.cloud, 0.9);
            }
        }
    }
}

impl WeatherSeries for Table {
    fn at(&self, time: UtcTime) -> WeatherSample {
        let mut weather = self.base(time);
        for spell in &self.spells {
            spell.lay(time, &mut weather);
        }
        weather
    }
}

/// Calm weather with a shower that somebody turns on and off.
#[derive(Debug, Clone)]
pub struct Shower {
    calm: Table,
    /// It rains.
    pub on: Rc<Cell<bool>>,
}

impl Shower {
    pub fn over_calm(from: UtcTime) -> Self {
        Self {
            calm: Table::calm(from),
            on: Rc::default(),
        }
    }
}

impl WeatherSeries for Shower {
    fn at(&self, time: UtcTime) -> WeatherSample {
        let calm = self.calm.at(time);
        if !self.on.get() {
            return calm;
        }
        WeatherSample {
            rain_mm_h: 4.0,
            humidity_pct: 95.0,
            sky_temperature_k: -4.0,
            cloud: 1.0,
            ..calm
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn csv(rows: &str) -> String {
        format!("time_utc,{}\n{rows}", COLUMNS.join(","))
    }

    #[test]
    fn the_weather_is_interpolated_but_rain_begins_at_its_row() {
        let table = Table::from_csv(&csv(
            "2026-03-14T20:00:00Z,2,4,50,10,1,940,0,-25,0,1.5\n2026-03-14T20:10:00Z,4,8,70,9,2,940,3,-5,1,2.5\n",
        ))
        .unwrap();
        let middle = table.at("2026-03-14T20:05:00Z".parse().unwrap());
        assert_eq!(
            (middle.wind_m_s, middle.humidity_pct, middle.rain_mm_h),
            (3.0, 60.0, 0.0)
        );
        assert_eq!(table.at("2026-03-14T23:00:00Z".parse().unwrap()).rain_mm_h, 3.0);
    }

    #[test]
    fn a_bad_table_names_its_line() {
        let (line, cause) = Table::from_csv(&csv("2026-03-14T20:00:00Z,2,4,150,10,1,940,0,-25,0,1.5\n")).unwrap_err();
        assert_eq!(
            (line, cause.as_str()),
            (2, "humidity_pct \"150\" is not a number from 0 to 100")
        );
        assert_eq!(Table::from_csv("time,wind\n").unwrap_err().0, 1);
        assert!(
            Table::from_csv(&csv("2026-03-14T20:00:00Z,2,4\n"))
                .unwrap_err()
                .1
                .contains("3 fields")
        );
    }

    #[test]
    fn a_shower_rains_only_while_it_lasts() {
        let mut table = Table::from_csv(&csv("2026-03-14T20:00:00Z,2,4,50,10,1,940,0,-25,0,1.5\n")).unwrap();
        let start: UtcTime = "2026-03-14T21:00:00Z".parse().unwrap();
        table.spells.push(Spell {
            start,
            end: start.plus_seconds(600.0),
            kind: SpellKind::Shower { rain_mm_h: 4.0 },
        });
        assert_eq!(table.at(start.plus_seconds(-1.0)).rain_mm_h, 0.0);
        assert!(
            table.at(start.plus_seconds(-60.0)).humidity_pct > 80.0,
            "humidity rises before the rain"
        );
        assert_eq!(table.at(start.plus_seconds(300.0)).rain_mm_h, 4.0);
        assert_eq!(table.at(start.plus_seconds(601.0)).rain_mm_h, 0.0);
        assert_eq!(table.at(start.plus_seconds(2000.0)).humidity_pct, 50.0);
    }

    proptest! {
        /// Whatever the table and the spells, at any instant every quantity is one that an instrument could report.
        #[test]
        fn interpolated_weather_stays_within_its_rows_and_spells_within_the_possible(
            rows in proptest::collection::vec(proptest::array::uniform10(0.0f64..1.0), 1..6),
            at in -2000.0f64..12_000.0,
            spell in 0usize..5,
            from in 0.0f64..8000.0,
            length in 1.0f64..5000.0,
        ) {
            let start: UtcTime = "2026-03-14T20:00:00Z".parse().unwrap();
            let scaled = |row: [f64; 10]| of(std::array::from_fn(|i| RANGES[i].0 + (RANGES[i].1 - RANGES[i].0) * row[i]));
            let rows: Vec<(UtcTime, WeatherSample)> =
                rows.into_iter().enumerate().map(|(n, row)| (start.plus_seconds(1800.0 * n as f64), scaled(row))).collect();
            let mut table = Table { rows: rows.clone(), spells: Vec::new() };
            let time = start.plus_seconds(at);
            let plain = values(&table.at(time));
            for (i, value) in plain.iter().enumerate() {
                let column = || rows.iter().map(|(_, sample)| values(sample)[i]);
                let (low, high) = (column().fold(f64::MAX, f64::min), column().fold(f64::MIN, f64::max));
                prop_assert!(*value >= low - 1e-9 && *value <= high + 1e-9, "{}: {value}", COLUMNS[i]);
            }
            let kinds = [
                SpellKind::Shower { rain_mm_h: 5.0 },
                SpellKind::Storm { gust_m_s: 30.0 },
                SpellKind::Fog,
                SpellKind::Cloud,
            ];
            if let Some(kind) = kinds.get(spell) {
                let begins = start.plus_seconds(from);
                table.spells.push(Spell { start: begins, end: begins.plus_seconds(length), kind: *kind });
            }
            for (i, value) in values(&table.at(time)).iter().enumerate() {
                let (low, high) = RANGES[i];
                prop_assert!((low - 1.0..=high + 1.0).contains(value), "{}: {value}", COLUMNS[i]);
            }
        }
    }
}
