//! The MQTT feed: every status retained, every journal fact as an event, nothing taken in.
//!
//! ```text
//! alidade/<site>/<unit>/availability            online | offline     retained, last will
//! alidade/<site>/<unit>/state/{night,safety,enclosure,mount,weather,schedule,alert,alert_stages}   retained, QoS 1
//! alidade/<site>/<unit>/state/camera/<channel>                                        retained, QoS 1
//! alidade/<site>/<unit>/event/<fact>                                                  not retained, QoS 1
//! ```
//!
//! Every payload but availability is JSON with `schema`, `boot_id`, `seq` and `ts`; a state also has `valid_until`,
//! after which a reader takes it as unknown. Availability is `offline` when the daemon is gone, and also when it is
//! hung: when it has published no snapshot for a while.
//!
//! The feed runs in its own thread and is harmless to the daemon: it reads a watch and a broadcast channel, keeps a
//! bounded number of events while the broker is away (the oldest go first, counted), and comes back with backoff.
//! Every connection is a new session with a new client: unacknowledged events are sent again (at least once; `seq`
//! tells repetitions), states are published anew. That also frees the feed from a known livelock of the client
//! library, which can wait for ever for an acknowledgement that a dead session owes it.

pub mod bus;
mod outbox;
mod topics;

use super::{JournalLine, snapshot::STALE_AFTER_S, snapshot::Snapshot};
use outbox::{Item, Outbox};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS};
use std::{io, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, watch,
    },
    time::Instant,
};

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttLink {
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<String>,
    /// Seconds; at least 1.
    pub keep_alive: Duration,
}

/// What the feed is made of.
#[derive(Clone)]
pub struct MqttPorts {
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    pub journal: broadcast::Sender<JournalLine>,
}

/// How the feed is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MqttStatus {
    pub connected: bool,
    /// Connections so far.
    pub connections: u64,
    /// Messages that the broker acknowledged.
    pub acknowledged: u64,
    /// Events that were given up because too many waited, or because they were too large.
    pub dropped: u64,
    pub last_error: Option<String>,
}

/// A running feed. Dropping it says goodbye to the broker and stops it.
#[derive(Debug)]
pub struct MqttHandle {
    pub status: watch::Receiver<MqttStatus>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl MqttHandle {
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for MqttHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the mqtt feed's thread panicked");
        }
    }
}

/// Longest packet, bytes.
const PACKET_LIMIT: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(30);
/// How long the goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// The daemon counts as hung when it has published nothing for this long.
const HUNG_AFTER: Duration = Duration::from_secs(3 * STALE_AFTER_S as u64);

/// Starts the feed. A broker that is not there is no error: it is tried again.
pub fn start(link: MqttLink, ports: MqttPorts) -> io::Result<MqttHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = watch::channel(false);
    let (report, status) = watch::channel(MqttStatus::default());
    let lines = ports.journal.subscribe();
    let base = topics::base(&ports.snapshot.borrow());
    let thread = thread::Builder::new().name("mqtt".into()).spawn(move || {
        let feed = Feed {
            base,
            link,
            snapshot: ports.snapshot,
            lines: Some(lines),
            outbox: Outbox::new(PACKET_LIMIT),
            report,
            stop: stopped,
            seq: 0,
            published: Instant::now(),
        };
        runtime.block_on(feed.run());
    })?;
    Ok(MqttHandle {
        status,
        stop,
        thread: Some(thread),
    })
}

struct Feed {
    base: String,
    link: MqttLink,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    /// `None` when the daemon has closed its journal.
    lines: Option<broadcast::Receiver<JournalLine>>,
    outbox: Outbox,
    report: watch::Sender<MqttStatus>,
    stop: watch::Receiver<bool>,
    /// Number of the last state publication.
    seq: u64,
    /// When the daemon last published a snapshot.
    published: Instant,
}

/// Why a connection was left.
enum Left {
    Stopped,
    Lost(String),
}

type Events = mpsc::Receiver<Result<Event, String>>;

/// Next journal line; waits for ever when there is no journal any more.
async fn next_line(lines: &mut Option<broadcast::Receiver<JournalLine>>) -> Result<JournalLine, RecvError> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

impl Feed {
    async fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let (client, events, poller) = self.connect();
            let before = self.report.borrow().connections;
            let left = self.serve(&client, events).await;
            poller.abort();
            self.outbox.connection_lost();
            let cause = match left {
                Left::Stopped => return,
                Left::Lost(cause) => cause,
            };
            tracing::warn!(cause, broker = %self.link.host, "mqtt feed lost its broker");
            self.report.send_modify(|status| {
                status.connected = false;
                status.last_error = Some(cause);
            });
            if self.report.borrow().connections > before {
                backoff = FIRST_BACKOFF;
            }
            if !self.wait(backoff).await {
                return;
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// A new session. The poller owns the connection, because polling must not be cut short while it connects.
    fn connect(&self) -> (AsyncClient, Events, tokio::task::JoinHandle<()>) {
        let id = self.base.replace('/', "-");
        let mut options = MqttOptions::new(id, &self.link.host, self.link.port);
        options
            .set_keep_alive(self.link.keep_alive)
            .set_clean_session(true)
            .set_inflight(200)
            .set_max_packet_size(PACKET_LIMIT, PACKET_LIMIT)
            .set_last_will(LastWill::new(
                format!("{}/availability", self.base),
                "offline",
                QoS::AtLeastOnce,
                true,
            ));
        if let Some(username) = &self.link.username {
            options.set_credentials(username, self.link.password.as_deref().unwrap_or(""));
        }
        let (client, mut connection): (_, EventLoop) = AsyncClient::new(options, 200);
        let (forward, events) = mpsc::channel(64);
        let poller = tokio::spawn(async move {
            loop {
                let event = connection.poll().await.map_err(|cause| cause.to_string());
                let lost = event.is_err();
                if forward.send(event).await.is_err() || lost {
                    return;
                }
            }
        });
        (client, events, poller)
    }

    /// Keeps collecting events while there is no broker; false when it is time to stop.
    async fn wait(&mut self, backoff: Duration) -> bool {
        let again = tokio::time::sleep(backoff);
        tokio::pin!(again);
        loop {
            tokio::select! {
                biased;
                _ = self.stop.changed() => return false,
                () = &mut again => return true,
                line = next_line(&mut self.lines) => self.take_line(line),
            }
        }
    }

    fn take_line(&mut self, line: Result<JournalLine, RecvError>) {
        match line {
            Ok(line) => {
                let boot_id = self.snapshot.borrow().boot_id.clone();
                if let Some((topic, payload)) = topics::event(&line, &boot_id) {
                    let topic = format!("{}/{topic}", self.base);
                    self.outbox.push(Item::event(topic, payload));
                }
            }
            Err(RecvError::Lagged(count)) => self.outbox.dropped += count,
            Err(RecvError::Closed) => self.lines = None,
        }
        let dropped = self.outbox.dropped;
        self.report.send_if_modified(|status| {
            let changed = status.dropped != dropped;
            status.dropped = dropped;
            changed
        });
    }

    async fn serve(&mut self, client: &AsyncClient, mut events: Events) -> Left {
        let mut connected = false;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                _ = self.stop.changed() => {
                    if connected {
                        self.farewell(client, &mut events).await;
                    }
                    return Left::Stopped;
                }
                event = events.recv() => match event {
                    Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                        connected = true;
                        self.greeted();
                    }
                    Some(Ok(Event::Incoming(Packet::PubAck(_)))) => self.acknowledged(),
                    Some(Ok(_)) => {}
                    Some(Err(cause)) => return Left::Lost(cause),
                    None => return Left::Lost("the connection ended".into()),
                },
                line = next_line(&mut self.lines) => self.take_line(line),
                _ = tick.tick() => {
                    if connected {
                        self.offer_states();
                    }
                    if self.outbox.stuck_for() > self.link.keep_alive * 3 {
                        return Left::Lost("the broker acknowledges nothing".into());
                    }
                }
            }
            if connected {
                self.outbox.pump(client);
            }
        }
    }

    fn greeted(&mut self) {
        tracing::info!(broker = %self.link.host, "mqtt feed connected");
        self.report.send_modify(|status| {
            status.connected = true;
            status.connections += 1;
            status.last_error = None;
        });
        self.outbox.forget_states();
        self.offer_states();
    }

    fn acknowledged(&mut self) {
        self.outbox.acknowledged();
        self.report.send_modify(|status| status.acknowledged += 1);
    }

    /// Offers every state that has changed or must be repeated.
    fn offer_states(&mut self) {
        if self.snapshot.has_changed().unwrap_or(false) {
            self.published = Instant::now();
        }
        let snapshot = self.snapshot.borrow_and_update().clone();
        let available = if self.published.elapsed() < HUNG_AFTER {
            "online"
        } else {
            "offline"
        };
        let topic = format!("{}/availability", self.base);
        let word = serde_json::Map::from_iter([("word".to_owned(), available.into())]);
        if self.outbox.is_news(&topic, &word, None) {
            self.outbox
                .offer_state(Item::state(topic, available.into()), word, snapshot.now);
        }
        for (name, state) in topics::states(&snapshot) {
            let topic = format!("{}/{name}", self.base);
            let core = topics::core(&state);
            if self.outbox.is_news(&topic, &core, Some(snapshot.now)) {
                self.seq += 1;
                let payload = topics::payload(state, &snapshot, self.seq);
                self.outbox.offer_state(Item::state(topic, payload), core, snapshot.now);
            }
        }
    }

    /// Sends what waits, then `offline`, then the disconnect; gives up after a while.
    async fn farewell(&mut self, client: &AsyncClient, events: &mut Events) {
        while let Some(line) = self.lines.as_mut().and_then(|lines| lines.try_recv().ok()) {
            self.take_line(Ok(line));
        }
        self.outbox
            .push(Item::state(format!("{}/availability", self.base), "offline".into()));
        let goodbye = async {
            while !self.outbox.is_empty() {
                self.outbox.pump(client);
                match events.recv().await {
                    Some(Ok(Event::Incoming(Packet::PubAck(_)))) => self.acknowledged(),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                }
            }
            if client.try_disconnect().is_ok() {
                while let Some(Ok(event)) = events.recv().await {
                    if matches!(event, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
                        return;
                    }
                }
            }
        };
        if tokio::time::timeout(FAREWELL, goodbye).await.is_err() {
            tracing::warn!("the broker did not take the feed's goodbye");
        }
        self.report.send_modify(|status| status.connected = false);
    }
}
