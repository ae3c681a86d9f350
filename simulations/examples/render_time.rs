//! Processor time of rendering: `cargo run --release -p alidade-simulations --example render_time`.
//! Prints milliseconds a 1024 x 1024 frame of 60 s at high and low galactic latitude, stars.csv of a night included.

use alidade_simulations::{
    sky::{ChannelView, StarField},
    world::{Renderer, Shot, WeatherSample},
};
use std::{collections::BTreeMap, path::Path, process::ExitCode};

/// Processor time of this process, seconds, from the kernel's account (proc(5), fields utime and stime, 100 a second).
fn processor_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

fn main() -> ExitCode {
    let night = Path::new(env!("CARGO_MANIFEST_DIR")).join("nights/grb-over-ohp/stars.csv");
    let view = ChannelView {
        width: 1024,
        height: 1024,
        scale_arcsec: 1.8,
        rotation_deg: 0.0,
        turns: false,
        gain_e_adu: 1.5,
        read_noise_e: 6.0,
    };
    let channels = BTreeMap::from([("vis".to_owned(), view)]);
    let Ok(mut field) = StarField::new(&channels, Vec::new(), &night) else {
        return ExitCode::FAILURE;
    };
    let weather = WeatherSample {
        wind_m_s: 3.0,
        gust_m_s: 5.0,
        humidity_pct: 50.0,
        temperature_c: 9.0,
        dew_point_c: 0.0,
        pressure_hpa: 940.0,
        rain_mm_h: 0.0,
        sky_temperature_k: -25.0,
        cloud: 0.0,
        seeing_arcsec: 1.8,
    };
    let Ok(started_at) = "2026-03-14T23:00:00Z".parse() else {
        return ExitCode::FAILURE;
    };
    for (name, ra_deg, dec_deg) in [("M 51", 202.4696, 47.1952), ("Cygnus", 305.0, 38.0)] {
        let Some(before) = processor_s() else {
            return ExitCode::FAILURE;
        };
        let frames = 50;
        let mut brightest = 0;
        for seed in 0..frames {
            let shot = Shot {
                channel: "vis".into(),
                filter: "r".into(),
                started_at,
                exposure_s: 60.0,
                light: true,
                binning: 1,
                ra_deg,
                dec_deg,
                alt_deg: 60.0,
                rotator_deg: 0.0,
                sky_visible: true,
                flat_light: false,
                defocus_steps: 0.0,
                detector_temperature_c: -20.0,
                weather,
                seed,
            };
            brightest = field.render(&shot).adu.into_iter().max().unwrap_or(0).max(brightest);
        }
        let Some(after) = processor_s() else {
            return ExitCode::FAILURE;
        };
        let each_ms = (after - before) * 1000.0 / frames as f64;
        println!("{name}: {each_ms:.1} ms of processor time a frame, brightest pixel {brightest}");
    }
    ExitCode::SUCCESS
}
