//! Arithmetic on sets of stretches: pairs of seconds, ascending.

/// Sorted, overlapping stretches joined.
pub(crate) fn merged(mut spans: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    spans.retain(|(a, b)| b > a);
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out: Vec<(f64, f64)> = Vec::new();
    for (a, b) in spans {
        match out.last_mut() {
            Some(last) if a <= last.1 => last.1 = last.1.max(b),
            _ => out.push((a, b)),
        }
    }
    out
}

pub(crate) fn intersect(x: &[(f64, f64)], y: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for (a, b) in x {
        for (c, d) in y {
            let (from, to) = (a.max(*c), b.min(*d));
            if to > from {
                out.push((from, to));
            }
        }
    }
    out
}

pub(crate) fn complement(spans: &[(f64, f64)], length: f64) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    let mut open = 0.0;
    for (a, b) in spans {
        if *a > open {
            out.push((open, a.min(length)));
        }
        open = b.max(open);
    }
    if open < length {
        out.push((open, length));
    }
    out.retain(|(a, b)| b > a);
    out
}

pub(crate) fn longest(spans: &[(f64, f64)]) -> f64 {
    spans.iter().map(|(a, b)| b - a).fold(0.0, f64::max)
}
