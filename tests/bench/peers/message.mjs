// The message that every job carries: as long as one of Aftercare's.
const body =
  "Do not wash your face until midnight tonight. Hydrate your skin with an alcohol-free toner or serum " +
  "until tomorrow 10:40. Avoid sunlight, wear sunscreen and a hat until tomorrow 10:40. No makeup until " +
  "tomorrow 10:40. No sweating until Wednesday 10:40: avoid intense exercise, saunas and steam rooms. " +
  "Expect some redness, skin irritation and peeling.";

export const message = (n) => ({
  token: `${String(n).padStart(10, "0")}:${"APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx".repeat(4)}`,
  notification: { title: "Your next 48 hours", body },
  data: { reminder_id: `reminder-${n}`, kind: "reminder" },
  android: { priority: "high", collapseKey: `reminder-${n}`, notification: { tag: `reminder-${n}` } },
  apns: { headers: { "apns-priority": "10", "apns-collapse-id": `reminder-${n}` }, payload: { aps: { sound: "default" } } },
});
