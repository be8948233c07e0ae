"""What the binary printed, held against the rules."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rules import DAY, HOUR, MINUTE, UTC, Protocol, plan, rfc3339_utc, with_zone

MONTHS = calendar.month_name[1:]
DAY_NAMED = rf"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|\d\d? (?:{'|'.join(MONTHS)}))"
NAMED_HOUR = re.compile(
    rf"\b(?:until|ends) (?:at )?(midnight (?:tonight|tomorrow|on {DAY_NAMED})|(?:today|tomorrow|{DAY_NAMED}) (?:at )?\d\d:\d\d)"
)
NEVER_SAID = re.compile(r"needl|chemical|laser|face.?and|you (?:may|can)|allowed|permitted|\bfine to\b|\bok(?:ay)? to\b|patient", re.I)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def named_instants(phrase: str, due: datetime, zone: ZoneInfo) -> set[datetime]:
    """Every instant (to the minute) that an hour named in a text sent at `due` can mean within a year."""
    today = due.astimezone(zone).date()
    if midnight := phrase.startswith("midnight"):
        word, wall = phrase.removeprefix("midnight ").removeprefix("on ").replace("tonight", "today"), time(0)
    else:
        word, _, clock = phrase.replace(" at ", " ").rpartition(" ")
        wall = time.fromisoformat(clock)
    if word in ("today", "tomorrow"):
        days = [today + (word == "tomorrow") * DAY]
    elif word in WEEKDAYS:
        days = [day for n in range(1, 7) if WEEKDAYS[(day := today + n * DAY).weekday()] == word]
    else:
        number, _, month = word.partition(" ")
        near = (today + n * DAY for n in range(6, 366))
        days = [day for day in near if (day.day, MONTHS[day.month - 1]) == (int(number), month)]
    days = [day + midnight * DAY for day in days]  # the midnight at the end of that day
    return {datetime.combine(day, wall, zone).replace(fold=fold).astimezone(UTC) for day in days for fold in (0, 1)}


def minute_up(instant: datetime) -> datetime:
    """Texts round up: what ends a little later is never said to end earlier."""
    return (instant + MINUTE - timedelta(microseconds=1)).replace(second=0, microsecond=0)


def check_texts(reminder: dict, want: dict, ends: dict, zone: ZoneInfo) -> list[str]:
    faults = []
    body = reminder["body"]
    phrases = NAMED_HOUR.findall(body)
    expected = [ends[r] for r in want["rules"] if ends.get(r) is not None]
    if len(phrases) != len(expected):
        faults.append(f"body names {len(phrases)} hours for {len(expected)} rules with an end: {body!r}")
    named = [named_instants(p, want["due"], zone) for p in phrases]
    for end in expected:
        minute = minute_up(end)
        if not any(minute in instants for instants in named):
            faults.append(f"body does not name the end {with_zone(end, zone)}: {body!r}")
    for phrase, instants in zip(phrases, named):
        if not any(minute_up(e) in instants for e in expected):
            faults.append(f"body names {phrase!r}, which is no rule's end: {body!r}")
    for text in (reminder["title"], body):
        if hit := NEVER_SAID.search(text):
            faults.append(f"text says {hit.group()!r}: {text!r}")
    return faults


def compare(protocol: Protocol, got: dict, completed: datetime, zone: ZoneInfo, areas: tuple[str, ...]) -> list[str]:
    want = plan(protocol, completed, zone, areas)
    faults: list[str] = []

    def same(what: str, mine: object, theirs: object) -> None:
        if mine != theirs:
            faults.append(f"{what}: oracle {mine!r}, binary {theirs!r}")

    def same_instant(what: str, mine: datetime | None, of: dict, key: str) -> None:
        same(f"{what}.{key}", None if mine is None else rfc3339_utc(mine), of[key])
        local = key.removesuffix("_at") + "_local"
        if local in of:
            same(f"{what}.{local}", None if mine is None else with_zone(mine, zone), of[local])

    treatment = got["treatment"]
    same_instant("treatment", completed, treatment, "completed_at")
    same("treatment.time_zone", zone.key, treatment["time_zone"])
    same("treatment.areas", sorted(set(areas)), sorted(treatment["areas"]))

    names = [r["rule"] for r in got["restrictions"]]
    rules = protocol.rules
    asked = [name for name in want["ends"] if rules[name]["kind"] != "next-session"]
    same("restrictions", asked, names)
    for r in got["restrictions"]:
        rule, what = rules.get(r["rule"]), r["rule"]
        if rule is None or r["rule"] not in want["ends"]:
            continue
        same(f"{what}.kind", rule["kind"], r["kind"])
        same(f"{what}.activities", sorted(rule.get("activities", [])), sorted(r["activities"]))
        same(f"{what}.areas", sorted(set(rule["areas"]) & want["treated"]), sorted(r["areas"]))
        same_instant(what, completed, r, "from")
        same_instant(what, want["ends"][r["rule"]], r, "until")

    mine = {r["steps"][0]: r for r in want["reminders"]}
    theirs = {r["steps"][0]: r for r in got["reminders"]}
    same("reminders", [r["steps"] for r in want["reminders"]], [r["steps"] for r in got["reminders"]])
    for name in mine.keys() & theirs.keys():
        m, t = mine[name], theirs[name]
        same(f"{name}.rule_ids", sorted(m["rules"]), sorted(t["rule_ids"]))
        same_instant(name, m["due"], t, "due_at")
        same_instant(name, m["use_by"], t, "use_by")
        faults += [f"{name}: {f}" for f in check_texts(t, m, want["ends"], zone)]

    same("skipped", want["skipped"], {s["step"]: s["reason"] for s in got["skipped"]})
    of_steps = {step["id"]: protocol.speaks_of(step) for step in protocol.document["steps"]}
    for s in got["skipped"]:
        of_step, named = of_steps[s["step"]], set(s["rule_ids"])
        if not {r for r in of_step if r in want["ends"]} <= named <= set(of_step):
            faults.append(f"skipped {s['step']}.rule_ids: {sorted(named)}")

    dues = [r["due"] for r in want["reminders"]]
    if any(b - a < protocol.pause("min_gap") for a, b in zip(dues, dues[1:])):
        faults.append("two reminders closer than min_gap: the rules do not say what happens")
    if max(Counter(d.astimezone(zone).date() for d in dues).values()) > protocol.document["pacing"]["max_per_day"]:
        faults.append("more reminders on a day than max_per_day: the rules do not say what happens")
    if sum(d - completed <= 48 * HOUR for d in dues) > 5:
        faults.append("more than five reminders in the first 48 hours")
    return faults


def zone_data_differs(value: object, zone: ZoneInfo) -> bool:
    """Whether a local reading in the binary's answer has another offset than ours at that instant."""
    if isinstance(value, dict):
        return any(zone_data_differs(v, zone) for v in value.values())
    if isinstance(value, list):
        return any(zone_data_differs(v, zone) for v in value)
    if isinstance(value, str) and value.endswith("]") and "[" in value:
        try:
            theirs = datetime.fromisoformat(value[: value.index("[")])
        except ValueError:
            return False
        return theirs.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != theirs.replace(tzinfo=None)
    return False
