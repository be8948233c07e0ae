// Drives Google's SDK against the emulator and prints what became of each message as JSON.
// Usage: send.mjs CREDENTIALS.json (http2|http1)
import "./redirect.mjs";
import { readFileSync } from "node:fs";
import { cert, deleteApp, initializeApp } from "firebase-admin/app";
import { getMessaging } from "firebase-admin/messaging";

const [credentials, transport] = process.argv.slice(2);
const app = initializeApp({ credential: cert(JSON.parse(readFileSync(credentials, "utf8"))) });
const messaging = getMessaging(app);
if (transport === "http1") messaging.enableLegacyHttpTransport();

const inAnHour = String(Math.floor(Date.now() / 1000) + 3600);
const full = {
  token: "phone-1",
  notification: { title: "Tonight", body: "Avoid washing your face." },
  data: { reminder_id: "r1" },
  android: {
    priority: "high",
    ttl: 3_600_500,
    collapseKey: "care",
    notification: {
      tag: "r1",
      channelId: "care",
      visibility: "private",
      priority: "high",
      eventTimestamp: new Date(),
      vibrateTimingsMillis: [100, 200],
      lightSettings: { color: "#aabbcc", lightOnDurationMillis: 300, lightOffDurationMillis: 500 },
      notificationCount: 1,
    },
  },
  apns: {
    headers: { "apns-priority": "10", "apns-expiration": inAnHour, "apns-collapse-id": "r1" },
    payload: { aps: { alert: { title: "Tonight", body: "Avoid washing." }, badge: 1, sound: "default" } },
    fcmOptions: { analyticsLabel: "care" },
  },
  webpush: {
    headers: { TTL: "3600", Urgency: "high", Topic: "r1" },
    notification: { title: "Tonight", tag: "r1" },
    fcmOptions: { link: "https://example.org/" },
  },
  fcmOptions: { analyticsLabel: "care" },
};

const outcome = (response) =>
  response.success ? { name: response.messageId } : { code: response.error.code };

const results = {};
results.each = (
  await messaging.sendEach([
    full,
    full,
    { token: "phone-gone", data: { a: "b" } },
    { token: "phone-other-project", data: { a: "b" } },
    { token: "phone-busy", data: { a: "b" } },
    { token: "no such token!", data: { a: "b" } },
    { token: "phone-2", apns: { headers: { "apns-expiration": "3600" } } },
    { token: "phone-2", data: { big: "x".repeat(4096) } },
  ])
).responses.map(outcome);
results.multicast = (
  await messaging.sendEachForMulticast({
    tokens: Array.from({ length: 20 }, (_, index) => `fleet-${index}`),
    notification: { title: "To all" },
  })
).successCount;
results.dryRun = await messaging.send(full, true);
results.subscribed = await messaging.subscribeToTopic(["phone-1", "phone-2"], "news");
results.unsubscribed = await messaging.unsubscribeFromTopic(["phone-2"], "news");
results.topic = await messaging.send({ topic: "news", notification: { title: "News" } });
console.log(JSON.stringify(results));
await deleteApp(app);
