//! Rotators.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::State,
    session::{Kind, Session},
};
use crate::{
    handle::{RotatorHandle, RotatorOrder},
    interface::{Identity, RotatorStatus},
    link::{Dialogue, Link, pace, unread},
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

const ANGLE: &str = "ABS_ROTATOR_ANGLE";

/// How it is spoken to. INDI knows one angle, that on the sky after a synchronisation.
pub struct Talk {
    session: Session,
    poll: Duration,
    status: watch::Sender<Reading<RotatorStatus>>,
}

impl Dialogue for Talk {
    type Command = RotatorOrder;
    type Reply = ();

    fn deadline(&self, _: &RotatorOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self.session.attach(wire, &[ANGLE]).await?;
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        self.session.refresh(wire, &[ANGLE]).await?;
        let (state, degrees) = (self.session.need(ANGLE)?.state, self.session.value(ANGLE, "ANGLE")?);
        let position_deg =
            RotatorStatus::angle(degrees).ok_or_else(|| Trouble::Garbage(format!("rotator angle {degrees}")))?;
        let moving = state == State::Busy;
        let status = RotatorStatus {
            position_deg,
            mechanical_deg: None,
            moving,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &RotatorOrder) -> Result<(), Trouble> {
        match command {
            RotatorOrder::TurnTo(degrees) => {
                let angle = format!("{degrees:.4}");
                self.session
                    .command(wire, Kind::Number, ANGLE, &[("ANGLE", &angle)], |_| true)
                    .await
            }
            RotatorOrder::Stop => {
                self.session
                    .command(wire, Kind::Switch, "ROTATOR_ABORT_MOTION", &[("ABORT", "On")], |_| true)
                    .await
            }
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected rotator.
pub type IndiRotator = RotatorHandle<Talk>;

/// Connects to the INDI device `device`.
pub fn connect_rotator(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiRotator> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new(device),
        poll,
        status: status_out,
    };
    RotatorHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
