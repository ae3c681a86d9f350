//! What gateways and commands ask. Lists are in journal order and bounded by their caller.

use super::{
    ReadError, Store, StoreError,
    connection::AnyConnection,
    restore::{EventStanding, assemble, events, garbled, schedule_of},
    rows::{
        AlbumRow, JournalRow, PacketRow, PlaceRow, PlanRow, PostingRow, ProductRow, RequestRow, ScheduleRow,
        SequenceRow, WeatherRow, from_word, naive, utc, whole,
    },
    schema::*,
};
use alidade_model::{
    exposure::Product,
    journal::Entry,
    ledger::{Balance, Posting},
    reading::NoData,
    request::{Request, Sequence},
    schedule::{Excluded, Placed, Schedule, Unplaced},
    states::SequenceState,
    time::{Night, UtcTime},
};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One journal row as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalLine {
    pub seq: u64,
    pub at: UtcTime,
    /// The fact's tag, e.g. `sequence_moved`.
    pub kind: String,
    /// The whole entry as JSON, exactly as it was appended.
    pub json: String,
}

impl JournalLine {
    /// The entry; fails on a fact of a later version.
    pub fn entry(&self) -> Result<Entry, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

/// A request with how far its sequences are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// Number of the journal entry that submitted it.
    pub seq: u64,
    pub id: String,
    pub title: String,
    pub user: String,
    /// The event and strategy it follows, for an alert's request.
    pub alert: Option<(String, String)>,
    pub submitted_at: UtcTime,
    /// How many sequences are in which state.
    pub states: BTreeMap<SequenceState, u32>,
}

/// One sequence with everything that explains its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceDetail {
    pub sequence: Sequence,
    pub state: SequenceState,
    /// Cause of its last move.
    pub why: Option<String>,
    pub moved_at: UtcTime,
    /// Exposures on disk per channel.
    pub done: BTreeMap<String, u32>,
    /// What the last schedule that considered it said.
    pub verdict: Option<Verdict>,
}

/// What a schedule said about one sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Placed {
        schedule: String,
        made_at: UtcTime,
        place: Placed,
    },
    Unplaced {
        schedule: String,
        made_at: UtcTime,
        reason: Unplaced,
    },
}

/// One minute's measurement of one quantity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeatherSample {
    pub at: UtcTime,
    /// With its unit as suffix, e.g. `wind_gust_m_s`.
    pub quantity: String,
    pub value: Result<f64, NoData>,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    pub seq: u64,
    pub at: UtcTime,
    pub severity: String,
    /// `alarm`, `degraded`, `invariant` or `operator`.
    pub source: String,
    pub message: String,
}

/// A packet as it was received.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Packet {
    pub seq: u64,
    pub received_at: UtcTime,
    pub packet: String,
    pub channel: String,
    pub verdict: String,
    pub reason: String,
    /// As the fact has it.
    pub body: String,
    /// The event it was put into.
    pub event: Option<String>,
}

pub(super) fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or_default()
}

impl Store {
    /// Up to `limit` entries with numbers above `after`.
    pub fn journal_page(&mut self, after: u64, limit: u32) -> Result<Vec<JournalLine>, StoreError> {
        self.read(|c| {
            let rows: Vec<JournalRow> = journal::table
                .filter(journal::seq.gt(whole(after)))
                .order(journal::seq)
                .limit(i64::from(limit))
                .select(JournalRow::as_select())
                .load(c)?;
            Ok(rows
                .into_iter()
                .map(|row| JournalLine {
                    seq: number(row.seq),
                    at: utc(row.at),
                    kind: row.kind,
                    json: row.entry,
                })
                .collect())
        })
    }

    /// The last entry of one kind, or of any.
    pub fn last_entry(&mut self, kind: Option<&str>) -> Result<Option<JournalLine>, StoreError> {
        self.read(|c| {
            let mut query = journal::table.order(journal::seq.desc()).limit(1).into_boxed();
            if let Some(kind) = kind {
                query = query.filter(journal::kind.eq(kind));
            }
            let row: Option<JournalRow> = query.select(JournalRow::as_select()).first(c).optional()?;
            Ok(row.map(|row| JournalLine {
                seq: number(row.seq),
                at: utc(row.at),
                kind: row.kind,
                json: row.entry,
            }))
        })
    }

    /// Entries of some kinds from `from` on, oldest first; what a later version wrote and this one cannot read is left out.
    pub fn entries_of(&mut self, kinds: &[&str], from: UtcTime) -> Result<Vec<Entry>, StoreError> {
        self.read(|c| {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            let rows: Vec<String> = journal::table
                .filter(journal::kind.eq_any(kinds).and(journal::at.ge(naive(from))))
                .order(journal::seq)
                .select(journal::entry)
                .load(c)?;
            Ok(rows.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
        })
    }

    /// The newest `limit` requests, newest first; of one user when given.
    pub fn requests(&mut self, user: Option<&str>, limit: u32) -> Result<Vec<RequestSummary>, StoreError> {
        self.requests_before(user, None, limit)
    }

    /// As [`Store::requests`], but only those that were submitted before the journal entry `before`.
    pub fn requests_before(
        &mut self,
        user: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<RequestSummary>, StoreError> {
        self.read(|c| {
            let mut query = requests::table
                .order(requests::seq.desc())
                .limit(i64::from(limit))
                .into_boxed();
            if let Some(user) = user {
                query = query.filter(requests::user_id.eq(user));
            }
            if let Some(before) = before {
                query = query.filter(requests::seq.lt(whole(before)));
            }
            let rows: Vec<RequestRow> = query.select(RequestRow::as_select()).load(c)?;
            let mut summaries = Vec::with_capacity(rows.len());
            for row in rows {
                let states: Vec<String> = sequences::table
                    .filter(sequences::request_id.eq(&row.id))
                    .select(sequences::state)
                    .load(c)?;
                let mut counts = BTreeMap::new();
                for state in states {
                    *counts.entry(state.parse().map_err(garbled("sequences"))?).or_insert(0) += 1;
                }
                summaries.push(RequestSummary {
                    seq: number(row.seq),
                    id: row.id,
                    title: row.title,
                    user: row.user_id,
                    alert: row.event_id.zip(row.strategy),
                    submitted_at: utc(row.submitted_at),
                    states: counts,
                });
            }
            Ok(summaries)
        })
    }

    /// One request with its sequences, albums and plans.
    pub fn request(&mut self, id: &str) -> Result<Option<Request>, StoreError> {
        self.read(|c| {
            let Some(row) = requests::table
                .find(id)
                .select(RequestRow::as_select())
                .first::<RequestRow>(c)
                .optional()?
            else {
                return Ok(None);
            };
            let rows: Vec<SequenceRow> = sequences::table
                .filter(sequences::request_id.eq(id))
                .order(sequences::position)
                .select(SequenceRow::as_select())
                .load(c)?;
            let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
            let (albums, plans) = parts(c, &ids)?;
            Ok(assemble(vec![row], rows, albums, plans)?.pop())
        })
    }

    /// One sequence and why it stands where it stands.
    pub fn sequence(&mut self, id: &str) -> Result<Option<SequenceDetail>, StoreError> {
        self.read(|c| {
            let Some(row) = sequences::table
                .find(id)
                .select(SequenceRow::as_select())
                .first::<SequenceRow>(c)
                .optional()?
            else {
                return Ok(None);
            };
            let state = row.state.parse().map_err(garbled("sequences"))?;
            let done =
                serde_json::from_str(&row.progress).map_err(|e| ReadError::Garbled("sequences", e.to_string()))?;
            let (why, moved_at) = (row.why.clone(), utc(row.moved_at));
            let request: RequestRow = requests::table
                .find(&row.request_id)
                .select(RequestRow::as_select())
                .first(c)?;
            let (albums, plans) = parts(c, std::slice::from_ref(&row.id))?;
            let whole = assemble(vec![request], vec![row], albums, plans)?;
            let verdict = verdict(c, id)?;
            Ok(whole
                .into_iter()
                .flat_map(|request| request.sequences)
                .next()
                .map(|sequence| SequenceDetail {
                    sequence,
                    state,
                    why,
                    moved_at,
                    done,
                    verdict,
                }))
        })
    }

    /// The last `limit` schedules, newest first.
    pub fn schedules(&mut self, limit: u32) -> Result<Vec<Schedule>, StoreError> {
        self.read(|c| {
            let rows: Vec<ScheduleRow> = schedules::table
                .order(schedules::seq.desc())
                .limit(i64::from(limit))
                .select(ScheduleRow::as_select())
                .load(c)?;
            rows.into_iter().map(|row| schedule_of(c, row)).collect()
        })
    }

    /// The newest schedule of that id.
    pub fn schedule(&mut self, id: &str) -> Result<Option<Schedule>, StoreError> {
        self.read(|c| {
            let row: Option<ScheduleRow> = schedules::table
                .filter(schedules::id.eq(id))
                .order(schedules::seq.desc())
                .select(ScheduleRow::as_select())
                .first(c)
                .optional()?;
            row.map(|row| schedule_of(c, row)).transpose()
        })
    }

    pub fn products_of_sequence(&mut self, sequence: &str) -> Result<Vec<Product>, StoreError> {
        self.read(|c| {
            let rows = products::table
                .filter(products::sequence_id.eq(sequence))
                .order(products::seq)
                .select(ProductRow::as_select())
                .load(c)?;
            into_products(rows)
        })
    }

    /// Products made between the beginning of a night and that of the next.
    pub fn products_of_night(&mut self, night: Night) -> Result<Vec<Product>, StoreError> {
        self.read(|c| {
            let Some(first) = nights::table
                .find(night.to_string())
                .select(nights::seq)
                .first::<i64>(c)
                .optional()?
            else {
                return Ok(Vec::new());
            };
            let end: Option<i64> = nights::table
                .filter(nights::seq.gt(first))
                .select(diesel::dsl::min(nights::seq))
                .first(c)?;
            let rows = products::table
                .filter(products::seq.ge(first).and(products::seq.lt(end.unwrap_or(i64::MAX))))
                .order(products::seq)
                .select(ProductRow::as_select())
                .load(c)?;
            into_products(rows)
        })
    }

    /// One product, to find its file.
    pub fn product(&mut self, id: &str) -> Result<Option<Product>, StoreError> {
        self.read(|c| {
            let row: Option<ProductRow> = products::table
                .find(id)
                .select(ProductRow::as_select())
                .first(c)
                .optional()?;
            row.map(|row| row.into_product().map_err(garbled("products")))
                .transpose()
        })
    }

    /// Whose data the product in a file is: the user of its sequence, or nobody's for a calibration. None for a file that
    /// is no product.
    pub fn owner_of_file(&mut self, path: &str) -> Result<Option<Option<String>>, StoreError> {
        self.read(|c| {
            Ok(products::table
                .left_join(sequences::table.on(products::sequence_id.eq(sequences::id.nullable())))
                .filter(products::path.eq(path))
                .select(sequences::user_id.nullable())
                .first(c)
                .optional()?)
        })
    }

    /// Samples from `from` up to, not including, `until`; of one quantity when given.
    pub fn weather(
        &mut self,
        from: UtcTime,
        until: UtcTime,
        quantity: Option<&str>,
    ) -> Result<Vec<WeatherSample>, StoreError> {
        self.read(|c| {
            let mut query = weather_samples::table
                .filter(
                    weather_samples::at
                        .ge(naive(from))
                        .and(weather_samples::at.lt(naive(until))),
                )
                .order((weather_samples::at, weather_samples::quantity))
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

    /// All alert events in the order of their first packet.
    pub fn alert_events(&mut self) -> Result<Vec<EventStanding>, StoreError> {
        self.read(events)
    }

    /// What was received under an identifier, oldest first; the later ones are duplicates.
    pub fn packets(&mut self, packet: &str) -> Result<Vec<Packet>, StoreError> {
        self.read(|c| {
            let rows = alerts::table
                .filter(alerts::packet.eq(packet))
                .order(alerts::seq)
                .select(PacketRow::as_select())
                .load(c)?;
            into_packets(rows)
        })
    }

    /// Packets received from `from` on with one verdict, oldest first: those with `act` make the events of a restart.
    pub fn packets_since(&mut self, from: UtcTime, verdict: &str) -> Result<Vec<Packet>, StoreError> {
        self.read(|c| {
            let rows = alerts::table
                .filter(alerts::received_at.ge(naive(from)).and(alerts::verdict.eq(verdict)))
                .order(alerts::seq)
                .select(PacketRow::as_select())
                .load(c)?;
            into_packets(rows)
        })
    }

    /// The newest packets of a channel that were taken in, whatever became of them, oldest first.
    pub fn newest_packets(&mut self, channel: &str, most: usize) -> Result<Vec<Packet>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(|c| {
            let taken = alerts::verdict.eq("act").or(alerts::verdict.eq("ignore"));
            let mut rows: Vec<PacketRow> = alerts::table
                .filter(alerts::channel.eq(channel).and(taken))
                .order(alerts::seq.desc())
                .limit(most)
                .select(PacketRow::as_select())
                .load(c)?;
            rows.reverse();
            into_packets(rows)
        })
    }

    /// What packets received within a time are known by, without what they said: a copy is a copy for long.
    pub fn packet_identities(&mut self, from: UtcTime, to: UtcTime) -> Result<Vec<(String, UtcTime)>, StoreError> {
        self.read(|c| {
            let within = alerts::received_at
                .ge(naive(from))
                .and(alerts::received_at.lt(naive(to)));
            let taken = alerts::verdict.eq("act").or(alerts::verdict.eq("ignore"));
            let rows: Vec<(Option<String>, chrono::NaiveDateTime)> = alerts::table
                .filter(within.and(taken).and(alerts::identity.is_not_null()))
                .order(alerts::seq)
                .select((alerts::identity, alerts::received_at))
                .load(c)?;
            Ok(rows
                .into_iter()
                .filter_map(|(identity, at)| Some((identity?, utc(at))))
                .collect())
        })
    }

    /// Names of the events that were begun last, the newest first.
    pub fn newest_events(&mut self, count: i64) -> Result<Vec<String>, StoreError> {
        self.read(|c| {
            let newest = alert_events::table.order(alert_events::seq.desc()).limit(count);
            Ok(newest.select(alert_events::id).load(c)?)
        })
    }

    /// The events that each packet changed, by the packets' names, from a journal number on.
    pub fn events_of_packets(&mut self, from_seq: u64) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        use alert_event_packets as links;
        let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
        self.read(|c| {
            let rows: Vec<(String, String)> = links::table
                .filter(links::seq.ge(from))
                .order((links::seq, links::event_id))
                .select((links::packet, links::event_id))
                .load(c)?;
            let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (packet, event) in rows {
                events.entry(packet).or_default().push(event);
            }
            Ok(events)
        })
    }

    /// Events about which it was last decided, from `from` on, that they are followed, with the first request for each.
    pub fn followed_events(&mut self, from: UtcTime) -> Result<Vec<(String, String)>, StoreError> {
        self.read(|c| {
            let followed = alert_events::followed.eq(true);
            let rows: Vec<(String, Option<String>)> = alert_events::table
                .filter(followed.and(alert_events::decided_at.ge(naive(from))))
                .order(alert_events::seq)
                .select((alert_events::id, alert_events::request_id))
                .load(c)?;
            Ok(rows
                .into_iter()
                .filter_map(|(id, request)| Some((id, request?)))
                .collect())
        })
    }

    /// Every posting of an account, oldest first.
    pub fn postings(&mut self, account: &str) -> Result<Vec<Posting>, StoreError> {
        self.read(|c| {
            let rows: Vec<PostingRow> = quota_postings::table
                .filter(quota_postings::account.eq(account))
                .order(quota_postings::seq)
                .select(PostingRow::as_select())
                .load(c)?;
            rows.into_iter()
                .map(|row| row.into_posting().map_err(garbled("quota_postings")))
                .collect()
        })
    }

    /// The standing of every account, summed by the database from the postings.
    pub fn balances(&mut self) -> Result<BTreeMap<String, Balance>, StoreError> {
        self.read(|c| {
            let rows: Vec<(String, i64, i64, i64, i64)> = quota_balances::table.load(c)?;
            Ok(rows
                .into_iter()
                .map(|(account, granted_us, free_us, reserved_us, spent_us)| {
                    (
                        account,
                        Balance {
                            granted_us,
                            free_us,
                            reserved_us,
                            spent_us,
                        },
                    )
                })
                .collect())
        })
    }

    /// The newest `limit` log lines, newest first.
    pub fn log(&mut self, limit: u32) -> Result<Vec<LogLine>, StoreError> {
        self.read(|c| {
            let rows: Vec<(i64, chrono::NaiveDateTime, String, String, String)> =
                logs::table.order(logs::seq.desc()).limit(i64::from(limit)).load(c)?;
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

fn parts(c: &mut AnyConnection, ids: &[String]) -> Result<(Vec<AlbumRow>, Vec<PlanRow>), ReadError> {
    let albums = albums::table
        .filter(albums::sequence_id.eq_any(ids.to_vec()))
        .order((albums::sequence_id, albums::position))
        .select(AlbumRow::as_select())
        .load(c)?;
    let plans = plans::table
        .filter(plans::sequence_id.eq_any(ids.to_vec()))
        .order((plans::sequence_id, plans::album, plans::position))
        .select(PlanRow::as_select())
        .load(c)?;
    Ok((albums, plans))
}

fn verdict(c: &mut AnyConnection, id: &str) -> Result<Option<Verdict>, ReadError> {
    let found: Option<(PlaceRow, ScheduleRow)> = schedule_sequences::table
        .inner_join(schedules::table.on(schedules::seq.eq(schedule_sequences::schedule_seq)))
        .filter(schedule_sequences::sequence_id.eq(id))
        .order(schedule_sequences::schedule_seq.desc())
        .select((PlaceRow::as_select(), ScheduleRow::as_select()))
        .first(c)
        .optional()?;
    let Some((place, schedule)) = found else {
        return Ok(None);
    };
    let made_at = utc(schedule.made_at);
    let schedule = schedule.id;
    Ok(Some(if place.placed {
        let place = place.into_placed().map_err(garbled("schedule_sequences"))?;
        Verdict::Placed {
            schedule,
            made_at,
            place,
        }
    } else {
        let mut reason = place.into_unplaced().map_err(garbled("schedule_sequences"))?;
        if reason.excluded.is_empty() {
            reason.excluded = excluded(c, id, made_at)?;
        }
        Verdict::Unplaced {
            schedule,
            made_at,
            reason,
        }
    }))
}

/// The excluded stretches that an earlier schedule of the same night has told: later ones do not repeat them.
fn excluded(c: &mut AnyConnection, id: &str, made_at: UtcTime) -> Result<Vec<Excluded>, ReadError> {
    const NIGHT_S: f64 = 18.0 * 3600.0;
    let told: Option<(PlaceRow, ScheduleRow)> = schedule_sequences::table
        .inner_join(schedules::table.on(schedules::seq.eq(schedule_sequences::schedule_seq)))
        .filter(schedule_sequences::sequence_id.eq(id))
        .filter(schedule_sequences::excluded.is_not_null())
        .order(schedule_sequences::schedule_seq.desc())
        .select((PlaceRow::as_select(), ScheduleRow::as_select()))
        .first(c)
        .optional()?;
    match told {
        Some((place, schedule)) if made_at.seconds_since(utc(schedule.made_at)) < NIGHT_S => {
            let told = place.into_unplaced().map_err(garbled("schedule_sequences"))?;
            Ok(told.excluded)
        }
        _ => Ok(Vec::new()),
    }
}

fn into_packets(rows: Vec<PacketRow>) -> Result<Vec<Packet>, ReadError> {
    rows.into_iter()
        .map(|row| {
            Ok(Packet {
                seq: number(row.seq),
                received_at: utc(row.received_at),
                packet: row.packet,
                channel: row.channel,
                verdict: row.verdict,
                reason: row.reason,
                body: String::from_utf8(row.body).map_err(|e| ReadError::Garbled("alerts", e.to_string()))?,
                event: row.event,
            })
        })
        .collect()
}

fn into_products(rows: Vec<ProductRow>) -> Result<Vec<Product>, ReadError> {
    rows.into_iter()
        .map(|row| row.into_product().map_err(garbled("products")))
        .collect()
}

pub(super) fn sample(row: WeatherRow) -> Result<WeatherSample, String> {
    let value = match (row.value, row.reason) {
        (Some(value), _) => Ok(value),
        (None, Some(reason)) => Err(from_word(&reason)?),
        (None, None) => {
            return Err(format!(
                "{} at {} is neither measured nor missing",
                row.quantity, row.at
            ));
        }
    };
    Ok(WeatherSample {
        at: utc(row.at),
        quantity: row.quantity,
        value,
    })
}
