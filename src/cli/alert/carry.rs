//! Packets on their way: authors, subscribers, brokers, folders.
//!
//! Packets that come are kept first, judged, then answered. Those that wait at the same time share one write to the disk.

use super::{bytes_of, failed, print};
use crate::log;
use alidade_alerts::format::written;
use alidade_alerts::report::{Line, Reader};
use alidade_alerts::transport::folder::{Settlement, Spool};
use alidade_alerts::transport::intake::{Intake, Judge, MOST_AT_ONCE, Sentence};
use alidade_alerts::transport::journal::PacketJournal;
use alidade_alerts::transport::vtp::{
    self, Answer, Broker, BrokerSettings, Clock, Delivery, LinkState, Receipt, Relay, SubscriberSettings,
};
use alidade_alerts::{Limits, Verdict};
use alidade_scheduling::report::CommandError;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A Kafka cluster and what to read there.
#[cfg_attr(
    not(feature = "kafka"),
    allow(dead_code, reason = "a build without Kafka refuses the whole order")
)]
pub struct KafkaOrders {
    pub brokers: String,
    pub topics: Vec<String>,
    pub group: String,
    /// Client and the file with its secret.
    pub client: Option<(String, PathBuf)>,
    pub token_url: String,
}

/// Where packets come from.
pub enum Source {
    Vtp(String),
    Kafka(KafkaOrders),
}

/// How to be a broker.
pub struct BrokerOrders {
    pub settings: BrokerSettings,
    pub receive: SocketAddr,
    pub broadcast: SocketAddr,
    pub test_every: Option<Duration>,
}

/// Packets that are kept for subscribers who are slow or come again.
const KEPT_FOR_SUBSCRIBERS: usize = 4096;
/// Packets between two looks at what the book may forget.
const BETWEEN_PRUNINGS: u64 = 1000;

/// A packet of ours that says that it is a test: its identifier and its bytes.
pub fn test_packet(author: &str, now: DateTime<Utc>) -> (String, Vec<u8>) {
    let packet = written::Packet::test(author, now);
    (packet.ivorn.clone(), packet.to_xml())
}

pub async fn send(
    broker: &str,
    files: &[PathBuf],
    ours: Option<(String, Vec<u8>)>,
    limit: Duration,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut packets = files
        .iter()
        .map(|path| Ok((path.display().to_string(), bytes_of(path)?)))
        .collect::<Result<Vec<_>, CommandError>>()?;
    packets.extend(ours);
    let mut refused = 0;
    for (file, packet) in packets {
        let stream = tokio::time::timeout(limit, TcpStream::connect(broker))
            .await
            .map_err(|_| failed(format!("{broker}: no connection within {} s", limit.as_secs())))?
            .map_err(|e| failed(format!("{broker}: {e}")))?;
        let receipt = vtp::send(stream, &packet, limit)
            .await
            .map_err(|e| failed(format!("{broker}: {file}: {e}")))?;
        let (answer, why) = match receipt {
            Receipt::Ack => ("ack", None),
            Receipt::Nak(why) => ("nak", Some(why.unwrap_or_default())),
        };
        refused += usize::from(why.is_some());
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

fn journal_in(store: Option<&Path>) -> Result<Option<PacketJournal>, CommandError> {
    let longest = Limits::default().max_json_bytes;
    let open = |folder: &Path| {
        PacketJournal::open(folder, longest)
            .map_err(|e| CommandError::BadInput(format!("--store {}: {e}", folder.display())))
    };
    store.map(open).transpose()
}

/// Judges packets and prints what they are.
struct Desk<'a> {
    reader: Option<Reader>,
    json: bool,
    stdout: &'a mut dyn Write,
    seen: u64,
}

impl Judge for Desk<'_> {
    type Word = Line;

    fn judge(&mut self, delivery: &Delivery) -> Sentence<Line> {
        let reader = self.reader.get_or_insert_with(|| Reader::new(delivery.received_at));
        reader.set_now(delivery.received_at);
        let line = reader.read(&delivery.peer, &delivery.bytes);
        self.seen += 1;
        if self.seen.is_multiple_of(BETWEEN_PRUNINGS) {
            reader.forget_the_old();
        }
        Sentence {
            answer: match line.verdict {
                Verdict::Reject | Verdict::Conflict => Answer::Refused(line.reason.to_string()),
                Verdict::Act | Verdict::Ignore | Verdict::Duplicate => Answer::Taken,
            },
            pass_on: matches!(line.verdict, Verdict::Act | Verdict::Ignore),
            word: line,
        }
    }

    fn kept(&mut self, line: Line) -> io::Result<()> {
        print(&line, self.json, self.stdout).map_err(io::Error::other)
    }
}

/// Takes packets as they come, as many as the intake wants or for ever.
async fn serve(
    mut deliveries: mpsc::Receiver<Delivery>,
    intake: Intake<'_>,
    desk: &mut Desk<'_>,
) -> Result<(), CommandError> {
    let taken = intake.run(&mut deliveries, desk).await;
    // The last answers are still on their way through the connections' tasks.
    tokio::time::sleep(Duration::from_millis(100)).await;
    taken.map(drop).map_err(failed)
}

pub async fn listen(
    source: Source,
    ivorn: &str,
    store: Option<&Path>,
    count: Option<u64>,
    clock: &Clock,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let intake = Intake {
        journal: journal_in(store)?,
        relay: None,
        most: count.unwrap_or(u64::MAX),
    };
    let mut desk = Desk {
        reader: None,
        json,
        stdout,
        seen: 0,
    };
    let (sink, deliveries) = mpsc::channel(MOST_AT_ONCE);
    let (state, mut states) = watch::channel(LinkState::Connecting);
    let watching = async {
        while states.changed().await.is_ok() {
            match &*states.borrow_and_update() {
                LinkState::Up => log::say("listening"),
                LinkState::Connecting => {}
                LinkState::Down { reason, .. } => log::say(format_args!("not listening: {reason}")),
            }
        }
        std::future::pending::<()>().await;
    };
    match source {
        Source::Vtp(broker) => {
            let settings = SubscriberSettings::new(ivorn);
            let connect = || TcpStream::connect(broker.clone());
            tokio::select! {
                biased;
                done = serve(deliveries, intake, &mut desk) => done,
                () = watching => Ok(()),
                () = vtp::run(connect, &broker, &settings, clock, &sink, &state) => Ok(()),
            }
        }
        Source::Kafka(orders) => {
            start_kafka(&orders, clock, sink, state)?;
            tokio::select! {
                biased;
                done = serve(deliveries, intake, &mut desk) => done,
                () = watching => Ok(()),
            }
        }
    }
}

/// The thread that reads from the cluster ends when nobody takes its messages any more.
#[cfg(feature = "kafka")]
fn start_kafka(
    orders: &KafkaOrders,
    clock: &Clock,
    sink: mpsc::Sender<Delivery>,
    state: watch::Sender<LinkState>,
) -> Result<(), CommandError> {
    use alidade_alerts::transport::kafka::{KafkaSettings, Tls, start};
    let (id, secret) = match &orders.client {
        Some((id, file)) => {
            let secret = fs::read_to_string(file)
                .map_err(|e| CommandError::BadInput(format!("--secret-file {}: {e}", file.display())))?;
            (id.clone(), secret.trim().to_owned())
        }
        None => Default::default(),
    };
    let mut settings = KafkaSettings::gcn(orders.group.clone(), orders.topics.clone(), id, secret);
    settings.brokers.clone_from(&orders.brokers);
    match &mut settings.login {
        Some(login) if orders.client.is_some() => login.token_url.clone_from(&orders.token_url),
        _ => (settings.login, settings.tls, settings.heartbeat) = (None, Tls::Off, None),
    }
    start(settings, clock.clone(), sink, state)
        .map(drop)
        .map_err(|e| CommandError::BadInput(e.to_string()))
}

#[cfg(not(feature = "kafka"))]
fn start_kafka(
    _: &KafkaOrders,
    _: &Clock,
    _: mpsc::Sender<Delivery>,
    _: watch::Sender<LinkState>,
) -> Result<(), CommandError> {
    Err(CommandError::BadInput("this program was built without Kafka".into()))
}

/// Where a broker's subscribers had come to when it ended.
fn marks_file(store: &Path) -> PathBuf {
    store.join("subscribers.json")
}

fn save_marks(store: &Path, marks: &BTreeMap<String, String>) -> io::Result<()> {
    let (aside, file) = (store.join(".subscribers.json.tmp"), marks_file(store));
    fs::write(&aside, serde_json::to_vec(marks)?)?;
    fs::rename(aside, file)
}

pub async fn broker(
    orders: BrokerOrders,
    store: Option<&Path>,
    clock: &Clock,
    json: bool,
    stdout: &mut dyn Write,
) -> Result<(), CommandError> {
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .map_err(|e| CommandError::BadInput(format!("{address}: {e}")))
    };
    let journal = journal_in(store)?;
    let relay = Relay::new(KEPT_FOR_SUBSCRIBERS);
    let mut reader = Reader::new(clock());
    if let (Some(journal), Some(store)) = (&journal, store) {
        let bad = |e: io::Error| CommandError::BadInput(format!("--store {}: {e}", store.display()));
        // Whoever comes again gets what it missed, and a packet sent twice over a restart is passed on once.
        let marks = fs::read(marks_file(store))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut passed_on = journal.newest(KEPT_FOR_SUBSCRIBERS).map_err(bad)?;
        passed_on.retain(|packet| matches!(reader.read("", packet).verdict, Verdict::Act | Verdict::Ignore));
        relay.restore(passed_on, marks.unwrap_or_default());
    }
    let (authors, subscribers) = (bind(orders.receive).await?, bind(orders.broadcast).await?);
    let said = |listener: &TcpListener| listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string());
    log::say(format_args!(
        "authors on {}, subscribers on {}",
        said(&authors),
        said(&subscribers)
    ));
    let author = orders.settings.local_ivorn.clone();
    let broker = Broker::new(orders.settings, clock.clone(), relay.clone());
    let (sink, deliveries) = mpsc::channel(MOST_AT_ONCE);
    let intake = Intake {
        journal,
        relay: Some(&relay),
        most: u64::MAX,
    };
    let mut desk = Desk {
        reader: Some(reader),
        json,
        stdout,
        seen: 0,
    };
    let saving = async {
        let mut saved = relay.marks();
        let mut looks = tokio::time::interval(Duration::from_secs(1));
        loop {
            looks.tick().await;
            let marks = relay.marks();
            if let Some(store) = store
                && marks != saved
            {
                if let Err(error) = save_marks(store, &marks) {
                    log::say(format_args!("where the subscribers are is not saved: {error}"));
                }
                saved = marks;
            }
        }
    };
    let testing = async {
        let Some(every) = orders.test_every else {
            return std::future::pending::<()>().await;
        };
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            relay.publish(&test_packet(&author, clock()).1);
        }
    };
    tokio::select! {
        biased;
        done = serve(deliveries, intake, &mut desk) => done,
        () = broker.accept_authors(authors, sink) => Ok(()),
        () = broker.accept_subscribers(subscribers) => Ok(()),
        () = saving => Ok(()),
        () = testing => Ok(()),
    }
}

pub async fn tail(
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
