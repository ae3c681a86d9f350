//! The state service: the only writer of the states of units.

use alidade_model::states::{IllegalTransition, LifeCycle, UnitState};
use std::collections::BTreeMap;

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("unit {0} is unknown")]
    Unknown(String),
    #[error("unit {0} exists already")]
    Exists(String),
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

/// All units with their states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units(BTreeMap<String, UnitState>);

impl Units {
    pub fn state(&self, unit: &str) -> Option<UnitState> {
        self.0.get(unit).copied()
    }

    /// A new unit, ready for processing.
    pub fn create(&mut self, unit: &str) -> Result<UnitState, Refused> {
        if self.0.contains_key(unit) {
            return Err(Refused::Exists(unit.into()));
        }
        self.0.insert(unit.into(), UnitState::ReadyForProcessing);
        Ok(UnitState::ReadyForProcessing)
    }

    /// Moves a unit; returns where it came from.
    pub fn set(&mut self, unit: &str, to: UnitState) -> Result<UnitState, Refused> {
        let state = self.0.get_mut(unit).ok_or_else(|| Refused::Unknown(unit.into()))?;
        let from = *state;
        *state = from.step(to)?;
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_unit_lives_by_the_table() {
        let mut units = Units::default();
        units.create("u1").unwrap();
        assert_eq!(units.create("u1"), Err(Refused::Exists("u1".into())));
        assert_eq!(
            units.set("u1", UnitState::Processing),
            Ok(UnitState::ReadyForProcessing)
        );
        let refused = units.set("u1", UnitState::Delivered).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "observation unit set cannot go from Processing to Delivered"
        );
        assert_eq!(
            units.set("u2", UnitState::Processing),
            Err(Refused::Unknown("u2".into()))
        );
    }

    proptest! {
        #[test]
        fn no_illegal_transition_is_taken_and_no_legal_one_refused(wishes in prop::collection::vec(0usize..UnitState::ALL.len(), 0..300)) {
            let mut units = Units::default();
            units.create("u").unwrap();
            for wish in wishes {
                let (from, to) = (units.state("u").unwrap(), UnitState::ALL[wish]);
                prop_assert_eq!(units.set("u", to).is_ok(), from.allows(to));
            }
        }
    }
}
