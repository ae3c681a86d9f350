//! The level of a strip along the read-out.

/// Median without what has no value; zero without any.
pub(super) fn middle(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.filter(|v| v.is_finite()).collect();
    crate::calibrate::median(&mut values)
}

/// A cubic through the values, by Legendre polynomials over their numbers, fitted thrice, without what is beyond three
/// scatters of the fit before.
pub(super) fn smoothed(values: &[f32]) -> Vec<f32> {
    const TERMS: usize = 4;
    if values.len() < 4 * TERMS {
        let level = middle(values.iter().copied());
        return vec![level; values.len()];
    }
    let half = (values.len() - 1) as f64 / 2.0;
    let terms = |n: usize| {
        let t = n as f64 / half - 1.0;
        [1.0, t, 1.5 * t * t - 0.5, 2.5 * t * t * t - 1.5 * t]
    };
    let start = f64::from(middle(values.iter().copied()));
    let mut fit = vec![start; values.len()];
    let mut reach = f64::INFINITY;
    for _ in 0..3 {
        let (mut normal, mut right) = ([[0f64; TERMS]; TERMS], [0f64; TERMS]);
        for (n, value) in values.iter().enumerate() {
            if !value.is_finite() || (f64::from(*value) - fit[n]).abs() > reach {
                continue;
            }
            let basis = terms(n);
            for i in 0..TERMS {
                right[i] += basis[i] * f64::from(*value);
                for j in 0..TERMS {
                    normal[i][j] += basis[i] * basis[j];
                }
            }
        }
        let Some(weights) = solved(normal, right) else {
            return vec![start as f32; values.len()];
        };
        for (n, fit) in fit.iter_mut().enumerate() {
            *fit = terms(n).iter().zip(&weights).map(|(b, w)| b * w).sum();
        }
        let mut apart: Vec<f32> = values
            .iter()
            .zip(&fit)
            .map(|(v, f)| (v - *f as f32).abs())
            .filter(|d| d.is_finite())
            .collect();
        reach = 3.0 * 1.4826 * f64::from(crate::calibrate::median(&mut apart)).max(1e-3);
    }
    fit.iter().map(|f| *f as f32).collect()
}

/// Gaussian elimination of a positive definite system; `None` where it is singular.
fn solved<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for i in 0..N {
        let pivot = a[i];
        if pivot[i].abs() < 1e-9 {
            return None;
        }
        for j in i + 1..N {
            let share = a[j][i] / pivot[i];
            for (k, p) in pivot.iter().enumerate().skip(i) {
                a[j][k] -= share * p;
            }
            b[j] -= share * b[i];
        }
    }
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    Some(b)
}
