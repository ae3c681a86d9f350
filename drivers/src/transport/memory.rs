use super::{Connecting, Connector, Stream};
use std::io;

/// Opens an in-memory stream whose other end is handed to a simulator.
pub struct MemoryConnector {
    open: Box<dyn Fn() -> io::Result<Box<dyn Stream>>>,
}

impl MemoryConnector {
    pub fn new(open: impl Fn() -> io::Result<Box<dyn Stream>> + 'static) -> Self {
        Self { open: Box::new(open) }
    }
}

impl Connector for MemoryConnector {
    fn connect(&self) -> Connecting<'_> {
        let stream = (self.open)();
        Box::pin(std::future::ready(stream))
    }

    fn describe(&self) -> String {
        "in memory".into()
    }
}
