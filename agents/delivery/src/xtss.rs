//! The state service (XTSS): the only writer of units.
//!
//! It listens on `xtss`. A request is JSON, `{"operation": "set-state", "ousUID": "uid://X1/X1/Xb2", "value":
//! "Processing"}`; who asks is the message's author, why is in `cause`. The answer is `{"status": 201, ...}` when
//! something was changed, 200 for a question, 400 not understood, 404 unknown unit, 409 not allowed, with `error`.
//!
//! | operation | needs | does |
//! |---|---|---|
//! | `create` | `progID`; `recipe`, `exec`, `value` if wanted | new unit, ReadyForProcessing; one that exists goes back there if it may |
//! | `set-state` | `value`; `substate` for DeliveryInProgress | moves it by the table |
//! | `set-substate` | `value` | next step of the ingestion; before that the recipe |
//! | `set-recipe`, `clear-recipe` | `value` | |
//! | `set-exec`, `clear-exec` | `value` | |
//! | `get-state`, `get-ous`, `get-history` | | |
//! | `get-ouss-by-state-substate` | `state`, `substate` with `*` and `?` | |

use crate::{
    books::Fault,
    desk::{Desk, Draft},
    moves,
    unit::{self, Step, Unit, UnitEvent},
};
use alidade_model::{
    states::{LifeCycle, UnitState},
    time::UtcTime,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Request {
    pub operation: String,
    #[serde(rename = "ousUID", default)]
    pub uid: String,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(rename = "progID", default)]
    pub program: Option<String>,
    #[serde(default)]
    pub recipe: Option<String>,
    #[serde(default)]
    pub exec: Option<String>,
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub substate: Option<String>,
    #[serde(default)]
    pub cause: Option<String>,
    /// Comes back in the answer.
    #[serde(default)]
    pub context: Value,
}

/// Why something is refused, with the status of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub status: u16,
    pub text: String,
}

fn refused<T>(status: u16, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        status,
        text: text.into(),
    })
}

/// One change of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub what: &'static str,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// A unit as it shall be, and what that changes. No change means that it is so already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub unit: Unit,
    pub changes: Vec<Change>,
}

impl Decision {
    fn of(unit: &Unit) -> Self {
        Self {
            unit: unit.clone(),
            changes: Vec::new(),
        }
    }

    fn set(&mut self, what: &'static str, to: Option<String>) {
        let place = match what {
            "recipe" => &mut self.unit.recipe,
            "executive" => &mut self.unit.executive,
            _ => &mut self.unit.step,
        };
        if *place != to {
            let from = std::mem::replace(place, to.clone());
            self.changes.push(Change { what, from, to });
        }
    }

    fn go(&mut self, to: UnitState) -> Result<(), Refused> {
        let from = self.unit.state;
        let to = from.step(to).map_err(|illegal| Refused {
            status: 409,
            text: format!("{}: {illegal}", self.unit.uid),
        })?;
        self.unit.state = to;
        self.changes.push(Change {
            what: "state",
            from: Some(from.to_string()),
            to: Some(to.to_string()),
        });
        match to {
            UnitState::DeliveryInProgress => self.set("step", Some(Step::IngestionTriggered.to_string())),
            UnitState::Delivered if from == UnitState::DeliveryInProgress => {
                self.set("step", None);
                self.set("executive", None);
            }
            UnitState::ReadyForProcessing if from == UnitState::Reviewing => self.set("recipe", None),
            _ => {}
        }
        Ok(())
    }
}

fn state(text: &str) -> Result<UnitState, Refused> {
    text.parse().map_err(|text| Refused { status: 400, text })
}

fn value(request: &Request) -> Result<String, Refused> {
    match &request.value {
        Some(value) if !value.is_empty() && value.len() <= 200 => Ok(value.clone()),
        _ => refused(400, format!("{} needs a value", request.operation)),
    }
}

/// What a writing request does to a unit. Pure.
pub fn decide(known: Option<&Unit>, request: &Request, now: UtcTime) -> Result<Decision, Refused> {
    unit::check_uid(&request.uid).map_err(|text| Refused { status: 400, text })?;
    if request.operation == "create" {
        return create(known, request, now);
    }
    let Some(unit) = known else {
        return refused(404, format!("unit {} is unknown", request.uid));
    };
    let mut decision = Decision::of(unit);
    match request.operation.as_str() {
        "set-state" => set_state(&mut decision, request)?,
        "set-substate" => set_substate(&mut decision, &value(request)?)?,
        "set-recipe" => decision.set("recipe", Some(value(request)?)),
        "clear-recipe" => decision.set("recipe", None),
        "set-exec" => decision.set("executive", Some(value(request)?)),
        "clear-exec" => decision.set("executive", None),
        other => return refused(400, format!("Unsupported operation: {other}")),
    }
    if !decision.changes.is_empty() {
        decision.unit.changed = now;
    }
    Ok(decision)
}

fn set_state(decision: &mut Decision, request: &Request) -> Result<(), Refused> {
    let to = state(&value(request)?)?;
    let step: Option<Step> = match &request.substate {
        Some(text) => Some(text.parse().map_err(|text| Refused { status: 400, text })?),
        None => None,
    };
    if step.is_some() && (to != UnitState::DeliveryInProgress || step != Some(Step::IngestionTriggered)) {
        return refused(409, format!("{to} does not begin with that sub-state"));
    }
    if to == UnitState::Delivered
        && decision.unit.state == UnitState::DeliveryInProgress
        && decision.unit.step.as_deref() != Some(Step::ProductsIngested.as_str())
    {
        let step = decision.unit.step.as_deref().unwrap_or("none");
        return refused(
            409,
            format!(
                "{}: cannot be Delivered before ProductsIngested (sub-state {step})",
                decision.unit.uid
            ),
        );
    }
    if to == UnitState::Processing && decision.unit.recipe.is_none() && request.recipe.is_none() {
        return refused(409, format!("{}: has no recipe to be processed by", decision.unit.uid));
    }
    decision.go(to)?;
    if let Some(recipe) = &request.recipe {
        decision.set("recipe", Some(recipe.clone()));
    }
    if let Some(exec) = &request.exec {
        decision.set("executive", Some(exec.clone()));
    }
    Ok(())
}

fn set_substate(decision: &mut Decision, text: &str) -> Result<(), Refused> {
    let unit = &decision.unit;
    if unit.state != UnitState::DeliveryInProgress {
        if text.parse::<Step>().is_ok() {
            return refused(409, format!("{}: {} has no sub-state {text}", unit.uid, unit.state));
        }
        decision.set("recipe", Some(text.to_owned()));
        return Ok(());
    }
    let to: Step = text.parse().map_err(|text| Refused { status: 400, text })?;
    let from: Option<Step> = unit.step.as_deref().and_then(|step| step.parse().ok());
    if from == Some(to) {
        return Ok(());
    }
    if !from.map_or(to == Step::IngestionTriggered, |from| from.allows(to)) {
        let from = unit.step.as_deref().unwrap_or("none");
        return refused(409, format!("{}: sub-state cannot go from {from} to {to}", unit.uid));
    }
    decision.set("step", Some(to.to_string()));
    Ok(())
}

fn create(known: Option<&Unit>, request: &Request, now: UtcTime) -> Result<Decision, Refused> {
    let Some(program) = request.program.clone().filter(|p| !p.is_empty() && p.len() <= 200) else {
        return refused(400, "create needs progID");
    };
    if !program
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
        || program.starts_with('.')
    {
        return refused(400, format!("{program:?} is not a name of a program"));
    }
    let first = match &request.value {
        Some(text) => state(text)?,
        None => UnitState::ReadyForProcessing,
    };
    if !matches!(first, UnitState::ReadyForProcessing | UnitState::FullyObserved) {
        return refused(409, format!("a unit does not begin as {first}"));
    }
    let mut decision = match known {
        Some(unit) => {
            if unit.program != program {
                return refused(409, format!("unit {} belongs to program {}", unit.uid, unit.program));
            }
            let mut decision = Decision::of(unit);
            if unit.state != first {
                decision.go(first)?;
            }
            decision
        }
        None => Decision {
            unit: Unit {
                uid: request.uid.clone(),
                program,
                recipe: None,
                executive: None,
                state: first,
                step: None,
                created: now,
                changed: now,
            },
            changes: vec![Change {
                what: "created",
                from: None,
                to: Some(first.to_string()),
            }],
        },
    };
    if let Some(recipe) = &request.recipe {
        decision.set("recipe", Some(recipe.clone()));
    }
    if let Some(exec) = &request.exec {
        decision.set("executive", Some(exec.clone()));
    }
    decision.unit.changed = now;
    Ok(decision)
}

/// `*` and `?` as in file names.
pub fn glob(pattern: &str, text: &str) -> bool {
    fn inner(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                inner(rest, text) || text.split_first().is_some_and(|(_, tail)| inner(pattern, tail))
            }
            (Some((p, rest)), Some((t, tail))) if *p == b'?' || p == t => inner(rest, tail),
            _ => false,
        }
    }
    inner(pattern.as_bytes(), text.as_bytes())
}

/// Carries a request out in the books and returns the answer.
pub fn serve(desk: &mut Desk, body: &str, author: &str) -> Result<Value, Fault> {
    let request: Request = match serde_json::from_str(body) {
        Ok(request) => request,
        Err(error) => return Ok(json!({ "status": 400, "error": format!("not a request to xtss: {error}") })),
    };
    let mut answer = match attempt(desk, &request, author)? {
        Ok(answer) => answer,
        Err(refusal) => {
            desk.log("refused", &request.uid, author, &refusal.text)?;
            json!({ "status": refusal.status, "error": refusal.text, "ousUID": request.uid })
        }
    };
    answer["context"] = request.context;
    Ok(answer)
}

fn attempt(desk: &mut Desk, request: &Request, author: &str) -> Result<Result<Value, Refused>, Fault> {
    if request.operation == "get-ouss-by-state-substate" {
        return by_state(desk, request);
    }
    let known = match unit::check_uid(&request.uid) {
        Ok(()) => desk.books.unit(&request.uid)?,
        Err(_) => None,
    };
    if let "get-state" | "get-ous" | "get-history" = request.operation.as_str() {
        let Some(unit) = known else {
            return Ok(refused(404, format!("unit {} is unknown", request.uid)));
        };
        return Ok(Ok(match request.operation.as_str() {
            "get-state" => json!({ "status": 200, "state": unit.state.as_str(), "substate": unit.substate() }),
            "get-history" => json!({ "status": 200, "history": desk.books.events(&unit.uid)? }),
            _ => json!({ "status": 200, "ous": unit }),
        }));
    }
    if let Some(exec) = request.exec.as_deref().or(match request.operation.as_str() {
        "set-exec" => request.value.as_deref(),
        _ => None,
    }) && !desk.sites.is_known(exec)
    {
        let text = format!("executive {exec} is not one of {}", desk.sites.names());
        return Ok(refused(400, text));
    }
    let decision = match decide(known.as_ref(), request, desk.now) {
        Ok(decision) => decision,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !decision.changes.is_empty() {
        write(
            desk,
            &decision,
            author,
            request.cause.as_deref().unwrap_or(&request.operation),
        )?;
    }
    Ok(Ok(json!({ "status": 201, "ous": decision.unit })))
}

fn write(desk: &mut Desk, decision: &Decision, author: &str, cause: &str) -> Result<(), Fault> {
    let unit = &decision.unit;
    desk.books.put_unit(unit)?;
    let first = desk.books.last_event(&unit.uid)? + 1;
    let mut events = Vec::with_capacity(decision.changes.len());
    for (number, change) in (first..).zip(&decision.changes) {
        let event = UnitEvent {
            uid: unit.uid.clone(),
            number,
            at: desk.now,
            what: change.what.into(),
            from: change.from.clone(),
            to: change.to.clone(),
            author: author.into(),
            cause: cause.into(),
        };
        desk.books.add_event(&event)?;
        events.push(event);
    }
    moves::tell(desk, unit, &events)?;
    // Every site shows where the units are; only this one changes them.
    for site in desk.sites.others().cloned().collect::<Vec<_>>() {
        let body = json!({ "ous": unit, "events": events });
        desk.send(Draft::new(&format!("status.{site}"), body, "xtss"))?;
    }
    Ok(())
}

fn by_state(desk: &mut Desk, request: &Request) -> Result<Result<Value, Refused>, Fault> {
    let wanted = request.state.as_deref().unwrap_or("");
    if let Err(refusal) = state(wanted) {
        return Ok(Err(refusal));
    }
    let pattern = request.substate.as_deref().unwrap_or("*");
    let mut units = desk.books.units(Some(wanted), 100_000)?;
    units.retain(|unit| glob(pattern, unit.substate().unwrap_or("")));
    units.sort_by(|a, b| (a.changed, &a.uid).cmp(&(b.changed, &b.uid)));
    Ok(Ok(json!({ "status": 200, "ous": units })))
}

/// A unit's standing as the home tells it to the other sites: a copy to read.
pub fn mirror(desk: &mut Desk, body: &str) -> Result<Result<(), String>, Fault> {
    #[derive(Deserialize)]
    struct Told {
        ous: Unit,
        events: Vec<UnitEvent>,
    }
    let told: Told = match serde_json::from_str(body) {
        Ok(told) => told,
        Err(error) => return Ok(Err(format!("not a unit's standing: {error}"))),
    };
    let last = desk.books.last_event(&told.ous.uid)?;
    if told.events.last().is_some_and(|event| event.number > last) {
        desk.books.put_unit(&told.ous)?;
    }
    let new: Vec<UnitEvent> = told.events.into_iter().filter(|event| event.number > last).collect();
    for event in &new {
        desk.books.add_event(event)?;
    }
    moves::tell(desk, &told.ous, &new)?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests;
