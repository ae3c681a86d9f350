//! A filter wheel and a focuser.

use super::{
    Responder,
    camera::{framed, refuse_commands},
};
use alidade_model::time::UtcTime;

/// A wheel that turns one position after the other, the short way round.
#[derive(Debug, Clone)]
pub struct WheelModel {
    positions: usize,
    /// From 0, between two whole numbers while it turns.
    at: f64,
    target: f64,
    now: UtcTime,
    /// It goes one position further than it is sent.
    pub misplaces: bool,
}

/// Seconds from one position to the next.
const WHEEL_STEP_S: f64 = 0.8;

impl WheelModel {
    pub fn new(positions: usize, now: UtcTime) -> Self {
        Self {
            positions: positions.max(1),
            at: 0.0,
            target: 0.0,
            now,
            misplaces: false,
        }
    }

    pub fn advance(&mut self, now: UtcTime, stuck: bool) {
        let reach = if stuck {
            0.0
        } else {
            now.seconds_since(self.now).max(0.0) / WHEEL_STEP_S
        };
        self.now = now;
        let round = self.positions as f64;
        let error = (self.target - self.at + round / 2.0).rem_euclid(round) - round / 2.0;
        self.at = if error.abs() <= reach {
            self.target
        } else {
            (self.at + reach * error.signum()).rem_euclid(round)
        };
    }

    /// Index of the filter in the beam.
    pub fn position(&self) -> Option<usize> {
        (self.at.fract() == 0.0).then_some(self.at as usize)
    }
}

impl Responder for WheelModel {
    fn terminator(&self) -> u8 {
        0
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        framed(question, |words| {
            let values = match words {
                ["GET", "IDENTITY"] => "Alidade simulated filter wheel;1.0".to_owned(),
                ["GET", "STATUS"] => {
                    let moving = self.at != self.target;
                    let position = self.position().filter(|_| !moving).map_or(0, |at| at + 1);
                    format!("{position} {}", u8::from(moving))
                }
                ["DO", "GOTO", position] => match position.parse::<usize>() {
                    Ok(position) if (1..=self.positions).contains(&position) => {
                        let further = usize::from(self.misplaces);
                        self.target = ((position - 1 + further) % self.positions) as f64;
                        String::new()
                    }
                    _ => return Err((2, "no such position")),
                },
                ["DO", "STOP"] => {
                    // A wheel stops in the next detent, never between two filters.
                    self.target = self.at.round().rem_euclid(self.positions as f64);
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

/// A focuser with a temperature sensor on the tube.
#[derive(Debug, Clone)]
pub struct FocuserModel {
    steps: f64,
    target: f64,
    pub temperature_c: f64,
    now: UtcTime,
}

/// Steps per second, and the end of the travel.
const FOCUS_RATE: f64 = 400.0;
const FOCUS_END: i64 = 60_000;

impl FocuserModel {
    pub fn new(now: UtcTime) -> Self {
        Self {
            steps: 20_000.0,
            target: 20_000.0,
            temperature_c: 10.0,
            now,
        }
    }

    pub fn advance(&mut self, now: UtcTime, stuck: bool, temperature_c: f64) {
        let reach = if stuck {
            0.0
        } else {
            now.seconds_since(self.now).max(0.0) * FOCUS_RATE
        };
        self.now = now;
        self.temperature_c = temperature_c;
        self.steps += (self.target - self.steps).clamp(-reach, reach);
    }

    pub fn steps(&self) -> f64 {
        self.steps
    }
}

impl Responder for FocuserModel {
    fn terminator(&self) -> u8 {
        0
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        framed(question, |words| {
            let values = match words {
                ["GET", "IDENTITY"] => "Alidade simulated focuser;1.0".to_owned(),
                ["GET", "STATUS"] => {
                    let moving = (self.target - self.steps).abs() > 0.5;
                    format!("{:.0} {} {:.2}", self.steps, u8::from(moving), self.temperature_c)
                }
                ["DO", "GOTO", steps] => match steps.parse::<i64>() {
                    Ok(steps) if (0..=FOCUS_END).contains(&steps) => {
                        self.target = steps as f64;
                        String::new()
                    }
                    _ => return Err((2, "beyond the travel")),
                },
                ["DO", "STOP"] => {
                    self.target = self.steps;
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
    fn a_wheel_goes_the_short_way_and_says_nothing_in_between() {
        let mut wheel = WheelModel::new(5, at(0.0));
        assert_eq!(say(&mut wheel, "DO GOTO 5"), "OK");
        wheel.advance(at(0.4), false);
        assert_eq!(say(&mut wheel, "GET STATUS"), "OK 0 1");
        wheel.advance(at(0.9), false);
        assert_eq!(say(&mut wheel, "GET STATUS"), "OK 5 0");
        assert!(say(&mut wheel, "DO GOTO 6").starts_with("ERR 2"));
    }

    #[test]
    fn a_focuser_can_be_stopped_on_its_way() {
        let mut focuser = FocuserModel::new(at(0.0));
        say(&mut focuser, "DO GOTO 24000");
        focuser.advance(at(5.0), false, 8.0);
        assert_eq!(say(&mut focuser, "GET STATUS"), "OK 22000 1 8.00");
        say(&mut focuser, "DO STOP");
        focuser.advance(at(50.0), false, 8.0);
        assert_eq!(say(&mut focuser, "GET STATUS"), "OK 22000 0 8.00");
    }
}
