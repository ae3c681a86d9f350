//! `alidade pipeline migrate`: where each plugin's tables stand, and to another revision.

use super::{CliError, document, print, wrong};
use crate::processing::Workshop;
use alidade_pipeline::{
    descriptor::load::Plugin,
    migrate::{MigrateFault, downgrade_path, head, upgrade_path},
};
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Debug, Clone, Subcommand)]
pub enum MigrateCommand {
    /// The revision of every plugin, and the newest there is
    Status,
    /// Say that a plugin's tables are of this revision, without touching them
    Set { plugin: String, revision: String },
    /// Bring a plugin's tables up to a revision, or to the newest
    Upgrade { plugin: String, revision: Option<String> },
    /// Take a plugin's tables back to a revision, or to nothing, with what they hold
    Downgrade { plugin: String, revision: Option<String> },
}

fn bad(fault: MigrateFault) -> CliError {
    CliError::bad_input(fault.to_string())
}

fn fault(fault: alidade_pipeline::port::StoreFault) -> CliError {
    CliError::failed(fault.to_string())
}

pub fn run(shop: &Workshop, command: &MigrateCommand, machine: bool) -> Result<u8, CliError> {
    let found = shop.collection();
    // Every file of every plugin is looked at before anything is done to the database.
    if alidade_pipeline::descriptor::any_error(&found.faults) {
        let all: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
        return Err(CliError::bad_input(all.join("\n")));
    }
    let plugin = |name: &str| {
        found
            .plugin(name)
            .filter(|p| !p.revisions.is_empty())
            .ok_or_else(|| CliError::bad_input(format!("there is no plugin {name} with revisions")))
    };
    match command {
        MigrateCommand::Status => status(shop, &found.plugins, machine),
        MigrateCommand::Set { plugin: name, revision } => {
            let plugin = plugin(name)?;
            let to = (revision != "none").then_some(revision.as_str());
            if let Some(to) = to
                && !plugin.revisions.iter().any(|r| r.revision == to)
            {
                return Err(bad(MigrateFault::Unknown(to.into())));
            }
            let mut store = shop.writing().map_err(wrong)?;
            store.set_revision(name, to).map_err(fault)?;
            print(&format!("{name}: {}\n", to.unwrap_or("none"))).map(|()| 0)
        }
        MigrateCommand::Upgrade { plugin: name, revision } => {
            let plugin = plugin(name)?;
            let to = match revision {
                Some(revision) => revision.clone(),
                None => head(&plugin.revisions).map_err(bad)?.revision.clone(),
            };
            let mut store = shop.writing().map_err(wrong)?;
            let at = current(&store.revisions().map_err(fault)?, name);
            for step in upgrade_path(&plugin.revisions, at.as_deref(), &to).map_err(bad)? {
                store
                    .migrate(name, &step.upgrade, Some(&step.revision))
                    .map_err(fault)?;
                print(&format!("{name}: up to {}\n", step.revision))?;
            }
            Ok(0)
        }
        MigrateCommand::Downgrade { plugin: name, revision } => {
            let plugin = plugin(name)?;
            let mut store = shop.writing().map_err(wrong)?;
            let at = current(&store.revisions().map_err(fault)?, name);
            let to = revision.as_deref().filter(|r| *r != "none");
            for step in downgrade_path(&plugin.revisions, at.as_deref(), to).map_err(bad)? {
                let below = step.down_revision.as_deref();
                store.migrate(name, &step.downgrade, below).map_err(fault)?;
                print(&format!("{name}: down to {}\n", below.unwrap_or("none")))?;
            }
            Ok(0)
        }
    }
}

fn current(all: &[(String, Option<String>)], plugin: &str) -> Option<String> {
    all.iter()
        .find(|(name, _)| name == plugin)
        .and_then(|(_, revision)| revision.clone())
}

fn status(shop: &Workshop, plugins: &[Plugin], machine: bool) -> Result<u8, CliError> {
    let stands = match shop.reading() {
        Ok(mut store) => store.revisions().map_err(fault)?,
        Err(crate::processing::ProcessingError::Store(crate::store::StoreError::Missing { .. })) => Vec::new(),
        Err(error) => return Err(wrong(error)),
    };
    let rows: Vec<(String, Option<String>, Option<String>)> = plugins
        .iter()
        .filter(|p| !p.revisions.is_empty())
        .map(|p| {
            (
                p.id().to_owned(),
                current(&stands, p.id()),
                head(&p.revisions).ok().map(|r| r.revision.clone()),
            )
        })
        .collect();
    if machine {
        let all: Vec<Value> = rows
            .iter()
            .map(|(p, at, newest)| json!({ "plugin": p, "revision": at, "newest": newest }))
            .collect();
        return document(&json!({ "revisions": all }));
    }
    for (plugin, at, newest) in rows {
        let (at, newest) = (
            at.unwrap_or_else(|| "none".into()),
            newest.unwrap_or_else(|| "several".into()),
        );
        print(&format!("{plugin}: {at} (newest {newest})\n"))?;
    }
    Ok(0)
}
