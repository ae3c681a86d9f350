//! What the parts of the simulation know of each other.

use alidade_model::time::UtcTime;

/// The true weather at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeatherSample {
    pub wind_m_s: f64,
    pub gust_m_s: f64,
    pub humidity_pct: f64,
    pub temperature_c: f64,
    pub dew_point_c: f64,
    pub pressure_hpa: f64,
    pub rain_mm_h: f64,
    /// Sky minus air temperature, K.
    pub sky_temperature_k: f64,
    /// Fraction of the sky that is covered, 0 to 1.
    pub cloud: f64,
    /// Full width at half maximum of the seeing disk at zenith, arcseconds.
    pub seeing_arcsec: f64,
}

/// Tells the weather of any instant of the night.
pub trait WeatherSeries {
    fn at(&self, time: UtcTime) -> WeatherSample;
}

/// One opening of the simulated shutter: all that decides the pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Shot {
    /// Channel name from the configuration.
    pub channel: String,
    pub filter: String,
    pub started_at: UtcTime,
    /// Seconds the shutter was open (or integrated in the dark).
    pub exposure_s: f64,
    pub light: bool,
    pub binning: u32,
    /// Where the optical axis pointed, ICRS degrees (truth, with the mount's pointing error).
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub alt_deg: f64,
    /// Where the rotator stood, position angle on the sky, degrees.
    pub rotator_deg: f64,
    /// False when the enclosure was closed or the slit elsewhere: no sky light reaches the detector.
    pub sky_visible: bool,
    /// True when a lit flat-field screen or the twilight sky fills the beam.
    pub flat_light: bool,
    /// Distance from best focus, focuser steps.
    pub defocus_steps: f64,
    pub detector_temperature_c: f64,
    pub weather: WeatherSample,
    /// Makes the noise of this frame its own, and reproducible.
    pub seed: u64,
}

/// The rendered pixels.
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    /// Empty when no pixels are wanted (`--frames none`).
    pub adu: Vec<u16>,
}

/// Turns a shot into pixels.
pub trait Renderer {
    fn render(&mut self, shot: &Shot) -> Pixels;

    /// Whether it looks at the sky at all; if not, nobody computes where a shot points.
    fn sees(&self) -> bool {
        true
    }
}
