//! Whom a commit concerns: gathered while its transaction is open, told when it is committed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, Owner, SenderRef};
use crate::domain::message::Role;
use crate::store::lane::Lane;
use crate::store::{Dispatcher, Head, Lease, LeasedLane, NewMessage, Permit, WorkKind};

/// A process that works on no lanes, such as `fini-bridge messages retry`.
const COMMAND: &str = "command";

/// The process that works on this store's lanes.
pub(crate) struct Joined {
    pub(crate) owner: Owner,
    pub(crate) dispatcher: Arc<dyn Dispatcher>,
}

#[derive(Debug, Default)]
pub(crate) struct News {
    leased: Vec<LeasedLane>,
    turns_due: Option<Timestamp>,
    deliveries_due: Option<Timestamp>,
    ended: Vec<MessageId>,
}

impl News {
    fn due(&mut self, work: WorkKind) -> &mut Option<Timestamp> {
        match work {
            WorkKind::Turns => &mut self.turns_due,
            WorkKind::Deliveries => &mut self.deliveries_due,
        }
    }

    /// What the commit leases to this process, if it is one.
    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leased.iter().map(|leased| &leased.lease)
    }

    /// Whether other processes may have something to do at once, for which this one has no room.
    pub(crate) fn is_for_others(&self, now: Timestamp) -> [bool; 2] {
        [self.turns_due, self.deliveries_due].map(|due| due.is_some_and(|due| due <= now))
    }

    pub(crate) fn tell(self, joined: Option<&Joined>, now: Timestamp) {
        let Some(Joined { dispatcher, .. }) = joined else { return };
        for (work, due) in [(WorkKind::Turns, self.turns_due), (WorkKind::Deliveries, self.deliveries_due)] {
            if let Some(due) = due {
                dispatcher.due_in(work, due.since(now));
            }
        }
        for leased in self.leased {
            dispatcher.start(leased);
        }
        if !self.ended.is_empty() {
            dispatcher.turn_ended(&self.ended);
        }
    }
}

/// Of one transaction, or of one step that may be undone by itself.
pub(crate) struct Wakeups {
    joined: Option<Arc<Joined>>,
    replica: Option<Owner>,
    news: Mutex<News>,
}

impl Wakeups {
    /// `joined`: for whom commits may lease lanes. `replica`: which process this is, if it is one that works on lanes.
    pub(crate) fn new(joined: Option<Arc<Joined>>, replica: Option<Owner>) -> Self {
        Self { joined, replica, news: Mutex::default() }
    }

    /// As the journal names this process.
    pub(crate) fn replica(&self) -> &str {
        self.replica.as_ref().map_or(COMMAND, Owner::as_str)
    }

    fn with<T>(&self, change: impl FnOnce(&mut News) -> T) -> T {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take(&self) -> News {
        self.with(std::mem::take)
    }

    /// The lane has something to do at that time. Where it is idle, the time has come and this process has room, it is
    /// leased to it here: nobody has to look for it. The caller says what there is to do: [`Wakeups::start`].
    pub(crate) fn try_lease(
        &self,
        lane: &mut Lane,
        work: WorkKind,
        at: Timestamp,
        now: Timestamp,
    ) -> Option<(Lease, Permit)> {
        if !lane.schedule(work, at) {
            return None;
        }
        if at <= now
            && let Some(joined) = &self.joined
            && let Some(permit) = joined.dispatcher.admit(work, &lane.channel, lane.id)
        {
            return Some((lane.take(work, &joined.owner), permit));
        }
        self.due(work, at);
        None
    }

    /// What new messages make of their lane: who has written in it, and when it is due.
    pub(crate) fn receive(&self, lane: &mut Lane, messages: &[&NewMessage], now: Timestamp) -> Option<(Lease, Permit)> {
        for message in messages.iter().filter(|message| message.role == Role::User) {
            lane.wrote(message.sender_ref.as_ref().map(SenderRef::as_str), message.attributes_ref.as_str());
        }
        let first = messages.iter().find(|message| !message.dormant)?;
        self.try_lease(lane, WorkKind::Turns, now.plus(first.merge_window), now)
    }

    pub(crate) fn start(&self, lease: Lease, permit: Permit, head: Head) {
        self.with(|news| news.leased.push(LeasedLane { lease, permit, head }));
    }

    /// Likewise, where its holder has to read what there is to do.
    pub(crate) fn make_due(&self, lane: &mut Lane, work: WorkKind, at: Timestamp, now: Timestamp) {
        if let Some((lease, permit)) = self.try_lease(lane, work, at, now) {
            self.start(lease, permit, Head::Unread);
        }
    }

    /// Somebody has to look at that time.
    pub(crate) fn due(&self, work: WorkKind, at: Timestamp) {
        self.with(|news| {
            let due = news.due(work);
            *due = Some(due.map_or(at, |due| due.min(at)));
        });
    }

    pub(crate) fn turn_ended(&self, messages: impl IntoIterator<Item = MessageId>) {
        self.with(|news| news.ended.extend(messages));
    }
}
