//! Notices from Kafka, as NASA's General Coordinates Network sends them (gcn.nasa.gov, "Kafka").
//!
//! ```text
//!  topics ──message──► sink ──► journal ──Taken──► offset passed ──► committed to the broker twice a second
//!  heartbeat ─────────► line is alive; none for too long ──► a new consumer
//! ```
//!
//! Terms: a *topic* is one stream of messages, each with an *offset*; a *group* is the name under which the broker keeps
//! the offset up to which we are done. A group that comes back gets what it missed. An offset is only passed when the
//! packet is in the journal, so a packet may come twice and never not at all; identities make the second one harmless.

mod token;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub use token::{Login, Token, TokenError, fetch};

use super::vtp::{Answer, Clock, Delivery, LinkState};

/// How long one look at the queue lasts: also how soon a stop is obeyed.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for the broker when the line is given up or set back.
const PARTING: Duration = Duration::from_secs(5);
/// Longest wait for an answer about topics, and the pause while there are none.
const ANSWER: Duration = Duration::from_secs(2);
/// How often new topics and partitions are looked for: a topic without recent alerts does not exist.
const NEW_TOPICS: Duration = Duration::from_secs(60);
/// Messages that may wait for the journal at once: many share one commit. Their offsets are passed in their order.
const MOST_UNANSWERED: usize = 64;
/// How long one look at the queue lasts while messages wait for their answers.
const GLANCE: Duration = Duration::from_millis(2);
/// Largest message that is asked for: sky maps of gravitational waves near 1 MB, and GCN's own limit of 4 MiB.
const LARGEST_MESSAGE: u32 = 8 << 20;

/// How to read from a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// First brokers to ask, `HOST:PORT`, separated by commas.
    pub brokers: String,
    /// The group: always the same for one observatory, or what was missed is not sent again.
    pub group: String,
    /// Topics with notices.
    pub topics: Vec<String>,
    /// A topic that speaks all the time (GCN's `gcn.heartbeat`, every second). Without it no silence is seen.
    pub heartbeat: Option<String>,
    /// Longest silence of the heartbeat before the line is taken for dead and made again.
    pub silence: Duration,
    /// Longest that the cluster may keep a question while it has nothing to answer. A broker answers as soon as it has
    /// something; librdkafka's mock cluster only when this is over.
    pub fetch_wait: Duration,
    /// Longest wait for the journal before a message is taken back to be read again.
    pub answer_within: Duration,
    /// TLS to the brokers, and trust in these certificates instead of the system's.
    pub tls: Tls,
    /// The login by tokens (SASL OAUTHBEARER, RFC 7628).
    pub login: Option<Login>,
}

/// How the line to the brokers is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: a cluster on this machine.
    Off,
    /// Certificates that the system trusts.
    #[default]
    System,
    /// Certificates that this file trusts.
    File(std::path::PathBuf),
}

impl KafkaSettings {
    /// GCN's own cluster under that group, with that name and secret.
    #[must_use]
    pub fn gcn(group: impl Into<String>, topics: Vec<String>, client_id: String, client_secret: String) -> Self {
        Self {
            brokers: "kafka.gcn.nasa.gov:9092".into(),
            group: group.into(),
            topics,
            heartbeat: Some("gcn.heartbeat".into()),
            silence: Duration::from_secs(60),
            fetch_wait: Duration::from_millis(100),
            answer_within: Duration::from_secs(20),
            tls: Tls::System,
            login: Some(Login {
                token_url: "https://auth.gcn.nasa.gov/oauth2/token".into(),
                client_id,
                client_secret,
                scope: None,
                ca_file: None,
                patience: Duration::from_secs(10),
            }),
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            .set("client.id", "alidade")
            // Offsets are passed by us, after the journal; librdkafka sends on what was passed.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "500")
            // A new group begins with what the broker still has; old notices are judged by their age.
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", self.fetch_wait.as_millis().to_string())
            .set("fetch.message.max.bytes", LARGEST_MESSAGE.to_string())
            .set("socket.keepalive.enable", "true");
        let sasl = self.login.is_some();
        let protocol = match (&self.tls, sasl) {
            (Tls::Off, false) => "plaintext",
            (Tls::Off, true) => "sasl_plaintext",
            (_, false) => "ssl",
            (_, true) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Tls::File(file) = &self.tls {
            config.set("ssl.ca.location", file.display().to_string());
        }
        if sasl {
            config.set("sasl.mechanisms", "OAUTHBEARER");
        }
        config
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFault {
    /// The settings are not accepted.
    #[error("kafka: {0}")]
    Settings(#[from] KafkaError),
    /// There is no thread for it.
    #[error("kafka: {0}")]
    Thread(#[from] std::io::Error),
}

/// What librdkafka asks of us: tokens, and where to log.
struct Duties {
    login: Option<Login>,
    clock: Clock,
}

impl ClientContext for Duties {
    // Asked for at the start, and again when 80 % of a token's life is over; a failure is tried again after ten seconds.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let login = self.login.as_ref().ok_or("no login is configured")?;
        let asked_at = (self.clock)();
        let token = fetch(login).inspect_err(|error| tracing::warn!(%error, "no token"))?;
        let expires = asked_at + token.lifetime;
        Ok(OAuthToken {
            token: token.value,
            principal_name: login.client_id.clone(),
            lifetime_ms: expires.timestamp_millis(),
        })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(facility, "kafka: {text}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka: {text}"),
            _ => tracing::debug!(facility, "kafka: {text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, "kafka: {reason}");
    }
}

impl ConsumerContext for Duties {}

type Line = BaseConsumer<Duties>;

/// A running listener. Dropping it leaves it running; [`KafkaListener::stop`] ends it.
#[derive(Debug)]
pub struct KafkaListener {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl KafkaListener {
    /// Ends it when the message in hand is dealt with; what was answered is committed. Blocks for a few seconds at most.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("kafka: the listener had panicked");
        }
    }
}

/// Starts a thread that reads from a cluster for as long as somebody takes the messages.
///
/// # Errors
/// Settings that librdkafka refuses; a cluster that is not there is no error, it is waited for.
pub fn start(
    settings: KafkaSettings,
    clock: Clock,
    sink: mpsc::Sender<Delivery>,
    state: watch::Sender<LinkState>,
) -> Result<KafkaListener, KafkaFault> {
    let line = connect(&settings, &clock)?;
    let stop = Arc::new(AtomicBool::new(false));
    let heard_at = clock();
    let mut reader = Reader {
        settings,
        clock,
        sink,
        state,
        stop: stop.clone(),
        heard_at,
        positions: BTreeMap::new(),
        look_for_topics_at: None,
        unanswered: VecDeque::new(),
    };
    let thread = std::thread::Builder::new()
        .name("kafka".into())
        .spawn(move || reader.run(line))?;
    Ok(KafkaListener { stop, thread })
}

/// A consumer without partitions. They are assigned by us, and the group only keeps the offsets: a member of a group
/// waits seconds to join, and its closing waits for ever when the group cannot agree.
fn connect(settings: &KafkaSettings, clock: &Clock) -> Result<Line, KafkaError> {
    let duties = Duties {
        login: settings.login.clone(),
        clock: clock.clone(),
    };
    settings.config().create_with_context(duties)
}

/// Closing a consumer may wait for brokers that are gone: it must hold nobody.
fn part_with(line: Line) {
    let parted = std::thread::Builder::new()
        .name("kafka-close".into())
        .spawn(move || drop(line));
    if let Err(error) = parted {
        tracing::error!(%error, "kafka: an old consumer cannot be closed");
    }
}

struct Reader {
    settings: KafkaSettings,
    clock: Clock,
    sink: mpsc::Sender<Delivery>,
    state: watch::Sender<LinkState>,
    stop: Arc<AtomicBool>,
    heard_at: DateTime<Utc>,
    /// The partitions that are read, each with the offset to read next, once one was read.
    positions: BTreeMap<(String, i32), Option<i64>>,
    /// When the brokers are asked for partitions again.
    look_for_topics_at: Option<Instant>,
    /// Messages that were handed on and wait for the journal, oldest first.
    unanswered: VecDeque<Unanswered>,
}

/// A message that waits for the journal.
struct Unanswered {
    topic: String,
    partition: i32,
    offset: i64,
    answered: oneshot::Receiver<Answer>,
    since: Instant,
}

impl Reader {
    fn run(&mut self, mut line: Line) {
        while !self.stop.load(Ordering::Relaxed) && !self.sink.is_closed() {
            let look = if self.unanswered.is_empty() { LOOK } else { GLANCE };
            match line.poll(look) {
                None => {}
                Some(Ok(message)) => {
                    self.heard();
                    if !self.take(&line, &message) {
                        break;
                    }
                }
                Some(Err(error)) => self.failed(&error),
            }
            let renew = !self.settle(&line);
            if self.look_for_topics_at.is_none_or(|at| Instant::now() >= at) {
                self.look_for_topics(&line);
            }
            if renew || self.silent() {
                match connect(&self.settings, &self.clock) {
                    Ok(new) => {
                        self.assign(&new);
                        part_with(std::mem::replace(&mut line, new));
                    }
                    Err(error) => tracing::error!(%error, "kafka: no new consumer"),
                }
                self.heard_at = (self.clock)();
            }
        }
        // What was handed on may still get its answer.
        let end = Instant::now() + PARTING;
        while !self.unanswered.is_empty() && !self.sink.is_closed() && Instant::now() < end && self.settle(&line) {
            std::thread::sleep(GLANCE);
        }
        if let Err(error) = line.commit_consumer_state(CommitMode::Sync)
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            // What is not committed comes again.
            tracing::warn!(%error, "kafka: the last offsets are not committed");
        }
        part_with(line);
    }

    /// Finds the partitions of our topics. Whatever is not there yet is looked for again.
    fn look_for_topics(&mut self, line: &Line) {
        let known = self.positions.len();
        let topics: Vec<String> = self
            .settings
            .topics
            .iter()
            .chain(&self.settings.heartbeat)
            .cloned()
            .collect();
        for name in topics {
            match line.fetch_metadata(Some(&name), ANSWER) {
                Ok(metadata) => {
                    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                        self.positions.entry((name.clone(), partition.id())).or_default();
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        if self.positions.len() > known {
            self.assign(line);
        }
        let pause = if self.positions.is_empty() { ANSWER } else { NEW_TOPICS };
        self.look_for_topics_at = Some(Instant::now() + pause);
    }

    fn assign(&mut self, line: &Line) {
        // What waits for an answer is read again from here on.
        self.unanswered.clear();
        let mut list = TopicPartitionList::new();
        let added: Result<(), KafkaError> = self.positions.iter().try_for_each(|((topic, partition), next)| {
            let heartbeat = self.settings.heartbeat.as_ref() == Some(topic);
            let from = match next {
                // The last sign of life is enough; nobody has missed an old one.
                _ if heartbeat => Offset::OffsetTail(1),
                Some(next) => Offset::Offset(*next),
                None => Offset::Stored,
            };
            list.add_partition_offset(topic, *partition, from)
        });
        if let Err(error) = added.and_then(|()| line.assign(&list)) {
            self.failed(&error);
        }
    }

    fn heard(&mut self) {
        self.heard_at = (self.clock)();
        self.state.send_if_modified(|state| {
            let changed = *state != LinkState::Up;
            *state = LinkState::Up;
            changed
        });
    }

    /// Whether the heartbeat has been missing for too long.
    fn silent(&self) -> bool {
        let silent = self.settings.heartbeat.is_some()
            && ((self.clock)() - self.heard_at)
                .to_std()
                .is_ok_and(|since| since > self.settings.silence);
        if silent {
            let reason = format!("no heartbeat for {} s", self.settings.silence.as_secs());
            tracing::warn!("kafka: {reason}; a new consumer");
            self.state.send_replace(LinkState::Down {
                reason,
                retry_in: Duration::ZERO,
            });
        }
        silent
    }

    fn failed(&self, error: &KafkaError) {
        // No recent alert on a topic: the brokers have forgotten that there is one.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            tracing::debug!(%error, "kafka: a topic is not there");
            return;
        }
        tracing::warn!(%error, "kafka");
        self.state.send_replace(LinkState::Down {
            reason: error.to_string(),
            retry_in: LOOK,
        });
    }

    /// Hands a message on; `false` when nobody takes messages any more.
    fn take(&mut self, line: &Line, message: &BorrowedMessage<'_>) -> bool {
        let payload = message.payload().unwrap_or_default();
        if self.settings.heartbeat.as_deref() == Some(message.topic()) {
            return true;
        }
        let (answer, answered) = oneshot::channel();
        if payload.is_empty() {
            // Nothing to keep: passed in its turn.
            drop(answer.send(Answer::Taken));
        } else {
            let delivery = Delivery {
                bytes: payload.to_vec(),
                received_at: (self.clock)(),
                peer: format!("{}[{}]@{}", message.topic(), message.partition(), message.offset()),
                answer,
            };
            if self.sink.blocking_send(delivery).is_err() {
                return false;
            }
        }
        self.unanswered.push_back(Unanswered {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            answered,
            since: Instant::now(),
        });
        while self.unanswered.len() >= MOST_UNANSWERED && !self.stop.load(Ordering::Relaxed) {
            if !self.settle(line) {
                return true;
            }
            if self.unanswered.len() >= MOST_UNANSWERED {
                std::thread::sleep(GLANCE);
            }
        }
        true
    }

    /// Passes the offsets of what is in the journal, in their order. A message without an answer is gone back to, with
    /// all behind it in its partition. `false` when this consumer cannot go on.
    fn settle(&mut self, line: &Line) -> bool {
        while let Some(first) = self.unanswered.front_mut() {
            match first.answered.try_recv() {
                // Refused is dealt with too: it is in the journal with its reason, and would be refused again.
                Ok(_) => {
                    if let Some(done) = self.unanswered.pop_front() {
                        self.pass(line, done);
                    }
                }
                Err(TryRecvError::Empty) if first.since.elapsed() < self.settings.answer_within => return true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    let (topic, partition, offset) = (first.topic.clone(), first.partition, first.offset);
                    tracing::warn!(topic, offset, "kafka: not in the journal; again");
                    self.unanswered
                        .retain(|later| later.topic != topic || later.partition != partition);
                    if let Err(error) = line.seek(&topic, partition, Offset::Offset(offset), PARTING) {
                        // Its offset is not passed, so the next consumer of the group gets it.
                        tracing::error!(%error, "kafka: cannot go back");
                        return false;
                    }
                }
            }
        }
        true
    }

    /// The offset behind a message is what the group is to begin with.
    fn pass(&mut self, line: &Line, done: Unanswered) {
        if let Err(error) = line.store_offset(&done.topic, done.partition, done.offset) {
            // It comes again after a restart, which is harmless.
            tracing::warn!(%error, "kafka: offset not passed");
        }
        self.positions
            .insert((done.topic, done.partition), Some(done.offset + 1));
    }
}
