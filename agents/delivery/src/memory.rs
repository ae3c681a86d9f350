//! Books in memory, for simulated nights and tests: the same promises as the database's, until the process ends.

use crate::{
    books::{Books, Count, Fault, Ledger, LogLine, Message, MessageState, Record, Settlement},
    obscore::ObsCore,
    selector,
    unit::{Unit, UnitEvent},
};
use alidade_model::time::UtcTime;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Takes one change back.
type Undo = Box<dyn FnOnce(&mut Shelf) + Send>;

/// Everything that is kept.
#[derive(Default)]
struct Shelf {
    next: i64,
    epoch: String,
    units: BTreeMap<String, Unit>,
    events: BTreeMap<String, Vec<UnitEvent>>,
    messages: BTreeMap<i64, Message>,
    numbers: BTreeMap<String, i64>,
    groups: BTreeMap<String, BTreeSet<String>>,
    records: BTreeMap<(String, String), Record>,
    products: BTreeMap<String, ObsCore>,
    log: Vec<LogLine>,
    /// What takes the changes of this transaction back, the last one last.
    undo: Vec<Undo>,
}

impl Shelf {
    fn undo_by(&mut self, undo: impl FnOnce(&mut Shelf) + Send + 'static) {
        self.undo.push(Box::new(undo));
    }

    /// A message that is about to change.
    fn touch(&mut self, number: i64) {
        let before = self.messages.get(&number).cloned();
        self.undo_by(move |shelf| put_back(&mut shelf.messages, number, before));
    }

    /// The message with this identifier to be changed, if it is there and may be.
    fn changing(&mut self, id: &str, may: impl Fn(&Message) -> bool) -> Option<&mut Message> {
        let number = *self.numbers.get(id)?;
        if !may(self.messages.get(&number)?) {
            return None;
        }
        self.touch(number);
        self.messages.get_mut(&number)
    }
}

fn put_back<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// A connection to books in memory; clones share them.
#[derive(Clone)]
pub struct MemoryLedger(Arc<Mutex<Shelf>>);

impl MemoryLedger {
    pub fn new(epoch: &str) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            next: 1,
            epoch: epoch.into(),
            ..Shelf::default()
        })))
    }
}

impl Ledger for MemoryLedger {
    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Books) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.undo.clear();
        let done = work(&mut *shelf);
        let undo = std::mem::take(&mut shelf.undo);
        if done.is_err() {
            for step in undo.into_iter().rev() {
                step(&mut shelf);
            }
        }
        done
    }
}

fn first<T: Clone>(items: impl Iterator<Item = T>, limit: i64) -> Vec<T> {
    items.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
}

fn is_free(message: &Message, now: UtcTime) -> bool {
    match message.state {
        MessageState::Sent => true,
        MessageState::Received => message.lease_until.is_some_and(|until| until <= now),
        _ => false,
    }
}

impl Books for Shelf {
    fn unit(&mut self, uid: &str) -> Result<Option<Unit>, Fault> {
        Ok(self.units.get(uid).cloned())
    }

    fn put_unit(&mut self, unit: &Unit) -> Result<(), Fault> {
        let uid = unit.uid.clone();
        let before = self.units.insert(uid.clone(), unit.clone());
        self.undo_by(move |shelf| put_back(&mut shelf.units, uid, before));
        Ok(())
    }

    fn units(&mut self, state: Option<&str>, limit: i64) -> Result<Vec<Unit>, Fault> {
        let mut units: Vec<Unit> = self.units.values().cloned().collect();
        units.retain(|unit| state.is_none_or(|state| unit.state.as_str() == state));
        units.sort_by(|a, b| b.changed.cmp(&a.changed).then(a.uid.cmp(&b.uid)));
        Ok(first(units.into_iter(), limit))
    }

    fn add_event(&mut self, event: &UnitEvent) -> Result<(), Fault> {
        let events = self.events.entry(event.uid.clone()).or_default();
        if events.iter().any(|known| known.number == event.number) {
            return Err(Fault(format!("event {} of {} exists", event.number, event.uid)));
        }
        events.push(event.clone());
        let uid = event.uid.clone();
        self.undo_by(move |shelf| {
            shelf.events.get_mut(&uid).map(Vec::pop);
        });
        Ok(())
    }

    fn last_event(&mut self, uid: &str) -> Result<i64, Fault> {
        Ok(self.events.get(uid).and_then(|e| e.last()).map_or(0, |e| e.number))
    }

    fn events(&mut self, uid: &str) -> Result<Vec<UnitEvent>, Fault> {
        Ok(self.events.get(uid).cloned().unwrap_or_default())
    }

    fn next_number(&mut self) -> Result<(i64, String), Fault> {
        self.next += 1;
        self.undo_by(|shelf| shelf.next -= 1);
        Ok((self.next - 1, self.epoch.clone()))
    }

    fn add_message(&mut self, message: &Message) -> Result<bool, Fault> {
        if self.numbers.contains_key(&message.id) {
            return Ok(false);
        }
        self.touch(message.number);
        let id = message.id.clone();
        self.numbers.insert(id.clone(), message.number);
        self.undo_by(move |shelf| {
            shelf.numbers.remove(&id);
        });
        self.messages.insert(message.number, message.clone());
        Ok(true)
    }

    fn message(&mut self, id: &str) -> Result<Option<Message>, Fault> {
        Ok(self.numbers.get(id).and_then(|n| self.messages.get(n)).cloned())
    }

    fn waiting(&mut self, here: &str, patterns: &[String], now: UtcTime, limit: i64) -> Result<Vec<Message>, Fault> {
        let meant = |m: &&Message| {
            m.to == here && is_free(m, now) && patterns.iter().any(|p| selector::matches(p, &m.selector))
        };
        Ok(first(self.messages.values().filter(meant).cloned(), limit))
    }

    fn take(&mut self, id: &str, token: &str, now: UtcTime, until: UtcTime) -> Result<bool, Fault> {
        let Some(message) = self.changing(id, |m| is_free(m, now)) else {
            return Ok(false);
        };
        message.state = MessageState::Received;
        (message.token, message.lease_until) = (Some(token.into()), Some(until));
        message.attempts += 1;
        Ok(true)
    }

    fn settle(&mut self, id: &str, token: Option<&str>, end: &Settlement) -> Result<bool, Fault> {
        let mine = |m: &Message| match token {
            None => matches!(m.state, MessageState::Sent | MessageState::Received),
            Some(token) => m.state == MessageState::Received && m.token.as_deref() == Some(token),
        };
        let Some(message) = self.changing(id, mine) else {
            return Ok(false);
        };
        (message.state, message.reason) = (end.state, end.reason.clone());
        Ok(true)
    }

    fn outgoing(&mut self, here: &str, after: i64, limit: i64) -> Result<Vec<Message>, Fault> {
        let out = |m: &&Message| m.to != here && m.state == MessageState::Sent;
        let later = self.messages.range(after + 1..).map(|(_, m)| m);
        Ok(first(later.filter(out).cloned(), limit))
    }

    fn messages(&mut self, unread: bool, limit: i64) -> Result<Vec<Message>, Fault> {
        let wanted = |m: &&Message| !unread || matches!(m.state, MessageState::Sent | MessageState::Received);
        Ok(first(self.messages.values().rev().filter(wanted).cloned(), limit))
    }

    fn join(&mut self, group: &str, member: &str) -> Result<(), Fault> {
        let (group, member) = (group.to_owned(), member.to_owned());
        if self.groups.entry(group.clone()).or_default().insert(member.clone()) {
            self.undo_by(move |shelf| {
                shelf.groups.get_mut(&group).map(|members| members.remove(&member));
            });
        }
        Ok(())
    }

    fn leave(&mut self, group: &str, member: &str) -> Result<(), Fault> {
        let (group, member) = (group.to_owned(), member.to_owned());
        if self
            .groups
            .get_mut(&group)
            .is_some_and(|members| members.remove(&member))
        {
            self.undo_by(move |shelf| {
                shelf.groups.entry(group).or_default().insert(member);
            });
        }
        Ok(())
    }

    fn members(&mut self, group: &str) -> Result<Vec<String>, Fault> {
        Ok(self.groups.get(group).into_iter().flatten().cloned().collect())
    }

    fn forget_messages(&mut self, before: UtcTime) -> Result<usize, Fault> {
        let open = |m: &Message| matches!(m.state, MessageState::Sent | MessageState::Received);
        let forgotten: Vec<(i64, Message)> = self
            .messages
            .extract_if(.., |_, m| !open(m) && m.created < before)
            .collect();
        let count = forgotten.len();
        self.undo_by(move |shelf| shelf.messages.extend(forgotten));
        Ok(count)
    }

    fn put_record(&mut self, record: &Record) -> Result<(), Fault> {
        let key = (record.kind.clone(), record.id.clone());
        let before = self.records.insert(key.clone(), record.clone());
        self.undo_by(move |shelf| put_back(&mut shelf.records, key, before));
        Ok(())
    }

    fn record(&mut self, kind: &str, id: &str) -> Result<Option<Record>, Fault> {
        Ok(self.records.get(&(kind.into(), id.into())).cloned())
    }

    fn remove_record(&mut self, kind: &str, id: &str) -> Result<(), Fault> {
        let key = (kind.to_owned(), id.to_owned());
        let before = self.records.remove(&key);
        self.undo_by(move |shelf| put_back(&mut shelf.records, key, before));
        Ok(())
    }

    fn records(
        &mut self,
        kind: &str,
        unit: Option<&str>,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Record>, Fault> {
        let meant = |r: &&Record| {
            r.kind == kind && unit.is_none_or(|unit| r.unit == unit) && state.is_none_or(|state| r.state == state)
        };
        let mut records: Vec<&Record> = self.records.values().filter(meant).collect();
        records.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(first(records.into_iter().cloned(), limit))
    }

    fn count_records(&mut self, kind: &str, state: &str) -> Result<i64, Fault> {
        let count = self
            .records
            .values()
            .filter(|r| r.kind == kind && r.state == state)
            .count();
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn counts(&mut self) -> Result<Vec<Count>, Fault> {
        let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
        let units = self.units.values().map(|u| ("unit".to_owned(), u.state.to_string()));
        let messages = self
            .messages
            .values()
            .map(|m| ("message".to_owned(), m.state.as_str().to_owned()));
        let records = self.records.values().map(|r| (r.kind.clone(), r.state.clone()));
        let products = self
            .products
            .values()
            .map(|_| ("product".to_owned(), "recorded".to_owned()));
        for key in units.chain(messages).chain(records).chain(products) {
            *counts.entry(key).or_default() += 1;
        }
        let named = |((kind, state), count)| Count { kind, state, count };
        Ok(counts.into_iter().map(named).collect())
    }

    fn put_product(&mut self, product: &ObsCore) -> Result<(), Fault> {
        let key = product.obs_publisher_did.clone();
        let before = self.products.insert(key.clone(), product.clone());
        self.undo_by(move |shelf| put_back(&mut shelf.products, key, before));
        Ok(())
    }

    fn products(&mut self, unit: Option<&str>, limit: i64) -> Result<Vec<ObsCore>, Fault> {
        let meant = |p: &&ObsCore| unit.is_none_or(|unit| p.unit == unit);
        Ok(first(self.products.values().filter(meant).cloned(), limit))
    }

    fn add_log(&mut self, line: &LogLine) -> Result<(), Fault> {
        self.log.push(line.clone());
        self.undo_by(|shelf| {
            shelf.log.pop();
        });
        Ok(())
    }

    fn log(&mut self, limit: i64) -> Result<Vec<LogLine>, Fault> {
        Ok(first(self.log.iter().rev().cloned(), limit))
    }

    fn clear(&mut self) -> Result<(), Fault> {
        let undo = std::mem::take(&mut self.undo);
        let emptied = Shelf {
            next: self.next,
            epoch: self.epoch.clone(),
            groups: self.groups.clone(),
            undo,
            ..Shelf::default()
        };
        let before = std::mem::replace(self, emptied);
        self.undo_by(move |shelf| *shelf = before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

    use super::*;

    const EARLY: &str = "2026-03-14T20:00:00Z";
    const LATE: &str = "2026-03-14T21:00:00Z";

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn event(uid: &str, number: i64) -> UnitEvent {
        UnitEvent {
            uid: uid.into(),
            number,
            at: at(EARLY),
            what: "state".into(),
            from: None,
            to: None,
            author: "test".into(),
            cause: "test".into(),
        }
    }

    fn message(books: &mut dyn Books, text: &str) -> String {
        let (number, epoch) = books.next_number().unwrap();
        let message = Message {
            id: format!("JAO-{epoch}-{number}"),
            number,
            from: "JAO".into(),
            to: "JAO".into(),
            selector: "xtss".into(),
            body: text.into(),
            reply_to: None,
            answers: None,
            author: "test".into(),
            created: at(EARLY),
            expires: None,
            state: MessageState::Sent,
            token: None,
            lease_until: None,
            attempts: 0,
            reason: None,
        };
        assert!(books.add_message(&message).unwrap());
        message.id
    }

    fn record(id: &str, state: &str) -> Record {
        Record {
            kind: "replica".into(),
            id: id.into(),
            unit: String::new(),
            state: state.into(),
            at: at(EARLY),
            body: serde_json::Value::Null,
        }
    }

    fn line(number: i64) -> LogLine {
        LogLine {
            number,
            at: at(EARLY),
            kind: "audit".into(),
            subject: "test".into(),
            author: "test".into(),
            text: "test".into(),
        }
    }

    /// Everything that is kept, to be compared.
    fn picture(ledger: &MemoryLedger) -> String {
        let s = ledger.0.lock().unwrap();
        let lists = (&s.units, &s.events, &s.messages, &s.numbers, &s.groups);
        format!("{} {lists:?} {:?} {:?} {:?}", s.next, s.records, s.products, s.log)
    }

    #[test]
    fn a_transaction_that_fails_leaves_nothing_of_any_change() {
        let mut ledger = MemoryLedger::new("e");
        let mut sent = Vec::new();
        let filled = ledger.transact(&mut |books| {
            books.put_record(&record("kept", "available"))?;
            books.put_record(&record("gone", "available"))?;
            books.add_event(&event("u1", 1))?;
            books.join("processors", "EA")?;
            books.add_log(&line(1))?;
            sent = vec![message(books, "one"), message(books, "two"), message(books, "three")];
            let end = Settlement {
                state: MessageState::Consumed,
                reason: None,
            };
            assert!(books.settle(&sent[2], None, &end)?);
            Ok(())
        });
        filled.unwrap();
        let before = picture(&ledger);
        for cleared in [false, true] {
            let failed = ledger.transact(&mut |books| {
                books.put_record(&record("kept", "bad"))?;
                books.put_record(&record("new", "queued"))?;
                books.remove_record("replica", "gone")?;
                books.add_event(&event("u1", 2))?;
                books.join("processors", "EU")?;
                books.leave("processors", "EA")?;
                books.add_log(&line(2))?;
                assert!(books.take(&sent[0], "t", at(EARLY), at(LATE))?);
                let end = Settlement {
                    state: MessageState::Consumed,
                    reason: Some("done".into()),
                };
                assert!(books.settle(&sent[1], None, &end)?);
                message(books, "four");
                assert_eq!(books.forget_messages(at(LATE))?, 2);
                if cleared {
                    books.clear()?;
                    books.put_record(&record("kept", "lost"))?;
                    message(books, "five");
                }
                Err(Fault("no more".into()))
            });
            assert_eq!(failed.unwrap_err().to_string(), "no more");
            assert_eq!(picture(&ledger), before, "cleared: {cleared}");
        }
    }
}
