//! What is said to the commands that need no catalogue.

use crate::cli::CliError;
use alidade_analysis::{
    cosmics::CosmicOptions,
    extract::Options,
    overscan::{Follow, Layout, Section},
};
use clap::Args;
use std::path::PathBuf;

/// Where a detector is blind; without it the header's BIASSEC, TRIMSEC and DATASEC say.
#[derive(Debug, Args)]
pub struct LayoutArgs {
    /// Columns or rows without light, like [1:32,1:1024], in the detector's own pixels
    #[arg(long)]
    pub overscan: Option<Section>,
    /// What is kept, like [33:1056,1:1024]
    #[arg(long)]
    pub trim: Option<Section>,
    /// How the overscan's level follows the read-out
    #[arg(long, value_parser = ["smooth", "each", "level"], default_value = "smooth")]
    pub overscan_follow: String,
    /// Leave overscan and margins in, whatever the header says
    #[arg(long, conflicts_with_all = ["overscan", "trim"])]
    pub keep_overscan: bool,
}

impl LayoutArgs {
    pub fn layout(&self) -> Layout {
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

#[derive(Debug, Args)]
pub struct SubtractArgs {
    pub new: PathBuf,
    pub reference: PathBuf,
    #[arg(short, long)]
    pub output: PathBuf,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    pub gain: f64,
    /// Level from which a pixel is saturated
    #[arg(long, default_value_t = 60_000.0)]
    pub saturation: f64,
    /// Folder for pictures of the candidates
    #[arg(long)]
    pub cutouts: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CleanArgs {
    /// A calibrated frame that still has its sky
    pub image: PathBuf,
    #[arg(short, long)]
    pub output: PathBuf,
    /// Also write where they were
    #[arg(long)]
    pub mask: Option<PathBuf>,
    /// Laplacian over noise from which a pixel is suspect
    #[arg(long, default_value_t = 4.5)]
    pub sigma: f32,
    /// Least contrast with the fine structure: more spares stars
    #[arg(long, default_value_t = 5.0)]
    pub contrast: f32,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    pub gain: f32,
    /// Electrons
    #[arg(long, default_value_t = 6.5)]
    pub read_noise: f32,
    /// Electrons from which stars are saturated
    #[arg(long, default_value_t = 65_536.0)]
    pub saturation: f32,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub iterations: u8,
}

impl CleanArgs {
    pub fn options(&self) -> Result<CosmicOptions, CliError> {
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
pub struct ExtractArgs {
    pub image: PathBuf,
    /// Detection threshold in standard deviations of the sky, on the filtered image
    #[arg(long, default_value_t = 3.0)]
    pub threshold: f32,
    /// Least number of connected pixels
    #[arg(long, default_value_t = 5)]
    pub min_area: usize,
    /// Aperture radius, pixels
    #[arg(long, default_value_t = 5.0)]
    pub aperture: f64,
    /// Side of the background cells, pixels [default: 64, 32 for small frames]
    #[arg(long)]
    pub mesh: Option<usize>,
    /// Mask of `image bad-pixels`: sources that hold such are flagged (16)
    #[arg(long)]
    pub bad_pixels: Option<PathBuf>,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    pub gain: f64,
    /// Level from which a pixel is saturated
    #[arg(long)]
    pub saturation: Option<f64>,
    /// Leave touching sources together
    #[arg(long)]
    pub no_deblend: bool,
    /// Keep detections in the wings of brighter ones
    #[arg(long)]
    pub no_clean: bool,
}

impl ExtractArgs {
    pub fn options(&self) -> Result<Options, CliError> {
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

#[derive(Debug, Args)]
pub struct CombineArgs {
    #[arg(required = true)]
    pub frames: Vec<PathBuf>,
    #[arg(long, value_parser = ["clipped", "median", "mean"], default_value = "clipped")]
    pub method: String,
    /// Bring every frame to the level of the first one before: flats
    #[arg(long)]
    pub flats: bool,
    /// Master bias that is taken off flats before
    #[arg(long, requires = "flats")]
    pub bias: Option<PathBuf>,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[arg(short, long)]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct CalibrateArgs {
    pub raw: PathBuf,
    #[arg(long)]
    pub bias: Option<PathBuf>,
    #[arg(long)]
    pub dark: Option<PathBuf>,
    #[arg(long)]
    pub flat: Option<PathBuf>,
    /// Mask of `image bad-pixels`, or any image of which all but zero is bad
    #[arg(long)]
    pub bad_pixels: Option<PathBuf>,
    /// Folder of masters, like the data folder (NIGHT/masters/*.fits, masters/*.fits, *.fits): what is not given is taken
    /// from it, the youngest of the same instrument, binning, gain, size and filter
    #[arg(long)]
    pub library: Option<PathBuf>,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[arg(short, long)]
    pub output: PathBuf,
}
