//! The observatory's controller: weather, roof, dome, alarms, people, and the dead-man switch.

use super::{
    Responder,
    words::{Fields, fixed},
};
use crate::{faults::ShutterShown, random::Random, world::WeatherSample};
use alidade_model::{states::EnclosureState, time::UtcTime};
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlcConfig {
    /// Shutter travel one way, seconds.
    pub travel_s: f64,
    /// Dome rotation, degrees per second; 0 for a roll-off roof.
    pub dome_deg_s: f64,
    /// Without a heartbeat for this long the controller closes by itself, seconds.
    pub dead_man_s: f64,
    /// The controller's own alarm thresholds.
    pub wind_alarm_m_s: f64,
    pub humidity_alarm_pct: f64,
    /// Alarms hold this long after their cause, seconds.
    pub alarm_hold_s: f64,
    /// A low roof: its drive is wired through the switch that the mount closes where it is parked.
    pub park_interlock: bool,
}

impl Default for PlcConfig {
    fn default() -> Self {
        Self {
            travel_s: 25.0,
            dome_deg_s: 6.0,
            dead_man_s: 60.0,
            wind_alarm_m_s: 25.0,
            humidity_alarm_pct: 98.0,
            alarm_hold_s: 300.0,
            park_interlock: false,
        }
    }
}

/// What the world does to the controller at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Influence {
    pub now: UtcTime,
    pub weather: WeatherSample,
    pub sun_alt_deg: f64,
    /// The motor is blocked.
    pub stuck: bool,
    /// The shutter cannot pass this fraction of its travel.
    pub jam: Option<f64>,
    pub frozen_sensors: bool,
    pub dead_sensors: bool,
    /// What the shutter's switches pretend.
    pub shown: Option<ShutterShown>,
    /// What the thermometer reads too much, kelvin.
    pub thermometer_offset_k: f64,
    pub emergency_stop: bool,
    pub key_local: bool,
    pub access: bool,
    pub intrusion: bool,
    /// Charge of the battery, percent.
    pub charge_pct: f64,
    /// The mount stands on its park switch.
    pub mount_parked: bool,
}

impl Influence {
    /// Nothing but weather and daylight.
    pub fn calm(now: UtcTime, weather: WeatherSample, sun_alt_deg: f64) -> Self {
        Self {
            now,
            weather,
            sun_alt_deg,
            stuck: false,
            jam: None,
            frozen_sensors: false,
            dead_sensors: false,
            shown: None,
            thermometer_offset_k: 0.0,
            emergency_stop: false,
            key_local: false,
            access: false,
            intrusion: false,
            charge_pct: 100.0,
            mount_parked: true,
        }
    }
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct PlcModel {
    config: PlcConfig,
    /// 0 closed, 1 open.
    position: f64,
    motor: i8,
    azimuth_deg: f64,
    azimuth_target_deg: f64,
    at: UtcTime,
    last_beat: Option<UtcTime>,
    alarm_until: [Option<UtcTime>; 7],
    pub emergency_stop: bool,
    pub access_requested: bool,
    pub key_remote: bool,
    influence: Influence,
    shown: WeatherSample,
    unsafe_since: Option<UtcTime>,
    /// How often a client had the roof moved, or moving, while the mount stood in its way, and the controller did not let it.
    pub interlock_trips: u32,
    noise: Random,
}

impl PlcModel {
    pub fn new(config: PlcConfig, influence: Influence, seed: u64) -> Self {
        Self {
            config,
            position: 0.0,
            motor: 0,
            azimuth_deg: 180.0,
            azimuth_target_deg: 180.0,
            at: influence.now,
            last_beat: None,
            alarm_until: [None; 7],
            emergency_stop: false,
            access_requested: false,
            key_remote: true,
            shown: influence.weather,
            influence,
            unsafe_since: None,
            interlock_trips: 0,
            noise: Random::new(seed),
        }
    }

    /// Brings the model to the instant of `influence`.
    pub fn advance(&mut self, influence: Influence) {
        if influence.access && !self.influence.access {
            self.access_requested = true;
        }
        let in_the_way = self.config.park_interlock && !influence.mount_parked;
        // The dead-man acts at its own instant, also when nobody has looked since.
        if let Some(beat) = self.last_beat {
            let lapse = beat.plus_seconds(self.config.dead_man_s);
            if lapse <= influence.now {
                if lapse > self.at {
                    self.glide(lapse);
                }
                if self.position > 0.0 && self.motor != -1 && !in_the_way {
                    self.motor = -1;
                }
            }
        }
        self.influence = influence;
        self.glide(influence.now);
        self.alarms();
        if !influence.frozen_sensors {
            self.shown = influence.weather;
        }
    }

    /// Moves shutter and dome to `now`.
    fn glide(&mut self, now: UtcTime) {
        let seconds = now.seconds_since(self.at).max(0.0);
        self.at = now;
        if self.motor != 0 && self.interlocked() && !self.lapsed() {
            self.interlock_trips += 1;
        }
        if self.stopped() || self.interlocked() {
            self.motor = 0;
        }
        if self.motor != 0 && !self.influence.stuck {
            let before = self.position;
            let step = f64::from(self.motor) * seconds / self.config.travel_s;
            self.position = (before + step).clamp(0.0, 1.0);
            if let Some(jam) = self.influence.jam
                && (before - jam) * (self.position - jam) <= 0.0
                && before != self.position
            {
                self.position = jam;
                self.motor = 0;
            }
            if (self.motor == 1 && self.position >= 1.0) || (self.motor == -1 && self.position <= 0.0) {
                self.motor = 0;
            }
        }
        let error = (self.azimuth_target_deg - self.azimuth_deg + 180.0).rem_euclid(360.0) - 180.0;
        let reach = if self.influence.stuck {
            0.0
        } else {
            self.config.dome_deg_s * seconds
        };
        self.azimuth_deg = (self.azimuth_deg + error.clamp(-reach, reach)).rem_euclid(360.0);
    }

    /// Rain, wind, cloud, daylight, humidity, communication, ups: each holds after its cause is over.
    fn alarms(&mut self) {
        let weather = self.influence.weather;
        let causes = [
            weather.rain_mm_h > 0.0,
            weather.gust_m_s > self.config.wind_alarm_m_s,
            false,
            self.influence.sun_alt_deg > 5.0,
            weather.humidity_pct > self.config.humidity_alarm_pct,
            self.lapsed(),
            false,
        ];
        for (alarm, (until, cause)) in self.alarm_until.iter_mut().zip(causes).enumerate() {
            // Light and silence need no hold: they do not flicker.
            let hold = if alarm == 3 || alarm == 5 {
                0.0
            } else {
                self.config.alarm_hold_s
            };
            if cause {
                *until = Some(self.at.plus_seconds(hold));
            } else if until.is_some_and(|until| until <= self.at) {
                *until = None;
            }
        }
        let closed_for = self.must_be_closed();
        self.unsafe_since = closed_for.then(|| self.unsafe_since.unwrap_or(self.at));
    }

    /// The emergency stop is pressed, by a fault or by hand.
    pub fn stopped(&self) -> bool {
        self.emergency_stop || self.influence.emergency_stop
    }

    /// The heartbeat has been missing for too long.
    fn lapsed(&self) -> bool {
        self.last_beat
            .is_some_and(|beat| self.at.seconds_since(beat) > self.config.dead_man_s)
    }

    /// The mount stands in the roof's way and the controller knows it.
    pub fn interlocked(&self) -> bool {
        self.config.park_interlock && !self.influence.mount_parked
    }

    pub fn has_interlock(&self) -> bool {
        self.config.park_interlock
    }

    /// No command can move the shutter from where it is.
    pub fn held(&self) -> bool {
        self.stopped() || self.influence.stuck || self.influence.jam.is_some_and(|jam| jam == self.position)
    }

    fn remote(&self) -> bool {
        self.key_remote && !self.influence.key_local
    }

    fn must_be_closed(&self) -> bool {
        self.stopped() || self.alarm_until.iter().any(Option::is_some)
    }

    /// What the shutter does, by its position and motor.
    pub fn enclosure(&self) -> EnclosureState {
        match self.motor {
            1 => EnclosureState::Opening,
            -1 => EnclosureState::Closing,
            _ if self.position <= 0.0 => EnclosureState::Closed,
            _ if self.position >= 1.0 => EnclosureState::Open,
            _ => EnclosureState::Stopped,
        }
    }

    pub fn azimuth_deg(&self) -> f64 {
        self.azimuth_deg
    }

    fn has_dome(&self) -> bool {
        self.config.dome_deg_s > 0.0
    }

    fn command(&mut self, name: &str, argument: &str) -> Result<(), (i32, &'static str)> {
        let refused = Err((2, "not while local, stopped or requested"));
        if name == "Dome" && argument != "STOP" && self.interlocked() {
            self.interlock_trips += 1;
            return Err((4, "the mount is not parked"));
        }
        match (name, argument) {
            ("Dome", "OPEN") if !self.remote() || self.stopped() || self.access_requested => refused,
            ("Dome", "OPEN") if self.must_be_closed() => Err((3, "must be closed")),
            ("Dome", "OPEN") => self.drive(1),
            ("Dome", "CLOSE") if self.stopped() => refused,
            ("Dome", "CLOSE") => self.drive(-1),
            ("Dome", "STOP") => self.drive(0),
            ("DomeAzimuth", degrees) if self.has_dome() => match degrees.parse::<f64>() {
                Ok(degrees) if (0.0..=360.0).contains(&degrees) => {
                    self.azimuth_target_deg = degrees.rem_euclid(360.0);
                    Ok(())
                }
                _ => Err((1, "azimuth from 0 to 360")),
            },
            ("Heartbeat", _) => {
                self.last_beat = Some(self.at);
                Ok(())
            }
            ("Telescope", "STOP") => {
                self.access_requested = false;
                Ok(())
            }
            _ => Err((1, "unknown command")),
        }
    }

    fn drive(&mut self, motor: i8) -> Result<(), (i32, &'static str)> {
        let at_end = (motor == 1 && self.position >= 1.0) || (motor == -1 && self.position <= 0.0);
        self.motor = if at_end { 0 } else { motor };
        Ok(())
    }

    fn status_a(&mut self) -> String {
        let mut fields = Fields::new(256);
        let weather = self.shown;
        // Sensors flicker unless they are frozen: that is how a stuck one is told from a living one.
        let flicker = if self.influence.frozen_sensors { 0.0 } else { 1.0 };
        let mut noisy = |value: f64, sigma: f64| value + flicker * sigma * self.noise.normal();
        let mut put = |at: usize, value: f64, decimals: u32| fixed(fields.put(at), value, decimals);
        if !self.influence.dead_sensors {
            put(5, noisy(weather.wind_m_s, 0.2).max(0.0), 2);
            put(7, noisy(weather.gust_m_s, 0.1).max(0.0), 2);
            put(
                8,
                noisy(weather.temperature_c + self.influence.thermometer_offset_k, 0.03),
                2,
            );
            put(9, noisy(weather.humidity_pct, 0.1).clamp(0.0, 100.0), 2);
            put(10, weather.pressure_hpa, 1);
            put(13, weather.rain_mm_h, 2);
            put(18, noisy(weather.temperature_c + weather.sky_temperature_k, 0.1), 2);
            put(19, weather.temperature_c, 2);
            put(22, noisy(weather.dew_point_c, 0.03), 2);
            let lux = if self.influence.sun_alt_deg > 0.0 {
                20_000.0
            } else {
                400.0 * (self.influence.sun_alt_deg / 2.0).exp()
            };
            put(28, noisy(lux, 0.01 * lux).max(0.0), 2);
        } else {
            for at in 2..30 {
                fields.put(at).push_str("NA");
            }
        }
        let mut put = |at: usize, value: f64, decimals: u32| fixed(fields.put(at), value, decimals);
        put(31, noisy(weather.humidity_pct * 0.8, 0.1).clamp(0.0, 100.0), 2);
        put(36, self.influence.charge_pct, 0);
        let mode = if self.stopped() {
            "ESTOP"
        } else if !self.remote() {
            "MANU"
        } else if self.must_be_closed() {
            "AUTO_PARK"
        } else {
            "AUTO"
        };
        fields.put(50).push_str(mode);
        let unsafe_s = self.unsafe_since.map_or(0.0, |since| self.at.seconds_since(since));
        fixed(fields.put(51), unsafe_s, 0);
        fields.line(52)
    }

    fn status_b(&self) -> String {
        let mut bits = [b'0'; 104];
        let mut set = |at: usize, on: bool| bits[at] = if on { b'1' } else { b'0' };
        set(22, !self.remote());
        set(23, self.remote());
        set(31, self.must_be_closed());
        for (alarm, until) in self.alarm_until.iter().enumerate() {
            set(32 + alarm, until.is_some());
        }
        set(40, self.stopped());
        set(43, self.influence.intrusion);
        let (near_closed, near_open) = match self.influence.shown {
            None => (self.position < 1.0, self.position > 0.0),
            Some(ShutterShown::Closed) => (true, false),
            Some(ShutterShown::Open) => (false, true),
            Some(ShutterShown::Both) => (true, true),
            Some(ShutterShown::Neither) => (false, false),
        };
        set(80, near_closed);
        set(81, near_open);
        set(100, self.access_requested);
        String::from_utf8_lossy(&bits).into_owned()
    }

    fn status_d(&self) -> String {
        let error = (self.azimuth_target_deg - self.azimuth_deg + 180.0).rem_euclid(360.0) - 180.0;
        let azimuth = if self.has_dome() {
            format!("{:.2}", self.azimuth_deg)
        } else {
            "NA".into()
        };
        format!(
            "{};{azimuth};{}",
            if self.influence.shown.is_some() { 0 } else { self.motor },
            u8::from(self.has_dome() && error.abs() > 0.05)
        )
    }
}

impl Responder for PlcModel {
    fn terminator(&self) -> u8 {
        b'\n'
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        let question = String::from_utf8_lossy(question);
        let question = question.trim();
        let mut text = match question {
            "" => return Vec::new(),
            "Version" => "Alidade simulated PLC;1.0".to_owned(),
            "StatusA" => self.status_a(),
            "StatusB" => self.status_b(),
            "StatusD" => self.status_d(),
            other => match other.strip_suffix('}').and_then(|inner| inner.split_once('{')) {
                Some((name, argument)) => match self.command(name, argument) {
                    Ok(()) => "OK".into(),
                    Err((code, message)) => format!("ERR {code} {message}"),
                },
                None => "ERR 1 unknown command".into(),
            },
        };
        text.push('\n');
        text.into_bytes()
    }

    fn refusal(&self, question: &[u8]) -> Option<Vec<u8>> {
        question.contains(&b'{').then(|| b"ERR 9 refused\n".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn influence(second: f64) -> Influence {
        let weather = WeatherSample {
            wind_m_s: 3.0,
            gust_m_s: 5.0,
            humidity_pct: 50.0,
            temperature_c: 10.0,
            dew_point_c: 1.0,
            pressure_hpa: 940.0,
            rain_mm_h: 0.0,
            sky_temperature_k: -25.0,
            cloud: 0.0,
            seeing_arcsec: 1.5,
        };
        let now: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        Influence::calm(now.plus_seconds(second), weather, -30.0)
    }

    fn plc() -> PlcModel {
        PlcModel::new(PlcConfig::default(), influence(0.0), 1)
    }

    fn say(plc: &mut PlcModel, question: &str) -> String {
        String::from_utf8(plc.answer(question.as_bytes()))
            .unwrap()
            .trim()
            .to_owned()
    }

    #[test]
    fn the_shutter_takes_its_time_and_can_be_stopped_on_the_way() {
        let mut plc = plc();
        assert_eq!(say(&mut plc, "Dome{OPEN}"), "OK");
        plc.advance(influence(10.0));
        assert_eq!(plc.enclosure(), EnclosureState::Opening);
        say(&mut plc, "Dome{STOP}");
        plc.advance(influence(100.0));
        assert_eq!(plc.enclosure(), EnclosureState::Stopped);
        say(&mut plc, "Dome{OPEN}");
        plc.advance(influence(116.0));
        assert_eq!(plc.enclosure(), EnclosureState::Open);
    }

    #[test]
    fn without_heartbeats_it_closes_by_itself_at_the_right_instant() {
        let mut plc = plc();
        say(&mut plc, "Heartbeat{1}");
        say(&mut plc, "Dome{OPEN}");
        plc.advance(influence(50.0));
        assert_eq!(plc.enclosure(), EnclosureState::Open);
        // Nobody looks for an hour; the shutter has long been closed.
        plc.advance(influence(80.0));
        assert_eq!(plc.enclosure(), EnclosureState::Closing);
        plc.advance(influence(86.0));
        assert_eq!(plc.enclosure(), EnclosureState::Closed);
        assert!(say(&mut plc, "Dome{OPEN}").starts_with("ERR 3"));
    }

    #[test]
    fn a_jammed_shutter_stops_at_the_jam() {
        let mut plc = plc();
        say(&mut plc, "Dome{OPEN}");
        plc.advance(influence(30.0));
        say(&mut plc, "Dome{CLOSE}");
        plc.advance(Influence {
            jam: Some(0.4),
            ..influence(60.0)
        });
        assert_eq!(plc.enclosure(), EnclosureState::Stopped);
        assert!(plc.held());
        plc.advance(influence(61.0));
        assert!(!plc.held(), "the jam is cleared");
    }

    #[test]
    fn where_the_mount_must_park_first_nothing_moves_the_roof_against_it_not_even_the_dead_man() {
        let config = PlcConfig {
            park_interlock: true,
            ..PlcConfig::default()
        };
        let mut plc = PlcModel::new(config, influence(0.0), 1);
        say(&mut plc, "Heartbeat{1}");
        say(&mut plc, "Dome{OPEN}");
        plc.advance(influence(30.0));
        let out = |second| Influence {
            mount_parked: false,
            ..influence(second)
        };
        plc.advance(out(31.0));
        assert!(say(&mut plc, "Dome{CLOSE}").starts_with("ERR 4"));
        plc.advance(out(200.0));
        assert_eq!((plc.enclosure(), plc.interlock_trips), (EnclosureState::Open, 1));
        plc.advance(influence(201.0));
        plc.advance(influence(213.0));
        assert_eq!(
            plc.enclosure(),
            EnclosureState::Closing,
            "it closes as soon as the mount has parked"
        );
        plc.advance(out(214.0));
        assert_eq!((plc.enclosure(), plc.interlock_trips), (EnclosureState::Stopped, 1));
    }

    #[test]
    fn rain_forbids_opening_until_its_hold_is_over() {
        let mut plc = plc();
        let rain = Influence {
            weather: WeatherSample {
                rain_mm_h: 2.0,
                ..influence(0.0).weather
            },
            ..influence(1.0)
        };
        plc.advance(rain);
        assert!(say(&mut plc, "Dome{OPEN}").starts_with("ERR 3"));
        plc.advance(influence(302.0));
        assert_eq!(say(&mut plc, "Dome{OPEN}"), "OK");
    }
}
