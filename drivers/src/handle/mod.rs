//! Handles: what a caller holds of a connected device. There is one for every capability, whatever the protocol: a protocol
//! is a [`Dialogue`](crate::link::Dialogue) over the same orders that publishes the same states.
//!
//! | module | holds |
//! |---|---|
//! | `orders` | what devices are told |
//! | `instruments` | mounts, cameras, wheels, focusers, rotators and switches |
//! | `roof` | domes, stations, and controllers, which are both with people's switches beside them |

/// Implements [`Device`] for a handle over dialogues with these orders and replies.
macro_rules! device {
    ($handle:ident, $order:ty, $reply:ty, $stop:expr) => {
        impl<D: Dialogue<Command = $order, Reply = $reply>> Device for $handle<D> {
            fn id(&self) -> &str {
                &self.link.id
            }
            fn link(&self) -> watch::Receiver<LinkState> {
                self.link.state.clone()
            }
            fn identity(&self) -> watch::Receiver<Option<Identity>> {
                self.link.identity.clone()
            }
            fn garbage_count(&self) -> u64 {
                self.link.garbage()
            }
            fn stop(&self) -> Pending<'_, ()> {
                let sent = self.link.send_first($stop);
                Box::pin(async move { sent.await.map(drop) })
            }
        }
    };
}

mod instruments;
mod orders;
mod roof;

pub use instruments::{CameraHandle, FocuserHandle, MountHandle, RotatorHandle, Sensor, SwitchHandle, WheelHandle};
pub use orders::{
    CameraOrder, ControllerOrder, FocuserOrder, MountOrder, Rest, RoofOrder, RotatorOrder, SwitchOrder, WheelOrder,
};
pub use roof::{Controller, ControllerStates, ControllerViews, DomeHandle, StationHandle, forget};
