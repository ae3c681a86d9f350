//! Commands that plugins add to the command line: pure tables and what is wrong with them. The shell builds its parser
//! from [`tree`].

use crate::descriptor::extras::{ArgumentText, CommandText, Extras};
use std::collections::{BTreeMap, BTreeSet};

/// The reference of the plugin itself.
pub const MASTER: &str = "master";

/// A command with everything that it takes, and what stands below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub text: CommandText,
    /// Its own arguments and those it takes from others; its own win.
    pub arguments: Vec<ArgumentText>,
    /// Names of which at most one may be given.
    pub exclusive: Vec<Vec<String>>,
    pub children: Vec<Node>,
}

/// What is wrong with a plugin's commands: JSON pointer and sentence.
pub fn faults(extras: &Extras) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let known: BTreeSet<&str> = extras.commands.iter().map(|c| c.command.as_str()).collect();
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (i, command) in extras.commands.iter().enumerate() {
        let at = format!("/commands/{i}");
        if command.command == MASTER || !seen.insert(&command.command) {
            faults.push((
                format!("{at}/command"),
                format!("the reference {} is taken", command.command),
            ));
        }
        let parent = command.parent.as_deref().unwrap_or(MASTER);
        if parent != MASTER && !known.contains(parent) {
            faults.push((format!("{at}/parent"), format!("there is no command {parent}")));
        }
        if !names.insert((parent, command.name.as_str())) {
            faults.push((
                format!("{at}/name"),
                format!("{parent} has already a command {}", command.name),
            ));
        }
        for (j, other) in command.parent_arguments.iter().enumerate() {
            if !known.contains(other.as_str()) {
                faults.push((
                    format!("{at}/parent_arguments/{j}"),
                    format!("there is no command {other}"),
                ));
            }
        }
        let mut own = BTreeSet::new();
        for argument in command.arguments.iter().chain(command.exclusive.iter().flatten()) {
            if !own.insert(&argument.name) {
                faults.push((at.clone(), format!("argument {} stands twice", argument.name)));
            }
        }
        if let Some(pipeline) = &command.pipeline
            && !extras.pipelines.iter().any(|p| p.name == *pipeline)
        {
            faults.push((format!("{at}/pipeline"), format!("there is no pipeline {pipeline}")));
        }
    }
    if faults.is_empty() {
        let reached: usize = tree(extras).iter().map(size).sum();
        if reached != extras.commands.len() {
            faults.push(("/commands".into(), "commands are below each other in a circle".into()));
        }
    }
    faults
}

fn size(node: &Node) -> usize {
    1 + node.children.iter().map(size).sum::<usize>()
}

/// The commands below the plugin.
pub fn tree(extras: &Extras) -> Vec<Node> {
    let by_name: BTreeMap<&str, &CommandText> = extras.commands.iter().map(|c| (c.command.as_str(), c)).collect();
    below(MASTER, extras, &by_name)
}

fn below(parent: &str, extras: &Extras, by_name: &BTreeMap<&str, &CommandText>) -> Vec<Node> {
    let fits = |c: &&CommandText| c.parent.as_deref().unwrap_or(MASTER) == parent;
    extras
        .commands
        .iter()
        .filter(fits)
        .map(|command| node(command, extras, by_name))
        .collect()
}

fn node(command: &CommandText, extras: &Extras, by_name: &BTreeMap<&str, &CommandText>) -> Node {
    let mut arguments: Vec<ArgumentText> = command.arguments.clone();
    let mut exclusive = Vec::new();
    let mut take = |from: &CommandText, arguments: &mut Vec<ArgumentText>| {
        for group in &from.exclusive {
            exclusive.push(group.iter().map(|a| a.name.clone()).collect());
            for argument in group {
                add(arguments, argument);
            }
        }
        for argument in &from.arguments {
            add(arguments, argument);
        }
    };
    take(command, &mut arguments);
    for other in &command.parent_arguments {
        if let Some(from) = by_name.get(other.as_str()) {
            take(from, &mut arguments);
        }
    }
    Node {
        text: command.clone(),
        arguments,
        exclusive,
        children: below(&command.command, extras, by_name),
    }
}

/// What is already there wins: the child's own definition comes first.
fn add(arguments: &mut Vec<ArgumentText>, argument: &ArgumentText) {
    if !arguments.iter().any(|a| a.name == argument.name) {
        arguments.push(argument.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn extras(commands: serde_json::Value) -> Extras {
        serde_json::from_value(json!({ "commands": commands })).unwrap()
    }

    #[test]
    fn commands_nest_by_their_parents_and_take_over_arguments() {
        let all = extras(json!([
            {"command": "who", "name": "who", "arguments": [{"name": "verbose", "kind": "flag", "help": "outer"}],
             "exclusive": [[{"name": "author", "kind": "flag"}, {"name": "description", "kind": "flag"}]]},
            {"command": "who_list", "name": "list", "parent": "who", "parent_arguments": ["who"],
             "arguments": [{"name": "verbose", "kind": "flag", "help": "inner"}]}
        ]));
        assert!(faults(&all).is_empty());
        let tree = tree(&all);
        let list = &tree[0].children[0];
        assert_eq!(list.arguments.len(), 3);
        assert_eq!(list.arguments[0].help.as_deref(), Some("inner"), "the child's own wins");
        assert_eq!(list.exclusive, [["author", "description"]]);
    }

    #[test]
    fn moving_a_command_changes_only_its_parent() {
        let all = extras(json!([
            {"command": "who", "name": "who"},
            {"command": "who_list", "name": "list", "parent": "master"}
        ]));
        assert_eq!(tree(&all).len(), 2);
    }

    #[test]
    fn a_circle_an_unknown_parent_and_a_taken_name_are_faults() {
        for bad in [
            json!([{"command": "a", "name": "a", "parent": "b"}, {"command": "b", "name": "b", "parent": "a"}]),
            json!([{"command": "a", "name": "a", "parent": "nobody"}]),
            json!([{"command": "a", "name": "x"}, {"command": "b", "name": "x"}]),
            json!([{"command": "a", "name": "x"}, {"command": "a", "name": "y"}]),
            json!([{"command": "a", "name": "a", "pipeline": "none"}]),
        ] {
            assert!(!faults(&extras(bad.clone())).is_empty(), "{bad}");
        }
    }
}
