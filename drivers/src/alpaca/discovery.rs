//! Who is there: Alpaca discovery (UDP, port 32227 unless told otherwise) and the management API of a server.

use super::http;
use crate::wire::{Trouble, Wire};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

/// The port on which servers listen for the question.
pub const PORT: u16 = 32_227;

const QUESTION: &[u8] = b"alpacadiscovery1";

/// How long a server may take to say what it serves.
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AlpacaPort")]
    port: u16,
}

/// The port in an answer to the question; other datagrams are none.
fn answer(bytes: &[u8]) -> Option<u16> {
    serde_json::from_slice::<Answer>(bytes)
        .ok()
        .map(|answer| answer.port)
        .filter(|port| *port > 0)
}

/// Asks everybody at `target` (a broadcast address, or one host) and listens for `patience`; each server once, in order.
pub async fn discover(target: Ipv4Addr, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_broadcast(true)?;
    socket.send_to(QUESTION, (target, port)).await?;
    let (until, mut found, mut bytes) = (Instant::now() + patience, BTreeSet::new(), [0; 512]);
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut bytes)).await {
        let (count, from) = received?;
        if let Some(port) = answer(&bytes[..count]) {
            found.insert(SocketAddr::new(from.ip(), port));
        }
    }
    Ok(found.into_iter().collect())
}

/// One device as its server announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    #[serde(rename(deserialize = "DeviceName"))]
    pub name: String,
    /// `Telescope`, `Camera` ...
    #[serde(rename(deserialize = "DeviceType"))]
    pub kind: String,
    #[serde(rename(deserialize = "DeviceNumber"))]
    pub number: u32,
    #[serde(rename(deserialize = "UniqueID"), default)]
    pub unique_id: String,
}

#[derive(Deserialize)]
struct Listed<T> {
    #[serde(rename = "Value")]
    value: T,
}

/// What a server says of itself, and what it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    pub name: String,
    pub manufacturer: String,
    pub version: String,
    pub devices: Vec<Offered>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    server_name: String,
    manufacturer: String,
    manufacturer_version: String,
}

/// Asks the management API of the server at `address`.
pub async fn server(address: SocketAddr) -> Result<Server, Trouble> {
    let asked = async {
        let versions: Vec<u32> = ask(address, "apiversions").await?;
        if !versions.contains(&1) {
            return Err(Trouble::Unsupported(format!(
                "speak version 1 (it speaks {versions:?})"
            )));
        }
        let description: Description = ask(address, "v1/description").await?;
        Ok(Server {
            name: description.server_name,
            manufacturer: description.manufacturer,
            version: description.manufacturer_version,
            devices: ask(address, "v1/configureddevices").await?,
        })
    };
    timeout(DEADLINE, asked)
        .await
        .unwrap_or_else(|_| Err(Trouble::Gone(format!("{address}: no answer within {DEADLINE:?}"))))
}

async fn ask<T: serde::de::DeserializeOwned>(address: SocketAddr, what: &str) -> Result<T, Trouble> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| Trouble::Gone(e.to_string()))?;
    let mut wire = Wire::new(Box::new(stream));
    let host = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let request = format!(
        "GET /management/{what}?ClientID=1&ClientTransactionID=1 HTTP/1.1\r\nHost: {host}:{}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        address.port()
    );
    wire.send(request.as_bytes()).await?;
    let reply = http::reply(&mut wire, 1 << 20).await?;
    if reply.status != 200 {
        return Err(Trouble::Refused {
            code: i32::from(reply.status),
            message: format!("{what}: HTTP {}", reply.status),
        });
    }
    let listed: Listed<T> =
        serde_json::from_slice(&reply.body).map_err(|e| Trouble::Garbage(format!("{what}: {e}")))?;
    Ok(listed.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_an_answer_with_a_port_is_a_server() {
        assert_eq!(answer(br#"{"AlpacaPort": 11111}"#), Some(11_111));
        for bytes in [
            &b"alpacadiscovery1"[..],
            br#"{"AlpacaPort":0}"#,
            br#"{"AlpacaPort":70000}"#,
            br#"{}"#,
            b"\xff",
        ] {
            assert_eq!(answer(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = answer(&bytes);
        }
    }
}
