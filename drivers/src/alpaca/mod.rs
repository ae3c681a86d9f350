//! Devices behind an ASCOM Alpaca server (Alpaca API v1): HTTP with JSON, images as ImageBytes.
//!
//! | module | holds |
//! |---|---|
//! | `http` | the part of HTTP/1.1 that is needed, over any byte stream |
//! | `session` | transactions, error numbers, capabilities of one device |
//! | `image` | ImageBytes and images in JSON |
//! | [`discovery`] | who is there (UDP), and what they serve |
//!
//! Terms are ASCOM's. Every device here has a connection of its own, which is made anew when it has rested: a server may
//! close it at any time, and no image delays a command to the roof. What is believed:
//! - an answer only with the number of its own question; a safety monitor only with all of it;
//! - no answer means *done*: `Slewing`, `ShutterStatus`, `IsMoving`, `Position` and `ImageReady` do, and they are polled;
//! - a deadline missed drops the connection, connects anew and reads the state;
//! - what a device can is asked once a connection (`CanPark`, `CanSetShutter` ...), and what it cannot is refused as
//!   [`crate::interface::DeviceError::Unsupported`] before anything is sent.
//!
//! Alpaca has no authentication and no encryption: a server belongs behind a firewall.

mod camera;
pub mod discovery;
mod dome;
mod http;
mod image;
mod mount;
mod movers;
mod rotator;
mod session;
mod switch;
mod weather;

pub use camera::{AlpacaCamera, connect_camera};
pub use dome::{AlpacaDome, connect_dome};
pub use mount::{AlpacaMount, connect_mount};
pub use movers::{AlpacaFilterWheel, AlpacaFocuser, connect_filter_wheel, connect_focuser};
pub use rotator::{AlpacaRotator, connect_rotator};
pub use switch::{AlpacaSwitch, connect_switch};
pub use weather::{AlpacaSafetyMonitor, AlpacaWeather, connect_safety_monitor, connect_weather};

use crate::wire::Trouble;
use std::time::Duration;

/// How long greeting or one reading may take; a device that needs longer to connect is found connected the next time.
const POLL_DEADLINE: Duration = Duration::from_secs(6);

/// Drivers of the older interfaces answer some commands only when they are done.
const COMMAND_DEADLINE: Duration = Duration::from_secs(6);

/// Refuses what the device has said it cannot do.
fn able(can: bool, capability: &str) -> Result<(), Trouble> {
    if can {
        Ok(())
    } else {
        Err(Trouble::Unsupported(capability.to_owned()))
    }
}

/// A command that is already true is no fault.
fn already(done: Result<(), Trouble>, number: i32) -> Result<(), Trouble> {
    match done {
        Err(Trouble::Refused { code, .. }) if code == number => Ok(()),
        other => other,
    }
}
