//! Byte streams to devices. A driver knows only a [`Connector`]; what is behind it is configuration.

mod memory;
#[cfg(feature = "serial")]
mod serial;
mod tcp;
mod unix;

pub use memory::MemoryConnector;
#[cfg(feature = "serial")]
pub use serial::SerialConnector;
pub use tcp::TcpConnector;
pub use unix::UnixConnector;

use std::{future::Future, io, pin::Pin, rc::Rc};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + 'a>>;

/// Opens (and after a loss re-opens) the stream to one device.
pub trait Connector {
    fn connect(&self) -> Connecting<'_>;
    /// For messages: `tcp 127.0.0.1:4001`, `serial /dev/ttyUSB0`, `in memory`.
    fn describe(&self) -> String;
}

pub type SharedConnector = Rc<dyn Connector>;
