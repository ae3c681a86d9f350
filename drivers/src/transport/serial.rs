use super::{Connecting, Connector, Stream};
use tokio_serial::SerialPortBuilderExt;

/// A serial line or pseudo-terminal: 8 data bits, no parity, 1 stop bit, no flow control.
pub struct SerialConnector {
    pub path: String,
    pub baud: u32,
}

impl Connector for SerialConnector {
    fn connect(&self) -> Connecting<'_> {
        let opened = tokio_serial::new(&self.path, self.baud).open_native_async();
        let stream = opened
            .map(|port| Box::new(port) as Box<dyn Stream>)
            .map_err(std::io::Error::from);
        Box::pin(std::future::ready(stream))
    }

    fn describe(&self) -> String {
        format!("serial {}", self.path)
    }
}
