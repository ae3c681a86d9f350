use super::{Talker, number, whole, words};
use crate::{
    handle::{CameraHandle, CameraOrder, Sensor},
    interface::{CameraState, CameraStatus, Frame, Identity, OperationId},
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
use tokio::sync::watch;

/// Larger frames are refused before any memory is taken for them.
const LARGEST_FRAME_BYTES: usize = 256 << 20;

/// How it is spoken to.
pub struct Talk {
    talker: Talker,
    poll: Duration,
    status: watch::Sender<Reading<CameraStatus>>,
    sensor: Sensor,
}

impl Talk {
    async fn fetch(&mut self, wire: &mut Wire, wanted: OperationId) -> Result<Frame, Trouble> {
        let answer = self.talker.ask(wire, &format!("GET FRAME {wanted}")).await?;
        let [operation, width, height, started, exposed, bytes] = words::<6>(&answer)?;
        let (width, height, bytes): (usize, usize, usize) = (whole(width)?, whole(height)?, whole(bytes)?);
        let full = width
            .checked_mul(height)
            .and_then(|n| n.checked_mul(2))
            .filter(|n| *n <= LARGEST_FRAME_BYTES);
        if bytes != 0 && full != Some(bytes) {
            return Err(Trouble::Garbage(format!("{bytes} bytes for {width} x {height} pixels")));
        }
        let started_at =
            UtcTime::from_unix_micros(whole(started)?).ok_or_else(|| Trouble::Garbage(format!("start {started:?}")))?;
        let exposure_s = number(exposed)? / 1e6;
        let raw = wire.exactly(bytes).await?;
        let pixels = raw
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        Ok(Frame {
            operation: whole(operation)?,
            width,
            height,
            pixels,
            started_at,
            exposure_s,
        })
    }
}

impl Dialogue for Talk {
    type Command = CameraOrder;
    type Reply = Option<Frame>;

    fn deadline(&self, command: &CameraOrder) -> Duration {
        Duration::from_secs(if matches!(command, CameraOrder::Fetch(_)) {
            60
        } else {
            4
        })
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let identity = self.talker.identity(wire).await?;
        let sensor = self.talker.ask(wire, "GET SENSOR").await?;
        let [width, height] = words::<2>(&sensor)?;
        self.sensor.set(Some((whole(width)?, whole(height)?)));
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let answer = self.talker.ask(wire, "GET STATUS").await?;
        let [state, operation, temperature, setpoint] = words::<4>(&answer)?;
        let state = match state {
            "IDLE" => CameraState::Idle,
            "EXPOSING" => CameraState::Exposing,
            "READING" => CameraState::Reading,
            "READY" => CameraState::Ready,
            "FAULT" => CameraState::Fault,
            other => return Err(Trouble::Garbage(format!("camera state {other:?}"))),
        };
        let operation = if operation == "-" {
            None
        } else {
            Some(whole(operation)?)
        };
        let status = CameraStatus {
            state,
            operation,
            temperature_c: number(temperature)?,
            setpoint_c: number(setpoint)?,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(match state {
            CameraState::Exposing => self.poll.min(Duration::from_secs(1)),
            CameraState::Reading => Duration::from_millis(200),
            // An idle camera does not change by itself: look seldom.
            CameraState::Idle => self.poll * 5,
            CameraState::Ready | CameraState::Fault => self.poll,
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &CameraOrder) -> Result<Option<Frame>, Trouble> {
        match command {
            CameraOrder::Expose(order) => {
                let light = u8::from(order.light);
                let set = format!(
                    "SET EXPOSURE {} {} {light} {}",
                    order.operation, order.exposure_s, order.binning
                );
                self.talker.ask(wire, &set).await?;
                self.talker.ask(wire, "DO EXPOSE").await?;
            }
            CameraOrder::Fetch(operation) => return self.fetch(wire, *operation).await.map(Some),
            CameraOrder::Cool(setpoint) => drop(self.talker.ask(wire, &format!("SET TEMPERATURE {setpoint}")).await?),
            CameraOrder::Stop => drop(self.talker.ask(wire, "DO STOP").await?),
        }
        Ok(None)
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected camera.
pub type GrammarCamera = CameraHandle<Talk>;

/// Connects; `poll` is the pause between two readings while a frame is being made.
pub fn connect_camera(id: &str, connector: SharedConnector, clock: Rc<dyn Clock>, poll: Duration) -> Rc<GrammarCamera> {
    let (status_out, status) = unread(&*clock);
    let sensor = Sensor::default();
    let talk = Talk {
        talker: Talker::default(),
        poll,
        status: status_out,
        sensor: sensor.clone(),
    };
    let link = Link::open(id, connector, clock, Duration::from_secs(4), talk);
    CameraHandle::new(link, status, sensor)
}
