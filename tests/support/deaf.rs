//! Those who are told something and do not listen.

use std::{
    io::{ErrorKind, Write as _},
    os::{fd::OwnedFd, unix::net::UnixDatagram, unix::net::UnixStream},
    path::Path,
    process::Stdio,
};

/// A stream whose reader has gone: whoever writes has a broken pipe.
pub fn gone() -> Stdio {
    let (ours, _) = UnixStream::pair().unwrap();
    OwnedFd::from(ours).into()
}

/// A stream whose reader does not read, and which is full: whoever writes waits. The reader is there as long as what is
/// returned with it.
pub fn full() -> (Stdio, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let stopped = std::iter::repeat_with(|| ours.write_all(&[b'.'; 4096])).find_map(Result::err);
    assert_eq!(stopped.unwrap().kind(), ErrorKind::WouldBlock);
    ours.set_nonblocking(false).unwrap();
    (OwnedFd::from(ours).into(), theirs)
}

/// A service supervisor's socket that is not read, and which is full.
pub fn supervisor(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    fill(path);
    socket
}

/// Says so much to a supervisor that it takes no more.
pub fn fill(path: &Path) {
    let from = UnixDatagram::unbound().unwrap();
    from.set_nonblocking(true).unwrap();
    let stopped = std::iter::repeat_with(|| from.send_to(b"STATUS=", path)).find_map(Result::err);
    assert_eq!(stopped.unwrap().kind(), ErrorKind::WouldBlock);
}
