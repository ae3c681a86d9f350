//! Quantities with units as people write them in strategy files: `"48h"`, `"10min"`, `"45'"`, `"-12deg"`.

use chrono::Duration;

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then(|| (number, unit.trim()))
}

/// A duration in seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some(number * factor)
}

/// A duration of zero or more, at most a hundred years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let seconds = seconds(text).filter(|s| (0.0..=3.2e9).contains(s))?;
    // The range was checked.
    #[allow(clippy::cast_possible_truncation)]
    Some(Duration::milliseconds((seconds * 1000.0).round() as i64))
}

/// An angle in degrees.
pub(super) fn degrees(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "deg" | "°" => 1.0,
        "'" | "arcmin" => 1.0 / 60.0,
        "\"" | "arcsec" => 1.0 / 3600.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_need_their_units() {
        assert_eq!(seconds("10min"), Some(600.0));
        assert_eq!(duration("48h"), Some(Duration::hours(48)));
        assert!((degrees("45'").unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(degrees("-12 deg"), Some(-12.0));
        for text in ["", "48", "h", "1e3s", "48 hours", "--1s", "nan s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(duration("-1s"), None);
    }
}
