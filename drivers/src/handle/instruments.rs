//! Instruments: what points, sees, filters, focuses, turns and switches.

use super::orders::{CameraOrder, FocuserOrder, MountOrder, RotatorOrder, SwitchOrder, WheelOrder};
use crate::{
    interface::{
        Camera, CameraStatus, Device, DeviceError, ExposeOrder, FilterWheel, FilterWheelStatus, Focuser, FocuserStatus,
        Frame, Identity, LinkState, Mount, MountStatus, OperationId, Pending, Rotator, RotatorStatus, Status, Switch,
        SwitchLines,
    },
    link::{Dialogue, Link},
};
use std::{cell::Cell, rc::Rc};
use tokio::sync::watch;

/// A connected mount.
pub struct MountHandle<D: Dialogue> {
    link: Link<D>,
    status: Status<MountStatus>,
}

impl<D: Dialogue> MountHandle<D> {
    pub fn new(link: Link<D>, status: Status<MountStatus>) -> Rc<Self> {
        Rc::new(Self { link, status })
    }
}

device!(MountHandle, MountOrder, (), MountOrder::Stop);

impl<D: Dialogue<Command = MountOrder, Reply = ()>> Mount for MountHandle<D> {
    fn status(&self) -> Status<MountStatus> {
        self.status.clone()
    }
    fn slew(&self, ra_deg: f64, dec_deg: f64) -> Pending<'_, ()> {
        self.link.send(MountOrder::Slew { ra_deg, dec_deg })
    }
    fn park(&self) -> Pending<'_, ()> {
        self.link.send_first(MountOrder::Park)
    }
    fn unpark(&self) -> Pending<'_, ()> {
        self.link.send(MountOrder::Unpark)
    }
    fn track(&self, on: bool) -> Pending<'_, ()> {
        self.link.send(MountOrder::Track(on))
    }
}

/// Size of a sensor, once the camera has told it.
pub type Sensor = Rc<Cell<Option<(usize, usize)>>>;

/// A connected camera.
pub struct CameraHandle<D: Dialogue> {
    link: Link<D>,
    status: Status<CameraStatus>,
    sensor: Sensor,
}

impl<D: Dialogue> CameraHandle<D> {
    pub fn new(link: Link<D>, status: Status<CameraStatus>, sensor: Sensor) -> Rc<Self> {
        Rc::new(Self { link, status, sensor })
    }
}

device!(CameraHandle, CameraOrder, Option<Frame>, CameraOrder::Stop);

impl<D: Dialogue<Command = CameraOrder, Reply = Option<Frame>>> Camera for CameraHandle<D> {
    fn status(&self) -> Status<CameraStatus> {
        self.status.clone()
    }
    fn sensor(&self) -> Option<(usize, usize)> {
        self.sensor.get()
    }
    fn expose(&self, order: ExposeOrder) -> Pending<'_, ()> {
        let sent = self.link.send(CameraOrder::Expose(order));
        Box::pin(async move { sent.await.map(drop) })
    }
    fn fetch(&self, operation: OperationId) -> Pending<'_, Frame> {
        let sent = self.link.send(CameraOrder::Fetch(operation));
        Box::pin(async move {
            let missing = || DeviceError::Protocol {
                device: self.link.id.clone(),
                what: "no frame in the answer".into(),
            };
            sent.await?.ok_or_else(missing)
        })
    }
    fn cool(&self, setpoint_c: f64) -> Pending<'_, ()> {
        let sent = self.link.send(CameraOrder::Cool(setpoint_c));
        Box::pin(async move { sent.await.map(drop) })
    }
}

/// A connected filter wheel.
pub struct WheelHandle<D: Dialogue> {
    link: Link<D>,
    filters: Vec<String>,
    status: Status<FilterWheelStatus>,
}

impl<D: Dialogue> WheelHandle<D> {
    pub fn new(link: Link<D>, filters: Vec<String>, status: Status<FilterWheelStatus>) -> Rc<Self> {
        Rc::new(Self { link, filters, status })
    }
}

device!(WheelHandle, WheelOrder, (), WheelOrder::Stop);

impl<D: Dialogue<Command = WheelOrder, Reply = ()>> FilterWheel for WheelHandle<D> {
    fn status(&self) -> Status<FilterWheelStatus> {
        self.status.clone()
    }
    fn filters(&self) -> &[String] {
        &self.filters
    }
    fn select(&self, filter: &str) -> Pending<'_, ()> {
        match self.filters.iter().position(|name| name == filter) {
            Some(at) => self.link.send(WheelOrder::Goto(at)),
            None => Box::pin(std::future::ready(Err(DeviceError::Rejected {
                device: self.link.id.clone(),
                command: format!("select {filter}"),
                code: 0,
                message: "no such filter".into(),
            }))),
        }
    }
}

/// A connected focuser.
pub struct FocuserHandle<D: Dialogue> {
    link: Link<D>,
    status: Status<FocuserStatus>,
}

impl<D: Dialogue> FocuserHandle<D> {
    pub fn new(link: Link<D>, status: Status<FocuserStatus>) -> Rc<Self> {
        Rc::new(Self { link, status })
    }
}

device!(FocuserHandle, FocuserOrder, (), FocuserOrder::Stop);

impl<D: Dialogue<Command = FocuserOrder, Reply = ()>> Focuser for FocuserHandle<D> {
    fn status(&self) -> Status<FocuserStatus> {
        self.status.clone()
    }
    fn move_to(&self, position_steps: i64) -> Pending<'_, ()> {
        self.link.send(FocuserOrder::MoveTo(position_steps))
    }
}

/// A connected rotator.
pub struct RotatorHandle<D: Dialogue> {
    link: Link<D>,
    status: Status<RotatorStatus>,
}

impl<D: Dialogue> RotatorHandle<D> {
    pub fn new(link: Link<D>, status: Status<RotatorStatus>) -> Rc<Self> {
        Rc::new(Self { link, status })
    }
}

device!(RotatorHandle, RotatorOrder, (), RotatorOrder::Stop);

impl<D: Dialogue<Command = RotatorOrder, Reply = ()>> Rotator for RotatorHandle<D> {
    fn status(&self) -> Status<RotatorStatus> {
        self.status.clone()
    }
    fn turn_to(&self, position_deg: f64) -> Pending<'_, ()> {
        if !position_deg.is_finite() {
            return Box::pin(std::future::ready(Err(DeviceError::Rejected {
                device: self.link.id.clone(),
                command: format!("turn to {position_deg}"),
                code: 0,
                message: "no such angle".into(),
            })));
        }
        self.link.send(RotatorOrder::TurnTo(position_deg.rem_euclid(360.0)))
    }
}

/// A connected bank of switches.
pub struct SwitchHandle<D: Dialogue> {
    link: Link<D>,
    lines: Status<SwitchLines>,
}

impl<D: Dialogue> SwitchHandle<D> {
    pub fn new(link: Link<D>, lines: Status<SwitchLines>) -> Rc<Self> {
        Rc::new(Self { link, lines })
    }
}

device!(SwitchHandle, SwitchOrder, (), SwitchOrder::Stop);

impl<D: Dialogue<Command = SwitchOrder, Reply = ()>> Switch for SwitchHandle<D> {
    fn lines(&self) -> Status<SwitchLines> {
        self.lines.clone()
    }
    fn set(&self, line: &str, value: f64) -> Pending<'_, ()> {
        let fits = match &self.lines.borrow().value {
            // What is not known cannot be judged here: the link refuses while there is none.
            Err(_) => Ok(()),
            Ok(lines) => lines
                .get(line)
                .ok_or_else(|| DeviceError::Unsupported {
                    device: self.link.id.clone(),
                    capability: format!("switch {line}: there is no such line"),
                })
                .and_then(|known| known.accepts(&self.link.id, line, value)),
        };
        match fits {
            Ok(()) => self.link.send(SwitchOrder::Set {
                line: line.to_owned(),
                value,
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
