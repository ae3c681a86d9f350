//! `alidade data`: the life of the data, from processed unit to delivered product.
//!
//! A command works at a station, named by `--station FILE` or by the daemon's configuration. When the station is kept
//! running (by the daemon or by `alidade data serve`) the command sends its message, rings, and waits for the answer;
//! otherwise it does the station's work itself until nothing is left to do.

use super::{CliError, data_elsewhere, data_movie, data_show, remote::ServerArgs};
use crate::{
    daemon::delivery::{OpenError, Opened, StationFile, run as keep_running},
    settings::Settings,
    store::Durability,
};
use alidade_delivery::{
    books::{Fault, Ledger},
    desk::{Desk, Draft},
    evict, ingest,
    launcher::{Launch, launch},
    replica,
    review::{ReviewRequest, Verdict},
    scrub, selector,
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The life of the data: launch, review, replicate, ingest, deliver.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
    /// Configuration of the daemon whose station is meant
    #[arg(long, global = true, default_value = "config/alidade.toml")]
    config: PathBuf,
    /// File of another station (see agents/delivery/README.md)
    #[arg(long, global = true)]
    station: Option<PathBuf>,
    #[command(flatten)]
    daemon: ServerArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum DataCommand {
    /// Bring a unit into being, or back to its beginning, and have it processed
    Launch {
        program: String,
        /// Such as uid://X1/X1/Xb2
        unit: String,
        recipe: Option<String>,
        /// Site that processes it
        #[arg(requires = "recipe")]
        exec: Option<String>,
        /// Data product to process; may be repeated
        #[arg(long = "input")]
        inputs: Vec<PathBuf>,
    },
    /// Have a unit with a processing problem processed again, by the recipe and at the site it has
    Requeue { unit: String },
    /// Where units stand, jobs, deliveries, counts
    Status {
        unit: Option<String>,
        /// Only units in this state
        #[arg(long)]
        state: Option<String>,
    },
    /// Every change of a unit with author, cause and time
    History { unit: String },
    /// The newest pipeline report of a unit (XML)
    Report { unit: String },
    /// Say what you think of the data of a unit: without a verdict, show its report and begin the review
    Review {
        unit: String,
        #[arg(long, group = "verdict")]
        pass: bool,
        #[arg(long, group = "verdict")]
        semipass: bool,
        #[arg(long, group = "verdict")]
        fail: bool,
        #[arg(long, group = "verdict")]
        cancel: bool,
        #[arg(long, default_value = "")]
        comment: String,
        /// Who reviews; default: the login name
        #[arg(long)]
        reviewer: Option<String>,
        #[arg(long, default_value = "reviewer")]
        role: String,
    },
    /// Pull what is announced now, or read replicas again and repair the bad ones
    Replicate {
        /// Read every replica here again, at once
        #[arg(long)]
        scrub: bool,
        /// Give up our copy of this group or weblog
        #[arg(long, value_name = "NAME")]
        evict: Option<String>,
        /// Verified copies that must stay elsewhere
        #[arg(long, default_value_t = 1)]
        keep: usize,
    },
    /// Archive the products of a unit again; what is archived stays as it is
    Ingest { unit: String },
    /// Deliveries, and what is verified of each in the archive here
    Track,
    /// Send a request to the state service, such as `xtss set-exec uid://X1/X1/Xb2 EU`
    Xtss {
        operation: String,
        unit: String,
        value: Option<String>,
        #[arg(long)]
        cause: Option<String>,
    },
    /// Send a message
    Send {
        selector: String,
        /// JSON
        body: String,
        /// Seconds after which nobody is to take it
        #[arg(long)]
        ttl: Option<f64>,
    },
    /// Messages, newest first
    Messages {
        /// Only those that nobody has settled
        #[arg(long)]
        unread: bool,
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Become a member of a group of listeners
    Join { group: String, member: String },
    /// Leave a group of listeners
    Leave { group: String, member: String },
    /// What was refused, went wrong, was repaired, was reviewed
    Log {
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Replicas, archive documents, metadata, reports or deliveries
    List {
        #[arg(value_parser = ["replicas", "archive", "metadata", "reports", "deliveries", "reviews", "jobs"])]
        what: String,
        #[arg(long)]
        unit: Option<String>,
    },
    /// Metadata as an ObsCore VOTable, of a cone when one is given
    Query {
        /// Centre and radius, ICRS degrees: RA,DEC,RADIUS
        #[arg(long, value_name = "RA,DEC,RADIUS")]
        cone: Option<String>,
    },
    /// What belongs to a product (DataLink VOTable)
    Links { name: String },
    /// How the products of a unit came about (PROV-JSON)
    Prov { unit: String },
    /// Pack the archived products of a unit for its owner (BagIt)
    Bag { unit: String, folder: PathBuf },
    /// The life-cycle as a picture (Mermaid)
    Lifecycle,
    /// Keep the station running until a signal
    Serve,
    /// The film: four sites, a broker, ten units from launch to delivery
    Movie(data_movie::MovieArgs),
    /// Empty the station's books, cache and archive
    ClearAll {
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

pub fn run(args: &DataArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    match &args.command {
        DataCommand::Lifecycle => return print(stdout, &alidade_delivery::unit::mermaid()),
        DataCommand::Movie(movie) => return data_movie::run(movie, args.json, stdout),
        _ => {}
    }
    if let Some(remote) = args.daemon.elsewhere()? {
        return print(stdout, &data_elsewhere::run(&args.command, &remote, args.json)?);
    }
    let mut office = Office::open(args)?;
    match &args.command {
        DataCommand::Serve => serve(&office),
        DataCommand::Launch { .. }
        | DataCommand::Requeue { .. }
        | DataCommand::Review { .. }
        | DataCommand::Xtss { .. }
        | DataCommand::Ingest { .. }
        | DataCommand::Replicate { .. } => {
            let answer = act(&mut office, &args.command, stdout)?;
            said(stdout, &answer, args.json)
        }
        DataCommand::Send { selector, body, ttl } => send(&mut office, selector, body, *ttl, stdout),
        DataCommand::Join { group, member } => {
            legal(group).and(legal(member))?;
            office.desk(|desk| desk.books.join(group, member))?;
            Ok(0)
        }
        DataCommand::Leave { group, member } => {
            office.desk(|desk| desk.books.leave(group, member))?;
            Ok(0)
        }
        DataCommand::ClearAll { yes } => clear(&mut office, *yes),
        shown => {
            let text = data_show::show(&mut office, shown, args.json)?;
            print(stdout, &text)
        }
    }
}

fn print(stdout: &mut dyn Write, text: &str) -> Result<u8, CliError> {
    let written = stdout.write_all(text.as_bytes());
    written.map_err(|e| CliError::failed(format!("standard output: {e}")))?;
    Ok(0)
}

fn legal(word: &str) -> Result<(), CliError> {
    selector::check(word, false).map_err(CliError::bad_input)
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Books(_) => CliError::failed(error.to_string()),
            _ => CliError::bad_input(error.to_string()),
        }
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        CliError::failed(fault.to_string())
    }
}

/// An open station, and whether its work is ours to do.
pub struct Office {
    pub opened: Opened,
    pub ledger: Box<dyn Ledger>,
    /// Held when nobody keeps the station running.
    lock: Option<File>,
}

impl Office {
    fn open(args: &DataArgs) -> Result<Self, CliError> {
        let (file, data_dir) = match &args.station {
            Some(path) => (StationFile::load(path)?, PathBuf::from(".")),
            None => {
                let settings = Settings::load(&args.config).map_err(|e| CliError::bad_input(e.to_string()))?;
                (of_settings(&settings)?, settings.storage.data_dir)
            }
        };
        Self::at(Opened::open(file, &data_dir, Durability::Durable)?)
    }

    pub fn at(opened: Opened) -> Result<Self, CliError> {
        let ledger = opened.ledger()?;
        Ok(Self {
            opened,
            ledger,
            lock: None,
        })
    }

    pub fn desk<T>(&mut self, work: impl FnMut(&mut Desk) -> Result<T, Fault>) -> Result<T, CliError> {
        Ok(self.opened.station.at_desk(self.ledger.as_mut(), work)?)
    }

    /// Does what is due, unless another process keeps the station running: then it is woken. True when we did it.
    pub fn settle(&mut self) -> Result<bool, CliError> {
        if self.lock.is_none() {
            match self.opened.lock() {
                Ok(lock) => self.lock = Some(lock),
                Err(OpenError::Busy(_)) => {
                    self.opened.ring();
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
            self.opened.station.recover(self.ledger.as_mut())?;
        }
        self.opened.station.until_idle(self.ledger.as_mut())?;
        Ok(true)
    }

    /// Sends what `write` writes, with our answer's selector, and waits for the answer.
    pub fn call(&mut self, mut write: impl FnMut(&mut Desk, &str) -> Result<(), Fault>) -> Result<Value, CliError> {
        let here = self.opened.station.sites.here.clone();
        let answers = format!("command-{}.{here}", std::process::id());
        let bell = self.opened.station.bell.clone();
        bell.listen(&self.opened.file.folder)
            .map_err(|e| CliError::failed(format!("{}: {e}", self.opened.file.folder.display())))?;
        self.desk(|desk| write(desk, &answers))?;
        let ours = self.settle()?;
        let patterns = [answers];
        let deadline = tokio::time::Instant::now() + ANSWER_DEADLINE;
        loop {
            let heard = bell.count();
            let answer = self.desk(|desk| {
                let mut waiting = desk.books.waiting(&here, &patterns, desk.now, 1)?;
                if let Some(message) = waiting.first() {
                    desk.consume(message)?;
                }
                Ok(waiting.pop())
            })?;
            if let Some(message) = answer {
                return serde_json::from_str(&message.body).map_err(|e| CliError::failed(e.to_string()));
            }
            if ours || tokio::time::Instant::now() >= deadline {
                let home = &self.opened.station.sites.home;
                return Err(CliError::failed(match here == *home {
                    true => "the station does not answer".to_owned(),
                    false => format!("no answer from {home} yet: the request is kept and goes out with the link"),
                }));
            }
            bell.wait(heard, Duration::from_secs(1));
        }
    }
}

/// The station of a daemon.
pub fn of_settings(settings: &Settings) -> Result<StationFile, CliError> {
    match &settings.storage.station {
        Some(path) => Ok(StationFile::load(path)?),
        None => Ok(StationFile::of_daemon(
            &settings.site.name,
            &settings.database.url,
            &settings.storage.data_dir,
        )),
    }
}

fn serve(office: &Office) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CliError::failed(e.to_string()))?;
    let running = keep_running(&office.opened)?;
    eprintln!("station {} runs", office.opened.station.sites.here);
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let ends = [SignalKind::terminate(), SignalKind::interrupt()];
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(ends[0]), signal(ends[1])) else {
            return;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    drop(running);
    Ok(0)
}

fn login() -> String {
    std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "operator".into())
}

fn act(office: &mut Office, command: &DataCommand, stdout: &mut dyn Write) -> Result<Value, CliError> {
    let author = format!("cli:{}", login());
    match command {
        DataCommand::Launch {
            program,
            unit,
            recipe,
            exec,
            inputs,
        } => {
            let here = office.opened.station.sites.here.clone();
            let wish = Launch {
                program: program.clone(),
                unit: unit.clone(),
                recipe: recipe.clone(),
                executive: exec.clone().or_else(|| recipe.as_ref().map(|_| here)),
                inputs: absolute(inputs)?,
            };
            office.call(|desk, answers| launch(desk, &wish, &author, Some(answers)))
        }
        DataCommand::Requeue { unit } => {
            let known = office.desk(|desk| desk.books.unit(unit))?;
            let known = known.ok_or_else(|| CliError::failed(format!("unit {unit} is unknown")))?;
            let wish = Launch {
                program: known.program,
                unit: known.uid,
                recipe: known.recipe,
                executive: known.executive,
                inputs: Vec::new(),
            };
            office.call(|desk, answers| launch(desk, &wish, &author, Some(answers)))
        }
        DataCommand::Review { .. } => review(office, command, stdout),
        DataCommand::Xtss {
            operation,
            unit,
            value,
            cause,
        } => {
            let ask = json!({ "operation": operation, "ousUID": unit, "value": value, "cause": cause,
                "state": unit, "substate": value });
            office.call(|desk, answers| {
                desk.send(Draft::new("xtss", ask.clone(), &author).answered_at(answers))
                    .map(drop)
            })
        }
        DataCommand::Ingest { unit } => ingest_again(office, unit, &author),
        DataCommand::Replicate { scrub, evict, keep } => replicate(office, *scrub, evict.as_deref(), *keep, &author),
        _ => Ok(Value::Null),
    }
}

fn absolute(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let whole =
        |path: &PathBuf| std::path::absolute(path).map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())));
    inputs.iter().map(whole).collect()
}

fn review(office: &mut Office, command: &DataCommand, stdout: &mut dyn Write) -> Result<Value, CliError> {
    let DataCommand::Review {
        unit,
        pass,
        semipass,
        fail,
        cancel,
        comment,
        reviewer,
        role,
    } = command
    else {
        return Ok(Value::Null);
    };
    let verdict = match (pass, semipass, fail, cancel) {
        (true, ..) => Verdict::Pass,
        (_, true, ..) => Verdict::SemiPass,
        (_, _, true, _) => Verdict::Fail,
        (.., true) => Verdict::Cancel,
        _ => Verdict::Begin,
    };
    let reviewer = reviewer.clone().unwrap_or_else(login);
    let role = match office.opened.file.reviewers.get(&reviewer) {
        Some(role) => role.clone(),
        None if office.opened.file.reviewers.is_empty() => role.clone(),
        None => {
            return Err(CliError::failed(format!(
                "{reviewer} is not among this station's reviewers"
            )));
        }
    };
    if verdict == Verdict::Begin {
        let shown = data_show::report(office, unit)?;
        print(stdout, &shown)?;
    }
    let request = ReviewRequest {
        unit: unit.clone(),
        verdict,
        reviewer,
        role,
        comment: comment.clone(),
        by_way_of: format!("terminal of {}", login()),
    };
    let body = serde_json::to_value(&request).map_err(|e| CliError::failed(e.to_string()))?;
    let home = office.opened.station.sites.home.clone();
    office.call(|desk, answers| {
        let draft = Draft::new(&format!("review.{home}"), body.clone(), &request.reviewer);
        desk.send(draft.answered_at(answers)).map(drop)
    })
}

fn ingest_again(office: &mut Office, unit: &str, author: &str) -> Result<Value, CliError> {
    let home = office.opened.station.sites.home.clone();
    let (report, job) = office.desk(|desk| {
        let report = alidade_delivery::review::newest_report(desk, unit)?;
        let group = report
            .as_ref()
            .and_then(|r| r.body["productsDir"].as_str())
            .unwrap_or_default();
        let job = desk.books.record(ingest::INGEST, group)?;
        Ok((report, job))
    })?;
    let report = report.ok_or_else(|| CliError::failed(format!("{unit} has no pipeline report here")))?;
    if job.is_none() {
        return Err(CliError::failed(format!("{unit} has not passed its review")));
    }
    let body = json!({
        "ousUID": unit, "timestamp": report.body["timestamp"], "productsDir": report.body["productsDir"],
    });
    office.desk(|desk| desk.send(Draft::new(&format!("ingest.{home}"), body.clone(), author)))?;
    office.settle()?;
    let group = report.body["productsDir"].as_str().unwrap_or_default();
    let after = office.desk(|desk| desk.books.record(ingest::INGEST, group))?;
    Ok(json!({ "status": 201, "ingestion": after.map(|job| job.state) }))
}

fn replicate(
    office: &mut Office,
    scrub: bool,
    evict: Option<&str>,
    keep: usize,
    author: &str,
) -> Result<Value, CliError> {
    if let Some(name) = evict {
        let answer = office.call(|desk, answers| evict::ask(desk, name, keep, author, Some(answers)))?;
        office.settle()?;
        return Ok(answer);
    }
    if scrub {
        let mut station = office.opened.station.clone();
        let here = format!("{}/", station.sites.here);
        let mine = office.desk(|desk| desk.books.records(replica::KIND, None, Some("available"), 100_000))?;
        let count = mine.iter().filter(|record| record.id.starts_with(&here)).count();
        station.scrub.interval_s = 0.0;
        let mut bad = Vec::new();
        for _ in 0..count {
            if let scrub::Scrubbed::Bad(name, cause) = scrub::one(&station, office.ledger.as_mut(), &mut |_| ())? {
                bad.push(json!({ "name": name, "cause": cause }));
            }
        }
        office.settle()?;
        return Ok(json!({ "status": 200, "read": count, "bad": bad }));
    }
    let ours = office.settle()?;
    let waiting = office.desk(|desk| desk.books.records(replica::JOB, None, None, 1000))?;
    let waiting: Vec<&str> = waiting.iter().map(|job| job.id.as_str()).collect();
    Ok(json!({ "status": 200, "done_here": ours, "waiting": waiting }))
}

fn said(stdout: &mut dyn Write, answer: &Value, json: bool) -> Result<u8, CliError> {
    let refused = answer["status"].as_u64().is_some_and(|status| status >= 400);
    if json {
        print(stdout, &format!("{answer:#}\n"))?;
    } else if refused {
        let why = answer["error"].as_str().unwrap_or("refused");
        return Err(CliError::failed(why));
    } else {
        let ous = if answer["ous"].is_object() {
            &answer["ous"]
        } else {
            answer
        };
        let state = ous["state"].as_str().map_or_else(
            || answer.to_string(),
            |state| {
                let uid = ous["uid"].as_str().or(ous["ousUID"].as_str()).unwrap_or_default();
                format!("{uid} {state}")
            },
        );
        print(stdout, &format!("{state}\n"))?;
    }
    Ok(u8::from(refused))
}

fn send(
    office: &mut Office,
    selector: &str,
    body: &str,
    ttl: Option<f64>,
    stdout: &mut dyn Write,
) -> Result<u8, CliError> {
    if selector::group(selector).is_none() {
        legal(selector)?;
    }
    let body: Value =
        serde_json::from_str(body).map_err(|e| CliError::bad_input(format!("the body is not JSON: {e}")))?;
    let author = format!("cli:{}", login());
    let ids = office.desk(|desk| {
        let mut draft = Draft::new(selector, body.clone(), &author);
        draft.lives_s = ttl;
        desk.send(draft)
    })?;
    office.settle()?;
    print(stdout, &ids.iter().map(|id| format!("{id}\n")).collect::<String>())
}

fn clear(office: &mut Office, yes: bool) -> Result<u8, CliError> {
    if !yes {
        return Err(CliError::bad_input(
            "clear-all empties books, cache and archive: say --yes",
        ));
    }
    let _lock = office.opened.lock()?;
    office.desk(|desk| desk.books.clear())?;
    let folders = &office.opened.station.folders;
    let failed = |folder: &Path, e: std::io::Error| CliError::failed(format!("{}: {e}", folder.display()));
    for folder in [folders.cache(), folders.archive(), folders.staging(), folders.work()] {
        std::fs::remove_dir_all(&folder).map_err(|e| failed(&folder, e))?;
    }
    folders.make().map_err(|e| failed(&folders.top, e))?;
    Ok(0)
}
