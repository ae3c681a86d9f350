//! The message graph: who may say what to whom.
//!
//! Commands go down the ranks, state goes up through watches, facts go to the journal. [`EDGES`] is the whole graph of
//! commands; [`crate::daemon`] wires exactly these, bottom-up, each agent getting its recipients at construction. A
//! test proves that every edge goes downhill, another keeps the picture in the README equal to [`mermaid`].

/// One kind of message on its way from one agent to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: &'static str,
    pub to: &'static str,
    pub message: &'static str,
}

/// Every agent with its rank; messages go to a lower one.
pub const RANKS: &[(&str, u8)] = &[
    ("gateways", 9),
    ("monitoring", 8),
    ("alerts", 8),
    ("routine", 8),
    ("safety", 7),
    ("majordome", 6),
    ("scheduling", 5),
    ("observation", 4),
    ("analysis", 3),
    ("pipeline", 2),
    ("delivery", 1),
    ("devices", 0),
    ("journal", 0),
];

const fn edge(from: &'static str, to: &'static str, message: &'static str) -> Edge {
    Edge { from, to, message }
}

/// Every command edge.
pub const EDGES: &[Edge] = &[
    edge("gateways", "alerts", "Packet, ChangeStrategies"),
    edge("gateways", "routine", "Submit, Cancel, Redo"),
    edge("gateways", "safety", "Latch, Release, PlaceOverride, LiftOverride"),
    edge("gateways", "majordome", "Operate"),
    edge("monitoring", "safety", "Conditions"),
    edge("monitoring", "majordome", "Circumstances"),
    edge("alerts", "majordome", "TargetOfOpportunity, Retract, BookChanged"),
    edge("routine", "majordome", "BookChanged"),
    edge("safety", "majordome", "SafetyChanged, Ping"),
    edge("safety", "observation", "Ping"),
    edge("safety", "devices", "open, close, park, heartbeat"),
    edge("majordome", "scheduling", "Replan"),
    edge("majordome", "observation", "Execute, Interrupt, Yield, Park"),
    edge("observation", "analysis", "FrameReady"),
    edge("observation", "devices", "slew, expose, select, move, rotate"),
    edge("analysis", "pipeline", "FrameDone"),
    edge("pipeline", "delivery", "ProductsReady"),
    edge("delivery", "journal", "facts"),
];

/// The rank of an agent.
pub fn rank(agent: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == agent).map(|(_, rank)| *rank)
}

/// The graph as a Mermaid flow chart.
pub fn mermaid() -> String {
    let mut text = String::from("flowchart TD\n");
    for edge in EDGES {
        text.push_str(&format!("    {} -- \"{}\" --> {}\n", edge.from, edge.message, edge.to));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_only_flow_downhill() {
        for edge in EDGES {
            let (from, to) = (rank(edge.from).unwrap(), rank(edge.to).unwrap());
            assert!(
                from > to,
                "{} (rank {from}) may not send {} to {} (rank {to})",
                edge.from,
                edge.message,
                edge.to
            );
        }
    }

    #[test]
    fn every_agent_has_a_place_in_the_graph() {
        for (agent, _) in RANKS {
            assert!(
                EDGES.iter().any(|e| e.from == *agent || e.to == *agent),
                "{agent} speaks to nobody"
            );
        }
    }

    #[test]
    fn the_picture_in_the_readme_is_this_graph() {
        let readme = include_str!("../README.md");
        assert!(readme.contains(&mermaid()), "README.md must contain:\n{}", mermaid());
    }
}
