//! Commands over HTTP: translated, handed on, answered with what the daemon said.
//!
//! 202 accepted, 200 already in progress, 409 denied with the reason, 503/504 no answer.

use super::{BODY_DEADLINE, Problem, Shared, access::Caller};
use crate::gateway::command::{self, Author, CommandReply, GatewayCommand};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Bytes, Data, Path, Payload, Query},
};
use alidade_model::request::{Origin, Request};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;

/// How long the daemon may take to say yes or no.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Alert packets are a few kilobytes; the largest public ones carry small sky maps.
const PACKET_LIMIT: usize = 1 << 20;
const REQUEST_LIMIT: usize = 1 << 20;
const COMMAND_LIMIT: usize = 4096;

/// Reads a whole body, within its limit of size and time.
pub async fn read_body(payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_DEADLINE, payload.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(cause))) => Err(Problem::bad_request(cause.to_string())),
        Ok(Err(_)) => Err(Problem::too_large(limit)),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "the body came too slowly",
            format!("a body must arrive within {BODY_DEADLINE:?}"),
        )),
    }
}

/// Only a page of this origin can send JSON without being asked for permission first.
pub fn must_be_json(request: &HttpRequest) -> Result<(), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) == Some("application/json") {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "not JSON",
            "send Content-Type: application/json",
        ))
    }
}

/// Reads a body of JSON.
pub async fn json_body<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<T, Problem> {
    must_be_json(request)?;
    let body = read_body(payload, limit).await?;
    serde_json::from_slice(&body).map_err(|cause| Problem::bad_request(cause.to_string()))
}

/// Sends a command, if the caller may give it.
pub async fn send(shared: &Shared, command: GatewayCommand, caller: &Caller) -> Result<CommandReply, Problem> {
    let name = command.name();
    let (permission, all) = command.needs();
    let who = caller.must(permission)?;
    let only_own = match all {
        Some(all) => caller.only_own(all)?,
        None => None,
    };
    let author = Author {
        name: who.clone(),
        only_own,
    };
    let reply = command::ask(&shared.ports.commands, command, author, ANSWER_DEADLINE).await;
    tracing::info!(command = name, who, ?reply, "command over http");
    Ok(reply?)
}

fn answer(command: &str, reply: CommandReply) -> Result<HttpResponse, Problem> {
    let (mut response, outcome) = match reply {
        CommandReply::Accepted => (HttpResponse::Accepted(), "accepted"),
        CommandReply::AlreadyInProgress => (HttpResponse::Ok(), "already_in_progress"),
        CommandReply::Denied(reason) => return Err(Problem::denied(reason)),
        CommandReply::NotYours(reason) => return Err(Problem::forbidden(reason)),
        CommandReply::Answer(value) => {
            let body = serde_json::json!({ "command": command, "outcome": "answered", "answer": value });
            return Ok(HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, "application/json"))
                .body(body.to_string()));
        }
    };
    let body = serde_json::json!({ "command": command, "outcome": outcome });
    Ok(response
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(body.to_string()))
}

pub async fn send_and_answer(
    shared: &Shared,
    command: GatewayCommand,
    caller: &Caller,
) -> Result<HttpResponse, Problem> {
    let name = command.name();
    answer(name, send(shared, command, caller).await?)
}

/// `{"command": "close_now" | "latch" | "release" | "abort_sequence" | "pause" | "resume"}`, or with arguments:
/// `{"command": "abort", "level": "checkpoint" | "immediate" | "emergency"}`,
/// `{"command": "override", "input": NAME, "reason": TEXT, "for_s": SECONDS}`, `{"command": "lift_override", "input": NAME}`,
/// `{"command": "acknowledge_alarm", "alarm": NUMBER}`, `{"command": "alarms"}`,
/// `{"command": "device", "device": NAME, "verb": "set" | "get" | "do", "words": [...]}`.
pub async fn command(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    must_be_json(&request)?;
    let body = read_body(payload, COMMAND_LIMIT).await?;
    let command = GatewayCommand::from_json(&body).map_err(Problem::bad_request)?;
    send_and_answer(&shared, command, &caller).await
}

/// Somebody has taken note of an alarm.
pub async fn acknowledge_alarm(caller: Caller, id: Path<u64>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    send_and_answer(&shared, GatewayCommand::AcknowledgeAlarm(id.into_inner()), &caller).await
}

/// A request with its sequences, as JSON.
pub async fn submit_request(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let wish: Box<Request> = json_body(&request, payload, REQUEST_LIMIT).await?;
    if wish.sequences.is_empty() {
        return Err(Problem::bad_request(format!("request {} has no sequence", wish.id)));
    }
    // Whoever may submit may not pass their own wish off as an alert's, which goes before all others.
    if wish.origin != Origin::Routine {
        return Err(Problem::bad_request(
            "origin: only alerts make requests of alerts; send the packet",
        ));
    }
    send_and_answer(&shared, GatewayCommand::SubmitRequest(wish), &caller).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    channel: Option<String>,
}

/// An alert packet: the body is the packet, byte by byte; `?channel=` says where it came from.
pub async fn submit_packet(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let wanted = Query::<Channel>::from_query(request.query_string())
        .map_err(|cause| Problem::bad_request(cause.to_string()))?;
    let body = read_body(payload, PACKET_LIMIT).await?.to_vec();
    if body.is_empty() {
        return Err(Problem::bad_request("the packet is empty"));
    }
    let channel = wanted.into_inner().channel.unwrap_or_else(|| "http".into());
    send_and_answer(&shared, GatewayCommand::SubmitPacket { body, channel }, &caller).await
}

pub async fn cancel_sequence(caller: Caller, id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    send_and_answer(&shared, GatewayCommand::CancelSequence(id.into_inner()), &caller).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    cause: String,
}

/// `{"cause": "trailed"}`: what is wrong with the data.
pub async fn redo_sequence(
    request: HttpRequest,
    caller: Caller,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Verdict { cause } = json_body(&request, payload, REQUEST_LIMIT).await?;
    let sequence = id.into_inner();
    send_and_answer(&shared, GatewayCommand::RedoSequence { sequence, cause }, &caller).await
}
