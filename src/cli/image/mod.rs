//! `alidade image ...`: one image file in, one line or one JSON document out.

mod frame_args;
mod sky_args;

use super::CliError;
use alidade_analysis::{
    bad_pixels::Limits,
    command::{self, CalibrateOptions, CommandError, Method},
    subtract::SubtractOptions,
};
use clap::{Args, Subcommand};
use frame_args::{CalibrateArgs, CleanArgs, CombineArgs, ExtractArgs, LayoutArgs, SubtractArgs};
use serde_json::Value;
use sky_args::{CandidatesArgs, LightCurveArgs, PhotometryArgs, SolveArgs};
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
    Calibrate(CalibrateArgs),
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
    Combine(CombineArgs),
    /// Remove cosmic rays
    Clean(CleanArgs),
    /// Where the frame is on the sky
    Solve(SolveArgs),
    /// Zero point, limiting magnitude, and the light curve of a target
    Photometry(PhotometryArgs),
    /// The brightness of a target over many frames
    Lightcurve(LightCurveArgs),
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

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Make an index of a table with the columns ra_deg, dec_deg (ICRS) and mag, of an index file of astrometry.net with
    /// magnitudes, or of the deepest such file in a folder. Tycho-2 for all of the sky:
    /// `apt install astrometry-data-tycho2-07-littleendian`, and then without a catalogue `image index build -o stars.idx`
    Build {
        /// Table, index file, or folder [default: /usr/share/astrometry]
        #[arg(default_value = command::INSTALLED, hide_default_value = true)]
        catalogue: PathBuf,
        /// Name that is said with what is found by it
        #[arg(long)]
        name: Option<String>,
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// Runs the command; 0 on success.
pub fn run(args: &ImageArgs, out: &mut impl Write) -> Result<u8, CliError> {
    let answer = match &args.command {
        ImageCommand::Stats { image } => command::stats(image),
        ImageCommand::Extract(extract) => {
            let mask = extract.bad_pixels.as_deref();
            command::extract(&extract.image, &extract.options()?, extract.mesh, mask)
        }
        ImageCommand::Calibrate(args) => {
            let options = CalibrateOptions {
                bias: args.bias.clone(),
                dark: args.dark.clone(),
                flat: args.flat.clone(),
                bad_pixels: args.bad_pixels.clone(),
                library: args.library.clone(),
                layout: args.layout.layout(),
            };
            command::calibrate(&args.raw, &options, &args.output)
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
        ImageCommand::Combine(args) => {
            let method = match args.method.as_str() {
                "median" => Method::Median,
                "mean" => Method::Mean,
                _ => Method::Clipped,
            };
            let (frames, layout) = (&args.frames, args.layout.layout());
            if args.flats {
                command::combine_flats(frames, method, &layout, args.bias.as_deref(), &args.output)
            } else {
                command::combine(frames, method, &layout, &args.output)
            }
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
        ImageCommand::Lightcurve(args) => command::light_curve(&args.images, &args.options()?),
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
