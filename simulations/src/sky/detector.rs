//! The detector: bias, dark current, pixel response, noise, cosmic rays, saturation.

use super::ChannelView;
use crate::{random::Random, world::Shot};

/// Units of an unexposed frame.
const BIAS_ADU: f32 = 1000.0;
/// Electrons a second a pixel at 0 degrees Celsius; halves every 6 degrees.
const DARK_E_S: f64 = 0.5;
/// Cosmic rays a square centimetre-like 1024 x 1024 detector catches in a second.
const COSMIC_PER_S: f64 = 0.02;
/// Normal deviates are drawn from a table: frames need a million of them.
const NOISE_TABLE: usize = 1 << 16;

/// What is the same in every frame of one detector.
#[derive(Debug, Clone)]
pub struct Detector {
    width: usize,
    response: Vec<f32>,
    hot: Vec<(usize, f32)>,
    noise: Vec<f32>,
}

impl Detector {
    pub fn new(view: &ChannelView, number: u64) -> Self {
        let mut random = Random::new(0x5eed ^ number);
        let noise: Vec<f32> = (0..NOISE_TABLE).map(|_| random.normal() as f32).collect();
        let (width, height) = (view.width, view.height);
        let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
        let corner = cx.hypot(cy);
        // Dust on the filter: rings of a few per cent.
        let dust: Vec<(f64, f64, f64)> =
            (0..6).map(|_| (random.between(0.0, width as f64), random.between(0.0, height as f64), random.between(8.0, 25.0))).collect();
        let mut response = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (x as f64, y as f64);
                let vignetting = 1.0 - 0.12 * ((x - cx).hypot(y - cy) / corner).powi(2);
                let shade: f64 = dust.iter().map(|(dx, dy, r)| 0.03 * (-((x - dx).hypot(y - dy) - r).powi(2) / 18.0).exp()).sum();
                let own = 1.0 + 0.008 * f64::from(noise[random.below(NOISE_TABLE)]);
                response.push((vignetting * (1.0 - shade) * own) as f32);
            }
        }
        let hot = (0..width * height / 3000).map(|_| (random.below(width * height), random.between(2.0, 40.0) as f32)).collect();
        Self { width, response, hot, noise }
    }

    /// Photons (in units) to what the converter says.
    pub fn expose(&self, light: &[f32], width: usize, height: usize, binning: usize, shot: &Shot, view: &ChannelView) -> Vec<u16> {
        let mut random = Random::new(shot.seed);
        let gain = view.gain_e_adu as f32;
        let cold = 2f64.powf(shot.detector_temperature_c / 6.0);
        let dark = (DARK_E_S * cold * shot.exposure_s / view.gain_e_adu) as f32 * (binning * binning) as f32;
        let read2 = (view.read_noise_e as f32 / gain).powi(2);
        let mut signal = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = &self.response[(y * binning) * self.width..];
            for x in 0..width {
                signal.push(light[y * width + x] * row[x * binning] + dark);
            }
        }
        if binning == 1 {
            for (at, rate) in &self.hot {
                signal[*at] += rate * (cold * shot.exposure_s) as f32;
            }
        }
        let rays = COSMIC_PER_S * shot.exposure_s * (width * height) as f64 / 1_048_576.0;
        for _ in 0..(rays + random.unit()) as usize {
            cosmic_ray(&mut signal, width, height, &mut random);
        }
        let mut at = random.below(NOISE_TABLE);
        let mut frame = Vec::with_capacity(signal.len());
        for row in signal.chunks(width.max(1)) {
            // Each row enters the table elsewhere, so that no pattern repeats from row to row.
            at = (at + random.below(NOISE_TABLE)) % NOISE_TABLE;
            for value in row {
                at = (at + 1) % NOISE_TABLE;
                let sigma = (value.max(0.0) / gain + read2).sqrt();
                frame.push((BIAS_ADU + value + sigma * self.noise[at] + 0.5).clamp(0.0, 65_535.0) as u16);
            }
        }
        frame
    }
}

/// A straight track of deposited charge.
fn cosmic_ray(signal: &mut [f32], width: usize, height: usize, random: &mut Random) {
    let (mut x, mut y) = (random.between(0.0, width as f64), random.between(0.0, height as f64));
    let angle = random.between(0.0, std::f64::consts::TAU);
    let charge = random.between(500.0, 6000.0) as f32;
    for _ in 0..1 + random.below(8) {
        if x < 0.0 || y < 0.0 || x >= width as f64 || y >= height as f64 {
            return;
        }
        signal[y as usize * width + x as usize] += charge;
        x += angle.cos();
        y += angle.sin();
    }
}
