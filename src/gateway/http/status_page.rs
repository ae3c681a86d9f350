//! `/status`: the same truth as the dashboard, without JavaScript, with the stop button.
//!
//! It is for the day when the dashboard is broken, for a phone with a bad link, and for text browsers. Every text is
//! escaped; a command goes through a page that asks again.

use super::{
    Problem, Shared,
    access::{self, Caller},
    commands,
    reply::query,
};
use crate::gateway::{
    command::{CommandReply, GatewayCommand},
    snapshot::{STALE_AFTER_S, Snapshot},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload, Query},
};
use alidade_accounts::Permission;
use alidade_model::time::UtcTime;
use serde::Deserialize;
use std::fmt::Write;

/// What each button does, for the page that asks again.
const BUTTONS: &[(&str, &str, &str)] = &[
    (
        "close_now",
        "Close now",
        "The enclosure closes at once and stays closed until somebody releases the latch. The running exposure is lost.",
    ),
    (
        "abort_sequence",
        "Abort sequence",
        "The running sequence ends now; its frames so far are kept.",
    ),
    ("pause", "Pause", "No new sequence starts until somebody resumes."),
    ("resume", "Resume", "Sequences start again."),
    (
        "release",
        "Release latch",
        "The sensors decide again: if they say safe, the enclosure may open.",
    ),
];

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn html(status: StatusCode, title: &str, refresh: bool, body: &str) -> HttpResponse {
    let refresh = if refresh {
        "<meta http-equiv=\"refresh\" content=\"5\">"
    } else {
        ""
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <link rel=\"icon\" href=\"/favicon.svg\"><link rel=\"stylesheet\" href=\"/assets/status.css\"></head>\
         <body><main>{body}</main></body></html>",
        escape(title)
    );
    HttpResponse::build(status)
        .insert_header(("Content-Type", "text/html; charset=utf-8"))
        .body(page)
}

fn clock(time: Option<UtcTime>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{} UTC", time.hh_mm()))
}

fn age(age_s: Option<f64>) -> String {
    age_s.map_or_else(|| "never".to_owned(), |age| format!("{age:.0} s ago"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    still: Option<bool>,
}

/// `?still=true`: for who reads slowly, or hears the page: it does not reload by itself.
pub async fn page(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let still = query::<Standing>(&request)?.still.unwrap_or(false);
    let snapshot = shared.ports.snapshot.borrow().clone();
    let age_s = shared.hub.snapshot_age_s();
    let title = format!("{} {}", snapshot.safety.state.as_str(), snapshot.site.title);
    Ok(html(StatusCode::OK, &title, !still, &render(&snapshot, age_s, still)))
}

fn render(snapshot: &Snapshot, published_s: f64, still: bool) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<header><h1>{} <small>{}</small></h1><p>{} UTC, night of {}</p></header>",
        escape(&snapshot.site.title),
        escape(&snapshot.unit),
        snapshot.now.chrono().format("%Y-%m-%d %H:%M:%S"),
        escape(&snapshot.night.night),
    );
    if published_s > STALE_AFTER_S {
        let _ = write!(
            page,
            "<p class=\"stale\" role=\"alert\">STALE: the daemon has said nothing for {published_s:.0} s. \
             What follows is what it said last.</p>"
        );
    }
    let sentence = &snapshot.sentence;
    let until = sentence
        .until
        .map_or_else(String::new, |until| format!(" Until {} UTC.", until.hh_mm()));
    let _ = write!(
        page,
        "<p class=\"sentence\">It is <strong>{}</strong>, because {}.{until} Next: {}. Would change it: {}.</p>",
        escape(&sentence.doing),
        escape(&sentence.why),
        escape(&sentence.next),
        escape(&sentence.would_change),
    );
    buttons(&mut page);
    safety(&mut page, snapshot);
    devices(&mut page, snapshot);
    weather(&mut page, snapshot);
    schedule(&mut page, snapshot);
    let reload = if still {
        "This page stands still. <a href=\"/status\">Reload it every 5 seconds</a>"
    } else {
        "This page reloads every 5 seconds. <a href=\"/status?still=true\">Let it stand still</a>"
    };
    let _ = write!(page, "<p><a href=\"/\">Dashboard</a> (needs JavaScript). {reload}</p>");
    page
}

fn buttons(page: &mut String) {
    page.push_str("<form class=\"buttons\" action=\"/status/confirm\" method=\"get\">");
    for (command, label, _) in BUTTONS {
        let class = if *command == "close_now" { "danger" } else { "plain" };
        let _ = write!(
            page,
            "<button class=\"{class}\" name=\"command\" value=\"{command}\">{label}</button> "
        );
    }
    page.push_str("</form>");
}

fn safety(page: &mut String, snapshot: &Snapshot) {
    let safety = &snapshot.safety;
    let _ = write!(
        page,
        "<h2>Safety: <span class=\"{0}\">{0}</span></h2><p>{1}</p><table><thead><tr><th>Input<th>Value<th>Age<th>Verdict\
         <th>Why<th>Limit</tr></thead><tbody>",
        safety.state.as_str(),
        escape(&safety.reasons.join("; ")),
    );
    for input in &safety.inputs {
        let verdict = input.verdict.as_str();
        let _ = write!(
            page,
            "<tr><td>{}<td>{} {}<td>{}<td class=\"{verdict}\">{verdict}<td>{}<td>{}</tr>",
            escape(&input.name),
            escape(input.value.as_deref().unwrap_or("no data")),
            escape(&input.unit),
            age(input.age_s),
            escape(&input.reason),
            escape(&input.limit),
        );
    }
    page.push_str("</tbody></table>");
}

fn devices(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<h2>Devices</h2><table><thead><tr><th>Device<th>State<th>Age<th>Details</tr></thead><tbody>");
    let enclosure = &snapshot.enclosure;
    let _ = write!(
        page,
        "<tr><td>enclosure<td>{}<td>{}<td>{}</tr>",
        enclosure.state,
        age(enclosure.age_s),
        escape(enclosure.reason.as_deref().unwrap_or("")),
    );
    let mount = &snapshot.mount;
    let pointing = match (mount.alt_deg, mount.az_deg) {
        (Some(alt), Some(az)) => format!("altitude {alt:.1} deg, azimuth {az:.1} deg"),
        _ => mount.reason.clone().unwrap_or_default(),
    };
    let target = mount
        .target
        .as_deref()
        .map_or_else(String::new, |name| format!("{name}, "));
    let _ = write!(
        page,
        "<tr><td>mount<td>{}<td>{}<td>{}</tr>",
        mount.state,
        age(mount.age_s),
        escape(&format!("{target}{pointing}")),
    );
    for camera in &snapshot.cameras {
        let mut details = String::new();
        if let Some(filter) = &camera.filter {
            let _ = write!(details, "filter {filter} ");
        }
        if let Some(exposure_s) = camera.exposure_s {
            let _ = write!(details, "{exposure_s} s ");
        }
        if let Some(progress) = camera.progress {
            let _ = write!(details, "{:.0} % ", progress * 100.0);
        }
        if let Some(temperature_c) = camera.temperature_c {
            let _ = write!(details, "{temperature_c:.1} degC ");
        }
        details.push_str(camera.reason.as_deref().unwrap_or(""));
        let _ = write!(
            page,
            "<tr><td>camera {}<td>{}<td>{}<td>{}</tr>",
            escape(&camera.channel),
            escape(&camera.state),
            age(camera.age_s),
            escape(&details),
        );
    }
    page.push_str("</tbody></table>");
}

fn weather(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<h2>Weather</h2><table><thead><tr><th>Quantity<th>Value<th>Age</tr></thead><tbody>");
    for (name, gauge) in &snapshot.weather {
        let value = match (gauge.value, &gauge.reason) {
            (Some(value), _) => format!("{value:.1} {}", gauge.unit),
            (None, Some(reason)) => format!("no data: {reason}"),
            (None, None) => "no data".to_owned(),
        };
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escape(name),
            escape(&value),
            age(gauge.age_s)
        );
    }
    page.push_str("</tbody></table>");
}

fn schedule(page: &mut String, snapshot: &Snapshot) {
    if let Some(alert) = &snapshot.alert {
        let _ = write!(
            page,
            "<h2>Alert {} ({})</h2><p>{}</p><ul>",
            escape(&alert.name),
            escape(&alert.state),
            escape(&alert.decision)
        );
        for stage in &alert.stages {
            let _ = write!(page, "<li>{} after {:.1} s", escape(&stage.stage), stage.latency_s);
        }
        page.push_str("</ul>");
    }
    page.push_str("<h2>Tonight</h2><table><thead><tr><th>Start<th>End<th>Target<th>User<th>State</tr></thead><tbody>");
    for row in &snapshot.schedule {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            clock(row.executed_start.or(row.start)),
            clock(row.executed_end.or(row.end)),
            escape(&row.target),
            escape(&row.user),
            row.state,
        );
    }
    page.push_str("</tbody></table>");
}

#[derive(Debug, Deserialize)]
struct Asked {
    command: String,
}

fn button(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    BUTTONS.iter().find(|(command, _, _)| *command == name)
}

/// Asks again. Changes nothing.
pub async fn confirm(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let asked = Query::<Asked>::from_query(request.query_string());
    let Some((command, label, meaning)) = asked.ok().and_then(|asked| button(&asked.command)) else {
        let body = "<h1>No such command</h1><p><a href=\"/status\">Back</a></p>";
        return html(StatusCode::BAD_REQUEST, "no such command", false, body);
    };
    let local = request
        .peer_addr()
        .is_some_and(|addr| addr.ip().to_canonical().is_loopback());
    let local = local && shared.ports.at_the_machine.may(Permission::Operate);
    let token = if local || request.cookie(access::COOKIE).is_some() {
        ""
    } else {
        "<p><label>Token <input type=\"password\" name=\"token\" autocomplete=\"off\" required></label></p>"
    };
    let body = format!(
        "<h1>{label}?</h1><p>{meaning}</p><form class=\"buttons\" action=\"/status/command\" method=\"post\">{token}\
         <input type=\"hidden\" name=\"command\" value=\"{command}\">\
         <button class=\"danger\">Yes: {label}</button> <a href=\"/status\">No, back</a></form>"
    );
    html(StatusCode::OK, label, false, &body)
}

#[derive(Debug, Deserialize)]
struct Form {
    command: String,
    token: Option<String>,
}

pub async fn carry_out(caller: Caller, payload: Payload, shared: Data<Shared>) -> HttpResponse {
    match try_carry_out(caller, payload, &shared).await {
        Ok((label, reply)) => {
            let (status, said) = match reply {
                CommandReply::Accepted => (StatusCode::ACCEPTED, "accepted".to_owned()),
                CommandReply::AlreadyInProgress => (StatusCode::OK, "already in progress".to_owned()),
                CommandReply::Denied(reason) => (StatusCode::CONFLICT, format!("denied: {reason}")),
                CommandReply::NotYours(reason) => (StatusCode::FORBIDDEN, reason),
                CommandReply::Answer(value) => (StatusCode::OK, value.to_string()),
            };
            answer_page(status, label, &said)
        }
        Err(problem) => {
            let status = actix_web::ResponseError::status_code(&problem);
            answer_page(status, "Command", &problem.to_string())
        }
    }
}

fn answer_page(status: StatusCode, label: &str, said: &str) -> HttpResponse {
    let body = format!(
        "<h1>{}: {}</h1><p>Whether it is done shows in the state: <a href=\"/status\">back to the status</a>.</p>",
        escape(label),
        escape(said)
    );
    html(status, label, false, &body)
}

async fn try_carry_out(
    caller: Caller,
    payload: Payload,
    shared: &Shared,
) -> Result<(&'static str, CommandReply), Problem> {
    let body = commands::read_body(payload, 4096).await?;
    let body = std::str::from_utf8(&body).map_err(|cause| Problem::bad_request(cause.to_string()))?;
    let form = Query::<Form>::from_query(body)
        .map_err(|cause| Problem::bad_request(cause.to_string()))?
        .into_inner();
    let caller = match form.token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => Caller(access::by_token(token, caller.0.address, shared).await?),
        None => caller,
    };
    caller.must(Permission::Operate)?;
    let known = button(&form.command)
        .and_then(|(name, label, _)| GatewayCommand::simple(name).map(|command| (command, *label)));
    let (command, label) =
        known.ok_or_else(|| Problem::bad_request(format!("there is no command {}", form.command)))?;
    Ok((label, commands::send(shared, command, &caller).await?))
}
