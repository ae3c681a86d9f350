//! Medians of few values, many at a time.

#[inline(always)]
fn order<const N: usize>(v: &mut [f32; N], a: usize, b: usize) {
    // Written so that it becomes the processor's minimum and maximum, which f32::min with its care for NaN does not.
    let (low, high) = if v[a] < v[b] { (v[a], v[b]) } else { (v[b], v[a]) };
    v[a] = low;
    v[b] = high;
}

macro_rules! network {
    ($name:ident, $n:literal, $middle:literal, $($a:literal $b:literal),+) => {
        #[inline(always)]
        pub(super) fn $name(mut v: [f32; $n]) -> f32 {
            $(order(&mut v, $a, $b);)+
            v[$middle]
        }
    };
}

// Shortest exchange networks for the median (Smith 1996, Vision Interface; Devillard 1998).
network!(median5, 5, 2, 0 1, 3 4, 0 3, 1 4, 1 2, 2 3, 1 2);
network!(median7, 7, 3, 0 5, 0 3, 1 6, 2 4, 0 1, 3 5, 2 6, 2 3, 3 6, 4 5, 1 4, 1 3, 3 4);
network!(median9, 9, 4, 1 2, 4 5, 7 8, 0 1, 3 4, 6 7, 1 2, 4 5, 7 8, 0 3, 5 8, 4 7, 3 6, 1 4, 2 5, 4 7, 4 2, 6 4, 4 2);

/// Median over seven of every row, then of every column; three pixels at the border stay.
pub(super) fn separable7(image: &[f32], width: usize, out: &mut [f32], rows: &mut Vec<f32>) {
    let height = image.len() / width;
    rows.clear();
    rows.extend_from_slice(image);
    if width >= 7 {
        for (row, line) in image.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            let [a, b, c, d, e, f, g] = [0, 1, 2, 3, 4, 5, 6].map(|n| &row[n..width - 6 + n]);
            for (x, value) in line[3..width - 3].iter_mut().enumerate() {
                *value = median7([a[x], b[x], c[x], d[x], e[x], f[x], g[x]]);
            }
        }
    }
    out.copy_from_slice(image);
    if width < 7 || height < 7 {
        return;
    }
    for y in 3..height - 3 {
        let inner = 3..width - 3;
        let line = |n: usize| &rows[(y + n - 3) * width..][inner.clone()];
        let [a, b, c, d, e, f, g] = [0, 1, 2, 3, 4, 5, 6].map(line);
        for (x, value) in out[y * width..][inner.clone()].iter_mut().enumerate() {
            *value = median7([a[x], b[x], c[x], d[x], e[x], f[x], g[x]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn networks_find_the_median(values in proptest::array::uniform9(-1e3f32..1e3)) {
            let middle = |n: usize| {
                let mut sorted = values[..n].to_vec();
                sorted.sort_by(f32::total_cmp);
                sorted[n / 2]
            };
            prop_assert_eq!(median9(values), middle(9));
            prop_assert_eq!(median7([0, 1, 2, 3, 4, 5, 6].map(|n| values[n])), middle(7));
            prop_assert_eq!(median5([0, 1, 2, 3, 4].map(|n| values[n])), middle(5));
        }
    }
}
