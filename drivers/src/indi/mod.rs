//! Devices behind an INDI server (protocol 1.7: properties as XML elements, images as BLOBs).
//!
//! Terms: a *property* is a vector of named *elements* with a state (Idle, Ok, Busy, Alert); a *definition* announces it,
//! a *set* changes it. Every device here has a connection of its own, so that no image delays a command to the roof.
//!
//! Nothing on this link means *done*, and silence is a usual form of refusal:
//! - liveness is a question for a property that the device's driver itself has to answer, once a poll;
//! - a driver that crashed or was disconnected is seen by its properties going away; the connection is then made anew
//!   and the device connected again;
//! - whatever belongs to an earlier life (a property left Busy, an image of an aborted exposure) is not believed.
//!
//! The protocol has no authentication: a server belongs behind a firewall.

mod camera;
mod dome;
mod fits;
pub mod listing;
mod message;
mod mount;
mod movers;
mod rotator;
mod session;
mod switch;
mod weather;

pub use crate::place::Place;
pub use camera::{IndiCamera, connect_camera};
pub use dome::{IndiDome, connect_dome};
pub use mount::{IndiMount, connect_mount};
pub use movers::{IndiFilterWheel, IndiFocuser, connect_filter_wheel, connect_focuser};
pub use rotator::{IndiRotator, connect_rotator};
pub use switch::{IndiSwitch, Spot, connect_switch};
pub use weather::{IndiWeather, connect_weather};

use std::time::Duration;

/// How long greeting or one reading may take; a device that needs longer to connect is found connected the next time.
const POLL_DEADLINE: Duration = Duration::from_secs(6);

/// Longer than [`session::PATIENCE`] plus the question whether the driver still lives.
const COMMAND_DEADLINE: Duration = Duration::from_secs(6);
