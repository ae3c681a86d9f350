//! Domes and roofs (`IDome`).

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE, able,
    session::{Session, as_number, as_truth, as_whole, needed},
};
use crate::{
    handle::{DomeHandle, RoofOrder},
    interface::{EnclosureStatus, Identity},
    link::{Dialogue, Link, pace, unread},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    states::EnclosureState,
    time::UtcTime,
};
use std::{rc::Rc, time::Duration};
use tokio::sync::watch;

/// How it is spoken to.
pub struct Talk {
    session: Session,
    poll: Duration,
    turns: bool,
    status: watch::Sender<Reading<EnclosureStatus>>,
}

/// `ShutterState` of the ASCOM interface.
fn shutter(number: i64) -> Result<EnclosureState, Trouble> {
    Ok(match number {
        0 => EnclosureState::Open,
        1 => EnclosureState::Closed,
        2 => EnclosureState::Opening,
        3 => EnclosureState::Closing,
        4 => EnclosureState::Fault,
        other => return Err(Trouble::Garbage(format!("shutter status {other}"))),
    })
}

impl Dialogue for Talk {
    type Command = RoofOrder;
    type Reply = ();

    fn deadline(&self, _: &RoofOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let identity = self.session.attach(wire).await?;
        if !self.session.can(wire, "cansetshutter").await? {
            return Err(Trouble::Absent("it has no shutter to command".into()));
        }
        self.turns = self.session.can(wire, "cansetazimuth").await?;
        // A dome that follows its mount by itself refuses our azimuths.
        if self.session.can(wire, "canslave").await? && self.session.truth(wire, "slaved").await? {
            self.session.put(wire, "slaved", &[("Slaved", "False".into())]).await?;
        }
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let members: &[&str] = if self.turns {
            &["shutterstatus", "slewing", "azimuth"]
        } else {
            &["shutterstatus", "slewing"]
        };
        let told = self.session.state(wire, members).await?;
        let state = shutter(as_whole("shutterstatus", needed(&told, "shutterstatus")?)?)?;
        let azimuth_deg = if self.turns {
            Some(as_number("azimuth", needed(&told, "azimuth")?)?.rem_euclid(360.0))
        } else {
            None
        };
        let shutter_moves = matches!(state, EnclosureState::Opening | EnclosureState::Closing);
        // `Slewing` covers every part of a dome that moves.
        let slewing = as_truth("slewing", needed(&told, "slewing")?)?;
        let status = EnclosureStatus {
            state,
            azimuth_deg,
            rotating: self.turns && slewing && !shutter_moves,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, slewing || shutter_moves))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &RoofOrder) -> Result<(), Trouble> {
        let session = &mut self.session;
        match command {
            RoofOrder::Open => session.put(wire, "openshutter", &[]).await,
            RoofOrder::Close => session.put(wire, "closeshutter", &[]).await,
            RoofOrder::Rotate(azimuth) => {
                able(self.turns, "turn")?;
                let azimuth = format!("{:.3}", azimuth.rem_euclid(360.0));
                session.put(wire, "slewtoazimuth", &[("Azimuth", azimuth)]).await
            }
            RoofOrder::Stop => session.put(wire, "abortslew", &[]).await,
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected dome or roof.
pub type AlpacaDome = DomeHandle<Talk>;

/// Connects to dome `number` of the server.
pub fn connect_dome(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaDome> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new("dome", number, connector.clone()),
        poll,
        turns: false,
        status: status_out,
    };
    DomeHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
