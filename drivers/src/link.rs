//! The connection task that every driver shares.
//!
//! ```text
//!            connected, greeted
//!   down ----------------------> up: commands first, polls between them
//!    ^  \___ backoff 1..15 s,       |
//!    |       1 s when it is urgent  |
//!    |                              | silence beyond the deadline, stream closed, third garbage in a row
//!    +------------------------------+
//! ```
//!
//! After a silence the stream is dropped, because a late answer would be taken for the answer to the next question.

use crate::{
    interface::{DeviceError, Identity, LinkState, Pending},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    time::UtcTime,
};
use std::{cell::Cell, fmt, rc::Rc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};

thread_local! {
    static CONVERSING: Cell<usize> = const { Cell::new(0) };
    static QUIET: Rc<Notify> = Rc::new(Notify::new());
}

/// How many links of this thread wait for an answer just now. A clock that runs faster than the sockets asks this, lest
/// every answer comes too late.
pub fn conversing() -> usize {
    CONVERSING.get()
}

/// Resolves when no link of this thread waits for an answer.
pub async fn quiet() {
    let quiet = QUIET.with(Rc::clone);
    while conversing() > 0 {
        quiet.notified().await;
    }
}

/// Lives as long as a question without an answer.
struct Question;

impl Question {
    fn asked() -> Self {
        CONVERSING.set(CONVERSING.get() + 1);
        Self
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        CONVERSING.set(CONVERSING.get() - 1);
        if CONVERSING.get() == 0 {
            QUIET.with(|quiet| quiet.notify_one());
        }
    }
}

/// `timeout`, counted among the open questions.
async fn answered<T>(deadline: Duration, talk: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    let _question = Question::asked();
    tokio::time::timeout(deadline, talk).await
}

/// How one device is spoken to.
pub trait Dialogue: 'static {
    type Command: fmt::Display + 'static;
    type Reply: 'static;

    /// How long the device may take to answer a command.
    fn deadline(&self, command: &Self::Command) -> Duration;
    /// First words on a new connection: who are you?
    fn greet(&mut self, wire: &mut Wire) -> impl Future<Output = Result<Identity, Trouble>>;
    /// Reads the state, publishes it, and says when to read it again.
    fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> impl Future<Output = Result<Duration, Trouble>>;
    fn obey(&mut self, wire: &mut Wire, command: &Self::Command) -> impl Future<Output = Result<Self::Reply, Trouble>>;
    /// Publishes that nothing is known any more.
    fn unknown(&mut self, reason: NoData, at: UtcTime);
}

/// Where a state is published and read that nobody has read yet.
pub fn unread<T>(clock: &dyn Clock) -> (watch::Sender<Reading<T>>, watch::Receiver<Reading<T>>) {
    watch::channel(Reading::none(NoData::NeverRead, clock.now()))
}

/// When to look again: what moves is looked at four times a second at least.
pub fn pace(poll: Duration, moving: bool) -> Duration {
    if moving {
        poll.min(Duration::from_millis(250))
    } else {
        poll
    }
}

struct Ask<D: Dialogue> {
    command: D::Command,
    answer: oneshot::Sender<Result<D::Reply, DeviceError>>,
}

/// The handle of a connection task; the task ends when the handle is dropped.
pub struct Link<D: Dialogue> {
    pub id: String,
    ask: mpsc::UnboundedSender<Ask<D>>,
    urgent: mpsc::UnboundedSender<Ask<D>>,
    pub state: watch::Receiver<LinkState>,
    pub identity: watch::Receiver<Option<Identity>>,
    garbage: Rc<Cell<u64>>,
}

impl<D: Dialogue> Link<D> {
    /// Starts the task on the present `LocalSet`. `poll_deadline` bounds one reading of the state.
    pub fn open(
        id: &str,
        connector: SharedConnector,
        clock: Rc<dyn Clock>,
        poll_deadline: Duration,
        dialogue: D,
    ) -> Self {
        let (ask, asks) = mpsc::unbounded_channel();
        let (urgent, urgents) = mpsc::unbounded_channel();
        let down = LinkState::Down {
            since: clock.now(),
            cause: "not connected yet".into(),
        };
        let (state_out, state) = watch::channel(down);
        let (identity_out, identity) = watch::channel(None);
        let garbage = Rc::new(Cell::new(0));
        let task = Task {
            id: id.to_owned(),
            connector,
            clock,
            poll_deadline,
            dialogue,
            asks,
            urgents,
            state: state_out,
            identity: identity_out,
            garbage: garbage.clone(),
            epoch: 0,
            owed: None,
        };
        tokio::task::spawn_local(task.run());
        Self {
            id: id.to_owned(),
            ask,
            urgent,
            state,
            identity,
            garbage,
        }
    }

    pub fn garbage(&self) -> u64 {
        self.garbage.get()
    }

    /// Sends a command and waits for its answer.
    pub fn send(&self, command: D::Command) -> Pending<'_, D::Reply> {
        self.through(&self.ask, command)
    }

    /// Like [`Link::send`], but before everything that waits.
    pub fn send_first(&self, command: D::Command) -> Pending<'_, D::Reply> {
        self.through(&self.urgent, command)
    }

    fn through<'a>(&'a self, lane: &mpsc::UnboundedSender<Ask<D>>, command: D::Command) -> Pending<'a, D::Reply> {
        let (answer, answered) = oneshot::channel();
        let sent = lane.send(Ask { command, answer });
        Box::pin(async move {
            let gone = || DeviceError::Disconnected {
                device: self.id.clone(),
                cause: "driver stopped".into(),
            };
            sent.map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

struct Task<D: Dialogue> {
    id: String,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll_deadline: Duration,
    dialogue: D,
    asks: mpsc::UnboundedReceiver<Ask<D>>,
    urgents: mpsc::UnboundedReceiver<Ask<D>>,
    state: watch::Sender<LinkState>,
    identity: watch::Sender<Option<Identity>>,
    garbage: Rc<Cell<u64>>,
    epoch: u32,
    /// The last urgent order that was refused for want of a connection.
    owed: Option<D::Command>,
}

/// Why a conversation ended.
enum End {
    HandleGone,
    Lost { cause: String, reason: NoData },
}

impl<D: Dialogue> Task<D> {
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let (cause, reason) = match answered(Duration::from_secs(5), self.connector.connect()).await {
                Ok(Ok(stream)) => match self.converse(Wire::new(stream), &mut failures).await {
                    End::HandleGone => return,
                    End::Lost { cause, reason } => (cause, reason),
                },
                Ok(Err(error)) => (error.to_string(), NoData::LinkDown),
                Err(_) => ("no connection within 5 s".to_owned(), NoData::Timeout),
            };
            let now = self.clock.now();
            self.dialogue.unknown(reason, now);
            if self.state.borrow().is_up() || failures == 0 {
                self.state.send_replace(LinkState::Down {
                    since: now,
                    cause: cause.clone(),
                });
            }
            failures = failures.saturating_add(1);
            let backoff = Duration::from_secs(u64::from(failures.min(4).pow(2)).min(15));
            if !self.wait_refusing(backoff, &cause).await {
                return;
            }
        }
    }

    /// Refuses commands while there is no connection; false when the handle is gone.
    async fn wait_refusing(&mut self, pause: Duration, cause: &str) -> bool {
        let begun = Instant::now();
        let mut until = begun + pause;
        loop {
            let (ask, urgent) = tokio::select! {
                biased;
                ask = self.urgents.recv() => (ask, true),
                ask = self.asks.recv() => (ask, false),
                () = tokio::time::sleep_until(until) => return true,
            };
            let Some(Ask { command, answer }) = ask else {
                return false;
            };
            if urgent {
                self.owed = Some(command);
                // A roof that is to close does not wait until a backoff is over.
                until = until.min(begun + Duration::from_secs(1));
            }
            let error = DeviceError::Disconnected {
                device: self.id.clone(),
                cause: cause.to_owned(),
            };
            drop(answer.send(Err(error)));
        }
    }

    async fn converse(&mut self, mut wire: Wire, failures: &mut u32) -> End {
        let greeting = answered(self.poll_deadline, self.dialogue.greet(&mut wire)).await;
        if !matches!(greeting, Ok(Ok(_))) {
            self.say_unheard(&mut wire).await;
        }
        match greeting {
            Ok(Ok(identity)) => {
                // Whoever wanted it reads the state now, and decides anew.
                self.owed = None;
                if self.identity.borrow().as_ref() != Some(&identity) {
                    self.identity.send_replace(Some(identity));
                }
            }
            Ok(Err(trouble)) => {
                if matches!(trouble, Trouble::Garbage(_) | Trouble::Astray(_)) {
                    self.garbage.set(self.garbage.get() + 1);
                }
                return End::Lost {
                    cause: trouble.to_string(),
                    reason: NoData::LinkDown,
                };
            }
            Err(_) => {
                return End::Lost {
                    cause: "no answer to the greeting".into(),
                    reason: NoData::Timeout,
                };
            }
        }
        self.epoch += 1;
        *failures = 0;
        self.state.send_replace(LinkState::Up {
            since: self.clock.now(),
            epoch: self.epoch,
        });
        let mut next_poll = Instant::now();
        let mut garbage_in_a_row = 0;
        loop {
            let ask = tokio::select! {
                biased;
                ask = self.urgents.recv() => Some(ask),
                ask = self.asks.recv() => Some(ask),
                () = tokio::time::sleep_until(next_poll) => None,
            };
            if garbage_in_a_row > 0 {
                // It may have been an answer too many: with it gone, the next one belongs to the next question.
                wire.catch_up().await;
            }
            let trouble = match ask {
                Some(None) => return End::HandleGone,
                Some(Some(ask)) => {
                    // What was commanded is read back at once.
                    next_poll = Instant::now();
                    self.command(&mut wire, ask).await
                }
                None => match answered(self.poll_deadline, self.dialogue.poll(&mut wire, &*self.clock)).await {
                    Ok(Ok(pause)) => {
                        next_poll = Instant::now() + pause;
                        Ok(())
                    }
                    Ok(Err(trouble)) => {
                        next_poll = Instant::now() + Duration::from_millis(500);
                        Err(trouble)
                    }
                    Err(_) => {
                        return End::Lost {
                            cause: "no answer".into(),
                            reason: NoData::Timeout,
                        };
                    }
                },
            };
            match trouble {
                Ok(()) => garbage_in_a_row = 0,
                Err(Trouble::Gone(cause) | Trouble::Absent(cause)) => {
                    return End::Lost {
                        cause,
                        reason: NoData::LinkDown,
                    };
                }
                Err(Trouble::Refused { .. } | Trouble::Unsupported(_)) => {}
                Err(Trouble::Astray(cause)) => {
                    self.garbage.set(self.garbage.get() + 1);
                    return End::Lost {
                        cause,
                        reason: NoData::LinkDown,
                    };
                }
                Err(Trouble::Garbage(what)) => {
                    tracing::debug!(device = %self.id, %what, "garbage");
                    self.garbage.set(self.garbage.get() + 1);
                    garbage_in_a_row += 1;
                    if garbage_in_a_row >= 3 {
                        return End::Lost {
                            cause: format!("garbage three times: {what}"),
                            reason: NoData::LinkDown,
                        };
                    }
                }
            }
        }
    }

    /// A device that cannot be understood may still hear: it is told to stop, park or close as it was to be, whatever it
    /// answers. It has been refused to the caller, so nobody believes that it was done.
    async fn say_unheard(&mut self, wire: &mut Wire) {
        let Some(command) = &self.owed else { return };
        let deadline = self.dialogue.deadline(command);
        wire.discard();
        if let Ok(Err(trouble)) = answered(deadline, self.dialogue.obey(wire, command)).await {
            tracing::debug!(device = %self.id, %trouble, "an order to a device that is not understood");
        }
    }

    async fn command(&mut self, wire: &mut Wire, ask: Ask<D>) -> Result<(), Trouble> {
        let deadline = self.dialogue.deadline(&ask.command);
        let outcome = answered(deadline, self.dialogue.obey(wire, &ask.command)).await;
        let device = self.id.clone();
        let command = ask.command.to_string();
        let unknown = |device, command| DeviceError::OutcomeUnknown {
            device,
            command,
            after: deadline,
        };
        let (answer, trouble) = match outcome {
            Ok(Ok(reply)) => (Ok(reply), Ok(())),
            Err(_) => (
                Err(unknown(device, command)),
                Err(Trouble::Gone("a command was not answered".into())),
            ),
            Ok(Err(trouble)) => {
                let error = match trouble.clone() {
                    Trouble::Refused { code, message } => DeviceError::Rejected {
                        device,
                        command,
                        code,
                        message,
                    },
                    Trouble::Unsupported(capability) => DeviceError::Unsupported { device, capability },
                    Trouble::Absent(cause) => DeviceError::Disconnected { device, cause },
                    Trouble::Garbage(_) | Trouble::Astray(_) | Trouble::Gone(_) => unknown(device, command),
                };
                (Err(error), Err(trouble))
            }
        };
        // A caller that has gone away does not want the answer.
        drop(ask.answer.send(answer));
        trouble
    }
}
