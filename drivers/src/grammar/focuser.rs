use super::{Talker, number, whole, words};
use crate::{
    interface::{Focuser, FocuserStatus, Identity, Pending, Status},
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
    Goto(i64),
    Stop,
}

pub(crate) struct Talk {
    talker: Talker,
    poll: Duration,
    status: watch::Sender<Reading<FocuserStatus>>,
}

impl Dialogue for Talk {
    type Command = Command;
    type Reply = ();

    fn describe(command: &Command) -> String {
        match command {
            Command::Goto(steps) => format!("go to {steps}"),
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

    async fn obey(&mut self, wire: &mut Wire, command: &Command) -> Result<(), Trouble> {
        match command {
            Command::Goto(steps) => self.talker.ask(wire, &format!("DO GOTO {steps}")).await.map(drop),
            Command::Stop => self.talker.ask(wire, "DO STOP").await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected focuser.
pub struct GrammarFocuser {
    link: Link<Talk>,
    status: Status<FocuserStatus>,
}

/// Connects; `poll` is a tenth of the pause between two readings at rest.
pub fn connect_focuser(
    id: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<GrammarFocuser> {
    let (status_out, status) = watch::channel(Reading::none(NoData::NeverRead, clock.now()));
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
    Rc::new(GrammarFocuser { link, status })
}

device!(GrammarFocuser, Command::Stop);

impl Focuser for GrammarFocuser {
    fn status(&self) -> Status<FocuserStatus> {
        self.status.clone()
    }
    fn move_to(&self, position_steps: i64) -> Pending<'_, ()> {
        self.link.send(Command::Goto(position_steps))
    }
}
