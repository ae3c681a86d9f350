//! A site whose roof is not its controller's: a dome with a driver of its own beside a controller that knows people and
//! weather, or without any.
//!
//! Seen as one controller: the roof is the enclosure's, switches and heartbeat are the controller's. Without a controller
//! its switches are never read, its heartbeat strokes nothing, and nothing closes the roof when this program is dead; a
//! configuration has to accept that. The controller's weather is its weather here.

use crate::interface::{
    Device, DeviceError, Enclosure, EnclosureStatus, Identity, LinkState, ObservingConditions, Pending, Plc, PlcStatus,
    Readings, Status,
};
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};
use std::rc::Rc;
use tokio::sync::watch;

/// An enclosure with the controller beside it.
pub struct Split {
    enclosure: Rc<dyn Enclosure>,
    controller: Option<Rc<dyn Plc>>,
    /// What nobody says: kept alive, and never changed.
    silent: watch::Sender<Reading<PlcStatus>>,
    no_weather: watch::Sender<Readings>,
    no_button: watch::Sender<bool>,
}

impl Split {
    pub fn new(enclosure: Rc<dyn Enclosure>, controller: Option<Rc<dyn Plc>>, now: UtcTime) -> Rc<Self> {
        Rc::new(Self {
            enclosure,
            controller,
            silent: watch::channel(Reading::none(NoData::NeverRead, now)).0,
            no_weather: watch::channel(Readings::new()).0,
            no_button: watch::channel(false).0,
        })
    }
}

impl Device for Split {
    fn id(&self) -> &str {
        self.enclosure.id()
    }
    fn link(&self) -> watch::Receiver<LinkState> {
        self.enclosure.link()
    }
    fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.enclosure.identity()
    }
    fn garbage_count(&self) -> u64 {
        self.enclosure.garbage_count()
    }
    fn stop(&self) -> Pending<'_, ()> {
        self.enclosure.stop()
    }
}

impl Enclosure for Split {
    fn enclosure_status(&self) -> Status<EnclosureStatus> {
        self.enclosure.enclosure_status()
    }
    fn open(&self) -> Pending<'_, ()> {
        self.enclosure.open()
    }
    fn close(&self) -> Pending<'_, ()> {
        self.enclosure.close()
    }
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()> {
        self.enclosure.rotate(azimuth_deg)
    }
}

impl ObservingConditions for Split {
    fn readings(&self) -> watch::Receiver<Readings> {
        match &self.controller {
            Some(controller) => controller.readings(),
            None => self.no_weather.subscribe(),
        }
    }
}

impl Plc for Split {
    fn plc_status(&self) -> Status<PlcStatus> {
        match &self.controller {
            Some(controller) => controller.plc_status(),
            None => self.silent.subscribe(),
        }
    }
    fn emergency_stop(&self) -> watch::Receiver<bool> {
        match &self.controller {
            Some(controller) => controller.emergency_stop(),
            None => self.no_button.subscribe(),
        }
    }
    fn heartbeat(&self) -> Pending<'_, ()> {
        match &self.controller {
            Some(controller) => controller.heartbeat(),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
    fn grant_access(&self) -> Pending<'_, ()> {
        match &self.controller {
            Some(controller) => controller.grant_access(),
            None => Box::pin(std::future::ready(Err(DeviceError::Unsupported {
                device: self.enclosure.id().to_owned(),
                capability: "grant access".into(),
            }))),
        }
    }
}
