//! The night, calibrations, planning and exposures.

use super::Faults;
use crate::settings::Settings;

pub(super) fn night(settings: &Settings, faults: &mut Faults) {
    let night = &settings.night;
    let (flats_high, flats_low) = night.flats_sun_alt_deg;
    faults.within("night.prepare_sun_alt_deg", night.prepare_sun_alt_deg, -18.0, 30.0);
    faults.within("night.open_sun_alt_deg", night.open_sun_alt_deg, -18.0, 10.0);
    faults.within("night.flats_sun_alt_deg", flats_high, -18.0, 5.0);
    faults.within("night.flats_sun_alt_deg", flats_low, -18.0, 5.0);
    faults.within("night.observe_sun_alt_deg", night.observe_sun_alt_deg, -30.0, 0.0);
    faults.within("night.close_sun_alt_deg", night.close_sun_alt_deg, -30.0, 0.0);
    if flats_high <= flats_low {
        faults.add(
            "night.flats_sun_alt_deg",
            format!("{flats_high} is not above {flats_low}"),
        );
    }
    if night.open_sun_alt_deg > night.prepare_sun_alt_deg {
        faults.add("night.open_sun_alt_deg", "the enclosure opens before the preparations");
    }
    if night.observe_sun_alt_deg > night.open_sun_alt_deg {
        faults.add(
            "night.observe_sun_alt_deg",
            "observing starts before the enclosure opens",
        );
    }
    faults.whole("night.max_failures", u64::from(night.max_failures), 1, 100);
    faults.within("night.idle_replan_s", night.idle_replan_s, 10.0, 86_400.0);
}

pub(super) fn work(settings: &Settings, faults: &mut Faults) {
    let calibration = &settings.calibration;
    faults.whole("calibration.bias_count", u64::from(calibration.bias_count), 0, 1000);
    faults.whole("calibration.dark_count", u64::from(calibration.dark_count), 0, 1000);
    faults.whole("calibration.flat_count", u64::from(calibration.flat_count), 0, 1000);
    faults.within("calibration.flat_exposure_s", calibration.flat_exposure_s, 0.001, 300.0);
    for exposure_s in &calibration.dark_exposures_s {
        faults.within("calibration.dark_exposures_s", *exposure_s, 0.001, 7200.0);
    }
    let scheduling = &settings.scheduling;
    faults.within("scheduling.overhead_s", scheduling.overhead_s, 0.0, 3600.0);
    faults.whole("scheduling.iterations", scheduling.iterations, 1, 10_000_000);
    faults.within("scheduling.weight_preferred", scheduling.weight_preferred, 0.0, 1.0);
    faults.within(
        "scheduling.preferred_scale_s",
        scheduling.preferred_scale_s,
        1.0,
        86_400.0,
    );
    faults.within("scheduling.weight_airmass", scheduling.weight_airmass, 0.0, 1.0);
    faults.within("scheduling.weight_promise", scheduling.weight_promise, 0.0, 10.0);
    faults.within("scheduling.weight_urgency", scheduling.weight_urgency, 0.0, 10.0);
    faults.within("scheduling.weight_balance", scheduling.weight_balance, 0.0, 1.0);
    faults.whole("scheduling.season_nights", u64::from(scheduling.season_nights), 1, 366);
    for (month, share) in scheduling.clear_nights.iter().enumerate() {
        faults.within(format!("scheduling.clear_nights[{month}]"), *share, 0.0, 1.0);
    }
    faults.within(
        "scheduling.weather_persistence",
        scheduling.weather_persistence,
        0.0,
        0.99,
    );
    faults.within("scheduling.clear_sky_k", scheduling.clear_sky_k, -80.0, 10.0);
    faults.within("scheduling.overcast_sky_k", scheduling.overcast_sky_k, -80.0, 10.0);
    if scheduling.clear_sky_k >= scheduling.overcast_sky_k {
        faults.add("scheduling.clear_sky_k", "is not below overcast_sky_k");
    }
    let overheads = &scheduling.overheads;
    for (key, value, low, high) in [
        ("slew_deg_s", overheads.slew_deg_s, 0.05, 100.0),
        ("acceleration_deg_s2", overheads.acceleration_deg_s2, 0.0, 100.0),
        ("settle_s", overheads.settle_s, 0.0, 600.0),
        ("flip_s", overheads.flip_s, 0.0, 1200.0),
        ("dome_deg_s", overheads.dome_deg_s, 0.0, 100.0),
        ("filter_s", overheads.filter_s, 0.0, 600.0),
        ("focus_s", overheads.focus_s, 0.0, 1800.0),
    ] {
        faults.within(format!("scheduling.overheads.{key}"), value, low, high);
    }
    for (key, value) in [
        ("acceleration_deg_s2", overheads.acceleration_deg_s2),
        ("dome_deg_s", overheads.dome_deg_s),
    ] {
        if value > 0.0 && value < 0.01 {
            faults.add(format!("scheduling.overheads.{key}"), "is neither 0 nor 0.01 or more");
        }
    }
    let observation = &settings.observation;
    faults.within(
        "observation.pointing_tolerance_deg",
        observation.pointing_tolerance_deg,
        0.0001,
        5.0,
    );
    faults.within("observation.slew_s", observation.slew_s, 5.0, 1200.0);
    faults.within(
        "observation.focus_base_steps",
        observation.focus_base_steps as f64,
        0.0,
        10_000_000.0,
    );
    faults.within(
        "observation.focus_steps_per_c",
        observation.focus_steps_per_c,
        -10_000.0,
        10_000.0,
    );
    faults.whole("observation.retries", u64::from(observation.retries), 1, 100);
    faults.within("observation.recentre_arcsec", observation.recentre_arcsec, 0.0, 1800.0);
    faults.within(
        "observation.focus_doubt_arcsec",
        observation.focus_doubt_arcsec,
        0.1,
        120.0,
    );
    faults.within(
        "observation.focus_trial_steps",
        observation.focus_trial_steps as f64,
        0.0,
        100_000.0,
    );
    faults.whole("observation.retakes", u64::from(observation.retakes), 0, 20);
    for (name, user) in &settings.users {
        faults.name(format!("users.{name}"), name);
        faults.filled(format!("users.{name}.name"), &user.name);
        faults.within(format!("users.{name}.quota_h"), user.quota_h, 0.0, 10_000.0);
    }
    for (name, institute) in &settings.institutes {
        faults.within(format!("institutes.{name}.quota_h"), institute.quota_h, 0.0, 100_000.0);
        if !settings
            .users
            .values()
            .any(|user| user.institute.eq_ignore_ascii_case(name))
        {
            faults.add(format!("institutes.{name}"), "no user belongs to it");
        }
    }
}
