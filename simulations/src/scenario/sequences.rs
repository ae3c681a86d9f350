//! Sequence files in TOML and JSON; [`super::page`] reads the same requests from an HTML table.
//!
//! TOML and JSON hold `[[requests]]` with `id`, `title`, `user` and `sequences`; a sequence has `target` (`name`, `ra_deg`,
//! `dec_deg`), `priority`, optional `window` (jd1, jd2 as two UTC instants), `t_prefered` and `constraints`, and `albums`
//! of `plans`. When it may be observed is asked by `windows`, `phase`, `after` and `group` (see
//! [`alidade_model::request::Timing`]); `repeat` makes it a series of visits.

use alidade_model::{
    request::{After, Album, Constraints, Group, Origin, Phase, Repeat, Request, Sequence, Target, Timing},
    time::UtcTime,
};
use serde::Deserialize;

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
    #[serde(default)]
    windows: Vec<(UtcTime, UtcTime)>,
    #[serde(default)]
    phase: Option<Phase>,
    #[serde(default)]
    after: Option<After>,
    #[serde(default)]
    group: Option<Group>,
    #[serde(default)]
    repeat: Option<Repeat>,
    albums: Vec<Album>,
}

/// Place and cause of what is wrong.
pub(super) type Wrong = (String, String);

/// The sequences of a request in order, each as its series of visits.
fn sequences(request: &str, user: &str, entries: Vec<SequenceEntry>) -> Result<Vec<Sequence>, Wrong> {
    let mut out = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let first = Sequence {
            id: format!("{request}-{}", index + 1),
            request: request.into(),
            user: user.into(),
            target: entry.target,
            priority: entry.priority,
            window: entry.window,
            t_prefered: entry.t_prefered,
            constraints: entry.constraints,
            timing: Timing {
                windows: entry.windows,
                phase: entry.phase,
                after: entry.after,
                group: entry.group,
            },
            albums: entry.albums,
        };
        match entry.repeat {
            None => out.push(first),
            Some(repeat) => out.extend(repeat.series(&first).map_err(|e| (String::new(), e.to_string()))?),
        }
    }
    Ok(out)
}

fn requests(file: RequestsFile, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let request = |entry: RequestEntry| {
        let first = entry.sequences.first().map(|s| s.target.name.clone());
        Ok(Request {
            title: entry.title.or(first).unwrap_or_default(),
            origin: Origin::Routine,
            submitted_at,
            sequences: sequences(&entry.id, &entry.user, entry.sequences)?,
            user: entry.user,
            id: entry.id,
        })
    };
    file.requests.into_iter().map(request).collect()
}

pub fn from_toml(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let file = super::parse_toml(text).map_err(|(place, cause)| (place.unwrap_or_default(), cause))?;
    requests(file, submitted_at)
}

pub fn from_json(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let file = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let cause = super::keyed(&e.path().to_string(), &e.inner().to_string());
        (e.inner().line().to_string(), cause)
    })?;
    reader.end().map_err(|e| (e.line().to_string(), e.to_string()))?;
    requests(file, submitted_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UtcTime {
        "2026-03-14T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_misspelt_key_names_its_line() {
        let text = "[[requests]]\nid = \"r1\"\nuser = \"ada\"\nsequenses = []\n";
        let (line, cause) = from_toml(text, noon()).unwrap_err();
        assert!(cause.contains("sequenses"), "{cause}");
        assert_eq!(line, "4");
        let text = "{\"requests\": [\n{\"id\": \"r1\", \"user\": \"ada\", \"sequenses\": []}]}";
        let (line, cause) = from_json(text, noon()).unwrap_err();
        assert!(cause.contains("sequenses"), "{cause}");
        assert_eq!(line, "2");
    }

    #[test]
    fn a_repeated_sequence_is_a_series_of_visits() {
        let text = "[[requests]]\nid = \"r1\"\nuser = \"ada\"\n[[requests.sequences]]\n\
            target = { name = \"M 51\", ra_deg = 202.47, dec_deg = 47.2 }\npriority = 5.0\n\
            repeat = { count = 3, every_s = 3600.0, tolerance_s = 600.0 }\n\
            group = { name = \"all\", at_least = 2 }\n\
            albums = [{ channel = \"vis\", plans = [{ filter = \"r\", exposure_s = 60.0, count = 5 }] }]\n";
        let request = &from_toml(text, noon()).unwrap()[0];
        let ids: Vec<&str> = request.sequences.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["r1-1", "r1-1.2", "r1-1.3"]);
        let after = request.sequences[2].timing.after.as_ref().unwrap();
        assert_eq!(
            (
                after.sequence.as_str(),
                after.min_gap_s,
                after.max_gap_s,
                after.required
            ),
            ("r1-1.2", 3000.0, Some(4200.0), false)
        );
        assert!(request.check().is_ok());
        let (_, cause) = from_toml(&text.replace("600.0 }", "6000.0 }"), noon()).unwrap_err();
        assert!(
            cause.contains("repeat tolerance_s 6000 is outside 0 to 3600"),
            "{cause}"
        );
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "[[requests]]\nid = \"r1\"\nuser = \"ada\"\n[[requests.sequences]]\n\
            target = { name = \"M 51\", ra_deg = 202.47, dec_deg = 47.2 }\npriority = 5.0\n\
            window = [\"2026-03-14T20:00:00Z\", \"2026-03-15T03:00:00Z\"]\n\
            albums = [{ channel = \"vis\", plans = [{ filter = \"r\", exposure_s = 60.0, count = 5 }] }]\n";
        let json = r#"{"requests": [{"id": "r1", "user": "ada", "sequences": [{
            "target": {"name": "M 51", "ra_deg": 202.47, "dec_deg": 47.2}, "priority": 5.0,
            "window": ["2026-03-14T20:00:00Z", "2026-03-15T03:00:00Z"],
            "albums": [{"channel": "vis", "plans": [{"filter": "r", "exposure_s": 60.0, "count": 5}]}]}]}]}"#;
        let read = from_toml(toml, noon()).unwrap();
        assert_eq!(read, from_json(json, noon()).unwrap());
        assert_eq!(
            (read[0].title.as_str(), read[0].sequences[0].id.as_str()),
            ("M 51", "r1-1")
        );
        assert!(read[0].sequences[0].window.is_some());
    }
}
