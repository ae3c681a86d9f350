//! A broker: takes packets from authors, passes them to subscribers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use super::link::{Link, VtpError};
use super::message::{Payload, TransportMessage, TransportRole, classify};
use super::subscriber::{deliver, identifier};
use super::{Answer, Clock, Delivery};
use crate::limits::Limits;

/// How a broker behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// Our own identifier.
    pub local_ivorn: String,
    /// Addresses that may submit and subscribe; empty allows any that can connect.
    pub allowed: BTreeSet<IpAddr>,
    /// Longest wait for an author's packet.
    pub author_within: Duration,
    /// Longest wait for the journal.
    pub answer_within: Duration,
    /// Between signs of life.
    pub iamalive_every: Duration,
    /// A subscriber with this many unacknowledged packets is dropped.
    pub most_outstanding: usize,
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
            allowed: BTreeSet::new(),
            author_within: Duration::from_secs(20),
            answer_within: Duration::from_secs(20),
            iamalive_every: Duration::from_secs(60),
            most_outstanding: 10,
            most_connections: 256,
            limits: Limits::default(),
        }
    }
}

/// Where packets for the subscribers are put in.
#[derive(Clone, Debug)]
pub struct Relay(broadcast::Sender<Arc<[u8]>>);

impl Relay {
    /// A relay that holds this many packets for a slow subscriber before it drops it.
    #[must_use]
    pub fn new(backlog: usize) -> Self {
        Self(broadcast::channel(backlog.max(1)).0)
    }

    /// Sends a packet to every subscriber; how many there are.
    pub fn publish(&self, packet: &[u8]) -> usize {
        self.0.send(Arc::from(packet)).unwrap_or(0)
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.0.receiver_count()
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

    fn admits(&self, address: IpAddr) -> bool {
        self.settings.allowed.is_empty() || self.settings.allowed.contains(&address.to_canonical())
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
        let frame = link
            .receive_within(settings.author_within)
            .await?
            .ok_or(VtpError::Closed)?;
        if let Payload::Transport(message) = classify(&frame, &settings.limits)? {
            return Err(VtpError::Unexpected(message.role.as_str().to_string()));
        }
        let ivorn = identifier(&frame, &settings.limits);
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

    /// Passes packets and signs of life to a subscriber until it leaves or falls behind.
    ///
    /// # Errors
    /// Why it was dropped.
    pub async fn serve_subscriber<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<(), VtpError> {
        let settings = &self.settings;
        let mut packets = self.relay.0.subscribe();
        let mut link = Link::new(stream, settings.limits.max_packet_bytes);
        let (mut outstanding, mut alive_asked) = (0usize, false);
        let mut next_alive = Instant::now() + settings.iamalive_every;
        loop {
            tokio::select! {
                biased;
                frame = link.receive() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    match classify(&frame, &settings.limits)? {
                        Payload::Transport(message) => match message.role {
                            TransportRole::Iamalive => alive_asked = false,
                            TransportRole::Ack | TransportRole::Nak => outstanding = outstanding.saturating_sub(1),
                            TransportRole::Authenticate | TransportRole::Other(_) => {}
                        },
                        Payload::Packet => return Err(VtpError::Unexpected("packet".to_string())),
                    }
                }
                packet = packets.recv() => {
                    let packet = match packet {
                        Ok(packet) => packet,
                        Err(broadcast::error::RecvError::Closed) => return Ok(()),
                        Err(broadcast::error::RecvError::Lagged(count)) => {
                            return Err(VtpError::Unexpected(format!("backlog: {count} packets behind")));
                        }
                    };
                    if outstanding >= settings.most_outstanding {
                        return Err(VtpError::Unexpected(format!("silence: {outstanding} packets unacknowledged")));
                    }
                    outstanding += 1;
                    link.send_within(&packet, settings.answer_within).await?;
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
            let Some((stream, address, slot)) = self.accept(&listener).await else {
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
            let Some((stream, peer, slot)) = self.accept(&listener).await else {
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
        if !self.admits(address.ip()) {
            tracing::warn!(peer = %address, "not on the allow list");
            return None;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Some((stream, address.ip(), slot))
    }
}
