//! Who works in which lane. The one process that has the file open knows that by heart: it is written nowhere, and
//! whatever was under way when a process ended is due when the next one starts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::id::{LaneId, Owner};
use crate::store::WorkKind;
use crate::store::lane::{Lane, Slot};

type Key = (LaneId, WorkKind);

#[derive(Clone, Debug)]
struct Held {
    owner: Owner,
    fence: i64,
    woken: bool,
}

#[derive(Debug)]
struct State {
    held: HashMap<Key, Held>,
    last_fence: i64,
}

#[derive(Debug)]
pub(super) struct Owners(Mutex<State>);

/// What was there before a transaction changed it.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<(Key, Option<Held>)>);

impl Undo {
    pub(super) fn and(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

impl Owners {
    /// `last_fence`: any number, so that no lease of an earlier process has a fence like ours.
    pub(super) fn new(last_fence: u32) -> Self {
        Self(Mutex::new(State { held: HashMap::new(), last_fence: i64::from(last_fence) << 24 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fill(&self, lane: &mut Lane) {
        let state = self.state();
        for work in [WorkKind::Turns, WorkKind::Deliveries] {
            let id = lane.id;
            let slot = match work {
                WorkKind::Turns => &mut lane.turns,
                WorkKind::Deliveries => &mut lane.deliveries,
            };
            slot.fence = state.last_fence;
            if let Some(held) = state.held.get(&(id, work)) {
                *slot =
                    Slot { owner: Some(held.owner.clone()), fence: held.fence, woken: held.woken, due_at: slot.due_at };
            }
        }
    }

    pub(super) fn set(&self, lane: LaneId, work: WorkKind, slot: &Slot, undo: &mut Undo) {
        let mut state = self.state();
        state.last_fence = state.last_fence.max(slot.fence);
        let key = (lane, work);
        let before = match &slot.owner {
            Some(owner) => state.held.insert(key, Held { owner: owner.clone(), fence: slot.fence, woken: slot.woken }),
            None => state.held.remove(&key),
        };
        undo.0.push((key, before));
    }

    /// The transaction was rolled back.
    pub(super) fn undo(&self, undo: Undo) {
        let mut state = self.state();
        for (key, before) in undo.0.into_iter().rev() {
            match before {
                Some(held) => drop(state.held.insert(key, held)),
                None => drop(state.held.remove(&key)),
            }
        }
    }
}
