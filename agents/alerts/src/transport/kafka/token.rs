//! Access tokens by the client-credentials grant of OAuth 2.0 (RFC 6749, section 4.4): one small HTTPS request.
//!
//! librdkafka can do this itself only where it was built with libcurl, and a build without it says so at run time alone.
//! Asking here needs nothing but OpenSSL, which the brokers' TLS needs anyway, and takes the same trusted certificates.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use openssl::ssl::{SslConnector, SslMethod};
use serde::Deserialize;

/// Longest answer that is read, bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Who we are, and who vouches for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Where tokens are asked for: `https://`; `http://` to this machine alone, for the secret goes with the question.
    pub token_url: String,
    /// The client's name.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// What the token is for, when the server wants to hear it.
    pub scope: Option<String>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for a connection, and for each part of an answer.
    pub patience: Duration,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret: this ends in logs.
        f.debug_struct("Login")
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A token as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Opaque text for the broker.
    pub value: String,
    /// How long it holds, from the moment it was given.
    pub lifetime: Duration,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The address is not one we may send a secret to.
    #[error("token server: {0}")]
    Address(String),
    /// The connection failed.
    #[error("token server: {0}")]
    Io(#[from] std::io::Error),
    /// The server is not who it should be, or TLS failed otherwise.
    #[error("token server: TLS: {0}")]
    Tls(String),
    /// The server said no.
    #[error("token server answers {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not one.
    #[error("token server: {0}")]
    Answer(&'static str),
}

struct Address {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

fn address(url: &str) -> Result<Address, TokenError> {
    let wrong = |why: &str| TokenError::Address(format!("{why}: {url}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("not a URL"))?;
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(wrong("neither https nor http")),
    };
    let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong("no such port"))?),
        None => (place, if secure { 443 } else { 80 }),
    };
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if host.is_empty() || url.chars().any(|c| c.is_control() || c == ' ') {
        Err(wrong("not a URL"))
    } else if !secure && !here {
        Err(wrong("a secret is not sent in the clear to another machine"))
    } else {
        Ok(Address {
            secure,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

/// `application/x-www-form-urlencoded`: everything but the unreserved characters of RFC 3986 as `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn question(login: &Login, to: &Address) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &login.scope {
        form.push_str("&scope=");
        form.push_str(&encoded(scope));
    }
    // RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
    let pair = format!("{}:{}", encoded(&login.client_id), encoded(&login.client_secret));
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Accept: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        to.path,
        to.host,
        base64::engine::general_purpose::STANDARD.encode(pair),
        form.len()
    )
}

/// Asks for a token; blocks, for `patience` a step at most.
///
/// # Errors
/// When there is none, with the reason. The secret is in no error.
pub fn fetch(login: &Login) -> Result<Token, TokenError> {
    let to = address(&login.token_url)?;
    let place = (to.host.as_str(), to.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| TokenError::Address(format!("nobody is called {}", to.host)))?;
    let stream = TcpStream::connect_timeout(&place, login.patience)?;
    stream.set_read_timeout(Some(login.patience))?;
    stream.set_write_timeout(Some(login.patience))?;
    let question = question(login, &to);
    let answer = if to.secure {
        let tls = |error: openssl::error::ErrorStack| TokenError::Tls(error.to_string());
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(tls)?;
        if let Some(file) = &login.ca_file {
            builder.set_ca_file(file).map_err(tls)?;
        }
        let stream = builder
            .build()
            .connect(&to.host, stream)
            .map_err(|error| TokenError::Tls(error.to_string()))?;
        exchange(stream, &question)?
    } else {
        exchange(stream, &question)?
    };
    parse(&answer)
}

fn exchange(mut stream: impl Read + Write, question: &str) -> Result<Vec<u8>, TokenError> {
    stream.write_all(question.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

#[derive(Deserialize)]
struct Body {
    access_token: String,
    #[serde(default = "an_hour")]
    expires_in: u64,
}

/// The lifetime where the server gives none.
fn an_hour() -> u64 {
    3600
}

/// The token in a whole HTTP answer.
///
/// # Errors
/// A refusal, or an answer that is none.
fn parse(answer: &[u8]) -> Result<Token, TokenError> {
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or(TokenError::Answer("no HTTP answer"))?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head
        .split(' ')
        .nth(1)
        .filter(|_| head.starts_with("HTTP/1."))
        .and_then(|s| s.parse().ok())
        .ok_or(TokenError::Answer("no HTTP answer"))?;
    if status != 200 {
        return Err(TokenError::Refused { status });
    }
    let chunked = head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = if chunked { joined(body)? } else { body.to_vec() };
    let body: Body = serde_json::from_slice(&body).map_err(|_| TokenError::Answer("no token in the answer"))?;
    // A line break would let the server write into the login that follows.
    if body.access_token.is_empty() || body.access_token.chars().any(|c| c.is_control() || c == ' ') {
        return Err(TokenError::Answer("not a token"));
    }
    Ok(Token {
        value: body.access_token,
        lifetime: Duration::from_secs(body.expires_in),
    })
}

/// The parts of a chunked body (RFC 9112, section 7.1) together.
fn joined(mut body: &[u8]) -> Result<Vec<u8>, TokenError> {
    let broken = || TokenError::Answer("broken chunks");
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|w| w == b"\r\n").ok_or_else(broken)?;
        let size = std::str::from_utf8(&body[..line]).map_err(|_| broken())?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16).map_err(|_| broken())?;
        body = &body[line + 2..];
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(body.get(..size).ok_or_else(broken)?);
        body = body.get(size + 2..).ok_or_else(broken)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_and_a_chunked_answer_give_the_same_token() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n{\"access_token\":\"abc.def\",\"expires_in\":60}";
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
            10\r\n{\"access_token\":\r\n1a;x=y\r\n\"abc.def\",\"expires_in\":60}\r\n0\r\n\r\n";
        let token = Token {
            value: "abc.def".into(),
            lifetime: Duration::from_secs(60),
        };
        assert_eq!(parse(plain).ok(), Some(token.clone()));
        assert_eq!(parse(chunked).ok(), Some(token));
    }

    #[test]
    fn refusals_and_nonsense_give_no_token() {
        for answer in [
            &b"HTTP/1.1 401 Unauthorized\r\n\r\n{\"access_token\":\"x\"}"[..],
            b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"a\\r\\nb\"}",
            b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"\"}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n{}",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"",
        ] {
            assert!(parse(answer).is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn a_secret_goes_over_tls_or_stays_on_this_machine() {
        assert!(address("http://auth.example.org/token").is_err());
        assert!(address("ftp://127.0.0.1/token").is_err());
        assert!(address("https://auth.example.org/a b").is_err());
        let local = address("http://127.0.0.1:8000/token").ok();
        assert_eq!(
            local.map(|a| (a.secure, a.port, a.path)),
            Some((false, 8000, "/token".into()))
        );
        let gcn = address("https://auth.example.org/oauth2/token").ok();
        assert_eq!(
            gcn.map(|a| (a.secure, a.port, a.path)),
            Some((true, 443, "/oauth2/token".into()))
        );
    }

    #[test]
    fn name_and_secret_are_encoded_before_they_are_joined() {
        let login = Login {
            token_url: "http://127.0.0.1/t".into(),
            client_id: "a:b".into(),
            client_secret: "c d".into(),
            scope: Some("gcn/kafka read".into()),
            ca_file: None,
            patience: Duration::from_secs(1),
        };
        let text = address(&login.token_url)
            .map(|to| question(&login, &to))
            .unwrap_or_default();
        let pair = base64::engine::general_purpose::STANDARD.encode("a%3Ab:c%20d");
        assert!(text.contains(&format!("Authorization: Basic {pair}\r\n")), "{text}");
        assert!(
            text.ends_with("grant_type=client_credentials&scope=gcn%2Fkafka%20read"),
            "{text}"
        );
        assert!(!format!("{login:?}").contains("c d"));
    }
}
