//! The shape of the file as JSON Schema: what editors are given, and what the reader goes by.
//! Made of the sections' own structs, so a new key needs nothing here.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::channels::Shared;
use crate::pipeline::channel::{Conversations, Replies};
use crate::platform::{self, custom, slack, telegram, whatsapp};
use crate::{fini, http, store, web};

/// JSON Schema of the whole file, for editors.
pub fn schema() -> Value {
    Schemas::new().root
}

pub(super) struct Schemas {
    root: Value,
    /// The keys of each platform's own struct.
    own: Vec<(&'static str, Vec<String>)>,
}

impl Schemas {
    pub fn new() -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let mut properties = Map::new();
        properties.insert("server".into(), section::<web::Server>(&mut generator));
        properties.insert("admin".into(), section::<web::Admin>(&mut generator));
        properties.insert("metrics".into(), section::<web::Metrics>(&mut generator));
        properties.insert("fini".into(), section::<fini::Config>(&mut generator));
        properties.insert("http".into(), section::<http::Config>(&mut generator));
        properties.insert("store".into(), section::<store::Config>(&mut generator));
        properties.insert("conversations".into(), section::<Conversations>(&mut generator));
        properties.insert("replies".into(), section::<Replies>(&mut generator));
        let shared = section::<Shared>(&mut generator);
        let mut channels = Map::new();
        let mut own = Vec::new();
        for name in platform::NAMES {
            let keys = platform_keys(name, &mut generator);
            let shape = Shape { root: &keys, at: &keys };
            own.push((name, shape.properties().into_iter().map(|(key, _)| key.to_owned()).collect()));
            channels.insert(format!("channel-{name}"), channel(name, &shared, keys));
        }
        let one_of: Vec<Value> = channels.keys().map(|key| json!({ "$ref": format!("#/$defs/{key}") })).collect();
        properties.insert(
            "channels".into(),
            json!({
                "type": "object",
                "description": "One table a channel: [channels.NAME]; its webhook is /webhooks/NAME",
                "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" },
                "additionalProperties": { "oneOf": one_of }
            }),
        );
        let mut definitions = generator.take_definitions(true);
        definitions.extend(channels);
        definitions.insert("channel".into(), shared);
        let mut root = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "fini-bridge configuration",
            "type": "object",
            "properties": properties,
            "$defs": definitions
        });
        close(&mut root);
        Self { root, own }
    }

    pub fn root(&self) -> Shape<'_> {
        Shape { root: &self.root, at: &self.root }
    }

    /// Whether the platform's own struct has this key.
    pub fn is_own(&self, platform: &str, key: &str) -> bool {
        self.own.iter().any(|(name, keys)| *name == platform && keys.iter().any(|own| own == key))
    }

    /// The keys of a channel of this platform; the keys of any channel where it is unknown.
    pub fn channel(&self, platform: Option<&str>) -> Shape<'_> {
        let definitions = self.root.get("$defs");
        let of = |name: &str| definitions.and_then(|all| all.get(name));
        let at = platform.and_then(|name| of(&format!("channel-{name}"))).or_else(|| of("channel"));
        Shape { root: &self.root, at: at.unwrap_or(&Value::Bool(true)) }
    }
}

fn section<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    T::json_schema(generator).to_value()
}

/// The keys of a platform's own struct.
fn platform_keys(name: &str, generator: &mut SchemaGenerator) -> Value {
    match name {
        "slack" => section::<slack::Config>(generator),
        "telegram" => section::<telegram::Config>(generator),
        "whatsapp" => section::<whatsapp::Config>(generator),
        "custom" => section::<custom::Config>(generator),
        _ => Value::Bool(false),
    }
}

/// One table with the keys of every channel and those of its platform.
fn channel(name: &str, shared: &Value, own: Value) -> Value {
    let mut merged = match own {
        Value::Object(own) => own,
        _ => Map::new(),
    };
    let mut properties = shared.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if name != "custom" {
        properties.remove("sample");
    }
    if let Some(Value::Object(own)) = merged.remove("properties") {
        properties.extend(own);
    }
    properties.insert("platform".into(), json!({ "type": "string", "const": name }));
    let mut required = shared.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Array(own)) = merged.remove("required") {
        required.extend(own);
    }
    merged.insert("type".into(), "object".into());
    merged.insert("properties".into(), properties.into());
    merged.insert("required".into(), required.into());
    merged.into()
}

/// Says of every table with fixed keys that it has no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let fixed = map.get("properties").is_some_and(Value::is_object)
                && map.get("type").is_some_and(|kind| kind == "object")
                && !map.contains_key("additionalProperties");
            if fixed {
                let composed = ["allOf", "anyOf", "oneOf"].iter().any(|key| map.contains_key(*key));
                let key = if composed { "unevaluatedProperties" } else { "additionalProperties" };
                map.insert(key.into(), false.into());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// A part of a JSON Schema, and the document whose `$defs` it refers to.
#[derive(Clone, Copy)]
pub(super) struct Shape<'s> {
    root: &'s Value,
    at: &'s Value,
}

impl<'s> Shape<'s> {
    #[cfg(test)]
    pub fn of(root: &'s Value) -> Self {
        Self { root, at: root }
    }

    fn with(self, at: &'s Value) -> Self {
        Self { root: self.root, at }
    }

    fn member(self, key: &str) -> Option<&'s Value> {
        self.at.get(key)
    }

    /// Without references and without the `null` of an optional key.
    pub fn resolved(self) -> Self {
        let mut shape = self;
        // A schema that refers to itself for ever is a defect of a section; it ends here all the same.
        for _ in 0..16 {
            let next = if let Some(Value::String(reference)) = shape.member("$ref") {
                reference.strip_prefix('#').and_then(|pointer| shape.root.pointer(pointer))
            } else {
                let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| shape.member(key)?.as_array());
                let mut lists = lists.map(|list| list.iter().filter(|one| !is_null(one)).collect::<Vec<_>>());
                match lists.next().as_deref() {
                    Some([one]) if shape.member("properties").is_none() => Some(*one),
                    _ => None,
                }
            };
            match next {
                Some(next) => shape = shape.with(next),
                None => break,
            }
        }
        shape
    }

    /// The alternatives; empty where there is only one.
    pub fn branches(self) -> Vec<Shape<'s>> {
        let lists = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| self.member(key)?.as_array());
        lists.flatten().filter(|one| !is_null(one)).map(|one| self.with(one).resolved()).collect()
    }

    /// Types it takes, in the words of JSON Schema; empty: any.
    pub fn kinds(self) -> Vec<&'s str> {
        match self.member("type") {
            Some(Value::String(kind)) => vec![kind.as_str()],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ if self.member("properties").is_some() => vec!["object"],
            _ if self.member("const").or(self.member("enum")).is_some() => vec!["string"],
            _ => {
                let mut kinds = Vec::new();
                for branch in self.branches() {
                    let more = branch.kinds();
                    if more.is_empty() {
                        return Vec::new();
                    }
                    kinds.extend(more);
                }
                kinds.dedup();
                kinds
            }
        }
    }

    pub fn takes(self, kind: &str) -> bool {
        let kinds = self.kinds();
        kinds.is_empty() || kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"))
    }

    /// The fixed keys, its own and those of its alternatives.
    pub fn properties(self) -> Vec<(&'s str, Shape<'s>)> {
        let own = self.member("properties").and_then(Value::as_object);
        let mut all: Vec<_> = own.into_iter().flatten().map(|(key, at)| (key.as_str(), self.with(at))).collect();
        for branch in self.branches() {
            all.extend(branch.properties());
        }
        all
    }

    pub fn property(self, key: &str) -> Option<Shape<'s>> {
        self.properties().into_iter().find(|(name, _)| *name == key).map(|(_, shape)| shape)
    }

    pub fn required(self) -> Vec<&'s str> {
        let own = self.member("required").and_then(Value::as_array);
        own.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// What the values of a table with free keys are; `None` where the keys are fixed.
    pub fn free_values(self) -> Option<Shape<'s>> {
        match self.member("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(at) => Some(self.with(at)),
            None if self.properties().is_empty() && self.member("unevaluatedProperties").is_none() => {
                Some(self.with(&Value::Bool(true)))
            }
            None => self.branches().into_iter().filter(|one| one.takes("object")).find_map(Shape::free_values),
        }
    }

    pub fn items(self) -> Option<Shape<'s>> {
        self.member("items").map(|at| self.with(at))
    }

    pub fn format(self) -> Option<&'s str> {
        self.member("format")?.as_str()
    }

    pub fn minimum(self) -> Option<i64> {
        self.member("minimum").and_then(|least| least.as_i64().or_else(|| Some(least.as_f64()? as i64)))
    }

    pub fn description(self) -> Option<&'s str> {
        self.member("description").and_then(Value::as_str).or_else(|| {
            let resolved = self.resolved();
            resolved.member("description").and_then(Value::as_str)
        })
    }

    pub fn examples(self) -> Vec<&'s str> {
        self.member("examples").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The words of a closed list; empty where any text goes.
    pub fn choices(self) -> Vec<&'s str> {
        if let Some(Value::String(word)) = self.member("const") {
            return vec![word.as_str()];
        }
        if let Some(Value::Array(words)) = self.member("enum") {
            return words.iter().filter_map(Value::as_str).collect();
        }
        let mut all = Vec::new();
        for branch in self.branches().into_iter().filter(|one| one.takes("string")) {
            let words = branch.choices();
            if words.is_empty() {
                return Vec::new();
            }
            all.extend(words);
        }
        all
    }

    /// What may stand here, in words.
    pub fn describe(self) -> String {
        let shape = self.resolved();
        let choices = shape.choices();
        if !choices.is_empty() {
            return choices.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        }
        // A key may have better ones than its type.
        let examples = [self.examples(), shape.examples()].into_iter().find(|own| !own.is_empty()).unwrap_or_default();
        let kinds = shape.kinds();
        let words = kinds.iter().map(|kind| match *kind {
            "string" if !examples.is_empty() => {
                format!(
                    "a text such as {}",
                    examples.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(" or ")
                )
            }
            "string" if shape.format() == Some(crate::domain::secret::SECRET_FORMAT) => {
                "\"env:NAME\" or \"file:PATH\"".to_owned()
            }
            "string" => "a text in quotes".to_owned(),
            "integer" => match shape.minimum() {
                Some(least) => format!("a whole number, {least} or more"),
                None => "a whole number".to_owned(),
            },
            "number" => "a number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => "a list, [ … ]".to_owned(),
            "object" => "a table".to_owned(),
            other => other.to_owned(),
        });
        words.collect::<Vec<_>>().join(" or ")
    }

    /// Something that fits, put where what was written doesn't, so that the rest can still be judged.
    pub fn stand_in(self) -> Value {
        let shape = self.resolved();
        if let Some(word) = shape.choices().first() {
            return (*word).into();
        }
        match shape.kinds().first().copied() {
            Some("string") => shape.examples().first().copied().unwrap_or("stand-in").into(),
            Some("integer" | "number") => shape.minimum().unwrap_or(1).max(1).into(),
            Some("boolean") => false.into(),
            Some("array") => json!([]),
            Some("object") => {
                let required = shape.required();
                let own = shape.properties().into_iter().filter(|(key, _)| required.contains(key));
                own.map(|(key, one)| (key.to_owned(), one.stand_in())).collect::<Map<_, _>>().into()
            }
            _ => Value::Null,
        }
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_its_keys_in_the_schema() {
        let schemas = Schemas::new();
        for name in platform::NAMES {
            let channel = schemas.channel(Some(name));
            assert_eq!(channel.property("platform").unwrap().choices(), [name]);
            assert!(channel.required().contains(&"bot_id"), "{name}");
        }
        assert!(schemas.channel(Some("custom")).property("sample").is_some());
        assert!(schemas.channel(Some("slack")).property("sample").is_none());
    }

    #[test]
    fn an_editor_learns_that_a_table_has_no_other_keys() {
        let schema = schema();
        assert_eq!(schema["properties"]["server"]["additionalProperties"], json!(false));
        assert_eq!(schema["additionalProperties"], json!(false));
        let references = serde_json::to_string(&schema).unwrap();
        for reference in references.split("\"#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{name} is defined");
        }
    }
}
