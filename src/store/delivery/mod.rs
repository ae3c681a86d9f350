//! The delivery's books: units, the message bus, records, metadata (see [`alidade_delivery::books`]).
//!
//! Transactions of the delivery follow one another, on both databases: SQLite has one writer anyway, and on PostgreSQL
//! each begins by locking the row of the counter. So what a transaction has read cannot change under it.

mod rows;

use super::{
    AnyConnection, Durability, OpenOptions, Store, StoreError,
    connection::{in_transaction, on_either},
    rows::naive,
    schema::*,
};
use alidade_delivery::{
    books::{Books, Count, Fault, Ledger, LogLine, Message, Record, Settlement},
    obscore::ObsCore,
    selector,
    unit::{Unit, UnitEvent},
};
use alidade_model::time::UtcTime;
use diesel::prelude::*;
use rows::{EventRow, LogRow, MessageRow, ProductRow, RecordRow, UnitRow};

/// A store as the delivery sees it.
pub struct DeliveryLedger {
    store: Store,
    epoch: String,
}

impl DeliveryLedger {
    /// Opens the database with every migration applied. `epoch` is what a new database is known by among sites; a
    /// database that has one keeps it.
    pub fn open(url: &str, durability: Durability, epoch: &str) -> Result<Self, StoreError> {
        let options = OpenOptions {
            migrate: true,
            durability,
        };
        Ok(Self::on(Store::open(url, options)?, epoch))
    }

    pub fn on(store: Store, epoch: &str) -> Self {
        Self {
            store,
            epoch: epoch.into(),
        }
    }
}

/// Either error of a transaction, as the port knows it.
struct Broken(Fault);

impl From<diesel::result::Error> for Broken {
    fn from(error: diesel::result::Error) -> Self {
        Self(fault(error))
    }
}

fn fault(error: diesel::result::Error) -> Fault {
    Fault(format!("database: {}", super::error::one_line(&error.to_string())))
}

impl Ledger for DeliveryLedger {
    fn transact(&mut self, work: &mut dyn FnMut(&mut dyn Books) -> Result<(), Fault>) -> Result<(), Fault> {
        let epoch = self.epoch.clone();
        let run = |c: &mut AnyConnection| -> Result<(), Broken> {
            let (first, epoch) = counter(c, &epoch)?;
            let mut books = Open { c, next: first, epoch };
            work(&mut books).map_err(Broken)?;
            let next = books.next;
            if next != first {
                on_either!(c, c => diesel::update(bus_counter::table.find(1))
                    .set(bus_counter::next.eq(next))
                    .execute(c)?);
            }
            Ok(())
        };
        let done = in_transaction(&mut self.store.connection, run).map_err(|broken| broken.0);
        if let Err(fault) = &done
            && ["server closed", "no connection", "terminating connection"]
                .iter()
                .any(|sign| fault.0.contains(sign))
        {
            self.store.reconnect().map_err(|e| Fault(e.to_string()))?;
        }
        done
    }
}

/// The next number and the epoch; on PostgreSQL this waits for the transactions before.
fn counter(c: &mut AnyConnection, epoch: &str) -> QueryResult<(i64, String)> {
    let columns = (bus_counter::next, bus_counter::epoch);
    let kept: Option<(i64, String)> = match c {
        AnyConnection::Sqlite(c) => bus_counter::table.find(1).select(columns).first(c).optional()?,
        AnyConnection::Postgres(c) => bus_counter::table
            .find(1)
            .select(columns)
            .for_update()
            .first(c)
            .optional()?,
    };
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let row = (
        bus_counter::id.eq(1),
        bus_counter::next.eq(1_i64),
        bus_counter::epoch.eq(epoch),
    );
    on_either!(c, c => diesel::insert_into(bus_counter::table).values(row).on_conflict_do_nothing().execute(c)?);
    counter(c, epoch)
}

/// The books of an open transaction.
struct Open<'c> {
    c: &'c mut AnyConnection,
    next: i64,
    epoch: String,
}

/// Runs a statement and translates its error.
macro_rules! ask {
    ($self:expr, $c:ident => $statement:expr) => {
        on_either!($self.c, $c => $statement).map_err(fault)
    };
}

impl Books for Open<'_> {
    fn unit(&mut self, uid: &str) -> Result<Option<Unit>, Fault> {
        let row: Option<UnitRow> = ask!(self, c => units::table.find(uid).first(c).optional())?;
        row.map(UnitRow::unit).transpose()
    }

    fn put_unit(&mut self, unit: &Unit) -> Result<(), Fault> {
        let row = UnitRow::from(unit);
        ask!(self, c => diesel::insert_into(units::table).values(&row)
            .on_conflict(units::uid).do_update().set(&row).execute(c))
        .map(drop)
    }

    fn units(&mut self, state: Option<&str>, limit: i64) -> Result<Vec<Unit>, Fault> {
        let rows: Vec<UnitRow> = ask!(self, c => {
            let mut query = units::table.into_boxed();
            if let Some(state) = state {
                query = query.filter(units::state.eq(state));
            }
            query.order((units::changed_at.desc(), units::uid.asc())).limit(limit).load(c)
        })?;
        rows.into_iter().map(UnitRow::unit).collect()
    }

    fn add_event(&mut self, event: &UnitEvent) -> Result<(), Fault> {
        let row = EventRow::from(event);
        ask!(self, c => diesel::insert_into(unit_events::table).values(&row).execute(c)).map(drop)
    }

    fn last_event(&mut self, uid: &str) -> Result<i64, Fault> {
        let last: Option<i64> = ask!(self, c => unit_events::table.filter(unit_events::uid.eq(uid))
            .select(diesel::dsl::max(unit_events::number)).first(c))?;
        Ok(last.unwrap_or(0))
    }

    fn events(&mut self, uid: &str) -> Result<Vec<UnitEvent>, Fault> {
        let rows: Vec<EventRow> = ask!(self, c => unit_events::table.filter(unit_events::uid.eq(uid))
            .order(unit_events::number).load(c))?;
        Ok(rows.into_iter().map(EventRow::event).collect())
    }

    fn next_number(&mut self) -> Result<(i64, String), Fault> {
        let number = self.next;
        self.next += 1;
        Ok((number, self.epoch.clone()))
    }

    fn add_message(&mut self, message: &Message) -> Result<bool, Fault> {
        let row = MessageRow::from(message);
        let added = ask!(self, c => diesel::insert_into(bus_messages::table).values(&row)
            .on_conflict_do_nothing().execute(c))?;
        Ok(added == 1)
    }

    fn message(&mut self, id: &str) -> Result<Option<Message>, Fault> {
        let row: Option<MessageRow> = ask!(self, c => bus_messages::table.find(id).first(c).optional())?;
        row.map(MessageRow::message).transpose()
    }

    fn waiting(&mut self, here: &str, patterns: &[String], now: UtcTime, limit: i64) -> Result<Vec<Message>, Fault> {
        use bus_messages as m;
        let now = naive(now);
        let wild = patterns.iter().any(|p| p.contains(['*', '#']));
        let rows: Vec<MessageRow> = ask!(self, c => {
            let mut query = m::table
                .filter(m::to_site.eq(here))
                .filter(m::state.eq("Sent").or(m::state.eq("Received").and(m::lease_until.le(now))))
                .into_boxed();
            if !wild {
                query = query.filter(m::selector.eq_any(patterns));
            }
            query.order(m::number).limit(if wild { 100_000 } else { limit }).load(c)
        })?;
        let meant = |row: &MessageRow| !wild || patterns.iter().any(|p| selector::matches(p, row.selector()));
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        rows.into_iter()
            .filter(meant)
            .take(most)
            .map(MessageRow::message)
            .collect()
    }

    fn take(&mut self, id: &str, token: &str, now: UtcTime, until: UtcTime) -> Result<bool, Fault> {
        use bus_messages as m;
        let free = m::state
            .eq("Sent")
            .or(m::state.eq("Received").and(m::lease_until.le(naive(now))));
        let taken = ask!(self, c => diesel::update(m::table.filter(m::id.eq(id)).filter(free))
            .set((
                m::state.eq("Received"),
                m::token.eq(token),
                m::lease_until.eq(naive(until)),
                m::attempts.eq(m::attempts + 1),
            ))
            .execute(c))?;
        Ok(taken == 1)
    }

    fn settle(&mut self, id: &str, token: Option<&str>, end: &Settlement) -> Result<bool, Fault> {
        use bus_messages as m;
        let change = (m::state.eq(end.state.as_str()), m::reason.eq(end.reason.clone()));
        let open = m::state.eq("Sent").or(m::state.eq("Received"));
        let settled = match token {
            None => ask!(self, c => diesel::update(m::table.filter(m::id.eq(id)).filter(open))
                .set(change).execute(c))?,
            Some(token) => {
                let mine = m::state.eq("Received").and(m::token.eq(token));
                ask!(self, c => diesel::update(m::table.filter(m::id.eq(id)).filter(mine))
                    .set(change).execute(c))?
            }
        };
        Ok(settled == 1)
    }

    fn outgoing(&mut self, here: &str, after: i64, limit: i64) -> Result<Vec<Message>, Fault> {
        use bus_messages as m;
        let rows: Vec<MessageRow> = ask!(self, c => m::table
            .filter(m::to_site.ne(here))
            .filter(m::state.eq("Sent"))
            .filter(m::number.gt(after))
            .order(m::number)
            .limit(limit)
            .load(c))?;
        rows.into_iter().map(MessageRow::message).collect()
    }

    fn messages(&mut self, unread: bool, limit: i64) -> Result<Vec<Message>, Fault> {
        use bus_messages as m;
        let rows: Vec<MessageRow> = ask!(self, c => {
            let mut query = m::table.into_boxed();
            if unread {
                query = query.filter(m::state.eq("Sent").or(m::state.eq("Received")));
            }
            query.order(m::number.desc()).limit(limit).load(c)
        })?;
        rows.into_iter().map(MessageRow::message).collect()
    }

    fn join(&mut self, group: &str, member: &str) -> Result<(), Fault> {
        let row = (bus_groups::name.eq(group), bus_groups::member.eq(member));
        ask!(self, c => diesel::insert_into(bus_groups::table).values(row).on_conflict_do_nothing().execute(c))
            .map(drop)
    }

    fn leave(&mut self, group: &str, member: &str) -> Result<(), Fault> {
        ask!(self, c => diesel::delete(bus_groups::table.find((group, member))).execute(c)).map(drop)
    }

    fn members(&mut self, group: &str) -> Result<Vec<String>, Fault> {
        ask!(self, c => bus_groups::table.filter(bus_groups::name.eq(group))
            .order(bus_groups::member).select(bus_groups::member).load(c))
    }

    fn forget_messages(&mut self, before: UtcTime) -> Result<usize, Fault> {
        use bus_messages as m;
        ask!(self, c => diesel::delete(m::table
            .filter(m::created_at.lt(naive(before)))
            .filter(m::state.ne("Sent").and(m::state.ne("Received"))))
            .execute(c))
    }

    fn put_record(&mut self, record: &Record) -> Result<(), Fault> {
        use delivery_records as r;
        let row = RecordRow::from(record);
        ask!(self, c => diesel::insert_into(r::table).values(&row)
            .on_conflict((r::kind, r::id)).do_update().set(&row).execute(c))
        .map(drop)
    }

    fn record(&mut self, kind: &str, id: &str) -> Result<Option<Record>, Fault> {
        let row: Option<RecordRow> = ask!(self, c => delivery_records::table.find((kind, id)).first(c).optional())?;
        row.map(RecordRow::record).transpose()
    }

    fn remove_record(&mut self, kind: &str, id: &str) -> Result<(), Fault> {
        ask!(self, c => diesel::delete(delivery_records::table.find((kind, id))).execute(c)).map(drop)
    }

    fn records(
        &mut self,
        kind: &str,
        unit: Option<&str>,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Record>, Fault> {
        use delivery_records as r;
        let rows: Vec<RecordRow> = ask!(self, c => {
            let mut query = r::table.filter(r::kind.eq(kind)).into_boxed();
            if let Some(unit) = unit {
                query = query.filter(r::unit.eq(unit));
            }
            if let Some(state) = state {
                query = query.filter(r::state.eq(state));
            }
            query.order((r::at, r::id)).limit(limit).load(c)
        })?;
        rows.into_iter().map(RecordRow::record).collect()
    }

    fn count_records(&mut self, kind: &str, state: &str) -> Result<i64, Fault> {
        use delivery_records as r;
        ask!(self, c => r::table.filter(r::kind.eq(kind)).filter(r::state.eq(state)).count().get_result(c))
    }

    fn counts(&mut self) -> Result<Vec<Count>, Fault> {
        use diesel::dsl::count_star;
        let mut counts: Vec<(String, String, i64)> = Vec::new();
        let units: Vec<(String, i64)> =
            ask!(self, c => units::table.group_by(units::state).select((units::state, count_star())).load(c))?;
        counts.extend(units.into_iter().map(|(state, n)| ("unit".into(), state, n)));
        let messages: Vec<(String, i64)> = ask!(self, c => bus_messages::table.group_by(bus_messages::state)
            .select((bus_messages::state, count_star())).load(c))?;
        counts.extend(messages.into_iter().map(|(state, n)| ("message".into(), state, n)));
        let records: Vec<(String, String, i64)> = ask!(self, c => delivery_records::table
            .group_by((delivery_records::kind, delivery_records::state))
            .select((delivery_records::kind, delivery_records::state, count_star())).load(c))?;
        counts.extend(records);
        let products: i64 = ask!(self, c => product_metadata::table.count().get_result(c))?;
        counts.push(("product".into(), "recorded".into(), products));
        counts.sort();
        let named = |(kind, state, count)| Count { kind, state, count };
        Ok(counts.into_iter().map(named).collect())
    }

    fn put_product(&mut self, product: &ObsCore) -> Result<(), Fault> {
        let row = ProductRow::from(product);
        ask!(self, c => diesel::insert_into(product_metadata::table).values(&row)
            .on_conflict(product_metadata::obs_publisher_did).do_update().set(&row).execute(c))
        .map(drop)
    }

    fn products(&mut self, unit: Option<&str>, limit: i64) -> Result<Vec<ObsCore>, Fault> {
        let rows: Vec<ProductRow> = ask!(self, c => {
            let mut query = product_metadata::table.select(ProductRow::as_select()).into_boxed();
            if let Some(unit) = unit {
                query = query.filter(product_metadata::unit.eq(unit));
            }
            query.order(product_metadata::name).limit(limit).load(c)
        })?;
        Ok(rows.into_iter().map(ProductRow::product).collect())
    }

    fn add_log(&mut self, line: &LogLine) -> Result<(), Fault> {
        let row = LogRow::from(line);
        ask!(self, c => diesel::insert_into(delivery_log::table).values(&row).execute(c)).map(drop)
    }

    fn log(&mut self, limit: i64) -> Result<Vec<LogLine>, Fault> {
        let rows: Vec<LogRow> =
            ask!(self, c => delivery_log::table.order(delivery_log::number.desc()).limit(limit).load(c))?;
        Ok(rows.into_iter().map(LogRow::line).collect())
    }

    fn clear(&mut self) -> Result<(), Fault> {
        ask!(self, c => diesel::delete(units::table).execute(c))?;
        ask!(self, c => diesel::delete(unit_events::table).execute(c))?;
        ask!(self, c => diesel::delete(bus_messages::table).execute(c))?;
        ask!(self, c => diesel::delete(delivery_records::table).execute(c))?;
        ask!(self, c => diesel::delete(product_metadata::table).execute(c))?;
        ask!(self, c => diesel::delete(delivery_log::table).execute(c)).map(drop)
    }
}
