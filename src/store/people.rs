//! Accounts, sessions, tokens, codes and their audit: what `alidade_accounts` keeps.
//!
//! Not part of the journal: what people do to the observatory is there, who they are is here.

use super::{
    ReadError, Store, StoreError,
    connection::{AnyConnection, in_transaction, on_either},
    rows::{naive, utc},
    schema::*,
};
use alidade_accounts::{
    Account, AccountState, Change, Permission, Register, Role,
    record::{AuditLine, Code, Deed, Purpose, Session, Token},
};
use chrono::NaiveDateTime;
use diesel::{connection::SimpleConnection, prelude::*};
use std::{collections::BTreeSet, fmt::Display, str::FromStr};

#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = accounts, treat_none_as_null = true)]
struct AccountRow {
    id: String,
    name: String,
    email: String,
    institute: String,
    role: String,
    state: String,
    password: Option<String>,
    created_at: NaiveDateTime,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    digest: String,
    account_id: String,
    created_at: NaiveDateTime,
    seen_at: NaiveDateTime,
    address: String,
    agent: String,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = api_tokens)]
struct TokenRow {
    digest: String,
    name: String,
    account_id: String,
    scopes: String,
    created_at: NaiveDateTime,
    expires_at: NaiveDateTime,
    used_at: Option<NaiveDateTime>,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = one_time_codes)]
struct CodeRow {
    digest: String,
    purpose: String,
    account_id: String,
    expires_at: NaiveDateTime,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = audit)]
struct AuditRow {
    seq: i64,
    at: NaiveDateTime,
    who: String,
    address: String,
    action: String,
    subject: String,
    outcome: String,
    digest: String,
}

fn garbled(table: &'static str) -> impl Fn(String) -> ReadError {
    move |cause| ReadError::Garbled(table, cause)
}

fn word<T: FromStr>(table: &'static str, text: &str) -> Result<T, ReadError>
where
    T::Err: Display,
{
    text.parse::<T>().map_err(|e| ReadError::Garbled(table, e.to_string()))
}

impl From<&Account> for AccountRow {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.clone(),
            name: account.name.clone(),
            email: account.email.clone(),
            institute: account.institute.clone(),
            role: account.role.name().into(),
            state: account.state.name().into(),
            password: account.password.clone(),
            created_at: naive(account.created_at),
        }
    }
}

impl AccountRow {
    fn read(self) -> Result<Account, ReadError> {
        let state = AccountState::ALL.iter().find(|state| state.name() == self.state);
        Ok(Account {
            role: word::<Role>("accounts", &self.role)?,
            state: *state.ok_or_else(|| garbled("accounts")(format!("state {}", self.state)))?,
            id: self.id,
            name: self.name,
            email: self.email,
            institute: self.institute,
            password: self.password,
            created_at: utc(self.created_at),
        })
    }
}

impl SessionRow {
    fn read(self) -> Session {
        Session {
            digest: self.digest,
            account: self.account_id,
            created_at: utc(self.created_at),
            seen_at: utc(self.seen_at),
            address: self.address,
            agent: self.agent,
        }
    }
}

impl TokenRow {
    fn read(self) -> Result<Token, ReadError> {
        let scopes: Result<BTreeSet<Permission>, _> = self
            .scopes
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(|s| word("api_tokens", s))
            .collect();
        Ok(Token {
            scopes: scopes?,
            digest: self.digest,
            name: self.name,
            account: self.account_id,
            created_at: utc(self.created_at),
            expires_at: utc(self.expires_at),
            used_at: self.used_at.map(utc),
        })
    }
}

impl CodeRow {
    fn read(self) -> Result<Code, ReadError> {
        let purpose = Purpose::ALL.iter().find(|purpose| purpose.name() == self.purpose);
        Ok(Code {
            purpose: *purpose.ok_or_else(|| garbled("one_time_codes")(format!("purpose {}", self.purpose)))?,
            digest: self.digest,
            account: self.account_id,
            expires_at: utc(self.expires_at),
        })
    }
}

impl AuditRow {
    fn read(self) -> AuditLine {
        AuditLine {
            seq: self.seq,
            deed: Deed {
                at: utc(self.at),
                who: self.who,
                address: self.address,
                action: self.action,
                subject: self.subject,
                outcome: self.outcome,
            },
            digest: self.digest,
        }
    }
}

/// Why a transaction of changes ends: a place was taken, or the database.
enum Unapplied {
    Taken,
    Read(ReadError),
}

impl From<diesel::result::Error> for Unapplied {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error};
        match error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Taken,
            other => Self::Read(other.into()),
        }
    }
}

/// PostgreSQL's text cannot hold the NUL character.
fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn change(c: &mut AnyConnection, change: &Change) -> Result<(), Unapplied> {
    let changed = match change {
        Change::Create(account) => {
            on_either!(c, c => diesel::insert_into(accounts::table).values(AccountRow::from(account)).execute(c)?)
        }
        Change::Update(account) => on_either!(c, c => diesel::update(accounts::table.find(&account.id))
            .set(AccountRow::from(account))
            .execute(c)?),
        Change::Remove(id) => diesel::delete(accounts::table.find(id)).execute(c)?,
        Change::Begin(session) => {
            let row = SessionRow {
                digest: session.digest.clone(),
                account_id: session.account.clone(),
                created_at: naive(session.created_at),
                seen_at: naive(session.seen_at),
                address: text(&session.address),
                agent: text(&session.agent),
            };
            let over = naive(session.created_at.plus_seconds(-alidade_accounts::desk::SESSION_S));
            diesel::delete(sessions::table.filter(sessions::created_at.lt(over))).execute(c)?;
            on_either!(c, c => diesel::insert_into(sessions::table).values(row).execute(c)?)
        }
        Change::Seen { session, at } => {
            let seen = sessions::seen_at.eq(naive(*at));
            diesel::update(sessions::table.find(session)).set(seen).execute(c)?;
            1
        }
        Change::End(digest) => {
            diesel::delete(sessions::table.find(digest)).execute(c)?;
            1
        }
        Change::EndAll { account, but } => {
            let kept = but.clone().unwrap_or_default();
            let others = sessions::table
                .filter(sessions::account_id.eq(account))
                .filter(sessions::digest.ne(kept));
            diesel::delete(others).execute(c)?;
            1
        }
        Change::Give(code) => {
            // A new code takes the place of the one before it.
            let before = one_time_codes::table
                .filter(one_time_codes::purpose.eq(code.purpose.name()))
                .filter(one_time_codes::account_id.eq(&code.account));
            diesel::delete(before).execute(c)?;
            let row = CodeRow {
                digest: code.digest.clone(),
                purpose: code.purpose.name().into(),
                account_id: code.account.clone(),
                expires_at: naive(code.expires_at),
            };
            on_either!(c, c => diesel::insert_into(one_time_codes::table).values(row).execute(c)?)
        }
        Change::Take(digest) => diesel::delete(one_time_codes::table.find(digest)).execute(c)?,
        Change::Issue(token) => {
            let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
            let row = TokenRow {
                digest: token.digest.clone(),
                name: token.name.clone(),
                account_id: token.account.clone(),
                scopes: scopes.join(" "),
                created_at: naive(token.created_at),
                expires_at: naive(token.expires_at),
                used_at: None,
            };
            on_either!(c, c => diesel::insert_into(api_tokens::table).values(row).execute(c)?)
        }
        Change::Used { token, at } => {
            let used = api_tokens::used_at.eq(naive(*at));
            diesel::update(api_tokens::table.find(token)).set(used).execute(c)?;
            1
        }
        Change::Revoke { account, name } => {
            let those = api_tokens::table
                .filter(api_tokens::account_id.eq(account))
                .filter(api_tokens::name.eq(name));
            diesel::delete(those).execute(c)?
        }
        Change::RevokeAll(account) => {
            diesel::delete(api_tokens::table.filter(api_tokens::account_id.eq(account))).execute(c)?;
            1
        }
    };
    if changed == 0 { Err(Unapplied::Taken) } else { Ok(()) }
}

fn write_down(c: &mut AnyConnection, deed: &Deed) -> Result<(), Unapplied> {
    // One after the other, also from two processes; SQLite's transaction holds its lock already.
    if let AnyConnection::Postgres(c) = c {
        c.batch_execute("LOCK TABLE audit IN EXCLUSIVE MODE")?;
    }
    let last: Option<(i64, String)> = audit::table
        .order(audit::seq.desc())
        .select((audit::seq, audit::digest))
        .first(c)
        .optional()?;
    let (seq, before) = last.unwrap_or_default();
    // As it is read back: cut to microseconds, without NUL.
    let deed = Deed {
        at: utc(naive(deed.at)),
        who: text(&deed.who),
        address: text(&deed.address),
        action: text(&deed.action),
        subject: text(&deed.subject),
        outcome: text(&deed.outcome),
    };
    let line = AuditLine::after(&before, seq + 1, deed);
    let row = AuditRow {
        seq: line.seq,
        at: naive(line.deed.at),
        who: line.deed.who,
        address: line.deed.address,
        action: line.deed.action,
        subject: line.deed.subject,
        outcome: line.deed.outcome,
        digest: line.digest,
    };
    on_either!(c, c => diesel::insert_into(audit::table).values(row).execute(c)?);
    Ok(())
}

impl Register for Store {
    type Error = StoreError;

    fn apply(&mut self, changes: &[Change], deed: Option<Deed>) -> Result<bool, StoreError> {
        self.read(|c| {
            let done = in_transaction(c, |c| {
                changes.iter().try_for_each(|one| change(c, one))?;
                deed.as_ref().map_or(Ok(()), |deed| write_down(c, deed))
            });
            match done {
                Ok(()) => Ok(true),
                Err(Unapplied::Taken) => Ok(false),
                Err(Unapplied::Read(error)) => Err(error),
            }
        })
    }

    fn account(&mut self, id: &str) -> Result<Option<Account>, StoreError> {
        self.read(|c| {
            let row: Option<AccountRow> = accounts::table.find(id).first(c).optional()?;
            row.map(AccountRow::read).transpose()
        })
    }

    fn account_by_email(&mut self, email: &str) -> Result<Option<Account>, StoreError> {
        self.read(|c| {
            let row: Option<AccountRow> = accounts::table.filter(accounts::email.eq(email)).first(c).optional()?;
            row.map(AccountRow::read).transpose()
        })
    }

    fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        self.read(|c| {
            let rows: Vec<AccountRow> = accounts::table.order(accounts::id).load(c)?;
            rows.into_iter().map(AccountRow::read).collect()
        })
    }

    fn session(&mut self, digest: &str) -> Result<Option<Session>, StoreError> {
        self.read(|c| {
            let row: Option<SessionRow> = sessions::table.find(digest).first(c).optional()?;
            Ok(row.map(SessionRow::read))
        })
    }

    fn sessions(&mut self, account: &str) -> Result<Vec<Session>, StoreError> {
        self.read(|c| {
            let mine = sessions::table.filter(sessions::account_id.eq(account));
            let rows: Vec<SessionRow> = mine.order(sessions::created_at).load(c)?;
            Ok(rows.into_iter().map(SessionRow::read).collect())
        })
    }

    fn token(&mut self, digest: &str) -> Result<Option<Token>, StoreError> {
        self.read(|c| {
            let row: Option<TokenRow> = api_tokens::table.find(digest).first(c).optional()?;
            row.map(TokenRow::read).transpose()
        })
    }

    fn tokens(&mut self, account: Option<&str>) -> Result<Vec<Token>, StoreError> {
        self.read(|c| {
            let all = api_tokens::table.order((api_tokens::account_id, api_tokens::name));
            let rows: Vec<TokenRow> = match account {
                Some(account) => all.filter(api_tokens::account_id.eq(account)).load(c)?,
                None => all.load(c)?,
            };
            rows.into_iter().map(TokenRow::read).collect()
        })
    }

    fn code(&mut self, digest: &str) -> Result<Option<Code>, StoreError> {
        self.read(|c| {
            let row: Option<CodeRow> = one_time_codes::table.find(digest).first(c).optional()?;
            row.map(CodeRow::read).transpose()
        })
    }

    fn audit(&mut self, after: i64, limit: usize) -> Result<Vec<AuditLine>, StoreError> {
        self.read(|c| {
            let later = audit::table.filter(audit::seq.gt(after)).order(audit::seq);
            let rows: Vec<AuditRow> = later.limit(i64::try_from(limit).unwrap_or(i64::MAX)).load(c)?;
            Ok(rows.into_iter().map(AuditRow::read).collect())
        })
    }
}
