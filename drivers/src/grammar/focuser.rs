use super::{Talker, number, whole, words};
use crate::{
    handle::{FocuserHandle, FocuserOrder},
    interface::{FocuserStatus, Identity},
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
    status: watch::Sender<Reading<FocuserStatus>>,
}

impl Dialogue for Talk {
    type Command = FocuserOrder;
    type Reply = ();

    fn deadline(&self, _: &FocuserOrder) -> Duration {
        Duration::from_secs(4)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        self.talker.identity(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let answer = self.talker.ask(wire, "GET STATUS").await?;
        let [steps, moving, temperature] = words::<3>(&answer)?;
        let moving = moving == "1";
        let status = FocuserStatus {
            position_steps: whole(steps)?,
            moving,
            temperature_c: number(temperature)?,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(if moving {
            Duration::from_millis(500)
        } else {
            self.poll * 10
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &FocuserOrder) -> Result<(), Trouble> {
        match command {
            FocuserOrder::MoveTo(steps) => self.talker.ask(wire, &format!("DO GOTO {steps}")).await.map(drop),
            FocuserOrder::Stop => self.talker.ask(wire, "DO STOP").await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected focuser.
pub type GrammarFocuser = FocuserHandle<Talk>;

/// Connects; `poll` is a tenth of the pause between two readings at rest.
pub fn connect_focuser(
    id: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<GrammarFocuser> {
    let (status_out, status) = unread(&*clock);
    let link = Link::open(
        id,
        connector,
        clock,
        Duration::from_secs(4),
        Talk {
            talker: Talker::default(),
            poll,
            status: status_out,
        },
    );
    FocuserHandle::new(link, status)
}
