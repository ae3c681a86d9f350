//! Everything the verdict may ask for, by name. Pure.
//!
//! Weather comes fused, the Sun from the clock, switches from the controller. What has one source only is held against
//! what else is known of it:
//! - the computed Sun against the measured light: a clock that is off by hours shows here;
//! - a switch of the controller against its own mode word and alarms;
//! - all switches against the controller's sensors: one that repeats its weather repeats its switches as well.

use crate::fusion;
use alidade_drivers::interface::{KeySwitch, PlcStatus, Quantity, Readings};
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};
use alidade_safety::inputs::Inputs;

/// What the inputs are made of.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub fused: &'a Readings,
    pub plc: &'a Reading<PlcStatus>,
    /// The controller says the same for ever, see [`fusion::History::repeats`].
    pub plc_repeats: bool,
    /// Altitude of the Sun's centre by this machine's clock, degrees.
    pub sun_alt_deg: f64,
    pub now: UtcTime,
}

/// What one switch says, and whether the controller contradicts itself about it.
type Switch = (&'static str, fn(&PlcStatus) -> bool, fn(&PlcStatus) -> bool);

/// Mode words by the documentation of the COLIBRI telescope's controller. A mode word of another controller claims nothing.
const SWITCHES: [Switch; 5] = [
    ("emergency_stop", |s| s.emergency_stop, |s| s.mode == "ESTOP"),
    ("access_requested", |s| s.access_requested, |_| false),
    ("intrusion", |s| s.intrusion, |s| s.mode == "AUTO_INTRUSION"),
    (
        "key_not_remote",
        |s| s.key_switch != KeySwitch::Remote,
        |s| ["MANU", "WAIT_MANU", "OFF", "WAIT_OFF"].contains(&s.mode.as_str()),
    ),
    (
        "plc_must_be_closed",
        |s| s.must_be_closed,
        |s| s.alarms.iter().any(|alarm| !s.bypasses.contains(alarm)),
    ),
];

/// The inputs; what was never read is absent.
pub fn inputs(known: Known<'_>) -> Inputs {
    let fused = known
        .fused
        .iter()
        .map(|(quantity, reading)| (quantity.name(), *reading));
    let distance = fusion::dew_point_distance(known.fused).map(|distance| ("dew_point_distance_k", distance));
    let switches = SWITCHES.iter().map(|(name, on, claimed)| {
        let value = match &known.plc.value {
            Ok(_) if known.plc_repeats => Err(NoData::Stuck),
            Ok(status) if claimed(status) && !on(status) => Err(NoData::Contradiction),
            Ok(status) => Ok(f64::from(u8::from(on(status)))),
            Err(reason) => Err(*reason),
        };
        let measured_at = known.plc.measured_at;
        (*name, Reading { value, measured_at })
    });
    let all = fused
        .chain(distance)
        .chain([("sun_alt_deg", sun(known))])
        .chain(switches);
    all.filter(|(_, reading)| reading.value != Err(NoData::NeverRead))
        .collect()
}

/// The Sun by the clock, unless the light outside says otherwise: 100 lux are far more than any twilight with the Sun nine
/// degrees down (0.1 lux), and 5 lux far less than any day with the Sun five degrees up (1000 lux under thick cloud).
fn sun(known: Known<'_>) -> Reading<f64> {
    let alt_deg = known.sun_alt_deg;
    if !(-90.0..=90.0).contains(&alt_deg) {
        return Reading::none(NoData::OutOfRange, known.now);
    }
    let light = known.fused.get(Quantity::LightLux).and_then(|light| light.value.ok());
    let contradicts = light.is_some_and(|lux| (alt_deg < -9.0 && lux > 100.0) || (alt_deg > 5.0 && lux < 5.0));
    if contradicts {
        Reading::none(NoData::Contradiction, known.now)
    } else {
        Reading::good(alt_deg, known.now)
    }
}
