//! What pages about nights and about the daemon itself ask: past nights, schedules, what happened in a stretch of time,
//! weather and log in pages.

use super::{
    Store, StoreError,
    queries::{LogLine, WeatherSample, number, sample},
    restore::{garbled, schedule_of},
    rows::{ScheduleRow, WeatherRow, naive, utc, whole},
    schema::*,
};
use alidade_model::{
    journal::Entry,
    schedule::Schedule,
    states::SequenceState,
    time::{Night, UtcTime},
};
use chrono::NaiveDateTime;
use diesel::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// A night as its row tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NightSummary {
    /// Evening date.
    pub night: String,
    pub began_at: UtcTime,
    pub sunset: Option<UtcTime>,
    pub dusk: Option<UtcTime>,
    pub dawn: Option<UtcTime>,
    pub sunrise: Option<UtcTime>,
    /// The last state it was in, and why.
    pub state: Option<String>,
    pub cause: Option<String>,
    /// Of the report, below the data folder.
    pub report: Option<String>,
}

/// What a picture needs of a sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequenceFace {
    pub target: String,
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub user: String,
    pub state: SequenceState,
    /// It follows an alert.
    pub from_alert: bool,
}

/// Which log lines are wanted; what is absent is not asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFilter {
    pub severity: Option<String>,
    pub source: Option<String>,
    /// Part of the message, whatever its case.
    pub text: Option<String>,
    /// Only lines before this number.
    pub before: Option<u64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = nights)]
struct NightRow {
    night: String,
    began_at: NaiveDateTime,
    sunset: Option<NaiveDateTime>,
    dusk: Option<NaiveDateTime>,
    dawn: Option<NaiveDateTime>,
    sunrise: Option<NaiveDateTime>,
    state: Option<String>,
    cause: Option<String>,
    report_path: Option<String>,
}

impl NightRow {
    fn summary(self) -> NightSummary {
        NightSummary {
            night: self.night,
            began_at: utc(self.began_at),
            sunset: self.sunset.map(utc),
            dusk: self.dusk.map(utc),
            dawn: self.dawn.map(utc),
            sunrise: self.sunrise.map(utc),
            state: self.state,
            cause: self.cause,
            report: self.report_path,
        }
    }
}

impl Store {
    /// Nights before an evening date (all without one), the newest first.
    pub fn nights_before(&mut self, before: Option<Night>, limit: u32) -> Result<Vec<NightSummary>, StoreError> {
        self.read(|c| {
            let mut query = nights::table
                .order(nights::night.desc())
                .limit(i64::from(limit))
                .into_boxed();
            if let Some(before) = before {
                query = query.filter(nights::night.lt(before.to_string()));
            }
            let rows: Vec<NightRow> = query.select(NightRow::as_select()).load(c)?;
            Ok(rows.into_iter().map(NightRow::summary).collect())
        })
    }

    /// Schedules that were made from `from` up to, not including, `until`, oldest first; the last `limit` of them.
    pub fn schedules_between(
        &mut self,
        from: UtcTime,
        until: UtcTime,
        limit: u32,
    ) -> Result<Vec<Schedule>, StoreError> {
        self.read(|c| {
            let within = schedules::made_at
                .ge(naive(from))
                .and(schedules::made_at.lt(naive(until)));
            let mut rows: Vec<ScheduleRow> = schedules::table
                .filter(within)
                .order(schedules::seq.desc())
                .limit(i64::from(limit))
                .select(ScheduleRow::as_select())
                .load(c)?;
            rows.reverse();
            rows.into_iter().map(|row| schedule_of(c, row)).collect()
        })
    }

    /// Entries of some kinds from `from` up to, not including, `until`, oldest first; what this version cannot read is
    /// left out.
    pub fn entries_between(&mut self, kinds: &[&str], from: UtcTime, until: UtcTime) -> Result<Vec<Entry>, StoreError> {
        self.read(|c| {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            let within = journal::at.ge(naive(from)).and(journal::at.lt(naive(until)));
            let rows: Vec<String> = journal::table
                .filter(journal::kind.eq_any(kinds).and(within))
                .order(journal::seq)
                .select(journal::entry)
                .load(c)?;
            Ok(rows.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
        })
    }

    /// What pictures need of sequences, by identifier; unknown ones are left out.
    pub fn faces(&mut self, ids: &[String]) -> Result<BTreeMap<String, SequenceFace>, StoreError> {
        self.read(|c| {
            let mut faces = BTreeMap::new();
            // A statement takes a limited number of values.
            for some in ids.chunks(500) {
                type Row = (String, String, f64, f64, String, String, Option<String>);
                let rows: Vec<Row> = sequences::table
                    .inner_join(requests::table.on(requests::id.eq(sequences::request_id)))
                    .filter(sequences::id.eq_any(some.to_vec()))
                    .select((
                        sequences::id,
                        sequences::target_name,
                        sequences::ra_deg,
                        sequences::dec_deg,
                        sequences::user_id,
                        sequences::state,
                        requests::event_id,
                    ))
                    .load(c)?;
                for (id, target, ra_deg, dec_deg, user, state, event) in rows {
                    let face = SequenceFace {
                        target,
                        ra_deg,
                        dec_deg,
                        user,
                        state: state.parse().map_err(garbled("sequences"))?,
                        from_alert: event.is_some(),
                    };
                    faces.insert(id, face);
                }
            }
            Ok(faces)
        })
    }

    /// Targets that were asked for, by users, with `folded` in their name (small letters, without white space): name, right
    /// ascension and declination in ICRS degrees, those asked for last first.
    pub fn targets_like(&mut self, folded: &str, limit: u32) -> Result<Vec<(String, f64, f64)>, StoreError> {
        self.read(|c| {
            let pattern = format!("%{}%", escaped(folded));
            let name = replace(lower(sequences::target_name), " ", "");
            Ok(sequences::table
                .inner_join(requests::table.on(requests::id.eq(sequences::request_id)))
                .filter(requests::event_id.is_null().and(name.like(pattern).escape('\\')))
                .order(requests::seq.desc())
                .limit(i64::from(limit))
                .select((sequences::target_name, sequences::ra_deg, sequences::dec_deg))
                .load(c)?)
        })
    }

    /// As [`Store::weather`], but at most `limit` samples, the earliest.
    pub fn weather_page(
        &mut self,
        from: UtcTime,
        until: UtcTime,
        quantity: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WeatherSample>, StoreError> {
        self.read(|c| {
            let within = weather_samples::at
                .ge(naive(from))
                .and(weather_samples::at.lt(naive(until)));
            let mut query = weather_samples::table
                .filter(within)
                .order((weather_samples::at, weather_samples::quantity))
                .limit(i64::from(limit))
                .into_boxed();
            if let Some(quantity) = quantity {
                query = query.filter(weather_samples::quantity.eq(quantity));
            }
            let rows: Vec<WeatherRow> = query.select(WeatherRow::as_select()).load(c)?;
            rows.into_iter()
                .map(|row| sample(row).map_err(garbled("weather_samples")))
                .collect()
        })
    }

    /// Log lines that pass a filter, the newest first.
    pub fn log_before(&mut self, filter: &LogFilter, limit: u32) -> Result<Vec<LogLine>, StoreError> {
        self.read(|c| {
            let mut query = logs::table.order(logs::seq.desc()).limit(i64::from(limit)).into_boxed();
            if let Some(severity) = &filter.severity {
                query = query.filter(logs::severity.eq(severity.clone()));
            }
            if let Some(source) = &filter.source {
                query = query.filter(logs::source.eq(source.clone()));
            }
            if let Some(before) = filter.before {
                query = query.filter(logs::seq.lt(whole(before)));
            }
            if let Some(text) = &filter.text {
                let pattern = format!("%{}%", escaped(&text.to_lowercase()));
                query = query.filter(lower(logs::message).like(pattern).escape('\\'));
            }
            let rows: Vec<(i64, NaiveDateTime, String, String, String)> = query.load(c)?;
            Ok(rows
                .into_iter()
                .map(|(seq, at, severity, source, message)| LogLine {
                    seq: number(seq),
                    at: utc(at),
                    severity,
                    source,
                    message,
                })
                .collect())
        })
    }
}

/// What the searcher writes is text, not a pattern.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

diesel::define_sql_function! {
    /// The text with every `from` replaced.
    fn replace(
        text: diesel::sql_types::Text,
        from: diesel::sql_types::Text,
        to: diesel::sql_types::Text,
    ) -> diesel::sql_types::Text;
}

diesel::define_sql_function! {
    /// The text in small letters.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}
