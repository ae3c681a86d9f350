//! XML from strangers: a bounded, namespace-checked tree, and nothing that reaches out.
//!
//! No document type declaration, no entity beyond the five predefined ones and character references, no include, no
//! external resource: a packet is read from its own bytes alone. Namespaces are resolved to tell well-formed names from
//! undeclared prefixes; elements keep only their local name, because authors put prefixes and default namespaces
//! wherever they like.

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use sha2::{Digest, Sha256};

use crate::limits::Limits;
use crate::reason::{Reason, Refusal};

/// An element: local name, attributes without namespace declarations, text and child elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Attributes by qualified name, namespace declarations left out.
    pub attributes: Vec<(String, String)>,
    /// The text directly inside, pieces joined.
    pub text: String,
    /// Child elements in order.
    pub children: Vec<Element>,
}

impl Element {
    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first child of that local name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The children of that local name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }

    /// The first descendant along a path of local names.
    #[must_use]
    pub fn path(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |at, name| at.child(name))
    }

    /// The text, trimmed.
    #[must_use]
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// Feeds a canonical form to a hash: spacing between elements, the order of attributes and the way a character is
    /// escaped do not count; anything else does.
    fn digest_into(&self, hash: &mut Sha256, skip_attribute: Option<&str>) {
        hash.update([1]);
        hash.update(self.name.as_bytes());
        let mut attributes: Vec<_> = self.attributes.iter().collect();
        attributes.sort();
        for (key, value) in attributes {
            if skip_attribute == Some(key.as_str()) {
                continue;
            }
            hash.update([2]);
            hash.update(key.as_bytes());
            hash.update([3]);
            hash.update(value.as_bytes());
        }
        hash.update([4]);
        hash.update(self.trimmed().as_bytes());
        for child in &self.children {
            child.digest_into(hash, None);
        }
        hash.update([5]);
    }

    /// SHA-256 of the canonical form; `skip_attribute` leaves one attribute of this element out.
    #[must_use]
    pub fn digest(&self, skip_attribute: Option<&str>) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.digest_into(&mut hash, skip_attribute);
        hash.finalize().into()
    }
}

/// A document: the root and the namespace it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The root element.
    pub root: Element,
    /// The namespace of the root, when it is in one.
    pub namespace: Option<String>,
}

fn syntax(detail: impl AsRef<str>) -> Refusal {
    Refusal::new(Reason::XmlSyntax, detail)
}

/// An attribute of the root element, read without the rest: for answers that must not wait for a full reading. `None`
/// for anything that does not begin as a document of ours does.
#[must_use]
pub fn root_attribute(bytes: &[u8], name: &str) -> Option<String> {
    let text = decode(bytes).ok()?;
    let mut reader = NsReader::from_str(&text);
    for _ in 0..64 {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                let mut attributes = start.attributes();
                attributes.with_checks(false);
                let mut sound = attributes.take(256).filter_map(Result::ok);
                let value = sound
                    .find(|a| a.key.as_ref() == name)?
                    .normalized_value(XmlVersion::Implicit1_0)
                    .ok()?;
                return Some(value.into_owned());
            }
            Event::DocType(_) | Event::Eof => return None,
            _ => {}
        }
    }
    None
}

/// The bytes as text: UTF-8 (with or without byte order mark), UTF-16 with byte order mark, ISO 8859-1 if declared.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let bad = |detail: &str| Refusal::new(Reason::Encoding, detail);
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return std::str::from_utf8(rest)
            .map(Cow::Borrowed)
            .map_err(|e| bad(&e.to_string()));
    }
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(bad("odd number of bytes in UTF-16"));
        }
        char::decode_utf16(pairs.iter().map(|p| unit(*p)))
            .collect::<Result<String, _>>()
            .map(Cow::Owned)
            .map_err(|e| bad(&e.to_string()))
    };
    if let Some(rest) = bytes.strip_prefix(b"\xFF\xFE") {
        return utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xFE\xFF") {
        return utf16(rest, u16::from_be_bytes);
    }
    match declared_encoding(bytes).as_deref() {
        Some("iso-8859-1" | "latin-1" | "latin1") => Ok(Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect())),
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|e| bad(&e.to_string())),
        Some(other) => Err(bad(&format!("encoding {other} is not read"))),
    }
}

/// The encoding an XML declaration at the very start names, lower case.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = bytes.strip_prefix(b"<?xml")?;
    let end = head.iter().take(200).position(|&b| b == b'>')?;
    let declaration = std::str::from_utf8(head.get(..end)?).ok()?;
    let (_, rest) = declaration.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest.get(1..)?
        .split_once(quote)
        .map(|(name, _)| name.to_ascii_lowercase())
}

fn is_xml_char(c: char) -> bool {
    // XML 1.0 (fifth edition), production 2; surrogates are no `char`.
    matches!(c, '\t' | '\n' | '\r' | ' '..) && !matches!(c, '\u{FFFE}' | '\u{FFFF}')
}

struct Tree<'l> {
    limits: &'l Limits,
    open: Vec<Element>,
    elements: usize,
    done: Option<Document>,
    namespace: Option<String>,
}

impl Tree<'_> {
    fn element(&mut self, start: &BytesStart<'_>, reader: &NsReader<&[u8]>) -> Result<Element, Refusal> {
        self.elements += 1;
        if self.elements > self.limits.max_elements {
            return Err(Refusal::new(Reason::Limits, "too many elements"));
        }
        if self.open.len() >= self.limits.max_depth {
            return Err(Refusal::new(Reason::DepthLimit, "elements nested too deep"));
        }
        let mut element = Element {
            name: start.local_name().as_ref().to_string(),
            ..Element::default()
        };
        // quick-xml's own duplicate check is quadratic in the number of attributes; bounded here first.
        for (count, attribute) in start.attributes().with_checks(false).enumerate() {
            if count >= self.limits.max_attributes_per_element {
                return Err(Refusal::new(Reason::Limits, "too many attributes"));
            }
            let attribute = attribute.map_err(|e| syntax(e.to_string()))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            if let (ResolveResult::Unknown(prefix), _) = reader.resolver().resolve_attribute(attribute.key) {
                return Err(syntax(format!("undeclared prefix {prefix}")));
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|e| syntax(e.to_string()))?;
            if !value.chars().all(is_xml_char) || attribute.value.contains('<') {
                return Err(syntax("a character that XML does not allow"));
            }
            let key = attribute.key.as_ref();
            if element.attribute(key).is_some() {
                return Err(syntax(format!("attribute {key} twice")));
            }
            element.attributes.push((key.to_string(), value.into_owned()));
        }
        Ok(element)
    }

    fn text(&mut self, text: &str) -> Result<(), Refusal> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(syntax("text outside the root element")),
        }
        Ok(())
    }

    fn close(&mut self, element: Element) -> Result<(), Refusal> {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.done.is_some() => return Err(syntax("a second root element")),
            None => {
                self.done = Some(Document {
                    root: element,
                    namespace: self.namespace.take(),
                })
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Refusal> {
        let c = match reference.resolve_char_ref().map_err(|e| syntax(e.to_string()))? {
            Some(c) if is_xml_char(c) => c,
            Some(_) => return Err(syntax("a character reference that XML does not allow")),
            None => match reference.as_ref() {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                name => return Err(syntax(format!("undefined entity {name}"))),
            },
        };
        self.text(c.encode_utf8(&mut [0; 4]))
    }
}

fn check_declaration(declaration: &BytesDecl<'_>, position: u64) -> Result<(), Refusal> {
    if position != 0 {
        return Err(syntax("an XML declaration after the start"));
    }
    match declaration.version().map_err(|e| syntax(e.to_string()))?.as_ref() {
        "1.0" => Ok(()),
        other => Err(Refusal::new(Reason::XmlVersion, other)),
    }
}

/// Reads one document within the limits.
///
/// # Errors
/// The refusal names the first offence; nothing of a refused document is returned.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Document, Refusal> {
    let text = decode(bytes)?;
    if !text.chars().all(is_xml_char) {
        return Err(syntax("a character that XML does not allow"));
    }
    let mut reader = NsReader::from_str(&text);
    reader.config_mut().check_comments = true;
    let mut tree = Tree {
        limits,
        open: Vec::new(),
        elements: 0,
        done: None,
        namespace: None,
    };
    loop {
        let position = reader.buffer_position();
        match reader.read_event().map_err(|e| syntax(e.to_string()))? {
            Event::Start(start) => {
                tree.check_name(&start, &reader)?;
                let element = tree.element(&start, &reader)?;
                tree.open.push(element);
            }
            Event::Empty(start) => {
                tree.check_name(&start, &reader)?;
                let element = tree.element(&start, &reader)?;
                tree.close(element)?;
            }
            Event::End(_) => {
                let element = tree.open.pop().ok_or_else(|| syntax("an end without a start"))?;
                tree.close(element)?;
            }
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) if !tree.open.is_empty() => tree.text(&text.xml10_content())?,
            Event::CData(_) => return Err(syntax("text outside the root element")),
            Event::GeneralRef(reference) => tree.reference(&reference)?,
            Event::DocType(_) => return Err(Refusal::new(Reason::Dtd, "a document type declaration")),
            Event::Decl(declaration) => check_declaration(&declaration, position)?,
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !tree.open.is_empty() {
        return Err(syntax("the document ends inside an element"));
    }
    tree.done.ok_or_else(|| syntax("no element"))
}

impl Tree<'_> {
    fn check_name(&mut self, start: &BytesStart<'_>, reader: &NsReader<&[u8]>) -> Result<(), Refusal> {
        if self.open.is_empty() && self.done.is_some() {
            return Err(syntax("a second root element"));
        }
        match reader.resolver().resolve_element(start.name()).0 {
            ResolveResult::Unknown(prefix) => Err(syntax(format!("undeclared prefix {prefix}"))),
            ResolveResult::Bound(namespace) => {
                if self.open.is_empty() {
                    self.namespace = Some(namespace.as_ref().to_string());
                }
                Ok(())
            }
            ResolveResult::Unbound => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Reason {
        parse(text.as_bytes(), &Limits::default()).unwrap_err().reason
    }

    #[test]
    fn text_entities_and_cdata_are_joined() {
        let document = parse(b"<a x='1&amp;2'> b&lt;c<![CDATA[ & ]]>&#65;</a>", &Limits::default()).unwrap();
        assert_eq!(document.root.trimmed(), "b<c & A");
        assert_eq!(document.root.attribute("x"), Some("1&2"));
    }

    #[test]
    fn whatever_reaches_out_or_explodes_is_refused() {
        assert_eq!(refused("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"), Reason::Dtd);
        assert_eq!(refused("<!DOCTYPE a SYSTEM 'http://x/y.dtd'><a/>"), Reason::Dtd);
        assert_eq!(refused("<a>&nbsp;</a>"), Reason::XmlSyntax);
        assert_eq!(refused("<a x='&nope;'/>"), Reason::XmlSyntax);
        assert_eq!(
            refused(&format!("{}{}", "<a>".repeat(65), "</a>".repeat(65))),
            Reason::DepthLimit
        );
        let attributes: String = (0..257).map(|i| format!(" a{i}='1'")).collect();
        assert_eq!(refused(&format!("<a{attributes}/>")), Reason::Limits);
        assert_eq!(refused(&format!("<a>{}</a>", "<b/>".repeat(20_001))), Reason::Limits);
    }

    #[test]
    fn ill_formed_documents_are_refused() {
        for text in [
            "",
            "   ",
            "text<a/>",
            "<a/>text",
            "<a/><b/>",
            "<a>",
            "<a></b>",
            "<a x='1' x='2'/>",
            "<p:a/>",
            "<a p:x='1'/>",
            "<a>&#1;</a>",
            "<a>\u{1}</a>",
            "<a x='&#1;'/>",
            " <?xml version='1.0'?><a/>",
            "<a>& </a>",
        ] {
            assert_eq!(refused(text), Reason::XmlSyntax, "{text}");
        }
        assert_eq!(refused("<?xml version='1.1'?><a/>"), Reason::XmlVersion);
    }

    #[test]
    fn encodings_are_read_as_declared_or_refused() {
        let latin = parse(
            b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>",
            &Limits::default(),
        )
        .unwrap();
        assert_eq!(latin.root.text, "é");
        let utf16: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain("<a>é</a>".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(parse(&utf16, &Limits::default()).unwrap().root.text, "é");
        for bytes in [&b"<a>\xc0\x80</a>"[..], b"<?xml version='1.0' encoding='UTF-7'?><a/>"] {
            assert_eq!(parse(bytes, &Limits::default()).unwrap_err().reason, Reason::Encoding);
        }
    }

    #[test]
    fn the_digest_sees_content_and_not_spelling() {
        let digest = |text: &str| {
            parse(text.as_bytes(), &Limits::default())
                .unwrap()
                .root
                .digest(Some("id"))
        };
        assert_eq!(
            digest("<a id='1' x='1' y='2'><b/></a>"),
            digest("<a y='2' id='9' x='1'>\n  <b></b>\n</a>")
        );
        assert_ne!(digest("<a><b>1</b></a>"), digest("<a><b>2</b></a>"));
        assert_ne!(digest("<a><b/><c/></a>"), digest("<a><b><c/></b></a>"));
    }
}
