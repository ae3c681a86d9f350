//! Observing-time quotas as a double-entry ledger (OBS-7).
//!
//! Accounts are users and, under [`institute_account`], institutes whose members share a quota.
//!
//! Every posting moves seconds from one book to another of the same account, so the sum over the books of an account
//! is zero by construction, and [`Ledger::balances`] proves it again from the postings. The books:
//!
//! ```text
//! granted  --grant-->  free  --reserve-->  reserved  --spend-->  spent
//!                       ^-------refund-------'                    |
//!                       '-----------------refund------------------'  (pre-emption, weather, bad data)
//! ```

use crate::{
    request::{SequenceId, UserId},
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One of the books of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The counter-book: minus everything ever granted.
    Granted,
    Free,
    Reserved,
    Spent,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Granted => "granted",
            Side::Free => "free",
            Side::Reserved => "reserved",
            Side::Spent => "spent",
        }
    }
}

impl std::str::FromStr for Side {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Side::Granted, Side::Free, Side::Reserved, Side::Spent]
            .into_iter()
            .find(|side| side.as_str() == text)
            .ok_or_else(|| format!("{text} is not a book of an account"))
    }
}

/// Microseconds of observing time: whole numbers, so that sums are exact.
pub type Micros = i64;

/// The account of an institute.
pub fn institute_account(institute: &str) -> UserId {
    format!("institute:{institute}")
}

/// One movement of observing time between two books of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    pub account: UserId,
    pub from: Side,
    pub to: Side,
    /// Microseconds, positive.
    pub amount_us: Micros,
    pub sequence: Option<SequenceId>,
    pub cause: String,
    pub at: UtcTime,
}

/// Why a posting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("account {account} has {free_s} s free, {wanted_s} s wanted")]
    QuotaExhausted {
        account: UserId,
        free_s: i64,
        wanted_s: i64,
    },
    #[error("a posting moves a positive amount, not {amount_us} us")]
    NotPositive { amount_us: Micros },
    #[error("account {account} has {held_us} us {side}, {wanted_us} us to move")]
    Overdrawn {
        account: UserId,
        side: &'static str,
        held_us: Micros,
        wanted_us: Micros,
    },
}

/// The standing of one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub granted_us: Micros,
    pub free_us: Micros,
    pub reserved_us: Micros,
    pub spent_us: Micros,
}

impl Balance {
    fn side(&mut self, side: Side) -> &mut Micros {
        match side {
            Side::Granted => &mut self.granted_us,
            Side::Free => &mut self.free_us,
            Side::Reserved => &mut self.reserved_us,
            Side::Spent => &mut self.spent_us,
        }
    }

    /// Zero, always.
    pub fn sum(&self) -> Micros {
        self.granted_us + self.free_us + self.reserved_us + self.spent_us
    }
}

/// All accounts, with what is reserved and spent per sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    accounts: BTreeMap<UserId, Balance>,
    /// Reserved and spent, by sequence and account.
    by_sequence: BTreeMap<(SequenceId, UserId), (Micros, Micros)>,
}

impl Ledger {
    pub fn balance(&self, account: &str) -> Option<Balance> {
        self.accounts.get(account).copied()
    }

    pub fn balances(&self) -> &BTreeMap<UserId, Balance> {
        &self.accounts
    }

    /// Reserved and spent microseconds that an account holds for one sequence.
    pub fn of_sequence(&self, sequence: &str, account: &str) -> (Micros, Micros) {
        self.by_sequence
            .get(&(sequence.to_owned(), account.to_owned()))
            .copied()
            .unwrap_or_default()
    }

    /// True when every account sums to zero and nothing but the counter-book is negative.
    pub fn is_balanced(&self) -> bool {
        self.accounts
            .values()
            .all(|b| b.sum() == 0 && b.free_us >= 0 && b.reserved_us >= 0 && b.spent_us >= 0)
    }

    /// Applies one posting, or refuses it and changes nothing.
    pub fn post(&mut self, posting: &Posting) -> Result<(), Refused> {
        let amount = posting.amount_us;
        if amount <= 0 {
            return Err(Refused::NotPositive { amount_us: amount });
        }
        let mut balance = self.accounts.get(&posting.account).copied().unwrap_or_default();
        let held = *balance.side(posting.from);
        if posting.from != Side::Granted && held < amount {
            return Err(if posting.from == Side::Free {
                Refused::QuotaExhausted {
                    account: posting.account.clone(),
                    free_s: held / 1_000_000,
                    wanted_s: amount / 1_000_000,
                }
            } else {
                Refused::Overdrawn {
                    account: posting.account.clone(),
                    side: posting.from.as_str(),
                    held_us: held,
                    wanted_us: amount,
                }
            });
        }
        *balance.side(posting.from) -= amount;
        *balance.side(posting.to) += amount;
        self.accounts.insert(posting.account.clone(), balance);
        if let Some(sequence) = &posting.sequence {
            let key = (sequence.clone(), posting.account.clone());
            let entry = self.by_sequence.entry(key).or_default();
            for (side, sign) in [(posting.from, -1), (posting.to, 1)] {
                match side {
                    Side::Reserved => entry.0 += sign * amount,
                    Side::Spent => entry.1 += sign * amount,
                    Side::Granted | Side::Free => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn posting(from: Side, to: Side, amount_us: Micros) -> Posting {
        Posting {
            account: "ada".into(),
            from,
            to,
            amount_us,
            sequence: Some("s1".into()),
            cause: "test".into(),
            at: UtcTime::from_unix_micros(0).unwrap(),
        }
    }

    #[test]
    fn more_than_the_quota_cannot_be_reserved() {
        let mut ledger = Ledger::default();
        ledger.post(&posting(Side::Granted, Side::Free, 5_000_000)).unwrap();
        let refused = ledger
            .post(&posting(Side::Free, Side::Reserved, 6_000_000))
            .unwrap_err();
        assert_eq!(refused.to_string(), "account ada has 5 s free, 6 s wanted");
        assert_eq!(ledger.balance("ada").unwrap().free_us, 5_000_000);
    }

    proptest! {
        #[test]
        fn whatever_is_posted_every_account_sums_to_zero(moves in prop::collection::vec((0usize..4, 0usize..4, -5i64..50), 0..200)) {
            let sides = [Side::Granted, Side::Free, Side::Reserved, Side::Spent];
            let mut ledger = Ledger::default();
            for (from, to, amount) in moves {
                let _ = ledger.post(&posting(sides[from], sides[to], amount));
                prop_assert!(ledger.balances().values().all(|b| b.sum() == 0));
            }
        }
    }
}
