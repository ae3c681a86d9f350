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
    #[arg(long, global = true, conflicts_with = "token_file", hide_env_values = true)]
    pub token: Option<String>,
}

impl DaemonArgs {
    /// A daemon was named, so everything is asked of it and nothing of this machine's files.
    pub fn is_elsewhere(&self) -> bool {
        self.url.is_some()
    }

    /// For what only the machine of the daemon can do: says so when a daemon was named.
    pub fn must_be_here(&self, what: &str, instead: &str) -> Result<(), CliError> {
        match &self.url {
            None => Ok(()),
            Some(url) => Err(CliError::bad_input(format!(
                "{what} works on the machine of the daemon and cannot be asked of {url}: {instead}"
            ))),
        }
    }
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
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
        let tag = tag.map(str::to_owned);
        let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec();
        let body = body.map_err(|e| self.unreachable(&e))?;
        Ok((answer.status().as_u16(), tag, body))
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

    /// Sends a file as it is, with a media type.
    pub fn post_bytes(&self, path: &str, kind: &str, body: &[u8]) -> Result<Value, CliError> {
        let (status, _, answer) = self.exchange("POST", path, &[("Content-Type", kind)], Some(body))?;
        understood(&String::from_utf8_lossy(&answer), status)
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
        assert_eq!(part("uid://X1/X 1"), "uid%3A%2F%2FX1%2FX%201");
        assert_eq!(understood("{}", 202), Ok(serde_json::json!({})));
    }
}
