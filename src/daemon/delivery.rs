//! Stations of the delivery: opened from a file or from the daemon's configuration, and kept running on threads.
//!
//! A station runs on threads of its own with connections of their own to the database: one handles messages, the
//! others carry out jobs (pipeline runs, transfers, ingestions), one reads replicas again. All of them wait for the
//! station's bell. One process at a time keeps a station running; commands of other processes ring.

use super::journal::Gathered;
use crate::{
    clock::utc_now,
    gateway::mqtt::{MqttLink, bus},
    processing::Workshop,
    store::{Durability, StoreError, delivery::DeliveryLedger},
};
use alidade_delivery::{
    archive::{self, S3Spec},
    bell,
    books::{Fault, Ledger},
    launcher::{Launch, launch},
    moves,
    recipes::{House, Mock, Recipes},
    scrub,
    sites::{SiteSpec, Sites},
    station::{Job, Now, Station},
    transfer::Rsync,
};
use alidade_model::{
    journal::{Fact, Recorder},
    time::UtcTime,
};
use alidade_pipeline::recipe::PipelineRecipes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

/// How often it is looked whether a replica is due to be read again, seconds.
const SCRUB_LOOK_S: f64 = 30.0;

/// A station's file (TOML).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StationFile {
    /// Our name among the sites.
    pub site: String,
    /// The site that keeps the states; ours when it is left out.
    #[serde(default)]
    pub home: Option<String>,
    /// Cache, archive and staging.
    pub folder: PathBuf,
    /// Default: `station.sqlite` in the folder.
    #[serde(default)]
    pub database: Option<String>,
    #[serde(default)]
    pub sites: BTreeMap<String, SiteSpec>,
    #[serde(default)]
    pub broker: Option<Broker>,
    /// Commands by recipe.
    #[serde(default)]
    pub recipes: BTreeMap<String, Vec<String>>,
    /// Pipelines that are recipes by their names.
    #[serde(default)]
    pub pipelines: Option<PipelinesSpec>,
    /// The archive, when it is not the folder `archive` of the station.
    #[serde(default)]
    pub archive: Option<S3Spec>,
    /// Megabytes that are left free on every disk: nothing is begun that would need them.
    #[serde(default)]
    pub keep_free_mb: Option<u64>,
    /// The mock pipeline: one run in so many fails.
    #[serde(default)]
    pub mock_fails_one_in: Option<u32>,
    /// Shortest and longest run of the mock pipeline, seconds.
    #[serde(default)]
    pub mock_lasts_s: Option<(f64, f64)>,
    #[serde(default)]
    pub remote_shell: Option<String>,
    #[serde(default)]
    pub transfer_limit_kb_s: Option<u64>,
    /// Rate at which replicas are read again, and how often each.
    #[serde(default)]
    pub scrub_bytes_s: Option<u64>,
    #[serde(default)]
    pub scrub_interval_s: Option<f64>,
    /// Accounts that may review, with their role; everybody who may give commands when there are none.
    #[serde(default)]
    pub reviewers: BTreeMap<String, String>,
}

/// Where the pipelines of a station are.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PipelinesSpec {
    /// Plugins, a folder each.
    pub plugins: PathBuf,
    /// Attempts and products; default: `pipelines` in the station's folder.
    #[serde(default)]
    pub folder: Option<PathBuf>,
}

/// The MQTT broker between sites.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    pub host: String,
    #[serde(default = "mqtt_port")]
    pub port: u16,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

fn mqtt_port() -> u16 {
    1883
}

/// Why a station cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    File(String),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Books(#[from] Fault),
    #[error("the station {0} is kept running by another process")]
    Busy(String),
}

impl StationFile {
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| OpenError::Io(place.clone(), e))?;
        toml::from_str(&text).map_err(|e| OpenError::File(format!("{place}: {e}")))
    }

    /// The station of a daemon without a file: one site, its database, a folder among its data.
    pub fn of_daemon(site: &str, database: &str, data_dir: &Path) -> Self {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        Self {
            site: site.chars().map(|c| if legal(c) { c } else { '-' }).collect(),
            home: None,
            folder: data_dir.join("delivery"),
            database: Some(database.into()),
            sites: BTreeMap::new(),
            broker: None,
            recipes: BTreeMap::new(),
            pipelines: None,
            archive: None,
            keep_free_mb: None,
            mock_fails_one_in: None,
            mock_lasts_s: None,
            remote_shell: None,
            transfer_limit_kb_s: None,
            scrub_bytes_s: None,
            scrub_interval_s: None,
            reviewers: BTreeMap::new(),
        }
    }

    fn sites(&self) -> Result<Sites, OpenError> {
        let mut all = self.sites.clone();
        all.entry(self.site.clone()).or_default();
        Sites::new(&self.site, self.home.as_deref().unwrap_or(&self.site), all).map_err(OpenError::File)
    }
}

/// An open station: what it is made of, and how to get connections to its books.
#[derive(Clone)]
pub struct Opened {
    pub station: Station,
    pub file: StationFile,
    pub url: String,
    durability: Durability,
}

pub fn system_now() -> Now {
    Arc::new(|| UtcTime::new(utc_now()))
}

impl Opened {
    /// Makes the folders and the database if need be.
    pub fn open(file: StationFile, data_dir: &Path, durability: Durability) -> Result<Self, OpenError> {
        let sites = file.sites()?;
        let place = file.folder.display().to_string();
        std::fs::create_dir_all(&file.folder).map_err(|e| OpenError::Io(place.clone(), e))?;
        let url = file
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", file.folder.join("station.sqlite").display()));
        let mock = Mock {
            fails_one_in: file.mock_fails_one_in.unwrap_or(Mock::default().fails_one_in),
            lasts_s: file.mock_lasts_s.unwrap_or(Mock::default().lasts_s),
            ..Mock::default()
        };
        let house = House {
            mock,
            commands: file.recipes.clone(),
            data_dir: data_dir.into(),
            engine: engine(&file, &url, data_dir, durability),
        };
        let rsync = Rsync {
            remote_shell: file.remote_shell.clone(),
            limit_kb_s: file.transfer_limit_kb_s,
            ..Rsync::default()
        };
        let mut station = Station::new(sites, &file.folder, Arc::new(house), Arc::new(rsync), system_now())
            .map_err(|e| OpenError::Io(place, e))?;
        let usual = scrub::Pace::default();
        station.scrub.bytes_s = file.scrub_bytes_s.unwrap_or(usual.bytes_s);
        station.scrub.interval_s = file.scrub_interval_s.unwrap_or(usual.interval_s);
        if let Some(megabytes) = file.keep_free_mb {
            station.space.reserve = megabytes.saturating_mul(1_000_000);
        }
        if let Some(spec) = &file.archive {
            let fetched = station.folders.staging().join("documents");
            station.archive = archive::s3(spec, &fetched).map_err(OpenError::File)?;
        }
        let opened = Self {
            station,
            file,
            url,
            durability,
        };
        drop(opened.ledger()?);
        Ok(opened)
    }

    /// A connection to the books.
    pub fn ledger(&self) -> Result<Box<dyn Ledger>, OpenError> {
        // Tells this database from another that had its place before, also at other sites.
        let epoch = format!("{:x}", utc_now().timestamp_micros());
        Ok(Box::new(DeliveryLedger::open(&self.url, self.durability, &epoch)?))
    }

    /// The right to keep this station running; given up when the file is dropped, or the process dies.
    pub fn lock(&self) -> Result<File, OpenError> {
        let path = self.file.folder.join("station.lock");
        let place = path.display().to_string();
        let file = File::create(&path).map_err(|e| OpenError::Io(place.clone(), e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Busy(self.file.folder.display().to_string())),
            Err(std::fs::TryLockError::Error(e)) => Err(OpenError::Io(place, e)),
        }
    }

    /// Wakes whoever keeps this station running.
    pub fn ring(&self) {
        self.station.bell.ring();
        bell::ring_folder(&self.file.folder.join("bells"), None);
    }
}

/// The pipelines of the station's file as recipes.
fn engine(file: &StationFile, url: &str, data_dir: &Path, durability: Durability) -> Option<Arc<dyn Recipes>> {
    let spec = file.pipelines.as_ref()?;
    let shop = Workshop {
        url: url.into(),
        plugins: spec.plugins.clone(),
        root: spec.folder.clone().unwrap_or_else(|| file.folder.join("pipelines")),
        durability,
        dry_run: false,
    };
    Some(Arc::new(PipelineRecipes {
        works: Arc::new(shop),
        data_dir: data_dir.into(),
    }))
}

/// A station that is kept running; dropping it stops its threads after what they are at.
pub struct Running {
    stop: Arc<AtomicBool>,
    station: Station,
    threads: Vec<thread::JoinHandle<()>>,
    link: Option<bus::BusHandle>,
    _lock: File,
}

impl Running {
    /// Whether the broker between sites is there; true without one.
    pub fn is_linked(&self) -> bool {
        self.link.as_ref().is_none_or(|link| *link.connected.borrow())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.station.scrub.ended.store(true, Ordering::SeqCst);
        self.station.bell.ring();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the delivery panicked");
            }
        }
    }
}

/// Takes finished runs of the night over: each becomes a unit of its program, made of the run's own products.
pub fn intake(opened: &Opened) -> Result<alidade_delivery::agent::Intake, OpenError> {
    let (sender, arrivals) = std::sync::mpsc::channel::<alidade_delivery::messages::ProductsReady>();
    let (station, mut ledger) = (opened.station.clone(), opened.ledger()?);
    let work = move || {
        for ready in arrivals {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let wish = Launch {
                program: ready.program.chars().map(|c| if legal(c) { c } else { '_' }).collect(),
                unit: ready.unit,
                recipe: Some("Frames".into()),
                executive: Some(station.sites.here.clone()),
                inputs: ready.paths.iter().map(PathBuf::from).collect(),
            };
            let launched = station.at_desk(ledger.as_mut(), |desk| launch(desk, &wish, "pipeline", None));
            if let Err(fault) = launched {
                tracing::error!(unit = wish.unit, %fault, "a finished run could not be taken over");
            }
        }
    };
    let spawned = thread::Builder::new().name("data-intake".into()).spawn(work);
    spawned.map_err(|e| OpenError::Io("thread".into(), e))?;
    Ok(std::rc::Rc::new(move |ready| {
        if sender.send(ready).is_err() {
            tracing::error!("the delivery's intake is gone");
        }
    }))
}

type Task = Box<dyn FnMut(&mut dyn Ledger) -> Result<bool, Fault> + Send>;

/// Moves of units for the journal of the observatory.
pub struct Moved {
    pub facts: Vec<Fact>,
    /// To be told when all of them are committed.
    pub kept: std::sync::mpsc::Sender<()>,
}

/// Hands what waits for the journal over, and waits until it is kept there, or the station stops.
fn hand_over(
    station: &Station,
    ledger: &mut dyn Ledger,
    journal: &mpsc::UnboundedSender<Moved>,
    stop: &AtomicBool,
) -> Result<bool, Fault> {
    let (messages, facts): (Vec<_>, Vec<_>) = moves::waiting(station, ledger, 64)?.into_iter().unzip();
    let (kept, told) = std::sync::mpsc::channel();
    if messages.is_empty() || journal.send(Moved { facts, kept }).is_err() {
        return Ok(false);
    }
    while !stop.load(Ordering::SeqCst) {
        match told.recv_timeout(Duration::from_millis(200)) {
            Ok(()) => return moves::kept(station, ledger, &messages).map(|()| true),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(false)
}

/// Records moves in the journal; each is answered when it is committed.
pub async fn keep_moves(mut moves: mpsc::UnboundedReceiver<Moved>, recorder: Recorder, gathered: Gathered) {
    while let Some(moved) = moves.recv().await {
        let last = moved.facts.into_iter().fold(0, |_, fact| recorder.record(fact));
        gathered.committed(last).await;
        // A station that has stopped tells the same again when it is there again.
        let _ = moved.kept.send(());
    }
}

/// Starts the threads and the link of a station; moves of units go to `journal`, if there is one.
pub fn run(opened: &Opened, journal: Option<mpsc::UnboundedSender<Moved>>) -> Result<Running, OpenError> {
    let lock = opened.lock()?;
    let station = opened.station.clone();
    station.scrub.ended.store(false, Ordering::SeqCst);
    let mut ledger = opened.ledger()?;
    station.recover(ledger.as_mut())?;
    let folder = &opened.file.folder;
    let io = |e| OpenError::Io(folder.display().to_string(), e);
    station.bell.listen(folder).map_err(io)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks: Vec<(String, Task)> = Vec::new();
    let handler = station.clone();
    // Answers may be waited for by another process: its bell is rung too.
    tasks.push((
        "data-bus".into(),
        Box::new(move |ledger| {
            let count = handler.turn(ledger)?;
            if count > 0 {
                handler.bell.ring_all();
            }
            Ok(count > 0)
        }),
    ));
    for index in 0..station.max_runs.clamp(1, 16) {
        let worker = station.clone();
        tasks.push((format!("data-run-{index}"), Box::new(move |l| worker.work(l, Job::Run))));
    }
    for kind in [Job::Pull, Job::Ingest, Job::Deliver, Job::Evict] {
        let worker = station.clone();
        tasks.push((
            format!("data-{kind:?}").to_lowercase(),
            Box::new(move |l| worker.work(l, kind)),
        ));
    }
    if let Some(journal) = journal {
        let (teller, stop) = (station.clone(), stop.clone());
        let hand = move |ledger: &mut dyn Ledger| hand_over(&teller, ledger, &journal, &stop);
        tasks.push(("data-journal".into(), Box::new(hand)));
    }
    let (scrubber, mut looked) = (station.clone(), None);
    tasks.push((
        "data-scrub".into(),
        Box::new(move |ledger| {
            let now = (scrubber.now)();
            if looked.is_some_and(|last| now.seconds_since(last) < SCRUB_LOOK_S) {
                return Ok(false);
            }
            let found = scrub::paced(&scrubber, ledger)? != scrub::Scrubbed::Nothing;
            looked = (!found).then_some(now);
            Ok(found)
        }),
    ));
    let mut threads = Vec::new();
    for (name, task) in tasks {
        let (station, stop, ledger) = (station.clone(), stop.clone(), opened.ledger()?);
        let thread = thread::Builder::new().name(name);
        let spawned = thread.spawn(move || keep_at(&station, &stop, ledger, task));
        threads.push(spawned.map_err(io)?);
    }
    let link = match &opened.file.broker {
        Some(broker) => Some(bus::start(mqtt_link(broker)?, station.clone(), opened.ledger()?).map_err(io)?),
        None => None,
    };
    Ok(Running {
        stop,
        station,
        threads,
        link,
        _lock: lock,
    })
}

fn mqtt_link(broker: &Broker) -> Result<MqttLink, OpenError> {
    let secret = |path: &PathBuf| {
        let text = std::fs::read_to_string(path);
        text.map(|text| text.trim().to_owned())
            .map_err(|e| OpenError::Io(path.display().to_string(), e))
    };
    Ok(MqttLink {
        host: broker.host.clone(),
        port: broker.port,
        username: broker.username.clone(),
        password: broker.password_file.as_ref().map(secret).transpose()?,
        keep_alive: Duration::from_secs(5),
    })
}

fn keep_at(station: &Station, stop: &AtomicBool, mut ledger: Box<dyn Ledger>, mut task: Task) {
    while !stop.load(Ordering::SeqCst) {
        let heard = station.bell.count();
        match task(ledger.as_mut()) {
            Ok(true) => {}
            Ok(false) => station.pause(heard),
            Err(fault) => {
                tracing::warn!(%fault, "the delivery's database");
                station.pause(heard);
            }
        }
    }
}
