//! `alidade package`: packages on the shelf, without or beside the daemon.

use super::{
    CliError,
    remote::{Remote, ServerArgs, for_people, part},
};
use crate::{clock::utc_now, settings::Settings};
use alidade_model::time::UtcTime;
use alidade_pipeline::packages::{Package, PackageError, Shelf, archive::Bounds};
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

#[derive(Debug, Clone, clap::Subcommand)]
enum PackageCommand {
    /// Install a package from its archive (tar, tar.gz or zip)
    Install { file: PathBuf },
    /// List packages, oldest first
    List,
    /// Show a package with its form
    Show { id: String },
    /// Remove a package with its files
    Remove { id: String },
}

fn said(error: PackageError) -> CliError {
    match error {
        PackageError::Io { .. } => CliError::failed(error.to_string()),
        other => CliError::bad_input(other.to_string()),
    }
}

/// The same, asked of a running daemon.
fn elsewhere(args: &PackageArgs, remote: &Remote) -> Result<String, CliError> {
    let told = match &args.command {
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
            serde_json::json!({ "removed": id })
        }
    };
    Ok(if args.json {
        format!("{told:#}\n")
    } else {
        for_people(&told)
    })
}

pub fn run(args: &PackageArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    if let Some(remote) = args.daemon.elsewhere()? {
        let text = elsewhere(args, &remote)?;
        let written = stdout.write_all(text.as_bytes());
        return written.map(|()| 0).map_err(|e| CliError::failed(e.to_string()));
    }
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
    let text = match &args.command {
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
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    Ok(0)
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
