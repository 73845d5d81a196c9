//! What can be said of secrets once they are in their places: too short to hold, or shared where that lets one
//! channel's webhooks pass for another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::Reader;
use super::table::leaves;
use super::tree::{Hidden, Node, Path};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::signature::StandardWebhooks;

/// Characters, or bytes of what `whsec_` encodes. Standard Webhooks itself asks for 24.
const LEAST: usize = 16;
/// An address, which is a secret only for the password that may stand in it.
const ADDRESS: &str = "store.url";

/// Why a secret is refused or warned about, by its text.
pub(super) fn too_short(key: &str, secret: &str) -> Option<Problem> {
    let (length, unit) = match secret.strip_prefix("whsec_") {
        Some(_) => (StandardWebhooks::key(&Secret::new(secret)).map_or(0, |key| key.len()), "bytes behind whsec_"),
        None => (secret.chars().count(), "characters"),
    };
    (length < LEAST && key != ADDRESS).then(|| {
        let problem = format!("is shorter than {LEAST} {unit}: it can be guessed");
        Problem::new(
            key,
            problem,
            "take a longer one; where it is yours to choose, `fini-bridge secret new` makes a good one",
        )
    })
}

/// Where a channel's table has the secrets that prove a webhook genuine; each channel has one of these keys.
const VERIFYING: [&str; 5] = ["signing_secret", "app_secret", "secret_token", "verify.secret", "secret"];

/// These secrets as a person knows them, in their order: as written, or by the key of one that stands there itself.
pub(super) fn verifying(channel: &Node, path: &Path) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for key in VERIFYING {
        let mut node = Some(channel);
        let mut at = path.clone();
        for step in key.split('.') {
            node = node.and_then(|node| node.get(step));
            at = at.key(step);
        }
        let Some(node) = node else { continue };
        leaves(node, &at, &mut |path, secret| {
            names.push(match &secret.hidden {
                Some(Hidden::Variable(name)) => format!("env:{name}").into(),
                Some(Hidden::File(name)) => format!("file:{name}").into(),
                Some(Hidden::Literal) | None => path.to_string().into(),
            });
        });
        break;
    }
    names
}

/// Warns of a secret that two custom channels share: what was signed for one of them is genuine on the other.
pub(super) fn judge(reader: &mut Reader<'_>, tree: &Node) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut shared = Vec::new();
    for (name, channel) in tree.get("channels").and_then(Node::table).into_iter().flatten() {
        if channel.get("platform").and_then(Node::text) != Some("custom") {
            continue;
        }
        let verify = channel.get("verify").and_then(|verify| Some(("verify.secret", verify.get("secret")?)));
        let own = channel.get("secret").map(|secret| ("secret", secret));
        for (key, node) in verify.into_iter().chain(own) {
            let path = Path::parse(&format!("channels.{name}.{key}"));
            leaves(node, &path, &mut |path, secret| {
                let Some(text) = secret.text() else { return };
                match seen.get(text) {
                    Some(other) if other != name => shared.push((path.clone(), other.clone())),
                    Some(_) => {}
                    None => drop(seen.insert(text.to_owned(), name.clone())),
                }
            });
        }
    }
    for (path, other) in shared {
        let problem =
            format!("is the secret of channels.{other}, too: what was signed for one is genuine on the other");
        let problem = Problem::new(path.to_string(), problem, "give each channel a secret of its own");
        reader.warn(tree, &Path::default(), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::super::problems::Place;
    use super::super::tree::Value;
    use super::*;

    #[test]
    fn a_verifying_secret_has_the_name_that_a_person_gave_it() {
        let node =
            |text: &str, hidden| Node { hidden: Some(hidden), ..Node::new(place(), Value::Text(text.to_owned())) };
        let list = Value::List(vec![
            node("one", Hidden::Variable("OLD".to_owned())),
            node("two", Hidden::File("new.txt".to_owned())),
            node("three", Hidden::Literal),
        ]);
        let table = |key: &str, value| Node::new(place(), Value::Table([(key.to_owned(), value)].into()));
        let channel = table("verify", table("secret", Node::new(place(), list)));
        let names = verifying(&channel, &Path::parse("channels.shop"));
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        assert_eq!(names, ["env:OLD", "file:new.txt", "channels.shop.verify.secret[2]"]);
        let channel = table("signing_secret", node("one", Hidden::Literal));
        assert_eq!(verifying(&channel, &Path::parse("channels.shop")), ["channels.shop.signing_secret".into()]);
    }

    fn place() -> Place {
        Place::Environment("TEST".into())
    }

    #[test]
    fn a_secret_counts_by_what_it_is_made_of() {
        for short in ["x", "fifteen-letters", "whsec_QQ==", "whsec_c2hvcnQga2V5IGhlcmU", "whsec_"] {
            assert!(too_short("admin.token", short).is_some(), "{short}");
        }
        for long in ["sixteen--letters", "ää ää ää ää ää ä", "whsec_c2l4dGVlbi0tbGV0dGVycw=="] {
            assert_eq!(too_short("admin.token", long), None, "{long}");
        }
        assert_eq!(too_short(ADDRESS, "sqlite:a.db"), None);
    }
}
