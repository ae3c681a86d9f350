//! The alert listeners of the running daemon: where packets come from, and how each line is.
//!
//! Terms: a *line* is what a listener hears by: a connection, a folder that can be read; a *mark* is how far a subscriber
//! of our own broker has come. A packet is acknowledged once its record is committed. The marks are written down every
//! second below the data folder, so that who comes again after a restart gets what it missed.

use super::{Daemon, journal::Gathered, strategies::whole};
use crate::{
    error::CliError,
    settings::{BrokerSettings, KafkaListenerSettings, ListenerSettings, Settings},
    store::{Durability, OpenOptions, Store},
};
use alidade_alerts::{
    agent::{Alerts, Packet, original_body},
    transport::{
        folder,
        networks::{AllowList, Network},
        vtp,
    },
};
use alidade_model::journal::{Fact, Severity};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

/// Packets that are kept for subscribers who are slow or come again.
const KEPT_FOR_SUBSCRIBERS: usize = 4096;

/// A Kafka cluster on its own thread; its line's state goes to the journal when it is lost.
#[cfg(feature = "kafka")]
fn listen_to_kafka(
    name: &str,
    kafka: &KafkaListenerSettings,
    daemon: &Daemon,
    now: vtp::Clock,
    sink: mpsc::Sender<vtp::Delivery>,
) -> Result<(), CliError> {
    use crate::settings::read_secret;
    use alidade_alerts::transport::kafka::{KafkaSettings, Tls, start};
    let id = kafka.client_id.clone().unwrap_or_default();
    let secret = kafka.secret_file.as_deref().map(read_secret).transpose();
    let secret = secret
        .map_err(|e| CliError::bad_input(e.to_string()))?
        .unwrap_or_default();
    let mut settings = KafkaSettings::gcn(kafka.group.clone(), kafka.topics.clone(), id, secret);
    settings.brokers.clone_from(&kafka.brokers);
    settings.heartbeat = Some(kafka.heartbeat.clone()).filter(|topic| !topic.is_empty());
    settings.silence = Duration::from_secs_f64(kafka.silence_s);
    settings.fetch_wait = Duration::from_millis(kafka.fetch_wait_ms.into());
    match (&kafka.client_id, &mut settings.login) {
        (Some(_), Some(login)) => login.token_url.clone_from(&kafka.token_url),
        _ => (settings.login, settings.tls) = (None, Tls::Off),
    }
    let link = watched(name, daemon);
    // The thread ends when nobody takes its messages any more, which is when the daemon ends.
    start(settings, now, sink, link).map_err(|e| CliError::bad_input(e.to_string()))?;
    Ok(())
}

#[cfg(not(feature = "kafka"))]
fn listen_to_kafka(
    name: &str,
    _: &KafkaListenerSettings,
    _: &Daemon,
    _: vtp::Clock,
    _: mpsc::Sender<vtp::Delivery>,
) -> Result<(), CliError> {
    Err(CliError::bad_input(format!(
        "alerts.listeners.{name}: built without Kafka"
    )))
}

/// A line that stays down for so long is an alarm.
const LONG_DOWN: Duration = Duration::from_secs(60);

/// Where a listener says how its line is. A line that is lost goes to the journal, once until it is back; one that stays
/// lost is an alarm, and its return is said as well.
fn watched(name: &str, daemon: &Daemon) -> watch::Sender<vtp::LinkState> {
    let (link, mut states) = watch::channel(vtp::LinkState::Connecting);
    let (recorder, what) = (daemon.recorder.clone(), format!("alert listener {name}"));
    tokio::task::spawn_local(async move {
        let (mut down_since, mut alarmed) = (None, false);
        loop {
            let long = down_since
                .map(|since: tokio::time::Instant| since + LONG_DOWN)
                .filter(|_| !alarmed);
            tokio::select! {
                biased;
                changed = states.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    match states.borrow_and_update().clone() {
                        vtp::LinkState::Up => {
                            if alarmed {
                                recorder.alarm(Severity::Info, format!("{what} hears again"));
                            }
                            (down_since, alarmed) = (None, false);
                        }
                        vtp::LinkState::Down { reason, .. } if down_since.is_none() => {
                            down_since = Some(tokio::time::Instant::now());
                            recorder.record(Fact::Degraded { what: what.clone(), cause: reason });
                        }
                        vtp::LinkState::Down { .. } | vtp::LinkState::Connecting => {}
                    }
                }
                () = tokio::time::sleep_until(long.unwrap_or_else(tokio::time::Instant::now)), if long.is_some() => {
                    alarmed = true;
                    recorder.alarm(Severity::Warning, format!("{what} has heard nothing for a minute"));
                }
            }
        }
    });
    link
}

/// Starts a broker of our own; where new packets are passed on.
fn start_broker(
    name: &str,
    daemon: &Settings,
    broker: &BrokerSettings,
    now: vtp::Clock,
    sink: mpsc::Sender<vtp::Delivery>,
) -> Result<vtp::Relay, CliError> {
    let list = |networks: &[String]| {
        let parsed: Result<Vec<Network>, _> = networks.iter().map(|text| text.parse()).collect();
        parsed
            .map(AllowList::new)
            .map_err(|e| CliError::bad_input(e.to_string()))
    };
    let bind = |address: std::net::SocketAddr| {
        let bad = |e: std::io::Error| CliError::bad_input(format!("alerts.listeners.{name}: {address}: {e}"));
        let listener = std::net::TcpListener::bind(address).map_err(bad)?;
        listener.set_nonblocking(true).map_err(bad)?;
        tokio::net::TcpListener::from_std(listener).map_err(bad)
    };
    let mut settings = vtp::BrokerSettings::new(format!("ivo://alidade/{}/{name}", daemon.site.name));
    (settings.authors, settings.subscribers) = (list(&broker.authors)?, list(&broker.subscribers)?);
    let relay = vtp::Relay::new(KEPT_FOR_SUBSCRIBERS);
    resume(name, daemon, broker, &relay)?;
    let serving = vtp::Broker::new(settings, now, relay.clone());
    let authors = bind(broker.receive)?;
    if let Some(address) = broker.broadcast {
        let (subscribers, serving) = (bind(address)?, serving.clone());
        tokio::task::spawn_local(async move { serving.accept_subscribers(subscribers).await });
        tokio::task::spawn_local(save_marks(marks_file(name, daemon), relay.clone()));
    }
    tokio::task::spawn_local(async move { serving.accept_authors(authors, sink).await });
    Ok(relay)
}

fn marks_file(name: &str, settings: &Settings) -> PathBuf {
    settings.storage.data_dir.join("brokers").join(format!("{name}.json"))
}

/// Begins with the packets that this broker has passed on before, and with how far its subscribers had come.
fn resume(name: &str, settings: &Settings, broker: &BrokerSettings, relay: &vtp::Relay) -> Result<(), CliError> {
    if broker.broadcast.is_none() {
        return Ok(());
    }
    let marks = std::fs::read(marks_file(name, settings)).ok();
    let marks = marks.and_then(|bytes| serde_json::from_slice::<BTreeMap<String, String>>(&bytes).ok());
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    let packets = Store::open(&settings.database.url, options)
        .and_then(|mut store| store.newest_packets(name, KEPT_FOR_SUBSCRIBERS))
        .map_err(|e| CliError::failed(e.to_string()))?;
    let packets = packets.iter().map(|packet| original_body(&packet.body)).collect();
    relay.restore(packets, marks.unwrap_or_default());
    Ok(())
}

/// Writes the marks down when they have changed; does not end.
async fn save_marks(file: PathBuf, relay: vtp::Relay) {
    let mut saved = relay.marks();
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    loop {
        looks.tick().await;
        let marks = relay.marks();
        if marks == saved {
            continue;
        }
        let (path, text) = (file.clone(), serde_json::to_vec(&marks));
        let written = tokio::task::spawn_blocking(move || write_marks(&path, text)).await;
        match written {
            Ok(Ok(())) => saved = marks,
            Ok(Err(error)) => tracing::error!(%error, "where the subscribers are is not saved"),
            Err(_) => return,
        }
    }
}

fn write_marks(path: &Path, text: serde_json::Result<Vec<u8>>) -> std::io::Result<()> {
    whole(path, &text?, false)
}

/// Starts the alert listeners; each packet is acknowledged once its record is committed.
pub fn listen(settings: &Settings, daemon: &Daemon, gathered: &Gathered) -> Result<(), CliError> {
    let limit = usize::try_from(settings.alerts.max_packet_bytes).unwrap_or(usize::MAX);
    let site = &settings.site.name;
    for (name, listener) in &settings.alerts.listeners {
        let (sink, deliveries) = mpsc::channel::<vtp::Delivery>(256);
        let now: vtp::Clock = Arc::new(crate::clock::utc_now);
        let mut relay = None;
        match listener {
            ListenerSettings::Folder { path, poll_s } => {
                let spool =
                    folder::Spool::open(path).map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())))?;
                let (every, link) = (Duration::from_secs_f64(*poll_s), watched(name, daemon));
                tokio::task::spawn_local(folder::watch(spool, every, limit, now, sink, link));
            }
            ListenerSettings::Vtp { host, port } => {
                let settings = vtp::SubscriberSettings::new(format!("ivo://alidade/{site}/{name}"));
                let link = watched(name, daemon);
                let (host, port) = (host.clone(), *port);
                tokio::task::spawn_local(async move {
                    let peer = format!("{host}:{port}");
                    let connect = || TcpStream::connect((host.clone(), port));
                    vtp::run(connect, &peer, &settings, &now, &sink, &link).await;
                });
            }
            ListenerSettings::Broker(broker) => relay = Some(start_broker(name, settings, broker, now, sink)?),
            ListenerSettings::Kafka(kafka) => listen_to_kafka(name, kafka, daemon, now, sink)?,
        }
        tokio::task::spawn_local(take(
            daemon.alerts.clone(),
            gathered.clone(),
            name.clone(),
            deliveries,
            relay,
        ));
    }
    Ok(())
}

/// Hands the packets of a listener to the alerts agent, in their order. Their answers wait for the journal each on its
/// own, so that many share one commit.
async fn take(
    alerts: actix::Addr<Alerts>,
    gathered: Gathered,
    channel: String,
    mut deliveries: mpsc::Receiver<vtp::Delivery>,
    relay: Option<vtp::Relay>,
) {
    while let Some(delivery) = deliveries.recv().await {
        let kept = relay.as_ref().map(|_| delivery.bytes.clone());
        let packet = Packet {
            channel: channel.clone(),
            body: delivery.bytes,
        };
        let Ok(verdict) = alerts.send(packet).await else { return };
        let (gathered, relay) = (gathered.clone(), relay.clone());
        tokio::task::spawn_local(async move {
            gathered.committed(verdict.seq).await;
            let answer = match verdict.verdict.as_str() {
                "reject" | "conflict" => vtp::Answer::Refused(verdict.reason),
                _ => vtp::Answer::Taken,
            };
            if let (Some(relay), Some(packet), "act" | "ignore") = (relay, kept, verdict.verdict.as_str()) {
                relay.publish(&packet);
            }
            // A sender that has gone away sends again.
            drop(delivery.answer.send(answer));
        });
    }
}
