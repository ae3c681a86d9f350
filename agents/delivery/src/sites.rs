//! Sites (the seed's *executives*): who they are, which one is the home of the states, and who gets a message.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A site as the others reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSpec {
    /// Where its station folder is, as rsync takes it: `folder` or `user@host:folder`. None for a site without data.
    #[serde(default)]
    pub location: Option<String>,
    /// How many pipeline runs it may have at a time.
    #[serde(default)]
    pub max_runs: Option<usize>,
}

/// All sites of the observatory, and which of them we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sites {
    /// Our own name.
    pub here: String,
    /// The site that keeps the states, reviews and ingests (the seed's JAO).
    pub home: String,
    pub all: BTreeMap<String, SiteSpec>,
}

impl Sites {
    /// An observatory of one site.
    pub fn alone(name: &str) -> Self {
        Self {
            here: name.into(),
            home: name.into(),
            all: BTreeMap::from([(name.into(), SiteSpec::default())]),
        }
    }

    /// Checks the names; `here` and `home` must be among them.
    pub fn new(here: &str, home: &str, all: BTreeMap<String, SiteSpec>) -> Result<Self, String> {
        for name in all.keys() {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                return Err(format!("{name:?} is not a name of a site (letters, digits, _ and -)"));
            }
        }
        for (what, name) in [("this site", here), ("the home", home)] {
            if !all.contains_key(name) {
                return Err(format!("{what}, {name}, is not among the sites {}", names(&all)));
            }
        }
        Ok(Self {
            here: here.into(),
            home: home.into(),
            all,
        })
    }

    pub fn is_home(&self) -> bool {
        self.here == self.home
    }

    pub fn is_known(&self, site: &str) -> bool {
        self.all.contains_key(site)
    }

    /// Names, for messages to people.
    pub fn names(&self) -> String {
        names(&self.all)
    }

    pub fn others(&self) -> impl Iterator<Item = &String> {
        self.all.keys().filter(|name| **name != self.here)
    }

    /// Who gets a message: the site that the last part of the selector names; `xtss` is at home; all else stays here.
    pub fn destination(&self, selector: &str) -> &str {
        if selector == "xtss" {
            return &self.home;
        }
        let last = selector.rsplit('.').next().unwrap_or_default();
        self.all.get_key_value(last).map_or(&self.here, |(name, _)| name)
    }
}

fn names(all: &BTreeMap<String, SiteSpec>) -> String {
    all.keys().cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_to_the_site_that_its_selector_names() {
        let all = ["EA", "EU", "JAO"].map(|n| (n.to_owned(), SiteSpec::default()));
        let sites = Sites::new("EU", "JAO", all.into()).unwrap();
        for (selector, to) in [
            ("pipeline.process.EA", "EA"),
            ("cached.JAO", "JAO"),
            ("xtss", "JAO"),
            ("driver.EU", "EU"),
            ("notes", "EU"),
        ] {
            assert_eq!(sites.destination(selector), to, "{selector}");
        }
        assert!(Sites::new("NA", "JAO", sites.all.clone()).is_err());
    }
}
