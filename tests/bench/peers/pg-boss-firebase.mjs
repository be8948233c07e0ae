// What most teams would write: pg-boss, and Google's own SDK, redirected to the sink.
import net from "node:net";
import { readFileSync } from "node:fs";

const port = Number(process.env.SINK_PORT);
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const [options] = args;
  if (typeof options?.host === "string" && options.host.endsWith(".googleapis.com")) {
    return connect.call(this, { ...options, host: "127.0.0.1", port }, args[1]);
  }
  return connect.apply(this, args);
};

const { main } = await import("./boss.mjs");
let messaging;
if (process.argv[2] === "run") {
  const { cert, initializeApp } = await import("firebase-admin/app");
  const { getMessaging } = await import("firebase-admin/messaging");
  const account = JSON.parse(readFileSync(process.env.FCM_CREDENTIALS, "utf8"));
  const credential = cert(account);
  // The SDK asks Google for tokens over HTTP/1; a token is no part of the work.
  credential.getAccessToken = async () => ({ access_token: "bench", expires_in: 3600 });
  messaging = getMessaging(initializeApp({ credential }));
}

await main(async (messages) => {
  const { failureCount, responses } = await messaging.sendEach(messages);
  if (failureCount) throw responses.find((response) => !response.success).error;
});
