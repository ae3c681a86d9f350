//! Handles: what a caller holds of a connected device. There is one for every capability, whatever the protocol: a protocol
//! is a [`Dialogue`] over the same orders that publishes the same states.

use crate::{
    interface::{
        Camera, CameraStatus, Device, DeviceError, Enclosure, EnclosureStatus, ExposeOrder, FilterWheel,
        FilterWheelStatus, Focuser, FocuserStatus, Frame, Identity, LinkState, Mount, MountStatus, ObservingConditions,
        OperationId, Pending, Plc, PlcStatus, Quantity, Status,
    },
    link::{Dialogue, Link},
};
use alidade_model::{
    reading::{NoData, Reading},
    states::EnclosureState,
    time::UtcTime,
};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    rc::Rc,
    time::Duration,
};
use tokio::sync::watch;

/// What a mount is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MountOrder {
    /// Apparent coordinates of date, degrees.
    Slew {
        ra_deg: f64,
        dec_deg: f64,
    },
    Park,
    Unpark,
    Track(bool),
    Stop,
}

/// What a camera is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CameraOrder {
    Expose(ExposeOrder),
    Fetch(OperationId),
    /// Set point, degrees Celsius.
    Cool(f64),
    Stop,
}

/// What a filter wheel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WheelOrder {
    /// Counted from 0.
    Goto(usize),
    Stop,
}

/// What a focuser is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FocuserOrder {
    /// Steps from the inner end.
    MoveTo(i64),
    Stop,
}

/// What a roof or a dome is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoofOrder {
    Open,
    Close,
    /// Azimuth of the slit, degrees, north 0, east 90.
    Rotate(f64),
    Stop,
}

/// What a controller is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControllerOrder {
    Roof(RoofOrder),
    /// Strokes are counted.
    Heartbeat(u64),
    GrantAccess,
}

/// A station is told nothing: it only measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest;

impl Display for MountOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slew { ra_deg, dec_deg } => write!(f, "slew to {ra_deg:.4} {dec_deg:.4}"),
            Self::Park => f.write_str("park"),
            Self::Unpark => f.write_str("unpark"),
            Self::Track(true) => f.write_str("track"),
            Self::Track(false) => f.write_str("stop tracking"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for CameraOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expose(order) => write!(f, "expose {} s", order.exposure_s),
            Self::Fetch(operation) => write!(f, "fetch {operation}"),
            Self::Cool(setpoint) => write!(f, "cool to {setpoint}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for WheelOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goto(at) => write!(f, "go to position {}", at + 1),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for FocuserOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoveTo(steps) => write!(f, "move to {steps}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for RoofOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Close => f.write_str("close"),
            Self::Rotate(azimuth) => write!(f, "rotate to {azimuth:.1}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for ControllerOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roof(order) => order.fmt(f),
            Self::Heartbeat(count) => write!(f, "heartbeat {count}"),
            Self::GrantAccess => f.write_str("grant access"),
        }
    }
}

impl Display for Rest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("stop")
    }
}

/// Implements [`Device`] for a handle over dialogues with these orders and replies.
macro_rules! device {
    ($handle:ident, $order:ty, $reply:ty, $stop:expr) => {
        impl<D: Dialogue<Command = $order, Reply = $reply>> Device for $handle<D> {
            fn id(&self) -> &str {
                &self.link.id
            }
            fn link(&self) -> watch::Receiver<LinkState> {
                self.link.state.clone()
            }
            fn identity(&self) -> watch::Receiver<Option<Identity>> {
                self.link.identity.clone()
            }
            fn garbage_count(&self) -> u64 {
                self.link.garbage()
            }
            fn stop(&self) -> Pending<'_, ()> {
                let sent = self.link.send_first($stop);
                Box::pin(async move { sent.await.map(drop) })
            }
        }
    };
}

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

/// What stations measure.
pub type Readings = BTreeMap<Quantity, Reading<f64>>;

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

/// The three states that a controller publishes, on the side of its dialogue.
pub struct ControllerStates {
    enclosure: watch::Sender<Reading<EnclosureStatus>>,
    plc: watch::Sender<Reading<PlcStatus>>,
    readings: watch::Sender<Readings>,
}

/// The same, on the side of its handle.
pub struct ControllerViews {
    enclosure: Status<EnclosureStatus>,
    plc: Status<PlcStatus>,
    readings: watch::Receiver<Readings>,
}

impl ControllerStates {
    pub fn new(now: UtcTime) -> (Self, ControllerViews) {
        let (enclosure, seen_enclosure) = watch::channel(Reading::none(NoData::NeverRead, now));
        let (plc, seen_plc) = watch::channel(Reading::none(NoData::NeverRead, now));
        let (readings, seen_readings) = watch::channel(Readings::new());
        let states = Self {
            enclosure,
            plc,
            readings,
        };
        let views = ControllerViews {
            enclosure: seen_enclosure,
            plc: seen_plc,
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
        self.plc.send_replace(Reading::good(plc, now));
        self.enclosure.send_replace(Reading::good(enclosure, now));
        let moving = matches!(enclosure.state, EnclosureState::Opening | EnclosureState::Closing) || enclosure.rotating;
        if moving {
            poll.min(Duration::from_millis(500))
        } else {
            poll
        }
    }

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
    fn heartbeat(&self) -> Pending<'_, ()> {
        self.beats.set(self.beats.get().wrapping_add(1));
        self.link.send(ControllerOrder::Heartbeat(self.beats.get()))
    }
    fn grant_access(&self) -> Pending<'_, ()> {
        self.link.send(ControllerOrder::GrantAccess)
    }
}
