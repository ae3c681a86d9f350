//! Moments of a group of pixels (Bertin & Arnouts 1996; SExtractor manual, "Isophotal measurements").

/// One pixel of a source: column and row from zero, filtered and plain value above the sky.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pixel {
    pub x: u32,
    pub y: u32,
    pub smooth: f32,
    pub value: f32,
}

/// Position, extent and brightness of a group, measured on the filtered image above a threshold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub count: usize,
    /// Sum and largest of the filtered values.
    pub smooth_flux: f64,
    pub smooth_peak: f64,
    pub flux: f64,
    pub peak: f64,
    pub x: f64,
    pub y: f64,
    /// Standard deviations along the axes, pixels; position angle from x towards y, radians.
    pub major: f64,
    pub minor: f64,
    pub theta: f64,
    /// Ellipse: cxx dx^2 + cyy dy^2 + cxy dx dy = r^2.
    pub cxx: f64,
    pub cyy: f64,
    pub cxy: f64,
    /// Correction of the widths for the light below the threshold, at most 1.
    pub truncation: f64,
}

/// Variance added to both axes of sources that are thinner than a pixel: that of a square of one pixel.
const PIXEL_VARIANCE: f64 = 1.0 / 12.0;
/// Product of variances below which a source is too thin: the square of the above.
const SINGULAR: f64 = 0.006_94;

impl Shape {
    /// Measures `pixels`; about `centre` where one is given, else about the centre of light.
    pub(super) fn of(pixels: &[Pixel], threshold: f64, centre: Option<(f64, f64)>) -> Self {
        let left = f64::from(pixels.iter().map(|p| p.x).min().unwrap_or(0));
        let bottom = f64::from(pixels.iter().map(|p| p.y).min().unwrap_or(0));
        let peak = pixels.iter().map(|p| p.value).fold(f32::MIN, f32::max);
        let half = (threshold + f64::from(peak)) / 2.0;
        let (mut sum, mut sx, mut sy, mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut flux, mut smooth_peak, mut above, mut above_half) = (0.0, f32::MIN, 0.0, 0.0);
        for pixel in pixels {
            let (x, y, weight) = (
                f64::from(pixel.x) - left,
                f64::from(pixel.y) - bottom,
                f64::from(pixel.smooth),
            );
            let value = f64::from(pixel.value);
            sum += weight;
            sx += weight * x;
            sy += weight * y;
            sxx += weight * x * x;
            syy += weight * y * y;
            sxy += weight * x * y;
            flux += value;
            smooth_peak = smooth_peak.max(pixel.smooth);
            above += f64::from(u8::from(value > threshold));
            above_half += f64::from(u8::from(value > half));
        }
        let (mx, my) = (sx / sum, sy / sum);
        let (cx, cy) = centre.map_or((mx, my), |(x, y)| (x - left, y - bottom));
        let mut xx = sxx / sum + cx * cx - 2.0 * mx * cx;
        let mut yy = syy / sum + cy * cy - 2.0 * my * cy;
        let xy = sxy / sum + cx * cy - mx * cy - cx * my;
        if xx * yy - xy * xy < SINGULAR {
            xx += PIXEL_VARIANCE;
            yy += PIXEL_VARIANCE;
        }
        let determinant = (xx * yy - xy * xy).max(1e-12);
        let difference = xx - yy;
        let theta = if difference == 0.0 {
            std::f64::consts::FRAC_PI_4
        } else {
            (2.0 * xy).atan2(difference) / 2.0
        };
        let spread = (difference * difference / 4.0 + xy * xy).sqrt();
        let mean = (xx + yy) / 2.0;
        let (major, minor) = ((mean + spread).max(1e-6).sqrt(), (mean - spread).max(1e-6).sqrt());
        let ratio = threshold / half;
        let truncation = if ratio > 0.0 {
            let ring = above_half - above;
            let ring = if ring < 0.0 { ring } else { -1.0 };
            let logarithm = (if ratio < 1.0 { ratio } else { 0.99 }).ln();
            (ring / (std::f64::consts::TAU * logarithm * major * minor)).min(1.0)
        } else {
            1.0
        };
        Self {
            count: pixels.len(),
            smooth_flux: sum,
            smooth_peak: f64::from(smooth_peak),
            flux,
            peak: f64::from(peak),
            x: cx + left,
            y: cy + bottom,
            major,
            minor,
            theta,
            cxx: yy / determinant,
            cyy: xx / determinant,
            cxy: -2.0 * xy / determinant,
            truncation,
        }
    }

    /// Squared elliptical distance of a point, in units of the widths.
    pub(super) fn reach(&self, x: f64, y: f64) -> f64 {
        let (dx, dy) = (x - self.x, y - self.y);
        self.cxx * dx * dx + self.cyy * dy * dy + self.cxy * dx * dy
    }
}
