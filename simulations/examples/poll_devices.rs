//! The cost of polling, and whether a hung device delays another: `poll_devices PLC MOUNT STATION [SECONDS]`, each an
//! address of a served simulator (`alidade simulate-devices`). Connects 64 drivers to them, polls all at 5 Hz, and
//! prints as JSON the processor time of this process and the longest gap between two readings of any device, first alone
//! and then beside eight devices that accept the connection and never say anything.

#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]

#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_drivers::{
    interface::{Device, Enclosure, Mount, ObservingConditions},
    lx200, plc, station,
    transport::{SharedConnector, TcpConnector},
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use support::Running;
use tokio::{net::TcpListener, task::LocalSet, time::Instant};

fn way(address: &str) -> SharedConnector {
    let (host, port) = address.rsplit_once(':').unwrap();
    Rc::new(TcpConnector {
        host: host.into(),
        port: port.parse().unwrap(),
    })
}

/// Processor seconds of this process so far (proc(5): fields 14 and 15, in hundredths).
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Gaps between readings, milliseconds.
type Gaps = Rc<RefCell<Vec<f64>>>;

fn watch<T: 'static>(mut status: tokio::sync::watch::Receiver<T>, gaps: Gaps) {
    tokio::task::spawn_local(async move {
        let mut last: Option<Instant> = None;
        while status.changed().await.is_ok() {
            drop(status.borrow_and_update());
            let now = Instant::now();
            if let Some(before) = last.replace(now) {
                gaps.borrow_mut().push((now - before).as_secs_f64() * 1000.0);
            }
        }
    });
}

async fn phase(addresses: &[String], seconds: u64, hung: usize) -> (f64, Vec<f64>, Vec<Rc<dyn Device>>) {
    let clock = Running::clock();
    let (gaps, poll) = (Gaps::default(), Duration::from_millis(200));
    let mut devices: Vec<Rc<dyn Device>> = Vec::new();
    for number in 0..hung {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::task::spawn_local(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        devices.push(plc::connect(
            &format!("hung{number}"),
            way(&address),
            clock.clone(),
            poll,
        ));
    }
    for number in 0..64 {
        let name = format!("device{number}");
        devices.push(match number % 3 {
            0 => {
                let plc = plc::connect(&name, way(&addresses[0]), clock.clone(), poll);
                watch(plc.enclosure_status(), gaps.clone());
                plc
            }
            1 => {
                let mount = lx200::connect(&name, way(&addresses[1]), clock.clone(), poll);
                watch(mount.status(), gaps.clone());
                mount
            }
            _ => {
                let station = station::connect(&name, way(&addresses[2]), clock.clone(), poll);
                watch(station.readings(), gaps.clone());
                station
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    gaps.borrow_mut().clear();
    let before = processor_s();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = (processor_s() - before) / seconds as f64;
    let mut all = std::mem::take(&mut *gaps.borrow_mut());
    all.sort_by(f64::total_cmp);
    (used, all, devices)
}

fn main() {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let seconds = addresses.get(3).map_or(20, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let at = |sorted: &[f64], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let mut lines = Vec::new();
    for hung in [0, 8] {
        let (used, gaps, devices) = LocalSet::new().block_on(&runtime, phase(&addresses, seconds, hung));
        lines.push(format!(
            "{{\"devices\": {}, \"hung\": {hung}, \"poll_hz\": 5, \"readings_per_s\": {:.0}, \"core_percent\": {:.2}, \"gap_p50_ms\": {:.1}, \"gap_p99_ms\": {:.1}, \"gap_max_ms\": {:.1}}}",
            devices.len(),
            gaps.len() as f64 / seconds as f64,
            used * 100.0,
            at(&gaps, 0.5),
            at(&gaps, 0.99),
            at(&gaps, 1.0)
        ));
    }
    println!("[{}]", lines.join(",\n "));
}
