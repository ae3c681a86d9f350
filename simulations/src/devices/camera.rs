//! A camera: shutter, exposure, read-out, cooler.

use super::{Responder, words::fixed};
use crate::world::{Pixels, Shot};
use alidade_model::time::UtcTime;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    pub width: usize,
    pub height: usize,
    pub readout_s: f64,
    #[serde(default = "five")]
    pub cooling_c_min: f64,
    #[serde(default = "twenty_below")]
    pub setpoint_c: f64,
}

fn five() -> f64 {
    5.0
}
fn twenty_below() -> f64 {
    -20.0
}

#[derive(Debug, Clone)]
enum Stage {
    Idle,
    Exposing {
        since: UtcTime,
    },
    Reading {
        until: UtcTime,
    },
    Ready {
        pixels: std::rc::Rc<Vec<u16>>,
        width: usize,
        height: usize,
    },
}

/// What was ordered and how it goes.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    operation: u64,
    exposure_s: f64,
    light: bool,
    binning: usize,
    started_at: UtcTime,
    exposed_s: f64,
}

/// Makes the shot of an exposure that begins now: the camera knows its shutter, the world knows the rest.
pub type Scene<'a> = &'a mut dyn FnMut(&Order) -> Shot;
/// Turns a finished shot into pixels.
pub type Develop<'a> = &'a mut dyn FnMut(&Shot) -> Pixels;

/// What the world needs to know of an exposure.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub operation: u64,
    pub exposure_s: f64,
    pub light: bool,
    pub binning: u32,
    pub temperature_c: f64,
}

/// See the module's text.
pub struct CameraModel {
    config: CameraConfig,
    stage: Stage,
    set: Option<Ordered>,
    order: Option<Ordered>,
    shot: Option<Shot>,
    now: UtcTime,
    temperature_c: f64,
    setpoint_c: f64,
    begin: bool,
    /// A stopped exposure leaves its frame behind.
    pub ghosts: bool,
}

impl CameraModel {
    pub fn new(config: CameraConfig, now: UtcTime) -> Self {
        let setpoint_c = config.setpoint_c;
        // The cooler has run since the afternoon.
        Self {
            config,
            stage: Stage::Idle,
            set: None,
            order: None,
            shot: None,
            now,
            temperature_c: setpoint_c,
            setpoint_c,
            begin: false,
            ghosts: false,
        }
    }

    /// Brings the model to `now`. A stuck camera never finishes.
    pub fn advance(&mut self, now: UtcTime, stuck: bool, scene: Scene<'_>, develop: Develop<'_>) {
        let minutes = now.seconds_since(self.now).max(0.0) / 60.0;
        let step = self.config.cooling_c_min * minutes;
        self.temperature_c += (self.setpoint_c - self.temperature_c).clamp(-step, step);
        self.now = now;
        if std::mem::take(&mut self.begin)
            && let Some(order) = self.order
        {
            self.shot = Some(scene(&Order {
                operation: order.operation,
                exposure_s: order.exposure_s,
                light: order.light,
                binning: u32::try_from(order.binning).unwrap_or(1),
                temperature_c: self.temperature_c,
            }));
        }
        if stuck {
            return;
        }
        if let (Stage::Exposing { since }, Some(order)) = (&self.stage, &mut self.order) {
            let end = since.plus_seconds(order.exposure_s);
            if end <= now {
                order.exposed_s = order.exposure_s;
                self.stage = Stage::Reading {
                    until: end.plus_seconds(self.config.readout_s),
                };
            }
        }
        if let Stage::Reading { until } = self.stage
            && until <= now
            && let Some(shot) = &self.shot
        {
            let Pixels { width, height, adu } = develop(shot);
            self.stage = Stage::Ready {
                pixels: std::rc::Rc::new(adu),
                width,
                height,
            };
        }
    }

    /// True when the shutter is open for light at `now`.
    pub fn light_shutter_open_at(&self, now: UtcTime) -> bool {
        matches!((&self.stage, &self.order), (Stage::Exposing { since }, Some(order))
            if order.light && since.plus_seconds(order.exposure_s) > now)
    }

    fn obey(&mut self, words: &[&str]) -> Result<String, (i32, &'static str)> {
        match words {
            ["GET", "IDENTITY"] => Ok("Alidade simulated camera;1.0".into()),
            ["GET", "SENSOR"] => Ok(format!("{} {}", self.config.width, self.config.height)),
            ["GET", "STATUS"] => {
                let state = match self.stage {
                    Stage::Idle => "IDLE",
                    Stage::Exposing { .. } => "EXPOSING",
                    Stage::Reading { .. } => "READING",
                    Stage::Ready { .. } => "READY",
                };
                let operation = self
                    .order
                    .map_or_else(|| "-".to_owned(), |order| order.operation.to_string());
                let mut status = [state, " ", &operation, " "].concat();
                fixed(&mut status, self.temperature_c, 2);
                status.push(' ');
                fixed(&mut status, self.setpoint_c, 2);
                Ok(status)
            }
            ["SET", "EXPOSURE", operation, seconds, light, binning] => {
                let parsed = (operation.parse(), seconds.parse::<f64>(), binning.parse::<usize>());
                let (Ok(operation), Ok(exposure_s), Ok(binning)) = parsed else {
                    return Err((1, "exposure not understood"));
                };
                if !(0.0..=7200.0).contains(&exposure_s) || !(1..=16).contains(&binning) {
                    return Err((2, "exposure out of range"));
                }
                self.set = Some(Ordered {
                    operation,
                    exposure_s,
                    light: *light == "1",
                    binning,
                    started_at: self.now,
                    exposed_s: 0.0,
                });
                Ok(String::new())
            }
            ["DO", "EXPOSE"] => {
                if matches!(self.stage, Stage::Exposing { .. } | Stage::Reading { .. }) {
                    return Err((3, "busy"));
                }
                let Some(order) = self.set.take() else {
                    return Err((4, "no exposure was set"));
                };
                self.order = Some(Ordered {
                    started_at: self.now,
                    ..order
                });
                self.stage = Stage::Exposing { since: self.now };
                self.begin = true;
                Ok(String::new())
            }
            ["DO", "STOP"] if self.ghosts && matches!(self.stage, Stage::Exposing { .. }) => {
                self.stage = Stage::Ready {
                    pixels: std::rc::Rc::new(Vec::new()),
                    width: self.config.width,
                    height: self.config.height,
                };
                Ok(String::new())
            }
            ["DO", "STOP"] => {
                self.stage = Stage::Idle;
                (self.order, self.shot, self.begin) = (None, None, false);
                Ok(String::new())
            }
            ["SET", "TEMPERATURE", degrees] => match degrees.parse::<f64>() {
                Ok(degrees) if (-100.0..=40.0).contains(&degrees) => {
                    self.setpoint_c = degrees;
                    Ok(String::new())
                }
                _ => Err((2, "temperature out of range")),
            },
            _ => Err((1, "not understood")),
        }
    }

    fn frame(&mut self, operation: &str) -> Result<(String, Vec<u8>), (i32, &'static str)> {
        let (Stage::Ready { pixels, width, height }, Some(order)) = (&self.stage, &self.order) else {
            return Err((5, "no frame"));
        };
        if operation.parse() != Ok(order.operation) {
            return Err((6, "another frame is ready"));
        }
        let mut raw = Vec::with_capacity(pixels.len() * 2);
        raw.extend(pixels.iter().flat_map(|adu| adu.to_le_bytes()));
        let (started, exposed) = (order.started_at.unix_micros(), order.exposed_s * 1e6);
        let head = format!(
            "{} {width} {height} {started} {exposed:.0} {}",
            order.operation,
            raw.len()
        );
        self.stage = Stage::Idle;
        (self.order, self.shot) = (None, None);
        Ok((head, raw))
    }
}

/// Splits off the eight digits, answers the words, and puts the digits before the answer.
pub(crate) fn framed(
    question: &[u8],
    answer: impl FnOnce(&[&str]) -> Result<(String, Vec<u8>), (i32, &'static str)>,
) -> Vec<u8> {
    let text = String::from_utf8_lossy(question);
    let Some((head, words)) = text
        .split_at_checked(8)
        .filter(|(head, _)| head.bytes().all(|b| b.is_ascii_digit()))
    else {
        return Vec::new();
    };
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let (line, raw) = match answer(&words) {
        Ok((values, raw)) => (format!("{head}OK {values}"), raw),
        Err((code, message)) => (format!("{head}ERR {code} {message}"), Vec::new()),
    };
    let mut bytes = line.trim_end().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend(raw);
    bytes
}

impl Responder for CameraModel {
    fn terminator(&self) -> u8 {
        0
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        framed(question, |words| match words {
            ["GET", "FRAME", operation] => self.frame(operation),
            words => self.obey(words).map(|values| (values, Vec::new())),
        })
    }

    fn refusal(&self, question: &[u8]) -> Option<Vec<u8>> {
        refuse_commands(question)
    }
}

/// The refusal of every `SET` and `DO`.
pub(crate) fn refuse_commands(question: &[u8]) -> Option<Vec<u8>> {
    let command = question.get(8..)?;
    let refused = command.starts_with(b"SET") || command.starts_with(b"DO");
    refused.then(|| framed(question, |_| Err((9, "refused"))))
}
