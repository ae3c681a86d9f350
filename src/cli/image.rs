//! `alidade image ...`: one image file in, one line or one JSON document out.

use super::CliError;
use alidade_analysis::{
    bad_pixels::Limits,
    candidates::Circle,
    command::{self, CalibrateOptions, CandidateOptions, CommandError, Method, PhotometryOptions, SolveHints},
    cosmics::CosmicOptions,
    extract::Options,
    overscan::{Follow, Layout, Section},
    subtract::SubtractOptions,
};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::{io::Write, path::PathBuf};

#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Size, levels, sky and noise
    Stats { image: PathBuf },
    /// Sources with position, flux, width and flags
    Extract(ExtractArgs),
    /// Take overscan, bias and dark off, divide by the flat, fill bad pixels
    Calibrate {
        raw: PathBuf,
        #[arg(long)]
        bias: Option<PathBuf>,
        #[arg(long)]
        dark: Option<PathBuf>,
        #[arg(long)]
        flat: Option<PathBuf>,
        /// Mask of `image bad-pixels`, or any image of which all but zero is bad
        #[arg(long)]
        bad_pixels: Option<PathBuf>,
        #[command(flatten)]
        layout: LayoutArgs,
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Find hot and dead pixels in a master dark and flats
    #[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["dark", "flat"]))]
    BadPixels {
        #[arg(long)]
        dark: Option<PathBuf>,
        #[arg(long, num_args = 1..)]
        flat: Vec<PathBuf>,
        /// Hot: so many robust scatters of the dark above its surroundings
        #[arg(long, default_value_t = 20.0)]
        hot_sigma: f32,
        /// Dead: less than this share of the surroundings' response
        #[arg(long, default_value_t = 0.5)]
        least_response: f32,
        /// Dead: more than this multiple of the surroundings' response
        #[arg(long, default_value_t = 1.5)]
        most_response: f32,
        #[command(flatten)]
        layout: LayoutArgs,
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Make one frame of many
    Combine {
        #[arg(required = true)]
        frames: Vec<PathBuf>,
        #[arg(long, value_parser = ["clipped", "median", "mean"], default_value = "clipped")]
        method: String,
        #[command(flatten)]
        layout: LayoutArgs,
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Remove cosmic rays
    Clean(CleanArgs),
    /// Where the frame is on the sky
    Solve(SolveArgs),
    /// Zero point, limiting magnitude, and the light curve of a target
    Photometry(PhotometryArgs),
    /// What is new, brighter than the catalogue, or changed since earlier frames
    Candidates(CandidatesArgs),
    /// Take a reference frame off a new one and list what changed
    Subtract(SubtractArgs),
    /// Write whole numbers of 16 bits compressed by Rice, without loss
    Compress {
        image: PathBuf,
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Whether CHECKSUM and DATASUM hold
    Verify { image: PathBuf },
    /// Catalogues for solving and photometry
    Index {
        #[command(subcommand)]
        command: IndexCommand,
    },
    /// A small PNG with the sources ringed
    Preview {
        image: PathBuf,
        /// In colour, with the celestial grid
        #[arg(long)]
        grid: bool,
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// Where a detector is blind; without it the header's BIASSEC, TRIMSEC and DATASEC say.
#[derive(Debug, Args)]
struct LayoutArgs {
    /// Columns or rows without light, like [1:32,1:1024], in the detector's own pixels
    #[arg(long)]
    overscan: Option<Section>,
    /// What is kept, like [33:1056,1:1024]
    #[arg(long)]
    trim: Option<Section>,
    /// How the overscan's level follows the read-out
    #[arg(long, value_parser = ["smooth", "each", "level"], default_value = "smooth")]
    overscan_follow: String,
    /// Leave overscan and margins in, whatever the header says
    #[arg(long, conflicts_with_all = ["overscan", "trim"])]
    keep_overscan: bool,
}

impl LayoutArgs {
    fn layout(&self) -> Layout {
        let follow = match self.overscan_follow.as_str() {
            "each" => Follow::Each,
            "level" => Follow::Level,
            _ => Follow::Smooth,
        };
        Layout {
            overscan: self.overscan,
            trim: self.trim,
            follow,
            ignore_header: self.keep_overscan,
        }
    }
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Make an index of a table with the columns ra_deg, dec_deg (ICRS) and mag, or of an index file of astrometry.net with
    /// magnitudes, such as Debian's astrometry-data-tycho2-07-littleendian installs in /usr/share/astrometry
    Build {
        catalogue: PathBuf,
        /// Name that is said with what is found by it
        #[arg(long)]
        name: Option<String>,
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// What is known of a frame; without it the header is asked.
#[derive(Debug, Args)]
struct HintArgs {
    /// Right ascension of the centre, ICRS degrees
    #[arg(long, requires = "dec", allow_negative_numbers = true)]
    ra: Option<f64>,
    /// Declination of the centre, ICRS degrees
    #[arg(long, requires = "ra", allow_negative_numbers = true)]
    dec: Option<f64>,
    /// How far the centre may be off, degrees [default: 1]
    #[arg(long)]
    radius: Option<f64>,
    /// Arcseconds a pixel
    #[arg(long)]
    scale: Option<f64>,
    /// Relative uncertainty of the scale
    #[arg(long, default_value_t = 0.02)]
    scale_tolerance: f64,
    /// Believe neither the header nor anything else
    #[arg(long)]
    blind: bool,
}

impl HintArgs {
    fn hints(&self) -> Result<SolveHints, CliError> {
        let within = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
            Some(v) if !(low..=high).contains(&v) => {
                Err(CliError::bad_input(format!("--{name} must be from {low} to {high}")))
            }
            _ => Ok(()),
        };
        within("ra", self.ra, 0.0, 360.0)?;
        within("dec", self.dec, -90.0, 90.0)?;
        within("radius", self.radius, 1e-4, 180.0)?;
        within("scale", self.scale, 1e-3, 3600.0)?;
        within("scale-tolerance", Some(self.scale_tolerance), 1e-4, 0.9)?;
        Ok(SolveHints {
            ra_deg: self.ra,
            dec_deg: self.dec,
            radius_deg: self.radius,
            scale_arcsec: self.scale,
            scale_tolerance: self.scale_tolerance,
            blind: self.blind,
        })
    }
}

#[derive(Debug, Args)]
struct SolveArgs {
    image: PathBuf,
    #[command(flatten)]
    hints: HintArgs,
    /// Index of `image index build`, or a table it could be built of
    #[arg(long, required_if_eq("engine", "own"))]
    index: Option<PathBuf>,
    /// Highest order of the distortion, 1 for none
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    order: u8,
    #[arg(long, value_parser = ["own", "astrometry.net"], default_value = "own")]
    engine: String,
    /// Write the frame with its solution
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PhotometryArgs {
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    hints: HintArgs,
    /// Index of `image index build`, or a table it could be built of
    #[arg(long)]
    index: PathBuf,
    /// Aperture radius, pixels
    #[arg(long, default_value_t = 5.0)]
    aperture: f64,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    gain: f64,
    /// Level from which a pixel is saturated [default: SATURATE of the header]
    #[arg(long)]
    saturation: Option<f64>,
    /// Draw the light curve of the target, as SVG
    #[arg(long, requires = "target")]
    plot: Option<PathBuf>,
    /// ICRS degrees of a star to follow
    #[arg(long, num_args = 2, value_names = ["RA", "DEC"], allow_negative_numbers = true)]
    target: Option<Vec<f64>>,
}

impl PhotometryArgs {
    fn options(&self) -> Result<PhotometryOptions, CliError> {
        if !(0.5..=1000.0).contains(&self.aperture) || self.gain.is_nan() || self.gain <= 0.0 {
            return Err(CliError::bad_input(
                "--aperture must be from 0.5 to 1000, --gain above zero",
            ));
        }
        let target = match self.target.as_deref() {
            Some([ra, dec]) if (0.0..=360.0).contains(ra) && dec.abs() <= 90.0 => Some((*ra, *dec)),
            Some(_) => {
                return Err(CliError::bad_input(
                    "--target is a right ascension and a declination in degrees",
                ));
            }
            None => None,
        };
        Ok(PhotometryOptions {
            hints: self.hints.hints()?,
            aperture_px: self.aperture,
            gain_e_adu: self.gain,
            saturation: self.saturation,
            target,
            plot: self.plot.clone(),
        })
    }
}

#[derive(Debug, Args)]
struct CandidatesArgs {
    #[command(flatten)]
    photometry: PhotometryArgs,
    /// Error circle: ICRS degrees and radius in degrees
    #[arg(long, num_args = 3, value_names = ["RA", "DEC", "RADIUS"], allow_negative_numbers = true)]
    area: Option<Vec<f64>>,
    /// Minor planets: orbits in the Minor Planet Center's one-line format (MPCORB), or a table with the columns name,
    /// epoch_jd, mean_anomaly_deg, perihelion_deg, node_deg, inclination_deg, eccentricity, axis_au
    #[arg(long)]
    elements: Option<PathBuf>,
    /// Folder for pictures of the candidates
    #[arg(long)]
    cutouts: Option<PathBuf>,
}

impl CandidatesArgs {
    fn options(&self) -> Result<CandidateOptions, CliError> {
        let area = match self.area.as_deref() {
            Some([ra, dec, radius]) if (0.0..=360.0).contains(ra) && dec.abs() <= 90.0 && *radius > 0.0 => {
                Some(Circle {
                    ra_deg: *ra,
                    dec_deg: *dec,
                    radius_deg: *radius,
                })
            }
            Some(_) => {
                return Err(CliError::bad_input(
                    "--area is a right ascension, a declination and a radius",
                ));
            }
            None => None,
        };
        Ok(CandidateOptions {
            photometry: self.photometry.options()?,
            area,
            elements: self.elements.clone(),
            // The last frame named is the one that is searched.
            before: self.photometry.images[..self.photometry.images.len() - 1].to_vec(),
            cutouts: self.cutouts.clone(),
        })
    }
}

#[derive(Debug, Args)]
struct SubtractArgs {
    new: PathBuf,
    reference: PathBuf,
    #[arg(short, long)]
    output: PathBuf,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    gain: f64,
    /// Level from which a pixel is saturated
    #[arg(long, default_value_t = 60_000.0)]
    saturation: f64,
    /// Folder for pictures of the candidates
    #[arg(long)]
    cutouts: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CleanArgs {
    /// A calibrated frame that still has its sky
    image: PathBuf,
    #[arg(short, long)]
    output: PathBuf,
    /// Also write where they were
    #[arg(long)]
    mask: Option<PathBuf>,
    /// Laplacian over noise from which a pixel is suspect
    #[arg(long, default_value_t = 4.5)]
    sigma: f32,
    /// Least contrast with the fine structure: more spares stars
    #[arg(long, default_value_t = 5.0)]
    contrast: f32,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    gain: f32,
    /// Electrons
    #[arg(long, default_value_t = 6.5)]
    read_noise: f32,
    /// Electrons from which stars are saturated
    #[arg(long, default_value_t = 65_536.0)]
    saturation: f32,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=20))]
    iterations: u8,
}

impl CleanArgs {
    fn options(&self) -> Result<CosmicOptions, CliError> {
        let numbers = [self.sigma, self.contrast, self.gain, self.saturation];
        if !numbers.iter().all(|v| v.is_finite() && *v > 0.0) || !(0.0..1e6).contains(&self.read_noise) {
            return Err(CliError::bad_input(
                "--sigma, --contrast, --gain and --saturation must be above zero",
            ));
        }
        Ok(CosmicOptions {
            sigma_clip: self.sigma,
            object_limit: self.contrast,
            gain_e_adu: self.gain,
            read_noise_e: self.read_noise,
            saturation_e: self.saturation,
            iterations: usize::from(self.iterations),
            ..CosmicOptions::default()
        })
    }
}

#[derive(Debug, Args)]
struct ExtractArgs {
    image: PathBuf,
    /// Detection threshold in standard deviations of the sky, on the filtered image
    #[arg(long, default_value_t = 3.0)]
    threshold: f32,
    /// Least number of connected pixels
    #[arg(long, default_value_t = 5)]
    min_area: usize,
    /// Aperture radius, pixels
    #[arg(long, default_value_t = 5.0)]
    aperture: f64,
    /// Side of the background cells, pixels [default: 64, 32 for small frames]
    #[arg(long)]
    mesh: Option<usize>,
    /// Mask of `image bad-pixels`: sources that hold such are flagged (16)
    #[arg(long)]
    bad_pixels: Option<PathBuf>,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    gain: f64,
    /// Level from which a pixel is saturated
    #[arg(long)]
    saturation: Option<f64>,
    /// Leave touching sources together
    #[arg(long)]
    no_deblend: bool,
    /// Keep detections in the wings of brighter ones
    #[arg(long)]
    no_clean: bool,
}

impl ExtractArgs {
    fn options(&self) -> Result<Options, CliError> {
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(value)
            } else {
                Err(CliError::bad_input(format!("--{name} must be above zero")))
            }
        };
        positive("threshold", f64::from(self.threshold))?;
        positive("aperture", self.aperture)?;
        positive("gain", self.gain)?;
        if self.aperture > 1000.0 {
            return Err(CliError::bad_input("--aperture must be at most 1000"));
        }
        if self.mesh.is_some_and(|m| !(4..=65_536).contains(&m)) {
            return Err(CliError::bad_input("--mesh must be from 4 to 65536"));
        }
        let usual = Options::default();
        Ok(Options {
            threshold_sigma: self.threshold,
            min_area_px: self.min_area,
            aperture_px: self.aperture,
            gain_e_adu: self.gain,
            saturation: self.saturation.unwrap_or(f64::INFINITY),
            deblend_contrast: if self.no_deblend { 1.0 } else { usual.deblend_contrast },
            clean: if self.no_clean { None } else { usual.clean },
            ..usual
        })
    }
}

/// Runs the command; 0 on success.
pub fn run(args: &ImageArgs, out: &mut impl Write) -> Result<u8, CliError> {
    let answer = match &args.command {
        ImageCommand::Stats { image } => command::stats(image),
        ImageCommand::Extract(extract) => {
            let mask = extract.bad_pixels.as_deref();
            command::extract(&extract.image, &extract.options()?, extract.mesh, mask)
        }
        ImageCommand::Calibrate {
            raw,
            bias,
            dark,
            flat,
            bad_pixels,
            layout,
            output,
        } => {
            let options = CalibrateOptions {
                bias: bias.clone(),
                dark: dark.clone(),
                flat: flat.clone(),
                bad_pixels: bad_pixels.clone(),
                layout: layout.layout(),
            };
            command::calibrate(raw, &options, output)
        }
        ImageCommand::BadPixels {
            dark,
            flat,
            hot_sigma,
            least_response,
            most_response,
            layout,
            output,
        } => {
            let limits = Limits {
                hot_sigma: *hot_sigma,
                least_response: *least_response,
                most_response: *most_response,
            };
            if !(limits.hot_sigma > 0.0 && limits.least_response > 0.0 && limits.most_response > limits.least_response)
            {
                return Err(CliError::bad_input(
                    "--hot-sigma must be above zero, --most-response above --least-response, and that above zero",
                ));
            }
            command::bad_pixels(dark.as_deref(), flat, &limits, &layout.layout(), output)
        }
        ImageCommand::Combine {
            frames,
            method,
            layout,
            output,
        } => {
            let method = match method.as_str() {
                "median" => Method::Median,
                "mean" => Method::Mean,
                _ => Method::Clipped,
            };
            command::combine(frames, method, &layout.layout(), output)
        }
        ImageCommand::Clean(clean) => {
            command::clean(&clean.image, &clean.options()?, &clean.output, clean.mask.as_deref())
        }
        ImageCommand::Solve(solve) => {
            let hints = solve.hints.hints()?;
            match &solve.index {
                Some(index) if solve.engine == "own" => {
                    let order = usize::from(solve.order);
                    command::solve_file(&solve.image, index, &hints, order, solve.output.as_deref())
                }
                _ => command::solve_field(&solve.image, &hints),
            }
        }
        ImageCommand::Photometry(photometry) => {
            command::photometry(&photometry.images, &photometry.index, &photometry.options()?)
        }
        ImageCommand::Candidates(args) => {
            let (options, images) = (args.options()?, &args.photometry.images);
            match images.last() {
                Some(image) => command::candidates(image, &args.photometry.index, &options),
                None => return Err(CliError::bad_input("no frame")),
            }
        }
        ImageCommand::Subtract(args) => {
            if !(args.gain.is_finite() && args.gain > 0.0 && args.saturation.is_finite()) {
                return Err(CliError::bad_input("--gain must be above zero"));
            }
            let options = SubtractOptions {
                gain_e_adu: args.gain,
                saturation: args.saturation,
            };
            command::subtract(
                &args.new,
                &args.reference,
                &options,
                &args.output,
                args.cutouts.as_deref(),
            )
        }
        ImageCommand::Compress { image, output } => command::compress(image, output),
        ImageCommand::Verify { image } => command::verify(image),
        ImageCommand::Index {
            command:
                IndexCommand::Build {
                    catalogue,
                    name,
                    output,
                },
        } => command::build_index(catalogue, name.as_deref(), output),
        ImageCommand::Preview { image, grid, output } => command::picture(image, *grid, output),
    }
    .map_err(|error| match error {
        CommandError::BadInput(text) => CliError::BadInput(text),
        CommandError::Failed(text) => CliError::Failed(text),
    })?;
    let text = if args.json {
        answer.to_string()
    } else {
        readable(&answer)
    };
    // A reader that has seen enough closes the pipe: no failure.
    drop(writeln!(out, "{text}"));
    Ok(0)
}

/// One line a value, and a table of the sources.
fn readable(answer: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in answer.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
        match (name.as_str(), value.as_array()) {
            ("sources", Some(rows)) => {
                lines.push(format!(
                    "{:>10} {:>10} {:>14} {:>12} {:>8} {:>5}",
                    "x", "y", "flux", "fluxerr", "fwhm_px", "flags"
                ));
                let of = |row: &Value, key: &str| row[key].as_f64().unwrap_or(f64::NAN);
                lines.extend(rows.iter().map(|row| {
                    format!(
                        "{:>10.3} {:>10.3} {:>14.2} {:>12.2} {:>8.2} {:>5}",
                        of(row, "x"),
                        of(row, "y"),
                        of(row, "flux"),
                        of(row, "fluxerr"),
                        of(row, "fwhm_px"),
                        of(row, "flags")
                    )
                }));
            }
            _ => lines.push(format!(
                "{name}: {}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            )),
        }
    }
    lines.join("\n")
}
