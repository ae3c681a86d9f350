//! A Kafka cluster of one broker in memory (librdkafka's own), and a producer for it.
//!
//! `alert-cluster TOPIC...` prints where it listens. Then each line `TOPIC PATH` on the standard input appends a file's bytes to a topic; the
//! line that answers is the broker's acknowledgement.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::time::Duration;

fn main() -> Result<()> {
    let cluster = MockCluster::new(1)?;
    for topic in std::env::args().skip(1) {
        cluster.create_topic(&topic, 1, 1)?;
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        .create()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", cluster.bootstrap_servers())?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (topic, path) = line.split_once(' ').context("a line is TOPIC PATH")?;
        let body = std::fs::read(path).with_context(|| path.to_owned())?;
        let sent = producer.send(BaseRecord::<(), _>::to(topic).payload(&body));
        sent.map_err(|(error, _)| error)?;
        producer.flush(Duration::from_secs(10))?;
        writeln!(out, "appended")?;
        out.flush()?;
    }
    Ok(())
}
