//! Ports for the peers of tests.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port of this machine on which nobody listens, and which this process has not given before.
///
/// Seconds may pass until the peer listens there. So it lies below the range (32768 and above) from which the kernel picks
/// one for whoever asks for any, and for every outgoing connection.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const MANY: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Tests of several processes begin far from each other.
    let begin = process::id().wrapping_mul(211);
    (0..MANY)
        .map(|_| begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % MANY)
        .map(|step| FIRST + u16::try_from(step).unwrap_or_default())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or_else(|| panic!("no port is free on this machine"))
}
