//! What the addresses of targets with their data take in.

use super::inputs::{number, parameter};
use serde_json::{Value, json};

/// The queries of one of them.
pub fn queries(path: &str) -> Vec<Value> {
    let of = |name: &str, schema: Value, meaning: &str| parameter(name, "query", schema, meaning);
    let before = || of("before", number(0, u64::MAX), "Observed before this number");
    let filter = || of("filter", json!({ "type": "string" }), "In this filter alone");
    let limit = |most: u64| of("limit", number(1, most), "How many at most");
    let degrees = |low: i32, high: i32| json!({ "type": "number", "minimum": low, "maximum": high });
    match path {
        "/api/v1/observed" => {
            let name = json!({ "type": "string", "maxLength": 100 });
            let meaning = "Part of the name, whatever its case and spaces";
            vec![of("text", name, meaning), before(), limit(1000)]
        }
        "/api/v1/observed/{name}/frames" => vec![filter(), before(), limit(1000)],
        "/api/v1/observed/{name}/light-curve" => vec![
            of(
                "ra_deg",
                degrees(0, 360),
                "Another place than the target's, ICRS degrees",
            ),
            of(
                "dec_deg",
                degrees(-90, 90),
                "Another place than the target's, ICRS degrees",
            ),
            filter(),
            of(
                "limit",
                number(1, u64::from(crate::observed::MOST_FRAMES)),
                "How many of the newest frames are looked at",
            ),
        ],
        _ => Vec::new(),
    }
}
