//! Protocols that a clinic may publish in the place of the shipped one, under its name.

use aftercare::protocol::shipped;
use serde_json::{Value, json};

/// The shipped document in English only, and changed in one of four ways.
pub(crate) fn variant(n: u64, version: u32) -> Value {
    let mut document: Value = serde_json::from_str(shipped()[0].json).expect("it is shipped");
    in_english(&mut document);
    document["version"] = json!(version);
    document["locales"] = json!(["en"]);
    match n {
        0 => {
            // Longer, and with steps of use until their rules end.
            document["rules"][4]["until"]["after"] = json!("PT72H");
            for step in [1, 3] {
                let step = document["steps"][step].as_object_mut().expect("a step");
                step.remove("use_by");
            }
        }
        1 => {
            document["pacing"]["max_per_day"] = json!(2);
            document["pacing"]["bundle_window"] = json!("PT2H");
        }
        2 => {
            document["pacing"]["min_gap"] = json!("PT4H");
            document["pacing"]["quiet_hours"] = json!({"from": "20:00", "until": "08:30"});
            document["course"]["sessions"] = json!(2);
        }
        _ => {
            document["steps"][2]["due"]["at"] = json!("08:40");
            document["steps"].as_array_mut().expect("steps").remove(3);
            document["course"]["interval"] = json!("P2M");
        }
    }
    document
}

/// Leaves English alone where a text is in several languages.
fn in_english(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.contains_key("en") => fields.retain(|tag, _| tag == "en"),
        Value::Object(fields) => fields.values_mut().for_each(in_english),
        Value::Array(items) => items.iter_mut().for_each(in_english),
        _ => {}
    }
}
