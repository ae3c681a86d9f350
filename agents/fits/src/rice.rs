//! Rice decompression of one tile (White, Greenfield, Pence, Tody & Seaman, "Tiled Image Convention"; FITS Standard 4.0,
//! section 10.4.1): differences of neighbours, in blocks that share a number of verbatim low bits.

/// Bits from the most significant on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// Zeros before the next one.
    fn zeros(&mut self) -> Option<u32> {
        let mut count = 0;
        while self.take(1)? == 0 {
            count += 1;
        }
        Some(count)
    }
}

/// The `count` numbers of a tile of 1, 2 or 4 bytes each; `None` where the bytes end too soon or make no sense.
pub(crate) fn decode(bytes: &[u8], count: usize, byte_size: usize, block: usize) -> Option<Vec<i64>> {
    let (width, longest) = match byte_size {
        1 => (3, 6),
        2 => (4, 14),
        4 => (5, 25),
        _ => return None,
    };
    // A block of 32 numbers takes at least one code of some bits: what cannot be there is not asked for.
    if block == 0 || count / block > bytes.len().saturating_mul(8) {
        return None;
    }
    let mut bits = Bits { bytes, at: 0 };
    let mut last = bits.take(8 * byte_size as u32)?;
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let code = bits.take(width)?;
        for _ in 0..block.min(count - numbers.len()) {
            let folded = match code {
                0 => 0,
                code if code > longest => bits.take(8 * byte_size as u32)?,
                code => bits.zeros()?.checked_shl(code - 1)? | bits.take(code - 1)?,
            };
            let difference = if folded & 1 == 1 { !(folded >> 1) } else { folded >> 1 };
            last = last.wrapping_add(difference);
            numbers.push(match byte_size {
                1 => i64::from(last as u8),
                2 => i64::from(last as u16 as i16),
                _ => i64::from(last as i32),
            });
        }
    }
    Some(numbers)
}

/// Bits written from the most significant on.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    word: u64,
    filled: u32,
}

impl Writer {
    fn put(&mut self, value: u32, count: u32) {
        self.word = self.word << count | u64::from(value);
        self.filled += count;
        while self.filled >= 8 {
            self.filled -= 8;
            self.bytes.push((self.word >> self.filled) as u8);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.put(0, 8 - self.filled);
        }
        self.bytes
    }
}

/// A tile of 16-bit numbers, for [`decode`].
pub(crate) fn encode(numbers: &[i16], block: usize) -> Vec<u8> {
    const LONGEST: u32 = 14;
    let mut out = Writer::default();
    let Some(first) = numbers.first() else {
        return Vec::new();
    };
    out.put(u32::from(*first as u16), 16);
    let mut last = *first;
    let mut folded = Vec::with_capacity(block);
    for part in numbers.chunks(block.max(1)) {
        folded.clear();
        for number in part {
            let difference = number.wrapping_sub(last);
            last = *number;
            // Signs are folded into the lowest bit.
            folded.push(((difference << 1) ^ (difference >> 15)) as u16);
        }
        let sum: u64 = folded.iter().map(|v| u64::from(*v)).sum();
        let count = part.len() as u64;
        let mean = (sum.saturating_sub(count / 2 + 1)) / count;
        let low = if mean > 1 {
            u64::BITS - (mean >> 1).leading_zeros()
        } else {
            0
        };
        if sum == 0 {
            out.put(0, 4);
        } else if low >= LONGEST {
            out.put(LONGEST + 1, 4);
            folded.iter().for_each(|v| out.put(u32::from(*v), 16));
        } else {
            out.put(low + 1, 4);
            for value in &folded {
                let mut zeros = u32::from(*value) >> low;
                while zeros >= 24 {
                    out.put(0, 24);
                    zeros -= 24;
                }
                out.put(1, zeros + 1);
                out.put(u32::from(*value) & ((1 << low) - 1), low);
            }
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_unpacks(numbers in proptest::collection::vec(-32_768i16..=32_767, 1..200), spread in 0u32..16) {
            let numbers: Vec<i16> = numbers.iter().map(|n| n >> spread).collect();
            let wanted: Vec<i64> = numbers.iter().map(|n| i64::from(*n)).collect();
            prop_assert_eq!(decode(&encode(&numbers, 32), numbers.len(), 2, 32), Some(wanted));
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(0u8.., 0..100), count in 0usize..10_000) {
            for size in [0, 1, 2, 4] {
                decode(&bytes, count, size, 32);
            }
        }
    }

    #[test]
    fn a_block_of_equal_numbers_is_its_first_and_a_code() {
        assert_eq!(decode(&[0x01, 0x02, 0x00], 5, 2, 32), Some(vec![0x0102; 5]));
        // Code 1: no verbatim bits. Folded differences 2, 1, 0: unary 001 01 1.
        assert_eq!(
            decode(&[0x00, 0x0a, 0b0001_0010, 0b1100_0000], 3, 2, 32),
            Some(vec![11, 10, 10])
        );
        assert_eq!(decode(&[0x00, 0x0a, 0b0001_0010], 3, 2, 32), None);
        assert_eq!(decode(&[0x00, 0x0a, 0x00], usize::MAX, 2, 32), None);
    }
}
