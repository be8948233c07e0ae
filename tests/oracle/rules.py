"""The planning rules as an outsider reads them: a protocol, a moment, a zone, and what must come of it.

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

import calendar
import json
import re
import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=[])

UTC = timezone.utc
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


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
