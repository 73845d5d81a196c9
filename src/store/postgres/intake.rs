//! What is kept before a webhook is acknowledged: all that came at the same time in two statements. The first locks
//! the chats, the second keeps the messages and says who works on them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::lanes::{columns, read_lane};
use super::messages::{self, Kept};
use super::tx::{Obstacle, Tx, corrupt, get, optional_texts, params, parsed, texts};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatKey, ChatRef, DeliveryKey, LaneId, MessageId};
use crate::store::lane::Lane;
use crate::store::sql::Tx as _;
use crate::store::sql::turns;
use crate::store::{Accepted, Head, Lease, NewItem, NewMessage, Permit, Result, Waiting};

/// An index takes some 2,700 bytes.
const LONGEST_CHAT: usize = 512;
const DIGEST: &str = "sha256:";

/// What happens to a webhook that would have to wait for somebody else's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// `None` is its outcome: the others of its batch don't wait for it. To make a chat may be to wait.
    PassedOver,
    /// Likewise, and no chat is made: that had to wait.
    PassedOverWithNewChats,
    WaitedFor,
}

pub(super) type Key<'k> = (&'k str, Vec<u8>);
type Chat<'k> = (&'k str, Cow<'k, str>);

fn digest(key: &DeliveryKey) -> Vec<u8> {
    Sha256::digest(key.as_str().as_bytes()).to_vec()
}

/// A chat as the index can hold it; no two chats share one.
pub(super) fn chat(chat: &ChatKey) -> Cow<'_, str> {
    let text = chat.as_str();
    if text.len() > LONGEST_CHAT || text.contains('\0') || text.starts_with(DIGEST) {
        Cow::Owned(format!("{DIGEST}{}", hex::encode(Sha256::digest(text.as_bytes()))))
    } else {
        Cow::Borrowed(text)
    }
}

pub(super) struct Item<'i> {
    pub(super) item: &'i NewItem,
    pub(super) id: MessageId,
    pub(super) key: Key<'i>,
    /// `None`: it can't be read.
    chat: Option<Chat<'i>>,
}

impl<'i> Item<'i> {
    fn new(item: &'i NewItem) -> Self {
        match item {
            NewItem::Message(message) => Self {
                item,
                id: message.id,
                key: (message.channel.as_str(), digest(&message.delivery_key)),
                chat: Some((message.channel.as_str(), chat(&message.chat))),
            },
            NewItem::Unusable(unusable) => Self {
                item,
                id: unusable.id,
                key: (unusable.channel.as_str(), digest(&unusable.delivery_key)),
                chat: None,
            },
        }
    }

    pub(super) fn message(&self) -> Option<&'i NewMessage> {
        match self.item {
            NewItem::Message(message) => Some(message),
            NewItem::Unusable(_) => None,
        }
    }
}

pub(super) async fn accept(tx: &Tx<'_>, calls: &[&[NewItem]], busy: Busy) -> Result<Vec<Option<Vec<Accepted>>>> {
    let mut calls: Vec<Option<Vec<Item<'_>>>> =
        calls.iter().map(|items| Some(items.iter().map(Item::new).collect())).collect();
    // From here on nobody else writes in these lanes: their order is that of the acknowledgements.
    let lanes = lock(tx, &chats(&calls, busy), busy).await?;
    for call in &mut calls {
        if !call.iter().flatten().all(|item| is_free(item, &lanes, busy)) {
            *call = None;
        }
    }
    let orphans = calls.iter().flatten().flatten().filter(|item| needs_known_chat(item, &lanes));
    let known = known(tx, orphans.map(|item| &item.key)).await?;
    let mut decided = decide(&calls, known, &lanes);
    let lanes: HashMap<Chat<'_>, Lane> = lanes
        .into_iter()
        .filter_map(|(chat, found)| match found {
            Found::Locked(lane) | Found::Made(lane) => Some((chat, *lane)),
            Found::Busy => None,
        })
        .collect();
    let (plans, mut leases) = plan(tx, &decided.new, lanes)?;
    let kept = messages::insert(tx, &decided.new, &plans).await?;
    let late: Vec<&Key<'_>> =
        decided.new.iter().filter(|item| !kept.ids.contains(&item.id)).map(|item| &item.key).collect();
    let first = self::known(tx, late.iter().copied()).await?;
    for key in late {
        // A message that was here before.
        let first = first.get(key).ok_or_else(|| corrupt("a message is neither new nor known"))?;
        decided.known.insert(key.clone(), *first);
    }
    for plan in plans.0.values() {
        start(tx, plan, leases.remove(&plan.lane.id), &kept).await?;
    }
    Ok(answers(&calls, &decided, &kept.ids))
}

pub(super) async fn find(tx: &Tx<'_>, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
    let key = (channel.as_str(), digest(key));
    Ok(known(tx, std::iter::once(&key)).await?.remove(&key))
}

async fn known<'b, 'k: 'b>(
    tx: &Tx<'_>,
    keys: impl Iterator<Item = &'b Key<'k>>,
) -> Result<HashMap<Key<'k>, MessageId>> {
    let keys: Vec<&Key<'_>> = keys.collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let channels = texts(keys.iter().map(|(channel, _)| *channel));
    let digests: Vec<Vec<u8>> = keys.iter().map(|(_, digest)| digest.clone()).collect();
    let found = tx
        .all(
            "SELECT k.place, m.id FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (channel, digest, place)
             JOIN messages AS m ON m.channel = k.channel AND m.key_digest = k.digest",
            params![channels, digests],
            |row| Ok((get::<i64>(row, 0)?, parsed::<MessageId>(get(row, 1)?)?)),
        )
        .await?;
    let by_place: HashMap<i64, MessageId> = found.into_iter().collect();
    Ok((1..).zip(keys).filter_map(|(place, key)| Some((key.clone(), *by_place.get(&place)?))).collect())
}

/// A chat that there is.
enum Found {
    Locked(Box<Lane>),
    /// Made in this transaction: nobody else sees it yet.
    Made(Box<Lane>),
    /// Somebody else writes in it at this moment.
    Busy,
}

/// $1, $2: chats; $3: how each is named outside, where it may be made. Lanes are locked in their order, as everybody
/// does who locks several. Of two replicas that make the same one at the same time the constraint lets one go on.
macro_rules! lock {
    ($locking:literal) => {
        concat!(
            "WITH wanted AS MATERIALIZED (
                SELECT c.place, c.channel, c.chat, c.chat_ref, l.id
                FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS c (channel, chat, chat_ref, place)
                LEFT JOIN lanes AS l ON l.channel = c.channel AND l.chat = c.chat),
             locked AS MATERIALIZED (
                SELECT ",
            columns!(),
            " FROM lanes AS l WHERE l.id = ANY (ARRAY(SELECT id FROM wanted WHERE id IS NOT NULL))
                ORDER BY l.id ",
            $locking,
            "),
             made AS (
                INSERT INTO lanes (channel, chat, chat_ref)
                SELECT channel, chat, chat_ref FROM wanted WHERE id IS NULL AND chat_ref IS NOT NULL
                ORDER BY channel, chat ON CONFLICT (channel, chat) DO NOTHING RETURNING id, channel, chat)
             SELECT now_ms(), w.place, w.id IS NOT NULL, m.id, l.id IS NOT NULL, ",
            columns!(),
            " FROM wanted AS w LEFT JOIN locked AS l ON l.id = w.id
                LEFT JOIN made AS m ON m.channel = w.channel AND m.chat = w.chat"
        )
    };
}

/// `chats`: how each is named outside, where it may be made.
async fn lock<'k>(
    tx: &Tx<'_>,
    chats: &BTreeMap<Chat<'k>, Option<&'k ChatRef>>,
    busy: Busy,
) -> Result<HashMap<Chat<'k>, Found>> {
    if chats.is_empty() {
        tx.tell_time().await?;
        return Ok(HashMap::new());
    }
    let sql = match busy {
        Busy::PassedOver | Busy::PassedOverWithNewChats => lock!("FOR UPDATE SKIP LOCKED"),
        Busy::WaitedFor => lock!("FOR UPDATE"),
    };
    let values = params![
        texts(chats.keys().map(|(channel, _)| *channel)),
        texts(chats.keys().map(|(_, chat)| chat.as_ref())),
        optional_texts(chats.values().map(|chat_ref| chat_ref.map(ChatRef::as_str))),
    ];
    enum Seen {
        Locked(Box<Lane>),
        Made(i64),
        Busy,
        Missing,
    }
    let found = tx
        .all(sql, values, |row| {
            tx.tell(get(row, 0)?);
            let seen = match (get(row, 2)?, get(row, 3)?, get(row, 4)?) {
                (_, _, true) => Seen::Locked(Box::new(read_lane(row, 5)?)),
                (_, Some(made), _) => Seen::Made(made),
                (true, None, false) => Seen::Busy,
                (false, None, false) => Seen::Missing,
            };
            Ok((get::<i64>(row, 1)?, seen))
        })
        .await?;
    let mut by_place: HashMap<i64, Seen> = found.into_iter().collect();
    let mut lanes = HashMap::new();
    for (place, (chat, chat_ref)) in (1..).zip(chats) {
        let found = match (by_place.remove(&place), *chat_ref) {
            (Some(Seen::Locked(lane)), _) => Found::Locked(lane),
            (Some(Seen::Made(id)), Some(chat_ref)) => {
                let lane = Lane::new(LaneId(id), ChannelName::new(chat.0), chat_ref.clone());
                Found::Made(Box::new(lane))
            }
            // One that was waited for was forgotten meanwhile: the chat begins anew.
            (Some(Seen::Busy), _) if busy == Busy::WaitedFor => {
                return Err(tx.hindered(Obstacle::Others, "a chat was forgotten at this moment"));
            }
            (Some(Seen::Busy), _) => Found::Busy,
            // It may be made, and wasn't.
            (Some(Seen::Missing), Some(_)) => {
                return Err(tx.hindered(Obstacle::Others, "a chat was made by another replica"));
            }
            _ => continue,
        };
        if let Found::Locked(lane) | Found::Made(lane) = &found {
            tx.remember(lane);
        }
        lanes.insert(chat.clone(), found);
    }
    Ok(lanes)
}

/// Each chat once, and how it is named outside where a message of these may make it.
fn chats<'k>(calls: &[Option<Vec<Item<'k>>>], busy: Busy) -> BTreeMap<Chat<'k>, Option<&'k ChatRef>> {
    let mut chats = BTreeMap::new();
    for item in calls.iter().flatten().flatten() {
        let (Some(chat), Some(message)) = (&item.chat, item.message()) else { continue };
        let chat_ref = chats.entry(chat.clone()).or_default();
        if !message.only_if_known && busy != Busy::PassedOverWithNewChats {
            *chat_ref = Some(&message.chat_ref);
        }
    }
    chats
}

fn is_free(item: &Item<'_>, lanes: &HashMap<Chat<'_>, Found>, busy: Busy) -> bool {
    let may_make = busy != Busy::PassedOverWithNewChats;
    match (&item.chat, item.message()) {
        (Some(chat), Some(message)) => match lanes.get(chat) {
            Some(Found::Locked(_) | Found::Made(_)) => true,
            Some(Found::Busy) => false,
            None => message.only_if_known || may_make,
        },
        _ => may_make,
    }
}

/// Whether it is kept only if it was kept before: there is no chat.
fn needs_known_chat(item: &Item<'_>, lanes: &HashMap<Chat<'_>, Found>) -> bool {
    let is_missing = item.chat.as_ref().is_some_and(|chat| !matches!(lanes.get(chat), Some(Found::Locked(_))));
    is_missing && item.message().is_some_and(|message| message.only_if_known)
}

struct Decided<'d, 'i> {
    new: Vec<&'d Item<'i>>,
    known: HashMap<Key<'i>, MessageId>,
    unknown_chats: HashSet<MessageId>,
}

/// One after the other, as if each had come alone, and none of them before.
fn decide<'d, 'i>(
    calls: &'d [Option<Vec<Item<'i>>>],
    known: HashMap<Key<'i>, MessageId>,
    lanes: &HashMap<Chat<'i>, Found>,
) -> Decided<'d, 'i> {
    let mut decided = Decided { new: Vec::new(), known, unknown_chats: HashSet::new() };
    let mut begun = HashSet::new();
    for item in calls.iter().flatten().flatten() {
        if decided.known.contains_key(&item.key) {
            continue;
        }
        if let (Some(chat), Some(message)) = (&item.chat, item.message())
            && !matches!(lanes.get(chat), Some(Found::Locked(_)))
            && !begun.contains(chat)
        {
            if message.only_if_known {
                decided.unknown_chats.insert(item.id);
                continue;
            }
            begun.insert(chat);
        }
        decided.known.insert(item.key.clone(), item.id);
        decided.new.push(item);
    }
    decided
}

/// What becomes of each lane if all that came for it is new.
pub(super) struct Plans<'i>(pub(super) BTreeMap<i64, Plan<'i>>);

pub(super) struct Plan<'i> {
    pub(super) lane: Lane,
    pub(super) messages: Vec<&'i NewMessage>,
    /// To this process, in this commit.
    pub(super) is_leased: bool,
}

type Leases = HashMap<LaneId, (Lease, Permit)>;

impl Plans<'_> {
    /// Where each message goes.
    pub(super) fn by_message(&self) -> HashMap<MessageId, i64> {
        let of = |(lane, plan): (&i64, &Plan<'_>)| plan.messages.iter().map(|message| (message.id, *lane)).collect();
        self.0.iter().flat_map(|plan| -> Vec<_> { of(plan) }).collect()
    }
}

impl Plan<'_> {
    pub(super) fn has_changed(&self, tx: &Tx<'_>) -> bool {
        tx.remembered(&self.lane).is_ok_and(|known| known != self.lane)
    }
}

fn plan<'i>(tx: &Tx<'_>, new: &[&Item<'i>], lanes: HashMap<Chat<'i>, Lane>) -> Result<(Plans<'i>, Leases)> {
    let (mut plans, mut leases) = (BTreeMap::new(), HashMap::new());
    for item in new {
        let (Some(chat), Some(message)) = (&item.chat, item.message()) else { continue };
        let lane = lanes.get(chat).ok_or_else(|| corrupt("a chat without a lane"))?;
        let plan = || Plan { lane: lane.clone(), messages: Vec::new(), is_leased: false };
        let plan: &mut Plan<'_> = plans.entry(lane.id.0).or_insert_with(plan);
        plan.messages.push(message);
    }
    for plan in plans.values_mut() {
        let lease = tx.wakeups().receive(&mut plan.lane, &plan.messages, tx.now());
        plan.is_leased = lease.is_some();
        leases.extend(lease.map(|lease| (plan.lane.id, lease)));
    }
    Ok((Plans(plans), leases))
}

/// Hands the lane to its worker, with what came where that is all that there is.
async fn start(tx: &Tx<'_>, plan: &Plan<'_>, lease: Option<(Lease, Permit)>, kept: &Kept) -> Result<()> {
    let (number, new) = (plan.messages.len(), plan.messages.iter().filter(|message| kept.ids.contains(&message.id)));
    let new: Vec<&NewMessage> = new.copied().collect();
    if new.len() < number {
        // The statement left the lane alone: it was told of more than was new. Its room is free again.
        drop(lease);
        if new.is_empty() {
            return Ok(());
        }
        let mut lane = tx.remembered(&plan.lane)?;
        if let Some((lease, permit)) = tx.wakeups().receive(&mut lane, &new, tx.now()) {
            tx.wakeups().start(lease, permit, Head::Unread);
        }
        return tx.save(&lane).await;
    }
    let Some((lease, permit)) = lease else { return Ok(()) };
    let waiting = || new.iter().map(|message| waiting(message, tx.now()));
    let is_quiet = kept.quiet.contains(&plan.lane.id.0);
    let head = if is_quiet { turns::head(&plan.lane, waiting(), tx.now()) } else { Head::Unread };
    tx.wakeups().start(lease, permit, head);
    Ok(())
}

/// As it would be read.
fn waiting(message: &NewMessage, now: Timestamp) -> Waiting {
    let mut waiting = Waiting::new(message, now);
    for text in [Some(&mut waiting.text), waiting.sender.as_mut()].into_iter().flatten() {
        if let Cow::Owned(replaced) = super::values::text(text) {
            *text = replaced;
        }
    }
    waiting
}

fn answers(
    calls: &[Option<Vec<Item<'_>>>],
    decided: &Decided<'_, '_>,
    kept: &HashSet<MessageId>,
) -> Vec<Option<Vec<Accepted>>> {
    let answer = |item: &Item<'_>| {
        if kept.contains(&item.id) {
            Accepted::New(item.id)
        } else if decided.unknown_chats.contains(&item.id) {
            Accepted::UnknownChat
        } else {
            decided.known.get(&item.key).map_or(Accepted::UnknownChat, |first| Accepted::Duplicate(*first))
        }
    };
    calls.iter().map(|call| call.as_ref().map(|items| items.iter().map(answer).collect())).collect()
}
