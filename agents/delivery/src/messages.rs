//! What may be said to the delivery agent.

use actix::Message;

/// A run has finished with products.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ProductsReady {
    pub unit: String,
    /// The account that the data belongs to.
    pub program: String,
    pub products: usize,
    /// Paths of the products, relative to the data folder.
    pub paths: Vec<String>,
}
