//! Targets with their data: the documents that the interface and the command line show of them, and light curves from the
//! calibrated frames that are kept.
//!
//! A *light curve* here is measured on calibrated frames by what their own headers say, world coordinates and zero point
//! (MAGZP); no catalogue is asked. What one frame says of one place does not change, so it is kept in memory: a curve that
//! is asked for again after another frame costs one frame.

use crate::{
    settings::{ChannelSettings, Settings},
    store::{
        Store, StoreError,
        targets::{FrameFilter, TargetFrame},
    },
};
use alidade_analysis::{
    command::{LightCurveOptions, SolveHints, seen_on},
    extract,
    lightcurve::{self, Band, Point, Seen},
};
use alidade_model::{exposure::ProductKind, time::UtcTime};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Sequences that are told of one target.
const MOST_SEQUENCES: u32 = 200;
/// Frames that are measured for a curve when nobody says how many, and at most.
pub const FRAMES: u32 = 50;
pub const MOST_FRAMES: u32 = 200;
/// What frames say of places that is kept in memory; beyond it all is forgotten.
const MOST_KEPT: usize = 4000;
/// Share of the saturation level from which a pixel is not believed, as in the reduction.
const SATURATED: f64 = 0.95;

/// A page of targets: `{"targets": [...], "next_before": NUMBER}`; `next_before` is absent at the end.
pub fn targets(
    store: &mut Store,
    own: Option<&str>,
    text: &str,
    before: Option<u64>,
    limit: u32,
) -> Result<Value, StoreError> {
    let found = store.observed_targets(own, text, before, limit)?;
    Ok(page("targets", &found, |last| last.seq, limit))
}

/// One target: place, what there is of it, and the sequences that asked for it. None for a name nobody has asked for.
pub fn target(store: &mut Store, own: Option<&str>, name: &str) -> Result<Option<Value>, StoreError> {
    let sequences = store.target_sequences(own, name, MOST_SEQUENCES)?;
    let Some(first) = sequences.first() else {
        return Ok(None);
    };
    let observed = store.observed_target(own, name)?;
    let seen = observed.as_ref();
    Ok(Some(json!({
        "name": seen.map_or(&first.name, |one| &one.name),
        "ra_deg": seen.map_or(first.ra_deg, |one| one.ra_deg),
        "dec_deg": seen.map_or(first.dec_deg, |one| one.dec_deg),
        "frames": seen.map_or(0, |one| one.frames),
        "first_at": seen.map(|one| one.first_at),
        "last_at": seen.map(|one| one.last_at),
        "filters": seen.map(|one| one.filters.as_slice()).unwrap_or_default(),
        "sequences": sequences,
    })))
}

/// A page of a target's frames, the newest first: `{"frames": [...], "next_before": NUMBER}`. None for a name nobody has
/// asked for.
pub fn frames(store: &mut Store, name: &str, wanted: &FrameFilter, limit: u32) -> Result<Option<Value>, StoreError> {
    let found = store.target_frames(name, wanted, limit)?;
    if found.is_empty() && store.target_sequences(wanted.own, name, 1)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(page("frames", &found, |last| last.seq, limit)))
}

/// A full page may have a next one, which begins before the number of its last row.
fn page<T: Serialize>(key: &str, rows: &[T], seq: fn(&T) -> u64, limit: u32) -> Value {
    let mut document = json!({ key: rows });
    if let Some(last) = rows.last().filter(|_| rows.len() == limit as usize) {
        document["next_before"] = json!(seq(last));
    }
    document
}

/// A target whose light is to be measured.
pub struct ToMeasure {
    /// ICRS, degrees.
    pub place: (f64, f64),
    /// The newest first, and one more than the curve looks at, to know whether there are more.
    pub frames: Vec<TargetFrame>,
}

/// Where a target is, with the newest frames for a curve of `limit` frames. None for a name nobody has asked for.
pub fn to_measure(
    store: &mut Store,
    name: &str,
    wanted: &FrameFilter,
    limit: u32,
) -> Result<Option<ToMeasure>, StoreError> {
    let Some(asked) = store.target_sequences(wanted.own, name, 1)?.pop() else {
        return Ok(None);
    };
    let seen = store.observed_target(wanted.own, name)?;
    let place = seen.map_or((asked.ra_deg, asked.dec_deg), |one| (one.ra_deg, one.dec_deg));
    let frames = store.target_frames(name, wanted, limit.saturating_add(1))?;
    Ok(Some(ToMeasure { place, frames }))
}

/// A point of a curve, and the frame that it is of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FramePoint {
    pub exposure: String,
    /// Middle of the exposure.
    pub at: UtcTime,
    #[serde(flatten)]
    pub point: Point,
}

/// The brightness of a place over a target's frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetCurve {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Frames that were looked at, the newest ones; and those among them that are calibrated.
    pub frames: usize,
    pub calibrated: usize,
    /// There are older frames, which were not looked at.
    pub older: bool,
    /// In the order of time. Files are named below the data folder.
    pub points: Vec<FramePoint>,
    /// By filter.
    pub bands: BTreeMap<String, Band>,
}

/// What is asked of frames.
pub struct Measurement<'a> {
    pub data_dir: &'a Path,
    /// For gain and saturation of the channels, where they are known.
    pub settings: Option<&'a Settings>,
    /// ICRS, degrees.
    pub place: (f64, f64),
}

/// The file as it was measured, and the place, bit by bit.
type Key = (PathBuf, Option<SystemTime>, u64, (u64, u64));

/// Measures, and keeps what frames have said.
#[derive(Default)]
pub struct LightCurves(Mutex<BTreeMap<Key, Seen>>);

impl LightCurves {
    /// The curve over `frames`, newest first, of which at most `limit` are looked at. The error says why nothing can be
    /// measured. Takes a second or so for each frame that was not measured before.
    pub fn curve(&self, asked: &Measurement, frames: &[TargetFrame], limit: usize) -> Result<TargetCurve, String> {
        let older = frames.len() > limit;
        let frames = &frames[..frames.len().min(limit)];
        let calibrated: Vec<(&str, &TargetFrame)> = frames
            .iter()
            .filter_map(|frame| Some((frame.files.get(&ProductKind::Calibrated)?.as_str(), frame)))
            .collect();
        if calibrated.is_empty() {
            return Err(match frames.len() {
                0 => "there is no frame of it".to_owned(),
                count => format!("none of its newest {count} frames is calibrated"),
            });
        }
        let seen: Vec<Seen> = calibrated
            .iter()
            .map(|(path, frame)| self.seen(asked, path, &frame.channel))
            .collect();
        let curve = lightcurve::curve(asked.place, seen);
        let of: BTreeMap<&str, &TargetFrame> = calibrated.iter().copied().collect();
        let points: Vec<FramePoint> = curve
            .points
            .into_iter()
            .filter_map(|point| {
                let frame = of.get(point.file.as_str())?;
                Some(FramePoint {
                    exposure: frame.exposure.clone(),
                    at: frame.started_at.plus_seconds(frame.exposure_s / 2.0),
                    point,
                })
            })
            .collect();
        if points.iter().all(|one| one.point.brightness.is_none()) {
            let cause = points.last().and_then(|one| one.point.cause.clone());
            let (ra, dec) = asked.place;
            return Err(format!(
                "at {ra:.5} {dec:+.5} none of {} calibrated frames can be measured; the newest: {}",
                calibrated.len(),
                cause.as_deref().unwrap_or("no cause is known")
            ));
        }
        Ok(TargetCurve {
            ra_deg: curve.ra_deg,
            dec_deg: curve.dec_deg,
            frames: frames.len(),
            calibrated: calibrated.len(),
            older,
            points,
            bands: curve.bands,
        })
    }

    /// What a frame says, from memory if it is the file that was measured.
    fn seen(&self, asked: &Measurement, file: &str, channel: &str) -> Seen {
        let nothing = |cause: &str| Seen {
            file: file.to_owned(),
            cause: Some(cause.to_owned()),
            ..Seen::default()
        };
        let below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !below(Path::new(file)) {
            return nothing("its path leads out of the data folder");
        }
        let path = asked.data_dir.join(file);
        let Ok(state) = std::fs::metadata(&path) else {
            return nothing("its file is not there");
        };
        let bits = (asked.place.0.to_bits(), asked.place.1.to_bits());
        let key = (path.clone(), state.modified().ok(), state.len(), bits);
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let channel = asked.settings.and_then(|settings| settings.channels.get(channel));
        let mut seen = seen_on(&path, &options(asked.place, channel));
        file.clone_into(&mut seen.file);
        // Where the data folder is, is nobody's business outside.
        let root = format!("{}/", asked.data_dir.display());
        seen.cause = seen.cause.map(|cause| cause.replace(&root, ""));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, seen.clone());
        seen
    }
}

/// As the reduction measured the frame's zero point.
fn options(target: (f64, f64), channel: Option<&ChannelSettings>) -> LightCurveOptions {
    let plain = extract::Options::default();
    LightCurveOptions {
        target,
        index: None,
        hints: SolveHints::default(),
        aperture_px: plain.aperture_px,
        gain_e_adu: channel.map_or(plain.gain_e_adu, |channel| channel.gain_e_adu),
        saturation: channel.map(|channel| channel.saturation_adu * SATURATED),
        plot: None,
    }
}
