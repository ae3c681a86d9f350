//! How it observes: the night, calibrations, planning and exposures.

use serde::{Deserialize, Serialize};

/// The night by the altitude of the Sun, degrees.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NightSettings {
    pub prepare_sun_alt_deg: f64,
    pub open_sun_alt_deg: f64,
    /// Twilight flats between these (high, low).
    pub flats_sun_alt_deg: (f64, f64),
    pub observe_sun_alt_deg: f64,
    /// Observing ends when the rising Sun passes this.
    pub close_sun_alt_deg: f64,
    /// A sequence that has failed this often is left incomplete.
    pub max_failures: u32,
    /// Shortest time between two re-plans for want of work, seconds.
    pub idle_replan_s: f64,
}

impl Default for NightSettings {
    fn default() -> Self {
        Self {
            prepare_sun_alt_deg: 3.0,
            open_sun_alt_deg: -1.0,
            flats_sun_alt_deg: (-3.0, -8.0),
            observe_sun_alt_deg: -14.0,
            close_sun_alt_deg: -12.0,
            max_failures: 2,
            idle_replan_s: 300.0,
        }
    }
}

/// Calibration frames of every evening, per channel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSettings {
    pub bias_count: u32,
    pub dark_count: u32,
    pub dark_exposures_s: Vec<f64>,
    /// Per filter.
    pub flat_count: u32,
    pub flat_exposure_s: f64,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self {
            bias_count: 5,
            dark_count: 3,
            dark_exposures_s: vec![60.0],
            flat_count: 3,
            flat_exposure_s: 3.0,
        }
    }
}

/// Weights of the planner's objective (see the scheduling agent).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulingSettings {
    /// What a change of target takes beyond the movements, seconds.
    pub overhead_s: f64,
    pub overheads: OverheadsSettings,
    /// Work of one plan; equal numbers give equal plans.
    pub iterations: u64,
    pub seed: u64,
    /// Share lost when the start is `preferred_scale_s` or more from the preferred one, 0 to 1.
    pub weight_preferred: f64,
    pub preferred_scale_s: f64,
    /// Share that a target on the horizon loses against one at its best, 0 to 1.
    pub weight_airmass: f64,
    /// Share gained by keeping a promised start.
    pub weight_promise: f64,
    /// Share gained by a request that has tonight or never.
    pub weight_urgency: f64,
    /// Share gained by a user whose quota is less used than the others'.
    pub weight_balance: f64,
    /// Nights looked ahead for the chance of a request.
    pub season_nights: u32,
    /// Share of clear nights by month, January first.
    pub clear_nights: [f64; 12],
    /// Correlation of a night's weather with the night before.
    pub weather_persistence: f64,
    /// Sky minus air of a clear and of an overcast sky, kelvins: between them cloud cover is taken as linear.
    pub clear_sky_k: f64,
    pub overcast_sky_k: f64,
}

/// How the mount's axes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AxesSettings {
    Equatorial,
    AltAz,
}

/// How fast the telescope changes from target to target.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverheadsSettings {
    pub axes: AxesSettings,
    /// Top rate of the slower axis, degrees per second.
    pub slew_deg_s: f64,
    /// Degrees per second squared; 0 reaches the top rate at once.
    pub acceleration_deg_s2: f64,
    pub settle_s: f64,
    /// Added when a German mount changes its side of the pier, seconds.
    pub flip_s: f64,
    /// Rate of the dome in azimuth, degrees per second; 0 for none to wait for.
    pub dome_deg_s: f64,
    pub filter_s: f64,
    /// Focusing after a change of the filter, seconds.
    pub focus_s: f64,
}

impl Default for OverheadsSettings {
    fn default() -> Self {
        Self {
            axes: AxesSettings::Equatorial,
            slew_deg_s: 2.0,
            acceleration_deg_s2: 1.0,
            settle_s: 3.0,
            flip_s: 0.0,
            dome_deg_s: 3.0,
            filter_s: 5.0,
            focus_s: 0.0,
        }
    }
}

impl Default for SchedulingSettings {
    fn default() -> Self {
        Self {
            overhead_s: 15.0,
            overheads: OverheadsSettings::default(),
            iterations: 2000,
            seed: 1,
            weight_preferred: 0.2,
            preferred_scale_s: 3600.0,
            weight_airmass: 0.1,
            weight_promise: 0.05,
            weight_urgency: 0.5,
            weight_balance: 0.2,
            season_nights: 30,
            clear_nights: [0.6; 12],
            weather_persistence: 0.3,
            clear_sky_k: -25.0,
            overcast_sky_k: -10.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObservationSettings {
    /// On target within this, degrees.
    pub pointing_tolerance_deg: f64,
    /// Longest slew, seconds.
    pub slew_s: f64,
    /// Focuser steps at 10 degrees Celsius, and per degree.
    pub focus_base_steps: i64,
    pub focus_steps_per_c: f64,
    /// Frames lost in a row before a channel is given up.
    pub retries: u32,
    /// A target that is off by more is brought to the middle, arcseconds; 0 never.
    pub recentre_arcsec: f64,
    /// Steps of a trial of the focus; 0 leaves it to the temperature.
    pub focus_trial_steps: i64,
    /// Wider stars put the focus in doubt, arcseconds at the zenith.
    pub focus_doubt_arcsec: f64,
    /// Trailed or saturated frames that are taken again, per sequence and channel.
    pub retakes: u32,
}

impl Default for ObservationSettings {
    fn default() -> Self {
        Self {
            pointing_tolerance_deg: 0.05,
            slew_s: 120.0,
            focus_base_steps: 20_000,
            focus_steps_per_c: -40.0,
            retries: 3,
            recentre_arcsec: 30.0,
            focus_trial_steps: 0,
            focus_doubt_arcsec: 5.0,
            retakes: 0,
        }
    }
}
