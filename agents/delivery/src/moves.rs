//! Moves of units, told to the journal of the observatory that the station belongs to.
//!
//! Each move is a message on `journal.<site>`, written in the transaction of the move itself. Whoever keeps the journal
//! takes it, has the fact committed there, and consumes it then: no move is lost, and after a crash between the two
//! the last one may stand there twice.

use crate::{
    books::{Fault, Ledger, Message},
    desk::{Desk, Draft},
    station::Station,
    unit::{Unit, UnitEvent},
};
use alidade_model::{journal::Fact, states::UnitState};
use serde_json::{Value, json};

/// The selector at a site.
pub fn selector(site: &str) -> String {
    format!("journal.{site}")
}

/// Tells those of the events that are moves, if there is a journal.
pub fn tell(desk: &mut Desk, unit: &Unit, events: &[UnitEvent]) -> Result<(), Fault> {
    if !desk.journal {
        return Ok(());
    }
    let selector = selector(&desk.sites.here);
    for event in events.iter().filter(|e| matches!(e.what.as_str(), "created" | "state")) {
        let body = json!({
            "unit": unit.uid, "program": unit.program, "from": event.from, "to": event.to, "author": event.author,
            "cause": event.cause,
        });
        desk.send(Draft::new(&selector, body, &event.author))?;
    }
    Ok(())
}

/// The fact that a message tells.
pub fn fact(message: &Message) -> Result<Fact, String> {
    let body: Value = serde_json::from_str(&message.body).map_err(|e| format!("not a move: {e}"))?;
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let state = |key: &str| body[key].as_str().map(str::parse::<UnitState>).transpose();
    let to = state("to")?.ok_or("a move goes somewhere")?;
    Ok(Fact::UnitMoved {
        unit: text("unit"),
        program: text("program"),
        from: state("from")?,
        to,
        author: text("author"),
        cause: text("cause"),
    })
}

/// Moves that the journal does not have yet, oldest first. What cannot be read is put aside.
pub fn waiting(station: &Station, ledger: &mut dyn Ledger, limit: i64) -> Result<Vec<(Message, Fact)>, Fault> {
    let patterns = [selector(&station.sites.here)];
    station.at_desk(ledger, |desk| {
        let mut moves = Vec::new();
        for message in desk.books.waiting(&station.sites.here, &patterns, desk.now, limit)? {
            match fact(&message) {
                Ok(fact) => moves.push((message, fact)),
                Err(why) => drop(desk.reject(&message, "journal", &why)?),
            }
        }
        Ok(moves)
    })
}

/// The journal has them.
pub fn kept(station: &Station, ledger: &mut dyn Ledger, messages: &[Message]) -> Result<(), Fault> {
    station.at_desk(ledger, |desk| {
        messages.iter().try_for_each(|message| desk.consume(message).map(drop))
    })
}
