//! A simulated observatory of which only the mount is asked.

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

/// No camera, calm weather, and a mount that slews so fast, degrees a second.
pub fn observatory(clock: Rc<dyn Clock>, slew_deg_s: f64) -> Rc<Observatory> {
    with(
        clock,
        MountConfig {
            slew_deg_s,
            settle_s: 0.5,
            ..MountConfig::default()
        },
    )
}

/// The same with this mount.
pub fn with(clock: Rc<dyn Clock>, mount: MountConfig) -> Rc<Observatory> {
    let config = ObservatoryConfig {
        site: site(),
        plc: Default::default(),
        mount,
        channels: BTreeMap::new(),
        slit_half_width_deg: 8.0,
        best_focus: (20_000.0, -40.0),
    };
    let weather = alidade_simulations::weather::Table::calm(clock.now());
    Observatory::new(config, clock, Box::new(weather), Box::new(Dark), 1)
}
