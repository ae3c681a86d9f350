//! Masters on disk, those of tonight and of the nights before, and which of them a frame gets.
//!
//! A folder of masters is laid out as the data folder is: `NIGHT/masters/*.fits`, or `masters/*.fits`, or the files
//! themselves. What a master is of its header says ([`association`]).

use crate::{
    association::{self, Choice, Kind, Known, Nothing, Setup, Tolerance},
    bad_pixels::BadPixels,
    calibrate::{Degradation, Masters},
    flats, levels,
};
use alidade_fits::{Header, Image, Rows};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Names of image files end so.
const ENDINGS: [&str; 4] = ["fits", "fit", "fts", "fz"];
/// Days beyond the oldest master that is ever used: a night's name is the date of its evening.
const MARGIN_DAYS: f64 = 2.0;

/// The masters below a folder. With `frame_mjd` nights are left out whose masters would all be too old, or too young, for a
/// frame of then. What cannot be read is no master.
pub fn scan(folder: &Path, frame_mjd: Option<f64>) -> Vec<Known> {
    let reach = Kind::ALL
        .map(|k| Tolerance::of(k).most_days)
        .into_iter()
        .fold(0.0, f64::max)
        + MARGIN_DAYS;
    let near = |name: &str| match (frame_mjd, association::mjd_of(name)) {
        (Some(frame), Some(night)) => (frame - night).abs() <= reach,
        _ => true,
    };
    let mut folders = vec![folder.to_owned(), folder.join("masters")];
    let nights = entries(folder).into_iter().filter(|p| p.is_dir());
    folders.extend(
        nights
            .filter(|p| near(&p.file_name().unwrap_or_default().to_string_lossy()))
            .map(|p| p.join("masters")),
    );
    let files = folders.iter().flat_map(|f| entries(f));
    files.filter_map(|path| known(&path)).collect()
}

/// What is in a folder, in the order of the names; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    found.sort();
    found
}

/// A file as a master; `None` of what is none.
fn known(path: &Path) -> Option<Known> {
    let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
    if !ENDINGS.contains(&ending.as_str()) || !path.is_file() {
        return None;
    }
    let rows = Rows::open(path).ok()?;
    Some(Known {
        kind: Kind::of(&rows.header)?,
        setup: Setup::of(&rows.header, (rows.width, rows.height)),
        path: path.to_owned(),
    })
}

/// Takes the bias off a dark that holds it: by BIASSUB or, without it, told by the level, at least half the bias's.
pub fn free_dark(header: &Header, dark: &mut Image, bias: Option<&Image>) -> bool {
    let holds = match header.get("BIASSUB").as_deref() {
        Some("T") => false,
        Some(_) => true,
        None => bias.is_some_and(|b| levels::median(&dark.pixels) > 0.5 * levels::median(&b.pixels)),
    };
    holds && less(dark, bias)
}

/// The same for a flat: without BIASSUB one of more than 50 units holds its bias.
pub fn free_flat(header: &Header, flat: &mut Image, bias: Option<&Image>) -> bool {
    let holds = header.get("BIASSUB").as_deref() != Some("T") && levels::median(&flat.pixels) > 50.0;
    holds && less(flat, bias)
}

/// Takes a bias of the same size off.
fn less(image: &mut Image, bias: Option<&Image>) -> bool {
    let Some(bias) = bias.filter(|b| (b.width, b.height) == (image.width, image.height)) else {
        return false;
    };
    image.pixels.iter_mut().zip(&bias.pixels).for_each(|(p, b)| *p -= b);
    true
}

/// Seconds of exposure that a header tells.
pub fn exposure(header: &Header) -> Option<f64> {
    ["EXPTIME", "EXPOSURE"]
        .iter()
        .find_map(|k| header.get_f64(k))
        .filter(|s| *s > 0.0)
}

/// A master that is in memory.
#[derive(Debug, Clone)]
enum Loaded {
    Image(Arc<Image>),
    Mask(Arc<BadPixels>),
}

/// A master that a frame got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    pub kind: Kind,
    /// Below the folder of the masters.
    pub file: String,
    pub age_days: Option<f64>,
    pub off_degrees: Option<f64>,
    pub doubts: Vec<String>,
}

/// What one frame is calibrated with.
#[derive(Debug, Clone, Default)]
pub struct Fitting {
    pub bias: Option<Arc<Image>>,
    /// Without bias, in units per second.
    pub dark_rate: Option<Arc<Image>>,
    /// Of mean 1.
    pub flat: Option<Arc<Image>>,
    pub mask: Option<Arc<BadPixels>>,
    pub used: Vec<Used>,
    /// Why there is no master of a kind.
    pub missing: Vec<String>,
}

impl Fitting {
    pub fn masters(&self) -> Masters<'_> {
        Masters {
            bias: self.bias.as_deref(),
            dark_rate: self.dark_rate.as_deref(),
            flat: self.flat.as_deref(),
        }
    }

    /// What is not as it should be with the masters that are used.
    pub fn degradations(&self) -> Vec<Degradation> {
        let of = |used: &Used| {
            let master = format!("{} ({})", used.kind.name(), used.file);
            used.doubts
                .iter()
                .map(move |cause| Degradation::Doubtful {
                    master: master.clone(),
                    cause: cause.clone(),
                })
                .collect::<Vec<_>>()
        };
        self.used.iter().flat_map(of).collect()
    }

    /// Says in a header which masters were used, and what is not as it should be with them.
    pub fn record(&self, header: &mut Header) {
        self.record_files(header);
        for degradation in self.degradations() {
            header.history(&format!("degraded: {degradation}"));
        }
        for missing in &self.missing {
            header.history(missing);
        }
    }

    /// Says in a header which masters were used.
    pub fn record_files(&self, header: &mut Header) {
        for used in &self.used {
            let key = used.kind.keyword();
            // The end of a long path tells more than its beginning.
            let from = used.file.char_indices().rev().nth(65).map_or(0, |(at, _)| at);
            header.text(&format!("{key}FILE"), &used.file[from..], used.kind.name());
            if let Some(days) = used.age_days {
                header.number(&format!("{key}AGE"), format!("{days:.2}"), "[d] from the frame");
            }
            if let Some(off) = used.off_degrees {
                header.number(
                    &format!("{key}TOFF"),
                    format!("{off:.2}"),
                    "[degC] warmer than the frame",
                );
            }
        }
    }
}

/// Masters that are known, and those of them that were needed, in memory.
#[derive(Debug, Default)]
pub struct Shelf {
    folder: PathBuf,
    known: Vec<Known>,
    loaded: Mutex<BTreeMap<PathBuf, Loaded>>,
    /// Files that could not be used after all.
    spoilt: Mutex<BTreeSet<PathBuf>>,
}

impl Shelf {
    /// The masters below `folder`, for frames of about then.
    pub fn open(folder: &Path, frame_mjd: Option<f64>) -> Self {
        Self {
            folder: folder.to_owned(),
            known: scan(folder, frame_mjd),
            ..Self::default()
        }
    }

    /// Puts a master there that has just been made: it is not read again. A file of the same name is replaced by it.
    pub fn put(&mut self, master: Known, image: Image) {
        self.keep(master, Loaded::Image(Arc::new(image)));
    }

    /// The same with a mask.
    pub fn put_mask(&mut self, master: Known, mask: BadPixels) {
        self.keep(master, Loaded::Mask(Arc::new(mask)));
    }

    fn keep(&mut self, master: Known, loaded: Loaded) {
        self.known.retain(|k| k.path != master.path);
        if let Ok(mut all) = self.loaded.lock() {
            all.insert(master.path.clone(), loaded);
        }
        self.known.push(master);
    }

    /// The best of a kind that can be read, with what it is used as.
    fn get(&self, kind: Kind, frame: &Setup, bias: Option<&Image>) -> Result<(Loaded, Used), Nothing> {
        let tolerance = Tolerance::of(kind);
        loop {
            let spoilt = self.spoilt.lock().map(|s| s.clone()).unwrap_or_default();
            let kept: Vec<Known>;
            let known = if spoilt.is_empty() {
                &self.known
            } else {
                kept = self
                    .known
                    .iter()
                    .filter(|k| !spoilt.contains(&k.path))
                    .cloned()
                    .collect();
                &kept
            };
            let choice = association::choose(kind, frame, known, &tolerance)?;
            match self.load(&choice, bias) {
                Some(loaded) => return Ok((loaded, self.used(&choice))),
                None => {
                    let Ok(mut spoilt) = self.spoilt.lock() else {
                        return Err(Nothing::default());
                    };
                    spoilt.insert(choice.master.path.clone());
                }
            }
        }
    }

    fn used(&self, choice: &Choice<'_>) -> Used {
        let path = &choice.master.path;
        let below = path.strip_prefix(&self.folder).unwrap_or(path);
        Used {
            kind: choice.master.kind,
            file: below.display().to_string(),
            age_days: choice.age_days,
            off_degrees: choice.off_degrees,
            doubts: choice.doubts.iter().map(ToString::to_string).collect(),
        }
    }

    fn load(&self, choice: &Choice<'_>, bias: Option<&Image>) -> Option<Loaded> {
        let path = &choice.master.path;
        if let Some(known) = self.loaded.lock().ok()?.get(path) {
            return Some(known.clone());
        }
        let (header, mut image) = alidade_fits::read(&std::fs::read(path).ok()?).ok()?;
        if !image.pixels.iter().any(|p| p.is_finite()) {
            return None;
        }
        let loaded = match choice.master.kind {
            Kind::Bias => Loaded::Image(Arc::new(image)),
            Kind::Dark => {
                free_dark(&header, &mut image, bias);
                let rate = 1.0 / exposure(&header)? as f32;
                image.pixels.iter_mut().for_each(|p| *p *= rate);
                Loaded::Image(Arc::new(image))
            }
            Kind::Flat => {
                free_flat(&header, &mut image, bias);
                flats::to_mean_one(&mut image).then_some(())?;
                Loaded::Image(Arc::new(image))
            }
            Kind::Mask => Loaded::Mask(Arc::new(BadPixels::of_image(&image))),
        };
        self.loaded.lock().ok()?.insert(path.clone(), loaded.clone());
        Some(loaded)
    }

    /// One master.
    pub fn master(&self, kind: Kind, frame: &Setup, bias: Option<&Image>) -> Option<Arc<Image>> {
        match self.get(kind, frame, bias) {
            Ok((Loaded::Image(image), _)) => Some(image),
            _ => None,
        }
    }

    /// The masters of a frame, of the kinds that are wanted; a dark or flat that still holds its bias loses it by the one
    /// that fits, or by `bias`.
    pub fn fit(&self, frame: &Setup, kinds: &[Kind], bias: Option<&Image>) -> Fitting {
        let mut fitting = Fitting::default();
        for kind in kinds {
            let own = fitting.bias.clone();
            match self.get(*kind, frame, own.as_deref().or(bias)) {
                Err(nothing) if *kind != Kind::Mask || !nothing.refused.is_empty() => {
                    fitting.missing.push(format!("no {} that fits: {nothing}", kind.name()));
                }
                Err(_) => {}
                Ok((loaded, used)) => {
                    fitting.used.push(used);
                    match (kind, loaded) {
                        (Kind::Bias, Loaded::Image(image)) => fitting.bias = Some(image),
                        (Kind::Dark, Loaded::Image(image)) => fitting.dark_rate = Some(image),
                        (Kind::Flat, Loaded::Image(image)) => fitting.flat = Some(image),
                        (_, Loaded::Mask(mask)) => fitting.mask = Some(mask),
                        (Kind::Mask, Loaded::Image(_)) => {}
                    }
                }
            }
        }
        fitting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::Folder;

    const NIGHTS: [(&str, f64); 3] = [
        ("2026-03-14", 61_113.8),
        ("2026-03-02", 61_101.8),
        ("2025-01-05", 60_680.8),
    ];

    fn header(kind: &str, mjd: f64, filter: &str) -> Header {
        let mut header = Header::new();
        header.text("IMAGETYP", kind, "");
        header.text("CHANNEL", "vis", "");
        header.text("FILTER", filter, "");
        header.number("MJD-OBS", mjd, "");
        header.number("XBINNING", 1, "");
        header.number("CCD-TEMP", "-20.0", "");
        header
    }

    /// Puts a constant master below a folder.
    fn put(folder: &Path, name: &str, header: &Header, value: f32) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = Image {
            width: 8,
            height: 4,
            pixels: vec![value; 32],
        };
        std::fs::write(path, alidade_fits::write_f32(header, &image).unwrap()).unwrap();
    }

    #[test]
    fn a_frame_gets_the_youngest_masters_of_the_archive_and_its_header_says_which() {
        let folder = Folder::new("archive");
        for (n, (night, mjd)) in NIGHTS.iter().enumerate() {
            let level = 100.0 * (n + 1) as f32;
            put(
                &folder.0,
                &format!("{night}/masters/vis-master-bias.fits"),
                &header("master bias", *mjd, ""),
                level,
            );
        }
        // A dark of ten seconds that still holds its bias, as `image combine` makes them; a flat of the night before last.
        let mut dark = header("dark", NIGHTS[1].1, "");
        dark.number("NCOMBINE", 5, "");
        dark.number("EXPTIME", 10, "");
        put(&folder.0, "masters/dark.fit", &dark, 250.0);
        put(
            &folder.0,
            "2026-03-02/masters/flat.fits",
            &header("master flat r", NIGHTS[1].1, "r"),
            3.0,
        );
        put(
            &folder.0,
            "2026-03-14/masters/single.fits",
            &header("flat", NIGHTS[0].1, "r"),
            9.0,
        );
        std::fs::write(folder.0.join("2026-03-14/masters/broken.fits"), "nothing").unwrap();
        let shelf = Shelf::open(&folder.0, Some(61_114.0));
        assert_eq!(shelf.known.len(), 5, "{:?}", shelf.known);
        let mut raw = header("object", 61_114.0, "r");
        let fitting = shelf.fit(&Setup::of(&raw, (8, 4)), &Kind::ALL, None);
        let level = |image: &Option<Arc<Image>>| image.as_ref().map(|i| i.pixels[5]);
        assert_eq!(level(&fitting.bias), Some(100.0));
        assert_eq!(level(&fitting.dark_rate), Some(15.0));
        assert_eq!(level(&fitting.flat), Some(1.0));
        fitting.record(&mut raw);
        assert_eq!(
            raw.get("BIASFILE").as_deref(),
            Some("2026-03-14/masters/vis-master-bias.fits")
        );
        assert_eq!(raw.get_f64("FLATAGE"), Some(12.2));
        let told: Vec<String> = fitting.degradations().iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].contains("12 days"), "{told:?}");
        // Another filter is no fallback.
        let other = shelf.fit(&Setup::of(&header("object", 61_114.0, "g"), (8, 4)), &Kind::ALL, None);
        assert!(
            other.flat.is_none() && other.missing[0].contains("another filter"),
            "{:?}",
            other.missing
        );
    }

    #[test]
    fn a_master_that_turns_out_broken_gives_way_to_the_next() {
        let folder = Folder::new("spoilt");
        for (night, mjd) in &NIGHTS[..2] {
            put(
                &folder.0,
                &format!("{night}/masters/b.fits"),
                &header("master bias", *mjd, ""),
                7.0,
            );
        }
        let shelf = Shelf::open(&folder.0, None);
        std::fs::write(folder.0.join("2026-03-14/masters/b.fits"), "gone").unwrap();
        let frame = Setup::of(&header("object", 61_114.0, "r"), (8, 4));
        let fitting = shelf.fit(&frame, &[Kind::Bias], None);
        assert_eq!(fitting.used[0].file, "2026-03-02/masters/b.fits");
        std::fs::remove_file(folder.0.join("2026-03-02/masters/b.fits")).unwrap();
        assert!(
            Shelf::open(&folder.0, None)
                .fit(&frame, &[Kind::Bias], None)
                .bias
                .is_none()
        );
    }
}
