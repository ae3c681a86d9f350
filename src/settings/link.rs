//! How a device is reached.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// `tcp://10.0.0.5:4001`, `serial:///dev/ttyUSB0?baud=9600`, or `simulated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Link {
    Tcp {
        host: String,
        port: u16,
    },
    Serial {
        path: String,
        baud: u32,
    },
    /// A built-in simulator that speaks the device's protocol.
    Simulated,
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |cause: &str| {
            Err(format!(
                "{text:?} is not a link: {cause} (tcp://HOST:PORT, serial:///dev/PATH?baud=N or simulated)"
            ))
        };
        if text == "simulated" {
            return Ok(Link::Simulated);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            let Some((host, port)) = rest.rsplit_once(':') else {
                return refused("the port is missing");
            };
            return match port.parse() {
                Ok(0) | Err(_) => refused("the port is a number from 1 to 65535"),
                Ok(_) if host.is_empty() || host.contains('/') => refused("the host is missing"),
                Ok(port) => Ok(Link::Tcp {
                    host: host.trim_matches(['[', ']']).to_owned(),
                    port,
                }),
            };
        }
        if let Some(rest) = text.strip_prefix("serial://") {
            let (path, baud) = match rest.split_once("?baud=") {
                Some((path, baud)) => (path, baud.parse().ok()),
                None => (rest, Some(9600)),
            };
            let Some(baud) = baud.filter(|baud| (300..=4_000_000).contains(baud)) else {
                return refused("the baud rate is a number from 300 to 4000000");
            };
            if !path.starts_with('/') || path.len() < 2 {
                return refused("the device path is absolute");
            }
            let path = path.to_owned();
            return Ok(Link::Serial { path, baud });
        }
        refused("unknown kind")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Link::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Link::Serial { path, baud } => write!(f, "serial://{path}?baud={baud}"),
            Link::Simulated => f.write_str("simulated"),
        }
    }
}

impl TryFrom<String> for Link {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Link> for String {
    fn from(link: Link) -> String {
        link.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_reads_back_from_its_text() {
        for text in [
            "simulated",
            "tcp://10.0.0.5:4001",
            "tcp://[::1]:4001",
            "serial:///dev/ttyUSB0?baud=19200",
        ] {
            assert_eq!(text.parse::<Link>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_link_without_its_parts_is_refused() {
        for text in [
            "",
            "tcp://10.0.0.5",
            "tcp://:4001",
            "tcp://h:0",
            "tcp://h:99999",
            "serial://ttyS0",
            "serial:///dev/ttyS0?baud=fast",
            "udp://h:1",
        ] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}
