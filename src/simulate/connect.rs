//! Simulated devices behind the configured names.

use super::pace::Pace;
use crate::{
    daemon::devices::{ChannelDevices, Devices},
    settings::{DeviceKind, DeviceSettings, Link, Settings},
};
use alidade_drivers::{
    grammar, indi, lx200,
    modbus::{self, frame::Framing},
    plc, station,
    transport::{SerialConnector, SharedConnector, TcpConnector},
};
use alidade_model::clock::Clock;
use alidade_simulations::observatory::Observatory;
use std::{collections::BTreeMap, io, net::SocketAddr, rc::Rc, time::Duration};

/// Ways to every simulated device, by the simulator's name of it.
pub type Ways = BTreeMap<String, SharedConnector>;

/// At full speed over memory; at a pace over real loopback sockets, the mount and the station over pseudo-terminals.
pub async fn ways(observatory: &Rc<Observatory>, pace: Pace) -> io::Result<Ways> {
    let mut ways = Ways::new();
    for device in observatory.devices() {
        let way: SharedConnector = match (pace, device.as_str()) {
            (Pace::Max, _) => observatory.connector(&device),
            (Pace::Times(_), "mount" | "station") => Rc::new(SerialConnector {
                path: observatory.serve_pty(&device)?,
                baud: 9600,
            }),
            (Pace::Times(_), _) => {
                let bound = observatory
                    .serve_tcp(&device, SocketAddr::from(([127, 0, 0, 1], 0)))
                    .await?;
                Rc::new(TcpConnector {
                    host: bound.ip().to_string(),
                    port: bound.port(),
                })
            }
        };
        ways.insert(device, way);
    }
    Ok(ways)
}

/// Connects every configured device through `way`, which is asked with its name, kind and channel.
pub fn devices(
    settings: &Settings,
    clock: &Rc<dyn Clock>,
    way: impl Fn(&str, DeviceKind, Option<&str>) -> Option<SharedConnector>,
) -> Option<Devices> {
    let poll = |name: &str| {
        let seconds = settings.devices.get(name).map_or(1.0, |d| d.poll_s);
        Duration::from_secs_f64(seconds.clamp(0.05, 60.0))
    };
    let first = |kind: DeviceKind| {
        settings
            .devices
            .iter()
            .find(|(_, d)| d.kind == kind)
            .map(|(name, _)| name.as_str())
    };
    let (plc_name, mount_name) = (first(DeviceKind::Plc)?, first(DeviceKind::Mount)?);
    // The device's name on an INDI server, if it is behind one.
    let on_server = |name: &str| settings.devices.get(name).and_then(|d| d.indi_device.as_deref());
    let mut channels = Vec::new();
    for (name, channel) in &settings.channels {
        let connector = way(&channel.camera, DeviceKind::Camera, Some(name))?;
        let (camera, pause) = (&channel.camera, poll(&channel.camera));
        let camera: Rc<dyn alidade_drivers::interface::Camera> = match on_server(camera) {
            Some(there) => indi::connect_camera(camera, there, connector, clock.clone(), pause),
            None => grammar::connect_camera(camera, connector, clock.clone(), pause),
        };
        let wheel = match &channel.filter_wheel {
            None => None,
            Some(wheel) => {
                let filters = settings.devices.get(wheel)?.filters.clone();
                let connector = way(wheel, DeviceKind::FilterWheel, Some(name))?;
                let wheel: Rc<dyn alidade_drivers::interface::FilterWheel> = match on_server(wheel) {
                    Some(there) => {
                        indi::connect_filter_wheel(wheel, there, connector, clock.clone(), poll(wheel), filters)
                    }
                    None => grammar::connect_filter_wheel(wheel, connector, clock.clone(), poll(wheel), filters),
                };
                Some(wheel)
            }
        };
        channels.push(ChannelDevices {
            name: name.clone(),
            camera,
            wheel,
        });
    }
    let focuser = match first(DeviceKind::Focuser) {
        None => None,
        Some(name) => {
            let connector = way(name, DeviceKind::Focuser, None)?;
            let focuser: Rc<dyn alidade_drivers::interface::Focuser> = match on_server(name) {
                Some(there) => indi::connect_focuser(name, there, connector, clock.clone(), poll(name)),
                None => grammar::connect_focuser(name, connector, clock.clone(), poll(name)),
            };
            Some(focuser)
        }
    };
    let mut stations: Vec<Rc<dyn alidade_drivers::interface::ObservingConditions>> = Vec::new();
    for name in settings
        .devices
        .iter()
        .filter(|(_, d)| d.kind == DeviceKind::Station)
        .map(|(name, _)| name)
    {
        stations.push(station::connect(
            name,
            way(name, DeviceKind::Station, None)?,
            clock.clone(),
            poll(name),
        ));
    }
    let connector = way(mount_name, DeviceKind::Mount, None)?;
    let mount: Rc<dyn alidade_drivers::interface::Mount> = match on_server(mount_name) {
        Some(there) => {
            let place = indi::Place {
                latitude_deg: settings.site.latitude_deg,
                longitude_deg: settings.site.longitude_deg,
                altitude_m: settings.site.height_m,
            };
            indi::connect_mount(mount_name, there, place, connector, clock.clone(), poll(mount_name))
        }
        None => lx200::connect(mount_name, connector, clock.clone(), poll(mount_name)),
    };
    let line = way(plc_name, DeviceKind::Plc, None)?;
    Some(Devices {
        plc: if settings.guard.enabled {
            // The guard speaks the text dialect, whatever is behind it.
            plc::connect(plc_name, line, clock.clone(), poll(plc_name))
        } else {
            controller(plc_name, settings.devices.get(plc_name)?, line, clock)
        },
        mount,
        focuser,
        channels,
        stations,
    })
}

/// Connects the controller in its own language.
pub fn controller(
    name: &str,
    device: &DeviceSettings,
    connector: SharedConnector,
    clock: &Rc<dyn Clock>,
) -> Rc<dyn alidade_drivers::interface::Plc> {
    let poll = Duration::from_secs_f64(device.poll_s.clamp(0.05, 60.0));
    match &device.modbus {
        Some(settings) => {
            let by_link = if matches!(device.link, Link::Serial { .. }) {
                Framing::Rtu
            } else {
                Framing::Tcp
            };
            let timeout = Duration::from_secs_f64(device.timeout_s.clamp(0.1, 120.0));
            let framing = settings.framing.unwrap_or(by_link);
            modbus::connect(name, settings.map(), framing, connector, clock.clone(), poll, timeout)
        }
        None => plc::connect(name, connector, clock.clone(), poll),
    }
}

/// The simulator's name of a configured device.
pub fn simulated_name(kind: DeviceKind, channel: Option<&str>) -> String {
    match (kind, channel) {
        (DeviceKind::Camera, Some(channel)) => format!("camera_{channel}"),
        (DeviceKind::FilterWheel, Some(channel)) => format!("wheel_{channel}"),
        (DeviceKind::Mount, _) => "mount".into(),
        (DeviceKind::Focuser, _) => "focuser".into(),
        (DeviceKind::Station, _) => "station".into(),
        _ => "plc".into(),
    }
}
