//! The shell: keeps the calibration frames of the night, makes masters of them, reduces every frame. What tonight has no
//! master of is taken from the nights before ([`archive`](crate::archive)), also after a restart in the middle of the night.
//!
//! ```text
//! bias, dark, flat --> kept by channel --+
//!                                        v  (once, when the first object frame comes)
//! object ------------> queue --> masters --> reduce --> calibrated + catalogue + preview
//!                       ^ alert frames first
//! ```

use crate::{
    astrometry::SkyStars,
    candidates::Visit,
    extract::Options,
    measure::Measured,
    minor_planets::Elements,
    overscan::Layout,
    transparency::{Told, Transparency},
    work::{self, Answer, Job, Library, Reduced, Written},
};
use actix::prelude::*;
use alidade_model::{
    exposure::{FrameKind, Product},
    journal::{Fact, Recorder},
    offload::Offload,
    time::UtcTime,
};
use alidade_observation::{
    feedback::{Frames, MEMORY, Seen},
    messages::FrameReady,
};
use alidade_pipeline::messages::{FrameDone, Outputs};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::watch;

pub struct AnalysisPorts {
    pub recorder: Recorder,
    pub offload: Offload,
    pub data_dir: PathBuf,
    /// Follows the runs, and hands products on.
    pub pipeline: Recipient<FrameDone>,
    /// Catalogue for plate solutions, zero points and candidates; without it there are none.
    pub sky: Option<Arc<dyn SkyStars>>,
    /// The newest that the stars say of the sky.
    pub sky_seen: watch::Sender<SkySeen>,
    /// What the last frames say to the instruments.
    pub feedback: watch::Sender<Frames>,
}

/// What frames say of the sky, each with the instant of its measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SkySeen {
    /// Full width at half maximum of the stars, taken to the zenith, arcseconds.
    pub seeing_arcsec: Option<(f64, UtcTime)>,
    /// Share of the stars' light that clouds take, 0 to 1.
    pub cloud: Option<(f64, UtcTime)>,
}

#[derive(Debug, Clone, Default)]
pub struct AnalysisSettings {
    pub channels: BTreeMap<String, ChannelOptics>,
    pub lon_deg: f64,
    /// Elements of minor planets that may be in the way.
    pub planets: Arc<[Elements]>,
    /// astrometry.net's solve-field is tried where the own solver finds nothing.
    pub second_engine: bool,
}

/// What the chain must know of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelOptics {
    pub gain_e_adu: f64,
    pub read_noise_e: f64,
    pub saturation_adu: f64,
    /// Overscan and trim; what it leaves open the headers say.
    pub layout: Layout,
    /// A mask of bad pixels, beside what the darks and flats show.
    pub bad_pixels: Option<PathBuf>,
}

/// See the module's text.
pub struct Analysis {
    ports: AnalysisPorts,
    settings: AnalysisSettings,
    libraries: BTreeMap<String, Library>,
    night: String,
    queue: VecDeque<FrameReady>,
    /// Events of which a frame has been reduced already.
    answered: BTreeSet<String>,
    /// Visits of the fields of events, for what changes between them.
    visits: BTreeMap<String, Vec<Visit>>,
    transparency: Transparency,
    busy: bool,
}

/// Visits of an event that are kept: the first ones, what fades is brightest there.
const VISITS: usize = 20;
/// Candidates of a frame that the journal names.
const TOLD: usize = 10;

/// A candidate as others are told of it.
fn told(candidate: &crate::candidates::Candidate, frame: &FrameReady) -> alidade_model::alert::Candidate {
    let mut note = format!("score {:.2}", candidate.score);
    let known = candidate.known.iter().map(|name| format!("perhaps {name}"));
    for word in known.chain(candidate.flags.iter().map(|flag| (*flag).to_owned())) {
        note.push_str(", ");
        note.push_str(&word);
    }
    alidade_model::alert::Candidate {
        ra_deg: candidate.ra,
        dec_deg: candidate.dec,
        err_arcsec: Some(candidate.ra_dec_error_arcsec),
        filter: frame.filter.clone(),
        mag: Some(candidate.mag),
        mag_err: Some(candidate.mag_error),
        exposure: frame.exposure.clone(),
        note,
    }
}

impl Analysis {
    pub fn new(ports: AnalysisPorts, settings: AnalysisSettings) -> Self {
        Self {
            ports,
            settings,
            libraries: BTreeMap::new(),
            night: String::new(),
            queue: VecDeque::new(),
            answered: BTreeSet::new(),
            visits: BTreeMap::new(),
            transparency: Transparency::default(),
            busy: false,
        }
    }

    fn job(&self, frame: &FrameReady) -> Job {
        let optics = self.settings.channels.get(&frame.channel);
        let before = frame.event.as_ref().and_then(|e| self.visits.get(e));
        Job {
            options: self.options(&frame.channel),
            read_noise_e: optics.map_or(5.0, |o| o.read_noise_e),
            layout: optics.map(|o| o.layout).unwrap_or_default(),
            mask: optics.and_then(|o| o.bad_pixels.clone()),
            data_dir: self.ports.data_dir.clone(),
            night: self.night.clone(),
            sky: self.ports.sky.clone(),
            before: before.cloned().unwrap_or_default(),
            planets: self.settings.planets.clone(),
            second_engine: self.settings.second_engine,
            frame: frame.clone(),
        }
    }

    fn next(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let Some(frame) = self.queue.pop_front() else { return };
        self.busy = true;
        let library = self.libraries.entry(frame.channel.clone()).or_default().clone();
        let job = self.job(&frame);
        let offload = self.ports.offload.clone();
        // The error circle of an alert first: what is found there is told before the whole frame is looked at.
        let first = async move {
            let searched = offload
                .run_behind(move || {
                    let (made, written) = match &library.masters {
                        Some(made) => (made.clone(), Vec::new()),
                        None => work::make_masters(&library, &job),
                    };
                    let found = work::error_box(&job, &made);
                    (made, written, found, job)
                })
                .await;
            (searched, offload)
        };
        ctx.spawn(first.into_actor(self).then(move |(searched, offload), actor, _| {
            let job = match searched {
                Ok((made, masters, found, job)) => {
                    if let Some(library) = actor.libraries.get_mut(&frame.channel) {
                        library.masters = Some(made.clone());
                    }
                    for master in masters {
                        actor.product(&frame, master, None);
                    }
                    if let Some((answer, written)) = found {
                        actor.box_searched(&frame, &answer, written);
                    }
                    Ok((job, made))
                }
                Err(lost) => Err(lost.to_string()),
            };
            let whole = async move {
                let (job, made) = job?;
                let outcome = offload.run_behind(move || work::reduce_frame(&job, &made)).await;
                outcome.map_err(|lost| lost.to_string())?
            };
            whole.into_actor(actor).map(move |outcome, actor, ctx| {
                actor.busy = false;
                actor.adopt(&frame, outcome);
                actor.next(ctx);
            })
        }));
    }

    /// What the error circle shows, before the rest of the frame.
    fn box_searched(&self, frame: &FrameReady, answer: &Answer, written: Vec<Written>) {
        for written in written {
            self.product(frame, written, Some(&frame.exposure));
        }
        let Some(event) = &frame.event else { return };
        self.candidates_found(event, frame, answer);
        let stages = BTreeMap::from([("error_box".to_owned(), self.ports.recorder.now())]);
        self.ports.recorder.record(Fact::AlertTiming {
            event: event.clone(),
            stages,
        });
    }

    fn candidates_found(&self, event: &str, frame: &FrameReady, answer: &Answer) {
        let best = answer.candidates.first();
        self.ports.recorder.record(Fact::CandidatesFound {
            event: event.to_owned(),
            exposure: frame.exposure.clone(),
            report: answer.report.clone(),
            candidates: answer.candidates.len() as u64,
            best_ra_deg: best.map(|c| c.ra),
            best_dec_deg: best.map(|c| c.dec),
            best_mag: best.map(|c| c.mag),
            found: (answer.candidates.iter().take(TOLD)).map(|c| told(c, frame)).collect(),
        });
    }

    fn options(&self, channel: &str) -> Options {
        let optics = self.settings.channels.get(channel);
        Options {
            gain_e_adu: optics.map_or(1.0, |o| o.gain_e_adu),
            saturation: optics.map_or(f64::INFINITY, |o| o.saturation_adu * 0.95),
            ..Options::default()
        }
    }

    fn failed(&self, frame: &FrameReady, cause: &str) {
        self.ports.recorder.record(Fact::Degraded {
            what: format!("reduction of {}", frame.exposure),
            cause: cause.into(),
        });
        self.ports.pipeline.do_send(FrameDone {
            exposure: frame.exposure.clone(),
            sequence: frame.sequence.clone(),
            outcome: Err(cause.into()),
        });
    }

    fn adopt(&mut self, frame: &FrameReady, outcome: Result<Reduced, String>) {
        match outcome {
            Err(cause) => self.failed(frame, &cause),
            Ok(reduced) => {
                self.feed_back(frame, &reduced);
                let paths: Vec<String> = reduced.written.iter().map(|w| w.path.clone()).collect();
                for written in reduced.written {
                    self.product(frame, written, Some(&frame.exposure));
                }
                self.ports.recorder.record(Fact::FrameReduced {
                    exposure: frame.exposure.clone(),
                    sources: reduced.sources,
                    fwhm_px: reduced.fwhm_px,
                    background: reduced.background,
                    rms: reduced.rms,
                    degradations: reduced.degradations,
                });
                self.sky_facts(frame, reduced.measured, reduced.ellipticity, reduced.alert);
                if let Some(event) = &frame.event
                    && self.answered.insert(event.clone())
                {
                    let stages = BTreeMap::from([("first_reduced".to_owned(), self.ports.recorder.now())]);
                    self.ports.recorder.record(Fact::AlertTiming {
                        event: event.clone(),
                        stages,
                    });
                }
                let outcome = Ok(Outputs { products: paths });
                self.ports.pipeline.do_send(FrameDone {
                    exposure: frame.exposure.clone(),
                    sequence: frame.sequence.clone(),
                    outcome,
                });
            }
        }
    }

    /// Publishes what the frame says to the planner and to the instruments.
    fn feed_back(&mut self, frame: &FrameReady, reduced: &Reduced) {
        let now = self.ports.recorder.now();
        let zero = reduced.measured.as_ref().and_then(|m| m.zero.as_ref());
        let cloud = zero.zip(reduced.airmass).and_then(|(zero, airmass)| {
            let told = Told {
                zero_point: zero.mag,
                scatter: zero.scatter,
                stars: zero.stars,
                airmass,
            };
            self.transparency.cloud(&frame.channel, &frame.filter, &told)
        });
        self.ports.sky_seen.send_if_modified(|sky| {
            sky.seeing_arcsec = reduced.seeing_arcsec.map(|s| (s, now)).or(sky.seeing_arcsec);
            sky.cloud = cloud.map(|c| (c, now)).or(sky.cloud);
            cloud.is_some() || reduced.seeing_arcsec.is_some()
        });
        let seen = Seen {
            exposure: frame.exposure.clone(),
            channel: frame.channel.clone(),
            filter: frame.filter.clone(),
            sequence: frame.sequence.clone(),
            started_at: frame.started_at,
            exposure_s: frame.exposure_s,
            offset_arcsec: reduced.measured.as_ref().map(|m| m.offset_east_north_arcsec),
            seeing_arcsec: reduced.seeing_arcsec,
            trailed: reduced.trailed,
            saturated: reduced.saturated,
        };
        self.ports.feedback.send_modify(|frames| {
            let from = (frames.len() + 1).saturating_sub(MEMORY);
            *frames = Arc::new(frames[from..].iter().cloned().chain([seen]).collect());
        });
    }

    /// Journals what the frame says of the sky, and keeps the visit of an event.
    fn sky_facts(
        &mut self,
        frame: &FrameReady,
        measured: Option<Measured>,
        ellipticity: Option<f64>,
        alert: Option<Answer>,
    ) {
        if let Some(measured) = measured {
            self.ports.recorder.record(Fact::FrameSolved {
                exposure: frame.exposure.clone(),
                ra_deg: measured.ra_deg,
                dec_deg: measured.dec_deg,
                offset_arcsec: measured.offset_arcsec,
                scale_arcsec: measured.solution.wcs.scale_arcsec(),
                rotation_deg: measured.solution.wcs.rotation_deg(),
                rms_arcsec: measured.solution.rms_arcsec,
                matched: measured.solution.matched as u64,
                zero_point: measured.zero.map(|z| z.mag),
                limiting_mag: measured.limiting_mag,
                ellipticity,
            });
        }
        if let (Some(event), Some(alert)) = (&frame.event, alert) {
            self.candidates_found(event, frame, &alert);
            let visits = self.visits.entry(event.clone()).or_default();
            if visits.len() < VISITS {
                visits.push(alert.visit);
            }
        }
    }

    fn product(&self, frame: &FrameReady, written: Written, exposure: Option<&str>) {
        let stem = written.path.replace('/', "-");
        self.ports.recorder.record(Fact::ProductMade {
            product: Product {
                id: stem,
                kind: written.kind,
                exposure: exposure.map(str::to_owned),
                sequence: exposure.and(frame.sequence.clone()),
                path: written.path,
                size_bytes: written.size_bytes,
                sha256: written.sha256,
                made_at: self.ports.recorder.now(),
            },
        });
    }
}

impl Actor for Analysis {
    type Context = Context<Self>;
}

impl Handler<FrameReady> for Analysis {
    type Result = ();

    fn handle(&mut self, frame: FrameReady, ctx: &mut Self::Context) {
        let night = frame.product.path.split('/').next().unwrap_or_default().to_owned();
        if night != self.night {
            self.night = night;
            self.libraries.clear();
            self.transparency.forget();
        }
        let library = self.libraries.entry(frame.channel.clone()).or_default();
        match frame.kind {
            FrameKind::Bias => library.bias_frames.push(frame.path),
            FrameKind::Dark => library.dark_frames.push(frame.path),
            FrameKind::Flat => library.flat_frames.entry(frame.filter).or_default().push(frame.path),
            FrameKind::Object => {
                // Frames of an alert do not wait behind routine ones.
                if frame.event.is_some() {
                    let first_routine = self
                        .queue
                        .iter()
                        .position(|f| f.event.is_none())
                        .unwrap_or(self.queue.len());
                    self.queue.insert(first_routine, frame);
                } else {
                    self.queue.push_back(frame);
                }
                self.next(ctx);
                return;
            }
        }
        // New calibration frames make new masters.
        library.masters = None;
    }
}
