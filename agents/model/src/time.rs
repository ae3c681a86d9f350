//! UTC instants cut to microseconds, Julian dates and the observing night.
//!
//! Instants are cut when they are made, because databases keep microseconds: what is compared after a round trip
//! must be what was compared before it.

use chrono::{DateTime, Duration, NaiveDate, SecondsFormat, TimeZone, Timelike, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An instant in UTC, microsecond resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcTime(DateTime<Utc>);

/// Julian date of 1970-01-01T00:00:00.
pub const JD_UNIX_EPOCH: f64 = 2_440_587.5;

impl UtcTime {
    pub fn new(instant: DateTime<Utc>) -> Self {
        let nanos = instant.nanosecond() / 1000 * 1000;
        Self(instant.with_nanosecond(nanos).unwrap_or(instant))
    }

    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        Utc.timestamp_micros(micros).single().map(Self)
    }

    pub fn unix_micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    pub fn chrono(self) -> DateTime<Utc> {
        self.0
    }

    /// Julian date (UTC), good to about 50 microseconds in a double.
    pub fn julian_date(self) -> f64 {
        JD_UNIX_EPOCH + self.0.timestamp_micros() as f64 / 86_400e6
    }

    /// From a Julian date (UTC); `None` outside the calendar.
    pub fn from_julian_date(jd: f64) -> Option<Self> {
        let micros = (jd - JD_UNIX_EPOCH) * 86_400e6;
        (micros.is_finite() && micros.abs() < 9e18).then(|| Self::from_unix_micros(micros.round() as i64))?
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn seconds_since(self, earlier: UtcTime) -> f64 {
        (self.unix_micros() - earlier.unix_micros()) as f64 / 1e6
    }

    /// This instant moved by `seconds` (which may be negative); saturates at the calendar's ends.
    pub fn plus_seconds(self, seconds: f64) -> Self {
        let micros = (seconds * 1e6).clamp(-4e18, 4e18) as i64;
        Self(
            self.0
                .checked_add_signed(Duration::microseconds(micros))
                .unwrap_or(if micros > 0 {
                    DateTime::<Utc>::MAX_UTC
                } else {
                    DateTime::<Utc>::MIN_UTC
                }),
        )
    }

    /// Hour and minute, for sentences.
    pub fn hh_mm(self) -> String {
        self.0.format("%H:%M").to_string()
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for UtcTime {
    type Err = chrono::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|t| Self::new(t.with_timezone(&Utc)))
    }
}

impl TryFrom<String> for UtcTime {
    type Error = chrono::ParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UtcTime> for String {
    fn from(time: UtcTime) -> String {
        time.to_string()
    }
}

/// The observing night, local noon to local noon, named by its evening date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Night(pub NaiveDate);

impl Night {
    /// The night that contains `time` at longitude `lon_deg` (east positive), by local mean solar time.
    pub fn containing(time: UtcTime, lon_deg: f64) -> Self {
        let local = time.plus_seconds(lon_deg / 360.0 * 86_400.0 - 43_200.0);
        Self(local.chrono().date_naive())
    }
}

impl fmt::Display for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_cut_to_microseconds_and_survive_text() {
        let t: UtcTime = "2026-03-14T22:10:05.123456789Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-03-14T22:10:05.123456Z");
        assert_eq!(t.to_string().parse::<UtcTime>().unwrap(), t);
        assert!((UtcTime::from_julian_date(t.julian_date()).unwrap().seconds_since(t)).abs() < 1e-4);
    }

    #[test]
    fn a_night_is_named_by_its_evening() {
        let evening: UtcTime = "2026-03-14T20:00:00Z".parse().unwrap();
        let morning: UtcTime = "2026-03-15T05:00:00Z".parse().unwrap();
        assert_eq!(Night::containing(evening, 5.7), Night::containing(morning, 5.7));
        assert_eq!(Night::containing(evening, 5.7).to_string(), "2026-03-14");
        // At 110 degrees west the same UTC morning still belongs to the evening before.
        assert_eq!(Night::containing(morning, -110.0).to_string(), "2026-03-14");
    }
}
