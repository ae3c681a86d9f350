//! What the gateways may ask, sent to the agent that it concerns. One answer a command, from that agent.

use super::{
    Daemon, abort,
    consult::{self, Here, Intentions},
    journal::Gathered,
};
use crate::{
    gateway::command::{Author, CommandCall, CommandReply, GatewayCommand},
    settings::Settings,
};
use actix::prelude::*;
use alidade_alerts::agent::Packet;
use alidade_drivers::grammar::language::Verb;
use alidade_majordome::messages::{Disposition, Operate, OperatorOrder};
use alidade_model::journal::Fact;
use alidade_routine::messages::{Cancel, Redo, Submit};
use alidade_safety::{
    messages::{Latch, LiftOverride, PlaceOverride, Release},
    overrides::Override,
};
use std::{fmt::Display, rc::Rc};
use tokio::sync::mpsc;

/// Answers commands until the gateways are gone.
pub async fn serve(daemon: &Daemon, gathered: &Gathered, site: &Settings, calls: &mut mpsc::Receiver<CommandCall>) {
    let intentions = Rc::new(Intentions::default());
    while let Some(call) = calls.recv().await {
        if let GatewayCommand::Device { device, verb, words } = call.command {
            // A device may take seconds to answer; nobody else waits for it.
            let spoken = speak(daemon, site, &intentions, call.author.name, device, verb, words);
            tokio::task::spawn_local(async move { drop(call.reply.send(spoken.await)) });
            continue;
        }
        let reply = obey(daemon, gathered, site, call.command, call.author).await;
        // A caller that has given up needs no answer.
        drop(call.reply.send(reply));
    }
}

async fn obey(
    daemon: &Daemon,
    gathered: &Gathered,
    site: &Settings,
    command: GatewayCommand,
    author: Author,
) -> CommandReply {
    if let Some(reply) = author
        .only_own
        .as_deref()
        .and_then(|own| of_somebody_else(daemon, &command, own))
    {
        return reply;
    }
    let who = author.name;
    match command {
        GatewayCommand::Abort(level) => match abort::begin(daemon, level, who, site.enclosure.travel_s).await {
            Ok(()) => kept(daemon, gathered, CommandReply::Accepted).await,
            Err(cause) => CommandReply::Denied(cause),
        },
        GatewayCommand::Override { input, reason, for_s } => {
            let wanted = Override {
                input,
                who,
                reason,
                until: for_s.map(|seconds| daemon.recorder.now().plus_seconds(seconds)),
            };
            let placed = judged(daemon.safety.send(PlaceOverride(wanted)).await);
            kept(daemon, gathered, placed).await
        }
        GatewayCommand::LiftOverride(input) => match daemon.safety.send(LiftOverride { who, input }).await {
            Ok(true) => kept(daemon, gathered, CommandReply::Accepted).await,
            Ok(false) => CommandReply::Denied("there is no such override".into()),
            Err(error) => CommandReply::Denied(error.to_string()),
        },
        GatewayCommand::AcknowledgeAlarm(id) => match daemon.alarms.acknowledge(id, &who, &daemon.recorder) {
            Ok(()) => kept(daemon, gathered, CommandReply::Accepted).await,
            Err(cause) => CommandReply::Denied(cause),
        },
        GatewayCommand::Alarms => match serde_json::to_value(daemon.alarms.all()) {
            Ok(alarms) => CommandReply::Answer(alarms),
            Err(error) => CommandReply::Denied(error.to_string()),
        },
        GatewayCommand::Device { .. } => CommandReply::Denied("said elsewhere".into()),
        GatewayCommand::CloseNow => kept(daemon, gathered, latch(daemon, who, "closed by an operator").await).await,
        GatewayCommand::Latch => kept(daemon, gathered, latch(daemon, who, "latched by an operator").await).await,
        GatewayCommand::Release => kept(daemon, gathered, accepted(daemon.safety.send(Release { who }).await)).await,
        GatewayCommand::AbortSequence => operate(daemon, who, OperatorOrder::AbortSequence).await,
        GatewayCommand::Pause => operate(daemon, who, OperatorOrder::Pause).await,
        GatewayCommand::Resume => operate(daemon, who, OperatorOrder::Resume).await,
        GatewayCommand::SubmitRequest(mut request) => {
            request.submitted_at = daemon.recorder.now();
            kept(daemon, gathered, judged(daemon.routine.send(Submit(*request)).await)).await
        }
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
        GatewayCommand::GrantQuota { user, institute, hours } => {
            let granted = grant(daemon, &user, &institute, hours);
            kept(daemon, gathered, granted).await
        }
        GatewayCommand::ChangeStrategy(text) => match super::strategies::change(daemon, text, who).await {
            Ok(()) => kept(daemon, gathered, CommandReply::Accepted).await,
            Err(problem) => CommandReply::Denied(problem),
        },
    }
}

/// The refusal, if a command would touch what belongs to somebody else.
fn of_somebody_else(daemon: &Daemon, command: &GatewayCommand, own: &str) -> Option<CommandReply> {
    let theirs = match command {
        GatewayCommand::CancelSequence(sequence) | GatewayCommand::RedoSequence { sequence, .. } => {
            let book = daemon.book.borrow();
            book.line(sequence).is_some_and(|line| line.sequence.user != own)
        }
        GatewayCommand::SubmitRequest(wish) => {
            let users = wish.sequences.iter().map(|sequence| &sequence.user);
            users.chain([&wish.user]).any(|user| user != own)
        }
        _ => false,
    };
    theirs.then(|| CommandReply::NotYours(format!("{own} may do this only to what is their own")))
}

/// Opens or enlarges a quota.
fn grant(daemon: &Daemon, user: &str, institute: &str, hours: f64) -> CommandReply {
    if !(hours > 0.0 && hours <= 10_000.0) {
        return CommandReply::Denied(format!("{hours} hours is outside 0 to 10000"));
    }
    let word = |text: &str| !text.trim().is_empty() && text.chars().count() <= 100 && !text.contains(char::is_control);
    if !word(user) || !word(institute) {
        return CommandReply::Denied("the account and its institute are 1 to 100 characters on one line".into());
    }
    match daemon
        .book
        .borrow_mut()
        .grant(user, institute, hours * 3600.0, &daemon.recorder)
    {
        Ok(()) => CommandReply::Accepted,
        Err(error) => CommandReply::Denied(error.to_string()),
    }
}

/// Says something to a device in the PYROS language. Nothing is set or done while an order uses the instruments.
fn speak(
    daemon: &Daemon,
    site: &Settings,
    intentions: &Rc<Intentions>,
    who: String,
    device: Option<String>,
    verb: String,
    words: Vec<String>,
) -> impl Future<Output = CommandReply> + 'static {
    let everyone = consult::everyone(&daemon.devices);
    let here = Here {
        site: super::translate::site(site),
        now: daemon.recorder.now(),
    };
    let busy = daemon
        .published
        .observation
        .borrow()
        .running
        .as_ref()
        .map(|r| r.label.clone());
    let (recorder, intentions) = (daemon.recorder.clone(), intentions.clone());
    async move {
        let Some(name) = device else {
            return CommandReply::Answer(consult::list(&everyone));
        };
        let Some(anyone) = everyone.get(&name) else {
            let known: Vec<&str> = everyone.keys().map(String::as_str).collect();
            return CommandReply::Denied(format!("there is no device {name}; known are {}", known.join(", ")));
        };
        let verb = match verb.as_str() {
            "get" => Verb::Get,
            "set" => Verb::Set,
            "do" => Verb::Do,
            other => return CommandReply::Denied(format!("{other} is neither set, get nor do")),
        };
        let stops = verb == Verb::Do && words.first().is_some_and(|word| word.eq_ignore_ascii_case("stop"));
        if let Some(label) = busy
            && verb != Verb::Get
            && !stops
        {
            return CommandReply::Denied(format!("the instruments are in use: {label}; pause and abort first"));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = consult::say(anyone, verb, &words, &intentions, here).await;
        if verb != Verb::Get {
            recorder.record(Fact::OperatorCommand {
                who,
                command: format!("device {name}: {verb:?} {}", words.join(" ")),
                outcome: answer.as_ref().map_or_else(String::clone, |_| "accepted".into()),
            });
        }
        answer.map_or_else(CommandReply::Denied, CommandReply::Answer)
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
