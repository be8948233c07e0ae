#!/usr/bin/env python3
"""Schemathesis against the real binary, on SQLite and on PostgreSQL at once.

Starts everything on free ports, plays until the requests asked for were made, prints what each operation
answered, and fails when a check failed, when an operation never succeeded, or when the server logged
that a request failed inside. A seed repeats a run, as far as a server with a clock can be repeated.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# A test holds that it is what the server serves.
DOCUMENT = HERE.parent.parent / "docs/openapi.json"
# No caller of ours is turned away for asking often; a test of its own shows that others are.
LIMITS = {
    "AFTERCARE_LIMIT_CREDENTIAL": "100000/s:100000",
    "AFTERCARE_LIMIT_BAD_BEARER": "100000/s:100000",
    "AFTERCARE_LIMIT_FAILURES": "100000/s:100000",
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--requests", type=int, default=20_000, help="in all, at least")
    parser.add_argument("--examples", type=int, default=60, help="of each operation, in one round")
    parser.add_argument("--seed", type=int, help="random, if left out")
    parser.add_argument("--engines", default="sqlite,postgres")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for logs and reports")
    return parser.parse_args()


@contextlib.contextmanager
def process(command, log, **kwargs):
    """A process that ends with the block, and its log."""
    with open(log, "wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **kwargs)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


def wait_for(pattern, log, running, seconds=60):
    """The first match in a process's log."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found
        if running.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"{log}: no {pattern}\n{log.read_text(errors='replace')}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def server_programs():
    """The folder with PostgreSQL's programs: from PATH, else the newest where Debian puts them."""
    if found := shutil.which("initdb"):
        return pathlib.Path(found).resolve().parent
    packaged = pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(packaged, key=lambda path: float(path.parts[4]), default=None)
    return newest.parent if newest else sys.exit("no PostgreSQL was found")


@contextlib.contextmanager
def postgres(folder):
    """A cluster of its own; as root, which PostgreSQL refuses, under another user."""
    programs, data, log = server_programs(), folder / "data", folder / "postgres.log"
    user = {}
    if os.getuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = {"user": "postgres" if "postgres" in names else "nobody"}
        data.mkdir()
        shutil.chown(data, user["user"])
        folder.chmod(0o711)
    common = {"cwd": "/", **user}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True, stdout=subprocess.DEVNULL, **common,
    )
    port = free_port()
    settings = ["listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    command = [programs / "postgres", "-D", data, "-p", str(port), "-k", data]
    command += [part for setting in settings for part in ("-c", setting)]
    with process(command, log, **common) as running:
        wait_for("ready to accept connections", log, running)
        yield f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"


@contextlib.contextmanager
def server(binary, engine, folder):
    """`aftercare serve` with an FCM emulator of its own; gives what hooks.py needs of it."""
    ours = ("AFTERCARE_", "FCM_", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with contextlib.ExitStack() as stack:
        log = folder / "fcm.log"
        command = [binary, "fcm-emulator", "--listen", "127.0.0.1:0", "--credentials-out", "fcm.json"]
        running = stack.enter_context(process(command, log, cwd=folder, env=environment))
        fcm = wait_for(r"http://127\.0\.0\.1:\d+", log, running)[0]
        database = "sqlite:aftercare.db"
        if engine == "postgres":
            database = stack.enter_context(postgres(folder))
        environment |= LIMITS | {
            "DATABASE_URL": database,
            "AFTERCARE_KEY_FILE": "master.key",
            "AFTERCARE_LISTEN": "127.0.0.1:0",
            "AFTERCARE_LOG_FORMAT": "json",
            "AFTERCARE_FCM_URL": fcm,
            "FCM_CREDENTIALS": "fcm.json",
        }
        run = {"cwd": folder, "env": environment, "check": True, "capture_output": True}
        subprocess.run([binary, "migrate"], **run)
        create = [binary, "clinic", "create", "--name", "Pele Nova", "--time-zone", "Europe/Lisbon", "--json"]
        clinic = json.loads(subprocess.run(create, **run).stdout)
        log = folder / "server.log"
        running = stack.enter_context(process([binary, "serve"], log, cwd=folder, env=environment))
        address = wait_for(r'"address":"([^"]+)","public_url"', log, running)[1]
        yield {
            "AFTERCARE_URL": f"http://{address}",
            "AFTERCARE_CLIENT_ID": clinic["client_id"],
            "AFTERCARE_CLIENT_SECRET": clinic["client_secret"],
        }


def round_of(stage, engine, seed, examples, folder):
    """One run of Schemathesis; gives whether all checks passed, and what was counted."""
    counted = folder / f"counts-{seed}.json"
    environment = os.environ | stage | {
        "AFTERCARE_COUNTS": str(counted),
        "AFTERCARE_SEED": str(seed),
        "PYTHONPATH": str(HERE),
        "SCHEMATHESIS_HOOKS": "hooks",
        "COLUMNS": "140",
    }
    command = [pathlib.Path(sys.executable).with_name("st"), "--config-file", HERE / "schemathesis.toml"]
    command += ["run", DOCUMENT, "--url", stage["AFTERCARE_URL"], "--seed", str(seed)]
    command += ["--max-examples", str(examples)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    (folder / f"schemathesis-{seed}.log").write_text(ended.stdout + ended.stderr)
    if ended.returncode:
        print(f"--- {engine}, seed {seed}\n{ended.stdout}{ended.stderr}", flush=True)
    counts = json.loads(counted.read_text()) if counted.exists() else {"requests": 0, "answers": {}}
    return ended.returncode == 0, counts


def play(arguments, engine, seed, folder):
    """Rounds until this engine's share of the requests was made."""
    share = arguments.requests / len(arguments.engines.split(","))
    passed, total = True, collections.Counter()
    answers = collections.defaultdict(collections.Counter)
    with server(arguments.binary.resolve(), engine, folder) as stage:
        while total["requests"] < share and passed:
            good, counts = round_of(stage, engine, seed + total["rounds"], arguments.examples, folder)
            passed = good and counts["requests"] > 0
            total.update(rounds=1, requests=counts["requests"], enrolments=counts.get("enrolments", 0))
            for operation, statuses in counts["answers"].items():
                answers[operation].update({int(status): n for status, n in statuses.items()})
    log = (folder / "server.log").read_text(errors="replace")
    complaints = [line for line in log.splitlines() if "a request failed" in line or "panicked" in line]
    for line in complaints[:20]:
        print(f"{engine} logged: {line}")
    return passed and not complaints, total, answers


def table(engine, answers, described):
    """Prints what each operation answered; gives those that never succeeded."""
    statuses = sorted({status for counted in answers.values() for status in counted})
    print(f"\n{engine:<45}" + "".join(f"{status:>7}" for status in statuses))
    for operation in described:
        counted = answers.get(operation, {})
        cells = "".join(f"{counted.get(status) or '·':>7}" for status in statuses)
        print(f"{operation:<45}{cells}")
    succeeded = {name for name, counted in answers.items() if any(200 <= status < 400 for status in counted)}
    return [operation for operation in described if operation not in succeeded]


def main():
    arguments = parse()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", flush=True)
    document = json.loads(DOCUMENT.read_text())
    described = [f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item]
    started, failed, requests = time.monotonic(), [], 0
    with tempfile.TemporaryDirectory(prefix="aftercare-schemathesis-") as temporary:
        root = arguments.keep or pathlib.Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o711)
        engines = arguments.engines.split(",")
        folders = {engine: root / engine for engine in engines}
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            runs = {e: pool.submit(play, arguments, e, seed, folders[e]) for e in engines}
        for engine, run in runs.items():
            passed, total, answers = run.result()
            requests += total["requests"]
            never = table(engine, answers, described)
            failed += [f"{engine}: {operation} never succeeded" for operation in never]
            failed += [] if passed else [f"{engine}: Schemathesis or the server's log found faults"]
            print(f"{engine}: {total['requests']} requests, {total['rounds']} rounds, {total['enrolments']} enrolments")
    if requests < arguments.requests:
        failed.append(f"only {requests} requests")
    print(f"\n{requests} requests in {time.monotonic() - started:.0f} s, seed {seed}")
    print("\n".join(failed) or "no check failed, and every operation succeeded at least once")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
