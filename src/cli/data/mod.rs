//! `alidade data`: the life of the data, from processed unit to delivered product.
//!
//! A command works at a station, named by `--station FILE` or by the daemon's configuration. When the station is kept
//! running (by the daemon or by `alidade data serve`) the command sends its message, rings, and waits for the answer;
//! otherwise it does the station's work itself until nothing is left to do.

//! | module | holds |
//! |---|---|
//! | `office` | the station that a command works at |
//! | `act` | what is asked of it |
//! | `show` | what is shown of its books |
//! | `targets` | targets with their frames and light curves |
//! | `elsewhere` | the same, asked of a running daemon |
//! | `movie` | the film of four sites |

mod act;
mod elsewhere;
mod movie;
mod office;
mod show;
mod targets;

pub use office::{Office, of_settings};

use super::{CliError, remote::ServerArgs};
use crate::{daemon::delivery::run as keep_running, log};
use alidade_delivery::{review::Verdict, selector};
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// The life of the data: launch, review, replicate, ingest, deliver.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
    /// Configuration of the daemon whose station is meant
    #[arg(long, global = true, default_value = "config/alidade.toml")]
    config: PathBuf,
    /// File of another station (see agents/delivery/README.md)
    #[arg(long, global = true)]
    station: Option<PathBuf>,
    #[command(flatten)]
    daemon: ServerArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum DataCommand {
    /// Bring a unit into being, or back to its beginning, and have it processed
    Launch {
        program: String,
        /// Such as uid://X1/X1/Xb2
        unit: String,
        recipe: Option<String>,
        /// Site that processes it
        #[arg(requires = "recipe")]
        exec: Option<String>,
        /// Data product to process; may be repeated
        #[arg(long = "input")]
        inputs: Vec<PathBuf>,
    },
    /// Have a unit with a processing problem processed again, by the recipe and at the site it has
    Requeue { unit: String },
    /// Where units stand, jobs, deliveries, counts
    Status {
        unit: Option<String>,
        /// Only units in this state
        #[arg(long)]
        state: Option<String>,
    },
    /// Every change of a unit with author, cause and time
    History { unit: String },
    /// The newest pipeline report of a unit (XML)
    Report { unit: String },
    /// Say what you think of the data of a unit: without a verdict, show its report and begin the review
    Review {
        unit: String,
        #[arg(long, group = "verdict")]
        pass: bool,
        #[arg(long, group = "verdict")]
        semipass: bool,
        #[arg(long, group = "verdict")]
        fail: bool,
        #[arg(long, group = "verdict")]
        cancel: bool,
        #[arg(long, default_value = "")]
        comment: String,
        /// Who reviews; default: the login name
        #[arg(long)]
        reviewer: Option<String>,
        #[arg(long, default_value = "reviewer")]
        role: String,
    },
    /// Pull what is announced now, or read replicas again and repair the bad ones
    Replicate {
        /// Read every replica here again, at once
        #[arg(long)]
        scrub: bool,
        /// Give up our copy of this group or weblog
        #[arg(long, value_name = "NAME")]
        evict: Option<String>,
        /// Verified copies that must stay elsewhere
        #[arg(long, default_value_t = 1)]
        keep: usize,
    },
    /// Have the reading of replicas paused, or resumed; it stays so over restarts
    Scrubber {
        wish: Wish,
        /// Another site's
        #[arg(long)]
        site: Option<String>,
    },
    /// Archive the products of a unit again; what is archived stays as it is
    Ingest { unit: String },
    /// Deliveries, and what is verified of each in the archive here
    Track,
    /// Send a request to the state service, such as `xtss set-exec uid://X1/X1/Xb2 EU`
    Xtss {
        operation: String,
        unit: String,
        value: Option<String>,
        #[arg(long)]
        cause: Option<String>,
    },
    /// Send a message
    Send {
        selector: String,
        /// JSON
        body: String,
        /// Seconds after which nobody is to take it
        #[arg(long)]
        ttl: Option<f64>,
    },
    /// Messages, newest first
    Messages {
        /// Only those that nobody has settled
        #[arg(long)]
        unread: bool,
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Become a member of a group of listeners
    Join { group: String, member: String },
    /// Leave a group of listeners
    Leave { group: String, member: String },
    /// What was refused, went wrong, was repaired, was reviewed
    Log {
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Replicas, archive documents, metadata, reports or deliveries
    List {
        #[arg(value_parser = ["replicas", "archive", "metadata", "reports", "deliveries", "reviews", "jobs"])]
        what: String,
        #[arg(long)]
        unit: Option<String>,
    },
    /// Metadata as an ObsCore VOTable, of a cone when one is given
    Query {
        /// Centre and radius, ICRS degrees: RA,DEC,RADIUS
        #[arg(long, value_name = "RA,DEC,RADIUS")]
        cone: Option<String>,
    },
    /// What belongs to a product (DataLink VOTable)
    Links { name: String },
    /// How the products of a unit came about (PROV-JSON)
    Prov { unit: String },
    /// Pack the archived products of a unit for its owner (BagIt)
    Bag { unit: String, folder: PathBuf },
    /// Targets that there are frames of; of one of them its sequences and frames, or its light curve
    Targets(targets::TargetsArgs),
    /// The life-cycle as a picture (Mermaid)
    Lifecycle,
    /// Keep the station running until a signal
    Serve,
    /// The film: four sites, a broker, ten units from launch to delivery
    Movie(movie::MovieArgs),
    /// Empty the station's books, cache and archive
    ClearAll {
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

/// What becomes of the scrubber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wish {
    Pause,
    Resume,
}

impl DataCommand {
    /// What a review says; without a verdict it begins.
    fn verdict(&self) -> Verdict {
        match self {
            DataCommand::Review { pass: true, .. } => Verdict::Pass,
            DataCommand::Review { semipass: true, .. } => Verdict::SemiPass,
            DataCommand::Review { fail: true, .. } => Verdict::Fail,
            DataCommand::Review { cancel: true, .. } => Verdict::Cancel,
            _ => Verdict::Begin,
        }
    }
}

pub fn run(args: &DataArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    match &args.command {
        DataCommand::Lifecycle => return print(stdout, &alidade_delivery::unit::mermaid()),
        DataCommand::Movie(movie) => return movie::run(movie, args.json, stdout),
        _ => {}
    }
    if let Some(remote) = args.daemon.elsewhere()? {
        return print(stdout, &elsewhere::run(&args.command, &remote, args.json)?);
    }
    if let DataCommand::Targets(wanted) = &args.command {
        return print(stdout, &targets::here(wanted, &args.config, args.json)?);
    }
    let mut office = Office::open(args)?;
    match &args.command {
        DataCommand::Serve => serve(&office),
        DataCommand::Launch { .. }
        | DataCommand::Requeue { .. }
        | DataCommand::Review { .. }
        | DataCommand::Xtss { .. }
        | DataCommand::Ingest { .. }
        | DataCommand::Replicate { .. }
        | DataCommand::Scrubber { .. } => {
            let answer = act::act(&mut office, &args.command, stdout)?;
            said(stdout, &answer, args.json)
        }
        DataCommand::Send { selector, body, ttl } => act::send(&mut office, selector, body, *ttl, stdout),
        DataCommand::Join { group, member } => {
            legal(group).and(legal(member))?;
            office.desk(|desk| desk.books.join(group, member))?;
            Ok(0)
        }
        DataCommand::Leave { group, member } => {
            office.desk(|desk| desk.books.leave(group, member))?;
            Ok(0)
        }
        DataCommand::ClearAll { yes } => clear(&mut office, *yes),
        shown => {
            let text = show::show(&mut office, shown, args.json)?;
            print(stdout, &text)
        }
    }
}

fn print(stdout: &mut dyn Write, text: &str) -> Result<u8, CliError> {
    let written = stdout.write_all(text.as_bytes());
    written.map_err(|e| CliError::failed(format!("standard output: {e}")))?;
    Ok(0)
}

fn legal(word: &str) -> Result<(), CliError> {
    selector::check(word, false).map_err(CliError::bad_input)
}

fn serve(office: &Office) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CliError::failed(e.to_string()))?;
    log::follow()?;
    let running = keep_running(&office.opened, None)?;
    log::say(format_args!("station {} runs", office.opened.station.sites.here));
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let ends = [SignalKind::terminate(), SignalKind::interrupt()];
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(ends[0]), signal(ends[1])) else {
            return;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    drop(running);
    Ok(0)
}

fn said(stdout: &mut dyn Write, answer: &Value, json: bool) -> Result<u8, CliError> {
    let refused = answer["status"].as_u64().is_some_and(|status| status >= 400);
    if json {
        print(stdout, &format!("{answer:#}\n"))?;
    } else if refused {
        let why = answer["error"].as_str().unwrap_or("refused");
        return Err(CliError::failed(why));
    } else {
        let ous = if answer["ous"].is_object() {
            &answer["ous"]
        } else {
            answer
        };
        let state = ous["state"].as_str().map_or_else(
            || answer.to_string(),
            |state| {
                let uid = ous["uid"].as_str().or(ous["ousUID"].as_str()).unwrap_or_default();
                format!("{uid} {state}")
            },
        );
        print(stdout, &format!("{state}\n"))?;
    }
    Ok(u8::from(refused))
}

fn clear(office: &mut Office, yes: bool) -> Result<u8, CliError> {
    if !yes {
        return Err(CliError::bad_input(
            "clear-all empties books, cache and archive: say --yes",
        ));
    }
    let _lock = office.opened.lock()?;
    office.desk(|desk| desk.books.clear())?;
    let folders = &office.opened.station.folders;
    let failed = |folder: &Path, e: std::io::Error| CliError::failed(format!("{}: {e}", folder.display()));
    for folder in [folders.cache(), folders.archive(), folders.staging(), folders.work()] {
        std::fs::remove_dir_all(&folder).map_err(|e| failed(&folder, e))?;
    }
    folders.make().map_err(|e| failed(&folders.top, e))?;
    Ok(0)
}
