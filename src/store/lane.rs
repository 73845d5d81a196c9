//! The state machine of a lane: who works in it, and when it is due. Loaded under the lane's lock, changed here, and
//! written back in the same transaction; the same on every store.
//!
//! For each kind of work a lane is in one of three states: idle; due at a time; or leased to a process, which is
//! not due until it is given back.

use super::{Lease, Result, StoreError, WorkKind};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatRef, EventId, LaneId, Owner};

/// One kind of work in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) owner: Option<Owner>,
    pub(super) fence: i64,
    /// Something that the holder may have missed came while it held the lane.
    pub(super) woken: bool,
    /// Never while it is leased.
    pub(super) due_at: Option<Timestamp>,
}

/// Whether a lane that was woken while it was held is due at once, whatever its holder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Counts,
    Ignored,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) channel: ChannelName,
    pub(super) chat_ref: ChatRef,
    pub(super) generation: u32,
    pub(super) bot_id: Option<BotId>,
    pub(super) last_turn_at: Option<Timestamp>,
    /// A second person has written; it never goes back.
    pub(super) shared: bool,
    pub(super) sender_ref: Option<String>,
    pub(super) attributes_ref: Option<String>,
    /// The last event known of its current conversation.
    pub(super) watermark: Option<EventId>,
    pub(super) turns: Slot,
    pub(super) deliveries: Slot,
}

impl Lane {
    /// A chat that has just begun.
    pub(super) fn new(id: LaneId, channel: ChannelName, chat_ref: ChatRef) -> Self {
        Self {
            id,
            channel,
            chat_ref,
            generation: 0,
            bot_id: None,
            last_turn_at: None,
            shared: false,
            sender_ref: None,
            attributes_ref: None,
            watermark: None,
            turns: Slot::default(),
            deliveries: Slot::default(),
        }
    }

    pub(super) fn slot(&self, work: WorkKind) -> &Slot {
        match work {
            WorkKind::Turns => &self.turns,
            WorkKind::Deliveries => &self.deliveries,
        }
    }

    /// A higher generation begins a new conversation.
    pub(super) fn goes_on_in(&mut self, generation: u32, bot_id: &BotId) {
        if generation > self.generation {
            self.generation = generation;
            self.watermark = None;
        }
        if self.bot_id.as_ref() != Some(bot_id) {
            self.bot_id = Some(bot_id.clone());
        }
    }

    /// Somebody wrote. Senders are compared where both are known, else the user attributes.
    pub(super) fn wrote(&mut self, sender_ref: Option<&str>, attributes_ref: &str) {
        if self.shared {
            return;
        }
        self.shared = match (self.sender_ref.as_deref(), sender_ref) {
            (Some(known), Some(sender)) => known != sender,
            _ => self.attributes_ref.as_deref().is_some_and(|known| known != attributes_ref),
        };
        if self.sender_ref.is_none() {
            self.sender_ref = sender_ref.map(ToOwned::to_owned);
        }
        if self.attributes_ref.as_deref() != Some(attributes_ref) {
            self.attributes_ref = Some(attributes_ref.to_owned());
        }
    }

    fn slot_mut(&mut self, work: WorkKind) -> &mut Slot {
        match work {
            WorkKind::Turns => &mut self.turns,
            WorkKind::Deliveries => &mut self.deliveries,
        }
    }

    /// Every write that follows from the work in a lane depends on this.
    pub(super) fn check(&self, lease: &Lease) -> Result<()> {
        let slot = self.slot(lease.work);
        if slot.owner.is_some() && slot.fence == lease.fence { Ok(()) } else { Err(StoreError::Fenced) }
    }

    pub(super) fn take(&mut self, work: WorkKind, owner: &Owner) -> Lease {
        let slot = self.slot_mut(work);
        *slot = Slot { owner: Some(owner.clone()), fence: slot.fence + 1, woken: false, due_at: None };
        let fence = slot.fence;
        Lease { lane: self.id, work, fence, channel: self.channel.clone(), chat_ref: self.chat_ref.clone() }
    }

    /// It is due and somebody works in it: who gives it back looks once more.
    pub(super) fn defer_to_holder(&mut self, work: WorkKind) {
        let slot = self.slot_mut(work);
        slot.due_at = None;
        slot.woken = true;
    }

    /// `due_at`: when its holder wants it looked at next; `None`: when something comes.
    pub(super) fn release(&mut self, work: WorkKind, due_at: Option<Timestamp>, woken: Woken, now: Timestamp) {
        let slot = self.slot_mut(work);
        let at_once = slot.woken && woken == Woken::Counts;
        slot.due_at = if at_once { Some(due_at.map_or(now, |at| at.min(now))) } else { due_at };
        slot.owner = None;
        slot.woken = false;
    }

    /// Something came: the lane is due then, unless it is due already (a backoff is not shortened) or somebody works
    /// in it, who will find it before giving the lane back. True: it was idle.
    pub(super) fn schedule(&mut self, work: WorkKind, at: Timestamp) -> bool {
        let slot = self.slot_mut(work);
        let is_idle = slot.owner.is_none() && slot.due_at.is_none();
        if is_idle {
            slot.due_at = Some(at);
        }
        is_idle
    }

    /// What the lane was waiting for comes at that time: it is due then at the latest, if it is due at all. A holder
    /// may have looked before this, so its lane remembers.
    pub(super) fn wake(&mut self, work: WorkKind, at: Timestamp, now: Timestamp) {
        let slot = self.slot_mut(work);
        if slot.owner.is_some() {
            slot.woken |= at <= now;
        } else {
            slot.due_at = slot.due_at.map(|due| due.min(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    fn lane() -> Lane {
        Lane::new(LaneId(1), ChannelName::new("shop"), ChatRef::new("ref"))
    }

    fn taken() -> (Lane, Lease) {
        let mut lane = lane();
        assert!(lane.schedule(WorkKind::Turns, at(0)));
        let lease = lane.take(WorkKind::Turns, &Owner::new("a"));
        (lane, lease)
    }

    #[test]
    fn a_lease_ends_when_the_lane_is_given_back_or_taken_by_another() {
        let (mut lane, lease) = taken();
        assert!(lane.check(&lease).is_ok());
        lane.release(WorkKind::Turns, None, Woken::Counts, at(1));
        assert!(matches!(lane.check(&lease), Err(StoreError::Fenced)));
        let heir = lane.take(WorkKind::Turns, &Owner::new("b"));
        assert!(matches!(lane.check(&lease), Err(StoreError::Fenced)));
        assert!(lane.check(&heir).is_ok() && heir.fence > lease.fence);
    }

    #[test]
    fn the_two_kinds_of_work_do_not_touch_each_other() {
        let (mut lane, lease) = taken();
        assert!(lane.schedule(WorkKind::Deliveries, at(5)));
        lane.take(WorkKind::Deliveries, &Owner::new("b"));
        lane.release(WorkKind::Deliveries, None, Woken::Counts, at(6));
        assert!(lane.check(&lease).is_ok());
        assert_eq!(lane.deliveries.due_at, None);
    }

    #[test]
    fn a_lane_that_is_due_or_leased_is_not_scheduled_again() {
        let (mut lane, _) = taken();
        assert!(!lane.schedule(WorkKind::Turns, at(1)));
        assert_eq!(lane.turns.due_at, None);
        lane.release(WorkKind::Turns, Some(at(60)), Woken::Counts, at(2));
        assert!(!lane.schedule(WorkKind::Turns, at(3)), "a backoff is not shortened");
        assert_eq!(lane.turns.due_at, Some(at(60)));
    }

    #[test]
    fn what_a_holder_may_have_missed_makes_its_lane_due_at_once() {
        for (woken_at, woken, due_at, expected) in [
            (at(1), Woken::Counts, Some(at(60)), Some(at(2))),
            (at(1), Woken::Counts, None, Some(at(2))),
            (at(1), Woken::Ignored, Some(at(60)), Some(at(60))),
            (at(50), Woken::Counts, Some(at(60)), Some(at(60))),
        ] {
            let (mut lane, _) = taken();
            lane.wake(WorkKind::Turns, woken_at, at(1));
            lane.release(WorkKind::Turns, due_at, woken, at(2));
            assert_eq!(lane.turns.due_at, expected, "{woken_at} {woken:?}");
        }
    }

    #[test]
    fn a_chat_is_shared_once_a_second_person_has_written() {
        for (wrote, shared) in [
            (&[(Some("a"), "x"), (Some("a"), "y")][..], false),
            (&[(Some("a"), "x"), (Some("b"), "x")], true),
            (&[(Some("a"), "x"), (Some("b"), "x"), (Some("a"), "x")], true),
            (&[(None, "x"), (None, "x")], false),
            (&[(None, "x"), (None, "y")], true),
            (&[(None, "x"), (Some("a"), "x"), (Some("b"), "x")], true),
            (&[(Some("a"), "x"), (None, "y")], true),
        ] {
            let mut lane = lane();
            for (sender, attributes) in wrote {
                lane.wrote(*sender, attributes);
            }
            assert_eq!(lane.shared, shared, "{wrote:?}");
        }
    }

    #[test]
    fn a_wake_up_brings_forward_what_is_due_and_schedules_nothing() {
        let mut lane = lane();
        lane.wake(WorkKind::Turns, at(1), at(1));
        assert_eq!(lane.turns.due_at, None);
        lane.schedule(WorkKind::Turns, at(60));
        lane.wake(WorkKind::Turns, at(30), at(1));
        lane.wake(WorkKind::Turns, at(40), at(1));
        assert_eq!(lane.turns.due_at, Some(at(30)));
    }
}
