//! Revisions of plugins' tables: each plugin has a graph of its own, every revision names the one below it.
//!
//! Pure: the ways between revisions. The statements are run by the store, each revision in one transaction together
//! with the record of where the plugin stands, so that what is recorded is always what the tables are.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Statements for both databases, or for each its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statements {
    Both(Vec<String>),
    Each { sqlite: Vec<String>, postgres: Vec<String> },
}

impl Statements {
    pub fn sqlite(&self) -> &[String] {
        match self {
            Statements::Both(all) | Statements::Each { sqlite: all, .. } => all,
        }
    }

    pub fn postgres(&self) -> &[String] {
        match self {
            Statements::Both(all) | Statements::Each { postgres: all, .. } => all,
        }
    }
}

/// One revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub revision: String,
    /// None for the root.
    pub down_revision: Option<String>,
    #[serde(default)]
    pub description: String,
    pub upgrade: Statements,
    pub downgrade: Statements,
}

/// Why a way between revisions cannot be gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateFault {
    #[error("revision {0} stands twice")]
    Twice(String),
    #[error("revision {0} builds upon {1}, which there is not")]
    NoDown(String, String),
    #[error("there is more than one root: {0} and {1}")]
    Roots(String, String),
    #[error("the revisions go round in a circle at {0}")]
    Circle(String),
    #[error("there is no revision {0}")]
    Unknown(String),
    #[error("{to} is not above {from}")]
    NotAbove { from: String, to: String },
    #[error("{to} is not below {from}")]
    NotBelow { from: String, to: String },
    #[error("there is more than one newest revision ({0}): say which")]
    Heads(String),
    #[error("the plugin has no revisions")]
    None,
}

/// Everything that is wrong with a plugin's revisions.
pub fn faults(revisions: &[Revision]) -> Vec<MigrateFault> {
    let mut faults = Vec::new();
    let mut by_name: BTreeMap<&str, &Revision> = BTreeMap::new();
    let mut root: Option<&str> = None;
    for revision in revisions {
        if by_name.insert(&revision.revision, revision).is_some() {
            faults.push(MigrateFault::Twice(revision.revision.clone()));
        }
        if revision.down_revision.is_none() {
            if let Some(first) = root {
                faults.push(MigrateFault::Roots(first.into(), revision.revision.clone()));
            }
            root = Some(&revision.revision);
        }
    }
    for revision in revisions {
        if let Some(down) = &revision.down_revision
            && !by_name.contains_key(down.as_str())
        {
            faults.push(MigrateFault::NoDown(revision.revision.clone(), down.clone()));
        }
    }
    if faults.is_empty() {
        faults.extend(
            revisions
                .iter()
                .find(|r| below(revisions, &r.revision).is_none())
                .map(|r| MigrateFault::Circle(r.revision.clone())),
        );
    }
    faults
}

/// From a revision down to its root, itself first; `None` when it goes round in a circle or leaves the graph.
fn below<'a>(revisions: &'a [Revision], from: &'a str) -> Option<Vec<&'a Revision>> {
    let mut way = Vec::new();
    let mut next = Some(from);
    while let Some(name) = next {
        let revision = revisions.iter().find(|r| r.revision == name)?;
        if way.len() > revisions.len() {
            return None;
        }
        way.push(revision);
        next = revision.down_revision.as_deref();
    }
    Some(way)
}

fn known<'a>(revisions: &'a [Revision], name: &'a str) -> Result<Vec<&'a Revision>, MigrateFault> {
    below(revisions, name).ok_or_else(|| MigrateFault::Unknown(name.into()))
}

/// The newest revision, when there is only one.
pub fn head(revisions: &[Revision]) -> Result<&Revision, MigrateFault> {
    let heads: Vec<&Revision> = revisions
        .iter()
        .filter(|r| {
            !revisions
                .iter()
                .any(|up| up.down_revision.as_ref() == Some(&r.revision))
        })
        .collect();
    match heads[..] {
        [one] => Ok(one),
        [] => Err(MigrateFault::None),
        _ => {
            let names: Vec<&str> = heads.iter().map(|r| r.revision.as_str()).collect();
            Err(MigrateFault::Heads(names.join(", ")))
        }
    }
}

/// Revisions to apply, in order, to come from `from` (none: nothing is there) up to `to`.
pub fn upgrade_path<'a>(
    revisions: &'a [Revision],
    from: Option<&'a str>,
    to: &'a str,
) -> Result<Vec<&'a Revision>, MigrateFault> {
    if let Some(from) = from {
        known(revisions, from)?;
    }
    let mut way = known(revisions, to)?;
    let cut = match from {
        None => way.len(),
        Some(from) => way
            .iter()
            .position(|r| r.revision == from)
            .ok_or_else(|| MigrateFault::NotAbove {
                from: from.into(),
                to: to.into(),
            })?,
    };
    way.truncate(cut);
    way.reverse();
    Ok(way)
}

/// Revisions to take back, in order, to come from `from` down to `to` (none: nothing is left).
pub fn downgrade_path<'a>(
    revisions: &'a [Revision],
    from: Option<&'a str>,
    to: Option<&'a str>,
) -> Result<Vec<&'a Revision>, MigrateFault> {
    let mut way = match from {
        Some(from) => known(revisions, from)?,
        None => Vec::new(),
    };
    if let Some(to) = to {
        known(revisions, to)?;
        let cut = way
            .iter()
            .position(|r| r.revision == to)
            .ok_or_else(|| MigrateFault::NotBelow {
                from: from.unwrap_or("nothing").into(),
                to: to.into(),
            })?;
        way.truncate(cut);
    }
    Ok(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, down: Option<&str>) -> Revision {
        Revision {
            revision: name.into(),
            down_revision: down.map(Into::into),
            description: String::new(),
            upgrade: Statements::Both(vec![]),
            downgrade: Statements::Both(vec![]),
        }
    }

    fn names(way: Vec<&Revision>) -> Vec<&str> {
        way.into_iter().map(|r| r.revision.as_str()).collect()
    }

    #[test]
    fn the_way_up_and_the_way_down_are_each_others_reverse() {
        let all = [
            revision("003", Some("002")),
            revision("001", None),
            revision("002", Some("001")),
        ];
        assert!(faults(&all).is_empty());
        assert_eq!(names(upgrade_path(&all, None, "003").unwrap()), ["001", "002", "003"]);
        assert_eq!(names(upgrade_path(&all, Some("001"), "003").unwrap()), ["002", "003"]);
        assert_eq!(
            names(downgrade_path(&all, Some("003"), None).unwrap()),
            ["003", "002", "001"]
        );
        assert_eq!(
            names(downgrade_path(&all, Some("003"), Some("001")).unwrap()),
            ["003", "002"]
        );
        assert!(upgrade_path(&all, Some("003"), "001").is_err());
        assert!(downgrade_path(&all, Some("001"), Some("002")).is_err());
        assert!(upgrade_path(&all, None, "009").is_err());
        assert_eq!(head(&all).unwrap().revision, "003");
    }

    #[test]
    fn broken_graphs_are_refused_before_any_statement() {
        assert!(
            !faults(&[revision("1", Some("0"))]).is_empty(),
            "the one below is missing"
        );
        assert!(
            !faults(&[revision("1", None), revision("2", None)]).is_empty(),
            "two roots"
        );
        assert!(
            !faults(&[revision("1", Some("2")), revision("2", Some("1"))]).is_empty(),
            "a circle"
        );
        assert!(
            !faults(&[revision("1", None), revision("1", None)]).is_empty(),
            "twice the same"
        );
        let fork = [
            revision("1", None),
            revision("2a", Some("1")),
            revision("2b", Some("1")),
        ];
        assert!(faults(&fork).is_empty() && head(&fork).is_err());
        assert!(upgrade_path(&fork, Some("2a"), "2b").is_err());
    }
}
