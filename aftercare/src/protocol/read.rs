//! From JSON to [`Protocol`], naming every fault on the way.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::check::Parts;
use super::document::{
    Clause, Course, Covered, Moment, Pacing, Protocol, QuietHours, Rule, RuleKind, Step, Texts,
    When,
};
use super::reader::{Faults, Fields, Node};
use crate::locale::Locale;

const FIELDS: &[&str] = &[
    "$schema",
    "format",
    "slug",
    "version",
    "reviewed_by",
    "reviewed_at",
    "title",
    "locales",
    "areas",
    "default_areas",
    "course",
    "pacing",
    "activities",
    "slots",
    "rules",
    "steps",
];

/// Reads all of it, so that one run names every fault; `None` when a part could not be read.
pub(super) fn protocol(faults: &mut Faults, node: &Node) -> Option<Protocol> {
    let fields = node.fields(faults, FIELDS)?;
    if let Some(format) = fields.need(faults, "format") {
        format.integer(faults, 1, 1);
    }
    let slug = fields.need(faults, "slug").and_then(|n| Some(n.name(faults)?.to_owned()));
    let version = fields.need(faults, "version").and_then(|n| n.integer(faults, 1, i32::MAX));
    let reviewed_by = fields.maybe("reviewed_by").and_then(|n| n.text(faults));
    let reviewed_at = fields.maybe("reviewed_at").and_then(|n| n.parsed(faults));
    let locales = fields.need(faults, "locales").and_then(|n| locales(faults, &n));
    let say = Speaker { locales: locales.as_deref().unwrap_or_default() };

    let title = fields.need(faults, "title").and_then(|n| say.texts(faults, &n));
    let areas = fields.need(faults, "areas").and_then(|n| n.set(faults));
    let default_areas = fields.need(faults, "default_areas").and_then(|n| n.set(faults));
    let course = fields.maybe("course").map(|n| course(faults, &n));
    let pacing = fields.need(faults, "pacing").and_then(|n| pacing(faults, &n));
    let activities = fields.need(faults, "activities").and_then(|n| say.named(faults, &n));
    let slots = fields.need(faults, "slots").and_then(|n| say.slots(faults, &n));
    let rules = fields.need(faults, "rules").and_then(|n| all(faults, &n, |f, n| say.rule(f, n)));
    let steps = fields.need(faults, "steps").and_then(|n| all(faults, &n, |f, n| say.step(f, n)));

    let (rules, steps) = (rules.unwrap_or_default(), steps.unwrap_or_default());
    let parts = Parts {
        title: title.as_ref(),
        areas: areas.as_ref(),
        default_areas: default_areas.as_ref(),
        activities: activities.as_ref(),
        slots: slots.as_ref(),
        course: course.as_ref().and_then(Option::as_ref),
        rules: &rules,
        steps: &steps,
    };
    parts.check(faults);
    Some(Protocol {
        slug: slug?,
        version: u32::try_from(version?).ok()?,
        reviewed_by: reviewed_by.map(str::to_owned),
        reviewed_at,
        title: title?,
        locales: locales?,
        areas: areas?,
        default_areas: default_areas?,
        course: course.flatten(),
        pacing: pacing?,
        activities: activities?,
        slots: slots?,
        rules: rules.into_iter().map(|(_, rule)| rule).collect::<Option<_>>()?,
        steps: steps.into_iter().map(|(_, step)| step).collect::<Option<_>>()?,
    })
}

/// Each item beside its pointer; `None` where it could not be read.
pub(super) type Read<T> = Vec<(String, Option<T>)>;

fn all<T>(
    faults: &mut Faults,
    node: &Node,
    mut item: impl FnMut(&mut Faults, &Node) -> Option<T>,
) -> Option<Read<T>> {
    let items = node.items(faults)?;
    if items.is_empty() {
        faults.add(&node.pointer, "this list is empty");
    }
    Some(items.iter().map(|node| (node.pointer.clone(), item(faults, node))).collect())
}

fn locales(faults: &mut Faults, node: &Node) -> Option<Vec<Locale>> {
    let set = node.set::<Locale>(faults)?;
    let order = node.items(faults)?;
    let mut locales: Vec<Locale> = order.iter().filter_map(|n| n.parsed(faults)).collect();
    locales.dedup();
    (locales.len() == set.len()).then_some(locales)
}

fn course(faults: &mut Faults, node: &Node) -> Option<Course> {
    let fields = node.fields(faults, &["sessions", "interval", "restart_after"])?;
    let sessions = fields.need(faults, "sessions").and_then(|n| n.integer(faults, 1, 100));
    let interval = fields.need(faults, "interval").and_then(|n| n.calendar(faults));
    let restart = fields.need(faults, "restart_after").and_then(|n| n.calendar(faults));
    if let (Some(interval), Some(restart)) = (interval, restart)
        && !restart.always_longer_than(interval)
    {
        faults.add(&format!("{}/restart_after", node.pointer), "must be longer than the interval");
    }
    Some(Course {
        sessions: u32::try_from(sessions?).ok()?,
        interval: interval?,
        restart_after: restart?,
    })
}

fn pacing(faults: &mut Faults, node: &Node) -> Option<Pacing> {
    let known = ["bundle_window", "min_gap", "max_per_day", "late_after", "quiet_hours"];
    let fields = node.fields(faults, &known)?;
    let bundle_window = fields.need(faults, "bundle_window").and_then(|n| n.elapsed(faults));
    let min_gap = fields.need(faults, "min_gap").and_then(|n| n.elapsed(faults));
    let max_per_day = fields.need(faults, "max_per_day").and_then(|n| n.integer(faults, 1, 24));
    let late_after = fields.need(faults, "late_after").and_then(|n| n.elapsed(faults));
    let quiet = fields.need(faults, "quiet_hours").and_then(|n| {
        let fields = n.fields(faults, &["from", "until"])?;
        let from = fields.need(faults, "from").and_then(|n| n.hour(faults));
        let until = fields.need(faults, "until").and_then(|n| n.hour(faults));
        Some(QuietHours { from: from?, until: until? })
    });
    Some(Pacing {
        bundle_window: bundle_window?,
        min_gap: min_gap?,
        max_per_day: u32::try_from(max_per_day?).ok()?,
        late_after: late_after?,
        quiet_hours: quiet?,
    })
}

/// A moment; what must accompany each clock word stands in one table.
fn moment(faults: &mut Faults, node: &Node) -> Option<Moment> {
    let words: &[(&str, &[&str])] = &[
        ("elapsed", &["after"]),
        ("wall", &["day", "at"]),
        ("end-of-day", &["day"]),
        ("interval", &["days", "at"]),
        ("booking", &["days", "at"]),
        ("after-due", &["days"]),
    ];
    let fields = node.fields(faults, &["clock", "after", "day", "days", "at"])?;
    let clock = fields.need(faults, "clock")?;
    let word = clock.text(faults)?;
    let Some((_, wanted)) = words.iter().find(|(known, _)| *known == word) else {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let detail = format!("\"{word}\" is no clock word; use one of {}", known.join(", "));
        faults.add(&clock.pointer, detail);
        return None;
    };
    for name in ["after", "day", "days", "at"] {
        if let Some(node) = fields.maybe(name).filter(|_| !wanted.contains(&name)) {
            faults.add(&node.pointer, format!("the clock word \"{word}\" takes no \"{name}\""));
        }
    }
    let day = |faults: &mut Faults| fields.need(faults, "day")?.integer(faults, 0, 366);
    let days = |faults: &mut Faults| fields.need(faults, "days")?.integer(faults, -366, 366);
    let at = |faults: &mut Faults| fields.need(faults, "at")?.hour(faults);
    Some(match word {
        "elapsed" => Moment::Elapsed(fields.need(faults, "after")?.elapsed(faults)?),
        "end-of-day" => Moment::EndOfDay { day: day(faults)? },
        "after-due" => {
            Moment::AfterDue { days: fields.need(faults, "days")?.integer(faults, 1, 366)? }
        }
        "wall" => {
            let (day, at) = (day(faults), at(faults));
            Moment::Wall { day: day?, at: at? }
        }
        "interval" => {
            let (days, at) = (days(faults), at(faults));
            Moment::Interval { days: days?, at: at? }
        }
        _ => {
            let (days, at) = (days(faults), at(faults));
            Moment::Booking { days: days?, at: at? }
        }
    })
}

/// Reads what holds texts, which must be there in every locale of the document.
struct Speaker<'l> {
    locales: &'l [Locale],
}

impl Speaker<'_> {
    fn texts(&self, faults: &mut Faults, node: &Node) -> Option<Texts> {
        let mut by_locale = BTreeMap::new();
        for (name, text) in node.entries(faults)? {
            match name.parse::<Locale>() {
                Ok(locale) if self.locales.is_empty() || self.locales.contains(&locale) => {
                    by_locale.insert(locale, text.text(faults)?.to_owned());
                }
                Ok(_) => faults.add(&text.pointer, "this locale is not in /locales"),
                Err(error) => faults.add(&text.pointer, error.to_string()),
            }
        }
        for locale in self.locales.iter().filter(|locale| !by_locale.contains_key(locale)) {
            faults.add(&node.pointer, format!("the text in \"{locale}\" is missing"));
        }
        Some(Texts { by_locale, default: self.locales.first()?.clone() })
    }

    fn named(&self, faults: &mut Faults, node: &Node) -> Option<BTreeMap<String, Texts>> {
        let entries = node.entries(faults)?;
        let texts = entries.iter().map(|(name, node)| (name, self.texts(faults, node)));
        Some(texts.filter_map(|(name, texts)| Some(((*name).to_owned(), texts?))).collect())
    }

    fn slots(&self, faults: &mut Faults, node: &Node) -> Option<BTreeMap<String, Option<Texts>>> {
        let mut slots = BTreeMap::new();
        for (name, node) in node.entries(faults)? {
            let filled = match node.value {
                Value::Null => None,
                _ => self.texts(faults, &node),
            };
            slots.insert(name.to_owned(), filled);
        }
        Some(slots)
    }

    fn rule(&self, faults: &mut Faults, node: &Node) -> Option<Rule> {
        let known = ["id", "kind", "activities", "areas", "until", "quote", "text", "push"];
        let fields = node.fields(faults, &known)?;
        let id = fields.need(faults, "id").and_then(|n| n.name(faults));
        let kind = fields.need(faults, "kind").and_then(|n| n.parsed(faults));
        let areas = fields.need(faults, "areas").and_then(|n| n.set(faults));
        let until = fields.maybe("until").map(|n| moment(faults, &n));
        let quote = fields.maybe("quote").and_then(|n| n.text(faults)).map(str::to_owned);
        let text = fields.need(faults, "text").and_then(|n| self.texts(faults, &n));
        let push = fields.need(faults, "push").and_then(|n| self.texts(faults, &n));
        let activities = activities(faults, &fields, kind);
        let until = match until {
            None => None,
            Some(until) => Some(until?),
        };
        Some(Rule {
            id: id?.into(),
            kind: kind?,
            activities: activities?,
            areas: areas?,
            until,
            quote,
            text: text?,
            push: push?,
        })
    }

    fn step(&self, faults: &mut Faults, node: &Node) -> Option<Step> {
        let known = [
            "id",
            "due",
            "use_by",
            "clauses",
            "title",
            "condition",
            "covered",
            "before_exercise",
            "spread",
        ];
        let fields = node.fields(faults, &known)?;
        let id = fields.need(faults, "id").and_then(|n| n.name(faults));
        let due = fields.need(faults, "due").and_then(|n| moment(faults, &n));
        let use_by = fields.maybe("use_by").map(|n| moment(faults, &n));
        let title = fields.need(faults, "title").and_then(|n| self.texts(faults, &n));
        let condition = fields.maybe("condition").map(|n| n.parsed(faults));
        let covered = fields.maybe("covered").map(|n| covered(faults, &n));
        let before_exercise = fields.maybe("before_exercise").map(|n| n.flag(faults));
        let spread = fields.maybe("spread").map(|n| n.elapsed(faults));
        let clauses = fields
            .need(faults, "clauses")
            .and_then(|n| all(faults, &n, |faults, node| self.clause(faults, node)));
        let optional = |present: bool, read: bool| !present || read;
        let complete = optional(use_by.is_some(), use_by.flatten().is_some())
            && optional(condition.is_some(), condition.flatten().is_some())
            && optional(covered.is_some(), covered.as_ref().is_some_and(Option::is_some));
        complete.then_some(())?;
        Some(Step {
            id: id?.into(),
            due: due?,
            use_by: use_by.flatten(),
            clauses: clauses?.into_iter().map(|(_, clause)| clause).collect::<Option<_>>()?,
            title: title?,
            condition: condition.flatten(),
            covered: covered.flatten(),
            before_exercise: before_exercise.flatten().unwrap_or(false),
            spread: spread.flatten().unwrap_or(SignedDuration::ZERO),
        })
    }

    fn clause(&self, faults: &mut Faults, node: &Node) -> Option<Clause> {
        let fields = node.fields(faults, &["rule", "after", "needs", "text"])?;
        let during = fields.maybe("rule").map(|n| n.name(faults));
        let after = fields.maybe("after").map(|n| n.name(faults));
        let needs = fields.maybe("needs").and_then(|n| n.text(faults)).map(str::to_owned);
        let text = fields.maybe("text").map(|n| self.texts(faults, &n));
        let when = match (during, after) {
            (Some(_), Some(_)) => {
                faults.add(&node.pointer, "a clause has \"rule\" or \"after\", not both");
                return None;
            }
            (Some(rule), None) => When::During(rule?.into()),
            (None, Some(rule)) => When::After(rule?.into()),
            (None, None) => When::Always,
        };
        if text.is_none() && !matches!(when, When::During(_)) {
            faults.add(&node.pointer, "the field \"text\" is missing");
            return None;
        }
        Some(Clause { when, needs, text: text.flatten() })
    }
}

fn activities(faults: &mut Faults, fields: &Fields, kind: Option<RuleKind>) -> Option<Vec<String>> {
    let listed = fields.maybe("activities");
    match (kind, listed) {
        (Some(RuleKind::Avoid), None) => {
            let detail = "the field \"activities\" is missing: what is to be avoided?";
            faults.add(&fields.pointer, detail);
            None
        }
        (Some(RuleKind::Do | RuleKind::Expect | RuleKind::NextSession), Some(node)) => {
            faults.add(&node.pointer, "only a rule of kind \"avoid\" has activities");
            None
        }
        (_, None) => Some(Vec::new()),
        (_, Some(node)) => {
            node.set::<String>(faults)?;
            Some(
                node.items(faults)?
                    .iter()
                    .filter_map(|n| n.text(faults))
                    .map(str::to_owned)
                    .collect(),
            )
        }
    }
}

fn covered(faults: &mut Faults, node: &Node) -> Option<Covered> {
    let fields = node.fields(faults, &["by", "after"])?;
    let by = fields.need(faults, "by").and_then(|n| n.name(faults));
    let after = fields.need(faults, "after").and_then(|n| n.hour(faults));
    Some(Covered { by: by?.into(), after: after? })
}
