//! What goes wrong, when, and on which device.

use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};

/// A way of failing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FaultKind {
    /// The device hears and acts but does not answer.
    Mute,
    /// Answers come late by this many seconds.
    Delay { seconds: f64 },
    /// Answers are preceded by random bytes.
    Garbage,
    /// The connection is cut, and refused while the fault lasts.
    DropLink,
    /// Every command is refused.
    Refuse,
    /// The motor does not move although commands are accepted.
    Stuck,
    /// The roof stops at this fraction of its travel (0 closed, 1 open).
    ShutterJam { fraction: f64 },
    /// The sensors repeat their last value.
    FrozenSensor,
    /// The sensors report no value.
    DeadSensor,
    /// An alert packet arrives twice.
    DuplicatePacket,
    /// A malformed packet arrives.
    MalformedPacket,
    /// The daemon is killed (as by `kill -9`) and started again after the fault's duration.
    KillDaemon,
}

/// One fault of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub at: UtcTime,
    /// Device name (`plc`, `mount`, `camera_vis` ...), `alerts` or `daemon`.
    pub device: String,
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How long it lasts, seconds.
    pub for_s: f64,
}
