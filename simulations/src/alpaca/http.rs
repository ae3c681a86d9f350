//! As much of HTTP/1.1 as an Alpaca server needs: requests with a length, answers with a length, connections that are kept.

use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const LONGEST_HEAD: usize = 16 * 1024;
const LONGEST_BODY: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Of the query (GET) or of the form (PUT), decoded.
    pub parameters: Vec<(String, String)>,
    pub accept: String,
    /// The client wants to ask more on this connection.
    pub keeps: bool,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub media: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            media: "text/plain; charset=utf-8",
            body: text.into().into_bytes(),
        }
    }
}

/// Why there is no request.
#[derive(Debug, PartialEq)]
pub enum NoRequest {
    Gone,
    /// Not HTTP, or too much of it: answered with 400 and closed.
    Bad(&'static str),
}

impl From<io::Error> for NoRequest {
    fn from(_: io::Error) -> Self {
        NoRequest::Gone
    }
}

/// Reads the next request; `ahead` holds what was read beyond the last one.
pub async fn request(stream: &mut (impl AsyncRead + Unpin), ahead: &mut Vec<u8>) -> Result<Request, NoRequest> {
    let end = loop {
        if let Some(at) = ahead.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if ahead.len() > LONGEST_HEAD {
            return Err(NoRequest::Bad("head too long"));
        }
        if stream.read_buf(ahead).await? == 0 {
            return Err(NoRequest::Gone);
        }
    };
    let head = String::from_utf8(ahead.drain(..end + 4).take(end).collect())
        .map_err(|_| NoRequest::Bad("head is not text"))?;
    let (mut request, length, query) = parse(&head)?;
    while ahead.len() < length {
        if stream.read_buf(ahead).await? == 0 {
            return Err(NoRequest::Gone);
        }
    }
    let body: Vec<u8> = ahead.drain(..length).collect();
    request.parameters = if request.method == "PUT" {
        pairs(&String::from_utf8_lossy(&body))
    } else {
        pairs(&query)
    };
    Ok(request)
}

/// The head without its empty line: the request, the length of the body, and the query.
fn parse(head: &str) -> Result<(Request, usize, String), NoRequest> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NoRequest::Bad("not a request"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(NoRequest::Bad("not HTTP/1"));
    }
    let fields: BTreeMap<String, &str> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    if fields.contains_key("transfer-encoding") {
        return Err(NoRequest::Bad("a body without its length"));
    }
    let length = match fields.get("content-length").map(|text| text.parse::<usize>()) {
        None => 0,
        Some(Ok(length)) if length <= LONGEST_BODY => length,
        Some(_) => return Err(NoRequest::Bad("impossible length")),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let wants = fields
        .get("connection")
        .map(|text| text.to_ascii_lowercase())
        .unwrap_or_default();
    let request = Request {
        method: method.into(),
        path: decoded(path),
        parameters: Vec::new(),
        accept: (*fields.get("accept").unwrap_or(&"")).into(),
        keeps: wants != "close" && (version == "HTTP/1.1" || wants == "keep-alive"),
    };
    Ok((request, length, query.into()))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Undoes the percent encoding of forms; what is no encoding stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], hex) {
            (_, Some(byte)) => {
                plain.push(byte);
                at += 3;
                continue;
            }
            (b'+', None) => plain.push(b' '),
            (byte, None) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Writes an answer.
pub async fn answer(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer, keeps: bool) -> io::Result<()> {
    let phrase = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    };
    let head = format!(
        "HTTP/1.1 {} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n",
        answer.status,
        answer.media,
        answer.body.len(),
        if keeps { "keep-alive" } else { "close" }
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&answer.body).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Request, NoRequest> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(request(&mut &bytes[..], &mut Vec::new()))
    }

    #[test]
    fn a_query_and_a_form_are_decoded() {
        let get = read(b"GET /a/b%20c?Name=Dew+Point%21&x HTTP/1.1\r\nAccept: text/plain\r\n\r\n").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            (get.method.as_str(), get.path.as_str(), get.keeps),
            ("GET", "/a/b c", true)
        );
        assert_eq!(get.parameters, [pair("Name", "Dew Point!"), pair("x", "")]);
        let put = read(b"PUT /a?y=2 HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nx=1").unwrap();
        assert_eq!((put.parameters, put.keeps), (vec![pair("x", "1")], false));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b"GET /\r\n\r\n"[..],
            b"GET / SPDY/3\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(
                matches!(read(bytes), Err(NoRequest::Bad(_))),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err(NoRequest::Gone));
        assert_eq!(
            read(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"),
            Err(NoRequest::Gone)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            drop(read(&bytes));
            drop(decoded(&text));
            drop(pairs(&text));
            drop(read(format!("GET /{text} HTTP/1.1\r\n{text}\r\n\r\n").as_bytes()));
        }
    }
}
