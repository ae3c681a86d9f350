//! People, the page and the feed.

use super::Faults;
use crate::settings::Settings;

pub(super) fn accounts(settings: &Settings, faults: &mut Faults) {
    let accounts = &settings.accounts;
    if let Some(address) = &accounts.address
        && !address.starts_with("https://")
        && !address.starts_with("http://")
    {
        faults.add("accounts.address", "does not start with https:// or http://");
    }
    if let Some(mail) = &accounts.mail {
        faults.filled("accounts.mail.server", &mail.server);
        faults.filled("accounts.mail.from", &mail.from);
        if mail.user.is_some() != mail.password_file.is_some() {
            faults.add("accounts.mail.user", "user and password_file go together");
        }
    }
}

pub(super) fn outside(settings: &Settings, faults: &mut Faults) {
    let url = &settings.database.url;
    let known = ["sqlite://", "postgres://", "postgresql://"];
    if !known
        .iter()
        .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
    {
        faults.add(
            "database.url",
            format!("{url:?} is not sqlite://PATH or postgres://USER@HOST/NAME"),
        );
    }
    let password = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    if password.is_some_and(|(user, _)| user.contains(':')) {
        faults.add(
            "database.url",
            "holds a password; name a service, use peer authentication or PGPASSFILE",
        );
    }
    if settings.storage.data_dir.as_os_str().is_empty() {
        faults.add("storage.data_dir", "is empty");
    }
    if settings.storage.package_executors.is_empty() {
        faults.add(
            "storage.package_executors",
            "is empty: packages need something to run them",
        );
    }
    for name in &settings.storage.package_executors {
        if !["process", "bubblewrap", "slurm"].contains(&name.as_str()) {
            faults.add(
                "storage.package_executors",
                format!("{name:?} is none of bubblewrap, slurm and process"),
            );
        }
    }
    let mqtt = &settings.mqtt;
    faults.filled("mqtt.host", &mqtt.host);
    faults.whole("mqtt.port", u64::from(mqtt.port), 1, 65_535);
    faults.whole("mqtt.keep_alive_s", mqtt.keep_alive_s, 2, 600);
    if mqtt.password_file.is_some() && mqtt.username.is_none() {
        faults.add("mqtt.password_file", "there is a password but no username");
    }
}
