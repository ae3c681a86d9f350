//! The archive in a bucket.
//!
//! A document is an object, written once: a small one only if there is none of its name, a large one in parts that
//! become an object together. It is read again before it counts. What has to be a local file is fetched, piece by
//! piece, and kept.

use super::{Archive, ArchiveError, S3Spec, check_name, s3_wire};
use crate::manifest;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};

/// Bytes that are sent or fetched at a time; S3 wants parts of at least 5 MiB.
const PIECE: usize = 8 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct S3Archive {
    store: AmazonS3,
    prefix: String,
    fetched: PathBuf,
}

impl S3Archive {
    pub fn open(spec: &S3Spec, fetched: &Path) -> Result<Self, String> {
        let place = format!("bucket {}", spec.bucket);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&spec.bucket)
            .with_region(&spec.region)
            .with_http_connector(s3_wire::Connector)
            .with_crypto_provider(Arc::new(s3_wire::Sums));
        let (key, secret) = credentials(spec).map_err(|why| format!("{place}: {why}"))?;
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        if let Some(endpoint) = &spec.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        }
        fs::create_dir_all(fetched).map_err(|e| format!("{}: {e}", fetched.display()))?;
        Ok(Self {
            store: builder.build().map_err(|e| format!("{place}: {e}"))?,
            prefix: spec.prefix.trim_matches('/').to_owned(),
            fetched: fetched.into(),
        })
    }

    fn key(&self, name: &str) -> Key {
        let parts = self.prefix.split('/').chain(name.split('/'));
        Key::from_iter(parts.filter(|part| !part.is_empty()))
    }

    /// Size of an object, if there is one.
    fn size(&self, runtime: &Runtime, key: &Key) -> Result<Option<u64>, Error> {
        match runtime.block_on(self.store.head(key)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands over every piece of an object, in order.
    fn read(&self, runtime: &Runtime, key: &Key, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        let Some(size) = self.size(runtime, key).map_err(io::Error::other)? else {
            return Ok(false);
        };
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE as u64);
            let piece = runtime.block_on(self.store.get_range(key, at..end));
            each(&piece.map_err(io::Error::other)?)?;
            at = end;
        }
        Ok(true)
    }

    fn sum(&self, runtime: &Runtime, key: &Key) -> io::Result<Option<String>> {
        let mut hash = Sha256::new();
        let there = self.read(runtime, key, &mut |piece| {
            hash.update(piece);
            Ok(())
        })?;
        Ok(there.then(|| manifest::hex(&hash.finalize())))
    }

    /// Sends a file whose sum is known already; false when another object got the name first.
    fn send(&self, runtime: &Runtime, key: &Key, from: &Path) -> io::Result<bool> {
        let mut file = File::open(from)?;
        let size = file.metadata()?.len();
        if size <= PIECE as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let put = self.store.put_opts(key, bytes.into(), PutMode::Create.into());
            return match runtime.block_on(put) {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
                Err(error) => Err(io::Error::other(error)),
            };
        }
        runtime.block_on(async {
            let mut upload = self.store.put_multipart(key).await.map_err(io::Error::other)?;
            let sent: io::Result<()> = async {
                loop {
                    let mut piece = Vec::with_capacity(PIECE);
                    (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
                    if piece.is_empty() {
                        return Ok(());
                    }
                    upload
                        .put_part(PutPayload::from(piece))
                        .await
                        .map_err(io::Error::other)?;
                }
            }
            .await;
            if let Err(cause) = sent {
                // Parts that are left behind cost money and show nowhere.
                let _ = upload.abort().await;
                return Err(cause);
            }
            upload.complete().await.map(|_| true).map_err(io::Error::other)
        })
    }
}

fn runtime(name: &str) -> Result<Runtime, ArchiveError> {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(super::io_error(name))
}

/// Access key and secret.
fn credentials(spec: &S3Spec) -> Result<(String, String), String> {
    let Some(path) = &spec.credentials_file else {
        let read = |name: &str| std::env::var(name).map_err(|_| format!("neither credentials_file nor {name} is set"));
        return Ok((read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?));
    };
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let find = |wanted: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let found = pairs
            .map(|(key, value)| (key.trim(), value.trim()))
            .find(|(key, _)| *key == wanted);
        found
            .map(|(_, value)| value.to_owned())
            .ok_or_else(|| format!("{}: {wanted} is missing", path.display()))
    };
    Ok((find("aws_access_key_id")?, find("aws_secret_access_key")?))
}

impl Archive for S3Archive {
    fn put(&self, name: &str, from: &Path, sha256: &str) -> Result<bool, ArchiveError> {
        check_name(name)?;
        let (runtime, key, failed) = (runtime(name)?, self.key(name), super::io_error(name));
        let mismatch = |found: String| ArchiveError::Mismatch {
            name: name.into(),
            expected: sha256.into(),
            found,
        };
        if let Some(found) = self.sum(&runtime, &key).map_err(&failed)? {
            return match found == sha256 {
                true => Ok(false),
                false => Err(ArchiveError::Exists(name.into())),
            };
        }
        let (found, _) = manifest::sha256_file(from, &mut |_| ()).map_err(&failed)?;
        if found != sha256 {
            return Err(mismatch(found));
        }
        let is_new = self.send(&runtime, &key, from).map_err(&failed)?;
        let kept = self.sum(&runtime, &key).map_err(&failed)?;
        match kept {
            Some(kept) if kept == sha256 => Ok(is_new),
            Some(_) if !is_new => Err(ArchiveError::Exists(name.into())),
            kept => {
                // What is not as it was sent must not be found by anybody.
                let _ = runtime.block_on(self.store.delete(&key));
                Err(mismatch(kept.unwrap_or_else(|| "nothing".into())))
            }
        }
    }

    fn check(&self, name: &str, sha256: &str) -> Result<bool, ArchiveError> {
        check_name(name)?;
        let found = self
            .sum(&runtime(name)?, &self.key(name))
            .map_err(super::io_error(name))?;
        Ok(found.is_some_and(|found| found == sha256))
    }

    fn path(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        let (group, file) = check_name(name)?;
        let (runtime, key, failed) = (runtime(name)?, self.key(name), super::io_error(name));
        let target = self.fetched.join(group).join(file);
        let size = self.size(&runtime, &key).map_err(io::Error::other).map_err(&failed)?;
        if size.is_some() && target.metadata().ok().map(|meta| meta.len()) == size {
            return Ok(target);
        }
        fs::create_dir_all(self.fetched.join(group)).map_err(&failed)?;
        let staged = self.fetched.join(format!(".{}-{file}", std::process::id()));
        let mut out = File::create(&staged).map_err(&failed)?;
        let there = self.read(&runtime, &key, &mut |piece| out.write_all(piece));
        if !there.map_err(&failed)? {
            let _ = fs::remove_file(&staged);
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        fs::rename(&staged, &target).map_err(&failed)?;
        Ok(target)
    }
}
