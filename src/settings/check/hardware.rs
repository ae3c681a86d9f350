//! The site, the devices, what belongs together, and the channels.

use super::{Faults, Wrong};
use crate::settings::{DeviceKind, DeviceSettings, Link, Protocol, Settings};
use alidade_drivers::indi::Spot;
use std::collections::BTreeMap;

pub(super) fn site(settings: &Settings, faults: &mut Faults) {
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
        DeviceKind::Camera
        | DeviceKind::FilterWheel
        | DeviceKind::Focuser
        | DeviceKind::Rotator
        | DeviceKind::Switch => &[Protocol::Grammar, Protocol::Indi, Protocol::Alpaca],
    }
}

pub(super) fn devices(settings: &Settings, faults: &mut Faults) {
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
                    "kind {} does not speak {} (known: {})",
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
        indi(name, device, faults);
        if device.protocol == Protocol::Alpaca && !matches!(device.link, Link::Tcp { .. }) {
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
            (true, None) if device.link == Link::Simulated => {
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
        if device.link != Link::Simulated
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

/// A device behind an INDI server, and the lines of a switch there.
fn indi(name: &str, device: &DeviceSettings, faults: &mut Faults) {
    let key = |field: &str| format!("devices.{name}.{field}");
    match (device.protocol == Protocol::Indi, &device.indi_device) {
        (true, None) => faults.add(
            key("indi_device"),
            "a device behind an INDI server is named as the server names it",
        ),
        (true, Some(there)) if there.trim().is_empty() => faults.add(key("indi_device"), "is empty"),
        (true, Some(_)) if !matches!(device.link, Link::Tcp { .. }) => {
            faults.add(key("link"), "an INDI server is reached by tcp://HOST:PORT");
        }
        (false, Some(_)) => faults.add(key("indi_device"), "only for protocol indi"),
        (true, Some(_)) | (false, None) => {}
    }
    let banks = device.protocol == Protocol::Indi && device.kind == DeviceKind::Switch;
    if !banks && !device.indi_lines.is_empty() {
        faults.add(key("indi_lines"), "only for a switch of protocol indi");
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (line, spot) in &device.indi_lines {
        let place = key(&format!("indi_lines.{line}"));
        if line.trim().is_empty() {
            faults.add(key("indi_lines"), "a line without a name");
        }
        if let Err(cause) = spot.parse::<Spot>() {
            faults.add(place, cause);
        } else if let Some(other) = taken.insert(spot, line) {
            faults.add(place, format!("{spot} is also the line {other}"));
        }
    }
}

fn modbus(name: &str, device: &DeviceSettings, faults: &mut Faults) {
    let key = format!("devices.{name}.modbus");
    match (device.protocol == Protocol::Modbus, &device.modbus) {
        (true, None) => faults.add(key, "a modbus device has its register map here"),
        (false, Some(_)) => faults.add(key, "only for protocol modbus"),
        (true, Some(_)) if device.link == Link::Simulated => {
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

pub(super) fn channels(settings: &Settings, faults: &mut Faults) {
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
        if let Some(rotator) = &channel.rotator {
            is_a("rotator", rotator, DeviceKind::Rotator);
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
