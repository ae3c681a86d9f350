//! A simulated observatory without cameras, under calm weather.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use alidade_model::clock::Clock;
use alidade_scheduling::Site;
use alidade_simulations::{
    devices::mount::MountConfig,
    observatory::{Observatory, ObservatoryConfig},
    world::{Pixels, Renderer, Shot},
};
use std::{collections::BTreeMap, rc::Rc};

struct Dark;

impl Renderer for Dark {
    fn render(&mut self, _: &Shot) -> Pixels {
        Pixels {
            width: 0,
            height: 0,
            adu: Vec::new(),
        }
    }
}

pub fn site() -> Site {
    Site::new(43.93, 5.71, 650.0)
}

pub fn config() -> ObservatoryConfig {
    ObservatoryConfig {
        site: site(),
        plc: Default::default(),
        mount: Default::default(),
        channels: BTreeMap::new(),
        slit_half_width_deg: 8.0,
        best_focus: (20_000.0, -40.0),
    }
}

/// A mount that slews so fast, degrees a second.
pub fn quick(slew_deg_s: f64) -> MountConfig {
    MountConfig {
        slew_deg_s,
        settle_s: 0.5,
        ..MountConfig::default()
    }
}

/// With this mount.
pub fn with_mount(clock: Rc<dyn Clock>, mount: MountConfig) -> Rc<Observatory> {
    observatory(clock, ObservatoryConfig { mount, ..config() })
}

pub fn observatory(clock: Rc<dyn Clock>, config: ObservatoryConfig) -> Rc<Observatory> {
    let weather = alidade_simulations::weather::Table::calm(clock.now());
    Observatory::new(config, clock, Box::new(weather), Box::new(Dark), 1)
}
