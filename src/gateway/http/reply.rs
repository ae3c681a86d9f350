//! The one way in which documents are answered and queries are read.

use super::Problem;
use actix_web::{HttpRequest, HttpResponse, http::header, web::Query};
use serde::{Serialize, de::DeserializeOwned};

/// A JSON document.
pub fn document<T: Serialize>(value: &T) -> Result<HttpResponse, Problem> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(written(text)),
        Err(cause) => Err(Problem::internal(cause.to_string())),
    }
}

/// A JSON document that is text already.
pub fn written(text: impl Into<String>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(text.into())
}

/// Reads the query of an address; what it does not know is refused.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    Query::<T>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|cause| Problem::bad_request(cause.to_string()))
}

/// A number of rows: `default` if none is asked for, from 1 to `most`.
pub fn limited(limit: Option<u32>, default: u32, most: u32) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(default);
    match (1..=most).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::bad_request(format!("limit {limit} is outside 1 to {most}"))),
    }
}
