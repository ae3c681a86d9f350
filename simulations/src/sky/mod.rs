//! The simulated sky: stars at real positions, a faint population everywhere, and a source that fades.
//!
//! Photometry: a star of magnitude 0 gives [`ZERO_POINT_ADU`] units a second through every filter; the sky has
//! [`SKY_MAG`] a square arcsecond in the dark. Numbers are those of a 60 cm telescope within a factor of two.

mod detector;
mod stars;

pub use stars::Star;

use crate::{
    scenario::Transient,
    world::{Pixels, Renderer, Shot},
};
use detector::Detector;
use stars::Catalogue;
use std::{collections::BTreeMap, path::Path};

/// Units a second of a star of magnitude 0.
pub const ZERO_POINT_ADU: f64 = 6.3e8;
/// Dark sky, magnitudes a square arcsecond.
pub const SKY_MAG: f64 = 20.5;

/// How a channel sees.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelView {
    pub width: usize,
    pub height: usize,
    pub scale_arcsec: f64,
    /// Position angle of the y axis, degrees, north through east.
    pub rotation_deg: f64,
    pub gain_e_adu: f64,
    pub read_noise_e: f64,
}

/// Renders nothing: frames without pixels.
pub struct NoPixels;

impl Renderer for NoPixels {
    fn render(&mut self, _: &Shot) -> Pixels {
        Pixels { width: 0, height: 0, adu: Vec::new() }
    }
}

/// Renders star fields.
pub struct StarField {
    channels: BTreeMap<String, (ChannelView, Detector)>,
    transients: Vec<Transient>,
    catalogue: Catalogue,
}

impl StarField {
    /// `stars` is a table `ra_deg,dec_deg,mag`; without the file only the faint population shines.
    pub fn new(channels: &BTreeMap<String, ChannelView>, transients: Vec<Transient>, stars: &Path) -> Result<Self, String> {
        let catalogue = Catalogue::load(stars)?;
        let channels = channels.iter().enumerate().map(|(n, (name, view))| (name.clone(), (view.clone(), Detector::new(view, n as u64)))).collect();
        Ok(Self { channels, transients, catalogue })
    }
}

/// Offsets in arcseconds from the centre, x to the west... of the tangent plane (Calabretta & Greisen 2002, eq. 54).
pub fn tangent_plane(centre: (f64, f64), direction: (f64, f64)) -> Option<(f64, f64)> {
    let (ra0, dec0) = (centre.0.to_radians(), centre.1.to_radians());
    let (ra, dec) = (direction.0.to_radians(), direction.1.to_radians());
    let cosine = dec0.sin() * dec.sin() + dec0.cos() * dec.cos() * (ra - ra0).cos();
    if cosine <= 0.1 {
        return None;
    }
    let xi = dec.cos() * (ra - ra0).sin() / cosine;
    let eta = (dec0.cos() * dec.sin() - dec0.sin() * dec.cos() * (ra - ra0).cos()) / cosine;
    Some((xi.to_degrees() * 3600.0, eta.to_degrees() * 3600.0))
}

impl ChannelView {
    /// Pixel position (0-based, centre of the first pixel at 0) of a direction, for a field centred on `centre`.
    pub fn pixel_of(&self, centre: (f64, f64), direction: (f64, f64), binning: f64) -> Option<(f64, f64)> {
        let (xi, eta) = tangent_plane(centre, direction)?;
        let (sin, cos) = self.rotation_deg.to_radians().sin_cos();
        let scale = self.scale_arcsec * binning;
        // North is up and east to the left at position angle 0: x grows westward.
        let x = (-xi * cos + eta * sin) / scale;
        let y = (xi * sin + eta * cos) / scale;
        let middle = |n: usize| (n as f64 / binning - 1.0) / 2.0;
        Some((middle(self.width) + x, middle(self.height) + y))
    }
}

impl Renderer for StarField {
    fn render(&mut self, shot: &Shot) -> Pixels {
        let Some((view, detector)) = self.channels.get(&shot.channel) else {
            return Pixels { width: 0, height: 0, adu: Vec::new() };
        };
        let binning = shot.binning.max(1) as usize;
        let (width, height) = (view.width / binning, view.height / binning);
        let mut light = vec![0f32; width * height];
        if shot.light && shot.sky_visible {
            let pixel_arcsec = view.scale_arcsec * binning as f64;
            if shot.flat_light {
                // An evening sky that fills a third of the range in the usual flat exposure.
                light.fill((7000.0 * shot.exposure_s) as f32);
            } else {
                let brightness = SKY_MAG - 2.0 * shot.weather.cloud;
                let sky = ZERO_POINT_ADU * 10f64.powf(-0.4 * brightness) * pixel_arcsec.powi(2) * shot.exposure_s;
                light.fill(sky as f32);
            }
            self.stars(shot, view, binning as f64, width, height, &mut light);
        }
        let adu = detector.expose(&light, width, height, binning, shot, view);
        Pixels { width, height, adu }
    }
}

impl StarField {
    fn stars(&self, shot: &Shot, view: &ChannelView, binning: f64, width: usize, height: usize, light: &mut [f32]) {
        let centre = (shot.ra_deg, shot.dec_deg);
        let radius = (view.width.max(view.height) as f64) * view.scale_arcsec / 3600.0 * 0.75;
        let airmass = 1.0 / shot.alt_deg.max(10.0).to_radians().sin();
        let extinction = 10f64.powf(-0.4 * (0.15 * airmass + 3.0 * shot.weather.cloud));
        let seeing = shot.weather.seeing_arcsec * airmass.powf(0.6);
        let defocus = shot.defocus_steps.abs() * 0.004;
        let fwhm_px = (seeing.hypot(defocus) / (view.scale_arcsec * binning)).max(1.2);
        let flux = |mag: f64| ZERO_POINT_ADU * 10f64.powf(-0.4 * mag) * shot.exposure_s * extinction;
        for star in self.catalogue.around(centre, radius) {
            if let Some(place) = view.pixel_of(centre, (star.ra_deg, star.dec_deg), binning) {
                moffat(light, width, height, place, flux(star.mag), fwhm_px);
            }
        }
        for source in &self.transients {
            let age = shot.started_at.plus_seconds(shot.exposure_s / 2.0).seconds_since(source.appears);
            if age <= 1.0 {
                continue;
            }
            let mag = source.mag_at_1_min + 2.5 * source.decay * (age / 60.0).log10();
            if let Some(place) = view.pixel_of(centre, (source.ra_deg, source.dec_deg), binning) {
                moffat(light, width, height, place, flux(mag), fwhm_px);
            }
        }
    }
}

/// Adds a Moffat profile with beta 3 (Moffat 1969), the shape of seeing with its wings; pixel centres sampled.
fn moffat(light: &mut [f32], width: usize, height: usize, (x0, y0): (f64, f64), flux: f64, fwhm_px: f64) {
    const BETA: f64 = 3.0;
    let alpha2 = (fwhm_px / (2.0 * (2f64.powf(1.0 / BETA) - 1.0).sqrt())).powi(2);
    let peak = flux * (BETA - 1.0) / (std::f64::consts::PI * alpha2);
    // Far enough that what is cut off is below a fifth of a unit.
    let reach = (alpha2.sqrt() * ((peak / 0.2).max(1.0).powf(1.0 / BETA) - 1.0).max(1.0).sqrt()).clamp(3.0, 120.0);
    if x0 < -reach || y0 < -reach || x0 > width as f64 + reach || y0 > height as f64 + reach {
        return;
    }
    let span = |centre: f64, size: usize| ((centre - reach).max(0.0) as usize, ((centre + reach).max(-1.0) + 1.0).min(size as f64) as usize);
    let ((left, right), (bottom, top)) = (span(x0, width), span(y0, height));
    for y in bottom..top {
        let dy2 = (y as f64 - y0).powi(2);
        for x in left..right {
            let r2 = (x as f64 - x0).powi(2) + dy2;
            let base = 1.0 + r2 / alpha2;
            light[y * width + x] += (peak / (base * base * base)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WeatherSample;

    fn view() -> ChannelView {
        ChannelView { width: 256, height: 256, scale_arcsec: 1.8, rotation_deg: 0.0, gain_e_adu: 1.5, read_noise_e: 6.0 }
    }

    fn shot(appears: bool, exposure_s: f64, sky_visible: bool) -> (StarField, Shot) {
        let transient = Transient {
            ra_deg: 150.02,
            dec_deg: 30.01,
            appears: "2026-03-14T22:00:00Z".parse().unwrap(),
            mag_at_1_min: if appears { 12.0 } else { 40.0 },
            decay: 0.0,
        };
        let field = StarField::new(&BTreeMap::from([("vis".to_owned(), view())]), vec![transient], Path::new("/nonexistent")).unwrap();
        let weather = WeatherSample {
            wind_m_s: 3.0, gust_m_s: 5.0, humidity_pct: 50.0, temperature_c: 10.0, dew_point_c: 1.0, pressure_hpa: 940.0,
            rain_mm_h: 0.0, sky_temperature_k: -25.0, cloud: 0.0, seeing_arcsec: 2.5,
        };
        let shot = Shot {
            channel: "vis".into(), filter: "r".into(), started_at: "2026-03-14T22:10:00Z".parse().unwrap(), exposure_s,
            light: true, binning: 1, ra_deg: 150.0, dec_deg: 30.0, alt_deg: 60.0, sky_visible, flat_light: false,
            defocus_steps: 0.0, detector_temperature_c: -20.0, weather, seed: 7,
        };
        (field, shot)
    }

    /// Centroid and sum of what a second rendering has more than the first, within 12 pixels of `near`.
    fn excess(a: &Pixels, b: &Pixels, near: (f64, f64)) -> (f64, f64, f64) {
        let (mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0);
        for y in (near.1 as usize - 12)..(near.1 as usize + 13) {
            for x in (near.0 as usize - 12)..(near.0 as usize + 13) {
                let d = f64::from(b.adu[y * b.width + x]) - f64::from(a.adu[y * a.width + x]);
                sum += d;
                sx += d * x as f64;
                sy += d * y as f64;
            }
        }
        (sx / sum, sy / sum, sum)
    }

    #[test]
    fn a_source_lands_where_it_is_projected_and_its_flux_grows_with_the_exposure() {
        let place = view().pixel_of((150.0, 30.0), (150.02, 30.01), 1.0).unwrap();
        let mut sums = Vec::new();
        for exposure_s in [2.0, 4.0] {
            let (mut without, dark) = shot(false, exposure_s, true);
            let (mut with, bright) = shot(true, exposure_s, true);
            let (x, y, sum) = excess(&without.render(&dark), &with.render(&bright), place);
            assert!((x - place.0).abs() < 0.1 && (y - place.1).abs() < 0.1, "{x} {y} {place:?}");
            sums.push(sum);
        }
        assert!((sums[1] / sums[0] - 2.0).abs() < 0.1, "{sums:?}");
    }

    #[test]
    fn east_is_left_and_north_is_up() {
        let (x, y) = view().pixel_of((150.0, 30.0), (150.02, 30.01), 1.0).unwrap();
        assert!(x < 127.5 && y > 127.5);
    }

    #[test]
    fn a_closed_dome_shows_no_star() {
        let (mut field, closed) = shot(true, 30.0, false);
        let pixels = field.render(&closed);
        let brightest = pixels.adu.iter().filter(|adu| **adu < 20_000).max().copied().unwrap();
        assert!(brightest < 5000, "{brightest}");
    }

    #[test]
    fn the_same_shot_gives_the_same_pixels() {
        let (mut field, one) = shot(true, 5.0, true);
        assert_eq!(field.render(&one).adu, field.render(&one).adu);
    }
}
