//! The Kafka listener against librdkafka's mock cluster, and the login against a token server on this machine.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "../../../tests/support/python.rs"]
mod python;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use alidade_alerts::transport::kafka::{KafkaListener, KafkaSettings, Login, Tls, TokenError, fetch, start};
use alidade_alerts::transport::vtp::{Answer, Clock, Delivery, LinkState};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::sync::{mpsc, watch};

/// Longest wait for something that must come: brokers take a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

fn fixed_clock() -> (Clock, Arc<AtomicI64>) {
    let seconds = Arc::new(AtomicI64::new(1_795_176_000));
    let read = seconds.clone();
    let clock = Arc::new(move || chrono::DateTime::from_timestamp(read.load(Ordering::Relaxed), 0).unwrap());
    (clock, seconds)
}

fn produce(brokers: &str, topic: &str, messages: &[Vec<u8>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.max.bytes", "4000000")
        .create()
        .unwrap();
    for message in messages {
        producer
            .send(BaseRecord::<(), [u8]>::to(topic).payload(message))
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

struct Listening {
    listener: KafkaListener,
    deliveries: mpsc::Receiver<Delivery>,
    state: watch::Receiver<LinkState>,
    seconds: Arc<AtomicI64>,
}

fn listen(brokers: &str, heartbeat: bool) -> Listening {
    let (clock, seconds) = fixed_clock();
    let (sink, deliveries) = mpsc::channel(16);
    let (state_out, state) = watch::channel(LinkState::Connecting);
    let settings = KafkaSettings {
        brokers: brokers.into(),
        group: "observatory".into(),
        topics: vec!["gcn.notices.svom.voevent.grm".into()],
        heartbeat: heartbeat.then(|| "gcn.heartbeat".into()),
        silence: Duration::from_secs(60),
        fetch_wait: Duration::from_millis(20),
        answer_within: Duration::from_secs(20),
        tls: Tls::Off,
        login: None,
    };
    let listener = start(settings, clock, sink, state_out).unwrap();
    Listening {
        listener,
        deliveries,
        state,
        seconds,
    }
}

async fn next(from: &mut Listening) -> Delivery {
    tokio::time::timeout(PATIENCE, from.deliveries.recv())
        .await
        .unwrap()
        .unwrap()
}

fn notices(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("notice {n}").into_bytes()).collect()
}

async fn stop(listening: Listening) {
    tokio::task::spawn_blocking(move || listening.listener.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_not_in_the_journal_comes_again_and_a_new_run_begins_behind_what_is() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("gcn.notices.svom.voevent.grm", 1, 1).unwrap();
    produce(&brokers, "gcn.notices.svom.voevent.grm", &notices(3));

    let mut first_run = listen(&brokers, false);
    let first = next(&mut first_run).await;
    assert_eq!(first.bytes, b"notice 0");
    assert_eq!(first.peer, "gcn.notices.svom.voevent.grm[0]@0");
    first.answer.send(Answer::Taken).unwrap();
    let second = next(&mut first_run).await;
    assert_eq!(second.bytes, b"notice 1");
    let behind = next(&mut first_run).await;
    assert_eq!(
        behind.bytes, b"notice 2",
        "nobody waits for the answer to the one before"
    );
    behind.answer.send(Answer::Taken).unwrap();
    drop(second.answer);
    let again = next(&mut first_run).await;
    assert_eq!(again.bytes, b"notice 1", "unanswered: the same one again");
    again.answer.send(Answer::Refused("malformed".into())).unwrap();
    let third = next(&mut first_run).await;
    assert_eq!(
        third.bytes, b"notice 2",
        "a refused one is dealt with, and what was behind it comes again"
    );
    drop(third.answer);
    stop(first_run).await;

    let mut second_run = listen(&brokers, false);
    let missed = next(&mut second_run).await;
    assert_eq!(missed.bytes, b"notice 2", "neither lost nor begun from the start");
    missed.answer.send(Answer::Taken).unwrap();
    stop(second_run).await;
}

#[tokio::test]
async fn many_messages_wait_for_the_journal_together_and_a_new_run_begins_behind_all_that_were_answered() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("gcn.notices.svom.voevent.grm", 1, 1).unwrap();
    produce(&brokers, "gcn.notices.svom.voevent.grm", &notices(12));
    let mut first_run = listen(&brokers, false);
    let mut waiting = Vec::new();
    for wanted in &notices(12) {
        let delivery = next(&mut first_run).await;
        assert_eq!(&delivery.bytes, wanted);
        waiting.push(delivery.answer);
    }
    // The journal answers some of them, the last ones first: an offset is passed only behind all before it.
    let unanswered = waiting.remove(8);
    for answer in waiting.into_iter().rev() {
        answer.send(Answer::Taken).unwrap();
    }
    drop(unanswered);
    let again = next(&mut first_run).await;
    assert_eq!(again.bytes, b"notice 8");
    drop(again.answer);
    stop(first_run).await;
    let mut second_run = listen(&brokers, false);
    assert_eq!(next(&mut second_run).await.bytes, b"notice 8");
    stop(second_run).await;
}

#[tokio::test]
async fn a_sky_map_of_a_megabyte_comes_whole() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("gcn.notices.svom.voevent.grm", 1, 1).unwrap();
    let map: Vec<u8> = (0..1_200_000_u32).map(|n| (n % 251) as u8).collect();
    produce(&brokers, "gcn.notices.svom.voevent.grm", std::slice::from_ref(&map));
    let mut run = listen(&brokers, false);
    let delivery = next(&mut run).await;
    assert!(delivery.bytes == map);
    delivery.answer.send(Answer::Taken).unwrap();
    stop(run).await;
}

#[tokio::test]
async fn a_silent_heartbeat_is_seen_and_a_new_consumer_takes_over() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    for topic in ["gcn.notices.svom.voevent.grm", "gcn.heartbeat"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    produce(&brokers, "gcn.heartbeat", &[b"{}".to_vec()]);
    let mut run = listen(&brokers, true);
    let up = run.state.wait_for(|state| *state == LinkState::Up);
    tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap();
    run.seconds.fetch_add(61, Ordering::Relaxed);
    let down = run.state.wait_for(|state| matches!(state, LinkState::Down { .. }));
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    produce(&brokers, "gcn.notices.svom.voevent.grm", &notices(1));
    let delivery = next(&mut run).await;
    assert_eq!(delivery.bytes, b"notice 0", "the new consumer reads on");
    assert_eq!(*run.state.borrow(), LinkState::Up);
    delivery.answer.send(Answer::Taken).unwrap();
    stop(run).await;
}

fn login(url: String) -> Login {
    Login {
        token_url: url,
        client_id: "observatory".into(),
        client_secret: "secret".into(),
        scope: None,
        ca_file: None,
        patience: Duration::from_secs(10),
    }
}

/// Reads a whole request and answers it: with a token of that life for the right secret, with 401 for another.
fn answer(mut stream: impl std::io::Read + std::io::Write, life_s: u64) {
    let mut asked = Vec::new();
    let mut part = [0; 1024];
    while !asked.ends_with(b"grant_type=client_credentials") {
        let count = stream.read(&mut part).unwrap_or(0);
        if count == 0 {
            return;
        }
        asked.extend_from_slice(&part[..count]);
    }
    // "observatory:secret" in base64.
    let known = String::from_utf8_lossy(&asked).contains("Authorization: Basic b2JzZXJ2YXRvcnk6c2VjcmV0\r\n");
    let (status, body) = if known {
        (
            "200 OK",
            format!("{{\"access_token\":\"a.b.c\",\"token_type\":\"Bearer\",\"expires_in\":{life_s}}}"),
        )
    } else {
        ("401 Unauthorized", "{\"error\":\"invalid_client\"}".to_owned())
    };
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
}

/// What GCN's own client reads: one line a message, its bytes in hexadecimal.
const GCN_CLIENT: &str = r#"
import sys
from gcn_kafka import Consumer
brokers, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer(config={"bootstrap.servers": brokers, "security.protocol": "plaintext",
                            "group.id": "gcn-client", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
while count:
    for message in consumer.consume(timeout=1):
        if not message.error():
            print(message.value().hex(), flush=True)
            count -= 1
consumer.close()
"#;

#[tokio::test]
async fn we_read_what_the_clients_of_gcn_read_from_the_same_cluster() {
    const TOPIC: &str = "gcn.notices.svom.voevent.grm";
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let sent = notices(5);
    produce(&brokers, TOPIC, &sent);
    let mut run = listen(&brokers, false);
    for expected in &sent {
        let delivery = next(&mut run).await;
        assert_eq!(&delivery.bytes, expected);
        delivery.answer.send(Answer::Taken).unwrap();
    }
    let mut theirs = python::program("python");
    theirs.args(["-c", GCN_CLIENT, &brokers, TOPIC, "5"]);
    let theirs = tokio::task::spawn_blocking(move || theirs.output().unwrap())
        .await
        .unwrap();
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let hex = |message: &Vec<u8>| message.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let read: Vec<String> = String::from_utf8_lossy(&theirs.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(read, sent.iter().map(hex).collect::<Vec<_>>());
    stop(run).await;
}

/// GCN's client asks for its token; the cluster behind it is nobody.
const GCN_LOGIN: &str = r#"
import sys
from gcn_kafka import Consumer
consumer = Consumer(config={"bootstrap.servers": sys.argv[1], "security.protocol": "sasl_plaintext", "group.id": "g",
                            "sasl.oauthbearer.token.endpoint.url": sys.argv[2]},
                    client_id="observatory", client_secret="secret")
consumer.poll(5)
"#;

#[test]
fn the_token_server_serves_the_clients_of_gcn_and_us_alike() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/oauth2/token", server.local_addr().unwrap());
    let brokers = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = python::program("python");
    let brokers = brokers.local_addr().unwrap().to_string();
    client.args(["-c", GCN_LOGIN, &brokers, &url]);
    let theirs = std::thread::spawn(move || client.output().unwrap());
    let mut stream = server.accept().unwrap().0;
    let mut asked = Vec::new();
    let mut part = [0; 1024];
    while !String::from_utf8_lossy(&asked).contains("grant_type=client_credentials") {
        let count = std::io::Read::read(&mut stream, &mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&asked));
        asked.extend_from_slice(&part[..count]);
    }
    let theirs_asked = String::from_utf8_lossy(&asked).into_owned();
    assert!(
        theirs_asked.contains("Authorization: Basic b2JzZXJ2YXRvcnk6c2VjcmV0\r\n"),
        "{theirs_asked}"
    );
    answer(std::io::Cursor::new(asked), 3600);
    drop(stream);
    // The same server, asked by us.
    let serving = std::thread::spawn(move || answer(server.accept().unwrap().0, 3600));
    assert_eq!(fetch(&login(url)).unwrap().value, "a.b.c");
    serving.join().unwrap();
    theirs.join().unwrap();
}

#[test]
fn the_right_secret_gets_a_token_and_a_wrong_one_the_servers_status() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/oauth2/token", server.local_addr().unwrap());
    let serving = std::thread::spawn(move || (0..2).for_each(|_| answer(server.accept().unwrap().0, 3600)));
    let token = fetch(&login(url.clone())).unwrap();
    assert_eq!((token.value.as_str(), token.lifetime.as_secs()), ("a.b.c", 3600));
    let wrong = Login {
        client_secret: "guess".into(),
        ..login(url)
    };
    assert!(matches!(fetch(&wrong), Err(TokenError::Refused { status: 401 })));
    serving.join().unwrap();
}

#[test]
fn a_token_server_must_prove_who_it_is() {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder
        .append_extension(BasicConstraints::new().ca().build().unwrap())
        .unwrap();
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    let file = std::env::temp_dir().join(format!("alidade-token-ca-{}.pem", std::process::id()));
    std::fs::write(&file, certificate.to_pem().unwrap()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let acceptor = acceptor.build();

    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/token", server.local_addr().unwrap().port());
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let stream: TcpStream = server.accept().unwrap().0;
            if let Ok(stream) = acceptor.accept(stream) {
                answer(stream, 60);
            }
        }
    });
    assert!(
        matches!(fetch(&login(url.clone())), Err(TokenError::Tls(_))),
        "nobody vouches for it"
    );
    let trusted = Login {
        ca_file: Some(file.clone()),
        ..login(url)
    };
    assert_eq!(fetch(&trusted).unwrap().value, "a.b.c");
    serving.join().unwrap();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_token_is_asked_for_again_before_it_ends() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", server.local_addr().unwrap());
    let (asked, times) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            answer(stream.unwrap(), 2);
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    // Tokens end by the clock of this machine, which librdkafka reads itself.
    let clock: Clock = Arc::new(|| {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map(|e| chrono::DateTime::UNIX_EPOCH + e)
            .unwrap()
    });
    let brokers = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sink, _deliveries) = mpsc::channel(1);
    let (state, _) = watch::channel(LinkState::Connecting);
    let settings = KafkaSettings {
        brokers: brokers.local_addr().unwrap().to_string(),
        tls: Tls::Off,
        login: Some(login(url)),
        ..KafkaSettings::gcn("observatory", vec!["igwn.gwalert".into()], String::new(), String::new())
    };
    let listener = start(settings, clock, sink, state).unwrap();
    for time in 0..3 {
        times
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("asked {time} times only"));
    }
    listener.stop();
}
