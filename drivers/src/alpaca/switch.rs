//! Switches and power (`ISwitch`).

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    session::{Session, code},
};
use crate::{
    handle::{SwitchHandle, SwitchOrder},
    interface::{Identity, MOST_LINES, SwitchLine, SwitchLines},
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
    session: Session,
    poll: Duration,
    /// Names in the order of the server's numbers, with what does not change.
    known: Vec<(String, SwitchLine)>,
    lines: watch::Sender<Reading<SwitchLines>>,
}

impl Talk {
    async fn of(&mut self, wire: &mut Wire, member: &str, line: usize) -> Result<f64, Trouble> {
        let number = line.to_string();
        let told = self.session.get_of(wire, member, &[("Id", &number)]).await?;
        super::session::as_number(member, &told)
    }

    /// What does not change of one line: its name, its bounds, and whether it can be set.
    async fn describe(&mut self, wire: &mut Wire, line: usize) -> Result<(String, SwitchLine), Trouble> {
        let number = line.to_string();
        let name = self
            .session
            .get_of(wire, "getswitchname", &[("Id", &number)])
            .await?
            .as_str()
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map_or_else(|| number.clone(), str::to_owned);
        let writable = self.session.get_of(wire, "canwrite", &[("Id", &number)]).await?;
        let described = SwitchLine {
            value: 0.0,
            writable: super::session::as_truth("canwrite", &writable)?,
            least: self.of(wire, "minswitchvalue", line).await?,
            most: self.of(wire, "maxswitchvalue", line).await?,
            step: self.of(wire, "switchstep", line).await?,
        };
        Ok((name, described))
    }
}

impl Dialogue for Talk {
    type Command = SwitchOrder;
    type Reply = ();

    fn deadline(&self, _: &SwitchOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let identity = self.session.attach(wire).await?;
        let count = self.session.whole(wire, "maxswitch").await?;
        let absent = || Trouble::Absent(format!("it says that it has {count} lines"));
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= MOST_LINES)
            .ok_or_else(absent)?;
        self.known.clear();
        for line in 0..count {
            let (name, described) = self.describe(wire, line).await?;
            let name = SwitchLine::unlike(name, line, self.known.iter().map(|(other, _)| other.as_str()));
            self.known.push((name, described));
        }
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let mut lines = SwitchLines::new();
        for line in 0..self.known.len() {
            let value = self.of(wire, "getswitchvalue", line).await?;
            let (name, described) = &self.known[line];
            lines.insert(name.clone(), SwitchLine { value, ..*described });
        }
        self.lines.send_replace(Reading::good(lines, clock.now()));
        Ok(self.poll)
    }

    async fn obey(&mut self, wire: &mut Wire, command: &SwitchOrder) -> Result<(), Trouble> {
        match command {
            SwitchOrder::Set { line, value } => {
                let Some(number) = self.known.iter().position(|(name, _)| name == line) else {
                    return Err(Trouble::Refused {
                        code: code::INVALID_VALUE,
                        message: format!("there is no line {line}"),
                    });
                };
                let set = [("Id", number.to_string()), ("Value", value.to_string())];
                self.session.put(wire, "setswitchvalue", &set).await
            }
            // See the trait: a switch has no rest.
            SwitchOrder::Stop => Ok(()),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.lines.send_replace(Reading::none(reason, at));
    }
}

/// A connected bank of switches.
pub type AlpacaSwitch = SwitchHandle<Talk>;

/// Connects to switch device `number` of the server.
pub fn connect_switch(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaSwitch> {
    let (lines_out, lines) = unread(&*clock);
    let talk = Talk {
        session: Session::new("switch", number, connector.clone()),
        poll,
        known: Vec::new(),
        lines: lines_out,
    };
    SwitchHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), lines)
}
