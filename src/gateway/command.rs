//! Commands from outside, and the one answer each of them gets.
//!
//! The answer says whether the command was accepted, not that it is done: completion is seen in the snapshot.

use crate::daemon::abort::Level;
use alidade_accounts::Permission;
use alidade_model::request::Request;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What an operator or a peer may ask of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayCommand {
    /// Close the enclosure now and stay closed: safety latches.
    CloseNow,
    /// Make the site unsafe until released.
    Latch,
    /// Give up the latch; the verdict is then the sensors' again.
    Release,
    /// Abort the running sequence.
    AbortSequence,
    /// Start nothing new until resumed; the running sequence goes on.
    Pause,
    Resume,
    /// An observing request in the vocabulary of the model.
    SubmitRequest(Box<Request>),
    /// An alert packet as its bytes, and the channel it came by.
    SubmitPacket {
        body: Vec<u8>,
        channel: String,
    },
    CancelSequence(String),
    /// The data of an executed sequence are bad: refund it and observe it again.
    RedoSequence {
        sequence: String,
        cause: String,
    },
    /// A strategy's file, TOML or YAML: it holds from now on.
    ChangeStrategy(String),
    /// Stop, at one of three levels.
    Abort(Level),
    /// One input shall not forbid for a while.
    Override {
        input: String,
        reason: String,
        /// Seconds from now; without it until it is lifted, where people watch.
        for_s: Option<f64>,
    },
    LiftOverride(String),
    /// Somebody has taken note of an alarm.
    AcknowledgeAlarm(u64),
    /// Every alarm of this run.
    Alarms,
    /// Observing time for an account, which is opened if it has none yet.
    GrantQuota {
        user: String,
        institute: String,
        hours: f64,
    },
    /// The PYROS language to one device; without a device, the list of all.
    Device {
        device: Option<String>,
        verb: String,
        words: Vec<String>,
    },
}

/// A command with its arguments, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Sent {
    Abort {
        level: Level,
    },
    Override {
        input: String,
        reason: String,
        #[serde(default)]
        for_s: Option<f64>,
    },
    LiftOverride {
        input: String,
    },
    AcknowledgeAlarm {
        alarm: u64,
    },
    Alarms {},
    Device {
        #[serde(default)]
        device: Option<String>,
        #[serde(default)]
        verb: String,
        #[serde(default)]
        words: Vec<String>,
    },
}

impl GatewayCommand {
    /// From `{"command": NAME, ...}`; the error says what is wrong.
    pub fn from_json(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            command: String,
        }
        if let Ok(named) = serde_json::from_slice::<Named>(body)
            && let Some(command) = Self::simple(&named.command)
        {
            return Ok(command);
        }
        let sent = serde_json::from_slice::<Sent>(body).map_err(|cause| {
            let text = cause.to_string();
            match text
                .strip_prefix("unknown variant `")
                .and_then(|rest| rest.split_once('`'))
            {
                Some((name, _)) => format!("there is no command {name}"),
                None => text,
            }
        })?;
        Ok(match sent {
            Sent::Abort { level } => GatewayCommand::Abort(level),
            Sent::Override { input, reason, for_s } => GatewayCommand::Override { input, reason, for_s },
            Sent::LiftOverride { input } => GatewayCommand::LiftOverride(input),
            Sent::AcknowledgeAlarm { alarm } => GatewayCommand::AcknowledgeAlarm(alarm),
            Sent::Alarms {} => GatewayCommand::Alarms,
            Sent::Device { device, verb, words } => GatewayCommand::Device { device, verb, words },
        })
    }

    /// Name for logs, the journal and pages.
    pub fn name(&self) -> &'static str {
        match self {
            GatewayCommand::CloseNow => "close_now",
            GatewayCommand::Latch => "latch",
            GatewayCommand::Release => "release",
            GatewayCommand::AbortSequence => "abort_sequence",
            GatewayCommand::Pause => "pause",
            GatewayCommand::Resume => "resume",
            GatewayCommand::SubmitRequest(_) => "submit_request",
            GatewayCommand::SubmitPacket { .. } => "submit_packet",
            GatewayCommand::CancelSequence(_) => "cancel_sequence",
            GatewayCommand::RedoSequence { .. } => "redo_sequence",
            GatewayCommand::ChangeStrategy(_) => "change_strategy",
            GatewayCommand::Abort(_) => "abort",
            GatewayCommand::Override { .. } => "override",
            GatewayCommand::LiftOverride(_) => "lift_override",
            GatewayCommand::AcknowledgeAlarm(_) => "acknowledge_alarm",
            GatewayCommand::Alarms => "alarms",
            GatewayCommand::Device { .. } => "device",
            GatewayCommand::GrantQuota { .. } => "grant_quota",
        }
    }

    /// The permission that it needs, and the one to do it to what belongs to others, where something belongs to somebody.
    pub fn needs(&self) -> (Permission, Option<Permission>) {
        match self {
            GatewayCommand::CloseNow
            | GatewayCommand::Latch
            | GatewayCommand::Release
            | GatewayCommand::AbortSequence
            | GatewayCommand::Pause
            | GatewayCommand::Resume
            | GatewayCommand::Abort(_)
            | GatewayCommand::AcknowledgeAlarm(_)
            | GatewayCommand::Alarms => (Permission::Operate, None),
            GatewayCommand::Override { .. } | GatewayCommand::LiftOverride(_) => (Permission::Override, None),
            GatewayCommand::Device { .. } => (Permission::Devices, None),
            GatewayCommand::SubmitPacket { .. } => (Permission::SendPackets, None),
            GatewayCommand::ChangeStrategy(_) => (Permission::ChangeStrategies, None),
            GatewayCommand::SubmitRequest(_)
            | GatewayCommand::CancelSequence(_)
            | GatewayCommand::RedoSequence { .. } => (Permission::Submit, Some(Permission::SubmitForAll)),
            GatewayCommand::GrantQuota { .. } => (Permission::ManageAccounts, None),
        }
    }

    /// The commands that need nothing but their name.
    pub fn simple(name: &str) -> Option<Self> {
        Some(match name {
            "close_now" => GatewayCommand::CloseNow,
            "latch" => GatewayCommand::Latch,
            "release" => GatewayCommand::Release,
            "abort_sequence" => GatewayCommand::AbortSequence,
            "pause" => GatewayCommand::Pause,
            "resume" => GatewayCommand::Resume,
            _ => return None,
        })
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum CommandReply {
    Accepted,
    AlreadyInProgress,
    Denied(String),
    /// It would touch what belongs to somebody else.
    NotYours(String),
    /// What was asked for.
    Answer(serde_json::Value),
}

/// Who gives a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// For the audit: `ada`, `127.0.0.1`, `token from 10.0.0.7`.
    pub name: String,
    /// The account whose things alone they may touch; none for those who may touch everybody's.
    pub only_own: Option<String>,
}

impl Author {
    /// One who may touch everybody's things.
    pub fn of_all(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            only_own: None,
        }
    }
}

/// A command with its author and the way back.
#[derive(Debug)]
pub struct CommandCall {
    pub command: GatewayCommand,
    pub author: Author,
    pub reply: oneshot::Sender<CommandReply>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandFault {
    #[error("the daemon takes no commands: it is stopping or hung")]
    NobodyListens,
    #[error("the daemon has too many commands waiting")]
    QueueFull,
    #[error("the daemon did not answer within {0:?}; the command may or may not take effect, see its state")]
    OutcomeUnknown(Duration),
}

/// Sends a command and waits for its answer, at most `deadline`.
pub async fn ask(
    calls: &mpsc::Sender<CommandCall>,
    command: GatewayCommand,
    author: Author,
    deadline: Duration,
) -> Result<CommandReply, CommandFault> {
    let (reply, answer) = oneshot::channel();
    let call = CommandCall { command, author, reply };
    calls.try_send(call).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => CommandFault::QueueFull,
        mpsc::error::TrySendError::Closed(_) => CommandFault::NobodyListens,
    })?;
    match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(_)) => Err(CommandFault::NobodyListens),
        Err(_) => Err(CommandFault::OutcomeUnknown(deadline)),
    }
}
