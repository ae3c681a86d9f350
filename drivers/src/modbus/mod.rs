//! The observatory's controller behind Modbus, TCP or RTU, with a register map from the configuration.
//!
//! | module | holds |
//! |---|---|
//! | [`frame`] | functions, framings, checksums |
//! | [`map`] | which register means what |
//!
//! Everything is read in blocks, all or nothing. Commands are written: 1 to a coil or a register; the controller takes
//! them at the edge or sets them back, as it likes, and what came of them is read from the position switches. The
//! heartbeat is a coil that alternates, or a register that counts.

pub mod frame;
pub mod map;

use crate::{
    interface::{
        DeviceError, Enclosure, EnclosureStatus, Identity, KeySwitch, ObservingConditions, Pending, Plc, PlcStatus,
        Quantity, Status,
    },
    link::{Dialogue, Link, device},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    states::EnclosureState,
    time::UtcTime,
};
use frame::{Framing, Table, Talker};
use map::{Image, Map};
use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};
use tokio::sync::watch;

/// A point is written with this value.
struct Command {
    point: &'static str,
    value: f64,
}

struct Talk {
    talker: Talker,
    map: Map,
    poll: Duration,
    timeout: Duration,
    enclosure: watch::Sender<Reading<EnclosureStatus>>,
    plc: watch::Sender<Reading<PlcStatus>>,
    readings: watch::Sender<BTreeMap<Quantity, Reading<f64>>>,
}

impl Talk {
    async fn image(&mut self, wire: &mut Wire) -> Result<Image, Trouble> {
        let mut image = Image::new();
        for block in self.map.blocks() {
            let asked = frame::read(block.table, block.address, block.count);
            let rest = self.talker.ask(wire, &asked).await?;
            if block.table.is_bits() {
                let bits = frame::bits(&rest, block.count)?;
                let placed = bits.into_iter().zip(block.address..);
                image.extend(placed.map(|(on, at)| ((block.table, at), u16::from(on))));
            } else {
                let words = frame::words(&rest, block.count)?;
                image.extend(
                    words
                        .into_iter()
                        .zip(block.address..)
                        .map(|(word, at)| ((block.table, at), word)),
                );
            }
        }
        Ok(image)
    }
}

/// A refusal of a read is a map that does not fit, not a refused command: it is as bad as garbage.
fn unreadable(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Refused { code, message } => Trouble::Garbage(format!("reading refused: {message} ({code})")),
        other => other,
    }
}

impl Dialogue for Talk {
    type Command = Command;
    type Reply = ();

    fn describe(command: &Command) -> String {
        format!("{} {}", command.point, command.value)
    }

    fn deadline(&self, _: &Command) -> Duration {
        self.timeout
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        // Modbus has no name to ask for that servers agree on: that the whole map can be read is the greeting.
        let image = self.image(wire).await.map_err(unreadable)?;
        Ok(Identity {
            model: "Modbus controller".into(),
            version: format!("unit {}, {} registers", self.map.unit, image.len()),
        })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let image = self.image(wire).await.map_err(unreadable)?;
        let now = clock.now();
        let enclosure = enclosure(&self.map, &image)?;
        self.readings.send_replace(weather(&self.map, &image, now));
        self.plc.send_replace(Reading::good(status(&self.map, &image), now));
        self.enclosure.send_replace(Reading::good(enclosure, now));
        let moving = matches!(enclosure.state, EnclosureState::Opening | EnclosureState::Closing) || enclosure.rotating;
        Ok(if moving {
            self.poll.min(Duration::from_millis(500))
        } else {
            self.poll
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &Command) -> Result<(), Trouble> {
        let Some(point) = self.map.points.get(command.point) else {
            return Err(Trouble::Refused {
                code: 0,
                message: format!("the map has no {}", command.point),
            });
        };
        let pdu = match point.table {
            Table::Coil => frame::write_coil(point.address, (command.value != 0.0) != point.invert),
            _ => frame::write_words(point.address, &self.map.words(point, command.value)),
        };
        self.talker.ask(wire, &pdu).await.map(drop)
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.enclosure.send_replace(Reading::none(reason, at));
        self.plc.send_replace(Reading::none(reason, at));
        self.readings.send_modify(|readings| {
            for reading in readings.values_mut() {
                *reading = Reading::none(reason, at);
            }
        });
    }
}

fn on(map: &Map, image: &Image, name: &str) -> bool {
    map.value(name, image).is_some_and(|value| value != 0.0)
}

/// The shutter by its switches; a direction of motion counts only between the ends.
fn enclosure(map: &Map, image: &Image) -> Result<EnclosureStatus, Trouble> {
    let flag = |name| on(map, image, name);
    let state = match (flag("closed"), flag("open")) {
        _ if flag("fault") => EnclosureState::Fault,
        (true, true) => EnclosureState::Fault,
        _ if flag("opening") && flag("closing") => EnclosureState::Fault,
        _ if flag("opening") => EnclosureState::Opening,
        _ if flag("closing") => EnclosureState::Closing,
        (true, false) => EnclosureState::Closed,
        (false, true) => EnclosureState::Open,
        (false, false) => EnclosureState::Stopped,
    };
    let azimuth_deg = match map.value("azimuth_deg", image) {
        Some(azimuth) if !(0.0..=360.0).contains(&azimuth) => {
            return Err(Trouble::Garbage(format!("azimuth {azimuth}")));
        }
        azimuth => azimuth,
    };
    Ok(EnclosureStatus {
        state,
        azimuth_deg,
        rotating: flag("rotating"),
    })
}

fn status(map: &Map, image: &Image) -> PlcStatus {
    let flag = |name| on(map, image, name);
    PlcStatus {
        mode: "MODBUS".into(),
        key_switch: if flag("key_remote") {
            KeySwitch::Remote
        } else {
            KeySwitch::Local
        },
        emergency_stop: flag("emergency_stop"),
        intrusion: flag("intrusion"),
        access_requested: flag("access_requested"),
        must_be_closed: flag("must_be_closed"),
        alarms: Vec::new(),
        bypasses: Vec::new(),
    }
}

fn weather(map: &Map, image: &Image, now: UtcTime) -> BTreeMap<Quantity, Reading<f64>> {
    let read = |quantity: Quantity| {
        let value = map.value(quantity.name(), image)?;
        let (low, high) = quantity.plausible();
        let reading = if (low..=high).contains(&value) {
            Reading::good(value, now)
        } else {
            Reading::none(NoData::OutOfRange, now)
        };
        Some((quantity, reading))
    };
    Quantity::ALL.into_iter().filter_map(read).collect()
}

/// The connected controller.
pub struct ModbusPlc {
    link: Link<Talk>,
    enclosure: Status<EnclosureStatus>,
    plc: Status<PlcStatus>,
    readings: watch::Receiver<BTreeMap<Quantity, Reading<f64>>>,
    beats: Cell<u16>,
    /// The heartbeat is a coil.
    alternates: bool,
}

/// Connects; `poll` is the pause between two readings at rest, `timeout` bounds an answer.
pub fn connect(
    id: &str,
    map: Map,
    framing: Framing,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    timeout: Duration,
) -> Rc<ModbusPlc> {
    let now = clock.now();
    let (enclosure_out, enclosure) = watch::channel(Reading::none(NoData::NeverRead, now));
    let (plc_out, plc) = watch::channel(Reading::none(NoData::NeverRead, now));
    let (readings_out, readings) = watch::channel(BTreeMap::new());
    let alternates = map
        .points
        .get("heartbeat")
        .is_some_and(|point| point.table == Table::Coil);
    let talk = Talk {
        talker: Talker::new(framing, map.unit),
        map,
        poll,
        timeout,
        enclosure: enclosure_out,
        plc: plc_out,
        readings: readings_out,
    };
    let link = Link::open(id, connector, clock, timeout, talk);
    Rc::new(ModbusPlc {
        link,
        enclosure,
        plc,
        readings,
        beats: Cell::new(0),
        alternates,
    })
}

device!(
    ModbusPlc,
    Command {
        point: "command_stop",
        value: 1.0
    }
);

impl ModbusPlc {
    fn say(&self, point: &'static str, value: f64) -> Pending<'_, ()> {
        self.link.send(Command { point, value })
    }
}

impl Enclosure for ModbusPlc {
    fn enclosure_status(&self) -> Status<EnclosureStatus> {
        self.enclosure.clone()
    }
    fn open(&self) -> Pending<'_, ()> {
        self.say("command_open", 1.0)
    }
    fn close(&self) -> Pending<'_, ()> {
        self.link.send_first(Command {
            point: "command_close",
            value: 1.0,
        })
    }
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()> {
        let has_slit = self.enclosure.borrow().value.is_ok_and(|s| s.azimuth_deg.is_some());
        if !has_slit {
            let error = DeviceError::Unsupported {
                device: self.link.id.clone(),
                capability: "turn".into(),
            };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.say("command_azimuth_deg", azimuth_deg.rem_euclid(360.0))
    }
}

impl ObservingConditions for ModbusPlc {
    fn readings(&self) -> watch::Receiver<BTreeMap<Quantity, Reading<f64>>> {
        self.readings.clone()
    }
}

impl Plc for ModbusPlc {
    fn plc_status(&self) -> Status<PlcStatus> {
        self.plc.clone()
    }
    fn heartbeat(&self) -> Pending<'_, ()> {
        let beat = self.beats.get().wrapping_add(1);
        self.beats.set(beat);
        self.say("heartbeat", f64::from(if self.alternates { beat & 1 } else { beat }))
    }
    fn grant_access(&self) -> Pending<'_, ()> {
        self.say("grant_access", 1.0)
    }
}
