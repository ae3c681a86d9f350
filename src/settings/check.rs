//! Values against their ranges, and names against each other.

use super::{AlarmWay, Clearance, DeviceKind, DeviceSettings, ListenerSettings, Protocol, Sense, Settings};
use alidade_drivers::interface::Quantity;
use std::collections::BTreeMap;

/// A value that is wrong.
pub struct Wrong {
    pub key: String,
    pub cause: String,
    /// Another key that it names, where the real fault may lie.
    pub refers_to: Option<String>,
}

#[derive(Default)]
struct Faults(Vec<Wrong>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, cause: impl Into<String>) {
        self.0.push(Wrong {
            key: key.into(),
            cause: cause.into(),
            refers_to: None,
        });
    }

    fn within(&mut self, key: impl Into<String>, value: f64, low: f64, high: f64) {
        // NaN is in no range.
        if !(low..=high).contains(&value) {
            self.add(key, format!("{value} is outside {low} to {high}"));
        }
    }

    fn whole(&mut self, key: impl Into<String>, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.add(key, format!("{value} is outside {low} to {high}"));
        }
    }

    /// Names go into topics, file names and headers.
    fn name(&mut self, key: impl Into<String>, name: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            self.add(key, format!("{name:?} is not a name (1 to 32 of a-z, 0-9, _ and -)"));
        }
    }

    fn filled(&mut self, key: impl Into<String>, text: &str) {
        if text.trim().is_empty() {
            self.add(key, "is empty");
        }
    }
}

/// All faults of the values.
pub fn faults(settings: &Settings) -> Vec<Wrong> {
    let mut faults = Faults::default();
    site(settings, &mut faults);
    devices(settings, &mut faults);
    channels(settings, &mut faults);
    safety(settings, &mut faults);
    enclosure(settings, &mut faults);
    guard(settings, &mut faults);
    alarms(settings, &mut faults);
    night(settings, &mut faults);
    work(settings, &mut faults);
    accounts(settings, &mut faults);
    alerts(settings, &mut faults);
    outside(settings, &mut faults);
    faults.0
}

fn site(settings: &Settings, faults: &mut Faults) {
    let site = &settings.site;
    faults.name("site.name", &site.name);
    faults.filled("site.title", &site.title);
    faults.within("site.latitude_deg", site.latitude_deg, -90.0, 90.0);
    faults.within("site.longitude_deg", site.longitude_deg, -180.0, 180.0);
    faults.within("site.height_m", site.height_m, -430.0, 9000.0);
    faults.within("site.horizon_limit_deg", site.horizon_limit_deg, 0.0, 80.0);
    faults.within("site.sun_exclusion_deg", site.sun_exclusion_deg, 5.0, 180.0);
    let mut last = -1.0;
    for (azimuth, altitude) in &site.horizon {
        faults.within("site.horizon", *azimuth, 0.0, 360.0);
        faults.within("site.horizon", *altitude, 0.0, 80.0);
        if *azimuth <= last {
            faults.add("site.horizon", format!("azimuth {azimuth} does not rise above {last}"));
        }
        last = *azimuth;
    }
    faults.name("unit.name", &settings.unit.name);
    faults.filled("unit.telescope", &settings.unit.telescope);
    faults.within("unit.aperture_mm", settings.unit.aperture_mm, 10.0, 50_000.0);
    faults.within("unit.focal_length_mm", settings.unit.focal_length_mm, 10.0, 500_000.0);
}

/// Which protocols a kind of device can speak.
fn speaks(kind: DeviceKind) -> &'static [Protocol] {
    match kind {
        DeviceKind::Plc => &[Protocol::Plc, Protocol::Modbus],
        DeviceKind::Mount => &[Protocol::Lx200, Protocol::Nexstar, Protocol::Indi, Protocol::Alpaca],
        DeviceKind::Station => &[Protocol::Station, Protocol::Indi, Protocol::Alpaca],
        DeviceKind::Enclosure => &[Protocol::Indi, Protocol::Alpaca],
        DeviceKind::SafetyMonitor => &[Protocol::Alpaca],
        DeviceKind::Switch => &[Protocol::Grammar, Protocol::Alpaca],
        DeviceKind::Camera | DeviceKind::FilterWheel | DeviceKind::Focuser | DeviceKind::Rotator => {
            &[Protocol::Grammar, Protocol::Indi, Protocol::Alpaca]
        }
    }
}

fn devices(settings: &Settings, faults: &mut Faults) {
    let mut links: BTreeMap<String, &str> = BTreeMap::new();
    for (name, device) in &settings.devices {
        let key = |field: &str| format!("devices.{name}.{field}");
        faults.name(format!("devices.{name}"), name);
        let spoken = speaks(device.kind);
        if !spoken.contains(&device.protocol) {
            let known: Vec<_> = spoken.iter().map(|protocol| protocol.as_str()).collect();
            faults.add(
                key("protocol"),
                format!(
                    "a {} does not speak {} (known: {})",
                    device.kind.as_str(),
                    device.protocol.as_str(),
                    known.join(", ")
                ),
            );
        }
        faults.within(key("poll_s"), device.poll_s, 0.05, 60.0);
        faults.within(key("timeout_s"), device.timeout_s, 0.1, 120.0);
        let is_wheel = device.kind == DeviceKind::FilterWheel;
        if is_wheel == device.filters.is_empty() {
            let cause = if is_wheel {
                "a filter wheel has at least one filter"
            } else {
                "only a filter wheel has filters"
            };
            faults.add(key("filters"), cause);
        }
        let mut seen = std::collections::BTreeSet::new();
        for filter in &device.filters {
            if !seen.insert(filter) || filter.trim().is_empty() {
                faults.add(key("filters"), format!("{filter:?} is empty or named twice"));
            }
        }
        match (device.protocol == Protocol::Indi, &device.indi_device) {
            (true, None) => faults.add(
                key("indi_device"),
                "a device behind an INDI server is named as the server names it",
            ),
            (true, Some(there)) if there.trim().is_empty() => faults.add(key("indi_device"), "is empty"),
            (true, Some(_)) if !matches!(device.link, super::Link::Tcp { .. }) => {
                faults.add(key("link"), "an INDI server is reached by tcp://HOST:PORT");
            }
            (false, Some(_)) => faults.add(key("indi_device"), "only for protocol indi"),
            (true, Some(_)) | (false, None) => {}
        }
        if device.protocol == Protocol::Alpaca && !matches!(device.link, super::Link::Tcp { .. }) {
            faults.add(key("link"), "an Alpaca server is reached by tcp://HOST:PORT");
        }
        if device.protocol != Protocol::Alpaca && device.alpaca_number.is_some() {
            faults.add(key("alpaca_number"), "only for protocol alpaca");
        }
        match (device.protocol == Protocol::Nexstar, device.park_alt_az_deg) {
            (true, Some((alt_deg, az_deg))) => {
                faults.within(key("park_alt_az_deg"), alt_deg, 0.0, 90.0);
                faults.within(key("park_alt_az_deg"), az_deg, 0.0, 360.0);
            }
            (true, None) if device.link == super::Link::Simulated => {
                faults.add(key("link"), "the built-in simulator of a mount speaks lx200");
            }
            (false, Some(_)) => faults.add(key("park_alt_az_deg"), "only for protocol nexstar"),
            (_, None) => {}
        }
        modbus(name, device, faults);
        // Many devices share one INDI or Alpaca server; each of them only once.
        let way = match (&device.indi_device, device.protocol) {
            (Some(there), _) => format!("{} {there}", device.link),
            (None, Protocol::Alpaca) => {
                let number = device.alpaca_number.unwrap_or(0);
                format!("{} {} {number}", device.link, device.kind.as_str())
            }
            (None, _) => device.link.to_string(),
        };
        if device.link != super::Link::Simulated
            && let Some(other) = links.insert(way, name)
        {
            faults.add(key("link"), format!("{} is also the link of {other}", device.link));
        }
    }
    arrangement(settings, faults);
}

/// Who moves the roof, and who closes it when the daemon is dead.
fn arrangement(settings: &Settings, faults: &mut Faults) {
    let count = |kind| settings.devices.values().filter(|device| device.kind == kind).count();
    let (controllers, enclosures) = (count(DeviceKind::Plc), count(DeviceKind::Enclosure));
    if controllers > 1 || controllers + enclosures == 0 {
        faults.add("devices", format!("there must be one plc, not {controllers}"));
    }
    if enclosures > 1 {
        faults.add("devices", format!("there must be one enclosure, not {enclosures}"));
    }
    if count(DeviceKind::Mount) != 1 {
        let mounts = count(DeviceKind::Mount);
        faults.add("devices", format!("there must be one mount, not {mounts}"));
    }
    if enclosures == 1 && controllers == 0 && !settings.enclosure.without_dead_man {
        faults.add(
            "enclosure.without_dead_man",
            "is false, but there is no plc that closes the roof when the daemon is dead",
        );
    }
    if enclosures == 1 && settings.guard.enabled {
        faults.add(
            "guard.enabled",
            "the guard keeps the line of a plc, not of an enclosure",
        );
    }
}

fn modbus(name: &str, device: &DeviceSettings, faults: &mut Faults) {
    let key = format!("devices.{name}.modbus");
    match (device.protocol == Protocol::Modbus, &device.modbus) {
        (true, None) => faults.add(key, "a modbus device has its register map here"),
        (false, Some(_)) => faults.add(key, "only for protocol modbus"),
        (true, Some(_)) if device.link == super::Link::Simulated => {
            faults.add(
                format!("devices.{name}.link"),
                "there is no built-in simulator that speaks modbus",
            );
        }
        (true, Some(modbus)) => {
            for (point, cause) in modbus.map().faults() {
                let place = if point.is_empty() {
                    key.clone()
                } else {
                    format!("{key}.points.{point}")
                };
                faults.add(place, cause);
            }
        }
        (false, None) => {}
    }
}

fn guard(settings: &Settings, faults: &mut Faults) {
    let guard = &settings.guard;
    faults.within("guard.silence_s", guard.silence_s, 2.0, 300.0);
    faults.within("guard.proof_s", guard.proof_s, 0.0, 300.0);
    if guard.enabled && guard.silence_s <= settings.safety.heartbeat_s {
        faults.add("guard.silence_s", "is not longer than safety.heartbeat_s");
    }
    let simulated = settings
        .devices
        .values()
        .any(|device| device.kind == DeviceKind::Plc && device.link == super::Link::Simulated);
    if guard.enabled && simulated {
        faults.add("guard.enabled", "a simulated controller has no line to guard");
    }
}

fn alarms(settings: &Settings, faults: &mut Faults) {
    for (name, told) in &settings.alarms.notify {
        let key = |field: &str| format!("alarms.notify.{name}.{field}");
        faults.name(format!("alarms.notify.{name}"), name);
        faults.within(key("after_s"), told.after_s, 0.0, 86_400.0);
        faults.within(key("timeout_s"), told.timeout_s, 1.0, 300.0);
        if let Some(repeat_s) = told.repeat_s {
            faults.within(key("repeat_s"), repeat_s, 10.0, 86_400.0);
        }
        match &told.way {
            AlarmWay::Command { program, .. } => faults.filled(key("program"), program),
            AlarmWay::Webhook { url, .. } if !url.starts_with("http://") => {
                faults.add(
                    key("url"),
                    "does not start with http:// (put a proxy on this machine before anything else)",
                );
            }
            AlarmWay::Webhook { .. } => {}
            AlarmWay::Mail {
                server,
                from,
                to,
                user,
                password_file,
                ..
            } => {
                faults.filled(key("server"), server);
                if to.is_empty() {
                    faults.add(key("to"), "is empty");
                }
                for address in to.iter().chain([from]) {
                    if address.parse::<lettre::Address>().is_err()
                        && address.parse::<lettre::message::Mailbox>().is_err()
                    {
                        faults.add(key("to"), format!("{address:?} is not a mail address"));
                    }
                }
                if user.is_some() != password_file.is_some() {
                    faults.add(key("user"), "user and password_file go together");
                }
            }
        }
    }
}

fn channels(settings: &Settings, faults: &mut Faults) {
    if settings.channels.is_empty() {
        faults.add("channels", "there must be at least one channel");
    }
    let mut cameras: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, channel) in &settings.channels {
        let key = |field: &str| format!("channels.{name}.{field}");
        faults.name(format!("channels.{name}"), name);
        let mut is_a = |field: &str, device: &str, kind: DeviceKind| {
            let found = settings.devices.get(device).map(|device| device.kind);
            if found != Some(kind) {
                faults.0.push(Wrong {
                    key: key(field),
                    cause: format!("there is no {} named {device:?} in devices", kind.as_str()),
                    refers_to: Some(format!("devices.{device}")),
                });
            }
        };
        is_a("camera", &channel.camera, DeviceKind::Camera);
        if let Some(wheel) = &channel.filter_wheel {
            is_a("filter_wheel", wheel, DeviceKind::FilterWheel);
        }
        if let Some(focuser) = &channel.focuser {
            is_a("focuser", focuser, DeviceKind::Focuser);
        }
        if let Some(other) = cameras.insert(&channel.camera, name) {
            faults.add(
                key("camera"),
                format!("{:?} is also the camera of {other}", channel.camera),
            );
        }
        if channel.filter_wheel.is_some() == channel.fixed_filter.is_some() {
            faults.add(
                key("filter_wheel"),
                "a channel has either a filter_wheel or a fixed_filter",
            );
        }
        faults.within(key("pixel_scale_arcsec"), channel.pixel_scale_arcsec, 0.01, 120.0);
        faults.whole(key("width_px"), u64::from(channel.width_px), 16, 32_768);
        faults.whole(key("height_px"), u64::from(channel.height_px), 16, 32_768);
        faults.within(key("gain_e_adu"), channel.gain_e_adu, 0.001, 1000.0);
        faults.within(key("read_noise_e"), channel.read_noise_e, 0.0, 1000.0);
        faults.within(key("saturation_adu"), channel.saturation_adu, 100.0, 65_535.0);
        faults.within(key("readout_s"), channel.readout_s, 0.0, 600.0);
        faults.within(key("setpoint_c"), channel.setpoint_c, -150.0, 30.0);
        faults.within(key("position_angle_deg"), channel.position_angle_deg, -180.0, 360.0);
        for (field, section) in [("overscan", channel.overscan), ("trim", channel.trim)] {
            let (width, height) = (channel.width_px as usize, channel.height_px as usize);
            // Some cameras count the light alone as their size: the blind part may lie beyond it.
            if section.is_some_and(|s| !s.lies_in(2 * width, 2 * height)) {
                faults.add(key(field), "is not within the detector");
            }
        }
    }
}

/// What only a controller says.
const SWITCHES: [&str; 5] = [
    "emergency_stop",
    "access_requested",
    "intrusion",
    "key_not_remote",
    "plc_must_be_closed",
];

/// The inputs of the verdict with the range in which a limit makes sense: what stations measure, what follows from
/// it, and the switches of the controller.
fn inputs() -> BTreeMap<&'static str, (f64, f64)> {
    let measured = Quantity::ALL.into_iter().map(|quantity| {
        let range = match quantity {
            Quantity::WindMS | Quantity::GustMS => (0.0, 100.0),
            Quantity::HumidityPct | Quantity::InsideHumidityPct | Quantity::UpsChargePct => (0.0, 100.0),
            Quantity::TemperatureC | Quantity::DewPointC => (-90.0, 60.0),
            Quantity::PressureHpa => (300.0, 1100.0),
            Quantity::RainMmH => (0.0, 500.0),
            Quantity::SkyTemperatureK => (-100.0, 20.0),
            Quantity::LightLux => (0.0, 200_000.0),
            Quantity::MonitorUnsafe => (0.0, 1.0),
            Quantity::DiskFreeMb => (0.0, 1e9),
            Quantity::LinkSilentS => (0.0, 86_400.0),
        };
        (quantity.name(), range)
    });
    let mut inputs: BTreeMap<_, _> = measured.collect();
    inputs.insert("dew_point_distance_k", (-10.0, 60.0));
    inputs.insert("sun_alt_deg", (-90.0, 90.0));
    for switch in SWITCHES {
        inputs.insert(switch, (0.0, 1.0));
    }
    inputs
}

fn safety(settings: &Settings, faults: &mut Faults) {
    let safety = &settings.safety;
    faults.within("safety.heartbeat_s", safety.heartbeat_s, 0.5, 60.0);
    faults.within("safety.health_s", safety.health_s, 1.0, 300.0);
    faults.within("safety.stuck_after_s", safety.stuck_after_s, 60.0, 86_400.0);
    faults.within("safety.longest_override_s", safety.longest_override_s, 60.0, 86_400.0);
    faults.within("safety.access_grace_s", safety.access_grace_s, 5.0, 1200.0);
    let inputs = inputs();
    for name in &safety.never_overridden {
        if !inputs.contains_key(name.as_str()) {
            faults.add(
                "safety.never_overridden",
                format!("{name:?} is not an input of the verdict"),
            );
        }
    }
    for (name, rule) in &safety.rules {
        let key = |field: &str| format!("safety.rules.{name}.{field}");
        let Some((low, high)) = inputs.get(name.as_str()) else {
            let known: Vec<_> = inputs.keys().copied().collect();
            faults.add(
                format!("safety.rules.{name}"),
                format!("is not an input of the verdict (known: {})", known.join(", ")),
            );
            continue;
        };
        faults.within(key("limit"), rule.limit, *low, *high);
        if let Some(critical) = rule.critical {
            faults.within(key("critical"), critical, *low, *high);
            let (worse, side) = match rule.sense {
                Sense::Above => (critical >= rule.limit, "above"),
                Sense::Below => (critical <= rule.limit, "below"),
            };
            if !worse {
                faults.add(
                    key("critical"),
                    format!("{critical} is not {side} the limit {}", rule.limit),
                );
            }
        }
        faults.within(key("bad_delay_s"), rule.bad_delay_s, 0.0, 600.0);
        faults.within(key("good_delay_s"), rule.good_delay_s, 0.0, 86_400.0);
        faults.within(key("max_age_s"), rule.max_age_s, 1.0, 600.0);
    }
    let controlled = settings.devices.values().any(|device| device.kind == DeviceKind::Plc);
    let needed = ["rain_mm_h", "wind_m_s", "humidity_pct", "emergency_stop"];
    // Without a controller nobody says whether the emergency stop is pressed: such a rule would never be met.
    for needed in needed
        .into_iter()
        .filter(|name| controlled || *name != "emergency_stop")
    {
        if !safety.rules.contains_key(needed) {
            faults.add("safety.rules", format!("there must be a rule for {needed}"));
        }
    }
    for switch in SWITCHES
        .iter()
        .filter(|switch| !controlled && safety.rules.contains_key(**switch))
    {
        faults.add(format!("safety.rules.{switch}"), "there is no plc that could say it");
    }
    if safety.rules.contains_key("link_silent_s") && safety.reach.is_none() {
        faults.add(
            "safety.rules.link_silent_s",
            "needs safety.reach: what is to be reached",
        );
    }
    if safety
        .reach
        .as_ref()
        .is_some_and(|link| !matches!(link, super::Link::Tcp { .. }))
    {
        faults.add("safety.reach", "is not tcp://HOST:PORT");
    }
    let monitored = settings
        .devices
        .values()
        .any(|device| device.kind == DeviceKind::SafetyMonitor);
    if monitored && !safety.rules.contains_key("monitor_unsafe") {
        faults.add(
            "safety.rules",
            "there is a safety monitor, but no rule for monitor_unsafe",
        );
    }
}

fn enclosure(settings: &Settings, faults: &mut Faults) {
    let enclosure = &settings.enclosure;
    if enclosure.clearance == Clearance::ParkFirst {
        faults.within("enclosure.park_grace_s", enclosure.park_grace_s, 1.0, 600.0);
    }
    faults.within("enclosure.travel_s", enclosure.travel_s, 1.0, 1200.0);
    faults.within("enclosure.retry_s", enclosure.retry_s, 1.0, 600.0);
    faults.within("enclosure.max_age_s", enclosure.max_age_s, 1.0, 120.0);
    faults.within(
        "enclosure.least_travel_s",
        enclosure.least_travel_s,
        0.0,
        enclosure.travel_s.max(0.0),
    );
    faults.within("enclosure.slit_tolerance_deg", enclosure.slit_tolerance_deg, 0.1, 45.0);
}

fn night(settings: &Settings, faults: &mut Faults) {
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

fn work(settings: &Settings, faults: &mut Faults) {
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

fn accounts(settings: &Settings, faults: &mut Faults) {
    let accounts = &settings.accounts;
    if let Some(address) = &accounts.address
        && !address.starts_with("https://")
        && !address.starts_with("http://")
    {
        faults.add("accounts.address", "does not start with https:// or http://");
    }
    if let Some(mail) = &accounts.mail {
        faults.filled("accounts.mail.server", &mail.server);
        faults.filled("accounts.mail.from", &mail.from);
        if mail.user.is_some() != mail.password_file.is_some() {
            faults.add("accounts.mail.user", "user and password_file go together");
        }
    }
}

fn alerts(settings: &Settings, faults: &mut Faults) {
    let alerts = &settings.alerts;
    faults.whole("alerts.max_packet_bytes", alerts.max_packet_bytes, 1024, 64 << 20);
    for (channel, every_s) in &alerts.expect_every_s {
        faults.within(format!("alerts.expect_every_s.{channel}"), *every_s, 1.0, 31_622_400.0);
    }
    let (events, packets) = (
        u64::from(alerts.remember_events_days),
        u64::from(alerts.remember_packets_days),
    );
    faults.whole("alerts.remember_events_days", events, 3, 3650);
    faults.whole("alerts.remember_packets_days", packets, events.max(3), 36_500);
    if alerts
        .strategies
        .as_ref()
        .is_some_and(|folder| folder.as_os_str().is_empty())
    {
        faults.add("alerts.strategies", "is empty");
    }
    for (name, listener) in &alerts.listeners {
        let key = |field: &str| format!("alerts.listeners.{name}.{field}");
        faults.name(format!("alerts.listeners.{name}"), name);
        match listener {
            ListenerSettings::Folder { path, poll_s } => {
                if path.as_os_str().is_empty() {
                    faults.add(key("path"), "is empty");
                }
                faults.within(key("poll_s"), *poll_s, 0.05, 60.0);
            }
            ListenerSettings::Vtp { host, port } => {
                faults.filled(key("host"), host);
                faults.whole(key("port"), u64::from(*port), 1, 65_535);
            }
            ListenerSettings::Broker(broker) => {
                for (field, networks) in [("authors", &broker.authors), ("subscribers", &broker.subscribers)] {
                    if networks.is_empty() {
                        faults.add(key(field), "is empty: nobody could connect");
                    }
                    for network in networks {
                        if let Err(fault) = network.parse::<alidade_alerts::transport::networks::Network>() {
                            faults.add(key(field), fault.to_string());
                        }
                    }
                }
                if broker.broadcast == Some(broker.receive) && broker.receive.port() != 0 {
                    faults.add(key("broadcast"), "is the same address as receive");
                }
            }
            ListenerSettings::Kafka(kafka) => {
                faults.filled(key("brokers"), &kafka.brokers);
                faults.filled(key("group"), &kafka.group);
                if kafka.topics.is_empty() || kafka.topics.iter().any(|topic| topic.trim().is_empty()) {
                    faults.add(key("topics"), "is empty or names an empty topic");
                }
                faults.within(key("silence_s"), kafka.silence_s, 2.0, 86_400.0);
                faults.within(key("fetch_wait_ms"), kafka.fetch_wait_ms.into(), 1.0, 60_000.0);
                if kafka.client_id.is_some() != kafka.secret_file.is_some() {
                    faults.add(key("secret_file"), "client_id and secret_file go together");
                }
                if !cfg!(feature = "kafka") {
                    faults.add(key("kind"), "this program was built without its feature \"kafka\"");
                }
            }
        }
    }
}

fn outside(settings: &Settings, faults: &mut Faults) {
    let url = &settings.database.url;
    let known = ["sqlite://", "postgres://", "postgresql://"];
    if !known
        .iter()
        .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
    {
        faults.add(
            "database.url",
            format!("{url:?} is not sqlite://PATH or postgres://USER@HOST/NAME"),
        );
    }
    let password = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    if password.is_some_and(|(user, _)| user.contains(':')) {
        faults.add(
            "database.url",
            "holds a password; name a service, use peer authentication or PGPASSFILE",
        );
    }
    if settings.storage.data_dir.as_os_str().is_empty() {
        faults.add("storage.data_dir", "is empty");
    }
    if settings.storage.package_executors.is_empty() {
        faults.add(
            "storage.package_executors",
            "is empty: packages need something to run them",
        );
    }
    for name in &settings.storage.package_executors {
        if !["process", "bubblewrap", "slurm"].contains(&name.as_str()) {
            faults.add(
                "storage.package_executors",
                format!("{name:?} is none of bubblewrap, slurm and process"),
            );
        }
    }
    let mqtt = &settings.mqtt;
    faults.filled("mqtt.host", &mqtt.host);
    faults.whole("mqtt.port", u64::from(mqtt.port), 1, 65_535);
    faults.whole("mqtt.keep_alive_s", mqtt.keep_alive_s, 2, 600);
    if mqtt.password_file.is_some() && mqtt.username.is_none() {
        faults.add("mqtt.password_file", "there is a password but no username");
    }
}
