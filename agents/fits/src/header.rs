//! Header cards (FITS Standard 4.0, chapter 4).

use crate::{BLOCK, CARD, FitsError};
use std::fmt::Display;

/// Longest header that is read, bytes.
const LONGEST: usize = 4 << 20;

/// Cards in their order. Unknown and commentary cards are kept as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    cards: Vec<String>,
}

/// Printable ASCII only, cut to a card.
fn card(text: &str) -> String {
    let mut card: String = text.chars().filter(|c| (' '..='~').contains(c)).take(CARD).collect();
    card.extend(std::iter::repeat_n(' ', CARD - card.len()));
    card
}

impl Header {
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, keyword: &str, value: &str, comment: &str) {
        let line = if comment.is_empty() {
            format!("{keyword:8}= {value:>20}")
        } else {
            format!("{keyword:8}= {value:>20} / {comment}")
        };
        let line = card(&line);
        match self
            .cards
            .iter_mut()
            .find(|c| c.get(..8).is_some_and(|k| k.trim_end() == keyword))
        {
            Some(known) => *known = line,
            None => self.cards.push(line),
        }
    }

    /// A number or logical value (`T`, `F`) as it should be written.
    pub fn number(&mut self, keyword: &str, value: impl Display, comment: &str) {
        self.put(keyword, &value.to_string(), comment);
    }

    /// A string; at least 8 characters wide, quotes doubled, cut where the card ends.
    pub fn text(&mut self, keyword: &str, value: &str, comment: &str) {
        let value: String = value.chars().take(66).collect();
        let quoted = format!("'{:8}'", value.replace('\'', "''"));
        self.put(keyword, &format!("{quoted:20}"), comment);
    }

    pub fn history(&mut self, what: &str) {
        self.cards.push(card(&format!("HISTORY {what}")));
    }

    /// The value of a keyword as it is written, without quotes and comment.
    pub fn get(&self, keyword: &str) -> Option<String> {
        let line = self
            .cards
            .iter()
            .find(|c| c.get(..8).is_some_and(|k| k.trim_end() == keyword) && c.get(8..10) == Some("= "))?;
        let rest = line.get(10..)?.trim_start();
        if let Some(quoted) = rest.strip_prefix('\'') {
            let mut value = String::new();
            let mut characters = quoted.chars().peekable();
            while let Some(character) = characters.next() {
                if character == '\'' {
                    if characters.peek() != Some(&'\'') {
                        break;
                    }
                    characters.next();
                }
                value.push(character);
            }
            return Some(value.trim_end().to_owned());
        }
        Some(rest.split('/').next().unwrap_or_default().trim().to_owned())
    }

    pub fn get_f64(&self, keyword: &str) -> Option<f64> {
        self.get(keyword)?
            .replace(['D', 'd'], "E")
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }

    pub fn get_usize(&self, keyword: &str) -> Option<usize> {
        self.get(keyword)?.parse().ok()
    }

    /// The keyword of every card, in order.
    pub fn keywords(&self) -> impl Iterator<Item = String> + '_ {
        self.cards
            .iter()
            .map(|c| c.get(..8).unwrap_or_default().trim_end().to_owned())
    }

    /// Takes over the card of a keyword as `from` has it; without one nothing changes.
    pub fn take(&mut self, from: &Header, keyword: &str) {
        let named = |c: &&String| c.get(..8).is_some_and(|k| k.trim_end() == keyword);
        if let Some(card) = from.cards.iter().find(named) {
            self.remove(keyword);
            self.cards.push(card.clone());
        }
    }

    /// Removes a keyword.
    pub fn remove(&mut self, keyword: &str) {
        self.cards
            .retain(|c| c.get(..8).is_none_or(|k| k.trim_end() != keyword));
    }

    /// Reads a header; returns it and the offset of what follows. Strange cards are kept, not refused: half of all files
    /// in the wild have some.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), FitsError> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Err(FitsError::Gzip);
        }
        if !bytes.starts_with(b"SIMPLE  =") {
            return Err(FitsError::NotFits);
        }
        Self::parse_any(bytes)
    }

    /// Reads the header of an extension or of the file.
    pub(crate) fn parse_any(bytes: &[u8]) -> Result<(Self, usize), FitsError> {
        let mut cards = Vec::new();
        for (index, raw) in bytes[..bytes.len().min(LONGEST)].chunks_exact(CARD).enumerate() {
            if raw.starts_with(b"END") && raw[3..].iter().all(|byte| *byte == b' ') {
                return Ok((Self { cards }, ((index + 1) * CARD).next_multiple_of(BLOCK)));
            }
            cards.push(
                raw.iter()
                    .map(|byte| {
                        if (b' '..=b'~').contains(byte) {
                            char::from(*byte)
                        } else {
                            '?'
                        }
                    })
                    .collect(),
            );
        }
        Err(FitsError::NoEnd(bytes.len().min(LONGEST)))
    }

    /// An extension's header as that of an image file of its own: cards of its structure left out, those of the primary
    /// header that it has not added.
    pub(crate) fn over(&self, primary: &Header) -> Header {
        let keyword = |c: &str| c.get(..8).unwrap_or_default().trim_end().to_owned();
        let structure = |k: &str| {
            const NAMES: [&str; 14] = [
                "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "EXTEND", "CHECKSUM",
                "DATASUM", "EXTNAME", "EXTVER", "INHERIT",
            ];
            const STEMS: [&str; 11] = [
                "NAXIS", "TTYPE", "TFORM", "TUNIT", "ZNAME", "ZVAL", "ZTILE", "ZNAXIS", "ZCMPTYPE", "ZIMAGE", "ZBITPIX",
            ];
            let rest_is_number = |stem: &str| {
                k.strip_prefix(stem)
                    .is_some_and(|r| r.bytes().all(|b| b.is_ascii_digit()))
            };
            NAMES.contains(&k)
                || STEMS.iter().any(|s| rest_is_number(s))
                || [
                    "ZBLANK", "ZSIMPLE", "ZEXTEND", "ZTENSION", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM",
                ]
                .contains(&k)
        };
        let mut cards: Vec<String> = self.cards.iter().filter(|c| !structure(&keyword(c))).cloned().collect();
        let own: std::collections::BTreeSet<String> = cards.iter().map(|c| keyword(c)).collect();
        let commentary = |k: &str| ["", "HISTORY", "COMMENT"].contains(&k);
        let missing = |c: &&String| {
            let k = keyword(c);
            !structure(&k) && (commentary(&k) || !own.contains(&k))
        };
        cards.extend(primary.cards.iter().filter(missing).cloned());
        Header { cards }
    }

    /// The header as blocks, the mandatory keywords first.
    pub(crate) fn bytes(&self, mandatory: &[(&str, String)]) -> Vec<u8> {
        let mut whole = Header::new();
        for (keyword, value) in mandatory {
            whole.number(keyword, value, "");
        }
        let mut bytes: Vec<u8> = whole.cards.iter().flat_map(|c| c.bytes()).collect();
        let own = |c: &&String| {
            !mandatory
                .iter()
                .any(|(k, _)| c.get(..8).is_some_and(|w| w.trim_end() == *k))
        };
        bytes.extend(self.cards.iter().filter(own).flat_map(|c| c.bytes()));
        bytes.extend(card("END").bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_without_its_comment() {
        let mut header = Header::new();
        header.text("OBJECT", "Barnard's / star", "a name with a slash and a quote");
        header.number("EXPTIME", "30.000", "[s]");
        assert_eq!(header.get("OBJECT").as_deref(), Some("Barnard's / star"));
        assert_eq!(header.get_f64("EXPTIME"), Some(30.0));
        header.number("EXPTIME", 5, "[s] mended");
        assert_eq!(header.get_f64("EXPTIME"), Some(5.0));
        assert_eq!(header.get("NOTHING"), None);
        let mut other = Header::new();
        other.number("EXPTIME", 7, "");
        other.take(&header, "EXPTIME");
        other.take(&header, "NOTHING");
        assert_eq!(other.get_f64("EXPTIME"), Some(5.0));
        assert_eq!(other.keywords().count(), 1);
    }
}
