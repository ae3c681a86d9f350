//! `alidade alert ...`: read alert notices, decide about them, and carry them.

use alidade_alerts::report::{Line, Reader};
use alidade_alerts::strategy::{UnitCapabilities, decide, load_folder};
use alidade_alerts::transport::folder::{Settlement, Spool};
use alidade_alerts::transport::vtp::{
    self, Answer, Broker, BrokerSettings, Clock, Delivery, LinkState, Receipt, Relay, SubscriberSettings,
};
use alidade_alerts::{Limits, Verdict};
use alidade_scheduling::report::CommandError;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Alert notices: read them, decide about them, send and receive them.
#[derive(Debug, Clone, clap::Args)]
pub struct AlertArgs {
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum AlertCommand {
    #[command(flatten)]
    Records(super::alert_records::RecordsCommand),
    /// The strategies that decide which alerts are followed: list, check, rehearse, apply
    #[command(subcommand)]
    Strategy(super::alert_strategy::StrategyCommand),
    /// Judge packets: one line a file, the files of one call taken in order as one stream
    Read {
        /// Packets: VOEvent (.xml), JSON (.json), GCN text (.txt), recorded VTP frames (.bin)
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Moment at which they arrive, such as 2026-11-20T12:00:00Z; the present one if not given
        #[arg(long)]
        now: Option<DateTime<Utc>>,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Say what the strategies make of packets: one decision an event
    Decide {
        /// Packets, as for `read`
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Folder of strategy files
        #[arg(long)]
        strategies: PathBuf,
        /// Field of the telescope, degrees
        #[arg(long)]
        fov: f64,
        /// Moment of the decision; the present one if not given
        #[arg(long)]
        now: Option<DateTime<Utc>>,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Submit packets to a broker as an author
    Send {
        /// Broker, as HOST:PORT (authors' port, usually 8098)
        #[arg(long)]
        vtp: String,
        /// VOEvent packets
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Longest wait for an answer, seconds
        #[arg(long, default_value_t = 20)]
        timeout: u64,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Subscribe to a broker and judge what comes
    Listen {
        /// Broker, as HOST:PORT (subscribers' port, usually 8099)
        #[arg(long)]
        vtp: String,
        /// Folder to keep packets in; each is acknowledged when it is safely there
        #[arg(long)]
        store: Option<PathBuf>,
        /// End after this many packets
        #[arg(long)]
        count: Option<u64>,
        /// Our own identifier
        #[arg(long, default_value = "ivo://alidade/subscriber")]
        ivorn: String,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Watch a folder of event files, judge each, and move it to processed/ or refused/
    Tail {
        folder: PathBuf,
        /// Deal with what waits, then end
        #[arg(long)]
        once: bool,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Be a broker: take packets from authors, pass new ones to subscribers
    Broker {
        /// Where authors connect
        #[arg(long, default_value = "127.0.0.1:8098")]
        receive: SocketAddr,
        /// Where subscribers connect
        #[arg(long, default_value = "127.0.0.1:8099")]
        broadcast: SocketAddr,
        /// Addresses that may connect; any if not given
        #[arg(long)]
        allow: Vec<IpAddr>,
        /// Folder to keep packets in; each is acknowledged when it is safely there
        #[arg(long)]
        store: Option<PathBuf>,
        /// Our own identifier
        #[arg(long, default_value = "ivo://alidade/broker")]
        ivorn: String,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command. `clock` tells the time.
///
/// # Errors
/// Bad input, or a failure to report.
pub fn run(args: &AlertArgs, clock: &Clock, stdout: &mut dyn Write) -> Result<(), CommandError> {
    match &args.command {
        AlertCommand::Records(command) => super::alert_records::run(command, stdout).map_err(plain),
        AlertCommand::Strategy(command) => {
            let now = alidade_model::time::UtcTime::new(clock());
            super::alert_strategy::run(command, now, stdout).map_err(plain)
        }
        AlertCommand::Read { files, now, json } => read(files, now.unwrap_or_else(|| clock()), *json, stdout),
        AlertCommand::Decide {
            files,
            strategies,
            fov,
            now,
            json,
        } => decide_about(files, strategies, *fov, now.unwrap_or_else(|| clock()), *json, stdout),
        AlertCommand::Send {
            vtp,
            files,
            timeout,
            json,
        } => waiting(send(vtp, files, Duration::from_secs(*timeout), *json, stdout)),
        AlertCommand::Listen {
            vtp,
            store,
            count,
            ivorn,
            json,
        } => {
            let journal = Journal::open(store.as_deref())?;
            waiting(listen(vtp, ivorn, journal, *count, clock, *json, stdout))
        }
        AlertCommand::Tail { folder, once, json } => waiting(tail(folder, *once, clock, *json, stdout)),
        AlertCommand::Broker {
            receive,
            broadcast,
            allow,
            store,
            ivorn,
            json,
        } => {
            let journal = Journal::open(store.as_deref())?;
            let mut settings = BrokerSettings::new(ivorn.clone());
            settings.allowed = allow.iter().map(IpAddr::to_canonical).collect::<BTreeSet<_>>();
            waiting(broker(settings, *receive, *broadcast, journal, clock, *json, stdout))
        }
    }
}

fn plain(error: super::CliError) -> CommandError {
    match error.code() {
        2 => CommandError::BadInput(error.to_string()),
        _ => CommandError::Failed(error.to_string()),
    }
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// Runs what waits for the network on one thread; an interrupt from the keyboard ends it in order.
fn waiting(work: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
            done = work => done,
        }
    })
}

/// The bytes of a file, one more than any limit at most: enough to see that it is too long.
fn bytes_of(path: &Path) -> Result<Vec<u8>, CommandError> {
    let bad = |error: io::Error| CommandError::BadInput(format!("{}: {error}", path.display()));
    let limits = Limits::default();
    let most = limits.max_json_bytes.max(limits.max_packet_bytes) as u64 + 1;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(bad)?
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(bad)?;
    Ok(bytes)
}

fn print(line: &Line, json: bool, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let text = if json {
        serde_json::to_string(line).map_err(failed)?
    } else {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        let word = |value: &Option<String>| alidade_alerts::reason::printable(value.as_deref().unwrap_or("-"), 80);
        format!(
            "{:9} {:20} {} {} {} ra {} dec {} err {} at {}",
            format!("{:?}", line.verdict).to_lowercase(),
            line.reason.code(),
            line.file,
            word(&line.mission),
            word(&line.trigger_id),
            shown(line.ra_deg),
            shown(line.dec_deg),
            shown(line.err_deg),
            word(&line.event_time_utc),
        )
    };
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|e| failed(format!("standard output: {e}")))
}

fn read(files: &[PathBuf], now: DateTime<Utc>, json: bool, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let mut reader = Reader::new(now);
    for path in files {
        let line = reader.read(&path.to_string_lossy(), &bytes_of(path)?);
        print(&line, json, stdout)?;
    }
    Ok(())
}

fn decide_about(
    files: &[PathBuf],
    strategies: &Path,
    fov_deg: f64,
    now: DateTime<Utc>,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    if !(fov_deg > 0.0 && fov_deg <= 90.0) {
        return Err(CommandError::BadInput(format!(
            "--fov: {fov_deg} is not within 0 to 90 degrees"
        )));
    }
    let strategies = load_folder(strategies).map_err(|e| CommandError::BadInput(e.to_string()))?;
    let mut reader = Reader::new(now);
    for path in files {
        reader.read(&path.to_string_lossy(), &bytes_of(path)?);
    }
    let unit = UnitCapabilities::with_field(fov_deg);
    for event in reader.book().events() {
        let decision = decide(&event, &strategies, &unit, now);
        let text = if json {
            serde_json::to_string(&decision).map_err(failed)?
        } else {
            let by = decision.followed.as_ref().map_or_else(
                || {
                    decision
                        .losers
                        .iter()
                        .map(|l| format!("{}: {}", l.strategy, l.reason))
                        .collect::<Vec<_>>()
                        .join("; ")
                },
                |p| format!("{} v{}, priority {}", p.strategy, p.strategy_version, p.priority),
            );
            let name = event.names.first().map_or("-", String::as_str);
            format!(
                "event {} {} {} ({by})",
                event.id,
                alidade_alerts::reason::printable(name, 80),
                decision.reason
            )
        };
        writeln!(stdout, "{text}").map_err(|e| failed(format!("standard output: {e}")))?;
    }
    Ok(())
}

async fn send(
    broker: &str,
    files: &[PathBuf],
    limit: Duration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let packets = files
        .iter()
        .map(|path| Ok((path, bytes_of(path)?)))
        .collect::<Result<Vec<_>, CommandError>>()?;
    let mut refused = 0;
    for (path, packet) in packets {
        let stream = TcpStream::connect(broker)
            .await
            .map_err(|e| failed(format!("{broker}: {e}")))?;
        let receipt = vtp::send(stream, &packet, limit)
            .await
            .map_err(|e| failed(format!("{broker}: {e}")))?;
        let (answer, why) = match receipt {
            Receipt::Ack => ("ack", None),
            Receipt::Nak(why) => ("nak", Some(why.unwrap_or_default())),
        };
        refused += usize::from(why.is_some());
        let file = path.display().to_string();
        let text = if json {
            serde_json::json!({ "file": file, "answer": answer, "detail": why }).to_string()
        } else {
            format!(
                "{answer} {file} {}",
                alidade_alerts::reason::printable(why.as_deref().unwrap_or(""), 160)
            )
        };
        writeln!(stdout, "{}", text.trim_end()).map_err(|e| failed(format!("standard output: {e}")))?;
    }
    if refused > 0 {
        Err(failed(format!("{refused} packets were refused by {broker}")))
    } else {
        Ok(())
    }
}

/// Packets on disk, each whole or not there: written aside, made durable, then renamed.
struct Journal {
    folder: Option<PathBuf>,
    number: u64,
}

impl Journal {
    fn open(folder: Option<&Path>) -> Result<Self, CommandError> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder)
                .map_err(|e| CommandError::BadInput(format!("--store {}: {e}", folder.display())))?;
        }
        Ok(Self {
            folder: folder.map(Path::to_path_buf),
            number: 0,
        })
    }

    /// Keeps a packet; its file, or a name for it when nothing is kept.
    fn keep(&mut self, delivery: &Delivery) -> io::Result<String> {
        self.number += 1;
        let name = format!(
            "{}-{:06}.xml",
            delivery.received_at.format("%Y%m%dT%H%M%S%.6fZ"),
            self.number
        );
        let Some(folder) = &self.folder else { return Ok(name) };
        let (aside, path) = (folder.join(format!(".{name}.tmp")), folder.join(&name));
        let mut file = fs::File::create(&aside)?;
        file.write_all(&delivery.bytes)?;
        file.sync_data()?;
        fs::rename(&aside, &path)?;
        fs::File::open(folder)?.sync_all()?;
        Ok(path.display().to_string())
    }
}

/// Keeps, judges, answers and prints packets as they come.
async fn serve(
    mut deliveries: mpsc::Receiver<Delivery>,
    mut journal: Journal,
    relay: Option<&Relay>,
    count: Option<u64>,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut reader: Option<Reader> = None;
    let mut seen = 0;
    while let Some(delivery) = deliveries.recv().await {
        let file = match journal.keep(&delivery) {
            Ok(file) => file,
            Err(error) => {
                // Unanswered: the sender keeps it.
                tracing::error!(%error, "packet cannot be kept");
                continue;
            }
        };
        let reader = reader.get_or_insert_with(|| Reader::new(delivery.received_at));
        reader.set_now(delivery.received_at);
        let line = reader.read(&file, &delivery.bytes);
        let answer = match line.verdict {
            Verdict::Reject | Verdict::Conflict => Answer::Refused(line.reason.to_string()),
            Verdict::Act | Verdict::Ignore | Verdict::Duplicate => Answer::Taken,
        };
        if let Some(relay) = relay
            && matches!(line.verdict, Verdict::Act | Verdict::Ignore)
        {
            relay.publish(&delivery.bytes);
        }
        if delivery.answer.send(answer).is_err() {
            tracing::debug!(peer = %delivery.peer, "gone before the answer");
        }
        print(&line, json, stdout)?;
        seen += 1;
        if count.is_some_and(|count| seen >= count) {
            // The answer is still on its way through the connection's task.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(());
        }
    }
    Ok(())
}

async fn listen(
    broker: &str,
    ivorn: &str,
    journal: Journal,
    count: Option<u64>,
    clock: &Clock,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let settings = SubscriberSettings::new(ivorn);
    let (sink, deliveries) = mpsc::channel(64);
    let (state, _) = watch::channel(LinkState::Connecting);
    let connect = || TcpStream::connect(broker.to_owned());
    tokio::select! {
        biased;
        done = serve(deliveries, journal, None, count, json, stdout) => done,
        () = vtp::run(connect, broker, &settings, clock, &sink, &state) => Ok(()),
    }
}

async fn broker(
    settings: BrokerSettings,
    receive: SocketAddr,
    broadcast: SocketAddr,
    journal: Journal,
    clock: &Clock,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .map_err(|e| CommandError::BadInput(format!("{address}: {e}")))
    };
    let (authors, subscribers) = (bind(receive).await?, bind(broadcast).await?);
    let relay = Relay::new(1024);
    let broker = Broker::new(settings, clock.clone(), relay.clone());
    let (sink, deliveries) = mpsc::channel(64);
    tokio::select! {
        biased;
        done = serve(deliveries, journal, Some(&relay), None, json, stdout) => done,
        () = broker.accept_authors(authors, sink) => Ok(()),
        () = broker.accept_subscribers(subscribers) => Ok(()),
    }
}

async fn tail(
    folder: &Path,
    once: bool,
    clock: &Clock,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let bad = |error: io::Error| CommandError::BadInput(format!("{}: {error}", folder.display()));
    let spool = Spool::open(folder).map_err(bad)?;
    let limits = Limits::default();
    let mut reader = Reader::new(clock());
    loop {
        for path in spool.waiting().map_err(bad)? {
            let (line, settlement) = match spool.read(&path, limits.max_json_bytes) {
                Ok(bytes) => {
                    reader.set_now(clock());
                    let line = reader.read(&path.to_string_lossy(), &bytes);
                    let settlement = match line.verdict {
                        Verdict::Reject | Verdict::Conflict => Settlement::Refused(line.reason.to_string()),
                        _ => Settlement::Processed,
                    };
                    (Some(line), settlement)
                }
                Err(error) => (None, Settlement::Refused(error.to_string())),
            };
            spool.settle(&path, &settlement).map_err(bad)?;
            if let Some(line) = line {
                print(&line, json, stdout)?;
            }
        }
        if once {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
