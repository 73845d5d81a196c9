//! The methods of a store that run one step each, as a table for both stores.
//!
//! A store says how a step runs in a macro of its own: `$by!(write, self, tx, [arguments], step)`. The step borrows its
//! arguments, so that the store may copy them before.

macro_rules! one_step_each {
    ($store:ty, $by:ident, $of:path {
        $($how:ident fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty = |$tx:ident| $step:expr;)*
        $(; $($rest:tt)*)?
    }) => {
        #[async_trait::async_trait]
        impl $of for $store {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out> {
                $by!($how, self, $tx, [$($arg),*], $step)
            })*
            $($($rest)*)?
        }
    };
}
pub(crate) use one_step_each;

macro_rules! impl_steps {
    ($store:ty, $by:ident) => {
        use std::time::Duration;

        use $crate::domain::clock::Timestamp;
        use $crate::domain::id::{InteractionId, LaneId, MessageId, PartId, TurnId};
        use $crate::domain::message::Address;
        use $crate::store::budgets::{Grant, Spending};
        use $crate::store::enforce::{self, RetentionSteps};
        use $crate::store::sql::methods::one_step_each;
        use $crate::store::sql::retention::Step;
        use $crate::store::sql::{
            budgets, conversations, leases, outbox, queries, responses, retention, retry, timeline, turns,
        };
        use $crate::store::{
            Admission, Adopted, AfterSend, AfterTurn, AnswerPart, Budgets, Call, Conversation, Conversations,
            Discarded, Filter, JournalEntry, LaneState, LaneView, LookupNote, MessageDetails, Operations, Outbox,
            PendingPart, Removed, Responses, Retention, Retried, SendEnd, Stats, Turn, TurnEnd, Turns,
        };

        one_step_each! { $store, $by, Turns {
            read fn lane_view(lease: &Lease) -> LaneView = |tx| turns::lane_view(tx, &lease);
            write fn begin_call(lease: &Lease, turn: &Arc<Turn>, call: &Call) -> Admission
                = |tx| turns::begin_call(tx, &lease, &turn, &call);
            write fn reopen(lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> ()
                = |tx| turns::reopen(tx, &lease, turn, after, &reason);
            write fn mark_unknown(lease: &Lease, turn: TurnId, note: LookupNote, after: Duration, reason: &str) -> ()
                = |tx| turns::mark_unknown(tx, &lease, turn, note, after, &reason);
            write fn finish_turn(lease: &Lease, end: &Arc<TurnEnd>, after: AfterTurn) -> Option<Box<LaneView>>
                = |tx| turns::finish_turn(tx, &lease, &end, after);
        } }

        one_step_each! { $store, $by, Conversations {
            read fn conversation(lane: LaneId, generation: u32) -> Option<Conversation>
                = |tx| conversations::get(tx, lane, generation);
            write fn adopt(lane: LaneId, generation: u32, id: &InteractionId) -> Adopted
                = |tx| conversations::adopt(tx, lane, generation, &id);
        } }

        one_step_each! { $store, $by, Outbox {
            read fn pending_parts(lease: &Lease) -> (Timestamp, Vec<PendingPart>)
                = |tx| outbox::pending_parts(tx, &lease);
            write fn finish_send(lease: &Lease, part: PartId, end: &SendEnd, after: AfterSend) -> LaneState
                = |tx| outbox::finish_send(tx, &lease, part, &end, after);
            write fn moved(lease: &Lease, part: PartId, address: &Address) -> ()
                = |tx| outbox::moved(tx, &lease, part, &address);
            ;
            async fn begin_send(&self, lease: &Lease, part: PartId) -> Result<()> {
                $by!(write, self, tx, [lease], outbox::begin_send(tx, &lease, part))?
            }
        } }

        one_step_each! { $store, $by, Responses {
            read fn have_ended(messages: &[MessageId]) -> Vec<MessageId> = |tx| responses::have_ended(tx, &messages);
            write fn claim_response(message: MessageId) -> Option<Vec<AnswerPart>> = |tx| responses::claim(tx, message);
            write fn response_sent(message: MessageId) -> () = |tx| responses::sent(tx, message);
            write fn release_response(message: MessageId) -> () = |tx| responses::release(tx, message);
        } }

        one_step_each! { $store, $by, Budgets {
            write fn spend(spending: &Spending) -> Vec<Grant> = |tx| budgets::spend(tx, &spending);
            write fn pause(channel: &ChannelName, time: Duration) -> () = |tx| budgets::pause(tx, &channel, time);
            read fn pauses() -> Vec<(ChannelName, Duration)> = |tx| budgets::pauses(tx);
        } }

        one_step_each! { $store, $by, Operations {
            read fn list(filter: &Filter) -> Vec<MessageDetails> = |tx| queries::list(tx, &filter);
            read fn details(message: MessageId) -> Option<MessageDetails> = |tx| queries::details(tx, message);
            read fn timeline(message: MessageId) -> Vec<JournalEntry> = |tx| timeline::of(tx, message);
            write fn retry(message: MessageId) -> Retried = |tx| retry::retry(tx, message);
            write fn discard(message: MessageId) -> Discarded = |tx| retry::discard(tx, message);
            read fn stats() -> Stats = |tx| queries::stats(tx);
            ;
            async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
                self.message_by_key(channel, key).await
            }

            async fn enforce_retention(&self, retention: &Retention) -> Result<Removed> {
                let removed = enforce::all(self, retention).await?;
                self.erase(&removed).await.map(|()| removed)
            }
        } }

        one_step_each! { $store, $by, RetentionSteps {
            write fn mark_dormant(of: &Arc<Retention>) -> u64 = |tx| retention::mark_dormant(tx, &of);
            read fn expiring(of: &Arc<Retention>, behind: LaneId) -> Vec<LaneId>
                = |tx| retention::expiring(tx, &of, behind);
            write fn expire(of: &Arc<Retention>, lane: LaneId) -> u64 = |tx| retention::expire(tx, &of, lane);
            write fn prune_messages(keep: Duration) -> u64 = |tx| retention::prune_messages(tx, keep);
            write fn prune_turns(keep: Duration) -> u64 = |tx| retention::prune_turns(tx, keep);
            write fn forget_messages(forget: Duration, behind: i64) -> Step
                = |tx| retention::forget_messages(tx, forget, behind);
            read fn empty_lanes(forget: Duration, behind: LaneId) -> Vec<LaneId>
                = |tx| retention::empty_lanes(tx, forget, behind);
            write fn forget_lanes(lanes: &[LaneId]) -> () = |tx| retention::forget_lanes(tx, &lanes);
        } }
    };
}
pub(crate) use impl_steps;
