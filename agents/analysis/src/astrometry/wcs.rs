//! Gnomonic world coordinates with SIP distortion (Calabretta & Greisen 2002, A&A 395, 1077; Shupe et al. 2005, ASP Conf.
//! 347, 491). Pixels are counted from zero, the centre of the first pixel at 0; the header counts from one.

use super::fit;
use alidade_fits::Header;
use serde::{Deserialize, Serialize};

/// Distortion polynomials: coefficients of u^p v^q in the order of [`terms`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sip {
    pub order: usize,
    pub a: Vec<f64>,
    pub b: Vec<f64>,
}

/// A plate solution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wcs {
    /// ICRS, degrees, of the reference pixel.
    pub crval: (f64, f64),
    /// Reference pixel, counted from zero.
    pub crpix: (f64, f64),
    /// Degrees a pixel: xi = cd\[0\]\[0\] u + cd\[0\]\[1\] v, eta likewise.
    pub cd: [[f64; 2]; 2],
    pub sip: Option<Sip>,
}

/// Exponents of the terms up to an order, constant first.
pub fn terms(order: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..=order).flat_map(|sum| (0..=sum).map(move |q| (sum - q, q)))
}

/// Value of a polynomial.
pub fn polynomial(order: usize, coefficients: &[f64], u: f64, v: f64) -> f64 {
    terms(order)
        .zip(coefficients)
        .map(|((p, q), c)| {
            if *c == 0.0 {
                0.0
            } else {
                c * u.powi(p as i32) * v.powi(q as i32)
            }
        })
        .sum()
}

/// Standard coordinates (degrees, east and north) about `centre`; `None` more than about 84 degrees away.
pub fn project(centre: (f64, f64), sky: (f64, f64)) -> Option<(f64, f64)> {
    let (sin0, cos0) = centre.1.to_radians().sin_cos();
    let (sin, cos) = sky.1.to_radians().sin_cos();
    let (sin_ra, cos_ra) = (sky.0 - centre.0).to_radians().sin_cos();
    let depth = sin0 * sin + cos0 * cos * cos_ra;
    (depth > 0.1).then(|| {
        let xi = cos * sin_ra / depth;
        let eta = (cos0 * sin - sin0 * cos * cos_ra) / depth;
        (xi.to_degrees(), eta.to_degrees())
    })
}

/// Direction (ICRS, degrees) of standard coordinates about `centre`.
pub fn deproject(centre: (f64, f64), (xi, eta): (f64, f64)) -> (f64, f64) {
    let (xi, eta) = (xi.to_radians(), eta.to_radians());
    let (sin0, cos0) = centre.1.to_radians().sin_cos();
    let down = cos0 - eta * sin0;
    let ra = centre.0 + xi.atan2(down).to_degrees();
    let dec = (sin0 + eta * cos0).atan2(xi.hypot(down)).to_degrees();
    (ra.rem_euclid(360.0), dec)
}

impl Wcs {
    /// Direction of a pixel, ICRS degrees.
    pub fn sky_of(&self, x: f64, y: f64) -> (f64, f64) {
        let (mut u, mut v) = (x - self.crpix.0, y - self.crpix.1);
        if let Some(sip) = &self.sip {
            let (du, dv) = (polynomial(sip.order, &sip.a, u, v), polynomial(sip.order, &sip.b, u, v));
            (u, v) = (u + du, v + dv);
        }
        let plane = (
            self.cd[0][0] * u + self.cd[0][1] * v,
            self.cd[1][0] * u + self.cd[1][1] * v,
        );
        deproject(self.crval, plane)
    }

    /// Pixel of a direction; `None` on the far side of the sky.
    pub fn pixel_of(&self, ra: f64, dec: f64) -> Option<(f64, f64)> {
        let (xi, eta) = project(self.crval, (ra, dec))?;
        let inverse = invert(self.cd)?;
        let target = (
            inverse[0][0] * xi + inverse[0][1] * eta,
            inverse[1][0] * xi + inverse[1][1] * eta,
        );
        let (mut u, mut v) = target;
        if let Some(sip) = &self.sip {
            // The distortion is small beside its argument: fixed-point iteration converges.
            for _ in 0..20 {
                let next = (
                    target.0 - polynomial(sip.order, &sip.a, u, v),
                    target.1 - polynomial(sip.order, &sip.b, u, v),
                );
                let step = (next.0 - u).hypot(next.1 - v);
                (u, v) = next;
                if step < 1e-7 {
                    break;
                }
            }
        }
        let place = (u + self.crpix.0, v + self.crpix.1);
        (place.0.is_finite() && place.1.is_finite()).then_some(place)
    }

    fn determinant(&self) -> f64 {
        self.cd[0][0] * self.cd[1][1] - self.cd[0][1] * self.cd[1][0]
    }

    /// Arcseconds a pixel, geometric mean.
    pub fn scale_arcsec(&self) -> f64 {
        self.determinant().abs().sqrt() * 3600.0
    }

    /// Position angle of the y axis, degrees, north through east.
    pub fn rotation_deg(&self) -> f64 {
        self.cd[0][1].atan2(self.cd[1][1]).to_degrees()
    }

    /// Whether the picture is as on a chart: east 90 degrees counter-clockwise of north with y upwards.
    pub fn east_left(&self) -> bool {
        self.determinant() < 0.0
    }

    /// Reads a gnomonic WCS; `None` without one, or with one that cannot be (no scale, NaN, declination beyond a pole).
    pub fn read(header: &Header) -> Option<Self> {
        let kind = |n: usize| header.get(&format!("CTYPE{n}")).unwrap_or_default();
        let (first, second) = (kind(1), kind(2));
        let gnomonic = |k: &str| k.ends_with("-TAN") || k.ends_with("-TAN-SIP");
        let swapped = first.starts_with("DEC-") && second.starts_with("RA--");
        let usual = first.starts_with("RA--") && second.starts_with("DEC-");
        if !(usual || swapped) || !gnomonic(&first) || !gnomonic(&second) {
            return None;
        }
        let get = |key: &str| header.get_f64(key);
        let mut cd = match (get("CD1_1"), get("CD2_2"), get("CD1_2"), get("CD2_1")) {
            (None, None, None, None) => {
                let (dx, dy) = (get("CDELT1")?, get("CDELT2")?);
                let (sin, cos) = get("CROTA2").unwrap_or(0.0).to_radians().sin_cos();
                let pc = |key: &str, usual: f64| get(key).unwrap_or(usual);
                if ["PC1_1", "PC1_2", "PC2_1", "PC2_2"].iter().any(|k| get(k).is_some()) {
                    [
                        [dx * pc("PC1_1", 1.0), dx * pc("PC1_2", 0.0)],
                        [dy * pc("PC2_1", 0.0), dy * pc("PC2_2", 1.0)],
                    ]
                } else {
                    [[dx * cos, -dy * sin], [dx * sin, dy * cos]]
                }
            }
            (a, d, b, c) => [
                [a.unwrap_or(0.0), b.unwrap_or(0.0)],
                [c.unwrap_or(0.0), d.unwrap_or(0.0)],
            ],
        };
        let mut crval = (get("CRVAL1")?, get("CRVAL2")?);
        if swapped {
            cd.swap(0, 1);
            crval = (crval.1, crval.0);
        }
        let wcs = Self {
            crval: (crval.0.rem_euclid(360.0), crval.1),
            crpix: (get("CRPIX1")? - 1.0, get("CRPIX2")? - 1.0),
            cd,
            sip: read_sip(header),
        };
        let scale = wcs.scale_arcsec();
        let possible = scale.is_finite() && (1e-4..=36_000.0).contains(&scale) && crval.1.abs() <= 90.0;
        possible.then_some(wcs)
    }

    /// Writes the solution over whatever WCS the header has, with the inverse polynomials for a frame of this size.
    pub fn write(&self, header: &mut Header, width: usize, height: usize) {
        for key in stale_keywords(header) {
            header.remove(&key);
        }
        let suffix = if self.sip.is_some() { "-SIP" } else { "" };
        header.number("WCSAXES", 2, "");
        header.text("CTYPE1", &format!("RA---TAN{suffix}"), "");
        header.text("CTYPE2", &format!("DEC--TAN{suffix}"), "");
        header.text("CUNIT1", "deg", "");
        header.text("CUNIT2", "deg", "");
        header.text("RADESYS", "ICRS", "");
        header.number("EQUINOX", "2000.0", "");
        header.number("CRVAL1", format!("{:.9}", self.crval.0), "[deg] right ascension");
        header.number("CRVAL2", format!("{:.9}", self.crval.1), "[deg] declination");
        header.number("CRPIX1", format!("{:.5}", self.crpix.0 + 1.0), "[pix]");
        header.number("CRPIX2", format!("{:.5}", self.crpix.1 + 1.0), "[pix]");
        for (row, values) in self.cd.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                header.number(
                    &format!("CD{}_{}", row + 1, column + 1),
                    format!("{value:.12E}"),
                    "[deg/pix]",
                );
            }
        }
        if let Some(sip) = &self.sip {
            write_polynomial(header, "A", sip.order, &sip.a);
            write_polynomial(header, "B", sip.order, &sip.b);
            if let Some((ap, bp)) = fit::inverse_sip(self, sip, width, height) {
                write_polynomial(header, "AP", sip.order, &ap);
                write_polynomial(header, "BP", sip.order, &bp);
            }
        }
    }
}

/// Inverse of a 2 x 2 matrix.
pub fn invert(m: [[f64; 2]; 2]) -> Option<[[f64; 2]; 2]> {
    let determinant = m[0][0] * m[1][1] - m[0][1] * m[1][0];
    (determinant != 0.0 && determinant.is_finite()).then(|| {
        [
            [m[1][1] / determinant, -m[0][1] / determinant],
            [-m[1][0] / determinant, m[0][0] / determinant],
        ]
    })
}

fn write_polynomial(header: &mut Header, name: &str, order: usize, coefficients: &[f64]) {
    header.number(&format!("{name}_ORDER"), order, "SIP");
    for ((p, q), value) in terms(order).zip(coefficients) {
        if *value != 0.0 {
            header.number(&format!("{name}_{p}_{q}"), format!("{value:.12E}"), "");
        }
    }
}

fn read_sip(header: &Header) -> Option<Sip> {
    let order = header.get_usize("A_ORDER")?.max(header.get_usize("B_ORDER")?);
    if !(2..=9).contains(&order) {
        return None;
    }
    let read = |name: &str| {
        terms(order)
            .map(|(p, q)| header.get_f64(&format!("{name}_{p}_{q}")).unwrap_or(0.0))
            .collect()
    };
    Some(Sip {
        order,
        a: read("A"),
        b: read("B"),
    })
}

/// Keywords of an older solution in whatever convention.
fn stale_keywords(header: &Header) -> Vec<String> {
    const WHOLE: [&str; 14] = [
        "WCSAXES", "CDELT1", "CDELT2", "CROTA1", "CROTA2", "CUNIT1", "CUNIT2", "LONPOLE", "LATPOLE", "EQUINOX",
        "RADESYS", "RADECSYS", "EPOCH", "WCSNAME",
    ];
    const STEMS: [&str; 13] = [
        "CTYPE", "CRVAL", "CRPIX", "CD1_", "CD2_", "PC1_", "PC2_", "PV1_", "PV2_", "A_", "B_", "AP_", "BP_",
    ];
    header
        .keywords()
        .filter(|k| WHOLE.contains(&k.as_str()) || STEMS.iter().any(|s| k.starts_with(s)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distorted() -> Wcs {
        let mut a = vec![0.0; 6];
        let mut b = vec![0.0; 6];
        (a[3], a[4], b[5]) = (2e-6, -1e-6, 3e-6);
        Wcs {
            crval: (204.66, 44.64),
            crpix: (1023.5, 1023.5),
            cd: [[-2.4e-4, 1e-5], [1.1e-5, 2.4e-4]],
            sip: Some(Sip { order: 2, a, b }),
        }
    }

    #[test]
    fn a_pixel_goes_to_the_sky_and_back_also_through_a_header() {
        let wcs = distorted();
        let mut header = Header::new();
        header.number("CROTA2", 12, "of an older solution");
        header.number("PC1_1", 3, "of an older solution");
        wcs.write(&mut header, 2048, 2048);
        let again = Wcs::read(&header).unwrap();
        assert_eq!((header.get("CROTA2"), header.get("PC1_1")), (None, None));
        for (x, y) in [(0.0, 0.0), (2047.0, 3.0), (512.3, 1800.9)] {
            let (ra, dec) = wcs.sky_of(x, y);
            let back = wcs.pixel_of(ra, dec).unwrap();
            assert!((back.0 - x).hypot(back.1 - y) < 1e-5, "{back:?}");
            let (ra, dec) = again.sky_of(x, y);
            let back = wcs.pixel_of(ra, dec).unwrap();
            assert!((back.0 - x).hypot(back.1 - y) < 1e-3, "{back:?}");
        }
    }

    #[test]
    fn directions_near_a_pole_and_over_the_meridian_project_and_return() {
        for centre in [(359.9, 10.0), (12.0, 89.9), (100.0, -90.0)] {
            for plane in [(0.3, -0.2), (-0.4, 0.5)] {
                let sky = deproject(centre, plane);
                let back = project(centre, sky).unwrap();
                assert!((back.0 - plane.0).hypot(back.1 - plane.1) < 1e-9, "{centre:?} {back:?}");
            }
        }
        assert_eq!(project((0.0, 0.0), (180.0, 0.0)), None);
    }

    #[test]
    fn a_world_that_cannot_be_is_no_world() {
        let mut header = Header::new();
        distorted().write(&mut header, 100, 100);
        assert!(Wcs::read(&header).is_some());
        for (key, value) in [("CRVAL2", "123.0"), ("CD1_1", "0.0"), ("CD2_2", "NaN")] {
            let mut lying = header.clone();
            lying.number(key, value, "");
            if key == "CD1_1" {
                lying.number("CD1_2", "0.0", "");
            }
            if key == "CD2_2" {
                lying.number("CD2_1", "0.0", "");
            }
            assert_eq!(Wcs::read(&lying), None, "{key}");
        }
    }
}
