//! What covers the telescope and what watches the weather.

use super::orders::{ControllerOrder, Rest, RoofOrder};
use crate::{
    interface::{
        Device, DeviceError, Enclosure, EnclosureStatus, Identity, LinkState, ObservingConditions, Pending, Plc,
        PlcStatus, Readings, Status,
    },
    link::{Dialogue, Link},
};
use alidade_model::{
    reading::{NoData, Reading},
    states::EnclosureState,
    time::UtcTime,
};
use std::{cell::Cell, rc::Rc, time::Duration};
use tokio::sync::watch;

/// A connected dome or roof.
pub struct DomeHandle<D: Dialogue> {
    link: Link<D>,
    status: Status<EnclosureStatus>,
}

impl<D: Dialogue> DomeHandle<D> {
    pub fn new(link: Link<D>, status: Status<EnclosureStatus>) -> Rc<Self> {
        Rc::new(Self { link, status })
    }
}

device!(DomeHandle, RoofOrder, (), RoofOrder::Stop);

impl<D: Dialogue<Command = RoofOrder, Reply = ()>> Enclosure for DomeHandle<D> {
    fn enclosure_status(&self) -> Status<EnclosureStatus> {
        self.status.clone()
    }
    fn open(&self) -> Pending<'_, ()> {
        self.link.send(RoofOrder::Open)
    }
    fn close(&self) -> Pending<'_, ()> {
        self.link.send_first(RoofOrder::Close)
    }
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()> {
        self.link.send(RoofOrder::Rotate(azimuth_deg))
    }
}

/// Everything that was measured is known no more.
pub fn forget(readings: &watch::Sender<Readings>, reason: NoData, at: UtcTime) {
    readings.send_modify(|readings| {
        for reading in readings.values_mut() {
            *reading = Reading::none(reason, at);
        }
    });
}

/// A connected station.
pub struct StationHandle<D: Dialogue> {
    link: Link<D>,
    readings: watch::Receiver<Readings>,
}

impl<D: Dialogue> StationHandle<D> {
    pub fn new(link: Link<D>, readings: watch::Receiver<Readings>) -> Rc<Self> {
        Rc::new(Self { link, readings })
    }
}

device!(StationHandle, Rest, (), Rest);

impl<D: Dialogue<Command = Rest, Reply = ()>> ObservingConditions for StationHandle<D> {
    fn readings(&self) -> watch::Receiver<Readings> {
        self.readings.clone()
    }
}

/// What a controller publishes, on the side of its dialogue.
pub struct ControllerStates {
    enclosure: watch::Sender<Reading<EnclosureStatus>>,
    plc: watch::Sender<Reading<PlcStatus>>,
    emergency_stop: watch::Sender<bool>,
    readings: watch::Sender<Readings>,
}

/// The same, on the side of its handle.
pub struct ControllerViews {
    enclosure: Status<EnclosureStatus>,
    plc: Status<PlcStatus>,
    emergency_stop: watch::Receiver<bool>,
    readings: watch::Receiver<Readings>,
}

impl ControllerStates {
    pub fn new(now: UtcTime) -> (Self, ControllerViews) {
        let (enclosure, seen_enclosure) = watch::channel(Reading::none(NoData::NeverRead, now));
        let (plc, seen_plc) = watch::channel(Reading::none(NoData::NeverRead, now));
        let (emergency_stop, seen_emergency_stop) = watch::channel(false);
        let (readings, seen_readings) = watch::channel(Readings::new());
        let states = Self {
            enclosure,
            plc,
            emergency_stop,
            readings,
        };
        let views = ControllerViews {
            enclosure: seen_enclosure,
            plc: seen_plc,
            emergency_stop: seen_emergency_stop,
            readings: seen_readings,
        };
        (states, views)
    }

    /// Publishes one whole reading, and says when to read again: sooner while something moves. All or nothing, for half a
    /// status would mix two moments.
    pub fn tell(
        &self,
        readings: Readings,
        plc: PlcStatus,
        enclosure: EnclosureStatus,
        now: UtcTime,
        poll: Duration,
    ) -> Duration {
        self.readings.send_replace(readings);
        self.emergency_stop.send_replace(plc.emergency_stop);
        self.plc.send_replace(Reading::good(plc, now));
        self.enclosure.send_replace(Reading::good(enclosure, now));
        let moving = matches!(enclosure.state, EnclosureState::Opening | EnclosureState::Closing) || enclosure.rotating;
        if moving {
            poll.min(Duration::from_millis(500))
        } else {
            poll
        }
    }

    /// Nothing is known any more but whether the emergency stop was pressed.
    pub fn unknown(&self, reason: NoData, at: UtcTime) {
        self.enclosure.send_replace(Reading::none(reason, at));
        self.plc.send_replace(Reading::none(reason, at));
        forget(&self.readings, reason, at);
    }
}

/// A connected controller.
pub struct Controller<D: Dialogue> {
    link: Link<D>,
    views: ControllerViews,
    beats: Cell<u64>,
}

impl<D: Dialogue> Controller<D> {
    pub fn new(link: Link<D>, views: ControllerViews) -> Rc<Self> {
        Rc::new(Self {
            link,
            views,
            beats: Cell::new(0),
        })
    }
}

device!(Controller, ControllerOrder, (), ControllerOrder::Roof(RoofOrder::Stop));

impl<D: Dialogue<Command = ControllerOrder, Reply = ()>> Enclosure for Controller<D> {
    fn enclosure_status(&self) -> Status<EnclosureStatus> {
        self.views.enclosure.clone()
    }
    fn open(&self) -> Pending<'_, ()> {
        self.link.send(ControllerOrder::Roof(RoofOrder::Open))
    }
    fn close(&self) -> Pending<'_, ()> {
        self.link.send_first(ControllerOrder::Roof(RoofOrder::Close))
    }
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()> {
        let has_slit = self
            .views
            .enclosure
            .borrow()
            .value
            .is_ok_and(|s| s.azimuth_deg.is_some());
        if !has_slit {
            let error = DeviceError::Unsupported {
                device: self.link.id.clone(),
                capability: "turn".into(),
            };
            return Box::pin(std::future::ready(Err(error)));
        }
        let azimuth_deg = azimuth_deg.rem_euclid(360.0);
        self.link.send(ControllerOrder::Roof(RoofOrder::Rotate(azimuth_deg)))
    }
}

impl<D: Dialogue<Command = ControllerOrder, Reply = ()>> ObservingConditions for Controller<D> {
    fn readings(&self) -> watch::Receiver<Readings> {
        self.views.readings.clone()
    }
}

impl<D: Dialogue<Command = ControllerOrder, Reply = ()>> Plc for Controller<D> {
    fn plc_status(&self) -> Status<PlcStatus> {
        self.views.plc.clone()
    }
    fn emergency_stop(&self) -> watch::Receiver<bool> {
        self.views.emergency_stop.clone()
    }
    fn heartbeat(&self) -> Pending<'_, ()> {
        self.beats.set(self.beats.get().wrapping_add(1));
        self.link.send(ControllerOrder::Heartbeat(self.beats.get()))
    }
    fn grant_access(&self) -> Pending<'_, ()> {
        self.link.send(ControllerOrder::GrantAccess)
    }
}
