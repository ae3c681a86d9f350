//! The daemon of the telescope host: live clock, signals, service supervisor, listeners, gateways.

use super::{
    Daemon, Surroundings, abort,
    alarms::{AlarmDesk, escalate},
    before, commands,
    counter::Counter,
    delivery,
    hearing::{self, Hearing},
    host::Host,
    journal::{Gathered, Outlets, commit},
    listeners,
    narrator::Narrator,
    outbox,
    panorama::{self, Chronicle},
    people,
    report::{self, Gatherer},
    resident,
};
use crate::{
    clock::SystemClock,
    error::CliError,
    gateway::{
        alerts::{AlertBoard, PastPackets},
        http, mqtt,
        records::Records,
        snapshot::{Mode, Snapshot},
    },
    log,
    settings::{DeviceKind, Link, Settings, read_secret},
    simulate::{connect, night::polite, plan, survey::Survey},
    store::{Durability, OpenOptions, Store},
};
use alidade_alerts::{
    agent::ChangeStrategies,
    strategy::{Strategy, load_folder},
};
use alidade_analysis::astrometry::{Index, SkyStars};
use alidade_drivers::transport::{SerialConnector, SharedConnector, TcpConnector, UnixConnector};
use alidade_majordome::agent::release_interrupted;
use alidade_model::{
    clock::Clock,
    exposure::ExposureOutcome,
    journal::{Fact, Recorder, Severity},
    time::Night,
};
use alidade_simulations::{observatory::Observatory, sky, weather::Table};
use std::{
    cell::{Cell, RefCell},
    os::unix::net::UnixDatagram,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc, watch},
    task::LocalSet,
};

/// Runs until a signal; 0 after an orderly stop.
pub fn run(config: &Path) -> Result<u8, CliError> {
    log::follow()?;
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
pub(super) struct Supervisor(Option<Rc<Line>>);

struct Line {
    socket: UnixDatagram,
    address: String,
    /// The last word was not taken: said once.
    unheard: Cell<bool>,
}

impl Supervisor {
    pub(super) fn from_environment() -> Self {
        let address = std::env::var("NOTIFY_SOCKET")
            .ok()
            .filter(|address| !address.is_empty());
        // A supervisor that hangs must not make us hang: what it does not take at once is not said.
        let socket = UnixDatagram::unbound().ok().filter(|s| s.set_nonblocking(true).is_ok());
        Self(address.zip(socket).map(|(address, socket)| {
            Rc::new(Line {
                socket,
                address,
                unheard: Cell::new(false),
            })
        }))
    }

    pub(super) fn tell(&self, state: &str) {
        let Some(line) = &self.0 else { return };
        let Line { socket, address, .. } = &**line;
        let sent = match address.strip_prefix('@') {
            None => socket.send_to(state.as_bytes(), address).map(drop),
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)
                    .and_then(|to| socket.send_to_addr(state.as_bytes(), &to))
                    .map(drop)
            }
        };
        let before = line.unheard.replace(sent.is_err());
        match sent {
            Err(error) if !before => tracing::warn!(%error, "service supervisor not reached"),
            Ok(()) if before => tracing::info!("service supervisor reached again"),
            _ => {}
        }
    }
}

async fn live(settings: Settings) -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::failed(e.to_string());
    let door = match settings.http.enabled {
        true => Some(http::Door::open(settings.http.listen).map_err(|e| CliError::bad_input(e.to_string()))?),
        false => None,
    };
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
    let packets = before::packets(&mut store, &settings, clock.now()).map_err(|e| failed(&e))?;
    let records = super::strategies::records_before(&mut store, &restored.book, clock.now()).map_err(|e| failed(&e))?;
    let safety = before::safety(&mut store, clock.now()).map_err(|e| failed(&e))?;
    let calibrated = before::calibrated(&mut store, &settings, night).map_err(|e| failed(&e))?;
    let (lines, _) = broadcast::channel(4096);
    let desk = AlarmDesk::resumed(&mut store, clock.now()).map_err(|e| failed(&e))?;
    let (gathered, gatherer, chronicle) = (Gathered::default(), Gatherer::default(), Chronicle::default());
    chronicle.resume(records);
    let strategies = match settings.alerts.strategies {
        Some(_) => strategies,
        None => chronicle.with_changes(strategies),
    };
    let counter = Counter::behind(&restored);
    let hears = Hearing::new(&settings.alerts.expect_every_s, clock.now());
    let recorder = Recorder::new(
        clock.clone(),
        restored.last_seq,
        vec![
            Box::new(gathered.clone()),
            Box::new(gatherer.clone()),
            Box::new(chronicle.clone()),
            Box::new(desk.clone()),
            Box::new(counter.clone()),
            Box::new(hears.clone()),
            Box::new(Narrator),
        ],
    );
    let offload = polite();
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
    let mut devices = connect::devices(&settings, &clock, |name, kind, channel| {
        way(&settings, &observatory, name, kind, channel)
    })
    .ok_or_else(|| {
        CliError::bad_input("the configuration needs a plc or an enclosure, a mount and a camera for every channel")
    })?;
    devices.stations.push(Host::watch(&settings, clock.clone(), polite()));
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
    let (moved, moves) = mpsc::unbounded_channel();
    let (station, intake, data_desk) = delivery(&settings, Some(moved))?;
    tokio::task::spawn_local(delivery::keep_moves(moves, recorder.clone(), gathered.clone()));
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
            planets: minor_planets(&settings)?,
            station: Some(intake),
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
            offload: polite(),
            reporter: outbox::reporter(&settings),
            durable: true,
        },
    ));
    let (calls, mut commands) = mpsc::channel(64);
    let token = settings.http.token_file.as_deref().map(read_secret).transpose();
    let token = token.map_err(|e| CliError::bad_input(e.to_string()))?;
    // Kept to the end of the daemon: it drives the runs.
    let driven = super::packages::open(&data_dir, &settings.database.url, &settings.storage.package_executors);
    let driven = driven.map_err(|cause| tracing::warn!(%cause, "no packages")).ok();
    let _http = if let Some(door) = &door {
        let records = Records::open(&settings.database.url).map_err(|e| CliError::bad_input(e.to_string()))?;
        let records = Arc::new(records);
        let ports = http::HttpPorts {
            snapshot: snapshots.clone(),
            journal: lines.clone(),
            commands: calls,
            data_dir,
            journal_page: Some(http::journal_of(records.clone())),
            product_path: None,
            packages: driven.as_ref().map(|driven| driven.desks.clone()),
            alerts: Some(http::AlertDesk {
                board: boards,
                packets: past_packets(&settings),
            }),
            people: Some(people::open(&settings)?),
            records: Some(records),
            pipelines: Some(super::pipelines::conduct(&settings)),
            data: Some(data_desk),
            settings: Some(Arc::new(settings.clone())),
            token,
            at_the_machine: settings.accounts.at_the_machine,
            https: settings.http.https,
        };
        let server = http::serve_at(door, ports).map_err(|e| CliError::bad_input(e.to_string()))?;
        tracing::info!("dashboard on http://{}", server.addr);
        Some(server)
    } else {
        None
    };
    let _mqtt = if settings.mqtt.enabled {
        Some(feed(&settings, snapshots, &lines)?)
    } else {
        None
    };
    listeners::listen(&settings, &daemon, &gathered)?;
    tokio::task::spawn_local(hearing::watch(hears, recorder.clone()));
    resident::rehearse_alert(&settings, &strategies, SystemClock.now());
    // Not vital: in a container without the permission an alert after a quiet day is some tens of milliseconds later.
    if let Err(cause) = resident::keep_program() {
        tracing::warn!(%cause, "the program may be paged out: raise the limit of locked memory (LimitMEMLOCK, ulimit -l)");
    }
    follow_strategies(&settings, &daemon, strategies);
    tokio::task::spawn_local(escalate(desk, settings.clone(), recorder.clone(), offload));
    supervisor.tell("READY=1");

    let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed(&e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed(&e))?;
    let show = async {
        let mut generation = None;
        loop {
            counter.cry(&daemon.recorder);
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
    drop(station);
    match end {
        Ok(cause) => shut_down(&daemon, &gathered, cause).await,
        Err(cause) => Err(CliError::failed(format!("journal: {cause}"))),
    }
}

/// The delivery's station, what hands it the night's products, and what the pages about the data are made of. Moves of
/// units go to the observatory's journal by `moved`, where it keeps wall time.
pub(crate) fn delivery(
    settings: &Settings,
    moved: Option<mpsc::UnboundedSender<delivery::Moved>>,
) -> Result<(delivery::Running, alidade_delivery::agent::Intake, http::DataDesk), CliError> {
    let file = crate::cli::data::of_settings(settings)?;
    let mut opened = delivery::Opened::open(file, &settings.storage.data_dir, Durability::Durable)?;
    opened.station.journal = moved.is_some();
    let running = delivery::run(&opened, moved)?;
    let intake = delivery::intake(&opened)?;
    let books = opened.clone();
    let desk = http::DataDesk {
        station: opened.station.clone(),
        ledger: Arc::new(move || books.ledger().map_err(|e| e.to_string())),
        reviewers: opened.file.reviewers.clone(),
    };
    Ok((running, intake, desk))
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

/// Longest time that coming to rest may take: the supervisor kills after three minutes.
const REST_S: f64 = 165.0;

/// Aborts, parks, closes, and ends when that is measured.
async fn shut_down(daemon: &Daemon, gathered: &Gathered, cause: &str) -> Result<(), CliError> {
    let left = abort::end(daemon, cause, REST_S).await;
    if !left.is_nothing() {
        let text = format!("stopped, and not at rest: {}", left.told());
        daemon.recorder.alarm(Severity::Critical, text);
    }
    let seq = daemon.recorder.record(Fact::Stopped { cause: cause.into() });
    drop(tokio::time::timeout(Duration::from_secs(5), gathered.committed(seq)).await);
    match left.enclosure {
        None => Ok(()),
        Some(state) => Err(CliError::failed(format!("not closed: {state}"))),
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

/// Elements of the minor planets that are to be told from news.
pub(crate) fn minor_planets(settings: &Settings) -> Result<Vec<alidade_analysis::minor_planets::Elements>, CliError> {
    let Some(path) = &settings.storage.minor_planets else {
        return Ok(Vec::new());
    };
    let wrong = |cause: String| CliError::bad_input(format!("{}: {cause}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    alidade_analysis::minor_planets::read(&text).map_err(wrong)
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
