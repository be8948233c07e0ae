"""The moments that are planned: the everyday ones, the odd ones, and every change of every clock."""

from __future__ import annotations

import calendar
import functools
import itertools
import json
import random
import zoneinfo
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rules import DAY, HOUR, MINUTE, UTC, Protocol, elapsed, plus_interval, resolve, rfc3339_utc

Moment = tuple[str, str, tuple | None]

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


@functools.cache
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


def reaches(protocol: Protocol, moment: dict, change: datetime, zone: ZoneInfo, clock: time) -> list[datetime]:
    """Sessions, ended at this clock where it is free, whose `moment` falls on the change or on its day."""
    if moment["clock"] == "elapsed":
        return [change - elapsed(moment["after"])]
    days = {(change - timedelta(seconds=1)).astimezone(zone).date(), change.astimezone(zone).date()}
    if moment["clock"] in ("wall", "end-of-day"):
        sessions = {day - moment["day"] * DAY for day in days}
    elif moment["clock"] == "interval":
        interval = protocol.document["course"]["interval"]
        months = 28 if interval.endswith("M") else (plus_interval(date.min, interval) - date.min).days
        first = {day - (moment["days"] + months) * DAY for day in days}
        near = {day - n * DAY for day in first for n in range(4 if interval.endswith("M") else 1)}
        sessions = {day for day in near if plus_interval(day, interval) + moment["days"] * DAY in days}
    else:  # hangs on another one, or on a booking, of which there is none
        return []
    return [resolve(day, clock, zone) for day in sorted(sessions)]


def on_every_change(protocol: Protocol, first: int, last: int, seed: int) -> list[Moment]:
    """For every zone, every change of its clock in these years and every rule and step: a session of which it
    falls on the change. Zones that share another's rules under another name get one session a change, and those whose clock
    never changes one at all."""
    picks, seen, found = random.Random(seed), set(), []
    asked = [rule["until"] for rule in protocol.document["rules"] if rule.get("until")]
    asked += [step["due"] for step in protocol.document["steps"]]
    asked = [json.loads(text) for text in sorted({json.dumps(moment, sort_keys=True) for moment in asked})]
    for key in all_zones():
        zone, changes = ZoneInfo(key), transitions(key, first, last)
        if not changes:
            found.append((f"{first}-06-15T15:40", key, None))
        rules = tuple((change, change.astimezone(zone).utcoffset()) for change in changes)
        for change in changes:
            clock = picks.choice([time(9, 10), time(15, 40), time(18, 46), time(23, 50)])
            sessions = {at for moment in asked for at in reaches(protocol, moment, change, zone, clock)}
            sessions = sorted(sessions) if rules not in seen else [picks.choice(sorted(sessions))]
            found += [(rfc3339_utc(at), key, None) for at in sessions]
        seen.add(rules)
    return found


def around(key: str, change: datetime, picks: random.Random) -> list[Moment]:
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


def moments(protocol: Protocol, count: int, seed: int) -> list[Moment]:
    picks = random.Random(seed)
    combos = [c for n in range(1, len(protocol.areas) + 1) for c in itertools.combinations(protocol.areas, n)]
    if len(combos) > 15:  # each area alone, all of them, and some between
        combos = combos[: len(protocol.areas)] + picks.sample(combos, 5) + [protocol.areas]
    fixed: list[Moment] = []
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

    sweep: list[Moment] = []
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
