//! Which machines may connect: networks in CIDR notation (RFC 4632, RFC 4291 section 2.3).

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no address and no network such as 192.168.1.0/24 or 2001:db8::/32")]
pub struct NoNetwork {
    text: String,
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let bad = || NoNetwork { text: text.to_string() };
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim().parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|b| *b <= most).ok_or_else(bad)?,
        };
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether an address lies in the network; an IPv4 address that came over IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, bits) = widened(self.address, self.bits);
        let (theirs, _) = widened(address.to_canonical(), 128);
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        ours & mask == theirs & mask
    }
}

/// An address as 128 bits, IPv4 in its place among the mapped ones.
fn widened(address: IpAddr, bits: u8) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), bits.saturating_add(96)),
        IpAddr::V6(v6) => (u128::from(v6), bits),
    }
}

/// A list of networks. An empty list admits every address that can connect at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Network>);

impl AllowList {
    /// These networks, and every address if there are none.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Only this machine.
    #[must_use]
    pub fn this_machine() -> Self {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let v4 = Network {
            address: IpAddr::from([127, 0, 0, 0]),
            bits: 8,
        };
        Self(vec![v4, Network { address: v6, bits: 128 }])
    }

    /// Whether the address may connect.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> AllowList {
        AllowList::new(texts.iter().map(|t| t.parse().unwrap()).collect())
    }

    #[test]
    fn addresses_are_admitted_by_their_leading_bits() {
        let ours = list(&["192.168.7.0/24", "10.1.2.3", "2001:db8:5::/48"]);
        for (address, admitted) in [
            ("192.168.7.255", true),
            ("192.168.8.0", false),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:5:ffff::1", true),
            ("2001:db8:6::1", false),
        ] {
            assert_eq!(ours.admits(address.parse().unwrap()), admitted, "{address}");
        }
        assert!(list(&["0.0.0.0/0"]).admits("203.0.113.9".parse().unwrap()));
        assert!(!list(&["0.0.0.0/0"]).admits("2001:db8::1".parse().unwrap()));
        assert!(list(&["::/0"]).admits("2001:db8::1".parse().unwrap()));
        assert!(list(&[]).admits("203.0.113.9".parse().unwrap()));
        assert!(AllowList::this_machine().admits("127.0.0.1".parse().unwrap()));
        assert!(!AllowList::this_machine().admits("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
