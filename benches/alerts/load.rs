//! Load on the alert chain, measured: results as JSON on stdout, one document a line.
//!
//! ```text
//! alert-load ingest FOLDER COUNT       read, check, deduplicate, group, journal (append; fdatasync every 64 packets)
//! alert-load months FOLDER COUNT       memory after each of so many months of 35,000 notices
//! alert-load skymap FILE FIELD_DEG     an LVK alert to ranked tiles
//! alert-load flood FOLDER STRATEGIES   10,000 notices in 10 s over TCP, of which one matters: time to its proposal
//! alert-load broker RECEIVE BROADCAST FOLDER   a broker that journals every packet durably before it answers
//! alert-load vtp RECEIVE BROADCAST FOLDER COUNT AUTHORS   authors and a subscriber against any broker
//! alert-load pace RECEIVE BROADCAST FOLDER COUNT HERTZ    latency from author to subscriber at a steady rate
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alidade_alerts::event::{EventBook, MergeRules, Trust};
use alidade_alerts::strategy::{Strategy, UnitCapabilities, decide, load_folder};
use alidade_alerts::transport::intake::{Intake, Judge, Sentence};
use alidade_alerts::transport::journal::PacketJournal;
use alidade_alerts::transport::vtp::{
    Answer, Broker, BrokerSettings, Clock, Delivery, Receipt, Relay, SubscriberSettings, send, session,
};
use alidade_alerts::{Channel, Verdict, read};
use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words.as_slice() {
        ["ingest", folder, count] => ingest(Path::new(folder), count.parse()?),
        ["months", folder, count] => months(Path::new(folder), count.parse()?),
        ["skymap", file, field] => skymap(Path::new(file), field.parse()?),
        ["flood", folder, strategies] => runtime.block_on(flood(Path::new(folder), Path::new(strategies))),
        ["flood-authors", at, folder] => runtime.block_on(flood_authors(at, Path::new(folder))),
        ["broker", receive, broadcast, file] => runtime.block_on(broker(receive, broadcast, Path::new(file))),
        ["vtp", receive, broadcast, folder, count, authors] => runtime.block_on(vtp(
            receive,
            broadcast,
            Path::new(folder),
            count.parse()?,
            authors.parse()?,
        )),
        ["pace", receive, broadcast, folder, count, hertz] => runtime.block_on(pace(
            receive,
            broadcast,
            Path::new(folder),
            count.parse()?,
            hertz.parse()?,
        )),
        _ => bail!("see the text at the top of benches/alerts/load.rs"),
    }
}

/// The real packets of a folder, each a template whose identity is replaced.
fn templates(folder: &Path) -> Result<Vec<String>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "xml"));
    paths.sort();
    let texts = paths.iter().filter_map(|p| std::fs::read_to_string(p).ok());
    let sound = texts.filter(|t| read(t.as_bytes(), Channel::Voevent, epoch()).verdict != Verdict::Reject);
    let sound: Vec<String> = sound.collect();
    if sound.is_empty() {
        bail!("{}: no packets", folder.display())
    } else {
        Ok(sound)
    }
}

fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_176_000, 0).unwrap_or_default()
}

fn clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || epoch() + started.elapsed())
}

/// The template as of another burst: identity, citations and trigger id get a suffix, and the burst its own quarter of
/// an hour, as in a real month. Notices of one round stay together.
fn numbered(template: &str, round: usize) -> Vec<u8> {
    let quarters = i64::try_from(round).unwrap_or(0);
    at_moment(template, round, epoch() - chrono::Duration::minutes(15 * quarters))
}

/// The template as of another burst at this moment.
fn at_moment(template: &str, round: usize, moment: DateTime<Utc>) -> Vec<u8> {
    let moment = moment.format("%Y-%m-%dT%H:%M:%S");
    let mut text = crowded(template, round);
    let mut from = 0;
    while let Some(at) = text[from..].find("<ISOTime>").map(|at| from + at + 9) {
        let end = at + text[at..].find('<').unwrap_or(0);
        text.replace_range(at..end, &moment.to_string());
        from = at;
    }
    text.into_bytes()
}

/// The template with another identity and trigger id, and the time as it is: the worst crowd there can be.
fn crowded(template: &str, round: usize) -> String {
    let mut text = template.replace("</EventIVORN>", &format!("-n{round}</EventIVORN>"));
    for name in ["ivorn=\"", "ivorn='"] {
        if let Some(at) = text.find(name) {
            let start = at + name.len();
            let end = start + text[start..].find(['"', '\'']).unwrap_or(0);
            text.insert_str(end, &format!("-n{round}"));
            break;
        }
    }
    for name in ["name=\"TrigID\"", "name=\"Burst_Id\"", "name=\"AMON_ID\""] {
        if let Some(at) = text.find(name)
            && let Some(value) = text[at..].find("value=\"")
        {
            text.insert_str(at + value + 7, &round.to_string());
        }
    }
    text
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// Processor time of this process, seconds (proc(5): ticks of 10 ms, in user and in kernel mode).
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn quantiles(mut millis: Vec<f64>) -> serde_json::Value {
    millis.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let index = ((millis.len().saturating_sub(1)) as f64 * q).round() as usize;
        millis.get(index).copied().map(|v| (v * 1000.0).round() / 1000.0)
    };
    json!({ "n": millis.len(), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0) })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn ingest(folder: &Path, count: usize) -> Result<()> {
    let templates = templates(folder)?;
    let path = std::env::temp_dir().join(format!("alert-load-{}", std::process::id()));
    let mut journal = PacketJournal::open(&path, 1 << 22)?;
    let mut group: Vec<Vec<u8>> = Vec::new();
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let (mut spent, mut bytes, before) = (Duration::ZERO, 0, resident_kb());
    let mut stages = [Duration::ZERO; 2];
    let packets_made: Vec<Vec<u8>> = (0..count)
        .map(|n| numbered(&templates[n % templates.len()], n / templates.len()))
        .collect();
    let cpu = processor_s();
    for packet in packets_made {
        bytes += packet.len();
        let started = Instant::now();
        let reading = read(&packet, Channel::Voevent, epoch());
        let parsed = started.elapsed();
        book.insert(&reading);
        let grouped = started.elapsed();
        group.push(packet);
        if group.len() == 64 {
            journal.append(group.iter().map(Vec::as_slice), epoch())?;
            group.clear();
        }
        spent += started.elapsed();
        stages[0] += parsed;
        stages[1] += grouped - parsed;
    }
    std::fs::remove_dir_all(path)?;
    let cpu = processor_s() - cpu;
    let (packets, events) = book.size();
    let rate = count as f64 / spent.as_secs_f64();
    println!(
        "{}",
        json!({ "bench": "ingest", "packets": packets, "events": events, "mean_bytes": bytes / count.max(1),
            "packets_per_s": rate.round(), "packets_per_processor_s": (count as f64 / cpu).round(), "us_per_packet": (1e7 / rate).round() / 10.0,
            "us_read": (millis(stages[0]) * 1e4 / count as f64).round() / 10.0,
            "us_book": (millis(stages[1]) * 1e4 / count as f64).round() / 10.0,
            "rss_before_kb": before, "rss_after_kb": resident_kb() })
    );
    Ok(())
}

/// Months of notices as they come today (some 35,000 a month), each day's old ones forgotten as a daemon with default
/// settings forgets them: events after 30 days, identities after 400. What stays is in memory; the packets are not.
fn months(folder: &Path, months: usize) -> Result<()> {
    const A_MONTH: usize = 35_000;
    let templates = templates(folder)?;
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let (day, keep) = (chrono::Duration::days(1), chrono::Duration::days(30));
    let gap = chrono::Duration::seconds(30 * 86_400 / A_MONTH as i64);
    let (mut now, mut pruned, before) = (epoch(), epoch(), resident_kb());
    let mut growth_kb = Vec::new();
    for n in 0..months * A_MONTH {
        now += gap;
        let packet = at_moment(&templates[n % templates.len()], n / templates.len(), now);
        book.insert(&read(&packet, Channel::Voevent, now));
        if now - pruned >= day {
            book.prune(now, keep, chrono::Duration::days(400));
            pruned = now;
        }
        if (n + 1) % A_MONTH == 0 {
            growth_kb.push(resident_kb().saturating_sub(before));
        }
    }
    println!(
        "{}",
        json!({ "bench": "months", "packets_a_month": A_MONTH, "months": months, "growth_kb_after_each": growth_kb })
    );
    Ok(())
}

fn skymap(file: &Path, field_deg: f64) -> Result<()> {
    let bytes = std::fs::read(file)?;
    let received = "2023-05-18T16:07:20Z".parse()?;
    let strategy = alidade_alerts::strategy::from_toml(
        "strategy = { name = 'gw', version = 1, priority = 1 }\nmatch = { streams = ['lvk/gw/*'] }\n\
         plan = { step = [{ until = '48h', filters = ['r'], exptime = '60s', count = 1 }], \
         tiling = { max_tiles = 100, min_cumulative_prob = 0.0, overlap = 0.05 } }",
    )?;
    let mut times = Vec::new();
    let mut tiles = 0;
    for _ in 0..50 {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        let started = Instant::now();
        let outcome = book.insert(&read(&bytes, Channel::Json, received));
        let event = outcome.event.and_then(|id| book.event(id)).context("no event")?;
        let unit = UnitCapabilities::with_field(field_deg);
        let decision = decide(&event, std::slice::from_ref(&strategy), &unit, received);
        times.push(millis(started.elapsed()));
        tiles = decision.followed.map_or(0, |p| p.tiles.len());
    }
    println!(
        "{}",
        json!({ "bench": "skymap_to_tiles", "bytes": bytes.len(), "tiles": tiles, "field_deg": field_deg,
            "time": quantiles(times) })
    );
    Ok(())
}

/// Sends packets at a steady rate, each over a connection of its own; how long each took to be acknowledged.
async fn authors(at: &str, packets: impl Iterator<Item = Vec<u8>>, per_second: f64) -> Result<Vec<(bool, f64)>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    let mut under_way = tokio::task::JoinSet::new();
    for packet in packets {
        ticks.tick().await;
        let at = at.to_string();
        under_way.spawn(async move {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            let started = Instant::now();
            let wanted = identity(&packet).contains(WANTED);
            match send(stream, &packet, Duration::from_secs(20)).await? {
                Receipt::Ack => Ok((wanted, millis(started.elapsed()))),
                Receipt::Nak(why) => bail!("refused: {why:?}"),
            }
        });
    }
    let mut times = Vec::new();
    while let Some(done) = under_way.join_next().await {
        times.push(done??);
    }
    Ok(times)
}

/// What the identity of the one packet that matters holds.
const WANTED: &str = "BAT_GRB_Pos_1125809";
/// Packets of a flood, in ten seconds.
const FLOOD: usize = 10_000;

/// The authors of a flood, a process of their own: what they found, as JSON.
async fn flood_authors(at: &str, folder: &Path) -> Result<()> {
    let templates = templates(folder)?;
    let wanted = templates
        .iter()
        .find(|t| t.contains(WANTED))
        .context("no Swift burst in the folder")?;
    let noise: Vec<&String> = templates.iter().filter(|t| !t.contains("1125809")).collect();
    let packets = (0..FLOOD).map(|number| match number {
        7_000 => wanted.clone().into_bytes(),
        // Notices of other years, all at the same moments: the worst crowd there can be.
        _ => crowded(noise[number % noise.len()], number).into_bytes(),
    });
    let times = authors(at, packets, FLOOD as f64 / 10.0).await?;
    let one: Vec<f64> = times.iter().filter(|(wanted, _)| *wanted).map(|(_, ms)| *ms).collect();
    let all = times.into_iter().map(|(_, ms)| ms).collect();
    println!(
        "{}",
        json!({ "first_byte_to_acknowledgement": quantiles(all), "of_the_one_that_matters_ms": one })
    );
    Ok(())
}

/// Ten thousand packets in ten seconds from authors over TCP, journaled in groups, judged, grouped, decided about; one of
/// them matters. It is decided about before it is acknowledged. The memory is that of the receiving process.
async fn flood(folder: &Path, strategies: &Path) -> Result<()> {
    let strategies = load_folder(strategies)?;
    let at: DateTime<Utc> = "2022-09-30T11:12:30Z".parse()?;
    let store = std::env::temp_dir().join(format!("alert-load-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let broker = Broker::new(BrokerSettings::new("ivo://alidade/bench"), clock(), Relay::new(16));
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(256);
    tokio::spawn(async move { broker.accept_authors(listener, sink).await });
    let (before, started, cpu) = (resident_kb(), Instant::now(), processor_s());
    let mut sending = std::process::Command::new(std::env::current_exe()?);
    let sending = sending
        .args(["flood-authors", &address])
        .arg(folder)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let intake = Intake {
        journal: Some(PacketJournal::open(&store, 1 << 22)?),
        relay: None,
        most: FLOOD as u64,
    };
    let mut desk = FloodedDesk {
        book: EventBook::new(MergeRules::default(), Trust::default()),
        strategies,
        at,
        proposals: 0,
    };
    intake.run(&mut deliveries, &mut desk).await?;
    let (seconds, spent) = (started.elapsed().as_secs_f64(), processor_s() - cpu);
    let grown = resident_kb().saturating_sub(before);
    // The last answers are on their way.
    let said = tokio::task::spawn_blocking(move || sending.wait_with_output()).await??;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).context("the authors failed")?;
    let kept = PacketJournal::open(&store, 1 << 22)?.newest(FLOOD * 2)?.len();
    std::fs::remove_dir_all(store)?;
    println!(
        "{}",
        json!({ "bench": "flood", "packets": FLOOD, "seconds": (seconds * 100.0).round() / 100.0,
            "processor_s": (spent * 100.0).round() / 100.0, "journaled": kept, "proposals": desk.proposals,
            "authors": said, "rss_growth_kb": grown })
    );
    Ok(())
}

/// Judges, groups and decides before it answers.
struct FloodedDesk {
    book: EventBook,
    strategies: Vec<Strategy>,
    at: DateTime<Utc>,
    proposals: u64,
}

impl Judge for FloodedDesk {
    type Word = ();

    fn judge(&mut self, delivery: &Delivery) -> Sentence<()> {
        let outcome = self.book.insert(&read(&delivery.bytes, Channel::Voevent, self.at));
        let event = outcome.event.and_then(|id| self.book.event(id));
        let unit = UnitCapabilities::with_field(0.4);
        let decision = event.map(|e| decide(&e, &self.strategies, &unit, self.at));
        self.proposals += u64::from(decision.is_some_and(|d| d.followed.is_some()));
        Sentence {
            answer: Answer::Taken,
            pass_on: false,
            word: (),
        }
    }

    fn kept(&mut self, (): ()) -> std::io::Result<()> {
        Ok(())
    }
}

async fn broker(receive: &str, broadcast: &str, file: &Path) -> Result<()> {
    let (authors, subscribers) = (TcpListener::bind(receive).await?, TcpListener::bind(broadcast).await?);
    let relay = Relay::new(4096);
    let settings = BrokerSettings::new("ivo://alidade/bench");
    let broker = Broker::new(settings, clock(), relay.clone());
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(256);
    let (a, b) = (broker.clone(), broker);
    tokio::spawn(async move { a.accept_authors(authors, sink).await });
    tokio::spawn(async move { b.accept_subscribers(subscribers).await });
    let intake = Intake {
        journal: Some(PacketJournal::open(file, 1 << 22)?),
        relay: Some(&relay),
        most: u64::MAX,
    };
    let mut desk = BrokersDesk(EventBook::new(MergeRules::default(), Trust::default()));
    intake.run(&mut deliveries, &mut desk).await?;
    Ok(())
}

/// Judges packets as `alidade alert broker` does, without printing.
struct BrokersDesk(EventBook);

impl Judge for BrokersDesk {
    type Word = ();

    fn judge(&mut self, delivery: &Delivery) -> Sentence<()> {
        let outcome = self
            .0
            .insert(&read(&delivery.bytes, Channel::Voevent, delivery.received_at));
        Sentence {
            answer: match outcome.verdict {
                Verdict::Reject | Verdict::Conflict => Answer::Refused(outcome.reason.to_string()),
                Verdict::Act | Verdict::Ignore | Verdict::Duplicate => Answer::Taken,
            },
            pass_on: matches!(outcome.verdict, Verdict::Act | Verdict::Ignore),
            word: (),
        }
    }

    fn kept(&mut self, (): ()) -> std::io::Result<()> {
        Ok(())
    }
}

/// A subscriber that notes when each identity came.
async fn subscribe(broadcast: &str, arrived: Arc<Mutex<HashMap<String, Instant>>>) -> Result<()> {
    let stream = TcpStream::connect(broadcast).await?;
    stream.set_nodelay(true)?;
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(256);
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            if let Ok(mut arrived) = arrived.lock() {
                arrived.entry(identity(&delivery.bytes)).or_insert_with(Instant::now);
            }
            let _ = delivery.answer.send(Answer::Taken);
        }
    });
    let settings = SubscriberSettings::new("ivo://alidade/bench-subscriber");
    tokio::spawn(async move { session(stream, "broker", &settings, &clock(), &sink).await });
    Ok(())
}

fn identity(packet: &[u8]) -> String {
    let text = String::from_utf8_lossy(packet);
    let at = text.find("ivorn=").map_or(0, |at| at + 7);
    text[at..].split(['"', '\'']).next().unwrap_or_default().to_string()
}

async fn vtp(receive: &str, broadcast: &str, folder: &Path, count: usize, authors: usize) -> Result<()> {
    let templates = templates(folder)?;
    let arrived = Arc::new(Mutex::new(HashMap::new()));
    subscribe(broadcast, arrived.clone()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Made before the clock runs: both brokers share the processor with their clients.
    let packets: Vec<Vec<Vec<u8>>> = (0..authors)
        .map(|author| {
            let numbers = (author..count).step_by(authors);
            numbers
                .map(|n| numbered(&templates[n % templates.len()], n / templates.len()))
                .collect()
        })
        .collect();
    let started = Instant::now();
    let mut tasks = Vec::new();
    for packets in packets {
        let receive = receive.to_string();
        tasks.push(tokio::spawn(async move {
            let mut acks = 0;
            for packet in packets {
                let stream = TcpStream::connect(&receive).await?;
                stream.set_nodelay(true)?;
                acks += usize::from(send(stream, &packet, Duration::from_secs(20)).await? == Receipt::Ack);
            }
            Ok::<usize, anyhow::Error>(acks)
        }));
    }
    let mut acks = 0;
    for task in tasks {
        acks += task.await??;
    }
    let spent = started.elapsed();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let relayed = arrived.lock().map_or(0, |a| a.len());
    println!(
        "{}",
        json!({ "bench": "vtp_throughput", "packets": count, "authors": authors, "acknowledged": acks,
            "relayed": relayed, "packets_per_s": (count as f64 / spent.as_secs_f64()).round() })
    );
    Ok(())
}

async fn pace(receive: &str, broadcast: &str, folder: &Path, count: usize, hertz: f64) -> Result<()> {
    let templates = templates(folder)?;
    let arrived = Arc::new(Mutex::new(HashMap::new()));
    subscribe(broadcast, arrived.clone()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut sent = HashMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / hertz));
    for number in 0..count {
        ticks.tick().await;
        let packet = numbered(&templates[number % templates.len()], 100_000 + number / templates.len());
        sent.insert(identity(&packet), Instant::now());
        let stream = TcpStream::connect(receive).await?;
        stream.set_nodelay(true)?;
        send(stream, &packet, Duration::from_secs(20)).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let arrived = arrived.lock().map_err(|_| anyhow::anyhow!("a task panicked"))?;
    let times = sent
        .iter()
        .filter_map(|(id, at)| arrived.get(id).map(|then| millis(*then - *at)))
        .collect();
    println!(
        "{}",
        json!({ "bench": "vtp_latency", "sent": count, "hertz": hertz, "author_to_subscriber": quantiles(times) })
    );
    Ok(())
}
