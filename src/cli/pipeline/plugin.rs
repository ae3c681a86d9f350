//! `alidade pipeline PLUGIN COMMAND ...`: the command line that plugins add.

use super::{CliError, Shared, execute, print};
use alidade_pipeline::{
    commands::{Node, tree},
    descriptor::{
        extras::{ArgumentKind, ArgumentText},
        load::{Collection, Plugin},
    },
    plan::RunRequest,
};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, builder::PossibleValuesParser};
use serde_json::{Map, Value};
use std::{ffi::OsString, process};

/// Options of the program itself, which count wherever they stand.
fn with_ours(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .global(true)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    command
        .arg(flag(
            "dry-run",
            "Do everything, but write to no database and no archive",
        ))
        .arg(flag("json", "Machine output"))
}

pub fn run(shared: &Shared, words: &[OsString]) -> Result<u8, CliError> {
    let shop = shared.workshop()?;
    let found = shop.collection();
    let name = words
        .first()
        .map(|w| w.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(plugin) = found.plugins.iter().find(|p| p.id().eq_ignore_ascii_case(&name)) else {
        return Err(unknown(&name, &found));
    };
    let nodes = tree(&plugin.extras);
    let mut parser =
        with_ours(Command::new(plugin.id().to_owned()).about(plugin.descriptor.identification.description.clone()))
            .bin_name(format!("alidade pipeline {name}"))
            .disable_help_subcommand(true)
            .arg_required_else_help(true)
            .subcommand_required(true);
    for node in &nodes {
        parser = parser.subcommand(command(node));
    }
    let matches = match parser.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(said) => {
            use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
            let text = said.render().to_string();
            return match said.kind() {
                DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand => print(&text).map(|()| 0),
                _ => Err(CliError::bad_input(text.trim_end())),
            };
        }
    };
    let mut shared = shared.clone();
    shared.dry_run |= matches.get_flag("dry-run");
    shared.json |= matches.get_flag("json");
    let mut arguments = Map::new();
    let (node, last) = chosen(&nodes, &matches, &mut arguments)
        .ok_or_else(|| CliError::bad_input(format!("{name}: which command?")))?;
    shared.dry_run |= last.get_flag("dry-run");
    shared.json |= last.get_flag("json");
    carry(&shared, plugin, node, arguments)
}

fn unknown(name: &str, found: &Collection) -> CliError {
    let there: Vec<&str> = found.plugins.iter().map(Plugin::id).collect();
    let mut said = format!(
        "there is no command and no plugin {name}; plugins: {}",
        there.join(", ")
    );
    for fault in &found.faults {
        said.push_str(&format!("\n{fault}"));
    }
    CliError::bad_input(said)
}

fn command(node: &Node) -> Command {
    let text = &node.text;
    let mut command = Command::new(text.name.clone()).disable_help_subcommand(true);
    if let Some(help) = &text.help {
        command = command.about(help.clone());
    }
    for one in &node.arguments {
        command = command.arg(argument(one));
    }
    for (i, group) in node.exclusive.iter().enumerate() {
        command = command.group(
            ArgGroup::new(format!("only-one-{i}"))
                .args(group.clone())
                .multiple(false),
        );
    }
    for child in &node.children {
        command = command.subcommand(self::command(child));
    }
    if text.pipeline.is_none() && text.run.is_none() && text.print.is_none() {
        command = command
            .arg_required_else_help(true)
            .subcommand_required(!node.children.is_empty());
    }
    command
}

fn argument(text: &ArgumentText) -> Arg {
    let mut arg = Arg::new(text.name.clone()).required(text.required);
    if let Some(help) = &text.help {
        arg = arg.help(help.clone());
    }
    if text.kind != ArgumentKind::Positional {
        arg = arg.long(text.name.clone());
        if let Some(short) = text.short.as_ref().and_then(|s| s.chars().next()) {
            arg = arg.short(short);
        }
    }
    if !text.choices.is_empty() {
        arg = arg.value_parser(PossibleValuesParser::new(text.choices.clone()));
    }
    arg.action(match text.kind {
        ArgumentKind::Flag => ArgAction::SetTrue,
        ArgumentKind::Values => ArgAction::Append,
        ArgumentKind::Value | ArgumentKind::Positional => ArgAction::Set,
    })
}

/// The innermost command that was given, with the arguments of all commands on the way to it.
fn chosen<'a>(
    nodes: &'a [Node],
    matches: &'a ArgMatches,
    arguments: &mut Map<String, Value>,
) -> Option<(&'a Node, &'a ArgMatches)> {
    let (name, inner) = matches.subcommand()?;
    let node = nodes.iter().find(|n| n.text.name == name)?;
    for one in &node.arguments {
        let key = one.name.as_str();
        let given = match one.kind {
            ArgumentKind::Flag => Some(inner.get_flag(key).into()),
            ArgumentKind::Values => inner
                .get_many::<String>(key)
                .map(|all| all.cloned().collect::<Vec<_>>().into()),
            ArgumentKind::Value | ArgumentKind::Positional => inner.get_one::<String>(key).map(|v| v.clone().into()),
        };
        // What stands further in wins, unless it was not given.
        match given.or_else(|| one.default.clone()) {
            Some(Value::Bool(false)) if arguments.contains_key(key) => {}
            Some(value) => drop(arguments.insert(key.into(), value)),
            None => {}
        }
    }
    chosen(&node.children, inner, arguments).or(Some((node, inner)))
}

fn carry(shared: &Shared, plugin: &Plugin, node: &Node, arguments: Map<String, Value>) -> Result<u8, CliError> {
    let text = &node.text;
    if let Some(said) = &text.print {
        print(&format!("{said}\n"))?;
    }
    if let Some(words) = &text.run {
        if shared.dry_run {
            print(&format!("would run {}\n", words.join(" ")))?;
            return Ok(0);
        }
        return program(plugin, words, &arguments);
    }
    if let Some(pipeline) = &text.pipeline {
        let inputs = match arguments.get("inputs") {
            Some(Value::Array(all)) => all.iter().filter_map(|v| v.as_str().map(Into::into)).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        };
        let request = RunRequest {
            pipeline: format!("{}.{pipeline}", plugin.id()),
            target: arguments.get("target").and_then(Value::as_str).map(Into::into),
            inputs,
            properties: arguments,
            ..RunRequest::default()
        };
        return execute(&shared.workshop()?, &request, false, shared.json);
    }
    Ok(0)
}

/// Runs a program of the plugin; its exit status is ours, but never 0 when it was killed.
fn program(plugin: &Plugin, words: &[String], arguments: &Map<String, Value>) -> Result<u8, CliError> {
    let first = match words[0].strip_prefix("./") {
        Some(below) => plugin.folder.join(below),
        None => words[0].clone().into(),
    };
    let mut command = process::Command::new(&first);
    command
        .args(&words[1..])
        .env("ALIDADE_ARGUMENTS", Value::Object(arguments.clone()).to_string());
    command.env("ALIDADE_PLUGIN", &plugin.folder);
    for (name, value) in arguments {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        command.env(format!("ARG_{}", name.to_uppercase().replace('-', "_")), value);
    }
    let status = command
        .status()
        .map_err(|e| CliError::failed(format!("{}: {e}", first.display())))?;
    Ok(match status.code() {
        Some(0) => 0,
        Some(2) => 2,
        _ => 1,
    })
}
