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

    /// Reads one document.
    pub fn get(&self, path: &str) -> Result<Value, CliError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.call();
        let mut answer = answer.map_err(|e| self.unreachable(&e))?;
        let text = answer.body_mut().read_to_string().map_err(|e| self.unreachable(&e))?;
        understood(&text, answer.status().as_u16())
    }

    /// Sends a command; what the daemon refuses is a failure with its reason.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer = request.send(body.to_string()).map_err(|e| self.unreachable(&e))?;
        let text = answer.body_mut().read_to_string().map_err(|e| self.unreachable(&e))?;
        understood(&text, answer.status().as_u16())
    }
}

/// A document, or the problem that the daemon states (RFC 9457).
fn understood(text: &str, status: u16) -> Result<Value, CliError> {
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
        assert_eq!(understood("{}", 202), Ok(serde_json::json!({})));
    }
}
