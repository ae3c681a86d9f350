//! Earth orientation: UT1-UTC and polar motion.
//!
//! The bundled table samples the public IERS series `finals2000A` every ten days. It stores UT1-TAI rather than
//! UT1-UTC, so that leap seconds do not break the interpolation. A site that needs better, or a later date, reads the
//! current `finals2000A.all` (or `.daily`) with [`EopTable::parse_finals2000a`] and fixes the value for the night.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Earth orientation parameters.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Eop {
    /// UT1 minus UTC, seconds.
    pub dut1_s: f64,
    /// Pole coordinates, arcseconds (x along Greenwich, y along 90 degrees west).
    pub xp_arcsec: f64,
    pub yp_arcsec: f64,
}

/// Where a site takes its Earth orientation from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarthOrientation {
    /// The table inside this crate; outside its span the nearest row is held.
    #[default]
    Bundled,
    Fixed(Eop),
}

impl EarthOrientation {
    pub fn at(&self, t: DateTime<Utc>) -> Eop {
        match self {
            Self::Bundled => bundled(t),
            Self::Fixed(eop) => *eop,
        }
    }
}

/// Modified Julian Date (UTC).
pub(crate) fn mjd(t: DateTime<Utc>) -> f64 {
    40587.0 + t.timestamp() as f64 / 86400.0 + f64::from(t.timestamp_subsec_nanos()) / 86400e9
}

/// TAI-UTC in whole seconds since 1972 (SOFA `dat`; last step 2017-01-01).
fn tai_minus_utc(t: DateTime<Utc>) -> f64 {
    use chrono::Datelike;
    let fd = 0.0;
    sofars::ts::dat(t.year(), t.month() as i32, t.day() as i32, fd).unwrap_or(37.0)
}

/// Rows `mjd ut1_minus_tai_s xp_arcsec yp_arcsec`; made by `benches/scheduling/make_eop.py`.
const BUNDLED: &str = include_str!("earth_orientation.txt");

fn rows() -> &'static [[f64; 4]] {
    static ROWS: std::sync::OnceLock<Vec<[f64; 4]>> = std::sync::OnceLock::new();
    ROWS.get_or_init(|| {
        BUNDLED
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| {
                let mut it = l.split_ascii_whitespace().map(str::parse::<f64>);
                let mut next = || it.next().and_then(Result::ok);
                Some([next()?, next()?, next()?, next()?])
            })
            .collect()
    })
}

fn bundled(t: DateTime<Utc>) -> Eop {
    let [_, ut1_tai, xp, yp] = interpolate(rows(), mjd(t));
    Eop {
        dut1_s: ut1_tai + tai_minus_utc(t),
        xp_arcsec: xp,
        yp_arcsec: yp,
    }
}

/// Linear interpolation by the first column, held at both ends.
fn interpolate(rows: &[[f64; 4]], x: f64) -> [f64; 4] {
    let at = rows.partition_point(|r| r[0] <= x);
    match (at.checked_sub(1).and_then(|i| rows.get(i)), rows.get(at)) {
        (Some(a), Some(b)) => {
            let f = (x - a[0]) / (b[0] - a[0]);
            std::array::from_fn(|k| a[k] + f * (b[k] - a[k]))
        }
        (Some(r), None) | (None, Some(r)) => *r,
        (None, None) => [x, 0.0, 0.0, 0.0],
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EopTableError {
    #[error("line {line}: {what} is not a number")]
    BadNumber { line: usize, what: &'static str },
    #[error("no row with UT1-UTC found")]
    Empty,
}

/// A table read from an IERS `finals2000A` file.
#[derive(Debug, Clone, PartialEq)]
pub struct EopTable {
    rows: Vec<[f64; 4]>,
}

impl EopTable {
    /// Reads the fixed-column format of `finals2000A.all` (columns from the IERS `readme.finals2000A`: MJD 8-15, x
    /// 19-27, y 38-46, UT1-UTC 59-68). Rows without UT1-UTC, at the end of the file, are left out.
    pub fn parse_finals2000a(text: &str) -> Result<Self, EopTableError> {
        let mut rows = Vec::new();
        for (k, line) in text.lines().enumerate() {
            let field = |a: usize, b: usize, what| {
                let s = line.get(a..b).unwrap_or("").trim();
                if s.is_empty() {
                    return Ok(None);
                }
                s.parse::<f64>()
                    .map(Some)
                    .map_err(|_| EopTableError::BadNumber { line: k + 1, what })
            };
            let (m, x, y) = (field(7, 15, "MJD")?, field(18, 27, "x pole")?, field(37, 46, "y pole")?);
            if let (Some(m), Some(x), Some(y), Some(dut1)) = (m, x, y, field(58, 68, "UT1-UTC")?) {
                let day = chrono::DateTime::from_timestamp(((m - 40587.0) * 86400.0) as i64, 0).unwrap_or_default();
                rows.push([m, dut1 - tai_minus_utc(day), x, y]);
            }
        }
        if rows.is_empty() {
            Err(EopTableError::Empty)
        } else {
            Ok(Self { rows })
        }
    }

    /// Interpolated at `t`; None outside the table, so that the caller can raise an alarm.
    pub fn at(&self, t: DateTime<Utc>) -> Option<Eop> {
        let m = mjd(t);
        let inside = self.rows.first().is_some_and(|r| r[0] <= m) && self.rows.last().is_some_and(|r| m <= r[0]);
        inside.then(|| {
            let [_, ut1_tai, xp, yp] = interpolate(&self.rows, m);
            Eop {
                dut1_s: ut1_tai + tai_minus_utc(t),
                xp_arcsec: xp,
                yp_arcsec: yp,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn a_leap_second_does_not_break_the_interpolation() {
        let before = Utc.with_ymd_and_hms(2016, 12, 31, 12, 0, 0).unwrap();
        let after = Utc.with_ymd_and_hms(2017, 1, 1, 12, 0, 0).unwrap();
        let (a, b) = (bundled(before), bundled(after));
        assert!((b.dut1_s - a.dut1_s - 1.0).abs() < 0.01, "{a:?} {b:?}");
    }

    #[test]
    fn a_finals2000a_row_is_read_by_its_columns() {
        let row = "26 1 1 61041.00 I  0.112345 0.000091  0.334567 0.000090  I 0.0712345 0.0000101                 ";
        let table = EopTable::parse_finals2000a(row).unwrap();
        let eop = table.at(Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()).unwrap();
        assert!((eop.dut1_s - 0.0712345).abs() < 1e-9 && (eop.yp_arcsec - 0.334567).abs() < 1e-9);
        assert!(table.at(Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap()).is_none());
    }
}
