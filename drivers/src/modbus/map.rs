//! The register map of one controller: which word or bit means what, and in which blocks it is read. Pure.
//!
//! Addresses count from 0, as on the wire (a manual that counts from 1, or from 40001, is one or 40001 too high).

use super::frame::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the content of registers is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// One bit: a coil, a discrete input, or the bit `bit` of a word.
    #[default]
    Bit,
    U16,
    I16,
    U32,
    I32,
    /// IEEE 754 single precision in two words.
    F32,
}

/// Which of two words comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordOrder {
    /// The high word ("ABCD").
    #[default]
    HighFirst,
    /// The low word ("CDAB").
    LowFirst,
}

/// One value of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub table: Table,
    /// From 0.
    pub address: u16,
    #[serde(default)]
    pub content: Content,
    /// The bit of a word, 0 the lowest.
    #[serde(default)]
    pub bit: Option<u8>,
    /// The value is the number times `scale` plus `offset`.
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub offset: f64,
    /// True where 0 means yes.
    #[serde(default)]
    pub invert: bool,
}

fn one() -> f64 {
    1.0
}

impl Point {
    fn words(self) -> u16 {
        match self.content {
            Content::U32 | Content::I32 | Content::F32 => 2,
            Content::Bit | Content::U16 | Content::I16 => 1,
        }
    }
}

/// The map of one controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The server's address on its line; behind most gateways 1.
    #[serde(default = "first_unit")]
    pub unit: u8,
    #[serde(default)]
    pub word_order: WordOrder,
    /// By name: see [`READ`] and [`WRITTEN`] and the names of [`crate::interface::Quantity`].
    pub points: BTreeMap<String, Point>,
}

fn first_unit() -> u8 {
    1
}

/// Switches that are read, beside the weather quantities. `closed`, `open`, `emergency_stop` and `key_remote` must be there.
pub const READ: [&str; 12] = [
    "closed",
    "open",
    "closing",
    "opening",
    "fault",
    "emergency_stop",
    "key_remote",
    "intrusion",
    "access_requested",
    "must_be_closed",
    "azimuth_deg",
    "rotating",
];

/// What is written. `command_open`, `command_close` and `heartbeat` must be there.
pub const WRITTEN: [&str; 6] = [
    "command_open",
    "command_close",
    "command_stop",
    "heartbeat",
    "grant_access",
    "command_azimuth_deg",
];

const NEEDED: [&str; 7] = [
    "closed",
    "open",
    "emergency_stop",
    "key_remote",
    "command_open",
    "command_close",
    "heartbeat",
];

impl Map {
    /// What is wrong with it: the point (empty for the map) and the cause.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let quantities: Vec<&str> = crate::interface::Quantity::ALL.iter().map(|q| q.name()).collect();
        for needed in NEEDED {
            if !self.points.contains_key(needed) {
                faults.push((String::new(), format!("there must be a point {needed}")));
            }
        }
        for (name, point) in &self.points {
            let mut wrong = |cause: &str| faults.push((name.clone(), cause.to_owned()));
            let (read, written) = (
                READ.contains(&name.as_str()) || quantities.contains(&name.as_str()),
                WRITTEN.contains(&name.as_str()),
            );
            if !read && !written {
                wrong("is neither a quantity nor a switch nor a command");
            }
            if written && !matches!(point.table, Table::Coil | Table::Holding) {
                wrong("is written, so it is a coil or a holding register");
            }
            if point.table.is_bits() && (point.content != Content::Bit || point.bit.is_some()) {
                wrong("is a bit: it has neither content nor bit");
            }
            if !point.table.is_bits() && point.content == Content::Bit && (read || point.bit.is_some()) {
                match point.bit {
                    Some(bit) if bit < 16 && read => {}
                    Some(_) if written => {
                        wrong("a single bit of a word is not written: give it a coil or a whole word")
                    }
                    Some(_) => wrong("bits of a word count from 0 to 15"),
                    None => wrong("needs a content (u16, i16, u32, i32, f32), or a bit"),
                }
            }
            if !point.scale.is_finite() || point.scale == 0.0 || !point.offset.is_finite() {
                wrong("scale and offset are numbers, and scale is not 0");
            }
            if point.address.checked_add(point.words() - 1).is_none() {
                wrong("ends behind the last address");
            }
        }
        faults
    }

    /// The blocks in which everything that is read is fetched: near points together, at most 100 words or 1600 bits each.
    pub fn blocks(&self) -> Vec<Block> {
        let mut spans: Vec<(Table, u16, u16)> = self
            .points
            .iter()
            .filter(|(name, _)| !WRITTEN.contains(&name.as_str()))
            .map(|(_, point)| (point.table, point.address, point.address.saturating_add(point.words())))
            .collect();
        spans.sort_unstable();
        let mut blocks: Vec<Block> = Vec::new();
        for (table, start, end) in spans {
            let most = if table.is_bits() { 1600 } else { 100 };
            match blocks.last_mut() {
                Some(block)
                    if block.table == table
                        && start <= block.end().saturating_add(8)
                        && end.saturating_sub(block.address) <= most =>
                {
                    block.count = block.count.max(end - block.address);
                }
                _ => blocks.push(Block {
                    table,
                    address: start,
                    count: end - start,
                }),
            }
        }
        blocks
    }

    /// The value of a point in an image; `None` when the map has no such point or the image does not hold it.
    pub fn value(&self, name: &str, image: &Image) -> Option<f64> {
        let point = self.points.get(name)?;
        let word = |at: u16| image.get(&(point.table, point.address.checked_add(at)?)).copied();
        let long = || {
            let (first, second) = (u32::from(word(0)?), u32::from(word(1)?));
            Some(match self.word_order {
                WordOrder::HighFirst => first << 16 | second,
                WordOrder::LowFirst => second << 16 | first,
            })
        };
        let raw = match point.content {
            Content::Bit => {
                let on = word(0)? >> point.bit.unwrap_or(0) & 1 == 1;
                return Some(f64::from(u8::from(on != point.invert)));
            }
            Content::U16 => f64::from(word(0)?),
            Content::I16 => f64::from(word(0)?.cast_signed()),
            Content::U32 => f64::from(long()?),
            Content::I32 => f64::from(long()?.cast_signed()),
            Content::F32 => f64::from(f32::from_bits(long()?)),
        };
        Some(raw * point.scale + point.offset)
    }

    /// The words of a holding register that shall hold `value`.
    pub fn words(&self, point: &Point, value: f64) -> Vec<u16> {
        let raw = (value - point.offset) / point.scale;
        let long = |bits: u32| {
            let (high, low) = ((bits >> 16) as u16, (bits & 0xffff) as u16);
            match self.word_order {
                WordOrder::HighFirst => vec![high, low],
                WordOrder::LowFirst => vec![low, high],
            }
        };
        // Casts saturate: a value that does not fit becomes the nearest that does.
        match point.content {
            Content::Bit | Content::U16 => vec![raw.round() as u16],
            Content::I16 => vec![(raw.round() as i16).cast_unsigned()],
            Content::U32 => long(raw.round() as u32),
            Content::I32 => long((raw.round() as i32).cast_unsigned()),
            Content::F32 => long((raw as f32).to_bits()),
        }
    }
}

/// A stretch of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub table: Table,
    pub address: u16,
    pub count: u16,
}

impl Block {
    fn end(self) -> u16 {
        self.address.saturating_add(self.count)
    }
}

/// What was read in one pass; bits are 0 and 1.
pub type Image = BTreeMap<(Table, u16), u16>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn map() -> Map {
        toml::from_str(
            r#"
            word_order = "low_first"
            [points]
            closed = { table = "discrete", address = 0 }
            open = { table = "discrete", address = 1 }
            emergency_stop = { table = "discrete", address = 4, invert = true }
            key_remote = { table = "holding", address = 40, bit = 3 }
            command_open = { table = "coil", address = 10 }
            command_close = { table = "coil", address = 11 }
            heartbeat = { table = "holding", address = 50, content = "u16" }
            temperature_c = { table = "input", address = 2, content = "i16", scale = 0.1 }
            wind_m_s = { table = "input", address = 6, content = "f32" }
            rain_mm_h = { table = "input", address = 200, content = "u32", scale = 0.01 }
            "#,
        )
        .unwrap()
    }

    #[test]
    fn near_points_are_read_together_and_commands_not_at_all() {
        let blocks: Vec<_> = map().blocks().iter().map(|b| (b.table, b.address, b.count)).collect();
        assert_eq!(
            blocks,
            [
                (Table::Discrete, 0, 5),
                (Table::Input, 2, 6),
                (Table::Input, 200, 2),
                (Table::Holding, 40, 1)
            ]
        );
        assert_eq!(map().faults(), []);
    }

    #[test]
    fn values_have_sign_scale_order_and_sense() {
        let mut image = Image::new();
        for (table, address, word) in [
            (Table::Input, 2, 0xff9c),
            (Table::Input, 6, 0x0000),
            (Table::Input, 7, 0x40a0),
            (Table::Discrete, 4, 1),
            (Table::Holding, 40, 0b1000),
        ] {
            image.insert((table, address), word);
        }
        let map = map();
        assert_eq!(map.value("temperature_c", &image), Some(-10.0));
        assert_eq!(map.value("wind_m_s", &image), Some(5.0));
        assert_eq!(map.value("emergency_stop", &image), Some(0.0));
        assert_eq!(map.value("key_remote", &image), Some(1.0));
        assert_eq!(map.value("rain_mm_h", &image), None, "was not read");
        assert_eq!(map.value("humidity_pct", &image), None, "is not in the map");
    }

    #[test]
    fn a_map_that_cannot_work_is_refused_with_its_cause() {
        let mut map = map();
        map.points.remove("closed");
        let heartbeat = Point {
            table: Table::Input,
            ..map.points["heartbeat"]
        };
        map.points.insert("heartbeat".into(), heartbeat);
        map.points.insert("colour".into(), heartbeat);
        let faults = map.faults();
        let about = |name: &str| faults.iter().any(|(point, cause)| point == name && !cause.is_empty());
        assert!(about("") && about("heartbeat") && about("colour"), "{faults:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in -3000.0f64..3000.0, low_first: bool) {
            let mut map = map();
            map.word_order = if low_first { WordOrder::LowFirst } else { WordOrder::HighFirst };
            for (content, scale) in [(Content::I16, 0.1), (Content::I32, 0.01), (Content::F32, 1.0)] {
                let point = Point { table: Table::Holding, address: 7, content, bit: None, scale, offset: 2.0, invert: false };
                map.points.insert("azimuth_deg".into(), point);
                let image: Image = map.words(&point, value).into_iter().zip(7u16..).map(|(word, at)| ((Table::Holding, at), word)).collect();
                let back = map.value("azimuth_deg", &image).unwrap();
                prop_assert!((back - value).abs() <= scale, "{} became {}", value, back);
            }
        }
    }
}
