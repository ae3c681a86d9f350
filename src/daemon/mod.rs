//! The observatory put together: agents wired bottom-up, exactly along the edges of [`crate::topology`].
//!
//! The same function builds the live daemon and every simulated one; what differs comes in as [`Surroundings`]: the
//! clock, where long work runs, and what is at the other end of the device links.
//!
//! | module | holds |
//! |---|---|
//! | [`devices`] | the connected devices, each behind the guard that records its commands |
//! | [`journal`] | from recorded facts to the database, the journal file and the gateways |
//! | [`live`] | the daemon of the telescope host: real clock, signals, supervisor, listeners |
//! | [`translate`] | the configuration in the agents' own terms |
//! | [`panorama`] | everything the gateways show, gathered from the agents' published states |
//! | [`pipelines`] | runs of processing: started by request, taken up after a death |
//! | `narrator` | the journal told on the log |
//! | [`outbox`] | reports of alert events, for others |
//! | [`strategies`] | strategies that are changed while it runs, and what the journal says of them |
//! | [`abort`] | three ways to stop, each with its time, and the proof that everything stands |
//! | [`before`] | what the database says of the time before this start |
//! | [`alarms`] | alarms on their way to people |
//! | [`consult`] | the PYROS language spoken to the connected devices |
//! | [`resident`] | the program stays in memory, and an alert is rehearsed |
//! | [`guard`] | the second process, which owns the line to the enclosure |
//! | `halt` | a mount that nobody moves while the emergency stop is pressed |
//! | [`commands`] | what the gateways may ask, sent to the agent that it concerns |

pub mod abort;
pub mod alarms;
pub mod before;
pub mod commands;
pub mod consult;
pub mod counter;
pub mod delivery;
pub mod devices;
pub mod guard;
mod halt;
pub mod hearing;
pub mod host;
pub mod journal;
pub mod listeners;
pub mod live;
mod mail;
mod narrator;
pub mod outbox;
pub mod packages;
pub mod panorama;
pub(crate) mod people;
pub mod pipelines;
pub mod report;
pub mod resident;
pub mod strategies;
pub mod telemetry;
pub mod translate;

use crate::settings::Settings;
use actix::prelude::*;
use alidade_alerts::agent::{Alerts, AlertsPorts, AlertsStatus};
use alidade_analysis::agent::{Analysis, AnalysisPorts, SkySeen};
use alidade_delivery::{agent::Delivery, service::Units};
use alidade_drivers::interface::{Device, Quantity};
use alidade_majordome::agent::{Majordome, MajordomePorts, MajordomeStatus};
use alidade_model::{
    book::{BookError, SharedBook},
    journal::Recorder,
    ledger::institute_account,
    offload::Offload,
    schedule::Schedule,
    time::{Night, UtcTime},
};
use alidade_monitoring::agent::{Monitoring, MonitoringPorts, MonitoringStatus, Watched};
use alidade_observation::{
    adjust::Adjusted,
    agent::Observation,
    exposure::{Channel, Darkroom, Turning},
    feedback::Frames,
    messages::{ErrorCircle, FrameReady, ObservationStatus},
    procedure::Instruments,
};
use alidade_pipeline::agent::Pipeline;
use alidade_routine::agent::Routine;
use alidade_safety::agent::{Before, Safety, SafetyPorts, SafetyStatus};
use alidade_scheduling::agent::{Scheduling, SkyNow};
use devices::Devices;
use std::{cell::Cell, path::PathBuf, rc::Rc};
use tokio::sync::watch;

/// What the daemon finds around it.
pub struct Surroundings {
    pub recorder: Recorder,
    pub offload: Offload,
    pub book: SharedBook,
    pub devices: Devices,
    pub data_dir: PathBuf,
    pub strategies: Vec<alidade_alerts::strategy::Strategy>,
    /// What earlier runs received: the events are rebuilt from it.
    pub packets: alidade_alerts::agent::Before,
    /// Where changed strategies are written; without it the journal alone keeps them.
    pub strategy_folder: Option<PathBuf>,
    /// What the journal says of the time before.
    pub safety: Before,
    /// Calibration frames of the present night are on disk.
    pub calibrated: bool,
    /// Where alarms are acknowledged.
    pub alarms: alarms::AlarmDesk,
    /// Strokes the service supervisor's watchdog.
    pub stroke: Rc<dyn Fn()>,
    pub report: Rc<dyn Fn(Night)>,
    /// Frames are analysed (there are pixels, and somebody wants results).
    pub analyse: bool,
    /// Catalogue for the analysis.
    pub sky: Option<std::sync::Arc<dyn alidade_analysis::astrometry::SkyStars>>,
    /// Elements of minor planets.
    pub planets: Vec<alidade_analysis::minor_planets::Elements>,
    /// The station that takes the night's products over.
    pub station: Option<alidade_delivery::agent::Intake>,
}

/// What the agents publish; anyone may read.
#[derive(Clone)]
pub struct Published {
    pub monitoring: watch::Receiver<Option<Rc<MonitoringStatus>>>,
    pub safety: watch::Receiver<SafetyStatus>,
    pub majordome: watch::Receiver<MajordomeStatus>,
    pub observation: watch::Receiver<ObservationStatus>,
    pub schedule: watch::Receiver<Option<Rc<Schedule>>>,
    pub alerts: watch::Receiver<Rc<AlertsStatus>>,
}

/// A running daemon. It lives as long as the `LocalSet` in which it was started: dropping that ends every agent and every
/// device link at once, like `kill -9`.
pub struct Daemon {
    pub published: Published,
    pub devices: Devices,
    pub book: SharedBook,
    pub recorder: Recorder,
    pub alerts: Addr<Alerts>,
    pub routine: Addr<Routine>,
    pub safety: Addr<Safety>,
    pub majordome: Addr<Majordome>,
    pub strategy_folder: Option<PathBuf>,
    pub alarms: alarms::AlarmDesk,
}

/// Starts every agent, from the bottom of the graph to its top.
pub fn start(settings: &Settings, around: Surroundings) -> Daemon {
    let Surroundings {
        recorder,
        offload,
        book,
        devices,
        data_dir,
        ..
    } = around;
    let devices = devices.guarded(&recorder);
    let site = translate::site(settings);

    let (monitoring_out, monitoring_state) = watch::channel(None);
    let (safety_out, safety_state) = watch::channel(SafetyStatus::unknown());
    let (majordome_out, majordome_state) = watch::channel(MajordomeStatus::off());
    let (observation_out, observation_state) = watch::channel(ObservationStatus::default());
    let (schedule_out, schedule_state) = watch::channel(None);
    let (alerts_out, alerts_state) = watch::channel(Rc::new(AlertsStatus::default()));
    let (wanted_out, wanted_open) = watch::channel(false);
    let (sky_out, sky_state) = watch::channel(SkySeen::default());
    let (feedback_out, feedback_state) = watch::channel(Frames::default());

    let delivery = Delivery {
        recorder: recorder.clone(),
        units: Units::default(),
        station: around.station,
    }
    .start();
    let pipeline = Pipeline::new(recorder.clone(), book.clone(), delivery.recipient()).start();
    let analysis = Analysis::new(
        AnalysisPorts {
            recorder: recorder.clone(),
            offload: offload.clone(),
            data_dir: data_dir.clone(),
            pipeline: pipeline.recipient(),
            sky: around.sky,
            sky_seen: sky_out,
            feedback: feedback_out,
        },
        translate::analysis(settings, around.planets),
    )
    .start();
    let frames = analysis.recipient::<FrameReady>();
    let analyse = around.analyse;
    let events = alerts_state.clone();
    let observation = Observation::new(
        Instruments {
            mount: devices.mount.clone(),
            focuser: devices.focuser.clone(),
            channels: channels(settings, &devices),
            room: Darkroom {
                recorder: recorder.clone(),
                offload: offload.clone(),
                enclosure: devices.plc.clone(),
                data_dir,
                observatory: translate::observatory(settings),
                gate_max_age_s: settings.enclosure.max_age_s,
                last_micros: Cell::new(0),
                frames: Rc::new(move |mut frame: FrameReady| {
                    if analyse && frame.has_pixels {
                        frame.area = frame.event.as_ref().and_then(|e| error_circle(&events.borrow(), e));
                        frames.do_send(frame);
                    }
                }),
            },
            site,
            book: book.clone(),
            settings: translate::instruments(settings),
            feedback: feedback_state,
            adjusted: Adjusted::default(),
        },
        observation_out,
    )
    .start();
    let scheduling = Scheduling::new(
        translate::scheduling(settings),
        book.clone(),
        recorder.clone(),
        offload,
        schedule_out,
        sky_now(settings, monitoring_state.clone(), sky_state, recorder.clone()),
    )
    .start();
    let majordome = Majordome::new(
        MajordomePorts {
            replan: scheduling.recipient(),
            execute: observation.clone().recipient(),
            interrupt: observation.clone().recipient(),
            give_way: observation.clone().recipient(),
            park: observation.clone().recipient(),
            schedule: schedule_state.clone(),
            observation: observation_state.clone(),
            enclosure: devices.plc.clone(),
            mount: devices.mount.clone(),
            book: book.clone(),
            wanted_open: wanted_out,
            status: majordome_out,
            report: around.report,
        },
        translate::majordome(settings, around.calibrated),
        recorder.clone(),
    )
    .start();
    let safety = Safety::new(
        SafetyPorts {
            plc: devices.plc.clone(),
            mount: Some(devices.mount.clone()),
            majordome: majordome.clone().recipient(),
            critical: vec![
                ("majordome", majordome.clone().recipient()),
                ("observation", observation.recipient()),
            ],
            wanted_open,
            status: safety_out,
            stroke: around.stroke,
        },
        translate::safety(settings),
        recorder.clone(),
        around.safety,
    )
    .start();
    let alerts = Alerts::new(
        AlertsPorts {
            recorder: recorder.clone(),
            book: book.clone(),
            majordome: majordome.clone().recipient(),
            retract: majordome.clone().recipient(),
            changed: majordome.clone().recipient(),
            status: alerts_out,
        },
        translate::alerts(settings, around.strategies),
        around.packets,
    )
    .start();
    let routine = Routine {
        catalogue: translate::catalogue(settings),
        book: book.clone(),
        recorder: recorder.clone(),
        majordome: majordome.clone().recipient(),
    }
    .start();
    Monitoring::new(
        MonitoringPorts {
            devices: watched(settings, &devices),
            plc: devices.plc.clone(),
            mount: Some(devices.mount.clone()),
            stations: devices.stations.clone(),
            safety: safety.clone().recipient(),
            majordome: majordome.clone().recipient(),
            status: monitoring_out,
        },
        translate::monitoring(settings),
        recorder.clone(),
    )
    .start();
    cool(settings, &devices);

    let published = Published {
        monitoring: monitoring_state,
        safety: safety_state,
        majordome: majordome_state,
        observation: observation_state,
        schedule: schedule_state,
        alerts: alerts_state,
    };
    Daemon {
        published,
        devices,
        book,
        recorder,
        alerts,
        routine,
        safety,
        majordome,
        strategy_folder: around.strategy_folder,
        alarms: around.alarms,
    }
}

fn channels(settings: &Settings, devices: &Devices) -> Vec<Channel> {
    devices
        .channels
        .iter()
        .filter_map(|channel| {
            Some(Channel {
                name: channel.name.clone(),
                camera: channel.camera.clone(),
                wheel: channel.wheel.clone(),
                rotator: channel.rotator.clone().map(Turning::new),
                optics: translate::optics(settings.channels.get(&channel.name)?),
            })
        })
        .collect()
}

fn watched(settings: &Settings, devices: &Devices) -> Vec<Watched> {
    let blocking = |id: &str| settings.devices.get(id).is_none_or(|device| device.blocking);
    let mut all: Vec<Rc<dyn Device>> = vec![devices.plc.clone(), devices.mount.clone()];
    all.extend(devices.controller.iter().map(|c| c.clone() as Rc<dyn Device>));
    all.extend(devices.focuser.iter().map(|f| f.clone() as Rc<dyn Device>));
    for channel in &devices.channels {
        all.push(channel.camera.clone());
        all.extend(channel.wheel.iter().map(|w| w.clone() as Rc<dyn Device>));
    }
    all.extend(devices.stations.iter().map(|s| s.clone() as Rc<dyn Device>));
    for rotator in &devices.rotators {
        all.push(rotator.clone());
    }
    for switch in &devices.switches {
        all.push(switch.clone());
    }
    all.into_iter()
        .map(|device| Watched {
            blocking: blocking(device.id()),
            device,
        })
        .collect()
}

/// Sets every camera's cooler once the camera has been read.
fn cool(settings: &Settings, devices: &Devices) {
    for channel in &devices.channels {
        let Some(setpoint_c) = settings.channels.get(&channel.name).map(|c| c.setpoint_c) else {
            continue;
        };
        let camera = channel.camera.clone();
        actix::spawn(async move {
            let mut status = camera.status();
            loop {
                let known = status.borrow_and_update().value.ok();
                match known {
                    Some(status) if (status.setpoint_c - setpoint_c).abs() > 0.05 => {
                        drop(camera.cool(setpoint_c).await);
                        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
                    }
                    // A camera that lost its set point (power, reconnect) gets it again when it says so.
                    _ => {
                        if status.changed().await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
    }
}

/// Where an event is believed to be now: its position may have been refined since the telescope was sent there.
fn error_circle(alerts: &AlertsStatus, event: &str) -> Option<ErrorCircle> {
    let event = alerts.event(event)?;
    Some(ErrorCircle {
        ra_deg: event.ra_deg?,
        dec_deg: event.dec_deg?,
        radius_deg: event.r90_deg?,
    })
}

/// What is measured of the sky, for the planner: cloud cover from the sky's temperature and the stars' light, seeing from
/// their widths.
fn sky_now(
    settings: &Settings,
    monitoring: watch::Receiver<Option<Rc<MonitoringStatus>>>,
    seen: watch::Receiver<SkySeen>,
    recorder: Recorder,
) -> Rc<dyn Fn() -> SkyNow> {
    /// Older than this, the stars say nothing of the seeing any more, seconds.
    const SEEING_HOLDS_S: f64 = 1800.0;
    /// Clouds come and go faster.
    const CLOUD_HOLDS_S: f64 = 600.0;
    let (clear_k, overcast_k) = (settings.scheduling.clear_sky_k, settings.scheduling.overcast_sky_k);
    Rc::new(move || {
        let status = monitoring.borrow().clone();
        let sky_k = status
            .as_ref()
            .and_then(|status| status.weather.get(Quantity::SkyTemperatureK))
            .and_then(|reading| reading.value.ok());
        let now = recorder.now();
        let fresh = |told: Option<(f64, UtcTime)>, holds_s: f64| {
            told.filter(|(_, at)| now.seconds_since(*at) < holds_s)
                .map(|(value, _)| value)
        };
        let seen = *seen.borrow();
        let by_heat = sky_k.map(|k| ((k - clear_k) / (overcast_k - clear_k)).clamp(0.0, 1.0));
        // Whoever sees more cloud is believed: thin ones are warm or dim, seldom both.
        let by_stars = fresh(seen.cloud, CLOUD_HOLDS_S);
        SkyNow {
            seeing_arcsec: fresh(seen.seeing_arcsec, SEEING_HOLDS_S),
            cloud_cover: by_heat.into_iter().chain(by_stars).reduce(f64::max),
        }
    })
}

/// Opens the accounts that the ledger does not know yet.
pub fn grant_quotas(settings: &Settings, book: &SharedBook, recorder: &Recorder) -> Result<(), BookError> {
    let known = |account: &str| book.borrow().ledger().balance(account).is_some();
    for (user, account) in settings.users.iter().filter(|(user, _)| !known(user)) {
        let quota_s = account.quota_h * 3600.0;
        book.borrow_mut().grant(user, &account.institute, quota_s, recorder)?;
    }
    for (name, institute) in &settings.institutes {
        if !known(&institute_account(name)) {
            let quota_s = institute.quota_h * 3600.0;
            book.borrow_mut().grant_institute(name, quota_s, recorder)?;
        }
    }
    Ok(())
}
