//! `alidade alert list|show|report`: what became of alerts, from the database, a journal file or a running daemon.

use super::{
    CliError,
    remote::{DaemonArgs, Remote},
};
use crate::{
    gateway::alerts::{lines, whole},
    settings::Settings,
    store::{Durability, OpenOptions, Store},
};
use alidade_alerts::{
    record::{AlertRecord, AlertRecords, KINDS},
    results::draft,
};
use alidade_model::{
    alert::AlertReport,
    journal::{Entry, Fact},
    time::{JD_UNIX_EPOCH, UtcTime},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
};

/// Where the alerts are read: the configuration's database if nothing else is named.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// Configuration that names the database
    #[arg(long, default_value = "config/alidade.toml")]
    pub config: PathBuf,
    /// Another database, as sqlite://PATH or postgres://USER@HOST/NAME
    #[arg(long)]
    pub db: Option<String>,
    /// A journal file, such as journal.ndjson of a simulated night
    #[arg(long, conflicts_with = "db")]
    pub journal: Option<PathBuf>,
    /// A running daemon, such as http://127.0.0.1:8080
    #[arg(long, conflicts_with_all = ["db", "journal"])]
    pub server: Option<String>,
    /// File with a token of an account, instead of the environment's ALIDADE_TOKEN
    #[arg(long, requires = "server")]
    pub token_file: Option<PathBuf>,
    /// The token itself; others on this machine can see it in the list of processes
    #[arg(long, requires = "server", conflicts_with = "token_file")]
    pub token: Option<String>,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum RecordsCommand {
    /// List alert events, newest first: what was decided and how fast
    List {
        #[command(flatten)]
        source: SourceArgs,
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Show an event: every step with its instant, the decision with its reason, tiles, frames, reports
    Show {
        event: String,
        #[command(flatten)]
        source: SourceArgs,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Print the report of an event as it is in the outbox, or the draft of a circular
    Report {
        event: String,
        #[command(flatten)]
        source: SourceArgs,
        /// The draft of a circular, for people: it is never sent by itself
        #[arg(long)]
        draft: bool,
        /// Machine output: the report as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &RecordsCommand, stdout: &mut dyn Write) -> Result<(), CliError> {
    let text = match command {
        RecordsCommand::List { source, limit, json } => list(source, *limit, *json)?,
        RecordsCommand::Show { event, source, json } => {
            let value = show(source, event)?;
            if *json { format!("{value:#}\n") } else { told(&value) }
        }
        RecordsCommand::Report {
            event,
            source,
            draft,
            json,
        } => report(source, event, *draft, *json)?,
    };
    let written = stdout.write_all(text.as_bytes());
    written.map_err(|e| CliError::failed(format!("standard output: {e}")))
}

/// The database of a source.
pub fn store(source: &SourceArgs) -> Result<Store, CliError> {
    let url = match &source.db {
        Some(url) => url.clone(),
        None => {
            let settings = Settings::load(&source.config).map_err(|e| CliError::bad_input(e.to_string()))?;
            settings.database.url
        }
    };
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    Store::open(&url, options).map_err(|e| CliError::bad_input(e.to_string()))
}

/// The daemon of a source.
pub fn remote(source: &SourceArgs, url: &str) -> Result<Remote, CliError> {
    Remote::of(&DaemonArgs {
        config: source.config.clone(),
        url: Some(url.to_owned()),
        token_file: source.token_file.clone(),
        token: source.token.clone(),
    })
}

/// Every entry about alerts that the source has, oldest first.
fn entries(source: &SourceArgs) -> Result<Vec<Entry>, CliError> {
    let Some(file) = &source.journal else {
        let ever = UtcTime::from_julian_date(JD_UNIX_EPOCH).unwrap_or_else(|| UtcTime::new(Default::default()));
        let mut store = store(source)?;
        return store
            .entries_of(KINDS, ever)
            .map_err(|e| CliError::failed(e.to_string()));
    };
    let bad = |cause: String| CliError::bad_input(format!("{}: {cause}", file.display()));
    let reader = BufReader::new(File::open(file).map_err(|e| bad(e.to_string()))?);
    let mut entries = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(|e| bad(e.to_string()))?;
        let entry = serde_json::from_str(&line).map_err(|e| bad(format!("line {}: {e}", number + 1)))?;
        entries.push(entry);
    }
    Ok(entries)
}

fn records(source: &SourceArgs) -> Result<AlertRecords, CliError> {
    let mut records = AlertRecords::default();
    entries(source)?.iter().for_each(|entry| records.append(entry));
    Ok(records)
}

fn list(source: &SourceArgs, limit: usize, json: bool) -> Result<String, CliError> {
    let lines = match &source.server {
        Some(url) => {
            let answer = remote(source, url)?.get(&format!("/api/v1/alerts?limit={limit}"))?;
            answer["alerts"].as_array().cloned().unwrap_or_default()
        }
        None => lines(records(source)?.all().values(), limit),
    };
    Ok(if json {
        format!("{:#}\n", json!(lines))
    } else {
        lines.iter().map(line).collect()
    })
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => alidade_alerts::reason::printable(text, 200),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), duration)
}

fn duration(seconds: f64) -> String {
    match seconds.abs() {
        s if s < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        s if s < 600.0 => format!("{seconds:.1} s"),
        _ => format!("{:.1} min", seconds / 60.0),
    }
}

fn line(value: &Value) -> String {
    let at = word(&value["first_at"]);
    format!(
        "{:10} {} {:24} {:9} slew {:>8} light {:>8}  {}\n",
        word(&value["event"]),
        at.get(..19).unwrap_or(&at),
        word(&value["name"]),
        word(&value["state"]),
        seconds(&value["slew_commanded_s"]),
        seconds(&value["first_light_s"]),
        word(&value["decision"]),
    )
}

fn unknown(event: &str) -> CliError {
    CliError::failed(format!("there is no alert event {event}"))
}

fn show(source: &SourceArgs, event: &str) -> Result<Value, CliError> {
    match &source.server {
        Some(url) => remote(source, url)?.get(&format!("/api/v1/alerts/{event}")),
        None => {
            let records = records(source)?;
            let record = records.get(event).ok_or_else(|| unknown(event))?;
            Ok(whole(record))
        }
    }
}

/// The record in lines for people.
fn told(value: &Value) -> String {
    let Ok(record) = serde_json::from_value::<AlertRecord>(value.clone()) else {
        return format!("{value:#}\n");
    };
    let name = alidade_alerts::reason::printable(&record.name, 80);
    let mut text = format!("{}  {name}: {}\n", record.event, record.state);
    let mut say = |key: &str, value: String| text.push_str(&format!("  {key:10} {value}\n"));
    say("decision", record.decision.clone());
    if let Some(outlook) = &record.outlook {
        say(
            "when",
            format!("{} ({}): {}", outlook.when, outlook.reason, outlook.sentence),
        );
    }
    let degrees = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let (ra, dec, r90) = (degrees(record.ra_deg), degrees(record.dec_deg), degrees(record.r90_deg));
    say("position", format!("RA {ra} Dec {dec}, 90 % within {r90} deg"));
    if let Some(coverage) = &record.coverage {
        let share = coverage
            .covered
            .map_or_else(|| "unknown".to_owned(), |c| format!("{:.0} %", c * 100.0));
        let fields = coverage.tiles.len().max(1);
        say(
            "pointings",
            format!(
                "{:?}, {fields} fields of {:.2} deg, covering {share}",
                coverage.pattern, coverage.field_deg
            ),
        );
        for (number, tile) in coverage.tiles.iter().enumerate() {
            let from = tile.from.map_or_else(String::new, |t| format!(" from {}", t.hh_mm()));
            let place = format!("RA {:8.4} Dec {:+8.4}", tile.ra_deg, tile.dec_deg);
            say(
                "",
                format!(
                    "{:3}  {place}  {:5.2} %  {}{from}",
                    number + 1,
                    tile.probability * 100.0,
                    tile.when
                ),
            );
        }
    }
    for (strategy, why) in &record.others {
        say("not by", format!("{strategy}: {why}"));
    }
    say("request", record.request.clone().unwrap_or_else(|| "-".into()));
    for share in alidade_alerts::record::budget(&record.stages) {
        let at = record
            .stages
            .get(&share.to)
            .map_or_else(String::new, ToString::to_string);
        say(
            "stage",
            format!("{:16} {at}  after {}", share.to, duration(share.seconds)),
        );
    }
    for frame in &record.frames {
        let since = frame.since_trigger_s.map_or_else(|| "-".into(), duration);
        say(
            "frame",
            format!(
                "{}  {} {:.1} s, {since} after the trigger",
                frame.exposure, frame.filter, frame.exposure_s
            ),
        );
    }
    for candidate in &record.candidates {
        let mag = candidate
            .mag
            .map_or_else(String::new, |mag| format!(", {} {mag:.2}", candidate.filter));
        say(
            "candidate",
            format!(
                "RA {:.5} Dec {:+.5}{mag}, {} ({})",
                candidate.ra_deg, candidate.dec_deg, candidate.note, candidate.exposure
            ),
        );
    }
    for moment in &record.history {
        say(
            "history",
            format!(
                "{}  {}",
                moment.at,
                alidade_alerts::reason::printable(&moment.text, 200)
            ),
        );
    }
    if let Some(published) = &record.published {
        say(
            "report",
            format!(
                "{} (revision {}, {})",
                published.path, published.revision, published.status
            ),
        );
        say("draft", published.draft.clone());
    }
    text
}

fn report(source: &SourceArgs, event: &str, as_draft: bool, json: bool) -> Result<String, CliError> {
    let none = || {
        CliError::failed(format!(
            "there is no report of {event}: nothing was observed for it yet"
        ))
    };
    let report: AlertReport = match &source.server {
        Some(url) => {
            let remote = remote(source, url)?;
            let record = remote.get(&format!("/api/v1/alerts/{event}"))?;
            let path = record
                .pointer("/published/path")
                .and_then(Value::as_str)
                .ok_or_else(none)?;
            let document = remote.get(&format!("/api/v1/products/{path}"))?;
            serde_json::from_value(document).map_err(|e| CliError::failed(e.to_string()))?
        }
        None => {
            let all = entries(source)?;
            if !all.iter().any(|entry| names(entry, event)) {
                return Err(unknown(event));
            }
            let mut reports = all.into_iter().filter_map(|entry| match entry.fact {
                Fact::AlertReported { event: of, report, .. } if of == event => Some(*report),
                _ => None,
            });
            reports.next_back().ok_or_else(none)?
        }
    };
    Ok(if as_draft && !json {
        draft(&report)
    } else {
        format!("{:#}\n", json!(report))
    })
}

fn names(entry: &Entry, wanted: &str) -> bool {
    match &entry.fact {
        Fact::EventMoved { event, .. } | Fact::EventDecided { event, .. } | Fact::AlertReported { event, .. } => {
            event == wanted
        }
        _ => false,
    }
}
