//! Switches and power: the numbers and switches of a device as lines.
//!
//! INDI has no interface for them, only properties, and every maker of a power box names them as it likes. Without a
//! choice every number and switch of the device is a line called `PROPERTY.ELEMENT`, but for what drivers keep for
//! themselves ([`HOUSEKEEPING`]) and what makes the same box a device of another kind as well ([`OF_OTHERS`]). With a
//! choice the lines are those, under the names that were given to them.
//!
//! | property | line | set to 1 | set to 0 |
//! |---|---|---|---|
//! | numbers | the value within its bounds | the value | the value |
//! | switches, any of many | 0 or 1 | on | off |
//! | switches, at most one | 0 or 1, often a button | on, the others off | off |
//! | switches, one of many | 0 or 1 | on, the others off | of two the other one on; of more refused |
//!
//! Of two switches that say yes and no to the same thing (`..._ON` and `..._OFF`), the yes is the line.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::{Content, Rule},
    session::{Kind, PATIENCE, Property, Session},
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
use std::{collections::BTreeMap, fmt, rc::Rc, str::FromStr, time::Duration};
use tokio::{sync::watch, time::timeout};

/// Groups of properties in which INDI's own library keeps what every driver has.
const HOUSEKEEPING: [&str; 4] = ["Options", "General Info", "Connection", "Logging"];

/// What the standard properties of other kinds of devices begin with: a power box often is a focuser and a station, too.
const OF_OTHERS: [&str; 11] = [
    "ABS_FOCUS_",
    "REL_FOCUS_",
    "FOCUS",
    "WEATHER_",
    "FILTER_",
    "CCD_",
    "TELESCOPE_",
    "DOME_",
    "ABS_DOME_",
    "ABS_ROTATOR_",
    "ROTATOR_",
];

/// One element of one property.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub property: String,
    pub element: String,
}

impl FromStr for Spot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some((property, element)) if !property.is_empty() && !element.is_empty() => Ok(Self {
                property: property.to_owned(),
                element: element.to_owned(),
            }),
            _ => Err(format!("{text:?} is not PROPERTY.ELEMENT")),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.property, self.element)
    }
}

/// How it is spoken to.
pub struct Talk {
    session: Session,
    poll: Duration,
    /// The lines that were chosen, by their names; none chosen: all there are.
    chosen: BTreeMap<String, Spot>,
    lines: watch::Sender<Reading<SwitchLines>>,
}

/// The line that one element is; `None` for what is no number now.
fn line(property: &Property, element: &str) -> Option<SwitchLine> {
    let nature = property.nature.as_ref()?;
    Some(match &nature.content {
        Content::Numbers(bounds) => {
            let [least, most, step] = *bounds.get(element)?;
            SwitchLine {
                value: property.number(element)?,
                writable: nature.writable,
                least,
                most,
                step,
            }
        }
        Content::Switches(_) => {
            property.elements.get(element)?;
            SwitchLine {
                value: f64::from(u8::from(property.on(element))),
                writable: nature.writable,
                least: 0.0,
                most: 1.0,
                step: 1.0,
            }
        }
    })
}

fn says_no(element: &str) -> bool {
    ["OFF", "DISABLE", "DISABLED"].iter().any(|no| element.ends_with(no))
}

/// The elements of a property that are lines when nobody has chosen.
fn offered(property: &Property) -> Vec<&String> {
    let elements: Vec<&String> = property.elements.keys().collect();
    let one_of_many = |p: &Property| {
        let nature = p.nature.as_ref();
        nature.is_some_and(|nature| nature.content == Content::Switches(Rule::OneOfMany))
    };
    match elements[..] {
        [yes, no] if one_of_many(property) && says_no(no) != says_no(yes) => {
            vec![if says_no(no) { yes } else { no }]
        }
        _ => elements,
    }
}

impl Talk {
    /// Every line with where it is.
    fn spots(&self) -> BTreeMap<String, Spot> {
        if !self.chosen.is_empty() {
            return self.chosen.clone();
        }
        let kept = |name: &str, property: &Property| {
            let nature = property.nature.as_ref();
            name != "CONNECTION"
                && !OF_OTHERS.iter().any(|beginning| name.starts_with(beginning))
                && nature.is_some_and(|nature| !HOUSEKEEPING.contains(&nature.group.as_str()))
        };
        let all = self.session.all().filter(|(name, property)| kept(name, property));
        let spots = all.flat_map(|(name, property)| {
            offered(property).into_iter().map(|element| Spot {
                property: name.clone(),
                element: element.clone(),
            })
        });
        spots.map(|spot| (spot.to_string(), spot)).collect()
    }

    fn line_at(&self, spot: &Spot) -> Option<SwitchLine> {
        line(self.session.get(&spot.property)?, &spot.element)
    }

    /// A chosen line that the device does not have (yet).
    fn missing(&self) -> Option<&Spot> {
        let has = |spot: &Spot| {
            let property = self.session.get(&spot.property);
            property.is_some_and(|p| p.nature.is_some() && p.elements.contains_key(&spot.element))
        };
        self.chosen.values().find(|spot| !has(spot))
    }

    fn all_there(&self) -> Result<(), Trouble> {
        match self.missing() {
            Some(spot) => Err(Trouble::Absent(format!(
                "{} has no number or switch {spot}",
                self.session.device
            ))),
            None => Ok(()),
        }
    }

    async fn set(&mut self, wire: &mut Wire, line: &str, value: f64) -> Result<(), Trouble> {
        let refused = |message: String| Trouble::Refused { code: 0, message };
        let spots = self.spots();
        let Some(spot) = spots.get(line) else {
            return Err(refused(format!("there is no line {line}")));
        };
        let property = self.session.need(&spot.property)?;
        let Some(nature) = &property.nature else {
            return Err(refused(format!("there is no line {line}")));
        };
        let mut values = property.elements.clone();
        let &Content::Switches(rule) = &nature.content else {
            values.insert(spot.element.clone(), value.to_string());
            return self.tell(wire, Kind::Number, spot, &values, |_| true).await;
        };
        let on = match value {
            1.0 => true,
            0.0 => false,
            _ => return Err(refused(format!("{line} is on (1) or off (0), not {value}"))),
        };
        if rule == Rule::OneOfMany && !on {
            if !property.on(&spot.element) {
                return Ok(());
            }
            if values.len() != 2 {
                let message = format!("one of {} is always on: switch another one on", spot.property);
                return Err(refused(message));
            }
        }
        for (element, word) in &mut values {
            let is_it = *element == spot.element;
            let lit = match rule {
                Rule::AnyOfMany if !is_it => word == "On",
                // Of two, the other one.
                Rule::OneOfMany if !on => !is_it,
                _ => is_it && on,
            };
            *word = if lit { "On" } else { "Off" }.to_owned();
        }
        // A button may have sprung back before it is told that it was pressed.
        let springs = rule == Rule::AtMostOne;
        let element = spot.element.clone();
        let done = move |p: &Property| springs || p.on(&element) == on;
        self.tell(wire, Kind::Switch, spot, &values, done).await
    }

    async fn tell(
        &mut self,
        wire: &mut Wire,
        kind: Kind,
        spot: &Spot,
        values: &BTreeMap<String, String>,
        done: impl Fn(&Property) -> bool,
    ) -> Result<(), Trouble> {
        let values: Vec<(&str, &str)> = values.iter().map(|(e, v)| (e.as_str(), v.as_str())).collect();
        self.session.command(wire, kind, &spot.property, &values, done).await
    }
}

impl Dialogue for Talk {
    type Command = SwitchOrder;
    type Reply = ();

    fn deadline(&self, _: &SwitchOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self.session.attach(wire, &[]).await?;
        // Its answer comes after everything that a device tells when it is connected.
        self.session.refresh(wire, &["CONNECTION"]).await?;
        if self.missing().is_some() {
            let chosen: Vec<Spot> = self.chosen.values().cloned().collect();
            let there = |s: &Session| chosen.iter().all(|spot| s.get(&spot.property).is_some());
            if let Ok(heard) = timeout(PATIENCE, self.session.until(wire, there)).await {
                heard?;
            }
            self.all_there()?;
        }
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let spots = self.spots();
        let mut asked: Vec<&str> = spots.values().map(|spot| spot.property.as_str()).collect();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            asked.push("CONNECTION");
        }
        if spots.len() > MOST_LINES {
            return Err(Trouble::Absent(format!(
                "{} has {} numbers and switches, more than {MOST_LINES}: choose among them with indi_lines",
                self.session.device,
                spots.len()
            )));
        }
        self.session.refresh(wire, &asked).await?;
        self.all_there()?;
        let spots = self.spots();
        let told = spots
            .iter()
            .filter_map(|(name, spot)| Some((name.clone(), self.line_at(spot)?)));
        self.lines.send_replace(Reading::good(told.collect(), clock.now()));
        Ok(self.poll)
    }

    async fn obey(&mut self, wire: &mut Wire, command: &SwitchOrder) -> Result<(), Trouble> {
        match command {
            SwitchOrder::Set { line, value } => self.set(wire, line, *value).await,
            // See the trait: a switch has no rest.
            SwitchOrder::Stop => Ok(()),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.lines.send_replace(Reading::none(reason, at));
    }
}

/// A connected bank of switches.
pub type IndiSwitch = SwitchHandle<Talk>;

/// Connects to the INDI device `device`; `chosen` are its lines by name, all of them when it is empty.
pub fn connect_switch(
    id: &str,
    device: &str,
    chosen: BTreeMap<String, Spot>,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiSwitch> {
    let (lines_out, lines) = unread(&*clock);
    let talk = Talk {
        session: Session::new(device),
        poll,
        chosen,
        lines: lines_out,
    };
    SwitchHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), lines)
}
