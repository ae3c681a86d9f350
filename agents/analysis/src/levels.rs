//! The middle of many values without a copy of them.

/// Is called with every value.
pub type Each<'a> = &'a mut dyn FnMut(f32);

/// The middle value of those that are finite, the upper one of two; NaN without any.
pub fn median(values: &[f32]) -> f64 {
    median_of(&mut |each| values.iter().for_each(|v| each(*v)))
}

/// The same by counting, so that a large image is neither copied nor need be in memory: `all` shows every value, and is
/// called twice.
pub fn median_of(all: &mut dyn FnMut(Each<'_>)) -> f64 {
    // Whole numbers in the order of the values: the sign turned for positive ones, everything for negative ones.
    let key = |v: f32| {
        let bits = v.to_bits();
        if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
    };
    let find = |counts: &[usize], mut wanted: usize| {
        for (bin, number) in counts.iter().enumerate() {
            if wanted < *number {
                return (bin as u32, wanted);
            }
            wanted -= number;
        }
        (0, 0)
    };
    let mut counts = vec![0usize; 1 << 16];
    all(&mut |v| {
        if v.is_finite() {
            counts[(key(v) >> 16) as usize] += 1;
        }
    });
    let count: usize = counts.iter().sum();
    if count == 0 {
        return f64::NAN;
    }
    let (high, rest) = find(&counts, count / 2);
    counts.fill(0);
    all(&mut |v| {
        if v.is_finite() && key(v) >> 16 == high {
            counts[(key(v) & 0xffff) as usize] += 1;
        }
    });
    let (low, _) = find(&counts, rest);
    let key = high << 16 | low;
    let bits = if key >> 31 == 1 { key ^ 1 << 31 } else { !key };
    f64::from(f32::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_by_counting_is_that_of_sorting() {
        for count in [1usize, 2, 5, 1000] {
            let mut values: Vec<f32> = (0..count).map(|n| ((n * 7919) % 1013) as f32 * 0.37 - 150.0).collect();
            values.push(f32::NAN);
            let mut sorted: Vec<f32> = values[..count].to_vec();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(median(&values), f64::from(sorted[count / 2]));
        }
        assert!(median(&[f32::NAN]).is_nan());
    }
}
