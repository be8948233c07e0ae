//! An example for every body, put together from those of its fields, so that none can disagree with its
//! schema. A body that fields alone do not explain has its own, which is kept.

use serde_json::{Map, Value, json};

/// How deep schemas may nest; ours nest four deep.
const DEEPEST: usize = 16;

/// Gives each request and each answer of an operation its example.
pub(super) fn add(operation: &mut Map<String, Value>, schemas: &Value) {
    if let Some(body) = operation.get_mut("requestBody") {
        complete(body, schemas);
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (_, response) in responses.into_iter().flatten() {
        complete(response, schemas);
    }
}

fn complete(body: &mut Value, schemas: &Value) {
    let contents = body.get_mut("content").and_then(Value::as_object_mut);
    for media_type in
        contents.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut)
    {
        if media_type.contains_key("example") || media_type.contains_key("examples") {
            continue;
        }
        let example = media_type.get("schema").and_then(|schema| of(schema, schemas, 0));
        if let Some(example) = example {
            media_type.insert("example".to_owned(), example);
        }
    }
}

/// The example of a schema; `None` when one of its fields has none.
fn of(schema: &Value, schemas: &Value, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    if let Some(own) = schema.get("example").or_else(|| schema.get("default")) {
        return Some(own.clone());
    }
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let (_, name) = name.rsplit_once('/')?;
        return of(schemas.get(name)?, schemas, depth + 1);
    }
    if let Some(word) = schema.get("enum").and_then(|words| words.get(0)) {
        return Some(word.clone());
    }
    let choices = ["oneOf", "anyOf"].iter().find_map(|kind| schema.get(kind)?.as_array());
    if let Some(choices) = choices {
        return choices.iter().find_map(|choice| of(choice, schemas, depth + 1));
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let parts = parts.iter().map(|part| of(part, schemas, depth + 1));
        let parts = parts.collect::<Option<Vec<Value>>>()?.into_iter();
        let members = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Some(Value::Object(members.collect()));
    }
    match schema.get("type").map(first_type)? {
        "object" => {
            let members = schema.get("properties")?.as_object()?.iter();
            let members =
                members.map(|(name, member)| Some((name.clone(), of(member, schemas, depth + 1)?)));
            members.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        "array" => Some(json!([of(schema.get("items")?, schemas, depth + 1)?])),
        "boolean" => Some(json!(true)),
        _ => None,
    }
}

/// `["string", "null"]` is a string that may be absent.
fn first_type(kind: &Value) -> &str {
    let first = kind.as_array().and_then(|kinds| kinds.first());
    first.unwrap_or(kind).as_str().unwrap_or_default()
}
