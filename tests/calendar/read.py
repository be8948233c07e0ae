"""Reads a calendar feed from stdin with the icalendar package, which knows nothing of ours, and writes
what it understood to stdout as JSON. Whatever it finds fault with ends it."""

import json
import sys

from icalendar import Calendar


def moment(event, name):
    value = event.get(name)
    return value and value.dt.isoformat()


def main():
    raw = sys.stdin.buffer.read()
    lines = raw.split(b"\r\n")
    assert lines.pop() == b"", "the last line has no end"
    assert all(b"\n" not in line and b"\r" not in line for line in lines), "a bare line end"
    assert all(len(line) <= 75 for line in lines), "a line over 75 octets"
    (calendar,) = Calendar.from_ical(raw, multiple=True)
    for component in calendar.walk():
        assert not component.errors, (component.name, component.errors)
        for name in component.required:
            assert name in component, (component.name, name)
        for name in component.singletons:
            assert not isinstance(component.get(name), list), (component.name, name)
    assert calendar.to_ical(sorted=False) == raw, "written back, it is another feed"
    events = [
        {
            "uid": str(event["UID"]),
            "sequence": int(event["SEQUENCE"]),
            "status": str(event["STATUS"]),
            "summary": str(event["SUMMARY"]),
            "stamp": moment(event, "DTSTAMP"),
            "modified": moment(event, "LAST-MODIFIED"),
            "start": moment(event, "DTSTART"),
            "end": moment(event, "DTEND"),
            "alarms": len(event.walk("VALARM")),
        }
        for event in calendar.walk("VEVENT")
    ]
    names = {"name": str(calendar["NAME"]), "refresh": str(calendar["REFRESH-INTERVAL"].dt)}
    json.dump({**names, "events": events}, sys.stdout)


main()
