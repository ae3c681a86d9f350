//! The link between sites: what leaves the outbox, what comes in, and how both sides know that it did.
//!
//! A message for another site stays `Sent` in the outbox until that site has acknowledged it from its own database, so
//! neither a lost broker nor a lost acknowledgement loses it; it is sent again, and the receiver keeps it once. What
//! carries the bytes (MQTT, or a direct call in tests) is outside.

use crate::{
    books::{Fault, Ledger, Message, MessageState, Settlement},
    selector,
    station::Station,
    unit::check_uid,
};

/// Largest message between sites, bytes.
pub const LIMIT: usize = 16 << 20;

/// What waits for other sites, beyond a number, oldest first.
pub fn outgoing(station: &Station, ledger: &mut dyn Ledger, after: i64, limit: i64) -> Result<Vec<Message>, Fault> {
    station.at_desk(ledger, |desk| desk.books.outgoing(&station.sites.here, after, limit))
}

/// The bytes of a message on its way.
pub fn encode(message: &Message) -> Result<String, Fault> {
    serde_json::to_string(message).map_err(|e| Fault(e.to_string()))
}

/// Reads and judges a message of another site.
pub fn decode(station: &Station, bytes: &[u8]) -> Result<Message, String> {
    if bytes.len() > LIMIT {
        return Err(format!("a message of {} bytes", bytes.len()));
    }
    let message: Message = serde_json::from_slice(bytes).map_err(|e| format!("not a message: {e}"))?;
    let sites = &station.sites;
    selector::check(&message.selector, false)?;
    check_uid(&message.id)?;
    if message.to != sites.here || message.from == sites.here || !sites.is_known(&message.from) {
        return Err(format!("a message from {} to {} came here", message.from, message.to));
    }
    if sites.destination(&message.selector) != sites.here {
        return Err(format!("a message on {} came here", message.selector));
    }
    Ok(message)
}

/// Takes what has arrived, in one transaction; returns sender and identifier of each, to be acknowledged, whether it is
/// new or not. What cannot be read is journaled.
pub fn receive(
    station: &Station,
    ledger: &mut dyn Ledger,
    arrived: &[Result<Message, String>],
) -> Result<Vec<(String, String)>, Fault> {
    station.at_desk(ledger, |desk| {
        let mut acknowledged = Vec::with_capacity(arrived.len());
        for message in arrived {
            match message {
                Ok(message) => {
                    desk.receive(message.clone())?;
                    acknowledged.push((message.from.clone(), message.id.clone()));
                }
                Err(why) => desk.log("refused", "link", "link", &why.replace('\0', " "))?,
            }
        }
        Ok(acknowledged)
    })
}

/// Another site has these in its database.
pub fn acknowledged(station: &Station, ledger: &mut dyn Ledger, ids: &[String]) -> Result<usize, Fault> {
    station.at_desk(ledger, |desk| {
        let end = Settlement {
            state: MessageState::Consumed,
            reason: None,
        };
        let mut count = 0;
        for id in ids {
            count += usize::from(desk.books.settle(id, None, &end)?);
        }
        Ok(count)
    })
}

/// Carries everything that waits from one station to another by direct calls; how much.
pub fn carry(
    from: &Station,
    from_ledger: &mut dyn Ledger,
    to: &Station,
    to_ledger: &mut dyn Ledger,
) -> Result<usize, Fault> {
    let mut waiting = outgoing(from, from_ledger, 0, 1000)?;
    waiting.retain(|message| message.to == to.sites.here);
    let mut arrived = Vec::with_capacity(waiting.len());
    for message in &waiting {
        arrived.push(decode(to, encode(message)?.as_bytes()));
    }
    let ids: Vec<String> = receive(to, to_ledger, &arrived)?
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    acknowledged(from, from_ledger, &ids)
}
