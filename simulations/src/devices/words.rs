//! Numbers and fields as the simulated devices write them: hundreds of thousands a night.

use std::fmt::Write;

/// Writes `value` with so many decimals (up to three), exactly as `{:.decimals$}` does.
pub fn fixed(out: &mut String, value: f64, decimals: u32) {
    let unit = 10u32.pow(decimals);
    let scaled = value.abs() * f64::from(unit);
    let down = scaled.floor();
    let part = scaled - down;
    // Beyond the reach of rounding errors in `scaled` from a tie, the nearest whole number is the right one.
    if !(scaled < 1e9 && (part - 0.5).abs() > 1e-6) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{value:.*}", decimals as usize);
        return;
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    let whole = down as u32 + u32::from(part > 0.5);
    digits(out, whole / unit);
    if decimals > 0 {
        out.push('.');
        let mut rest = whole % unit;
        let mut place = unit / 10;
        while place > 0 {
            out.push(char::from(b'0' + (rest / place) as u8));
            rest %= place;
            place /= 10;
        }
    }
}

/// Writes a whole number.
fn digits(out: &mut String, number: u32) {
    let mut place = 1;
    while number / place >= 10 {
        place *= 10;
    }
    while place > 0 {
        out.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
}

/// A line of fields between semicolons, written from the first to the last; what is left out is 0.
pub struct Fields {
    text: String,
    next: usize,
}

impl Fields {
    pub fn new(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            next: 0,
        }
    }

    /// The place of field `at`, which is not before the last one.
    pub fn put(&mut self, at: usize) -> &mut String {
        while self.next < at {
            self.separate();
            self.text.push('0');
        }
        self.separate();
        &mut self.text
    }

    fn separate(&mut self) {
        if self.next > 0 {
            self.text.push(';');
        }
        self.next += 1;
    }

    /// The line with so many fields in all.
    pub fn line(mut self, count: usize) -> String {
        while self.next < count {
            self.separate();
            self.text.push('0');
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64, decimals: u32) -> String {
        let mut out = String::new();
        fixed(&mut out, value, decimals);
        out
    }

    #[test]
    fn ties_and_what_is_no_number_are_written_as_the_library_does() {
        for value in [
            0.0,
            -0.0,
            0.125,
            0.375,
            -0.005,
            2.675,
            1e15,
            f64::NAN,
            f64::INFINITY,
            -0.001,
            99.995,
            9.999_999,
        ] {
            for decimals in 0..=3 {
                assert_eq!(
                    written(value, decimals),
                    format!("{value:.*}", decimals as usize),
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn what_is_left_out_is_nothing() {
        let mut fields = Fields::new(16);
        fields.put(1).push_str("NA");
        fields.put(3).push('7');
        assert_eq!(fields.line(6), "0;NA;0;7;0;0");
    }

    proptest! {
        #[test]
        fn a_number_is_written_as_the_library_does(value in -1e7f64..1e7, fine in -20.0f64..20.0, decimals in 0u32..=3) {
            prop_assert_eq!(written(value, decimals), format!("{value:.*}", decimals as usize));
            prop_assert_eq!(written(fine, decimals), format!("{fine:.*}", decimals as usize));
            // Numbers that were cut to a half are ties, or look like ones.
            let half = (fine * 200.0).round() / 200.0;
            prop_assert_eq!(written(half, decimals), format!("{half:.*}", decimals as usize));
        }
    }
}
