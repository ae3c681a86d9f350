//! `IRotatorV4` over the rotator's grammar. Synchronising and reversing are a driver's business: the mechanism knows neither.

use super::{
    Server,
    call::{Call, Fault, invalid_value, not_implemented},
    numbers,
};
use serde_json::{Value, json};

/// What `DeviceState` tells.
pub const STATE: [&str; 3] = ["IsMoving", "MechanicalPosition", "Position"];

const DEVICE: &str = "rotator";

/// What clients have set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Angles on the sky count against the mechanism's sense.
    reverse: bool,
    /// What a synchronisation has added, degrees.
    offset_deg: f64,
    /// Where it was last sent, degrees on the sky.
    target_deg: Option<f64>,
}

/// Angles as the device measures them now.
struct Measured {
    position_deg: f64,
    mechanical_deg: f64,
    /// On the sky less the mechanism's, as the instrument was bolted on.
    mounted_deg: f64,
    moving: bool,
}

impl Setup {
    fn on_sky(self, mechanical_deg: f64, mounted_deg: f64) -> f64 {
        let turned = if self.reverse { -mechanical_deg } else { mechanical_deg };
        (turned + mounted_deg + self.offset_deg).rem_euclid(360.0)
    }

    fn of_mechanism(self, on_sky_deg: f64, mounted_deg: f64) -> f64 {
        let turned = on_sky_deg - mounted_deg - self.offset_deg;
        let turned = if self.reverse { -turned } else { turned };
        turned.rem_euclid(360.0)
    }
}

async fn measured(server: &Server, setup: Setup) -> Result<Measured, Fault> {
    let answer = server.grammar(DEVICE, "GET STATUS").await?;
    let [told, mechanical_deg, moving] = numbers::<3>(&answer)?;
    let mounted_deg = told - mechanical_deg;
    Ok(Measured {
        position_deg: setup.on_sky(mechanical_deg, mounted_deg),
        mechanical_deg,
        mounted_deg,
        moving: moving == 1.0,
    })
}

/// An angle that a client may say: 0 up to 360.
fn angle(call: &Call) -> Result<f64, Fault> {
    let degrees = call.number("Position")?;
    if (0.0..360.0).contains(&degrees) {
        Ok(degrees)
    } else {
        Err(invalid_value(format!("position {degrees}")))
    }
}

/// Sends the mechanism to where it shows this angle of its own, which is this one on the sky.
async fn turn(server: &Server, now: &Measured, mechanical_deg: f64, on_sky_deg: f64) -> Result<Value, Fault> {
    let told = (mechanical_deg + now.mounted_deg).rem_euclid(360.0);
    server.grammar(DEVICE, &format!("DO GOTO {told}")).await?;
    server.memory.borrow_mut().rotator.target_deg = Some(on_sky_deg);
    Ok(Value::Null)
}

pub async fn member(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    let setup = server.memory.borrow().rotator;
    match (member, call.put) {
        ("canreverse", false) => return Ok(json!(true)),
        ("reverse", false) => return Ok(json!(setup.reverse)),
        ("stepsize", false) => return Err(not_implemented(member)),
        ("reverse", true) => {
            server.memory.borrow_mut().rotator.reverse = call.truth("Reverse")?;
            return Ok(Value::Null);
        }
        ("halt", true) => return server.grammar(DEVICE, "DO STOP").await.map(|_| Value::Null),
        _ => {}
    }
    let now = measured(server, setup).await?;
    let to_sky = async |on_sky_deg: f64| {
        let mechanical_deg = setup.of_mechanism(on_sky_deg, now.mounted_deg);
        turn(server, &now, mechanical_deg, on_sky_deg).await
    };
    match (member, call.put) {
        ("position", false) => Ok(json!(now.position_deg)),
        ("mechanicalposition", false) => Ok(json!(now.mechanical_deg)),
        ("ismoving", false) => Ok(json!(now.moving)),
        ("targetposition", false) => Ok(json!(setup.target_deg.unwrap_or(now.position_deg))),
        ("moveabsolute", true) => to_sky(angle(call)?).await,
        ("move", true) => {
            let by = call.number("Position")?;
            if by.abs() >= 360.0 {
                return Err(invalid_value(format!("position {by}")));
            }
            to_sky((now.position_deg + by).rem_euclid(360.0)).await
        }
        ("movemechanical", true) => {
            let mechanical_deg = angle(call)?;
            turn(
                server,
                &now,
                mechanical_deg,
                setup.on_sky(mechanical_deg, now.mounted_deg),
            )
            .await
        }
        ("sync", true) => {
            let shift = angle(call)? - now.position_deg;
            let kept = &mut server.memory.borrow_mut().rotator;
            kept.offset_deg += shift;
            kept.target_deg = None;
            Ok(Value::Null)
        }
        _ => Err(Fault::Unknown),
    }
}
