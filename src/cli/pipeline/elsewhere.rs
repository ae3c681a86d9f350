//! `alidade pipeline --server URL`: the same questions, asked of a running daemon.

use super::{CliError, PipelineCommand, document, print};
use crate::cli::remote::{Remote, for_people, only_here, part};
use serde_json::Value;

/// Asks the daemon; what only its own machine can do is refused with what can be done instead.
pub fn run(command: &PipelineCommand, remote: &Remote, json: bool) -> Result<u8, CliError> {
    let machine = "log in there; --server lists, runs, shows, follows and cancels";
    let told = match command {
        PipelineCommand::List => remote.get("/api/v1/pipelines")?,
        PipelineCommand::Show { name, dot: false } => remote.get(&format!("/api/v1/runs/{}", part(name)))?,
        PipelineCommand::Status { run: None, limit } => remote.get(&format!("/api/v1/runs?limit={limit}"))?,
        PipelineCommand::Status { run: Some(run), .. } => remote.get(&format!("/api/v1/runs/{}", part(run)))?,
        PipelineCommand::Log { run, follow, from } => return log(remote, run, *follow, *from, json),
        PipelineCommand::Cancel { run } => remote.post(
            &format!("/api/v1/runs/{}/cancel", part(run)),
            &Value::Object(Default::default()),
        )?,
        PipelineCommand::Run(_) | PipelineCommand::Package { .. } => {
            return Err(CliError::failed("runs and packages are asked for elsewhere"));
        }
        PipelineCommand::Show { dot: true, .. } => return Err(only_here("the picture of a topology", machine)),
        PipelineCommand::Validate { .. } => return Err(only_here("pipeline validate", machine)),
        PipelineCommand::Register { .. } => return Err(only_here("pipeline register", machine)),
        PipelineCommand::Resume => {
            return Err(only_here(
                "pipeline resume",
                "a running daemon goes on with its runs by itself",
            ));
        }
        PipelineCommand::Explain { .. } => return Err(only_here("pipeline explain", machine)),
        PipelineCommand::Provenance { .. } => return Err(only_here("pipeline provenance", machine)),
        PipelineCommand::Report { .. } => return Err(only_here("pipeline report", machine)),
        PipelineCommand::Migrate { .. } => return Err(only_here("pipeline migrate", machine)),
        PipelineCommand::Plugin(_) => return Err(only_here("a plugin's command", machine)),
    };
    if json {
        return document(&told);
    }
    print(&for_people(&told)).map(|()| 0)
}

/// The lines of a run, to the end of it if it is followed.
fn log(remote: &Remote, run: &str, follow: bool, from: u64, json: bool) -> Result<u8, CliError> {
    let mut from = from;
    loop {
        let page = remote.get(&format!("/api/v1/runs/{}/log?from={from}", part(run)))?;
        if json {
            document(&page)?;
        } else {
            print(&for_people(&page["lines"]))?;
        }
        let more = page["next_from"].as_u64();
        from = more.unwrap_or(from);
        if more.is_none() && (!follow || page["ended"] == true) {
            return Ok(0);
        }
        if more.is_none() {
            // The daemon has nothing new yet: how often it is asked, not what is judged.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
}
