//! The nights to come: how likely a request completes within its life.
//!
//! Placeholder of this text is replaced below.
