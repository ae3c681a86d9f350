//! Names that are known here without asking anybody outside: of the observatory's own catalogue file, of targets that were
//! asked for before, of alerts. A place is ICRS at J2000, in degrees.
//!
//! The file (`storage.targets`) has one object a line, `NAME,RA,DEC` in degrees; `;` stands between several names of one
//! object; a line that begins with `#` is a remark, and so is the first one when it says `name,ra_deg,dec_deg`.

use super::{
    Problem, Shared,
    records::ask,
    reply::{document, query},
};
use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeSet, path::Path};

/// Names in one answer.
const MOST: usize = 20;
/// A longer text is no name.
const LONGEST: usize = 100;

/// One named place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Named {
    pub name: String,
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Where it is known from: `catalogue`, `requests`, `alerts`.
    pub from: &'static str,
}

/// The objects of the file, in its order.
#[derive(Debug, Default)]
pub struct Catalogue(Vec<Named>);

/// How names are compared: `NGC 4889`, `ngc4889` and `NGC  4889` are one.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect()
}

impl Catalogue {
    /// Reads the file; without one there is nothing in it. The error names the line.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let place = file.display();
        let text = std::fs::read_to_string(file).map_err(|e| format!("{place}: {e}"))?;
        Self::parse(&text).map_err(|cause| format!("{place}: {cause}"))
    }

    /// Understands the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || (index == 0 && line == "name,ra_deg,dec_deg") {
                continue;
            }
            let wrong = |cause: &str| format!("line {}: {cause}", index + 1);
            let parts: Vec<&str> = line.split(',').map(str::trim).collect();
            let [names, ra, dec] = parts[..] else {
                return Err(wrong("is not NAME,RA,DEC"));
            };
            let degrees =
                |text: &str, low: f64, high: f64| text.parse().ok().filter(|value| (low..=high).contains(value));
            let ra_deg =
                degrees(ra, 0.0, 360.0).ok_or_else(|| wrong("right ascension is not degrees from 0 to 360"))?;
            let dec_deg =
                degrees(dec, -90.0, 90.0).ok_or_else(|| wrong("declination is not degrees from -90 to 90"))?;
            for name in names.split(';').map(str::trim) {
                if name.is_empty() || name.chars().count() > LONGEST {
                    return Err(wrong("a name has 1 to 100 characters"));
                }
                all.push(Named {
                    name: name.to_owned(),
                    ra_deg,
                    dec_deg,
                    from: "catalogue",
                });
            }
        }
        Ok(Self(all))
    }

    fn holding<'a>(&'a self, folded_text: &'a str) -> impl Iterator<Item = &'a Named> {
        self.0.iter().filter(move |one| folded(&one.name).contains(folded_text))
    }
}

/// The best first: the name itself, then those that begin so, then the others, each in the order in which they came; the
/// same name once.
fn ranked(found: Vec<Named>, text: &str) -> Vec<Named> {
    let rank = |one: &Named| {
        let name = folded(&one.name);
        if name == text {
            0
        } else if name.starts_with(text) {
            1
        } else {
            2
        }
    };
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Named> = found.into_iter().filter(|one| seen.insert(folded(&one.name))).collect();
    kept.sort_by_key(rank);
    kept.truncate(MOST);
    kept
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    text: Option<String>,
}

/// `?text=`: `{"targets": [{"name", "ra_deg", "dec_deg", "from"}]}`, the best first.
pub async fn list(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let text = query::<Wanted>(&request)?.text.unwrap_or_default();
    if text.chars().count() > LONGEST {
        return Err(Problem::bad_request(format!("a name has at most {LONGEST} characters")));
    }
    let text = folded(&text);
    let mut found: Vec<Named> = shared.catalogue.holding(&text).take(200).cloned().collect();
    if shared.ports.records.is_some() {
        let wanted = text.clone();
        let asked_for = ask(&shared, move |store| store.targets_like(&wanted, 200)).await?;
        found.extend(asked_for.into_iter().map(|(name, ra_deg, dec_deg)| Named {
            name,
            ra_deg,
            dec_deg,
            from: "requests",
        }));
    }
    if let Some(desk) = &shared.ports.alerts {
        let board = desk.board.borrow().clone();
        let mut events: Vec<_> = board.records.values().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.first_at));
        found.extend(events.iter().filter_map(|event| {
            let (ra_deg, dec_deg) = (event.ra_deg?, event.dec_deg?);
            let named = folded(&event.name).contains(&text) && !event.name.is_empty();
            named.then(|| Named {
                name: event.name.clone(),
                ra_deg,
                dec_deg,
                from: "alerts",
            })
        }));
    }
    document(&json!({ "targets": ranked(found, &text) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_places_and_a_fault_names_its_line() {
        let text = "name,ra_deg,dec_deg\n# spirals\nM 51; NGC 5194,202.4696,47.1952\n\nM 101,210.8023,54.3490\n";
        let read = Catalogue::parse(text).unwrap();
        let names: Vec<&str> = read.0.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["M 51", "NGC 5194", "M 101"]);
        assert_eq!(read.0[0].ra_deg, read.0[1].ra_deg);
        for (wrong, line) in [
            ("M 51,202.4", "line 1"),
            ("#\nM 51,402.4,47", "line 2"),
            ("M 51,1,-91", "line 1"),
            (" ;,1,1", "line 1"),
            ("M 51,nan,1", "line 1"),
        ] {
            let said = Catalogue::parse(wrong).unwrap_err();
            assert!(said.starts_with(line), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_name_itself_comes_first_and_each_name_once() {
        let named = |name: &str, from| Named {
            name: name.into(),
            ra_deg: 1.0,
            dec_deg: 1.0,
            from,
        };
        let found = vec![
            named("Near M 5", "requests"),
            named("M 51", "catalogue"),
            named("M 5", "catalogue"),
            named("m5", "requests"),
        ];
        let names: Vec<String> = ranked(found, &folded("M  5")).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["M 5", "M 51", "Near M 5"]);
    }
}
