//! A power strip: a socket for every instrument, a dew heater that can be dimmed, and the voltage of its supply.
//!
//! A socket has the name of the device that hangs on it. Without current that device is gone from its line and forgets what
//! it was doing; what had hung comes back with it.

use super::{
    Responder,
    camera::{framed, refuse_commands},
};

/// What a line is and can be.
#[derive(Debug, Clone)]
struct Line {
    name: String,
    writable: bool,
    most: f64,
    step: f64,
    value: f64,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct PowerModel {
    lines: Vec<Line>,
}

/// Volts at rest, and what each socket in use takes off them.
const SUPPLY_V: f64 = 13.8;
const SAG_V: f64 = 0.05;

impl PowerModel {
    /// With a socket for each of `devices`, all of them on.
    pub fn new(devices: impl IntoIterator<Item = String>) -> Self {
        let socket = |name: String| Line {
            name,
            writable: true,
            most: 1.0,
            step: 1.0,
            value: 1.0,
        };
        let mut lines: Vec<Line> = devices.into_iter().map(socket).collect();
        lines.push(Line {
            name: "dew heater".into(),
            writable: true,
            most: 255.0,
            step: 1.0,
            value: 0.0,
        });
        lines.push(Line {
            name: "supply volts".into(),
            writable: false,
            most: 15.0,
            step: 0.01,
            value: 0.0,
        });
        Self { lines }
    }

    /// Devices whose socket is off.
    pub fn dark(&self) -> impl Iterator<Item = &str> {
        self.sockets()
            .filter(|line| line.value == 0.0)
            .map(|line| line.name.as_str())
    }

    fn sockets(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.writable && line.most == 1.0)
    }

    fn value(&self, line: &Line) -> f64 {
        if line.writable {
            line.value
        } else {
            SUPPLY_V - SAG_V * self.sockets().filter(|socket| socket.value > 0.0).count() as f64
        }
    }

    /// Where the line with this number, counted from 1, stands.
    fn place(&self, number: &str) -> Result<usize, (i32, &'static str)> {
        let known = 1..=self.lines.len();
        let number = number.parse().ok().filter(|number| known.contains(number));
        number.map(|number| number - 1).ok_or((2, "no such line"))
    }

    fn set(&mut self, number: &str, value: &str) -> Result<(), (i32, &'static str)> {
        let at = self.place(number)?;
        let line = &mut self.lines[at];
        if !line.writable {
            return Err((3, "this line is only read"));
        }
        let value: f64 = value.parse().map_err(|_| (1, "no number"))?;
        if !(0.0..=line.most).contains(&value) {
            return Err((2, "beyond the line's bounds"));
        }
        line.value = (value / line.step).round() * line.step;
        Ok(())
    }
}

impl Responder for PowerModel {
    fn terminator(&self) -> u8 {
        0
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        framed(question, |words| {
            let values = match words {
                ["GET", "IDENTITY"] => "Alidade simulated power strip;1.0".to_owned(),
                ["GET", "LINES"] => self.lines.len().to_string(),
                ["GET", "LINE", number] => {
                    let line = &self.lines[self.place(number)?];
                    format!(
                        "{} 0 {} {} {}",
                        u8::from(line.writable),
                        line.most,
                        line.step,
                        line.name
                    )
                }
                ["GET", "STATUS"] => {
                    let values = self.lines.iter().map(|line| format!("{:.2}", self.value(line)));
                    values.collect::<Vec<_>>().join(" ")
                }
                ["SET", "LINE", number, value] => {
                    self.set(number, value)?;
                    String::new()
                }
                // There is nothing that moves.
                ["DO", "STOP"] => String::new(),
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
    use super::{super::asking::say, *};

    #[test]
    fn a_line_is_described_set_within_its_bounds_and_read_back() {
        let mut strip = PowerModel::new(["camera_vis", "focuser"].map(String::from));
        assert_eq!(say(&mut strip, "GET LINES"), "OK 4");
        assert_eq!(say(&mut strip, "GET LINE 1"), "OK 1 0 1 1 camera_vis");
        assert_eq!(say(&mut strip, "GET LINE 3"), "OK 1 0 255 1 dew heater");
        assert_eq!(say(&mut strip, "SET LINE 1 0"), "OK");
        assert_eq!(say(&mut strip, "SET LINE 3 127.6"), "OK");
        assert_eq!(say(&mut strip, "GET STATUS"), "OK 0.00 1.00 128.00 13.75");
        assert_eq!(strip.dark().collect::<Vec<_>>(), ["camera_vis"]);
        for (wrong, code) in [
            ("SET LINE 0 1", "ERR 2"),
            ("SET LINE 5 1", "ERR 2"),
            ("SET LINE 1 2", "ERR 2"),
            ("SET LINE 3 NaN", "ERR 2"),
            ("SET LINE 4 12", "ERR 3"),
            ("SET LINE 1 on", "ERR 1"),
            ("GET LINE 9", "ERR 2"),
        ] {
            assert!(say(&mut strip, wrong).starts_with(code), "{wrong}");
        }
        assert_eq!(say(&mut strip, "GET STATUS"), "OK 0.00 1.00 128.00 13.75");
    }
}
