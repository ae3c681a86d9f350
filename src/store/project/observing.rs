//! Users, requests, schedules and quotas.

use super::Place;
use crate::store::{
    connection::{AnyConnection, insert_new, on_either},
    rows::{AlbumRow, PlaceRow, PlanRow, PostingRow, RequestRow, ScheduleRow, SequenceRow, position},
    schema::*,
};
use alidade_model::{ledger::Posting, request::Request, schedule::Schedule, states::SequenceState};
use diesel::prelude::*;
use std::collections::BTreeMap;

pub(super) fn user(c: &mut AnyConnection, place: Place, user: &str, institute: &str) -> QueryResult<()> {
    on_either!(c, c => {
        let changed = diesel::update(users::table.find(user)).set(users::institute.eq(institute)).execute(c)?;
        if changed == 0 {
            diesel::insert_into(users::table)
                .values((
                    users::id.eq(user),
                    users::institute.eq(institute),
                    users::created_at.eq(place.at),
                ))
                .execute(c)?;
        }
    });
    Ok(())
}

pub(super) fn request(c: &mut AnyConnection, place: Place, request: &Request) -> QueryResult<()> {
    insert_new!(c, requests::table, [RequestRow::new(place.seq, request)]);
    let mut sequence_rows = Vec::new();
    let mut album_rows = Vec::new();
    let mut plan_rows = Vec::new();
    for (index, sequence) in request.sequences.iter().enumerate() {
        sequence_rows.push(SequenceRow::new(request, index, sequence, place.at));
        for (album_index, album) in sequence.albums.iter().enumerate() {
            album_rows.push(AlbumRow {
                sequence_id: sequence.id.clone(),
                position: position(album_index),
                channel: album.channel.clone(),
            });
            for (plan_index, plan) in album.plans.iter().enumerate() {
                plan_rows.push(PlanRow::new(&sequence.id, album_index, plan_index, plan));
            }
        }
    }
    insert_new!(c, sequences::table, &sequence_rows);
    insert_new!(c, albums::table, &album_rows);
    insert_new!(c, plans::table, &plan_rows);
    Ok(())
}

pub(super) fn sequence_moved(
    c: &mut AnyConnection,
    place: Place,
    sequence: &str,
    to: SequenceState,
    cause: &str,
) -> QueryResult<()> {
    on_either!(c, c => {
        diesel::update(sequences::table.find(sequence))
            .set((sequences::state.eq(to.as_str()), sequences::why.eq(cause), sequences::moved_at.eq(place.at)))
            .execute(c)?;
    });
    Ok(())
}

pub(super) fn progress(c: &mut AnyConnection, sequence: &str, done: &BTreeMap<String, u32>) -> QueryResult<()> {
    let done = serde_json::to_string(done).map_err(|e| diesel::result::Error::SerializationError(Box::new(e)))?;
    on_either!(c, c => {
        diesel::update(sequences::table.find(sequence)).set(sequences::progress.eq(&done)).execute(c)?;
    });
    Ok(())
}

pub(super) fn posting(c: &mut AnyConnection, place: Place, posting: &Posting) -> QueryResult<()> {
    insert_new!(c, quota_postings::table, [PostingRow::new(place.seq, posting)]);
    Ok(())
}

pub(super) fn schedule(c: &mut AnyConnection, place: Place, schedule: &Schedule) -> QueryResult<()> {
    insert_new!(c, schedules::table, [ScheduleRow::new(place.seq, schedule)]);
    insert_new!(c, schedule_sequences::table, PlaceRow::all_of(place.seq, schedule));
    Ok(())
}
