//! The configuration in the agents' own terms: one function an agent, no decisions.

use crate::settings::{AxesSettings, ChannelSettings, Clearance, Sense, Settings};
use alidade_alerts::{agent::AlertsSettings, strategy::Strategy};
use alidade_analysis::{
    agent::{AnalysisSettings, ChannelOptics},
    minor_planets::Elements,
    overscan::Layout,
};
use alidade_majordome::{agent::MajordomeSettings, night::NightSettings};
use alidade_model::exposure::FrameKind;
use alidade_monitoring::{agent::MonitoringSettings, fusion::Belief};
use alidade_observation::{
    exposure::Optics, frame_file::Observatory, messages::CalibrationFrames, procedure::InstrumentSettings,
};
use alidade_routine::catalogue::Catalogue;
use alidade_safety::{agent::SafetySettings, enclosure, overrides::OverridePolicy, verdict};
use alidade_scheduling::{Axes, HorizonMask, Overheads, Site, Weights, agent::SchedulingSettings, outlook::Climate};

pub fn site(settings: &Settings) -> Site {
    let site = &settings.site;
    Site::new(site.latitude_deg, site.longitude_deg, site.height_m)
}

pub fn observatory(settings: &Settings) -> Observatory {
    Observatory {
        site: settings.site.title.clone(),
        lat_deg: settings.site.latitude_deg,
        lon_deg: settings.site.longitude_deg,
        height_m: settings.site.height_m,
        telescope: settings.unit.telescope.clone(),
        aperture_mm: settings.unit.aperture_mm,
        focal_length_mm: settings.unit.focal_length_mm,
    }
}

pub fn optics(channel: &ChannelSettings) -> Optics {
    Optics {
        scale_arcsec: channel.pixel_scale_arcsec,
        rotation_deg: channel.position_angle_deg,
        readout_s: channel.readout_s,
        gain_e_adu: channel.gain_e_adu,
    }
}

pub fn instruments(settings: &Settings) -> InstrumentSettings {
    let observation = &settings.observation;
    InstrumentSettings {
        pointing_tolerance_deg: observation.pointing_tolerance_deg,
        slew_s: observation.slew_s,
        horizon_deg: settings.site.horizon_limit_deg,
        slit_tolerance_deg: settings.enclosure.slit_tolerance_deg,
        focus_base_steps: observation.focus_base_steps,
        focus_steps_per_c: observation.focus_steps_per_c,
        retries: observation.retries,
        feedback: alidade_observation::feedback::Limits {
            recentre_arcsec: observation.recentre_arcsec,
            focus_trial_steps: observation.focus_trial_steps,
            focus_doubt_arcsec: observation.focus_doubt_arcsec,
            retakes: observation.retakes,
        },
    }
}

/// The read-out of the slowest channel, seconds.
pub fn readout_s(settings: &Settings) -> f64 {
    settings.channels.values().map(|c| c.readout_s).fold(0.0, f64::max)
}

pub fn scheduling(settings: &Settings) -> SchedulingSettings {
    let scheduling = &settings.scheduling;
    SchedulingSettings {
        site: site(settings),
        weights: Weights {
            preferred: scheduling.weight_preferred,
            preferred_scale_s: scheduling.preferred_scale_s,
            airmass: scheduling.weight_airmass,
            promise: scheduling.weight_promise,
            urgency: scheduling.weight_urgency,
            balance: scheduling.weight_balance,
        },
        readout_s: readout_s(settings),
        overhead_s: scheduling.overhead_s,
        overheads: overheads(settings),
        climate: Climate {
            clear: scheduling.clear_nights,
            persistence: scheduling.weather_persistence,
        },
        season_nights: scheduling.season_nights,
        horizon: horizon(settings),
        lowest_alt_deg: settings.site.horizon_limit_deg,
        iterations: scheduling.iterations,
        seed: scheduling.seed,
    }
}

fn horizon(settings: &Settings) -> HorizonMask {
    HorizonMask {
        points: settings.site.horizon.clone(),
    }
}

fn overheads(settings: &Settings) -> Overheads {
    let o = &settings.scheduling.overheads;
    Overheads {
        axes: match o.axes {
            AxesSettings::Equatorial => Axes::Equatorial,
            AxesSettings::AltAz => Axes::AltAz,
        },
        axis1_deg_s: o.slew_deg_s,
        axis2_deg_s: o.slew_deg_s,
        axis1_deg_s2: o.acceleration_deg_s2,
        axis2_deg_s2: o.acceleration_deg_s2,
        settle_s: o.settle_s,
        flip_s: o.flip_s,
        dome_deg_s: o.dome_deg_s,
        filter_s: o.filter_s,
        // The duration of a sequence ends with its last read-out.
        readout_s: 0.0,
        focus_s: o.focus_s,
    }
}

pub fn majordome(settings: &Settings, calibrated: bool) -> MajordomeSettings {
    let night = &settings.night;
    let mut darks = Vec::new();
    let mut flats = Vec::new();
    for (name, channel) in &settings.channels {
        let calibration = &settings.calibration;
        let frames = |kind, filter, exposure_s, count| CalibrationFrames {
            channel: name.clone(),
            kind,
            filter,
            exposure_s,
            count,
        };
        if calibration.bias_count > 0 {
            darks.push(frames(FrameKind::Bias, None, 0.0, calibration.bias_count));
        }
        for exposure_s in calibration
            .dark_exposures_s
            .iter()
            .filter(|_| calibration.dark_count > 0)
        {
            darks.push(frames(FrameKind::Dark, None, *exposure_s, calibration.dark_count));
        }
        for filter in filters(settings, channel)
            .into_iter()
            .filter(|_| calibration.flat_count > 0)
        {
            flats.push(frames(
                FrameKind::Flat,
                Some(filter),
                calibration.flat_exposure_s,
                calibration.flat_count,
            ));
        }
    }
    MajordomeSettings {
        night: NightSettings {
            prepare_sun_alt_deg: night.prepare_sun_alt_deg,
            open_sun_alt_deg: night.open_sun_alt_deg,
            flats_sun_alt_deg: night.flats_sun_alt_deg,
            close_sun_alt_deg: night.close_sun_alt_deg,
            max_failures: night.max_failures,
            idle_replan_s: night.idle_replan_s,
        },
        darks,
        flats,
        max_age_s: settings.enclosure.max_age_s,
        readout_s: readout_s(settings),
        calibrated,
    }
}

/// The filters that can be brought into the beam of a channel.
pub fn filters(settings: &Settings, channel: &ChannelSettings) -> Vec<String> {
    match &channel.filter_wheel {
        Some(wheel) => settings
            .devices
            .get(wheel)
            .map(|device| device.filters.clone())
            .unwrap_or_default(),
        None => channel.fixed_filter.iter().cloned().collect(),
    }
}

pub fn catalogue(settings: &Settings) -> Catalogue {
    Catalogue {
        channels: settings
            .channels
            .iter()
            .map(|(name, c)| (name.clone(), filters(settings, c)))
            .collect(),
    }
}

pub fn safety(settings: &Settings) -> SafetySettings {
    let enclosure = &settings.enclosure;
    SafetySettings {
        rules: settings
            .safety
            .rules
            .iter()
            .map(|(input, rule)| verdict::Rule {
                input: input.clone(),
                sense: match rule.sense {
                    Sense::Above => verdict::Sense::Above,
                    Sense::Below => verdict::Sense::Below,
                },
                limit: rule.limit,
                critical: rule.critical,
                bad_delay_s: rule.bad_delay_s,
                good_delay_s: rule.good_delay_s,
                max_age_s: rule.max_age_s,
                latches: rule.latches(input),
            })
            .collect(),
        policy: enclosure::Policy {
            clearance: match enclosure.clearance {
                Clearance::Free => enclosure::Clearance::Free,
                Clearance::ParkFirst => enclosure::Clearance::ParkFirst {
                    grace_s: enclosure.park_grace_s,
                    close_anyway: enclosure.close_anyway,
                },
            },
            travel_s: enclosure.travel_s,
            retry_s: enclosure.retry_s,
            max_age_s: enclosure.max_age_s,
            least_travel_s: enclosure.least_travel_s,
        },
        overrides: OverridePolicy {
            never: settings.safety.never_overridden.clone(),
            longest_s: settings.safety.longest_override_s,
            attended: settings.safety.attended,
        },
        access_grace_s: settings.safety.access_grace_s,
        heartbeat_s: settings.safety.heartbeat_s,
        health_s: settings.safety.health_s,
    }
}

pub fn monitoring(settings: &Settings) -> MonitoringSettings {
    let max_age_s = settings
        .safety
        .rules
        .values()
        .map(|rule| rule.max_age_s)
        .fold(30.0, f64::min);
    MonitoringSettings {
        site: site(settings),
        belief: Belief {
            max_age_s,
            stuck_after_s: settings.safety.stuck_after_s,
        },
        night_alt_deg: settings.night.observe_sun_alt_deg,
        weather_every_s: 60.0,
        least_free_mb: settings.storage.min_free_mb as f64,
    }
}

pub fn alerts(settings: &Settings, strategies: Vec<Strategy>) -> AlertsSettings {
    // The smallest side of the widest channel is what a single pointing covers.
    let field = |c: &ChannelSettings| f64::from(c.width_px.min(c.height_px)) * c.pixel_scale_arcsec / 3600.0;
    AlertsSettings {
        site: site(settings),
        strategies,
        fov_deg: settings.channels.values().map(field).fold(0.0, f64::max),
        channels: settings
            .channels
            .iter()
            .map(|(name, c)| (name.clone(), filters(settings, c)))
            .collect(),
        horizon_deg: settings.site.horizon_limit_deg,
        horizon: horizon(settings),
        sun_max_alt_deg: settings.night.observe_sun_alt_deg,
        max_packet_bytes: settings.alerts.max_packet_bytes,
        follow_tests: settings.alerts.follow_tests,
        remember_events_days: settings.alerts.remember_events_days,
        remember_packets_days: settings.alerts.remember_packets_days,
    }
}

pub fn analysis(settings: &Settings, planets: Vec<Elements>) -> AnalysisSettings {
    AnalysisSettings {
        channels: settings
            .channels
            .iter()
            .map(|(name, c)| {
                let optics = ChannelOptics {
                    gain_e_adu: c.gain_e_adu,
                    read_noise_e: c.read_noise_e,
                    saturation_adu: c.saturation_adu,
                    layout: Layout {
                        overscan: c.overscan,
                        trim: c.trim,
                        follow: c.overscan_follow,
                        ignore_header: false,
                    },
                    bad_pixels: c.bad_pixels.clone(),
                };
                (name.clone(), optics)
            })
            .collect(),
        lon_deg: settings.site.longitude_deg,
        planets: planets.into(),
        second_engine: settings.storage.astrometry_net,
    }
}
