//! The form of a package: a JSON Schema from which the page is drawn and by which a run's configuration is judged.
//!
//! What of JSON Schema is understood: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties` (true or
//! false), `items`, `minItems`, `maxItems`, `uniqueItems`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum` (a
//! number, or a boolean as in draft 4), `multipleOf`, `minLength`, `maxLength`, `pattern`, `default`; words for people (`title`,
//! `description`, `format`, `examples` and other annotations) do not judge. A form with a keyword that would judge and is
//! not understood (`$ref`, `allOf`, `if` ...) is refused when it is installed: nothing passes unjudged.
//!
//! Pirus's placeholders: `"enum": "__PIRUS_INPUT_FILES__"` stands for the names of the run's inputs,
//! `"__PIRUS_DB_REFS__"` for the sets of reference data.

use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// Keywords that judge and are not understood.
const REFUSED: &[&str] = &[
    "$dynamicRef",
    "$recursiveRef",
    "$ref",
    "allOf",
    "anyOf",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "extends",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "not",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];
const DEEPEST: usize = 32;
/// Stands for the run's inputs in an `enum`.
pub const INPUT_FILES: &str = "__PIRUS_INPUT_FILES__";
/// Stands for the reference data in an `enum`.
pub const DATABASES: &str = "__PIRUS_DB_REFS__";

/// Every fault of a form, with its JSON pointer; none means it can be used.
pub fn check(form: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check_at(form, "", 0, &mut faults);
    faults
}

fn check_at(schema: &Value, at: &str, depth: usize, faults: &mut Vec<String>) {
    let map = match schema {
        Value::Object(map) => map,
        Value::Bool(_) => return,
        _ => return faults.push(format!("{at}: not a schema")),
    };
    if depth > DEEPEST {
        return faults.push(format!("{at}: deeper than {DEEPEST}"));
    }
    for (key, value) in map {
        let here = format!("{at}/{}", escaped(key));
        let is_count = value.as_u64().is_some();
        let sound = match key.as_str() {
            "type" => {
                let known = |v: &Value| v.as_str().is_some_and(|name| TYPES.contains(&name));
                known(value)
                    || value
                        .as_array()
                        .is_some_and(|all| !all.is_empty() && all.iter().all(known))
            }
            "enum" => value.is_array() || matches!(value.as_str(), Some(INPUT_FILES | DATABASES)),
            "required" => match value {
                Value::Array(names) => names.iter().all(Value::is_string),
                // Draft 3, as old forms write it in a property; it judges in `properties` below.
                Value::Bool(_) => true,
                _ => false,
            },
            "properties" => match value {
                Value::Object(properties) => {
                    for (name, property) in properties {
                        check_at(property, &format!("{here}/{}", escaped(name)), depth + 1, faults);
                    }
                    true
                }
                _ => false,
            },
            "items" => {
                check_at(value, &here, depth + 1, faults);
                true
            }
            "additionalProperties" | "uniqueItems" => value.is_boolean(),
            "minItems" | "maxItems" | "minLength" | "maxLength" => is_count,
            "minimum" | "maximum" => value.is_number(),
            "exclusiveMinimum" | "exclusiveMaximum" => value.is_number() || value.is_boolean(),
            "multipleOf" => value.as_f64().is_some_and(|step| step > 0.0),
            "pattern" => value.as_str().is_some_and(|pattern| Regex::new(pattern).is_ok()),
            other if REFUSED.contains(&other) => {
                faults.push(format!("{here}: this keyword is not understood here"));
                true
            }
            _ => true,
        };
        if !sound {
            faults.push(format!("{here}: not a legal value of this keyword"));
        }
    }
}

/// A name as a part of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The form of one run: placeholders replaced by the names of its inputs and of the reference data.
pub fn filled(form: &Value, inputs: &[String], databases: &[String]) -> Value {
    match form {
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| {
                let value = match (key.as_str(), value.as_str()) {
                    ("enum", Some(INPUT_FILES)) => json!(inputs),
                    ("enum", Some(DATABASES)) => json!(databases),
                    _ => filled(value, inputs, databases),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, inputs, databases)).collect()),
        other => other.clone(),
    }
}

/// The configuration with the form's defaults where it says nothing.
pub fn with_defaults(form: &Value, config: &Value) -> Value {
    let (Some(properties), Value::Object(given)) = (form.get("properties").and_then(Value::as_object), config) else {
        return config.clone();
    };
    let mut whole: Map<String, Value> = given.clone();
    for (name, property) in properties {
        match (whole.get(name), property.get("default")) {
            (Some(value), _) => {
                let value = with_defaults(property, value);
                whole.insert(name.clone(), value);
            }
            (None, Some(default)) => drop(whole.insert(name.clone(), default.clone())),
            (None, None) => {}
        }
    }
    Value::Object(whole)
}

/// Every fault of a configuration, with its JSON pointer; none means that it obeys the (filled) form.
pub fn judge(form: &Value, config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    judge_at(form, config, "", &mut faults);
    faults
}

fn judge_at(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let map = match schema {
        Value::Object(map) => map,
        Value::Bool(false) => return faults.push(format!("{}: nothing is allowed here", place(at))),
        _ => return,
    };
    let mut fault = |what: String| faults.push(format!("{}: {what}", place(at)));
    if let Some(kind) = map.get("type") {
        let names: Vec<&str> = match kind {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        if !names.iter().any(|name| is_of_type(value, name)) {
            return fault(format!("{value} is not of type {}", names.join(" or ")));
        }
    }
    if let Some(allowed) = map.get("enum").and_then(Value::as_array)
        && !allowed.iter().any(|one| equal(one, value))
    {
        fault(format!("{value} is not one of {}", Value::Array(allowed.clone())));
    }
    if let Some(only) = map.get("const").filter(|only| !equal(only, value)) {
        fault(format!("{value} is not {only}"));
    }
    match value {
        Value::Number(_) => judge_number(map, value.as_f64().unwrap_or(f64::NAN), &mut fault),
        Value::String(text) => judge_text(map, text, &mut fault),
        Value::Array(items) => judge_list(map, items, at, faults),
        Value::Object(fields) => judge_object(map, fields, at, faults),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The whole configuration has an empty pointer, which nobody would see.
fn place(at: &str) -> &str {
    if at.is_empty() { "/" } else { at }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        // 2.0 is an integer for JSON Schema.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => false,
    }
}

/// Numbers are equal by value: 1 is 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

fn judge_number(map: &Map<String, Value>, value: f64, fault: &mut impl FnMut(String)) {
    let bound = |key: &str| map.get(key).and_then(Value::as_f64);
    let strict = |key: &str| map.get(key).and_then(Value::as_bool) == Some(true);
    if let Some(least) = bound("minimum")
        && (value < least || (value == least && strict("exclusiveMinimum")))
    {
        fault(format!("{value} is below the minimum {least}"));
    }
    if let Some(most) = bound("maximum")
        && (value > most || (value == most && strict("exclusiveMaximum")))
    {
        fault(format!("{value} is above the maximum {most}"));
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|&least| value <= least) {
        fault(format!("{value} is not above {least}"));
    }
    if let Some(most) = bound("exclusiveMaximum").filter(|&most| value >= most) {
        fault(format!("{value} is not below {most}"));
    }
    if let Some(step) = bound("multipleOf") {
        let ratio = value / step;
        // 0.3 is a multiple of 0.1 for people, though not for binary fractions.
        if (ratio - ratio.round()).abs() > 1e-9 * ratio.abs().max(1.0) {
            fault(format!("{value} is not a multiple of {step}"));
        }
    }
}

fn judge_text(map: &Map<String, Value>, text: &str, fault: &mut impl FnMut(String)) {
    let count = text.chars().count() as u64;
    let bound = |key: &str| map.get(key).and_then(Value::as_u64);
    if bound("minLength").is_some_and(|least| count < least) || bound("maxLength").is_some_and(|most| count > most) {
        fault(format!("{count} characters are not allowed"));
    }
    if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
        && !Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
    {
        fault(format!("{text:?} does not match {pattern}"));
    }
}

fn judge_list(map: &Map<String, Value>, items: &[Value], at: &str, faults: &mut Vec<String>) {
    let count = items.len() as u64;
    let bound = |key: &str| map.get(key).and_then(Value::as_u64);
    if bound("minItems").is_some_and(|least| count < least) || bound("maxItems").is_some_and(|most| count > most) {
        faults.push(format!("{}: {count} items are not allowed", place(at)));
    }
    if map.get("uniqueItems") == Some(&Value::Bool(true)) {
        let twice = items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].iter().any(|other| equal(other, item)));
        if twice {
            faults.push(format!("{}: an item is there twice", place(at)));
        }
    }
    if let Some(schema) = map.get("items") {
        for (index, item) in items.iter().enumerate() {
            judge_at(schema, item, &format!("{at}/{index}"), faults);
        }
    }
}

fn judge_object(map: &Map<String, Value>, fields: &Map<String, Value>, at: &str, faults: &mut Vec<String>) {
    let empty = Map::new();
    let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut required: Vec<&str> = map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let draft3 = properties
        .iter()
        .filter(|(_, p)| p.get("required") == Some(&Value::Bool(true)));
    required.extend(draft3.map(|(name, _)| name.as_str()));
    for name in required {
        if !fields.contains_key(name) {
            faults.push(format!("{at}/{}: missing", escaped(name)));
        }
    }
    for (name, value) in fields {
        let here = format!("{at}/{}", escaped(name));
        match properties.get(name) {
            Some(schema) => judge_at(schema, value, &here, faults),
            None if map.get("additionalProperties") == Some(&Value::Bool(false)) => {
                faults.push(format!("{here}: the form has no such field"));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Value {
        json!({
            "type": "object",
            "required": ["threshold"],
            "additionalProperties": false,
            "properties": {
                "threshold": {"type": "number", "minimum": 1, "maximum": 10, "exclusiveMaximum": true, "default": 5},
                "file": {"type": "string", "enum": INPUT_FILES},
                "filters": {"type": "array", "items": {"enum": ["g", "r"]}, "uniqueItems": true, "maxItems": 2},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "nested": {"type": "object", "properties": {"step": {"type": "integer", "multipleOf": 2, "default": 4}}}
            }
        })
    }

    #[test]
    fn a_configuration_is_judged_field_by_field() {
        let form = filled(&form(), &["a.fits".into()], &[]);
        assert_eq!(check(&form), Vec::<String>::new());
        let good =
            json!({"threshold": 9.99, "file": "a.fits", "filters": ["g", "r"], "name": "abc", "nested": {"step": 2.0}});
        assert_eq!(judge(&form, &good), Vec::<String>::new());
        let bad = json!({"threshold": 10, "file": "b.fits", "filters": ["g", "g"], "name": "ABC", "nested": {"step": 3}, "x/y": 1});
        let faults = judge(&form, &bad);
        for pointer in [
            "/threshold: ",
            "/file: ",
            "/filters: ",
            "/name: ",
            "/nested/step: ",
            "/x~1y: ",
        ] {
            assert_eq!(
                faults.iter().filter(|fault| fault.starts_with(pointer)).count(),
                1,
                "{pointer} {faults:?}"
            );
        }
        assert_eq!(faults.len(), 6);
        assert_eq!(judge(&form, &json!({})), ["/threshold: missing"]);
        assert_eq!(judge(&form, &json!([])), ["/: [] is not of type object"]);
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let whole = with_defaults(&form(), &json!({"nested": {}}));
        assert_eq!(whole, json!({"threshold": 5, "nested": {"step": 4}}));
    }

    #[test]
    fn a_form_that_could_not_be_judged_whole_is_refused() {
        let form =
            json!({"properties": {"a": {"$ref": "#/x"}, "b": {"type": "float"}, "c": {"pattern": "("}}, "oneOf": []});
        let faults = check(&form);
        for pointer in [
            "/properties/a/$ref",
            "/properties/b/type",
            "/properties/c/pattern",
            "/oneOf",
        ] {
            assert!(
                faults.iter().any(|fault| fault.starts_with(pointer)),
                "{pointer} {faults:?}"
            );
        }
        assert!(check(&json!({})).is_empty());
    }
}
