// Verifies messages with the SDK, as a clinic's software would: reads {secret, messages:
// [{id, timestamp, signature, body}]} and prints a list of true and false.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secret, messages } = JSON.parse(readFileSync(0, "utf8"));
const webhook = new Webhook(secret);
const verified = messages.map(({ id, timestamp, signature, body }) => {
  // The messages are as old as the test's clock says.
  Date.now = () => Number(timestamp) * 1000;
  try {
    webhook.verify(body, {
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": signature,
    });
    return true;
  } catch {
    return false;
  }
});
console.log(JSON.stringify(verified));
