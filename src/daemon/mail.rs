//! Letters by SMTP.

use crate::settings::{MailSettings, read_secret};
use lettre::{Message, SmtpTransport, Transport, transport::smtp::authentication::Credentials};
use std::time::Duration;

/// Sends one letter; blocks.
pub fn send(mail: &MailSettings, to: &[String], subject: &str, body: String, timeout: Duration) -> Result<(), String> {
    let mut message = Message::builder()
        .from(mail.from.parse().map_err(|e| format!("from {:?}: {e}", mail.from))?)
        .subject(subject);
    for address in to {
        message = message.to(address.parse().map_err(|e| format!("to {address:?}: {e}"))?);
    }
    let message = message.body(body).map_err(|e| e.to_string())?;
    let builder = if mail.tls {
        SmtpTransport::starttls_relay(&mail.server).map_err(|e| e.to_string())?
    } else {
        SmtpTransport::builder_dangerous(&mail.server)
    };
    let mut builder = builder.port(mail.port).timeout(Some(timeout));
    if let (Some(user), Some(file)) = (&mail.user, &mail.password_file) {
        let password = read_secret(file).map_err(|e| e.to_string())?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    builder.build().send(&message).map(drop).map_err(|e| e.to_string())
}
