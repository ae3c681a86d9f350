//! One night: the daemon lives in a `LocalSet` of its own, the hardware and the judge outside of it. A kill drops that
//! set as `kill -9` drops a process, and a new daemon starts on what the store has kept.

use super::{
    connect,
    judge::Judge,
    offices::Offices,
    pace::{self, Pace},
    plan::NightPlan,
};
use crate::{
    clock::{SteppedClock, TokioClock},
    daemon::{
        self, Daemon, Surroundings,
        alarms::AlarmDesk,
        commands,
        host::Host,
        journal::{Gathered, JournalFault, Outlets, commit},
        panorama::{self, Chronicle},
        report::{self, Gatherer, NightFacts},
    },
    error::CliError,
    gateway::{
        alerts::{AlertBoard, PastPackets},
        command::CommandCall,
        http,
        records::Records,
        snapshot::{Mode, Snapshot},
    },
    log,
    store::{Durability, OpenOptions, Store},
};
use alidade_accounts::Role;
use alidade_alerts::{agent::Packet, record::AlertRecords};
use alidade_analysis::astrometry::SkyStars;
use alidade_majordome::agent::release_interrupted;
use alidade_model::{
    clock::Clock,
    exposure::ExposureOutcome,
    invariants::Broken,
    journal::{Fact, Recorder},
    offload::Offload,
    time::{Night, UtcTime},
};
use alidade_safety::agent::Before;
use alidade_simulations::{
    faults::FaultKind, observatory::Observatory, scenario::ArrivingPacket, sky, world::Renderer,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io::{IsTerminal, Write},
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::LocalSet,
};

/// The dashboard of a running simulation.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    pub door: &'a http::Door,
    /// People log in; without it whoever is at the machine is an operator.
    pub accounts: bool,
}

/// What came of a night.
pub struct NightOutcome {
    pub facts: NightFacts,
    pub broken: Option<Broken>,
    pub tail: Vec<String>,
    /// Somebody ended it before its time.
    pub interrupted: bool,
}

/// Runs one night to its end.
pub fn run(
    plan: NightPlan,
    pace: Pace,
    serving: Option<Serving<'_>>,
    talkative: bool,
) -> Result<NightOutcome, CliError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // At full speed nothing comes from outside, and to ask the kernel whether it does costs more than most instants do.
    match pace {
        Pace::Max => builder.enable_time(),
        Pace::Times(_) => builder.enable_all(),
    };
    let runtime = builder
        .start_paused(true)
        .build()
        .map_err(|e| CliError::failed(format!("cannot start: {e}")))?;
    let set = LocalSet::new();
    let outcome = set.block_on(&runtime, night(plan, pace, serving, talkative));
    drop(set);
    // A pacer's sleeping thread may still be waiting; it must not hold the process.
    runtime.shutdown_background();
    outcome
}

/// A simulated night's database may be in memory: there is only this connection to it.
fn past_packets(store: Arc<Mutex<Store>>) -> PastPackets {
    Arc::new(move |from| {
        let mut store = store.lock().map_err(|_| "the store is gone".to_owned())?;
        daemon::strategies::packets_from(&mut store, from).map_err(|e| e.to_string())
    })
}

/// Everything that outlives a daemon.
struct Stage {
    plan: NightPlan,
    pace: Pace,
    clock: Rc<dyn Clock>,
    /// The clock of the daemon's computer, which a fault may set wrong.
    computer: Rc<dyn Clock>,
    ways: connect::Ways,
    store: Arc<Mutex<Store>>,
    gathered: Gathered,
    judge: Judge,
    gatherer: Gatherer,
    chronicle: Chronicle,
    alarms: AlarmDesk,
    offload: Offload,
    packets: RefCell<VecDeque<ArrivingPacket>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    board: watch::Sender<Arc<AlertBoard>>,
    /// Kept to the end of the night: it drives packages and the life of the data.
    offices: Option<Offices>,
    night: Night,
}

/// Why a daemon ended.
enum End {
    NightOver,
    Killed { restart_s: f64 },
    Broken,
    Interrupted,
}

async fn night(
    plan: NightPlan,
    pace: Pace,
    serving: Option<Serving<'_>>,
    talkative: bool,
) -> Result<NightOutcome, CliError> {
    let clock: Rc<dyn Clock> = Rc::new(TokioClock::starting_at(plan.scenario.start));
    let store = Store::open(
        &plan.database,
        OpenOptions {
            migrate: true,
            durability: Durability::Relaxed,
        },
    )
    .map_err(|e| CliError::bad_input(e.to_string()))?;
    let renderer: Box<dyn Renderer> = if plan.pixels {
        let stars = plan.scenario.folder.join("stars.csv");
        Box::new(
            sky::StarField::new(&plan.channel_views(), plan.scenario.transients.clone(), &stars)
                .map_err(CliError::bad_input)?,
        )
    } else {
        Box::new(sky::NoPixels)
    };
    let observatory = Observatory::new(
        plan.hardware.clone(),
        clock.clone(),
        Box::new(plan.weather.clone()),
        renderer,
        plan.seed,
    );
    for fault in &plan.faults {
        observatory.inject(fault.clone());
    }
    if let Pace::Times(factor) = pace {
        tokio::task::spawn_local(pace::run(factor));
    }
    let ways = connect::ways(&observatory, pace)
        .await
        .map_err(|e| CliError::failed(format!("simulated devices: {e}")))?;
    let (lines, _) = broadcast::channel(4096);
    let outlets = match &plan.out {
        None => Outlets {
            file: None,
            lines: lines.clone(),
        },
        Some(out) => {
            let path = out.join("journal.ndjson");
            if path.exists() && plan.database == "sqlite::memory:" {
                std::fs::remove_file(&path).map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())))?;
            }
            Outlets::to_file(&path, lines.clone())
                .map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())))?
        }
    };
    let offload = match pace {
        Pace::Max => Offload::inline(),
        Pace::Times(_) => blocking(),
    };
    let judge = Judge::new(&plan.settings, observatory.clone());
    let identity = panorama::identity(&plan.settings, mode(pace), 0);
    let unknown = Snapshot::unknown(plan.scenario.start, identity.site, &identity.unit, &identity.boot_id);
    let (snapshot, snapshots) = watch::channel(Arc::new(unknown));
    let (board, boards) = watch::channel(Arc::new(AlertBoard::default()));
    let store = Arc::new(Mutex::new(store));
    let (calls, mut commands) = mpsc::channel(64);
    let offices = match serving {
        Some(Serving { door, accounts: true }) => Some(Offices::open(&plan, door.addr)?),
        _ => None,
    };
    let _server = match serving {
        None => None,
        Some(Serving { door, .. }) => {
            let ports = http::HttpPorts {
                snapshot: snapshots,
                journal: lines.clone(),
                commands: calls,
                data_dir: plan.data_dir(),
                journal_page: None,
                product_path: None,
                packages: None,
                alerts: Some(http::AlertDesk {
                    board: boards,
                    packets: past_packets(store.clone()),
                }),
                people: None,
                records: Some(Arc::new(Records::sharing(store.clone()))),
                pipelines: None,
                data: None,
                settings: Some(Arc::new(plan.settings.clone())),
                token: None,
                at_the_machine: Role::Operator,
                https: false,
            };
            let ports = match &offices {
                Some(offices) => offices.furnish(ports),
                None => ports,
            };
            let server = http::serve_at(door, ports).map_err(|e| CliError::bad_input(e.to_string()))?;
            log::say(format_args!("dashboard on http://{}", server.addr));
            Some(server)
        }
    };
    let stage = Rc::new(Stage {
        night: Night::containing(plan.scenario.start, plan.settings.site.longitude_deg),
        packets: RefCell::new(plan.packets.iter().cloned().collect()),
        store,
        gathered: Gathered::default(),
        gatherer: Gatherer::default(),
        chronicle: Chronicle::default(),
        alarms: AlarmDesk::default(),
        computer: computer(&plan, clock.clone()),
        plan,
        pace,
        clock,
        ways,
        judge,
        offload,
        snapshot,
        board,
        offices,
    });
    let journal = tokio::task::spawn_local(commit(
        stage.gathered.clone(),
        stage.store.clone(),
        stage.offload.clone(),
        outlets,
    ));
    let watcher = stage.clone();
    tokio::task::spawn_local(async move {
        loop {
            watcher.judge.look();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let result = incarnations(&stage, &mut commands, talkative, journal).await?;
    if talkative && std::io::stderr().is_terminal() {
        drop(writeln!(std::io::stderr()));
    }
    Ok(result)
}

fn computer(plan: &NightPlan, clock: Rc<dyn Clock>) -> Rc<dyn Clock> {
    let steps: Vec<_> = plan
        .faults
        .iter()
        .filter_map(|fault| match fault.kind {
            FaultKind::ClockStep { seconds } => Some((fault.at, fault.at.plus_seconds(fault.for_s), seconds)),
            _ => None,
        })
        .collect();
    if steps.is_empty() {
        clock
    } else {
        Rc::new(SteppedClock::new(clock, steps))
    }
}

fn mode(pace: Pace) -> Mode {
    Mode::Simulated {
        pace: if let Pace::Times(factor) = pace { factor } else { 0.0 },
    }
}

/// At a pace all work goes to the blocking pool: many virtual seconds go by while a plan is computed.
pub fn blocking() -> Offload {
    Offload::with(|job| {
        Box::pin(async move {
            // A job that panics is seen by its caller as lost work.
            drop(tokio::task::spawn_blocking(job).await);
        })
    })
}

/// Live, writes go to the blocking pool, and long work to threads that give way to all others.
pub fn polite() -> Offload {
    blocking().and_behind(|job| {
        Box::pin(async move {
            let (done, over) = tokio::sync::oneshot::channel::<()>();
            let work = move || {
                // Niceness is a thread's own on Linux; where it is not granted the work is only less polite.
                let _ = rustix::process::nice(10);
                job();
                drop(done);
            };
            if let Err(error) = std::thread::Builder::new().name("behind".into()).spawn(work) {
                tracing::error!(%error, "no thread for long work");
            }
            drop(over.await);
        })
    })
}

/// Daemons one after the other, until the night is over.
async fn incarnations(
    stage: &Rc<Stage>,
    commands: &mut mpsc::Receiver<CommandCall>,
    talkative: bool,
    mut journal: tokio::task::JoinHandle<JournalFault>,
) -> Result<NightOutcome, CliError> {
    let end = stage.plan.scenario.end;
    let mut kills: VecDeque<(UtcTime, f64)> = stage
        .plan
        .faults
        .iter()
        .filter(|f| f.kind == FaultKind::KillDaemon)
        .map(|f| (f.at, f.for_s.max(1.0)))
        .collect();
    kills.make_contiguous().sort_by_key(|(at, _)| *at);
    loop {
        while kills.front().is_some_and(|(at, _)| *at <= stage.clock.now()) {
            kills.pop_front();
        }
        let (daemon, recorder) = (Rc::new(RefCell::new(None)), recorder(stage)?);
        let set = LocalSet::new();
        let ending = set
            .run_until(async {
                let running = Rc::new(start(stage, &recorder)?);
                *daemon.borrow_mut() = Some(running.clone());
                // These end when their work does, which ends nothing else.
                let beside = async {
                    tokio::join!(
                        feed(stage, &running),
                        show(stage, &running, talkative),
                        commands::serve(&running, &stage.gathered, &stage.plan.settings, commands),
                    );
                    std::future::pending::<()>().await
                };
                let kill = kills.front().copied();
                let killed = async {
                    match kill {
                        Some((at, restart_s)) => {
                            sleep_until(stage, at).await;
                            End::Killed { restart_s }
                        }
                        None => std::future::pending().await,
                    }
                };
                Ok::<End, CliError>(tokio::select! {
                    biased;
                    () = stage.judge.broken() => End::Broken,
                    fault = &mut journal => return Err(CliError::failed(fault.map_or_else(|e| e.to_string(), |f| f.to_string()))),
                    () = interrupted(stage.pace) => End::Interrupted,
                    end = killed => end,
                    () = sleep_until(stage, end) => End::NightOver,
                    () = beside => End::Interrupted,
                })
            })
            .await?;
        let last = daemon.borrow_mut().take();
        match ending {
            End::Killed { restart_s } => {
                // A killed process says nothing more, not even that it was killed.
                recorder.silence();
                stage.judge.died();
                drop(last);
                drop(set);
                sleep_until(stage, stage.clock.now().plus_seconds(restart_s)).await;
            }
            End::NightOver | End::Broken | End::Interrupted => {
                let Some(daemon) = last else {
                    return Err(CliError::failed("the daemon did not start"));
                };
                if matches!(ending, End::NightOver) {
                    recorder.record(Fact::Stopped {
                        cause: "the scenario is over".into(),
                    });
                }
                let facts = stage.gatherer.facts(&daemon.book.borrow());
                let events = packets_by_event(&daemon);
                recorder.silence();
                drop(daemon);
                drop(set);
                // Lets the journal commit what the last turn recorded.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let interrupted = matches!(ending, End::Interrupted);
                let (broken, tail) = if interrupted {
                    (None, Vec::new())
                } else {
                    stage.judge.finish(&events)
                };
                return Ok(NightOutcome {
                    facts,
                    broken,
                    tail,
                    interrupted,
                });
            }
        }
    }
}

/// Somebody at the keyboard ends the night. At full speed that ends the process, as of any command that computes.
async fn interrupted(pace: Pace) {
    match pace {
        Pace::Times(_) => drop(tokio::signal::ctrl_c().await),
        Pace::Max => std::future::pending().await,
    }
}

fn packets_by_event(daemon: &Daemon) -> BTreeMap<String, Vec<String>> {
    let status = daemon.published.alerts.borrow().clone();
    status
        .events
        .iter()
        .map(|(event, summary)| (event.clone(), summary.packets.clone()))
        .collect()
}

async fn sleep_until(stage: &Stage, at: UtcTime) {
    let wait = at.seconds_since(stage.clock.now());
    if wait > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    }
}

/// A recorder that goes on where the journal stands.
fn recorder(stage: &Stage) -> Result<Recorder, CliError> {
    let restored = restore(stage)?;
    Ok(Recorder::new(
        stage.computer.clone(),
        restored.last_seq,
        vec![
            Box::new(stage.gathered.clone()),
            Box::new(stage.judge.clone()),
            Box::new(stage.gatherer.clone()),
            Box::new(stage.chronicle.clone()),
            Box::new(stage.alarms.clone()),
        ],
    ))
}

fn restore(stage: &Stage) -> Result<crate::store::restore::Restored, CliError> {
    let mut store = stage.store.lock().map_err(|_| CliError::failed("the store is gone"))?;
    store.restore().map_err(|e| CliError::failed(e.to_string()))
}

/// Starts a daemon on what the store has kept.
fn start(stage: &Rc<Stage>, recorder: &Recorder) -> Result<Daemon, CliError> {
    let restored = restore(stage)?;
    let settings = &stage.plan.settings;
    let first = restored.boots == 0;
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
    let failed = |e: alidade_model::book::BookError| CliError::failed(e.to_string());
    release_interrupted(&book, recorder).map_err(failed)?;
    if first {
        daemon::grant_quotas(settings, &book, recorder).map_err(failed)?;
        let mut book = book.borrow_mut();
        let catalogue = daemon::translate::catalogue(settings);
        for request in &stage.plan.scenario.requests {
            match catalogue.accept(request, |user| book.knows(user)) {
                Ok(()) => book.submit(request.clone(), recorder).map_err(failed)?,
                Err(fault) => {
                    return Err(CliError::bad_input(format!(
                        "{}: {fault}",
                        stage.plan.scenario.folder.display()
                    )));
                }
            }
        }
    }
    let mut devices = connect::devices(settings, &stage.computer, |_, kind, channel| {
        stage.ways.get(&connect::simulated_name(kind, channel)).cloned()
    })
    .ok_or_else(|| CliError::bad_input("the configuration needs a plc, a mount and a camera for every channel"))?;
    let rules = &settings.safety.rules;
    if rules.contains_key("disk_free_mb") || rules.contains_key("link_silent_s") {
        devices.stations.push(Host::in_order(stage.computer.clone()));
    }
    let packets = stored_packets(stage)?;
    let records = records_before(stage, &book.borrow())?;
    stage.chronicle.resume(records);
    let safety = safety_before(stage)?;
    let calibrated = calibrated(stage)?;
    let report = {
        let (stage, book, recorder) = (stage.clone(), book.clone(), recorder.clone());
        Rc::new(move |night: Night| write_report(&stage, night, &book.borrow(), &recorder)) as Rc<dyn Fn(Night)>
    };
    tokio::task::spawn_local(daemon::outbox::keep(
        stage.chronicle.clone(),
        recorder.clone(),
        daemon::outbox::Outbox {
            data_dir: stage.plan.data_dir(),
            offload: stage.offload.clone(),
            reporter: daemon::outbox::reporter(settings),
            durable: false,
        },
    ));
    Ok(daemon::start(
        settings,
        Surroundings {
            recorder: recorder.clone(),
            offload: stage.offload.clone(),
            book,
            devices,
            data_dir: stage.plan.data_dir(),
            strategies: stage.chronicle.with_changes(stage.plan.strategies.clone()),
            // The folder of a scenario is not ours to write to.
            strategy_folder: None,
            packets,
            safety,
            calibrated,
            alarms: stage.alarms.clone(),
            stroke: Rc::new(|| {}),
            report,
            analyse: stage.plan.pixels,
            sky: survey(stage)?,
            planets: crate::daemon::live::minor_planets(&stage.plan.settings)?,
            station: stage.offices.as_ref().map(Offices::intake),
        },
    ))
}

/// The catalogue that the simulated observatory has: a survey of the simulated sky.
fn survey(stage: &Stage) -> Result<Option<Arc<dyn SkyStars>>, CliError> {
    if !stage.plan.pixels {
        return Ok(None);
    }
    let stars = stage.plan.scenario.folder.join("stars.csv");
    let catalogue = sky::Catalogue::load(&stars).map_err(CliError::bad_input)?;
    Ok(Some(Arc::new(super::survey::Survey::new(catalogue))))
}

fn stored_packets(stage: &Stage) -> Result<alidade_alerts::agent::Before, CliError> {
    let mut store = stage.store.lock().map_err(|_| CliError::failed("the store is gone"))?;
    daemon::before::packets(&mut store, &stage.plan.settings, stage.clock.now())
        .map_err(|e| CliError::failed(e.to_string()))
}

/// What the journal says of alerts.
fn records_before(stage: &Stage, book: &alidade_model::book::Book) -> Result<AlertRecords, CliError> {
    let mut store = stage.store.lock().map_err(|_| CliError::failed("the store is gone"))?;
    daemon::strategies::records_before(&mut store, book, stage.clock.now()).map_err(|e| CliError::failed(e.to_string()))
}

/// What the journal says of the time before a restart.
fn safety_before(stage: &Stage) -> Result<Before, CliError> {
    let mut store = stage.store.lock().map_err(|_| CliError::failed("the store is gone"))?;
    daemon::before::safety(&mut store, stage.computer.now()).map_err(|e| CliError::failed(e.to_string()))
}

/// True when this night's bias and dark frames are on disk.
fn calibrated(stage: &Stage) -> Result<bool, CliError> {
    let mut store = stage.store.lock().map_err(|_| CliError::failed("the store is gone"))?;
    daemon::before::calibrated(&mut store, &stage.plan.settings, stage.night)
        .map_err(|e| CliError::failed(e.to_string()))
}

fn write_report(stage: &Stage, night: Night, book: &alidade_model::book::Book, recorder: &Recorder) {
    let facts = stage.gatherer.facts(book);
    let text = report::markdown(&night.to_string(), &stage.plan.settings.site.title, &facts, book);
    let relative = format!("{night}/report.md");
    let path = stage.plan.data_dir().join(&relative);
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&path, text));
    match written {
        Ok(()) => drop(recorder.record(Fact::NightReported { night, path: relative })),
        Err(error) => drop(recorder.record(Fact::Degraded {
            what: "night report".into(),
            cause: error.to_string(),
        })),
    }
}

/// Delivers the packets of the night. A packet that was not acknowledged before a kill is sent again, as a broker does.
async fn feed(stage: &Stage, daemon: &Daemon) {
    loop {
        let Some(packet) = stage.packets.borrow().front().cloned() else {
            return;
        };
        sleep_until(stage, packet.at).await;
        if let Ok(verdict) = daemon
            .alerts
            .send(Packet {
                channel: packet.channel,
                body: packet.body,
            })
            .await
        {
            stage.gathered.committed(verdict.seq).await;
            stage.packets.borrow_mut().pop_front();
        }
    }
}

/// Publishes the snapshot, and the live line on the terminal.
async fn show(stage: &Stage, daemon: &Daemon, talkative: bool) {
    let Pace::Times(factor) = stage.pace else {
        return std::future::pending().await;
    };
    let boots = stage.gatherer.facts(&daemon.book.borrow()).boots;
    let identity = panorama::identity(
        &stage.plan.settings,
        mode(stage.pace),
        u32::try_from(boots).unwrap_or(0),
    );
    let terminal = std::io::stderr().is_terminal();
    let mut shown = String::new();
    let mut generation = None;
    loop {
        let view = panorama::snapshot(daemon, &stage.plan.settings, &identity, &stage.chronicle);
        if talkative && !view.sentence.why.is_empty() {
            let sentence = &view.sentence;
            let until = sentence
                .until
                .map_or_else(String::new, |t| format!(" until {}", t.hh_mm()));
            let line = format!(
                "{} UTC  {}: {}{until}; next {}",
                view.now.hh_mm(),
                sentence.doing,
                sentence.why,
                sentence.next
            );
            if terminal {
                let width: String = line.chars().take(150).collect();
                // Standard error has no buffer of its own.
                drop(write!(std::io::stderr(), "\r\x1b[2K{width}"));
            } else if line.get(11..) != shown.get(11..) {
                log::say(&line);
            }
            shown = line;
        }
        stage.snapshot.send_replace(Arc::new(view));
        if let Some(changed) = stage.chronicle.board(daemon, &stage.plan.settings, &mut generation) {
            stage.board.send_replace(Arc::new(changed));
        }
        tokio::time::sleep(Duration::from_secs_f64(0.5 * factor)).await;
    }
}
