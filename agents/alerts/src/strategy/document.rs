//! A strategy file as a tree, whichever of the two notations it is written in; in TOML every node knows its line.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How a strategy is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// As the rest of the configuration.
    Toml,
    /// The same keys.
    Yaml,
}

impl Syntax {
    /// By the end of a file's name; `None` is no strategy.
    #[must_use]
    pub fn of(file: &std::path::Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// By the look of a text: TOML begins a table in brackets, YAML does not.
    #[must_use]
    pub fn guess(text: &str) -> Self {
        let first = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        match first {
            Some(line) if line.starts_with('[') || (line.contains('=') && !line.contains(':')) => Self::Toml,
            _ => Self::Yaml,
        }
    }
}

/// Longest file, bytes: nobody writes more, and a gateway takes it from outside.
const LONGEST: usize = 64 * 1024;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Counted from 1.
    pub line: Option<usize>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A date and time, in TOML's own notation.
    Moment(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    Nothing,
}

impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Moment(_) => "a date and time",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Truth(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Nothing => "nothing",
        }
    }
}

/// Reads the tree, or says what is wrong with the notation.
pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Node, String> {
    if text.len() > LONGEST {
        return Err(format!("longer than {LONGEST} bytes"));
    }
    match syntax {
        Syntax::Toml => {
            let table = DeTable::parse(text).map_err(|e| e.to_string().trim_end().to_owned())?;
            Ok(of_table(table.get_ref(), text, 0))
        }
        Syntax::Yaml => {
            let value: serde_json::Value =
                serde_saphyr::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
            Ok(of_json(value))
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn of_table(table: &DeTable<'_>, text: &str, at: usize) -> Node {
    let fields = table
        .iter()
        .map(|(key, value)| {
            let mut node = of_value(value, text);
            // A key's own place is where people look.
            node.line = Some(line_of(text, key.span().start));
            (key.get_ref().to_string(), node)
        })
        .collect();
    Node {
        line: Some(line_of(text, at)),
        value: Value::Table(fields),
    }
}

fn of_value(value: &Spanned<DeValue<'_>>, text: &str) -> Node {
    let at = value.span().start;
    let plain = |value| Node {
        line: Some(line_of(text, at)),
        value,
    };
    match value.get_ref() {
        DeValue::String(text) => plain(Value::Text(text.to_string())),
        DeValue::Integer(number) => {
            let whole = i64::from_str_radix(number.as_str(), number.radix());
            plain(whole.map_or_else(|_| Value::Text(number.to_string()), Value::Integer))
        }
        DeValue::Float(number) => plain(Value::Float(number.as_str().parse().unwrap_or(f64::NAN))),
        DeValue::Boolean(truth) => plain(Value::Truth(*truth)),
        DeValue::Datetime(moment) => plain(Value::Moment(moment.to_string())),
        DeValue::Array(items) => plain(Value::List(items.iter().map(|item| of_value(item, text)).collect())),
        DeValue::Table(table) => of_table(table, text, at),
    }
}

fn of_json(value: serde_json::Value) -> Node {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => Value::Nothing,
        Json::Bool(truth) => Value::Truth(truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(of_json).collect()),
        Json::Object(fields) => Value::Table(fields.into_iter().map(|(key, v)| (key, of_json(v))).collect()),
    };
    Node { line: None, value }
}
