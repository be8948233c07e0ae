"""Whom the requests come from and what they may name: clinics, patients and their phones on a
running server, made through its own API."""

import itertools
import os
import random
import threading
from datetime import datetime, timedelta, timezone

import requests

URL = os.environ["AFTERCARE_URL"]
ACCESS_LIFETIME = timedelta(minutes=10)  # of fifteen
KEPT = 50
SEED = int(os.environ["AFTERCARE_SEED"])
RANDOM = random.Random(SEED)


def now():
    return datetime.now(timezone.utc)


def instant(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Refused(Exception):
    """The server did not do what the stage is built on."""


class Clinic:
    """The clinic that plays: its software's credentials, and a token that is good."""

    def __init__(self):
        self.credentials = {
            "grant_type": "client_credentials",
            "client_id": os.environ["AFTERCARE_CLIENT_ID"],
            "client_secret": os.environ["AFTERCARE_CLIENT_SECRET"],
        }
        self.token, self.until = None, now()

    def bearer(self):
        if self.token is None or now() >= self.until:
            answer = call("POST", "/v1/oauth/token", data=self.credentials)
            self.token, self.until = answer["access_token"], now() + ACCESS_LIFETIME
        return self.token


class Phone:
    """A patient with an enrolled phone, treated twenty minutes ago: the first reminder is due at once."""

    numbers = itertools.count(1)

    def __init__(self, clinic):
        # A later round on the same server makes others.
        number = f"{SEED}-{next(self.numbers)}"
        self.reference, self.installation = f"p-{number}", f"inst-{number}"
        bearer = clinic.bearer()
        treated = call(
            "POST",
            "/v1/treatments",
            bearer,
            json={
                "event_id": f"visit-{number}",
                "patient": {"ref": self.reference, "time_zone": "Europe/Lisbon"},
                "protocol": "microneedling",
                "completed_at": instant(now() - timedelta(minutes=20)),
            },
        )
        self.treatment = treated["treatment"]["id"]
        self.reminders = [reminder["id"] for reminder in treated["reminders"]]
        redeem = {"code": treated["enrolment"]["code"], "installation_id": self.installation}
        tokens = call("POST", "/v1/enrolments/redeem", json=redeem)
        self.token, self.refresh = tokens["access_token"], tokens["refresh_token"]
        self.until = now() + ACCESS_LIFETIME
        device = {
            "address_kind": "token",
            "address": f"address-{number}",
            "platform": "android",
            "time_zone": "Europe/Lisbon",
            "locale": "en",
            "notifications_enabled": True,
        }
        call("PUT", f"/v1/me/devices/{self.installation}", self.token, json=device)


def call(method, path, bearer=None, **kwargs):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    answer = requests.request(method, URL + path, headers=headers, timeout=30, **kwargs)
    if not answer.ok:
        raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json() if answer.content else None


class World:
    """One clinic, and the phone that plays until it is erased or logged out: then another is enrolled."""

    def __init__(self):
        self.lock = threading.RLock()
        self.clinic = Clinic()
        self.phone = None
        self.issued = set()
        self.enrolments = 0
        self.references, self.treatments, self.events = [], [], []
        self.webhooks = []

    def bearer(self, role):
        with self.lock:
            token = self.clinic.bearer() if role == "clinic" else self.alive().token
            self.issued.add(token)
            return token

    def alive(self):
        """The phone, enrolled anew when there is none or its token is about to end."""
        with self.lock:
            if self.phone is None or now() >= self.phone.until:
                self.phone = Phone(self.clinic)
                self.enrolments += 1
                self.keep(self.references, self.phone.reference)
                self.keep(self.treatments, self.phone.treatment)
            return self.phone

    def refused(self, token):
        """A token of ours came back with 401: whatever ended its session, another is needed."""
        with self.lock:
            if token == self.clinic.token:
                self.clinic.token = None
            if self.phone is not None and token == self.phone.token:
                self.phone = None

    def voided(self, treatment):
        """A treatment was taken back: it can be corrected no more."""
        with self.lock:
            if treatment in self.treatments:
                self.treatments.remove(treatment)
            if self.phone is not None and self.phone.treatment == treatment:
                self.phone = None

    @staticmethod
    def keep(among, value):
        if value not in among:
            among.append(value)
        del among[:-KEPT]

    def code(self):
        """A fresh enrolment code."""
        phone = self.alive()
        path = f"/v1/patients/{phone.reference}/enrolments"
        try:
            return call("POST", path, self.clinic.bearer())["code"]
        except Refused:  # the patient was erased meanwhile
            return "ace_none"

    def reached(self):
        """A patient whose phone is reached; every other one was sent a test message already."""
        phone = self.alive()
        if RANDOM.random() < 0.5:
            try:
                call("POST", f"/v1/patients/{phone.reference}/test-push", self.clinic.bearer())
            except Refused:  # unwilling, logged out, erased or tested enough: another takes the place
                self.phone = None
                phone = self.alive()
        return phone.reference

    def feed(self):
        """The secret in the address of the phone's calendar feed."""
        try:
            url = call("GET", "/v1/me/calendar", self.alive().token)["url"]
        except Refused:  # logged out meanwhile
            return None
        return url.rsplit("/", 1)[1].removesuffix(".ics")

    def webhook(self):
        """One of the clinic's webhooks, made when there is none."""
        with self.lock:
            if not self.webhooks:
                path, bearer = "/v1/webhooks", self.clinic.bearer()
                self.webhooks = [item["id"] for item in call("GET", path, bearer)["items"]]
                if not self.webhooks:
                    new = {"url": "https://practice.invalid/", "types": ["patient.erased"]}
                    self.webhooks = [call("POST", path, bearer, json=new)["id"]]
            return RANDOM.choice(self.webhooks)

    def event(self):
        """A CloudEvent: a session is done, or something is said of one, or of one that nobody knows."""
        id_, kind = f"event-{RANDOM.randrange(10**9)}", RANDOM.choice(["completed", "amended", "voided"])
        about = self.choose(RANDOM, self.events, "unknown")
        data = {"supersedes": RANDOM.choice([about, about, "unknown"])}
        if kind == "completed":
            completed_at = instant(now() - timedelta(minutes=RANDOM.randrange(100_000)))
            data = {"protocol": "microneedling", "completed_at": completed_at}
            data["patient"] = {"ref": self.alive().reference}
            self.keep(self.events, id_)
        elif kind == "amended":
            data["areas"] = RANDOM.sample(["face", "neck", "chest", "scalp"], 2)
        return {
            "specversion": "1.0",
            "type": f"care.aftercare.session.{kind}.v1",
            "source": f"https://practice.example/{SEED}",
            "id": id_,
            "time": instant(now() - timedelta(minutes=RANDOM.randrange(60))),
            "data": data,
        }

    def document(self):
        """A protocol that the clinic may publish: the one it uses, approved anew."""
        document = call("GET", "/v1/protocols/microneedling", self.clinic.bearer())
        del document["version"]
        document["reviewed_at"] = f"2026-11-{RANDOM.randint(1, 30):02}"
        document["reviewed_by"] = "Dr. M. Sousa"
        return document

    def procedure(self):
        """A session as a FHIR server tells of it."""
        return {
            "resourceType": "Procedure",
            "identifier": [{"system": "https://ehr.example", "value": str(RANDOM.randrange(10**9))}],
            "status": "completed",
            "code": {"coding": [{"code": "microneedling"}]},
            "subject": {"identifier": {"value": self.alive().reference}},
            "performedDateTime": instant(now() - timedelta(minutes=RANDOM.randrange(100_000))),
        }

    def signing_secret(self):
        """The id of a secret that signs events."""
        bearer = self.clinic.bearer()
        known = call("GET", "/v1/signing-secrets", bearer)["items"]
        return (known[0] if known else call("POST", "/v1/signing-secrets", bearer))["id"]

    def make_room(self):
        """A clinic has two secrets at most: the next one finds none in its way."""
        for secret in call("GET", "/v1/signing-secrets", self.clinic.bearer())["items"]:
            call("DELETE", f"/v1/signing-secrets/{secret['id']}", self.clinic.bearer())

    def choose(self, random_, among, fallback):
        with self.lock:
            return random_.choice(among) if among else fallback


WORLD = World()
