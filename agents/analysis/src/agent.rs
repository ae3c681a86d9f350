//! The shell: keeps the calibration frames of the night, makes masters of them, reduces every frame.
//!
//! ```text
//! bias, dark, flat --> kept by channel --+
//!                                        v  (once, when the first object frame comes)
//! object ------------> queue --> masters --> reduce --> calibrated + catalogue + preview
//!                       ^ alert frames first
//! ```

use crate::{
    astrometry::SkyStars,
    calibrate::{self, Masters},
    candidates::{self, Candidate, Field, Visit},
    circular::{self, Observation},
    cosmics::CosmicOptions,
    extract::Options,
    masters,
    measure::{Measured, zenith_seeing},
    preview,
    reduce::{Reduction, Wanted, reduce},
};
use actix::prelude::*;
use alidade_fits::{Header, Image};
use alidade_model::{
    exposure::{FrameKind, Product, ProductKind},
    journal::{Fact, Recorder},
    offload::Offload,
    time::UtcTime,
};
use alidade_observation::messages::FrameReady;
use alidade_pipeline::messages::{FrameDone, Outputs};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    path::{Path, PathBuf},
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
    /// The newest seeing that was measured.
    pub seeing: watch::Sender<Option<Seeing>>,
}

/// The width of stars, taken to the zenith.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seeing {
    /// Full width at half maximum, arcseconds.
    pub arcsec: f64,
    pub measured_at: UtcTime,
}

#[derive(Debug, Clone, Default)]
pub struct AnalysisSettings {
    pub channels: BTreeMap<String, ChannelOptics>,
    pub lon_deg: f64,
}

/// What the chain must know of a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelOptics {
    pub gain_e_adu: f64,
    pub read_noise_e: f64,
    pub saturation_adu: f64,
}

/// The calibration frames of one channel, and the masters made of them.
#[derive(Debug, Clone, Default)]
struct Library {
    bias_frames: Vec<PathBuf>,
    dark_frames: Vec<PathBuf>,
    flat_frames: BTreeMap<String, Vec<PathBuf>>,
    masters: Option<Arc<Made>>,
}

/// Masters of one channel.
#[derive(Debug, Default)]
struct Made {
    bias: Option<Image>,
    dark_rate: Option<Image>,
    flats: BTreeMap<String, Image>,
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
    busy: bool,
}

/// Visits of an event that are kept: the first ones, what fades is brightest there.
const VISITS: usize = 20;
/// A zero point that candidates are judged by: largest scatter, and least number of stars.
const MOST_SCATTER_MAG: f64 = 0.3;
const LEAST_CALIBRATORS: usize = 4;
/// Candidates of a frame that get a cut-out.
const CUTOUTS: usize = 5;

/// A written file.
struct Written {
    kind: ProductKind,
    path: String,
    size_bytes: u64,
    sha256: String,
}

/// What became of one frame, from the worker.
struct Reduced {
    written: Vec<Written>,
    sources: u64,
    fwhm_px: Option<f64>,
    background: f64,
    rms: f64,
    degradations: Vec<String>,
    measured: Option<Measured>,
    ellipticity: Option<f64>,
    /// At the zenith, arcseconds; of frames that were solved and not trailed.
    seeing_arcsec: Option<f64>,
    alert: Option<Answer>,
}

/// What the frame of an alert shows.
/// Candidates of a frame that the journal names.
const TOLD: usize = 10;

/// A candidate as others are told of it.
fn told(candidate: &Candidate, frame: &FrameReady) -> alidade_model::alert::Candidate {
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

struct Answer {
    report: String,
    candidates: Vec<Candidate>,
    visit: Visit,
}

/// All a worker needs for one frame.
struct Job {
    frame: FrameReady,
    options: Options,
    read_noise_e: f64,
    data_dir: PathBuf,
    night: String,
    sky: Option<Arc<dyn SkyStars>>,
    before: Vec<Visit>,
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
            busy: false,
        }
    }

    fn next(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let Some(frame) = self.queue.pop_front() else { return };
        self.busy = true;
        let library = self.libraries.entry(frame.channel.clone()).or_default();
        let (made, frames) = (library.masters.clone(), library.clone());
        let optics = self.settings.channels.get(&frame.channel);
        let job = Job {
            options: self.options(&frame.channel),
            read_noise_e: optics.map_or(5.0, |o| o.read_noise_e),
            data_dir: self.ports.data_dir.clone(),
            night: self.night.clone(),
            sky: self.ports.sky.clone(),
            before: frame
                .event
                .as_ref()
                .and_then(|e| self.visits.get(e))
                .cloned()
                .unwrap_or_default(),
            frame: frame.clone(),
        };
        let offload = self.ports.offload.clone();
        let work = async move {
            offload
                .run(move || {
                    let (made, written) = match made {
                        Some(made) => (made, Vec::new()),
                        None => make_masters(&frames, &job.frame.channel, &job.data_dir, &job.night),
                    };
                    let outcome = reduce_frame(&job, &made);
                    (made, written, outcome)
                })
                .await
        };
        ctx.spawn(work.into_actor(self).map(move |outcome, actor, ctx| {
            actor.busy = false;
            match outcome {
                Ok((made, masters, outcome)) => {
                    if let Some(library) = actor.libraries.get_mut(&frame.channel) {
                        library.masters = Some(made);
                    }
                    actor.adopt(&frame, masters, outcome);
                }
                Err(lost) => actor.failed(&frame, &lost.to_string()),
            }
            actor.next(ctx);
        }));
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

    fn adopt(&mut self, frame: &FrameReady, masters: Vec<Written>, outcome: Result<Reduced, String>) {
        for master in masters {
            self.product(frame, master, None);
        }
        match outcome {
            Err(cause) => self.failed(frame, &cause),
            Ok(reduced) => {
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
                if let Some(arcsec) = reduced.seeing_arcsec {
                    let measured_at = self.ports.recorder.now();
                    self.ports.seeing.send_replace(Some(Seeing { arcsec, measured_at }));
                }
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
            let best = alert.candidates.first();
            self.ports.recorder.record(Fact::CandidatesFound {
                event: event.clone(),
                exposure: frame.exposure.clone(),
                report: alert.report,
                candidates: alert.candidates.len() as u64,
                best_ra_deg: best.map(|c| c.ra),
                best_dec_deg: best.map(|c| c.dec),
                best_mag: best.map(|c| c.mag),
                found: (alert.candidates.iter().take(TOLD)).map(|c| told(c, frame)).collect(),
            });
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

fn load(paths: &[PathBuf]) -> Vec<Image> {
    // An unreadable calibration frame is one less; with none left the degradation is recorded on every frame.
    paths
        .iter()
        .filter_map(|path| Some(alidade_fits::read(&std::fs::read(path).ok()?).ok()?.1))
        .collect()
}

/// Writes beside the place and renames; size and SHA-256.
fn write(data_dir: &Path, relative: String, kind: ProductKind, bytes: &[u8]) -> Result<Written, String> {
    let path = data_dir.join(&relative);
    let partial = path.with_extension("partial");
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&partial, bytes))
        .and_then(|()| std::fs::rename(&partial, &path));
    written.map_err(|e| format!("{}: {e}", path.display()))?;
    let mut sha256 = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(sha256, "{byte:02x}").map_err(|e| e.to_string())?;
    }
    Ok(Written {
        kind,
        path: relative,
        size_bytes: bytes.len() as u64,
        sha256,
    })
}

/// Combines the frames of the evening; every master is also written.
fn make_masters(library: &Library, channel: &str, data_dir: &Path, night: &str) -> (Arc<Made>, Vec<Written>) {
    let mut written = Vec::new();
    let mut keep = |name: String, kind: ProductKind, image: &Image| {
        let mut header = Header::new();
        header.text("CHANNEL", channel, "instrument channel");
        header.text("IMAGETYP", &name, "kind of frame");
        if kind == ProductKind::MasterDark {
            header.number("EXPTIME", 1, "[s] a rate per second");
            header.number("BIASSUB", "T", "free of bias");
        }
        let file = alidade_fits::write_f32(&header, image).map_err(|e| e.to_string());
        let path = format!("{night}/masters/{channel}-{}.fits", name.replace(' ', "-"));
        written.extend(file.and_then(|bytes| write(data_dir, path, kind, &bytes)).ok());
    };
    let bias = master(&library.bias_frames, &|_, _, _| {});
    if let Some(bias) = &bias {
        keep("master bias".into(), ProductKind::MasterBias, bias);
    }
    let dark_rate = dark_rate(&library.dark_frames, bias.as_ref());
    if let Some(dark) = &dark_rate {
        keep("master dark".into(), ProductKind::MasterDark, dark);
    }
    let mut flats = BTreeMap::new();
    for (filter, paths) in &library.flat_frames {
        if let Some(flat) = calibrate::flat(&load(paths), bias.as_ref()) {
            keep(format!("master flat {filter}"), ProductKind::MasterFlat, &flat);
            flats.insert(filter.clone(), flat);
        }
    }
    (Arc::new(Made { bias, dark_rate, flats }), written)
}

/// A master of the frames that can be read; with none the degradation is recorded on every frame.
fn master(paths: &[PathBuf], prepare: &dyn Fn(&Header, usize, &mut [f32])) -> Option<Image> {
    let readable: Vec<PathBuf> = paths
        .iter()
        .filter(|p| alidade_fits::Rows::open(p).is_ok())
        .cloned()
        .collect();
    Some(
        masters::combine_files(&readable, masters::Method::Clipped, prepare)
            .ok()?
            .1,
    )
}

/// Dark current in units per second: bias off, divided by the exposure time, combined.
fn dark_rate(paths: &[PathBuf], bias: Option<&Image>) -> Option<Image> {
    let bias = bias?;
    let seconds = |header: &Header| header.get_f64("EXPTIME").filter(|s| *s > 0.0);
    let fitting: Vec<PathBuf> = paths
        .iter()
        .filter(|path| {
            alidade_fits::Rows::open(path).is_ok_and(|rows| {
                (rows.width, rows.height) == (bias.width, bias.height) && seconds(&rows.header).is_some()
            })
        })
        .cloned()
        .collect();
    master(&fitting, &|header, from, pixels| {
        let rate = 1.0 / seconds(header).unwrap_or(1.0) as f32;
        pixels
            .iter_mut()
            .zip(&bias.pixels[from..])
            .for_each(|(p, b)| *p = (*p - b) * rate);
    })
}

fn reduce_frame(job: &Job, made: &Made) -> Result<Reduced, String> {
    let (frame, data_dir, night) = (&job.frame, &job.data_dir, &job.night);
    let raw = std::fs::read(&frame.path).map_err(|e| format!("{}: {e}", frame.path.display()))?;
    let masters = Masters {
        bias: made.bias.as_ref(),
        dark_rate: made.dark_rate.as_ref(),
        flat: made.flats.get(&frame.filter),
    };
    // A cosmic ray would be a candidate.
    let cosmics = frame.event.as_ref().map(|_| CosmicOptions {
        gain_e_adu: job.options.gain_e_adu as f32,
        read_noise_e: job.read_noise_e as f32,
        saturation_e: (job.options.saturation * job.options.gain_e_adu) as f32,
        ..CosmicOptions::default()
    });
    let wanted = Wanted {
        sky: job.sky.as_deref(),
        cosmics,
    };
    let reduction: Reduction = reduce(&raw, masters, &job.options, &wanted).map_err(|e| e.to_string())?;
    let calibrated = alidade_fits::write_i16(&reduction.header, &reduction.image).map_err(|e| e.to_string())?;
    let measured = reduction.measured.as_ref().and_then(|m| m.as_ref().ok());
    let catalogue = serde_json::to_vec(&serde_json::json!({
        "exposure": frame.exposure,
        "sequence": frame.sequence,
        "background_adu": reduction.background,
        "rms_adu": reduction.rms,
        "fwhm_px": reduction.fwhm_px,
        "degradations": reduction.degradations,
        "measured": measured,
        "sources": reduction.sources,
    }))
    .map_err(|e| e.to_string())?;
    let at = |folder: &str, extension: &str| format!("{night}/{folder}/{}.{extension}", frame.exposure);
    let mut written = vec![
        write(data_dir, at("calibrated", "fits"), ProductKind::Calibrated, &calibrated)?,
        write(data_dir, at("catalogues", "json"), ProductKind::Catalogue, &catalogue)?,
        write(
            data_dir,
            at("previews", "png"),
            ProductKind::Preview,
            &reduction.preview_png,
        )?,
    ];
    let alert = match (&frame.event, measured) {
        (Some(event), Some(measured)) => answer(job, event, &reduction, measured, &mut written)?,
        _ => None,
    };
    let mut degradations: Vec<String> = reduction.degradations.iter().map(ToString::to_string).collect();
    if let Some(Err(cause)) = &reduction.measured {
        degradations.push(format!("no plate solution: {cause}"));
    }
    if let Some((ellipticity, true)) = reduction.trailing {
        degradations.push(format!("the stars are trails (ellipticity {ellipticity:.2})"));
    }
    let airmass = reduction.header.get_f64("AIRMASS").filter(|a| (1.0..40.0).contains(a));
    let round = reduction.trailing.is_none_or(|(_, trails)| !trails);
    let seeing_arcsec = measured
        .filter(|_| round)
        .zip(reduction.fwhm_px)
        .zip(airmass)
        .map(|((m, fwhm_px), airmass)| zenith_seeing(fwhm_px * m.solution.wcs.scale_arcsec(), airmass));
    Ok(Reduced {
        seeing_arcsec,
        measured: measured.cloned(),
        ellipticity: reduction.trailing.map(|t| t.0),
        alert,
        written,
        sources: reduction.sources.len() as u64,
        fwhm_px: reduction.fwhm_px,
        background: f64::from(reduction.background),
        rms: f64::from(reduction.rms),
        degradations,
    })
}

/// Searches the frame of an alert for what is new; writes the report and the cut-outs. `None` where it has no zero
/// point.
fn answer(
    job: &Job,
    event: &str,
    reduction: &Reduction,
    measured: &Measured,
    written: &mut Vec<Written>,
) -> Result<Option<Answer>, String> {
    let (Some(sky), Some(zero), Some(fwhm_px)) = (&job.sky, &measured.zero, reduction.fwhm_px) else {
        return Ok(None);
    };
    // Without a sound zero point every star would be news.
    if zero.scatter > MOST_SCATTER_MAG || zero.stars < LEAST_CALIBRATORS {
        return Ok(None);
    }
    let exposure_s = reduction.header.get_f64("EXPTIME").filter(|s| *s > 0.0).unwrap_or(1.0);
    let wcs = &measured.solution.wcs;
    let ((ra, dec), radius) = wcs.circle(reduction.image.width, reduction.image.height);
    let stars = sky.cone(ra, dec, radius)?;
    let field = Field {
        sources: &reduction.sources,
        wcs,
        rms_arcsec: measured.solution.rms_arcsec,
        zero,
        exposure_s,
        fwhm_px,
    };
    let filter = &job.frame.filter;
    let candidates = candidates::search(&field, None, &stars, sky.depth(), &job.before, filter, &[]);
    let stem = format!("{}/alerts/{}", job.night, job.frame.exposure);
    let mut pictures = Vec::new();
    for (number, candidate) in candidates.iter().take(CUTOUTS).enumerate() {
        let picture = preview::cutout(&reduction.flat_sky, reduction.rms, (candidate.x, candidate.y));
        let bytes = picture.map_err(|e| e.to_string())?;
        let path = format!("{stem}-{}.png", number + 1);
        pictures.push(path.clone());
        written.push(write(&job.data_dir, path, ProductKind::Preview, &bytes)?);
    }
    let report = serde_json::to_vec_pretty(&serde_json::json!({
        "event": event,
        "exposure": job.frame.exposure,
        "obs_date": reduction.header.get("DATE-OBS"),
        "exposure_s": exposure_s,
        "filter": filter,
        "catalogue": { "name": sky.name(), "depth_mag": sky.depth() },
        "measured": measured,
        "limiting_mag": measured.limiting_mag,
        "limiting_mag_sigma": 5,
        "visits_before": job.before.len(),
        "candidates": candidates,
        "cutouts": pictures,
    }))
    .map_err(|e| e.to_string())?;
    let text = |key: &str| reduction.header.get(key).unwrap_or_default();
    let circular = circular::draft(
        &Observation {
            event,
            telescope: &text("TELESCOP"),
            site: &text("SITENAME"),
            start: &text("DATE-OBS"),
            exposure_s,
            filter,
            catalogue: &sky.name(),
            limiting_mag: measured.limiting_mag,
            centre: (measured.ra_deg, measured.dec_deg),
        },
        &candidates,
    );
    let draft = format!("{stem}-circular.txt");
    written.push(write(&job.data_dir, draft, ProductKind::Report, circular.as_bytes())?);
    let path = format!("{stem}.json");
    written.push(write(&job.data_dir, path.clone(), ProductKind::Report, &report)?);
    Ok(Some(Answer {
        report: path,
        visit: field.visit(filter),
        candidates,
    }))
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
