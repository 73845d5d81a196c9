//! What is kept before a webhook is acknowledged: all that came at the same time in a few statements.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::tx::{Tx, corrupt, get, ints, optional_texts, params, parsed, texts, to_json};
use crate::domain::id::{AttributesRef, ChannelName, ChatKey, DeliveryKey, MessageId, SenderRef};
use crate::domain::message::Role;
use crate::store::{Accepted, NewItem, NewMessage, Result, Work};

/// An index takes some 2,700 bytes.
const LONGEST_CHAT: usize = 512;
const DIGEST: &str = "sha256:";

/// What happens to a webhook for a chat that somebody else writes in at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// `None` is its outcome: the others of its batch don't wait for it.
    PassedOver,
    WaitedFor,
}

type Key<'k> = (&'k str, Vec<u8>);
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

struct Item<'i> {
    item: &'i NewItem,
    id: MessageId,
    key: Key<'i>,
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

    fn message(&self) -> Option<&'i NewMessage> {
        match self.item {
            NewItem::Message(message) => Some(message),
            NewItem::Unusable(_) => None,
        }
    }
}

pub(super) async fn accept(tx: &Tx<'_>, calls: &[&[NewItem]], busy: Busy) -> Result<Vec<Option<Vec<Accepted>>>> {
    let mut calls: Vec<Option<Vec<Item<'_>>>> =
        calls.iter().map(|items| Some(items.iter().map(Item::new).collect())).collect();
    let known = known(tx, calls.iter().flatten().flatten().map(|item| &item.key)).await?;
    let unknown = calls.iter().flatten().flatten().filter(|item| !known.contains_key(&item.key));
    let wanted: BTreeSet<&Chat<'_>> = unknown.filter_map(|item| item.chat.as_ref()).collect();
    let mut lanes = lanes(tx, wanted).await?;
    // From here on nobody else writes in these lanes: their order is that of the acknowledgements.
    let locked = lock(tx, lanes.values().copied(), busy).await?;
    if busy == Busy::WaitedFor {
        // The others were forgotten while they were waited for: these chats begin anew.
        lanes.retain(|_, lane| locked.contains(lane));
    }
    for call in &mut calls {
        let free = |item: &Item<'_>| {
            known.contains_key(&item.key)
                || item.chat.as_ref().and_then(|chat| lanes.get(chat)).is_none_or(|lane| locked.contains(lane))
        };
        if !call.iter().flatten().all(free) {
            *call = None;
        }
    }
    let mut decided = decide(&calls, known, &lanes);
    if !decided.new_lanes.is_empty() {
        let made = make_lanes(tx, &decided.new_lanes).await?;
        lock(tx, made.values().copied(), Busy::WaitedFor).await?;
        lanes.extend(made);
    }
    let kept = insert(tx, &decided.new, &lanes).await?;
    let late: Vec<&Key<'_>> =
        decided.new.iter().filter(|item| !kept.contains(&item.id)).map(|item| &item.key).collect();
    if !late.is_empty() {
        // Another replica kept the same message in this moment.
        let theirs = self::known(tx, late.iter().copied()).await?;
        for key in late {
            let first = theirs.get(key).ok_or_else(|| corrupt("a message is neither new nor known"))?;
            decided.known.insert(key.clone(), *first);
        }
    }
    schedule(tx, decided.new.iter().filter(|item| kept.contains(&item.id)), &lanes).await?;
    Ok(answers(&calls, &decided, &kept))
}

pub(super) async fn find(tx: &Tx<'_>, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
    let key = (channel.as_str(), digest(key));
    Ok(known(tx, std::iter::once(&key)).await?.remove(&key))
}

async fn known<'b, 'k: 'b>(
    tx: &Tx<'_>,
    keys: impl Iterator<Item = &'b Key<'k>> + Clone,
) -> Result<HashMap<Key<'k>, MessageId>> {
    let channels = texts(keys.clone().map(|(channel, _)| *channel));
    let digests: Vec<Vec<u8>> = keys.clone().map(|(_, digest)| digest.clone()).collect();
    let found = tx
        .all(
            "SELECT k.place, m.id FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (channel, digest, place)
             JOIN fini_bridge.messages AS m ON m.channel = k.channel AND m.key_digest = k.digest",
            params![channels, digests],
            |row| Ok((get::<i64>(row, 0)?, parsed::<MessageId>(&get::<String>(row, 1)?)?)),
        )
        .await?;
    let by_place: HashMap<i64, MessageId> = found.into_iter().collect();
    Ok((1..).zip(keys).filter_map(|(place, key)| Some((key.clone(), *by_place.get(&place)?))).collect())
}

async fn lanes<'k>(tx: &Tx<'_>, chats: BTreeSet<&Chat<'k>>) -> Result<BTreeMap<Chat<'k>, i64>> {
    if chats.is_empty() {
        return Ok(BTreeMap::new());
    }
    let channels = texts(chats.iter().map(|(channel, _)| *channel));
    let keys = texts(chats.iter().map(|(_, chat)| chat.as_ref()));
    let found = tx
        .all(
            "SELECT c.place, l.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS c (channel, chat, place)
             JOIN fini_bridge.lanes AS l ON l.channel = c.channel AND l.chat = c.chat",
            params![channels, keys],
            |row| Ok((get::<i64>(row, 0)?, get::<i64>(row, 1)?)),
        )
        .await?;
    let by_place: HashMap<i64, i64> = found.into_iter().collect();
    Ok((1..).zip(chats).filter_map(|(place, chat)| Some((chat.clone(), *by_place.get(&place)?))).collect())
}

/// In the order of the lanes, as everybody does who locks several.
async fn lock(tx: &Tx<'_>, lanes: impl Iterator<Item = i64>, busy: Busy) -> Result<HashSet<i64>> {
    let lanes: Vec<i64> = lanes.collect();
    if lanes.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = match busy {
        Busy::PassedOver => {
            "SELECT lane FROM fini_bridge.schedule WHERE lane = ANY($1) AND work = 'turns'
             ORDER BY lane FOR UPDATE SKIP LOCKED"
        }
        Busy::WaitedFor => {
            "SELECT lane FROM fini_bridge.schedule WHERE lane = ANY($1) AND work = 'turns' ORDER BY lane FOR UPDATE"
        }
    };
    Ok(tx.all(sql, params![ints(lanes)], |row| get(row, 0)).await?.into_iter().collect())
}

struct Decided<'d, 'i> {
    new: Vec<&'d Item<'i>>,
    new_lanes: BTreeMap<Chat<'i>, &'i str>,
    known: HashMap<Key<'i>, MessageId>,
    unknown_chats: HashSet<MessageId>,
}

/// One after the other, as if each had come alone.
fn decide<'d, 'i>(
    calls: &'d [Option<Vec<Item<'i>>>],
    known: HashMap<Key<'i>, MessageId>,
    lanes: &BTreeMap<Chat<'i>, i64>,
) -> Decided<'d, 'i> {
    let mut decided = Decided { new: Vec::new(), new_lanes: BTreeMap::new(), known, unknown_chats: HashSet::new() };
    for item in calls.iter().flatten().flatten() {
        if decided.known.contains_key(&item.key) {
            continue;
        }
        if let (Some(chat), Some(message)) = (&item.chat, item.message())
            && !lanes.contains_key(chat)
            && !decided.new_lanes.contains_key(chat)
        {
            if message.only_if_known {
                decided.unknown_chats.insert(item.id);
                continue;
            }
            decided.new_lanes.insert(chat.clone(), message.chat_ref.as_str());
        }
        decided.known.insert(item.key.clone(), item.id);
        decided.new.push(item);
    }
    decided
}

/// Two replicas may make the same lane at the same time: the second finds the first's.
async fn make_lanes<'i>(tx: &Tx<'_>, new: &BTreeMap<Chat<'i>, &'i str>) -> Result<BTreeMap<Chat<'i>, i64>> {
    let channels = || texts(new.keys().map(|(channel, _)| *channel));
    let chats = || texts(new.keys().map(|(_, chat)| chat.as_ref()));
    tx.run(
        "INSERT INTO fini_bridge.lanes (channel, chat, chat_ref)
         SELECT channel, chat, chat_ref FROM unnest($1::text[], $2::text[], $3::text[]) AS n (channel, chat, chat_ref)
         ORDER BY channel, chat ON CONFLICT (channel, chat) DO NOTHING",
        params![channels(), chats(), texts(new.values().copied())],
    )
    .await?;
    tx.run(
        "INSERT INTO fini_bridge.schedule (lane, work, channel)
         SELECT l.id, w.work, l.channel FROM unnest($1::text[], $2::text[]) AS n (channel, chat)
         JOIN fini_bridge.lanes AS l ON l.channel = n.channel AND l.chat = n.chat
         CROSS JOIN (VALUES ('deliveries'), ('turns')) AS w (work)
         ORDER BY l.id, w.work ON CONFLICT (lane, work) DO NOTHING",
        params![channels(), chats()],
    )
    .await?;
    let made = lanes(tx, new.keys().collect()).await?;
    if made.len() == new.len() { Ok(made) } else { Err(corrupt("a lane is gone")) }
}

async fn insert(tx: &Tx<'_>, new: &[&Item<'_>], lanes: &BTreeMap<Chat<'_>, i64>) -> Result<HashSet<MessageId>> {
    if new.is_empty() {
        return Ok(HashSet::new());
    }
    let (mut attributes, mut addresses) = (Vec::new(), Vec::new());
    for item in new {
        let message = item.message();
        attributes.push(message.map(|message| to_json(&message.user_attributes)).transpose()?);
        addresses.push(message.map(|message| to_json(&message.address)).transpose()?);
    }
    let messages = || new.iter().map(|item| item.message());
    let unusable = || {
        new.iter().map(|item| match item.item {
            NewItem::Message(_) => None,
            NewItem::Unusable(unusable) => Some(unusable),
        })
    };
    let ids: Vec<String> = new.iter().map(|item| item.id.to_string()).collect();
    let keys = new.iter().map(|item| match item.item {
        NewItem::Message(message) => message.delivery_key.as_str(),
        NewItem::Unusable(unusable) => unusable.delivery_key.as_str(),
    });
    let text = new.iter().map(|item| match item.item {
        NewItem::Message(message) => message.text.as_str(),
        NewItem::Unusable(unusable) => unusable.raw.as_str(),
    });
    let writers = Writers::of(new, lanes);
    let until = |message: &NewMessage| message.wait.map(|wait| tx.now.plus(wait).as_millis());
    let kept = tx
        .all(
            // Senders are compared where both are known, else the user attributes.
            "WITH wrote AS (
                UPDATE fini_bridge.lanes AS l
                SET attributes_ref = w.attributes_ref, sender_ref = coalesce(l.sender_ref, w.sender_ref),
                    shared = w.several OR coalesce(l.sender_ref <> w.sender_ref, false)
                        OR (l.sender_ref IS NULL OR w.first_sender_ref IS NULL)
                            AND coalesce(l.attributes_ref <> w.first_attributes_ref, false)
                FROM unnest($19::bigint[], $20::text[], $21::text[], $22::text[], $23::text[], $24::boolean[])
                    AS w (lane, first_sender_ref, first_attributes_ref, sender_ref, attributes_ref, several)
                WHERE l.id = w.lane AND NOT l.shared AND (w.several
                    OR l.attributes_ref IS DISTINCT FROM w.attributes_ref
                    OR w.sender_ref IS NOT NULL AND l.sender_ref IS DISTINCT FROM w.sender_ref))
             INSERT INTO fini_bridge.messages (id, channel, delivery_key, key_digest, lane, role, sender, text,
                user_attributes, bot_id, address, dormant, sort_at, wait_until, reason, detail, too_long, received_at,
                waiting_since, state, ended_at)
             SELECT id, channel, delivery_key, key_digest, lane, role, sender, text, user_attributes, bot_id, address,
                dormant, sort_at, wait_until, reason, detail, too_long, $17, $17,
                CASE WHEN lane IS NULL THEN 'failed' ELSE 'received' END, CASE WHEN lane IS NULL THEN $17 END
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::bigint[], $14::bigint[],
                $15::text[], $16::text[], $18::boolean[]) WITH ORDINALITY AS n (id, channel, delivery_key, key_digest,
                lane, role, sender, text, user_attributes, bot_id, address, dormant, sort_at, wait_until, reason,
                detail, too_long, place)
             ORDER BY place ON CONFLICT (channel, key_digest) DO NOTHING RETURNING id",
            params![
                texts(ids.iter().map(String::as_str)),
                texts(new.iter().map(|item| item.key.0)),
                texts(keys),
                new.iter().map(|item| item.key.1.clone()).collect::<Vec<_>>(),
                ints(new.iter().map(|item| item.chat.as_ref().and_then(|chat| lanes.get(chat)).copied())),
                texts(messages().map(|message| message.map_or(Role::User, |message| message.role).as_str())),
                optional_texts(messages().map(|message| message.and_then(|message| message.sender.as_deref()))),
                texts(text),
                optional_texts(attributes.iter().map(Option::as_deref)),
                optional_texts(messages().map(|message| message.map(|message| message.bot_id.as_str()))),
                optional_texts(addresses.iter().map(Option::as_deref)),
                messages().map(|message| message.is_some_and(|message| message.dormant)).collect::<Vec<bool>>(),
                ints(messages().map(|message| message.and_then(|message| message.sort_at).map(|at| at.as_millis()))),
                ints(messages().map(|message| message.and_then(until))),
                optional_texts(unusable().map(|unusable| unusable.map(|unusable| unusable.reason.as_str()))),
                optional_texts(unusable().map(|unusable| unusable.map(|unusable| unusable.detail.as_str()))),
                tx.now(),
                messages().map(|message| message.is_some_and(|message| message.too_long)).collect::<Vec<bool>>(),
                ints(writers.0.keys().copied()),
                optional_texts(writers.0.values().map(|wrote| wrote.first_sender.map(SenderRef::as_str))),
                texts(writers.0.values().map(|wrote| wrote.first_attributes.as_str())),
                optional_texts(writers.0.values().map(|wrote| wrote.sender.map(SenderRef::as_str))),
                texts(writers.0.values().map(|wrote| wrote.attributes.as_str())),
                writers.0.values().map(|wrote| wrote.several).collect::<Vec<bool>>(),
            ],
            |row| parsed(&get::<String>(row, 0)?),
        )
        .await?;
    Ok(kept.into_iter().collect())
}

/// Who writes in which lane in this batch.
struct Writers<'i>(BTreeMap<i64, Wrote<'i>>);

/// `sender`: the first that is known. `attributes`: what came last.
struct Wrote<'i> {
    first_sender: Option<&'i SenderRef>,
    sender: Option<&'i SenderRef>,
    first_attributes: &'i AttributesRef,
    attributes: &'i AttributesRef,
    several: bool,
}

impl<'i> Writers<'i> {
    fn of(new: &[&Item<'i>], lanes: &BTreeMap<Chat<'_>, i64>) -> Self {
        let mut writers: BTreeMap<i64, Wrote<'i>> = BTreeMap::new();
        for item in new {
            let lane = item.chat.as_ref().and_then(|chat| lanes.get(chat));
            let Some((lane, message)) = lane.zip(item.message()).filter(|(_, message)| message.role == Role::User)
            else {
                continue;
            };
            let (sender, attributes) = (message.sender_ref.as_ref(), &message.attributes_ref);
            match writers.entry(*lane) {
                Entry::Vacant(entry) => {
                    entry.insert(Wrote {
                        first_sender: sender,
                        sender,
                        first_attributes: attributes,
                        attributes,
                        several: false,
                    });
                }
                Entry::Occupied(mut entry) => {
                    let wrote = entry.get_mut();
                    wrote.several |= match (wrote.sender, sender) {
                        (Some(known), Some(sender)) => known != sender,
                        _ => wrote.attributes != attributes,
                    };
                    wrote.sender = wrote.sender.or(sender);
                    wrote.attributes = attributes;
                }
            }
        }
        Self(writers)
    }
}

/// The lanes are locked: whether one is scheduled can't change any more.
async fn schedule<'s>(
    tx: &Tx<'_>,
    kept: impl Iterator<Item = &'s &'s Item<'s>>,
    lanes: &BTreeMap<Chat<'_>, i64>,
) -> Result<()> {
    let mut due: BTreeMap<i64, i64> = BTreeMap::new();
    for item in kept {
        let lane = item.chat.as_ref().and_then(|chat| lanes.get(chat));
        if let (Some(lane), Some(message)) = (lane, item.message())
            && !message.dormant
        {
            due.entry(*lane).or_insert_with(|| tx.now.plus(message.merge_window).as_millis());
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    tx.run(
        "UPDATE fini_bridge.schedule AS s SET due_at = n.due_at FROM unnest($1::bigint[], $2::bigint[]) AS n (lane, due_at)
         WHERE s.lane = n.lane AND s.work = 'turns' AND s.due_at IS NULL",
        params![ints(due.keys().copied()), ints(due.values().copied())],
    )
    .await?;
    // Also where nothing changed: somebody may have passed over a lane because it was locked here.
    tx.ring(Work::Turns);
    Ok(())
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
