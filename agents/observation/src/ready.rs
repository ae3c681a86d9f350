//! Filters and focus to where an order wants them, read back; and a field that stands.

use crate::{
    exposure::Channel,
    procedure::{Broken, Instruments, channel},
};
use alidade_drivers::interface::{DeviceError, FilterWheel};
use alidade_model::journal::Fact;
use futures_util::future::join_all;
use std::{rc::Rc, time::Duration};

/// The first filter of every channel into its beam.
pub(crate) async fn filters(ins: &Instruments, wanted: &[(&str, &str)]) -> Result<(), Broken> {
    let all = wanted
        .iter()
        .map(|(name, filter)| async move { select_filter(channel(ins, name)?, filter).await });
    join_all(all).await.into_iter().collect()
}

/// Brings a filter into the beam and reads it back: no exposure through the wrong one.
pub(crate) async fn select_filter(channel: &Channel, filter: &str) -> Result<(), Broken> {
    let Some(wheel) = &channel.wheel else { return Ok(()) };
    let in_place = |wheel: &Rc<dyn FilterWheel>| {
        wheel
            .status()
            .borrow()
            .value
            .as_ref()
            .is_ok_and(|s| !s.moving && s.filter.as_deref() == Some(filter))
    };
    if in_place(wheel) {
        return Ok(());
    }
    for _ in 0..2 {
        match wheel.select(filter).await {
            Ok(()) | Err(DeviceError::OutcomeUnknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut statuses = wheel.status();
        let turning = async {
            while !in_place(wheel) {
                drop(tokio::time::timeout(Duration::from_secs(1), statuses.changed()).await);
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), turning).await.is_ok() {
            return Ok(());
        }
    }
    Err(Broken::Failed(format!(
        "filter {filter} of channel {} is not in the beam after two tries",
        channel.name
    )))
}

/// Waits while the camera is being turned; at most two minutes, for a rotator that follows the sky may turn all night.
pub(crate) async fn field_at_rest(channel: &Channel) {
    if let Some(turning) = &channel.rotator {
        drop(tokio::time::timeout(Duration::from_secs(120), turning.at_rest()).await);
    }
}

/// Moves the focus to where temperature and stars want it; a focuser that fails costs sharpness, not the sequence.
pub(crate) async fn focus(ins: &Instruments) {
    let Some(focuser) = &ins.focuser else { return };
    let Ok(status) = focuser.status().borrow().value else {
        return;
    };
    let wanted = ins.settings.focus_base_steps
        + ((status.temperature_c - 10.0) * ins.settings.focus_steps_per_c).round() as i64
        + ins.adjusted.focus_offset();
    if (wanted - status.position_steps).abs() < 5 {
        return;
    }
    if let Err(error) = focuser.move_to(wanted).await {
        ins.room.recorder.record(Fact::Degraded {
            what: "focus".into(),
            cause: error.to_string(),
        });
        return;
    }
    let mut statuses = focuser.status();
    let moving = async {
        while !focuser
            .status()
            .borrow()
            .value
            .is_ok_and(|s| !s.moving && (s.position_steps - wanted).abs() < 5)
        {
            drop(tokio::time::timeout(Duration::from_secs(1), statuses.changed()).await);
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), moving).await.is_err() {
        ins.room.recorder.record(Fact::Degraded {
            what: "focus".into(),
            cause: "focuser did not arrive within 60 s".into(),
        });
    }
}
