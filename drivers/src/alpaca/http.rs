//! As much of HTTP/1.1 (RFC 9112) as Alpaca needs: one question, one answer, over any byte stream.

use crate::wire::{Trouble, Wire};

/// More header lines are no answer of any device.
const MOST_HEADERS: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// Media type without its parameters, in small letters.
    pub media: String,
    pub body: Vec<u8>,
    /// The server takes another question on this connection.
    pub keeps: bool,
}

fn garbage(what: impl Into<String>) -> Trouble {
    Trouble::Garbage(what.into())
}

/// The status line: whether it is HTTP/1.1, and the code.
fn status(line: &str) -> Option<(bool, u16)> {
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?.parse().ok()?;
    match version {
        "HTTP/1.1" => Some((true, code)),
        "HTTP/1.0" => Some((false, code)),
        _ => None,
    }
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extent {
    Length(usize),
    Chunked,
}

/// Reads one answer whose body has up to `largest` bytes.
pub async fn reply(wire: &mut Wire, largest: usize) -> Result<Reply, Trouble> {
    loop {
        let line = wire.line(b'\n').await?;
        let (modern, code) = status(&line).ok_or_else(|| garbage(format!("status line {line:?}")))?;
        let (mut extent, mut media, mut keeps) = (None, String::new(), modern);
        for count in 0.. {
            let line = wire.line(b'\n').await?;
            if line.is_empty() {
                break;
            }
            if count == MOST_HEADERS {
                return Err(garbage("no end of the header"));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| garbage(format!("header line {line:?}")))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| garbage(format!("length {value:?}")))?;
                    extent = extent.or(Some(Extent::Length(length)));
                }
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => extent = Some(Extent::Chunked),
                "transfer-encoding" => return Err(garbage(format!("transfer encoding {value:?}"))),
                "content-type" => {
                    media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                }
                "connection" if value.eq_ignore_ascii_case("close") => keeps = false,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => keeps = true,
                _ => {}
            }
        }
        if (100..200).contains(&code) {
            continue;
        }
        let body = match extent {
            Some(Extent::Length(length)) if length <= largest => wire.exactly(length).await?,
            Some(Extent::Length(length)) => return Err(garbage(format!("an answer of {length} bytes"))),
            Some(Extent::Chunked) => chunks(wire, largest).await?,
            None if code == 204 => Vec::new(),
            None => return Err(garbage("an answer of unknown length")),
        };
        return Ok(Reply {
            status: code,
            media,
            body,
            keeps,
        });
    }
}

async fn chunks(wire: &mut Wire, largest: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    loop {
        let line = wire.line(b'\n').await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| garbage(format!("chunk size {line:?}")))?;
        if size == 0 {
            for _ in 0..MOST_HEADERS {
                if wire.line(b'\n').await?.is_empty() {
                    return Ok(body);
                }
            }
            return Err(garbage("no end of the trailer"));
        }
        if size > largest.saturating_sub(body.len()) {
            return Err(garbage("an answer that is too long"));
        }
        body.extend(wire.exactly(size).await?);
        if !wire.line(b'\n').await?.is_empty() {
            return Err(garbage("a chunk without its end"));
        }
    }
}

/// Percent-encodes what is not unreserved (RFC 3986, 2.3).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    fn read(bytes: &[u8]) -> Result<Reply, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(bytes.len().max(1));
            far.write_all(bytes).await.unwrap();
            drop(far);
            reply(&mut Wire::new(Box::new(near)), 1 << 16).await
        })
    }

    #[test]
    fn an_answer_is_read_by_its_length_or_in_chunks() {
        let plain = read(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 4\r\n\r\n{\"a\"rest",
        );
        let plain = plain.unwrap();
        assert_eq!(
            (plain.status, plain.media.as_str(), plain.keeps),
            (200, "application/json", true)
        );
        assert_eq!(plain.body, b"{\"a\"");
        let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let chunked = read(chunked).unwrap();
        assert_eq!(
            (chunked.status, chunked.keeps, chunked.body.as_slice()),
            (500, false, &b"abcde"[..])
        );
        assert!(!read(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap().keeps);
    }

    #[test]
    fn half_oversized_and_foreign_answers_are_refused() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nno length",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"",
        ] {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_reserved_is_encoded() {
        assert_eq!(encoded("Dew Point&x=ä"), "Dew%20Point%26x%3D%C3%A4");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in "HTTP/1.[01] [0-9]{1,4} [ -~\r\n]{0,200}", body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&[head.as_bytes(), &body].concat()));
            drop(read(&body));
        }
    }
}
