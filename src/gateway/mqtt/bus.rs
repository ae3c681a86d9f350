//! The delivery's messages between sites, over MQTT.
//!
//! ```text
//! alidade/bus/<to>/<from>    a message (JSON), QoS 1
//! alidade/ack/<from>         identifiers that the receiver has in its database (JSON), QoS 1
//! ```
//!
//! Sessions are persistent: what comes while a site is away, the broker keeps. Nothing depends on that: a message
//! leaves the outbox only when the other site has acknowledged it end to end, and is sent again after a new connection
//! or when the acknowledgement stays out. Each connection is a new client (see the feed's text on the library).

use super::MqttLink;
use alidade_delivery::{books::Ledger, link, station::Station};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use std::{io, thread, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// An acknowledgement that stays out longer than this has the message sent again.
const AGAIN: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// Messages that may be on their way at a time.
const ON_THE_WAY: usize = 500;

/// A running link. Dropping it stops it.
#[derive(Debug)]
pub struct BusHandle {
    stop: watch::Sender<bool>,
    /// Whether the broker is there.
    pub connected: watch::Receiver<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for BusHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the link between sites panicked");
        }
    }
}

/// Starts the link of a station in a thread of its own, with a connection to the books of its own.
pub fn start(broker: MqttLink, station: Station, ledger: Box<dyn Ledger>) -> io::Result<BusHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = watch::channel(false);
    let (report, connected) = watch::channel(false);
    let (rung, bell) = mpsc::channel(1);
    ring_through(station.clone(), rung)?;
    let thread = thread::Builder::new().name("bus".into()).spawn(move || {
        let line = Line {
            broker,
            station,
            ledger,
            bell,
            stop: stopped,
            report,
            sent: 0,
            since: Instant::now(),
        };
        runtime.block_on(line.run());
    })?;
    Ok(BusHandle {
        stop,
        connected,
        thread: Some(thread),
    })
}

/// The bell is heard by threads; the link waits on a channel. Ends when the link has.
fn ring_through(station: Station, rung: mpsc::Sender<()>) -> io::Result<()> {
    thread::Builder::new()
        .name("bus-bell".into())
        .spawn(move || {
            let mut heard = station.bell.count();
            while !rung.is_closed() {
                station.bell.wait(heard, Duration::from_secs(1));
                heard = station.bell.count();
                // A full channel means that the link is about to look anyway.
                if let Err(mpsc::error::TrySendError::Closed(())) = rung.try_send(()) {
                    return;
                }
            }
        })
        .map(drop)
}

struct Line {
    broker: MqttLink,
    station: Station,
    ledger: Box<dyn Ledger>,
    bell: mpsc::Receiver<()>,
    stop: watch::Receiver<bool>,
    report: watch::Sender<bool>,
    /// Number of the last message that was given to this connection.
    sent: i64,
    /// When the outbox was last sent from its beginning.
    since: Instant,
}

/// Not bounded: the one who sends must never wait for the one who reads, who may be sending himself.
type Events = mpsc::UnboundedReceiver<Result<Event, String>>;

impl Line {
    async fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        while !*self.stop.borrow() {
            let (client, events, poller) = self.connect();
            let left = self.serve(&client, events).await;
            poller.abort();
            if self.report.send_replace(false) {
                backoff = FIRST_BACKOFF;
            }
            let Err(cause) = left else { return };
            tracing::warn!(cause, broker = %self.broker.host, "the link between sites is cut");
            tokio::select! {
                biased;
                _ = self.stop.changed() => return,
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    fn connect(&self) -> (AsyncClient, Events, tokio::task::JoinHandle<()>) {
        let here = &self.station.sites.here;
        let mut options = MqttOptions::new(format!("alidade-bus-{here}"), &self.broker.host, self.broker.port);
        options
            .set_keep_alive(self.broker.keep_alive)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_inflight(200)
            .set_max_packet_size(link::LIMIT + 4096, link::LIMIT + 4096);
        if let Some(username) = &self.broker.username {
            options.set_credentials(username, self.broker.password.as_deref().unwrap_or(""));
        }
        let (client, mut connection) = AsyncClient::new(options, 1000);
        let (forward, events) = mpsc::unbounded_channel();
        let poller = tokio::spawn(async move {
            loop {
                let event = connection.poll().await.map_err(|cause| cause.to_string());
                let lost = event.is_err();
                if forward.send(event).is_err() || lost {
                    return;
                }
            }
        });
        (client, events, poller)
    }

    /// Until it is stopped (`Ok`) or the connection is lost.
    async fn serve(&mut self, client: &AsyncClient, mut events: Events) -> Result<(), String> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let mut connected = false;
        loop {
            tokio::select! {
                biased;
                _ = self.stop.changed() => {
                    let _ = client.try_disconnect();
                    return Ok(());
                }
                event = events.recv() => {
                    let first = event.ok_or("the connection ended")??;
                    let mut arrived = Vec::new();
                    let mut next = Some(first);
                    while let Some(event) = next.take() {
                        match event {
                            Event::Incoming(Packet::ConnAck(_)) => {
                                connected = true;
                                self.greet(client).await?;
                            }
                            Event::Incoming(Packet::Publish(publish)) => arrived.push(publish),
                            _ => {}
                        }
                        if arrived.len() < 200 && let Ok(event) = events.try_recv() {
                            next = Some(event?);
                        }
                    }
                    self.take(client, arrived).await?;
                }
                Some(()) = self.bell.recv() => {}
                _ = tick.tick() => {}
            }
            if connected {
                self.give(client).await?;
            }
        }
    }

    async fn greet(&mut self, client: &AsyncClient) -> Result<(), String> {
        let here = &self.station.sites.here;
        for topic in [format!("alidade/bus/{here}/+"), format!("alidade/ack/{here}")] {
            client
                .subscribe(topic, QoS::AtLeastOnce)
                .await
                .map_err(|e| e.to_string())?;
        }
        (self.sent, self.since) = (0, Instant::now());
        self.report.send_replace(true);
        tracing::info!(broker = %self.broker.host, "the link between sites is up");
        Ok(())
    }

    /// Into the books first, then acknowledged to the sender and to the broker.
    async fn take(&mut self, client: &AsyncClient, arrived: Vec<Publish>) -> Result<(), String> {
        let (mut messages, mut settled): (Vec<_>, Vec<String>) = Default::default();
        for publish in &arrived {
            if publish.topic.starts_with("alidade/ack/") {
                let ids = serde_json::from_slice::<Vec<String>>(&publish.payload);
                settled.extend(ids.unwrap_or_default());
            } else {
                messages.push(link::decode(&self.station, &publish.payload));
            }
        }
        let ledger = self.ledger.as_mut();
        if !settled.is_empty() {
            link::acknowledged(&self.station, ledger, &settled).map_err(|e| e.to_string())?;
        }
        if !messages.is_empty() {
            let taken = link::receive(&self.station, ledger, &messages).map_err(|e| e.to_string())?;
            let mut by_sender: std::collections::BTreeMap<String, Vec<String>> = Default::default();
            for (from, id) in taken {
                by_sender.entry(from).or_default().push(id);
            }
            for (from, ids) in by_sender {
                let payload = serde_json::to_string(&ids).map_err(|e| e.to_string())?;
                let topic = format!("alidade/ack/{from}");
                let sent = client.publish(topic, QoS::AtLeastOnce, false, payload).await;
                sent.map_err(|e| e.to_string())?;
            }
        }
        for publish in &arrived {
            client.ack(publish).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Sends what waits; from the beginning again when acknowledgements have stayed out.
    async fn give(&mut self, client: &AsyncClient) -> Result<(), String> {
        if self.since.elapsed() >= AGAIN {
            (self.sent, self.since) = (0, Instant::now());
        }
        let limit = ON_THE_WAY as i64;
        let waiting = link::outgoing(&self.station, self.ledger.as_mut(), self.sent, limit);
        for message in waiting.map_err(|e| e.to_string())? {
            let payload = link::encode(&message).map_err(|e| e.to_string())?;
            let topic = format!("alidade/bus/{}/{}", message.to, message.from);
            let sent = client.publish(topic, QoS::AtLeastOnce, false, payload).await;
            sent.map_err(|e| e.to_string())?;
            self.sent = message.number;
        }
        Ok(())
    }
}
