// A patient's month, as an app and a clinic's software would play it, through a client whose every path,
// parameter, body and answer is typed from the API's description. Time is the test's: where this program
// has to wait, it writes an instant to stdout and goes on once it reads a line.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./generated/schema.js";

type Schema = components["schemas"];

const setting = (name: string): string => {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
};

const baseUrl = setting("AFTERCARE_URL");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Waits until the server's clock shows the instant and everything due by then was sent. */
async function until(instant: string): Promise<void> {
  process.stdout.write(`${instant}\n`);
  assert.ok(!(await lines.next()).done, "nobody moves the clock");
}

/** The answer's body, once it is a success. */
async function good<D>(
  asked: Promise<{ data?: D; error?: unknown; response: Response }>,
  status = 200,
): Promise<NonNullable<D>> {
  const { data, error, response } = await asked;
  assert.equal(response.status, status, `${response.url}: ${JSON.stringify(error)}`);
  return data as NonNullable<D>;
}

/** The problem, once it has this status. */
async function refused(
  asked: Promise<{ error?: Schema["Problem"]; response: Response }>,
  status: number,
): Promise<Schema["Problem"]> {
  const { error, response } = await asked;
  assert.equal(response.status, status);
  assert.ok(error, "a refusal says why");
  return error;
}

const form = { "content-type": "application/x-www-form-urlencoded" };
const open = createClient<paths>({ baseUrl });

function signedIn(token: () => string): Client<paths> {
  const client = createClient<paths>({ baseUrl });
  client.use({
    onRequest({ request }) {
      request.headers.set("authorization", `Bearer ${token()}`);
      return request;
    },
  });
  return client;
}

/** The clinic's software: signs in anew whenever time has passed. */
class Clinic {
  private token = "";
  readonly api = signedIn(() => this.token);

  async signIn(): Promise<void> {
    const body = {
      grant_type: "client_credentials",
      client_id: setting("AFTERCARE_CLIENT_ID"),
      client_secret: setting("AFTERCARE_CLIENT_SECRET"),
    };
    const answer = await good(open.POST("/v1/oauth/token", { body, headers: form }));
    this.token = answer.access_token;
  }
}

/** The patient's app. */
class App {
  private tokens: { access_token: string; refresh_token?: string | null };
  readonly api = signedIn(() => this.tokens.access_token);

  private constructor(
    tokens: Schema["TokenAnswer"],
    readonly installation: string,
  ) {
    this.tokens = tokens;
  }

  static async enrol(code: string, installation: string): Promise<App> {
    const body = { code, installation_id: installation };
    return new App(await good(open.POST("/v1/enrolments/redeem", { body })), installation);
  }

  async refresh(): Promise<void> {
    const refresh_token = this.tokens.refresh_token;
    assert.ok(refresh_token);
    const body = { grant_type: "refresh_token", refresh_token };
    this.tokens = await good(open.POST("/v1/oauth/token", { body, headers: form }));
  }

  async register(time_zone: string, locale: string): Promise<void> {
    const asked = this.api.PUT("/v1/me/devices/{installation_id}", {
      params: { path: { installation_id: this.installation } },
      body: {
        address_kind: "token",
        address: `address-of-${this.installation}`,
        platform: "android",
        time_zone,
        locale,
        notifications_enabled: true,
        delivery: "local_fallback",
      },
    });
    await good(asked, 204);
  }

  async timeline(): Promise<Schema["Timeline"]> {
    return good(this.api.GET("/v1/me/timeline"));
  }

  async logOut(): Promise<void> {
    const body = { token: this.tokens.access_token };
    await good(open.POST("/v1/oauth/revoke", { body, headers: form }));
  }
}

/** What was sent, and what is to come, by title. */
function titles(timeline: Schema["Timeline"], state: string): string[] {
  return timeline.reminders.filter((one) => one.state === state).map((one) => one.title);
}

const clinic = new Clinic();
await clinic.signIn();
const protocols = await good(clinic.api.GET("/v1/protocols"));
assert.ok(protocols.items.some((protocol) => protocol.slug === "microneedling"));

// The session is done, and nobody can be reached yet: the answer brings an invitation.
const body = {
  event_id: "visit-1",
  patient: { ref: "p-ana", time_zone: "Europe/Lisbon", locale: "en" },
  protocol: "microneedling",
  completed_at: "2026-11-22T15:40:00Z",
};
const recorded = await good(clinic.api.POST("/v1/treatments", { body }), 201);
assert.equal(recorded.reachable, false);
const again = await good(clinic.api.POST("/v1/treatments", { body }));
assert.deepEqual(again.treatment, recorded.treatment, "a repeat is the same treatment");
const wrong = await refused(
  clinic.api.POST("/v1/treatments", { body: { ...body, completed_at: "2026-11-22T15:39:00Z" } }),
  409,
);
assert.equal(wrong.code, "event-conflict");

// The app: enrolled, registered, synced.
const code = recorded.enrolment?.code;
assert.ok(code);
const app = await App.enrol(code, "inst-1");
await refused(
  open.POST("/v1/enrolments/redeem", { body: { code, installation_id: "inst-2" } }),
  422,
);
await app.register("Europe/Lisbon", "en");
const first = await app.timeline();
assert.equal(first.clinic.display_name, "Pele Nova");
assert.equal(titles(first, "planned").length, 7);
const makeup = first.restrictions.find((held) => held.rule === "no-makeup");
assert.equal(makeup?.until, "2026-11-23T15:40:00Z");
assert.equal(first.courses[0]?.session, 1);

// Nothing changed, nothing is sent twice over the wire.
const fetched = await app.api.GET("/v1/me/timeline");
const tag = fetched.response.headers.get("etag");
assert.ok(tag);
const unchanged = await app.api.GET("/v1/me/timeline", {
  params: { header: { "If-None-Match": tag } },
  parseAs: "text",
});
assert.equal(unchanged.response.status, 304);

const can = await good(app.api.GET("/v1/me/can", { params: { query: { activity: "makeup" } } }));
assert.equal(can.verdict, "avoid");
await refused(app.api.GET("/v1/me/can", { params: { query: { activity: "golf" } } }), 422);

// The calendar on the wall.
const calendar = await good(app.api.GET("/v1/me/calendar"));
const feed = new URL(calendar.url).pathname.replace(/^\/calendar\/(.*)\.ics$/, "$1");
const subscribe = () =>
  open.GET("/calendar/{token}.ics", { params: { path: { token: feed } }, parseAs: "text" });
const events = async () => (await good<string>(subscribe())).split("BEGIN:VEVENT").length - 1;
assert.equal(await events(), 8);

// The first two days.
await until("2026-11-24T12:00:00Z");
await app.refresh();
const after = await app.timeline();
assert.equal(titles(after, "sent").length, 5);
assert.ok(after.restrictions.every((held) => held.rule !== "no-makeup"), "makeup is over");
const may = await good(app.api.GET("/v1/me/can", { params: { query: { activity: "makeup" } } }));
assert.equal(may.verdict, "no_rule");

// The phone reports what it showed, also twice; the patient wants the last one again, and to know why.
const last = after.reminders.find((one) => one.due_at === "2026-11-24T07:50:00Z");
assert.ok(last);
const path = { id: last.id };
const report = (kind: Schema["ReceiptReport"]["kind"]) => ({ reminder_id: last.id, kind, at: "2026-11-24T07:50:05Z" });
const receipts = [report("displayed"), report("acknowledged")];
for (const _ of ["first", "again"]) {
  const taken = await good(app.api.POST("/v1/me/receipts", { body: receipts }));
  assert.deepEqual(taken.unknown, []);
}
const snooze = (minutes: number) =>
  app.api.POST("/v1/me/reminders/{id}/snooze", { params: { path }, body: { minutes } });
await refused(snooze(1440), 409);
assert.equal((await good(snooze(30))).due_at, "2026-11-24T12:30:00Z");
await until("2026-11-24T13:00:00Z");
await app.refresh();
const why = await good(app.api.GET("/v1/me/reminders/{id}/why", { params: { path } }));
assert.deepEqual([why.reminder.state, why.receipts.length, why.snoozes.length], ["sent", 2, 1]);
assert.deepEqual(why.deliveries.map((delivery) => delivery.state), ["sent", "sent"]);
assert.ok(why.rules.some((rule) => rule.rule === "no-sweating" && rule.protocol_version === 1));

// A journey: what is on the wall follows, in the patient's own language; a wish goes before the phone.
const bookDue = async () =>
  (await app.timeline()).reminders.find((one) => one.rule_ids.includes("next-session"))?.due_local;
await app.register("America/New_York", "es");
assert.equal(await bookDue(), "2026-12-15T10:05:00-05:00[America/New_York]");
const wish = (body: Schema["PreferencesPatch"]) => good(app.api.PATCH("/v1/me/preferences", { body }));
assert.equal((await wish({ time_zone: "Asia/Tokyo" })).time_zone, "Asia/Tokyo");
assert.equal(await bookDue(), "2026-12-15T10:05:00+09:00[Asia/Tokyo]");
await wish({ time_zone: null, exercise_hour: "19:00" });
assert.equal(await bookDue(), "2026-12-15T10:05:00-05:00[America/New_York]");
assert.equal((await good(app.api.GET("/v1/me/preferences"))).exercise_hour, "19:00");

// No more word of the next session; then, after all.
for (const [granted, at] of [
  [false, "2026-11-24T12:59:00Z"],
  [true, "2026-11-24T13:00:00Z"],
] as const) {
  const params = { path: { kind: "recall" as const } };
  const body = { granted, notice_version: "2026-11", at };
  await good(app.api.PUT("/v1/me/consents/{kind}", { params, body }));
  assert.equal((await good(app.api.GET("/v1/me/consents/{kind}", { params }))).granted, granted);
  assert.equal(titles(await app.timeline(), "planned").length, granted ? 2 : 0);
}

// The next session is booked: no more nudges, but the day before.
await until("2026-12-10T12:00:00Z");
await clinic.signIn();
await app.refresh();
const booked = await good(
  clinic.api.PUT("/v1/patients/{ref}/courses/{protocol}/next-session", {
    params: { path: { ref: "p-ana", protocol: "microneedling" } },
    body: { at: "2026-12-22T15:00:00Z" },
  }),
);
assert.equal(booked.treatment.next_session_at, "2026-12-22T15:00:00Z");
assert.equal((await app.timeline()).courses[0]?.next_session_at, "2026-12-22T15:00:00Z");
const agenda = await good<string>(subscribe());
assert.ok(agenda.includes("DTSTART:20261222T150000Z") && agenda.includes("SUMMARY:Cita\r\n"));

await until("2026-12-22T16:00:00Z");
await app.refresh();
assert.equal(titles(await app.timeline(), "sent").length, 6);

// A tablet comes and goes.
await clinic.signIn();
const invited = await good(
  clinic.api.POST("/v1/patients/{ref}/enrolments", { params: { path: { ref: "p-ana" } } }),
  201,
);
const tablet = await App.enrol(invited.code, "inst-2");
await tablet.register("Europe/Lisbon", "en");
const installation_id = tablet.installation;
await good(
  tablet.api.DELETE("/v1/me/devices/{installation_id}", { params: { path: { installation_id } } }),
  204,
);
await tablet.logOut();
assert.equal((await refused(tablet.api.GET("/v1/me/timeline"), 401)).code, "invalid-token");

// Everything that is held, taken along; the feed ends when asked, and with everything else.
const held = await good(app.api.GET("/v1/me/export"));
assert.deepEqual([held.patient.ref, held.treatments.length], ["p-ana", 1]);
await good(app.api.DELETE("/v1/me/calendar"), 204);
assert.equal((await subscribe()).response.status, 404);
const fresh = new URL((await good(app.api.GET("/v1/me/calendar"))).url).pathname;
assert.equal((await fetch(baseUrl + fresh)).status, 200);
await good(app.api.DELETE("/v1/me"), 204);
assert.equal((await fetch(baseUrl + fresh)).status, 404);
assert.equal((await refused(app.api.GET("/v1/me/timeline"), 401)).code, "invalid-token");
await refused(
  clinic.api.GET("/v1/patients/{ref}/timeline", { params: { path: { ref: "p-ana" } } }),
  404,
);

process.stdout.write("done\n");
process.exit(0);
