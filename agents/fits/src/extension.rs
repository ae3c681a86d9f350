//! Images in extensions: plain ones, and tile-compressed ones in binary tables (FITS Standard 4.0, sections 7.1 and 10).

use crate::{
    BLOCK, FitsError, Header, Image, checksum,
    image::{decode, dimensions, integers},
    rice,
};

/// Extensions looked at before giving up.
const MOST_EXTENSIONS: usize = 1000;

/// Bytes of data a header announces, without the filling.
pub(crate) fn data_size(header: &Header) -> Option<usize> {
    let axes = header.get_usize("NAXIS").filter(|n| *n <= 999)?;
    if axes == 0 {
        return Some(0);
    }
    let bits = header.get_f64("BITPIX")?.abs() as usize;
    let mut count = 1usize;
    for axis in 1..=axes {
        count = count.checked_mul(header.get_usize(&format!("NAXIS{axis}"))?)?;
    }
    let extra = header.get_usize("PCOUNT").unwrap_or(0);
    let groups = header.get_usize("GCOUNT").unwrap_or(1);
    count.checked_add(extra)?.checked_mul(groups)?.checked_mul(bits / 8)
}

/// Every header of a file with the data behind it, as they stand.
pub fn units(bytes: &[u8]) -> Result<Vec<(Header, &[u8])>, FitsError> {
    let (mut header, mut length) = Header::parse(bytes)?;
    let (mut at, mut found) = (0usize, Vec::new());
    while found.len() < MOST_EXTENSIONS {
        let data = data_size(&header).ok_or(FitsError::Missing("NAXIS"))?;
        let start = at + length;
        let own = bytes
            .get(start..start.saturating_add(data))
            .ok_or(FitsError::Truncated {
                claimed: data,
                present: bytes.len().saturating_sub(start),
            })?;
        found.push((header, own));
        at = start + data.next_multiple_of(BLOCK);
        let Some(rest) = bytes.get(at..).filter(|r| r.starts_with(b"XTENSION")) else {
            break;
        };
        (header, length) = Header::parse_any(rest)?;
    }
    Ok(found)
}

/// The first image after a primary header without one.
pub(crate) fn first_image(bytes: &[u8], primary: &Header, start: usize) -> Result<(Header, Image), FitsError> {
    let none = || FitsError::Impossible {
        keyword: "NAXIS".into(),
        value: "0, and no extension holds an image".into(),
    };
    let skip = |header: &Header, from: usize| from.checked_add(data_size(header)?.checked_next_multiple_of(BLOCK)?);
    let mut at = skip(primary, start).ok_or_else(none)?;
    for _ in 0..MOST_EXTENSIONS {
        let rest = bytes
            .get(at..)
            .filter(|r| r.starts_with(b"XTENSION"))
            .ok_or_else(none)?;
        let (header, length) = Header::parse_any(rest)?;
        let data = at.saturating_add(length);
        let kind = header.get("XTENSION").unwrap_or_default();
        if kind == "IMAGE" && header.get_usize("NAXIS").is_some_and(|n| n >= 2) {
            let image = decode(&header, bytes, data)?;
            return Ok((header.over(primary), image));
        }
        if kind == "BINTABLE" && header.get("ZIMAGE").as_deref() == Some("T") {
            let image = decompress(&header, bytes.get(data..).unwrap_or_default())?;
            return Ok((header.over(primary), image));
        }
        at = skip(&header, data).ok_or_else(none)?;
    }
    Err(none())
}

/// Offset in the row and length of the descriptor of the column of compressed bytes.
fn column(header: &Header) -> Option<(usize, bool)> {
    let mut offset = 0usize;
    for field in 1..=header.get_usize("TFIELDS")?.min(999) {
        let form = header.get(&format!("TFORM{field}"))?;
        let digits = form.chars().take_while(char::is_ascii_digit).count();
        let repeat: usize = if digits == 0 { 1 } else { form[..digits].parse().ok()? };
        let letter = form[digits..].chars().next()?;
        if header.get(&format!("TTYPE{field}")).as_deref() == Some("COMPRESSED_DATA") {
            return matches!(letter, 'P' | 'Q').then_some((offset, letter == 'Q'));
        }
        let size = match letter {
            'L' | 'B' | 'A' => 1,
            'I' => 2,
            'J' | 'E' => 4,
            'K' | 'D' | 'C' | 'P' => 8,
            'M' | 'Q' => 16,
            _ => return None,
        };
        offset = offset.checked_add(repeat.checked_mul(size)?)?;
    }
    None
}

/// A value of a compression parameter, such as BLOCKSIZE.
fn parameter(header: &Header, name: &str, usual: usize) -> usize {
    (1..=9)
        .find(|n| header.get(&format!("ZNAME{n}")).as_deref() == Some(name))
        .and_then(|n| header.get_usize(&format!("ZVAL{n}")))
        .unwrap_or(usual)
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0usize, |value, byte| value.wrapping_shl(8) | usize::from(*byte))
}

/// The image of a compressed table; `data` begins with the table's rows.
fn decompress(header: &Header, data: &[u8]) -> Result<Image, FitsError> {
    let refuse = |keyword: &str| FitsError::Impossible {
        keyword: keyword.into(),
        value: header.get(keyword).unwrap_or_else(|| "missing".into()),
    };
    if header.get("ZCMPTYPE").as_deref() != Some("RICE_1") {
        return Err(refuse("ZCMPTYPE"));
    }
    let bitpix = header.get_f64("ZBITPIX").unwrap_or(0.0);
    if ![8.0, 16.0, 32.0].contains(&bitpix) {
        return Err(refuse("ZBITPIX"));
    }
    let (width, height) = dimensions(header, "ZNAXIS")?;
    let tile = |keyword: &str, usual: usize| header.get_usize(keyword).unwrap_or(usual).max(1);
    let (tile_width, tile_height) = (tile("ZTILE1", width).min(width), tile("ZTILE2", 1).min(height));
    let (row_size, rows) = (
        header.get_usize("NAXIS1").unwrap_or(0),
        header.get_usize("NAXIS2").unwrap_or(0),
    );
    let across = width.div_ceil(tile_width);
    if across.checked_mul(height.div_ceil(tile_height)) != Some(rows) {
        return Err(refuse("NAXIS2"));
    }
    let (offset, wide) = column(header).ok_or_else(|| refuse("TFIELDS"))?;
    let table = row_size.checked_mul(rows).ok_or_else(|| refuse("NAXIS1"))?;
    let truncated = |claimed: usize| FitsError::Truncated {
        claimed,
        present: data.len(),
    };
    let heap = header.get_usize("THEAP").unwrap_or(table);
    let (byte_size, block) = (parameter(header, "BYTEPIX", 4), parameter(header, "BLOCKSIZE", 32));
    if data.len() < table {
        return Err(truncated(table));
    }
    let mut numbers = vec![0i64; width * height];
    for row in 0..rows {
        let half = if wide { 8 } else { 4 };
        let from = row * row_size + offset;
        let descriptor = data.get(from..from + 2 * half).ok_or_else(|| truncated(table))?;
        let (length, place) = (big_endian(&descriptor[..half]), big_endian(&descriptor[half..]));
        let start = heap.saturating_add(place);
        let end = start.saturating_add(length);
        let packed = data.get(start..end).ok_or_else(|| truncated(end))?;
        let (left, bottom) = (row % across * tile_width, row / across * tile_height);
        let (columns, lines) = (tile_width.min(width - left), tile_height.min(height - bottom));
        let tile = rice::decode(packed, columns * lines, byte_size, block).ok_or_else(|| truncated(end))?;
        for (line, values) in tile.chunks_exact(columns).enumerate() {
            numbers[(bottom + line) * width + left..][..columns].copy_from_slice(values);
        }
    }
    Ok(Image {
        width,
        height,
        pixels: integers(header, "ZBLANK", numbers.into_iter()),
    })
}

/// A file with an empty primary array and the image as a compressed table, a tile a row.
pub(crate) fn compressed(header: &Header, width: usize, height: usize, pixels: &[u16]) -> Vec<u8> {
    const BLOCK_SIZE: usize = 32;
    let (mut table, mut heap) = (Vec::with_capacity(height * 8), Vec::with_capacity(pixels.len()));
    let (mut longest, mut row) = (0, Vec::new());
    for line in pixels.chunks_exact(width) {
        row.clear();
        row.extend(line.iter().map(|p| (p ^ 0x8000) as i16));
        let packed = rice::encode(&row, BLOCK_SIZE);
        table.extend((packed.len() as u32).to_be_bytes());
        table.extend((heap.len() as u32).to_be_bytes());
        longest = longest.max(packed.len());
        heap.extend(packed);
    }
    let size = heap.len();
    table.append(&mut heap);
    table.resize(table.len().next_multiple_of(BLOCK), 0);
    let text = |value: &str| format!("{:20}", format!("'{value:8}'"));
    let mandatory = [
        ("XTENSION", text("BINTABLE")),
        ("BITPIX", "8".into()),
        ("NAXIS", "2".into()),
        ("NAXIS1", "8".into()),
        ("NAXIS2", height.to_string()),
        ("PCOUNT", size.to_string()),
        ("GCOUNT", "1".into()),
        ("TFIELDS", "1".into()),
        ("TTYPE1", text("COMPRESSED_DATA")),
        ("TFORM1", text(&format!("1PB({longest})"))),
        ("ZIMAGE", "T".into()),
        ("ZTILE1", width.to_string()),
        ("ZTILE2", "1".into()),
        ("ZCMPTYPE", text("RICE_1")),
        ("ZNAME1", text("BLOCKSIZE")),
        ("ZVAL1", BLOCK_SIZE.to_string()),
        ("ZNAME2", text("BYTEPIX")),
        ("ZVAL2", "2".into()),
        ("ZSIMPLE", "T".into()),
        ("ZBITPIX", "16".into()),
        ("ZNAXIS", "2".into()),
        ("ZNAXIS1", width.to_string()),
        ("ZNAXIS2", height.to_string()),
        ("BZERO", "32768".into()),
        ("BSCALE", "1".into()),
    ];
    let primary = [
        ("SIMPLE", "T".to_owned()),
        ("BITPIX", "8".to_owned()),
        ("NAXIS", "0".to_owned()),
        ("EXTEND", "T".to_owned()),
    ];
    let mut bytes = checksum::signed(&Header::new(), &primary, &[]);
    bytes.extend(checksum::signed(&header.over(&Header::new()), &mandatory, &table));
    bytes.append(&mut table);
    bytes
}
