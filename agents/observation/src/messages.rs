//! What may be said to the observation agent, and what it publishes.

use actix::Message;
use alidade_model::{
    exposure::{ExposureId, FrameKind, Product},
    request::Sequence,
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// A sign of life: whoever can handle it, lives.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// How a command was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    Accepted,
    AlreadyInProgress,
}

/// Why a command was refused; one variant a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("order {running} is running")]
    Busy { running: String },
    #[error("nothing is running")]
    NothingRunning,
    #[error("channel {0} does not exist")]
    UnknownChannel(String),
}

/// Equal calibration frames of one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFrames {
    pub channel: String,
    pub kind: FrameKind,
    /// Filter for flats; the wheel is left alone for bias and dark.
    pub filter: Option<String>,
    pub exposure_s: f64,
    pub count: u32,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    Sequence {
        sequence: Box<Sequence>,
        /// Exposures already on disk per channel: they are not taken again.
        done: BTreeMap<String, u32>,
        /// The alert event it follows, for the latency record.
        event: Option<String>,
    },
    Calibration {
        id: String,
        frames: Vec<CalibrationFrames>,
    },
}

impl Order {
    pub fn id(&self) -> &str {
        match self {
            Order::Sequence { sequence, .. } => &sequence.id,
            Order::Calibration { id, .. } => id,
        }
    }

    /// For people.
    pub fn label(&self) -> String {
        match self {
            Order::Sequence { sequence, .. } => format!("{} for {}", sequence.target.name, sequence.user),
            Order::Calibration { id, .. } => id.clone(),
        }
    }
}

/// Begins an order; refused while another one runs.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct Execute(pub Order);

/// Ends the running order now, for `cause`, and begins `next` at once if there is one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct Interrupt {
    pub cause: String,
    pub next: Option<Order>,
}

/// Ends an order at the end of the frames that are being exposed: they are kept, and the order is over as
/// [`Outcome::Yielded`]. Refused when another order runs.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct Yield {
    pub order: String,
    pub cause: String,
}

/// What a running order is told about its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stop {
    /// To go on.
    #[default]
    No,
    /// To begin nothing more, and to end when what is being exposed is on disk.
    AfterExposure(String),
    /// To end at once.
    Now(String),
}

/// Parks the mount; refused while an order runs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Disposition, Denied>")]
pub struct Park;

/// The circle that holds an event with a probability of 90 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorCircle {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub radius_deg: f64,
}

/// A frame is on disk (to the analysis).
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct FrameReady {
    pub product: Product,
    pub path: PathBuf,
    pub exposure: ExposureId,
    pub channel: String,
    pub kind: FrameKind,
    pub filter: String,
    pub sequence: Option<String>,
    /// The alert event it belongs to: such frames go first.
    pub event: Option<String>,
    /// Where the event is believed to be: this part of the frame is searched first. ICRS degrees.
    pub area: Option<ErrorCircle>,
    /// The shutter was opened.
    pub started_at: UtcTime,
    pub exposure_s: f64,
    /// Without pixels (`--frames none`) there is nothing to analyse.
    pub has_pixels: bool,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    Done,
    Aborted {
        cause: String,
    },
    /// It gave way at the end of a frame; what it has taken counts.
    Yielded {
        cause: String,
    },
    Failed {
        cause: String,
    },
}

/// What one channel is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelProgress {
    pub activity: String,
    pub filter: String,
    pub exposure: Option<ExposureId>,
    pub exposure_s: f64,
    pub started_at: Option<UtcTime>,
    pub done: u32,
    pub total: u32,
}

/// The running order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub id: String,
    pub label: String,
    pub step: String,
    pub since: UtcTime,
    pub channels: BTreeMap<String, ChannelProgress>,
}

/// What everybody may read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObservationStatus {
    pub running: Option<Running>,
    /// The order that ended last; `serial` counts ended orders.
    pub ended: Option<(String, Outcome)>,
    pub serial: u64,
    /// True while cameras of an ended order have not yet all been read back as idle.
    pub stopping: bool,
}
