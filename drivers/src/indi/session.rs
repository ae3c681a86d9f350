//! One device's properties as its driver last told them.

use super::message::{self, Blob, Message, Nature, State, escape};
use crate::wire::{Trouble, Wire};
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The largest image that is taken, as base64.
const LARGEST_ELEMENT: usize = 360 << 20;

/// How long a driver may take to react to a new value.
pub const PATIENCE: Duration = Duration::from_millis(2500);

#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub state: State,
    pub elements: BTreeMap<String, String>,
    /// Of numbers and switches that have been defined.
    pub nature: Option<Nature>,
    /// When the driver last told a value of its own accord, and not because somebody asked.
    pub set_at: Option<Instant>,
}

impl Property {
    pub fn number(&self, element: &str) -> Option<f64> {
        self.elements
            .get(element)?
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }

    pub fn on(&self, element: &str) -> bool {
        self.elements.get(element).is_some_and(|value| value == "On")
    }
}

/// What one element told.
enum Heard {
    Property { name: String, definition: bool },
    Image,
    Nothing,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Number,
    Switch,
    Text,
}

pub struct Session {
    pub device: String,
    properties: BTreeMap<String, Property>,
    /// The latest image with the instant of its arrival.
    pub image: Option<(Blob, Instant)>,
    /// The driver's last remark, which is where it says why it refuses.
    remark: Option<String>,
    attached: bool,
}

impl Session {
    pub fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            properties: BTreeMap::new(),
            image: None,
            remark: None,
            attached: false,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Property> {
        self.properties.get(name)
    }

    /// Everything that has been told, by name.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Property)> {
        self.properties.iter()
    }

    /// The property, or garbage: the driver is not what it was taken for.
    pub fn need(&self, name: &str) -> Result<&Property, Trouble> {
        self.get(name)
            .ok_or_else(|| Trouble::Garbage(format!("{} has no property {name}", self.device)))
    }

    pub fn value(&self, name: &str, element: &str) -> Result<f64, Trouble> {
        let property = self.need(name)?;
        property
            .number(element)
            .ok_or_else(|| Trouble::Garbage(format!("{name}.{element} is not a number")))
    }

    async fn hear(&mut self, wire: &mut Wire) -> Result<Heard, Trouble> {
        match message::hear(wire, LARGEST_ELEMENT).await? {
            Message::Vector(vector) if vector.device == self.device => {
                if let Some(remark) = vector.message {
                    self.remark = Some(remark);
                }
                let property = self.properties.entry(vector.name.clone()).or_insert_with(|| Property {
                    state: State::Idle,
                    elements: BTreeMap::new(),
                    nature: None,
                    set_at: None,
                });
                if vector.nature.is_some() {
                    property.nature = vector.nature;
                }
                if !vector.definition {
                    property.set_at = Some(Instant::now());
                }
                if let Some(state) = vector.state {
                    property.state = state;
                }
                property.elements.extend(vector.elements);
                if self.attached && vector.name == "CONNECTION" && !property.on("CONNECT") {
                    return Err(self.lost("its driver is disconnected from it"));
                }
                Ok(Heard::Property {
                    name: vector.name,
                    definition: vector.definition,
                })
            }
            Message::Blob(blob) if blob.device == self.device => {
                self.image = Some((blob, Instant::now()));
                Ok(Heard::Image)
            }
            Message::Deleted { device, name } if device == self.device => {
                match name {
                    Some(name) if name != "CONNECTION" => drop(self.properties.remove(&name)),
                    _ if self.attached => return Err(self.lost("its driver has gone")),
                    _ => self.properties.clear(),
                }
                Ok(Heard::Nothing)
            }
            Message::Note { device, text } if device == self.device => {
                self.remark = Some(text);
                Ok(Heard::Nothing)
            }
            _ => Ok(Heard::Nothing),
        }
    }

    fn lost(&mut self, cause: &str) -> Trouble {
        self.attached = false;
        self.properties.clear();
        Trouble::Gone(format!("{}: {cause}", self.device))
    }

    /// Listens until `enough`; the caller bounds the time.
    pub async fn until(&mut self, wire: &mut Wire, enough: impl Fn(&Self) -> bool) -> Result<(), Trouble> {
        while !enough(self) {
            self.hear(wire).await?;
        }
        Ok(())
    }

    /// A new life: asks who is there, connects the device and waits for the properties that are needed.
    pub async fn attach(&mut self, wire: &mut Wire, needed: &[&str]) -> Result<(String, String), Trouble> {
        (self.attached, self.image) = (false, None);
        self.properties.clear();
        wire.hears_news();
        // Without its version this line makes every driver of the server exit.
        let hello = format!("<getProperties version=\"1.7\" device=\"{}\"/>\n", escape(&self.device));
        wire.send(hello.as_bytes()).await?;
        self.until(wire, |s| s.get("CONNECTION").is_some()).await?;
        if !self.need("CONNECTION")?.on("CONNECT") {
            self.send(wire, Kind::Switch, "CONNECTION", &[("CONNECT", "On")])
                .await?;
            self.until(wire, |s| {
                s.get("CONNECTION")
                    .is_some_and(|p| p.on("CONNECT") && p.state != State::Busy)
            })
            .await?;
        }
        self.until(wire, |s| needed.iter().all(|name| s.get(name).is_some()))
            .await?;
        self.attached = true;
        let told = |element: &str| {
            let info = self.get("DRIVER_INFO").and_then(|p| p.elements.get(element));
            info.cloned().unwrap_or_else(|| "unknown".into())
        };
        Ok((
            format!("{} ({})", self.device, told("DRIVER_NAME")),
            told("DRIVER_VERSION"),
        ))
    }

    /// Sends new values; always the full vector, because drivers invent what is left out.
    pub async fn send(&self, wire: &mut Wire, kind: Kind, name: &str, values: &[(&str, &str)]) -> Result<(), Trouble> {
        let kind = match kind {
            Kind::Number => "Number",
            Kind::Switch => "Switch",
            Kind::Text => "Text",
        };
        let mut xml = format!("<new{kind}Vector device=\"{}\" name=\"{name}\">", escape(&self.device));
        for (element, value) in values {
            // Writing to a string cannot fail.
            let _ = write!(
                xml,
                "<one{kind} name=\"{}\">{}</one{kind}>",
                escape(element),
                escape(value)
            );
        }
        let _ = writeln!(xml, "</new{kind}Vector>");
        wire.send(xml.as_bytes()).await
    }

    /// Asks the driver itself for these properties and takes in all that arrives before their answers.
    pub async fn refresh(&mut self, wire: &mut Wire, names: &[&str]) -> Result<(), Trouble> {
        for name in names {
            let ask = format!(
                "<getProperties version=\"1.7\" device=\"{}\" name=\"{name}\"/>\n",
                escape(&self.device)
            );
            wire.send(ask.as_bytes()).await?;
        }
        let mut waiting: Vec<&str> = names.to_vec();
        while !waiting.is_empty() {
            if let Heard::Property { name, definition: true } = self.hear(wire).await? {
                waiting.retain(|awaited| *awaited != name);
            }
        }
        Ok(())
    }

    /// Sends new values and waits for the driver's reaction: `accepted` sees the property after each set of it.
    ///
    /// Alert and silence of a driver that lives are refusals, with the driver's last remark.
    pub async fn command(
        &mut self,
        wire: &mut Wire,
        kind: Kind,
        name: &str,
        values: &[(&str, &str)],
        accepted: impl Fn(&Property) -> bool,
    ) -> Result<(), Trouble> {
        self.need(name)?;
        self.remark = None;
        self.send(wire, kind, name, values).await?;
        let until = Instant::now() + PATIENCE;
        loop {
            match timeout_at(until, self.hear(wire)).await {
                Ok(heard) => match heard? {
                    Heard::Property {
                        name: set,
                        definition: false,
                    } if set == name => {
                        let property = self.need(name)?;
                        if property.state == State::Alert {
                            return Err(self.refusal(name, "alert"));
                        }
                        if accepted(property) {
                            return Ok(());
                        }
                    }
                    Heard::Property { .. } | Heard::Image | Heard::Nothing => {}
                },
                Err(_) => {
                    // The question tells a refusal from a driver that hangs: that one fails the command's deadline.
                    self.refresh(wire, &[name]).await?;
                    return match self.get(name) {
                        Some(property) if property.state != State::Alert && accepted(property) => Ok(()),
                        _ => Err(self.refusal(name, "no reaction")),
                    };
                }
            }
        }
    }

    fn refusal(&mut self, name: &str, how: &str) -> Trouble {
        let remark = self.remark.take().unwrap_or_else(|| "no reason given".into());
        Trouble::Refused {
            code: 0,
            message: format!("{name}: {how}: {remark}"),
        }
    }
}
