//! The shell: checks requests, writes them into the book, tells the majordome that the book has changed.

use crate::{
    catalogue::Catalogue,
    messages::{Cancel, Denied, Redo, Submit},
};
use actix::prelude::*;
use alidade_majordome::messages::BookChanged;
use alidade_model::{
    book::SharedBook,
    journal::{Fact, Recorder},
    states::SequenceState,
};

/// See the module's text.
pub struct Routine {
    pub catalogue: Catalogue,
    pub book: SharedBook,
    pub recorder: Recorder,
    pub majordome: Recipient<BookChanged>,
}

impl Actor for Routine {
    type Context = Context<Self>;
}

impl Handler<Submit> for Routine {
    type Result = Result<(), Denied>;

    fn handle(&mut self, Submit(request): Submit, _: &mut Self::Context) -> Self::Result {
        let id = request.id.clone();
        let accepted = {
            let book = self.book.borrow();
            self.catalogue.accept(&request, |user| book.knows(user))
        };
        let outcome = accepted.map_err(Denied::from).and_then(|()| {
            self.book
                .borrow_mut()
                .submit(request, &self.recorder)
                .map_err(|e| Denied::Book(e.to_string()))
        });
        match &outcome {
            Ok(()) => self.majordome.do_send(BookChanged {
                cause: format!("request {id} submitted"),
            }),
            Err(denied) => {
                self.recorder.record(Fact::RequestRefused {
                    request: id,
                    cause: denied.to_string(),
                });
            }
        }
        outcome
    }
}

impl Handler<Cancel> for Routine {
    type Result = Result<(), Denied>;

    fn handle(&mut self, message: Cancel, _: &mut Self::Context) -> Self::Result {
        let mut book = self.book.borrow_mut();
        if book
            .line(&message.sequence)
            .is_some_and(|line| line.state == SequenceState::Executing)
        {
            return Err(Denied::Running(message.sequence));
        }
        let cause = format!("cancelled by {}", message.who);
        book.refund(&message.sequence, &cause, &self.recorder)
            .and_then(|()| book.move_to(&message.sequence, SequenceState::Cancelled, &cause, &self.recorder))
            .map_err(|e| Denied::Book(e.to_string()))?;
        self.majordome.do_send(BookChanged {
            cause: format!("sequence {} cancelled", message.sequence),
        });
        Ok(())
    }
}

impl Handler<Redo> for Routine {
    type Result = Result<(), Denied>;

    fn handle(&mut self, message: Redo, _: &mut Self::Context) -> Self::Result {
        let Redo { who, sequence, cause } = message;
        let mut book = self.book.borrow_mut();
        match book.line(&sequence).map(|line| line.state) {
            Some(SequenceState::Executed | SequenceState::Incomplete) => {}
            Some(SequenceState::Executing) => return Err(Denied::Running(sequence)),
            Some(_) => return Err(Denied::NotObserved(sequence)),
            None => return Err(Denied::Book(format!("sequence {sequence} is unknown"))),
        }
        let cause = format!("bad data, says {who}: {cause}");
        book.refund(&sequence, &cause, &self.recorder)
            .map_err(|e| Denied::Book(e.to_string()))?;
        book.start_over(&sequence, &self.recorder);
        book.move_to(&sequence, SequenceState::Observable, &cause, &self.recorder)
            .map_err(|e| Denied::Book(e.to_string()))?;
        self.majordome.do_send(BookChanged {
            cause: format!("sequence {sequence} to be observed again"),
        });
        Ok(())
    }
}
