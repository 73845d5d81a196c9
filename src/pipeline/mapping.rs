//! Which Fini conversation a chat has: a cache over the store. An entry never changes once it is there (a new
//! conversation is a new generation), so it is right on every replica.

use moka::future::Cache;

use crate::domain::id::{InteractionId, LaneId};

pub struct Mapping {
    cache: Cache<(LaneId, u32), InteractionId>,
}

impl Mapping {
    pub fn new(capacity: u64) -> Self {
        Self { cache: Cache::builder().max_capacity(capacity).build() }
    }

    /// `None`: the store may know it.
    pub async fn get(&self, lane: LaneId, generation: u32) -> Option<InteractionId> {
        self.cache.get(&(lane, generation)).await
    }

    /// What the store knows.
    pub async fn insert(&self, lane: LaneId, generation: u32, id: InteractionId) {
        self.cache.insert((lane, generation), id).await;
    }
}
