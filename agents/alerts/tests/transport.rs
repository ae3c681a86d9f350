//! The transports, over in-memory connections, real sockets and real folders; time is tokio's and paused where it counts.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alidade_alerts::transport::folder::{Spool, watch as watch_folder};
use alidade_alerts::transport::networks::AllowList;
use alidade_alerts::transport::vtp::frame::{FrameDecoder, encode};
use alidade_alerts::transport::vtp::message::{Payload, TransportMessage, TransportRole, classify};
use alidade_alerts::transport::vtp::{
    Answer, Broker, BrokerSettings, Clock, Delivery, LinkState, Receipt, Relay, SubscriberSettings, VtpError, run,
    send, session,
};
use alidade_alerts::{Channel, Limits, Verdict, read};
use chrono::{DateTime, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const PACKET: &[u8] = b"<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' version='2.0' role='test' \
    ivorn='ivo://a.b/c#test1'/>";

fn clock() -> Clock {
    let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
    Arc::new(move || now)
}

/// Answers every packet as an honest receiver does: refused if it is rejected, taken otherwise.
fn receiver() -> (mpsc::Sender<Delivery>, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(16);
    let (seen, all) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            let reading = read(&delivery.bytes, Channel::Voevent, delivery.received_at);
            let answer = match reading.verdict {
                Verdict::Reject => Answer::Refused(reading.reason.to_string()),
                _ => Answer::Taken,
            };
            seen.send(delivery.bytes).unwrap();
            delivery.answer.send(answer).unwrap();
        }
    });
    (sink, all)
}

/// The far end of a connection, frame by frame.
struct Peer {
    stream: DuplexStream,
    decoder: FrameDecoder,
}

impl Peer {
    fn new(stream: DuplexStream) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(1 << 20),
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(&encode(bytes).unwrap()).await.unwrap();
    }

    /// The next frame, `None` at the end of the stream.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let mut chunk = [0; 1024];
            let count = self.stream.read(&mut chunk).await.unwrap();
            if count == 0 {
                return None;
            }
            self.decoder.push(&chunk[..count]);
        }
    }

    async fn hear_role(&mut self) -> Option<TransportMessage> {
        let frame = self.hear().await?;
        match classify(&frame, &Limits::default()).unwrap() {
            Payload::Transport(message) => Some(message),
            Payload::Packet => panic!("a packet"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_acknowledges_packets_and_answers_signs_of_life() {
    let (near, far) = duplex(1 << 16);
    let (sink, mut seen) = receiver();
    let settings = SubscriberSettings::new("ivo://us/subscriber");
    let clock_near = clock();
    let task = tokio::spawn(async move { session(near, "broker", &settings, &clock_near, &sink).await });
    let mut broker = Peer::new(far);
    broker
        .say(&TransportMessage::iamalive("ivo://them", clock()()).to_xml())
        .await;
    let reply = broker.hear_role().await.unwrap();
    assert_eq!(
        (reply.role, reply.origin.as_str()),
        (TransportRole::Iamalive, "ivo://them")
    );
    assert_eq!(reply.response.as_deref(), Some("ivo://us/subscriber"));
    broker.say(PACKET).await;
    let ack = broker.hear_role().await.unwrap();
    assert_eq!(
        (ack.role, ack.origin.as_str()),
        (TransportRole::Ack, "ivo://a.b/c#test1")
    );
    assert_eq!(seen.recv().await.unwrap(), PACKET);
    // A malformed packet costs neither the feed nor, with the usual brokers, the line.
    broker.say(b"<VOEvent").await;
    assert_eq!(broker.hear_role().await.unwrap().role, TransportRole::Ack);
    drop(broker);
    assert!(matches!(task.await.unwrap(), Err(VtpError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_is_not_safe_is_never_acknowledged() {
    let (near, far) = duplex(1 << 16);
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(1);
    let settings = SubscriberSettings::new("ivo://us");
    let clock_near = clock();
    let task = tokio::spawn(async move { session(near, "broker", &settings, &clock_near, &sink).await });
    let mut broker = Peer::new(far);
    broker.say(PACKET).await;
    drop(deliveries.recv().await.unwrap().answer);
    assert!(task.await.unwrap().is_err());
    assert!(broker.hear().await.is_none(), "no answer, and the line is closed");
}

#[tokio::test(start_paused = true)]
async fn silence_of_two_minutes_ends_a_session() {
    let (near, _far) = duplex(1 << 16);
    let (sink, _seen) = receiver();
    let settings = SubscriberSettings::new("ivo://us");
    let started = tokio::time::Instant::now();
    let ended = session(near, "broker", &settings, &clock(), &sink).await;
    assert!(matches!(ended, Err(VtpError::Silent(_))));
    assert_eq!(started.elapsed(), Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_comes_back_with_growing_pauses() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (far_ends, mut ends) = mpsc::unbounded_channel();
    let (sink, mut seen) = receiver();
    let (state, mut states) = watch::channel(LinkState::Connecting);
    let counted = attempts.clone();
    let started = tokio::time::Instant::now();
    let task = tokio::spawn(async move {
        let settings = SubscriberSettings::new("ivo://us");
        let connect = || {
            let attempt = counted.fetch_add(1, Ordering::SeqCst);
            let far_ends = far_ends.clone();
            async move {
                if attempt < 3 {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
                }
                let (near, far) = duplex(1 << 16);
                far_ends.send(far).unwrap();
                Ok(near)
            }
        };
        run(connect, "broker", &settings, &clock(), &sink, &state).await;
    });
    let mut broker = Peer::new(ends.recv().await.unwrap());
    assert_eq!(started.elapsed(), Duration::from_secs(1 + 2 + 4));
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    broker.say(PACKET).await;
    assert_eq!(broker.hear_role().await.unwrap().role, TransportRole::Ack);
    assert_eq!(seen.recv().await.unwrap(), PACKET);
    assert_eq!(*states.borrow_and_update(), LinkState::Up);
    drop(broker);
    states.changed().await.unwrap();
    assert!(matches!(&*states.borrow(), LinkState::Down { .. }));
    task.abort();
}

#[tokio::test]
async fn an_author_gets_an_ack_or_a_nak_with_the_reason() {
    let broker = Broker::new(BrokerSettings::new("ivo://us/broker"), clock(), Relay::new(8));
    let (sink, _seen) = receiver();
    for (packet, nak) in [
        (PACKET, None),
        (&b"<VOEvent/>"[..], Some("ivorn")),
        (&b"<!DOCTYPE a><a/>"[..], Some("dtd")),
    ] {
        let (near, far) = duplex(1 << 16);
        let (broker, sink) = (broker.clone(), sink.clone());
        let served = tokio::spawn(async move { broker.serve_author(far, "author", &sink).await });
        let receipt = send(near, packet, Duration::from_secs(5)).await.unwrap();
        match nak {
            None => assert_eq!(receipt, Receipt::Ack),
            Some(reason) => assert_eq!(receipt, Receipt::Nak(Some(reason.to_string()))),
        }
        served.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_drops_who_is_deaf() {
    let settings = BrokerSettings::new("ivo://us/broker");
    let relay = Relay::new(64);
    let broker = Broker::new(settings, clock(), relay.clone());
    // Deaf: never answers a sign of life.
    let (near, far) = duplex(1 << 16);
    let deaf = broker.clone();
    let task = tokio::spawn(async move { deaf.serve_subscriber(far).await });
    let mut peer = Peer::new(near);
    assert_eq!(peer.hear_role().await.unwrap().role, TransportRole::Authenticate);
    assert_eq!(peer.hear_role().await.unwrap().role, TransportRole::Iamalive);
    assert!(matches!(task.await.unwrap(), Err(VtpError::Silent(_))));
}

#[tokio::test]
async fn packets_go_from_author_to_subscribers_over_tcp() {
    let relay = Relay::new(64);
    let mut settings = BrokerSettings::new("ivo://us/broker");
    settings.authors = AllowList::new(vec!["127.0.0.0/8".parse().unwrap()]);
    settings.subscribers = AllowList::this_machine();
    let broker = Broker::new(settings, clock(), relay.clone());
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(16);
    let onward = relay.clone();
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            onward.publish(&delivery.bytes);
            delivery.answer.send(Answer::Taken).unwrap();
        }
    });
    let authors = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let subscribers = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (author_at, subscriber_at) = (authors.local_addr().unwrap(), subscribers.local_addr().unwrap());
    let (a, b) = (broker.clone(), broker);
    tokio::spawn(async move { a.accept_authors(authors, sink).await });
    tokio::spawn(async move { b.accept_subscribers(subscribers).await });
    let (ours, mut seen) = receiver();
    for _ in 0..2 {
        let stream = TcpStream::connect(subscriber_at).await.unwrap();
        let ours = ours.clone();
        tokio::spawn(async move {
            let settings = SubscriberSettings::new("ivo://us/subscriber");
            session(stream, "broker", &settings, &clock(), &ours).await
        });
    }
    while relay.subscribers() < 2 {
        tokio::task::yield_now().await;
    }
    let stream = TcpStream::connect(author_at).await.unwrap();
    assert_eq!(
        send(stream, PACKET, Duration::from_secs(5)).await.unwrap(),
        Receipt::Ack
    );
    assert_eq!(seen.recv().await.unwrap(), PACKET);
    assert_eq!(seen.recv().await.unwrap(), PACKET);
}

#[tokio::test]
async fn a_stranger_is_not_served() {
    let mut settings = BrokerSettings::new("ivo://us/broker");
    settings.authors = AllowList::new(vec!["192.0.2.0/24".parse().unwrap()]);
    let broker = Broker::new(settings, clock(), Relay::new(8));
    let (sink, _seen) = receiver();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { broker.accept_authors(listener, sink).await });
    let stream = TcpStream::connect(address).await.unwrap();
    assert!(send(stream, PACKET, Duration::from_secs(5)).await.is_err());
}

/// A broker's end of a subscription over memory, under that behaviour.
fn subscription(settings: &BrokerSettings, relay: &Relay) -> (Peer, tokio::task::JoinHandle<Result<(), VtpError>>) {
    let (near, far) = duplex(1 << 12);
    let broker = Broker::new(settings.clone(), clock(), relay.clone());
    (
        Peer::new(far),
        tokio::spawn(async move { broker.serve_subscriber(near).await }),
    )
}

fn numbered(number: usize) -> Vec<u8> {
    String::from_utf8_lossy(PACKET)
        .replace("test1", &format!("test{number}"))
        .into_bytes()
}

impl Peer {
    /// Says who it is when the broker asks.
    async fn introduce(&mut self, who: &str) {
        let asked = self.hear_role().await.unwrap();
        assert_eq!(asked.role, TransportRole::Authenticate);
        self.say(&asked.reply(who, clock()()).to_xml()).await;
    }

    /// Hears the packet of that number and acknowledges it.
    async fn take(&mut self, number: usize, who: &str) {
        assert_eq!(self.hear().await.unwrap(), numbered(number));
        let ack = TransportMessage::ack(&format!("ivo://a.b/c#test{number}"), who, clock()());
        self.say(&ack.to_xml()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_again_gets_what_it_missed_and_a_newcomer_only_what_is_new() {
    let (settings, relay) = (BrokerSettings::new("ivo://us/broker"), Relay::new(64));
    let (mut peer, task) = subscription(&settings, &relay);
    peer.introduce("ivo://them/one").await;
    relay.publish(&numbered(1));
    peer.take(1, "ivo://them/one").await;
    relay.publish(&numbered(2));
    assert_eq!(
        peer.hear().await.unwrap(),
        numbered(2),
        "sent, and the line breaks before the answer"
    );
    drop(peer);
    assert!(task.await.unwrap().is_ok());
    relay.publish(&numbered(3));

    let (mut again, _task) = subscription(&settings, &relay);
    again.introduce("ivo://them/one").await;
    again.take(2, "ivo://them/one").await;
    again.take(3, "ivo://them/one").await;
    let (mut newcomer, _other) = subscription(&settings, &relay);
    newcomer.introduce("ivo://them/two").await;
    // One that never says who it is gets what is new as well.
    let (mut silent, _third) = subscription(&settings, &relay);
    assert_eq!(silent.hear_role().await.unwrap().role, TransportRole::Authenticate);
    tokio::time::sleep(settings.identify_within * 2).await;
    relay.publish(&numbered(4));
    again.take(4, "ivo://them/one").await;
    newcomer.take(4, "ivo://them/two").await;
    assert_eq!(silent.hear().await.unwrap(), numbered(4));
}

#[tokio::test(start_paused = true)]
async fn a_burst_waits_for_a_slow_subscriber_and_one_that_never_answers_is_dropped() {
    let mut settings = BrokerSettings::new("ivo://us/broker");
    settings.most_outstanding = 3;
    let relay = Relay::new(64);
    let (mut peer, task) = subscription(&settings, &relay);
    peer.introduce("ivo://them/slow").await;
    for number in 0..20 {
        relay.publish(&numbered(number));
    }
    for number in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.take(number, "ivo://them/slow").await;
    }
    relay.publish(&numbered(20));
    let began = tokio::time::Instant::now();
    let why = task.await.unwrap().unwrap_err();
    assert!(why.to_string().contains("unacknowledged"), "{why}");
    assert!(began.elapsed() <= settings.acknowledge_within + Duration::from_secs(1));

    let small = Relay::new(4);
    let (mut peer, task) = subscription(&settings, &small);
    peer.introduce("ivo://them/far-behind").await;
    for number in 0..20 {
        small.publish(&numbered(number));
    }
    let why = task.await.unwrap().unwrap_err();
    assert!(why.to_string().contains("behind"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_go_both_ways() {
    let (settings, relay) = (BrokerSettings::new("ivo://us/broker"), Relay::new(64));
    let (mut peer, task) = subscription(&settings, &relay);
    peer.introduce("ivo://them/one").await;
    let ask = TransportMessage::iamalive("ivo://them/one", clock()());
    peer.say(&ask.to_xml()).await;
    let answer = peer.hear_role().await.unwrap();
    assert_eq!(
        (answer.role, answer.response.as_deref()),
        (TransportRole::Iamalive, Some("ivo://us/broker"))
    );
    let asked = peer.hear_role().await.unwrap();
    assert_eq!(
        (asked.role.clone(), asked.origin.as_str()),
        (TransportRole::Iamalive, "ivo://us/broker")
    );
    peer.say(&asked.reply("ivo://them/one", clock()()).to_xml()).await;
    assert_eq!(peer.hear_role().await.unwrap().role, TransportRole::Iamalive);
    assert!(
        matches!(task.await.unwrap(), Err(VtpError::Silent(_))),
        "the second one was not answered"
    );
}

#[tokio::test(start_paused = true)]
async fn many_packets_wait_for_one_write_and_are_acknowledged_in_order() {
    let (near, far) = duplex(1 << 16);
    let (sink, mut deliveries) = mpsc::channel::<Delivery>(64);
    let settings = SubscriberSettings::new("ivo://us/subscriber");
    let task = tokio::spawn(async move { session(near, "broker", &settings, &clock(), &sink).await });
    let mut broker = Peer::new(far);
    for number in 0..10 {
        broker.say(&numbered(number)).await;
    }
    let mut batch = Vec::new();
    for _ in 0..10 {
        batch.push(deliveries.recv().await.unwrap());
    }
    for delivery in batch.into_iter().rev() {
        delivery.answer.send(Answer::Taken).unwrap();
    }
    for number in 0..10 {
        let ack = broker.hear_role().await.unwrap();
        assert_eq!(
            (ack.role, ack.origin),
            (TransportRole::Ack, format!("ivo://a.b/c#test{number}"))
        );
    }
    broker.say(&numbered(10)).await;
    drop(deliveries.recv().await.unwrap().answer);
    assert!(
        matches!(task.await.unwrap(), Err(VtpError::Unexpected(_))),
        "unanswered: the sender must know"
    );
}

/// A fresh folder under the build's own temporary folder.
fn fresh(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[tokio::test(start_paused = true)]
async fn files_dropped_in_a_folder_are_read_once_and_moved() {
    let folder = fresh("spool");
    let spool = Spool::open(&folder).unwrap();
    std::fs::write(folder.join("b.xml"), b"<VOEvent></VOEvent>").unwrap();
    let whole = String::from_utf8_lossy(PACKET).replace("/>", "></voe:VOEvent>");
    std::fs::write(folder.join("a.xml"), &whole).unwrap();
    std::fs::write(folder.join("c.xml.tmp"), b"half").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("d.xml")).unwrap();
    std::fs::write(folder.join("processed/a.xml"), b"older").unwrap();
    let (sink, mut seen) = receiver();
    let task = tokio::spawn(watch_folder(
        spool.clone(),
        Duration::from_secs(1),
        1 << 20,
        clock(),
        sink,
        watch::channel(LinkState::Connecting).0,
    ));
    assert_eq!(seen.recv().await.unwrap(), whole.as_bytes());
    assert_eq!(seen.recv().await.unwrap(), b"<VOEvent></VOEvent>");
    while !spool.waiting().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        std::fs::read(folder.join("processed/a.xml.2")).unwrap(),
        whole.as_bytes()
    );
    assert_eq!(std::fs::read(folder.join("refused/b.xml.reason")).unwrap(), b"ivorn\n");
    assert!(
        folder.join("refused/d.xml").symlink_metadata().unwrap().is_symlink(),
        "moved, never followed"
    );
    assert!(folder.join("c.xml.tmp").exists(), "an unfinished file is left alone");
    assert!(seen.try_recv().is_err(), "nothing was read twice");
    let growing = folder.join("e.xml");
    std::fs::write(&growing, &PACKET[..40]).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    std::fs::write(&growing, [PACKET, b"<!-- still being written"].concat()).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(seen.try_recv().is_err(), "a file that grows is left alone");
    std::fs::write(&growing, &whole).unwrap();
    assert_eq!(seen.recv().await.unwrap(), whole.as_bytes());
    task.abort();
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_read_is_a_line_that_is_down_until_it_is_there_again() {
    let folder = fresh("lost-spool");
    let spool = Spool::open(&folder).unwrap();
    let (sink, _seen) = mpsc::channel(4);
    let (link, mut state) = watch::channel(LinkState::Connecting);
    let every = Duration::from_secs(1);
    let task = tokio::spawn(watch_folder(spool, every, 1 << 20, clock(), sink, link));
    state.wait_for(|state| *state == LinkState::Up).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let down = |state: &LinkState| matches!(state, LinkState::Down { reason, .. } if reason.contains("cannot be read"));
    state.wait_for(down).await.unwrap();
    std::fs::create_dir(&folder).unwrap();
    state.wait_for(|state| *state == LinkState::Up).await.unwrap();
    task.abort();
    std::fs::remove_dir_all(folder).unwrap();
}
