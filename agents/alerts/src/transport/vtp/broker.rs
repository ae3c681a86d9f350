//! A broker: takes packets from authors, passes them to subscribers.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::link::{Link, VtpError};
use super::message::{Payload, TransportMessage, TransportRole, classify};
use super::relay::{Behind, Number, Relay};
use super::subscriber::{deliver, identifier};
use super::{Answer, Clock, Delivery};
use crate::limits::Limits;
use crate::transport::networks::AllowList;

/// How a broker behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// Our own identifier.
    pub local_ivorn: String,
    /// Who may submit.
    pub authors: AllowList,
    /// Who may subscribe.
    pub subscribers: AllowList,
    /// Longest wait for an author's packet.
    pub author_within: Duration,
    /// Longest wait for the journal.
    pub answer_within: Duration,
    /// Between signs of life.
    pub iamalive_every: Duration,
    /// No more unacknowledged packets are under way to a subscriber; the next waits.
    pub most_outstanding: usize,
    /// A subscriber that leaves a packet unacknowledged for so long is dropped.
    pub acknowledge_within: Duration,
    /// How long a new subscriber may take to say who it is, before it is sent what is new from then on.
    pub identify_within: Duration,
    /// Most connections at once, authors and subscribers together.
    pub most_connections: usize,
    /// Limits on packets.
    pub limits: Limits,
}

impl BrokerSettings {
    /// The usual behaviour under that identifier.
    #[must_use]
    pub fn new(local_ivorn: impl Into<String>) -> Self {
        Self {
            local_ivorn: local_ivorn.into(),
            authors: AllowList::default(),
            subscribers: AllowList::default(),
            author_within: Duration::from_secs(20),
            answer_within: Duration::from_secs(20),
            iamalive_every: Duration::from_secs(60),
            most_outstanding: 16,
            acknowledge_within: Duration::from_secs(60),
            identify_within: Duration::from_secs(2),
            most_connections: 256,
            limits: Limits::default(),
        }
    }
}

/// A broker. Submitted packets go to the sink it was made with; what is answered as taken is acknowledged. Passing them
/// on to subscribers is the owner's choice, through [`Relay`].
#[derive(Clone)]
pub struct Broker {
    settings: Arc<BrokerSettings>,
    clock: Clock,
    relay: Relay,
    slots: Arc<Semaphore>,
}

impl Broker {
    /// A broker with that behaviour.
    #[must_use]
    pub fn new(settings: BrokerSettings, clock: Clock, relay: Relay) -> Self {
        let slots = Arc::new(Semaphore::new(settings.most_connections));
        Self {
            settings: Arc::new(settings),
            clock,
            relay,
            slots,
        }
    }

    /// Takes one packet from an author, answers, closes.
    ///
    /// # Errors
    /// Why the connection failed; the author then has no acknowledgement.
    pub async fn serve_author<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: &str,
        sink: &mpsc::Sender<Delivery>,
    ) -> Result<(), VtpError> {
        let settings = &self.settings;
        let mut link = Link::new(stream, settings.limits.max_packet_bytes);
        let frame = tokio::time::timeout(settings.author_within, self.submission(&mut link))
            .await
            .map_err(|_| VtpError::Silent(settings.author_within))??;
        let ivorn = identifier(&frame);
        let answer = match deliver(frame, peer, &self.clock, settings.answer_within, sink).await {
            Ok(answer) => answer,
            // Without a record there is no acknowledgement, and an author who is refused knows to send again.
            Err(error @ (VtpError::Silent(_) | VtpError::Unexpected(_))) => Answer::Refused(error.to_string()),
            Err(error) => return Err(error),
        };
        let message = match answer {
            Answer::Taken => TransportMessage::ack(&ivorn, &settings.local_ivorn, (self.clock)()),
            Answer::Refused(why) => TransportMessage::nak(&ivorn, &settings.local_ivorn, &why, (self.clock)()),
        };
        link.send_within(&message.to_xml(), settings.author_within).await?;
        link.close().await;
        Ok(())
    }

    /// The packet an author submits; signs of life before it are answered.
    async fn submission<S: AsyncRead + AsyncWrite + Unpin>(&self, link: &mut Link<S>) -> Result<Vec<u8>, VtpError> {
        let settings = &self.settings;
        loop {
            let frame = link.receive().await?.ok_or(VtpError::Closed)?;
            let Payload::Transport(message) = classify(&frame, &settings.limits)? else {
                return Ok(frame);
            };
            if message.role != TransportRole::Iamalive {
                return Err(VtpError::Unexpected(message.role.as_str().to_string()));
            }
            let reply = message.reply(&settings.local_ivorn, (self.clock)());
            link.send(&reply.to_xml()).await?;
        }
    }

    /// Passes packets and signs of life to a subscriber until it leaves or falls behind. One that was here before goes
    /// on behind what it acknowledged, as far as that is still kept.
    ///
    /// # Errors
    /// Why it was dropped.
    pub async fn serve_subscriber<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<(), VtpError> {
        let settings = &self.settings;
        let mut link = Link::new(stream, settings.limits.max_packet_bytes);
        let mut more = self.relay.follow();
        let mut reader = Reader {
            who: None,
            sent: self.relay.newest(),
            begun: false,
            outstanding: VecDeque::new(),
        };
        let begin = Instant::now() + settings.identify_within;
        let mut next_alive = Instant::now() + settings.iamalive_every;
        let mut alive_asked = false;
        let ask = TransportMessage::authenticate(&settings.local_ivorn, (self.clock)());
        link.send_within(&ask.to_xml(), settings.answer_within).await?;
        loop {
            let waiting = if reader.begun && reader.outstanding.len() < settings.most_outstanding {
                self.relay.behind(reader.sent)
            } else {
                Behind::Nothing
            };
            if let Behind::Lost(count) = waiting {
                return Err(VtpError::Unexpected(format!("backlog: {count} packets behind")));
            }
            let overdue = reader
                .outstanding
                .front()
                .map(|(_, sent_at)| *sent_at + settings.acknowledge_within);
            tokio::select! {
                biased;
                frame = link.receive() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    let Payload::Transport(message) = classify(&frame, &settings.limits)? else {
                        return Err(VtpError::Unexpected("packet".to_string()));
                    };
                    if message.role == TransportRole::Iamalive {
                        alive_asked = false;
                        // A subscriber may ask as well.
                        if message.response.is_none() {
                            let reply = message.reply(&settings.local_ivorn, (self.clock)());
                            link.send_within(&reply.to_xml(), settings.answer_within).await?;
                        }
                    }
                    reader.hear(message, &self.relay);
                }
                () = std::future::ready(()), if matches!(waiting, Behind::Packet(_)) => {
                    if let Behind::Packet(packet) = waiting {
                        link.send_within(&packet, settings.answer_within).await?;
                        reader.sent += 1;
                        reader.outstanding.push_back((reader.sent, Instant::now()));
                    }
                }
                () = sleep_until(begin), if !reader.begun => reader.begun = true,
                () = sleep_until(overdue.unwrap_or(begin)), if overdue.is_some() => {
                    let count = reader.outstanding.len();
                    return Err(VtpError::Unexpected(format!("silence: {count} packets unacknowledged")));
                }
                changed = more.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = sleep_until(next_alive) => {
                    if alive_asked {
                        return Err(VtpError::Silent(settings.iamalive_every));
                    }
                    alive_asked = true;
                    next_alive += settings.iamalive_every;
                    let message = TransportMessage::iamalive(&settings.local_ivorn, (self.clock)());
                    link.send_within(&message.to_xml(), settings.answer_within).await?;
                }
            }
        }
    }

    /// Accepts authors for ever.
    pub async fn accept_authors(&self, listener: TcpListener, sink: mpsc::Sender<Delivery>) {
        loop {
            let Some((stream, address, slot)) = self.accept(&listener, &self.settings.authors).await else {
                continue;
            };
            let (broker, sink) = (self.clone(), sink.clone());
            tokio::spawn(async move {
                let peer = address.to_string();
                if let Err(error) = broker.serve_author(stream, &peer, &sink).await {
                    tracing::warn!(%peer, %error, "author failed");
                }
                drop(slot);
            });
        }
    }

    /// Accepts subscribers for ever.
    pub async fn accept_subscribers(&self, listener: TcpListener) {
        loop {
            let Some((stream, peer, slot)) = self.accept(&listener, &self.settings.subscribers).await else {
                continue;
            };
            let broker = self.clone();
            tokio::spawn(async move {
                if let Err(error) = broker.serve_subscriber(stream).await {
                    tracing::info!(%peer, %error, "subscriber dropped");
                }
                drop(slot);
            });
        }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        allowed: &AllowList,
    ) -> Option<(tokio::net::TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: a pause lets some close.
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(200)).await;
                return None;
            }
        };
        if !allowed.admits(address.ip()) {
            tracing::warn!(peer = %address, "not on the allow list");
            return None;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Some((stream, address.ip(), slot))
    }
}

/// One subscriber, as the broker sees it.
struct Reader {
    /// Its identifier, once it has said so.
    who: Option<String>,
    /// Number of the last packet sent.
    sent: Number,
    /// Packets are sent from now on.
    begun: bool,
    /// Packets sent and not acknowledged, with the time, oldest first.
    outstanding: VecDeque<(Number, Instant)>,
}

impl Reader {
    /// Takes a message of the subscriber in.
    fn hear(&mut self, message: TransportMessage, relay: &Relay) {
        match message.role {
            TransportRole::Ack | TransportRole::Nak => {
                // A refusal is an answer too: the packet would be refused again.
                if let Some((number, _)) = self.outstanding.pop_front()
                    && let Some(who) = &self.who
                {
                    relay.set_mark(who, number);
                }
            }
            TransportRole::Authenticate | TransportRole::Iamalive | TransportRole::Other(_) => {}
        }
        let named = message
            .response
            .filter(|who| self.who.is_none() && !who.is_empty() && who.len() <= 512);
        if let Some(who) = named {
            let mark = relay.mark(&who).filter(|_| !self.begun);
            self.sent = mark.unwrap_or(self.sent).min(self.sent);
            if mark.is_none() && self.outstanding.is_empty() {
                relay.set_mark(&who, self.sent);
            }
            self.who = Some(who);
            self.begun = true;
        }
    }
}
