//! Domes and roofs.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::State,
    session::{Kind, Session},
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

const SHUTTER: &str = "DOME_SHUTTER";
const AZIMUTH: &str = "ABS_DOME_POSITION";

/// How it is spoken to.
pub struct Talk {
    session: Session,
    poll: Duration,
    status: watch::Sender<Reading<EnclosureStatus>>,
}

impl Talk {
    /// Closed is `DOME_SHUTTER` Ok with SHUTTER_CLOSE on, and nothing else: being parked says nothing about the shutter,
    /// and the direction of a stopped shutter is what was last asked of it.
    fn state(&self) -> Result<EnclosureState, Trouble> {
        let shutter = self.session.need(SHUTTER)?;
        Ok(
            match (shutter.state, shutter.on("SHUTTER_OPEN"), shutter.on("SHUTTER_CLOSE")) {
                (_, true, true) => EnclosureState::Fault,
                (State::Busy, true, false) => EnclosureState::Opening,
                (State::Busy, false, true) => EnclosureState::Closing,
                (State::Ok, true, false) => EnclosureState::Open,
                (State::Ok, false, true) => EnclosureState::Closed,
                _ => EnclosureState::Unknown,
            },
        )
    }
}

impl Dialogue for Talk {
    type Command = RoofOrder;
    type Reply = ();

    fn deadline(&self, _: &RoofOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self.session.attach(wire, &[SHUTTER]).await?;
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let turns = self.session.get(AZIMUTH).is_some();
        self.session
            .refresh(wire, if turns { &[SHUTTER, AZIMUTH] } else { &[SHUTTER] })
            .await?;
        let azimuth_deg = if turns {
            Some(self.session.value(AZIMUTH, "DOME_ABSOLUTE_POSITION")?.rem_euclid(360.0))
        } else {
            None
        };
        let rotating = turns && self.session.need(AZIMUTH)?.state == State::Busy;
        let state = self.state()?;
        self.status.send_replace(Reading::good(
            EnclosureStatus {
                state,
                azimuth_deg,
                rotating,
            },
            clock.now(),
        ));
        let moving = rotating || matches!(state, EnclosureState::Opening | EnclosureState::Closing);
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &RoofOrder) -> Result<(), Trouble> {
        let session = &mut self.session;
        match command {
            RoofOrder::Open | RoofOrder::Close => {
                let open = matches!(command, RoofOrder::Open);
                let element = if open { "SHUTTER_OPEN" } else { "SHUTTER_CLOSE" };
                session
                    .command(wire, Kind::Switch, SHUTTER, &[(element, "On")], |p| p.on(element))
                    .await
            }
            RoofOrder::Rotate(azimuth) => {
                let azimuth = format!("{:.3}", azimuth.rem_euclid(360.0));
                session
                    .command(
                        wire,
                        Kind::Number,
                        AZIMUTH,
                        &[("DOME_ABSOLUTE_POSITION", &azimuth)],
                        |_| true,
                    )
                    .await
            }
            RoofOrder::Stop => {
                session
                    .command(wire, Kind::Switch, "DOME_ABORT_MOTION", &[("ABORT", "On")], |_| true)
                    .await
            }
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected dome or roof.
pub type IndiDome = DomeHandle<Talk>;

/// Connects to the INDI device `device`.
pub fn connect_dome(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiDome> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new(device),
        poll,
        status: status_out,
    };
    DomeHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
