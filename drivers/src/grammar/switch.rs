use super::{Talker, number, whole};
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
    talker: Talker,
    poll: Duration,
    /// Names in the order of the device's numbers, with what does not change.
    known: Vec<(String, SwitchLine)>,
    lines: watch::Sender<Reading<SwitchLines>>,
}

impl Talk {
    /// What does not change of one line: its name, its bounds, and whether it can be set.
    async fn describe(&mut self, wire: &mut Wire, at: usize) -> Result<(String, SwitchLine), Trouble> {
        let answer = self.talker.ask(wire, &format!("GET LINE {}", at + 1)).await?;
        // The name comes last, for it may have blanks.
        let fields: Vec<&str> = answer.splitn(5, ' ').collect();
        let [writable, least, most, step, name] = fields[..] else {
            return Err(Trouble::Garbage(format!("line {answer:?}")));
        };
        let described = SwitchLine {
            value: 0.0,
            writable: writable == "1",
            least: number(least)?,
            most: number(most)?,
            step: number(step)?,
        };
        Ok((name.trim().to_owned(), described))
    }
}

impl Dialogue for Talk {
    type Command = SwitchOrder;
    type Reply = ();

    fn deadline(&self, _: &SwitchOrder) -> Duration {
        Duration::from_secs(4)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let identity = self.talker.identity(wire).await?;
        let count: usize = whole(&self.talker.ask(wire, "GET LINES").await?)?;
        if count > MOST_LINES {
            return Err(Trouble::Absent(format!("it says that it has {count} lines")));
        }
        self.known.clear();
        for at in 0..count {
            let (name, described) = self.describe(wire, at).await?;
            let name = SwitchLine::unlike(name, at + 1, self.known.iter().map(|(other, _)| other.as_str()));
            self.known.push((name, described));
        }
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let answer = self.talker.ask(wire, "GET STATUS").await?;
        let values: Vec<f64> = answer.split_ascii_whitespace().map(number).collect::<Result<_, _>>()?;
        if values.len() != self.known.len() {
            return Err(Trouble::Garbage(format!(
                "{} values of {} lines",
                values.len(),
                self.known.len()
            )));
        }
        let named = self.known.iter().zip(values);
        let lines = named.map(|((name, described), value)| (name.clone(), SwitchLine { value, ..*described }));
        self.lines.send_replace(Reading::good(lines.collect(), clock.now()));
        Ok(self.poll)
    }

    async fn obey(&mut self, wire: &mut Wire, command: &SwitchOrder) -> Result<(), Trouble> {
        match command {
            SwitchOrder::Set { line, value } => {
                let Some(at) = self.known.iter().position(|(name, _)| name == line) else {
                    return Err(Trouble::Refused {
                        code: 2,
                        message: format!("there is no line {line}"),
                    });
                };
                let words = format!("SET LINE {} {value}", at + 1);
                self.talker.ask(wire, &words).await.map(drop)
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
pub type GrammarSwitch = SwitchHandle<Talk>;

/// Connects; `poll` is the pause between two readings.
pub fn connect_switch(id: &str, connector: SharedConnector, clock: Rc<dyn Clock>, poll: Duration) -> Rc<GrammarSwitch> {
    let (lines_out, lines) = unread(&*clock);
    let talk = Talk {
        talker: Talker::default(),
        poll,
        known: Vec::new(),
        lines: lines_out,
    };
    SwitchHandle::new(Link::open(id, connector, clock, Duration::from_secs(4), talk), lines)
}
