//! Cameras.
//!
//! ```text
//!         ordered, Busy          countdown over        image taken         fetched
//!   idle ---------------> exposing ----------> reading ----------> ready ---------> idle
//!     ^                       | Alert, or Idle without our doing       |  |
//!     +--- stopped -----------+-----------> fault <--- broken image ---+  +- next order
//! ```
//!
//! A driver that was stopped for a while delivers the image of an aborted exposure after it confirmed the abort. An
//! image is ours only if an exposure of ours is under way, has lasted its time, and the file names that time.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE, fits,
    message::{Blob, State, escape},
    session::{Kind, Session},
};
use crate::{
    handle::{CameraHandle, CameraOrder, Sensor},
    interface::{CameraState, CameraStatus, ExposeOrder, Frame, Identity, OperationId},
    link::{Dialogue, Link, unread},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    time::UtcTime,
};
use std::{rc::Rc, time::Duration};
use tokio::{sync::watch, time::Instant};

const EXPOSURE: &str = "CCD_EXPOSURE";
const SECONDS: &str = "CCD_EXPOSURE_VALUE";
const TEMPERATURE: &str = "CCD_TEMPERATURE";
const BINNING: &str = "CCD_BINNING";
const FRAME_TYPE: &str = "CCD_FRAME_TYPE";
const SENSOR: &str = "CCD_INFO";

/// The exposure of ours that is under way or done.
enum Ours {
    None,
    Running {
        order: ExposeOrder,
        started_at: UtcTime,
        since: Instant,
    },
    Done(Frame),
    Failed(OperationId),
}

/// How it is spoken to.
pub struct Talk {
    session: Session,
    clock: Rc<dyn Clock>,
    poll: Duration,
    status: watch::Sender<Reading<CameraStatus>>,
    sensor: Sensor,
    ours: Ours,
    setpoint_c: Option<f64>,
}

/// Whether the file is that of this order: it names the time that was ordered.
fn matches(picture: &fits::Picture, order: &ExposeOrder) -> bool {
    picture
        .exposure_s
        .is_none_or(|seconds| (seconds - order.exposure_s).abs() <= 0.01 + 0.01 * order.exposure_s)
}

impl Talk {
    /// Takes the image that has arrived, if it is ours.
    fn develop(&mut self) {
        let Some((Blob { format, bytes, .. }, arrived)) = self.session.image.take() else {
            return;
        };
        let Ours::Running {
            order,
            started_at,
            since,
        } = &self.ours
        else {
            tracing::info!(device = %self.session.device, "an image that nobody ordered was thrown away");
            return;
        };
        let elapsed_s = arrived.duration_since(*since).as_secs_f64();
        if elapsed_s < 0.98 * order.exposure_s {
            tracing::info!(device = %self.session.device, elapsed_s, "an image of an earlier exposure was thrown away");
            return;
        }
        let picture = if format.trim() == ".fits" {
            fits::read(&bytes)
        } else {
            Err(format!("image format {format:?}"))
        };
        self.ours = match picture {
            Ok(picture) if !matches(&picture, order) => {
                tracing::info!(device = %self.session.device, claimed_s = picture.exposure_s, "an image of another exposure was thrown away");
                return;
            }
            Ok(picture) => Ours::Done(Frame {
                operation: order.operation,
                width: picture.width,
                height: picture.height,
                pixels: picture.pixels,
                started_at: *started_at,
                exposure_s: order.exposure_s,
            }),
            Err(cause) => {
                tracing::warn!(device = %self.session.device, %cause, "image refused");
                Ours::Failed(order.operation)
            }
        };
    }

    fn state(&mut self) -> Result<(CameraState, Option<OperationId>), Trouble> {
        let exposure = self.session.need(EXPOSURE)?;
        Ok(match &self.ours {
            Ours::Done(frame) => (CameraState::Ready, Some(frame.operation)),
            Ours::Failed(operation) => (CameraState::Fault, Some(*operation)),
            Ours::Running { order, .. } => match exposure.state {
                State::Alert => (CameraState::Fault, Some(order.operation)),
                // Somebody else ended it: no image will come.
                State::Idle => (CameraState::Fault, Some(order.operation)),
                State::Busy if exposure.number(SECONDS).is_some_and(|left| left > 0.0) => {
                    (CameraState::Exposing, Some(order.operation))
                }
                State::Busy | State::Ok => (CameraState::Reading, Some(order.operation)),
            },
            Ours::None if exposure.state == State::Busy => (CameraState::Exposing, None),
            Ours::None => (CameraState::Idle, None),
        })
    }

    async fn set(&mut self, wire: &mut Wire, kind: Kind, name: &str, values: &[(&str, &str)]) -> Result<(), Trouble> {
        self.session.command(wire, kind, name, values, |_| true).await
    }

    async fn abort(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        self.ours = Ours::None;
        self.set(wire, Kind::Switch, "CCD_ABORT_EXPOSURE", &[("ABORT", "On")])
            .await
    }

    async fn expose(&mut self, wire: &mut Wire, order: &ExposeOrder) -> Result<(), Trouble> {
        // A second exposure would silently restart the first.
        if self.session.need(EXPOSURE)?.state == State::Busy {
            return Err(Trouble::Refused {
                code: 0,
                message: "an exposure is under way".into(),
            });
        }
        (self.ours, self.session.image) = (Ours::None, None);
        let binning = order.binning.to_string();
        if self.session.get(BINNING).is_some() {
            self.set(
                wire,
                Kind::Number,
                BINNING,
                &[("HOR_BIN", &binning), ("VER_BIN", &binning)],
            )
            .await?;
        } else if order.binning != 1 {
            return Err(Trouble::Refused {
                code: 0,
                message: "this camera does not bin".into(),
            });
        }
        let kind = match (order.light, order.exposure_s == 0.0) {
            (true, _) => "FRAME_LIGHT",
            (false, true) => "FRAME_BIAS",
            (false, false) => "FRAME_DARK",
        };
        if self.session.get(FRAME_TYPE).is_some() {
            self.session
                .command(wire, Kind::Switch, FRAME_TYPE, &[(kind, "On")], |p| p.on(kind))
                .await?;
        }
        // Zero seconds are out of bounds for most drivers: the shortest a camera can is what a bias is.
        let seconds = order.exposure_s.max(0.001).to_string();
        let (started_at, since) = (self.clock.now(), Instant::now());
        self.session
            .command(wire, Kind::Number, EXPOSURE, &[(SECONDS, &seconds)], |p| {
                matches!(p.state, State::Busy | State::Ok)
            })
            .await?;
        self.ours = Ours::Running {
            order: ExposeOrder {
                exposure_s: order.exposure_s.max(0.001),
                ..*order
            },
            started_at,
            since,
        };
        Ok(())
    }
}

impl Dialogue for Talk {
    type Command = CameraOrder;
    type Reply = Option<Frame>;

    fn deadline(&self, _: &CameraOrder) -> Duration {
        // Several properties are set one after the other.
        COMMAND_DEADLINE * 2
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        // Whatever ran in an earlier life is lost.
        self.ours = Ours::None;
        // A frame is calibrated by its temperature: a camera without a thermometer is not understood.
        let needed = [EXPOSURE, SENSOR, TEMPERATURE, "CCD_ABORT_EXPOSURE"];
        let (model, version) = self.session.attach(wire, &needed).await?;
        let images = format!(
            "<enableBLOB device=\"{}\">Also</enableBLOB>\n",
            escape(&self.session.device)
        );
        wire.send(images.as_bytes()).await?;
        for (name, element) in [("UPLOAD_MODE", "UPLOAD_CLIENT"), ("CCD_COMPRESSION", "INDI_DISABLED")] {
            if self
                .session
                .get(name)
                .is_some_and(|p| p.elements.contains_key(element) && !p.on(element))
            {
                self.set(wire, Kind::Switch, name, &[(element, "On")]).await?;
            }
        }
        if let Some(setpoint) = self.setpoint_c {
            self.session
                .send(
                    wire,
                    Kind::Number,
                    TEMPERATURE,
                    &[("CCD_TEMPERATURE_VALUE", &setpoint.to_string())],
                )
                .await?;
        }
        if self.session.need(EXPOSURE)?.state == State::Busy {
            self.abort(wire).await?;
        }
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        self.session.refresh(wire, &[EXPOSURE, TEMPERATURE, SENSOR]).await?;
        // Drivers define the sensor with zeros and measure it later.
        let (width, height) = (
            self.session.value(SENSOR, "CCD_MAX_X")?,
            self.session.value(SENSOR, "CCD_MAX_Y")?,
        );
        self.sensor
            .set((width >= 1.0 && height >= 1.0).then_some((width as usize, height as usize)));
        self.develop();
        let (state, operation) = self.state()?;
        let temperature_c = self.session.value(TEMPERATURE, "CCD_TEMPERATURE_VALUE")?;
        let status = CameraStatus {
            state,
            operation,
            temperature_c,
            setpoint_c: self.setpoint_c.unwrap_or(temperature_c),
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(match state {
            CameraState::Exposing => self.poll.min(Duration::from_millis(500)),
            CameraState::Reading => Duration::from_millis(100),
            CameraState::Idle | CameraState::Ready | CameraState::Fault => self.poll,
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &CameraOrder) -> Result<Option<Frame>, Trouble> {
        match command {
            CameraOrder::Expose(order) => self.expose(wire, order).await?,
            CameraOrder::Fetch(operation) => {
                return match std::mem::replace(&mut self.ours, Ours::None) {
                    Ours::Done(frame) if frame.operation == *operation => Ok(Some(frame)),
                    other => {
                        self.ours = other;
                        Err(Trouble::Refused {
                            code: 0,
                            message: format!("there is no frame {operation}"),
                        })
                    }
                };
            }
            CameraOrder::Cool(setpoint) => {
                let value = [("CCD_TEMPERATURE_VALUE", &*setpoint.to_string())];
                self.set(wire, Kind::Number, TEMPERATURE, &value).await?;
                self.setpoint_c = Some(*setpoint);
            }
            CameraOrder::Stop => self.abort(wire).await?,
        }
        Ok(None)
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected camera.
pub type IndiCamera = CameraHandle<Talk>;

/// Connects to the INDI device `device`; `poll` is the pause between two readings.
pub fn connect_camera(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiCamera> {
    let (status_out, status) = unread(&*clock);
    let sensor = Sensor::default();
    let talk = Talk {
        session: Session::new(device),
        clock: clock.clone(),
        poll,
        status: status_out,
        sensor: sensor.clone(),
        ours: Ours::None,
        setpoint_c: None,
    };
    CameraHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status, sensor)
}
