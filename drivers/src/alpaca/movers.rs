//! Filter wheels (`IFilterWheel`) and focusers (`IFocuser`).

use super::{COMMAND_DEADLINE, POLL_DEADLINE, able, session::Session};
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
        let identity = self.session.attach(wire).await?;
        let names = self.session.get(wire, "names").await?;
        let slots = names.as_array().map_or(0, Vec::len);
        if slots < self.filters.len() {
            let cause = format!(
                "it has {slots} positions, {} filters are configured",
                self.filters.len()
            );
            return Err(Trouble::Absent(cause));
        }
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        // -1 while it moves.
        let position = self.session.whole(wire, "position").await?;
        let moving = position == -1;
        let filter = usize::try_from(position)
            .ok()
            .and_then(|at| self.filters.get(at))
            .cloned();
        self.status
            .send_replace(Reading::good(FilterWheelStatus { filter, moving }, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &WheelOrder) -> Result<(), Trouble> {
        match command {
            WheelOrder::Goto(position) => {
                self.session
                    .put(wire, "position", &[("Position", position.to_string())])
                    .await
            }
            // The interface has no stop: a wheel ends in a position by itself.
            WheelOrder::Stop => Ok(()),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected filter wheel.
pub type AlpacaFilterWheel = WheelHandle<WheelTalk>;

/// Connects to filter wheel `number` of the server; `filters` are our names in the order of its positions.
pub fn connect_filter_wheel(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    filters: Vec<String>,
) -> Rc<AlpacaFilterWheel> {
    let (status_out, status) = unread(&*clock);
    let talk = WheelTalk {
        session: Session::new("filterwheel", number, connector.clone()),
        poll,
        filters: filters.clone(),
        status: status_out,
    };
    let link = Link::open(id, connector, clock, POLL_DEADLINE, talk);
    WheelHandle::new(link, filters, status)
}

/// How it is spoken to.
pub struct FocuserTalk {
    session: Session,
    poll: Duration,
    /// The outermost position, steps.
    longest: i64,
    halts: bool,
    status: watch::Sender<Reading<FocuserStatus>>,
}

impl Dialogue for FocuserTalk {
    type Command = FocuserOrder;
    type Reply = ();

    fn deadline(&self, _: &FocuserOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let identity = self.session.attach(wire).await?;
        if !self.session.truth(wire, "absolute").await? {
            return Err(Trouble::Absent("it does not know its position".into()));
        }
        self.longest = self.session.whole(wire, "maxstep").await?;
        // A focuser without Halt says so when it is asked to; asking here would be a command.
        self.halts = true;
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let moving = self.session.truth(wire, "ismoving").await?;
        let status = FocuserStatus {
            position_steps: self.session.whole(wire, "position").await?,
            moving,
            // Focus follows the tube's temperature: a focuser without a thermometer is not understood.
            temperature_c: self
                .session
                .number(wire, "temperature")
                .await
                .map_err(|trouble| match trouble {
                    Trouble::Unsupported(_) => Trouble::Absent("it has no thermometer".into()),
                    other => other,
                })?,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &FocuserOrder) -> Result<(), Trouble> {
        match command {
            FocuserOrder::MoveTo(steps) if !(0..=self.longest).contains(steps) => Err(Trouble::Refused {
                code: super::session::code::INVALID_VALUE,
                message: format!("{steps} is outside 0 to {}", self.longest),
            }),
            FocuserOrder::MoveTo(steps) => self.session.put(wire, "move", &[("Position", steps.to_string())]).await,
            FocuserOrder::Stop => {
                able(self.halts, "halt")?;
                let stopped = self.session.put(wire, "halt", &[]).await;
                self.halts = !matches!(stopped, Err(Trouble::Unsupported(_)));
                stopped
            }
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected focuser.
pub type AlpacaFocuser = FocuserHandle<FocuserTalk>;

/// Connects to focuser `number` of the server.
pub fn connect_focuser(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaFocuser> {
    let (status_out, status) = unread(&*clock);
    let talk = FocuserTalk {
        session: Session::new("focuser", number, connector.clone()),
        poll,
        longest: 0,
        halts: true,
        status: status_out,
    };
    FocuserHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
