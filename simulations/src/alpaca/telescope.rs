//! `ITelescopeV4` over the mount's LX200.

use super::{
    Server,
    call::{Call, Fault, invalid_value, not_implemented},
};
use crate::devices::sphere::local_sidereal_deg;
use alidade_drivers::lx200::{angle, right_ascension, sexagesimal};
use serde_json::{Value, json};
use std::time::Duration;

/// What `DeviceState` tells.
pub const STATE: [&str; 9] = [
    "Altitude",
    "AtHome",
    "AtPark",
    "Azimuth",
    "Declination",
    "RightAscension",
    "SiderealTime",
    "Slewing",
    "Tracking",
];

/// `TargetRightAscension` (hours) and `TargetDeclination` (degrees), once they are set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target {
    ra_h: Option<f64>,
    dec_deg: Option<f64>,
}

/// What this mount cannot: `Can...` is false, and the members are not implemented.
const CANNOT: [&str; 15] = [
    "canfindhome",
    "canpulseguide",
    "cansetdeclinationrate",
    "cansetguiderates",
    "cansetpark",
    "cansetpierside",
    "cansetrightascensionrate",
    "canslewaltaz",
    "canslewaltazasync",
    "cansync",
    "cansyncaltaz",
    "athome",
    "doesrefraction",
    "ispulseguiding",
    "canmoveaxis",
];
const CAN: [&str; 5] = ["canpark", "cansettracking", "canslew", "canslewasync", "canunpark"];
const MISSING: [&str; 17] = [
    "aperturearea",
    "aperturediameter",
    "destinationsideofpier",
    "findhome",
    "focallength",
    "guideratedeclination",
    "guideraterightascension",
    "moveaxis",
    "pulseguide",
    "setpark",
    "sideofpier",
    "slewsettletime",
    "slewtoaltaz",
    "slewtoaltazasync",
    "synctoaltaz",
    "synctocoordinates",
    "synctotarget",
];

const MOUNT: &str = "mount";

async fn character(server: &Server, question: &str) -> Result<u8, Fault> {
    let answer = server.ask(MOUNT, question).await?;
    answer
        .first()
        .copied()
        .ok_or_else(|| Fault::ascom(0x500, format!("no answer to {question}")))
}

async fn value(server: &Server, question: &str) -> Result<f64, Fault> {
    let answer = server.ask(MOUNT, question).await?;
    let text = String::from_utf8_lossy(&answer);
    sexagesimal(text.trim_end_matches('#')).ok_or_else(|| Fault::ascom(0x500, format!("{question} answered {text:?}")))
}

async fn parked(server: &Server) -> Result<bool, Fault> {
    Ok(character(server, ":h?").await? == b'1')
}

async fn slewing(server: &Server) -> Result<bool, Fault> {
    Ok(character(server, ":Gv").await? == b'S')
}

async fn refuse_parked(server: &Server) -> Result<(), Fault> {
    if parked(server).await? {
        return Err(Fault::ascom(0x408, "the mount is parked"));
    }
    Ok(())
}

fn hours(value: f64) -> Result<f64, Fault> {
    if (0.0..24.0).contains(&value) {
        Ok(value)
    } else {
        Err(invalid_value(format!("right ascension {value}")))
    }
}

fn declination(value: f64) -> Result<f64, Fault> {
    if (-90.0..=90.0).contains(&value) {
        Ok(value)
    } else {
        Err(invalid_value(format!("declination {value}")))
    }
}

async fn slew(server: &Server, target: (f64, f64), waits: bool) -> Result<Value, Fault> {
    let (ra_h, dec_deg) = (hours(target.0)?, declination(target.1)?);
    refuse_parked(server).await?;
    if character(server, ":Gv").await? == b'N' {
        return Err(Fault::ascom(0x40B, "the mount does not track"));
    }
    server.memory.borrow_mut().target = Target {
        ra_h: Some(ra_h),
        dec_deg: Some(dec_deg),
    };
    for question in [
        format!(":Sr{}", right_ascension(ra_h * 15.0)),
        format!(":Sd{}", angle(dec_deg)),
    ] {
        if character(server, &question).await? != b'1' {
            return Err(invalid_value(question));
        }
    }
    let answer = server.ask(MOUNT, ":MS").await?;
    if answer != b"0" {
        return Err(Fault::ascom(
            0x40B,
            String::from_utf8_lossy(&answer).trim_end_matches('#'),
        ));
    }
    while waits && slewing(server).await? {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(Value::Null)
}

fn target(server: &Server) -> Result<(f64, f64), Fault> {
    let target = server.memory.borrow().target;
    let unset = || Fault::ascom(0x402, "the target is not set");
    target.ra_h.zip(target.dec_deg).ok_or_else(unset)
}

pub async fn member(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    if call.put {
        return command(server, member, call).await;
    }
    let site = server.observatory.site();
    Ok(match member {
        "alignmentmode" => json!(0),
        "equatorialsystem" => json!(1),
        "trackingrate" => json!(0),
        "trackingrates" => json!([0]),
        "axisrates" if (0..=2).contains(&call.whole("Axis")?) => json!([]),
        "axisrates" => return Err(invalid_value("axis")),
        "canmoveaxis" if !(0..=2).contains(&call.whole("Axis")?) => return Err(invalid_value("axis")),
        "altitude" => json!(value(server, ":GA").await?),
        "azimuth" => json!(value(server, ":GZ").await?.rem_euclid(360.0)),
        "declination" => json!(value(server, ":GD").await?),
        "rightascension" => json!(value(server, ":GR").await?),
        "declinationrate" | "rightascensionrate" => json!(0.0),
        "sitelatitude" => json!(site.lat_deg),
        "sitelongitude" => json!(site.lon_deg),
        "siteelevation" => json!(site.height_m),
        "utcdate" => json!(server.observatory.now().to_string()),
        "siderealtime" => json!(local_sidereal_deg(&site, server.observatory.now()) / 15.0),
        "atpark" => json!(parked(server).await?),
        "slewing" => json!(slewing(server).await?),
        "tracking" => json!(character(server, ":Gv").await? == b'T'),
        "targetrightascension" | "targetdeclination" => {
            let target = server.memory.borrow().target;
            let set = if member == "targetdeclination" {
                target.dec_deg
            } else {
                target.ra_h
            };
            json!(set.ok_or_else(|| Fault::ascom(0x402, format!("{member} is not set")))?)
        }
        can if CAN.contains(&can) => json!(true),
        cannot if CANNOT.contains(&cannot) => json!(false),
        missing if MISSING.contains(&missing) => return Err(not_implemented(missing)),
        _ => return Err(Fault::Unknown),
    })
}

async fn command(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    let say = async |words: &str| server.ask(MOUNT, words).await.or_else(unanswered).map(|_| Value::Null);
    match member {
        "abortslew" => {
            refuse_parked(server).await?;
            say(":Q").await
        }
        "park" if parked(server).await? => Ok(Value::Null),
        "park" => say(":hP").await,
        "unpark" if parked(server).await? => say(":hW").await,
        "unpark" => Ok(Value::Null),
        "tracking" => {
            let on = call.truth("Tracking")?;
            if on {
                refuse_parked(server).await?;
            }
            say(if on { ":hW" } else { ":hN" }).await
        }
        "trackingrate" if call.whole("TrackingRate")? == 0 => Ok(Value::Null),
        "trackingrate" => Err(invalid_value("tracking rate")),
        "targetrightascension" => {
            let wanted = hours(call.number("TargetRightAscension")?)?;
            server.memory.borrow_mut().target.ra_h = Some(wanted);
            Ok(Value::Null)
        }
        "targetdeclination" => {
            let wanted = declination(call.number("TargetDeclination")?)?;
            server.memory.borrow_mut().target.dec_deg = Some(wanted);
            Ok(Value::Null)
        }
        "slewtocoordinates" | "slewtocoordinatesasync" => {
            let wanted = (call.number("RightAscension")?, call.number("Declination")?);
            slew(server, wanted, member == "slewtocoordinates").await
        }
        "slewtotarget" | "slewtotargetasync" => slew(server, target(server)?, member == "slewtotarget").await,
        "declinationrate" | "doesrefraction" | "rightascensionrate" | "siteelevation" | "sitelatitude"
        | "sitelongitude" | "utcdate" => Err(not_implemented(member)),
        missing if MISSING.contains(&missing) => Err(not_implemented(missing)),
        _ => Err(Fault::Unknown),
    }
}

/// These commands have no answer in LX200: its absence says nothing.
fn unanswered(fault: Fault) -> Result<Vec<u8>, Fault> {
    match fault {
        Fault::Ascom(0x500, _) => Ok(Vec::new()),
        other => Err(other),
    }
}
