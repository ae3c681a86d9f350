//! A mount that nobody moves while the emergency stop is pressed: neither the night, nor an operator, nor the daemon's own end.
//! `safety` stops what moves then; here what would begin is refused.

use alidade_drivers::interface::{Device, DeviceError, Identity, LinkState, Mount, MountStatus, Pending, Status};
use std::rc::Rc;
use tokio::sync::watch;

/// See the module's text.
pub struct Halting {
    mount: Rc<dyn Mount>,
    pressed: watch::Receiver<bool>,
}

impl Halting {
    pub fn new(mount: Rc<dyn Mount>, pressed: watch::Receiver<bool>) -> Self {
        Self { mount, pressed }
    }

    fn held<'a>(&self, command: &str) -> Option<Pending<'a, ()>> {
        let pressed = *self.pressed.borrow();
        let refused = DeviceError::Rejected {
            device: self.mount.id().into(),
            command: command.into(),
            code: 0,
            message: "the emergency stop is pressed".into(),
        };
        pressed.then(|| Box::pin(std::future::ready(Err(refused))) as Pending<'a, ()>)
    }
}

impl Device for Halting {
    fn id(&self) -> &str {
        self.mount.id()
    }
    fn link(&self) -> watch::Receiver<LinkState> {
        self.mount.link()
    }
    fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.mount.identity()
    }
    fn garbage_count(&self) -> u64 {
        self.mount.garbage_count()
    }
    fn stop(&self) -> Pending<'_, ()> {
        self.mount.stop()
    }
}

impl Mount for Halting {
    fn status(&self) -> Status<MountStatus> {
        self.mount.status()
    }
    fn slew(&self, ra_deg: f64, dec_deg: f64) -> Pending<'_, ()> {
        self.held("slew").unwrap_or_else(|| self.mount.slew(ra_deg, dec_deg))
    }
    fn park(&self) -> Pending<'_, ()> {
        self.held("park").unwrap_or_else(|| self.mount.park())
    }
    fn unpark(&self) -> Pending<'_, ()> {
        self.held("unpark").unwrap_or_else(|| self.mount.unpark())
    }
    fn track(&self, on: bool) -> Pending<'_, ()> {
        let held = on.then(|| self.held("track")).flatten();
        held.unwrap_or_else(|| self.mount.track(on))
    }
}
