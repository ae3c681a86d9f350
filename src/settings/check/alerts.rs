//! Alerts and where they come from.

use super::Faults;
use crate::settings::{ListenerSettings, Settings};

pub(super) fn alerts(settings: &Settings, faults: &mut Faults) {
    let alerts = &settings.alerts;
    faults.whole("alerts.max_packet_bytes", alerts.max_packet_bytes, 1024, 64 << 20);
    for (channel, every_s) in &alerts.expect_every_s {
        faults.within(format!("alerts.expect_every_s.{channel}"), *every_s, 1.0, 31_622_400.0);
    }
    let (events, packets) = (
        u64::from(alerts.remember_events_days),
        u64::from(alerts.remember_packets_days),
    );
    faults.whole("alerts.remember_events_days", events, 3, 3650);
    faults.whole("alerts.remember_packets_days", packets, events.max(3), 36_500);
    if alerts
        .strategies
        .as_ref()
        .is_some_and(|folder| folder.as_os_str().is_empty())
    {
        faults.add("alerts.strategies", "is empty");
    }
    for (name, listener) in &alerts.listeners {
        let key = |field: &str| format!("alerts.listeners.{name}.{field}");
        faults.name(format!("alerts.listeners.{name}"), name);
        match listener {
            ListenerSettings::Folder { path, poll_s } => {
                if path.as_os_str().is_empty() {
                    faults.add(key("path"), "is empty");
                }
                faults.within(key("poll_s"), *poll_s, 0.05, 60.0);
            }
            ListenerSettings::Vtp { host, port } => {
                faults.filled(key("host"), host);
                faults.whole(key("port"), u64::from(*port), 1, 65_535);
            }
            ListenerSettings::Broker(broker) => {
                for (field, networks) in [("authors", &broker.authors), ("subscribers", &broker.subscribers)] {
                    if networks.is_empty() {
                        faults.add(key(field), "is empty: nobody could connect");
                    }
                    for network in networks {
                        if let Err(fault) = network.parse::<alidade_alerts::transport::networks::Network>() {
                            faults.add(key(field), fault.to_string());
                        }
                    }
                }
                if broker.broadcast == Some(broker.receive) && broker.receive.port() != 0 {
                    faults.add(key("broadcast"), "is the same address as receive");
                }
            }
            ListenerSettings::Kafka(kafka) => {
                faults.filled(key("brokers"), &kafka.brokers);
                faults.filled(key("group"), &kafka.group);
                if kafka.topics.is_empty() || kafka.topics.iter().any(|topic| topic.trim().is_empty()) {
                    faults.add(key("topics"), "is empty or names an empty topic");
                }
                faults.within(key("silence_s"), kafka.silence_s, 2.0, 86_400.0);
                faults.within(key("fetch_wait_ms"), kafka.fetch_wait_ms.into(), 1.0, 60_000.0);
                if kafka.client_id.is_some() != kafka.secret_file.is_some() {
                    faults.add(key("secret_file"), "client_id and secret_file go together");
                }
                if !cfg!(feature = "kafka") {
                    faults.add(key("kind"), "this program was built without its feature \"kafka\"");
                }
            }
        }
    }
}
