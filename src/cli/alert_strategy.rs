//! `alidade alert strategy ...`: the strategies that hold, a new one checked, rehearsed over past alerts, and applied.

use super::{
    CliError,
    alert_records::{SourceArgs, remote, store},
    remote::{DaemonArgs, Remote, part},
};
use crate::{daemon, gateway::alerts::dry_run, settings::Settings, simulate::plan};
use alidade_alerts::{
    record::{AlertRecords, KINDS},
    strategy::{Strategy, Syntax, from_text},
};
use alidade_model::time::{JD_UNIX_EPOCH, UtcTime};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, clap::Subcommand)]
pub enum StrategyCommand {
    /// List the strategies that hold, the first to be asked first, and with --changes what was changed by whom
    List {
        #[command(flatten)]
        source: SourceArgs,
        /// Changes by command, with the file before
        #[arg(long)]
        changes: bool,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Check a strategy file, TOML or YAML, and name every fault
    Check {
        file: PathBuf,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Say what a strategy file would have made of past alerts; changes nothing
    DryRun {
        file: PathBuf,
        #[command(flatten)]
        source: SourceArgs,
        /// How far to look back
        #[arg(long, default_value_t = 30.0)]
        since: f64,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Put a strategy file in force in a running daemon
    Apply {
        file: PathBuf,
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &StrategyCommand, now: UtcTime, stdout: &mut dyn Write) -> Result<(), CliError> {
    let text = match command {
        StrategyCommand::List { source, changes, json } => list(source, *changes, *json)?,
        StrategyCommand::Check { file, json } => {
            let strategy = read(file)?.1;
            if *json {
                format!("{:#}\n", json!(strategy))
            } else {
                format!("{}: {} v{} is sound\n", file.display(), strategy.name, strategy.version)
            }
        }
        StrategyCommand::DryRun {
            file,
            source,
            since,
            json,
        } => {
            let told = rehearsed(file, source, *since, now)?;
            if *json { format!("{told:#}\n") } else { sentences(&told) }
        }
        StrategyCommand::Apply { file, daemon, json } => {
            let (text, strategy) = read(file)?;
            let remote = Remote::of(daemon)?;
            let path = format!("/api/v1/strategies/{}", part(&strategy.name));
            let answer = remote.put(&path, &json!({ "text": text }))?;
            if *json {
                format!("{answer:#}\n")
            } else {
                format!("{} v{} holds from now on\n", strategy.name, strategy.version)
            }
        }
    };
    let written = stdout.write_all(text.as_bytes());
    written.map_err(|e| CliError::failed(format!("standard output: {e}")))
}

/// A file and what it says; every fault in the one line of an error.
fn read(file: &Path) -> Result<(String, Strategy), CliError> {
    let bad = |cause: String| CliError::bad_input(format!("{}: {cause}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    let syntax = Syntax::of(file).unwrap_or_else(|| Syntax::guess(&text));
    let strategy = from_text(&text, syntax).map_err(|e| bad(e.lines().join("; ")))?;
    Ok((text, strategy))
}

/// The strategies that the daemon of a configuration begins with.
fn current(source: &SourceArgs) -> Result<(Vec<Strategy>, AlertRecords, Settings), CliError> {
    let settings = Settings::load(&source.config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let folder = settings.alerts.strategies.clone();
    let mut strategies = plan::strategies(folder.as_deref())?;
    let ever = UtcTime::from_julian_date(JD_UNIX_EPOCH).unwrap_or_else(|| UtcTime::new(Default::default()));
    let mut records = AlertRecords::default();
    for entry in store(source)?
        .entries_of(KINDS, ever)
        .map_err(|e| CliError::failed(e.to_string()))?
    {
        records.append(&entry);
    }
    if folder.is_none() {
        strategies = daemon::strategies::with_changes(strategies, &records);
    }
    Ok((strategies, records, settings))
}

fn list(source: &SourceArgs, changes: bool, json: bool) -> Result<String, CliError> {
    let value = match &source.server {
        Some(url) => remote(source, url)?.get("/api/v1/strategies")?,
        None => {
            let (strategies, records, _) = current(source)?;
            json!({ "strategies": strategies, "changes": records.changes().collect::<Vec<_>>() })
        }
    };
    if json {
        return Ok(format!("{value:#}\n"));
    }
    let word = |value: &Value| alidade_alerts::reason::printable(value.as_str().unwrap_or("-"), 120);
    if changes {
        let each = value["changes"].as_array().cloned().unwrap_or_default();
        let said = each.iter().map(|change| {
            let (name, version) = (word(&change["strategy"]), &change["version"]);
            let before = if change["replaced"].is_null() {
                "new"
            } else {
                "replaced"
            };
            format!(
                "{}  {name} v{version} {before} by {}\n",
                word(&change["at"]),
                word(&change["who"])
            )
        });
        return Ok(said.collect());
    }
    let mut strategies: Vec<Strategy> =
        serde_json::from_value(value["strategies"].clone()).map_err(|e| CliError::failed(e.to_string()))?;
    strategies.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    Ok(strategies
        .iter()
        .map(|s| {
            let state = if s.enabled { "" } else { " (off)" };
            format!(
                "{:2}  {} v{}{state}  {}\n",
                s.priority, s.name, s.version, s.description
            )
        })
        .collect())
}

fn rehearsed(file: &Path, source: &SourceArgs, since_days: f64, now: UtcTime) -> Result<Value, CliError> {
    if !(0.0..=3660.0).contains(&since_days) {
        return Err(CliError::bad_input(format!(
            "--since: {since_days} is outside 0 to 3660 days"
        )));
    }
    let (text, _) = read(file)?;
    if let Some(url) = &source.server {
        let asked = json!({ "text": text, "days": since_days });
        return remote(source, url)?.post("/api/v1/strategies/dry-run", &asked);
    }
    let (strategies, _, settings) = current(source)?;
    let since = now.plus_seconds(-since_days * 86_400.0);
    let packets = daemon::strategies::packets_from(&mut store(source)?, since.plus_seconds(-86_400.0));
    let packets = packets.map_err(|e| CliError::failed(e.to_string()))?;
    let unit = daemon::panorama::unit(&settings);
    dry_run(&text, &strategies, &unit, &packets, since)
        .map_err(|lines| CliError::bad_input(format!("{}: {}", file.display(), lines.join("; "))))
}

fn sentences(told: &Value) -> String {
    let number = |key: &str| told[key].as_u64().unwrap_or(0);
    let mut text = format!(
        "{} v{}: of {} events {} would be followed that were not, {} not any more, {} otherwise, {} as before\n",
        told["strategy"].as_str().unwrap_or("-"),
        told["version"],
        number("events"),
        number("gained"),
        number("lost"),
        number("other"),
        number("same"),
    );
    for change in told["changes"].as_array().into_iter().flatten() {
        let fate = |key: &str| {
            let fate = &change[key];
            match fate["strategy"].as_str() {
                Some(strategy) => format!(
                    "{strategy} (priority {}, {} pointings, {:.0} s)",
                    fate["priority"],
                    fate["pointings"],
                    fate["exposure_s"].as_f64().unwrap_or(0.0)
                ),
                None => format!("not followed ({})", fate["why"].as_str().unwrap_or("-")),
            }
        };
        let name = alidade_alerts::reason::printable(change["name"].as_str().unwrap_or("-"), 60);
        text.push_str(&format!(
            "  {:6} {} {name}: {} -> {}\n",
            change["turn"].as_str().unwrap_or("-"),
            change["event"].as_str().unwrap_or("-"),
            fate("before"),
            fate("after"),
        ));
    }
    text
}
