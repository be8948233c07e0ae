"""What Schemathesis cannot know by itself: who calls, and which objects there are.

Requests are generated from the document alone. Where a part of a request was generated as valid, most of
its fields are then given values that exist (a known patient, a time zone, an instant near now), because
random ones would never get past the first look-up. Parts that were generated as invalid stay as they are.
"""

import atexit
import json
import os
from collections import Counter, defaultdict
from datetime import timedelta

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from world import RANDOM, WORLD, instant, now

FED = 0.85  # of the fields that were generated as valid
WRONG_ROLE = 0.03
ZONES = ["Europe/Lisbon", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC"]
LOCALES = ["en", "pt-PT", "es", "fr", "de-CH"]
ACTIVITIES = ["makeup", "exercise", "sauna", "steam", "sun-exposure", "face-washing"]
EVENT_TYPES = ["treatment.planned", "reminder.sent", "consent.withdrawn", "patient.erased"]
AREAS = ["face", "neck", "chest", "scalp"]

counts = defaultdict(Counter)
total = Counter()


def roles(operation):
    security = operation.definition.raw.get("security") or [{}]
    return [role for one in security for role in ("clinic", "patient") if role in one]


@schemathesis.auth(refresh_interval=None)
class Caller:
    """A token from the server itself, of the role that the operation asks for; now and then of the other."""

    def get(self, case, context):
        wanted = roles(context.operation)
        if not wanted:
            return None
        if RANDOM.random() < WRONG_ROLE:
            return RANDOM.choice(["clinic", "patient"])
        return RANDOM.choice(wanted)

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {WORLD.bearer(data)}"


@schemathesis.hook
def before_call(context, case, kwargs):
    renew(case)
    if case.meta and case.meta.phase.name == TestPhase.STATEFUL and case.query:
        # What was only tried out is not there afterwards, as this phase expects of all that succeeds.
        case.query.pop("dry_run", None)
    if case.operation.path == "/v1/events":
        unsign(case)
    if is_valid(case, ParameterLocation.PATH):
        for name in case.path_parameters or {}:
            feed(case.path_parameters, name, case.operation.path)
    if is_valid(case, ParameterLocation.QUERY):
        for name in case.query or {}:
            feed(case.query, name, case.operation.path)
    if is_valid(case, ParameterLocation.BODY):
        fill(case.body, case.operation.path)
        if case.operation.path == "/v1/events" and RANDOM.random() < FED:
            tell(case)
        if takes_a_document(case.operation) and RANDOM.random() < FED:
            case.body = WORLD.document()
        if case.operation.path == "/fhir/R4/Procedure" and RANDOM.random() < FED:
            case.body = WORLD.procedure()
        if case.operation.path == "/v1/oauth/token":
            sign_in(case)
        if case.operation.path == "/v1/oauth/revoke" and isinstance(case.body, dict):
            feed(case.body, "token", case.operation.path)


def takes_a_document(operation):
    """Whether the body is a protocol, which the document describes no closer than as an object."""
    published = operation.path == "/v1/protocols/{slug}" and operation.method.upper() == "PUT"
    return published or operation.path == "/v1/protocols/{slug}/impact"


def is_valid(case, location):
    """Whether this part of the request is there and was generated to fit its schema."""
    component = case.meta.components.get(location) if case.meta else None
    return component is not None and component.mode.is_positive


def renew(case):
    """A case may be sent long after it was made: its session may have ended meanwhile."""
    header = (case.headers or {}).get("Authorization", "")
    token = header.removeprefix("Bearer ")
    if token in WORLD.issued:
        current = {WORLD.clinic.token, WORLD.phone.token if WORLD.phone else None}
        if token not in current:
            role = roles(case.operation)
            if role:
                case.headers["Authorization"] = f"Bearer {WORLD.bearer(RANDOM.choice(role))}"


def fill(value, path):
    """Feeds every field of a body, however deep."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            if "patient" in item and "patient_ref" in item:
                del item[RANDOM.choice(["patient", "patient_ref"])]
            for name in list(item):
                feed(item, name, path)
                fill(item[name], path)


def feed(fields, name, path):
    if RANDOM.random() < FED and fields.get(name) is not None:
        value = known(name, path)
        if value is not None:
            fields[name] = value


def known(name, path):
    """A value that exists, for a field of this name."""
    choose = RANDOM.choice
    match name:
        case "ref" if path == "/v1/patients/{ref}" or path == "/v1/treatments":
            return choose([*WORLD.references, f"p-{RANDOM.randrange(10**6)}"])
        case "ref" if "/courses/" in path:
            return WORLD.alive().reference
        case "ref" if path.endswith("/test-push"):
            return WORLD.reached()
        case "ref" | "patient_ref":
            return WORLD.choose(RANDOM, WORLD.references, None)
        case "id" if path.startswith("/v1/treatments"):
            latest = WORLD.alive().treatment
            return choose([latest, WORLD.choose(RANDOM, WORLD.treatments, latest)])
        case "id" if path.startswith("/v1/signing-secrets"):
            return WORLD.signing_secret()
        case "id" if path.startswith("/v1/webhooks"):
            return WORLD.webhook()
        case "url" if path == "/v1/webhooks":
            return f"https://practice-{RANDOM.randrange(10**6)}.invalid/hook"
        case "types":
            return RANDOM.sample(EVENT_TYPES, RANDOM.randint(1, len(EVENT_TYPES)))
        case "id" | "reminder_id":
            # The first was sent at once, so that it can be put off.
            first, *others = WORLD.alive().reminders
            return choose([first, first, *others])
        case "installation_id" if path.startswith("/v1/me/"):
            return WORLD.alive().installation
        case "event_id" if path == "/v1/treatments":
            return f"event-{RANDOM.randrange(10**9)}"
        case "slug" | "protocol":
            return "microneedling"
        case "code":
            return WORLD.code()
        case "token" if path.startswith("/calendar/"):
            return WORLD.feed()
        case "token":
            return choose([WORLD.alive().token, WORLD.alive().refresh])
        case "activity":
            return choose(ACTIVITIES)
        case "areas":
            return RANDOM.sample(AREAS, RANDOM.randint(1, len(AREAS)))
        case "time_zone":
            return choose(ZONES)
        case "locale":
            return choose(LOCALES)
        case "completed_at":
            return instant(now() - timedelta(minutes=RANDOM.randrange(100_000)))
        case "next_session_at" | "at" if path != "/v1/me/can" and "/me/" not in path:
            return instant(now() + timedelta(days=RANDOM.randrange(1, 90)))
        case "at" | "since":
            return instant(now() - timedelta(minutes=RANDOM.randrange(1_000)))
        case "from" | "until" | "exercise_hour":
            return f"{RANDOM.randrange(24):02}:{RANDOM.randrange(60):02}"
        case "muted_rules":
            return [choose(["hydrate", "no-makeup"])]
        case "minutes":
            return RANDOM.randrange(5, 30)
        case "running":
            return choose(["stay", "move"])
        case "aliases":
            return [f"CODE-{RANDOM.randrange(10**6)}"]
        case "document":
            return WORLD.document()
        case "metadata":
            return {"room": str(RANDOM.randrange(9))}
    return None


def unsign(case):
    """Whoever signs must know the bytes that will be sent; with a bearer, nobody looks at a signature."""
    if RANDOM.random() < FED:
        (case.query or {}).pop("clinic", None)
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            (case.headers or {}).pop(name, None)


def tell(case):
    """An event that the clinic's software might send, in the form that the case has."""
    if case.media_type == "application/cloudevents-batch+json":
        case.body = [WORLD.event() for _ in range(RANDOM.randint(1, 4))]
        return
    event = WORLD.event()
    if case.media_type == "application/json":
        case.body = event.pop("data")
        case.headers.update({f"ce-{name}": value for name, value in event.items()})
    else:
        case.body = event


def sign_in(case):
    """Credentials that are good: every other form of a token request has them."""
    if RANDOM.random() < 0.5:
        case.body = dict(WORLD.clinic.credentials)
    elif RANDOM.random() < 0.5:
        phone = WORLD.alive()
        case.body = {"grant_type": "refresh_token", "refresh_token": phone.refresh}


@schemathesis.hook
def after_call(context, case, response):
    request, status = response.request, response.status_code
    total["requests"] += 1
    if request.method.upper() == case.operation.method.upper():
        counts[case.operation.label][status] += 1
    token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
    if status == 401 and token in WORLD.issued:
        WORLD.refused(token)
    if 200 <= status < 300:
        learn(case, response)
    if status == 409 and case.operation.path == "/v1/signing-secrets":
        WORLD.make_room()


def learn(case, response):
    """Keeps the names of what was made, and forgets what is gone."""
    path, method = case.operation.path, case.operation.method.upper()
    if method == "DELETE" and path in ("/v1/me", "/v1/patients/{ref}"):
        phone, erased = WORLD.phone, (case.path_parameters or {}).get("ref")
        if erased in WORLD.references:
            WORLD.references.remove(erased)
        if path == "/v1/me" or phone and phone.reference == erased:
            WORLD.phone = None
        return
    if method == "DELETE" and path == "/v1/webhooks/{id}":
        WORLD.webhooks.clear()
        return
    if path.endswith("/snooze"):
        # What was sent is put off by now; another patient's can be next.
        WORLD.phone = None
    if path == "/v1/treatments/{id}/void":
        WORLD.voided((case.path_parameters or {}).get("id"))
    try:
        answer = response.json()
    except ValueError:
        return
    if not isinstance(answer, dict):
        return
    if path == "/v1/treatments" and "treatment" in answer and case.query in (None, {}):
        WORLD.keep(WORLD.treatments, answer["treatment"]["id"])
        WORLD.keep(WORLD.references, answer["treatment"]["patient_ref"])
    if path.startswith("/v1/patients") and method in ("POST", "PUT") and "ref" in answer:
        WORLD.keep(WORLD.references, answer["ref"])
    if path == "/v1/oauth/token" and answer.get("refresh_token") and WORLD.phone:
        WORLD.phone.refresh = answer["refresh_token"]


@atexit.register
def write_counts():
    file = os.environ.get("AFTERCARE_COUNTS")
    if file:
        answers = {label: dict(statuses) for label, statuses in counts.items()}
        document = {**total, "enrolments": WORLD.enrolments, "answers": answers}
        with open(file, "w", encoding="utf-8") as out:
            json.dump(document, out)
