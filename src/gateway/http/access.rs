//! Who may command, until there are accounts.
//!
//! A command is taken
//! - with the bearer token of the configuration, from anywhere; or
//! - without a token, from this machine itself (loopback).
//!
//! Loopback alone would let any web page that the operator's browser shows send commands here. So without a token the
//! request must also be meant for this machine by name (`Host` is a loopback address: a rebound foreign name is
//! refused), must not come from another site's page (`Sec-Fetch-Site`, `Origin`), and must not have come through a
//! reverse proxy (which makes everybody local).

use super::Problem;
use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Says who commands, or why they may not. `form_token` is a token that came in a form.
pub fn commander(request: &HttpRequest, token: Option<&str>, form_token: Option<&str>) -> Result<String, Problem> {
    let peer = request.peer_addr().map(|addr| addr.ip().to_canonical());
    let shown = peer.map_or_else(|| "unknown address".to_owned(), |ip| ip.to_string());
    let text = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| value.to_str().unwrap_or("").to_owned())
    };
    let bearer = text("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or("").trim().to_owned());
    if let Some(offered) = bearer.as_deref().or(form_token.filter(|token| !token.is_empty())) {
        return match token {
            Some(token) if same(token, offered) => Ok(format!("token from {shown}")),
            _ => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "unknown token",
                "the token is not the one of the configuration ([http] token)",
            )),
        };
    }
    if !peer.is_some_and(|ip| ip.is_loopback()) {
        return Err(Problem::forbidden(
            "commands from another machine need the token of the configuration ([http] token)",
        ));
    }
    if text("x-forwarded-for").is_some() || text("forwarded").is_some() {
        return Err(Problem::forbidden(
            "commands through a proxy need the token of the configuration ([http] token)",
        ));
    }
    let host = text(header::HOST.as_str()).unwrap_or_default();
    if !names_this_machine(&host) {
        return Err(Problem::forbidden(format!(
            "without a token, commands must be addressed to localhost, not to {host}"
        )));
    }
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Problem::forbidden("commands from another site's page are refused"));
    }
    if let Some(origin) = text(header::ORIGIN.as_str())
        && origin.split_once("://").map(|(_, rest)| rest) != Some(host.as_str())
    {
        return Err(Problem::forbidden("commands from another site's page are refused"));
    }
    Ok(shown)
}

/// Compares digests, so that the time taken tells nothing of where two tokens differ.
fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
}

/// True for `localhost` and loopback addresses, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn from(peer: &str, headers: &[(&'static str, &'static str)]) -> HttpRequest {
        let mut request = TestRequest::post().peer_addr(format!("{peer}:5000").parse().unwrap());
        for header in headers {
            request = request.insert_header(*header);
        }
        request.to_http_request()
    }

    #[test]
    fn a_person_at_the_machine_commands_without_a_token() {
        let local = from("127.0.0.1", &[("host", "127.0.0.1:8080")]);
        assert_eq!(commander(&local, None, None).unwrap(), "127.0.0.1");
        let page = [
            ("host", "localhost:8080"),
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert!(commander(&from("127.0.0.1", &page), None, None).is_ok());
    }

    #[test]
    fn a_foreign_page_a_rebound_name_and_a_proxy_are_refused() {
        for headers in [
            &[("host", "localhost:8080"), ("origin", "http://evil.example")][..],
            &[("host", "localhost:8080"), ("origin", "null")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "same-site")],
            &[("host", "evil.example:8080"), ("origin", "http://evil.example:8080")],
            &[("host", "127.0.0.1.evil.example:8080")],
            &[("host", "localhost:8080"), ("x-forwarded-for", "203.0.113.9")],
            &[],
        ] {
            let refused = commander(&from("127.0.0.1", headers), Some("secret"), None);
            assert!(refused.is_err(), "{headers:?}");
        }
    }

    #[test]
    fn another_machine_needs_the_right_token() {
        let bare = from("10.0.0.7", &[("host", "telescope:8080")]);
        assert!(commander(&bare, Some("secret"), None).is_err());
        assert!(commander(&bare, Some("secret"), Some("secret")).is_ok());
        let right = from("10.0.0.7", &[("authorization", "Bearer secret")]);
        assert_eq!(commander(&right, Some("secret"), None).unwrap(), "token from 10.0.0.7");
        assert!(commander(&right, Some("other"), None).is_err());
        assert!(commander(&right, None, None).is_err());
    }
}
