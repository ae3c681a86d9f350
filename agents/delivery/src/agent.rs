//! The shell: a finished run becomes a unit that waits for its review.

use crate::{messages::ProductsReady, service::Units};
use actix::prelude::*;
use alidade_model::{
    journal::{Fact, Recorder},
    states::UnitState,
};
use std::rc::Rc;

/// See the module's text.
pub struct Delivery {
    pub recorder: Recorder,
    pub units: Units,
    /// The station that takes the units over; without one (a simulated night) they end at their review.
    pub station: Option<Intake>,
}

/// Hands finished runs to a station. Must not block: the agents' thread calls it.
pub type Intake = Rc<dyn Fn(ProductsReady)>;

impl Delivery {
    fn moved(&self, unit: &str, program: &str, from: Option<UnitState>, to: UnitState, cause: &str) {
        self.recorder.record(Fact::UnitMoved {
            unit: unit.into(),
            program: program.into(),
            from,
            to,
            author: "delivery".into(),
            cause: cause.into(),
        });
    }
}

impl Actor for Delivery {
    type Context = Context<Self>;
}

impl Handler<ProductsReady> for Delivery {
    type Result = ();

    fn handle(&mut self, ready: ProductsReady, _: &mut Self::Context) {
        match self.units.create(&ready.unit) {
            // The station's own books tell the journal.
            Ok(_) if self.station.is_some() => {}
            Ok(state) => self.moved(&ready.unit, &ready.program, None, state, "run finished"),
            Err(refused) => {
                self.recorder.record(Fact::Degraded {
                    what: format!("unit {}", ready.unit),
                    cause: refused.to_string(),
                });
                return;
            }
        }
        if let Some(station) = &self.station {
            // From here on the station's own books say where the unit stands.
            return station(ready);
        }
        let cause = format!("{} products processed", ready.products);
        for to in [UnitState::Processing, UnitState::ReadyForReview] {
            match self.units.set(&ready.unit, to) {
                Ok(from) => self.moved(&ready.unit, &ready.program, Some(from), to, &cause),
                Err(refused) => drop(self.recorder.record(Fact::Degraded {
                    what: format!("unit {}", ready.unit),
                    cause: refused.to_string(),
                })),
            }
        }
    }
}
