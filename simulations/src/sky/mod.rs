//! The simulated sky: stars at real positions, a synthetic population everywhere, and sources that fade.
//!
//! | module | holds |
//! |---|---|
//! | `stars` | the table of real stars and the synthetic ones |
//! | `projection` | where a direction falls on a detector |
//! | `light` | filters, night sky, twilight, moonlight, air and clouds |
//! | `psf` | the image of a point |
//! | `detector` | bias, dark current, response, noise, cosmic rays |
//!
//! A frame is a pure function of the [`Shot`]: the same shot gives the same pixels. Light is counted in electrons until
//! the converter. The numbers are those of a 60 cm telescope on a good low site.

mod detector;
mod light;
mod projection;
mod psf;
mod stars;

pub use light::ZERO_POINT_E;
pub use projection::{ChannelView, tangent_plane};
pub use stars::{Catalogue, Star, galactic};

use crate::{
    scenario::Transient,
    world::{Pixels, Renderer, Shot},
};
use alidade_scheduling::Site;
use detector::Detector;
use light::{Aim, band_of};
use psf::{Canvas, Moffat};
use std::{collections::BTreeMap, path::Path};

/// A lit screen, or a twilight sky at the moment that suits the exposure: units a second at the centre of the field.
const FLAT_ADU_S: f64 = 7000.0;
/// Blur of a focuser away from its best position, arcseconds a step.
const DEFOCUS_ARCSEC_STEP: f64 = 0.004;
/// What optics and charge diffusion add to every image, full width at half maximum in unbinned pixels.
const OPTICS_PX: f64 = 1.2;

/// Renders nothing: frames without pixels.
pub struct NoPixels;

impl Renderer for NoPixels {
    fn sees(&self) -> bool {
        false
    }

    fn render(&mut self, _: &Shot) -> Pixels {
        Pixels {
            width: 0,
            height: 0,
            adu: Vec::new(),
        }
    }
}

/// Renders star fields.
pub struct StarField {
    channels: BTreeMap<String, (ChannelView, Detector)>,
    transients: Vec<Transient>,
    catalogue: Catalogue,
    site: Option<Site>,
}

impl StarField {
    /// `stars` is a table `ra_deg,dec_deg,mag`; without the file only the synthetic population shines.
    pub fn new(
        channels: &BTreeMap<String, ChannelView>,
        transients: Vec<Transient>,
        stars: &Path,
    ) -> Result<Self, String> {
        let catalogue = Catalogue::load(stars)?;
        let detector = |(number, (name, view)): (usize, (&String, &ChannelView))| {
            (name.clone(), (view.clone(), Detector::new(view, number as u64)))
        };
        Ok(Self {
            channels: channels.iter().enumerate().map(detector).collect(),
            transients,
            catalogue,
            site: None,
        })
    }

    /// Lets Sun and Moon of this site brighten the sky; without it every night is dark and moonless.
    #[must_use]
    pub fn under(mut self, site: Site) -> Self {
        self.site = Some(site);
        self
    }
}

impl Renderer for StarField {
    fn render(&mut self, shot: &Shot) -> Pixels {
        let Some((view, detector)) = self.channels.get_mut(&shot.channel) else {
            return Pixels {
                width: 0,
                height: 0,
                adu: Vec::new(),
            };
        };
        let binning = (shot.binning.max(1) as usize).min(view.width.min(view.height).max(1));
        let (width, height) = (view.width / binning, view.height / binning);
        let mut light = vec![0f32; width * height];
        if shot.light && shot.sky_visible {
            let scene = Scene {
                view: &view.turned(shot.rotator_deg),
                catalogue: &self.catalogue,
                transients: &self.transients,
            };
            let background = if shot.flat_light {
                FLAT_ADU_S * view.gain_e_adu * shot.exposure_s * (binning * binning) as f64
            } else {
                scene.background(shot, binning as f64, self.site.as_ref())
            };
            light.fill(background as f32);
            scene.stars(
                shot,
                binning as f64,
                &mut Canvas {
                    width,
                    height,
                    light: &mut light,
                    least: 0.3,
                },
            );
        }
        Pixels {
            width,
            height,
            adu: detector.expose(light, binning, shot),
        }
    }
}

/// What one channel sees.
struct Scene<'a> {
    view: &'a ChannelView,
    catalogue: &'a Catalogue,
    transients: &'a [Transient],
}

impl Scene<'_> {
    /// Sky light, electrons a binned pixel.
    fn background(&self, shot: &Shot, binning: f64, site: Option<&Site>) -> f64 {
        let band = band_of(&shot.filter);
        let aim = Aim {
            ra_deg: shot.ra_deg,
            dec_deg: shot.dec_deg,
            alt_deg: shot.alt_deg,
            cloud: shot.weather.cloud,
        };
        let middle = shot.started_at.plus_seconds(shot.exposure_s / 2.0).chrono();
        let area = (self.view.scale_arcsec * binning).powi(2);
        ZERO_POINT_E * band.throughput * light::sky(&band, &aim, site, middle) * area * shot.exposure_s
    }

    fn stars(&self, shot: &Shot, binning: f64, canvas: &mut Canvas<'_>) {
        let centre = (shot.ra_deg, shot.dec_deg);
        let band = band_of(&shot.filter);
        let through = light::transmission(&band, shot.alt_deg, shot.weather.cloud);
        // Seeing grows as air mass to the 0.6 (Fried 1966; Roddier 1981, section 7.2).
        let seeing = shot.weather.seeing_arcsec * light::air_mass(shot.alt_deg).powf(0.6);
        let blur = seeing.hypot(shot.defocus_steps.abs() * DEFOCUS_ARCSEC_STEP);
        let moffat = Moffat::new((blur / self.view.scale_arcsec).hypot(OPTICS_PX) / binning);
        let electrons = |mag: f64| ZERO_POINT_E * band.throughput * through * 10f64.powf(-0.4 * mag);
        let mut draw = |direction: (f64, f64), flux: f64| {
            if let Some(place) = self.view.pixel_of(centre, direction, binning) {
                moffat.stamp(canvas, place, flux);
            }
        };
        // Half the diagonal, and some for the wings of stars outside.
        let half_px = (self.view.width as f64).hypot(self.view.height as f64) / 2.0 + 20.0;
        for star in self.catalogue.around(centre, half_px * self.view.scale_arcsec / 3600.0) {
            draw((star.ra_deg, star.dec_deg), electrons(star.mag) * shot.exposure_s);
        }
        for source in self.transients {
            let begins = shot.started_at.seconds_since(source.appears);
            let minutes = source.shining_s(begins, begins + shot.exposure_s);
            draw(
                (source.ra_deg, source.dec_deg),
                electrons(source.mag_at_1_min) * minutes,
            );
        }
    }
}

impl Transient {
    /// Seconds at its brightness of one minute that give as much light as it sends from `from` to `to`, seconds after it
    /// appeared: the integral of (t / 60 s) to the minus decay. It shines at its peak for the first ten seconds.
    pub fn shining_s(&self, from: f64, to: f64) -> f64 {
        const PEAK_S: f64 = 10.0;
        let flux = |t: f64| (t / 60.0).powf(-self.decay);
        let (from, to) = (from.max(0.0), to.max(0.0));
        let plateau = (to.min(PEAK_S) - from.min(PEAK_S)) * flux(PEAK_S);
        let (a, b) = (from.max(PEAK_S), to.max(PEAK_S));
        let power = 1.0 - self.decay;
        let tail = if power.abs() < 1e-9 {
            60.0 * (b / a).ln()
        } else {
            60.0 / power * ((b / 60.0).powf(power) - (a / 60.0).powf(power))
        };
        plateau + tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WeatherSample;

    fn view(size: usize) -> ChannelView {
        ChannelView {
            width: size,
            height: size,
            scale_arcsec: 1.8,
            rotation_deg: 0.0,
            turns: false,
            gain_e_adu: 1.5,
            read_noise_e: 6.0,
        }
    }

    fn field(transients: Vec<Transient>, size: usize) -> StarField {
        StarField::new(
            &BTreeMap::from([("vis".to_owned(), view(size))]),
            transients,
            Path::new("/nonexistent"),
        )
        .unwrap()
    }

    fn source(mag_at_1_min: f64, decay: f64) -> Transient {
        let appears = "2026-03-14T22:00:00Z".parse().unwrap();
        Transient {
            ra_deg: 150.02,
            dec_deg: 30.01,
            appears,
            mag_at_1_min,
            decay,
        }
    }

    fn shot(exposure_s: f64) -> Shot {
        let weather = WeatherSample {
            wind_m_s: 3.0,
            gust_m_s: 5.0,
            humidity_pct: 50.0,
            temperature_c: 10.0,
            dew_point_c: 1.0,
            pressure_hpa: 940.0,
            rain_mm_h: 0.0,
            sky_temperature_k: -25.0,
            cloud: 0.0,
            seeing_arcsec: 2.5,
        };
        Shot {
            channel: "vis".into(),
            filter: "r".into(),
            started_at: "2026-03-14T22:10:00Z".parse().unwrap(),
            exposure_s,
            light: true,
            binning: 1,
            ra_deg: 150.0,
            dec_deg: 30.0,
            alt_deg: 60.0,
            rotator_deg: 0.0,
            sky_visible: true,
            flat_light: false,
            defocus_steps: 0.0,
            detector_temperature_c: -20.0,
            weather,
            seed: 7,
        }
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

    fn median(pixels: &Pixels) -> f64 {
        let mut sorted = pixels.adu.clone();
        sorted.sort_unstable();
        f64::from(sorted[sorted.len() / 2])
    }

    /// Excess of a steady source over the field without it, for some change of the shot.
    fn with_source(change: impl Fn(&mut Shot)) -> (f64, f64, f64) {
        let mut shot = shot(4.0);
        change(&mut shot);
        let binning = f64::from(shot.binning);
        let near = view(256).pixel_of((150.0, 30.0), (150.02, 30.01), binning).unwrap();
        let (empty, full) = (
            field(Vec::new(), 256).render(&shot),
            field(vec![source(12.0, 0.0)], 256).render(&shot),
        );
        excess(&empty, &full, near)
    }

    #[test]
    fn a_source_lands_where_it_is_projected() {
        for binning in [1, 2] {
            let (x, y, _) = with_source(|shot| shot.binning = binning);
            let place = view(256)
                .pixel_of((150.0, 30.0), (150.02, 30.01), f64::from(binning))
                .unwrap();
            assert!(
                (x - place.0).abs() < 0.1 && (y - place.1).abs() < 0.1,
                "{x} {y} {place:?}"
            );
        }
    }

    #[test]
    fn flux_grows_with_the_exposure_and_shrinks_with_cloud_air_and_a_narrower_band() {
        let sum = |change: fn(&mut Shot)| with_source(change).2;
        let usual = sum(|_| {});
        assert!((sum(|s| s.exposure_s = 8.0) / usual - 2.0).abs() < 0.1);
        assert!(sum(|s| s.weather.cloud = 0.5) < 0.35 * usual);
        assert!(sum(|s| s.alt_deg = 20.0) < 0.9 * usual);
        assert!((sum(|s| s.filter = "z".into()) / usual - 0.4).abs() < 0.1);
    }

    #[test]
    fn a_defocused_image_spreads_its_light() {
        let mut sharp = field(vec![source(12.0, 0.0)], 256);
        let place = view(256).pixel_of((150.0, 30.0), (150.02, 30.01), 1.0).unwrap();
        let at = place.1.round() as usize * 256 + place.0.round() as usize;
        let peak = |field: &mut StarField, steps: f64| {
            let mut shot = shot(4.0);
            shot.defocus_steps = steps;
            f64::from(field.render(&shot).adu[at]) - 1000.0
        };
        assert!(peak(&mut sharp, 2000.0) < 0.3 * peak(&mut sharp, 0.0));
    }

    #[test]
    fn a_counterpart_fades_as_its_power_law_says() {
        let burst = source(14.0, 1.1);
        let rate = |at: f64| burst.shining_s(at, at + 0.1) / 0.1;
        assert!((rate(60.0) - 1.0).abs() < 0.01);
        assert!((rate(600.0) - 10f64.powf(-1.1)).abs() < 0.001);
        assert_eq!(burst.shining_s(-50.0, -10.0), 0.0);
        let whole = burst.shining_s(5.0, 500.0);
        assert!((burst.shining_s(5.0, 90.0) + burst.shining_s(90.0, 500.0) - whole).abs() < 1e-9);
        let steady = source(14.0, 0.0);
        assert!((steady.shining_s(30.0, 90.0) - 60.0).abs() < 1e-9);
        let critical = source(14.0, 1.0);
        assert!((critical.shining_s(60.0, 120.0) - 60.0 * 2f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn a_closed_dome_shows_no_star() {
        let mut bright = field(vec![source(8.0, 0.0)], 256);
        let mut closed = shot(2.0);
        closed.sky_visible = false;
        let place = view(256).pixel_of((150.0, 30.0), (150.02, 30.01), 1.0).unwrap();
        let dark = field(Vec::new(), 256).render(&closed);
        assert_eq!(bright.render(&closed).adu, dark.adu, "the source leaves no trace");
        assert!((median(&dark) - 1000.0).abs() < 5.0);
        closed.sky_visible = true;
        assert!(excess(&dark, &bright.render(&closed), place).2 > 100_000.0);
    }

    #[test]
    fn a_dark_frame_grows_with_time_and_warmth() {
        let mut field = field(Vec::new(), 256);
        let mut level = |exposure_s: f64, detector_temperature_c: f64| {
            let dark = Shot {
                light: false,
                detector_temperature_c,
                ..shot(exposure_s)
            };
            field.render(&dark).adu.iter().map(|adu| f64::from(*adu)).sum::<f64>() / 65_536.0
        };
        let (bias, long, warm) = (level(0.0, -20.0), level(600.0, -20.0), level(600.0, 0.0));
        assert!((bias - 1000.0).abs() < 5.0, "{bias}");
        // 0.5 e/s at 0 degrees and a tenth of it at -20, over 600 s and 1.5 e a unit, and the hot pixels besides.
        assert!((15.0..60.0).contains(&(long - bias)), "{}", long - bias);
        assert!(warm - bias > 6.0 * (long - bias));
    }

    #[test]
    fn noise_is_that_of_the_photons_and_the_amplifier() {
        let mut field = field(Vec::new(), 256);
        let mut spread = |light: bool, exposure_s: f64| {
            let mut one = Shot {
                light,
                flat_light: light,
                ..shot(exposure_s)
            };
            let a = field.render(&one);
            one.seed = 8;
            let b = field.render(&one);
            let pairs = || a.adu.iter().zip(&b.adu).map(|(a, b)| f64::from(*a) - f64::from(*b));
            let mean = pairs().sum::<f64>() / 65_536.0;
            let level = a.adu.iter().map(|adu| f64::from(*adu) - 1000.0).sum::<f64>() / 65_536.0;
            (
                level,
                (pairs().map(|d| (d - mean).powi(2)).sum::<f64>() / 65_535.0 / 2.0).sqrt(),
            )
        };
        let (_, read) = spread(false, 0.0);
        assert!((read - 6.0 / 1.5).abs() < 0.2, "{read}");
        let (level, shot_noise) = spread(true, 3.0);
        let expected = ((level * 1.5 + 36.0) / 2.25).sqrt();
        assert!((shot_noise / expected - 1.0).abs() < 0.05, "{shot_noise} {expected}");
    }

    #[test]
    fn a_long_look_at_a_bright_star_saturates_and_a_night_under_the_moon_is_brighter() {
        let bright = field(vec![source(3.0, 0.0)], 256).render(&shot(60.0));
        assert_eq!(bright.adu.iter().max(), Some(&u16::MAX));
        // 2026-03-03 is the night of a full Moon.
        let mut moonlit = shot(20.0);
        moonlit.started_at = "2026-03-03T00:00:00Z".parse().unwrap();
        let site = Site::new(43.9317, 5.7133, 650.0);
        let (dark, lit) = (field(Vec::new(), 256), field(Vec::new(), 256).under(site));
        let level = |mut field: StarField| median(&field.render(&moonlit)) - 1000.0;
        assert!(level(lit) > 2.0 * level(dark));
    }

    #[test]
    fn the_same_shot_gives_the_same_pixels_and_another_seed_other_noise() {
        let (mut one, mut two) = (field(Vec::new(), 256), field(Vec::new(), 256));
        let mut other = shot(5.0);
        let first = one.render(&other);
        assert_eq!(first.adu, two.render(&other).adu);
        other.seed = 9;
        assert_ne!(first.adu, two.render(&other).adu);
    }

    #[test]
    fn an_unknown_channel_and_an_absurd_binning_harm_nothing() {
        let mut field = field(Vec::new(), 256);
        let unknown = Shot {
            channel: "uv".into(),
            ..shot(1.0)
        };
        assert!(field.render(&unknown).adu.is_empty());
        let coarse = Shot {
            binning: 100_000,
            ..shot(1.0)
        };
        assert_eq!(field.render(&coarse).adu.len(), 1);
    }
}
