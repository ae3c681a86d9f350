//! One exposure, from the shutter to the file.
//!
//! ```text
//!            gate shut          cancelled            camera silent
//!  start ----------------> no  -----------> aborted  -----------> failed
//!    |                          ^                       ^
//!    +--> exposing --> reading -+--> fetch -------------+--> written
//! ```
//!
//! Every start that is recorded is followed by exactly one end (OBS-5), whatever happens in between: the end is
//! recorded by a guard when the future is dropped.

use crate::{
    frame_file::{self, Circumstances},
    messages::{FrameReady, Stop},
};
use alidade_drivers::interface::{
    Camera, CameraState, CameraStatus, DeviceError, Enclosure, ExposeOrder, FilterWheel, Frame, Rotator,
};
use alidade_model::{
    exposure::{Exposure, ExposureOutcome, FrameKind, Product, ProductKind},
    journal::{Fact, Recorder},
    offload::Offload,
    states::EnclosureState,
    time::{Night, UtcTime},
};
use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};
use tokio::sync::watch;

/// One camera with its wheel.
pub struct Channel {
    pub name: String,
    pub camera: Rc<dyn Camera>,
    pub wheel: Option<Rc<dyn FilterWheel>>,
    /// What turns the camera about the optical axis.
    pub rotator: Option<Turning>,
    pub optics: Optics,
}

impl Channel {
    /// Position angle of the detector's y axis where the rotator stands at `turned_deg`, degrees, north through east.
    fn rotation_deg(&self, turned_deg: Option<f64>) -> f64 {
        (self.optics.rotation_deg + turned_deg.unwrap_or(0.0)).rem_euclid(360.0)
    }
}

/// A rotator, and where it was measured last: one that is not heard stands where it stood.
pub struct Turning {
    rotator: Rc<dyn Rotator>,
    last_deg: Cell<f64>,
}

impl Turning {
    pub fn new(rotator: Rc<dyn Rotator>) -> Self {
        Self {
            rotator,
            last_deg: Cell::new(0.0),
        }
    }

    /// Degrees on the sky, from north through east; 0 while it was never read.
    fn position_deg(&self) -> f64 {
        if let Ok(status) = self.rotator.status().borrow().value {
            self.last_deg.set(status.position_deg);
        }
        self.last_deg.get()
    }

    /// Resolves when it does not turn; one that is not heard keeps nobody waiting.
    pub(crate) async fn at_rest(&self) {
        let mut statuses = self.rotator.status();
        while statuses.borrow_and_update().value.is_ok_and(|status| status.moving) {
            if statuses.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves when it is measured where it did not stand at `from_deg`. What it says of its motion does not count: one that
    /// follows the sky always moves, and the field stands.
    async fn leaves(&self, from_deg: f64) {
        /// At the corner of a degree's field this smears a star over some three arcseconds.
        const TOLERANCE_DEG: f64 = 0.1;
        let apart = |to_deg: f64| ((to_deg - from_deg + 180.0).rem_euclid(360.0) - 180.0).abs();
        let mut statuses = self.rotator.status();
        loop {
            let status = statuses.borrow_and_update().value;
            if status.is_ok_and(|status| apart(status.position_deg) > TOLERANCE_DEG) {
                return;
            }
            if statuses.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// What the header says of the optics of a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Optics {
    /// Unbinned pixel scale, arcseconds.
    pub scale_arcsec: f64,
    /// Position angle of the detector's y axis, degrees, north through east; of a channel with a rotator, at its zero.
    pub rotation_deg: f64,
    /// Seconds the read-out takes, as a bound for deadlines.
    pub readout_s: f64,
    /// Electrons per unit.
    pub gain_e_adu: f64,
}

/// What all exposures of this daemon share.
pub struct Darkroom {
    pub recorder: Recorder,
    pub offload: Offload,
    pub enclosure: Rc<dyn Enclosure>,
    pub data_dir: PathBuf,
    pub observatory: frame_file::Observatory,
    pub gate_max_age_s: f64,
    pub last_micros: Cell<i64>,
    pub frames: Rc<dyn Fn(FrameReady)>,
}

impl Darkroom {
    /// True while the enclosure is freshly measured open.
    pub fn gate_is_open(&self) -> bool {
        let status = self.enclosure.enclosure_status();
        let reading = status.borrow();
        reading
            .fresh(self.recorder.now(), self.gate_max_age_s)
            .is_ok_and(|s| s.state == EnclosureState::Open)
    }

    /// Operation numbers grow for ever, also over restarts: microseconds, pushed on by one where two would be equal.
    fn next_operation(&self) -> u64 {
        let micros = self.recorder.now().unix_micros().max(self.last_micros.get() + 1);
        self.last_micros.set(micros);
        micros.unsigned_abs()
    }
}

/// One frame as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub kind: FrameKind,
    pub filter: String,
    pub exposure_s: f64,
    pub binning: u32,
    pub sequence: Option<String>,
    pub event: Option<String>,
    pub user: String,
    pub object: String,
    /// Where the mount was sent, ICRS degrees.
    pub pointing: Option<(f64, f64)>,
    /// Altitude and azimuth at the start, degrees.
    pub alt_az: Option<(f64, f64)>,
}

/// Why a frame did not come.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoFrame {
    #[error("{0}")]
    Cancelled(String),
    #[error("the enclosure is not measured open")]
    GateShut,
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("camera of channel {channel} did not finish within {after_s:.0} s")]
    Overdue { channel: String, after_s: f64 },
    #[error("frame of {channel} was lost: {cause}")]
    Lost { channel: String, cause: String },
    #[error("cannot write {path}: {cause}")]
    Disk { path: String, cause: String },
}

/// Records the end of an exposure exactly once, also when the future that holds it is dropped.
struct Ending<'a> {
    recorder: &'a Recorder,
    id: String,
    outcome: Option<ExposureOutcome>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(ExposureOutcome::Aborted {
            cause: "interrupted".into(),
        });
        self.recorder.record(Fact::ExposureEnded {
            exposure: std::mem::take(&mut self.id),
            outcome,
        });
    }
}

/// Takes one frame. `cancel` carries the cause once the order must end; a frame that has begun is not kept from its end by
/// [`Stop::AfterExposure`].
pub async fn take(
    room: &Darkroom,
    channel: &Channel,
    wanted: &Wanted,
    cancel: &mut watch::Receiver<Stop>,
) -> Result<Product, NoFrame> {
    if let Stop::Now(cause) = cancel.borrow().clone() {
        return Err(NoFrame::Cancelled(cause));
    }
    let light = wanted.kind.is_light();
    if light && !room.gate_is_open() {
        return Err(NoFrame::GateShut);
    }
    let operation = room.next_operation();
    let turned_deg = channel.rotator.as_ref().map(Turning::position_deg);
    let started_at = room.recorder.now();
    let id = format!("{}-{}", started_at.chrono().format("%Y%m%dT%H%M%S%6f"), channel.name);
    room.recorder.record(Fact::ExposureStarted {
        exposure: Exposure {
            id: id.clone(),
            sequence: wanted.sequence.clone(),
            channel: channel.name.clone(),
            kind: wanted.kind,
            filter: wanted.filter.clone(),
            exposure_s: wanted.exposure_s,
            binning: wanted.binning,
            started_at,
        },
    });
    let mut ending = Ending {
        recorder: &room.recorder,
        id: id.clone(),
        outcome: None,
    };
    let result = tokio::select! {
        biased;
        cause = cancelled(cancel) => Err(NoFrame::Cancelled(cause)),
        () = gate_lost(room), if light => Err(NoFrame::GateShut),
        lost = filter_lost(channel, &wanted.filter), if light => Err(lost),
        lost = field_lost(channel, turned_deg), if light => Err(lost),
        frame = frame(room, channel, wanted, operation) => frame,
    };
    let result = match result {
        Ok(frame) => {
            develop(
                room,
                channel,
                wanted,
                &id,
                (started_at, channel.rotation_deg(turned_deg)),
                frame,
            )
            .await
        }
        Err(error) => {
            // The shutter first, the record after: a stop is idempotent, and its outcome is read back by the driver.
            if let Err(unheard) = channel.camera.stop().await {
                room.recorder.record(Fact::Degraded {
                    what: format!("stop of camera {}", channel.name),
                    cause: unheard.to_string(),
                });
                tokio::task::spawn_local(stop_when_it_hears(channel.camera.clone(), operation));
            }
            Err(error)
        }
    };
    ending.outcome = Some(match &result {
        Ok(product) => ExposureOutcome::Written {
            product: product.id.clone(),
        },
        Err(NoFrame::Cancelled(cause)) => ExposureOutcome::Aborted { cause: cause.clone() },
        Err(NoFrame::GateShut) => ExposureOutcome::Aborted {
            cause: NoFrame::GateShut.to_string(),
        },
        Err(error) => ExposureOutcome::Failed {
            cause: error.to_string(),
        },
    });
    drop(ending);
    if let Ok(product) = &result {
        (room.frames)(FrameReady {
            product: product.clone(),
            path: room.data_dir.join(&product.path),
            exposure: id,
            channel: channel.name.clone(),
            kind: wanted.kind,
            filter: wanted.filter.clone(),
            sequence: wanted.sequence.clone(),
            event: wanted.event.clone(),
            // The wiring knows the events.
            area: None,
            started_at,
            exposure_s: wanted.exposure_s,
            has_pixels: product.size_bytes > 2 * 2880 * 4,
        });
    }
    result
}

/// A camera that did not hear its stop goes on exposing: it is told again until it hears, or until the exposure is not
/// its own any more; at most ten minutes.
async fn stop_when_it_hears(camera: Rc<dyn Camera>, operation: u64) {
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = camera.status().borrow().value.ok();
        match status {
            None => {}
            Some(status) if status.operation != Some(operation) || status.state == CameraState::Idle => return,
            Some(_) if camera.stop().await.is_ok() => return,
            Some(_) => {}
        }
    }
}

/// Resolves when the wheel is measured at another filter than the one that was ordered: somebody else has turned it.
async fn filter_lost(channel: &Channel, filter: &str) -> NoFrame {
    let Some(wheel) = &channel.wheel else {
        return std::future::pending().await;
    };
    let mut statuses = wheel.status();
    loop {
        let found = statuses.borrow_and_update().value.as_ref().ok().cloned();
        if let Some(status) = found
            && (status.moving || status.filter.as_deref().is_some_and(|found| found != filter))
        {
            return NoFrame::Lost {
                channel: channel.name.clone(),
                cause: "the filter was changed by somebody else".into(),
            };
        }
        if statuses.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Resolves when the rotator is measured elsewhere than where it stood at the start.
async fn field_lost(channel: &Channel, turned_deg: Option<f64>) -> NoFrame {
    let (Some(turning), Some(turned_deg)) = (&channel.rotator, turned_deg) else {
        return std::future::pending().await;
    };
    turning.leaves(turned_deg).await;
    NoFrame::Lost {
        channel: channel.name.clone(),
        cause: "the field was turned by somebody else".into(),
    }
}

/// Resolves with the cause once the order is to end at once.
pub async fn cancelled(cancel: &mut watch::Receiver<Stop>) -> String {
    match cancel.wait_for(|stop| matches!(stop, Stop::Now(_))).await.as_deref() {
        Ok(Stop::Now(cause)) => cause.clone(),
        _ => "the observation agent is gone".into(),
    }
}

/// Resolves when the enclosure is no longer freshly measured open.
async fn gate_lost(room: &Darkroom) {
    let mut status = room.enclosure.enclosure_status();
    while room.gate_is_open() {
        // A change wakes it at once; silence is noticed by age.
        drop(tokio::time::timeout(Duration::from_secs(1), status.changed()).await);
    }
}

/// Orders the exposure and waits for its frame.
async fn frame(room: &Darkroom, channel: &Channel, wanted: &Wanted, operation: u64) -> Result<Frame, NoFrame> {
    let order = ExposeOrder {
        operation,
        exposure_s: wanted.exposure_s,
        light: wanted.kind.is_light(),
        binning: wanted.binning,
    };
    match channel.camera.expose(order).await {
        // Accepted, or perhaps accepted: the status tells.
        Ok(()) | Err(DeviceError::OutcomeUnknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let after_s = wanted.exposure_s + channel.optics.readout_s * 3.0 + 30.0;
    let ready = tokio::time::timeout(Duration::from_secs_f64(after_s), ready(room, channel, operation)).await;
    match ready {
        Ok(outcome) => outcome?,
        Err(_) => {
            return Err(NoFrame::Overdue {
                channel: channel.name.clone(),
                after_s,
            });
        }
    }
    let frame = channel.camera.fetch(operation).await?;
    if frame.operation != operation {
        // A frame of an exposure that was aborted: never attached to this one.
        return Err(NoFrame::Lost {
            channel: channel.name.clone(),
            cause: format!("frame of operation {} came instead of {operation}", frame.operation),
        });
    }
    Ok(frame)
}

/// Waits until the camera says that this operation's frame is ready.
async fn ready(room: &Darkroom, channel: &Channel, operation: u64) -> Result<(), NoFrame> {
    let mut statuses = channel.camera.status();
    let mut seen = false;
    let mut idle_since: Option<UtcTime> = None;
    loop {
        let status: Option<CameraStatus> = statuses.borrow_and_update().value.ok();
        if let Some(status) = status {
            let ours = status.operation == Some(operation);
            seen |= ours;
            match status.state {
                CameraState::Ready if ours => return Ok(()),
                CameraState::Fault => {
                    return Err(NoFrame::Lost {
                        channel: channel.name.clone(),
                        cause: "the camera reports a fault".into(),
                    });
                }
                CameraState::Idle => {
                    // Idle after it had ours, or idle for long after it was ordered: the exposure does not exist (any more).
                    let now = room.recorder.now();
                    let since = *idle_since.get_or_insert(now);
                    if now.seconds_since(since) > if seen { 5.0 } else { 15.0 } {
                        return Err(NoFrame::Lost {
                            channel: channel.name.clone(),
                            cause: "the camera is idle and has no frame".into(),
                        });
                    }
                }
                _ => idle_since = None,
            }
        }
        drop(tokio::time::timeout(Duration::from_secs(1), statuses.changed()).await);
    }
}

/// Writes the file and records the product.
async fn develop(
    room: &Darkroom,
    channel: &Channel,
    wanted: &Wanted,
    id: &str,
    (started_at, rotation_deg): (UtcTime, f64),
    frame: Frame,
) -> Result<Product, NoFrame> {
    let night = Night::containing(started_at, room.observatory.lon_deg);
    let relative = format!("{night}/raw/{id}.fits");
    let path = room.data_dir.join(&relative);
    let circumstances = Circumstances {
        id: id.to_owned(),
        channel: channel.name.clone(),
        wanted: wanted.clone(),
        optics: Optics {
            rotation_deg,
            ..channel.optics.clone()
        },
        camera: channel.camera.identity().borrow().clone(),
        temperature_c: channel.camera.status().borrow().value.ok().map(|s| s.temperature_c),
        observatory: room.observatory.clone(),
        night,
    };
    let shown = path.display().to_string();
    let written = room
        .offload
        .run(move || frame_file::write(&path, &frame, &circumstances))
        .await;
    let (size_bytes, sha256) = match written {
        Ok(Ok(file)) => file,
        Ok(Err(cause)) => return Err(NoFrame::Disk { path: shown, cause }),
        Err(lost) => {
            return Err(NoFrame::Disk {
                path: shown,
                cause: lost.to_string(),
            });
        }
    };
    let product = Product {
        id: format!("{id}-raw"),
        kind: ProductKind::Raw,
        exposure: Some(id.to_owned()),
        sequence: wanted.sequence.clone(),
        path: relative,
        size_bytes,
        sha256,
        made_at: room.recorder.now(),
    };
    room.recorder.record(Fact::ProductMade {
        product: product.clone(),
    });
    Ok(product)
}
