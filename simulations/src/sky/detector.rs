//! The detector: bias and its structure, dark current, pixel response, noise, cosmic rays, saturation.

use super::ChannelView;
use crate::{random::Random, world::Shot};
use std::collections::BTreeMap;

/// Units of an unexposed frame.
const BIAS_ADU: f32 = 1000.0;
/// Electrons a second a pixel at 0 degrees Celsius; halves every 6 degrees (Janesick 2001, section 7.1).
const DARK_E_S: f64 = 0.5;
/// Cosmic rays that a million pixels catch in a second.
const COSMIC_PER_S: f64 = 0.02;
/// Normal deviates are looked up: a frame needs a million of them.
const NOISE_TABLE: usize = 1 << 16;

/// What is the same in every frame of one detector.
#[derive(Debug, Clone)]
pub struct Detector {
    view: ChannelView,
    /// Relative to the centre: vignetting, dust, and each pixel's own sensitivity.
    response: Vec<f32>,
    /// Offset of each column from the bias level, units.
    columns: Vec<f32>,
    /// Pixel, and electrons a second at 0 degrees Celsius.
    hot: Vec<(usize, f32)>,
    noise: Vec<f32>,
    binned: BTreeMap<usize, Vec<f32>>,
}

impl Detector {
    /// Detector `number` of the observatory: each has its own pattern.
    pub fn new(view: &ChannelView, number: u64) -> Self {
        let mut random = Random::new(0x5eed ^ number);
        let noise: Vec<f32> = (0..NOISE_TABLE).map(|_| random.normal() as f32).collect();
        let (width, height) = (view.width, view.height);
        let pixels = width * height;
        let response = response(view, &noise, &mut random);
        let columns = (0..width).map(|_| 1.5 * random.normal() as f32).collect();
        // Most hot pixels are lukewarm: the rates fall as the inverse square.
        let hot = (0..pixels / 1500)
            .map(|_| (random.below(pixels), (5.0 / random.unit().max(0.005)) as f32))
            .collect();
        Self {
            view: view.clone(),
            response,
            columns,
            hot,
            noise,
            binned: BTreeMap::new(),
        }
    }

    /// Electrons of light a binned pixel (`light`, row by row) to what the converter says.
    pub fn expose(&mut self, mut light: Vec<f32>, binning: usize, shot: &Shot) -> Vec<u16> {
        let (width, height) = (self.view.width / binning, self.view.height / binning);
        let mut random = Random::new(shot.seed);
        let cold = 2f64.powf(shot.detector_temperature_c / 6.0) * shot.exposure_s;
        let dark = (DARK_E_S * cold) as f32 * (binning * binning) as f32;
        for (value, response) in light.iter_mut().zip(self.response_at(binning)) {
            *value = *value * response + dark;
        }
        for (at, rate) in &self.hot {
            let (x, y) = (at % self.view.width / binning, at / self.view.width / binning);
            if x < width && y < height {
                light[y * width + x] += rate * cold as f32;
            }
        }
        let rays = COSMIC_PER_S * shot.exposure_s * (self.view.width * self.view.height) as f64 / 1e6;
        for _ in 0..(rays + random.unit()) as usize {
            cosmic_ray(&mut light, (width, height), &mut random);
        }
        self.convert(&light, width, binning, &mut random)
    }

    /// Adds noise and bias, divides by the gain, and cuts to 16 bits.
    fn convert(&self, light: &[f32], width: usize, binning: usize, random: &mut Random) -> Vec<u16> {
        let per_electron = (1.0 / self.view.gain_e_adu) as f32;
        let read2 = (self.view.read_noise_e * self.view.read_noise_e) as f32;
        // The level itself wanders a little from frame to frame, and slopes along the read-out.
        let level = BIAS_ADU + 0.8 * random.normal() as f32 + 0.5;
        let rows = (light.len() / width.max(1)).max(1) as f32;
        let mut frame = Vec::with_capacity(light.len());
        for (y, row) in light.chunks(width.max(1)).enumerate() {
            let level = level + 4.0 * (-(y as f32) / (0.15 * rows)).exp();
            for (x, four) in row.chunks(4).enumerate() {
                let mut bits = random.bits();
                for (i, electrons) in four.iter().enumerate() {
                    // Shot noise of the light and read noise add in squares; above some tens of electrons the Poisson
                    // distribution is normal to the eye of every test that uses these frames, below it the read noise rules.
                    let sigma = (electrons.max(0.0) + read2).sqrt();
                    let signal = electrons + sigma * self.noise[(bits & 0xffff) as usize];
                    bits >>= 16;
                    let value = level + self.columns[(4 * x + i) * binning] + signal * per_electron;
                    frame.push(value.clamp(0.0, 65_535.0) as u16);
                }
            }
        }
        frame
    }

    fn response_at(&mut self, binning: usize) -> &[f32] {
        if binning == 1 {
            return &self.response;
        }
        let (full, width, height) = (self.view.width, self.view.width / binning, self.view.height / binning);
        let response = &self.response;
        self.binned.entry(binning).or_insert_with(|| {
            let mean = |x: usize, y: usize| {
                let block = (0..binning).flat_map(|j| (0..binning).map(move |i| (i, j)));
                let sum: f32 = block
                    .map(|(i, j)| response[(y * binning + j) * full + x * binning + i])
                    .sum();
                sum / (binning * binning) as f32
            };
            (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .map(|(x, y)| mean(x, y))
                .collect()
        })
    }
}

/// Vignetting, dust rings of a few per cent, and a pixel-to-pixel scatter of 0.8 %.
fn response(view: &ChannelView, noise: &[f32], random: &mut Random) -> Vec<f32> {
    let (width, height) = (view.width, view.height);
    let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
    let corner2 = (cx * cx + cy * cy).max(1.0);
    let mut response: Vec<f32> = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x as f64 - cx, y as f64 - cy);
            let vignetting = 1.0 - 0.12 * (dx * dx + dy * dy) / corner2;
            response.push(vignetting as f32 * (1.0 + 0.008 * noise[random.below(NOISE_TABLE)]));
        }
    }
    for _ in 0..6 {
        let (x0, y0, radius) = (
            random.between(0.0, width as f64),
            random.between(0.0, height as f64),
            random.between(8.0, 25.0),
        );
        let span = |centre: f64, size: usize| {
            (
                (centre - radius - 12.0).max(0.0) as usize,
                ((centre + radius + 12.0) as usize).min(size),
            )
        };
        let ((left, right), (bottom, top)) = (span(x0, width), span(y0, height));
        for y in bottom..top {
            for x in left..right {
                let from_ring = (x as f64 - x0).hypot(y as f64 - y0) - radius;
                response[y * width + x] *= 1.0 - 0.03 * (-from_ring * from_ring / 18.0).exp() as f32;
            }
        }
    }
    response
}

/// A straight track of deposited charge.
fn cosmic_ray(light: &mut [f32], (width, height): (usize, usize), random: &mut Random) {
    let (mut x, mut y) = (random.between(0.0, width as f64), random.between(0.0, height as f64));
    let angle = random.between(0.0, std::f64::consts::TAU);
    let charge = random.between(700.0, 9000.0) as f32;
    for _ in 0..1 + random.below(8) {
        if x < 0.0 || y < 0.0 || x >= width as f64 || y >= height as f64 {
            return;
        }
        light[y as usize * width + x as usize] += charge;
        x += angle.cos();
        y += angle.sin();
    }
}
