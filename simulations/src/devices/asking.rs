//! For the tests of devices that speak the grammar.

use super::Responder;
use alidade_model::time::UtcTime;

pub fn at(second: f64) -> UtcTime {
    UtcTime::from_unix_micros(0).unwrap().plus_seconds(second)
}

/// What the device says to these words, without frame.
pub fn say(device: &mut impl Responder, words: &str) -> String {
    let answer = device.answer(format!("00010000{words}").as_bytes());
    String::from_utf8(answer)
        .unwrap()
        .trim_end_matches('\0')
        .trim_start_matches("00010000")
        .to_owned()
}
