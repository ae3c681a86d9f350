//! Whose things are whose.

/// Who asks, and whether they may touch only what is theirs. By default somebody who may touch everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The account; what they make belongs to it.
    pub account: Option<String>,
    pub only_own: bool,
}

impl Asker {
    /// Whether they may touch what belongs to `owner`. What belongs to nobody is for those who may touch everything.
    pub fn may(&self, owner: Option<&str>) -> bool {
        !self.only_own || (owner.is_some() && owner == self.account.as_deref())
    }

    /// Whether they may see what belongs to `owner`. What belongs to nobody is the observatory's, and everybody sees it.
    pub fn may_see(&self, owner: Option<&str>) -> bool {
        owner.is_none() || self.may(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_touches_what_is_ones_own_and_nothing_that_is_nobodys() {
        let ada = Asker {
            account: Some("ada".into()),
            only_own: true,
        };
        assert!(ada.may(Some("ada")) && !ada.may(Some("bob")) && !ada.may(None));
        assert!(ada.may_see(None) && ada.may_see(Some("ada")) && !ada.may_see(Some("bob")));
        let nobody = Asker {
            account: None,
            only_own: true,
        };
        assert!(!nobody.may(None), "two without an account are not the same");
        assert!(Asker::default().may(None) && Asker::default().may(Some("ada")));
    }
}
