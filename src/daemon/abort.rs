//! Three ways to stop, each with its time, and the proof that everything stands.
//!
//! | level | what it does | its time |
//! |---|---|---|
//! | checkpoint | nothing new begins; what runs comes to the end of its sequence | one hour |
//! | immediate | the running sequence is aborted; cameras, focuser, wheels, rotators and mount are stopped | 60 s |
//! | emergency | latched, everything is stopped, the roof closes | 1.5 times its travel |
//!
//! A daemon that is asked to end comes to rest by [`end`]: it also parks, and the roof closes as the site's policy has it.
//!
//! An abort is over when every device that it touches is *measured* at rest, or when its time is over; then the journal
//! names what was not. "Stopped" is said in no other way.

use super::{
    Daemon,
    devices::{ChannelDevices, Devices},
};
use alidade_drivers::interface::{CameraState, Device};
use alidade_majordome::messages::{Operate, OperatorOrder};
use alidade_model::{
    journal::{Fact, Recorder, SHUTDOWN, Severity},
    reading::Reading,
    states::{EnclosureState, MountState},
    time::UtcTime,
};
use alidade_observation::messages::ObservationStatus;
use alidade_safety::messages::Latch;
use serde::{Deserialize, Serialize};
use std::{rc::Rc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How fast it must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Checkpoint,
    Immediate,
    Emergency,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Checkpoint => "checkpoint",
            Level::Immediate => "immediate",
            Level::Emergency => "emergency",
        }
    }

    /// Seconds within which everything must be at rest.
    pub fn bound_s(self, travel_s: f64) -> f64 {
        match self {
            Level::Checkpoint => 3600.0,
            Level::Immediate => 60.0,
            Level::Emergency => (travel_s * 1.5).max(30.0),
        }
    }
}

/// Begins an abort; what comes of it is recorded when it is over.
pub async fn begin(daemon: &Daemon, level: Level, who: String, travel_s: f64) -> Result<(), String> {
    let recorder = daemon.recorder.clone();
    recorder.record(Fact::OperatorCommand {
        who: who.clone(),
        command: format!("abort, {}", level.name()),
        outcome: "accepted".into(),
    });
    if level == Level::Emergency {
        let latch = Latch {
            who: who.clone(),
            cause: "emergency abort".into(),
        };
        daemon.safety.send(latch).await.map_err(|e| e.to_string())?;
    }
    let order = |order| Operate {
        who: who.clone(),
        order,
    };
    // A pause that already is, and nothing that runs, are what is wanted.
    drop(daemon.majordome.send(order(OperatorOrder::Pause)).await);
    if level != Level::Checkpoint {
        drop(daemon.majordome.send(order(OperatorOrder::AbortSequence)).await);
        stop_all(&daemon.devices, level);
    }
    let (devices, running) = (daemon.devices.clone(), daemon.published.observation.clone());
    tokio::task::spawn_local(watch_over(devices, running, recorder, level, level.bound_s(travel_s)));
    Ok(())
}

/// The daemon is asked to end: what runs is aborted, the telescope parks and the roof closes, as the site's policy has it.
/// What is not measured so when all that is done, or after `bound_s`. A device that is not reached is waited for only if it
/// is the roof.
pub async fn end(daemon: &Daemon, cause: &str, bound_s: f64) -> Unfinished {
    let (begun, since) = (daemon.recorder.now(), Instant::now());
    // An agent that hangs or is gone cannot be told; the controller's dead-man closes then.
    let patience = Duration::from_secs(2);
    let latch = Latch {
        who: SHUTDOWN.into(),
        cause: cause.into(),
    };
    drop(timeout(patience, daemon.safety.send(latch)).await);
    for order in [OperatorOrder::Pause, OperatorOrder::AbortSequence] {
        let who = SHUTDOWN.into();
        drop(timeout(patience, daemon.majordome.send(Operate { who, order })).await);
    }
    let mount = daemon.devices.mount.clone();
    tokio::task::spawn_local(async move { drop(mount.park().await) });
    // What was ordered just before takes a moment to be seen: a roof that opens still says closed.
    tokio::time::sleep(patience).await;
    loop {
        let left = Unfinished::of(daemon, begun);
        if left.is_nothing() || since.elapsed().as_secs_f64() >= bound_s {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// What is not at rest at the end.
#[derive(Debug)]
pub struct Unfinished {
    /// The roof, where it is not measured closed.
    pub enclosure: Option<String>,
    pub others: Vec<String>,
}

impl Unfinished {
    fn of(daemon: &Daemon, begun: UtcTime) -> Self {
        let (devices, now) = (&daemon.devices, daemon.recorder.now());
        let mut others = Vec::new();
        if daemon.published.observation.borrow().running.is_some() {
            others.push("a sequence".into());
        }
        let mount = measured(*devices.mount.status().borrow(), begun, now).map(|s| s.state);
        if is_up(&*devices.mount) && mount != Some(MountState::Parked) {
            others.push(format!("mount {}", mount.map_or("unknown", MountState::as_str)));
        }
        for channel in devices.channels.iter().filter(|channel| is_up(&*channel.camera)) {
            others.extend(busy(channel, begun, now));
        }
        Self {
            enclosure: not_closed(devices, begun, now),
            others,
        }
    }

    pub fn is_nothing(&self) -> bool {
        self.enclosure.is_none() && self.others.is_empty()
    }

    /// In words, with commas between them.
    pub fn told(&self) -> String {
        let all: Vec<&str> = self.enclosure.iter().chain(&self.others).map(String::as_str).collect();
        all.join(", ")
    }
}

fn is_up(device: &dyn Device) -> bool {
    device.link().borrow().is_up()
}

/// What the roof is that is not measured closed.
fn not_closed(devices: &Devices, begun: UtcTime, now: UtcTime) -> Option<String> {
    let roof = measured(*devices.plc.enclosure_status().borrow(), begun, now).map(|s| s.state);
    (roof != Some(EnclosureState::Closed))
        .then(|| format!("enclosure {}", roof.map_or("unknown", EnclosureState::as_str)))
}

/// What a camera is that is not measured at rest.
fn busy(channel: &ChannelDevices, begun: UtcTime, now: UtcTime) -> Option<String> {
    let camera = measured(*channel.camera.status().borrow(), begun, now).map(|s| s.state);
    let rests = matches!(camera, Some(CameraState::Idle | CameraState::Ready));
    (!rests).then(|| format!("camera {} {camera:?}", channel.name))
}

/// Tells every device that can move to stop, all at once; none waits for another.
fn stop_all(devices: &Devices, level: Level) {
    let mut all: Vec<Rc<dyn Device>> = vec![devices.mount.clone()];
    all.extend(devices.focuser.iter().map(|f| f.clone() as Rc<dyn Device>));
    all.extend(devices.rotators.iter().map(|r| r.clone() as Rc<dyn Device>));
    for channel in &devices.channels {
        all.push(channel.camera.clone());
        all.extend(channel.wheel.iter().map(|w| w.clone() as Rc<dyn Device>));
    }
    for device in all {
        tokio::task::spawn_local(async move { drop(device.stop().await) });
    }
    if level == Level::Emergency {
        let plc = devices.plc.clone();
        tokio::task::spawn_local(async move { drop(plc.close().await) });
    }
}

async fn watch_over(
    devices: Devices,
    running: watch::Receiver<ObservationStatus>,
    recorder: Recorder,
    level: Level,
    bound_s: f64,
) {
    let begun = recorder.now();
    // What was measured before the command says nothing about it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = loop {
        let mut left = moving(&devices, level, begun, recorder.now());
        if running.borrow().running.is_some() {
            left.push("a sequence".into());
        }
        if left.is_empty() || recorder.now().seconds_since(begun) >= bound_s {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    if !left.is_empty() {
        let text = format!(
            "{} abort: not at rest after {bound_s:.0} s: {}",
            level.name(),
            left.join(", ")
        );
        recorder.alarm(Severity::Critical, text);
    }
    recorder.record(Fact::Halted {
        level: level.name().into(),
        took_s: recorder.now().seconds_since(begun),
        moving: left,
    });
}

/// Measured after `begun`, and not long ago.
fn measured<T: Copy>(reading: Reading<T>, begun: UtcTime, now: UtcTime) -> Option<T> {
    if reading.measured_at <= begun {
        return None;
    }
    reading.fresh(now, 30.0).ok().copied()
}

/// The devices that are not measured at rest, with what they are.
fn moving(devices: &Devices, level: Level, begun: UtcTime, now: UtcTime) -> Vec<String> {
    let mut left = Vec::new();
    let mount = measured(*devices.mount.status().borrow(), begun, now).map(|s| s.state);
    let rests = matches!(
        mount,
        Some(MountState::Parked | MountState::Idle | MountState::Tracking)
    );
    if !rests && level != Level::Checkpoint {
        left.push(format!("mount {}", mount.map_or("unknown", MountState::as_str)));
    }
    if level != Level::Checkpoint {
        left.extend(devices.channels.iter().filter_map(|channel| busy(channel, begun, now)));
        left.extend(turning(devices, begun, now));
    }
    if level == Level::Emergency {
        left.extend(not_closed(devices, begun, now));
    }
    left
}

/// Wheels, focuser and rotators that are not measured at rest; what is not known may still turn.
fn turning(devices: &Devices, begun: UtcTime, now: UtcTime) -> Vec<String> {
    let mut all: Vec<(String, Option<bool>)> = Vec::new();
    for channel in &devices.channels {
        if let Some(wheel) = &channel.wheel {
            let status = wheel.status();
            let reading = status.borrow();
            let moving = match &reading.value {
                Ok(wheel) => Reading::good(wheel.moving, reading.measured_at),
                Err(reason) => Reading::none(*reason, reading.measured_at),
            };
            all.push((wheel.id().to_owned(), measured(moving, begun, now)));
        }
    }
    if let Some(focuser) = &devices.focuser {
        let status = measured(*focuser.status().borrow(), begun, now);
        all.push((focuser.id().to_owned(), status.map(|s| s.moving)));
    }
    for rotator in &devices.rotators {
        let status = measured(*rotator.status().borrow(), begun, now);
        all.push((rotator.id().to_owned(), status.map(|s| s.moving)));
    }
    let word = |moving| if moving { "moving" } else { "unknown" };
    all.into_iter()
        .filter(|(_, moving)| *moving != Some(false))
        .map(|(id, moving)| format!("{id} {}", word(moving.is_some())))
        .collect()
}
