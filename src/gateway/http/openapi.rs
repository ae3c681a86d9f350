//! The description of the interface (OpenAPI 3.1), made of the table of routes.
//!
//! The table says which addresses there are and what they need; [`inputs`] what goes in; here is what comes out.

mod inputs;
mod observed;

use super::policy::{Needs, ROUTES, Route};
use actix_web::HttpResponse;
use alidade_accounts::Permission;
use inputs::{Input, input, number, parameter};
use serde_json::{Map, Value, json};

/// The media type of what a route answers when all is well.
fn media(route: &Route) -> &'static str {
    match route.path {
        "/api/v1/events" => "text/event-stream",
        "/metrics" => "text/plain",
        "/api/v1/data/scs" | "/api/v1/data/sia2/query" | "/api/v1/data/obscore" | "/api/v1/data/links" => {
            "application/x-votable+xml"
        }
        "/api/v1/data/report" => "application/xml",
        "/api/v1/data/events" | "/api/v1/runs/{id}/log/stream" | "/api/v1/package-runs/{id}/follow" => {
            "text/event-stream"
        }
        "/status" | "/status/confirm" | "/status/command" => "text/html",
        "/api/v1/products/{path:.*}" => "application/octet-stream",
        _ => "application/json",
    }
}

fn answers(route: &Route) -> Value {
    let problem = |meaning: &str| json!({ "description": meaning, "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let mut told = Map::new();
    let schema = if media(route) == "application/json" {
        json!({ "type": "object" })
    } else {
        json!({})
    };
    let page = media(route) == "text/html";
    let mut good = json!({ "description": "Done, or accepted", "content": { media(route): { "schema": schema } } });
    if media(route) == "application/json" && route.method == "GET" {
        good["headers"] = json!({ "ETag": { "$ref": "#/components/headers/ETag" } });
    }
    let mut put = |code: &str, value: Value| drop(told.insert(code.to_owned(), value));
    put("2XX", good.clone());
    put("204", json!({ "description": "Done; there is nothing to say" }));
    put(
        "304",
        json!({ "description": "Not changed since the state whose ETag was sent as If-None-Match" }),
    );
    if page {
        // The page without scripts says in words what the interface says in problem documents.
        put(
            "4XX",
            json!({ "description": "Why not", "content": { "text/html": {}, "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } }),
        );
    } else {
        put("4XX", problem("Refused, with the reason"));
    }
    put("5XX", problem("The daemon could not answer"));
    if route.path == "/api/v1/health" {
        put(
            "503",
            json!({ "description": "The daemon has gone quiet", "content": { "application/json": { "schema": { "type": "object" } } } }),
        );
    }
    Value::Object(told)
}

fn operation(route: &Route) -> Value {
    let Input { query, body } = input(route);
    let mut parameters: Vec<Value> = Vec::new();
    for part in route.path.split('{').skip(1) {
        let name = part.split(['}', ':']).next().unwrap_or(part);
        let schema = if route.path.starts_with("/api/v1/alarms") {
            number(0, u64::MAX)
        } else {
            json!({ "type": "string", "minLength": 1 })
        };
        parameters.push(parameter(name, "path", schema, "Identifier"));
    }
    parameters.extend(query);
    let needs = match route.needs {
        Needs::Nothing => "Open to everybody.".to_owned(),
        Needs::One(permission) => format!(
            "Needs the permission {permission}, which the role {} has.",
            permission.least_role()
        ),
        Needs::AnyOf(any) => {
            let names: Vec<&str> = any.iter().map(|one| one.name()).collect();
            format!("Needs one of the permissions {}.", names.join(", "))
        }
    };
    let mut operation = json!({
        "operationId": format!("{} {}", route.method.to_lowercase(), route.path).replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        "summary": route.summary,
        "description": needs,
        "tags": [route.tag],
        "parameters": parameters,
        "responses": answers(route),
    });
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    let open = matches!(route.needs, Needs::Nothing | Needs::One(Permission::Read));
    if !open {
        operation["security"] = json!([{ "session": [] }, { "token": [] }]);
    }
    operation
}

/// The whole description.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = route.path.replace(":.*}", "}");
        let here = paths.entry(path).or_insert_with(|| json!({}));
        here[route.method.to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Alidade",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The interface of one robotic observatory. Errors are problem documents (RFC 9457). Times are UTC, angles degrees."
        },
        "paths": paths,
        "components": {
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": { "type": "string" }, "title": { "type": "string" },
                    "status": { "type": "integer" }, "detail": { "type": "string" }
                }
            }},
            "headers": { "ETag": {
                "description": "Entity tag (RFC 9110): the same as long as the document is the same, byte for byte. A read with it as If-None-Match is answered 304, a change is sent with it as If-Match.",
                "required": false,
                "schema": { "type": "string" }
            }},
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": super::access::COOKIE },
                "token": { "type": "http", "scheme": "bearer" }
            }
        }
    })
}

pub async fn description() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let document = document();
        let described: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|here| here.as_object().unwrap().len())
            .sum();
        assert_eq!(described, ROUTES.len());
        let mut names = std::collections::BTreeSet::new();
        for here in document["paths"].as_object().unwrap().values() {
            for operation in here.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()));
            }
        }
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }
}
