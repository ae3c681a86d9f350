//! Rotators (`IRotator`).

use super::{COMMAND_DEADLINE, POLL_DEADLINE, session::Session};
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

/// How it is spoken to.
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
        self.session.attach(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let moving = self.session.truth(wire, "ismoving").await?;
        let position_deg = angle("position", self.session.number(wire, "position").await?)?;
        // The mechanism's own angle came with interface 3.
        let mechanical_deg = match self.session.optional(wire, "mechanicalposition").await? {
            Some(degrees) => Some(angle("mechanicalposition", degrees)?),
            None => None,
        };
        let status = RotatorStatus {
            position_deg,
            mechanical_deg,
            moving,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &RotatorOrder) -> Result<(), Trouble> {
        match command {
            RotatorOrder::TurnTo(degrees) => {
                let position = format!("{degrees:.4}");
                self.session.put(wire, "moveabsolute", &[("Position", position)]).await
            }
            RotatorOrder::Stop => self.session.put(wire, "halt", &[]).await,
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

fn angle(member: &str, degrees: f64) -> Result<f64, Trouble> {
    RotatorStatus::angle(degrees).ok_or_else(|| Trouble::Garbage(format!("{member} {degrees}")))
}

/// A connected rotator.
pub type AlpacaRotator = RotatorHandle<Talk>;

/// Connects to rotator `number` of the server.
pub fn connect_rotator(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaRotator> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new("rotator", number, connector.clone()),
        poll,
        status: status_out,
    };
    RotatorHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
