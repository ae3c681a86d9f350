//! `alidade user`: accounts, roles, tokens, the audit; and observing time.
//!
//! Works on the database that the configuration names, so it also works when the daemon does not, by whoever may read the
//! configuration on this machine; with `--server` it asks that daemon. Observing time is the daemon's ledger: granting it asks the running daemon.

use super::{
    CliError,
    remote::{DaemonArgs, Remote},
    user_elsewhere,
};
use crate::{
    clock::utc_now,
    settings::Settings,
    store::{Durability, OpenOptions, Store, StoreError},
};
use alidade_accounts::{
    Account, Desk, Permission, Refused, Register, Role,
    desk::{By, Profile},
    record::AuditLine,
};
use alidade_model::time::UtcTime;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, clap::Args)]
pub struct UserArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum UserCommand {
    /// All accounts, those that wait first
    List,
    /// One account with its sessions and tokens
    Show {
        account: String,
    },
    /// Make an account; prints the code by which its owner sets the password
    Add {
        account: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        email: String,
        #[arg(long)]
        institute: String,
        #[arg(long, default_value = "observer")]
        role: Role,
    },
    /// Let an account in that has signed up
    Validate {
        account: String,
        #[arg(long, default_value = "observer")]
        role: Role,
    },
    /// Remove an account that has signed up
    Refuse {
        account: String,
    },
    /// Change the role of an account
    Role {
        account: String,
        role: Role,
    },
    /// Grant observing time; asks the running daemon
    Grant {
        account: String,
        #[arg(long)]
        hours: f64,
        /// Institute, for an account that the ledger does not know yet; else that of the account
        #[arg(long)]
        institute: Option<String>,
    },
    /// Disable an account: its sessions and tokens end at once
    Disable {
        account: String,
    },
    Enable {
        account: String,
    },
    /// A code by which the owner sets a new password
    Password {
        account: String,
    },
    /// Tokens of machines
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// What was done to accounts; fails if a line is not what was written
    Audit {
        /// Lines above this number
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed this once
    Issue {
        account: String,
        name: String,
        /// What it may do: read, submit, operate ...
        #[arg(long = "scope", required = true)]
        scopes: Vec<Permission>,
        #[arg(long, default_value_t = 90)]
        days: u32,
    },
    /// Tokens of one account, or of all
    List {
        account: Option<String>,
    },
    Revoke {
        account: String,
        name: String,
    },
}

fn refused(refused: Refused) -> CliError {
    match refused {
        Refused::Bad { .. } | Refused::Weak(_) => CliError::bad_input(refused.to_string()),
        other => CliError::failed(other.to_string()),
    }
}

fn unread(error: StoreError) -> CliError {
    CliError::failed(error.to_string())
}

fn open(args: &UserArgs) -> Result<Desk<Store>, CliError> {
    let settings = Settings::load(&args.daemon.config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Durable,
    };
    let store = Store::open(&settings.database.url, options).map_err(|e| CliError::bad_input(e.to_string()))?;
    Ok(Desk::new(store))
}

/// Runs the command; 0, or 1 when the audit is broken.
pub fn run(args: &UserArgs, out: &mut impl Write) -> Result<u8, CliError> {
    let person = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let who = format!("{} at the machine", person.unwrap_or_else(|_| "somebody".into()));
    let by = By {
        who: &who,
        address: "command line",
        now: UtcTime::new(utc_now()),
    };
    if let Some(remote) = args.daemon.elsewhere()? {
        let (document, said, code) = user_elsewhere::run(&args.command, &remote)?;
        let text = if args.json { document.to_string() } else { said };
        writeln!(out, "{text}").map_err(|e| CliError::failed(e.to_string()))?;
        return Ok(code);
    }
    let mut code = 0;
    let (document, said) = match &args.command {
        UserCommand::List => list(&mut open(args)?)?,
        UserCommand::Show { account } => show(&mut open(args)?, account)?,
        UserCommand::Add {
            account,
            name,
            email,
            institute,
            role,
        } => {
            let profile = Profile {
                account: account.clone(),
                name: name.clone(),
                email: email.clone(),
                institute: institute.clone(),
            };
            let (made, code) = open(args)?.add(&profile, *role, by).map_err(refused)?;
            let said = format!(
                "{} is {role}; the password is set on /account with the code {code}, within an hour",
                made.id
            );
            (json!({ "account": made, "code": code }), said)
        }
        UserCommand::Validate { account, role } => {
            let (made, _) = open(args)?.validate(account, *role, by).map_err(refused)?;
            changed(&made, "is let in")
        }
        UserCommand::Refuse { account } => {
            open(args)?.refuse(account, by).map_err(refused)?;
            (
                json!({ "account": account, "state": "refused" }),
                format!("{account} is refused"),
            )
        }
        UserCommand::Role { account, role } => {
            let made = open(args)?.set_role(account, *role, by).map_err(refused)?;
            changed(&made, &format!("is {role} now"))
        }
        UserCommand::Grant {
            account,
            hours,
            institute,
        } => grant(args, account, *hours, institute.as_deref())?,
        UserCommand::Disable { account } => {
            let made = open(args)?.set_disabled(account, true, by).map_err(refused)?;
            changed(&made, "is disabled")
        }
        UserCommand::Enable { account } => {
            let made = open(args)?.set_disabled(account, false, by).map_err(refused)?;
            changed(&made, "is enabled")
        }
        UserCommand::Password { account } => {
            let code = open(args)?.new_password_code(account, by).map_err(refused)?;
            let said = format!("the password of {account} is set on /account with the code {code}, within an hour");
            (json!({ "account": account, "code": code }), said)
        }
        UserCommand::Token { command } => token(&mut open(args)?, command, by)?,
        UserCommand::Audit { after } => {
            let all = open(args)?.register().audit(0, usize::MAX).map_err(unread)?;
            let forged = AuditLine::first_forged(&all);
            code = u8::from(forged.is_some());
            let lines: Vec<&AuditLine> = all.iter().filter(|line| line.seq > *after).collect();
            let mut said: Vec<String> = lines
                .iter()
                .map(|AuditLine { seq, deed, .. }| {
                    format!(
                        "{seq:>6} {} {} from {}: {} {}: {}",
                        deed.at, deed.who, deed.address, deed.action, deed.subject, deed.outcome
                    )
                })
                .collect();
            said.push(match forged {
                Some(line) => format!("line {line} is not what was written"),
                None => format!("{} lines, chain whole", all.len()),
            });
            (json!({ "lines": lines, "first_forged": forged }), said.join("\n"))
        }
    };
    let text = if args.json { document.to_string() } else { said };
    writeln!(out, "{text}").map_err(|e| CliError::failed(e.to_string()))?;
    Ok(code)
}

fn changed(account: &Account, words: &str) -> (Value, String) {
    (json!(account), format!("{} {words}", account.id))
}

/// An account in one line, from its document.
pub fn line(account: &Value) -> String {
    let word = |key: &str| account[key].as_str().unwrap_or_default();
    format!(
        "{:<20} {:<9} {:<13} {} <{}>, {}",
        word("id"),
        word("state"),
        word("role"),
        word("name"),
        word("email"),
        word("institute")
    )
}

fn list(desk: &mut Desk<Store>) -> Result<(Value, String), CliError> {
    let mut all = desk.register().accounts().map_err(unread)?;
    all.sort_by_key(|account| {
        (
            account.state != alidade_accounts::AccountState::Waiting,
            account.id.clone(),
        )
    });
    let said = match all.is_empty() {
        true => "no accounts yet; the daemon's log has the code for the first administrator".to_owned(),
        false => all.iter().map(|one| line(&json!(one))).collect::<Vec<_>>().join("\n"),
    };
    Ok((json!({ "accounts": all }), said))
}

fn show(desk: &mut Desk<Store>, id: &str) -> Result<(Value, String), CliError> {
    let account = desk.register().account(id).map_err(unread)?;
    let account = account.ok_or_else(|| refused(Refused::NoAccount(id.to_owned())))?;
    let sessions = desk.register().sessions(id).map_err(unread)?;
    let tokens = desk.register().tokens(Some(id)).map_err(unread)?;
    let mut said = vec![line(&json!(account))];
    said.extend(sessions.iter().map(|s| {
        format!(
            "  logged in from {} since {}, last seen {}",
            s.address, s.created_at, s.seen_at
        )
    }));
    said.extend(
        tokens
            .iter()
            .map(|t| format!("  token {} until {}: {}", t.name, t.expires_at, scopes(t))),
    );
    let document = json!({ "account": account, "sessions": sessions, "tokens": tokens });
    Ok((document, said.join("\n")))
}

fn scopes(token: &alidade_accounts::record::Token) -> String {
    token
        .scopes
        .iter()
        .map(|scope| scope.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn token(desk: &mut Desk<Store>, command: &TokenCommand, by: By<'_>) -> Result<(Value, String), CliError> {
    Ok(match command {
        TokenCommand::Issue {
            account,
            name,
            scopes,
            days,
        } => {
            let scopes = scopes.iter().copied().collect();
            let (secret, token) = desk.issue_token(account, name, scopes, *days, by).map_err(refused)?;
            (json!({ "secret": secret, "token": token }), secret)
        }
        TokenCommand::List { account } => {
            let all = desk.register().tokens(account.as_deref()).map_err(unread)?;
            let said: Vec<String> = all
                .iter()
                .map(|t| format!("{:<20} {:<20} until {}: {}", t.account, t.name, t.expires_at, scopes(t)))
                .collect();
            (json!({ "tokens": all }), said.join("\n"))
        }
        TokenCommand::Revoke { account, name } => {
            desk.revoke_token(account, name, by).map_err(refused)?;
            (
                json!({ "account": account, "revoked": name }),
                format!("token {name} of {account} is revoked"),
            )
        }
    })
}

fn grant(args: &UserArgs, account: &str, hours: f64, institute: Option<&str>) -> Result<(Value, String), CliError> {
    let institute = match institute {
        Some(institute) => institute.to_owned(),
        None => {
            let known = open(args)?.register().account(account).map_err(unread)?;
            let known = known
                .ok_or_else(|| CliError::bad_input(format!("there is no account {account}: say its --institute")))?;
            known.institute
        }
    };
    let path = format!("/api/v1/quotas/{account}");
    let answer = Remote::of(&args.daemon)?.post(&path, &json!({ "institute": institute, "hours": hours }))?;
    Ok((answer, format!("{hours} hours granted to {account}")))
}
