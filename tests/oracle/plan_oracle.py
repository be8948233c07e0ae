#!/usr/bin/env python3
"""An independent reading of the planning rules, compared with `aftercare plan --json`.

    python3 plan_oracle.py --binary PATH [--moments N] [--seed S]

Plans the shipped microneedling protocol for many moments in Python and compares each with what the binary
prints: restrictions, reminders, skipped steps, local readings, and that every hour named in an English text is
the hour at which the rule really ends. Exit code 0: no difference, 1: differences, 2: could not run.

Needs Python 3.11 and `pip install tzdata` (the system's zone files are never read). The binary carries its own
zone data; a difference that comes from another tzdata release is marked `[zone data]`. To rule those out,
install the release that the binary was built with: IANA 2026e is `tzdata==2026.5`.

How the rules are read, where more than one reading is possible:
  - a rule holds in [T, end): a step due exactly at the end no longer says it;
  - a step whose rules all lie outside the treated areas is `nothing-to-say`, also when it would be `covered`;
  - "after 18:45" is strict and compares the wall clock of day 0, to the fraction of a second;
  - P1M, "+- 7 days" and "day n" count calendar days, and only the resulting wall time is resolved; a use-by of
    "+ 3 days" counts calendar days from the due time as resolved;
  - `start` names a rule only while it holds at its due time (T + 15 min), as every other step does;
  - a skipped step's `rule_ids` may or may not leave out the rules that lie outside the treated areas;
  - `day-before` needs a booking and is neither planned nor skipped without one.
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
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=[])

UTC = timezone.utc
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AREAS = ("face", "neck", "chest", "scalp")
DEFAULT_AREAS = ("face", "neck")

# ---------------------------------------------------------------------------------------------------------------
# The protocol


@dataclass(frozen=True)
class Rule:
    name: str
    kind: str
    areas: frozenset[str]
    hours: int | None = None  # elapsed hours after T
    end_of_day_0: bool = False
    activities: frozenset[str] = frozenset()


ALL = frozenset(AREAS)
RULES = {
    r.name: r
    for r in (
        Rule("no-face-washing", "avoid", frozenset({"face"}), end_of_day_0=True, activities=frozenset({"face-washing"})),
        Rule("hydrate", "do", frozenset({"face", "neck", "chest"}), hours=24),
        Rule("sun-protection", "avoid", ALL, hours=24, activities=frozenset({"sun-exposure"})),
        Rule("no-makeup", "avoid", frozenset({"face", "neck"}), hours=24, activities=frozenset({"makeup"})),
        Rule("no-sweating", "avoid", ALL, hours=48, activities=frozenset({"exercise", "sauna", "steam"})),
        Rule("expect-reaction", "expect", ALL),
        Rule("next-session", "next-session", ALL),
    )
}
START_RULES = tuple(name for name in RULES if name != "next-session")
STEP_RULES = {
    "start": START_RULES,
    "bedtime": ("no-face-washing", "hydrate"),
    "morning": ("sun-protection", "hydrate", "no-makeup", "no-sweating"),
    "before-exercise": ("no-sweating",),
    "last-day": ("no-sweating", "expect-reaction"),
    "book": ("next-session",),
    "nudge": ("next-session",),
}
COVER_BEDTIME_AFTER = time(18, 45)
BUNDLE_WITHIN, MIN_GAP, MAX_PER_DAY = 45 * MINUTE, 2 * HOUR, 3
QUIET_FROM, QUIET_UNTIL = time(21, 30), time(7, 30)


# ---------------------------------------------------------------------------------------------------------------
# Time


def resolve(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """The instant of a wall time: in a gap the later reading, in a fold the first. That is fold=0 for both."""
    return datetime.combine(day, wall, zone).replace(fold=0).astimezone(UTC)


def plus_one_month(day: date) -> date:
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
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
    rules: tuple[str, ...]
    quiet_exempt: bool = False


def plan(completed: datetime, zone: ZoneInfo, areas: tuple[str, ...]) -> dict:
    local = completed.astimezone(zone)
    day0 = local.date()
    treated = set(areas)

    def on(days: int, wall: time, base: date = day0) -> datetime:
        return resolve(base + timedelta(days=days), wall, zone)

    midnight = on(1, time(0))
    ends: dict[str, datetime | None] = {}
    for rule in RULES.values():
        if rule.areas & treated:
            ends[rule.name] = (
                midnight if rule.end_of_day_0 else completed + rule.hours * HOUR if rule.hours else None
            )

    def three_days_after(due: datetime) -> datetime:
        local_due = due.astimezone(zone)
        return resolve(local_due.date() + 3 * DAY, local_due.time(), zone)

    month = plus_one_month(day0)
    book, nudge = on(-7, time(10, 5), month), on(7, time(10, 5), month)
    times = {
        "start": (completed + 15 * MINUTE, completed + 3 * HOUR),
        "bedtime": (on(0, time(21, 5)), midnight),
        "morning": (on(1, time(7, 50)), on(1, time(11))),
        "before-exercise": (on(1, time(17, 5)), on(1, time(20))),
        "last-day": (on(2, time(7, 50)), on(2, time(20))),
        "book": (book, three_days_after(book)),
        "nudge": (nudge, three_days_after(nudge)),
    }
    steps = [Step(n, due, use_by, STEP_RULES[n], quiet_exempt=n == "start") for n, (due, use_by) in times.items()]

    skipped: dict[str, str] = {}
    kept: list[tuple[Step, frozenset[str]]] = []
    for step in steps:
        relevant = [r for r in step.rules if r in ends]
        if not relevant:
            skipped[step.name] = "nothing-to-say"
        elif step.name == "bedtime" and local.time() > COVER_BEDTIME_AFTER:
            skipped[step.name] = "covered"
        elif not quiet_hours(step, completed, zone):
            skipped[step.name] = "quiet-hours"
        else:
            said = frozenset(r for r in relevant if ends[r] is None or completed <= step.due < ends[r])
            if said:
                kept.append((step, said))
            else:
                skipped[step.name] = "nothing-to-say"

    kept.sort(key=lambda pair: pair[0].due)  # stable: protocol order among equals
    bundles: list[list[tuple[Step, frozenset[str]]]] = []
    for pair in kept:
        if bundles and pair[0].due - bundles[-1][0][0].due <= BUNDLE_WITHIN:
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


def quiet_hours(step: Step, now: datetime, zone: ZoneInfo) -> bool:
    """Moves a step out of quiet hours; False when it has to be skipped."""
    local = step.due.astimezone(zone)
    if step.quiet_exempt or QUIET_UNTIL <= local.time() < QUIET_FROM:
        return True
    evening = local.time() >= QUIET_FROM
    end = resolve(local.date() + (DAY if evening else timedelta(0)), QUIET_UNTIL, zone)
    start = resolve(local.date() - (timedelta(0) if evening else DAY), QUIET_FROM, zone)
    if end < step.use_by:
        step.due = end
    elif start >= now:
        step.due = start
    else:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------
# The comparison

NAMED_HOUR = re.compile(
    r"\b(?:until|ends) (?:at )?(midnight (?:tonight|tomorrow|on [A-Z][a-z]+day)|(?:today|tomorrow|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day) (?:at )?\d\d:\d\d)"
)
NEVER_SAID = re.compile(r"needl|face.?and|you (?:may|can)|allowed|permitted|\bfine to\b|\bok(?:ay)? to\b|patient", re.I)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def named_instants(phrase: str, due: datetime, zone: ZoneInfo) -> set[datetime]:
    """Every instant (to the minute) that an hour named in a text sent at `due` can mean within four days."""
    today = due.astimezone(zone).date()
    if phrase.startswith("midnight"):
        word, clock = phrase.split()[-1].replace("tonight", "today"), None
    else:
        word, _, clock = phrase.replace(" at ", " ").partition(" ")
    ahead = {"today": [0], "tomorrow": [1]}.get(word) or [
        n for n in range(1, 5) if WEEKDAYS[(today + n * DAY).weekday()] == word
    ]
    if clock is None:  # the midnight at the end of that day
        return {resolve(today + (n + 1) * DAY, time(0), zone) for n in ahead}
    wall = time.fromisoformat(clock)
    both = set()
    for n in ahead:
        for fold in (0, 1):
            both.add(datetime.combine(today + n * DAY, wall, zone).replace(fold=fold).astimezone(UTC))
    return both


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


def compare(got: dict, completed: datetime, zone: ZoneInfo, areas: tuple[str, ...]) -> list[str]:
    want = plan(completed, zone, areas)
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
    same("restrictions", sorted(n for n in want["ends"] if n != "next-session"), sorted(names))
    for r in got["restrictions"]:
        rule, what = RULES.get(r["rule"]), r["rule"]
        if rule is None or r["rule"] not in want["ends"]:
            continue
        same(f"{what}.kind", rule.kind, r["kind"])
        same(f"{what}.activities", sorted(rule.activities), sorted(r["activities"]))
        same(f"{what}.areas", sorted(rule.areas & want["treated"]), sorted(r["areas"]))
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
    for s in got["skipped"]:
        of_step, named = STEP_RULES[s["step"]], set(s["rule_ids"])
        if not {r for r in of_step if r in want["ends"]} <= named <= set(of_step):
            faults.append(f"skipped {s['step']}.rule_ids: {sorted(named)}")

    dues = [r["due"] for r in want["reminders"]]
    if any(b - a < MIN_GAP for a, b in zip(dues, dues[1:])):
        faults.append("two reminders closer than min_gap: the rules do not say what happens")
    if max(Counter(d.astimezone(zone).date() for d in dues).values()) > MAX_PER_DAY:
        faults.append("more reminders on a day than max_per_day: the rules do not say what happens")
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


def moments(count: int, seed: int) -> list[tuple[str, str, tuple | None]]:
    picks = random.Random(seed)
    combos = [c for n in range(1, 5) for c in itertools.combinations(AREAS, n)]
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


def run(binary: str, moment: tuple[str, str, tuple | None]) -> tuple[list[str], list[str]]:
    at, key, areas = moment
    command = [binary, "plan", "--protocol", "microneedling", "--at", at, "--zone", key]
    command += ["--areas", ",".join(areas)] if areas else []
    command += ["--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return command, [f"exit code {done.returncode}: {done.stderr.strip()}"]
    zone = ZoneInfo(key)
    got = json.loads(done.stdout)
    faults = compare(got, parse_at(at, zone), zone, areas or DEFAULT_AREAS)
    if faults and zone_data_differs(got, zone):
        faults.insert(0, "[zone data] the binary's offsets differ from tzdata's here")
    return command, faults


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", required=True)
    options.add_argument("--moments", type=int, default=1500, help="how many moments to compare [1500]")
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
    todo = moments(asked.moments, asked.seed)
    with ThreadPoolExecutor(asked.jobs) as pool:
        for command, faults in pool.map(lambda m: run(asked.binary, m), todo):
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
