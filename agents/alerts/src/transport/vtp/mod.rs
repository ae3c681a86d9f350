//! VOEvent Transport Protocol 2.0 (IVOA Recommendation, 2017): authors, brokers, subscribers.

pub mod frame;
pub mod message;
