use super::{Talker, number, words};
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
    talker: Talker,
    poll: Duration,
    status: watch::Sender<Reading<RotatorStatus>>,
}

impl Dialogue for Talk {
    type Command = RotatorOrder;
    type Reply = ();

    fn deadline(&self, _: &RotatorOrder) -> Duration {
        Duration::from_secs(4)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        self.talker.identity(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let answer = self.talker.ask(wire, "GET STATUS").await?;
        let [position, mechanical, moving] = words::<3>(&answer)?;
        let moving = moving == "1";
        let status = RotatorStatus {
            position_deg: angle(position)?,
            mechanical_deg: Some(angle(mechanical)?),
            moving,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &RotatorOrder) -> Result<(), Trouble> {
        match command {
            RotatorOrder::TurnTo(degrees) => self.talker.ask(wire, &format!("DO GOTO {degrees}")).await.map(drop),
            RotatorOrder::Stop => self.talker.ask(wire, "DO STOP").await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

fn angle(word: &str) -> Result<f64, Trouble> {
    RotatorStatus::angle(number(word)?).ok_or_else(|| Trouble::Garbage(format!("angle {word}")))
}

/// A connected rotator.
pub type GrammarRotator = RotatorHandle<Talk>;

/// Connects; `poll` is the pause between two readings at rest.
pub fn connect_rotator(
    id: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<GrammarRotator> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        talker: Talker::default(),
        poll,
        status: status_out,
    };
    RotatorHandle::new(Link::open(id, connector, clock, Duration::from_secs(4), talk), status)
}
