//! The shell: once a second reads what the drivers have published, fuses it, tells safety, records what changed.

use crate::{
    fusion::{self, Belief, History},
    inputs,
    phase::Phase,
};
use actix::prelude::*;
use alidade_drivers::interface::{Device, LinkState, Mount, ObservingConditions, Plc, Quantity, Readings};
use alidade_majordome::messages::Circumstances;
use alidade_model::{
    clock::{Looks, move_by},
    journal::{Fact, Recorder, Severity},
    states::{EnclosureState, MountState},
    time::{Night, UtcTime},
};
use alidade_safety::{inputs::Inputs, messages::Conditions};
use alidade_scheduling::ephemeris::{self, Site};
use serde::Serialize;
use std::{collections::BTreeMap, rc::Rc, time::Duration};
use tokio::sync::watch;

/// What everybody may read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonitoringStatus {
    pub phase: Phase,
    pub sun_alt_deg: f64,
    pub sun_sinking: bool,
    pub moon_alt_deg: f64,
    pub moon_az_deg: f64,
    pub moon_illumination: f64,
    pub night: Night,
    pub sunset: Option<UtcTime>,
    pub dusk: Option<UtcTime>,
    pub dawn: Option<UtcTime>,
    pub sunrise: Option<UtcTime>,
    /// Fused weather.
    pub weather: Readings,
    /// Devices that do not answer, with the reason.
    pub down: BTreeMap<String, String>,
    /// Blocking devices among them.
    pub blocking_down: Vec<String>,
    /// True once every blocking device has been read.
    pub all_read: bool,
}

/// A device with what monitoring needs to know of it.
pub struct Watched {
    pub device: Rc<dyn Device>,
    /// Observing pauses while it is missing.
    pub blocking: bool,
}

pub struct MonitoringPorts {
    pub devices: Vec<Watched>,
    pub plc: Rc<dyn Plc>,
    pub mount: Option<Rc<dyn Mount>>,
    /// Weather sources beside the controller.
    pub stations: Vec<Rc<dyn ObservingConditions>>,
    pub safety: Recipient<Conditions>,
    pub majordome: Recipient<Circumstances>,
    pub status: watch::Sender<Option<Rc<MonitoringStatus>>>,
}

#[derive(Debug, Clone)]
pub struct MonitoringSettings {
    pub site: Site,
    pub belief: Belief,
    /// The Sun below this altitude means night, degrees.
    pub night_alt_deg: f64,
    /// Seconds between two weather lines in the journal.
    pub weather_every_s: f64,
    /// Observing pauses with less free space for data, megabytes.
    pub least_free_mb: f64,
}

/// See the module's text.
pub struct Monitoring {
    ports: MonitoringPorts,
    settings: MonitoringSettings,
    recorder: Recorder,
    history: History,
    /// What was recorded last of each device, in their order.
    noted: Vec<Noted>,
    /// Weather sources, the controller first.
    sources: Vec<Source>,
    enclosure: Option<EnclosureState>,
    mount: Option<MountState>,
    phase: Option<Phase>,
    night: Option<(Night, [Option<UtcTime>; 4])>,
    /// A span of [`NODE_US`] of the Unix era, and Sun and Moon at its start and end.
    sky: Option<(i64, Sky, Sky)>,
    weather_at: Option<UtcTime>,
    looks: Looks,
}

/// A device as it was recorded last: nothing is written down that has not changed.
struct Noted {
    link: watch::Receiver<LinkState>,
    up: Option<bool>,
    identified: bool,
    garbage: u64,
}

/// What measures the weather.
struct Source {
    id: String,
    readings: watch::Receiver<Readings>,
}

/// Distance of the exact positions of Sun and Moon, microseconds.
const NODE_US: i64 = 240_000_000;

/// Sun and Moon at one instant.
#[derive(Debug, Clone, Copy)]
struct Sky {
    sun_alt_deg: f64,
    sinking: bool,
    moon_alt_deg: f64,
    moon_az_deg: f64,
    moon_illumination: f64,
}

impl Monitoring {
    pub fn new(ports: MonitoringPorts, settings: MonitoringSettings, recorder: Recorder) -> Self {
        let noted = ports.devices.iter().map(|watched| Noted {
            link: watched.device.link(),
            up: None,
            identified: false,
            garbage: 0,
        });
        let stations = ports.stations.iter().map(|s| (s.id(), s.readings()));
        let sources = [(ports.plc.id(), ports.plc.readings())].into_iter().chain(stations);
        let sources = sources.map(|(id, readings)| Source {
            id: id.to_owned(),
            readings,
        });
        Self {
            noted: noted.collect(),
            sources: sources.collect(),
            ports,
            settings,
            recorder,
            history: History::default(),
            enclosure: None,
            mount: None,
            phase: None,
            night: None,
            sky: None,
            weather_at: None,
            looks: Looks::default(),
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.recorder.now();
        if let Some(seconds) = self.looks.moved_s(now) {
            self.history.move_by(seconds);
            move_by(&mut self.weather_at, seconds);
        }
        let (down, mut blocking_down) = self.links();
        self.identities();
        let fused = self.fused(now);
        // Where nobody looks at the disk nothing is said of it.
        if let Some(Ok(free_mb)) = fused.get(Quantity::DiskFreeMb).map(|reading| reading.value)
            && free_mb < self.settings.least_free_mb
        {
            blocking_down.push(format!("disk ({free_mb:.0} MB free)"));
        }
        let sky = self.sky(now);
        self.phases(now, sky);
        self.positions(now);
        self.weather_line(&fused, now);
        self.ports.safety.do_send(Conditions {
            inputs: self.inputs(&fused, sky, now),
        });
        let (night, [sunset, dusk, dawn, sunrise]) = self.night_of(now);
        let all_read = blocking_down.is_empty() && self.ports.plc.enclosure_status().borrow().value.is_ok();
        self.ports.majordome.do_send(Circumstances {
            sun_alt_deg: sky.sun_alt_deg,
            sun_sinking: sky.sinking,
            night,
            dusk,
            dawn,
            all_read,
            blocking_down: blocking_down.clone(),
        });
        self.ports.status.send_replace(Some(Rc::new(MonitoringStatus {
            phase: self.phase.unwrap_or(Phase::Day),
            sun_alt_deg: sky.sun_alt_deg,
            sun_sinking: sky.sinking,
            moon_alt_deg: sky.moon_alt_deg,
            moon_az_deg: sky.moon_az_deg,
            moon_illumination: sky.moon_illumination,
            night,
            sunset,
            dusk,
            dawn,
            sunrise,
            weather: fused,
            down,
            blocking_down,
            all_read,
        })));
        ctx.run_later(Duration::from_secs(1), Self::tick);
    }

    /// Links that went up or down, and which devices are missing now.
    fn links(&mut self) -> (BTreeMap<String, String>, Vec<String>) {
        let (mut down, mut blocking) = (BTreeMap::new(), Vec::new());
        for (watched, noted) in self.ports.devices.iter().zip(&mut self.noted) {
            let id = watched.device.id();
            let link = noted.link.borrow();
            let up = link.is_up();
            if noted.up != Some(up) {
                let first = noted.up.replace(up).is_none();
                // Not yet connected at the start is no event.
                if up || !first {
                    self.recorder.record(Fact::DeviceLink {
                        device: id.to_owned(),
                        up,
                        cause: match &*link {
                            LinkState::Up { epoch, .. } => format!("connection {epoch}"),
                            LinkState::Down { cause, .. } => cause.clone(),
                        },
                    });
                }
            }
            if let LinkState::Down { cause, .. } = &*link {
                if watched.blocking {
                    blocking.push(format!("{id} ({cause})"));
                }
                down.insert(id.to_owned(), cause.clone());
            }
            let total = watched.device.garbage_count();
            if total != noted.garbage {
                noted.garbage = total;
                self.recorder.record(Fact::DeviceGarbage {
                    device: id.to_owned(),
                    what: "message outside the protocol".into(),
                    total,
                });
            }
        }
        (down, blocking)
    }

    fn identities(&mut self) {
        let unknown = |(_, noted): &(_, &mut Noted)| !noted.identified;
        for (watched, noted) in self.ports.devices.iter().zip(&mut self.noted).filter(unknown) {
            if let Some(identity) = watched.device.identity().borrow().clone() {
                noted.identified = true;
                self.recorder.record(Fact::DeviceIdentified {
                    device: watched.device.id().into(),
                    model: identity.model,
                    version: identity.version,
                });
            }
        }
    }

    fn fused(&mut self, now: UtcTime) -> Readings {
        let borrowed: Vec<_> = self
            .sources
            .iter()
            .map(|s| (s.id.as_str(), s.readings.borrow()))
            .collect();
        let sources: Vec<_> = borrowed.iter().map(|(id, readings)| (*id, &**readings)).collect();
        fusion::fuse(&mut self.history, &sources, self.settings.belief, now)
    }

    /// Sun and Moon now, interpolated between exact instants four minutes apart (the curvature neglected is below 0.01 degrees).
    fn sky(&mut self, now: UtcTime) -> Sky {
        let node = now.unix_micros().div_euclid(NODE_US);
        let (before, after) = match self.sky {
            Some((at, before, after)) if at == node => (before, after),
            Some((at, _, after)) if at + 1 == node => (after, self.sky_at(node + 1)),
            _ => (self.sky_at(node), self.sky_at(node + 1)),
        };
        self.sky = Some((node, before, after));
        let fraction = now.unix_micros().rem_euclid(NODE_US) as f64 / NODE_US as f64;
        Sky {
            sun_alt_deg: before.sun_alt_deg + (after.sun_alt_deg - before.sun_alt_deg) * fraction,
            sinking: after.sun_alt_deg < before.sun_alt_deg,
            ..before
        }
    }

    fn sky_at(&self, node: i64) -> Sky {
        let time = UtcTime::from_unix_micros(node * NODE_US).unwrap_or(self.recorder.now());
        let frame = ephemeris::SkyFrame::new(&self.settings.site, time.chrono());
        let moon = frame.moon();
        Sky {
            sun_alt_deg: frame.sun_altaz().alt_deg,
            sinking: false,
            moon_alt_deg: moon.alt_deg,
            moon_az_deg: moon.az_deg,
            moon_illumination: moon.illumination,
        }
    }

    fn night_of(&mut self, now: UtcTime) -> (Night, [Option<UtcTime>; 4]) {
        let night = Night::containing(now, self.settings.site.lon_deg);
        if let Some(known) = self.night
            && known.0 == night
        {
            return known;
        }
        let site = &self.settings.site;
        let phases = ephemeris::night_phases(site, night.0);
        let dark = ephemeris::sun_below(site, night.0, self.settings.night_alt_deg);
        let time = |t: Option<chrono_time::Time>| t.map(UtcTime::new);
        let times = [
            time(phases.sun_down.dusk()),
            time(dark.dusk()),
            time(dark.dawn()),
            time(phases.sun_down.dawn()),
        ];
        let [sunset, dusk, dawn, sunrise] = times;
        self.recorder.record(Fact::NightBegan {
            night,
            sunset,
            dusk,
            dawn,
            sunrise,
        });
        self.night = Some((night, times));
        (night, times)
    }

    fn phases(&mut self, now: UtcTime, sky: Sky) {
        self.night_of(now);
        let phase = Phase::of(sky.sun_alt_deg, sky.sinking, self.settings.night_alt_deg);
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            self.recorder.record(Fact::PhaseEntered {
                phase: phase.as_str().into(),
            });
        }
    }

    /// Records what the position sensors of enclosure and mount say when it changes.
    fn positions(&mut self, now: UtcTime) {
        let enclosure = self
            .ports
            .plc
            .enclosure_status()
            .borrow()
            .fresh(now, 15.0)
            .map_or(EnclosureState::Unknown, |s| s.state);
        let from = self.enclosure.replace(enclosure).unwrap_or(EnclosureState::Unknown);
        if from != enclosure {
            self.recorder.record(Fact::EnclosureMoved { from, to: enclosure });
            if enclosure == EnclosureState::Fault {
                self.recorder.alarm(Severity::Critical, "the enclosure reports a fault");
            }
        }
        if let Some(mount) = &self.ports.mount {
            let reading = *mount.status().borrow();
            let status = reading.fresh(now, 15.0);
            let state = status.map_or(MountState::Unknown, |s| s.state);
            let from = self.mount.replace(state).unwrap_or(MountState::Unknown);
            if from != state {
                let (alt_deg, az_deg) = status.map_or((None, None), |s| (Some(s.alt_deg), Some(s.az_deg)));
                self.recorder.record(Fact::MountMoved {
                    from,
                    to: state,
                    alt_deg,
                    az_deg,
                });
            }
        }
    }

    fn weather_line(&mut self, fused: &Readings, now: UtcTime) {
        if self
            .weather_at
            .is_some_and(|at| now.seconds_since(at) < self.settings.weather_every_s)
            || fused.is_empty()
        {
            return;
        }
        self.weather_at = Some(now);
        let readings = fused.iter().map(|(q, r)| (q.name().to_owned(), r.value)).collect();
        self.recorder.record(Fact::Weather { readings });
    }

    fn inputs(&self, fused: &Readings, sky: Sky, now: UtcTime) -> Inputs {
        let (plc, status) = (&self.ports.plc, self.ports.plc.plc_status());
        let status = status.borrow();
        inputs::inputs(inputs::Known {
            fused,
            plc: &status,
            plc_repeats: self.history.repeats(plc.id(), self.settings.belief, now),
            sun_alt_deg: sky.sun_alt_deg,
            now,
        })
    }
}

mod chrono_time {
    /// The instant type of the ephemeris library.
    pub type Time = chrono::DateTime<chrono::Utc>;
}

impl Actor for Monitoring {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick(ctx);
    }
}
