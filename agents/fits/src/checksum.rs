//! CHECKSUM and DATASUM (FITS Standard 4.0, section 4.4.2.7 and appendix J): the ones' complement sum of a header and
//! data unit, as 32-bit words, is made all ones by the value of CHECKSUM.

use crate::{FitsError, Header, extension::data_size};

/// What the sums of a header and data unit say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Neither keyword is there.
    Absent,
    Right,
    Wrong,
}

/// Ones' complement sum of whole words; the bytes of FITS fill them.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let mut total = 0u64;
    for word in bytes.chunks_exact(4) {
        total += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    while total >> 32 != 0 {
        total = (total & 0xffff_ffff) + (total >> 32);
    }
    total as u32
}

pub(crate) fn add(a: u32, b: u32) -> u32 {
    let total = u64::from(a) + u64::from(b);
    ((total & 0xffff_ffff) + (total >> 32)) as u32
}

/// The sixteen characters that stand for the complement of a sum.
fn encoded(value: u32) -> String {
    let mut characters = [0u8; 16];
    for (place, byte) in value.to_be_bytes().into_iter().enumerate() {
        let mut four = [byte / 4 + b'0'; 4];
        four[0] += byte % 4;
        // Punctuation is avoided by taking from the one and giving to the other of a pair.
        let punctuation = |c: u8| (0x3a..=0x40).contains(&c) || (0x5b..=0x60).contains(&c);
        while four.iter().any(|c| punctuation(*c)) {
            for pair in [0, 2] {
                if punctuation(four[pair]) || punctuation(four[pair + 1]) {
                    four[pair] += 1;
                    four[pair + 1] -= 1;
                }
            }
        }
        for (n, character) in four.into_iter().enumerate() {
            // Turned by one, because the value begins at byte 11 of its card.
            characters[(4 * n + place + 1) % 16] = character;
        }
    }
    characters.iter().map(|c| char::from(*c)).collect()
}

/// A header as blocks with both keywords right for the data that follow it.
pub(crate) fn signed(header: &Header, mandatory: &[(&str, String)], data: &[u8]) -> Vec<u8> {
    signed_sum(header, mandatory, sum(data))
}

/// The same, for data of which the sum is known.
pub(crate) fn signed_sum(header: &Header, mandatory: &[(&str, String)], of_data: u32) -> Vec<u8> {
    let mut header = header.clone();
    header.remove("CHECKSUM");
    header.remove("DATASUM");
    header.text("CHECKSUM", "0000000000000000", "of the header and data unit");
    header.text("DATASUM", &of_data.to_string(), "of the data unit");
    let whole = add(sum(&header.bytes(mandatory)), of_data);
    header.text("CHECKSUM", &encoded(!whole), "of the header and data unit");
    header.bytes(mandatory)
}

/// Verifies every header and data unit of a file, in order.
pub fn verify(bytes: &[u8]) -> Result<Vec<Checksum>, FitsError> {
    let (mut header, mut length) = Header::parse(bytes)?;
    let (mut at, mut found) = (0usize, Vec::new());
    loop {
        let data = data_size(&header)
            .and_then(|size| size.checked_next_multiple_of(crate::BLOCK))
            .ok_or(FitsError::Missing("NAXIS"))?;
        let (start, end) = (at + length, (at + length).saturating_add(data));
        let own = bytes.get(start..end).ok_or(FitsError::Truncated {
            claimed: data,
            present: bytes.len().saturating_sub(start),
        })?;
        let data_right = header
            .get("DATASUM")
            .map(|v| v.parse::<u64>() == Ok(u64::from(sum(own))));
        let whole_right = header
            .get("CHECKSUM")
            .map(|_| [0, u32::MAX].contains(&add(sum(&bytes[at..start]), sum(own))));
        found.push(match (data_right, whole_right) {
            (None, None) => Checksum::Absent,
            (Some(false), _) | (_, Some(false)) => Checksum::Wrong,
            _ => Checksum::Right,
        });
        at = end;
        let Some(rest) = bytes.get(at..).filter(|r| r.starts_with(b"XTENSION")) else {
            return Ok(found);
        };
        (header, length) = Header::parse_any(rest)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, write_f32, write_u16};

    #[test]
    fn what_is_written_verifies_and_a_flipped_bit_is_noticed() {
        let mut header = Header::new();
        header.text("OBJECT", "a frame", "");
        let mut file = write_u16(&header, 5, 3, &(0..15).map(|n| n * 4001).collect::<Vec<_>>()).unwrap();
        assert_eq!(verify(&file).unwrap(), [Checksum::Right]);
        let last = file.len() - 2860;
        file[last] ^= 4;
        assert_eq!(verify(&file).unwrap(), [Checksum::Wrong]);
        let image = Image {
            width: 2,
            height: 1,
            pixels: vec![1.5, -2.0],
        };
        let (again, _) = Header::parse(&file).unwrap();
        assert_eq!(verify(&write_f32(&again, &image).unwrap()).unwrap(), [Checksum::Right]);
    }

    #[test]
    fn the_standards_example_is_encoded_as_it_has_it() {
        // Appendix J.4: the sum 868229149 is written as hcHjjc9ghcEghc9g.
        assert_eq!(encoded(!868_229_149), "hcHjjc9ghcEghc9g");
    }
}
