use super::{Talker, whole, words};
use crate::{
    interface::{DeviceError, FilterWheel, FilterWheelStatus, Identity, Pending, Status},
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

pub(crate) enum Command {
    Goto(usize),
    Stop,
}

pub(crate) struct Talk {
    talker: Talker,
    poll: Duration,
    filters: Vec<String>,
    status: watch::Sender<Reading<FilterWheelStatus>>,
}

impl Dialogue for Talk {
    type Command = Command;
    type Reply = ();

    fn describe(command: &Command) -> String {
        match command {
            Command::Goto(position) => format!("go to position {position}"),
            Command::Stop => "stop".into(),
        }
    }

    fn deadline(&self, _: &Command) -> Duration {
        Duration::from_secs(4)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        self.talker.identity(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let answer = self.talker.ask(wire, "GET STATUS").await?;
        let [position, moving] = words::<2>(&answer)?;
        let (position, moving): (usize, bool) = (whole(position)?, moving == "1");
        let filter = position
            .checked_sub(1)
            .and_then(|at| self.filters.get(at))
            .filter(|_| !moving)
            .cloned();
        self.status
            .send_replace(Reading::good(FilterWheelStatus { filter, moving }, clock.now()));
        Ok(if moving {
            Duration::from_millis(250)
        } else {
            self.poll * 10
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &Command) -> Result<(), Trouble> {
        match command {
            Command::Goto(position) => self.talker.ask(wire, &format!("DO GOTO {position}")).await.map(drop),
            Command::Stop => self.talker.ask(wire, "DO STOP").await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected filter wheel.
pub struct GrammarFilterWheel {
    link: Link<Talk>,
    filters: Vec<String>,
    status: Status<FilterWheelStatus>,
}

/// Connects; `filters` are the names in the order of the positions.
pub fn connect_filter_wheel(
    id: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    filters: Vec<String>,
) -> Rc<GrammarFilterWheel> {
    let (status_out, status) = watch::channel(Reading::none(NoData::NeverRead, clock.now()));
    let talk = Talk {
        talker: Talker::default(),
        poll,
        filters: filters.clone(),
        status: status_out,
    };
    let link = Link::open(id, connector, clock, Duration::from_secs(4), talk);
    Rc::new(GrammarFilterWheel { link, filters, status })
}

device!(GrammarFilterWheel, Command::Stop);

impl FilterWheel for GrammarFilterWheel {
    fn status(&self) -> Status<FilterWheelStatus> {
        self.status.clone()
    }
    fn filters(&self) -> &[String] {
        &self.filters
    }
    fn select(&self, filter: &str) -> Pending<'_, ()> {
        match self.filters.iter().position(|name| name == filter) {
            Some(at) => self.link.send(Command::Goto(at + 1)),
            None => Box::pin(std::future::ready(Err(DeviceError::Rejected {
                device: self.link.id.clone(),
                command: format!("select {filter}"),
                code: 0,
                message: "no such filter".into(),
            }))),
        }
    }
}
