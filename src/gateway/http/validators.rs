//! Validators (RFC 9110, sections 8.8 and 13): every document carries an entity tag, a reader who has it already is told so,
//! and who changes a document says which state of it they have seen.
//!
//! A tag is the digest of what is sent, so two answers with the same tag are the same byte for byte: strong, in the words
//! of the standard. Documents are small; streams, frames and answers that carry a tag of their own are left alone.

use super::Problem;
use actix_web::{
    Error, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The tag of what is sent, with its quotation marks.
pub fn tag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let letters: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{letters}\"")
}

/// The tag that a document has when it is answered by [`super::reply::document`].
pub fn tag_of<T: Serialize>(value: &T) -> Result<String, Problem> {
    let body = serde_json::to_vec(value).map_err(|cause| Problem::internal(cause.to_string()))?;
    Ok(tag(&body))
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let all: Vec<&str> = headers
        .get_all(name)
        .map(|value| value.to_str().unwrap_or(""))
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// Whether a list of tags has this one. `weakly`: a weak tag of the same letters will do.
fn lists(field: &str, tag: &str, weakly: bool) -> bool {
    field.split(',').map(str::trim).any(|one| {
        let one = if weakly {
            one.strip_prefix("W/").unwrap_or(one)
        } else {
            one
        };
        one == "*" || one == tag
    })
}

/// Holds whoever changes a document to what they have seen of it: 428 without `If-Match`, 412 when the document is another
/// by now. `current` is the tag of the document as it is, none when there is none; what shall be new is sent with
/// `If-None-Match: *`.
pub fn must_match(headers: &HeaderMap, current: Option<&str>) -> Result<(), Problem> {
    let changed = |detail: &str| {
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "changed-meanwhile",
            "the document is another by now",
            detail,
        ))
    };
    let wants_new = lines(headers, header::IF_NONE_MATCH).is_some_and(|field| field.trim() == "*");
    match (lines(headers, header::IF_MATCH), current) {
        (Some(field), Some(tag)) if lists(&field, tag, false) => Ok(()),
        (Some(_), Some(_)) => {
            changed("somebody has changed it since; read it again, then send the change with its ETag")
        }
        (Some(_), None) => changed("it is not there"),
        (None, None) if wants_new => Ok(()),
        (None, Some(_)) if wants_new => changed("it is there already"),
        (None, _) => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "say-what-you-saw",
            "say which state you have seen",
            "send If-Match with the ETag of the document, or If-None-Match: * for a new one",
        )),
    }
}

/// Tags every JSON document that is read, and answers 304 to who has it.
pub async fn validate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = lines(request.headers(), header::IF_NONE_MATCH);
    let answered = next.call(request).await?.map_into_boxed_body();
    let plain = answered.status() == StatusCode::OK
        && matches!(answered.response().body().size(), BodySize::Sized(_))
        && !answered.headers().contains_key(header::ETAG)
        && answered.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
    if !(reads && plain) {
        return Ok(answered);
    }
    let (request, response) = answered.into_parts();
    let (head, body) = response.into_parts();
    let (body, tag) = match body.try_into_bytes() {
        Ok(bytes) => {
            let tag = tag(&bytes);
            (BoxBody::new(bytes), Some(tag))
        }
        Err(stream) => (stream, None),
    };
    let mut response = head.set_body(body);
    let Some(tag) = tag else {
        return Ok(ServiceResponse::new(request, response));
    };
    if known.is_some_and(|field| lists(&field, &tag, true)) {
        response = HttpResponse::NotModified().finish();
    }
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(ServiceResponse::new(request, response))
}

fn is_json(kind: &HeaderValue) -> bool {
    kind.to_str()
        .is_ok_and(|kind| kind.split(';').next().map(str::trim) == Some("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::{ResponseError, test::TestRequest};

    fn judged(headers: &[(&'static str, &'static str)], current: Option<&str>) -> u16 {
        let mut request = TestRequest::put();
        for header in headers {
            request = request.insert_header(*header);
        }
        match must_match(request.to_http_request().headers(), current) {
            Ok(()) => 200,
            Err(problem) => problem.status_code().as_u16(),
        }
    }

    #[test]
    fn a_change_says_which_state_it_is_of() {
        let there = Some("\"a\"");
        assert_eq!(judged(&[("if-match", "\"a\"")], there), 200);
        assert_eq!(judged(&[("if-match", "\"x\", \"a\"")], there), 200);
        assert_eq!(judged(&[("if-match", "*")], there), 200);
        assert_eq!(judged(&[("if-match", "\"b\"")], there), 412);
        // A weak tag does not vouch for every byte.
        assert_eq!(judged(&[("if-match", "W/\"a\"")], there), 412);
        assert_eq!(judged(&[], there), 428);
        assert_eq!(judged(&[("if-none-match", "*")], there), 412);
        assert_eq!(judged(&[("if-none-match", "*")], None), 200);
        assert_eq!(judged(&[("if-match", "\"a\"")], None), 412);
        assert_eq!(judged(&[], None), 428);
    }

    #[test]
    fn the_same_bytes_have_the_same_tag_and_others_another() {
        assert_eq!(tag(b"{}"), tag(b"{}"));
        assert_ne!(tag(b"{}"), tag(b"{ }"));
        assert!(lists("W/\"a\", \"b\"", "\"a\"", true) && !lists("W/\"a\"", "\"a\"", false));
        assert!(!lists("", "\"a\"", true) && lists("*", "\"a\"", true));
    }
}
