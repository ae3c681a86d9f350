//! The PYROS generic grammar: `SET name values`, `GET name`, `DO action`, for every kind of device.
//!
//! A message is eight digits, text, and NUL. The digits are a four-digit counter and four zeros; an answer repeats those
//! of its question, so an answer to another question is seen as such. Answers are `OK`, `OK values`, or
//! `ERR code text`. A frame of pixels follows its answer as plain bytes: little-endian 16-bit words, row by row.
//!
//! Azimuth counts from south through west in this grammar; [`azimuth_from_south`] converts.
//!
//! | device | words |
//! |---|---|
//! | all | `GET IDENTITY` -> `OK model;version`, `DO STOP` |
//! | camera | `GET STATUS` -> `OK state operation temperature setpoint` (operation `-` when none), `GET SENSOR` -> `OK width height`, `SET EXPOSURE operation seconds light binning`, `DO EXPOSE`, `GET FRAME operation` -> `OK operation width height started_us exposure_us bytes`, `SET TEMPERATURE degrees` |
//! | filter wheel | `GET STATUS` -> `OK position moving` (1 the first, 0 between), `DO GOTO position` |
//! | focuser | `GET STATUS` -> `OK steps moving temperature`, `DO GOTO steps` |
//! | rotator | `GET STATUS` -> `OK position mechanical moving` (on the sky from north through east, and of the mechanism, degrees), `DO GOTO position` |
//! | switch | `GET LINES` -> `OK count`, `GET LINE number` (from 1) -> `OK writable least most step name` (the name may have blanks), `GET STATUS` -> `OK value value ...`, `SET LINE number value` |

mod camera;
mod filter_wheel;
mod focuser;
pub mod language;
mod rotator;
mod switch;

pub use camera::{GrammarCamera, connect_camera};
pub use filter_wheel::{GrammarFilterWheel, connect_filter_wheel};
pub use focuser::{GrammarFocuser, connect_focuser};
pub use rotator::{GrammarRotator, connect_rotator};
pub use switch::{GrammarSwitch, connect_switch};

use crate::{
    interface::Identity,
    wire::{Trouble, Wire},
};

/// North through east (this program) from south through west (the grammar), degrees; its own inverse.
pub fn azimuth_from_south(azimuth_deg: f64) -> f64 {
    (azimuth_deg + 180.0).rem_euclid(360.0)
}

/// Numbers questions and matches answers.
#[derive(Debug, Default)]
pub(crate) struct Talker {
    counter: u16,
}

impl Talker {
    /// Asks and returns what follows `OK`.
    pub async fn ask(&mut self, wire: &mut Wire, words: &str) -> Result<String, Trouble> {
        self.counter = (self.counter + 1) % 10_000;
        let head = format!("{:04}0000", self.counter);
        let mut message = head.clone().into_bytes();
        message.extend_from_slice(words.as_bytes());
        message.push(0);
        wire.send(&message).await?;
        let answer = wire.line(0).await?;
        let Some(text) = answer.strip_prefix(&head) else {
            return Err(Trouble::Garbage(format!(
                "answer {:?} to question {head}",
                answer.get(..12).unwrap_or(&answer)
            )));
        };
        if let Some(values) = text.strip_prefix("OK") {
            return Ok(values.trim_start().to_owned());
        }
        let refused = text.strip_prefix("ERR ").and_then(|rest| rest.split_once(' '));
        match refused.and_then(|(code, message)| Some((code.parse().ok()?, message))) {
            Some((code, message)) => Err(Trouble::Refused {
                code,
                message: message.into(),
            }),
            None => Err(Trouble::Garbage(format!("answer {text:?}"))),
        }
    }

    pub async fn identity(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let answer = self.ask(wire, "GET IDENTITY").await?;
        let (model, version) = answer
            .split_once(';')
            .ok_or_else(|| Trouble::Garbage(format!("identity {answer:?}")))?;
        Ok(Identity {
            model: model.into(),
            version: version.into(),
        })
    }
}

/// Splits an answer into exactly `N` words.
pub(crate) fn words<const N: usize>(answer: &str) -> Result<[&str; N], Trouble> {
    let found: Vec<&str> = answer.split_ascii_whitespace().collect();
    <[&str; N]>::try_from(found)
        .map_err(|found| Trouble::Garbage(format!("{} values instead of {N} in {answer:?}", found.len())))
}

/// A finite number.
pub(crate) fn number(word: &str) -> Result<f64, Trouble> {
    word.parse::<f64>()
        .ok()
        .filter(|n| n.is_finite())
        .ok_or_else(|| Trouble::Garbage(format!("{word:?} is not a number")))
}

/// A whole number.
pub(crate) fn whole<T: std::str::FromStr>(word: &str) -> Result<T, Trouble> {
    word.parse()
        .map_err(|_| Trouble::Garbage(format!("{word:?} is not a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn south_is_zero_in_the_grammar_and_west_is_ninety() {
        assert_eq!(azimuth_from_south(180.0), 0.0);
        assert_eq!(azimuth_from_south(270.0), 90.0);
        assert_eq!(azimuth_from_south(azimuth_from_south(12.5)), 12.5);
    }

    #[test]
    fn an_answer_has_exactly_its_values() {
        assert_eq!(words::<2>("1 0"), Ok(["1", "0"]));
        assert!(words::<2>("1 0 7").is_err());
        assert!(number("NaN").is_err());
    }
}
