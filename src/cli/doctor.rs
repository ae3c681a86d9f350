//! `alidade doctor`: what this machine offers, and why not what it does not.

use super::CliError;
use crate::{
    daemon::resident,
    settings::Settings,
    store::{Durability, OpenOptions, Store},
};
use alidade_pipeline::executors::{
    BubblewrapExecutor, Capabilities, Executor, ProcessExecutor, SlurmExecutor, cgroup::Hierarchies,
};
use serde_json::{Value, json};
use std::{io::Write, path::PathBuf, process::Command};

/// Say which isolation, limits, executors, disk and database there are, and why not.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    #[arg(long, default_value = "config/alidade.toml")]
    config: PathBuf,
    /// Machine output
    #[arg(long)]
    json: bool,
}

/// One finding.
struct Finding {
    what: &'static str,
    good: bool,
    said: String,
    more: Value,
}

pub fn run(args: &DoctorArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let settings = Settings::load(&args.config);
    let mut findings = vec![match &settings {
        Ok(_) => finding("configuration", true, args.config.display().to_string(), Value::Null),
        Err(cause) => finding("configuration", false, cause.to_string(), Value::Null),
    }];
    findings.push(memory());
    findings.extend(executors());
    if let Ok(settings) = &settings {
        findings.push(disk(&settings.storage.data_dir, settings.storage.min_free_mb));
        findings.push(database(&settings.database.url));
    }
    let text = if args.json {
        let all: Vec<Value> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "available": f.good, "said": f.said, "capabilities": f.more }))
            .collect();
        format!("{:#}\n", json!({ "findings": all }))
    } else {
        findings.iter().map(line).collect()
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    // Without a configuration or a database there is no daemon; the executors are a matter of choice.
    let vital = findings
        .iter()
        .all(|f| f.good || !matches!(f.what, "configuration" | "database" | "disk"));
    Ok(u8::from(!vital))
}

fn finding(what: &'static str, good: bool, said: impl Into<String>, more: Value) -> Finding {
    Finding {
        what,
        good,
        said: said.into(),
        more,
    }
}

fn line(f: &Finding) -> String {
    let mut text = format!("{:<4} {:<15} {}\n", if f.good { "ok" } else { "no" }, f.what, f.said);
    if let Some(map) = f.more.as_object() {
        let words = |wanted: bool| -> Vec<String> {
            let chosen = map.iter().filter(|(_, value)| value.as_bool() == Some(wanted));
            chosen.map(|(key, _)| key.replace('_', " ")).collect()
        };
        let (can, cannot) = (words(true), words(false));
        if !can.is_empty() {
            text.push_str(&format!("     {:<15} can: {}\n", "", can.join(", ")));
        }
        if !cannot.is_empty() {
            text.push_str(&format!("     {:<15} cannot: {}\n", "", cannot.join(", ")));
        }
    }
    text
}

fn of(capabilities: Capabilities) -> Value {
    json!(capabilities)
}

fn executors() -> Vec<Finding> {
    let hierarchies = Hierarchies::detect();
    let groups = !matches!(hierarchies, Hierarchies::None { .. });
    let sandbox = match BubblewrapExecutor::detect() {
        Ok(it) => finding("bubblewrap", true, it.version.clone(), of(it.capabilities())),
        Err(cause) => finding("bubblewrap", false, cause.to_string(), Value::Null),
    };
    let slurm = match SlurmExecutor::detect(None) {
        Ok(it) => finding("slurm", true, it.version.clone(), of(it.capabilities())),
        Err(cause) => finding("slurm", false, cause.to_string(), Value::Null),
    };
    vec![
        finding("control groups", groups, hierarchies.describe(), Value::Null),
        finding(
            "process",
            true,
            "plain processes, limits by rlimit",
            of(ProcessExecutor.capabilities()),
        ),
        sandbox,
        slurm,
    ]
}

/// Whether the daemon's program can be kept in memory.
fn memory() -> Finding {
    match resident::keep_program() {
        Ok(bytes) => {
            let text = format!("what is used of the program's {} MB stays in memory", bytes / 1_000_000);
            finding("memory", true, text, Value::Null)
        }
        Err(cause) => {
            let text = format!("the program may be paged out: {cause}; raise the limit of locked memory (ulimit -l)");
            finding("memory", false, text, Value::Null)
        }
    }
}

fn disk(folder: &std::path::Path, wanted_mb: u64) -> Finding {
    let near = folder
        .ancestors()
        .find(|part| part.exists())
        .unwrap_or(std::path::Path::new("."));
    let near = if near.as_os_str().is_empty() {
        std::path::Path::new(".")
    } else {
        near
    };
    let said = Command::new("df").args(["-B1", "--output=avail"]).arg(near).output();
    let free = said.ok().and_then(|out| {
        String::from_utf8_lossy(&out.stdout)
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse::<u64>().ok())
    });
    match free {
        Some(free) => {
            let free_mb = free / 1_000_000;
            let text = format!("{}: {free_mb} MB free, {wanted_mb} MB wanted", folder.display());
            finding("disk", free_mb >= wanted_mb, text, Value::Null)
        }
        None => finding(
            "disk",
            false,
            format!("{}: df does not say", folder.display()),
            Value::Null,
        ),
    }
}

fn database(url: &str) -> Finding {
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Durable,
    };
    match Store::open(url, options) {
        Ok(store) => finding("database", true, store.place(), Value::Null),
        Err(cause) => finding("database", false, cause.to_string(), Value::Null),
    }
}
