//! Observation-unit sets and their life-cycle.
//!
//! The legal transitions are [`alidade_model::states::UnitState`]; [`EDGES`] says what each of them means and who may
//! cause it. While a unit is `DeliveryInProgress` its *sub-state* is a [`Step`] of the ingestion; before that it is the
//! pipeline recipe, as in the ALMA workflow.
//!
//! ```text
//! FullyObserved --> ReadyForProcessing --> Processing --> ReadyForReview <--> Reviewing --> Verified
//!                     ^  ^        ^           |                                  |             |
//!                     |  |        '-----------+  QA fail: process again          |             v
//!                     |  '---- ProcessingProblem <'                              |     DeliveryInProgress
//!                     '----------------------------------------------------------'      (sub-states)
//!                     '------------- QA3InProgress <--> Delivered <----------------------------'
//! ```

use alidade_model::{
    states::{LifeCycle, UnitState},
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One legal transition and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: UnitState,
    pub to: UnitState,
    pub meaning: &'static str,
}

const fn edge(from: UnitState, to: UnitState, meaning: &'static str) -> Edge {
    Edge { from, to, meaning }
}

/// Every legal transition. A test holds it equal to the table of the model.
pub const EDGES: &[Edge] = {
    use UnitState::*;
    &[
        edge(FullyObserved, ReadyForProcessing, "all data are here"),
        edge(ReadyForProcessing, Processing, "processing started"),
        edge(Processing, ReadyForReview, "processing completed"),
        edge(Processing, ProcessingProblem, "processing failed"),
        edge(
            Processing,
            ReadyForProcessing,
            "manual shortcut, or the run was given up",
        ),
        edge(ProcessingProblem, ReadyForProcessing, "problem requeued"),
        edge(ReadyForReview, Reviewing, "review started"),
        edge(Reviewing, Verified, "review: pass or semi-pass"),
        edge(Reviewing, ReadyForReview, "review cancelled"),
        edge(Reviewing, ReadyForProcessing, "review: fail, process again"),
        edge(Verified, DeliveryInProgress, "ingestion triggered"),
        edge(DeliveryInProgress, Delivered, "verified at the executive's archive"),
        edge(Delivered, QA3InProgress, "an issue is reported"),
        edge(QA3InProgress, Delivered, "no issue found"),
        edge(QA3InProgress, ReadyForProcessing, "process again"),
    ]
};

/// Sub-states of a delivery in progress, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    IngestionTriggered,
    AnalyzingProducts,
    IngestingProducts,
    ProductsIngested,
}

impl Step {
    pub const ALL: [Step; 4] = [
        Step::IngestionTriggered,
        Step::AnalyzingProducts,
        Step::IngestingProducts,
        Step::ProductsIngested,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Step::IngestionTriggered => "IngestionTriggered",
            Step::AnalyzingProducts => "AnalyzingProducts",
            Step::IngestingProducts => "IngestingProducts",
            Step::ProductsIngested => "ProductsIngested",
        }
    }

    /// One step on, or back to the first when an ingestion begins again.
    pub fn allows(self, next: Step) -> bool {
        next as usize == self as usize + 1 || next == Step::IngestionTriggered
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Step::ALL
            .into_iter()
            .find(|step| step.as_str() == text)
            .ok_or_else(|| format!("{text} is not a sub-state of a delivery"))
    }
}

/// Where one observation-unit set stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Such as `uid://X1/X1/Xb2`, or the identifier of a run of this observatory.
    pub uid: String,
    /// The program (project, account) that the data belong to.
    pub program: String,
    /// The pipeline recipe; `None` until one is assigned, and after a failed review.
    pub recipe: Option<String>,
    /// The executive (site) that processes and receives it; cleared when it is delivered.
    pub executive: Option<String>,
    #[serde(with = "state_name")]
    pub state: UnitState,
    /// A [`Step`], only while the state is `DeliveryInProgress`.
    pub step: Option<String>,
    pub created: UtcTime,
    pub changed: UtcTime,
}

/// States go out under the names of the table.
mod state_name {
    use super::UnitState;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(state: &UnitState, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(state.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnitState, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Unit {
    /// The seed's `substate`: the ingestion step, else the recipe.
    pub fn substate(&self) -> Option<&str> {
        match self.state {
            UnitState::Delivered => None,
            _ => self.step.as_deref().or(self.recipe.as_deref()),
        }
    }
}

/// One line of a unit's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitEvent {
    pub uid: String,
    /// From 1, without gaps.
    pub number: i64,
    pub at: UtcTime,
    /// `created`, `state`, `step`, `recipe` or `executive`.
    pub what: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub author: String,
    pub cause: String,
}

/// Why an identifier is refused.
pub fn check_uid(uid: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '_' | '-' | '.' | '+');
    if uid.is_empty() || uid.len() > 200 || !uid.chars().all(legal) || uid.contains("..") {
        return Err(format!(
            "{uid:?} is not an identifier of a unit (letters, digits and :/_-.+, at most 200)"
        ));
    }
    Ok(())
}

/// `uid://X1/X1/Xb0` as a file name: `uid___X1_X1_Xb0`.
pub fn encoded(uid: &str) -> String {
    uid.chars()
        .map(|c| if matches!(c, ':' | '/') { '_' } else { c })
        .collect()
}

/// `uid://X1/X1/Xb0` as part of a product's name: `X1-X1-Xb0`.
pub fn dashed(uid: &str) -> String {
    let bare = uid.strip_prefix("uid://").unwrap_or(uid);
    bare.chars()
        .map(|c| if matches!(c, ':' | '/') { '-' } else { c })
        .collect()
}

/// The life-cycle as a Mermaid state diagram.
pub fn mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> ReadyForProcessing: launched\n");
    for edge in EDGES {
        text.push_str(&format!("    {} --> {}: {}\n", edge.from, edge.to, edge.meaning));
    }
    text.push_str("    state DeliveryInProgress {\n        [*] --> IngestionTriggered\n");
    for pair in Step::ALL.windows(2) {
        if let [from, to] = pair {
            text.push_str(&format!("        {from} --> {to}\n"));
        }
    }
    text.push_str("    }\n");
    text
}

/// Whether the pair is in the model's table.
pub fn is_legal(from: UnitState, to: UnitState) -> bool {
    from.allows(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_of_the_table_has_a_meaning_and_no_other() {
        for from in UnitState::ALL {
            for to in UnitState::ALL {
                let told = EDGES.iter().any(|e| e.from == *from && e.to == *to);
                assert_eq!(told, from.allows(*to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn the_picture_of_the_life_cycle_is_the_one_in_the_documentation() {
        let page = include_str!("../README.md");
        assert!(page.contains(&mermaid()), "README.md must contain:\n{}", mermaid());
    }

    #[test]
    fn names_of_units_cannot_lead_out_of_a_folder() {
        for bad in ["", "uid://../x", "a b", "x\0y", "a;b"] {
            assert!(check_uid(bad).is_err(), "{bad:?}");
        }
        assert_eq!(encoded("uid://X1/X1/Xb0"), "uid___X1_X1_Xb0");
        assert_eq!(dashed("uid://X1/X1/Xb0"), "X1-X1-Xb0");
    }
}
