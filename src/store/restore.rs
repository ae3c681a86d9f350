//! What a restart reads back.

use super::{
    ReadError, Store, StoreError,
    connection::AnyConnection,
    rows::{AlbumRow, ExposureRow, PlaceRow, PlanRow, PostingRow, RequestRow, ScheduleRow, SequenceRow, utc},
    schema::*,
};
use alidade_model::{
    book::{Book, Standing},
    exposure::Exposure,
    ledger::Ledger,
    request::{Album, Request, Sequence, SequenceId},
    schedule::Schedule,
    states::{EventState, RunState, SequenceState, UnitState},
    time::UtcTime,
};
use diesel::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything the agents had in memory, as the last committed append left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Number of the last journal entry; 0 on a new database.
    pub last_seq: u64,
    /// How many times a daemon has started on this database.
    pub boots: u32,
    pub book: Book,
    /// Exposures that started and whose end was never recorded, oldest first: each must be ended as failed (OBS-5).
    pub open_exposures: Vec<Exposure>,
    pub events: BTreeMap<String, EventStanding>,
    /// Identifiers of all packets ever received, whatever their verdict.
    pub seen_packets: BTreeSet<String>,
    pub latest_schedule: Option<Schedule>,
    pub runs: BTreeMap<String, RunStanding>,
    pub units: BTreeMap<String, UnitStanding>,
}

/// Where an alert event stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventStanding {
    pub id: String,
    pub state: EventState,
    pub name: String,
    /// ICRS, degrees.
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    /// Radius of the 90 % region, degrees.
    pub r90_deg: Option<f64>,
    pub cause: String,
    pub first_at: UtcTime,
    pub moved_at: UtcTime,
    pub decision: Option<Decision>,
    /// Identifiers of its packets, in the order of their arrival.
    pub packets: Vec<String>,
}

/// What was decided about an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    pub followed: bool,
    pub strategy: Option<String>,
    pub reason: String,
    pub request: Option<String>,
    pub at: UtcTime,
}

/// Where a pipeline run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStanding {
    pub pipeline: String,
    pub state: RunState,
    pub cause: String,
    pub moved_at: UtcTime,
}

/// Where an observation-unit set stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitStanding {
    pub program: String,
    pub state: UnitState,
    pub author: String,
    pub cause: String,
    pub moved_at: UtcTime,
}

impl Store {
    /// Reads back what the last committed append left.
    pub fn restore(&mut self) -> Result<Restored, StoreError> {
        self.read(|c| {
            let last: Option<i64> = journal::table.select(diesel::dsl::max(journal::seq)).first(c)?;
            let boots: Option<i32> = boots::table.select(diesel::dsl::max(boots::boot)).first(c)?;
            let packets: Vec<String> = alerts::table.select(alerts::packet).distinct().load(c)?;
            let newest: Option<ScheduleRow> = schedules::table
                .order(schedules::seq.desc())
                .select(ScheduleRow::as_select())
                .first(c)
                .optional()?;
            Ok(Restored {
                last_seq: u64::try_from(last.unwrap_or(0)).unwrap_or(0),
                boots: u32::try_from(boots.unwrap_or(0)).unwrap_or(0),
                book: book(c)?,
                open_exposures: open_exposures(c)?,
                events: events(c)?.into_iter().map(|event| (event.id.clone(), event)).collect(),
                seen_packets: packets.into_iter().collect(),
                latest_schedule: newest.map(|row| schedule_of(c, row)).transpose()?,
                runs: runs(c)?,
                units: units(c)?,
            })
        })
    }
}

pub(super) fn garbled(table: &'static str) -> impl Fn(String) -> ReadError {
    move |cause| ReadError::Garbled(table, cause)
}

fn book(c: &mut AnyConnection) -> Result<Book, ReadError> {
    let rows: Vec<SequenceRow> = sequences::table
        .order((sequences::request_id, sequences::position))
        .select(SequenceRow::as_select())
        .load(c)?;
    let mut states = BTreeMap::new();
    let mut reasons: Vec<(SequenceId, String)> = Vec::new();
    for row in &rows {
        let state: SequenceState = row.state.parse().map_err(garbled("sequences"))?;
        let done: BTreeMap<String, u32> =
            serde_json::from_str(&row.progress).map_err(|e| ReadError::Garbled("sequences", e.to_string()))?;
        let moved_at = utc(row.moved_at);
        states.insert(row.id.clone(), Standing { state, moved_at, done });
        reasons.extend(row.why.clone().map(|why| (row.id.clone(), why)));
    }
    let request_rows: Vec<RequestRow> = requests::table
        .order(requests::seq)
        .select(RequestRow::as_select())
        .load(c)?;
    let albums: Vec<AlbumRow> = albums::table
        .order((albums::sequence_id, albums::position))
        .select(AlbumRow::as_select())
        .load(c)?;
    let plans: Vec<PlanRow> = plans::table
        .order((plans::sequence_id, plans::album, plans::position))
        .select(PlanRow::as_select())
        .load(c)?;
    let requests = assemble(request_rows, rows, albums, plans)?;
    let institutes: Vec<(String, String)> = users::table.select((users::id, users::institute)).load(c)?;
    let mut book = Book::restored(requests, states, institutes.into_iter().collect(), ledger(c)?);
    for (id, why) in reasons {
        book.explain(&id, &why);
    }
    Ok(book)
}

/// Puts requests together again from rows that are ordered by position.
pub(super) fn assemble(
    requests: Vec<RequestRow>,
    sequences: Vec<SequenceRow>,
    albums: Vec<AlbumRow>,
    plans: Vec<PlanRow>,
) -> Result<Vec<Request>, ReadError> {
    let mut plans_of: BTreeMap<(String, i32), Vec<_>> = BTreeMap::new();
    for row in plans {
        let key = (row.sequence_id.clone(), row.album);
        plans_of
            .entry(key)
            .or_default()
            .push(row.into_plan().map_err(garbled("plans"))?);
    }
    let mut albums_of: BTreeMap<String, Vec<Album>> = BTreeMap::new();
    for row in albums {
        let plans = plans_of
            .remove(&(row.sequence_id.clone(), row.position))
            .unwrap_or_default();
        albums_of.entry(row.sequence_id).or_default().push(Album {
            channel: row.channel,
            plans,
        });
    }
    let mut sequences_of: BTreeMap<String, Vec<Sequence>> = BTreeMap::new();
    for row in sequences {
        let albums = albums_of.remove(&row.id).unwrap_or_default();
        sequences_of
            .entry(row.request_id.clone())
            .or_default()
            .push(row.into_sequence(albums).map_err(garbled("sequences"))?);
    }
    Ok(requests
        .into_iter()
        .map(|row| {
            let sequences = sequences_of.remove(&row.id).unwrap_or_default();
            row.into_request(sequences)
        })
        .collect())
}

fn ledger(c: &mut AnyConnection) -> Result<Ledger, ReadError> {
    let rows: Vec<PostingRow> = quota_postings::table
        .order(quota_postings::seq)
        .select(PostingRow::as_select())
        .load(c)?;
    let mut ledger = Ledger::default();
    for row in rows {
        let posting = row.into_posting().map_err(garbled("quota_postings"))?;
        ledger
            .post(&posting)
            .map_err(|e| ReadError::Garbled("quota_postings", e.to_string()))?;
    }
    Ok(ledger)
}

fn open_exposures(c: &mut AnyConnection) -> Result<Vec<Exposure>, ReadError> {
    let rows: Vec<ExposureRow> = exposures::table
        .filter(exposures::ended_at.is_null())
        .order(exposures::seq)
        .select(ExposureRow::as_select())
        .load(c)?;
    rows.into_iter()
        .map(|row| row.into_exposure().map_err(garbled("exposures")))
        .collect()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = alert_events)]
struct EventRow {
    id: String,
    state: String,
    name: String,
    ra_deg: Option<f64>,
    dec_deg: Option<f64>,
    r90_deg: Option<f64>,
    cause: String,
    first_at: chrono::NaiveDateTime,
    moved_at: chrono::NaiveDateTime,
    followed: Option<bool>,
    strategy: Option<String>,
    decision: Option<String>,
    request_id: Option<String>,
    decided_at: Option<chrono::NaiveDateTime>,
}

/// All events in the order of their first packet.
pub(super) fn events(c: &mut AnyConnection) -> Result<Vec<EventStanding>, ReadError> {
    let rows: Vec<EventRow> = alert_events::table
        .order((alert_events::seq, alert_events::id))
        .select(EventRow::as_select())
        .load(c)?;
    let links: Vec<(String, String)> = alert_event_packets::table
        .order((alert_event_packets::seq, alert_event_packets::packet))
        .select((alert_event_packets::event_id, alert_event_packets::packet))
        .load(c)?;
    let mut packets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (event, packet) in links {
        packets.entry(event).or_default().push(packet);
    }
    rows.into_iter()
        .map(|row| {
            let decision = row.followed.zip(row.decided_at).map(|(followed, at)| Decision {
                followed,
                strategy: row.strategy,
                reason: row.decision.unwrap_or_default(),
                request: row.request_id,
                at: utc(at),
            });
            Ok(EventStanding {
                packets: packets.remove(&row.id).unwrap_or_default(),
                state: row.state.parse().map_err(garbled("alert_events"))?,
                id: row.id,
                name: row.name,
                ra_deg: row.ra_deg,
                dec_deg: row.dec_deg,
                r90_deg: row.r90_deg,
                cause: row.cause,
                first_at: utc(row.first_at),
                moved_at: utc(row.moved_at),
                decision,
            })
        })
        .collect()
}

pub(super) fn schedule_of(c: &mut AnyConnection, row: ScheduleRow) -> Result<Schedule, ReadError> {
    let places: Vec<PlaceRow> = schedule_sequences::table
        .filter(schedule_sequences::schedule_seq.eq(row.seq))
        .order(schedule_sequences::position)
        .select(PlaceRow::as_select())
        .load(c)?;
    row.into_schedule(places).map_err(garbled("schedule_sequences"))
}

fn runs(c: &mut AnyConnection) -> Result<BTreeMap<String, RunStanding>, ReadError> {
    use pipeline_runs as runs;
    let rows: Vec<(String, String, String, String, chrono::NaiveDateTime)> = runs::table
        .select((runs::id, runs::pipeline, runs::state, runs::cause, runs::moved_at))
        .load(c)?;
    rows.into_iter()
        .map(|(id, pipeline, state, cause, moved_at)| {
            let state = state.parse().map_err(garbled("pipeline_runs"))?;
            Ok((
                id,
                RunStanding {
                    pipeline,
                    state,
                    cause,
                    moved_at: utc(moved_at),
                },
            ))
        })
        .collect()
}

fn units(c: &mut AnyConnection) -> Result<BTreeMap<String, UnitStanding>, ReadError> {
    use observation_unit_sets as sets;
    let rows: Vec<(String, String, String, String, String, chrono::NaiveDateTime)> = sets::table
        .select((
            sets::id,
            sets::program,
            sets::state,
            sets::author,
            sets::cause,
            sets::moved_at,
        ))
        .load(c)?;
    rows.into_iter()
        .map(|(id, program, state, author, cause, moved_at)| {
            let state = state.parse().map_err(garbled("observation_unit_sets"))?;
            Ok((
                id,
                UnitStanding {
                    program,
                    state,
                    author,
                    cause,
                    moved_at: utc(moved_at),
                },
            ))
        })
        .collect()
}
