//! Times as packets write them, to UTC.
//!
//! Terms: *ISO time*, `YYYY-MM-DDThh:mm:ss[.f][Z|±hh:mm]` (a space for the `T` is met, a missing zone means UTC);
//! *scale*, the time scale a coordinate system names (UTC, TT, TDB, GPS); *TJD*, truncated Julian day
//! (JD − 2440000.5) with seconds of day, as GCN's classic notices write it.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};

/// A time scale of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Coordinated universal time.
    Utc,
    /// Terrestrial time, TAI + 32.184 s.
    Tt,
    /// Barycentric dynamical time. Taken as TT: they differ by less than 2 ms (USNO Circular 179, section 2.2). The
    /// light travel time to the barycentre (up to 8.3 min) is not removed, as the packet gives no place of reception.
    Tdb,
    /// GPS time, TAI − 19 s.
    Gps,
}

impl Scale {
    /// The scale a VOEvent coordinate system names, as in `UTC-FK5-GEO` or `FK5-UTC-GEO`; UTC when it names none.
    #[must_use]
    pub fn of_coordinate_system(id: &str) -> Self {
        for part in id.split('-') {
            match part.trim() {
                p if p.eq_ignore_ascii_case("TT") => return Self::Tt,
                p if p.eq_ignore_ascii_case("TDB") => return Self::Tdb,
                p if p.eq_ignore_ascii_case("GPS") => return Self::Gps,
                _ => {}
            }
        }
        Self::Utc
    }
}

/// TAI − UTC in seconds from the date on (IERS Bulletin C; none announced after 2017).
const LEAP_SECONDS: &[(i32, u32, i64)] = &[
    (1972, 1, 10),
    (1972, 7, 11),
    (1973, 1, 12),
    (1974, 1, 13),
    (1975, 1, 14),
    (1976, 1, 15),
    (1977, 1, 16),
    (1978, 1, 17),
    (1979, 1, 18),
    (1980, 1, 19),
    (1981, 7, 20),
    (1982, 7, 21),
    (1983, 7, 22),
    (1985, 7, 23),
    (1988, 1, 24),
    (1990, 1, 25),
    (1991, 1, 26),
    (1992, 7, 27),
    (1993, 7, 28),
    (1994, 7, 29),
    (1996, 1, 30),
    (1997, 7, 31),
    (1999, 1, 32),
    (2006, 1, 33),
    (2009, 1, 34),
    (2012, 7, 35),
    (2015, 7, 36),
    (2017, 1, 37),
];

fn tai_minus_utc_s(when: NaiveDateTime) -> i64 {
    LEAP_SECONDS
        .iter()
        .rev()
        .find(|&&(year, month, _)| NaiveDate::from_ymd_opt(year, month, 1).is_some_and(|d| when.date() >= d))
        .map_or(10, |&(_, _, offset)| offset)
}

/// Converts a reading of `scale` to UTC.
#[must_use]
pub fn to_utc(reading: NaiveDateTime, scale: Scale) -> Option<DateTime<Utc>> {
    // The table is keyed by UTC; a reading within seconds of a leap second may be one second off.
    let tai = tai_minus_utc_s(reading) * 1000;
    let behind_ms = match scale {
        Scale::Utc => 0,
        Scale::Tt | Scale::Tdb => tai + 32_184,
        Scale::Gps => tai - 19_000,
    };
    reading
        .checked_sub_signed(Duration::milliseconds(behind_ms))
        .map(|t| Utc.from_utc_datetime(&t))
}

/// Reads an ISO time strictly; `None` for anything that is not a date of the years 1900 to 2199.
///
/// Leap seconds (`:60`) and `24:00:00` are refused: no packet is known to need them, and both have two readings.
#[must_use]
pub fn parse_iso(text: &str, scale: Scale) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let (date, rest) = text.split_at_checked(10)?;
    let date = parse_date(date)?;
    if rest.is_empty() {
        return to_utc(date.and_time(NaiveTime::MIN), scale);
    }
    let rest = rest.strip_prefix('T').or_else(|| rest.strip_prefix(' '))?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let ahead = parse_zone(zone)?;
    let reading = date
        .and_time(parse_clock(clock.trim_end())?)
        .checked_sub_signed(ahead)?;
    to_utc(reading, scale)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if parts.next().is_some() || !(1900..2200).contains(&year) {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

fn parse_clock(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            if !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
            (digits(whole, 2)?, nine.parse().ok()?)
        }
    };
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)
}

fn parse_zone(text: &str) -> Option<Duration> {
    if text.is_empty() || text == "Z" {
        return Some(Duration::zero());
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((h, m)) => (digits(h, 2)?, digits(m, 2)?),
        None if rest.len() == 4 => (digits(rest.get(..2)?, 2)?, digits(rest.get(2..)?, 2)?),
        None => (digits(rest, 2)?, 0),
    };
    if hours > 14 || minutes > 59 {
        return None;
    }
    Some(Duration::minutes(sign * i64::from(hours * 60 + minutes)))
}

/// UTC of a truncated Julian day and seconds of day (GCN's `Burst_TJD`, `Burst_SOD`). TJD 0 is 1968-05-24.
#[must_use]
pub fn from_tjd(tjd: i64, sod_s: f64) -> Option<DateTime<Utc>> {
    if !(0..100_000).contains(&tjd) || !(0.0..86_400.0).contains(&sod_s) {
        return None;
    }
    let start = NaiveDate::from_ymd_opt(1968, 5, 24)?.checked_add_signed(Duration::days(tjd))?;
    // The range was checked: the product is below 8.64e13 and fits.
    #[allow(clippy::cast_possible_truncation)]
    let micros = (sod_s * 1e6).round() as i64;
    to_utc(
        start
            .and_time(NaiveTime::MIN)
            .checked_add_signed(Duration::microseconds(micros))?,
        Scale::Utc,
    )
}

/// ISO time in UTC with milliseconds, rounded to the nearest.
#[must_use]
pub fn format_millis(when: DateTime<Utc>) -> String {
    let rounded = when + Duration::microseconds(500);
    rounded.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        parse_iso(text, Scale::Utc).map(format_millis)
    }

    #[test]
    fn times_are_read_as_packets_write_them() {
        assert_eq!(read("2012-09-07T00:24:23.08").unwrap(), "2012-09-07T00:24:23.080Z");
        assert_eq!(read(" 2026-11-20T11:58:12 ").unwrap(), "2026-11-20T11:58:12.000Z");
        assert_eq!(read("2026-11-20 11:58:12.5Z").unwrap(), "2026-11-20T11:58:12.500Z");
        assert_eq!(
            read("2026-11-20T20:58:12.50+09:00").unwrap(),
            "2026-11-20T11:58:12.500Z"
        );
        assert_eq!(read("2016-09-26T16:00:18+00:00").unwrap(), "2016-09-26T16:00:18.000Z");
        assert_eq!(read("2023-04-16T05:22:26.150574Z").unwrap(), "2023-04-16T05:22:26.151Z");
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "2022-01-00T23:16:14",
            "2016-01--12T13:36:22",
            "yesterday",
            "99999-01-01T00:00:00",
            "2026-11-20T24:00:00",
            "2026-11-20T11:58:61",
            "2026-02-30T00:00:00",
            "2026-11-20T11:58:12.5.5",
            "2026-11-20T11:58:12+99:00",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn gps_and_tt_readings_become_utc() {
        let at = |scale| format_millis(parse_iso("2026-11-20T11:58:12.50", scale).unwrap());
        assert_eq!(
            at(Scale::of_coordinate_system("GPS-FK5-TOPO")),
            "2026-11-20T11:57:54.500Z"
        );
        assert_eq!(
            at(Scale::of_coordinate_system("TT-ICRS-TOPO")),
            "2026-11-20T11:57:03.316Z"
        );
        assert_eq!(
            at(Scale::of_coordinate_system("FK5-UTC-GEO")),
            "2026-11-20T11:58:12.500Z"
        );
    }

    #[test]
    fn a_truncated_julian_day_is_the_day_the_notice_names() {
        assert_eq!(
            format_millis(from_tjd(16_177, 1463.08).unwrap()),
            "2012-09-07T00:24:23.080Z"
        );
        assert_eq!(from_tjd(16_177, 86_400.0), None);
        assert_eq!(from_tjd(16_177, f64::NAN), None);
    }
}
