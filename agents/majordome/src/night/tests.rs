use super::*;
use alidade_model::time::Night;

fn settings() -> NightSettings {
    NightSettings {
        prepare_sun_alt_deg: 5.0,
        open_sun_alt_deg: -1.0,
        flats_sun_alt_deg: (-3.0, -9.0),
        close_sun_alt_deg: -9.0,
        max_failures: 3,
        idle_replan_s: 300.0,
    }
}

fn at(second: f64) -> UtcTime {
    "2026-03-14T18:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
}

fn view(second: f64, sun_alt_deg: f64, sun_sinking: bool) -> View {
    View {
        now: at(second),
        sky: Some(Circumstances {
            sun_alt_deg,
            sun_sinking,
            night: Night(at(0.0).chrono().date_naive()),
            dusk: None,
            dawn: None,
            all_read: true,
            blocking_down: vec![],
        }),
        safe: true,
        reasons: vec![],
        enclosure_open: true,
        enclosure_closed: false,
        mount_parked: false,
        ended: None,
        due: Due::Now("s1".into()),
        priority_of_due: 5.0,
        event_of_due: None,
    }
}

/// A machine in the middle of a routine sequence.
fn observing() -> NightMachine {
    let mut machine = NightMachine::new(true);
    for _ in 0..6 {
        machine.look(&view(0.0, -20.0, true), &settings());
    }
    assert_eq!(machine.state, NightState::Observing);
    machine
}

fn alert(priority: f64) -> Opportunity {
    Opportunity {
        sequence: format!("grb-{priority}"),
        event: "grb".into(),
        priority,
        takeover: Takeover::Now,
    }
}

#[test]
fn an_evening_goes_from_off_to_observing_by_way_of_darks_and_flats() {
    let mut machine = NightMachine::new(false);
    let mut tasks = Vec::new();
    let mut ended = None;
    for (second, sun) in [
        (0.0, 4.0),
        (1.0, 4.0),
        (2.0, 4.0),
        (3.0, 4.0),
        (4.0, -5.0),
        (5.0, -5.0),
        (6.0, -5.0),
        (7.0, -9.5),
        (8.0, -12.0),
        (9.0, -12.0),
    ] {
        let look = View {
            ended: ended.take(),
            ..view(second, sun, true)
        };
        for effect in machine.look(&look, &settings()) {
            if let Effect::Execute(task) = effect {
                ended = Some((task_id(&task).to_owned(), Outcome::Done));
                tasks.push(task);
            }
        }
    }
    assert_eq!(tasks[0], Task::Darks);
    assert_eq!(tasks[1], Task::Flats);
    assert!(matches!(tasks[2], Task::Sequence { .. }));
}

#[test]
fn rain_interrupts_settles_and_pauses_in_one_look() {
    let mut machine = observing();
    let rain = View {
        safe: false,
        reasons: vec!["rain_mm_h 2.0 above 0".into()],
        ..view(100.0, -20.0, true)
    };
    let effects = machine.look(&rain, &settings());
    assert!(
        matches!(&effects[0], Effect::Interrupt { next: None, .. }),
        "{effects:?}"
    );
    assert!(effects.iter().any(|e| matches!(
        e,
        Effect::Settle {
            outcome: Outcome::Aborted { .. },
            ..
        }
    )));
    assert_eq!(machine.state, NightState::Paused);
    assert!(machine.cause.contains("rain"));
}

#[test]
fn it_resumes_when_it_is_safe_and_measured_open() {
    let mut machine = observing();
    machine.look(
        &View {
            safe: false,
            ..view(100.0, -20.0, true)
        },
        &settings(),
    );
    machine.look(
        &View {
            enclosure_open: false,
            ..view(200.0, -20.0, true)
        },
        &settings(),
    );
    assert_eq!(machine.state, NightState::Paused, "safe but not open yet");
    machine.look(&view(300.0, -20.0, true), &settings());
    assert!(matches!(machine.state, NightState::Ready | NightState::Observing));
}

#[test]
fn an_alert_displaces_a_routine_sequence_and_a_lesser_alert_waits() {
    let mut machine = observing();
    machine.offer(alert(100.0));
    let effects = machine.look(&view(10.0, -20.0, true), &settings());
    assert!(matches!(&effects[0], Effect::Interrupt { next: Some(Task::Sequence { id, .. }), .. } if id == "grb-100"));
    machine.offer(alert(50.0));
    assert!(
        !machine
            .look(&view(11.0, -20.0, true), &settings())
            .iter()
            .any(|e| matches!(e, Effect::Interrupt { .. }))
    );
    machine.offer(alert(200.0));
    assert!(
        machine
            .look(&view(12.0, -20.0, true), &settings())
            .iter()
            .any(|e| matches!(e, Effect::Interrupt { .. }))
    );
}

#[test]
fn an_alert_that_waits_for_the_frame_takes_over_at_its_end_and_one_that_cannot_wait_comes_first() {
    let mut machine = observing();
    let patient = |priority| Opportunity {
        takeover: Takeover::AfterExposure,
        ..alert(priority)
    };
    machine.offer(patient(100.0));
    let effects = machine.look(&view(10.0, -20.0, true), &settings());
    assert!(
        matches!(&effects[..], [Effect::Yield { sequence, .. }] if sequence == "s1"),
        "{effects:?}"
    );
    assert!(
        machine.look(&view(11.0, -20.0, true), &settings()).is_empty(),
        "said once"
    );
    let cause = "displaced by alert grb".to_owned();
    let over = View {
        ended: Some(("s1".into(), Outcome::Yielded { cause })),
        ..view(12.0, -20.0, true)
    };
    let effects = machine.look(&over, &settings());
    let begun = |effects: &[Effect], wanted: &str| {
        effects
            .iter()
            .any(|e| matches!(e, Effect::Execute(Task::Sequence { id, .. }) if id == wanted))
    };
    assert!(begun(&effects, "grb-100"), "{effects:?}");
    let replanned = effects.iter().any(|e| matches!(e, Effect::Replan { .. }));
    assert!(replanned, "the rest of what gave way is planned again: {effects:?}");
    machine.offer(patient(50.0));
    assert!(machine.look(&view(13.0, -20.0, true), &settings()).is_empty());
    machine.offer(patient(150.0));
    machine.offer(alert(200.0));
    let effects = machine.look(&view(14.0, -20.0, true), &settings());
    assert!(matches!(&effects[0], Effect::Interrupt { next: Some(Task::Sequence { id, .. }), .. } if id == "grb-200"));
}

#[test]
fn a_retraction_ends_what_runs_for_its_event() {
    let mut machine = observing();
    machine.offer(alert(100.0));
    machine.look(&view(10.0, -20.0, true), &settings());
    let effects = machine.retract("grb", "retracted");
    assert!(matches!(&effects[0], Effect::Interrupt { next: None, .. }));
    assert!(machine.retract("another", "retracted").is_empty());
    machine.offer(alert(50.0));
    let effects = machine.look(&view(11.0, -20.0, true), &settings());
    let next = effects
        .iter()
        .any(|e| matches!(e, Effect::Execute(Task::Sequence { id, .. }) if id == "grb-50"));
    assert!(next, "the night goes on: {effects:?}");
    assert_eq!(machine.state, NightState::Observing);
}

#[test]
fn a_retraction_also_ends_what_the_schedule_began_for_its_event() {
    let mut machine = NightMachine::new(true);
    let look = View {
        priority_of_due: 960.0,
        event_of_due: Some("grb".into()),
        ..view(0.0, -20.0, true)
    };
    for _ in 0..6 {
        machine.look(&look, &settings());
    }
    assert_eq!(machine.state, NightState::Observing);
    machine.offer(alert(100.0));
    let effects = machine.look(&view(10.0, -20.0, true), &settings());
    assert!(effects.is_empty(), "a lesser alert waits: {effects:?}");
    let effects = machine.retract("grb", "retracted");
    assert!(matches!(&effects[0], Effect::Interrupt { next: None, .. }));
}

#[test]
fn the_morning_closes_from_every_working_state() {
    for state in [
        NightState::Preparing,
        NightState::Ready,
        NightState::Observing,
        NightState::Paused,
    ] {
        let mut machine = observing();
        machine.state = state;
        let effects = machine.look(&view(0.0, -5.0, false), &settings());
        assert_eq!(machine.state, NightState::Closing, "{state}");
        assert!(effects.contains(&Effect::WantOpen(false)));
        let done = View {
            enclosure_closed: true,
            enclosure_open: false,
            mount_parked: true,
            ..view(60.0, -4.0, false)
        };
        assert!(machine.look(&done, &settings()).contains(&Effect::Report));
        assert_eq!(machine.state, NightState::Closed);
    }
}

#[test]
fn a_sequence_that_fails_three_times_is_given_up() {
    let mut machine = observing();
    let failed = || View {
        ended: Some(("s1".into(), Outcome::Failed { cause: "camera".into() })),
        ..view(0.0, -20.0, true)
    };
    let mut given_up = Vec::new();
    for _ in 0..3 {
        for effect in machine.look(&failed(), &settings()) {
            if let Effect::Settle { give_up, .. } = effect {
                given_up.push(give_up);
            }
        }
    }
    assert_eq!(given_up, [false, false, true]);
}

#[test]
fn calibration_frames_that_an_operator_stopped_stay_stopped_until_the_pause_is_lifted() {
    let darks = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Execute(Task::Darks)));
    let mut machine = NightMachine::new(false);
    let second = |machine: &mut NightMachine, s: f64| machine.look(&view(s, -5.0, true), &settings());
    let mut begun = false;
    for s in 0..5 {
        begun |= darks(&second(&mut machine, f64::from(s)));
    }
    assert!(begun && machine.state == NightState::Preparing, "{:?}", machine.state);
    machine.operator_pause = true;
    drop(machine.interrupt("aborted by somebody", None));
    for s in 5..10 {
        assert!(
            !darks(&second(&mut machine, f64::from(s))),
            "they begin again by themselves"
        );
    }
    machine.operator_pause = false;
    assert!(darks(&second(&mut machine, 10.0)));
}

#[test]
fn an_operator_pause_holds_until_it_is_lifted() {
    let mut machine = observing();
    machine.operator_pause = true;
    machine.look(&view(0.0, -20.0, true), &settings());
    assert_eq!(machine.state, NightState::Paused);
    machine.look(&view(1.0, -20.0, true), &settings());
    assert_eq!(machine.state, NightState::Paused);
    machine.operator_pause = false;
    machine.look(&view(2.0, -20.0, true), &settings());
    assert_ne!(machine.state, NightState::Paused);
}
