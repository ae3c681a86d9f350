//! The running daemon as the other commands see it: its own HTTP interface.

use super::CliError;
use crate::settings::{Settings, read_secret};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// Where the daemon is.
#[derive(Debug, Clone, clap::Args)]
pub struct DaemonArgs {
    /// Configuration of the daemon
    #[arg(long, global = true, default_value = "config/alidade.toml")]
    pub config: PathBuf,
    /// Address of the daemon, such as http://127.0.0.1:8080, instead of the configuration's
    #[arg(long, visible_alias = "server", global = true)]
    pub url: Option<String>,
    /// File with a token of an account, instead of the environment's ALIDADE_TOKEN and of the configuration's
    #[arg(long, global = true)]
    pub token_file: Option<PathBuf>,
    /// The token itself; others on this machine can see it in the list of processes, so rather ALIDADE_TOKEN or a file
    #[arg(long, global = true, conflicts_with = "token_file")]
    pub token: Option<String>,
}

impl DaemonArgs {
    /// The daemon that was named: everything is asked of it then, and nothing of this machine's files.
    pub fn elsewhere(&self) -> Result<Option<Remote>, CliError> {
        self.url.as_ref().map(|_| Remote::of(self)).transpose()
    }
}

/// For commands that work on this machine's files unless a daemon is named.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServerArgs {
    /// Ask this running daemon, such as http://127.0.0.1:8080, and nothing of this machine
    #[arg(long, global = true)]
    pub server: Option<String>,
    /// File with a token of an account, instead of the environment's ALIDADE_TOKEN
    #[arg(long, global = true)]
    pub token_file: Option<PathBuf>,
    /// The token itself; others on this machine can see it in the list of processes, so rather ALIDADE_TOKEN or a file
    #[arg(long, global = true, conflicts_with = "token_file")]
    pub token: Option<String>,
}

impl ServerArgs {
    /// The daemon that was named, if one was.
    pub fn elsewhere(&self) -> Result<Option<Remote>, CliError> {
        self.or_of(PathBuf::new()).elsewhere()
    }

    /// The daemon that was named, or else that of a configuration.
    pub fn or_of(&self, config: PathBuf) -> DaemonArgs {
        DaemonArgs {
            config,
            url: self.server.clone(),
            token_file: self.token_file.clone(),
            token: self.token.clone(),
        }
    }
}

/// Why a command cannot be asked of a daemon elsewhere, and what can be done instead.
pub fn only_here(what: &str, instead: &str) -> CliError {
    CliError::bad_input(format!(
        "{what} works on the daemon's own machine and cannot be asked by --server: {instead}"
    ))
}

/// A document for people: a table for a list of records, a line a value for everything else.
pub fn for_people(value: &Value) -> String {
    match value {
        Value::Array(rows) if rows.is_empty() => "none\n".into(),
        Value::Array(rows) => rows.iter().map(|row| format!("{}\n", row_of(row))).collect(),
        Value::Object(fields) => {
            let line = |(name, inner): (&String, &Value)| match inner {
                Value::Array(_) | Value::Object(_) => format!("{name}\n{}", indented(&for_people(inner))),
                scalar => format!("{name} {}\n", word(scalar)),
            };
            fields.iter().map(line).collect()
        }
        scalar => format!("{}\n", word(scalar)),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// The plain fields of a record in one line.
fn row_of(row: &Value) -> String {
    let Value::Object(fields) = row else {
        return word(row);
    };
    let plain = fields
        .iter()
        .filter(|(_, value)| !value.is_array() && !value.is_object() && !value.is_null());
    let told: Vec<String> = plain.map(|(name, value)| format!("{name} {}", word(value))).collect();
    told.join("  ")
}

/// A daemon that can be asked.
pub struct Remote {
    base: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl Remote {
    pub fn of(args: &DaemonArgs) -> Result<Self, CliError> {
        let (base, token) = match &args.url {
            Some(url) if url.starts_with("http://") => (url.trim_end_matches('/').to_owned(), None),
            Some(url) => return Err(CliError::bad_input(format!("--url {url}: does not start with http://"))),
            None => {
                let settings = Settings::load(&args.config).map_err(|e| CliError::bad_input(e.to_string()))?;
                if !settings.http.enabled {
                    let file = args.config.display();
                    return Err(CliError::bad_input(format!(
                        "{file}: http.enabled is false: the daemon cannot be asked"
                    )));
                }
                let token = settings.http.token_file.as_deref().map(read_secret).transpose();
                let token = token.map_err(|e| CliError::bad_input(e.to_string()))?;
                (format!("http://{}", settings.http.listen), token)
            }
        };
        let given = match &args.token_file {
            None if args.token.is_some() => args.token.clone(),
            Some(file) => Some(read_secret(file).map_err(|e| CliError::bad_input(e.to_string()))?),
            None => std::env::var("ALIDADE_TOKEN")
                .ok()
                .filter(|token| !token.trim().is_empty()),
        };
        let token = given.map(|token| token.trim().to_owned()).or(token);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build();
        let agent = ureq::Agent::new_with_config(config);
        Ok(Self { base, token, agent })
    }

    fn unreachable(&self, cause: &ureq::Error) -> CliError {
        CliError::failed(format!("no daemon at {}: {cause}", self.base))
    }

    /// One exchange: the status, the entity tag, the body.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(u16, Option<String>, Vec<u8>), CliError> {
        let answer = self.answered(method, path, headers, body)?;
        Ok((answer.status, answer.tag, answer.body))
    }

    fn answered(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, CliError> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let wrong = |e: ureq::http::Error| CliError::bad_input(format!("{method} {path}: {e}"));
        let answer = match body {
            None => self.agent.run(request.body(()).map_err(wrong)?),
            Some(body) => self.agent.run(request.body(body).map_err(wrong)?),
        };
        let mut answer = answer.map_err(|e| self.unreachable(&e))?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let (tag, location) = (header("etag"), header("location"));
        let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec();
        let body = body.map_err(|e| self.unreachable(&e))?;
        Ok(Answer {
            status: answer.status().as_u16(),
            tag,
            location,
            body,
        })
    }

    /// Reads one document.
    pub fn get(&self, path: &str) -> Result<Value, CliError> {
        let (status, _, body) = self.exchange("GET", path, &[], None)?;
        understood(&String::from_utf8_lossy(&body), status)
    }

    /// Reads one document that is no JSON.
    pub fn text(&self, path: &str) -> Result<String, CliError> {
        let (status, _, body) = self.exchange("GET", path, &[], None)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status < 400 {
            return Ok(text);
        }
        understood(&text, status).map(|value| value.to_string())
    }

    /// Sends a command; what the daemon refuses is a failure with its reason.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        self.send("POST", path, body)
    }

    /// As [`Remote::post`], by another method.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, CliError> {
        let (status, _, answer) = self.exchange(method, path, &[JSON], Some(body.to_string().as_bytes()))?;
        understood(&String::from_utf8_lossy(&answer), status)
    }

    /// Sends a file by tus 1.0.0, whole in its creation; the identifier that it has there.
    pub fn upload(&self, name: &str, content: &[u8]) -> Result<String, CliError> {
        let (length, metadata) = (
            content.len().to_string(),
            format!("filename {}", base64(name.as_bytes())),
        );
        let headers = [
            ("Tus-Resumable", "1.0.0"),
            ("Upload-Length", length.as_str()),
            ("Upload-Metadata", metadata.as_str()),
            ("Content-Type", "application/offset+octet-stream"),
        ];
        let answer = self.answered("POST", "/api/v1/uploads", &headers, Some(content))?;
        let place = answer.location.as_deref().and_then(|place| place.rsplit('/').next());
        match place {
            Some(id) if answer.status < 400 => Ok(id.to_owned()),
            _ => Err(understood(&String::from_utf8_lossy(&answer.body), answer.status)
                .err()
                .unwrap_or_else(|| CliError::failed("the daemon does not say where the file is"))),
        }
    }

    /// Takes something away.
    pub fn delete(&self, path: &str) -> Result<Value, CliError> {
        let (status, _, answer) = self.exchange("DELETE", path, &[], None)?;
        understood(&String::from_utf8_lossy(&answer), status)
    }

    /// Puts a document in the place of the one that is there now, or makes it: what somebody else changes in between is not
    /// overwritten.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        let (status, tag, seen) = self.exchange("GET", path, &[], None)?;
        let state = match (status, &tag) {
            (404, _) => ("If-None-Match", "*"),
            (200, Some(tag)) => ("If-Match", tag.as_str()),
            _ => return understood(&String::from_utf8_lossy(&seen), status),
        };
        let (status, _, answer) = self.exchange("PUT", path, &[JSON, state], Some(body.to_string().as_bytes()))?;
        understood(&String::from_utf8_lossy(&answer), status)
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
/// Longest answer that is read, bytes.
const LONGEST: u64 = 256 << 20;

/// What came back.
struct Answer {
    status: u16,
    tag: Option<String>,
    location: Option<String>,
    body: Vec<u8>,
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// One part of an address, whatever stands in it.
pub fn part(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// A document, or the problem that the daemon states (RFC 9457).
fn understood(text: &str, status: u16) -> Result<Value, CliError> {
    if text.is_empty() && status < 400 {
        return Ok(Value::Null);
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|e| CliError::failed(format!("the daemon's answer ({status}) is not JSON: {e}")))?;
    if status < 400 {
        return Ok(value);
    }
    let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let said = format!("{}: {}", word("title"), word("detail"));
    // 400: what was sent is wrong in itself; everything else is the daemon's judgement.
    Err(if status == 400 {
        CliError::bad_input(said)
    } else {
        CliError::failed(said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_the_daemons_words() {
        let problem = r#"{"type":"x","title":"denied","detail":"paused by an operator","status":409}"#;
        assert_eq!(
            understood(problem, 409),
            Err(CliError::failed("denied: paused by an operator"))
        );
        assert_eq!(
            understood(problem, 400),
            Err(CliError::bad_input("denied: paused by an operator"))
        );
        assert!(understood("<html>", 200).is_err());
        assert_eq!(understood("", 204), Ok(Value::Null));
        let rows = serde_json::json!({ "n": 1, "runs": [{ "id": "r1", "state": "done", "inputs": [] }] });
        assert_eq!(for_people(&rows), "n 1\nruns\n  id r1  state done\n");
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(part("uid://X1/X 1"), "uid%3A%2F%2FX1%2FX%201");
        assert_eq!(understood("{}", 202), Ok(serde_json::json!({})));
    }
}
