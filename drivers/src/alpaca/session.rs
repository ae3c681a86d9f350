//! One device of an Alpaca server: questions, commands, and what their answers are worth.
//!
//! An answer is believed only if it carries the transaction number of its question. Servers leave the number out of error
//! replies, so a 0 is accepted there and nowhere else.

use super::http::{self, Reply};
use crate::{
    interface::Identity,
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use tokio::time::Instant;

/// Longest JSON answer that is no image.
const LARGEST_ANSWER: usize = 1 << 20;

/// A connection that has been silent for longer is not used again: servers close it at will (uvicorn after 5 s), and a
/// command must not meet that.
const IDLE: Duration = Duration::from_secs(2);

/// Which program asks; servers only log it.
const CLIENT_ID: u32 = 4371;

/// Error numbers of the ASCOM Alpaca API reference, section 2.8.
pub mod code {
    pub const NOT_IMPLEMENTED: i32 = 0x400;
    pub const INVALID_VALUE: i32 = 0x401;
    pub const VALUE_NOT_SET: i32 = 0x402;
    pub const NOT_CONNECTED: i32 = 0x407;
    pub const INVALID_WHILE_PARKED: i32 = 0x408;
    pub const INVALID_WHILE_SLAVED: i32 = 0x409;
    pub const INVALID_OPERATION: i32 = 0x40B;
    pub const ACTION_NOT_IMPLEMENTED: i32 = 0x40C;
    pub const OPERATION_CANCELLED: i32 = 0x40E;

    /// What a number means, for people.
    pub fn meaning(number: i32) -> &'static str {
        match number {
            NOT_IMPLEMENTED => "not implemented",
            INVALID_VALUE => "invalid value",
            VALUE_NOT_SET => "value not set",
            NOT_CONNECTED => "not connected",
            INVALID_WHILE_PARKED => "invalid while parked",
            INVALID_WHILE_SLAVED => "invalid while slaved",
            INVALID_OPERATION => "invalid operation",
            ACTION_NOT_IMPLEMENTED => "action not implemented",
            OPERATION_CANCELLED => "operation cancelled",
            0x500..=0xFFF => "driver error",
            _ => "error",
        }
    }
}

/// What every answer has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Envelope {
    #[serde(rename = "ClientTransactionID")]
    client: Option<u64>,
    error_number: Option<i64>,
    error_message: Option<String>,
    value: Option<Value>,
}

/// The refusal that an ASCOM error number is.
pub fn refusal(number: i32, message: &str) -> Trouble {
    match number {
        code::NOT_IMPLEMENTED | code::ACTION_NOT_IMPLEMENTED => Trouble::Unsupported(message.to_owned()),
        code::NOT_CONNECTED => Trouble::Absent(format!("not connected to its server: {message}")),
        _ => Trouble::Refused {
            code: number,
            message: format!("{}: {message}", code::meaning(number)),
        },
    }
}

/// The value of an answer to the question with number `asked`.
fn judge(reply: &Reply, asked: u32, needs_value: bool) -> Result<Option<Value>, Trouble> {
    if reply.status != 200 {
        let text = String::from_utf8_lossy(&reply.body);
        let message: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(Trouble::Refused {
            code: i32::from(reply.status),
            message: format!("HTTP {}: {message}", reply.status),
        });
    }
    let envelope: Envelope =
        serde_json::from_slice(&reply.body).map_err(|e| Trouble::Garbage(format!("answer is not JSON: {e}")))?;
    let number = envelope.error_number.unwrap_or(0);
    let ours = envelope.client == Some(u64::from(asked));
    let anonymous = number != 0 && envelope.client.unwrap_or(0) == 0;
    if !ours && !anonymous {
        let other = envelope.client.map_or("none".to_owned(), |id| id.to_string());
        return Err(Trouble::Garbage(format!(
            "answer to transaction {other} instead of {asked}"
        )));
    }
    if number != 0 {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        return Err(refusal(number, &envelope.error_message.unwrap_or_default()));
    }
    if needs_value && envelope.value.is_none() {
        return Err(Trouble::Garbage("an answer without its value".into()));
    }
    Ok(envelope.value)
}

/// A refusal of a read is as bad as garbage: it is not known how the device is.
fn unreadable(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Refused { code, message } => Trouble::Garbage(format!("reading refused: {message} ({code})")),
        other => other,
    }
}

pub struct Session {
    kind: &'static str,
    number: u32,
    connector: SharedConnector,
    host: String,
    transaction: u32,
    /// When the last whole answer came; without it the connection is not used again.
    sound: Option<Instant>,
    /// The device tells its whole state in one answer.
    tells_all: bool,
}

impl Session {
    /// `kind` as in the address of the device: `telescope`, `camera` ...
    pub fn new(kind: &'static str, number: u32, connector: SharedConnector) -> Self {
        let described = connector.describe();
        let host = described.strip_prefix("tcp ").unwrap_or("localhost").to_owned();
        Self {
            kind,
            number,
            connector,
            host,
            transaction: 0,
            sound: None,
            tells_all: false,
        }
    }

    fn next(&mut self) -> u32 {
        self.transaction = self.transaction.checked_add(1).unwrap_or(1);
        self.transaction
    }

    /// One question and its answer. Whatever goes wrong half-way, the connection is not used again.
    async fn exchange(&mut self, wire: &mut Wire, request: String, largest: usize) -> Result<Reply, Trouble> {
        let usable = self.sound.take().is_some_and(|at| at.elapsed() < IDLE);
        if !usable {
            let stream = self
                .connector
                .connect()
                .await
                .map_err(|e| Trouble::Gone(e.to_string()))?;
            *wire = Wire::new(stream);
        }
        wire.send(request.as_bytes()).await?;
        let reply = http::reply(wire, largest).await?;
        self.sound = reply.keeps.then(Instant::now);
        Ok(reply)
    }

    fn get_request(&mut self, member: &str, parameters: &[(&str, &str)], accept: &str) -> (u32, String) {
        let id = self.next();
        let mut query = String::new();
        for (name, value) in parameters {
            // Writing to a string cannot fail.
            let _ = write!(query, "{name}={}&", http::encoded(value));
        }
        let request = format!(
            "GET /api/v1/{}/{}/{member}?{query}ClientID={CLIENT_ID}&ClientTransactionID={id} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n",
            self.kind, self.number, self.host
        );
        (id, request)
    }

    /// Reads a property.
    pub async fn get(&mut self, wire: &mut Wire, member: &str) -> Result<Value, Trouble> {
        self.get_of(wire, member, &[]).await
    }

    pub async fn get_of(
        &mut self,
        wire: &mut Wire,
        member: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, Trouble> {
        let (id, request) = self.get_request(member, parameters, "application/json");
        let reply = self.exchange(wire, request, LARGEST_ANSWER).await?;
        let value = judge(&reply, id, true).map_err(unreadable)?;
        value.ok_or_else(|| Trouble::Garbage(format!("{member} without a value")))
    }

    pub async fn number(&mut self, wire: &mut Wire, member: &str) -> Result<f64, Trouble> {
        as_number(member, &self.get(wire, member).await?)
    }

    pub async fn whole(&mut self, wire: &mut Wire, member: &str) -> Result<i64, Trouble> {
        as_whole(member, &self.get(wire, member).await?)
    }

    pub async fn truth(&mut self, wire: &mut Wire, member: &str) -> Result<bool, Trouble> {
        as_truth(member, &self.get(wire, member).await?)
    }

    /// A capability: what a device does not know it cannot do.
    pub async fn can(&mut self, wire: &mut Wire, member: &str) -> Result<bool, Trouble> {
        match self.truth(wire, member).await {
            Err(Trouble::Unsupported(_)) => Ok(false),
            other => other,
        }
    }

    /// `None` where the device does not implement the property.
    pub async fn optional(&mut self, wire: &mut Wire, member: &str) -> Result<Option<f64>, Trouble> {
        match self.number(wire, member).await {
            Ok(value) => Ok(Some(value)),
            Err(Trouble::Unsupported(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The image of a finished exposure: media type, bytes, and the number of the question.
    pub async fn image(&mut self, wire: &mut Wire, largest: usize) -> Result<(Reply, u32), Trouble> {
        let accept = "application/imagebytes, application/json;q=0.5";
        let (id, request) = self.get_request("imagearray", &[], accept);
        Ok((self.exchange(wire, request, largest).await?, id))
    }

    /// Calls a method or sets a property.
    pub async fn put(&mut self, wire: &mut Wire, member: &str, parameters: &[(&str, String)]) -> Result<(), Trouble> {
        let id = self.next();
        let mut form = String::new();
        for (name, value) in parameters {
            let _ = write!(form, "{name}={}&", http::encoded(value));
        }
        let _ = write!(form, "ClientID={CLIENT_ID}&ClientTransactionID={id}");
        let request = format!(
            "PUT /api/v1/{}/{}/{member} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.kind,
            self.number,
            self.host,
            form.len()
        );
        let reply = self.exchange(wire, request, LARGEST_ANSWER).await?;
        judge(&reply, id, false).map(drop)
    }

    /// A new life: connects the device and asks who it is.
    pub async fn attach(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        // The stream of the new link is fresh.
        self.sound = Some(Instant::now());
        if !self.truth(wire, "connected").await? {
            self.put(wire, "connected", &[("Connected", "True".into())]).await?;
            if !self.truth(wire, "connected").await? {
                return Err(Trouble::Absent("its server does not connect to it".into()));
            }
        }
        let name = text(&self.get(wire, "name").await?);
        let version = match self.get(wire, "driverversion").await {
            Ok(version) => text(&version),
            Err(Trouble::Unsupported(_)) => "unknown".into(),
            Err(other) => return Err(other),
        };
        // One answer with the whole state came with the interfaces of ASCOM Platform 7.
        self.tells_all = match self.get(wire, "devicestate").await {
            Ok(Value::Array(_)) => true,
            Ok(_) | Err(Trouble::Unsupported(_) | Trouble::Garbage(_)) => false,
            Err(other) => return Err(other),
        };
        Ok(Identity { model: name, version })
    }

    /// The properties in `members`, in one answer where the device can; the others one by one. What it does not implement
    /// is missing.
    pub async fn state(&mut self, wire: &mut Wire, members: &[&str]) -> Result<BTreeMap<String, Value>, Trouble> {
        let mut state = BTreeMap::new();
        if self.tells_all {
            let told = self.get(wire, "devicestate").await?;
            for entry in told.as_array().into_iter().flatten() {
                if let (Some(name), Some(value)) = (entry["Name"].as_str(), entry.get("Value"))
                    && !value.is_null()
                {
                    state.insert(name.to_ascii_lowercase(), value.clone());
                }
            }
        }
        for member in members {
            if !state.contains_key(*member) {
                match self.get(wire, member).await {
                    Ok(value) => drop(state.insert((*member).to_owned(), value)),
                    Err(Trouble::Unsupported(_)) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(state)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

pub fn as_number(member: &str, value: &Value) -> Result<f64, Trouble> {
    let number = value.as_f64().filter(|number| number.is_finite());
    number.ok_or_else(|| Trouble::Garbage(format!("{member} is {value}, not a number")))
}

pub fn as_whole(member: &str, value: &Value) -> Result<i64, Trouble> {
    value
        .as_i64()
        .ok_or_else(|| Trouble::Garbage(format!("{member} is {value}, not a whole number")))
}

pub fn as_truth(member: &str, value: &Value) -> Result<bool, Trouble> {
    value
        .as_bool()
        .ok_or_else(|| Trouble::Garbage(format!("{member} is {value}, neither true nor false")))
}

/// A property that this driver cannot do without.
pub fn needed<'a>(state: &'a BTreeMap<String, Value>, member: &str) -> Result<&'a Value, Trouble> {
    state
        .get(member)
        .ok_or_else(|| Trouble::Garbage(format!("the device has no {member}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            media: "application/json".into(),
            body: body.into(),
            keeps: true,
        }
    }

    fn value(body: &str) -> Result<Option<Value>, Trouble> {
        judge(&reply(200, body), 5, true)
    }

    #[test]
    fn an_answer_counts_only_with_the_number_of_its_question() {
        let whole =
            r#"{"ClientTransactionID":5,"ServerTransactionID":1,"ErrorNumber":0,"ErrorMessage":"","Value":true}"#;
        assert_eq!(value(whole), Ok(Some(Value::Bool(true))));
        // Some servers say nothing of errors when there is none.
        assert_eq!(
            value(r#"{"ClientTransactionID":5,"Value":1.5}"#),
            Ok(Some(Value::from(1.5)))
        );
        for other in [
            r#"{"ClientTransactionID":4,"ErrorNumber":0,"Value":true}"#,
            r#"{"ClientTransactionID":0,"ErrorNumber":0,"Value":true}"#,
            r#"{"ErrorNumber":0,"Value":true}"#,
            r#"{"ClientTransactionID":4,"ErrorNumber":1025,"ErrorMessage":"x"}"#,
            r#"{"ClientTransactionID":5,"ErrorNumber":0}"#,
            r#"{"ClientTransactionID":5,"ErrorNumber":0,"Value":null}"#,
            r#"{"ClientTransactionID":"5","Value":true}"#,
            "true",
            "<html>",
            "",
        ] {
            assert!(matches!(value(other), Err(Trouble::Garbage(_))), "{other}");
        }
    }

    #[test]
    fn error_numbers_are_told_apart() {
        let error = |number: i32, id: u32| {
            value(&format!(
                r#"{{"ClientTransactionID":{id},"ErrorNumber":{number},"ErrorMessage":"why"}}"#
            ))
            .unwrap_err()
        };
        assert_eq!(error(0x400, 5), Trouble::Unsupported("why".into()));
        assert_eq!(error(0x40C, 0), Trouble::Unsupported("why".into()));
        assert!(matches!(error(0x407, 5), Trouble::Absent(_)));
        for (number, meaning) in [
            (0x401, "invalid value"),
            (0x402, "value not set"),
            (0x408, "invalid while parked"),
            (0x409, "invalid while slaved"),
            (0x40B, "invalid operation"),
            (0x40E, "operation cancelled"),
            (0x500, "driver error"),
            (0xFFF, "driver error"),
            (3, "error"),
        ] {
            let message = format!("{meaning}: why");
            assert_eq!(error(number, 0), Trouble::Refused { code: number, message });
        }
        let refused = judge(&reply(400, "no such device"), 5, true).unwrap_err();
        assert_eq!(
            refused,
            Trouble::Refused {
                code: 400,
                message: "HTTP 400: no such device".into()
            }
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300), status in 100u16..600) {
            drop(judge(&Reply { status, media: String::new(), body, keeps: false }, 5, true));
        }
    }
}
