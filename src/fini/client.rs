//! The client.
#[derive(Clone)]
pub struct Client;
