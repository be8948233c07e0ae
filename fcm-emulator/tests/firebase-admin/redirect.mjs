// Sends what the SDK addresses to *.googleapis.com to the emulator on this machine. The SDK has
// those hosts hard-coded; TLS still checks the certificate for the names it asked for.
import net from "node:net";

const port = Number(process.env.EMULATOR_PORT);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const [options] = args;
  if (typeof options?.host === "string" && options.host.endsWith(".googleapis.com")) {
    return connect.call(this, { ...options, host: "127.0.0.1", port }, args[1]);
  }
  return connect.apply(this, args);
};
