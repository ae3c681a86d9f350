//! Frames as the journal tells of them.

use alidade_model::{
    exposure::{Exposure, ExposureOutcome, FrameKind, Product, ProductKind},
    journal::Fact,
    time::UtcTime,
};

/// One exposure of a sequence and what came of it.
pub struct Shot<'a> {
    pub exposure: &'a str,
    pub sequence: &'a str,
    pub filter: &'a str,
    pub started_at: UtcTime,
    /// Zero point and limiting magnitude; without them it waits for its reduction.
    pub solved: Option<(f64, f64)>,
}

pub const EXPOSURE_S: f64 = 60.0;

impl Shot<'_> {
    /// Where a product of it is, below the data folder.
    pub fn path(&self, kind: ProductKind) -> String {
        let (folder, ending) = match kind {
            ProductKind::Raw => ("raw", "fits"),
            ProductKind::Calibrated => ("calibrated", "fits"),
            ProductKind::Catalogue => ("catalogues", "json"),
            _ => ("previews", "png"),
        };
        format!("2026-03-14/{folder}/{}.{ending}", self.exposure)
    }

    fn product(&self, kind: ProductKind) -> Fact {
        Fact::ProductMade {
            product: Product {
                id: format!("{}-{kind:?}", self.exposure),
                kind,
                exposure: Some(self.exposure.into()),
                sequence: Some(self.sequence.into()),
                path: self.path(kind),
                size_bytes: 2880,
                sha256: "00ff".repeat(16),
                made_at: self.started_at.plus_seconds(EXPOSURE_S + 5.0),
            },
        }
    }

    /// In the order in which they come about.
    pub fn facts(&self) -> Vec<Fact> {
        let exposure = Exposure {
            id: self.exposure.into(),
            sequence: Some(self.sequence.into()),
            channel: "vis".into(),
            kind: FrameKind::Object,
            filter: self.filter.into(),
            exposure_s: EXPOSURE_S,
            binning: 1,
            started_at: self.started_at,
        };
        let product = format!("{}-{:?}", self.exposure, ProductKind::Raw);
        let mut facts = vec![
            Fact::ExposureStarted { exposure },
            self.product(ProductKind::Raw),
            Fact::ExposureEnded {
                exposure: self.exposure.into(),
                outcome: ExposureOutcome::Written { product },
            },
        ];
        let Some((zero_point, limiting_mag)) = self.solved else {
            return facts;
        };
        facts.extend([ProductKind::Calibrated, ProductKind::Catalogue, ProductKind::Preview].map(|k| self.product(k)));
        facts.push(Fact::FrameReduced {
            exposure: self.exposure.into(),
            sources: 12,
            fwhm_px: Some(3.5),
            background: 100.0,
            rms: 5.0,
            degradations: vec!["flat field".into()],
        });
        facts.push(Fact::FrameSolved {
            exposure: self.exposure.into(),
            ra_deg: 195.03,
            dec_deg: 27.97,
            offset_arcsec: 1.5,
            scale_arcsec: 1.8,
            rotation_deg: 0.0,
            rms_arcsec: 0.2,
            matched: 11,
            zero_point: Some(zero_point),
            limiting_mag: Some(limiting_mag),
            ellipticity: None,
        });
        facts
    }
}
