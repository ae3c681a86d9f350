//! `alidade pipeline`: describe, run and follow pipelines.
//!
//! Exit codes: 0 done; 1 when anything failed, was blocked or cancelled, or only a part was done; 2 for bad input.
//! `--dry-run` does everything but writes nothing, wherever it stands. An unknown command is the name of a plugin.

mod elsewhere;
mod migrate;
mod plugin;
mod show;

use super::{
    CliError,
    package::{self, PackageArgs, PackageCommand},
    remote::{Remote, ServerArgs},
};
use crate::{
    processing::{ProcessingError, Workshop},
    settings::Settings,
    store::Durability,
};
use alidade_pipeline::{plan::RunRequest, port::RunRecord};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};

/// Where pipelines are, and how to answer; valid before and after every sub-command.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// Configuration that names database and folders
    #[arg(long, global = true, default_value = "config/alidade.toml")]
    config: PathBuf,
    /// Database: sqlite:PATH or postgres://USER@HOST/NAME (default: the configuration's)
    #[arg(long, global = true)]
    db: Option<String>,
    /// Folder with a folder a plugin (default: the configuration's)
    #[arg(long, global = true)]
    plugins: Option<PathBuf>,
    /// Folder for attempts and products (default: the configuration's)
    #[arg(long, global = true)]
    work: Option<PathBuf>,
    #[command(flatten)]
    daemon: ServerArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
    /// Do everything, but write to no database and no archive
    #[arg(long, global = true)]
    dry_run: bool,
    /// Be faster: a loss of power may make the last tasks run again
    #[arg(long, global = true)]
    fast: bool,
}

#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: PipelineCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum PipelineCommand {
    /// Check descriptors: every fault, with file and place
    Validate {
        /// Folder of plugins (default: the configured one)
        folder: Option<PathBuf>,
    },
    /// Store what the descriptors say: releases, tasks, datasets
    Register {
        /// Folder of plugins (default: the configured one)
        folder: Option<PathBuf>,
    },
    /// Pipelines that can be run, plugins, and what is registered
    List,
    /// A pipeline with its topology, or a run with its attempts and products
    Show {
        name: String,
        /// A picture of the topology for Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Run a pipeline; one that died is gone on with
    Run(RunArgs),
    /// Go on with every run of which the process has died
    Resume,
    /// The newest runs, or one of them
    Status {
        run: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// What a run has said
    Log {
        run: String,
        /// Go on until the run ends
        #[arg(long, short)]
        follow: bool,
        /// Only lines after this number
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// End a run early
    Cancel { run: String },
    /// Why the tasks of a run ran or were skipped
    Explain {
        run: String,
        /// Only this task
        task: Option<String>,
    },
    /// Where a product comes from: W3C PROV as JSON
    Provenance {
        /// Label, path or SHA-256
        product: String,
    },
    /// What the pipelines did
    Report {
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
    /// Revisions of the plugins' tables
    Migrate {
        #[command(subcommand)]
        command: migrate::MigrateCommand,
    },
    /// Packages, which are programs of others: install, list, show, remove (the same as `alidade package`)
    Package {
        #[command(subcommand)]
        command: PackageCommand,
        /// The data folder, in place of the configuration's
        #[arg(long, global = true)]
        data: Option<PathBuf>,
    },
    /// PLUGIN COMMAND ...: commands that plugins add
    #[command(external_subcommand)]
    Plugin(Vec<OsString>),
}

#[derive(Debug, Clone, Args)]
struct RunArgs {
    /// Name of the pipeline
    pipeline: String,
    /// Input files: PATH, NAME=PATH or DATASET:VERSION=PATH
    inputs: Vec<String>,
    /// The target that it is about
    #[arg(long)]
    target: Option<String>,
    /// Begin at this task
    #[arg(long)]
    start: Option<String>,
    /// End with this task
    #[arg(long)]
    end: Option<String>,
    /// NAME=VALUE in the shared context; the value is JSON, or text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Switch a flag on, or off with NAME=false
    #[arg(long = "flag", value_name = "NAME")]
    flags: Vec<String>,
    /// Tasks at a time
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Do not do again what has been done in the same way
    #[arg(long)]
    reuse: bool,
    /// Let the running daemon do it
    #[arg(long)]
    daemon: bool,
    /// Say nothing but the end
    #[arg(long, short)]
    quiet: bool,
}

impl Shared {
    /// What the options say; the configuration is read only for what they do not.
    fn workshop(&self) -> Result<Workshop, CliError> {
        let durability = if self.fast {
            Durability::Process
        } else {
            Durability::Durable
        };
        if let (Some(db), Some(plugins), Some(work)) = (&self.db, &self.plugins, &self.work) {
            return Ok(Workshop {
                url: db.clone(),
                plugins: plugins.clone(),
                root: work.clone(),
                durability,
                dry_run: self.dry_run,
            });
        }
        let settings = Settings::load(&self.config).map_err(|e| CliError::bad_input(e.to_string()))?;
        let mut shop = Workshop::of(&settings);
        shop.durability = durability;
        shop.dry_run = self.dry_run;
        shop.url = self.db.clone().unwrap_or(shop.url);
        shop.plugins = self.plugins.clone().unwrap_or(shop.plugins);
        shop.root = self.work.clone().unwrap_or(shop.root);
        Ok(shop)
    }
}

fn wrong(error: ProcessingError) -> CliError {
    match error {
        ProcessingError::BadInput(_) => CliError::bad_input(error.to_string()),
        ProcessingError::Store(
            crate::store::StoreError::Missing { .. }
            | crate::store::StoreError::UnknownScheme(_)
            | crate::store::StoreError::NotADatabase { .. }
            | crate::store::StoreError::CannotOpen { .. },
        ) => CliError::bad_input(error.to_string()),
        ProcessingError::Run(alidade_pipeline::runner::RunFault::Unknown(_)) => CliError::bad_input(error.to_string()),
        _ => CliError::failed(error.to_string()),
    }
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    // A closed pipe is somebody who has seen enough.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::failed(e.to_string())),
        _ => Ok(()),
    }
}

fn document(value: &Value) -> Result<u8, CliError> {
    print(&format!("{value:#}\n")).map(|()| 0)
}

/// Runs the command.
pub fn run(args: &PipelineArgs) -> Result<u8, CliError> {
    let shared = &args.shared;
    if let Some(remote) = shared.daemon.elsewhere()?
        && !matches!(args.command, PipelineCommand::Run(_) | PipelineCommand::Package { .. })
    {
        return elsewhere::run(&args.command, &remote, shared.json);
    }
    match &args.command {
        PipelineCommand::Validate { folder } => validate(shared, folder.as_deref()),
        PipelineCommand::Register { folder } => register(shared, folder.as_deref()),
        PipelineCommand::List => show::list(&shared.workshop()?, shared.json),
        PipelineCommand::Show { name, dot } => show::show(&shared.workshop()?, name, *dot, shared.json),
        PipelineCommand::Run(what) => start(shared, what),
        PipelineCommand::Resume => resume(shared),
        PipelineCommand::Status { run, limit } => {
            show::status(&shared.workshop()?, run.as_deref(), *limit, shared.json)
        }
        PipelineCommand::Log { run, follow, from } => show::log(&shared.workshop()?, run, *follow, *from, shared.json),
        PipelineCommand::Cancel { run } => {
            let shop = shared.workshop()?;
            let mut store = shop.writing().map_err(wrong)?;
            shop.cancel(store.as_mut(), run).map_err(wrong)?;
            print(&format!("{run}: asked to end\n")).map(|()| 0)
        }
        PipelineCommand::Explain { run, task } => show::explain(&shared.workshop()?, run, task.as_deref(), shared.json),
        PipelineCommand::Provenance { product } => show::provenance(&shared.workshop()?, product),
        PipelineCommand::Report { limit } => show::report(&shared.workshop()?, i64::from(*limit), shared.json),
        PipelineCommand::Migrate { command } => migrate::run(&shared.workshop()?, command, shared.json),
        PipelineCommand::Package { command, data } => {
            let args = PackageArgs::new(&shared.config, data.as_deref(), &shared.daemon, shared.json, command);
            package::run(&args, &mut std::io::stdout())
        }
        PipelineCommand::Plugin(words) => plugin::run(shared, words),
    }
}

fn validate(shared: &Shared, folder: Option<&Path>) -> Result<u8, CliError> {
    let mut shop = shared.workshop().or_else(|e| match folder {
        // Only a folder is looked at: no configuration is needed.
        Some(folder) => Ok(Workshop {
            url: String::new(),
            plugins: folder.to_owned(),
            root: PathBuf::new(),
            durability: Durability::Durable,
            dry_run: true,
        }),
        None => Err(e),
    })?;
    if let Some(folder) = folder {
        shop.plugins = folder.to_owned();
    }
    if !shop.plugins.is_dir() {
        return Err(CliError::bad_input(format!("{}: is no folder", shop.plugins.display())));
    }
    let found = shop.collection();
    let bad = alidade_pipeline::descriptor::any_error(&found.faults);
    if shared.json {
        document(
            &json!({ "faults": found.faults, "plugins": found.plugins.iter().map(|p| p.id()).collect::<Vec<_>>() }),
        )?;
    } else {
        for fault in &found.faults {
            print(&format!("{fault}\n"))?;
        }
        print(&format!(
            "{} plugins in order, {} faults\n",
            found.plugins.len(),
            found.faults.len()
        ))?;
    }
    Ok(if bad { 2 } else { 0 })
}

fn register(shared: &Shared, folder: Option<&Path>) -> Result<u8, CliError> {
    let mut shop = shared.workshop()?;
    if let Some(folder) = folder {
        shop.plugins = folder.to_owned();
    }
    let found = shop.collection();
    if alidade_pipeline::descriptor::any_error(&found.faults) {
        let all: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
        return Err(CliError::bad_input(all.join("\n")));
    }
    let now = alidade_model::time::UtcTime::new(crate::clock::utc_now());
    let mut store = shop.writing().map_err(wrong)?;
    let mut text = String::new();
    for (release, datasets) in found.releases(now) {
        let fresh = store
            .register(&release, &datasets)
            .map_err(|e| CliError::failed(e.to_string()))?;
        let how = if fresh { "registered" } else { "was registered already" };
        text.push_str(&format!(
            "{} {} {}: {how}\n",
            release.kind, release.identifier, release.version
        ));
    }
    print(&text).map(|()| 0)
}

impl RunArgs {
    fn request(&self) -> Result<RunRequest, CliError> {
        let mut properties = Map::new();
        for text in &self.set {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| CliError::bad_input(format!("--set {text}: there is no =")))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            properties.insert(name.into(), value);
        }
        let flags = self.flags.iter().map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), !matches!(value, "false" | "no" | "0" | "off")),
            None => (text.clone(), true),
        });
        Ok(RunRequest {
            pipeline: self.pipeline.clone(),
            target: self.target.clone(),
            inputs: self.inputs.clone(),
            flags: flags.collect(),
            properties,
            start: self.start.clone(),
            end: self.end.clone(),
            parallel: self.parallel.map(usize::from),
            reuse: self.reuse,
        })
    }
}

fn start(shared: &Shared, args: &RunArgs) -> Result<u8, CliError> {
    let request = args.request()?;
    if args.daemon || shared.daemon.server.is_some() {
        if shared.dry_run {
            return Err(CliError::bad_input(
                "--dry-run and --daemon: the daemon does no dry runs",
            ));
        }
        let daemon = shared.daemon.or_of(shared.config.clone());
        let body = serde_json::to_value(&request).map_err(|e| CliError::failed(e.to_string()))?;
        let answer = Remote::of(&daemon)?.post("/api/v1/runs", &body)?;
        return document(&answer);
    }
    execute(&shared.workshop()?, &request, args.quiet, shared.json)
}

/// Runs in this process and shows what is said.
fn execute(shop: &Workshop, request: &RunRequest, quiet: bool, json: bool) -> Result<u8, CliError> {
    let planned = shop.plan(request).map_err(wrong)?;
    let mut store = shop.writing().map_err(wrong)?;
    let before = if shop.dry_run {
        None
    } else {
        shop.orphan(store.as_mut(), &planned).map_err(wrong)?
    };
    let run = match before {
        Some(run) => run,
        None => shop.create(store.as_mut(), &planned).map_err(wrong)?,
    };
    let ended = shop.carry(store.as_mut(), &run.id).map_err(wrong)?;
    told(store.as_mut(), &ended, quiet, json)
}

fn told(
    store: &mut dyn alidade_pipeline::port::RunReads,
    ended: &RunRecord,
    quiet: bool,
    json: bool,
) -> Result<u8, CliError> {
    if json {
        document(&show::run_document(store, ended)?)?;
    } else {
        if !quiet {
            for line in store
                .log(&ended.id, 0, 1_000_000)
                .map_err(|e| CliError::failed(e.to_string()))?
            {
                print(&show::line(&line))?;
            }
        }
        print(&format!("{}: {} ({})\n", ended.id, ended.state, ended.cause))?;
    }
    Ok(ended.exit_code())
}

fn resume(shared: &Shared) -> Result<u8, CliError> {
    let shop = shared.workshop()?;
    if shop.dry_run {
        return Err(CliError::bad_input("a run that is gone on with cannot be dry"));
    }
    let mut store = shop.writing().map_err(wrong)?;
    let mut worst = 0;
    for run in shop.orphans(store.as_mut()).map_err(wrong)? {
        let ended = shop.carry(store.as_mut(), &run.id).map_err(wrong)?;
        worst = worst.max(told(store.as_mut(), &ended, true, shared.json)?);
    }
    Ok(worst)
}
