//! The simulated observatory as a whole: models that share one sky, one weather and one set of faults, each reachable
//! over memory, TCP or a pseudo-terminal.
//!
//! It outlives the daemon: when the daemon is killed, roof, mount and cameras go on as hardware does. The lines to the
//! devices are in `lines`, what goes wrong with them in `troubles`.

mod lines;
mod troubles;

use crate::{
    devices::{
        Responder,
        camera::{CameraConfig, CameraModel, Order},
        mount::{MountConfig, MountModel},
        movers::{FocuserModel, WheelModel},
        nexstar::{self, HandControl},
        plc::{Influence, PlcConfig, PlcModel},
        power::PowerModel,
        rotator::RotatorModel,
        station::StationModel,
    },
    distortion::{Tape, distort},
    faults::{Fault, FaultKind},
    random::Random,
    world::{Renderer, Shot, WeatherSample, WeatherSeries},
};
use alidade_model::{
    clock::Clock,
    states::{EnclosureState, MountState},
    time::UtcTime,
};
use alidade_scheduling::{Site, ephemeris};
use serde::Deserialize;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};
use troubles::deafens;

/// One instrument channel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    pub camera: CameraConfig,
    /// Names in the order of the wheel's positions; empty without a wheel.
    #[serde(default)]
    pub filters: Vec<String>,
}

/// The hardware of one site.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservatoryConfig {
    pub site: Site,
    #[serde(default)]
    pub plc: PlcConfig,
    #[serde(default)]
    pub mount: MountConfig,
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The slit lets the telescope see when it is this near to its azimuth, degrees.
    #[serde(default = "slit")]
    pub slit_half_width_deg: f64,
    /// Best focus at 10 degrees Celsius, and steps per degree.
    #[serde(default = "focus")]
    pub best_focus: (f64, f64),
}

impl ObservatoryConfig {
    fn cameras_and_wheels(&self) -> impl Iterator<Item = String> {
        self.channels.iter().flat_map(|(name, channel)| {
            let wheel = (!channel.filters.is_empty()).then(|| format!("wheel_{name}"));
            std::iter::once(format!("camera_{name}")).chain(wheel)
        })
    }

    /// What hangs on the power strip. Roof and weather have a supply of their own.
    fn instruments(&self) -> impl Iterator<Item = String> {
        let single = ["mount", "focuser", "rotator"].map(String::from);
        single.into_iter().chain(self.cameras_and_wheels())
    }
}

/// The mount's name behind its hand control.
const HAND_CONTROL: &str = "nexstar";

/// A question about the state, which changes nothing; what is not known to be one counts as a command.
fn only_asks(device: &str, question: &[u8]) -> bool {
    match device {
        "plc" => question.starts_with(b"Status"),
        "mount" => question.starts_with(b":G") || question == b":h?",
        "station" => true,
        HAND_CONTROL => false,
        // Eight digits stand before every word of the grammar.
        _ => question.get(8..12) == Some(b"GET "),
    }
}

fn slit() -> f64 {
    8.0
}
fn focus() -> (f64, f64) {
    (20_000.0, -40.0)
}

/// What the hardware really does at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareTruth {
    pub at: UtcTime,
    pub enclosure: EnclosureState,
    /// No command can move it from where it is, or nobody can know whether the mount that it waits for has parked.
    pub enclosure_held: bool,
    /// How often the controller had to keep the enclosure from moving against the mount.
    pub interlock_trips: u32,
    /// The emergency stop is pressed, and neither the controller nor the mount is too ill to say so or to hear of it.
    pub must_stand: bool,
    pub weather: WeatherSample,
    pub mount: MountState,
    pub mount_alt_deg: f64,
    pub mount_az_deg: f64,
    /// Of cameras that hear what they are told.
    pub light_shutters_open: u32,
}

/// What comes back for a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Answer(Vec<u8>),
    /// The device is silent: it hangs, is mute, or has nothing to say to this.
    Nothing,
    /// The line is cut, or there is no such device.
    Gone,
}

struct Models {
    plc: PlcModel,
    mount: MountModel,
    hand_control: HandControl,
    station: StationModel,
    focuser: FocuserModel,
    rotator: RotatorModel,
    power: PowerModel,
    cameras: BTreeMap<String, CameraModel>,
    wheels: BTreeMap<String, WheelModel>,
}

/// See the module's text.
pub struct Observatory {
    config: ObservatoryConfig,
    clock: Rc<dyn Clock>,
    weather: Box<dyn WeatherSeries>,
    renderer: RefCell<Box<dyn Renderer>>,
    faults: RefCell<Vec<Fault>>,
    /// What other clients have already said, by the place of the fault in the script.
    said: RefCell<BTreeSet<usize>>,
    /// When each camera was first spoken to after it could last not be reached.
    heard: RefCell<BTreeMap<String, UtcTime>>,
    tape: RefCell<Tape>,
    models: RefCell<Models>,
    /// The instants to which controller and mount have been brought, while nobody has told them anything since.
    plc_at: Cell<Option<UtcTime>>,
    mount_at: Cell<Option<UtcTime>>,
    sun: RefCell<ephemeris::SunPath>,
    noise: RefCell<Random>,
    seed: u64,
}

impl Observatory {
    pub fn new(
        config: ObservatoryConfig,
        clock: Rc<dyn Clock>,
        weather: Box<dyn WeatherSeries>,
        renderer: Box<dyn Renderer>,
        seed: u64,
    ) -> Rc<Self> {
        let now = clock.now();
        let sample = weather.at(now);
        let influence = Influence::calm(now, sample, ephemeris::sun_altaz(&config.site, now.chrono()).alt_deg);
        let models = Models {
            plc: PlcModel::new(config.plc.clone(), influence, seed),
            mount: MountModel::new(config.mount.clone(), config.site, now),
            hand_control: HandControl::default(),
            station: StationModel::new(sample, seed ^ 1),
            focuser: FocuserModel::new(now),
            rotator: RotatorModel::new(now),
            power: PowerModel::new(config.instruments()),
            cameras: config
                .channels
                .iter()
                .map(|(name, c)| (name.clone(), CameraModel::new(c.camera.clone(), now)))
                .collect(),
            wheels: config
                .channels
                .iter()
                .filter(|(_, c)| !c.filters.is_empty())
                .map(|(name, c)| (name.clone(), WheelModel::new(c.filters.len(), now)))
                .collect(),
        };
        let site = config.site;
        Rc::new(Self {
            config,
            clock,
            weather,
            renderer: RefCell::new(renderer),
            faults: RefCell::new(Vec::new()),
            said: RefCell::new(BTreeSet::new()),
            heard: RefCell::default(),
            tape: RefCell::new(Tape::default()),
            models: RefCell::new(models),
            plc_at: Cell::default(),
            mount_at: Cell::default(),
            sun: RefCell::new(ephemeris::SunPath::new(site)),
            noise: RefCell::new(Random::new(seed ^ 2)),
            seed,
        })
    }

    /// Names of all devices, as in the configuration of the daemon.
    pub fn devices(&self) -> Vec<String> {
        let mut all: Vec<String> = ["plc", "mount", "focuser", "station"].map(String::from).to_vec();
        all.extend(self.config.cameras_and_wheels());
        all.extend(["rotator", "power"].map(String::from));
        all
    }

    /// Devices that can be reached in a second language as well: the mount behind a hand control.
    pub fn second_faces(&self) -> Vec<String> {
        vec![HAND_CONTROL.into()]
    }

    /// Adds a fault to those that are to come.
    pub fn inject(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
        self.told();
    }

    /// Somebody presses, turns or asks at the controller's panel.
    pub fn at_panel(&self, change: impl FnOnce(&mut PlcModel)) {
        change(&mut self.models.borrow_mut().plc);
        self.told();
    }

    /// Something was changed: what was computed for this instant does not hold any more.
    fn told(&self) {
        self.plc_at.set(None);
        self.mount_at.set(None);
    }

    fn sun_alt_deg(&self, now: UtcTime) -> f64 {
        self.sun.borrow_mut().at(now.chrono()).alt_deg
    }

    /// Brings one device to the present.
    fn advance(&self, device: &str) {
        let now = self.clock.now();
        // A client asks for one state with several questions.
        let mark = match device {
            "plc" => Some(&self.plc_at),
            "mount" | HAND_CONTROL => Some(&self.mount_at),
            _ => None,
        };
        if mark.is_some_and(|mark| mark.replace(Some(now)) == Some(now)) {
            return;
        }
        let mut models = self.models.borrow_mut();
        let models = &mut *models;
        match device.split_once('_') {
            None if device == "plc" => {
                if models.plc.has_interlock() {
                    models.mount.advance(now, self.stuck("mount", now));
                }
                models.plc.advance(self.influence(now, &models.mount));
            }
            None if device == "mount" || device == HAND_CONTROL => {
                models.mount.misses_deg = self.misses_deg(now);
                models.mount.advance(now, self.stuck("mount", now));
            }
            None if device == "station" => {
                let frozen = self.fault(device, now, |k| *k == FaultKind::FrozenSensor);
                let dead = self.fault(device, now, |k| *k == FaultKind::DeadSensor);
                let mut weather = self.weather.at(now);
                weather.temperature_c += self.thermometer_offset_k(device, now);
                models.station.advance(weather, frozen, dead);
            }
            None if device == "focuser" => {
                models.focuser.advance(
                    now,
                    self.stuck("focuser", now),
                    self.weather.at(now).temperature_c + 0.5,
                );
            }
            None if device == "rotator" => models.rotator.advance(now, self.stuck("rotator", now)),
            Some(("wheel", channel)) => {
                if let Some(wheel) = models.wheels.get_mut(channel) {
                    wheel.advance(now, self.stuck(device, now));
                    wheel.misplaces = self.fault(device, now, |k| *k == FaultKind::WrongPlace);
                }
            }
            Some(("camera", channel)) => self.advance_camera(device, channel, now, models),
            _ => {}
        }
    }

    fn advance_camera(&self, device: &str, channel: &str, now: UtcTime, models: &mut Models) {
        let Models {
            plc,
            mount,
            focuser,
            rotator,
            cameras,
            wheels,
            ..
        } = models;
        let Some(camera) = cameras.get_mut(channel) else { return };
        let stuck = self.stuck(device, now);
        camera.ghosts = self.fault(device, now, |k| *k == FaultKind::GhostFrame);
        let mut scene = |order: &Order| {
            mount.advance(now, self.stuck("mount", now));
            plc.advance(self.influence(now, mount));
            rotator.advance(now, self.stuck("rotator", now));
            Shot {
                rotator_deg: rotator.on_sky(),
                ..self.scene(order, channel, now, plc, mount, focuser, wheels.get(channel))
            }
        };
        let mut develop = |shot: &Shot| self.renderer.borrow_mut().render(shot);
        camera.advance(now, stuck, &mut scene, &mut develop);
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "a shot sees all of these models, which are borrowed apart"
    )]
    fn scene(
        &self,
        order: &Order,
        channel: &str,
        now: UtcTime,
        plc: &PlcModel,
        mount: &MountModel,
        focuser: &FocuserModel,
        wheel: Option<&WheelModel>,
    ) -> Shot {
        let (alt, az) = mount.true_direction();
        let direction = if self.renderer.borrow().sees() {
            ephemeris::radec_from_altaz(&self.config.site, alt, az, now.chrono())
        } else {
            Default::default()
        };
        let slit_error = (plc.azimuth_deg() - az + 180.0).rem_euclid(360.0) - 180.0;
        let slit_is_there =
            self.config.plc.dome_deg_s <= 0.0 || alt > 80.0 || slit_error.abs() <= self.config.slit_half_width_deg;
        let weather = self.weather.at(now);
        let (best, per_degree) = self.config.best_focus;
        let filters = self
            .config
            .channels
            .get(channel)
            .map(|c| c.filters.as_slice())
            .unwrap_or_default();
        let sky_visible = plc.enclosure() == EnclosureState::Open && slit_is_there;
        Shot {
            channel: channel.to_owned(),
            filter: wheel
                .and_then(WheelModel::position)
                .and_then(|at| filters.get(at))
                .cloned()
                .unwrap_or_default(),
            started_at: now,
            exposure_s: order.exposure_s,
            light: order.light,
            binning: order.binning,
            ra_deg: direction.ra_deg,
            dec_deg: direction.dec_deg,
            alt_deg: alt,
            rotator_deg: 0.0,
            sky_visible,
            flat_light: sky_visible && self.sun_alt_deg(now) > -9.5,
            defocus_steps: focuser.steps() - (best + per_degree * (focuser.temperature_c - 10.0)),
            detector_temperature_c: order.temperature_c,
            weather,
            seed: self.seed ^ order.operation.rotate_left(17),
        }
    }

    /// What the hardware really does now.
    pub fn truth(&self) -> HardwareTruth {
        let now = self.clock.now();
        self.advance("plc");
        self.advance("mount");
        let models = self.models.borrow();
        let (mount_alt_deg, mount_az_deg) = models.mount.direction();
        HardwareTruth {
            at: now,
            enclosure: models.plc.enclosure(),
            enclosure_held: models.plc.held() || models.plc.has_interlock() && self.ails("mount", now),
            interlock_trips: models.plc.interlock_trips,
            must_stand: models.plc.stopped() && !self.ails("plc", now) && !self.ails("mount", now),
            weather: self.weather.at(now),
            mount: models.mount.state(),
            mount_alt_deg,
            mount_az_deg,
            light_shutters_open: models
                .cameras
                .iter()
                .filter(|(channel, camera)| camera.light_shutter_open_at(now) && self.hears(channel, now))
                .count() as u32,
        }
    }

    fn respond<T>(&self, device: &str, act: impl FnOnce(&mut dyn Responder) -> T) -> Option<T> {
        let mut models = self.models.borrow_mut();
        let models = &mut *models;
        let responder: &mut dyn Responder = match device.split_once('_') {
            None if device == "plc" => &mut models.plc,
            None if device == "mount" => &mut models.mount,
            None if device == "station" => &mut models.station,
            None if device == "focuser" => &mut models.focuser,
            None if device == "rotator" => &mut models.rotator,
            None if device == "power" => &mut models.power,
            Some(("wheel", channel)) => models.wheels.get_mut(channel)?,
            Some(("camera", channel)) => models.cameras.get_mut(channel)?,
            _ => return None,
        };
        Some(act(responder))
    }

    /// What a device says to a question (without its terminator), with whatever goes wrong.
    pub async fn reply(&self, device: &str, question: &[u8]) -> Said {
        let now = self.clock.now();
        // Most nights, and most devices in the others, have none.
        let (holds, taped) = self.holding(device, now);
        if holds.contains(&FaultKind::DropLink) || self.is_dark(device) {
            return Said::Gone;
        }
        if holds.contains(&FaultKind::Hang) {
            return Said::Nothing;
        }
        if !holds.iter().any(deafens) {
            self.note_hearing(device, now);
        }
        self.others_speak(device, now);
        self.advance(device);
        let refuses = holds.contains(&FaultKind::Refuse);
        let answer = if device == HAND_CONTROL {
            let mut models = self.models.borrow_mut();
            let Models {
                mount, hand_control, ..
            } = &mut *models;
            Some(nexstar::answer(hand_control, mount, question))
        } else {
            self.respond(device, |r| match r.refusal(question).filter(|_| refuses) {
                Some(refusal) => refusal,
                None => r.answer(question),
            })
        };
        if !only_asks(device, question) {
            // What was just commanded begins now, not when somebody looks next.
            self.told();
            self.advance(device);
            if device == "power" {
                self.cut_off(now);
            }
        }
        let Some(mut answer) = answer else { return Said::Gone };
        if holds.contains(&FaultKind::Mute) {
            return Said::Nothing;
        }
        let delay = holds.iter().find_map(|kind| match kind {
            FaultKind::Delay { seconds } => Some(*seconds),
            _ => None,
        });
        if let Some(seconds) = delay {
            tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
        }
        if taped {
            answer = self
                .tape
                .borrow_mut()
                .play(device, question, answer, &holds, &mut self.noise.borrow_mut());
        } else if !holds.is_empty() {
            answer = distort(answer, &holds, &mut self.noise.borrow_mut());
        }
        if answer.is_empty() {
            Said::Nothing
        } else {
            Said::Answer(answer)
        }
    }

    pub fn site(&self) -> Site {
        self.config.site
    }

    pub fn now(&self) -> UtcTime {
        self.clock.now()
    }

    /// Names in the order of a wheel's positions.
    pub fn filters(&self, wheel: &str) -> Vec<String> {
        let channel = wheel
            .strip_prefix("wheel_")
            .and_then(|name| self.config.channels.get(name));
        channel.map(|channel| channel.filters.clone()).unwrap_or_default()
    }
}
