//! What devices are told.

use crate::interface::{ExposeOrder, OperationId};
use std::fmt::{self, Display, Formatter};

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

/// What a rotator is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RotatorOrder {
    /// Position angle on the sky, degrees.
    TurnTo(f64),
    Stop,
}

/// What a bank of switches is told.
#[derive(Debug, Clone, PartialEq)]
pub enum SwitchOrder {
    Set { line: String, value: f64 },
    Stop,
}

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

impl Display for RotatorOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TurnTo(angle) => write!(f, "turn to {angle:.2}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

impl Display for SwitchOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { line, value } => write!(f, "set {line} to {value}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}
