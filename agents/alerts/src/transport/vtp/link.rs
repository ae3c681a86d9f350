//! A framed connection, whatever it runs over.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::frame::{FrameDecoder, FrameError, encode};
use crate::reason::Refusal;

/// Why a connection ended, other than by being closed between frames.
#[derive(Debug, thiserror::Error)]
pub enum VtpError {
    /// The connection failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The peer does not speak the protocol.
    #[error("framing: {0}")]
    Frame(#[from] FrameError),
    /// A transport message could not be read.
    #[error("transport message: {0}")]
    Message(#[from] Refusal),
    /// Nothing came for too long.
    #[error("silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The peer closed before it answered.
    #[error("closed before the answer")]
    Closed,
    /// The peer did something the protocol does not allow here.
    #[error("unexpected {0}")]
    Unexpected(String),
    /// Nobody takes packets any more.
    #[error("nobody takes packets")]
    NobodyListens,
}

pub(super) struct Link<S> {
    stream: S,
    decoder: FrameDecoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub fn new(stream: S, limit: usize) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(limit),
        }
    }

    /// The next frame, or `None` when the peer closed between frames. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, VtpError> {
        let mut chunk = [0u8; 8192];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            let count = self.stream.read(&mut chunk).await?;
            if count == 0 {
                self.decoder.finish()?;
                return Ok(None);
            }
            self.decoder.push(chunk.get(..count).unwrap_or_default());
        }
    }

    /// The next frame within a time.
    pub async fn receive_within(&mut self, limit: Duration) -> Result<Option<Vec<u8>>, VtpError> {
        timeout(limit, self.receive())
            .await
            .map_err(|_| VtpError::Silent(limit))?
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), VtpError> {
        self.stream.write_all(&encode(bytes)?).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Sends within a time: a peer that does not read must not hold us.
    pub async fn send_within(&mut self, bytes: &[u8], limit: Duration) -> Result<(), VtpError> {
        timeout(limit, self.send(bytes))
            .await
            .map_err(|_| VtpError::Silent(limit))?
    }

    pub async fn close(mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = self.stream.shutdown().await;
    }
}
