//! The shell: gathers inputs, asks the pure core, commands the controller, strokes the dead-man heartbeat.

use crate::{
    enclosure::{self, Effect, Policy, View},
    messages::{Conditions, Latch, Release},
    verdict::{self, Rule, Verdict},
};
use actix::prelude::*;
use alidade_drivers::interface::{Mount, Plc};
use alidade_majordome::messages::{Ping, SafetyChanged};
use alidade_model::{
    journal::{Fact, Recorder, Severity},
    reading::Reading,
    states::MountState,
    time::UtcTime,
};
use serde::Serialize;
use std::{collections::BTreeMap, rc::Rc, time::Duration};
use tokio::sync::watch;

/// What everybody may read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SafetyStatus {
    pub safe: bool,
    pub latched: Option<String>,
    pub reasons: Vec<String>,
    pub rows: Vec<verdict::Row>,
    /// When the verdict last changed.
    pub since: Option<UtcTime>,
}

impl SafetyStatus {
    /// Before anything is known: unsafe.
    pub fn unknown() -> Self {
        Self {
            safe: false,
            latched: None,
            reasons: vec!["starting: nothing read yet".into()],
            rows: vec![],
            since: None,
        }
    }
}

/// Outgoing edges and hardware.
pub struct SafetyPorts {
    pub plc: Rc<dyn Plc>,
    pub mount: Option<Rc<dyn Mount>>,
    pub majordome: Recipient<SafetyChanged>,
    /// Agents that must answer before the heartbeat is stroked.
    pub critical: Vec<(&'static str, Recipient<Ping>)>,
    /// The majordome's wish.
    pub wanted_open: watch::Receiver<bool>,
    pub status: watch::Sender<SafetyStatus>,
    /// Strokes another watchdog (systemd) at the same moments as the controller's.
    pub stroke: Rc<dyn Fn()>,
}

/// Its configuration.
#[derive(Debug, Clone)]
pub struct SafetySettings {
    pub rules: Vec<Rule>,
    pub policy: Policy,
    /// Seconds between two heartbeats.
    pub heartbeat_s: f64,
    /// A critical agent that has not answered for this long stops the heartbeat, seconds.
    pub health_s: f64,
}

/// What is known of the time before the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Before {
    /// It was safe, and that is no more than some minutes ago.
    pub vouched: bool,
    /// A latch that nobody has released.
    pub latched: Option<String>,
}

/// The author of the latch with which the daemon closes when it is stopped; it does not outlive the stop.
pub const SHUTDOWN: &str = "shutdown";

/// See the module's text.
pub struct Safety {
    ports: SafetyPorts,
    settings: SafetySettings,
    recorder: Recorder,
    inputs: BTreeMap<String, Reading<f64>>,
    verdict_memory: verdict::Memory,
    enclosure_memory: enclosure::Memory,
    latched: Option<String>,
    last: Option<(bool, bool, Vec<String>)>,
    since: Option<UtcTime>,
    answered: BTreeMap<&'static str, UtcTime>,
    last_stroke: Option<UtcTime>,
    conditions_at: Option<UtcTime>,
    judged_at: Option<UtcTime>,
}

impl Safety {
    pub fn new(ports: SafetyPorts, settings: SafetySettings, recorder: Recorder, before: Before) -> Self {
        Self {
            ports,
            settings,
            recorder,
            inputs: BTreeMap::new(),
            verdict_memory: if before.vouched {
                verdict::Memory::default()
            } else {
                verdict::Memory::distrusting()
            },
            enclosure_memory: enclosure::Memory::default(),
            latched: before.latched,
            last: None,
            since: None,
            answered: BTreeMap::new(),
            last_stroke: None,
            conditions_at: None,
            judged_at: None,
        }
    }

    /// One pass: judge, act on the enclosure, publish.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        let now = self.recorder.now();
        self.judged_at = Some(now);
        let (memory, verdict) = verdict::evaluate(&self.verdict_memory, &self.settings.rules, &self.inputs, now);
        self.verdict_memory = memory;
        self.act(&verdict, now, ctx);
        self.publish(verdict, now);
    }

    fn act(&mut self, verdict: &Verdict, now: UtcTime, ctx: &mut Context<Self>) {
        let measured = *self.ports.plc.enclosure_status().borrow();
        let mount_parked = self.ports.mount.as_ref().is_none_or(|mount| {
            mount
                .status()
                .borrow()
                .fresh(now, self.settings.policy.max_age_s)
                .is_ok_and(|s| s.state == MountState::Parked)
        });
        let view = View {
            safe: verdict.safe,
            latched: self.latched.is_some(),
            wanted_open: *self.ports.wanted_open.borrow(),
            measured: &measured,
            mount_parked,
            now,
        };
        let (memory, effects) = enclosure::decide(&self.enclosure_memory, &view, &self.settings.policy);
        self.enclosure_memory = memory;
        for effect in effects {
            self.execute(effect, ctx);
        }
    }

    fn execute(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        let (plc, recorder) = (self.ports.plc.clone(), self.recorder.clone());
        match effect {
            Effect::Close => {
                ctx.spawn(async move { report(&recorder, plc.close().await) }.into_actor(self));
            }
            Effect::Open => {
                ctx.spawn(async move { report(&recorder, plc.open().await) }.into_actor(self));
            }
            Effect::ParkMount => {
                if let Some(mount) = self.ports.mount.clone() {
                    ctx.spawn(async move { report(&recorder, mount.park().await) }.into_actor(self));
                }
            }
            Effect::Alarm(text) => self.recorder.alarm(Severity::Critical, text),
        }
    }

    fn publish(&mut self, verdict: Verdict, now: UtcTime) {
        // Ages and counts change every second; the set of inputs that forbid does not, and only that is an event.
        let forbidding: Vec<String> = verdict
            .rows
            .iter()
            .filter(|r| r.counts_as_unsafe)
            .map(|r| r.input.clone())
            .collect();
        let key = (verdict.safe, self.latched.is_some(), forbidding);
        if self.last.as_ref() != Some(&key) {
            let changed = self.last.as_ref().is_none_or(|last| last.0 != key.0 || last.1 != key.1);
            if changed {
                self.since = Some(now);
            }
            let mut reasons = verdict.reasons.clone();
            reasons.extend(self.latched.iter().map(|cause| format!("latched: {cause}")));
            self.recorder.record(Fact::SafetyChanged {
                safe: key.0,
                latched: key.1,
                reasons: reasons.clone(),
            });
            self.last = Some(key.clone());
            if changed {
                self.ports.majordome.do_send(SafetyChanged {
                    safe: key.0 && !key.1,
                    reasons,
                });
            }
        }
        let mut reasons = verdict.reasons;
        reasons.extend(self.latched.iter().map(|cause| format!("latched: {cause}")));
        self.ports.status.send_replace(SafetyStatus {
            safe: verdict.safe && self.latched.is_none(),
            latched: self.latched.clone(),
            reasons,
            rows: verdict.rows,
            since: self.since,
        });
    }

    /// Asks every critical agent for a sign of life, and strokes the watchdogs only while all have given one lately
    /// and monitoring keeps sending.
    fn watch_over(&mut self, ctx: &mut Context<Self>) {
        let now = self.recorder.now();
        if self
            .last_stroke
            .is_some_and(|last| now.seconds_since(last) < self.settings.heartbeat_s)
        {
            return;
        }
        let limit = Duration::from_secs_f64(self.settings.health_s);
        for (name, agent) in &self.ports.critical {
            let name = *name;
            ctx.spawn(
                agent
                    .send(Ping)
                    .timeout(limit)
                    .into_actor(self)
                    .map(move |answer, actor, _| {
                        if answer.is_ok() {
                            actor.answered.insert(name, actor.recorder.now());
                        }
                    }),
            );
        }
        self.last_stroke = Some(now);
        let recent = |at: Option<&UtcTime>| at.is_some_and(|at| now.seconds_since(*at) <= self.settings.health_s);
        let all_alive = self
            .ports
            .critical
            .iter()
            .all(|(name, _)| recent(self.answered.get(name)));
        if all_alive && recent(self.conditions_at.as_ref()) {
            (self.ports.stroke)();
            let plc = self.ports.plc.clone();
            // A lost heartbeat is the controller's business: it closes. Nothing to report beyond the link's own fault.
            ctx.spawn(async move { drop(plc.heartbeat().await) }.into_actor(self));
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        // Every message of monitoring is judged as it comes; while none comes, inputs grow old all the same.
        let now = self.recorder.now();
        if self.judged_at.is_none_or(|at| now.seconds_since(at) >= 1.5) {
            self.pass(ctx);
        }
        self.watch_over(ctx);
        ctx.run_later(Duration::from_secs(1), Self::tick);
    }
}

fn report(recorder: &Recorder, outcome: Result<(), alidade_drivers::interface::DeviceError>) {
    if let Err(error) = outcome {
        recorder.record(Fact::Degraded {
            what: "enclosure command".into(),
            cause: error.to_string(),
        });
    }
}

impl Actor for Safety {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick(ctx);
    }
}

impl Handler<Conditions> for Safety {
    type Result = ();

    fn handle(&mut self, message: Conditions, ctx: &mut Self::Context) {
        self.inputs = message.inputs;
        self.conditions_at = Some(self.recorder.now());
        self.pass(ctx);
    }
}

impl Handler<Latch> for Safety {
    type Result = ();

    fn handle(&mut self, message: Latch, ctx: &mut Self::Context) {
        let text = match &self.latched {
            // What an operator has latched is still latched after the next start.
            Some(known) if message.who == SHUTDOWN => known.clone(),
            _ => format!("{} ({})", message.cause, message.who),
        };
        self.recorder.record(Fact::OperatorCommand {
            who: message.who,
            command: "latch".into(),
            outcome: message.cause,
        });
        self.latched = Some(text);
        self.pass(ctx);
    }
}

impl Handler<Release> for Safety {
    type Result = ();

    fn handle(&mut self, message: Release, ctx: &mut Self::Context) {
        self.recorder.record(Fact::OperatorCommand {
            who: message.who,
            command: "release".into(),
            outcome: "accepted".into(),
        });
        self.latched = None;
        self.pass(ctx);
    }
}
