//! Majordome: the night. Starts it, has the enclosure opened, executes sequences in order, interrupts for alerts,
//! pauses, resumes, closes, reports.
//!
//! Terms:
//! - *circumstances*: what monitoring says about Sun and devices, once a second.
//! - *target of opportunity*: a sequence that an alert asks for now; it displaces routine work.
//! - *displaced*: taken off the instruments for something more important; goes back to observable, its quota is
//!   refunded and it is observed anew.
//!
//! | module | holds |
//! |---|---|
//! | [`messages`] | what may be said to the agent |
//! | [`night`] | pure: one look at everything to the next state and what to do |
//! | [`agenda`] | pure: which planned sequence is due |
//! | [`agent`] | the shell: looks, decides, sends |

pub mod agenda;
pub mod agent;
pub mod messages;
pub mod night;
