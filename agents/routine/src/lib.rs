//! routine
