//! A subscriber: a long-lived connection to a broker, watched for silence and made again when it breaks.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::link::{Link, VtpError};
use super::message::{Payload, TransportMessage, TransportRole, classify};
use super::{Answer, Clock, Delivery};
use crate::limits::Limits;
use crate::xml;

/// How a subscriber behaves. Brokers send a sign of life every minute; twice that is silence.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriberSettings {
    /// Our own identifier.
    pub local_ivorn: String,
    /// Longest silence before the line is taken for dead.
    pub silence: Duration,
    /// Longest wait for the journal before a packet is left unacknowledged.
    pub answer_within: Duration,
    /// First pause before a new attempt; doubled each time.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Sends `nak` for refused packets. Off by default: the widespread broker Comet closes the line on a `nak`, and a
    /// malformed packet must not cost the feed.
    pub refuse_aloud: bool,
    /// Limits on packets.
    pub limits: Limits,
}

impl SubscriberSettings {
    /// The usual behaviour under that identifier.
    #[must_use]
    pub fn new(local_ivorn: impl Into<String>) -> Self {
        Self {
            local_ivorn: local_ivorn.into(),
            silence: Duration::from_secs(120),
            answer_within: Duration::from_secs(20),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            refuse_aloud: false,
            limits: Limits::default(),
        }
    }
}

/// How the line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Being made.
    Connecting,
    /// Up; something came lately.
    Up,
    /// Down, with the reason; a new attempt follows after the pause.
    Down {
        /// Why.
        reason: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
}

/// Packets that may wait for the journal at once: many share one write to the disk.
const MOST_UNANSWERED: usize = 64;

/// Serves one connection until it ends. Packets go to `sink`, and are acknowledged, in their order, when they were
/// answered; the next ones are read meanwhile.
///
/// # Errors
/// Why the connection ended; a clean close by the broker is [`VtpError::Closed`].
pub async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: &str,
    settings: &SubscriberSettings,
    clock: &Clock,
    sink: &mpsc::Sender<Delivery>,
) -> Result<(), VtpError> {
    let mut link = Link::new(stream, settings.limits.max_packet_bytes);
    let mut unanswered: VecDeque<Unanswered> = VecDeque::new();
    let mut heard = Instant::now();
    loop {
        let (full, waits) = (unanswered.len() >= MOST_UNANSWERED, !unanswered.is_empty());
        let overdue = unanswered.front().map_or(heard, |first| first.since) + settings.answer_within;
        tokio::select! {
            biased;
            answer = first_answer(&mut unanswered), if waits => {
                let ivorn = unanswered.pop_front().map(|first| first.ivorn).unwrap_or_default();
                let answer = answer.ok_or_else(|| {
                    VtpError::Unexpected("end of a packet without an answer".to_string())
                })?;
                let message = match answer {
                    Answer::Refused(why) if settings.refuse_aloud => {
                        TransportMessage::nak(&ivorn, &settings.local_ivorn, &why, clock())
                    }
                    _ => TransportMessage::ack(&ivorn, &settings.local_ivorn, clock()),
                };
                link.send_within(&message.to_xml(), settings.answer_within).await?;
            }
            () = sleep_until(overdue), if waits => return Err(VtpError::Silent(settings.answer_within)),
            frame = link.receive(), if !full => {
                let frame = frame?.ok_or(VtpError::Closed)?;
                heard = Instant::now();
                match classify(&frame, &settings.limits) {
                    Ok(Payload::Transport(message)) => match message.role {
                        TransportRole::Iamalive | TransportRole::Authenticate => {
                            let reply = message.reply(&settings.local_ivorn, clock());
                            link.send_within(&reply.to_xml(), settings.answer_within).await?;
                        }
                        // Brokers have nothing to acknowledge; what we do not know does not end a line that works.
                        TransportRole::Ack | TransportRole::Nak | TransportRole::Other(_) => {}
                    },
                    Ok(Payload::Packet) => {
                        let ivorn = identifier(&frame);
                        let answer = hand_on(frame, peer, clock, sink).await?;
                        unanswered.push_back(Unanswered { ivorn, answer, since: Instant::now() });
                    }
                    // An unreadable transport message is skipped: the line may still be good.
                    Err(refusal) => tracing::warn!(%peer, %refusal, "transport message refused"),
                }
            }
            () = sleep_until(heard + settings.silence), if !full => return Err(VtpError::Silent(settings.silence)),
        }
    }
}

/// A packet that was handed on and has no answer yet.
struct Unanswered {
    ivorn: String,
    answer: oneshot::Receiver<Answer>,
    since: Instant,
}

/// The answer to the packet that waits for longest; `None` if there will be none.
async fn first_answer(unanswered: &mut VecDeque<Unanswered>) -> Option<Answer> {
    match unanswered.front_mut() {
        Some(first) => (&mut first.answer).await.ok(),
        None => std::future::pending().await,
    }
}

/// The identifier of a packet, as far as it can be read; answers need it.
pub(super) fn identifier(packet: &[u8]) -> String {
    xml::root_attribute(packet, "ivorn").unwrap_or_default()
}

/// Hands a packet on; where its answer will be.
async fn hand_on(
    bytes: Vec<u8>,
    peer: &str,
    clock: &Clock,
    sink: &mpsc::Sender<Delivery>,
) -> Result<oneshot::Receiver<Answer>, VtpError> {
    let (answer, answered) = oneshot::channel();
    let delivery = Delivery {
        bytes,
        received_at: clock(),
        peer: peer.to_string(),
        answer,
    };
    sink.send(delivery).await.map_err(|_| VtpError::NobodyListens)?;
    Ok(answered)
}

/// Hands a packet on and waits for its answer.
pub(super) async fn deliver(
    bytes: Vec<u8>,
    peer: &str,
    clock: &Clock,
    limit: Duration,
    sink: &mpsc::Sender<Delivery>,
) -> Result<Answer, VtpError> {
    match timeout(limit, hand_on(bytes, peer, clock, sink).await?).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(VtpError::Unexpected("end of a packet without an answer".to_string())),
        Err(_) => Err(VtpError::Silent(limit)),
    }
}

/// Keeps a subscription up for ever: connects, serves, pauses, connects again. Ends when nobody takes packets.
pub async fn run<S, C, F>(
    mut connect: C,
    peer: &str,
    settings: &SubscriberSettings,
    clock: &Clock,
    sink: &mpsc::Sender<Delivery>,
    state: &watch::Sender<LinkState>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    C: FnMut() -> F,
    F: Future<Output = std::io::Result<S>>,
{
    let mut pause = settings.first_pause;
    loop {
        state.send_replace(LinkState::Connecting);
        let ended = match timeout(settings.silence, connect()).await {
            Ok(Ok(stream)) => {
                state.send_replace(LinkState::Up);
                let up_since = Instant::now();
                let ended = session(stream, peer, settings, clock, sink).await;
                // A line that held counts as good; one that breaks at once keeps the pause growing.
                if up_since.elapsed() >= settings.longest_pause {
                    pause = settings.first_pause;
                }
                ended
            }
            Ok(Err(error)) => Err(VtpError::Io(error)),
            Err(_) => Err(VtpError::Silent(settings.silence)),
        };
        let reason = match ended {
            Ok(()) => "closed".to_string(),
            Err(VtpError::NobodyListens) => return,
            Err(error) => error.to_string(),
        };
        tracing::warn!(%peer, %reason, retry_in_s = pause.as_secs_f64(), "subscription is down");
        state.send_replace(LinkState::Down {
            reason,
            retry_in: pause,
        });
        sleep(pause).await;
        pause = (pause * 2).min(settings.longest_pause);
    }
}
