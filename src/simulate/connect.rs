//! Simulated devices behind the configured names.

use super::pace::Pace;
use crate::{
    daemon::devices::{ChannelDevices, Devices},
    settings::{DeviceKind, DeviceSettings, Link, Protocol, Settings},
};
use alidade_drivers::{
    alpaca, grammar, indi,
    interface::{Camera, Enclosure, FilterWheel, Focuser, Mount, ObservingConditions, Plc, Rotator, Switch},
    lx200,
    modbus::{self, frame::Framing},
    nexstar::{self, ParkAt},
    place::Place,
    plc,
    split::Split,
    station,
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

/// One configured device, the way to it, and how often it is asked.
struct Named<'a> {
    name: &'a str,
    device: &'a DeviceSettings,
    way: SharedConnector,
    poll: Duration,
    clock: &'a Rc<dyn Clock>,
}

impl Named<'_> {
    /// The device's name on an INDI server.
    fn there(&self) -> &str {
        self.device.indi_device.as_deref().unwrap_or_default()
    }

    /// The device's number on an Alpaca server.
    fn number(&self) -> u32 {
        self.device.alpaca_number.unwrap_or(0)
    }

    fn camera(self) -> Rc<dyn Camera> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Indi => indi::connect_camera(name, self.there(), self.way.clone(), clock, self.poll),
            Protocol::Alpaca => alpaca::connect_camera(name, number, self.way, clock, self.poll),
            _ => grammar::connect_camera(name, self.way, clock, self.poll),
        }
    }

    fn wheel(self) -> Rc<dyn FilterWheel> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        let filters = self.device.filters.clone();
        match self.device.protocol {
            Protocol::Indi => {
                indi::connect_filter_wheel(name, self.there(), self.way.clone(), clock, self.poll, filters)
            }
            Protocol::Alpaca => alpaca::connect_filter_wheel(name, number, self.way, clock, self.poll, filters),
            _ => grammar::connect_filter_wheel(name, self.way, clock, self.poll, filters),
        }
    }

    fn focuser(self) -> Rc<dyn Focuser> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Indi => indi::connect_focuser(name, self.there(), self.way.clone(), clock, self.poll),
            Protocol::Alpaca => alpaca::connect_focuser(name, number, self.way, clock, self.poll),
            _ => grammar::connect_focuser(name, self.way, clock, self.poll),
        }
    }

    fn rotator(self) -> Rc<dyn Rotator> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Indi => indi::connect_rotator(name, self.there(), self.way.clone(), clock, self.poll),
            Protocol::Alpaca => alpaca::connect_rotator(name, number, self.way, clock, self.poll),
            _ => grammar::connect_rotator(name, self.way, clock, self.poll),
        }
    }

    fn switch(self) -> Rc<dyn Switch> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Indi => {
                let lines = self.device.indi_lines.iter();
                // What is no spot was refused with the rest of the configuration.
                let chosen = lines.filter_map(|(line, spot)| Some((line.clone(), spot.parse().ok()?)));
                indi::connect_switch(name, self.there(), chosen.collect(), self.way.clone(), clock, self.poll)
            }
            Protocol::Alpaca => alpaca::connect_switch(name, number, self.way, clock, self.poll),
            _ => grammar::connect_switch(name, self.way, clock, self.poll),
        }
    }

    fn station(self) -> Rc<dyn ObservingConditions> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match (self.device.kind, self.device.protocol) {
            (DeviceKind::SafetyMonitor, _) => {
                let deadline = Duration::from_secs_f64(self.device.timeout_s.clamp(0.1, 120.0));
                alpaca::connect_safety_monitor(name, number, self.way, clock, self.poll, deadline)
            }
            (_, Protocol::Indi) => indi::connect_weather(name, self.there(), self.way.clone(), clock, self.poll),
            (_, Protocol::Alpaca) => alpaca::connect_weather(name, number, self.way, clock, self.poll),
            _ => station::connect(name, self.way, clock, self.poll),
        }
    }

    fn mount(self, place: Place) -> Rc<dyn Mount> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Indi => indi::connect_mount(name, self.there(), place, self.way.clone(), clock, self.poll),
            Protocol::Alpaca => alpaca::connect_mount(name, number, place, self.way, clock, self.poll),
            Protocol::Nexstar => {
                let (alt_deg, az_deg) = self.device.park_alt_az_deg.unwrap_or((40.0, 0.0));
                nexstar::connect(name, place, ParkAt { alt_deg, az_deg }, self.way, clock, self.poll)
            }
            _ => lx200::connect(name, self.way, clock, self.poll),
        }
    }

    fn dome(self) -> Rc<dyn Enclosure> {
        let (name, clock, number) = (self.name, self.clock.clone(), self.number());
        match self.device.protocol {
            Protocol::Alpaca => alpaca::connect_dome(name, number, self.way, clock, self.poll),
            _ => indi::connect_dome(name, self.there(), self.way.clone(), clock, self.poll),
        }
    }
}

/// Connects every configured device through `way`, which is asked with its name, kind and channel.
pub fn devices(
    settings: &Settings,
    clock: &Rc<dyn Clock>,
    way: impl Fn(&str, DeviceKind, Option<&str>) -> Option<SharedConnector>,
) -> Option<Devices> {
    let of_kind = |kind: DeviceKind| settings.devices.iter().filter(move |(_, d)| d.kind == kind);
    let named = |name: &str, channel: Option<&str>| -> Option<Named<'_>> {
        let (name, device) = settings.devices.get_key_value(name)?;
        Some(Named {
            name,
            device,
            way: way(name, device.kind, channel)?,
            poll: Duration::from_secs_f64(device.poll_s.clamp(0.05, 60.0)),
            clock,
        })
    };
    let mut rotators = Vec::new();
    for (name, _) in of_kind(DeviceKind::Rotator) {
        rotators.push(named(name, None)?.rotator());
    }
    let mut channels = Vec::new();
    for (name, channel) in &settings.channels {
        let turned_by = settings.rotator_of(channel);
        channels.push(ChannelDevices {
            name: name.clone(),
            camera: named(&channel.camera, Some(name))?.camera(),
            wheel: match &channel.filter_wheel {
                None => None,
                Some(wheel) => Some(named(wheel, Some(name))?.wheel()),
            },
            rotator: turned_by.and_then(|id| rotators.iter().find(|r| r.id() == id).cloned()),
        });
    }
    let focuser = match of_kind(DeviceKind::Focuser).next() {
        None => None,
        Some((name, _)) => Some(named(name, None)?.focuser()),
    };
    let mut stations = Vec::new();
    for (name, _) in of_kind(DeviceKind::Station).chain(of_kind(DeviceKind::SafetyMonitor)) {
        stations.push(named(name, None)?.station());
    }
    let mut switches = Vec::new();
    for (name, _) in of_kind(DeviceKind::Switch) {
        switches.push(named(name, None)?.switch());
    }
    let (mount, _) = of_kind(DeviceKind::Mount).next()?;
    let place = Place {
        latitude_deg: settings.site.latitude_deg,
        longitude_deg: settings.site.longitude_deg,
        altitude_m: settings.site.height_m,
    };
    let mount = named(mount, None)?.mount(place);
    let mut controller: Option<Rc<dyn Plc>> = None;
    if let Some((name, device)) = of_kind(DeviceKind::Plc).next() {
        let line = named(name, None)?;
        controller = Some(if settings.guard.enabled {
            // The guard speaks the text dialect, whatever is behind it.
            plc::connect(name, line.way, clock.clone(), line.poll)
        } else {
            self::controller(name, device, line.way, clock)
        });
    }
    let plc: Rc<dyn Plc> = match of_kind(DeviceKind::Enclosure).next() {
        None => controller.clone()?,
        Some((name, _)) => Split::new(named(name, None)?.dome(), controller.clone(), clock.now()),
    };
    Some(Devices {
        // Beside an enclosure of its own the controller is one device more.
        controller: controller.filter(|controller| controller.id() != plc.id()),
        plc,
        mount,
        focuser,
        channels,
        stations,
        rotators,
        switches,
    })
}

/// Connects the controller in its own language.
pub fn controller(
    name: &str,
    device: &DeviceSettings,
    connector: SharedConnector,
    clock: &Rc<dyn Clock>,
) -> Rc<dyn Plc> {
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
        (DeviceKind::Rotator, _) => "rotator".into(),
        (DeviceKind::Switch, _) => "power".into(),
        _ => "plc".into(),
    }
}
