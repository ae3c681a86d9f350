//! Simulated nights: the whole daemon against simulated hardware, judged by the invariants after every event.
//!
//! | module | holds |
//! |---|---|
//! | [`pace`] | how fast virtual time runs |
//! | [`night`] | one night, with whatever kills and restarts it contains |
//! | [`plan`] | what a run is made of: scenario, configuration, faults, seed |
//! | [`offices`] | accounts, packages and the life of the data behind the page of a night |
//! | [`connect`] | simulated devices behind the configured names, over memory or real sockets |
//! | [`judge`] | the invariants over journal and hardware truth |
//!
//! At full speed everything runs on one thread, on tokio's paused clock, over in-memory links, with all work inline: the
//! same seed gives the same journal, byte for byte.

pub mod connect;
pub mod judge;
pub mod night;
pub mod offices;
pub mod pace;
pub mod plan;
pub mod survey;

use crate::{error::CliError, gateway::http, log};
use night::{NightOutcome, Serving};
use pace::Pace;
use plan::{FaultSource, NightPlan, Scratch};
use serde::{Deserialize, Serialize};
use std::{io::Write, net::SocketAddr, path::PathBuf};

/// Simulate one or many nights.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// Folder of the scenario
    pub scenario: PathBuf,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Nights to simulate, with seeds counting up from --seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub nights: u64,
    /// max, real, or a factor such as 60x
    #[arg(long, default_value = "max")]
    pub pace: Pace,
    /// A fault script, or `random`; the scenario's own script if not given
    #[arg(long)]
    pub faults: Option<FaultSource>,
    /// Database of the run; in memory if not given
    #[arg(long)]
    pub db: Option<String>,
    /// Folder for report.json, journal.ndjson and the data
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Serve the dashboard on this address
    #[arg(long)]
    pub serve: Option<SocketAddr>,
    /// With --serve: people log in, and there are packages and the life of the data, as in the running daemon; the database
    /// is then night.sqlite in the folder of --out if none is named
    #[arg(long, requires_all = ["serve", "out"])]
    pub accounts: bool,
    /// pixels, or none to skip all rendering
    #[arg(long, default_value = "auto")]
    pub frames: Frames,
    /// Machine output
    #[arg(long)]
    pub json: bool,
}

/// Whether frames have pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Frames {
    /// Pixels for one night, none for many
    Auto,
    Pixels,
    None,
}

/// The outcome of a run, as written to report.json.
#[derive(Debug, Serialize)]
struct RunReport {
    scenario: String,
    seed: u64,
    nights: u64,
    /// Less than `nights` when somebody ended the run at the keyboard; the last one is then not over.
    nights_begun: u64,
    /// The fault script that was given, or `random`.
    faults: Option<String>,
    pixels: bool,
    broken: Vec<BrokenNight>,
    /// Processor time of this process, seconds; not part of what must be reproducible.
    processor_s: f64,
    wall_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    night: Option<crate::daemon::report::NightFacts>,
    /// Sums over all nights.
    totals: Totals,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    journal_entries: u64,
    exposures_written: u64,
    sequences_executed: u64,
    alerts_followed: u64,
    boots: u64,
    faults_injected: u64,
}

#[derive(Debug, Serialize)]
struct BrokenNight {
    seed: u64,
    invariant: String,
    text: String,
    tail: Vec<String>,
}

/// Runs `alidade simulate`.
pub fn run(args: &SimulateArgs, out: &mut impl Write) -> Result<u8, CliError> {
    let started = Stopwatch::start();
    let pixels = match args.frames {
        Frames::Auto => args.nights == 1,
        Frames::Pixels => true,
        Frames::None => false,
    };
    if args.serve.is_some() && args.pace == Pace::Max {
        return Err(CliError::bad_input(
            "--serve shows a night as it goes: give it a pace (--pace 60x)",
        ));
    }
    if args.accounts && args.nights != 1 {
        return Err(CliError::bad_input("--accounts goes with one night"));
    }
    let door = args.serve.map(http::Door::open).transpose();
    let door = door.map_err(|e| CliError::bad_input(e.to_string()))?;
    let mut report = RunReport {
        scenario: args.scenario.display().to_string(),
        seed: args.seed,
        nights: args.nights,
        nights_begun: 0,
        faults: args.faults.as_ref().map(FaultSource::to_string),
        pixels,
        broken: Vec::new(),
        processor_s: 0.0,
        wall_s: 0.0,
        night: None,
        totals: Totals::default(),
    };
    for number in 0..args.nights {
        let seed = args.seed.wrapping_add(number);
        let own = SimulateArgs {
            out: own_folder(args, seed),
            ..args.clone()
        };
        let plan = NightPlan::prepare(&own, seed, pixels)?;
        let faults = plan.faults.len() as u64;
        let serving = door.as_ref().map(|door| Serving {
            door,
            accounts: args.accounts,
        });
        let outcome = night::run(plan, args.pace, serving, !args.json && args.nights == 1)?;
        report.nights_begun = number + 1;
        add(&mut report, &outcome, faults);
        let NightOutcome {
            facts,
            broken,
            tail,
            interrupted,
        } = outcome;
        if let Some(broken) = broken {
            log::say(format_args!("seed {seed}: {broken}"));
            for line in &tail {
                log::say(format_args!("  {line}"));
            }
            report.broken.push(BrokenNight {
                seed,
                invariant: broken.id,
                text: broken.text,
                tail,
            });
        } else if args.nights > 1
            && let Some(folder) = &own.out
        {
            // Of many nights only the broken ones are worth their place on the disk.
            std::fs::remove_dir_all(folder).map_err(|e| CliError::failed(format!("{}: {e}", folder.display())))?;
        }
        if args.nights == 1 {
            report.night = Some(facts);
        } else if !args.json && (number + 1) % 10 == 0 {
            let broken = report.broken.len();
            log::say(format_args!(
                "{} of {} nights, {broken} broken",
                number + 1,
                args.nights
            ));
        }
        if interrupted {
            break;
        }
    }
    (report.wall_s, report.processor_s) = started.read();
    let document = serde_json::to_string_pretty(&report).map_err(|e| CliError::failed(e.to_string()))?;
    if let Some(folder) = &args.out {
        std::fs::write(folder.join("report.json"), &document)
            .map_err(|e| CliError::bad_input(format!("{}: {e}", folder.join("report.json").display())))?;
    }
    let written = if args.json {
        writeln!(out, "{document}")
    } else {
        let totals = &report.totals;
        let begun = if report.nights_begun < args.nights {
            format!(
                "ended at the keyboard in night {} of {}",
                report.nights_begun, args.nights
            )
        } else {
            format!("{} night(s)", args.nights)
        };
        writeln!(
            out,
            "{begun}: {} sequences executed, {} exposures, {} alerts followed, {} journal entries, {} broken invariants; {:.2} s processor time",
            totals.sequences_executed,
            totals.exposures_written,
            totals.alerts_followed,
            totals.journal_entries,
            report.broken.len(),
            report.processor_s
        )
    };
    written.map_err(|e| CliError::failed(format!("standard output: {e}")))?;
    // Who asked for ten nights and ended the third has not got what was asked for.
    Ok(u8::from(!report.broken.is_empty() || report.nights_begun < args.nights))
}

/// One of many nights has a folder of its own.
fn own_folder(args: &SimulateArgs, seed: u64) -> Option<PathBuf> {
    let out = args.out.as_ref()?;
    Some(if args.nights == 1 {
        out.clone()
    } else {
        out.join(format!("seed-{seed}"))
    })
}

/// The inputs of a night, as its report tells them.
#[derive(Debug, Clone, Deserialize)]
pub struct Recorded {
    scenario: PathBuf,
    seed: u64,
    nights: u64,
    faults: Option<FaultSource>,
    pixels: bool,
}

/// A night that was run again, in a folder that goes with it.
pub struct Again(Scratch);

impl Again {
    pub fn journal(&self) -> PathBuf {
        self.0.path().join("journal.ndjson")
    }
}

/// Runs a recorded night's inputs at full speed.
pub fn again(recorded: &Recorded) -> Result<Again, CliError> {
    if recorded.nights != 1 {
        return Err(CliError::bad_input(
            "the folder holds many nights: replay one of them (seed-N)",
        ));
    }
    let scratch = Scratch::make()?;
    let args = SimulateArgs {
        scenario: recorded.scenario.clone(),
        seed: recorded.seed,
        nights: 1,
        pace: Pace::Max,
        faults: recorded.faults.clone(),
        db: None,
        out: Some(scratch.path().to_owned()),
        serve: None,
        accounts: false,
        frames: if recorded.pixels { Frames::Pixels } else { Frames::None },
        json: false,
    };
    let plan = NightPlan::prepare(&args, recorded.seed, recorded.pixels)?;
    night::run(plan, Pace::Max, None, false)?;
    Ok(Again(scratch))
}

fn add(report: &mut RunReport, outcome: &NightOutcome, faults: u64) {
    let (totals, facts) = (&mut report.totals, &outcome.facts);
    totals.journal_entries += facts.entries;
    totals.exposures_written += facts.exposures_written;
    totals.sequences_executed += facts.states.get("executed").copied().unwrap_or(0);
    totals.alerts_followed += facts.alerts.values().filter(|a| a.followed).count() as u64;
    totals.boots += facts.boots;
    totals.faults_injected += faults;
}

/// Wall and processor time of the run, for the report.
struct Stopwatch {
    wall: std::time::Instant,
    processor_s: f64,
}

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "the cost of a run is measured in real time")]
    fn start() -> Self {
        Self {
            wall: std::time::Instant::now(),
            processor_s: processor_s(),
        }
    }

    fn read(&self) -> (f64, f64) {
        (self.wall.elapsed().as_secs_f64(), processor_s() - self.processor_s)
    }
}

/// User and system time of this process so far, seconds, from the kernel's accounting (proc(5), stat fields 14 and 15,
/// in hundredths of a second).
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
