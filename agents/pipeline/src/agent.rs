//! The shell: one run a sequence; what is finished goes to the delivery.

use crate::{
    messages::FrameDone,
    run::{Run, Step},
};
use actix::prelude::*;
use alidade_delivery::messages::ProductsReady;
use alidade_model::{
    book::SharedBook,
    journal::{Fact, Recorder},
};
use std::{collections::BTreeMap, time::Duration};

/// A sequence without a new frame for this long is complete.
const QUIET: Duration = Duration::from_secs(900);

/// See the module's text.
pub struct Pipeline {
    pub recorder: Recorder,
    pub book: SharedBook,
    pub delivery: Recipient<ProductsReady>,
    pub runs: BTreeMap<String, (Run, SpawnHandle)>,
    /// Runs begun by this daemon, so that a second visit of a sequence is a second run.
    pub begun: u64,
}

impl Pipeline {
    pub fn new(recorder: Recorder, book: SharedBook, delivery: Recipient<ProductsReady>) -> Self {
        Self {
            recorder,
            book,
            delivery,
            runs: BTreeMap::new(),
            begun: 0,
        }
    }

    fn record(&self, run: &str, steps: Vec<Step>) {
        for Step { from, to, cause } in steps {
            self.recorder.record(Fact::RunMoved {
                run: run.into(),
                pipeline: "frame".into(),
                from,
                to,
                cause,
            });
        }
    }

    fn finish(&mut self, sequence: &str) {
        let Some((mut run, _)) = self.runs.remove(sequence) else {
            return;
        };
        match run.finish() {
            Ok(steps) => self.record(&run.id, steps),
            Err(error) => drop(self.recorder.record(Fact::Degraded {
                what: format!("run {}", run.id),
                cause: error.to_string(),
            })),
        }
        if !run.products.is_empty() {
            let program = self
                .book
                .borrow()
                .line(sequence)
                .map_or_else(|| "unknown".into(), |line| line.sequence.user.clone());
            self.delivery.do_send(ProductsReady {
                unit: run.id,
                program,
                products: run.products.len(),
                paths: run.products,
            });
        }
    }
}

impl Actor for Pipeline {
    type Context = Context<Self>;
}

impl Handler<FrameDone> for Pipeline {
    type Result = ();

    fn handle(&mut self, done: FrameDone, ctx: &mut Self::Context) {
        let Some(sequence) = done.sequence else { return };
        let (mut run, quiet) = match self.runs.remove(&sequence) {
            Some((run, quiet)) => (run, Some(quiet)),
            None => {
                self.begun += 1;
                let id = format!("{sequence}-{}", self.recorder.now().chrono().format("%Y%m%dT%H%M%S"));
                match Run::begin(&id) {
                    Ok((run, steps)) => {
                        self.record(&id, steps);
                        (run, None)
                    }
                    Err(error) => {
                        self.recorder.record(Fact::Degraded {
                            what: format!("run {id}"),
                            cause: error.to_string(),
                        });
                        return;
                    }
                }
            }
        };
        if let Some(quiet) = quiet {
            ctx.cancel_future(quiet);
        }
        run.frame(done.outcome.map(|outputs| outputs.products));
        let id = sequence.clone();
        let quiet = ctx.run_later(QUIET, move |actor, _| actor.finish(&id));
        self.runs.insert(sequence, (run, quiet));
    }
}
