//! The command line: one module a command; bad input is one line and exit code 2, a reported failure is 1.

pub mod alert;
pub mod alert_records;
pub mod alert_strategy;
pub mod check;
pub mod data;
pub mod db;
pub mod device;
pub mod doctor;
pub mod ephemeris;
pub mod guard;
pub mod image;
pub mod package;
pub mod pipeline;
pub mod remote;
pub mod replay;
pub mod request;
pub mod run;
pub mod schedule;
pub mod simulate_devices;
pub mod status;
mod stored_schedules;
pub mod user;
mod user_elsewhere;

pub use crate::error::CliError;

use crate::log;
use alidade_model::time::UtcTime;
use clap::{Parser, Subcommand};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Alidade runs a robotic observatory.
#[derive(Debug, Parser)]
#[command(name = "alidade", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::RunArgs),
    /// Own the line to the enclosure, and close it when the daemon goes silent
    Guard(guard::GuardArgs),
    /// Simulate one or many nights
    Simulate(crate::simulate::SimulateArgs),
    /// Serve every simulated device on TCP and pseudo-terminals
    SimulateDevices(simulate_devices::SimulateDevicesArgs),
    /// Speak to a device: set, get, do, list
    Device(device::DeviceArgs),
    /// Validate a configuration and name every fault
    Check {
        #[arg(long)]
        config: PathBuf,
        /// Machine output
        #[arg(long)]
        json: bool,
    },
    /// Plan one night offline
    Schedule(schedule::ScheduleArgs),
    /// Night phases, Moon, and where a target is
    Ephemeris(ephemeris::EphemerisArgs),
    /// Read, send and listen to alert packets
    Alert(alert::AlertArgs),
    /// Submit, list, show and cancel observing requests; ask why one is not planned
    Request(request::RequestArgs),
    /// Run a recorded simulated night again and say where this build decides otherwise
    Replay(replay::ReplayArgs),
    /// What the running daemon does, why, until when, and what comes next
    Status(status::StatusArgs),
    /// Calibrate, combine, measure and show images
    Image(image::ImageArgs),
    /// Accounts, roles, tokens, observing time, and what was done to them
    User(user::UserArgs),
    /// Describe, run and follow pipelines; plugins add commands of their own
    Pipeline(pipeline::PipelineArgs),
    /// The life of the data: launch, review, replicate, ingest, deliver
    Data(data::DataArgs),
    /// Install, list, show and remove packages of processing
    Package(package::PackageArgs),
    /// What this machine offers for runs, and why not what it does not
    Doctor(doctor::DoctorArgs),
    /// Show, apply and revert the database schema
    Db(DbCommand),
}

#[derive(Debug, clap::Args)]
struct DbCommand {
    /// Configuration that names the database
    #[arg(long, default_value = "config/alidade.toml")]
    config: PathBuf,
    #[command(flatten)]
    db: db::DbArgs,
}

/// What a shell tells of a program that the signal of a broken pipe (13) has ended.
const READER_HAS_GONE: u8 = 128 + 13;

/// Standard output, which notes that nobody reads it any more: who looks at the first line only (`| head -1`) need not be
/// told that the rest could not be written.
#[derive(Default)]
struct Stdout {
    reader_has_gone: bool,
}

impl Stdout {
    fn noted<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        self.reader_has_gone |= outcome.as_ref().is_err_and(broken);
        outcome
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().flush();
        self.noted(flushed)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut stdout = Stdout::default();
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Guard(args) => guard::run(&args),
        Command::Simulate(args) => crate::simulate::run(&args, &mut stdout),
        Command::SimulateDevices(args) => simulate_devices::run(&args, &mut stdout),
        Command::Device(args) => device::run(&args, &mut stdout),
        Command::Package(args) => package::run(&args, &mut stdout),
        Command::Doctor(args) => doctor::run(&args, &mut stdout),
        Command::Check { config, json } => check::run(&config, json, &mut stdout),
        Command::Schedule(args) => plain(schedule::run(&args, &mut stdout)),
        Command::Ephemeris(args) => configured(&args.config).and_then(|settings| {
            plain(ephemeris::run(
                &args,
                &crate::daemon::translate::site(&settings),
                &mut stdout,
            ))
        }),
        Command::Alert(args) => {
            let now: alidade_alerts::transport::vtp::Clock = std::sync::Arc::new(crate::clock::utc_now);
            plain(alert::run(&args, &now, &mut stdout))
        }
        Command::Request(args) => request::run(&args, UtcTime::new(crate::clock::utc_now()), &mut stdout),
        Command::Replay(args) => replay::run(&args, &mut stdout),
        Command::Status(args) => status::run(&args, &mut stdout),
        Command::Image(args) => image::run(&args, &mut stdout),
        Command::User(args) => user::run(&args, &mut stdout),
        Command::Pipeline(args) => pipeline::run(&args),
        Command::Data(args) => data::run(&args, &mut stdout),
        Command::Db(command) => match &command.db.db {
            Some(url) => plain(db::run(&command.db, url, &mut stdout)),
            None => configured(&command.config).and_then(|s| plain(db::run(&command.db, &s.database.url, &mut stdout))),
        },
    };
    let code = match outcome {
        Ok(code) => code,
        Err(_) if stdout.reader_has_gone => READER_HAS_GONE,
        Err(error) => {
            log::say(format_args!("alidade: {error}"));
            error.code()
        }
    };
    log::finish();
    ExitCode::from(code)
}

fn plain(outcome: Result<(), alidade_scheduling::report::CommandError>) -> Result<u8, CliError> {
    outcome.map(|()| 0).map_err(|error| match error.exit_code() {
        2 => CliError::BadInput(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    })
}

/// The configuration that a command needs.
fn configured(file: &std::path::Path) -> Result<crate::settings::Settings, CliError> {
    crate::settings::Settings::load(file).map_err(|error| CliError::BadInput(error.to_string()))
}
