//! Old packets for new nights: every time in a packet moved by the same amount.

use alidade_model::time::UtcTime;

/// Moves every `YYYY-MM-DDTHH:MM:SS[.f...]` (or with a blank in place of the T) by `seconds`, keeping the number of
/// decimals up to six and whatever follows, and every pair of VOEvent parameters `X_TJD` and `X_SOD`.
///
/// Purely textual, so that it serves XML and JSON alike and leaves everything else byte by byte as it was sent.
pub fn shift_times(packet: &[u8], seconds: f64) -> Vec<u8> {
    let mut shifted = Vec::with_capacity(packet.len());
    let mut at = 0;
    while at < packet.len() {
        match time_at(packet, at) {
            Some((time, length, decimals)) => {
                let moved = time.plus_seconds(seconds).chrono();
                let format = if packet[at + 10] == b'T' {
                    "%Y-%m-%dT%H:%M:%S%.6f"
                } else {
                    "%Y-%m-%d %H:%M:%S%.6f"
                };
                let text = moved.format(format).to_string();
                let keep = 19 + if decimals > 0 { 1 + decimals.min(6) } else { 0 };
                shifted.extend_from_slice(&text.as_bytes()[..keep.min(text.len())]);
                at += length;
            }
            None => {
                shifted.push(packet[at]);
                at += 1;
            }
        }
    }
    match String::from_utf8(shifted) {
        Ok(text) => shift_julian_days(text, seconds).into_bytes(),
        Err(bytes) => bytes.into_bytes(),
    }
}

/// The time that begins at `at`, its length in bytes, and its decimals.
fn time_at(packet: &[u8], at: usize) -> Option<(UtcTime, usize, usize)> {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let candidate = packet.get(at..at + 19)?;
    let fits = candidate.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        _ => byte == shape,
    });
    let starts_a_number = at > 0 && packet[at - 1].is_ascii_digit();
    if !fits || starts_a_number {
        return None;
    }
    let fraction = match packet.get(at + 19) {
        Some(b'.') => packet[at + 20..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count(),
        _ => 0,
    };
    let length = if fraction > 0 { 20 + fraction } else { 19 };
    let text = std::str::from_utf8(&packet[at..at + length]).ok()?;
    let time = format!("{text}Z").replacen(' ', "T", 1).parse().ok()?;
    Some((time, length, fraction))
}

/// Moves GCN's dates: truncated Julian day and second of that day, in two parameters of one prefix.
fn shift_julian_days(mut text: String, seconds: f64) -> String {
    let mut from = 0;
    while let Some(end) = text[from..].find("_TJD\"").map(|found| from + found) {
        from = end + 5;
        let Some(start) = text[..end].rfind('"').map(|quote| quote + 1) else {
            continue;
        };
        let prefix = text[start..end].to_owned();
        let (Some((day_at, day)), Some((second_at, second))) = (
            value_of(&text, &format!("{prefix}_TJD")),
            value_of(&text, &format!("{prefix}_SOD")),
        ) else {
            continue;
        };
        let (Ok(days), Ok(seconds_of_day)) = (day.parse::<i64>(), second.parse::<f64>()) else {
            continue;
        };
        if !(-100_000..1_000_000).contains(&days) || !(0.0..=86_401.0).contains(&seconds_of_day) {
            continue;
        }
        let micros = (seconds_of_day + seconds).mul_add(1e6, 0.5).floor() as i64;
        let (day_new, micros_new) = (
            days + micros.div_euclid(86_400_000_000),
            micros.rem_euclid(86_400_000_000),
        );
        let decimals = second.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let second_new = format!("{:.decimals$}", micros_new as f64 / 1e6);
        // The later place first, so that the other one stays where it is.
        let mut changes = [
            (day_at, day.len(), day_new.to_string()),
            (second_at, second.len(), second_new),
        ];
        changes.sort_by_key(|(at, _, _)| std::cmp::Reverse(*at));
        for (at, length, new) in changes {
            text.replace_range(at..at + length, &new);
        }
    }
    text
}

/// Where the value of a VOEvent parameter stands, and the value.
fn value_of(text: &str, name: &str) -> Option<(usize, String)> {
    let named = text.find(&format!("\"{name}\""))?;
    let tag_start = text[..named].rfind('<')?;
    let tag_end = named + text[named..].find('>')?;
    let start = tag_start + text[tag_start..tag_end].find("value=\"")? + 7;
    let end = start + text[start..tag_end].find('"')?;
    Some((start, text[start..end].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(packet: &str, seconds: f64) -> String {
        String::from_utf8(shift_times(packet.as_bytes(), seconds)).unwrap()
    }

    #[test]
    fn every_time_moves_and_nothing_else() {
        let packet = "<Date>2026-02-25T08:52:07+00:00</Date> v=\"2026-02-25T08:51:04.859Z\" \"2026-02-25 23:59:59\" \
            id 2026-02-2508 12026-02-25T08:51:04";
        assert_eq!(
            moved(packet, 86_400.5),
            "<Date>2026-02-26T08:52:07+00:00</Date> v=\"2026-02-26T08:51:05.359Z\" \"2026-02-26 23:59:59\" \
            id 2026-02-2508 12026-02-25T08:51:04"
        );
    }

    #[test]
    fn impossible_times_stay_as_they_are() {
        assert_eq!(moved("2022-01-00T23:16:14", 60.0), "2022-01-00T23:16:14");
        assert_eq!(shift_times(&[0xff, b'2'], 60.0), [0xff, b'2']);
    }

    #[test]
    fn gcn_days_and_seconds_move_together() {
        let packet = "<Param name=\"Burst_TJD\" value=\"18133\" unit=\"days\"/><Param name=\"Burst_SOD\" value=\"86000.31\"/>\
            <Param name=\"Other_TJD\" value=\"18133\"/>";
        assert_eq!(
            moved(packet, 1000.0),
            "<Param name=\"Burst_TJD\" value=\"18134\" unit=\"days\"/><Param name=\"Burst_SOD\" value=\"600.31\"/>\
            <Param name=\"Other_TJD\" value=\"18133\"/>"
        );
        assert_eq!(moved(&moved(packet, 1000.0), -1000.0), packet);
    }
}
