#!/usr/bin/env python3
"""An independent reading of the planning rules, compared with `aftercare plan --json`.

    python3 plan_oracle.py --binary PATH [--moments N] [--changes 2024-2037] [--seed S] [DOCUMENT ...]

Plans each document (by default every one that ships) for many moments in Python and compares each with what the
binary prints: restrictions, reminders, skipped steps, local readings, and that every hour named in an English text
is the hour at which the rule really ends. With --changes, the moments are sessions of which a rule's end or a
step falls on a change of the clock: every zone, every change in those years, every rule and step.
Exit code 0: no difference, 1: differences, 2: could not run.

Needs Python 3.11 and `pip install tzdata` (the system's zone files are never read). The binary carries its own
zone data; a difference that comes from another tzdata release is marked `[zone data]`. To rule those out,
install the release that the binary was built with: IANA 2026e is `tzdata==2026.5`.

`rules.py` says how the rules are read where more than one reading is possible.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

from compare import compare, zone_data_differs
from moments import Moment, moments, on_every_change
from rules import Protocol, load, parse_at

SHIPPED = Path(__file__).resolve().parents[2] / "aftercare/src/protocol/shipped"
AT_ONCE = 500


def line(moment: Moment) -> str:
    at, key, areas = moment
    return " ".join([at, key] + ([",".join(areas)] if areas else []))


def run(binary: str, protocol: Protocol, some: list[Moment]) -> list[tuple[Moment, list[str]]]:
    """Plans some moments in one process of the binary; gives those with differences."""
    command = [binary, "plan", "--protocol", str(protocol.path), "--batch"]
    asked = "\n".join(map(line, some))
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=600, check=False)
    answers = done.stdout.splitlines()
    if done.returncode != 0 or len(answers) != len(some):
        return [(some[min(len(answers), len(some) - 1)], [f"exit code {done.returncode}: {done.stderr.strip()}"])]
    differing = []
    for moment, answer in zip(some, answers):
        at, key, areas = moment
        zone, got = ZoneInfo(key), json.loads(answer)
        faults = compare(protocol, got, parse_at(at, zone), zone, areas or protocol.default_areas)
        if faults and zone_data_differs(got, zone):
            faults.insert(0, "[zone data] the binary's offsets differ from tzdata's here")
        if faults:
            differing.append((moment, faults))
    return differing


def years(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", required=True)
    options.add_argument("documents", nargs="*", type=Path, metavar="DOCUMENT", default=sorted(SHIPPED.glob("*.json")))
    options.add_argument("--moments", type=int, default=1500, help="how many moments to compare, for each document [1500]")
    options.add_argument("--changes", type=years, metavar="YEARS", help="every change of every zone's clock in these years instead")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = options.parse_args()
    try:
        release = importlib.metadata.version("tzdata")
        subprocess.run([asked.binary, "--version"], capture_output=True, check=True)
    except (importlib.metadata.PackageNotFoundError, OSError, subprocess.CalledProcessError) as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2

    count, kinds = 0, Counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        runs = []
        for protocol in map(load, asked.documents):
            todo = on_every_change(protocol, *asked.changes, asked.seed) if asked.changes else moments(protocol, asked.moments, asked.seed)
            count += len(todo)
            runs += [(protocol, pool.submit(run, asked.binary, protocol, todo[n : n + AT_ONCE])) for n in range(0, len(todo), AT_ONCE)]
        for protocol, differing in ((protocol, run.result()) for protocol, run in runs):
            for moment, faults in differing:
                kinds["zone data" if faults[0].startswith("[zone data]") else "rules"] += 1
                print(f"{protocol.path.stem}: {line(moment)}", *faults, sep="\n    ", flush=True)
    told = "".join(f"; {n} of them {kind}" for kind, n in sorted(kinds.items()))
    print(f"{count} moments compared, {kinds.total()} differences{told}; tzdata {release}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
