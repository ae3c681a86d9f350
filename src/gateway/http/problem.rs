//! Errors as problem documents (RFC 9457).

use crate::gateway::command::CommandFault;
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use std::fmt;

/// One problem; the `type` is `urn:alidade:problem:<slug>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip)]
    allow: Option<String>,
    #[serde(skip)]
    retry_after: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:alidade:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            allow: None,
            retry_after: None,
        }
    }

    /// Says when to try again.
    pub fn retry_after(mut self, seconds: f64) -> Self {
        self.retry_after = Some(format!("{:.0}", seconds.ceil()));
        self
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "the request is not understood",
            detail,
        )
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here", detail)
    }

    pub fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("at most {limit_bytes} bytes are taken");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "the body is too large",
            detail,
        )
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "not allowed", detail)
    }

    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the daemon could not answer",
            detail,
        )
    }

    pub fn denied(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "denied", "the command was denied", reason)
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this address takes {allow}");
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "method not allowed", detail);
        problem.allow = Some(allow.to_owned());
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(seconds) = &self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.as_str()));
        }
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        match serde_json::to_string(self) {
            Ok(body) => response.body(body),
            Err(_) => response.finish(),
        }
    }
}

/// A problem is also an answer by itself (for default services).
impl actix_web::Responder for Problem {
    type Body = actix_web::body::BoxBody;
    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl From<CommandFault> for Problem {
    fn from(fault: CommandFault) -> Self {
        let (status, slug) = match fault {
            CommandFault::NobodyListens => (StatusCode::SERVICE_UNAVAILABLE, "not-listening"),
            CommandFault::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            CommandFault::OutcomeUnknown(_) => (StatusCode::GATEWAY_TIMEOUT, "outcome-unknown"),
        };
        Problem::new(status, slug, "the command got no answer", fault.to_string())
    }
}

pub async fn no_such_page(request: HttpRequest) -> Problem {
    Problem::not_found(format!("{} is not an address of this daemon", request.path()))
}
