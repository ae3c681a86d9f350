use super::{Connecting, Connector, Stream};
use std::path::PathBuf;
use tokio::net::UnixStream;

/// A socket of this machine: the guard.
pub struct UnixConnector {
    pub path: PathBuf,
}

impl Connector for UnixConnector {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async move { Ok(Box::new(UnixStream::connect(&self.path).await?) as Box<dyn Stream>) })
    }

    fn describe(&self) -> String {
        format!("unix {}", self.path.display())
    }
}
