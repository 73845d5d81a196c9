//! Which Fini conversation a chat has: a cache over the store. An entry never changes once it is there (a new
//! conversation is a new generation), so it is right on every replica.

use std::sync::Arc;

use moka::future::Cache;

use crate::domain::id::{InteractionId, LaneId};
use crate::store::{Store, StoreError};

enum Missing {
    NotKnown,
    Store(StoreError),
}

pub struct Mapping {
    store: Arc<dyn Store>,
    cache: Cache<(LaneId, u32), InteractionId>,
}

impl Mapping {
    pub fn new(store: Arc<dyn Store>, capacity: u64) -> Self {
        Self { store, cache: Cache::builder().max_capacity(capacity).build() }
    }

    /// `None`: not discovered yet. Many who ask for one chat at once cost one look into the store.
    pub async fn get(&self, lane: LaneId, generation: u32) -> Result<Option<InteractionId>, StoreError> {
        let load = async {
            match self.store.conversation(lane, generation).await {
                Ok(found) => found.and_then(|conversation| conversation.interaction_id).ok_or(Missing::NotKnown),
                Err(error) => Err(Missing::Store(error)),
            }
        };
        match self.cache.try_get_with((lane, generation), load).await {
            Ok(id) => Ok(Some(id)),
            Err(missing) => match &*missing {
                Missing::NotKnown => Ok(None),
                Missing::Store(error) => Err(StoreError::Unavailable(error.to_string())),
            },
        }
    }
}
