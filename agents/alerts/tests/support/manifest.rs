//! What a corpus says of its packets, against what was read of them. Shared by the tests and `benches/alerts/check.rs`.

use serde_json::Value;

/// The fields of a notice that a manifest tells in `expected`.
const FIELDS: &[&str] = &[
    "ivorn",
    "role",
    "trigger_id",
    "ra_deg",
    "dec_deg",
    "err_deg",
    "event_time_utc",
    "citations",
    "is_test",
    "is_retraction",
    "is_update",
];
/// The fields that it tells beside them.
const NAMED: &[&str] = &["mission", "notice_type"];
/// The fields of a hostile packet that may be acted upon: the manifest's names and ours.
const OF_CASES: &[(&str, &str)] = &[
    ("ra", "ra_deg"),
    ("dec", "dec_deg"),
    ("err", "err_deg"),
    ("event_time", "event_time_utc"),
    ("trigger_id", "trigger_id"),
];

/// A member as text; empty when there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn same(want: &Value, got: &Value) -> bool {
    match (want.as_f64(), got.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        _ => want == got,
    }
}

/// How many fields of a manifest entry were compared, and those that the line has otherwise, each with a sentence.
pub fn compare(entry: &Value, line: &Value) -> (usize, Vec<(&'static str, String)>) {
    let told = FIELDS
        .iter()
        .filter_map(|field| Some((*field, entry["expected"].get(*field)?)));
    let fields: Vec<_> = told.chain(NAMED.iter().map(|field| (*field, &entry[*field]))).collect();
    let wrong = fields.iter().filter(|(field, want)| !same(want, &line[*field]));
    let say = |(field, want): &(&'static str, &Value)| {
        let (file, reason) = (text(entry, "file"), text(line, "reason"));
        (
            *field,
            format!("{file}: {field}: want {want}, got {} ({reason})", line[*field]),
        )
    };
    (fields.len(), wrong.map(say).collect())
}

/// Whether a notice must not be acted upon, however fresh it is.
pub fn is_barred(expected: &Value) -> bool {
    let is = |key: &&str| expected.get(*key).and_then(Value::as_bool).unwrap_or(false);
    let placed = is(&"has_position") || !expected["skymap"].is_null();
    !placed
        || ["is_test", "is_retraction", "not_a_grb", "star_tracker_lost_lock"]
            .iter()
            .any(is)
}

/// What is wrong with the verdict on a hostile packet, and with its fields if it may be acted upon.
pub fn faults_of_case(case: &Value, line: &Value) -> Vec<String> {
    let (file, want, got) = (text(case, "file"), text(case, "verdict"), text(line, "verdict"));
    let allowed = want == got || (want == "act_or_reject" && matches!(got, "act" | "reject"));
    let mut faults = Vec::new();
    if !allowed {
        faults.push(format!("{file}: want {want}, got {got} ({})", text(line, "reason")));
    }
    for (theirs, ours) in OF_CASES.iter().filter(|_| got == "act") {
        let (want, got) = (&case["expect"][*theirs], &line[*ours]);
        if !same(want, got) {
            faults.push(format!("{file}: {ours}: want {want}, got {got}"));
        }
    }
    faults
}
