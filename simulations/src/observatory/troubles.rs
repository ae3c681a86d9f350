//! What goes wrong with which device now, what that makes of it, and which cameras can be told anything.

use super::{HAND_CONTROL, Observatory};
use crate::{
    devices::{mount::MountModel, plc::Influence},
    distortion::needs_tape,
    faults::{Fault, FaultKind},
};
use alidade_model::{states::MountState, time::UtcTime};

/// Between the first words to a camera that could not be reached and the end of its exposure: the state is read, and the
/// order to stop follows, seconds.
const SAYING_S: f64 = 3.0;

/// How long after the end of a fault the line may take to be made again (the longest backoff of a driver and its greeting),
/// seconds.
const RETURN_S: f64 = 20.0;

/// A device that this holds of cannot be told to stop.
pub(super) fn deafens(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Hang | FaultKind::DropLink | FaultKind::Refuse | FaultKind::Delay { .. }
    )
}

impl Observatory {
    pub(super) fn fault(&self, device: &str, now: UtcTime, matches: impl Fn(&FaultKind) -> bool) -> bool {
        self.fault_value(device, now, |kind| matches(kind).then_some(()))
            .is_some()
    }

    pub(super) fn fault_value<T>(
        &self,
        device: &str,
        now: UtcTime,
        pick: impl Fn(&FaultKind) -> Option<T>,
    ) -> Option<T> {
        self.faults
            .borrow()
            .iter()
            .filter(|f| f.device == device && f.at <= now && now < f.at.plus_seconds(f.for_s))
            .find_map(|f| pick(&f.kind))
    }

    pub(super) fn stuck(&self, device: &str, now: UtcTime) -> bool {
        self.fault(device, now, |kind| *kind == FaultKind::Stuck)
    }

    /// Something is wrong with this device, or was until a moment ago, that may keep it from doing what it is told.
    pub(super) fn ails(&self, device: &str, now: UtcTime) -> bool {
        self.faults.borrow().iter().any(|fault| {
            let lasts = fault.at <= now && now < fault.at.plus_seconds(fault.for_s + RETURN_S);
            lasts
                && fault.device == device
                && !matches!(fault.kind, FaultKind::LandsOff { .. } | FaultKind::EmergencyStop)
        })
    }

    pub(super) fn thermometer_offset_k(&self, device: &str, now: UtcTime) -> f64 {
        self.fault_value(device, now, |kind| match kind {
            FaultKind::ThermometerOffset { kelvin } => Some(*kelvin),
            _ => None,
        })
        .unwrap_or(0.0)
    }

    pub(super) fn misses_deg(&self, now: UtcTime) -> f64 {
        self.fault_value("mount", now, |kind| match kind {
            FaultKind::LandsOff { arcmin } => Some(*arcmin / 60.0),
            _ => None,
        })
        .unwrap_or(0.0)
    }

    /// What the world does to the controller now. The first fault of a kind counts where it has a value.
    pub(super) fn influence(&self, now: UtcTime, mount: &MountModel) -> Influence {
        let mut influence = Influence::calm(now, self.weather.at(now), self.sun_alt_deg(now));
        influence.mount_parked = mount.state() == MountState::Parked;
        let (mut offset_k, mut charge_pct) = (None, None);
        for fault in self.faults.borrow().iter().filter(|f| f.device == "plc") {
            if now < fault.at || fault.at.plus_seconds(fault.for_s) <= now {
                continue;
            }
            match &fault.kind {
                FaultKind::Stuck => influence.stuck = true,
                FaultKind::ShutterJam { fraction } => influence.jam = influence.jam.or(Some(*fraction)),
                FaultKind::FrozenSensor => influence.frozen_sensors = true,
                FaultKind::DeadSensor => influence.dead_sensors = true,
                FaultKind::ShutterShows { shows } => influence.shown = influence.shown.or(Some(*shows)),
                FaultKind::ThermometerOffset { kelvin } => offset_k = offset_k.or(Some(*kelvin)),
                FaultKind::EmergencyStop => influence.emergency_stop = true,
                FaultKind::KeyLocal => influence.key_local = true,
                FaultKind::AccessRequest => influence.access = true,
                FaultKind::Intrusion => influence.intrusion = true,
                FaultKind::OnBattery { charge_pct: left } => charge_pct = charge_pct.or(Some(*left)),
                _ => {}
            }
        }
        influence.thermometer_offset_k = offset_k.unwrap_or(influence.thermometer_offset_k);
        influence.charge_pct = charge_pct.unwrap_or(influence.charge_pct);
        influence
    }

    /// False while a camera cannot be told anything: while its fault lasts, and from then on until somebody has spoken to it
    /// again and had the time to say what is to be said. Who has not come back by then has given it up, and is to blame.
    pub(super) fn hears(&self, channel: &str, now: UtcTime) -> bool {
        let device = format!("camera_{channel}");
        let heard = self.heard.borrow().get(&device).copied();
        let unheard = |fault: &Fault| {
            let end = fault.at.plus_seconds(fault.for_s);
            let spoken = heard.filter(|heard| *heard >= end);
            now < end
                || match spoken {
                    Some(spoken) => now < spoken.plus_seconds(SAYING_S),
                    None => now < end.plus_seconds(RETURN_S),
                }
        };
        let faults = self.faults.borrow();
        let mut own = faults
            .iter()
            .filter(|f| f.device == device && deafens(&f.kind) && f.at <= now);
        !own.any(unheard)
    }

    /// Somebody speaks to a camera: the first words after a time when it could not be reached are kept.
    pub(super) fn note_hearing(&self, device: &str, now: UtcTime) {
        if !device.starts_with("camera_") {
            return;
        }
        let faults = self.faults.borrow();
        let ends = faults
            .iter()
            .filter(|f| f.device == device && deafens(&f.kind))
            .map(|f| f.at.plus_seconds(f.for_s));
        let Some(end) = ends.filter(|end| *end <= now).max() else {
            return;
        };
        let mut heard = self.heard.borrow_mut();
        if heard.get(device).is_none_or(|before| *before < end) {
            heard.insert(device.to_owned(), now);
        }
    }

    /// The faults that hold on a device now, and whether it has any for which what is said must be remembered.
    pub(super) fn holding(&self, device: &str, now: UtcTime) -> (Vec<FaultKind>, bool) {
        let mut taped = false;
        let mut holds = Vec::new();
        for fault in self.faults.borrow().iter().filter(|f| f.device == device) {
            taped |= needs_tape(&fault.kind);
            if fault.at <= now && now < fault.at.plus_seconds(fault.for_s) {
                holds.push(fault.kind.clone());
            }
        }
        (holds, taped)
    }

    /// Whether a device has no current. The mount is one, whichever language it is spoken to in.
    pub(super) fn is_dark(&self, device: &str) -> bool {
        let device = if device == HAND_CONTROL { "mount" } else { device };
        self.models.borrow().power.dark().any(|dark| dark == device)
    }

    /// What has no current stops where it is and forgets what it was doing, and does not hang any more when it comes back.
    pub(super) fn cut_off(&self, now: UtcTime) {
        let dark: Vec<String> = self.models.borrow().power.dark().map(str::to_owned).collect();
        for device in &dark {
            self.advance(device);
            let mut models = self.models.borrow_mut();
            if device == "mount" {
                models.mount.stop();
                models.mount.track(false);
            } else {
                drop(models);
                let _unheard = self.respond(device, |r| r.answer(b"99990000DO STOP"));
            }
        }
        for fault in self.faults.borrow_mut().iter_mut() {
            let hangs = matches!(fault.kind, FaultKind::Hang | FaultKind::Mute) && dark.contains(&fault.device);
            if hangs && fault.at <= now {
                fault.for_s = fault.for_s.min(now.seconds_since(fault.at));
            }
        }
        self.told();
    }

    /// Lets other clients say what they are to have said by now.
    pub(super) fn others_speak(&self, device: &str, now: UtcTime) {
        let due: Vec<String> = {
            let (faults, mut said) = (self.faults.borrow(), self.said.borrow_mut());
            let mut due = Vec::new();
            for (place, fault) in faults.iter().enumerate() {
                if let FaultKind::Foreign { says } = &fault.kind
                    && fault.device == device
                    && fault.at <= now
                    && said.insert(place)
                {
                    due.push(says.clone());
                }
            }
            due
        };
        let trips = self.models.borrow().plc.interlock_trips;
        for words in due {
            self.told();
            self.advance(device);
            // Nobody hears the answer here.
            let _unheard = self.respond(device, |r| {
                let framed = if r.terminator() == 0 {
                    format!("99990000{words}")
                } else {
                    words.clone()
                };
                r.answer(framed.as_bytes())
            });
            self.told();
            self.advance(device);
            // What somebody else tries is not the daemon's doing.
            self.models.borrow_mut().plc.interlock_trips = trips;
        }
    }
}
