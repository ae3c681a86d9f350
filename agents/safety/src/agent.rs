//! The shell: gathers inputs, asks the pure core, commands the controller, strokes the dead-man heartbeat.

use crate::{
    access,
    enclosure::{self, Effect, Policy, View},
    halt,
    inputs::Inputs,
    messages::{Conditions, Latch, LiftOverride, PlaceOverride, Release},
    overrides::{Override, OverridePolicy, Overrides, Refused},
    verdict::{self, Rule, Verdict},
};
use actix::prelude::*;
use alidade_drivers::interface::{Mount, Plc, PlcStatus, Quantity};
use alidade_majordome::messages::{Ping, SafetyChanged};
use alidade_model::{
    clock::{Looks, move_by},
    journal::{Fact, Recorder, SHUTDOWN, Severity},
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
    /// Who answers for which input now.
    pub overrides: Vec<Override>,
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
            overrides: vec![],
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
    pub overrides: OverridePolicy,
    /// How long park and close may take when somebody asks to enter, before they are stopped, seconds.
    pub access_grace_s: f64,
}

/// What is known of the time before the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Before {
    /// It was safe, and that is no more than some minutes ago.
    pub vouched: bool,
    /// A latch that nobody has released.
    pub latched: Option<String>,
    /// Overrides that nobody has lifted.
    pub overrides: Vec<Override>,
}

/// See the module's text.
pub struct Safety {
    ports: SafetyPorts,
    settings: SafetySettings,
    urgent: Vec<(usize, Source)>,
    recorder: Recorder,
    inputs: Inputs,
    verdict_memory: verdict::Memory,
    enclosure_memory: enclosure::Memory,
    access_memory: access::Memory,
    halt_memory: halt::Memory,
    overrides: Overrides,
    latched: Option<String>,
    last: Option<(bool, bool, Vec<String>)>,
    since: Option<UtcTime>,
    answered: BTreeMap<&'static str, UtcTime>,
    last_stroke: Option<UtcTime>,
    conditions_at: Option<UtcTime>,
    judged_at: Option<UtcTime>,
    looks: Looks,
}

impl Safety {
    pub fn new(ports: SafetyPorts, settings: SafetySettings, recorder: Recorder, before: Before) -> Self {
        let mut overrides = Overrides::default();
        let known: Vec<&str> = settings.rules.iter().map(|rule| rule.input.as_str()).collect();
        for (over, cause) in overrides.resume(before.overrides, &known, &settings.overrides, recorder.now()) {
            let input = over.input;
            recorder.record(Fact::OverrideEnded { input, cause });
        }
        Self {
            ports,
            urgent: urgent(&settings.rules),
            settings,
            recorder,
            inputs: Inputs::new(),
            verdict_memory: if before.vouched {
                verdict::Memory::default()
            } else {
                verdict::Memory::distrusting()
            },
            enclosure_memory: enclosure::Memory::default(),
            access_memory: access::Memory::default(),
            halt_memory: halt::Memory::default(),
            overrides,
            latched: before.latched,
            last: None,
            since: None,
            answered: BTreeMap::new(),
            last_stroke: None,
            conditions_at: None,
            judged_at: None,
            looks: Looks::default(),
        }
    }

    /// One pass: judge, act on the enclosure, publish.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        let now = self.recorder.now();
        self.follow_clock(now);
        self.judged_at = Some(now);
        let verdict = verdict::judge(&mut self.verdict_memory, &self.settings.rules, &self.inputs, now);
        self.re_arm(now);
        self.latch_by_rule();
        let verdict = self.overrides.apply(verdict);
        self.halt(now, ctx);
        self.act(&verdict, now, ctx);
        self.let_in(now, ctx);
        self.publish(verdict, now);
    }

    /// When the clock was set, everything remembered moves with it.
    fn follow_clock(&mut self, now: UtcTime) {
        let Some(seconds) = self.looks.moved_s(now) else {
            return;
        };
        self.recorder.record(Fact::Degraded {
            what: "clock".into(),
            cause: format!("set by {seconds:+.0} s, or nothing ran for so long"),
        });
        self.verdict_memory.move_by(seconds);
        self.enclosure_memory.move_by(seconds);
        self.access_memory.move_by(seconds);
        self.halt_memory.move_by(seconds);
        for at in self.answered.values_mut() {
            *at = at.plus_seconds(seconds);
        }
        for at in [&mut self.last_stroke, &mut self.conditions_at, &mut self.judged_at] {
            move_by(at, seconds);
        }
    }

    /// Ends the overrides whose time is over.
    fn re_arm(&mut self, now: UtcTime) {
        for over in self.overrides.expire(now, &self.settings.overrides) {
            self.recorder.record(Fact::OperatorCommand {
                who: "safety".into(),
                command: format!("re-arm {}", over.input),
                outcome: format!("the override of {} is over", over.who),
            });
            self.recorder.record(Fact::OverrideEnded {
                input: over.input,
                cause: "its time is over".into(),
            });
        }
    }

    /// What only a person forgives (an emergency stop, somebody who entered) latches.
    fn latch_by_rule(&mut self) {
        if self.latched.is_some() {
            return;
        }
        let mut latching = self.settings.rules.iter().filter(|rule| rule.latches);
        let beyond = latching.find(|rule| {
            let value = self
                .inputs
                .get(rule.input.as_str())
                .and_then(|reading| reading.value.ok());
            value.is_some_and(|value| rule.latches_at(value))
        });
        if let Some(rule) = beyond {
            let text = format!("{} (safety)", rule.input);
            self.recorder.record(Fact::OperatorCommand {
                who: "safety".into(),
                command: "latch".into(),
                outcome: rule.input.clone(),
            });
            self.recorder.alarm(
                Severity::Serious,
                format!("latched by {}: released by a person only", rule.input),
            );
            self.latched = Some(text);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.ports.plc.emergency_stop().borrow()
    }

    /// The telescope stands still while the emergency stop is pressed.
    fn halt(&mut self, now: UtcTime, ctx: &mut Context<Self>) {
        let Some(mount) = self.ports.mount.clone() else { return };
        let policy = &self.settings.policy;
        let state = mount
            .status()
            .borrow()
            .fresh(now, policy.max_age_s)
            .ok()
            .map(|s| s.state);
        let (memory, effect) = halt::decide(&self.halt_memory, self.is_stopped(), state, now, policy.retry_s);
        self.halt_memory = memory;
        if let Some(effect) = effect {
            let recorder = self.recorder.clone();
            let told = async move {
                let outcome = match effect {
                    halt::Effect::Stop => mount.stop().await,
                    halt::Effect::StopTracking => mount.track(false).await,
                };
                report(&recorder, outcome);
            };
            ctx.spawn(told.into_actor(self));
        }
    }

    /// The handshake with somebody who asks to enter.
    fn let_in(&mut self, now: UtcTime, ctx: &mut Context<Self>) {
        let max_age_s = self.settings.policy.max_age_s;
        let requested = {
            let status = self.ports.plc.plc_status();
            let reading = status.borrow();
            reading.fresh(now, max_age_s).is_ok_and(|s| s.access_requested)
        };
        let mount = self.ports.mount.as_ref().and_then(|mount| {
            let status = mount.status();
            let reading = status.borrow();
            reading.fresh(now, max_age_s).ok().map(|s| s.state)
        });
        let view = access::View {
            requested,
            mount,
            has_mount: self.ports.mount.is_some(),
            enclosure: self
                .ports
                .plc
                .enclosure_status()
                .borrow()
                .fresh(now, max_age_s)
                .ok()
                .copied(),
            now,
        };
        let (memory, effects) = access::decide(&self.access_memory, &view, self.settings.access_grace_s);
        self.access_memory = memory;
        for effect in effects {
            let (plc, recorder) = (self.ports.plc.clone(), self.recorder.clone());
            match effect {
                access::Effect::Grant => {
                    ctx.spawn(async move { report(&recorder, plc.grant_access().await) }.into_actor(self));
                }
                access::Effect::StopEnclosure => {
                    ctx.spawn(async move { report(&recorder, plc.stop().await) }.into_actor(self));
                }
                access::Effect::StopMount => {
                    if let Some(mount) = self.ports.mount.clone() {
                        ctx.spawn(async move { report(&recorder, mount.stop().await) }.into_actor(self));
                    }
                }
                access::Effect::Alarm(text) => self.recorder.alarm(Severity::Critical, text),
            }
        }
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
            Effect::ParkMount if self.is_stopped() => {}
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
            overrides: self.overrides.all().cloned().collect(),
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
        self.follow_clock(now);
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

/// Where an input comes from that may forbid at once.
enum Source {
    Quantity(Quantity),
    Switch(&'static str, fn(&PlcStatus) -> bool),
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Source::Quantity(quantity) => quantity.name(),
            Source::Switch(name, _) => name,
        }
    }
}

/// The rules that do not always wait for a delay, by their place, with where their inputs come from.
fn urgent(rules: &[Rule]) -> Vec<(usize, Source)> {
    let source = |input: &str| {
        Some(match input {
            "emergency_stop" => Source::Switch("emergency_stop", |s| s.emergency_stop),
            "access_requested" => Source::Switch("access_requested", |s| s.access_requested),
            "intrusion" => Source::Switch("intrusion", |s| s.intrusion),
            "plc_must_be_closed" => Source::Switch("plc_must_be_closed", |s| s.must_be_closed),
            _ => Source::Quantity(Quantity::ALL.into_iter().find(|quantity| quantity.name() == input)?),
        })
    };
    let pressing = |rule: &&Rule| rule.critical.is_some() || rule.bad_delay_s <= 0.0;
    let placed = rules.iter().enumerate().filter(|(_, rule)| pressing(rule));
    placed
        .filter_map(|(place, rule)| Some((place, source(&rule.input)?)))
        .collect()
}

/// The controller has said something new: is it so bad that it does not wait for the next round of monitoring?
#[derive(Message)]
#[rtype(result = "()")]
struct Glance;

impl Actor for Safety {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick(ctx);
        let (mut readings, mut status) = (self.ports.plc.readings(), self.ports.plc.plc_status());
        let me = ctx.address().recipient::<Glance>();
        let watching = async move {
            loop {
                let heard = tokio::select! {
                    biased;
                    heard = readings.changed() => heard,
                    heard = status.changed() => heard,
                };
                if heard.is_err() {
                    return;
                }
                me.do_send(Glance);
            }
        };
        ctx.spawn(watching.into_actor(self));
    }
}

impl Handler<Glance> for Safety {
    type Result = ();

    /// Takes over what forbids at once (critical, or beyond a limit without a delay), and judges. Only for the worse: what
    /// is better comes with the next conditions.
    fn handle(&mut self, _: Glance, ctx: &mut Self::Context) {
        let mut changed = false;
        let (readings, status) = (self.ports.plc.readings(), self.ports.plc.plc_status());
        let (readings, status) = (readings.borrow(), status.borrow());
        for (place, source) in &self.urgent {
            let rule = &self.settings.rules[*place];
            let reading = match (source, &status.value) {
                (Source::Quantity(quantity), _) => readings.get(*quantity).copied(),
                (Source::Switch(_, switch), Ok(said)) => {
                    Some(Reading::good(f64::from(u8::from(switch(said))), status.measured_at))
                }
                (Source::Switch(..), Err(_)) => None,
            };
            let Some(reading) = reading.filter(|r| r.value.is_ok_and(|value| rule.forbids_at_once(value))) else {
                continue;
            };
            let known = self.inputs.get(source.name()).and_then(|known| known.value.ok());
            if !known.is_some_and(|known| rule.forbids_at_once(known)) {
                self.inputs.insert(source.name(), reading);
                changed = true;
            }
        }
        drop((readings, status));
        if changed {
            self.pass(ctx);
        }
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

impl Handler<PlaceOverride> for Safety {
    type Result = Result<(), Refused>;

    fn handle(&mut self, PlaceOverride(wanted): PlaceOverride, ctx: &mut Self::Context) -> Self::Result {
        let known: Vec<&str> = self.settings.rules.iter().map(|rule| rule.input.as_str()).collect();
        let until = wanted.until.map_or("it is lifted".to_owned(), |t| t.to_string());
        let (who, command) = (
            wanted.who.clone(),
            format!("override {} until {until}: {}", wanted.input, wanted.reason),
        );
        let fact = Fact::OverridePlaced {
            input: wanted.input.clone(),
            who: wanted.who.clone(),
            reason: wanted.reason.clone(),
            until: wanted.until,
        };
        let placed = self
            .overrides
            .place(wanted, &known, &self.settings.overrides, self.recorder.now());
        let outcome = placed.as_ref().map_or_else(ToString::to_string, |()| "accepted".into());
        if placed.is_ok() {
            self.recorder.record(fact);
            // An override is seen by everybody who is told of alarms.
            self.recorder.alarm(Severity::Warning, format!("{who}: {command}"));
        }
        self.recorder.record(Fact::OperatorCommand { who, command, outcome });
        self.pass(ctx);
        placed
    }
}

impl Handler<LiftOverride> for Safety {
    type Result = bool;

    fn handle(&mut self, message: LiftOverride, ctx: &mut Self::Context) -> bool {
        let lifted = self.overrides.lift(&message.input);
        if lifted {
            self.recorder.record(Fact::OverrideEnded {
                input: message.input.clone(),
                cause: format!("lifted by {}", message.who),
            });
        }
        self.recorder.record(Fact::OperatorCommand {
            who: message.who,
            command: format!("lift override of {}", message.input),
            outcome: if lifted { "accepted" } else { "there was none" }.into(),
        });
        self.pass(ctx);
        lifted
    }
}
