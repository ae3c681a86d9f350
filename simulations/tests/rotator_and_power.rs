//! Our drivers of rotators and switches on the simulated ones: over memory, TCP and a pseudo-terminal alike, and through the
//! faults that they can have.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "support/bare.rs"]
mod bare;
#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_drivers::{
    grammar,
    interface::{Device, DeviceError, Focuser, Rotator, Switch},
    transport::{SerialConnector, SharedConnector, TcpConnector},
};
use alidade_model::{clock::Clock, states::MountState};
use alidade_simulations::{
    faults::{Fault, FaultKind},
    observatory::Observatory,
};
use std::{net::SocketAddr, rc::Rc, time::Duration};
use support::{live, lost, paused, seen};
use tokio::io::AsyncWriteExt;

const POLL: Duration = Duration::from_millis(200);

fn hardware(clock: &Rc<dyn Clock>) -> Rc<Observatory> {
    bare::observatory(clock.clone(), bare::config())
}

fn from_now(clock: &Rc<dyn Clock>, device: &str, kind: FaultKind, for_s: f64) -> Fault {
    Fault {
        at: clock.now(),
        device: device.into(),
        kind,
        for_s,
    }
}

/// Turns the field a little and back, and switches the focuser off and on.
async fn drive(turns: SharedConnector, strip: SharedConnector, observatory: &Rc<Observatory>, clock: Rc<dyn Clock>) {
    let rotator = grammar::connect_rotator("rotator", turns, clock.clone(), POLL);
    let power = grammar::connect_switch("power", strip, clock.clone(), POLL);
    let mut field = rotator.status();
    let begun = seen(&mut field, 15, "the angle is read", |s| !s.moving).await;
    assert_eq!(begun.mechanical_deg, Some(180.0));
    // Any angle is taken as the one between 0 and 360.
    rotator.turn_to(begun.position_deg + 4.0 - 360.0).await.unwrap();
    seen(&mut field, 15, "it turns", |s| s.moving).await;
    let aim = begun.position_deg + 4.0;
    seen(&mut field, 15, "it is there", |s| !s.moving && s.position_deg == aim).await;
    rotator.turn_to(begun.position_deg).await.unwrap();
    rotator.stop().await.unwrap();
    let stopped = seen(&mut field, 15, "it stops", |s| !s.moving).await;
    assert!(stopped.position_deg > begun.position_deg && stopped.position_deg < aim + 0.001);

    let mut lines = power.lines();
    let read = seen(&mut lines, 15, "the lines are read", |lines| lines.len() == 5).await;
    assert!(read["focuser"].value == 1.0 && read["dew heater"].most == 255.0 && !read["supply volts"].writable);
    let focuser = grammar::connect_focuser("focuser", observatory.connector("focuser"), clock, POLL / 10);
    let mut steps = focuser.status();
    seen(&mut steps, 15, "the focuser answers", |_| true).await;
    power.set("dew heater", 80.0).await.unwrap();
    power.set("focuser", 0.0).await.unwrap();
    let dark = seen(&mut lines, 15, "it is off", |lines| lines["focuser"].value == 0.0).await;
    assert!(dark["dew heater"].value == 80.0 && dark["supply volts"].value > read["supply volts"].value);
    assert!(lost(&mut steps, 15).await, "a focuser without current answers nobody");
    power.set("focuser", 1.0).await.unwrap();
    seen(&mut steps, 30, "the focuser is back", |_| true).await;
    let refused = power.set("supply volts", 12.0).await.unwrap_err();
    assert!(matches!(refused, DeviceError::Unsupported { .. }), "{refused}");
    let beyond = power.set("dew heater", 256.0).await.unwrap_err();
    assert!(matches!(beyond, DeviceError::OutOfRange { .. }), "{beyond}");
    let nowhere = power.set("kettle", 1.0).await.unwrap_err();
    assert!(matches!(nowhere, DeviceError::Unsupported { .. }), "{nowhere}");
    assert_eq!((rotator.garbage_count(), power.garbage_count()), (0, 0));
}

#[test]
fn over_memory() {
    paused(|clock| async move {
        let observatory = hardware(&clock);
        let (turns, strip) = (observatory.connector("rotator"), observatory.connector("power"));
        drive(turns, strip, &observatory, clock).await;
    });
}

#[test]
fn over_tcp() {
    live(|clock| async move {
        let observatory = hardware(&clock);
        let mut ways: Vec<SharedConnector> = Vec::new();
        for device in ["rotator", "power"] {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let bound = observatory.serve_tcp(device, any).await.unwrap();
            ways.push(Rc::new(TcpConnector {
                host: bound.ip().to_string(),
                port: bound.port(),
            }));
        }
        drive(ways[0].clone(), ways[1].clone(), &observatory, clock).await;
    });
}

#[test]
fn over_a_serial_line() {
    live(|clock| async move {
        let observatory = hardware(&clock);
        let way = |device: &str| {
            let path = observatory.serve_pty(device).unwrap();
            Rc::new(SerialConnector { path, baud: 9600 }) as SharedConnector
        };
        drive(way("rotator"), way("power"), &observatory, clock).await;
    });
}

#[test]
fn what_the_last_user_of_a_serial_line_asked_does_not_answer_the_next_one() {
    live(|clock| async move {
        let observatory = hardware(&clock);
        let path = observatory.serve_pty("rotator").unwrap();
        let way: SharedConnector = Rc::new(SerialConnector { path, baud: 9600 });
        // Answered while nobody has the line open, and while the next one opens it.
        for pause_ms in [300, 0] {
            let mut before = way.connect().await.unwrap();
            before
                .write_all(b"00140000GET STATUS\x0000150000GET IDENTITY\x00")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            drop(before);
            let rotator = grammar::connect_rotator("rotator", way.clone(), clock.clone(), POLL);
            seen(&mut rotator.status(), 6, "the angle is read", |_| true).await;
            tokio::time::sleep(POLL * 5).await;
            assert!(rotator.link().borrow().is_up());
            assert!(rotator.garbage_count() <= 2, "{}", rotator.garbage_count());
            drop(rotator);
            tokio::time::sleep(POLL).await;
        }
    });
}

#[test]
fn what_hangs_comes_back_with_its_current_and_a_mount_without_it_stands() {
    paused(|clock| async move {
        let observatory = hardware(&clock);
        let fault = |device: &str, kind| from_now(&clock, device, kind, 1e6);
        let power = grammar::connect_switch("power", observatory.connector("power"), clock.clone(), POLL);
        let rotator = grammar::connect_rotator("rotator", observatory.connector("rotator"), clock.clone(), POLL);
        let (mut lines, mut field) = (power.lines(), rotator.status());
        seen(&mut lines, 15, "the lines are read", |_| true).await;
        seen(&mut field, 15, "the angle is read", |_| true).await;
        rotator.turn_to(300.0).await.unwrap();
        seen(&mut field, 15, "it turns", |s| s.moving).await;
        observatory.inject(fault("rotator", FaultKind::Hang));
        assert!(lost(&mut field, 15).await);
        for value in [0.0, 1.0] {
            power.set("rotator", value).await.unwrap();
        }
        let back = seen(&mut field, 60, "it answers again", |_| true).await;
        assert!(!back.moving, "it has forgotten where it was sent: {back:?}");

        // Awake, a mount tracks where it stands.
        observatory.reply("mount", b":hW").await;
        let before = observatory.truth();
        assert_eq!(before.mount, MountState::Tracking);
        power.set("mount", 0.0).await.unwrap();
        let dark = observatory.truth();
        assert_eq!(dark.mount, MountState::Idle, "nothing turns it any more");
    });
}

#[test]
fn a_stuck_rotator_never_arrives_and_a_strip_that_refuses_says_so() {
    paused(|clock| async move {
        let observatory = hardware(&clock);
        for (device, kind) in [("rotator", FaultKind::Stuck), ("power", FaultKind::Refuse)] {
            observatory.inject(Fault {
                at: clock.now(),
                device: device.into(),
                kind,
                for_s: 1e6,
            });
        }
        let rotator = grammar::connect_rotator("rotator", observatory.connector("rotator"), clock.clone(), POLL);
        let power = grammar::connect_switch("power", observatory.connector("power"), clock.clone(), POLL);
        let (mut lines, mut field) = (power.lines(), rotator.status());
        let begun = seen(&mut field, 15, "the angle is read", |_| true).await;
        rotator.turn_to(100.0).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let still = seen(&mut field, 15, "it is read", |s| s.moving).await;
        assert_eq!(still.position_deg, begun.position_deg);
        seen(&mut lines, 15, "the lines are read", |_| true).await;
        let refused = power.set("mount", 0.0).await.unwrap_err();
        assert!(matches!(refused, DeviceError::Rejected { .. }), "{refused}");
    });
}

/// Found by the campaign of nights (seed 1209): a camera that babbled was given up, and went on exposing under a closing roof.
#[test]
fn an_order_to_stop_reaches_a_device_that_cannot_be_understood() {
    paused(|clock| async move {
        let observatory = hardware(&clock);
        let rotator = grammar::connect_rotator("rotator", observatory.connector("rotator"), clock.clone(), POLL);
        let mut field = rotator.status();
        let begun = seen(&mut field, 15, "the angle is read", |_| true).await;
        let aim = begun.position_deg + 120.0;
        rotator.turn_to(aim).await.unwrap();
        seen(&mut field, 15, "it turns", |s| s.moving).await;
        observatory.inject(from_now(&clock, "rotator", FaultKind::Garbage, 30.0));
        assert!(lost(&mut field, 15).await);
        let refused = rotator.stop().await.unwrap_err();
        assert!(matches!(refused, DeviceError::Disconnected { .. }), "{refused}");
        let back = seen(&mut field, 90, "it is understood again", |_| true).await;
        assert!(!back.moving && back.position_deg < aim - 20.0, "{back:?}");
        // What was owed is not said to one that answers again.
        rotator.turn_to(aim).await.unwrap();
        seen(&mut field, 60, "it is there", |s| !s.moving && s.position_deg == aim).await;
    });
}

#[test]
fn an_order_to_stop_cuts_the_wait_for_the_next_connection_short() {
    paused(|clock| async move {
        let observatory = hardware(&clock);
        let rotator = grammar::connect_rotator("rotator", observatory.connector("rotator"), clock.clone(), POLL);
        let mut field = rotator.status();
        seen(&mut field, 15, "the angle is read", |_| true).await;
        // In vain after 1, 4, 9 and 15 seconds: when the line is whole again, 11 seconds are left of the last wait.
        observatory.inject(from_now(&clock, "rotator", FaultKind::DropLink, 33.0));
        assert!(lost(&mut field, 15).await);
        tokio::time::sleep(Duration::from_secs(33)).await;
        let asked = clock.now();
        // What is not urgent waits on.
        rotator.turn_to(10.0).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!rotator.link().borrow().is_up());
        rotator.stop().await.unwrap_err();
        seen(&mut field, 15, "it is reached again", |_| true).await;
        let waited_s = clock.now().seconds_since(asked);
        assert!((2.0..3.5).contains(&waited_s), "{waited_s} s");
    });
}
