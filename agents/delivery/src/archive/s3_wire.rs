//! What the object store's client leaves open: HTTP by `ureq`, which this house has anyway, and sums by `sha2`.
//!
//! The archive's calls are blocking, each on a runtime of its own with one task, so a request may block there too.

use http_body_util::BodyExt;
use object_store::{
    ClientOptions, Result,
    client::{
        CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, HttpClient, HttpConnector, HttpError,
        HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, Signer, SigningAlgorithm,
    },
};
use sha2::{Digest, Sha256};
use std::{fmt, future::Future, pin::Pin, time::Duration};
use ureq::{
    Agent,
    http::{Method, Request, Response},
    tls::{TlsConfig, TlsProvider},
};

/// A request that takes longer has failed; the client tries again.
const DEADLINE: Duration = Duration::from_secs(300);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer, bytes: a piece, with room for lists and errors.
const ANSWER_LIMIT: u64 = 64 << 20;

/// Makes clients on `ureq`.
#[derive(Debug)]
pub struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_global(Some(DEADLINE))
            .tls_config(tls.build())
            .build();
        Ok(HttpClient::new(Wire(Agent::new_with_config(config))))
    }
}

struct Wire(Agent);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ureq")
    }
}

fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

impl Wire {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes().to_vec();
        let without_body = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) && bytes.is_empty();
        let answer = if without_body {
            self.0.run(Request::from_parts(parts, ()))
        } else {
            self.0.run(Request::from_parts(parts, bytes))
        };
        let (parts, mut body) = answer.map_err(failed)?.into_parts();
        let bytes = body.with_config().limit(ANSWER_LIMIT).read_to_vec().map_err(failed)?;
        Ok(Response::from_parts(parts, HttpResponseBody::from(bytes)))
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Wire {
    fn call<'life0, 'async_trait>(&'life0 self, request: HttpRequest) -> Answer<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.answer(request))
    }
}

/// SHA-256 and its HMAC (FIPS 180-4, RFC 2104).
#[derive(Debug)]
pub struct Sums;

#[derive(Default)]
struct Sum {
    hash: Sha256,
    out: Vec<u8>,
}

struct Hmac {
    inner: Sha256,
    /// The key under the outer padding.
    outer: [u8; BLOCK],
    out: Vec<u8>,
}

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;

impl CryptoProvider for Sums {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Sum::default())),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Hmac::keyed(secret))),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(unknown(&format!("{algorithm:?}")))
    }
}

fn unknown(algorithm: &str) -> object_store::Error {
    object_store::Error::NotSupported {
        source: format!("{algorithm} is not needed by this archive").into(),
    }
}

impl DigestContext for Sum {
    fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.out = self.hash.finalize_reset().to_vec();
        Ok(&self.out)
    }
}

impl Hmac {
    fn keyed(secret: &[u8]) -> Self {
        let mut key = [0; BLOCK];
        if secret.len() > BLOCK {
            key[..32].copy_from_slice(&Sha256::digest(secret));
        } else {
            key[..secret.len()].copy_from_slice(secret);
        }
        let mut inner = Sha256::new();
        inner.update(key.map(|byte| byte ^ 0x36));
        Self {
            inner,
            outer: key.map(|byte| byte ^ 0x5c),
            out: Vec::new(),
        }
    }
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        let inner = self.inner.finalize_reset();
        let outer = Sha256::new().chain_update(self.outer).chain_update(inner);
        self.out = outer.finalize().to_vec();
        Ok(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyed_sum_is_that_of_the_standards_examples() {
        // RFC 4231, test cases 2 and 6 (a key longer than a block).
        let long = [0xaa; 131];
        for (key, text, expected) in [
            (
                &b"Jefe"[..],
                &b"what do ya want for nothing?"[..],
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &long[..],
                &b"Test Using Larger Than Block-Size Key - Hash Key First"[..],
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let mut keyed = Sums.hmac(DigestAlgorithm::Sha256, key).unwrap();
            keyed.update(text);
            assert_eq!(crate::manifest::hex(keyed.finish().unwrap()), expected);
        }
    }
}
