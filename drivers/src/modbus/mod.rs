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
use frame::{Framing, Table, Talker};
use map::{Image, Map};
use std::{rc::Rc, time::Duration};

/// How it is spoken to.
pub struct Talk {
    talker: Talker,
    map: Map,
    poll: Duration,
    timeout: Duration,
    states: ControllerStates,
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
    type Command = ControllerOrder;
    type Reply = ();

    fn deadline(&self, _: &ControllerOrder) -> Duration {
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
        let (readings, plc) = (weather(&self.map, &image, now), status(&self.map, &image));
        Ok(self.states.tell(readings, plc, enclosure, now, self.poll))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &ControllerOrder) -> Result<(), Trouble> {
        let (name, value) = written(command);
        let Some(point) = self.map.points.get(name) else {
            return Err(Trouble::Refused {
                code: 0,
                message: format!("the map has no {name}"),
            });
        };
        let value = match (command, point.table) {
            // A coil alternates, a register counts.
            (ControllerOrder::Heartbeat(count), Table::Coil) => (count & 1) as f64,
            _ => value,
        };
        let pdu = match point.table {
            Table::Coil => frame::write_coil(point.address, (value != 0.0) != point.invert),
            _ => frame::write_words(point.address, &self.map.words(point, value)),
        };
        self.talker.ask(wire, &pdu).await.map(drop)
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.states.unknown(reason, at);
    }
}

/// The point that an order is written to, and its value.
fn written(order: &ControllerOrder) -> (&'static str, f64) {
    match order {
        ControllerOrder::Roof(RoofOrder::Open) => ("command_open", 1.0),
        ControllerOrder::Roof(RoofOrder::Close) => ("command_close", 1.0),
        ControllerOrder::Roof(RoofOrder::Stop) => ("command_stop", 1.0),
        ControllerOrder::Roof(RoofOrder::Rotate(azimuth)) => ("command_azimuth_deg", *azimuth),
        ControllerOrder::Heartbeat(count) => ("heartbeat", f64::from(*count as u16)),
        ControllerOrder::GrantAccess => ("grant_access", 1.0),
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

fn weather(map: &Map, image: &Image, now: UtcTime) -> Readings {
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
pub type ModbusPlc = Controller<Talk>;

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
    let (states, views) = ControllerStates::new(clock.now());
    let talk = Talk {
        talker: Talker::new(framing, map.unit),
        map,
        poll,
        timeout,
        states,
    };
    Controller::new(Link::open(id, connector, clock, timeout, talk), views)
}
