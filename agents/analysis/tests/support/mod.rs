//! A simulated sky, frames of it as the observation writes them, and the agent with everything around it.
#![allow(clippy::unwrap_used, reason = "test helpers")]
#![allow(dead_code, reason = "every test takes what it needs")]

use actix::prelude::*;
use alidade_analysis::{
    agent::{Analysis, AnalysisPorts, AnalysisSettings, ChannelOptics, SkySeen},
    astrometry::{SkyStars, Star, Wcs, stars::separation},
    overscan::Layout,
};
use alidade_fits::Header;
use alidade_model::{
    clock::Clock,
    exposure::{FrameKind, Product, ProductKind},
    journal::{Entry, Fact, Recorder, Sink},
    offload::Offload,
    time::UtcTime,
};
use alidade_observation::{
    feedback::Frames,
    messages::{ErrorCircle, FrameReady},
};
use alidade_pipeline::messages::FrameDone;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::{Semaphore, watch};

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("alidade-analysis-agent-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub struct Dice(pub u64);

impl Dice {
    pub fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (0..6).map(|_| self.unit()).sum::<f64>() * std::f64::consts::SQRT_2 - 3.0 * std::f64::consts::SQRT_2
    }
}

pub const SIZE: usize = 1024;
/// Magnitude of one count a second, and seconds of exposure.
pub const ZERO: f64 = 21.0;
pub const SECONDS: f64 = 20.0;
const SKY: f64 = 400.0;
const NOISE: f64 = 12.0;

/// Where the sky really is: north up, east left, 1.8 arcseconds a pixel.
pub fn truth() -> Wcs {
    Wcs {
        crval: (120.0, 40.0),
        crpix: (511.5, 511.5),
        cd: [[-5e-4, 0.0], [0.0, 5e-4]],
        sip: None,
    }
}

/// A light on a frame: pixels, counts, and by how much it is drawn out along x, pixels.
#[derive(Debug, Clone, Copy)]
pub struct Light {
    pub x: f64,
    pub y: f64,
    pub counts: f64,
    pub trail_px: f64,
}

pub fn counts(mag: f64) -> f64 {
    SECONDS * 10f64.powf(-0.4 * (mag - ZERO))
}

/// The stars of the field, and where they are on a frame.
pub fn field() -> (Vec<Star>, Vec<Light>) {
    let mut dice = Dice(4);
    let truth = truth();
    let one = |_| {
        let (x, y) = (20.0 + 984.0 * dice.unit(), 20.0 + 984.0 * dice.unit());
        let mag = 11.0 + 5.5 * dice.unit().sqrt();
        let (ra_deg, dec_deg) = truth.sky_of(x, y);
        let light = Light {
            x,
            y,
            counts: counts(mag),
            trail_px: 0.0,
        };
        (Star { ra_deg, dec_deg, mag }, light)
    };
    (0..320).map(one).unzip()
}

/// Pixels of a frame of these lights.
pub fn pixels(seed: u64, lights: &[Light]) -> Vec<u16> {
    let mut dice = Dice(seed);
    let mut sky: Vec<f64> = (0..SIZE * SIZE).map(|_| SKY + NOISE * dice.normal()).collect();
    for light in lights {
        let steps = (light.trail_px.ceil() as usize).max(1);
        for step in 0..steps {
            let x = light.x + light.trail_px * ((step as f64 + 0.5) / steps as f64 - 0.5);
            spread(&mut sky, (x, light.y), light.counts / steps as f64);
        }
    }
    sky.iter().map(|v| v.clamp(0.0, 65_535.0) as u16).collect()
}

fn spread(sky: &mut [f64], (x, y): (f64, f64), counts: f64) {
    const WIDE: f64 = 5.0;
    let range = |v: f64| (v as usize).saturating_sub(12)..(v as usize + 13).min(SIZE);
    for py in range(y) {
        for px in range(x) {
            let r = (px as f64 - x).powi(2) + (py as f64 - y).powi(2);
            sky[py * SIZE + px] += counts * (-r / WIDE).exp() / (WIDE * std::f64::consts::PI);
        }
    }
}

/// The catalogue of the field.
pub struct Catalogue(pub Vec<Star>);

impl SkyStars for Catalogue {
    fn cone(&self, ra: f64, dec: f64, radius: f64) -> Result<Vec<Star>, String> {
        let near = |s: &&Star| separation(ra, dec, s.ra_deg, s.dec_deg) <= radius;
        Ok(self.0.iter().filter(near).copied().collect())
    }

    fn depth(&self) -> f64 {
        16.5
    }

    fn name(&self) -> String {
        "the simulated field".into()
    }
}

/// The header of a frame as the observation writes it, its pointing off by some arcseconds.
pub fn header(minutes: f64) -> Header {
    let mut header = Header::new();
    let mut guess = truth();
    guess.crval = (guess.crval.0 + 20.0 / 3600.0, guess.crval.1 - 15.0 / 3600.0);
    guess.write(&mut header, SIZE, SIZE);
    header.number("RA", guess.crval.0, "");
    header.number("DEC", guess.crval.1, "");
    header.number("EXPTIME", SECONDS, "[s]");
    header.number("MJD-OBS", format!("{:.8}", 61_113.9 + minutes / 1440.0), "[d]");
    header.text("FILTER", "r", "");
    header.text("CHANNEL", "vis", "");
    header.number("AIRMASS", "1.2", "");
    header
}

struct Standing(UtcTime);

impl Clock for Standing {
    fn now(&self) -> UtcTime {
        self.0
    }
}

struct Paper(Rc<RefCell<Vec<Fact>>>);

impl Sink for Paper {
    fn append(&mut self, entry: &Entry) {
        self.0.borrow_mut().push(entry.fact.clone());
    }
}

/// Keeps what the pipeline is told.
struct Follower(Rc<RefCell<Vec<FrameDone>>>);

impl Actor for Follower {
    type Context = Context<Self>;
}

impl Handler<FrameDone> for Follower {
    type Result = ();

    fn handle(&mut self, done: FrameDone, _: &mut Self::Context) {
        self.0.borrow_mut().push(done);
    }
}

/// The agent, and all it says.
pub struct House {
    pub data_dir: PathBuf,
    pub analysis: Addr<Analysis>,
    pub facts: Rc<RefCell<Vec<Fact>>>,
    pub done: Rc<RefCell<Vec<FrameDone>>>,
    pub feedback: watch::Receiver<Frames>,
    pub sky_seen: watch::Receiver<SkySeen>,
    /// Work begins only when it has a permit.
    pub gate: Rc<Semaphore>,
    /// Seconds of every piece of work.
    pub seconds: Rc<RefCell<Vec<f64>>>,
}

impl House {
    pub fn new(data_dir: &Path, sky: Option<Vec<Star>>) -> Self {
        let now: UtcTime = "2026-03-14T21:40:00Z".parse().unwrap();
        let (facts, done, seconds) = (Rc::default(), Rc::default(), Rc::new(RefCell::new(Vec::new())));
        let gate = Rc::new(Semaphore::new(0));
        let (sky_out, sky_seen) = watch::channel(SkySeen::default());
        let (feedback_out, feedback) = watch::channel(Frames::default());
        let (doors, watches) = (gate.clone(), seconds.clone());
        let offload = Offload::with(move |job| {
            let (doors, watches) = (doors.clone(), watches.clone());
            Box::pin(async move {
                doors.acquire().await.unwrap().forget();
                let start = wall_clock();
                job();
                watches.borrow_mut().push(start.elapsed().unwrap().as_secs_f64());
            })
        });
        let optics = ChannelOptics {
            gain_e_adu: 1.5,
            read_noise_e: 6.0,
            saturation_adu: 60_000.0,
            layout: Layout::default(),
            bad_pixels: None,
        };
        let analysis = Analysis::new(
            AnalysisPorts {
                recorder: Recorder::new(Rc::new(Standing(now)), 0, vec![Box::new(Paper(Rc::clone(&facts)))]),
                offload,
                data_dir: data_dir.into(),
                pipeline: Follower(Rc::clone(&done)).start().recipient(),
                sky: sky.map(|stars| Arc::new(Catalogue(stars)) as Arc<dyn SkyStars>),
                sky_seen: sky_out,
                feedback: feedback_out,
            },
            AnalysisSettings {
                channels: BTreeMap::from([("vis".to_owned(), optics)]),
                ..AnalysisSettings::default()
            },
        );
        Self {
            data_dir: data_dir.into(),
            analysis: analysis.start(),
            facts,
            done,
            feedback,
            sky_seen,
            gate,
            seconds,
        }
    }

    /// Lets the work begin, and waits until so many frames are through.
    pub async fn finish(&self, frames: usize) {
        self.gate.add_permits(1000);
        for _ in 0..10_000 {
            if self.done.borrow().len() >= frames {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} of {frames} frames came through", self.done.borrow().len());
    }

    /// Puts a frame below the data folder and tells the agent of it.
    pub fn send(&self, frame: FrameReady, bytes: &[u8]) {
        std::fs::create_dir_all(frame.path.parent().unwrap()).unwrap();
        std::fs::write(&frame.path, bytes).unwrap();
        self.analysis.do_send(frame);
    }

    /// A frame of the night.
    pub fn frame(&self, night: &str, exposure: &str, kind: FrameKind) -> FrameReady {
        let path = format!("{night}/raw/{exposure}.fits");
        let started_at: UtcTime = format!("{night}T21:36:00Z").parse().unwrap();
        FrameReady {
            product: Product {
                id: exposure.into(),
                kind: ProductKind::Raw,
                exposure: Some(exposure.into()),
                sequence: Some("s1".into()),
                path: path.clone(),
                size_bytes: 1,
                sha256: String::new(),
                made_at: started_at,
            },
            path: self.data_dir.join(path),
            exposure: exposure.into(),
            channel: "vis".into(),
            kind,
            filter: "r".into(),
            sequence: Some("s1".into()),
            event: None,
            area: None,
            started_at,
            exposure_s: SECONDS,
            has_pixels: true,
        }
    }

    /// One of an alert.
    pub fn alert(&self, exposure: &str, (ra_deg, dec_deg): (f64, f64)) -> FrameReady {
        FrameReady {
            event: Some("GRB 260314A".into()),
            area: Some(ErrorCircle {
                ra_deg,
                dec_deg,
                radius_deg: 0.03,
            }),
            ..self.frame("2026-03-14", exposure, FrameKind::Object)
        }
    }

    /// What the journal says of frames, in order: the kind of fact and the exposure; the search of the circle alone as "box".
    pub fn story(&self) -> Vec<(&'static str, String)> {
        let of = |fact: &Fact| match fact {
            Fact::FrameReduced { exposure, .. } => Some(("reduced", exposure.clone())),
            Fact::CandidatesFound { exposure, report, .. } if report.ends_with("-box.json") => {
                Some(("box", exposure.clone()))
            }
            Fact::CandidatesFound { exposure, .. } => Some(("candidates", exposure.clone())),
            Fact::Degraded { what, .. } => Some(("degraded", what.rsplit(' ').next().unwrap().to_owned())),
            _ => None,
        };
        self.facts.borrow().iter().filter_map(of).collect()
    }

    /// What a frame had to do without.
    pub fn degradations(&self, wanted: &str) -> Vec<String> {
        let of = |fact: &Fact| match fact {
            Fact::FrameReduced {
                exposure, degradations, ..
            } if exposure == wanted => Some(degradations.clone()),
            _ => None,
        };
        self.facts.borrow().iter().find_map(of).unwrap_or_default()
    }
}

/// Real time, for a budget.
fn wall_clock() -> std::time::SystemTime {
    #[allow(clippy::disallowed_methods, reason = "a budget is of real time")]
    std::time::SystemTime::now()
}

/// Bytes of a frame of lights.
pub fn frame_bytes(seed: u64, minutes: f64, lights: &[Light]) -> Vec<u8> {
    alidade_fits::write_u16(&header(minutes), SIZE, SIZE, &pixels(seed, lights)).unwrap()
}

/// Runs on a system of its own.
pub fn run(test: impl Future<Output = ()>) {
    System::new().block_on(test);
}
