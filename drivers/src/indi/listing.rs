//! Who is behind a server: its devices, as their drivers introduce themselves.

use super::message::{self, Message};
use crate::wire::{Trouble, Wire};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// What a driver may say that it is, as bits of its `DRIVER_INTERFACE` (INDI's `BaseDevice`), and what we call such a device.
const INTERFACES: [(u32, &str); 12] = [
    (1 << 0, "mount"),
    (1 << 1, "camera"),
    (1 << 3, "focuser"),
    (1 << 4, "filter_wheel"),
    (1 << 5, "enclosure"),
    (1 << 7, "station"),
    (1 << 9, "switch"),
    (1 << 10, "switch"),
    (1 << 12, "rotator"),
    (1 << 15, "switch"),
    (1 << 16, "switch"),
    (1 << 18, "switch"),
];

/// Nothing more comes after this much silence.
const SILENCE: Duration = Duration::from_millis(700);

/// No element of an introduction is longer.
const LARGEST_ELEMENT: usize = 1 << 20;

/// One device behind a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offered {
    /// What the server calls it, and `indi_device` in the configuration.
    pub name: String,
    pub driver: String,
    pub version: String,
    /// As which kinds it can be configured.
    pub kinds: Vec<&'static str>,
}

fn kinds(interface: u32) -> Vec<&'static str> {
    let said = INTERFACES.iter().filter(|(bit, _)| interface & bit != 0);
    let mut kinds: Vec<_> = said.map(|(_, kind)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Asks the server at `address` (`HOST:PORT`) who is there and listens until nobody speaks any more, at most for
/// `patience`; in the order of their names.
pub async fn devices(address: &str, patience: Duration) -> Result<Vec<Offered>, Trouble> {
    let until = Instant::now() + patience;
    let gone = |what: String| Trouble::Gone(format!("{address}: {what}"));
    let stream = timeout_at(until, TcpStream::connect(address))
        .await
        .map_err(|_| gone(format!("no connection within {patience:?}")))?
        .map_err(|e| gone(e.to_string()))?;
    let mut wire = Wire::new(Box::new(stream));
    wire.send(b"<getProperties version=\"1.7\"/>\n").await?;
    let (mut found, mut heard_anything) = (BTreeMap::new(), false);
    loop {
        // The first word of a server that starts its drivers may take as long as there is.
        let silence = if heard_anything {
            Instant::now() + SILENCE
        } else {
            until
        };
        let next = message::hear(&mut wire, LARGEST_ELEMENT);
        let Ok(heard) = timeout_at(silence.min(until), next).await else {
            break;
        };
        heard_anything = true;
        if let Message::Vector(vector) = heard? {
            let offered = found.entry(vector.device.clone()).or_insert_with(|| Offered {
                name: vector.device,
                driver: String::new(),
                version: String::new(),
                kinds: Vec::new(),
            });
            if vector.name == "DRIVER_INFO" {
                let mut told = vector.elements;
                let mut take = |element: &str| told.remove(element).unwrap_or_default();
                (offered.driver, offered.version) = (take("DRIVER_EXEC"), take("DRIVER_VERSION"));
                offered.kinds = kinds(take("DRIVER_INTERFACE").parse().unwrap_or(0));
            }
        }
    }
    if !heard_anything {
        return Err(gone(format!("nobody has said anything within {patience:?}")));
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_can_be_configured_as_every_kind_that_it_says_it_is() {
        assert_eq!(kinds(0), Vec::<&str>::new());
        // The simulator of a camera, which guides and has a wheel.
        assert_eq!(kinds(2 + 4 + 16), ["camera", "filter_wheel"]);
        // A lamp: auxiliary, and a light box.
        assert_eq!(kinds(32_768 + 1024), ["switch"]);
    }
}
