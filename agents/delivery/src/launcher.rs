//! The launcher: brings a unit into being (or back to its beginning) and has it processed.

use crate::{
    books::{Fault, Message},
    desk::{Desk, Draft},
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is launched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Launch {
    pub program: String,
    pub unit: String,
    /// Without recipe or executive the unit is created and waits.
    pub recipe: Option<String>,
    pub executive: Option<String>,
    /// Data products to process, for recipes that take them.
    pub inputs: Vec<PathBuf>,
}

/// Asks the state service for the unit; the answer to `reply_to` comes when processing has been asked for.
pub fn launch(desk: &mut Desk, wish: &Launch, author: &str, reply_to: Option<&str>) -> Result<(), Fault> {
    let ask = json!({
        "operation": "create", "ousUID": wish.unit, "progID": wish.program, "recipe": wish.recipe,
        "exec": wish.executive, "cause": "launched",
        "context": { "inputs": wish.inputs, "reply_to": reply_to },
    });
    let answers = format!("launcher.{}", desk.sites.here);
    desk.send(Draft::new("xtss", ask, author).answered_at(&answers))
        .map(drop)
}

/// The state service has answered: on to the driver of the executive.
pub fn answered(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let answer: Value = match serde_json::from_str(&message.body) {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(format!("not an answer: {error}"))),
    };
    let context = answer["context"].clone();
    let unit = &answer["ous"];
    if let (Some(recipe), Some(exec)) = (unit["recipe"].as_str(), unit["executive"].as_str())
        && answer["status"] == json!(201)
        && unit["state"] == json!("ReadyForProcessing")
        && !recipe.starts_with("Manual")
    {
        let body = json!({
            "progID": unit["program"], "ousUID": unit["uid"], "recipe": recipe, "inputs": context["inputs"],
        });
        desk.send(Draft::new(&format!("pipeline.process.{exec}"), body, "launcher"))?;
    }
    if let Some(selector) = context["reply_to"].as_str() {
        let body = json!({ "status": answer["status"], "error": answer["error"], "ous": unit });
        desk.send(Draft::new(selector, body, "launcher").answering(message))?;
    }
    Ok(Ok(()))
}
