//! `alidade run`: the daemon on the live clock.

use super::CliError;
use std::path::PathBuf;

/// Run the daemon.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    #[arg(long)]
    pub config: PathBuf,
}

pub fn run(args: &RunArgs) -> Result<u8, CliError> {
    crate::daemon::live::run(&args.config)
}
