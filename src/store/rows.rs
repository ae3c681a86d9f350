//! Rows and their translation from and to the vocabulary of `alidade_model`.
//!
//! Instants outside the years 1 to 9999 are clamped to them: SQLite orders instants as text and PostgreSQL's calendar
//! is shorter than chrono's. A measured number that is not finite becomes NULL.

use super::schema::*;
use alidade_model::{
    exposure::{Exposure, Product},
    ledger::Posting,
    request::{Album, Constraints, Origin, Plan, Request, Sequence, Target},
    schedule::{Placed, Schedule, Unplaced},
    time::UtcTime,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use diesel::prelude::{Identifiable, Insertable, Queryable, Selectable};
use serde::{Serialize, de::DeserializeOwned};

/// What a column holds that it should not hold.
pub(super) type Garbled = String;

pub(super) fn naive(time: UtcTime) -> NaiveDateTime {
    let first = NaiveDate::from_ymd_opt(1, 1, 1).map(|d| d.and_time(NaiveTime::MIN));
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).and_then(|d| d.and_hms_micro_opt(23, 59, 59, 999_999));
    let naive = time.chrono().naive_utc();
    naive.max(first.unwrap_or(naive)).min(last.unwrap_or(naive))
}

pub(super) fn utc(naive: NaiveDateTime) -> UtcTime {
    UtcTime::new(naive.and_utc())
}

/// The JSON word of an enum, e.g. `master_bias`.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => format!("unwritable: {error}"),
    }
}

pub(super) fn from_word<T: DeserializeOwned>(word: &str) -> Result<T, Garbled> {
    serde_json::from_value(serde_json::Value::String(word.into())).map_err(|e| e.to_string())
}

pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A count as the databases' widest whole number.
pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn narrow(value: i64) -> Result<u32, Garbled> {
    u32::try_from(value).map_err(|_| format!("{value} is not a count"))
}

pub(super) fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable, Identifiable)]
#[diesel(table_name = journal, primary_key(seq))]
pub(super) struct JournalRow {
    pub seq: i64,
    pub at: NaiveDateTime,
    pub kind: String,
    pub entry: String,
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = requests)]
pub(super) struct RequestRow {
    pub id: String,
    pub seq: i64,
    pub title: String,
    pub user_id: String,
    pub origin: String,
    pub event_id: Option<String>,
    pub strategy: Option<String>,
    pub submitted_at: NaiveDateTime,
}

impl RequestRow {
    pub fn new(seq: u64, request: &Request) -> Self {
        let (origin, event_id, strategy) = match &request.origin {
            Origin::Routine => ("routine", None, None),
            Origin::Alert { event, strategy } => ("alert", Some(event.clone()), Some(strategy.clone())),
        };
        Self {
            id: request.id.clone(),
            seq: whole(seq),
            title: request.title.clone(),
            user_id: request.user.clone(),
            origin: origin.into(),
            event_id,
            strategy,
            submitted_at: naive(request.submitted_at),
        }
    }

    pub fn into_request(self, sequences: Vec<Sequence>) -> Request {
        let origin = match (self.event_id, self.strategy) {
            (Some(event), Some(strategy)) => Origin::Alert { event, strategy },
            _ => Origin::Routine,
        };
        Request {
            id: self.id,
            title: self.title,
            user: self.user_id,
            origin,
            submitted_at: utc(self.submitted_at),
            sequences,
        }
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = sequences)]
pub(super) struct SequenceRow {
    pub id: String,
    pub request_id: String,
    pub position: i32,
    pub user_id: String,
    pub target_name: String,
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub priority: f64,
    pub window_start: Option<NaiveDateTime>,
    pub window_end: Option<NaiveDateTime>,
    pub t_prefered: Option<NaiveDateTime>,
    pub min_alt_deg: f64,
    pub moon_sep_deg: f64,
    pub sun_max_alt_deg: f64,
    pub state: String,
    pub why: Option<String>,
    pub moved_at: NaiveDateTime,
    pub progress: String,
    pub constraints: Option<String>,
    pub timing: Option<String>,
}

/// A document in a column; NULL for what is as usual.
fn document<T: Serialize + Default + PartialEq>(value: &T) -> Option<String> {
    // What the model holds can always be written: its maps have text for keys.
    (*value != T::default())
        .then(|| serde_json::to_string(value).ok())
        .flatten()
}

fn from_document<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, Garbled> {
    text.map(|text| serde_json::from_str(&text).map_err(|e| e.to_string()))
        .transpose()
}

/// The three numbers that have columns of their own, and no other limit.
fn plain(min_alt_deg: f64, moon_sep_deg: f64, sun_max_alt_deg: f64) -> Constraints {
    Constraints {
        min_alt_deg,
        moon_sep_deg,
        sun_max_alt_deg,
        ..Constraints::default()
    }
}

impl SequenceRow {
    pub fn new(request: &Request, index: usize, sequence: &Sequence, at: NaiveDateTime) -> Self {
        Self {
            id: sequence.id.clone(),
            request_id: request.id.clone(),
            position: position(index),
            user_id: sequence.user.clone(),
            target_name: sequence.target.name.clone(),
            ra_deg: sequence.target.ra_deg,
            dec_deg: sequence.target.dec_deg,
            priority: sequence.priority,
            window_start: sequence.window.map(|w| naive(w.0)),
            window_end: sequence.window.map(|w| naive(w.1)),
            t_prefered: sequence.t_prefered.map(naive),
            min_alt_deg: sequence.constraints.min_alt_deg,
            moon_sep_deg: sequence.constraints.moon_sep_deg,
            sun_max_alt_deg: sequence.constraints.sun_max_alt_deg,
            state: alidade_model::states::SequenceState::Submitted.as_str().into(),
            why: None,
            moved_at: at,
            progress: "{}".into(),
            constraints: {
                let c = &sequence.constraints;
                (*c != plain(c.min_alt_deg, c.moon_sep_deg, c.sun_max_alt_deg))
                    .then(|| document(c))
                    .flatten()
            },
            timing: document(&sequence.timing),
        }
    }

    pub fn into_sequence(self, albums: Vec<Album>) -> Result<Sequence, Garbled> {
        let constraints = from_document(self.constraints)?
            .unwrap_or_else(|| plain(self.min_alt_deg, self.moon_sep_deg, self.sun_max_alt_deg));
        Ok(Sequence {
            id: self.id,
            request: self.request_id,
            user: self.user_id,
            target: Target {
                name: self.target_name,
                ra_deg: self.ra_deg,
                dec_deg: self.dec_deg,
            },
            priority: self.priority,
            window: self.window_start.map(utc).zip(self.window_end.map(utc)),
            t_prefered: self.t_prefered.map(utc),
            constraints,
            timing: from_document(self.timing)?.unwrap_or_default(),
            albums,
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = albums)]
pub(super) struct AlbumRow {
    pub sequence_id: String,
    pub position: i32,
    pub channel: String,
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = plans)]
pub(super) struct PlanRow {
    pub sequence_id: String,
    pub album: i32,
    pub position: i32,
    pub filter: String,
    pub exposure_s: f64,
    pub frames: i64,
    pub binning: i64,
    pub dither_arcsec: f64,
}

impl PlanRow {
    pub fn new(sequence: &str, album: usize, index: usize, plan: &Plan) -> Self {
        Self {
            sequence_id: sequence.into(),
            album: position(album),
            position: position(index),
            filter: plan.filter.clone(),
            exposure_s: plan.exposure_s,
            frames: i64::from(plan.count),
            binning: i64::from(plan.binning),
            dither_arcsec: plan.dither_arcsec,
        }
    }

    pub fn into_plan(self) -> Result<Plan, Garbled> {
        Ok(Plan {
            filter: self.filter,
            exposure_s: self.exposure_s,
            count: narrow(self.frames)?,
            binning: narrow(self.binning)?,
            dither_arcsec: self.dither_arcsec,
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = schedules)]
pub(super) struct ScheduleRow {
    pub seq: i64,
    pub id: String,
    pub made_at: NaiveDateTime,
    pub cause: String,
    pub is_first: bool,
    pub objective: Option<f64>,
    pub upper_bound: Option<f64>,
}

impl ScheduleRow {
    pub fn new(seq: u64, schedule: &Schedule) -> Self {
        Self {
            seq: whole(seq),
            id: schedule.id.clone(),
            made_at: naive(schedule.made_at),
            cause: schedule.cause.clone(),
            is_first: schedule.first,
            objective: finite(schedule.objective),
            upper_bound: finite(schedule.upper_bound),
        }
    }

    /// A bound that was not finite was no bound.
    pub fn into_schedule(self, places: Vec<PlaceRow>) -> Result<Schedule, Garbled> {
        let mut schedule = Schedule {
            id: self.id,
            made_at: utc(self.made_at),
            cause: self.cause,
            first: self.is_first,
            placed: Vec::new(),
            unplaced: Vec::new(),
            objective: self.objective.unwrap_or_default(),
            upper_bound: self.upper_bound.unwrap_or(f64::INFINITY),
        };
        for place in places {
            if place.placed {
                schedule.placed.push(place.into_placed()?);
            } else {
                schedule.unplaced.push(place.into_unplaced()?);
            }
        }
        Ok(schedule)
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = schedule_sequences)]
pub(super) struct PlaceRow {
    pub schedule_seq: i64,
    pub position: i32,
    pub sequence_id: String,
    pub placed: bool,
    pub tsp: Option<NaiveDateTime>,
    pub tep: Option<NaiveDateTime>,
    pub delta_tl_s: Option<f64>,
    pub delta_tr_s: Option<f64>,
    pub reason: Option<String>,
    pub sentence: Option<String>,
    pub earliest: Option<NaiveDateTime>,
    pub setup_s: Option<f64>,
    pub detail: Option<String>,
    pub excluded: Option<String>,
    pub chance: Option<String>,
}

impl PlaceRow {
    pub fn all_of(seq: u64, schedule: &Schedule) -> Vec<Self> {
        let placed = schedule.placed.iter().map(|p| Self {
            schedule_seq: whole(seq),
            position: 0,
            sequence_id: p.sequence.clone(),
            placed: true,
            tsp: Some(naive(p.start)),
            tep: Some(naive(p.end)),
            delta_tl_s: finite(p.delta_tl_s),
            delta_tr_s: finite(p.delta_tr_s),
            reason: None,
            sentence: None,
            earliest: p.earliest.map(naive),
            setup_s: finite(p.setup_s),
            detail: None,
            excluded: None,
            chance: document(&p.chance),
        });
        let unplaced = schedule.unplaced.iter().map(|u| Self {
            schedule_seq: whole(seq),
            position: 0,
            sequence_id: u.sequence.clone(),
            placed: false,
            tsp: None,
            tep: None,
            delta_tl_s: None,
            delta_tr_s: None,
            reason: Some(u.reason.clone()),
            sentence: Some(u.sentence.clone()),
            earliest: None,
            setup_s: None,
            detail: document(&u.detail),
            excluded: document(&u.excluded),
            chance: document(&u.chance),
        });
        placed
            .chain(unplaced)
            .enumerate()
            .map(|(i, row)| Self {
                position: position(i),
                ..row
            })
            .collect()
    }

    pub fn into_placed(self) -> Result<Placed, Garbled> {
        let (Some(start), Some(end)) = (self.tsp, self.tep) else {
            return Err(format!("sequence {} is placed without a time", self.sequence_id));
        };
        Ok(Placed {
            sequence: self.sequence_id,
            start: utc(start),
            setup_s: self.setup_s.unwrap_or_default(),
            end: utc(end),
            delta_tl_s: self.delta_tl_s.unwrap_or_default(),
            delta_tr_s: self.delta_tr_s.unwrap_or_default(),
            earliest: self.earliest.map(utc),
            chance: from_document(self.chance)?.unwrap_or_default(),
        })
    }

    pub fn into_unplaced(self) -> Result<Unplaced, Garbled> {
        Ok(Unplaced {
            sequence: self.sequence_id,
            reason: self.reason.unwrap_or_default(),
            sentence: self.sentence.unwrap_or_default(),
            detail: from_document(self.detail)?.unwrap_or_default(),
            excluded: from_document(self.excluded)?.unwrap_or_default(),
            chance: from_document(self.chance)?.unwrap_or_default(),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = quota_postings)]
pub(super) struct PostingRow {
    pub seq: i64,
    pub at: NaiveDateTime,
    pub account: String,
    pub from_book: String,
    pub to_book: String,
    pub amount_us: i64,
    pub sequence_id: Option<String>,
    pub cause: String,
}

impl PostingRow {
    pub fn new(seq: u64, posting: &Posting) -> Self {
        Self {
            seq: whole(seq),
            at: naive(posting.at),
            account: posting.account.clone(),
            from_book: posting.from.as_str().into(),
            to_book: posting.to.as_str().into(),
            amount_us: posting.amount_us,
            sequence_id: posting.sequence.clone(),
            cause: posting.cause.clone(),
        }
    }

    pub fn into_posting(self) -> Result<Posting, Garbled> {
        Ok(Posting {
            account: self.account,
            from: self.from_book.parse()?,
            to: self.to_book.parse()?,
            amount_us: self.amount_us,
            sequence: self.sequence_id,
            cause: self.cause,
            at: utc(self.at),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = exposures)]
pub(super) struct ExposureRow {
    pub id: String,
    pub seq: i64,
    pub sequence_id: Option<String>,
    pub channel: String,
    pub kind: String,
    pub filter: String,
    pub exposure_s: f64,
    pub binning: i64,
    pub started_at: NaiveDateTime,
}

impl ExposureRow {
    pub fn new(seq: u64, exposure: &Exposure) -> Self {
        Self {
            id: exposure.id.clone(),
            seq: whole(seq),
            sequence_id: exposure.sequence.clone(),
            channel: exposure.channel.clone(),
            kind: word(&exposure.kind),
            filter: exposure.filter.clone(),
            exposure_s: exposure.exposure_s,
            binning: i64::from(exposure.binning),
            started_at: naive(exposure.started_at),
        }
    }

    pub fn into_exposure(self) -> Result<Exposure, Garbled> {
        Ok(Exposure {
            id: self.id,
            sequence: self.sequence_id,
            channel: self.channel,
            kind: from_word(&self.kind)?,
            filter: self.filter,
            exposure_s: self.exposure_s,
            binning: narrow(self.binning)?,
            started_at: utc(self.started_at),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = products)]
pub(super) struct ProductRow {
    pub id: String,
    pub seq: i64,
    pub kind: String,
    pub exposure_id: Option<String>,
    pub sequence_id: Option<String>,
    pub path: String,
    pub size_bytes: i64,
    pub sha256: String,
    pub made_at: NaiveDateTime,
}

impl ProductRow {
    pub fn new(seq: u64, product: &Product) -> Self {
        Self {
            id: product.id.clone(),
            seq: whole(seq),
            kind: word(&product.kind),
            exposure_id: product.exposure.clone(),
            sequence_id: product.sequence.clone(),
            path: product.path.clone(),
            size_bytes: whole(product.size_bytes),
            sha256: product.sha256.clone(),
            made_at: naive(product.made_at),
        }
    }

    pub fn into_product(self) -> Result<Product, Garbled> {
        Ok(Product {
            id: self.id,
            kind: from_word(&self.kind)?,
            exposure: self.exposure_id,
            sequence: self.sequence_id,
            path: self.path,
            size_bytes: u64::try_from(self.size_bytes).map_err(|e| e.to_string())?,
            sha256: self.sha256,
            made_at: utc(self.made_at),
        })
    }
}

#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = weather_samples)]
pub(super) struct WeatherRow {
    pub at: NaiveDateTime,
    pub quantity: String,
    pub value: Option<f64>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = alerts)]
pub(super) struct PacketRow {
    pub seq: i64,
    pub received_at: NaiveDateTime,
    pub packet: String,
    pub channel: String,
    pub verdict: String,
    pub reason: String,
    pub body: Vec<u8>,
    pub event: Option<String>,
}
