//! INDI's XML, one top-level element a message (protocol 1.7). There is no root element and no header.

use crate::wire::{Trouble, Wire};
use base64::{Engine, engine::general_purpose::STANDARD};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Idle,
    Ok,
    Busy,
    Alert,
}

/// How many switches of a vector may be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Always exactly one.
    OneOfMany,
    /// One, or none: what is on is often a button that springs back.
    AtMostOne,
    AnyOfMany,
}

/// What the elements of a vector hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Smallest and largest value and step by element; without bounds the largest there are.
    Numbers(BTreeMap<String, [f64; 3]>),
    Switches(Rule),
}

/// What the definition of a vector of numbers or switches says once and for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Nature {
    pub content: Content,
    pub writable: bool,
    /// Where a program with windows would show it, e.g. `Main Control`.
    pub group: String,
}

/// A property vector as defined or set.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    pub device: String,
    pub name: String,
    /// A definition is repeated to every client whenever any client asks for it.
    pub definition: bool,
    /// Of definitions of numbers and switches.
    pub nature: Option<Nature>,
    pub state: Option<State>,
    pub message: Option<String>,
    /// Values by element, without the white space around them.
    pub elements: BTreeMap<String, String>,
}

/// A binary large object: one image file.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    pub device: String,
    /// File name ending, e.g. `.fits`.
    pub format: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Vector(Vector),
    Blob(Blob),
    /// A property, or without a name the whole device, has gone.
    Deleted {
        device: String,
        name: Option<String>,
    },
    Note {
        device: String,
        text: String,
    },
    /// What other clients commanded, and elements of later protocols.
    Other,
}

/// Finds where a top-level element ends in a stream of bytes. Between elements there is white space; whatever else stands
/// there is handed out as a message of its own, which [`read`] refuses.
#[derive(Default)]
pub struct Splitter {
    depth: u32,
    tag: Option<Tag>,
}

#[derive(Default)]
struct Tag {
    first: u8,
    last: u8,
    quote: u8,
}

impl Splitter {
    /// How many of these next bytes complete the element; `None` when it goes on.
    pub fn ends(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(tag) = &mut self.tag else {
                let next = bytes[at..].iter().position(|byte| *byte == b'<');
                let stretch = &bytes[at..next.map_or(bytes.len(), |next| at + next)];
                if self.depth == 0 && !stretch.trim_ascii().is_empty() {
                    return Some(at + stretch.len());
                }
                at += next? + 1;
                self.tag = Some(Tag::default());
                continue;
            };
            let byte = bytes[at];
            at += 1;
            match byte {
                b'>' if tag.quote == 0 => {
                    let (first, last) = (tag.first, tag.last);
                    self.tag = None;
                    match (first, last) {
                        (b'/', _) => self.depth = self.depth.saturating_sub(1),
                        (b'?' | b'!', _) | (_, b'/') => {}
                        _ => self.depth += 1,
                    }
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ if tag.quote == byte => tag.quote = 0,
                _ if tag.quote != 0 => {}
                b'"' | b'\'' => tag.quote = byte,
                _ => {}
            }
            if let Some(tag) = &mut self.tag {
                tag.last = byte;
                if tag.first == 0 {
                    tag.first = byte;
                }
            }
        }
        None
    }
}

/// `text` with what XML reserves written as references.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}

type Attributes = BTreeMap<String, String>;

fn attributes(start: &BytesStart<'_>) -> Result<Attributes, Trouble> {
    let mut out = Attributes::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| garbage(&e))?;
        let name = attribute.key.as_ref().to_owned();
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|e| garbage(&e))?;
        out.insert(name, value.into_owned());
    }
    Ok(out)
}

fn garbage(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Garbage(format!("not INDI's XML: {error}"))
}

fn state(text: &str) -> Option<State> {
    match text {
        "Idle" => Some(State::Idle),
        "Ok" => Some(State::Ok),
        "Busy" => Some(State::Busy),
        "Alert" => Some(State::Alert),
        _ => None,
    }
}

/// The next element on the line, of at most so many bytes. Dropped half-way nothing is lost.
pub async fn hear(wire: &mut Wire, largest: usize) -> Result<Message, Trouble> {
    let mut splitter = Splitter::default();
    let bytes = wire.framed(largest, |fresh| splitter.ends(fresh)).await?;
    read(&bytes)
}

/// Reads one element.
pub fn read(bytes: &[u8]) -> Result<Message, Trouble> {
    // Drivers write Latin-1 into messages now and then; names and numbers are ASCII.
    let text = String::from_utf8_lossy(bytes);
    let head = text.trim_ascii_start();
    if !head.is_empty() && !head.starts_with('<') {
        return Err(Trouble::Garbage(format!("{} bytes between two elements", bytes.len())));
    }
    let mut reader = Reader::from_str(&text);
    let mut outer: Option<(String, Attributes)> = None;
    let mut open: Option<(String, Attributes)> = None;
    let mut content = String::new();
    let mut elements = BTreeMap::new();
    let mut bounds = BTreeMap::new();
    let mut blob = None;
    loop {
        match reader.read_event().map_err(|e| garbage(&e))? {
            Event::Start(start) | Event::Empty(start) if outer.is_none() => {
                let name = start.name().as_ref().to_owned();
                outer = Some((name, attributes(&start)?));
            }
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                open = Some((name, attributes(&start)?));
                content.clear();
            }
            Event::Text(part) if open.is_some() => content.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if open.is_some() => {
                content.push(match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => reference.resolve_char_ref().map_err(|e| garbage(&e))?.unwrap_or('?'),
                });
            }
            Event::End(_) => {
                if let Some((kind, mut given)) = open.take() {
                    let Some(name) = given.remove("name") else { continue };
                    if kind == "oneBLOB" {
                        blob = Some(decode(&given, &content)?);
                    } else {
                        if kind == "defNumber" {
                            bounds.insert(name.clone(), bounds_of(&given));
                        }
                        elements.insert(name, content.trim().to_owned());
                    }
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let Some((kind, mut given)) = outer else {
        return Ok(Message::Other);
    };
    let mut take = |name: &str| given.remove(name);
    let Some(device) = take("device") else {
        return Ok(Message::Other);
    };
    let definition = kind.starts_with("def");
    Ok(match kind.as_str() {
        "message" => Message::Note {
            device,
            text: take("message").unwrap_or_default(),
        },
        "delProperty" => Message::Deleted {
            device,
            name: take("name"),
        },
        "setBLOBVector" => match blob {
            Some((format, bytes)) => Message::Blob(Blob { device, format, bytes }),
            None => Message::Other,
        },
        _ if (definition || kind.starts_with("set")) && kind.ends_with("Vector") => {
            let name = take("name").ok_or_else(|| Trouble::Garbage(format!("{kind} without a name")))?;
            let state = take("state").as_deref().and_then(state);
            let content = match kind.as_str() {
                "defNumberVector" => Some(Content::Numbers(bounds)),
                "defSwitchVector" => Some(Content::Switches(rule(take("rule").as_deref()))),
                _ => None,
            };
            let nature = content.map(|content| Nature {
                content,
                writable: take("perm").is_none_or(|permission| permission != "ro"),
                group: take("group").unwrap_or_default(),
            });
            Message::Vector(Vector {
                device,
                name,
                definition,
                nature,
                state,
                message: take("message"),
                elements,
            })
        }
        _ => Message::Other,
    })
}

/// The protocol says that bounds which do not rise are none.
fn bounds_of(given: &Attributes) -> [f64; 3] {
    let told = |name: &str| given.get(name).and_then(|text| text.trim().parse::<f64>().ok());
    let step = told("step").filter(|step| *step > 0.0).unwrap_or(0.0);
    match (told("min"), told("max")) {
        (Some(least), Some(most)) if least < most => [least, most, step],
        _ => [f64::MIN, f64::MAX, step],
    }
}

fn rule(text: Option<&str>) -> Rule {
    match text {
        Some("OneOfMany") => Rule::OneOfMany,
        Some("AtMostOne") => Rule::AtMostOne,
        _ => Rule::AnyOfMany,
    }
}

fn decode(given: &Attributes, content: &str) -> Result<(String, Vec<u8>), Trouble> {
    let compact: Vec<u8> = content.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut bytes = STANDARD
        .decode(compact)
        .map_err(|e| Trouble::Garbage(format!("image is not base64: {e}")))?;
    let size: usize = given
        .get("size")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(bytes.len());
    // Compressed objects are padded with zeros beyond their `len`.
    let length = given
        .get("len")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(size);
    if length > bytes.len() {
        return Err(Trouble::Garbage(format!(
            "image of {} bytes, announced {length}",
            bytes.len()
        )));
    }
    bytes.truncate(length);
    Ok((given.get("format").cloned().unwrap_or_default(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vector_is_read_with_its_values_trimmed_and_its_references_resolved() {
        let text = b"<setNumberVector device='Focus &amp; Co' name='ABS' state='Busy' message='a > b'>\n<oneNumber name='P'>\n 12.5\n</oneNumber></setNumberVector>";
        let Message::Vector(vector) = read(text).unwrap() else {
            panic!("not a vector")
        };
        assert_eq!(
            (vector.device.as_str(), vector.state, vector.definition),
            ("Focus & Co", Some(State::Busy), false)
        );
        assert_eq!(vector.elements["P"], "12.5");
        assert_eq!(vector.message.as_deref(), Some("a > b"));
    }

    #[test]
    fn a_definition_tells_bounds_rule_and_whether_it_is_only_read() {
        let nature = |text: &str| match read(text.as_bytes()).unwrap() {
            Message::Vector(vector) => vector.nature,
            other => panic!("{other:?}"),
        };
        let dimmers = nature(
            "<defNumberVector device='P' name='DEW' group='Dew' perm='rw'><defNumber name='A' min='0' max='255' step='5'>\n12\n</defNumber><defNumber name='B' min='0' max='0' step='0'>1</defNumber></defNumberVector>",
        )
        .unwrap();
        let unbounded = [f64::MIN, f64::MAX, 0.0];
        let bounds = [("A".to_owned(), [0.0, 255.0, 5.0]), ("B".to_owned(), unbounded)];
        assert_eq!(dimmers.content, Content::Numbers(bounds.into()));
        assert!(dimmers.writable && dimmers.group == "Dew");
        let relays = "<defSwitchVector device='P' name='X' perm='ro' rule='OneOfMany'><defSwitch name='ON'>Off</defSwitch></defSwitchVector>";
        let relays = nature(relays).unwrap();
        assert_eq!(
            (relays.content, relays.writable),
            (Content::Switches(Rule::OneOfMany), false)
        );
        assert_eq!(nature("<setNumberVector device='P' name='DEW'/>"), None);
        assert_eq!(nature("<defTextVector device='P' name='T' perm='rw'/>"), None);
    }

    #[test]
    fn an_image_is_cut_to_its_announced_length_and_a_short_one_is_refused() {
        let image = |length: &str| {
            format!(
                "<setBLOBVector device='C' name='CCD1'><oneBLOB name='CCD1' size='8' len='{length}' format='.fits'>\nAAEC\nAwQA\n</oneBLOB></setBLOBVector>"
            )
        };
        let Message::Blob(blob) = read(image("5").as_bytes()).unwrap() else {
            panic!("not an image")
        };
        assert_eq!((blob.format.as_str(), blob.bytes), (".fits", vec![0, 1, 2, 3, 4]));
        assert!(matches!(read(image("7").as_bytes()), Err(Trouble::Garbage(_))));
    }

    #[test]
    fn text_between_elements_is_refused_and_the_next_element_is_found() {
        let stream = b"\n<a/> HTTP/1.1 400 Bad <b><c>1</c></b>\n";
        let (mut splitter, mut rest, mut told) = (Splitter::default(), &stream[..], Vec::new());
        while let Some(end) = splitter.ends(rest) {
            told.push((
                String::from_utf8_lossy(&rest[..end]).trim().to_owned(),
                read(&rest[..end]).is_ok(),
            ));
            rest = &rest[end..];
        }
        let wanted = [("<a/>", true), ("HTTP/1.1 400 Bad", false), ("<b><c>1</c></b>", true)];
        assert_eq!(told, wanted.map(|(text, fine)| (text.to_owned(), fine)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut splitter = Splitter::default();
            let mut rest = &bytes[..];
            while let Some(end) = splitter.ends(rest) {
                prop_assert!(end > 0);
                let _ = read(&rest[..end]);
                rest = &rest[end..];
            }
        }

        #[test]
        fn elements_are_found_however_the_stream_is_cut(cuts in prop::collection::vec(1usize..9, 1..60)) {
            let parts = ["<?xml version='1.0'?>", "\n<a b='x > y'><c>1</c></a>", "<delProperty device=\"d\"/>", "<d><e/><f>2</f></d>"];
            let stream = parts.concat().into_bytes();
            let (mut splitter, mut found, mut held, mut at) = (Splitter::default(), Vec::new(), Vec::new(), 0);
            let mut cut = cuts.iter().cycle();
            while at < stream.len() {
                let end = (at + cut.next().unwrap()).min(stream.len());
                let mut piece = &stream[at..end];
                while let Some(count) = splitter.ends(piece) {
                    held.extend_from_slice(&piece[..count]);
                    found.push(String::from_utf8(std::mem::take(&mut held)).unwrap());
                    piece = &piece[count..];
                }
                held.extend_from_slice(piece);
                at = end;
            }
            prop_assert_eq!(found, parts.to_vec());
        }

        #[test]
        fn escaped_text_reads_back(text in "[ -~]{0,40}") {
            let xml = format!("<setTextVector device='d' name='{}'/>", escape(&text));
            let Message::Vector(vector) = read(xml.as_bytes()).unwrap() else { panic!("not a vector") };
            prop_assert_eq!(vector.name, text);
        }
    }
}
