//! Observing requests and quotas as they are kept: one's own, or everybody's for those who may see it.

use super::{
    Problem, Shared,
    access::Caller,
    commands,
    reply::{document, limited, query},
};
use crate::{
    gateway::command::GatewayCommand,
    store::{Store, StoreError},
};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload, block},
};
use alidade_accounts::Permission;
use serde::Deserialize;
use serde_json::json;

const GRANT_LIMIT: usize = 4096;

/// Asks the records on a blocking thread.
pub async fn ask<T: Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let records = shared.ports.records.clone();
    let records = records.ok_or_else(|| Problem::not_found("this daemon keeps no records that can be asked"))?;
    let told = block(move || records.ask(question));
    told.await
        .map_err(|cause| Problem::internal(cause.to_string()))?
        .map_err(|cause| Problem::internal(cause.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: Option<String>,
    limit: Option<u32>,
    before: Option<u64>,
}

/// `?user=&limit=&before=`: newest first, `{"requests": [...], "next_before": NUMBER}`. `next_before` is absent at the
/// end; read on with it until then.
pub async fn requests(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted: Wanted = query(&request)?;
    let limit = limited(wanted.limit, 100, 1000)?;
    let user = match caller.only_own(Permission::ReadAllData)? {
        Some(own) if wanted.user.as_ref().is_some_and(|user| *user != own) => {
            return Err(Problem::forbidden("these are the requests of somebody else"));
        }
        Some(own) => Some(own),
        None => wanted.user,
    };
    let page = ask(&shared, move |store| {
        store.requests_before(user.as_deref(), wanted.before, limit)
    })
    .await?;
    let full = page.len() == limit as usize;
    let mut body = json!({ "requests": page });
    if let Some(last) = page.last().filter(|_| full) {
        body["next_before"] = json!(last.seq);
    }
    document(&body)
}

/// One request with its sequences: state, its cause, exposures done, and what the last schedule said.
pub async fn request(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let own = caller.only_own(Permission::ReadAllData)?;
    let id = id.into_inner();
    let name = id.clone();
    let found = ask(&shared, move |store| {
        let Some(request) = store.request(&id)? else {
            return Ok(None);
        };
        let mut sequences = Vec::new();
        for sequence in &request.sequences {
            let products = store.products_of_sequence(&sequence.id)?;
            sequences.push(json!({ "standing": store.sequence(&sequence.id)?, "products": products }));
        }
        Ok(Some((request, sequences)))
    })
    .await?;
    let gone = || Problem::not_found(format!("there is no request {name}"));
    let (request, sequences) = found.ok_or_else(gone)?;
    // Somebody else's is not told apart from none.
    if own.is_some_and(|own| own != request.user) {
        return Err(gone());
    }
    document(&json!({ "request": request, "sequences": sequences }))
}

/// One sequence: state, its cause, exposures done, what the last schedule said, products.
pub async fn sequence(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let own = caller.only_own(Permission::ReadAllData)?;
    let id = id.into_inner();
    let name = id.clone();
    let found = ask(&shared, move |store| {
        let standing = store.sequence(&id)?;
        let products = store.products_of_sequence(&id)?;
        Ok(standing.map(|standing| (standing, products)))
    })
    .await?;
    // Somebody else's is not told apart from none.
    let found = found.filter(|(standing, _)| own.is_none_or(|own| own == standing.sequence.user));
    let (standing, products) = found.ok_or_else(|| Problem::not_found(format!("there is no sequence {name}")))?;
    document(&json!({ "standing": standing, "products": products }))
}

/// The last schedules that were made, the newest first.
pub async fn schedules(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let Newest { limit } = query(&request)?;
    let limit = limited(limit, 50, 1000)?;
    let all = ask(&shared, move |store| store.schedules(limit)).await?;
    document(&json!({ "schedules": all }))
}

/// One schedule with its places, and with the reasons of what has none.
pub async fn schedule(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let name = id.clone();
    let found = ask(&shared, move |store| store.schedule(&id)).await?;
    document(&found.ok_or_else(|| Problem::not_found(format!("there is no schedule {name}")))?)
}

/// The standing of every account that one may see, in microseconds of observing time.
pub async fn quotas(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let own = caller.only_own(Permission::ReadAllData)?;
    let mut balances = ask(&shared, Store::balances).await?;
    if let Some(own) = own {
        balances.retain(|account, _| *account == own);
    }
    document(&json!({ "quotas": balances }))
}

/// Every posting of one account, oldest first.
pub async fn postings(account: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let account = account.into_inner();
    if caller
        .only_own(Permission::ReadAllData)?
        .is_some_and(|own| own != account)
    {
        return Err(Problem::forbidden("this is the quota of somebody else"));
    }
    let postings = ask(&shared, move |store| store.postings(&account)).await?;
    document(&json!({ "postings": postings }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    institute: String,
    hours: f64,
}

/// `{"institute": "IRAP", "hours": 10}`: observing time for an account, which is opened if it has none yet.
pub async fn grant(
    request: HttpRequest,
    account: Path<String>,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Grant { institute, hours } = commands::json_body(&request, payload, GRANT_LIMIT).await?;
    let user = account.into_inner();
    commands::send_and_answer(&shared, GatewayCommand::GrantQuota { user, institute, hours }, &caller).await
}
