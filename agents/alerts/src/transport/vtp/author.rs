//! An author: one packet, one connection, one answer.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Link, VtpError};
use super::message::{Payload, TransportRole, classify};
use crate::limits::Limits;

/// What the broker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It took the packet.
    Ack,
    /// It refused the packet; its words, if any.
    Nak(Option<String>),
}

/// Sends one packet over a fresh connection and waits for the answer, at most `limit` for each of the two.
///
/// # Errors
/// When the connection fails, stays silent, or something else than an answer comes.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    packet: &[u8],
    limit: Duration,
) -> Result<Receipt, VtpError> {
    let limits = Limits::default();
    let mut link = Link::new(stream, limits.max_packet_bytes);
    link.send_within(packet, limit).await?;
    let frame = link.receive_within(limit).await?.ok_or(VtpError::Closed)?;
    let receipt = match classify(&frame, &limits)? {
        Payload::Transport(message) => match message.role {
            TransportRole::Ack => Receipt::Ack,
            TransportRole::Nak => Receipt::Nak(message.result),
            other => return Err(VtpError::Unexpected(other.as_str().to_string())),
        },
        Payload::Packet => return Err(VtpError::Unexpected("packet".to_string())),
    };
    link.close().await;
    Ok(receipt)
}
