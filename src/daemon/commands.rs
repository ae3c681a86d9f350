//! What the gateways may ask, sent to the agent that it concerns. One answer a command, from that agent.

use super::{Daemon, journal::Gathered};
use crate::gateway::command::{CommandCall, CommandReply, GatewayCommand};
use actix::prelude::*;
use alidade_alerts::agent::Packet;
use alidade_majordome::messages::{Disposition, Operate, OperatorOrder};
use alidade_model::request::Request;
use alidade_routine::messages::{Cancel, Redo, Submit};
use alidade_safety::messages::{Latch, Release};
use std::fmt::Display;
use tokio::sync::mpsc;

/// Answers commands until the gateways are gone.
pub async fn serve(daemon: &Daemon, gathered: &Gathered, calls: &mut mpsc::Receiver<CommandCall>) {
    while let Some(call) = calls.recv().await {
        let reply = obey(daemon, gathered, call.command, call.who).await;
        // A caller that has given up needs no answer.
        drop(call.reply.send(reply));
    }
}

async fn obey(daemon: &Daemon, gathered: &Gathered, command: GatewayCommand, who: String) -> CommandReply {
    match command {
        GatewayCommand::CloseNow => kept(daemon, gathered, latch(daemon, who, "closed by an operator").await).await,
        GatewayCommand::Latch => kept(daemon, gathered, latch(daemon, who, "latched by an operator").await).await,
        GatewayCommand::Release => kept(daemon, gathered, accepted(daemon.safety.send(Release { who }).await)).await,
        GatewayCommand::AbortSequence => operate(daemon, who, OperatorOrder::AbortSequence).await,
        GatewayCommand::Pause => operate(daemon, who, OperatorOrder::Pause).await,
        GatewayCommand::Resume => operate(daemon, who, OperatorOrder::Resume).await,
        GatewayCommand::SubmitRequest(value) => match serde_json::from_value::<Request>(value) {
            Ok(mut request) => {
                request.submitted_at = daemon.recorder.now();
                kept(daemon, gathered, judged(daemon.routine.send(Submit(request)).await)).await
            }
            Err(error) => CommandReply::Denied(format!("not a request: {error}")),
        },
        GatewayCommand::SubmitPacket { body, channel } => match daemon.alerts.send(Packet { channel, body }).await {
            Ok(verdict) => {
                // Accepted means kept: the answer waits for the commit.
                gathered.committed(verdict.seq).await;
                match verdict.verdict.as_str() {
                    "duplicate" => CommandReply::AlreadyInProgress,
                    "reject" | "conflict" => CommandReply::Denied(verdict.reason),
                    _ => CommandReply::Accepted,
                }
            }
            Err(error) => CommandReply::Denied(error.to_string()),
        },
        GatewayCommand::CancelSequence(sequence) => {
            let answer = judged(daemon.routine.send(Cancel { who, sequence }).await);
            kept(daemon, gathered, answer).await
        }
        GatewayCommand::RedoSequence { sequence, cause } => {
            let answer = judged(daemon.routine.send(Redo { who, sequence, cause }).await);
            kept(daemon, gathered, answer).await
        }
        GatewayCommand::ChangeStrategy(text) => match super::strategies::change(daemon, text, who).await {
            Ok(()) => kept(daemon, gathered, CommandReply::Accepted).await,
            Err(problem) => CommandReply::Denied(problem),
        },
    }
}

/// Accepted means kept: the answer waits until everything recorded so far is committed.
async fn kept(daemon: &Daemon, gathered: &Gathered, reply: CommandReply) -> CommandReply {
    if reply == CommandReply::Accepted {
        gathered.committed(daemon.recorder.last_seq()).await;
    }
    reply
}

async fn latch(daemon: &Daemon, who: String, cause: &str) -> CommandReply {
    accepted(
        daemon
            .safety
            .send(Latch {
                who,
                cause: cause.into(),
            })
            .await,
    )
}

async fn operate(daemon: &Daemon, who: String, order: OperatorOrder) -> CommandReply {
    match daemon.majordome.send(Operate { who, order }).await {
        Ok(Ok(Disposition::Accepted)) => CommandReply::Accepted,
        Ok(Ok(Disposition::AlreadyInProgress)) => CommandReply::AlreadyInProgress,
        Ok(Err(denied)) => CommandReply::Denied(denied.to_string()),
        Err(error) => CommandReply::Denied(error.to_string()),
    }
}

fn accepted(answer: Result<(), MailboxError>) -> CommandReply {
    match answer {
        Ok(()) => CommandReply::Accepted,
        Err(error) => CommandReply::Denied(error.to_string()),
    }
}

fn judged<E: Display>(answer: Result<Result<(), E>, MailboxError>) -> CommandReply {
    match answer {
        Ok(Ok(())) => CommandReply::Accepted,
        Ok(Err(denied)) => CommandReply::Denied(denied.to_string()),
        Err(error) => CommandReply::Denied(error.to_string()),
    }
}
