//! Meade's dialect of LX200 in front of the simulated mount: what its hand box says where it differs from a Gemini.

use super::mount::MountModel;
use alidade_drivers::lx200::angle;

/// The answer to a command without its colon, empty where the hand box is silent; `None` where both dialects are the same.
pub fn answer(mount: &mut MountModel, command: &str) -> Option<Vec<u8>> {
    let silent = Vec::new();
    Some(match command {
        "GVP" => b"LX2001#".to_vec(),
        "GVN" => b"4.2g#".to_vec(),
        // The bars of its display.
        "D" if mount.is_slewing() => b"\x7f\x7f\x7f#".to_vec(),
        "D" => b"#".to_vec(),
        "GW" if mount.is_tracking() => b"PT2#".to_vec(),
        "GW" => b"PN2#".to_vec(),
        "GD" => displayed(&angle(mount.coordinates().1)),
        "GA" => displayed(&angle(mount.direction().0)),
        "GZ" => displayed(angle(mount.direction().1).trim_start_matches('+')),
        "AL" => {
            mount.track(false);
            silent
        }
        "AA" | "AP" => {
            if !mount.is_parked() {
                mount.track(true);
            }
            silent
        }
        "I" => {
            mount.unpark();
            silent
        }
        // Words of the Gemini.
        "Gv" | "h?" | "hW" | "hN" => silent,
        _ => return None,
    })
}

/// An angle as its display has it: the degree sign is byte 0xDF.
fn displayed(angle: &str) -> Vec<u8> {
    let byte = |byte| if byte == b'*' { 0xdf } else { byte };
    angle.bytes().map(byte).chain([b'#']).collect()
}
