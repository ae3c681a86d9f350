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

/// Everything that is kept.
#[derive(Debug, Clone, Default)]
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
}

/// A connection to books in memory; clones share them.
#[derive(Debug, Clone)]
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
        let before = shelf.clone();
        let done = work(&mut *shelf);
        if done.is_err() {
            *shelf = before;
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
        self.units.insert(unit.uid.clone(), unit.clone());
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
        Ok((self.next - 1, self.epoch.clone()))
    }

    fn add_message(&mut self, message: &Message) -> Result<bool, Fault> {
        if self.numbers.contains_key(&message.id) {
            return Ok(false);
        }
        self.numbers.insert(message.id.clone(), message.number);
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
        let message = self.numbers.get(id).and_then(|n| self.messages.get_mut(n));
        let Some(message) = message.filter(|m| is_free(m, now)) else {
            return Ok(false);
        };
        message.state = MessageState::Received;
        (message.token, message.lease_until) = (Some(token.into()), Some(until));
        message.attempts += 1;
        Ok(true)
    }

    fn settle(&mut self, id: &str, token: Option<&str>, end: &Settlement) -> Result<bool, Fault> {
        let message = self.numbers.get(id).and_then(|n| self.messages.get_mut(n));
        let mine = |m: &&mut Message| match token {
            None => matches!(m.state, MessageState::Sent | MessageState::Received),
            Some(token) => m.state == MessageState::Received && m.token.as_deref() == Some(token),
        };
        let Some(message) = message.filter(mine) else {
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
        self.groups.entry(group.into()).or_default().insert(member.into());
        Ok(())
    }

    fn leave(&mut self, group: &str, member: &str) -> Result<(), Fault> {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(member);
        }
        Ok(())
    }

    fn members(&mut self, group: &str) -> Result<Vec<String>, Fault> {
        Ok(self.groups.get(group).into_iter().flatten().cloned().collect())
    }

    fn forget_messages(&mut self, before: UtcTime) -> Result<usize, Fault> {
        let count = self.messages.len();
        let open = |m: &Message| matches!(m.state, MessageState::Sent | MessageState::Received);
        self.messages.retain(|_, m| open(m) || m.created >= before);
        Ok(count - self.messages.len())
    }

    fn put_record(&mut self, record: &Record) -> Result<(), Fault> {
        let key = (record.kind.clone(), record.id.clone());
        self.records.insert(key, record.clone());
        Ok(())
    }

    fn record(&mut self, kind: &str, id: &str) -> Result<Option<Record>, Fault> {
        Ok(self.records.get(&(kind.into(), id.into())).cloned())
    }

    fn remove_record(&mut self, kind: &str, id: &str) -> Result<(), Fault> {
        self.records.remove(&(kind.into(), id.into()));
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
        self.products.insert(product.obs_publisher_did.clone(), product.clone());
        Ok(())
    }

    fn products(&mut self, unit: Option<&str>, limit: i64) -> Result<Vec<ObsCore>, Fault> {
        let meant = |p: &&ObsCore| unit.is_none_or(|unit| p.unit == unit);
        Ok(first(self.products.values().filter(meant).cloned(), limit))
    }

    fn add_log(&mut self, line: &LogLine) -> Result<(), Fault> {
        self.log.push(line.clone());
        Ok(())
    }

    fn log(&mut self, limit: i64) -> Result<Vec<LogLine>, Fault> {
        Ok(first(self.log.iter().rev().cloned(), limit))
    }

    fn clear(&mut self) -> Result<(), Fault> {
        *self = Shelf {
            next: self.next,
            epoch: self.epoch.clone(),
            groups: std::mem::take(&mut self.groups),
            ..Shelf::default()
        };
        Ok(())
    }
}
