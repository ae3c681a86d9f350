//! `alidade user --server URL`: accounts of a running daemon, by a token with the scope that each deed needs.

use super::{
    CliError,
    remote::{Remote, only_here, part},
    user::{TokenCommand, UserCommand, line},
};
use serde_json::{Value, json};

fn deed(remote: &Remote, account: &str, what: &str, body: &Value) -> Result<Value, CliError> {
    remote.post(&format!("/api/v1/accounts/{}/{what}", part(account)), body)
}

fn accounts(remote: &Remote) -> Result<Vec<Value>, CliError> {
    let told = remote.get("/api/v1/accounts")?;
    Ok(told["accounts"].as_array().cloned().unwrap_or_default())
}

fn one(remote: &Remote, account: &str) -> Result<Value, CliError> {
    let mut all = accounts(remote)?.into_iter();
    all.find(|known| known["id"] == account)
        .ok_or_else(|| CliError::failed(format!("there is no account {account}")))
}

/// Asks the daemon: the document, what is said of it, and the exit code.
pub fn run(command: &UserCommand, remote: &Remote) -> Result<(Value, String, u8), CliError> {
    let (document, said) = match command {
        UserCommand::List => {
            let all = accounts(remote)?;
            let said = all.iter().map(line).collect::<Vec<_>>().join("\n");
            (json!({ "accounts": all }), said)
        }
        UserCommand::Show { account } => {
            let known = one(remote, account)?;
            let said = line(&known);
            (json!({ "account": known }), said)
        }
        UserCommand::Add { .. } => {
            return Err(only_here(
                "user add",
                "people sign up on the page /account; then let them in with user validate",
            ));
        }
        UserCommand::Validate { account, role } => {
            let made = deed(remote, account, "validate", &json!({ "role": role.name() }))?;
            (made, format!("{account} is let in"))
        }
        UserCommand::Refuse { account } => {
            deed(remote, account, "refuse", &json!({}))?;
            (
                json!({ "account": account, "state": "refused" }),
                format!("{account} is refused"),
            )
        }
        UserCommand::Role { account, role } => {
            let made = deed(remote, account, "role", &json!({ "role": role.name() }))?;
            (made, format!("{account} is {role} now"))
        }
        UserCommand::Grant {
            account,
            hours,
            institute,
        } => {
            let institute = match institute {
                Some(institute) => institute.clone(),
                None => one(remote, account)?["institute"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            };
            let path = format!("/api/v1/quotas/{}", part(account));
            let answer = remote.post(&path, &json!({ "institute": institute, "hours": hours }))?;
            (answer, format!("{hours} hours granted to {account}"))
        }
        UserCommand::Disable { account } => (
            deed(remote, account, "disable", &json!({}))?,
            format!("{account} is disabled"),
        ),
        UserCommand::Enable { account } => (
            deed(remote, account, "enable", &json!({}))?,
            format!("{account} is enabled"),
        ),
        UserCommand::Password { account } => {
            let told = deed(remote, account, "code", &json!({}))?;
            let code = told["code"].as_str().unwrap_or_default();
            let said = format!("the password of {account} is set on /account with the code {code}, within an hour");
            (json!({ "account": account, "code": code }), said)
        }
        UserCommand::Token { command } => token(command, remote)?,
        UserCommand::Audit { after } => return audit(remote, *after),
    };
    Ok((document, said, 0))
}

/// Only one's own tokens: nobody sees another's from outside.
fn token(command: &TokenCommand, remote: &Remote) -> Result<(Value, String), CliError> {
    let me = || remote.get("/api/v1/me");
    let only_own = |me: &Value, account: &str| {
        let own = me["account"]["id"] == account;
        let instead = "by --server one sees and revokes the tokens of one's own account";
        if own {
            Ok(())
        } else {
            Err(only_here("another account's token", instead))
        }
    };
    Ok(match command {
        TokenCommand::Issue { .. } => {
            return Err(only_here(
                "user token issue",
                "its owner makes it on the page /account, logged in",
            ));
        }
        TokenCommand::List { account } => {
            let me = me()?;
            if let Some(account) = account {
                only_own(&me, account)?;
            }
            let all = me["tokens"].as_array().cloned().unwrap_or_default();
            let said: Vec<String> = all
                .iter()
                .map(|token| {
                    let scopes: Vec<&str> = token["scopes"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .collect();
                    let word = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
                    format!(
                        "{:<20} {:<20} until {}: {}",
                        word("account"),
                        word("name"),
                        word("expires_at"),
                        scopes.join(", ")
                    )
                })
                .collect();
            (json!({ "tokens": all }), said.join("\n"))
        }
        TokenCommand::Revoke { account, name } => {
            only_own(&me()?, account)?;
            remote.delete(&format!("/api/v1/me/tokens/{}", part(name)))?;
            (
                json!({ "account": account, "revoked": name }),
                format!("token {name} of {account} is revoked"),
            )
        }
    })
}

fn audit(remote: &Remote, after: i64) -> Result<(Value, String, u8), CliError> {
    let (mut lines, mut from) = (Vec::new(), Some(after.max(0)));
    let mut last = Value::Null;
    while let Some(after) = from {
        last = remote.get(&format!("/api/v1/audit?limit=1000&after={after}&whole=true"))?;
        lines.extend(last["lines"].as_array().cloned().unwrap_or_default());
        from = last["next_after"].as_i64();
    }
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let mut said: Vec<String> = lines
        .iter()
        .map(|line| {
            let [at, who, address, action, subject, outcome] =
                ["at", "who", "address", "action", "subject", "outcome"].map(|key| word(line, key));
            format!(
                "{:>6} {at} {who} from {address}: {action} {subject}: {outcome}",
                line["seq"]
            )
        })
        .collect();
    let forged = last["first_forged"].clone();
    said.push(match forged.as_i64() {
        Some(line) => format!("line {line} is not what was written"),
        None => format!("{} lines, chain whole", last["whole_up_to"]),
    });
    let code = u8::from(!forged.is_null());
    Ok((json!({ "lines": lines, "first_forged": forged }), said.join("\n"), code))
}
