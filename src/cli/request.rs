//! `alidade request`: observing requests, as users see them.
//!
//! Reading goes to the database, so that it works whether the daemon runs or not, or to the daemon that is named; what
//! changes something goes to the daemon, which alone writes.

use super::{
    CliError,
    remote::{DaemonArgs, Remote, part},
};
use crate::{
    settings::Settings,
    store::{
        Durability, OpenOptions, Store, StoreError,
        queries::{RequestSummary, SequenceDetail, Verdict},
    },
};
use alidade_model::{request::Request, schedule::Excluded, time::UtcTime};
use alidade_simulations::scenario;
use serde_json::json;
use std::{io::Write, path::PathBuf};

/// Submit, list, show and cancel observing requests; ask why one is not planned.
#[derive(Debug, Clone, clap::Args)]
pub struct RequestArgs {
    #[command(subcommand)]
    command: RequestCommand,
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum RequestCommand {
    /// Submit the requests of a sequence file (TOML, JSON or HTML, see simulations/nights/README.md)
    Submit(SubmitArgs),
    /// List requests, newest first
    List {
        /// Only this user's
        #[arg(long)]
        user: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show a request with its sequences
    Show { id: String },
    /// Give a sequence up; its reserved quota is refunded
    Cancel { sequence: String },
    /// Give back the quota of an executed sequence whose data are bad, and observe it again
    Redo {
        sequence: String,
        /// What is wrong with the data
        #[arg(long)]
        cause: String,
    },
    /// Say where a request or a sequence stands, and why
    Why { id: String },
}

#[derive(Debug, Clone, clap::Args)]
struct SubmitArgs {
    file: PathBuf,
    /// The file holds request groups of the LCO observation portal (JSON)
    #[arg(long)]
    lco: bool,
    /// Account that pays for LCO requests, in place of their proposal
    #[arg(long, requires = "lco")]
    user: Option<String>,
    /// Channel that exposes LCO requests, in place of their instrument type
    #[arg(long, requires = "lco")]
    channel: Option<String>,
    /// Our filter for one of LCO's, such as rp=r; may be repeated
    #[arg(long = "filter", requires = "lco", value_name = "THEIRS=OURS", value_parser = filter_pair)]
    filters: Vec<(String, String)>,
    /// Read and check the file, print what would be submitted, and submit nothing
    #[arg(long)]
    dry_run: bool,
}

fn filter_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((theirs, ours)) if !theirs.is_empty() && !ours.is_empty() => Ok((theirs.into(), ours.into())),
        _ => Err("expected THEIRS=OURS".into()),
    }
}

pub fn run(args: &RequestArgs, now: UtcTime, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let text = match &args.command {
        RequestCommand::Submit(what) => submit(args, what, now)?,
        RequestCommand::Cancel { sequence } => {
            let answer =
                Remote::of(&args.daemon)?.post(&format!("/api/v1/sequences/{}/cancel", part(sequence)), &json!({}))?;
            said(args, &answer, || format!("{sequence}: cancelled\n"))
        }
        RequestCommand::Redo { sequence, cause } => {
            let path = format!("/api/v1/sequences/{}/redo", part(sequence));
            let answer = Remote::of(&args.daemon)?.post(&path, &json!({ "cause": cause }))?;
            said(args, &answer, || format!("{sequence}: to be observed again\n"))
        }
        RequestCommand::List { user, limit } => {
            let list = match args.daemon.elsewhere()? {
                Some(remote) => listed(&remote, user.as_deref(), *limit)?,
                None => store(args)?.requests(user.as_deref(), *limit).map_err(failed)?,
            };
            said(args, &list, || list.iter().map(line).collect())
        }
        RequestCommand::Show { id } => {
            let whole = match args.daemon.elsewhere()? {
                Some(remote) => remote.get(&format!("/api/v1/requests/{}", part(id)))?["request"].clone(),
                None => {
                    let request = store(args)?.request(id).map_err(failed)?.ok_or_else(|| unknown(id))?;
                    serde_json::to_value(&request).map_err(|e| CliError::failed(e.to_string()))?
                }
            };
            said(args, &whole, || format!("{whole:#}\n"))
        }
        RequestCommand::Why { id } => {
            let details = match args.daemon.elsewhere()? {
                Some(remote) => why_elsewhere(&remote, id)?,
                None => why(&mut store(args)?, id)?,
            };
            said(args, &details, || details.iter().map(reason).collect())
        }
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    Ok(0)
}

/// The machine's document, or the people's text.
fn said<T: serde::Serialize>(args: &RequestArgs, value: &T, people: impl FnOnce() -> String) -> String {
    if args.json {
        format!("{:#}\n", json!(value))
    } else {
        people()
    }
}

fn failed(error: StoreError) -> CliError {
    CliError::failed(error.to_string())
}

fn unknown(id: &str) -> CliError {
    CliError::failed(format!("there is no request or sequence {id}"))
}

fn store(args: &RequestArgs) -> Result<Store, CliError> {
    let settings = Settings::load(&args.daemon.config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    Store::open(&settings.database.url, options).map_err(|e| CliError::bad_input(e.to_string()))
}

/// Reads the whole file before the first request goes out: a fault changes nothing.
fn submit(args: &RequestArgs, what: &SubmitArgs, now: UtcTime) -> Result<String, CliError> {
    let read: Result<Vec<Request>, _> = if what.lco {
        let names = scenario::LcoNames {
            user: what.user.clone(),
            channel: what.channel.clone(),
            filters: what.filters.iter().cloned().collect(),
        };
        scenario::lco_file(&what.file, &names, now)
    } else {
        scenario::sequence_file(&what.file, now)
    };
    let requests = read.map_err(|e| CliError::bad_input(e.to_string()))?;
    if what.dry_run {
        return Ok(format!("{:#}\n", json!(requests)));
    }
    let remote = Remote::of(&args.daemon)?;
    let mut accepted = Vec::new();
    for request in &requests {
        let body = serde_json::to_value(request).map_err(|e| CliError::failed(e.to_string()))?;
        if let Err(error) = remote.post("/api/v1/requests", &body) {
            let before = if accepted.is_empty() {
                String::new()
            } else {
                format!(" (accepted before it: {})", accepted.join(", "))
            };
            return Err(CliError::failed(format!("request {}: {error}{before}", request.id)));
        }
        accepted.push(request.id.clone());
    }
    Ok(said(args, &json!({ "accepted": accepted }), || {
        accepted.iter().map(|id| format!("{id}: accepted\n")).collect()
    }))
}

fn line(summary: &RequestSummary) -> String {
    let states: Vec<String> = summary
        .states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    format!(
        "{:<16} {:<12} {:<28} {}\n",
        summary.id,
        summary.user,
        summary.title,
        states.join(", ")
    )
}

/// The sequence of this name, or all sequences of the request of this name.
fn why(store: &mut Store, id: &str) -> Result<Vec<SequenceDetail>, CliError> {
    if let Some(detail) = store.sequence(id).map_err(failed)? {
        return Ok(vec![detail]);
    }
    let request = store.request(id).map_err(failed)?.ok_or_else(|| unknown(id))?;
    let mut details = Vec::new();
    for sequence in &request.sequences {
        details.extend(store.sequence(&sequence.id).map_err(failed)?);
    }
    Ok(details)
}

/// As the daemon tells them, page after page.
fn listed(remote: &Remote, user: Option<&str>, limit: u32) -> Result<Vec<RequestSummary>, CliError> {
    let of_user = user.map_or_else(String::new, |user| format!("&user={}", part(user)));
    let mut all: Vec<RequestSummary> = Vec::new();
    let mut before = String::new();
    while all.len() < limit as usize {
        let wanted = (limit as usize - all.len()).min(1000);
        let page = remote.get(&format!("/api/v1/requests?limit={wanted}{of_user}{before}"))?;
        let rows: Vec<RequestSummary> = read(&page["requests"])?;
        all.extend(rows);
        match page["next_before"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    Ok(all)
}

/// As [`why`], asked of a daemon.
fn why_elsewhere(remote: &Remote, id: &str) -> Result<Vec<SequenceDetail>, CliError> {
    match remote.get(&format!("/api/v1/sequences/{}", part(id))) {
        Ok(told) => Ok(vec![read(&told["standing"])?]),
        Err(_) => {
            let told = remote.get(&format!("/api/v1/requests/{}", part(id)))?;
            let each = told["sequences"].as_array().cloned().unwrap_or_default();
            each.iter().map(|one| read(&one["standing"])).collect()
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> Result<T, CliError> {
    serde_json::from_value(value.clone()).map_err(|e| CliError::failed(format!("the daemon's answer: {e}")))
}

/// One excluded stretch of the night.
fn interval(excluded: &Excluded) -> String {
    let clock = |t: UtcTime| t.chrono().format("%H:%M:%S").to_string();
    let cause = excluded.cause.replace('_', " ");
    let numbers = match (excluded.worst, excluded.limit) {
        (Some(worst), Some(limit)) => format!(" ({worst:.2}, limit {limit:.2})"),
        (Some(worst), None) => format!(" ({worst:.2})"),
        _ => String::new(),
    };
    format!(
        "    {} to {}  {cause}{numbers}\n",
        clock(excluded.start),
        clock(excluded.end)
    )
}

fn reason(detail: &SequenceDetail) -> String {
    let id = &detail.sequence.id;
    let cause = detail.why.as_deref().unwrap_or("no cause recorded");
    let mut text = format!("{id} is {} since {}: {cause}\n", detail.state, detail.moved_at);
    let chance = match &detail.verdict {
        Some(Verdict::Placed { place, .. }) => place.chance,
        Some(Verdict::Unplaced { reason, .. }) => reason.chance,
        None => None,
    };
    if let Some(chance) = chance {
        text.push_str(&format!(
            "  {:.0} % likely to be completed: {} of the next {} nights can hold it\n",
            100.0 * chance.probability,
            chance.usable_nights,
            chance.nights
        ));
    }
    match &detail.verdict {
        Some(Verdict::Placed { schedule, place, .. }) => {
            text.push_str(&format!(
                "  schedule {schedule}: planned {} to {}\n",
                place.start, place.end
            ));
        }
        Some(Verdict::Unplaced { schedule, reason, .. }) => {
            text.push_str(&format!(
                "  schedule {schedule}: not planned ({}): {}\n",
                reason.reason, reason.sentence
            ));
            reason.excluded.iter().for_each(|e| text.push_str(&interval(e)));
        }
        None => text.push_str("  no schedule has considered it yet\n"),
    }
    text
}
