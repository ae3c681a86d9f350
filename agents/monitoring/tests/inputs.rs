//! Every safety input, gone through one by one from what the sources say to the verdict: unknown, stale, stuck,
//! contradicted and impossible each make it unsafe with their own reason, and it is forgiven only after the good-delay.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_drivers::interface::{KeySwitch, PlcStatus, Quantity, Readings};
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};
use alidade_monitoring::{
    fusion::{Belief, History, fuse, rests},
    inputs::{Known, inputs},
};
use alidade_safety::verdict::{Memory, Rule, Sense, Verdict, evaluate};

const BELIEF: Belief = Belief {
    max_age_s: 10.0,
    stuck_after_s: 900.0,
};
const BAD_DELAY_S: f64 = 30.0;
const GOOD_DELAY_S: f64 = 600.0;
/// Between two looks.
const STEP_S: f64 = 5.0;

fn at(second: f64) -> UtcTime {
    "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
}

/// Where an input comes from.
#[derive(Debug, Clone, Copy)]
enum From {
    Sensor(Quantity),
    /// Temperature minus dew point: what is set is the dew point, at ten degrees of air.
    DewPoint,
    Sun,
    /// Sets a switch of the controller.
    Switch(fn(&mut PlcStatus, bool)),
}

/// What two sources far apart are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Apart {
    /// A contradiction, with this value at the second source.
    Contradiction(f64),
    /// The worst of them counts.
    Worst,
    /// There is one source; the controller's mode word or the light outside says otherwise.
    Claim,
    /// There is one source, and nothing that knows of it as well.
    Alone,
}

struct Input {
    name: &'static str,
    from: From,
    sense: Sense,
    limit: f64,
    fine: f64,
    beyond: f64,
    /// The critical limit, and a value beyond it.
    critical: Option<(f64, f64)>,
    /// A value that no sensor in order stands at for a quarter of an hour.
    stands_at: Option<f64>,
    impossible: f64,
    apart: Apart,
}

fn sensor(quantity: Quantity, sense: Sense, [limit, fine, beyond]: [f64; 3]) -> Input {
    Input {
        name: quantity.name(),
        from: From::Sensor(quantity),
        sense,
        limit,
        fine,
        beyond,
        critical: None,
        stands_at: Some(fine),
        impossible: quantity.plausible().0 - 1.0,
        apart: Apart::Worst,
    }
}

fn switch(name: &'static str, set: fn(&mut PlcStatus, bool), apart: Apart) -> Input {
    Input {
        name,
        from: From::Switch(set),
        sense: Sense::Above,
        limit: 0.5,
        fine: 0.0,
        beyond: 1.0,
        critical: None,
        stands_at: Some(0.0),
        impossible: f64::NAN,
        apart,
    }
}

/// The table: every input there is.
fn table() -> Vec<Input> {
    use Quantity as Q;
    use Sense::{Above, Below};
    let with = |input: Input, critical: (f64, f64), apart: Apart| Input {
        critical: Some(critical),
        apart,
        ..input
    };
    vec![
        Input {
            critical: Some((0.5, 2.0)),
            stands_at: Some(0.2),
            ..sensor(Q::RainMmH, Above, [0.0, 0.0, 0.3])
        },
        with(
            sensor(Q::WindMS, Above, [14.0, 4.0, 15.0]),
            (18.0, 20.0),
            Apart::Contradiction(13.5),
        ),
        with(
            sensor(Q::GustMS, Above, [18.0, 5.0, 19.0]),
            (25.0, 26.0),
            Apart::Contradiction(17.5),
        ),
        with(
            sensor(Q::HumidityPct, Above, [88.0, 40.0, 90.0]),
            (96.0, 98.0),
            Apart::Contradiction(75.0),
        ),
        Input {
            name: "dew_point_distance_k",
            from: From::DewPoint,
            sense: Below,
            limit: 2.0,
            fine: -3.0,
            beyond: 9.0,
            critical: Some((0.5, 9.8)),
            stands_at: Some(-3.0),
            impossible: 90.0,
            apart: Apart::Contradiction(7.0),
        },
        with(
            sensor(Q::TemperatureC, Below, [-20.0, 10.0, -21.0]),
            (-30.0, -31.0),
            Apart::Contradiction(20.0),
        ),
        with(
            sensor(Q::SkyTemperatureK, Above, [-12.0, -35.0, -8.0]),
            (0.0, 2.0),
            Apart::Contradiction(-13.0),
        ),
        with(
            sensor(Q::LightLux, Above, [50.0, 2.0, 60.0]),
            (5000.0, 9000.0),
            Apart::Worst,
        ),
        Input {
            name: "sun_alt_deg",
            from: From::Sun,
            sense: Above,
            limit: 5.0,
            fine: -20.0,
            beyond: 6.0,
            critical: Some((8.0, 9.0)),
            stands_at: None,
            impossible: 400.0,
            apart: Apart::Claim,
        },
        with(
            sensor(Q::UpsChargePct, Below, [60.0, 75.0, 55.0]),
            (30.0, 20.0),
            Apart::Contradiction(100.0),
        ),
        Input {
            stands_at: None,
            ..with(
                sensor(Q::DiskFreeMb, Below, [1000.0, 90_000.0, 900.0]),
                (100.0, 50.0),
                Apart::Worst,
            )
        },
        with(
            sensor(Q::LinkSilentS, Above, [600.0, 12.0, 700.0]),
            (3600.0, 4000.0),
            Apart::Worst,
        ),
        with(
            sensor(Q::InsideHumidityPct, Above, [85.0, 40.0, 86.0]),
            (95.0, 97.0),
            Apart::Contradiction(75.0),
        ),
        Input {
            stands_at: None,
            ..sensor(Q::MonitorUnsafe, Above, [0.5, 0.0, 1.0])
        },
        switch("emergency_stop", |s, on| s.emergency_stop = on, Apart::Claim),
        switch("access_requested", |s, on| s.access_requested = on, Apart::Alone),
        switch("intrusion", |s, on| s.intrusion = on, Apart::Claim),
        switch(
            "key_not_remote",
            |s, on| s.key_switch = if on { KeySwitch::Local } else { KeySwitch::Remote },
            Apart::Claim,
        ),
        switch("plc_must_be_closed", |s, on| s.must_be_closed = on, Apart::Claim),
    ]
}

/// What the sources say of the input that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    /// A living value.
    Value(f64),
    /// Two sources with these living values.
    Two(f64, f64),
    /// Measured at this second, and never again.
    Old(f64, f64),
    /// The same figure every time.
    Frozen(f64),
    /// The controller's mode word, or the light, says the opposite.
    Denied(f64),
    Lost(NoData),
    Nothing,
}

/// One site that has this one rule.
struct Site<'a> {
    input: &'a Input,
    rule: Rule,
    history: History,
    memory: Memory,
    second: f64,
}

impl<'a> Site<'a> {
    fn new(input: &'a Input) -> Self {
        let rule = Rule {
            input: input.name.into(),
            sense: input.sense,
            limit: input.limit,
            critical: input.critical.map(|(limit, _)| limit),
            bad_delay_s: BAD_DELAY_S,
            good_delay_s: GOOD_DELAY_S,
            max_age_s: 10.0,
            latches: false,
        };
        Self {
            input,
            rule,
            history: History::default(),
            memory: Memory::default(),
            second: 0.0,
        }
    }

    /// One look, a step later.
    fn look(&mut self, said: Said) -> Verdict {
        self.second += STEP_S;
        let (now, second) = (at(self.second), self.second);
        // Living sensors flicker in their last digit.
        let flicker = 0.01 * ((second / STEP_S) % 2.0);
        let living = |value: f64| Reading::good(value + flicker, now);
        let (mut plc, mut mast) = (Readings::new(), Readings::new());
        let mut status = PlcStatus {
            mode: "AUTO".into(),
            key_switch: KeySwitch::Remote,
            emergency_stop: false,
            intrusion: false,
            access_requested: false,
            must_be_closed: false,
            alarms: vec![],
            bypasses: vec![],
        };
        let (mut sun_alt_deg, mut controller) = (-20.0, None);
        match self.input.from {
            From::Sensor(_) | From::DewPoint => {
                let quantity = match self.input.from {
                    From::Sensor(quantity) => quantity,
                    _ => Quantity::DewPointC,
                };
                if quantity == Quantity::DewPointC {
                    plc.insert(Quantity::TemperatureC, living(10.0));
                }
                let told = |value: f64| {
                    if rests(quantity, value) {
                        Reading::good(value, now)
                    } else {
                        living(value)
                    }
                };
                match said {
                    Said::Value(value) | Said::Denied(value) => plc.insert(quantity, told(value)),
                    Said::Two(one, other) => {
                        plc.insert(quantity, told(one));
                        mast.insert(quantity, told(other));
                    }
                    Said::Old(value, then) => plc.insert(quantity, Reading::good(value, at(then))),
                    Said::Frozen(value) => plc.insert(quantity, Reading::good(value, now)),
                    Said::Lost(reason) => plc.insert(quantity, Reading::none(reason, now)),
                    Said::Nothing => plc = Readings::new(),
                }
            }
            From::Sun => match said {
                Said::Denied(value) => {
                    sun_alt_deg = value;
                    plc.insert(Quantity::LightLux, living(20_000.0));
                }
                Said::Value(value) | Said::Frozen(value) => sun_alt_deg = value,
                _ => sun_alt_deg = f64::NAN,
            },
            From::Switch(set) => {
                let sensors = [(Quantity::WindMS, 4.0), (Quantity::HumidityPct, 40.0)];
                let frozen = matches!(said, Said::Frozen(_));
                for (quantity, value) in sensors {
                    let reading = if frozen {
                        Reading::good(value, now)
                    } else {
                        living(value)
                    };
                    plc.insert(quantity, reading);
                }
                controller = match said {
                    Said::Value(value) | Said::Frozen(value) => {
                        set(&mut status, value > 0.5);
                        Some(Reading::good(status, now))
                    }
                    Said::Denied(_) => {
                        status.mode = match self.input.name {
                            "emergency_stop" => "ESTOP",
                            "intrusion" => "AUTO_INTRUSION",
                            _ => "MANU",
                        }
                        .into();
                        if self.input.name == "plc_must_be_closed" {
                            status.alarms = vec!["rain".into()];
                        }
                        Some(Reading::good(status, now))
                    }
                    Said::Old(_, then) => Some(Reading::good(status, at(then))),
                    Said::Lost(reason) => Some(Reading::none(reason, now)),
                    Said::Two(..) | Said::Nothing => None,
                };
            }
        }
        let controller = controller.unwrap_or(Reading::none(NoData::NeverRead, now));
        let fused = fuse(&mut self.history, &[("plc", &plc), ("mast", &mast)], BELIEF, now);
        let known = inputs(Known {
            fused: &fused,
            plc: &controller,
            plc_repeats: self.history.repeats("plc", BELIEF, now),
            sun_alt_deg,
            now,
        });
        let (memory, verdict) = evaluate(&self.memory, std::slice::from_ref(&self.rule), &known, now);
        self.memory = memory;
        verdict
    }

    /// Looks for so many seconds, and returns the last verdict.
    fn for_s(&mut self, seconds: f64, said: Said) -> Verdict {
        let looks = (seconds / STEP_S).ceil() as u32;
        (1..looks).for_each(|_| drop(self.look(said)));
        self.look(said)
    }

    fn fine(&mut self, seconds: f64) -> Verdict {
        self.for_s(seconds, Said::Value(self.input.fine))
    }

    /// Unsafe with exactly this reason, fine again, and forgiven only after the good-delay.
    fn forbids_and_forgives(&mut self, verdict: &Verdict, reason: &str) {
        let name = self.input.name;
        assert!(!verdict.safe, "{name}: {reason}");
        assert_eq!(verdict.reasons, [format!("{name}{reason}")]);
        assert!(
            !self.fine(GOOD_DELAY_S).safe,
            "{name} was forgiven before its good-delay after {reason:?}"
        );
        assert!(self.fine(2.0 * STEP_S).safe, "{name} is not forgiven after {reason:?}");
    }
}

#[test]
fn the_table_has_every_input_that_the_configuration_knows() {
    let mut names: Vec<&str> = table().iter().map(|input| input.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 19);
    // Pressure closes nothing; the dew point is judged by its distance.
    let judged_otherwise = [Quantity::PressureHpa, Quantity::DewPointC];
    for quantity in Quantity::ALL {
        assert!(
            names.contains(&quantity.name()) || judged_otherwise.contains(&quantity),
            "{} is not in the table",
            quantity.name()
        );
    }
}

#[test]
fn an_input_that_is_unknown_or_lost_is_unsafe_whatever_it_is() {
    for input in table() {
        let mut site = Site::new(&input);
        let never = site.look(Said::Nothing);
        let expected = match input.from {
            From::Sun => ": value outside the sensor's range",
            _ => " not known yet",
        };
        assert_eq!(never.reasons, [format!("{}{expected}", input.name)]);
        if matches!(input.from, From::Sun) {
            continue;
        }
        let mut site = Site::new(&input);
        assert!(site.fine(60.0).safe, "{} in order is safe", input.name);
        for (reason, text) in [
            (NoData::LinkDown, ": link down"),
            (NoData::Timeout, ": device timed out"),
            (NoData::SensorFault, ": device reports its sensor as failed"),
        ] {
            let verdict = site.look(Said::Lost(reason));
            site.forbids_and_forgives(&verdict, text);
        }
        let verdict = site.look(Said::Nothing);
        site.forbids_and_forgives(&verdict, ": never read");
    }
}

#[test]
fn an_old_reading_is_unsafe_whatever_it_is() {
    // The Sun is computed at every look: it has no age.
    for input in table().iter().filter(|input| !matches!(input.from, From::Sun)) {
        let mut site = Site::new(input);
        assert!(site.fine(60.0).safe);
        let then = site.second;
        assert!(site.look(Said::Old(input.fine, then)).safe, "{} is 5 s old", input.name);
        site.look(Said::Old(input.fine, then));
        let verdict = site.look(Said::Old(input.fine, then));
        site.forbids_and_forgives(&verdict, ": reading too old");
    }
}

#[test]
fn a_value_that_never_changes_is_unsafe_unless_the_sensor_rests_there() {
    let mut resting = Vec::new();
    for input in &table() {
        let mut site = Site::new(input);
        assert!(site.fine(60.0).safe);
        let Some(stands_at) = input.stands_at else {
            resting.push(input.name);
            assert!(site.for_s(2000.0, Said::Frozen(input.fine)).safe, "{}", input.name);
            continue;
        };
        let before = site.for_s(BELIEF.stuck_after_s - 10.0, Said::Frozen(stands_at));
        assert!(
            before.safe || stands_at != input.fine,
            "{} is not stuck yet: {:?}",
            input.name,
            before.reasons
        );
        let verdict = site.for_s(20.0, Said::Frozen(stands_at));
        site.forbids_and_forgives(&verdict, ": value has not changed for too long");
    }
    // A yes or no, what this machine measures itself with the time of each look, and what is computed.
    assert_eq!(resting, ["sun_alt_deg", "disk_free_mb", "monitor_unsafe"]);
    for (quantity, value) in [
        (Quantity::RainMmH, 0.0),
        (Quantity::GustMS, 0.0),
        (Quantity::LightLux, 0.0),
        (Quantity::UpsChargePct, 100.0),
        (Quantity::LinkSilentS, 0.0),
    ] {
        assert!(rests(quantity, value), "{quantity:?} may stand at {value}");
    }
}

#[test]
fn sources_that_contradict_each_other_are_unsafe() {
    for input in &table() {
        let mut site = Site::new(input);
        assert!(site.fine(60.0).safe);
        let denied = Said::Denied(input.fine);
        match input.apart {
            Apart::Contradiction(other) => {
                // Both are within the limit: it is their distance that counts.
                let verdict = site.for_s(70.0, Said::Two(input.fine, other));
                site.forbids_and_forgives(&verdict, ": sources contradict each other");
            }
            Apart::Claim => {
                let verdict = site.look(denied);
                site.forbids_and_forgives(&verdict, ": sources contradict each other");
            }
            Apart::Worst => {
                let verdict = site.for_s(BAD_DELAY_S + 10.0, Said::Two(input.fine, input.beyond));
                assert!(!verdict.safe && verdict.reasons[0].contains(&input.limit.to_string()) || input.limit == 0.5);
                assert!(!verdict.safe, "{}: the worst of two counts", input.name);
            }
            Apart::Alone => assert_eq!(input.name, "access_requested"),
        }
    }
}

#[test]
fn an_impossible_value_is_unsafe_whatever_it_is() {
    for input in &table() {
        let mut site = Site::new(input);
        assert!(site.fine(60.0).safe);
        let verdict = match input.from {
            // What a driver cannot read as a switch it gives as a reason.
            From::Switch(_) => site.look(Said::Lost(NoData::OutOfRange)),
            _ => site.look(Said::Value(input.impossible)),
        };
        site.forbids_and_forgives(&verdict, ": value outside the sensor's range");
    }
}

#[test]
fn a_value_beyond_its_limit_waits_for_the_bad_delay_and_a_critical_one_does_not() {
    for input in &table() {
        let mut site = Site::new(input);
        assert!(site.fine(60.0).safe);
        assert!(
            site.for_s(BAD_DELAY_S, Said::Value(input.beyond)).safe,
            "{} counts only after its bad-delay",
            input.name
        );
        assert!(!site.for_s(10.0, Said::Value(input.beyond)).safe, "{}", input.name);
        assert!(!site.fine(GOOD_DELAY_S).safe, "{} is forgiven too early", input.name);
        assert!(site.fine(10.0).safe, "{}", input.name);
        if let Some((_, value)) = input.critical {
            assert!(
                !site.look(Said::Value(value)).safe,
                "{} is critical at once",
                input.name
            );
            assert!(!site.fine(GOOD_DELAY_S).safe && site.fine(10.0).safe, "{}", input.name);
        }
    }
}
