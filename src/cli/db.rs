//! `alidade db`: the schema of a database, forth and back.

use crate::store::{
    StoreError,
    migrations::{Migrations, Version},
};
use alidade_scheduling::report::CommandError;
use serde_json::json;
use std::io::Write;

/// Show, apply and revert the versions of the database's schema.
#[derive(Debug, Clone, clap::Args)]
pub struct DbArgs {
    #[command(subcommand)]
    pub command: DbCommand,
    /// Database: sqlite:PATH or postgres://USER@HOST/NAME (default: the configuration's)
    #[arg(long, global = true)]
    pub db: Option<String>,
    /// Machine output
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum DbCommand {
    /// Which versions the database has; changes nothing
    Status,
    /// Create the database if need be and apply what is missing
    Migrate,
    /// Take back the newest versions, with everything their tables hold
    Revert {
        /// How many versions
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
    },
}

/// `configured` is the configuration's address, for when `--db` is not given.
pub fn run(args: &DbArgs, configured: &str, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let url = args.db.as_deref().unwrap_or(configured);
    let (versions, verb) = match args.command {
        DbCommand::Status => (Migrations::open(url, false).and_then(|mut m| m.status()), ""),
        DbCommand::Migrate => (Migrations::open(url, true).and_then(|mut m| m.apply()), "applied "),
        DbCommand::Revert { count } => (
            Migrations::open(url, false).and_then(|mut m| m.revert(usize::from(count))),
            "reverted ",
        ),
    };
    let versions = versions.map_err(|e| refused(&e))?;
    let text = if args.json {
        format!("{:#}\n", json!({ "versions": versions }))
    } else {
        told(&versions, verb)
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CommandError::Failed(e.to_string()))
}

fn told(versions: &[Version], verb: &str) -> String {
    if versions.is_empty() {
        return "nothing to do\n".into();
    }
    versions
        .iter()
        .map(|v| match (verb, v.applied, v.known) {
            ("", true, true) => format!("{}  applied\n", v.name),
            ("", false, _) => format!("{}  missing\n", v.name),
            ("", true, false) => format!("{}  applied by a newer version\n", v.name),
            _ => format!("{verb}{}\n", v.name),
        })
        .collect()
}

/// An address that names nothing usable is bad input; a database that fails at work is a failure.
fn refused(error: &StoreError) -> CommandError {
    match error {
        StoreError::Database { .. } | StoreError::Migration { .. } | StoreError::Lost { .. } => {
            CommandError::Failed(error.to_string())
        }
        _ => CommandError::BadInput(error.to_string()),
    }
}
