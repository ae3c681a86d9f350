//! A run: states by the table of the model, products and failures counted.

use alidade_model::states::{IllegalTransition, LifeCycle, RunState};

/// One transition, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub from: Option<RunState>,
    pub to: RunState,
    pub cause: String,
}

/// The processing of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    pub state: RunState,
    pub products: Vec<String>,
    pub failures: Vec<String>,
}

impl Run {
    /// A run that has just begun, with the steps that brought it there.
    pub fn begin(id: &str) -> Result<(Self, Vec<Step>), IllegalTransition> {
        let mut run = Self {
            id: id.into(),
            state: RunState::Waiting,
            products: Vec::new(),
            failures: Vec::new(),
        };
        let mut steps = vec![Step {
            from: None,
            to: RunState::Waiting,
            cause: "first frame".into(),
        }];
        steps.push(run.go(RunState::Initializing, "masters chosen")?);
        steps.push(run.go(RunState::Running, "frames are reduced")?);
        Ok((run, steps))
    }

    fn go(&mut self, to: RunState, cause: &str) -> Result<Step, IllegalTransition> {
        let from = self.state;
        self.state = from.step(to)?;
        Ok(Step {
            from: Some(from),
            to,
            cause: cause.into(),
        })
    }

    /// One frame more.
    pub fn frame(&mut self, outcome: Result<Vec<String>, String>) {
        match outcome {
            Ok(products) => self.products.extend(products),
            Err(cause) => self.failures.push(cause),
        }
    }

    /// No frame will come any more: done, or failed when not one could be reduced.
    pub fn finish(&mut self) -> Result<Vec<Step>, IllegalTransition> {
        if self.products.is_empty() {
            let cause = self.failures.last().cloned().unwrap_or_else(|| "no frame".into());
            return Ok(vec![self.go(RunState::Failed, &cause)?]);
        }
        let summary = format!(
            "{} products, {} frames failed",
            self.products.len(),
            self.failures.len()
        );
        Ok(vec![
            self.go(RunState::Finishing, "no frame for a while")?,
            self.go(RunState::Done, &summary)?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_from_its_first_frame_to_done() {
        let (mut run, steps) = Run::begin("s1").unwrap();
        assert_eq!(steps.len(), 3);
        run.frame(Ok(vec!["a.fits".into()]));
        run.frame(Err("truncated".into()));
        let end = run.finish().unwrap();
        assert_eq!(
            end.last().map(|s| (s.to, s.cause.as_str())),
            Some((RunState::Done, "1 products, 1 frames failed"))
        );
        assert!(run.finish().is_err(), "a finished run does not finish again");
    }

    #[test]
    fn a_run_without_a_single_product_has_failed() {
        let (mut run, _) = Run::begin("s1").unwrap();
        run.frame(Err("truncated".into()));
        assert_eq!(run.finish().unwrap()[0].to, RunState::Failed);
    }
}
