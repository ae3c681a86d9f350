use super::{Talker, whole, words};
use crate::{
    handle::{WheelHandle, WheelOrder},
    interface::{FilterWheelStatus, Identity},
    link::{Dialogue, Link, unread},
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
    talker: Talker,
    poll: Duration,
    filters: Vec<String>,
    status: watch::Sender<Reading<FilterWheelStatus>>,
}

impl Dialogue for Talk {
    type Command = WheelOrder;
    type Reply = ();

    fn deadline(&self, _: &WheelOrder) -> Duration {
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

    async fn obey(&mut self, wire: &mut Wire, command: &WheelOrder) -> Result<(), Trouble> {
        match command {
            WheelOrder::Goto(position) => self
                .talker
                .ask(wire, &format!("DO GOTO {}", position + 1))
                .await
                .map(drop),
            WheelOrder::Stop => self.talker.ask(wire, "DO STOP").await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected filter wheel.
pub type GrammarFilterWheel = WheelHandle<Talk>;

/// Connects; `filters` are the names in the order of the positions.
pub fn connect_filter_wheel(
    id: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    filters: Vec<String>,
) -> Rc<GrammarFilterWheel> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        talker: Talker::default(),
        poll,
        filters: filters.clone(),
        status: status_out,
    };
    let link = Link::open(id, connector, clock, Duration::from_secs(4), talk);
    WheelHandle::new(link, filters, status)
}
