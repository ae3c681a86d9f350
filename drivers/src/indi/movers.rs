//! Filter wheels and focusers.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::State,
    session::{Kind, Session},
};
use crate::{
    handle::{FocuserHandle, FocuserOrder, WheelHandle, WheelOrder},
    interface::{FilterWheelStatus, FocuserStatus, Identity},
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

const SLOT: &str = "FILTER_SLOT";
const SLOT_VALUE: &str = "FILTER_SLOT_VALUE";

/// How it is spoken to.
pub struct WheelTalk {
    session: Session,
    poll: Duration,
    filters: Vec<String>,
    status: watch::Sender<Reading<FilterWheelStatus>>,
}

impl Dialogue for WheelTalk {
    type Command = WheelOrder;
    type Reply = ();

    fn deadline(&self, _: &WheelOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self.session.attach(wire, &[SLOT]).await?;
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        self.session.refresh(wire, &[SLOT]).await?;
        let (state, slot) = (self.session.need(SLOT)?.state, self.session.value(SLOT, SLOT_VALUE)?);
        if slot.fract() != 0.0 || !(0.0..=64.0).contains(&slot) {
            return Err(Trouble::Garbage(format!("filter slot {slot}")));
        }
        let moving = state == State::Busy;
        let known = !moving && state != State::Alert;
        let filter = (slot as usize)
            .checked_sub(1)
            .and_then(|at| self.filters.get(at))
            .filter(|_| known)
            .cloned();
        self.status
            .send_replace(Reading::good(FilterWheelStatus { filter, moving }, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &WheelOrder) -> Result<(), Trouble> {
        match command {
            WheelOrder::Goto(position) => {
                self.session
                    .command(
                        wire,
                        Kind::Number,
                        SLOT,
                        &[(SLOT_VALUE, &(position + 1).to_string())],
                        |_| true,
                    )
                    .await
            }
            WheelOrder::Stop => Ok(()),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected filter wheel.
pub type IndiFilterWheel = WheelHandle<WheelTalk>;

/// Connects to the INDI device `device`; `filters` are the names in the order of the slots.
pub fn connect_filter_wheel(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    filters: Vec<String>,
) -> Rc<IndiFilterWheel> {
    let (status_out, status) = unread(&*clock);
    let talk = WheelTalk {
        session: Session::new(device),
        poll,
        filters: filters.clone(),
        status: status_out,
    };
    let link = Link::open(id, connector, clock, POLL_DEADLINE, talk);
    WheelHandle::new(link, filters, status)
}

const POSITION: &str = "ABS_FOCUS_POSITION";
const STEPS: &str = "FOCUS_ABSOLUTE_POSITION";
const TEMPERATURE: &str = "FOCUS_TEMPERATURE";

/// How it is spoken to.
pub struct FocuserTalk {
    session: Session,
    poll: Duration,
    status: watch::Sender<Reading<FocuserStatus>>,
}

impl Dialogue for FocuserTalk {
    type Command = FocuserOrder;
    type Reply = ();

    fn deadline(&self, _: &FocuserOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        // Focus follows the tube's temperature: a focuser without a thermometer is not understood.
        let (model, version) = self.session.attach(wire, &[POSITION, TEMPERATURE]).await?;
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        self.session.refresh(wire, &[POSITION, TEMPERATURE]).await?;
        let moving = self.session.need(POSITION)?.state == State::Busy;
        let status = FocuserStatus {
            position_steps: self.session.value(POSITION, STEPS)?.round() as i64,
            moving,
            temperature_c: self.session.value(TEMPERATURE, "TEMPERATURE")?,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &FocuserOrder) -> Result<(), Trouble> {
        match command {
            FocuserOrder::MoveTo(steps) => {
                self.session
                    .command(wire, Kind::Number, POSITION, &[(STEPS, &steps.to_string())], |_| true)
                    .await
            }
            FocuserOrder::Stop => {
                self.session
                    .command(wire, Kind::Switch, "FOCUS_ABORT_MOTION", &[("ABORT", "On")], |_| true)
                    .await
            }
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected focuser.
pub type IndiFocuser = FocuserHandle<FocuserTalk>;

/// Connects to the INDI device `device`.
pub fn connect_focuser(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiFocuser> {
    let (status_out, status) = unread(&*clock);
    let talk = FocuserTalk {
        session: Session::new(device),
        poll,
        status: status_out,
    };
    FocuserHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
