//! Mount and slit to a target, and the proof that they are there.
//!
//! ```text
//!   slew -> tracking within the tolerance ------------------------------> on target
//!     ^  -> at rest elsewhere -> sent again, twice at most -> given up with the distance
//!     |  -> neither within its time -> stopped, given up
//!     +---- refused, or the line has just been lost: asked again, twice at most; after its parking if it parks
//! ```

use crate::{
    pointing::Apparent,
    procedure::{Broken, Instruments, stamp},
};
use alidade_drivers::interface::{DeviceError, MountStatus};
use alidade_model::{journal::Fact, states::MountState, time::UtcTime};
use alidade_scheduling::ephemeris;
use std::time::Duration;

/// How often a mount that has come to rest beside its target is sent there again.
const SENT_AGAIN: u32 = 2;

/// A mount that rests elsewhere for so long has ended its slew there, seconds; some say tracking before they begin to move.
const REST_S: f64 = 5.0;

/// How a slew ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrival {
    There,
    /// At rest so many degrees from the target.
    Beside(f64),
}

/// Looks at what a mount says after a slew was commanded. Pure.
struct Lookout {
    place: Apparent,
    tolerance_deg: f64,
    resting_since: Option<UtcTime>,
}

impl Lookout {
    fn judge(&mut self, status: &MountStatus, at: UtcTime) -> Option<Arrival> {
        let off_deg = ephemeris::separation_deg(status.ra_deg, status.dec_deg, self.place.ra_deg, self.place.dec_deg);
        if status.state == MountState::Tracking && off_deg < self.tolerance_deg {
            return Some(Arrival::There);
        }
        if !matches!(status.state, MountState::Tracking | MountState::Idle) {
            self.resting_since = None;
            return None;
        }
        let since = *self.resting_since.get_or_insert(at);
        (at.seconds_since(since) >= REST_S).then_some(Arrival::Beside(off_deg))
    }
}

/// Slews and waits until mount and slit are measured on target.
pub(crate) async fn point(ins: &Instruments, place: Apparent, event: Option<&str>) -> Result<(), Broken> {
    unpark(ins).await?;
    let mut sent = 0;
    loop {
        slew(ins, place).await?;
        if sent == 0 {
            stamp(ins, event, "slew_commanded");
            // The slit turns while the mount slews.
            drop(ins.room.enclosure.rotate(place.az_deg).await);
        }
        sent += 1;
        let mut lookout = Lookout {
            place,
            tolerance_deg: ins.settings.pointing_tolerance_deg,
            resting_since: None,
        };
        let arrival = wait_for_mount(ins, ins.settings.slew_s, "slew", |status, at| lookout.judge(status, at)).await?;
        let Arrival::Beside(off_deg) = arrival else { break };
        let beside = format!("the mount came to rest {:.1} arcmin off target", off_deg * 60.0);
        if sent > SENT_AGAIN {
            return Err(Broken::Failed(format!("{beside} after {sent} slews")));
        }
        ins.room.recorder.record(Fact::Degraded {
            what: "pointing".into(),
            cause: format!("{beside}; it is sent again"),
        });
    }
    wait_for_slit(ins).await?;
    stamp(ins, event, "on_target");
    Ok(())
}

fn state(ins: &Instruments) -> Option<MountState> {
    ins.mount.status().borrow().value.ok().map(|status| status.state)
}

/// A mount that is parked is made ready to move.
async fn unpark(ins: &Instruments) -> Result<(), Broken> {
    if state(ins) != Some(MountState::Parked) {
        return Ok(());
    }
    ins.mount.unpark().await?;
    wait_for_mount(ins, 60.0, "unpark", |status, _| {
        (!matches!(status.state, MountState::Parked | MountState::Unparking)).then_some(())
    })
    .await
}

/// Commands the slew. A mount that refuses it or has just lost its line is asked twice more, ten seconds apart: a
/// passing fault costs half a minute, and not one sequence after the other. Some refuse while they park, and are asked
/// when they have parked.
async fn slew(ins: &Instruments, place: Apparent) -> Result<(), Broken> {
    let mut tries = 0;
    loop {
        match ins.mount.slew(place.ra_deg, place.dec_deg).await {
            Ok(()) | Err(DeviceError::OutcomeUnknown { .. }) => return Ok(()),
            Err(DeviceError::Rejected { .. }) if tries < 2 && state(ins) == Some(MountState::Parking) => {
                tries += 1;
                let parked = |status: &MountStatus, _| (status.state != MountState::Parking).then_some(());
                wait_for_mount(ins, ins.settings.slew_s, "park", parked).await?;
                unpark(ins).await?;
            }
            Err(DeviceError::Rejected { .. } | DeviceError::Disconnected { .. }) if tries < 2 => {
                tries += 1;
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Shows `judge` every reading of the mount from now on, with its time, until it has an answer.
async fn wait_for_mount<T>(
    ins: &Instruments,
    within_s: f64,
    what: &str,
    mut judge: impl FnMut(&MountStatus, UtcTime) -> Option<T>,
) -> Result<T, Broken> {
    let mut statuses = ins.mount.status();
    let begun = ins.room.recorder.now();
    let judged = async {
        loop {
            {
                let reading = statuses.borrow_and_update();
                // Only what was measured after the command counts.
                if reading.measured_at > begun
                    && let Ok(status) = &reading.value
                    && let Some(answer) = judge(status, reading.measured_at)
                {
                    return answer;
                }
            }
            drop(tokio::time::timeout(Duration::from_secs(1), statuses.changed()).await);
        }
    };
    match tokio::time::timeout(Duration::from_secs_f64(within_s), judged).await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            drop(ins.mount.stop().await);
            Err(Broken::Failed(format!(
                "{what} not finished within {within_s:.0} s; mount stopped"
            )))
        }
    }
}

/// How far the slit is from the mount's azimuth, degrees; `None` for a roll-off roof or without readings.
fn slit_error(ins: &Instruments) -> Option<(f64, f64)> {
    let azimuth = ins.room.enclosure.enclosure_status().borrow().value.ok()?.azimuth_deg?;
    let mount = ins.mount.status().borrow().value.ok()?;
    // Near the zenith every slit position sees the sky.
    let error = if mount.alt_deg > 85.0 {
        0.0
    } else {
        (azimuth - mount.az_deg + 180.0).rem_euclid(360.0) - 180.0
    };
    Some((error.abs(), mount.az_deg))
}

async fn wait_for_slit(ins: &Instruments) -> Result<(), Broken> {
    let waiting = async {
        let mut since_command = 0;
        while let Some((error, azimuth)) = slit_error(ins) {
            if error <= ins.settings.slit_tolerance_deg {
                return;
            }
            since_command += 1;
            let rotating = ins
                .room
                .enclosure
                .enclosure_status()
                .borrow()
                .value
                .is_ok_and(|s| s.rotating);
            if !rotating && since_command > 3 {
                since_command = 0;
                drop(ins.room.enclosure.rotate(azimuth).await);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), waiting)
        .await
        .map_err(|_| Broken::Failed("the slit does not reach the telescope".into()))
}

pub(crate) enum Never {}

/// Turns the slit after the mount while an order runs.
pub(crate) async fn keep_slit_on_mount(ins: &Instruments) -> Never {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        if let Some((error, azimuth)) = slit_error(ins)
            && error > ins.settings.slit_tolerance_deg * 0.5
        {
            drop(ins.room.enclosure.rotate(azimuth).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: f64) -> UtcTime {
        UtcTime::from_unix_micros(0).unwrap().plus_seconds(second)
    }

    /// What is said of (second, state, declination) after a slew to declination 20.
    fn walk(said: &[(f64, MountState, f64)]) -> Vec<Option<Arrival>> {
        let mut lookout = Lookout {
            place: Apparent {
                ra_deg: 100.0,
                dec_deg: 20.0,
                alt_deg: 60.0,
                az_deg: 180.0,
            },
            tolerance_deg: 0.05,
            resting_since: None,
        };
        let look = |(second, state, dec_deg): &(f64, MountState, f64)| {
            let status = MountStatus {
                state: *state,
                ra_deg: 100.0,
                dec_deg: *dec_deg,
                alt_deg: 60.0,
                az_deg: 180.0,
            };
            lookout.judge(&status, at(*second))
        };
        said.iter().map(look).collect()
    }

    #[test]
    fn a_mount_is_there_when_it_tracks_within_the_tolerance() {
        use MountState::{Slewing, Tracking};
        let judged = walk(&[(1.0, Tracking, 10.0), (2.0, Slewing, 20.0), (3.0, Tracking, 20.01)]);
        assert_eq!(judged, [None, None, Some(Arrival::There)]);
    }

    #[test]
    fn a_mount_that_rests_elsewhere_has_missed_and_one_that_has_not_begun_or_still_moves_has_not() {
        use MountState::{Idle, Slewing, Tracking};
        let judged = walk(&[
            (1.0, Tracking, 10.0),
            (4.0, Tracking, 10.0),
            (5.0, Slewing, 15.0),
            (20.0, Slewing, 19.0),
            (21.0, Tracking, 20.5),
            (25.0, Idle, 20.5),
            (26.0, Tracking, 20.5),
        ]);
        assert_eq!(judged[..6], [None; 6]);
        assert!(
            matches!(judged[6], Some(Arrival::Beside(off)) if (off - 0.5).abs() < 1e-9),
            "{judged:?}"
        );
    }
}
