//! Prints the catalogue of FITS images as JSON, one line a file: `catalogue THRESHOLD FILE...`

use alidade_analysis::{
    background::Background,
    extract::{Options, extract},
};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threshold_sigma = arguments.next().ok_or("usage: catalogue THRESHOLD FILE...")?.parse()?;
    let options = Options {
        threshold_sigma,
        ..Options::default()
    };
    for path in arguments {
        let (_, raw) = alidade_fits::read(&std::fs::read(&path)?)?;
        let mut seconds = f64::INFINITY;
        let mut last = None;
        // The best of three: the machine may be doing something else.
        for _ in 0..3 {
            let mut image = raw.clone();
            let start = wall_clock();
            let sky = Background::of(&image);
            sky.subtract(&mut image);
            let sources = extract(&image, sky.rms, &options);
            seconds = seconds.min(start.elapsed()?.as_secs_f64());
            last = Some((sky, sources));
        }
        let Some((sky, sources)) = last else { continue };
        let line = serde_json::json!({"file": path, "background": sky.level, "rms": sky.rms, "seconds": seconds, "sources": sources});
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

/// Real time, for the figure of merit only.
fn wall_clock() -> std::time::SystemTime {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    std::time::SystemTime::now()
}
