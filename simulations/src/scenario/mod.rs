//! A night as data: one folder that holds everything a simulated night is made of.
//!
//! | file | holds |
//! |---|---|
//! | `scenario.toml` | title, start and end, the simulated hardware where it differs from the default |
//! | `observatory.toml` | the daemon's own configuration, with `simulated` links |
//! | `sequences.toml` (or `.json`, or a PYROS `.html` table) | the observing requests |
//! | `events.toml`, `events/` | alert packets and when they arrive |
//! | `weather.csv` | the true weather |
//! | `faults.toml` | what goes wrong; may be missing or empty |
//!
//! Every error is one line that names file, place and cause.

mod lco;
mod names;
mod packets;
mod page;
mod sequences;

pub use lco::{LcoNames, from_lco};
pub use names::Names;
pub use packets::shift_times;
pub use page::from_html;
pub use sequences::{from_json, from_toml};

use crate::{
    devices::{mount::MountConfig, plc::PlcConfig},
    faults::Fault,
    weather::Table,
};
use alidade_model::{request::Request, time::UtcTime};
use serde::{Deserialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// A packet and when its last byte arrives.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivingPacket {
    pub at: UtcTime,
    pub channel: String,
    pub body: Vec<u8>,
}

/// A source that appears and fades: the counterpart of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transient {
    /// ICRS, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub appears: UtcTime,
    /// Magnitude one minute after it appeared.
    pub mag_at_1_min: f64,
    /// Flux falls as time to the minus this.
    pub decay: f64,
}

impl Transient {
    fn check(&self) -> Result<(), String> {
        let quantities = [
            ("ra_deg", self.ra_deg, 0.0, 360.0),
            ("dec_deg", self.dec_deg, -90.0, 90.0),
            ("mag_at_1_min", self.mag_at_1_min, -5.0, 40.0),
            ("decay", self.decay, 0.0, 10.0),
        ];
        match quantities
            .iter()
            .find(|(_, value, low, high)| !(*low..=*high).contains(value))
        {
            None => Ok(()),
            Some((name, value, low, high)) => Err(format!("{name} {value} is outside {low} to {high}")),
        }
    }
}

/// Where the true focus is not where the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FocuserConfig {
    /// Added to the configured best position, steps.
    pub off_by_steps: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: String,
    start: UtcTime,
    end: UtcTime,
    #[serde(default)]
    plc: PlcConfig,
    #[serde(default)]
    mount: MountConfig,
    #[serde(default)]
    focuser: FocuserConfig,
    #[serde(default)]
    transients: Vec<Transient>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsFile {
    #[serde(default)]
    packets: Vec<PacketEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PacketEntry {
    file: PathBuf,
    arrival: UtcTime,
    /// All times in the packet are shifted so that this one, the packet's own date, becomes `arrival` less `delay_s`.
    #[serde(default)]
    sent: Option<UtcTime>,
    #[serde(default)]
    delay_s: f64,
    #[serde(default = "vtp")]
    channel: String,
}

fn vtp() -> String {
    "vtp".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsFile {
    #[serde(default)]
    faults: Vec<toml::Spanned<toml::Table>>,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub folder: PathBuf,
    pub title: String,
    pub start: UtcTime,
    pub end: UtcTime,
    /// The daemon's configuration file.
    pub observatory: PathBuf,
    pub plc: PlcConfig,
    pub mount: MountConfig,
    pub focuser: FocuserConfig,
    pub transients: Vec<Transient>,
    pub requests: Vec<Request>,
    pub packets: Vec<ArrivingPacket>,
    pub weather: Table,
    pub faults: Vec<Fault>,
}

/// What is wrong with a scenario: file, place, cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {cause}", place.as_deref().map(|p| format!(":{p}")).unwrap_or_default())]
pub struct ScenarioError {
    pub file: String,
    pub place: Option<String>,
    pub cause: String,
}

fn fault(file: &Path, place: Option<String>, cause: impl Into<String>) -> ScenarioError {
    ScenarioError {
        file: file.display().to_string(),
        place,
        cause: cause.into(),
    }
}

fn text(file: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(file).map_err(|e| fault(file, None, format!("cannot be read: {e}")))
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Reads TOML; the error is line (where one is known) and cause, which names the key.
fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, (Option<String>, String)> {
    let wrong = |path: String, e: &toml::de::Error| {
        let place = e.span().map(|span| line_of(text, span.start).to_string());
        (place, keyed(&path, &e.message().replace('\n', " ")))
    };
    let read = toml::Deserializer::parse(text).map_err(|e| wrong(String::new(), &e))?;
    serde_path_to_error::deserialize(read).map_err(|e| wrong(e.path().to_string(), e.inner()))
}

/// A cause with the key it concerns, unless it names that key itself.
fn keyed(path: &str, cause: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    if last.is_empty() || last == "?" || cause.contains(&format!("`{last}`")) {
        cause.to_owned()
    } else {
        format!("{path}: {cause}")
    }
}

fn from_toml_text<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ScenarioError> {
    parse_toml(text).map_err(|(place, cause)| fault(file, place, cause))
}

fn toml_file<T: DeserializeOwned>(file: &Path) -> Result<T, ScenarioError> {
    from_toml_text(file, &text(file)?)
}

impl Scenario {
    /// Reads and checks a folder; nothing is changed anywhere.
    pub fn load(folder: &Path) -> Result<Self, ScenarioError> {
        if !folder.is_dir() {
            return Err(fault(folder, None, "is not a folder"));
        }
        let file = folder.join("scenario.toml");
        let head: ScenarioFile = toml_file(&file)?;
        let length = head.end.seconds_since(head.start);
        if !(60.0..=36.0 * 3600.0).contains(&length) {
            return Err(fault(
                &file,
                None,
                format!(
                    "end ({}) must be 1 minute to 36 hours after start ({})",
                    head.end, head.start
                ),
            ));
        }
        for (index, source) in head.transients.iter().enumerate() {
            source
                .check()
                .map_err(|cause| fault(&file, Some(format!("transient {}", index + 1)), cause))?;
        }
        let observatory = folder.join("observatory.toml");
        if !observatory.is_file() {
            return Err(fault(&observatory, None, "is missing"));
        }
        let names = Names::read(&observatory)?;
        let night = (head.start, head.end);
        let script = folder.join("faults.toml");
        let faults = faults(&script)?;
        names.check_faults(&script, &faults)?;
        if let Some(entry) = faults.iter().find(|entry| entry.at < night.0 || entry.at > night.1) {
            return Err(fault(
                &script,
                None,
                format!("the fault of {} is not in this night", entry.at),
            ));
        }
        Ok(Self {
            title: head.title,
            start: head.start,
            end: head.end,
            observatory,
            plc: head.plc,
            mount: head.mount,
            focuser: head.focuser,
            transients: head.transients,
            requests: requests(folder, head.start, &names)?,
            packets: arriving(folder, night)?,
            weather: weather(folder)?,
            faults,
            folder: folder.to_owned(),
        })
    }
}

/// A fault script; a missing one is empty.
pub fn faults(file: &Path) -> Result<Vec<Fault>, ScenarioError> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = text(file)?;
    let script: FaultsFile = from_toml_text(file, &text)?;
    script
        .faults
        .into_iter()
        .map(|entry| {
            let line = line_of(&text, entry.span().start).to_string();
            Fault::from_table(entry.into_inner()).map_err(|cause| fault(file, Some(line), cause))
        })
        .collect()
}

fn weather(folder: &Path) -> Result<Table, ScenarioError> {
    let file = folder.join("weather.csv");
    Table::from_csv(&text(&file)?).map_err(|(line, cause)| fault(&file, Some(line.to_string()), cause))
}

/// The requests of one sequence file (TOML, JSON or an HTML page, by its extension), each consistent in itself.
pub fn sequence_file(file: &Path, submitted_at: UtcTime) -> Result<Vec<Request>, ScenarioError> {
    let reader = match file.extension().and_then(|x| x.to_str()) {
        Some("toml") => from_toml,
        Some("json") => from_json,
        Some("html") => from_html,
        _ => return Err(fault(file, None, "is not a .toml, .json or .html file")),
    };
    let read = reader(&text(file)?, submitted_at).map_err(|wrong| misread(file, wrong))?;
    consistent(file, read)
}

/// The requests of a file of LCO request groups, each consistent in itself.
pub fn lco_file(file: &Path, names: &LcoNames, submitted_at: UtcTime) -> Result<Vec<Request>, ScenarioError> {
    let read = from_lco(&text(file)?, names, submitted_at).map_err(|wrong| misread(file, wrong))?;
    consistent(file, read)
}

fn misread(file: &Path, (place, cause): (String, String)) -> ScenarioError {
    fault(file, Some(place).filter(|p| !p.is_empty()), cause)
}

fn consistent(file: &Path, read: Vec<Request>) -> Result<Vec<Request>, ScenarioError> {
    for (index, request) in read.iter().enumerate() {
        request
            .check()
            .map_err(|e| fault(file, Some(request.id.clone()), e.to_string()))?;
        if read[..index].iter().any(|other| other.id == request.id) {
            return Err(fault(file, Some(request.id.clone()), "this request exists already"));
        }
    }
    Ok(read)
}

fn requests(folder: &Path, submitted_at: UtcTime, names: &Names) -> Result<Vec<Request>, ScenarioError> {
    let mut all: Vec<Request> = Vec::new();
    let mut found = false;
    for name in ["sequences.toml", "sequences.json", "sequences.html"] {
        let file = folder.join(name);
        if !file.exists() {
            continue;
        }
        found = true;
        for request in sequence_file(&file, submitted_at)? {
            names
                .check_request(&request)
                .map_err(|e| fault(&file, Some(request.id.clone()), e.to_string()))?;
            if all.iter().any(|other| other.id == request.id) {
                return Err(fault(&file, Some(request.id), "this request exists already"));
            }
            all.push(request);
        }
    }
    if found {
        Ok(all)
    } else {
        Err(fault(
            &folder.join("sequences.toml"),
            None,
            "is missing (so are sequences.json and sequences.html)",
        ))
    }
}

fn arriving(folder: &Path, (start, end): (UtcTime, UtcTime)) -> Result<Vec<ArrivingPacket>, ScenarioError> {
    let file = folder.join("events.toml");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let events: EventsFile = toml_file(&file)?;
    let mut packets = Vec::new();
    for entry in events.packets {
        if entry.arrival < start || entry.arrival > end {
            let cause = format!(
                "{} arrives at {}, which is not in this night",
                entry.file.display(),
                entry.arrival
            );
            return Err(fault(&file, None, cause));
        }
        if !(0.0..=1e9).contains(&entry.delay_s) {
            return Err(fault(
                &file,
                None,
                format!("{}: delay_s {} is not a delay", entry.file.display(), entry.delay_s),
            ));
        }
        let path = folder.join("events").join(&entry.file);
        let body = std::fs::read(&path).map_err(|e| fault(&path, None, format!("cannot be read: {e}")))?;
        let body = match entry.sent {
            None => body,
            Some(sent) => shift_times(&body, entry.arrival.plus_seconds(-entry.delay_s).seconds_since(sent)),
        };
        packets.push(ArrivingPacket {
            at: entry.arrival,
            channel: entry.channel,
            body,
        });
    }
    packets.sort_by_key(|packet| packet.at);
    Ok(packets)
}
