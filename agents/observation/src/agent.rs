//! The shell: takes orders, keeps at most one running, ends it when told.

use crate::{
    messages::{Denied, Disposition, Execute, Interrupt, ObservationStatus, Order, Outcome, Park, Ping, Stop, Yield},
    procedure::{self, Instruments, Progress},
};
use actix::prelude::*;
use alidade_drivers::interface::CameraState;
use alidade_model::{journal::Fact, states::MountState};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::sync::watch;

/// See the module's text.
pub struct Observation {
    instruments: Rc<Instruments>,
    status: Rc<watch::Sender<ObservationStatus>>,
    running: Option<(u64, Order, watch::Sender<Stop>)>,
    serial: u64,
    rest: Option<SpawnHandle>,
    /// The order whose exposures are being aborted for an alert, and the event of that alert.
    displaced: Option<(u64, String)>,
}

impl Observation {
    pub fn new(instruments: Instruments, status: watch::Sender<ObservationStatus>) -> Self {
        Self {
            instruments: Rc::new(instruments),
            status: Rc::new(status),
            running: None,
            serial: 0,
            rest: None,
            displaced: None,
        }
    }

    fn begin(&mut self, order: Order, ctx: &mut Context<Self>) {
        if let Some(rest) = self.rest.take() {
            ctx.cancel_future(rest);
        }
        self.serial += 1;
        let serial = self.serial;
        let (cancel, cancelled) = watch::channel(Stop::No);
        let view = procedure::first_view(&self.instruments, &order, self.instruments.room.recorder.now());
        self.status.send_modify(|status| status.running = Some(view.clone()));
        let publisher = self.status.clone();
        let progress = Progress {
            running: RefCell::new(view),
            publish: Rc::new(move |running| {
                publisher.send_modify(|status| {
                    // A step of an order that was interrupted must not cover the one that runs now.
                    if status.running.as_ref().is_some_and(|r| r.id == running.id) {
                        status.running = Some(running);
                    }
                });
            }),
        };
        let instruments = self.instruments.clone();
        let running = order.clone();
        self.running = Some((serial, order, cancel));
        let work = async move { procedure::run(&instruments, &running, &progress, cancelled).await };
        ctx.spawn(
            work.into_actor(self)
                .map(move |outcome, actor, ctx| actor.ended(serial, outcome, ctx)),
        );
    }

    /// An order has ended. An interrupted one ends after its successor has begun and no longer owns the status.
    fn ended(&mut self, serial: u64, outcome: Outcome, ctx: &mut Context<Self>) {
        if let Some((_, event)) = self.displaced.take_if(|(displaced, _)| *displaced == serial) {
            // Its shutters are closed: an order ends after its last exposure.
            procedure::stamp(&self.instruments, Some(&event), "exposure_aborted");
        }
        let Some((current, order, _)) = &self.running else {
            return;
        };
        if *current != serial {
            return;
        }
        let id = order.id().to_owned();
        self.running = None;
        self.status.send_modify(|status| {
            status.running = None;
            status.ended = Some((id, outcome));
            status.serial += 1;
        });
        // Tracking on without an order would run into the limits; half a minute leaves room for the next one.
        self.rest = Some(ctx.run_later(Duration::from_secs(30), |actor, ctx| {
            actor.rest = None;
            let mount = actor.instruments.mount.clone();
            let tracking = mount
                .status()
                .borrow()
                .value
                .is_ok_and(|s| s.state == MountState::Tracking);
            if actor.running.is_none() && tracking {
                ctx.spawn(async move { drop(mount.track(false).await) }.into_actor(actor));
            }
        }));
    }
}

impl Actor for Observation {
    type Context = Context<Self>;

    /// A camera may still expose for a daemon that is no more: nobody waits for that frame, and its shutter is open.
    fn started(&mut self, ctx: &mut Self::Context) {
        for channel in &self.instruments.channels {
            let (name, camera) = (channel.name.clone(), channel.camera.clone());
            let mut status = camera.status();
            let busy = async move {
                while status.borrow_and_update().value.is_err() {
                    // The driver is gone with the daemon.
                    status.changed().await.ok()?;
                }
                let state = status.borrow().value.ok()?.state;
                matches!(state, CameraState::Exposing | CameraState::Reading).then_some(())
            };
            ctx.spawn(busy.into_actor(self).map(move |busy, actor, ctx| {
                if busy.is_none() || actor.running.is_some() {
                    return;
                }
                let recorder = actor.instruments.room.recorder.clone();
                let stop = async move {
                    let cause = match camera.stop().await {
                        Ok(()) => "stopped: nobody waits for it".to_owned(),
                        Err(error) => format!("not stopped: {error}"),
                    };
                    let what = format!("exposure of an earlier run on {name}");
                    recorder.record(Fact::Degraded { what, cause });
                };
                ctx.spawn(stop.into_actor(actor));
            }));
        }
    }
}

impl Handler<Ping> for Observation {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<Execute> for Observation {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, Execute(order): Execute, ctx: &mut Self::Context) -> Self::Result {
        match &self.running {
            Some((_, running, _)) if running.id() == order.id() => Ok(Disposition::AlreadyInProgress),
            Some((_, running, _)) => Err(Denied::Busy {
                running: running.id().into(),
            }),
            None => {
                self.begin(order, ctx);
                Ok(Disposition::Accepted)
            }
        }
    }
}

impl Handler<Interrupt> for Observation {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, message: Interrupt, ctx: &mut Self::Context) -> Self::Result {
        let Some((serial, order, cancel)) = self.running.take() else {
            return match message.next {
                Some(next) => {
                    self.begin(next, ctx);
                    Ok(Disposition::Accepted)
                }
                None => Err(Denied::NothingRunning),
            };
        };
        let exposing = self
            .status
            .borrow()
            .running
            .as_ref()
            .is_some_and(|r| r.step == "exposing");
        if let (true, Some(Order::Sequence { event: Some(event), .. })) = (exposing, &message.next) {
            self.displaced = Some((serial, event.clone()));
        }
        cancel.send_replace(Stop::Now(message.cause.clone()));
        let id = order.id().to_owned();
        self.status.send_modify(|status| {
            status.running = None;
            status.ended = Some((id, Outcome::Aborted { cause: message.cause }));
            status.serial += 1;
        });
        if let Some(next) = message.next {
            self.begin(next, ctx);
        }
        Ok(Disposition::Accepted)
    }
}

impl Handler<Yield> for Observation {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, message: Yield, _: &mut Self::Context) -> Self::Result {
        let Some((_, running, cancel)) = &self.running else {
            return Err(Denied::NothingRunning);
        };
        if running.id() != message.order {
            return Err(Denied::Busy {
                running: running.id().into(),
            });
        }
        let asked = cancel.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = Stop::AfterExposure(message.cause);
            }
            first
        });
        Ok(if asked {
            Disposition::Accepted
        } else {
            Disposition::AlreadyInProgress
        })
    }
}

impl Handler<Park> for Observation {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, _: Park, ctx: &mut Self::Context) -> Self::Result {
        if let Some((_, running, _)) = &self.running {
            return Err(Denied::Busy {
                running: running.id().into(),
            });
        }
        let mount = self.instruments.mount.clone();
        let state = mount.status().borrow().value.ok().map(|s| s.state);
        if matches!(state, Some(MountState::Parked | MountState::Parking)) {
            return Ok(Disposition::AlreadyInProgress);
        }
        ctx.spawn(async move { drop(mount.park().await) }.into_actor(self));
        Ok(Disposition::Accepted)
    }
}
