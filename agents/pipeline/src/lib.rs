//! Pipeline: which processing is under way, on what, and how it ended.
//!
//! Terms: a *run* is the processing of all frames of one sequence by the `frame` pipeline (calibrate, extract,
//! preview). It begins with the first reduced frame and is finished when no frame has come for a while; then its
//! products are handed to the delivery.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | pure: a run, its counts, its legal transitions |
//! | [`messages`] | what may be said to the agent |
//! | [`agent`] | the shell |
//! | [`executors`] | where an attempt at a task runs: a process, a sandbox, a batch queue |
//! | [`upload`] | resumable upload by tus, below HTTP |
//! | [`packages`] | programs of others: archive, manifest, form, root file system, shelf |

pub mod agent;
pub mod executors;
pub mod messages;
pub mod packages;
pub mod run;
pub mod upload;
