//! The daemon of the telescope host: live clock, signals, service supervisor, listeners, gateways.

use super::{
    Daemon, Surroundings,
    alarms::{AlarmDesk, escalate},
    commands,
    journal::{Gathered, Outlets, commit},
    outbox,
    panorama::{self, Chronicle},
    report::{self, Gatherer},
};
use crate::{
    clock::SystemClock,
    error::CliError,
    gateway::{
        alerts::{AlertBoard, PastPackets},
        http, mqtt,
        snapshot::{Mode, Snapshot},
    },
    settings::{BrokerSettings, DeviceKind, KafkaListenerSettings, Link, ListenerSettings, Settings, read_secret},
    simulate::{connect, night::blocking, plan, survey::Survey},
    store::{Durability, OpenOptions, Store},
};
use alidade_alerts::{
    agent::{Alerts, ChangeStrategies, Packet},
    strategy::{Strategy, load_folder},
    transport::{
        folder,
        networks::{AllowList, Network},
        vtp,
    },
};
use alidade_analysis::astrometry::{Index, SkyStars};
use alidade_drivers::transport::{SerialConnector, SharedConnector, TcpConnector, UnixConnector};
use alidade_majordome::agent::release_interrupted;
use alidade_model::{
    clock::Clock,
    exposure::ExposureOutcome,
    invariants::{Checker, Limits},
    journal::{Entry, Fact, Recorder, Severity, Sink},
    time::Night,
};
use alidade_simulations::{observatory::Observatory, sky, weather::Table};
use std::{
    cell::RefCell,
    os::unix::net::UnixDatagram,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc, watch},
    task::LocalSet,
};

/// Runs until a signal; 0 after an orderly stop.
pub fn run(config: &Path) -> Result<u8, CliError> {
    let settings = Settings::load(config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(e.to_string()))?;
    let set = LocalSet::new();
    let outcome = set.block_on(&runtime, live(settings));
    drop(set);
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome.map(|()| 0)
}

/// The service supervisor, when there is one (sd_notify(3): datagrams to the socket named by NOTIFY_SOCKET).
#[derive(Clone)]
pub(super) struct Supervisor(Option<Rc<(UnixDatagram, String)>>);

impl Supervisor {
    pub(super) fn from_environment() -> Self {
        let address = std::env::var("NOTIFY_SOCKET")
            .ok()
            .filter(|address| !address.is_empty());
        let socket = UnixDatagram::unbound().ok();
        Self(address.zip(socket).map(|(address, socket)| Rc::new((socket, address))))
    }

    pub(super) fn tell(&self, state: &str) {
        let Some(inner) = &self.0 else { return };
        let (socket, address) = &**inner;
        let sent = match address.strip_prefix('@') {
            None => socket.send_to(state.as_bytes(), address).map(drop),
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)
                    .and_then(|to| socket.send_to_addr(state.as_bytes(), &to))
                    .map(drop)
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "service supervisor not reached");
        }
    }
}

/// Counts broken invariants of the journal in production; the next turn raises the alarm.
#[derive(Clone)]
struct Counter(Rc<RefCell<(Checker, Vec<String>)>>);

impl Sink for Counter {
    fn append(&mut self, entry: &Entry) {
        let mut inner = self.0.borrow_mut();
        if let Err(broken) = inner.0.entry(entry) {
            inner.1.push(broken.to_string());
        }
    }
}

async fn live(settings: Settings) -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::failed(e.to_string());
    if settings.http.enabled {
        http::probe(settings.http.listen).map_err(|e| CliError::bad_input(e.to_string()))?;
    }
    let supervisor = Supervisor::from_environment();
    let clock: Rc<dyn Clock> = Rc::new(SystemClock);
    let strategies = plan::strategies(settings.alerts.strategies.as_deref())?;
    let data_dir = settings.storage.data_dir.clone();
    std::fs::create_dir_all(&data_dir).map_err(|e| CliError::bad_input(format!("{}: {e}", data_dir.display())))?;
    if let Some(folder) = settings
        .database
        .url
        .strip_prefix("sqlite://")
        .and_then(|path| Path::new(path).parent())
    {
        std::fs::create_dir_all(folder).map_err(|e| CliError::bad_input(format!("{}: {e}", folder.display())))?;
    }
    let mut store = Store::open(
        &settings.database.url,
        OpenOptions {
            migrate: true,
            durability: Durability::Durable,
        },
    )
    .map_err(|e| CliError::bad_input(e.to_string()))?;
    let restored = store.restore().map_err(|e| failed(&e))?;
    let night = Night::containing(clock.now(), settings.site.longitude_deg);
    let packets = super::stored_packets(&mut store, &settings, clock.now()).map_err(|e| failed(&e))?;
    let records = super::strategies::records_before(&mut store, &restored.book, clock.now()).map_err(|e| failed(&e))?;
    let safety = super::safety_before(&mut store, clock.now()).map_err(|e| failed(&e))?;
    let calibrated = super::calibrated(&mut store, &settings, night).map_err(|e| failed(&e))?;
    let (lines, _) = broadcast::channel(4096);
    let (gathered, gatherer, chronicle) = (Gathered::default(), Gatherer::default(), Chronicle::default());
    chronicle.resume(records);
    let strategies = match settings.alerts.strategies {
        Some(_) => strategies,
        None => chronicle.with_changes(strategies),
    };
    let desk = AlarmDesk::default();
    let counter = Counter(Rc::new(RefCell::new((Checker::new(Limits::default()), Vec::new()))));
    let recorder = Recorder::new(
        clock.clone(),
        restored.last_seq,
        vec![
            Box::new(gathered.clone()),
            Box::new(gatherer.clone()),
            Box::new(chronicle.clone()),
            Box::new(desk.clone()),
            Box::new(counter.clone()),
        ],
    );
    let offload = blocking();
    let outlets = Outlets {
        file: None,
        lines: lines.clone(),
    };
    let mut journal = tokio::task::spawn_local(commit(
        gathered.clone(),
        Arc::new(Mutex::new(store)),
        offload.clone(),
        outlets,
    ));
    recorder.record(Fact::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        site: settings.site.name.clone(),
        unit: settings.unit.name.clone(),
        boot: restored.boots + 1,
    });
    for exposure in &restored.open_exposures {
        let outcome = ExposureOutcome::Failed {
            cause: "the daemon was restarted".into(),
        };
        recorder.record(Fact::ExposureEnded {
            exposure: exposure.id.clone(),
            outcome,
        });
    }
    let book = Rc::new(RefCell::new(restored.book));
    release_interrupted(&book, &recorder).map_err(|e| failed(&e))?;
    super::grant_quotas(&settings, &book, &recorder).map_err(|e| failed(&e))?;
    let observatory = simulated(&settings, &clock)?;
    let devices = connect::devices(&settings, &clock, |name, kind, channel| {
        way(&settings, &observatory, name, kind, channel)
    })
    .ok_or_else(|| CliError::bad_input("the configuration needs a plc, a mount and a camera for every channel"))?;
    let stroke = {
        let supervisor = supervisor.clone();
        Rc::new(move || supervisor.tell("WATCHDOG=1")) as Rc<dyn Fn()>
    };
    let report = {
        let (gatherer, book, recorder, data_dir) = (gatherer, book.clone(), recorder.clone(), data_dir.clone());
        let site = settings.site.title.clone();
        Rc::new(move |night: Night| {
            let facts = gatherer.facts(&book.borrow());
            let text = report::markdown(&night.to_string(), &site, &facts, &book.borrow());
            let relative = format!("{night}/report.md");
            let path = data_dir.join(&relative);
            let written = path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, text));
            let fact = match written {
                Ok(()) => Fact::NightReported { night, path: relative },
                Err(error) => Fact::Degraded {
                    what: "night report".into(),
                    cause: error.to_string(),
                },
            };
            recorder.record(fact);
        }) as Rc<dyn Fn(Night)>
    };
    let daemon = super::start(
        &settings,
        Surroundings {
            recorder: recorder.clone(),
            offload: offload.clone(),
            book,
            devices,
            data_dir: data_dir.clone(),
            alarms: desk.clone(),
            strategies: strategies.clone(),
            strategy_folder: settings.alerts.strategies.clone(),
            packets,
            safety,
            calibrated,
            stroke,
            report,
            analyse: true,
            sky: catalogue(&settings, observatory.is_some())?,
        },
    );
    let mode = if observatory.is_some() {
        Mode::Simulated { pace: 1.0 }
    } else {
        Mode::Live
    };
    let identity = panorama::identity(&settings, mode, restored.boots + 1);
    let first = panorama::snapshot(&daemon, &settings, &identity, &chronicle);
    let (snapshot, snapshots) = watch::channel(Arc::new(first));
    let (board, boards) = watch::channel(Arc::new(AlertBoard::default()));
    tokio::task::spawn_local(outbox::keep(
        chronicle.clone(),
        recorder.clone(),
        outbox::Outbox {
            data_dir: data_dir.clone(),
            offload: blocking(),
            reporter: outbox::reporter(&settings),
            durable: true,
        },
    ));
    let (calls, mut commands) = mpsc::channel(64);
    let token = settings.http.token_file.as_deref().map(read_secret).transpose();
    let token = token.map_err(|e| CliError::bad_input(e.to_string()))?;
    // Kept to the end of the daemon: it drives the runs.
    let driven = super::packages::open(&data_dir, &settings.database.url);
    let driven = driven.map_err(|cause| eprintln!("no packages: {cause}")).ok();
    let _http = if settings.http.enabled {
        let ports = http::HttpPorts {
            snapshot: snapshots.clone(),
            journal: lines.clone(),
            commands: calls,
            data_dir,
            journal_page: None,
            product_path: None,
            packages: driven.as_ref().map(|driven| driven.desks.clone()),
            alerts: Some(http::AlertDesk {
                board: boards,
                packets: past_packets(&settings),
            }),
            token,
        };
        let server = http::serve(settings.http.listen, ports).map_err(|e| CliError::bad_input(e.to_string()))?;
        eprintln!("dashboard on http://{}", server.addr);
        Some(server)
    } else {
        None
    };
    let _mqtt = if settings.mqtt.enabled {
        Some(feed(&settings, snapshots, &lines)?)
    } else {
        None
    };
    listen(&settings, &daemon, &gathered)?;
    follow_strategies(&settings, &daemon, strategies);
    tokio::task::spawn_local(escalate(desk, settings.clone(), recorder.clone(), offload));
    supervisor.tell("READY=1");

    let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed(&e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed(&e))?;
    let show = async {
        let mut generation = None;
        loop {
            for broken in std::mem::take(&mut counter.0.borrow_mut().1) {
                daemon
                    .recorder
                    .alarm(Severity::Critical, format!("invariant broken: {broken}"));
            }
            let view = panorama::snapshot(&daemon, &settings, &identity, &chronicle);
            supervisor.tell(&format!("STATUS={}: {}", view.sentence.doing, view.sentence.why));
            snapshot.send_replace(Arc::new(view));
            if let Some(changed) = chronicle.board(&daemon, &settings, &mut generation) {
                board.send_replace(Arc::new(changed));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let obey = async {
        commands::serve(&daemon, &gathered, &settings, &mut commands).await;
        std::future::pending::<()>().await
    };
    let end = tokio::select! {
        biased;
        _ = terminate.recv() => Ok("terminated"),
        _ = interrupt.recv() => Ok("interrupted"),
        fault = &mut journal => Err(fault.map_or_else(|e| e.to_string(), |f| f.to_string())),
        () = show => Err("unreachable".to_owned()),
        () = obey => Err("unreachable".to_owned()),
    };
    supervisor.tell("STOPPING=1");
    match end {
        Ok(cause) => shut_down(&daemon, &gathered, cause).await,
        Err(cause) => Err(CliError::failed(format!("journal: {cause}"))),
    }
}

/// Reads packets over a connection of its own: a long look back must not hold up the journal.
fn past_packets(settings: &Settings) -> PastPackets {
    let url = settings.database.url.clone();
    Arc::new(move |from| {
        let options = OpenOptions {
            migrate: false,
            durability: Durability::Relaxed,
        };
        let mut store = Store::open(&url, options).map_err(|e| e.to_string())?;
        super::strategies::packets_from(&mut store, from).map_err(|e| e.to_string())
    })
}

/// Latch, so that safety closes; wait until it is measured closed, at most three minutes.
async fn shut_down(daemon: &Daemon, gathered: &Gathered, cause: &str) -> Result<(), CliError> {
    let latch = alidade_safety::messages::Latch {
        who: alidade_safety::agent::SHUTDOWN.into(),
        cause: cause.into(),
    };
    // A safety agent that is gone cannot be told; the controller's dead-man closes then.
    let _ = daemon.safety.send(latch).await;
    let closed = async {
        let mut status = daemon.devices.plc.enclosure_status();
        loop {
            let state = status.borrow_and_update().value;
            if state.is_ok_and(|s| s.state == alidade_model::states::EnclosureState::Closed) {
                return;
            }
            drop(tokio::time::timeout(Duration::from_secs(1), status.changed()).await);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(180), closed).await.is_ok();
    if !in_time {
        daemon.recorder.alarm(
            Severity::Critical,
            "stopped without the enclosure being measured closed",
        );
    }
    let seq = daemon.recorder.record(Fact::Stopped { cause: cause.into() });
    drop(tokio::time::timeout(Duration::from_secs(5), gathered.committed(seq)).await);
    if in_time {
        Ok(())
    } else {
        Err(CliError::failed("the enclosure did not close"))
    }
}

/// The stars that the analysis knows: those of the index, or of the simulated sky.
fn catalogue(settings: &Settings, simulated: bool) -> Result<Option<Arc<dyn SkyStars>>, CliError> {
    match &settings.storage.catalogue {
        Some(path) => Ok(Some(Arc::new(Index::open(path).map_err(CliError::bad_input)?))),
        None if simulated => Ok(Some(Arc::new(Survey::new(sky::Catalogue::default())))),
        None => Ok(None),
    }
}

/// Built-in simulators, when any device is configured as simulated.
fn simulated(settings: &Settings, clock: &Rc<dyn Clock>) -> Result<Option<Rc<Observatory>>, CliError> {
    if !settings.devices.values().any(|device| device.link == Link::Simulated) {
        return Ok(None);
    }
    let weather = Table::calm(clock.now());
    let field =
        sky::StarField::new(&plan::channel_views(settings), Vec::new(), Path::new("")).map_err(CliError::bad_input)?;
    let hardware = plan::hardware(settings, Default::default(), Default::default());
    Ok(Some(Observatory::new(
        hardware,
        clock.clone(),
        Box::new(weather),
        Box::new(field),
        1,
    )))
}

fn way(
    settings: &Settings,
    observatory: &Option<Rc<Observatory>>,
    name: &str,
    kind: DeviceKind,
    channel: Option<&str>,
) -> Option<SharedConnector> {
    if settings.guard.enabled && kind == DeviceKind::Plc {
        // The guard owns the line; it speaks the controller's dialect.
        return Some(Rc::new(UnixConnector {
            path: settings.guard.socket.clone(),
        }));
    }
    Some(match &settings.devices.get(name)?.link {
        Link::Tcp { host, port } => Rc::new(TcpConnector {
            host: host.clone(),
            port: *port,
        }),
        Link::Serial { path, baud } => Rc::new(SerialConnector {
            path: path.clone(),
            baud: *baud,
        }),
        Link::Simulated => observatory.as_ref()?.connector(&connect::simulated_name(kind, channel)),
    })
}

fn feed(
    settings: &Settings,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    lines: &broadcast::Sender<Arc<str>>,
) -> Result<mqtt::MqttHandle, CliError> {
    let mqtt = &settings.mqtt;
    let password = mqtt
        .password_file
        .as_deref()
        .map(read_secret)
        .transpose()
        .map_err(|e| CliError::bad_input(e.to_string()))?;
    let link = mqtt::MqttLink {
        host: mqtt.host.clone(),
        port: mqtt.port,
        username: mqtt.username.clone(),
        password,
        keep_alive: Duration::from_secs(mqtt.keep_alive_s),
    };
    let ports = mqtt::MqttPorts {
        snapshot: snapshots,
        journal: lines.clone(),
    };
    mqtt::start(link, ports).map_err(|e| CliError::failed(format!("mqtt: {e}")))
}

/// A Kafka cluster on its own thread; its line's state goes to the journal when it is lost.
#[cfg(feature = "kafka")]
fn listen_to_kafka(
    name: &str,
    kafka: &KafkaListenerSettings,
    daemon: &Daemon,
    now: vtp::Clock,
    sink: mpsc::Sender<vtp::Delivery>,
) -> Result<(), CliError> {
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

/// Looks at the strategy files every two seconds. A change is taken when every file is sound; a fault is said once and
/// what was valid before stays.
fn follow_strategies(settings: &Settings, daemon: &Daemon, mut current: Vec<Strategy>) {
    // The strategies that the daemon carries do not change.
    let Some(folder) = settings.alerts.strategies.clone() else {
        return;
    };
    let (alerts, recorder) = (daemon.alerts.clone(), daemon.recorder.clone());
    tokio::task::spawn_local(async move {
        let mut looks = tokio::time::interval(Duration::from_secs(2));
        let mut said = None;
        loop {
            looks.tick().await;
            let place = folder.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || load_folder(&place)).await else {
                return;
            };
            match read {
                Ok(found) => {
                    said = None;
                    if found != current {
                        current.clone_from(&found);
                        if alerts
                            .send(ChangeStrategies {
                                strategies: found,
                                who: "files".into(),
                            })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let text = format!("strategies unchanged: {error}");
                    if said.as_ref() != Some(&text) {
                        recorder.alarm(Severity::Warning, text.clone());
                        said = Some(text);
                    }
                }
            }
        }
    });
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
    site: &str,
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
    let mut settings = vtp::BrokerSettings::new(format!("ivo://alidade/{site}/{name}"));
    (settings.authors, settings.subscribers) = (list(&broker.authors)?, list(&broker.subscribers)?);
    let relay = vtp::Relay::new(4096);
    let serving = vtp::Broker::new(settings, now, relay.clone());
    let authors = bind(broker.receive)?;
    if let Some(address) = broker.broadcast {
        let (subscribers, serving) = (bind(address)?, serving.clone());
        tokio::task::spawn_local(async move { serving.accept_subscribers(subscribers).await });
    }
    tokio::task::spawn_local(async move { serving.accept_authors(authors, sink).await });
    Ok(relay)
}

/// Starts the alert listeners; each packet is acknowledged once its record is committed.
fn listen(settings: &Settings, daemon: &Daemon, gathered: &Gathered) -> Result<(), CliError> {
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
                tokio::task::spawn_local(folder::watch(spool, Duration::from_secs_f64(*poll_s), limit, now, sink));
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
            ListenerSettings::Broker(broker) => relay = Some(start_broker(name, site, broker, now, sink)?),
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
