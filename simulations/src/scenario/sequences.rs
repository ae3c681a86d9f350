//! Sequence files: TOML, JSON, and the HTML table of a PYROS sequences page.
//!
//! TOML and JSON hold `[[requests]]` with `id`, `title`, `user` and `sequences`; a sequence has `target` (`name`, `ra_deg`,
//! `dec_deg`), `priority`, optional `window` (jd1, jd2 as two UTC instants), `t_prefered` and `constraints`, and `albums`
//! of `plans`. The HTML table has one row a sequence with the columns `id`, `user`, `target`, `ra_deg`, `dec_deg`,
//! `priority`, `channel`, `filter`, `exposure_s`, `count`, and optionally `jd1`, `jd2`, `t_prefered` (Julian dates, empty
//! where there is none).

use alidade_model::{
    request::{Album, Constraints, Origin, Plan, Request, Sequence, Target},
    time::UtcTime,
};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestsFile {
    requests: Vec<RequestEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestEntry {
    id: String,
    #[serde(default)]
    title: Option<String>,
    user: String,
    sequences: Vec<SequenceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SequenceEntry {
    target: Target,
    priority: f64,
    #[serde(default)]
    window: Option<(UtcTime, UtcTime)>,
    #[serde(default)]
    t_prefered: Option<UtcTime>,
    #[serde(default)]
    constraints: Constraints,
    albums: Vec<Album>,
}

/// Place and cause of what is wrong.
type Wrong = (String, String);

fn requests(file: RequestsFile, submitted_at: UtcTime) -> Vec<Request> {
    let sequence = |request: &str, user: &str, number: usize, entry: SequenceEntry| Sequence {
        id: format!("{request}-{number}"),
        request: request.into(),
        user: user.into(),
        target: entry.target,
        priority: entry.priority,
        window: entry.window,
        t_prefered: entry.t_prefered,
        constraints: entry.constraints,
        albums: entry.albums,
    };
    file.requests
        .into_iter()
        .map(|entry| Request {
            title: entry.title.unwrap_or_else(|| {
                entry
                    .sequences
                    .first()
                    .map(|s| s.target.name.clone())
                    .unwrap_or_default()
            }),
            origin: Origin::Routine,
            submitted_at,
            sequences: entry
                .sequences
                .into_iter()
                .enumerate()
                .map(|(index, s)| sequence(&entry.id, &entry.user, index + 1, s))
                .collect(),
            user: entry.user,
            id: entry.id,
        })
        .collect()
}

pub fn from_toml(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let file: RequestsFile = toml::from_str(text).map_err(|e| {
        let place = e
            .span()
            .map(|span| super::line_of(text, span.start).to_string())
            .unwrap_or_default();
        (place, e.message().replace('\n', " "))
    })?;
    Ok(requests(file, submitted_at))
}

pub fn from_json(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let file: RequestsFile = serde_json::from_str(text).map_err(|e| (e.line().to_string(), e.to_string()))?;
    Ok(requests(file, submitted_at))
}

/// Text between tags, with the five predefined entities resolved.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            other if !inside => text.push(other),
            _ => {}
        }
    }
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&nbsp;", " ");
    text.replace("&amp;", "&").trim().to_owned()
}

/// The contents of each element of a kind, in order; elements of the kind do not nest.
fn elements<'a>(html: &'a str, names: &[&str]) -> Vec<&'a str> {
    let lower = html.to_ascii_lowercase();
    let mut found: Vec<(usize, &'a str)> = Vec::new();
    for name in names {
        let (open, close) = (format!("<{name}"), format!("</{name}>"));
        let mut from = 0;
        while let Some(start) = lower[from..].find(&open).map(|at| at + from) {
            let after = start + open.len();
            let is_tag = lower[after..].starts_with(['>', ' ', '\n', '\t']);
            let Some(begin) = lower[after..].find('>').map(|at| at + after + 1).filter(|_| is_tag) else {
                from = after;
                continue;
            };
            let end = lower[begin..].find(&close).map_or(html.len(), |at| at + begin);
            found.push((start, &html[begin..end]));
            from = end;
        }
    }
    found.sort_by_key(|(start, _)| *start);
    found.into_iter().map(|(_, content)| content).collect()
}

pub fn from_html(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let mut rows = elements(text, &["tr"]).into_iter();
    let header: Vec<String> = rows
        .next()
        .map(|row| elements(row, &["th", "td"]).into_iter().map(plain).collect())
        .ok_or_else(|| (String::new(), "holds no table row".to_owned()))?;
    for wanted in [
        "id",
        "user",
        "target",
        "ra_deg",
        "dec_deg",
        "priority",
        "channel",
        "filter",
        "exposure_s",
        "count",
    ] {
        if !header.iter().any(|column| column == wanted) {
            return Err(("header".into(), format!("column {wanted} is missing")));
        }
    }
    let mut all = Vec::new();
    for (index, row) in rows.enumerate() {
        let place = format!("row {}", index + 1);
        let cells: Vec<String> = elements(row, &["td", "th"]).into_iter().map(plain).collect();
        if cells.len() != header.len() {
            return Err((place, format!("has {} cells instead of {}", cells.len(), header.len())));
        }
        let row: BTreeMap<&str, &str> = header
            .iter()
            .map(String::as_str)
            .zip(cells.iter().map(String::as_str))
            .collect();
        all.push(one_row(&row, submitted_at).map_err(|cause| (place, cause))?);
    }
    Ok(all)
}

fn one_row(row: &BTreeMap<&str, &str>, submitted_at: UtcTime) -> Result<Request, String> {
    let word = |column: &str| row.get(column).copied().unwrap_or_default().to_owned();
    let number = |column: &str| {
        word(column)
            .parse::<f64>()
            .map_err(|_| format!("{column} {:?} is not a number", word(column)))
    };
    let date = |column: &str| -> Result<Option<UtcTime>, String> {
        if word(column).is_empty() {
            return Ok(None);
        }
        UtcTime::from_julian_date(number(column)?)
            .map(Some)
            .ok_or_else(|| format!("{column} is no Julian date"))
    };
    let (id, user) = (word("id"), word("user"));
    let count = word("count")
        .parse()
        .map_err(|_| format!("count {:?} is not a whole number", word("count")))?;
    let plan = Plan {
        filter: word("filter"),
        exposure_s: number("exposure_s")?,
        count,
        binning: 1,
        dither_arcsec: 0.0,
    };
    let sequence = Sequence {
        id: format!("{id}-1"),
        request: id.clone(),
        user: user.clone(),
        target: Target {
            name: word("target"),
            ra_deg: number("ra_deg")?,
            dec_deg: number("dec_deg")?,
        },
        priority: number("priority")?,
        window: date("jd1")?.zip(date("jd2")?),
        t_prefered: date("t_prefered")?,
        constraints: Constraints::default(),
        albums: vec![Album {
            channel: word("channel"),
            plans: vec![plan],
        }],
    };
    Ok(Request {
        id,
        title: sequence.target.name.clone(),
        user,
        origin: Origin::Routine,
        submitted_at,
        sequences: vec![sequence],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UtcTime {
        "2026-03-14T12:00:00Z".parse().unwrap()
    }

    const PAGE: &str = "<html><table><tr><th>id</th><th>user</th><th>target</th><th>ra_deg</th><th>dec_deg</th><th>priority</th>\
        <th>channel</th><th>filter</th><th>exposure_s</th><th>count</th><th>jd1</th><th>jd2</th></tr>\
        <tr><td>p1</td><td>ada</td><td><a href=\"x\">M 51 &amp; NGC 5195</a></td><td>202.47</td><td>47.2</td><td>5</td>\
        <td>vis</td><td>r</td><td>60</td><td>5</td><td>2461114.40</td><td>2461114.60</td></tr></table></html>";

    #[test]
    fn a_row_of_a_sequences_page_becomes_a_request() {
        let request = &from_html(PAGE, noon()).unwrap()[0];
        let sequence = &request.sequences[0];
        assert_eq!(
            (request.id.as_str(), sequence.target.name.as_str()),
            ("p1", "M 51 & NGC 5195")
        );
        assert_eq!(sequence.albums[0].plans[0].count, 5);
        assert!((sequence.window.unwrap().0.julian_date() - 2_461_114.40).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_cell_names_its_row_and_column() {
        let (place, cause) = from_html(&PAGE.replace("47.2", "north"), noon()).unwrap_err();
        assert_eq!(
            (place.as_str(), cause.as_str()),
            ("row 1", "dec_deg \"north\" is not a number")
        );
        assert!(from_html("<p>nothing</p>", noon()).is_err());
    }

    #[test]
    fn a_misspelt_key_names_its_line() {
        let text = "[[requests]]\nid = \"r1\"\nuser = \"ada\"\nsequenses = []\n";
        let (line, cause) = from_toml(text, noon()).unwrap_err();
        assert!(cause.contains("sequenses"), "{cause}");
        assert_eq!(line, "4");
    }
}
