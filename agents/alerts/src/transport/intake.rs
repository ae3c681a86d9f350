//! Packets taken in: kept, judged, then answered and passed on.
//!
//! ```text
//!  arrived ──► judged ─────────────────────────┐
//!     └──────► written ──fdatasync──► durable ─┴──► answered, passed on
//! ```
//!
//! The disk is waited for on a thread of its own, and the packets are judged meanwhile; whatever arrives during one write
//! shares the next. Nothing is answered before it is durable. What could not be written has no answer, so that its
//! sender keeps it, and is written again with whatever comes next: its copy, which is then known, is answered as safe
//! only when it is.

use std::io;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::journal::{PacketJournal, frames};
use super::vtp::{Answer, Delivery, Relay};

/// Packets that share one write to the disk at most.
pub const MOST_AT_ONCE: usize = 256;

/// What becomes of a packet once it is durable.
#[derive(Debug)]
pub struct Sentence<W> {
    /// For its sender.
    pub answer: Answer,
    /// Whether subscribers get it.
    pub pass_on: bool,
    /// For the judge itself.
    pub word: W,
}

/// Who judges packets.
pub trait Judge {
    /// What it remembers of a packet until that is durable.
    type Word;

    /// Judges a packet, in the order of arrival; it may not be durable yet.
    fn judge(&mut self, delivery: &Delivery) -> Sentence<Self::Word>;

    /// The packet is durable and its answer on the way.
    ///
    /// # Errors
    /// What makes it pointless to go on.
    fn kept(&mut self, word: Self::Word) -> io::Result<()>;
}

/// Where packets go.
#[derive(Debug)]
pub struct Intake<'a> {
    /// They are kept here, if anywhere.
    pub journal: Option<PacketJournal>,
    /// Subscribers.
    pub relay: Option<&'a Relay>,
    /// No more are taken than so many.
    pub most: u64,
}

type Write = JoinHandle<(PacketJournal, Vec<u8>, io::Result<()>)>;
type Held<W> = (Delivery, Sentence<W>);

impl Intake<'_> {
    /// Takes packets until no more come or enough were taken; how many it were.
    ///
    /// # Errors
    /// Those of the judge, and a lost thread.
    pub async fn run<J: Judge>(mut self, deliveries: &mut mpsc::Receiver<Delivery>, judge: &mut J) -> io::Result<u64> {
        let (mut seen, mut open, mut batch) = (0, true, Vec::new());
        // Frames that a write has left behind: they go first.
        let mut unwritten = Vec::new();
        let mut under_way: Vec<Held<J::Word>> = Vec::new();
        let mut waiting: Vec<Held<J::Word>> = Vec::new();
        let mut writing: Option<Write> = None;
        loop {
            let left = usize::try_from(self.most - seen).unwrap_or(usize::MAX);
            let room = left.min(MOST_AT_ONCE - waiting.len().min(MOST_AT_ONCE));
            tokio::select! {
                biased;
                done = async { match &mut writing { Some(write) => write.await, None => std::future::pending().await } },
                    if writing.is_some() =>
                {
                    let (journal, bytes, result) = done.map_err(io::Error::other)?;
                    self.journal = Some(journal);
                    writing = None;
                    match result {
                        Ok(()) => self.settle(&mut under_way, judge)?,
                        Err(error) => {
                            tracing::error!(%error, "packets cannot be kept");
                            (unwritten, _) = (bytes, under_way.clear());
                        }
                    }
                    if !waiting.is_empty() {
                        std::mem::swap(&mut under_way, &mut waiting);
                        writing = self.write(&mut unwritten, under_way.iter().map(|(delivery, _)| delivery))?;
                    }
                }
                count = deliveries.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    let idle = writing.is_none();
                    if idle && open && batch.len() < room {
                        // Whoever has a packet ready hands it in now and shares the write.
                        tokio::task::yield_now().await;
                        while batch.len() < room && let Ok(more) = deliveries.try_recv() {
                            batch.push(more);
                        }
                    }
                    seen += batch.len() as u64;
                    if idle && open {
                        writing = self.write(&mut unwritten, batch.iter())?;
                    }
                    let judged = batch.drain(..).map(|delivery| {
                        let sentence = judge.judge(&delivery);
                        (delivery, sentence)
                    });
                    if idle { under_way.extend(judged) } else { waiting.extend(judged) }
                    if writing.is_none() {
                        // There is no journal: nothing to wait for.
                        self.settle(&mut under_way, judge)?;
                    }
                }
                else => return Ok(seen),
            }
        }
    }

    /// Begins a write; `None` without a journal.
    fn write<'d>(
        &mut self,
        unwritten: &mut Vec<u8>,
        packets: impl Iterator<Item = &'d Delivery> + Clone,
    ) -> io::Result<Option<Write>> {
        let (Some(mut journal), Some(newest)) = (self.journal.take(), packets.clone().last()) else {
            return Ok(None);
        };
        let now = newest.received_at;
        let mut bytes = std::mem::take(unwritten);
        frames(packets.map(|delivery| delivery.bytes.as_slice()), &mut bytes)?;
        Ok(Some(tokio::task::spawn_blocking(move || {
            let written = journal.append_frames(&bytes, now);
            (journal, bytes, written)
        })))
    }

    fn settle<J: Judge>(&self, held: &mut Vec<Held<J::Word>>, judge: &mut J) -> io::Result<()> {
        for (delivery, sentence) in held.drain(..) {
            if let Some(relay) = self.relay.filter(|_| sentence.pass_on) {
                relay.publish(&delivery.bytes);
            }
            if delivery.answer.send(sentence.answer).is_err() {
                tracing::debug!(peer = %delivery.peer, "gone before the answer");
            }
            judge.kept(sentence.word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use tokio::sync::oneshot;

    /// Takes what begins with `a`; remembers the order in which packets became durable.
    #[derive(Default)]
    struct Notary(Vec<String>);

    impl Judge for Notary {
        type Word = String;

        fn judge(&mut self, delivery: &Delivery) -> Sentence<String> {
            let good = delivery.bytes.starts_with(b"a");
            Sentence {
                answer: if good {
                    Answer::Taken
                } else {
                    Answer::Refused("no".into())
                },
                pass_on: good,
                word: String::from_utf8_lossy(&delivery.bytes).into_owned(),
            }
        }

        fn kept(&mut self, word: String) -> io::Result<()> {
            self.0.push(word);
            Ok(())
        }
    }

    fn delivery(bytes: &str) -> (Delivery, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let delivery = Delivery {
            bytes: bytes.into(),
            received_at: "2026-11-21T00:00:00Z".parse().unwrap(),
            peer: String::new(),
            answer,
        };
        (delivery, answered)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("alidade-intake-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn written(folder: &Path) -> Vec<String> {
        let kept = PacketJournal::open(folder, 1000).unwrap().newest(99).unwrap();
        kept.into_iter().map(|p| String::from_utf8(p).unwrap()).collect()
    }

    #[tokio::test]
    async fn packets_are_answered_in_order_once_they_are_on_disk_and_only_good_ones_are_passed_on() {
        let folder = folder("order");
        let relay = Relay::new(10);
        let intake = Intake {
            journal: Some(PacketJournal::open(&folder, 1000).unwrap()),
            relay: Some(&relay),
            most: 3,
        };
        let (sink, mut deliveries) = mpsc::channel(8);
        let mut answers = Vec::new();
        for name in ["a1", "b2", "a3", "a4"] {
            let (delivery, answered) = delivery(name);
            sink.send(delivery).await.unwrap();
            answers.push(answered);
        }
        let mut notary = Notary::default();
        assert_eq!(intake.run(&mut deliveries, &mut notary).await.unwrap(), 3);
        assert_eq!(notary.0, ["a1", "b2", "a3"]);
        assert_eq!(written(&folder), ["a1", "b2", "a3"]);
        assert_eq!(answers.remove(0).await, Ok(Answer::Taken));
        assert_eq!(answers.remove(0).await, Ok(Answer::Refused("no".into())));
        assert_eq!(relay.marks().len(), 0);
        assert!(answers.pop().unwrap().try_recv().is_err(), "the fourth was not taken");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_written_has_no_answer_and_is_written_before_its_copy_is_answered() {
        let folder = folder("fault");
        let journal = PacketJournal::open(&folder, 1000).unwrap();
        // Where the day's file is to be, a folder is in the way.
        let day = folder.join("packets-20261121.vtp");
        std::fs::create_dir(&day).unwrap();
        let intake = Intake {
            journal: Some(journal),
            relay: None,
            most: u64::MAX,
        };
        let (sink, mut deliveries) = mpsc::channel(8);
        let (first, unanswered) = delivery("a1");
        sink.send(first).await.unwrap();
        let again = async move {
            assert!(unanswered.await.is_err(), "no answer without a record");
            std::fs::remove_dir(&day).unwrap();
            let (second, answered) = delivery("a2");
            sink.send(second).await.unwrap();
            assert_eq!(answered.await, Ok(Answer::Taken));
        };
        let mut notary = Notary::default();
        let (taken, ()) = tokio::join!(intake.run(&mut deliveries, &mut notary), again);
        assert_eq!(taken.unwrap(), 2);
        assert_eq!(written(&folder), ["a1", "a2"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
