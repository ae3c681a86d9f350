//! The dead-man, on the real driver and the simulated controller: the roof stays open while every critical agent answers,
//! and closes by the controller's own doing when one of them hangs or monitoring falls silent, although the daemon lives.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../../simulations/tests/support/bare.rs"]
mod bare;
#[path = "../../../drivers/tests/support/live.rs"]
mod live;

use actix::prelude::*;
use alidade_drivers::{interface::Plc, plc};
use alidade_majordome::messages::{Ping, SafetyChanged};
use alidade_model::{journal::Recorder, reading::Reading, states::EnclosureState};
use alidade_safety::{
    agent::{Before, Safety, SafetyPorts, SafetySettings, SafetyStatus},
    enclosure::Policy,
    inputs::Inputs,
    messages::Conditions,
    overrides::OverridePolicy,
    verdict::{Rule, Sense},
};
use alidade_simulations::{devices::plc::PlcConfig, observatory::ObservatoryConfig};
use std::{cell::Cell, rc::Rc, time::Duration};
use tokio::sync::watch;

/// A critical agent that answers until it hangs, and takes note of nothing else.
struct Agent(Rc<Cell<bool>>);

impl Actor for Agent {
    type Context = Context<Self>;
}

impl Handler<Ping> for Agent {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
        let hangs = self.0.clone();
        Box::pin(async move {
            if hangs.get() {
                std::future::pending::<()>().await;
            }
        })
    }
}

impl Handler<SafetyChanged> for Agent {
    type Result = ();
    fn handle(&mut self, _: SafetyChanged, _: &mut Self::Context) {}
}

/// What goes silent after the roof is open.
#[derive(Clone, Copy, PartialEq)]
enum Silent {
    Nobody,
    OneAgent,
    Monitoring,
}

/// Opens, lets something go silent, and says what the roof is six minutes later, with the shutter's way to there.
fn night(silent: Silent) -> (EnclosureState, bool) {
    live::paused(|clock| async move {
        let config = ObservatoryConfig {
            plc: PlcConfig {
                dead_man_s: 60.0,
                ..PlcConfig::default()
            },
            ..bare::config()
        };
        let observatory = bare::observatory(clock.clone(), config);
        let plc = plc::connect(
            "plc",
            observatory.connector("plc"),
            clock.clone(),
            Duration::from_secs(1),
        );
        let (one_hangs, monitoring_hangs) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (one, other) = (Agent(one_hangs.clone()).start(), Agent(Rc::default()).start());
        let (_wish, wanted_open) = watch::channel(true);
        let (status, seen) = watch::channel(SafetyStatus::unknown());
        let rule = Rule {
            input: "rain_mm_h".into(),
            sense: Sense::Above,
            limit: 0.0,
            critical: None,
            bad_delay_s: 0.0,
            good_delay_s: 1.0,
            // Long, so that nothing but the heartbeat closes.
            max_age_s: 3600.0,
            latches: false,
        };
        let settings = SafetySettings {
            rules: vec![rule],
            policy: Policy::default(),
            heartbeat_s: 5.0,
            health_s: 20.0,
            overrides: OverridePolicy {
                never: Vec::new(),
                longest_s: 60.0,
                attended: false,
            },
            access_grace_s: 60.0,
        };
        let ports = SafetyPorts {
            plc: plc.clone() as Rc<dyn Plc>,
            mount: None,
            majordome: other.clone().recipient(),
            critical: vec![("one", one.recipient()), ("other", other.recipient())],
            wanted_open,
            status,
            stroke: Rc::new(|| {}),
        };
        let recorder = Recorder::new(clock.clone(), 0, Vec::new());
        let safety = Safety::new(ports, settings, recorder, Before::default()).start();
        let (told, hangs, now) = (safety.clone(), monitoring_hangs.clone(), clock.clone());
        tokio::task::spawn_local(async move {
            while !hangs.get() {
                let inputs = Inputs::from([("rain_mm_h", Reading::good(0.0, now.now()))]);
                told.do_send(Conditions { inputs });
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        tokio::time::sleep(Duration::from_secs(240)).await;
        assert_eq!(observatory.truth().enclosure, EnclosureState::Open, "it opens first");
        one_hangs.set(silent == Silent::OneAgent);
        monitoring_hangs.set(silent == Silent::Monitoring);
        // Before health and dead-man are over nothing has moved.
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(observatory.truth().enclosure, EnclosureState::Open, "not at once");
        tokio::time::sleep(Duration::from_secs(310)).await;
        let safe = seen.borrow().safe;
        (observatory.truth().enclosure, safe)
    })
}

#[test]
fn while_everybody_answers_the_roof_stays_open() {
    assert_eq!(night(Silent::Nobody), (EnclosureState::Open, true));
}

#[test]
fn one_agent_that_hangs_ends_the_heartbeats_and_the_controller_closes_by_itself() {
    // The verdict itself is still that it is safe: it is the controller that closes.
    assert_eq!(night(Silent::OneAgent).0, EnclosureState::Closed);
}

#[test]
fn monitoring_that_sends_nothing_more_ends_them_as_well() {
    assert_eq!(night(Silent::Monitoring).0, EnclosureState::Closed);
}
