//! The same mount behind a NexStar hand control (see [`alidade_drivers::nexstar`] for the words).

use super::mount::MountModel;
use alidade_drivers::nexstar::{elevation, pair, read_pair};

/// What the hand control keeps for itself.
#[derive(Debug, Clone, Default)]
pub struct HandControl {
    location: [u8; 8],
    clock: [u8; 8],
}

/// Number of bytes of the request that begins here, once it is whole.
pub fn request_length(buffer: &[u8]) -> Option<usize> {
    let length = match buffer.first()? {
        b'K' | b'T' => 2,
        b'P' => 8,
        b'W' | b'H' => 9,
        b'R' | b'B' | b'S' => 10,
        b'r' | b'b' | b's' => 18,
        _ => 1,
    };
    (buffer.len() >= length).then_some(length)
}

/// Answers one whole request.
pub fn answer(control: &mut HandControl, mount: &mut MountModel, request: &[u8]) -> Vec<u8> {
    let (letter, arguments) = request
        .split_first()
        .map_or((0, request), |(letter, rest)| (*letter, rest));
    let mut answer = match letter {
        b'K' => arguments.to_vec(),
        b'V' => vec![4, 21],
        // Advanced GT, an equatorial mount; the hand control is a NexStar.
        b'm' => vec![6],
        b'v' => vec![0x11],
        b'J' => vec![1],
        b'L' => vec![if mount.is_slewing() { b'1' } else { b'0' }],
        b't' => vec![if mount.is_tracking() { 2 } else { 0 }],
        b'p' => vec![b'E'],
        b'e' => {
            let (ra, dec) = mount.coordinates();
            pair(ra, dec).into_bytes()
        }
        b'E' => short(mount.coordinates()),
        b'z' => {
            let (alt, az) = mount.direction();
            pair(az, alt).into_bytes()
        }
        b'Z' => {
            let (alt, az) = mount.direction();
            short((az, alt))
        }
        b'w' => control.location.to_vec(),
        b'h' => control.clock.to_vec(),
        b'W' => keep(&mut control.location, arguments),
        b'H' => keep(&mut control.clock, arguments),
        b'M' => {
            mount.stop();
            Vec::new()
        }
        b'T' => {
            mount.track(arguments != [0]);
            Vec::new()
        }
        b'r' | b'b' => {
            // What is out of reach is not begun, and nothing is said of it.
            if let Some((first, second)) = read_pair(arguments).and_then(|(f, s)| Some((f, elevation(s)?))) {
                if letter == b'r' {
                    mount.go_to(first, second);
                } else {
                    mount.go_to_horizontal(second, first);
                }
            }
            Vec::new()
        }
        b's' | b'S' | b'R' | b'B' => Vec::new(),
        // Passed through to a motor: as many zero bytes as are asked for.
        b'P' => vec![0; usize::from(arguments.last().copied().unwrap_or(0)).min(8)],
        _ => return Vec::new(),
    };
    answer.push(b'#');
    answer
}

fn keep(place: &mut [u8; 8], arguments: &[u8]) -> Vec<u8> {
    if let Ok(bytes) = <[u8; 8]>::try_from(arguments) {
        *place = bytes;
    }
    Vec::new()
}

/// The short form: the upper sixteen bits.
fn short((first, second): (f64, f64)) -> Vec<u8> {
    let long = pair(first, second);
    [&long[..4], ",", &long[9..13]].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_their_length() {
        assert_eq!(request_length(b""), None);
        assert_eq!(request_length(b"K"), None);
        assert_eq!(request_length(b"K#V"), Some(2));
        assert_eq!(request_length(b"r34AB0500,12CE050"), None);
        assert_eq!(request_length(b"r34AB0500,12CE0500e"), Some(18));
        assert_eq!(request_length(b"?"), Some(1));
    }

    #[test]
    fn the_short_form_is_the_beginning_of_the_long_one() {
        assert_eq!(short((90.0, -45.0)), b"4000,E000");
    }
}
