//! `ISwitchV3` over the power strip's grammar. Lines count from 0 here and from 1 there.

use super::{
    Server,
    call::{Call, Fault, invalid_value, not_implemented},
};
use serde_json::{Value, json};

const DEVICE: &str = "power";

/// One line as the device describes it.
struct Line {
    number: usize,
    writable: bool,
    least: f64,
    most: f64,
    step: f64,
    name: String,
    value: f64,
}

fn not_understood(answer: &str) -> Fault {
    Fault::ascom(0x500, format!("{answer:?} is not understood"))
}

async fn count(server: &Server) -> Result<usize, Fault> {
    let answer = server.grammar(DEVICE, "GET LINES").await?;
    answer.parse().map_err(|_| not_understood(&answer))
}

/// The line that the client means.
async fn line(server: &Server, call: &Call) -> Result<Line, Fault> {
    let id = call.whole("Id")?;
    let number = match usize::try_from(id) {
        Ok(at) if at < count(server).await? => at + 1,
        _ => return Err(invalid_value(format!("line {id}"))),
    };
    let described = server.grammar(DEVICE, &format!("GET LINE {number}")).await?;
    let values = server.grammar(DEVICE, "GET STATUS").await?;
    let read = || {
        let mut words = described.splitn(5, ' ');
        let mut next = || words.next()?.parse::<f64>().ok();
        let (writable, least, most, step) = (next()? == 1.0, next()?, next()?, next()?);
        Some(Line {
            number,
            writable,
            least,
            most,
            step,
            name: words.next()?.to_owned(),
            value: values.split(' ').nth(number - 1)?.parse().ok()?,
        })
    };
    read().ok_or_else(|| not_understood(&described))
}

async fn set(server: &Server, line: &Line, value: f64) -> Result<Value, Fault> {
    if !line.writable {
        return Err(not_implemented("setting what is only read"));
    }
    if !(line.least..=line.most).contains(&value) {
        return Err(invalid_value(value));
    }
    let words = format!("SET LINE {} {value}", line.number);
    server.grammar(DEVICE, &words).await.map(|_| Value::Null)
}

pub async fn member(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    if (member, call.put) == ("maxswitch", false) {
        return count(server).await.map(|count| json!(count));
    }
    // An unknown member is told before a line that does not exist.
    let line = line(server, call).await;
    Ok(match (member, call.put) {
        ("canwrite", false) => json!(line?.writable),
        ("canasync", false) => line.map(|_| json!(false))?,
        ("getswitch", false) => {
            let line = line?;
            json!(line.value > line.least)
        }
        ("getswitchvalue", false) => json!(line?.value),
        ("getswitchname", false) => json!(line?.name),
        ("getswitchdescription", false) => json!(format!("Line {} of the simulated power strip", line?.number)),
        ("minswitchvalue", false) => json!(line?.least),
        ("maxswitchvalue", false) => json!(line?.most),
        ("switchstep", false) => json!(line?.step),
        ("setswitch", true) => {
            let line = line?;
            let value = if call.truth("State")? { line.most } else { line.least };
            return set(server, &line, value).await;
        }
        ("setswitchvalue", true) => return set(server, &line?, call.number("Value")?).await,
        ("setswitchname" | "setasync" | "setasyncvalue" | "cancelasync", true) | ("statechangecomplete", false) => {
            return line.and(Err(not_implemented(member)));
        }
        _ => return Err(Fault::Unknown),
    })
}
