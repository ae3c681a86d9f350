//! Calibration frames: biases, darks and flats, every channel beside the others.

use crate::{
    exposure::{Wanted, cancelled},
    messages::{CalibrationFrames, Stop},
    pointing,
    procedure::{Broken, Instruments, Progress, channel, take_with_retry},
    ready::select_filter,
    slew::point,
};
use alidade_model::exposure::FrameKind;
use alidade_scheduling::ephemeris;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Takes these frames, the flats where the twilight is even.
pub(crate) async fn run_calibration(
    ins: &Instruments,
    frames: &[CalibrationFrames],
    progress: &Progress,
    mut cancel: watch::Receiver<Stop>,
) -> Result<(), Broken> {
    let flats = frames.iter().any(|f| f.kind == FrameKind::Flat);
    let now = ins.room.recorder.now();
    let sun = ephemeris::sun_altaz(&ins.site, now.chrono());
    let (alt, az) = pointing::flat_field_direction(sun.az_deg);
    if flats {
        progress.step("pointing to the flat field");
        tokio::select! {
            biased;
            cause = cancelled(&mut cancel) => return Err(Broken::Cancelled(cause)),
            arrived = point(ins, pointing::apparent_of_altaz(&ins.site, alt, az, now), None) => arrived?,
        }
    }
    progress.step("taking calibration frames");
    let mut by_channel: BTreeMap<&str, Vec<&CalibrationFrames>> = BTreeMap::new();
    for wanted in frames {
        by_channel.entry(&wanted.channel).or_default().push(wanted);
    }
    let runs = by_channel.into_iter().map(|(name, sets)| {
        let mut cancel = cancel.clone();
        async move {
            let channel = channel(ins, name)?;
            progress.channel(name, |p| p.total = sets.iter().map(|s| s.count).sum());
            for set in sets {
                if let Some(filter) = &set.filter {
                    select_filter(channel, filter).await?;
                }
                for _ in 0..set.count {
                    let wanted = Wanted {
                        kind: set.kind,
                        filter: set.filter.clone().unwrap_or_else(|| "none".into()),
                        exposure_s: set.exposure_s,
                        binning: 1,
                        sequence: None,
                        event: None,
                        user: "observatory".into(),
                        object: set.kind.imagetyp().into(),
                        pointing: None,
                        alt_az: flats.then_some((alt, az)),
                    };
                    take_with_retry(ins, channel, &wanted, progress, &mut cancel).await?;
                    progress.channel(name, |p| p.done += 1);
                }
            }
            Ok(())
        }
    });
    join_all(runs).await.into_iter().collect()
}
