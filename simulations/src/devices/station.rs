//! A weather station some metres away from the controller's sensors.

use super::Responder;
use crate::{random::Random, world::WeatherSample};
use alidade_drivers::station::{fields, sentence};

#[derive(Debug, Clone)]
pub struct StationModel {
    shown: WeatherSample,
    dead: bool,
    frozen: bool,
    noise: Random,
}

impl StationModel {
    pub fn new(weather: WeatherSample, seed: u64) -> Self {
        Self {
            shown: weather,
            dead: false,
            frozen: false,
            noise: Random::new(seed),
        }
    }

    pub fn advance(&mut self, weather: WeatherSample, frozen: bool, dead: bool) {
        (self.frozen, self.dead) = (frozen, dead);
        if !frozen {
            self.shown = weather;
        }
    }

    fn noisy(&mut self, value: f64, sigma: f64) -> f64 {
        if self.frozen {
            value
        } else {
            value + sigma * self.noise.normal()
        }
    }
}

impl Responder for StationModel {
    fn terminator(&self) -> u8 {
        b'\n'
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(question);
        match fields(text.trim()).as_deref() {
            Some(["PALDV"]) => sentence("PALDV,Alidade simulated station,1.0").into_bytes(),
            Some(["PALDQ"]) if self.dead => {
                let dead = ["WIMWV,,R,,M,V", "WIMDA,,I,,B,,C,,C,,,,C,,T,,M,,N,,M", "PALDR,,"];
                dead.map(sentence).concat().into_bytes()
            }
            Some(["PALDQ"]) => {
                let weather = self.shown;
                let wind = self.noisy(weather.wind_m_s, 0.2).max(0.0);
                let temperature = self.noisy(weather.temperature_c, 0.05);
                let humidity = self.noisy(weather.humidity_pct, 0.2).clamp(0.0, 100.0);
                let sky = self.noisy(weather.sky_temperature_k, 0.1);
                let dew_point = self.noisy(weather.dew_point_c, 0.03);
                [
                    format!("WIMWV,270.0,R,{wind:.2},M,A"),
                    format!(
                        "WIMDA,29.0,I,{:.4},B,{temperature:.2},C,,C,{humidity:.2},,{dew_point:.2},C,,T,,M,,N,,M",
                        weather.pressure_hpa / 1000.0
                    ),
                    format!("PALDR,{:.2},{sky:.2}", weather.rain_mm_h),
                ]
                .iter()
                .map(|body| sentence(body))
                .collect::<String>()
                .into_bytes()
            }
            _ => Vec::new(),
        }
    }

    fn refusal(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
