//! The masters of the evening: what frames of a night are combined, and what a frame is given of them and of those of the
//! nights before.

use super::{Job, Library, Written, write};
use crate::{
    archive::{Fitting, Shelf},
    association::{Kind, Known, Setup, sets},
    bad_pixels::{BadPixels, Limits},
    flats,
    masters::{self, AS_THEY_ARE, Method},
    overscan::{self, Layout, TrimmedRows},
};
use alidade_fits::{FitsError, Header, Image};
use alidade_model::exposure::ProductKind;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Cards that a master takes over from the first of its frames.
const TAKEN: [&str; 14] = [
    "INSTRUME", "CHANNEL", "XBINNING", "YBINNING", "GAIN", "EGAIN", "DATE-OBS", "TIMESYS", "MJD-OBS", "TELESCOP",
    "SITENAME", "NIGHT", "FWVERS", "ORIGIN",
];

/// Masters of one channel: tonight's, and those of other nights that may stand in.
#[derive(Debug, Default)]
pub struct Made {
    shelf: Shelf,
    /// A configured mask, or why it cannot be used.
    given: Option<Result<BadPixels, String>>,
}

/// A calibration frame of the night.
struct Frame {
    path: PathBuf,
    header: Header,
    setup: Setup,
}

/// An unreadable one is one less; with none left the degradation is recorded on every frame.
fn opened(paths: &[PathBuf], layout: &Layout, filter: Option<&str>) -> Vec<Frame> {
    let one = |path: &PathBuf| {
        let rows = TrimmedRows::open(path, layout).ok()?;
        Some(Frame {
            path: path.clone(),
            setup: Setup {
                filter: filter.map(str::to_owned),
                ..Setup::of(rows.header(), (rows.width(), rows.height()))
            },
            header: rows.header().clone(),
        })
    };
    paths.iter().filter_map(one).collect()
}

/// Combines the frames of the evening; every master, and the mask of bad pixels, is also written.
pub fn make_masters(library: &Library, job: &Job) -> (Arc<Made>, Vec<Written>) {
    let frame_mjd = job.frame.started_at.julian_date() - 2_400_000.5;
    let mut desk = Desk {
        job,
        frame_mjd,
        shelf: Shelf::open(&job.data_dir, Some(frame_mjd)),
        given: job
            .mask
            .as_ref()
            .map(|path| read_mask(path).map_err(|cause| format!("{}: {cause}", path.display()))),
        written: Vec::new(),
        names: BTreeSet::new(),
        made: Vec::new(),
    };
    let layout = &job.layout;
    desk.combine(Kind::Bias, &opened(&library.bias_frames, layout, None));
    desk.combine(Kind::Dark, &opened(&library.dark_frames, layout, None));
    for (filter, paths) in &library.flat_frames {
        desk.combine(Kind::Flat, &opened(paths, layout, Some(filter)));
    }
    desk.masks();
    let made = Made {
        shelf: desk.shelf,
        given: desk.given,
    };
    (Arc::new(made), desk.written)
}

/// A mask of a file.
fn read_mask(path: &Path) -> Result<BadPixels, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let (_, image) = alidade_fits::read(&bytes).map_err(|e| e.to_string())?;
    Ok(BadPixels::of_image(&image))
}

struct Desk<'a> {
    job: &'a Job,
    /// Modified Julian date of the frame that needs the masters.
    frame_mjd: f64,
    shelf: Shelf,
    given: Option<Result<BadPixels, String>>,
    written: Vec<Written>,
    names: BTreeSet<String>,
    /// Darks and flats of tonight.
    made: Vec<(Kind, Setup)>,
}

impl Desk<'_> {
    /// One master for every set of frames that belong together.
    fn combine(&mut self, kind: Kind, frames: &[Frame]) {
        let setups: Vec<Setup> = frames.iter().map(|f| f.setup.clone()).collect();
        for set in sets(kind, &setups) {
            let own: Vec<&Frame> = set.iter().map(|n| &frames[*n]).collect();
            let setup = together(&own, self.frame_mjd);
            let bias = self.shelf.master(Kind::Bias, &setup, None);
            if let Some(image) = combined(kind, &own, &self.job.layout, bias.as_deref()) {
                self.keep(kind, &own, setup, image, bias.is_some());
            }
        }
    }

    fn keep(&mut self, kind: Kind, frames: &[&Frame], setup: Setup, image: Image, bias_off: bool) {
        let mut header = Header::new();
        header.text("IMAGETYP", kind.name(), "kind of frame");
        header.number("NCOMBINE", frames.len(), "frames combined");
        for key in TAKEN {
            header.take(&frames[0].header, key);
        }
        if frames[0].setup.mjd.is_none() {
            header.number(
                "MJD-OBS",
                format!("{:.8}", self.frame_mjd),
                "[d] of a frame of the night",
            );
        }
        if let Some(filter) = &setup.filter {
            header.text("FILTER", filter, "");
        }
        if let Some(celsius) = setup.temperature_c {
            header.number("CCD-TEMP", format!("{celsius:.2}"), "[degC] detector, mean");
        }
        if kind != Kind::Bias {
            header.number("BIASSUB", if bias_off { "T" } else { "F" }, "free of bias");
        }
        if kind == Kind::Dark {
            header.number("EXPTIME", 1, "[s] a rate per second");
        }
        let path = self.file(kind, &setup, alidade_fits::write_f32(&header, &image));
        let master = Known {
            kind,
            setup: setup.clone(),
            path,
        };
        self.shelf.put(master, image);
        if kind != Kind::Bias {
            self.made.push((kind, setup));
        }
    }

    /// Writes a master under a name of its own; its place, also where it cannot be written.
    fn file(&mut self, kind: Kind, setup: &Setup, bytes: Result<Vec<u8>, FitsError>) -> PathBuf {
        let (stem, product) = match kind {
            Kind::Bias => ("master-bias".to_owned(), ProductKind::MasterBias),
            Kind::Dark => ("master-dark".to_owned(), ProductKind::MasterDark),
            Kind::Mask => ("bad-pixels".to_owned(), ProductKind::MasterDark),
            Kind::Flat => {
                let filter = setup.filter.as_deref().unwrap_or("none");
                (format!("master-flat-{filter}"), ProductKind::MasterFlat)
            }
        };
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "._+-".contains(c) {
                c
            } else {
                '-'
            }
        };
        let binning = match setup.binning {
            (1, 1) => String::new(),
            (x, y) => format!("-{x}x{y}"),
        };
        let stem: String = format!("{}-{stem}{binning}", self.job.frame.channel)
            .chars()
            .map(plain)
            .collect();
        let number = (1..).map(|n| if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
        let name = number
            .into_iter()
            .find(|name| !self.names.contains(name))
            .unwrap_or(stem.clone());
        self.names.insert(name.clone());
        let path = format!("{}/masters/{name}.fits", self.job.night);
        let place = self.job.data_dir.join(&path);
        let file = bytes.map_err(|e| e.to_string());
        let written = file.and_then(|bytes| write(&self.job.data_dir, path, product, &bytes));
        self.written.extend(written.ok());
        place
    }

    /// A mask for every detector, binning and gain of which there is a dark or a flat of tonight.
    fn masks(&mut self) {
        let mut left = std::mem::take(&mut self.made);
        while let Some((_, setup)) = left.first().cloned() {
            let (own, rest) = left
                .into_iter()
                .partition(|(_, s): &(Kind, Setup)| s.combines_with(&setup, Kind::Mask));
            left = rest;
            let of = |wanted: Kind| own.iter().filter(move |(kind, _)| *kind == wanted);
            let responses: Vec<Arc<Image>> = of(Kind::Flat)
                .filter_map(|(_, s)| self.shelf.master(Kind::Flat, s, None))
                .collect();
            let responses: Vec<&Image> = responses.iter().map(AsRef::as_ref).collect();
            // One of another night shows the hot pixels as well.
            let dark = self.shelf.master(Kind::Dark, &setup, None);
            let Some(mut mask) = BadPixels::find(dark.as_deref(), &responses, &Limits::default()) else {
                continue;
            };
            if let Some(Ok(given)) = &self.given {
                mask.add(given);
            }
            let setup = Setup { filter: None, ..setup };
            let mut header = Header::new();
            for key in ["INSTRUME", "CHANNEL"] {
                let value = if key == "CHANNEL" {
                    &setup.channel
                } else {
                    &setup.instrument
                };
                if let Some(value) = value {
                    header.text(key, value, "");
                }
            }
            header.number("XBINNING", setup.binning.0, "");
            header.number("YBINNING", setup.binning.1, "");
            if let Some(gain) = setup.gain {
                header.number("GAIN", gain, "");
            }
            if let Some(mjd) = setup.mjd {
                header.number("MJD-OBS", format!("{mjd:.8}"), "[d] of the first frame");
            }
            let path = self.file(Kind::Mask, &setup, mask.bytes(&header));
            let kind = Kind::Mask;
            self.shelf.put_mask(Known { kind, setup, path }, mask);
        }
    }
}

/// What the frames of a set share; the temperature is their mean. Frames that do not tell their time are of tonight.
fn together(frames: &[&Frame], tonight_mjd: f64) -> Setup {
    let celsius: Vec<f64> = frames.iter().filter_map(|f| f.setup.temperature_c).collect();
    Setup {
        temperature_c: (!celsius.is_empty()).then(|| celsius.iter().sum::<f64>() / celsius.len() as f64),
        mjd: frames[0].setup.mjd.or(Some(tonight_mjd)),
        ..frames[0].setup.clone()
    }
}

/// The master of a set; a dark in units per second, which there is none without a bias, a flat of mean 1.
fn combined(kind: Kind, frames: &[&Frame], layout: &Layout, bias: Option<&Image>) -> Option<Image> {
    let seconds = |header: &Header| header.get_f64("EXPTIME").filter(|s| *s > 0.0);
    let of = |frames: &[&Frame]| frames.iter().map(|f| f.path.clone()).collect::<Vec<PathBuf>>();
    let made = match kind {
        Kind::Bias => masters::combine_files(&of(frames), Method::Clipped, layout, AS_THEY_ARE),
        Kind::Dark => {
            let bias = bias?;
            let timed: Vec<&Frame> = frames
                .iter()
                .copied()
                .filter(|f| seconds(&f.header).is_some())
                .collect();
            masters::combine_files(&of(&timed), Method::Clipped, layout, &|_, header, from, pixels| {
                let rate = 1.0 / seconds(header).unwrap_or(1.0) as f32;
                let own = &bias.pixels[from..];
                pixels.iter_mut().zip(own).for_each(|(p, b)| *p = (*p - b) * rate);
            })
        }
        Kind::Flat => return flats::master(&of(frames), layout, bias).ok(),
        Kind::Mask => return None,
    };
    Some(made.ok()?.1)
}

impl Made {
    /// What a frame of this header and size, overscan included, is calibrated with; why a configured mask is not.
    pub fn fit(&self, header: &Header, size: (usize, usize), job: &Job) -> (Fitting, Option<String>) {
        let trimmed = overscan::place(header, size.0, size.1, &job.layout)
            .map_or(size, |(placed, _)| (placed.trim.width(), placed.trim.height()));
        let told = Setup::of(header, trimmed);
        let setup = Setup {
            filter: Some(job.frame.filter.clone()).filter(|f| !f.is_empty()).or(told.filter),
            mjd: told.mjd.or(Some(job.frame.started_at.julian_date() - 2_400_000.5)),
            ..told
        };
        let mut fitting = self.shelf.fit(&setup, &Kind::ALL, None);
        let mut missing = None;
        match &self.given {
            None => {}
            Some(Err(cause)) => missing = Some(cause.clone()),
            Some(Ok(given)) if (given.width, given.height) != trimmed => {
                missing = Some(format!(
                    "the configured one is {} x {}, the frame {} x {}",
                    given.width, given.height, trimmed.0, trimmed.1
                ));
            }
            Some(Ok(given)) => {
                let mut all = fitting.mask.as_deref().cloned().unwrap_or_else(|| given.clone());
                all.add(given);
                fitting.mask = Some(Arc::new(all));
            }
        }
        (fitting, missing)
    }
}
