//! The accounts of the running daemon.

use super::mail;
use crate::{
    error::CliError,
    gateway::people::{People, Post},
    log,
    settings::{Reading, Settings},
};
use std::{sync::Arc, time::Duration};

/// Longest time that a letter may take.
const LETTER_S: Duration = Duration::from_secs(20);

/// Opens the accounts. As long as there is no administrator, a code for the first one is in the log.
pub fn open(settings: &Settings) -> Result<Arc<People>, CliError> {
    let accounts = &settings.accounts;
    let post = accounts.mail.clone().map(|server| {
        let site = settings.site.title.clone();
        Arc::new(move |letter: &alidade_accounts::desk::Letter| {
            let subject = format!("[{site}] {}", letter.subject);
            mail::send(
                &server,
                std::slice::from_ref(&letter.to),
                &subject,
                letter.body.clone(),
                LETTER_S,
            )
        }) as Post
    });
    let members_only = accounts.reading == Reading::Members;
    let people = People::open(&settings.database.url, post, accounts.address.clone(), members_only)
        .map_err(|e| CliError::bad_input(e.to_string()))?;
    let code = people
        .at_the_counter(|desk, now| desk.first_code(now))
        .map_err(|e| CliError::failed(e.to_string()))?;
    if let Some(code) = code {
        let at = accounts
            .address
            .clone()
            .unwrap_or_else(|| format!("http://{}", settings.http.listen));
        log::say(format_args!(
            "there is no administrator yet: make the first one on {at}/account with the code {code}"
        ));
    }
    Ok(Arc::new(people))
}
