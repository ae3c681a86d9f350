//! What goes into each route: parameters and bodies.

use super::{super::policy::Route, observed};
use alidade_accounts::{Permission, Role};
use serde_json::{Map, Value, json};

/// What goes into a route beside its address.
pub struct Input {
    pub query: Vec<Value>,
    pub body: Option<Value>,
}

/// A parameter in the query, the path or the headers.
pub fn parameter(name: &str, place: &str, schema: Value, meaning: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema, "description": meaning })
}

fn required(name: &str, meaning: &str) -> Value {
    let mut parameter = parameter(name, "query", json!({ "type": "string" }), meaning);
    parameter["required"] = json!(true);
    parameter
}

fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = required
        .iter()
        .chain(optional)
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn text(longest: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": longest })
}

fn roles() -> Value {
    json!({ "type": "string", "enum": Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>() })
}

fn permissions() -> Value {
    let names: Vec<_> = Permission::ALL.iter().map(|one| one.name()).collect();
    json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "enum": names } })
}

fn json_body(schema: Value) -> Option<Value> {
    Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }))
}

/// A whole number.
pub fn number(low: u64, high: u64) -> Value {
    json!({ "type": "integer", "minimum": low, "maximum": high })
}

fn profile() -> Vec<(&'static str, Value)> {
    vec![
        (
            "account",
            json!({ "type": "string", "pattern": "^[a-z][a-z0-9._-]{1,31}$" }),
        ),
        ("name", text(100)),
        (
            "email",
            json!({ "type": "string", "format": "email", "maxLength": 100 }),
        ),
        ("institute", text(100)),
        (
            "password",
            json!({ "type": "string", "minLength": 10, "maxLength": 256, "format": "password" }),
        ),
    ]
}

/// Everything that `POST /api/v1/commands` takes.
fn command() -> Value {
    let named = |name: &str| ("command", json!({ "const": name }));
    let simple = [
        "close_now",
        "latch",
        "release",
        "abort_sequence",
        "pause",
        "resume",
        "alarms",
    ];
    json!({ "oneOf": [
        object(&[("command", json!({ "enum": simple }))], &[]),
        object(&[named("abort"), ("level", json!({ "enum": ["checkpoint", "immediate", "emergency"] }))], &[]),
        object(&[named("override"), ("input", text(100)), ("reason", text(500))], &[("for_s", json!({ "type": ["number", "null"] }))]),
        object(&[named("lift_override"), ("input", text(100))], &[]),
        object(&[named("acknowledge_alarm"), ("alarm", number(0, u64::MAX))], &[]),
        object(
            &[named("device")],
            &[
                ("device", json!({ "type": ["string", "null"] })),
                ("verb", json!({ "enum": ["get", "set", "do", ""] })),
                ("words", json!({ "type": "array", "items": { "type": "string" } })),
            ],
        ),
    ]})
}

/// A request of the model; `POST /api/v1/requests/preview` makes them of a sequence file.
fn request() -> Value {
    let word = || json!({ "type": "string" });
    let real = || json!({ "type": "number" });
    let plan = object(
        &[
            ("filter", word()),
            ("exposure_s", real()),
            ("count", number(0, u64::from(u32::MAX))),
        ],
        &[("binning", number(0, u64::from(u32::MAX))), ("dither_arcsec", real())],
    );
    let album = object(
        &[
            ("channel", word()),
            ("plans", json!({ "type": "array", "items": plan })),
        ],
        &[],
    );
    let target = object(&[("name", word()), ("ra_deg", real()), ("dec_deg", real())], &[]);
    let window = json!({ "type": ["array", "null"], "items": word(), "minItems": 2, "maxItems": 2 });
    let sequence = object(
        &[
            ("id", word()),
            ("request", word()),
            ("user", word()),
            ("target", target),
            ("priority", real()),
            ("albums", json!({ "type": "array", "items": album })),
        ],
        &[
            ("window", window),
            ("t_prefered", json!({ "type": ["string", "null"] })),
            ("constraints", json!({})),
            ("timing", json!({})),
        ],
    );
    let routine = json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "const": "routine" } } });
    let mut request = object(
        &[
            ("id", word()),
            ("title", word()),
            ("user", word()),
            ("origin", routine),
            ("submitted_at", word()),
            (
                "sequences",
                json!({ "type": "array", "minItems": 1, "items": sequence }),
            ),
        ],
        &[],
    );
    request["additionalProperties"] = json!(true);
    request
}

/// What a route takes in.
pub fn input(route: &Route) -> Input {
    let page = |meaning: &str| parameter("limit", "query", number(1, 1000), meaning);
    let at_most = "How many at most";
    let mut query = Vec::new();
    let body = match (route.method, route.path) {
        ("GET", "/api/v1/journal") => {
            query.push(parameter(
                "after",
                "query",
                number(0, u64::MAX),
                "Entries above this number",
            ));
            query.push(page(at_most));
            None
        }
        ("GET", "/api/v1/requests") => {
            query.push(parameter(
                "user",
                "query",
                json!({ "type": "string" }),
                "Of this account alone",
            ));
            query.push(parameter(
                "before",
                "query",
                number(0, u64::MAX),
                "Submitted before this number",
            ));
            query.push(page(at_most));
            None
        }
        ("GET", "/api/v1/audit") => {
            query.push(parameter(
                "after",
                "query",
                number(0, u64::from(u32::MAX)),
                "Lines above this number",
            ));
            query.push(page(at_most));
            let meaning = "Whether the whole chain is looked at again, not only what is new";
            query.push(parameter("whole", "query", json!({ "type": "boolean" }), meaning));
            None
        }
        ("GET", "/api/v1/nights" | "/api/v1/nights/{night}/sky" | "/api/v1/weather" | "/api/v1/log") => {
            query.extend(kept(route.path));
            None
        }
        ("POST", "/api/v1/requests/preview") => {
            let format = json!({ "enum": ["json", "toml", "yaml"] });
            json_body(object(&[("text", text(262_144)), ("format", format)], &[]))
        }
        ("GET", "/status") => {
            let meaning = "Whether the page does not reload by itself";
            query.push(parameter("still", "query", json!({ "type": "boolean" }), meaning));
            None
        }
        ("GET", "/status/confirm") => {
            query.push(parameter(
                "command",
                "query",
                json!({ "type": "string" }),
                "Name of the command",
            ));
            None
        }
        ("POST", "/status/command") => Some(
            json!({ "required": true, "content": { "application/x-www-form-urlencoded": {
            "schema": object(&[("command", text(100))], &[("token", json!({ "type": "string" }))]) } } }),
        ),
        ("POST", "/api/v1/packets") => {
            query.push(parameter(
                "channel",
                "query",
                json!({ "type": "string" }),
                "Where it came from",
            ));
            let any = json!({ "schema": { "type": "string", "minLength": 1 } });
            Some(json!({ "required": true, "content": { "application/octet-stream": any } }))
        }
        ("POST", "/api/v1/commands") => json_body(command()),
        ("PUT", "/api/v1/strategies/{name}") => {
            query.extend(state_seen());
            json_body(object(
                &[("text", text(65_536))],
                &[("days", json!({ "type": ["number", "null"] }))],
            ))
        }
        ("POST", "/api/v1/strategies/dry-run") => {
            let days = json!({ "type": ["number", "null"], "minimum": 0, "maximum": 3660 });
            json_body(object(&[("text", text(65_536))], &[("days", days)]))
        }
        ("POST", "/api/v1/requests") => json_body(request()),
        ("POST", "/api/v1/sequences/{id}/redo") => json_body(object(&[("cause", json!({ "type": "string" }))], &[])),
        ("POST", "/api/v1/quotas/{account}") => {
            let hours = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 10_000 });
            json_body(object(&[("institute", text(100)), ("hours", hours)], &[]))
        }
        ("POST", "/api/v1/session") => json_body(object(
            &[
                ("login", json!({ "type": "string" })),
                ("password", json!({ "type": "string" })),
            ],
            &[],
        )),
        ("POST", "/api/v1/accounts") => json_body(object(&profile(), &[])),
        ("POST", "/api/v1/first-administrator") => {
            let mut all = profile();
            all.push(("code", json!({ "type": "string" })));
            json_body(object(&all, &[]))
        }
        ("POST", "/api/v1/recovery") => json_body(object(&[("email", json!({ "type": "string" }))], &[])),
        ("POST", "/api/v1/password") => json_body(object(
            &[
                ("code", json!({ "type": "string" })),
                ("password", json!({ "type": "string" })),
            ],
            &[],
        )),
        ("PATCH", "/api/v1/me/profile") => {
            query.extend(state_seen());
            json_body(object(&[("name", text(100)), ("institute", text(100))], &[]))
        }
        ("GET", "/api/v1/schedules") => {
            query.push(page(at_most));
            None
        }
        ("GET", "/api/v1/targets") => {
            let name = json!({ "type": "string", "maxLength": 100 });
            query.push(parameter(
                "text",
                "query",
                name,
                "Part of the name, whatever its case and white space",
            ));
            None
        }
        ("GET", path) if path.starts_with("/api/v1/observed") => {
            query.extend(observed::queries(path));
            None
        }
        ("GET", "/api/v1/devices/{name}") => {
            query.push(parameter(
                "hours",
                "query",
                number(1, 168),
                "How far back its link and its commands are told",
            ));
            None
        }
        ("POST", "/api/v1/me/password") => json_body(object(
            &[
                ("old", json!({ "type": "string" })),
                ("new", json!({ "type": "string" })),
            ],
            &[],
        )),
        ("POST", "/api/v1/me/tokens") => {
            let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,40}$" });
            json_body(object(
                &[("name", name), ("scopes", permissions()), ("days", number(1, 366))],
                &[],
            ))
        }
        ("POST", "/api/v1/accounts/{id}/validate") => {
            let hours = json!({ "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 10_000 });
            json_body(object(&[("role", roles())], &[("quota_h", hours)]))
        }
        ("POST", "/api/v1/accounts/{id}/role") => json_body(object(&[("role", roles())], &[])),
        ("GET", "/api/v1/data/history" | "/api/v1/data/report" | "/api/v1/data/prov") => {
            query.push(required("unit", "Identifier of the unit"));
            None
        }
        ("GET", "/api/v1/data/links") => {
            query.push(parameter(
                "ID",
                "query",
                json!({ "type": "string" }),
                "Identifier of the product",
            ));
            None
        }
        ("GET", "/api/v1/data/scs") => {
            for (name, meaning) in [
                ("RA", "Degrees, ICRS"),
                ("DEC", "Degrees, ICRS"),
                ("SR", "Radius, degrees"),
            ] {
                query.push(parameter(name, "query", json!({ "type": "string" }), meaning));
            }
            None
        }
        ("POST", "/api/v1/data/review") => {
            let verdict = json!({ "enum": ["begin", "pass", "semipass", "fail", "cancel"] });
            let any = || json!({ "type": "string" });
            json_body(object(
                &[("unit", text(200)), ("verdict", verdict), ("reviewer", any())],
                &[("role", json!({ "type": ["string", "null"] })), ("comment", any())],
            ))
        }
        ("GET", "/api/v1/runs") => {
            query.push(parameter(
                "pipeline",
                "query",
                json!({ "type": "string" }),
                "Of this pipeline alone",
            ));
            query.push(parameter(
                "target",
                "query",
                json!({ "type": "string" }),
                "On this target alone",
            ));
            query.push(page(at_most));
            None
        }
        ("GET", "/api/v1/runs/{id}/log") => {
            query.push(parameter(
                "from",
                "query",
                number(0, u64::MAX),
                "Lines above this number",
            ));
            query.push(parameter("limit", "query", number(1, 10_000), at_most));
            None
        }
        ("POST", "/api/v1/runs") => {
            let paths = json!({ "type": "array", "items": { "type": "string" } });
            let word = || json!({ "type": ["string", "null"] });
            json_body(object(
                &[("pipeline", text(200))],
                &[
                    ("target", word()),
                    ("inputs", paths),
                    ("properties", json!({ "type": "object" })),
                    ("start", word()),
                    ("end", word()),
                ],
            ))
        }
        ("POST", "/api/v1/packages/{id}/runs") => {
            let inputs = json!({ "type": "array", "items": { "type": "string" } });
            json_body(object(
                &[],
                &[
                    ("name", json!({ "type": "string" })),
                    ("config", json!({})),
                    ("inputs", inputs),
                    ("executor", json!({ "type": ["string", "null"] })),
                ],
            ))
        }
        _ => None,
    };
    Input { query, body }
}

/// How whoever changes a document says which state of it they have seen.
fn state_seen() -> [Value; 2] {
    let word = || json!({ "type": "string" });
    [
        parameter(
            "If-Match",
            "header",
            word(),
            "ETag of the document that is changed; without it 428, with another one 412",
        ),
        parameter("If-None-Match", "header", word(), "* for a document that shall be new"),
    ]
}

/// The queries of what is kept of nights, weather and log.
fn kept(path: &str) -> Vec<Value> {
    let word = || json!({ "type": "string" });
    let instant = || json!({ "type": "string", "format": "date-time" });
    let limit = |most: u64| parameter("limit", "query", number(1, most), "How many at most");
    match path {
        "/api/v1/nights" => vec![
            parameter(
                "before",
                "query",
                json!({ "type": "string", "format": "date" }),
                "Nights before this evening date",
            ),
            limit(366),
        ],
        "/api/v1/nights/{night}/sky" => vec![parameter(
            "step_s",
            "query",
            number(60, 3600),
            "Seconds from one sample to the next",
        )],
        "/api/v1/weather" => vec![
            parameter("quantity", "query", word(), "Of this quantity alone"),
            parameter(
                "from",
                "query",
                instant(),
                "From this instant on; a day before the end if absent",
            ),
            parameter(
                "until",
                "query",
                instant(),
                "Up to, not including, this instant; now if absent",
            ),
            parameter(
                "every_s",
                "query",
                number(1, 86_400),
                "Of so many seconds only the sample nearest to its limit",
            ),
            limit(50_000),
        ],
        _ => vec![
            parameter("severity", "query", word(), "Of this severity alone"),
            parameter("source", "query", word(), "Of this source alone"),
            parameter("text", "query", word(), "With this in the message, whatever its case"),
            parameter("before", "query", number(0, u64::MAX), "Before this number"),
            limit(1000),
        ],
    }
}
