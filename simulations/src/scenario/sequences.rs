//! Sequence files in TOML and JSON; [`super::page`] reads the same requests from an HTML table.
//!
//! TOML and JSON hold `[[requests]]` with `id`, `title`, `user` and `sequences`; a sequence has `target` (`name`, `ra_deg`,
//! `dec_deg`), `priority`, optional `window` (jd1, jd2 as two UTC instants), `t_prefered` and `constraints`, and `albums`
//! of `plans`.

use alidade_model::{
    request::{Album, Constraints, Origin, Request, Sequence, Target},
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
    albums: Vec<Album>,
}

/// Place and cause of what is wrong.
pub(super) type Wrong = (String, String);

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
    let file = super::parse_toml(text).map_err(|(place, cause)| (place.unwrap_or_default(), cause))?;
    Ok(requests(file, submitted_at))
}

pub fn from_json(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let file = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let cause = super::keyed(&e.path().to_string(), &e.inner().to_string());
        (e.inner().line().to_string(), cause)
    })?;
    reader.end().map_err(|e| (e.line().to_string(), e.to_string()))?;
    Ok(requests(file, submitted_at))
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
