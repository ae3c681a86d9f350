use super::{Connecting, Connector, Stream};
use std::io;
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt};

/// A serial line or pseudo-terminal: 8 data bits, no parity, 1 stop bit, no flow control.
///
/// A line has no beginning: what its last user asked and did not wait for is still in it. That is thrown away when it is
/// opened, or every answer from then on would belong to the question before.
pub struct SerialConnector {
    pub path: String,
    pub baud: u32,
}

impl Connector for SerialConnector {
    fn connect(&self) -> Connecting<'_> {
        let opened = tokio_serial::new(&self.path, self.baud).open_native_async();
        let emptied = opened.and_then(|port| port.clear(ClearBuffer::Input).map(|()| port));
        let stream = emptied
            .map(|port| Box::new(port) as Box<dyn Stream>)
            .map_err(io::Error::from);
        Box::pin(std::future::ready(stream))
    }

    fn describe(&self) -> String {
        format!("serial {}", self.path)
    }
}
