//! `alidade alert ...`: read alert notices, decide about them, and carry them.

mod carry;

use alidade_alerts::Limits;
use alidade_alerts::report::{Line, Reader};
use alidade_alerts::strategy::{UnitCapabilities, decide, load_folder};
use alidade_alerts::transport::networks::{AllowList, Network};
use alidade_alerts::transport::vtp::{BrokerSettings, Clock};
use alidade_scheduling::report::CommandError;
use carry::{BrokerOrders, KafkaOrders, Source};
use chrono::{DateTime, Utc};
use std::fs;
use std::io::{self, Read as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
        #[arg(required_unless_present = "test")]
        files: Vec<PathBuf>,
        /// Send a packet of our own that says that it is a test
        #[arg(long)]
        test: bool,
        /// Our own identifier, for --test
        #[arg(long, default_value = "ivo://alidade/author")]
        ivorn: String,
        /// Longest wait for an answer, seconds
        #[arg(long, default_value_t = 20)]
        timeout: u64,
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Subscribe to a broker and judge what comes
    Listen {
        /// VOEvent broker, as HOST:PORT (subscribers' port, usually 8099)
        #[arg(long, required_unless_present = "kafka", conflicts_with = "kafka")]
        vtp: Option<String>,
        /// Kafka cluster, as HOST:PORT[,HOST:PORT] (NASA's GCN: kafka.gcn.nasa.gov:9092)
        #[arg(long, requires = "topic")]
        kafka: Option<String>,
        /// Topics to read from the cluster
        #[arg(long, requires = "kafka")]
        topic: Vec<String>,
        /// Name under which the cluster remembers how far we have read
        #[arg(long, default_value = "alidade-alert-listen")]
        group: String,
        /// GCN's client; without one there is neither login nor TLS
        #[arg(long, requires = "secret_file")]
        client_id: Option<String>,
        /// File with the client's secret
        #[arg(long, requires = "client_id")]
        secret_file: Option<PathBuf>,
        /// Where tokens are asked for
        #[arg(long, default_value = "https://auth.gcn.nasa.gov/oauth2/token")]
        token_url: String,
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
        /// Networks whose machines may submit, such as 192.168.1.0/24; any if not given
        #[arg(long)]
        authors: Vec<Network>,
        /// Networks whose machines may subscribe; any if not given
        #[arg(long)]
        subscribers: Vec<Network>,
        /// Networks whose machines may do both
        #[arg(long)]
        allow: Vec<Network>,
        /// Seconds between test packets of our own, 0 for none: subscribers see that the line is alive
        #[arg(long, default_value_t = 0)]
        test_every: u64,
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
            test,
            ivorn,
            timeout,
            json,
        } => {
            let ours = test.then(|| carry::test_packet(ivorn, clock()));
            let limit = Duration::from_secs(*timeout);
            waiting(carry::send(vtp, files, ours, limit, *json, stdout))
        }
        AlertCommand::Listen {
            vtp,
            kafka,
            topic,
            group,
            client_id,
            secret_file,
            token_url,
            store,
            count,
            ivorn,
            json,
        } => {
            let cluster = kafka.as_ref().map(|brokers| KafkaOrders {
                brokers: brokers.clone(),
                topics: topic.clone(),
                group: group.clone(),
                client: client_id.clone().zip(secret_file.clone()),
                token_url: token_url.clone(),
            });
            let source = match (vtp, cluster) {
                (Some(broker), _) => Source::Vtp(broker.clone()),
                (None, Some(orders)) => Source::Kafka(orders),
                (None, None) => return Err(CommandError::BadInput("--vtp or --kafka is missing".into())),
            };
            waiting(carry::listen(
                source,
                ivorn,
                store.as_deref(),
                *count,
                clock,
                *json,
                stdout,
            ))
        }
        AlertCommand::Tail { folder, once, json } => waiting(carry::tail(folder, *once, clock, *json, stdout)),
        AlertCommand::Broker {
            receive,
            broadcast,
            authors,
            subscribers,
            allow,
            test_every,
            store,
            ivorn,
            json,
        } => {
            let list = |own: &[Network]| AllowList::new(own.iter().chain(allow).copied().collect());
            let mut settings = BrokerSettings::new(ivorn.clone());
            (settings.authors, settings.subscribers) = (list(authors), list(subscribers));
            let orders = BrokerOrders {
                settings,
                receive: *receive,
                broadcast: *broadcast,
                test_every: (*test_every > 0).then(|| Duration::from_secs(*test_every)),
            };
            waiting(carry::broker(orders, store.as_deref(), clock, *json, stdout))
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
