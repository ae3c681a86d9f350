//! A field rotator whose cables end at the zero of its mechanism: it never turns across it.

use super::{
    Responder,
    camera::{framed, refuse_commands},
};
use alidade_model::time::UtcTime;

/// Degrees per second.
const TURN_RATE: f64 = 3.0;
/// Angle on the sky where the mechanism is at zero: how the instrument was bolted on, degrees.
const MOUNTED_DEG: f64 = 15.0;

/// See the module's text. Cameras that hang on it turn with it.
#[derive(Debug, Clone)]
pub struct RotatorModel {
    /// Of the mechanism, degrees 0 to 360.
    at: f64,
    target: f64,
    now: UtcTime,
}

impl RotatorModel {
    pub fn new(now: UtcTime) -> Self {
        Self {
            at: 180.0,
            target: 180.0,
            now,
        }
    }

    pub fn advance(&mut self, now: UtcTime, stuck: bool) {
        let reach = if stuck {
            0.0
        } else {
            now.seconds_since(self.now).max(0.0) * TURN_RATE
        };
        self.now = now;
        // Not the short way round: across zero the cables would tear.
        self.at += (self.target - self.at).clamp(-reach, reach);
    }

    /// Of the image's upper edge on the sky, degrees 0 to 360.
    pub fn on_sky(&self) -> f64 {
        (self.at + MOUNTED_DEG).rem_euclid(360.0)
    }
}

impl Responder for RotatorModel {
    fn terminator(&self) -> u8 {
        0
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        framed(question, |words| {
            let values = match words {
                ["GET", "IDENTITY"] => "Alidade simulated rotator;1.0".to_owned(),
                ["GET", "STATUS"] => {
                    let moving = self.at != self.target;
                    format!("{:.3} {:.3} {}", self.on_sky(), self.at, u8::from(moving))
                }
                ["DO", "GOTO", degrees] => match degrees.parse::<f64>() {
                    Ok(degrees) if (0.0..360.0).contains(&degrees) => {
                        self.target = (degrees - MOUNTED_DEG).rem_euclid(360.0);
                        String::new()
                    }
                    _ => return Err((2, "no such angle")),
                },
                ["DO", "STOP"] => {
                    self.target = self.at;
                    String::new()
                }
                _ => return Err((1, "not understood")),
            };
            Ok((values, Vec::new()))
        })
    }

    fn refusal(&self, question: &[u8]) -> Option<Vec<u8>> {
        refuse_commands(question)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::asking::{at, say},
        *,
    };

    #[test]
    fn it_goes_the_long_way_rather_than_across_the_end_of_its_cables() {
        let mut rotator = RotatorModel::new(at(0.0));
        // 5 degrees on the sky are 350 of the mechanism: up from 180, not down across zero.
        assert_eq!(say(&mut rotator, "DO GOTO 5"), "OK");
        rotator.advance(at(10.0), false);
        assert_eq!(say(&mut rotator, "GET STATUS"), "OK 225.000 210.000 1");
        rotator.advance(at(60.0), false);
        assert_eq!(say(&mut rotator, "GET STATUS"), "OK 5.000 350.000 0");
        say(&mut rotator, "DO GOTO 25");
        rotator.advance(at(90.0), false);
        assert_eq!(say(&mut rotator, "GET STATUS"), "OK 275.000 260.000 1");
    }

    #[test]
    fn it_stops_on_its_way_and_stays_where_it_is_stuck() {
        let mut rotator = RotatorModel::new(at(0.0));
        say(&mut rotator, "DO GOTO 135");
        rotator.advance(at(5.0), true);
        assert_eq!(say(&mut rotator, "GET STATUS"), "OK 195.000 180.000 1");
        rotator.advance(at(10.0), false);
        say(&mut rotator, "DO STOP");
        rotator.advance(at(100.0), false);
        assert_eq!(say(&mut rotator, "GET STATUS"), "OK 180.000 165.000 0");
        for wrong in ["360", "-1", "north", "NaN"] {
            assert!(
                say(&mut rotator, &format!("DO GOTO {wrong}")).starts_with("ERR 2"),
                "{wrong}"
            );
        }
    }
}
