//! What the tests share.

pub mod slurm;
