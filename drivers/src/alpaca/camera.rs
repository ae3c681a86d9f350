//! Cameras (`ICamera`).
//!
//! ```text
//!         StartExposure         time over            ImageReady, idle       fetched
//!   idle ---------------> exposing ------> reading -----------------> ready ------> idle
//!     ^                       | error state           |
//!     +------ stopped --------+------> fault <--------+
//! ```
//!
//! A server may announce the image of an exposure that was aborted long ago. `ImageReady` is believed only when an exposure
//! of ours has lasted its time and the camera is idle again, and the image only if the camera says it exposed that long.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE, able, already, image,
    session::{Session, as_number, as_truth, as_whole, code, needed},
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

/// Largest image that is taken; JSON needs ten times the bytes of the pixels.
const LARGEST_IMAGE: usize = 512 << 20;

/// How long an image may take to arrive.
const FETCH_DEADLINE: Duration = Duration::from_secs(120);

/// The exposure of ours that is under way or done.
#[derive(Debug, Clone, Copy)]
enum Ours {
    None,
    Running(Exposure),
    Ready(Exposure),
    Failed(OperationId),
}

#[derive(Debug, Clone, Copy)]
struct Exposure {
    operation: OperationId,
    exposure_s: f64,
    started_at: UtcTime,
    since: Instant,
}

/// What the camera says it can.
#[derive(Default, Clone, Copy)]
struct Abilities {
    abort: bool,
    cool: bool,
    most_binning: i64,
    /// Seconds; a bias is the shortest exposure.
    shortest_s: f64,
    last_duration: bool,
}

/// How it is spoken to.
pub struct Talk {
    session: Session,
    clock: Rc<dyn Clock>,
    poll: Duration,
    can: Abilities,
    status: watch::Sender<Reading<CameraStatus>>,
    sensor: Sensor,
    ours: Ours,
    setpoint_c: Option<f64>,
}

impl Talk {
    /// Whether the image that waits is that of `exposure`: the camera tells how long it exposed for it.
    async fn is_ours(&mut self, wire: &mut Wire, exposure: &Exposure) -> Result<bool, Trouble> {
        if !self.can.last_duration {
            return Ok(true);
        }
        match self.session.number(wire, "lastexposureduration").await {
            Ok(seconds) => Ok((seconds - exposure.exposure_s).abs() <= 0.02 + 0.02 * exposure.exposure_s),
            Err(Trouble::Unsupported(_)) => {
                self.can.last_duration = false;
                Ok(true)
            }
            // Without an exposure the camera refuses to answer.
            Err(Trouble::Garbage(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Where the exposure of ours is, from the state and the readiness that the camera tells.
    async fn follow(&mut self, wire: &mut Wire, state: i64, ready: bool) -> Result<CameraStatus, Trouble> {
        if let Ours::Running(exposure) = self.ours {
            let over = exposure.since.elapsed().as_secs_f64() >= 0.98 * exposure.exposure_s;
            if state == 5 {
                self.ours = Ours::Failed(exposure.operation);
            } else if over && ready && state == 0 && self.is_ours(wire, &exposure).await? {
                self.ours = Ours::Ready(exposure);
            }
        }
        let (shown, operation) = match (&self.ours, state) {
            (Ours::Ready(exposure), _) => (CameraState::Ready, Some(exposure.operation)),
            (Ours::Failed(operation), _) => (CameraState::Fault, Some(*operation)),
            (Ours::Running(exposure), 1 | 2) => (CameraState::Exposing, Some(exposure.operation)),
            (Ours::Running(exposure), _) => {
                let over = exposure.since.elapsed().as_secs_f64() >= exposure.exposure_s;
                let state = if over {
                    CameraState::Reading
                } else {
                    CameraState::Exposing
                };
                (state, Some(exposure.operation))
            }
            (Ours::None, 0) => (CameraState::Idle, None),
            (Ours::None, 1 | 2) => (CameraState::Exposing, None),
            (Ours::None, 3 | 4) => (CameraState::Reading, None),
            (Ours::None, _) => (CameraState::Fault, None),
        };
        Ok(CameraStatus {
            state: shown,
            operation,
            temperature_c: f64::NAN,
            setpoint_c: f64::NAN,
        })
    }

    async fn abort(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        self.ours = Ours::None;
        able(self.can.abort, "abort an exposure")?;
        // Where nothing is exposed there is nothing to abort.
        already(
            self.session.put(wire, "abortexposure", &[]).await,
            code::INVALID_OPERATION,
        )
    }

    async fn expose(&mut self, wire: &mut Wire, order: &ExposeOrder) -> Result<(), Trouble> {
        let busy = self.session.whole(wire, "camerastate").await?;
        if busy != 0 {
            return Err(Trouble::Refused {
                code: code::INVALID_OPERATION,
                message: format!("the camera is busy (state {busy})"),
            });
        }
        self.ours = Ours::None;
        let binning = i64::from(order.binning);
        able((1..=self.can.most_binning).contains(&binning), "bin so much")?;
        let (width, height) = self
            .sensor
            .get()
            .ok_or_else(|| Trouble::Garbage("the size of the sensor is not known".into()))?;
        let binned = |pixels: usize| (pixels / order.binning.max(1) as usize).to_string();
        for (member, parameter, value) in [
            ("binx", "BinX", binning.to_string()),
            ("biny", "BinY", binning.to_string()),
            ("startx", "StartX", "0".into()),
            ("starty", "StartY", "0".into()),
            ("numx", "NumX", binned(width)),
            ("numy", "NumY", binned(height)),
        ] {
            self.session.put(wire, member, &[(parameter, value)]).await?;
        }
        let exposure_s = order.exposure_s.max(self.can.shortest_s);
        let exposure = Exposure {
            operation: order.operation,
            exposure_s,
            started_at: self.clock.now(),
            since: Instant::now(),
        };
        let light = if order.light { "True" } else { "False" };
        let ordered = [("Duration", exposure_s.to_string()), ("Light", light.into())];
        self.session.put(wire, "startexposure", &ordered).await?;
        self.ours = Ours::Running(exposure);
        Ok(())
    }

    async fn fetch(&mut self, wire: &mut Wire, operation: OperationId) -> Result<Frame, Trouble> {
        let Ours::Ready(exposure) = self.ours else {
            return Err(Trouble::Refused {
                code: 0,
                message: format!("there is no frame {operation}"),
            });
        };
        if exposure.operation != operation {
            return Err(Trouble::Refused {
                code: 0,
                message: format!("the frame is {}, not {operation}", exposure.operation),
            });
        }
        let (reply, asked) = self.session.image(wire, LARGEST_IMAGE).await?;
        let picture = match reply.media.as_str() {
            "application/imagebytes" => image::from_bytes(&reply.body, asked),
            "application/json" | "text/json" => image::from_json(&reply.body, asked),
            other => Err(Trouble::Garbage(format!("an image of type {other:?}"))),
        };
        // Broken once it stays broken: the exposure is lost, not the camera.
        self.ours = Ours::None;
        let picture = picture?;
        Ok(Frame {
            operation,
            width: picture.width,
            height: picture.height,
            pixels: picture.pixels,
            started_at: exposure.started_at,
            exposure_s: exposure.exposure_s,
        })
    }
}

impl Dialogue for Talk {
    type Command = CameraOrder;
    type Reply = Option<Frame>;

    fn deadline(&self, command: &CameraOrder) -> Duration {
        match command {
            CameraOrder::Fetch(_) => FETCH_DEADLINE,
            // Several properties are set one after the other.
            _ => COMMAND_DEADLINE * 2,
        }
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        // Whatever ran in an earlier life is lost.
        self.ours = Ours::None;
        let session = &mut self.session;
        let identity = session.attach(wire).await?;
        self.can = Abilities {
            abort: session.can(wire, "canabortexposure").await?,
            cool: session.can(wire, "cansetccdtemperature").await?,
            most_binning: session
                .whole(wire, "maxbinx")
                .await?
                .min(session.whole(wire, "maxbiny").await?),
            shortest_s: session.optional(wire, "exposuremin").await?.unwrap_or(0.001).max(0.0),
            last_duration: true,
        };
        let side = |pixels: i64| usize::try_from(pixels).ok().filter(|side| *side > 0);
        let (width, height) = (
            side(session.whole(wire, "cameraxsize").await?),
            side(session.whole(wire, "cameraysize").await?),
        );
        self.sensor.set(width.zip(height));
        if self.session.whole(wire, "camerastate").await? != 0 && self.can.abort {
            self.abort(wire).await?;
        }
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let told = self
            .session
            .state(wire, &["camerastate", "imageready", "ccdtemperature"])
            .await?;
        let state = as_whole("camerastate", needed(&told, "camerastate")?)?;
        let ready = as_truth("imageready", needed(&told, "imageready")?)?;
        // A frame is calibrated by its temperature: a camera without a thermometer is not understood.
        let temperature_c = as_number("ccdtemperature", needed(&told, "ccdtemperature")?)?;
        let status = CameraStatus {
            temperature_c,
            setpoint_c: self.setpoint_c.unwrap_or(temperature_c),
            ..self.follow(wire, state, ready).await?
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(match status.state {
            CameraState::Exposing => self.poll.min(Duration::from_millis(500)),
            CameraState::Reading => Duration::from_millis(100),
            CameraState::Idle | CameraState::Ready | CameraState::Fault => self.poll,
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &CameraOrder) -> Result<Option<Frame>, Trouble> {
        match command {
            CameraOrder::Expose(order) => self.expose(wire, order).await?,
            CameraOrder::Fetch(operation) => return self.fetch(wire, *operation).await.map(Some),
            CameraOrder::Cool(setpoint) => {
                able(self.can.cool, "cool")?;
                let wanted = [("SetCCDTemperature", setpoint.to_string())];
                self.session.put(wire, "setccdtemperature", &wanted).await?;
                self.session
                    .put(wire, "cooleron", &[("CoolerOn", "True".into())])
                    .await?;
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
pub type AlpacaCamera = CameraHandle<Talk>;

/// Connects to camera `number` of the server.
pub fn connect_camera(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaCamera> {
    let (status_out, status) = unread(&*clock);
    let sensor = Sensor::default();
    let talk = Talk {
        session: Session::new("camera", number, connector.clone()),
        clock: clock.clone(),
        poll,
        can: Abilities::default(),
        status: status_out,
        sensor: sensor.clone(),
        ours: Ours::None,
        setpoint_c: None,
    };
    CameraHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status, sensor)
}
