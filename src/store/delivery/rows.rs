//! Rows of the delivery's tables and their translation.

use crate::store::{
    rows::{finite, naive, utc},
    schema::*,
};
use alidade_delivery::{
    books::{Fault, LogLine, Message, MessageState, Record},
    obscore::ObsCore,
    unit::{Unit, UnitEvent},
};
use chrono::NaiveDateTime;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};

fn garbled(table: &str, cause: impl std::fmt::Display) -> Fault {
    Fault(format!("table {table}: {cause}"))
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = units, treat_none_as_null = true)]
pub(super) struct UnitRow {
    uid: String,
    program: String,
    recipe: Option<String>,
    executive: Option<String>,
    state: String,
    step: Option<String>,
    created_at: NaiveDateTime,
    changed_at: NaiveDateTime,
}

impl From<&Unit> for UnitRow {
    fn from(unit: &Unit) -> Self {
        Self {
            uid: unit.uid.clone(),
            program: unit.program.clone(),
            recipe: unit.recipe.clone(),
            executive: unit.executive.clone(),
            state: unit.state.as_str().into(),
            step: unit.step.clone(),
            created_at: naive(unit.created),
            changed_at: naive(unit.changed),
        }
    }
}

impl UnitRow {
    pub fn unit(self) -> Result<Unit, Fault> {
        Ok(Unit {
            state: self.state.parse().map_err(|e| garbled("units", e))?,
            uid: self.uid,
            program: self.program,
            recipe: self.recipe,
            executive: self.executive,
            step: self.step,
            created: utc(self.created_at),
            changed: utc(self.changed_at),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = unit_events)]
pub(super) struct EventRow {
    uid: String,
    number: i64,
    at: NaiveDateTime,
    what: String,
    from_value: Option<String>,
    to_value: Option<String>,
    author: String,
    cause: String,
}

impl From<&UnitEvent> for EventRow {
    fn from(event: &UnitEvent) -> Self {
        Self {
            uid: event.uid.clone(),
            number: event.number,
            at: naive(event.at),
            what: event.what.clone(),
            from_value: event.from.clone(),
            to_value: event.to.clone(),
            author: event.author.clone(),
            cause: event.cause.clone(),
        }
    }
}

impl EventRow {
    pub fn event(self) -> UnitEvent {
        UnitEvent {
            uid: self.uid,
            number: self.number,
            at: utc(self.at),
            what: self.what,
            from: self.from_value,
            to: self.to_value,
            author: self.author,
            cause: self.cause,
        }
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = bus_messages)]
pub(super) struct MessageRow {
    id: String,
    number: i64,
    from_site: String,
    to_site: String,
    selector: String,
    body: String,
    reply_to: Option<String>,
    answers: Option<String>,
    author: String,
    created_at: NaiveDateTime,
    expires_at: Option<NaiveDateTime>,
    state: String,
    token: Option<String>,
    lease_until: Option<NaiveDateTime>,
    attempts: i32,
    reason: Option<String>,
}

impl From<&Message> for MessageRow {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.clone(),
            number: message.number,
            from_site: message.from.clone(),
            to_site: message.to.clone(),
            selector: message.selector.clone(),
            body: message.body.clone(),
            reply_to: message.reply_to.clone(),
            answers: message.answers.clone(),
            author: message.author.clone(),
            created_at: naive(message.created),
            expires_at: message.expires.map(naive),
            state: message.state.as_str().into(),
            token: message.token.clone(),
            lease_until: message.lease_until.map(naive),
            attempts: message.attempts,
            reason: message.reason.clone(),
        }
    }
}

impl MessageRow {
    pub fn selector(&self) -> &str {
        &self.selector
    }

    pub fn message(self) -> Result<Message, Fault> {
        let state = MessageState::ALL.into_iter().find(|s| s.as_str() == self.state);
        Ok(Message {
            state: state.ok_or_else(|| garbled("bus_messages", &self.state))?,
            id: self.id,
            number: self.number,
            from: self.from_site,
            to: self.to_site,
            selector: self.selector,
            body: self.body,
            reply_to: self.reply_to,
            answers: self.answers,
            author: self.author,
            created: utc(self.created_at),
            expires: self.expires_at.map(utc),
            token: self.token,
            lease_until: self.lease_until.map(utc),
            attempts: self.attempts,
            reason: self.reason,
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = delivery_records)]
pub(super) struct RecordRow {
    kind: String,
    id: String,
    unit: String,
    state: String,
    at: NaiveDateTime,
    body: String,
}

impl From<&Record> for RecordRow {
    fn from(record: &Record) -> Self {
        Self {
            kind: record.kind.clone(),
            id: record.id.clone(),
            unit: record.unit.clone(),
            state: record.state.clone(),
            at: naive(record.at),
            body: record.body.to_string(),
        }
    }
}

impl RecordRow {
    pub fn record(self) -> Result<Record, Fault> {
        Ok(Record {
            body: serde_json::from_str(&self.body).map_err(|e| garbled("delivery_records", e))?,
            kind: self.kind,
            id: self.id,
            unit: self.unit,
            state: self.state,
            at: utc(self.at),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = delivery_log)]
pub(super) struct LogRow {
    number: i64,
    at: NaiveDateTime,
    kind: String,
    subject: String,
    author: String,
    text: String,
}

impl From<&LogLine> for LogRow {
    fn from(line: &LogLine) -> Self {
        // A refused message may hold what PostgreSQL's text cannot.
        let clean = |text: &str| text.replace('\0', "\u{FFFD}");
        Self {
            number: line.number,
            at: naive(line.at),
            kind: line.kind.clone(),
            subject: clean(&line.subject),
            author: clean(&line.author),
            text: clean(&line.text),
        }
    }
}

impl LogRow {
    pub fn line(self) -> LogLine {
        LogLine {
            number: self.number,
            at: utc(self.at),
            kind: self.kind,
            subject: self.subject,
            author: self.author,
            text: self.text,
        }
    }
}

/// One struct a column, in the order of the table; the translation is the same word for word both ways.
macro_rules! product_row {
    ($($same:ident: $kind:ty),* ; $($real:ident),*) => {
        #[derive(Debug, Clone, Insertable, Queryable, Selectable, AsChangeset)]
        #[diesel(table_name = product_metadata, treat_none_as_null = true)]
        pub(super) struct ProductRow {
            recorded_at: NaiveDateTime,
            $($same: $kind,)*
            $($real: Option<f64>,)*
        }

        impl From<&ObsCore> for ProductRow {
            fn from(product: &ObsCore) -> Self {
                Self {
                    recorded_at: naive(product.recorded),
                    $($same: product.$same.clone(),)*
                    $($real: product.$real.and_then(finite),)*
                }
            }
        }

        impl ProductRow {
            pub fn product(self) -> ObsCore {
                ObsCore {
                    recorded: utc(self.recorded_at),
                    $($same: self.$same,)*
                    $($real: self.$real,)*
                }
            }
        }
    };
}

product_row!(
    obs_publisher_did: String,
    name: String,
    unit: String,
    program: String,
    sha256: String,
    dataproduct_type: Option<String>,
    calib_level: i32,
    obs_collection: String,
    obs_id: String,
    access_url: String,
    access_format: String,
    access_estsize: i64,
    target_name: Option<String>,
    s_region: Option<String>,
    s_xel1: Option<i64>,
    s_xel2: Option<i64>,
    o_ucd: Option<String>,
    facility_name: Option<String>,
    instrument_name: Option<String>,
    filter: Option<String>;
    s_ra, s_dec, s_fov, s_resolution, t_min, t_max, t_exptime, em_min, em_max
);
