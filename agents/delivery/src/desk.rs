//! A desk: the books inside a transaction, with the present instant and the sites, and how messages are sent there.
//!
//! Sending writes the message into the books (the *outbox*): it exists exactly when what caused it does. Messages for
//! this site are there to be taken at once; those for others wait for the link (see the link).

use crate::{
    books::{Books, Fault, LogLine, Message, MessageState, Record, Settlement},
    selector,
    sites::Sites,
};
use alidade_model::time::UtcTime;
use serde_json::Value;

/// A message that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub selector: String,
    pub body: Value,
    pub author: String,
    pub reply_to: Option<String>,
    pub answers: Option<String>,
    /// Seconds after which nobody is to take it any more.
    pub lives_s: Option<f64>,
}

impl Draft {
    pub fn new(selector: &str, body: Value, author: &str) -> Self {
        Self {
            selector: selector.into(),
            body,
            author: author.into(),
            reply_to: None,
            answers: None,
            lives_s: None,
        }
    }

    pub fn answered_at(mut self, selector: &str) -> Self {
        self.reply_to = Some(selector.into());
        self
    }

    pub fn answering(mut self, message: &Message) -> Self {
        self.answers = Some(message.id.clone());
        self
    }

    pub fn living(mut self, seconds: f64) -> Self {
        self.lives_s = Some(seconds);
        self
    }
}

/// See the module's text.
pub struct Desk<'a> {
    pub books: &'a mut dyn Books,
    pub sites: &'a Sites,
    pub now: UtcTime,
    /// Messages written in this transaction: whoever listens must be woken after the commit.
    pub sent: usize,
    /// Moves of units are told to the observatory's journal (see `crate::moves`).
    pub journal: bool,
}

impl<'a> Desk<'a> {
    pub fn new(books: &'a mut dyn Books, sites: &'a Sites, now: UtcTime) -> Self {
        Self {
            books,
            sites,
            now,
            sent: 0,
            journal: false,
        }
    }

    /// Writes a message, or one for every member of a group; returns their identifiers.
    pub fn send(&mut self, draft: Draft) -> Result<Vec<String>, Fault> {
        let Some(group) = selector::group(&draft.selector) else {
            return Ok(vec![self.write(draft.selector.clone(), &draft)?]);
        };
        let group = group.to_owned();
        let members = self.books.members(&group)?;
        members
            .iter()
            .map(|member| self.write(format!("{group}.{member}"), &draft))
            .collect()
    }

    fn write(&mut self, selector: String, draft: &Draft) -> Result<String, Fault> {
        selector::check(&selector, false).map_err(Fault)?;
        let (number, epoch) = self.books.next_number()?;
        let message = Message {
            id: format!("{}-{epoch}-{number}", self.sites.here),
            number,
            from: self.sites.here.clone(),
            to: self.sites.destination(&selector).to_owned(),
            selector,
            body: draft.body.to_string(),
            reply_to: draft.reply_to.clone(),
            answers: draft.answers.clone(),
            author: draft.author.clone(),
            created: self.now,
            expires: draft.lives_s.map(|seconds| self.now.plus_seconds(seconds)),
            state: MessageState::Sent,
            token: None,
            lease_until: None,
            attempts: 0,
            reason: None,
        };
        self.books.add_message(&message)?;
        self.sent += 1;
        Ok(message.id)
    }

    /// Answers a message, if its sender wants an answer.
    pub fn answer(&mut self, message: &Message, body: Value, author: &str) -> Result<(), Fault> {
        if let Some(selector) = &message.reply_to {
            self.send(Draft::new(selector, body, author).answering(message))?;
        }
        Ok(())
    }

    /// A message of another site: kept once, under its own identifier. False when it was here already.
    pub fn receive(&mut self, mut message: Message) -> Result<bool, Fault> {
        if self.books.message(&message.id)?.is_some() {
            return Ok(false);
        }
        message.number = self.books.next_number()?.0;
        message.state = MessageState::Sent;
        (message.token, message.lease_until, message.attempts) = (None, None, 0);
        self.sent += 1;
        self.books.add_message(&message)
    }

    /// Ends a message whose effect is in this transaction.
    pub fn consume(&mut self, message: &Message) -> Result<bool, Fault> {
        let end = Settlement {
            state: MessageState::Consumed,
            reason: None,
        };
        self.books.settle(&message.id, message.token.as_deref(), &end)
    }

    /// Puts a message aside with the reason, in the journal too.
    pub fn reject(&mut self, message: &Message, author: &str, reason: &str) -> Result<bool, Fault> {
        let end = Settlement {
            state: MessageState::Rejected,
            reason: Some(reason.to_owned()),
        };
        self.log(
            "refused",
            &message.id,
            author,
            &format!("message on {}: {reason}", message.selector),
        )?;
        self.books.settle(&message.id, message.token.as_deref(), &end)
    }

    pub fn log(&mut self, kind: &str, subject: &str, author: &str, text: &str) -> Result<(), Fault> {
        let (number, _) = self.books.next_number()?;
        self.books.add_log(&LogLine {
            number,
            at: self.now,
            kind: kind.into(),
            subject: subject.into(),
            author: author.into(),
            text: text.into(),
        })
    }

    /// Writes a record as of now.
    pub fn keep(&mut self, kind: &str, id: &str, unit: &str, state: &str, body: Value) -> Result<(), Fault> {
        self.books.put_record(&Record {
            kind: kind.into(),
            id: id.into(),
            unit: unit.into(),
            state: state.into(),
            at: self.now,
            body,
        })
    }
}
