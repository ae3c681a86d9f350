//! Least squares: a WCS from matched stars.

use super::wcs::{Sip, Wcs, deproject, invert, polynomial, project, terms};

/// A star of the frame and its direction in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub x: f64,
    pub y: f64,
    pub ra_deg: f64,
    pub dec_deg: f64,
}

/// Solves `a x = b` for a symmetric positive matrix given row by row, by elimination with pivots.
pub fn linear(mut a: Vec<f64>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[i * n + column].abs().total_cmp(&a[j * n + column].abs()))?;
        if a[pivot * n + column].abs() < 1e-14 {
            return None;
        }
        if pivot != column {
            for k in 0..n {
                a.swap(pivot * n + k, column * n + k);
            }
            b.swap(pivot, column);
        }
        for row in column + 1..n {
            let factor = a[row * n + column] / a[column * n + column];
            if factor != 0.0 {
                for k in column..n {
                    a[row * n + k] -= factor * a[column * n + k];
                }
                b[row] -= factor * b[column];
            }
        }
    }
    for column in (0..n).rev() {
        let sum: f64 = (column + 1..n).map(|k| a[column * n + k] * b[k]).sum();
        b[column] = (b[column] - sum) / a[column * n + column];
    }
    b.iter().all(|v| v.is_finite()).then_some(b)
}

/// Least squares: coefficients of `columns` that best give `values`; rows are samples.
pub fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Option<Vec<f64>> {
    let n = rows.first()?.len();
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for (row, value) in rows.iter().zip(values) {
        for i in 0..n {
            b[i] += row[i] * value;
            for j in 0..n {
                a[i * n + j] += row[i] * row[j];
            }
        }
    }
    linear(a, b)
}

fn monomials(order: usize, u: f64, v: f64) -> Vec<f64> {
    terms(order).map(|(p, q)| u.powi(p as i32) * v.powi(q as i32)).collect()
}

/// Fits a WCS with the reference pixel at `crpix`; `order` 1 is without distortion. `near` is where the frame is about.
pub fn wcs(matches: &[Match], crpix: (f64, f64), near: (f64, f64), order: usize) -> Option<Wcs> {
    let needed = (order + 1) * (order + 2) / 2;
    if matches.len() < needed {
        return None;
    }
    // Coordinates of about one keep the equations well conditioned.
    let unit = matches
        .iter()
        .map(|m| (m.x - crpix.0).abs().max((m.y - crpix.1).abs()))
        .fold(1.0, f64::max);
    let mut crval = near;
    let mut found = None;
    for _ in 0..3 {
        let (mut rows, mut east, mut north) = (Vec::new(), Vec::new(), Vec::new());
        for m in matches {
            let (xi, eta) = project(crval, (m.ra_deg, m.dec_deg))?;
            rows.push(monomials(order, (m.x - crpix.0) / unit, (m.y - crpix.1) / unit));
            east.push(xi);
            north.push(eta);
        }
        let (e, n) = (least_squares(&rows, &east)?, least_squares(&rows, &north)?);
        crval = deproject(crval, (e[0], n[0]));
        // Terms are u then v; the constant goes into the reference value.
        let cd = [[e[1] / unit, e[2] / unit], [n[1] / unit, n[2] / unit]];
        let inverse = invert(cd)?;
        let sip = (order > 1).then(|| {
            let higher = |row: [f64; 2]| {
                terms(order)
                    .enumerate()
                    .map(|(at, (p, q))| {
                        let shrink = unit.powi((p + q) as i32);
                        if p + q < 2 {
                            0.0
                        } else {
                            (row[0] * e[at] + row[1] * n[at]) / shrink
                        }
                    })
                    .collect()
            };
            Sip {
                order,
                a: higher(inverse[0]),
                b: higher(inverse[1]),
            }
        });
        found = Some(Wcs { crval, crpix, cd, sip });
    }
    found
}

/// Fits position, scale and rotation alone, for few stars; the picture's handedness is given.
pub fn similarity(matches: &[Match], crpix: (f64, f64), near: (f64, f64), east_left: bool) -> Option<Wcs> {
    let side = if east_left { -1.0 } else { 1.0 };
    let mut crval = near;
    let mut found = None;
    for _ in 0..3 {
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for m in matches {
            let (xi, eta) = project(crval, (m.ra_deg, m.dec_deg))?;
            let (u, v) = (m.x - crpix.0, m.y - crpix.1);
            // side xi + i eta = c (u + i v) + t
            rows.push(vec![u, -v, 1.0, 0.0]);
            values.push(side * xi);
            rows.push(vec![v, u, 0.0, 1.0]);
            values.push(eta);
        }
        let c = least_squares(&rows, &values)?;
        crval = deproject(crval, (side * c[2], c[3]));
        found = Some(Wcs {
            crval,
            crpix,
            cd: [[side * c[0], -side * c[1]], [c[1], c[0]]],
            sip: None,
        });
    }
    found.filter(|w| w.scale_arcsec() > 0.0)
}

/// Coefficients that undo a distortion within a frame: u = U + AP(U, V), fitted on a grid.
pub(super) fn inverse_sip(wcs: &Wcs, sip: &Sip, width: usize, height: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    const STEPS: usize = 12;
    let unit = (width.max(height) as f64).max(1.0);
    let (mut rows, mut us, mut vs) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=STEPS {
        for j in 0..=STEPS {
            let u = width as f64 * i as f64 / STEPS as f64 - wcs.crpix.0;
            let v = height as f64 * j as f64 / STEPS as f64 - wcs.crpix.1;
            let (du, dv) = (polynomial(sip.order, &sip.a, u, v), polynomial(sip.order, &sip.b, u, v));
            rows.push(monomials(sip.order, (u + du) / unit, (v + dv) / unit));
            us.push(-du);
            vs.push(-dv);
        }
    }
    let back = |coefficients: Vec<f64>| -> Vec<f64> {
        terms(sip.order)
            .zip(coefficients)
            .map(|((p, q), c)| c / unit.powi((p + q) as i32))
            .collect()
    };
    Some((back(least_squares(&rows, &us)?), back(least_squares(&rows, &vs)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distorted_field_is_recovered_from_its_stars() {
        let truth = Wcs {
            crval: (10.0, -60.0),
            crpix: (499.5, 499.5),
            cd: [[-3e-4, 1e-5], [1e-5, 3e-4]],
            sip: Some(Sip {
                order: 2,
                a: vec![0.0, 0.0, 0.0, 4e-6, 0.0, -2e-6],
                b: vec![0.0, 0.0, 0.0, 0.0, 3e-6, 1e-6],
            }),
        };
        let matches: Vec<Match> = (0..80)
            .map(|n| {
                let (x, y) = (f64::from(n * 137 % 1000), f64::from(n * 389 % 1000));
                let (ra_deg, dec_deg) = truth.sky_of(x, y);
                Match { x, y, ra_deg, dec_deg }
            })
            .collect();
        let found = wcs(&matches, (499.5, 499.5), (10.1, -60.1), 2).unwrap();
        for m in &matches {
            let (x, y) = found.pixel_of(m.ra_deg, m.dec_deg).unwrap();
            assert!((x - m.x).hypot(y - m.y) < 1e-3);
        }
        assert_eq!(wcs(&matches[..5], (499.5, 499.5), (10.0, -60.0), 2), None);
    }
}
