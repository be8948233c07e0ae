#!/usr/bin/env python3
"""An independent reading of the planning rules, compared with `aftercare plan --json`.

    python3 plan_oracle.py --binary PATH [--moments N] [--seed S] [DOCUMENT ...]

Plans each document (by default every one that ships) for many moments in Python and compares each with what the
binary prints: restrictions, reminders, skipped steps, local readings, and that every hour named in an English text
is the hour at which the rule really ends. Exit code 0: no difference, 1: differences, 2: could not run.

Needs Python 3.11 and `pip install tzdata` (the system's zone files are never read). The binary carries its own
zone data; a difference that comes from another tzdata release is marked `[zone data]`. To rule those out,
install the release that the binary was built with: IANA 2026e is `tzdata==2026.5`.

How the rules are read, where more than one reading is possible:
  - a rule holds in [T, end): a step due exactly at the end no longer says it;
  - a step whose rules all lie outside the treated areas is `nothing-to-say`, also when it would be `covered`;
  - "covered after 18:45" is strict and compares the wall clock of day 0, to the fraction of a second;
  - P1M, P6W, "+- 7 days" and "day n" count calendar days, and only the resulting wall time is resolved; a use-by of
    "+ 3 days" counts calendar days from the due time as resolved;
  - `start` names a rule only while it holds at its due time (T + 15 min), as every other step does;
  - a skipped step's `rule_ids` may or may not leave out the rules that lie outside the treated areas;
  - a step that needs a booking is neither planned nor skipped without one;
  - a clause without a rule is always said, and one that names a rule with "after" once that rule, which must lie
    in the treated areas, has ended; neither counts among `rule_ids`.
`min_gap` and `max_per_day` have no stated effect; the oracle fails a plan that would need one.
"""

from __future__ import annotations

import argparse
import calendar
import importlib.metadata
import itertools
import json
import random
import re
import subprocess
import sys
import zoneinfo
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=[])

UTC = timezone.utc
SHIPPED = Path(__file__).resolve().parents[2] / "aftercare/src/protocol/shipped"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# ---------------------------------------------------------------------------------------------------------------
# The protocol


@dataclass(frozen=True)
class Clause:
    rule: str | None  # said while it holds
    after: str | None  # said once it has ended
    needs: str | None  # said only when this slot is filled in


@dataclass(frozen=True)
class Protocol:
    """A document as it stands in its file; nothing of it is checked here."""

    path: Path
    document: dict

    @property
    def areas(self) -> tuple[str, ...]:
        return tuple(self.document["areas"])

    @property
    def default_areas(self) -> tuple[str, ...]:
        return tuple(self.document["default_areas"])

    @property
    def rules(self) -> dict[str, dict]:
        return {rule["id"]: rule for rule in self.document["rules"]}

    def clauses(self, step: dict) -> list[Clause]:
        return [Clause(c.get("rule"), c.get("after"), c.get("needs")) for c in step["clauses"]]

    def speaks_of(self, step: dict) -> list[str]:
        return [clause.rule for clause in self.clauses(step) if clause.rule]

    def pause(self, name: str) -> timedelta:
        return elapsed(self.document["pacing"][name])

    def hour(self, name: str) -> time:
        return time.fromisoformat(self.document["pacing"]["quiet_hours"][name])


def load(path: Path) -> Protocol:
    return Protocol(path, json.loads(path.read_text(encoding="utf-8")))


def elapsed(text: str) -> timedelta:
    found = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", text)
    hours, minutes, seconds = (int(n or 0) for n in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


# ---------------------------------------------------------------------------------------------------------------
# Time


def resolve(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """The instant of a wall time: in a gap the later reading, in a fold the first. That is fold=0 for both."""
    return datetime.combine(day, wall, zone).replace(fold=0).astimezone(UTC)


def plus_interval(day: date, interval: str) -> date:
    """P1M, P6W or P28D later; a day that the month lacks is its last one."""
    number, unit = int(interval[1:-1]), interval[-1]
    if unit != "M":
        return day + number * (7 if unit == "W" else 1) * DAY
    months = day.year * 12 + day.month - 1 + number
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def parse_at(text: str, zone: ZoneInfo) -> datetime:
    if text.endswith("Z") or re.search(r"[+-]\d\d:\d\d$", text):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    wall = datetime.fromisoformat(text)
    return resolve(wall.date(), wall.time(), zone)


def rfc3339_utc(instant: datetime) -> str:
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def with_zone(instant: datetime, zone: ZoneInfo) -> str:
    local = instant.astimezone(zone)
    text = local.replace(tzinfo=None).isoformat()
    text = text.rstrip("0") if "." in text else text
    total = round(local.utcoffset().total_seconds() / 60)
    sign, total = ("-", -total) if total < 0 else ("+", total)
    return f"{text}{sign}{total // 60:02}:{total % 60:02}[{zone.key}]"


# ---------------------------------------------------------------------------------------------------------------
# The plan


@dataclass
class Step:
    name: str
    due: datetime
    use_by: datetime
    clauses: list[Clause]
    covered: dict | None
    quiet_exempt: bool = False


class Anchor:
    """What the moments of one treatment hang on, for a patient who stays where it was."""

    def __init__(self, protocol: Protocol, completed: datetime, zone: ZoneInfo) -> None:
        self.completed, self.zone = completed, zone
        self.day0 = completed.astimezone(zone).date()
        course = protocol.document.get("course")
        self.next_session = plus_interval(self.day0, course["interval"]) if course else None

    def instant(self, moment: dict, due: datetime | None = None) -> datetime | None:
        wall = time.fromisoformat(moment["at"]) if "at" in moment else None
        match moment["clock"]:
            case "elapsed":
                return self.completed + elapsed(moment["after"])
            case "wall":
                return resolve(self.day0 + moment["day"] * DAY, wall, self.zone)
            case "end-of-day":
                return resolve(self.day0 + (moment["day"] + 1) * DAY, time(0), self.zone)
            case "interval":
                return resolve(self.next_session + moment["days"] * DAY, wall, self.zone)
            case "after-due":
                local = due.astimezone(self.zone)
                return resolve(local.date() + moment["days"] * DAY, local.time(), self.zone)
            case _:  # a booking, of which there is none
                return None


def plan(protocol: Protocol, completed: datetime, zone: ZoneInfo, areas: tuple[str, ...]) -> dict:
    anchor, treated = Anchor(protocol, completed, zone), set(areas)
    local = completed.astimezone(zone)
    ends: dict[str, datetime | None] = {}
    for name, rule in protocol.rules.items():
        if set(rule["areas"]) & treated:
            ends[name] = anchor.instant(rule["until"]) if rule.get("until") else None

    steps = []
    for step in protocol.document["steps"]:
        if step.get("condition") == "booked":
            continue
        due, clauses = anchor.instant(step["due"]), protocol.clauses(step)
        if step.get("use_by"):
            use_by = anchor.instant(step["use_by"], due)
        else:
            use_by = max(end for c in clauses if (end := ends.get(c.rule or c.after or "")))
        exempt = not steps and step["due"]["clock"] == "elapsed"  # the first instructions
        steps.append(Step(step["id"], due, use_by, clauses, step.get("covered"), quiet_exempt=exempt))

    def concerns(clause: Clause) -> bool:
        rule = clause.rule or clause.after
        filled = clause.needs is None or protocol.document["slots"].get(clause.needs) is not None
        return filled and (rule is None or rule in ends)

    def says(clause: Clause, at: datetime) -> bool:
        if clause.rule:
            return ends[clause.rule] is None or completed <= at < ends[clause.rule]
        return clause.after is None or ends[clause.after] is not None and ends[clause.after] <= at

    skipped: dict[str, str] = {}
    kept: list[tuple[Step, frozenset[str]]] = []
    for step in steps:
        relevant = [clause for clause in step.clauses if concerns(clause)]
        if not relevant:
            skipped[step.name] = "nothing-to-say"
        elif step.covered and local.time() > time.fromisoformat(step.covered["after"]):
            skipped[step.name] = "covered"
        elif not quiet_hours(protocol, step, completed, zone):
            skipped[step.name] = "quiet-hours"
        else:
            said = [clause for clause in relevant if says(clause, step.due)]
            if said:
                kept.append((step, frozenset(clause.rule for clause in said if clause.rule)))
            else:
                skipped[step.name] = "nothing-to-say"

    kept.sort(key=lambda pair: pair[0].due)  # stable: protocol order among equals
    bundles: list[list[tuple[Step, frozenset[str]]]] = []
    for pair in kept:
        if bundles and pair[0].due - bundles[-1][0][0].due <= protocol.pause("bundle_window"):
            bundles[-1].append(pair)
        else:
            bundles.append([pair])
    reminders = [
        {
            "steps": [step.name for step, _ in bundle],
            "rules": frozenset().union(*(said for _, said in bundle)),
            "due": bundle[0][0].due,
            "use_by": min(step.use_by for step, _ in bundle),
        }
        for bundle in bundles
    ]
    return {"ends": ends, "reminders": reminders, "skipped": skipped, "treated": treated}


def quiet_hours(protocol: Protocol, step: Step, now: datetime, zone: ZoneInfo) -> bool:
    """Moves a step out of quiet hours, which here lie over midnight; False when it has to be skipped."""
    first, until = protocol.hour("from"), protocol.hour("until")
    local = step.due.astimezone(zone)
    if step.quiet_exempt or until <= local.time() < first:
        return True
    evening = local.time() >= first
    end = resolve(local.date() + (DAY if evening else timedelta(0)), until, zone)
    start = resolve(local.date() - (timedelta(0) if evening else DAY), first, zone)
    if end < step.use_by:
        step.due = end
    elif start >= now:
        step.due = start
    else:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------
# The comparison

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


# ---------------------------------------------------------------------------------------------------------------
# The moments

DST_ZONES = """
Europe/Lisbon Europe/London Europe/Dublin Europe/Berlin Europe/Paris Europe/Chisinau Europe/Athens Europe/Kyiv
America/New_York America/Chicago America/Los_Angeles America/Havana America/Santiago America/Asuncion
America/Sao_Paulo America/Mexico_City America/St_Johns America/Anchorage America/Adak America/Nuuk
America/Scoresbysund America/Port-au-Prince America/Miquelon America/Tijuana America/Coyhaique
Africa/Cairo Africa/Casablanca Africa/El_Aaiun Asia/Beirut Asia/Jerusalem Asia/Gaza Asia/Tehran Asia/Almaty
Australia/Lord_Howe Australia/Sydney Australia/Adelaide Pacific/Apia Pacific/Auckland Pacific/Chatham
Pacific/Easter Pacific/Norfolk Pacific/Fiji Antarctica/Troll Antarctica/Casey Atlantic/Azores Atlantic/Bermuda
""".split()
ODD_ZONES = "Asia/Kathmandu Pacific/Kiritimati Pacific/Pago_Pago Asia/Kolkata Australia/Eucla Pacific/Marquesas".split()
# Local midnights and whole days that a zone skipped or repeated.
ODD_MOMENTS = [
    ("2011-12-28T15:40", "Pacific/Apia"), ("2011-12-29T15:40", "Pacific/Apia"), ("2011-12-29T23:50", "Pacific/Apia"),
    ("2011-12-30T15:40", "Pacific/Apia"), ("2011-12-29T09:00", "Pacific/Fakaofo"), ("2009-06-18T20:00", "Asia/Dhaka"),
    ("2009-06-19T20:00", "Asia/Dhaka"), ("2009-12-31T23:30", "Asia/Dhaka"), ("2018-05-04T22:00", "Asia/Pyongyang"),
    ("2018-05-04T23:45", "Asia/Pyongyang"), ("2024-02-29T20:00", "Asia/Almaty"), ("2021-01-31T20:00", "Africa/Juba"),
    ("2011-12-06T12:00", "Pacific/Apia"), ("2011-11-30T12:00", "Pacific/Apia"), ("2011-11-23T12:00", "Pacific/Apia"),
    ("2016-04-30T20:00", "America/Caracas"), ("2018-11-03T20:00", "America/Sao_Paulo"),
]


def all_zones() -> list[str]:
    return sorted(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})


def transitions(key: str, first: int, last: int) -> list[datetime]:
    zone, found = ZoneInfo(key), []
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 1, tzinfo=UTC)
    while at < end:
        offset = at.astimezone(zone).utcoffset()
        low, high = at, at + DAY
        if high.astimezone(zone).utcoffset() != offset:
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
            found.append(high)
        at += DAY
    return found


def around(key: str, change: datetime, picks: random.Random) -> list[tuple[str, str, tuple | None]]:
    """Moments whose plan meets a change of offset: before, in the gap or fold, after, and a month ahead."""
    zone = ZoneInfo(key)
    before, after = (change - timedelta(seconds=1)).astimezone(zone), change.astimezone(zone)
    shift = after.utcoffset() - before.utcoffset()
    edge = (change + before.utcoffset()).replace(tzinfo=None)  # the wall at the change, old offset
    day, clock = edge.date(), lambda h, m: time(h, m)
    walls = [
        datetime.combine(day - 2 * DAY, clock(20, 15)), datetime.combine(day - DAY, clock(15, 40)),
        datetime.combine(day - DAY, clock(18, 45)), datetime.combine(day - DAY, clock(23, 50)),
        datetime.combine(day, clock(0, 5)), datetime.combine(day, clock(18, 46)), edge + shift / 2, edge - abs(shift) / 2,
        edge, edge - 24 * HOUR + shift / 2, edge - 48 * HOUR + shift / 2,
    ]
    moments = [(w.strftime("%Y-%m-%dT%H:%M"), key, None) for w in walls]
    # Each side of the change as an instant, which also reaches the second reading of a fold.
    moments += [(rfc3339_utc(change + delta), key, None) for delta in (-20 * MINUTE, timedelta(0), 20 * MINUTE, -15 * MINUTE)]
    # The booking steps on the day of the change and around their use-by.
    for days in (23, 24, 25, 26, 37, 38, 40):
        moments.append((f"{day - days * DAY}T{picks.randrange(24):02}:{picks.randrange(60):02}", key, None))
    return moments


def moments(protocol: Protocol, count: int, seed: int) -> list[tuple[str, str, tuple | None]]:
    picks = random.Random(seed)
    combos = [c for n in range(1, len(protocol.areas) + 1) for c in itertools.combinations(protocol.areas, n)]
    if len(combos) > 15:  # each area alone, all of them, and some between
        combos = combos[: len(protocol.areas)] + picks.sample(combos, 5) + [protocol.areas]
    fixed: list[tuple[str, str, tuple | None]] = []
    for clock in [f"{h:02}:{m:02}" for h in range(24) for m in (0, 40)] + [
        "18:44", "18:45", "18:46", "18:50", "23:44", "23:45", "23:46", "23:50", "23:59", "00:05", "07:29", "07:30", "07:49",
        "07:50", "07:51", "21:04", "21:05", "21:29", "21:30", "18:45:00.5", "18:45:30", "23:44:59", "07:50:01", "20:20", "20:50",
    ]:
        fixed.append((f"2026-11-22T{clock}", "Europe/Lisbon", None))
    fixed += [(f"2026-06-{9 + n:02}T{c}", "Europe/Lisbon", combo) for n, combo in enumerate(combos)
              for c in ("15:40", "18:46", "23:50", "00:05", "07:50")]
    fixed += [("2026-11-22T15:40", "Europe/Lisbon", tuple(reversed(combo))) for combo in combos]
    for year in (2024, 2025, 2026, 2027, 2028):
        for month in range(1, 13):
            last = calendar.monthrange(year, month)[1]
            fixed += [(f"{year}-{month:02}-{d:02}T16:20", "America/New_York", None) for d in range(max(28, last - 2), last + 1)]
    fixed += [(at, key, None) for at, key in ODD_MOMENTS]
    fixed += [("2000-01-01T12:00", "UTC", None), ("2199-11-30T12:00", "Europe/Lisbon", None), ("2100-02-28T12:00Z", "Africa/Casablanca", None)]

    sweep: list[tuple[str, str, tuple | None]] = []
    for key in DST_ZONES:
        for change in transitions(key, 2025, 2030):
            sweep += around(key, change, picks)
    for key in all_zones():
        for day in ("2026-02-14", "2026-07-31", "2026-11-22", "2027-03-27"):
            sweep.append((f"{day}T{picks.randrange(24):02}:{picks.randrange(60):02}", key, None))
    for key in ODD_ZONES:
        sweep += [(f"2026-11-22T{h:02}:50", key, None) for h in range(24)]
    sweep = list(dict.fromkeys(sweep))
    picks.shuffle(sweep)

    # The fixed moments always come first; of the rest a third is random.
    swept = max(0, count - len(fixed)) * 2 // 3
    chosen = list(dict.fromkeys(fixed + sweep[:swept]))[:count]
    known, changes = all_zones(), {}
    while len(chosen) < count:
        key = picks.choice(known)
        if key not in changes:
            changes[key] = transitions(key, 2000, 2035)
        areas = picks.choice([None, *combos])
        if changes[key] and picks.random() < 0.6:
            at = picks.choice(changes[key]) - timedelta(seconds=picks.randrange(-7200, 41 * 86400))
        else:
            at = datetime(2000, 1, 2, tzinfo=UTC) + timedelta(seconds=picks.randrange(100 * 365 * 86400))
        if at.year >= 2000:
            chosen.append((rfc3339_utc(at), key, areas))
    return chosen


# ---------------------------------------------------------------------------------------------------------------


def run(binary: str, protocol: Protocol, moment: tuple[str, str, tuple | None]) -> tuple[list[str], list[str]]:
    at, key, areas = moment
    command = [binary, "plan", "--protocol", str(protocol.path), "--at", at, "--zone", key]
    command += ["--areas", ",".join(areas)] if areas else []
    command += ["--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return command, [f"exit code {done.returncode}: {done.stderr.strip()}"]
    zone = ZoneInfo(key)
    got = json.loads(done.stdout)
    faults = compare(protocol, got, parse_at(at, zone), zone, areas or protocol.default_areas)
    if faults and zone_data_differs(got, zone):
        faults.insert(0, "[zone data] the binary's offsets differ from tzdata's here")
    return command, faults


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", required=True)
    options.add_argument("documents", nargs="*", type=Path, metavar="DOCUMENT", default=sorted(SHIPPED.glob("*.json")))
    options.add_argument("--moments", type=int, default=1500, help="how many moments to compare, for each document [1500]")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1)
    asked = options.parse_args()
    try:
        release = importlib.metadata.version("tzdata")
        subprocess.run([asked.binary, "--version"], capture_output=True, check=True)
    except (importlib.metadata.PackageNotFoundError, OSError, subprocess.CalledProcessError) as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2

    differing, by_kind = 0, defaultdict(int)
    todo = [(p, m) for p in map(load, asked.documents) for m in moments(p, asked.moments, asked.seed)]
    with ThreadPoolExecutor(asked.jobs) as pool:
        for command, faults in pool.map(lambda one: run(asked.binary, *one), todo):
            if faults:
                differing += 1
                by_kind["zone data" if faults[0].startswith("[zone data]") else "rules"] += 1
                print(" ".join(command))
                for fault in faults:
                    print(f"    {fault}")
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(by_kind.items()))
    print(f"{len(todo)} moments compared, {differing} differences" + (f" ({kinds})" if kinds else "") + f"; tzdata {release}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
