//! Protocol documents: what ships is right, and every fault is named where it stands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use aftercare::protocol::{Fault, Protocol, RuleKind, SCHEMA, shipped};
use serde_json::{Value, json};

const PAGE: &str = include_str!("microneedling-page.txt");

fn microneedling() -> Value {
    serde_json::from_str(shipped()[0].json).unwrap()
}

fn faults(document: &Value) -> Vec<Fault> {
    Protocol::parse(&document.to_string()).err().unwrap_or_default()
}

/// One change to the shipped document, and the pointer and words of the fault it makes.
fn faulty(pointer: &str, value: Value) -> Vec<Fault> {
    let mut document = microneedling();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match parent {
        Value::Object(map) => drop(map.insert(field.to_owned(), value)),
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} leads nowhere"),
    }
    faults(&document)
}

#[test]
fn every_shipped_protocol_is_sound() {
    assert_eq!(shipped().len(), std::fs::read_dir("src/protocol/shipped").unwrap().count());
    for shipped in shipped() {
        assert_eq!(faults(&serde_json::from_str(shipped.json).unwrap()), []);
        for language in ["en", "es", "pt", "fr"] {
            assert!(shipped.protocol.locales.contains(&language.parse().unwrap()));
        }
    }
}

#[test]
fn an_interval_is_counted_in_months_weeks_or_days() {
    let day = jiff::civil::date(2026, 1, 31);
    for (interval, next) in [
        ("P1M", "2026-02-28"),
        ("P5M", "2026-06-30"),
        ("P6W", "2026-03-14"),
        ("P28D", "2026-02-28"),
    ] {
        let mut document = microneedling();
        document["course"]["interval"] = json!(interval);
        let course = Protocol::parse(&document.to_string()).unwrap().course.unwrap();
        assert_eq!(course.interval.after(day).unwrap().to_string(), next, "{interval}");
    }
}

/// A push never says what was done to whom; and what ends is said with its end, in every language.
#[test]
fn shipped_texts_keep_secrets_and_say_ends() {
    for shipped in shipped() {
        let protocol = &shipped.protocol;
        for rule in &protocol.rules {
            for locale in &protocol.locales {
                let push = rule.push.get(locale);
                assert_eq!(rule.until.is_some(), push.contains("{until}"), "{push}");
                let names = protocol.title.get(locale).to_lowercase();
                assert!(!push.to_lowercase().contains(&names), "{push}");
            }
        }
        assert_eq!(protocol.notice(), Some("draft, not reviewed"));
    }
}

#[test]
fn microneedling_quotes_the_page_word_for_word() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in &shipped()[0].protocol.rules {
        let quote = rule.quote.as_deref().expect("each rule stands on the page");
        assert!(words(PAGE).contains(&words(quote)), "{quote}");
    }
}

#[test]
fn a_region_falls_back_to_its_language_and_the_rest_to_the_first_locale() {
    let rule = &shipped()[0].protocol.rules[0];
    assert_eq!(rule.kind, RuleKind::Avoid);
    for (wanted, starts) in [("pt-BR", "Não lave"), ("fr-CA", "Ne vous"), ("de", "Do not")] {
        assert!(rule.text.get(&wanted.parse().unwrap()).starts_with(starts), "{wanted}");
    }
}

/// The look-up of RFC 4647: ever more general, and at last the document's first language.
#[test]
fn a_longer_tag_falls_back_step_by_step() {
    let mut document = microneedling().to_string();
    for (tag, becomes) in [("es", "zh-Hant"), ("pt", "zh"), ("fr", "pt")] {
        document = document.replace(&format!("\"{tag}\":"), &format!("\"{becomes}\":"));
        document = document.replace(&format!("\"{tag}\""), &format!("\"{becomes}\""));
    }
    let protocol = Protocol::parse(&document).unwrap();
    for (wanted, found) in [
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-Hant-TW-x-clinic", "zh-Hant"),
        ("zh-Hans-CN", "zh"),
        ("pt-BR", "pt"),
        ("ja", "en"),
    ] {
        let found_for = protocol.title.locale_for(&wanted.parse().unwrap());
        assert_eq!(found_for.as_str(), found, "{wanted}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of faults")]
fn each_fault_is_named_where_it_stands() {
    let after = |text: &str| json!({"clock": "elapsed", "after": text});
    let cases = [
        (
            "/rules/3/until",
            json!({"clock": "lunar", "day": 1}),
            "/rules/3/until/clock",
            "no clock word",
        ),
        ("/rules/3/until", after("-PT24H"), "/rules/3/until/after", "negative"),
        ("/rules/3/until", after("P1D"), "/rules/3/until/after", "no elapsed time"),
        ("/rules/3/until", after("PT0S"), "/rules/3/until", "never holds"),
        ("/rules/3/areas/0", json!("elbow"), "/rules/3/areas", "\"elbow\" is not in /areas"),
        ("/areas/0", json!("Left elbow"), "/areas/0", "lower-case"),
        ("/rules/3/id", json!("hydrate"), "/rules/3/id", "stands twice"),
        ("/rules/3/kind", json!("forbid"), "/rules/3/kind", "use one of avoid, do"),
        ("/rules/3/activities/0", json!("golf"), "/rules/3/activities/0", "not in /activities"),
        (
            "/rules/3/text",
            json!({"en": "a", "es": "b", "pt": "c"}),
            "/rules/3/text",
            "in \"fr\" is missing",
        ),
        ("/rules/3/text/de", json!("Kein Make-up"), "/rules/3/text/de", "not in /locales"),
        (
            "/rules/3/push/en",
            json!("No makeup until {end}."),
            "/rules/3/push/en",
            "nothing fills in {end}",
        ),
        ("/rules/3/push/en", json!("No makeup until {until."), "/rules/3/push/en", "brace"),
        ("/rules/3/push/en", json!("  "), "/rules/3/push/en", "empty"),
        ("/rules/3/colour", json!("red"), "/rules/3/colour", "not known"),
        ("/steps/3/id", json!("start"), "/steps/3/id", "stands twice"),
        (
            "/steps/3/due",
            json!({"clock": "wall", "day": 9, "at": "17:05"}),
            "/steps/3",
            "can never say anything",
        ),
        (
            "/steps/3/due",
            json!({"clock": "wall", "day": 1, "at": "25:05"}),
            "/steps/3/due/at",
            "no hour of the day",
        ),
        (
            "/steps/3/due",
            json!({"clock": "wall", "day": -1, "at": "17:05"}),
            "/steps/3/due/day",
            "from 0 to 366",
        ),
        ("/steps/3/due", json!({"clock": "wall", "day": 1}), "/steps/3/due", "\"at\" is missing"),
        (
            "/steps/3/use_by",
            json!({"clock": "wall", "day": 1, "at": "17:00"}),
            "/steps/3",
            "can never be sent",
        ),
        (
            "/steps/3/clauses/0/rule",
            json!("no-golf"),
            "/steps/3/clauses/0/rule",
            "no rule has the id",
        ),
        ("/steps/3/clauses/0/needs", json!("fax"), "/steps/3/clauses/0/needs", "not in /slots"),
        ("/steps/1/covered/by", json!("morning"), "/steps/1/covered/by", "no step before"),
        ("/steps/3/spread", json!("PT1H"), "/steps/3/spread", "at most PT5M"),
        ("/steps/0/spread", json!("PT1M"), "/steps/0/spread", "elapsed step"),
        ("/steps/7/condition", json!(null), "/steps/7", "\"condition\": \"booked\""),
        ("/course", json!(null), "/rules/6", "needs the field /course"),
        ("/course/interval", json!("P1Y"), "/course/interval", "no number of months"),
        ("/course/interval", json!("P1M3D"), "/course/interval", "no number of months"),
        ("/course/interval", json!("P0D"), "/course/interval", "no number of months"),
        ("/course/interval", json!("-P1M"), "/course/interval", "no number of months"),
        ("/course/interval", json!("P523W"), "/course/interval", "up to ten years"),
        ("/course/interval", json!("P168D"), "/course/restart_after", "longer than the interval"),
        (
            "/course/restart_after",
            json!("P31D"),
            "/course/restart_after",
            "longer than the interval",
        ),
        ("/default_areas", json!([]), "/default_areas", "empty"),
        ("/title/en", json!("Peel {n}"), "/title/en", "nothing fills in {n}"),
        ("/steps/0/title/en", json!("{when_to_call}"), "/steps/0/title/en", "nothing fills in"),
        ("/activities/makeup/en", json!("m".repeat(1_001)), "/activities/makeup/en", "1000 bytes"),
        (
            "/slots/when_to_call",
            json!({"en": "Call {contact_phone", "es": "a", "pt": "b", "fr": "c"}),
            "/slots/when_to_call/en",
            "a brace",
        ),
        (
            "/slots/when_to_call",
            json!({"en": "Call {contact_phone}.", "es": "a", "pt": "b", "fr": "c"}),
            "/slots/when_to_call/en",
            "nothing fills in {contact_phone}",
        ),
        (
            "/slots/when_to_call",
            json!({"en": "e".repeat(1_001), "es": "a", "pt": "b", "fr": "c"}),
            "/slots/when_to_call/en",
            "1000 bytes",
        ),
        ("/slots/until", json!(null), "/slots/until", "by itself"),
        ("/rules", json!(vec![microneedling()["rules"][0].clone(); 65]), "/rules", "at most 64"),
        ("/steps", json!(vec![microneedling()["steps"][0].clone(); 65]), "/steps", "at most 64"),
        (
            "/steps/0/clauses",
            json!(vec![json!({"rule": "hydrate"}); 33]),
            "/steps/0/clauses",
            "at most 32",
        ),
        ("/slug", json!("Micro Needling"), "/slug", "lower-case"),
        ("/version", json!(0), "/version", "from 1 to"),
        ("/format", json!(2), "/format", "from 1 to 1"),
        ("/locales/0", json!("not a language"), "/locales/0", "language"),
    ];
    for (pointer, value, at, says) in cases {
        let faults = faulty(pointer, value);
        let named = faults.iter().any(|fault| fault.pointer == at && fault.detail.contains(says));
        assert!(named, "{pointer}: wanted {at}: …{says}…, got {faults:#?}");
    }
}

/// Microneedling in Greek, of which each letter takes two bytes, as a clinic may write it that explains
/// each rule.
fn greek(sentences: usize) -> Value {
    const WHY: &str = "Το δέρμα σας είναι ευαίσθητο και χρειάζεται χρόνο για να επουλωθεί σωστά. ";
    let texts = |text: &str| json!({"el": text});
    let mut document = microneedling();
    document["locales"] = json!(["el"]);
    document["title"] = texts("Μικροβελονισμός");
    for name in ["activities", "slots"] {
        for (_, text) in document[name].as_object_mut().unwrap() {
            *text = if text.is_null() { Value::Null } else { texts("λέξη") };
        }
    }
    for rule in document["rules"].as_array_mut().unwrap() {
        let until = if rule["until"].is_null() { "" } else { "Ισχύει έως {until}." };
        rule["text"] = texts("Αποφύγετε το μακιγιάζ.");
        rule["push"] = texts(&format!("{}{until}", WHY.repeat(sentences)));
    }
    for step in document["steps"].as_array_mut().unwrap() {
        step["title"] = texts("Μετά τη θεραπεία");
        for clause in step["clauses"].as_array_mut().unwrap() {
            if !clause["text"].is_null() {
                clause["text"] = texts(WHY);
            }
        }
    }
    document
}

#[test]
fn a_step_that_no_push_can_hold_is_refused_with_its_size() {
    assert_eq!(faults(&greek(2)), [], "six rules of two sentences");
    let faults = faults(&greek(4));
    let start = faults.iter().find(|fault| fault.pointer == "/steps/0").unwrap();
    assert!(start.detail.contains("bytes in \"el\", and a push holds 3000"), "{start}");
    let morning = faults.iter().filter(|fault| fault.pointer == "/steps/3");
    assert_eq!(morning.count(), 0, "one rule alone is short enough");
}

#[test]
fn one_run_names_them_all() {
    let mut document = microneedling();
    document["rules"][0]["until"]["clock"] = json!("lunar");
    document["rules"][1]["until"]["after"] = json!("-PT1H");
    document["rules"][2]["areas"] = json!(["elbow"]);
    document["rules"][3]["text"]["fr"].take();
    document["steps"][3]["due"]["day"] = json!(9);
    document["steps"][4]["id"] = json!("start");
    let pointers: Vec<_> = faults(&document).into_iter().map(|fault| fault.pointer).collect();
    for wanted in [
        "/rules/0/until/clock",
        "/rules/1/until/after",
        "/rules/2/areas",
        "/rules/3/text/fr",
        "/steps/3",
        "/steps/4/id",
    ] {
        assert!(pointers.iter().any(|pointer| pointer == wanted), "{wanted} not in {pointers:?}");
    }
}

#[test]
fn what_is_not_a_document_says_so() {
    for (text, says) in [("", "not JSON"), ("[]", "an object expected"), ("{", "not JSON")] {
        let faults = Protocol::parse(text).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].detail.contains(says), "{}", faults[0]);
    }
}

#[test]
fn a_field_that_stands_twice_is_a_fault_where_it_stands() {
    let text = shipped()[0].json;
    let twice = text.replacen("\"day\": 1,", "\"day\": 1, \"day\": 2,", 1);
    let twice = twice.replacen("\"slug\":", "\"slug\": \"other\", \"slug\":", 1);
    assert_ne!(text, twice);
    let faults = Protocol::parse(&twice).unwrap_err();
    let named: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        named,
        ["/slug: this stands here twice", "/steps/2/due/day: this stands here twice"]
    );
}

/// The published schema names the same fields as the reader.
#[test]
fn the_schema_knows_every_field_of_the_shipped_documents() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let known = |at: &str| -> Vec<String> {
        schema.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    let document = microneedling();
    for (object, at) in [
        ("", "/properties"),
        ("/rules/0", "/$defs/rule/properties"),
        ("/steps/1", "/$defs/step/properties"),
    ] {
        for field in document.pointer(object).unwrap().as_object().unwrap().keys() {
            assert!(known(at).contains(field), "{field}");
        }
        let mut changed = document.clone();
        for field in known(at) {
            let target = changed.pointer_mut(object).unwrap().as_object_mut().unwrap();
            target.entry(field).or_insert(Value::Null);
        }
        let unknown =
            faults(&changed).into_iter().filter(|fault| fault.detail.contains("is not known"));
        assert_eq!(unknown.collect::<Vec<_>>(), []);
    }
}
