//! What the daemon says of itself: log, versions, devices, configuration, and which pages there are.

use super::{
    Problem, Shared, assets, devices,
    records::ask,
    reply::{document, limited, query},
};
use crate::store::nights::LogFilter;
use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use serde_json::{Value, json};

/// Which pages this daemon has; navigation links to no others.
pub async fn pages() -> Result<HttpResponse, Problem> {
    document(&json!({ "pages": assets::pages().collect::<Vec<_>>() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    severity: Option<String>,
    source: Option<String>,
    text: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// `?severity=&source=&text=&before=&limit=`: newest first, `{"lines": [...], "next_before": NUMBER}`. `next_before` is
/// absent at the end.
pub async fn log(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted: Wanted = query(&request)?;
    let limit = limited(wanted.limit, 100, 1000)?;
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = LogFilter {
        severity: said(wanted.severity),
        source: said(wanted.source),
        text: said(wanted.text),
        before: wanted.before,
    };
    let lines = ask(&shared, move |store| store.log_before(&filter, limit)).await?;
    let mut body = json!({ "lines": lines });
    if let Some(last) = lines.last().filter(|_| lines.len() == limit as usize) {
        body["next_before"] = json!(last.seq);
    }
    document(&body)
}

/// Versions, the devices as they answered since the start, counters.
pub async fn state(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let (started_at, devices) = devices::journaled(&shared).await?;
    let snapshot = shared.ports.snapshot.borrow().clone();
    document(&json!({
        "version": snapshot.version,
        "boot_id": snapshot.boot_id,
        "started_at": started_at,
        "now": snapshot.now,
        "snapshot_age_s": shared.hub.snapshot_age_s(),
        "journal_seq": snapshot.journal_seq,
        "mode": snapshot.mode,
        "site": snapshot.site.title,
        "unit": snapshot.unit,
        "schema": snapshot.schema,
        "counters": snapshot.counters,
        "devices": devices,
        "records": shared.ports.records.is_some(),
        "accounts": shared.ports.people.is_some(),
    }))
}

/// The configuration that is in force, defaults and environment included; what is secret is not told.
pub async fn configuration(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let settings = shared.ports.settings.clone();
    let settings = settings.ok_or_else(|| Problem::not_found("this daemon does not tell its configuration"))?;
    let mut told = serde_json::to_value(&*settings).map_err(|cause| Problem::internal(cause.to_string()))?;
    hide(&mut told, "");
    let place = match shared.ports.records.is_some() {
        true => Some(ask(&shared, |store| Ok(store.place())).await?),
        false => None,
    };
    document(&json!({ "configuration": told, "database": place }))
}

const HIDDEN: &str = "(hidden)";

/// Secrets are kept in files that the configuration names; what could be one all the same is not shown.
fn hide(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| hide(value, key)),
        Value::Array(list) => list.iter_mut().for_each(|value| hide(value, key)),
        Value::String(text) => {
            let secret = ["password", "secret", "token", "credential", "api_key"];
            if !key.ends_with("_file") && secret.iter().any(|word| key.contains(word)) {
                *text = HIDDEN.into();
            } else if let Some((scheme, rest)) = text.split_once("://") {
                *text = format!("{scheme}://{}", without_secrets(rest));
            }
        }
        _ => {}
    }
}

/// An address without the password of its user, and without a query, where web hooks carry their keys.
fn without_secrets(rest: &str) -> String {
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, None), |(host, path)| (host, Some(path)));
    let mut told = match host.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or_default();
            let mark = if user.contains(':') {
                format!(":{HIDDEN}")
            } else {
                String::new()
            };
            format!("{name}{mark}@{host}")
        }
        None => host.to_owned(),
    };
    if let Some(path) = path {
        told.push('/');
        told.push_str(path);
    }
    if let Some(query) = query {
        // The rate of a serial line is no secret.
        told.push('?');
        told.push_str(if query.starts_with("baud=") { query } else { HIDDEN });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_hidden_and_the_rest_is_told() {
        let mut told = json!({
            "database": { "url": "postgres://alidade:hunter2@db.example/night?password=hunter2" },
            "http": { "token_file": "/run/credentials/token", "listen": "127.0.0.1:8080" },
            "mail": { "password": "hunter2", "password_file": "/run/credentials/mail" },
            "hooks": ["https://hooks.example/services/a?key=hunter2"],
            "link": "serial:///dev/ttyUSB0?baud=9600",
            "dishes": ["tcp://10.0.0.5:4001"],
        });
        hide(&mut told, "");
        let text = told.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(
            told["database"]["url"],
            "postgres://alidade:(hidden)@db.example/night?(hidden)"
        );
        assert_eq!(told["http"]["token_file"], "/run/credentials/token");
        assert_eq!(told["mail"]["password_file"], "/run/credentials/mail");
        assert_eq!(told["link"], "serial:///dev/ttyUSB0?baud=9600");
        assert_eq!(told["dishes"][0], "tcp://10.0.0.5:4001");
    }
}
