use super::{Connecting, Connector, Stream};
use tokio::net::TcpStream;

/// A device or terminal server behind TCP.
pub struct TcpConnector {
    pub host: String,
    pub port: u16,
}

impl Connector for TcpConnector {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async move {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            // Commands are short lines: waiting for more bytes to fill a packet would cost 40 ms each.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn describe(&self) -> String {
        format!("tcp {}:{}", self.host, self.port)
    }
}
