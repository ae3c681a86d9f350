//! The INDI drivers against Debian's `indiserver` and its simulators (package `indi-bin`), each test on a server of its
//! own.

#![cfg(feature = "indi")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

#[path = "support/indi.rs"]
mod server;
#[path = "support/live.rs"]
mod support;

use alidade_drivers::{
    indi::{self, Place},
    interface::{
        Camera, CameraState, Device, Enclosure, ExposeOrder, FilterWheel, Focuser, LinkState, Mount,
        ObservingConditions, Quantity, Rotator, Switch, SwitchLine,
    },
};
use alidade_model::states::{EnclosureState, MountState};
use server::Server;
use std::{collections::BTreeMap, time::Duration};
use support::{live, lost, seen};

const POLL: Duration = Duration::from_millis(300);

#[test]
fn a_camera_delivers_a_real_image_and_outlives_its_driver() {
    let server = Server::start(&["indi_simulator_ccd"]);
    live(|clock| async move {
        let camera = indi::connect_camera("camera", "CCD Simulator", server.way(), clock, POLL);
        let mut status = camera.status();
        seen(&mut status, 15, "idle", |s| s.state == CameraState::Idle).await;
        let (width, height) = camera.sensor().unwrap();
        assert_eq!((width, height), (1280, 1024));

        let order = ExposeOrder {
            operation: 7,
            exposure_s: 0.5,
            light: true,
            binning: 1,
        };
        camera.expose(order).await.unwrap();
        let refused = camera.expose(ExposeOrder { operation: 8, ..order }).await;
        assert!(refused.is_err(), "a second exposure must not restart the first");
        seen(&mut status, 15, "ready", |s| {
            s.state == CameraState::Ready && s.operation == Some(7)
        })
        .await;
        assert!(camera.fetch(6).await.is_err());
        let frame = camera.fetch(7).await.unwrap();
        assert_eq!((frame.operation, frame.width, frame.height), (7, width, height));
        assert_eq!(frame.pixels.len(), width * height);
        assert!(
            frame.pixels.iter().any(|level| *level != frame.pixels[0]),
            "an image has noise"
        );

        camera
            .expose(ExposeOrder {
                operation: 9,
                exposure_s: 30.0,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 5, "exposing", |s| {
            s.state == CameraState::Exposing && s.operation == Some(9)
        })
        .await;
        camera.stop().await.unwrap();
        seen(&mut status, 5, "stopped", |s| s.state == CameraState::Idle).await;

        camera
            .expose(ExposeOrder {
                operation: 10,
                exposure_s: 30.0,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 5, "exposing again", |s| s.state == CameraState::Exposing).await;
        server.kill_driver("indi_simulator_ccd");
        assert!(lost(&mut status, 1).await, "the loss is seen within a second");
        // The exposure of the earlier life is nobody's; the camera is usable again.
        let back = seen(&mut status, 20, "back", |s| s.state == CameraState::Idle).await;
        assert_eq!(back.operation, None);
        camera
            .expose(ExposeOrder {
                operation: 11,
                binning: 2,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 15, "ready after the crash", |s| {
            s.state == CameraState::Ready && s.operation == Some(11)
        })
        .await;
        assert_eq!(camera.fetch(11).await.unwrap().width, width / 2);
    });
}

#[test]
fn a_mount_slews_parks_and_refuses_to_move_while_parked() {
    let server = Server::start(&["indi_simulator_telescope"]);
    live(|clock| async move {
        let place = Place {
            latitude_deg: 43.93,
            longitude_deg: 5.71,
            altitude_m: 650.0,
        };
        let mount = indi::connect_mount("mount", "Telescope Simulator", place, server.way(), clock, POLL);
        let mut status = mount.status();
        let first = seen(&mut status, 15, "read", |_| true).await;
        if first.state == MountState::Parked {
            assert!(mount.slew(120.0, 60.0).await.is_err());
            mount.unpark().await.unwrap();
        }
        seen(&mut status, 10, "unparked", |s| {
            matches!(s.state, MountState::Idle | MountState::Tracking)
        })
        .await;
        // Circumpolar, near the meridian or not: always above the horizon from here.
        mount.slew(120.0, 75.0).await.unwrap();
        seen(&mut status, 5, "slewing", |s| s.state == MountState::Slewing).await;
        let there = seen(&mut status, 60, "tracking there", |s| {
            s.state == MountState::Tracking && (s.dec_deg - 75.0).abs() < 0.05
        })
        .await;
        assert!((there.ra_deg - 120.0).abs() < 0.1, "{there:?}");
        assert!(there.alt_deg > 28.0, "{there:?}");
        mount.slew(200.0, 50.0).await.unwrap();
        seen(&mut status, 5, "slewing again", |s| s.state == MountState::Slewing).await;
        mount.stop().await.unwrap();
        let stopped = seen(&mut status, 10, "stopped", |s| {
            matches!(s.state, MountState::Idle | MountState::Tracking)
        })
        .await;
        assert!((stopped.dec_deg - 50.0).abs() > 0.5, "stopped on the way: {stopped:?}");
        mount.park().await.unwrap();
        seen(&mut status, 90, "parked", |s| s.state == MountState::Parked).await;
        assert!(mount.slew(120.0, 60.0).await.is_err());
    });
}

#[test]
fn a_wheel_a_focuser_a_rotator_and_a_dome_move_to_where_they_are_sent() {
    let server = Server::start(&[
        "indi_simulator_wheel",
        "indi_simulator_focus",
        "indi_simulator_rotator",
        "indi_simulator_dome",
    ]);
    live(|clock| async move {
        let filters: Vec<String> = ["g", "r", "i", "z", "H", "clear", "dark", "oiii"]
            .map(String::from)
            .to_vec();
        let wheel = indi::connect_filter_wheel("wheel", "Filter Simulator", server.way(), clock.clone(), POLL, filters);
        let focuser = indi::connect_focuser("focuser", "Focuser Simulator", server.way(), clock.clone(), POLL);
        let dome = indi::connect_dome("dome", "Dome Simulator", server.way(), clock.clone(), POLL);
        let rotator = indi::connect_rotator("rotator", "Rotator Simulator", server.way(), clock, POLL);
        let (mut at, mut focus, mut roof) = (wheel.status(), focuser.status(), dome.enclosure_status());
        let mut field = rotator.status();

        seen(&mut at, 15, "wheel read", |s| !s.moving).await;
        wheel.select("z").await.unwrap();
        seen(&mut at, 10, "filter z", |s| s.filter.as_deref() == Some("z")).await;
        assert!(wheel.select("u").await.is_err());

        let from = seen(&mut focus, 15, "focuser read", |_| true).await.position_steps;
        focuser.move_to(from + 2500).await.unwrap();
        seen(&mut focus, 20, "focused", |s| {
            !s.moving && s.position_steps == from + 2500
        })
        .await;

        let from = seen(&mut field, 15, "rotator read", |_| true).await.position_deg;
        let aim = (from + 30.0).rem_euclid(360.0);
        rotator.turn_to(aim - 360.0).await.unwrap();
        seen(&mut field, 5, "turning", |s| s.moving).await;
        seen(&mut field, 15, "turned", |s| {
            !s.moving && (s.position_deg - aim).abs() < 0.1
        })
        .await;
        rotator.turn_to(aim + 90.0).await.unwrap();
        seen(&mut field, 5, "turning again", |s| s.moving).await;
        rotator.stop().await.unwrap();
        let stopped = seen(&mut field, 5, "stopped", |s| !s.moving).await;
        assert!(
            (stopped.position_deg - aim - 90.0).rem_euclid(360.0) > 5.0,
            "{stopped:?}"
        );
        assert!(rotator.turn_to(f64::NAN).await.is_err());

        seen(&mut roof, 15, "dome read", |_| true).await;
        dome.open().await.unwrap();
        seen(&mut roof, 5, "opening", |s| s.state == EnclosureState::Opening).await;
        seen(&mut roof, 15, "open", |s| s.state == EnclosureState::Open).await;
        dome.rotate(40.0).await.unwrap();
        seen(&mut roof, 5, "rotating", |s| s.rotating).await;
        dome.close().await.unwrap();
        seen(&mut roof, 5, "closing", |s| s.state == EnclosureState::Closing).await;
        // Stopped half-way is neither open nor closed.
        dome.stop().await.unwrap_err();
        seen(&mut roof, 5, "stopped", |s| s.state == EnclosureState::Unknown).await;
        dome.close().await.unwrap();
        seen(&mut roof, 15, "closed", |s| s.state == EnclosureState::Closed).await;

        server.kill_driver("indi_simulator_dome");
        assert!(lost(&mut roof, 2).await, "a lost dome is not a closed dome");
        seen(&mut roof, 20, "dome back", |_| true).await;
    });
}

#[test]
fn weather_is_told_in_our_units_and_grows_old_when_its_driver_says_nothing_new() {
    let server = Server::start(&["indi_simulator_weather"]);
    live(|clock| async move {
        let weather = indi::connect_weather("mast", "Weather Simulator", server.way(), clock.clone(), POLL);
        let mut readings = weather.readings();
        let first = tokio::time::timeout(Duration::from_secs(20), readings.wait_for(|r| !r.is_empty()));
        assert!(first.await.is_ok(), "the station is read");
        server.set("Weather Simulator.WEATHER_CONTROL.Wind=36");
        let windy = readings.wait_for(|r| r.get(Quantity::WindMS).is_some_and(|w| w.value == Ok(10.0)));
        let windy = tokio::time::timeout(Duration::from_secs(20), windy)
            .await
            .expect("36 km/h are 10 m/s");
        assert_eq!(windy.unwrap()[Quantity::TemperatureC].value, Ok(15.0));
        // Asked on, but not told anew: the driver reads its station once an hour now.
        server.set("Weather Simulator.WEATHER_UPDATE.PERIOD=3600");
        let measured_at = readings.borrow()[Quantity::WindMS].measured_at;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let now = readings.borrow()[Quantity::WindMS].measured_at;
        assert!(
            now.seconds_since(measured_at) < 5.5,
            "an old value was taken for a new one"
        );
        assert!(clock.now().seconds_since(now) > 0.5);
        server.kill_driver("indi_simulator_weather");
        let gone = readings.wait_for(|r| r.values().all(|reading| reading.value.is_err()));
        assert!(
            tokio::time::timeout(Duration::from_secs(2), gone).await.is_ok(),
            "a lost station is no weather"
        );
    });
}

#[test]
fn a_lamp_is_dimmed_switched_on_and_off_and_lost_with_its_driver() {
    let server = Server::start(&["indi_simulator_lightpanel"]);
    live(|clock| async move {
        let none = BTreeMap::new();
        let lamp = indi::connect_switch("lamp", "Light Panel Simulator", none, server.way(), clock, POLL);
        let mut lines = lamp.lines();
        let (light, level) = (
            "FLAT_LIGHT_CONTROL.FLAT_LIGHT_ON",
            "FLAT_LIGHT_INTENSITY.FLAT_LIGHT_INTENSITY_VALUE",
        );
        // Nobody has connected it before: what it is known to have comes with its connection. Off is no line beside on.
        let told = seen(&mut lines, 15, "read", |lines| !lines.is_empty()).await;
        assert_eq!(told.keys().map(String::as_str).collect::<Vec<_>>(), [light, level]);
        let dimmer = SwitchLine {
            value: 0.0,
            writable: true,
            least: 0.0,
            most: 255.0,
            step: 10.0,
        };
        assert_eq!(told[level], dimmer);
        lamp.set(light, 1.0).await.unwrap();
        seen(&mut lines, 5, "on", |lines| lines[light].value == 1.0).await;
        lamp.set(level, 120.0).await.unwrap();
        seen(&mut lines, 5, "dimmed", |lines| lines[level].value == 120.0).await;
        assert_eq!(
            server
                .get("Light Panel Simulator.FLAT_LIGHT_CONTROL.FLAT_LIGHT_OFF")
                .as_deref(),
            Some("Off")
        );
        lamp.set(light, 0.0).await.unwrap();
        seen(&mut lines, 5, "off", |lines| lines[light].value == 0.0).await;
        for (line, value) in [(light, 0.5), (light, 2.0), (level, 256.0), ("FLAT", 1.0)] {
            assert!(lamp.set(line, value).await.is_err(), "{line} {value}");
        }
        server.kill_driver("indi_simulator_lightpanel");
        assert!(lost(&mut lines, 2).await, "what a lost lamp does is not known");
        seen(&mut lines, 20, "back", |lines| lines.contains_key(light)).await;
    });
}

/// The driver of a power box that is sold, with its own simulation of the box.
#[test]
fn a_power_box_switches_its_sockets_one_by_one_and_says_what_it_refuses() {
    const BOX: &str = "Pegasus UPB";
    let server = Server::start(&["indi_pegasus_upb"]);
    live(|clock| async move {
        server.set(&format!("{BOX}.SIMULATION.ENABLE=On"));
        let power = indi::connect_switch("power", BOX, BTreeMap::new(), server.way(), clock.clone(), POLL);
        let mut lines = power.lines();
        let socket = |n: u8| format!("POWER_CONTROL.POWER_CONTROL_{n}");
        let told = seen(&mut lines, 15, "read", |lines| lines.contains_key(&socket(4))).await;
        let foreign = |name: &&String| name.contains("FOCUS") || name.contains("WEATHER") || name.contains("PORT_SCAN");
        assert_eq!(told.keys().find(foreign), None);
        let volts = "POWER_SENSORS.SENSOR_VOLTAGE";
        // Defined before it was read: its driver has asked the box by now.
        let told = seen(&mut lines, 10, "twelve volts", |lines| lines[volts].value == 12.0).await;
        assert!(!told[volts].writable);
        assert!(power.set(volts, 12.0).await.is_err());
        assert!((1..=4).all(|n| told[&socket(n)].value == 1.0), "{told:?}");

        // Any of many: the others stay as they are.
        power.set(&socket(2), 0.0).await.unwrap();
        seen(&mut lines, 5, "socket 2 off", |lines| lines[&socket(2)].value == 0.0).await;
        power.set(&socket(3), 0.0).await.unwrap();
        let now = seen(&mut lines, 5, "socket 3 off", |lines| lines[&socket(3)].value == 0.0).await;
        let others = [1, 2, 4].map(|n| now[&socket(n)].value);
        assert_eq!(others, [1.0, 0.0, 1.0]);
        let output = "ADJUSTABLE_VOLTAGE.ADJUSTABLE_VOLTAGE_VALUE";
        power.set(output, 7.0).await.unwrap();
        seen(&mut lines, 5, "seven volts", |lines| lines[output].value == 7.0).await;
        // A button: pressed, whatever it shows afterwards.
        power.set("POWER_CYCLE.POWER_CYCLE_ON", 1.0).await.unwrap();
        // One of two, which this box does not do in its simulation: it says so, and so is the answer.
        let refused = power.set("USB_HUB_CONTROL.INDI_ENABLED", 0.0).await.unwrap_err();
        assert!(refused.to_string().contains("USB_HUB_CONTROL"), "{refused}");
        seen(&mut lines, 5, "still on", |lines| {
            lines["USB_HUB_CONTROL.INDI_ENABLED"].value == 1.0
        })
        .await;

        let spot = |text: &str| text.parse::<indi::Spot>().unwrap();
        let chosen = BTreeMap::from([
            ("camera".to_owned(), spot("POWER_CONTROL.POWER_CONTROL_1")),
            ("amps".to_owned(), spot("POWER_SENSORS.SENSOR_CURRENT")),
        ]);
        let few = indi::connect_switch("few", BOX, chosen, server.way(), clock.clone(), POLL);
        let mut lines = few.lines();
        let told = seen(&mut lines, 15, "read", |_| true).await;
        assert_eq!(told.keys().collect::<Vec<_>>(), ["amps", "camera"]);
        few.set("camera", 0.0).await.unwrap();
        seen(&mut lines, 5, "camera off", |lines| lines["camera"].value == 0.0).await;

        let none = BTreeMap::from([("heater".to_owned(), spot("DEW_PWM.DEW_X"))]);
        let wrong = indi::connect_switch("wrong", BOX, none, server.way(), clock, POLL);
        let said = |link: &LinkState| matches!(link, LinkState::Down { cause, .. } if cause.contains("has no number or switch DEW_PWM.DEW_X"));
        let mut link = wrong.link();
        let told = tokio::time::timeout(Duration::from_secs(15), link.wait_for(said)).await;
        assert!(told.is_ok(), "{:?}", wrong.link().borrow());
    });
}
