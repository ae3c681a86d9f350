//! A short night on Debian's INDI simulators: telescope, camera, wheel, focuser, dome and weather behind one `indiserver`,
//! the controller beside them; a driver is killed under an exposure, and rain ends it all.

use crate::support::{
    command::{Folder, say},
    hardware::{Hardware, config_with, eventually, night_daemon},
    indi::Server,
};
use alidade::settings::Settings;
use alidade_scheduling::{Site, ephemeris};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// `config/simulated.toml` with the telescope, one channel, the focuser, the dome and a station behind the INDI server.
fn behind_indi(text: String, port: u16) -> String {
    let mut text = text;
    for (device, there) in [
        ("mount", "Telescope Simulator"),
        ("camera_vis", "CCD Simulator"),
        ("wheel_vis", "Filter Simulator"),
        ("focuser", "Focuser Simulator"),
    ] {
        let head = format!("[devices.{device}]\n");
        let (before, after) = text.split_once(&head).unwrap();
        let kind = after.lines().next().unwrap();
        let rest = after.split_once("link = \"simulated\"\n").unwrap().1;
        text = format!(
            "{before}{head}{kind}\nprotocol = \"indi\"\nlink = \"tcp://127.0.0.1:{port}\"\nindi_device = \"{there}\"\n{rest}"
        );
    }
    let more = format!(
        r#"
[devices.dome]
kind = "enclosure"
protocol = "indi"
link = "tcp://127.0.0.1:{port}"
indi_device = "Dome Simulator"

[devices.meteo]
kind = "station"
protocol = "indi"
link = "tcp://127.0.0.1:{port}"
indi_device = "Weather Simulator"
blocking = false

[channels.vis]
"#
    );
    text.replacen("[channels.vis]\n", &more, 1)
        .replacen("width_px = 1024", "width_px = 1280", 1)
        // Nobody waits here for movements that the plan foresees.
        .replacen("overhead_s = 10.0", "overhead_s = 0.0", 1)
        .replacen("slew_deg_s = 6.0", "slew_deg_s = 60.0", 1)
        .replacen("settle_s = 3.0", "settle_s = 0.0", 1)
        .replacen("dome_deg_s = 6.0", "dome_deg_s = 60.0", 1)
        .replacen("filter_s = 4.0", "filter_s = 0.5", 1)
        // The simulated mount aims at where the target was when its slew began.
        .replacen("pointing_tolerance_deg = 0.05", "pointing_tolerance_deg = 0.5", 1)
}

struct Night {
    config: String,
    _folder: Folder,
}

impl Night {
    /// What a device of the running daemon says; null while nobody answers.
    fn status(&self, device: &str) -> Value {
        let said = say(&["device", "get", device, "STATUS", "--json", "--config", &self.config]);
        serde_json::from_str(&said.stdout).unwrap_or(Value::Null)
    }

    fn roof(&self) -> String {
        self.status("dome")["enclosure"]["value"]["state"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned()
    }

    fn sequence(&self) -> Value {
        let said = say(&["request", "why", "short-1", "--json", "--config", &self.config]);
        let told: Value = serde_json::from_str(&said.stdout).unwrap_or(Value::Null);
        told[0]["state"].clone()
    }
}

/// Every FITS file of light frames below a folder.
fn light_frames(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(light_frames(&path));
        } else if path.extension().is_some_and(|e| e == "fits") && path.display().to_string().contains("raw") {
            found.push(fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn a_short_night_on_indi_simulators_outlives_a_killed_driver_and_ends_in_the_rain() {
    let folder = Folder::new("indi-night");
    let server = Server::start(&[
        "indi_simulator_telescope",
        "indi_simulator_ccd",
        "indi_simulator_wheel",
        "indi_simulator_focus",
        "indi_simulator_dome",
        "indi_simulator_weather",
    ]);
    let hardware = Hardware::start(&folder, "");
    config_with(&folder, "alidade.toml", &hardware, "", |text| {
        behind_indi(text, server.port)
    });
    let config = folder.join("alidade.toml");
    let site = Settings::load_with(Path::new(&config), BTreeMap::new()).unwrap().site;
    let here = Site::new(site.latitude_deg, site.longitude_deg, site.height_m);
    // Above the horizon, east of the meridian.
    let ra_deg = (ephemeris::lst_deg(&here, alidade::clock::utc_now()) + 10.0).rem_euclid(360.0);
    let wish = folder.join("wish.toml");
    let text = format!(
        "[[requests]]\nid = \"short\"\nuser = \"ada\"\n[[requests.sequences]]\ntarget = {{ name = \"field\", ra_deg = {ra_deg:.3}, dec_deg = 60.0 }}\npriority = 5.0\nalbums = [{{ channel = \"vis\", plans = [{{ filter = \"r\", exposure_s = 3.0, count = 1 }}, {{ filter = \"i\", exposure_s = 1.0, count = 3 }}] }}]\n"
    );
    fs::write(&wish, text).unwrap();
    let _daemon = night_daemon(&folder, "alidade.toml");
    let data = folder.path().to_path_buf();
    let night = Night {
        config,
        _folder: folder,
    };
    eventually("the daemon takes a request", || {
        say(&["request", "submit", &wish, "--config", &night.config]).code == 0
    });
    eventually("the dome is told to open", || night.roof() == "opening");
    // The simulated mount turns by five degrees a second: somebody points it near the target while the dome opens.
    for property in [
        "ON_COORD_SET.SYNC=On",
        &format!("EQUATORIAL_EOD_COORD.RA;DEC={:.4};58.0", ra_deg / 15.0),
        "ON_COORD_SET.SLEW=On",
    ] {
        server.set(&format!("Telescope Simulator.{property}"));
    }
    eventually("the dome opens", || night.roof() == "open");
    assert_eq!(
        hardware.roof(),
        "closed",
        "the controller's own roof is nobody's business"
    );
    eventually("the camera exposes", || {
        night.status("camera_vis")["value"]["state"] == "exposing"
    });
    // It parks while a camera is missing: where it is, for the same reason.
    server.set("Telescope Simulator.TELESCOPE_PARK_OPTION.PARK_CURRENT=On");
    server.kill_driver("indi_simulator_ccd");
    eventually("every frame is taken all the same", || night.sequence() == "executed");
    let frames = light_frames(&data);
    assert!(frames.len() >= 4, "{} frames", frames.len());
    for frame in &frames {
        let header = String::from_utf8_lossy(&frame[..5760]);
        assert!(
            header.contains("NAXIS1  =                 1280") && header.contains("FILTER"),
            "{header}"
        );
        assert!(frame.len() > 2 * 1280 * 1024, "pixels came with it");
    }
    assert_eq!(night.roof(), "open", "a camera's driver says nothing about the roof");
    server.set("Weather Simulator.WEATHER_CONTROL.Precip=3");
    eventually("rain closes the dome", || night.roof() == "closed");
    let latest = say(&["status", "--config", &night.config]);
    assert!(latest.stdout.contains("rain"), "{}", latest.stdout);
}
