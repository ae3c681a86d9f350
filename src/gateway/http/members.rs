//! Everybody's accounts, for administrators, and the audit.

use super::{
    Problem, Shared,
    access::Caller,
    account::{LIMIT, counter, done, door, people, post},
    commands::{self, json_body},
    reply::{document, limited, query},
};
use crate::gateway::command::GatewayCommand;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use alidade_accounts::{Refused, Register, Role};
use serde::Deserialize;
use serde_json::json;

/// All accounts, those that wait first.
pub async fn list(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let mut accounts = door(&shared, &caller, |desk, _| {
        desk.register().accounts().map_err(|e| Refused::Fault(e.to_string()))
    })
    .await?;
    accounts.sort_by_key(|account| {
        (
            account.state != alidade_accounts::AccountState::Waiting,
            account.id.clone(),
        )
    });
    document(&json!({ "accounts": accounts }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Validation {
    role: Role,
    /// Hours of observing time.
    quota_h: Option<f64>,
}

/// `{"role", "quota_h"}`: lets an account in, and grants observing time. The owner gets a letter.
pub async fn validate(
    request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Validation { role, quota_h } = json_body(&request, payload, LIMIT).await?;
    if let Some(hours) = quota_h
        && !(hours > 0.0 && hours <= 10_000.0)
    {
        return Err(Problem::bad_request(format!("quota_h {hours} is outside 0 to 10000")));
    }
    let id = id.into_inner();
    let (account, letter) = counter(&shared, &caller, move |desk, by| desk.validate(&id, role, by)).await?;
    post(&shared, Some(letter));
    if let Some(hours) = quota_h {
        let grant = GatewayCommand::GrantQuota {
            user: account.id.clone(),
            institute: account.institute.clone(),
            hours,
        };
        commands::send_and_answer(&shared, grant, &caller).await?;
    }
    document(&account)
}

pub async fn refuse(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    counter(&shared, &caller, move |desk, by| desk.refuse(&id, by)).await?;
    Ok(done())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

/// `{"role"}`.
pub async fn set_role(
    request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let NewRole { role } = json_body(&request, payload, LIMIT).await?;
    let id = id.into_inner();
    document(&counter(&shared, &caller, move |desk, by| desk.set_role(&id, role, by)).await?)
}

pub async fn disable(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    document(&counter(&shared, &caller, move |desk, by| desk.set_disabled(&id, true, by)).await?)
}

pub async fn enable(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    document(&counter(&shared, &caller, move |desk, by| desk.set_disabled(&id, false, by)).await?)
}

/// A code by which the owner sets a new password, for when there are no letters.
pub async fn code(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let code = counter(&shared, &caller, move |desk, by| desk.new_password_code(&id, by)).await?;
    document(&json!({ "code": code }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditPage {
    #[serde(default)]
    after: u32,
    limit: Option<u32>,
    #[serde(default)]
    whole: bool,
}

/// `?after=&limit=&whole=`: lines above `after`, oldest first; `first_forged` is the first line that is not what was
/// written, if the chain is broken. What was found whole before is not computed again, unless `whole=true`.
pub async fn audit(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let AuditPage { after, limit, whole } = query(&request)?;
    let limit = limited(limit, 100, 1000)?;
    let people = people(&shared)?;
    let (lines, forged, count) = door(&shared, &caller, move |desk, _| {
        let kept = |e: crate::store::StoreError| Refused::Fault(e.to_string());
        let mut chain = if whole { Default::default() } else { people.chain() };
        let forged = chain.follow(&desk.register().audit(chain.seq(), usize::MAX).map_err(kept)?);
        let count = chain.seq();
        people.keep(chain);
        let page = desk.register().audit(i64::from(after), limit as usize).map_err(kept)?;
        Ok((page, forged, count))
    })
    .await?;
    let full = lines.len() == limit as usize;
    let mut body = json!({ "lines": lines, "first_forged": forged, "whole_up_to": count });
    if let Some(last) = lines.last().filter(|_| full) {
        body["next_after"] = json!(last.seq);
    }
    document(&body)
}
