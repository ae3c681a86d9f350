//! Strategy files: checked in full, every fault named, before anything of them is used.
//!
//! The keys are described in `config/strategies/README.md`; `config/strategies/strategy.schema.json` says the same to
//! editors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Duration, Utc};
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::document::{self, Node, Syntax, Value};
use super::quantity;
use super::{Constraints, Matching, Preempt, RepointIf, Step, Strategy, Tiling, UpdatePolicy};
use crate::instant::{self, Scale};

/// One thing wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as `plan.step[1].exptime`.
    pub key: String,
    /// What.
    pub problem: String,
    /// Line of the file, counted from 1, where it is known.
    pub line: Option<usize>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// What is wrong with a strategy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// Neither TOML nor YAML; the message has line and column.
    #[error("{0}")]
    Syntax(String),
    /// Everything that makes no sense, in the order of the file.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "))]
    Values(Vec<Fault>),
}

impl StrategyError {
    /// Every fault as a line for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Syntax(text) => vec![text.clone()],
            Self::Values(faults) => faults.iter().map(Fault::to_string).collect(),
        }
    }
}

/// Part of a file, with what was found wrong so far.
struct Section<'a> {
    prefix: String,
    line: Option<usize>,
    fields: Option<&'a BTreeMap<String, Node>>,
}

/// Faults as they are found.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, line: Option<usize>, problem: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            problem: problem.into(),
            line,
        });
    }

    fn kind<T>(&mut self, key: String, node: &Node, wanted: &str) -> Option<T> {
        self.not_a(key, node, wanted);
        None
    }

    fn not_a(&mut self, key: String, node: &Node, wanted: &str) {
        let found = node.value.kind();
        self.add(key, node.line, format!("is {found}, not {wanted}"));
    }
}

impl<'a> Section<'a> {
    /// A table with the keys that it may have.
    fn of(prefix: String, node: Option<&'a Node>, known: &'static [&'static str], faults: &mut Faults) -> Self {
        let fields = match node.map(|n| &n.value) {
            Some(Value::Table(fields)) => Some(fields),
            Some(Value::Nothing) | None => None,
            Some(_) => node.and_then(|node| faults.kind(prefix.clone(), node, "a table")),
        };
        let section = Self {
            prefix,
            line: node.and_then(|n| n.line),
            fields,
        };
        for (name, node) in fields.into_iter().flatten() {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                faults.add(
                    section.key(name),
                    node.line,
                    format!("is not known here; known are {known}"),
                );
            }
        }
        section
    }

    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    fn get(&self, name: &str) -> Option<&'a Node> {
        self.fields?.get(name).filter(|node| node.value != Value::Nothing)
    }

    fn line(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(|n| n.line).or(self.line)
    }

    fn missing(&self, name: &str, faults: &mut Faults) {
        faults.add(self.key(name), self.line, "is missing");
    }

    fn text(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let node = self.get(name)?;
        match &node.value {
            Value::Text(text) => Some(text),
            _ => faults.kind(self.key(name), node, "text"),
        }
    }

    fn whole(&self, name: &str, low: i64, high: i64, faults: &mut Faults) -> Option<i64> {
        let node = self.get(name)?;
        match node.value {
            Value::Integer(number) if (low..=high).contains(&number) => Some(number),
            Value::Integer(number) => {
                faults.add(
                    self.key(name),
                    node.line,
                    format!("{number} is not within {low} to {high}"),
                );
                None
            }
            _ => faults.kind(self.key(name), node, "a whole number"),
        }
    }

    fn number(&self, name: &str, low: f64, high: f64, faults: &mut Faults) -> Option<f64> {
        let node = self.get(name)?;
        let number = number_of(node).or_else(|| faults.kind(self.key(name), node, "a number"))?;
        if (low..=high).contains(&number) {
            return Some(number);
        }
        faults.add(
            self.key(name),
            node.line,
            format!("{number} is not within {low} to {high}"),
        );
        None
    }

    fn truth(&self, name: &str, otherwise: bool, faults: &mut Faults) -> bool {
        match self.get(name) {
            None => otherwise,
            Some(Node {
                value: Value::Truth(truth),
                ..
            }) => *truth,
            Some(node) => faults.kind(self.key(name), node, "true or false").unwrap_or(otherwise),
        }
    }

    fn angle(&self, name: &str, low: f64, high: f64, faults: &mut Faults) -> Option<f64> {
        let text = self.text(name, faults)?;
        let problem = match quantity::degrees(text) {
            Some(value) if (low..=high).contains(&value) => return Some(value),
            Some(value) => format!("{value} deg is not within {low} to {high}"),
            None => format!("\"{text}\" is no angle; write \"20deg\", \"45'\""),
        };
        faults.add(self.key(name), self.line(name), problem);
        None
    }

    fn length(&self, name: &str, faults: &mut Faults) -> Option<Duration> {
        let text = self.text(name, faults)?;
        let length = quantity::duration(text);
        if length.is_none() {
            let problem = format!("\"{text}\" is no duration; write \"10min\", \"48h\"");
            faults.add(self.key(name), self.line(name), problem);
        }
        length
    }

    fn moment(&self, name: &str, faults: &mut Faults) -> Option<DateTime<Utc>> {
        let node = self.get(name)?;
        let (Value::Text(text) | Value::Moment(text)) = &node.value else {
            return faults.kind(self.key(name), node, "a date and time");
        };
        let moment = instant::parse_iso(text, Scale::Utc);
        if moment.is_none() {
            faults.add(self.key(name), node.line, format!("{text} is no date and time"));
        }
        moment
    }

    fn items(&self, name: &str, faults: &mut Faults) -> &'a [Node] {
        match self.get(name) {
            None => &[],
            Some(Node {
                value: Value::List(items),
                ..
            }) => items,
            Some(node) => faults.kind(self.key(name), node, "a list").unwrap_or(&[]),
        }
    }

    fn texts(&self, name: &str, faults: &mut Faults) -> Vec<(&'a str, Option<usize>)> {
        let mut out = Vec::new();
        for (i, item) in self.items(name, faults).iter().enumerate() {
            match &item.value {
                Value::Text(text) => out.push((text.as_str(), item.line)),
                _ => faults.not_a(format!("{}[{i}]", self.key(name)), item, "text"),
            }
        }
        out
    }

    /// Words of a fixed list.
    fn words<T: DeserializeOwned + Ord>(&self, name: &str, faults: &mut Faults) -> BTreeSet<T> {
        let texts = self.texts(name, faults);
        let read = texts.into_iter().filter_map(|(text, line)| match word(text) {
            Ok(word) => Some(word),
            Err(problem) => {
                faults.add(self.key(name), line, problem);
                None
            }
        });
        read.collect()
    }

    fn word<T: DeserializeOwned + Default>(&self, name: &str, faults: &mut Faults) -> T {
        match self.text(name, faults).map(word) {
            None => T::default(),
            Some(Ok(word)) => word,
            Some(Err(problem)) => {
                faults.add(self.key(name), self.line(name), problem);
                T::default()
            }
        }
    }

    /// Named numbers.
    fn bounds(&self, name: &'static str, faults: &mut Faults) -> BTreeMap<String, f64> {
        let fields = match self.get(name) {
            None => return BTreeMap::new(),
            Some(Node {
                value: Value::Table(fields),
                ..
            }) => fields,
            Some(node) => {
                faults.not_a(self.key(name), node, "a table of numbers");
                return BTreeMap::new();
            }
        };
        let mut out = BTreeMap::new();
        for (measure, node) in fields {
            match number_of(node).filter(|v| v.is_finite()) {
                Some(value) => drop(out.insert(measure.clone(), value)),
                None => faults.add(
                    format!("{}.{measure}", self.key(name)),
                    node.line,
                    "is not a finite number",
                ),
            }
        }
        out
    }
}

#[allow(clippy::cast_precision_loss)]
fn number_of(node: &Node) -> Option<f64> {
    match node.value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Unknown> = text.into_deserializer();
    T::deserialize(text).map_err(|e| e.to_string())
}

/// Reads and checks a strategy in TOML.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn from_toml(text: &str) -> Result<Strategy, StrategyError> {
    from_text(text, Syntax::Toml)
}

/// Reads and checks a strategy.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn from_text(text: &str, syntax: Syntax) -> Result<Strategy, StrategyError> {
    let root = document::parse(text, syntax).map_err(StrategyError::Syntax)?;
    let mut faults = Faults::default();
    let strategy = strategy(&root, &mut faults);
    match strategy {
        Some(strategy) if faults.0.is_empty() => Ok(strategy),
        _ => {
            faults.0.sort_by_key(|fault| fault.line);
            Err(StrategyError::Values(faults.0))
        }
    }
}

const PARTS: &[&str] = &["strategy", "match", "constraints", "preempt", "plan", "update"];
const HEAD: &[&str] = &[
    "name",
    "version",
    "description",
    "priority",
    "multi_messenger_priority",
    "enabled",
    "valid_from",
    "valid_until",
];

fn strategy(root: &Node, faults: &mut Faults) -> Option<Strategy> {
    let file = Section::of(String::new(), Some(root), PARTS, faults);
    for part in ["strategy", "match", "plan"] {
        if file.get(part).is_none() {
            file.missing(part, faults);
        }
    }
    let head = Section::of("strategy".into(), file.get("strategy"), HEAD, faults);
    let name = head.text("name", faults);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_some_and(|name| name.is_empty() || name.len() > 64 || !name.chars().all(plain)) {
        faults.add(
            "strategy.name",
            head.line("name"),
            "is not one word of letters, digits, - and _",
        );
    }
    let version = head.whole("version", 0, i64::from(u32::MAX), faults);
    // 1 is first, 10 last.
    let priority = head.whole("priority", 1, 10, faults);
    let both = head.whole("multi_messenger_priority", 1, 10, faults);
    for name in ["name", "version", "priority"] {
        if head.fields.is_some() && head.get(name).is_none() {
            head.missing(name, faults);
        }
    }
    let valid_from = head.moment("valid_from", faults);
    let valid_until = head.moment("valid_until", faults);
    if valid_from.zip(valid_until).is_some_and(|(from, until)| until <= from) {
        faults.add(
            "strategy.valid_until",
            head.line("valid_until"),
            "is not after valid_from",
        );
    }
    let description = head.text("description", faults).unwrap_or_default().to_owned();
    let enabled = head.truth("enabled", true, faults);
    let matching = matching(file.get("match"), faults);
    let constraints = constraints(file.get("constraints"), faults);
    let preempt = Section::of("preempt".into(), file.get("preempt"), &["level"], faults);
    let preempt: Preempt = preempt.word("level", faults);
    let plan = plan(file.get("plan"), faults);
    let update = update(file.get("update"), faults);
    Some(Strategy {
        name: name?.to_owned(),
        version: u32::try_from(version?).ok()?,
        description,
        priority: u8::try_from(priority?).ok()?,
        multi_messenger_priority: both.and_then(|p| u8::try_from(p).ok()),
        enabled,
        valid_from,
        valid_until,
        matching,
        constraints,
        preempt,
        steps: plan.steps,
        tiling: plan.tiling,
        revisit_after: plan.revisit_after,
        visit_window: plan.visit_window,
        update,
    })
}

const MATCH: &[&str] = &[
    "streams",
    "missions",
    "classes",
    "not_flags",
    "any_flags",
    "min_r90",
    "max_r90",
    "max_age",
    "max_preliminary_age",
    "min_galactic_latitude",
    "min",
    "max",
    "required",
    "accept_test",
];

fn matching(node: Option<&Node>, faults: &mut Faults) -> Matching {
    let part = Section::of("match".into(), node, MATCH, faults);
    let streams = part.texts("streams", faults);
    if streams.is_empty() && part.fields.is_some() {
        let line = part.line("streams");
        faults.add("match.streams", line, "is empty: nothing could ever match");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/*?-".contains(c);
    for (glob, line) in &streams {
        if glob.is_empty() || !glob.chars().all(allowed) || glob.split('/').count() > 3 {
            let problem = format!("\"{glob}\" is no stream; write \"mission/instrument/kind\"");
            faults.add("match.streams", *line, problem);
        }
    }
    let missions = part.texts("missions", faults);
    for (glob, line) in &missions {
        if glob.is_empty() || glob.contains('/') || glob.chars().any(|c| c.is_ascii_uppercase()) {
            faults.add(
                "match.missions",
                *line,
                format!("\"{glob}\" is no mission; write it in small letters"),
            );
        }
    }
    let (min, max) = (part.bounds("min", faults), part.bounds("max", faults));
    for (name, low) in &min {
        if max.get(name).is_some_and(|high| high < low) {
            let key = format!("match.max.{name}");
            faults.add(key, part.line("max"), "is below match.min: nothing could ever match");
        }
    }
    let (min_r90_deg, max_r90_deg) = (
        part.angle("min_r90", 0.0, 180.0, faults),
        part.angle("max_r90", 0.0, 180.0, faults),
    );
    if min_r90_deg.zip(max_r90_deg).is_some_and(|(low, high)| high < low) {
        let line = part.line("max_r90");
        faults.add("match.max_r90", line, "is below min_r90: nothing could ever match");
    }
    Matching {
        streams: streams.into_iter().map(|(glob, _)| glob.to_owned()).collect(),
        missions: missions.into_iter().map(|(glob, _)| glob.to_owned()).collect(),
        classes: part.words("classes", faults),
        not_flags: part.words("not_flags", faults),
        any_flags: part.words("any_flags", faults),
        min_r90_deg,
        max_r90_deg,
        max_age: part.length("max_age", faults),
        max_preliminary_age: part.length("max_preliminary_age", faults),
        min_galactic_latitude_deg: part.angle("min_galactic_latitude", 0.0, 90.0, faults),
        min,
        max,
        required: part
            .texts("required", faults)
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect(),
        accept_test: part.truth("accept_test", false, faults),
    }
}

const CONSTRAINTS: &[&str] = &["min_altitude", "max_airmass", "min_moon_distance", "max_sun_altitude"];

fn constraints(node: Option<&Node>, faults: &mut Faults) -> Constraints {
    let part = Section::of("constraints".into(), node, CONSTRAINTS, faults);
    Constraints {
        min_altitude_deg: part.angle("min_altitude", 0.0, 90.0, faults),
        max_airmass: part.number("max_airmass", 1.0, 40.0, faults),
        min_moon_distance_deg: part.angle("min_moon_distance", 0.0, 180.0, faults),
        max_sun_altitude_deg: part.angle("max_sun_altitude", -90.0, 0.0, faults),
    }
}

/// What is exposed, when and where.
struct Planned {
    steps: Vec<Step>,
    tiling: Option<Tiling>,
    revisit_after: Vec<Duration>,
    visit_window: Duration,
}

/// A later visit waits half a day when the file does not say: until the next dawn, whenever it falls due.
const VISIT_WINDOW_H: i64 = 12;

fn plan(node: Option<&Node>, faults: &mut Faults) -> Planned {
    let known = &["step", "tiling", "revisit_after", "visit_window"];
    let part = Section::of("plan".into(), node, known, faults);
    let steps = steps(&part, faults);
    let tiling = part.get("tiling").and_then(|node| tiling(node, faults));
    let mut revisit_after = Vec::new();
    for (i, (text, line)) in part.texts("revisit_after", faults).into_iter().enumerate() {
        match quantity::duration(text) {
            Some(after) => revisit_after.push(after),
            None => faults.add(
                format!("plan.revisit_after[{i}]"),
                line,
                format!("\"{text}\" is no duration; write \"24h\""),
            ),
        }
    }
    if !revisit_after.is_sorted() {
        let line = part.line("revisit_after");
        faults.add("plan.revisit_after", line, "is not in order of time");
    }
    let visit_window = part.length("visit_window", faults);
    if visit_window.is_some_and(|window| window < Duration::minutes(10)) {
        faults.add("plan.visit_window", part.line("visit_window"), "is shorter than 10 min");
    }
    Planned {
        steps,
        tiling,
        revisit_after,
        visit_window: visit_window.unwrap_or(Duration::hours(VISIT_WINDOW_H)),
    }
}

const STEP: &[&str] = &["until", "max_r90", "filters", "exptime", "count", "dither"];

fn steps(plan: &Section<'_>, faults: &mut Faults) -> Vec<Step> {
    let nodes = plan.items("step", faults);
    if nodes.is_empty() && plan.fields.is_some() {
        faults.add("plan.step", plan.line, "is missing: nothing would be exposed");
    }
    let mut out: Vec<Step> = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let part = Section::of(format!("plan.step[{i}]"), Some(node), STEP, faults);
        for name in ["until", "filters", "exptime", "count"] {
            if part.fields.is_some() && part.get(name).is_none() {
                part.missing(name, faults);
            }
        }
        if let Some(step) = step(&part, out.last(), faults) {
            out.push(step);
        }
    }
    out
}

fn step(part: &Section<'_>, before: Option<&Step>, faults: &mut Faults) -> Option<Step> {
    let until = part.length("until", faults);
    let max_r90_deg = part.angle("max_r90", 0.0, 180.0, faults);
    // Steps for different error radii may share a time; otherwise a later step must end later.
    if let (Some(until), Some(before)) = (until, before)
        && (until < before.until || (until == before.until && before.max_r90_deg.is_none()))
    {
        let line = part.line("until");
        faults.add(part.key("until"), line, "does not come after the step before it");
    }
    let filters = part.texts("filters", faults);
    if part.get("filters").is_some() && (filters.is_empty() || filters.iter().any(|(f, _)| f.trim().is_empty())) {
        faults.add(part.key("filters"), part.line("filters"), "names no filter");
    }
    let exptime = part.text("exptime", faults);
    let exposure_s = exptime
        .and_then(quantity::seconds)
        .filter(|s| (0.001..=7200.0).contains(s));
    if let (Some(text), None) = (exptime, exposure_s) {
        let problem = format!("\"{text}\" is no exposure time of 1 ms to 2 h");
        faults.add(part.key("exptime"), part.line("exptime"), problem);
    }
    let count = part.whole("count", 1, 10_000, faults);
    let dither_deg = part.angle("dither", 0.0, 1.0, faults);
    Some(Step {
        until: until?,
        max_r90_deg,
        filters: filters.into_iter().map(|(f, _)| f.to_owned()).collect(),
        exposure_s: exposure_s?,
        count: u32::try_from(count?).ok()?,
        dither_deg,
    })
}

fn tiling(node: &Node, faults: &mut Faults) -> Option<Tiling> {
    let known = &["max_tiles", "min_cumulative_prob", "overlap"];
    let part = Section::of("plan.tiling".into(), Some(node), known, faults);
    for name in ["max_tiles", "min_cumulative_prob"] {
        if part.fields.is_some() && part.get(name).is_none() {
            part.missing(name, faults);
        }
    }
    let max_tiles = part.whole("max_tiles", 1, 1000, faults);
    let min_cumulative_prob = part.number("min_cumulative_prob", 0.0, 1.0, faults);
    let overlap = part.number("overlap", 0.0, 0.5, faults);
    Some(Tiling {
        max_tiles: u32::try_from(max_tiles?).ok()?,
        min_cumulative_prob: min_cumulative_prob?,
        overlap: overlap.unwrap_or(0.0),
    })
}

fn update(node: Option<&Node>, faults: &mut Faults) -> UpdatePolicy {
    let known = &["repoint_if", "repoint_fraction", "stop_on_retraction"];
    let part = Section::of("update".into(), node, known, faults);
    let policy = UpdatePolicy::default();
    let repoint_if: RepointIf = part.word("repoint_if", faults);
    UpdatePolicy {
        repoint_if,
        repoint_fraction: part
            .number("repoint_fraction", 0.0, 2.0, faults)
            .unwrap_or(policy.repoint_fraction),
        stop_on_retraction: part.truth("stop_on_retraction", policy.stop_on_retraction, faults),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
