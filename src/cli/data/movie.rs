//! `alidade data movie`: four sites as four processes, a broker between them, units from launch to delivery.
//!
//! Each site has a database and a folder of its own below one folder; what they know of each other goes through the
//! broker, what they copy through rsync. With `--chaos` one site is killed and begun again half-way, and the broker is
//! cut for a while.

use super::{Office, show::unit_json};
use crate::{
    cli::CliError,
    daemon::delivery::{Broker, Opened, StationFile},
    store::Durability,
};
use alidade_delivery::{
    books::Fault,
    desk::{Desk, Draft},
    launcher::{Launch, launch},
    recipes::WORKFLOW,
    review::{ReviewRequest, Verdict},
    sites::SiteSpec,
};
use alidade_model::states::UnitState;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::Instant;

const SITES: [&str; 4] = ["EA", "EU", "JAO", "NA"];
const HOME: &str = "JAO";
/// A film that takes longer has stopped.
const DEADLINE: Duration = Duration::from_secs(300);

/// The film: four sites, a broker, ten units from launch to delivery.
#[derive(Debug, Clone, clap::Args)]
pub struct MovieArgs {
    /// Units
    #[arg(long, default_value_t = 10)]
    units: usize,
    /// Where the sites' folders are made; a new folder among the temporary ones by default, removed at the end
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A broker that runs already, as HOST:PORT; otherwise mosquitto is started
    #[arg(long, conflicts_with = "chaos")]
    broker: Option<String>,
    /// Kill a site and begin it again half-way, and cut the broker for a while
    #[arg(long)]
    chaos: bool,
    /// One run in so many fails and is queued again; 0 for none
    #[arg(long, default_value_t = 10)]
    fails_one_in: u32,
    /// Shortest and longest pipeline run, seconds (the seed's: 3,8)
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.0])]
    lasts_s: Vec<f64>,
}

/// A child that does not outlive the film.
struct Actor(Child);

impl Actor {
    fn start(command: &mut Command) -> Result<Self, CliError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.map(Self).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => CliError::failed(format!("{name} is not installed")),
            _ => CliError::failed(format!("{name}: {e}")),
        })
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // kill(2) with SIGKILL: what the film shows must not depend on a goodbye.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Stage {
    folder: PathBuf,
    port: u16,
    broker: Option<Actor>,
    sites: BTreeMap<&'static str, Actor>,
    remove: bool,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.sites.clear();
        self.broker = None;
        if self.remove {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

pub fn run(args: &MovieArgs, json: bool, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let mut stage = set_up(args)?;
    let mut office = Office::at(open(&stage.folder.join(HOME))?)?;
    let mut film = Film {
        args,
        told: Vec::new(),
        reviewed: BTreeSet::new(),
        requeued: 0,
    };
    film.launch(&mut office)?;
    film.play(&mut stage, &mut office)?;
    let result = film.end(&mut stage, &mut office)?;
    drop(stage);
    let good = result["problems"].as_array().is_some_and(Vec::is_empty);
    let text = if json { format!("{result:#}\n") } else { told(&result) };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    Ok(u8::from(!good))
}

fn told(result: &Value) -> String {
    let mut text = String::new();
    for unit in result["units"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "{} {}\n",
            unit["uid"].as_str().unwrap_or(""),
            unit["state"].as_str().unwrap_or("")
        ));
    }
    text.push_str(&format!("{:#}\n", result["counts"]));
    for problem in result["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!("PROBLEM {problem}\n"));
    }
    text
}

fn failed(place: &Path) -> impl Fn(std::io::Error) -> CliError {
    let place = place.display().to_string();
    move |e| CliError::failed(format!("{place}: {e}"))
}

fn set_up(args: &MovieArgs) -> Result<Stage, CliError> {
    let remove = args.folder.is_none();
    let folder = args
        .folder
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("alidade-movie-{}", std::process::id())));
    if folder.exists() && fs::read_dir(&folder).map_err(failed(&folder))?.next().is_some() {
        return Err(CliError::bad_input(format!("{}: is not empty", folder.display())));
    }
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let folder = fs::canonicalize(&folder).map_err(failed(&folder))?;
    let (host, port) = match &args.broker {
        Some(text) => {
            let parts = text
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            parts.ok_or_else(|| CliError::bad_input(format!("--broker {text}: expected HOST:PORT")))?
        }
        None => {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            (
                "127.0.0.1".into(),
                free.map_err(|e| CliError::failed(e.to_string()))?.port(),
            )
        }
    };
    let sites: BTreeMap<String, SiteSpec> = SITES
        .iter()
        .map(|site| {
            let location = folder.join(site).display().to_string();
            let spec = SiteSpec {
                location: Some(location),
                max_runs: Some(2),
            };
            ((*site).to_owned(), spec)
        })
        .collect();
    for site in SITES {
        let home = folder.join(site);
        fs::create_dir_all(&home).map_err(failed(&home))?;
        let mut file = StationFile::of_daemon(site, "", &home);
        file.folder = home.clone();
        file.database = None;
        file.home = Some(HOME.into());
        file.sites = sites.clone();
        file.mock_fails_one_in = Some(args.fails_one_in);
        if let [shortest, longest] = args.lasts_s.as_slice() {
            file.mock_lasts_s = Some((*shortest, *longest));
        }
        file.broker = Some(Broker {
            host: host.clone(),
            port,
            username: None,
            password_file: None,
        });
        let path = home.join("station.toml");
        let text = toml::to_string(&file).map_err(|e| CliError::failed(e.to_string()))?;
        fs::write(&path, text).map_err(failed(&path))?;
    }
    let mut stage = Stage {
        folder,
        port,
        broker: None,
        sites: BTreeMap::new(),
        remove,
    };
    if args.broker.is_none() {
        stage.start_broker()?;
    }
    for site in SITES {
        // The database is made here, so that the processes find it.
        drop(open(&stage.folder.join(site))?);
        stage.start(site)?;
    }
    Ok(stage)
}

fn open(home: &Path) -> Result<Opened, CliError> {
    let file = StationFile::load(&home.join("station.toml"))?;
    Ok(Opened::open(file, home, Durability::Durable)?)
}

impl Stage {
    fn start(&mut self, site: &'static str) -> Result<(), CliError> {
        let program = std::env::current_exe().map_err(|e| CliError::failed(e.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["data", "serve", "--station"])
            .arg(self.folder.join(site).join("station.toml"));
        self.sites.insert(site, Actor::start(&mut command)?);
        Ok(())
    }

    fn start_broker(&mut self) -> Result<(), CliError> {
        let path = self.folder.join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             max_queued_messages 0\nlog_dest none\n{}",
            self.port,
            self.folder.display(),
            // As root the broker would change to an account that cannot read this folder.
            "user root\n"
        );
        fs::write(&path, text).map_err(failed(&path))?;
        let place = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let program = place
            .iter()
            .find(|path| Path::new(path).exists())
            .copied()
            .unwrap_or("mosquitto");
        self.broker = Some(Actor::start(Command::new(program).arg("-c").arg(&path))?);
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Err(CliError::failed(format!("mosquitto does not listen on {}", self.port)))
    }
}

struct Film<'a> {
    args: &'a MovieArgs,
    told: Vec<String>,
    reviewed: BTreeSet<String>,
    requeued: usize,
}

fn uid(number: usize) -> String {
    format!("uid://X1/X1/Xb{number:x}")
}

const PROGRAM: &str = "2015.1.00657.S";
const AUTHOR: &str = "movie";

impl Film<'_> {
    fn launch(&mut self, office: &mut Office) -> Result<(), CliError> {
        for number in 0..self.args.units {
            let wish = Launch {
                program: PROGRAM.into(),
                unit: uid(number),
                recipe: WORKFLOW.get(number % WORKFLOW.len()).map(|recipe| (*recipe).to_owned()),
                executive: SITES.get(number % SITES.len()).map(|site| (*site).to_owned()),
                inputs: Vec::new(),
            };
            office.desk(|desk| launch(desk, &wish, AUTHOR, None))?;
        }
        office.opened.ring();
        Ok(())
    }

    /// Reviews what waits, queues problems again, makes trouble, until everything is delivered.
    fn play(&mut self, stage: &mut Stage, office: &mut Office) -> Result<(), CliError> {
        let bell = office.opened.station.bell.clone();
        let listen = bell.listen(&office.opened.file.folder);
        listen.map_err(failed(&office.opened.file.folder))?;
        let begun = Instant::now();
        let mut act = 0;
        let mut cut_until = None;
        loop {
            let heard = bell.count();
            let delivered = self.scene(office)?;
            if delivered == self.args.units {
                return Ok(());
            }
            if self.args.chaos && act == 0 && self.reviewed.len() * 4 >= self.args.units {
                act = 1;
                self.told.push("the broker is cut".into());
                stage.broker = None;
                cut_until = Some(Instant::now() + Duration::from_secs(2));
            }
            if self.args.chaos && act == 1 {
                act = 2;
                self.told.push("EU is killed".into());
                stage.sites.remove("EU");
            }
            if act == 2 && cut_until.is_some_and(|until| Instant::now() >= until) {
                act = 3;
                self.told.push("the broker is back, and EU is begun again".into());
                stage.start_broker()?;
                stage.start("EU")?;
            }
            if begun.elapsed() > DEADLINE {
                self.told.push(format!("stopped after {DEADLINE:?}"));
                return Ok(());
            }
            bell.wait(heard, Duration::from_millis(100));
        }
    }

    fn scene(&mut self, office: &mut Office) -> Result<usize, CliError> {
        let units = office.desk(|desk| desk.books.units(None, 100_000))?;
        let mut delivered = 0;
        for unit in units {
            match unit.state {
                UnitState::Delivered => delivered += 1,
                UnitState::ReadyForReview if !self.reviewed.contains(&unit.uid) => {
                    let has_report =
                        office.desk(|desk| Ok(alidade_delivery::review::newest_report(desk, &unit.uid)?.is_some()))?;
                    if has_report {
                        self.reviewed.insert(unit.uid.clone());
                        office.desk(|desk| pass(desk, &unit.uid))?;
                        office.opened.ring();
                    }
                }
                UnitState::ProcessingProblem => {
                    let wish = Launch {
                        program: unit.program,
                        unit: unit.uid,
                        recipe: unit.recipe,
                        executive: unit.executive,
                        inputs: Vec::new(),
                    };
                    self.requeued += 1;
                    office.desk(|desk| launch(desk, &wish, AUTHOR, None))?;
                    office.opened.ring();
                    // One at a time: the state has to change before it is looked at again.
                    self.wait_for_change(office, &wish.unit)?;
                }
                _ => {}
            }
        }
        Ok(delivered)
    }

    fn wait_for_change(&self, office: &mut Office, uid: &str) -> Result<(), CliError> {
        let bell = office.opened.station.bell.clone();
        let begun = Instant::now();
        loop {
            let heard = bell.count();
            let unit = office.desk(|desk| desk.books.unit(uid))?;
            let waits = unit.is_some_and(|unit| unit.state == UnitState::ProcessingProblem);
            if !waits || begun.elapsed() > Duration::from_secs(10) {
                return Ok(());
            }
            bell.wait(heard, Duration::from_millis(100));
        }
    }

    /// Lets the last acknowledgements arrive, counts, and holds the sites against each other.
    fn end(&mut self, stage: &mut Stage, office: &mut Office) -> Result<Value, CliError> {
        let begun = Instant::now();
        let mut offices = BTreeMap::new();
        for site in SITES {
            offices.insert(site, Office::at(open(&stage.folder.join(site))?)?);
        }
        loop {
            let mut open = 0;
            for office in offices.values_mut() {
                open += office.desk(|desk| {
                    let mut jobs = 0;
                    for kind in ["job.pull", "job.fetch", "job.ingest", "job.run"] {
                        jobs += desk.books.records(kind, None, Some("ready"), 1)?.len();
                        jobs += desk.books.records(kind, None, Some("running"), 1)?.len();
                    }
                    Ok(jobs + desk.books.messages(true, 1)?.len())
                })?;
            }
            if open == 0 || begun.elapsed() > Duration::from_secs(60) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let mut problems: Vec<String> = Vec::new();
        let mut counts = BTreeMap::new();
        for (site, office) in &mut offices {
            counts.insert(*site, census(office, site, &mut problems)?);
        }
        let units = office.desk(|desk| desk.books.units(None, 100_000))?;
        for unit in &units {
            if unit.state != UnitState::Delivered {
                problems.push(format!("{} is {}", unit.uid, unit.state));
            }
            let events = office.desk(|desk| desk.books.events(&unit.uid))?;
            let times = events.iter().filter(|e| e.to.as_deref() == Some("Delivered")).count();
            if times > 1 {
                problems.push(format!("{} was delivered {times} times", unit.uid));
            }
        }
        if units.len() != self.args.units {
            problems.push(format!("{} units, not {}", units.len(), self.args.units));
        }
        compare_caches(stage, &mut problems);
        let units: Vec<Value> = units.iter().map(unit_json).collect();
        Ok(json!({
            "units": units, "counts": counts, "requeued": self.requeued, "told": self.told, "problems": problems,
        }))
    }
}

fn pass(desk: &mut Desk, unit: &str) -> Result<(), Fault> {
    let request = ReviewRequest {
        unit: unit.into(),
        verdict: Verdict::Pass,
        reviewer: AUTHOR.into(),
        role: "reviewer".into(),
        comment: String::new(),
        by_way_of: String::new(),
    };
    let body = serde_json::to_value(&request).map_err(|e| Fault(e.to_string()))?;
    desk.send(Draft::new(&format!("review.{HOME}"), body, AUTHOR)).map(drop)
}

fn census(office: &mut Office, site: &str, problems: &mut Vec<String>) -> Result<Value, CliError> {
    let archive = office.opened.station.archive.clone();
    let (reports, deliveries, documents, metadata, unread, replicas) = office.desk(|desk| {
        Ok((
            desk.books.records("report", None, None, 100_000)?.len(),
            desk.books.records("delivery", None, None, 100_000)?,
            desk.books.records("archive", None, None, 100_000)?,
            desk.books.products(None, 100_000)?.len(),
            desk.books.messages(true, 100_000)?.len(),
            desk.books.records("replica", None, Some("available"), 100_000)?.len(),
        ))
    })?;
    if deliveries.iter().any(|d| d.body["complete"] != json!(true)) {
        problems.push(format!("{site}: a delivery is not complete"));
    }
    for document in &documents {
        let sum = document.body["sha256"].as_str().unwrap_or_default();
        if !archive.check(&document.id, sum).unwrap_or(false) {
            problems.push(format!("{site}: {} is not verified in the archive", document.id));
        }
    }
    Ok(json!({
        "reports": reports, "deliveries": deliveries.len(), "archive": documents.len(), "metadata": metadata,
        "unread": unread, "replicas": replicas,
    }))
}

/// Every group of a site is at the home, byte by byte.
fn compare_caches(stage: &Stage, problems: &mut Vec<String>) {
    use alidade_delivery::manifest::{files_below, sha256_file};
    let home = stage.folder.join(HOME).join("cache");
    for site in SITES.iter().filter(|site| **site != HOME) {
        let cache = stage.folder.join(site).join("cache");
        for path in files_below(&cache).unwrap_or_default() {
            let sum = |folder: &Path| sha256_file(&folder.join(&path), &mut |_| ()).ok();
            if sum(&cache).is_none() || sum(&cache) != sum(&home) {
                problems.push(format!("{site}: {path} is not the same at {HOME}"));
            }
        }
    }
}
