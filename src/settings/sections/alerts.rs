//! How alerts come in, and which of them are followed.

use super::one_second;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Where alert packets come from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum ListenerSettings {
    /// Packets appear as files.
    Folder {
        path: PathBuf,
        #[serde(default = "one_second")]
        poll_s: f64,
    },
    /// A VOEvent broker that this daemon subscribes to (VTP).
    Vtp { host: String, port: u16 },
    /// A VOEvent broker of our own (VTP): authors submit to it, subscribers hear from it.
    Broker(BrokerSettings),
    /// Topics of a Kafka cluster: NASA's GCN if no other is named.
    Kafka(KafkaListenerSettings),
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// Where authors submit.
    pub receive: std::net::SocketAddr,
    /// Where subscribers are served; nobody is without it.
    pub broadcast: Option<std::net::SocketAddr>,
    /// Networks whose machines may submit.
    #[serde(default = "this_machine")]
    pub authors: Vec<String>,
    /// Networks whose machines may subscribe.
    #[serde(default = "this_machine")]
    pub subscribers: Vec<String>,
}

fn this_machine() -> Vec<String> {
    vec!["127.0.0.0/8".into(), "::1".into()]
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaListenerSettings {
    /// `HOST:PORT`, separated by commas.
    #[serde(default = "gcn_brokers")]
    pub brokers: String,
    /// The name under which the cluster remembers how far we have read.
    pub group: String,
    pub topics: Vec<String>,
    /// Topic that speaks all the time; empty for none.
    #[serde(default = "gcn_heartbeat")]
    pub heartbeat: String,
    /// Longest silence of the heartbeat before the line is made again, seconds.
    #[serde(default = "one_minute")]
    pub silence_s: f64,
    /// Longest that the cluster keeps a question while it has nothing to answer, milliseconds.
    #[serde(default = "fetch_wait")]
    pub fetch_wait_ms: u32,
    /// No login and no TLS without it: a cluster on this machine.
    pub client_id: Option<String>,
    /// File with the client's secret.
    pub secret_file: Option<PathBuf>,
    #[serde(default = "gcn_token_url")]
    pub token_url: String,
}

fn gcn_brokers() -> String {
    "kafka.gcn.nasa.gov:9092".into()
}

fn gcn_heartbeat() -> String {
    "gcn.heartbeat".into()
}

fn gcn_token_url() -> String {
    "https://auth.gcn.nasa.gov/oauth2/token".into()
}

fn fetch_wait() -> u32 {
    100
}

fn one_minute() -> f64 {
    60.0
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// Folder of strategy files; without it the ones that the daemon carries are used.
    pub strategies: Option<PathBuf>,
    /// Larger packets are refused, bytes.
    pub max_packet_bytes: u64,
    /// Channels that must bring a packet at least so often, seconds: names of listeners, and channels over HTTP.
    pub expect_every_s: BTreeMap<String, f64>,
    /// Whether packets that call themselves tests are followed. Never on the mountain.
    pub follow_tests: bool,
    /// How long events and their packets are in memory, and read again at a restart, days.
    pub remember_events_days: u32,
    /// How long a packet that comes again is known as a copy, days.
    pub remember_packets_days: u32,
    pub listeners: BTreeMap<String, ListenerSettings>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            strategies: None,
            max_packet_bytes: 1 << 20,
            expect_every_s: BTreeMap::new(),
            follow_tests: false,
            remember_events_days: 30,
            remember_packets_days: 400,
            listeners: BTreeMap::new(),
        }
    }
}
