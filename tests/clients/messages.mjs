// Makes messages with the SDKs, as a clinic's software would: reads a list of
// {event, mode: "structured" | "binary" | "batch", sign?: {secrets, id, at}} and prints
// a list of {headers, body}.
import { readFileSync } from "node:fs";
import { CloudEvent, HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

function packed(event, mode) {
  if (mode === "batch") {
    const events = event.map((one) => new CloudEvent(one));
    return {
      headers: { "content-type": "application/cloudevents-batch+json" },
      body: JSON.stringify(events),
    };
  }
  const message = HTTP[mode](new CloudEvent(event));
  const body = typeof message.body === "string" ? message.body : JSON.stringify(message.body);
  return { headers: message.headers, body };
}

const messages = JSON.parse(readFileSync(0, "utf8")).map(({ event, mode, sign }) => {
  const { headers, body } = packed(event, mode);
  if (sign) {
    const at = new Date(sign.at);
    headers["webhook-id"] = sign.id;
    headers["webhook-timestamp"] = String(Math.floor(at.getTime() / 1000));
    headers["webhook-signature"] = sign.secrets
      .map((secret) => new Webhook(secret).sign(sign.id, at, body))
      .join(" ");
  }
  return { headers, body };
});
console.log(JSON.stringify(messages));
