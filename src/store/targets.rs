//! What pages about a target ask: which targets there are frames of, who asked for one, its frames with what was measured.
//!
//! A *target* is a name in the requests; `NGC 4889` and `ngc4889` are one. Its *frames* are those of the sky that were
//! written for its sequences. `own` is the user whose sequences alone are looked at, none for everybody's.

use super::{
    ReadError, Store, StoreError,
    connection::AnyConnection,
    nights::{escaped, lower, replace},
    queries::number,
    restore::garbled,
    rows::{ExposureRow, from_word, utc, whole},
    schema::*,
};
use alidade_model::{exposure::ProductKind, states::SequenceState, time::UtcTime};
use chrono::NaiveDateTime;
use diesel::{
    dsl::{count_star, max, min},
    prelude::*,
    sql_types::Bool,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A target of which there are frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedTarget {
    /// As the sequence of the newest frame names it.
    pub name: String,
    /// ICRS, degrees; of the sequence of the newest frame.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub frames: u64,
    /// Beginnings of the first and of the last exposure.
    pub first_at: UtcTime,
    pub last_at: UtcTime,
    /// In alphabetical order.
    pub filters: Vec<String>,
    /// Number of the journal entry in which the last exposure began.
    pub seq: u64,
}

/// A sequence that asked for the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSequence {
    pub sequence: String,
    pub request: String,
    pub title: String,
    pub user: String,
    /// The target's name as it is written there.
    pub name: String,
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub state: SequenceState,
    /// Cause of the last move.
    pub why: Option<String>,
    pub moved_at: UtcTime,
    /// The alert event that it follows.
    pub event: Option<String>,
}

/// A frame of the target, and what was made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetFrame {
    /// Number of the journal entry in which the exposure began.
    pub seq: u64,
    pub exposure: String,
    pub sequence: Option<String>,
    pub channel: String,
    pub filter: String,
    pub exposure_s: f64,
    pub binning: u32,
    pub started_at: UtcTime,
    /// Absent as long as it waits for its reduction, or when that failed.
    pub reduced_at: Option<UtcTime>,
    pub sources: Option<u64>,
    /// Median of the sources, pixels.
    pub fwhm_px: Option<f64>,
    /// Magnitude of one count a second, and of five sigma.
    pub zero_point: Option<f64>,
    pub limiting_mag: Option<f64>,
    /// What the reduction had to do without.
    pub degradations: Vec<String>,
    /// The first product of each kind, below the data folder.
    pub files: BTreeMap<ProductKind, String>,
}

/// Which frames are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FrameFilter<'a> {
    pub own: Option<&'a str>,
    pub filter: Option<&'a str>,
    /// Only frames that began before this number.
    pub before: Option<u64>,
}

/// A name as names are compared: by the database, so that both sides are folded by the same rules.
macro_rules! folded {
    ($text:expr) => {
        replace(lower($text), " ", "")
    };
}

/// Sequences that the one who asks may see.
macro_rules! visible {
    ($own:expr) => {{
        let own: Option<&str> = $own;
        let all = own.is_none().into_sql::<Bool>();
        sequences::user_id.eq(own.unwrap_or_default().to_owned()).or(all)
    }};
}

/// Frames of the sky that were written, with their sequences.
macro_rules! written {
    () => {
        exposures::table
            .inner_join(sequences::table.on(exposures::sequence_id.eq(sequences::id.nullable())))
            .filter(exposures::kind.eq("object").and(exposures::outcome.eq("written")))
    };
}

/// What is counted of a target's frames.
macro_rules! totals {
    () => {
        (
            count_star(),
            min(exposures::started_at),
            max(exposures::started_at),
            max(exposures::seq),
        )
    };
}

type Totals = (i64, Option<NaiveDateTime>, Option<NaiveDateTime>, Option<i64>);

impl Store {
    /// Targets that there are frames of, with `text` in their name, those observed last first. `before` is the `seq` of the
    /// last one of the page before.
    pub fn observed_targets(
        &mut self,
        own: Option<&str>,
        text: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ObservedTarget>, StoreError> {
        let pattern = format!("%{}%", escaped(text));
        self.read(|c| {
            let totals: Vec<Totals> = written!()
                .filter(visible!(own))
                .filter(
                    folded!(sequences::target_name)
                        .like(folded!(pattern.clone()))
                        .escape('\\'),
                )
                .group_by(folded!(sequences::target_name))
                .having(max(exposures::seq).lt(before.map_or(i64::MAX, whole)))
                .order(max(exposures::seq).desc())
                .limit(i64::from(limit))
                .select(totals!())
                .load(c)?;
            described(c, own, totals)
        })
    }

    /// The target of a name as far as there are frames of it.
    pub fn observed_target(&mut self, own: Option<&str>, name: &str) -> Result<Option<ObservedTarget>, StoreError> {
        let name = name.to_owned();
        self.read(|c| {
            let totals: Totals = written!()
                .filter(visible!(own))
                .filter(folded!(sequences::target_name).eq(folded!(name.clone())))
                .select(totals!())
                .first(c)?;
            Ok(described(c, own, vec![totals])?.pop())
        })
    }

    /// Who asked for the target of a name, the newest request first.
    pub fn target_sequences(
        &mut self,
        own: Option<&str>,
        name: &str,
        limit: u32,
    ) -> Result<Vec<TargetSequence>, StoreError> {
        let name = name.to_owned();
        self.read(|c| {
            type Row = (
                (String, String, String, String, String),
                (f64, f64),
                (String, Option<String>, NaiveDateTime, Option<String>),
            );
            let rows: Vec<Row> = sequences::table
                .inner_join(requests::table.on(requests::id.eq(sequences::request_id)))
                .filter(visible!(own))
                .filter(folded!(sequences::target_name).eq(folded!(name.clone())))
                .order((requests::seq.desc(), sequences::position))
                .limit(i64::from(limit))
                .select((
                    (
                        sequences::id,
                        sequences::request_id,
                        requests::title,
                        sequences::user_id,
                        sequences::target_name,
                    ),
                    (sequences::ra_deg, sequences::dec_deg),
                    (
                        sequences::state,
                        sequences::why,
                        sequences::moved_at,
                        requests::event_id,
                    ),
                ))
                .load(c)?;
            rows.into_iter()
                .map(
                    |((sequence, request, title, user, name), (ra_deg, dec_deg), (state, why, moved_at, event))| {
                        Ok(TargetSequence {
                            sequence,
                            request,
                            title,
                            user,
                            name,
                            ra_deg,
                            dec_deg,
                            state: state.parse().map_err(garbled("sequences"))?,
                            why,
                            moved_at: utc(moved_at),
                            event,
                        })
                    },
                )
                .collect()
        })
    }

    /// Frames of the target of a name, the newest first.
    pub fn target_frames(
        &mut self,
        name: &str,
        wanted: &FrameFilter,
        limit: u32,
    ) -> Result<Vec<TargetFrame>, StoreError> {
        let name = name.to_owned();
        self.read(|c| {
            let any = wanted.filter.is_none().into_sql::<Bool>();
            let in_filter = exposures::filter
                .eq(wanted.filter.unwrap_or_default().to_owned())
                .or(any);
            let rows: Vec<ExposureRow> = written!()
                .filter(visible!(wanted.own))
                .filter(folded!(sequences::target_name).eq(folded!(name.clone())))
                .filter(in_filter)
                .filter(exposures::seq.lt(wanted.before.map_or(i64::MAX, whole)))
                .order(exposures::seq.desc())
                .limit(i64::from(limit))
                .select(ExposureRow::as_select())
                .load(c)?;
            let mut frames = Vec::with_capacity(rows.len());
            // A statement takes a limited number of values.
            for some in rows.chunks(500) {
                frames.extend(measured(c, some)?);
            }
            Ok(frames)
        })
    }
}

/// Targets from what was counted of their frames, in the same order; none for one without a frame.
fn described(c: &mut AnyConnection, own: Option<&str>, totals: Vec<Totals>) -> Result<Vec<ObservedTarget>, ReadError> {
    // Of the newest frame of each: number, name, the name as names are compared, and place.
    type Face = (i64, String, String, f64, f64);
    let newest: Vec<i64> = totals.iter().filter_map(|total| total.3).collect();
    let faces: Vec<Face> = exposures::table
        .inner_join(sequences::table.on(exposures::sequence_id.eq(sequences::id.nullable())))
        .filter(exposures::seq.eq_any(newest))
        .select((
            exposures::seq,
            sequences::target_name,
            folded!(sequences::target_name),
            sequences::ra_deg,
            sequences::dec_deg,
        ))
        .load(c)?;
    let names: Vec<String> = faces.iter().map(|face| face.2.clone()).collect();
    let pairs: Vec<(String, String)> = written!()
        .filter(visible!(own))
        .filter(folded!(sequences::target_name).eq_any(names))
        .select((folded!(sequences::target_name), exposures::filter))
        .distinct()
        .load(c)?;
    let mut filters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, filter) in pairs {
        filters.entry(name).or_default().insert(filter);
    }
    let faces: BTreeMap<i64, Face> = faces.into_iter().map(|face| (face.0, face)).collect();
    let one = |(frames, first, last, seq): Totals| {
        let (first, last, seq) = (first?, last?, seq?);
        let (_, name, plain, ra_deg, dec_deg) = faces.get(&seq)?;
        Some(ObservedTarget {
            name: name.clone(),
            ra_deg: *ra_deg,
            dec_deg: *dec_deg,
            frames: number(frames),
            first_at: utc(first),
            last_at: utc(last),
            filters: filters.get(plain).into_iter().flatten().cloned().collect(),
            seq: number(seq),
        })
    };
    Ok(totals.into_iter().filter_map(one).collect())
}

/// Frames with their reductions, solutions and files.
fn measured(c: &mut AnyConnection, rows: &[ExposureRow]) -> Result<Vec<TargetFrame>, ReadError> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    type Reduced = (String, NaiveDateTime, i64, Option<f64>, String);
    let reductions: Vec<Reduced> = frame_reductions::table
        .filter(frame_reductions::exposure_id.eq_any(ids.clone()))
        .select((
            frame_reductions::exposure_id,
            frame_reductions::reduced_at,
            frame_reductions::sources,
            frame_reductions::fwhm_px,
            frame_reductions::degradations,
        ))
        .load(c)?;
    let solutions: Vec<(String, Option<f64>, Option<f64>)> = frame_solutions::table
        .filter(frame_solutions::exposure_id.eq_any(ids.clone()))
        .select((
            frame_solutions::exposure_id,
            frame_solutions::zero_point,
            frame_solutions::limiting_mag,
        ))
        .load(c)?;
    // By sequence, for which there is an index.
    let sequences: BTreeSet<&String> = rows.iter().filter_map(|row| row.sequence_id.as_ref()).collect();
    let products: Vec<(Option<String>, String, String)> = products::table
        .filter(products::sequence_id.eq_any(sequences.into_iter().cloned().collect::<Vec<_>>()))
        .filter(products::exposure_id.eq_any(ids))
        .order(products::seq)
        .select((products::exposure_id, products::kind, products::path))
        .load(c)?;
    let mut files: BTreeMap<String, BTreeMap<ProductKind, String>> = BTreeMap::new();
    for (exposure, kind, path) in products {
        let kind = from_word(&kind).map_err(garbled("products"))?;
        let of = files.entry(exposure.unwrap_or_default()).or_default();
        of.entry(kind).or_insert(path);
    }
    let reductions: BTreeMap<String, Reduced> = reductions.into_iter().map(|row| (row.0.clone(), row)).collect();
    let solutions: BTreeMap<String, _> = solutions.into_iter().map(|row| (row.0, (row.1, row.2))).collect();
    rows.iter()
        .map(|row| {
            let exposure = row.clone().into_exposure().map_err(garbled("exposures"))?;
            let reduced = reductions.get(&exposure.id);
            let (zero_point, limiting_mag) = solutions.get(&exposure.id).copied().unwrap_or_default();
            let degradations = reduced.map(|row| serde_json::from_str(&row.4)).transpose();
            Ok(TargetFrame {
                seq: number(row.seq),
                sequence: exposure.sequence,
                channel: exposure.channel,
                filter: exposure.filter,
                exposure_s: exposure.exposure_s,
                binning: exposure.binning,
                started_at: exposure.started_at,
                reduced_at: reduced.map(|row| utc(row.1)),
                sources: reduced.map(|row| number(row.2)),
                fwhm_px: reduced.and_then(|row| row.3),
                zero_point,
                limiting_mag,
                degradations: degradations
                    .map_err(|e| ReadError::Garbled("frame_reductions", e.to_string()))?
                    .unwrap_or_default(),
                files: files.remove(&exposure.id).unwrap_or_default(),
                exposure: exposure.id,
            })
        })
        .collect()
}
