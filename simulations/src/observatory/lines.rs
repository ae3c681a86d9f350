//! The lines to the simulated devices: memory, TCP and pseudo-terminals.

use super::{HAND_CONTROL, Observatory, Said};
use crate::{devices::nexstar, faults::FaultKind};
use alidade_drivers::transport::{MemoryConnector, SharedConnector, Stream};
use std::os::unix::fs::OpenOptionsExt;
use std::{io, net::SocketAddr, rc::Rc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

impl Observatory {
    /// Speaks a device's protocol on one connection until it ends.
    pub async fn serve(self: Rc<Self>, device: String, stream: Box<dyn Stream>) {
        self.converse(device, stream, false).await;
    }

    /// `line` is a serial line, which a fault silences but cannot close.
    async fn converse(self: Rc<Self>, device: String, mut stream: Box<dyn Stream>, line: bool) {
        let end = self.respond(&device, |r| r.terminator());
        if end.is_none() && device != HAND_CONTROL {
            return;
        }
        // How many bytes to take for the next whole question, and how many of them are the question.
        let next = |buffer: &[u8]| match end {
            Some(end) => buffer.iter().position(|byte| *byte == end).map(|at| (at + 1, at)),
            None => nexstar::request_length(buffer).map(|length| (length, length)),
        };
        let mut buffer = Vec::with_capacity(256);
        let mut question = Vec::with_capacity(64);
        let mut chunk = [0u8; 1024];
        loop {
            let read = match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            buffer.extend_from_slice(&chunk[..read]);
            // LX200: a single byte without an end asks for the kind of mount, also before other words.
            while device == "mount" && buffer.first() == Some(&0x06) {
                buffer.remove(0);
                if stream.write_all(b"P").await.is_err() {
                    return;
                }
            }
            while let Some((taken, asked)) = next(&buffer) {
                question.clear();
                question.extend_from_slice(&buffer[..asked]);
                buffer.drain(..taken);
                if !self.exchange(&device, &question, &mut stream).await && !line {
                    return;
                }
            }
            if buffer.len() > 4096 {
                buffer.clear();
            }
        }
    }

    /// One question and its answer, with whatever goes wrong; false ends the connection.
    async fn exchange(&self, device: &str, question: &[u8], stream: &mut Box<dyn Stream>) -> bool {
        match self.reply(device, question).await {
            Said::Gone => false,
            Said::Nothing => true,
            Said::Answer(answer) => stream.write_all(&answer).await.is_ok(),
        }
    }

    fn refuses_connections(&self, device: &str) -> bool {
        self.fault(device, self.clock.now(), |k| *k == FaultKind::DropLink) || self.is_dark(device)
    }

    /// A connector over memory; each connection is a new conversation with the same hardware.
    pub fn connector(self: &Rc<Self>, device: &str) -> SharedConnector {
        let (observatory, device) = (self.clone(), device.to_owned());
        Rc::new(MemoryConnector::new(move || {
            if observatory.refuses_connections(&device) {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::task::spawn_local(observatory.clone().serve(device.clone(), Box::new(theirs)));
            Ok(Box::new(ours) as Box<dyn Stream>)
        }))
    }

    /// Serves a device on TCP until the `LocalSet` ends; port 0 takes a free one.
    pub async fn serve_tcp(self: &Rc<Self>, device: &str, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let (observatory, device) = (self.clone(), device.to_owned());
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if observatory.refuses_connections(&device) || stream.set_nodelay(true).is_err() {
                    continue;
                }
                tokio::task::spawn_local(observatory.clone().serve(device.clone(), Box::new(stream)));
            }
        });
        Ok(bound)
    }

    /// Serves a device on a pseudo-terminal until the `LocalSet` ends; returns the path to open.
    pub fn serve_pty(self: &Rc<Self>, device: &str) -> io::Result<String> {
        let (master, slave) = tokio_serial::SerialStream::pair().map_err(io::Error::from)?;
        let path = tokio_serial::SerialPort::name(&slave)
            .ok_or_else(|| io::Error::other("the pseudo-terminal has no name"))?;
        // O_NOCTTY: a terminal of ours shall not become the one that controls this process.
        let held = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(0o400)
            .open(&path)?;
        // The serial library locks what it opens, and would refuse the driver the lock.
        drop(slave);
        let (observatory, device) = (self.clone(), device.to_owned());
        tokio::task::spawn_local(async move {
            // Held open: without it the master would see an end whenever the client closes.
            let _held = held;
            observatory.converse(device, Box::new(master), true).await;
        });
        Ok(path)
    }
}
