//! Pipeline: processing on data, as runs of task graphs that survive the death of the process.
//!
//! Terms: a *task* is one step of processing; a *topology* says which tasks follow which; a *run* is one execution of
//! a topology on a subject; an *attempt* is one try of one task in it, fenced by an identifier; a *product* is a file
//! that an attempt has made and that has been committed: hashed, on the disk, renamed to its place and recorded with
//! the end of its attempt in one transaction.
//!
//! | module | holds |
//! |---|---|
//! | [`descriptor`] | what pipelines and plugins say of themselves, held against schemas and each other |
//! | [`graph`] | pure: topologies, cuts, loops |
//! | [`step`] | pure: the planner as a step machine |
//! | [`plan`] | what is wanted, frozen into a plan |
//! | [`task`], [`target`], [`signals`] | tasks in Rust, what they are given, who hears of them |
//! | [`port`], [`memory`] | what the engine needs of a store; one without a database |
//! | [`runner`], [`worker`], [`commit`] | the shell: waves, attempts on threads, the commit rule, recovery |
//! | [`migrate`], [`commands`] | pure: revisions of plugins' tables, plugins' command line |
//! | [`recipe`] | pipelines as recipes of the delivery |
//! | [`provenance`], [`report`] | W3C PROV; activity report; why a task runs |
//! | [`executors`] | where an attempt runs: processes and their limits |
//! | [`run`], [`messages`], [`agent`] | the nightly frames as runs: one a sequence |
//! | [`upload`] | resumable upload by tus, below HTTP |
//! | [`packages`] | programs of others: archive, manifest, form, root file system, shelf |

pub mod agent;
pub mod commands;
pub mod commit;
pub mod descriptor;
pub mod executors;
pub mod graph;
pub mod memory;
pub mod messages;
pub mod migrate;
pub mod packages;
pub mod plan;
pub mod port;
pub mod provenance;
pub mod recipe;
pub mod report;
pub mod run;
pub mod runner;
pub mod signals;
pub mod step;
#[cfg(test)]
mod step_tests;
pub mod target;
pub mod task;
pub mod upload;
pub mod worker;
