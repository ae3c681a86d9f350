//! The set of devices, each behind a guard that records its commands.
//!
//! The guard holds OBS-6: a command to a device whose state has not been read since the start is refused, here and
//! nowhere else. It also is the one place where "what was the device told" is written to the journal.

use super::halt::Halting;
use alidade_drivers::interface::{
    Camera, CameraStatus, Device, DeviceError, Enclosure, EnclosureStatus, ExposeOrder, FilterWheel, FilterWheelStatus,
    Focuser, FocuserStatus, Frame, Identity, LinkState, Mount, MountStatus, ObservingConditions, OperationId, Pending,
    Plc, PlcStatus, Readings, Rotator, RotatorStatus, Status, Switch, SwitchLines,
};
use alidade_model::journal::{Fact, Recorder};
use std::{cell::Cell, rc::Rc};
use tokio::sync::watch;

/// One camera with what stands in its beam, as connected.
#[derive(Clone)]
pub struct ChannelDevices {
    pub name: String,
    pub camera: Rc<dyn Camera>,
    pub wheel: Option<Rc<dyn FilterWheel>>,
    /// What turns the camera, one of [`Devices::rotators`]; here it is only read.
    pub rotator: Option<Rc<dyn Rotator>>,
}

/// Everything that is connected.
#[derive(Clone)]
pub struct Devices {
    /// The roof, and the people's switches: the controller, or an enclosure of its own with the controller behind it.
    pub plc: Rc<dyn Plc>,
    /// The controller beside an enclosure of its own: watched, and commanded only through `plc`.
    pub controller: Option<Rc<dyn Plc>>,
    pub mount: Rc<dyn Mount>,
    pub focuser: Option<Rc<dyn Focuser>>,
    pub channels: Vec<ChannelDevices>,
    pub stations: Vec<Rc<dyn ObservingConditions>>,
    pub rotators: Vec<Rc<dyn Rotator>>,
    pub switches: Vec<Rc<dyn Switch>>,
}

impl Devices {
    /// The same devices behind guards.
    pub fn guarded(&self, recorder: &Recorder) -> Self {
        let recorder = || recorder.clone();
        Self {
            plc: Rc::new(Guard::new(self.plc.clone(), recorder())),
            controller: self
                .controller
                .clone()
                .map(|plc| Rc::new(Guard::new(plc, recorder())) as Rc<dyn Plc>),
            mount: Rc::new(Halting::new(
                Rc::new(Guard::new(self.mount.clone(), recorder())),
                self.plc.emergency_stop(),
            )),
            focuser: self
                .focuser
                .clone()
                .map(|f| Rc::new(Guard::new(f, recorder())) as Rc<dyn Focuser>),
            channels: self
                .channels
                .iter()
                .map(|channel| ChannelDevices {
                    name: channel.name.clone(),
                    camera: Rc::new(Guard::new(channel.camera.clone(), recorder())),
                    wheel: channel
                        .wheel
                        .clone()
                        .map(|wheel| Rc::new(Guard::new(wheel, recorder())) as Rc<dyn FilterWheel>),
                    rotator: channel.rotator.clone(),
                })
                .collect(),
            stations: self.stations.clone(),
            rotators: self
                .rotators
                .iter()
                .map(|r| Rc::new(Guard::new(r.clone(), recorder())) as Rc<dyn Rotator>)
                .collect(),
            switches: self
                .switches
                .iter()
                .map(|s| Rc::new(Guard::new(s.clone(), recorder())) as Rc<dyn Switch>)
                .collect(),
        }
    }
}

/// A device and the journal of what it is told.
struct Guard<D: ?Sized> {
    recorder: Recorder,
    read: Cell<bool>,
    device: Rc<D>,
}

impl<D: Device + ?Sized> Guard<D> {
    fn new(device: Rc<D>, recorder: Recorder) -> Self {
        Self {
            recorder,
            read: Cell::new(false),
            device,
        }
    }

    /// Lets a command pass once the state is known, and records it.
    fn pass(&self, known: bool, command: impl FnOnce() -> String) -> Result<(), DeviceError> {
        if !self.read.get() {
            if !known {
                return Err(DeviceError::Disconnected {
                    device: self.device.id().into(),
                    cause: "its state has not been read yet".into(),
                });
            }
            self.read.set(true);
            self.recorder.record(Fact::DeviceRead {
                device: self.device.id().into(),
            });
        }
        self.recorder.record(Fact::DeviceCommand {
            device: self.device.id().into(),
            command: command(),
        });
        Ok(())
    }

    fn refused<'a, T: 'a>(error: DeviceError) -> Pending<'a, T> {
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Passes a command through the guard, then to the device.
macro_rules! guarded {
    ($self:ident, $known:expr, $command:expr, $call:expr) => {
        match $self.pass($known, || $command) {
            Ok(()) => $call,
            Err(error) => Guard::<dyn Device>::refused(error),
        }
    };
}

macro_rules! device {
    ($capability:ident, $known:expr) => {
        impl Device for Guard<dyn $capability> {
            fn id(&self) -> &str {
                self.device.id()
            }
            fn link(&self) -> watch::Receiver<LinkState> {
                self.device.link()
            }
            fn identity(&self) -> watch::Receiver<Option<Identity>> {
                self.device.identity()
            }
            fn garbage_count(&self) -> u64 {
                self.device.garbage_count()
            }
            fn stop(&self) -> Pending<'_, ()> {
                let known: fn(&dyn $capability) -> bool = $known;
                guarded!(self, known(&*self.device), "stop".into(), self.device.stop())
            }
        }
    };
}

device!(Plc, |plc| plc.enclosure_status().borrow().value.is_ok());
device!(Mount, |mount| mount.status().borrow().value.is_ok());
device!(Camera, |camera| camera.status().borrow().value.is_ok());
device!(FilterWheel, |wheel| wheel.status().borrow().value.is_ok());
device!(Focuser, |focuser| focuser.status().borrow().value.is_ok());
device!(Rotator, |rotator| rotator.status().borrow().value.is_ok());
device!(Switch, |switch| switch.lines().borrow().value.is_ok());

impl Mount for Guard<dyn Mount> {
    fn status(&self) -> Status<MountStatus> {
        self.device.status()
    }
    fn slew(&self, ra_deg: f64, dec_deg: f64) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(
            self,
            known,
            format!("slew {ra_deg:.4} {dec_deg:.4}"),
            self.device.slew(ra_deg, dec_deg)
        )
    }
    fn park(&self) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(self, known, "park".into(), self.device.park())
    }
    fn unpark(&self) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(self, known, "unpark".into(), self.device.unpark())
    }
    fn track(&self, on: bool) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(self, known, format!("track {on}"), self.device.track(on))
    }
}

impl Camera for Guard<dyn Camera> {
    fn status(&self) -> Status<CameraStatus> {
        self.device.status()
    }
    fn sensor(&self) -> Option<(usize, usize)> {
        self.device.sensor()
    }
    fn expose(&self, order: ExposeOrder) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(
            self,
            known,
            format!("expose {} s", order.exposure_s),
            self.device.expose(order)
        )
    }
    fn fetch(&self, operation: OperationId) -> Pending<'_, Frame> {
        self.device.fetch(operation)
    }
    fn cool(&self, setpoint_c: f64) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(self, known, format!("cool {setpoint_c}"), self.device.cool(setpoint_c))
    }
}

impl FilterWheel for Guard<dyn FilterWheel> {
    fn status(&self) -> Status<FilterWheelStatus> {
        self.device.status()
    }
    fn filters(&self) -> &[String] {
        self.device.filters()
    }
    fn select(&self, filter: &str) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        match self.pass(known, || format!("select {filter}")) {
            Ok(()) => {
                let (device, filter) = (self.device.clone(), filter.to_owned());
                Box::pin(async move { device.select(&filter).await })
            }
            Err(error) => Guard::<dyn Device>::refused(error),
        }
    }
}

impl Focuser for Guard<dyn Focuser> {
    fn status(&self) -> Status<FocuserStatus> {
        self.device.status()
    }
    fn move_to(&self, position_steps: i64) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(
            self,
            known,
            format!("move {position_steps}"),
            self.device.move_to(position_steps)
        )
    }
}

impl Rotator for Guard<dyn Rotator> {
    fn status(&self) -> Status<RotatorStatus> {
        self.device.status()
    }
    fn turn_to(&self, position_deg: f64) -> Pending<'_, ()> {
        let known = self.device.status().borrow().value.is_ok();
        guarded!(
            self,
            known,
            format!("turn {position_deg:.2}"),
            self.device.turn_to(position_deg)
        )
    }
}

impl Switch for Guard<dyn Switch> {
    fn lines(&self) -> Status<SwitchLines> {
        self.device.lines()
    }
    fn set(&self, line: &str, value: f64) -> Pending<'_, ()> {
        let known = self.device.lines().borrow().value.is_ok();
        match self.pass(known, || format!("set {line} {value}")) {
            Ok(()) => {
                let (device, line) = (self.device.clone(), line.to_owned());
                Box::pin(async move { device.set(&line, value).await })
            }
            Err(error) => Guard::<dyn Device>::refused(error),
        }
    }
}

impl Enclosure for Guard<dyn Plc> {
    fn enclosure_status(&self) -> Status<EnclosureStatus> {
        self.device.enclosure_status()
    }
    fn open(&self) -> Pending<'_, ()> {
        let known = self.device.enclosure_status().borrow().value.is_ok();
        guarded!(self, known, "open".into(), self.device.open())
    }
    fn close(&self) -> Pending<'_, ()> {
        let known = self.device.enclosure_status().borrow().value.is_ok();
        guarded!(self, known, "close".into(), self.device.close())
    }
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()> {
        // The slit follows the telescope all night: only its large turns are worth a line.
        let status = self.device.enclosure_status().borrow().value;
        let turn = status
            .ok()
            .and_then(|s| s.azimuth_deg)
            .map(|from| (azimuth_deg - from + 180.0).rem_euclid(360.0) - 180.0);
        if turn.is_some_and(|turn| turn.abs() < 10.0) {
            return self.device.rotate(azimuth_deg);
        }
        guarded!(
            self,
            status.is_ok(),
            format!("rotate {azimuth_deg:.1}"),
            self.device.rotate(azimuth_deg)
        )
    }
}

impl ObservingConditions for Guard<dyn Plc> {
    fn readings(&self) -> watch::Receiver<Readings> {
        self.device.readings()
    }
}

impl Plc for Guard<dyn Plc> {
    fn plc_status(&self) -> Status<PlcStatus> {
        self.device.plc_status()
    }
    fn emergency_stop(&self) -> watch::Receiver<bool> {
        self.device.emergency_stop()
    }
    fn heartbeat(&self) -> Pending<'_, ()> {
        // A sign of life, not a command: it is not recorded.
        self.device.heartbeat()
    }
    fn grant_access(&self) -> Pending<'_, ()> {
        let known = self.device.plc_status().borrow().value.is_ok();
        guarded!(self, known, "grant access".into(), self.device.grant_access())
    }
}
