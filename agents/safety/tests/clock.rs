//! A clock that is set, forwards or back, at any instant: what has to be done is done in the time that passes, whatever the
//! clock says.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_drivers::interface::EnclosureStatus;
use alidade_model::{clock::Looks, reading::Reading, states::EnclosureState, time::UtcTime};
use alidade_safety::{
    enclosure::{self, Clearance, Effect, Policy, View},
    inputs::Inputs,
    verdict::{self, Rule, Sense},
};
use proptest::prelude::*;

/// A clock that jumps by `by_s` when so many seconds have passed.
struct Jumping {
    after_s: u32,
    by_s: f64,
}

impl Jumping {
    fn shows(&self, passed_s: u32) -> UtcTime {
        let jumped_s = if passed_s >= self.after_s { self.by_s } else { 0.0 };
        let start: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        start.plus_seconds(f64::from(passed_s) + jumped_s)
    }
}

/// A roof that is open, has to close and does not; the seconds after which each close was commanded, and the first alarm.
fn ordered(clock: &Jumping, policy: &Policy) -> (Vec<u32>, Option<u32>) {
    let (mut memory, mut looks) = (enclosure::Memory::default(), Looks::default());
    let (mut closes, mut alarm) = (Vec::new(), None);
    for passed_s in 0..400 {
        let now = clock.shows(passed_s);
        if let Some(seconds) = looks.moved_s(now) {
            memory.move_by(seconds);
        }
        let open = EnclosureStatus {
            state: EnclosureState::Open,
            azimuth_deg: None,
            rotating: false,
        };
        let view = View {
            safe: false,
            latched: false,
            wanted_open: true,
            measured: &Reading::good(open, now),
            mount_parked: false,
            now,
        };
        let (next, effects) = enclosure::decide(&memory, &view, policy);
        memory = next;
        for effect in effects {
            match effect {
                Effect::Close => closes.push(passed_s),
                Effect::Alarm(_) => alarm = alarm.or(Some(passed_s)),
                Effect::Open => panic!("opened after {passed_s} s"),
                Effect::ParkMount => {}
            }
        }
    }
    (closes, alarm)
}

/// The seconds after which the wind is unsafe that is above its limit from the tenth second to the hundredth, and those after
/// which it is forgiven.
fn judged(clock: &Jumping) -> (Option<u32>, Option<u32>) {
    let rule = [Rule {
        input: "wind_m_s".into(),
        sense: Sense::Above,
        limit: 15.0,
        critical: None,
        bad_delay_s: 30.0,
        good_delay_s: 200.0,
        max_age_s: 10.0,
        latches: false,
    }];
    let (mut memory, mut looks) = (verdict::Memory::default(), Looks::default());
    let (mut unsafe_after, mut safe_after) = (None, None);
    for passed_s in 0..400 {
        let now = clock.shows(passed_s);
        if let Some(seconds) = looks.moved_s(now) {
            memory.move_by(seconds);
        }
        let wind = if (10..100).contains(&passed_s) { 20.0 } else { 5.0 };
        // The reading that is newest when the clock has just been set: its age gives nothing away.
        let inputs = Inputs::from([("wind_m_s", Reading::good(wind, now))]);
        if verdict::judge(&mut memory, &rule, &inputs, now).safe {
            safe_after = safe_after.or(unsafe_after.map(|_| passed_s));
        } else {
            unsafe_after = unsafe_after.or(Some(passed_s));
        }
    }
    (unsafe_after, safe_after)
}

proptest! {
    #[test]
    fn a_close_is_repeated_and_escalated_as_if_the_clock_had_not_been_set(
        after_s in 0_u32..400,
        by_s in prop_oneof![-90_000.0..-0.5, 10.0..90_000.0],
        low_roof in any::<bool>(),
    ) {
        let clearance = if low_roof {
            Clearance::ParkFirst { grace_s: 60.0, close_anyway: true }
        } else {
            Clearance::Free
        };
        let policy = Policy { clearance, ..Policy::default() };
        let (closes, alarm) = ordered(&Jumping { after_s, by_s }, &policy);
        let (steady, called) = ordered(&Jumping { after_s: 0, by_s: 0.0 }, &policy);
        prop_assert!(closes[0] <= steady[0] + 2, "first after {} s", closes[0]);
        for pair in closes.windows(2) {
            prop_assert!((5..=12).contains(&(pair[1] - pair[0])), "{closes:?}");
        }
        prop_assert!(closes.last() >= Some(&388), "{closes:?}");
        let late_s = alarm.unwrap() - called.unwrap();
        prop_assert!(late_s <= 2, "a person is called {late_s} s late");
    }

    #[test]
    fn a_delay_is_as_long_as_if_the_clock_had_not_been_set(
        after_s in 0_u32..400,
        by_s in prop_oneof![-90_000.0..-0.5, 10.0..90_000.0],
    ) {
        let (unsafe_after, safe_after) = judged(&Jumping { after_s, by_s });
        prop_assert!((38..=42).contains(&unsafe_after.unwrap()), "{unsafe_after:?}");
        prop_assert!((298..=302).contains(&safe_after.unwrap()), "{safe_after:?}");
    }
}
