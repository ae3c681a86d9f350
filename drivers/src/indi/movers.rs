//! Filter wheels and focusers.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::State,
    session::{Kind, Session},
};
use crate::{
    interface::{DeviceError, FilterWheel, FilterWheelStatus, Focuser, FocuserStatus, Identity, Pending, Status},
    link::{Dialogue, Link, device},
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

struct WheelTalk {
    session: Session,
    poll: Duration,
    filters: Vec<String>,
    status: watch::Sender<Reading<FilterWheelStatus>>,
}

enum WheelCommand {
    Goto(usize),
    /// The protocol cannot stop a wheel.
    Stop,
}

impl Dialogue for WheelTalk {
    type Command = WheelCommand;
    type Reply = ();

    fn describe(command: &WheelCommand) -> String {
        match command {
            WheelCommand::Goto(position) => format!("go to position {position}"),
            WheelCommand::Stop => "stop".into(),
        }
    }

    fn deadline(&self, _: &WheelCommand) -> Duration {
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
        Ok(if moving { Duration::from_millis(250) } else { self.poll })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &WheelCommand) -> Result<(), Trouble> {
        match command {
            WheelCommand::Goto(position) => {
                self.session
                    .command(wire, Kind::Number, SLOT, &[(SLOT_VALUE, &position.to_string())], |_| {
                        true
                    })
                    .await
            }
            WheelCommand::Stop => Ok(()),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected filter wheel.
pub struct IndiFilterWheel {
    link: Link<WheelTalk>,
    filters: Vec<String>,
    status: Status<FilterWheelStatus>,
}

/// Connects to the INDI device `device`; `filters` are the names in the order of the slots.
pub fn connect_filter_wheel(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    filters: Vec<String>,
) -> Rc<IndiFilterWheel> {
    let (status_out, status) = watch::channel(Reading::none(NoData::NeverRead, clock.now()));
    let talk = WheelTalk {
        session: Session::new(device),
        poll,
        filters: filters.clone(),
        status: status_out,
    };
    let link = Link::open(id, connector, clock, POLL_DEADLINE, talk);
    Rc::new(IndiFilterWheel { link, filters, status })
}

device!(IndiFilterWheel, WheelCommand::Stop);

impl FilterWheel for IndiFilterWheel {
    fn status(&self) -> Status<FilterWheelStatus> {
        self.status.clone()
    }
    fn filters(&self) -> &[String] {
        &self.filters
    }
    fn select(&self, filter: &str) -> Pending<'_, ()> {
        match self.filters.iter().position(|name| name == filter) {
            Some(at) => self.link.send(WheelCommand::Goto(at + 1)),
            None => Box::pin(std::future::ready(Err(DeviceError::Rejected {
                device: self.link.id.clone(),
                command: format!("select {filter}"),
                code: 0,
                message: "no such filter".into(),
            }))),
        }
    }
}

const POSITION: &str = "ABS_FOCUS_POSITION";
const STEPS: &str = "FOCUS_ABSOLUTE_POSITION";
const TEMPERATURE: &str = "FOCUS_TEMPERATURE";

struct FocuserTalk {
    session: Session,
    poll: Duration,
    status: watch::Sender<Reading<FocuserStatus>>,
}

enum FocuserCommand {
    MoveTo(i64),
    Stop,
}

impl Dialogue for FocuserTalk {
    type Command = FocuserCommand;
    type Reply = ();

    fn describe(command: &FocuserCommand) -> String {
        match command {
            FocuserCommand::MoveTo(steps) => format!("move to {steps}"),
            FocuserCommand::Stop => "stop".into(),
        }
    }

    fn deadline(&self, _: &FocuserCommand) -> Duration {
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
        Ok(if moving { Duration::from_millis(250) } else { self.poll })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &FocuserCommand) -> Result<(), Trouble> {
        match command {
            FocuserCommand::MoveTo(steps) => {
                self.session
                    .command(wire, Kind::Number, POSITION, &[(STEPS, &steps.to_string())], |_| true)
                    .await
            }
            FocuserCommand::Stop => {
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
pub struct IndiFocuser {
    link: Link<FocuserTalk>,
    status: Status<FocuserStatus>,
}

/// Connects to the INDI device `device`.
pub fn connect_focuser(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiFocuser> {
    let (status_out, status) = watch::channel(Reading::none(NoData::NeverRead, clock.now()));
    let talk = FocuserTalk {
        session: Session::new(device),
        poll,
        status: status_out,
    };
    Rc::new(IndiFocuser {
        link: Link::open(id, connector, clock, POLL_DEADLINE, talk),
        status,
    })
}

device!(IndiFocuser, FocuserCommand::Stop);

impl Focuser for IndiFocuser {
    fn status(&self) -> Status<FocuserStatus> {
        self.status.clone()
    }
    fn move_to(&self, position_steps: i64) -> Pending<'_, ()> {
        self.link.send(FocuserCommand::MoveTo(position_steps))
    }
}
