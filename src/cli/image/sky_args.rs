//! What is said to the commands that need a catalogue.

use crate::cli::CliError;
use alidade_analysis::{
    candidates::Circle,
    command::{CandidateOptions, LightCurveOptions, PhotometryOptions, SolveHints},
};
use clap::Args;
use std::path::PathBuf;

/// What is known of a frame; without it the header is asked.
#[derive(Debug, Args)]
pub struct HintArgs {
    /// Right ascension of the centre, ICRS degrees
    #[arg(long, requires = "dec", allow_negative_numbers = true)]
    pub ra: Option<f64>,
    /// Declination of the centre, ICRS degrees
    #[arg(long, requires = "ra", allow_negative_numbers = true)]
    pub dec: Option<f64>,
    /// How far the centre may be off, degrees [default: 1]
    #[arg(long)]
    pub radius: Option<f64>,
    /// Arcseconds a pixel
    #[arg(long)]
    pub scale: Option<f64>,
    /// Relative uncertainty of the scale
    #[arg(long, default_value_t = 0.02)]
    pub scale_tolerance: f64,
    /// Believe neither the header nor anything else
    #[arg(long)]
    pub blind: bool,
}

impl HintArgs {
    pub fn hints(&self) -> Result<SolveHints, CliError> {
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
pub struct SolveArgs {
    pub image: PathBuf,
    #[command(flatten)]
    pub hints: HintArgs,
    /// Index of `image index build`, or a table it could be built of
    #[arg(long, required_if_eq("engine", "own"))]
    pub index: Option<PathBuf>,
    /// Highest order of the distortion, 1 for none
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub order: u8,
    #[arg(long, value_parser = ["own", "astrometry.net"], default_value = "own")]
    pub engine: String,
    /// Write the frame with its solution
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PhotometryArgs {
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub hints: HintArgs,
    /// Index of `image index build`, or a table it could be built of
    #[arg(long)]
    pub index: PathBuf,
    /// Aperture radius, pixels
    #[arg(long, default_value_t = 5.0)]
    pub aperture: f64,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    pub gain: f64,
    /// Level from which a pixel is saturated [default: SATURATE of the header]
    #[arg(long)]
    pub saturation: Option<f64>,
    /// Draw the light curve of the target: an SVG if the name ends so, else a PNG
    #[arg(long, requires = "target")]
    pub plot: Option<PathBuf>,
    /// ICRS degrees of a star to follow
    #[arg(long, num_args = 2, value_names = ["RA", "DEC"], allow_negative_numbers = true)]
    pub target: Option<Vec<f64>>,
}

impl PhotometryArgs {
    pub fn options(&self) -> Result<PhotometryOptions, CliError> {
        sound(self.aperture, self.gain)?;
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
pub struct CandidatesArgs {
    #[command(flatten)]
    pub photometry: PhotometryArgs,
    /// Error circle: ICRS degrees and radius in degrees
    #[arg(long, num_args = 3, value_names = ["RA", "DEC", "RADIUS"], allow_negative_numbers = true)]
    pub area: Option<Vec<f64>>,
    /// Minor planets: orbits in the Minor Planet Center's one-line format (MPCORB), or a table with the columns name,
    /// epoch_jd, mean_anomaly_deg, perihelion_deg, node_deg, inclination_deg, eccentricity, axis_au
    #[arg(long)]
    pub elements: Option<PathBuf>,
    /// Folder for pictures of the candidates
    #[arg(long)]
    pub cutouts: Option<PathBuf>,
}

impl CandidatesArgs {
    pub fn options(&self) -> Result<CandidateOptions, CliError> {
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
pub struct LightCurveArgs {
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Right ascension of the target, ICRS degrees
    #[arg(long)]
    pub ra: f64,
    /// Declination of the target, ICRS degrees
    #[arg(long, allow_negative_numbers = true)]
    pub dec: f64,
    /// Index of `image index build`, or a table it could be built of: every frame is solved, and stars on it are the
    /// comparisons. Without it the frames must have their solution and zero point (MAGZP), as calibrated frames have
    #[arg(long)]
    pub index: Option<PathBuf>,
    /// Arcseconds a pixel, where a header does not tell
    #[arg(long)]
    pub scale: Option<f64>,
    /// Aperture radius, pixels
    #[arg(long, default_value_t = 5.0)]
    pub aperture: f64,
    /// Electrons per unit
    #[arg(long, default_value_t = 1.0)]
    pub gain: f64,
    /// Level from which a pixel is saturated [default: SATURATE of the header]
    #[arg(long)]
    pub saturation: Option<f64>,
    /// Draw the curve: an SVG if the name ends so, else a PNG
    #[arg(long)]
    pub plot: Option<PathBuf>,
}

impl LightCurveArgs {
    pub fn options(&self) -> Result<LightCurveOptions, CliError> {
        if !(0.0..=360.0).contains(&self.ra) || !(-90.0..=90.0).contains(&self.dec) {
            return Err(CliError::bad_input(
                "--ra must be from 0 to 360, --dec from -90 to 90 degrees",
            ));
        }
        if self.scale.is_some_and(|s| !(1e-3..=3600.0).contains(&s)) {
            return Err(CliError::bad_input("--scale must be from 0.001 to 3600"));
        }
        sound(self.aperture, self.gain)?;
        Ok(LightCurveOptions {
            target: (self.ra, self.dec),
            index: self.index.clone(),
            hints: SolveHints {
                scale_arcsec: self.scale,
                ..SolveHints::default()
            },
            aperture_px: self.aperture,
            gain_e_adu: self.gain,
            saturation: self.saturation,
            plot: self.plot.clone(),
        })
    }
}

/// Refuses an aperture or gain that cannot be.
fn sound(aperture: f64, gain: f64) -> Result<(), CliError> {
    if !(0.5..=1000.0).contains(&aperture) || gain.is_nan() || gain <= 0.0 {
        return Err(CliError::bad_input(
            "--aperture must be from 0.5 to 1000, --gain above zero",
        ));
    }
    Ok(())
}
