//! The observatory's controller: lines of text over TCP, in the dialect of the COLIBRI telescope's controller.
//!
//! The client asks `StatusA`, `StatusB` and `StatusD` and gets one line each; commands are `Name{ARGUMENT}` and are
//! answered `OK` or `ERR code text`. Lines end with LF.
//!
//! - *StatusA*: 52 fields separated by `;`, `NA` where a sensor is dead. Counted from 0: 5 mean wind (m/s), 7 gust (m/s),
//!   8 temperature (degC), 9 humidity (%), 10 pressure (hPa), 13 rain (mm/h), 18 sky temperature (degC), 19 air
//!   temperature of the cloud sensor (degC), 22 dew point (degC), 28 light (lux), 31 humidity inside (%), 36 battery
//!   charge (%), 50 mode word, 51 seconds unsafe.
//! - *StatusB*: 104 bits as `0` and `1`: 22-23 key switch (00 off, 01 remote, 10 local, 11 error), 31 must be closed,
//!   32-38 alarms (rain, wind, cloud, daylight, humidity, communication, ups), 40 emergency stop, 43 intrusion, 80-81
//!   shutter (01 open, 10 closed, 11 between, 00 error), 87-93 bypasses in the order of the alarms, 100 access requested.
//! - *StatusD* (ours): `motor;azimuth;rotating`: shutter motor -1 closing, 0 at rest, 1 opening; slit azimuth in
//!   degrees from north through east, or `NA` for a roof; 1 while the dome turns.
//! - Ours as well: `Dome{OPEN}`, `Dome{CLOSE}`, `Dome{STOP}`, `DomeAzimuth{degrees}`, and `Heartbeat{n}`, whose absence
//!   raises the communication alarm and closes the dome.

use crate::{
    handle::{Controller, ControllerOrder, ControllerStates, RoofOrder},
    interface::{EnclosureStatus, Identity, KeySwitch, PlcStatus, Quantity, Readings},
    link::{Dialogue, Link},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    states::EnclosureState,
    time::UtcTime,
};
use std::{rc::Rc, time::Duration};

/// Names of the alarms, in the order of their bits.
pub const ALARMS: [&str; 7] = ["rain", "wind", "cloud", "daylight", "humidity", "communication", "ups"];

/// Where the fields of StatusA are, with the range outside of which a sensor is broken.
const FIELDS: [(Quantity, usize, f64, f64); 9] = [
    (Quantity::WindMS, 5, 0.0, 100.0),
    (Quantity::GustMS, 7, 0.0, 150.0),
    (Quantity::TemperatureC, 8, -60.0, 60.0),
    (Quantity::HumidityPct, 9, 0.0, 110.0),
    (Quantity::PressureHpa, 10, 400.0, 1100.0),
    (Quantity::RainMmH, 13, 0.0, 500.0),
    (Quantity::DewPointC, 22, -80.0, 60.0),
    (Quantity::LightLux, 28, 0.0, 200_000.0),
    (Quantity::InsideHumidityPct, 31, 0.0, 110.0),
];

/// How it is spoken to.
pub struct Talk {
    poll: Duration,
    states: ControllerStates,
}

impl Dialogue for Talk {
    type Command = ControllerOrder;
    type Reply = ();

    fn deadline(&self, _: &ControllerOrder) -> Duration {
        Duration::from_secs(3)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        wire.send(b"Version\n").await?;
        let line = wire.line(b'\n').await?;
        let (model, version) = line
            .split_once(';')
            .ok_or_else(|| Trouble::Garbage(format!("version {line:?}")))?;
        Ok(Identity {
            model: model.into(),
            version: version.into(),
        })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        wire.send(b"StatusA\nStatusB\nStatusD\n").await?;
        let (a, b, d) = (
            wire.line(b'\n').await?,
            wire.line(b'\n').await?,
            wire.line(b'\n').await?,
        );
        let now = clock.now();
        let (readings, plc, enclosure) = read([&a, &b, &d], now)?;
        Ok(self.states.tell(readings, plc, enclosure, now, self.poll))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &ControllerOrder) -> Result<(), Trouble> {
        wire.send(format!("{}\n", words(command)).as_bytes()).await?;
        parse_answer(&wire.line(b'\n').await?)
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.states.unknown(reason, at);
    }
}

/// An order in this dialect.
fn words(order: &ControllerOrder) -> String {
    match order {
        ControllerOrder::Roof(RoofOrder::Open) => "Dome{OPEN}".into(),
        ControllerOrder::Roof(RoofOrder::Close) => "Dome{CLOSE}".into(),
        ControllerOrder::Roof(RoofOrder::Stop) => "Dome{STOP}".into(),
        ControllerOrder::Roof(RoofOrder::Rotate(degrees)) => format!("DomeAzimuth{{{degrees:.2}}}"),
        ControllerOrder::Heartbeat(count) => format!("Heartbeat{{{count}}}"),
        ControllerOrder::GrantAccess => "Telescope{STOP}".into(),
    }
}

/// Reads StatusA, StatusB and StatusD, all or nothing; [`render`] is the way back.
pub fn read([a, b, d]: [&str; 3], now: UtcTime) -> Result<(Readings, PlcStatus, EnclosureStatus), Trouble> {
    let (readings, mode) = parse_a(a, now)?;
    let (plc, shutter) = parse_b(b, mode)?;
    Ok((readings, plc, parse_d(d, shutter)?))
}

fn parse_answer(line: &str) -> Result<(), Trouble> {
    if line == "OK" {
        return Ok(());
    }
    let refused = line.strip_prefix("ERR ").and_then(|rest| rest.split_once(' '));
    match refused.and_then(|(code, message)| Some((code.parse().ok()?, message))) {
        Some((code, message)) => Err(Trouble::Refused {
            code,
            message: message.into(),
        }),
        None => Err(Trouble::Garbage(format!("answer {line:?}"))),
    }
}

fn field(text: &str, low: f64, high: f64) -> Result<f64, NoData> {
    match text.trim().parse::<f64>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        Ok(_) => Err(NoData::OutOfRange),
        Err(_) => Err(NoData::SensorFault),
    }
}

/// Weather and the mode word.
fn parse_a(line: &str, now: UtcTime) -> Result<(Readings, String), Trouble> {
    let fields: Vec<&str> = line.split(';').collect();
    if fields.len() != 52 {
        return Err(Trouble::Garbage(format!("StatusA with {} fields", fields.len())));
    }
    let reading = |value| Reading {
        value,
        measured_at: now,
    };
    let mut readings: Readings = FIELDS
        .iter()
        .map(|(quantity, at, low, high)| (*quantity, reading(field(fields[*at], *low, *high))))
        .collect();
    let sky = field(fields[18], -100.0, 60.0).and_then(|sky| Ok(sky - field(fields[19], -60.0, 60.0)?));
    readings.insert(Quantity::SkyTemperatureK, reading(sky));
    readings.insert(Quantity::UpsChargePct, reading(field(fields[36], 0.0, 100.0)));
    Ok((readings, fields[50].trim().to_owned()))
}

/// Switches and alarms, and the two shutter bits.
fn parse_b(line: &str, mode: String) -> Result<(PlcStatus, (bool, bool)), Trouble> {
    let bits = line.as_bytes();
    if bits.len() != 104 || !bits.iter().all(|bit| matches!(bit, b'0' | b'1')) {
        return Err(Trouble::Garbage(format!("StatusB of {} characters", bits.len())));
    }
    let on = |at: usize| bits[at] == b'1';
    let named = |first: usize| {
        ALARMS
            .iter()
            .enumerate()
            .filter(|(n, _)| on(first + n))
            .map(|(_, name)| (*name).into())
            .collect()
    };
    let status = PlcStatus {
        mode,
        key_switch: match (on(22), on(23)) {
            (false, false) => KeySwitch::Off,
            (false, true) => KeySwitch::Remote,
            (true, false) => KeySwitch::Local,
            (true, true) => KeySwitch::Error,
        },
        must_be_closed: on(31),
        alarms: named(32),
        emergency_stop: on(40),
        intrusion: on(43),
        bypasses: named(87),
        access_requested: on(100),
    };
    Ok((status, (on(80), on(81))))
}

fn parse_d(line: &str, shutter: (bool, bool)) -> Result<EnclosureStatus, Trouble> {
    let garbage = || Trouble::Garbage(format!("StatusD {line:?}"));
    let mut fields = line.split(';');
    let (Some(motor), Some(azimuth), Some(rotating), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(garbage());
    };
    let motor: i8 = motor.parse().map_err(|_| garbage())?;
    let azimuth_deg = match azimuth {
        "NA" => None,
        text => Some(
            text.parse::<f64>()
                .ok()
                .filter(|a| (0.0..=360.0).contains(a))
                .ok_or_else(garbage)?,
        ),
    };
    let state = match (shutter, motor) {
        ((false, false), _) => EnclosureState::Fault,
        (_, 1) => EnclosureState::Opening,
        (_, -1) => EnclosureState::Closing,
        ((false, true), 0) => EnclosureState::Open,
        ((true, false), 0) => EnclosureState::Closed,
        ((true, true), 0) => EnclosureState::Stopped,
        _ => return Err(garbage()),
    };
    Ok(EnclosureStatus {
        state,
        azimuth_deg,
        rotating: rotating == "1",
    })
}

/// The three lines with which a controller of this dialect says what was measured: StatusA, StatusB and StatusD. The
/// guard speaks so to the daemon, whatever the controller behind it speaks.
pub fn render(readings: &Readings, plc: &PlcStatus, enclosure: &EnclosureStatus) -> [String; 3] {
    let mut fields = vec!["NA".to_owned(); 52];
    for (quantity, at, _, _) in FIELDS {
        if let Some(Ok(value)) = readings.get(quantity).map(|reading| reading.value) {
            fields[at] = value.to_string();
        }
    }
    if let Some(Ok(sky)) = readings.get(Quantity::SkyTemperatureK).map(|reading| reading.value) {
        (fields[18], fields[19]) = (sky.to_string(), "0".into());
    }
    if let Some(Ok(charge)) = readings.get(Quantity::UpsChargePct).map(|reading| reading.value) {
        fields[36] = charge.to_string();
    }
    fields[50].clone_from(&plc.mode);
    let mut bits = vec![b'0'; 104];
    let mut set = |at: usize, on: bool| bits[at] = if on { b'1' } else { b'0' };
    let (local, remote) = match plc.key_switch {
        KeySwitch::Off => (false, false),
        KeySwitch::Remote => (false, true),
        KeySwitch::Local => (true, false),
        KeySwitch::Error => (true, true),
    };
    set(22, local);
    set(23, remote);
    set(31, plc.must_be_closed);
    for (n, name) in ALARMS.iter().enumerate() {
        set(32 + n, plc.alarms.iter().any(|alarm| alarm == name));
        set(87 + n, plc.bypasses.iter().any(|bypass| bypass == name));
    }
    set(40, plc.emergency_stop);
    set(43, plc.intrusion);
    set(100, plc.access_requested);
    let (near_closed, near_open, motor) = match enclosure.state {
        EnclosureState::Closed => (true, false, 0),
        EnclosureState::Open => (false, true, 0),
        EnclosureState::Opening => (true, true, 1),
        EnclosureState::Closing => (true, true, -1),
        EnclosureState::Stopped => (true, true, 0),
        EnclosureState::Unknown | EnclosureState::Fault => (false, false, 0),
    };
    set(80, near_closed);
    set(81, near_open);
    let azimuth = enclosure
        .azimuth_deg
        .map_or("NA".to_owned(), |azimuth| azimuth.to_string());
    [
        fields.join(";"),
        bits.into_iter().map(char::from).collect(),
        format!("{motor};{azimuth};{}", u8::from(enclosure.rotating)),
    ]
}

/// The connected controller.
pub type PlcDevice = Controller<Talk>;

/// Connects; `poll` is the pause between two readings at rest.
pub fn connect(id: &str, connector: SharedConnector, clock: Rc<dyn Clock>, poll: Duration) -> Rc<PlcDevice> {
    let (states, views) = ControllerStates::new(clock.now());
    let link = Link::open(id, connector, clock, Duration::from_secs(4), Talk { poll, states });
    Controller::new(link, views)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> UtcTime {
        UtcTime::from_unix_micros(0).unwrap()
    }

    #[test]
    fn the_shutter_is_what_its_switches_and_motor_say() {
        let state = |line: &str, shutter| parse_d(line, shutter).map(|s| s.state);
        assert_eq!(state("0;180.0;0", (true, false)), Ok(EnclosureState::Closed));
        assert_eq!(state("0;180.0;0", (false, true)), Ok(EnclosureState::Open));
        assert_eq!(state("-1;NA;0", (true, true)), Ok(EnclosureState::Closing));
        assert_eq!(state("0;NA;0", (true, true)), Ok(EnclosureState::Stopped));
        assert_eq!(state("0;NA;0", (false, false)), Ok(EnclosureState::Fault));
        assert!(state("0;400;0", (true, false)).is_err());
    }

    #[test]
    fn a_dead_sensor_is_a_fault_and_not_a_value() {
        let mut fields = vec!["0"; 52];
        fields[8] = "NA";
        fields[9] = "300";
        fields[10] = "940.2";
        let (readings, _) = parse_a(&fields.join(";"), now()).unwrap();
        assert_eq!(readings[Quantity::TemperatureC].value, Err(NoData::SensorFault));
        assert_eq!(readings[Quantity::HumidityPct].value, Err(NoData::OutOfRange));
        assert_eq!(readings[Quantity::PressureHpa].value, Ok(940.2));
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(
            wind in 0.0f64..99.0,
            bits in prop::array::uniform6(any::<bool>()),
            key in 0usize..4,
            state in 0usize..EnclosureState::ALL.len(),
            azimuth in prop::option::of(0.0f64..360.0),
        ) {
            let readings = Readings::from([
                (Quantity::WindMS, Reading::good(wind, now())),
                (Quantity::SkyTemperatureK, Reading::good(-wind, now())),
                (Quantity::HumidityPct, Reading::none(NoData::SensorFault, now())),
            ]);
            let plc = PlcStatus {
                mode: "AUTO".into(),
                key_switch: [KeySwitch::Off, KeySwitch::Remote, KeySwitch::Local, KeySwitch::Error][key],
                emergency_stop: bits[0],
                intrusion: bits[1],
                access_requested: bits[2],
                must_be_closed: bits[3],
                alarms: if bits[4] { vec!["wind".into()] } else { vec![] },
                bypasses: if bits[5] { vec!["ups".into()] } else { vec![] },
            };
            let enclosure = EnclosureStatus { state: EnclosureState::ALL[state], azimuth_deg: azimuth, rotating: bits[0] };
            let [a, b, d] = render(&readings, &plc, &enclosure);
            let (read, mode) = parse_a(&a, now()).unwrap();
            prop_assert_eq!(read[Quantity::WindMS].value, Ok(wind));
            prop_assert_eq!(read[Quantity::SkyTemperatureK].value, Ok(-wind));
            prop_assert_eq!(read[Quantity::HumidityPct].value, Err(NoData::SensorFault));
            let (status, shutter) = parse_b(&b, mode).unwrap();
            prop_assert_eq!(status, plc);
            let seen = parse_d(&d, shutter).unwrap();
            let expected = if enclosure.state == EnclosureState::Unknown { EnclosureState::Fault } else { enclosure.state };
            prop_assert_eq!(seen, EnclosureStatus { state: expected, ..enclosure });
        }

        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,200}") {
            let _ = parse_a(&line, now());
            let _ = parse_b(&line, String::new());
            let _ = parse_d(&line, (true, false));
            let _ = parse_answer(&line);
        }
    }
}
