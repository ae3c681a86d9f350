//! The bounds a packet must respect before anything in it is believed.

use serde::{Deserialize, Serialize};

/// Bounds on packets. The defaults are those the daemon runs with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest VOEvent or text packet, bytes.
    pub max_packet_bytes: usize,
    /// Longest JSON packet, bytes. Gravitational-wave notices carry sky maps; GCN's brokers stop at about 4 MiB.
    pub max_json_bytes: usize,
    /// Deepest nesting of elements, objects or arrays.
    pub max_depth: usize,
    /// Most attributes on one element.
    pub max_attributes_per_element: usize,
    /// Most elements in one packet.
    pub max_elements: usize,
    /// Most citations in one packet.
    pub max_citations: usize,
    /// Longest identifier, characters.
    pub max_ivorn_chars: usize,
    /// How far in the future an event time may lie, seconds: clocks differ.
    pub future_tolerance_s: i64,
    /// Age of the event after which a packet is only recorded, hours.
    pub stale_after_h: i64,
    /// Largest error radius that may be acted upon, degrees.
    pub max_error_deg: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 1 << 20,
            max_json_bytes: (4 << 20) + (256 << 10),
            max_depth: 64,
            max_attributes_per_element: 256,
            max_elements: 20_000,
            max_citations: 1_000,
            max_ivorn_chars: 512,
            future_tolerance_s: 60,
            stale_after_h: 48,
            max_error_deg: 45.0,
        }
    }
}
