//! Who a request comes from, and whether they may.
//!
//! A request comes from
//! - an account, by the cookie of its session;
//! - a machine, by a bearer token: one of an account, or the token of the configuration, which is an operator's;
//! - somebody at this machine (loopback), who has the role of the configuration, operator if nothing else is said;
//! - or a visitor.
//!
//! Loopback alone would let any web page that the operator's browser shows send commands here. So without a token the
//! request must also be meant for this machine by name (`Host` is a loopback address: a rebound foreign name is
//! refused), and must not have come through a reverse proxy (which makes everybody local). And whatever changes
//! something must not come from another site's page (`Sec-Fetch-Site`, `Origin`), with a cookie or without.
//!
//! What a route needs stands in [`super::policy`]; a route that is not there is refused to everybody.

use super::{
    Problem, Shared,
    policy::{self, Needs},
};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, ResponseError,
    body::MessageBody,
    cookie::{Cookie, SameSite},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::{Data, block},
};
use alidade_accounts::{
    Permission, Principal, Refused, Role,
    role::{Barred, Via},
};
use sha2::{Digest, Sha256};
use std::{
    future::{Ready, ready},
    net::IpAddr,
};

/// The cookie of a session.
pub const COOKIE: &str = "alidade_session";

/// Who a request comes from; every handler may ask for it.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl Caller {
    /// The name for the audit, if they may.
    pub fn must(&self, permission: Permission) -> Result<String, Problem> {
        match self.0.may(permission) {
            Ok(()) => Ok(self.0.name()),
            Err(barred) => Err(barred_problem(barred, &self.0, permission)),
        }
    }

    /// The account whose things alone they may touch; none for those who may touch everybody's.
    pub fn only_own(&self, all: Permission) -> Result<Option<String>, Problem> {
        if self.0.may(all).is_ok() {
            return Ok(None);
        }
        let own = self.0.account.clone();
        own.map(Some).ok_or_else(|| Problem::forbidden("this needs an account"))
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned();
        ready(caller.ok_or_else(|| Problem::internal("nobody has asked who this is")))
    }
}

fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "who is this?", detail)
}

fn barred_problem(barred: Barred, principal: &Principal, permission: Permission) -> Problem {
    match barred {
        Barred::Unknown => unauthorized(format!(
            "this needs the permission {permission}: log in, or send a token as Authorization: Bearer"
        )),
        Barred::Role => Problem::forbidden(format!(
            "this needs the role {}; {} has the role {}",
            permission.least_role(),
            principal.name(),
            principal.role
        )),
        Barred::Scope => Problem::forbidden(format!("the token has not the scope {permission}")),
    }
}

/// What the headers say.
struct Said {
    peer: Option<IpAddr>,
    bearer: Option<String>,
    cookie: Option<String>,
    host: String,
    proxied: bool,
    /// The page that sent it is of another site.
    foreign: bool,
}

impl Said {
    fn of(request: &HttpRequest) -> Self {
        let text = |name: &str| {
            let value = request.headers().get(name);
            value.map(|value| value.to_str().unwrap_or("").to_owned())
        };
        let host = text(header::HOST.as_str()).unwrap_or_default();
        let site = text("sec-fetch-site");
        let origin = text(header::ORIGIN.as_str());
        let other_site = site.is_some_and(|site| site != "same-origin" && site != "none");
        let other_origin =
            origin.is_some_and(|origin| origin.split_once("://").map(|(_, rest)| rest) != Some(host.as_str()));
        Self {
            peer: request.peer_addr().map(|addr| addr.ip().to_canonical()),
            bearer: text("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or("").trim().to_owned()),
            cookie: request.cookie(COOKIE).map(|cookie| cookie.value().to_owned()),
            proxied: text("x-forwarded-for").is_some() || text("forwarded").is_some(),
            foreign: other_site || other_origin,
            host,
        }
    }

    fn address(&self) -> String {
        self.peer
            .map_or_else(|| "unknown address".to_owned(), |ip| ip.to_string())
    }

    /// Why somebody without a token is not taken for one at this machine.
    fn not_at_the_machine(&self) -> Option<String> {
        if !self.peer.is_some_and(|ip| ip.is_loopback()) {
            return Some("the request comes from another machine".into());
        }
        if self.proxied {
            return Some("the request comes through a proxy".into());
        }
        if !names_this_machine(&self.host) {
            return Some(format!("the request is addressed to {}, not to localhost", self.host));
        }
        None
    }
}

/// Finds out who it is. The second is why somebody without a token or cookie is only a visitor.
async fn identify(said: &Said, shared: &Shared) -> Result<(Principal, Option<String>), Problem> {
    if let Some(offered) = &said.bearer {
        return Ok((by_token(offered, said.address(), shared).await?, None));
    }
    if let (Some(cookie), Some(people)) = (said.cookie.clone(), shared.ports.people.clone()) {
        let address = said.address();
        let found = block(move || people.at_the_door(|desk, now| desk.by_session(&cookie, &address, now)));
        match found.await.map_err(|cause| Problem::internal(cause.to_string()))? {
            Ok((principal, _)) => return Ok((principal, None)),
            Err(Refused::SessionEnded) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    match said.not_at_the_machine() {
        None => {
            let here = Principal {
                account: None,
                role: shared.ports.at_the_machine,
                scopes: None,
                via: if shared.ports.at_the_machine == Role::Visitor {
                    Via::Nothing
                } else {
                    Via::Machine
                },
                address: said.address(),
            };
            Ok((here, None))
        }
        why => Ok((Principal::visitor(said.address()), why)),
    }
}

/// Who a bearer token belongs to.
pub async fn by_token(offered: &str, address: String, shared: &Shared) -> Result<Principal, Problem> {
    if shared.ports.token.as_deref().is_some_and(|token| same(token, offered)) {
        return Ok(Principal {
            account: None,
            role: Role::Operator,
            scopes: None,
            via: Via::Token,
            address,
        });
    }
    let Some(people) = shared.ports.people.clone() else {
        return Err(unauthorized(
            "the token is not the one of the configuration ([http] token_file)",
        ));
    };
    let offered = offered.to_owned();
    let found = block(move || people.at_the_door(|desk, now| desk.by_token(&offered, &address, now)));
    found
        .await
        .map_err(|cause| Problem::internal(cause.to_string()))?
        .map_err(Problem::from)
}

/// Stands before every route. A refusal is an answer, so that it gets the headers that every answer gets.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    match examine(&request).await {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(problem) => Ok(request.into_response(problem.error_response()).map_into_right_body()),
    }
}

async fn examine(request: &ServiceRequest) -> Result<(), Problem> {
    let Some(needs) = needed(request)? else {
        return Ok(());
    };
    let shared = request.app_data::<Data<Shared>>().cloned();
    let shared = shared.ok_or_else(|| Problem::internal("no gateway"))?;
    let said = Said::of(request.request());
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && said.foreign && said.bearer.is_none() {
        return Err(Problem::forbidden("commands from another site's page are refused"));
    }
    let (principal, why) = identify(&said, &shared).await?;
    let members_only = shared.ports.people.as_ref().is_some_and(|people| people.members_only);
    match needs {
        Needs::Nothing => {}
        Needs::One(Permission::Read) if principal.via == Via::Nothing && members_only => {
            return Err(unauthorized("reading is for members here: log in"));
        }
        Needs::One(permission) => admit(&principal, &[permission], why)?,
        Needs::AnyOf(permissions) => admit(&principal, permissions, why)?,
    }
    request.extensions_mut().insert(Caller(principal));
    Ok(())
}

/// None for what is no address of this daemon: the answer to that needs no permission.
fn needed(request: &ServiceRequest) -> Result<Option<Needs>, Problem> {
    let Some(pattern) = request.match_pattern() else {
        return Ok(None);
    };
    match policy::of(request.method(), &pattern) {
        policy::Found::Route(route) => Ok(Some(route.needs)),
        policy::Found::OtherMethod(allowed) => Err(Problem::method_not_allowed(&allowed)),
        policy::Found::Nowhere => Err(Problem::forbidden(format!("{pattern} has no rule who may use it"))),
    }
}

fn admit(principal: &Principal, any_of: &[Permission], why: Option<String>) -> Result<(), Problem> {
    let mut first = None;
    for permission in any_of {
        match principal.may(*permission) {
            Ok(()) => return Ok(()),
            Err(barred) => first = first.or(Some((barred, *permission))),
        }
    }
    match (first, why) {
        (Some((Barred::Unknown, permission)), Some(why)) => Err(unauthorized(format!(
            "{why}: it needs a login, or a token, with the permission {permission}"
        ))),
        (Some((barred, permission)), _) => Err(barred_problem(barred, principal, permission)),
        (None, _) => Ok(()),
    }
}

/// The cookie of a new session; without a secret, the one that ends it.
pub fn cookie(secret: Option<&str>, https: bool) -> Cookie<'static> {
    let mut cookie = Cookie::build(COOKIE, secret.unwrap_or_default().to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(https)
        .finish();
    if secret.is_none() {
        cookie.make_removal();
    }
    cookie
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

    fn said(peer: &str, headers: &[(&'static str, &'static str)]) -> Said {
        let mut request = TestRequest::post().peer_addr(std::net::SocketAddr::new(peer.parse().unwrap(), 5000));
        for header in headers {
            request = request.insert_header(*header);
        }
        Said::of(&request.to_http_request())
    }

    #[test]
    fn a_person_at_the_machine_is_known_by_address_and_name() {
        let local = said("127.0.0.1", &[("host", "127.0.0.1:8080")]);
        assert_eq!((local.not_at_the_machine(), local.foreign), (None, false));
        let page = said(
            "::1",
            &[
                ("host", "localhost:8080"),
                ("origin", "http://localhost:8080"),
                ("sec-fetch-site", "same-origin"),
            ],
        );
        assert_eq!((page.not_at_the_machine(), page.foreign), (None, false));
    }

    #[test]
    fn a_foreign_page_is_known_as_foreign() {
        for headers in [
            &[("host", "localhost:8080"), ("origin", "http://evil.example")][..],
            &[("host", "localhost:8080"), ("origin", "null")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:8080"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(said("127.0.0.1", headers).foreign, "{headers:?}");
        }
    }

    #[test]
    fn a_rebound_name_a_proxy_and_another_machine_are_not_at_the_machine() {
        for (peer, headers) in [
            (
                "127.0.0.1",
                &[("host", "evil.example:8080"), ("origin", "http://evil.example:8080")][..],
            ),
            ("127.0.0.1", &[("host", "127.0.0.1.evil.example:8080")]),
            (
                "127.0.0.1",
                &[("host", "localhost:8080"), ("x-forwarded-for", "203.0.113.9")],
            ),
            ("127.0.0.1", &[]),
            ("10.0.0.7", &[("host", "localhost:8080")]),
        ] {
            assert!(said(peer, headers).not_at_the_machine().is_some(), "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
        let text = cookie(Some("secret"), true).to_string();
        for part in [
            "alidade_session=secret",
            "HttpOnly",
            "SameSite=Strict",
            "Secure",
            "Path=/",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(cookie(None, false).to_string().contains("Max-Age=0"));
    }
}
