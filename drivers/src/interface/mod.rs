//! Device traits: capabilities with ASCOM semantics, independent of any protocol.
//!
//! | trait | capability | ASCOM | over |
//! |---|---|---|---|
//! | [`Mount`] | points, tracks, parks | `ITelescope` | LX200, NexStar, INDI, Alpaca |
//! | [`Camera`] | exposes and reads out | `ICamera` | grammar, INDI, Alpaca |
//! | [`FilterWheel`] | brings a filter into the beam | `IFilterWheel` | grammar, INDI, Alpaca |
//! | [`Focuser`] | moves the focus | `IFocuser` | grammar, INDI, Alpaca |
//! | [`Rotator`] | turns the field | `IRotator` | grammar, INDI, Alpaca |
//! | [`Switch`] | power, heaters, lamps | `ISwitch` | grammar, INDI, Alpaca |
//! | [`Enclosure`] | dome or roll-off roof | `IDome` | controller's dialect, Modbus, INDI, Alpaca |
//! | [`ObservingConditions`] | measures weather | `IObservingConditions` | NMEA, controller's dialect, Modbus, INDI, Alpaca |
//! | [`ObservingConditions`] with [`Quantity::MonitorUnsafe`] | says safe or unsafe | `ISafetyMonitor` | Alpaca |
//! | [`Plc`] | the observatory's controller: roof, weather, people, dead-man | none | controller's dialect, Modbus |
//!
//! Rules that every driver keeps:
//! - A command's `Ok(())` says *accepted*. Completion is seen in `status()`.
//! - Every command is bounded in time. A timed-out command is [`DeviceError::OutcomeUnknown`]; the driver reads the
//!   device back by itself and publishes what it finds.
//! - Every status is a [`Reading`]: when the link is down or the device silent it is no-data with the reason. The
//!   value before the first answer is [`alidade_model::reading::NoData::NeverRead`].
//! - Azimuth counts from north through east, 0 to 360 degrees. Equatorial coordinates at this interface are
//!   apparent, of date (true equator and equinox), because that is what mounts speak.
//! - `stop` is idempotent, overtakes queued commands, and is always allowed.

mod camera;
mod enclosure;
mod error;
mod filter_wheel;
mod focuser;
mod mount;
mod plc;
mod quantity;
mod rotator;
mod switch;

pub use camera::{Camera, CameraState, CameraStatus, ExposeOrder, Frame, OperationId};
pub use enclosure::{Enclosure, EnclosureStatus};
pub use error::DeviceError;
pub use filter_wheel::{FilterWheel, FilterWheelStatus};
pub use focuser::{Focuser, FocuserStatus};
pub use mount::{Mount, MountStatus};
pub use plc::{KeySwitch, ObservingConditions, Plc, PlcStatus};
pub use quantity::{ByQuantity, Quantity, Readings};
pub use rotator::{Rotator, RotatorStatus};
pub use switch::{MOST_LINES, Switch, SwitchLine, SwitchLines};

use alidade_model::{reading::Reading, time::UtcTime};
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin};
use tokio::sync::watch;

/// The answer to a command, later. Agents and drivers share one thread, so it need not be `Send`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, DeviceError>> + 'a>>;

/// Whether anybody answers at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "link")]
pub enum LinkState {
    Down {
        since: UtcTime,
        cause: String,
    },
    /// `epoch` counts connections: a value read in another epoch says nothing about this one.
    Up {
        since: UtcTime,
        epoch: u32,
    },
}

impl LinkState {
    pub fn is_up(&self) -> bool {
        matches!(self, LinkState::Up { .. })
    }
}

/// Who a device says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub model: String,
    pub version: String,
}

/// What every device can do.
pub trait Device {
    /// The name from the configuration, e.g. `mount`, `camera_vis`.
    fn id(&self) -> &str;
    fn link(&self) -> watch::Receiver<LinkState>;
    /// Known after the first conversation.
    fn identity(&self) -> watch::Receiver<Option<Identity>>;
    /// Messages that broke the protocol so far (garbage, wrong checksum, reply to another command): survived, counted.
    fn garbage_count(&self) -> u64;
    /// Ends all motion or exposure now.
    fn stop(&self) -> Pending<'_, ()>;
}

/// A published status.
pub type Status<T> = watch::Receiver<Reading<T>>;
