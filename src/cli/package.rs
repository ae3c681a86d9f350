//! `alidade package`, which is also `alidade pipeline package`: packages on the shelf, without or beside
//! the daemon; their runs, by the daemon.

use super::{
    CliError,
    remote::{Remote, ServerArgs, for_people, part},
};
use crate::{clock::utc_now, settings::Settings};
use alidade_model::time::UtcTime;
use alidade_pipeline::packages::{Package, PackageError, Shelf, archive::Bounds};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Install, list, show and remove packages of processing.
#[derive(Debug, Clone, clap::Args)]
pub struct PackageArgs {
    #[command(subcommand)]
    command: PackageCommand,
    /// Configuration that names the data folder
    #[arg(long, global = true, default_value = "config/alidade.toml")]
    config: PathBuf,
    /// The data folder, in place of the configuration's
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    #[command(flatten)]
    daemon: ServerArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

impl PackageArgs {
    pub fn new(config: &Path, data: Option<&Path>, daemon: &ServerArgs, json: bool, command: &PackageCommand) -> Self {
        Self {
            command: command.clone(),
            config: config.to_owned(),
            data: data.map(Path::to_owned),
            daemon: daemon.clone(),
            json,
        }
    }
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum PackageCommand {
    /// Install a package from its archive (tar, tar.gz or zip)
    Install { file: PathBuf },
    /// List packages, oldest first
    List,
    /// Show a package with its form
    Show { id: String },
    /// Remove a package with its files
    Remove { id: String },
    /// Begin a run of a package (by the daemon)
    Run {
        id: String,
        /// NAME=VALUE of the form; the value is JSON, or text
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Identifier of an input file that was uploaded
        #[arg(long = "input", value_name = "FILE")]
        inputs: Vec<String>,
        #[arg(long)]
        name: Option<String>,
        /// Executor: bubblewrap, slurm or process, of those that the daemon allows
        #[arg(long)]
        executor: Option<String>,
    },
    /// Runs of packages, newest first (by the daemon)
    Runs,
    /// Pause a run (by the daemon)
    Pause { run: String },
    /// Let a paused run go on (by the daemon)
    Resume { run: String },
    /// Stop a run (by the daemon)
    Stop { run: String },
    /// What a run has printed (by the daemon)
    Log {
        run: String,
        /// Its errors instead
        #[arg(long)]
        err: bool,
    },
}

fn said(error: PackageError) -> CliError {
    match error {
        PackageError::Io { .. } => CliError::failed(error.to_string()),
        other => CliError::bad_input(other.to_string()),
    }
}

/// The shelf of a running daemon; none for what is no matter of the shelf.
fn elsewhere(args: &PackageArgs, remote: &Remote) -> Result<Option<Value>, CliError> {
    Ok(Some(match &args.command {
        PackageCommand::Install { file } => {
            let content = std::fs::read(file).map_err(|e| CliError::bad_input(format!("{}: {e}", file.display())))?;
            let name = file
                .file_name()
                .map_or_else(|| "package".into(), |name| name.to_string_lossy());
            let id = remote.upload(&name, &content)?;
            remote.get(&format!("/api/v1/packages/{}", part(&id)))?
        }
        PackageCommand::List => remote.get("/api/v1/packages")?["packages"].clone(),
        PackageCommand::Show { id } => {
            let mut whole = remote.get(&format!("/api/v1/packages/{}", part(id)))?;
            whole["form"] = remote.get(&format!("/api/v1/packages/{}/form", part(id)))?;
            whole
        }
        PackageCommand::Remove { id } => {
            remote.delete(&format!("/api/v1/packages/{}", part(id)))?;
            json!({ "removed": id })
        }
        _ => return Ok(None),
    }))
}

pub fn run(args: &PackageArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let asked = match args.daemon.elsewhere()? {
        Some(remote) => elsewhere(args, &remote)?,
        None => None,
    };
    let text = match asked {
        Some(told) => shown(args, &told, || for_people(&told)),
        None => match by_daemon(args)? {
            Some(text) => text,
            None => on_the_shelf(args)?,
        },
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    Ok(0)
}

/// What only the daemon can do; none for the other commands.
fn by_daemon(args: &PackageArgs) -> Result<Option<String>, CliError> {
    let daemon = || Remote::of(&args.daemon.or_of(args.config.clone()));
    let signal =
        |run: &str, word: &str| daemon()?.post(&format!("/api/v1/package-runs/{}/{word}", part(run)), &json!({}));
    let run = match &args.command {
        PackageCommand::Runs => {
            let all = daemon()?.get("/api/v1/package-runs")?;
            let runs = all["runs"].as_array().cloned().unwrap_or_default();
            return Ok(Some(shown(args, &runs, || runs.iter().map(run_line).collect())));
        }
        PackageCommand::Log { run, err } => {
            let which = if *err { "err" } else { "out" };
            let log = daemon()?.get(&format!("/api/v1/package-runs/{}/log?which={which}", part(run)))?;
            let text = log["text"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(if args.json { format!("{log:#}\n") } else { text }));
        }
        PackageCommand::Run {
            id,
            set,
            inputs,
            name,
            executor,
        } => {
            let wish = json!({
                "name": name.as_deref().unwrap_or_default(), "config": configuration(set)?, "inputs": inputs, "executor": executor,
            });
            daemon()?.post(&format!("/api/v1/packages/{}/runs", part(id)), &wish)?
        }
        PackageCommand::Pause { run } => signal(run, "pause")?,
        PackageCommand::Resume { run } => signal(run, "resume")?,
        PackageCommand::Stop { run } => signal(run, "stop")?,
        _ => return Ok(None),
    };
    Ok(Some(shown(args, &run, || run_line(&run))))
}

fn configuration(set: &[String]) -> Result<Map<String, Value>, CliError> {
    let mut config = Map::new();
    for text in set {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| CliError::bad_input(format!("--set {text}: there is no =")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        config.insert(name.into(), value);
    }
    Ok(config)
}

fn run_line(run: &Value) -> String {
    let word = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
    format!(
        "{}  {:<12} {}  {}\n",
        word("id"),
        word("status"),
        word("name"),
        word("cause")
    )
}

fn on_the_shelf(args: &PackageArgs) -> Result<String, CliError> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => {
            Settings::load(&args.config)
                .map_err(|e| CliError::bad_input(e.to_string()))?
                .storage
                .data_dir
        }
    };
    let root = data.join("packages");
    let shelf = Shelf::look(&root);
    Ok(match &args.command {
        PackageCommand::Install { file } => installed(args, &root, file)?,
        PackageCommand::List => {
            let all = shelf.list().map_err(said)?;
            shown(args, &all.iter().map(Package::public).collect::<Vec<_>>(), || {
                all.iter().map(line).collect()
            })
        }
        PackageCommand::Show { id } => {
            let package = shelf.show(id).map_err(said)?;
            let mut whole = package.public();
            if let (Some(map), Ok(form)) = (whole.as_object_mut(), shelf.form(&package)) {
                map.insert("form".into(), form);
            }
            format!("{whole:#}\n")
        }
        PackageCommand::Remove { id } => {
            shelf.remove(id).map_err(said)?;
            shown(args, &serde_json::json!({ "removed": id }), || {
                format!("{id}: removed\n")
            })
        }
        // By the daemon.
        _ => String::new(),
    })
}

fn installed(args: &PackageArgs, root: &Path, file: &Path) -> Result<String, CliError> {
    // Beside a daemon that may be installing: nothing of it is cleaned away.
    std::fs::create_dir_all(root.join(".staging")).map_err(|e| CliError::failed(format!("{}: {e}", root.display())))?;
    let shelf = Shelf::look(root).bounded(Bounds::default());
    let now = UtcTime::new(utc_now());
    let text = format!("{} {}", now.unix_micros(), std::process::id());
    let id: String = Sha256::digest(text)
        .iter()
        .take(10)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = file
        .file_name()
        .map_or_else(|| id.clone(), |name| name.to_string_lossy().into_owned());
    shelf.take(file, &name, &id, now, true).map_err(said)?;
    let package = match shelf.install(&id) {
        Ok(package) => package,
        Err(cause) => {
            // What was refused on the command line leaves nothing behind.
            drop(shelf.remove(&id));
            return Err(said(cause));
        }
    };
    Ok(shown(args, &package.public(), || line(&package)))
}

fn line(package: &Package) -> String {
    let name = package
        .manifest
        .as_ref()
        .map_or(package.file.clone(), |m| format!("{} {}", m.name, m.version));
    let cause = if package.cause.is_empty() {
        String::new()
    } else {
        format!("  {}", package.cause)
    };
    format!("{}  {:<10} {name}{cause}\n", package.id, package.state.to_string())
}

fn shown<T: serde::Serialize>(args: &PackageArgs, value: &T, people: impl FnOnce() -> String) -> String {
    if args.json {
        format!("{:#}\n", serde_json::json!(value))
    } else {
        people()
    }
}
