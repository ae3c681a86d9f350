//! Messages over a byte stream: framed reads with a bound on their size.

use crate::transport::Stream;
use std::{future::poll_fn, pin::Pin, task::Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

/// What goes wrong in a conversation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Trouble {
    #[error("connection lost: {0}")]
    Gone(String),
    #[error("{0}")]
    Garbage(String),
    /// Garbage after which nobody can tell where the next message begins: counted, and the connection is made anew.
    #[error("{0}")]
    Astray(String),
    #[error("{message} ({code})")]
    Refused { code: i32, message: String },
    /// The device says that it cannot do such a thing at all.
    #[error("cannot: {0}")]
    Unsupported(String),
    /// There is a server, but not the device behind it: nothing was done, and the conversation is over.
    #[error("{0}")]
    Absent(String),
}

/// A longer line than this is no answer of any device.
const LONGEST_LINE: usize = 8192;

/// A stream with what has been read ahead from it.
pub struct Wire {
    stream: Box<dyn Stream>,
    ahead: Vec<u8>,
    start: usize,
    unasked: bool,
}

impl Wire {
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            ahead: Vec::with_capacity(256),
            start: 0,
            unasked: false,
        }
    }

    /// For a protocol in which the other side speaks without being asked: what has come is news, and not an answer too many.
    pub fn hears_news(&mut self) {
        self.unasked = true;
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|e| Trouble::Gone(e.to_string()))
    }

    /// Reads up to the terminator, which is taken off.
    pub async fn until(&mut self, end: u8) -> Result<Vec<u8>, Trouble> {
        let mut searched = self.start;
        loop {
            if let Some(found) = self.ahead[searched..].iter().position(|byte| *byte == end) {
                let line = self.ahead[self.start..searched + found].to_vec();
                self.start = searched + found + 1;
                self.compact();
                return Ok(line);
            }
            searched = self.ahead.len();
            if searched - self.start > LONGEST_LINE {
                self.discard();
                return Err(Trouble::Garbage(format!(
                    "no end of message within {LONGEST_LINE} bytes"
                )));
            }
            self.more().await?;
        }
    }

    /// Like [`Wire::until`], as text; anything but printable ASCII is garbage.
    pub async fn line(&mut self, end: u8) -> Result<String, Trouble> {
        let mut bytes = self.until(end).await?;
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let length = bytes.len();
        let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        String::from_utf8(bytes)
            .ok()
            .filter(|_| printable)
            .ok_or_else(|| Trouble::Garbage(format!("{length} bytes that are not text")))
    }

    /// Reads up to where `ends` says: it is shown what has newly arrived and answers how many of those bytes complete
    /// the message. Dropped half-way nothing is lost; start again with a fresh `ends`.
    pub async fn framed(
        &mut self,
        largest: usize,
        mut ends: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, Trouble> {
        if self.start > LONGEST_LINE {
            self.ahead.drain(..self.start);
            self.start = 0;
        }
        let mut shown = self.start;
        loop {
            if let Some(count) = ends(&self.ahead[shown..]) {
                let message = self.ahead[self.start..shown + count].to_vec();
                self.start = shown + count;
                self.compact();
                return Ok(message);
            }
            shown = self.ahead.len();
            if shown - self.start > largest {
                self.discard();
                return Err(Trouble::Garbage(format!("no end of message within {largest} bytes")));
            }
            self.more().await?;
        }
    }

    /// Reads exactly `count` bytes.
    pub async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::with_capacity(count);
        let held = (self.ahead.len() - self.start).min(count);
        bytes.extend_from_slice(&self.ahead[self.start..self.start + held]);
        self.start += held;
        self.compact();
        if held < count {
            bytes.resize(count, 0);
            self.stream
                .read_exact(&mut bytes[held..])
                .await
                .map_err(|e| Trouble::Gone(e.to_string()))?;
        }
        Ok(bytes)
    }

    /// Throws away what was read ahead: answers to questions nobody remembers.
    pub fn discard(&mut self) {
        self.ahead.clear();
        self.start = 0;
    }

    /// Throws away everything that has come so far, news excepted, also what nobody has read yet, and waits for nothing: what
    /// comes from now on answers what is asked from now on.
    pub async fn catch_up(&mut self) {
        self.discard();
        if self.unasked {
            return;
        }
        let mut chunk = [0; 1024];
        // One that never stops talking is none of this function's business.
        for _ in 0..64 {
            let mut come = ReadBuf::new(&mut chunk);
            let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut come))).await;
            if !matches!(read, Poll::Ready(Ok(()))) || come.filled().is_empty() {
                return;
            }
        }
    }

    /// Number of bytes that were read ahead.
    pub fn pending(&self) -> usize {
        self.ahead.len() - self.start
    }

    fn compact(&mut self) {
        if self.start == self.ahead.len() {
            self.discard();
        }
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        match self.stream.read_buf(&mut self.ahead).await {
            Ok(0) => Err(Trouble::Gone("closed by the device".into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Trouble::Gone(error.to_string())),
        }
    }
}
