//! An order, step by step.
//!
//! ```text
//! sequence:     unpark -> slew + dome + filters + focus -> on target -> albums in parallel -> done
//! calibration:  filters (-> slew to the flat field)     -> frames in parallel             -> done
//! ```

use crate::{
    adjust::{self, Adjusted, Together},
    calibration,
    exposure::{self, Channel, Darkroom, NoFrame, Wanted},
    feedback::{self, Frames},
    messages::{ChannelProgress, Order, Outcome, Running, Stop},
    ready::{field_at_rest, filters, focus, select_filter},
    slew::{keep_slit_on_mount, point},
};
use alidade_drivers::interface::{DeviceError, Focuser, Mount};
use alidade_model::{
    book::SharedBook,
    exposure::FrameKind,
    journal::Fact,
    request::{Album, Sequence},
    time::UtcTime,
};
use alidade_scheduling::ephemeris::Site;
use futures_util::future::join_all;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};
use tokio::sync::watch;

/// Everything an order may touch.
pub struct Instruments {
    pub mount: Rc<dyn Mount>,
    pub focuser: Option<Rc<dyn Focuser>>,
    pub channels: Vec<Channel>,
    pub room: Darkroom,
    pub site: Site,
    pub book: SharedBook,
    pub settings: InstrumentSettings,
    /// What the last frames showed.
    pub feedback: watch::Receiver<Frames>,
    /// What was changed because of it.
    pub adjusted: Adjusted,
}

#[derive(Debug, Clone)]
pub struct InstrumentSettings {
    /// On target within this, degrees.
    pub pointing_tolerance_deg: f64,
    /// Longest slew, seconds.
    pub slew_s: f64,
    /// Lowest altitude at which anything is observed, degrees.
    pub horizon_deg: f64,
    /// The slit must be this near to the mount's azimuth, degrees.
    pub slit_tolerance_deg: f64,
    /// Focus: steps at 10 degrees Celsius, and steps per degree.
    pub focus_base_steps: i64,
    pub focus_steps_per_c: f64,
    /// Frames lost in a row before a channel is given up.
    pub retries: u32,
    /// What frames may change.
    pub feedback: feedback::Limits,
}

/// The published progress of the running order.
pub struct Progress {
    pub running: RefCell<Running>,
    pub publish: Rc<dyn Fn(Running)>,
}

impl Progress {
    pub(crate) fn step(&self, step: &str) {
        self.running.borrow_mut().step = step.to_owned();
        (self.publish)(self.running.borrow().clone());
    }

    pub(crate) fn channel(&self, channel: &str, change: impl FnOnce(&mut ChannelProgress)) {
        if let Some(progress) = self.running.borrow_mut().channels.get_mut(channel) {
            change(progress);
        }
        (self.publish)(self.running.borrow().clone());
    }
}

/// Why an order did not reach its end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Cancelled(String),
    #[error("{0}")]
    Yielded(String),
    #[error("{0}")]
    Failed(String),
}

impl From<NoFrame> for Broken {
    fn from(error: NoFrame) -> Self {
        match error {
            NoFrame::Cancelled(cause) => Broken::Cancelled(cause),
            NoFrame::GateShut => Broken::Cancelled(error.to_string()),
            other => Broken::Failed(other.to_string()),
        }
    }
}

impl From<DeviceError> for Broken {
    fn from(error: DeviceError) -> Self {
        Broken::Failed(error.to_string())
    }
}

/// Runs one order to its end, whatever that is.
pub async fn run(
    instruments: &Instruments,
    order: &Order,
    progress: &Progress,
    cancel: watch::Receiver<Stop>,
) -> Outcome {
    let result = match order {
        Order::Sequence { sequence, done, event } => {
            run_sequence(instruments, sequence, done, event.as_deref(), progress, cancel).await
        }
        Order::Calibration { frames, .. } => calibration::run_calibration(instruments, frames, progress, cancel).await,
    };
    match result {
        Ok(()) => Outcome::Done,
        Err(Broken::Cancelled(cause)) => Outcome::Aborted { cause },
        Err(Broken::Yielded(cause)) => Outcome::Yielded { cause },
        Err(Broken::Failed(cause)) => Outcome::Failed { cause },
    }
}

async fn run_sequence(
    ins: &Instruments,
    sequence: &Sequence,
    done: &BTreeMap<String, u32>,
    event: Option<&str>,
    progress: &Progress,
    mut cancel: watch::Receiver<Stop>,
) -> Result<(), Broken> {
    let place = adjust::place(ins, sequence);
    if place.alt_deg < ins.settings.horizon_deg {
        return Err(Broken::Failed(format!(
            "{} is at {:.1} deg, below the limit of {:.1} deg",
            sequence.target.name, place.alt_deg, ins.settings.horizon_deg
        )));
    }
    progress.step("slewing");
    tokio::select! {
        biased;
        broken = between_frames(&mut cancel) => return Err(broken),
        arrived = async {
            let first_filters: Vec<_> = sequence.albums.iter().filter_map(|a| Some((a.channel.as_str(), a.plans.first()?.filter.as_str()))).collect();
            let (pointed, filters, ()) = join3(point(ins, place, event), filters(ins, &first_filters), focus(ins)).await;
            pointed?;
            filters
        } => arrived?,
    }
    let early_s = early_s(sequence, ins.room.recorder.now());
    if early_s > 0.0 {
        progress.step("on target, waiting for its window");
        tokio::select! {
            biased;
            broken = between_frames(&mut cancel) => return Err(broken),
            () = tokio::time::sleep(Duration::from_secs_f64(early_s)) => {}
        }
    }
    progress.step("exposing");
    let follow = keep_slit_on_mount(ins);
    let together = Together::default();
    let albums = join_all(sequence.albums.iter().map(|album| {
        let skip = done.get(&album.channel).copied().unwrap_or(0);
        let order = (sequence, event, &together);
        run_album(ins, order, album, skip, progress, cancel.clone())
    }));
    let results = tokio::select! {
        biased;
        results = albums => results,
        broken = watch_altitude(ins) => return Err(broken),
        never = follow => match never {},
    };
    // One failed channel does not hide what the others did, but the sequence is not complete.
    results.into_iter().collect()
}

/// Resolves once the order is to end, at once or with its frame: for the moments at which none is exposed.
async fn between_frames(cancel: &mut watch::Receiver<Stop>) -> Broken {
    match cancel.wait_for(|stop| *stop != Stop::No).await.as_deref() {
        Ok(Stop::AfterExposure(cause)) => Broken::Yielded(cause.clone()),
        Ok(Stop::Now(cause)) => Broken::Cancelled(cause.clone()),
        Ok(Stop::No) | Err(_) => Broken::Cancelled("the observation agent is gone".into()),
    }
}

/// How long before its window a sequence is on target, seconds: a slew may be quicker than was planned for.
fn early_s(sequence: &Sequence, now: UtcTime) -> f64 {
    /// Nobody stands idle for longer: then the schedule was made for other windows.
    const LONGEST_S: f64 = 900.0;
    let life = sequence.window.map(|(start, _)| start);
    let windows = &sequence.timing.windows;
    let inside = windows.iter().any(|(start, end)| (*start..*end).contains(&now));
    let next = windows
        .iter()
        .map(|w| w.0)
        .filter(|start| !inside && *start > now)
        .min();
    let opens = life.max(next);
    let early_s = opens.map_or(0.0, |start| start.seconds_since(now));
    if early_s > LONGEST_S { 0.0 } else { early_s.max(0.0) }
}

async fn run_album(
    ins: &Instruments,
    (sequence, event, together): (&Sequence, Option<&str>, &Together),
    album: &Album,
    skip: u32,
    progress: &Progress,
    mut cancel: watch::Receiver<Stop>,
) -> Result<(), Broken> {
    let channel = channel(ins, &album.channel)?;
    let total: u32 = album.plans.iter().map(|p| p.count).sum();
    progress.channel(&channel.name, |p| (p.total, p.done) = (total, skip));
    let mut number = 0;
    for plan in &album.plans {
        for _ in 0..plan.count {
            number += 1;
            if number <= skip {
                continue;
            }
            tokio::select! {
                biased;
                broken = between_frames(&mut cancel) => return Err(broken),
                ready = async {
                    adjust::settle(ins, sequence, together, progress).await?;
                    select_filter(channel, &plan.filter).await
                } => ready?,
            }
            let wanted = wanted(ins, sequence, event, &plan.filter, plan.exposure_s, plan.binning);
            if ins.book.borrow().line(&sequence.id).is_some() {
                // The quota is spent with the first exposure; what is lost later is given back.
                let spent = ins.book.borrow_mut().spend(&sequence.id, &ins.room.recorder);
                spent.map_err(|e| Broken::Failed(e.to_string()))?;
            }
            if number == skip + 1 {
                stamp(ins, event, "first_light");
            }
            let still = together.still().await;
            take_with_retry(ins, channel, &wanted, progress, &mut cancel).await?;
            drop(still);
            if ins.book.borrow().line(&sequence.id).is_some() {
                let counted = ins
                    .book
                    .borrow_mut()
                    .exposure_done(&sequence.id, &channel.name, &ins.room.recorder);
                counted.map_err(|e| Broken::Failed(e.to_string()))?;
            }
            progress.channel(&channel.name, |p| p.done = number);
        }
    }
    if number > skip {
        retake(
            ins,
            (sequence, event, together),
            (channel, album),
            progress,
            &mut cancel,
        )
        .await?;
    }
    progress.channel(&channel.name, |p| p.activity = "done".into());
    Ok(())
}

/// One frame of a sequence.
fn wanted(
    ins: &Instruments,
    sequence: &Sequence,
    event: Option<&str>,
    filter: &str,
    exposure_s: f64,
    binning: u32,
) -> Wanted {
    let mount = ins.mount.status().borrow().value.ok();
    Wanted {
        kind: FrameKind::Object,
        filter: filter.to_owned(),
        exposure_s,
        binning,
        sequence: Some(sequence.id.clone()),
        event: event.map(str::to_owned),
        user: sequence.user.clone(),
        object: sequence.target.name.clone(),
        pointing: Some((sequence.target.ra_deg, sequence.target.dec_deg)),
        alt_az: mount.map(|m| (m.alt_deg, m.az_deg)),
    }
}

/// Takes frames again that came out trailed or saturated: a few, at the sequence's cost in time but not in quota.
async fn retake(
    ins: &Instruments,
    (sequence, event, together): (&Sequence, Option<&str>, &Together),
    (channel, album): (&Channel, &Album),
    progress: &Progress,
    cancel: &mut watch::Receiver<Stop>,
) -> Result<(), Broken> {
    let mut retaken = Vec::new();
    while let Some(again) = adjust::retake(ins, sequence, &channel.name, &retaken).await {
        let binning = album
            .plans
            .iter()
            .find(|p| p.filter == again.filter)
            .map_or(1, |p| p.binning);
        retaken.push(again.exposure);
        tokio::select! {
            biased;
            broken = between_frames(cancel) => return Err(broken),
            selected = select_filter(channel, &again.filter) => selected?,
        }
        let wanted = wanted(ins, sequence, event, &again.filter, again.exposure_s, binning);
        let still = together.still().await;
        take_with_retry(ins, channel, &wanted, progress, cancel).await?;
        drop(still);
    }
    Ok(())
}

pub(crate) async fn take_with_retry(
    ins: &Instruments,
    channel: &Channel,
    wanted: &Wanted,
    progress: &Progress,
    cancel: &mut watch::Receiver<Stop>,
) -> Result<(), Broken> {
    let mut lost = 0;
    loop {
        tokio::select! {
            biased;
            cause = exposure::cancelled(cancel) => return Err(Broken::Cancelled(cause)),
            () = field_at_rest(channel) => {}
        }
        progress.channel(&channel.name, |p| {
            p.activity = "exposing".into();
            p.filter.clone_from(&wanted.filter);
            p.exposure_s = wanted.exposure_s;
            p.started_at = Some(ins.room.recorder.now());
        });
        match exposure::take(&ins.room, channel, wanted, cancel).await {
            Ok(_) => return Ok(()),
            Err(NoFrame::Device(_) | NoFrame::Overdue { .. } | NoFrame::Lost { .. }) if lost < ins.settings.retries => {
                lost += 1;
                // A short pause lets a link come back; it is not worth more while the sky waits.
                tokio::select! {
                    biased;
                    broken = between_frames(cancel) => return Err(broken),
                    () = tokio::time::sleep(Duration::from_secs(5)) => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn channel<'a>(ins: &'a Instruments, name: &str) -> Result<&'a Channel, Broken> {
    ins.channels
        .iter()
        .find(|c| c.name == name)
        .ok_or_else(|| Broken::Failed(format!("channel {name} does not exist")))
}

/// One stage of an alert's way, for the latency record.
pub(crate) fn stamp(ins: &Instruments, event: Option<&str>, stage: &str) {
    if let Some(event) = event {
        let stages = BTreeMap::from([(stage.to_owned(), ins.room.recorder.now())]);
        ins.room.recorder.record(Fact::AlertTiming {
            event: event.into(),
            stages,
        });
    }
}

/// Resolves when the target has sunk below the limit.
async fn watch_altitude(ins: &Instruments) -> Broken {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        if let Ok(status) = ins.mount.status().borrow().value
            && status.alt_deg < ins.settings.horizon_deg
        {
            return Broken::Failed(format!("the mount has come down to {:.1} deg", status.alt_deg));
        }
    }
}

/// First view of an order, before its first step.
pub fn first_view(instruments: &Instruments, order: &Order, now: UtcTime) -> Running {
    let names: Vec<&str> = match order {
        Order::Sequence { sequence, .. } => sequence.albums.iter().map(|a| a.channel.as_str()).collect(),
        Order::Calibration { frames, .. } => frames.iter().map(|f| f.channel.as_str()).collect(),
    };
    let blank = ChannelProgress {
        activity: "waiting".into(),
        filter: String::new(),
        exposure: None,
        exposure_s: 0.0,
        started_at: None,
        done: 0,
        total: 0,
    };
    let channels = instruments
        .channels
        .iter()
        .filter(|c| names.contains(&c.name.as_str()))
        .map(|c| (c.name.clone(), blank.clone()))
        .collect();
    Running {
        id: order.id().into(),
        label: order.label(),
        step: "starting".into(),
        since: now,
        channels,
    }
}

async fn join3<A, B, C>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
    c: impl Future<Output = C>,
) -> (A, B, C) {
    tokio::join!(a, b, c)
}
