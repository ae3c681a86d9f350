//! Old packets for new nights: every time in a packet moved by the same amount.

use alidade_model::time::UtcTime;

/// Moves every `YYYY-MM-DDTHH:MM:SS[.f...]` by `seconds`, keeping the number of decimals and whatever follows.
///
/// Purely textual, so that it serves XML and JSON alike and leaves everything else byte by byte as it was sent.
pub fn shift_times(packet: &[u8], seconds: f64) -> Vec<u8> {
    let mut shifted = Vec::with_capacity(packet.len());
    let mut at = 0;
    while at < packet.len() {
        match time_at(packet, at) {
            Some((time, length, decimals)) => {
                let moved = time.plus_seconds(seconds).chrono();
                let text = moved.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
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
    shifted
}

/// The time that begins at `at`, its length in bytes, and its decimals.
fn time_at(packet: &[u8], at: usize) -> Option<(UtcTime, usize, usize)> {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let candidate = packet.get(at..at + 19)?;
    let fits = candidate.iter().zip(SHAPE).all(|(byte, shape)| {
        if *shape == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        }
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
    let time = format!("{text}Z").parse().ok()?;
    Some((time, length, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_moves_and_nothing_else() {
        let packet = b"<Date>2026-02-25T08:52:07+00:00</Date> v=\"2026-02-25T08:51:04.859Z\" id 2026-02-2508 12026-02-25T08:51:04";
        let moved = String::from_utf8(shift_times(packet, 86_400.0)).unwrap();
        assert_eq!(
            moved,
            "<Date>2026-02-26T08:52:07+00:00</Date> v=\"2026-02-26T08:51:04.859Z\" id 2026-02-2508 12026-02-25T08:51:04"
        );
    }

    #[test]
    fn impossible_times_stay_as_they_are() {
        assert_eq!(shift_times(b"2022-01-00T23:16:14", 60.0), b"2022-01-00T23:16:14");
    }
}
