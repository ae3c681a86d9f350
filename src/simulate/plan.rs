//! What a run is made of, read and checked before anything starts.

use super::SimulateArgs;
use crate::{
    error::CliError,
    settings::{ChannelSettings, Clearance, Settings},
};
use alidade_alerts::strategy::{Strategy, from_toml, load_folder};
use alidade_model::time::UtcTime;
use alidade_scheduling::Site;
use alidade_simulations::{
    devices::{camera::CameraConfig, mount::MountConfig, plc::PlcConfig},
    faults::{Fault, FaultKind, random_plan},
    observatory::{ChannelConfig, ObservatoryConfig},
    random::Random,
    scenario::{ArrivingPacket, Scenario, faults},
    sky::ChannelView,
    weather::Table,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where the faults of a night come from.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(from = "String")]
pub enum FaultSource {
    Random,
    File(PathBuf),
}

impl From<String> for FaultSource {
    fn from(text: String) -> Self {
        if text == "random" {
            FaultSource::Random
        } else {
            FaultSource::File(text.into())
        }
    }
}

impl FromStr for FaultSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.to_owned().into())
    }
}

impl std::fmt::Display for FaultSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FaultSource::Random => f.write_str("random"),
            FaultSource::File(file) => file.display().fmt(f),
        }
    }
}

/// One night, ready to run.
pub struct NightPlan {
    pub settings: Settings,
    pub hardware: ObservatoryConfig,
    pub scenario: Scenario,
    pub weather: Table,
    pub faults: Vec<Fault>,
    pub packets: Vec<ArrivingPacket>,
    pub strategies: Vec<Strategy>,
    pub seed: u64,
    pub pixels: bool,
    pub database: String,
    pub out: Option<PathBuf>,
    /// Data that nobody asked to keep goes here and is removed.
    pub scratch: Option<Scratch>,
}

/// A folder that is removed when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn make() -> Result<Self, CliError> {
        let base = std::env::temp_dir();
        for number in 0..10_000u32 {
            let path = base.join(format!("alidade-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(CliError::bad_input(format!("{}: {e}", path.display()))),
            }
        }
        Err(CliError::failed("no free folder for the data of this run"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of its temporary folder.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl NightPlan {
    pub fn prepare(args: &SimulateArgs, seed: u64, pixels: bool) -> Result<Self, CliError> {
        let scenario = Scenario::load(&args.scenario).map_err(|e| CliError::bad_input(e.to_string()))?;
        let settings = Settings::load(&scenario.observatory).map_err(|e| CliError::bad_input(e.to_string()))?;
        let strategies = strategies(settings.alerts.strategies.as_deref())?;
        let mut weather = scenario.weather.clone();
        let mut packets = scenario.packets.clone();
        let faults = match &args.faults {
            None => scenario.faults.clone(),
            Some(FaultSource::File(file)) => {
                if !file.is_file() {
                    return Err(CliError::bad_input(format!("{}: is not a file", file.display())));
                }
                faults(file).map_err(|e| CliError::bad_input(e.to_string()))?
            }
            Some(FaultSource::Random) => {
                let devices: Vec<String> = device_names(&settings);
                let (faults, spells) = random_plan(seed, scenario.start, scenario.end, &devices);
                weather.spells = spells;
                faults
            }
        };
        disturb(&mut packets, &faults, seed);
        if let Some(out) = &args.out {
            std::fs::create_dir_all(out).map_err(|e| CliError::bad_input(format!("{}: {e}", out.display())))?;
        }
        let scratch = if args.out.is_none() {
            Some(Scratch::make()?)
        } else {
            None
        };
        Ok(Self {
            hardware: {
                let mut hardware = hardware(&settings, scenario.plc.clone(), scenario.mount.clone());
                hardware.best_focus.0 += scenario.focuser.off_by_steps;
                hardware
            },
            settings,
            weather,
            faults,
            packets,
            strategies,
            seed,
            pixels,
            database: database(args),
            out: args.out.clone(),
            scratch,
            scenario,
        })
    }

    /// How the channels see, for the renderer.
    pub fn channel_views(&self) -> BTreeMap<String, ChannelView> {
        channel_views(&self.settings)
    }

    /// Where frames and results go.
    pub fn data_dir(&self) -> PathBuf {
        match (&self.out, &self.scratch) {
            (Some(out), _) => out.join("data"),
            (None, Some(scratch)) => scratch.0.clone(),
            (None, None) => PathBuf::from("data"),
        }
    }
}

/// In memory if nothing else is said; accounts need one that others can open.
fn database(args: &SimulateArgs) -> String {
    match (&args.db, &args.out) {
        (Some(url), _) => url.clone(),
        (None, Some(out)) if args.accounts => format!("sqlite://{}", out.join("night.sqlite").display()),
        _ => "sqlite::memory:".into(),
    }
}

/// How each configured channel sees, for the renderer.
pub fn channel_views(settings: &Settings) -> BTreeMap<String, ChannelView> {
    let view = |c: &ChannelSettings| ChannelView {
        width: c.width_px as usize,
        height: c.height_px as usize,
        scale_arcsec: c.pixel_scale_arcsec,
        rotation_deg: c.position_angle_deg,
        turns: settings.rotator_of(c).is_some(),
        gain_e_adu: c.gain_e_adu,
        read_noise_e: c.read_noise_e,
    };
    settings
        .channels
        .iter()
        .map(|(name, c)| (name.clone(), view(c)))
        .collect()
}

/// The strategies that the daemon carries, in the order in which they are asked.
const SHIPPED: [(&str, &str); 5] = [
    ("10-gw.toml", include_str!("../../config/strategies/10-gw.toml")),
    (
        "20-neutrino.toml",
        include_str!("../../config/strategies/20-neutrino.toml"),
    ),
    (
        "30-grb-arcmin.toml",
        include_str!("../../config/strategies/30-grb-arcmin.toml"),
    ),
    (
        "40-grb-degrees.toml",
        include_str!("../../config/strategies/40-grb-degrees.toml"),
    ),
    ("90-test.toml", include_str!("../../config/strategies/90-test.toml")),
];

/// Reads every strategy file of a folder, by name; without a folder, the ones that the daemon carries.
pub fn strategies(folder: Option<&Path>) -> Result<Vec<Strategy>, CliError> {
    let wrong = |path: &Path, cause: String| CliError::bad_input(format!("{}: {cause}", path.display()));
    let Some(folder) = folder else {
        let carried = SHIPPED
            .iter()
            .map(|(name, text)| from_toml(text).map_err(|e| wrong(Path::new(name), e.to_string())));
        return carried.collect();
    };
    load_folder(folder).map_err(|e| CliError::bad_input(e.to_string()))
}

/// Simulated devices that a configuration knows.
fn device_names(settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = ["plc", "mount", "focuser", "station"].map(String::from).to_vec();
    for channel in settings.channels.keys() {
        names.push(format!("camera_{channel}"));
        names.push(format!("wheel_{channel}"));
    }
    names
}

/// The simulated hardware behind a configuration.
pub fn hardware(settings: &Settings, mut plc: PlcConfig, mount: MountConfig) -> ObservatoryConfig {
    let site = &settings.site;
    // Where the roof must never meet the telescope the controller knows the mount's park switch: its dead-man asks nobody.
    plc.park_interlock |= settings.enclosure.clearance == Clearance::ParkFirst && !settings.enclosure.close_anyway;
    let channel = |c: &crate::settings::ChannelSettings| ChannelConfig {
        camera: CameraConfig {
            width: c.width_px as usize,
            height: c.height_px as usize,
            readout_s: c.readout_s,
            cooling_c_min: 5.0,
            setpoint_c: c.setpoint_c,
        },
        filters: crate::daemon::translate::filters(settings, c),
    };
    ObservatoryConfig {
        site: Site::new(site.latitude_deg, site.longitude_deg, site.height_m),
        plc,
        mount,
        channels: settings
            .channels
            .iter()
            .map(|(name, c)| (name.clone(), channel(c)))
            .collect(),
        slit_half_width_deg: 8.0,
        best_focus: (
            settings.observation.focus_base_steps as f64,
            settings.observation.focus_steps_per_c,
        ),
    }
}

/// Adds the packets that the faults ask for: copies, and garbage.
fn disturb(packets: &mut Vec<ArrivingPacket>, faults: &[Fault], seed: u64) {
    let mut random = Random::new(seed ^ 0xa1e7);
    let originals = packets.clone();
    for fault in faults {
        let before = |at: UtcTime| originals.iter().rfind(|p| p.at <= at).or(originals.first());
        let body = match (&fault.kind, before(fault.at)) {
            (FaultKind::DuplicatePacket, Some(original)) => original.body.clone(),
            (FaultKind::MalformedPacket, Some(original)) if random.unit() < 0.6 => {
                let keep = random.below(original.body.len().max(1));
                original.body[..keep].to_vec()
            }
            (FaultKind::MalformedPacket, _) => (0..random.below(400)).map(|_| (random.bits() & 0xff) as u8).collect(),
            _ => continue,
        };
        packets.push(ArrivingPacket {
            at: fault.at,
            channel: "vtp".into(),
            body,
        });
    }
    packets.sort_by_key(|packet| packet.at);
}
