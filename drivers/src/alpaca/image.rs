//! Images, as ImageBytes or as JSON (Alpaca API reference, chapter 8).
//!
//! ImageBytes is a header of eleven little-endian 32-bit integers and then the pixels: metadata version (1), error number,
//! client and server transaction, offset of the data, element type of the image, element type that was sent, rank, and
//! three dimensions (columns, rows, planes). The array is indexed `[column][row]`, the row fastest. Row 0 is the top of the
//! picture, and a [`crate::interface::Frame`] starts at the bottom: the rows are turned round here.

use super::session::refusal;
use crate::wire::Trouble;
use serde::Deserialize;

/// Pixels with their size, row by row from the bottom.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u16>,
}

fn garbage(what: impl Into<String>) -> Trouble {
    Trouble::Garbage(what.into())
}

/// What lies beyond the 16 bits of a frame stays at their end.
fn level(value: f64) -> u16 {
    value.round().clamp(0.0, 65_535.0) as u16
}

/// Turns `at(column, row)` round into rows from the bottom.
fn turned(width: usize, height: usize, at: impl Fn(usize, usize) -> u16) -> Picture {
    let mut pixels = Vec::with_capacity(width * height);
    for row in (0..height).rev() {
        pixels.extend((0..width).map(|column| at(column, row)));
    }
    Picture { width, height, pixels }
}

/// Makes a level of the bytes of one element.
type Develop = fn(&[u8]) -> u16;

/// Bytes of one element, and how it becomes a level.
fn element(kind: i32) -> Option<(usize, Develop)> {
    fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    Some(match kind {
        1 => (2, |b| level(f64::from(i16::from_le_bytes(of(b))))),
        2 => (4, |b| level(f64::from(i32::from_le_bytes(of(b))))),
        3 => (8, |b| level(f64::from_le_bytes(of(b)))),
        4 => (4, |b| level(f64::from(f32::from_le_bytes(of(b))))),
        5 => (8, |b| u16::try_from(u64::from_le_bytes(of(b))).unwrap_or(u16::MAX)),
        6 => (1, |b| u16::from(b[0])),
        7 => (8, |b| level(i64::from_le_bytes(of(b)) as f64)),
        8 => (2, |b| u16::from_le_bytes(of(b))),
        9 => (4, |b| u16::try_from(u32::from_le_bytes(of(b))).unwrap_or(u16::MAX)),
        _ => return None,
    })
}

/// Reads ImageBytes that answer question `asked`.
pub fn from_bytes(bytes: &[u8], asked: u32) -> Result<Picture, Trouble> {
    let mut head = [0i32; 11];
    if bytes.len() < 44 {
        return Err(garbage(format!("an image of {} bytes", bytes.len())));
    }
    for (word, four) in head.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = i32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
    let [version, error, client, _, start, _, sent, rank, columns, rows, _] = head;
    if version != 1 {
        return Err(garbage(format!("image metadata of version {version}")));
    }
    // Servers leave the number out here.
    if client != 0 && client.cast_unsigned() != asked {
        return Err(garbage(format!("image of transaction {client} instead of {asked}")));
    }
    let start = usize::try_from(start)
        .ok()
        .filter(|start| (44..=bytes.len()).contains(start));
    let data = &bytes[start.ok_or_else(|| garbage("the image data begin outside of it"))?..];
    if error != 0 {
        return Err(refusal(error, &String::from_utf8_lossy(data)));
    }
    let (size, read) = element(sent).ok_or_else(|| garbage(format!("image elements of type {sent}")))?;
    let dimension = |n: i32| usize::try_from(n).ok().filter(|n| (1..=100_000).contains(n));
    let (Some(width), Some(height), 2) = (dimension(columns), dimension(rows), rank) else {
        return Err(garbage(format!(
            "an image of rank {rank} with {columns} by {rows} pixels"
        )));
    };
    if data.len() != width * height * size {
        return Err(garbage(format!(
            "{} bytes for {width} by {height} pixels of {size}",
            data.len()
        )));
    }
    Ok(turned(width, height, |column, row| {
        let at = (column * height + row) * size;
        read(&data[at..at + size])
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Array {
    #[serde(rename = "ClientTransactionID", default)]
    client: u64,
    #[serde(default)]
    error_number: i32,
    #[serde(default)]
    error_message: String,
    #[serde(default)]
    value: Vec<Vec<f64>>,
}

/// Reads the JSON form, `Value[column][row]`.
pub fn from_json(bytes: &[u8], asked: u32) -> Result<Picture, Trouble> {
    let array: Array = serde_json::from_slice(bytes).map_err(|e| garbage(format!("image is no plane in JSON: {e}")))?;
    if array.client != u64::from(asked) && !(array.error_number != 0 && array.client == 0) {
        return Err(garbage(format!(
            "image of transaction {} instead of {asked}",
            array.client
        )));
    }
    if array.error_number != 0 {
        return Err(refusal(array.error_number, &array.error_message));
    }
    let columns = array.value;
    let height = columns.first().map_or(0, Vec::len);
    if height == 0 || columns.iter().any(|column| column.len() != height) {
        return Err(garbage("an image with columns of different length, or without any"));
    }
    Ok(turned(columns.len(), height, |column, row| level(columns[column][row])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(head: [i32; 11], data: &[u8]) -> Vec<u8> {
        head.iter()
            .flat_map(|word| word.to_le_bytes())
            .chain(data.iter().copied())
            .collect()
    }

    /// Three columns, two rows; the top row is 1 3 5.
    const HEAD: [i32; 11] = [1, 0, 7, 3, 44, 2, 8, 2, 3, 2, 0];
    const PIXELS: [u16; 6] = [1, 2, 3, 4, 5, 6];

    fn expected() -> Picture {
        Picture {
            width: 3,
            height: 2,
            pixels: vec![2, 4, 6, 1, 3, 5],
        }
    }

    #[test]
    fn the_rows_come_out_from_the_bottom_whatever_was_sent() {
        let data: Vec<u8> = PIXELS.iter().flat_map(|p| p.to_le_bytes()).collect();
        assert_eq!(from_bytes(&bytes(HEAD, &data), 7), Ok(expected()));
        let wide: Vec<u8> = PIXELS.iter().flat_map(|p| i32::from(*p).to_le_bytes()).collect();
        let mut head = HEAD;
        (head[6], head[2]) = (2, 0);
        assert_eq!(from_bytes(&bytes(head, &wide), 7), Ok(expected()));
        let json = br#"{"ClientTransactionID":7,"ErrorNumber":0,"Type":2,"Rank":2,"Value":[[1,2],[3,4],[5,6]]}"#;
        assert_eq!(from_json(json, 7), Ok(expected()));
    }

    #[test]
    fn levels_beyond_sixteen_bits_stay_at_their_end() {
        let data: Vec<u8> = [-5i32, 70_000].iter().flat_map(|p| p.to_le_bytes()).collect();
        let mut head = HEAD;
        (head[6], head[8], head[9]) = (2, 2, 1);
        assert_eq!(from_bytes(&bytes(head, &data), 7).unwrap().pixels, [0, 65_535]);
    }

    #[test]
    fn broken_images_and_errors_are_not_pictures() {
        let data: Vec<u8> = PIXELS.iter().flat_map(|p| p.to_le_bytes()).collect();
        for (at, wrong) in [
            (0, 2),
            (2, 8),
            (4, 43),
            (4, 57),
            (4, -1),
            (6, 0),
            (6, 2),
            (7, 3),
            (8, 0),
            (8, -3),
            (9, i32::MAX),
        ] {
            let mut head = HEAD;
            head[at] = wrong;
            assert!(
                matches!(from_bytes(&bytes(head, &data), 7), Err(Trouble::Garbage(_))),
                "{at} {wrong}"
            );
        }
        assert!(from_bytes(&bytes(HEAD, &data[1..]), 7).is_err());
        let mut head = HEAD;
        (head[1], head[2]) = (0x40B, 0);
        let refused = from_bytes(&bytes(head, b"no image"), 7).unwrap_err();
        assert!(matches!(refused, Trouble::Refused { code: 0x40B, message } if message.contains("no image")));
        for json in [
            &br#"{"ClientTransactionID":6,"Value":[[1]]}"#[..],
            br#"{"ClientTransactionID":7,"Value":[[1],[2,3]]}"#,
            br#"{"ClientTransactionID":7}"#,
        ] {
            assert!(matches!(from_json(json, 7), Err(Trouble::Garbage(_))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut head in prop::array::uniform11(-3i32..60), data in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(from_bytes(&bytes(head, &data), 7));
            (head[0], head[1], head[2], head[4], head[7]) = (1, 0, 7, 44, 2);
            drop(from_bytes(&bytes(head, &data), 7));
            drop(from_bytes(&data, 7));
            drop(from_json(&data, 7));
        }
    }
}
