//! What frames said is done: the target brought to the middle, the focus tried, frames taken again. When and how far is
//! decided in [`feedback`]; here it is carried out while no camera of the sequence exposes.

use crate::{
    feedback::{self, Correction, Focus, Retake},
    pointing::{self, Apparent},
    procedure::{Broken, Instruments, Progress},
    ready, slew,
};
use alidade_model::{journal::Fact, request::Sequence};
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};
use tokio::sync::{RwLock, RwLockReadGuard};

/// After a short movement the mount is given this long to come to rest, seconds.
const REST_S: u64 = 2;
/// The last frame of a sequence is waited for so long, seconds: its verdict decides whether it is taken again.
const VERDICT_S: u64 = 2;

/// What was changed because of what frames showed; lost with the daemon, and learnt again from the first frame.
#[derive(Default)]
pub struct Adjusted {
    correction: Cell<Correction>,
    focus: RefCell<Focus>,
}

impl Adjusted {
    pub(crate) fn focus_offset(&self) -> i64 {
        self.focus.borrow().offset_steps
    }
}

/// What the channels of one running sequence share.
#[derive(Default)]
pub(crate) struct Together {
    /// Held for reading by every exposure, for writing by whoever moves the telescope.
    exposing: RwLock<()>,
    corrections: Cell<u32>,
    /// It has been said that nothing more is corrected.
    given_up: Cell<bool>,
}

impl Together {
    /// Nothing moves while this is held.
    pub(crate) async fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.exposing.read().await
    }
}

/// Where the mount is sent for a target.
pub(crate) fn place(ins: &Instruments, sequence: &Sequence) -> Apparent {
    let target = &sequence.target;
    let (ra, dec) = ins.adjusted.correction.get().applied(target.ra_deg, target.dec_deg);
    pointing::apparent(&ins.site, ra, dec, ins.room.recorder.now())
}

/// Between two exposures: does what the frames so far ask for.
pub(crate) async fn settle(
    ins: &Instruments,
    sequence: &Sequence,
    together: &Together,
    progress: &Progress,
) -> Result<(), Broken> {
    recentre(ins, sequence, together, progress).await?;
    refocus(ins, together, progress).await;
    Ok(())
}

fn due(ins: &Instruments, sequence: &Sequence, times: u32) -> Option<Result<Correction, feedback::Beyond>> {
    let frames = ins.feedback.borrow().clone();
    let now = ins.adjusted.correction.get();
    feedback::recentre(&now, &frames, &sequence.id, times, &ins.settings.feedback)
}

async fn recentre(
    ins: &Instruments,
    sequence: &Sequence,
    together: &Together,
    progress: &Progress,
) -> Result<(), Broken> {
    match due(ins, sequence, together.corrections.get()) {
        None => return Ok(()),
        Some(Err(beyond)) => {
            if !together.given_up.replace(true) {
                ins.room.recorder.record(Fact::Degraded {
                    what: format!("pointing of {}", sequence.id),
                    cause: beyond.to_string(),
                });
            }
            return Ok(());
        }
        Some(Ok(_)) => {}
    }
    let moving = together.exposing.write().await;
    // Another channel of the sequence may have done it while this one waited.
    if let Some(Ok(next)) = due(ins, sequence, together.corrections.get()) {
        let before = ins.adjusted.correction.get();
        together.corrections.set(together.corrections.get() + 1);
        ins.adjusted.correction.set(next);
        let (east, north) = (
            next.east_arcsec - before.east_arcsec,
            next.north_arcsec - before.north_arcsec,
        );
        ins.room.recorder.record(Fact::Corrected {
            what: "pointing".into(),
            by: format!("{east:+.1} arcsec east, {north:+.1} arcsec north"),
            cause: format!("frames of {} show where it points", sequence.id),
        });
        progress.step("centring");
        let arrived = slew::point(ins, place(ins, sequence), None).await;
        // A short movement may end before it has been seen.
        tokio::time::sleep(Duration::from_secs(REST_S)).await;
        ins.adjusted.correction.set(Correction {
            since: Some(ins.room.recorder.now()),
            ..next
        });
        progress.step("exposing");
        arrived?;
    }
    drop(moving);
    Ok(())
}

async fn refocus(ins: &Instruments, together: &Together, progress: &Progress) {
    let look = || {
        let frames = ins.feedback.borrow().clone();
        let focus = ins.adjusted.focus.borrow();
        focus.judge(&frames, ins.room.recorder.now(), &ins.settings.feedback)
    };
    if ins.focuser.is_none() {
        return;
    }
    let Some(next) = look() else { return };
    if next.offset_steps == ins.adjusted.focus_offset() {
        ins.adjusted.focus.replace(next);
        return;
    }
    let moving = together.exposing.write().await;
    if let Some(next) = look() {
        let by = next.offset_steps - ins.adjusted.focus_offset();
        let cause = if next.on_trial() {
            "the stars are wide: a trial of the focus"
        } else {
            "the end of a trial"
        };
        ins.adjusted.focus.replace(next);
        if by != 0 {
            ins.room.recorder.record(Fact::Corrected {
                what: "focus".into(),
                by: format!("{by:+} steps"),
                cause: cause.into(),
            });
            progress.step("focusing");
            ready::focus(ins).await;
            ins.adjusted.focus.borrow_mut().since = Some(ins.room.recorder.now());
            progress.step("exposing");
        }
    }
    drop(moving);
}

/// A frame that is to be taken again; the verdict on the last one is waited for a moment where frames are analysed.
pub(crate) async fn retake(
    ins: &Instruments,
    sequence: &Sequence,
    channel: &str,
    retaken: &[String],
) -> Option<Retake> {
    let limits = &ins.settings.feedback;
    if limits.retakes == 0 || retaken.len() >= limits.retakes as usize {
        return None;
    }
    let mut feedback = ins.feedback.clone();
    feedback.mark_unchanged();
    let analysed = !feedback.borrow().is_empty();
    if analysed {
        drop(tokio::time::timeout(Duration::from_secs(VERDICT_S), feedback.changed()).await);
    }
    let frames = feedback.borrow().clone();
    let again = feedback::retake(&frames, &sequence.id, channel, retaken, limits)?;
    ins.room.recorder.record(Fact::Corrected {
        what: "exposure".into(),
        by: format!("{} taken again for {:.1} s", again.exposure, again.exposure_s),
        cause: again.cause.into(),
    });
    Some(again)
}
