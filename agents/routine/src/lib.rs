//! Routine: users' observing requests, from the form to the book.
//!
//! Terms:
//! - *build*: add sequences, albums and plans to a request one by one (PYROS's RequestBuilder).
//! - *validate*: numbers, identifiers, and what exists here: channels, filters, users.
//! - *submit*: the request enters the book, where its sequences become observable.
//!
//! | module | holds |
//! |---|---|
//! | [`builder`] | pure: a request under construction |
//! | [`catalogue`] | pure: what exists at this site, and whether a request fits it |
//! | [`messages`] | what may be said to the agent |
//! | [`agent`] | the shell: checks, writes into the book, tells the majordome |

pub mod agent;
pub mod builder;
pub mod catalogue;
pub mod messages;
