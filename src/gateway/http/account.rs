//! One's own account: sign up, log in and out, recover, profile, tokens. Everybody's are in [`super::members`].
//!
//! Answers never tell whether an address has an account. Secrets are in answers once and nowhere else: a token when it is
//! made, a code when an administrator asks for one to hand over.

use super::{
    Problem, Shared,
    access::{self, Caller},
    commands::json_body,
    reply::document,
    validators,
};
use crate::{gateway::people::People, store::Store};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload, block},
};
use alidade_accounts::{
    Desk, Permission, Refused, Register, Role,
    desk::{By, Letter, Profile, SESSION_S},
    record::Account,
    role::Via,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Bytes of a form.
pub const LIMIT: usize = 16 * 1024;

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let said = refused.to_string();
        let (status, slug, title) = match refused {
            Refused::WrongLogin | Refused::SessionEnded | Refused::UnknownToken => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "who is this?")
            }
            Refused::Waiting | Refused::Disabled => {
                (StatusCode::FORBIDDEN, "closed-account", "the account is not open")
            }
            Refused::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "too many tries"),
            Refused::NoAccount(_) => (StatusCode::NOT_FOUND, "not-found", "there is nothing here"),
            Refused::Taken(_) | Refused::NotTheFirst | Refused::LastAdministrator => {
                (StatusCode::CONFLICT, "denied", "that cannot be")
            }
            Refused::BeyondOwner(_) => (StatusCode::FORBIDDEN, "forbidden", "not allowed"),
            Refused::UnknownCode | Refused::Bad { .. } | Refused::Weak(_) => {
                (StatusCode::BAD_REQUEST, "bad-request", "the request is not understood")
            }
            Refused::Fault(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the daemon could not answer",
            ),
        };
        let problem = Problem::new(status, slug, title, said);
        match refused {
            Refused::Throttled(wait_s) => problem.retry_after(wait_s),
            _ => problem,
        }
    }
}

pub fn people(shared: &Shared) -> Result<Arc<People>, Problem> {
    let people = shared.ports.people.clone();
    people.ok_or_else(|| Problem::not_found("this daemon has no accounts"))
}

/// Which of the two desks: passwords are hashed at the counter, and nobody else waits for that.
#[derive(Clone, Copy)]
enum At {
    Counter,
    Door,
}

/// Works at a desk for a caller, on a blocking thread.
async fn at<T: Send + 'static>(
    place: At,
    shared: &Shared,
    caller: &Caller,
    work: impl FnOnce(&mut Desk<Store>, By<'_>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let people = people(shared)?;
    let (who, address) = (caller.0.name(), caller.0.address.clone());
    let told = block(move || {
        let work = |desk: &mut Desk<Store>, now| {
            let by = By {
                who: &who,
                address: &address,
                now,
            };
            work(desk, by)
        };
        match place {
            At::Counter => people.at_the_counter(work),
            At::Door => people.at_the_door(work),
        }
    });
    told.await
        .map_err(|cause| Problem::internal(cause.to_string()))?
        .map_err(Problem::from)
}

pub async fn counter<T: Send + 'static>(
    shared: &Shared,
    caller: &Caller,
    work: impl FnOnce(&mut Desk<Store>, By<'_>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    at(At::Counter, shared, caller, work).await
}

pub async fn door<T: Send + 'static>(
    shared: &Shared,
    caller: &Caller,
    work: impl FnOnce(&mut Desk<Store>, By<'_>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    at(At::Door, shared, caller, work).await
}

pub fn post(shared: &Shared, letter: Option<Letter>) {
    if let (Some(people), Some(letter)) = (shared.ports.people.clone(), letter) {
        // Not waited for: how long it takes would tell whether there was a letter.
        drop(block(move || people.send(&letter)));
    }
}

pub fn done() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

fn cookie_of(request: &HttpRequest) -> Option<String> {
    request.cookie(access::COOKIE).map(|cookie| cookie.value().to_owned())
}

/// Who one is, and what one may: `{"account", "role", "via", "permissions", "accounts": whether there are any here,
/// "first": whether the first administrator is awaited}`.
pub async fn who(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let principal = &caller.0;
    let permissions: Vec<&str> = Permission::ALL
        .iter()
        .filter(|permission| principal.may(**permission).is_ok())
        .map(|permission| permission.name())
        .collect();
    let first = match shared.ports.people {
        Some(_) => {
            door(&shared, &caller, |desk, _| {
                let all = desk.register().accounts().map_err(|e| Refused::Fault(e.to_string()))?;
                Ok(!all.iter().any(|account| account.role == Role::Administrator))
            })
            .await?
        }
        None => false,
    };
    document(&json!({
        "account": principal.account,
        "role": principal.role,
        "via": principal.via,
        "permissions": permissions,
        "accounts": shared.ports.people.is_some(),
        "letters": shared.ports.people.as_ref().is_some_and(|people| people.sends_letters()),
        "first": first,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    login: String,
    password: String,
}

/// `{"login": account or address, "password"}`: sets the cookie of the session.
pub async fn log_in(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Login { login, password } = json_body(&request, payload, LIMIT).await?;
    let agent = request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let before = cookie_of(&request);
    let (secret, account) = counter(&shared, &caller, move |desk, by| {
        let opened = desk.log_in(&login, &password, &agent, by)?;
        // A login takes the place of the session before it.
        if let Some(before) = before {
            desk.log_out(
                &before,
                By {
                    who: &opened.1.id,
                    ..by
                },
            )?;
        }
        Ok(opened)
    })
    .await?;
    Ok(HttpResponse::Ok()
        .cookie(access::cookie(Some(&secret), shared.ports.https))
        .json(json!({ "account": account.id, "role": account.role, "ends_s": SESSION_S })))
}

pub async fn log_out(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    if let (Some(cookie), Some(_)) = (cookie_of(&request), &shared.ports.people) {
        counter(&shared, &caller, move |desk, by| desk.log_out(&cookie, by)).await?;
    }
    Ok(HttpResponse::NoContent()
        .cookie(access::cookie(None, shared.ports.https))
        .finish())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUp {
    account: String,
    name: String,
    email: String,
    institute: String,
    password: String,
    /// Only for the first administrator.
    code: Option<String>,
}

impl SignUp {
    fn parts(self) -> (Profile, String, Option<String>) {
        let Self {
            account,
            name,
            email,
            institute,
            password,
            code,
        } = self;
        (
            Profile {
                account,
                name,
                email,
                institute,
            },
            password,
            code,
        )
    }
}

/// `{"account", "name", "email", "institute", "password"}`: the account then waits for an administrator.
pub async fn sign_up(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (profile, password, code) = json_body::<SignUp>(&request, payload, LIMIT).await?.parts();
    if code.is_some() {
        return Err(Problem::bad_request(
            "a code is for the first administrator: /api/v1/first-administrator",
        ));
    }
    let letter = counter(&shared, &caller, move |desk, by| desk.sign_up(&profile, &password, by)).await?;
    post(&shared, letter);
    Ok(HttpResponse::Accepted().json(json!({ "outcome": "waiting" })))
}

/// As signing up, with the `code` that the log shows as long as there is no administrator.
pub async fn first_administrator(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (profile, password, code) = json_body::<SignUp>(&request, payload, LIMIT).await?.parts();
    let code = code.ok_or_else(|| Problem::bad_request("the code is missing"))?;
    let account = counter(&shared, &caller, move |desk, by| {
        desk.first_administrator(&code, &profile, &password, by)
    })
    .await?;
    Ok(HttpResponse::Created().json(account))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recovery {
    email: String,
}

/// `{"email"}`: a letter with a code goes to the address, if it has an account. The answer is the same in any case.
pub async fn recover(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Recovery { email } = json_body(&request, payload, LIMIT).await?;
    let address = people(&shared)?.address.clone();
    let letter = counter(&shared, &caller, move |desk, by| {
        let link = |code: &str| {
            address.as_ref().map_or_else(String::new, |at| {
                format!("{}/account#code={code}", at.trim_end_matches('/'))
            })
        };
        desk.ask_new_password(&email, link, by)
    })
    .await?;
    post(&shared, letter);
    Ok(HttpResponse::Accepted().json(json!({ "outcome": "if the address has an account, a letter is on its way" })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    code: String,
    password: String,
}

/// `{"code", "password"}`: ends every session of the account.
pub async fn set_password(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let NewPassword { code, password } = json_body(&request, payload, LIMIT).await?;
    let account = counter(&shared, &caller, move |desk, by| {
        desk.set_password(&code, &password, by)
    })
    .await?;
    document(&json!({ "account": account.id }))
}

fn own(caller: &Caller) -> Result<String, Problem> {
    caller
        .0
        .account
        .clone()
        .ok_or_else(|| Problem::forbidden("this needs an account"))
}

/// `{"account", "sessions", "tokens"}`.
pub async fn me(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = own(&caller)?;
    let (account, sessions, tokens) = door(&shared, &caller, move |desk, _| {
        let kept = |e: crate::store::StoreError| Refused::Fault(e.to_string());
        let register = desk.register();
        Ok((
            register.account(&id).map_err(kept)?,
            register.sessions(&id).map_err(kept)?,
            register.tokens(Some(&id)).map_err(kept)?,
        ))
    })
    .await?;
    document(&json!({ "account": account, "sessions": sessions, "tokens": tokens }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnProfile {
    name: String,
    institute: String,
}

fn face(account: &Account) -> Value {
    json!({ "account": account.id, "email": account.email, "name": account.name, "institute": account.institute })
}

fn account_of(desk: &mut Desk<Store>, id: &str) -> Result<Account, Refused> {
    let found = desk.register().account(id);
    let found = found.map_err(|e| Refused::Fault(e.to_string()))?;
    found.ok_or_else(|| Refused::NoAccount(id.to_owned()))
}

/// `{"account", "email", "name", "institute"}`; its `ETag` is what a change is sent with.
pub async fn profile(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = own(&caller)?;
    document(&face(
        &door(&shared, &caller, move |desk, _| account_of(desk, &id)).await?,
    ))
}

/// `{"name", "institute"}` with `If-Match`: the profile that one has seen becomes this one.
pub async fn change_profile(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let id = own(&caller)?;
    let OwnProfile { name, institute } = json_body(&request, payload, LIMIT).await?;
    let headers = request.headers().clone();
    let changed = counter(&shared, &caller, move |desk, by| {
        // What cannot be a profile is refused as such, whatever was seen before.
        desk.with_profile(&id, &name, &institute)?;
        // Looked at and changed at the one counter: nobody comes between.
        let seen = validators::tag_of(&face(&account_of(desk, &id)?));
        match seen.and_then(|tag| validators::must_match(&headers, Some(&tag))) {
            Ok(()) => desk.change_profile(&id, &name, &institute, by).map(Ok),
            Err(problem) => Ok(Err(problem)),
        }
    });
    document(&face(&changed.await??))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherPassword {
    old: String,
    new: String,
}

/// `{"old", "new"}`: ends every other session. Not by a token: a stolen one must not become an account.
pub async fn change_password(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let id = by_session(&caller)?;
    let OtherPassword { old, new } = json_body(&request, payload, LIMIT).await?;
    let cookie = cookie_of(&request);
    counter(&shared, &caller, move |desk, by| {
        desk.change_password(&id, &old, &new, cookie.as_deref(), by)
    })
    .await?;
    Ok(done())
}

pub async fn end_sessions(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = own(&caller)?;
    let cookie = cookie_of(&request);
    counter(&shared, &caller, move |desk, by| {
        desk.log_out_everywhere(&id, cookie.as_deref(), by)
    })
    .await?;
    Ok(done())
}

fn by_session(caller: &Caller) -> Result<String, Problem> {
    match caller.0.via {
        Via::Session => own(caller),
        _ => Err(Problem::forbidden(
            "this is done by the account itself, logged in, and not by a token",
        )),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    scopes: Vec<String>,
    days: u32,
}

/// `{"name", "scopes": [...], "days"}`: the answer has the token, this once.
pub async fn issue_token(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let id = by_session(&caller)?;
    let NewToken { name, scopes, days } = json_body(&request, payload, LIMIT).await?;
    let scopes: Result<_, String> = scopes.iter().map(|scope| scope.parse::<Permission>()).collect();
    let scopes = scopes.map_err(Problem::bad_request)?;
    let (secret, token) = counter(&shared, &caller, move |desk, by| {
        desk.issue_token(&id, &name, scopes, days, by)
    })
    .await?;
    Ok(HttpResponse::Created().json(json!({ "secret": secret, "token": token })))
}

pub async fn revoke_token(name: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = own(&caller)?;
    let wanted = name.clone();
    let revoked = counter(&shared, &caller, move |desk, by| {
        match desk.revoke_token(&id, &wanted, by) {
            Err(Refused::UnknownToken) => Ok(false),
            other => other.map(|()| true),
        }
    });
    match revoked.await? {
        true => Ok(done()),
        false => Err(Problem::not_found(format!("there is no token {name}"))),
    }
}
