//! `alidade data --server URL`: the same questions, asked of a running daemon.

use super::{
    super::{
        CliError,
        remote::{Remote, for_people, only_here, part},
    },
    DataCommand, targets,
};
use serde_json::{Value, json};

fn of_unit(what: &str, unit: &str) -> String {
    format!("/api/v1/data/{what}?unit={}", part(unit))
}

/// Asks the daemon; what only a station's own machine can do is refused with what can be done instead.
pub fn run(command: &DataCommand, remote: &Remote, as_json: bool) -> Result<String, CliError> {
    let machine = "log in there; --server shows, lists, queries and reviews";
    let overview = |key: &str| -> Result<Value, CliError> { Ok(remote.get("/api/v1/data")?[key].clone()) };
    let told = match command {
        DataCommand::Status { unit, state } => {
            let mut units = overview("units")?;
            if let Value::Array(rows) = &mut units {
                let is =
                    |row: &Value, key: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|w| row[key] == **w);
                rows.retain(|row| is(row, "uid", unit) && is(row, "state", state));
            }
            units
        }
        DataCommand::History { unit } => remote.get(&of_unit("history", unit))?,
        DataCommand::Report { unit } => return remote.text(&of_unit("report", unit)),
        DataCommand::Prov { unit } => return Ok(format!("{:#}\n", remote.get(&of_unit("prov", unit))?)),
        DataCommand::Review {
            unit,
            comment,
            reviewer,
            role,
            ..
        } => {
            let verdict = command.verdict();
            let login = || std::env::var("USER").unwrap_or_default();
            let reviewer = reviewer.clone().unwrap_or_else(login);
            let body =
                json!({ "unit": unit, "verdict": verdict, "reviewer": reviewer, "role": role, "comment": comment });
            remote.post("/api/v1/data/review", &body)?
        }
        DataCommand::Messages { unread: true, .. } => overview("unread")?,
        DataCommand::Log { .. } => overview("log")?,
        DataCommand::List { what, unit } => {
            let key = match what.as_str() {
                "archive" => "documents",
                "jobs" => return Err(only_here("data list jobs", machine)),
                other => other,
            };
            let mut rows = overview(key)?;
            if let (Value::Array(rows), Some(unit)) = (&mut rows, unit) {
                rows.retain(|row| row["unit"] == **unit);
            }
            rows
        }
        DataCommand::Query { cone: None } => return remote.text("/api/v1/data/obscore"),
        DataCommand::Query { cone: Some(cone) } => {
            let parts: Vec<&str> = cone.split(',').map(str::trim).collect();
            let [ra, dec, radius] = parts[..] else {
                return Err(CliError::bad_input(format!("--cone {cone}: is not RA,DEC,RADIUS")));
            };
            let path = format!("/api/v1/data/scs?RA={}&DEC={}&SR={}", part(ra), part(dec), part(radius));
            return remote.text(&path);
        }
        DataCommand::Targets(wanted) => return targets::elsewhere(wanted, remote, as_json),
        DataCommand::Links { name } => return remote.text(&format!("/api/v1/data/links?ID={}", part(name))),
        DataCommand::Track => overview("deliveries")?,
        DataCommand::Messages { unread: false, .. } => {
            return Err(only_here("data messages", "--unread can be asked of a daemon"));
        }
        DataCommand::Launch { .. } => return Err(only_here("data launch", machine)),
        DataCommand::Requeue { .. } => return Err(only_here("data requeue", machine)),
        DataCommand::Scrubber { .. } => return Err(only_here("data scrubber", machine)),
        DataCommand::Replicate { .. } => return Err(only_here("data replicate", machine)),
        DataCommand::Ingest { .. } => return Err(only_here("data ingest", machine)),
        DataCommand::Xtss { .. } => return Err(only_here("data xtss", machine)),
        DataCommand::Send { .. } => return Err(only_here("data send", machine)),
        DataCommand::Join { .. } => return Err(only_here("data join", machine)),
        DataCommand::Leave { .. } => return Err(only_here("data leave", machine)),
        DataCommand::Bag { .. } => return Err(only_here("data bag", machine)),
        DataCommand::Serve => return Err(only_here("data serve", machine)),
        DataCommand::ClearAll { .. } => return Err(only_here("data clear-all", machine)),
        DataCommand::Lifecycle | DataCommand::Movie(_) => {
            return Err(CliError::failed("is answered without a station"));
        }
    };
    Ok(if as_json {
        format!("{told:#}\n")
    } else {
        for_people(&told)
    })
}
