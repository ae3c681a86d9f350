pub mod agent;
pub mod graph;
pub mod messages;
pub mod run;
pub mod step;
#[cfg(test)]
mod step_tests;
