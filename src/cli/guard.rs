//! `alidade guard`: the second process, which owns the line to the enclosure.

use super::CliError;
use std::path::PathBuf;

/// Own the line to the enclosure, and close it when the daemon goes silent.
#[derive(Debug, Clone, clap::Args)]
pub struct GuardArgs {
    #[arg(long)]
    pub config: PathBuf,
}

pub fn run(args: &GuardArgs) -> Result<u8, CliError> {
    crate::daemon::guard::run(&args.config)
}
