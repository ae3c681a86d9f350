//! Exposures and the data products they end as.

use crate::{request::SequenceId, time::UtcTime};
use serde::{Deserialize, Serialize};

pub type ExposureId = String;
pub type ProductId = String;

/// What the frame shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    Bias,
    Dark,
    Flat,
    Object,
}

impl FrameKind {
    /// A light frame needs the sky; bias and dark do not.
    pub fn is_light(self) -> bool {
        matches!(self, FrameKind::Object | FrameKind::Flat)
    }

    /// The value of the FITS keyword IMAGETYP.
    pub fn imagetyp(self) -> &'static str {
        match self {
            FrameKind::Bias => "bias",
            FrameKind::Dark => "dark",
            FrameKind::Flat => "flat",
            FrameKind::Object => "object",
        }
    }
}

/// One opening of one shutter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    pub id: ExposureId,
    /// `None` for calibration frames.
    pub sequence: Option<SequenceId>,
    pub channel: String,
    pub kind: FrameKind,
    pub filter: String,
    pub exposure_s: f64,
    pub binning: u32,
    pub started_at: UtcTime,
}

/// How an exposure ended: exactly one of these per exposure (OBS-5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ExposureOutcome {
    Written { product: ProductId },
    Aborted { cause: String },
    Failed { cause: String },
}

/// A file that somebody may want.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    pub id: ProductId,
    pub kind: ProductKind,
    pub exposure: Option<ExposureId>,
    pub sequence: Option<SequenceId>,
    /// Relative to the data folder.
    pub path: String,
    pub size_bytes: u64,
    /// Hexadecimal SHA-256 of the content; empty when pixels are not kept.
    pub sha256: String,
    pub made_at: UtcTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductKind {
    Raw,
    MasterBias,
    MasterDark,
    MasterFlat,
    Calibrated,
    Catalogue,
    Preview,
    Report,
}
